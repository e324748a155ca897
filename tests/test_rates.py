"""Exchange rates: what is converted is exact, and what has no rate is rejected."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvforecast.adapters import read_export
from clvforecast.errors import LedgerError
from clvforecast.ledger import Ledger

EVENTS = ["event_id", "account_id", "event_date", "kind", "amount", "currency", "term_months"]
RATES = pd.DataFrame(
    {
        "date": ["2024-01-05", "2024-01-08", "2024-01-05"],
        "currency": ["EUR", "EUR", "JPY"],
        "rate": ["1.1", "1.2", "0.0068"],
    }
)


def converted(*rows: tuple[Any, ...], rates: Any = RATES, currency: str | None = "USD") -> Ledger:
    return read_export(pd.DataFrame(rows, columns=EVENTS), "events", rates=rates, currency=currency)


def initial(number: int, day: str, amount: str, currency: str) -> tuple[Any, ...]:
    return (str(number), f"account {number}", day, "initial", amount, currency, "12")


def test_an_event_takes_the_last_rate_of_the_week_before_its_day() -> None:
    ledger = converted(
        initial(1, "2024-01-05", "100.00", "EUR"),
        initial(2, "2024-01-07", "100.00", "EUR"),
        initial(3, "2024-01-08", "100.00", "EUR"),
        initial(4, "2024-01-15", "100.00", "EUR"),
        initial(5, "2024-01-16", "100.00", "EUR"),
        initial(6, "2024-01-04", "100.00", "EUR"),
        initial(7, "2024-01-04", "100.00", "USD"),
        initial(8, "2024-01-06", "10000", "JPY"),
        initial(9, "2024-01-06", "10000", "CHF"),
    )
    assert ledger.currency == "USD"
    assert dict(zip(ledger.events["event_id"].to_pylist(), ledger.events["amount_cents"].to_pylist(), strict=True)) == {
        "1": 11000, "2": 11000, "3": 12000, "4": 12000, "7": 10000, "8": 6800,
    }  # fmt: skip
    assert [(row["row"], row["column"], row["value"], row["rule"]) for row in ledger.rejected_rows.to_pylist()] == [
        (5, "currency", "EUR on 2024-01-16", "missing_rate"),
        (6, "currency", "EUR on 2024-01-04", "missing_rate"),
        (9, "currency", "CHF on 2024-01-06", "missing_rate"),
    ]
    assert (
        ledger.reconciliation().query("part == 'difference'")[["rows", "rows_with_amount", "amount_cents"]] == 0
    ).all(axis=None)
    assert any("4 events of 400.00 EUR in all count as 460.00 USD" in warning for warning in ledger.warnings)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**13), st.integers(1, 10**9)), min_size=1, max_size=20))
def test_conversion_is_exact_and_half_even(rows: list[tuple[int, int]]) -> None:
    days = [f"2024-03-{1 + place:02d}" for place in range(len(rows))]
    rates = pd.DataFrame({"date": days, "currency": "EUR", "rate": [str(Decimal(rate) / 10**6) for _, rate in rows]})
    given_rows = [
        initial(place, day, str(Decimal(cents) / 100), "EUR")
        for place, (day, (cents, _)) in enumerate(zip(days, rows, strict=True))
    ]
    expected = {
        str(place): int((Decimal(cents) * Decimal(rate) / 10**6).quantize(Decimal(1), ROUND_HALF_EVEN))
        for place, (cents, rate) in enumerate(rows)
    }
    usable = {name: cents for name, cents in expected.items() if 0 < cents <= 10**14}
    if not usable:
        with pytest.raises(LedgerError):
            converted(*given_rows, rates=rates)
        return
    ledger = converted(*given_rows, rates=rates)
    found = dict(zip(ledger.events["event_id"].to_pylist(), ledger.events["amount_cents"].to_pylist(), strict=True))
    assert found == usable
    assert ledger.rejected_rows.num_rows == len(rows) - len(usable)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": ["1.1", "0", "1"]}, "row 2 has no date .* or no rate above 0"),
        ({"rate": ["1.1", "1,2", "1"]}, "row 2 has no date"),
        ({"date": ["2024-01-05", "05/01/2024", "2024-01-05"]}, "row 2 has no date"),
        ({"currency": ["EUR", "euro", "JPY"]}, "row 2 has no date"),
        ({"date": ["2024-01-05"] * 3}, "EUR has two rates on 2024-01-05"),
        ({"currency": ["EUR", "USD", "JPY"]}, "USD is worth 1.2"),
    ],
)
def test_rates_that_are_wrong_in_one_row_are_refused(change: dict[str, list[str]], message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        converted(initial(1, "2024-01-05", "100.00", "EUR"), rates=RATES.assign(**change))


def test_rates_and_the_currency_belong_together() -> None:
    row = initial(1, "2024-01-05", "100.00", "EUR")
    with pytest.raises(LedgerError, match="give the currency that they convert into"):
        converted(row, currency=None)
    with pytest.raises(LedgerError, match="its money is in EUR, not USD"):
        converted(row, rates=None)
    with pytest.raises(LedgerError, match="no column rate"):
        converted(row, rates=RATES.drop(columns="rate"))
    with pytest.raises(LedgerError, match="none of 1 rows can be used .missing_rate 1.") as caught:
        converted(initial(1, "2025-01-05", "100.00", "EUR"))
    assert caught.value.rejected is not None and caught.value.rejected["row"].to_pylist() == [1]


def test_prices_of_periods_are_converted_on_the_day_of_each_term() -> None:
    periods = pd.DataFrame(
        {
            "customer_id": ["a"],
            "start_date": ["2024-01-05"],
            "end_date": [None],
            "monthly_amount": ["100"],
            "currency": ["EUR"],
        }
    )
    days = pd.DataFrame(
        {"date": ["2024-01-05", "2024-02-02", "2024-03-05"], "currency": "EUR", "rate": [1.1, 1.2, 1.3]}
    )
    ledger = read_export(periods, as_of="2024-03-31", rates=days, currency="USD")
    assert ledger.events["amount_cents"].to_pylist() == [11000, 12000, 13000]
