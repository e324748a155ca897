"""Events and accounts from a PostgreSQL query, as tables for `read_ledger`.

Money stays exact: numeric columns come as text, digit by digit, which the ledger reads exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.batch.servers import Session, given_uri, session
from clvforecast.errors import BatchError
from clvforecast.sql import literal

SERVER_TYPE = b"POSTGRESQL:type"
"""Where the driver says what a column is in the server."""
AS_TEXT = "Cast it to text or numeric in the query, as in amount::numeric."


def read_query(uri: str | None, sql: str, time_zone: str | None = None) -> pa.Table:
    """What one query finds, to give to `read_ledger` as events or accounts. See `read_queries`.

    Examples
    --------
    >>> import clvforecast as clv
    >>> uri = "postgresql://reader@warehouse/finance"
    >>> events = read_query(uri, "SELECT * FROM revenue_events")  # doctest: +SKIP
    >>> ledger = clv.read_ledger(events)  # doctest: +SKIP
    """
    return read_queries(uri, {"query": sql}, time_zone)["query"]


def read_queries(uri: str | None, queries: Mapping[str, str], time_zone: str | None = None) -> dict[str, pa.Table]:
    """What several queries find, all as the database was at one moment, in a transaction that can only read.

    Parameters
    ----------
    uri
        "postgresql://user:password@host/database"; None for that of the environment (`servers.URI_VARIABLE`).
    queries
        A SELECT by name, such as {"events": ..., "accounts": ...}.
    time_zone
        Whose clock timestamps with a zone are told by, such as "Europe/Berlin": their date is then the day of that place. None:
        the server's setting for this user, by which a cast to date in the query would go.

    Returns
    -------
    dict
        An Arrow table by name. numeric is text with all its digits, uuid and json are text, timestamps have no zone; other types
        are as the driver gives them.

    Raises
    ------
    BatchError
        When the server cannot be reached or refuses a query, for columns of the type money, whose unit depends on the server's
        settings, and for types that are no plain values.
    """
    with session(given_uri(uri), "reading from PostgreSQL") as server:
        server.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        zone = _zone(server, time_zone)
        return {name: _plain(server.table(_statement(sql)), zone) for name, sql in queries.items()}


def _statement(sql: str) -> str:
    """A SELECT that the driver can put into brackets: without a semicolon, and on lines of its own for comments at its end."""
    return f"{sql.strip().removesuffix(';')}\n"


def _zone(server: Session, time_zone: str | None) -> str:
    """A zone that is known here, and the server's from now on: a cast to date in the query goes by it too."""
    if time_zone is not None:
        server.run(f"SET LOCAL TIME ZONE {literal(time_zone)}")
    zone = str(server.run("SELECT current_setting('TimeZone')")[0][0])
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BatchError(
            f"reading from PostgreSQL: the time zone {zone!r} is not known here. Give time_zone, such as 'Europe/Berlin'."
        ) from error
    return zone


def _plain(table: pa.Table, zone: str) -> pa.Table:
    """The same in plain types."""
    names = table.column_names
    columns = [_plain_column(field, table.column(place), zone) for place, field in enumerate(table.schema)]
    return pa.table(columns, names=names)


def _plain_column(field: pa.Field, column: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    kind, told = field.type, (field.metadata or {}).get(SERVER_TYPE, b"").decode()
    if told == "money":
        raise BatchError(
            f"reading from PostgreSQL: column {field.name!r} is money, without a unit of its own. {AS_TEXT}"
        )
    if isinstance(kind, pa.UuidType):
        return pa.chunked_array([[None if value is None else str(value) for value in column.to_pylist()]], pa.string())
    if isinstance(kind, pa.BaseExtensionType):
        if not pa.types.is_string(kind.storage_type):
            raise BatchError(f"reading from PostgreSQL: column {field.name!r} is {told}, no plain value. {AS_TEXT}")
        return pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return pc.local_timestamp(column.cast(pa.timestamp(kind.unit, zone)))
    return column
