"""Service periods of revenue items: calendar months, and the part served before a day. Vectorised numpy.

Days are int64 days since 1970-01-01; a service period is half-open, [start, end); money is integer cents.
"""

import datetime as dt

import numpy as np
import numpy.typing as npt

Days = npt.NDArray[np.int64]
Cents = npt.NDArray[np.int64]

EPOCH = dt.date(1970, 1, 1)


def day_number(date: dt.date) -> int:
    """Days from 1970-01-01 to ``date``."""
    return (date - EPOCH).days


def day_date(day: int) -> dt.date:
    """The date that is ``day`` days after 1970-01-01."""
    return EPOCH + dt.timedelta(days=int(day))


def calendar_year(day: Days) -> npt.NDArray[np.int64]:
    """The calendar year of each day."""
    return day.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970


def add_months(day: Days, months: npt.NDArray[np.int64]) -> Days:
    """The same day of the month, ``months`` calendar months later, clipped to that month's last day.

    31 January + 1 month is 28 (or 29) February, as in pandas' ``DateOffset`` and DuckDB's ``INTERVAL``.
    """
    date = day.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    day_of_month = (date - month.astype("datetime64[D]")).astype(np.int64)
    target = month + months.astype("timedelta64[M]")
    first_day = target.astype("datetime64[D]").astype(np.int64)
    month_length = (target + np.timedelta64(1, "M")).astype("datetime64[D]").astype(np.int64) - first_day
    return first_day + np.minimum(day_of_month, month_length - 1)


def recognised_before(cents: Cents, start: Days, end: Days, day: Days | int) -> Cents:
    """Cents of each item that are recognised before ``day`` begins.

    ``round_half_even(C (x - s) / (e - s))`` with x = ``day`` kept inside [s, e], in integer arithmetic; an
    item without a period (e <= s) is recognised whole on its day s.
    """
    length = np.maximum(end - start, 1)
    served = np.clip(day, start, np.maximum(end, start)) - start
    whole, rest = np.divmod(cents * served, length)
    round_up = (2 * rest > length) | ((2 * rest == length) & (whole % 2 == 1))
    return np.where(end > start, whole + round_up, cents * (start < day))
