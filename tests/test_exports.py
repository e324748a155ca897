"""Exports of other systems by a mapping: rows and money are accounted for, and nothing is guessed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvforecast.adapters import read_export
from clvforecast.errors import LedgerError
from clvforecast.ledger import Ledger

SHARED = Path(__file__).parents[2] / "shared" / "data"
real_data = pytest.mark.skipif(not SHARED.exists(), reason="the folder ../shared/data is not here")

PERIODS: dict[str, Any] = {
    "shape": "periods",
    "columns": {
        "account_id": "Customer",
        "start_date": "from",
        "end_date": "to",
        "monthly_amount": "mrr",
    },
    "currency": "EUR",
    "term_months": 1,
}
BOOKINGS: dict[str, Any] = {
    "shape": "bookings",
    "columns": {"account_id": "account", "event_date": "day", "amount": "value", "event_id": "id"},
    "currency": "EUR",
    "term_months": 12,
}


def periods(*rows: tuple[Any, ...], **more: Any) -> Ledger:
    table = pd.DataFrame(rows, columns=["customer", "from", "to", "mrr"])
    return read_export(table, {**PERIODS, **more}, as_of="2024-12-31")


def bookings(*rows: tuple[Any, ...], **more: Any) -> Ledger:
    table = pd.DataFrame(rows, columns=["id", "account", "day", "value"])
    return read_export(table, {**BOOKINGS, **more})


def assert_accounted(ledger: Ledger) -> None:
    last = ledger.reconciliation().iloc[-1]
    assert (last["rows"], last["rows_with_amount"], last["amount_cents"]) == (0, 0, 0)


def rules(ledger: Ledger) -> list[tuple[int, str, str | None, str]]:
    rows = ledger.rejected_rows.to_pylist()
    return [(row["row"], row["column"], row["value"], row["rule"]) for row in rows]


def test_every_row_of_periods_is_used_or_set_aside_with_its_reason() -> None:
    ledger = periods(
        ("a", "2024-01-01", "2024-03-01", "50"),
        ("", "2024-01-01", None, "50"),
        ("b", "01/02/2024", None, "50"),
        ("b", None, None, "50"),
        ("b", "2024-05-01", "2024-05-01", "50"),
        ("b", "2024-05-01", "soon", "50"),
        ("b", "2024-05-01", None, "1,50"),
        ("b", "2024-05-01", None, None),
        ("b", "2024-05-01", None, "0"),
        ("b", "2024-05-01", None, "-5"),
        ("b", "2024-05-01", None, "1e13"),
        ("a", "2024-02-15", None, "70"),
        ("b", "0024-05-01", None, "70"),
    )
    assert rules(ledger) == [
        (2, "customer", None, "missing_account"),
        (3, "from", "01/02/2024", "unreadable_start"),
        (4, "from", None, "missing_start"),
        (5, "to", "2024-05-01", "nothing_served"),
        (6, "to", "soon", "unreadable_end"),
        (7, "mrr", "1,50", "unreadable_amount"),
        (8, "mrr", None, "missing_amount"),
        (9, "mrr", "0", "no_price"),
        (10, "mrr", "-5", "negative_price"),
        (11, "mrr", "1e13", "amount_out_of_range"),
        (12, "from", "2024-02-15", "overlapping_period"),
        (13, "from", "0024-05-01", "start_out_of_range"),
    ]
    assert ledger.rejected["hint"].notna().all()
    assert_accounted(ledger)
    assert ledger.accepted[["kind", "amount"]].values.tolist()[:2] == [["initial", 50.0], ["renewal", 50.0]]


def test_prices_a_month_are_multiplied_before_they_are_rounded() -> None:
    """33.335 x 3 = 100.005, a tie: half-even to 100.00; rounded first it would be 100.02."""
    ledger = periods(("a", "2024-01-01", "2024-04-01", "33.335"), term_months=3)
    assert ledger.accepted["amount"].tolist()[0] == 100.0
    cents = periods(("a", "2024-01-01", "2024-04-01", "3333"), term_months=3, cents=True)
    assert cents.accepted["amount"].tolist()[0] == 99.99


@pytest.mark.parametrize(
    ("style", "written", "amount"),
    [
        ({}, "1234.5", 1234.5),
        ({}, "1.2345e3", 1234.5),
        ({"thousands": ","}, "1,234.5", 1234.5),
        ({"thousands": ".", "decimal": ","}, "1.234,5", 1234.5),
        ({"thousands": " ", "decimal": ","}, "1 234,5", 1234.5),
        ({"prefix": "$", "thousands": ","}, "$1,234.50", 1234.5),
        ({"thousands": ","}, "12,34.5", None),
        ({"thousands": ","}, "1,2345", None),
        ({}, "1,234.5", None),
        ({}, "$1234.5", None),
        ({"decimal": ","}, "1234.5", None),
    ],
)
def test_numbers_are_read_as_their_style_says_or_not_at_all(style: dict, written: str, amount: float | None) -> None:
    ledger = bookings(("1", "a", "2024-01-01", "10"), ("2", "a", "2025-01-01", written), **style)
    if amount is None:
        assert rules(ledger) == [(2, "value", written, "unreadable_amount")]
    else:
        assert ledger.accepted["amount"].tolist() == [10.0, amount]
    assert_accounted(ledger)


def test_days_are_never_guessed() -> None:
    rows = (("1", "a", "31-01-2024", "10"), ("2", "a", "2024-02-28", "10"), ("3", "a", "01-02-2025", "10"))
    ledger = bookings(*rows, dates="%d-%m-%Y")
    assert ledger.accepted["event_date"].dt.strftime("%Y-%m-%d").tolist() == ["2024-01-31", "2025-02-01"]
    assert rules(ledger) == [(2, "day", "2024-02-28", "unreadable_date")]
    assert [row[3] for row in rules(bookings(*rows))] == ["unreadable_date", "unreadable_date"]


def test_kinds_are_those_that_are_said() -> None:
    table = pd.DataFrame(
        {
            "account": "a",
            "day": ["2024-01-01", "2024-03-01", "2024-04-01", "2024-05-01"],
            "value": ["100", "10", "10", "10"],
            "type": ["New Customer", "existing customer - upgrade", "Existing Business", "New Customer"],
            "stage": ["Won", "won", "Won", "Lost"],
        }
    )
    mapping = {
        **BOOKINGS,
        "columns": {"account_id": "account", "event_date": "day", "amount": "value", "kind": "type"},
        "kinds": {"New Customer": "initial", "Existing Customer - Upgrade": "expansion"},
        "keep": {"stage": ["won"]},
    }
    ledger = read_export(table, mapping)
    assert ledger.accepted["kind"].tolist() == ["initial", "expansion"]
    assert rules(ledger) == [(3, "type", "Existing Business", "unknown_kind"), (4, "stage", "Lost", "not_revenue")]
    assert_accounted(ledger)


def test_what_the_ledger_itself_rejects_points_to_the_export(tmp_path: Path) -> None:
    path = tmp_path / "deals.csv"
    path.write_text("id,account,day,value\n1,,2024-01-01,5\n2,a,2024-01-01,-4\n3,a,2024-02-01,5\n3,a,2024-02-02,5\n")
    ledger = read_export(str(path), BOOKINGS)
    found = ledger.rejected[["source", "row", "event_id", "column", "rule"]].values.tolist()
    assert found == [
        [str(path), 1, "1", "account", "missing_account"],
        [str(path), 4, "3", "id", "duplicate_id"],
        [str(path), 2, "2", "value", "wrong_sign"],
    ]
    assert_accounted(ledger)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"columns": {**PERIODS["columns"], "term_months": "interval"}},
            "no column interval; found are customer, from, to, mrr",
        ),
        ({"currency": None}, "name a currency for all rows"),
        ({"term_months": None}, "say term_months"),
        ({"term_months": 0}, "term_months: Input should be greater than or equal to 1"),
        ({"shape": "movement"}, "shape: Input should be 'bookings', 'periods' or 'movements'"),
        ({"column": {}}, "column: Extra inputs are not permitted"),
        ({"columns": {"account_id": "customer"}}, "start_date must be named for periods"),
        ({"thousands": "."}, "decimal and thousands are both '.'"),
        ({"rest": "upsell"}, "kinds: upsell are none of ours"),
    ],
)
def test_a_mapping_that_cannot_be_says_where_and_why(change: dict, words: str) -> None:
    with pytest.raises(LedgerError, match=words):
        periods(("a", "2024-01-01", None, "5"), **change)


def test_periods_need_the_day_of_the_export_and_some_usable_row() -> None:
    table = pd.DataFrame([("a", "2024-01-01", None, "5")], columns=["customer", "from", "to", "mrr"])
    with pytest.raises(LedgerError, match="give as_of, the day of the export"):
        read_export(table, PERIODS)
    with pytest.raises(LedgerError, match=r"none of 1 rows can be used \(no_price 1\)"):
        periods(("a", "2024-01-01", None, "0"))


def test_a_mapping_can_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "export.toml"
    path.write_text(
        'shape = "periods"\ncurrency = "EUR"\nterm_months = 1\n[columns]\naccount_id = "customer"\nstart_date = "from"\n'
        'end_date = "to"\nmonthly_amount = "mrr"\n'
    )
    table = pd.DataFrame([("a", "2024-01-01", None, 5)], columns=["customer", "from", "to", "mrr"])
    assert read_export(table, path, as_of="2024-03-15").events.num_rows == 3
    path.write_text("shape =")
    with pytest.raises(LedgerError, match="not a readable TOML file"):
        read_export(table, path, as_of="2024-03-15")


MOVEMENTS: dict[str, Any] = {
    "shape": "movements",
    "columns": {
        "account_id": "CUSTOMER_EXTERNAL_ID",
        "event_date": "DATE",
        "monthly_amount": "MRR",
        "change": "MRR_MOVEMENT",
    },
    "currency": "USD",
    "cents": True,
    "term_months": 1,
}


def movements(*rows: tuple[Any, ...], **more: Any) -> Ledger:
    table = pd.DataFrame(rows, columns=["customer_external_id", "date", "mrr", "mrr_movement"])
    return read_export(table, {**MOVEMENTS, **more}, as_of="2024-05-15")


def test_movements_are_terms_that_run_until_the_next_one() -> None:
    """A new customer, a raise in the middle of June's 30 days, an end and a return: the walk of one subscription."""
    ledger = movements(
        ("a", "2023-06-01", "3000", "3000"),
        ("a", "2023-06-16", "5000", "2000"),
        ("a", "2023-08-01", "0", "-5000"),
        ("a", "2024-04-10", "1000", "1000"),
        ("b", "2024-05-01", "100", "100"),
        ("b", "2024-05-01", "700", "600"),
    )
    events = ledger.accepted.assign(day=lambda table: table["start_date"].dt.strftime("%Y-%m-%d"))
    assert events[["account_id", "kind", "day", "amount"]].fillna(-1.0).values.tolist() == [
        ["a", "initial", "2023-06-01", 30.0],
        ["a", "expansion", "2023-06-16", 10.0],
        ["a", "renewal", "2023-07-01", 50.0],
        ["a", "churn", "2023-08-01", -1.0],
        ["a", "initial", "2024-04-10", 10.0],
        ["a", "renewal", "2024-05-10", 10.0],
        ["b", "initial", "2024-05-01", 7.0],
    ]
    assert rules(ledger) == [(5, "date", "2024-05-01", "superseded")]
    assert_accounted(ledger)


def test_movements_that_do_not_add_up_are_told() -> None:
    ledger = movements(
        ("a", "2024-01-01", "3000", "3000"), ("a", "2024-03-01", "9000", "1000"), ("b", "2024-01-01", "x", "5")
    )
    assert "1 movements do not lead from the amount before to theirs (the first in row 2)" in ledger.warnings[1]
    assert rules(ledger) == [(3, "mrr", "x", "unreadable_amount")]


def test_a_row_without_effect_is_set_aside_with_its_reason() -> None:
    """Nothing is dropped because it changes nothing: not what begins later, goes on, or waits for another term to end."""
    ledger = periods(
        ("a", "2025-01-01", None, "70"),
        ("b", "2024-01-01", "2024-01-10", "50"),
        ("b", "2024-01-10", "2024-03-01", "50"),
        ("b", "2024-03-01", "2024-03-05", "50"),
        ("b", "2024-03-05", None, "50"),
    )
    assert rules(ledger) == [(1, "from", "2025-01-01", "after_as_of")]
    days = ["2024-01-01", "2024-01-10", "2024-01-15", "2024-01-20"]
    ledger = periods(*(("c", first, end, "50") for first, end in pairwise(days)))
    assert rules(ledger) == [(2, "from", "2024-01-10", "nothing_new")]
    table = pd.DataFrame(
        {
            "customer": "a",
            "from": ["2024-01-01", "2024-03-01", "2024-06-01"],
            "to": ["2024-03-01", "2024-06-01", None],
            "mrr": [50, 500, 50],
            "every": [12, 1, 12],
        }
    )
    mapping = {**PERIODS, "columns": {**PERIODS["columns"], "term_months": "every"}, "term_months": None}
    found = rules(read_export(table, mapping, as_of="2024-12-31"))
    assert found == [(2, "from", "2024-03-01", "inside_other_term"), (3, "from", "2024-06-01", "nothing_new")]


def test_ends_can_be_last_days_and_look_like_it() -> None:
    months = (
        ("a", "2024-01-01", "2024-01-31", "50"),
        ("a", "2024-02-01", "2024-02-29", "50"),
        ("a", "2024-03-01", None, "50"),
    )
    taken = periods(*months)
    assert "2 of 2 periods begin a day after the end of the one before" in taken.warnings[0]
    said = periods(*months, ends="last day")
    assert said.warnings == () and said.accepted["kind"].value_counts().to_dict() == {"initial": 1, "renewal": 11}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", ""]),
            st.sampled_from(["2024-01-01", "2024-01-15", "2024-02-01", "2024-05-01", "2025-06-01", "x"]),
            st.sampled_from([None, "2024-01-15", "2024-02-01", "2024-04-20", "2025-03-01"]),
            st.sampled_from(["0", "5", "7.005", "-1", "y"]),
            st.sampled_from(["1", "3", "12", "z"]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_any_export_is_used_or_set_aside_row_by_row(rows: list[tuple[str | None, ...]], as_movements: bool) -> None:
    table = pd.DataFrame(rows, columns=["customer", "from", "to", "mrr", "every"]).astype("string")
    columns = {**PERIODS["columns"], "term_months": "every"}
    if as_movements:
        columns = {"account_id": "customer", "event_date": "from", "monthly_amount": "mrr", "term_months": "every"}
    mapping = {**PERIODS, "shape": "movements" if as_movements else "periods", "columns": columns, "term_months": None}
    try:
        ledger = read_export(table, mapping, as_of="2024-12-31")
    except LedgerError as error:
        assert "rows can be used" in str(error)
        return
    assert_accounted(ledger)
    assert ledger.read.export_rows == len(rows)
    made = {int(event_id.split(".")[0]) for event_id in ledger.accepted["event_id"]}
    aside = set(ledger.rejected["row"])
    assert not made & aside
    ends = {number for number, row in enumerate(rows, start=1) if as_movements and row[3] == "0"}
    assert made | aside | ends == set(range(1, len(rows) + 1))


def test_numbers_of_a_typed_column_are_what_they_are() -> None:
    """The style is that of texts: 50.125 in a column of numbers is no 50 thousand."""
    table = pd.DataFrame({"customer": ["a"], "from": ["2024-12-01"], "to": [None], "mrr": [50.125]})
    ledger = read_export(table, {**PERIODS, "decimal": ",", "thousands": "."}, as_of="2024-12-15")
    assert ledger.accepted["amount"].tolist() == [50.12]
    assert "1 amounts with fractions of a cent were rounded" in ledger.warnings[0]


@pytest.mark.parametrize("written", ["0.001", "1.234e2"])
def test_a_sign_of_thousands_stands_between_groups(written: str) -> None:
    ledger = bookings(("1", "a", "2024-01-01", "10"), ("2", "a", "2025-01-01", written), decimal=",", thousands=".")
    assert rules(ledger) == [(2, "value", written, "unreadable_amount")]


@pytest.mark.parametrize("written", ["epoch", "infinity", "-infinity"])
def test_words_are_no_days(written: str) -> None:
    ledger = bookings(("1", "a", "01/02/2024", "10"), ("2", "a", written, "10"), dates="%d/%m/%Y")
    assert rules(ledger) == [(2, "day", written, "unreadable_date")]


@pytest.mark.parametrize("style", ["%d/%m", "%d/%m/%y", "%Y-%m-%d %z", "%Q", "%s", "%", "%d.%m.%Y %d"])
def test_a_style_says_the_whole_day_and_moves_it_by_no_zone(style: str) -> None:
    with pytest.raises(LedgerError, match="dates: "):
        bookings(("1", "a", "01/02/2024", "10"), dates=style)


def test_an_end_needs_neither_interval_nor_currency() -> None:
    table = pd.DataFrame(
        {
            "account": ["a", "a"],
            "day": ["2024-01-01", "2024-03-01"],
            "mrr": ["10", "0"],
            "every": ["1", None],
            "money": ["USD", None],
        }
    )
    columns = {
        "account_id": "account",
        "event_date": "day",
        "monthly_amount": "mrr",
        "term_months": "every",
        "currency": "money",
    }
    ledger = read_export(table, {"shape": "movements", "columns": columns}, as_of="2024-12-31")
    assert ledger.accepted["kind"].tolist() == ["initial", "renewal", "churn"]


def test_a_currency_that_is_none_rejects_the_row_once() -> None:
    table = pd.DataFrame(
        {"customer": ["a", "b"], "from": "2023-01-01", "to": None, "mrr": "10", "money": ["usd", "US$"]}
    )
    mapping = {**PERIODS, "currency": None, "columns": {**PERIODS["columns"], "currency": "money"}}
    ledger = read_export(table, mapping, as_of="2024-12-31")
    assert ledger.currency == "USD" and rules(ledger) == [(2, "money", "US$", "invalid_currency")]


def test_a_line_with_a_row_that_cannot_be_read_does_not_run_on() -> None:
    ledger = movements(
        ("a", "2024-01-01", "3000", "3000"), ("a", "2024-03-01", "x", "0"), ("b", "2024-01-01", "3000", "3000")
    )
    assert [row[::3] for row in rules(ledger)] == [(1, "broken_line"), (2, "unreadable_amount")]
    assert set(ledger.accepted["account_id"]) == {"b"}


def test_names_of_columns_and_ids_are_the_exports_own() -> None:
    table = pd.DataFrame(
        {
            "place": [7.0, 7.0],
            "rule": ["2024-01-01", None],
            "number": ["5", "x"],
            "given": ["north", "south"],
            "typed": [1, 2],
        }
    )
    mapping = {
        **BOOKINGS,
        "columns": {"account_id": "place", "event_date": "rule", "amount": "number"},
        "segments": ["given"],
    }
    ledger = read_export(table, mapping)
    assert ledger.accepted["account_id"].tolist() == ["7"]
    assert rules(ledger) == [(2, "rule", None, "missing_date")]


def test_the_share_of_rejected_rows_is_of_the_exports_rows() -> None:
    good = [("a", "2020-01-01", None, "50")]
    ledger = periods(*good, ("b", "x", None, "5"), ("c", "2024-01-01", None, "0"))
    assert ledger.events.num_rows == 60 and ledger.read.export_rows == 3
    with pytest.raises(LedgerError, match=r"1 of 3 rows are rejected \(unreadable_start 1\), more than 33%"):
        ledger.check_rejected(0.33)
    ledger.check_rejected(0.34)


def test_ends_of_bookings_make_their_terms() -> None:
    table = pd.DataFrame(
        {"account": ["a", "b", "c"], "day": "2024-01-01", "until": ["2024-04-01", "2026-12-20", None], "value": "100"}
    )
    columns = {"account_id": "account", "event_date": "day", "end_date": "until", "amount": "value"}
    mapping = {"shape": "bookings", "columns": columns, "currency": "EUR"}
    ledger = read_export(table, mapping)
    assert ledger.accepted["term_months"].tolist() == [3, 36]
    assert rules(ledger) == [(3, "term_months", None, "missing_term")]
    assert ledger.warnings[0].startswith(
        "export: 1 terms end inside a month and count as the nearest whole months, at most 12"
    )
    assert read_export(table, {**mapping, "term_months": 24}).accepted["term_months"].tolist() == [3, 36, 24]


@real_data
def test_real_exports_are_accounted_for_row_by_row() -> None:
    """Ravenstack: 778 of 5,000 subscriptions are free or trials, 13 end on the day they start."""
    mapping = {
        "shape": "periods",
        "currency": "USD",
        "months": {"monthly": 1, "annual": 12},
        "columns": {
            "event_id": "subscription_id",
            "account_id": "account_id",
            "contract_id": "subscription_id",
            "start_date": "start_date",
            "end_date": "end_date",
            "monthly_amount": "mrr_amount",
            "term_months": "billing_frequency",
        },
    }
    path = SHARED / "ravenstack" / "ravenstack_subscriptions.csv"
    ledger = read_export(path, mapping, as_of="2024-12-31")
    assert ledger.rejected["rule"].value_counts().to_dict() == {"no_price": 778, "nothing_served": 13}
    raw = pd.read_csv(path)
    used = raw.drop(index=ledger.rejected["row"] - 1)
    firsts = ledger.accepted[ledger.accepted["kind"] == "initial"].set_index("contract_id")
    months = used["billing_frequency"].map({"monthly": 1, "annual": 12})
    told = (used["mrr_amount"] * months).set_axis(used["subscription_id"]).astype(float)
    pd.testing.assert_series_equal(firsts["amount"].sort_index(), told.sort_index(), check_names=False)
    assert_accounted(ledger)


# --- zones, quantities, signs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "zone", "day"),
    [
        ("2024-03-01T23:30:00Z", None, None),
        ("2024-03-01T23:30:00Z", "UTC", "2024-03-01"),
        ("2024-03-01T23:30:00Z", "Europe/Berlin", "2024-03-02"),
        ("2024-03-01 23:30:00 UTC", "Europe/Berlin", "2024-03-02"),
        ("2024-03-01T23:30:00.000+0000", "America/New_York", "2024-03-01"),
        ("2024-03-01T00:30:00+05:30", "UTC", "2024-02-29"),
        ("2024-03-01T00:30:00+05", "UTC", "2024-02-29"),
        ("2024-03-01 23:30:00", "Europe/Berlin", "2024-03-01"),  # without a zone: as it stands
        ("2024-03-01", "Europe/Berlin", "2024-03-01"),
        ("2024-03-01T25:30:00Z", "UTC", None),
        ("2024-03-01T23:30:00 Mars", "UTC", None),
    ],
)
def test_times_with_a_zone_count_on_the_day_of_the_zone_that_is_named(
    text: str, zone: str | None, day: str | None
) -> None:
    good = ("1", "a", "2024-01-01", "100")
    ledger = bookings(good, ("2", "a", text, "100"), **({} if zone is None else {"time_zone": zone}))
    if day is None:
        assert rules(ledger) == [(2, "day", text, "unreadable_date")]
    else:
        assert str(ledger.events["event_date"][1]) == day


def test_a_zone_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LedgerError, match="'Mars/Olympus' is no IANA time zone"):
        bookings(("1", "a", "2024-01-01", "100"), time_zone="Mars/Olympus")


def test_amounts_of_one_are_multiplied_by_quantities() -> None:
    table = pd.DataFrame(
        [
            ("a", "2024-01-01", "19.99", "3"),
            ("b", "2024-01-01", "0.333", "3"),
            ("c", "2024-01-01", "5", "x"),
            ("d", "2024-01-01", "5", ""),
        ],
        columns=["account", "day", "value", "n"],
    )
    columns = {"account_id": "account", "event_date": "day", "amount": "value", "quantity": "n"}
    ledger = read_export(table, {**BOOKINGS, "columns": columns})
    assert ledger.events["amount_cents"].to_pylist() == [5997, 100]
    assert rules(ledger) == [(3, "n", "x", "unreadable_quantity"), (4, "n", None, "unreadable_quantity")]


@pytest.mark.parametrize(
    ("text", "cents", "signs"),
    [
        ("1.234,56 €", 123456, {"decimal": ",", "thousands": ".", "suffix": "€"}),
        ("1 234,56 €", 123456, {"decimal": ",", "thousands": " ", "suffix": "€"}),
        ("1\u202f234,56\u00a0€", 123456, {"decimal": ",", "thousands": "\u202f", "suffix": "€"}),
        ("1’234.56", 123456, {"thousands": "’"}),
        ("1234.56 CHF", 123456, {"suffix": "CHF"}),
        ("1234.56 EUR", None, {"suffix": "CHF"}),
        ("12,34.56", None, {"thousands": ","}),
    ],
)
def test_signs_of_numbers_are_those_that_are_named(text: str, cents: int | None, signs: dict[str, str]) -> None:
    ledger = bookings(("1", "a", "2024-01-01", "1"), ("2", "b", "2024-01-01", text), **signs)
    if cents is None:
        assert rules(ledger) == [(2, "value", text, "unreadable_amount")]
    else:
        assert ledger.events["amount_cents"][1].as_py() == cents


def test_the_smallest_unit_is_that_of_the_currency() -> None:
    table = pd.DataFrame(
        [("a", "1000", "eur"), ("b", "1000", "jpy"), ("c", "1000", "kwd")], columns=["a", "v", "c"]
    ).assign(d="2024-01-01")
    mapping = {
        "shape": "bookings", "columns": {"account_id": "a", "event_date": "d", "amount": "v", "currency": "c"}, "term_months": 12,
        "cents": True, "undivided": ["JPY"], "thousandths": ["KWD"],
    }  # fmt: skip
    for code, cents in (("eur", 1000), ("jpy", 100000), ("kwd", 100)):
        assert read_export(table[table["c"] == code], mapping).events["amount_cents"].to_pylist() == [cents]


def test_a_term_without_a_column_s_value_is_the_one_that_the_mapping_says() -> None:
    table = pd.DataFrame(
        [("a", "2024-01-01", "9", "36"), ("b", "2024-01-01", "9", None)], columns=["account", "day", "value", "months"]
    )
    columns = {"account_id": "account", "event_date": "day", "amount": "value", "term_months": "months"}
    ledger = read_export(table, {**BOOKINGS, "columns": columns})
    assert ledger.events["term_months"].to_pylist() == [36, 12]


def test_a_refund_opens_no_term() -> None:
    ledger = bookings(
        ("1", "a", "2024-01-01", "-5"),
        ("2", "a", "2024-01-02", "100"),
        ("3", "a", "2024-02-01", "7"),
        rest="change_order",
    )
    assert ledger.events["kind"].to_pylist() == ["initial", "change_order"]
    assert rules(ledger) == [(1, "value", "-5", "wrong_sign")]


def test_an_export_of_which_the_ledger_takes_nothing_says_where_its_rows_are() -> None:
    with pytest.raises(
        LedgerError, match=r"none of 2 rows can be used \(wrong_sign 2\). The first is row 1 of export: value is '-5'"
    ) as caught:
        bookings(("1", "a", "2024-01-01", "-5"), ("2", "b", "2024-01-02", "-6"))
    assert caught.value.rejected is not None
    assert caught.value.rejected["row"].to_pylist() == [1, 2] and caught.value.rejected["raw"].null_count == 0
