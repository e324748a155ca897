"""Building blocks of densities written out in Numba with their slopes.

A graph of single operations takes half a minute to compile where none of them was ever compiled, and again in every process;
a density written out in Numba takes a few seconds once a machine, and is passed over the data once. The PyMC models say the
same; the tests compare both.

A likelihood is a function ``(theta, reals, wholes, layout) -> (value, slope)``: `theta` (P,) holds all it depends on,
`slope` (P,) the derivatives, and the data come `packed` (see `component.packed`). A density is the same with the parameters
the sampler moves, unconstrained, in the order of the PyMC model: likelihood, priors and Jacobians, up to a constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Native = Callable[[Floats, Floats, Integers, Integers], tuple[float, Floats]]

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)

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
    """``total += coefficients @ X``: (G,), (K, G), (K,)."""
    for k in range(X.shape[0]):
        weight = coefficients[k]
        for g in range(X.shape[1]):
            total[g] += weight * X[k, g]


@inner
def add_slopes(slope: Floats, X: Floats, of_total: Floats) -> None:
    """The way back of `add_effects`: ``slope += X @ of_total``."""
    for k in range(X.shape[0]):
        found = 0.0
        for g in range(X.shape[1]):
            found += X[k, g] * of_total[g]
        slope[k] += found


@inner
def log_gamma_and_slope(x: float) -> tuple[float, float]:
    """log Gamma and its derivative at x > 0: Stirling's series, for a small x six steps further up.

    (Abramowitz and Stegun 6.1.41, 6.3.18 and the recurrences 6.1.15, 6.3.5.) The six steps' product
    ``x (x+1) ... (x+5)`` is ``v (v+4) (v+6)`` with ``v = x (x+5)``.
    """
    product, derivative = 1.0, 0.0
    if x < 6.0:
        v = x * (x + 5.0)
        product = v * (v + 4.0) * (v + 6.0)
        derivative = (3.0 * v * v + 20.0 * v + 24.0) * (2.0 * x + 5.0)
        x += 6.0
    log_x, y = math.log(x), 1.0 / x
    z = y * y
    rest = y * (
        1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z * (1 / 1188 - z * (691 / 360360 - z / 156)))))
    )
    series = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132 - z * (691 / 32760 - z / 12))))))
    log_gamma = (x - 0.5) * log_x - x + HALF_LOG_2PI + rest
    return log_gamma - math.log(product), log_x - 0.5 * y - series - derivative / product


@inner
def log1p_exp(x: float) -> float:
    """``log(1 + e^x)`` without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@inner
def logistic(x: float) -> float:
    """``1 / (1 + e^-x)`` without overflow."""
    small = math.exp(-abs(x))
    return 1.0 / (1.0 + small) if x >= 0.0 else small / (1.0 + small)
