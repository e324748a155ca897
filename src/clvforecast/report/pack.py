"""What finance and customer success take away: the forecast, what-ifs and plans together, as a workbook and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from clvforecast.comparison import Comparison, compare
from clvforecast.durable import check_can_write
from clvforecast.errors import ForecastFileError
from clvforecast.forecast import Forecast, forecast
from clvforecast.ledger import Ledger
from clvforecast.plan_value import PlanValue, plan_value
from clvforecast.plans import PlanReliability, Plans
from clvforecast.posterior import Posterior
from clvforecast.report.files import replacing
from clvforecast.report.page import write_page
from clvforecast.report.workbook import write_workbook
from clvforecast.scenarios import Scenario

WORKBOOK, PAGE = "forecast.xlsx", "forecast.html"
WRITERS = ("xlsxwriter", "plotly.offline")
"""Libraries that the writers import when they run."""


@dataclass(frozen=True)
class Pack:
    """A forecast with its bridge; what scenarios change, the plans as they were read, and what their open steps add."""

    forecast: Forecast
    comparison: Comparison | None
    plans: Plans | None
    plan_value: PlanValue | None


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
    has_steps = plans is not None and len(plans.open(ledger)) > 0
    shared = {**settings, "plans": plans, "reliability": reliability} if has_steps else settings
    if scenarios:
        comparison = compare(posterior, ledger, scenarios, bridge=True, **shared)
        made = comparison.base
    else:
        comparison, made = None, forecast(posterior, ledger, bridge=True, **shared)
    value = plan_value(posterior, ledger, plans, reliability, **settings) if has_steps and plans is not None else None
    return Pack(made, comparison, plans, value)


def check_pack(folder: Path) -> None:
    """Before the forecast, which takes minutes: whether the files can be written, and the libraries that write them load.

    Raises OSError named after a file that could not be written, and ForecastFileError.
    """
    check_can_write(*_paths(folder))
    for library in WRITERS:
        try:
            import_module(library)
        except ImportError as error:
            raise ForecastFileError(
                f"{folder}: {library} is needed to write there, and cannot be imported ({error}). Install it again: "
                f"python -m pip install {library.partition('.')[0]}"
            ) from error


def write_pack(pack: Pack, folder: Path, title: str | None = None) -> list[Path]:
    """Write forecast.xlsx and forecast.html into a folder, which is made where there is none; returns their paths.

    Both or neither: the page is complete under a temporary name before the workbook is put in place, and follows it there.
    """
    workbook, page = _paths(folder)
    shared: dict[str, Any] = {
        "title": title,
        "comparison": pack.comparison,
        "plan_table": None if pack.plan_value is None else pack.plan_value.steps(),
        "plans": pack.plans,
    }
    with replacing(page) as temporary:
        write_page(pack.forecast, temporary, **shared)
        write_workbook(pack.forecast, workbook, **shared)
    return [workbook, page]


def _paths(folder: Path) -> tuple[Path, Path]:
    return folder / WORKBOOK, folder / PAGE
