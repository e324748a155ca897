"""DuckDB as the ledger uses it: a bounded connection, safe SQL, and the columns that reading adds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from clvforecast.errors import LedgerError
from clvforecast.sql import literal

# Names of the columns added by reading: running number over all sources, source, row within the source.
NUMBER, SOURCE, ROW = "__number", "__source", "__row"
MEMORY_LIMIT = "750MB"
"""What DuckDB holds in memory before it spills to a folder of its own: the same for any number of events."""


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
        yield _silent(connection)


def another(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A connection to the same database, for another thread."""
    return _silent(connection.cursor())


def _silent(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Without the bar that DuckDB draws for long queries where Python is interactive; the setting is one of each connection."""
    with suppress(
        duckdb.InvalidInputException
    ):  # a notebook without ipywidgets: there is no bar, and no setting of one
        connection.execute("SET enable_progress_bar = false")
    return connection


def first_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...] | None:
    """The first row of a query, None when it has none; the result is read to its end."""
    rows = connection.execute(query).fetchall()
    return rows[0] if rows else None


def counts(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The one row of a query of aggregates."""
    return connection.execute(query).fetchall()[0]


def plain_name(name: str) -> str:
    """A column's name as it is compared: without regard to letter case, and to blanks around it."""
    return name.strip().lower()


def check_names(names: Sequence[str], source: str) -> None:
    """Refuse names that DuckDB, blind to letter case, would silently number, and the reader's own."""
    plain = [plain_name(name) for name in names]
    if len(set(plain)) < len(plain):
        raise LedgerError(
            f"{source}: two columns have the same name, but for letter case or blanks: {', '.join(names)}. "
            "Rename one of them, or add a header line if this is none."
        )
    for taken in {NUMBER, SOURCE, ROW}.intersection(plain):
        raise LedgerError(f"{source}: the column name {taken} is used by the reader. Rename it.")


def make_sources(connection: duckdb.DuckDBPyConnection, name: str, sources: Sequence[str]) -> str:
    """A type that holds the name of a row's source in one byte or two."""
    connection.execute(f"CREATE TYPE {name}_source AS ENUM ({', '.join(map(literal, sources))})")
    return f"{name}_source"
