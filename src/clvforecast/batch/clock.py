"""How long the steps of a run take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass
class Clock:
    """Seconds by step, and all of them since the clock was made."""

    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    started_at: str = field(default_factory=lambda: now())

    @contextmanager
    def timing(self, step: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - begun

    @property
    def total(self) -> float:
        return time.perf_counter() - self.started

    def rounded(self) -> dict[str, float]:
        return {**{step: round(seconds, 3) for step, seconds in self.seconds.items()}, "total": round(self.total, 3)}


def utc(seconds: float) -> str:
    """A moment in seconds since 1970 as UTC, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def now() -> str:
    """UTC, ISO 8601, so fine that runs one after the other have an order."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
