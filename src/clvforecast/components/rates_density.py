"""The log density of one kind's rate with its slope: what `rates.rate_model` says, as the sampler calls it."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from clvforecast.components.native import Floats, Integers, dot, native, vector
from clvforecast.components.native_priors import (
    add_half_normals,
    add_normals,
    add_pooling,
    add_times,
    coords_of_raw,
    scales_of,
)
from clvforecast.components.rates_likelihood import DATA, EFFECTS, LEVEL, SHAPE, rate_log_likelihood
from clvforecast.components.target import VERSION, closed, compiled, opened

POISSON_SHAPE = 1e6
"""A gamma of this shape is a point to six digits."""

DENSITY_DATA = (
    *DATA,
    "X_mean",
    "column_of",
    "guess",
    "error",
    "is_poisson",
    "prior_rate",
    "prior_shape",
    "prior_effect",
)
X_MEAN, COLUMN_OF, GUESS, ERROR, IS_POISSON, PRIOR_RATE, PRIOR_SHAPE, PRIOR_EFFECT = range(len(DATA), len(DENSITY_DATA))


@native
def rate_density(x: Floats, reals: Floats, wholes: Integers, layout: Integers) -> tuple[float, Floats]:
    """x: log SDs (S), raw (K), log shape, level."""
    column_of = vector(wholes, layout, COLUMN_OF)
    guess, error, mean = vector(reals, layout, GUESS), vector(reals, layout, ERROR), vector(reals, layout, X_MEAN)
    prior_effect, prior_rate = vector(reals, layout, PRIOR_EFFECT), vector(reals, layout, PRIOR_RATE)
    prior_shape, is_poisson = vector(reals, layout, PRIOR_SHAPE), vector(reals, layout, IS_POISSON)[0]
    S, K = prior_effect.size, guess.size
    log_sd, raw = x[:S], x[S : S + K]
    s = scales_of(log_sd, np.ones(K), column_of)
    coords = coords_of_raw(raw, s, guess, error)
    r = POISSON_SHAPE if is_poisson == 1.0 else math.exp(prior_shape[0] + prior_shape[1] * x[S + K])
    level_off = x[S + K + 1] - dot(mean, coords) / prior_rate[1]

    theta = np.empty(EFFECTS + K)
    theta[LEVEL], theta[SHAPE] = prior_rate[0] + prior_rate[1] * x[S + K + 1], r
    theta[EFFECTS:] = coords
    value, by = rate_log_likelihood(theta, reals, wholes, layout)

    slope, zeros = np.zeros_like(x), np.zeros(K)
    value += add_half_normals(slope[:S], log_sd, prior_effect)
    by_coords = by[EFFECTS:]
    add_times(by_coords, mean, level_off / prior_rate[1])
    value += add_pooling(slope[S : S + K], slope[:S], raw, s, guess, error, zeros, column_of, by_coords, np.zeros(K))
    value += add_normals(slope[S + K : S + K + 1], x[S + K : S + K + 1], 1.0) - 0.5 * level_off**2
    slope[S + K] += (1.0 - is_poisson) * by[SHAPE] * r * prior_shape[1]
    slope[S + K + 1] += by[LEVEL] * prior_rate[1] - level_off
    return value, slope


@cache
def compiled_rate_density() -> Any:
    """The C function of `rate_density`."""
    version = VERSION

    def density(n, point, slope, value, data):  # type: ignore[no-untyped-def]
        x, y, reals, wholes, layout = opened(n, point, data)
        log_density, by_x = rate_density(x, reals, wholes, layout)
        return closed(n, slope, value, log_density + 0 * version, by_x, y, reals, layout)

    return compiled(density)
