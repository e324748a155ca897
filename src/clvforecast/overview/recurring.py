"""Monthly recurring revenue in force, with the accounts and contracts that bring it, at every month end."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.histories import Histories
from clvforecast.histories.engine import values
from clvforecast.ledger.months import month_of, month_starts

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]

ACCOUNT_BITS = 32


def recurring_revenue(histories: Histories) -> pd.DataFrame:
    """day, mrr, accounts, contracts at every month end from the first term on, and on `as_of`.

    MRR on day t = sum over terms with start <= t < stop of M0 + the amendments of the term with day <= t, as
    `actuals.mrr_on`; what stops early (a churn, the next term) counts until then. To the cent.
    """
    terms, added = histories.terms, histories.amendments
    start, stop, line = (values(terms, name) for name in ("start_day", "stop_day", "line"))
    days = _month_ends(int(start.min()), histories.as_of_day)
    of_term = values(added, "term")
    # an amendment counts from its day, or its term's start if that is later, until its term stops
    begins = np.clip(values(added, "day"), start[of_term], stop[of_term])
    mrr = _in_force(days, start, stop, values(terms, "mrr"))
    mrr += _in_force(days, begins, stop[of_term], values(added, "mrr"))
    served = _united(values(histories.lines, "account")[line], start, stop)
    return pd.DataFrame(
        {
            "day": days.astype("datetime64[D]").astype("datetime64[s]"),
            "mrr": np.round(mrr, 2) + 0.0,  # no negative zero
            "accounts": _counted(days, *served),
            "contracts": _counted(days, start, stop),
        }
    )


def _month_ends(first: int, last: int) -> Longs:
    """Last days of the months from that of day `first` on, and the day `last`, days since 1970-01-01."""
    months = month_of(np.array([min(first, last), last]))
    ends = month_starts(np.arange(months[0], months[1] + 1) + 1) - 1
    return np.append(ends[ends < last], last)


def _in_force(days: Longs, start: Longs, stop: Longs, amount: Floats) -> Floats:
    """Sum of the amounts with start <= day < stop."""
    n = len(days) + 1
    change = np.bincount(np.searchsorted(days, start), amount, n) - np.bincount(np.searchsorted(days, stop), amount, n)
    return np.asarray(np.cumsum(change)[:-1])


def _counted(days: Longs, start: Longs, stop: Longs) -> Longs:
    """How many have start <= day < stop."""
    n = len(days) + 1
    change = np.bincount(np.searchsorted(days, start), minlength=n) - np.bincount(
        np.searchsorted(days, stop), minlength=n
    )
    return np.cumsum(change)[:-1].astype(np.int64)


def _united(account: Longs, start: Longs, stop: Longs) -> tuple[Longs, Longs]:
    """Starts and stops of the times in which each account has a term: its terms, where they overlap or touch, as one."""
    order = np.lexsort((start, account))
    account, start, stop = account[order], start[order], stop[order]
    first = int(start.min())
    reach = np.maximum.accumulate((account << ACCOUNT_BITS) | (stop - first))  # latest stop so far, of the account
    begins = np.append(True, ((account[1:] << ACCOUNT_BITS) | (start[1:] - first)) > reach[:-1])
    lasts = np.append(np.flatnonzero(begins)[1:] - 1, len(start) - 1)
    return start[begins], (reach[lasts] & ((1 << ACCOUNT_BITS) - 1)) + first
