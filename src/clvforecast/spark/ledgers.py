"""The ledger of a part of the accounts, read by the ordinary `read_ledger`, as it is in the ledger of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.errors import LedgerError
from clvforecast.events import REJECTED_SCHEMA
from clvforecast.ledger import Ledger, read_ledger
from clvforecast.ledger.accounts import OBSERVED_FROM, told_by_table
from clvforecast.ledger.duck import connect
from clvforecast.ledger.records import Totals, totals_of
from clvforecast.spark.parts import PartTables


@dataclass(frozen=True)
class Facts:
    """What is true of the ledger of all accounts, and is the same in every part.

    columns: the accounts' segment columns; has_observed_from: as `Ledger` has it; n_events: rows of the events table; warnings:
    what was rejected or is missing, with counts.
    """

    as_of: date
    currency: str
    columns: tuple[str, ...]
    has_observed_from: bool
    grace_days: int | None
    n_events: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartLedger:
    """The ledger of a part.

    known
        None where nothing of the part is known on `as_of`.
    rejected
        `events.REJECTED_SCHEMA`; `row` is null: rows of a cluster have no order.
    totals
        Rows and money by part of the ledger: "read", "accepted", "later", "rejected".
    """

    known: Ledger | None
    rejected: pa.Table
    totals: Mapping[str, Totals]


def usable(tables: PartTables, grace_days: int | None) -> tuple[Ledger | None, pa.Table]:
    """(the ledger as of its own last booking, rejected rows); None where no row can be used. Raises LedgerError otherwise."""
    if not tables.events.num_rows:
        return None, REJECTED_SCHEMA.empty_table()
    try:
        ledger = read_ledger(tables.events, accounts=_told_of_all(tables), grace_days=grace_days)
    except LedgerError as error:
        if error.rejected is None:
            raise
        return None, _without_rows(error.rejected)  # other parts may well have rows that can be used
    return ledger, _without_rows(ledger.rejected_rows)


def check_accounts(tables: PartTables) -> None:
    """Raise LedgerError for an accounts table that `read_ledger` refuses; of accounts without events, too."""
    if tables.accounts is not None:
        with connect() as connection:
            told_by_table(connection, tables.accounts)


def read_part(tables: PartTables, facts: Facts) -> PartLedger:
    """The ledger of a part, known on the `as_of` of all. Raises LedgerError as `usable` does."""
    ledger, rejected = usable(tables, facts.grace_days)
    if ledger is None:
        totals = totals_of(rejected)
        return PartLedger(None, rejected, {"read": totals, "rejected": totals})
    known = _known(ledger, facts.as_of)
    return PartLedger(
        known=None if known is None else _with_facts(known, facts),
        rejected=rejected,
        totals={
            "read": ledger.read,
            "accepted": Totals() if known is None else totals_of(known.events),
            "later": totals_of(ledger.events if known is None else known.later),
            "rejected": totals_of(rejected),
        },
    )


def without_row(ledger: Ledger, tables: PartTables) -> int:
    """Accounts with accepted events that the accounts table does not have; 0 without such a table."""
    if tables.account_keys is None:
        return 0
    return int(pc.sum(pc.invert(pc.is_in(ledger.accounts["account_id"], tables.account_keys))).as_py() or 0)


def _told_of_all(tables: PartTables) -> pa.Table | None:
    """The accounts table with a row of nulls for each account that it does not have: a null says what no row says.

    Without it a small part, in which by chance none of the table's accounts has events, would be refused as another table.
    """
    if tables.accounts is None or tables.account_keys is None:
        return None
    named = [name for name in tables.accounts.column_names if name.strip().lower() == "account_id"]
    told = tables.accounts.set_column(tables.accounts.column_names.index(named[0]), named[0], tables.account_keys)
    keys = pc.drop_null(pc.unique(tables.event_keys))
    missing = keys.filter(pc.invert(pc.is_in(keys, tables.account_keys)))
    nulls = [missing if name == named[0] else pa.nulls(len(missing), told[name].type) for name in told.column_names]
    return pa.concat_tables([told, pa.table(nulls, schema=told.schema)])


def _known(ledger: Ledger, as_of: date) -> Ledger | None:
    if as_of == ledger.as_of:
        return ledger
    try:
        return ledger.at(as_of)
    except LedgerError:  # nothing of this part was booked by then: all of it is later
        return None


def _with_facts(ledger: Ledger, facts: Facts) -> Ledger:
    """A column that is a segment, or says what was seen, in this part alone is none of the ledger of all."""
    accounts = ledger.accounts.select(["account_id", *facts.columns, OBSERVED_FROM])
    if not facts.has_observed_from:
        place = accounts.column_names.index(OBSERVED_FROM)
        accounts = accounts.set_column(place, OBSERVED_FROM, pa.array(np.zeros(accounts.num_rows, dtype=np.int32)))
    return replace(ledger, accounts=accounts, has_observed_from=facts.has_observed_from)


def _without_rows(rejected: pa.Table) -> pa.Table:
    place = rejected.schema.get_field_index("row")
    return rejected.set_column(place, REJECTED_SCHEMA.field("row"), pa.nulls(rejected.num_rows, pa.int64()))
