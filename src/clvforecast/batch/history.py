"""The runs that were made, and going back to an earlier one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clvforecast.batch.folder import RunFolder
from clvforecast.batch.publish import open_sinks, run_ids, show
from clvforecast.batch.run import Config, Run
from clvforecast.batch.schema import RUNS
from clvforecast.batch.settings import read_settings
from clvforecast.errors import BatchError


def runs(config: Config) -> pd.DataFrame:
    """One row a finished run, the last finished first: run_id, as_of, finished_at, accounts, failed, slipped (checks of earlier
    ranges that no longer hold), warnings (how many), is_current, superseded_by (the run that took its place, missing where none
    did), has_files (not removed by ``output.keep_runs``)."""
    folder = _folder(config)
    lineage = folder.lineage()
    rows = [
        {
            "run_id": manifest["run_id"],
            "as_of": manifest["as_of"],
            "finished_at": manifest["finished_at"],
            "accounts": manifest["accounts"],
            "failed": manifest["failed"],
            "slipped": sum(check["slipped"] for check in manifest["checks"]),
            "warnings": len(manifest["warnings"]),
            "is_current": manifest["run_id"] == lineage.current,
            "superseded_by": lineage.superseded.get(manifest["run_id"]),
            "has_files": folder.table(RUNS.name, manifest["as_of"], manifest["run_id"]).exists(),
        }
        for manifest in folder.manifests()
    ]
    names = (
        "run_id", "as_of", "finished_at", "accounts", "failed", "slipped", "warnings", "is_current", "superseded_by", "has_files"
    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(names))


def activate(config: Config, run: Run | str) -> None:
    """Make a finished run (or the one of that id) the current one everywhere: in the databases, and for readers of the folder.

    It stays so until the next new run. Raises BatchError for a run that is not there, or no longer has its files.
    """
    folder, settings = _folder(config), read_settings(config)
    run_id = run.run_id if isinstance(run, Run) else run
    if not folder.path.exists():
        raise BatchError(f"{folder.path}: there is no such folder, and so no run. Check output.folder.")
    with folder.locked():
        found = runs(settings).set_index("run_id")
        if run_id not in found.index or not found.loc[run_id, "has_files"]:
            kept = ", ".join(found.index[found["has_files"]]) or "none"
            where = (
                f"its files are no longer in {folder.path}" if run_id in found.index else f"it is not in {folder.path}"
            )
            raise BatchError(f"run {run_id!r}: {where}; there are {kept}. Activate one of them.")
        sinks = open_sinks(settings.output, folder)
        for name, sink in sinks.items():  # all have it, before the first is changed
            if run_id not in (there := run_ids(sink)):
                raise BatchError(
                    f"run {run_id!r} is not in {name}, where {', '.join(there) or 'none'} are. Activate one of them."
                )
        show(folder, sinks, run_id, chosen=True)


def _folder(config: Config) -> RunFolder:
    return RunFolder(Path(read_settings(config).output.folder))
