"""Customers not yet won: closed forms, payback by hand, and laws of cohorts."""

import sys
from dataclasses import replace
from datetime import date
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from scipy.special import betaln, hyp2f1

import clvforecast
from clvforecast import Prospects, forecast, prospects, read_ledger, simulate_events
from clvforecast.errors import ForecastError
from clvforecast.fictional import fictional_ledger
from clvforecast.prospects.offers import members
from clvforecast.prospects.payback import by_month_since_start, largest_cost, months_to_reach, payback_quantiles
from clvforecast.simulation.calendar import make_grid
from clvforecast.simulation.parameters import POPULATION
from clvforecast.simulation.slots import UNITS_PER_CENT
from known_world import KnownPosterior, known_posterior, posterior_of

# Fader and Hardie (2010), d = 10%: a = 1.2958, b = .7637 of the Regular cohort's years 0 to 4 give DEL = 3.62.
A, B, DISCOUNT, DEL = 1.2958, 0.7637, 0.1, 3.62
NOTHING_BUT_RENEWAL = {
    **{f"{kind}_rate": 0.0 for kind in ("expansion", "contraction", "change_order", "referral", "reactivation")},
    "termination_rate": 0.0,
    "renewal_mu": A / (A + B),
    "renewal_phi": 1.0 / (A + B + 1.0),
    "renewal_segment_effect": (0.0,) * 3,
    "renewal_term_effect": (0.0,),
    "renewal_number_effect": (0.0,) * 5,
    "renewal_expanded_effect": 0.0,
    "renewal_cut_effect": 0.0,
    "renewal_size_effect": (0.0,) * 4,
    "renewal_year_sd": 0.0,
    "change_logit": [[-60.0, -60.0]] * 5,
    "term_values": (12,),
    "term_length": [[1.0], [1.0]],
    "first_term_length": (1.0,),
}
MRR = 1000.0


@pytest.fixture(scope="module")
def renewing() -> KnownPosterior:
    """Yearly contracts at a flat price, that are renewed or not: nothing else happens."""
    return known_posterior(simulate_events(40, seed=3, parameters=NOTHING_BUT_RENEWAL)[1], n_draws=1000)


@pytest.fixture(scope="module")
def company() -> KnownPosterior:
    return known_posterior(simulate_events(40, seed=5)[1], n_draws=200)


def some(posterior: KnownPosterior, *given: object, **options: object) -> Prospects:
    asked = {"segment": {"segment": "S2"}, "horizon_months": 36, "draws": 200, "repeats": 5} | options
    return prospects(posterior, *(given or (MRR, 12)), **asked)


def survival(t: np.ndarray) -> np.ndarray:
    return np.exp(betaln(A + t, B) - betaln(A, B))


def test_discounted_value_is_the_discounted_expected_lifetime(renewing: KnownPosterior) -> None:
    """FH2010: DEL = 2F1(1, a; a+b; 1/(1+d)) counts whole years at their start; here a year is served, month by month."""
    closed = hyp2f1(1.0, A, A + B, 1.0 / (1.0 + DISCOUNT))
    assert closed == pytest.approx(DEL, abs=5e-3)
    served = np.mean((1.0 + DISCOUNT) ** (-(np.arange(12) + 0.5) / 12.0))
    made = some(renewing, horizon_months=120, draws=1000, repeats=100, annual_discount_rate=DISCOUNT, gross_margin=0.5)
    one = made.customer().iloc[0]
    assert one["discounted_mean"] + one["beyond_horizon"] == pytest.approx(0.5 * 12 * MRR * served * closed, rel=0.01)
    in_window = (survival(np.arange(10)) * (1.0 + DISCOUNT) ** -np.arange(10)).sum()
    assert one["discounted_mean"] == pytest.approx(0.5 * 12 * MRR * served * in_window, rel=0.01)
    assert one["mean"] == pytest.approx(12 * MRR * survival(np.arange(10)).sum(), rel=0.01)
    assert one["active_months"] == pytest.approx(12 * survival(np.arange(10)).sum(), rel=0.01)
    assert abs(one["mean"] - 12 * MRR * survival(np.arange(10)).sum()) < 4 * one["mcse"]


def test_activity_and_payback_are_survival(renewing: KnownPosterior) -> None:
    """A term of twelve months pays its own price; what is more is paid back by those who renew."""
    made = some(renewing, draws=1000, repeats=100, n=50)
    one = made.customer().iloc[0]
    assert one["p_active_12m"] == 1.0
    assert one["p_active_24m"] == pytest.approx(survival(np.array(1.0)), abs=0.006)
    assert one["p_active_36m"] == pytest.approx(survival(np.array(2.0)), abs=0.006)
    within = made.payback(12 * MRR).set_index(["of", "discounted"])
    assert within.loc[("customer", False), "p_paid_back"] == 1.0 and within.loc[("customer", False), "q50"] == 12.0
    more = made.payback(12 * MRR + 0.02).set_index(["of", "discounted"]).loc[("customer", False)]
    assert more["p_paid_back"] == one["p_active_24m"] and more["q05"] == 13.0 and more["q95"] == np.inf
    assert made.max_acquisition_cost(0.99) == pytest.approx(12 * MRR)
    assert made.max_acquisition_cost(0.6, within_months=24) == pytest.approx(24 * MRR)
    yearly = made.cohort("YE").set_index("period_start")
    expected = 50 * survival(np.arange(3))
    np.testing.assert_allclose(yearly["customers_mean"], expected, rtol=0.03)
    np.testing.assert_allclose(yearly["mean"], 12 * MRR * expected, rtol=0.03)
    assert yearly["customers_sd"].iloc[0] == 0.0
    # Customers of one draw are independent given its parameters, which are the same in all: binomial.
    assert yearly["customers_sd"].iloc[1] == pytest.approx(np.sqrt(50 * A * B) / (A + B), rel=0.1)


def test_payback_by_hand() -> None:
    """Four worlds, months 0 to 3: reached at 2, in the first month, never, and passed only for a while."""
    total = np.array([[0.0, 5.0, 10.0, 12.0], [0.0, 10.0, 10.0, 10.0], [0.0, 1.0, 2.0, 3.0], [0.0, 4.0, 11.0, 9.0]])
    assert months_to_reach(total, 10.0).tolist() == [2.0, 1.0, np.inf, 2.0]
    assert months_to_reach(total, 0.0).tolist() == [0.0] * 4
    assert months_to_reach(total, 10.004).tolist() == [2.0, 1.0, np.inf, 2.0]
    assert months_to_reach(total, 10.01).tolist() == [3.0, np.inf, np.inf, 2.0]
    found = payback_quantiles(months_to_reach(total, 10.0))
    assert found == {"q05": 1.0, "q10": 1.0, "q25": 1.0, "q50": 2.0, "q75": 2.0, "q90": np.inf, "q95": np.inf}
    assert largest_cost(total, 0.5, 3) == 11.0 and largest_cost(total, 0.75, 3) == 10.0
    assert largest_cost(total, 0.75, 1) == 4.0 and largest_cost(total, 0.99, 3) == 3.0


def test_months_since_the_start_of_service_are_those_of_the_calendar_or_cut_through_them() -> None:
    whole = make_grid(date(2023, 12, 31), 3, 0.0)
    assert by_month_since_start(np.array([0.0, 1.0, 3.0, 7.0]), whole, 3).tolist() == [0.0, 1.0, 3.0, 7.0]
    cut = make_grid(date(2024, 1, 15), 2, 0.0)  # 16 to 31 January, February, 1 to 15 March
    found = by_month_since_start(np.array([0.0, 16.0, 45.0, 60.0]), cut, 2)
    np.testing.assert_allclose(found, [0.0, 31.0, 60.0])  # one a day


def test_largest_cost_and_payback_say_the_same(company: KnownPosterior) -> None:
    made = some(company, n=20)
    for of in ("customer", "cohort"):
        for months in (12, 36):
            cost = made.max_acquisition_cost(0.8, months, of=of)
            assert (made.payback_draws(cost, of) <= months).mean() >= 0.8
            assert (made.payback_draws(cost + 0.02, of) <= months).mean() < 0.8
    assert made.max_acquisition_cost(0.8) <= made.max_acquisition_cost(0.5)
    assert made.max_acquisition_cost(0.8, 12) <= made.max_acquisition_cost(0.8, 24)
    assert made.max_acquisition_cost(0.8, discounted=True) < made.max_acquisition_cost(0.8)
    table = made.payback(9000.0)
    assert table["of"].tolist() == ["customer"] * 2 + ["cohort"] * 2
    assert table[["p_within_12m", "p_within_24m", "p_paid_back"]].diff(axis=1).iloc[:, 1:].ge(0).all().all()


def test_a_prospect_is_the_ordinary_forecast_of_an_account_with_one_term(company: KnownPosterior) -> None:
    made = some(company, n=1, repeats=1, acquisition_cost=5000.0)
    row = {"account_id": "prospect 00000.0000000", "event_date": "2023-12-31", "kind": "initial", "amount": 12 * MRR}
    events = pd.DataFrame([row | {"currency": "USD", "start_date": "2024-01-01", "term_months": 12, "segment": "S2"}])
    plain = forecast(company, read_ledger(events), horizon_months=36, draws=200, keep_draws=True)
    assert made.start == date(2024, 1, 1)
    assert np.array_equal(made.value_draws.values[:, 0], plain.draws["clv"].values[0])
    account, one = plain.accounts().iloc[0], made.customer().iloc[0]
    for name in ("mean", "sd", "q05", "q95", "discounted_mean", "beyond_horizon", "p_active_24m", "active_months"):
        assert one[name] == pytest.approx(account[name], rel=1e-12), name
    assert one["from_first_term"] == pytest.approx(account["from_committed"])
    assert one.filter(like="from_").sum() == pytest.approx(one["mean"])
    own, portfolio = made.cohort("QE"), plain.portfolio("QE")
    pd.testing.assert_frame_equal(own[portfolio.columns], portfolio, check_column_type=False)


def test_a_cohort_adds_up(company: KnownPosterior) -> None:
    made = some(company, n=5, repeats=5, acquisition_cost=4000.0, gross_margin=0.7)
    assert np.array_equal(made.lives.cohort, made.lives.pool.sum(axis=1))
    np.testing.assert_allclose(made.lives.cohort_value, made.value_draws.sum("customer"), rtol=1e-12)
    whole = made.cohort(None).iloc[0]
    assert whole["mean"] == pytest.approx(5 * made.customer()["mean"].item())
    assert whole["cumulative_mean"] == pytest.approx(0.7 * whole["mean"] - 5 * 4000.0)
    for freq in ("ME", "QE", "YE-JUN"):
        table = made.cohort(freq)
        assert table["mean"].sum() == pytest.approx(whole["mean"])
        assert table["cumulative_mean"].iloc[-1] == pytest.approx(whole["cumulative_mean"])
        assert table["p_paid_back"].iloc[-1] == whole["p_paid_back"]
    discounted = made.cohort("YE", discounted=True)
    assert discounted["mean"].sum() == pytest.approx(5 * made.customer()["discounted_mean"].item())


def test_cohort_means_are_n_times_customer_means(company: KnownPosterior) -> None:
    made = some(company, n=60, repeats=100)
    customer = made.customer().iloc[0]
    assert made.cohort(None)["mean"].item() == pytest.approx(60 * customer["mean"], rel=0.02)
    per_head = made.cohort(None)["sd"].item() / 60
    assert per_head == pytest.approx(customer["sd"] / np.sqrt(60), rel=0.2)  # known parameters: chance alone evens out


def test_what_is_not_known_of_the_business_does_not_average_out(renewing: KnownPosterior) -> None:
    """Half of the draws have a mean renewal of .9, half of .5: the range of a cohort has a floor, that of chance goes."""
    truth = simulate_events(40, seed=3, parameters=NOTHING_BUT_RENEWAL)[1]
    same = {name: values.values[0] for name, values in renewing.idata["posterior"].isel(draw=slice(200)).items()}
    posterior = posterior_of(same | {"renewal_mu": np.tile([0.5, 0.9], 100)}, renewing.frame, truth)
    # Two years of which the second is served by those who renew: sd of the two means is .2 of a year.
    found = [some(posterior, n=n, horizon_months=24).cohort(None)["sd"].item() / n for n in (25, 400)]
    assert found[1] == pytest.approx(0.2 * 12 * MRR, rel=0.1) and found[1] < found[0]


def test_counts_of_a_mix_are_a_systematic_sample() -> None:
    offsets = (np.arange(4000) + 0.5) / 4000
    for weights in ([0.5, 0.3, 0.2], [0.05, 0.95], [1.0]):
        for size in (1, 2, 7, 100):
            found = members(np.array(weights), size, offsets)
            assert (found.sum(axis=1) == size).all() and (np.abs(found - size * np.array(weights)) < 1.0).all()
            np.testing.assert_allclose(found.mean(axis=0), size * np.array(weights), atol=1e-3)


MIX = pd.DataFrame(
    {
        "first_mrr": [500.0, 1000.0, 4000.0, 500.0],
        "term_months": [12, 12, 36, 12],
        "segment": ["S1", "S2", "S3", "S1"],
        "weight": [2.0, 3.0, 4.0, 1.0],
    }
)


def test_a_mix_is_the_weighted_mean_of_its_offers(company: KnownPosterior) -> None:
    made = some(company, MIX, segment=None, n=10, repeats=120)
    assert made.offers["weight"].tolist() == pytest.approx([0.3, 0.3, 0.4])  # rows alike are one
    alone = [some(company, mrr, months, segment={"segment": s}, repeats=60) for mrr, months, s in MIX.values[:3, :3]]
    expected = np.dot([0.3, 0.3, 0.4], [offer.customer()["mean"].item() for offer in alone])
    assert made.customer()["mean"].item() == pytest.approx(expected, rel=0.02)
    first = np.dot([3, 3, 4], [500.0, 1000.0, 4000.0])  # ten customers are signed exactly so; early ends are few
    assert made.cohort("ME")["q50"].iloc[0] == pytest.approx(first, rel=0.05)


def test_row_order_chunks_and_threads_change_no_byte(company: KnownPosterior, monkeypatch: pytest.MonkeyPatch) -> None:
    made = some(company, MIX, segment=None, n=12, acquisition_cost=100.0)
    monkeypatch.setattr(sys.modules["clvforecast.prospects.lives"], "CHUNK_BYTES", 1e6)
    other = some(company, MIX.iloc[::-1], segment=None, n=12, acquisition_cost=100.0, threads=1)
    pd.testing.assert_frame_equal(made.customer(), other.customer(), check_exact=True)
    pd.testing.assert_frame_equal(made.cohort(), other.cohort(), check_exact=True)
    pd.testing.assert_frame_equal(made.payback(), other.payback(), check_exact=True)
    assert not np.array_equal(made.value_draws, some(company, MIX, segment=None, n=12, seed=8).value_draws)


def test_prices_are_compared_in_the_same_lives(renewing: KnownPosterior) -> None:
    """Flat prices in one size class: twice the price is twice the revenue in every draw."""
    one, two = (some(renewing, price, 12, n=3) for price in (100.0, 200.0))
    np.testing.assert_allclose(2 * one.lives.cohort, two.lives.cohort, atol=UNITS_PER_CENT)  # daily rates are rounded


def test_a_level_never_seen_is_wider_and_warned_of(company: KnownPosterior) -> None:
    truth = simulate_events(40, seed=5)[1]
    spreads = {f"{prefix}_segment_sd": np.array([0.8]) for _, _, prefix in POPULATION.values()}
    posterior = known_posterior(truth, n_draws=200, **spreads)
    new = some(posterior, segment={"segment": "Mars"}, n=100)
    assert any(
        "segment: 1 levels were not in the training data (Mars), which had S1, S2, S3" in line for line in new.warnings
    )
    seen = some(posterior, n=100)
    assert seen.warnings == ()
    assert new.cohort(None)["sd"].item() > 2 * seen.cohort(None)["sd"].item()


def test_what_is_unlike_training_is_told(company: KnownPosterior) -> None:
    (far,) = some(company, 9_000_000.0, 12, n=1).warnings
    assert "far from the prices in training" in far
    (term,) = some(company, MRR, 7).warnings
    assert "7 months" in term


def test_start_may_be_later_or_in_the_middle_of_a_month(company: KnownPosterior) -> None:
    made = some(company, start="2025-03-10", n=2, acquisition_cost=3 * MRR)
    assert made.start == date(2025, 3, 10) and made.cohort("ME")["period_start"].iloc[0] == pd.Timestamp("2025-03-10")
    assert made.cohort("ME")["partial"].tolist() == [True, *[False] * 35, True]
    assert made.payback()["q50"].iloc[0] == 3.0


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ((-1.0, 12), {}, "first_mrr=.*above 0"),
        ((float("nan"), 12), {}, "first_mrr=nan"),
        ((1000.0, 0), {}, "term_months=.*whole months, from 1"),
        ((1000.0, 1.5), {}, "term_months=1.5"),
        ((1000.0,), {}, "term_months is missing"),
        (([1.0, 2.0, 3.0], [12, 24]), {}, "3 values and term_months 2"),
        ((1000.0, 12), {"segment": None}, "segment 'segment' is missing.*S1, S2, S3"),
        ((1000.0, 12), {"segment": {"segment": "S1", "colour": "red"}}, "'colour'.*trained with segment"),
        ((1000.0, 12), {"segment": {"segment": None}}, "segment 'segment' is empty"),
        ((MIX,), {}, "given twice"),
        ((MIX.drop(columns="first_mrr"),), {"segment": None}, "no column 'first_mrr'"),
        ((MIX.assign(weight=-1.0),), {"segment": None}, "weight="),
        ((MIX.iloc[:0],), {"segment": None}, "no rows"),
        ((MIX.assign(term_months=[12, 12, 0, 12]),), {"segment": None}, "row 3: term_months=0"),
        ((1000.0, 12), {"n": 0}, "n=0"),
        ((1000.0, 12), {"repeats": 1.5}, "repeats=1.5"),
        ((1000.0, 12), {"acquisition_cost": -5.0}, "acquisition_cost=-5.0"),
        ((1000.0, 12), {"horizon_months": 0}, "horizon_months=0"),
        ((1e12, 12), {}, "cannot be booked"),
    ],
)
def test_wrong_calls_say_what_to_do(company: KnownPosterior, given: tuple, options: dict, words: str) -> None:
    with pytest.raises(ForecastError, match=words):
        some(company, *given, **options)


def test_wrong_questions_say_what_to_do(company: KnownPosterior) -> None:
    made = some(company)
    with pytest.raises(ForecastError, match="acquisition_cost is missing"):
        made.payback()
    with pytest.raises(ForecastError, match="acquisition_cost='dear'"):
        made.payback("dear")
    with pytest.raises(ForecastError, match="target_probability=80"):
        made.max_acquisition_cost(80)
    with pytest.raises(ForecastError, match="within_months=48: from 1 to the horizon, 36"):
        made.max_acquisition_cost(0.8, 48)
    with pytest.raises(ForecastError, match='Use "customer" or "cohort"'):
        made.payback_draws(1.0, of="company")
    with pytest.raises(ForecastError, match="ci_kind"):
        made.customer(ci_kind="sd")


def test_a_fictional_ledger_refuses_what_cannot_be_booked() -> None:
    table = pd.DataFrame({"account_id": ["a"], "first_mrr": [1.0], "term_months": [12], "start": [date(2900, 1, 1)]})
    for accounts in (table, pd.concat([table.assign(account_id="b", start=date(2024, 1, 1)), table])):
        with pytest.raises(ForecastError, match="cannot be booked: .*start_date.*2900-01-01"):
            fictional_ledger(accounts, date(2023, 12, 31), "USD")


def test_repr_names_the_currency_and_the_cohort(company: KnownPosterior) -> None:
    made = some(replace(company, currency="EUR"), n=3)
    assert "a cohort of 3, 36 months: a customer is worth EUR" in repr(made)


def test_prospects_is_the_function_although_a_package_has_its_name() -> None:
    package = import_module("clvforecast.prospects")
    assert clvforecast.prospects is package.prospects and callable(prospects)
