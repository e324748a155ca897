"""The sheet of assumptions: how things are counted, with what settings, from what data, and names that can be linked to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clvforecast.report.workbook.contents import Contents
from clvforecast.report.workbook.page import QUIET, Look, Named, Page

SHEET = "Assumptions"
WIDTHS = (34.0, 22.0, 96.0)
WRAP: Look = {"text_wrap": True}
SETTING_WORDS = {
    "horizon_months": "months ahead, from the day after as_of",
    "annual_discount_rate": "effective rate a year, in discounted figures only",
    "gross_margin": "in discounted figures only",
    "draws": "simulated worlds",
    "seed": "key of the random numbers: the same seed gives the same figures",
    "timing": "recognised: revenue as it is served, by days; booked: money on its booking day",
    "known_by": "only bookings made by this day count",
    "bridge": "whether ARR was kept",
    "pending": "whether a contract whose renewal is open counts as in force",
    "scenario": "what was assumed beside the past",
    "plans": "what was agreed with customers",
    "calendar": "the fiscal calendar of months, quarters and years",
}
TECHNICAL = ("threads", "batch_accounts", "keep_draws", "ci_probs")
"""Settings that change no figure of a workbook."""
PERCENTS = ("annual_discount_rate", "gross_margin")
MADE_FROM_WORDS = {
    "ledger": "the ledger that was forecast from",
    "posterior": "the model's draws",
    "trained_on": "the ledger that the model was trained on",
    "trained_until": "what was known by that day trained the model",
}


def write_assumptions(page: Page, contents: Contents) -> None:
    """Warnings first: what to know before using a figure."""
    page.set_columns(WIDTHS)
    page.head(
        "Assumptions",
        "What the figures mean, and what they were made from. The same forecast always makes the same workbook.",
    )
    page.sheet.freeze_panes(page.row, 1)
    _warnings(page, contents.warnings)
    _policies(page, contents)
    _settings(page, contents)
    for section, entries in contents.about.items():
        if section != "Settings":
            _entries(page, section, entries)
    _names(page)
    page.printed()


def _warnings(page: Page, warnings: tuple[str, ...]) -> None:
    page.section("Warnings of the data and the model")
    if not warnings:
        page.put(0, "none")
        page.next()
    for number, warning in enumerate(warnings, start=1):
        page.put(0, f"warning {number}")
        _sentence(page, warning)
        page.next()
    page.next()


def _sentence(page: Page, text: str) -> None:
    """Over the last two columns, as high as the text needs."""
    page.sheet.merge_range(page.row, 1, page.row, 2, "", page.book.style("text", **WRAP))
    page.put(1, text, **WRAP)
    page.sheet.set_row(page.row, 14.0 * lines_of(text, WIDTHS[1] + WIDTHS[2]))


def lines_of(text: str, width: float) -> int:
    """Rows that a text takes in a column of this width, at least one."""
    return max(1, -(-len(text) // int(width * 1.1)))


def _policies(page: Page, contents: Contents) -> None:
    if not contents.policies:
        return
    page.section("How things are counted")
    for name, sentence in contents.policies.items():
        page.put(0, str(name).replace("_", " "), bold=True)
        _sentence(page, str(sentence))
        page.next()
    page.next()


def _settings(page: Page, contents: Contents) -> None:
    page.section("Settings")
    entries: dict[str, Any] = {"as_of": contents.as_of, "currency": contents.currency, "range": contents.range_name}
    entries |= {name: value for name, value in contents.about["Settings"].items() if name not in TECHNICAL}
    words = {
        "as_of": "what was known on that day is known here",
        "currency": "of all money",
        "range": "equal-tailed",
    } | SETTING_WORDS
    _rows(page, entries, words)


def _entries(page: Page, title: str, entries: Mapping[str, Any]) -> None:
    page.section(title)
    _rows(page, entries, MADE_FROM_WORDS)


def _rows(page: Page, entries: Mapping[str, Any], words: Mapping[str, str]) -> None:
    for name, value in entries.items():
        page.put(0, name.replace("_", " "))
        if isinstance(value, Mapping):
            value = ", ".join(f"{key}={inner}" for key, inner in value.items() if inner is not None)
        if isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        if isinstance(value, str) and len(value) > WIDTHS[1] - 2.0:
            _sentence(page, value if name not in words else f"{value}   ({words[name]})")
        else:
            kind = (
                "percent"
                if name in PERCENTS
                else "date"
                if name == "as_of"
                else "count"
                if isinstance(value, int)
                else "text"
            )
            page.put(1, "none" if value is None else value, "text" if value is None else kind, align="left")
            page.put(2, words.get(name, ""), **QUIET)
        page.next()
    page.next()


def _names(page: Page) -> None:
    """What other workbooks can link to; each with a link to its value, which shows that it works."""
    page.section("Names to link to, as ='forecast.xlsx'!clv_next_quarter_mean")
    page.heads(("name", "now", "meaning"), height=None, align="left")
    for named in page.book.names:
        _name(page, named)
    page.next()


def _name(page: Page, named: Named) -> None:
    page.put(0, named.name)
    if named.value is None:
        page.put(1, named.place.replace("$", ""), **QUIET)
    elif named.kind == "text":
        page.formula(1, f"={named.name}", named.value, "text")
    else:
        page.formula(1, f"={named.name}", named.value, named.kind, align="left")
    page.put(2, named.meaning, **WRAP)
    page.next()
