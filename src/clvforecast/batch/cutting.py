"""Parquet files cut into buckets of whole accounts, by DuckDB, in which only few rows are in memory at a time.

What no bucket alone could tell is found out on the way: the currency, how many accounts there are, ids that two accounts share.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from clvforecast.batch.logs import tell
from clvforecast.errors import BatchError
from clvforecast.ledger.checks import identity_sql
from clvforecast.ledger.duck import connect, plain_name
from clvforecast.sql import literal, quoted

EVENTS_EACH, BYTES_EACH = 1_000_000, 256 << 20
"""Of a bucket, about: events, which decide how much memory its ledger takes, and bytes in Parquet, where texts are long."""
FILE, FILE_ROW, BUCKET = "__clv_file", "__clv_row", "__clv_bucket"
"""Columns of a bucket's rows: number of the file and of the row there, from 0 on; and of its folder, the bucket's number."""
SHOWN = 3


def cut_into_buckets(events: list[str], accounts: list[str], target: Path, fingerprint: str) -> dict[str, Any]:
    """Write the buckets and return the facts: latest (None where event_date is no column of days), currency, accounts, buckets,
    fingerprint, and the zones of timestamps by column.

    Raises BatchError for event ids that two accounts share, for several currencies, and for an accounts table of others.
    """
    sizes = [_size_of(path) for path in events]
    n_events, n_bytes = (sum(of_files) for of_files in zip(*sizes, strict=True))
    n_buckets = max(1, ceil(n_events / EVENTS_EACH), ceil(n_bytes / BYTES_EACH))
    tell("cutting", files=len(events), events=n_events, gigabytes=n_bytes / 2**30, buckets=n_buckets)
    with _files(events) as (connection, columns):
        facts = _facts(connection, columns)
        _write(connection, "rows", columns["account_id"], target / "events", n_buckets)
    if accounts:
        with _files(accounts) as (connection, columns):
            _write(connection, "rows", columns["account_id"], target / "accounts", n_buckets, with_places=False)
            _refuse_others_accounts(connection, target)
    return {**facts, "buckets": n_buckets, "fingerprint": fingerprint, "zones": _zones(events)}


def _zones(paths: list[str]) -> dict[str, str]:
    """The zone of every column of timestamps that has one. Raises BatchError where files differ."""
    found: dict[str, str] = {}
    for path in paths:
        for field in pq.read_schema(path):
            zone = field.type.tz if pa.types.is_timestamp(field.type) else None
            if zone is not None and found.setdefault(field.name, zone) != zone:
                raise BatchError(
                    f"{path}: the zone of column {field.name} is {zone}, in files before it {found[field.name]}. Write days, or "
                    "one zone, or leave out input.stream."
                )
    return found


def _size_of(path: str) -> tuple[int, int]:
    """Rows and bytes."""
    metadata = pq.read_metadata(path)
    n_bytes = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    return metadata.num_rows, n_bytes


@contextmanager
def _files(paths: list[str]) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, str]]]:
    """The view `rows` of all files, and its columns: plain name -> name as it stands there."""
    with connect() as connection:
        listed = ", ".join(map(literal, paths))
        connection.execute(f"CREATE TYPE files AS ENUM ({listed})")  # by their number, wherever they lie another time
        connection.execute(
            "CREATE VIEW rows AS SELECT * EXCLUDE (filename, file_row_number), "
            f"CAST(enum_code(CAST(filename AS files)) AS INTEGER) AS {FILE}, file_row_number AS {FILE_ROW} "
            f"FROM read_parquet([{listed}], union_by_name=true, filename=true, file_row_number=true)"
        )
        found = [str(row[0]) for row in connection.execute("DESCRIBE rows").fetchall()]
        columns = {plain_name(name): name for name in found}
        if "account_id" not in columns:
            raise BatchError(f"{paths[0]}: there is no column account_id; found are {', '.join(found[:-2])}.")
        yield connection, columns


def _facts(connection: duckdb.DuckDBPyConnection, columns: dict[str, str]) -> dict[str, Any]:
    """Latest booking (where it is a day), currency, and accounts. Raises BatchError for what no bucket alone could see."""
    account = _identity(connection, columns["account_id"])
    for needed in ("event_date", "currency"):
        if needed not in columns:
            raise BatchError(f"input.events: there is no column {needed}. It is needed.")
    if "event_id" in columns:
        _refuse_shared(connection, _identity(connection, columns["event_id"]), account)
    currency = f"upper(trim(CAST({quoted(columns['currency'])} AS VARCHAR)))"
    found = connection.execute(
        f"SELECT {currency}, count(*) FROM rows GROUP BY 1 HAVING regexp_full_match({currency}, '[A-Z]{{3}}') ORDER BY 2 DESC"
    ).fetchall()
    if len(found) != 1:
        shown = ", ".join(f"{name} ({count} rows)" for name, count in found) or "no currency"
        raise BatchError(
            f"input.events: column currency holds {shown}; one run has one currency. Convert the amounts, or score each apart."
        )
    day = quoted(columns["event_date"])
    latest = None
    if _type_of(connection, columns["event_date"]) in (
        "DATE",
        "TIMESTAMP",
        "TIMESTAMP_NS",
        "TIMESTAMP_MS",
        "TIMESTAMP_S",
    ):
        latest = str(connection.execute(f"SELECT CAST(max({day}) AS DATE) FROM rows").fetchall()[0][0])
    n_accounts = int(connection.execute(f"SELECT count(DISTINCT {account}) FROM rows").fetchall()[0][0])
    return {"latest": latest, "currency": str(found[0][0]), "accounts": n_accounts}


def _refuse_shared(connection: duckdb.DuckDBPyConnection, event_id: str, account: str) -> None:
    shared = connection.execute(
        f"SELECT {event_id} AS id FROM rows WHERE {event_id} IS NOT NULL GROUP BY 1 "
        f"HAVING min({account}) <> max({account}) ORDER BY 1 LIMIT {SHOWN}"
    ).fetchall()
    if shared:
        raise BatchError(
            f"input.events: the event_id {', '.join(str(row[0]) for row in shared)} stands at several accounts, and no bucket of "
            "accounts alone could tell which row counts. Give every event an id of its own, or leave out input.stream."
        )


def _refuse_others_accounts(connection: duckdb.DuckDBPyConnection, target: Path) -> None:
    places = (literal(str(target / name / "*" / "*.parquet")) for name in ("accounts", "events"))
    given, booked = (f"(SELECT account_id FROM read_parquet({place}, union_by_name=true))" for place in places)
    found = connection.execute(
        f"SELECT count(*), count(*) FILTER (account_id IN {booked}), min(account_id), (SELECT min(account_id) FROM {booked}) "
        f"FROM {given}"
    ).fetchall()
    n_rows, n_matched, one, other = found[0]
    if n_rows and not n_matched:
        raise BatchError(
            f"input.accounts: not one of the {n_rows:,} accounts has events (the events have accounts such as {other!r}, the "
            f"table {one!r}). Write the ids alike: letters, leading zeros, text or number."
        )


def _identity(connection: duckdb.DuckDBPyConnection, column: str) -> str:
    """The expression of an id as the ledger reads it."""
    return identity_sql(column, _type_of(connection, column))


def _type_of(connection: duckdb.DuckDBPyConnection, column: str) -> str:
    types = {str(row[0]): str(row[1]) for row in connection.execute("DESCRIBE rows").fetchall()}
    return types[column]


def _write(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    account: str,
    folder: Path,
    n_buckets: int,
    with_places: bool = True,
) -> None:
    folder.mkdir(parents=True)
    own = _identity(connection, account)
    names = [str(row[0]) for row in connection.execute(f"DESCRIBE {view}").fetchall()]
    others = [name for name in names if name != account and (with_places or name not in (FILE, FILE_ROW))]
    chosen = ", ".join([f"{own} AS account_id", *map(quoted, others)])
    bucket = f"coalesce(hash({own}), 0) % {n_buckets}"
    connection.execute(
        f"COPY (SELECT {chosen}, {bucket} AS {BUCKET} FROM {view}) TO {literal(str(folder))} "
        f"(FORMAT parquet, PARTITION_BY ({BUCKET}))"
    )
    if not any(folder.iterdir()):  # without rows, but with columns
        (folder / f"{BUCKET}=0").mkdir()
        nothing = literal(str(folder / f"{BUCKET}=0" / "data_0.parquet"))
        connection.execute(f"COPY (SELECT {chosen} FROM {view}) TO {nothing} (FORMAT parquet)")


def read_bucket(folder: Path, number: int, columns: list[str] | None = None) -> pa.Table:
    """A bucket's rows in any order."""
    files = sorted((folder / f"{BUCKET}={number}").glob("*.parquet"))
    if not files:
        some = next(folder.glob("*/*.parquet"))
        schema = pq.read_schema(some)
        return (schema if columns is None else pa.schema([schema.field(name) for name in columns])).empty_table()
    return pa.concat_tables([pq.ParquetFile(file).read(columns) for file in files], promote_options="permissive")
