"""What the systems export becomes the events that were booked, told by its columns alone."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clvforecast.adapters import holds_events, read_export
from clvforecast.adapters.format import words
from clvforecast.adapters.formats import FORMATS
from clvforecast.adapters.mapping import KNOWN
from clvforecast.adapters.sources import recognised
from clvforecast.datasets import export_samples
from clvforecast.errors import LedgerError
from clvforecast.ledger import Ledger
from clvforecast.synthetic.exports import exports


def table(text: str) -> pd.DataFrame:
    """A table of texts, columns apart by | and blanks."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return pd.read_csv(io.StringIO("\n".join(lines)), sep=r"\s*\|\s*", engine="python", dtype=str)


def events(ledger: Ledger) -> list[tuple[Any, ...]]:
    """account, kind, day of booking, first day, amount, months."""
    return [
        (
            row["account_id"],
            row["kind"],
            str(row["event_date"]),
            str(row["start_date"]),
            _money(row["amount_cents"]),
            row["term_months"],
        )
        for row in ledger.events.to_pylist()
    ]


def _money(cents: int | None) -> float | None:
    return None if cents is None else cents / 100


def rejects(ledger: Ledger) -> list[tuple[int, str, str]]:
    return [(row["row"], row["column"], row["rule"]) for row in ledger.rejected_rows.to_pylist()]


def assert_accounted(ledger: Ledger) -> None:
    last = ledger.reconciliation().iloc[-1]
    assert (last["rows"], last["rows_with_amount"], last["amount_cents"]) == (0, 0, 0)


# --- each system ----------------------------------------------------------------------------------------------------


def test_chartmogul_movements_hold_until_the_next_one() -> None:
    export = table(
        """
        DATE       | CUSTOMER_NAME | MRR_MOVEMENT | MRR  | MOVEMENT_TYPE | CURRENCY_CODE | CUSTOMER_EXTERNAL_ID | SUBSCRIPTION_EXTERNAL_ID | UUID
        2024-01-01 | Ada           | 5000         | 5000 | new_biz       | USD           | a                    | s1                       | 1
        2024-02-01 | Ada           | 2500         | 7500 | expansion     | USD           | a                    | s1                       | 2
        2024-03-01 | Ada           | -7500        | 0    | churn         | USD           | a                    | s1                       | 3
        """
    )
    ledger = read_export(export, as_of="2024-04-30")
    assert events(ledger) == [
        ("a", "initial", "2024-01-01", "2024-01-01", 50.0, 1),
        ("a", "renewal", "2024-02-01", "2024-02-01", 75.0, 1),
        ("a", "churn", "2024-03-01", "2024-03-01", None, None),
    ]
    yearly = read_export(export, {"format": "chartmogul", "term_months": 12}, as_of="2024-04-30")
    assert [event[1] for event in events(yearly)] == ["initial", "expansion", "churn"]
    # monthly change x months left of the term: 25 for 335 of its 366 days
    assert events(yearly)[1][4] == round(12 * 25 * 335 / 366, 2)


def test_chartmogul_import_takes_customers_and_days_from_invoices() -> None:
    items = table(
        """
        Invoice external ID | External ID | Subscription external ID | Type         | Amount in cents | Plan | Service period start | Service period end | Quantity | Proration | Discount amount | Tax amount
        i1                  | l1          | s1                       | subscription | 122000          | p    | 2024-01-01           | 2025-01-01         | 1        | false     | 0               | 2000
        i2                  | l2          | s1                       | subscription | 30000           | p    | 2024-07-01           | 2025-01-01         | 1        | true      | 0               | 0
        i2                  | l3          |                          | one_time     | 5000            |      |                      |                    | 1        | false     | 0               | 0
        i3                  | l4          | s1                       | subscription | 120000          | p    | 2025-01-01           | 2026-01-01         | 1        | false     | 0               | 0
        i9                  | l5          | s1                       | subscription | 120000          | p    | 2025-01-01           | 2026-01-01         | 1        | false     | 0               | 0
        """
    )
    invoices = table(
        """
        Customer external ID | Invoice external ID | Invoiced date | Due date   | Currency
        a                    | i1                  | 2023-12-20    | 2024-01-20 | EUR
        a                    | i2                  | 2024-07-01    | 2024-08-01 | EUR
        a                    | i3                  | 2025-01-02    | 2025-02-01 | EUR
        """
    )
    ledger = read_export({"items": items, "invoices": invoices})
    assert events(ledger) == [
        ("a", "initial", "2023-12-20", "2024-01-01", 1200.0, 12),
        ("a", "expansion", "2024-07-01", "2024-07-01", 300.0, None),
        ("a", "change_order", "2024-07-01", "2024-07-01", 50.0, None),
        ("a", "renewal", "2025-01-02", "2025-01-01", 1200.0, 12),
    ]
    assert rejects(ledger) == [(5, "Customer external ID", "missing_account")]
    assert_accounted(ledger)


SUBSCRIPTIONS = """
    id | Customer ID | Status   | Amount | Interval | Created (UTC)    | Start (UTC)      | Current Period Start (UTC) | Current Period End (UTC) | Canceled At (UTC) | Ended At (UTC)   | Trial Start (UTC) | Trial End (UTC)
    s1 | a           | active   | 20.00  | month    | 2024-01-01 10:00 | 2024-01-01 10:00 | 2024-03-01 10:00           | 2024-04-01 10:00         |                   |                  |                   |
    s2 | b           | canceled | 240    | year     | 2024-01-01 10:00 | 2024-01-01 10:00 | 2024-01-01 10:00           | 2025-01-01 10:00         | 2024-02-10 09:00  | 2024-02-15 10:00 |                   |
    s3 | c           | trialing | 20.00  | month    | 2024-03-10 10:00 | 2024-03-10 10:00 | 2024-03-10 10:00           | 2024-04-10 10:00         |                   |                  | 2024-03-10 10:00  | 2024-04-10 10:00
    s4 | d           | past_due | 30     | month    | 2024-02-01 10:00 | 2024-02-01 10:00 | 2024-03-15 10:00           | 2024-04-15 10:00         |                   |                  | 2024-02-01 10:00  | 2024-02-15 10:00
    s5 | e           | unpaid   | 30     | month    | 2024-01-01 10:00 | 2024-01-01 10:00 | 2024-02-01 10:00           | 2024-03-01 10:00         |                   |                  |                   |
    s6 | f           | active   | 7      | week     | 2024-01-01 10:00 | 2024-01-01 10:00 | 2024-02-01 10:00           | 2024-03-01 10:00         |                   |                  |                   |
"""


def test_stripe_counts_what_is_paid_without_trials_and_unpaid_time() -> None:
    ledger = read_export(table(SUBSCRIPTIONS), {"format": "stripe", "currency": "USD"}, as_of="2024-03-31")
    assert events(ledger) == [
        ("a", "initial", "2024-01-01", "2024-01-01", 20.0, 1),
        ("a", "renewal", "2024-02-01", "2024-02-01", 20.0, 1),
        ("a", "renewal", "2024-03-01", "2024-03-01", 20.0, 1),
        ("b", "initial", "2024-01-01", "2024-01-01", 240.0, 12),
        ("b", "churn", "2024-02-15", "2024-02-15", None, None),
        ("d", "initial", "2024-02-15", "2024-02-15", 30.0, 1),
        ("d", "renewal", "2024-03-15", "2024-03-15", 30.0, 1),
        ("e", "initial", "2024-01-01", "2024-01-01", 30.0, 1),
        ("e", "churn", "2024-02-01", "2024-02-01", None, None),
    ]
    assert rejects(ledger) == [(3, "Status", "not_revenue"), (6, "Interval", "unknown_interval")]
    assert_accounted(ledger)
    renamed = table(SUBSCRIPTIONS).rename(columns={"Start (UTC)": "start date (utc)"})
    assert events(read_export(renamed, currency="USD", as_of="2024-03-31")) == events(ledger)


def test_stripe_invoices_are_terms_that_subscriptions_end() -> None:
    invoices = table(
        """
        id | Customer | Subscription | Number | Status | Amount Due | Amount Paid | Date (UTC)       | Paid At (UTC)    | Minimum Line Item Period Start (UTC) | Maximum Line Item Period End (UTC) | Currency
        i1 | a        | s1           | 1      | paid   | 20.00      | 20.00       | 2024-01-01 10:00 | 2024-01-02 10:00 | 2024-01-01 10:00                     | 2024-02-01 10:00                   | usd
        i2 | a        | s1           | 2      | paid   | 25.00      | 25.00       | 2024-02-01 10:00 | 2024-02-02 10:00 | 2024-02-01 10:00                     | 2024-03-01 10:00                   | usd
        i3 | b        | s2           | 3      | paid   | 240.00     | 240.00      | 2024-01-01 10:00 | 2024-01-02 10:00 | 2024-01-01 10:00                     | 2025-01-01 10:00                   | usd
        i4 | a        | s1           | 4      | open   | 25.00      | 0.00        | 2024-03-01 10:00 |                  | 2024-03-01 10:00                     | 2024-04-01 10:00                   | usd
        i5 | b        |              | 5      | paid   | 90.00      | 90.00       | 2024-01-20 10:00 | 2024-01-20 10:00 |                                      |                                    | usd
        """
    )
    ledger = read_export({"invoices": invoices, "subscriptions": table(SUBSCRIPTIONS)}, as_of="2024-03-31")
    assert events(ledger) == [
        ("a", "initial", "2024-01-01", "2024-01-01", 20.0, 1),
        ("a", "renewal", "2024-02-01", "2024-02-01", 25.0, 1),
        ("b", "initial", "2024-01-01", "2024-01-01", 240.0, 12),
        ("b", "change_order", "2024-01-20", "2024-01-20", 90.0, None),
        ("b", "churn", "2024-02-15", "2024-02-15", 0.0, None),  # what was paid stays
    ]
    assert ledger.read.export_rows == 11
    assert rejects(ledger)[0] == (4, "Status", "not_revenue")
    # e's subscription ended without an invoice
    assert (5, "missing_currency") in [(row, rule) for row, _, rule in rejects(ledger)]
    assert_accounted(ledger)


def test_stripe_tables_price_items_by_their_plans_in_the_smallest_unit() -> None:
    items = table(
        "id | subscription_id | plan_id | quantity\n i1 | s1 | p1 | 3\n i2 | s2 | p2 | 1\n i3 | s9 | p1 | 1\n i4 | s1 | p3 | x"
    )
    subscriptions = table(
        """
        id | customer_id | status | start_date          | ended_at            | trial_end | canceled_at | current_period_start
        s1 | a           | active | 2024-01-01 10:00:00 |                     |           |             | 2024-01-01 10:00:00
        s2 | b           | active | 2024-01-01 10:00:00 | 2024-04-01 10:00:00 |           |             | 2024-01-01 10:00:00
        """
    )
    plans = table(
        "id | amount | currency | interval | interval_count\n p1 | 1050 | jpy | month | 3\n p2 | 1050 | jpy | year | 1\n p3 | 5 | jpy | month | 1"
    )
    ledger = read_export({"items": items, "subscriptions": subscriptions, "plans": plans}, as_of="2024-03-31")
    assert events(ledger) == [
        ("a", "initial", "2024-01-01", "2024-01-01", 3150.0, 3),
        ("b", "initial", "2024-01-01", "2024-01-01", 1050.0, 12),
    ]
    assert rejects(ledger) == [(3, "customer_id", "missing_account"), (4, "amount, quantity", "unreadable_amount")]
    euros = read_export(
        {"items": items, "subscriptions": subscriptions, "plans": plans.assign(currency="eur")}, as_of="2024-03-31"
    )
    assert [event[4] for event in events(euros)] == [31.5, 10.5]


OPPORTUNITIES = """
    Id | AccountId | Type       | StageName  | Amount | CloseDate                    | IsWon | IsClosed | ContractId | CurrencyIsoCode
    o1 | a         | New        | Closed Won | 12000  | 2023-12-20T23:30:00.000+0000 | true  | true     | c1         | USD
    o2 | a         | Upgrade    | Closed Won | 15000  | 2024-06-30T10:00:00.000+0000 | true  | true     | c1         | USD
    o3 | a         | Upgrade    | Closed Won | 14000  | 2024-09-30T10:00:00.000+0000 | true  | true     | c1         | USD
    o4 | a         | Renewal    | Closed Won | 14000  | 2024-12-15T10:00:00.000+0000 | true  | true     | c2         | USD
    o5 | b         | New        | Lost       | 9000   | 2024-01-15T10:00:00.000+0000 | false | true     |            | USD
    o6 | b         | Consulting | Closed Won | 9000   | 2024-02-15T10:00:00.000+0000 | true  | true     |            | USD
"""
CONTRACTS = """
    Id | AccountId | ContractTerm | StartDate  | EndDate    | Status
    c1 | a         | 12           | 2024-01-01 | 2024-12-31 | Activated
    c2 | a         |              | 2025-01-01 | 2025-12-31 | Activated
"""
TYPES = {"new": "term", "Renewal": "term", "Upgrade": "expansion", "Consulting": "change_order"}


def test_salesforce_asks_what_types_and_amounts_are() -> None:
    export = {"opportunities": table(OPPORTUNITIES), "contracts": table(CONTRACTS)}
    with pytest.raises(LedgerError, match=r"only you can say kinds .*amounts .*'New' \(2 rows\), 'Upgrade' \(2 rows\)"):
        read_export(export)
    with pytest.raises(LedgerError, match="only you can say amounts"):
        read_export(export, {"format": "salesforce", "kinds": TYPES})


def test_salesforce_totals_count_as_what_they_add() -> None:
    export = {"opportunities": table(OPPORTUNITIES), "contracts": table(CONTRACTS)}
    ledger = read_export(export, {"format": "salesforce", "kinds": TYPES, "amounts": "total"})
    assert events(ledger) == [
        ("a", "initial", "2023-12-20", "2024-01-01", 12000.0, 12),
        ("a", "expansion", "2024-06-30", "2024-06-30", 3000.0, None),
        ("a", "contraction", "2024-09-30", "2024-09-30", -1000.0, None),
        ("a", "renewal", "2024-12-15", "2025-01-01", 14000.0, 12),
    ]
    assert rejects(ledger) == [(5, "IsWon", "not_revenue"), (6, "AccountId", "no_term")]
    berlin = read_export(
        export, {"format": "salesforce", "kinds": TYPES, "amounts": "difference", "time_zone": "Europe/Berlin"}
    )
    assert events(berlin)[:2] == [
        ("a", "initial", "2023-12-21", "2024-01-01", 12000.0, 12),
        ("a", "expansion", "2024-06-30", "2024-06-30", 15000.0, None),
    ]


def test_hubspot_line_items_are_terms_or_one_off() -> None:
    deals = table(
        """
        Record ID | Deal Name | Amount | Close Date       | Is Closed Won | Associated Company ID | Deal Type   | Currency
        d1        | first     | 1300   | 2024-01-10 10:00 | true          | a                     | newbusiness | EUR
        d2        | second    | 1300   | 2024-02-10 10:00 | false         | b                     | newbusiness | EUR
        d3        | third     | 1300   | 2025-01-10 10:00 | true          | a                     | existingbusiness | EUR
        """
    )
    items = table(
        """
        Record ID | Associated Deal ID | name    | Net price | Unit price | Billing frequency | Term (months) | Term | Billing start date
        l1        | d1                 | seats   | 100       | 10         | monthly           |               | P12M | 2024-02-01
        l2        | d1                 | set-up  | 100       | 100        |                   |               |      |
        l3        | d2                 | seats   | 1200      | 100        | monthly           | 12            |      | 2024-03-01
        l4        | d3                 | seats   | 650       | 100        | per_six_months    | 12            |      | 2025-02-01
        l5        | d3                 | support | 30        | 30         | quarterly         |               |      | 2025-02-01
        l6        | d3                 | support | 30        | 30         | now and then      | 12            |      | 2025-02-01
        """
    )
    ledger = read_export({"items": items, "deals": deals})
    assert sorted(events(ledger), key=lambda event: event[3]) == [
        ("a", "initial", "2024-01-10", "2024-02-01", 1200.0, 12),
        ("a", "renewal", "2025-01-10", "2025-02-01", 1300.0, 12),
        ("a", "initial", "2025-01-10", "2025-02-01", 30.0, 3),  # without a term it runs from period to period
    ]
    assert rejects(ledger) == [
        (3, "Is Closed Won", "not_revenue"),
        (6, "Billing frequency, Net price, Term (months), Term", "unreadable_amount"),
        (2, "Associated Company ID", "no_term"),
    ]
    alone = read_export(deals, {"format": "hubspot_deals", "term_months": 12})
    assert [event[:5] for event in events(alone)] == [
        ("a", "initial", "2024-01-10", "2024-01-10", 1300.0),
        ("a", "renewal", "2025-01-10", "2025-01-10", 1300.0),
    ]


def test_maxio_ends_are_last_days() -> None:
    transactions = table(
        """
        id | contract | item | order_date | start_date | end_date   | home_amount | quantity | cancelled
        t1 | c1       | gold | 2023-12-01 | 2024-01-01 | 2024-12-31 | 1200        | 1        | false
        t2 | c1       | gold | 2024-12-01 | 2025-01-01 | 2027-12-31 | 3600        | 1        | false
        t3 | c1       | gold | 2024-12-02 | 2025-01-01 | 2025-12-31 | 1200        | 1        | true
        """
    )
    contracts = table("id | customer\n c1 | a")
    ledger = read_export({"transactions": transactions, "contracts": contracts}, currency="USD")
    assert events(ledger) == [
        ("a", "initial", "2023-12-01", "2024-01-01", 1200.0, 12),
        ("a", "renewal", "2024-12-01", "2025-01-01", 3600.0, 36),
    ]
    assert rejects(ledger) == [(3, "cancelled", "not_revenue")]
    with pytest.raises(LedgerError, match="account_id in another table.*contracts"):
        read_export({"transactions": transactions}, currency="USD")


def test_chargebee_changes_are_movements() -> None:
    export = table(
        """
        subscription_id | customer_id | mrr  | mrr_previous | mrr_change | record_start_at | currency_code
        s1              | a           | 5000 | 0            | 5000       | 2024-01-01      | USD
        s1              | a           | 0    | 5000         | -5000      | 2024-03-01      | USD
        """
    )
    assert [event[:3] for event in events(read_export(export, as_of="2024-03-31"))] == [
        ("a", "initial", "2024-01-01"),
        ("a", "renewal", "2024-02-01"),
        ("a", "churn", "2024-03-01"),
    ]


def test_recurly_versions_hold_until_the_next_one() -> None:
    versions = table(
        """
        id | account_id | plan_id | state    | activated_at        | expires_at          | updated_at          | trial_ends_at       | currency | subtotal
        s1 | a          | p1      | active   | 2024-01-01 09:00:00 |                     | 2024-03-01 12:00:00 |                     | USD      | 75.0
        s1 | a          | p1      | active   | 2024-01-01 09:00:00 |                     | 2024-01-01 09:00:00 |                     | USD      | 50.0
        s2 | b          | p2      | canceled | 2024-01-01 09:00:00 | 2024-07-15 09:00:00 | 2024-03-01 09:00:00 | 2024-01-15 09:00:00 | USD      | 99.0
        """
    )
    plans = table("id | interval_unit | interval_length\n p1 | months | 1\n p2 | months | 6")
    ledger = read_export({"subscriptions": versions, "plans": plans}, as_of="2024-04-15")
    assert [(event[0], event[1], event[2], event[4], event[5]) for event in events(ledger)] == [
        ("a", "initial", "2024-01-01", 50.0, 1),
        ("a", "renewal", "2024-02-01", 50.0, 1),
        ("a", "renewal", "2024-03-01", 75.0, 1),
        ("a", "renewal", "2024-04-01", 75.0, 1),
        ("b", "initial", "2024-01-15", 99.0, 6),
    ]


def test_zuora_counts_the_last_versions_of_subscriptions() -> None:
    export = table(
        """
        Account.AccountNumber | Subscription.Name | Subscription.Status | RatePlanCharge.ChargeNumber | RatePlanCharge.MRR | RatePlanCharge.EffectiveStartDate | RatePlanCharge.EffectiveEndDate | Subscription.CurrentTerm | Account.Currency | RatePlanCharge.ChargeType
        A1                    | S1                | Expired             | C1                          | 100                | 2024-01-01                        | 2025-01-01                      | 12                       | USD              | Recurring
        A1                    | S1                | Active              | C1                          | 100                | 2024-01-01                        | 2024-07-01                      | 12                       | USD              | Recurring
        A1                    | S1                | Active              | C1                          | 150                | 2024-07-01                        | 2025-01-01                      | 12                       | USD              | Recurring
        A1                    | S1                | Active              | C2                          | 10                 | 2024-01-01                        | 2025-01-01                      | 12                       | USD              | OneTime
        """
    )
    ledger = read_export(export, as_of="2024-12-31")
    assert [(event[1], event[2], event[4]) for event in events(ledger)] == [
        ("initial", "2024-01-01", 1200.0),
        ("expansion", "2024-07-01", round(600 * 184 / 366, 2)),
    ]
    assert [row[0] for row in rejects(ledger)] == [1, 4]


def test_plain_periods_follow_each_other() -> None:
    export = table(
        """
        subscription_id | customer_id | start_date | end_date   | monthly_amount
        1               | a           | 2024-01-01 | 2024-03-01 | 50
        2               | a           | 2024-03-01 |            | 75
        """
    )
    ledger = read_export(export, currency="USD", as_of="2024-03-15")
    assert [event[1] for event in events(ledger)] == ["initial", "renewal", "renewal"]
    with pytest.raises(LedgerError, match="name a currency for all rows"):
        read_export(export, as_of="2024-03-15")


# --- recognition ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_told_by_its_own_headers(name: str) -> None:
    known = FORMATS[name]
    tables = known.tables if name != "stripe_invoices" else known.tables[:1]
    headers = [[names[0].upper() for names in table.columns.values()] for table in tables]
    assert recognised(headers) == name
    assert recognised(headers[:1]) == name
    assert recognised([*headers, ["something", "else"]]) is None


@pytest.mark.parametrize("name", FORMATS)
def test_formats_name_only_what_is_there(name: str) -> None:
    known = FORMATS[name]
    for rows in known.rows:
        for sql in rows.makes.values():
            for of_table, word in words(sql, known.tables):
                there = known.table(of_table)
                assert word in {**there.columns, **there.optional}, (sql, word)
    makes = {what for rows in known.rows for what in rows.makes}
    assert makes <= {*KNOWN[known.settings["shape"]], *known.settings.get("keep", {})}


def test_files_are_told_apart_by_their_headers(tmp_path: Path) -> None:
    for name, text in (("a.csv", OPPORTUNITIES), ("b.csv", CONTRACTS)):
        table(text).to_csv(tmp_path / name, index=False)
    mapping = {"format": "salesforce", "kinds": TYPES, "amounts": "total"}
    whole = read_export(tmp_path / "*.csv", mapping)
    named = read_export({"opportunities": table(OPPORTUNITIES), "contracts": table(CONTRACTS)}, mapping)
    assert events(whole) == events(named)
    table(SUBSCRIPTIONS).to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(LedgerError, match=r"c\.csv is none of the tables of salesforce"):
        read_export(tmp_path / "*.csv", mapping)


def test_what_is_no_known_format_is_refused_with_what_is_missing() -> None:
    with pytest.raises(LedgerError, match="neither those of revenue events .* nor of a known format"):
        read_export(pd.DataFrame({"who": ["a"], "what": [1]}))
    with pytest.raises(LedgerError, match="no such format; known are chartmogul"):
        read_export(table(SUBSCRIPTIONS), "strype")
    with pytest.raises(LedgerError, match="missing are Interval, Ended At"):
        read_export(table(SUBSCRIPTIONS).drop(columns=["Interval", "Ended At (UTC)"]), "stripe", as_of="2024-03-31")


def test_a_key_that_stands_twice_in_a_table_that_is_looked_up_is_refused() -> None:
    twice = pd.concat([table(CONTRACTS)] * 2)
    mapping = {"format": "salesforce", "kinds": TYPES, "amounts": "total"}
    with pytest.raises(LedgerError, match="an id stands in several rows of a table that is looked up"):
        read_export({"opportunities": table(OPPORTUNITIES), "contracts": twice}, mapping)


def test_segments_and_kept_rows_may_be_further_columns() -> None:
    export = table(SUBSCRIPTIONS).assign(Region=["n", "n", "s", "s", "n", "n"])
    mapping = {"format": "stripe", "currency": "USD", "segments": ["region"], "keep": {"Region": ["n"]}}
    ledger = read_export(export, mapping, as_of="2024-03-31")
    assert ledger.accounts["region"].to_pylist() == ["n", "n", "n"]
    assert [row[:2] for row in rejects(ledger)][:2] == [(3, "Status, Region"), (4, "Status, Region")]
    with pytest.raises(LedgerError, match="no column Colour"):
        read_export(export, mapping | {"segments": ["Colour"]}, as_of="2024-03-31")


def test_events_are_told_from_exports() -> None:
    assert holds_events(pd.DataFrame(columns=["account_id", "event_date", "kind", "amount", "currency", "term_months"]))
    assert holds_events(pd.DataFrame(columns=["account_id", "event_date", "kind", "amount"]))
    assert not holds_events(table(SUBSCRIPTIONS))
    assert not holds_events(pd.DataFrame(columns=["who", "amount"]))


# --- the samples that ship ------------------------------------------------------------------------------------------


def test_the_shipped_samples_are_those_that_their_maker_makes(tmp_path: Path) -> None:
    paths = export_samples(tmp_path)
    assert {path.name: path.read_bytes() for path in paths.values()} == exports()


def test_the_shipped_samples_load_with_every_row_accounted_for(tmp_path: Path) -> None:
    paths = export_samples(tmp_path)
    stripe = read_export(paths["stripe_subscriptions"], currency="USD", as_of="2024-12-31")
    assert stripe.read.export_rows == 261
    assert Counter(stripe.rejected["rule"]) == {
        "unreadable_amount": 2, "duplicate_id": 1, "missing_account": 1, "not_revenue": 2, "unknown_interval": 1,
        "unreadable_start": 1, "wrong_field_count": 1,
    }  # fmt: skip
    kinds = {
        "New Business": "initial",
        "Renewal": "renewal",
        "Add-on": "expansion",
        "Downgrade": "contraction",
        "Services": "change_order",
    }
    mapping = {"format": "salesforce", "encoding": "cp1252", "kinds": kinds, "amounts": "total"}
    files = [paths["salesforce_opportunities"], paths["salesforce_contracts"]]
    salesforce = read_export(files, mapping)
    assert salesforce.read.export_rows == 383
    assert {"missing_amount", "unreadable_amount", "unreadable_date", "unknown_kind", "not_revenue"} <= set(
        salesforce.rejected["rule"]
    )
    for ledger in (stripe, salesforce):
        assert_accounted(ledger)
    with pytest.raises(LedgerError, match=r"not_utf8 383.*encoding = 'cp1252'"):  # before anything is asked of it
        read_export(files, "salesforce")
    with pytest.raises(
        LedgerError, match=r"none of 383 rows can be read \(not_utf8 383\). The first is row 1 .*encoding"
    ):
        read_export(files, {**mapping, "encoding": None})


# --- what is told badly ---------------------------------------------------------------------------------------------


def test_what_a_trial_or_a_pause_holds_is_no_revenue() -> None:
    export = table(
        """
        id | Customer ID | Status   | Amount | Interval | Start (UTC)      | Current Period Start (UTC) | Ended At (UTC)   | Trial End (UTC)
        s1 | a           | paused   | 20.00  | month    | 2024-01-01 10:00 | 2024-01-01 10:00           |                  | 2024-01-15 10:00
        s2 | b           | canceled | 20.00  | month    | 2024-01-01 10:00 | 2024-01-01 10:00           | 2024-01-10 10:00 | 2024-01-15 10:00
        s3 | c           | unpaid   | 20.00  | month    | 2024-01-01 10:00 | 2024-01-01 10:00           |                  |
        s4 | d           | active   | 20.00  | month    | 2024-01-01 10:00 | 2024-01-01 10:00           |                  |
        """
    )
    ledger = read_export(export, currency="USD", as_of="2024-01-31")
    assert [event[0] for event in events(ledger)] == ["d"]
    assert rejects(ledger) == [(row, "Status", "not_revenue") for row in (1, 2, 3)]


def test_a_change_in_a_trial_does_not_begin_before_it_ends() -> None:
    versions = table(
        """
        id | account_id | plan_id | state  | activated_at        | expires_at          | updated_at          | trial_ends_at       | currency | subtotal
        s1 | a          | p1      | active | 2024-01-01 09:00:00 |                     | 2024-01-01 09:00:00 | 2024-03-15 09:00:00 | USD      | 75.0
        s1 | a          | p1      | active | 2024-01-01 09:00:00 |                     | 2024-01-10 09:00:00 | 2024-03-15 09:00:00 | USD      | 50.0
        s2 | b          | p1      | active | 2024-01-01 09:00:00 |                     | 2024-01-01 09:00:00 |                     | USD      | 10.0
        s2 | b          | p1      | paused | 2024-01-01 09:00:00 |                     | 2024-02-01 09:00:00 |                     | USD      | 10.0
        """
    )
    plans = table("id | interval_unit | interval_length\n p1 | months | 1")
    ledger = read_export({"subscriptions": versions, "plans": plans}, as_of="2024-03-31")
    assert [event[:3] for event in events(ledger)] == [
        ("a", "initial", "2024-03-15"),
        ("b", "initial", "2024-01-01"),
        ("b", "churn", "2024-02-01"),
    ]
    assert rejects(ledger) == [(1, "state", "not_revenue"), (4, "state", "not_revenue")]


def test_an_invoice_inside_the_last_one_s_period_is_a_change() -> None:
    invoices = table(
        """
        id | Customer | Subscription | Status | Amount Paid | Date (UTC) | Minimum Line Item Period Start (UTC) | Maximum Line Item Period End (UTC) | Currency
        i1 | a        | s1           | paid   | 100.00      | 2024-01-01 | 2024-01-01                           | 2024-02-01                         | usd
        i2 | a        | s1           | paid   | 50.00       | 2024-01-16 | 2024-01-16                           | 2024-02-01                         | usd
        i3 | a        | s1           | paid   | 200.00      | 2024-02-01 | 2024-02-01                           | 2024-03-01                         | usd
        i4 | a        | s1           | paid   | 350.00      | 2024-02-16 | 2024-02-16                           | 2024-04-01                         | usd
        i5 | b        | s2           | paid   | 10.00       | 2024-01-01 | 2024-01-01                           | 2024-01-08                         | usd
        """
    )
    ledger = read_export(invoices)
    assert [(event[1], event[3], event[4]) for event in events(ledger)] == [
        ("initial", "2024-01-01", 100.0),
        ("expansion", "2024-01-16", 50.0),
        ("renewal", "2024-02-01", 200.0),
    ]
    assert [(row, rule) for row, _, rule in rejects(ledger)] == [(4, "unknown_kind"), (5, "term_too_short")]


def test_a_history_or_lines_of_invoices_are_not_taken_for_the_thing_itself() -> None:
    lines = ["id", "invoice_id", "subscription_id", "plan_id", "amount"]
    assert recognised([lines]) is None
    opportunities = [names[0] for names in FORMATS["salesforce"].tables[0].columns.values()]
    assert recognised([opportunities]) == "salesforce"
    assert recognised([[*opportunities, "_fivetran_start"]]) is None


def test_movements_of_one_day_follow_their_rank_or_time() -> None:
    export = table(
        """
        DATE                | MRR_MOVEMENT | MRR  | CURRENCY_CODE | CUSTOMER_EXTERNAL_ID | RANK
        2024-02-01T18:00:00 | -3000        | 4500 | USD           | a                    | 2
        2024-02-01T08:00:00 | 2500         | 7500 | USD           | a                    | 1
        2024-01-01T08:00:00 | 5000         | 5000 | USD           | a                    | 1
        """
    )
    for rows in (export, export[::-1], export.drop(columns="RANK")):
        ledger = read_export(rows, as_of="2024-02-15")
        assert [event[4] for event in events(ledger)] == [50.0, 45.0]
        assert not [warning for warning in ledger.warnings if "do not lead" in warning]


def test_smallest_units_are_those_of_the_currency_in_chargebee() -> None:
    export = table(
        "subscription_id | customer_id | mrr | mrr_change | record_start_at | currency_code\n s1 | a | 1000 | 1000 | 2024-01-01 | JPY"
    )
    assert events(read_export(export, as_of="2024-01-15"))[0][4] == 1000.0


def test_the_months_of_zuora_s_terms_have_a_unit() -> None:
    known = FORMATS["zuora"].tables[0]
    header = {names[0]: ["1"] for names in known.columns.values()} | {
        "Subscription.Status": ["Active"], "RatePlanCharge.MRR": ["100"], "RatePlanCharge.EffectiveStartDate": ["2024-01-01"],
        "RatePlanCharge.EffectiveEndDate": [None], "Subscription.CurrentTerm": ["1"], "Account.Currency": ["USD"],
    }  # fmt: skip
    for unit, months in (("Year", 12), ("Month", 1), (None, 1)):
        rows = pd.DataFrame(header | {"Subscription.CurrentTermPeriodType": [unit]}, dtype="str")
        assert events(read_export(rows, as_of="2024-01-15"))[0][5] == months


def test_headers_of_a_format_can_be_called_otherwise() -> None:
    export = table(SUBSCRIPTIONS).rename(columns={"Amount": "Betrag", "Interval": "Takt"})
    mapping = {"format": "stripe", "currency": "USD", "columns": {"Amount": "Betrag", "interval": "Takt"}}
    ledger = read_export(export, mapping, as_of="2024-03-31")
    assert events(ledger) == events(
        read_export(table(SUBSCRIPTIONS), {"format": "stripe", "currency": "USD"}, as_of="2024-03-31")
    )
    assert rejects(ledger)[1] == (6, "Takt", "unknown_interval")
    with pytest.raises(LedgerError, match="Menge is no column of stripe"):
        read_export(export, mapping | {"columns": {"Menge": "x"}}, as_of="2024-03-31")


def test_days_and_numbers_of_a_format_may_be_in_another_style() -> None:
    style = {"dates": "%d/%m/%Y %H:%M", "decimal": ",", "thousands": ".", "prefix": "€"}
    export = table(
        """
        id | Customer | Subscription | Status | Amount Paid | Tax    | Date (UTC)       | Minimum Line Item Period Start (UTC) | Maximum Line Item Period End (UTC)
        i2 | a        | s1           | paid   | €1.210,50   | €10,50 | 01/02/2024 10:00 | 01/02/2024 10:00                     | 01/03/2024 10:00
        i1 | a        | s1           | paid   | €1.100,00   | €0,00  | 15/01/2024 10:00 | 01/01/2024 10:00                     | 01/02/2024 10:00
        """
    )
    ledger = read_export(export, {"format": "stripe_invoices", "currency": "EUR", **style})
    assert [(event[1], event[4]) for event in events(ledger)] == [("initial", 1100.0), ("renewal", 1200.0)]
    opportunities = table(OPPORTUNITIES).assign(
        CloseDate=["20/12/2023", "30/06/2024", "30/09/2024", "15/12/2024", "15/01/2024", "15/02/2024"]
    )
    contracts = table(CONTRACTS).assign(StartDate=["01/01/2024", "01/01/2025"], EndDate=["31/12/2024", "31/12/2025"])
    mapping = {"format": "salesforce", "kinds": TYPES, "amounts": "total", "dates": "%d/%m/%Y"}
    told = read_export({"opportunities": opportunities, "contracts": contracts}, mapping)
    plain_days = read_export(
        {"opportunities": table(OPPORTUNITIES), "contracts": table(CONTRACTS)},
        {k: v for k, v in mapping.items() if k != "dates"},
    )
    assert events(told) == events(plain_days)


def test_ids_that_pandas_made_floats_are_found() -> None:
    items = pd.DataFrame({"id": ["i1"], "subscription_id": [1.0], "plan_id": [7.0], "quantity": [2.0]})
    subscriptions = pd.DataFrame(
        {"id": [1], "customer_id": ["a"], "status": ["active"], "start_date": ["2024-01-01"], "ended_at": [None]}
    )
    plans = pd.DataFrame(
        {"id": [7], "amount": [1000], "currency": ["usd"], "interval": ["year"], "interval_count": [1.0]}
    )
    ledger = read_export({"items": items, "subscriptions": subscriptions, "plans": plans}, as_of="2024-01-31")
    assert events(ledger) == [("a", "initial", "2024-01-01", "2024-01-01", 20.0, 12)]


def test_deals_without_a_type_are_terms() -> None:
    known = FORMATS["hubspot_deals"].tables[0]
    deals = pd.DataFrame({names[0]: ["1"] for names in known.columns.values()}).assign(
        closedate="2024-01-10", hs_is_closed_won="true"
    )
    ledger = read_export(deals, {"format": "hubspot_deals", "term_months": 12, "currency": "USD"})
    assert events(ledger)[0][1] == "initial"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"format": "stripe", "shape": "foo"}, "leave out one of format and shape"),
        ({"format": ["stripe"]}, "format cannot be"),
        ({"format": "stripe", "keep": ["a"]}, "keep cannot be"),
        ({"format": "stripe", "segments": 5}, "segments cannot be"),
        ({"format": "stripe", "encoding": 5}, "encoding cannot be"),
        ({"columns": {"amount": "x"}}, "say one"),
        (5, "mapping: cannot be 5"),
        ({1: 2}, "mapping: cannot be"),
    ],
)
def test_a_mapping_of_the_wrong_kind_is_refused(mapping: Any, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        read_export(table(SUBSCRIPTIONS), mapping, as_of="2024-03-31")


def test_tables_without_rows_or_with_names_of_the_reader_are_no_crash() -> None:
    with pytest.raises(LedgerError, match="holds no rows"):
        read_export(table(SUBSCRIPTIONS).head(0), currency="USD", as_of="2024-03-31")
    with pytest.raises(LedgerError, match="holds no table"):
        read_export({}, "stripe")
    twice = pd.DataFrame([["a", 1, 2]], columns=["account_id", "amount", "amount"])
    with pytest.raises(LedgerError, match="name of its own"):
        read_export(twice)
    odd = table(SUBSCRIPTIONS).assign(**{"__rule": "x", "__wanted": "y", "__asked": "z", "the row": "w", "rule": "v"})
    ledger = read_export(
        odd, {"format": "stripe", "currency": "USD", "segments": ["__asked", "__rule", "rule"]}, as_of="2024-03-31"
    )
    assert len(events(ledger)) == 9


def test_totals_count_from_what_counts() -> None:
    rows = [
        ("1", "a", "2024-01-01", "first", "100", "USD"),
        ("1", "a", "2024-01-02", "first", "90", "USD"),  # a copy
        ("2", "a", "2024-03-01", "change", "150", "USD"),
        ("3", "b", "2024-01-01", "change", "100", "USD"),  # of nothing
        ("4", "b", "2024-02-01", "first", "100", "USD"),
        ("5", "b", "2024-03-01", "change", "130", "USD"),
        ("6", "b", "2024-04-01", "change", "150", "EUR"),  # no difference of dollars and euros
    ]
    export = pd.DataFrame(rows, columns=["id", "who", "day", "what", "money", "unit"])
    columns = {
        "event_id": "id",
        "account_id": "who",
        "event_date": "day",
        "kind": "what",
        "amount": "money",
        "currency": "unit",
    }
    kinds = {"first": "initial", "change": "expansion"}
    ledger = read_export(
        export, {"shape": "bookings", "columns": columns, "kinds": kinds, "amounts": "total", "term_months": 12}
    )
    assert [event[4] for event in events(ledger)] == [100.0, 50.0, 100.0, 30.0]
    assert rejects(ledger) == [
        (2, "id", "duplicate_id"),
        (4, "money", "nothing_before"),
        (7, "money", "nothing_before"),
    ]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_typed_times_with_a_zone_count_on_the_day_of_the_zone_that_is_named(zone: str) -> None:
    texts = table(OPPORTUNITIES).head(1).assign(CloseDate="2024-02-01T02:00:00Z", ContractId=None)
    mapping = {"format": "salesforce", "kinds": TYPES, "amounts": "total", "term_months": 12, "time_zone": zone}
    typed = texts.assign(CloseDate=pd.to_datetime(texts["CloseDate"], utc=True).dt.tz_convert("Asia/Tokyo"))
    assert events(read_export(typed, mapping)) == events(read_export(texts, mapping))


@pytest.mark.parametrize("copies", [1, 2])
def test_an_export_that_stands_twice_counts_once(copies: int) -> None:
    n = 700
    ids = [str(number) for number in range(n)]
    invoices = pd.DataFrame(
        {
            "id": ids, "Customer": ids, "Subscription": ids, "Status": "paid", "Amount Paid": "100", "Date (UTC)": "2024-01-01",
            "Minimum Line Item Period Start (UTC)": "2024-01-01", "Maximum Line Item Period End (UTC)": "2024-02-01",
        }
    )  # fmt: skip
    ledger = read_export(pd.concat([invoices] * copies), "stripe_invoices", currency="USD", as_of="2024-01-15")
    assert ledger.accepted["amount"].sum() == 100 * n
    assert Counter(ledger.rejected["rule"]) == ({} if copies == 1 else {"duplicate_id": n})


def test_columns_of_numbers_are_numbers_whatever_the_style_of_texts() -> None:
    export = pd.DataFrame(
        {"customer_id": ["a", "b"], "start_date": "2024-01-01", "end_date": None, "monthly_amount": [83.333, 1200.5]}
    )
    mapping = {"format": "periods", "currency": "EUR", "decimal": ",", "thousands": "."}
    assert [event[4] for event in events(read_export(export, mapping, as_of="2024-01-15"))] == [83.33, 1200.5]


def test_a_change_is_told_by_the_period_paid_so_far_not_by_the_last_invoice() -> None:
    invoices = table(
        """
        id | Customer | Subscription | Status | Amount Paid | Date (UTC) | Minimum Line Item Period Start (UTC) | Maximum Line Item Period End (UTC) | Currency
        i1 | a        | s1           | paid   | 1200        | 2024-01-01 | 2024-01-01                           | 2025-01-01                         | usd
        i2 | a        | s1           | paid   | 50          | 2024-03-01 | 2024-03-01                           | 2024-04-01                         | usd
        i3 | a        | s1           | paid   | 300         | 2024-07-01 | 2024-07-01                           | 2025-01-01                         | usd
        """
    )
    assert [event[1] for event in events(read_export(invoices))] == ["initial", "expansion", "expansion"]


def test_a_deleted_opportunity_opens_no_contract() -> None:
    opportunities = table(OPPORTUNITIES).assign(IsDeleted="false")
    deleted = opportunities.head(1).assign(Id="o0", IsDeleted="true", CloseDate="2023-12-01T10:00:00Z")
    mapping = {"format": "salesforce", "kinds": TYPES, "amounts": "total"}
    ledger = read_export({"opportunities": pd.concat([deleted, opportunities]), "contracts": table(CONTRACTS)}, mapping)
    assert events(ledger)[0] == ("a", "initial", "2023-12-20", "2024-01-01", 12000.0, 12)


def test_rows_are_kept_by_a_column_of_the_table_that_has_it() -> None:
    invoices = table(
        """
        id | Customer | Subscription | Status | Amount Paid | Date (UTC) | Minimum Line Item Period Start (UTC) | Maximum Line Item Period End (UTC) | Region
        i1 | b        | s2           | paid   | 240         | 2024-01-01 | 2024-01-01                           | 2025-01-01                         | EU
        i2 | x        | s9           | paid   | 240         | 2024-01-01 | 2024-01-01                           | 2025-01-01                         | US
        """
    )
    mapping = {"format": "stripe_invoices", "currency": "USD", "keep": {"Region": ["EU"]}}
    ledger = read_export({"invoices": invoices, "subscriptions": table(SUBSCRIPTIONS)}, mapping, as_of="2024-03-31")
    assert [event[:2] for event in events(ledger)] == [("b", "initial"), ("b", "churn")]


def test_a_term_that_is_no_whole_number_of_billing_periods_is_exact() -> None:
    items = pd.DataFrame(
        {
            "hs_object_id": ["l1", "l2"], "deal_id": "d1", "amount": ["1200", "1000"], "price": "1", "name": ["a", "b"],
            "recurringbillingfrequency": ["annually", "per_three_years"], "hs_term_in_months": ["14", "20"],
        }
    )  # fmt: skip
    deals = pd.DataFrame(
        {
            "hs_object_id": ["d1"],
            "amount": "1",
            "closedate": "2024-01-10",
            "hs_is_closed_won": "true",
            "company_id": "c",
        }
    )
    ledger = read_export({"items": items, "deals": deals}, currency="EUR")
    assert [event[4] for event in events(ledger)] == [1400.0, 555.56]


def test_a_term_that_zuora_does_not_say_is_the_user_s() -> None:
    known = FORMATS["zuora"].tables[0]
    header = {names[0]: ["1"] for names in known.columns.values()} | {
        "Subscription.Status": ["Active"], "RatePlanCharge.MRR": ["100"], "RatePlanCharge.EffectiveStartDate": ["2024-01-01"],
        "RatePlanCharge.EffectiveEndDate": [None], "Subscription.CurrentTerm": [None], "Account.Currency": ["USD"],
        "Subscription.CurrentTermPeriodType": ["Month"],
    }  # fmt: skip
    rows = pd.DataFrame(header, dtype="str")
    assert events(read_export(rows, {"format": "zuora", "term_months": 12}, as_of="2024-01-15"))[0][5] == 12


def test_a_version_that_is_recorded_after_the_end_prolongs_nothing() -> None:
    versions = table(
        """
        id | account_id | plan_id | state   | activated_at        | expires_at          | updated_at          | currency | subtotal
        s1 | a          | p1      | active  | 2024-01-01 00:00:00 | 2024-03-01 00:00:00 | 2024-01-01 00:00:00 | USD      | 75.0
        s1 | a          | p1      | expired | 2024-01-01 00:00:00 | 2024-03-01 00:00:00 | 2024-03-02 08:00:00 | USD      | 75.0
        """
    )
    plans = table("id | interval_unit | interval_length\n p1 | months | 1")
    ledger = read_export({"subscriptions": versions, "plans": plans}, as_of="2024-03-31")
    assert [event[1:3] for event in events(ledger)] == [
        ("initial", "2024-01-01"),
        ("renewal", "2024-02-01"),
        ("churn", "2024-03-01"),
    ]


def test_the_export_s_own_rows_and_money_are_accounted_for() -> None:
    export = {"opportunities": table(OPPORTUNITIES), "contracts": table(CONTRACTS)}
    ledger = read_export(export, {"format": "salesforce", "kinds": TYPES, "amounts": "total"})
    found = ledger.export_reconciliation().set_index("part")
    assert found["rows"].to_dict() == {"read": 6, "used": 4, "set aside": 2, "difference": 0}
    assert found["amount"].to_dict() == {"read": 73000.0, "used": 55000.0, "set aside": 18000.0, "difference": 0.0}
    assert ledger.accepted["amount"].sum() == 28000.0  # of which totals count as differences
