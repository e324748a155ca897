"""What is being done, said on stderr while it is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Say = Callable[[str], None]
DONE = ": done"


@contextmanager
def announcing(progress: bool) -> Iterator[Say]:
    """A function that shows what is being done; silent without `progress`. Any thread may call it.

    Messages are ``what`` or ``part: what``; ``part: done`` ends a part. On a terminal one line turns while things go on, and
    shows all parts that are not done; in a notebook, a file or a pipe every message is a line.
    """
    if not progress:
        yield lambda message: None
        return
    from rich.console import Console  # not needed where nothing is shown

    console = Console(stderr=True) if getattr(sys.stderr, "isatty", None) else None
    if console is not None and sys.stderr.isatty() and console.is_interactive:
        with _turning(console) as say:
            yield say
    else:
        yield _print_line


def _print_line(message: str) -> None:
    """One write, so that lines of two threads stay apart. What runs does not fail because nobody listens any more."""
    if message.endswith(DONE) or sys.stderr is None:
        return
    try:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # a closed pipe or file
        return


@contextmanager
def _turning(console: Console) -> Iterator[Say]:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    going_on: dict[str, str] = {}
    lock = Lock()

    def say(message: str) -> None:
        part = message.partition(": ")[0] if ": " in message else ""
        with lock:
            going_on.pop("", None)
            if message.endswith(DONE):
                going_on.pop(part, None)
            else:
                going_on[part] = message
            display.update(task, description="; ".join(going_on.values()))

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("", total=None)
        yield say
