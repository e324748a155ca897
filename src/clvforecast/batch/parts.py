"""A part of a run: some whole accounts, scored and written down before the next one begins.

A part is done when its record is there, which is written last; a record whose files are not as it says is done again. An account
that cannot be scored is found by halving, and becomes a row with the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from clvforecast.batch.folder import read_json, write_json
from clvforecast.batch.logs import alert
from clvforecast.batch.schema import ACCOUNT_RANGES
from clvforecast.batch.tables import RunKey, account_rows
from clvforecast.durable import put_in_place
from clvforecast.errors import BatchError
from clvforecast.forecast import Forecast
from clvforecast.histories.slices import account_slices, of_accounts
from clvforecast.ledger import Ledger
from clvforecast.pooled import added, total_rows

BYTES_AT_A_TIME = 1 << 20
PLANNED, REJECTED = "planned_steps", "rejected_rows"
NOT_OF_AN_ACCOUNT = (MemoryError, OSError, BatchError)
"""What the machine or the run is to blame for: it ends the run, which is started again."""
ScoreLedger = Callable[[Ledger], Forecast]


class Failure(NamedTuple):
    """An account that cannot be scored: the class of the error, and what it says."""

    account_id: str
    error: str
    message: str


@dataclass(frozen=True)
class PartFiles:
    """Where a part's results lie in the folder of unfinished work."""

    folder: Path
    number: int

    @property
    def name(self) -> str:
        return f"part-{self.number:05d}"

    @property
    def accounts(self) -> Path:
        return self.folder / ACCOUNT_RANGES.name / f"{self.name}.parquet"

    @property
    def planned(self) -> Path:
        return self.folder / PLANNED / f"{self.name}.parquet"

    @property
    def rejected(self) -> Path:
        return self.folder / REJECTED / f"{self.name}.parquet"

    @property
    def totals(self) -> Path:
        return self.folder / "totals" / f"{self.name}.arrow"

    @property
    def record(self) -> Path:
        return self.folder / "records" / f"{self.name}.json"

    def done(self) -> dict[str, Any] | None:
        """The part's record; None where the part is not done, or its files are not those of the record."""
        if not self.record.exists():
            return None
        record: dict[str, Any] = read_json(self.record)
        for name, said in record["files"].items():
            path = self.folder / name
            if not path.exists() or digest_of(path) != said["sha256"]:
                alert(f"{path} is not as it was written; its part is done again.")
                return None
        return record


def digest_of(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(BYTES_AT_A_TIME):
            digest.update(piece)
    return digest.hexdigest()


def score_accounts(ledger: Ledger, score: ScoreLedger, most_failed: int) -> tuple[list[Forecast], list[Failure]]:
    """Forecasts that together are of a ledger's accounts, in their order, and those accounts that cannot be scored.

    Raises what ``score`` raises where the first and the last account fail alike, for then it is not the account, and BatchError
    when more than ``most_failed`` fail.
    """
    account_ids = pa.concat_arrays([part.account_ids for part in account_slices(ledger)])
    whole = _tried(ledger, score)
    if isinstance(whole, Forecast):
        return [whole], []
    if len(account_ids) > 1:
        ends = [_tried(of_accounts(ledger, end), score) for end in (account_ids[:1], account_ids[-1:])]
        if all(not isinstance(end, Forecast) and _told(end) == _told(whole) for end in ends):
            raise whole
    forecasts: list[Forecast] = []
    failures: list[Failure] = []
    for found in _halved(ledger, account_ids, score, whole):
        if isinstance(found, Forecast):
            forecasts.append(found)
        else:
            failures.append(found)
        if len(failures) > most_failed:
            raise BatchError(
                f"more than {most_failed:,} accounts cannot be scored; the first is {failures[0].account_id}: "
                f"{failures[0].error}: {failures[0].message} Mend the data, or raise run.max_failed."
            ) from whole
    return forecasts, failures


def _halved(
    ledger: Ledger, account_ids: pa.Array, score: ScoreLedger, error: Exception
) -> Iterator[Forecast | Failure]:
    """Forecasts of all accounts but those that fail alone, in their order; ``error`` is how all of them together fail."""
    if len(account_ids) == 1:
        yield Failure(account_ids[0].as_py(), *_told(error))
        return
    middle = len(account_ids) // 2
    for half in (account_ids[:middle], account_ids[middle:]):
        found = _tried(of_accounts(ledger, half), score)
        if isinstance(found, Forecast):
            yield found
        else:
            yield from _halved(ledger, half, score, found)


def _tried(ledger: Ledger, score: ScoreLedger) -> Forecast | Exception:
    """The forecast, or why there is none, whatever the accounts' data may do to it."""
    try:
        return score(ledger)
    except NOT_OF_AN_ACCOUNT:
        raise
    except Exception as error:
        return error


def _told(error: Exception) -> tuple[str, str]:
    return type(error).__name__, " ".join(str(error).split()) or "no message"


@dataclass(frozen=True)
class Scored:
    """What is written down of a part: its rows of `account_ranges`, its totals (`pooled`), and planned steps where there are
    plans."""

    accounts: pa.Table
    totals: pa.Table
    failures: tuple[Failure, ...]
    planned: pa.Table | None = None
    warnings: tuple[str, ...] = ()


def scored(forecasts: Sequence[Forecast], failures: Sequence[Failure], segments: Sequence[str], key: RunKey) -> Scored:
    """What forecasts of a part's accounts say; ``segments`` are the group columns, needed where there is no forecast."""
    planned = [
        pa.Table.from_pandas(part.planned, preserve_index=False) for part in forecasts if part.planned is not None
    ]
    return Scored(
        accounts=pa.concat_tables(account_rows(forecast, key) for forecast in forecasts)
        if forecasts
        else ACCOUNT_RANGES.with_segments(tuple(segments)).arrow_schema.empty_table(),
        totals=added(total_rows(forecast) for forecast in forecasts),
        failures=tuple(failures),
        planned=pa.concat_tables(planned, promote_options="permissive") if planned else None,
        warnings=tuple(dict.fromkeys(warning for forecast in forecasts for warning in forecast.warnings)),
    )


def write_part(files: PartFiles, found: Scored, rejected: pa.Table | None, about: dict[str, Any]) -> dict[str, Any]:
    """The part's files, each whole, and then its record, which is returned; ``about`` is put into it."""
    written = [_write(files.accounts, lambda path: pq.write_table(found.accounts, path))]
    written.append(_write(files.totals, lambda path: _write_stream(found.totals, path)))
    if (planned := found.planned) is not None:
        written.append(_write(files.planned, lambda path: pq.write_table(planned, path)))
    if rejected is not None:
        written.append(_write(files.rejected, lambda path: pq.write_table(rejected, path)))
    digests = {
        str(path.relative_to(files.folder)): {"sha256": digest_of(path), "bytes": path.stat().st_size}
        for path in written
    }
    failures = [failure._asdict() for failure in found.failures]
    record = {
        **about,
        "accounts": len(found.accounts),
        "failures": failures,
        "warnings": list(found.warnings),
        "files": digests,
    }
    write_json(files.record, record)
    return record


def read_totals(files: PartFiles) -> pa.Table:
    with pa.ipc.open_stream(files.totals) as reader:
        return reader.read_all()


def _write_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def _write(path: Path, write: Callable[[Path], None]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with put_in_place(path) as temporary:
        write(temporary)
    return path
