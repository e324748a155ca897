"""Revenue, segments and accounts as HTML. The script draws pictures and the list of accounts into the room left for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pandas as pd

from clvforecast.report.page.data import PageData
from clvforecast.report.page.front import of_existing
from clvforecast.report.page.numbers import day, money, percent, probability
from clvforecast.report.page.tables import (
    Column,
    Content,
    Figure,
    Html,
    Spread,
    chart,
    date_of,
    join,
    name_of,
    section,
    table,
    tag,
)
from clvforecast.report.units import MoneyUnit, range_unit

PERIODS = {"month": "Months", "quarter": "Quarters", "year": "Years"}


def revenue(data: PageData) -> Html:
    """The fan chart, and the figures of every period."""
    begins = f"What was {data.counted.done}, then the" if data.history else "The"
    lead = (
        f"{begins} forecast's median with its 50%, 80% and 90% ranges. Ranges hold for each period by itself, not for all of "
        "them at once."
    )
    label = f"{data.counted.noun} by period before and after {day(data.as_of)}, with ranges. The figures are in the table below."
    return section(
        "revenue",
        data.counted.noun,
        tag("p", lead, class_="lead"),
        choice("revenue-freq", "Periods", {freq: PERIODS[freq] for freq in data.portfolio}, "quarter"),
        chart("revenue", label, *by_freq({freq: _periods(data, freq) for freq in data.portfolio}, "quarter")),
    )


def by_freq(tables: Mapping[str, Html], shown: str) -> list[Html]:
    """Tables of which the script shows the one that is chosen; without the script, the one that is named."""
    return [
        tag("div", content, data_freq=freq, **({} if freq == shown else {"hidden": ""}))
        for freq, content in tables.items()
    ]


def _periods(data: PageData, freq: str) -> Html:
    ahead, before = data.portfolio[freq], data.history.get(freq)
    unit = range_unit(
        ahead["lower"], ahead["q50"], ahead["upper"], beside=0.0 if before is None else before["revenue"].max()
    )
    titles = (
        "Period",
        "From",
        "To",
        "Recognised, or mean" if data.history else "Mean",
        f"Median ({probability(data.ci_prob)} range)",
    )
    rows: list[list[Content]] = [
        [
            *_period(row.label, row.start, row.end, row.partial),
            Figure(money(row.revenue, unit), row.revenue),
            "recognised",
        ]
        for row in (() if before is None else before.itertuples())
    ]
    rows += [
        [
            *_period(row.label, row.period_start, row.to, row.partial),
            Figure(money(row.mean, unit), row.mean),
            ranged(row.q50, row.lower, row.upper, unit),
        ]
        for row in ahead.itertuples()
    ]
    starred = ahead["partial"].any() or (before is not None and before["partial"].any())
    note = "* part of a period: only the days in the window, or up to as_of, are counted."
    columns = [Column(title, wide=title in ("From", "To")) for title in titles]
    found = table(f"{data.counted.noun} by {freq}, {unit.label(data.currency)}", columns, rows)
    return join([found, tag("p", note, class_="small") if starred else ""])


def _period(label: str, start: date, end: date, partial: bool) -> list[Content]:
    return [f"{label}*" if partial else label, date_of(start), date_of(end)]


def ranged(middle: float, low: float, high: float, unit: MoneyUnit) -> Figure:
    """A median with its range, in the table's unit."""
    return Figure(money(middle, unit), middle, f"{money(low, unit)} to {money(high, unit)}")


def ranged_share(middle: float, low: float, high: float) -> Figure:
    return Figure(percent(middle), middle, f"{percent(low)} to {percent(high)}")


def choice(anchor: str, label: str, options: Mapping[str, str], chosen: str) -> Html:
    """A select with its label; the script listens to it."""
    listed = join(
        tag("option", title, value=value, **({"selected": ""} if value == chosen else {}))
        for value, title in options.items()
    )
    content = join([tag("label", label, for_=anchor), " ", tag("select", listed, id=anchor)])
    return tag("p", content, class_="controls")


def segments(data: PageData) -> Html:
    """A sortable table a segment column, each row with its range drawn to scale."""
    if not data.by_segment:
        return Html("")
    tables = [
        tag("div", _segment_table(data, column), data_segment=column, **({} if at == 0 else {"hidden": ""}))
        for at, column in enumerate(data.by_segment)
    ]
    several = len(data.by_segment) > 1
    names = {column: column.replace("_", " ") for column in data.by_segment}
    controls = choice("segment-by", "By", names, next(iter(names))) if several else ""
    lead = f"{of_existing(data, f'The next {data.horizon_months} months')}. Choose a heading to sort by it."
    return section("segments", "Segments", tag("p", lead, class_="lead"), controls, *tables)


def _segment_table(data: PageData, column: str) -> Html:
    rows = data.by_segment[column].sort_values("mean", ascending=False, kind="stable")
    rows[data.counted.to_date] = to_date = _to_date(data, column).reindex(rows[column]).to_numpy()
    unit = range_unit(rows["lower"], rows["q50"], rows["upper"], beside=to_date.max())
    least, most = min(0.0, float(rows["lower"].min())), float(rows["upper"].max())
    width = (most - least) or 1.0
    total = float(rows["mean"].sum())
    columns = [
        Column(column.replace("_", " ").capitalize()),
        Column("Accounts", wide=True),
        Column("To date", wide=True),
        Column("Mean"),
        Column("Share", wide=True),
        Column(f"Median ({probability(data.ci_prob)} range)"),
        Column("", wide=True),
        Column("Beyond", wide=True),
        Column("Ten largest", wide=True),
    ]
    lines: list[list[Content]] = [
        [
            name_of("not given" if pd.isna(row[column]) else str(row[column])),
            Figure(f"{row['accounts']:,.0f}", row["accounts"]),
            Figure(money(row[data.counted.to_date], unit), row[data.counted.to_date]),
            Figure(money(row["mean"], unit), row["mean"]),
            Figure(percent(row["mean"] / total) if total else "", row["mean"]),
            ranged(row["q50"], row["lower"], row["upper"], unit),
            Spread(*((row[name] - least) / width for name in ("lower", "q50", "upper"))),
            Figure(money(row["beyond_horizon"], unit), row["beyond_horizon"]),
            Figure(percent(row["top10_share"], 0), row["top10_share"]),
        ]
        for row in rows.to_dict("records")
    ]
    of_what = f"{data.counted.noun} of the next {data.horizon_months} months by {column.replace('_', ' ')}"
    return table(f"{of_existing(data, of_what)}, {unit.label(data.currency)}", columns, lines, "sortable")


def _to_date(data: PageData, column: str) -> pd.Series:
    """Of every level, what its accounts brought by as_of, of the kind that the forecast counts."""
    return data.accounts.groupby(column, dropna=False)[data.counted.to_date].sum()


def accounts(data: PageData) -> Html:
    """Room for the table of accounts, which the script fills, and its search."""
    search = tag(
        "p",
        join(
            [
                tag("label", "Search accounts", for_="account-search"),
                Html(
                    '<input id="account-search" type="search" autocomplete="off" spellcheck="false" '
                    'placeholder="name or segment" aria-describedby="account-keys" aria-controls="account-table">'
                ),
                tag("span", join(["press ", tag("kbd", "/")]), class_="small", id="account-keys"),
            ]
        ),
        class_="controls",
    )
    found = tag("p", "", id="account-count", class_="small", role="status")
    caption = tag("p", "", class_="caption", id="account-caption", aria_hidden="true")
    room = tag("div", "", id="account-table", class_="scroll", tabindex="0", role="region", aria_label="Accounts")
    pages = tag("div", "", id="account-pages", class_="pages")
    lead = "Choose an account to see its history, its range and what it is made of."
    return section("accounts", "Accounts", tag("p", lead, class_="lead"), search, found, caption, room, pages)
