"""Churn events: the term each one ends, and which of them decide anything.

A churn falls in the line's latest term that started before its effective day (or else the first term). Where
renewals that follow on were booked before the notice, it undoes them: it ends the last of them, on its start
if need be.
Of several churns of one term the earliest early one decides, or else the earliest told notice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.histories.engine import text_ranks, values, with_columns
from clvforecast.histories.runs import last_before, run_starts

Longs = NDArray[np.int64]

TERMINATED, NOTIFIED, SUPERSEDED = "terminated", "notified", "superseded"


@dataclass(frozen=True)
class TermArrays:
    """Terms ordered by (line, start_day, booked_day, event_id), as arrays of days."""

    line: Longs
    start_day: Longs
    end_day: Longs
    booked_day: Longs
    grace: Longs

    @property
    def next_in_line(self) -> NDArray[np.bool_]:
        """Whether the next row is the line's next term."""
        return np.append(self.line[1:] == self.line[:-1], False)

    @property
    def follows(self) -> NDArray[np.bool_]:
        """Whether the next row is a term that starts at this one's end or within its grace."""
        gap = np.append(self.start_day[1:], 0) - self.end_day
        return np.asarray(self.next_in_line & (gap >= 0) & (gap <= self.grace))


def attach_churns(churns: pa.Table, terms: TermArrays) -> pa.Table:
    """Churn events with `term`, `effective_day` (never before the term's start) and `deciding`, in order of
    term.

    `churns` has event_id, line, day, booked_day; every line has a term.
    """
    line, day, booked_day = (values(churns, name) for name in ("line", "day", "booked_day"))
    first_term = np.searchsorted(terms.line, line)
    covering = last_before(terms.line, terms.start_day, line, day, inclusive=False)
    term = _last_booked_before(terms, np.where(covering >= 0, covering, first_term), booked_day)
    effective_day = np.maximum(day, terms.start_day[term])
    early = effective_day < terms.end_day[term]
    order = np.lexsort(
        (text_ranks(churns["event_id"]), booked_day, np.where(early, effective_day, booked_day), ~early, term)
    )
    attached = with_columns(churns, term=term, effective_day=effective_day, early=early).take(pa.array(order))
    deciding = np.zeros(len(order), dtype=bool)
    deciding[run_starts(term[order])] = True
    return with_columns(attached, deciding=deciding)


def _last_booked_before(terms: TermArrays, term: Longs, booked_day: Longs) -> Longs:
    """The last of the terms that follow on from each `term` and were booked before `booked_day`."""
    term = term.copy()
    follows = terms.follows
    moving = np.arange(len(term))
    while len(moving):
        here = term[moving]
        step = follows[here] & (terms.booked_day[np.minimum(here + 1, len(follows) - 1)] < booked_day[moving])
        moving = moving[step]
        term[moving] += 1
    return term


def link_ends(terms: TermArrays, churns: pa.Table) -> Longs:
    """The day a gap counts from: the term's end, or the effective day of the churn that ends it early."""
    ends = terms.end_day.copy()
    early = values(churns, "deciding") & values(churns, "early")
    ends[values(churns, "term")[early]] = values(churns, "effective_day")[early]
    return ends


def churn_roles(churns: pa.Table, renewed: NDArray[np.bool_]) -> pa.Table:
    """Churns with `role`: superseded when the term was renewed after all, or another churn of it decides."""
    counts = values(churns, "deciding") & ~renewed[values(churns, "term")]
    told = np.where(values(churns, "early"), TERMINATED, NOTIFIED)
    return with_columns(churns, role=pa.array(np.where(counts, told, SUPERSEDED), pa.string()))
