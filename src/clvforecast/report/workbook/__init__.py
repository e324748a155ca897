"""A forecast as an Excel workbook: figures with ranges, native charts, and formulas that show how they add up."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from clvforecast.durable import put_in_place
from clvforecast.errors import ForecastFileError
from clvforecast.forecast import Forecast
from clvforecast.report.units import money_unit
from clvforecast.report.workbook import (
    accounts,
    assumptions,
    bridge,
    quality,
    scenarios,
    segments,
    summary,
    track_record,
)
from clvforecast.report.workbook import plans as plan_sheet
from clvforecast.report.workbook.contents import Contents
from clvforecast.report.workbook.gather import contents_of
from clvforecast.report.workbook.page import DARK, FONT, GREY, Book, Page

if TYPE_CHECKING:
    from clvforecast.backtest import Backtest
    from clvforecast.plans import Plans

ROWS_IN_MEMORY = 50_000
"""Accounts beyond which rows go to the disk as they are written, and texts beside their cells instead of into one table."""

ORDER = (
    summary.SHEET,
    bridge.SHEET,
    segments.SHEET,
    accounts.SHEET,
    plan_sheet.SHEET,
    scenarios.SHEET,
    track_record.SHEET,
    assumptions.SHEET,
    quality.SHEET,
)


def write_workbook(
    forecast: Forecast,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    comparison: Any = None,
    backtest: Backtest | None = None,
    plan_table: pd.DataFrame | None = None,
    plans: Plans | None = None,
    ci_prob: float = 0.9,
    freq: str = "quarter",
    max_accounts: int | None = None,
) -> None:
    """Write a forecast as an Excel workbook for finance, complete or not at all.

    Sheets: Summary, Bridge (ARR, where the forecast has it), Segments, Accounts, Plans and Scenarios (where given), Track
    record (of a backtest), Assumptions, Data quality.  Means add up, by formulas that can be followed, and cells that are 0.00
    show that they do; ranges come from the simulation and are values.  Names such as ``clv_next_quarter_mean``, listed on the
    sheet Assumptions, can be linked to.  Texts are never run as formulas.  The same forecast makes the same bytes.

    Parameters
    ----------
    forecast
        From `forecast`, or loaded with its ledger; without it there is no history, no bridge and no data quality, and the
        workbook says so.
    path
        The .xlsx to write; a file that is there is replaced.
    title
        On the first sheet, in the headers of printed pages, and in the file's properties.
    comparison
        From `compare`: a sheet of scenarios.
    backtest
        From `backtest`: how earlier forecasts did.
    plan_table
        From `PlanValue.steps`: one row a planned step; when not given, the steps that the forecast was made with.
    plans
        From `read_plans`: its rejected rows and warnings stand on the sheet of data quality.
    ci_prob
        Probability of the ranges; one of the forecast's ``ci_probs``.
    freq
        "month", "quarter" or "year" of the forecast's calendar, or a pandas period end as "QE-JUN".
    max_accounts
        Show so many of the largest accounts and the others as one row; all where not given.

    Raises
    ------
    ForecastError
        For a `ci_prob` or `freq` that the forecast does not have, more accounts than a sheet has room for, or a comparison from
        another day or over another window.
    ForecastFileError
        When the file cannot be written.

    Examples
    --------
    >>> import clvforecast as clv
    >>> clv.write_workbook(forecast, "forecast.xlsx", title="FY27 outlook")  # doctest: +SKIP
    """
    contents = contents_of(
        forecast,
        title=title,
        comparison=comparison,
        backtest=backtest,
        plan_table=plan_table,
        plans=plans,
        ci_prob=ci_prob,
        freq=freq,
    )
    write_contents(contents, Path(path), max_accounts)


def write_contents(contents: Contents, path: Path, max_accounts: int | None = None) -> None:
    """The workbook of tables that were already taken from a forecast. Raises as `write_workbook` does."""
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import FileCreateError

    shown = accounts.shown_accounts(contents, max_accounts)
    try:
        with put_in_place(path) as temporary:
            with Workbook(str(temporary), _options(len(shown))) as workbook:
                _write(workbook, contents, shown)
    except (OSError, FileCreateError) as error:
        raise ForecastFileError(
            f"{path}: cannot write the workbook there ({getattr(error, 'strerror', None) or error}). What was there before is "
            "still there. Give a path in an existing folder that you may write to, with space left, and close it in Excel."
        ) from error


def _options(n_accounts: int) -> dict[str, Any]:
    return {
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "constant_memory": n_accounts > ROWS_IN_MEMORY,
        "default_format_properties": FONT,
    }


def _write(workbook: Any, contents: Contents, shown: pd.DataFrame) -> None:
    """Sheets stand in the order in which a reader asks; the first and the assumptions are written last, from all others."""
    workbook.set_properties(
        {
            "title": contents.title,
            "subject": f"Revenue forecast as of {contents.as_of}, {contents.currency}",
            "author": "clvforecast",
            "comments": f"{contents.range_name}s; ledger {contents.about.get('Made from (SHA-256)', {}).get('ledger', '')[:12]}",
            "created": datetime.combine(contents.as_of, time()),
        }
    )
    workbook.set_size(2400, 1500)
    unit = money_unit(float(contents.periods["upper"].max()))
    book = Book(workbook, contents.currency, unit, contents.title, contents.as_of)
    pages, writers = _pages(book, contents, shown)
    places = bridge.write_bridge(pages[bridge.SHEET], contents, contents.bridge) if bridge.SHEET in pages else None
    for name, write in writers.items():
        write(pages[name])
    layout = accounts.layout_of(contents, shown)
    summary.write_summary(pages[summary.SHEET], contents, layout, places)
    assumptions.write_assumptions(pages[assumptions.SHEET], contents)
    pages[summary.SHEET].sheet.activate()


def _pages(
    book: Book, contents: Contents, shown: pd.DataFrame
) -> tuple[dict[str, Page], dict[str, Callable[[Page], Any]]]:
    """All sheets in their order, and how those are written that need no other."""
    writers = _writers(contents, shown)
    there = {name: name in writers for name in (plan_sheet.SHEET, scenarios.SHEET, track_record.SHEET)}
    there[bridge.SHEET] = isinstance(contents.bridge, pd.DataFrame)
    names = [name for name in ORDER if there.get(name, True)]
    grey = (assumptions.SHEET, quality.SHEET)
    return {name: Page(book, name, GREY if name in grey else DARK) for name in names}, writers


def _writers(contents: Contents, shown: pd.DataFrame) -> dict[str, Callable[[Page], Any]]:
    """Name of a sheet -> what writes it; those that were not asked for are left out."""
    steps, compared, record = contents.plans, contents.scenarios, contents.track_record
    writers: dict[str, Callable[[Page], Any]] = {
        segments.SHEET: lambda page: segments.write_segments(page, contents),
        accounts.SHEET: lambda page: accounts.write_accounts_sheet(page, contents, shown),
        quality.SHEET: lambda page: quality.write_quality(page, contents.quality, contents.plan_rows),
    }
    if steps is not None:
        writers[plan_sheet.SHEET] = lambda page: plan_sheet.write_plans(page, contents, steps)
    if compared is not None:
        writers[scenarios.SHEET] = lambda page: scenarios.write_scenarios(page, contents, compared)
    if record is not None:
        writers[track_record.SHEET] = lambda page: track_record.write_track_record(page, record)
    return writers
