"""Fiscal calendars: the months, quarters and years that a company reports in, and what it calls them.

Days are counted from 1970-01-01.  Periods of one kind follow each other without gap or overlap: a period ends on the day
before the next one starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict

from clvforecast.errors import ForecastError

Longs = NDArray[np.int64]
Weeks = Literal["4-4-5", "4-5-4", "5-4-4"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Frequency = Literal["month", "quarter", "year"]

MONTHS_IN = {"month": 1, "quarter": 3, "year": 12}
"""Months (of a calendar) in each kind of period."""
EPOCH = date(1970, 1, 1)
WEEKDAYS = get_args(Weekday)
WEEKDAY_OF_DAY_0 = 3
"""1970-01-01 was a Thursday; Monday is 0."""


class Spans(NamedTuple):
    """Whole periods in their order: n labels; int64 (n + 1,) first day of each, and the first day after the last."""

    labels: tuple[str, ...]
    bounds: Longs


class FiscalPeriod(NamedTuple):
    """A period of a fiscal calendar: "FY27 Q1", its first and its last day."""

    label: str
    start: date
    end: date


@dataclass(frozen=True)
class FiscalCalendar:
    """When a company's fiscal year begins, how it is divided, and what its periods are called.

    Labels are "FY27 P03", "FY27 Q1" and "FY27", with the last two digits of the fiscal year 2027.  Every year has twelve
    months (periods), and every quarter three of them.

    Parameters
    ----------
    start_month
        1 to 12: the calendar month that the fiscal year begins with; 7 for a year from July to June.
    weeks
        None: months are calendar months.  "4-4-5", "4-5-4", "5-4-4": months are whole weeks, so many in the first, second and
        third month of every quarter.  A year then has 52 weeks or 53; **the 53rd week belongs to the last month of the year**
        (P12, and so Q4).  Some companies put it elsewhere: their quarters of such a year start a week later than here.
    ends_on
        The weekday on which the year ends, where months are weeks: "monday" to "sunday".
    rule
        Which of these weekdays: "last", the last in the month before `start_month`; "nearest", the one nearest to that month's
        last day, which may fall up to three days into the next month.
    named_after
        "end": the year is called by the calendar year in which it ends; "start": by the one in which it starts.  A few days'
        drift of a year in weeks over New Year changes no name: what counts are `start_month` and the month before it.

    Raises
    ------
    ForecastError
        For a value that is none of these, and for `ends_on` or `rule` where months are calendar months.

    Examples
    --------
    >>> FiscalCalendar(start_month=7).period("2026-08-15", "quarter")
    FiscalPeriod(label='FY27 Q1', start=datetime.date(2026, 7, 1), end=datetime.date(2026, 9, 30))

    The calendar of the National Retail Federation, whose year 2023 had 53 weeks:

    >>> retail = FiscalCalendar(2, weeks="4-5-4", rule="nearest", named_after="start")
    >>> retail.periods("2023-02-01", "2024-01-31", "quarter")
         label      start        end
    0  FY23 Q1 2023-01-29 2023-04-29
    1  FY23 Q2 2023-04-30 2023-07-29
    2  FY23 Q3 2023-07-30 2023-10-28
    3  FY23 Q4 2023-10-29 2024-02-03
    """

    # read by pydantic, where a calendar is part of stored settings
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    start_month: int = 1
    weeks: Weeks | None = None
    ends_on: Weekday = "saturday"
    rule: Literal["last", "nearest"] = "last"
    named_after: Literal["end", "start"] = "end"

    def __post_init__(self) -> None:
        if type(self.start_month) is not int or not 1 <= self.start_month <= 12:
            raise ForecastError(
                f"start_month={self.start_month!r}: the month that the fiscal year begins with is a whole number, 1 (January) to "
                "12 (December)."
            )
        self._check("weeks", (None, *get_args(Weeks)))
        self._check("ends_on", WEEKDAYS)
        self._check("rule", ("last", "nearest"))
        self._check("named_after", ("end", "start"))
        if self.weeks is None and (self.ends_on, self.rule) != ("saturday", "last"):
            raise ForecastError(
                f"ends_on={self.ends_on!r}, rule={self.rule!r} without weeks: a year of calendar months ends with a month. Give "
                'weeks="4-4-5", "4-5-4" or "5-4-4", or leave both out.'
            )

    def _check(self, name: str, allowed: tuple[Any, ...]) -> None:
        value = getattr(self, name)
        if value not in allowed:
            raise ForecastError(f"{name}={value!r} is not known. Use one of {', '.join(map(repr, allowed))}.")

    def periods(self, first: date | str, last: date | str, freq: str = "month") -> pd.DataFrame:
        """The whole periods that cover the days from `first` to `last`: label, start, end (its last day), one row each.

        ``freq`` is "month", "quarter" or "year". Raises ForecastError for another, or where `last` comes before `first`.
        """
        labels, bounds = self.spans(day_of(first), day_of(last), freq)
        return pd.DataFrame({"label": labels, "start": as_days(bounds[:-1]), "end": as_days(bounds[1:] - 1)})

    def period(self, day: date | str, freq: str = "month") -> FiscalPeriod:
        """The period that a day lies in. Raises ForecastError for a `freq` other than "month", "quarter" or "year"."""
        (label,), (start, after) = self.spans(day_of(day), day_of(day), freq)
        return FiscalPeriod(label, *(np.datetime64(int(number), "D").item() for number in (start, after - 1)))

    def spans(self, first: int, last: int, freq: str) -> Spans:
        """The same with days as numbers: labels and bounds of the periods that cover the days `first` to `last`."""
        if freq not in MONTHS_IN:
            raise ForecastError(f"freq={freq!r}: a fiscal calendar has {', '.join(map(repr, MONTHS_IN))}.")
        if last < first:
            days = [np.datetime64(int(day), "D") for day in (last, first)]
            raise ForecastError(f"the last day, {days[0]}, comes before the first, {days[1]}. Swap them.")
        # a year in weeks may begin or end a few days outside of its months: a year more at both ends covers that
        years = np.arange(_year(first) - 1, _year(last) + 2)
        starts = self._month_starts(years)[:: MONTHS_IN[freq]]
        low, high = np.searchsorted(starts, (first, last), side="right") - 1
        per_year = 12 // MONTHS_IN[freq]
        year, number = np.divmod(np.arange(low, high + 1), per_year)
        return Spans(self._labels(years[year], number + 1, freq), starts[low : high + 2])

    def _labels(self, years: Longs, numbers: Longs, freq: str) -> tuple[str, ...]:
        """ "FY27 P03" of fiscal years by the calendar year in which they end, and the period's number in its year."""
        named = years - 1 if self.named_after == "start" and self.start_month > 1 else years
        inside = {"month": " P{:02d}", "quarter": " Q{}", "year": ""}[freq]
        return tuple(f"FY{year % 100:02d}{inside.format(number)}" for year, number in zip(named, numbers, strict=True))

    def _month_starts(self, years: Longs) -> Longs:
        """First day of each month of the years that end in the given calendar years, and the first day after them."""
        if self.weeks is None:
            first = 12 * (years[0] - 1970) - (12 - self.start_month + 1) % 12
            return _first_days(first + np.arange(12 * len(years) + 1))
        pattern = [int(length) for length in self.weeks.split("-")] * 4
        offsets = 7 * np.cumsum([0, *pattern[:-1]])
        starts = self._year_ends(np.arange(years[0] - 1, years[-1] + 1)) + 1
        return np.append((starts[:-1, None] + offsets).ravel(), starts[-1])

    def _year_ends(self, years: Longs) -> Longs:
        """Last day of the fiscal year of weeks that ends in or near the month before `start_month` of each calendar year."""
        months = 12 * (years - 1970) + (self.start_month - 2) % 12
        last_days = _first_days(months + 1) - 1
        past = (last_days + WEEKDAY_OF_DAY_0 - WEEKDAYS.index(self.ends_on)) % 7  # days since the weekday was there
        if self.rule == "nearest":
            past = np.where(past > 3, past - 7, past)
        return np.asarray(last_days - past, dtype=np.int64)


def day_of(day: date | str) -> int:
    """Days since 1970-01-01 of a date, or of a text YYYY-MM-DD. Raises ForecastError for anything else."""
    try:
        known = date.fromisoformat(day) if isinstance(day, str) else day
        return date(known.year, known.month, known.day).toordinal() - EPOCH.toordinal()
    except (ValueError, TypeError, AttributeError) as error:
        raise ForecastError(f"{day!r} is not a day. Give a date, or a text YYYY-MM-DD.") from error


def as_days(numbers: Any) -> Any:
    """Days since 1970-01-01 as datetime64[s], which pandas keeps."""
    return np.asarray(numbers, dtype="datetime64[D]").astype("datetime64[s]")


def _year(day: int) -> int:
    return int(np.datetime64(int(day), "D").astype("datetime64[Y]").astype(np.int64)) + 1970


def _first_days(months: Longs) -> Longs:
    """First days of calendar months, which are counted from January 1970."""
    return np.asarray(months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64))
