"""Where a finished run goes: the databases that the settings name, and its Parquet files in place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from clvforecast.batch.assembly import tables_in
from clvforecast.batch.clock import Clock
from clvforecast.batch.folder import RunFolder
from clvforecast.batch.inputs import address_in
from clvforecast.batch.lineage import Lineage
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
    sinks: Sinks, run_id: str, folder_of: Callable[[str], Path], keep_runs: int, lineage: Lineage, clock: Clock
) -> None:
    """Load the run into every database that does not have it, as `lineage` says which runs count then."""
    is_current = lineage.current == run_id
    for name, sink in sinks.items():
        with clock.timing(f"publishing to {name}"):
            new = sink.publish(run_id, tables_in(folder_of), keep_runs, is_current, lineage.places)
            if is_current and not new:  # it was loaded before a kill, and another made current since
                sink.activate(run_id, lineage.places)
        tell("published" if new else "was published already", to=name, current=is_current)


def show(folder: RunFolder, sinks: Sinks, run_id: str, chosen: bool) -> None:
    """Make a finished run the current one, in the folder and then in the databases that have it."""
    folder.make_current(run_id, chosen, told=False)
    end_showing(folder, sinks)


def end_showing(folder: RunFolder, sinks: Sinks) -> None:
    """Tell the databases of the current run, where they may not know of it: a kill lay between."""
    lineage = folder.lineage()
    if folder.is_told() or lineage.current is None:
        return
    for sink in sinks.values():
        if lineage.current in run_ids(sink):
            sink.activate(lineage.current, lineage.places)
    folder.make_current(lineage.current, folder.was_chosen())


def run_ids(sink: Sink) -> list[str]:
    """Of all runs that a database has."""
    found: list[str] = sink.runs()["run_id"].to_pylist()
    return found


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
