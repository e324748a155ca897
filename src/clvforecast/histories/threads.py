"""Parts of a stage that do not need one another, side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AT_ONCE = 2
"""Threads: numpy, Arrow and DuckDB let go of the interpreter while they work; more would hold more memory."""


def together(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returns, in their order; of several that fail, the first one's error."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return [begun.result() for begun in [pool.submit(call) for call in calls]]
