"""The sheet of data quality: where every row and cent that was read went."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from clvforecast.report.planned import PlanRows
from clvforecast.report.units import counted
from clvforecast.report.workbook.contents import Missing, Quality
from clvforecast.report.workbook.page import QUIET, Page

SHEET = "Data quality"
WIDTHS = (34.0, 12.0, 14.0, 20.0, 22.0, 18.0, 26.0, 60.0)
PARTS = {
    "read": "read",
    "accepted": "accepted: in the forecast",
    "later": "kept for later: booked after as_of",
    "rejected": "rejected: break a rule",
    "used": "used",
    "set aside": "set aside",
    "difference": "read less all of these",
}
NO_REJECTS = 6
"""Columns that are printed where no row was rejected."""
KINDS = ("text", "count", "count", *["text"] * 5)
NO_CURRENCY = "not readable"


def write_quality(page: Page, quality: Quality | Missing, plan_rows: PlanRows | None = None) -> None:
    """Rows and money read against those used, rejects by rule, the first of them, warnings; then those of plans."""
    some = (isinstance(quality, Quality) and len(quality.rejects)) or (plan_rows is not None and plan_rows.rejected)
    page.set_columns(WIDTHS[: None if some else NO_REJECTS])
    page.head("Data quality", "Every row that was read is accepted, kept for later or rejected, and so is every cent.")
    page.sheet.freeze_panes(page.row, 1)
    if isinstance(quality, Missing):
        page.say(quality.why)
    else:
        if len(quality.export):
            _reconciliation(page, "Rows of the export, with its own amounts", quality.export)
        _reconciliation(
            page, "Revenue events" + (" that they make" if len(quality.export) else ""), quality.reconciliation
        )
        _rejects(page, "Rejected, by rule", quality.rejects)
        _first_rejects(page, quality.first_rejects)
        _warnings(page, quality.warnings)
    if plan_rows is not None:
        read = plan_rows.accepted + plan_rows.rejected
        title = f"Plans: {counted(read, 'row')} read, {plan_rows.accepted:,} accepted, {plan_rows.rejected:,} rejected"
        _rejects(page, title, plan_rows.rejects)
        _first_rejects(page, plan_rows.first_rejects)
        said = [*plan_rows.warnings, *filter(None, [plan_rows.unused])]
        if said:
            page.say(*said)
            page.next()
    page.printed()


def _reconciliation(page: Page, title: str, table: pd.DataFrame) -> None:
    page.section(title)
    page.heads(("part", "currency", "rows", "rows with an amount", "amount"), ("text", "text"), height=None)
    for row in table.itertuples():
        last = row.part == "difference"
        look = {**QUIET, "bottom": 1} if last else {}
        page.put(0, PARTS.get(row.part, row.part), **look)
        page.put(1, NO_CURRENCY if pd.isna(row.currency) else row.currency, **look)
        page.put(2, row.rows, "count", **look)
        page.put(3, row.rows_with_amount, "count", **look)
        page.put(4, row.amount, "cents", **look)
        page.next()
    page.next()


def _rejects(page: Page, title: str, rejects: pd.DataFrame) -> None:
    page.section(title)
    if rejects.empty:
        page.say("No row was rejected.")
        page.next()
        return
    page.heads(
        ("rule", "rows", "first: row", "source", "column", "value", "", "what to do"), KINDS, height=None, indent=1
    )
    for row in rejects.itertuples():
        values = (row.rule, row.rows, row.row, row.source, row.column, row.value, None, row.hint)
        page.cells(values, KINDS, indent=1)
    page.next()


def _first_rejects(page: Page, rejects: pd.DataFrame) -> None:
    if rejects.empty:
        return
    page.section(f"The first {len(rejects):,} of them")
    columns: Sequence[str] = ("rule", "row", "line", "source", "account_id", "column", "value", "hint")
    page.heads(
        ("rule", "row", "line", "source", "account", "column", "value as it stands", "what to do"),
        KINDS,
        height=None,
        indent=1,
    )
    for values in rejects[list(columns)].itertuples(index=False):
        page.cells(values, KINDS, indent=1)
    page.next()


def _warnings(page: Page, warnings: Sequence[str]) -> None:
    page.section("Accepted, but worth a look")
    page.say(*(warnings or ("nothing",)))
    page.next()
