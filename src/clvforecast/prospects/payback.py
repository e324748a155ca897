"""When what customers bring has reached what they cost to win: first passages of cumulative margins, as draws.

Draws are along all axes but the last; months are along the last one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from clvforecast.intervals import QUANTILES
from clvforecast.simulation.calendar import Grid, add_months

Floats = NDArray[np.float64]
HALF_A_CENT = 0.005
"""Money that is short of a cost by less than this has reached it: sums of cents times a margin are not exact."""


def by_month_since_start(cumulative: Floats, grid: Grid, horizon_months: int) -> Floats:
    """(..., H + 1) a cumulative sum at the start and at the end of each month since the first day of service.

    ``cumulative`` (..., M + 1) is at the grid's bounds, which are those of calendar months. Where service starts on the first day
    of a month the two are the same; else what falls in a month of the grid counts evenly over its days.
    """
    ends = np.array([add_months(int(grid.bounds[0]), month) for month in range(horizon_months + 1)], dtype=np.int64)
    cell = np.clip(np.searchsorted(grid.bounds, ends, side="right") - 1, 0, grid.bounds.size - 2)
    share = (ends - grid.bounds[cell]) / np.diff(grid.bounds)[cell]
    return np.asarray(cumulative[..., cell] * (1.0 - share) + cumulative[..., cell + 1] * share)


def months_to_reach(cumulative: Floats, cost: float) -> Floats:
    """The first month by whose end ``cumulative`` (..., H + 1) has reached a cost; inf where it has not by the last one."""
    reached = cumulative >= cost - HALF_A_CENT
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1), np.inf)


def payback_quantiles(months: Floats) -> dict[str, float]:
    """q05 … q95 of months, each one that occurs: where inf begins is where fewer than that share have paid back."""
    ordered = np.sort(months, axis=None)
    places = {name: max(math.ceil(share * ordered.size - 1e-9), 1) - 1 for name, share in QUANTILES.items()}
    return {name: float(ordered[place]) for name, place in places.items()}


def largest_cost(cumulative: Floats, probability: float, within_months: int) -> float:
    """The largest cost in whole cents that ``cumulative`` (..., H + 1) reaches within some months with at least a probability."""
    best = np.sort(cumulative[..., : within_months + 1].max(axis=-1), axis=None)[::-1]
    return math.floor(best[max(math.ceil(probability * best.size - 1e-9), 1) - 1] * 100.0 + 1e-6) / 100.0
