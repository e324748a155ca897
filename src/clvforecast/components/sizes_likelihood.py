"""Sizes of events, several an account, with the slope: what `sizes.size_model` samples."""

from __future__ import annotations

import math

import numpy as np

from clvforecast.components.native import Floats, Integers, add_effects, add_slopes, matrix, native, vector

DATA = ("X", "X_rows", "group", "n", "N", "W", "M", "C")
X, X_ROWS, GROUP, EACH, LINES, WITHIN, MEAN, BETWEEN = range(len(DATA))
"""X (K, G) effects by groups, and transposed; cells with their group: N accounts with n sizes each, and their sums of squares."""
LEVEL, WITHIN_VARIANCE, BETWEEN_VARIANCE, EFFECTS = range(4)
"""theta: mean size of the mean group, sigma^2, tau^2, K effects."""


@native
def size_log_likelihood(theta: Floats, reals: Floats, wholes: Integers, layout: Integers) -> tuple[float, Floats]:
    """`likelihoods.size_log_likelihood` summed over the cells, but for its constant."""
    design, group = matrix(reals, layout, X), vector(wholes, layout, GROUP)
    each, lines = vector(reals, layout, EACH), vector(reals, layout, LINES)
    within, mean, between = vector(reals, layout, WITHIN), vector(reals, layout, MEAN), vector(reals, layout, BETWEEN)
    sigma2, tau2, slope = theta[WITHIN_VARIANCE], theta[BETWEEN_VARIANCE], np.zeros_like(theta)
    centre = np.full(design.shape[1], theta[LEVEL])
    add_effects(centre, design, theta[EFFECTS:])
    by_centre = np.zeros_like(centre)
    log_sigma2, value = math.log(sigma2), 0.0
    for i in range(group.size):
        n, N, miss = each[i], lines[i], mean[i] - centre[group[i]]
        v, squares = sigma2 + n * tau2, between[i] + N * miss * miss
        value -= 0.5 * (N * (n - 1.0) * log_sigma2 + within[i] / sigma2 + N * math.log(v) + n * squares / v)
        by_v = 0.5 * (n * squares / v - N) / v
        slope[WITHIN_VARIANCE] += by_v + 0.5 * (within[i] / sigma2 - N * (n - 1.0)) / sigma2
        slope[BETWEEN_VARIANCE] += n * by_v
        by_centre[group[i]] += n * N * miss / v
    slope[LEVEL] = by_centre.sum()
    add_slopes(slope[EFFECTS:], matrix(reals, layout, X_ROWS), by_centre)
    return value, slope
