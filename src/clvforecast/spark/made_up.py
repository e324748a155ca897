"""A ledger of one made-up account: what a wrong setting raises, it raises on the driver, before any task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from clvforecast.ledger import Ledger, read_ledger
from clvforecast.spark.ledgers import Facts

NAME = "one made-up account"


def made_up_ledger(facts: Facts, levels: Mapping[str, Sequence[str]], months: int, monthly: float) -> Ledger:
    """One contract of so many months and money a month, booked on `as_of`, of the first of these levels in every column."""
    told = {
        "event_id": NAME,
        "account_id": NAME,
        "event_date": facts.as_of,
        "kind": "initial",
        "amount": max(round(monthly * months, 2), 0.01),
        "currency": facts.currency,
        "term_months": months,
    }
    account = {"account_id": NAME, **{column: next(iter(levels.get(column, ())), "any") for column in facts.columns}}
    return read_ledger(
        pd.DataFrame([told]), accounts=pd.DataFrame([account]), as_of=facts.as_of, grace_days=facts.grace_days
    )
