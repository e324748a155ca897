"""The twin's bookkeeping: bookings served day by day, periods of activity, and what they add up to."""

import math
from calendar import monthrange
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clvforecast.calendars import FiscalCalendar
from clvforecast.simulation.slots import UNITS_PER_CURRENCY, Origin

EPOCH = date(1970, 1, 1)
YEAR = 365.25


def months_after(day: int, months: int) -> int:
    """The same day of the month, ``months`` later, or the last of that month where it is shorter."""
    then = date_of(day)
    years, month = divmod(then.month - 1 + months, 12)
    last = monthrange(then.year + years, month + 1)[1]
    return (date(then.year + years, month + 1, min(then.day, last)) - EPOCH).days


@dataclass(frozen=True)
class Booking:
    """Money for service over [start, end); ``cut``: the day from which its service was de-booked."""

    origin: Origin
    day: int  # on which it is booked
    start: int
    end: int
    units: int
    term: int | None  # number of the term that it belongs to; None: of no term, nothing de-books it
    cut: int | None = None

    def served(self) -> list[tuple[int, int]]:
        """(day, units) of each day of service as booked: evenly in whole units, the remainder on the first day."""
        rate, remainder = divmod(self.units, self.end - self.start)
        days = [(day, rate) for day in range(self.start, self.end)]
        days[0] = (self.start, rate + remainder)
        return days

    def taken_back(self) -> list[tuple[int, int]]:
        """(day, units) that the cut takes back: days not yet served, at the daily rate; all, if none was served."""
        if self.cut is None or self.cut >= self.end:
            return []
        if self.cut < self.start or (self.cut == self.start and self.origin == Origin.COMMITTED):
            return self.served()
        rate = self.units // (self.end - self.start)
        return [(day, rate) for day in range(self.cut, self.end)]


@dataclass(frozen=True)
class Activity:
    """A period [start, end) under contract at one MRR, and at the one that ARR counts."""

    start: int
    end: int
    mrr: float
    counted_mrr: float


@dataclass(frozen=True)
class Account:
    """What one line brings under one draw, in the kernel's units; months are those of the window, in order."""

    months: NDArray[np.int64]  # (months, 8 origins) revenue
    value: float
    booked: int
    debooked: int
    deferred: int
    active: tuple[bool, bool, bool, bool]  # at 12, 24, 36 months and at the horizon
    mrr: tuple[float, float, float]  # in force at 12, 24, 36 months
    active_days: int
    active_months: NDArray[np.int64]  # (months,) active days
    later: float  # cash after the window, discounted, in currency


@lru_cache
def months_of_window(first_day: int, horizon: int, calendar: FiscalCalendar | None) -> dict[int, int]:
    """Number of the reporting month that each day of the window lies in, asked for one by one; calendar months by default."""
    names: dict[int, Hashable] = {
        day: month_of(day) if calendar is None else calendar.period(date_of(day)) for day in range(first_day, horizon)
    }
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    return {day: numbers[name] for day, name in names.items()}


def discount_factors(month: dict[int, int], first_day: int, log_discount: float) -> list[float]:
    """(1 + rate)^(-t) of each month of the window, t in years to the middle of its days in the window."""
    days: dict[int, list[int]] = defaultdict(list)
    for day, number in month.items():
        days[number].append(day)
    middles = [(those[0] + those[-1] + 1) / 2 - first_day for those in days.values()]
    return [(1 + np.expm1(log_discount)) ** (-middle / YEAR) for middle in middles]


def month_of(day: int) -> tuple[int, int]:
    """Year and month of a day."""
    return date_of(day).year, date_of(day).month


def date_of(day: int) -> date:
    """The date of a day number."""
    return EPOCH + timedelta(days=day)


def entries(booking: Booking, first_day: int, by_booking_day: bool) -> list[tuple[int, Origin, int]]:
    """(day, origin, units) of a booking and of its cut, each on the day on which it counts as revenue.

    Service before the window, booked in it, is caught up when it is booked. By booking day all of it counts
    then (what was booked before the window has counted), and a cut counts on its own day.
    """
    if by_booking_day:
        taken = sum(units for _, units in booking.taken_back())
        found = [(max(booking.day, first_day), booking.origin, booking.units)]
        if booking.origin == Origin.COMMITTED:
            found = []
        return [*found, (booking.cut, booking.origin, -taken)] if booking.cut is not None else found
    found = [
        (day, booking.origin, units) if day >= first_day else (max(booking.day, first_day), Origin.CATCH_UP, units)
        for day, units in booking.served()
    ]
    return found + [(day, booking.origin, -units) for day, units in booking.taken_back()]


def account_for(
    bookings: list[Booking],
    activity: list[Activity],
    first_day: int,
    horizon: int,
    log_discount: float,
    by_booking_day: bool,
    calendar: FiscalCalendar | None = None,
    cash: Callable[[Booking], list[tuple[int, int]]] | None = None,
    daily_cost: float = 0.0,
) -> Account:
    """Add up a life, day by day.

    With ``cash`` money counts on the days that it says a booking is paid on; what was paid before the window has counted.
    Each active day costs ``daily_cost`` of the value, in currency.
    """
    month = months_of_window(first_day, horizon, calendar)
    factors = discount_factors(month, first_day, log_discount)
    months = np.zeros((len(factors), len(Origin)), dtype=np.int64)
    value, deferred, later = 0.0, 0, 0.0
    for booking in bookings:
        if cash is None:
            counted = entries(booking, first_day, by_booking_day)
        else:
            counted = [(day, booking.origin, units) for day, units in cash(booking) if day >= first_day]
        for day, origin, units in counted:
            if day < horizon:
                months[month[day], origin] += units
                value += units * factors[month[day]]
            else:
                deferred += units
                if (cash is not None or by_booking_day) and log_discount > 0:
                    later += units / UNITS_PER_CURRENCY * math.exp(-log_discount * (day - first_day) / YEAR)
    active_months = np.zeros(len(factors), dtype=np.int64)
    for day in {day for period in activity for day in range(max(period.start, first_day), min(period.end, horizon))}:
        active_months[month[day]] += 1
    value -= daily_cost * UNITS_PER_CURRENCY * float(active_months @ np.array(factors))
    marks = [months_after(first_day, count) - 1 for count in (12, 24, 36)]
    at = [[period for period in activity if period.start <= day < period.end] for day in (*marks, horizon)]
    return Account(
        months=months,
        value=value,
        booked=sum(booking.units for booking in bookings if booking.origin != Origin.COMMITTED),
        debooked=sum(units for booking in bookings for _, units in booking.taken_back()),
        deferred=deferred,
        active=(bool(at[0]), bool(at[1]), bool(at[2]), bool(at[3])),
        mrr=(_total_mrr(at[0]), _total_mrr(at[1]), _total_mrr(at[2])),
        active_days=sum(max(min(period.end, horizon) - max(period.start, first_day), 0) for period in activity),
        active_months=active_months,
        later=later,
    )


def _total_mrr(periods: list[Activity]) -> float:
    return sum(period.mrr for period in periods)
