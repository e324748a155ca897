"""Coarse cells of sizes with near regressors, which can be put together from parts.

log P(y > SMALLEST_CHANGE) bends little with X = (1, -x, log term ratio): it is taken at the mean X of coarse cells, with the term
of second order in their scatter. Cells are told apart by their mesh: in mesh 0 by the very numbers, in the others by the interval
that they lie in, each of which is two of the mesh before. So parts can be counted in meshes of their own, as fine as each allows,
and be put together in the coarsest of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.exact import UNIT, Totals, exact_sums, product, rounded, totals
from clvforecast.cells.groups import distinct

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

COARSE_WIDTHS = (0.25, 0.5, 1.0)
"""Widths of meshes 1, 2 and 3: each twice the one before."""
MOST_COARSE_CELLS = 1_500
"""Rows stay as they are when there are no more than that; otherwise the width is the first that gives so few cells, or else the
last: then estimates stay within .05 of their standard error of what every renewal on its own would give (100,000 of them, a tenth
of the changes too small to be seen)."""
MOMENTS = ("1", "x", "t", "xx", "xt", "tt")
"""Sums over the rows of a cell, with x for -x and t for the log term ratio."""


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
    """Cells of rows with equal keys and near X = (1, -x, log term ratio); of few rows, those with equal X."""
    keys, cell = meshed(where, X)
    sums = exact_sums(cell, lambda rows: moment_terms(X[rows]), MOMENT_OF_TERM)
    _, moments = totals(sums)
    return CoarseCells(keys[:, 1:-2], *means_and_scatter(moments), cell)


def meshed(where: Longs, X: Floats) -> tuple[Longs, Longs]:
    """Keys (mesh, *where, i, j) of the cells in the finest mesh that gives few enough, and the cell of every row."""
    mesh = 0 if len(X) <= MOST_COARSE_CELLS else 1
    at = X[:, 1:] + 0.0  # one zero, not two
    places = at.view(np.int64) if mesh == 0 else _intervals(at, mesh)
    found, cell = distinct(np.column_stack([where, places]))
    keys = np.column_stack([np.full(len(found), mesh), found])
    while is_too_fine(mesh, len(keys)):
        mesh += 1
        keys, merged = distinct(coarser(keys, mesh))
        cell = merged[cell]
    return keys, cell


def _intervals(numbers: Floats, mesh: int) -> Longs:
    return np.floor(numbers / COARSE_WIDTHS[mesh - 1]).astype(np.int64)


def is_too_fine(mesh: int, n: int) -> bool:
    """Whether there is a coarser mesh, and so many cells (mesh 0: rows) need it."""
    return n > MOST_COARSE_CELLS and mesh < len(COARSE_WIDTHS)


def coarser(keys: Longs, mesh: int) -> Longs:
    """The keys (mesh, ..., i, j) in a mesh that is as coarse as theirs, or coarser."""
    at, old = keys[:, -2:], keys[:, 0]
    if mesh == 0:
        return keys
    exact = old == 0
    places = at >> np.maximum(mesh - old, 0)[:, None]
    places[exact] = _intervals(np.ascontiguousarray(at[exact]).view(np.float64), mesh)
    return np.column_stack([np.full(len(keys), mesh), keys[:, 1:-2], places])


def moment_terms(X: Floats) -> Floats:
    """(R, 9), the terms of `MOMENTS`: of products the rounded value, and last what is rounded off."""
    x, t = X[:, 1], X[:, 2]
    pairs = (product(x, x), product(x, t), product(t, t))
    return np.column_stack([X, *(value for value, _ in pairs), *(rest for _, rest in pairs)])


MOMENT_OF_TERM = (0, 1, 2, 3, 4, 5, 3, 4, 5)


def means_and_scatter(moments: Totals) -> tuple[Longs, Floats, Floats]:
    """n, the mean of X and its scatter Σ ab - Σ a Σ b / n, of exact totals (C, 6): rounded once, never negative."""
    N, x, t, xx, xt, tt = moments[:, : len(MOMENTS)].T
    features = np.column_stack([np.ones(len(N)), rounded(x, N), rounded(t, N)])
    about = [rounded(ab * N - a * b, N * UNIT) for ab, a, b in ((xx, x, x), (xt, x, t), (tt, t, t))]
    return (N // UNIT).astype(np.int64), features, np.column_stack(about)
