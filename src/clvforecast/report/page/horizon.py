"""The forecast's own periods: the portfolio by month, quarter and year, and the windows that the headline speaks of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from clvforecast.forecast import Forecast
from clvforecast.intervals import describe
from clvforecast.report.page.periods import freq_of, with_labels
from clvforecast.report.windows import YEAR, last_days, runs_at_origin, year_ahead
from clvforecast.simulation.calendar import date_of
from clvforecast.simulation.slots import UNITS_PER_CURRENCY

PERIODS = ("month", "quarter", "year")


def periods_of(forecast: Forecast, history: Mapping[str, pd.DataFrame], ci_prob: float) -> dict[str, pd.DataFrame]:
    """`Forecast.portfolio` by month, quarter and year, with label and already."""
    return {freq: _portfolio(forecast, freq, history.get(freq), ci_prob) for freq in PERIODS}


def _portfolio(forecast: Forecast, freq: str, before: pd.DataFrame | None, ci_prob: float) -> pd.DataFrame:
    """already: what as_of's own period had brought by then; NaN where that is not known, 0 where the period is not running."""
    table = with_labels(forecast, forecast.portfolio(freq_of(forecast, freq), None, ci_prob), freq)
    already = np.zeros(len(table))
    if runs_at_origin(forecast, freq):
        already[0] = np.nan if before is None else before["revenue"].to_numpy()[before["partial"]].sum()
    return table.assign(to=last_days(table), already=already)


def headline(forecast: Forecast, ci_prob: float) -> pd.DataFrame:
    """key ("next_quarter", "next_12_months", "horizon"), label, start, end, mean, q05 … q95, lower, upper.

    The next quarter is the first whole one. Of twelve months that do not end with a month the label says how many they are.
    """
    rows = [_next_quarter(forecast, ci_prob)]
    year, months, cells = year_ahead(forecast), forecast.settings.horizon_months, len(forecast.grid.bounds) - 1
    if year is not None and months > YEAR:
        rows.append(_window(forecast, "next_12_months", year.label, year.cells, ci_prob))
    rows.append(_window(forecast, "horizon", f"Next {months} months", cells, ci_prob))
    return pd.DataFrame([row for row in rows if row is not None])


def _next_quarter(forecast: Forecast, ci_prob: float) -> dict[str, object] | None:
    table = with_labels(forecast, forecast.portfolio(freq_of(forecast, "quarter"), None, ci_prob), "quarter")
    whole = table[~table["partial"]]
    if whole.empty:
        return None
    row = whole.iloc[0].to_dict()
    named = {"key": "next_quarter", "label": f"Next quarter, {row['label']}"}
    named |= {"start": row["period_start"], "end": row["period"]}
    ranges = ("mean", "sd", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "lower", "upper")
    return named | {name: row[name] for name in ranges}


def _window(forecast: Forecast, key: str, label: str, cells: int, ci_prob: float) -> dict[str, object]:
    """The first cells of the forecast's grid, summed in every draw, of all that `Forecast.portfolio` is of."""
    units = forecast.totals.groups[:, :, :cells].sum(axis=(1, 2))
    if forecast.new_totals is not None:
        units = units + forecast.new_totals.groups[:, :, :cells].sum(axis=(1, 2))
    draws = units / UNITS_PER_CURRENCY
    bounds = forecast.grid.bounds
    ranges = {name: float(value) for name, value in describe(draws, ci_prob, "eti").items()}
    named = {"key": key, "label": label, "start": date_of(bounds[0]), "end": date_of(bounds[cells] - 1)}
    return named | ranges
