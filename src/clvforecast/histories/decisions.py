"""Renewal decisions, one a term: renewed, open, notified or terminated; and the lapses that follow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from clvforecast.histories.churns import NOTIFIED, SUPERSEDED, TERMINATED
from clvforecast.histories.engine import is_text, values, values_or, with_columns

RENEWED, OPEN = "renewed", "open"
OUTCOMES = (RENEWED, OPEN, NOTIFIED, TERMINATED)


def decision_table(terms: pa.Table, churns: pa.Table, as_of_day: int) -> pa.Table:
    """One row a term: outcome, d, lag_days, effective_day, returned and lapsed_days.

    d = as_of - end_day (negative before the end). lag_days: of the booking (renewed) or of the notice
    (notified), counted from the term's end. lapsed_days: from the end (or early end) plus grace to the
    next spell or to the end of the day `as_of`; whether a lapse without a return is established depends on
    the lags (`cells.rates`).
    """
    end_day, term = values(terms, "end_day"), values(terms, "term")
    outcome = np.where(values(terms, "renewed"), 0, 1).astype(np.int8)
    effective_day = np.zeros(len(term), dtype=np.int64)
    lag_days = np.zeros(len(term), dtype=np.int64)
    renewed = np.flatnonzero(values(terms, "renewed"))
    lag_days[renewed] = values(terms, "booked_day")[renewed + 1] - end_day[renewed]
    decides = ~is_text(churns, "role", SUPERSEDED)
    ended = values(churns, "term")[decides]
    outcome[ended] = np.where(is_text(churns, "role", NOTIFIED)[decides], 2, 3)
    effective_day[ended] = values(churns, "effective_day")[decides]
    notified, terminated = outcome == 2, outcome == 3
    lag_days[ended] = values(churns, "booked_day")[decides] - end_day[ended]
    return with_columns(
        terms.select(["term", "line", "spell", "k"]),
        outcome=pa.array(OUTCOMES).take(pa.array(outcome)),
        d=as_of_day - end_day,
        lag_days=pa.array(lag_days, mask=~(values(terms, "renewed") | notified)),
        effective_day=pa.array(effective_day, mask=~(notified | terminated)),
        returned=~values(terms, "renewed") & ~values(terms, "last_in_line"),
        lapsed_days=_lapsed_days(terms, np.where(terminated, effective_day, end_day), as_of_day + 1),
    )


def _lapsed_days(terms: pa.Table, lapse_day: np.ndarray, origin_day: int) -> np.ndarray:
    """Days from the lapse plus grace to the return or to the origin; 0 for a term that was renewed."""
    returns = values_or(terms, "next_start", origin_day)
    elapsed = np.minimum(returns, origin_day) - lapse_day - values(terms, "grace")
    return np.where(values(terms, "renewed"), 0, np.maximum(elapsed, 0))
