"""Ranges from draws: quantiles, equal-tailed and highest-density intervals, over the first axis."""

import math

import numpy as np
from numpy.typing import NDArray

from clvforecast.errors import ForecastError

QUANTILES = {"q05": 0.05, "q10": 0.10, "q25": 0.25, "q50": 0.50, "q75": 0.75, "q90": 0.90, "q95": 0.95}
CI_KINDS = ("eti", "hdi")
Floats = NDArray[np.float64]


def check_interval(ci_prob: float, ci_kind: str) -> None:
    """Raise `ForecastError` unless 0 < ci_prob < 1 and the kind is known."""
    if not 0.0 < ci_prob < 1.0:
        raise ForecastError(f"ci_prob={ci_prob}: an interval's probability is above 0 and below 1, for example 0.9.")
    if ci_kind not in CI_KINDS:
        raise ForecastError(f"ci_kind={ci_kind!r} is not known. Use one of {', '.join(CI_KINDS)}.")


def sorted_quantiles(draws: Floats, probabilities: Floats) -> Floats:
    """Quantiles of draws already sorted along axis 0, interpolated linearly (type 7); (probabilities, ...)."""
    position = np.asarray(probabilities) * (draws.shape[0] - 1)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, draws.shape[0] - 1)
    share = (position - low).reshape((-1,) + (1,) * (draws.ndim - 1))
    return draws[low] + share * (draws[high] - draws[low])


def sorted_interval(draws: Floats, ci_prob: float, ci_kind: str) -> tuple[Floats, Floats]:
    """Lower and upper end of an interval of draws sorted along axis 0.

    "eti": the quantiles (1 − ci_prob)/2 and (1 + ci_prob)/2.  "hdi": the narrowest run of draws that holds at least
    ci_prob of them (Hyndman 1996); of several, the lowest.
    """
    check_interval(ci_prob, ci_kind)
    if ci_kind == "eti":
        lower, upper = sorted_quantiles(draws, np.array([(1.0 - ci_prob) / 2.0, (1.0 + ci_prob) / 2.0]))
        return lower, upper
    n = draws.shape[0]
    inside = min(n, math.ceil(ci_prob * n))
    widths = draws[inside - 1 :] - draws[: n - inside + 1]
    start = np.argmin(widths, axis=0)[None]
    lower = np.take_along_axis(draws, start, axis=0)[0]
    upper = np.take_along_axis(draws, start + inside - 1, axis=0)[0]
    return lower, upper


def moments_and_quantiles(draws: Floats, ordered: Floats) -> dict[str, Floats]:
    """mean, sd, q05 … q95 of draws along axis 0; ``ordered`` are the same draws sorted."""
    quantiles = sorted_quantiles(ordered, np.array(list(QUANTILES.values())))
    return {
        "mean": draws.mean(axis=0),
        "sd": draws.std(axis=0, ddof=1) if draws.shape[0] > 1 else np.zeros(draws.shape[1:]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def describe(draws: Floats, ci_prob: float, ci_kind: str) -> dict[str, Floats]:
    """mean, sd, q05 … q95, lower, upper of draws along axis 0, in that order."""
    ordered = np.sort(draws, axis=0)
    lower, upper = sorted_interval(ordered, ci_prob, ci_kind)
    return {**moments_and_quantiles(draws, ordered), "lower": lower, "upper": upper}


def known_mean_and_quantiles(draws: Floats, probabilities: tuple[float, ...]) -> Floats:
    """Mean and quantiles (1 + probabilities, A) of what is known in each row of draws (A, D); NaN where nothing is."""
    ordered = np.sort(draws, axis=1)  # NaN comes last
    n = draws.shape[1] - np.isnan(ordered).sum(axis=1)
    some = n > 0
    found = np.full((1 + len(probabilities), draws.shape[0]), np.nan)
    ordered, n, row = ordered[some], n[some], np.arange(some.sum())
    found[0, some] = np.nansum(ordered, axis=1) / n
    for place, probability in enumerate(probabilities, start=1):
        position = probability * (n - 1)
        low = np.floor(position).astype(np.int64)
        below, above = ordered[row, low], ordered[row, np.minimum(low + 1, n - 1)]
        found[place, some] = below + (position - low) * (above - below)
    return found
