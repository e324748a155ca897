"""The sheet of segments: over the whole window and by period; means add up to the portfolio's, ranges do not."""

from __future__ import annotations

import pandas as pd

from clvforecast.report.workbook.contents import Contents, Segment
from clvforecast.report.workbook.page import HEAD, HEAD_LEFT, QUIET, TOTAL, Page, relative, width_of

SHEET = "Segments"
WHOLE, EXISTING = "clv_whole_window_mean", "clv_existing_customers_mean"
"""Names of cells of the summary: what the segments' whole window adds up to, without and with new customers."""
WHOLE_HEADS = ("accounts", "CLV to date", "mean", "median")
WHO = (
    "Figures over the whole window are of existing customers only, as CLV to date and accounts are; those by period hold new "
    "customers too."
)
KINDS = ("text", "count", "money", "money", "money", "money", "money", "percent")
ACCOUNTS, TO_DATE, MEAN, MEDIAN, LOW, HIGH, SHARE = range(1, 8)


def write_segments(page: Page, contents: Contents) -> None:
    """A block over the window and four by period, for each segment column."""
    names = [str(level) for segment in contents.segments.values() for level in segment.whole["level"]]
    page.set_columns([width_of(names, least=28.0, most=44.0), *[12.0] * max(len(contents.periods), 7)])
    page.head(
        f"Segments: {contents.noun} to come",
        f"Money {page.book.shown_in}, undiscounted. Means of segments add up to the portfolio's. Medians and ends of ranges do "
        "not: bad luck does not strike all segments at once, so the portfolio's range is narrower than the sum of theirs.",
        *(() if contents.new_customers is None else (WHO,)),
    )
    if not contents.segments:
        page.say(
            'This forecast was made by no segment: clv.forecast(..., group_by=["plan"]) keeps totals by account columns.'
        )
    page.sheet.freeze_panes(page.row, 1)
    for name, segment in contents.segments.items():
        _whole(page, contents, name, segment)
        _by_period(page, contents, name, segment)
    page.printed_by_block()


def _whole(page: Page, contents: Contents, name: str, segment: Segment) -> None:
    """One row a level, and the portfolio with sums as formulas and its own range."""
    page.block()
    page.section(contents.of_existing(f"{_words(name)}: all {contents.horizon_months} months"))
    page.heads([_words(name), *WHOLE_HEADS, *contents.ends, "share of mean"])
    first, last = page.row, page.row + len(segment.whole) - 1
    total = float(segment.whole["mean"].sum())
    for row in _largest_first(segment).itertuples():
        values = (row.level, row.accounts, row.clv_to_date, row.mean, row.q50, row.lower, row.upper)
        for column, (value, kind) in enumerate(zip(values, KINDS, strict=False)):
            page.put(column, value, kind)
        share = f"=IF({relative(last + 1, MEAN)}=0,0,{relative(page.row, MEAN)}/{relative(last + 1, MEAN)})"
        page.formula(SHARE, share, row.mean / total if total else 0.0, "percent")
        page.next()
    page.put(0, "all segments", **TOTAL)
    for column, field in ((ACCOUNTS, "accounts"), (TO_DATE, "clv_to_date"), (MEAN, "mean")):
        area = f"{relative(first, column)}:{relative(last, column)}"
        page.formula(column, f"=SUM({area})", segment.whole[field].sum(), KINDS[column], **TOTAL)
    whole = contents.whole.iloc[0]
    for column, field in ((MEDIAN, "q50"), (LOW, "lower"), (HIGH, "upper")):
        page.put(column, whole[field], "money", **TOTAL)
    page.formula(
        SHARE, f"=SUM({relative(first, SHARE)}:{relative(last, SHARE)})", 1.0 if total else 0.0, "percent", **TOTAL
    )
    page.next()
    page.put(0, "means add up to the forecast's", **QUIET)
    page.check(
        MEAN,
        f"{relative(last + 1, MEAN)}-{EXISTING if contents.new_customers is not None else WHOLE}",
        total - float(whole["mean"]),
        contents.of_existing(f"Segments ({_words(name)}) add up to the forecast"),
        **QUIET,
    )
    page.next(2)


def _by_period(page: Page, contents: Contents, name: str, segment: Segment) -> None:
    """Means with their sums, medians, and both ends: levels as rows, periods as columns."""
    periods = contents.periods
    low, high = contents.ends
    with_new = "" if contents.new_customers is None else ", existing and new customers"
    blocks = {"mean": "mean, which adds up", "q50": "median", "lower": low, "upper": high}
    for value, words in blocks.items():
        page.block()
        page.section(f"{_words(name)} by period{with_new}: {words}")
        wide = segment.periods.pivot_table(index="level", columns="label", values=value, aggfunc="first", dropna=False)
        wide = wide.reindex(index=_largest_first(segment)["level"], columns=periods["label"])
        _period_heads(page, name, periods)
        first = page.row
        for level, values in zip(wide.index, wide.to_numpy(), strict=True):
            page.cells([level, *values], ["text", *["money"] * len(values)])
        _portfolio_row(page, periods, value, first, wide)
        page.next()


def _period_heads(page: Page, name: str, periods: pd.DataFrame) -> None:
    page.put(0, _words(name), **HEAD_LEFT)
    for column, row in enumerate(periods.itertuples(), start=1):
        page.put(column, f"{row.label}{' *' if row.partial else ''}", **HEAD)
    page.next()


def _portfolio_row(page: Page, periods: pd.DataFrame, value: str, first: int, wide: pd.DataFrame) -> None:
    """The sum of means as a formula; of all else the portfolio's own."""
    page.put(0, "all segments" if value == "mean" else "portfolio (its own)", **TOTAL)
    for column, label in enumerate(periods["label"], start=1):
        if value == "mean":
            area = f"{relative(first, column)}:{relative(page.row - 1, column)}"
            page.formula(column, f"=SUM({area})", wide[label].sum(), **TOTAL)
        else:
            page.put(column, periods[value].iloc[column - 1], "money", **TOTAL)
    page.next()


def _largest_first(segment: Segment) -> pd.DataFrame:
    return segment.whole.sort_values("mean", ascending=False, kind="stable")


def _words(name: str) -> str:
    return name.replace("_", " ")
