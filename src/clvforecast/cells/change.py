"""Changes of MRR at renewal: directions counted, sizes as sums of squares, amended terms as rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.frame import Frame
from clvforecast.cells.groups import distinct, line_levels
from clvforecast.cells.records import TERM_CHANGED, ChangeCells
from clvforecast.histories import Histories
from clvforecast.histories.engine import values
from clvforecast.histories.runs import counted, run_starts, run_sums
from clvforecast.histories.terms import FLAT, direction_codes

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

SMALLEST_CHANGE = float(np.log(np.expm1(FLAT)))
"""y at the edge of the flat band, log .01, of a raise and of a cut alike: what is smaller counts as flat."""
COARSE_WIDTHS = (0.25, 0.5, 1.0)
MOST_COARSE_CELLS = 1_500
"""log P(y > SMALLEST_CHANGE) bends little with X: it is taken at the mean X of coarse cells, with the term of second order in
their scatter. Their width is the first that gives so few, or else the last: then estimates stay within .05 of their standard
error of what every renewal on its own would give (100,000 of them, a tenth of the changes too small to be seen)."""
MOST_AMENDED_ROWS = 3_000
"""Renewals of amended terms that are kept as rows; above, a random sample of lines."""
TERM_CHANGE = 0.1
"""The term has changed when its months differ by more than this share of the ended term's."""
DOWN, FLAT_SIDE, UP = 0, 1, 2


@dataclass(frozen=True)
class Renewals:
    """Observed renewals, R of them: the line, the ended term's size (MRR with its amendments), row of the direction
    table, log term ratio, carried MRR for I = 0, 1 (R, 2), new MRR, Σ log M0 / n of the spell so far, and whether the
    ended term had a net amendment."""

    line: Longs
    size: Floats
    row: NDArray[np.int8]
    log_term: Floats
    carried: Floats
    mrr: Floats
    past: Floats
    amended: NDArray[np.bool_]


def observed_renewals(histories: Histories) -> Renewals:
    """Every renewal with what is known of the term it ends."""
    terms = histories.terms
    new = np.flatnonzero(values(terms, "k") > 1)
    old = new - 1
    months = values(terms, "months").astype(np.float64)
    changed = np.abs(months[new] - months[old]) > TERM_CHANGE * months[old]
    return Renewals(
        line=values(terms, "line")[new],
        size=values(terms, "size")[old],
        row=np.where(changed, TERM_CHANGED, values(terms, "prev")[old]).astype(np.int8),
        log_term=np.log(months[new] / months[old]),
        carried=np.stack([values(terms, "carried0")[old], values(terms, "carried1")[old]], axis=1),
        mrr=values(terms, "mrr")[new],
        past=values(terms, "log_mrr_sum")[old] / values(terms, "n")[old],
        amended=values(terms, "amend_cents")[old] != 0,
    )


@dataclass(frozen=True)
class Changes:
    """Changes against one carried MRR, each (R,): direction (0 down, 1 flat, 2 up), y, x, log|dy/d log r|."""

    direction: NDArray[np.int8]
    y: Floats
    x: Floats
    log_jac: Floats
    capped: NDArray[np.bool_]


def changes(mrr: Floats, carried: Floats, past: Floats, max_ratio: float) -> Changes:
    """The renewals' changes relative to `carried`.

    r = new M0 / carried;  x = log carried - mean log M0 of the spell so far
    up:   y = log(r - 1),            dy/d log r = r / (r - 1)
    down: y = logit(1 - r),         |dy/d log r| = 1 / (1 - r)
    flat: uniform over |log r| <= log 1.01
    """
    log_r = np.minimum(np.log(mrr / carried), np.log(max_ratio))
    direction = (direction_codes(log_r) - 1).astype(np.int8)
    moved = np.where(direction == FLAT_SIDE, 1.0, log_r)  # keeps the unused branches finite
    part = np.abs(np.expm1(moved))  # r - 1, or 1 - r
    y = np.where(direction == UP, np.log(part), np.log(part) - moved)
    log_jac = np.where(direction == UP, moved - np.log(part), -np.log(part))
    flat = direction == FLAT_SIDE
    return Changes(
        direction=direction,
        y=np.where(flat, 0.0, y),
        x=np.log(carried) - past,
        log_jac=np.where(flat, -np.log(2 * FLAT), log_jac),
        capped=np.log(mrr / carried) > np.log(max_ratio),
    )


def count_changes(histories: Histories, frame: Frame, max_rows: int = MOST_AMENDED_ROWS) -> ChangeCells:
    """Change cells of all observed renewals."""
    renewals = observed_renewals(histories)
    levels = line_levels(histories, frame)
    size_class = frame.size_class_of(renewals.size)
    groups, group = distinct(np.column_stack([levels[renewals.line], size_class]).astype(np.int64))
    sides = [changes(renewals.mrr, renewals.carried[:, i], renewals.past, frame.max_ratio) for i in (0, 1)]
    plain = ~renewals.amended
    direction_keys, direction_counts = _direction_counts(group[plain], renewals.row[plain], sides[0].direction[plain])
    moved = plain & (sides[0].direction != FLAT_SIDE)
    where = np.column_stack([group, sides[0].direction == UP])[moved].astype(np.int64)
    X = np.column_stack([np.ones(len(group)), -sides[0].x, renewals.log_term])[moved]
    size_keys, sums = _size_sums(where, X, sides[0].y[moved])
    beyond = coarse_cells(where, X)
    rows = _sampled(np.flatnonzero(renewals.amended), renewals.line, histories, max_rows)

    def of_rows(name: str) -> NDArray[np.generic]:
        return np.stack([getattr(side, name)[rows] for side in sides], axis=1)

    return ChangeCells(
        group_levels=groups[:, :-1].astype(np.int32),
        group_size=groups[:, -1].astype(np.int32),
        direction_group=direction_keys[:, 0].astype(np.int32),
        direction_row=direction_keys[:, 1].astype(np.int8),
        direction_counts=direction_counts,
        size_group=size_keys[:, 0].astype(np.int32),
        size_side=size_keys[:, 1].astype(np.int8),
        size_n=sums["n"].astype(np.int64),
        size_xx=sums["xx"],
        size_xy=sums["xy"],
        size_yy=sums["yy"],
        beyond_group=beyond.where[:, 0].astype(np.int32),
        beyond_side=beyond.where[:, 1].astype(np.int8),
        beyond_n=beyond.n,
        beyond_features=beyond.features,
        beyond_scatter=beyond.scatter,
        amended_group=group[rows].astype(np.int32),
        amended_row=renewals.row[rows],
        amended_logterm=renewals.log_term[rows],
        amended_direction=of_rows("direction").astype(np.int8),
        amended_y=of_rows("y").astype(np.float64),
        amended_x=of_rows("x").astype(np.float64),
        amended_log_jac=of_rows("log_jac").astype(np.float64),
        n_amended=int(renewals.amended.sum()),
        n_capped=int(sides[0].capped[plain].sum()),
    )


def _direction_counts(group: Longs, row: NDArray[np.int8], direction: NDArray[np.int8]) -> tuple[Longs, Longs]:
    """Distinct (group, row), and how many went down, stayed flat, and went up."""
    keys, cell = distinct(np.column_stack([group, row]).astype(np.int64))
    counts = np.zeros((len(keys), 3), dtype=np.int64)
    np.add.at(counts, (cell, direction), 1)
    return keys.reshape(-1, 2), counts


def _size_sums(where: Longs, X: Floats, y: Floats) -> tuple[Longs, dict[str, Floats]]:
    """Distinct rows of `where` (group, side 0 down / 1 up), with n, Σ XXᵀ, Σ Xy and Σ y²; X = (1, -x, log term ratio)."""
    keys, cell = distinct(where)
    order = np.argsort(cell, kind="stable")
    first = run_starts(cell[order])
    X, y = X[order], y[order]
    if not len(y):
        empty = {"n": np.empty(0), "xx": np.empty((0, 3, 3)), "xy": np.empty((0, 3)), "yy": np.empty(0)}
        return keys.reshape(-1, 2), empty
    sums = {
        "n": run_sums(np.ones(len(y)), first),
        "xx": np.asarray(np.add.reduceat(X[:, :, None] * X[:, None, :], first, axis=0)),
        "xy": np.asarray(np.add.reduceat(X * y[:, None], first, axis=0)),
        "yy": run_sums(y * y, first),
    }
    return keys, sums


@dataclass(frozen=True)
class CoarseCells:
    """Rows put together: their keys (C, 2), how many (C,), the mean of their X (C, 3), and the cell of every row.

    scatter (C, 3): sums over a cell of squares and products about the mean, of -x with itself, -x with log term, and log
    term with itself.
    """

    where: Longs
    n: Longs
    features: Floats
    scatter: Floats
    cell: Longs


def coarse_cells(where: Longs, X: Floats) -> CoarseCells:
    """Cells of rows with equal keys and near X = (1, -x, log term ratio); few rows stay as they are."""
    if len(X) <= MOST_COARSE_CELLS:
        n, cell = np.ones(len(X), np.int64), np.arange(len(X))
        return CoarseCells(where.reshape(-1, 2), n, X.reshape(-1, 3), np.zeros((len(X), 3)), cell)
    for width in COARSE_WIDTHS:
        keys, cell = distinct(np.column_stack([where, np.floor(X[:, 1:] / width)]).astype(np.int64))
        if len(keys) <= MOST_COARSE_CELLS:
            break
    order = np.argsort(cell, kind="stable")
    first, n = run_starts(cell[order]), counted(cell, len(keys))
    mean = np.add.reduceat(X[order], first, axis=0) / n[:, None]
    x, term = (X - mean[cell])[order, 1:].T
    scatter = np.add.reduceat(np.column_stack([x * x, x * term, term * term]), first, axis=0)
    return CoarseCells(keys[:, :2], n, np.asarray(mean), np.asarray(scatter), cell)


def _sampled(rows: Longs, line: Longs, histories: Histories, max_rows: int) -> Longs:
    """At most `max_rows` of the rows: those of the lines with the smallest keys, in row order."""
    if len(rows) <= max_rows:
        return rows
    by_key = np.argsort(histories.line_keys[line[rows]], kind="stable")[:max_rows]
    return rows[np.sort(by_key)]
