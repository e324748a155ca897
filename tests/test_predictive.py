"""Posterior predictive checks: flat where the model is true, outside where it is not, and of the right data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import clvforecast as clv
from clvforecast.histories import build_histories
from clvforecast.predictive import CHECKS, predictive_check
from known_world import known_posterior


@pytest.fixture(scope="module")
def world():
    """(posterior that knows the truth, its ledger, truth)."""
    events, truth = clv.simulate_events(n_accounts=1500, seed=8)
    return known_posterior(truth, n_draws=200), clv.read_ledger(events, truth.accounts, as_of=truth.as_of), truth


@pytest.mark.parametrize("what", CHECKS)
def test_under_the_truth_observed_lies_among_the_replicates(world, what) -> None:
    """Each figure's place is about uniform; of all, hardly any lies outside 99%."""
    posterior, ledger, _ = world
    table = predictive_check(posterior, ledger, what, replicates=200).table
    told = table[table["n"] >= 20]
    assert len(told) >= 3
    assert (told["place"].between(0.005, 0.995)).mean() >= 0.9
    assert (table["lower"] <= table["median"]).all() and (table["median"] <= table["upper"]).all()


@pytest.mark.parametrize(
    ("what", "wrong", "group"),
    [
        ("renewals", {"renewal_mu": 0.9}, ""),
        ("years", {"renewal_year_effect": np.array([0.9, -0.9] * 4)}, ""),
        ("events", {"expansion_rate": 0.9}, "expansion"),
        ("sizes", {"change_order_size_mean": 1.5}, "change order"),
        ("changes", {"change_logit": np.zeros((5, 2))}, "after flat"),
    ],
)
def test_a_wrong_parameter_is_seen_where_it_acts(world, what, wrong, group) -> None:
    _, ledger, truth = world
    table = predictive_check(known_posterior(truth, n_draws=100, **wrong), ledger, what, replicates=100).table
    mine = table[(table["group"] == group) & (table["n"] >= 20)]
    assert (~mine["place"].between(0.01, 0.99)).any()


def test_observed_figures_are_those_of_the_ledger(world) -> None:
    posterior, ledger, _ = world
    events = predictive_check(posterior, ledger, "events", replicates=5).table.set_index(["group", "x"])["observed"]
    seen = ledger.events.to_pandas()
    per_account = seen[seen["kind"] == "expansion"].groupby("account_id").size()
    accounts = build_histories(ledger).lines.num_rows
    assert events["expansion", "none"] == pytest.approx(1 - len(per_account) / accounts)
    assert events["expansion", "3 and more"] == pytest.approx((per_account >= 3).sum() / accounts)
    for what in ("changes", "terms"):
        table = predictive_check(posterior, ledger, what, replicates=5).table
        assert table.groupby("group")["observed"].sum().to_numpy() == pytest.approx(1.0)


def test_another_ledger_or_check_is_refused(world) -> None:
    posterior, ledger, _ = world
    with pytest.raises(clv.ForecastError, match="give one of renewals, years, events"):
        predictive_check(posterior, ledger, "colours")
    trained = clv.prior(ledger, ["segment"], draws=20)
    assert predictive_check(trained, ledger, "terms", replicates=10).table["n"].gt(0).all()
    with pytest.raises(clv.ForecastError, match="not the one that the posterior was fitted on"):
        predictive_check(trained, ledger.at("2021-06-30"), "terms", replicates=10)


def test_pictures_have_a_line_a_figure(world) -> None:
    posterior, ledger, _ = world
    for what in CHECKS:
        check = predictive_check(posterior, ledger, what, replicates=20)
        axes = check.plot()
        assert len(axes.get_yticklabels()) == len(check.table) > 0
        assert axes.get_title(loc="left")
    assert isinstance(check.table, pd.DataFrame)
