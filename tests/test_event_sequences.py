"""Any sequence of events becomes a ledger and histories whose laws hold, or is refused for a stated reason."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clvforecast.errors import ClvError
from clvforecast.histories import build_histories
from clvforecast.histories.money import recognised
from clvforecast.ledger import Ledger, read_ledger
from test_ledger import check_reconciled

COLUMNS = (
    "event_id",
    "account_id",
    "contract_id",
    "event_date",
    "kind",
    "amount",
    "currency",
    "start_date",
    "term_months",
)
TERMS = ("initial", "renewal")
OTHERS = ("expansion", "contraction", "change_order", "referral", "churn")
FIRST = dt.date(2019, 1, 1)
FOREVER = 400_000  # days: after the end of every term
Row = tuple[Any, ...]


def signed(kind: str, cents: int) -> str | None:
    if kind == "churn":
        return None if cents % 3 else f"-{cents / 100:.2f}"
    return f"{'-' if kind == 'contraction' else ''}{cents / 100:.2f}"


@st.composite
def any_event(draw: st.DrawFn) -> Row:
    """Kinds, days, amounts and terms that have nothing to do with each other; ids and places repeat."""
    kind = draw(st.sampled_from(TERMS + OTHERS))
    booked = FIRST + dt.timedelta(days=draw(st.integers(0, 1500)))
    start = booked + dt.timedelta(days=draw(st.integers(-400, 400)))
    amount = draw(
        st.one_of(st.just(signed(kind, draw(st.integers(1, 10**6)))), st.sampled_from(["0", "-1", "1e13", "x", None]))
    )
    months = draw(st.sampled_from(["1", "3", "12", "12", "36", None, "0"]))
    where = draw(st.sampled_from("abc")), draw(st.sampled_from(["", "", "k1", "k2"]))
    event_id = str(draw(st.integers(0, 60)))
    return (event_id, *where, str(booked), kind, amount, "USD", draw(st.sampled_from([str(start), None])), months)


@st.composite
def a_customer(draw: st.DrawFn) -> list[Row]:
    """Terms one after the other, with gaps, and what happens in them; nothing is wrong with any of it but days of booking."""
    account, contract = draw(st.sampled_from("pqr")), draw(st.sampled_from(["", "k1"]))
    day, rows = FIRST + dt.timedelta(days=draw(st.integers(0, 300))), []
    for k in range(draw(st.integers(1, 5))):
        months = draw(st.sampled_from([1, 3, 12]))
        booked = day + dt.timedelta(days=draw(st.integers(-40, 40)))
        kind = "initial" if k == 0 else draw(st.sampled_from(["renewal", "renewal", "initial"]))
        rows.append(
            (
                account,
                contract,
                str(booked),
                kind,
                signed(kind, draw(st.integers(1, 10**6))),
                "USD",
                str(day),
                str(months),
            )
        )
        for what in draw(st.lists(st.sampled_from(OTHERS), max_size=2)):
            inside = day + dt.timedelta(days=draw(st.integers(0, 27)))
            amount = signed(what, draw(st.integers(1, 10**5)))
            rows.append((account, contract, str(inside), what, amount, "USD", str(inside), None))
        day += dt.timedelta(days=31 * months + draw(st.sampled_from([0, 0, 0, 5, 200])))
    return [(f"{account}{contract}{draw(st.integers(0, 3))}-{place}", *row) for place, row in enumerate(rows)]


some = st.lists(any_event(), min_size=1, max_size=20)
sound = st.lists(a_customer(), min_size=1, max_size=4).map(lambda parts: [row for part in parts for row in part])
sequences = st.one_of(some, sound, st.tuples(sound, some).map(lambda pair: pair[0] + pair[1]))
days = st.integers(0, 2000).map(lambda after: FIRST + dt.timedelta(days=after))
checked = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def frame(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


def read(table: pd.DataFrame, **settings: Any) -> Ledger | None:
    """The ledger, None where it is refused, which must say why."""
    try:
        return read_ledger(table, **settings)
    except ClvError as error:
        assert len(str(error)) > 20 and "." in str(error)
        return None


def known(ledger: Ledger) -> list[dict[str, Any]]:
    return ledger.events.to_pylist() + ledger.later.drop_columns(["reason"]).to_pylist()


def test_sound_customers_are_accepted_whole() -> None:
    """Else the laws below would be of refused sequences only."""
    accepted, total = [], []

    @settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(a_customer())
    def count(rows: list[Row]) -> None:
        ledger = read(frame(rows))
        accepted.append(0 if ledger is None else len(known(ledger)))
        total.append(len(rows))

    count()
    assert sum(accepted) > 0.8 * sum(total) and sum(total) > 50


@checked
@given(sequences, st.randoms(use_true_random=False))
def test_every_row_is_somewhere_whatever_their_order(rows: list[Row], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    one, other = (read(frame(some_rows), as_of="2024-12-31") for some_rows in (rows, shuffled))
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    check_reconciled(one)
    check_reconciled(other)
    assert one.events.equals(other.events) and one.later.equals(other.later)
    assert one.fingerprint == other.fingerprint
    key = ["event_id", "rule", "amount"]
    kept = [ledger.rejected[key].sort_values(key, ignore_index=True) for ledger in (one, other)]
    pd.testing.assert_frame_equal(*kept)


@checked
@given(sequences, days)
def test_a_day_knows_what_reading_by_then_gives(rows: list[Row], day: dt.date) -> None:
    whole = frame(rows)
    ledger = read(whole)
    by_then = whole[whole["event_date"] <= str(day)]
    if ledger is None:
        return
    try:
        then = ledger.at(day)
    except ClvError as error:
        assert "no event is booked by as_of" in str(error)
        assert read(by_then, as_of=day) is None
        return
    check_reconciled(then)
    expected = read(by_then, as_of=day)
    assert expected is not None and then.events.equals(expected.events)


@checked
@example([("1", "a", "", "2020-01-01", "initial", "12.00", "USD", None, "12"), ("2", "a", "", "2020-02-01", "churn", None, "USD",
          "2020-02-15", None)], dt.date(2020, 3, 1))  # fmt: skip
@given(sequences, days)
def test_histories_hold_the_money_and_the_decisions_of_the_ledger(rows: list[Row], day: dt.date) -> None:
    ledger = read(frame(rows), as_of=day)
    if ledger is None:
        return
    built = build_histories(ledger)
    events = {event["event_id"]: event for event in ledger.events.to_pylist()}
    items = built.items.to_pylist()
    assert {item["event_id"] for item in items} == set(events) and len(items) == len(events)
    for item in items:
        stated = events[item["event_id"]]["amount_cents"]
        assert stated is None or item["cents"] == stated
    cents, start, end = (built.items[name].to_numpy().astype(np.int64) for name in ("cents", "start_day", "end_day"))
    assert (recognised(cents, start, end, FOREVER) == cents).all()
    assert pa.compute.sum(built.account_money["booked_cents"]).as_py() == cents.sum()
    check_decisions(built.terms.to_pylist(), built.decisions.to_pylist())


def check_decisions(terms: list[dict[str, Any]], decisions: list[dict[str, Any]]) -> None:
    """Every term has one, and it is that of the terms."""
    assert [term["term"] for term in terms] == [decision["term"] for decision in decisions]
    for term, decision in zip(terms, decisions, strict=True):
        assert (decision["outcome"] == "renewed") == term["renewed"]
        assert term["start_day"] < term["end_day"] and term["stop_day"] <= term["end_day"]
        assert decision["effective_day"] is None or decision["outcome"] in ("notified", "terminated")
        assert not (decision["returned"] and term["renewed"])


@pytest.mark.parametrize("gap", [0, 10, 400])
def test_a_gap_beyond_grace_ends_a_spell(gap: int) -> None:
    """By hand: the strategies above do draw what the laws are about."""
    again = dt.date(2021, 1, 1) + dt.timedelta(days=gap)
    rows = [
        ("1", "a", "", "2020-01-01", "initial", "12", "USD", None, "12"),
        ("2", "a", "", str(again), "initial", "12", "USD", None, "12"),
    ]
    built = build_histories(read_ledger(frame(rows)))
    assert built.decisions["outcome"].to_pylist()[0] == ("open" if gap == 400 else "renewed")
