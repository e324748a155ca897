"""The page's sections, from top to bottom, as HTML. Pictures are drawn by the script into the room that is left for them."""

from __future__ import annotations

import pandas as pd

from clvforecast.report.page.data import PageData, top_share
from clvforecast.report.page.numbers import between, day, money, percent, probability
from clvforecast.report.page.tables import (
    Column,
    Figure,
    Html,
    Spread,
    chart,
    join,
    name_of,
    section,
    table,
    tag,
)
from clvforecast.report.units import MoneyUnit, counted, money_unit

PERIOD_TITLES = {"month": "Months", "quarter": "Quarters", "year": "Years"}
FREE_OF_LEDGER = "Money is recognised as it is served, by days, and undiscounted where nothing else is said."


def header(data: PageData) -> Html:
    """Title, what the page stands on, the one sentence to take away, how to read a range, what to know first."""
    facts = [
        ("As of", day(data.as_of)),
        ("Currency", data.currency),
        ("Accounts", f"{len(data.accounts):,}"),
        ("Horizon", f"{data.horizon_months} months"),
    ]
    listed = join(tag("div", join([tag("dt", name), tag("dd", value)])) for name, value in facts)
    parts = [tag("h1", name_of(data.title)), tag("dl", listed, class_="facts"), _take_away(data)]
    return tag("header", join([*parts, *_notes(data)]), class_="page-head")


def _take_away(data: PageData) -> Html:
    """The nearest window that finance plans with, in a sentence."""
    rows = data.headline.set_index("key")
    row = rows.loc["next_12_months" if "next_12_months" in rows.index else "horizon"]
    unit = money_unit(row["upper"])
    sentence = [
        "These accounts should bring ",
        tag("strong", f"{unit.label(data.currency)} {money(row['q50'], unit)}"),
        f" from {day(row['start'])} to {day(row['end'])}: with {probability(data.ci_prob)} probability between ",
        tag("strong", f"{money(row['lower'], unit)} and {money(row['upper'], unit)}"),
        ".",
    ]
    return tag("p", join(sentence), class_="take-away")


def _how_to_read(data: PageData) -> Html:
    sentences = [
        f"12.3 (10.1 to 14.9) is a median with its {probability(data.ci_prob)} range: it is as likely to become more as to become "
        f"less than 12.3, and in {probability(data.ci_prob)} of the worlds that fit what is known it lies between 10.1 and 14.9.",
        "Means add up, medians and ends of ranges do not: the range of a total comes from simulating all accounts together, and is "
        "narrower than the sum of their ranges.",
        FREE_OF_LEDGER,
        "New customers are not in these figures unless it is said: they speak of the accounts that are known.",
    ]
    return tag(
        "details",
        join([tag("summary", "How to read these figures"), *(tag("p", sentence) for sentence in sentences)]),
        class_="note",
    )


def _notes(data: PageData) -> list[Html]:
    """Warnings stand open; how rows were read and what is counted can be opened."""
    found = []
    if data.warnings:
        points = tag("ul", join(tag("li", warning) for warning in data.warnings))
        found.append(tag("div", join([tag("h2", "To know first"), points]), class_="warnings"))
    found.append(_how_to_read(data))
    if data.rows_read is not None:
        found.append(_rows_read(data.rows_read))
    if data.policies:
        terms = join(
            tag("div", join([tag("dt", name.replace("_", " ")), tag("dd", sentence)]))
            for name, sentence in data.policies.items()
        )
        inner = join([tag("summary", "What is counted, and how"), tag("dl", terms, class_="terms")])
        found.append(tag("details", inner, class_="note"))
    return found


def _rows_read(rows: pd.DataFrame) -> Html:
    """Where every row of the data went."""
    unit = money_unit(rows["amount"].abs().max())
    columns = [Column("Part"), Column("Rows"), Column("Currency"), Column(f"Amount, {unit.name or 'whole units'}")]
    lines = [
        [
            str(row.part),
            Figure(f"{row.rows:,}", row.rows),
            "not readable" if pd.isna(row.currency) else str(row.currency),
            Figure(money(row.amount, unit), row.amount),
        ]
        for row in rows.itertuples()
    ]
    rejected = int(rows.loc[rows["part"] == "rejected", "rows"].sum())
    read = int(rows.loc[rows["part"] == "read", "rows"].sum())
    told = f"Data: {read:,} rows read, {counted(rejected, 'row')} rejected"
    return tag(
        "details", join([tag("summary", told), table("Rows and money of the data", columns, lines)]), class_="note"
    )


def headline(data: PageData) -> Html:
    """Tiles: nearest windows first, then what was, and what lies beyond."""
    tiles = [_window_tile(row, data) for row in data.headline.to_dict("records")]
    return section("headline", "At a glance", tag("div", join([*tiles, *_point_tiles(data)]), class_="tiles"))


def _window_tile(row: dict[str, object], data: PageData) -> Html:
    unit = money_unit(float(str(row["upper"])))
    middle, low, high, mean = (float(str(row[name])) for name in ("q50", "lower", "upper", "mean"))
    note = f"{day(pd.Timestamp(str(row['start'])))} to {day(pd.Timestamp(str(row['end'])))}. Mean {money(mean, unit)}."
    spread = f"{money(low, unit)} to {money(high, unit)}"
    return _tile(str(row["label"]), money(middle, unit), unit.label(data.currency), spread, note)


def _point_tiles(data: PageData) -> list[Html]:
    accounts = data.accounts
    to_date, beyond = float(accounts["clv_to_date"].sum()), float(accounts["beyond_horizon"].sum(min_count=1))
    unit, beyond_unit = money_unit(to_date), money_unit(beyond)
    tiles = [
        _tile(
            "Customer lifetime value to date",
            money(to_date, unit),
            unit.label(data.currency),
            "",
            f"Revenue recognised by {day(data.as_of)}; what is still to come is not in it.",
        ),
        _tile(
            f"Beyond the {data.horizon_months} months",
            money(beyond, beyond_unit),
            beyond_unit.label(data.currency) if pd.notna(beyond) else "",
            "",
            "Mean discounted value after the horizon, with the gross margin."
            if pd.notna(beyond)
            else "Needs a discount rate above zero.",
        ),
        _tile(
            "Share of the ten largest accounts",
            percent(top_share(accounts["mean"])),
            "",
            "",
            "Of the expected revenue of the whole horizon.",
        ),
    ]
    return tiles


def _tile(title: str, figure: str, unit: str, spread: str, note: str) -> Html:
    parts = [tag("h3", title), tag("p", join([tag("span", unit, class_="unit"), " ", figure]), class_="figure")]
    if spread:
        parts.append(tag("p", spread, class_="between"))
    return tag("div", join([*parts, tag("p", note, class_="small")]), class_="tile")


def revenue(data: PageData) -> Html:
    """The fan chart, and the figures of every period."""
    controls = _choice("revenue-freq", "Periods", [(name, PERIOD_TITLES[name]) for name in data.portfolio], "quarter")
    figures = [
        tag("div", _periods(data, freq), data_freq=freq, **({} if freq == "quarter" else {"hidden": ""}))
        for freq in data.portfolio
    ]
    lead = "What was recognised, then the forecast's median with its 50%, 80% and 90% ranges. All of one kind of range hold period by period, not all at once."
    label = f"Revenue by period before and after {day(data.as_of)}, with ranges. The figures are in the table below."
    return section("revenue", "Revenue", tag("p", lead, class_="lead"), controls, chart("revenue", "", label, *figures))


def _periods(data: PageData, freq: str) -> Html:
    table_ = data.portfolio[freq]
    before = data.history.get(freq)
    unit = money_unit(max(table_["upper"].max(), 0.0 if before is None else before["revenue"].max()))
    ranges = f"Median ({probability(data.ci_prob)} range)"
    columns = [Column("Period"), Column("From", wide=True), Column("To"), Column("Mean"), Column(ranges)]
    rows = [
        [
            f"{row.label}*" if row.partial else str(row.label),
            f"{pd.Timestamp(row.start):%Y-%m-%d}",
            f"{pd.Timestamp(row.end):%Y-%m-%d}",
            Figure(money(row.revenue, unit), row.revenue),
            "recognised",
        ]
        for row in (() if before is None else before.itertuples())
    ]
    rows += [
        [
            f"{row.label}*" if row.partial else str(row.label),
            f"{pd.Timestamp(row.period_start):%Y-%m-%d}",
            f"{pd.Timestamp(row.period):%Y-%m-%d}",
            Figure(money(row.mean, unit), row.mean),
            ranged(row.q50, row.lower, row.upper, unit),
        ]
        for row in table_.itertuples()
    ]
    caption = f"Revenue by {freq}, {unit.label(data.currency)}"
    note = "* part of a period: only the days in the window, or up to as_of, are counted."
    starred = table_["partial"].any() or (before is not None and before["partial"].any())
    return join([table(caption, columns, rows), tag("p", note, class_="small") if starred else ""])


def ranged(middle: float, low: float, high: float, unit: MoneyUnit) -> Figure:
    """A median with its range, in the table's unit."""
    return Figure(money(middle, unit), middle, f"{money(low, unit)} to {money(high, unit)}")


def ranged_share(middle: float, low: float, high: float) -> Figure:
    return Figure(percent(middle), middle, f"{percent(low)} to {percent(high)}")


def _choice(anchor: str, label: str, options: list[tuple[str, str]], chosen: str) -> Html:
    """A select with its label; the script listens to it."""
    listed = join(
        tag("option", title, value=value, **({"selected": ""} if value == chosen else {})) for value, title in options
    )
    return tag("p", join([tag("label", label, for_=anchor), " ", tag("select", listed, id=anchor)]), class_="controls")


choice = _choice


def segments(data: PageData) -> Html:
    """A sortable table a segment column, each row with its range drawn to scale."""
    if not data.by_segment:
        return Html("")
    tables = [
        tag("div", _segment_table(data, column), data_segment=column, **({} if at == 0 else {"hidden": ""}))
        for at, column in enumerate(data.by_segment)
    ]
    several = len(data.by_segment) > 1
    names = [(column, column.replace("_", " ")) for column in data.by_segment]
    controls = _choice("segment-by", "By", names, names[0][0]) if several else ""
    lead = f"The next {data.horizon_months} months. Choose a heading to sort by it."
    return section("segments", "Segments", tag("p", lead, class_="lead"), controls, *tables)


def _segment_table(data: PageData, column: str) -> Html:
    rows = data.by_segment[column].sort_values("mean", ascending=False, kind="stable")
    unit = money_unit(max(rows["upper"].max(), rows["clv_to_date"].max()))
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
    lines = [
        [
            name_of("not given" if pd.isna(row[column]) else str(row[column])),
            Figure(f"{row['accounts']:,.0f}", row["accounts"]),
            Figure(money(row["clv_to_date"], unit), row["clv_to_date"]),
            Figure(money(row["mean"], unit), row["mean"]),
            Figure(percent(row["mean"] / total) if total else "", row["mean"]),
            ranged(row["q50"], row["lower"], row["upper"], unit),
            Spread(*((row[name] - least) / width for name in ("lower", "q50", "upper"))),
            Figure(money(row["beyond_horizon"], unit), row["beyond_horizon"]),
            Figure(percent(row["top10_share"], 0), row["top10_share"]),
        ]
        for row in rows.to_dict("records")
    ]
    caption = (
        f"Revenue of the next {data.horizon_months} months by {column.replace('_', ' ')}, {unit.label(data.currency)}"
    )
    return table(caption, columns, lines, sortable=True)


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
    room = tag("div", "", id="account-table", class_="scroll", tabindex="0", role="region", aria_label="Accounts")
    pages = tag("div", "", id="account-pages", class_="pages")
    lead = "Choose an account to see its history, its range and what it is made of."
    return section("accounts", "Accounts", tag("p", lead, class_="lead"), search, found, room, pages)


def left_out(data: PageData) -> Html:
    """What is not on this page, and how to get it."""
    if not data.missing:
        return Html("")
    points = join(tag("li", sentence) for sentence in data.missing.values())
    return section("left-out", "Not on this page", tag("ul", points, class_="small"))


def footer(data: PageData) -> Html:
    """What the page was made from."""
    entries = join(
        tag("div", join([tag("dt", name), tag("dd", value)])) for name, value in data.made_with.items() if value
    )
    told = tag("p", "This file is complete: it loads nothing from anywhere, and sends nothing.", class_="small")
    opened = tag(
        "details",
        join([tag("summary", "Settings, seed, fingerprints and versions"), tag("dl", entries, class_="terms")]),
        class_="note",
    )
    return tag("footer", join([opened, told]), id="made-with")


__all__ = ["accounts", "between", "footer", "header", "headline", "left_out", "revenue", "segments"]
