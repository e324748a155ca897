"""The log odds that a step comes, from draws of the parameters; and effects of levels that were never seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.plans.counts import PlanFrame, stated_log_odds
from clvforecast.simulation.parameters import unseen_effect

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
Draws = Mapping[str, Floats]
"""Variable -> its draws, the draw first."""
Unseen = Mapping[str, tuple[Longs, Floats]]
"""Column -> (each step's place among the unseen levels or -1, their effects (levels, D))."""


def log_odds(frame: PlanFrame, numbers: Longs, stated: Floats, draws: Draws, unseen: Unseen) -> Floats:
    """Log odds that a step comes, (S, D), before anything is known of its window.

    ``intercept + sum of effects + (slope logit(stated), or the offset of steps without a stated probability)``

    Parameters
    ----------
    numbers : (S, columns) level of each step, -1 where there is none or an unseen one.
    stated : (S,) stated probability, NaN without.
    """
    total = np.tile(draws["intercept"], (len(numbers), 1))
    effects, first = draws["effect"].T, 0
    for column, name in enumerate(frame.columns):
        n = len(frame.levels[name])
        of_column = np.vstack([effects[first : first + n], np.zeros(total.shape[1])])
        total += of_column[np.where(numbers[:, column] < 0, n, numbers[:, column])]
        if name in unseen:
            places, of_unseen = unseen[name]
            total[places >= 0] += of_unseen[places[places >= 0]]
        first += n
    given = ~np.isnan(stated)
    logit = stated_log_odds(np.where(given, stated, 0.5))[:, None]
    by_statement = np.where(given[:, None], draws["stated_slope"] * logit, draws["unstated_offset"])
    return np.asarray(total + by_statement, float)


def unseen_effects(
    frame: PlanFrame, texts: Mapping[str, pa.ChunkedArray], numbers: Longs, seed: int, draws: Draws
) -> Unseen:
    """Effects of levels that the history of plans does not have: Normal(0, s) a draw, keyed by (seed, column, level)."""
    found = {}
    for column, name in enumerate(frame.columns):
        is_new = (numbers[:, column] < 0) & texts[name].is_valid().to_numpy()
        if not is_new.any():
            continue
        new = texts[name].filter(pa.array(is_new)).to_pylist()
        levels = sorted(set(new))
        places = np.full(len(numbers), -1, dtype=np.int64)
        places[is_new] = [levels.index(level) for level in new]
        sd = draws["effect_sd"][:, column]
        found[name] = (places, np.stack([unseen_effect(seed, "plans", name, level, sd) for level in levels]))
    return found
