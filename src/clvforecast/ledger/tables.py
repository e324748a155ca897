"""Input tables of any supported kind into DuckDB, every value as it came, with its source and row."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as field_of
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.errors import LedgerError
from clvforecast.ledger.csvs import BROKEN_SCHEMA, TextFile, store_csv, text_file
from clvforecast.ledger.duck import (
    NUMBER,
    ROW,
    SOURCE,
    check_names,
    connect,
    counts,
    first_row,
    make_sources,
    plain_name,
)
from clvforecast.ledger.parquet import parquet_file, parquet_rows
from clvforecast.ledger.plain_text import check_regular, plain_text
from clvforecast.sql import literal, quoted

__all__ = ["NUMBER", "ROW", "SOURCE", "RawTable", "connect", "counts", "first_row", "literal", "quoted", "read_table"]

CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
ROWS_AT_ONCE = 2**20
SUPPORTED = (
    "a pandas, Polars or PySpark DataFrame, a pyarrow Table, a DuckDB relation, or a path or glob of "
    "CSV or Parquet files"
)


@dataclass(frozen=True)
class Part:
    """One source of rows: its name, its columns, and its rows in their order, so many at once."""

    source: str
    schema: pa.Schema
    rows: Iterator[pa.Table]


@dataclass(frozen=True)
class RawTable:
    """A DuckDB table of what was read: `columns` maps each input column's name to its DuckDB type.

    broken: the records that are no rows (`csvs.BROKEN_SCHEMA`); files: where the rows come from, of CSV files.
    """

    name: str
    label: str
    columns: dict[str, str]
    broken: pa.Table = field_of(default_factory=BROKEN_SCHEMA.empty_table)
    files: tuple[TextFile, ...] = ()

    def type_of(self, column: str) -> str:
        return self.columns[column]


def read_table(
    connection: duckdb.DuckDBPyConnection,
    source: Any,
    label: str,
    expected: Sequence[str],
    encoding: str | None = None,
    time_zone: str | None = None,
) -> RawTable:
    """Copy `source` into table `raw_<label>`; columns of `expected` in any letter case get those names.

    `encoding` is that of CSV files; without it they are UTF-8, or UTF-16 with a byte order mark. Timestamps with a zone become
    the clock of `time_zone`, or of their own zone without it.
    """
    name = f"raw_{label}"
    files: tuple[TextFile, ...] = ()
    broken = BROKEN_SCHEMA.empty_table()
    if is_path(source):
        paths = matching(source, label)
        if paths[0].lower().endswith(CSV_SUFFIXES):
            files, broken = store_csv(connection, name, paths, encoding)
        else:
            _store_arrow(connection, name, [_parquet_part(path) for path in paths], time_zone)
    else:
        table = _to_arrow(source, label)
        _store_arrow(connection, name, [Part(label, table.schema, _slices(table))], time_zone)
    for old, new in _schema_names(_columns(connection, name), expected).items():
        connection.execute(f"ALTER TABLE {name} RENAME COLUMN {quoted(old)} TO {quoted(new)}")
    return RawTable(name, label, _columns(connection, name), broken, files)


def _columns(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    described = connection.execute(f"DESCRIBE {name}").fetchall()
    return {str(row[0]): str(row[1]) for row in described if row[0] not in (NUMBER, SOURCE, ROW)}


def _schema_names(found: Iterable[str], expected: Sequence[str]) -> dict[str, str]:
    """Which found columns are expected ones in other letter case or with blanks around: {found: expected}."""
    plain = {plain_name(name): name for name in found}
    return {plain[name]: name for name in expected if name in plain and plain[name] != name}


# --- tables in memory ---------------------------------------------------------------------------------------


def _to_arrow(source: Any, label: str) -> pa.Table:
    try:
        return _pandas_to_arrow(source) if isinstance(source, pd.DataFrame) else _native_to_arrow(source, label)
    except (pa.ArrowException, nw.exceptions.NarwhalsError, duckdb.Error, ValueError) as error:
        raise LedgerError(
            f"{label}: the table cannot be converted to Arrow ({error}). Give every column one type, and a "
            "name of its own."
        ) from error


def _native_to_arrow(source: Any, label: str) -> pa.Table:
    """Any table Narwhals knows; a lazy one (Polars, DuckDB, PySpark) is collected."""
    frame = _narwhals(source, label)
    if not isinstance(frame, nw.LazyFrame):
        return frame.to_arrow()
    table: pa.Table = frame.collect(backend="pyarrow").to_native()
    if not frame.implementation.is_pyspark():
        return table
    zone = frame.to_native().sparkSession.conf.get("spark.sql.session.timeZone")
    return _in_zone(table, zone)


def _in_zone(table: pa.Table, zone: str) -> pa.Table:
    """Timestamps with a zone in this one: Spark shows them by its session's clock, but hands them over in UTC."""
    for position, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            zoned = table.column(position).cast(pa.timestamp(field.type.unit, tz=zone))
            table = table.set_column(position, field.name, zoned)
    return table


def _narwhals(source: Any, label: str) -> Any:
    try:
        return nw.from_native(source)
    except TypeError as error:
        raise LedgerError(
            f"{label}: cannot read a {type(source).__module__}.{type(source).__qualname__}. Give {SUPPORTED}."
        ) from error


def _pandas_to_arrow(frame: pd.DataFrame) -> pa.Table:
    """A column of mixed Python objects becomes text, so that its odd values are rejected one by one."""
    names = [str(name) for name in frame.columns]
    arrays = []
    for position in range(len(names)):
        series = frame.iloc[:, position]
        try:
            arrays.append(pa.array(series, from_pandas=True))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            arrays.append(pa.array(series.astype("string"), type=pa.string(), from_pandas=True))
    columns = [array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array for array in arrays]
    return pa.table(columns, names=names)


def _plain_columns(table: pa.Table, time_zone: str | None) -> pa.Table:
    """Zoned timestamps as the clock of this zone, or of their own (midnight there is a date); dictionaries as values."""
    for position, field in enumerate(table.schema):
        column = table.column(position)
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            zone = time_zone or field.type.tz
            column = pc.local_timestamp(column.cast(pa.timestamp(field.type.unit, tz=zone)))
        elif pa.types.is_dictionary(field.type):
            column = column.cast(field.type.value_type)
        elif pa.types.is_null(field.type):
            column = column.cast(pa.string())
        else:
            continue
        table = table.set_column(position, field.name, column)
    return table


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    """The rows of a table, so many at once."""
    for first in range(0, table.num_rows, ROWS_AT_ONCE):
        yield table.slice(first, ROWS_AT_ONCE)


def _joined_schema(parts: Sequence[Part], time_zone: str | None) -> pa.Schema:
    """Files may differ in width or in type (int64 and double): the wider type holds both."""
    for part in parts:
        check_names(part.schema.names, part.source)
    empty = [_plain_columns(part.schema.empty_table(), time_zone) for part in parts]
    return pa.concat_tables(empty, promote_options="permissive").schema.remove_metadata()


def _store_arrow(
    connection: duckdb.DuckDBPyConnection, name: str, parts: Sequence[Part], time_zone: str | None
) -> None:
    try:
        empty = _joined_schema(parts, time_zone).empty_table()
        kind = make_sources(connection, name, [part.source for part in parts])
        connection.register("arrow_rows", empty)
        connection.execute(
            f"CREATE TABLE {name} AS SELECT *, NULL::{kind} AS {SOURCE}, 0::BIGINT AS {ROW}, 0::BIGINT AS {NUMBER} "
            "FROM arrow_rows"
        )
        number = 0
        for part in parts:
            row = 0
            for chunk in part.rows:
                rows = pa.concat_tables([empty, _plain_columns(chunk, time_zone)], promote_options="permissive")
                rows = rows.append_column(ROW, pa.array(np.arange(row + 1, row + 1 + rows.num_rows)))
                connection.register("arrow_rows", rows)
                connection.execute(
                    f"INSERT INTO {name} SELECT * EXCLUDE ({ROW}), {literal(part.source)}, {ROW}, {ROW} + {number} "
                    "FROM arrow_rows"
                )
                row += rows.num_rows
            number += row
        connection.unregister("arrow_rows")
    except (pa.ArrowException, duckdb.Error) as error:
        raise LedgerError(
            f"{parts[0].source}: the columns cannot be put together ({error}). Give every column one type in all "
            "files, and a name of its own."
        ) from error


# --- files --------------------------------------------------------------------------------------------------


def is_path(source: Any) -> bool:
    """Whether a source is named by paths or patterns, one or several."""
    return isinstance(source, str | Path) or (
        isinstance(source, list | tuple) and bool(source) and all(isinstance(part, str | Path) for part in source)
    )


def matching(source: Any, label: str) -> list[str]:
    """The files that paths or patterns name, each once, all of one kind."""
    patterns = list(map(str, source if isinstance(source, list | tuple) else [source]))
    paths = list(dict.fromkeys(path for pattern in patterns for path in _named(label, pattern)))
    if not any(all(path.lower().endswith(suffixes) for path in paths) for suffixes in (CSV_SUFFIXES, PARQUET_SUFFIXES)):
        raise LedgerError(
            f"{label}: {', '.join(patterns[:3])} names {', '.join(paths[:3])}; readable are files that all end in "
            f"{', '.join(CSV_SUFFIXES)}, or all in {', '.join(PARQUET_SUFFIXES)}. Unpack an archive first, and save a "
            "workbook's sheet as CSV UTF-8."
        )
    return paths


def columns_of(source: Any, label: str, encoding: str | None = None) -> list[str]:
    """The columns of a table, or of the first file that is named, as they are written there."""
    if not is_path(source):
        try:
            return list(map(str, _narwhals(source, label).collect_schema().names()))
        except nw.exceptions.NarwhalsError as error:
            raise LedgerError(
                f"{label}: the columns cannot be told apart ({error}). Give each a name of its own."
            ) from error
    path = matching(source, label)[0]
    if path.lower().endswith(PARQUET_SUFFIXES):
        return list(parquet_file(path).schema_arrow.names)
    with connect() as connection:
        return list(text_file(plain_text(connection, path, encoding)).names)


def _named(label: str, pattern: str) -> list[str]:
    try:
        paths = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
    except (OSError, ValueError) as error:
        raise LedgerError(f"{label}: {pattern!r} is no path ({error}). Name a file or a pattern.") from error
    if not paths:
        raise LedgerError(f"{label}: no file matches {pattern!r}. Check the path (looked from {Path.cwd()}).")
    for path in paths:
        check_regular(path)
    return paths


def _parquet_part(path: str) -> Part:
    file = parquet_file(path)
    return Part(path, file.schema_arrow, parquet_rows(path, file, ROWS_AT_ONCE))
