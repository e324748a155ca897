"""The sheet of the track record: earlier forecasts beside what then happened."""

from __future__ import annotations

from clvforecast.report.workbook.contents import TrackRecord
from clvforecast.report.workbook.page import Page

SHEET = "Track record"
WIDTHS = (24.0, 11.0, 15.0, 15.0, 15.0, 15.0, 15.0, 15.0, 15.0)
ENDS = ("lower_80", "upper_80", "lower_95", "upper_95")


def write_track_record(page: Page, record: TrackRecord) -> None:
    """Totals of the portfolio from each earlier day, and how often accounts' ranges held."""
    page.set_columns(WIDTHS)
    page.head(
        "Track record: forecasts from earlier days",
        f"Money {page.book.shown_in}. Each was made with what was known on its day, and is compared with what then happened.",
    )
    page.sheet.freeze_panes(page.row, 1)
    _totals(page, record)
    _coverage(page, record)
    for note in record.notes:
        page.say(note)
    page.printed()


def _totals(page: Page, record: TrackRecord) -> None:
    page.section("Revenue of all accounts")
    page.heads(
        ("forecast from", "months", "happened", "mean", "median", "80%: low", "80%: high", "95%: low", "95%: high"),
        height=20.0,
    )
    for row in record.totals.to_dict("records"):
        page.put(0, row["origin"], "date", align="left")
        page.put(1, row["window_months"], "count")
        for column, name in enumerate(("actual", "mean", "median", *ENDS), start=2):
            page.put(column, row.get(name), "money", **({"bold": True} if name == "actual" else {}))
        page.next()
    page.next()


def _coverage(page: Page, record: TrackRecord) -> None:
    page.section("Accounts inside their ranges: held is to be near promised")
    page.heads(("months ahead", "promised", "held", "held: low 2.5%", "held: high 97.5%", "accounts"), height=30.0)
    for row in record.coverage.itertuples():
        page.put(0, row.window_months, "count", align="left")
        for column, value in enumerate((row.promised, row.held, row.lower, row.upper), start=1):
            page.put(column, value, "percent")
        page.put(5, row.accounts, "count")
        page.next()
    page.next()
