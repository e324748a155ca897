"""Roots of precision matrices and their inverses, as machine code: plain sums, always in one order.

LAPACK's last bits depend on where arrays lie in memory, and NUTS makes other draws of a last bit. These functions call nothing
outside this file, so Numba's cache knows by the file alone whether what it keeps is theirs.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@nb.njit(cache=True, error_model="numpy", nogil=True)
def _dot(a: Floats, b: Floats) -> float:
    """``sum a b`` in four strands, which the processor adds side by side."""
    whole = a.size - a.size % 4
    t0 = t1 = t2 = t3 = 0.0
    for i in range(0, whole, 4):
        t0 += a[i] * b[i]
        t1 += a[i + 1] * b[i + 1]
        t2 += a[i + 2] * b[i + 2]
        t3 += a[i + 3] * b[i + 3]
    for i in range(whole, a.size):
        t0 += a[i] * b[i]
    return (t0 + t1) + (t2 + t3)


@nb.njit(cache=True, error_model="numpy", nogil=True)
def lower_root(matrix: Floats, added: float, least: float) -> tuple[bool, Floats]:
    """``L L' = matrix + added I``, L lower triangular (Cholesky); False where a pivot is not above `least`."""
    n = len(matrix)
    root = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            root[i, j] = (matrix[i, j] - _dot(root[i, :j], root[j, :j])) / root[j, j]
        pivot = matrix[i, i] + added - _dot(root[i, :i], root[i, :i])
        if not pivot > least:
            return False, root
        root[i, i] = math.sqrt(pivot)
    return True, root


@nb.njit(cache=True, error_model="numpy", nogil=True)
def inverse_of_root(root: Floats) -> Floats:
    """L^-1 of a lower triangular L, by forward substitution."""
    n = len(root)
    inverse = np.zeros((n, n))
    for k in range(n):
        row = inverse[k]
        for j in range(k):
            weight, other = root[k, j], inverse[j]
            for i in range(j + 1):
                row[i] -= weight * other[i]
        row[k] = 1.0
        for i in range(k + 1):
            row[i] /= root[k, k]
    return inverse


@nb.njit(cache=True, error_model="numpy", nogil=True)
def solved(inverse: Floats, slope: Floats) -> Floats:
    """``(L L')^-1 slope`` from L^-1."""
    n = slope.size
    step = np.zeros(n)
    for k in range(n):
        row = inverse[k, : k + 1]
        weight = _dot(row, slope[: k + 1])
        for i in range(k + 1):
            step[i] += weight * row[i]
    return step
