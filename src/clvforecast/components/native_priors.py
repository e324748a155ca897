"""Log priors with their slopes, on the unconstrained scale of the sampler, Jacobians included, constants left out."""

from __future__ import annotations

import math

import numpy as np

from clvforecast.arithmetic import log1p_exp, logistic
from clvforecast.components.native import Floats, Integers, inner, native


@inner
def add_half_normals(slope: Floats, log_sd: Floats, scale: Floats) -> float:
    """``sd ~ HalfNormal(scale)``, sampled as its logarithm."""
    value = 0.0
    for i in range(log_sd.size):
        z = math.exp(log_sd[i]) / scale[i]
        value += log_sd[i] - 0.5 * z * z
        slope[i] += 1.0 - z * z
    return value


@inner
def add_normals(slope: Floats, x: Floats, scale: float) -> float:
    """``x ~ Normal(0, scale)``."""
    value = 0.0
    for i in range(x.size):
        z = x[i] / scale
        value -= 0.5 * z * z
        slope[i] -= z / scale
    return value


@inner
def add_beta(slope: Floats, logit: Floats, i: int, a: float, b: float) -> float:
    """``p ~ Beta(a, b)``, sampled as its log odds."""
    share = logistic(logit[i])
    slope[i] += a * (1.0 - share) - b * share
    return -a * log1p_exp(-logit[i]) - b * log1p_exp(logit[i])


@native
def scales_of(log_sd: Floats, base: Floats, column_of: Integers) -> Floats:
    """Prior SD of each coordinate: that of its column times `base`, which stands alone where there is no column."""
    s = base.copy()
    for k in range(s.size):
        if column_of[k] < log_sd.size:
            s[k] *= math.exp(log_sd[column_of[k]])
    return s


@native
def coords_of_raw(raw: Floats, s: Floats, guess: Floats, error: Floats) -> Floats:
    """``coord = m t^2 + e t raw``, ``t = s / sqrt(s^2 + e^2)``; see `pooling`."""
    coords = np.empty_like(raw)
    for k in range(raw.size):
        t = s[k] / math.sqrt(s[k] * s[k] + error[k] * error[k])
        coords[k] = t * (guess[k] * t + error[k] * raw[k])
    return coords


@inner
def add_times(total: Floats, x: Floats, factor: float) -> None:
    """``total += factor x``."""
    for k in range(total.size):
        total[k] += factor * x[k]


@inner
def add_pooling(
    slope_of_raw: Floats,
    slope_of_log_sd: Floats,
    raw: Floats,
    s: Floats,
    guess: Floats,
    error: Floats,
    lean: Floats,
    column_of: Integers,
    by_coords: Floats,
    by_lean: Floats,
) -> float:
    """``coord ~ Normal(-lean, s)`` sampled as raw, and the way back of `coords_of_raw`.

    `by_coords` is what all else moves by the coordinates; what the prior moves by `lean` is added to `by_lean`.
    """
    value = 0.0
    for k in range(raw.size):
        e = error[k]
        h = math.sqrt(s[k] * s[k] + e * e)
        t = s[k] / h
        z = (guess[k] * t + e * raw[k]) / h + lean[k] / s[k]
        value -= 0.5 * z * z + math.log(h)
        by_coord = by_coords[k] - z / s[k]
        by_lean[k] -= z / s[k]
        slope_of_raw[k] += by_coord * e * t
        if column_of[k] < slope_of_log_sd.size:
            by_s = by_coord * (2.0 * guess[k] * t + e * raw[k]) * e * e / (h * h * h)
            slope_of_log_sd[column_of[k]] += s[k] * by_s + z * z - t * t
    return value
