"""Did the ranges hold what they promised, and how good were they?  Scores of draws against what then happened.

All functions take arrays of one forecast: draws (accounts, draws) or probabilities (accounts,), and what happened
(accounts,).  CRPS and the interval score are those of `scoringrules`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvforecast.errors import ForecastError

Floats = NDArray[np.float64]
CENT = 0.01
ROWS_AT_ONCE = 4_000
"""Accounts whose draws are scored together: sorting them takes a copy."""


def randomised_pit(
    draws: ArrayLike, actual: ArrayLike, seed: int | np.random.Generator = 0, tolerance: float = CENT
) -> Floats:
    """Where each actual value lies among its draws: uniform on (0, 1) when the forecast is right.

    u = (#{x < y} + V (#{x = y} + 1)) / (D + 1),  V uniform on (0, 1)

    A forecast with mass at single values (nothing at all; exactly the old contract) needs V: without it u is not
    uniform even when all is right.  The actual counts as one more draw, which makes u exactly uniform for any number
    of draws D.  Czado, Gneiting & Held (2009), Biometrics 65(4), 1254-1261, section 2.

    Parameters
    ----------
    draws
        (accounts, draws), currency.
    actual
        (accounts,), currency.
    seed
        Of V, or the generator to draw it from.
    tolerance
        Values nearer than this are equal: forecasts and ledgers round a service period's days differently.

    Returns
    -------
    ndarray
        (accounts,).

    Examples
    --------
    >>> randomised_pit([[0.0, 0.0, 0.0, 5.0]], [0.0]).round(2).tolist()
    [0.51]
    """
    x, y = _checked(draws, actual)
    below = (x < y[:, None] - tolerance).sum(axis=1)
    equal = (np.abs(x - y[:, None]) <= tolerance).sum(axis=1)
    uniform = np.random.default_rng(seed).random(len(y))
    return (below + uniform * (equal + 1)) / (x.shape[1] + 1)


def in_central(pit: ArrayLike, prob: float) -> NDArray[np.bool_]:
    """Whether actual values lie inside their central interval of a probability: ``|u - 1/2| <= prob / 2``."""
    return np.asarray(np.abs(np.asarray(pit, dtype=np.float64) - 0.5) <= prob / 2.0)


def coverage(
    pit: ArrayLike, probs: Sequence[float] = (0.5, 0.8, 0.9), clusters: ArrayLike | None = None
) -> pd.DataFrame:
    """Share of actual values inside their central intervals.

    Inside is what `in_central` says.  Accounts of a cluster (a department, a region) share what
    happens to them, so the standard error counts clusters, not accounts:

    se² = Σ_g (Σ_{i in g} (c_i − p̂))² / n²

    Rough: with few clusters it is itself uncertain, and what strikes all clusters in one period is not in it.

    Parameters
    ----------
    pit
        (accounts,), from `randomised_pit`.
    probs
        Probabilities of the intervals.
    clusters
        (accounts,) label of each account's cluster; each account its own when not given (binomial).

    Returns
    -------
    DataFrame
        expected (= p), observed, se, n; one row an interval.

    Examples
    --------
    >>> coverage([0.1, 0.4, 0.6, 0.97], probs=[0.5]).round(2).values.tolist()
    [[0.5, 0.5, 0.25, 4.0]]
    """
    u = np.asarray(pit, dtype=np.float64)
    labels = np.arange(len(u)) if clusters is None else pd.factorize(np.asarray(clusters))[0]
    rows = []
    for prob in probs:
        inside = in_central(u, prob)
        observed = inside.mean()
        by_cluster = np.bincount(labels, weights=inside - observed)
        rows.append((prob, observed, np.sqrt(np.sum(by_cluster**2)) / len(u), len(u)))
    return pd.DataFrame(rows, columns=["expected", "observed", "se", "n"])


def crps(draws: ArrayLike, actual: ArrayLike) -> Floats:
    """Continuous ranked probability score, in the unit of the draws; smaller is better.

    ``E|X - y| - E|X - X'| / 2`` over the draws; with a single draw it is the absolute error, so point forecasts compare.
    Gneiting & Raftery (2007), JASA 102(477), 359-378.

    Returns
    -------
    ndarray
        (accounts,).

    Examples
    --------
    >>> crps([[1.0, 3.0], [2.0, 2.0]], [1.0, 5.0]).tolist()
    [0.5, 3.0]
    """
    from scoringrules import crps_ensemble

    x, y = _checked(draws, actual)
    rows = range(0, len(y), ROWS_AT_ONCE)
    parts = [crps_ensemble(y[i : i + ROWS_AT_ONCE], x[i : i + ROWS_AT_ONCE], estimator="qd") for i in rows]
    return np.concatenate([np.zeros(0), *parts])


def log_crps(draws: ArrayLike, actual: ArrayLike) -> Floats:
    """`crps` of log(1 + money), money below zero taken as nothing: small accounts count as much as giants.

    Examples
    --------
    >>> log_crps([[0.0], [99.0]], [0.0, 999.0]).round(3).tolist()
    [0.0, 2.303]
    """
    x, y = _checked(draws, actual)
    return crps(np.log1p(np.maximum(x, 0.0)), np.log1p(np.maximum(y, 0.0)))


def interval_score(draws: ArrayLike, actual: ArrayLike, prob: float) -> Floats:
    """Width of the central interval and 2 / (1 - prob) times what lies outside it; smaller is better, (accounts,).

    Gneiting & Raftery (2007), section 6.2.

    Examples
    --------
    >>> interval_score([[0.0, 1.0, 2.0, 3.0, 4.0]], [5.0], prob=0.5).tolist()
    [10.0]
    """
    from scoringrules import interval_score as score

    x, y = _checked(draws, actual)
    lower, upper = np.quantile(x, [0.5 - prob / 2.0, 0.5 + prob / 2.0], axis=1)
    return np.asarray(score(y, lower, upper, 1.0 - prob), float).reshape(y.shape)


def brier_score(probability: ArrayLike, happened: ArrayLike) -> Floats:
    """``(p - y)^2`` an account, y 0 or 1 (Brier 1950); smaller is better.

    Examples
    --------
    >>> brier_score([0.9, 0.2], [1, 1]).round(2).tolist()
    [0.01, 0.64]
    """
    return np.asarray((np.asarray(probability, float) - np.asarray(happened, float)) ** 2, float)


def reliability(probability: ArrayLike, happened: ArrayLike, bins: int = 10) -> pd.DataFrame:
    """What happened, by forecast probability: bins of equally many accounts.

    Returns
    -------
    DataFrame
        expected (mean probability of the bin), observed (share that happened), se (binomial), n; one row a bin. Bins that
        would share a probability are one.

    Examples
    --------
    >>> reliability([0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1], bins=2)[["expected", "observed"]].values.tolist()
    [[0.1, 0.5], [0.9, 1.0]]
    """
    p, y = np.asarray(probability, float), np.asarray(happened, float)
    edges = np.unique(np.quantile(p, np.linspace(0.0, 1.0, bins + 1)[1:-1])) if len(p) else np.zeros(0)
    bin_ = np.searchsorted(edges, p, side="left")
    table = (
        pd.DataFrame({"bin": bin_, "p": p, "y": y})
        .groupby("bin")
        .agg(expected=("p", "mean"), observed=("y", "mean"), n=("y", "size"))
    )
    table.insert(2, "se", np.sqrt(table["observed"] * (1.0 - table["observed"]) / table["n"]))
    return table.reset_index(drop=True)


def gini(predicted: ArrayLike, actual: ArrayLike, weights: ArrayLike | None = None) -> float:
    """How well the ranking by forecast collects the money: its Gini over that of the ranking by what happened.

    1 for the perfect order, 0 for a random one. Accounts with equal forecasts share their place. `weights` are how often
    each account counts. NaN where all money is equal.

    Examples
    --------
    >>> gini([3.0, 2.0, 1.0], [30.0, 20.0, 10.0])
    1.0
    """
    best = _area(actual, actual, weights)
    return _area(predicted, actual, weights) / best if abs(best) > 1e-12 else float("nan")


def _ranked(by: ArrayLike, actual: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats]:
    """Accounts and their money by place, the largest `by` first; equal ones share a place."""
    key, y = np.asarray(by, float), np.asarray(actual, float)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, float)
    _, place = np.unique(-key, return_inverse=True)
    return np.bincount(place, w), np.bincount(place, w * y)


def _area(by: ArrayLike, actual: ArrayLike, weights: ArrayLike | None) -> float:
    """Twice the area between the cumulative share of money, the largest `by` first, and the diagonal."""
    accounts, money = _ranked(by, actual, weights)
    if accounts.sum() == 0 or money.sum() == 0:
        return 0.0
    x = np.concatenate([[0.0], np.cumsum(accounts) / accounts.sum()])
    share = np.concatenate([[0.0], np.cumsum(money) / money.sum()])
    return float(np.sum(np.diff(x) * (share[1:] + share[:-1])) - 1.0)


def decile_lift(predicted: ArrayLike, actual: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean money of the tenth of accounts with the largest forecasts over the mean of all; 1 for a random order.

    Examples
    --------
    >>> decile_lift(list(range(10)), [1.0] * 9 + [11.0])
    5.5
    """
    accounts, money = _ranked(predicted, actual, weights)
    if accounts.sum() == 0 or money.sum() == 0:
        return float("nan")
    # Of accounts with equal forecasts, as many as still fit into the tenth, all alike.
    part = np.clip(0.1 * accounts.sum() - (np.cumsum(accounts) - accounts), 0.0, accounts)
    collected = (np.divide(part, accounts, out=np.zeros_like(part), where=accounts > 0) * money).sum()
    return float(collected / part.sum() / (money.sum() / accounts.sum()))


class Resamples:
    """A clustered bootstrap: whole clusters are drawn with replacement, as accounts of a cluster share their fate.

    A single cluster says nothing of how clusters differ: all sums are then NaN.

    Parameters
    ----------
    clusters : (n,) label of each row.
    n : resamples.
    seed : of the draws.
    """

    def __init__(self, clusters: ArrayLike, n: int = 500, seed: int = 0) -> None:
        self.label, kinds = pd.factorize(np.asarray(clusters))
        size = max(len(kinds), 1)
        self.times = np.random.default_rng(seed).multinomial(size, np.full(size, 1.0 / size), size=n).astype(np.float32)

    def sums(self, values: ArrayLike) -> Floats:
        """Sum of `values` (n,) in every resample; NaN counts as nothing."""
        if self.times.shape[1] < 2:
            return np.full(len(self.times), np.nan)
        found = np.nan_to_num(np.asarray(values, float))
        return np.asarray(self.times @ np.bincount(self.label, weights=found, minlength=self.times.shape[1]), float)

    def weights(self) -> Floats:
        """How often every row counts in each resample, (resamples, n)."""
        return np.asarray(self.times[:, self.label], float)


def bounds(resampled: Floats, prob: float = 0.95) -> tuple[float, float]:
    """The bootstrap's central interval; NaN where it is undefined in more than half the resamples."""
    finite = resampled[np.isfinite(resampled)]
    if len(finite) * 2 < len(resampled) or not len(finite):
        return float("nan"), float("nan")
    lower, upper = np.quantile(finite, [0.5 - prob / 2.0, 0.5 + prob / 2.0])
    return float(lower), float(upper)


def _checked(draws: ArrayLike, actual: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(draws, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1] or not np.isfinite(y).all():
        raise ForecastError(
            f"draws are of shape {x.shape}, actual values of {y.shape}: give (accounts, draws) and one finite value an "
            "account."
        )
    return x, y
