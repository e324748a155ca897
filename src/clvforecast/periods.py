"""The periods that tables and pictures are in: what ``freq`` means, for a forecast's window and for the time before it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from clvforecast.calendars import MONTHS_IN, FiscalCalendar, Longs, Spans, as_days
from clvforecast.errors import ForecastError
from clvforecast.reduction import ForecastSettings
from clvforecast.simulation.calendar import Grid

KIND_OF_ALIAS = {pd.offsets.MonthEnd: "month", pd.offsets.QuarterEnd: "quarter", pd.offsets.YearEnd: "year"}


class WindowPeriods(NamedTuple):
    """The periods of a forecast's window, P of them; days since 1970-01-01.

    of_month: (M,) period of each month of the grid, from 0 to P − 1 without a gap
    labels: (P,); starts: (P,) their first days inside the window; days: (P,) how many of their days are inside
    ends: (P,) the periods' own last days, also where the window ends before
    partial: (P,) whether some days of the period are outside
    """

    of_month: Longs
    labels: tuple[str, ...]
    starts: Longs
    ends: Longs
    days: Longs
    partial: NDArray[np.bool_]

    def columns(self) -> dict[str, NDArray[Any]]:
        """As the leading columns of a table: label, period_start, period (its last day), days, partial."""
        return {
            "label": np.array(self.labels),
            "period_start": as_days(self.starts),
            "period": as_days(self.ends),
            "days": self.days,
            "partial": self.partial,
        }


def window_periods(grid: Grid, freq: str | None, settings: ForecastSettings) -> WindowPeriods:
    """The window by ``freq``, see `covering_periods`; None: the whole of it, as one period labelled "24 months".

    Raises ForecastError for a ``freq`` that is not known, or that the grid's months do not fit into.
    """
    origin, after = int(grid.bounds[0]), int(grid.bounds[-1])
    if freq is None:
        months = settings.horizon_months
        spans = Spans((f"{months} month{'' if months == 1 else 's'}",), np.array([origin, after]))
    else:
        spans = covering_periods(origin, after - 1, freq, settings.calendar)
    inside = spans.bounds.clip(origin, after)
    return WindowPeriods(
        of_month=np.searchsorted(spans.bounds, grid.bounds[:-1], side="right") - 1,
        labels=spans.labels,
        starts=inside[:-1],
        ends=spans.bounds[1:] - 1,
        days=np.diff(inside),
        partial=np.diff(inside) < np.diff(spans.bounds),
    )


def covering_periods(first: int, last: int, freq: str, calendar: FiscalCalendar | None) -> Spans:
    """Labels and bounds of the whole periods that cover the days `first` to `last` (days since 1970-01-01).

    ``freq`` is "month", "quarter" or "year" of the calendar (None: calendar months, and years from January), or a pandas
    period end where months are calendar months: "ME", "QE", "QE-JUN", "YE", "YE-SEP".  An alias' periods are labelled as the
    calendar labels them; without a calendar, "YE-SEP" and "QE-JUN" are taken for years that end in September and June.  Where
    the calendar has no such periods, as "YE" has none in a year from July, the label is the period's last day.

    Raises
    ------
    ForecastError
        For any other ``freq``, and for an alias where months are weeks.
    """
    own = calendar or FiscalCalendar()
    if freq in MONTHS_IN:
        return own.spans(first, last, freq)
    offset, kind = _period_end(freq)
    if own.weeks is not None:
        raise ForecastError(
            f"freq={freq!r} ends with a calendar month, and the months of this {own.weeks} calendar do not. Ask for its own "
            "periods: 'month', 'quarter' or 'year'; or forecast again without calendar."
        )
    if calendar is None and "-" in str(freq):
        own = FiscalCalendar(start_month=_last_month(offset) % 12 + 1)
    bounds = _bounds(first, last, offset)
    labels, theirs = own.spans(first, last, kind)
    if not np.array_equal(theirs, bounds):
        labels = tuple(str(day) for day in as_days(bounds[1:] - 1).astype("datetime64[D]"))
    return Spans(labels, bounds)


def _period_end(freq: str) -> tuple[Any, str]:
    """The pandas offset of an alias, and whether its periods are months, quarters or years."""
    try:
        offset = to_offset(freq)
    except (ValueError, TypeError, AttributeError):
        offset = None
    kind = KIND_OF_ALIAS.get(type(offset))
    if kind is None or offset.n != 1:
        raise ForecastError(
            f"freq={freq!r}: use 'month', 'quarter' or 'year' of the forecast's calendar, or a pandas period end that ends with "
            "a month: ME, QE, QE-JUN, YE or YE-SEP; None for the whole window."
        )
    return offset, kind


def _last_month(offset: Any) -> int:
    """The month, 1 to 12, that years of a pandas quarter or year end with."""
    return int(offset.startingMonth if isinstance(offset, pd.offsets.QuarterEnd) else offset.month)


def _bounds(first: int, last: int, offset: Any) -> Longs:
    before = offset.rollback(pd.Timestamp(as_days(first - 1).item()))
    ends = pd.date_range(before, offset.rollforward(pd.Timestamp(as_days(last).item())), freq=offset)
    return np.asarray(ends.to_numpy().astype("datetime64[D]").astype(np.int64) + 1)
