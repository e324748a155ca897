"""Stretches of time at a forecast's beginning: the year ahead, and whether a period is already running."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clvforecast.errors import ForecastError
from clvforecast.periods import covering_periods
from clvforecast.simulation.calendar import add_months

if TYPE_CHECKING:
    from clvforecast.comparison import Comparison
    from clvforecast.forecast import Forecast

YEAR = 12


class YearAhead(NamedTuple):
    """cells: months of the forecast's calendar from its first, up to the one in which twelve months end."""

    cells: int
    label: str


def year_ahead(forecast: Forecast) -> YearAhead | None:
    """None where the window is shorter than twelve months."""
    bounds = forecast.grid.bounds
    target = int(add_months(int(bounds[0]), YEAR))
    if int(bounds[-1]) < target:
        return None
    cells = int(np.searchsorted(bounds, target))
    is_exact = int(bounds[cells]) == target
    return YearAhead(cells, "Next 12 months" if is_exact else "Next 12 months, to the end of the last")


def runs_at_origin(forecast: Forecast, freq: str) -> bool:
    """Whether the period in which the forecast begins had begun before."""
    origin = int(forecast.grid.bounds[0])
    spans = covering_periods(origin - 1, origin - 1, freq, forecast.settings.calendar)
    return int(spans.bounds[-1]) > origin


def check_comparison(comparison: Comparison | None, forecast: Forecast) -> None:
    """Raises ForecastError where the scenarios are of another day or another window than the forecast beside them."""
    base = getattr(comparison, "base", None)
    if base is None:
        return
    for name, of_base, own in (
        ("as_of", base.as_of, forecast.as_of),
        ("horizon_months", base.settings.horizon_months, forecast.settings.horizon_months),
    ):
        if of_base != own:
            raise ForecastError(
                f"comparison: its scenarios have {name}={of_base}, the forecast has {own}; their figures do not belong side by "
                "side. Call clv.compare with the ledger and the settings of the forecast."
            )
