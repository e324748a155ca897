"""A workbook's pages, written from top to bottom: what a number is decides how it is shown.

Texts are always stored as texts: nothing that comes from data can become a formula or a link.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

from clvforecast.report.units import MoneyUnit

FONT = {"font_name": "Arial", "font_size": 10}
DARK, PALE, LINE, GREY, RED = "#1f4e79", "#f2f4f7", "#9aa3af", "#6b7280", "#b42318"
GIVEN, GIVEN_KINDS = "#1d3fbb", ("money", "cash", "amount", "cents", "percent", "number")
"""What is simulated or comes from the ledger is blue, what the sheet calculates black, as in models of finance."""
SHORT = {"thousand": "k", "million": "m", "billion": "bn"}
Look = dict[str, Any]
"""Properties of a format of XlsxWriter."""
BOLD: Look = {"bold": True}
QUIET: Look = {"font_color": GREY}
TOTAL: Look = {"bold": True, "top": 1, "top_color": LINE}
HEAD: Look = {
    "bold": True,
    "font_color": "white",
    "bg_color": DARK,
    "text_wrap": True,
    "valign": "vcenter",
    "align": "right",
}
HEAD_LEFT: Look = {**HEAD, "align": "left"}
PAST: Look = {"bg_color": PALE}
LONGEST_LINE, SHORTEST_LINE = 165, 80
"""Characters of a sentence in one row, as wide as the sheet is: what is longer goes on in the next."""
A4 = 9
ROW_HEIGHT = 13.5
"""Points; of Excel's 15, fewer rows would go on a page."""
LONGEST_TITLE = 90
"""Characters in the header of a printed page, of which Excel allows 255 with all its marks."""
MOST_COLUMNS = 26
"""Columns that stay readable on one printed page."""

ROWS_A_PAGE = 64
"""And rows."""
PAPER_WIDTH, PAPER_HEIGHT = 784.0, 498.0
"""Points of A4 across that margins leave."""
LEAST_SHRUNK = 0.65
"""Of its scale to which a sheet is made smaller so that what stands above its blocks is on one page."""
SPARE = 0.88
"""Of the paper that is used: programs differ in how wide and high they draw."""


@dataclass(frozen=True)
class Named:
    """A name that other workbooks can link to, and what it means."""

    name: str
    place: str
    meaning: str
    value: Any = None
    kind: str = "money"


@dataclass(frozen=True)
class Check:
    """A cell that shows 0.00 when figures agree, and in words which."""

    words: str
    place: str
    value: float


@dataclass
class Book:
    """An XlsxWriter workbook, its number formats, and the names and checks in it so far."""

    workbook: Any
    currency: str
    unit: MoneyUnit
    title: str
    as_of: date
    names: list[Named] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    styles: dict[Any, Any] = field(default_factory=dict)

    @property
    def money_in(self) -> str:
        """ "USD million"."""
        return self.unit.label(self.currency)

    @property
    def shown_in(self) -> str:
        """ "shown in USD million; cells hold full USD": numbers are not divided, only their formats leave out digits."""
        if not self.unit.name:
            return f"in {self.currency}"
        return f"shown in {self.money_in}; cells hold full {self.currency}"

    def style(self, kind: str, **look: Any) -> Any:
        """The format of a kind of value (`number_format`), with properties of XlsxWriter; each made once."""
        key = (kind, *sorted(look.items()))
        if key not in self.styles:
            shown = {**FONT, "valign": "vcenter", **number_format(kind, self.unit, self.currency), **look}
            self.styles[key] = self.workbook.add_format(shown)
        return self.styles[key]

    def name(self, name: str, place: str, meaning: str, value: Any = None, kind: str = "money") -> None:
        """Define a name for the absolute place "'Sheet'!$A$1"; it is documented on the sheet of assumptions."""
        self.workbook.define_name(name, f"={place}")
        self.names.append(Named(name, place, meaning, value, kind))


def number_format(kind: str, unit: MoneyUnit, currency: str) -> dict[str, Any]:
    """Properties of a cell of this kind: money and cash (with its currency) in the book's unit, amount in whole currency."""
    thousands = "," * round(math.log10(unit.size) / 3.0)
    digits = f"#,##0{'.0' if thousands else ''}{thousands}"
    word = f' "{SHORT[unit.name]}"' if unit.name else ""
    formats = {
        "money": f'{digits}_);({digits});"–"_)',
        "cash": f"[${currency}] {digits}{word}_);([${currency}] {digits}{word})",
        "amount": '#,##0_);(#,##0);"–"_)',
        "cents": "#,##0.00_);(#,##0.00)",
        "percent": "0.0%_)",
        "count": "#,##0",
        "number": "#,##0.0",
        "check": '[Red]#,##0.00;[Red]-#,##0.00;0.00"  ✓"',
        "date": "yyyy-mm-dd",
        "text": "@",
    }
    aligned = {"text": "left"}
    fitted = {"shrink": True} if kind == "check" else {}
    return {"num_format": formats[kind], "align": aligned.get(kind, "right"), **fitted}


class Page:
    """A sheet and the row that is being written."""

    def __init__(self, book: Book, name: str, tab: str = DARK) -> None:
        self.book, self.name, self.row = book, name, 0
        self.widths: list[float] = []
        self.heights: dict[int, float] = {}
        self.blocks: list[int] = []
        self.line_length = SHORTEST_LINE
        self.sheet = book.workbook.add_worksheet(name)
        self.sheet.hide_gridlines(2)
        self.sheet.set_default_row(ROW_HEIGHT)
        self.sheet.set_tab_color(tab)

    def set_columns(self, widths: Sequence[float]) -> None:
        """Widths of the columns, in characters; so many are printed."""
        self.widths = list(widths)
        self.line_length = min(max(int(sum(widths)), SHORTEST_LINE), LONGEST_LINE)
        for column, width in enumerate(widths):
            self.sheet.set_column(column, column, width)
        self._print_set_up()

    def _print_set_up(self) -> None:
        title = " ".join(self.book.title.split())[:LONGEST_TITLE].replace("&", "&&")
        self.sheet.set_landscape()
        self.sheet.set_paper(A4)
        self.sheet.set_margins(left=0.4, right=0.4, top=0.75, bottom=0.6)
        self.sheet.set_header(f'&L&9&"Arial,Bold"{title}&R&9&"Arial,Regular"as of {self.book.as_of}')
        self.sheet.set_footer(
            f'&L&9&"Arial,Regular"{self.name} · {self.book.currency}&R&9&"Arial,Regular"page &P of &N'
        )

    def head(self, title: str, *lines: str) -> None:
        """The sheet's title and what to know of it, then an empty row."""
        self.put(0, title, bold=True, font_size=16, font_color=DARK)
        self.set_height(24)
        self.next()
        self.say(*lines)
        self.next()

    def check(self, column: int, formula: str, value: float, words: str, **look: Any) -> None:
        """A cell with the rounded difference of figures that must agree; the summary shows it too."""
        self.formula(column, f"=ROUND({formula},2)", rounded(value), "check", **look)
        self.book.checks.append(Check(words, self.at(column), rounded(value)))

    def say(self, *lines: str, **look: Any) -> None:
        """Sentences, each in as many rows as it needs."""
        for line in lines:
            for part in textwrap.wrap(line, self.line_length):
                self.put(0, part, **{**QUIET, **look})
                self.next()

    def block(self) -> None:
        """What begins here stays on one printed page, where it is not longer than that (`printed_by_block`)."""
        self.blocks.append(self.row)

    def set_height(self, points: float) -> None:
        """Of the current row."""
        self.sheet.set_row(self.row, points)
        self.heights[self.row] = points

    def section(self, title: str) -> None:
        """The title of a block of rows."""
        self.put(0, title, bold=True, font_size=12, font_color=DARK)
        self.next()

    def next(self, rows: int = 1) -> None:
        self.row += rows

    def put(self, column: int, value: Any, kind: str = "text", **look: Any) -> None:
        """A value in the current row; what is not known becomes an empty cell."""
        style = self.book.style(kind, **({"font_color": GIVEN} if kind in GIVEN_KINDS else {}) | look)
        if is_missing(value):
            self.sheet.write_blank(self.row, column, None, style)
        elif isinstance(value, bool | np.bool_):
            self.sheet.write_string(self.row, column, "yes" if value else "no", style)
        elif isinstance(value, int | float | np.number):
            self.sheet.write_number(self.row, column, float(value) if kind != "count" else int(value), style)
        elif isinstance(value, date | datetime | np.datetime64):
            self.sheet.write_datetime(self.row, column, pd.Timestamp(value).to_pydatetime(), style)
        else:
            self.sheet.write_string(self.row, column, str(value), style)

    def formula(self, column: int, formula: str, value: Any, kind: str = "money", **look: Any) -> None:
        """A formula with the value that it has now, for readers that do not calculate."""
        known = 0.0 if is_missing(value) else value
        self.sheet.write_formula(self.row, column, formula, self.book.style(kind, **look), known)

    def heads(self, texts: Iterable[str], kinds: Sequence[str] = (), height: float | None = 30.0, **look: Any) -> None:
        """A row of column heads; the first and those of texts to the left."""
        for column, text in enumerate(texts):
            left = column == 0 or kinds[column : column + 1] == ("text",)
            self.put(column, text, **{**(HEAD_LEFT if left else HEAD), **look})
        if height:
            self.set_height(height)
        self.next()

    def cells(self, values: Sequence[Any], kinds: Sequence[str], **look: Any) -> None:
        """A row of values, and on to the next."""
        for column, (value, kind) in enumerate(zip(values, kinds, strict=True)):
            self.put(column, value, kind, **look)
        self.next()

    def at(self, column: int, row: int | None = None) -> str:
        """The absolute place of a cell, on the current row unless told: "'Data quality'!$B$3"."""
        return f"{self.quoted}!{absolute(self.row if row is None else row, column)}"

    def area(self, first_row: int, first_column: int, last_row: int, last_column: int) -> str:
        """The absolute place of a block of cells."""
        return f"{self.quoted}!{absolute(first_row, first_column)}:{absolute(last_row, last_column)}"

    @property
    def quoted(self) -> str:
        return f"'{self.name}'" if " " in self.name else self.name

    def pixels(self, columns: int | None = None) -> int:
        """How wide the first columns are on a screen."""
        return sum(int(width * 7 + 5) for width in self.widths[:columns])

    def printed(self, columns: int | None = None, last_row: int | None = None, tall: int | None = None) -> None:
        """Print what was written, or the first columns and rows of it: one page wide unless that could not be read.

        Rows are fitted to `tall` pages, by default so that none holds but the last few; 0 leaves them as they are.
        """
        last = self.row - 1 if last_row is None else last_row
        across = math.ceil((columns or len(self.widths)) / MOST_COLUMNS)
        self.sheet.print_area(0, 0, max(last, 0), (columns or len(self.widths)) - 1)
        self.sheet.fit_to_pages(across, math.ceil((last + 1) / ROWS_A_PAGE) if tall is None else tall)
        if across > 1:
            self.sheet.repeat_columns(0)

    def printed_by_block(self, columns: int | None = None, repeated: tuple[int, int] | None = None) -> None:
        """Print what was written as wide as the page, with page breaks between blocks only.

        What is too wide for that to be read is printed as `printed` does. repeated: first and last of the rows that head every
        page, which take their room on all but the first.
        """
        columns = columns or len(self.widths)
        if columns > MOST_COLUMNS:
            self.printed(columns)
            return
        heads = 0.0 if repeated is None else self._points(repeated[0], repeated[1] + 1)
        scale = min(1.0, SPARE * PAPER_WIDTH / (0.75 * self.pixels(columns)))
        scale = self._scale_of_first(scale)
        self.sheet.print_area(0, 0, max(self.row - 1, 0), columns - 1)
        self.sheet.set_print_scale(max(int(100 * scale), 10))
        begun, breaks, room = 0, [], SPARE * PAPER_HEIGHT / scale
        for start, after in zip(self.blocks, [*self.blocks, self.row][1:], strict=True):
            if start > begun and self._points(begun, after) > room - (heads if begun else 0.0):
                breaks.append(start)
                begun = start
        self.sheet.set_h_pagebreaks(breaks)

    def _scale_of_first(self, scale: float) -> float:
        """The scale, or a smaller one with which what stands above the first block's break fits on one page."""
        fitting = SPARE * PAPER_HEIGHT / self._points(0, self.blocks[0]) if self.blocks and self.blocks[0] else scale
        return fitting if LEAST_SHRUNK * scale <= fitting < scale else scale

    def _points(self, first: int, after: int) -> float:
        """How high the rows from the first to before the last are together."""
        return sum(self.heights.get(row, ROW_HEIGHT) for row in range(first, after))


def absolute(row: int, column: int) -> str:
    """ "$B$3" of row 2 and column 1, both counted from 0.

    Examples
    --------
    >>> absolute(2, 1), absolute(0, 27)
    ('$B$3', '$AB$1')
    """
    return f"${letters(column)}${row + 1}"


def relative(row: int, column: int) -> str:
    """ "B3" of row 2 and column 1."""
    return f"{letters(column)}{row + 1}"


def letters(column: int) -> str:
    name = ""
    number = column + 1
    while number:
        number, place = divmod(number - 1, 26)
        name = chr(ord("A") + place) + name
    return name


def is_missing(value: Any) -> bool:
    """Whether there is no value: None, NaN, NaT, and infinities, which a cell cannot hold."""
    if value is None or value is pd.NaT or value is pd.NA:
        return True
    return isinstance(value, float | np.floating) and not math.isfinite(value)


def rounded(difference: float) -> float:
    """As Excel's ROUND(x, 2), and never minus zero."""
    return round(float(difference), 2) + 0.0


def width_of(texts: Iterable[Any], least: float = 10.0, most: float = 48.0) -> float:
    """Width of a column that holds these texts."""
    longest = max((len(str(text)) for text in texts), default=0)
    return min(max(least, longest * 1.05 + 2.0), most)
