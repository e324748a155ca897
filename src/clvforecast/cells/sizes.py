"""Event sizes y reduced to what a normal model with a line effect needs: means and sums of squares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.frame import Frame
from clvforecast.cells.groups import distinct, line_levels, line_size_classes
from clvforecast.cells.records import SizeCells
from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values
from clvforecast.histories.runs import counted, run_lengths, run_starts, run_sums

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
Ints = NDArray[np.int32]


def count_sizes(histories: Histories, frame: Frame) -> dict[str, SizeCells]:
    """Size cells of every kind."""
    levels = line_levels(histories, frame)
    sizes = line_size_classes(histories, frame)
    cells = {}
    for kind, table in (
        ("expansion", histories.amendments),
        ("contraction", histories.amendments),
        ("change_order", histories.one_offs),
        ("referral", histories.one_offs),
    ):
        rows = is_text(table, "kind", kind)
        order = np.argsort(values(table, "line")[rows], kind="stable")
        line, y = values(table, "line")[rows][order], values(table, "y")[rows][order]
        n_clipped = int(values(table, "clipped")[rows].sum()) if kind == "contraction" else 0
        cells[kind] = size_cells(kind, levels, sizes, line, run_starts(line), y, n_clipped)
    line, y = return_values(histories)
    no_size = np.full(len(levels), -1, dtype=np.int32)
    cells["return_value"] = size_cells("return_value", levels, no_size, line, np.arange(len(line)), y)
    return cells


def return_values(histories: Histories) -> tuple[Longs, Floats]:
    """Line and y = log(MRR of the new spell / MRR of the last term before the lapse) of every return."""
    terms = histories.terms
    mrr = values(terms, "mrr")
    new = np.flatnonzero((values(terms, "k") == 1) & (values(terms, "spell") > 0))
    return values(terms, "line")[new], np.log(mrr[new] / mrr[new - 1])


def size_cells(
    kind: str, levels: Ints, sizes: Ints, line: Longs, starts: Longs, y: Floats, n_clipped: int = 0
) -> SizeCells:
    """Cells of events ordered by line; `starts` are the first rows of the units (lines, or single returns).

    W = Σ_i Σ_j (y_ij - ȳ_i)²,  M = mean of the ȳ_i,  C = Σ_i (ȳ_i - M)²,  over the N units of a (group, n).
    """
    n = run_lengths(starts, len(y))
    mean = run_sums(y, starts) / np.maximum(n, 1)
    squares = run_sums((y - np.repeat(mean, n)) ** 2, starts)
    unit_line = line[starts]
    keys = np.column_stack([levels[unit_line], sizes[unit_line]]).astype(np.int64)
    groups, group = distinct(keys)
    cells, cell = distinct(np.column_stack([group, n]))
    # sorted by cell with lines in order, so that sums are the same bytes whatever the order of the input
    order = np.argsort(cell, kind="stable")
    first = run_starts(cell[order])
    n_units = counted(cell, len(cells))
    M = run_sums(mean[order], first) / np.maximum(n_units, 1)
    return SizeCells(
        kind=kind,
        group_levels=groups[:, :-1].astype(np.int32),
        group_size=groups[:, -1].astype(np.int32),
        group=cells[:, 0].astype(np.int32),
        n=cells[:, 1].astype(np.int32),
        n_lines=n_units,
        within=run_sums(squares[order], first),
        mean=M,
        between=run_sums((mean[order] - np.repeat(M, n_units)) ** 2, first),
        n_clipped=n_clipped,
    )
