"""A ledger cut into slices of whole accounts: what is worked out account by account needs no more than one in memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.errors import HistoryError
from clvforecast.events import TERM_KINDS
from clvforecast.ledger import Ledger
from clvforecast.ledger.rows import in_order, is_in_order

ACCOUNTS_EACH = 50_000
"""Accounts with a term in a slice: arrays of theirs stay in the heap, where each new one of millions is new memory."""


def contract_accounts(ledger: Ledger) -> pa.Array:
    """account_id of the accounts with a term booked by `as_of`, in order."""
    terms = pc.is_in(ledger.events["kind"], pa.array(TERM_KINDS))
    accounts = pc.unique(ledger.events["account_id"].filter(terms))
    if not len(accounts):
        raise HistoryError(
            f"the ledger has no initial or renewal event booked by {ledger.as_of}, so no contract to "
            "model. Check the `kind` column, or take a later as_of."
        )
    return accounts


def account_slices(ledger: Ledger, accounts_each: int = ACCOUNTS_EACH) -> list[Ledger]:
    """The ledger in slices that share its memory, each with so many accounts that have a term, the last with the rest.

    Raises
    ------
    HistoryError
        When no initial or renewal is booked by `as_of`.
    """
    ordered = _in_order(ledger)
    firsts = contract_accounts(ordered)[::accounts_each][1:]
    event_cuts = _cuts(ordered.events, firsts)
    account_cuts = _cuts(ordered.accounts, firsts)
    return [
        replace(ordered, events=ordered.events.slice(a, b - a), accounts=ordered.accounts.slice(c, d - c))
        for (a, b), (c, d) in zip(pairwise(event_cuts), pairwise(account_cuts), strict=True)
    ]


def _cuts(table: pa.Table, firsts: pa.Array) -> list[int]:
    """Rows where slices begin and end that begin with these accounts; what is before them goes into the first."""
    rows = pc.index_in(firsts, table["account_id"].combine_chunks()).to_pylist()
    return [0, *rows, table.num_rows]


def _in_order(ledger: Ledger) -> Ledger:
    """The ledger as `read_ledger` makes it: events in canonical order, accounts by account_id."""
    if not is_in_order(ledger.events):
        ledger = replace(ledger, events=in_order(ledger.events))
    ids = ledger.accounts["account_id"]
    if not pc.all(pc.less(ids[:-1], ids[1:])).as_py():
        ledger = replace(ledger, accounts=ledger.accounts.sort_by("account_id"))
    return ledger
