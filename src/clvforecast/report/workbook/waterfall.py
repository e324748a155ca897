"""The waterfall of one period's bridge, which the reader chooses: a chart on formulas, with ranges as whiskers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from clvforecast.report.workbook.charts import finished, label_axis, money_axis, stacked, whiskers
from clvforecast.report.workbook.contents import Contents
from clvforecast.report.workbook.page import BOLD, QUIET, Page, absolute, relative

CHART_ROWS = 20
"""Rows that the chart takes beneath its selector."""
LINES = ("start", "new", "expansion", "reactivation", "late_renewals", "contraction", "churn", "end")
LEVELS = ("start", "end")
LEVEL_COLOUR, UP_COLOUR, DOWN_COLOUR = "#1f4e79", "#5b9a68", "#c8501e"
HEADS = ("line", "mean", "low", "high", "hidden", "level", "up", "down", "tip", "above", "below")
LINE, MEAN, LOW, HIGH, HIDDEN, LEVEL, UP, DOWN, TIP, ABOVE, BELOW = range(len(HEADS))
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Source:
    """Where the sheet has the periods' heads, the means of each line, their medians (low and high beneath), the selector."""

    heads: int
    periods: int
    means: dict[str, int]
    ranges: dict[str, int]
    selector: int


def write_selector(page: Page, heads: int, labels: list[str], chosen: int) -> int:
    """The cell where the reader chooses the period; returns its row."""
    page.put(0, "Period of the chart (choose)", **BOLD)
    row = page.row
    page.put(1, labels[chosen], bold=True, border=1, bg_color="#fff8db", align="right")
    area = f"={absolute(heads, 1)}:{absolute(heads, len(labels))}"
    page.sheet.data_validation(row, 1, row, 1, {"validate": "list", "source": area})
    page.book.name(
        "bridge_period", page.at(1), "the period that the waterfall shows; may be chosen anew", labels[chosen], "text"
    )
    page.next()
    return row


def steps_of(figures: pd.DataFrame) -> pd.DataFrame:
    """The bars of a waterfall: mean, low, high of each line -> columns of `HEADS`.

    Bars of changes stand on a hidden one; `tip` is where a bar ends, from which whiskers reach `above` and `below`.
    """
    table = figures.loc[list(LINES), ["mean", "lower", "upper"]].set_axis(["mean", "low", "high"], axis=1)
    level = table.index.isin(LEVELS)
    tip = table["mean"].where(level, table["mean"].where(table.index != "end", 0.0).cumsum())
    before = tip.shift(fill_value=0.0)
    return table.assign(
        hidden=pd.concat([before, tip], axis=1).min(axis=1).where(~level, 0.0),
        level=table["mean"].where(level, 0.0),
        up=table["mean"].clip(lower=0.0).where(~level, 0.0),
        down=(-table["mean"]).clip(lower=0.0).where(~level, 0.0),
        tip=tip,
        above=(table["high"] - table["mean"]).clip(lower=0.0),
        below=(table["mean"] - table["low"]).clip(lower=0.0),
    )


def least_of_axis(lowest: float, highest: float) -> float | None:
    """Where the axis begins: at 0 (None), unless all bars stand far above it; then at a round number below them.

    Examples
    --------
    >>> least_of_axis(880.0, 1010.0), least_of_axis(300.0, 1010.0)
    (800.0, None)
    """
    if lowest < 0.5 * highest:
        return None
    target = (highest - lowest) or 0.1 * highest
    size = 10.0 ** math.floor(math.log10(target))
    step = next(size * step for step in STEPS if size * step >= target / 1.5)
    return max(0.0, math.floor((lowest - 0.35 * target) / step) * step) or None


def write_figures(page: Page, source: Source, words: dict[str, str], steps: pd.DataFrame, title: str) -> int:
    """The chart's figures as formulas on the chosen period; returns the row of the first line, above which is the title."""
    page.section("Behind the chart")
    chosen = f"MATCH({absolute(source.selector, 1)},{_across(source, source.heads)},0)"
    page.formula(0, f'="ARR bridge, "&{absolute(source.selector, 1)}', title, "text")
    page.next()
    page.heads(HEADS, height=None)
    first = page.row
    for place, line in enumerate(LINES):
        page.put(LINE, words[line])
        values = [float(value) for value in steps.loc[line, list(HEADS[1:])]]
        formulas = _formulas(source, line, page.row, place, chosen)
        for column, (formula, value) in enumerate(zip(formulas, values, strict=True), start=1):
            page.formula(column, formula, value, **QUIET)
        page.next()
    return first


def _across(source: Source, row: int) -> str:
    return f"{absolute(row, 1)}:{absolute(row, source.periods)}"


def _formulas(source: Source, line: str, row: int, place: int, chosen: str) -> list[str]:
    """Of one line: its figures of the chosen period, then its bar; an empty end of a range is the mean."""
    mean, low, high, tip = (relative(row, column) for column in (MEAN, LOW, HIGH, TIP))
    before = relative(row - 1, TIP)
    found = [f"INDEX({_across(source, source.ranges[line] + down)},{chosen})" for down in (1, 2)]
    is_level = line in LEVELS
    return [
        f"=INDEX({_across(source, source.means[line])},{chosen})",
        *(f'=IF({end}="",{mean},{end})' for end in found),
        "=0" if is_level else f"=MIN({before},{tip})",
        f"={mean}" if is_level else "=0",
        "=0" if is_level else f"=MAX({mean},0)",
        "=0" if is_level else f"=MAX(-{mean},0)",
        f"={mean}" if is_level else f"={before}+{mean}",
        f"=MAX({high}-{mean},0)",
        f"=MAX({mean}-{low},0)",
    ]


def waterfall_chart(page: Page, contents: Contents, first: int, least: float | None) -> object:
    """Stacked columns on hidden ones, and whiskers at their tips."""
    last = first + len(LINES) - 1

    def area(column: int) -> str:
        return f"={page.area(first, column, last, column)}"

    chart = stacked(page)
    shown = {"categories": area(LINE), "gap": 35}
    chart.add_series(
        {"name": "hidden", "values": area(HIDDEN), "fill": {"none": True}, "border": {"none": True}, **shown}
    )
    for name, column, colour in (
        ("ARR", LEVEL, LEVEL_COLOUR),
        ("more", UP, UP_COLOUR),
        ("less", DOWN, DOWN_COLOUR),
    ):
        chart.add_series({"name": name, "values": area(column), "fill": {"color": colour}, **shown})
    tips = page.book.workbook.add_chart({"type": "line"})
    tips.add_series(
        {
            "name": f"{contents.range_name} of the line",
            "categories": area(LINE),
            "values": area(TIP),
            "line": {"none": True},
            "marker": {"type": "none"},
            "y_error_bars": whiskers(area(ABOVE).lstrip("="), area(BELOW).lstrip("=")),
        }
    )
    chart.combine(tips)
    chart.set_x_axis(label_axis(len(LINES)))
    chart.set_y_axis(money_axis(page.book, least))
    finished(chart, f"={page.at(0, first - 2)}")
    chart.set_legend({"position": "bottom", "font": {"name": "Arial", "size": 9}, "delete_series": [0, 4]})
    return chart
