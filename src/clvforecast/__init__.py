"""Bayesian customer-lifetime-value forecasts from contract revenue events.

The workflow in ten lines::

    import clvforecast as clv

    ledger = clv.read_ledger("events.csv", accounts="accounts.csv", as_of="2024-06-30")
    ledger.rejected                                                  # rows left out, and what to do about each
    posterior = clv.fit(ledger, segments=["plan"], seed=7)           # renewal, expansion, ... models
    posterior.summary()                                              # parameters, intervals, convergence
    posterior.save("posterior.nc")
    forecast = clv.forecast(posterior, ledger, horizon_months=24, seed=7)
    forecast.accounts(ci_prob=0.9)                                   # one row an account: CLV with its range
    forecast.portfolio(freq="QE", by="plan")                         # one row a quarter and level
    forecast.plot()

Names are imported when they are first used, so that ``import clvforecast`` is quick.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clvforecast import batch as batch
    from clvforecast import datasets as datasets
    from clvforecast import spark as spark
    from clvforecast.actuals import actual_portfolio as actual_portfolio
    from clvforecast.actuals import actual_revenue as actual_revenue
    from clvforecast.adapters import Mapping as Mapping
    from clvforecast.adapters import read_export as read_export
    from clvforecast.backtest import Backtest as Backtest
    from clvforecast.backtest import backtest as backtest
    from clvforecast.calendars import FiscalCalendar as FiscalCalendar
    from clvforecast.calibration import coverage as coverage
    from clvforecast.calibration import randomised_pit as randomised_pit
    from clvforecast.comparison import Comparison as Comparison
    from clvforecast.comparison import compare as compare
    from clvforecast.components import ChangePriors as ChangePriors
    from clvforecast.components import ModelPriors as ModelPriors
    from clvforecast.components import RatePriors as RatePriors
    from clvforecast.components import RenewalPriors as RenewalPriors
    from clvforecast.components import SizePriors as SizePriors
    from clvforecast.components import TermPriors as TermPriors
    from clvforecast.errors import BatchError as BatchError
    from clvforecast.errors import BatchSettingsError as BatchSettingsError
    from clvforecast.errors import ClvError as ClvError
    from clvforecast.errors import ConvergenceError as ConvergenceError
    from clvforecast.errors import DatasetError as DatasetError
    from clvforecast.errors import FitError as FitError
    from clvforecast.errors import ForecastError as ForecastError
    from clvforecast.errors import ForecastFileError as ForecastFileError
    from clvforecast.errors import HistoryError as HistoryError
    from clvforecast.errors import LedgerError as LedgerError
    from clvforecast.errors import PlanError as PlanError
    from clvforecast.errors import PosteriorFileError as PosteriorFileError
    from clvforecast.errors import RunLockedError as RunLockedError
    from clvforecast.errors import SparkError as SparkError
    from clvforecast.forecast import Forecast as Forecast
    from clvforecast.forecast import forecast as forecast
    from clvforecast.forecast_file import load_forecast as load_forecast
    from clvforecast.ledger import Ledger as Ledger
    from clvforecast.ledger import read_ledger as read_ledger
    from clvforecast.new_customers import PlannedNewCustomers as PlannedNewCustomers
    from clvforecast.new_customers import TrailingNewCustomers as TrailingNewCustomers
    from clvforecast.new_customers import sample_new_customers as sample_new_customers
    from clvforecast.overview import DataReport as DataReport
    from clvforecast.overview import data_report as data_report
    from clvforecast.plan_value import PlanValue as PlanValue
    from clvforecast.plan_value import plan_value as plan_value
    from clvforecast.plans import PlanOutcomes as PlanOutcomes
    from clvforecast.plans import PlanPriors as PlanPriors
    from clvforecast.plans import PlanReliability as PlanReliability
    from clvforecast.plans import Plans as Plans
    from clvforecast.plans import fit_plan_reliability as fit_plan_reliability
    from clvforecast.plans import load_plan_reliability as load_plan_reliability
    from clvforecast.plans import read_plans as read_plans
    from clvforecast.posterior import Posterior as Posterior
    from clvforecast.posterior import fit as fit
    from clvforecast.posterior import load_posterior as load_posterior
    from clvforecast.posterior import prior as prior
    from clvforecast.predictive import PredictiveCheck as PredictiveCheck
    from clvforecast.predictive import predictive_check as predictive_check
    from clvforecast.prospects import Prospects as Prospects
    from clvforecast.prospects import prospects as prospects
    from clvforecast.report.bridge_plot import plot_bridge as plot_bridge
    from clvforecast.report.customer_plots import plot_cohort as plot_cohort
    from clvforecast.report.customer_plots import plot_payback as plot_payback
    from clvforecast.report.customer_plots import plot_plan as plot_plan
    from clvforecast.report.customer_plots import plot_reliability as plot_reliability
    from clvforecast.report.finance_plots import plot_arr as plot_arr
    from clvforecast.report.finance_plots import plot_comparison as plot_comparison
    from clvforecast.report.finance_plots import plot_retention as plot_retention
    from clvforecast.report.finance_plots import plot_segments as plot_segments
    from clvforecast.report.page import write_page as write_page
    from clvforecast.report.plots import plot_account as plot_account
    from clvforecast.report.plots import plot_portfolio as plot_portfolio
    from clvforecast.report.workbook import write_workbook as write_workbook
    from clvforecast.scenario_file import read_scenarios as read_scenarios
    from clvforecast.scenarios import Assume as Assume
    from clvforecast.scenarios import Scenario as Scenario
    from clvforecast.synthetic import CompanyParameters as CompanyParameters
    from clvforecast.synthetic import Truth as Truth
    from clvforecast.synthetic import simulate_events as simulate_events

# Public name -> the module that holds it.
_HOME = {
    "actual_portfolio": "actuals",
    "actual_revenue": "actuals",
    "Mapping": "adapters",
    "read_export": "adapters",
    "Backtest": "backtest",
    "backtest": "backtest",
    "FiscalCalendar": "calendars",
    "coverage": "calibration",
    "randomised_pit": "calibration",
    "Comparison": "comparison",
    "compare": "comparison",
    "ChangePriors": "components",
    "ModelPriors": "components",
    "RatePriors": "components",
    "RenewalPriors": "components",
    "SizePriors": "components",
    "TermPriors": "components",
    "BatchError": "errors",
    "BatchSettingsError": "errors",
    "ClvError": "errors",
    "ConvergenceError": "errors",
    "DatasetError": "errors",
    "FitError": "errors",
    "ForecastError": "errors",
    "ForecastFileError": "errors",
    "HistoryError": "errors",
    "LedgerError": "errors",
    "PlanError": "errors",
    "PosteriorFileError": "errors",
    "RunLockedError": "errors",
    "SparkError": "errors",
    "Forecast": "forecast",
    "forecast": "forecast",
    "load_forecast": "forecast_file",
    "Ledger": "ledger",
    "read_ledger": "ledger",
    "PlannedNewCustomers": "new_customers",
    "TrailingNewCustomers": "new_customers",
    "sample_new_customers": "new_customers",
    "DataReport": "overview",
    "data_report": "overview",
    "PlanOutcomes": "plans",
    "PlanPriors": "plans",
    "PlanValue": "plan_value",
    "plan_value": "plan_value",
    "PlanReliability": "plans",
    "Plans": "plans",
    "fit_plan_reliability": "plans",
    "load_plan_reliability": "plans",
    "read_plans": "plans",
    "Posterior": "posterior",
    "fit": "posterior",
    "load_posterior": "posterior",
    "prior": "posterior",
    "PredictiveCheck": "predictive",
    "predictive_check": "predictive",
    "Prospects": "prospects",
    "prospects": "prospects",
    "plot_bridge": "report.bridge_plot",
    "plot_arr": "report.finance_plots",
    "plot_comparison": "report.finance_plots",
    "plot_retention": "report.finance_plots",
    "plot_segments": "report.finance_plots",
    "plot_cohort": "report.customer_plots",
    "plot_payback": "report.customer_plots",
    "plot_plan": "report.customer_plots",
    "plot_reliability": "report.customer_plots",
    "plot_account": "report.plots",
    "plot_portfolio": "report.plots",
    "read_scenarios": "scenario_file",
    "Assume": "scenarios",
    "Scenario": "scenarios",
    "write_page": "report.page",
    "write_workbook": "report.workbook",
    "CompanyParameters": "synthetic",
    "Truth": "synthetic",
    "simulate_events": "synthetic",
}
_MODULES = ("batch", "datasets", "spark")
"""Public modules: their own names are public in them."""
__all__ = sorted([*_HOME, *_MODULES])  # noqa: PLE0605


class _Package(ModuleType):
    """This package: ``clv.forecast``, ``clv.backtest`` and the like are functions, although modules have those names.

    Importing such a module would otherwise put it in the function's place.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("forecast", "backtest", "plan_value", "prospects") and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"clvforecast.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("clvforecast")
    if name not in _HOME:
        raise AttributeError(f"module 'clvforecast' has no attribute {name!r}")
    value = getattr(import_module(f"clvforecast.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
