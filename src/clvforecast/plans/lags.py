"""How late renewals are booked: shares of bins of days, even within a bin.

Bookings come at once, in the months after, or on the first day of a later quarter: no bell of them. Bin j holds the days
(edge j, edge j + 1], from the window's first day to `renewal_days`; a day that many renewals share is a bin of its own, for it is
not passed by half the day before. ``shares = softmax(log base + spread z)``, z standard normal: base is what the prior expects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clvforecast.cells.levels import common_days
from clvforecast.plans.delays import between

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

GRID = (-61, -31, -15, -1, 0, 15, 31, 61, 92, 122, 182, 273, 365)


def lag_edges(delays: Longs, window_days: int, renewal_days: int) -> tuple[int, ...]:
    """Edges of the bins, whole days; delays are those seen."""
    days = common_days(*np.unique(delays, return_counts=True))
    edges = np.unique(np.concatenate([GRID, days - 1, days])).astype(np.int64)
    inner = edges[(edges > -window_days - 1) & (edges < renewal_days)]
    return (-window_days - 1, *map(int, inner), renewal_days)


def base_shares(edges: ArrayLike, mean: float, scale: float) -> Floats:
    """(J,) the bins' shares of Student's t with four degrees of freedom."""
    at = np.asarray(edges, float) + 0.5
    mass = between(at[:-1], at[1:], mean, scale)
    return np.asarray(mass / mass.sum(), float)


def softmax(logits: Floats) -> Floats:
    """Over the last axis."""
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True), float)


def parts(low: ArrayLike, high: ArrayLike, edges: ArrayLike) -> Floats:
    """(n, J) the part of each bin that lies in the days (low, high]."""
    at = np.asarray(edges, float)
    a, b = np.asarray(low, float)[..., None], np.asarray(high, float)[..., None]
    return np.asarray(np.clip(np.minimum(b, at[1:]) - np.maximum(a, at[:-1]), 0.0, None) / np.diff(at), float)


def still_booked(elapsed: Floats, lower: Floats, edges: ArrayLike, shares: Floats) -> Floats:
    """(n, D) ``1 - F(d)``: the share of renewals, of those from day `lower` on, that are booked after day d; shares (D, J)."""
    last = float(np.asarray(edges)[-1])
    first = np.minimum(lower - 1.0, last - 1.0)
    return np.asarray(
        parts(np.clip(elapsed, first, last), last, edges) @ shares.T / (parts(first, last, edges) @ shares.T), float
    )


def drawn_lag(uniform: Floats, elapsed: Floats, lower: Floats, edges: ArrayLike, shares: Floats) -> Floats:
    """A delay in whole days, given that it comes after day `elapsed`, by inversion; shares (n, J) are of each."""
    at = np.asarray(edges, float)
    after = np.maximum(elapsed, lower - 1.0)
    mass = np.cumsum(parts(after, at[-1], at) * shares, axis=1)
    target = uniform * mass[:, -1]
    j = np.minimum((mass <= target[:, None]).sum(axis=1), len(at) - 2)
    row = np.arange(len(j))
    upto = mass[row, j]
    before = np.where(j > 0, mass[row, j - 1], 0.0)
    low = np.maximum(after, at[j])
    part = (target - before) / np.where(upto > before, upto - before, 1.0)
    return np.asarray(np.clip(np.floor(low + part * (at[j + 1] - low)) + 1.0, low + 1.0, at[j + 1]), float)
