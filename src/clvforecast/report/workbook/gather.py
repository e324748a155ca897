"""The contents of a workbook from a forecast: the one place that asks it for anything."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvforecast.backtest import MODEL
from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast
from clvforecast.forecast_file import describe_forecast
from clvforecast.intervals import describe
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
from clvforecast.report.workbook.periods import recognised_periods, sibling, with_labels
from clvforecast.scores import COVERED
from clvforecast.simulation.calendar import add_months, day_number

if TYPE_CHECKING:
    from clvforecast.backtest import Backtest
    from clvforecast.ledger import Ledger

MOST_REJECTS = 200
"""Rejected rows that are shown one by one."""
NEAR_A_YEAR = 8
"""Days by which the window of "next 12 months" may differ from twelve months: 52 weeks are a year too."""
CI_KIND = "eti"
HEADLINE = ("key", "label", "period_start", "period", *RANGE)
REJECT_COLUMNS = ["source", "row", "line", "account_id", "column", "value", "rule", "hint"]


def contents_of(
    forecast: Forecast,
    *,
    title: str | None = None,
    comparison: Any = None,
    backtest: Backtest | None = None,
    plan_table: pd.DataFrame | None = None,
    ci_prob: float = 0.9,
    freq: str = "quarter",
) -> Contents:
    """Everything a workbook shows. Raises ForecastError for periods or an interval that the forecast does not have."""
    accounts = forecast.accounts(ci_prob).sort_values(["mean", "account_id"], ascending=[False, True])
    return Contents(
        title=title or "Customer revenue forecast",
        as_of=forecast.as_of,
        currency=forecast.currency,
        horizon_months=forecast.settings.horizon_months,
        draws=forecast.settings.draws,
        ci_prob=ci_prob,
        freq=freq,
        accounts=accounts.reset_index(drop=True),
        headline=_headline(forecast, freq, ci_prob),
        periods=with_labels(forecast.portfolio(freq, None, ci_prob), freq),
        whole=_whole(forecast, ci_prob),
        segments={name: _segment(forecast, name, freq, ci_prob) for name in forecast.groups.columns},
        history=_history(forecast, freq),
        bridge=_asked(forecast, "bridge", freq, ci_prob=ci_prob),
        retention=_asked(forecast, "retention", freq, ci_prob=ci_prob),
        retention_year=_asked(forecast, "retention", freq, trailing_year=True, ci_prob=ci_prob),
        policies=_policies(forecast),
        about=_about(forecast),
        warnings=forecast.warnings,
        quality=_quality(forecast.ledger),
        scenarios=None if comparison is None else _scenarios(comparison, freq),
        track_record=None if backtest is None else _track_record(backtest),
        plans=plan_table,
    )


def _asked(forecast: Forecast, method: str, *arguments: Any, **options: Any) -> Part:
    """The table that a method of the forecast returns, or why this forecast cannot tell it."""
    try:
        return getattr(forecast, method)(*arguments, **options)
    except AttributeError:
        if hasattr(forecast, method):
            raise
        return Missing(f"This forecast was made without {method}: forecast again with a version that keeps it.")
    except ForecastError as error:
        return Missing(str(error))


def _history(forecast: Forecast, freq: str) -> Part:
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
    quarters = _portfolio(forecast, sibling(freq, "quarter"), ci_prob)
    rows = [
        _line("rest_of_quarter", row, "Rest of ") for row in quarters[quarters["partial"]].head(1).to_dict("records")
    ]
    rows = rows if quarters["partial"].iloc[0] else []
    rows += [
        _line("next_quarter", row, "Next quarter, ")
        for row in quarters[~quarters["partial"]].head(1).to_dict("records")
    ]
    rows += _twelve_months(forecast, freq, ci_prob)
    years = _portfolio(forecast, sibling(freq, "year"), ci_prob).to_dict("records")
    for place, row in enumerate(years):
        part = "Rest of " if row["partial"] and place == 0 else "Part of " if row["partial"] else ""
        rows.append(_line(f"fiscal_year_{place + 1}", row, part))
    whole = forecast.portfolio(None, None, ci_prob).iloc[0].to_dict()
    rows.append(_line("whole_window", {**whole, "label": f"All {forecast.settings.horizon_months} months"}))
    return pd.DataFrame(rows, columns=list(HEADLINE))


def _portfolio(forecast: Forecast, freq: str, ci_prob: float) -> pd.DataFrame:
    return with_labels(forecast.portfolio(freq, None, ci_prob), freq)


def _line(key: str, row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    return {**row, "key": key, "label": f"{before}{row['label']}"}


def _twelve_months(forecast: Forecast, freq: str, ci_prob: float) -> list[dict[str, Any]]:
    """The months that together come nearest to a year; none where the window is shorter."""
    draws = forecast.portfolio_draws(sibling(freq, "month")).isel(group=0)
    ends = pd.DatetimeIndex(draws["period"].values)
    last = min(ends[-1], pd.Timestamp(_day(forecast.grid.bounds[-1] - 1)))
    ends = ends.where(ends <= last, last)
    wanted = pd.Timestamp(_day(int(add_months(day_number(forecast.as_of) + 1, 12)) - 1))
    place = int(np.abs((ends - wanted).days).argmin())
    if abs((ends[place] - wanted).days) > 31:
        return []
    ranges = describe(draws.values[:, : place + 1].sum(axis=1), ci_prob, CI_KIND)
    exact = abs((ends[place] - wanted).days) <= NEAR_A_YEAR
    return [
        {
            "key": "next_12_months",
            "label": "Next 12 months" if exact else "About 12 months",
            "period_start": pd.Timestamp(forecast.as_of) + timedelta(days=1),
            "period": ends[place],
            **{name: float(ranges[name]) for name in RANGE},
        }
    ]


def _day(number: int) -> np.datetime64:
    return np.datetime64(int(number), "D")


def _whole(forecast: Forecast, ci_prob: float) -> pd.DataFrame:
    summary = _asked(forecast, "summary", None, ci_prob)
    if isinstance(summary, pd.DataFrame):
        return summary
    return forecast.portfolio(None, None, ci_prob).assign(discounted_mean=forecast.table["discounted_mean"].sum())


def _segment(forecast: Forecast, name: str, freq: str, ci_prob: float) -> Segment:
    whole = forecast.portfolio(None, name, ci_prob).rename(columns={name: "level"})
    each = forecast.table.groupby(name, dropna=False)["clv_to_date"].agg(["size", "sum"])
    each = each.set_axis(["accounts", "clv_to_date"], axis=1).reindex(whole["level"]).reset_index(drop=True)
    periods = with_labels(forecast.portfolio(freq, name, ci_prob).rename(columns={name: "level"}), freq)
    return Segment(whole=pd.concat([whole, each], axis=1), periods=periods)


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
        rejects=_rejects_by_rule(rejected),
        first_rejects=rejected.reindex(columns=REJECT_COLUMNS).head(MOST_REJECTS),
        warnings=ledger.warnings,
    )


def _rejects_by_rule(rejected: pd.DataFrame) -> pd.DataFrame:
    """rule, rows, and of the first such row its source, row, column, value, hint; the commonest rule first."""
    columns = ["rule", "rows", "source", "row", "column", "value", "hint"]
    if rejected.empty:
        return pd.DataFrame(columns=columns)
    first = rejected.drop_duplicates("rule").set_index("rule", drop=False)
    first = first.assign(rows=rejected["rule"].value_counts())
    return first.sort_values(["rows", "rule"], ascending=[False, True])[columns].reset_index(drop=True)


# --- what may be given besides ------------------------------------------------------------------------------


def _scenarios(comparison: Any, freq: str) -> Scenarios:
    """The scenarios' own intervals are those that `Comparison.portfolio` gives by default."""
    return Scenarios(
        whole=comparison.portfolio(None),
        whole_difference=comparison.difference(None),
        periods=with_labels(comparison.portfolio(freq), freq),
        periods_difference=with_labels(comparison.difference(freq), freq),
    )


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
