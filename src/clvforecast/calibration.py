"""Did the ranges hold what they promised?  Randomised PIT values and the coverage of central intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvforecast.errors import ForecastError

Floats = NDArray[np.float64]
CENT = 0.01


def randomised_pit(draws: ArrayLike, actual: ArrayLike, seed: int = 0, tolerance: float = CENT) -> Floats:
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
        Of V.
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
    x, y = np.asarray(draws, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1] or not np.isfinite(y).all():
        raise ForecastError(
            f"draws are of shape {x.shape}, actual values of {y.shape}: give (accounts, draws) and one finite value an "
            "account."
        )
    below = (x < y[:, None] - tolerance).sum(axis=1)
    equal = (np.abs(x - y[:, None]) <= tolerance).sum(axis=1)
    uniform = np.random.default_rng(seed).random(len(y))
    return (below + uniform * (equal + 1)) / (x.shape[1] + 1)


def coverage(
    pit: ArrayLike, probs: Sequence[float] = (0.5, 0.8, 0.9), clusters: ArrayLike | None = None
) -> pd.DataFrame:
    """Share of actual values inside their central intervals.

    Inside the interval of probability p:  |u − 1/2| <= p/2.  Accounts of a cluster (a department, a region) share what
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
        inside = np.abs(u - 0.5) <= prob / 2.0
        observed = inside.mean()
        by_cluster = np.bincount(labels, weights=inside - observed)
        rows.append((prob, observed, np.sqrt(np.sum(by_cluster**2)) / len(u), len(u)))
    return pd.DataFrame(rows, columns=["expected", "observed", "se", "n"])
