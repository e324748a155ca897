"""Which runs count: those that the current one was made after, and days that were filled in since.

A run notes at its making which one it comes after, the last that counted then. So the line of the current run says all by itself,
and going back and on again restores what was. Every other run had its place taken: its day was scored again with other data, or
an earlier run was gone back to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple


class Finished(NamedTuple):
    """What of a run says where it belongs; day and moment are ISO 8601.

    after: the run that it comes after, None for the first. is_backfill: whether a later day was current when it was made, so that
    it did not become that.
    """

    run_id: str
    day: str
    finished_at: str
    after: str | None
    is_backfill: bool

    @staticmethod
    def of(manifest: Mapping[str, Any]) -> Finished:
        names = ("run_id", "as_of", "finished_at", "after", "is_backfill")
        return Finished(*(manifest[name] for name in names))


@dataclass(frozen=True)
class Lineage:
    """All finished runs, and the current one; None where there is none."""

    runs: tuple[Finished, ...]
    current: str | None

    @cached_property
    def _known(self) -> dict[str, Finished]:
        return {run.run_id: run for run in sorted(self.runs, key=lambda run: (run.finished_at, run.run_id))}

    @cached_property
    def _counting(self) -> dict[str, Finished]:
        """Of each day the run that counts: of the current one's line and the backfills, the one that was finished last."""
        if self.current not in self._known:
            return {run.day: run for run in self._known.values()}
        shown = self._known[self.current]
        line = self._line_of(shown)
        counts = (run for run in self._known.values() if run.is_backfill or run.run_id in line)
        return {**{run.day: run for run in counts if run.day < shown.day}, shown.day: shown}

    def _line_of(self, run: Finished) -> set[str]:
        """A run and those that it comes after, one after the other."""
        line = {run.run_id}
        while (before := self._before(run)) is not None:
            line.add(before.run_id)
            run = before
        return line

    def _before(self, run: Finished) -> Finished | None:
        """The run that one comes after; where its manifest was deleted, the last of the earlier days that was there then."""
        if run.after is None or run.after in self._known:
            return self._known.get(run.after or "")
        there = (other for other in self.runs if other.day < run.day and other.finished_at < run.finished_at)
        return max(there, key=lambda other: (other.day, other.finished_at), default=None)

    def counts(self, run_id: str) -> bool:
        """Whether a run is finished and nothing took its place."""
        return run_id in self._known and run_id not in self.superseded

    @cached_property
    def superseded(self) -> dict[str, str]:
        """Of each run whose place another took, which one: that of its day, or else the last before it."""
        counting, found = self._counting, {}
        for run in self.runs:
            if counting.get(run.day) != run:
                day = max((day for day in counting if day <= run.day), default=max(counting))
                found[run.run_id] = counting[day].run_id
        return found

    @property
    def places(self) -> dict[str, str | None]:
        """Of each run the one that took its place, None where none did: what databases are told."""
        return {run.run_id: self.superseded.get(run.run_id) for run in self.runs}

    def after(self, day: str) -> str | None:
        """What a run of that day comes after."""
        before = max((known for known in self._counting if known < day), default=None)
        return None if before is None else self._counting[before].run_id

    def becomes_current(self, day: str) -> bool:
        """Whether a run of that day is what readers shall see: not where the current one knows a later day."""
        return self.current not in self._known or self._known[self.current].day <= day

    def with_run(self, run_id: str, day: str, finished_at: str) -> Lineage:
        """With one more run, which is the current one unless that knows a later day."""
        is_backfill = not self.becomes_current(day)
        run = Finished(run_id, day, finished_at, self.after(day), is_backfill)
        return Lineage((*self.runs, run), self.current if is_backfill else run_id)

    def shown(self, run_id: str) -> Lineage:
        """With another current run."""
        return replace(self, current=run_id)
