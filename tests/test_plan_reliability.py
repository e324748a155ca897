"""How far plans can be relied on: the fit passes the gate, and open steps resolve as the formula says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import clvforecast as clv
from clvforecast.ledger import Ledger
from clvforecast.plans import PlanOutcomes, PlanReliability, Plans
from clvforecast.plans.counts import UNSTATED, PlanFrame
from clvforecast.plans.delays import between, probability_left, still_to_come
from clvforecast.plans.outcomes import uniforms
from clvforecast.plans.steps import STEP_KINDS
from clvforecast.plans.tables import Record
from clvforecast.simulation.random import WORDS, start_stream
from planned_world import AS_OF, DAY, LAG_EDGES, LAGS, History, PlannedWorld, counted, normal_draws, simulated

WORLD = PlannedWorld()


# --- the fit ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history() -> History:
    return simulated(WORLD, 4000, seed=11)


@pytest.fixture(scope="module")
def learned(history: History) -> PlanReliability:
    plans, ledger, _ = history
    return clv.fit_plan_reliability(plans, ledger, segments=["region"], tune=300, progress=False)


def test_sampling_agrees_with_the_normal_approximation_and_passes_the_gate(
    learned: PlanReliability, history: History
) -> None:
    summary = learned.summary().set_index("parameter")
    assert (summary["rhat"].dropna() <= 1.01).all() and (summary["ess_tail"].dropna() >= 400).all()
    normal = normal_draws(*counted(*history[:2]))
    for name in ("intercept", "stated_slope", "unstated_offset"):
        gap = (summary.loc[name, "mean"] - normal[name].mean()) / summary.loc[name, "sd"]
        assert abs(gap) < 0.25, name
        assert summary.loc[name, "sd"] == pytest.approx(normal[name].std(), rel=0.15)
    assert summary.loc["stated_slope", "n_data"] < summary.loc["intercept", "n_data"] <= 4000


def test_the_learned_curve_lies_where_steps_came(learned: PlanReliability) -> None:
    table = learned.calibration().set_index("stated")
    assert table["steps"].sum() == learned.record.steps.sum()  # type: ignore[union-attr]
    seen = table[table["steps"] > 0]
    assert list(seen.index) == ["0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-1", "not stated"]
    assert seen["stated_mean"].tolist()[:4] == pytest.approx([0.3, 0.5, 0.7, 0.9])
    assert (seen["learned"] - seen["realised"]).abs().max() < 0.05
    assert (seen["realised_lower"] < seen["realised"]).all() and (seen["realised"] < seen["realised_upper"]).all()
    assert seen.loc["0.8-1", "learned"] < 0.85, "stated 90% comes less often, as simulated"
    with pytest.raises(clv.PlanError, match="must rise"):
        learned.calibration(bins=[0.5, 0.2])


def test_open_steps_come_as_often_as_they_did_in_truth(learned: PlanReliability, history: History) -> None:
    plans, ledger, truth = history
    found = learned.resolve(plans, ledger, draws=500, seed=5)
    came = truth.set_index("account_id").loc[list(found.account_id), "comes"].sum()
    p = found.probability.mean(axis=1)
    assert abs(came - p.sum()) < 3.0 * np.sqrt((p * (1 - p)).sum())
    assert found.hit.mean() == pytest.approx(found.probability.mean(), abs=0.003)
    table = found.table()
    assert ((table["lower"] <= table["probability"]) & (table["probability"] <= table["upper"])).all()
    assert table["expected_amount"].abs().sum() > 0


def test_a_manager_who_was_never_seen_is_less_sure(learned: PlanReliability, history: History) -> None:
    _, ledger, _ = history
    rows = pd.DataFrame({"account_id": ["account00001"] * 3, "planned_date": AS_OF + 100 * DAY, "kind": "expansion"})
    rows = rows.assign(amount=100.0, probability=0.5, csm=["ann", "bob", "new"], step_id=["1", "2", "3"])
    found = learned.resolve(clv.read_plans(rows, ledger), ledger, draws=800)
    spread = found.probability.std(axis=1)
    assert spread[2] > 2.0 * spread[:2].max()


def test_equal_seeds_give_equal_draws(history: History) -> None:
    plans, ledger, _ = simulated(WORLD, 300, seed=2)
    first, again = (
        clv.fit_plan_reliability(plans, ledger, draws=400, tune=300, seed=3, progress=False) for _ in range(2)
    )
    assert first.draws.identical(again.draws)  # type: ignore[union-attr]


# --- open steps -------------------------------------------------------------------------------------------------------


def fixed(
    p: float, delay: tuple[float, float] = (0.0, 10.0), share: tuple[float, float] = (0.0, 0.1), draws: int = 4
) -> PlanReliability:
    """Every draw has these parameters; p is that of a step stated at 50%, or not stated."""
    kinds = len(STEP_KINDS)
    named = {
        "intercept": np.full((1, draws), np.log(p / (1 - p))),
        "stated_slope": np.ones((1, draws)),
        "unstated_offset": np.zeros((1, draws)),
    }
    data = {name: (("chain", "draw"), values) for name, values in named.items()}
    data["effect"] = (("chain", "draw", "level"), np.zeros((1, draws, kinds)))  # type: ignore[assignment]
    data["effect_sd"] = (("chain", "draw", "column"), np.ones((1, draws, 1)))  # type: ignore[assignment]
    pairs = {"delay_mean": delay[0], "delay_scale": delay[1], "share_mean": share[0], "share_sd": share[1]}
    for name, value in pairs.items():
        dim, n = ("kind", kinds) if name.startswith("share") else ("event_kind", kinds - 1)
        data[name] = (("chain", "draw", dim), np.full((1, draws, n), value))  # type: ignore[assignment]
    data["renewal_delay"] = (("chain", "draw", "delay_days"), np.tile(LAGS, (1, draws, 1)))  # type: ignore[assignment]
    return PlanReliability(xr.Dataset(data), frame_of(("kind",), {"kind": STEP_KINDS}), about={"note": "fixed"})


def frame_of(columns: tuple[str, ...], levels: dict[str, tuple[str, ...]]) -> PlanFrame:
    return PlanFrame(columns, levels, 90, 365, LAG_EDGES)


def waiting(*planned: int, **columns: object) -> tuple[Plans, Ledger]:
    """Steps planned so many days from AS_OF, none of which has come."""
    events = pd.DataFrame({"account_id": ["a"], "event_date": ["2022-01-01"], "kind": ["initial"], "amount": [9000.0]})
    ledger = clv.read_ledger(events.assign(currency="USD", term_months=60), as_of=AS_OF)
    rows = pd.DataFrame(
        {"account_id": "a", "planned_date": [AS_OF + day * DAY for day in planned], "kind": "expansion"}
    )
    rows = rows.assign(amount=1000.0, step_id=[f"s{i}" for i in range(len(planned))]).assign(**columns)
    return clv.read_plans(rows, ledger), ledger


def resolved(
    reliability: PlanReliability, case: tuple[Plans, Ledger], draws: int = 40_000, seed: int = 1
) -> PlanOutcomes:
    return reliability.resolve(*case, draws=draws, seed=seed)


def test_a_step_that_is_late_is_less_likely_as_in_a_brute_force_simulation() -> None:
    """A million steps with p = .7 and delays 5 + 20 t(4); of those that did not come within 30 days, how many do, and when?"""
    rng = np.random.default_rng(0)
    delay = np.floor(5.0 + 20.0 * rng.standard_t(4, 1_000_000) + 0.5)
    delay = delay[np.abs(delay) <= 90]
    comes = rng.random(len(delay)) < 0.7
    left = ~(comes & (delay <= 30))
    share = comes[left].mean()
    assert probability_left(0.7, still_to_come(30, -90, 90, 5.0, 20.0)) == pytest.approx(share, abs=0.003)
    found = resolved(fixed(0.7, delay=(5.0, 20.0)), waiting(-30))
    assert found.probability == pytest.approx(share, abs=0.003)
    assert found.hit.mean() == pytest.approx(share, abs=0.012)
    late = found.day[found.hit] - found.planned_day[0]
    assert late.min() > 30 and late.max() <= 90
    assert late.mean() == pytest.approx(delay[left & comes].mean(), abs=0.8)


def test_before_its_window_a_step_has_its_whole_probability_and_all_days() -> None:
    found = resolved(fixed(0.7, delay=(5.0, 20.0)), waiting(200))
    assert found.probability == pytest.approx(0.7)
    late = found.day[found.hit] - found.planned_day[0]
    days = np.arange(-90, 91)
    mass = between(days - 0.5, days + 0.5, 5.0, 20.0)
    assert late.mean() == pytest.approx((days * mass).sum() / mass.sum(), abs=0.6)


def test_a_step_written_down_within_its_window_comes_after_that_day() -> None:
    found = resolved(fixed(0.7, delay=(0.0, 20.0)), waiting(5, recorded_on=[AS_OF]))
    assert found.probability == pytest.approx(0.7), "its probability was stated for what was left of the window"
    assert found.day[found.hit].min() - found.planned_day[0] == -4


def test_amounts_have_the_mean_of_a_lognormal_share() -> None:
    found = resolved(
        fixed(0.5, share=(-0.2, 0.4)), waiting(10, 50, kind=["expansion", "contraction"], amount=[1000.0, -1000.0])
    )
    for step, sign in enumerate((1, -1)):
        cents = found.cents[step][found.hit[step]]
        assert cents.mean() == pytest.approx(sign * 100_000 * np.exp(-0.2 + 0.08), rel=0.01)
        assert np.median(cents) == pytest.approx(sign * 100_000 * np.exp(-0.2), rel=0.01)


def test_a_renewal_without_an_amount_has_none_and_keeps_its_term() -> None:
    found = resolved(fixed(0.5), waiting(10, kind=["renewal"], amount=[None], term_months=[36]), draws=50)
    assert (found.planned_cents.item(), found.months.item(), found.cents.sum()) == (0, 36, 0)
    assert np.isnan(found.table()["amount"].item())


def test_an_unstated_renewal_is_the_forecasts_own_until_there_is_a_record_of_such() -> None:
    """Of twenty; one that states a probability, or an event, is as learned in any case."""
    case = waiting(10, 20, 30, kind=["renewal", "renewal", "expansion"], probability=[None, 0.6, None])
    levels = np.array([[0], [0], [1]])
    found = []
    for n in (19.0, 20.0):
        record = Record(levels, np.array([UNSTATED, 60, UNSTATED]), np.array([n, 50.0, 50.0]), np.zeros(3))
        found.append(resolved(replace(fixed(0.6), record=record), case, draws=50))
    few, enough = found
    assert few.as_modelled.tolist() == [True, False, False] and not enough.as_modelled.any()
    assert few.table()["probability"].isna().tolist() == [True, False, False]
    assert np.array_equal(enough.probability[1:], few.probability[1:]) and (enough.probability[0] > 0.5).all()
    assert "1 renewals as the model has them" in repr(few)


def test_at_their_word_certain_steps_come_and_impossible_ones_do_not() -> None:
    case = waiting(10, 20, -3, 30, probability=[1.0, 0.0, 1.0, 0.5])
    found = resolved(PlanReliability.as_stated(), case, draws=4000)
    by_id = {step: place for place, step in enumerate(found.step_id)}
    certain, never, overdue, even = (by_id[f"s{i}"] for i in range(4))
    assert found.hit[certain].all() and not found.hit[never].any() and found.hit[overdue].all()
    assert set(found.day[certain]) == {found.planned_day[certain]} and set(found.cents[certain]) == {100_000}
    assert set(found.day[overdue]) == {found.as_of_day + 1}
    assert found.hit[even].mean() == pytest.approx(0.5, abs=0.03)
    with pytest.raises(clv.PlanError, match="1 of 2 open steps state no probability, the first is 's1'"):
        resolved(PlanReliability.as_stated(), waiting(10, 20, probability=[0.5, None]), draws=5)


def same(a: PlanOutcomes, b: PlanOutcomes, rows: np.ndarray) -> bool:
    return all(
        np.array_equal(getattr(a, name)[rows], getattr(b, name)) for name in ("probability", "choice", "day", "cents")
    )


def test_outcomes_depend_on_no_other_step_and_on_no_row_order() -> None:
    plans, ledger = waiting(*range(-40, 60), probability=np.linspace(0.05, 0.95, 100))
    reliability = PlanReliability.prior(draws=100)
    whole = resolved(reliability, (plans, ledger), draws=3000, seed=4)
    every = np.arange(100)
    shuffled = clv.read_plans(plans.accepted.sample(frac=1, random_state=1), ledger)
    assert same(whole, resolved(reliability, (shuffled, ledger), draws=3000, seed=4), every)
    some = plans.where(every % 7 == 0)
    assert same(whole, resolved(reliability, (some, ledger), draws=3000, seed=4), every % 7 == 0)
    assert same(whole, reliability.resolve(plans, ledger, 3000, 4, threads=1), every)
    assert not same(whole, resolved(reliability, (plans, ledger), draws=3000, seed=5), every)


def test_uniform_numbers_are_those_of_the_packages_generator() -> None:
    keys = np.array([5, 2**63 + 12345], dtype=np.uint64)
    found = uniforms(keys, seed=2**40 + 3, draws=3)
    stream = np.zeros(64, dtype=np.uint64)
    start_stream(stream, int(keys[1]), 2**40 + 3, 2)
    word = int(stream[WORDS])
    assert found[0][1, 2] == ((word & 0xFFFFFFFF) + 0.5) / 2**32
    assert found[1][1, 2] == ((word >> 32) + 0.5) / 2**32


def test_draws_are_paired_by_index() -> None:
    reliability = PlanReliability.prior(draws=50, chains=2)
    case = waiting(10)
    assert resolved(reliability, case, draws=10).draw.tolist() == list(range(0, 100, 10))
    assert resolved(reliability, case, draws=250).draw.tolist() == [d % 100 for d in range(250)]


def test_the_prior_is_a_sensible_plan() -> None:
    """Even odds stated are a little less than that, with wide ranges; nine in ten is about eight; most comes within a quarter."""
    plans, ledger = waiting(200, 200, 200, probability=[0.5, 0.9, None])
    found = resolved(PlanReliability.prior(), (plans, ledger), draws=4000)
    table = found.table()
    assert table["probability"].between([0.40, 0.70, 0.50], [0.52, 0.85, 0.70]).all()
    assert (table["lower"] < table["probability"] - 0.12).all()
    assert table["upper"].max() < 0.995 and table["lower"].min() > 0.05
    late = found.day[found.hit] - np.repeat(found.planned_day, found.hit.sum(axis=1))
    assert np.median(late) == pytest.approx(10, abs=5) and np.mean(np.abs(late) <= 45) > 0.6
    share = found.cents[found.hit] / 100_000
    assert np.median(share) == pytest.approx(0.95, abs=0.05) and np.quantile(share, 0.95) < 3.0


# --- what cannot be ---------------------------------------------------------------------------------------------------


def test_what_cannot_be_is_refused_with_the_way_out(history: History) -> None:
    plans, ledger, _ = history
    with pytest.raises(clv.FitError, match="segments='size': the accounts have no such column; they have region"):
        clv.fit_plan_reliability(plans, ledger, segments=["size"])
    with pytest.raises(clv.FitError, match="must be a list of column names"):
        clv.fit_plan_reliability(plans, ledger, segments="region")
    with pytest.raises(clv.FitError, match="fewer than the 400 effective draws"):
        clv.fit_plan_reliability(plans, ledger, draws=50)
    with pytest.raises(clv.FitError, match="must be a PlanPriors"):
        PlanReliability.prior(priors={"intercept_mean": 0})
    with pytest.raises(clv.PlanError, match="window_days=90, the reliability was learned with 60"):
        PlanReliability.prior(window_days=60).resolve(plans, ledger)
    with pytest.raises(clv.PlanError, match="renewal_days=365, the reliability was learned with 200"):
        PlanReliability.prior(renewal_days=200).resolve(plans, ledger)
    with pytest.raises(clv.PlanError, match="was learned by size, but the accounts have no column 'size'"):
        frame = frame_of(("kind", "size"), {"kind": STEP_KINDS, "size": ("small",)})
        PlanReliability(fixed(0.5).draws, frame, about={"note": "fixed"}).resolve(plans, ledger)
    for needs_history in (PlanReliability.prior().calibration, PlanReliability.as_stated().summary):
        with pytest.raises(clv.PlanError):
            needs_history()
