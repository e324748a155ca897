"""Renewed, lapsed or still open, with the slope: what `renewal.renewal_model` samples."""

from __future__ import annotations

import numpy as np

from clvforecast.arithmetic import exp, expm1_and_power, log, log_gamma_and_slope, log_gamma_ratio_and_slopes, logistic
from clvforecast.components.native import Floats, Integers, add_effects, add_slopes, dot, matrix, native, vector

DATA = (
    "group_X",
    "step_X",
    "group_rows",
    "step_rows",
    "log_t0",
    "log_t1",
    "path_before",
    "path_step",
    "node_path",
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
    GROUP_ROWS,
    STEP_ROWS,
    LOG_T0,
    LOG_T1,
    PATH_BEFORE,
    PATH_STEP,
    NODE_PATH,
    NODE_GROUP,
    NODE_WEIGHT,
    BEFORE,
    AFTER,
    CELL_COUNT,
    DELAY_OF,
    NOT_YET,
    TOLD_BY,
) = range(len(DATA))
"""Effects by groups (K, G) and by steps (P - K, S), and transposed; a step's years from t0 to t1; a path as the path before its
last step and that step; a node's path, its group and how often its log S counts; a cell's last decision from node `before` to
node `after`, and which delay it has; the shares of the lag bins (D, J) that are still to come and that are told by then."""
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
    slope, total = np.zeros_like(theta), theta[TOTAL]
    eta = np.full(group_X.shape[1], theta[LOGIT_MU])
    add_effects(eta, group_X, theta[EFFECTS:K])
    a = np.empty_like(eta)
    for g in range(eta.size):
        a[g] = total * logistic(eta[g])
    w, by_clock = _weights(theta[CLOCK], theta[K:P], step_X, reals, layout)
    W = _sums_of_paths(w, wholes, layout)
    log_S, of_a, of_W = _log_survival(a, total, W, wholes, layout)

    value, by_log_S = _last_decisions(theta, slope, P, log_S, reals, wholes, layout)
    node_weight = vector(reals, layout, NODE_WEIGHT)
    value += dot(node_weight, log_S)
    for v in range(log_S.size):
        by_log_S[v] += node_weight[v]

    by_a, by_w = _slopes_of_nodes(slope, a, total, by_log_S, of_a, of_W, wholes, layout, w.size)
    for g in range(a.size):
        mu = a[g] / total
        slope[TOTAL] += by_a[g] * mu
        eta[g] = by_a[g] * a[g] * (1.0 - mu)
        slope[LOGIT_MU] += eta[g]
    add_slopes(slope[EFFECTS:K], matrix(reals, layout, GROUP_ROWS), eta)
    slope[CLOCK] += dot(by_w, by_clock)
    for s in range(w.size):
        by_w[s] *= w[s]
    add_slopes(slope[K:P], matrix(reals, layout, STEP_ROWS), by_w)
    return value, slope


@native
def _weights(c: float, effects: Floats, step_X: Floats, reals: Floats, layout: Integers) -> tuple[Floats, Floats]:
    """``w = (t1^c - t0^c) exp(effects)`` of every step, and its slope by c."""
    log_t0, log_t1 = vector(reals, layout, LOG_T0), vector(reals, layout, LOG_T1)
    w, by_clock = np.zeros(log_t0.size), np.empty(log_t0.size)
    add_effects(w, step_X, effects)
    for s in range(w.size):
        scale, to, since = exp(w[s]), exp(c * log_t1[s]), exp(c * log_t0[s])
        w[s] = (to - since) * scale
        by_clock[s] = (to * log_t1[s] - since * log_t0[s]) * scale
    return w, by_clock


@native
def _sums_of_paths(w: Floats, wholes: Integers, layout: Integers) -> Floats:
    """W of every path: that of the path without its last step, and the step's; the first path is empty."""
    before, last = vector(wholes, layout, PATH_BEFORE), vector(wholes, layout, PATH_STEP)
    W = np.zeros(before.size)
    for u in range(1, W.size):
        W[u] = W[before[u]] + w[last[u]]
    return W


@native
def _log_survival(
    a: Floats, total: float, W: Floats, wholes: Integers, layout: Integers
) -> tuple[Floats, Floats, Floats]:
    """``log S = log B(a + W, b) - log B(a, b)`` of every node, its slope by a + W, and that less the one by a + b + W: by W.

    a + b is the same for all groups. Where W is 0 both betas are the same numbers, so S is exactly 1.
    """
    node_group, node_path = vector(wholes, layout, NODE_GROUP), vector(wholes, layout, NODE_PATH)
    at_start = np.empty_like(a)
    for g in range(a.size):
        at_start[g] = log_gamma_ratio_and_slopes(a[g], total - a[g])[0]
    n = node_group.size
    log_S, of_a, of_W = np.empty(n), np.empty(n), np.empty(n)
    for v in range(n):
        of_a[v], of_W[v] = a[node_group[v]] + W[node_path[v]], total - a[node_group[v]]
    for v in range(n):
        log_S[v], of_a[v], of_W[v] = log_gamma_ratio_and_slopes(of_a[v], of_W[v])
    for v in range(n):
        log_S[v] -= at_start[node_group[v]]
    return log_S, of_a, of_W


@native
def _slopes_of_nodes(
    slope: Floats,
    a: Floats,
    total: float,
    by_log_S: Floats,
    of_a: Floats,
    of_W: Floats,
    wholes: Integers,
    layout: Integers,
    n_steps: int,
) -> tuple[Floats, Floats]:
    """The way back of `_log_survival` and `_sums_of_paths`: slopes by a of each group and by w of each step.

    That by a + b goes into `slope`.
    """
    node_group, node_path = vector(wholes, layout, NODE_GROUP), vector(wholes, layout, NODE_PATH)
    before, last = vector(wholes, layout, PATH_BEFORE), vector(wholes, layout, PATH_STEP)
    by_a, weight_of_group = np.zeros_like(a), np.zeros_like(a)
    by_w, by_W = np.zeros(n_steps), np.zeros(before.size)
    for v in range(by_log_S.size):
        g, weight = node_group[v], by_log_S[v]
        by_a[g] += weight * of_a[v]
        weight_of_group[g] += weight
        by_W[node_path[v]] += weight * of_W[v]
    slope[TOTAL] += weight_of_group.sum() * log_gamma_and_slope(total)[1] + dot(by_log_S, of_W) - dot(by_log_S, of_a)
    for g in range(a.size):
        by_a[g] -= weight_of_group[g] * log_gamma_and_slope(a[g])[1]
    for u in range(by_W.size - 1, 0, -1):
        by_w[last[u]] += by_W[u]
        by_W[before[u]] += by_W[u]
    return by_a, by_w


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
        late[r], told[r] = dot(not_yet[r], lags), dot(told_by[r], notices)
    n = before.size
    step, renewed, lapsed = np.empty(n), np.empty(n), np.empty(n)
    open_, silent, log_likelihood = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        step[i] = log_S[after[i]] - log_S[before[i]]
        open_[i], silent[i] = late[delay_of[i]], 1.0 - psi * told[delay_of[i]]
    for i in range(n):
        small, power = expm1_and_power(step[i])
        renewed[i], lapsed[i] = power + power * small, (1.0 - power) - power * small
        likelihood = open_[i] * renewed[i] + silent[i] * lapsed[i]
        log_likelihood[i] = log(likelihood)
        each = count[i] / likelihood
        step[i] = each * (open_[i] - silent[i]) * renewed[i]
        renewed[i] *= each
        lapsed[i] *= each
    by_late, by_told, by_log_S = np.zeros(D), np.zeros(D), np.zeros_like(log_S)
    for i in range(n):
        by_log_S[after[i]] += step[i]
        by_log_S[before[i]] -= step[i]
        by_late[delay_of[i]] += renewed[i]
        by_told[delay_of[i]] -= lapsed[i]
    slope[NOTICE_SHARE] += dot(by_told, told)
    by_lag, by_notice = np.zeros(J), np.zeros(J)
    for r in range(D):
        for j in range(J):
            by_lag[j] += by_late[r] * not_yet[r, j]
            by_notice[j] += by_told[r] * psi * told_by[r, j]
    _add_slope_of_shares(slope[first_lag:first_notice], theta[first_lag:first_notice], by_lag)
    _add_slope_of_shares(slope[first_notice:], theta[first_notice:], by_notice)
    return dot(count, log_likelihood), by_log_S


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
