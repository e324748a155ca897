"""What a page shows, as plain tables, and how a forecast gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast
from clvforecast.report.assumed import assumed_table, changes_discounting
from clvforecast.report.counting import COUNTINGS, RECOGNISED, Counting, new_customers_mean
from clvforecast.report.page.history import account_years, revenue_before
from clvforecast.report.page.horizon import headline, periods_of
from clvforecast.report.pending import pending_words
from clvforecast.report.planned import PlanRows, plan_rows
from clvforecast.report.windows import check_comparison, with_coverage

if TYPE_CHECKING:
    from clvforecast.backtest import Backtest
    from clvforecast.plans import Plans

MODEL = "clvforecast"
LARGEST = 10
FREQS = ("quarter", "year")
"""Periods of the bridge and of retention; the portfolio has months too."""
TRAILING = "twelve_months"
"""Retention of the twelve months that end with each quarter."""
LINES = {
    "start": "Start",
    "new": "New",
    "expansion": "Expansion",
    "reactivation": "Reactivation",
    "late_renewals": "Late renewals",
    "contraction": "Contraction",
    "churn": "Churn",
    "end": "End",
}
"""Lines of the bridge, as tables and pictures call them."""
ASKED_FOR = {
    "scenarios": "Scenarios: give write_page a comparison=clv.compare(posterior, ledger, scenarios).",
    "backtest": "How well earlier forecasts held: give write_page a backtest=clv.backtest(ledger, origins).",
    "plans": "Plans agreed with customers: forecast with plans, or give write_page a plan_table.",
}


@dataclass(frozen=True)
class PageData:
    """Everything that a page shows; money in ``currency``, days as dates or timestamps.

    accounts: `Forecast.accounts`, a row an account; segments: those of its columns that name groups
    headline: key, label, start, end, mean, q05 … q95, lower, upper: money of windows that begin with the forecast
    portfolio: by "month", "quarter", "year": `Forecast.portfolio` with columns label, to (last day in the window), and already:
    what was recognised by as_of of the period that is running
    by_segment: `Forecast.summary` by each segment column
    history: as portfolio: label, start, end, revenue, of periods that were over by as_of
    account_years: cents of every account in each of the last years, which end on as_of; None without a ledger
    bridge, retention: by "quarter" and "year", as `Forecast.bridge` and `Forecast.retention` give them, `with_coverage`; empty
    when there are none; retention also by `TRAILING`
    policies: how things are counted
    rows_read: `Ledger.reconciliation`
    plans: `PlanValue.steps`, or the steps that the forecast was made with
    plan_rows: what became of the rows of the plans
    scenarios: "total", "year" and their differences from the base: as `Comparison.portfolio` and `.difference`; where a scenario
    has a discount rate of its own, "discounted_total" and its difference too
    assumed: scenario -> what it assumes, in words
    scores, backtest_totals: of the package's own forecasts in a backtest
    made_with: settings, seed, fingerprints and versions
    missing: section -> how to get it
    counted: what the forecast's money is
    new_customers: mean of what customers still to be won bring in the whole horizon; None where the forecast has none. They are
    in headline, portfolio, bridge and scenarios; accounts and by_segment are of existing customers
    has_cost: whether discounted values are after a cost to serve
    pending: a sentence on contracts whose renewal is open, or none
    """

    title: str
    as_of: date
    currency: str
    horizon_months: int
    ci_prob: float
    accounts: pd.DataFrame
    segments: tuple[str, ...]
    headline: pd.DataFrame
    portfolio: Mapping[str, pd.DataFrame]
    by_segment: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    history: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    account_years: pd.DataFrame | None = None
    bridge: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    retention: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    rows_read: pd.DataFrame | None = None
    plans: pd.DataFrame | None = None
    plan_rows: PlanRows | None = None
    scenarios: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    assumed: Mapping[str, str] = field(default_factory=dict)
    scores: pd.DataFrame | None = None
    backtest_totals: pd.DataFrame | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    counted: Counting = RECOGNISED
    new_customers: float | None = None
    has_cost: bool = False
    pending: str = ""


def gather(
    forecast: Forecast,
    *,
    title: str | None = None,
    comparison: Any = None,
    backtest: Backtest | None = None,
    plan_table: pd.DataFrame | None = None,
    plans: Plans | None = None,
    ci_prob: float = 0.9,
) -> PageData:
    """The tables of a page. What the forecast cannot give is in `missing`, with its own words on how to get it."""
    check_comparison(comparison, forecast)
    accounts = forecast.accounts(ci_prob)
    pieces = _Pieces()
    history = pieces.get("history", lambda: revenue_before(forecast)) or {}
    steps = _plans(forecast, plan_table, pieces)
    rows = plan_rows(plans, forecast, steps, "see the rejected rows below")
    if rows is not None and rows.unused:
        pieces.missing["plan_table"] = f"{_title('plan_table')}: {rows.unused}"
    if backtest is None:
        pieces.missing["backtest"] = ASKED_FOR["backtest"]
    segments = tuple(map(str, forecast.groups.columns))
    return PageData(
        title=title or "Revenue and customer lifetime value",
        as_of=forecast.as_of,
        currency=forecast.currency,
        horizon_months=forecast.settings.horizon_months,
        ci_prob=ci_prob,
        accounts=accounts,
        segments=segments,
        headline=headline(forecast, ci_prob),
        portfolio=periods_of(forecast, history, ci_prob),
        by_segment={column: summary(forecast, accounts, column, ci_prob) for column in segments},
        history=history,
        account_years=pieces.get("history", lambda: account_years(forecast)),
        bridge=_by_freq(pieces, forecast, "bridge", ci_prob),
        retention=_trailing(forecast, ci_prob) | _by_freq(pieces, forecast, "retention", ci_prob),
        policies=pieces.method(forecast, "policies") or {},
        pending=pending_words(forecast),
        warnings=forecast.warnings,
        rows_read=None if forecast.ledger is None else forecast.ledger.reconciliation(),
        plans=steps,
        plan_rows=rows,
        scenarios=_scenarios(comparison, pieces, ci_prob),
        assumed=_assumed(comparison),
        scores=None if backtest is None else _scores(backtest),
        backtest_totals=None if backtest is None else _backtest_totals(backtest),
        made_with=made_with(forecast),
        missing=pieces.missing,
        counted=COUNTINGS[forecast.settings.timing],
        new_customers=new_customers_mean(forecast),
        has_cost=forecast.settings.cost_to_serve > 0.0,
    )


class _Pieces:
    """Collects what a forecast cannot give, in the words of its own errors."""

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}

    def get[T](self, section: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except ForecastError as error:
            self.missing[section] = f"{_title(section)}: {error}"
            return None

    def method(self, forecast: Forecast, name: str, **arguments: Any) -> Any:
        """What a method of the forecast returns; None where it has no such method, or cannot answer."""
        found = getattr(forecast, name, None)
        if found is None:
            self.missing[name] = f"{_title(name)}: this forecast has none; make it again with a newer clvforecast."
            return None
        return self.get(name, lambda: found(**arguments))


def _title(section: str) -> str:
    names = {
        "history": "The past of the portfolio and the accounts",
        "bridge": "ARR bridge",
        "retention": "Net and gross revenue retention",
        "policies": "What is counted, and how",
        "plan_table": "Plans agreed with customers",
    }
    return names.get(section, section)


def _by_freq(pieces: _Pieces, forecast: Forecast, name: str, ci_prob: float) -> dict[str, pd.DataFrame]:
    found = {freq: pieces.method(forecast, name, freq=freq, ci_prob=ci_prob) for freq in FREQS}
    return {freq: with_coverage(forecast, table) for freq, table in found.items() if table is not None and len(table)}


def _trailing(forecast: Forecast, ci_prob: float) -> dict[str, pd.DataFrame]:
    """Where contracts renew once a year its quarters differ by season, and those of twelve months do not; empty without a bridge,
    which is told of the quarters, and where no quarter ends in the window."""
    try:
        table = forecast.retention("quarter", trailing_year=True, ci_prob=ci_prob)
    except ForecastError:
        return {}
    return {TRAILING: with_coverage(forecast, table)} if len(table) else {}


def summary(forecast: Forecast, accounts: pd.DataFrame, by: str, ci_prob: float) -> pd.DataFrame:
    """One row a level over the whole window: accounts, clv_to_date, mean … upper, discounted_mean, beyond_horizon, top10_share.

    Ranges are of summed draws.
    """
    found = getattr(forecast, "summary", None)
    if found is not None:
        table: pd.DataFrame = found(by=by, ci_prob=ci_prob)
        return table
    whole = forecast.portfolio(None, by, ci_prob)
    sums = accounts.groupby(by, sort=True, dropna=False)[["clv_to_date", "discounted_mean", "beyond_horizon"]].sum(
        min_count=1
    )
    largest = accounts.groupby(by, sort=True, dropna=False)["mean"].agg([("accounts", "size"), ("top10", top_share)])
    facts = largest.join(sums).reindex(whole[by])
    return whole.assign(
        accounts=facts["accounts"].to_numpy(),
        clv_to_date=facts["clv_to_date"].to_numpy(),
        discounted_mean=facts["discounted_mean"].to_numpy(),
        beyond_horizon=facts["beyond_horizon"].to_numpy(),
        top10_share=facts["top10"].to_numpy(),
    )


def top_share(means: pd.Series) -> float:
    """Share of the ten largest in a sum; NaN of nothing.

    Examples
    --------
    >>> round(top_share(pd.Series([5.0] + [1.0] * 15)), 3)
    0.7
    """
    total = float(means.sum())
    return float(means.nlargest(LARGEST).sum()) / total if total > 0.0 else np.nan


def _plans(forecast: Forecast, given: pd.DataFrame | None, pieces: _Pieces) -> pd.DataFrame | None:
    """The plan table that is given, or the steps that the forecast was made with; None when there are none."""
    table = given
    if given is None:
        has_table = hasattr(forecast, "plan_table")
        table = pieces.method(forecast, "plan_table") if has_table else getattr(forecast, "planned", None)
    if table is None or table.empty:
        pieces.missing["plan_table"] = ASKED_FOR["plans"]
        return None
    if "account_id" not in table:
        raise ForecastError(
            f"plan_table has no column account_id; it has {', '.join(map(str, table.columns))}. "
            "Give forecast.plan_table(), or None."
        )
    return table.reset_index(drop=True)


def _scenarios(comparison: Any, pieces: _Pieces, ci_prob: float) -> dict[str, pd.DataFrame]:
    """Whole window and years, of every scenario and of its difference from the base."""
    if comparison is None:
        pieces.missing["scenarios"] = ASKED_FOR["scenarios"]
        return {}
    total, yearly = (comparison.portfolio(freq=freq, ci_prob=ci_prob) for freq in (None, "year"))
    change, yearly_change = (comparison.difference(freq=freq, ci_prob=ci_prob) for freq in (None, "year"))
    base = base_of(total, change)
    return {
        "total": total,
        "difference": change[change["scenario"] != base].reset_index(drop=True),
        "year": yearly,
        "year_difference": yearly_change[yearly_change["scenario"] != base].reset_index(drop=True),
        **_discounted(comparison, ci_prob),
    }


def _discounted(comparison: Any, ci_prob: float) -> dict[str, pd.DataFrame]:
    """The window's discounted value, where a scenario has a rate of its own."""
    if not changes_discounting(comparison):
        return {}
    return {
        "discounted_total": comparison.portfolio(freq=None, ci_prob=ci_prob, discounted=True),
        "discounted_difference": comparison.difference(freq=None, ci_prob=ci_prob, discounted=True),
    }


def _assumed(comparison: Any) -> dict[str, str]:
    if comparison is None:
        return {}
    return dict(assumed_table(comparison)[["scenario", "assumed"]].itertuples(index=False, name=None))


def base_of(total: pd.DataFrame, change: pd.DataFrame) -> str:
    """What the scenarios are compared with: the one that has no difference, or else the first."""
    names, compared = list(dict.fromkeys(total["scenario"])), set(change["scenario"])
    return str(next((name for name in names if name not in compared), names[0]))


def _scores(backtest: Backtest) -> pd.DataFrame:
    scores = backtest.scores()
    return scores[scores["method"] == MODEL].reset_index(drop=True)


def _backtest_totals(backtest: Backtest) -> pd.DataFrame:
    totals = backtest.totals
    mine = totals[(totals["by"] == "portfolio") & (totals["method"] == MODEL)]
    return mine.sort_values(["window_months", "origin"], kind="stable").reset_index(drop=True)


def made_with(forecast: Forecast) -> dict[str, str]:
    """What it takes to make the same forecast again, as texts."""
    settings = forecast.settings.model_dump(mode="json", exclude={"threads", "batch_accounts"})
    origin = forecast.provenance
    return {
        **{name.replace("_", " "): _written(value) for name, value in settings.items()},
        "ledger, fingerprint": origin.ledger,
        "posterior, fingerprint": origin.posterior,
        "trained on ledger, fingerprint": origin.trained_on,
        "trained until": origin.trained_until,
        **{f"{package}, version": number for package, number in origin.versions.items()},
    }


def _written(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_written(part)}" for name, part in value.items())
    return str(value)
