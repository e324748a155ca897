"""Revenue by period on the first sheet: the figures of the chart, history first, and the chart of them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from clvforecast.report.workbook.accounts import Layout
from clvforecast.report.workbook.charts import forecast_chart
from clvforecast.report.workbook.contents import RANGE, Contents, Missing
from clvforecast.report.workbook.page import BOLD, PAST, QUIET, TOTAL, Page, relative
from clvforecast.report.workbook.periods import word_of

FROM, TO, MEAN, MEDIAN, LOW, HIGH, SERVED, TOTAL_AT, ABOVE, BELOW = range(1, 11)
"""Columns of the sheet; the last two are lengths of whiskers, beside what is printed."""
VALUES = dict(zip(RANGE, (MEAN, MEDIAN, LOW, HIGH), strict=True))
CHART_HEIGHT = 298


def write_periods(
    page: Page, contents: Contents, accounts: Layout, whole_row: int, existing_row: int
) -> tuple[int, int]:
    """The figures of the chart: history, then the forecast; returns the first and the last row."""
    past = contents.history if isinstance(contents.history, pd.DataFrame) else None
    served_so_far = 0.0 if past is None or not past["partial"].iloc[-1] else float(past["revenue"].iloc[-1])
    page.block()
    page.section(f"{contents.counted.noun} by {word_of(contents.freq)}: the figures of the chart")
    page.heads(
        [
            word_of(contents.freq),
            "from",
            "to",
            "to come: mean",
            "median",
            *contents.ends,
            contents.counted.done,
            "whole period (mean)",
            "whisker up",
            "and down",
        ],
        height=30.0,
    )
    first = page.row
    if past is not None:
        for row in past[~past["partial"].astype(bool)].itertuples():
            _past_row(page, row)
    begin = page.row
    for place, row in enumerate(contents.periods.to_dict("records")):
        is_known = past is not None or not row["partial"] or place > 0
        _period_row(page, row, served_so_far if place == 0 else 0.0, is_known)
    end = page.row - 1
    page.put(0, "all periods to come", **TOTAL)
    for column in (FROM, TO, MEDIAN, LOW, HIGH, SERVED, TOTAL_AT):
        page.put(column, None, **TOTAL)
    summed = float(contents.periods["mean"].sum())
    page.formula(MEAN, f"=SUM({relative(begin, MEAN)}:{relative(end, MEAN)})", summed, **TOTAL)
    page.book.name(
        "portfolio_table",
        page.area(begin, 0, end, TOTAL_AT),
        "revenue by period to come, one row a period, without heads",
    )
    page.next()
    page.put(0, "periods add up to the whole window", **QUIET)
    page.check(
        MEAN,
        f"{relative(page.row - 1, MEAN)}-{relative(whole_row, MEAN)}",
        summed - contents.whole_mean,
        "Periods add up to the whole window",
        **QUIET,
    )
    page.next()
    page.put(0, contents.of_existing("accounts add up to the whole window"), **QUIET)
    page.check(
        MEAN,
        f"SUM({accounts.area('mean')})-{relative(existing_row, MEAN)}",
        float(contents.accounts["mean"].sum() - contents.whole["mean"].iloc[0]),
        contents.of_existing("Accounts add up to the whole window"),
        **QUIET,
    )
    page.next()
    _period_notes(page, contents)
    return first, end


def _past_row(page: Page, row: Any) -> None:
    page.put(0, row.label, **PAST)
    page.put(FROM, row.period_start, "date", **PAST)
    page.put(TO, row.period, "date", **PAST)
    for column in (MEAN, MEDIAN, LOW, HIGH):
        page.put(column, None, **PAST)
    page.put(SERVED, row.revenue, "money", **PAST)
    page.formula(TOTAL_AT, f"={relative(page.row, SERVED)}", row.revenue, **PAST)
    page.next()


def _period_row(page: Page, row: dict[str, Any], served: float, is_known: bool) -> None:
    """is_known: whether it is told what of the period was over by as_of; without it there is no figure of the whole period."""
    page.put(0, f"{row['label']}{' *' if row['partial'] else ''}")
    page.put(FROM, row["period_start"], "date")
    page.put(TO, row["to"], "date")
    for name, column in VALUES.items():
        page.put(column, row[name], "money", **(BOLD if name == "mean" else {}))
    page.put(SERVED, served if served else None, "money")
    mean, low, high = (relative(page.row, column) for column in (MEAN, LOW, HIGH))
    if is_known:
        page.formula(TOTAL_AT, f"={relative(page.row, SERVED)}+{mean}", served + row["mean"])
    else:
        page.put(TOTAL_AT, None)
    page.formula(ABOVE, f"=MAX({high}-{mean},0)", max(row["upper"] - row["mean"], 0.0), **QUIET)
    page.formula(BELOW, f"=MAX({mean}-{low},0)", max(row["mean"] - row["lower"], 0.0), **QUIET)
    page.next()


def _period_notes(page: Page, contents: Contents) -> None:
    if contents.periods["partial"].any():
        page.say(
            "* Only a part of the period is in the window: what is to come of it"
            + (
                f", beside what of it is {contents.counted.done}."
                if isinstance(contents.history, pd.DataFrame)
                else "."
            )
        )
    if isinstance(contents.history, Missing):
        page.say(f"No history: {contents.history.why}")
    if isinstance(contents.bridge, Missing):
        page.say(f"No ARR bridge: {contents.bridge.why}")
    page.next()


def periods_chart(page: Page, contents: Contents, first: int, last: int) -> Any:
    title = f"{contents.counted.noun} by {word_of(contents.freq)}, {page.book.money_in}"
    past = contents.history if isinstance(contents.history, pd.DataFrame) else None
    highest = float(contents.periods["upper"].max())
    if past is not None:
        so_far = past["revenue"].iloc[-1] if past["partial"].iloc[-1] else 0.0
        highest = max(float(past["revenue"].max()), highest, float(contents.periods["upper"].iloc[0] + so_far))
    return forecast_chart(
        page,
        first,
        last,
        (0, SERVED, MEAN, ABOVE, BELOW),
        title,
        contents.range_name,
        highest,
        CHART_HEIGHT,
        past is not None,
    )
