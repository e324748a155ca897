"""What the ledger of all accounts says as a whole, found on the cluster before anything is forecast or fitted.

Every part is read once by the ordinary `read_ledger`; only a few words of each come to the driver.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.errors import ClvError, LedgerError, SparkError
from clvforecast.events import COLUMN_NAMES, NOT_RECORDED
from clvforecast.ledger.accounts import OBSERVED_FROM
from clvforecast.ledger.checks import check_columns
from clvforecast.ledger.duck import connect
from clvforecast.ledger.notes import rules_in_words
from clvforecast.ledger.read import LARGEST_TOTAL_CENTS
from clvforecast.ledger.tables import read_table
from clvforecast.spark.ledgers import Facts, check_accounts, usable, without_row
from clvforecast.spark.parts import KEY, column_of, key_column, part_tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SAID_SQL = "said string"
SAID = pa.schema([("said", pa.string())])
SHARED_SHOWN = 3


def check_tables(events: DataFrame, accounts: DataFrame | None) -> None:
    """What needs no row to be told: columns that are missing, nested or twice. Raises LedgerError and SparkError."""
    from pyspark.sql.pandas.types import to_arrow_schema

    with connect() as connection:
        empty = to_arrow_schema(events.schema, timezone="UTC").empty_table()
        check_columns(read_table(connection, empty, "events", COLUMN_NAMES))
    if column_of(events, "event_id") is None:
        raise SparkError(
            "events: no column event_id. Without it the order of rows counts, and rows of a cluster have none. Give every event "
            "its own event_id."
        )
    if accounts is not None:
        key_column(accounts, "account_id")


def refuse_shared_ids(events: DataFrame) -> None:
    """Raise LedgerError for an event_id of several accounts: in which of them it counts no part could say by itself."""
    from pyspark.sql import functions as F

    ids = events.select(key_column(events, "event_id").alias("id"), key_column(events, "account_id").alias(KEY))
    of_several = (
        ids.dropna()
        .groupBy("id")
        .agg(F.min(KEY).alias("first"), F.max(KEY).alias("last"))
        .where(F.col("first") != F.col("last"))
    )
    found = of_several.orderBy("id").limit(SHARED_SHOWN).collect()
    if found:
        shown = "; ".join(f"{row['id']!r} of {row['first']!r} and {row['last']!r}" for row in found)
        raise LedgerError(
            f"events: {of_several.count():,} values of event_id are those of events of several accounts ({shown}). On a cluster "
            "accounts are read apart, and the copy could not be told. Give every event its own event_id, or drop the copies."
        )


def common_facts(parts: DataFrame, as_of: date | None, grace_days: int | None, n_events: int) -> Facts:
    """The facts of all parts together. Raises LedgerError for what `read_ledger` would refuse of all."""
    rows = parts.mapInArrow(partial(facts_of_part, grace_days), SAID_SQL).collect()
    said = sorted((json.loads(row["said"]) for row in rows), key=lambda part: part["part"])
    return joined_facts(said, as_of, grace_days, n_events)


def joined_facts(said: Sequence[dict[str, Any]], as_of: date | None, grace_days: int | None, n_events: int) -> Facts:
    """From what parts say, in the order of their numbers."""
    for part in said:
        if part["error"] is not None:
            raise LedgerError(f"{part['error']} (Rows are counted within a part of the accounts.)")
    used = [part for part in said if part["accepted"]]
    if not used:
        rules = Counter[str]()
        for part in said:
            rules.update(part["rules"])
        found = (
            f"none of {n_events:,} rows can be used ({rules_in_words(rules)})" if rules else "the table holds no rows"
        )
        raise LedgerError(f"events: {found}. Check the source and its filters.")
    _refuse_currencies(used)
    _refuse_another_table(said, used)
    day = as_of or max(date.fromisoformat(part["as_of"]) for part in used)
    first = min(date.fromisoformat(part["first"]) for part in used)
    if first > day:
        raise LedgerError(
            f"no event is booked by as_of {day}: the first is booked on {first}. Choose a day from it on."
        )
    columns = used[0]["columns"]
    return Facts(
        as_of=day,
        currency=used[0]["currency"],
        columns=tuple(name for name in columns if all(name in part["columns"] for part in used)),
        has_observed_from=all(part["has_observed_from"] for part in used),
        grace_days=grace_days,
        n_events=n_events,
        warnings=tuple(_warnings(said)),
    )


def _warnings(said: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What can be told from counts; what `read_ledger` suspects of a ledger as a whole is not looked for."""
    rules = Counter[str]()
    for part in said:
        rules.update(part["rules"])
    without_row, with_row, told = (sum(part[name] for part in said) for name in ("without_row", "with_row", "told"))
    if rules:
        yield f"events: {rules.total()} rows rejected ({rules_in_words(rules)})"
    if without_row:
        yield f"accounts: {without_row} accounts with events have no row; their segments are {NOT_RECORDED!r}"
    if told > with_row:
        yield f"accounts: {told - with_row} rows have no accepted events and are left out"


def facts_of_part(grace_days: int | None, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On a worker: one row, a JSON object of what a part's ledger says of itself."""
    tables = part_tables(batches)
    if tables is None:
        return
    nothing = {"accepted": 0, "rules": {}, "with_row": 0, "without_row": 0, "error": None, "part": part_number()}
    told = {"told": 0 if tables.accounts is None else tables.accounts.num_rows}
    try:
        check_accounts(tables)
        ledger, rejected = usable(tables, grace_days)
    except ClvError as error:
        said = nothing | told | {"error": str(error)}
    else:
        said = (
            nothing
            | told
            | {"rules": {of["values"]: of["counts"] for of in rejected["rule"].value_counts().to_pylist()}}
        )
        if ledger is not None:
            without = without_row(ledger, tables)
            said |= {
                "accepted": ledger.events.num_rows,
                "as_of": ledger.as_of.isoformat(),
                "first": pc.min(ledger.events["event_date"]).as_py().isoformat(),
                "currency": ledger.currency,
                "cents": pc.sum(pc.abs(ledger.events["amount_cents"])).as_py() or 0,
                "columns": [name for name in ledger.accounts.column_names if name not in ("account_id", OBSERVED_FROM)],
                "has_observed_from": ledger.has_observed_from,
                "with_row": ledger.accounts.num_rows - without,
                "without_row": without,
                "example": ledger.accounts["account_id"][0].as_py(),
            }
    yield pa.RecordBatch.from_arrays([pa.array([json.dumps(said)])], schema=SAID)


def part_number() -> int:
    """Number of the partition that a worker is at; 0 outside of a task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return 0 if context is None else context.partitionId()


def _refuse_currencies(used: Sequence[dict[str, Any]]) -> None:
    rows, cents = Counter[str](), 0
    for part in used:
        rows[part["currency"]] += part["accepted"]
        cents += part["cents"]
    if len(rows) > 1:
        raise LedgerError(
            f"events: column currency holds {', '.join(f'{name} ({n:,} rows)' for name, n in rows.most_common())}; one ledger "
            "has one reporting currency. Convert the amounts to one currency first, or score one currency at a time."
        )
    if cents > LARGEST_TOTAL_CENTS:
        raise LedgerError(
            f"events: the amounts add up to {cents / 100:.3g} {next(iter(rows))}, more than can be counted exactly in cents. "
            "Check the unit of column amount."
        )


def _refuse_another_table(said: Sequence[dict[str, Any]], used: Sequence[dict[str, Any]]) -> None:
    """An accounts table in which not one account has events is another one, or writes its ids otherwise."""
    matched, told = sum(part["with_row"] for part in used), sum(part["told"] for part in said)
    if told and not matched:
        raise LedgerError(
            f"accounts: not one of the {told:,} accounts of the table has events (the events have accounts such as "
            f"{used[0]['example']!r}). Write the ids alike: letters, leading zeros, text or number."
        )
