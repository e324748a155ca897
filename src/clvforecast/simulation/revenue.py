"""Recognition: how money booked for a period of service becomes revenue of days and months.

All sums are of integers (see `slots`), so they are exact and do not depend on their order.  A booking of A units over n
days is served at ⌊A/n⌋ units a day, with the remainder on its first day.  The monthly flows keep, for each group (where there are
several) and each origin, what falls in a month and the steps of the daily rate of whole months: a month's revenue is
``month[m] + days[m] · Σ_{k≤m} step[k]``, so that a booking costs the same however long it is served.
"""

import math

from clvforecast.simulation.calendar import DAYS_PER_YEAR
from clvforecast.simulation.random import jit, nth
from clvforecast.simulation.slots import (
    BOOK_VIEW,
    BOOKED_VIEW,
    BOUNDS_AT,
    CUMULATIVE_AT,
    DEBOOKED,
    DEFERRED,
    DISCOUNT_AT,
    FLOW_AT,
    LOG_DISCOUNT,
    MONTH_OF_AT,
    N_GROUPS,
    N_MONTHS,
    ORIGIN_FLOW_AT,
    ORIGIN_TOTALS,
    VALUE,
    WINDOW_END,
    WINDOW_START,
    Origin,
    Real,
    Whole,
)

CATCH_UP = int(Origin.CATCH_UP)


@jit
def discount_at(table: Whole, scale: Real, day: int) -> float:
    """What money on a day is worth at the origin."""
    return math.exp(-scale[LOG_DISCOUNT] * (day - table[WINDOW_START]) / DAYS_PER_YEAR)


@jit
def add_on_day(
    table: Whole, scale: Real, real: Real, whole: Whole, flow: Whole, origin: int, day: int, units: int
) -> None:
    """Recognise ``units`` whole on one day of the window."""
    month = table[nth(table[MONTH_OF_AT] + day - table[WINDOW_START])]
    if table[N_GROUPS] > 1:
        flow[nth(whole[FLOW_AT] + month)] += units
    flow[nth(whole[ORIGIN_FLOW_AT] + origin * 2 * (table[N_MONTHS] + 1) + month)] += units
    whole[ORIGIN_TOTALS + origin] += units
    real[VALUE] += units * scale[nth(DISCOUNT_AT + month)]


@jit
def add_daily(
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    origin: int,
    start: int,
    stop: int,
    rate: int,
    extra: int,
) -> None:
    """Recognise ``rate`` units a day over [start, stop) inside the window, and ``extra`` units on its first day.

    The months at the two ends get their part; the whole months between are a step up and a step down of the rate.
    """
    month_of = table[MONTH_OF_AT] - table[WINDOW_START]
    first, last = table[nth(month_of + start)], table[nth(month_of + stop - 1)]
    months = table[N_MONTHS] + 1
    of_origin = whole[ORIGIN_FLOW_AT] + origin * 2 * months
    units = rate * (stop - start) + extra
    whole[ORIGIN_TOTALS + origin] += units
    if first == last:
        flow[nth(of_origin + first)] += units
        if table[N_GROUPS] > 1:
            flow[nth(whole[FLOW_AT] + first)] += units
        real[VALUE] += units * scale[nth(DISCOUNT_AT + first)]
        return
    head = rate * (table[nth(table[BOUNDS_AT] + first + 1)] - start) + extra
    tail = rate * (stop - table[nth(table[BOUNDS_AT] + last)])
    add_to_flow(flow, of_origin, months, first, last, head, tail, rate)
    if table[N_GROUPS] > 1:
        add_to_flow(flow, whole[FLOW_AT], months, first, last, head, tail, rate)
    between = scale[nth(table[CUMULATIVE_AT] + last)] - scale[nth(table[CUMULATIVE_AT] + first + 1)]
    real[VALUE] += head * scale[nth(DISCOUNT_AT + first)] + rate * between + tail * scale[nth(DISCOUNT_AT + last)]


@jit
def add_to_flow(flow: Whole, at: int, months: int, first: int, last: int, head: int, tail: int, rate: int) -> None:
    """``head`` and ``tail`` in the first and last of some months, and ``rate`` a day in those between, of one group or origin."""
    flow[nth(at + first)] += head
    flow[nth(at + last)] += tail
    flow[nth(at + months + first + 1)] += rate
    flow[nth(at + months + last)] -= rate


@jit
def serve(
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    origin: int,
    booked_day: int,
    start: int,
    end: int,
    units: int,
) -> int:
    """Recognise a booking over its service [start, end); returns its daily rate.

    Service before the window was not known then: it is caught up on the day the booking is known.  What is served
    after the window is deferred.
    """
    window_start, window_end = table[WINDOW_START], table[WINDOW_END]
    rate = units // (end - start)
    remainder = units - rate * (end - start)
    recognised = 0
    if start < window_start:
        missed = rate * (min(end, window_start) - start) + remainder
        remainder = 0
        day = max(booked_day, window_start)
        if day < window_end:
            add_on_day(table, scale, real, whole, flow, CATCH_UP, day, missed)
            recognised += missed
    first, stop = max(start, window_start), min(end, window_end)
    if first < stop:
        add_daily(table, scale, real, whole, flow, origin, first, stop, rate, remainder)
        recognised += rate * (stop - first) + remainder
    whole[DEFERRED] += units - recognised
    return rate


@jit
def take_back(
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    origin: int,
    stop: int,
    end: int,
    rate: int,
) -> None:
    """De-book the days [stop, end) of what was served at ``rate`` units a day, whether in the window or after it.

    In the booked view the money goes back on day ``stop``, which must be in the window.
    """
    whole[DEBOOKED] += rate * (end - stop)
    if table[BOOK_VIEW] == BOOKED_VIEW:
        add_on_day(table, scale, real, whole, flow, origin, stop, -rate * (end - stop))
        return
    last = min(end, table[WINDOW_END])
    if stop < last:
        add_daily(table, scale, real, whole, flow, origin, stop, last, -rate, 0)
    first = max(stop, table[WINDOW_END])
    if first < end:
        whole[DEFERRED] -= rate * (end - first)
