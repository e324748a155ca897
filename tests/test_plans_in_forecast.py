"""Planned steps in a forecast: what a sure and an impossible step do, what they replace, and whether ranges hold."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit, logit

import clvforecast as clv
from clvforecast.forecast import Forecast, forecast
from clvforecast.ledger import Ledger, read_ledger
from clvforecast.plans import PlanReliability, Plans
from clvforecast.plans.tables import Record
from clvforecast.plans.words import counts_as, prior_words
from clvforecast.report.workbook import contents_of
from known_world import known_ledger, known_posterior
from test_scenarios import assert_same, base, company, fresh, plain

SURE = {"renewal_mu": 1 - 1e-15, "renewal_phi": 1e-6}
SAME_SIZE = {"expansion_size_sd": 1e-9, "expansion_size_icc": 0.5, "expansion_size_mean": np.log(0.01)}
AS_OF = pd.Timestamp("2024-12-31")


def steps(ledger: Ledger, *rows: dict[str, object], window: int = 90) -> Plans:
    return clv.read_plans(pd.DataFrame(rows), ledger, window_days=window)


def step(account: str, day: str, kind: str, amount: float | None, p: float = 1.0, **more: object) -> dict[str, object]:
    return {"account_id": account, "planned_date": day, "kind": kind, "amount": amount, "probability": p, **more}


def stated(posterior: object, ledger: Ledger, plans: Plans | None, months: int = 24, **options: object) -> Forecast:
    reliability = None if plans is None else PlanReliability.as_stated()
    asked = {"draws": 40, "keep_draws": True, "reliability": reliability} | options
    return forecast(posterior, ledger, months, plans=plans, **asked)


def test_a_sure_renewal_is_what_the_plan_says() -> None:
    """Even where the model would never renew: $5,000.01 for two years from the first day, served by days."""
    never, ledger = plain(renewal_mu=1e-12, renewal_phi=1e-6), fresh(2)
    plan = steps(ledger, step("A00000", "2025-01-01", "renewal", 5000.01, term_months=24))
    one = stated(never, ledger, plan)
    assert (one.draws["revenue"].values[0] == 5000.01).all() and (one.draws["revenue"].values[1] == 0).all()
    assert one.table["p_next_renewal"].iloc[0] == 1
    months = one.portfolio_draws("month").values[:, 0]
    daily = 5000.01 / 730
    np.testing.assert_allclose(months[:, :3], np.broadcast_to(daily * np.array([31, 28, 31]), (40, 3)), atol=1e-3)
    booked = stated(never, ledger, plan, timing="booked").portfolio_draws("month").values[:, 0]
    assert (booked[:, 0] == 5000.01).all() and (booked[:, 1:] == 0).all()


def test_a_sure_renewal_is_booked_on_the_day_of_its_step() -> None:
    never, ledger = plain(renewal_mu=1e-12, renewal_phi=1e-6), fresh(1, ahead=True)
    plan = steps(ledger, step("A00000", "2025-11-20", "renewal", 2400.0, term_months=12))
    months = stated(never, ledger, plan, 14, timing="booked").portfolio_draws("month").values[:, 0]
    assert (months[:, 10] == 2400.0).all() and (np.delete(months, 10, axis=1) == 0).all()


def test_an_impossible_renewal_never_comes() -> None:
    ledger = fresh(2)
    one = stated(plain(**SURE), ledger, steps(ledger, step("A00000", "2025-01-01", "renewal", 5000.0, 0.0)))
    assert (one.draws["revenue"].values[0] == 0).all() and (one.draws["revenue"].values[1] == 2400).all()


def test_a_renewal_without_an_amount_has_the_models_price() -> None:
    ledger = fresh(1)
    one = stated(plain(renewal_mu=0.5), ledger, steps(ledger, step("A00000", "2025-01-01", "renewal", None)), 12)
    assert (one.draws["revenue"].values == 1200.0).all()


@pytest.mark.parametrize(
    ("kind", "amount", "march"),
    [("expansion", 612.0, 612.0 * 31 / 306), ("contraction", -306.0, -31.0), ("change_order", 250.0, 250.0)],
)
def test_a_sure_event_is_what_the_plan_says(kind: str, amount: float, march: float) -> None:
    """From 1 March to the term's end are 306 days; a change order is served at once."""
    ledger = fresh(1, ahead=True)
    never = plain(renewal_mu=1e-12, renewal_phi=1e-6)
    plan = steps(ledger, step("A00000", "2025-03-01", kind, amount))
    one = stated(never, ledger, plan)
    assert (one.draws["revenue"].values == 1200.0 + amount).all()
    by_origin = one.portfolio_draws("month", by="origin").sel(group=kind).values
    np.testing.assert_allclose(by_origin[:, 2], march, atol=1e-3)
    none = stated(never, ledger, steps(ledger, step("A00000", "2025-03-01", kind, amount, 0.0)))
    assert (none.draws["revenue"].values == 1200.0).all()


def test_a_renewal_that_states_no_probability_keeps_that_of_the_account() -> None:
    """Decision by decision: the plan says when it is booked, for how long and how much, not whether."""
    ledger, posterior = fresh(50), plain(renewal_mu=0.6, renewal_phi=3.0)
    names = ledger.accounts["account_id"].to_pylist()
    rows = [step(name, "2025-01-01", "renewal", 5000.0, None, term_months=24) for name in names]
    for reliability in (PlanReliability.as_stated(), PlanReliability.prior(draws=50)):
        with_plan = stated(posterior, ledger, steps(ledger, *rows), reliability=reliability)
        without = stated(posterior, ledger, None)
        renewed = with_plan.draws["revenue"].values > 0
        assert np.array_equal(renewed, without.draws["revenue"].values > 0) and 0 < renewed.mean() < 1
        assert with_plan.table["p_next_renewal"].tolist() == without.table["p_next_renewal"].tolist()
        assert with_plan.planned["probability"].isna().all()
        assert (with_plan.planned["note"] == "states no probability: whether it renews is as the model has it").all()
    assert with_plan.draws["revenue"].values.max() > 4000


@pytest.mark.parametrize(("points", "p"), [(-0.05, 0.75), (0.05, 0.85), (0.4, 1.0)])
def test_a_scenario_of_renewals_holds_for_planned_ones(points: float, p: float) -> None:
    ledger, never = fresh(50), plain(renewal_mu=1e-12, renewal_phi=1e-6)
    names = ledger.accounts["account_id"].to_pylist()
    plan = steps(ledger, *(step(name, "2025-01-01", "renewal", 5000.0, 0.8, term_months=24) for name in names))
    scenario = clv.Scenario("points", clv.Assume(renewal_points=points))
    base, other = (stated(never, ledger, plan, scenario=assumed) for assumed in (None, scenario))
    assert base.table["p_next_renewal"].tolist() == pytest.approx([0.8] * 50)
    assert other.table["p_next_renewal"].tolist() == pytest.approx([p] * 50)
    before, after = (one.draws["revenue"].values > 0 for one in (base, other))
    assert after.mean() == pytest.approx(p, abs=0.03)
    assert (before <= after).all() if points > 0 else (after <= before).all()


def test_who_renews_for_a_scenario_alone_is_no_better_for_being_planned() -> None:
    """Where plan and model say the same of the next renewal, what follows it under a scenario is alike too."""
    ledger, posterior = fresh(300), plain(renewal_mu=0.5, renewal_phi=0.5)
    names = ledger.accounts["account_id"].to_pylist()
    p = stated(posterior, ledger, None, 36).table["p_next_renewal"].iloc[0]
    plan = steps(ledger, *(step(name, "2025-01-01", "renewal", None, p) for name in names))
    scenario = clv.Scenario("rescued", clv.Assume(renewal_points=0.4, end="2025-06-30"))
    with_plan, without = (stated(posterior, ledger, one, 36, scenario=scenario) for one in (plan, None))
    third_year = [one.portfolio_draws("month").values[:, 0, 24:].mean() for one in (with_plan, without)]
    assert third_year[0] == pytest.approx(third_year[1], rel=0.05)


@pytest.mark.parametrize("probability", [0.3, 0.9])
def test_without_a_record_a_stated_renewal_lies_between_the_model_and_what_is_stated(probability: float) -> None:
    """On the scale of log odds at any place between them alike; where both say the same, nothing changes."""
    ledger, posterior = fresh(2), plain(renewal_mu=0.6, renewal_phi=1e-6, n_draws=1000)
    model = stated(posterior, ledger, None, draws=1000).table["p_next_renewal"].iloc[0]
    rows = [step("A00000", "2025-01-01", "renewal", None, probability)]
    rows.append(step("A00001", "2025-01-01", "renewal", None, round(model, 12)))
    options = {"reliability": PlanReliability.prior(draws=50), "draws": 1000}
    one = stated(posterior, ledger, steps(ledger, *rows), **options)
    place = np.linspace(0, 1, 1001)
    between = expit((1 - place) * logit(model) + place * logit(probability)).mean()
    assert one.table["p_next_renewal"].tolist() == pytest.approx([between, model], abs=0.01)
    assert (one.draws["revenue"].values[0] > 0).mean() == pytest.approx(between, abs=0.05)
    assert one.planned["note"].str.startswith("too few such renewals on record").all()


def test_a_planned_renewal_says_as_much_of_the_account_as_any() -> None:
    """The second decision at the probability that the model gives it, renewed as often: what follows is as without the plan."""
    ledger, posterior = fresh(500), plain(renewal_mu=0.5, renewal_phi=0.5)
    years = stated(posterior, ledger, None, 48, draws=100).portfolio_draws("month").values[:, 0].mean(axis=0)
    without = years.reshape(4, 12).sum(axis=1)
    names, p = ledger.accounts["account_id"].to_pylist(), float(without[1] / without[0])
    plan = steps(ledger, *(step(name, "2026-01-01", "renewal", None, p) for name in names))
    with_plan = stated(posterior, ledger, plan, 48, draws=100).portfolio_draws("month").values[:, 0].mean(axis=0)
    assert with_plan.reshape(4, 12).sum(axis=1) == pytest.approx(without, rel=0.02)


def test_where_a_scenario_saved_some_before_a_planned_renewal_says_as_much() -> None:
    """Ten points more at the first decision, the second planned at what it then comes to: the third is as without the plan."""
    ledger, posterior = fresh(500), plain(renewal_mu=0.5, renewal_phi=0.5)
    scenario = clv.Scenario("saved", clv.Assume(renewal_points=0.1, end="2025-06-30"))
    names, years = ledger.accounts["account_id"].to_pylist(), []
    for plan in (None, "second"):
        if plan is not None:
            p = float(years[0][1] / years[0][0])
            plan = steps(ledger, *(step(name, "2026-01-01", "renewal", None, p) for name in names))
        one = stated(posterior, ledger, plan, 48, draws=100, scenario=scenario)
        years.append(one.portfolio_draws("month").values[:, 0].mean(axis=0).reshape(4, 12).sum(axis=1))
    assert years[1] == pytest.approx(years[0], rel=0.03)


def test_steps_of_one_month_are_those_of_the_months_about_it() -> None:
    """Three planned renewals of a monthly contract a day apart are its next three; of one of six months the exact one counts."""
    events = pd.DataFrame({"account_id": ["A"], "event_date": ["2024-12-01"], "kind": "initial", "amount": 100.0})
    ledger = read_ledger(events.assign(currency="USD", term_months=1, segment="S1"), as_of="2024-12-31")
    rows = [step("A", f"2025-01-0{day}", "renewal", 100.0 * day, term_months=1, step_id=str(day)) for day in (1, 2, 3)]
    own = known_posterior_of_months(plain(renewal_mu=1e-12, renewal_phi=1e-6))
    one = stated(own, ledger, steps(ledger, *rows), 3)
    assert (one.planned["note"] == "").all() and (one.draws["revenue"].values == 600.0).all()
    events = pd.DataFrame({"account_id": ["A"], "event_date": ["2024-07-01"], "kind": "initial", "amount": 600.0})
    ledger = read_ledger(events.assign(currency="USD", term_months=6, segment="S1"), as_of="2024-12-31")
    rows = [step("A", f"2025-07-0{day}", "renewal", 1000.0 * day, term_months=6, step_id=str(day)) for day in (1, 3)]
    notes = stated(plain(), ledger, steps(ledger, *rows)).planned["note"]
    assert notes.tolist() == ["", "another step is nearer to the renewal that falls due then"]


def two_contracts(second_start: str = "2024-01-01", accounts: int = 1) -> Ledger:
    rows = pd.DataFrame({"contract_id": ["x", "y"] * accounts, "start_date": ["2024-01-01", second_start] * accounts})
    rows = rows.assign(account_id=[f"A{row // 2:02d}" for row in range(2 * accounts)], event_date=rows["start_date"])
    events = rows.assign(kind="initial", amount=1200.0, currency="USD", term_months=12, segment="S1")
    return read_ledger(events, as_of="2024-12-31")


@pytest.mark.parametrize(("start", "days"), [("2024-01-01", ("01-01", "01-01")), ("2024-02-01", ("01-01", "01-10"))])
def test_two_renewals_of_an_account_are_those_of_two_contracts(start: str, days: tuple[str, str]) -> None:
    never, ledger = plain(renewal_mu=1e-12, renewal_phi=1e-6), two_contracts(start)
    rows = [
        step("A00", f"2025-{day}", "renewal", 1200.0, term_months=12, step_id=day + str(i))
        for i, day in enumerate(days)
    ]
    one = stated(never, ledger, steps(ledger, *rows), 36, timing="booked")
    assert (one.draws["revenue"].values == 2400.0).all() and (one.planned["note"] == "").all()
    three = steps(ledger, *rows, step("A00", "2025-01-12", "renewal", 1200.0, term_months=12, step_id="third"))
    notes = stated(never, ledger, three).planned["note"]
    assert notes.value_counts().to_dict() == {"": 2, "another step is nearer to the renewal that falls due then": 1}


def test_a_step_that_meets_no_renewal_says_so() -> None:
    ledger = fresh(1)
    plan = steps(ledger, step("A00000", "2025-07-01", "renewal", 1200.0))
    (note,) = stated(plain(), ledger, plan).planned["note"]
    assert note.startswith("no contract ends within 90 days of this date if terms stay as long")


def test_a_planned_event_comes_while_any_contract_is_in_force() -> None:
    """Each of two contracts is renewed in half of the draws, so that one is in three quarters; the event comes once."""
    ledger = two_contracts(accounts=50)
    names = ledger.accounts["account_id"].to_pylist()
    plan = steps(ledger, *(step(name, "2025-03-01", "change_order", 500.0) for name in names))
    one = stated(plain(renewal_mu=0.5, renewal_phi=1e-6), ledger, plan, 12, draws=200)
    came = one.draws["revenue_by_origin"].sel(origin="change_order").values
    renewed = one.draws["revenue_by_origin"].sel(origin="renewal").values > 0
    assert (came == 500.0 * renewed).all() and renewed.mean() == pytest.approx(0.75, abs=0.02)


def test_what_is_assumed_is_told_as_the_next_renewal_even_where_it_is_none() -> None:
    ledger, posterior = fresh(2), plain(renewal_mu=0.6)
    plan = steps(ledger, step("A00000", "2025-01-01", "renewal", 1200.0, 0.0))
    assert stated(posterior, ledger, plan).table["p_next_renewal"].tolist() == pytest.approx([0.0, 0.6], abs=0.2)
    never = clv.Scenario("never", clv.Assume(renewal_odds=0.0))
    assert stated(posterior, ledger, None, scenario=never).table["p_next_renewal"].tolist() == [0.0, 0.0]


def test_a_plan_of_monthly_contracts_is_the_decision_of_its_day() -> None:
    """Seven decisions lie within its window; only that of 1 June is lost."""
    events = pd.DataFrame({"account_id": ["A"], "event_date": ["2024-12-01"], "kind": "initial", "amount": 100.0})
    ledger = read_ledger(events.assign(currency="USD", term_months=1, segment="S1"), as_of="2024-12-31")
    own = plain(**SURE)
    one_month = known_posterior_of_months(own)
    plan = steps(ledger, step("A", "2025-06-01", "renewal", 100.0, 0.0, term_months=1))
    months = stated(one_month, ledger, plan, 8).portfolio_draws("month").values[:, 0]
    assert (months[:, :5] == 100.0).all() and (months[:, 5:] == 0).all()


def known_posterior_of_months(posterior: object) -> object:
    """The same where contracts of a month are renewed by the month."""
    values = np.append(1, posterior.frame.term_values)
    tree = posterior.idata["posterior"].to_dataset()
    lengths = tree["term_length"].values
    more = np.zeros((*lengths.shape[:-1], lengths.shape[-1] + 1))
    more[..., 0] = 1.0
    tree = tree.drop_vars("term_length").assign(term_length=(("chain", "draw", "row", "value"), more))
    frame = replace(
        posterior.frame, term_values=values, term_class=np.append(0, posterior.frame.term_class), settled_years=8
    )
    return replace(posterior, frame=frame, idata=xr.DataTree.from_dict({"posterior": tree}))


def test_in_a_steps_window_no_other_event_of_its_kind_comes() -> None:
    """Nor from another contract of the account; before and after it they come as without the plan, to the unit."""
    events = pd.DataFrame({"account_id": ["A", "A", "B"], "contract_id": ["x", "y", "x"], "event_date": "2024-12-31"})
    events = events.assign(start_date="2025-01-01", kind="initial", amount=[2400.0, 1200.0, 600.0], currency="USD")
    ledger = read_ledger(events.assign(term_months=24, segment="S1"), as_of="2024-12-31")
    wild = plain(expansion_rate=9.0, expansion_rate_shape=0.3, n_draws=300, **SURE, **SAME_SIZE)
    plan = steps(ledger, step("A", "2025-05-31", "expansion", 77.0), window=60)  # 1 April to 30 July
    options = {"timing": "booked", "draws": 300, "group_by": []}
    with_plan, without = (
        stated(wild, ledger, one, **options).portfolio_draws("month", by="origin").sel(group="expansion").values
        for one in (plan, None)
    )
    only = read_ledger(events[:2].assign(term_months=24, segment="S1"), as_of="2024-12-31")
    alone = stated(wild, only, steps(only, step("A", "2025-05-31", "expansion", 77.0), window=60), **options)
    months = alone.portfolio_draws("month", by="origin").sel(group="expansion").values
    assert (months[:, 3:6] == [0.0, 77.0, 0.0]).all()
    outside = np.r_[0:3, 7:24]
    np.testing.assert_allclose(with_plan[:, outside], without[:, outside], rtol=1e-5)
    assert (without[:, 3:6].mean(axis=0) > 10).all()


def test_accounts_without_a_plan_stay_as_they_are() -> None:
    events, truth = company()
    ledger, ids = known_ledger(events, truth), base().table["account_id"].tolist()
    rows = [step(name, "2024-05-15", "expansion", 1000.0, 0.6) for name in ids[::4]]
    rows += [step(name, "2024-08-15", "renewal", None, 0.6) for name in ids[::8]]
    one = forecast(
        known_posterior(truth, n_draws=60), ledger, 30, draws=60, keep_draws=True, plans=steps(ledger, *rows)
    )
    assert_same(base(), one, ~np.isin(np.arange(len(ids)) % 8, [0, 4]))
    assert (one.draws["revenue"].values[::4] != base().draws["revenue"].values[::4]).any()


def test_what_plans_add_is_the_difference_of_forecasts() -> None:
    events, truth = company()
    ledger, ids = known_ledger(events, truth), base().table["account_id"].tolist()
    rows = [step(name, "2024-05-15", "expansion", 1000.0, 0.6, step_id="e") for name in ids[::20]]
    rows += [step(name, "2024-08-15", "renewal", None, 0.7, step_id="r") for name in ids[::40]]
    plans, posterior = steps(ledger, *rows), known_posterior(truth, n_draws=60)
    value = clv.plan_value(posterior, ledger, plans, horizon_months=30, draws=60)
    whole = forecast(posterior, ledger, 30, draws=60, keep_draws=True, plans=plans)
    places = pd.Index(ids).get_indexer(value.with_plan.table["account_id"])
    assert np.array_equal(value.with_plan.draws["revenue"].values, whole.draws["revenue"].values[places])
    assert np.array_equal(value.without_plan.draws["revenue"].values, base().draws["revenue"].values[places])
    added = whole.draws["revenue"].values[places] - base().draws["revenue"].values[places]
    np.testing.assert_allclose(value.accounts()["added"], added.mean(axis=1), rtol=1e-9, atol=1e-6)
    assert value.total()["mean"].iloc[0] == pytest.approx(added.sum(axis=0).mean())
    table = value.steps().set_index(["account_id", "step_id"])
    assert len(table) == len(value.plans)
    kept = plans.where(np.array([name != "e" for name in plans.steps["step_id"].to_pylist()]))
    no_expansion = forecast(posterior, ledger, 30, draws=60, keep_draws=True, plans=kept)
    less = whole.draws["revenue"].values - no_expansion.draws["revenue"].values
    for (account, name), row in table.iterrows():
        if name == "e":
            assert row["added"] == pytest.approx(less[ids.index(account)].mean(), abs=1e-6)


def test_a_step_of_an_account_that_has_ended_says_so() -> None:
    """And it changes nothing."""
    events = pd.DataFrame({"account_id": ["A"], "event_date": ["2023-01-01"], "kind": "initial", "amount": 1200.0})
    ledger = read_ledger(events.assign(currency="USD", term_months=12, segment="S1"), as_of="2024-12-31")
    plan = steps(ledger, step("A", "2025-06-01", "renewal", 5000.0), step("A", "2025-03-01", "expansion", 100.0))
    one = stated(plain(renewal_mu=0.5), ledger, plan)
    assert_same(one, stated(plain(renewal_mu=0.5), ledger, None))
    notes = one.planned.set_index("kind")["note"]
    assert "ended before the step's window" in notes["renewal"]


def test_a_forecast_says_in_words_how_far_its_plans_are_relied_on() -> None:
    """In its settings and policies, which workbook and page show: no reader has to know what a `<PlanReliability>` is."""
    events = pd.DataFrame({"account_id": ["A"], "event_date": ["2024-03-01"], "kind": "initial", "amount": 1200.0})
    ledger = read_ledger(events.assign(currency="USD", term_months=12, segment="S1"), as_of="2024-12-31")
    one, prior = steps(ledger, step("A", "2025-03-01", "renewal", 1300.0)), PlanReliability.prior(draws=50)
    learned = replace(prior, about={**prior.about, "note": "", "steps": "1,234", "as_of": "2024-06-30"})
    for reliability, words in (
        (PlanReliability.as_stated(), "1 of 1 steps open, taken at their word"),
        (prior, "1 of 1 steps open; how far plans hold is assumed, without a record of past ones"),
        (None, "1 of 1 steps open; how far plans hold is assumed, without a record of past ones"),
        (learned, "1 of 1 steps open; how far plans hold is learned from 1,234 past steps, known as of 2024-06-30"),
    ):
        made = forecast(plain(renewal_mu=0.5), ledger, 12, draws=10, plans=one, reliability=reliability)
        said = str(made.settings.plans)
        assert said.partition(":")[0] == words and ("counts as" in said) == ("assumed" in said)
        assert made.policies()["plans"] == f"Lifecycle plans are in the forecast: {said}."
    assert contents_of(made).plans is made.planned, "the workbook has the steps that the forecast was made with"


def test_a_renewal_far_from_any_term_s_end_says_so() -> None:
    """Unless a term would end there, were each as long as the one before, or as an earlier step plans it."""
    ledger, posterior, end, usual = fresh(1, ahead=True), plain(renewal_mu=0.9), pd.Timestamp("2025-12-31"), 12

    def noted(*at: tuple[int, float | None], window: int = 90) -> list[str]:
        """Of renewals so many months from the term's end, each for so many months."""
        rows = [
            step("A00000", str((end + pd.DateOffset(months=months)).date()), "renewal", 100.0, term_months=term)
            for months, term in at
        ]
        return stated(posterior, ledger, steps(ledger, *rows, window=window)).planned["note"].tolist()

    assert noted((0, None), (usual, None), (2 * usual, None)) == ["", "", ""]
    (early,), (ahead,) = noted((-6, None)), noted((6, None))
    assert "no contract ends within 90 days of this date, only later: the step is not used" in early
    assert "no contract ends within 90 days of this date if terms stay as long as they are" in ahead
    assert noted((0, 18.0), (18, None)) == ["", ""]
    assert noted((0, 24.0), (12, None))[1] != "" and noted((1, None), window=20) != [""]


def test_notes_of_a_plan_stand_beside_its_steps(tmp_path: Path) -> None:
    posterior, ledger = plain(renewal_mu=0.9), fresh(3)
    rows = [
        step("A00001", "2025-03-01", "expansion", 100.0, note="asked for twice"),
        step("A00000", "2025-04-01", "renewal", None),
    ]
    plan = steps(ledger, *rows)
    one = stated(posterior, ledger, plan)
    assert dict(zip(one.planned["account_id"], one.planned["plan_note"], strict=True)) == {
        "A00001": "asked for twice", "A00000": "",
    }  # fmt: skip
    one.save(tmp_path / "one.clv")
    pd.testing.assert_frame_equal(clv.load_forecast(tmp_path / "one.clv").planned, one.planned)
    value = clv.plan_value(posterior, ledger, plan, PlanReliability.as_stated(), horizon_months=12, draws=20)
    assert "asked for twice" in value.steps()["plan_note"].tolist()
    clv.write_workbook(one, tmp_path / "one.xlsx")
    clv.write_page(one, tmp_path / "one.html")
    assert "asked for twice" in (tmp_path / "one.html").read_text(encoding="utf-8")
    assert "plan_note" not in stated(posterior, ledger, steps(ledger, rows[1])).planned


def test_without_a_record_it_is_said_what_a_stated_probability_counts_for() -> None:
    """The mean over events of what steps have whose window is far ahead; nothing is said where plans are taken at their word."""
    ledger, prior = fresh(1), PlanReliability.prior(draws=500)
    amounts = {"renewal": None, "expansion": 5.0, "contraction": -5.0, "change_order": 5.0}
    plan = steps(ledger, *(step("A00000", "2030-01-01", kind, amount, 0.9) for kind, amount in amounts.items()))
    found = np.nanmean(prior.resolve(plan, ledger, draws=2000).probability)
    assert counts_as(prior) == pytest.approx(found, abs=1e-12)
    assert f"stated 90% counts as {found:.0%}, but for renewals" in prior_words(prior)
    one = forecast(plain(), ledger, 12, draws=20, plans=plan)
    assert "4 of 4 steps open; how far plans hold is assumed" in repr(one)
    assert "without a record" in one.policies()["plans"]
    assert prior_words(PlanReliability.as_stated()) == "" and "no record" not in repr(stated(plain(), ledger, plan))


# Ranges hold where plans are as reliable as is known


SHARE_MEAN, SHARE_SD, INTERCEPT, SLOPE = -0.1, 0.3, 0.2, 0.8


@cache
def known_reliability() -> PlanReliability:
    prior = PlanReliability.prior(draws=5, chains=2)
    values = {
        "intercept": INTERCEPT, "stated_slope": SLOPE, "unstated_offset": 0.0, "effect": 0.0, "effect_sd": 1e-9,
        "delay_mean": 5.0, "delay_scale": 20.0, "share_mean": SHARE_MEAN, "share_sd": SHARE_SD,
    }  # fmt: skip
    assert {*values, "renewal_delay"} == set(prior.draws.data_vars)
    draws = prior.draws.map(lambda array: xr.full_like(array, values.get(array.name, 0.0)))
    draws["renewal_delay"].loc[{"delay_days": "0"}] = 1.0
    record = Record(np.zeros((1, 1), dtype=np.int64), np.array([80]), np.array([500.0]), np.array([330.0]))
    return replace(prior, draws=draws, record=record)


def coverage(n: int, draws: int, seed: int) -> dict[float, float]:
    """Share of n accounts whose revenue of 18 months lies in its range.

    Each has a year's contract, two planned change orders, an expansion and a renewal; referrals, and change orders outside the
    time of the planned ones, come by themselves while it is under contract.
    """
    rng = np.random.default_rng(seed)
    ledger, scale = fresh(n, ahead=True), rng.lognormal(0, 0.5, n)
    plan = [("2025-04-15", "change_order", 300, 0.7), ("2025-09-15", "change_order", 500, 0.9)]
    plan += [("2025-07-01", "expansion", 400, 0.6), ("2026-01-01", "renewal", 1500, 0.8)]
    names = [f"A{i:05d}" for i in range(n)]
    amounts = {place: np.round(amount * scale, 2) for place, (_, _, amount, _) in enumerate(plan)}
    table = pd.concat(
        [
            pd.DataFrame(
                {"account_id": names, "planned_date": day, "kind": kind, "amount": amounts[place], "probability": p}
            )
            for place, (day, kind, _, p) in enumerate(plan)
        ]
    ).assign(recorded_on="2024-12-31", step_id=np.repeat(list("abcd"), n))
    table["term_months"] = np.where(table["kind"] == "renewal", 12, np.nan)
    rates = {"referral_rate": 1.5, "referral_rate_shape": 1e7, "change_order_rate": 3.0, "change_order_rate_shape": 1e7}
    for kind in ("referral", "change_order"):
        rates |= {f"{kind}_size_mean": -0.5, f"{kind}_size_sd": 0.7, f"{kind}_size_icc": 1e-9}
    posterior = plain(renewal_mu=0.5, n_draws=draws, **rates)
    plans = clv.read_plans(table, ledger)
    assert len(plans) == 4 * n
    one = forecast(
        posterior, ledger, 18, draws=draws, plans=plans, reliability=known_reliability(), ci_probs=(0.5, 0.8, 0.9)
    )

    def hit(p: float) -> np.ndarray:
        return rng.random(n) < 1 / (1 + np.exp(-(INTERCEPT + SLOPE * np.log(p / (1 - p)))))

    def amount_of(place: int) -> np.ndarray:
        return amounts[place] * np.exp(rng.normal(SHARE_MEAN, SHARE_SD, n))

    renewed = hit(0.8)
    truth = 1200 + sum(hit(plan[place][3]) * amount_of(place) for place in range(3))
    truth += renewed * amount_of(3) * 181 / 365
    windows = [(pd.Timestamp(day) - AS_OF).days for day, *_ in plan[:2]]
    last = np.where(renewed, 365 + 181, 365)
    for rate, by_itself in ((1.5, False), (3.0, True)):
        number = rng.poisson(rate * last / 365.25)
        account = np.repeat(np.arange(n), number)
        day = np.floor(rng.random(account.size) * last[account]) + 1
        size = 100 * np.exp(rng.normal(-0.5, 0.7, account.size))
        covered = np.any([np.abs(day - planned) <= 90 for planned in windows], axis=0)
        truth += np.bincount(account, size * ~(by_itself & covered), minlength=n)
    found = {}
    for level in (0.5, 0.8, 0.9):
        rows = one.accounts(ci_prob=level)
        found[level] = float(((rows["lower"] <= truth) & (truth <= rows["upper"])).mean())
    return found


def test_ranges_hold_with_plans() -> None:
    """Within 3 points: 1,500 accounts have standard errors up to 1.3."""
    found = coverage(1500, 400, 5)
    for level, share in found.items():
        assert share == pytest.approx(level, abs=0.03), found


@pytest.mark.slow
def test_ranges_hold_with_plans_within_two_points() -> None:
    found = coverage(12_000, 800, 6)
    for level, share in found.items():
        assert share == pytest.approx(level, abs=0.02), found
