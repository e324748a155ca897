"""Accounts that do not exist, as a ledger: customers not yet won, each with nothing but a first term on its books.

Through `read_ledger`, so that what makes an account's history, size class and state is the same for them as for any other.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from clvforecast.errors import ForecastError, LedgerError
from clvforecast.events import LONGEST_TERM_MONTHS
from clvforecast.ledger import Ledger, read_ledger

FIRST_TERM = ("account_id", "first_mrr", "term_months", "start")
"""Columns of a table of fictional accounts; all others are segment columns."""


def fictional_ledger(accounts: pd.DataFrame, as_of: date, currency: str, grace_days: int | None = None) -> Ledger:
    """The ledger of accounts that each book one first term on ``as_of``.

    Parameters
    ----------
    accounts
        One row an account: account_id; first_mrr (currency a month); term_months; start (first day of service, a date, on the day
        after ``as_of`` or later); all other columns are segment columns.
    as_of, currency, grace_days
        As of the ledger that they are put beside.

    Raises
    ------
    ForecastError
        A first term that no ledger could hold, as one of 0 months or of less than a cent.

    Examples
    --------
    >>> accounts = pd.DataFrame({"account_id": ["new 1"], "first_mrr": [100.0], "term_months": [12],
    ...                          "start": [date(2024, 7, 1)], "plan": ["pro"]})
    >>> fictional_ledger(accounts, date(2024, 6, 30), "USD")
    <Ledger of 1 accounts in USD, as of 2024-06-30: 1 events accepted, 0 kept for later, 0 rejected>
    """
    check_first_terms(accounts)
    months = accounts["term_months"].to_numpy().astype(np.int64)
    events = pd.DataFrame(
        {
            "event_id": accounts["account_id"],
            "account_id": accounts["account_id"],
            "event_date": pd.Timestamp(as_of),
            "kind": "initial",
            "amount": np.round(accounts["first_mrr"].to_numpy(dtype=np.float64) * months, 2),
            "currency": currency,
            "start_date": pd.to_datetime(accounts["start"]),
            "term_months": months,
        }
    )
    segments = accounts.drop(columns=[name for name in FIRST_TERM if name != "account_id"])
    try:
        ledger = read_ledger(events, accounts=segments, as_of=as_of, grace_days=grace_days)
    except LedgerError as error:
        raise ForecastError(f"the fictional accounts cannot be booked: {error}") from error
    if ledger.rejected_rows.num_rows:
        first = ledger.rejected.iloc[0]
        raise ForecastError(
            f"the fictional accounts cannot be booked: {first['account_id']} has {first['column']}={first['value']} "
            f"({first['rule']}); {first['hint']}."
        )
    return ledger


def check_first_terms(table: pd.DataFrame) -> None:
    """Raise `ForecastError` for the first row whose price or length no first term could have."""
    mrr, months = (pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in FIRST_TERM[1:3])
    with np.errstate(invalid="ignore"):
        amount = np.round(mrr * months, 2)
        _refuse(table, "first_mrr", ~(np.isfinite(mrr) & (mrr > 0.0)), "give the price a month, a number above 0")
        whole = (months >= 1.0) & (months <= LONGEST_TERM_MONTHS) & (months == np.floor(months))
    _refuse(
        table, "term_months", ~whole, f"give the first term's length in whole months, from 1 to {LONGEST_TERM_MONTHS}"
    )
    _refuse(table, "first_mrr", amount < 0.01, "the whole term would bring less than a cent; check the unit")


def _refuse(table: pd.DataFrame, column: str, wrong: np.ndarray, rule: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        where = f"row {row + 1}: " if len(table) > 1 else ""
        raise ForecastError(f"{where}{column}={shown(table[column].iloc[row])}: {rule}.")


def shown(value: object) -> str:
    """A cell of a table as a message shows it."""
    return repr(value.item() if isinstance(value, np.generic) else value)
