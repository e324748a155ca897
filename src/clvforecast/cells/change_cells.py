"""Changes of MRR at renewal, counted: directions, exact sums of sizes in coarse cells, and renewals of amended terms as rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.change import FLAT_SIDE, UP, Changes, Renewals, changes, observed_renewals
from clvforecast.cells.coarse import (
    MOMENT_OF_TERM,
    MOMENTS,
    coarser,
    is_too_fine,
    means_and_scatter,
    meshed,
    moment_terms,
)
from clvforecast.cells.counts import Counted, Counts, counted_of, tallied
from clvforecast.cells.exact import Totals, exact_sums, rounded, totals
from clvforecast.cells.frame import Frame
from clvforecast.cells.groups import distinct, line_levels, numbers_of
from clvforecast.cells.records import ChangeCells
from clvforecast.histories import Histories
from clvforecast.histories.keys import in_order_of_keys
from clvforecast.histories.runs import run_starts

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

MOST_AMENDED_ROWS = 3_000
"""Renewals of amended terms that are kept as rows; above, those of a random sample of lines."""
GROUPS, DIRECTIONS, SIZES, AMENDED = "change: groups", "change: directions", "change: sizes", "change: amended"
SUMS = (*MOMENTS, "y", "xy", "ty", "yy")
"""Sums over the sizes of a coarse cell."""
ROW_INTEGERS = ("row", "down_flat_up_0", "down_flat_up_1")
ROW_FLOATS = ("log_term", "y_0", "y_1", "x_0", "x_1", "log_jac_0", "log_jac_1")


def change_counts(histories: Histories, frame: Frame) -> Counts:
    """All observed renewals by their groups, the levels and the size class of the ended term.

    Renewals by (group, amended, capped); of terms without a net amendment, by (group, row, direction), and the exact sums of
    their sizes by (mesh, group, side, i, j, limb) (`coarse`); of amended terms, rows that begin with the line's key.
    """
    renewals = observed_renewals(histories)
    levels = line_levels(histories, frame)[renewals.line]
    groups, group = distinct(np.column_stack([levels, frame.size_class_of(renewals.size)]).astype(np.int64))
    side = changes(renewals.mrr, renewals.carried[:, 0], renewals.past, frame.max_ratio)
    plain = ~renewals.amended
    counts = {
        **_kind_counts(groups, group, renewals, side),
        SIZES: _size_sums(groups, group, renewals, side, np.flatnonzero(plain & (side.direction != FLAT_SIDE))),
        AMENDED: _amended_rows(histories, frame, groups[group], renewals),
    }
    return narrowed_changes(counts)


def _kind_counts(groups: Longs, group: Longs, renewals: Renewals, side: Changes) -> Counts:
    """Renewals by (group, amended, capped), and those of terms without a net amendment by (group, row, direction)."""
    keys, numbers = tallied(np.column_stack([group, renewals.row, side.direction, renewals.amended, side.capped]))
    keys, amended = np.column_stack([groups[keys[:, 0]], keys[:, 1:]]), keys[:, -2] == 1
    kinds = np.column_stack([keys[:, :-4], amended, (keys[:, -1] == 1) & ~amended])
    return {GROUPS: tallied(kinds, numbers), DIRECTIONS: tallied(keys[~amended, :-2], numbers[~amended])}


def _size_sums(groups: Longs, group: Longs, renewals: Renewals, side: Changes, moved: Longs) -> Counted:
    X = np.column_stack([np.ones(len(moved)), -side.x[moved], renewals.log_term[moved]])
    y = side.y[moved]
    keys, cell = meshed(np.column_stack([group[moved], side.direction[moved] == UP]).astype(np.int64), X)

    def terms(rows: Longs) -> Floats:
        of_y = X[rows] * y[rows, None]
        return np.column_stack([moment_terms(X[rows]), of_y, y[rows] * y[rows]])

    sums = exact_sums(cell, terms, sum_of=(*MOMENT_OF_TERM, 6, 7, 8, 9))
    cells = np.column_stack([keys[:, 0], groups[keys[:, 1]], keys[:, 2:]])  # in the same order
    return Counted(np.column_stack([cells[sums.keys[:, 0]], sums.keys[:, 1]]), sums.numbers)


def _amended_rows(histories: Histories, frame: Frame, groups: Longs, renewals: Renewals) -> Counted:
    """Of the lines with the smallest keys: (key, place in the line, group, `ROW_INTEGERS`, bits of `ROW_FLOATS`)."""
    rows = np.flatnonzero(renewals.amended)
    if not len(rows):
        return tallied(np.empty((0, _row_width(groups.shape[1])), dtype=np.int64))
    keys = in_order_of_keys(histories.line_keys)[renewals.line[rows]]
    first = np.lexsort((renewals.place[rows], keys))[:MOST_AMENDED_ROWS]
    rows, keys = rows[first], keys[first]
    sides = [
        changes(renewals.mrr[rows], renewals.carried[rows, i], renewals.past[rows], frame.max_ratio) for i in (0, 1)
    ]
    of_sides = [getattr(side, name) for name in ("y", "x", "log_jac") for side in sides]
    bits = np.column_stack([renewals.log_term[rows], *of_sides]).view(np.int64)
    whole = np.column_stack([renewals.row[rows], *(side.direction for side in sides)])
    return tallied(np.column_stack([keys, renewals.place[rows], groups[rows], whole, bits]))


def _row_width(n_levels: int) -> int:
    return 2 + n_levels + len(ROW_INTEGERS) + len(ROW_FLOATS)


def narrowed_changes(counts: Counts) -> Counts:
    """The counts with sizes in the finest mesh that gives few enough cells, and no more amended rows than are kept."""
    counts = dict(counts)
    if AMENDED in counts:
        counts[AMENDED] = Counted(*(part[:MOST_AMENDED_ROWS] for part in counts[AMENDED]))
    if SIZES in counts and len(counts[SIZES].keys):
        counts[SIZES] = _narrowed_sizes(counts[SIZES])
    return counts


def _narrowed_sizes(sums: Counted) -> Counted:
    """The same sums in one mesh. A mesh that is too fine for a part is so for the whole: parts never lead to another one."""
    mesh = int(sums.keys[:, 0].max())
    sums = _in_mesh(sums, mesh)
    while is_too_fine(mesh, _size_of(sums)):
        mesh += 1
        sums = _in_mesh(sums, mesh)
    return sums


def _in_mesh(sums: Counted, mesh: int) -> Counted:
    return tallied(np.column_stack([coarser(sums.keys[:, :-1], mesh), sums.keys[:, -1]]), sums.numbers)


def _size_of(sums: Counted) -> int:
    """Cells, or in mesh 0 rows: what `is_too_fine` goes by."""
    if sums.keys[0, 0]:
        return len(run_starts(*sums.keys[:, :-1].T))
    return int(rounded(totals(sums)[1][:, 0]).sum())


def change_cells(counts: Counts, frame: Frame) -> ChangeCells:
    """Change cells, from what `change_counts` found in all parts."""
    n = len(frame.segments) + 1
    kinds = counted_of(counts, GROUPS, n + 2)
    groups, _ = distinct(kinds.keys[:, :n])
    amended, capped = kinds.keys[:, n] == 1, kinds.keys[:, n + 1] == 1
    return ChangeCells(
        group_levels=groups[:, :-1].astype(np.int32),
        group_size=groups[:, -1].astype(np.int32),
        **_direction_cells(counted_of(counts, DIRECTIONS, n + 2), groups),
        **_size_cells(counted_of(counts, SIZES, n + 5, len(SUMS)), groups),
        **_rows(counted_of(counts, AMENDED, _row_width(n)).keys, groups),
        n_amended=int(kinds.numbers[amended].sum()),
        n_capped=int(kinds.numbers[capped].sum()),
    )


def _direction_cells(directions: Counted, groups: Longs) -> dict[str, NDArray[Any]]:
    """Distinct (group, row), and how many went down, stayed flat, and went up."""
    keys = directions.keys
    cells, cell = distinct(np.column_stack([numbers_of(groups, keys[:, :-2]), keys[:, -2]]))
    counts = np.zeros((len(cells), 3), dtype=np.int64)
    counts[cell, keys[:, -1]] = directions.numbers[:, 0]
    return {
        "direction_group": cells[:, 0].astype(np.int32),
        "direction_row": cells[:, 1].astype(np.int8),
        "direction_counts": counts,
    }


def _size_cells(sums: Counted, groups: Longs) -> dict[str, NDArray[Any]]:
    """The coarse cells, and the sums over all of a (group, side 0 down / 1 up)."""
    keys, of_cells = totals(sums)
    group, side = numbers_of(groups, keys[:, 1:-3]), keys[:, -3]
    n, features, scatter = means_and_scatter(of_cells)
    starts = run_starts(group, side)
    of_sides: Totals = np.add.reduceat(of_cells, starts, axis=0) if len(starts) else of_cells
    N, x, t, xx, xt, tt, y, xy, ty, yy = map(rounded, of_sides.T)
    return {
        "size_group": group[starts].astype(np.int32),
        "size_side": side[starts].astype(np.int8),
        "size_n": N.astype(np.int64),
        "size_xx": np.stack([N, x, t, x, xx, xt, t, xt, tt], axis=1).reshape(-1, 3, 3),
        "size_xy": np.stack([y, xy, ty], axis=1),
        "size_yy": yy,
        "beyond_group": group.astype(np.int32),
        "beyond_side": side.astype(np.int8),
        "beyond_n": n,
        "beyond_features": features,
        "beyond_scatter": scatter,
    }


def _rows(keys: Longs, groups: Longs) -> dict[str, NDArray[Any]]:
    """Amended renewals in the order of their lines' keys, and of their place in the line."""
    n = groups.shape[1]
    row, *directions = keys[:, 2 + n : -len(ROW_FLOATS)].astype(np.int8).T
    log_term, *rest = np.ascontiguousarray(keys[:, -len(ROW_FLOATS) :]).view(np.float64).T
    y, x, log_jac = (np.stack(rest[i : i + 2], axis=1) for i in (0, 2, 4))
    return {
        "amended_group": numbers_of(groups, keys[:, 2 : 2 + n]).astype(np.int32),
        "amended_row": np.ascontiguousarray(row),
        "amended_logterm": np.ascontiguousarray(log_term),
        "amended_direction": np.stack(directions, axis=1),
        "amended_y": y,
        "amended_x": x,
        "amended_log_jac": log_jac,
    }
