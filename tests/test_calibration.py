"""Scores: by hand, against closed forms, and the bootstrap against what it estimates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from clvforecast.calibration import (
    Resamples,
    bounds,
    brier_score,
    crps,
    decile_lift,
    gini,
    interval_score,
    log_crps,
    reliability,
)
from clvforecast.errors import ForecastError


def test_crps_of_many_draws_is_that_of_their_distribution() -> None:
    """Normal(m, s): s [z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)] (Gneiting and Raftery 2007, section 4.2)."""
    rng = np.random.default_rng(1)
    mean, sd, actual = np.array([0.0, 5.0]), np.array([1.0, 3.0]), np.array([0.7, 1.0])
    z = (actual - mean) / sd
    expected = sd * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    draws = mean[:, None] + sd[:, None] * rng.normal(size=(2, 40_000))
    assert crps(draws, actual) == pytest.approx(expected, rel=0.02)


def test_crps_of_a_point_is_its_error_and_accounts_do_not_matter_to_each_other() -> None:
    rng = np.random.default_rng(2)
    actual = rng.normal(size=9_001)
    point = rng.normal(size=(9_001, 1))
    assert crps(point, actual) == pytest.approx(np.abs(point[:, 0] - actual))
    draws = rng.normal(size=(9_001, 7))
    assert crps(draws, actual)[[0, 5_000, 9_000]] == pytest.approx(
        crps(draws[[0, 5_000, 9_000]], actual[[0, 5_000, 9_000]])
    )


def test_log_crps_takes_negative_money_as_nothing() -> None:
    assert log_crps([[-5.0, -5.0]], [0.0]) == pytest.approx([0.0])
    assert log_crps([[np.e - 1.0]], [0.0]) == pytest.approx([1.0])


def test_the_true_distribution_has_the_best_scores() -> None:
    """All are proper: too narrow, too wide and biased forecasts score worse than the truth."""
    rng = np.random.default_rng(3)
    actual, noise = rng.normal(size=20_000), rng.normal(size=(20_000, 60))
    others = [noise * 0.5, noise * 2.0, noise + 0.5]
    for score in (crps, lambda draws, y: interval_score(draws, y, 0.8)):
        true = score(noise, actual).mean()
        assert all(score(draws, actual).mean() > true * 1.02 for draws in others)


def test_interval_score_by_hand() -> None:
    """Draws 0..100: the 80% interval is 10 to 90; 5 below it costs 2 / .2 a unit."""
    assert interval_score([np.arange(101.0)] * 2, [50.0, 5.0], 0.8) == pytest.approx([80.0, 80.0 + 10.0 * 5.0])


def test_brier_and_reliability() -> None:
    rng = np.random.default_rng(4)
    p = rng.uniform(size=50_000)
    happened = rng.random(50_000) < p
    assert brier_score(p, happened).mean() == pytest.approx((p * (1 - p)).mean(), rel=0.02)
    table = reliability(p, happened)
    assert len(table) == 10 and table["n"].sum() == 50_000
    assert (np.abs(table["observed"] - table["expected"]) < 4 * table["se"]).all()
    one = reliability([0.7] * 6, [1, 1, 1, 0, 0, 1])[["expected", "observed", "n"]]
    assert one.to_numpy() == pytest.approx(np.array([[0.7, 4 / 6, 6]])), "equal probabilities are one bin"


def test_rankings() -> None:
    rng = np.random.default_rng(5)
    money = rng.lognormal(size=4_000)
    assert gini(money, money) == pytest.approx(1.0)
    assert gini(-money, money) == pytest.approx(-1.0)
    assert abs(gini(rng.normal(size=4_000), money)) < 0.1
    assert gini(np.ones(4_000), money) == pytest.approx(0.0, abs=1e-12), "equal forecasts rank nobody"
    assert decile_lift(np.ones(10), [10.0, *[0.0] * 9]) == decile_lift(np.ones(10), [*[0.0] * 9, 10.0]) == 1.0
    assert decile_lift(money, money) == pytest.approx(np.sort(money)[-400:].mean() / money.mean())
    twice = np.repeat(money, 2)
    assert gini(-twice, twice) == pytest.approx(gini(-money, money, np.full(4_000, 2.0)))


def test_bootstrap_draws_whole_clusters() -> None:
    """Means of 60 clusters of 20 that share a shock: the interval is as wide as clusters, not accounts, make it."""
    rng = np.random.default_rng(6)
    clusters = np.repeat(np.arange(60), 20)
    values = rng.normal(size=60)[clusters] + 0.1 * rng.normal(size=1_200)
    draws = Resamples(clusters, 2_000, seed=1)
    lower, upper = bounds(draws.sums(values) / draws.sums(np.ones(1_200)))
    assert upper - lower == pytest.approx(2 * 1.96 * values.reshape(60, 20).mean(axis=1).std() / np.sqrt(60), rel=0.1)
    assert lower < values.mean() < upper
    assert draws.weights().sum(axis=1) == pytest.approx(np.full(2_000, 1_200))


def test_one_cluster_tells_no_interval() -> None:
    draws = Resamples(["a"] * 5, 10)
    assert np.isnan(bounds(draws.sums(np.ones(5)) / draws.sums(np.ones(5)))).all()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ForecastError, match="one finite value an account"):
        crps([[1.0, 2.0]], [1.0, 2.0])
