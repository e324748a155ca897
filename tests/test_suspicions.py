"""What is legal but looks wrong: each rule fires on what was planted, with its exact count, and on nothing else."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import clvforecast as clv
from clvforecast.ledger.months import bookings_by_day, empty_months, month_of, shortfall
from clvforecast.ledger.suspicions import plain_spelling

COLUMNS = ("account_id", "event_date", "kind", "amount", "start_date", "term_months")


def company(n_accounts: int = 60, years: int = 4) -> pd.DataFrame:
    """Yearly contracts that begin on every second day of 2019 or so and are renewed, on their start, at 5% more each time."""
    rows = []
    for account in range(n_accounts):
        first = pd.Timestamp("2019-01-03") + pd.Timedelta(days=int(360 * account / n_accounts))
        for year in range(years):
            day = first + pd.DateOffset(years=year)
            rows.append((f"Firm {account:04d}", day, "renewal" if year else "initial", 1200.0 * 1.05**year, day, 12))
    return pd.DataFrame(rows, columns=list(COLUMNS)).assign(currency="USD")


def added(events: pd.DataFrame, *rows: tuple[Any, ...]) -> pd.DataFrame:
    more = pd.DataFrame(rows, columns=list(COLUMNS)).assign(currency="USD")
    for name in ("event_date", "start_date"):
        more[name] = pd.to_datetime(more[name])
    return pd.concat([events, more], ignore_index=True)


def warnings_of(events: pd.DataFrame, as_of: str | None = "2022-12-31", **columns: Any) -> tuple[str, ...]:
    ledger = clv.read_ledger(events.assign(**columns), as_of=as_of)
    assert ledger.rejected_rows.num_rows == 0
    assert set(ledger.suspicions) <= set(ledger.warnings)
    return ledger.suspicions


def test_a_plain_company_raises_no_suspicion() -> None:
    assert warnings_of(company()) == ()
    assert warnings_of(company(n_accounts=1000)) == ()


# --- renewals a hundred times the price ----------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "fires"), [(100, True), (0.01, True), (95, False), (0.0101, False)])
def test_a_unit_slip_is_a_renewal_of_a_hundred_times_the_price_a_month(factor: float, fires: bool) -> None:
    events = company(years=3)
    for account in ("Firm 0007", "Firm 0011"):
        mine = (events["account_id"] == account).to_numpy()
        events.loc[np.flatnonzero(mine)[-1], "amount"] = events.loc[np.flatnonzero(mine)[-2], "amount"] * factor
    found = warnings_of(events, as_of=None)
    assert bool(found) == fires
    if fires:
        assert found[0].startswith("events: 2 renewals have a monthly price of 100 times") and len(found) == 1
        assert "account 'Firm 0007', 2021-02-14: " in found[0]


def test_a_longer_term_is_no_unit_slip_and_lines_are_told_apart() -> None:
    rows = [
        ("a", "2020-01-01", "initial", 10.0, "2020-01-01", 1),
        ("a", "2020-02-01", "renewal", 1200.0, "2020-02-01", 120),  # 120 times the amount, the same price
    ]
    assert warnings_of(added(company(), *rows)) == ()
    contracts = added(
        company(0),
        *((*row[:2], "initial", *row[3:]) for row in rows[:1]),
        ("a", "2020-02-01", "renewal", 99e3, "2020-02-01", 1),
    )
    assert "1 renewals" in warnings_of(contracts)[0]
    assert warnings_of(contracts, contract_id=["c1", "c2"]) == ()


# --- parallel terms ------------------------------------------------------------------------------------------


def test_parallel_terms_ask_for_a_contract_id() -> None:
    rows = [
        ("Firm 0003", "2019-03-01", "initial", 500.0, "2019-03-01", 12),
        ("Firm 0009", "2020-04-01", "initial", 500.0, "2020-04-01", 6),
        ("Firm 0009", "2020-05-01", "initial", 500.0, "2020-05-01", 6),
    ]
    events = added(company(), *rows)
    (found,) = warnings_of(events)
    assert found.startswith(
        "events: 2 accounts have parallel terms and no contract_id (account 'Firm 0003', 2019-03-01: "
    )
    contract = [""] * len(company()) + ["x", "y", "z"]
    assert warnings_of(events, contract_id=contract) == ()
    contract[-1] = "y"
    (found,) = warnings_of(events, contract_id=contract)
    assert found.startswith(
        "events: 1 accounts have parallel terms in one contract_id (account 'Firm 0009', 2020-05-01: "
    )


def test_an_early_renewal_and_a_return_after_an_early_end_are_not_parallel() -> None:
    early = (
        ("a", "2020-01-01", "initial", 900.0, "2020-01-01", 12),
        ("a", "2020-07-05", "renewal", 900.0, "2020-07-05", 12),
    )
    ended = [
        ("b", "2020-01-01", "initial", 900.0, "2020-01-01", 12),
        ("b", "2020-02-01", "churn", -800.0, "2020-02-01", None),
        ("b", "2020-04-01", "initial", 900.0, "2020-04-01", 12),
    ]
    assert warnings_of(added(company(), *early, *ended)) == ()
    (found,) = warnings_of(added(company(), *early, ended[0], ended[2]))
    assert found.startswith("events: 1 accounts have parallel terms")


# --- days far off --------------------------------------------------------------------------------------------


def test_service_that_starts_years_after_its_booking_is_suspicious_unless_it_follows_on() -> None:
    chain = [
        ("a", "2020-01-01", "initial", 900.0, "2020-01-01", 36),
        ("a", "2020-01-01", "renewal", 900.0, "2023-01-01", 36),
        ("a", "2020-01-01", "expansion", 90.0, "2025-06-01", None),
        ("a", "2020-01-01", "churn", 0.0, "2026-01-01", None),
    ]
    assert warnings_of(added(company(), *chain)) == ()
    slip = (
        ("b", "2020-01-01", "initial", 900.0, "2022-01-03", 12),
        ("c", "2020-01-01", "initial", 900.0, "2022-01-01", 12),
    )
    (found,) = warnings_of(added(company(), *chain, *slip))  # 733 and 731 days
    assert found.startswith("events: 1 start more than two years after their booking")
    assert "(account 'b', 2022-01-03, booked 2020-01-01)" in found


def test_bookings_years_after_all_others_are_told() -> None:
    late = ("Firm 0002", "2122-01-09", "renewal", 1200.0, "2022-12-01", 12)
    found = warnings_of(added(company(), late), as_of=None)
    assert found[0].startswith(
        "events: 1 are booked two years or more after all others (account 'Firm 0002', 2122-01-09)"
    )
    assert warnings_of(added(company(), late))[0] == found[0]  # also where it is kept for later
    paused = [("Firm 0002", f"2026-01-0{day}", "change_order", 1.0, f"2026-01-0{day}", None) for day in range(1, 6)]
    assert warnings_of(added(company(), *paused)) == ()  # five of 245 are no slip


# --- account ids ---------------------------------------------------------------------------------------------


def test_ids_that_differ_only_in_writing() -> None:
    events = company()
    renamed = {
        "Firm 0004": "GTX Pro",
        "Firm 0005": "GTXPro",
        "Firm 0006": "gtx-pro",
        "Firm 0007": "Zoe\u0308",
        "Firm 0008": "ZOË",
    }
    (found,) = warnings_of(events.assign(account_id=events["account_id"].replace(renamed)))
    assert found.startswith("events: 5 account ids differ from another only by letter case")
    assert "('GTX Pro' and 'GTXPro')" in found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("GTX Pro", "GTXPro", True),
        ("Ａcme", "acme", True),
        ("O'Neil & Co.", "ONeil Co", True),
        ("A 1", "a1", True),
        ("1-23", "12-3", False),
        ("1.5", "15", False),
        ("a1-23", "a12-3", False),
        ("0015000000Gv7qJ", "0015000000gv7qJ", False),  # Salesforce's own ids tell case apart
        ("&&", "--", False),
        ("été", "ete", False),
    ],
)
def test_plain_spelling(one: str, other: str, same: bool) -> None:
    first, second = plain_spelling(pa.array([one, other])).to_pylist()
    assert (first == second) == same


def test_codes_are_not_one_account() -> None:
    events = company()
    number = events["account_id"].str[-4:].astype(int)
    codes = (number // 10).astype(str) + "-" + (number % 10 + 10).astype(str)
    assert codes.nunique() == 60 and codes.str.replace("-", "").nunique() == 60
    assert warnings_of(events.assign(account_id="7-" + codes)) == ()
    assert warnings_of(events.assign(account_id=codes.replace({"1-10": "11-0"}))) == ()


# --- months --------------------------------------------------------------------------------------------------


def test_a_missing_month_is_named() -> None:
    events = company(n_accounts=400, years=4)
    whole = events["event_date"].dt.strftime("%Y-%m")
    assert warnings_of(events, as_of="2022-12-31") == ()
    lost = events[~whole.isin(["2020-05", "2021-09"])]
    (found,) = warnings_of(lost)
    assert found.startswith("events: nothing is booked in 2 months in which it usually is (2020-05, 2021-09)")


def test_seasons_pauses_and_few_bookings_are_no_gap() -> None:
    events = company(n_accounts=400)
    month = events["event_date"].dt.month
    assert warnings_of(events[month != 8]) == ()  # nothing in any August
    assert warnings_of(company(n_accounts=30)[lambda t: t["event_date"].dt.strftime("%Y-%m") != "2020-05"]) == ()
    assert warnings_of(pd.concat([company(400)[lambda t: t["event_date"].dt.month % 3 == 0]])) == ()


@pytest.mark.parametrize("as_of", ["2022-06-30", "2022-06-20"])
@pytest.mark.parametrize("kept", [0.0, 0.1])
def test_a_truncated_end_is_told_with_what_is_usual(as_of: str, kept: float) -> None:
    events = company(n_accounts=2000)
    events = events[events["event_date"] <= as_of]
    assert warnings_of(events, as_of=as_of) == ()
    last = np.flatnonzero(events["event_date"] >= "2022-06-01")
    left = events.drop(events.index[last[int(kept * len(last)) :]])
    (found,) = warnings_of(left, as_of=as_of)
    of_days = events["event_date"].between("2021-06-01", f"2021-{as_of[5:]}").sum()
    assert found.startswith(f"events: {int(kept * len(last))} are booked from 2022-06-01 to {as_of}, where ")
    usual = float(found.split("where ")[1].split(" usually")[0].replace(",", ""))
    assert usual == pytest.approx(of_days, rel=0.15)


@pytest.mark.parametrize("as_of", ["2022-08-15", "2022-12-31", "2027-03-31"])
def test_a_long_silence_is_told(as_of: str) -> None:
    events = company(n_accounts=400)
    until_may = events[events["event_date"] < "2022-06-01"]
    (found,) = warnings_of(until_may, as_of=as_of)
    last = until_may["event_date"].max()
    usual = len(until_may[until_may["event_date"] >= "2021-12-01"]) / 6
    assert found.startswith(
        f"events: 0 are booked from 2022-06-01 to {as_of}, where {usual:.0f} a month were usual before"
    )
    assert f", {last:%Y-%m-%d})" in found
    few = company(n_accounts=24)  # two a month
    assert warnings_of(few[few["event_date"] < "2022-06-01"], as_of=as_of) == ()


def test_a_season_s_silence_is_no_truncated_end() -> None:
    events = company(n_accounts=800)
    season = events[events["event_date"].dt.month <= 7]
    for as_of in ("2021-10-31", "2021-12-31", "2022-12-31"):
        assert warnings_of(season[season["event_date"] <= as_of], as_of=as_of) == ()


def test_a_truncated_end_is_told_of_the_day_that_is_asked_for() -> None:
    events = company(n_accounts=2000)
    ledger = clv.read_ledger(events[events["event_date"] < "2022-05-10"], as_of="2022-06-30")
    assert "are booked from 2022-06-01 to 2022-06-30" in ledger.warnings[-1]
    assert ledger.at("2022-04-30").warnings == ()
    assert ledger.at("2022-04-30").at("2022-06-30").warnings == ledger.warnings


@pytest.mark.parametrize("share", [0.6, 1.5])
def test_growth_decline_and_batches_are_no_truncation(share: float) -> None:
    """Yearly growth to 1.5 and decline to .6, on top of chance, at every month's end and in its middle."""
    random = np.random.default_rng(1)
    months = np.arange(60)
    for pattern in (np.ones(12), np.array([9, 0, 0] * 4), np.array([3, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 2])):
        counts = random.poisson(80 * share ** (months / 12) * pattern[months % 12])
        day = (months + 540).astype("datetime64[M]").astype("datetime64[D]").astype(int)
        booked = np.repeat(day, counts) + random.integers(0, 28, counts.sum())
        for until in range(int(day[20]), int(day[-1]), 7):
            bookings = bookings_by_day(booked[booked <= until], np.datetime64(until, "D").item())
            assert shortfall(bookings) is None and empty_months(bookings) == []


@pytest.mark.parametrize("n_accounts", [25, 150, 600])
@pytest.mark.parametrize("seed", range(4))
def test_synthetic_companies_raise_no_suspicion(n_accounts: int, seed: int) -> None:
    events, truth = clv.simulate_events(n_accounts=n_accounts, seed=seed)
    ledger = clv.read_ledger(events, as_of=truth.as_of)
    assert ledger.warnings == ()
    random = np.random.default_rng(seed)
    for days in random.integers(30, 365 * 6, 8):
        assert ledger.at(truth.as_of - dt.timedelta(int(days))).warnings == ()


@pytest.mark.parametrize("as_of", ["2012-08-15", "2014-12-31", "2016-06-30", "2017-02-17", "2019-10-01", "2020-06-30"])
def test_the_shipped_contracts_have_neither_gap_nor_shortfall(as_of: str) -> None:
    events, _, _ = clv.datasets.phl_contracts_tables()
    booked = events["event_date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    day = dt.date.fromisoformat(as_of)
    bookings = bookings_by_day(booked, day)
    assert bookings.by_day.sum() == (events["event_date"] <= as_of).sum()
    assert shortfall(bookings) is None and empty_months(bookings) == []


def test_bookings_by_month_are_those_of_pandas() -> None:
    events, _, _ = clv.datasets.phl_contracts_tables()
    booked = events["event_date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    bookings = bookings_by_day(booked, dt.date(2020, 6, 30))
    months = pd.period_range(events["event_date"].min(), "2020-06", freq="M")
    expected = events["event_date"].dt.to_period("M").value_counts().reindex(months, fill_value=0)
    assert bookings.by_month().tolist() == expected.tolist()
    assert month_of(booked[:1])[0] == pd.Period(events["event_date"][0], "M").ordinal
