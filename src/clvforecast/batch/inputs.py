"""What a run scores: a ledger in memory, cut into parts of whole accounts.

`streamed` does the same for files that do not fit into memory.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pandas as pd
import pyarrow as pa

from clvforecast.account_tables import account_levels
from clvforecast.adapters import holds_events, read_export
from clvforecast.batch.clock import utc
from clvforecast.batch.parts import digest_of
from clvforecast.batch.settings import InputSettings
from clvforecast.errors import BatchSettingsError
from clvforecast.histories.lines import segment_columns
from clvforecast.histories.slices import Slice, account_slices, of_accounts
from clvforecast.ledger import Ledger, read_ledger
from clvforecast.ledger.suspicions import CUT_OFF
from clvforecast.ledger.tables import is_path, matching
from clvforecast.posterior import Posterior
from clvforecast.readiness import scoring_warnings
from clvforecast.simulation.states import unseen_levels

Records = Sequence[dict[str, Any]]
"""What was noted of parts that are done (`parts.write_part`)."""
VARIABLE = re.compile(r"\w+")
"""Names of environment variables; what is none may be an address with a password, put in the place of its variable."""
SUMMED = ("rows", "rows_with_amount", "amount_cents")
PLACES = ("source", "row", "line")
"""Where a rejected row was, in files that may be cut and named otherwise another time."""


class Part(NamedTuple):
    """Some whole accounts, and what reading them left out.

    ledger: None where no account can be scored; rejected: `events.REJECTED_SCHEMA`, None where another part has them; about: for
    the part's record
    """

    ledger: Ledger | None
    rejected: pa.Table | None = None
    about: dict[str, Any] = {}


class Inputs(Protocol):
    """Accounts to score, as known on a day; ``fingerprint`` is of all that is kept of the data."""

    @property
    def as_of(self) -> date: ...

    @property
    def currency(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def rejects(self) -> str:
        """A mark of the rejected rows; empty where the fingerprint is of them, too."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """What the accounts can be split by; None where only the parts can tell."""

    @property
    def n_accounts(self) -> int: ...

    @property
    def told(self) -> tuple[str, ...]:
        """Warnings that were told when the data were read."""

    def seems_cut_off(self, parts: Records = ()) -> bool:
        """Whether the last events seem to be missing; only the records of all ``parts`` may be able to tell."""

    @property
    def n_parts(self) -> int: ...

    def part(self, number: int) -> Part:
        """Some whole accounts."""

    def account_ids(self) -> Iterator[pa.Array]:
        """Of all that are scored."""

    def ledger_of(self, account_ids: pa.Array) -> Ledger:
        """The ledger of these accounts; those that are not known are left out."""

    def warnings(self, posterior: Posterior, parts: Records) -> tuple[str, ...]:
        """What to know of the data beside this posterior."""

    def about(self, parts: Records) -> dict[str, Any]:
        """Rows and money read and where they went, for the manifest; ``parts`` are the records of all parts."""

    def close(self) -> None:
        """The run is done: what was laid aside for it can go."""


@dataclass(frozen=True)
class InMemory:
    """A ledger in parts of so many accounts."""

    ledger: Ledger
    accounts_each: int
    files: list[dict[str, Any]] = field(default_factory=list)
    """Those that it was read from (`files_read`)."""

    @property
    def as_of(self) -> date:
        return self.ledger.as_of

    @property
    def currency(self) -> str:
        return self.ledger.currency

    @property
    def fingerprint(self) -> str:
        return self.ledger.fingerprint

    @cached_property
    def rejects(self) -> str:
        rejected = self.ledger.rejected_rows
        if not rejected.num_rows:
            return ""
        said = rejected.drop_columns(list(PLACES)).to_pandas().astype(str)
        total = int(pd.util.hash_pandas_object(said, index=False).sum())  # in any order, as the fingerprint
        return f"{len(said)} rows {total:016x}"

    @property
    def columns(self) -> tuple[str, ...] | None:
        return segment_columns(self.ledger.accounts)

    @cached_property
    def _slices(self) -> list[Slice]:
        return account_slices(self.ledger, self.accounts_each)

    @property
    def n_accounts(self) -> int:
        return sum(len(part.account_ids) for part in self._slices)

    @property
    def told(self) -> tuple[str, ...]:
        return as_told(self.ledger.warnings)

    def seems_cut_off(self, parts: Records = ()) -> bool:
        return says_cut_off(self.ledger.suspicions)

    @property
    def n_parts(self) -> int:
        return len(self._slices)

    def part(self, number: int) -> Part:
        return Part(self._slices[number].ledger, None if number else self.ledger.rejected_rows)

    def account_ids(self) -> Iterator[pa.Array]:
        return (part.account_ids for part in self._slices)

    def ledger_of(self, account_ids: pa.Array) -> Ledger:
        return of_accounts(self.ledger, account_ids)

    def warnings(self, posterior: Posterior, parts: Records) -> tuple[str, ...]:
        account_ids = pa.chunked_array(list(self.account_ids()))
        levels = account_levels(self.ledger, account_ids, posterior.frame.segments)
        return as_told(scoring_warnings(posterior, self.ledger, unseen_levels(levels, posterior.frame)))

    def about(self, parts: Records) -> dict[str, Any]:
        rejected = rules_of(self.ledger.rejected_rows)
        return {"files": self.files, "money": placed(self.ledger), "rejected": rejected}

    def close(self) -> None:
        pass


def says_cut_off(warnings: Iterable[str]) -> bool:
    """Whether the last events seem to be missing."""
    return any(CUT_OFF in warning for warning in warnings)


def as_told(warnings: Iterable[str]) -> tuple[str, ...]:
    """Warnings with the run's own name for what they say to look at."""
    return tuple(warning.replace("see ledger.rejected", "see the table rejected_rows") for warning in warnings)


def placed(ledger: Ledger) -> list[dict[str, Any]]:
    """Rows and cents read, and where they went, by currency."""
    parts = ledger.reconciliation()[["part", "currency", "rows", "rows_with_amount", "amount_cents"]]
    records: list[dict[str, Any]] = parts.astype(object).to_dict("records")
    return [{name: _plain(value) for name, value in record.items()} for record in records]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return None if pd.isna(value) else int(value)


def rules_of(rejected: pa.Table) -> dict[str, int]:
    """Rejected rows by the rule that they break."""
    counts = rejected["rule"].value_counts().to_pylist()
    return {entry["values"]: entry["counts"] for entry in sorted(counts, key=lambda entry: str(entry["values"]))}


def counted(parts: Records) -> dict[str, Any]:
    """`placed` and `rules_of` of all parts added."""
    money: dict[tuple[str, str | None], dict[str, Any]] = {}
    rules: Counter[str] = Counter()
    for part in parts:
        rules.update(part.get("rejected", {}))
        for record in part.get("money", []):
            sums = money.setdefault((record["part"], record["currency"]), {**record, **dict.fromkeys(SUMMED, 0)})
            sums.update({name: sums[name] + record[name] for name in SUMMED})
    return {
        "money": list(money.values()),
        "rejected": dict(sorted(rules.items())),
        "unusable_rows": sum(part.get("unusable_rows", 0) for part in parts),
    }


def read_input(settings: InputSettings, events: Any = None, accounts: Any = None) -> Ledger:
    """The ledger of a run: from what is given in Python, or else from where the settings say.

    Raises BatchSettingsError where neither says where the events are, and what reading raises.
    """
    if isinstance(events, Ledger):
        return events if settings.as_of is None else events.at(settings.as_of)
    if events is None and not settings.events:
        raise BatchSettingsError("input.events is missing: give files of events, or a query with input.database.")
    if events is None and settings.database is not None:
        events, accounts = _queried(settings, accounts)
    source = list(settings.events) if events is None else events
    accounts = settings.accounts if accounts is None else accounts
    ledger = _read(settings, source, accounts)
    if settings.max_rejected is not None:
        ledger.check_rejected(settings.max_rejected)
    return ledger


def _read(settings: InputSettings, source: Any, accounts: Any) -> Ledger:
    exported = (settings.mapping, settings.format, settings.rates, settings.currency)
    if not any(exported) and holds_events(source):
        return read_ledger(source, accounts, as_of=settings.as_of, grace_days=settings.grace_days)
    return read_export(
        source,
        settings.mapping or settings.format,
        accounts,
        settings.as_of,
        rates=settings.rates,
        currency=settings.currency,
        grace_days=settings.grace_days,
    )


def _queried(settings: InputSettings, accounts: Any) -> tuple[pa.Table, Any]:
    """Events, and accounts where a query is given for them, as the database has them at one moment."""
    from clvforecast.batch.sources import read_queries

    queries = {"events": settings.events[0]}
    if accounts is None and settings.accounts is not None:
        queries["accounts"] = settings.accounts
    found = read_queries(address_in(settings.database or "", "input.database"), queries, settings.time_zone)
    return found["events"], found.get("accounts", accounts)


def files_read(settings: InputSettings, events: Any = None, accounts: Any = None) -> list[dict[str, Any]]:
    """The files that a ledger was read from, as they are now: path, bytes, day and time of the last change, SHA-256."""
    in_files = settings.database is None
    sources = {
        "events": events if events is not None else list(settings.events) if in_files else None,
        "accounts": accounts if accounts is not None else settings.accounts if in_files else None,
        "mapping": settings.mapping,
        "rates": settings.rates,
    }
    return [
        described_file(path, key) for key, source in sources.items() if is_path(source) for path in _paths(source, key)
    ]


def _paths(source: Any, key: str) -> list[str]:
    return [str(source)] if key in ("mapping", "rates") else matching(source, f"input.{key}")


def described_file(path: str, key: str) -> dict[str, Any]:
    """For the manifest."""
    found = os.stat(path)
    return {
        "input": key,
        "path": path,
        "bytes": found.st_size,
        "modified_at": utc(found.st_mtime),
        "sha256": digest_of(Path(path)),
    }


def address_in(variable: str, key: str) -> str:
    """A server's address from an environment variable, which the key names. Messages do not tell it: it may hold a password."""
    address = os.environ.get(variable, "").strip()
    if not address.startswith(("postgresql://", "postgres://")) and "=" not in address:
        wrong = (
            "it is no address of a PostgreSQL server"
            if address
            else "there is no such environment variable, or it is empty"
        )
        named = f"{key} = {variable!r}" if VARIABLE.fullmatch(variable) else key
        raise BatchSettingsError(
            f"{named}: {wrong}. Name an environment variable, and set it to the server's address, as postgresql://user:password@host:5432/database."
        )
    return address


def sample_of(account_ids: Iterator[pa.Array], n_accounts: int, wanted: int) -> pa.Array:
    """About so many of the accounts: those whose hash is small, so that the same ones are taken again and again."""
    limit = min(1.0, wanted / max(n_accounts, 1)) * 2.0**64

    def small(account_id: str) -> bool:
        return int.from_bytes(blake2b(account_id.encode(), digest_size=8, person=b"clvwatch").digest(), "big") < limit

    found: Sequence[str] = [name for part in account_ids for name in part.to_pylist() if small(name)]
    return pa.array(found, pa.string())
