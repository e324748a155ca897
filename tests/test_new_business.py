"""New customers in a forecast: existing customers are as they were, totals and bridges are the sums of both."""

from __future__ import annotations

from datetime import date
from functools import cache

import numpy as np
import pandas as pd
import pytest

import clvforecast as clv
from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast, forecast
from clvforecast.ledger import Ledger, read_ledger
from clvforecast.new_customers import new_customer_ledger, new_customer_policy, sample_new_customers
from clvforecast.simulation.calendar import day_number
from clvforecast.simulation.run import Bridge, Totals
from clvforecast.simulation.slots import UNITS_PER_CENT, UNITS_PER_CURRENCY
from clvforecast.synthetic import Truth, simulate_events
from known_world import KnownPosterior, known_posterior, posterior_of

DRAWS, HORIZON = 70, 30
KINDS = ("expansion", "contraction", "change_order", "referral", "reactivation", "termination")
NOTHING_ELSE = {f"{kind}_rate": 0.0 for kind in KINDS}
BRIDGE = ("in_force", "accounts", "due", "renewed", "moved")
LINES = ("start", "new", "expansion", "reactivation", "late_renewals", "contraction", "churn", "end")
PLAN = pd.DataFrame(
    {
        "start": ["2024-02-01", "2024-09-10", "2027-01-01"],
        "customers": [5, 3, 100],
        "segment": ["S1", "S3", "S1"],
        "first_mrr": [1000.0, 33.33, 1.0],
        "term_months": [12, 7, 12],
    }
)
PLANNED = clv.PlannedNewCustomers(PLAN)
TRAILING = clv.TrailingNewCustomers()


@cache
def company() -> tuple[Ledger, Truth]:
    """As of 31 December 2023. Its last customers were won in that year, two months before service began."""
    events, truth = simulate_events(80, seed=5)
    won = pd.DataFrame(
        {
            "account_id": [f"won{k}" for k in range(6)],
            "event_date": [f"2023-{month:02d}-07" for month in (2, 5, 6, 8, 11, 12)],
            "start_date": ["2023-04-07", "2023-07-07", "2023-08-07", "2023-10-07", "2024-01-07", "2024-02-07"],
            "term_months": [12, 12, 24, 12, 12, 36],
            "amount": [2400.0, 6000.0, 9600.0, 1200.0, 4800.0, 36_000.0],
        }
    ).assign(kind="initial", currency="USD")
    accounts = pd.concat(
        [truth.accounts, pd.DataFrame({"account_id": won["account_id"], "segment": ["S1", "S2"] * 3})],
        ignore_index=True,
    )
    events = pd.concat([events.drop(columns="event_id", errors="ignore"), won], ignore_index=True)
    return read_ledger(events, accounts=accounts, as_of=truth.as_of), truth


def made_of(new: object = None, posterior: KnownPosterior | None = None, **options: object) -> Forecast:
    ledger, truth = company()
    asked = {"horizon_months": HORIZON, "draws": DRAWS, "bridge": True, **options}
    return forecast(posterior or known_posterior(truth, n_draws=DRAWS), ledger, new_customers=new, **asked)


KEPT: dict[tuple[int, str], Forecast] = {}


def make(new: object = None, **options: object) -> Forecast:
    """`made_of`, made once of the sources that live on here."""
    if new is not None and new is not PLANNED and new is not TRAILING:
        return made_of(new, **options)
    key = (id(new), repr(options))
    if key not in KEPT:
        KEPT[key] = made_of(new, **options)
    return KEPT[key]


def varied() -> KnownPosterior:
    """Draws that differ, and spreads of segments, of which the effects of unseen ones are drawn."""
    truth = company()[1]
    rng = np.random.default_rng(2)
    plain = known_posterior(truth, n_draws=DRAWS)
    draws = {name: values.values[0].copy() for name, values in plain.idata["posterior"].data_vars.items()}
    for name in [name for name in draws if name.endswith("_segment_effect")]:
        draws[name] = draws[name] + rng.normal(0.0, 0.1, draws[name].shape)
        shape = (DRAWS, *np.shape(draws[name])[2:], 1) if "logit" in name else (DRAWS, 1)
        draws[name.replace("_effect", "_sd")] = np.full(shape, 0.3)
    return posterior_of(draws, plain.frame, truth)


def units(made: Forecast, by: str | None = None, freq: str | None = "month") -> np.ndarray:
    return np.rint(made.portfolio_draws(freq, by).values * UNITS_PER_CURRENCY).astype(np.int64)


def assert_same_totals(found: Totals, expected: Totals, groups: list[int] | slice = slice(None)) -> None:
    """To the unit; ``groups`` of the found ones are those expected."""
    assert np.array_equal(found.groups[:, groups], expected.groups)
    assert np.array_equal(found.origins, expected.origins)
    assert (found.changes, found.clips) == (expected.changes, expected.clips)
    assert (found.bridge is None) == (expected.bridge is None)
    if found.bridge is not None and expected.bridge is not None:
        for name in BRIDGE:
            assert np.array_equal(getattr(found.bridge, name)[:, groups], getattr(expected.bridge, name)), name


@pytest.mark.parametrize("timing", ["recognised", "booked"])
@pytest.mark.parametrize("new", [PLANNED, TRAILING], ids=["planned", "trailing"])
def test_existing_customers_are_as_they_were_and_totals_are_the_sums(new: object, timing: str) -> None:
    alone, both = (make(source, timing=timing, keep_draws=True) for source in (None, new))
    assert_same_totals(both.totals, alone.totals)
    assert both.new_totals is not None and alone.new_totals is None
    for kind in ("eti", "hdi"):
        pd.testing.assert_frame_equal(both.accounts(0.8, kind), alone.accounts(0.8, kind), check_exact=True)
    assert both.draws.identical(alone.draws)
    for by in (None, "segment"):
        own = both.new_totals.groups if by else both.new_totals.groups.sum(axis=1, keepdims=True)
        assert np.array_equal(units(both, by), units(alone, by) + own)
    origins = units(both, "origin")
    assert np.array_equal(origins[:, :8], units(alone, "origin"))
    assert np.array_equal(origins[:, 8], both.new_totals.groups.sum(axis=1))
    assert np.array_equal(origins.sum(axis=1), units(both)[:, 0])
    assert both.new_totals.groups.sum() > 0
    assert both.portfolio(None, "origin")["origin"].tolist()[-1] == "new_customers"


def test_a_level_that_nobody_had_leaves_existing_customers_as_they_were() -> None:
    """A plan's segments that come before and after those known, in a posterior whose draws differ."""
    posterior = varied()
    plan = clv.PlannedNewCustomers(PLAN.assign(segment=["A new one", "S1", "Z"], start="2024-03-01"))
    alone, both = (made_of(source, posterior) for source in (None, plan))
    assert both.groups["segment"].tolist() == ["A new one", "S1", "S2", "S3", "Z"]
    assert_same_totals(both.totals, alone.totals, [1, 2, 3])
    assert not both.totals.groups[:, [0, 4]].any()
    pd.testing.assert_frame_equal(both.accounts(), alone.accounts(), check_exact=True)
    rows = both.summary("segment").set_index("segment")
    assert rows.loc["Z", ["accounts", "mean", "top10_accounts"]].tolist() == [0, 0.0, ""]
    assert np.isnan(rows.loc["Z", "top10_share"]) and rows.loc["Z", "new_customers_mean"] > 0.0
    expected = alone.summary("segment").set_index("segment")
    pd.testing.assert_frame_equal(rows.loc[["S1", "S2", "S3"], expected.columns], expected, check_exact=True)
    assert any("A new one, Z" in warning for warning in both.warnings)


def test_the_summary_is_of_existing_customers_with_the_new_beside_it() -> None:
    alone, both = make(), make(PLANNED)
    for by in (None, "segment"):
        rows, expected = both.summary(by), alone.summary(by)
        pd.testing.assert_frame_equal(rows.drop(columns="new_customers_mean"), expected, check_exact=True)
        with_new = rows["mean"] + rows["new_customers_mean"]
        assert with_new.to_numpy() == pytest.approx(both.portfolio(None, by)["mean"].to_numpy(), rel=1e-12)


# --- planned customers of known size -------------------------------------------------------------------------


def gained_lines(made: Forecast, alone: Forecast, freq: str) -> dict[str, np.ndarray]:
    """Lines of the portfolio's bridge less those of the bridge without new customers: (draw, period) in cents."""
    bridges = [made.bridge_draws(freq), alone.bridge_draws(freq)]
    cents = [{line: np.rint(100 * drawn[line].values[:, 0]).astype(np.int64) for line in LINES} for drawn in bridges]
    return {line: cents[0][line] - cents[1][line] for line in LINES}


def quiet(**changed: object) -> KnownPosterior:
    """Nothing happens within a term."""
    return known_posterior(company()[1], n_draws=DRAWS, **NOTHING_ELSE, **changed)


def on(day: str, customers: int, **told: object) -> clv.PlannedNewCustomers:
    row = {"start": day, "end": day, "customers": customers, "segment": "S2", "first_mrr": 1000.0, "term_months": 12}
    return clv.PlannedNewCustomers(pd.DataFrame([row | told]))


def test_planned_customers_have_the_number_the_arr_and_the_revenue_that_they_are_planned_with() -> None:
    """Ten of 1,000 a month from 1 April on: ARR of 120,000, and in 2024 275 of their first 365 days of it."""
    made = made_of(on("2024-04-01", 10), quiet(), horizon_months=12)
    assert made.new_totals is not None
    counts = made.new_customer_counts("quarter")
    for figure in ("mean", "q05", "q95", "lower", "upper"):
        assert counts[figure].tolist() == [0.0, 10.0, 0.0, 0.0]
    revenue = made.new_totals.groups[:, 1].sum(axis=1) / UNITS_PER_CURRENCY
    np.testing.assert_allclose(revenue, 120_000.0 * 275 / 365, atol=0.01)
    assert not made.new_totals.groups[:, [0, 2]].any() and not made.new_totals.groups[:, 1, :3].any()
    alone = made_of(None, quiet(), horizon_months=12)
    gained = gained_lines(made, alone, "quarter")
    for line, expected in {"new": [0, 120_000, 0, 0], "end": [0] + [120_000] * 3, "churn": [0] * 4}.items():
        assert (gained[line] == 100 * np.array(expected)).all(), line


def test_in_the_mean_they_bring_what_a_prospect_does() -> None:
    """Under all that may happen to a customer: revenue of the first years, and ARR after two."""
    ledger, truth = company()
    posterior = known_posterior(truth, n_draws=DRAWS)
    made = made_of(on("2024-01-01", 30), posterior, horizon_months=24)
    assert made.new_totals is not None and made.new_totals.bridge is not None
    for months in (12, 24):
        options = {"start": "2024-01-01", "horizon_months": months, "draws": DRAWS, "repeats": 100}
        one = clv.prospects(posterior, 1000.0, 12, {"segment": "S2"}, **options).customer().iloc[0]
        found = made.new_totals.groups.sum(axis=1)[:, :months].sum(axis=1) / UNITS_PER_CURRENCY
        error = one["sd"] / np.sqrt(30 * DRAWS) + one["sd"] / np.sqrt(100 * DRAWS)
        assert found.mean() / 30 == pytest.approx(one["mean"], abs=4 * error)
    sampled = sample_new_customers(ledger, on("2024-01-01", 30), 24, 1)
    apart = forecast(posterior, new_customer_ledger(sampled, ledger)[0], 24, draws=DRAWS, keep_draws=("mrr",))
    expected = 12.0 * apart.draws["mrr"].sel(month=24)
    arr = made.new_totals.bridge.in_force.sum(axis=1)[:, -1] / 100 / 30
    error = float(expected.std()) * np.sqrt(2.0 / expected.size)
    assert arr.mean() == pytest.approx(float(expected.mean()), abs=4 * error)


def test_who_does_not_renew_is_new_and_then_churns() -> None:
    """Nobody renews: the ARR of those won in April 2024 is new then, and gone with their term; in 24 months it is neither."""
    scenario = clv.Scenario("nobody renews", clv.Assume(renewal_odds=0.0))
    with_new, alone = (made_of(source, quiet(), scenario=scenario) for source in (on("2024-04-01", 10), None))
    gained = gained_lines(with_new, alone, "quarter")
    expected = {"new": [0, 120_000], "churn": [0] * 5 + [120_000], "contraction": [0], "expansion": [0]}
    for line, first in expected.items():
        want = first + [0] * (10 - len(first))
        assert (gained[line] == 100 * np.array(want)).all(), line
    years = gained_lines(with_new, alone, "year")
    assert (years["new"][:, :2] == [12_000_000, 0]).all() and (years["churn"][:, 1] == 12_000_000).all()
    due = with_new.new_totals.bridge  # type: ignore[union-attr]
    assert (due.due.sum(axis=(1, 2)) == 12_000_000).all() and not due.renewed.any()


@pytest.mark.parametrize("by", [None, "segment"])
@pytest.mark.parametrize("freq", ["month", "quarter", "year"])
def test_the_bridge_balances_in_every_draw(freq: str, by: str | None) -> None:
    for new in (PLANNED, TRAILING):
        drawn = make(new).bridge_draws(freq, by)
        line = {name: np.rint(100 * drawn[name].values).astype(np.int64) for name in LINES}
        gains = line["new"] + line["expansion"] + line["reactivation"] + line["late_renewals"]
        assert (line["start"] + gains - line["contraction"] - line["churn"] == line["end"]).all()
        assert np.array_equal(line["end"][..., :-1], line["start"][..., 1:])
    gained = drawn - make().bridge_draws(freq, by)
    for name in ("new", "expansion", "churn"):
        assert (gained[name] >= 0).all() and gained[name].sum() > 0, name


def test_who_is_won_is_new_in_the_bridge_when_service_begins() -> None:
    """ARR that comes from nothing in a month is new where service begins in it."""
    made = made_of(TRAILING, quiet())
    ledger, _ = company()
    sampled = sample_new_customers(ledger, TRAILING, HORIZON, DRAWS)
    assert made.new_totals is not None and made.new_totals.bridge is not None
    first = np.searchsorted(made.grid.bounds, sampled["start_day"], side="right") - 1
    inside = first < len(made.grid.discount)
    assert (~inside).any()  # some begin after the window
    cents = np.zeros((DRAWS, len(made.grid.discount)), dtype=np.int64)
    annual = np.floor(
        1200.0 * np.round(sampled["first_mrr"] * sampled["term_months"], 2) / sampled["term_months"] + 0.5
    )
    np.add.at(cents, (sampled["draw"][inside], first[inside]), annual[inside].astype(np.int64))
    alone = made_of(None, quiet())
    assert np.array_equal(gained_lines(made, alone, "month")["new"], cents)


# --- what is booked, and when -----------------------------------------------------------------------------------


def test_first_terms_are_booked_on_their_booking_day() -> None:
    """With nothing else to book within the year: every first term whole, in the month of its booking, and no later."""
    made = made_of(TRAILING, quiet(), timing="booked", horizon_months=7)
    sampled = sample_new_customers(company()[0], TRAILING, 7, DRAWS)
    assert (sampled["start_day"] > sampled["booked_day"]).any()
    month = np.searchsorted(made.grid.bounds, sampled["booked_day"], side="right") - 1
    expected = np.zeros((DRAWS, 7), dtype=np.int64)
    cents = np.rint(100 * (sampled["first_mrr"] * sampled["term_months"])).astype(np.int64)
    np.add.at(expected, (sampled["draw"], month), cents * UNITS_PER_CENT)
    assert made.new_totals is not None
    assert np.array_equal(made.new_totals.groups.sum(axis=1), expected)
    assert np.array_equal(made.new_totals.origins[:, 0], expected)


def test_only_who_is_booked_by_known_by_counts() -> None:
    known_by = date(2024, 6, 30)
    made = made_of(TRAILING, known_by=known_by)
    sampled = sample_new_customers(company()[0], TRAILING, HORIZON, DRAWS)
    early = sampled[sampled["booked_day"] <= day_number(known_by)].groupby("draw").size()
    assert made.new_won is not None and 0 < early.sum() < len(sampled)
    assert np.array_equal(made.new_won.sum(axis=(1, 2)), early.reindex(range(DRAWS), fill_value=0))
    assert not made.new_won[:, :, 6:].any()


def test_counts_are_those_that_are_sampled() -> None:
    made = make(TRAILING)
    sampled = sample_new_customers(company()[0], TRAILING, HORIZON, DRAWS)
    of_draw = sampled.groupby("draw").size().reindex(range(DRAWS), fill_value=0)
    whole = made.new_customer_counts(None).iloc[0]
    assert whole[["mean", "q50", "label"]].tolist() == [of_draw.mean(), of_draw.median(), "30 months"]
    assert whole["lower"] < whole["mean"] < whole["upper"]
    by_segment = made.new_customer_counts("month", "segment").groupby("segment")["mean"].sum()
    expected = sampled.groupby("segment").size() / DRAWS
    assert by_segment[expected.index].to_numpy() == pytest.approx(expected.to_numpy())
    columns = made.portfolio("month", "segment").columns.tolist()
    assert made.new_customer_counts("month", "segment").columns.tolist() == columns
    planned = make(PLANNED).new_customer_counts("month", "segment").query("mean > 0")
    assert planned[["segment", "label", "mean", "sd"]].values.tolist() == [
        ["S1", "FY24 P02", 5.0, 0.0],
        ["S3", "FY24 P09", 3.0, 0.0],
    ]
    with pytest.raises(ForecastError, match="existing customers only"):
        make().new_customer_counts()
    with pytest.raises(ForecastError, match="no origin"):
        made.new_customer_counts(by="origin")


def test_a_plan_of_nobody_changes_nothing() -> None:
    made, alone = make(clv.PlannedNewCustomers(PLAN.assign(customers=0))), make()
    assert np.array_equal(units(made, "segment"), units(alone, "segment"))
    assert not made.new_customer_counts()["mean"].any()
    for freq in ("month", "year"):
        pd.testing.assert_frame_equal(made.bridge(freq), alone.bridge(freq), check_exact=True)


# --- scenarios, settings ----------------------------------------------------------------------------------------


def new_revenue(made: Forecast, group: int) -> np.ndarray:
    assert made.new_totals is not None
    return made.new_totals.groups[:, group].sum(axis=1)


def test_a_scenario_holds_for_new_customers_with_the_segments_it_names() -> None:
    plan = clv.PlannedNewCustomers(PLAN.assign(segment=["S1", "S3", "S2"], start="2024-02-01", first_mrr=50.0))
    base = make(plan)
    for where, changed in (({"segment": "S1"}, [0]), ({}, [0, 1, 2]), ({"account_id": "A000001"}, [])):
        scenario = clv.Scenario("nobody renews", clv.Assume(renewal_odds=0.0, where=where))
        steered = make(plan, scenario=scenario)
        for group in range(3):
            less = new_revenue(base, group) - new_revenue(steered, group)
            assert (less >= 0).all() and less.any() == (group in changed), (where, group)
        alone = make(scenario=scenario)
        assert_same_totals(steered.totals, alone.totals)
    lost = make(plan, scenario=clv.Scenario("one is lost", lost_accounts=["A000001"]))
    assert_same_totals(lost.new_totals, base.new_totals)  # type: ignore[arg-type]
    mixed = clv.Scenario("three years", clv.Assume(term_mix={36: 1.0, 17: 0.0}, price_uplift=0.1))
    longer = make(plan, scenario=mixed)
    assert (new_revenue(longer, 0) != new_revenue(base, 0)).any()


def test_a_scenario_may_name_a_level_that_only_new_customers_have() -> None:
    posterior = varied()
    plan = clv.PlannedNewCustomers(PLAN.assign(segment="Z", start="2024-02-01"))
    scenario = clv.Scenario("nobody renews", clv.Assume(renewal_odds=0.0, where={"segment": "Z"}))
    base, steered = made_of(plan, posterior), made_of(plan, posterior, scenario=scenario)
    assert_same_totals(steered.totals, base.totals)
    assert new_revenue(steered, 3).sum() < new_revenue(base, 3).sum()
    with pytest.raises(ForecastError, match="'Mars'.*no account has it"):
        made_of(plan, posterior, scenario=clv.Scenario("x", clv.Assume(where={"segment": "Mars"})))
    with pytest.raises(ForecastError, match="new customers have no column 'observed_from'"):
        made_of(plan, posterior, scenario=clv.Scenario("x", clv.Assume(where={"observed_from": 0})))


def test_scenarios_are_compared_with_the_same_new_customers() -> None:
    ledger, truth = company()
    posterior = known_posterior(truth, n_draws=DRAWS)
    scenario = clv.Scenario("one is lost", lost_accounts=["won5"])
    result = clv.compare(posterior, ledger, [scenario], horizon_months=12, draws=DRAWS, new_customers=TRAILING)
    difference = result.difference_draws("month", "origin")
    assert (difference.sel(group="new_customers") == 0.0).all() and not (difference == 0.0).all()


def test_how_new_customers_are_counted_is_told_and_kept() -> None:
    alone = make()
    assert alone.policies()["accounts"].startswith("Existing customers only")
    assert "new_customers" not in alone.settings.model_dump() and "new customers" not in repr(alone)
    for source in (PLANNED, TRAILING):
        made = make(source)
        assert made.settings.new_customers == new_customer_policy(source) == made.settings.model_dump()["new_customers"]
        assert made.policies()["accounts"].startswith(new_customer_policy(source))
        assert "and new customers" in repr(made)


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("next", "'next' are not known"),
        (clv.PlannedNewCustomers(PLAN.drop(columns="customers")), "no column 'customers'"),
        (clv.TrailingNewCustomers(7), "multiple of 3"),
    ],
)
def test_sources_that_cannot_be_are_refused(new: object, words: str) -> None:
    with pytest.raises(ForecastError, match=words):
        made_of(new)


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 3}, {"batch_accounts": 7}], ids=str)
def test_threads_and_batches_change_no_unit(options: dict[str, int]) -> None:
    scenario = clv.Scenario("fewer", clv.Assume(renewal_odds=0.7, where={"segment": "S1"}))
    expected, found = make(TRAILING, scenario=scenario), made_of(TRAILING, scenario=scenario, **options)
    for name in ("totals", "new_totals"):
        assert_same_totals(getattr(found, name), getattr(expected, name))
    assert np.array_equal(found.new_won, expected.new_won)


def test_a_bridge_has_both_customers_in_it() -> None:
    made = make(TRAILING)
    assert made.new_totals is not None
    own, new = made.totals.bridge, made.new_totals.bridge
    assert isinstance(own, Bridge) and isinstance(new, Bridge)
    end = made.bridge_draws("month", "segment")["end"].values
    assert np.array_equal(np.rint(100 * end), (own.in_force + new.in_force)[:, :, own.snapshots.n_past :])
    assert not new.in_force[:, :, : own.snapshots.n_past].any()
