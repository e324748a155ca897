"""One run's work: its parts, the tables made of them, and the files it leaves."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow.parquet as pq

from clvforecast.batch.assembly import About, portfolio_of, write_tables
from clvforecast.batch.clock import Clock, now
from clvforecast.batch.folder import RunFolder, move_folder, read_json, write_json
from clvforecast.batch.identity import run_id_of
from clvforecast.batch.inputs import Inputs
from clvforecast.batch.lineage import Finished
from clvforecast.batch.logs import alert, tell
from clvforecast.batch.parts import PLANNED, REJECTED, Failure, PartFiles, digest_of, score_accounts, scored, write_part
from clvforecast.batch.rows import check_segment_names
from clvforecast.batch.schema import ACCOUNT_RANGES, ARR_RANGES, PERIOD_RANGES, RETENTION_RANGES, TABLES
from clvforecast.batch.settings import BatchSettings
from clvforecast.batch.steps import PlannedSteps
from clvforecast.batch.tables import RunKey
from clvforecast.batch.watch import Check, described
from clvforecast.errors import BatchError, BatchSettingsError
from clvforecast.forecast import Forecast, forecast
from clvforecast.ledger import Ledger
from clvforecast.machine import available_threads
from clvforecast.posterior import Posterior
from clvforecast.posterior_file import checksum
from clvforecast.provenance import Provenance, package_versions
from clvforecast.reduction import ForecastSettings

MANIFEST_VERSION = 1
TAKEN = frozenset(
    {"period", *(column.name for table in (PERIOD_RANGES, ARR_RANGES, RETENTION_RANGES) for column in table.columns)}
    - {"run_id", "as_of", "segment", "level", "freq", "period_end", "value"}
)
"""Columns that a table of periods has of its own, beside the columns that it is split by."""
FOLDERS = (*TABLES, PLANNED, REJECTED)
"""Tables of which a run leaves files."""


@dataclass(frozen=True)
class Job:
    """A run that is being made; what it has done lies in `work` until `put_in_place`."""

    settings: BatchSettings
    folder: RunFolder
    inputs: Inputs
    posterior: Posterior
    steps: PlannedSteps
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    """What to know of how the run came about; beside the data's warnings in the manifest, but not in its tables."""

    @cached_property
    def posterior_checksum(self) -> str:
        return checksum(self.posterior.idata)

    @cached_property
    def run_id(self) -> str:
        return run_id_of(self.posterior_checksum, self.inputs, self.settings.forecast)

    @property
    def work(self) -> Path:
        return self.folder.work(self.run_id)

    @property
    def key(self) -> RunKey:
        asked = self.settings.forecast
        return RunKey(self.run_id, self.inputs.as_of, asked.ci_prob, asked.ci_kind)

    @property
    def columns(self) -> tuple[str, ...]:
        """The accounts' columns that the portfolio is split by."""
        asked = self.settings.forecast.group_by
        return self.posterior.frame.segments if asked is None else asked

    @property
    def most_failed(self) -> int:
        return ceil(self.settings.run.max_failed * self.inputs.n_accounts)

    @property
    def _assembled(self) -> Path:
        return self.work / "assembled.json"

    @property
    def is_assembled(self) -> bool:
        """Whether all tables are made, and only to be published and put in place."""
        return self._assembled.exists()

    def begin(self, started_at: str) -> dict[str, Any]:
        """Note that the run is tried, and forget work that was cut otherwise, or done with other versions of the packages."""
        check_segment_names(ACCOUNT_RANGES, self.columns)
        check_split_names(self.columns)
        path = self.work / "attempts.json"
        fresh: dict[str, Any] = {
            "cut": self._cut(),
            "attempts": 0,
            "first_started_at": started_at,
            "as_of": str(self.inputs.as_of),
        }
        before: dict[str, Any] = read_json(path) if path.exists() else fresh
        if before["cut"] != fresh["cut"]:
            alert("what was done of this run is done again: the settings of run, or package versions, have changed")
            shutil.rmtree(self.work)
            before = fresh
        if before["attempts"]:
            done = len(list((self.work / "records").glob("*.json")))
            tell("going on", attempt=before["attempts"] + 1, parts_done=done, of=self.inputs.n_parts)
        attempts = {**before, "attempts": before["attempts"] + 1}
        write_json(path, attempts)
        return attempts

    def _cut(self) -> dict[str, Any]:
        return {"parts": self.inputs.n_parts, "each": self.settings.run.accounts_each, "versions": package_versions()}

    def part(self, number: int) -> dict[str, Any]:
        """The record of a part, scored now unless it was before."""
        files = PartFiles(self.work, number)
        record = files.done()
        if record is not None:
            return record
        begun = perf_counter()
        part = self.inputs.part(number)
        forecasts, failures = (
            ([], []) if part.ledger is None else score_accounts(part.ledger, self._forecast, self.most_failed)
        )
        found = scored(forecasts, failures, self.columns, self.key)
        record = write_part(files, found, part.rejected, part.about)
        for failure in failures:
            alert(f"account {failure.account_id} cannot be scored: {failure.error}: {failure.message}")
        tell(
            "part",
            number=number + 1,
            of=self.inputs.n_parts,
            accounts=record["accounts"],
            seconds=round(perf_counter() - begun, 3),
        )
        return record

    @cached_property
    def _forecast(self) -> Any:
        return partial(_forecast_of, self)

    def assemble(self, records: Sequence[dict[str, Any]], notes: Sequence[str] = ()) -> None:
        """All other tables from the parts, and the note that they are made; ``notes`` are added to the job's."""
        failures = [Failure(**failure) for record in records for failure in record["failures"]]
        if len(failures) > self.most_failed:
            raise BatchError(
                f"{len(failures):,} of {self.inputs.n_accounts:,} accounts cannot be scored, more than run.max_failed = "
                f"{self.settings.run.max_failed:g}. The first is {failures[0].account_id}: {failures[0].message}"
            )
        about = self._about(records)
        files = [PartFiles(self.work, number) for number in range(len(records))]
        n_accounts = sum(record["accounts"] for record in records)
        write_tables(self.work, portfolio_of(files, about), failures, n_accounts, list(self.checks), about)
        warnings = [*self.notes, *notes, *about.warnings]
        self._write_assembled(about, n_accounts, failures, self.inputs.about(records), warnings)

    def _about(self, records: Sequence[dict[str, Any]]) -> About:
        return About(
            key=self.key,
            settings=self._forecast_settings(),
            columns=self.columns,
            currency=self.inputs.currency,
            provenance=Provenance(
                ledger=self.inputs.fingerprint,
                posterior=self.posterior_checksum,
                trained_on=self.posterior.fingerprint,
                trained_until=self.posterior.as_of,
                versions=package_versions(),
            ),
            warnings=self.inputs.warnings(self.posterior, records),
            version=version("clvforecast"),
        )

    def _forecast_settings(self) -> ForecastSettings:
        asked = self.settings.forecast.arguments()
        planned = sorted((self.work / PLANNED).glob("*.parquet"))
        n_open = sum(pq.read_metadata(file).num_rows for file in planned)
        names = ForecastSettings.model_fields
        return ForecastSettings(
            **{name: value for name, value in asked.items() if name in names}, plans=self.steps.words(n_open)
        )

    def _write_assembled(
        self, about: About, n_accounts: int, failures: Sequence[Failure], read: dict[str, Any], warnings: list[str]
    ) -> None:
        outputs = {}
        for name in FOLDERS:
            for file in sorted((self.work / name).glob("*.parquet")):
                path = self.folder.table(name, self.inputs.as_of, self.run_id) / file.name
                outputs[str(path.relative_to(self.folder.path))] = {
                    "rows": pq.read_metadata(file).num_rows,
                    "bytes": file.stat().st_size,
                    "sha256": digest_of(file),
                }
        said = {
            "manifest_version": MANIFEST_VERSION,
            "run_id": self.run_id,
            "as_of": self.inputs.as_of.isoformat(),
            "currency": self.inputs.currency,
            "accounts": n_accounts,
            "failed": len(failures),
            "inputs": {
                "ledger": about.provenance.ledger,
                "posterior": about.provenance.posterior,
                "posterior_knows_until": about.provenance.trained_until,
                **read,
            },
            "settings": self.settings.model_dump(mode="json", by_alias=True),
            "versions": {"python": platform.python_version(), **about.provenance.versions},
            "warnings": warnings,
            "checks": described(list(self.checks)),
            "outputs": outputs,
        }
        write_json(self._assembled, said)

    def warnings(self) -> tuple[str, ...]:
        """What to know of the run, once all tables are made."""
        return tuple(read_json(self._assembled)["warnings"])

    def folder_of(self, table: str) -> Path:
        """Where a table's files are: still in the unfinished work, or in their place."""
        unfinished = self.work / table
        return unfinished if unfinished.exists() else self.folder.table(table, self.inputs.as_of, self.run_id)

    def clear(self) -> None:
        """Remove the unfinished work of this run, and that of runs of this day or before that were never ended."""
        self.inputs.close()
        shutil.rmtree(self.work, ignore_errors=True)
        for path in self.work.parent.glob("*/attempts.json"):
            if read_json(path)["as_of"] <= str(self.inputs.as_of):
                shutil.rmtree(path.parent)

    def put_in_place(self, attempts: dict[str, Any], place: Finished, clock: Clock) -> dict[str, Any]:
        """Move the tables to where readers look for them, and write the manifest."""
        said = read_json(self._assembled)
        for name in FOLDERS:
            if (self.work / name).exists():
                move_folder(self.work / name, self.folder.table(name, self.inputs.as_of, self.run_id))
        manifest = {
            **said,
            "attempts": attempts["attempts"],
            "first_started_at": attempts["first_started_at"],
            "finished_at": now(),
            "after": place.after,
            "is_backfill": place.is_backfill,
            "seconds_of_last_attempt": clock.rounded(),
            "machine": {"processors": available_threads(), "system": platform.platform(terse=True)},
        }
        write_json(self.folder.manifest(self.run_id), manifest)
        return manifest


def check_split_names(columns: Sequence[str]) -> None:
    """Raise BatchSettingsError for columns that a table of periods could not be split by."""
    if taken := [name for name in columns if name in TAKEN]:
        raise BatchSettingsError(
            f"forecast.group_by: the accounts' column {taken[0]!r} has the name of a column of the tables of periods. "
            "Rename it in the accounts table, or leave it out."
        )


def _forecast_of(job: Job, ledger: Ledger) -> Forecast:
    """The forecast of some of the run's accounts."""
    return forecast(
        job.posterior,
        ledger,
        **job.settings.forecast.arguments(),
        plans=job.steps.plans,
        reliability=job.steps.reliability,
        threads=job.settings.run.threads,
    )
