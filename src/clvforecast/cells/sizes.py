"""Event sizes y reduced to what a normal model with a line effect needs: means and sums of squares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.counts import Counted, Counts, counted_of, so_many, total_of
from clvforecast.cells.exact import UNIT, exact_sums, product, rounded, totals
from clvforecast.cells.frame import Frame
from clvforecast.cells.groups import distinct, line_levels, line_size_classes
from clvforecast.cells.records import SIZE_KINDS, SizeCells
from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values
from clvforecast.histories.runs import run_lengths, run_starts, run_sums

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
Ints = NDArray[np.int32]

SIZE = "size: "
CLIPPED = "clipped contractions"


def size_counts(histories: Histories, frame: Frame) -> Counts:
    """Exact sums over units (lines, or single returns) by (levels, size class, n) of every kind."""
    levels = line_levels(histories, frame)
    sizes = line_size_classes(histories, frame)
    counts: Counts = {}
    for kind, table in (
        ("expansion", histories.amendments),
        ("contraction", histories.amendments),
        ("change_order", histories.one_offs),
        ("referral", histories.one_offs),
    ):
        rows = is_text(table, "kind", kind)
        order = np.argsort(values(table, "line")[rows], kind="stable")
        line, y = values(table, "line")[rows][order], values(table, "y")[rows][order]
        counts[f"{SIZE}{kind}"] = _unit_sums(levels, sizes, line, run_starts(line), y)
    line, y = return_values(histories)
    no_size = np.full(len(levels), -1, dtype=np.int32)
    counts[f"{SIZE}return_value"] = _unit_sums(levels, no_size, line, np.arange(len(line)), y)
    clipped = values(histories.amendments, "clipped") & is_text(histories.amendments, "kind", "contraction")
    return counts | {CLIPPED: so_many(int(clipped.sum()))}


def return_values(histories: Histories) -> tuple[Longs, Floats]:
    """Line and y = log(MRR of the new spell / MRR of the last term before the lapse) of every return."""
    terms = histories.terms
    mrr = values(terms, "mrr")
    new = np.flatnonzero((values(terms, "k") == 1) & (values(terms, "spell") > 0))
    return values(terms, "line")[new], np.log(mrr[new] / mrr[new - 1])


def _unit_sums(levels: Ints, sizes: Ints, line: Longs, starts: Longs, y: Floats) -> Counted:
    """Of events ordered by line, the sums that `SizeCells` need; `starts` are the first rows of the units.

    1, Σ_j (y_ij - ȳ_i)², ȳ_i and ȳ_i², the last with what is rounded off.
    """
    n = run_lengths(starts, len(y))
    mean = run_sums(y, starts) / np.maximum(n, 1)
    squares = run_sums((y - np.repeat(mean, n)) ** 2, starts)
    keys, cell = distinct(np.column_stack([levels[line[starts]], sizes[line[starts]], n]).astype(np.int64))

    def terms(units: Longs) -> Floats:
        return np.column_stack([np.ones(len(units)), squares[units], mean[units], *product(mean[units], mean[units])])

    sums = exact_sums(cell, terms, sum_of=(0, 1, 2, 3, 3))
    return Counted(np.column_stack([keys[sums.keys[:, 0]], sums.keys[:, 1]]), sums.numbers)


def size_cells(counts: Counts, frame: Frame) -> dict[str, SizeCells]:
    """Size cells of every kind, from what `size_counts` found in all parts."""
    width = len(frame.segments) + 3
    n_clipped = total_of(counts, CLIPPED)
    return {
        kind: _cells_of(kind, counted_of(counts, f"{SIZE}{kind}", width, 4), n_clipped if kind == "contraction" else 0)
        for kind in SIZE_KINDS
    }


def _cells_of(kind: str, sums: Counted, n_clipped: int) -> SizeCells:
    """W = Σ_i Σ_j (y_ij - ȳ_i)²,  M = Σ_i ȳ_i / N,  C = Σ_i ȳ_i² - (Σ_i ȳ_i)² / N,  over the N units of a (group, n)."""
    keys, of_cells = totals(sums)
    N, W, S1, S2 = of_cells.T
    groups, group = distinct(keys[:, :-1])
    return SizeCells(
        kind=kind,
        group_levels=groups[:, :-1].astype(np.int32),
        group_size=groups[:, -1].astype(np.int32),
        group=group.astype(np.int32),
        n=keys[:, -1].astype(np.int32),
        n_lines=(N // UNIT).astype(np.int64),
        within=rounded(W),
        mean=rounded(S1, N),
        between=rounded(S2 * N - S1 * S1, N * UNIT),
        n_clipped=n_clipped,
    )
