"""The forward simulation: one line of business, one posterior draw, from the forecast's origin to its horizon.

A line's life is a sequence of terms.  Inside a term, events arrive at random times (`life`); at its end the
renewal decision is taken; after a lapse the line may return (`terms`).  `simulate` runs every account of a batch under every
draw, with draws spread over threads: each block of draws owns its cells of the output, so threads never meet.

Random numbers of a line under a draw come in two streams, so that a scenario or a plan that adds or removes an event leaves
decisions as they are.  Order in that of events: the wait until an event may come; then, in the order of time, what comes then
(kind or none, the next wait, a size), early termination (refund or not).  In that of decisions: outcome, θ once it can be known,
then for a renewal: booking lag where it matters, length, persistence, direction, size; and returns (waiting time, value, length,
θ).
"""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from clvforecast.arithmetic import digest_of_sources
from clvforecast.simulation.beyond import renewals_beyond, rest_of_term
from clvforecast.simulation.billing import charge, clear_days, collect
from clvforecast.simulation.latents import begin_events, profile_values
from clvforecast.simulation.life import live_through_term, take_back_items, take_back_rates, terminate
from clvforecast.simulation.random import EVENTS_BLOCK, STREAM_SLOTS, jit, nth, part, start_stream
from clvforecast.simulation.revenue import serve
from clvforecast.simulation.slots import (
    ACTIVE,
    ACTIVE_DAYS,
    AMEND,
    AMOUNT,
    BASE,
    BEYOND,
    BOOK_VIEW,
    BOOKED_VIEW,
    CASH_VIEW,
    CHANGES,
    CLIPS,
    COUNTED_MRR,
    COUNTS_DAYS,
    DAYS_BEYOND,
    DECISIONS,
    DEFERRED,
    DIRECTION,
    EFFECT,
    EFFECT_END,
    END,
    END_PLACE,
    EXPANDED,
    FLOW_AT,
    HAS_THETA,
    ITEM_START,
    ITEM_STOP,
    ITEM_UNITS,
    L_BASE,
    L_DECISIONS,
    L_DIRECTION,
    L_EARLY,
    L_EFFECT,
    L_EFFECT_END,
    L_GROUP,
    L_ITEM,
    L_ITEM_END,
    L_LAPSE_DAY,
    L_LATER,
    L_LATER_END,
    L_LEAD,
    L_LOG_MRR_SUM,
    L_MRR_TERMS,
    L_PLAN,
    L_PLAN_END,
    L_PROFILE,
    L_RETURNS,
    L_SPELL,
    L_STATUS,
    L_STEP,
    L_STEP_END,
    L_STOP_DAY,
    L_T_LAPSED,
    L_TENURE,
    L_TERM,
    L_TERM_END,
    LEAD,
    LOG_DISCOUNT,
    LOG_MRR,
    LOG_MRR_SUM,
    MARK,
    MONTHS,
    MRR,
    MRR_NOW,
    MRR_TERMS,
    N_GROUPS,
    N_LOGGED,
    N_MARKS,
    N_MONTHS,
    N_ORIGINS,
    N_PAST,
    N_PROFILE,
    N_RETURNS,
    N_SNAPSHOTS,
    N_STEPS,
    N_WINDOWS,
    NEXT_RENEWAL,
    OF_SNAPSHOTS,
    OF_WINDOWS,
    ORIGIN,
    ORIGIN_FLOW_AT,
    ORIGIN_TOTALS,
    REAL_SLOTS,
    RETURNS_DRAWN,
    SEED,
    SIZE_CLASS,
    SNAPSHOT,
    SPELL,
    START,
    STATUS_NOTIFIED,
    STATUS_OPEN,
    STATUS_TERMINATED,
    STEP_CLASS,
    STEP_DAY,
    STEP_KIND,
    STEP_REALS,
    STEP_SLOTS,
    STEP_START,
    STEP_STATED,
    STEP_STOP,
    STEP_TAKEN,
    STEP_UNITS,
    STEP_WEIGHT,
    STEP_YEAR,
    STEPS_AT,
    STOP_DAY,
    SUM_ACTIVE,
    SUM_ACTIVE_DAYS,
    SUM_BEYOND,
    SUM_CHANGES,
    SUM_CLIPS,
    SUM_ZERO,
    T_LAPSED,
    TENURE,
    TERM_AMEND,
    TERM_AMOUNT,
    TERM_COUNTED_MRR,
    TERM_EXPANDED,
    TERM_LOG_MRR,
    TERM_MONTHS,
    TERM_MRR,
    TERM_MRR_NOW,
    TERM_PLACE,
    TERM_ROW,
    TERM_SIZE,
    TERM_START,
    TERM_STOP,
    TIED,
    VALUE,
    WEIGHT_AT,
    WHOLE_SLOTS,
    WINDOW_END,
    WINDOW_START,
    WORK,
    YEAR_AT,
    Origin,
    Real,
    Stream,
    Whole,
)
from clvforecast.simulation.snapshots import add_to_bridge, annual_cents, note_due, pass_snapshots, period_of
from clvforecast.simulation.steering import RENEWAL_STEP
from clvforecast.simulation.terms import (
    clock,
    come_back,
    dated_step,
    decide,
    grace,
    open_probability,
    renew,
)

COMMITTED = int(Origin.COMMITTED)
DRAWS_EACH, ACCOUNTS_EACH = 64, 16
"""Draws whose sums are kept together, and accounts that are simulated side by side under them."""


class Lines(NamedTuple):
    """A batch of lines, their accounts numbered from 0 (columns named in `slots`).

    whole (L, 32), real (L, 9), key uint64 (L,); profiles (P, segments + 2), see `latents.profile_values`; booked terms
    whole (T, 6) and real (T, 6), and their amendments that begin later (N, 4); steps taken (S, 4), in months, with place of the
    year and decision class; items on the books (I, 4); first (A + 1,) lines of the accounts, turn (L,) the order in which they
    are simulated, and order (A,), accounts with the same profile side by side.
    begun (A,) the first snapshot by which an account had begun, past (A, H) its ARR in cents at those before the forecast;
    planned steps (P, `STEP_SLOTS`), and of each in every draw (P, D) its day, units, probability and
    uniform number; its stated log odds (P,), NaN for none, and the weight of those in every draw (D,).
    """

    whole: NDArray[np.int64]
    real: NDArray[np.float64]
    key: NDArray[np.uint64]
    profiles: NDArray[np.int64]
    terms: NDArray[np.int64]
    term_money: NDArray[np.float64]
    later: NDArray[np.float64]
    steps: NDArray[np.int64]
    items: NDArray[np.int64]
    first: NDArray[np.int64]
    turn: NDArray[np.int64]
    order: NDArray[np.int64]
    begun: NDArray[np.int64]
    past: NDArray[np.int64]
    plan: NDArray[np.int64]
    plan_day: NDArray[np.int64]
    plan_units: NDArray[np.int64]
    plan_p: NDArray[np.float64]
    plan_choice: NDArray[np.float64]
    plan_stated: NDArray[np.float64]
    plan_weight: NDArray[np.float64]


class Books(NamedTuple):
    """What a batch's items on the books are worth, the same under every draw unless a termination takes some back.

    flow (width,): units by month, see `Results`; whole (L, 2): units in the window and after it; value (L, 2): discounted, in the
    window in units, after it in currency (0 but where cash is deferred)
    """

    flow: NDArray[np.int64]
    whole: NDArray[np.int64]
    value: NDArray[np.float64]


class Scratch(NamedTuple):
    """What one thread works in: the running line's state (``real``, ``whole``, its streams of decisions and of ``events``), the
    profile of a draw, and the account's results."""

    real: NDArray[np.float64]
    whole: NDArray[np.int64]
    stream: NDArray[np.uint64]
    events: NDArray[np.uint64]
    profile: NDArray[np.float64]
    account_real: NDArray[np.float64]
    account_whole: NDArray[np.int64]


class Results(NamedTuple):
    """What is simulated: A accounts of the batch, D draws in B blocks of `DRAWS_EACH`.

    revenue: int64 (A, D) units in the window; value: float64 (A, D) the same discounted, less the cost of active days
    renewal: float64 (A, D) probability of the next renewal, NaN where no decision is reached
    sums: float64 (A, B, N_SUMS) sums over the draws of a block, named in `slots`
    whole: int64 (A, D, WHOLE_SLOTS − ORIGIN_TOTALS) and real: float64 (A, D, REAL_SLOTS − VALUE): every result of every
        draw in the order of `slots`; D is 0 where they are not wanted
    flow: int64 (D, 2 (M + 1) (groups + 8)) revenue by month, of every batch so far; with a cost to serve (groups + 8 + groups),
        the last the active days of each group by month
    bridge: int64 (D, groups (4 S + 8 W)) what became of ARR, of every batch so far (see `slots`)
    """

    revenue: NDArray[np.int64]
    value: NDArray[np.float64]
    renewal: NDArray[np.float64]
    sums: NDArray[np.float64]
    whole: NDArray[np.int64]
    real: NDArray[np.float64]
    flow: NDArray[np.int64]
    bridge: NDArray[np.int64]


@jit
def serve_books(table: Whole, scale: Real, lines: Lines, books: Books, scratch: Scratch) -> None:
    """Serve the items on every line's books."""
    real, whole = scratch.real, scratch.whole
    for line in range(lines.key.size):
        line_whole = lines.whole[line]
        real[VALUE:] = 0.0
        whole[TIED:] = 0
        find_flow(table, whole, line_whole)
        for row in range(line_whole[L_ITEM], line_whole[L_ITEM_END]):
            item = lines.items[row]
            if table[BOOK_VIEW] == CASH_VIEW:
                collect(table, scale, real, whole, books.flow, item)
                continue
            start = max(item[ITEM_START], table[WINDOW_START])
            end, units = item[ITEM_STOP], item[ITEM_UNITS]
            serve(table, scale, real, whole, books.flow, COMMITTED, start, start, end, units)
        books.whole[line, 0], books.whole[line, 1] = whole[ORIGIN_TOTALS + COMMITTED], whole[DEFERRED]
        books.value[line, 0], books.value[line, 1] = real[VALUE], real[BEYOND]


@jit
def find_flow(table: Whole, whole: Whole, line_whole: Whole) -> None:
    """Where the line's months are in ``flow``: those of its group, and those of the origins."""
    width = 2 * (table[N_MONTHS] + 1)
    whole[FLOW_AT], whole[ORIGIN_FLOW_AT] = line_whole[L_GROUP] * width, table[N_GROUPS] * width


@part
def begin_line(
    par: Real,
    table: Whole,
    real: Real,
    whole: Whole,
    lines: Lines,
    books: Books,
    line: int,
    draw: int,
    profile: Real,
    is_first: bool,
) -> None:
    """The line's state at the origin, what is assumed and planned of it, and the money already on its books."""
    line_whole, line_real = lines.whole[line], lines.real[line]
    real[VALUE:] = 0.0
    real[NEXT_RENEWAL] = np.nan
    whole[TIED : table[STEPS_AT]] = 0
    for slot in range(N_PROFILE):
        real[slot] = profile[slot]
    real[BASE], whole[TENURE] = line_real[L_BASE], line_whole[L_TENURE]
    real[LOG_MRR_SUM], real[MRR_TERMS] = line_real[L_LOG_MRR_SUM], line_real[L_MRR_TERMS]
    real[T_LAPSED] = line_real[L_T_LAPSED]
    real[WORK] = 0.0
    for step in range(line_whole[L_STEP], line_whole[L_STEP_END]):
        start, stop = lines.steps[step, STEP_START], lines.steps[step, STEP_STOP]
        length = clock(par, table, stop) - clock(par, table, start)
        weight = par[nth(table[WEIGHT_AT] + lines.steps[nth(step), STEP_CLASS])]
        real[WORK] += length * weight * par[nth(table[YEAR_AT] + lines.steps[nth(step), STEP_YEAR])]
    whole[DIRECTION], whole[DECISIONS] = line_whole[L_DIRECTION], line_whole[L_DECISIONS]
    whole[SPELL], whole[N_RETURNS], whole[LEAD] = line_whole[L_SPELL], line_whole[L_RETURNS], line_whole[L_LEAD]
    whole[HAS_THETA], whole[RETURNS_DRAWN], whole[ORIGIN] = 0, 0, COMMITTED
    whole[MARK], whole[SNAPSHOT] = 0, table[N_PAST]
    whole[STOP_DAY] = line_whole[L_STOP_DAY]
    whole[EFFECT], whole[EFFECT_END] = line_whole[L_EFFECT], line_whole[L_EFFECT_END]
    take_plan(table, real, whole, lines, line_whole, draw, is_first)
    find_flow(table, whole, line_whole)
    whole[ORIGIN_TOTALS + COMMITTED], whole[DEFERRED] = books.whole[line, 0], books.whole[line, 1]
    real[VALUE], real[BEYOND] = books.value[line, 0], books.value[line, 1]


@jit
def take_plan(
    table: Whole, real: Real, whole: Whole, lines: Lines, line_whole: Whole, draw: int, is_first: bool
) -> None:
    """The line's planned steps, with what comes of them in this draw.

    Events are planned for all lines of an account, and are the first steps of each in the same order: one that has been taken up
    by an earlier line is taken.
    """
    first = line_whole[L_PLAN]
    whole[N_STEPS] = line_whole[L_PLAN_END] - first
    for step in range(whole[N_STEPS]):
        at = table[STEPS_AT] + step * STEP_SLOTS
        for slot in range(STEP_TAKEN):
            whole[at + slot] = lines.plan[first + step, slot]
        if is_first or whole[at + STEP_KIND] == RENEWAL_STEP:
            whole[at + STEP_TAKEN] = 0
        whole[at + STEP_DAY] = lines.plan_day[first + step, draw]
        whole[at + STEP_UNITS] = lines.plan_units[first + step, draw]
        of_real, stated = REAL_SLOTS + STEP_REALS * step, lines.plan_stated[first + step]
        real[of_real] = lines.plan_p[first + step, draw]
        real[of_real + 1] = lines.plan_choice[first + step, draw]
        real[of_real + STEP_WEIGHT] = 0.0 if math.isnan(stated) else lines.plan_weight[draw]
        real[of_real + STEP_STATED] = stated


@jit
def take_booked_term(
    real: Real, whole: Whole, terms: NDArray[np.int64], term_money: NDArray[np.float64], term: int
) -> None:
    """Make a term that is on the books the running one; its money is already in the `Books`."""
    whole[START], whole[END] = terms[nth(term), TERM_START], terms[nth(term), TERM_STOP]
    whole[TERM_ROW] = term
    whole[END_PLACE], whole[SIZE_CLASS] = terms[nth(term), TERM_PLACE], terms[nth(term), TERM_SIZE]
    whole[MONTHS], whole[EXPANDED] = terms[nth(term), TERM_MONTHS], terms[nth(term), TERM_EXPANDED]
    real[AMOUNT], real[AMEND] = term_money[nth(term), TERM_AMOUNT], term_money[nth(term), TERM_AMEND]
    real[MRR], real[LOG_MRR] = term_money[nth(term), TERM_MRR], term_money[nth(term), TERM_LOG_MRR]
    real[MRR_NOW], real[COUNTED_MRR] = term_money[nth(term), TERM_MRR_NOW], term_money[nth(term), TERM_COUNTED_MRR]
    whole[TIED : TIED + N_ORIGINS] = 0
    whole[N_LOGGED] = 0


@jit
def settled(table: Whole, real: Real, whole: Whole, renewed: int) -> None:
    """Note a decision at the term's end: its ARR was due, and ``renewed`` cents a year follow."""
    note_due(table, whole, period_of(table, whole[END]), annual_cents(real[COUNTED_MRR]), renewed)


@part
def run_line(
    par: Real,
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    line_whole: Whole,
    terms: NDArray[np.int64],
    term_money: NDArray[np.float64],
    items: NDArray[np.int64],
    later: NDArray[np.float64],
    stream: Stream,
    events: Stream,
) -> int:
    """Live from the origin to the horizon; returns the row of the booked term that runs there.

    For a line that has renewed since, the last row; −1 for a line that is not active there.
    """
    status, on_books = line_whole[L_STATUS], True
    term, last_term = line_whole[L_TERM], line_whole[L_TERM_END] - 1
    take_booked_term(real, whole, terms, term_money, term)
    while True:
        if whole[STOP_DAY] == table[WINDOW_START]:
            lapse_day = whole[STOP_DAY]
            break
        if status == STATUS_TERMINATED:
            lapse_day = line_whole[L_LAPSE_DAY]
        else:
            lapse_day = whole[END]
            if whole[END] > table[WINDOW_START]:
                lapse_day = live_through_term(par, table, scale, real, whole, flow, later, events)
            if lapse_day == whole[STOP_DAY]:
                take_back_rates(table, scale, real, whole, flow, lapse_day)
                break
            if lapse_day < whole[END]:
                if terminate(par, table, scale, real, whole, flow, items, lapse_day, events):
                    on_books = on_books and whole[ORIGIN] != COMMITTED
                elif whole[STOP_DAY] < table[WINDOW_END]:
                    take_back_rates(table, scale, real, whole, flow, whole[STOP_DAY])
            elif lapse_day >= table[WINDOW_END]:
                return term
            elif term < last_term:
                term += 1
                follows = terms[nth(term), TERM_START] <= whole[END] + grace(table, whole[START], whole[END])
                if whole[END] > table[WINDOW_START]:  # else the past has told it
                    settled(table, real, whole, annual_cents(term_money[nth(term), TERM_MRR]) if follows else 0)
                if follows:  # what is renewed counts until its renewal begins
                    until = min(terms[nth(term), TERM_START], whole[STOP_DAY])
                    pass_snapshots(table, real, whole, later, whole[END], until)
                take_booked_term(real, whole, terms, term_money, term)
                continue
            elif status == STATUS_OPEN:
                renewed, known, step = decide(par, table, scale, real, whole, stream)
                if renewed:
                    renew(par, table, scale, real, whole, flow, known, step, stream)
                    continue
                settled(table, real, whole, 0)
            elif whole[END] > table[WINDOW_START] and line_whole[L_EARLY] == 0:  # what ends early was not due
                settled(table, real, whole, 0)
        status, term = STATUS_OPEN, last_term
        if not come_back(par, table, scale, real, whole, flow, lapse_day, stream):
            break
    if whole[STOP_DAY] < table[WINDOW_END]:
        take_back_items(table, scale, real, whole, flow, items, whole[STOP_DAY], on_books, True)
    return -1


@part
def simulate_line(
    par: Real,
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    lines: Lines,
    books: Books,
    line: int,
    draw: int,
    profile: Real,
    stream: Stream,
    events: Stream,
    is_first: bool,
) -> None:
    """One line under one draw: its results are left in ``real`` and ``whole``, its months are added to ``flow``."""
    line_whole, line_real = lines.whole[line], lines.real[line]
    items = lines.items[line_whole[L_ITEM] : line_whole[L_ITEM_END]]
    later = lines.later[line_whole[L_LATER] : line_whole[L_LATER_END]]
    begin_line(par, table, real, whole, lines, books, line, draw, profile, is_first)
    begin_events(par, scale, real, whole, line_whole, line_real, events)
    terms, term_money, last_term = lines.terms, lines.term_money, line_whole[L_TERM_END] - 1
    term = run_line(par, table, scale, real, whole, flow, line_whole, terms, term_money, items, later, stream, events)
    if term < 0:
        return
    discounting = scale[LOG_DISCOUNT] > 0.0
    beyond = rest_of_term(table, scale, real, whole) if discounting else 0.0
    while term < last_term:
        term += 1
        take_booked_term(real, whole, terms, term_money, term)
        beyond += rest_of_term(table, scale, real, whole) if discounting else 0.0
    notified = line_whole[L_STATUS] == STATUS_NOTIFIED and whole[SPELL] == line_whole[L_SPELL]
    if whole[HAS_THETA] == 0 and not notified:  # the open decision falls after the horizon: worth telling all the same
        open_probability(par, table, scale, real, whole, dated_step(par, table, scale, real, whole))
    if discounting and not notified:
        beyond += renewals_beyond(par, table, scale, real, whole, stream)
    real[BEYOND] += beyond


@part
def simulate_account(
    par: Real,
    table: Whole,
    scale: Real,
    lines: Lines,
    books: Books,
    account: int,
    draw: int,
    flow: Whole,
    scratch: Scratch,
    known: int,
) -> int:
    """One account under one draw: the results of its lines, added up, are left in ``scratch``.

    ``known`` is the row of the profile that ``scratch.profile`` is of; returns the one it is of now.
    """
    real, whole, profile = scratch.real, scratch.whole, scratch.profile
    stream, events = scratch.stream, scratch.events
    if table[COUNTS_DAYS] == 1:
        clear_days(table, whole)
    for place in range(lines.first[account], lines.first[account + 1]):
        line, is_first = lines.turn[place], place == lines.first[account]
        row = lines.whole[line, L_PROFILE]
        if row != known:
            profile_values(par, table, lines.profiles[row], profile)
            known = row
        start_stream(stream, lines.key[line], table[SEED], draw)
        start_stream(events, lines.key[line], table[SEED], draw, EVENTS_BLOCK)
        simulate_line(par, table, scale, real, whole, flow, lines, books, line, draw, profile, stream, events, is_first)
        if is_first:
            copy(scratch.account_whole, whole, ORIGIN_TOTALS)
            copy(scratch.account_real, real, VALUE)
        else:
            add_to_account(scratch.account_whole, whole)
            add_real_to_account(scratch.account_real, real)
    if table[COUNTS_DAYS] == 1:
        group = lines.whole[lines.first[account], L_GROUP]
        charge(table, scale, whole, flow, group, scratch.account_real)
    return known


@jit
def copy(to: NDArray[Any], source: NDArray[Any], offset: int) -> None:
    """Fill ``to`` from ``source``, from place ``offset`` on."""
    for slot in range(to.size):
        to[slot] = source[offset + slot]


@jit
def add_to_account(account: Whole, whole: Whole) -> None:
    """Add a line's whole results to its account's; activity is that of any line, active days those of the longest."""
    for slot in range(account.size):
        value = whole[ORIGIN_TOTALS + slot]
        if ORIGIN_TOTALS + slot == ACTIVE:
            account[slot] |= value
        elif ORIGIN_TOTALS + slot == ACTIVE_DAYS:
            account[slot] = max(account[slot], value)
        else:
            account[slot] += value


@jit
def add_real_to_account(account: Real, real: Real) -> None:
    """Add a line's real results to its account's; the next renewal is that of the leading line, days beyond the most of any."""
    for slot in range(account.size):
        value = real[VALUE + slot]
        if VALUE + slot == DAYS_BEYOND:
            account[slot] = max(account[slot], value)
        elif VALUE + slot != NEXT_RENEWAL:
            account[slot] += value
        elif not math.isnan(value):
            account[slot] = value


@jit
def add_to_sums(sums: Real, whole: Whole, real: Real) -> int:
    """Add an account's results under one draw to its sums over draws; returns its revenue in the window."""
    revenue = 0
    for origin in range(N_ORIGINS):
        units = whole[origin]
        revenue += units
        sums[origin] += units
    if revenue == 0:
        sums[SUM_ZERO] += 1.0
    for mark in range(N_MARKS):
        sums[SUM_ACTIVE + mark] += (whole[ACTIVE - ORIGIN_TOTALS] >> mark) & 1
    sums[SUM_ACTIVE_DAYS] += whole[ACTIVE_DAYS - ORIGIN_TOTALS]
    sums[SUM_CHANGES] += whole[CHANGES - ORIGIN_TOTALS]
    sums[SUM_CLIPS] += whole[CLIPS - ORIGIN_TOTALS]
    sums[SUM_BEYOND] += real[BEYOND - VALUE]
    return revenue


@part
def simulate_draws(
    par: NDArray[np.float64],
    table: Whole,
    scale: Real,
    lines: Lines,
    books: Books,
    results: Results,
    scratch: Scratch,
    first_block: int,
    last_block: int,
) -> None:
    """Simulate every account of the batch under the draws of some blocks of ``par``.

    A few accounts at a time under a block of draws, so that what is written stays in the processor's cache, and accounts
    in the order of their profiles, so that a profile's values are worked out once for many.
    """
    n_draws, n_accounts = par.shape[0], lines.order.size
    keeps_all = results.whole.shape[1] > 0
    for block in range(first_block, last_block):
        draws = range(block * DRAWS_EACH, min((block + 1) * DRAWS_EACH, n_draws))
        for draw in draws:
            flow = results.flow[draw]
            for place in range(flow.size):
                flow[place] += books.flow[place]
        for first in range(0, n_accounts, ACCOUNTS_EACH):
            for draw in draws:
                known = -1
                for place in range(first, min(first + ACCOUNTS_EACH, n_accounts)):
                    account = lines.order[place]
                    known = simulate_account(
                        par[draw], table, scale, lines, books, account, draw, results.flow[draw], scratch, known
                    )
                    whole, real = scratch.account_whole, scratch.account_real
                    results.revenue[account, draw] = add_to_sums(results.sums[account, block], whole, real)
                    results.value[account, draw] = real[0]
                    results.renewal[account, draw] = real[NEXT_RENEWAL - VALUE]
                    if table[N_SNAPSHOTS] > 0:
                        width = OF_SNAPSHOTS * table[N_SNAPSHOTS] + OF_WINDOWS * table[N_WINDOWS]
                        at = lines.whole[lines.first[account], L_GROUP] * width
                        add_to_bridge(table, whole, lines.past[account], lines.begun[account], results.bridge[draw], at)
                    if keeps_all:
                        copy(results.whole[account, draw], whole, 0)
                        copy(results.real[account, draw], real, 0)


def entry_points(version: int) -> tuple[Any, Any]:
    """`simulate_draws` and `serve_books` with their machine code kept on disk, under a key that holds ``version``."""
    kept = nb.njit(cache=True, error_model="numpy", nogil=True, _nrt=False)  # type: ignore[call-overload]

    @kept
    def run_draws(par, table, scale, lines, books, results, scratch, first_block, last_block):  # type: ignore[no-untyped-def]
        if version >= 0:
            simulate_draws(par, table, scale, lines, books, results, scratch, first_block, last_block)

    @kept
    def run_books(table, scale, lines, books, scratch):  # type: ignore[no-untyped-def]
        if version >= 0:
            serve_books(table, scale, lines, books, scratch)

    return run_draws, run_books


SOURCES = (Path(__file__).parent,)
"""Where everything lies that the entry points are compiled from."""
run_draws, run_books = entry_points(digest_of_sources(*SOURCES))


def new_scratch(table: Whole, most_steps: int) -> Scratch:
    """Room to work in, with that for snapshots, and for lines of at most so many planned steps."""
    snapshots = 3 * int(table[N_SNAPSHOTS])
    return Scratch(
        real=np.zeros(REAL_SLOTS + STEP_REALS * most_steps),
        whole=np.zeros(WHOLE_SLOTS + snapshots + most_steps * STEP_SLOTS, dtype=np.int64),
        stream=np.zeros(STREAM_SLOTS, dtype=np.uint64),
        events=np.zeros(STREAM_SLOTS, dtype=np.uint64),
        profile=np.zeros(N_PROFILE),
        account_real=np.zeros(REAL_SLOTS - VALUE),
        account_whole=np.zeros(WHOLE_SLOTS - ORIGIN_TOTALS + snapshots, dtype=np.int64),
    )


def simulate(par: NDArray[np.float64], table: Whole, scale: Real, lines: Lines, results: Results, threads: int) -> None:
    """Simulate a batch under all draws, a contiguous share of the blocks of draws to each thread.

    Each draw owns its cells of the results and each block its sums, so threads never meet and their number changes nothing.
    """
    n_lines = lines.key.size
    most_steps = int((lines.whole[:, L_PLAN_END] - lines.whole[:, L_PLAN]).max(initial=0))
    books = Books(np.zeros_like(results.flow[0]), np.zeros((n_lines, 2), dtype=np.int64), np.zeros((n_lines, 2)))
    if table[BOOK_VIEW] != BOOKED_VIEW:
        run_books(table, scale, lines, books, new_scratch(table, most_steps))
    edges = np.linspace(0, results.sums.shape[1], threads + 1).astype(np.int64)
    with ThreadPoolExecutor(threads) as pool:
        shares = [
            pool.submit(
                run_draws, par, table, scale, lines, books, results, new_scratch(table, most_steps), first, last
            )
            for first, last in pairwise(edges.tolist())
        ]
        for share in shares:
            share.result()
