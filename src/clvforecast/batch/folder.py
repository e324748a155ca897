"""The folder that runs write to, and its lock.

runs/RUN.json                        the manifest of each run
current.json                         which run is the current one
account_ranges/day=DAY/run=RUN/       Parquet files, and the other tables (`schema`) likewise
clvforecast.duckdb                   the same tables and views, for SQL
watch/DAY-RUN.clv                    draws that later runs hold against what happened
posteriors/                          what runs have fitted
work/RUN/                            a run that is not finished: its parts
.lock                                held while a run writes
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from clvforecast.batch.lineage import Finished, Lineage
from clvforecast.durable import put_in_place
from clvforecast.errors import BatchError, RunLockedError

LEFT = ".*.part*"
"""Names of what `durable.put_in_place` writes to first, and of what DuckDB puts beside it."""


@dataclass(frozen=True)
class RunFolder:
    """Paths inside the folder of all runs."""

    path: Path

    @property
    def current(self) -> Path:
        return self.path / "current.json"

    @property
    def duckdb(self) -> Path:
        return self.path / "clvforecast.duckdb"

    @property
    def posteriors(self) -> Path:
        return self.path / "posteriors"

    @property
    def watch(self) -> Path:
        return self.path / "watch"

    def manifest(self, run_id: str) -> Path:
        return self.path / "runs" / f"{run_id}.json"

    def work(self, run_id: str) -> Path:
        return self.path / "work" / run_id

    def table(self, name: str, as_of: date | str, run_id: str) -> Path:
        """The folder of a table's files of one run."""
        return self.path / name / f"day={as_of}" / f"run={run_id}"

    def manifests(self) -> list[dict[str, Any]]:
        """Those of all finished runs, the last finished first."""
        found = [read_json(path) for path in (self.path / "runs").glob("*.json")]
        return sorted(found, key=lambda manifest: (manifest["finished_at"], manifest["run_id"]), reverse=True)

    def current_run(self) -> str | None:
        return str(read_json(self.current)["run_id"]) if self.current.exists() else None

    def was_chosen(self) -> bool:
        """Whether somebody made the current run that, and not its being the newest."""
        return self.current.exists() and bool(read_json(self.current).get("chosen"))

    def is_told(self) -> bool:
        """Whether the databases know of the current run, as far as they were there."""
        return not self.current.exists() or bool(read_json(self.current).get("told", True))

    def make_current(self, run_id: str, chosen: bool = False, told: bool = True) -> None:
        write_json(self.current, {"run_id": run_id, "chosen": chosen, "told": told})

    def lineage(self) -> Lineage:
        """Which runs count, and which were superseded."""
        return Lineage(tuple(map(Finished.of, self.manifests())), self.current_run())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes here meanwhile; the system takes the lock away from a process that dies.

        Raises RunLockedError where another process holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path / ".lock", timeout=0):
                self._sweep()
                self._end_finished()
                yield
        except Timeout as error:
            raise RunLockedError(
                f"{self.path}: another run is writing there. Wait for it, or give another output.folder."
            ) from error

    def _sweep(self) -> None:
        """Remove what killed runs have left of files that they were writing: nobody else writes here now."""
        beside = (folder.glob(LEFT) for folder in (self.path, self.path / "runs", self.watch, self.posteriors))
        for left in (*chain.from_iterable(beside), *(self.path / "work").rglob(LEFT)):
            if left.is_file():
                left.unlink()

    def _end_finished(self) -> None:
        """What is left to do of a run that was killed after its manifest was written: before anything else is done."""
        for work in (self.path / "work").glob("*"):
            if self.manifest(work.name).exists():
                if not Finished.of(read_json(self.manifest(work.name))).is_backfill:
                    self.make_current(work.name)
                shutil.rmtree(work)


def read_json(path: Path) -> Any:
    """Raises BatchError for a file that is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BatchError(f"{path}: cannot be read ({error}). Remove it, or restore it, and run again.") from error


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with put_in_place(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def move_folder(source: Path, target: Path) -> None:
    """A whole folder under its own name at once; what was there before, of the same run, goes away."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    os.replace(source, target)
