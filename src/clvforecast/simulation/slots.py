"""Where everything is in the kernel's flat arrays.

The kernel's functions share seven one-dimensional arrays, always in this order, because a compiled call passes an array
cheaply and a structure of arrays dearly:

par      float64, one posterior draw of everything that lines share
table    int64, whole-valued constants: offsets, calendar, classes, settings
scale    float64, real-valued constants: discount factors, class edges
real     float64, the running line's real state (and its real results)
whole    int64, the running line's whole state (and its results in money units)
flow     int64, one draw's revenue by month, of each portfolio group and of each origin
stream   uint64, position in the line's random numbers (`random`)

Money is counted in whole ten-thousandths of a cent: sums of integers do not depend on their order, and a daily rate rounded
to this unit is off by at most 0.1 cent over five years.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Whole = NDArray[np.int64]
Stream = NDArray[np.uint64]

UNITS_PER_CENT = 10_000
UNITS_PER_CURRENCY = 100 * UNITS_PER_CENT


class Location(IntEnum):
    """Location parameters: a population mean plus segment and size-class effects, on the parameter's own scale."""

    RENEWAL = 0
    EXPANSION_RATE = 1
    CONTRACTION_RATE = 2
    CHANGE_ORDER_RATE = 3
    REFERRAL_RATE = 4
    REACTIVATION_RATE = 5
    TERMINATION_RATE = 6
    EXPANSION_SIZE = 7
    CONTRACTION_SIZE = 8
    CHANGE_ORDER_SIZE = 9
    REFERRAL_SIZE = 10
    RETURN_VALUE = 11
    CHANGE_DOWN = 12
    CHANGE_UP = 13
    CHANGE_DOWN_SIZE = 14
    CHANGE_UP_SIZE = 15
    PERSISTENCE = 16


class Origin(IntEnum):
    """Where a piece of forward revenue comes from."""

    COMMITTED = 0
    RENEWAL = 1
    EXPANSION = 2
    CONTRACTION = 3
    CHANGE_ORDER = 4
    REFERRAL = 5
    REACTIVATION = 6
    CATCH_UP = 7


N_LOCATIONS = len(Location)
N_ORIGINS = len(Origin)
ORIGINS = tuple(origin.name.lower() for origin in Origin)

# par: polarisation φ, tenure exponent c, SD of the return value, refund and notice shares; gamma shapes of five rates;
# between- and within-line SD of four sizes; odds (down, up) of five direction rows; for the sizes of cuts and of raises:
# reversion ρ, slope on log term ratio, SD.  Then the location table (17 × columns) and the tables that `table` points to;
# one of them holds the tenure clock (m/12)^c of m = 0 … N_POWERS − 1 months.
PHI, EXPONENT, RETURN_SD, REFUND, NOTICE_SHARE = range(5)
N_POWERS = 1201
SHAPE, TAU, SIGMA, ODDS, CHANGE_SIZE, LOCATIONS_AT = 5, 10, 14, 18, 28, 34

# table: offsets into par, sizes, columns, days, settings, offsets into table itself and into scale.
(
    WEIGHT_AT, TERM_CDF_AT, LAG_CDF_AT, NOTICE_CDF_AT, N_COLUMNS, N_VALUES, N_TERM_CLASSES, N_SIZE_EDGES, N_LAG_EDGES,
    SIZE_COLUMN, SECOND_SPELL_COLUMN, UNKNOWN_COLUMN, AS_OF, WINDOW_START, WINDOW_END, N_MONTHS, MARKS, _MARK_2, _MARK_3,
    GRACE_DAYS, KNOWN_BY, BOOK_VIEW, MONTH_OF_AT, BOUNDS_AT, CLASS_AT, LONGEST, VALUES_AT, CUMULATIVE_AT, SIZE_EDGES_AT,
    LAG_EDGES_AT, POWERS_AT, YEAR_AT, N_YEARS, N_GROUPS, SEED, CALENDAR_AT, YEAR_PLACE_AT, SIZE_ODDS_AT,
    LATER_AT, N_SNAPSHOTS, N_PAST, SNAPSHOTS_AT, N_WINDOWS, WINDOWS_AT, PIECES_AT, STEPS_AT, BILLING_MONTHS, PAYMENT_DAYS,
    COUNTS_DAYS, TABLE_HEADER,
) = range(50)  # fmt: skip
N_MARKS = 3
# Values of BOOK_VIEW: when money counts. BILLING_MONTHS: of one instalment, 0 for the whole term; COUNTS_DAYS: 1 where an
# account's active days are counted by month, since it costs something to serve.
RECOGNISED_VIEW, BOOKED_VIEW, CASH_VIEW = range(3)

# scale: five numbers, the last what a day of an active account costs (money before the margin, in units), then
# discount factors, their cumulative sums, size edges, lag edges, and (1 + discount rate)^(−m/12) of
# m = 0 … N_POWERS − 1 months.
LOG_DISCOUNT, MAX_RATIO, LOG_MAX_RATIO, AT_HORIZON, DAILY_COST, DISCOUNT_AT = range(6)

# real: what a draw says of the line's profile (17 location values, then r/m of the four event rates, the termination rate, and
# a and b of a first and of a later spell); then the line's running state; then real-valued results.
PRIOR_RATES, TERMINATION, FIRST_SPELL, LATER_SPELL, N_PROFILE = 17, 21, 22, 24, 26
# Of events and their sizes: shape and exposure (days) of each kind's rate, counts and sums of sizes; days of activity since the
# origin, days of it until the next event may come, and the bound on the hazard a day that this wait was drawn with. AT_END: what
# money at the term's end is worth at the origin; then room for TAIL numbers of a sum.
MRR, MRR_NOW, LOG_MRR, AMOUNT, AMEND, BASE, LOG_MRR_SUM, MRR_TERMS, WORK, LOG_THETA = range(26, 36)
T_LAPSED, RETURN_SHAPE, RETURN_EXPOSURE, SERVED, WAITING, HAZARD = range(36, 42)
EVENT_SHAPES, EVENT_EXPOSURES, SIZE_COUNTS, SIZE_TOTALS, AT_END, TAIL_AT, TAIL = 42, 46, 50, 54, 58, 59, 12
WEIGHED = 71  # by kind: days that exposure counts more than it lasted, because the rate was assumed higher
# MRR_NOW: monthly revenue of the running term as it is served; COUNTED_MRR: as ARR counts it (`snapshots`).
COUNTED_MRR = 75
# DAYS_BEYOND: expected active days after the horizon, discounted.
VALUE, BEYOND, NEXT_RENEWAL, MRR_AT_MARKS, DAYS_BEYOND, REAL_SLOTS = 76, 77, 78, 79, 82, 83

# whole: running state, then the daily rates that a de-booking takes back, then results.
# END_PLACE: month of END in the calendar, -1 before it; SIZE_CLASS: of the running term, -1 where it must be found; TENURE in
# months; MARK, SNAPSHOT: the next mark and the next snapshot to be passed. STOP_DAY: on which all of the line's service ends;
# EFFECT, EFFECT_END: the line's pieces of what is assumed (`steering`); N_STEPS: how many planned steps it has; TERM_ROW: of the
# booked term that runs, -1 of one that was simulated.
START, END, END_PLACE, MONTHS, SIZE_CLASS, EXPANDED, DIRECTION, DECISIONS, SPELL, HAS_THETA, ORIGIN = range(11)
RETURNS_DRAWN, N_RETURNS, FLOW_AT, ORIGIN_FLOW_AT, LEAD, TENURE, MARK, SNAPSHOT, STOP_DAY = range(11, 20)
EFFECT, EFFECT_END, N_STEPS, TERM_ROW = range(20, 24)
# For billing only: how many bookings the running term has in its log, the log, and then the account's active days of the window
# as bits, 64 a word (`billing`): of 600 months.
N_LOGGED, LOG_AT, LOG_ROWS = 24, 25, 256
LOG_ORIGIN, LOG_BOOKED, LOG_START, LOG_RATE, LOG_WIDTH = range(5)
DAYS_AT, DAY_WORDS = LOG_AT + LOG_ROWS * LOG_WIDTH, 290
TIED = DAYS_AT + DAY_WORDS
ORIGIN_TOTALS = TIED + N_ORIGINS
BOOKED, DEBOOKED, DEFERRED, ACTIVE, ACTIVE_DAYS, CHANGES, CLIPS, LATE, WHOLE_SLOTS = (
    ORIGIN_TOTALS + N_ORIGINS + place for place in range(9)
)
# After WHOLE_SLOTS, S numbers each where there are S snapshots: annual recurring revenue (ARR) in force at each, in cents; that
# of the renewals due in the period that ends with each; and of this what was renewed. Then, where the line has planned steps,
# `STEP_SLOTS` numbers each: kind, first and last day on which a decision or an event is the step's, the day on which it happens
# (-1: an event that does not), its units (0: not given), its months (0: not given), and whether it has been taken up. Behind
# REAL_SLOTS: `STEP_REALS` of each, a renewal's probability (NaN: as the posterior has it) and its uniform number; where the
# posterior's is moved towards a stated one, the weight of that (else 0), and its log odds.
STEP_KIND, STEP_FROM, STEP_TO, STEP_DAY, STEP_UNITS, STEP_MONTHS, STEP_TAKEN, STEP_SLOTS = range(8)
STEP_REALS, STEP_WEIGHT, STEP_STATED = 4, 2, 3

# Sums over draws: revenue by origin, draws without revenue, active at each mark, active days, value beyond the horizon, price
# changes and how many were bounded.
SUM_ZERO, SUM_ACTIVE, SUM_ACTIVE_DAYS, SUM_BEYOND, SUM_CHANGES, SUM_CLIPS, N_SUMS = 8, 9, 12, 13, 14, 15, 16

# Columns of the line tables that a batch is made of.
(
    L_GROUP, L_LEAD, L_PROFILE, L_TENURE, L_SPELL, L_STATUS, L_LAPSE_DAY, L_TERM, L_TERM_END, L_DIRECTION,
    L_STEP, L_STEP_END, L_DECISIONS, L_RETURNS, L_ITEM, L_ITEM_END, L_EVENTS,
) = range(17)  # fmt: skip
L_SIZE_N, L_STOP_DAY, L_EFFECT, L_EFFECT_END, L_PLAN, L_PLAN_END = 20, 24, 25, 26, 27, 28
L_LATER, L_LATER_END, L_EARLY, L_WHOLE = 29, 30, 31, 32
# Sums of a group in one draw, S numbers each by snapshot: ARR in force, accounts that have any, ARR due for renewal in the period
# that ends there, and of it renewed. Then for each window between two snapshots what became of the accounts' ARR from the one to
# the other, and how many lost or gained all of theirs.
OF_SNAPSHOTS = 4
IN_FORCE, ACCOUNTS, DUE, RENEWED = range(OF_SNAPSHOTS)
OF_WINDOWS = 8
NEW, LATE_RENEWALS, REACTIVATED, EXPANDED_BY, CONTRACTED_BY, CHURNED, LOST, GAINED = range(OF_WINDOWS)
# A piece of time in which something is assumed other than the posterior says (`steering`): from its first day to the day after
# its last the odds of renewal are multiplied, points added to its probability, prices raised, and rates multiplied.
(
    PIECE_FROM, PIECE_TO, PIECE_ODDS, PIECE_POINTS, PIECE_UPLIFT, PIECE_RATES, PIECE_GREATEST, PIECE_SHARE, PIECE_MIX,
    PIECE_WIDTH,
) = (0, 1, 2, 3, 4, 5, 10, 11, 12, 13)  # fmt: skip
L_LOG_MRR_SUM, L_MRR_TERMS, L_BASE, L_T_ACTIVE, L_T_LAPSED, L_SIZE_SUM, L_REAL = 0, 1, 2, 3, 4, 5, 9
STEP_START, STEP_STOP, STEP_YEAR, STEP_CLASS = range(4)
TERM_START, TERM_STOP, TERM_PLACE, TERM_MONTHS, TERM_EXPANDED, TERM_SIZE = range(6)
TERM_AMOUNT, TERM_AMEND, TERM_MRR_NOW, TERM_MRR, TERM_LOG_MRR, TERM_COUNTED_MRR = range(6)
LATER_TERM, LATER_DAY, LATER_MRR, LATER_COUNTED = range(4)
ITEM_START, ITEM_STOP, ITEM_UNITS, ITEM_TIED, ITEM_RATE, ITEM_PAID = range(6)

# Values of a line's status and of the direction of its last price change; `TERM_CHANGED` is a direction row only.
STATUS_OPEN, STATUS_NOTIFIED, STATUS_TERMINATED = range(3)
FIRST, DOWN, FLAT, UP, TERM_CHANGED = range(5)
