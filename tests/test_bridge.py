"""The ARR bridge and retention of real forecasts: what must hold in every draw, what the ledger says, and cases by hand."""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvforecast import FiscalCalendar, ForecastError, Scenario, load_forecast
from clvforecast.cells import build_frame
from clvforecast.forecast import Forecast, forecast
from clvforecast.histories import build_histories
from clvforecast.histories.amendments import counted_mrr
from clvforecast.ledger import Ledger, read_ledger
from clvforecast.metrics.bridge import LINES, MOVED
from clvforecast.metrics.recurring import annual_cents, arr_by_account
from clvforecast.simulation.calendar import day_number
from clvforecast.simulation.slots import (
    AMEND,
    COUNTED_MRR,
    END,
    MONTHS,
    MRR,
    REAL_SLOTS,
    UNITS_PER_CENT,
    WHOLE_SLOTS,
)
from clvforecast.simulation.snapshots import count_amendment
from clvforecast.simulation.states import account_states
from clvforecast.synthetic import Truth, simulate_events
from known_world import known_ledger, known_posterior
from random_companies import random_company
from test_scenarios import plain

DRAWS = 40
FREQS = ("month", "quarter", "year")
MONTH_DAYS = 30.4375


@cache
def company(n: int = 200, seed: int = 5, terminations: bool = True, **options: object) -> tuple[pd.DataFrame, Truth]:
    return simulate_events(n, seed=seed, parameters=None if terminations else {"termination_rate": 0.0}, **options)


def made(events: pd.DataFrame, truth: Truth, as_of: dt.date | None = None, **options: object) -> Forecast:
    asked = {"horizon_months": 20, "draws": DRAWS, "bridge": True} | options
    return forecast(known_posterior(truth, n_draws=DRAWS), known_ledger(events, truth, as_of), **asked)


@cache
def usual(pending: str = "in_force") -> Forecast:
    events, truth = company(notice_share=0.4, left_truncated=0.2)
    return made(events, truth, dt.date(2023, 8, 17), pending=pending)


def cents(forecast_: Forecast, freq: str, by: str | None = None) -> dict[str, np.ndarray]:
    """(draws, groups, periods) whole cents of each line."""
    draws = forecast_.bridge_draws(freq, by)
    found = {line: np.rint(draws[line].values * 100) for line in LINES}
    for line, values in found.items():
        np.testing.assert_allclose(draws[line].values * 100, values, rtol=0, atol=1e-4, err_msg=line)
    return found


def check_laws(one: Forecast, by: str | None) -> None:
    last = {}
    for freq in FREQS:
        line, total = cents(one, freq, by), cents(one, freq)
        gains = line["new"] + line["expansion"] + line["reactivation"] + line["late_renewals"]
        assert (line["start"] + gains - line["contraction"] - line["churn"] == line["end"]).all()
        assert all((values >= 0).all() for values in line.values())
        assert (line["end"][..., :-1] == line["start"][..., 1:]).all()
        for name in LINES:
            assert (line[name].sum(axis=1) == total[name][:, 0]).all(), (freq, name)
        last[freq] = line["end"][..., -1]
        table = one.retention(freq, by, history=3).pivot_table(
            index=["label", "basis", *([by] if by else [])], columns="measure", values="mean", dropna=False
        )
        known = table.dropna(subset=["nrr"])
        assert (known["grr"] <= known["nrr"] + 1e-12).all()
        for measure in ("grr", "gross_renewal_rate", "logo_churn"):
            assert table[measure].dropna().between(0, 1).all(), (freq, measure)
    assert (last["month"] == last["quarter"]).all() and (last["month"] == last["year"]).all()


@pytest.mark.parametrize("pending", ["in_force", "lapsed"])
def test_every_draw_group_and_period_balances_and_chains(pending: str) -> None:
    check_laws(usual(pending), "segment")


def test_months_chain_to_quarters_and_years() -> None:
    months = cents(usual(), "month")
    labels = usual().bridge_draws("month")["period"].to_index()
    for freq, alias in (("quarter", "Q"), ("year", "Y")):
        whole = cents(usual(), freq)
        inside = labels.to_period(alias)
        for place, period in enumerate(inside.unique()):
            own = np.flatnonzero(inside == period)
            assert (months["end"][..., own[-1]] == whole["end"][..., place]).all()
            if place:
                assert (months["start"][..., own[0]] == whole["start"][..., place]).all()


def test_weeks_lapsed_accounts_and_short_horizons_keep_the_laws() -> None:
    events, truth = company()
    calendar = FiscalCalendar(2, weeks="4-4-5")
    check_laws(made(events, truth, dt.date(2023, 11, 3), calendar=calendar), "segment")
    check_laws(made(events, truth, dt.date(2023, 11, 30), horizon_months=2, pending="lapsed"), "segment")
    check_laws(made(events, truth, horizon_months=1, timing="booked", known_by=dt.date(2024, 1, 10)), None)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), pending=st.sampled_from(["in_force", "lapsed"]))
def test_companies_of_every_shape_keep_the_laws(seed: int, pending: str) -> None:
    """Parallel contracts, early and late renewals, terminations, amendments beyond what a contract has, bookings ahead."""
    tables = random_company(seed, n_accounts=12).ledger
    events = tables.events.to_pandas().assign(segment="S1")
    events["amount"] = events.pop("amount_cents") / 100
    ledger = read_ledger(events, as_of=tables.as_of)
    one = forecast(posterior_for(ledger), ledger, horizon_months=9, draws=8, bridge=True, pending=pending, group_by=[])
    check_laws(one, None)
    table = one.bridge("quarter", history=4)
    wide = table.pivot(index=["period", "basis"], columns="line", values="mean").sort_index()
    gains = wide[["new", "expansion", "reactivation", "late_renewals"]].sum(axis=1)
    np.testing.assert_allclose(wide["start"] + gains - wide["contraction"] - wide["churn"], wide["end"], atol=0.006)
    np.testing.assert_allclose(wide["end"].to_numpy()[:-1], wide["start"].to_numpy()[1:], atol=0.006)


def posterior_for(ledger: Ledger) -> object:
    """A known posterior without segments of its own, in the ledger's currency."""
    _, truth = company(20, 3)
    return known_posterior(truth, currency=ledger.currency, n_draws=8)


# What the ledger says


def arr_of(events: pd.DataFrame, as_of: dt.date, day: dt.date, pending: str) -> pd.Series:
    """Cents of ARR by account at the end of a day, from the events: one contract an account, no churn rows.

    12 × amount / months of the term that runs; amendments from their day on, amount / months left, at least three and at most
    the whole term; a renewed term until the next begins, an open one that is over while its grace lasts where that is the policy.
    """
    known = events[pd.to_datetime(events["event_date"]) <= pd.Timestamp(as_of)].copy()
    known["start"] = pd.to_datetime(known["start_date"].fillna(known["event_date"]))
    known["event_date"] = pd.to_datetime(known["event_date"])
    at, origin = pd.Timestamp(day), pd.Timestamp(as_of)
    found = {}
    for account, rows in known.groupby("account_id"):
        terms = rows[rows["kind"].isin(["initial", "renewal"])].sort_values("start")
        ends = [
            start + pd.DateOffset(months=int(n))
            for start, n in zip(terms["start"], terms["term_months"].astype(int), strict=True)
        ]
        starts = [*terms["start"], None]
        extra = [0.0] * len(ends)
        for _, change in rows[rows["kind"].isin(["expansion", "contraction"])].iterrows():
            of = max(k for k, start in enumerate(starts[:-1]) if start <= change["start"])
            months = min(max((ends[of] - change["start"]).days / MONTH_DAYS, 3), int(terms["term_months"].iloc[of]))
            extra[of] += change["amount"] / months if change["start"] <= at else 0.0
        total = 0
        for k, (amount, months) in enumerate(zip(terms["amount"], terms["term_months"].astype(int), strict=True)):
            following, stop = starts[k + 1], ends[k]
            grace = pd.Timedelta(days=min(92, max(15, (ends[k] - starts[k]).days // 4)))
            if following is not None and following - ends[k] <= grace:
                stop = following
            elif following is None and pending == "in_force" and pd.Timedelta(0) <= origin - ends[k] < grace:
                stop = origin + pd.Timedelta(days=1)
            if starts[k] <= at < stop:
                total += max(int(np.floor(1200 * (amount / months + extra[k]) + 0.5)), 0)
        found[account] = total
    return pd.Series(found, dtype="int64")


@pytest.mark.parametrize("pending", ["in_force", "lapsed"])
def test_history_ties_to_the_ledger_to_the_cent(pending: str) -> None:
    events, truth = company(120, 9, terminations=False)
    as_of = dt.date(2023, 8, 17)
    one = made(events, truth, as_of, pending=pending)
    for freq in ("month", "quarter"):
        table = one.bridge(freq, history=5)
        past = table[table["basis"] == "actual"]
        assert (past["sd"] == 0).all() and past["label"].nunique() == 5
        for (start, end), lines in past.groupby(["period_start", "period"]):
            first, last = (arr_of(events, as_of, day.date(), pending) for day in (start - pd.Timedelta(days=1), end))
            line = (lines.set_index("line")["mean"] * 100).round().astype(int)
            born = pd.to_datetime(events[events["kind"] == "initial"].groupby("account_id")["start_date"].min())
            first, last, born = first.align(last, fill_value=0)[0], last, born.reindex(last.index)
            assert line["start"] == first.sum() and line["end"] == last.sum()
            assert line["churn"] == first[last == 0].sum()
            assert line["new"] == last[(first == 0) & (born >= start)].sum()
            assert line["reactivation"] == last[(first == 0) & (born < start)].sum()
            assert line["expansion"] == (last - first)[(first > 0) & (last > first)].sum()
            assert line["contraction"] == (first - last)[(last > 0) & (last < first)].sum()


@pytest.mark.parametrize("pending", ["in_force", "lapsed"])
@pytest.mark.parametrize("as_of", [dt.date(2023, 6, 30), dt.date(2023, 8, 17)])
def test_there_is_no_jump_at_as_of(pending: str, as_of: dt.date) -> None:
    """The first period that is forecast begins with the ARR at which the last one that is known ends."""
    events, truth = company(120, 9, terminations=False)
    one = made(events, truth, as_of, pending=pending)
    for freq in FREQS:
        wide = one.bridge(freq, history=1).query("line in ('start', 'end')")
        ended = wide[(wide["basis"] == "actual") & (wide["line"] == "end")]
        begun = wide[(wide["basis"] != "actual") & (wide["line"] == "start")].iloc[0]
        assert ended["mean"].iloc[0] == begun["mean"] and begun["sd"] == 0
    first_month = one.bridge("month", history=0)
    day = first_month["period_start"].iloc[0].date() - dt.timedelta(days=1)
    assert round(first_month["mean"].iloc[0] * 100) == arr_of(events, as_of, day, pending).sum()


def test_the_past_of_an_earlier_forecast_is_the_history_of_a_later_one() -> None:
    """When nothing is booked late."""
    events, truth = company(150, 21, late_booking=False, terminations=False)
    early = made(events, truth, dt.date(2022, 12, 31), pending="lapsed").bridge("quarter", history=6)
    late = made(events, truth, dt.date(2023, 9, 30), pending="lapsed").bridge("quarter", history=9)
    keys, figures = ["label", "line"], ["mean", "q05", "q95"]
    both = early[early["basis"] == "actual"].merge(late, on=keys, validate="one_to_one", suffixes=("", "_later"))
    assert len(both) == 6 * len(LINES)
    for figure in figures:
        assert (both[figure] == both[f"{figure}_later"]).all()


def test_recognised_by_period_and_deferred_are_what_is_booked() -> None:
    events, truth = company(120, 9)
    ledger = known_ledger(events, truth)
    nothing = {
        f"{kind}_rate": 0.0
        for kind in ("expansion", "contraction", "change_order", "referral", "termination", "reactivation")
    }
    posterior = known_posterior(truth, n_draws=4, renewal_mu=1e-12, **nothing)
    one = forecast(posterior, ledger, horizon_months=72, draws=4)
    committed = one.portfolio_draws("month", by="origin").sel(group="committed")
    units = np.rint(committed.values * 100 * UNITS_PER_CENT).sum(axis=1)
    booked = build_histories(ledger).account_money.to_pandas()
    to_come = int((booked["booked_cents"] - booked["recognised_cents"]).sum())
    assert (np.rint(units / UNITS_PER_CENT) == to_come).all()
    summary = one.summary()
    assert summary["booked_to_date"].iloc[0] - summary["clv_to_date"].iloc[0] == pytest.approx(to_come / 100, abs=0.006)


# Cases by hand

EVENTS = ["account_id", "event_date", "kind", "amount", "start_date", "term_months"]


def by_hand(rows: list[tuple[object, ...]], as_of: str, **options: object) -> Forecast:
    events = pd.DataFrame(rows, columns=EVENTS).assign(currency="USD", segment="S1")
    ledger = read_ledger(events, as_of=as_of)
    return forecast(posterior_for(ledger), ledger, 6, draws=8, bridge=True, group_by=[], **options)


def bridge_of(one: Forecast, freq: str = "quarter", history: int = 8) -> pd.DataFrame:
    table = one.bridge(freq, history=history)
    return table.pivot(index="label", columns="line", values="mean").loc[table["label"].unique(), list(LINES)]


def test_the_golden_case_of_finance() -> None:
    """$300,000 for three years, signed mid-December: ARR 100,000, all of it new in that quarter (`published_numbers`)."""
    one = by_hand([("A", "2024-12-17", "initial", 300_000.0, "2024-12-17", 36)], "2024-12-31")
    quarter = bridge_of(one, history=1).iloc[0]
    assert quarter.to_dict() == {**dict.fromkeys(LINES, 0.0), "new": 100_000.0, "end": 100_000.0}
    assert one.summary()["clv_to_date"].iloc[0] == 4109.59  # 15 of 1,095 days
    assert one.summary()["booked_to_date"].iloc[0] == 300_000.0


def test_five_accounts_over_two_quarters_by_hand() -> None:
    rows = [
        # Grows: 12,000 a year, renewed at 15,000 on 1 May.
        ("grows", "2023-05-01", "initial", 12_000.0, "2023-05-01", 12),
        ("grows", "2024-04-20", "renewal", 15_000.0, "2024-05-01", 12),
        # Shrinks: two years at 6,000 a year, 100 a month less from 1 August 2024 on (365 days).
        ("shrinks", "2023-08-01", "initial", 12_000.0, "2023-08-01", 24),
        ("shrinks", "2024-08-01", "contraction", -100.0 * 365 / MONTH_DAYS, "2024-08-01", None),
        # Is lost: its year ends on 31 August, with notice.
        ("lost", "2023-09-01", "initial", 4_800.0, "2023-09-01", 12),
        ("lost", "2024-07-01", "churn", 0.0, "2024-09-01", None),
        # Is new in May.
        ("new", "2024-05-15", "initial", 36_000.0, "2024-05-15", 36),
        # Comes back in July, after a year and a half.
        ("back", "2022-01-01", "initial", 1_200.0, "2022-01-01", 12),
        ("back", "2024-07-10", "initial", 2_400.0, "2024-07-10", 12),
    ]
    found = bridge_of(by_hand(rows, "2024-09-30"), history=2).iloc[:2]
    start = 12_000 + 6_000 + 4_800
    assert found.iloc[0].to_dict() == {
        "start": start, "new": 12_000, "expansion": 3_000, "reactivation": 0, "late_renewals": 0, "contraction": 0, "churn": 0,
        "end": start + 15_000,
    }  # fmt: skip
    assert found.iloc[1].round(2).to_dict() == {
        "start": start + 15_000, "new": 0, "expansion": 0, "reactivation": 2_400, "late_renewals": 0,
        "contraction": 1_200, "churn": 4_800, "end": start + 15_000 + 2_400 - 1_200 - 4_800,
    }  # fmt: skip
    rates = by_hand(rows, "2024-09-30").retention(history=2).pivot(index="period", columns="measure", values="mean")
    second, whole = rates.iloc[1], start + 15_000
    assert second["grr"] == pytest.approx(1 - 6_000 / whole) and second["nrr"] == second["grr"]
    assert rates.iloc[0]["nrr"] == pytest.approx(1 + 3_000 / start) and rates.iloc[0]["grr"] == 1
    assert rates.iloc[0]["gross_renewal_rate"] == 1 and second["gross_renewal_rate"] == 0
    assert second["logo_churn"] == pytest.approx(1 / 4) and rates.iloc[0]["logo_churn"] == 0


def test_more_taken_off_than_a_contract_has_leaves_no_arr() -> None:
    rows = [
        ("A", "2024-01-01", "initial", 12_000.0, "2024-01-01", 12),
        ("A", "2024-04-10", "contraction", -11_500.0, "2024-04-10", None),
    ]
    lines = bridge_of(by_hand(rows, "2024-06-30"))
    assert lines.iloc[1][["start", "churn", "end"]].tolist() == [12_000.0, 12_000.0, 0.0]
    check_laws(by_hand(rows, "2024-05-20"), None)


def amended(term_months: int, *changes: tuple[str, float], amount: float = 12_000.0) -> list[tuple[object, ...]]:
    """A contract from 1 January 2022 on, and what is added to it or taken off."""
    rows: list[tuple[object, ...]] = [("A", "2022-01-01", "initial", amount, "2022-01-01", term_months)]
    for day, money in changes:
        rows.append(("A", day, "expansion" if money > 0 else "contraction", money, day, None))
    return rows


def arr_on(rows: list[tuple[object, ...]], as_of: str, *days: str) -> list[float]:
    """ARR at the end of days, as the history has it."""
    events = pd.DataFrame(rows, columns=EVENTS).assign(currency="USD", segment="S1")
    numbers = np.array([day_number(dt.date.fromisoformat(day)) for day in days])
    found = arr_by_account(build_histories(read_ledger(events, as_of=as_of)), numbers, "in_force")
    return [float(cents) / 100 for cents in found.sum(axis=0)]


@pytest.mark.parametrize("money", [974.0, -974.0])
def test_an_amendment_of_a_terms_last_days_counts_at_most_four_times_its_amount(money: float) -> None:
    """However late it comes; by the one day that is left it would be 356,000 a year."""
    for day in ("2022-10-03", "2022-12-01", "2022-12-31"):
        assert arr_on(amended(12, (day, money)), "2022-12-31", "2022-01-01", day) == [12_000, 12_000 + 4 * money]
    line = bridge_of(by_hand(amended(12, ("2022-12-31", money)), "2022-12-31"), "year").iloc[0]
    assert line["end"] == 12_000 + 4 * money and line["new"] == line["end"]


@pytest.mark.parametrize(
    ("term_months", "day", "months"), [(12, "2022-07-01", 6), (36, "2023-01-01", 24), (36, "2024-09-01", 4)]
)
def test_a_co_termed_change_of_price_is_annualised_over_the_months_left(
    term_months: int, day: str, months: int
) -> None:
    """100 a month more for the rest of the term is 1,200 a year, in a term of a year and in one of three."""
    left = (pd.Timestamp("2022-01-01") + pd.DateOffset(months=term_months) - pd.Timestamp(day)).days / MONTH_DAYS
    rows = amended(term_months, (day, round(100 * left, 2)), amount=1_000.0 * term_months)
    assert arr_on(rows, day, day)[0] == pytest.approx(13_200, abs=0.02) and round(left) == months


@pytest.mark.parametrize("months", [1, 2, 3])
def test_amendments_of_short_terms_have_their_share_of_the_term(months: int) -> None:
    """100 a month more is 1,200 a year, on the first day of a month's contract and on its last."""
    last = pd.Timestamp("2022-01-01") + pd.DateOffset(months=months) - pd.Timedelta(days=1)
    for day in ("2022-01-01", str(last.date())):
        rows = amended(months, (day, 100.0 * months), amount=1_000.0 * months)
        assert arr_on(rows, str(last.date()), day) == [13_200.0]


def test_an_amendment_that_is_taken_back_leaves_nothing_of_it() -> None:
    """Of one alone and of one among others, in the last days or long before; half of it taken back leaves the rest."""
    kept = arr_on(amended(12, ("2022-03-01", 500.0)), "2022-12-31", "2022-12-31")
    for day in ("2022-07-15", "2022-12-30"):
        assert arr_on(amended(12, ("2022-03-15", 974.0), (day, -974.0)), "2022-12-31", "2022-12-31") == [12_000.0]
        rows = amended(12, ("2022-03-01", 500.0), ("2022-04-01", 974.0), (day, -974.0))
        assert arr_on(rows, "2022-12-31", "2022-12-31") == kept
    rows = amended(12, ("2022-12-01", 974.0), ("2022-12-02", -487.0))
    assert arr_on(rows, "2022-12-31", "2022-12-31") == [12_000 + 4 * 487.0]


@settings(max_examples=60, deadline=None)
@given(
    months=st.sampled_from([1, 2, 6, 12, 13, 36]),
    money=st.lists(st.integers(-90_000, 90_000).filter(bool), min_size=1, max_size=4),
    pairs=st.booleans(),
    data=st.data(),
)
def test_what_is_taken_back_to_the_cent_counts_nothing(
    months: int, money: list[int], pairs: bool, data: st.DataObject
) -> None:
    """In one sum or one by one, whenever it is; and no amendment alone counts with more than four times its amount a year,
    or than its share of a shorter term."""
    cents = np.array([*money, *[-amount for amount in money]] if pairs else [*money, -sum(money)])
    left = np.sort(data.draw(st.lists(st.integers(1, 30 * months), min_size=cents.size, max_size=cents.size)))[::-1]
    counted = counted_mrr(cents, left / MONTH_DAYS, np.full(cents.size, months), np.array([0]))
    assert abs(counted.sum()) < 1e-9
    first = 12 * counted[0]
    assert abs(first) <= abs(money[0]) / 100 * max(12 / months, 4) * (1 + 1e-12) and first * money[0] > 0


def test_the_simulation_counts_amendments_as_the_history_does() -> None:
    """One by one, in terms of every length, and also where they add up to nothing."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        months, n = int(rng.choice([1, 6, 12, 13, 24, 36])), int(rng.integers(1, 5))
        end = 100 + int(months * MONTH_DAYS)
        days = np.sort(rng.integers(100, end, n))
        cents = 1 + rng.integers(-5_000, 20_000, n)
        cents[-1] = -cents[:-1].sum() if n > 1 and rng.random() < 0.4 else cents[-1]
        expected = counted_mrr(cents, (end - days) / MONTH_DAYS, np.full(n, months), np.array([0]))
        real, whole = np.zeros(REAL_SLOTS), np.zeros(WHOLE_SLOTS, dtype=np.int64)
        real[[MRR, COUNTED_MRR]] = 70.0
        whole[[MONTHS, END]] = months, end
        for day, amount in zip(days, cents / 100, strict=True):
            real[AMEND] += amount
            count_amendment(real, whole, int(day), float(amount))
        assert real[COUNTED_MRR] - 70 == pytest.approx(expected.sum(), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_simulation_begins_with_the_arr_of_the_history(seed: int) -> None:
    """To the cent, of every account of which all that is booked has begun, and nothing has ended with its renewal ahead."""
    histories = build_histories(random_company(seed + 40, n_accounts=60).ledger)
    states, day = account_states(histories, build_frame(histories, [])), histories.as_of_day
    simulated = np.zeros(len(states.account_ids), dtype=np.int64)
    plain = np.ones(len(states.account_ids), dtype=bool)
    for line, account in enumerate(states.account):
        terms = slice(states.bt_ptr[line], states.bt_ptr[line + 1])
        started = states.bt_start[terms] <= day
        plain[account] &= bool(started.all())
        if states.status[line] != 2 and started.any() and day < states.bt_end[terms][started][-1]:
            simulated[account] += annual_cents(states.bt_counted_mrr[terms][started][-1:])[0]
    added = histories.amendments.to_pandas()
    plain[states.account[added.loc[added["day"] > day, "line"]]] = False
    known = arr_by_account(histories, np.array([day]), "lapsed")[:, 0]
    assert (simulated[plain] == known[plain]).all() and (known[plain] > 0).sum() > 10
    assert len(set(states.account[added["line"]]) & set(np.flatnonzero(plain & (known > 0)))) > 3


@pytest.mark.parametrize("as_of", ["2024-12-31", "2025-01-20"])
def test_a_renewal_that_begins_later_leaves_no_gap_in_the_forecast(as_of: str) -> None:
    """Booked ahead, it begins six weeks after the end of the term: as the history counts it, whether that is past or to come."""
    rows = [("2024-01-01", "2024-01-01", "initial"), ("2024-11-20", "2025-02-15", "renewal")]
    events = pd.DataFrame(rows, columns=["event_date", "start_date", "kind"])
    ledger = read_ledger(
        events.assign(account_id="A", amount=1200.0, currency="USD", term_months=12, segment="S1"), as_of=as_of
    )
    bridge = forecast(plain(), ledger, 6, draws=20, bridge=True).bridge("month", history=3)
    lines = bridge.pivot_table(index="period", columns="line", values="mean")
    assert (lines[["start", "end"]] == 1200.0).all(axis=None)
    assert (lines.drop(columns=["start", "end"]) == 0.0).all(axis=None)


def test_an_amendment_on_the_books_counts_from_its_first_day() -> None:
    """A contract that steps up on 1 March is the same before the day as it looks back on it."""
    rows = [("2024-06-01", "2024-06-01", "initial", 1200.0), ("2024-12-01", "2025-03-01", "expansion", 300.0)]
    events = pd.DataFrame(rows, columns=["event_date", "start_date", "kind", "amount"])
    events = events.assign(account_id="A", currency="USD", segment="S1", term_months=[12, None])
    found = []
    for as_of, months, history in (("2024-12-31", 4, 0), ("2025-04-30", 1, 4)):
        ledger = read_ledger(events, as_of=as_of)
        bridge = forecast(plain(), ledger, months, draws=20, bridge=True).bridge("month", history=history)
        found.append(
            bridge[bridge["period"] <= "2025-04-30"].pivot_table(index="period", columns="line", values="mean")
        )
    pd.testing.assert_frame_equal(found[0], found[1])
    assert found[0]["expansion"].tolist() == pytest.approx([0.0, 0.0, 1200.0, 0.0], abs=10.0)
    assert found[0]["expansion"].astype(bool).tolist() == [False, False, True, False]


def test_a_contraction_takes_of_what_has_begun() -> None:
    """A contract of $100 a month that steps up tenfold in a year and a half is cut meanwhile, and never lapses for that."""
    rows = [("2024-12-01", "2024-12-01", "initial", 3600.0), ("2024-12-05", "2026-06-01", "expansion", 12000.0)]
    events = pd.DataFrame(rows, columns=["event_date", "start_date", "kind", "amount"])
    events = events.assign(account_id="A", currency="USD", segment="S1", term_months=[36, None])
    ledger = read_ledger(events, as_of="2024-12-31")
    cut = plain(contraction_rate=2.0, contraction_rate_shape=1e6)
    one = forecast(cut, ledger, 24, draws=100, bridge=True, keep_draws=True)
    assert (one.draws["mrr"].values > 0).all() and one.table["p_active_24m"].eq(1.0).all()
    lines = one.bridge("year", history=0).groupby("line")["mean"].sum()
    assert lines["churn"] == lines["reactivation"] == 0 < lines["contraction"]


def test_a_customer_lost_before_its_booked_renewal_begins_is_lost_on_that_day() -> None:
    rows = [("2024-01-01", "2024-01-01", "initial"), ("2024-11-20", "2025-02-15", "renewal")]
    events = pd.DataFrame(rows, columns=["event_date", "start_date", "kind"])
    ledger = read_ledger(
        events.assign(account_id="A", amount=1200.0, currency="USD", term_months=12, segment="S1"), as_of="2024-12-15"
    )
    scenario = Scenario("lost", lost_accounts={"A": "2025-01-20"})
    bridge = forecast(plain(), ledger, 4, draws=20, bridge=True, scenario=scenario).bridge("month", history=0)
    churn = bridge[bridge["line"] == "churn"].set_index("period")["mean"]
    assert churn[churn > 0].to_dict() == {pd.Timestamp("2025-01-31"): 1200.0}


def test_a_return_that_is_booked_ahead_is_no_renewal() -> None:
    """The contract that ends is due and is not renewed, whether the day comes before `as_of` or after it."""
    rows = [
        ("A", "2023-08-01", "initial", 12_000.0, "2023-08-01", 12),
        ("A", "2024-06-01", "initial", 9_000.0, "2024-12-01", 12),
        ("B", "2023-08-01", "initial", 12_000.0, "2023-08-01", 12),
        ("B", "2024-06-01", "renewal", 9_000.0, "2024-08-01", 12),
    ]
    for as_of in ("2024-06-30", "2024-12-31"):
        one = by_hand(rows, as_of)
        table = one.retention(history=3).query("measure == 'gross_renewal_rate'").set_index("period")
        third = table.loc["2024-09-30"]
        assert third["mean"] == pytest.approx(9_000 / 24_000), as_of


def test_parallel_contracts_are_one_account() -> None:
    rows = [
        ("A", "2024-01-01", "initial", 12_000.0, "2024-01-01", 12),
        ("A", "2024-04-15", "initial", 6_000.0, "2024-04-15", 12),
    ]
    events = pd.DataFrame(rows, columns=EVENTS).assign(currency="USD", segment="S1", contract_id=["x", "y"])
    ledger = read_ledger(events, as_of="2024-06-30")
    one = forecast(posterior_for(ledger), ledger, 6, draws=8, bridge=True, group_by=[])
    assert bridge_of(one).iloc[1][["start", "expansion", "new", "end"]].tolist() == [12_000, 6_000, 0, 18_000]


def test_a_contract_booked_ahead_is_new_when_it_begins() -> None:
    one = by_hand([("A", "2024-06-01", "initial", 12_000.0, "2024-09-01", 12)], "2024-06-30")
    table = one.bridge("month", history=0).pivot(index="period", columns="line", values="q50")
    assert table["new"].tolist() == [0, 0, 12_000, 0, 0, 0] and table["end"].iloc[2] == 12_000


def test_accounts_without_a_level_are_a_group_of_their_own() -> None:
    events, truth = company()
    accounts = truth.accounts.copy()
    accounts["region"] = np.where(np.arange(len(accounts)) % 3 == 0, None, "west")
    ledger = read_ledger(events, accounts=accounts, as_of=truth.as_of)
    one = forecast(known_posterior(truth, n_draws=8), ledger, 12, draws=8, bridge=True, group_by=["segment", "region"])
    check_laws(one, "region")
    table = one.bridge("quarter", ["segment", "region"], history=2, ci_kind="hdi")
    assert (table["region"] == "not recorded").any() and len(table) % (len(LINES) * 6) == 0
    rates = one.retention("quarter", ["segment", "region"], ci_kind="hdi", trailing_year=True)
    assert (rates["lower"] <= rates["upper"]).all()


def test_names_of_movements_are_lines() -> None:
    assert set(MOVED) | {"start", "end"} == set(LINES)


def test_contracts_that_just_end_are_renewals_that_were_lost() -> None:
    """Sixteen contracts of a year fall due on one day, eight are renewed, of eight nothing more is heard."""
    rows = [(f"a{number:02d}", "2022-08-15", "initial", 12_000.0, "2022-08-15", 12) for number in range(16)]
    rows += [(f"a{number:02d}", "2023-08-15", "renewal", 12_000.0, "2023-08-15", 12) for number in range(8)]
    rates = by_hand(rows, "2024-06-30").retention("quarter", history=8)
    due = rates[(rates["label"] == "FY23 Q3") & (rates["basis"] == "actual")].set_index("measure")["mean"]
    assert due.to_dict() == {"nrr": 0.5, "grr": 0.5, "gross_renewal_rate": 0.5, "logo_churn": 0.5}


@pytest.mark.parametrize(("pending", "rate"), [("in_force", np.nan), ("lapsed", 0.0)])
def test_open_renewals_are_not_lost_while_their_grace_lasts(pending: str, rate: float) -> None:
    rows = [
        ("a", "2023-06-15", "initial", 12_000.0, "2023-06-15", 12),
        ("b", "2023-09-01", "initial", 6_000.0, "2023-09-01", 12),
    ]
    rates = by_hand(rows, "2024-06-30", pending=pending).retention("quarter", history=1)
    found = rates.set_index(["basis", "measure"]).loc[("actual", "gross_renewal_rate"), "mean"]
    assert found == pytest.approx(rate, nan_ok=True)


# What is open on `as_of`


def open_renewals(pending: str) -> Forecast:
    """Two contracts ended with their renewals open, one of them amended; one ended long ago, one runs."""
    rows = [
        ("a", "2023-06-15", "initial", 12_000.0, "2023-06-15", 12),
        ("a", "2024-06-10", "expansion", 974.0, "2024-06-10", None),
        ("b", "2023-06-01", "initial", 6_000.0, "2023-06-01", 12),
        ("c", "2022-03-01", "initial", 9_000.0, "2022-03-01", 12),
        ("d", "2024-01-01", "initial", 4_000.0, "2024-01-01", 12),
    ]
    events = pd.DataFrame(rows, columns=EVENTS).assign(currency="USD")
    accounts = pd.DataFrame({"account_id": list("abcd"), "region": ["west", "east"] * 2, "segment": "S1"})
    ledger = read_ledger(events, accounts=accounts, as_of="2024-06-30")
    return forecast(posterior_for(ledger), ledger, 6, draws=8, bridge=True, group_by=["region"], pending=pending)


def test_pending_arr_is_what_is_open_within_its_grace() -> None:
    for pending, in_force in (("in_force", 25_896.0), ("lapsed", 4_000.0)):
        one = open_renewals(pending)
        assert one.pending_arr().to_dict("records") == [{"arr": in_force, "pending": 21_896.0, "contracts": 2}]
        by_region = one.pending_arr("region").set_index("region")
        assert by_region["pending"].to_dict() == {"east": 6_000.0, "west": 15_896.0}
        assert by_region["contracts"].to_dict() == {"east": 1, "west": 1}
        assert by_region["arr"].sum() == in_force


@pytest.mark.parametrize("pending", ["in_force", "lapsed"])
def test_the_bridge_says_what_of_the_past_is_pending(pending: str) -> None:
    one = open_renewals(pending)
    table = one.bridge("month", history=3)
    told = table.pivot(index="period", columns="line", values="pending")
    assert told.drop(columns=["start", "end"]).isna().all().all() and told["end"].notna().sum() == 3
    expected = [0.0, 0.0, 21_896.0] if pending == "in_force" else [0.0] * 3
    assert told["end"].dropna().tolist() == expected and told["start"].dropna().tolist() == [0.0, 0.0, 0.0]
    by_region = one.bridge("month", "region", history=1).query("line == 'end' and basis == 'actual'")
    assert by_region["pending"].sum() == expected[-1]
    assert one.bridge("month", history=0)["pending"].isna().all() and "pending" not in one.retention()


def test_pending_arr_of_every_account_is_part_of_its_arr() -> None:
    one = usual()
    table, last = one.pending_arr("segment"), one.pending_arr().iloc[0]
    assert 0 < last["pending"] < last["arr"] and (table["pending"] <= table["arr"]).all()
    assert table[["arr", "pending", "contracts"]].sum().round(2).tolist() == last.round(2).tolist()
    loss = usual("lapsed").pending_arr().iloc[0]
    assert loss["pending"] == last["pending"] and round(loss["arr"] + loss["pending"], 2) == round(last["arr"], 2)


def test_pending_arr_needs_the_ledger_and_a_group_that_there_is(tmp_path: Path) -> None:
    one = open_renewals("in_force")
    one.save(tmp_path / "one.clv")
    loaded = load_forecast(tmp_path / "one.clv")
    assert loaded.bridge("month", history=0)["pending"].isna().all()
    with pytest.raises(ForecastError, match="the past is in the ledger"):
        loaded.pending_arr()
    for by in ("origin", "nothing"):
        with pytest.raises(ForecastError, match=f"by='{by}'"):
            one.pending_arr(by)
