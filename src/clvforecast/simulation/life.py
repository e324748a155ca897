"""Inside a term: expansions, contractions, change orders, referrals and early termination, event by event."""

import math

import numpy as np
from numpy.typing import NDArray

from clvforecast.simulation.billing import book, mark_days, refund_items, refund_rates
from clvforecast.simulation.calendar import DAYS_PER_MONTH
from clvforecast.simulation.latents import EVENT_KINDS, NO_EVENT, NOT_KEPT, draw_size, next_event
from clvforecast.simulation.random import jit, normal, nth, uniform
from clvforecast.simulation.revenue import add_on_day, take_back
from clvforecast.simulation.slots import (
    ACTIVE,
    ACTIVE_DAYS,
    AMEND,
    BASE,
    BOOK_VIEW,
    BOOKED_VIEW,
    CASH_VIEW,
    CLIPS,
    COUNTS_DAYS,
    DEBOOKED,
    DEFERRED,
    END,
    EXPANDED,
    ITEM_START,
    ITEM_STOP,
    ITEM_TIED,
    ITEM_UNITS,
    KNOWN_BY,
    LATER_MRR,
    LOG_MAX_RATIO,
    MARK,
    MARKS,
    MAX_RATIO,
    MONTHS,
    MRR_AT_MARKS,
    MRR_NOW,
    N_MARKS,
    N_ORIGINS,
    ORIGIN,
    REFUND,
    SERVED,
    SIZE_CLASS,
    START,
    STEP_DAY,
    STEP_KIND,
    STEP_TAKEN,
    STEP_UNITS,
    STOP_DAY,
    TIED,
    UNITS_PER_CENT,
    WAITING,
    WINDOW_END,
    WINDOW_START,
    Origin,
    Real,
    Stream,
    Whole,
)
from clvforecast.simulation.snapshots import count_amendment, not_begun, pass_snapshots
from clvforecast.simulation.steering import next_planned_event, weigh_exposure

COMMITTED, EXPANSION = int(Origin.COMMITTED), int(Origin.EXPANSION)  # origins of events are in the order of their kinds
LOG_12 = math.log(12.0)
GREATEST_LOSS = 0.9999
GREATEST_AMOUNT = 9.0e13  # cents of one booking; keeps the sums of a portfolio inside 64 bits


@jit
def whole_cents(whole: Whole, amount: float) -> int:
    """A currency amount in units, rounded to a whole cent; bounded, and the bound counted."""
    value = amount * 100.0
    if not abs(value) < GREATEST_AMOUNT:
        whole[CLIPS] += 1
        value = math.copysign(GREATEST_AMOUNT, value)
    return int(math.floor(value + 0.5)) * UNITS_PER_CENT


@jit
def bounded_multiple(whole: Whole, y: float, bound: float, log_bound: float) -> float:
    """exp(y), at most ``bound``, and the bound counted.

    With few data the SD of y is hardly known, and a lognormal with an unknown SD has no finite mean: one draw in a million
    would decide the expected revenue.
    """
    if y > log_bound:
        whole[CLIPS] += 1
        return bound
    return math.exp(y)


@jit
def pass_time(table: Whole, real: Real, whole: Whole, later: NDArray[np.float64], start: int, stop: int) -> None:
    """Note activity, and the MRR in force at the marks (12, 24, 36 months) and snapshots, within [start, stop).

    Where active days cost something it is noted which they are.
    """
    while whole[MARK] < N_MARKS and table[nth(MARKS + whole[MARK])] < stop:
        if table[nth(MARKS + whole[MARK])] >= start:
            whole[ACTIVE] |= 1 << whole[MARK]
            ahead = not_begun(whole, later, LATER_MRR, table[nth(MARKS + whole[MARK])])
            real[MRR_AT_MARKS + whole[MARK]] += real[MRR_NOW] - ahead
        whole[MARK] += 1
    first, last = max(start, table[WINDOW_START]), min(stop, table[WINDOW_END])
    if first < last:
        whole[ACTIVE_DAYS] += last - first
        if table[COUNTS_DAYS] == 1:
            mark_days(table, whole, first, last)
    if start <= table[WINDOW_END] < stop:
        whole[ACTIVE] |= 1 << N_MARKS
    pass_snapshots(table, real, whole, later, start, stop)


@jit
def amend(real: Real, whole: Whole, origin: int, day: int, units: int, rate: int) -> None:
    """An expansion or contraction is co-termed: it adds to the term's money, the MRR in force, ARR and what can be taken back."""
    whole[TIED + origin] += rate
    booked = units / (100.0 * UNITS_PER_CENT)
    real[AMEND] += booked
    whole[SIZE_CLASS] = -1
    real[MRR_NOW] += booked * DAYS_PER_MONTH / (whole[END] - day)
    count_amendment(real, whole, day, booked)


@jit
def happen(
    par: Real,
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    later: NDArray[np.float64],
    kind: int,
    day: int,
    stream: Stream,
) -> None:
    """One event of a kind, its size y on the kind's own scale.

    Expansion: base × months of the term × exp(y).  Contraction: the share logistic(y) of the MRR in force, for the rest
    of the term.  Change order, referral: base × exp(y), served on the day.  exp(y) is at most ``max_ratio`` times the term,
    or times a year at the base.
    """
    y, origin = draw_size(par, real, kind, stream), EXPANSION + kind
    if kind == 0:
        amount = real[BASE] * whole[MONTHS] * bounded_multiple(whole, y, scale[MAX_RATIO], scale[LOG_MAX_RATIO])
        whole[EXPANDED] = 1
    elif kind == 1:
        months_left = (whole[END] - day) / DAYS_PER_MONTH
        in_force = max(real[MRR_NOW] - not_begun(whole, later, LATER_MRR, day), 0.0)
        amount = -in_force * months_left / (1.0 + math.exp(-y))
    else:
        amount = real[BASE] * bounded_multiple(whole, y, 12.0 * scale[MAX_RATIO], LOG_12 + scale[LOG_MAX_RATIO])
    units = whole_cents(whole, amount)
    end = whole[END] if kind < 2 else day + 1
    rate = book(table, scale, real, whole, flow, origin, day, day, end, units)
    if kind < 2:
        amend(real, whole, origin, day, units, rate)


@jit
def happen_as_planned(
    table: Whole, scale: Real, real: Real, whole: Whole, flow: Whole, later: NDArray[np.float64], at: int
) -> None:
    """A planned expansion, contraction or change order on its day; a contraction leaves something of the MRR in force."""
    kind, day, units = whole[nth(at + STEP_KIND)], whole[nth(at + STEP_DAY)], whole[nth(at + STEP_UNITS)]
    whole[nth(at + STEP_TAKEN)] = 1
    if kind == 0:
        whole[EXPANDED] = 1
    elif kind == 1:
        months_left = (whole[END] - day) / DAYS_PER_MONTH
        in_force = max(real[MRR_NOW] - not_begun(whole, later, LATER_MRR, day), 0.0)
        units = max(units, whole_cents(whole, -GREATEST_LOSS * in_force * months_left))
    end = whole[END] if kind < 2 else day + 1
    rate = book(table, scale, real, whole, flow, EXPANSION + kind, day, day, end, units)
    if kind < 2:
        amend(real, whole, EXPANSION + kind, day, units, rate)


@jit
def wait(scale: Real, real: Real, whole: Whole, start: float, days: float) -> None:
    """Let days of activity pass that bring no event."""
    real[WAITING] -= days
    real[SERVED] += days
    weigh_exposure(scale, real, whole, start, start + days)


@jit
def live_through_term(
    par: Real,
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    later: NDArray[np.float64],
    stream: Stream,
) -> int:
    """Events from the term's start (or the origin) to its end (or the horizon); returns the day activity stops.

    The wait for the next event is counted in days of activity, so it goes on from term to term and over a lapse.  ``later``: the
    amendments on the books that begin later.
    """
    now = max(whole[START], table[WINDOW_START])
    last = min(whole[END], whole[STOP_DAY])
    end = min(last, table[WINDOW_END])
    time = float(now)
    while now < end:
        planned = next_planned_event(table, whole, now, end)
        until = whole[nth(planned + STEP_DAY)] if planned >= 0 else end
        if time + real[WAITING] < until:
            waited = real[WAITING]
            wait(scale, real, whole, time, waited)
            time += waited
            day = int(time)
            kind = next_event(table, scale, real, whole, day, stream)
            if kind == NOT_KEPT:
                normal(stream)
            if kind >= NO_EVENT:
                continue
            pass_time(table, real, whole, later, now, day)
            now = day
            if kind == EVENT_KINDS:
                return day
            happen(par, table, scale, real, whole, flow, later, kind, day, stream)
            continue
        wait(scale, real, whole, time, until - time)
        if planned < 0:
            break
        pass_time(table, real, whole, later, now, until)
        now, time = until, float(until)
        happen_as_planned(table, scale, real, whole, flow, later, planned)
    pass_time(table, real, whole, later, now, last)
    return last


@jit
def terminate(
    par: Real,
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    items: NDArray[np.int64],
    day: int,
    stream: Stream,
) -> bool:
    """Early termination on ``day``: with the refund probability all that is unserved is de-booked, else all stays.

    A termination after the last day that counts is not known by then, and takes nothing back.  Returns whether it does.
    ``items`` are the rows (start, end, units, tied) on the line's books at the origin, where these are of the running term.
    """
    if not (uniform(stream) < par[REFUND] and day <= table[KNOWN_BY]):
        return False
    take_back_rates(table, scale, real, whole, flow, day)
    if whole[ORIGIN] == COMMITTED:  # else what was on the books belongs to an earlier term
        take_back_items(table, scale, real, whole, flow, items, day, True, False)
    return True


@jit
def take_back_rates(table: Whole, scale: Real, real: Real, whole: Whole, flow: Whole, day: int) -> None:
    """De-book what is unserved on ``day`` of the money that the simulation booked for the running term.

    Cash has its own rule (`billing`).
    """
    if table[BOOK_VIEW] == CASH_VIEW:
        refund_rates(table, scale, real, whole, flow, day)
        return
    for origin in range(N_ORIGINS):
        rate = whole[TIED + origin]
        if rate != 0 and day < whole[END]:
            take_back(table, scale, real, whole, flow, origin, day, whole[END], rate)


@jit
def take_back_items(
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    items: NDArray[np.int64],
    day: int,
    tied: bool,
    others: bool,
) -> None:
    """De-book what is unserved on ``day`` of the items that were on the books at the origin: the tied ones, and the others."""
    if table[BOOK_VIEW] == CASH_VIEW:
        refund_items(table, scale, real, whole, flow, items, day, tied, others)
        return
    for item in range(items.shape[0]):
        start = max(items[item, ITEM_START], table[WINDOW_START])
        end = items[item, ITEM_STOP]
        if day >= end or not (tied if items[item, ITEM_TIED] == 1 else others):
            continue
        rate = items[item, ITEM_UNITS] // (end - start)
        remainder = items[item, ITEM_UNITS] - rate * (end - start) if day <= start else 0
        if (
            table[BOOK_VIEW] == BOOKED_VIEW
        ):  # counts on the day of the termination, even where service begins after the window
            units = rate * (end - max(day, start)) + remainder
            whole[DEBOOKED] += units
            add_on_day(table, scale, real, whole, flow, COMMITTED, day, -units)
            continue
        take_back_remainder(table, scale, real, whole, flow, start, remainder)
        take_back(table, scale, real, whole, flow, COMMITTED, max(day, start), end, rate)


@jit
def take_back_remainder(
    table: Whole, scale: Real, real: Real, whole: Whole, flow: Whole, start: int, remainder: int
) -> None:
    """De-book the part of a committed item that its daily rate leaves over, which is served on its first day."""
    whole[DEBOOKED] += remainder
    if start < table[WINDOW_END]:
        add_on_day(table, scale, real, whole, flow, COMMITTED, start, -remainder)
    else:
        whole[DEFERRED] -= remainder
