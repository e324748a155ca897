"""Direction, size and persistence of the change at renewal, with the slope: what `change.change_model` samples.

Four terms share effects by groups: multinomial counts of directions, regressions of sizes, P(beyond the flat band) that
truncates them, and the mixture of both readings of an amended renewal.
"""

from __future__ import annotations

import math

import numpy as np

from clvforecast.arithmetic import HALF_LOG_2PI, exp, inlined, log, log1p, log1p_exp, logistic
from clvforecast.cells import SMALLEST_CHANGE
from clvforecast.components.native import Floats, Integers, add_effects, add_slopes, inner, matrix, native, vector

ROOT_HALF = math.sqrt(0.5)

DATA = (
    "X",
    "X_rows",
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
    X_ROWS,
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
"""X (K, G) effects by groups, and transposed. `pair`: distinct (row of log odds, group), with their counts (down | flat | up).
`size`, `beyond` and `amended`: features (3, rows) of the mean size, side (0 down, 1 up) and ``at = side G + group``. The first
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
    z, log_beyond, hazard = _log_beyond(theta, alpha, reals, wholes, layout)
    by_beyond = np.zeros_like(z)
    value += _amended(
        theta, slope, effect, by_effect, alpha, by_alpha, shares, by_share, log_beyond, by_beyond, reals, wholes, layout
    )
    value += _beyond(theta, slope, z, log_beyond, hazard, by_beyond, by_alpha, reals, wholes, layout)

    _slopes_of_shares(slope, by_effect, shares, by_share, wholes, layout)
    for side in range(2):
        for g in range(G):
            slope[MEAN + side] += by_alpha[side * G + g]
            by_effect[PLACE_SIZE + side, g] = by_alpha[side * G + g]
    for place in range(N_PLACES):
        first = EFFECTS + place * K
        add_slopes(slope[first : first + K], matrix(reals, layout, X_ROWS), by_effect[place])
    return value, slope


@native
def _log_shares(theta: Floats, effect: Floats, reals: Floats, wholes: Integers, layout: Integers) -> Floats:
    """Log probabilities of (down | flat | up) x pairs."""
    row, group = vector(wholes, layout, PAIR_ROW), vector(wholes, layout, PAIR_GROUP)
    n = row.size
    shares = np.empty((3, n))
    for k in range(n):
        shares[0, k] = theta[LOG_ODDS + 2 * row[k]] + effect[0, group[k]]
        shares[2, k] = theta[LOG_ODDS + 2 * row[k] + 1] + effect[1, group[k]]
    for k in range(n):
        down, up = shares[0, k], shares[2, k]
        top = max(max(down, up), 0.0)
        total = top + log(exp(down - top) + exp(-top) + exp(up - top))
        shares[0, k], shares[1, k], shares[2, k] = down - total, -total, up - total
    return shares.ravel()


@native
def _slopes_of_shares(
    slope: Floats, by_effect: Floats, shares: Floats, by_share: Floats, wholes: Integers, layout: Integers
) -> None:
    """The way back of `_log_shares`."""
    row, group = vector(wholes, layout, PAIR_ROW), vector(wholes, layout, PAIR_GROUP)
    n = row.size
    down, flat, up = by_share[:n], by_share[n : 2 * n], by_share[2 * n :]
    log_down, log_up, by_down, by_up = shares[:n], shares[2 * n :], np.empty(n), np.empty(n)
    for k in range(n):
        all_three = down[k] + flat[k] + up[k]
        by_down[k], by_up[k] = down[k] - all_three * exp(log_down[k]), up[k] - all_three * exp(log_up[k])
    for k in range(n):
        slope[LOG_ODDS + 2 * row[k]] += by_down[k]
        slope[LOG_ODDS + 2 * row[k] + 1] += by_up[k]
        by_effect[0, group[k]] += by_down[k]
        by_effect[1, group[k]] += by_up[k]


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
) -> tuple[Floats, Floats, Floats]:
    """z of each coarse cell, ``log P(y > SMALLEST_CHANGE) = log Phi(z)``, and the hazard phi / Phi."""
    features = matrix(reals, layout, BEYOND_FEATURES)
    sides, at = vector(wholes, layout, BEYOND_SIDE), vector(wholes, layout, BEYOND_AT)
    z, log_beyond, hazard = np.empty(sides.size), np.empty(sides.size), np.empty(sides.size)
    for i in range(sides.size):
        side = sides[i]
        z[i] = (_centre(theta, alpha, features, side, at[i], i) - SMALLEST_CHANGE) / theta[SD + side]
    for i in range(sides.size):
        log_beyond[i], hazard[i] = log_phi_and_hazard(z[i])
    return z, log_beyond, hazard


@inlined
def log_phi_and_hazard(z: float) -> tuple[float, float]:
    """log of the standard normal's distribution function, and its derivative phi / Phi.

    ``erfc(x) = t exp(-x^2 + P(2 t - 1))``, t = 2 / (2 + x), for x >= 0 (the form is that of Numerical Recipes, 3rd edition,
    6.2.2), so the far tail is as exact as the middle.
    """
    x = abs(z) * ROOT_HALF
    t = 2.0 / (2.0 + x)
    scaled_tail = log(0.5 * t) + log_scaled_erfc(2.0 * t - 1.0)
    is_low = z < 0.0
    log_tail = scaled_tail - x * x
    log_rest = log1p(-exp(log_tail))
    low, high = -scaled_tail - HALF_LOG_2PI, -x * x - HALF_LOG_2PI - log_rest
    return (log_tail if is_low else log_rest), exp(low if is_low else high)


@inlined
def log_scaled_erfc(y: float) -> float:
    """P of `log_phi_and_hazard`: ``log(e^(x^2) erfc(x) / t)``, interpolated in 24 Chebyshev points of y = 2 t - 1."""
    z = y * y
    w = z * z
    p0 = (-0.6717940840566909 + y * 0.6726432239776703) + z * (0.04734330684156977 + y * -0.046895610232521014)
    p1 = (-0.009872689349831579 + y * 0.008824938596731169) + z * (0.0017589332307689593 + y * -0.0023458130307361107)
    p2 = (-0.00014624350842910397 + y * 0.0006736826626365654) + z * (
        -9.375541685111935e-05 + y * -0.00017431984747418028
    )
    p3 = (7.147994267597824e-05 + y * 3.179145915055415e-05) + z * (-3.0390579543867112e-05 + y * 5.792010900525722e-08)
    p4 = (8.913973942981102e-06 + y * -2.8657917331050458e-06) + z * (
        -1.6825300311514484e-06 + y * 1.2107411748729648e-06
    )
    p5 = (1.4637286464373254e-07 + y * -2.589270782967409e-07) + z * (3.337239225705465e-09 + y * 2.421438694000244e-08)
    return (p0 + w * p1) + w * w * ((p2 + w * p3) + w * w * (p4 + w * p5))


@native
def _beyond(
    theta: Floats,
    slope: Floats,
    z: Floats,
    log_beyond: Floats,
    hazard: Floats,
    by_beyond: Floats,
    by_alpha: Floats,
    reals: Floats,
    wholes: Integers,
    layout: Integers,
) -> float:
    """The truncation: log P(beyond) a renewal, to second order about the mean of a coarse cell.

    `by_beyond` has what amended readings add to the slope by log P. The second derivative of log Phi is -h (h + z), h the
    hazard.
    """
    features, scatter = matrix(reals, layout, BEYOND_FEATURES), matrix(reals, layout, BEYOND_SCATTER)
    sides, at = vector(wholes, layout, BEYOND_SIDE), vector(wholes, layout, BEYOND_AT)
    n = vector(reals, layout, BEYOND_N)
    value = 0.0
    for i in range(z.size):
        side = sides[i]
        sd, first = theta[SD + side], SLOPE + 2 * side
        by_z = by_beyond[i] * hazard[i]
        if i < n.size:
            rho, gamma = theta[first], theta[first + 1]
            bend = -hazard[i] * (hazard[i] + z[i])
            of_x, of_both, of_term = scatter[0, i], scatter[1, i], scatter[2, i]
            spread = (rho**2 * of_x + 2.0 * rho * gamma * of_both + gamma**2 * of_term) / sd**2
            value -= n[i] * log_beyond[i] + 0.5 * bend * spread
            by_z -= n[i] * hazard[i] - 0.5 * spread * (bend * (2.0 * hazard[i] + z[i]) + hazard[i])
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
    A, value, sd_of = group.size, 0.0, theta[SD : SD + 2]
    log_norm = np.log(sd_of) + HALF_LOG_2PI
    density, miss = np.empty(2 * A), np.empty(2 * A)
    for i in range(2 * A):
        miss[i] = (y[i] - _centre(theta, alpha, features, sides[i], at[i], i)) / sd_of[sides[i]]
        normal = -0.5 * miss[i] * miss[i] - log_norm[sides[i]]
        density[i] = shares[pick[i]] + moves[i] * (normal - log_beyond[cell[i]]) + log_jac[i]
    for g in range(in_group.size):
        logit_q = theta[LOGIT_Q] + effect[PLACE_PERSISTENCE, g]
        value -= in_group[g] * log1p_exp(logit_q)
        by_effect[PLACE_PERSISTENCE, g] -= in_group[g] * logistic(logit_q)
    weight, mixture = np.empty(2 * A), np.empty(A)
    without, carried = weight[:A], weight[A:]
    for i in range(A):
        mixture[i] = theta[LOGIT_Q] + effect[PLACE_PERSISTENCE, group[i]] + density[A + i] - density[i]
    for i in range(A):
        gain = mixture[i]
        small = exp(-abs(gain))
        mixture[i] = density[i] + (gain if gain > 0.0 else 0.0) + log1p(small)
        carried[i] = (1.0 if gain >= 0.0 else small) / (1.0 + small)
        without[i] = (small if gain >= 0.0 else 1.0) / (1.0 + small)
    for i in range(A):
        value += mixture[i]
        by_effect[PLACE_PERSISTENCE, group[i]] += carried[i]
    _add_readings(slope, sd_of, by_alpha, by_share, by_beyond, miss, weight, reals, wholes, layout)
    slope[LOGIT_Q] += by_effect[PLACE_PERSISTENCE].sum()
    return value


@native
def _add_readings(
    slope: Floats,
    sd_of: Floats,
    by_alpha: Floats,
    by_share: Floats,
    by_beyond: Floats,
    miss: Floats,
    weight: Floats,
    reals: Floats,
    wholes: Integers,
    layout: Integers,
) -> None:
    """The way back of the readings' log densities, of which the value moves by `weight`."""
    pick, cell = vector(wholes, layout, AMENDED_PICK), vector(wholes, layout, AMENDED_BEYOND)
    features, moves = matrix(reals, layout, AMENDED_FEATURES), vector(reals, layout, AMENDED_MOVES)
    sides, at = vector(wholes, layout, AMENDED_SIDE), vector(wholes, layout, AMENDED_AT)
    for i in range(weight.size):
        by_share[pick[i]] += weight[i]
        if moves[i] == 0.0:
            continue
        side = sides[i]
        by_beyond[cell[i]] -= weight[i]
        slope[SD + side] += weight[i] * (miss[i] * miss[i] - 1.0) / sd_of[side]
        _add_to_centre(slope, by_alpha, features, side, at[i], i, weight[i] * miss[i] / sd_of[side])
