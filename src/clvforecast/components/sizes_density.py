"""The log density of one kind's size with its slope: what `sizes.size_model` says, as the sampler calls it."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from clvforecast.arithmetic import logistic
from clvforecast.components.native import Floats, Integers, dot, native, vector
from clvforecast.components.native_priors import (
    add_beta,
    add_half_normals,
    add_normals,
    add_pooling,
    add_times,
    coords_of_raw,
    scales_of,
)
from clvforecast.components.sizes_likelihood import (
    BETWEEN_VARIANCE,
    DATA,
    EFFECTS,
    LEVEL,
    WITHIN_VARIANCE,
    size_log_likelihood,
)
from clvforecast.components.target import VERSION, closed, compiled, opened

DENSITY_DATA = (
    *DATA,
    "X_mean",
    "column_of",
    "guess",
    "error",
    "prior_mean",
    "prior_log_sd",
    "prior_icc",
    "prior_effect",
)
X_MEAN, COLUMN_OF, GUESS, ERROR, PRIOR_MEAN, PRIOR_LOG_SD, PRIOR_ICC, PRIOR_EFFECT = range(len(DATA), len(DENSITY_DATA))


@native
def size_density(x: Floats, reals: Floats, wholes: Integers, layout: Integers) -> tuple[float, Floats]:
    """x: log SDs (S), raw (K), level, log of the total SD, log odds of the intra-class correlation."""
    column_of = vector(wholes, layout, COLUMN_OF)
    guess, error, weight = vector(reals, layout, GUESS), vector(reals, layout, ERROR), vector(reals, layout, X_MEAN)
    prior_effect, prior_mean = vector(reals, layout, PRIOR_EFFECT), vector(reals, layout, PRIOR_MEAN)
    prior_log_sd, prior_icc = vector(reals, layout, PRIOR_LOG_SD), vector(reals, layout, PRIOR_ICC)
    S, K = prior_effect.size, guess.size
    log_sd, raw = x[:S], x[S : S + K]
    at_level, at_total, at_icc = S + K, S + K + 1, S + K + 2
    s = scales_of(log_sd, np.ones(K), column_of)
    coords = coords_of_raw(raw, s, guess, error)
    level_off = x[at_level] - dot(weight, coords) / prior_mean[1]
    variance, icc = math.exp(2.0 * (prior_log_sd[0] + prior_log_sd[1] * x[at_total])), logistic(x[at_icc])

    theta = np.empty(EFFECTS + K)
    theta[LEVEL] = prior_mean[0] + prior_mean[1] * x[at_level]
    theta[WITHIN_VARIANCE], theta[BETWEEN_VARIANCE] = logistic(-x[at_icc]) * variance, icc * variance
    theta[EFFECTS:] = coords
    value, by = size_log_likelihood(theta, reals, wholes, layout)

    slope, zeros = np.zeros_like(x), np.zeros(K)
    value += add_half_normals(slope[:S], log_sd, prior_effect)
    by_coords = by[EFFECTS:]
    add_times(by_coords, weight, level_off / prior_mean[1])
    value += add_pooling(slope[S : S + K], slope[:S], raw, s, guess, error, zeros, column_of, by_coords, np.zeros(K))
    value += add_normals(slope[at_total:at_icc], x[at_total:at_icc], 1.0) - 0.5 * level_off**2
    value += add_beta(slope, x, at_icc, prior_icc[0], prior_icc[1])
    within, between = by[WITHIN_VARIANCE] * theta[WITHIN_VARIANCE], by[BETWEEN_VARIANCE] * theta[BETWEEN_VARIANCE]
    slope[at_level] += by[LEVEL] * prior_mean[1] - level_off
    slope[at_total] += 2.0 * prior_log_sd[1] * (within + between)
    slope[at_icc] += between * (1.0 - icc) - within * icc
    return value, slope


@cache
def compiled_size_density() -> Any:
    """The C function of `size_density`."""
    version = VERSION

    def density(n, point, slope, value, data):  # type: ignore[no-untyped-def]
        x, y, reals, wholes, layout = opened(n, point, data)
        log_density, by_x = size_density(x, reals, wholes, layout)
        return closed(n, slope, value, log_density + 0 * version, by_x, y, reals, layout)

    return compiled(density)
