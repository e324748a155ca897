"""A ledger cut into slices of whole accounts: what is worked out account by account needs no more than one in memory."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.errors import HistoryError
from clvforecast.events import TERM_KINDS
from clvforecast.ledger import Ledger
from clvforecast.ledger.rows import in_order

ACCOUNTS_EACH = 50_000
"""Accounts with a term in a slice: arrays of theirs stay in the heap, where each new one of millions is new memory."""


@dataclass(frozen=True)
class Slice:
    """Some of a ledger's accounts: their part of it, which shares its memory, and those that have a term booked by `as_of`."""

    ledger: Ledger
    account_ids: pa.Array


def account_slices(ledger: Ledger, accounts_each: int = ACCOUNTS_EACH) -> list[Slice]:
    """The ledger in slices of so many accounts that have a term, in order, the last with the rest.

    Raises
    ------
    HistoryError
        When no initial or renewal is booked by `as_of`.
    """
    ledger = _in_order(ledger)
    account_ids = _contract_accounts(ledger)
    firsts = account_ids[::accounts_each][1:].to_pylist()
    event_cuts, account_cuts = (_cuts(table["account_id"], firsts) for table in (ledger.events, ledger.accounts))
    return [
        Slice(
            replace(ledger, events=ledger.events.slice(a, b - a), accounts=ledger.accounts.slice(c, d - c)),
            account_ids[place * accounts_each : (place + 1) * accounts_each],
        )
        for place, ((a, b), (c, d)) in enumerate(zip(pairwise(event_cuts), pairwise(account_cuts), strict=True))
    ]


def of_accounts(ledger: Ledger, account_ids: pa.Array) -> Ledger:
    """The ledger with some of its accounts alone."""
    kept = {
        name: pc.is_in(getattr(ledger, name)["account_id"], account_ids) for name in ("events", "later", "accounts")
    }
    return replace(ledger, **{name: getattr(ledger, name).filter(mask) for name, mask in kept.items()})


def _contract_accounts(ledger: Ledger) -> pa.Array:
    terms = pc.is_in(ledger.events["kind"], pa.array(TERM_KINDS))
    accounts = pc.unique(ledger.events["account_id"].filter(terms))
    if not len(accounts):
        raise HistoryError(
            f"the ledger has no initial or renewal event booked by {ledger.as_of}, so no contract to "
            "model. Check the `kind` column, or take a later as_of."
        )
    return accounts


def _cuts(account_ids: pa.ChunkedArray, firsts: list[str]) -> list[int]:
    """Rows where slices begin and end that begin with these accounts; what is before them goes into the first."""
    rows = range(len(account_ids))
    cuts = [bisect_left(rows, first, key=lambda row: account_ids[row].as_py()) for first in firsts]
    return [0, *cuts, len(account_ids)]


def _in_order(ledger: Ledger) -> Ledger:
    """The ledger as `read_ledger` makes it: events in canonical order, of which accounts come first; accounts in order."""
    if not _is_sorted(ledger.events["account_id"]):
        ledger = replace(ledger, events=in_order(ledger.events))
    if not _is_sorted(ledger.accounts["account_id"]):
        ledger = replace(ledger, accounts=ledger.accounts.sort_by("account_id"))
    return ledger


def _is_sorted(texts: pa.ChunkedArray) -> bool:
    return bool(pc.all(pc.less_equal(texts[:-1], texts[1:]), min_count=0).as_py())
