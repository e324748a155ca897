"""Periods of a workbook: their labels, the words for them, and the revenue that was recognised in those before `as_of`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clvforecast.actuals import recognised_in_periods
from clvforecast.forecast import Forecast

WORDS = ("month", "quarter", "year")
ALIASES = {"month": "ME", "quarter": "QE", "year": "YE"}
LETTERS = {"M": "month", "Q": "quarter", "Y": "year"}
SHOWN_HISTORY = {"month": 12, "quarter": 8, "year": 4}
"""Periods before `as_of` that are shown, at most."""
NEGLIGIBLE = 0.01
"""Leading periods of history under this share of the largest are not shown: the ledger had hardly begun."""
ONE_DAY = pd.Timedelta(days=1)


def word_of(freq: str) -> str:
    """ "quarter" of "quarter", "QE" and "QE-JUN"."""
    return freq if freq in WORDS else LETTERS.get(freq[:1].upper(), "period")


def sibling(freq: str, word: str) -> str:
    """The periods of that word in the same fiscal year: "year" of "quarter", "YE-SEP" of "QE-SEP".

    Examples
    --------
    >>> sibling("quarter", "year"), sibling("QE", "year"), sibling("YE-SEP", "quarter"), sibling("YE-SEP", "month")
    ('year', 'YE', 'QE-SEP', 'ME')
    """
    if freq in WORDS:
        return word
    _, dash, anchor = freq.partition("-")
    return ALIASES[word] if word == "month" else f"{ALIASES[word]}{dash}{anchor}"


def with_labels(periods: pd.DataFrame, freq: str | None) -> pd.DataFrame:
    """The table with a column label where it has none: "2018 Q3", "2018-07", "2018" of the period's last day."""
    if "label" in periods:
        return periods
    return periods.assign(label=[_label(end, freq) for end in pd.DatetimeIndex(periods["period"])])


def _label(end: pd.Timestamp, freq: str | None) -> str:
    word = "whole window" if freq is None else word_of(freq)
    if word == "quarter":
        return f"{end.year} Q{(end.month + 2) // 3}" if "-" not in str(freq) else f"quarter to {end:%Y-%m}"
    if word == "year":
        return f"{end.year}" if end.month == 12 else f"year to {end:%Y-%m}"
    return f"{end:%Y-%m}" if word == "month" else word


def recognised_periods(forecast: Forecast, freq: str) -> pd.DataFrame:
    """label, period_start, period, revenue, partial: what was recognised before `as_of`, the last periods.

    The last is partial where `as_of` lies inside it: what of it was recognised by then.

    Raises ForecastError for a forecast that was loaded without its ledger.
    """
    items = forecast.history.items
    first = pd.Timestamp(int(np.min(items["start_day"].to_numpy())), unit="D")
    past = _past(forecast, first, freq)
    past = past[past["period"] >= first].tail(SHOWN_HISTORY.get(word_of(freq), 8))
    origin = pd.Timestamp(forecast.as_of) + ONE_DAY
    bounds = [*past["period_start"], min(origin, past["period"].iloc[-1] + ONE_DAY)]
    days = np.array([(bound - pd.Timestamp(0)).days for bound in bounds])
    revenue = recognised_in_periods(forecast.history, forecast.table["account_id"], days)
    past = past.assign(revenue=revenue, partial=past["period"] >= origin)
    begun = int((revenue > NEGLIGIBLE * revenue.max()).argmax())
    return past.iloc[begun:].reset_index(drop=True)


def _past(forecast: Forecast, first: pd.Timestamp, freq: str) -> pd.DataFrame:
    """label, period_start, period of all periods from the day `first` to that of `as_of`."""
    calendar: Any = getattr(forecast, "calendar", None)
    if calendar is not None and freq in WORDS:
        found = calendar.periods(first.date(), forecast.as_of, freq)
        return found.rename(columns={"start": "period_start", "end": "period"})
    offset = pd.tseries.frequencies.to_offset(freq)
    ends = pd.date_range(offset.rollforward(first), offset.rollforward(pd.Timestamp(forecast.as_of)), freq=offset)
    starts = [offset.rollback(end - ONE_DAY) + ONE_DAY for end in ends]
    return with_labels(pd.DataFrame({"period_start": starts, "period": ends}), freq)
