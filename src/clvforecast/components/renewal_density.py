"""The log density of renewal with its slope: what `renewal.renewal_model` says, as the sampler calls it."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from clvforecast.arithmetic import log1p_exp, logistic
from clvforecast.components.native import Floats, Integers, dot, inner, matrix, native, vector
from clvforecast.components.native_priors import (
    add_beta,
    add_half_normals,
    add_pooling,
    add_times,
    coords_of_raw,
    scales_of,
)
from clvforecast.components.renewal_likelihood import (
    CLOCK,
    DATA,
    EFFECTS,
    LOGIT_MU,
    NOT_YET,
    NOTICE_SHARE,
    TOTAL,
    renewal_log_likelihood,
)
from clvforecast.components.target import VERSION, closed, compiled, opened
from clvforecast.likelihoods import MAX_TOTAL

N_BENDS = 4
"""What class effects lean with, see `bends` and `renewal_leans`."""

DENSITY_DATA = (
    *DATA,
    "column_of",
    "guess",
    "error",
    "base",
    "shift",
    "lean",
    "level_lean",
    "c_lean",
    "reference",
    "prior_sd",
    "prior_mu",
    "prior_phi",
    "prior_log_c",
    "renewal_sticks",
    "prior_notice",
    "n_notices",
    "notice_sticks",
)
(
    COLUMN_OF,
    GUESS,
    ERROR,
    BASE,
    SHIFT,
    LEAN,
    LEVEL_LEAN,
    C_LEAN,
    REFERENCE,
    PRIOR_SD,
    PRIOR_MU,
    PRIOR_PHI,
    PRIOR_LOG_C,
    RENEWAL_STICKS,
    PRIOR_NOTICE,
    N_NOTICES,
    NOTICE_STICKS,
) = range(len(DATA), len(DENSITY_DATA))
"""The last five are empty where the model has no such part."""


@native
def renewal_density(x: Floats, reals: Floats, wholes: Integers, layout: Integers) -> tuple[float, Floats]:
    """x: log SDs (S), log odds of phi, log c where it is free, raw (P), level, log odds of the booking lags' sticks, and
    where notices are given of their share and of their lags' sticks."""
    column_of, base = vector(wholes, layout, COLUMN_OF), vector(reals, layout, BASE)
    guess, error, shift = vector(reals, layout, GUESS), vector(reals, layout, ERROR), vector(reals, layout, SHIFT)
    lean_of, level_lean_of = matrix(reals, layout, LEAN), vector(reals, layout, LEVEL_LEAN)
    prior_sd, prior_mu = vector(reals, layout, PRIOR_SD), vector(reals, layout, PRIOR_MU)
    prior_phi, prior_log_c = vector(reals, layout, PRIOR_PHI), vector(reals, layout, PRIOR_LOG_C)
    S, P, F = prior_sd.size, base.size, prior_log_c.size
    at_raw = S + 1 + F
    at_level = at_raw + P
    at_lags = at_level + 1
    log_sd, raw = x[:S], x[at_raw:at_level]
    c_lean_of, reference = vector(reals, layout, C_LEAN), vector(reals, layout, REFERENCE)[0]
    phi, log_c = logistic(x[S]), 0.0
    if F > 0:
        log_c = prior_log_c[0] * x[S + 1] + dot(c_lean_of, c_bends(x[S], reference))
    bend, lean = bends(x[S], log_c, reference), np.zeros(P)
    for k in range(N_BENDS):
        add_times(lean, lean_of[k], bend[k])
    s = scales_of(log_sd, base, column_of)
    moved = coords_of_raw(raw, s, guess, error)
    shifted = dot(shift, moved) - dot(level_lean_of, bend)
    level_off = x[at_level] - shifted / prior_mu[1]

    not_beyond = max(phi, 1.0 / MAX_TOTAL)
    n_lags = matrix(reals, layout, NOT_YET).shape[1] - 1
    theta = np.zeros(EFFECTS + P + 2 * n_lags)
    theta[LOGIT_MU] = prior_mu[0] + prior_mu[1] * x[at_level] - shifted
    theta[TOTAL], theta[CLOCK] = (1.0 - phi) / not_beyond, math.exp(log_c)
    effects = theta[EFFECTS : EFFECTS + P]
    add_times(effects, moved, 1.0)
    add_times(effects, lean, 1.0)
    for i in range(at_lags, x.size):
        # The share of notices stands between the booking lags' sticks and its own.
        theta[_place(i - at_lags, n_lags, P)] = logistic(x[i])
    value, by = renewal_log_likelihood(theta, reals, wholes, layout)

    slope = np.zeros_like(x)
    for i in range(at_lags, x.size):
        share = theta[_place(i - at_lags, n_lags, P)]
        slope[i] += by[_place(i - at_lags, n_lags, P)] * share * (1.0 - share)
    value += _lag_priors(slope, x, at_lags, n_lags, reals, layout)
    value += add_half_normals(slope[:S], log_sd, prior_sd) - 0.5 * level_off**2
    by_shifted = level_off / prior_mu[1] - by[LOGIT_MU]
    by_coords, by_lean = by[EFFECTS : EFFECTS + P], np.zeros(P)
    add_times(by_lean, by_coords, 1.0)
    add_times(by_coords, shift, by_shifted)
    value += add_pooling(
        slope[at_raw:at_level],
        slope[:S],
        raw,
        s,
        guess,
        error,
        lean,
        column_of,
        by_coords,
        by_lean,
    )
    slope[at_level] += by[LOGIT_MU] * prior_mu[1] - level_off
    by_total = -(1.0 + (1.0 - phi) / not_beyond) / not_beyond if phi > 1.0 / MAX_TOTAL else -MAX_TOTAL
    by_bend = np.empty(N_BENDS)
    for k in range(N_BENDS):
        by_bend[k] = dot(lean_of[k], by_lean) - level_lean_of[k] * by_shifted
    by_phi = by_bend[0] + by[TOTAL] * by_total
    slope[S] += by_phi * phi * (1.0 - phi) + by_bend[1] * math.exp(x[S])
    value += add_beta(slope, x, S, prior_phi[0], prior_phi[1])
    if F > 0:
        off = log_c / prior_log_c[0]
        value -= 0.5 * off * off
        by_log_c = by_bend[2] + (by_bend[3] + by[CLOCK]) * theta[CLOCK] - off / prior_log_c[0]
        slope[S + 1] += by_log_c * prior_log_c[0]
        slope[S] += by_log_c * (c_lean_of[0] * phi * (1.0 - phi) + c_lean_of[1] * phi)
    return value, slope


@native
def bends(logit_phi: float, log_c: float, reference: float) -> Floats:
    """(phi, phi / (1 - phi), log c, c), each less what it is at the `reference`, a phi, and c = 1."""
    bend = np.empty(N_BENDS)
    bend[0] = logistic(logit_phi) - reference
    bend[1] = math.exp(logit_phi) - reference / (1.0 - reference)
    bend[2], bend[3] = log_c, math.exp(log_c) - 1.0
    return bend


@native
def c_bends(logit_phi: float, reference: float) -> Floats:
    """(phi, -log(1 - phi)), each less what it is at the `reference`: what log c leans with."""
    bend = np.empty(2)
    bend[0] = logistic(logit_phi) - reference
    bend[1] = log1p_exp(logit_phi) + math.log(1.0 - reference)
    return bend


@inner
def _place(i: int, n_lags: int, n_effects: int) -> int:
    """Where in theta the i-th of (booking lags' sticks, share of notices, their lags' sticks) stands."""
    if i == n_lags:
        return NOTICE_SHARE
    return EFFECTS + n_effects + i - (1 if i > n_lags else 0)


@native
def _lag_priors(slope: Floats, x: Floats, first: int, n_lags: int, reals: Floats, layout: Integers) -> float:
    """Sticks of the lags, which hold the lags that were seen, and the share of lapses that are told."""
    sticks, notices = matrix(reals, layout, RENEWAL_STICKS), matrix(reals, layout, NOTICE_STICKS)
    prior_notice, value = vector(reals, layout, PRIOR_NOTICE), 0.0
    for j in range(n_lags):
        value += add_beta(slope, x, first + j, sticks[0, j], sticks[1, j])
    if prior_notice.size > 0:
        at, told = first + n_lags, vector(reals, layout, N_NOTICES)[0]
        value += add_beta(slope, x, at, prior_notice[0] + told, prior_notice[1])
        for j in range(n_lags):
            value += add_beta(slope, x, at + 1 + j, notices[0, j], notices[1, j])
    return value


@cache
def compiled_renewal_density() -> Any:
    """The C function of `renewal_density`."""
    version = VERSION

    def density(n, point, slope, value, data):  # type: ignore[no-untyped-def]
        x, y, reals, wholes, layout = opened(n, point, data)
        log_density, by_x = renewal_density(x, reals, wholes, layout)
        return closed(n, slope, value, log_density + 0 * version, by_x, y, reals, layout)

    return compiled(density)
