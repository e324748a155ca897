"""Measure what is not known yet, print it, keep it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speed.children import DONE, OUT_OF_MEMORY, SKIPPED, TIMED_OUT, Outcome, run_child
from speed.store import Record, Store


@dataclass
class Bench:
    """One run: where results are kept, what they belong to, where files lie, and the limit of every measured process."""

    store: Store
    origin: Record
    work: Path
    limit_seconds: float
    stopped: dict[str, str] = field(default_factory=dict)
    """Series -> why no larger size of it is tried."""

    def measure(
        self,
        series: str,
        accounts: int,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        source: str | None = None,
    ) -> Record:
        """The record of a series at a size: kept, measured now, or skipped with its reason.

        `source` says what the record depends on where that is not this package's source.
        """
        key = f"{series} | {accounts}"
        origin = self.origin if source is None else {**self.origin, "source": source}
        limit = self.limit_seconds
        record = self.store.kept(key, origin, limit)
        if record is None:
            reason = self.stopped.get(series, "")
            outcome = Outcome(SKIPPED, 0.0, 0, [], reason) if reason else run_child(list(command), limit, environment)
            record = {**origin, "series": series, "accounts": accounts, **vars(outcome), "limit_seconds": limit}
            self.store.put(key, record)
        self._note(series, accounts, record, in_proportion=source is not None)
        print(line_of(record), flush=True)
        return record

    def is_kept(self, series: str, accounts: int) -> bool:
        """Whether `measure` would only look it up."""
        return self.store.kept(f"{series} | {accounts}", self.origin, self.limit_seconds) is not None

    def skip(self, series: str, accounts: int, reason: str) -> None:
        """Say, and keep, why a size of a series is not measured."""
        record = {**self.origin, "series": series, "accounts": accounts, **vars(Outcome(SKIPPED, 0.0, 0, [], reason))}
        self.store.put(f"{series} | {accounts}", record)
        print(line_of(record), flush=True)

    def add(self, record: Record, step: str, figures: Mapping[str, Any]) -> None:
        """Keep figures that were worked out after a process ended, as a step of its record."""
        record["steps"] = [told for told in record["steps"] if told["step"] != step] + [{"step": step, **figures}]
        self.store.put(f"{record['series']} | {record['accounts']}", record)

    def _note(self, series: str, accounts: int, record: Record, in_proportion: bool) -> None:
        """Larger sizes are not tried where this one was too much, or (other packages) in proportion the next one would be."""
        if record["ended"] in (TIMED_OUT, OUT_OF_MEMORY):
            self.stopped[series] = f"{accounts:,} accounts: {record['ended']} {record['reason']}"
        elif in_proportion and record["ended"] == DONE and 10 * work_seconds(record) > 1.5 * self.limit_seconds:
            self.stopped[series] = (
                f"{accounts:,} accounts took {work_seconds(record):,.0f} s, ten times that is too long"
            )


def step_of(record: Record, name: str) -> dict[str, Any]:
    """The figures of a step, empty where it was not reached."""
    return next((told for told in record["steps"] if told["step"] == name), {})


def work_seconds(record: Record) -> float:
    """Seconds of all timed steps but imports: what grows with the data."""
    return sum(told.get("seconds", 0.0) for told in record["steps"] if told["step"] != "import")


def line_of(record: Record) -> str:
    """One printed line: what, how many, how long by step, memory."""
    head = f"{record['series']:<44}{record['accounts']:>11,}"
    steps = ", ".join(f"{told['step']} {told['seconds']:,.1f}" for told in record["steps"] if "seconds" in told)
    if record["ended"] != DONE:
        return f"{head}  {record['ended']}: {record['reason']}" + (f" ({steps})" if steps else "")
    return f"{head}{record['seconds']:>9,.1f} s {record['peak_bytes'] / 1e9:>6.2f} GB  {steps}"
