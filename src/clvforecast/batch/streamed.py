"""Events that do not fit into memory: Parquet files cut into buckets of whole accounts, each read as a ledger of its own.

What a ledger finds out over all rows is found out over all files first (`cutting`), or from all buckets together: the day, what
columns say of the accounts, bookings that have become few. Rejected rows are told by their place in the files that were given.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.batch.cutting import FILE, FILE_ROW, cut_into_buckets, read_bucket
from clvforecast.batch.folder import RunFolder, read_json, write_json
from clvforecast.batch.inputs import Part, Records, as_told, counted, files_read, placed, rules_of, says_cut_off
from clvforecast.batch.settings import BatchSettings
from clvforecast.errors import BatchError, BatchSettingsError, LedgerError
from clvforecast.events import REJECTED_SCHEMA, TERM_KINDS
from clvforecast.ledger import Ledger, read_ledger
from clvforecast.ledger.accounts import OBSERVED_FROM
from clvforecast.ledger.days import whole_days
from clvforecast.ledger.months import Bookings, added, bookings_by_day
from clvforecast.ledger.suspicions import INCOMPLETE, of_bookings
from clvforecast.ledger.tables import PARQUET_SUFFIXES, matching
from clvforecast.posterior import Posterior

MOST_WARNINGS = 20
BUCKETS = "buckets-"
"""How the names of their folders begin."""


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
            write_json(marker, cut_into_buckets(events, accounts, target, fingerprint))
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
            yield read_bucket(self.folder / "events", number, ["account_id"])["account_id"].unique().drop_null()

    def ledger_of(self, account_ids: pa.Array) -> Ledger:
        wanted = pc.field("account_id").isin(account_ids)
        numbers = range(self.n_parts)
        events = pa.concat_tables([self._events(n).filter(wanted) for n in numbers], promote_options="permissive")
        accounts = None
        if self.has_accounts:
            told = [read_bucket(self.folder / "accounts", n).filter(wanted) for n in numbers]
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
        rows = read_bucket(self.folder / "events", number)
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
        told = read_bucket(self.folder / "accounts", number)
        booked = read_bucket(self.folder / "events", number, ["account_id"])["account_id"]
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
