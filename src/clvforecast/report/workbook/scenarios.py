"""The sheet of scenarios: each with its range, and how far it lies from the base, world by world."""

from __future__ import annotations

import pandas as pd

from clvforecast.report.workbook.charts import finished, label_axis, money_axis
from clvforecast.report.workbook.contents import Contents, Scenarios
from clvforecast.report.workbook.page import BOLD, HEAD, HEAD_LEFT, Page, relative, width_of

SHEET = "Scenarios"
CHART_ROWS = 20
COLOURS = ("#8a8f98", "#1f4e79", "#6fa3d4", "#c8501e", "#5b9a68", "#b58a2c", "#7a5c9e", "#3f8f8b")
MEAN, MEDIAN, LOW, HIGH, LESS_MEAN, LESS_LOW, LESS_HIGH = range(1, 8)


def write_scenarios(page: Page, contents: Contents, scenarios: Scenarios) -> None:
    """Over the window, a chart by period, and the figures by period."""
    names = list(dict.fromkeys(scenarios.whole["scenario"]))
    base = base_of(scenarios)
    page.set_columns([width_of(names, least=28.0), *[13.0] * max(len(contents.periods), 7)])
    page.head(
        "Scenarios: revenue to come",
        f"Money {page.book.shown_in}, undiscounted where nothing else is said. The same simulated worlds are run under each "
        "scenario, so that differences are of the scenario and not of chance; their ranges come from differences world by world.",
    )
    title_rows = page.row
    _assumed(page, scenarios.assumptions)
    _whole(page, contents, f"All {contents.horizon_months} months", scenarios.whole, scenarios.whole_difference, base)
    if scenarios.discounted is not None and scenarios.discounted_difference is not None:
        title = f"All {contents.horizon_months} months, discounted"
        _whole(page, contents, title, scenarios.discounted, scenarios.discounted_difference, base)
    page.sheet.freeze_panes(title_rows, 1)
    chart_row = page.row
    page.block()
    page.next(CHART_ROWS)
    labels = list(dict.fromkeys(scenarios.periods["label"]))
    first = _block(page, "Mean by period", scenarios.periods, "mean", labels)
    low, high = contents.ends
    for value, words in (("q50", "Median"), ("lower", low), ("upper", high)):
        _block(page, f"{words} by period", scenarios.periods, value, labels)
    for value, words in (("mean", "mean"), ("lower", low), ("upper", high)):
        _block(page, f"Difference from {base} by period: {words}", scenarios.periods_difference, value, labels)
    _chart(page, names, labels, first, chart_row, float(scenarios.periods["mean"].max()))
    page.printed_by_block()


def base_of(scenarios: Scenarios) -> str:
    """The scenario that the others are compared with: the one that has no difference, else the first."""
    compared = set(scenarios.whole_difference["scenario"])
    names = list(dict.fromkeys(scenarios.whole["scenario"]))
    return next((name for name in names if name not in compared), names[0])


def _assumed(page: Page, assumptions: pd.DataFrame | None) -> None:
    """Each scenario in words."""
    if assumptions is None:
        return
    for name, assumed in zip(assumptions["scenario"], assumptions["assumed"], strict=True):
        page.say(f"{name}: {assumed}")
    page.next()


def _whole(
    page: Page, contents: Contents, title: str, figures: pd.DataFrame, differences: pd.DataFrame, base: str
) -> None:
    low, high = contents.ends
    page.heads(
        [
            title,
            "mean",
            "median",
            low,
            high,
            f"less {base}: mean",
            f"less {base}: {low}",
            f"less {base}: {high}",
        ],
        height=42.0,
    )
    whole, less = figures.set_index("scenario"), differences.set_index("scenario")
    names = list(whole.index)
    base_row = page.row + names.index(base)
    for name in names:
        row, is_base = whole.loc[name], name == base
        page.put(0, name, **(BOLD if is_base else {}))
        for column, field in ((MEAN, "mean"), (MEDIAN, "q50"), (LOW, "lower"), (HIGH, "upper")):
            page.put(column, row[field], "money")
        if not is_base:
            formula = f"={relative(page.row, MEAN)}-{relative(base_row, MEAN)}"
            page.formula(LESS_MEAN, formula, row["mean"] - whole.loc[base, "mean"])
            for column, field in ((LESS_LOW, "lower"), (LESS_HIGH, "upper")):
                page.put(column, less.loc[name, field] if name in less.index else None, "money")
        page.next()
    page.next()


def _block(page: Page, title: str, table: pd.DataFrame, value: str, labels: list[str]) -> int:
    """Scenarios as rows, periods as columns; returns the row of the heads."""
    page.block()
    page.section(title)
    wide = table.pivot_table(index="scenario", columns="label", values=value, aggfunc="first", sort=False, dropna=False)
    head_row = page.row
    page.put(0, "scenario", **HEAD_LEFT)
    for column, label in enumerate(labels, start=1):
        page.put(column, label, **HEAD)
    page.next()
    for name, values in zip(wide.index, wide.reindex(columns=labels).to_numpy(), strict=True):
        page.cells([name, *values], ["text", *["money"] * len(labels)])
    page.next()
    return head_row


def _chart(page: Page, names: list[str], labels: list[str], head_row: int, chart_row: int, highest: float) -> None:
    chart = page.book.workbook.add_chart({"type": "column"})
    for place, name in enumerate(names):
        row = head_row + 1 + place
        chart.add_series(
            {
                "name": name,
                "categories": f"={page.area(head_row, 1, head_row, len(labels))}",
                "values": f"={page.area(row, 1, row, len(labels))}",
                "fill": {"color": COLOURS[place % len(COLOURS)]},
                "gap": 60,
            }
        )
    chart.set_x_axis(label_axis(len(labels)))
    chart.set_y_axis(money_axis(page.book, highest))
    finished(page, chart, f"Mean revenue by scenario, {page.book.money_in}")
    page.sheet.insert_chart(chart_row, 0, chart, {"x_offset": 4, "y_offset": 4})
