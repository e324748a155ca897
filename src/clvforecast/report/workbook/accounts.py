"""The sheet of accounts: one row an account, the largest expected revenue first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clvforecast.errors import ForecastError
from clvforecast.report.counting import RECOGNISED
from clvforecast.report.workbook.contents import Contents
from clvforecast.report.workbook.page import GIVEN, TOTAL, Page, letters, relative, width_of

SHEET = "Accounts"
MOST_ROWS = 1_048_576
"""Of a sheet in Excel."""
TITLE_ROWS = 6
"""Rows above the heads: title, two sentences, an empty one, sums."""
MOST_PRINTED = 100
"""Accounts that are printed; thousands of pages help nobody."""
LINE_HEIGHT = 13.0
"""Points of a line of text, in rows of accounts whose names are longer than their column is wide."""
SAMPLE = 2000
"""Texts that decide a column's width."""


@dataclass(frozen=True)
class Column:
    """A column of the sheet: of `Forecast.accounts`, its head, kind of value, and whether its means add up."""

    name: str
    head: str
    kind: str
    adds_up: bool = False
    printed: bool = True


def columns_of(contents: Contents) -> list[Column]:
    """The columns that this forecast has, in the order of the sheet."""
    low, high = contents.ends
    after_cost = ", after the cost to serve" if contents.about["Settings"].get("cost_to_serve") else ""
    money = [
        Column(contents.counted.to_date, f"CLV to date ({to_date_words(contents)})", "amount", True),
        Column("mean", f"expected {contents.noun} (mean)", "amount", True),
        Column("q50", "median", "amount"),
        Column("lower", low, "amount"),
        Column("upper", high, "amount"),
        Column("clv", "CLV: to date + expected", "amount", True),
    ]
    chances = [
        Column("p_active_12m", "active in 12 months", "percent"),
        Column("p_next_renewal", "next renewal", "percent"),
        Column("p_zero", f"no {contents.noun} at all", "percent"),
    ]
    more = [
        Column("clv_lower", f"CLV {low}", "amount", printed=False),
        Column("clv_upper", f"CLV {high}", "amount", printed=False),
        *[
            Column(name, head, "amount", True, False)
            for name, head in (("booked_to_date", "booked to date"), ("clv_to_date", "recognised to date"))
            if name != contents.counted.to_date
        ],
        *[Column(f"p_active_{n}m", f"active in {n} months", "percent", printed=False) for n in (24, 36)],
        Column("p_next_renewal_q05", "next renewal: low 5%", "percent", printed=False),
        Column("p_next_renewal_q95", "next renewal: high 95%", "percent", printed=False),
        Column("active_months", "months under contract", "number", printed=False),
    ]
    value = [
        Column("discounted_mean", f"discounted value{after_cost} (mean)", "amount", True, False),
        Column("discounted_lower", f"discounted {low}", "amount", printed=False),
        Column("discounted_upper", f"discounted {high}", "amount", printed=False),
        Column("beyond_horizon", f"discounted value after the window{after_cost}", "amount", True, False),
    ]
    origins = [
        Column(name, f"of the mean: {name.removeprefix('from_').replace('_', ' ')}", "amount", True, False)
        for name in contents.accounts
        if name.startswith("from_")
    ]
    segments = [Column(name, name.replace("_", " "), "text") for name in contents.segments]
    found = [Column("account_id", "account", "text"), *segments, *money, *chances, *more, *value, *origins]
    return [column for column in found if column.name in contents.accounts]


def to_date_words(contents: Contents) -> str:
    """What became of the forecast's kind of money until as_of."""
    return "served" if contents.counted == RECOGNISED else contents.counted.done


def shown_accounts(contents: Contents, max_accounts: int | None) -> pd.DataFrame:
    """The accounts as asked for, the others summed in a last row.

    Raises ForecastError for more than a sheet holds, or a number below one.
    """
    if max_accounts is not None and max_accounts < 1:
        raise ForecastError(f"max_accounts={max_accounts}: give 1 or more, or None for all of them.")
    table, room = contents.accounts, MOST_ROWS - TITLE_ROWS - 1
    if min(len(table), max_accounts or len(table)) > room:
        raise ForecastError(
            f"{len(table):,} accounts are more than the {room:,} that a sheet of Excel has room for. Give max_accounts=100_000: "
            "the largest are shown and the others summed in one row; all of them are in forecast.accounts()."
        )
    if max_accounts is None or len(table) <= max_accounts:
        return table
    return pd.concat([table.head(max_accounts), _others(contents, max_accounts)], ignore_index=True)


def _others(contents: Contents, shown: int) -> pd.DataFrame:
    """One row with the sums of what adds up; ranges and chances are empty, because they do not."""
    rest = contents.accounts.iloc[shown:]
    row: dict[str, Any] = {c.name: rest[c.name].sum(min_count=1) for c in columns_of(contents) if c.adds_up}
    return pd.DataFrame([{"account_id": f"{len(rest):,} other accounts", **row}])


@dataclass(frozen=True)
class Layout:
    """Where the sheet of accounts has what: for formulas of other sheets."""

    columns: dict[str, int]
    rows: int

    def area(self, name: str) -> str:
        """The cells of a column, as "Accounts!$D$8:$D$1549"."""
        letter = letters(self.columns[name])
        return f"{SHEET}!${letter}${TITLE_ROWS + 2}:${letter}${TITLE_ROWS + 1 + self.rows}"


def layout_of(contents: Contents, shown: pd.DataFrame) -> Layout:
    """Where things will be, before the sheet is written."""
    return Layout({column.name: place for place, column in enumerate(columns_of(contents))}, len(shown))


def write_accounts_sheet(page: Page, contents: Contents, shown: pd.DataFrame) -> None:
    """Sums, heads and a row an account; heads and first column stay in sight."""
    columns = columns_of(contents)
    page.set_columns([_width(column, shown) for column in columns])
    page.head(
        f"Accounts: what each may bring in {contents.horizon_months} months",
        f"{contents.currency}, the largest expected {contents.noun} first. Sums are of the rows in sight: filter, and they "
        "follow. Means add up; ranges and medians do not.",
        "Empty: not known, as the chance of a next renewal where no decision is open." + _printed_words(shown),
    )
    page.row = TITLE_ROWS - 1
    _sums(page, columns, shown)
    page.heads((column.head for column in columns), tuple(column.kind for column in columns), height=42.0)
    _rows(page, columns, shown, contents.counted.to_date)
    last = page.row - 1
    page.sheet.freeze_panes(TITLE_ROWS + 1, 1)
    page.sheet.autofilter(TITLE_ROWS, 0, last, len(columns) - 1)
    page.sheet.repeat_rows(TITLE_ROWS)
    page.printed(sum(column.printed for column in columns), min(last, TITLE_ROWS + MOST_PRINTED), 0)
    page.book.name("accounts_table", page.area(TITLE_ROWS, 0, last, len(columns) - 1), "all accounts, with their heads")


def _printed_words(shown: pd.DataFrame) -> str:
    return f" The {MOST_PRINTED} largest are printed." if len(shown) > MOST_PRINTED else ""


def _width(column: Column, shown: pd.DataFrame) -> float:
    if column.kind == "text":
        return width_of(shown[column.name].head(SAMPLE), least=12.0)
    return 13.0 if column.kind == "amount" else 11.0


def _sums(page: Page, columns: list[Column], shown: pd.DataFrame) -> None:
    """SUBTOTAL 109 adds only what a filter leaves in sight."""
    first, last = TITLE_ROWS + 1, TITLE_ROWS + len(shown)
    for place, column in enumerate(columns):
        if column.adds_up and shown[column.name].notna().any():
            area = f"{relative(first, place)}:{relative(last, place)}"
            page.formula(place, f"=SUBTOTAL(109,{area})", shown[column.name].sum(), column.kind, **TOTAL)
        else:
            page.put(place, "sum of the rows in sight" if place == 0 else None, **TOTAL)
    page.next()


def _rows(page: Page, columns: list[Column], shown: pd.DataFrame, to_date: str) -> None:
    """Written by kind without asking each cell what it is: there may be a million rows."""
    writers = [_writer(page, column, place, columns, shown, to_date) for place, column in enumerate(columns)]
    lines = np.ceil(shown["account_id"].astype(str).str.len().to_numpy() / (0.85 * page.widths[0])).astype(int)
    for number in range(len(shown)):
        if lines[number] > 1:
            page.sheet.set_row(page.row, LINE_HEIGHT * int(lines[number]))
        for write in writers:
            write(page.row, number)
        page.next()


def _writer(page: Page, column: Column, place: int, columns: list[Column], shown: pd.DataFrame, to_date: str) -> Any:
    sheet = page.sheet
    style = page.book.style(column.kind, **({"text_wrap": True} if column.kind == "text" else {"font_color": GIVEN}))
    if column.kind == "text":
        texts = shown[column.name].astype(object).where(shown[column.name].notna(), "").astype(str).to_list()
        return lambda row, number: sheet.write_string(row, place, texts[number], style)
    values = shown[column.name].to_numpy(dtype=np.float64)
    known, listed = np.isfinite(values).tolist(), values.tolist()
    if column.name == "clv":
        parts = [letters(_place(columns, name)) for name in (to_date, "mean")]
        black = page.book.style(column.kind)
        return lambda row, number: sheet.write_formula(
            row, place, f"={parts[0]}{row + 1}+{parts[1]}{row + 1}", black, listed[number]
        )

    def write(row: int, number: int) -> None:
        if known[number]:
            sheet.write_number(row, place, listed[number], style)
        else:
            sheet.write_blank(row, place, None, style)

    return write


def _place(columns: Iterable[Column], name: str) -> int:
    return next(place for place, column in enumerate(columns) if column.name == name)
