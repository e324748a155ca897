"""Building blocks of densities written out in Numba with their slopes.

A graph of single operations takes half a minute to compile where none of them was ever compiled, and again in every process;
a density written out in Numba takes a few seconds once a machine, and is passed over the data once. The PyMC models say the
same; the tests compare both.

A likelihood is a function ``(theta, reals, wholes, layout) -> (value, slope)``: `theta` (P,) holds all it depends on,
`slope` (P,) the derivatives, and the data come `packed` (see `component.packed`). A density is the same with the parameters
the sampler moves, unconstrained, in the order of the PyMC model: likelihood, priors and Jacobians, up to a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Native = Callable[[Floats, Floats, Integers, Integers], tuple[float, Floats]]

# No fastmath: the order of sums decides last bits, and those decide what NUTS draws. No cache: what is kept is the machine
# code of a whole density, see `target`, by a key that knows of every source file behind it.
native = nb.njit(error_model="numpy", nogil=True)
# Without Numba's reference counts, an atomic add for every array passed, which took most of the time: for functions that
# neither make arrays nor return them.
inner = nb.njit(error_model="numpy", nogil=True, _nrt=False)  # type: ignore[call-overload]


@native
def vector(part: NDArray[Any], layout: Integers, i: int) -> NDArray[Any]:
    """The i-th array, of one dimension."""
    start = layout[i, 0]
    return part[start : start + layout[i, 1]]


@native
def matrix(part: NDArray[Any], layout: Integers, i: int) -> NDArray[Any]:
    """The i-th array, of two dimensions."""
    start, rows, columns = layout[i, 0], layout[i, 1], layout[i, 2]
    return part[start : start + rows * columns].reshape((rows, columns))


@inner
def add_effects(total: Floats, X: Floats, coefficients: Floats) -> None:
    """``total += coefficients @ X``: (G,), (K, G), (K,); four effects a pass over the groups."""
    K = X.shape[0]
    whole = K - K % 4
    for k in range(0, whole, 4):
        x0, x1, x2, x3 = X[k], X[k + 1], X[k + 2], X[k + 3]
        c0, c1, c2, c3 = coefficients[k], coefficients[k + 1], coefficients[k + 2], coefficients[k + 3]
        for g in range(X.shape[1]):
            total[g] += (c0 * x0[g] + c1 * x1[g]) + (c2 * x2[g] + c3 * x3[g])
    for k in range(whole, K):
        weight = coefficients[k]
        for g in range(X.shape[1]):
            total[g] += weight * X[k, g]


@inner
def add_slopes(slope: Floats, rows: Floats, of_total: Floats) -> None:
    """The way back of `add_effects`, with X by groups: ``slope += of_total @ rows``, (K,), (G, K), (G,)."""
    for g in range(rows.shape[0]):
        weight, row = of_total[g], rows[g]
        for k in range(rows.shape[1]):
            slope[k] += weight * row[k]


@inner
def dot(a: Floats, b: Floats) -> float:
    """``sum a b`` in eight strands, which the processor adds side by side."""
    whole = a.size - a.size % 8
    t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = 0.0
    for i in range(0, whole, 8):
        t0 += a[i] * b[i]
        t1 += a[i + 1] * b[i + 1]
        t2 += a[i + 2] * b[i + 2]
        t3 += a[i + 3] * b[i + 3]
        t4 += a[i + 4] * b[i + 4]
        t5 += a[i + 5] * b[i + 5]
        t6 += a[i + 6] * b[i + 6]
        t7 += a[i + 7] * b[i + 7]
    for i in range(whole, a.size):
        t0 += a[i] * b[i]
    return ((t0 + t1) + (t2 + t3)) + ((t4 + t5) + (t6 + t7))
