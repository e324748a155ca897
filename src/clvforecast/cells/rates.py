"""Event counts against exposure, one record a kind; one unit is one line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.frame import Frame
from clvforecast.cells.groups import distinct, line_levels, line_size_classes
from clvforecast.cells.records import EVENT_KINDS, RateCells
from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values
from clvforecast.histories.runs import counted

Longs = NDArray[np.int64]

DAYS_PER_YEAR = 365.25
HALF_MONTHS_PER_YEAR = 24


def count_rates(histories: Histories, frame: Frame) -> dict[str, RateCells]:
    """Rate cells of every kind: four events and termination per active year, reactivation per lapsed year."""
    levels = line_levels(histories, frame)
    sizes = line_size_classes(histories, frame)
    events = line_event_counts(histories)
    active = values(histories.lines, "active_days")
    cells = {kind: rate_cells(kind, levels, sizes, active, events[:, i]) for i, kind in enumerate(EVENT_KINDS)}
    lapsed, returns = established_lapses(histories, frame)
    no_size = np.full(len(levels), -1, dtype=np.int32)
    cells["reactivation"] = rate_cells("reactivation", levels, no_size, lapsed, returns)
    ended = values(histories.lines, "n_terminations")
    cells["termination"] = rate_cells("termination", levels, sizes, active, ended)
    return cells


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


def rate_cells(
    kind: str, levels: NDArray[np.int32], sizes: NDArray[np.int32], exposed_days: Longs, n_events: Longs
) -> RateCells:
    """Lines counted by (group, exposure to half a month). Lines without exposure and events say nothing."""
    seen = (exposed_days > 0) | (n_events > 0)
    half_months = np.rint(exposed_days[seen] / DAYS_PER_YEAR * HALF_MONTHS_PER_YEAR).astype(np.int64)
    half_months = np.maximum(half_months, 1)
    n = n_events[seen]
    groups, group = distinct(np.column_stack([levels[seen], sizes[seen]]).astype(np.int64))
    cells, cell = distinct(np.column_stack([group, half_months]))
    events = np.zeros(len(cells), dtype=np.int64)
    np.add.at(events, cell, n)
    hist_n, hist_count = np.unique(n[n > 0], return_counts=True)
    return RateCells(
        kind=kind,
        group_levels=groups[:, :-1].astype(np.int32),
        group_size=groups[:, -1].astype(np.int32),
        group=cells[:, 0].astype(np.int32),
        exposure=cells[:, 1] / HALF_MONTHS_PER_YEAR,
        n_lines=counted(cell, len(cells)),
        n_events=events,
        hist_n=hist_n.astype(np.int32),
        hist_count=hist_count.astype(np.int64),
    )
