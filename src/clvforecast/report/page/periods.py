"""Months, quarters and years of a forecast's calendar: what `Forecast.portfolio` calls them, their labels, those before as_of."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Protocol

import numpy as np
import pandas as pd

from clvforecast.forecast import Forecast

DAYS_IN = {"month": 31, "quarter": 92, "year": 371}
"""At most; a year of weeks may have 53 of them."""


class Calendar(Protocol):
    """What is asked of a forecast's calendar."""

    def periods(self, first: date, last: date, freq: str) -> pd.DataFrame:
        """The whole periods that cover these days: label, start, end (last day)."""


class CalendarYear:
    """Calendar months, quarters and years, of a forecast that has no calendar of its own."""

    ALIASES = {"month": "M", "quarter": "Q", "year": "Y"}

    def periods(self, first: date, last: date, freq: str) -> pd.DataFrame:
        """The whole periods that cover these days.

        Examples
        --------
        >>> CalendarYear().periods(date(2018, 5, 1), date(2018, 7, 1), "quarter")["label"].tolist()
        ['Q2 2018', 'Q3 2018']
        """
        spans = pd.period_range(first, last, freq=self.ALIASES[freq])
        words = {"month": "%b %Y", "quarter": "Q%q %Y", "year": "%Y"}[freq]
        ends = spans.end_time.normalize()
        return pd.DataFrame({"label": spans.strftime(words), "start": spans.start_time, "end": ends})


def calendar_of(forecast: Forecast) -> Calendar:
    return getattr(forecast, "calendar", None) or CalendarYear()


def freq_of(forecast: Forecast, freq: str) -> str:
    """What `Forecast.portfolio` calls it."""
    return freq if hasattr(forecast, "calendar") else f"{CalendarYear.ALIASES[freq]}E"


def with_labels(forecast: Forecast, table: pd.DataFrame, freq: str) -> pd.DataFrame:
    """The table with a column label, where it has none."""
    if "label" in table:
        return table
    calendar = calendar_of(forecast)
    ends = [pd.Timestamp(end).date() for end in table["period"]]
    return table.assign(label=[calendar.periods(end, end, freq)["label"].iloc[0] for end in ends])


def periods_before(forecast: Forecast, freq: str, most: int) -> pd.DataFrame:
    """label, start, end (last day), partial: the last periods up to as_of, which may cut the last one short."""
    last = forecast.as_of
    table = calendar_of(forecast).periods(last - timedelta(days=most * DAYS_IN[freq]), last, freq).tail(most)
    ends = pd.to_datetime(table["end"])
    is_cut = ends > pd.Timestamp(last)
    return pd.DataFrame(
        {
            "label": table["label"],
            "start": pd.to_datetime(table["start"]),
            "end": ends.where(~is_cut, pd.Timestamp(last)),
            "partial": is_cut,
        }
    ).reset_index(drop=True)


def day_numbers(days: pd.Series) -> np.ndarray:
    """Days since 1970-01-01, int64."""
    return days.to_numpy().astype("datetime64[D]").astype(np.int64)
