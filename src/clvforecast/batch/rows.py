"""The rows of a run's tables on their way into a database: checked and typed, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.batch.schema import RUNS, TABLES, TEXT, Column, Table
from clvforecast.errors import BatchError, ClvError

type Batches = Iterable[pa.RecordBatch] | pa.RecordBatchReader | pa.Table
NOT_A_SEGMENT = ("all", "origin")
"""What the column `segment` says of the portfolio, and of the split by origin."""
LONGEST_NAME = 63
"""Bytes of a column's name: PostgreSQL cuts what is longer."""


class Rows:
    """The rows of one table of one run, to be read once.

    table: the table with this run's segment columns, which are `segments`.
    """

    def __init__(self, table: Table, run_id: str, batches: Batches) -> None:
        names, self._batches = _opened(batches)
        self.run_id = run_id
        self.segments = () if names is None else _segments(table, names)
        self.table = table.with_segments(self.segments)
        self._failure: BaseException | None = None

    def reader(self) -> pa.RecordBatchReader:
        """The rows, each batch made when it is asked for. Databases say of its errors only that there was one: `explain`."""
        return pa.RecordBatchReader.from_batches(self.table.arrow_schema, self._checked())

    def explain(self) -> None:
        """Raise what went wrong in making the rows, where something did."""
        if isinstance(self._failure, ClvError) or not isinstance(self._failure, Exception | None):
            raise self._failure
        if self._failure is not None:
            raise BatchError(
                f"{self.table.name}: the rows of run {self.run_id} cannot be made ({self._failure!r}). Nothing was published."
            ) from self._failure

    def _checked(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                yield _typed(self.table, self.run_id, batch)
        except BaseException as error:
            self._failure = error
            raise


def rows_of_run(run_id: str, tables: Mapping[str, Batches]) -> dict[str, Rows]:
    """Every table of the schema; those that are not given have no rows.

    Raises BatchError for a table that the schema does not have, a run without its row in `runs`, and columns that do not fit.
    """
    unknown = sorted(set(tables) - set(TABLES))
    if unknown:
        raise BatchError(f"{', '.join(unknown)}: a run has no such table. Its tables are {', '.join(TABLES)}.")
    if not run_id or "\0" in run_id:
        raise BatchError(f"run_id={run_id!r}: give the run a name, such as its day.")
    if RUNS.name not in tables:
        raise BatchError(f"run {run_id}: the table {RUNS.name} is missing; it says what the run is. Give its one row.")
    return {name: Rows(table, run_id, tables.get(name, ())) for name, table in TABLES.items()}


def _opened(batches: Batches) -> tuple[list[str] | None, Iterator[pa.RecordBatch]]:
    """The columns' names, None where nothing says them, and the batches."""
    if isinstance(batches, pa.Table):
        return batches.schema.names, iter(batches.to_batches())
    if isinstance(batches, pa.RecordBatchReader):
        return batches.schema.names, iter(batches)
    rest: Iterator[pa.RecordBatch] = iter(batches)
    first = next(rest, None)
    return (None, rest) if first is None else (first.schema.names, chain([first], rest))


def _segments(table: Table, names: list[str]) -> tuple[str, ...]:
    """The columns that are the company's own. Raises BatchError for columns that are missing or do not belong here."""
    missing = [column.name for column in table.columns if column.name not in names and not column.optional]
    if missing:
        raise BatchError(f"{table.name}: no column {', '.join(missing)}; found are {', '.join(names)}.")
    extra = tuple(name for name in names if name not in table.names)
    if extra and not table.has_segments:
        raise BatchError(f"{table.name}: unknown column {', '.join(extra)}. Its columns are {', '.join(table.names)}.")
    check_segment_names(table, extra)
    return extra


def check_segment_names(table: Table, segments: tuple[str, ...]) -> None:
    """Raise BatchError for names that a database cannot tell from others, or would cut."""
    taken = {name.lower(): name for name in table.names}
    for name in segments:
        if name.lower() in NOT_A_SEGMENT:
            raise BatchError(
                f"{table.name}: the accounts' column {name!r} has a name that the column segment has a meaning for. Rename it in "
                "the accounts table, or leave it out of forecast.group_by."
            )
        other = taken.get(name.lower())
        if other is not None:
            raise BatchError(
                f"{table.name}: the accounts' column {name!r} has the name of the column {other!r}, but for letter case. "
                "Rename it in the accounts table."
            )
        if not name or "\0" in name or len(name.encode()) > LONGEST_NAME:
            raise BatchError(
                f"{table.name}: the accounts' column {name!r} cannot be a column of a database, whose names have 1 to "
                f"{LONGEST_NAME} bytes. Rename it in the accounts table."
            )
        taken[name.lower()] = name


def _typed(table: Table, run_id: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    unlike = set(batch.schema.names) ^ set(table.names)
    optional = {column.name for column in table.columns if column.optional}
    if unlike - optional or len(set(batch.schema.names)) < len(batch.schema.names):
        raise BatchError(
            f"{table.name}: a batch has the columns {', '.join(batch.schema.names)}, others than those before it. Give every "
            "batch the same."
        )
    columns = [
        _column(table, column, batch.column(column.name))
        if column.name in batch.schema.names
        else pa.nulls(len(batch), column.type)
        for column in table.columns
    ]
    foreign = pc.filter(columns[0], pc.not_equal(columns[0], run_id))
    if len(foreign):
        raise BatchError(
            f"{table.name}: a row of run {foreign[0]} among those of run {run_id}. Publish each run by itself."
        )
    return pa.RecordBatch.from_arrays(columns, schema=table.arrow_schema)


def _column(table: Table, column: Column, values: pa.Array) -> pa.Array:
    """Values of the column's own type, NaN as NULL."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if _is_text(values.type) != (column.type == TEXT) and not pa.types.is_null(values.type):
        raise BatchError(f"{table.name}: column {column.name!r} holds {values.type}, but is {column.type}. Convert it.")
    try:
        typed = values.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BatchError(
            f"{table.name}: column {column.name!r} cannot be {column.type} ({error}). Convert it."
        ) from error
    if pa.types.is_floating(typed.type):
        typed = pc.if_else(pc.is_nan(typed), pa.scalar(None, typed.type), typed)
    if column.filled and typed.null_count:
        raise BatchError(f"{table.name}: column {column.name!r} is empty in {typed.null_count:,} rows. Fill it.")
    return typed


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
