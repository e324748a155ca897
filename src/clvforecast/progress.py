"""What is being done, said on stderr while it is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]
DONE = ": done"


@contextmanager
def announcing(progress: bool) -> Iterator[Say]:
    """A function that shows what is being done; silent without `progress`.

    Messages are ``what`` or ``part: what``; ``part: done`` ends a part. On a terminal one line turns while things go on, and
    shows all parts that are not done; in a notebook, a file or a pipe every message is a line.
    """
    if not progress:
        yield lambda message: None
    elif sys.stderr.isatty():
        with _turning() as say:
            yield say
    else:
        yield _print_line


def _print_line(message: str) -> None:
    if not message.endswith(DONE):
        print(message, file=sys.stderr, flush=True)


@contextmanager
def _turning() -> Iterator[Say]:
    from rich.console import Console  # not needed where nothing is shown
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    going_on: dict[str, str] = {}

    def say(message: str) -> None:
        part = message.partition(": ")[0] if ": " in message else ""
        going_on.pop("", None)
        if message.endswith(DONE):
            going_on.pop(part, None)
        else:
            going_on[part] = message
        display.update(task, description="; ".join(going_on.values()))

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task("", total=None)
        yield say
