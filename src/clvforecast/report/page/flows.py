"""Sections on recurring revenue, scenarios and earlier forecasts: each is empty where its data is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from clvforecast.metrics.bridge import SUBTRACTED
from clvforecast.report.page.data import LINES, TRAILING, PageData, base_of
from clvforecast.report.page.front import terms
from clvforecast.report.page.numbers import day, money, percent, probability
from clvforecast.report.page.sections import PERIODS, by_freq, choice, ranged, ranged_share
from clvforecast.report.page.tables import (
    Column,
    Content,
    Figure,
    Html,
    chart,
    date_of,
    join,
    name_of,
    section,
    table,
    tag,
)
from clvforecast.report.units import MoneyUnit, range_unit

SPANS = {TRAILING: "Twelve months to a quarter's end", **PERIODS}
"""Stretches of time that retention is told of."""
MEASURES = {
    "nrr": "Net revenue retention",
    "grr": "Gross revenue retention",
    "gross_renewal_rate": "Gross renewal rate",
    "logo_churn": "Logo churn",
}


def bridge(data: PageData) -> Html:
    """The waterfall of a period that can be chosen, and the table of all periods."""
    if not data.bridge:
        return Html("")
    freqs = list(data.bridge)
    tables = by_freq({freq: _bridge_table(data, freq) for freq in freqs}, freqs[0])
    lead = (
        "Annual recurring revenue from the start of a period to its end. Bars are means, which add up; whiskers are "
        f"{probability(data.ci_prob)} ranges.{_only_existing(data, f' New is what came by {day(data.as_of)}.')}"
    )
    period = tag("p", join([tag("label", "Period", for_="bridge-period"), " ", tag("select", "", id="bridge-period")]))
    freq = choice("bridge-freq", "By", {freq: PERIODS[freq] for freq in freqs}, freqs[0])
    label = "Waterfall of annual recurring revenue in the chosen period. The figures are in the table below."
    return section(
        "bridge",
        "ARR bridge",
        tag("p", f"{lead} {data.pending}".strip(), class_="lead"),
        tag("div", join([freq, period]), class_="controls"),
        chart("bridge", label),
        *tables,
    )


def _only_existing(data: PageData, words: str = "") -> str:
    """Why nothing is new in a forecast without new customers; empty where it has some."""
    return f" The forecast is of existing customers only.{words}" if data.new_customers is None else ""


def _bridge_table(data: PageData, freq: str) -> Html:
    """Lines downwards, periods across; what is subtracted has a minus."""
    rows = data.bridge[freq]
    periods = list(dict.fromkeys(rows["label"]))
    unit = range_unit(rows["lower"], rows["mean"], rows["upper"])
    by_line = rows.set_index(["line", "label"])
    basis = rows.drop_duplicates("label").set_index("label").apply(basis_words, axis=1)
    columns = [Column("Line"), *(Column(f"{label}, {basis[label]}") for label in periods)]
    lines: list[list[Content]] = [
        [LINES[line], *(_bridge_cell(by_line.loc[(line, label)], line, unit) for label in periods)]
        for line in LINES
        if line in set(rows["line"])
    ]
    caption = f"ARR bridge by {freq}, {unit.label(data.currency)}: means, with {probability(data.ci_prob)} ranges"
    caption += "; forecast: existing customers only" * (data.new_customers is None)
    return tag("div", table(caption, columns, lines, "stacked"), class_="bridge-table")


def basis_words(row: Any) -> str:
    """ "forecast", and of a period that the window cuts short how much of it: "forecast, 6 of 12 months"."""
    return f"{row.basis}, {row.covered}" if row.covered else str(row.basis)


def _bridge_cell(row: pd.Series, line: str, unit: MoneyUnit) -> Figure:
    sign = -1.0 if line in SUBTRACTED else 1.0
    mean, *ends = (sign * row[name] for name in ("mean", "lower", "upper"))
    low, high = (money(end, unit) for end in sorted(ends))
    return Figure(money(mean, unit), mean, "" if low == high else f"{low} to {high}")


def retention(data: PageData) -> Html:
    """NRR and GRR by period, drawn and as a table of all measures."""
    if not data.retention:
        return Html("")
    freqs = list(data.retention)
    tables = by_freq({freq: _retention_table(data, freq) for freq in freqs}, freqs[0])
    season = "A quarter by itself has the season in which contracts fall due; twelve months have all of them. "
    lead = (
        "Of the recurring revenue at a period's start, the share that is there at its end: net with expansions, gross without. "
        f"{season if TRAILING in freqs else ''}Whiskers are {probability(data.ci_prob)} ranges."
    )
    controls = choice("retention-freq", "Over", {freq: SPANS[freq] for freq in freqs}, freqs[0])
    label = "Net and gross revenue retention by period with ranges. The figures are in the table below."
    return section(
        "retention",
        "Retention",
        tag("p", lead, class_="lead"),
        controls,
        chart("retention", label, *tables),
    )


def _retention_table(data: PageData, freq: str) -> Html:
    rows = data.retention[freq]
    periods = rows.drop_duplicates("label")
    by_measure = rows.set_index(["measure", "label"])
    measures = [name for name in MEASURES if name in set(rows["measure"])]
    columns = [Column("Period"), Column("Basis", wide=True), *(Column(MEASURES[name]) for name in measures)]
    lines: list[list[Content]] = [
        [
            f"{period.label}, {period.covered}" if period.covered else str(period.label),
            str(period.basis),
            *(_retention_cell(by_measure.loc[(name, period.label)]) for name in measures),
        ]
        for period in periods.itertuples()
    ]
    cut = [
        tag("p", f"Rates of {row.label} are over {row.covered} only.", class_="small")
        for row in periods.itertuples()
        if row.covered
    ]
    over = "of twelve months, to the end of each quarter" if freq == TRAILING else f"by {freq}"
    return join([table(f"Retention {over}: medians, with {probability(data.ci_prob)} ranges", columns, lines), *cut])


def _retention_cell(row: pd.Series) -> Figure:
    if row["basis"] == "actual" or pd.isna(row["q50"]):
        return Figure(percent(row["q50"]), row["q50"])
    return ranged_share(row["q50"], row["lower"], row["upper"])


def scenarios(data: PageData) -> Html:
    """Every scenario's revenue, and its difference from the base: of the whole window, then by year."""
    if not data.scenarios:
        return Html("")
    base = base_of(data.scenarios["total"], data.scenarios["difference"])
    lead = [
        "Differences compare each simulated world with itself, so their ranges are those of the change alone. All are from ",
        name_of(base),
        f", over {data.horizon_months} months.",
    ]
    label = "Difference of each scenario from the base with its range. The figures are in the table below."
    return section(
        "scenarios",
        "Scenarios",
        tag("p", join(lead), class_="lead"),
        terms(data.assumed) if data.assumed else "",
        chart("scenarios", label),
        _scenario_table(data, "total", "difference", data.counted.noun),
        _scenario_table(data, "discounted_total", "discounted_difference", "Discounted value")
        if "discounted_total" in data.scenarios
        else "",
        tag("details", join([tag("summary", "Show the years"), _scenario_years(data)]), class_="figures"),
    )


def _scenario_table(data: PageData, figures: str, differences: str, what: str) -> Html:
    total, change = data.scenarios[figures], data.scenarios[differences].set_index("scenario")
    prob = probability(data.ci_prob)
    both = pd.concat([total, change])
    unit = range_unit(both["lower"], both["q50"], both["upper"])
    titles = ("Scenario", "Mean", f"Median ({prob} range)", "Difference, mean", f"Difference, median ({prob} range)")
    lines: list[list[Content]] = [
        [
            name_of(str(row["scenario"])),
            Figure(money(row["mean"], unit), row["mean"]),
            _ranged_row(row, unit),
            *_differences(change, row["scenario"], unit),
        ]
        for row in total.to_dict("records")
    ]
    columns = [Column(title, wide=title.endswith(("Mean", "mean"))) for title in titles]
    return table(f"{what} by scenario, {unit.label(data.currency)}", columns, lines)


def _differences(change: pd.DataFrame, scenario: str, unit: MoneyUnit) -> tuple[Content, Content]:
    """Mean, and median with its range: where little is likely and much is at stake they tell different things."""
    if scenario not in change.index:
        return Figure("base", 0.0), Figure("base", 0.0)
    row = change.loc[scenario]
    return Figure(money(row["mean"], unit), row["mean"]), _ranged_row(row, unit)


def _ranged_row(row: Mapping[Any, Any] | pd.Series, unit: MoneyUnit) -> Figure:
    return ranged(row["q50"], row["lower"], row["upper"], unit)


def _scenario_years(data: PageData) -> Html:
    rows = data.scenarios["year_difference"]
    unit = range_unit(rows["lower"], rows["q50"], rows["upper"])
    periods = list(dict.fromkeys(rows["label"]))
    by_name = rows.set_index(["scenario", "label"])
    lines: list[list[Content]] = [
        [name_of(str(scenario)), *(_ranged_row(by_name.loc[(scenario, label)], unit) for label in periods)]
        for scenario in dict.fromkeys(rows["scenario"])
    ]
    caption = f"Difference from the base by year, {unit.label(data.currency)}"
    return table(caption, [Column("Scenario"), *map(Column, periods)], lines)


def calibration(data: PageData) -> Html:
    """Whether the ranges of earlier forecasts held: of accounts, and of portfolio totals."""
    if data.scores is None or data.backtest_totals is None:
        return Html("")
    lead = (
        "The same forecast, made from earlier days with what was known then, beside what happened. A range is honest when it "
        "holds as often as it says; too often is a fault as well."
    )
    label = "Earlier forecasts of portfolio totals with 50% and 95% ranges beside what happened. The figures are in the table."
    return section(
        "calibration",
        "Did earlier forecasts hold?",
        tag("p", lead, class_="lead"),
        chart("calibration", label),
        _totals_table(data, data.backtest_totals),
        _scores_table(data.scores),
    )


def _totals_table(data: PageData, rows: pd.DataFrame) -> Html:
    unit = range_unit(rows["lower_95"], rows["median"], rows["upper_95"])
    columns = ["From", "Months", "Median (95% range)", "What happened", "Inside"]
    lines: list[list[Content]] = [
        [
            date_of(row.origin),
            Figure(str(row.window_months), row.window_months),
            ranged(row.median, row.lower_95, row.upper_95, unit),
            Figure(money(row.actual, unit), row.actual),
            "yes" if row.lower_95 <= row.actual <= row.upper_95 else "no",
        ]
        for row in rows.itertuples()
    ]
    return table(f"Portfolio totals, {unit.label(data.currency)}", list(map(Column, columns)), lines)


def _scores_table(scores: pd.DataFrame) -> Html:
    windows = scores.drop_duplicates("window_months")["window_months"]
    by_score = scores.set_index(["window_months", "score"])
    names = {
        "coverage_50": "Inside 50% range",
        "coverage_80": "Inside 80% range",
        "coverage_95": "Inside 95% range",
        "bias": "Forecast sum off by",
        "skill_log_crps": "Better than the best baseline",
    }
    found = [name for name in names if any((window, name) in by_score.index for window in windows)]
    lines: list[list[Content]] = [
        [f"{window} months", *(_score(by_score, window, name) for name in found)] for window in windows
    ]
    caption = "Accounts: how often what happened lay in the range, with 95% intervals"
    return table(caption, [Column("Window"), *(Column(names[name]) for name in found)], lines, "stacked")


def _score(by_score: pd.DataFrame, window: int, name: str) -> Content:
    if (window, name) not in by_score.index:
        return ""
    row = by_score.loc[(window, name)]
    return ranged_share(row["value"], row["lower"], row["upper"])
