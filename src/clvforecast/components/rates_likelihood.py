"""Counts of events in known years, with the slope: what `rates.rate_model` samples."""

from __future__ import annotations

import math

import numpy as np

from clvforecast.arithmetic import exp, log1p, log_gamma_and_slope
from clvforecast.components.native import Floats, Integers, add_effects, add_slopes, dot, matrix, native, vector

DATA = ("X", "X_rows", "group", "exposure", "n_lines", "n_events", "group_events", "hist_n", "hist_count")
X, X_ROWS, GROUP, EXPOSURE, N_LINES, N_EVENTS, GROUP_EVENTS, HIST_N, HIST_COUNT = range(len(DATA))
"""X (K, G) effects by groups, and transposed; cells with their group; events by group; how often each count stands in a cell."""
LEVEL, SHAPE, EFFECTS = range(3)
"""theta: log rate of the mean group, shape r of the gamma, K effects."""


@native
def rate_log_likelihood(theta: Floats, reals: Floats, wholes: Integers, layout: Integers) -> tuple[float, Floats]:
    """``sum_n hist_n [log Gamma(r+n)/Gamma(r) - n log r] - sum_cells [(N r + S) log(1 + m T / r) - S log m]``.

    That is `likelihoods.event_count_log_likelihood` with r log r and n log r gathered, so that nothing cancels for large r.
    """
    design, group = matrix(reals, layout, X), vector(wholes, layout, GROUP)
    exposure, n_lines, n_events = (
        vector(reals, layout, EXPOSURE),
        vector(reals, layout, N_LINES),
        vector(reals, layout, N_EVENTS),
    )
    group_events, hist_n = vector(reals, layout, GROUP_EVENTS), vector(reals, layout, HIST_N)
    hist_count = vector(reals, layout, HIST_COUNT)
    r, slope = theta[SHAPE], np.zeros_like(theta)
    log_m = np.full(design.shape[1], theta[LEVEL])
    add_effects(log_m, design, theta[EFFECTS:])
    by_log_m, ratio = group_events.copy(), np.empty_like(log_m)
    for g in range(log_m.size):
        ratio[g] = exp(log_m[g]) / r
    value = dot(group_events, log_m)
    log_r = math.log(r)
    log_gamma, psi = log_gamma_and_slope(r)
    for i in range(hist_n.size):
        n = hist_n[i]
        log_gamma_n, psi_n = log_gamma_and_slope(r + n)
        value += hist_count[i] * (log_gamma_n - log_gamma - n * log_r)
        slope[SHAPE] += hist_count[i] * (psi_n - psi - n / r)
    waiting, taken = np.empty(group.size), np.empty(group.size)
    for i in range(group.size):
        waiting[i] = ratio[group[i]] * exposure[i]
    for i in range(group.size):
        odds = waiting[i]
        waiting[i] = log1p(odds)
        taken[i] = (n_lines[i] * r + n_events[i]) * (odds / (1.0 + odds))
    for i in range(group.size):
        by_log_m[group[i]] -= taken[i]
    value -= r * dot(n_lines, waiting) + dot(n_events, waiting)
    slope[SHAPE] += taken.sum() / r - dot(n_lines, waiting)
    slope[LEVEL] = by_log_m.sum()
    add_slopes(slope[EFFECTS:], matrix(reals, layout, X_ROWS), by_log_m)
    return value, slope
