"""Input tables of any supported kind into DuckDB, every value as it came, with its source and row."""

import csv
import glob
import gzip
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clvforecast.errors import LedgerError

# Names of the columns added by reading: running number over all sources, source, row within the source.
NUMBER, SOURCE, ROW = "__number", "__source", "__row"
CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
MEMORY_LIMIT = "750MB"
"""What DuckDB holds in memory before it spills to a folder of its own: the same for any number of events."""
ROWS_AT_ONCE, BATCHES = 2**20, 8  # batches are what threads share out
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
    """A DuckDB table of what was read: `columns` maps each input column's name to its DuckDB type."""

    name: str
    label: str
    columns: dict[str, str]

    def type_of(self, column: str) -> str:
        return self.columns[column]


def quoted(name: str) -> str:
    """An SQL identifier, safe for any column name."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL string literal, safe for any text."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A private DuckDB in memory, bounded, that never loads extensions from the network."""
    config: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    # No checkpoints: compressing tables that are soon dropped took 6 of 15 seconds of reading 5.5 million events.
    config["checkpoint_threshold"] = "1TB"
    with (
        TemporaryDirectory(prefix="clvforecast-") as folder,
        duckdb.connect(config=config | {"memory_limit": MEMORY_LIMIT, "temp_directory": folder}) as connection,
    ):
        yield connection


def first_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...] | None:
    """The first row of a query, None when it has none; the result is read to its end."""
    rows = connection.execute(query).fetchall()
    return rows[0] if rows else None


def counts(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The one row of a query of aggregates."""
    return connection.execute(query).fetchall()[0]


def read_table(
    connection: duckdb.DuckDBPyConnection,
    source: Any,
    label: str,
    expected: Sequence[str],
    encoding: str | None = None,
) -> RawTable:
    """Copy `source` into table `raw_<label>`; columns of `expected` in any letter case get those names."""
    name = f"raw_{label}"
    if is_path(source):
        _read_paths(connection, name, label, matching(source, label))
    else:
        table = _to_arrow(source, label)
        _store_arrow(connection, name, [Part(label, table.schema, _slices(table))])
    for old, new in _schema_names(_columns(connection, name), expected).items():
        connection.execute(f"ALTER TABLE {name} RENAME COLUMN {quoted(old)} TO {quoted(new)}")
    return RawTable(name, label, _columns(connection, name))


def _columns(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    described = connection.execute(f"DESCRIBE {name}").fetchall()
    return {str(row[0]): str(row[1]) for row in described if row[0] not in (NUMBER, SOURCE, ROW)}


def _schema_names(found: Iterable[str], expected: Sequence[str]) -> dict[str, str]:
    """Which found columns are expected ones in other letter case or with blanks around: {found: expected}."""
    plain = {name.strip().lower(): name for name in found}
    return {plain[name]: name for name in expected if name in plain and plain[name] != name}


def _check_names(names: Sequence[str], source: str) -> None:
    """Refuse names that DuckDB, blind to letter case, would silently number, and the reader's own."""
    plain = [name.strip().lower() for name in names]
    if len(set(plain)) < len(plain):
        raise LedgerError(
            f"{source}: two columns have the same name, but for letter case or blanks: {', '.join(names)}. "
            "Rename one of them."
        )
    for taken in {NUMBER, SOURCE, ROW}.intersection(plain):
        raise LedgerError(f"{source}: the column name {taken} is used by the reader. Rename it.")


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
    try:
        frame = nw.from_native(source)
    except TypeError as error:
        raise LedgerError(
            f"{label}: cannot read a {type(source).__module__}.{type(source).__qualname__}. Give {SUPPORTED}."
        ) from error
    return frame.collect(backend="pyarrow").to_native() if isinstance(frame, nw.LazyFrame) else frame.to_arrow()


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


def _plain_columns(table: pa.Table) -> pa.Table:
    """Zoned timestamps as the clock of their zone (midnight there is a date); dictionaries as values."""
    for position, field in enumerate(table.schema):
        column = table.column(position)
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            column = pc.local_timestamp(column)
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


def _joined_schema(parts: Sequence[Part]) -> pa.Schema:
    """Files may differ in width or in type (int64 and double): the wider type holds both."""
    for part in parts:
        _check_names(part.schema.names, part.source)
    empty = [_plain_columns(part.schema.empty_table()) for part in parts]
    return pa.concat_tables(empty, promote_options="permissive").schema.remove_metadata()


def _make_sources(connection: duckdb.DuckDBPyConnection, name: str, sources: Sequence[str]) -> str:
    """A type that holds the name of a row's source in one byte or two."""
    connection.execute(f"CREATE TYPE {name}_source AS ENUM ({', '.join(map(literal, sources))})")
    return f"{name}_source"


def _store_arrow(connection: duckdb.DuckDBPyConnection, name: str, parts: Sequence[Part]) -> None:
    try:
        empty = _joined_schema(parts).empty_table()
        kind = _make_sources(connection, name, [part.source for part in parts])
        connection.register("arrow_rows", empty)
        connection.execute(
            f"CREATE TABLE {name} AS SELECT *, NULL::{kind} AS {SOURCE}, 0::BIGINT AS {ROW}, 0::BIGINT AS {NUMBER} "
            "FROM arrow_rows"
        )
        number = 0
        for part in parts:
            row = 0
            for chunk in part.rows:
                rows = pa.concat_tables([empty, _plain_columns(chunk)], promote_options="permissive")
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
    """Whether a source is named by paths, one or several."""
    return isinstance(source, str | Path) or (
        isinstance(source, list | tuple) and bool(source) and all(isinstance(part, str | Path) for part in source)
    )


def matching(source: Any, label: str) -> list[str]:
    """The files that paths or globs name, each once."""
    paths: list[str] = []
    for pattern in map(str, source if isinstance(source, list | tuple) else [source]):
        found = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern, recursive=True))
        if not found:
            raise LedgerError(f"{label}: no file matches {pattern!r}. Check the path (looked from {Path.cwd()}).")
        paths += found
    return list(dict.fromkeys(paths))


def columns_of(source: Any, label: str) -> list[str]:
    """The columns of a table, or of the first file that a path names, as they are written there."""
    if not is_path(source):
        return [str(name) for name in nw.from_native(source).collect_schema().names()]
    path = matching(source, label)[0]
    if path.lower().endswith(PARQUET_SUFFIXES):
        with _readable_parquet(path):
            return list(pq.read_schema(path).names)
    return _header_names(path)[0]


def _read_paths(connection: duckdb.DuckDBPyConnection, name: str, label: str, paths: list[str]) -> None:
    if all(path.lower().endswith(PARQUET_SUFFIXES) for path in paths):
        _store_arrow(connection, name, [_parquet_part(path) for path in paths])
    elif all(path.lower().endswith(CSV_SUFFIXES) for path in paths):
        _store_csv(connection, name, paths)
    else:
        raise LedgerError(
            f"{label}: {', '.join(paths[:3])} cannot be read; readable are files that all end in "
            f"{', '.join(CSV_SUFFIXES)}, or all in {', '.join(PARQUET_SUFFIXES)}."
        )


def _parquet_part(path: str) -> Part:
    with _readable_parquet(path):
        file = pq.ParquetFile(path)
        return Part(path, file.schema_arrow, _parquet_rows(path, file))


def _parquet_rows(path: str, file: pq.ParquetFile) -> Iterator[pa.Table]:
    """The rows of a file, so many at once."""
    batches = file.iter_batches(batch_size=ROWS_AT_ONCE // BATCHES)
    while True:
        with _readable_parquet(path):
            several = list(islice(batches, BATCHES))
        if not several:
            return
        yield pa.Table.from_batches(several)


@contextmanager
def _readable_parquet(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise LedgerError(f"{path}: not a readable Parquet file ({error}). Export it again.") from error


def _header(path: str) -> str:
    opener = gzip.open if path.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            return file.readline()
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise LedgerError(f"{path}: not a readable UTF-8 text file ({error}). Save it as CSV UTF-8.") from error


def _header_names(path: str) -> tuple[list[str], str]:
    """The columns of a text file, and what separates them."""
    header = _header(path)
    delimiter = max(",;\t|", key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    if not names or not any(text.strip() for text in names):
        raise LedgerError(f"{path}: the first line holds no column names. Add a header line.")
    return names, delimiter


def _store_csv(connection: duckdb.DuckDBPyConnection, name: str, paths: Sequence[str]) -> None:
    """Every value as text: with guessed types one odd value would change the whole column's type."""
    names, delimiter = _header_names(paths[0])
    _check_names(names, paths[0])
    files = ", ".join(literal(path) for path in paths)
    several = len(paths) > 1
    row = f"{NUMBER} - min({NUMBER}) OVER (PARTITION BY {SOURCE}) + 1" if several else NUMBER
    kind = _make_sources(connection, name, paths)
    try:
        connection.execute(
            f"""
            CREATE TABLE {name} AS
            WITH lines AS (
                SELECT row_number() OVER () AS {NUMBER}, *
                FROM read_csv([{files}], all_varchar = true, header = true, skip = 0,
                              delim = {literal(delimiter)}, quote = '"', escape = '"', nullstr = '',
                              union_by_name = {str(several).lower()},
                              filename = '{SOURCE}', max_line_size = 16777216)
            )
            SELECT * REPLACE (CAST({SOURCE} AS {kind}) AS {SOURCE}), {row} AS {ROW} FROM lines
            """
        )
    except duckdb.Error as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise LedgerError(
            f"{', '.join(paths[:3])}: not a readable CSV file ({' '.join(lines[:3])}). Give every line the "
            "header's number of fields, in UTF-8, with quotes around text that holds the separator."
        ) from error
