"""New customers to come: who counts as new, the rate that is learned, and laws of what is sampled."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.integrate import dblquad
from scipy.stats import gamma, nbinom

from clvforecast import (
    PlannedNewCustomers,
    TrailingNewCustomers,
    datasets,
    forecast,
    prospects,
    read_ledger,
    sample_new_customers,
)
from clvforecast.errors import ForecastError
from clvforecast.histories import build_histories
from clvforecast.ledger import Ledger
from clvforecast.new_customers import (
    learn_rate,
    new_customer_ledger,
    new_customer_policy,
    new_customer_states,
    new_customers,
    simulate_new_customers,
    trailing_counts,
)
from clvforecast.simulation.calendar import add_months, date_of, day_number, make_grid
from clvforecast.simulation.parameters import make_classes, make_parameters
from clvforecast.simulation.run import Totals
from clvforecast.simulation.slots import UNITS_PER_CURRENCY
from clvforecast.simulation.states import account_states, unseen_levels
from clvforecast.simulation.structures import Settings
from clvforecast.synthetic import Truth, simulate_events
from known_world import KnownPosterior, known_posterior

AS_OF = date(2024, 6, 30)
USD = {"currency": "USD", "term_months": 12, "amount": 1200.0, "kind": "initial"}


def day(text: str) -> int:
    return day_number(date.fromisoformat(text))


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """Sixty customers in the last year, five a month on its 10th, service twenty days later; two plans and prices."""
    booked = [f"{2023 + (m + 6) // 12}-{(m + 6) % 12 + 1:02d}-10" for m in range(12) for _ in range(5)]
    rows = [
        USD
        | {"account_id": f"a{k:03d}", "event_date": on, "start_date": str(date.fromisoformat(on).replace(day=28))}
        | {"amount": 1200.0 if k % 5 < 3 else 36_000.0, "term_months": 12 if k % 5 < 3 else 36}
        for k, on in enumerate(booked)
    ]
    old = [USD | {"account_id": "old", "event_date": "2020-01-01", "start_date": "2020-01-01"}]
    accounts = pd.DataFrame({"account_id": [f"a{k:03d}" for k in range(60)] + ["old"]})
    accounts["plan"] = ["basic" if k % 5 < 3 else "pro" for k in range(60)] + ["old"]
    return read_ledger(pd.DataFrame(old + rows), accounts=accounts, as_of=AS_OF)


def test_who_is_new() -> None:
    """An account's first term, if it is an initial and nothing came before; contracts of that day count together."""
    rows = [
        {"account_id": "new", "event_date": "2024-02-01", "start_date": "2024-03-01"},
        {"account_id": "new", "event_date": "2024-02-01", "contract_id": "second", "term_months": 24, "amount": 9600.0},
        {"account_id": "new", "event_date": "2024-05-01", "contract_id": "third", "amount": 120_000.0},
        {"account_id": "back", "event_date": "2019-02-01"},
        {"account_id": "back", "event_date": "2024-02-01"},
        {"account_id": "labelled renewal", "event_date": "2024-02-01", "kind": "renewal"},
        {"account_id": "seen late", "event_date": "2024-02-01"},
        {"account_id": "seen late, unknown", "event_date": "2024-02-01"},
        {"account_id": "not yet", "event_date": "2024-08-01"},
    ]
    events = pd.DataFrame([USD | {"contract_id": None} | row for row in rows])
    events["start_date"] = events["start_date"].fillna(events["event_date"])
    observed = {"new": 0, "back": 0, "labelled renewal": 0, "seen late": 2, "seen late, unknown": None, "not yet": 0}
    accounts = pd.DataFrame({"account_id": list(observed), "observed_from": pd.array(list(observed.values()), "Int64")})
    found = new_customers(read_ledger(events, accounts=accounts, as_of=AS_OF)).set_index("account_id")
    assert found.index.tolist() == ["back", "new"]
    assert found.loc["new", ["booked_day", "first_mrr", "term_months"]].tolist() == [day("2024-02-01"), 500.0, 24]
    assert found.loc["back", "booked_day"] == day("2019-02-01")


def test_trailing_quarters_are_counted_back_from_as_of(ledger: Ledger) -> None:
    assert trailing_counts(ledger).tolist() == [15] * 4
    assert trailing_counts(ledger, 15).tolist() == [0] + [15] * 4
    assert trailing_counts(ledger.at("2024-06-09"), 3).tolist() == [15]  # from 10 March on
    assert trailing_counts(ledger.at("2024-06-10"), 3).tolist() == [15]  # from 11 March on


def test_equal_quarters_of_many_customers_are_nearly_poisson() -> None:
    """Without spread the posterior is Jeffreys' Gamma(Σy + 1/2, quarters)."""
    counts = np.array([52, 47, 50, 55, 46, 49, 51, 48, 53, 50, 47, 52])
    learned = learn_rate(counts, spread_sd=0.005)
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    found, _ = learned.draws(np.column_stack([np.zeros(5), levels]))
    np.testing.assert_allclose(found, gamma.ppf(levels, counts.sum() + 0.5, scale=1 / 12), rtol=0.005)
    none, _ = learn_rate(np.zeros(12, dtype=np.int64), spread_sd=0.005).draws(
        np.column_stack([np.zeros(3), levels[2:]])
    )
    np.testing.assert_allclose(none, gamma.ppf(levels[2:], 0.5, scale=1 / 12), rtol=0.02)


def test_the_learned_rate_agrees_with_an_integral() -> None:
    counts = np.array([3, 9, 4, 14, 2, 7])

    def density(rate: float, spread: float, power: int = 0) -> float:
        k = spread**-2
        return (
            rate**power * rate**-0.5 * np.exp(-0.5 * (spread / 0.3) ** 2) * nbinom.pmf(counts, k, k / (k + rate)).prod()
        )

    total, first, second = (
        dblquad(lambda r, s, p=p: density(r, s, p), 1e-3, 2.5, 1e-6, 150.0, epsrel=1e-5)[0] for p in range(3)
    )
    uniform = (np.arange(200) + 0.5) / 200
    rates, spreads = learn_rate(counts).draws(np.stack(np.meshgrid(uniform, uniform), axis=-1).reshape(-1, 2))
    assert rates.mean() == pytest.approx(first / total, rel=0.005)
    assert rates.std() == pytest.approx(np.sqrt(second / total - (first / total) ** 2), rel=0.03)
    assert 0.25 < spreads.mean() < 0.6  # the counts' own: SD 4.5 about 6.5, of which 2.5 is chance


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_the_next_year_lies_in_its_range(spread: float) -> None:
    """Of 300 companies with known rate and spread, nine in ten have their next year's count in the 90% range."""
    rng = np.random.default_rng(4)
    inside = []
    for _ in range(300):
        rate = rng.uniform(3.0, 60.0)
        quarters = rng.poisson(rate * (rng.gamma(spread**-2, spread**2, 8) if spread else np.ones(8)))
        rates, spreads = learn_rate(quarters[:4]).draws(rng.random((400, 2)))
        shape = 1 / spreads[:, None] ** 2
        year = nbinom.rvs(shape, shape / (shape + rates[:, None]), size=(400, 4), random_state=rng).sum(axis=1)
        low, high = np.quantile(year, [0.05, 0.95])
        inside.append(low <= quarters[4:].sum() <= high)
    assert 0.86 <= np.mean(inside) <= (0.995 if spread == 0.0 else 0.95)  # where quarters are alike the prior errs wide


def test_sampled_counts_have_the_mean_and_variance_of_theory(ledger: Ledger) -> None:
    found = sample_new_customers(ledger, horizon_months=24, draws=3000)
    learned = learn_rate(trailing_counts(ledger))
    uniform = (np.arange(150) + 0.5) / 150
    rate, spread = learned.draws(np.stack(np.meshgrid(uniform, uniform), axis=-1).reshape(-1, 2))
    counts = found.groupby("draw").size().reindex(range(3000), fill_value=0)
    mean, once = rate.mean(), (rate + rate**2 * spread**2).mean()
    assert counts.mean() == pytest.approx(8 * mean, abs=4 * counts.std() / np.sqrt(3000))
    assert counts.var() == pytest.approx(8 * once + 64 * rate.var(), rel=0.15)
    early = found[found["booked_day"] < day("2024-10-01")].groupby("draw").size().reindex(range(3000), fill_value=0)
    assert early.mean() == pytest.approx(mean, abs=4 * early.std() / np.sqrt(3000))
    assert early.var() == pytest.approx(once + rate.var(), rel=0.15)
    assert early.var() > 1.2 * early.mean()  # quarters differ by more than Poisson chance


def test_sampled_customers_are_those_of_the_last_months(ledger: Ledger) -> None:
    found = sample_new_customers(ledger, horizon_months=12, draws=1500)
    pairs = set(found[["first_mrr", "term_months", "plan"]].itertuples(index=False, name=None))
    assert pairs == {(100.0, 12, "basic"), (1000.0, 36, "pro")}
    assert (found["start_day"] - found["booked_day"] == 18).all()
    assert found["booked_day"].between(day("2024-07-01"), day("2025-06-30")).all()
    dates = found["booked_day"].to_numpy().astype("datetime64[D]")
    of_month = (dates - dates.astype("datetime64[M]")).astype(int) + 1
    assert (np.abs(of_month - 10) <= 2).all()  # booked on the 10th: quarters are up to two days longer or shorter
    share = (found["plan"] == "basic").groupby(found["draw"]).agg(["mean", "size"])
    assert share["mean"].mean() == pytest.approx(0.6, abs=0.01)
    # Bayesian bootstrap: the share of a draw is Beta(36, 24), then binomial.
    n = share["size"]
    expected = (0.24 / 61 + 0.24 * (60 / 61) / n).mean()
    assert share["mean"].var() == pytest.approx(expected, rel=0.15)


def test_draws_and_horizons_are_the_same_in_any_company(ledger: Ledger) -> None:
    long = sample_new_customers(ledger, horizon_months=24, draws=30)
    some = sample_new_customers(ledger, horizon_months=24, draws=[3, 17])
    expected = long[long["draw"].isin([3, 17])].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, expected)
    short = sample_new_customers(ledger, horizon_months=12, draws=30)
    early = long[long["booked_day"] < day("2025-07-01")].reset_index(drop=True)
    pd.testing.assert_frame_equal(short, early)
    assert not sample_new_customers(ledger, horizon_months=12, draws=30, seed=8).equals(short)
    assert (long.groupby("draw")["booked_day"].diff().dropna() >= 0).all()


def test_rows_in_another_order_change_nothing(ledger: Ledger) -> None:
    events = ledger.accepted.drop(columns=["amount_cents", "contract_id"]).sample(frac=1.0, random_state=2)
    accounts = ledger.accounts.to_pandas().drop(columns="observed_from").sample(frac=1.0, random_state=3)
    other = read_ledger(events, accounts=accounts, as_of=AS_OF)
    pd.testing.assert_frame_equal(
        sample_new_customers(other, horizon_months=6, draws=20),
        sample_new_customers(ledger, horizon_months=6, draws=20),
    )


PLAN = pd.DataFrame(
    {"start": ["2024-07-01", "2024-08-15", "2024-09-01"], "customers": [4, 2, 1], "plan": ["pro", "basic", None]}
)


def test_a_plan_is_kept_to_the_customer(ledger: Ledger) -> None:
    found = sample_new_customers(ledger, PLAN, horizon_months=12, draws=50)
    assert (found.groupby("draw").size() == 7).all()
    july = found[found["booked_day"] <= day("2024-07-31")]
    assert (
        (july.groupby("draw").size() == 4).all() and set(july["plan"]) == {"pro"} and set(july["term_months"]) == {36}
    )
    august = found[found["booked_day"].between(day("2024-08-15"), day("2024-08-31"))]
    assert (august.groupby("draw").size() == 2).all() and set(august["plan"]) == {"basic"}
    assert set(found["plan"]) == {"pro", "basic"}
    pd.testing.assert_frame_equal(found, sample_new_customers(ledger, PLAN.iloc[::-1], horizon_months=12, draws=50))
    short = sample_new_customers(ledger, PLAN, horizon_months=1, draws=50)
    assert len(short) == 4 * 50


def test_a_plan_may_say_all_itself(ledger: Ledger) -> None:
    full = PLAN.assign(plan="enterprise", first_mrr=[1.0, 2.0, 3.0], term_months=24, end="2024-12-31")
    found = sample_new_customers(ledger, PlannedNewCustomers(full), horizon_months=12, draws=3)
    assert found["first_mrr"].value_counts().to_dict() == {1.0: 12, 2.0: 6, 3.0: 3}
    assert set(found["plan"]) == {"enterprise"} and set(found["term_months"]) == {24}
    assert (found["start_day"] == found["booked_day"]).all()
    assert sample_new_customers(ledger, full.assign(customers=0), draws=3).empty
    young = ledger.at("2020-02-28")  # two months old: nobody to learn from, and no need to
    pd.testing.assert_frame_equal(
        sample_new_customers(young, full.assign(start="2024-07-01"), 60, draws=1)[["plan"]], found[["plan"]][:7]
    )


def test_the_policy_is_told_in_words() -> None:
    assert "last 12 months" in new_customer_policy("trailing")
    assert "last 24 months" in new_customer_policy(TrailingNewCustomers(24))
    for plan in (PLAN, PlannedNewCustomers(PLAN)):
        assert "as planned: 7 in the whole plan" in new_customer_policy(plan)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("next", "from 'next' are not known"),
        (TrailingNewCustomers(months=0), "months=0"),
        (TrailingNewCustomers(months=600), "first booking is of 2020-01-01.*Learn from the last 51 months"),
        (TrailingNewCustomers(months=10), "multiple of 3"),
        (PLAN.drop(columns="customers"), "no column 'customers'"),
        (PLAN.assign(colour="red"), "column 'colour'.*plan"),
        (PLAN.assign(customers=2.5), "customers=2.5: .*plan 5 in two months"),
        (PLAN.assign(customers=-1), "customers=-1"),
        (PLAN.assign(start="2024-06-30"), "after as_of 2024-06-30"),
        (PLAN.assign(start="soon"), "start='soon'"),
        (PLAN.assign(end="2024-07-01"), "row 2: end="),
        (PLAN.assign(plan="Mars"), "none with plan=Mars was won in the 12 months"),
        (PLAN.assign(term_months=0), "term_months=0"),
    ],
)
def test_wrong_sources_say_what_to_do(ledger: Ledger, source: object, words: str) -> None:
    with pytest.raises(ForecastError, match=words):
        sample_new_customers(ledger, source, draws=2)


def test_a_year_without_new_customers_teaches_no_price(ledger: Ledger) -> None:
    quiet = read_ledger(ledger.accepted.drop(columns=["amount_cents", "contract_id"]), as_of="2026-01-31")
    with pytest.raises(ForecastError, match="no new customer was booked in the 12 months up to 2026-01-31"):
        sample_new_customers(quiet, draws=2)


def test_the_ranges_of_the_shipped_contracts_new_customers_hold() -> None:
    """Of the twelve years that begin in January and July 2014 to 2019, the 90% range of the yearly count holds eleven."""
    whole = datasets.load_phl_contracts(as_of="2020-06-30")
    booked = new_customers(whole)["booked_day"].to_numpy()
    ends = [date(year, *on) for year in range(2013, 2020) for on in ((6, 30), (12, 31))]
    inside = []
    for as_of in ends[1:-1]:
        first = day_number(as_of) + 1
        edges = [int(add_months(first, k)) for k in (-12, -9, -6, -3, 0, 12)]
        counts = np.diff(np.searchsorted(booked, edges))
        uniform = np.random.default_rng(1).random((2000, 6))
        rate, spread = (values[:, None] for values in learn_rate(counts[:4]).draws(uniform[:, :2]))
        year = nbinom.ppf(uniform[:, 2:], spread**-2, 1 / (1 + spread**2 * rate)).sum(axis=1)
        low, high = np.quantile(year, [0.05, 0.95])
        inside.append(low <= counts[4] <= high)
    assert len(inside) == 12 and sum(inside) == 11


@pytest.fixture(scope="module")
def company() -> tuple[Ledger, Truth]:
    events, truth = simulate_events(60, seed=5)
    return read_ledger(events, accounts=truth.accounts, as_of=truth.as_of), truth


def planned(known: Ledger, customers: int, draws: int) -> pd.DataFrame:
    """Customers alike in everything, who start on 1 April 2024."""
    plan = pd.DataFrame({"start": ["2024-04-01"], "end": ["2024-04-01"], "customers": [customers]})
    plan = plan.assign(segment="S2", first_mrr=1000.0, term_months=12)
    return sample_new_customers(known, plan, horizon_months=27, draws=draws)


def one_by_one(posterior: KnownPosterior, sampled: pd.DataFrame, known: Ledger) -> tuple[np.ndarray, np.ndarray]:
    """Revenue (draws, customers, months), every sampled customer forecast under all draws; the draw each lives in."""
    fictional, only_draw = new_customer_ledger(sampled, known)
    accounts = fictional.accounts.to_pandas().assign(own=lambda table: table["account_id"])
    events = fictional.accepted.drop(columns=["amount_cents", "contract_id"])
    apart = read_ledger(events, accounts=accounts.drop(columns="observed_from"), as_of=known.as_of)
    made = forecast(posterior, apart, horizon_months=27, draws=50, group_by=["own"])
    return made.totals.groups, only_draw


def together(posterior: KnownPosterior, sampled: pd.DataFrame, known: Ledger, **options: int) -> Totals:
    """The same with the simulation that runs every customer in its own draw alone, one group a customer."""
    new_levels = unseen_levels(pa.table({"segment": pa.array(sampled["segment"].tolist())}), posterior.frame)
    grid = make_grid(known.as_of, 27, 0.1)
    draws = posterior.idata["posterior"].to_dataset()
    parameters = make_parameters(draws, posterior.frame, new_levels, 50, 7, last_year=date_of(grid.bounds[-1]).year)
    states = new_customer_states(sampled, posterior.frame, new_levels, grid.as_of)
    settings = Settings(seed=7, grace_days=-1, max_ratio=20.0, known_by=10**6, booked=False)
    only_draw, group = sampled["draw"].to_numpy(np.int32), sampled["number"].to_numpy()
    classes, groups = make_classes(posterior.frame), int(group.max()) + 1
    return simulate_new_customers(states, only_draw, parameters, classes, settings, grid, group, groups, **options)


def test_states_are_those_of_the_fictional_ledger(company: tuple[Ledger, Truth]) -> None:
    known, truth = company
    posterior = known_posterior(truth, n_draws=50)
    offers = {"first_mrr": [100.0, 33.333333, 7777.77], "term_months": [12, 7, 60], "segment": ["S1", "S3", "Mars"]}
    plan = pd.DataFrame(offers).assign(start=["2024-01-01", "2024-02-29", "2025-01-31"], customers=[2, 3, 2])
    sampled = sample_new_customers(known, plan, draws=20)
    fictional, _ = new_customer_ledger(sampled, known)
    expected = account_states(build_histories(fictional), posterior.frame)
    found = new_customer_states(sampled, posterior.frame, (("segment", "Mars"),), int(expected.as_of))
    assert len(sampled) == 7 * 20
    for name, value in expected._asdict().items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)
        assert np.asarray(getattr(found, name)).dtype == np.asarray(value).dtype, name


def test_sampled_customers_live_in_their_draw(company: tuple[Ledger, Truth]) -> None:
    """Nothing comes before their service; in the mean they bring what a prospect does."""
    known, truth = company
    posterior = known_posterior(truth, n_draws=50)
    sampled = planned(known, 8, 50)
    monthly, only_draw = one_by_one(posterior, sampled, known)
    slow = monthly[only_draw, np.arange(only_draw.size)]
    fast = together(posterior, sampled, known).groups.reshape(-1, slow.shape[1])
    assert np.array_equal(fast[:8], slow[:8])  # in the first draw both have the same random numbers
    options = {"start": "2024-04-01", "horizon_months": 24, "draws": 50, "repeats": 200}
    one = prospects(posterior, 1000.0, 12, {"segment": "S2"}, **options).customer().iloc[0]
    for lives in (slow / UNITS_PER_CURRENCY, fast / UNITS_PER_CURRENCY):
        assert (lives[:, :3] == 0.0).all() and (lives[:, 3] > 0.0).all()
        assert lives.sum(axis=1).mean() == pytest.approx(one["mean"], abs=4 * one["sd"] / np.sqrt(only_draw.size))


def test_threads_change_no_byte_and_draws_may_have_no_customers(company: tuple[Ledger, Truth]) -> None:
    known, truth = company
    posterior = known_posterior(truth, n_draws=50)
    sampled = planned(known, 3, 50)
    sampled = sampled[~sampled["draw"].isin([0, 7, 49])].reset_index(drop=True)
    found = together(posterior, sampled, known)
    assert (found.groups[[0, 7, 49]] == 0).all() and (found.groups.sum(axis=2)[1] > 0).all()
    assert np.array_equal(found.groups, together(posterior, sampled, known, threads=1).groups)
    assert np.array_equal(found.groups.sum(axis=1), found.origins.sum(axis=1))


def test_new_customers_without_the_posteriors_segment_are_refused(company: tuple[Ledger, Truth]) -> None:
    known, truth = company
    with pytest.raises(ForecastError, match="no column 'segment', which the posterior"):
        new_customer_states(planned(known, 3, 2).drop(columns="segment"), known_posterior(truth).frame, (), 0)
