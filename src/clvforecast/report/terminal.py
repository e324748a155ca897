"""Tables and lines on a terminal; plain text where the output is a file or a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakSet

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 240
"""Columns of output that is no terminal: lines are then as long as they are."""
_BEGUN: WeakSet[Console] = WeakSet()
"""Consoles on which something stands already."""


def make_console(stderr: bool = False) -> Console:
    """Rich on a terminal; elsewhere no colour, no frames, and no wrapping."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def say(console: Console, text: str, style: str = "") -> None:
    """One paragraph, wrapped by the terminal; nothing in it is read as markup."""
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)
    _BEGUN.add(console)


def gap(console: Console) -> None:
    """A blank line between what stands above and what comes; none above the first line."""
    if console in _BEGUN:
        console.print()


def show_table(console: Console, title: str, rows: pd.DataFrame, left: Sequence[str] = ()) -> None:
    """A table of texts under a title; columns are right-aligned but those of `left`."""
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False, show_edge=False)
    for name in rows.columns:
        table.add_column(str(name), justify="left" if name in left else "right", overflow="fold")
    for row in rows.astype(str).itertuples(index=False, name=None):
        table.add_row(*(Text(value) for value in row))
    gap(console)
    say(console, title, "bold")
    if console.is_terminal:
        console.print(table)
    else:
        _print_plain(console, table)


def _print_plain(console: Console, table: Table) -> None:
    """Without the blanks that fill the last column."""
    with console.capture() as captured:
        console.print(table)
    say(console, "\n".join(line.rstrip() for line in captured.get().splitlines()))


@contextmanager
def working(console: Console, text: str, quiet: bool = False) -> Iterator[None]:
    """A spinner on a terminal while the block runs; elsewhere nothing."""
    if quiet or not console.is_terminal:
        yield
    else:
        with console.status(text):
            yield
