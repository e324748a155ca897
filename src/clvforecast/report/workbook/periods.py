"""Periods of a workbook: the words for them, and the revenue that was recognised in those before `as_of`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clvforecast.actuals import recognised_in_periods
from clvforecast.calendars import as_days
from clvforecast.forecast import Forecast
from clvforecast.periods import covering_periods

WORDS = ("month", "quarter", "year")
ALIASES = {"month": "ME", "quarter": "QE", "year": "YE"}
LETTERS = {"M": "month", "Q": "quarter", "Y": "year"}
SHOWN_HISTORY = {"month": 12, "quarter": 8, "year": 4}
"""Periods before `as_of` that are shown, at most."""
NEGLIGIBLE = 0.01
"""Leading periods of history under this share of the largest are not shown: the ledger had hardly begun."""


def word_of(freq: str) -> str:
    """ "quarter" of "quarter", "QE" and "QE-JUN"."""
    return freq if freq in WORDS else LETTERS[freq[:1].upper()]


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


def recognised_periods(forecast: Forecast, freq: str) -> pd.DataFrame:
    """label, period_start, period, revenue, partial: what was recognised before `as_of`, the last periods.

    The last is partial where `as_of` lies inside it: what of it was recognised by then.

    Raises ForecastError for a forecast that was loaded without its ledger.
    """
    first = int(np.min(forecast.history.items["start_day"].to_numpy()))
    origin = int(forecast.grid.bounds[0])
    spans = covering_periods(min(first, origin - 1), origin - 1, freq, forecast.settings.calendar)
    begin = max(0, len(spans.labels) - SHOWN_HISTORY[word_of(freq)])
    starts, after = spans.bounds[begin:-1], spans.bounds[begin + 1 :]
    bounds = np.append(starts, min(origin, int(after[-1])))
    revenue = recognised_in_periods(forecast.history, forecast.table["account_id"], bounds)
    past = pd.DataFrame(
        {
            "label": spans.labels[begin:],
            "period_start": as_days(starts),
            "period": as_days(after - 1),
            "revenue": revenue,
            "partial": after > origin,
        }
    )
    begun = int((revenue > NEGLIGIBLE * revenue.max()).argmax())
    return past.iloc[begun:].reset_index(drop=True)
