"""The customers that a ledger saw being won: who they were, and how many a month.

A new customer is an account's first booking of an `initial` term, with no term before it; accounts that a ledger only begins
to see late (`observed_from`) are not new. They are counted by the day they are booked: what is booked by ``as_of`` is known,
while service that has begun may still be booked later.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.errors import ForecastError
from clvforecast.events import TERM_KINDS
from clvforecast.histories.lines import segment_columns
from clvforecast.ledger import Ledger
from clvforecast.simulation.calendar import DAYS_PER_MONTH, add_months, date_of, day_number

Longs = NDArray[np.int64]
MONTHS_EACH = 3
"""Customers are counted by quarters: many businesses book in batches, at quarter ends say, and the months of a quarter differ
by far more than quarters do. Of 12 yearly counts of the shipped contracts from 2014 on, the 90% ranges that the quarters before
give hold 11, and their upper end is 2.5 times the lower; those that months give hold all, and it is 4.3 times the lower."""


def new_customers(ledger: Ledger) -> pd.DataFrame:
    """The customers won so far, one row an account in the order of booking.

    Columns: account_id; booked_day, start_day (days since 1970-01-01) of its first term; first_mrr (currency a month; contracts
    booked on that same day together); term_months (that of the largest of them); segment columns.
    """
    events = ledger.events.to_pandas(date_as_object=False)
    terms = events[events["kind"].isin(TERM_KINDS)].copy()
    for name, column in (("booked_day", "event_date"), ("start_day", "start_date")):
        terms[name] = terms[column].to_numpy().astype("datetime64[D]").astype(np.int64)
    terms["first_mrr"] = terms["amount_cents"] / 100.0 / terms["term_months"]
    first = terms.drop_duplicates("account_id").set_index("account_id")  # events are in the order of service
    accounts = ledger.accounts.to_pandas().set_index("account_id").loc[first.index]
    won = first[(first["kind"] == "initial") & (accounts["observed_from"] == 0).to_numpy()]
    booked = terms["account_id"].map(won["booked_day"])
    opening = terms[(terms["booked_day"] == booked) & (terms["kind"] == "initial")]
    largest = opening.sort_values(["first_mrr", "term_months"]).groupby("account_id")["term_months"].last()
    found = won[["booked_day", "start_day"]].assign(
        first_mrr=opening.groupby("account_id")["first_mrr"].sum(), term_months=largest.astype(np.int64)
    )
    found = found.join(accounts[list(segment_columns(ledger.accounts))])
    return found.reset_index().sort_values(["booked_day", "account_id"], ignore_index=True)


def quarters_back(ledger: Ledger, months: int) -> Longs:
    """First days of the quarters that make up the last ``months`` months up to ``as_of``, and the day after it.

    Raises ForecastError where the months are not whole quarters, or where the ledger begins later: nobody can tell who was new
    before its first booking.
    """
    if isinstance(months, bool) or int(months) != months or months < MONTHS_EACH or months % MONTHS_EACH:
        raise ForecastError(
            f"months={months!r}: customers are counted by quarters; give a multiple of 3, for example 12."
        )
    after = day_number(ledger.as_of) + 1
    edges = np.array([add_months(after, -back) for back in range(int(months), -1, -MONTHS_EACH)], dtype=np.int64)
    begun = int(ledger.events["event_date"].to_numpy().astype("datetime64[D]").astype(np.int64).min())
    if begun > edges[0]:
        whole = max(int((after - begun) / DAYS_PER_MONTH), 0) // MONTHS_EACH * MONTHS_EACH
        raise ForecastError(
            f"months={months}: the ledger's first booking is of {date_of(begun)}, as_of {ledger.as_of}: who was there before "
            f"cannot be told from who was new. Learn from the last {whole} months, or plan the new customers."
        )
    return edges


def trailing_counts(ledger: Ledger, months: int = 12) -> Longs:
    """(months / 3,) new customers booked in each of the last quarters up to ``as_of``, the earliest first."""
    edges = quarters_back(ledger, months)
    booked = new_customers(ledger)["booked_day"].to_numpy()
    return np.histogram(booked[(booked >= edges[0]) & (booked < edges[-1])], edges)[0].astype(np.int64)


def donors(ledger: Ledger, months: int) -> pd.DataFrame:
    """Customers won in the last months, in the order of booking.

    ``place``: of the booking in its quarter, from 0 to 1; ``wait``: days from then to the start of service, 0 where it had begun.
    """
    edges = quarters_back(ledger, months)
    found = new_customers(ledger)
    found = found[found["booked_day"] >= edges[0]].reset_index(drop=True)
    booked = found["booked_day"].to_numpy()
    quarter = np.searchsorted(edges, booked, side="right") - 1
    place = (booked - edges[quarter] + 0.5) / np.diff(edges)[quarter]
    return found.assign(place=place, wait=(found["start_day"] - booked).clip(lower=0))


def no_donors(ledger: Ledger) -> pd.DataFrame:
    """The columns of `donors` without any."""
    return new_customers(ledger).iloc[:0].assign(place=0.0, wait=0)
