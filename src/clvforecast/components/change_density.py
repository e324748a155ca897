"""The log density of the change at renewal with its slope: what `change.change_model` says, as the sampler calls it."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from clvforecast.components.change_likelihood import (
    DATA,
    EFFECTS,
    LOG_ODDS,
    LOGIT_Q,
    MEAN,
    N_PLACES,
    PLACE_PERSISTENCE,
    PLACE_SIZE,
    SD,
    SLOPE,
    change_log_likelihood,
)
from clvforecast.components.native import Floats, Integers, dot, matrix, native, vector
from clvforecast.components.native_priors import (
    add_half_normals,
    add_normals,
    add_pooling,
    add_times,
    coords_of_raw,
    scales_of,
)
from clvforecast.components.target import VERSION, closed, compiled, opened

DENSITY_DATA = (
    *DATA,
    "X_mean",
    "column_of",
    "guess",
    "error",
    "regressor_mean",
    "prior_logit",
    "prior_size",
    "prior_log_sd",
    "prior_slope",
    "prior_persistence",
    "prior_effect",
)
(
    X_MEAN,
    COLUMN_OF,
    GUESS,
    ERROR,
    REGRESSOR_MEAN,
    PRIOR_LOGIT,
    PRIOR_SIZE,
    PRIOR_LOG_SD,
    PRIOR_SLOPE,
    PRIOR_PERSISTENCE,
    PRIOR_EFFECT,
) = range(len(DATA), len(DENSITY_DATA))

N_ROWS = 5
"""Rows of log odds: first, down, flat, up, term_changed."""


@native
def change_density(x: Floats, reals: Floats, wholes: Integers, layout: Integers) -> tuple[float, Floats]:
    """x: log SDs (5, S), raw (5, K), levels of the log odds (5, 2), slopes (2, 2), levels of the sizes (2), logs of their
    SDs (2), level of the persistence."""
    column_of, X_mean = vector(wholes, layout, COLUMN_OF), matrix(reals, layout, X_MEAN)
    guess, error = matrix(reals, layout, GUESS), matrix(reals, layout, ERROR)
    prior_effect, prior_slope = matrix(reals, layout, PRIOR_EFFECT), vector(reals, layout, PRIOR_SLOPE)
    prior_logit, prior_size = vector(reals, layout, PRIOR_LOGIT), vector(reals, layout, PRIOR_SIZE)
    prior_log_sd, prior_keep = vector(reals, layout, PRIOR_LOG_SD), vector(reals, layout, PRIOR_PERSISTENCE)
    regressor_mean = matrix(reals, layout, REGRESSOR_MEAN)
    S, K = prior_effect.shape[1], column_of.size
    at_raw = N_PLACES * S
    at_level = at_raw + N_PLACES * K
    at_slope = at_level + 2 * N_ROWS
    at_size, at_log_sd, at_keep = at_slope + 4, at_slope + 6, at_slope + 8

    theta, shift, ones = np.empty(EFFECTS + N_PLACES * K), np.empty(N_PLACES), np.ones(K)
    coords = theta[EFFECTS:].reshape((N_PLACES, K))
    s = np.empty((N_PLACES, K))
    for place in range(N_PLACES):
        s[place] = scales_of(x[place * S : (place + 1) * S], ones, column_of)
        raw = x[at_raw + place * K : at_raw + (place + 1) * K]
        coords[place] = coords_of_raw(raw, s[place], guess[place], error[place])
        shift[place] = dot(X_mean[place], coords[place])
    size_shift = np.empty(2)
    for side in range(2):
        for i in range(N_ROWS):
            at = 2 * i + side
            theta[LOG_ODDS + at] = prior_logit[0] + prior_logit[1] * x[at_level + at] - shift[side]
        theta[SLOPE + 2 * side], theta[SLOPE + 2 * side + 1] = x[at_slope + 2 * side], x[at_slope + 2 * side + 1]
        leant = (
            regressor_mean[side, 0] * theta[SLOPE + 2 * side] + regressor_mean[side, 1] * theta[SLOPE + 2 * side + 1]
        )
        size_shift[side] = shift[PLACE_SIZE + side] + leant
        theta[MEAN + side] = prior_size[0] + prior_size[1] * x[at_size + side] - size_shift[side]
        theta[SD + side] = math.exp(prior_log_sd[0] + prior_log_sd[1] * x[at_log_sd + side])
    theta[LOGIT_Q] = prior_keep[0] + prior_keep[1] * x[at_keep] - shift[PLACE_PERSISTENCE]
    value, by = change_log_likelihood(theta, reals, wholes, layout)

    slope, by_shift = np.zeros_like(x), np.zeros(N_PLACES)
    for side in range(2):
        for i in range(N_ROWS):
            at = 2 * i + side
            off = x[at_level + at] - shift[side] / prior_logit[1]
            value -= 0.5 * off * off
            slope[at_level + at] = by[LOG_ODDS + at] * prior_logit[1] - off
            by_shift[side] += off / prior_logit[1] - by[LOG_ODDS + at]
        off = x[at_size + side] - size_shift[side] / prior_size[1]
        value -= 0.5 * off * off
        slope[at_size + side] = by[MEAN + side] * prior_size[1] - off
        by_size_shift = off / prior_size[1] - by[MEAN + side]
        by_shift[PLACE_SIZE + side] = by_size_shift
        for j in range(2):
            at = at_slope + 2 * side + j
            slope[at] = by[SLOPE + 2 * side + j] + regressor_mean[side, j] * by_size_shift
            value += add_normals(slope[at : at + 1], x[at : at + 1], prior_slope[j])
        slope[at_log_sd + side] = by[SD + side] * theta[SD + side] * prior_log_sd[1]
    value += add_normals(slope[at_log_sd:at_keep], x[at_log_sd:at_keep], 1.0)
    off = x[at_keep] - shift[PLACE_PERSISTENCE] / prior_keep[1]
    value -= 0.5 * off * off
    slope[at_keep] = by[LOGIT_Q] * prior_keep[1] - off
    by_shift[PLACE_PERSISTENCE] = off / prior_keep[1] - by[LOGIT_Q]

    by_effects, zeros, by_lean = by[EFFECTS:].reshape((N_PLACES, K)), np.zeros(K), np.zeros(K)
    for place in range(N_PLACES):
        log_sd, by_log_sd = x[place * S : (place + 1) * S], slope[place * S : (place + 1) * S]
        value += add_half_normals(by_log_sd, log_sd, prior_effect[place])
        raw, by_raw = x[at_raw + place * K :][:K], slope[at_raw + place * K :][:K]
        by_coords = by_effects[place]
        add_times(by_coords, X_mean[place], by_shift[place])
        value += add_pooling(
            by_raw, by_log_sd, raw, s[place], guess[place], error[place], zeros, column_of, by_coords, by_lean
        )
    return value, slope


@cache
def compiled_change_density() -> Any:
    """The C function of `change_density`."""
    version = VERSION

    def density(n, point, slope, value, data):  # type: ignore[no-untyped-def]
        x, y, reals, wholes, layout = opened(n, point, data)
        log_density, by_x = change_density(x, reals, wholes, layout)
        return closed(n, slope, value, log_density + 0 * version, by_x, y, reals, layout)

    return compiled(density)
