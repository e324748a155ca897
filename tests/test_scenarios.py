"""Scenarios: what must follow exactly from an assumption, and in distribution."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clvforecast as clv
from clvforecast import Assume, Scenario
from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast, forecast
from clvforecast.ledger import Ledger, read_ledger
from clvforecast.synthetic import Truth, simulate_events
from known_world import KnownPosterior, known_ledger, known_posterior

DRAWS = 60
EVENT_RATES = ("expansion", "contraction", "change_order", "referral")
NO_EVENTS = {f"{kind}_rate": 0.0 for kind in (*EVENT_RATES, "reactivation", "termination")}
LOTS = 400


@cache
def company(n: int = 200, seed: int = 5) -> tuple[pd.DataFrame, Truth]:
    return simulate_events(n, seed=seed, late_booking=seed != 6)


def run(scenario: Scenario | None, posterior: KnownPosterior | None = None, **options: object) -> Forecast:
    events, truth = company()
    asked = {"horizon_months": 30, "draws": DRAWS, "keep_draws": True} | options
    return forecast(
        posterior or known_posterior(truth, n_draws=DRAWS), known_ledger(events, truth), scenario=scenario, **asked
    )


@cache
def base() -> Forecast:
    return run(None)


def of_origin(one: Forecast, *origins: str) -> np.ndarray:
    """(accounts, draws) revenue of some origins."""
    return sum(one.draws["revenue_by_origin"].sel(origin=origin).values for origin in origins)


def assert_same(one: Forecast, other: Forecast, accounts: np.ndarray | slice = slice(None)) -> None:
    """To the last unit, in every draw."""
    for name in ("revenue", "clv"):
        assert np.array_equal(one.draws[name].values[accounts], other.draws[name].values[accounts]), name


# One contract of a year an account


def fresh(n: int, ahead: bool = False) -> Ledger:
    """n accounts whose first year ends with `as_of`, 2024-12-31, or (``ahead``) is booked then and begins on the next day."""
    begun = pd.Timestamp("2025-01-01" if ahead else "2024-01-01").date()
    months, booked = 12, min(begun, pd.Timestamp("2024-12-31").date())
    events = pd.DataFrame({"account_id": [f"A{i:05d}" for i in range(n)], "event_date": booked, "start_date": begun})
    events = events.assign(kind="initial", amount=1200.0, currency="USD", term_months=months, segment="S1")
    return read_ledger(events, as_of="2024-12-31")


def plain(**changed: object) -> KnownPosterior:
    """A posterior without segments, classes, years or price changes; booked on the day."""
    _, truth = company(30, 6)
    flat = {name: np.zeros(np.shape(value)) for name, value in truth.parameters.items() if name.endswith("_effect")}
    never = np.full(np.shape(truth.parameters["change_logit"]), -50.0)
    lags = np.zeros(np.shape(truth.parameters["booking_lag"]))
    lags[np.flatnonzero(np.asarray(truth.lag_edges) >= 0)[0] - 1] = 1.0
    own = np.zeros(np.shape(truth.parameters["term_length"]))
    own[:, list(truth.term_values).index(12)] = 1.0
    given = (
        flat | NO_EVENTS | {"renewal_year_sd": 1e-12, "change_logit": never, "booking_lag": lags, "term_length": own}
    )
    return known_posterior(truth, **(given | {"n_draws": LOTS} | changed))


def test_assuming_nothing_changes_nothing() -> None:
    for scenario in (Scenario("nothing"), Scenario("ones", Assume()), Scenario("later", Assume(start="2060-01-01"))):
        assert_same(base(), run(scenario))
        assert (run(scenario, timing="booked").totals.origins == run(None, timing="booked").totals.origins).all()


def test_what_ended_before_the_forecast_changes_nothing() -> None:
    assert_same(base(), run(Scenario("past", Assume(renewal_odds=0, expansion_rate=3, end="2023-12-31"))))


def test_odds_of_0_leave_no_renewal_after_the_day() -> None:
    never = run(Scenario("none", Assume(renewal_odds=0)))
    assert (of_origin(never, "renewal") == 0).all()
    assert (of_origin(base(), "committed", "referral")[:, :1] >= 0).all()
    later = run(Scenario("none from July", Assume(renewal_odds=0, start="2024-07-01")))
    first_half = [
        one.portfolio_draws("month", by="origin").sel(group="renewal").values[:, :6] for one in (base(), later)
    ]
    assert np.array_equal(*first_half)
    sure = plain(renewal_mu=1 - 1e-15, renewal_phi=1e-6)
    ledger = fresh(50)
    none = forecast(sure, ledger, 24, draws=20, scenario=Scenario("none", Assume(renewal_odds=0)))
    assert (none.table["mean"] == 0).all() and (forecast(sure, ledger, 24, draws=20).table["mean"] == 2400).all()


def test_a_hundred_points_renew_all() -> None:
    certain = plain(renewal_mu=0.3, renewal_phi=0.2)
    one = forecast(
        certain, fresh(50), 36, draws=20, keep_draws=True, scenario=Scenario("all", Assume(renewal_points=1))
    )
    assert (one.draws["revenue"].values == 3600.0).all()
    assert (one.table["p_next_renewal"] == 1).all()


def test_overlapping_assumptions_multiply_and_add() -> None:
    both = Scenario(
        "both", Assume(renewal_odds=0.5, renewal_points=0.02), Assume(renewal_odds=0.8, renewal_points=0.03)
    )
    assert_same(run(both), run(Scenario("one", Assume(renewal_odds=0.4, renewal_points=0.05))))
    split = Scenario(
        "split", Assume(expansion_rate=2.0, end="2025-03-14"), Assume(expansion_rate=2.0, start="2025-03-15")
    )
    one, other = run(split), run(Scenario("whole", Assume(expansion_rate=2.0)))
    np.testing.assert_allclose(one.table["mean"], other.table["mean"], rtol=1e-9)


@pytest.mark.parametrize("timing", ["recognised", "booked"])
@pytest.mark.parametrize("day", ["2024-01-01", "2024-09-11"])
def test_a_lost_account_brings_nothing_after_its_day(timing: str, day: str) -> None:
    """Neither by service nor by a booking that comes late, whatever else would have become of it; others stay as they are."""
    events, truth = company()
    lost = base().table["account_id"].iloc[::3].tolist()
    one = run(Scenario("lost", lost_accounts=dict.fromkeys(lost, day)), timing=timing, bridge=True)
    without = run(None, timing=timing)
    is_lost = base().table["account_id"].isin(lost).to_numpy()
    assert_same(one, without, ~is_lost)
    only = read_ledger(events[events["account_id"].isin(lost)], accounts=truth.accounts, as_of=truth.as_of)
    posterior = known_posterior(truth, n_draws=DRAWS)
    scenario = Scenario(
        "lost", lost_accounts=dict.fromkeys([a for a in lost if a in set(base().table["account_id"])], day)
    )
    alone = forecast(posterior, only, 30, draws=DRAWS, scenario=scenario, timing=timing, bridge=True)
    month = alone.portfolio("month").set_index("period_start")
    # By booking day the money goes back on the day itself.
    after = month[month.index > pd.Timestamp(day)]
    assert (after[["q05", "mean", "q95", "sd"]] == 0).all(axis=None)
    assert (alone.totals.groups[:, 0, len(month) - len(after) :] == 0).all()
    end = alone.bridge("month", history=0).query("line == 'end'").set_index("period")["mean"]
    assert (end[end.index >= pd.Timestamp(day) + pd.offsets.MonthEnd(0)] == 0).all()


def test_a_lost_account_gives_back_money_that_no_contract_ties() -> None:
    """A change order that is served over a year, and a contract that was terminated without a refund."""
    rows = [
        ("A", "2024-01-01", "initial", 1200.0, "2024-01-01", 24),
        ("A", "2024-06-01", "change_order", 900.0, "2024-06-01", 36),
        ("B", "2024-01-01", "initial", 1200.0, "2024-01-01", 24),
        ("B", "2024-06-01", "churn", 0.0, "2024-07-01", None),
    ]
    columns = ["account_id", "event_date", "kind", "amount", "start_date", "term_months"]
    ledger = read_ledger(pd.DataFrame(rows, columns=columns).assign(currency="USD", segment="S1"), as_of="2024-12-31")
    scenario = Scenario("lost", lost_accounts={"A": "2025-03-01", "B": "2025-03-01"})
    one = forecast(plain(), ledger, 24, draws=8, scenario=scenario)
    month = one.portfolio("month")
    assert (month["mean"].to_numpy()[:2] > 0).all() and (month[["q05", "mean", "q95"]].to_numpy()[2:] == 0).all()
    assert one.totals.groups[:, 0, 2:].any() == np.False_


def test_an_uplift_multiplies_renewal_revenue_each_time() -> None:
    """Without events, price changes or lapses the k-th renewal costs (1 + u)^k as much, to the cent."""
    certain = plain(renewal_mu=1 - 1e-15, renewal_phi=1e-6)
    one = forecast(certain, fresh(3), 36, draws=4, scenario=Scenario("dearer", Assume(price_uplift=0.05)))
    by_year = one.portfolio("year")["mean"] / 3
    assert by_year.to_numpy() == pytest.approx([1260.0, 1323.0, 1389.15], abs=1e-9)
    once = forecast(
        certain, fresh(3), 36, draws=4, scenario=Scenario("once", Assume(price_uplift=0.05, end="2025-12-31"))
    )
    assert (once.portfolio("year")["mean"] / 3).to_numpy() == pytest.approx([1260.0] * 3, abs=1e-9)


def test_a_mix_of_terms_is_what_renewals_have() -> None:
    certain = plain(renewal_mu=1 - 1e-15, renewal_phi=1e-6)
    scenario = Scenario("five years", Assume(term_mix={60: 1.0}))
    one = forecast(certain, fresh(20), 24, draws=20, keep_draws=True, timing="booked", scenario=scenario)
    assert (one.draws["revenue"].values == 6000.0).all()  # five years at 100 a month, booked at once
    half = Scenario("half", Assume(term_mix={60: 1.0}, term_mix_share=0.5))
    mixed = forecast(certain, fresh(400), 6, draws=50, keep_draws=True, timing="booked", scenario=half)
    share = (mixed.draws["revenue"].values == 6000.0).mean()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(400 * 50))


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_a_rate_is_multiplied(factor: float) -> None:
    """Of expansions with a known rate: their expected number, within four standard errors; and in its own time only."""
    m, size = 0.8, 100.0
    rates = {"expansion_rate": m, "expansion_rate_shape": 1e6, "expansion_size_sd": 1e-9, "expansion_size_icc": 0.5}
    posterior = plain(renewal_mu=1 - 1e-15, renewal_phi=1e-6, expansion_size_mean=np.log(size / 1200), **rates)
    scenario = Scenario("rate", Assume(expansion_rate=factor, start="2025-04-01", end="2025-09-30"))
    n, draws = 200, 100
    one = forecast(posterior, fresh(n), 12, draws=draws, timing="booked", scenario=scenario)
    month = one.portfolio("month", by="origin").query("origin == 'expansion'")["mean"].to_numpy() / size / n
    days = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) / 365.25
    for months, rate in ((slice(0, 3), m), (slice(3, 9), factor * m), (slice(9, 12), m)):
        expected = rate * days[months].sum()
        assert month[months].sum() == pytest.approx(expected, abs=4 * np.sqrt(expected / (n * draws)) + 1e-12)


def test_a_changed_rate_is_another_posterior() -> None:
    """Where nothing is known of an account g λ with λ ~ Gamma(r, mean m) is Gamma(r, mean g m)."""
    n, common = 300, {"renewal_mu": 0.8, "renewal_phi": 0.2, "expansion_rate_shape": 0.7, "refund_share": 0.5}
    ledger = fresh(n, ahead=True)
    for name, factor in (("expansion_rate", 2.5), ("termination_rate", 4.0), ("change_order_rate", 0.3)):
        rates = {"expansion_rate": 0.6, "termination_rate": 0.1, "change_order_rate": 0.8}
        assumed = forecast(
            plain(**common, **{**rates}), ledger, 36, draws=LOTS, keep_draws=True,
            scenario=Scenario("more", Assume(**{name: factor})),
        )  # fmt: skip
        changed = forecast(
            plain(**common, **{**rates, name: factor * rates[name]}), ledger, 36, draws=LOTS, keep_draws=True, seed=8
        )
        for account_figure in (lambda x: x, lambda x: x**2 / x.mean(), lambda x: (x > 3600.0) * 1.0):
            one, other = (account_figure(made.draws["revenue"].values.ravel()) for made in (assumed, changed))
            error = np.sqrt((one.var() + other.var()) / one.size)
            assert abs(one.mean() - other.mean()) < 4.5 * error, name


def test_odds_and_points_against_a_simulation_of_their_own() -> None:
    """θ ~ Beta(a, b); the open renewal has the odds of its probability a/(a + b), later ones those of the account's θ."""
    mu, phi, odds, points = 0.7, 0.25, 0.6, -0.04
    a, b = mu * (1 / phi - 1), (1 - mu) * (1 / phi - 1)
    n = 500
    one = forecast(
        plain(renewal_mu=mu, renewal_phi=phi), fresh(n), 48, draws=LOTS, keep_draws=("revenue",),
        scenario=Scenario("less", Assume(renewal_odds=odds, renewal_points=points)),
    )  # fmt: skip

    def assumed(p: np.ndarray) -> np.ndarray:
        return np.clip(odds * p / (1 - p + odds * p) + points, 0, 1)

    rng = np.random.default_rng(3)
    first = assumed(np.array(a / (a + b)))
    theta = rng.beta(a + 1, b, 2_000_000)
    alive, expected = np.ones(theta.size), []
    for _ in range(4):
        expected.append(first * alive.mean())
        alive *= assumed(theta)
    years = np.rint(one.draws["revenue"].values / 1200).astype(int)
    for k, share in enumerate(expected, start=1):
        found = (years >= k).mean()
        assert found == pytest.approx(share, abs=4.5 * np.sqrt(share * (1 - share) / years.size)), k


def test_where_leaves_the_others_as_they_are() -> None:
    others = (base().table["segment"] != "S2").to_numpy()
    one = run(Scenario("S2", Assume(renewal_odds=0.3, expansion_rate=3, price_uplift=0.1, where={"segment": "S2"})))
    assert_same(base(), one, others)
    assert (one.draws["revenue"].values[~others] != base().draws["revenue"].values[~others]).any()
    two = run(Scenario("two", Assume(renewal_odds=0.3, where={"segment": ["S1", "S2"]})))
    assert_same(base(), two, (base().table["segment"] == "S3").to_numpy())
    with pytest.raises(ForecastError, match="no account has it"):
        run(Scenario("typo", Assume(where={"segment": "S9"})))


def ratio_of_widths(scenario: Scenario, n: int) -> float:
    """How much wider the 90% range of a difference is with random numbers of its own for each side."""
    events, truth = simulate_events(n, seed=31)
    posterior, ledger = known_posterior(truth, n_draws=200), known_ledger(events, truth)
    result = clv.compare(posterior, ledger, [scenario], horizon_months=24, draws=200)
    together = result.difference_draws(None).values.ravel()
    alone = forecast(posterior, ledger, 24, draws=200, seed=1234, scenario=scenario)
    apart = alone.portfolio_draws(None).values.ravel() - result.base.portfolio_draws(None).values.ravel()
    table = result.difference(None).iloc[0]
    assert table["upper"] - table["lower"] == pytest.approx(np.subtract(*np.quantile(together, [0.95, 0.05])))
    return float(np.subtract(*np.quantile(apart, [0.95, 0.05])) / (table["upper"] - table["lower"]))


def test_differences_are_much_narrower_than_with_random_numbers_apart() -> None:
    found = {
        "points": ratio_of_widths(Scenario("points", Assume(renewal_points=-0.02)), 3000),
        "uplift": ratio_of_widths(Scenario("uplift", Assume(price_uplift=0.03)), 3000),
    }
    assert min(found.values()) > 5


# What cannot be meant


HEAD = '[[scenario]]\nname = "x"\n'
ASSUME = f"{HEAD}[[scenario.assume]]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{ASSUME}start = 2025-13-01\n", "line 4, column 13.: start = 2025-13-01.. Days are written 2027-01-31"),
        (f"{ASSUME}renewal_points = -5%\n", "renewal_points = -5%.*shares as numbers"),
        (f"{ASSUME}renewal_points = -5\n", "renewal_points=-5: give a share from -1 to 1"),
        (f"{ASSUME}renewal_odds = -0.5\n", "renewal_odds=-0.5: give a factor, 0 or more"),
        (f"{ASSUME}price_uplift = 3\n", "price_uplift=3: give a share above -1 and at most 1"),
        (f"{ASSUME}term_mix_share = 50\n", "term_mix_share=50: give a share from 0 to 1"),
        (f'{ASSUME}renewal_points = "-5%"\n', "less. Write the number -0.05, without quotation marks"),
        (f'{ASSUME}price_uplift = "a little"\n', "for 3% more, a number, not a text"),
        (f'{ASSUME}renewal_odds = "0.8"\n', "Write the number 0.8"),
        (f'{ASSUME}where = "pro"\n', "where='pro': give account columns -> level"),
        (f"{ASSUME}term_mix = 12\n", "term_mix=12: write months = share"),
        (f"{HEAD}assume = 3\n", r"Begin each assumption with \[\[scenario.assume\]\]"),
        (f"{HEAD}lost_accounts = 3\n", "lost_accounts=3: give a list of ids"),
        (f'{HEAD}annual_discount_rate = "12%"\n', "yearly rate from 0 to 1.*Write the number 0.12"),
    ],
)
def test_what_a_file_cannot_mean_says_what_to_write(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "scenarios.toml").write_text(text)
    with pytest.raises(ForecastError, match=f"scenarios.toml.*{words}"):
        clv.read_scenarios(tmp_path / "scenarios.toml")


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        (
            Scenario("one", Assume(where={"segment": "S9"})),
            "scenario 'one': where=.*'S9'.: no account has it. Levels of segment",
        ),
        (Scenario("two", Assume(where={"plan": "pro"})), "scenario 'two': where=.*the accounts have no column 'plan'"),
        (
            Scenario("three", lost_accounts=["nobody"]),
            "scenario 'three': lost_accounts: the ledger has no account 'nobody'",
        ),
        (
            Scenario("four", lost_accounts={"A00000": "2024-01-01"}),
            "scenario 'four': .*before the forecast begins on 2025-01-01",
        ),
    ],
    ids=["level", "column", "account", "day"],
)
def test_what_the_ledger_does_not_have_is_told_before_anything_is_simulated(
    scenario: Scenario, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def simulated(*given: object, **options: object) -> None:
        raise AssertionError("a forecast was made")

    monkeypatch.setattr("clvforecast.comparison.forecast", simulated)
    fine = Scenario("fine", Assume(renewal_odds=0.5, where={"segment": "S1"}), lost_accounts=["A00001"])
    with pytest.raises(ForecastError, match=words):
        clv.compare(plain(), fresh(2), [fine, scenario])
    with pytest.raises(AssertionError, match="a forecast was made"):
        clv.compare(plain(), fresh(2), [fine])
