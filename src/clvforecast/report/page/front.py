"""The page's front and back: what it stands on and says first, and at its end what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

import pandas as pd

from clvforecast.report.page.data import PageData, top_share
from clvforecast.report.page.numbers import day, money, percent, probability
from clvforecast.report.page.tables import Column, Content, Figure, Html, join, name_of, section, table, tag
from clvforecast.report.units import MoneyUnit, counted, money_unit, range_unit

FIRST_WARNINGS, BEGINNING = 3, 140
"""Warnings of which the closed box shows the beginning, and how many letters of each."""


def header(data: PageData) -> Html:
    """Title, what the page stands on, and the one sentence to take away."""
    facts = [
        ("As of", day(data.as_of)),
        ("Currency", data.currency),
        ("Accounts", f"{len(data.accounts):,}"),
        ("Horizon", f"{data.horizon_months} months"),
    ]
    listed = join(tag("div", join([tag("dt", name), tag("dd", value)])) for name, value in facts)
    parts = [tag("h1", name_of(data.title)), tag("dl", listed, class_="facts"), _take_away(data)]
    return tag("header", join(parts), class_="page-head")


def _take_away(data: PageData) -> Html:
    """The nearest window that finance plans with, in a sentence."""
    rows = data.headline.set_index("key")
    row = rows.loc["next_12_months" if "next_12_months" in rows.index else "horizon"]
    unit = _unit(data)
    sentence = [
        "These accounts should bring " if data.new_customers is None else "Existing and new customers should bring ",
        tag("strong", _amount(row["q50"], unit, data.currency)),
        " (median) from ",
        tag("span", day(row["start"])),
        " to ",
        tag("span", day(row["end"])),
        f": with {probability(data.ci_prob)} probability between ",
        tag(
            "strong", f"{data.currency} {money(row['lower'], unit)} and {money(row['upper'], unit)} {unit.name}".strip()
        ),
        ".",
    ]
    return tag("p", join(sentence), class_="take-away")


def _amount(amount: float, unit: MoneyUnit, currency: str) -> str:
    """ "USD 919.3 million"."""
    return f"{currency} {money(amount, unit)} {unit.name}".strip()


def _how_to_read(data: PageData) -> Html:
    prob = probability(data.ci_prob)
    sentences = [
        f"12.3 (10.1 to 14.9) is a median with its {prob} range: it is as likely to become more as less than 12.3, and in "
        f"{prob} of the worlds that fit what is known it lies between 10.1 and 14.9.",
        "Means add up; medians and ends of ranges do not. The range of a total comes from simulating all accounts together: it "
        "is narrower than the sum of their ranges.",
        f"Money counts when it is {data.counted.done}, and is undiscounted where nothing else is said.",
        _who_is_in(data),
    ]
    return _note("How to read these figures", join(tag("p", sentence) for sentence in sentences))


def _who_is_in(data: PageData) -> str:
    if data.new_customers is None:
        return "New customers are not in these figures: they speak of the accounts that are known."
    return (
        f"Customers still to be won are in the windows at a glance, in {data.counted.noun.lower()} by period, in the ARR bridge, "
        "in retention once they have come, and in scenarios. Accounts, segments, values to date and beyond the horizon are of "
        "existing customers only."
    )


def of_existing(data: PageData, words: str) -> str:
    """The words, with whom they speak of where the forecast has new customers too."""
    return words if data.new_customers is None else f"{words}, existing customers"


def notes(data: PageData) -> Html:
    """Warnings, how to read a range, how rows were read and what is counted can be opened."""
    found = [_warnings(data.warnings)] if data.warnings else []
    found.append(_how_to_read(data))
    if data.rows_read is not None:
        found.append(_rows_read(data.rows_read))
    if data.policies:
        found.append(
            _note("What is counted, and how", terms({_words(key): said for key, said in data.policies.items()}))
        )
    return tag("div", join(found), class_="notes")


def _warnings(warnings: tuple[str, ...]) -> Html:
    """How many there are and how the first begin; whole when opened, and on paper. A single short one stands as it is."""
    title = tag("strong", f"{counted(len(warnings), 'thing')} to know of these figures")
    if len(warnings) == 1 and len(warnings[0]) <= BEGINNING:
        return tag("div", join([title, tag("p", warnings[0])]), class_="warnings")
    first = (tag("span", shorten(warning, BEGINNING, placeholder=" …")) for warning in warnings[:FIRST_WARNINGS])
    beginnings = tag("span", join(first), class_="beginnings", aria_hidden="true")
    points = tag("ul", join(tag("li", warning) for warning in warnings))
    return tag("details", join([tag("summary", join([title, beginnings])), points]), class_="warnings")


def _note(title: str, content: str) -> Html:
    return tag("details", join([tag("summary", title), content]), class_="note")


def terms(entries: Mapping[str, str]) -> Html:
    """Names with what they mean, without those that say nothing."""
    rows = (tag("div", join([tag("dt", name), tag("dd", said)])) for name, said in entries.items() if said)
    return tag("dl", join(rows), class_="terms")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _rows_read(rows: pd.DataFrame) -> Html:
    """Where every row of the data went."""
    unit = money_unit(rows["amount"].abs().max())
    columns = [Column("Part"), Column("Rows"), Column("Currency"), Column(f"Amount, {unit.name or 'whole units'}")]
    lines: list[list[Content]] = [
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
    return _note(told, table("Rows and money of the data", columns, lines))


def _unit(data: PageData) -> MoneyUnit:
    """One for the sentence and the tiles."""
    rows = data.headline
    return range_unit(rows["lower"], rows["q50"], rows["upper"], beside=data.accounts[data.counted.to_date].sum())


def headline(data: PageData) -> Html:
    """Tiles: nearest windows first, then what was, and what lies beyond."""
    unit = _unit(data)
    tiles = [_window_tile(row, data, unit) for row in data.headline.to_dict("records")]
    return section("headline", "At a glance", tag("div", join([*tiles, *_point_tiles(data, unit)]), class_="tiles"))


def _window_tile(row: Mapping[Any, Any], data: PageData, unit: MoneyUnit) -> Html:
    middle, low, high, mean = (money(row[name], unit) for name in ("q50", "lower", "upper", "mean"))
    note = f"{day(row['start'])} to {day(row['end'])}. Mean {mean}."
    spread = f"{probability(data.ci_prob)} range {low} to {high}"
    return _tile(row["label"], middle, unit.label(data.currency), spread, note)


def _point_tiles(data: PageData, unit: MoneyUnit) -> list[Html]:
    accounts = data.accounts
    to_date, beyond = float(accounts[data.counted.to_date].sum()), float(accounts["beyond_horizon"].sum(min_count=1))
    tiles = [] if data.new_customers is None else [_new_tile(data, data.new_customers, unit)]
    tiles += [
        _tile(
            "Customer lifetime value to date",
            money(to_date, unit),
            unit.label(data.currency),
            "",
            f"What was {data.counted.done} by {day(data.as_of)}; what is still to come is not in it.",
        ),
        _tile(
            of_existing(data, f"Beyond the {data.horizon_months} months"),
            money(beyond, unit),
            unit.label(data.currency) if pd.notna(beyond) else "",
            "",
            f"Mean discounted value after the horizon, with the gross margin{' and after the cost to serve' * data.has_cost}."
            if pd.notna(beyond)
            else "Needs a discount rate above zero.",
        ),
        _tile(
            of_existing(data, "Share of the ten largest accounts"),
            percent(top_share(accounts["mean"])),
            "",
            "",
            f"Of {of_existing(data, f'the mean {data.counted.noun.lower()} of the whole horizon')}.",
        ),
    ]
    return tiles


def _new_tile(data: PageData, mean: float, unit: MoneyUnit) -> Html:
    title, note = (
        "Of which new customers",
        f"Mean of the next {data.horizon_months} months, of customers still to be won.",
    )
    return _tile(title, money(mean, unit), unit.label(data.currency), "", note)


def _tile(title: str, figure: str, unit: str, spread: str, note: str) -> Html:
    parts = [tag("h3", title), tag("p", join([tag("span", unit, class_="unit"), " ", figure]), class_="figure")]
    if spread:
        parts.append(tag("p", spread, class_="between"))
    return tag("div", join([*parts, tag("p", note, class_="small")]), class_="tile")


def left_out(data: PageData) -> Html:
    """What is not on this page, and how to get it."""
    if not data.missing:
        return Html("")
    points = join(tag("li", sentence) for sentence in data.missing.values())
    return section("left-out", "Not on this page", tag("ul", points, class_="small"))


def footer(data: PageData) -> Html:
    """What the page was made from."""
    told = tag("p", "This file is complete: it loads nothing from anywhere, and sends nothing.", class_="small")
    opened = _note("Settings, seed, fingerprints and versions", terms(data.made_with))
    return tag("footer", join([opened, told]), id="made-with")
