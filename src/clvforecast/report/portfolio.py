"""A forecast's portfolio on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Console

from clvforecast.forecast import Forecast
from clvforecast.report.counting import COUNTINGS
from clvforecast.report.terminal import say, show_table
from clvforecast.report.units import MoneyUnit, in_unit, range_unit
from clvforecast.report.windows import last_days


def show_portfolio(
    console: Console, forecast: Forecast, freq: str = "quarter", ci_prob: float = 0.9, ci_kind: str = "eti"
) -> None:
    """Money by period and over the whole window, each with its range; called what it is by the timing."""
    periods = forecast.portfolio(freq, None, ci_prob, ci_kind)
    whole = forecast.portfolio(None, None, ci_prob, ci_kind)
    both = pd.concat([periods, whole])
    unit = range_unit(both["lower"], both["q50"], both["upper"])
    noun = COUNTINGS[forecast.settings.timing].noun.lower()
    title = f"{noun} of {len(forecast.table):,} accounts after {forecast.as_of}, {unit.label(forecast.currency)}"
    rows = portfolio_rows(both, unit)
    show_table(console, title, rows, left=["period", "to"])
    if periods["partial"].any():
        say(console, "* part of a period: the window begins or ends inside it")


def portfolio_rows(periods: pd.DataFrame, unit: MoneyUnit) -> pd.DataFrame:
    """period (its label), to (its last day in the window), median, and the range; all texts, money in the unit."""
    ci_prob, ci_kind = periods["ci_prob"].iloc[0], periods["ci_kind"].iloc[0]
    days = last_days(periods).strftime("%Y-%m-%d")
    return pd.DataFrame(
        {
            "period": periods["label"] + periods["partial"].map({True: "*", False: ""}),
            "to": days,
            "median": periods["q50"].map(lambda amount: in_unit(amount, unit)),
            f"{ci_prob:.0%} range ({ci_kind})": [
                f"{in_unit(low, unit)} to {in_unit(high, unit)}"
                for low, high in zip(periods["lower"], periods["upper"], strict=True)
            ],
        }
    ).reset_index(drop=True)
