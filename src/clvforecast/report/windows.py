"""Stretches of time at a forecast's beginning: the year ahead, and whether a period is already running."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from clvforecast.calendars import as_days
from clvforecast.errors import ForecastError
from clvforecast.periods import covering_periods
from clvforecast.report.units import counted
from clvforecast.simulation.calendar import add_months

if TYPE_CHECKING:
    from clvforecast.comparison import Comparison
    from clvforecast.forecast import Forecast

YEAR = 12


class YearAhead(NamedTuple):
    """cells: months of the forecast's calendar from its first, up to the one in which twelve months end.

    label: how long that is: "Next 12 months" only where it is.
    """

    cells: int
    label: str


def year_ahead(forecast: Forecast) -> YearAhead | None:
    """None where the window is shorter than twelve months.

    Draws are kept by month of the calendar: from the middle of one, twelve months end in the middle of another, which is told
    to its end.
    """
    bounds = forecast.grid.bounds
    target = int(add_months(int(bounds[0]), YEAR))
    if int(bounds[-1]) < target:
        return None
    cells = int(np.searchsorted(bounds, target))
    more = int(bounds[cells]) - target
    return YearAhead(cells, f"Next 12 months and {counted(more, 'day')}" if more else "Next 12 months")


def runs_at_origin(forecast: Forecast, freq: str) -> bool:
    """Whether the period in which the forecast begins had begun before."""
    origin = int(forecast.grid.bounds[0])
    spans = covering_periods(origin - 1, origin - 1, freq, forecast.settings.calendar)
    return int(spans.bounds[-1]) > origin


def last_days(table: pd.DataFrame) -> pd.DatetimeIndex:
    """The last day of each period of a portfolio table that is counted: inside the window, also where it cuts the period."""
    ends = pd.DatetimeIndex(table["period"])
    if "days" not in table:
        return ends
    return pd.DatetimeIndex(table["period_start"]) + pd.to_timedelta(table["days"].to_numpy() - 1, unit="D")


def with_coverage(forecast: Forecast, table: pd.DataFrame) -> pd.DataFrame:
    """A table of the bridge or of retention with two columns more.

    to: the last day that is counted; covered: "6 of 12 months" of a period that the window cuts short, else "".
    """
    last = pd.Timestamp(as_days(int(forecast.grid.bounds[-1]) - 1).item())
    ends = pd.DatetimeIndex(table["period"])
    to = ends.where(~table["partial"].to_numpy(dtype=bool), np.minimum(ends, last))
    covered = [
        covered_words(start, day, end) if day < end else ""
        for start, day, end in zip(pd.DatetimeIndex(table["period_start"]), to, ends, strict=True)
    ]
    return table.assign(to=to, covered=covered)


def covered_words(start: pd.Timestamp, last: pd.Timestamp, end: pd.Timestamp) -> str:
    """How much of a period, its first and last day given, is counted up to a day: in months where all of them are whole.

    Examples
    --------
    >>> day = pd.Timestamp
    >>> covered_words(day("2027-01-01"), day("2027-06-30"), day("2027-12-31"))
    '6 of 12 months'
    >>> covered_words(day("2027-01-31"), day("2027-03-06"), day("2027-05-01"))
    '35 of 91 days'
    """
    if start.day == 1 and last.is_month_end and end.is_month_end:
        months = [(day.year - start.year) * YEAR + day.month - start.month + 1 for day in (last, end)]
        return f"{months[0]} of {months[1]} months"
    return f"{(last - start).days + 1} of {(end - start).days + 1} days"


def check_comparison(comparison: Comparison | None, forecast: Forecast) -> None:
    """Raises ForecastError where the scenarios are of another day or another window than the forecast beside them."""
    base = getattr(comparison, "base", None)
    if base is None:
        return
    for name, of_base, own in (
        ("as_of", base.as_of, forecast.as_of),
        ("horizon_months", base.settings.horizon_months, forecast.settings.horizon_months),
    ):
        if of_base != own:
            raise ForecastError(
                f"comparison: its scenarios have {name}={of_base}, the forecast has {own}; their figures do not belong side by "
                "side. Call clv.compare with the ledger and the settings of the forecast."
            )
