"""The section of plans: what was agreed with customers, how likely it is, what it adds; and rows that could not be read."""

from __future__ import annotations

from typing import Any

import pandas as pd

from clvforecast.report.page.data import PageData
from clvforecast.report.page.numbers import money, percent, probability
from clvforecast.report.page.sections import ranged_share
from clvforecast.report.page.tables import Column, Content, Figure, Html, date_of, join, name_of, section, table, tag
from clvforecast.report.planned import ADDS, EXPECTED, STATED_AND_LEARNED, PlanRows, is_told
from clvforecast.report.units import MoneyUnit, counted, money_unit, range_unit

MOST_STEPS = 50
"""Steps in the table: those that add or take away most; the view of an account has all of its own."""


def plans(data: PageData) -> Html:
    """Steps with what they add, and what was rejected; empty where there are neither."""
    if data.plans is None and data.plan_rows is None:
        return Html("")
    parts = [] if data.plans is None else _steps(data, data.plans)
    if data.plan_rows is not None:
        parts.append(_rows_read(data.plan_rows))
    return section("plans", "Plans", *parts)


def _steps(data: PageData, steps: pd.DataFrame) -> list[Html]:
    shown = steps
    if len(steps) > MOST_STEPS:
        weight = "added" if "added" in steps else "amount"
        order = (
            steps[weight].abs().sort_values(ascending=False, kind="stable").index if weight in steps else steps.index
        )
        shown = steps.loc[order].head(MOST_STEPS)
    unit = _unit(shown)
    some = f", the {MOST_STEPS} that change most" if len(shown) < len(steps) else ""
    caption = f"{counted(len(steps), 'planned step')}{some}; money in {unit.label(data.currency)}"
    columns = [
        ("Account", lambda row: name_of(str(row["account_id"]))),
        ("Planned for", lambda row: "" if pd.isna(row["date"]) else date_of(pd.Timestamp(row["date"]))),
        ("Step", lambda row: str(row["kind"]).replace("_", " ")),
        ("Planned amount", lambda row: _amount(row["amount"], unit)),
        ("As stated", lambda row: _share(row["stated"])),
        ("In the forecast", _learned),
        ("Expected amount", lambda row: _amount(row["expected_amount"], unit)),
        (f"Adds ({probability(data.ci_prob)} range)", lambda row: _added(row, unit)),
        ("Note", lambda row: "" if pd.isna(row["note"]) or not str(row["note"]) else name_of(str(row["note"]))),
    ]
    needs = ("account_id", "date", "kind", "amount", "stated", "probability", "expected_amount", "added", "note")
    kept = [column for column, name in zip(columns, needs, strict=True) if name in steps and is_told(steps[name])]
    lines: list[list[Content]] = [[make(row) for _, make in kept] for row in shown.to_dict("records")]
    lead = [
        STATED_AND_LEARNED,
        *([EXPECTED] if "expected_amount" in steps else []),
        *([ADDS] if "added" in steps else []),
    ]
    found = table(caption, [Column(title) for title, _ in kept], lines, "stacked cards")
    return [*(tag("p", sentence, class_="lead") for sentence in lead), found]


def _unit(steps: pd.DataFrame) -> MoneyUnit:
    """One for all money of the steps."""
    amounts = [steps[name].abs().max() for name in ("amount", "expected_amount") if name in steps]
    ends = [steps[name] for name in ("added_lower", "added", "added_upper") if name in steps]
    beside = max((float(amount) for amount in amounts if pd.notna(amount)), default=0.0)
    return range_unit(*ends, beside=beside) if ends else money_unit(beside)


def _amount(amount: Any, unit: MoneyUnit) -> Content:
    return "" if pd.isna(amount) else Figure(money(float(amount), unit), float(amount))


def _share(share: Any) -> Content:
    return "" if pd.isna(share) else Figure(percent(float(share), 0), float(share))


def _learned(row: dict[Any, Any]) -> Content:
    if "lower" not in row or pd.isna(row["probability"]):
        return _share(row["probability"])
    figure = ranged_share(row["probability"], row["lower"], row["upper"])
    return figure._replace(
        text=percent(row["probability"], 0), between=f"{percent(row['lower'], 0)} to {percent(row['upper'], 0)}"
    )


def _added(row: dict[Any, Any], unit: MoneyUnit) -> Content:
    if pd.isna(row["added"]):
        return ""
    between = f"{money(row['added_lower'], unit)} to {money(row['added_upper'], unit)}" if "added_lower" in row else ""
    return Figure(money(row["added"], unit), row["added"], between)


def _rows_read(rows: PlanRows) -> Html:
    """How many rows became steps; the others with what is wrong with them and what to do."""
    read = rows.accepted + rows.rejected
    told = tag("p", f"{counted(read, 'row')} of plans read, {rows.rejected:,} rejected.", class_="small")
    if rows.unused:
        told = join([tag("p", rows.unused), told])
    if not rows.rejected:
        return told
    said = (
        tag("ul", join(tag("li", warning) for warning in rows.warnings), class_="small") if rows.warnings else Html("")
    )
    titles = ("Row", "Account", "Column", "Value", "Rule", "What to do")
    lines: list[list[Content]] = [
        [
            Figure(f"{row.row:,}", row.row),
            *("" if pd.isna(text) else name_of(str(text)) for text in (row.account_id, row.column, row.value)),
            str(row.rule).replace("_", " "),
            str(row.hint),
        ]
        for row in rows.first_rejects.itertuples()
    ]
    first = f", the first {len(lines):,}" if len(lines) < rows.rejected else ""
    found = table(f"Rejected rows of plans{first}", list(map(Column, titles)), lines)
    opened = tag("details", join([tag("summary", "Show the rejected rows"), found]), class_="figures")
    return join([told, said, opened])
