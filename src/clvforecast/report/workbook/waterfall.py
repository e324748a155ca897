"""The waterfall of one period's bridge, which the reader chooses: a chart on formulas, with ranges as whiskers.

Changes are small beside ARR, so the columns of ARR are cut at a floor that follows the chosen period, and figures stand beneath
the columns in place of an axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clvforecast.metrics.bridge import LINES
from clvforecast.report.workbook.charts import FONT, finished, label_axis, stacked, whiskers
from clvforecast.report.workbook.page import BOLD, QUIET, Page, absolute, relative

CHART_ROWS = 20
"""Rows that the chart takes beneath its selector."""
LEVELS = ("start", "end")
LEVEL_COLOUR, UP_COLOUR, DOWN_COLOUR = "#1f4e79", "#5b9a68", "#c8501e"
HEADS = (
    "mean",
    "low",
    "high",
    "tip",
    "foot",
    "top",
    "hidden",
    "level",
    "up",
    "down",
    "point",
    "above",
    "below",
    "room",
    "label",
)
AT = {name: column for column, name in enumerate(HEADS, start=1)}
FAR_FROM_ZERO, ROOM_BELOW = 0.5, 0.5
"""Columns are cut where the lowest foot is above this share of the highest top; beneath it stays this share of what changes."""
CUT_WORDS = " (columns of ARR are cut at the foot)"


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
    page.put(0, "Period of the chart: choose it in the yellow cell", **BOLD)
    row = page.row
    page.put(1, labels[chosen], bold=True, border=1, bg_color="#fff3bf", align="right")
    area = f"={absolute(heads, 1)}:{absolute(heads, len(labels))}"
    page.sheet.data_validation(row, 1, row, 1, {"validate": "list", "source": area})
    meaning = "the period that the waterfall shows; may be chosen anew"
    page.book.name("bridge_period", page.at(1), meaning, labels[chosen], "text")
    page.next()
    return row


def steps_of(figures: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """The columns of a waterfall from mean, lower, upper of each line, and the floor at which those of ARR are cut.

    Changes stand on hidden columns; ``tip`` is where a line ends, ``foot`` and ``top`` the ends of its range there.
    """
    table = figures.loc[list(LINES), ["mean", "lower", "upper"]].set_axis(["mean", "low", "high"], axis=1)
    level = table.index.isin(LEVELS)
    tip = table["mean"].where(level, table["mean"].where(table.index != "end", 0.0).cumsum())
    above = (table["high"] - table["mean"]).clip(lower=0.0)
    below = (table["mean"] - table["low"]).clip(lower=0.0)
    foot, top = tip - below, tip + above
    floor = floor_of(float(foot.min()), float(top.max()))
    base = np.minimum(tip.shift(fill_value=0.0), tip)
    return table.assign(
        tip=tip,
        foot=foot,
        top=top,
        hidden=(base - floor).where(~level, 0.0),
        level=(table["mean"] - floor).where(level, 0.0),
        up=table["mean"].clip(lower=0.0).where(~level, 0.0),
        down=(-table["mean"]).clip(lower=0.0).where(~level, 0.0),
        point=tip - floor,
        above=above,
        below=below,
        room=top - floor,
    ), floor


def floor_of(lowest: float, highest: float) -> float:
    """0 unless all columns end far above it.

    Examples
    --------
    >>> floor_of(880.0, 1000.0), floor_of(300.0, 1000.0)
    (820.0, 0.0)
    """
    return max(0.0, lowest - ROOM_BELOW * (highest - lowest)) if lowest > FAR_FROM_ZERO * highest else 0.0


def write_figures(
    page: Page, source: Source, words: dict[str, str], figures: pd.DataFrame, label: str, range_name: str
) -> int:
    """The chart's figures as formulas on the chosen period; returns the row of the first line, above which is the title."""
    bars, floor = steps_of(figures)
    page.section("Behind the chart")
    first = page.row + 3
    feet, tops = (_down(first, name) for name in ("foot", "top"))
    low, high = f"MIN({feet})", f"MAX({tops})"
    page.put(0, "floor", **QUIET)
    formula = f"=IF({low}>{FAR_FROM_ZERO}*{high},MAX(0,{low}-{ROOM_BELOW}*({high}-{low})),0)"
    page.formula(1, formula, floor, **QUIET)
    floor_at = absolute(page.row, 1)
    page.next()
    chosen = absolute(source.selector, 1)
    title = f'="ARR bridge, "&{chosen}&", {page.book.money_in}, with {range_name}s"&IF({floor_at}>0,"{CUT_WORDS}","")'
    page.formula(
        0,
        title,
        f"ARR bridge, {label}, {page.book.money_in}, with {range_name}s{CUT_WORDS if floor else ''}",
        "text",
        **QUIET,
    )
    page.next()
    page.heads(("line", *HEADS), height=None)
    match = f"MATCH({chosen},{_across(source, source.heads)},0)"
    for line in LINES:
        page.put(0, words[line], **QUIET)
        formulas = {**_looked_up(source, line, page.row, match), **_drawn(line, page.row, floor_at)}
        for name, column in AT.items():
            if name != "label":
                page.formula(column, formulas[name], float(bars.loc[line, name]), **QUIET)
        _label(page, line, words[line], float(bars.loc[line, "mean"]))
        page.next()
    return first


def _across(source: Source, row: int) -> str:
    return f"{absolute(row, 1)}:{absolute(row, source.periods)}"


def _down(first: int, name: str) -> str:
    return f"{absolute(first, AT[name])}:{absolute(first + len(LINES) - 1, AT[name])}"


def _looked_up(source: Source, line: str, row: int, match: str) -> dict[str, str]:
    """The line's figures of the chosen period; an empty end of a range is the mean."""
    mean = relative(row, AT["mean"])
    ends = [f"INDEX({_across(source, source.ranges[line] + down)},{match})" for down in (1, 2)]
    low, high = (f'=IF({end}="",{mean},{end})' for end in ends)
    return {"mean": f"=INDEX({_across(source, source.means[line])},{match})", "low": low, "high": high}


def _drawn(line: str, row: int, floor: str) -> dict[str, str]:
    """What is drawn of a line, from its figures and the tip of the line above."""
    mean, low, high, tip, foot, top = (
        relative(row, AT[name]) for name in ("mean", "low", "high", "tip", "foot", "top")
    )
    before, is_level = relative(row - 1, AT["tip"]), line in LEVELS
    return {
        "tip": f"={mean}" if is_level else f"={before}+{mean}",
        "foot": f"={tip}-MAX({mean}-{low},0)",
        "top": f"={tip}+MAX({high}-{mean},0)",
        "hidden": "=0" if is_level else f"=MIN({before},{tip})-{floor}",
        "level": f"={mean}-{floor}" if is_level else "=0",
        "up": "=0" if is_level else f"=MAX({mean},0)",
        "down": "=0" if is_level else f"=MAX(-{mean},0)",
        "point": f"={tip}-{floor}",
        "above": f"={top}-{tip}",
        "below": f"={tip}-{foot}",
        "room": f"={top}-{floor}",
    }


def _label(page: Page, line: str, words: str, mean: float) -> None:
    """The line and its figure beneath; FIXED writes numbers as the reader's country does."""
    size, digits, at = page.book.unit.size, 0 if page.book.unit.size == 1.0 else 1, relative(page.row, AT["mean"])
    sign = "" if line in LEVELS else f'IF({at}>0,"+","")&'
    plus = "+" if line not in LEVELS and mean > 0 else ""
    formula = f"={relative(page.row, 0)}&CHAR(10)&{sign}FIXED({at}/{size:.0f},{digits})"
    page.formula(AT["label"], formula, f"{words}\n{plus}{mean / size:,.{digits}f}", "text", **QUIET)


def waterfall_chart(page: Page, first: int) -> Any:
    """Stacked columns on hidden ones, whiskers at their tips, and unseen points at their ends, for which the axis makes room."""

    def area(name: str) -> str:
        return f"={page.quoted}!{_down(first, name)}"

    chart = stacked(page)
    shown = {"categories": area("label"), "gap": 35}
    nothing = {"fill": {"none": True}, "border": {"none": True}}
    chart.add_series({"name": "hidden", "values": area("hidden"), **nothing, **shown})
    for name, column, colour in (
        ("ARR", "level", LEVEL_COLOUR),
        ("more", "up", UP_COLOUR),
        ("less", "down", DOWN_COLOUR),
    ):
        chart.add_series({"name": name, "values": area(column), "fill": {"color": colour}, **shown})
    tips = page.book.workbook.add_chart({"type": "line"})
    reach = whiskers(area("above").lstrip("="), area("below").lstrip("="))
    unseen = {"line": {"none": True}, "marker": {"type": "none"}}
    tips.add_series(
        {"name": "range", "categories": area("label"), "values": area("point"), "y_error_bars": reach, **unseen}
    )
    tips.add_series({"name": "room", "categories": area("label"), "values": area("room"), **unseen})
    chart.combine(tips)
    chart.set_x_axis(label_axis(len(LINES)))
    chart.set_y_axis({"visible": False, "major_gridlines": {"visible": False}, "min": 0})
    finished(page, chart, f"={page.at(0, first - 2)}")
    chart.set_legend({"position": "bottom", "font": FONT, "delete_series": [0, 4, 5]})
    return chart
