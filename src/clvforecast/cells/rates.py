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

RATE = "rate: "
DAYS_PER_YEAR = 365.25
HALF_MONTHS_PER_YEAR = 24


def rate_counts(histories: Histories, frame: Frame) -> Counts:
    """Lines by (levels, size class, half months of exposure, events) of every kind.

    Four events and termination go by active days, reactivation by lapsed ones.
    """
    levels = line_levels(histories, frame)
    sizes = line_size_classes(histories, frame)
    events = line_event_counts(histories)
    active = values(histories.lines, "active_days")
    counts = {kind: _line_counts(levels, sizes, active, events[:, i]) for i, kind in enumerate(EVENT_KINDS)}
    lapsed, returns = established_lapses(histories, frame)
    counts["reactivation"] = _line_counts(levels, np.full(len(levels), -1, dtype=np.int32), lapsed, returns)
    counts["termination"] = _line_counts(levels, sizes, active, values(histories.lines, "n_terminations"))
    return {f"{RATE}{kind}": counted for kind, counted in counts.items()}


def _line_counts(levels: Ints, sizes: Ints, exposed_days: Longs, n_events: Longs) -> Counted:
    """Exposure counts to half a month. Lines without exposure and events say nothing."""
    seen = (exposed_days > 0) | (n_events > 0)
    half_months = np.rint(exposed_days[seen] / DAYS_PER_YEAR * HALF_MONTHS_PER_YEAR).astype(np.int64)
    return tallied(np.column_stack([levels[seen], sizes[seen], np.maximum(half_months, 1), n_events[seen]]))


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
    width = len(frame.segments) + 3
    return {kind: _cells_of(kind, *counted_of(counts, f"{RATE}{kind}", width)) for kind in RATE_KINDS}


def _cells_of(kind: str, keys: Longs, numbers: Longs) -> RateCells:
    """Lines by (group, exposure), and those with events by how many they have."""
    n, lines = keys[:, -1], numbers[:, 0]
    groups, group = distinct(keys[:, :-2])
    cells, cell = distinct(np.column_stack([group, keys[:, -2]]))
    n_lines, n_events = (np.zeros(len(cells), dtype=np.int64) for _ in range(2))
    np.add.at(n_lines, cell, lines)
    np.add.at(n_events, cell, lines * n)
    histogram = tallied(n[n > 0], numbers[n > 0])
    return RateCells(
        kind=kind,
        group_levels=groups[:, :-1].astype(np.int32),
        group_size=groups[:, -1].astype(np.int32),
        group=cells[:, 0].astype(np.int32),
        exposure=cells[:, 1] / HALF_MONTHS_PER_YEAR,
        n_lines=n_lines,
        n_events=n_events,
        hist_n=histogram.keys[:, 0].astype(np.int32),
        hist_count=histogram.numbers[:, 0],
    )
