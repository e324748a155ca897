"""The table of scores: means over accounts of several origins, each with a clustered bootstrap interval."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.calibration import Resamples, bounds, brier_score, decile_lift, gini, in_central

Floats = NDArray[np.float64]

COVERED = (0.5, 0.8, 0.95)
MEANS = ("crps", "log_crps", *(f"interval_score_{100 * prob:.0f}" for prob in COVERED))
SKILLS = ("crps", "log_crps")
PROBABILITIES = (("renewed", "p_renewed"), ("active", "p_active"))
RANKING_RESAMPLES = 200
"""Ranking scores are sorted anew in every resample; two hundred tell an interval well enough."""

Score = tuple[str, float, float, float, int]


def score_table(
    rows: pd.DataFrame, by: str | None, clusters: str, model: str, resamples: int, seed: int
) -> pd.DataFrame:
    """See `backtest.Backtest.scores`; `rows` are its accounts, `model` the method that is compared with the others."""
    levels = pd.Series("all", index=rows.index) if by is None else rows[by]
    found = []
    for (window, level), mine in rows.groupby([rows["window_months"], levels], sort=True, observed=True):
        best = _best_baselines(mine, model)
        for method, part in mine.groupby("method", sort=False):
            draws = Resamples(part[clusters], resamples, seed)
            scores: list[Score] = [
                *_means(part, draws),
                *_coverages(part, draws),
                *_ranking(part, draws),
                *_probabilities(part, draws),
            ]
            found += [(window, method, level, *score, "") for score in scores]
            if method == model:
                found += [(window, method, level, *score) for score in _skills(part, mine, best, draws)]
    names = ["window_months", "method", "level", "score", "value", "lower", "upper", "n", "against"]
    return pd.DataFrame(found, columns=names)


def _best_baselines(rows: pd.DataFrame, model: str) -> dict[str, str]:
    """For each score the other method with the best mean, of those that forecast every account; else of all there are."""
    others = rows[rows["method"] != model].groupby("method")[list(SKILLS)].agg(["mean", "count"])
    best = {}
    for score in SKILLS:
        mean, count = (others[score, part] for part in ("mean", "count")) if len(others) else (pd.Series(), pd.Series())
        mean = mean[count == count.max()].dropna()
        if len(mean):
            best[score] = str(mean.idxmin())
    return best


def _ratio(top: Floats, bottom: Floats, draws: Resamples) -> tuple[float, float, float]:
    """Sum over sum, with its interval."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.float64(np.nansum(top)) / np.float64(np.nansum(bottom))
        return (float(value), *bounds(draws.sums(top) / draws.sums(bottom)))


def _mean(values: Floats, draws: Resamples) -> tuple[float, float, float, int]:
    known = np.isfinite(values)
    return (*_ratio(np.where(known, values, 0.0), known.astype(float), draws), int(known.sum()))


def _means(part: pd.DataFrame, draws: Resamples) -> Iterator[Score]:
    for name in MEANS:
        if part[name].notna().any():
            yield (name, *_mean(part[name].to_numpy(float), draws))
    known = part["mean"].notna()
    if part["actual"][known].sum() != 0.0:
        actual = part["actual"].where(known).to_numpy(float)
        value, lower, upper = _ratio(part["mean"].to_numpy(float), actual, draws)
        yield "bias", value - 1.0, lower - 1.0, upper - 1.0, int(known.sum())


def _coverages(part: pd.DataFrame, draws: Resamples) -> Iterator[Score]:
    pit = part["pit"].to_numpy(float)
    if np.isfinite(pit).any():
        for prob in COVERED:
            inside = np.where(np.isfinite(pit), in_central(pit, prob), np.nan)
            yield (f"coverage_{100 * prob:.0f}", *_mean(inside, draws))


def _ranking(part: pd.DataFrame, draws: Resamples) -> Iterator[Score]:
    known = part["mean"].notna().to_numpy()
    if not part["actual"].to_numpy(float)[known].sum() > 0.0:
        return
    predicted, actual = part["mean"].to_numpy(float)[known], part["actual"].to_numpy(float)[known]
    several = draws.times.shape[1] > 1
    weights = draws.weights()[: RANKING_RESAMPLES if several else 0, known]
    for name, score in (("gini", gini), ("decile_lift", decile_lift)):
        resampled = np.array([score(predicted, actual, times) for times in weights])
        yield (name, score(predicted, actual), *bounds(resampled), int(known.sum()))


def _probabilities(part: pd.DataFrame, draws: Resamples) -> Iterator[Score]:
    for happened, probability in PROBABILITIES:
        known = part[happened].notna() & part[probability].notna()
        if known.any():
            yield (f"brier_{happened}", *_mean(brier_score(part[probability], part[happened]), draws))


def _skills(
    part: pd.DataFrame, rows: pd.DataFrame, best: dict[str, str], draws: Resamples
) -> Iterator[tuple[str, float, float, float, int, str]]:
    """``1 - score / that of the best baseline``, the same accounts and resamples of both."""
    keys = ["origin", "account_id"]
    for score, method in best.items():
        other = rows[rows["method"] == method].set_index(keys)[score].reindex(pd.MultiIndex.from_frame(part[keys]))
        mine, theirs = part[score].to_numpy(float), other.to_numpy(float)
        both = np.isfinite(mine) & np.isfinite(theirs)
        if not theirs[both].sum() > 0.0:  # nothing to be better than
            continue
        value, lower, upper = _ratio(np.where(both, mine, np.nan), np.where(both, theirs, np.nan), draws)
        yield f"skill_{score}", 1.0 - value, 1.0 - upper, 1.0 - lower, int(both.sum()), method
