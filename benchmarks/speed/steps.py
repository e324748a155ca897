"""What a measured process tells of itself: one line of JSON a step, written as soon as the step is done.

So that a process that is stopped in its third step still tells of its first two. Standard library only: the other packages'
environment imports this too.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# getrusage counts kibibytes on Linux, bytes on macOS.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Steps:
    """Writes the steps of this process to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Time what is inside; figures put into the dict are written with it."""
        figures: dict[str, Any] = {}
        started, busy = time.perf_counter(), _processor_seconds()
        yield figures
        seconds, processor = time.perf_counter() - started, _processor_seconds() - busy
        self.tell(name, seconds=round(seconds, 4), processor_seconds=round(processor, 4), **figures)

    def tell(self, name: str, **figures: Any) -> None:
        """Figures of a step, with the most memory this process has held so far."""
        line = {"step": name, **figures, "peak_bytes_so_far": peak_bytes()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_steps(path: Path) -> list[dict[str, Any]]:
    """The steps told so far."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def peak_bytes() -> int:
    """The largest resident set of this process until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
