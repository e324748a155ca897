"""Event counts against exposure, one record a kind; one unit is one line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.counts import Counted, Counts, counted_of, tallied
from clvforecast.cells.frame import Frame
from clvforecast.cells.groups import distinct, line_levels, line_size_classes
from clvforecast.cells.records import EVENT_KINDS, RATE_KINDS, RateCells
from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values
from clvforecast.histories.runs import counted

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

RATE, HISTOGRAM = "rate: ", "events a line: "
DAYS_PER_YEAR = 365.25
HALF_MONTHS_PER_YEAR = 24


def rate_counts(histories: Histories, frame: Frame) -> Counts:
    """Of every kind, lines and their events by (levels, size class, half months of exposure), and lines by their events.

    Four events and termination go by active days, reactivation by lapsed ones.
    """
    levels = line_levels(histories, frame)
    sizes = line_size_classes(histories, frame)
    events = line_event_counts(histories)
    active = values(histories.lines, "active_days")
    counts: Counts = {}
    for i, kind in enumerate(EVENT_KINDS):
        counts |= _line_counts(kind, levels, sizes, active, events[:, i])
    lapsed, returns = established_lapses(histories, frame)
    counts |= _line_counts("reactivation", levels, np.full(len(levels), -1, dtype=np.int32), lapsed, returns)
    return counts | _line_counts("termination", levels, sizes, active, values(histories.lines, "n_terminations"))


def _line_counts(kind: str, levels: Ints, sizes: Ints, exposed_days: Longs, n_events: Longs) -> Counts:
    """Exposure counts to half a month. Lines without exposure and events say nothing."""
    seen = (exposed_days > 0) | (n_events > 0)
    half_months = np.rint(exposed_days[seen] / DAYS_PER_YEAR * HALF_MONTHS_PER_YEAR).astype(np.int64)
    keys, n = np.column_stack([levels[seen], sizes[seen], np.maximum(half_months, 1)]), n_events[seen]
    return {
        f"{RATE}{kind}": tallied(keys, np.column_stack([np.ones(len(n), dtype=np.int64), n])),
        f"{HISTOGRAM}{kind}": tallied(n[n > 0]),
    }


def line_event_counts(histories: Histories) -> Longs:
    """int64[L, 4]: expansions, contractions, change orders and referrals of every line."""
    n = histories.lines.num_rows
    tables = (histories.amendments, histories.amendments, histories.one_offs, histories.one_offs)
    pairs = zip(EVENT_KINDS, tables, strict=True)
    counts = [counted(values(table, "line")[is_text(table, "kind", kind)], n) for kind, table in pairs]
    return np.stack(counts, axis=1)


def established_lapses(histories: Histories, frame: Frame) -> tuple[Longs, Longs]:
    """Lapsed days (after grace) and returns of every line, over lapses that are certain.

    A lapse is certain when a churn says so, or d is past every lag a renewal was booked with. A young lapse that has
    already returned does not count: chosen by its outcome, it would make returns look quicker than they are.
    """
    decisions = histories.decisions
    returned = values(decisions, "returned")
    told = is_text(decisions, "outcome", "notified") | is_text(decisions, "outcome", "terminated")
    overdue = is_text(decisions, "outcome", "open") & (values(decisions, "d") > frame.lag_edges[-1])
    certain = told | overdue
    n, line = histories.lines.num_rows, values(decisions, "line")
    lapsed = np.zeros(n, dtype=np.int64)
    np.add.at(lapsed, line[certain], values(decisions, "lapsed_days")[certain])
    return lapsed, counted(line[certain & returned], n)


def rate_cells(counts: Counts, frame: Frame) -> dict[str, RateCells]:
    """Rate cells of every kind, from what `rate_counts` found in all parts."""
    width = len(frame.segments) + 2
    return {
        kind: _cells_of(
            kind, counted_of(counts, f"{RATE}{kind}", width, 2), counted_of(counts, f"{HISTOGRAM}{kind}", 1)
        )
        for kind in RATE_KINDS
    }


def _cells_of(kind: str, lines: Counted, histogram: Counted) -> RateCells:
    """Lines by (group, exposure), and those with events by how many they have."""
    groups, group = distinct(lines.keys[:, :-1])
    return RateCells(
        kind=kind,
        group_levels=groups[:, :-1].astype(np.int32),
        group_size=groups[:, -1].astype(np.int32),
        group=group.astype(np.int32),
        exposure=lines.keys[:, -1] / HALF_MONTHS_PER_YEAR,
        n_lines=lines.numbers[:, 0].copy(),
        n_events=lines.numbers[:, 1].copy(),
        hist_n=histogram.keys[:, 0].astype(np.int32),
        hist_count=histogram.numbers[:, 0],
    )
