"""The ledger: every row goes to one place, for a stated reason, whatever the input's kind or order."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clvforecast.errors import LedgerError
from clvforecast.events import EVENT_ORDER, EVENT_SCHEMA, REJECTED_SCHEMA, RULES
from clvforecast.ledger import Ledger, read_ledger

COLUMNS = ("event_id", "account_id", "event_date", "kind", "amount", "currency", "start_date", "term_months")
GOOD_ROWS: list[tuple[Any, ...]] = [
    ("e1", "a", "2022-01-01", "initial", "1200", "USD", "2022-01-01", "12"),
    ("e2", "a", "2022-06-01", "expansion", "350.5", "USD", "2022-06-15", None),
    ("e3", "a", "2022-12-20", "renewal", "1500", "USD", "2023-01-01", "12"),
    ("e4", "a", "2023-02-01", "change_order", "80.25", "USD", None, None),
    ("e5", "a", "2023-03-01", "contraction", "-200", "USD", "2023-04-01", None),
    ("e6", "a", "2023-11-01", "churn", None, "USD", "2024-01-01", None),
    ("e7", "b", "2022-03-01", "initial", "36000", "USD", "2022-03-01", "36"),
    ("e8", "b", "2022-05-01", "referral", "500", "USD", "2022-05-01", "6"),
]


def table(*rows: tuple[Any, ...], keep: bool = True) -> pd.DataFrame:
    """The good rows and these, all as text."""
    return pd.DataFrame([*(GOOD_ROWS if keep else []), *rows], columns=list(COLUMNS), dtype=object)


def row(**changes: Any) -> tuple[Any, ...]:
    """A good row of its own, with changes."""
    good = dict(zip(COLUMNS, ("x1", "b", "2022-07-01", "expansion", "10", "USD", "2022-07-01", None), strict=True))
    return tuple((good | changes).values())


def check_reconciled(ledger: Ledger) -> None:
    parts = ledger.reconciliation()
    difference = parts[parts["part"] == "difference"]
    assert len(difference) and not difference[["rows", "rows_with_amount", "amount_cents"]].any(axis=None)
    rows = parts.loc[parts["part"] == "read", "rows"].sum()
    assert rows == len(ledger.events) + len(ledger.later) + len(ledger.rejected_rows) == ledger.read.rows


def same(left: pa.Table, right: pa.Table) -> bool:
    return left.combine_chunks().equals(right.combine_chunks())


# --- what is accepted ---------------------------------------------------------------------------------------


def test_good_rows_are_all_accepted() -> None:
    ledger = read_ledger(table(), as_of="2023-12-31", grace_days=30)
    assert ledger.rejected_rows.num_rows == 0 and ledger.later.num_rows == 0
    assert ledger.events.schema.equals(EVENT_SCHEMA)
    assert ledger.rejected_rows.schema.equals(REJECTED_SCHEMA)
    assert (ledger.as_of, ledger.currency, ledger.grace_days) == (dt.date(2023, 12, 31), "USD", 30)
    events = {event["event_id"]: event for event in ledger.events.to_pylist()}
    assert events["e2"]["amount_cents"] == 35050
    assert events["e4"]["start_date"] == dt.date(2023, 2, 1)  # the day it was booked
    assert events["e6"]["amount_cents"] is None
    assert events["e8"]["term_months"] == 6
    assert events["e1"]["contract_id"] == ""
    check_reconciled(ledger)


def test_accepted_is_a_table_in_currency_units() -> None:
    accepted = read_ledger(table()).accepted
    assert accepted["amount"].sum() == pytest.approx(1200 + 350.5 + 1500 + 80.25 - 200 + 36000 + 500)
    assert accepted["amount_cents"].sum() == 3943075
    assert str(accepted["event_date"].dtype).startswith("datetime64")
    assert [tuple(key) for key in accepted[list(EVENT_ORDER)].to_numpy()] == sorted(
        tuple(key) for key in accepted[list(EVENT_ORDER)].to_numpy()
    )


def test_as_of_is_the_latest_booking_unless_given() -> None:
    assert read_ledger(table()).as_of == dt.date(2023, 11, 1)
    assert read_ledger(table(), as_of=pd.Timestamp("2023-05-05")).as_of == dt.date(2023, 5, 5)
    with pytest.raises(LedgerError, match="as_of is 'soon'"):
        read_ledger(table(), as_of="soon")


@pytest.mark.parametrize("grace_days", [-1, 2.5, True])
def test_impossible_grace_is_refused(grace_days: Any) -> None:
    with pytest.raises(LedgerError, match="grace_days"):
        read_ledger(table(), grace_days=grace_days)


# --- one test a rule ----------------------------------------------------------------------------------------

BROKEN: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("missing_account", {"account_id": "  "}, "account_id", None),
    ("missing_event_id", {"event_id": None}, "event_id", None),
    ("unknown_kind", {"kind": "upsell"}, "kind", "upsell"),
    ("missing_date", {"event_date": None}, "event_date", None),
    ("unreadable_date", {"event_date": "01/07/2022"}, "event_date", "01/07/2022"),
    ("unreadable_date", {"event_date": "2022-02-30"}, "event_date", "2022-02-30"),
    ("unreadable_start", {"start_date": "July"}, "start_date", "July"),
    ("date_out_of_range", {"event_date": "0022-07-01"}, "event_date", "0022-07-01"),
    ("start_out_of_range", {"start_date": "9999-12-31"}, "start_date", "9999-12-31"),
    ("missing_amount", {"amount": None}, "amount", None),
    ("amount_not_finite", {"amount": "inf"}, "amount", "inf"),
    ("unreadable_amount", {"amount": "$1,200"}, "amount", "$1,200"),
    ("unreadable_amount", {"amount": "1_000"}, "amount", "1_000"),
    ("amount_out_of_range", {"amount": "1e15"}, "amount", "1e15"),
    ("amount_out_of_range", {"amount": "1e999"}, "amount", "1e999"),
    ("wrong_sign", {"amount": "0"}, "amount", "0"),
    ("wrong_sign", {"amount": "-5"}, "amount", "-5"),
    ("wrong_sign", {"kind": "contraction", "amount": "5"}, "amount", "5"),
    ("wrong_sign", {"kind": "churn", "amount": "5"}, "amount", "5"),
    ("wrong_sign", {"kind": "initial", "amount": "-5", "term_months": "12"}, "amount", "-5"),
    ("wrong_sign", {"amount": "0.004"}, "amount", "0.004"),
    ("missing_currency", {"currency": ""}, "currency", None),
    ("invalid_currency", {"currency": "$"}, "currency", "$"),
    ("missing_term", {"kind": "renewal"}, "term_months", None),
    ("invalid_term", {"kind": "renewal", "term_months": "0"}, "term_months", "0"),
    ("invalid_term", {"kind": "renewal", "term_months": "12.5"}, "term_months", "12.5"),
    ("invalid_term", {"kind": "initial", "term_months": "1201"}, "term_months", "1201"),
    ("invalid_term", {"kind": "change_order", "term_months": "0"}, "term_months", "0"),
    ("duplicate_event", {"event_id": "e2"}, "event_id", "e2"),
    ("no_term", {"kind": "change_order", "account_id": "nobody"}, "account_id", "nobody"),
    ("no_term", {"kind": "referral", "account_id": "nobody"}, "account_id", "nobody"),
    ("no_term", {"kind": "churn", "account_id": "nobody", "amount": None}, "account_id", "nobody"),
    ("no_term", {"account_id": "nobody"}, "account_id", "nobody"),
    ("outside_term", {"start_date": "2022-02-28"}, "start_date", "2022-02-28"),
    ("outside_term", {"start_date": "2025-03-01"}, "start_date", "2025-03-01"),
    ("outside_term", {"start_date": None, "event_date": "2025-03-01"}, "start_date", "2025-03-01"),
    ("outside_term", {"kind": "contraction", "amount": "-1", "start_date": "2025-04-01"}, "start_date",
     "2025-04-01"),
    ("churn_before_start", {"kind": "churn", "amount": None, "start_date": "2022-02-28"}, "start_date",
     "2022-02-28"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "changes", "column", "value"), BROKEN)
def test_a_broken_rule_names_row_column_value_and_hint(
    rule: str, changes: dict[str, Any], column: str, value: str | None
) -> None:
    ledger = read_ledger(table(row(**changes)))
    (rejected,) = ledger.rejected_rows.to_pylist()
    hint = {known.name: known.hint for known in RULES}[rule]
    assert (rejected["rule"], rejected["column"], rejected["hint"]) == (rule, column, hint)
    assert (rejected["value"] or "").strip() == (value or "")
    assert (rejected["source"], rejected["row"]) == ("events", len(GOOD_ROWS) + 1)
    assert rejected["amount"] == changes.get("amount", "10")
    assert f"1 rows rejected ({rule} 1)" in ledger.warnings[0]
    check_reconciled(ledger)


def test_every_rule_has_a_broken_example() -> None:
    assert {rule for rule, *_ in BROKEN} == {rule.name for rule in RULES}


def test_a_row_that_breaks_several_rules_is_rejected_once_by_the_first() -> None:
    ledger = read_ledger(table(row(kind="upsell", event_date="never", amount="x", currency=None)))
    assert ledger.rejected["rule"].tolist() == ["unknown_kind"]


@pytest.mark.parametrize("start", ["2022-03-01", "2025-02-28"])
def test_an_amendment_on_the_first_or_last_day_of_its_term_is_inside(start: str) -> None:
    assert read_ledger(table(row(start_date=start))).rejected_rows.num_rows == 0


def test_a_churn_may_take_effect_long_after_the_term() -> None:
    late = row(kind="churn", amount=None, start_date="2030-01-01")
    assert read_ledger(table(late)).rejected_rows.num_rows == 0


def test_months_are_clipped_to_the_end_of_the_month() -> None:
    first = ("t", "c", "2023-01-31", "initial", "1", "USD", "2023-01-31", "1")  # ends on 2023-02-28
    last_day = row(event_id="in", account_id="c", start_date="2023-02-27")
    end = row(event_id="out", account_id="c", start_date="2023-02-28")
    assert read_ledger(table(first, last_day, end)).rejected["event_id"].tolist() == ["out"]


def test_the_copy_booked_first_counts() -> None:
    later_copy = row(event_date="2022-09-01", amount="99")
    ledger = read_ledger(table(later_copy, row()))
    assert ledger.rejected[["row", "rule", "amount"]].to_numpy().tolist() == [[9, "duplicate_event", "99"]]
    ledger = read_ledger(table(row(amount="x"), row()))  # an unusable copy does not displace a usable one
    assert ledger.rejected["rule"].tolist() == ["unreadable_amount"]


# --- contracts and days of knowledge ------------------------------------------------------------------------


def with_contracts(of: str) -> pd.DataFrame:
    """Account p with a contract c1 in 2022 and c2 in 2023, and an expansion of the contract `of`."""
    rows = [
        ("t1", "p", "2022-01-01", "initial", "10", "USD", "2022-01-01", "12", "c1"),
        ("t2", "p", "2023-01-01", "initial", "10", "USD", "2023-01-01", "12", "c2"),
        ("x", "p", "2023-02-01", "expansion", "1", "USD", "2023-02-01", None, of),
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "contract_id"])


def test_an_amendment_belongs_to_its_contract() -> None:
    assert read_ledger(with_contracts(of="c2")).rejected_rows.num_rows == 0
    assert read_ledger(with_contracts(of="")).rejected_rows.num_rows == 0  # any contract of the account
    assert read_ledger(with_contracts(of="c1")).rejected["rule"].tolist() == ["outside_term"]
    assert read_ledger(with_contracts(of="c3")).rejected["rule"].tolist() == ["no_term"]


def test_later_bookings_and_amendments_of_unknown_terms_wait() -> None:
    # the raise of the second term is booked before that term is
    early = row(event_id="early", account_id="a", event_date="2022-12-01", start_date="2023-02-01")
    ledger = read_ledger(table(early), as_of="2022-12-10")
    reasons = {event["event_id"]: event["reason"] for event in ledger.later.to_pylist()}
    assert reasons.pop("early") == "its term is booked after as_of"
    assert set(reasons) == {"e3", "e4", "e5", "e6"} and set(reasons.values()) == {"booked after as_of"}
    assert ledger.at("2022-12-20").later["event_id"].to_pylist() == ["e4", "e5", "e6"]
    check_reconciled(ledger)


def test_before_the_first_booking_there_is_no_ledger() -> None:
    with pytest.raises(LedgerError, match="the first is booked on 2022-01-01"):
        read_ledger(table()).at("2021-12-31")


# --- amounts and dates as they come -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "cents"),
    [
        ("1.005", 100),
        ("1.015", 102),
        ("1.025", 102),
        ("1.0250001", 103),
        ("2.5e2", 25000),
        (" +7. ", 700),
        (".5", 50),
    ],
)
def test_sub_cent_amounts_are_rounded_half_even(amount: str, cents: int) -> None:
    ledger = read_ledger(table(row(amount=amount)))
    (event,) = (event for event in ledger.events.to_pylist() if event["event_id"] == "x1")
    assert event["amount_cents"] == cents
    assert any("1 amounts with fractions of a cent" in note for note in ledger.warnings) == (
        Decimal(amount.strip()) * 100 != cents
    )


def test_binary_noise_is_no_sub_cent_amount() -> None:
    assert read_ledger(table(row(amount=0.1 + 0.2))).warnings == ()


def test_a_negative_tie_rounds_half_even_too() -> None:
    ledger = read_ledger(table(row(kind="contraction", amount="-1.005"), row(event_id="x2", amount="-1")))
    assert -100 in ledger.events["amount_cents"].to_pylist()


def test_a_time_of_day_is_dropped_and_counted() -> None:
    ledger = read_ledger(table(row(event_date="2022-07-01T09:30:00", start_date="2022-07-01 00:00:00")))
    assert ledger.rejected_rows.num_rows == 0
    assert any("1 rows have a time of day" in note for note in ledger.warnings)


def test_zoned_midnight_is_that_day_in_its_zone() -> None:
    frame = table(keep=True).assign(
        event_date=lambda t: pd.to_datetime(t["event_date"]).dt.tz_localize("Pacific/Auckland")
    )
    ledger = read_ledger(frame)
    assert ledger.events["event_date"].to_pylist()[0] == dt.date(2022, 1, 1)
    assert ledger.warnings == ()


def test_ignored_term_months_and_repeated_rows_are_counted() -> None:
    ledger = read_ledger(table(row(term_months="7")))
    assert any("1 expansion, contraction or churn rows give term_months" in note for note in ledger.warnings)
    twice = table(row(), row()).drop(columns="event_id")
    ledger = read_ledger(twice)
    assert ledger.events["event_id"].to_pylist()[0] == "row-000000001"
    assert any("1 rows repeat another row" in note for note in ledger.warnings)


# --- every kind of input gives the same ledger --------------------------------------------------------------


def typed() -> pd.DataFrame:
    frame = table(row(amount=None))
    for column in ("event_date", "start_date"):
        frame[column] = pd.to_datetime(frame[column])
    for column in ("amount", "term_months"):
        frame[column] = pd.to_numeric(frame[column])
    return frame


def as_csv(folder: Path) -> Path:
    typed().to_csv(folder / "events.csv", index=False, date_format="%Y-%m-%d")
    return folder / "events.csv"


def as_semicolon_csv(folder: Path) -> str:
    typed().to_csv(folder / "it's.csv.gz", index=False, sep=";", date_format="%Y-%m-%d")
    return str(folder / "it's.csv.gz")


def as_csv_glob(folder: Path) -> str:
    typed().iloc[:5].to_csv(folder / "part-1.csv", index=False, date_format="%Y-%m-%d")
    shuffled = list(reversed(COLUMNS))
    typed().iloc[5:][shuffled].to_csv(folder / "part-2.csv", index=False, date_format="%Y-%m-%d")
    return str(folder / "part-*.csv")


def as_parquet_glob(folder: Path) -> str:
    typed().iloc[:3].to_parquet(folder / "1.parquet", index=False)
    typed().iloc[3:].to_parquet(folder / "2.parquet", index=False)
    return str(folder / "*.parquet")


def as_duckdb(folder: Path) -> duckdb.DuckDBPyRelation:
    frame = typed()
    connection = duckdb.connect(str(folder / "events.db"))
    connection.register("frame", frame)
    return connection.sql("SELECT * FROM frame")


INPUTS = {
    "pandas text": lambda folder: table(row(amount=None)),
    "pandas typed": lambda folder: typed(),
    "polars": lambda folder: pl.from_pandas(typed()),
    "polars lazy": lambda folder: pl.from_pandas(typed()).lazy(),
    "arrow": lambda folder: pa.Table.from_pandas(typed(), preserve_index=False),
    "arrow dictionary": lambda folder: pa.table(
        {name: pa.array(table(row(amount=None))[name]).dictionary_encode() for name in COLUMNS}
    ),
    "duckdb": as_duckdb,
    "csv": as_csv,
    "csv semicolon gz": as_semicolon_csv,
    "csv glob": as_csv_glob,
    "parquet glob": as_parquet_glob,
    "other letter case": lambda folder: typed().rename(columns={"amount": "Amount", "kind": " KIND "}),
}


@pytest.mark.parametrize("whole", [False, True], ids=["floats", "integers"])
def test_numbers_are_judged_as_their_text_is(whole: bool) -> None:
    """Columns of numbers take a shorter way than text; cents, rejections and warnings are the same."""
    amounts = [0.1, 0.29, 1.005, 2.675, 0.005, 0.015, 99.999999999, 1e-7, -5.0, 0.0, 123456789.01, 4503599627.37]
    amounts += [
        1e12,
        1e12 + 0.01,
        1.1e12,
        9e18,
        float("nan"),
        float("inf"),
        *np.random.default_rng(1).lognormal(5, 3, 200),
    ]
    months = [12.0, float("nan"), 12.5, -3.0, 1e10, 0.0, 1200.0, 1201.0]
    if whole:
        amounts = [10**12, 10**12 + 1, -5, 0, 7, 2**62, *range(1, 60)]
        months = [12, -3, 0, 999_999_999, 10**9, 2**40, 1200]
    n = max(len(amounts), len(months)) * 2
    new = {"kind": "initial", "start_date": None}
    frame = table(*(row(event_id=f"new {i}", account_id=f"a{i}", **new) for i in range(n)))
    typed = frame.assign(
        amount=pd.Series([amounts[i % len(amounts)] for i in range(len(frame))]),
        term_months=pd.Series([months[i % len(months)] if i >= n // 2 else months[0] for i in range(len(frame))]),
    )
    text = typed.assign(
        **{name: ["" if pd.isna(value) else repr(value) for value in typed[name]] for name in ("amount", "term_months")}
    )
    one, other = read_ledger(typed), read_ledger(text)
    assert same(one.events, other.events) and one.warnings == other.warnings
    assert one.events.num_rows > 20 and one.rejected["rule"].nunique() > 2
    assert one.rejected[["row", "rule", "amount_cents"]].equals(other.rejected[["row", "rule", "amount_cents"]])
    check_reconciled(one)


@pytest.mark.parametrize("name", INPUTS)
def test_every_kind_of_input_gives_the_same_ledger(name: str, tmp_path: Path) -> None:
    expected = read_ledger(table(row(amount=None)), as_of="2023-05-01")
    ledger = read_ledger(INPUTS[name](tmp_path), as_of="2023-05-01")
    assert same(ledger.events, expected.events) and same(ledger.later, expected.later)
    assert same(ledger.accounts, expected.accounts)
    assert ledger.fingerprint == expected.fingerprint
    assert ledger.rejected["rule"].tolist() == ["missing_amount"]
    check_reconciled(ledger)


def test_rows_are_counted_file_by_file(tmp_path: Path) -> None:
    (rejected,) = read_ledger(as_csv_glob(tmp_path)).rejected_rows.to_pylist()
    assert (Path(rejected["source"]).name, rejected["row"]) == ("part-2.csv", 4)
    (rejected,) = read_ledger(as_parquet_glob(tmp_path)).rejected_rows.to_pylist()
    assert (Path(rejected["source"]).name, rejected["row"]) == ("2.parquet", 6)


def test_a_column_of_mixed_objects_is_read_value_by_value() -> None:
    ledger = read_ledger(table(row(amount=object), row(event_id="x2", amount=Decimal("1.25"))))
    assert ledger.rejected["rule"].tolist() == ["unreadable_amount"]
    assert 125 in ledger.events["amount_cents"].to_pylist()


def test_whole_float_ids_are_integers() -> None:
    frame = table(keep=True).assign(account_id=[1.0] * 6 + [2.0] * 2)
    ledger = read_ledger(frame, pd.DataFrame({"account_id": [1, 2], "plan": ["s", "l"]}))
    assert ledger.accounts["account_id"].to_pylist() == ["1", "2"]
    assert ledger.accounts["plan"].to_pylist() == ["s", "l"]


# --- inputs that cannot be used as a whole ------------------------------------------------------------------


def test_unusable_inputs_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no column amount, currency; found are event_id"):
        read_ledger(table().drop(columns=["amount", "currency"]))
    with pytest.raises(LedgerError, match="itself adds a column reason"):
        read_ledger(table().assign(reason="x"))
    with pytest.raises(LedgerError, match=r"USD \(8 rows\), EUR \(1 rows\)"):
        read_ledger(table(row(currency="eur")))
    with pytest.raises(LedgerError, match="holds no rows"):
        read_ledger(table().iloc[:0])
    with pytest.raises(LedgerError, match=r"none of 1 rows can be used \(no_term 1\)"):
        read_ledger(table(row(), keep=False))
    with pytest.raises(LedgerError, match=r"cannot read a builtins\.dict"):
        read_ledger({"account_id": ["a"]})
    with pytest.raises(LedgerError, match="no file matches"):
        read_ledger(tmp_path / "absent*.csv")
    with pytest.raises(LedgerError, match="two columns have the same name"):
        read_ledger(table().assign(Amount=1))
    with pytest.raises(LedgerError, match="two columns have the same name"):
        read_ledger(pd.concat([table(), table()[["amount"]]], axis=1))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "no column names"),
        ("ragged.csv", b"account_id,amount\na,1\nb,2,3,4\n", "no column event_date"),
        ("latin.csv", "account_id,größe\na,1\n".encode("latin-1"), "UTF-8"),
        ("twice.csv", b"amount,amount\n1,2\n", "two columns have the same name"),
        ("not.parquet", b"PAR0", "not a readable Parquet"),
        ("events.xlsx", b"PK", "readable are files that all end in"),
    ],
)
def test_unusable_files_say_what_to_do(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LedgerError, match=message):
        read_ledger(tmp_path / name)


def test_amounts_beyond_exact_counting_are_refused() -> None:
    many = pd.DataFrame({"account_id": np.arange(50_000), "event_date": "2022-01-01", "kind": "initial"})
    many = many.assign(amount=1e12, currency="USD", term_months=12)
    with pytest.raises(LedgerError, match="Check the unit of column amount"):
        read_ledger(many)


# --- accounts -----------------------------------------------------------------------------------------------


def test_accounts_carry_segments_and_left_truncation() -> None:
    accounts = pd.DataFrame(
        {"account_id": ["b", "c"], "plan": [None, "pro"], "size": [3, 4], "observed_from": [2, None]}
    )
    ledger = read_ledger(table(), accounts)
    assert ledger.accounts.to_pylist() == [
        {"account_id": "a", "plan": "not recorded", "size": "not recorded", "observed_from": None},
        {"account_id": "b", "plan": "not recorded", "size": "3", "observed_from": 2},
    ]
    assert ledger.has_observed_from
    assert any("1 accounts with events have no row" in note for note in ledger.warnings)
    assert any("1 rows have no accepted events" in note for note in ledger.warnings)


def test_without_observed_from_every_account_is_seen_from_its_start() -> None:
    ledger = read_ledger(table(), pd.DataFrame({"account_id": ["a", "b"], "plan": ["x", "y"]}))
    assert not ledger.has_observed_from
    assert ledger.accounts["observed_from"].to_pylist() == [0, 0]
    assert ledger.accounts.schema.field("observed_from").type == pa.int32()


def test_segments_come_from_constant_text_columns_of_the_events() -> None:
    frame = table().assign(plan=["x"] * 6 + ["y"] * 2, note=list("12345678"), score=1.0)
    ledger = read_ledger(frame)
    assert ledger.accounts.column_names == ["account_id", "plan", "observed_from"]
    assert ledger.accounts["plan"].to_pylist() == ["x", "y"]
    assert any("note, score not used as segments" in note for note in ledger.warnings)
    assert ledger.events.column_names[-3:] == ["plan", "note", "score"]


def test_extra_columns_of_any_name_are_carried() -> None:
    names = ["rule", "first_start", "exact", "line", "kind of sale", 'a "quoted" one', "row", "source"]
    frame = table().assign(**dict.fromkeys(names, "v"))
    ledger = read_ledger(frame, as_of="2022-12-10").at("2023-12-31")
    assert ledger.events.column_names[len(EVENT_SCHEMA) :] == names
    assert set(ledger.events['a "quoted" one'].to_pylist()) == {"v"}


@pytest.mark.parametrize(
    ("accounts", "message"),
    [
        ({"id": ["a"]}, "no column account_id"),
        ({"account_id": ["a", " a", "b"]}, r"'a' 2 times \(rows 1, 2\)"),
        ({"account_id": ["a", None]}, "accounts row 2: no account_id"),
        (
            {"account_id": ["a", "b"], "observed_from": [0, -1]},
            r"accounts row 2 \(account 'b'\): observed_from is '-1'",
        ),
        ({"account_id": ["a", "b"], "observed_from": [1.5, 0]}, "observed_from is '1.5'"),
        ({"account_id": ["a", "b"], "observed_from": ["many", 0]}, "observed_from is 'many'"),
    ],
)
def test_unusable_accounts_are_refused(accounts: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        read_ledger(table(), pd.DataFrame(accounts))


# --- laws ---------------------------------------------------------------------------------------------------

KINDS = ("initial", "renewal", "expansion", "contraction", "change_order", "referral", "churn")
odd_text = st.sampled_from(["", " ", "x", "NaN", "1e40", "2022-02-30", "-0", "１２", None])
days = st.dates(dt.date(2022, 1, 1), dt.date(2024, 12, 31)).map(str)
good_amount = st.decimals("-1000", "1000", places=3, allow_nan=False).map(str)
any_row = st.tuples(
    st.one_of(st.integers(0, 40).map(str), odd_text),
    st.one_of(st.sampled_from("abc"), odd_text),
    st.one_of(days, days, days, odd_text),
    st.one_of(st.sampled_from(KINDS), st.sampled_from(KINDS), odd_text),
    st.one_of(good_amount, good_amount, odd_text),
    st.one_of(st.just("USD"), st.just("USD"), st.just("USD"), odd_text),
    st.one_of(days, st.none(), odd_text),
    st.one_of(st.integers(-1, 36).map(str), st.none(), odd_text),
)
contracts = st.sampled_from(["", "c1", "c2"])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(any_row, max_size=25))
def test_any_table_reconciles_or_is_refused(rows: list[tuple[Any, ...]]) -> None:
    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    try:
        ledger = read_ledger(frame, as_of="2023-06-30")
    except LedgerError as error:
        assert len(str(error)) > 20
        return
    check_reconciled(ledger)
    assert set(ledger.accounts["account_id"].to_pylist()) == {
        event["account_id"] for event in ledger.events.to_pylist() + ledger.later.to_pylist()
    }


def company(seed: int, n_accounts: int = 40) -> pd.DataFrame:
    """Rows of all kinds, most of them usable, some booked before their term, some on named contracts."""
    random = np.random.default_rng(seed)
    n = n_accounts * 8
    kind = random.choice(KINDS, n, p=[0.25, 0.3, 0.15, 0.1, 0.08, 0.04, 0.08])
    start = np.datetime64("2020-01-01") + random.integers(0, 1500, n)
    sign = np.where(kind == "contraction", -1, np.where(kind == "churn", -1, 1))
    account = random.integers(0, n_accounts, n)
    return pd.DataFrame(
        {
            "event_id": [f"e{i}" for i in random.integers(0, 3 * n, n)],
            "account_id": [f"a{i}" for i in account],
            # accounts with an even number keep parallel contracts, whose amendments may leave the name out
            "contract_id": np.where(
                account % 2 == 0,
                np.where(np.isin(kind, KINDS[:2]) | (start.astype(int) % 3 > 0), "c1", ""),
                "",
            ),
            "event_date": start + random.integers(-90, 90, n),
            "kind": kind,
            "amount": (sign * random.lognormal(5, 1, n)).round(2),
            "currency": "USD",
            "start_date": start,
            "term_months": random.choice([1, 12, 12, 24], n),
            "plan": np.where(account % 3 == 0, "pro", "basic"),
        }
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    frame = company(seed)
    ledger = read_ledger(frame, as_of="2022-06-30")
    shuffled = read_ledger(frame.sample(frac=1, random_state=seed), as_of="2022-06-30")
    assert ledger.rejected_rows.num_rows > 0 and ledger.later.num_rows > 0
    assert same(ledger.events, shuffled.events) and same(ledger.later, shuffled.later)
    assert same(ledger.accounts, shuffled.accounts)
    assert ledger.fingerprint == shuffled.fingerprint
    key = ["event_id", "rule", "amount"]
    pd.testing.assert_frame_equal(
        ledger.rejected[key].sort_values(key, ignore_index=True),
        shuffled.rejected[key].sort_values(key, ignore_index=True),
    )


@pytest.mark.parametrize("day", ["2020-03-31", "2021-06-30", "2023-01-01"])
def test_at_a_day_equals_reading_only_what_was_booked_by_then(day: str) -> None:
    frame = company(3)
    known = frame[frame["event_date"] <= pd.Timestamp(day)]
    then = read_ledger(known, as_of=day)
    for ledger in (read_ledger(frame).at(day), read_ledger(frame, as_of="2020-02-01").at(day)):
        assert same(ledger.events, then.events)
        assert ledger.as_of == then.as_of
        check_reconciled(ledger)


def test_the_size_of_chunks_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = company(4)
    frame.to_parquet(tmp_path / "events.parquet", row_group_size=50)
    whole = read_ledger(str(tmp_path / "events.parquet"), as_of="2022-06-30")
    monkeypatch.setattr("clvforecast.ledger.tables.ROWS_AT_ONCE", 16)
    monkeypatch.setattr("clvforecast.ledger.rows.ROWS_AT_ONCE", 16)
    monkeypatch.setattr("clvforecast.ledger.rows.LARGEST_ARRAY", 0)
    for source in (str(tmp_path / "events.parquet"), frame):
        chunked = read_ledger(source, as_of="2022-06-30")
        assert chunked.fingerprint == whole.fingerprint
        assert chunked.rejected["row"].tolist() == whole.rejected["row"].tolist()


def test_many_copies_and_ties_are_told_apart_by_their_text() -> None:
    """Same account, days and hash bucket or not: only event_id decides the order, and each counts once."""
    ids = ["b", "a", "\u00e9", "B", "a ", "aa", "\U0001f600", "A", "b"]
    changes = {"event_date": "2022-07-01", "start_date": "2022-07-01", "kind": "change_order"}
    ledger = read_ledger(table(*(row(event_id=event_id, **changes) for event_id in ids)))
    tied = [e["event_id"] for e in ledger.events.to_pylist() if str(e["event_date"]) == "2022-07-01"]
    assert tied == sorted({event_id.strip() for event_id in ids})
    assert ledger.rejected["rule"].tolist() == ["duplicate_event"] * 2


def test_the_fingerprint_follows_content() -> None:
    ledger = read_ledger(table())
    assert ledger.fingerprint == read_ledger(table()).fingerprint
    changed = [
        read_ledger(table(row())),
        read_ledger(table(), grace_days=5),
        read_ledger(table(), as_of="2023-01-31"),
        read_ledger(table().replace("1200", "1201")),
        read_ledger(table(), pd.DataFrame({"account_id": ["a", "b"], "plan": "x"})),
    ]
    assert len({ledger.fingerprint, *(other.fingerprint for other in changed)}) == 6


def test_the_fingerprint_is_of_values_not_of_their_types(tmp_path: Path) -> None:
    """A posterior fitted from a CSV file knows its ledger again when that comes from Parquet."""
    frame = table()
    frame = frame.assign(seats=range(len(frame)))
    frame.to_parquet(tmp_path / "events.parquet")
    frame.to_csv(tmp_path / "events.csv", index=False)
    found = {read_ledger(str(tmp_path / name)).fingerprint for name in ("events.parquet", "events.csv")}
    assert len(found) == 1
    assert read_ledger(frame.assign(seats=7)).fingerprint not in found


@pytest.mark.parametrize("name", ["plain_cents", "no_term", "amount_text", "rule", "Exact"])
def test_an_extra_column_may_have_any_name(name: str) -> None:
    ledger = read_ledger(table().assign(**{name: "1"}))
    assert ledger.events.num_rows == read_ledger(table()).events.num_rows
    assert name in ledger.events.column_names


def test_blank_bytes_are_blank() -> None:
    frame = pa.Table.from_pandas(table().assign(start_date=""), preserve_index=False)
    place = frame.column_names.index("start_date")
    frame = frame.set_column(place, "start_date", frame["start_date"].cast(pa.binary()))
    assert read_ledger(frame).rejected_rows.num_rows == 0


@pytest.mark.slow
def test_a_million_rows_load_in_seconds() -> None:
    frame = company(5, n_accounts=125_000)
    begin = dt.datetime.now()
    ledger = read_ledger(frame)
    assert (dt.datetime.now() - begin).total_seconds() < 60
    check_reconciled(ledger)


def test_parquet_keeps_the_rejected_rows_readable(tmp_path: Path) -> None:
    pq.write_table(read_ledger(table(row(kind="upsell"))).rejected_rows, tmp_path / "rejected.parquet")
    assert pq.read_table(tmp_path / "rejected.parquet")["rule"].to_pylist() == ["unknown_kind"]
