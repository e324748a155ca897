"""The model of plans: delays are Student's t, the density is what it says, and what was simulated is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from clvforecast.components.target import target_of
from clvforecast.laplace import prepared
from clvforecast.plans import PlanPriors
from clvforecast.plans.counts import PlanCounts, PlanFrame
from clvforecast.plans.delays import between, cdf, drawn_day, quantile, still_to_come
from clvforecast.plans.model import plan_component, plan_design
from clvforecast.plans.steps import EVENT_STEPS, STEP_KINDS
from planned_world import LAGS, History, PlannedWorld, counted, normal_draws, simulated, truth_of
from test_densities import assert_like_its_graph

WORLD = PlannedWorld()


def misses(counts: PlanCounts, frame: PlanFrame) -> dict[str, np.ndarray]:
    """How many posterior SDs the mean lies from the truth, by variable."""
    draws = normal_draws(counts, frame)
    return {
        name: np.ravel((draws[name].mean(axis=0) - true) / draws[name].std(axis=0))
        for name, true in truth_of(WORLD, frame).items()
    }


# --- delays -----------------------------------------------------------------------------------------------------------


def test_closed_forms_are_those_of_students_t() -> None:
    t = np.array([-300.0, -7.0, -1.0, -1e-9, 0.0, 0.4, 3.0, 80.0])
    assert cdf(t) == pytest.approx(stats.t(4).cdf(t), rel=1e-12)
    p = np.array([1e-8, 1e-4, 0.2, 0.5, 0.77, 0.9999])
    assert quantile(p) == pytest.approx(stats.t(4).ppf(p), rel=1e-6)
    assert between(200.0, 201.0, 0.0, 1.0) == pytest.approx(stats.t(4).sf(200.0) - stats.t(4).sf(201.0), rel=1e-9)


def test_what_is_still_to_come_falls_from_one_to_zero() -> None:
    days = np.arange(-91, 91)
    left = still_to_come(days, -90, 90, 12.0, 20.0)
    assert (left[0], left[-1]) == (1.0, 0.0)
    assert (np.diff(left) < 0).all()
    of_t = stats.t(4, 12.0, 20.0)
    whole = of_t.cdf(90.5) - of_t.cdf(-90.5)
    assert left[100] == pytest.approx((of_t.cdf(90.5) - of_t.cdf(days[100] + 0.5)) / whole, rel=1e-10)


@pytest.mark.parametrize("elapsed", [-200, -20, 35, 88])
def test_drawn_days_have_the_distribution_of_delays_after_that_day(elapsed: int) -> None:
    u = (np.arange(200_000) + 0.5) / 200_000
    drawn = drawn_day(u, elapsed, -60, 90, 15.0, 22.0)
    days = np.arange(max(elapsed + 1, -60), 91)
    expected = between(days - 0.5, days + 0.5, 15.0, 22.0)
    found = np.array([(drawn == day).mean() for day in days])
    assert found == pytest.approx(expected / expected.sum(), abs=2e-5)


# --- the model --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history() -> History:
    return simulated(WORLD, 4000, seed=11)


def by_scipy(counts: PlanCounts, v: dict[str, np.ndarray], frame: PlanFrame) -> float:
    """The log likelihood, step by step of the cells, from scipy's distributions."""
    total = 0.0
    bins = stats.rv_histogram((v["renewal_delay"], np.array(frame.lag_edges) + 0.5), density=False)
    of_kind = [bins] + [stats.t(4, mean, scale) for mean, scale in zip(v["delay_mean"], v["delay_scale"], strict=True)]
    last = [365] + 3 * [90]

    def passed(kind: int, low: float, day: float) -> float:
        of = of_kind[kind]
        return float((of.cdf(day + 0.5) - of.cdf(low - 0.5)) / (of.cdf(last[kind] + 0.5) - of.cdf(low - 0.5)))

    first = np.cumsum([0, len(STEP_KINDS), 2])
    p = np.empty(len(counts.hits))
    for g, (levels, stated) in enumerate(zip(counts.group_levels, counts.group_stated, strict=True)):
        eta = v["intercept"] + sum(v["effect"][start + level] for start, level in zip(first, levels, strict=True))
        eta += v["unstated_offset"] if stated < 0 else v["stated_slope"] * np.log(stated / (100 - stated))
        p[g] = expit(eta)
        total += counts.hits[g] * np.log(p[g]) + counts.misses[g] * np.log1p(-p[g])
    for kind, low, day, n in zip(counts.delay_kind, counts.delay_lower, counts.delay_day, counts.delay_n, strict=True):
        total += n * np.log(passed(kind, low, day) - passed(kind, low, day - 1))
    for g, low, day, n in zip(counts.open_group, counts.open_lower, counts.open_day, counts.open_n, strict=True):
        total += n * np.log1p(-p[g] * passed(counts.group_levels[g, 0], low, day))
    for k in range(len(STEP_KINDS)):
        squares = counts.share_squares[k] + counts.share_n[k] * (counts.share_mean[k] - v["share_mean"][k]) ** 2
        total += -counts.share_n[k] * np.log(v["share_sd"][k]) - squares / (2 * v["share_sd"][k] ** 2)
    return total


def test_the_density_is_likelihood_and_priors_worked_out_apart(history: History) -> None:
    """Differences between points: the compiled density against scipy's distributions, with Jacobians and priors."""
    counts, frame = counted(*history[:2])
    priors = PlanPriors()
    component = plan_component(counts, frame, priors)
    design, target = plan_design(counts, frame), target_of(component)
    points = np.random.default_rng(3).normal(0.0, 0.5, (4, target.n_dim))
    found, expected = [], []
    for x in points:
        raw = target.raw(x)
        v = {name: np.asarray(of.values, float) for name, of in component.variables(raw).items()}
        n, P = design.hit.n_sds, design.hit.n_coords
        s = raw["sd"][np.concatenate([design.hit.column_of, design.share.column_of + n])]
        guess, error = component.arrays["guess"], component.arrays["error"]
        t = s / np.hypot(s, error)
        coords = guess * t**2 + error * t * raw["raw"]
        prior = stats.norm(0.0, s).logpdf(coords).sum() + np.log(error * t).sum()
        prior += stats.halfnorm(0.0, component.arrays["prior_effect"]).logpdf(raw["sd"]).sum() + np.log(raw["sd"]).sum()
        prior += stats.norm(priors.intercept_mean, priors.intercept_sd).logpdf(v["intercept"])
        prior += stats.norm(priors.stated_slope_mean, priors.stated_slope_sd).logpdf(v["stated_slope"])
        prior += stats.norm(priors.unstated_mean, priors.unstated_sd).logpdf(v["unstated_offset"])
        prior += stats.norm(priors.delay_mean_mean, priors.delay_mean_sd).logpdf(v["delay_mean"]).sum()
        prior += stats.norm(0.0, 1.0).logpdf(raw["lag"]).sum()
        centre = v["share_mean"].mean()
        prior += stats.norm(priors.share_mean_mean, priors.share_mean_sd).logpdf(centre)
        for name, at, spread in (
            ("delay_scale", priors.delay_scale_median, priors.delay_scale_spread),
            ("share_sd", priors.share_sd_median, priors.share_sd_spread),
        ):
            prior += stats.norm(np.log(at), spread).logpdf(np.log(v[name])).sum()
        assert P + design.share.n_coords == len(coords)
        found.append(target.value_and_slope(x)[0])
        expected.append(by_scipy(counts, v, frame) + prior)
    assert np.diff(found) == pytest.approx(np.diff(expected), rel=1e-9)


def test_the_density_and_its_slope_are_those_of_the_pymc_model(history: History) -> None:
    component = prepared(plan_component(*counted(*history[:2]), PlanPriors())).component
    assert_like_its_graph(component)


def test_what_was_simulated_is_found_within_posterior_sds() -> None:
    """Six companies of 3,000 steps: no parameter beyond 4.2 SDs of some 230, and as many beyond 1.645 as ought to be (10%)."""
    found = np.concatenate(
        [np.concatenate(list(misses(*counted(*simulated(WORLD, 3000, seed)[:2])).values())) for seed in range(6)]
    )
    assert len(found) >= 6 * (25 + len(LAGS))
    assert np.abs(found).max() < 4.2
    assert 0.03 < (np.abs(found) > 1.645).mean() < 0.20


def test_counts_do_not_depend_on_the_number_of_steps(history: History) -> None:
    """Groups by levels and per cent stated, delays by kind and day: bounded, however long the history."""
    counts, _ = counted(*history[:2])
    assert len(counts.hits) <= 4 * 2 * 2 * 5
    assert len(counts.delay_n) <= 3 * 181 + 456
    assert counts.hits.sum() + counts.misses.sum() + counts.open_n.sum() == counts.n_steps
    assert counts.delay_n.sum() == counts.hits.sum()


def test_leaving_out_open_steps_is_biased_and_counting_them_jointly_is_not() -> None:
    """Planned days from three months before to two and a half after: of most steps only quick hits are known."""
    world = replace(WORLD, slope=0.6)
    plans, ledger, _ = simulated(world, 8000, seed=21, kinds=("expansion", "change_order"), first=-100, last=75)
    counts, frame = counted(plans, ledger)
    none = np.zeros(0, dtype=np.int64)
    dropped = replace(counts, open_group=none, open_lower=none, open_day=none, open_n=np.zeros(0))
    true = WORLD.intercept["expansion"]

    def log_odds(c: PlanCounts) -> tuple[float, float, float]:
        draws = normal_draws(c, frame)
        level = draws["intercept"] + draws["effect"][:, STEP_KINDS.index("expansion")]
        delay = draws["delay_mean"][:, EVENT_STEPS.index("change_order")]
        return float((level.mean() - true) / level.std()), float(level.mean() - true), float(delay.mean())

    in_sds, off, delay = log_odds(counts)
    assert abs(in_sds) < 3.0 and abs(off) < 0.4
    assert delay == pytest.approx(WORLD.delay["change_order"][0], abs=9.0)
    in_sds, off, delay = log_odds(dropped)
    assert in_sds > 8.0 and off > 1.0, "quick hits are kept, and those who wait are not"
    assert delay < WORLD.delay["change_order"][0] - 10.0


def test_an_event_that_a_lost_contract_cut_short_does_not_count_against_its_plan() -> None:
    """What is learned is how often steps come while the account stays, and when: a forecast counts who is lost by itself."""
    plans, ledger, truth = simulated(WORLD, 6000, seed=29, kinds=EVENT_STEPS, last=-91, ending=0.6)
    counts, frame = counted(plans, ledger)
    assert counts.hits.sum() == truth["comes"].sum() and counts.open_n.sum() > 1000
    assert truth["comes"].mean() < truth["p"].mean() - 0.1
    for name, away in misses(counts, frame).items():
        assert name == "renewal_delay" or (np.abs(away) < 3.5).all(), (name, away)
