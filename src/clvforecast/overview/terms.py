"""How terms ended, by month, and the returns after lapses."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values
from clvforecast.ledger.months import month_of

Longs = NDArray[np.int64]


def ends_by_month(histories: Histories, patience_days: int) -> pd.DataFrame:
    """month, ended, renewed, notified, terminated, silent, undecided, returned: every month from the first end on to `as_of`.

    A term counts in the month of its end, an early termination in that of its effective day; both by `as_of`. A term that is
    neither renewed nor told of is silent when more than `patience_days` have passed since its end, undecided before. A return
    counts in the month of its start.
    """
    terms, decisions = histories.terms, histories.decisions
    terminated = is_text(decisions, "outcome", "terminated")
    effective = decisions["effective_day"].combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)
    day = np.where(terminated, effective, values(terms, "end_day"))
    is_open, waited = is_text(decisions, "outcome", "open"), values(decisions, "d") > patience_days
    of = {
        "ended": np.ones(len(day), dtype=bool),
        "renewed": is_text(decisions, "outcome", "renewed"),
        "notified": is_text(decisions, "outcome", "notified"),
        "terminated": terminated,
        "silent": is_open & waited,
        "undecided": is_open & ~waited,
    }
    last = histories.as_of_day
    returns = values(terms, "start_day")[(values(terms, "k") == 1) & (values(terms, "spell") > 0)]
    past = day <= last
    months = _months(np.concatenate((day[past], returns[returns <= last])), last)
    counted = {name: _by_month(months, day[past & mine]) for name, mine in of.items()}
    counted["returned"] = _by_month(months, returns[returns <= last])
    return pd.DataFrame({"month": months.astype("datetime64[M]").astype("datetime64[s]"), **counted})


def _months(days: Longs, last: int) -> Longs:
    """All months from the first of these days to that of the day `last`; none where there are no days."""
    if not len(days):
        return np.empty(0, dtype=np.int64)
    first, until = month_of(np.array([days.min(), last]))
    return np.arange(first, until + 1)


def _by_month(months: Longs, days: Longs) -> Longs:
    if not len(months):
        return np.empty(0, dtype=np.int64)
    return np.bincount(month_of(days) - months[0], minlength=len(months)).astype(np.int64)
