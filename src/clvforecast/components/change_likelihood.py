"""Direction, size and persistence of the change at renewal, with the slope: what `change.change_model` samples.

Four terms share effects by groups: multinomial counts of directions, regressions of sizes, P(beyond the flat band) that
truncates them, and the mixture of both readings of an amended renewal.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells import SMALLEST_CHANGE
from clvforecast.components.native import (
    HALF_LOG_2PI,
    Floats,
    Integers,
    add_effects,
    add_slopes,
    inner,
    log1p_exp,
    logistic,
    matrix,
    native,
    vector,
)

ROOT_HALF = math.sqrt(0.5)
FAR_OUT = -30.0

DATA = (
    "X",
    "pair_row",
    "pair_group",
    "counts",
    "size_features",
    "size_y",
    "size_side",
    "size_at",
    "size_n",
    "size_rest",
    "beyond_features",
    "beyond_scatter",
    "beyond_side",
    "beyond_at",
    "beyond_n",
    "amended_pick",
    "amended_group",
    "amended_features",
    "amended_y",
    "amended_side",
    "amended_at",
    "amended_beyond",
    "amended_in_group",
    "amended_moves",
    "amended_log_jac",
)
(
    X,
    PAIR_ROW,
    PAIR_GROUP,
    COUNTS,
    SIZE_FEATURES,
    SIZE_Y,
    SIZE_SIDE,
    SIZE_AT,
    SIZE_N,
    SIZE_REST,
    BEYOND_FEATURES,
    BEYOND_SCATTER,
    BEYOND_SIDE,
    BEYOND_AT,
    BEYOND_N,
    AMENDED_PICK,
    AMENDED_GROUP,
    AMENDED_FEATURES,
    AMENDED_Y,
    AMENDED_SIDE,
    AMENDED_AT,
    AMENDED_BEYOND,
    AMENDED_IN_GROUP,
    AMENDED_MOVES,
    AMENDED_LOG_JAC,
) = range(len(DATA))
"""X (K, G) effects by groups. `pair`: distinct (row of log odds, group), with their counts (down | flat | up). `size`,
`beyond` and `amended`: features (3, rows) of the mean size, side (0 down, 1 up) and ``at = side G + group``. The first
`beyond_n` cells only count, amended readings point to the others; readings are those without the amendment, then those with."""
LOG_ODDS, MEAN, SLOPE, SD, LOGIT_Q, EFFECTS = 0, 10, 12, 16, 18, 19
"""theta: log odds (5, 2), mean sizes (2), slopes (2, 2) by x and by the term, SDs (2), logit of q, effects (5, K)."""
N_PLACES, PLACE_SIZE, PLACE_PERSISTENCE = 5, 2, 4


@native
def change_log_likelihood(theta: Floats, reals: Floats, wholes: Integers, layout: Integers) -> tuple[float, Floats]:
    """`likelihoods.regression_log_likelihood` less `likelihoods.log_beyond` a renewal, the directions and the mixture."""
    design, slope = matrix(reals, layout, X), np.zeros_like(theta)
    K, G = design.shape
    effect, by_effect = np.zeros((N_PLACES, G)), np.zeros((N_PLACES, G))
    for place in range(N_PLACES):
        first = EFFECTS + place * K
        add_effects(effect[place], design, theta[first : first + K])
    alpha, by_alpha = np.empty(2 * G), np.zeros(2 * G)
    for side in range(2):
        for g in range(G):
            alpha[side * G + g] = theta[MEAN + side] + effect[PLACE_SIZE + side, g]

    value = _sizes(theta, slope, alpha, by_alpha, reals, wholes, layout)
    shares = _log_shares(theta, effect, reals, wholes, layout)
    counts = vector(reals, layout, COUNTS)
    by_share = counts.copy()
    for k in range(counts.size):
        value += counts[k] * shares[k]
    z, log_beyond = _log_beyond(theta, alpha, reals, wholes, layout)
    by_beyond = np.zeros_like(z)
    value += _amended(
        theta, slope, effect, by_effect, alpha, by_alpha, shares, by_share, log_beyond, by_beyond, reals, wholes, layout
    )
    value += _beyond(theta, slope, z, log_beyond, by_beyond, by_alpha, reals, wholes, layout)

    _slopes_of_shares(slope, by_effect, shares, by_share, wholes, layout)
    for side in range(2):
        for g in range(G):
            slope[MEAN + side] += by_alpha[side * G + g]
            by_effect[PLACE_SIZE + side, g] = by_alpha[side * G + g]
    for place in range(N_PLACES):
        first = EFFECTS + place * K
        add_slopes(slope[first : first + K], design, by_effect[place])
    return value, slope


@native
def _log_shares(theta: Floats, effect: Floats, reals: Floats, wholes: Integers, layout: Integers) -> Floats:
    """Log probabilities of (down | flat | up) x pairs."""
    row, group = vector(wholes, layout, PAIR_ROW), vector(wholes, layout, PAIR_GROUP)
    n = row.size
    shares = np.empty(3 * n)
    for k in range(n):
        down = theta[LOG_ODDS + 2 * row[k]] + effect[0, group[k]]
        up = theta[LOG_ODDS + 2 * row[k] + 1] + effect[1, group[k]]
        top = max(down, up, 0.0)
        total = top + math.log(math.exp(down - top) + math.exp(-top) + math.exp(up - top))
        shares[k], shares[n + k], shares[2 * n + k] = down - total, -total, up - total
    return shares


@inner
def _slopes_of_shares(
    slope: Floats, by_effect: Floats, shares: Floats, by_share: Floats, wholes: Integers, layout: Integers
) -> None:
    """The way back of `_log_shares`."""
    row, group = vector(wholes, layout, PAIR_ROW), vector(wholes, layout, PAIR_GROUP)
    n = row.size
    for k in range(n):
        all_three = by_share[k] + by_share[n + k] + by_share[2 * n + k]
        down = by_share[k] - all_three * math.exp(shares[k])
        up = by_share[2 * n + k] - all_three * math.exp(shares[2 * n + k])
        slope[LOG_ODDS + 2 * row[k]] += down
        slope[LOG_ODDS + 2 * row[k] + 1] += up
        by_effect[0, group[k]] += down
        by_effect[1, group[k]] += up


@inner
def _centre(theta: Floats, alpha: Floats, features: Floats, side: int, at: int, i: int) -> float:
    """``features . (alpha, rho, gamma)`` of one row."""
    first = SLOPE + 2 * side
    return features[0, i] * alpha[at] + features[1, i] * theta[first] + features[2, i] * theta[first + 1]


@inner
def _add_to_centre(slope: Floats, by_alpha: Floats, features: Floats, side: int, at: int, i: int, by: float) -> None:
    """The way back of `_centre`."""
    by_alpha[at] += by * features[0, i]
    slope[SLOPE + 2 * side] += by * features[1, i]
    slope[SLOPE + 2 * side + 1] += by * features[2, i]


@native
def _sizes(
    theta: Floats, slope: Floats, alpha: Floats, by_alpha: Floats, reals: Floats, wholes: Integers, layout: Integers
) -> float:
    """Normal densities of the sizes, from rows that have the same sums of squares."""
    features, y = matrix(reals, layout, SIZE_FEATURES), vector(reals, layout, SIZE_Y)
    sides, at = vector(wholes, layout, SIZE_SIDE), vector(wholes, layout, SIZE_AT)
    n, rest = vector(reals, layout, SIZE_N), vector(reals, layout, SIZE_REST)
    value = 0.0
    for side in range(2):
        sd = theta[SD + side]
        value -= n[side] * (math.log(sd) + HALF_LOG_2PI) + 0.5 * rest[side] / sd**2
        slope[SD + side] += (rest[side] / sd**2 - n[side]) / sd
    for i in range(y.size):
        side = sides[i]
        sd = theta[SD + side]
        miss = (y[i] - _centre(theta, alpha, features, side, at[i], i)) / sd
        value -= 0.5 * miss * miss
        slope[SD + side] += miss * miss / sd
        _add_to_centre(slope, by_alpha, features, side, at[i], i, miss / sd)
    return value


@native
def _log_beyond(
    theta: Floats, alpha: Floats, reals: Floats, wholes: Integers, layout: Integers
) -> tuple[Floats, Floats]:
    """z of each coarse cell and ``log P(y > SMALLEST_CHANGE) = log Phi(z)``."""
    features = matrix(reals, layout, BEYOND_FEATURES)
    sides, at = vector(wholes, layout, BEYOND_SIDE), vector(wholes, layout, BEYOND_AT)
    z, log_beyond = np.empty(sides.size), np.empty(sides.size)
    for i in range(sides.size):
        side = sides[i]
        z[i] = (_centre(theta, alpha, features, side, at[i], i) - SMALLEST_CHANGE) / theta[SD + side]
        log_beyond[i] = log_phi(z[i])
    return z, log_beyond


@inner
def log_phi(z: float) -> float:
    """log of the standard normal's distribution function; far out, where that is nearly 0, its asymptote."""
    if z > FAR_OUT:
        return math.log(0.5 * math.erfc(-z * ROOT_HALF))
    return -0.5 * z * z - math.log(-z) - HALF_LOG_2PI - 1.0 / (z * z)


@inner
def phi_slopes(z: float, of_z: float) -> tuple[float, float]:
    """First and second derivative of `log_phi`, of which `of_z` is the value: ``h = phi/Phi`` and ``-h (h + z)``."""
    hazard = math.exp(-0.5 * z * z - HALF_LOG_2PI - of_z)
    return hazard, -hazard * (hazard + z)


@native
def _beyond(
    theta: Floats,
    slope: Floats,
    z: Floats,
    log_beyond: Floats,
    by_beyond: Floats,
    by_alpha: Floats,
    reals: Floats,
    wholes: Integers,
    layout: Integers,
) -> float:
    """The truncation: log P(beyond) a renewal, to second order about the mean of a coarse cell.

    `by_beyond` has what amended readings add to the slope by log P.
    """
    features, scatter = matrix(reals, layout, BEYOND_FEATURES), matrix(reals, layout, BEYOND_SCATTER)
    sides, at = vector(wholes, layout, BEYOND_SIDE), vector(wholes, layout, BEYOND_AT)
    n = vector(reals, layout, BEYOND_N)
    value = 0.0
    for i in range(z.size):
        side = sides[i]
        sd, first = theta[SD + side], SLOPE + 2 * side
        hazard, bend = phi_slopes(z[i], log_beyond[i])
        by_z = by_beyond[i] * hazard
        if i < n.size:
            rho, gamma = theta[first], theta[first + 1]
            of_x, of_both, of_term = scatter[0, i], scatter[1, i], scatter[2, i]
            spread = (rho**2 * of_x + 2.0 * rho * gamma * of_both + gamma**2 * of_term) / sd**2
            value -= n[i] * log_beyond[i] + 0.5 * bend * spread
            by_z -= n[i] * hazard - 0.5 * spread * (bend * (2.0 * hazard + z[i]) + hazard)
            slope[SD + side] += bend * spread / sd
            slope[first] -= bend * (rho * of_x + gamma * of_both) / sd**2
            slope[first + 1] -= bend * (rho * of_both + gamma * of_term) / sd**2
        slope[SD + side] -= by_z * z[i] / sd
        _add_to_centre(slope, by_alpha, features, side, at[i], i, by_z / sd)
    return value


@native
def _amended(
    theta: Floats,
    slope: Floats,
    effect: Floats,
    by_effect: Floats,
    alpha: Floats,
    by_alpha: Floats,
    shares: Floats,
    by_share: Floats,
    log_beyond: Floats,
    by_beyond: Floats,
    reals: Floats,
    wholes: Integers,
    layout: Integers,
) -> float:
    """``log(q density_1 + (1 - q) density_0)`` a row; density_I = P(direction_I) x density of the size in log ratio.

    ``log(q e^1 + (1 - q) e^0) = density_0 + log(1 + e^(logit q + density_1 - density_0)) - log(1 + e^(logit q))``.
    """
    group, in_group = vector(wholes, layout, AMENDED_GROUP), vector(reals, layout, AMENDED_IN_GROUP)
    pick, cell = vector(wholes, layout, AMENDED_PICK), vector(wholes, layout, AMENDED_BEYOND)
    features, y = matrix(reals, layout, AMENDED_FEATURES), vector(reals, layout, AMENDED_Y)
    sides, at = vector(wholes, layout, AMENDED_SIDE), vector(wholes, layout, AMENDED_AT)
    moves, log_jac = vector(reals, layout, AMENDED_MOVES), vector(reals, layout, AMENDED_LOG_JAC)
    A, value = group.size, 0.0
    density, miss = np.empty(2 * A), np.empty(2 * A)
    for i in range(2 * A):
        sd = theta[SD + sides[i]]
        miss[i] = (y[i] - _centre(theta, alpha, features, sides[i], at[i], i)) / sd
        normal = -0.5 * miss[i] * miss[i] - math.log(sd) - HALF_LOG_2PI
        density[i] = shares[pick[i]] + moves[i] * (normal - log_beyond[cell[i]]) + log_jac[i]
    for g in range(in_group.size):
        logit_q = theta[LOGIT_Q] + effect[PLACE_PERSISTENCE, g]
        value -= in_group[g] * log1p_exp(logit_q)
        by_effect[PLACE_PERSISTENCE, g] -= in_group[g] * logistic(logit_q)
    for i in range(A):
        gain = theta[LOGIT_Q] + effect[PLACE_PERSISTENCE, group[i]] + density[A + i] - density[i]
        value += density[i] + log1p_exp(gain)
        carried = logistic(gain)
        by_effect[PLACE_PERSISTENCE, group[i]] += carried
        _add_reading(
            slope, theta, by_alpha, by_share, by_beyond, features, sides, at, pick, cell, moves, miss, i, 1.0 - carried
        )
        _add_reading(
            slope, theta, by_alpha, by_share, by_beyond, features, sides, at, pick, cell, moves, miss, A + i, carried
        )
    slope[LOGIT_Q] += by_effect[PLACE_PERSISTENCE].sum()
    return value


@inner
def _add_reading(
    slope: Floats,
    theta: Floats,
    by_alpha: Floats,
    by_share: Floats,
    by_beyond: Floats,
    features: Floats,
    sides: NDArray[np.int64],
    at: NDArray[np.int64],
    pick: NDArray[np.int64],
    cell: NDArray[np.int64],
    moves: Floats,
    miss: Floats,
    i: int,
    weight: float,
) -> None:
    """The way back of one reading's log density, of which the value moves by `weight`."""
    by_share[pick[i]] += weight
    if moves[i] == 0.0:
        return
    side, sd = sides[i], theta[SD + sides[i]]
    by_beyond[cell[i]] -= weight
    slope[SD + side] += weight * (miss[i] * miss[i] - 1.0) / sd
    _add_to_centre(slope, by_alpha, features, side, at[i], i, weight * miss[i] / sd)
