"""What a workbook shows: one frozen record of plain tables, whatever they were taken from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from clvforecast.report.counting import RECOGNISED, Counting
from clvforecast.report.planned import PlanRows

RANGE = ("mean", "q50", "lower", "upper")


@dataclass(frozen=True)
class Missing:
    """In place of a table: why it is not there and how to get it, one sentence."""

    why: str


type Part = pd.DataFrame | Missing


@dataclass(frozen=True)
class Segment:
    """Ranges of one column's levels.

    whole: level, accounts, clv_to_date, mean, q50, lower, upper: one row a level
    periods: level, label, period_start, period, partial, mean, q50, lower, upper
    """

    whole: pd.DataFrame
    periods: pd.DataFrame


@dataclass(frozen=True)
class Quality:
    """Where every row and cent that was read went.

    reconciliation, export: of `Ledger.reconciliation` and `.export_reconciliation`
    rejects: rule, rows, place, hint, one row a rule, the commonest first
    first_rejects: source, row, line, account_id, column, value, rule, hint of the first rejected rows
    """

    reconciliation: pd.DataFrame
    export: pd.DataFrame
    rejects: pd.DataFrame
    first_rejects: pd.DataFrame
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Scenarios:
    """`Comparison.portfolio` and `.difference`, over the whole window and by period, with their column scenario.

    assumptions: scenario, assumed: each in words, where they are told
    discounted, discounted_difference: the whole window's discounted value, where a scenario has a discount rate of its own
    """

    whole: pd.DataFrame
    whole_difference: pd.DataFrame
    periods: pd.DataFrame
    periods_difference: pd.DataFrame
    assumptions: pd.DataFrame | None = None
    discounted: pd.DataFrame | None = None
    discounted_difference: pd.DataFrame | None = None


@dataclass(frozen=True)
class TrackRecord:
    """How earlier forecasts did.

    totals: origin, window_months, actual, mean, median, lower_80, upper_80, lower_95, upper_95 of the portfolio
    coverage: window_months, promised, held, accounts: the share of accounts inside their ranges
    """

    totals: pd.DataFrame
    coverage: pd.DataFrame
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """Money in `currency`; every table of ranges has the columns `RANGE`.

    accounts: `Forecast.accounts`, the largest mean first
    headline: key, label, period_start, period (last day in the window), mean, q50, lower, upper; keys are next_quarter,
        next_12_months, whole_window, fiscal_year and others
    periods: label, period_start, period, to (last day in the window), partial and ranges, by `freq`
    whole: one row, the whole window, with discounted_mean (and, where they are known, the ends of its range)
    history: label, period_start, period, revenue, partial: recognised before `as_of`
    bridge, retention: `Forecast.bridge` and `.retention` by `freq`, `with_coverage`
    retention_year: `Forecast.retention` over the years that end with a quarter
    about: section -> name -> value of settings, versions and fingerprints
    plan_rows: what became of the rows of the plans
    counted: what the forecast's money is, and the accounts' column that clv goes on from; the segments' clv_to_date is of it
    new_customers: mean of what customers still to be won bring in the window; None where the forecast has none. They are in
        headline, periods, the segments' periods, bridge and scenarios; accounts, whole and the segments' whole are without them
    pending: a sentence on contracts whose renewal is open, or none
    """

    title: str
    as_of: date
    currency: str
    horizon_months: int
    draws: int
    ci_prob: float
    freq: str
    accounts: pd.DataFrame
    headline: pd.DataFrame
    periods: pd.DataFrame
    whole: pd.DataFrame
    segments: Mapping[str, Segment]
    history: Part
    bridge: Part
    retention: Part
    retention_year: Part
    policies: Mapping[str, str]
    about: Mapping[str, Mapping[str, Any]]
    warnings: tuple[str, ...]
    quality: Quality | Missing
    scenarios: Scenarios | None = None
    track_record: TrackRecord | None = None
    plans: pd.DataFrame | None = None
    plan_rows: PlanRows | None = None
    counted: Counting = RECOGNISED
    new_customers: float | None = None
    pending: str = ""

    @property
    def noun(self) -> str:
        """Of the money, as it stands within a sentence: "revenue"."""
        return self.counted.noun.lower()

    @property
    def whole_mean(self) -> float:
        """Mean of the whole window with all that is in the headline, new customers too."""
        return float(self.headline.set_index("key").loc["whole_window", "mean"])

    def of_existing(self, words: str) -> str:
        """The words, with whom they speak of where the forecast has new customers too."""
        return words if self.new_customers is None else f"{words}, existing customers"

    @property
    def range_name(self) -> str:
        """ "90% range"."""
        return f"{100 * self.ci_prob:.3g}% range"

    @property
    def ends(self) -> tuple[str, str]:
        """Names of the two ends of a range."""
        return ends_of(self.ci_prob)


def ends_of(ci_prob: float) -> tuple[str, str]:
    """Names of a range's two ends, by the share of simulated worlds below them.

    Examples
    --------
    >>> ends_of(0.9)
    ('low 5%', 'high 95%')
    """
    tail = 50.0 * (1.0 - ci_prob)
    return f"low {tail:.3g}%", f"high {100.0 - tail:.3g}%"
