"""Events that do not fit into memory: Parquet files cut into buckets of whole accounts, each read as a ledger of its own.

What a ledger finds out over all rows is found out over all files first: the day, the currency, event ids that two accounts
share. Rejected rows are told by their place in the files that were given.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from math import ceil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clvforecast.batch.folder import RunFolder, read_json, write_json
from clvforecast.batch.inputs import Part, Records, as_told, counted, files_read, placed, rules_of, says_cut_off
from clvforecast.batch.logs import tell
from clvforecast.batch.settings import BatchSettings
from clvforecast.errors import BatchError, BatchSettingsError, LedgerError
from clvforecast.events import REJECTED_SCHEMA, TERM_KINDS
from clvforecast.ledger import Ledger, read_ledger
from clvforecast.ledger.accounts import OBSERVED_FROM
from clvforecast.ledger.checks import identity_sql
from clvforecast.ledger.days import whole_days
from clvforecast.ledger.duck import connect, plain_name
from clvforecast.ledger.months import Bookings, added, bookings_by_day
from clvforecast.ledger.suspicions import INCOMPLETE, of_bookings
from clvforecast.ledger.tables import PARQUET_SUFFIXES, matching
from clvforecast.posterior import Posterior
from clvforecast.sql import literal, quoted

EVENTS_EACH, BYTES_EACH = 1_000_000, 256 << 20
"""Of a bucket at most: events, which decide how much memory its ledger takes, and bytes in Parquet, where texts are long."""
FILE, FILE_ROW, BUCKET = "__clv_file", "__clv_row", "__clv_bucket"
SHOWN = 3
MOST_WARNINGS = 20
BUCKETS = "buckets-"


@dataclass(frozen=True)
class Facts:
    """What is true of all events together.

    columns: segments that are columns of the events, those that are in every bucket; None where an accounts table has them.
    has_observed_from: of the events' column of that name, whether it tells of every bucket.
    """

    as_of: date
    currency: str
    n_accounts: int
    fingerprint: str
    buckets: int
    columns: tuple[str, ...] | None = None
    has_observed_from: bool = False


@dataclass(frozen=True)
class Streamed:
    """Buckets of accounts on disk. See `inputs.Inputs`."""

    facts: Facts
    folder: Path
    has_accounts: bool
    grace_days: int | None
    zones: dict[str, str]
    """Of the events' timestamps with a zone: the one that their files say, by column."""
    files: list[dict[str, Any]]

    @staticmethod
    def open(settings: BatchSettings, folder: RunFolder) -> Streamed:
        """Cut the files into buckets, unless a run before has done it.

        Raises BatchSettingsError where something is not Parquet, and BatchError for event ids that two accounts share and for
        several currencies.
        """
        asked = settings.input
        events = _parquet_files(list(asked.events), "input.events")
        accounts = [] if asked.accounts is None else _parquet_files([asked.accounts], "input.accounts")
        files = files_read(asked)
        fingerprint = _fingerprint(files, asked.grace_days)
        target = folder.path / "work" / f"{BUCKETS}{fingerprint[:16]}"
        marker = target / "facts.json"
        if not marker.exists():
            shutil.rmtree(target, ignore_errors=True)
            write_json(marker, _cut(events, accounts, target, fingerprint))
        said = read_json(marker)
        day = asked.as_of or _known_day(said["latest"])
        facts = Facts(day, said["currency"], said["accounts"], fingerprint, said["buckets"])
        found = Streamed(facts, target, bool(accounts), asked.grace_days, said["zones"], files)
        if asked.as_of is not None and accounts:
            return found
        read = target / "read.json"
        if not read.exists():
            write_json(read, found._read_facts())
        of_all = read_json(read)
        return replace(
            found,
            facts=replace(
                facts,
                as_of=asked.as_of or date.fromisoformat(of_all["latest"]),
                columns=None if accounts else tuple(of_all["columns"]),
                has_observed_from=of_all["has_observed_from"],
            ),
        )

    @property
    def as_of(self) -> date:
        return self.facts.as_of

    @property
    def currency(self) -> str:
        return self.facts.currency

    @property
    def fingerprint(self) -> str:
        return self.facts.fingerprint

    @property
    def rejects(self) -> str:
        return ""

    @property
    def columns(self) -> tuple[str, ...] | None:
        return self.facts.columns

    @property
    def n_accounts(self) -> int:
        return self.facts.n_accounts

    @property
    def told(self) -> tuple[str, ...]:
        return ()

    def seems_cut_off(self, parts: Records = ()) -> bool:
        return says_cut_off(self._suspicions(parts))

    def _suspicions(self, parts: Records) -> tuple[str, ...]:
        """Those of bookings, which no bucket alone could have."""
        bookings = added(
            Bookings(part["bookings"]["first_day"], np.asarray(part["bookings"]["by_day"], dtype=np.int64))
            for part in parts
            if "bookings" in part
        )
        return () if bookings is None else of_bookings(bookings, self.as_of)

    @property
    def n_parts(self) -> int:
        return self.facts.buckets

    def part(self, number: int) -> Part:
        rows = self._events(number)
        if not rows.num_rows:
            return Part(None)
        accounts = self._accounts(number)
        events = rows.drop_columns([FILE, FILE_ROW])
        try:
            ledger = self._as_of_all(read_ledger(events, accounts, as_of=self.as_of, grace_days=self.grace_days))
        except LedgerError as error:
            if error.rejected is None:
                return self._later(events, accounts, rows)
            rejected = self._told_by_file(error.rejected, rows)
            return Part(None, rejected, {"rejected": rules_of(error.rejected), "unusable_rows": rows.num_rows})
        rejected = self._told_by_file(ledger.rejected_rows, rows)
        booked = bookings_by_day(whole_days(ledger.events["event_date"]), self.as_of)
        about = {
            "money": placed(ledger),
            "rejected": rules_of(ledger.rejected_rows),
            "bookings": {"first_day": booked.first_day, "by_day": booked.by_day.tolist()},
        }
        has_terms = any(kind in TERM_KINDS for kind in ledger.events["kind"].unique().to_pylist())
        return Part(ledger if has_terms else None, rejected, about)

    def _later(self, events: pa.Table, accounts: pa.Table | None, rows: pa.Table) -> Part:
        """A bucket of which nothing is known on the day. Raises LedgerError where that is not what is wrong with it."""
        ledger = read_ledger(events, accounts, grace_days=self.grace_days)
        if pc.min(ledger.events["event_date"]).as_py() <= self.as_of:
            ledger = ledger.at(self.as_of)  # which says what is wrong
        money = [{**said, "part": "later"} if said["part"] == "accepted" else said for said in placed(ledger)]
        rejected = self._told_by_file(ledger.rejected_rows, rows)
        return Part(None, rejected, {"money": money, "rejected": rules_of(ledger.rejected_rows)})

    def account_ids(self) -> Iterator[pa.Array]:
        for number in range(self.n_parts):
            yield _read(self.folder / "events", number, ["account_id"])["account_id"].unique().drop_null()

    def ledger_of(self, account_ids: pa.Array) -> Ledger:
        wanted = pc.field("account_id").isin(account_ids)
        numbers = range(self.n_parts)
        events = pa.concat_tables([self._events(n).filter(wanted) for n in numbers], promote_options="permissive")
        accounts = None
        if self.has_accounts:
            told = [_read(self.folder / "accounts", n).filter(wanted) for n in numbers]
            accounts = pa.concat_tables(told, promote_options="permissive")
        ledger = read_ledger(
            events.drop_columns([FILE, FILE_ROW]), accounts, as_of=self.as_of, grace_days=self.grace_days
        )
        return self._as_of_all(ledger)

    def _read_facts(self) -> dict[str, Any]:
        """The latest booking that a ledger accepts, and what its columns say of the accounts of all buckets.

        Only the ledgers can tell: a rejected row has a day too, and what is the same in all events of one bucket's accounts may
        not be so in another's.
        """
        latest: list[str] = []
        columns: list[list[str]] = []
        observed: list[bool] = []
        for number in range(self.n_parts):
            rows = self._events(number)
            if not rows.num_rows:
                continue
            try:
                ledger = read_ledger(
                    rows.drop_columns([FILE, FILE_ROW]), self._accounts(number), grace_days=self.grace_days
                )
            except LedgerError as error:
                if error.rejected is None:
                    raise
                continue
            latest.append(ledger.as_of.isoformat())
            columns.append([name for name in ledger.accounts.column_names if name not in ("account_id", OBSERVED_FROM)])
            observed.append(ledger.has_observed_from)
        if not latest:
            raise BatchError("input.events: no row can be used. Check the source and its filters.")
        of_all = [name for name in columns[0] if all(name in others for others in columns)]
        return {"latest": max(latest), "columns": of_all, "has_observed_from": all(observed)}

    def _as_of_all(self, ledger: Ledger) -> Ledger:
        """A bucket's ledger with the columns that say something of the accounts of all buckets."""
        if self.facts.columns is None:
            return ledger
        accounts = ledger.accounts.select(["account_id", *self.facts.columns, OBSERVED_FROM])
        if not self.facts.has_observed_from:
            place = accounts.column_names.index(OBSERVED_FROM)
            accounts = accounts.set_column(place, OBSERVED_FROM, pa.array([0] * accounts.num_rows, pa.int32()))
        return replace(ledger, accounts=accounts, has_observed_from=self.facts.has_observed_from)

    def warnings(self, posterior: Posterior, parts: Records) -> tuple[str, ...]:
        """Those of bookings, and those of the buckets: each tells of its own accounts, and of many the rest is only counted."""
        told = as_told(dict.fromkeys(warning for part in parts for warning in part["warnings"]))
        of_buckets = [warning for warning in told if INCOMPLETE not in warning]
        more = len(of_buckets) - MOST_WARNINGS
        rest = [f"and {more:,} more warnings of single buckets"] if more > 0 else []
        return (*self._suspicions(parts), *of_buckets[:MOST_WARNINGS], *rest)

    def about(self, parts: Records) -> dict[str, Any]:
        return {"files": self.files, "buckets": self.n_parts, **counted(parts)}

    def close(self) -> None:
        """Remove the buckets, also those of data that were never scored to the end."""
        for folder in self.folder.parent.glob(f"{BUCKETS}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _events(self, number: int) -> pa.Table:
        """A bucket's events in the order of their files, their timestamps in the zones of these: DuckDB has left none but UTC."""
        rows = _read(self.folder / "events", number)
        rows = rows.take(pc.sort_indices(rows, sort_keys=[(FILE, "ascending"), (FILE_ROW, "ascending")]))
        for name, zone in self.zones.items():
            place = rows.column_names.index(name)
            kind = pa.timestamp(rows.schema.field(place).type.unit, tz=zone)
            rows = rows.set_column(place, name, rows[name].cast(kind))
        return rows

    def _told_by_file(self, rejected: pa.Table, rows: pa.Table) -> pa.Table:
        """Rejected rows with the file and the row that they have there, in place of those in the bucket."""
        names = pa.array([file["path"] for file in self.files if file["input"] == "events"], pa.string())
        places = pc.subtract(rejected["row"], 1)
        file, row = (rows[name].take(places) for name in (FILE, FILE_ROW))
        at = REJECTED_SCHEMA.get_field_index
        told = rejected.set_column(at("source"), REJECTED_SCHEMA.field("source"), names.take(file))
        return told.set_column(at("row"), REJECTED_SCHEMA.field("row"), pc.add(row.cast(pa.int64()), 1))

    def _accounts(self, number: int) -> pa.Table | None:
        """A bucket's accounts; without any where none of them has events, which one bucket may be by chance, but no table."""
        if not self.has_accounts:
            return None
        told = _read(self.folder / "accounts", number)
        booked = _read(self.folder / "events", number, ["account_id"])["account_id"]
        return told if pc.any(pc.is_in(told["account_id"], booked)).as_py() else told.slice(0, 0)


def _parquet_files(patterns: list[str], key: str) -> list[str]:
    files = matching(patterns, key)
    if not all(path.lower().endswith(PARQUET_SUFFIXES) for path in files):
        raise BatchSettingsError(
            f"{key}: input.stream reads Parquet files, and {files[0]} is none. Convert them, or leave out input.stream."
        )
    return files


def _fingerprint(files: list[dict[str, Any]], grace_days: int | None) -> str:
    digest = hashlib.sha256(repr(grace_days).encode())
    for file in files:  # in their order: events without an id are told apart by it
        digest.update(f"{file['input']} {file['sha256']}\n".encode())
    return digest.hexdigest()


def _known_day(latest: str | None) -> date:
    if latest is None:
        raise BatchSettingsError(
            "input.as_of is missing, and event_date is no column of days from which the latest could be taken. Give it."
        )
    return date.fromisoformat(latest)


def _cut(events: list[str], accounts: list[str], target: Path, fingerprint: str) -> dict[str, Any]:
    """Write the buckets and return the facts."""
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


def _read(folder: Path, number: int, columns: list[str] | None = None) -> pa.Table:
    """A bucket's rows in any order."""
    files = sorted((folder / f"{BUCKET}={number}").glob("*.parquet"))
    if not files:
        some = next(folder.glob("*/*.parquet"))
        schema = pq.read_schema(some)
        return (schema if columns is None else pa.schema([schema.field(name) for name in columns])).empty_table()
    return pa.concat_tables([pq.ParquetFile(file).read(columns) for file in files], promote_options="permissive")
