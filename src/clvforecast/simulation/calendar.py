"""Whole days and calendar months, and the grid of the reporting calendar's months that a forecast is summed into.

Days are counted from 1970-01-01; a period is half-open, ``[start, end)``.  A forecast made with what was known at the
end of day ``as_of`` begins on the next day, ``origin = as_of + 1``.
"""

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clvforecast.calendars import FiscalCalendar
from clvforecast.simulation.random import jit

DAYS_PER_YEAR = 365.25
DAYS_PER_MONTH = 365.25 / 12.0
MONTHS_PER_DAY = 12.0 / 365.2425
EPOCH = date(1970, 1, 1)
MARK_MONTHS = (12, 24, 36)


@jit
def civil_from_day(day: int) -> tuple[int, int, int]:
    """Year, month and day of month of a day number, proleptic Gregorian.

    The era arithmetic of Hinnant, "chrono-compatible low-level date algorithms": years begin in March, so that the
    leap day is the last of its year, and 400 years are 146,097 days.
    """
    shifted = day + 719468
    era = shifted // 146097
    day_of_era = shifted - era * 146097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return year, month, day_of_year - (153 * shifted_month + 2) // 5 + 1


@jit
def day_from_civil(year: int, month: int, day: int) -> int:
    """Day number of a calendar date (the inverse of `civil_from_day`)."""
    shifted_year = year - 1 if month <= 2 else year
    era = shifted_year // 400
    year_of_era = shifted_year - era * 400
    shifted_month = month - 3 if month > 2 else month + 9
    day_of_year = (153 * shifted_month + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146097 + day_of_era - 719468


@jit
def add_months(day: int, months: int) -> int:
    """The same day of the month ``months`` later, or that month's last day where it is shorter."""
    year, month, day_of_month = civil_from_day(day)
    count = year * 12 + month - 1 + months
    year, month = count // 12, count % 12 + 1
    month_length = day_from_civil(year + month // 12, month % 12 + 1, 1) - day_from_civil(year, month, 1)
    return day_from_civil(year, month, min(day_of_month, month_length))


def month_starts(first_year: int, last_year: int) -> NDArray[np.int64]:
    """First day of every month from January of ``first_year`` to January after ``last_year``, as day numbers."""
    months = np.arange(12 * (first_year - 1970), 12 * (last_year + 1 - 1970) + 1)
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


@jit
def month_at(starts: NDArray[np.int64], first: int, day: int) -> int:
    """Place, from ``first`` on, of the month in ``starts`` that a day lies in; that of the first for earlier days."""
    place = first + max(int((day - starts[first]) * MONTHS_PER_DAY), 0)
    while starts[place] > day and place > first:
        place -= 1
    while starts[place + 1] <= day:
        place += 1
    return place


@jit
def months_later(starts: NDArray[np.int64], first: int, place: int, day: int, months: int) -> tuple[int, int]:
    """`add_months` of a day in the month ``place``, and the month that leads to, by looking them up in ``starts``.

    Months are counted from ``first`` on; those before it are −1.
    """
    if place < 0:
        later = add_months(day, months)
        return later, month_at(starts, first, later) - first if later >= starts[first] else -1
    at = first + place
    length = starts[at + months + 1] - starts[at + months]
    return starts[at + months] + min(day - starts[at], length - 1), place + months


class Grid(NamedTuple):
    """The forecast's window and the months of its reporting calendar, M of them (the first and last may be partial).

    They are calendar months, or the 4- and 5-week periods of a calendar of weeks. Nothing is simulated by them: they are what
    money is added up in, and discounted by.

    bounds: int64 (M + 1,) first day of each month, and the first day after the horizon
    month_of: int32 (days of the window,) month index of each day, counted from ``bounds[0]``
    discount: float64 (M,) discount factor at the middle of each month's part of the window
    cumulative: float64 (M + 1,) sum of days × discount of the months before each
    marks: int64 (3,) the last day of the first 12, 24 and 36 months: a term that ends with the window is still active then
    log_discount: log(1 + annual discount rate)
    """

    as_of: int
    bounds: NDArray[np.int64]
    month_of: NDArray[np.int32]
    discount: NDArray[np.float64]
    cumulative: NDArray[np.float64]
    marks: NDArray[np.int64]
    log_discount: float


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def date_of(number: int) -> date:
    """The inverse of `day_number`."""
    return EPOCH + timedelta(days=int(number))


def make_grid(
    as_of: date, horizon_months: int, annual_discount_rate: float, calendar: FiscalCalendar | None = None
) -> Grid:
    """The grid of a forecast of ``horizon_months`` calendar months from the day after ``as_of``.

    Money of a month is discounted by (1 + rate)^(−t) with t = days/365.25 from the origin to the middle of the month.

    The months are those of ``calendar``, calendar months by default. Revenue does not depend on them. Discounted money does,
    where months are weeks: the middles lie elsewhere. That is accepted, because so a month's discounted money is what it brings
    × its factor, and because it is small: at 10% a year a portfolio's mean within 1e-4 of itself and an account's within 1e-3
    where money is served by days; where it counts on its booking day .3% of an account's were seen, for a day is up to 17 days
    from the middle of its month.
    """
    origin = day_number(as_of) + 1
    end = int(add_months(origin, horizon_months))
    edges = (calendar or FiscalCalendar()).spans(origin, end - 1, "month").bounds.clip(origin, end)
    days = np.diff(edges)
    log_discount = float(np.log1p(annual_discount_rate))
    middles = (edges[:-1] - origin + days / 2.0) / DAYS_PER_YEAR
    discount = np.exp(-log_discount * middles)
    return Grid(
        as_of=origin - 1,
        bounds=edges,
        month_of=np.repeat(np.arange(days.size, dtype=np.int32), days),
        discount=discount,
        cumulative=np.concatenate(([0.0], np.cumsum(days * discount))),
        marks=np.array([add_months(origin, months) - 1 for months in MARK_MONTHS], dtype=np.int64),
        log_discount=log_discount,
    )
