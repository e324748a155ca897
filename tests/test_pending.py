"""Recurring revenue whose renewal is open: the sentence that workbook and page have of it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

import clvforecast as clv
from clvforecast.forecast import Forecast, forecast
from clvforecast.report.pending import pending_words
from test_scenarios import fresh, plain


def ended(days_ago: int, pending: str = "in_force", n: int = 3, **options: object) -> Forecast:
    """Of five accounts some have contracts of $12,000 that ended so many days ago."""
    as_of = dt.date(2024, 12, 31)
    start = pd.Timestamp(as_of) - pd.DateOffset(months=12) - pd.Timedelta(days=days_ago - 1)
    later = pd.Timestamp("2024-06-01")
    events = pd.DataFrame(
        {"account_id": [f"A{i}" for i in range(5)], "event_date": [start] * n + [later] * (5 - n), "kind": "initial"}
    )
    ledger = clv.read_ledger(events.assign(amount=12_000.0, term_months=12, currency="USD", segment="S1"), as_of=as_of)
    return forecast(plain(renewal_mu=0.5), ledger, 12, draws=20, bridge=True, pending=pending, **options)


def test_it_says_how_much_and_of_how_many() -> None:
    assert pending_words(ended(5)) == (
        "Of the ARR on 2024-12-31, USD thousand 36.0 is of 3 contracts that have ended and whose renewal is open. What of it is "
        "not renewed leaves in the first period of the forecast."
    )
    assert "12.0 is of 1 contract that has ended" in pending_words(ended(5, n=1))
    lapsed = pending_words(ended(5, "lapsed"))
    assert lapsed.startswith("Not in the ARR on 2024-12-31: USD thousand 36.0 of 3 contracts")


def test_it_says_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    assert pending_words(ended(5, n=0)) == ""
    assert pending_words(forecast(plain(renewal_mu=0.5), fresh(2), 12, draws=20)) == ""
    ended(5).save(tmp_path / "one.clv")
    assert pending_words(clv.load_forecast(tmp_path / "one.clv")) == "", "the ledger is not saved with a forecast"


def test_workbook_and_page_have_it(tmp_path: Path) -> None:
    one = ended(5)
    clv.write_workbook(one, tmp_path / "one.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "one.xlsx")["Bridge"]
    head = " ".join(str(row[0].value) for row in sheet.iter_rows(max_row=12) if row[0].value)
    assert pending_words(one) in head
    clv.write_page(one, tmp_path / "one.html")
    assert pending_words(one) in (tmp_path / "one.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("pending", ["in_force", "lapsed"])
def test_past_periods_are_told_with_what_is_known_now(pending: str) -> None:
    """A term until May that is renewed, which is booked in August: the end of June has it once that is known, without a gap."""
    terms = pd.DataFrame({"event_date": ["2023-06-01", "2024-08-01"], "start_date": ["2023-06-01", "2024-06-01"]})
    terms = terms.assign(account_id="A", kind=["initial", "renewal"], amount=12_000.0, term_months=12)
    ledger = clv.read_ledger(terms.assign(currency="USD", segment="S1"), as_of="2024-12-31")

    def end_of_june(as_of: str) -> float:
        one = forecast(plain(renewal_mu=0.5), ledger.at(as_of), 6, draws=20, bridge=True, pending=pending)
        bridge = one.bridge("quarter", history=3).set_index(["line", "period"])["mean"]
        return float(bridge["end", pd.Timestamp("2024-06-30")])

    assert end_of_june("2024-06-30") == (12_000.0 if pending == "in_force" else 0.0)
    assert end_of_june("2024-12-31") == 12_000.0
