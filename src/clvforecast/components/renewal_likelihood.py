"""Renewed, lapsed or still open, with the slope: what `renewal.renewal_model` samples."""

from __future__ import annotations

import math

import numpy as np

from clvforecast.components.native import (
    Floats,
    Integers,
    add_effects,
    add_slopes,
    inner,
    log_gamma_and_slope,
    logistic,
    matrix,
    native,
    vector,
)

DATA = (
    "group_X",
    "step_X",
    "log_t0",
    "log_t1",
    "path_steps",
    "path_start",
    "path_end",
    "node_group",
    "node_weight",
    "before",
    "after",
    "cell_count",
    "delay_of",
    "not_yet",
    "told_by",
)
(
    GROUP_X,
    STEP_X,
    LOG_T0,
    LOG_T1,
    PATH_STEPS,
    PATH_START,
    PATH_END,
    NODE_GROUP,
    NODE_WEIGHT,
    BEFORE,
    AFTER,
    CELL_COUNT,
    DELAY_OF,
    NOT_YET,
    TOLD_BY,
) = range(len(DATA))
"""Effects by groups (K, G) and by steps (P - K, S); a step's years from t0 to t1; a node's path of steps, its group and how
often its log S counts; a cell's last decision from node `before` to node `after`, and which delay it has; the shares of the
lag bins (D, J) that are still to come and that are told by then."""
LOGIT_MU, TOTAL, CLOCK, NOTICE_SHARE, EFFECTS = range(5)
"""theta: logit of mu, a + b, exponent c, share of lapses that are told, P effects, stick-breaking fractions (J - 1) of the
shares of booking lags, then of notices'."""


@native
def renewal_log_likelihood(theta: Floats, reals: Floats, wholes: Integers, layout: Integers) -> tuple[float, Floats]:
    """With p = S(n+1)/S(n): ``sum node_weight log S + sum count log[(1 - F) p + (1 - p)(1 - psi G)]``.

    Every term is positive, so nothing cancels: 1 - p is -expm1(log p). See `likelihoods.delay_log_likelihood`.
    """
    group_X, step_X = matrix(reals, layout, GROUP_X), matrix(reals, layout, STEP_X)
    K = EFFECTS + group_X.shape[0]
    P = K + step_X.shape[0]
    slope = np.zeros_like(theta)
    eta = np.full(group_X.shape[1], theta[LOGIT_MU])
    add_effects(eta, group_X, theta[EFFECTS:K])
    mu = np.empty_like(eta)
    for g in range(eta.size):
        mu[g] = logistic(eta[g])
    scale = np.zeros(step_X.shape[1])
    add_effects(scale, step_X, theta[K:P])
    for s in range(scale.size):
        scale[s] = math.exp(scale[s])

    log_S, of_a, of_total, psi_start = _log_survival(theta, mu, scale, reals, wholes, layout)
    value, by_log_S = _last_decisions(theta, slope, P, log_S, reals, wholes, layout)
    node_weight = vector(reals, layout, NODE_WEIGHT)
    for v in range(log_S.size):
        value += node_weight[v] * log_S[v]
        by_log_S[v] += node_weight[v]
    by_a, by_w = _slopes_of_nodes(theta, slope, mu, by_log_S, of_a, of_total, psi_start, wholes, layout, scale.size)

    total = theta[TOTAL]
    for g in range(mu.size):
        slope[TOTAL] += by_a[g] * mu[g]
        eta[g] = by_a[g] * total * mu[g] * (1.0 - mu[g])
        slope[LOGIT_MU] += eta[g]
    add_slopes(slope[EFFECTS:K], group_X, eta)
    log_t0, log_t1 = vector(reals, layout, LOG_T0), vector(reals, layout, LOG_T1)
    _add_slopes_of_steps(slope, theta, scale, log_t0, log_t1, by_w)
    add_slopes(slope[K:P], step_X, by_w)
    return value, slope


@native
def _log_survival(
    theta: Floats, mu: Floats, scale: Floats, reals: Floats, wholes: Integers, layout: Integers
) -> tuple[Floats, Floats, Floats, Floats]:
    """log S of every node, its slopes by a + W and by a + b + W; and by group the slope of log Gamma at a."""
    log_t0, log_t1 = vector(reals, layout, LOG_T0), vector(reals, layout, LOG_T1)
    steps, node_group = vector(wholes, layout, PATH_STEPS), vector(wholes, layout, NODE_GROUP)
    start, end = vector(wholes, layout, PATH_START), vector(wholes, layout, PATH_END)
    total, c = theta[TOTAL], theta[CLOCK]
    w = np.empty_like(scale)
    for s in range(w.size):
        w[s] = (math.exp(c * log_t1[s]) - math.exp(c * log_t0[s])) * scale[s]
    log_gamma_total = log_gamma_and_slope(total)[0]
    at_start, psi_start = np.empty_like(mu), np.empty_like(mu)
    for g in range(mu.size):
        log_gamma_start, psi_start[g] = log_gamma_and_slope(mu[g] * total)
        at_start[g] = log_gamma_total - log_gamma_start
    n = node_group.size
    log_S, of_a, of_total = np.empty(n), np.empty(n), np.empty(n)
    for v in range(n):
        W = 0.0
        for at in range(start[v], end[v]):
            W += w[steps[at]]
        # log S = log B(a + W, b) - log B(a, b); a + b is the same for all groups
        g = node_group[v]
        kept, of_a[v] = log_gamma_and_slope(mu[g] * total + W)
        all_, of_total[v] = log_gamma_and_slope(total + W)
        log_S[v] = kept - all_ + at_start[g]
    return log_S, of_a, of_total, psi_start


@native
def _slopes_of_nodes(
    theta: Floats,
    slope: Floats,
    mu: Floats,
    by_log_S: Floats,
    of_a: Floats,
    of_total: Floats,
    psi_start: Floats,
    wholes: Integers,
    layout: Integers,
    n_steps: int,
) -> tuple[Floats, Floats]:
    """The way back of `_log_survival`: slopes by a of each group and by w of each step; that by a + b goes into `slope`."""
    steps, node_group = vector(wholes, layout, PATH_STEPS), vector(wholes, layout, NODE_GROUP)
    start, end = vector(wholes, layout, PATH_START), vector(wholes, layout, PATH_END)
    psi_total = log_gamma_and_slope(theta[TOTAL])[1]
    by_a, by_w, weight_of_group = np.zeros_like(mu), np.zeros(n_steps), np.zeros_like(mu)
    for v in range(by_log_S.size):
        weight = by_log_S[v]
        if weight == 0.0 or start[v] == end[v]:
            continue
        g = node_group[v]
        by_a[g] += weight * of_a[v]
        weight_of_group[g] += weight
        slope[TOTAL] += weight * (psi_total - of_total[v])
        for at in range(start[v], end[v]):
            by_w[steps[at]] += weight * (of_a[v] - of_total[v])
    for g in range(mu.size):
        by_a[g] -= weight_of_group[g] * psi_start[g]
    return by_a, by_w


@inner
def _add_slopes_of_steps(
    slope: Floats, theta: Floats, scale: Floats, log_t0: Floats, log_t1: Floats, by_w: Floats
) -> None:
    """The slope by c into `slope`; `by_w` becomes that by log w."""
    c = theta[CLOCK]
    for s in range(scale.size):
        to, since = math.exp(c * log_t1[s]), math.exp(c * log_t0[s])
        slope[CLOCK] += by_w[s] * scale[s] * (to * log_t1[s] - since * log_t0[s])
        by_w[s] *= (to - since) * scale[s]


@native
def _last_decisions(
    theta: Floats,
    slope: Floats,
    first_lag: int,
    log_S: Floats,
    reals: Floats,
    wholes: Integers,
    layout: Integers,
) -> tuple[float, Floats]:
    """What the last decision of the cells says, its slope by log S, and into `slope` that by the lags and by psi."""
    before, after = vector(wholes, layout, BEFORE), vector(wholes, layout, AFTER)
    count, delay_of = vector(reals, layout, CELL_COUNT), vector(wholes, layout, DELAY_OF)
    not_yet, told_by = matrix(reals, layout, NOT_YET), matrix(reals, layout, TOLD_BY)
    D, J = not_yet.shape
    first_notice = first_lag + J - 1
    psi, lags, notices = theta[NOTICE_SHARE], _shares(theta[first_lag:first_notice]), _shares(theta[first_notice:])
    late, told = np.zeros(D), np.zeros(D)
    for r in range(D):
        for j in range(J):
            late[r] += not_yet[r, j] * lags[j]
            told[r] += told_by[r, j] * notices[j]
    by_late, by_told, by_log_S = np.zeros(D), np.zeros(D), np.zeros_like(log_S)
    value = 0.0
    for i in range(before.size):
        step, r = log_S[after[i]] - log_S[before[i]], delay_of[i]
        renewed, lapsed = math.exp(step), -math.expm1(step)
        silent = 1.0 - psi * told[r]
        likelihood = late[r] * renewed + silent * lapsed
        value += count[i] * math.log(likelihood)
        each = count[i] / likelihood
        by_step = each * (late[r] - silent) * renewed
        by_log_S[after[i]] += by_step
        by_log_S[before[i]] -= by_step
        by_late[r] += each * renewed
        by_told[r] -= each * lapsed * psi
        slope[NOTICE_SHARE] -= each * lapsed * told[r]
    by_lag, by_notice = np.zeros(J), np.zeros(J)
    for r in range(D):
        for j in range(J):
            by_lag[j] += by_late[r] * not_yet[r, j]
            by_notice[j] += by_told[r] * told_by[r, j]
    _add_slope_of_shares(slope[first_lag:first_notice], theta[first_lag:first_notice], by_lag)
    _add_slope_of_shares(slope[first_notice:], theta[first_notice:], by_notice)
    return value, by_log_S


@native
def _shares(v: Floats) -> Floats:
    """Shares (J,) of the bins: ``f_j = v_j (1 - v_1) ... (1 - v_{j-1})``, the last bin has what is left."""
    shares, left = np.empty(v.size + 1), 1.0
    for j in range(v.size):
        shares[j] = v[j] * left
        left *= 1.0 - v[j]
    shares[v.size] = left
    return shares


@native
def _add_slope_of_shares(slope: Floats, v: Floats, by_share: Floats) -> None:
    """The way back of `_shares`: ``v_j`` moves from what all later bins have, on average, to its own, what is left at j."""
    left = np.ones(v.size + 1)
    for j in range(v.size):
        left[j + 1] = left[j] * (1.0 - v[j])
    later = by_share[v.size]
    for j in range(v.size - 1, -1, -1):
        slope[j] += left[j] * (by_share[j] - later)
        later = by_share[j] * v[j] + later * (1.0 - v[j])
