"""Money as it is booked, billed and paid, and the days on which an account is served.

A booking counts as it is served (`revenue`), on its booking day, or as cash.  As cash it is billed in advance, in instalments
of whole calendar months from the start of its service, the last one cut at its end.  An instalment is the daily rate times its
days, the first with the remainder too, so that they add up to the booking.  It is invoiced on the first day of its service, or
on the booking day where that is later, and paid so many days after.

What an early termination de-books goes back the same number of days after the termination where it was paid by then; an
invoice that was not is paid that much smaller.  So all cash is all that was booked less what was de-booked, to the unit.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clvforecast.simulation.calendar import add_months
from clvforecast.simulation.random import jit, nth, outside
from clvforecast.simulation.revenue import add_on_day, discount_at, serve
from clvforecast.simulation.slots import (
    BEYOND,
    BILLING_MONTHS,
    BOOK_VIEW,
    BOOKED,
    BOUNDS_AT,
    CASH_VIEW,
    DAILY_COST,
    DAYS_AT,
    DAYS_BEYOND,
    DEBOOKED,
    DEFERRED,
    DISCOUNT_AT,
    END,
    ITEM_PAID,
    ITEM_RATE,
    ITEM_START,
    ITEM_STOP,
    ITEM_TIED,
    ITEM_UNITS,
    KNOWN_BY,
    LOG_AT,
    LOG_BOOKED,
    LOG_DISCOUNT,
    LOG_ORIGIN,
    LOG_RATE,
    LOG_ROWS,
    LOG_START,
    LOG_WIDTH,
    N_GROUPS,
    N_LOGGED,
    N_MONTHS,
    N_ORIGINS,
    PAYMENT_DAYS,
    RECOGNISED_VIEW,
    TIED,
    UNITS_PER_CURRENCY,
    VALUE,
    WINDOW_END,
    WINDOW_START,
    Origin,
    Real,
    Whole,
)

COMMITTED, CHANGE_ORDER, REFERRAL = int(Origin.COMMITTED), int(Origin.CHANGE_ORDER), int(Origin.REFERRAL)
WORD_BITS = 64
_PAIRS, _FOURS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_EIGHTS, _ONES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_ONE, _TWO, _FOUR, _TOP = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)


@jit
def book(
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
    """Book new money for service over [start, end); returns the daily rate that a de-booking would take back.

    A booking after the last day that counts is not counted at all (rate 0).  In the booked view money counts on the
    day of booking; a booking after the window is deferred.
    """
    if booked_day > table[KNOWN_BY]:
        return 0
    whole[BOOKED] += units
    if table[BOOK_VIEW] == RECOGNISED_VIEW:
        return serve(table, scale, real, whole, flow, origin, booked_day, start, end, units)
    if table[BOOK_VIEW] == CASH_VIEW:
        return bill(table, scale, real, whole, flow, origin, booked_day, start, end, units)
    pay(table, scale, real, whole, flow, origin, max(booked_day, table[WINDOW_START]), units)
    return units // (end - start)


@outside
def bill(
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
    """Bill a booking in instalments; returns its daily rate. What a termination would de-book is put into the term's log."""
    rate = units // (end - start)
    remainder = units - rate * (end - start)
    first, number = start, 0
    while first < end:
        number += 1
        stop = instalment_end(table, start, end, number)
        day = max(first, booked_day) + table[PAYMENT_DAYS]
        pay(table, scale, real, whole, flow, origin, day, rate * (stop - first) + remainder)
        first, remainder = stop, 0
    if origin != CHANGE_ORDER and origin != REFERRAL:
        note_in_log(whole, origin, booked_day, start, rate)
    return rate


@jit
def instalment_end(table: Whole, start: int, end: int, number: int) -> int:
    """The first day after the first ``number`` instalments of service over [start, end)."""
    if table[BILLING_MONTHS] == 0:
        return end
    return min(add_months(start, number * table[BILLING_MONTHS]), end)


@outside
def pay(table: Whole, scale: Real, real: Real, whole: Whole, flow: Whole, origin: int, day: int, units: int) -> None:
    """Count money of a day, which is not before the window; after the window it is deferred, and worth what it is that day."""
    if day < table[WINDOW_END]:
        add_on_day(table, scale, real, whole, flow, origin, day, units)
        return
    whole[DEFERRED] += units
    if scale[LOG_DISCOUNT] > 0.0:
        real[BEYOND] += units * discount_at(table, scale, day) / UNITS_PER_CURRENCY


@jit
def note_in_log(whole: Whole, origin: int, booked_day: int, start: int, rate: int) -> None:
    """Remember a booking of the running term until the term ends.

    Of the bookings after the first `LOG_ROWS` only the rates are known (`TIED`): all that these have unserved goes back as if it
    had been paid.
    """
    if whole[N_LOGGED] == LOG_ROWS:
        return
    row = LOG_AT + LOG_WIDTH * whole[N_LOGGED]
    whole[nth(row + LOG_ORIGIN)], whole[nth(row + LOG_BOOKED)] = origin, booked_day
    whole[nth(row + LOG_START)], whole[nth(row + LOG_RATE)] = start, rate
    whole[N_LOGGED] += 1


@outside
def refund_rates(table: Whole, scale: Real, real: Real, whole: Whole, flow: Whole, day: int) -> None:
    """De-book, where service ends on ``day``, what is unserved of the running term's bookings, paid or not."""
    if day >= whole[END]:
        return
    for booking in range(whole[N_LOGGED]):
        row = LOG_AT + LOG_WIDTH * booking
        origin, rate = whole[nth(row + LOG_ORIGIN)], whole[nth(row + LOG_RATE)]
        whole[TIED + origin] -= rate
        booked_day, start = whole[nth(row + LOG_BOOKED)], whole[nth(row + LOG_START)]
        refund_booking(table, scale, real, whole, flow, origin, booked_day, start, rate, day)
    for origin in range(N_ORIGINS):
        if whole[TIED + origin] != 0:
            unserved = whole[TIED + origin] * (whole[END] - day)
            give_back(table, scale, real, whole, flow, origin, day, day, unserved)


@outside
def refund_items(
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
    """De-book what is unserved on ``day`` of the instalments of what was on the books: the tied ones, and the others."""
    for item in range(items.shape[0]):
        start, end = items[item, ITEM_START], items[item, ITEM_STOP]
        if day < end and (tied if items[item, ITEM_TIED] == 1 else others):
            unserved = items[item, ITEM_UNITS] if day <= start else items[item, ITEM_RATE] * (end - day)
            give_back(table, scale, real, whole, flow, COMMITTED, day, items[item, ITEM_PAID], unserved)


@jit
def refund_booking(
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    origin: int,
    booked_day: int,
    start: int,
    rate: int,
    day: int,
) -> None:
    """De-book the days from ``day`` to the term's end of a booking, instalment by instalment."""
    first, number = start, 0
    while first < whole[END]:
        number += 1
        stop = instalment_end(table, start, whole[END], number)
        if day < stop:
            paid = max(first, booked_day) + table[PAYMENT_DAYS]
            give_back(table, scale, real, whole, flow, origin, day, paid, rate * (stop - max(first, day)))
        first = stop


@jit
def give_back(
    table: Whole, scale: Real, real: Real, whole: Whole, flow: Whole, origin: int, day: int, paid: int, units: int
) -> None:
    """De-book money paid on day ``paid``: it goes back after a termination on ``day``, or is not paid if it was not by then."""
    whole[DEBOOKED] += units
    pay(table, scale, real, whole, flow, origin, day + table[PAYMENT_DAYS] if paid <= day else paid, -units)


@jit
def collect(table: Whole, scale: Real, real: Real, whole: Whole, flow: Whole, item: Whole) -> None:
    """An instalment of what is on the books at the origin; what was due before the window counts as paid by then."""
    if item[ITEM_PAID] >= table[WINDOW_START]:
        pay(table, scale, real, whole, flow, COMMITTED, item[ITEM_PAID], item[ITEM_UNITS])


@jit
def billed_years(table: Whole, scale: Real, months: int) -> float:
    """What a term's instalments are worth at its start, in years of its revenue: Σ_k months_k/12 · (1 + rate)^(−time of k)."""
    period, later = table[BILLING_MONTHS], math.exp(-scale[LOG_DISCOUNT] * table[PAYMENT_DAYS] / 365.25)
    if period == 0 or period >= months:
        return later * months / 12.0
    full = months // period
    each = math.exp(-scale[LOG_DISCOUNT] * period / 12.0)
    after = math.exp(-scale[LOG_DISCOUNT] * full * period / 12.0)
    return later * (period * (1.0 - after) / (1.0 - each) + (months - full * period) * after) / 12.0


@jit
def word_count(table: Whole) -> int:
    """Words of 64 bits that hold one for each day of the window."""
    return (table[WINDOW_END] - table[WINDOW_START] + WORD_BITS - 1) // WORD_BITS


@jit
def clear_days(table: Whole, whole: Whole) -> None:
    """No day is active yet of the account that begins."""
    for word in range(word_count(table)):
        whole[nth(DAYS_AT + word)] = 0


@outside
def mark_days(table: Whole, whole: Whole, start: int, stop: int) -> None:
    """The account is active on the days [start, stop), in the window, whether another of its lines is or not."""
    low, high = start - table[WINDOW_START], stop - table[WINDOW_START]
    first, last = low // WORD_BITS, (high - 1) // WORD_BITS
    for word in range(first, last + 1):
        whole[nth(DAYS_AT + word)] |= bits_between(low - word * WORD_BITS, high - word * WORD_BITS)


@jit
def bits_between(low: int, high: int) -> int:
    """A word with the bits from ``low`` to before ``high`` set, of those that it has."""
    bits = -1
    if low > 0:
        bits = bits << low
    if high < WORD_BITS:
        bits = bits & ~(-1 << high)
    return bits


@jit
def bit_count(word: int) -> int:
    """How many bits of a word are set: sums of neighbours, in pairs, fours, eights, and of all eights by a product."""
    bits = np.uint64(word)
    bits = bits - ((bits >> _ONE) & _PAIRS)
    bits = (bits & _FOURS) + ((bits >> _TWO) & _FOURS)
    bits = (bits + (bits >> _FOUR)) & _EIGHTS
    count: Any = np.int64((bits * _ONES) >> _TOP)  # a sum with an unsigned number would be a real one
    return count


@outside
def charge(table: Whole, scale: Real, whole: Whole, flow: Whole, group: int, account_real: Real) -> None:
    """Take the cost of the account's active days from its value, and add the days to its group's, by month.

    Days are discounted as money recognised on them would be.  After the window the expected days are those of the line with
    most of them: all of an account's when no other line outlives the window.
    """
    days_at = table[BOUNDS_AT]
    at = (table[N_GROUPS] + N_ORIGINS + group) * 2 * (table[N_MONTHS] + 1)
    discounted = 0.0
    for month in range(table[N_MONTHS]):
        low = table[nth(days_at + month)] - table[WINDOW_START]
        high = table[nth(days_at + month + 1)] - table[WINDOW_START]
        days = 0
        for word in range(low // WORD_BITS, (high - 1) // WORD_BITS + 1):
            within = bits_between(low - word * WORD_BITS, high - word * WORD_BITS)
            days += bit_count(whole[nth(DAYS_AT + word)] & within)
        flow[nth(at + month)] += days
        discounted += days * scale[nth(DISCOUNT_AT + month)]
    account_real[0] -= scale[DAILY_COST] * discounted
    account_real[BEYOND - VALUE] -= scale[DAILY_COST] / UNITS_PER_CURRENCY * account_real[DAYS_BEYOND - VALUE]
