"""Run one measured thing in a process of its own, within a time limit and the machine's memory."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from speed.steps import RSS_UNIT, read_steps

LOOK_EVERY = 0.2
FOLDERS = re.compile(r"(?:/[\w.+-]+)+/")
"""Of files named in an error: results are kept with the project, and say nothing of where it lies."""
LEAST_FREE_BYTES = 750_000_000
"""Below it a process is stopped, before the system stops others in its place."""
DONE, TIMED_OUT, OUT_OF_MEMORY, FAILED, SKIPPED = "done", "timed out", "out of memory", "failed", "skipped"


@dataclass(frozen=True)
class Outcome:
    """How a process ended, after how long, with how much memory at most (all its processes), and the steps it told of."""

    ended: str
    seconds: float
    peak_bytes: int
    steps: list[dict[str, Any]]
    reason: str = ""


def run_child(command: Sequence[str], limit_seconds: float, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run `command` with the path of a file for its `Steps` as last argument; stop it and its children past the limits."""
    with TemporaryDirectory() as folder:
        told, errors = Path(folder) / "steps.jsonl", Path(folder) / "stderr"
        started = time.perf_counter()
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, str(told)],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
            try:
                ended, code, family, largest = _watch(process, started + limit_seconds)
            except BaseException:  # Ctrl-C does not reach another process group
                os.killpg(process.pid, signal.SIGKILL)
                raise
        seconds = time.perf_counter() - started
        if ended == DONE and code:
            # The kernel's own killer ends a process with SIGKILL, and nothing is left on stderr.
            ended = OUT_OF_MEMORY if code == -signal.SIGKILL else FAILED
        lines = errors.read_text(errors="replace").strip().splitlines()
        reason = {
            DONE: "",
            TIMED_OUT: f"after {limit_seconds:,.0f} s",
            OUT_OF_MEMORY: f"at {max(family, largest) / 1e9:.1f} GB",
            FAILED: FOLDERS.sub("", lines[-1]) if lines else f"exit code {code}",
        }[ended]
        return Outcome(ended, round(seconds, 3), max(family, largest), read_steps(told), reason)


def _watch(process: subprocess.Popen[bytes], until: float) -> tuple[str, int, int, int]:
    """How it ended, its exit code, the most memory of its family seen, and of the largest process by the kernel's count."""
    ended, family = DONE, 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return ended, process.returncode, family, usage.ru_maxrss * RSS_UNIT
        family = max(family, _family_bytes(process.pid))
        if ended == DONE and (time.perf_counter() > until or _free_bytes() < LEAST_FREE_BYTES):
            ended = TIMED_OUT if time.perf_counter() > until else OUT_OF_MEMORY
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(LOOK_EVERY)


def _family_bytes(group: int) -> int:
    """Proportional memory of the processes of a group where there are several; 0 for one, which the kernel counts better."""
    if sys.platform != "linux":
        return 0
    members = [path for path in Path("/proc").glob("[0-9]*") if _group_of(path) == group]
    return sum(_proportional_bytes(path) for path in members) if len(members) > 1 else 0


def _group_of(path: Path) -> int:
    try:
        # The name in brackets may hold blanks; the process group is the third field after it.
        return int((path / "stat").read_text().rpartition(")")[2].split()[2])
    except OSError:
        return -1


def _proportional_bytes(path: Path) -> int:
    """Its own pages and its share of those that processes have in common."""
    try:
        lines = (path / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _free_bytes() -> int:
    if sys.platform != "linux":
        return sys.maxsize
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
