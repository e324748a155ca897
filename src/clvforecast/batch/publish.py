"""Where a finished run goes: the databases that the settings name, and its Parquet files in place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

from clvforecast.batch.assembly import tables_in
from clvforecast.batch.clock import Clock
from clvforecast.batch.folder import RunFolder
from clvforecast.batch.inputs import address_in
from clvforecast.batch.logs import tell
from clvforecast.batch.settings import OutputSettings
from clvforecast.batch.sinks import DuckSink, PostgresSink, Sink

Sinks = dict[str, Sink]


def open_sinks(settings: OutputSettings, folder: RunFolder) -> Sinks:
    """The databases by name."""
    sinks: Sinks = {}
    # The server first: where it refuses a run, the file beside it still has the one before, too.
    if settings.database is not None:
        sinks["postgres"] = PostgresSink(address_in(settings.database, "output.database"), settings.db_schema)
    if settings.duckdb:
        sinks["duckdb"] = DuckSink(folder.duckdb)
    return sinks


def publish(
    sinks: Sinks, run_id: str, folder_of: Callable[[str], Path], keep_runs: int, make_current: bool, clock: Clock
) -> None:
    """Load the run into every database that does not have it."""
    for name, sink in sinks.items():
        with clock.timing(f"publishing to {name}"):
            new = sink.publish(run_id, tables_in(folder_of), keep_runs, make_current)
        tell("published" if new else "was published already", to=name, current=make_current)


def becomes_current(folder: RunFolder, as_of: date) -> bool:
    """Whether a run of that day is what readers shall see: not where the current one knows a later day."""
    current = folder.current_run()
    known = {manifest["run_id"]: manifest for manifest in folder.manifests()}
    return current not in known or date.fromisoformat(known[current]["as_of"]) <= as_of


def retire(folder: RunFolder, keep_runs: int) -> None:
    """Remove the Parquet files of all but the last finished runs; manifests stay, and so does the current run."""
    current = folder.current_run()
    for manifest in folder.manifests()[keep_runs:]:
        if manifest["run_id"] == current:
            continue
        for table in folder.path.glob(f"*/day={manifest['as_of']}/run={manifest['run_id']}"):
            shutil.rmtree(table)
            if not any(table.parent.iterdir()):
                table.parent.rmdir()
