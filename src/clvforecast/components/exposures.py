"""Exposures merged onto a few: a likelihood of rates is a smooth function of the exposure, summed over many of them.

The sums are of ``f(T) = log(1 + m T / r)``. In ``u = log T`` it is analytic up to the distance pi from the real axis, whatever
m and r are, so its polynomial through M Chebyshev points of a range of half width h misses it by about rho^-M,
``rho = pi/h + sqrt((pi/h)^2 + 1)`` (Trefethen, Approximation Theory and Approximation Practice, theorem 8.2): some thirty points
serve half a month to twenty years to the last digits. ``sum_i N_i f(T_i) = sum_k w_k f(T_k)``, w_k what Lagrange's polynomials
give; weights may be negative.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MISS = 1e-15
"""What is missed, relative to the greatest value of f."""


def merged_exposures(
    group: Integers, exposure: Floats, weights: tuple[Floats, ...], n_groups: int
) -> tuple[Integers, Floats, tuple[Floats, ...]]:
    """Group, exposure and weights of cells with the same sums of f in every group, fewer where that is possible.

    Parameters
    ----------
    group, exposure : (C,) cells;  weights : (C,) each, what is summed over the cells of a group (lines, events).
    """
    if exposure.size == 0:
        return group, exposure, weights
    low, high = math.log(exposure.min()), math.log(exposure.max())
    middle, half_width = 0.5 * (low + high), 0.5 * (high - low)
    n_points = _points_for(half_width)
    if n_groups * n_points >= exposure.size:
        return group, exposure, weights
    place = (np.log(exposure) - middle) / half_width if half_width > 0.0 else np.zeros(exposure.size)
    angle = np.arccos(np.clip(place, -1.0, 1.0))
    at = (np.arange(n_points) + 0.5) * math.pi / n_points
    points = np.exp(middle + half_width * np.cos(at))
    placed = tuple(_onto(angle, at, group, given, n_groups) for given in weights)
    return np.repeat(np.arange(n_groups), n_points), np.tile(points, n_groups), placed


def _points_for(half_width: float) -> int:
    if half_width == 0.0:
        return 1
    reach = math.pi / half_width
    return math.ceil(-math.log(MISS) / math.log(reach + math.hypot(reach, 1.0))) + 1


def _onto(angle: Floats, at: Floats, group: Integers, weight: Floats, n_groups: int) -> Floats:
    """Lagrange's weights (n_groups M,): ``w_k = (c_0 + 2 sum_j c_j cos(j t_k)) / M``, ``c_j = sum_i N_i cos(j t_i)``."""
    total = np.zeros((n_groups, at.size))
    for j in range(at.size):
        moment = np.bincount(group, weights=weight * np.cos(j * angle), minlength=n_groups)
        total += (1.0 if j == 0 else 2.0) * moment[:, None] * np.cos(j * at)
    return np.asarray(total / at.size, float).ravel()
