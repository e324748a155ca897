"""Every sample of real data loads by a format or a short mapping, and every row of it is accounted for."""

from __future__ import annotations

import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clvforecast.adapters import read_export
from clvforecast.errors import LedgerError
from clvforecast.ledger import Ledger

SHARED = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the folder ../shared/data is not here")


@dataclass(frozen=True)
class Sample:
    """An export, how it is read, and what becomes of it: rows used, rejects by rule, and money of accepted events."""

    files: str | tuple[str, ...]
    mapping: dict[str, Any] | None
    as_of: str | None
    used: int
    rejects: dict[str, int]
    money: str


RAVENSTACK = {
    "shape": "periods",
    "currency": "USD",
    "months": {"monthly": 1, "annual": 12},
    "columns": {
        "event_id": "subscription_id", "account_id": "account_id", "contract_id": "subscription_id", "start_date": "start_date",
        "end_date": "end_date", "monthly_amount": "mrr_amount", "term_months": "billing_frequency",
    },
}  # fmt: skip
MAVEN = {
    "shape": "bookings",
    "currency": "USD",
    "term_months": 12,
    "dates": "%d-%m-%Y",
    "keep": {"deal_stage": ["Won"]},
    "columns": {
        "event_id": "opportunity_id",
        "account_id": "account",
        "event_date": "close_date",
        "amount": "close_value",
    },
}
ACT = {
    "shape": "bookings",
    "currency": "AUD",
    "ends": "last day",
    "columns": {
        "event_id": "contract_number", "account_id": "suppliers", "contract_id": "contract_number",
        "event_date": "execution_date", "end_date": "expiry_date", "amount": "amount",
    },
    "segments": ["directorate"],
}  # fmt: skip
COMMODITIES = {
    "shape": "bookings",
    "currency": "USD",
    "dates": "%Y%m%d",
    "ends": "last day",
    "prefix": "$",
    "thousands": ",",
    "columns": {
        "event_id": "Contract_Number", "account_id": "Vendor_Name", "contract_id": "Bid_Number", "event_date": "Start_Date",
        "end_date": "End_Date", "amount": "Contract_Amount",
    },
}  # fmt: skip
RETAIL = {
    "shape": "bookings",
    "currency": "GBP",
    "term_months": 1,
    "rest": "change_order",  # one-off purchases
    "columns": {"account_id": "CustomerID", "event_date": "InvoiceDate", "amount": "UnitPrice", "quantity": "Quantity"},
}
TYPES = {
    "+Gkf6SQ2fhAONAiFelNKVw==": "term",
    "dSJC2EuRkC62f+UuBPQeVg==": "term",
    "9Q0PuStPWLYgxG/8kpvo5g==": "expansion",
}
SALESFORCE = {
    "format": "salesforce",
    "kinds": TYPES,
    "amounts": "difference",
    "currency": "USD",
    "term_months": 12,
    "keep": {"deleted": ["true"]},  # every row of the sample is one of the bin
}
SAMPLES = {
    "ravenstack": Sample(
        "ravenstack/ravenstack_subscriptions.csv", RAVENSTACK, "2024-12-31", 4209,
        {"no_price": 778, "nothing_served": 13}, "106026396.00",
    ),
    "mrr_playbook": Sample("mrr_playbook/subscription_periods.csv", None, "2020-06-30", 121, {}, "17145.00"),
    "maven_crm": Sample("maven_crm/sales_pipeline.csv", MAVEN, None, 4238, {"not_revenue": 4562}, "10005534.00"),
    "act_contracts": Sample(
        "act_contracts/act_contracts_2025.csv", ACT, None, 1161, {"no_price": 133, "duplicate_id": 2}, "1637017535.61"
    ),
    "phl_commodities": Sample(
        "phl_commodities/FY*.csv", COMMODITIES, None, 1077,
        {
            "duplicate_id": 6002, "missing_term": 661, "term_too_short": 13, "no_price": 8, "not_utf8": 4, "end_before_start": 3,
        },
        "2055654736.36",
    ),
    "recurly": Sample(
        ("recurly/subscription_history_data.csv", "recurly/plan_history_data.csv"), None, "2022-08-31", 3,
        {"nothing_served": 2}, "518245.00",
    ),
    "salesforce": Sample(
        "salesforce/sf_opportunity_data.csv", SALESFORCE, None, 1, {"not_revenue": 5, "missing_amount": 4}, "24120000.00"
    ),
}  # fmt: skip


def paths(sample: Sample) -> list[Path]:
    return [SHARED / name for name in ([sample.files] if isinstance(sample.files, str) else sample.files)]


def accounted(ledger: Ledger) -> tuple[int, dict[str, int], str]:
    """Rows of the export that make events, rejects by rule, money of accepted events; every difference is zero."""
    table = ledger.reconciliation()
    off = table[table["part"] == "difference"][["rows", "rows_with_amount", "amount_cents"]]
    assert (off == 0).all(axis=None)
    aside = len(ledger.rejected_rows.group_by(["source", "row"]).aggregate([]))
    assert ledger.rejected["raw"].notna().all() and ledger.rejected["line"].notna().all()
    money = table[(table["part"] == "accepted") & (table["currency"] == ledger.currency)]["amount_cents"].item()
    return ledger.read.export_rows - aside, dict(Counter(ledger.rejected["rule"])), f"{money / 100:.2f}"


@pytest.mark.parametrize("name", SAMPLES)
def test_every_row_of_a_sample_is_accounted_for(name: str) -> None:
    sample = SAMPLES[name]
    ledger = read_export(
        paths(sample), sample.mapping, as_of=sample.as_of, currency="USD" if sample.mapping is None else None
    )
    assert accounted(ledger) == (sample.used, sample.rejects, sample.money)


def test_stripe_s_sample_holds_no_row_that_can_be_used() -> None:
    files = [SHARED / "stripe" / f"{name}_data.csv" for name in ("subscription_item", "subscription", "plan")]
    with pytest.raises(LedgerError, match="none of 14 rows can be used") as caught:
        read_export(files, as_of="2021-06-30")
    assert caught.value.rejected is not None
    assert Counter(caught.value.rejected["rule"].to_pylist()) == {"missing_account": 12, "not_revenue": 2}


def test_half_a_million_one_off_purchases_add_up(tmp_path: Path) -> None:
    """UCI Online Retail: 541,909 rows of 9,747,747.93 pounds, as published with the data."""
    with tarfile.open(SHARED / "online_retail" / "by-day.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    ledger = read_export(tmp_path / "by-day" / "*.csv", RETAIL)
    used, rejects, _ = accounted(ledger)
    assert ledger.read.export_rows == 541_909 and sum(rejects.values()) == 541_909 - used
    assert rejects["missing_account"] == 135_080
    assert ledger.read.money("GBP").amount_cents == 974_774_793
