"""One process at a time: a lock that a process which is killed gives back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clvforecast.errors import BatchError

PAUSE_SECONDS = 0.1


@contextmanager
def alone(path: Path, wait_seconds: float) -> Iterator[None]:
    """Hold the lock file of `path`, an empty hidden file beside it that stays there.

    Raises BatchError when another process, or another thread of this one, holds it for all of ``wait_seconds``.
    """
    until = time.monotonic() + wait_seconds
    with open(path.with_name(f".{path.name}.lock"), "ab") as file:
        while not _locked(file.fileno()):
            if time.monotonic() >= until:
                raise BatchError(
                    f"{path}: another process has been publishing to it for {wait_seconds:,.0f} seconds. Wait for its end, or "
                    "end it, and publish again."
                )
            time.sleep(PAUSE_SECONDS)
        yield  # closing the file gives the lock back


def _locked(descriptor: int) -> bool:
    """Whether the lock was free, and now is ours."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except (BlockingIOError, PermissionError):
        return False
    return True
