"""PostgreSQL through ADBC: one connection, its statements, and errors that say what to do and never a password."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from clvforecast.errors import BatchError

URI_VARIABLE = "CLVFORECAST_POSTGRES_URI"
"""Where the URI is taken from when none is given: it mostly holds a password."""
NEXT_STEP = {
    "08": "The connection was lost: see that the server runs, and try again.",
    "22": "A value is none that the column can hold: see the message.",
    "23": "The rows break a rule of the table: see the message.",
    "25": "Only reading is allowed here: give a SELECT.",
    "28": "The server does not let this user in: check user and password.",
    "3D": "There is no such database on the server: check the URI.",
    "3F": "There is no such schema: check its name.",
    "40": "Another transaction was in the way: try again.",
    "42501": "The user lacks a permission: have it granted, or name a schema that the user owns.",
    "42": "Check the statement, its tables and its columns.",
    "53": "The server has run out of room or connections: free some, and try again.",
    "55": "Somebody holds a lock on a table for long: end that transaction, and try again.",
    "57": "The server ended the statement: see its log, and try again.",
}
"""What to do, by the beginning of an SQLSTATE; the longest that fits."""
NOT_REACHED = "See that the server runs and can be reached, and check host, port, user and database of the URI."
PASSWORDS = (r"://[^/?#]*?:([^/?#]*)@", r"(?i)pass(?:word|file)\s*=\s*('(?:\\.|[^'])*'|[^&\s]+)")


class Session:
    """One connection with one transaction, which is undone unless `commit` is called."""

    def __init__(self, connection: Any, errors: type[Exception]) -> None:
        self._connection = connection
        self.errors = errors

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement; parameters are $1, $2, ..."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters=tuple(parameters) or None)
            return [] if cursor.description is None else list(cursor.fetchall())

    def table(self, query: str) -> pa.Table:
        """What a query finds."""
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetch_arrow_table()

    def load(self, schema: str, table: str, rows: pa.RecordBatchReader) -> None:
        """Rows into a table by COPY, a batch at a time."""
        with self._connection.cursor() as cursor:
            cursor.adbc_ingest(table, rows, mode="append", db_schema_name=schema)

    def commit(self) -> None:
        self._connection.commit()


@contextmanager
def session(uri: str, doing: str) -> Iterator[Session]:
    """A session with the server. doing: what fails when something fails, as the subject of a message.

    Raises BatchError without the driver, and for whatever the server refuses.
    """
    driver = _driver()
    try:
        with driver.connect(uri) as connection:
            yield Session(connection, driver.Error)
    except driver.Error as error:
        message = f"{doing}: {_plain(str(error))}. {_next_step(getattr(error, 'sqlstate', None))}"
        told = redacted(message, uri)
        # The driver's own error would stand above ours with the password in it.
        raise BatchError(told) from (error if told == message else None)


def given_uri(uri: str | None) -> str:
    """The URI, or that of the environment."""
    found = uri or os.environ.get(URI_VARIABLE, "")
    if not found:
        raise BatchError(f"no PostgreSQL URI: give one (postgresql://user@host/database), or set {URI_VARIABLE}.")
    return found


def redacted(text: str, uri: str) -> str:
    """The text without the passwords of the URI, as they stand there or as they read."""
    secrets = {secret for pattern in PASSWORDS for secret in re.findall(pattern, uri)}
    secrets |= {unquote(secret) for secret in secrets} | {secret.strip("'") for secret in secrets}
    secrets |= _pieces(uri)
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _pieces(uri: str) -> set[str]:
    """The address itself, and what is before its last @ from the colon on, whole and cut as who misreads it cuts it."""
    password = uri.rpartition("@")[0].partition("//")[2].partition(":")[2]
    misspelt = set() if uri.startswith(("postgresql://", "postgres://")) else {uri}
    return {*misspelt, password, *(piece for piece in re.split(r"[@#/?:]", password) if len(piece) > 1)} - {""}


def _driver() -> ModuleType:
    try:
        from adbc_driver_postgresql import dbapi
    except ImportError as error:
        raise BatchError(
            "PostgreSQL needs the extra of that name: pip install 'clvforecast[postgres]'. A DuckDB file needs nothing."
        ) from error
    return dbapi


def _plain(message: str) -> str:
    """The server's words in one line."""
    return " ".join(message.split()).rstrip(".")


def _next_step(sqlstate: str | None) -> str:
    fitting = [start for start in NEXT_STEP if (sqlstate or "").startswith(start)]
    return NEXT_STEP[max(fitting, key=len)] if fitting else NOT_REACHED
