"""Forecasts of cash and of value after the cost to serve: the golden case, identities, and what then happened."""

import datetime as dt
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clvforecast as clv
from clvforecast.actuals import counted_in_periods
from clvforecast.forecast import Forecast
from clvforecast.histories import build_histories
from clvforecast.ledger import Ledger
from clvforecast.reduction import Reduction, money_policies
from clvforecast.simulation.batches import unpaid_units
from clvforecast.simulation.receivables import instalments, receivable_items
from clvforecast.simulation.run import Simulated
from clvforecast.simulation.slots import UNITS_PER_CENT
from clvforecast.simulation.states import account_states
from clvforecast.synthetic import Truth, simulate_events
from known_world import known_ledger, known_posterior
from random_companies import random_company

DRAWS = 40
QUIET = dict.fromkeys(
    (
        "expansion_rate",
        "contraction_rate",
        "change_order_rate",
        "referral_rate",
        "reactivation_rate",
        "termination_rate",
    ),
    1e-300,
)


@pytest.fixture(scope="module")
def company() -> tuple[pd.DataFrame, Truth]:
    return simulate_events(200, seed=12, future_months=30, notice_share=0.4)


def run(company: tuple[pd.DataFrame, Truth], **options: object) -> Forecast:
    events, truth = company
    asked = {"horizon_months": 24, "draws": DRAWS, "timing": "cash", "billing": "quarterly"} | options
    return clv.forecast(known_posterior(truth, n_draws=DRAWS), known_ledger(events, truth), **asked)


def golden(
    company: tuple[pd.DataFrame, Truth], as_of: str, earlier: float = 0.0, **options: object
) -> tuple[Forecast, Ledger]:
    """$300,000 for three years from 17 December 2020, signed the day before; the ledger that knows it.

    With ``earlier``, so much for a year from June 2019 as well.
    """
    truth = company[1]
    row = {"account_id": "A", "kind": "initial", "amount": 300_000, "currency": "USD", "term_months": 36}
    rows = [{**row, "event_id": "e1", "event_date": "2020-12-16", "start_date": "2020-12-17"}]
    if earlier:
        first = {"event_id": "e0", "event_date": "2019-06-01", "start_date": "2019-06-01", "amount": earlier}
        rows.append({**row, **first, "term_months": 12})
    events = pd.DataFrame(rows)
    accounts = pd.DataFrame({"account_id": ["A"], "segment": [truth.accounts["segment"].iloc[0]]})
    later = clv.read_ledger(events, accounts=accounts, as_of="2024-06-30")
    posterior = known_posterior(truth, n_draws=DRAWS, **QUIET)
    asked = {"horizon_months": 36, "draws": DRAWS, "known_by": dt.date.fromisoformat(as_of)} | options
    return clv.forecast(posterior, later.at(as_of), **asked), later


def by_quarter(made: Forecast) -> dict[str, float]:
    table = made.portfolio("QE")
    assert (table["sd"] < 1e-6).all()
    return {
        str(day.date()): round(money, 2) for day, money in zip(table["period"], table["mean"], strict=True) if money
    }


def test_the_golden_case_of_finance(company: tuple[pd.DataFrame, Truth]) -> None:
    """Bookings 300,000; ARR 100,000; 15 of 1,095 days in the quarter: 4,109.59; cash as it is billed.

    The day rule: service counts from its first day to the day before its end, both counted, at 300,000 / 1,095 a day.
    """
    recognised, later = golden(company, "2020-12-16")
    quarters = by_quarter(recognised)
    assert quarters["2020-12-31"] == 4_109.59 == round(300_000 * 15 / 1_095, 2)
    assert quarters["2021-03-31"] == round(300_000 * 90 / 1_095, 2)
    histories = build_histories(later)
    assert 12 * histories.terms["mrr"][0].as_py() == pytest.approx(100_000)
    # Booked: nothing is to come once it is signed, and all of it came in the quarter for who looked ahead in November.
    assert by_quarter(golden(company, "2020-12-16", timing="booked")[0]) == {}
    before, later = golden(company, "2020-11-30", earlier=1_200, timing="booked")
    booked = clv.actual_portfolio(before, later, "QE").set_index("period")["revenue"]
    assert booked[pd.Timestamp("2020-12-31")] == 300_000.0 == booked.sum()
    days = {
        "12-31": 90,
        "03-31": 92,
        "06-30": 92,
        "09-30": 91,
    }  # 17 December to 16 March, and so on, of a year without leap day
    years = {"12-31": 2020, "03-31": 2021, "06-30": 2021, "09-30": 2021}
    cash = {
        ("upfront", 0): {"2020-12-31": 300_000.0},
        ("upfront", 30): {"2021-03-31": 300_000.0},
        ("annual", 30): {"2021-03-31": 100_000.0, "2022-03-31": 100_000.0, "2023-03-31": 100_000.0},
        ("quarterly", 0): {
            f"{years[end] + later}-{end}": round(300_000 * days[end] / 1_095, 2) for later in range(3) for end in days
        },
    }
    for (billing, payment_days), expected in cash.items():
        options = {"timing": "cash", "billing": billing, "payment_days": payment_days}
        made, _ = golden(company, "2020-12-16", **options)
        assert by_quarter(made) == expected
        assert made.table["paid_to_date"].tolist() == [0.0]
        assert made.portfolio(None)["mean"].item() == pytest.approx(300_000.0, abs=1e-6)
    made, _ = golden(company, "2020-12-16", timing="cash", billing="monthly", payment_days=45)
    months = made.portfolio("ME").set_index("period")["mean"]
    # 31 days from 17 December, invoiced that day, paid on 31 January; the next 31 on 3 March
    assert months[pd.Timestamp("2021-01-31")] == pytest.approx(300_000 * 31 / 1_095, abs=0.01)
    assert months[pd.Timestamp("2021-02-28")] == 0.0
    assert months[pd.Timestamp("2021-03-31")] == pytest.approx(300_000 * 31 / 1_095, abs=0.01)


def test_what_was_invoiced_before_the_window_and_is_due_in_it_counts_in_it(company: tuple[pd.DataFrame, Truth]) -> None:
    made, _ = golden(company, "2020-12-31", timing="cash", billing="annual", payment_days=30)
    assert by_quarter(made)["2021-03-31"] == 100_000.0 and made.table["paid_to_date"].tolist() == [0.0]
    made, _ = golden(company, "2021-01-15", timing="cash", billing="annual", payment_days=30)  # due on the 16th
    assert by_quarter(made)["2021-03-31"] == 100_000.0
    made, _ = golden(company, "2021-01-16", timing="cash", billing="annual", payment_days=30)
    assert "2021-03-31" not in by_quarter(made) and made.table["paid_to_date"].tolist() == pytest.approx(
        [100_000.0], abs=0.01
    )
    assert made.accounts()["clv"].tolist() == pytest.approx([300_000.0])


@pytest.mark.parametrize("billing", ["upfront", "annual", "quarterly", "monthly"])
def test_all_cash_is_what_is_booked_for_every_account_and_draw(
    company: tuple[pd.DataFrame, Truth], billing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paid to date + forward cash + deferred = booked to date + new bookings − de-bookings, to the unit."""
    events, truth = company
    posterior, ledger = known_posterior(truth, n_draws=DRAWS), known_ledger(events, truth)
    states = account_states(build_histories(ledger), posterior.frame, receivables=True)
    checked = []

    def check(self: object, first: int, last: int, simulated: Simulated) -> None:
        booked = states.booked_cents[first:last, None] * UNITS_PER_CENT
        paid = booked - unpaid_units(states, self.settings.months_billed, 60)[first:last, None]
        each = simulated.each
        assert np.array_equal(paid + simulated.revenue + each.deferred, booked + each.booked - each.debooked)
        assert np.array_equal(each.origins.sum(axis=2), simulated.revenue)
        assert (each.debooked > 0).any() and (each.deferred > 0).any()
        checked.append(last - first)

    monkeypatch.setattr(Reduction, "add", check)
    monkeypatch.setattr(Reduction, "keeps_all", True)
    options = {"timing": "cash", "billing": billing, "payment_days": 60}
    clv.forecast(posterior, ledger, 24, draws=DRAWS, batch_accounts=64, **options)
    assert sum(checked) == len(states.account_ids)


def test_a_termination_already_booked_shrinks_what_is_unpaid_and_gives_back_what_was_paid(
    company: tuple[pd.DataFrame, Truth],
) -> None:
    """A year from 1 January 2023 for 36,500 by quarters, paid after 30 days; ended on 1 May, 31 days into the second quarter.

    The second quarter's 91 days are due on 1 May: paid on the day of the termination, 61 of them go back on 31 May.
    """
    truth = company[1]
    row = {"account_id": "A", "currency": "USD", "event_date": "2023-01-01", "start_date": "2023-01-01"}
    term = {**row, "event_id": "e1", "kind": "initial", "amount": 36_500, "term_months": 12}
    accounts = pd.DataFrame({"account_id": ["A"], "segment": [truth.accounts["segment"].iloc[0]]})
    posterior = known_posterior(truth, n_draws=DRAWS, **QUIET)

    def paid(churn: dict, as_of: str) -> tuple[dict[str, float], float]:
        events = pd.DataFrame([term, {**row, "event_id": "e2", "kind": "churn", **churn}])
        ledger = clv.read_ledger(events, accounts=accounts, as_of=as_of)
        day = dt.date.fromisoformat(as_of)
        options = {"timing": "cash", "billing": "quarterly", "payment_days": 30, "known_by": day, "draws": 2}
        made = clv.forecast(posterior, ledger, 24, **options)
        months = made.portfolio("ME")
        found = {
            str(d.date()): round(m, 2) for d, m in zip(months["period"], months["mean"], strict=True) if abs(m) > 0.005
        }
        return found, made.table["paid_to_date"].item()

    ended = {"event_date": "2023-05-01", "start_date": "2023-05-01"}
    assert paid(ended, "2023-05-01") == ({"2023-05-31": -6_100.0}, 18_100.0)
    # Ended a day earlier the second quarter is not paid yet: its 30 days served are, on time.
    ended = {"event_date": "2023-04-30", "start_date": "2023-04-30"}
    assert paid(ended, "2023-04-30") == ({"2023-05-31": 2_900.0}, 9_000.0)
    # Told ahead, for 1 August: of the third quarter 31 days are paid, on 31 July, and nothing after.
    told = {"event_date": "2023-04-30", "start_date": "2023-08-01"}
    assert paid(told, "2023-04-30") == ({"2023-05-31": 9_100.0, "2023-07-31": 3_100.0}, 9_000.0)
    # A stated amount goes back by days as well, at its own rate: 1,000 of 24,500 unserved.
    part = {"event_date": "2023-05-01", "start_date": "2023-05-01", "amount": -1_000}
    found, to_date = paid(part, "2023-05-01")
    assert found["2023-05-31"] == round(-1_000 * 61 / 245, 2) and sum(found.values()) + to_date == pytest.approx(35_500)


def test_threads_batches_and_slices_change_no_byte(
    company: tuple[pd.DataFrame, Truth], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(company, cost_to_serve=40.0)
    monkeypatch.setattr(sys.modules["clvforecast.forecast"], "ACCOUNTS_AT_A_TIME", 23)
    again = run(company, cost_to_serve=40.0, threads=1, batch_accounts=7)
    pd.testing.assert_frame_equal(again.accounts(), made.accounts(), check_exact=True)
    for name in ("groups", "origins", "active_days"):
        assert np.array_equal(getattr(again.totals, name), getattr(made.totals, name)), name


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("billing_months", [0, 1, 12])
def test_instalments_of_any_ledger_are_what_is_booked(seed: int, billing_months: int) -> None:
    """Awkward companies: late and early bookings, early terminations with and without stated amounts, several to a term."""
    histories = build_histories(random_company(seed).ledger)
    items = receivable_items(histories, -(10**6))
    paid = instalments(items, billing_months, 25)
    account = histories.items["account_id"].to_pandas()[items.item[paid.of]].to_numpy()
    found = pd.Series(paid.units).groupby(account).sum()
    booked = histories.account_money.to_pandas().set_index("account_id")["booked_cents"] * UNITS_PER_CENT
    pd.testing.assert_series_equal(found.reindex(booked.index, fill_value=0), booked, check_names=False)
    assert (items.back_cents != 0).sum() > 3
    # Those that are left out of a later window have been paid by then, however they are billed.
    origin = histories.origin_day
    late = instalments(receivable_items(histories, origin), billing_months, 365)
    whole = instalments(items, billing_months, 365)
    assert late.units[late.paid >= origin].sum() == whole.units[whole.paid >= origin].sum()


def test_settings_that_do_not_go_together_are_refused(company: tuple[pd.DataFrame, Truth]) -> None:
    for options, words in (
        (
            {"timing": "recognised", "billing": "annual"},
            r"billing='annual' says when money is paid.*Give timing='cash'",
        ),
        ({"timing": "booked", "billing": None, "payment_days": 30}, "payment_days=30 says when money is paid"),
        (
            {"billing": None},
            "timing='cash' needs to know how bookings are billed. Give billing= one of upfront, annual",
        ),
        ({"billing": "weekly"}, "billing='weekly'"),
        ({"payment_days": 366}, "payment_days=366"),
        ({"cost_to_serve": -1.0}, "cost_to_serve=-1.0"),
        ({"cost_to_serve": np.inf}, "cost_to_serve=inf"),
    ):
        with pytest.raises(clv.ForecastError, match=words):
            run(company, **options)
    assert run(company).settings.payment_days == 30


def test_groups_and_the_portfolio_are_the_sum_of_their_accounts_after_the_cost(
    company: tuple[pd.DataFrame, Truth],
) -> None:
    for timing in ({}, {"timing": "recognised", "billing": None}):
        options = {"cost_to_serve": 90.0, "gross_margin": 0.8, "keep_draws": True, **timing}
        made, free = run(company, **options), run(company, **options | {"cost_to_serve": 0.0})
        of_groups = made.totals.value(made.grid.discount, 0.8, made.settings.daily_cost).sum(axis=2)
        for position, segment in enumerate(made.groups["segment"]):
            own = made.draws["clv"].values[made.table["segment"] == segment].sum(axis=0)
            np.testing.assert_allclose(of_groups[:, position], own, rtol=1e-10)
        assert np.array_equal(made.draws["revenue"], free.draws["revenue"])
        assert (made.table["discounted_mean"] <= free.table["discounted_mean"]).all()
        assert (made.table["beyond_horizon"] <= free.table["beyond_horizon"]).all()
        lost = (free.table["discounted_mean"] - made.table["discounted_mean"]).to_numpy()
        assert (lost <= 90.0 * made.table["active_months"] + 1e-6).all()  # of accounts with one line


def test_an_account_that_serves_for_ever_costs_an_annuity(company: tuple[pd.DataFrame, Truth]) -> None:
    """With certain renewal the cost of an account is that of a perpetuity, part of it in the window and part beyond."""
    truth = company[1]
    sure = {**QUIET, "renewal_mu": 1 - 1e-15, "renewal_phi": 1e-6, "change_logit": [[-60.0, -60.0]] * 5}
    posterior = known_posterior(truth, n_draws=2, **sure)
    ledger = known_ledger(*company)
    names = ["discounted_mean", "beyond_horizon", "active_months"]
    values = [
        clv.forecast(posterior, ledger, 24, annual_discount_rate=0.08, draws=2, cost_to_serve=cost).table[names]
        for cost in (0.0, 100.0)
    ]
    cost = (values[0] - values[1])[["discounted_mean", "beyond_horizon"]].sum(axis=1)
    for_ever = 1200.0 / np.log1p(0.08)
    always = values[0]["active_months"] > 23.9
    assert always.sum() > 100
    np.testing.assert_allclose(cost[always], for_ever, rtol=2e-3)


def test_a_forecast_of_cash_with_a_cost_is_saved_and_loaded(
    company: tuple[pd.DataFrame, Truth], tmp_path: Path
) -> None:
    made = run(company, cost_to_serve=50.0, keep_draws=("clv",))
    made.save(tmp_path / "f.clv")
    loaded = clv.load_forecast(tmp_path / "f.clv")
    assert loaded.settings == made.settings and np.array_equal(loaded.totals.active_days, made.totals.active_days)
    pd.testing.assert_frame_equal(loaded.accounts(), made.accounts(), check_exact=True)
    assert "30 days after" in money_policies(made.settings)["timing"]


@pytest.mark.parametrize("timing", [{"timing": "cash", "billing": "monthly"}, {"timing": "booked", "billing": None}])
def test_what_is_sure_is_what_then_happens(company: tuple[pd.DataFrame, Truth], timing: dict) -> None:
    """Nothing new is booked: the forecast of what is on the books is what a later ledger that knows no more says was paid."""
    events, truth = company
    ledger = known_ledger(events, truth)
    made = run(company, known_by=truth.as_of, **timing)
    later = clv.read_ledger(events, accounts=truth.accounts, as_of=truth.as_of + dt.timedelta(days=800))
    actual = clv.actual_revenue(made, later).set_index("account_id").loc[made.table["account_id"]]
    assert ledger.as_of < later.as_of and (actual["catch_up"] == 0.0).all()
    np.testing.assert_allclose(made.table["mean"], actual["revenue"], rtol=1e-12, atol=1e-9)
    assert (timing["timing"] == "cash") == (actual["revenue"].abs().sum() > 0)


@pytest.mark.parametrize("timing", [{"timing": "cash", "billing": "quarterly"}, {"timing": "booked"}], ids=str)
def test_totals_are_neither_high_nor_low_under_the_truth(timing: dict) -> None:
    """Over companies what was paid, or booked, is on average where the forecast's mean is."""
    excess = []
    for seed in range(1, 13):
        events, truth = simulate_events(400, seed=seed, future_months=30)
        made = clv.forecast(known_posterior(truth, n_draws=60), known_ledger(events, truth), 24, draws=60, **timing)
        later = clv.read_ledger(pd.concat([events, truth.future]), truth.accounts)
        total = made.portfolio_draws(freq=None).values.ravel()
        excess.append((clv.actual_portfolio(made, later, None)["revenue"].item() - total.mean()) / total.std())
    assert abs(np.mean(excess)) < 3 / np.sqrt(len(excess))
    assert 0.4 < np.std(excess) < 2.0


@pytest.mark.parametrize("billing", ["upfront", "quarterly"])
def test_the_past_is_counted_as_the_forecast_is(company: tuple[pd.DataFrame, Truth], billing: str) -> None:
    """All that was paid in the past is what is paid to date, and its picture can be drawn."""
    made = run(company, billing=billing)
    origin = made.grid.bounds[0]
    past = counted_in_periods(made, np.array([origin - 20_000, origin - 365, origin]))
    assert past.sum() == pytest.approx(made.table["paid_to_date"].sum(), rel=1e-12) and (past > 0).all()
    booked = run(company, timing="booked", billing=None)
    past = counted_in_periods(booked, np.array([origin - 20_000, origin]))
    assert past.sum() == pytest.approx(booked.table["booked_to_date"].sum(), rel=1e-12)
    assert made.plot() is not None
