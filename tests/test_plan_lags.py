"""Renewals' delays: bins of days against scipy, late bookings of the shipped contracts, and what is censored."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

import clvforecast as clv
from clvforecast.ledger import Ledger
from clvforecast.plans import Plans
from clvforecast.plans.counts import PlanCounts
from clvforecast.plans.lags import base_shares, drawn_lag, lag_edges, parts, still_booked
from clvforecast.plans.matching import match_steps
from clvforecast.plans.model import plan_component
from planned_world import LAG_EDGES, LAGS, PlannedWorld, counted, normal_draws, simulated
from test_densities import assert_like_its_graph

AS_OF = date(2018, 6, 30)
BINS = stats.rv_histogram((LAGS, np.array(LAG_EDGES) + 0.5), density=False)
"""Day d is the time about it, up to half a day."""


# --- the distribution -------------------------------------------------------------------------------------------------


def test_bins_reach_from_the_window_to_the_last_day_and_common_days_are_their_own() -> None:
    assert LAG_EDGES == (-91, -61, -31, -15, -1, 0, 15, 31, 61, 92, 122, 182, 273, 365)
    assert lag_edges(np.zeros(0, dtype=np.int64), 30, 60) == (-31, -15, -1, 0, 15, 31, 60)
    delays = np.concatenate([np.repeat([0, 92], 50), np.arange(-20, 200)])
    found = lag_edges(delays, 90, 365)
    assert set(found) == {*LAG_EDGES, 91}
    assert base_shares(found, 10.0, 40.0).sum() == pytest.approx(1.0)


def test_what_is_still_to_be_booked_is_that_of_scipy_given_the_first_possible_day() -> None:
    for lower in (-90, -7, 100):
        days = np.arange(lower - 1, 366)
        found = still_booked(days.astype(float), np.full(len(days), float(lower)), LAG_EDGES, LAGS[None])[:, 0]
        whole = 1.0 - BINS.cdf(lower - 0.5)
        assert found == pytest.approx((1.0 - BINS.cdf(days + 0.5)) / whole, abs=1e-12)
        assert (found[0], found[-1]) == (pytest.approx(1.0), 0.0)
    assert parts(LAG_EDGES[:-1], LAG_EDGES[1:], LAG_EDGES) == pytest.approx(np.eye(len(LAGS)))


@pytest.mark.parametrize(("elapsed", "lower"), [(-200, -90), (-200, -20), (0, -90), (40, -90), (300, -90), (364, -90)])
def test_drawn_days_have_the_distribution_of_delays_after_that_day(elapsed: int, lower: int) -> None:
    n = 200_000
    u = (np.arange(n) + 0.5) / n
    drawn = drawn_lag(u, np.full(n, float(elapsed)), np.full(n, float(lower)), LAG_EDGES, np.tile(LAGS, (n, 1)))
    days = np.arange(max(elapsed + 1, lower), 366)
    expected = BINS.cdf(days + 0.5) - BINS.cdf(days - 0.5)
    found = np.array([(drawn == day).mean() for day in days])
    assert found == pytest.approx(expected / expected.sum(), abs=2e-5)


# --- censoring --------------------------------------------------------------------------------------------------------


def without_open(counts: PlanCounts) -> PlanCounts:
    none = np.zeros(0, dtype=np.int64)
    return replace(counts, open_group=none, open_lower=none, open_day=none, open_n=np.zeros(0))


def test_renewals_that_wait_for_their_booking_are_neither_lapsed_nor_left_out() -> None:
    """Planned days up to as_of: of the last year's most may still be booked."""
    counts, frame = counted(*simulated(PlannedWorld(), 6000, seed=5, kinds=("renewal",), first=-600, last=0)[:2])
    assert counts.open_n.sum() > 1000
    off = {}
    for name, given in (("all", counts), ("without open", without_open(counts))):
        draws = normal_draws(given, frame)
        level = draws["intercept"] + draws["effect"][:, 0]
        off[name] = (level.mean() - PlannedWorld().intercept["renewal"]) / level.std()
    assert abs(off["all"]) < 3.0
    assert off["without open"] > 5.0


def test_the_slope_holds_with_common_days_and_late_notes() -> None:
    """Steps written down after the window began have a later first day, in the middle of a bin."""
    plans, ledger, _ = simulated(PlannedWorld(), 1500, seed=8, first=-400)
    table = plans.accepted
    late = table["planned_date"] - pd.to_timedelta(np.arange(len(table)) % 120 - 20, unit="D")
    plans = clv.read_plans(table.assign(recorded_on=late.dt.date), ledger)
    counts, frame = counted(plans, ledger)
    assert len(np.unique(counts.open_lower)) > 20 and len(np.unique(counts.delay_lower)) > 20
    assert_like_its_graph(plan_component(counts, frame, clv.PlanPriors()))


def test_a_notice_is_no_miss_of_the_fit_before_a_booking_would_have_been() -> None:
    """Lapses count as steps that had not come by as_of; once their last day is over they are misses."""
    rows = pd.DataFrame(
        {
            "account_id": "a",
            "event_date": ["2022-01-01", "2022-12-01"],
            "start_date": ["2022-01-01", "2023-01-01"],
            "kind": ["initial", "churn"],
            "amount": [1200.0, None],
            "term_months": [12, None],
        }
    ).assign(currency="USD")
    accounts = pd.DataFrame({"account_id": ["a"], "region": ["north"]})
    for as_of, misses, waiting in ((date(2023, 2, 1), 0, 1), (date(2024, 2, 1), 1, 0)):
        ledger = clv.read_ledger(rows, accounts=accounts, as_of=as_of)
        steps = pd.DataFrame({"account_id": ["a"], "planned_date": ["2023-01-01"], "kind": "renewal", "amount": 9.0})
        counts, _ = counted(clv.read_plans(steps, ledger), ledger)
        assert (counts.misses.sum(), counts.open_n.sum()) == (misses, waiting)


# --- the shipped contracts --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contracts() -> Ledger:
    return clv.datasets.load_phl_contracts(as_of=AS_OF.isoformat())


@pytest.fixture(scope="module")
def known_later() -> Ledger:
    return clv.datasets.load_phl_contracts()


def planned_renewals(ledger: Ledger, first: str, last: str) -> Plans:
    """A step for every term that ends in this time, on its end, written down four months before; as in the notebook."""
    events = ledger.accepted
    terms = events[events["kind"].isin(["initial", "renewal"])]
    lengths = terms["term_months"].astype(int)
    ends = [day + pd.DateOffset(months=n) for day, n in zip(terms["start_date"], lengths, strict=True)]
    terms = terms.assign(end=pd.to_datetime(ends))
    due = terms[terms["end"].between(first, last)].drop_duplicates(["account_id", "end"])
    stated = np.random.default_rng(4).choice([0.5, 0.7, 0.9, 0.97], len(due))
    written = due["end"] - pd.Timedelta(days=120)
    table = {"account_id": due["account_id"], "planned_date": due["end"].dt.date, "recorded_on": written.dt.date}
    return clv.read_plans(pd.DataFrame({**table, "kind": "renewal", "probability": stated}), ledger)


def test_of_the_shipped_contracts_80_percent_renew_and_45_within_the_window(contracts: Ledger) -> None:
    found = planned_renewals(contracts, "2015-06-01", "2017-03-31").outcomes(contracts)
    assert len(found) == 1605
    assert found["outcome"].value_counts().to_dict() == {"hit": 1287, "missed": 318}, "one of 1,288 came later still"
    assert (found["delay_days"] <= 90).sum() == 721


def test_the_learned_probability_of_renewals_is_the_share_that_renewed(contracts: Ledger) -> None:
    """The fit as users run it: the gate is passed, and the curve lies at .80, whatever was stated at random."""
    plans = planned_renewals(contracts, "2015-06-01", "2017-03-31")
    learned = clv.fit_plan_reliability(plans, contracts, draws=400, tune=300, progress=False)
    table = learned.calibration().dropna()
    assert table["steps"].sum() == 1605
    assert (table["learned"] - 0.802).abs().max() < 0.015
    assert ((table["learned_lower"] < 0.802) & (0.802 < table["learned_upper"])).all()
    delays = learned.summary().set_index("parameter")["mean"]
    assert delays["renewal_delay[0]"] == pytest.approx(0.448, abs=0.01)
    assert delays["renewal_delay[92]"] == pytest.approx(0.279, abs=0.01)


def mean_probability(counts: PlanCounts, draws: dict[str, np.ndarray]) -> np.ndarray:
    """(D,) mean over all steps, those that wait too."""
    waiting = np.bincount(counts.open_group, weights=counts.open_n, minlength=len(counts.hits))
    stated = counts.group_stated / 100.0
    logit = np.log(stated) - np.log1p(-stated)
    p = expit((draws["intercept"] + draws["effect"][:, 0])[:, None] + draws["stated_slope"][:, None] * logit)
    return np.asarray(np.average(p, axis=1, weights=counts.hits + counts.misses + waiting))


@pytest.mark.parametrize("first", ["2015-06-01", "2017-04-01", "2017-07-01"])
def test_a_record_up_to_as_of_is_learned_at_the_share_known_two_years_later(
    contracts: Ledger, known_later: Ledger, first: str
) -> None:
    """202 decisions are open on as_of; without them nearly all seem to renew."""
    plans = planned_renewals(contracts, first, AS_OF.isoformat())
    came = (plans.outcomes(known_later)["outcome"] == "hit").mean()
    matches = match_steps(plans.steps, contracts, plans.window_days, plans.renewal_days)
    assert matches.is_("open").sum() == 202
    counts, frame = counted(plans, contracts, ())
    learned = mean_probability(counts, normal_draws(counts, frame))
    assert abs(learned.mean() - came) < 1.5 * learned.std() < 0.025
    quick = without_open(counts)
    assert mean_probability(quick, normal_draws(quick, frame)).mean() > came + 0.045
