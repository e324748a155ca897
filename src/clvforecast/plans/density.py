"""The log density of the reliability of plans with its slope: what `model.plan_model` says, as the sampler calls it."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from clvforecast.arithmetic import digest_of_sources, log1p_exp, logistic
from clvforecast.components.native import Floats, Integers, add_effects, add_slopes, dot, inner, matrix, native, vector
from clvforecast.components.native_priors import (
    add_half_normals,
    add_normals,
    add_pooling,
    add_times,
    coords_of_raw,
    scales_of,
)
from clvforecast.components.target import SOURCES, closed, compiled, opened

DATA = (
    "X",
    "X_rows",
    "X_mean",
    "column_of",
    "guess",
    "error",
    "stated",
    "is_stated",
    "hits",
    "misses",
    "delay_kind",
    "delay_cells",
    "open_group",
    "open_kind",
    "open_cells",
    "share_X",
    "share_X_rows",
    "share_X_mean",
    "share_sums",
    "window",
    "lag_edges",
    "lag_base",
    "lag_spread",
    "prior_place",
    "prior_effect",
)
(
    X,
    X_ROWS,
    X_MEAN,
    COLUMN_OF,
    GUESS,
    ERROR,
    STATED,
    IS_STATED,
    HITS,
    MISSES,
    DELAY_KIND,
    DELAY_CELLS,
    OPEN_GROUP,
    OPEN_KIND,
    OPEN_CELLS,
    SHARE_X,
    SHARE_X_ROWS,
    SHARE_X_MEAN,
    SHARE_SUMS,
    WINDOW,
    LAG_EDGES,
    LAG_BASE,
    LAG_SPREAD,
    PRIOR_PLACE,
    PRIOR_EFFECT,
) = range(len(DATA))
"""delay_cells and open_cells (3, cells): lower, day, n. share_sums (3, kinds): n, mean, squares. lag_base (J,): the
bins' log shares before the data. prior_place (7, 2) is next."""
INTERCEPT, SLOPE, UNSTATED, DELAY_MEAN, DELAY_SCALE, SHARE_MEAN, SHARE_SD = range(7)
"""Rows of prior_place: mean and SD of the intercept, of the slope on stated log odds, of the offset of steps without a stated
probability, of delays' means and log scales, of the mean log share, and of the log SD of shares."""
VERSION = digest_of_sources(*SOURCES, Path(__file__).parent)


@inner
def t_cdf(t: float) -> float:
    """`delays.cdf`."""
    root = math.sqrt(4.0 + t * t)
    above = 4.0 / (root * (root - t)) if t < 0.0 else 1.0 + t / root
    return 0.25 * above * above * (3.0 - above)


@inner
def t_density(t: float) -> float:
    """``12 / (4 + t^2)^(5/2)``."""
    square = 4.0 + t * t
    return 12.0 / (square * square * math.sqrt(square))


@inner
def interval(low: float, high: float, mean: float, log_scale: float) -> tuple[float, float, float]:
    """P(low < D < high) of an untruncated delay, and its slopes by the mean and the log scale."""
    scale = math.exp(log_scale)
    a, b = (low - mean) / scale, (high - mean) / scale
    mass = t_cdf(-a) - t_cdf(-b) if a + b > 0.0 else t_cdf(b) - t_cdf(a)
    at_a, at_b = t_density(a), t_density(b)
    return mass, (at_a - at_b) / scale, a * at_a - b * at_b


@inner
def part_of_bin(low: float, high: float, edges: Floats, j: int) -> float:
    """The part of bin j that lies in the days (low, high]."""
    return max(min(high, edges[j + 1]) - max(low, edges[j]), 0.0) / (edges[j + 1] - edges[j])


@inner
def booked_between(low: float, high: float, edges: Floats, shares: Floats) -> float:
    """The share of renewals that are booked on the days (low, high]."""
    mass = 0.0
    for j in range(shares.size):
        mass += part_of_bin(low, high, edges, j) * shares[j]
    return mass


@inner
def add_booked_slope(slope: Floats, factor: float, low: float, high: float, edges: Floats, shares: Floats) -> None:
    """``slope += factor d mass / d log shares``; that the shares add up to one cancels in a ratio of two masses."""
    for j in range(shares.size):
        slope[j] += factor * part_of_bin(low, high, edges, j) * shares[j]


@native
def lag_shares(z: Floats, base: Floats, spread: float) -> Floats:
    """``softmax(log base + spread z)``."""
    logits = base + spread * z
    odds = np.exp(logits - logits.max())
    return odds / odds.sum()


@native
def add_delays(
    slope: Floats,
    by_lag: Floats,
    mean: Floats,
    log_scale: Floats,
    shares: Floats,
    edges: Floats,
    kind: Integers,
    cells: Floats,
    window: float,
) -> float:
    """``sum n log P(D = d | lower <= D <= the last day)``; slope is (2 kinds but renewals,), by means and by log scales; by_lag
    (J,) by the log shares of renewals' bins."""
    value, kinds, last = 0.0, mean.size, edges[-1]
    for i in range(kind.size):
        k, lower, day, n = kind[i] - 1, cells[0, i], cells[1, i], cells[2, i]
        if k < 0:
            mass = booked_between(day - 1.0, day, edges, shares)
            whole = booked_between(lower - 1.0, last, edges, shares)
            value += n * (math.log(mass) - math.log(whole))
            add_booked_slope(by_lag, n / mass, day - 1.0, day, edges, shares)
            add_booked_slope(by_lag, -n / whole, lower - 1.0, last, edges, shares)
            continue
        mass, by_mean, by_scale = interval(day - 0.5, day + 0.5, mean[k], log_scale[k])
        whole, whole_by_mean, whole_by_scale = interval(lower - 0.5, window + 0.5, mean[k], log_scale[k])
        value += n * (math.log(mass) - math.log(whole))
        slope[k] += n * (by_mean / mass - whole_by_mean / whole)
        slope[kinds + k] += n * (by_scale / mass - whole_by_scale / whole)
    return value


@native
def add_open(
    slope: Floats,
    by_lag: Floats,
    by_log_odds: Floats,
    log_odds: Floats,
    mean: Floats,
    log_scale: Floats,
    shares: Floats,
    edges: Floats,
    group: Integers,
    kind: Integers,
    cells: Floats,
    window: float,
) -> float:
    """``sum n log(1 - p F(d))``, F(d) the share of delays up to day d of those from lower to the last day."""
    value, kinds, last = 0.0, mean.size, edges[-1]
    rest_by_mean = rest_by_scale = whole_by_mean = whole_by_scale = 0.0
    for i in range(group.size):
        k, g, lower, day, n = kind[i] - 1, group[i], cells[0, i], cells[1, i], cells[2, i]
        if k < 0:
            rest = booked_between(day, last, edges, shares)
            whole = booked_between(lower - 1.0, last, edges, shares)
        else:
            rest, rest_by_mean, rest_by_scale = interval(day + 0.5, window + 0.5, mean[k], log_scale[k])
            whole, whole_by_mean, whole_by_scale = interval(lower - 0.5, window + 0.5, mean[k], log_scale[k])
        p, to_come = logistic(log_odds[g]), rest / whole
        not_yet = logistic(-log_odds[g]) + p * to_come
        value += n * math.log(not_yet)
        by_to_come = n * p / not_yet
        if k < 0:
            add_booked_slope(by_lag, by_to_come / whole, day, last, edges, shares)
            add_booked_slope(by_lag, -by_to_come * to_come / whole, lower - 1.0, last, edges, shares)
        else:
            slope[k] += by_to_come * (rest_by_mean - to_come * whole_by_mean) / whole
            slope[kinds + k] += by_to_come * (rest_by_scale - to_come * whole_by_scale) / whole
        by_log_odds[g] += n * (to_come - 1.0) / not_yet * p * (1.0 - p)
    return value


@native
def plan_density(x: Floats, reals: Floats, wholes: Integers, layout: Integers) -> tuple[float, Floats]:
    """x: log SDs (S + 1), raw (K), level, slope, offset, delays' means and log scales, z of renewals' bins
    of days, share's level, log SDs of shares."""
    column_of, prior_effect = vector(wholes, layout, COLUMN_OF), vector(reals, layout, PRIOR_EFFECT)
    guess, error, mean_X = vector(reals, layout, GUESS), vector(reals, layout, ERROR), vector(reals, layout, X_MEAN)
    stated, is_stated = vector(reals, layout, STATED), vector(reals, layout, IS_STATED)
    share_mean_X, sums = vector(reals, layout, SHARE_X_MEAN), matrix(reals, layout, SHARE_SUMS)
    prior, window = matrix(reals, layout, PRIOR_PLACE), vector(reals, layout, WINDOW)[0]
    S, K, P, kinds = prior_effect.size, guess.size, mean_X.size, sums.shape[1]
    log_sd, raw = x[:S], x[S : S + K]
    level, slope_at, offset = S + K, S + K + 1, S + K + 2
    edges, spread = vector(reals, layout, LAG_EDGES), vector(reals, layout, LAG_SPREAD)[0]
    events, n_lags, delays = kinds - 1, edges.size - 1, S + K + 3
    lags = delays + 2 * events
    share_level = lags + n_lags
    s = scales_of(log_sd, np.ones(K), column_of)
    coords = coords_of_raw(raw, s, guess, error)
    level_off = x[level] - dot(mean_X, coords[:P]) / prior[INTERCEPT, 1]
    share_off = x[share_level] - dot(share_mean_X, coords[P:]) / prior[SHARE_MEAN, 1]

    log_odds = np.full(stated.size, prior[INTERCEPT, 0] + prior[INTERCEPT, 1] * x[level])
    add_effects(log_odds, matrix(reals, layout, X), coords[:P])
    by_stated = prior[SLOPE, 0] + prior[SLOPE, 1] * x[slope_at]
    by_unstated = prior[UNSTATED, 0] + prior[UNSTATED, 1] * x[offset]
    by_log_odds, hits, misses = np.zeros_like(log_odds), vector(reals, layout, HITS), vector(reals, layout, MISSES)
    value = 0.0
    for g in range(log_odds.size):
        log_odds[g] += is_stated[g] * by_stated * stated[g] + (1.0 - is_stated[g]) * by_unstated
        value -= hits[g] * log1p_exp(-log_odds[g]) + misses[g] * log1p_exp(log_odds[g])
        by_log_odds[g] = hits[g] * logistic(-log_odds[g]) - misses[g] * logistic(log_odds[g])
    mean = prior[DELAY_MEAN, 0] + prior[DELAY_MEAN, 1] * x[delays : delays + events]
    log_scale = prior[DELAY_SCALE, 0] + prior[DELAY_SCALE, 1] * x[delays + events : lags]
    shares = lag_shares(x[lags:share_level], vector(reals, layout, LAG_BASE), spread)
    by_delay, by_lag = np.zeros(2 * events), np.zeros(n_lags)
    delay_cells, open_cells = matrix(reals, layout, DELAY_CELLS), matrix(reals, layout, OPEN_CELLS)
    kind = vector(wholes, layout, DELAY_KIND)
    value += add_delays(by_delay, by_lag, mean, log_scale, shares, edges, kind, delay_cells, window)
    group, kind = vector(wholes, layout, OPEN_GROUP), vector(wholes, layout, OPEN_KIND)
    value += add_open(
        by_delay, by_lag, by_log_odds, log_odds, mean, log_scale, shares, edges, group, kind, open_cells, window
    )

    slope, by_coords = np.zeros_like(x), np.zeros(K)
    share_centre = np.full(kinds, prior[SHARE_MEAN, 0] + prior[SHARE_MEAN, 1] * x[share_level])
    add_effects(share_centre, matrix(reals, layout, SHARE_X), coords[P:])
    by_centre = np.zeros(kinds)
    for k in range(kinds):
        at = share_level + 1 + k
        log_share_sd = prior[SHARE_SD, 0] + prior[SHARE_SD, 1] * x[at]
        n, miss, precision = sums[0, k], sums[1, k] - share_centre[k], math.exp(-2.0 * log_share_sd)
        squares = sums[2, k] + n * miss * miss
        value -= n * log_share_sd + 0.5 * squares * precision
        by_centre[k] = n * miss * precision
        slope[at] += prior[SHARE_SD, 1] * (squares * precision - n)

    add_slopes(by_coords[:P], matrix(reals, layout, X_ROWS), by_log_odds)
    add_slopes(by_coords[P:], matrix(reals, layout, SHARE_X_ROWS), by_centre)
    add_times(by_coords[:P], mean_X, level_off / prior[INTERCEPT, 1])
    add_times(by_coords[P:], share_mean_X, share_off / prior[SHARE_MEAN, 1])
    value += add_half_normals(slope[:S], log_sd, prior_effect)
    nothing = np.zeros(K)
    value += add_pooling(slope[S : S + K], slope[:S], raw, s, guess, error, nothing, column_of, by_coords, np.zeros(K))
    value += add_normals(slope[slope_at:share_level], x[slope_at:share_level], 1.0)
    value += add_normals(slope[share_level + 1 :], x[share_level + 1 :], 1.0)
    value -= 0.5 * (level_off * level_off + share_off * share_off)
    slope[level] += prior[INTERCEPT, 1] * by_log_odds.sum() - level_off
    slope[slope_at] += prior[SLOPE, 1] * dot(by_log_odds, is_stated * stated)
    slope[offset] += prior[UNSTATED, 1] * dot(by_log_odds, 1.0 - is_stated)
    for k in range(events):
        slope[delays + k] += prior[DELAY_MEAN, 1] * by_delay[k]
        slope[delays + events + k] += prior[DELAY_SCALE, 1] * by_delay[events + k]
    for j in range(n_lags):
        slope[lags + j] += spread * by_lag[j]
    slope[share_level] += prior[SHARE_MEAN, 1] * by_centre.sum() - share_off
    return value, slope


@cache
def compiled_plan_density() -> Any:
    """The C function of `plan_density`."""
    version = VERSION

    def density(n, point, slope, value, data):  # type: ignore[no-untyped-def]
        x, y, reals, wholes, layout = opened(n, point, data)
        log_density, by_x = plan_density(x, reals, wholes, layout)
        return closed(n, slope, value, log_density + 0 * version, by_x, y, reals, layout)

    return compiled(density)
