"""Scenarios side by side, and how each differs from the forecast without assumptions, draw by draw.

All of them use the same posterior draws and random numbers, so a draw of one and the same draw of another are the same world but
for what is assumed, and their difference has a range of its own, which is much narrower than either's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr

from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast, forecast
from clvforecast.intervals import check_interval, describe
from clvforecast.ledger import Ledger
from clvforecast.posterior import Posterior
from clvforecast.scenarios import Scenario, check_scenarios

BASE = "base"
FIGURES = ("mean", "sd", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "lower", "upper")


def compare(posterior: Posterior, ledger: Ledger, scenarios: Sequence[Scenario], **settings: Any) -> Comparison:
    """Forecast without assumptions, and under each scenario.

    Parameters
    ----------
    scenarios
        One or more, each with a name of its own; "base" is the forecast without.
    settings
        What `forecast` takes, the same for all: horizon_months, draws, seed, bridge, plans and so on.

    Raises
    ------
    ForecastError
        For names that are not distinct, for what the ledger does not have, before anything is simulated, and as `forecast` does.

    Examples
    --------
    >>> import clvforecast as clv
    >>> result = clv.compare(  # doctest: +SKIP
    ...     posterior, ledger, [clv.Scenario("Renewal -5 points", clv.Assume(renewal_points=-0.05))], horizon_months=24
    ... )
    >>> result.difference("year")  # doctest: +SKIP
    """
    scenarios = [scenarios] if isinstance(scenarios, Scenario) else list(scenarios)
    names = [BASE, *(scenario.name for scenario in scenarios)]
    if len(set(names)) < len(names) or len(names) == 1:
        raise ForecastError(
            f"scenarios {', '.join(map(repr, names[1:])) or '(none)'}: give at least one, each with a name of its own; 'base' is "
            "taken by the forecast without assumptions."
        )
    if "scenario" in settings:
        raise ForecastError("scenario=...: give all of them in the list of scenarios.")
    check_scenarios(scenarios, ledger, settings.get("new_customers") is not None)
    made = [forecast(posterior, ledger, **settings)]
    made += [forecast(posterior, ledger, scenario=scenario, **settings) for scenario in scenarios]
    return Comparison(tuple(scenarios), dict(zip(names, made, strict=True)))


@dataclass(frozen=True, repr=False)
class Comparison:
    """Forecasts by name of the scenario, "base" first.  Made by `compare`."""

    scenarios: tuple[Scenario, ...]
    forecasts: dict[str, Forecast]

    def __repr__(self) -> str:
        rows = self.difference(None)
        parts = [
            f"{name} mean {mean:+,.0f} ({low:+,.0f} to {high:+,.0f} with 90%)"
            for name, mean, low, high in zip(rows["scenario"], rows["mean"], rows["lower"], rows["upper"], strict=True)
        ]
        return f"<Comparison, {self.base.currency} against {self.base!r}: {'; '.join(parts)}>"

    @property
    def base(self) -> Forecast:
        """The forecast without assumptions."""
        return self.forecasts[BASE]

    def assumptions(self) -> pd.DataFrame:
        """scenario, assumed: one row a scenario, in words."""
        return pd.DataFrame(
            {"scenario": [one.name for one in self.scenarios], "assumed": [one.describe() for one in self.scenarios]}
        )

    def portfolio(
        self,
        freq: str | None = "quarter",
        by: str | Sequence[str] | None = None,
        ci_prob: float = 0.9,
        ci_kind: str = "eti",
        discounted: bool = False,
    ) -> pd.DataFrame:
        """`Forecast.portfolio` of every scenario, "base" among them, below each other; ``scenario`` is the first column."""
        tables = [
            made.portfolio(freq, by, ci_prob, ci_kind, discounted).assign(scenario=name)
            for name, made in self.forecasts.items()
        ]
        return _scenario_first(tables)

    def difference_draws(
        self, freq: str | None = "quarter", by: str | Sequence[str] | None = None, discounted: bool = False
    ) -> xr.DataArray:
        """Draws of scenario less base: dims (scenario, draw, group, period), in currency."""
        base = self.base.portfolio_draws(freq, by, discounted)
        parts = [made.portfolio_draws(freq, by, discounted) - base for made in self._others().values()]
        return xr.concat(parts, pd.Index(list(self._others()), name="scenario")).rename("difference")

    def difference(
        self,
        freq: str | None = "quarter",
        by: str | Sequence[str] | None = None,
        ci_prob: float = 0.9,
        ci_kind: str = "eti",
        discounted: bool = False,
    ) -> pd.DataFrame:
        """Scenario less base, with the range of the difference: the columns of `portfolio`."""
        check_interval(ci_prob, ci_kind)
        draws = self.difference_draws(freq, by, discounted)
        tables = []
        for name in self._others():
            ranges = describe(draws.sel(scenario=name).values, ci_prob, ci_kind)
            table = self.base.portfolio(freq, by, ci_prob, ci_kind, discounted).assign(scenario=name)
            tables.append(table.assign(**{figure: ranges[figure].reshape(-1) for figure in FIGURES}))
        return _scenario_first(tables)

    def accounts(self) -> pd.DataFrame:
        """Expected revenue of every account: account_id, one column a scenario, and its difference to base."""
        table = pd.DataFrame({"account_id": self.base.table["account_id"]})
        for name, made in self.forecasts.items():
            table[name] = made.table["mean"].to_numpy()
        for name in self._others():
            table[f"{name} less {BASE}"] = table[name] - table[BASE]
        return table

    def plot(self, ax: Any = None, freq: str | None = None) -> Any:
        """Each scenario's difference to the base over the window, with its range."""
        from clvforecast.report.finance_plots import plot_comparison

        return plot_comparison(self, ax, freq)

    def _others(self) -> dict[str, Forecast]:
        return {name: made for name, made in self.forecasts.items() if name != BASE}


def _scenario_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(tables, ignore_index=True)
    return table[["scenario", *(name for name in table.columns if name != "scenario")]]
