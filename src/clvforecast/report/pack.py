"""What finance and customer success take away: the forecast, what-ifs and plans together, as a workbook and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clvforecast.comparison import Comparison, compare
from clvforecast.forecast import Forecast, forecast
from clvforecast.ledger import Ledger
from clvforecast.plan_value import PlanValue, plan_value
from clvforecast.plans import PlanReliability, Plans
from clvforecast.posterior import Posterior
from clvforecast.report.page import write_page
from clvforecast.report.workbook import write_workbook
from clvforecast.scenarios import Scenario

WORKBOOK, PAGE = "forecast.xlsx", "forecast.html"


@dataclass(frozen=True)
class Pack:
    """A forecast with its bridge; what scenarios change, and what the open steps of plans add, where they are given."""

    forecast: Forecast
    comparison: Comparison | None
    plans: PlanValue | None


def make_pack(
    posterior: Posterior,
    ledger: Ledger,
    scenarios: Sequence[Scenario] = (),
    plans: Plans | None = None,
    reliability: PlanReliability | None = None,
    **settings: Any,
) -> Pack:
    """Forecast with the ARR bridge, under each scenario, and with each planned step left out; settings as `forecast` takes them.

    The scenarios are compared with the forecast itself, plans and all. Plans of which no step is open change nothing.
    """
    if plans is not None and not len(plans.open(ledger)):
        plans = reliability = None
    shared = {**settings, "plans": plans, "reliability": reliability}
    if scenarios:
        comparison = compare(posterior, ledger, scenarios, bridge=True, **shared)
        made = comparison.base
    else:
        comparison, made = None, forecast(posterior, ledger, bridge=True, **shared)
    value = None if plans is None else plan_value(posterior, ledger, plans, reliability, **settings)
    return Pack(made, comparison, value)


def write_pack(pack: Pack, folder: Path, title: str | None = None) -> list[Path]:
    """Write forecast.xlsx and forecast.html into a folder, which is made where there is none; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = None if pack.plans is None else pack.plans.steps()
    paths = [folder / WORKBOOK, folder / PAGE]
    write_workbook(pack.forecast, paths[0], title=title, comparison=pack.comparison, plan_table=steps)
    write_page(pack.forecast, paths[1], title=title, comparison=pack.comparison, plan_table=steps)
    return paths
