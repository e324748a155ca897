"""Counts of events in known years, with the slope: what `rates.rate_model` samples."""

from __future__ import annotations

import math

import numpy as np

from clvforecast.components.native import (
    Floats,
    Integers,
    add_effects,
    add_slopes,
    log_gamma_and_slope,
    matrix,
    native,
    vector,
)

DATA = ("X", "group", "exposure", "n_lines", "n_events", "group_events", "hist_n", "hist_count")
X, GROUP, EXPOSURE, N_LINES, N_EVENTS, GROUP_EVENTS, HIST_N, HIST_COUNT = range(len(DATA))
"""X (K, G) effects by groups; cells with their group; events by group; how often each count stands in a cell."""
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
    value = 0.0
    for g in range(log_m.size):
        value += group_events[g] * log_m[g]
        ratio[g] = math.exp(log_m[g]) / r
    log_r = math.log(r)
    log_gamma, psi = log_gamma_and_slope(r)
    for i in range(hist_n.size):
        n = hist_n[i]
        log_gamma_n, psi_n = log_gamma_and_slope(r + n)
        value += hist_count[i] * (log_gamma_n - log_gamma - n * log_r)
        slope[SHAPE] += hist_count[i] * (psi_n - psi - n / r)
    for i in range(group.size):
        g = group[i]
        odds = ratio[g] * exposure[i]
        weight, waiting = n_lines[i] * r + n_events[i], math.log1p(odds)
        share = odds / (1.0 + odds)
        value -= weight * waiting
        slope[SHAPE] -= n_lines[i] * waiting - weight * share / r
        by_log_m[g] -= weight * share
    slope[LEVEL] = by_log_m.sum()
    add_slopes(slope[EFFECTS:], design, by_log_m)
    return value, slope
