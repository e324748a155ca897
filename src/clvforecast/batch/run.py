"""`score`: one run from the events to published tables. Killed at any moment and started again, it goes on where it was.

    inputs -> checks of earlier ranges -> posterior -> run id -> parts -> tables -> databases -> files in place -> manifest

Each step leaves whole files or none, and the manifest, written last, says that all is done.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from clvforecast.batch.clock import Clock, now
from clvforecast.batch.folder import RunFolder, read_json
from clvforecast.batch.inputs import InMemory, Inputs, as_told, files_read, read_input
from clvforecast.batch.job import FOLDERS, Job
from clvforecast.batch.logs import alert, tell
from clvforecast.batch.posteriors import choose_posterior, own_posterior
from clvforecast.batch.publish import Sinks, end_showing, open_sinks, publish, retire, run_ids
from clvforecast.batch.schema import RUNS
from clvforecast.batch.settings import BatchSettings, read_settings
from clvforecast.batch.steps import PlannedSteps, read_steps
from clvforecast.batch.streamed import Streamed
from clvforecast.batch.watch import check_watches, make_watch
from clvforecast.errors import BatchError, BatchSettingsError
from clvforecast.posterior import Posterior

Config = str | os.PathLike[str] | Mapping[str, Any] | BatchSettings


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run.

    manifest: what it was made from and what came of it, as ``runs/RUN.json`` has it
    is_new: False where it had been done before, and nothing was left to do
    """

    manifest: dict[str, Any]
    folder: RunFolder
    is_new: bool

    def __repr__(self) -> str:
        return (
            f"<Run {self.run_id} as of {self.as_of}: {self.manifest['accounts']:,} accounts, {self.failed:,} failed, "
            f"in {self.folder.path}>"
        )

    @property
    def run_id(self) -> str:
        return str(self.manifest["run_id"])

    @property
    def as_of(self) -> date:
        return date.fromisoformat(self.manifest["as_of"])

    @property
    def failed(self) -> int:
        """Accounts that could not be scored; `table("account_failures")` says why."""
        return int(self.manifest["failed"])

    @property
    def drifted(self) -> bool:
        """Whether ranges of earlier runs that were made with the same posterior no longer hold; `table("range_checks")` says
        which, and has those of other posteriors too."""
        own = self.manifest["inputs"]["posterior"]
        return any(check["slipped"] and check["posterior"] == own for check in self.manifest["checks"])

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self.manifest["warnings"])

    def table(self, name: str) -> pd.DataFrame:
        """One of the run's tables: account_ranges, period_ranges, arr_ranges, retention_ranges, account_failures, range_checks,
        runs, rejected_rows, and with plans planned_steps.

        Raises BatchError for another name, and where the files were removed to keep fewer runs.
        """
        if name not in FOLDERS:
            raise BatchError(f"there is no table {name!r}; a run has {', '.join(FOLDERS)}.")
        files = sorted(self.folder.table(name, self.as_of, self.run_id).glob("*.parquet"))
        if not files:
            raise BatchError(
                f"run {self.run_id} has no table {name!r} in {self.folder.path}: "
                + (
                    "it was made without plans."
                    if self.folder.table(RUNS.name, self.as_of, self.run_id).exists()
                    else "its files were removed because output.keep_runs newer runs are there."
                )
            )
        return pd.concat([pq.ParquetFile(file).read().to_pandas() for file in files], ignore_index=True)


def score(
    config: Config,
    *,
    events: Any = None,
    accounts: Any = None,
    posterior: Posterior | str | os.PathLike[str] | None = None,
    as_of: date | str | None = None,
) -> Run:
    """Score every account and publish the ranges: once, whatever happens meanwhile.

    Parameters
    ----------
    config
        The path of a TOML file, a dict of the same tables, or `BatchSettings`.
    events, accounts, posterior
        In place of ``input.events`` (a table, a path, or a `Ledger`), ``input.accounts``, and ``posterior.file`` (a `Posterior`
        or a path).
    as_of
        In place of ``input.as_of``.

    Returns
    -------
    Run
        With ``is_new`` False where the same posterior, data, day and settings had been scored before.

    Raises
    ------
    BatchSettingsError
        For settings that cannot be; the message names the key.
    RunLockedError
        When another run writes to the same folder.
    ClvError
        For data, a posterior, or a database that cannot be used. What was done until then is kept, and the next call goes on.

    Examples
    --------
    >>> import clvforecast as clv
    >>> run = clv.batch.score("clvforecast.toml")  # doctest: +SKIP
    >>> run.table("account_ranges")[["account_id", "q05", "q50", "q95"]]  # doctest: +SKIP
    """
    settings = _on_day(read_settings(config), as_of)
    folder, clock = RunFolder(Path(settings.output.folder)), Clock()
    _check_day(settings.input.as_of, "input.as_of = {} is a day to come: give one up to today.")
    with folder.locked():
        sinks = open_sinks(settings.output, folder)
        for sink in sinks.values():
            sink.check()
        end_showing(folder, sinks)
        with clock.timing("posterior"):
            own = own_posterior(settings.posterior, posterior)
        with clock.timing("reading"):
            inputs, steps = _opened(settings, folder, events, accounts)
        _check_day(
            inputs.as_of, "the latest booking is of {}, a day to come: give input.as_of, and mend its event_date."
        )
        _check_against_current(inputs, settings, folder)
        tell("read", accounts=inputs.n_accounts, as_of=inputs.as_of, parts=inputs.n_parts)
        with clock.timing("checking"):
            checks = check_watches(folder, inputs, settings)
        for check in checks:
            level = logging.WARNING if check.slipped else logging.INFO
            tell("check", level, message=check.message, slipped=check.slipped)
        with clock.timing("posterior"):
            chosen = choose_posterior(settings.posterior, folder, inputs, checks, own)
        _check_asked(settings, chosen.posterior, inputs)
        job = Job(settings, folder, inputs, chosen.posterior, steps, tuple(checks), chosen.notes)
        manifest = folder.manifest(job.run_id)
        if manifest.exists():
            run = _done_before(job, sinks, read_json(manifest))
            _alert(run.warnings, (*inputs.told, *chosen.notes))
        else:
            run = Run(_make(job, sinks, clock), folder, is_new=True)
        return run


def _alert(warnings: Sequence[str], told: Collection[str]) -> None:
    """Warn of what was not told before."""
    for warning in warnings:
        if warning not in told:
            alert(warning)


def _on_day(settings: BatchSettings, as_of: date | str | None) -> BatchSettings:
    if as_of is None:
        return settings
    said = {**settings.input.model_dump(), "as_of": as_of}
    return settings.model_copy(update={"input": read_settings({"input": said}).input})


def _opened(settings: BatchSettings, folder: RunFolder, events: Any, accounts: Any) -> tuple[Inputs, PlannedSteps]:
    if settings.input.stream:
        if events is not None or accounts is not None:
            raise BatchSettingsError("input.stream reads files: name them in input, or leave out input.stream.")
        return Streamed.open(settings, folder), PlannedSteps()
    ledger = read_input(settings.input, events, accounts)
    files = files_read(settings.input, events, accounts)
    for warning in as_told(ledger.warnings):
        alert(warning)
    return InMemory(ledger, settings.run.accounts_each, files), read_steps(settings.forecast, ledger)


def _make(job: Job, sinks: Sinks, clock: Clock) -> dict[str, Any]:
    """All that is left to do of a run, and its manifest."""
    tell("run", run_id=job.run_id, posterior=job.posterior.as_of)
    attempts = job.begin(clock.started_at)
    if not job.is_assembled:
        with clock.timing("scoring"):
            records = [job.part(number) for number in range(job.inputs.n_parts)]
        with clock.timing("assembling"):
            note = make_watch(job.folder, job.inputs, job.posterior, job.settings, job.run_id, job.steps, records)
            job.assemble(records, [note] if note else [])
    _alert(job.warnings(), (*job.inputs.told, *job.notes))
    keep = job.settings.output.keep_runs
    lineage = job.folder.lineage().with_run(job.run_id, str(job.inputs.as_of), now())
    publish(sinks, job.run_id, job.folder_of, keep, lineage, clock)
    manifest = job.put_in_place(attempts, lineage.runs[-1], clock)
    if lineage.current == job.run_id:
        job.folder.make_current(job.run_id)
    retire(job.folder, keep)
    job.clear()
    tell(
        "done",
        run_id=job.run_id,
        accounts=manifest["accounts"],
        failed=manifest["failed"],
        seconds=round(clock.total, 3),
    )
    return manifest


def _done_before(job: Job, sinks: Sinks, manifest: dict[str, Any]) -> Run:
    """Nothing to do, but for a database that does not have the run, and for a run whose place another took."""
    if job.folder_of(RUNS.name).exists():
        _show_again(job)
        lineage = job.folder.lineage()
        is_current = lineage.current == job.run_id
        # A run that is not the current one would be it in a database that has no other.
        missing = {
            name: sink
            for name, sink in sinks.items()
            if job.run_id not in run_ids(sink) and (is_current or sink.current() is not None)
        }
        publish(missing, job.run_id, job.folder_of, job.settings.output.keep_runs, lineage, Clock())
        end_showing(job.folder, sinks)
    else:
        alert(
            f"run {job.run_id} was finished before, and its files have been removed since then to keep fewer runs: it is in no "
            f"database. To make it again, set output.keep_runs higher and delete {job.folder.manifest(job.run_id)}"
        )
    retire(job.folder, job.settings.output.keep_runs)
    job.clear()
    tell("done before", run_id=job.run_id, finished_at=manifest["finished_at"])
    return Run(manifest, job.folder, is_new=False)


def _show_again(job: Job) -> None:
    """Make a run of before the current one again, where another was in between, as when bad data were mended: unless somebody
    chose the current one."""
    current = job.folder.current_run()
    if current == job.run_id or not job.folder.lineage().becomes_current(str(job.inputs.as_of)):
        return
    if job.folder.was_chosen():
        alert(
            f"the run is there, but {current} was made the current one. To show this one: clvforecast runs --config FILE "
            f"--activate {job.run_id}"
        )
        return
    job.folder.make_current(job.run_id, told=False)
    tell("current again", run_id=job.run_id, before=current)


def _check_asked(settings: BatchSettings, posterior: Posterior, inputs: Inputs) -> None:
    """Raise BatchSettingsError for a forecast that this posterior or these accounts cannot give."""
    asked, sizes = settings.forecast, posterior.draws.sizes
    if asked.draws > (held := sizes["chain"] * sizes["draw"]):
        raise BatchSettingsError(
            f"forecast.draws = {asked.draws}: the posterior holds {held:,} draws. Ask for up to {held:,}, or fit with more."
        )
    unknown = [name for name in asked.group_by or () if inputs.columns is not None and name not in inputs.columns]
    if unknown:
        raise BatchSettingsError(
            f"forecast.group_by: the accounts have no column {unknown[0]!r}; they have "
            f"{', '.join(inputs.columns or ()) or 'none'}."
        )


def _check_against_current(inputs: Inputs, settings: BatchSettings, folder: RunFolder) -> None:
    """Raise BatchError where far fewer accounts are there than the current run had: most likely half an export. Warn of bookings
    that end before its day, most likely an old one."""
    current = folder.current_run()
    if current is None or not folder.manifest(current).exists():
        return
    before, least = read_json(folder.manifest(current)), settings.input.least_accounts
    if before["as_of"] <= str(inputs.as_of) and inputs.n_accounts < least * before["accounts"]:
        raise BatchError(
            f"{inputs.n_accounts:,} accounts are there to score, where the current run of {before['as_of']} had "
            f"{before['accounts']:,}. See that the export is whole; if it is, set input.least_accounts, now {least:g}, lower."
        )
    if settings.input.as_of is None and str(inputs.as_of) < before["as_of"]:
        alert(
            f"the events end on {inputs.as_of}, before the day of the current run, {before['as_of']}: is it an old "
            "export? The run is made as one of that day, and does not become current. Give input.as_of to score another day."
        )


def _check_day(as_of: date | None, words: str) -> None:
    """Raise BatchSettingsError for a day to come: its run would be the current one until then."""
    if as_of is not None and as_of > date.today():
        raise BatchSettingsError(words.format(as_of))
