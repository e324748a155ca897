"""The contents of a workbook from a forecast: the one place that asks it for anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from clvforecast.backtest import MODEL
from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast
from clvforecast.forecast_file import describe_forecast
from clvforecast.intervals import describe
from clvforecast.report.assumed import assumed_table, changes_discounting
from clvforecast.report.counting import COUNTINGS, Counting, new_customers_mean
from clvforecast.report.pending import pending_words
from clvforecast.report.planned import first_rejects, plan_rows, rejects_by_rule
from clvforecast.report.windows import check_comparison, last_days, runs_at_origin, with_coverage, year_ahead
from clvforecast.report.workbook.contents import (
    RANGE,
    Contents,
    Missing,
    Part,
    Quality,
    Scenarios,
    Segment,
    TrackRecord,
)
from clvforecast.report.workbook.periods import recognised_periods, sibling
from clvforecast.scores import COVERED
from clvforecast.simulation.calendar import date_of

if TYPE_CHECKING:
    from clvforecast.backtest import Backtest
    from clvforecast.ledger import Ledger
    from clvforecast.plans import Plans

CI_KIND = "eti"
NO_LEVEL = "(not told)"
HEADLINE = ("key", "label", "period_start", "period", *RANGE)


def contents_of(
    forecast: Forecast,
    *,
    title: str | None = None,
    comparison: Any = None,
    backtest: Backtest | None = None,
    plan_table: pd.DataFrame | None = None,
    plans: Plans | None = None,
    ci_prob: float = 0.9,
    freq: str = "quarter",
) -> Contents:
    """Everything a workbook shows. Raises ForecastError for periods or an interval that the forecast does not have, and for
    scenarios of another day or window."""
    check_comparison(comparison, forecast)
    counted = COUNTINGS[forecast.settings.timing]
    accounts = _accounts(forecast, counted, ci_prob)
    steps = forecast.planned if plan_table is None else plan_table
    return Contents(
        title=title or "Customer revenue forecast",
        as_of=forecast.as_of,
        currency=forecast.currency,
        horizon_months=forecast.settings.horizon_months,
        draws=forecast.settings.draws,
        ci_prob=ci_prob,
        freq=freq,
        accounts=accounts,
        headline=_headline(forecast, freq, ci_prob),
        periods=_with_last_day(forecast.portfolio(freq, None, ci_prob)),
        whole=forecast.summary(None, ci_prob),
        segments={
            name: _segment(forecast, accounts, counted.to_date, name, freq, ci_prob) for name in forecast.groups.columns
        },
        history=_history(forecast, freq),
        bridge=_flows(forecast, "bridge", freq, ci_prob=ci_prob),
        retention=_flows(forecast, "retention", freq, ci_prob=ci_prob),
        retention_year=_flows(forecast, "retention", sibling(freq, "quarter"), trailing_year=True, ci_prob=ci_prob),
        policies=_policies(forecast),
        pending=pending_words(forecast),
        about=_about(forecast),
        warnings=forecast.warnings,
        quality=_quality(forecast.ledger),
        scenarios=None if comparison is None else _scenarios(comparison, freq, ci_prob),
        track_record=None if backtest is None else _track_record(backtest),
        plans=steps,
        plan_rows=plan_rows(plans, forecast, steps, "see the rejected rows above"),
        counted=counted,
        new_customers=new_customers_mean(forecast),
    )


def _accounts(forecast: Forecast, counted: Counting, ci_prob: float) -> pd.DataFrame:
    """The largest first; clv is what the forecast's money has brought and will bring, whatever its timing."""
    table = forecast.accounts(ci_prob).sort_values(["mean", "account_id"], ascending=[False, True])
    to_date = table[counted.to_date]
    table = table.assign(clv=to_date + table["mean"], clv_lower=to_date + table["lower"])
    return table.assign(clv_upper=to_date + table["upper"]).reset_index(drop=True)


def _with_last_day(table: pd.DataFrame) -> pd.DataFrame:
    """With a column to: a period's last day that is in the window."""
    return table.assign(to=last_days(table))


def _flows(forecast: Forecast, method: str, *arguments: Any, **options: Any) -> Part:
    """The table that a method of the forecast returns, with how much of each period it is of; or why it cannot tell it."""
    asked = getattr(forecast, method, None)
    if asked is None:
        return Missing(f"This kind of forecast has no {method}.")
    try:
        return with_coverage(forecast, asked(*arguments, **options))
    except ForecastError as error:
        return Missing(str(error))


def _history(forecast: Forecast, freq: str) -> Part:
    if forecast.settings.timing != "recognised":
        return Missing(
            f"timing={forecast.settings.timing!r} counts other money than was recognised in the past; to see them side by side, "
            'forecast with timing="recognised".'
        )
    try:
        return recognised_periods(forecast, freq)
    except ForecastError as error:
        return Missing(str(error))


def _policies(forecast: Forecast) -> Mapping[str, str]:
    asked: Any = getattr(forecast, "policies", dict)
    return dict(asked())


# --- ranges -------------------------------------------------------------------------------------------------


def _headline(forecast: Forecast, freq: str, ci_prob: float) -> pd.DataFrame:
    """The quarter that runs, the next whole one, twelve months, fiscal years, and the whole window."""
    quarter, year = sibling(freq, "quarter"), sibling(freq, "year")
    quarters = forecast.portfolio(quarter, None, ci_prob)
    rows = [_line("rest_of_quarter", quarters.iloc[0], "Rest of ")] if runs_at_origin(forecast, quarter) else []
    rows += [
        _line("next_quarter", row, "Next quarter, ") for _, row in quarters[~quarters["partial"]].head(1).iterrows()
    ]
    rows += _twelve_months(forecast, ci_prob)
    runs, years = runs_at_origin(forecast, year), forecast.portfolio(year, None, ci_prob)
    for place, row in years.iterrows():
        part = "" if not row["partial"] else "Rest of " if place == 0 and runs else "Part of "
        rows.append(_line(f"fiscal_year_{int(place) + 1}", row, part))
        if rows[0]["key"] == "rest_of_quarter" and rows[-1]["period"] == rows[0]["period"]:
            rows[-1]["label"] += f": the same days as of {quarters['label'].iloc[0]}"
    rows.append(_line("whole_window", forecast.portfolio(None, None, ci_prob).iloc[0], "All "))
    return pd.DataFrame(rows, columns=list(HEADLINE))


def _line(key: str, row: pd.Series, before: str) -> dict[str, Any]:
    return {**row, "key": key, "label": f"{before}{row['label']}", "period": last_days(row.to_frame().T)[0]}


def _twelve_months(forecast: Forecast, ci_prob: float) -> list[dict[str, Any]]:
    """None where the window is shorter."""
    year, bounds = year_ahead(forecast), forecast.grid.bounds
    if year is None:
        return []
    draws = forecast.portfolio_draws("month").isel(group=0).values[:, : year.cells].sum(axis=1)
    ranges = describe(draws, ci_prob, CI_KIND)
    return [
        {
            "key": "next_12_months",
            "label": year.label,
            "period_start": pd.Timestamp(date_of(bounds[0])),
            "period": pd.Timestamp(date_of(bounds[year.cells] - 1)),
            **{name: float(ranges[name]) for name in RANGE},
        }
    ]


def _segment(forecast: Forecast, accounts: pd.DataFrame, to_date: str, name: str, freq: str, ci_prob: float) -> Segment:
    whole, periods = (
        table.rename(columns={name: "level"}).assign(level=_levels(table[name]))
        for table in (forecast.summary(name, ci_prob), forecast.portfolio(freq, name, ci_prob))
    )
    brought = accounts[to_date].groupby(_levels(accounts[name])).sum()
    return Segment(whole.assign(clv_to_date=whole["level"].map(brought).fillna(0.0).astype(float)), periods)


def _levels(levels: pd.Series) -> pd.Series:
    return levels.astype(object).where(levels.notna(), NO_LEVEL)


# --- what it was made from ----------------------------------------------------------------------------------


def _about(forecast: Forecast) -> dict[str, dict[str, Any]]:
    said = describe_forecast(forecast)
    made_from = said["provenance"]
    versions = made_from.pop("versions")
    return {"Settings": said["settings"], "Made from (SHA-256)": made_from, "Versions": versions}


def _quality(ledger: Ledger | None) -> Quality | Missing:
    if ledger is None:
        return Missing(
            "This forecast was loaded without its ledger, which tells where every row went: "
            "clv.load_forecast(path, ledger=ledger)."
        )
    rejected = ledger.rejected
    return Quality(
        reconciliation=ledger.reconciliation(),
        export=ledger.export_reconciliation(),
        rejects=rejects_by_rule(rejected),
        first_rejects=first_rejects(rejected),
        warnings=ledger.warnings,
    )


# --- what may be given besides ------------------------------------------------------------------------------


def _scenarios(comparison: Any, freq: str, ci_prob: float) -> Scenarios:
    return Scenarios(
        whole=comparison.portfolio(None, None, ci_prob),
        whole_difference=comparison.difference(None, None, ci_prob),
        periods=comparison.portfolio(freq, None, ci_prob),
        periods_difference=comparison.difference(freq, None, ci_prob),
        assumptions=assumed_table(comparison),
        **_discounted(comparison, ci_prob),
    )


def _discounted(comparison: Any, ci_prob: float) -> dict[str, pd.DataFrame]:
    """The window's discounted value, where a scenario has a rate of its own."""
    if not changes_discounting(comparison):
        return {}
    return {
        "discounted": comparison.portfolio(None, None, ci_prob, discounted=True),
        "discounted_difference": comparison.difference(None, None, ci_prob, discounted=True),
    }


def _track_record(backtest: Backtest) -> TrackRecord:
    totals = backtest.totals
    totals = totals[(totals["method"] == MODEL) & (totals["by"] == "portfolio")]
    scores = backtest.scores()
    scores = scores[(scores["method"] == MODEL) & scores["score"].str.startswith("coverage_")]
    promised = scores["score"].map({f"coverage_{100 * prob:.0f}": prob for prob in COVERED})
    coverage = pd.DataFrame(
        {
            "window_months": scores["window_months"],
            "promised": promised,
            "held": scores["value"],
            "lower": scores["lower"],
            "upper": scores["upper"],
            "accounts": scores["n"],
        }
    )
    return TrackRecord(
        totals=totals.drop(columns=["method", "by", "level"]).reset_index(drop=True),
        coverage=coverage.sort_values(["window_months", "promised"]).reset_index(drop=True),
        notes=backtest.notes,
    )
