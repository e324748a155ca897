"""Whole accounts side by side: events and accounts tables dealt out to the partitions of a cluster by account.

Both tables travel as one: a row has a struct for the table that it is of, and null for the other. So one shuffle puts together
what belongs to an account, and a worker sees all of it without a join.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from clvforecast.errors import SparkError
from clvforecast.events import COLUMN_NAMES
from clvforecast.ledger.accounts import OBSERVED_FROM
from clvforecast.ledger.duck import plain_name

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

ACCOUNTS_A_PART = 20_000
"""Accounts of a partition where none is asked for: as many as `forecast` holds in memory at a time."""
FEWEST_A_PART = 1_000
"""Below so many the posterior is read more often than it is worth."""
PARTS_A_CORE = 3
"""So that a core that has done its parts early can take another one."""
KEY, EVENT, ACCOUNT = "key", "event", "account"
BLANKS = r"^\p{Zs}+|\p{Zs}+$"
"""What a ledger takes off the ends of a text: Unicode's separators."""


@dataclass(frozen=True)
class PartTables:
    """The rows of a part as they came, each with its account's key: trimmed text, null without one."""

    events: pa.Table
    event_keys: pa.ChunkedArray
    accounts: pa.Table | None
    account_keys: pa.ChunkedArray | None


def session_of(events: Any, accounts: Any) -> SparkSession:
    """The session of DataFrames of one. Raises SparkError for what is none, and for Spark Connect."""
    from pyspark.sql.classic.dataframe import DataFrame

    for name, frame in (("events", events), *([] if accounts is None else [("accounts", accounts)])):
        if not isinstance(frame, DataFrame):
            raise SparkError(
                f"{name} is a {type(frame).__module__}.{type(frame).__qualname__}, but must be a DataFrame of a SparkSession "
                "that has a SparkContext (Spark Connect has none). On one machine: clv.read_ledger and clv.forecast."
            )
    return events.sparkSession  # type: ignore[no-any-return]


def column_of(frame: DataFrame, name: str) -> str | None:
    """The frame's name for a column of the event schema: letter case and blanks around do not count."""
    return next((found for found in frame.columns if plain_name(found) == name), None)


def segments_of(events: DataFrame, accounts: DataFrame | None) -> tuple[str, ...]:
    """The columns that may be segments; of the events' own only rows can tell which are."""
    names = (events if accounts is None else accounts).columns
    return tuple(name for name in names if plain_name(name) not in (*COLUMN_NAMES, OBSERVED_FROM))


def check_partitions(partitions: int | None) -> None:
    """Raise SparkError for a number of parts that cannot be."""
    if partitions is not None and (isinstance(partitions, bool) or not isinstance(partitions, int) or partitions < 1):
        raise SparkError(f"partitions={partitions!r}; give a whole number from 1 on, or None.")


def key_column(frame: DataFrame, name: str) -> Column:
    """An identity as a ledger reads it: trimmed text, 101.0 as 101, null where it is blank."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import DoubleType, FloatType

    found = column_of(frame, name)
    if found is None:
        raise SparkError(f"no column {name}; found are {', '.join(frame.columns) or 'none'}. Rename the column.")
    value = F.col(f"`{found}`")
    if isinstance(frame.schema[found].dataType, DoubleType | FloatType):
        whole = (value == F.floor(value)) & (F.abs(value) < 9e15)
        return F.when(whole, value.cast("bigint").cast("string")).otherwise(value.cast("string"))
    text = F.regexp_replace(value.cast("string"), BLANKS, "")
    return F.when(text != "", text)


def parts_of(events: DataFrame, accounts: DataFrame | None, n_parts: int | None) -> DataFrame:
    """Both tables in so many partitions of whole accounts; by default of at most some `ACCOUNTS_A_PART`."""
    from pyspark.sql import functions as F

    def packed(frame: DataFrame) -> Column:
        return F.struct(*(F.col(f"`{name}`") for name in frame.columns))

    rows = events.select(key_column(events, "account_id").alias(KEY), packed(events).alias(EVENT))
    n_parts = n_parts or _usual_parts(rows)
    if accounts is not None:
        nothing = F.lit(None).cast(accounts.schema).alias(ACCOUNT)
        told = accounts.select(
            key_column(accounts, "account_id").alias(KEY),
            F.lit(None).cast(events.schema).alias(EVENT),
            packed(accounts).alias(ACCOUNT),
        )
        rows = rows.select(KEY, EVENT, nothing).unionByName(told)
    return rows.repartition(n_parts, KEY)


def _usual_parts(rows: DataFrame) -> int:
    from pyspark.sql import functions as F

    found = rows.agg(F.approx_count_distinct(KEY).alias("accounts")).first()
    n_accounts = 0 if found is None else int(found["accounts"])
    wanted = max(
        math.ceil(n_accounts / ACCOUNTS_A_PART), PARTS_A_CORE * rows.sparkSession.sparkContext.defaultParallelism
    )
    return max(1, min(wanted, math.ceil(n_accounts / FEWEST_A_PART)))


def part_tables(batches: Iterable[pa.RecordBatch]) -> PartTables | None:
    """On a worker: the tables of a part; None without any row."""
    table = pa.Table.from_batches(found) if (found := list(batches)) else None
    if table is None or not table.num_rows:
        return None
    events, event_keys = _unpacked(table, EVENT)
    if ACCOUNT not in table.column_names:
        return PartTables(events, event_keys, None, None)
    return PartTables(events, event_keys, *_unpacked(table, ACCOUNT))


def _unpacked(table: pa.Table, name: str) -> tuple[pa.Table, pa.ChunkedArray]:
    """The rows that have this struct, as a table, and their keys."""
    mine = table.select([KEY, name]).filter(table[name].is_valid())
    structs = mine[name]
    names = [field.name for field in structs.type]
    columns = [pa.chunked_array([chunk.field(place) for chunk in structs.chunks], structs.type[place].type)
               for place in range(len(names))]  # fmt: skip
    return pa.Table.from_arrays(columns, names=names), mine[KEY]
