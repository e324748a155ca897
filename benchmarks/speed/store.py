"""Results that are kept: one JSON file, one record a measured thing, each with the machine and the source it was measured on."""

import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("clvforecast", "duckdb", "numba", "numpy", "nutpie", "pyarrow", "pymc", "pytensor")

Record = dict[str, Any]


class Store:
    """The records of one file, written whole after each new one, so that an interrupted run goes on where it was."""

    def __init__(self, path: Path, again: bool = False) -> None:
        self.path, self.again = path, again
        self.records: dict[str, Record] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def kept(self, key: str, origin: Record, limit_seconds: float) -> Record | None:
        """The record of that name if it was measured on the same machine and source; None: measure (again).

        What failed or was skipped is tried again, and what was stopped by a shorter limit.
        """
        found = self.records.get(key)
        if found is None or self.again or found["ended"] in ("failed", "skipped"):
            return None
        if found["ended"] == "timed out" and found["limit_seconds"] < limit_seconds:
            return None
        return found if all(found.get(name) == origin[name] for name in ("machine", "source")) else None

    def put(self, key: str, record: Record) -> None:
        """Keep a record under a name, in place of an earlier one."""
        self.records[key] = record
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self.records, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        unfinished.replace(self.path)


def origin() -> Record:
    """Machine, package versions, commit, and the state of the package's source that results belong to."""
    return {
        "machine": {
            "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "processor": _processor(),
            "memory_gigabytes": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "source": _source(),
    }


def _source() -> str:
    """What the package's source is, whether committed or not: other source is measured again."""
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted((ROOT / "src").rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _commit() -> str:
    changed = _git("status", "--porcelain", "--", "src")
    return (_git("rev-parse", "--short", "HEAD") or _version("clvforecast")) + (" and changes" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
