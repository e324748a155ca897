"""The sheet of the ARR bridge: lines as rows, periods as columns; means that add up, ranges beneath, retention, a waterfall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from clvforecast.metrics.bridge import SUBTRACTED
from clvforecast.report.workbook.contents import Contents, Part
from clvforecast.report.workbook.page import (
    BOLD,
    HEAD,
    HEAD_LEFT,
    LINE,
    PAST,
    QUIET,
    TOTAL,
    Page,
    relative,
)
from clvforecast.report.workbook.waterfall import (
    CHART_ROWS,
    Source,
    waterfall_chart,
    write_figures,
    write_selector,
)

SHEET = "Bridge"
LINES = {
    "start": "ARR at the start",
    "new": "New",
    "expansion": "Expansion",
    "reactivation": "Reactivation",
    "late_renewals": "Late renewals",
    "contraction": "Contraction",
    "churn": "Churn",
    "end": "ARR at the end",
}
MEASURES = {
    "nrr": "Net revenue retention (NRR)",
    "grr": "Gross revenue retention (GRR)",
    "gross_renewal_rate": "Gross renewal rate",
    "logo_churn": "Logo churn",
}
ACTUAL, PART_ACTUAL = "actual", "part actual"
SAME_MONEY = 0.005
"""Currency: closer figures are the same to the cent."""


@dataclass(frozen=True)
class Places:
    """Where the bridge's figures of the period that ends a year ahead stand, and of its start: for the summary.

    start_label, end_label: of the first period that is not over, and of the period a year ahead
    start: place and value of the ARR at the start; end: those of mean, q50, lower, upper of the ARR at its end
    rates: measure -> the same of retention over the year
    """

    start_label: str
    end_label: str
    start: tuple[str, float]
    end: tuple[tuple[str, float], ...]
    rates: dict[str, tuple[tuple[str, float], ...]]


def signed(bridge: pd.DataFrame) -> pd.DataFrame:
    """Contraction and churn as negative figures, their ends exchanged: every line then is added."""
    loss = bridge["line"].isin(SUBTRACTED)
    turned = bridge.copy()
    turned[["lower", "upper"]] = bridge[["lower", "upper"]].where(~loss, -bridge[["upper", "lower"]].to_numpy())
    turned[["mean", "q50"]] = bridge[["mean", "q50"]].where(~loss, -bridge[["mean", "q50"]])
    return turned


def periods_of(table: pd.DataFrame) -> pd.DataFrame:
    """label, period_start, period, to, basis, partial, covered: one row a period, in order."""
    columns = ["label", "period_start", "period", "to", "basis", "partial", "covered"]
    return table[columns].drop_duplicates("label").sort_values("period").reset_index(drop=True)


def nearest_period(periods: pd.DataFrame, as_of: date) -> int | None:
    """Place of the period that ends nearest to a year after `as_of`, at most six weeks off; None where there is none."""
    away = (pd.DatetimeIndex(periods["period"]) - (pd.Timestamp(as_of) + pd.DateOffset(years=1))).days
    place = int(abs(away).argmin())
    return place if abs(away[place]) <= 45 else None


def write_bridge(page: Page, contents: Contents, bridge: pd.DataFrame) -> Places:
    """The whole sheet; returns where the figures of the summary stand."""
    periods = periods_of(bridge)
    page.set_columns([44.0, *[10.5] * max(len(periods), 9)])
    low, high = contents.ends
    page.head(
        "ARR bridge",
        f"Money {page.book.shown_in}. Annual recurring revenue at the start of a period, what changed it, and at its end. Grey "
        f"columns are actual figures; a period that runs on {contents.as_of} is followed from its own first day. * marks a "
        "period that the window cuts short: its figures and rates are of the part that is told, to the day beneath.",
        f"Means add up, and the check says so; medians and ends of ranges ({low}, {high}) do not. Contraction and churn are "
        "negative: their low end is the larger loss."
        + (
            f" The forecast is of existing customers only: New is what came by {contents.as_of}."
            if contents.new_customers is None
            else ""
        ),
        *([contents.pending] if contents.pending else []),
    )
    head_row = page.row
    _period_heads(page, periods)
    page.sheet.freeze_panes(page.row, 1)
    heads = (head_row, page.row - 1)
    page.sheet.repeat_rows(*heads)
    turned = signed(bridge)
    means = _means(page, turned, periods)
    chosen = _chosen(periods)
    selector = write_selector(page, head_row, _labels(periods), chosen)
    chart_row = page.row
    page.next(CHART_ROWS)
    ranges = _ranges(page, turned, periods, contents)
    rates = _all_rates(page, contents, periods)
    page.printed_by_block(len(periods) + 1, heads)
    source = Source(head_row, len(periods), means, ranges, selector)
    _waterfall(page, contents, source, turned, periods, chosen, chart_row)
    return _places(page, contents, periods, turned, means, ranges, rates)


def _labels(periods: pd.DataFrame) -> list[str]:
    return [f"{row.label}{' *' if row.partial else ''}" for row in periods.itertuples()]


def _chosen(periods: pd.DataFrame) -> int:
    """The first whole period that is all forecast; else the last."""
    ahead = periods.index[~periods["basis"].isin([ACTUAL, PART_ACTUAL]) & ~periods["partial"].astype(bool)]
    return int(ahead[0]) if len(ahead) else len(periods) - 1


def _waterfall(
    page: Page,
    contents: Contents,
    source: Source,
    turned: pd.DataFrame,
    periods: pd.DataFrame,
    chosen: int,
    chart_row: int,
) -> None:
    """The chart's figures on the current rows, and the chart above."""
    label = periods["label"][chosen]
    figures = turned[turned["label"] == label].set_index("line")
    first = write_figures(page, source, LINES, figures, _labels(periods)[chosen], contents.range_name)
    page.sheet.insert_chart(chart_row, 0, waterfall_chart(page, first), {"x_offset": 4, "y_offset": 4})


def _period_heads(page: Page, periods: pd.DataFrame) -> None:
    """Labels, whether they are past, the first and the last day of each, and how much of it that is."""
    page.put(0, page.book.money_in, **HEAD_LEFT)
    for column, (label, basis) in enumerate(zip(_labels(periods), periods["basis"], strict=True), start=1):
        page.put(column, label, **{**HEAD, **({"bg_color": "#6b7280"} if basis == ACTUAL else {})})
    page.next()
    page.put(0, "", **QUIET)
    for column, basis in enumerate(periods["basis"], start=1):
        page.put(column, basis, **{**QUIET, "align": "right", "italic": True, **_ground(basis)})
    page.next()
    rows = {"from": "period_start", **({"part": "covered"} if (periods["covered"] != "").any() else {}), "to": "to"}
    for name, values in rows.items():
        last = {"bottom": 1, "bottom_color": LINE} if name == "to" else {}
        page.put(0, name, **QUIET)
        for column, (value, basis) in enumerate(zip(periods[values], periods["basis"], strict=True), start=1):
            look = {**QUIET, "align": "right", **_ground(basis), **last}
            page.put(
                column,
                value,
                "text" if name == "part" else "date",
                **look,
                **({"shrink": True} if name == "part" else {}),
            )
        page.next()


def _ground(basis: str) -> dict[str, Any]:
    return PAST if basis == ACTUAL else {}


def _figures(table: pd.DataFrame, column: str, value: str, periods: pd.DataFrame) -> dict[str, list[float]]:
    """line or measure -> one figure a period."""
    wide = table.pivot_table(index=column, columns="label", values=value, aggfunc="first", dropna=False)
    return {str(name): wide.loc[name].reindex(periods["label"]).tolist() for name in wide.index}


# --- means --------------------------------------------------------------------------------------------------


def _means(page: Page, turned: pd.DataFrame, periods: pd.DataFrame) -> dict[str, int]:
    """The bridge of means with its formulas; returns line -> row."""
    page.section("Mean: what is expected, and adds up")
    figures = _figures(turned, "line", "mean", periods)
    rows = {line: page.row + place for place, line in enumerate(LINES)}
    for line, words in LINES.items():
        look = TOTAL if line == "end" else BOLD if line == "start" else {}
        page.put(0, words, **look)
        for place, basis in enumerate(periods["basis"]):
            _mean_cell(page, rows, figures, line, place, {**look, **_ground(basis)})
        page.next()
    page.put(0, "Net new ARR")
    for place, basis in enumerate(periods["basis"]):
        start, end = (relative(rows[line], place + 1) for line in ("start", "end"))
        page.formula(place + 1, f"={end}-{start}", figures["end"][place] - figures["start"][place], **_ground(basis))
    page.next()
    page.put(0, "ARR at the end, as simulated", **QUIET)
    for place, basis in enumerate(periods["basis"]):
        page.put(place + 1, figures["end"][place], "money", **QUIET, **_ground(basis))
    page.next()
    _balances(page, rows, figures, periods)
    page.next()
    return rows


def _mean_cell(
    page: Page, rows: dict[str, int], figures: dict[str, list[float]], line: str, place: int, look: dict[str, Any]
) -> None:
    """A figure; the end is the sum of the lines, and the start the end before it, where that is so to the cent."""
    column, value = place + 1, figures[line][place]
    if line == "end":
        area = f"{relative(rows['start'], column)}:{relative(rows['churn'], column)}"
        summed = sum(figures[name][place] for name in LINES if name != "end")
        page.formula(column, f"=SUM({area})", summed, **look)
    elif line == "start" and place and abs(figures["end"][place - 1] - value) < SAME_MONEY:
        page.formula(column, f"={relative(rows['end'], column - 1)}", figures["end"][place - 1], **look)
    else:
        page.put(column, value, "money", **look)


def _balances(page: Page, rows: dict[str, int], figures: dict[str, list[float]], periods: pd.DataFrame) -> None:
    page.put(0, "Bridge balances", **QUIET)
    worst = 0.0
    for place, basis in enumerate(periods["basis"]):
        end, simulated = relative(rows["end"], place + 1), relative(page.row - 1, place + 1)
        off = sum(figures[name][place] for name in LINES if name != "end") - figures["end"][place]
        worst = max(worst, abs(off))
        page.formula(place + 1, f"=ROUND({end}-{simulated},2)", round(off, 2) + 0.0, "check", **QUIET, **_ground(basis))
    first, last = relative(page.row, 1), relative(page.row, len(periods))
    page.next()
    page.put(0, "largest difference of any period", **QUIET)
    page.check(1, f"MAX({first}:{last})-MIN({first}:{last})", worst, "ARR bridge balances in every period", **QUIET)
    page.next()


# --- ranges -------------------------------------------------------------------------------------------------


def _ranges(page: Page, turned: pd.DataFrame, periods: pd.DataFrame, contents: Contents) -> dict[str, int]:
    """Median, low and high of each line; returns line -> row of its median."""
    page.block()
    page.section(f"Ranges: {contents.range_name}s of the same lines")
    rows = {}
    for line, words in LINES.items():
        rows[line] = page.row
        _block(page, words, turned[turned["line"] == line], periods, contents.ends, "money")
    page.next()
    return rows


def _block(page: Page, words: str, table: pd.DataFrame, periods: pd.DataFrame, ends: Sequence[str], kind: str) -> None:
    """Three rows: the median, and the ends of the range where the period is not over."""
    known = table.set_index("period").reindex(pd.DatetimeIndex(periods["period"]))
    for name, label in (("q50", f"{words}: median"), ("lower", f"   {ends[0]}"), ("upper", f"   {ends[1]}")):
        median = name == "q50"
        page.put(0, label, **({} if median else QUIET))
        for column, (value, basis) in enumerate(zip(known[name], periods["basis"], strict=True), start=1):
            past = basis == ACTUAL and not median
            page.put(column, None if past else value, kind, **({} if median else QUIET), **_ground(basis))
        page.next()


# --- retention ----------------------------------------------------------------------------------------------


def _all_rates(page: Page, contents: Contents, periods: pd.DataFrame) -> dict[str, int]:
    """Retention of each period, then of the years that end with each; returns measure -> row of the median over a year."""
    _rates(page, contents, contents.retention, periods, "Retention of the period itself")
    return _rates(
        page, contents, contents.retention_year, periods, "Retention over the twelve months that end with the period"
    )


def _rates(page: Page, contents: Contents, retention: Part, periods: pd.DataFrame, title: str) -> dict[str, int]:
    page.block()
    page.section(title)
    if not isinstance(retention, pd.DataFrame):
        page.say(retention.why)
        page.next()
        return {}
    rows = {}
    for measure, words in MEASURES.items():
        mine = retention[retention["measure"] == measure]
        if mine.empty:
            continue
        rows[measure] = page.row
        _block(page, words, mine, periods, contents.ends, "percent")
    page.say("Empty: nothing was there at the start that could be kept, or no such year is in the window.")
    page.next()
    return rows


def _places(
    page: Page,
    contents: Contents,
    periods: pd.DataFrame,
    turned: pd.DataFrame,
    means: dict[str, int],
    ranges: dict[str, int],
    rates: dict[str, int],
) -> Places:
    """The start of the first period that is not over, and the figures of the period that ends a year ahead."""
    ahead = nearest_period(periods, contents.as_of)
    ahead = len(periods) - 1 if ahead is None else ahead
    running = periods.index[periods["basis"] != ACTUAL]
    first = int(running[0]) if len(running) else len(periods) - 1
    lines = turned.set_index(["line", "label"])
    opening, closing = lines.loc[("start", periods["label"][first])], lines.loc[("end", periods["label"][ahead])]
    return Places(
        start_label=periods["label"][first],
        end_label=periods["label"][ahead],
        start=(page.at(first + 1, means["start"]), float(opening["mean"])),
        end=(
            (page.at(ahead + 1, means["end"]), float(closing["mean"])),
            *_three(page, ahead + 1, ranges["end"], closing),
        ),
        rates=_year_rates(page, contents.retention_year, periods["period"][ahead], ahead + 1, rates),
    )


def _three(page: Page, column: int, row: int, figures: pd.Series) -> tuple[tuple[str, float], ...]:
    names = ("q50", "lower", "upper")
    return tuple((page.at(column, row + place), float(figures[name])) for place, name in enumerate(names))


def _year_rates(
    page: Page, retention: Part, end: pd.Timestamp, column: int, rows: dict[str, int]
) -> dict[str, tuple[tuple[str, float], ...]]:
    """The rates of the year that ends on a day, where there is one."""
    if not isinstance(retention, pd.DataFrame):
        return {}
    known = retention[pd.DatetimeIndex(retention["period"]) == end].set_index("measure")
    return {
        measure: _three(page, column, row, known.loc[measure])
        for measure, row in rows.items()
        if measure in known.index and known.loc[measure, ["q50", "lower", "upper"]].notna().all()
    }
