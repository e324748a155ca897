"""Rolling origins on a company whose truth is known: honest about what was known, right about what happened."""

from __future__ import annotations

import datetime as dt
import json
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

import clvforecast as clv
from clvforecast.backtest import MODEL, WHOLE, Backtest, backtest
from clvforecast.baselines import BASELINES, hand_set, last_mrr_by_rate
from clvforecast.report.backtests import headline, plot_backtest, write_backtest
from clvforecast.scores import score_table
from known_world import known_posterior

module = import_module("clvforecast.backtest")
QUICK = {"last MRR x renewal rate": last_mrr_by_rate, "last MRR x 70%": hand_set}
DRAWS = 150


@pytest.fixture(scope="module")
def company():
    events, truth = clv.simulate_events(n_accounts=250, seed=21, future_months=60)
    return events, truth, clv.read_ledger(pd.concat([events, truth.future]), truth.accounts)


@pytest.fixture(scope="module")
def result(company) -> Backtest:
    """One origin, forecast under the true parameters."""
    _, truth, ledger = company
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fit", lambda *args, **kwargs: known_posterior(truth, n_draws=DRAWS))
        return backtest(ledger, [truth.as_of], 36, ["segment"], baselines=QUICK, draws=DRAWS, progress=False)


def of_model(result: Backtest, window: int) -> pd.DataFrame:
    rows = result.accounts
    return rows[(rows["method"] == MODEL) & (rows["window_months"] == window)].set_index("account_id")


def test_what_happened_is_the_truth_s(company, result) -> None:
    _, truth, _ = company
    for window in (12, 24, 36):
        expected = truth.revenue(window).set_index("account_id").sum(axis=1)
        found = of_model(result, window)["actual"]
        assert found.to_numpy() == pytest.approx(expected.loc[found.index].to_numpy(), abs=0.05)


def test_activity_and_mrr_are_those_of_the_contracts_in_force(company, result) -> None:
    """From the events themselves: a term that covers the last day of month 24, and its money a month."""
    events, truth, _ = company
    every = pd.concat([events, truth.future])
    day = pd.Timestamp(truth.as_of) + pd.Timedelta(days=1) + pd.DateOffset(months=24) - pd.Timedelta(days=1)
    terms = every[every["kind"].isin(["initial", "renewal"])].copy()
    terms["end"] = [
        start + pd.DateOffset(months=int(m)) for start, m in zip(terms["start_date"], terms["term_months"], strict=True)
    ]
    covering = set(terms.loc[(terms["start_date"] <= day) & (day < terms["end"]), "account_id"])
    ended = set(every.loc[every["kind"] == "churn", "account_id"])
    found = of_model(result, 24)
    for account in found.index.difference(ended):
        assert found.loc[account, "active"] == float(account in covering), account
        assert (found.loc[account, "mrr"] > 0.0) == (account in covering)


def test_probabilities_and_pits_are_calibrated_under_the_truth(result) -> None:
    scores = result.scores(resamples=300).set_index(["window_months", "method", "score"])
    for window in (12, 24, 36):
        for prob in (50, 80, 95):
            row = scores.loc[(window, MODEL, f"coverage_{prob}")]
            # 250 accounts and 150 draws: one seed of six takes the lower end of the 50% range to .54
            assert row["lower"] - 0.05 <= prob / 100 <= row["upper"] + 0.05
    rows = of_model(result, 36)
    known = rows[rows["renewed"].notna()]
    assert len(known) > 60
    assert known["p_renewed"].mean() == pytest.approx(known["renewed"].mean(), abs=4 * 0.5 / np.sqrt(len(known)))
    assert rows["p_active"].mean() == pytest.approx(rows["active"].mean(), abs=4 * 0.5 / np.sqrt(len(rows)))
    assert rows["mrr_pit"].between(0, 1).all()


def test_truth_beats_the_baselines_and_the_headline_says_so(result) -> None:
    scores = result.scores()
    skill = scores[(scores["score"] == "skill_log_crps") & (scores["window_months"] == 36)].iloc[0]
    assert skill["lower"] <= skill["value"] <= skill["upper"]
    means = scores[(scores["score"] == "log_crps") & (scores["window_months"] == 36)].set_index("method")["value"]
    assert skill["value"] == pytest.approx(1 - means[MODEL] / means.drop(MODEL).min())
    assert skill["value"] > 0.0
    assert f"{skill['value']:+.1%}" in headline(scores, 36)
    assert skill["against"] == means.drop(MODEL).idxmin() and skill["against"] in headline(scores, 36)


def test_groups_partition_the_accounts_and_totals_add_up(result) -> None:
    rows = of_model(result, 24)
    for by in result.subgroups:
        scores = result.scores(by, 24, resamples=20)
        counts = scores[(scores["method"] == MODEL) & (scores["score"] == "crps")]
        assert counts["n"].sum() == len(rows), by
    totals = result.totals[(result.totals["method"] == MODEL) & (result.totals["window_months"] == 24)]
    whole = totals[totals["by"] == WHOLE].iloc[0]
    assert whole["actual"] == pytest.approx(rows["actual"].sum())
    assert whole["mean"] == pytest.approx(rows["mean"].sum())
    assert totals.loc[totals["by"] == "segment", "actual"].sum() == pytest.approx(whole["actual"])
    assert whole["lower_95"] < whole["lower_50"] < whole["median"] < whole["upper_50"] < whole["upper_95"]
    assert set(rows["due"]) >= {"overdue", "due later in the window", "mid-term"}


def test_ranges_of_accounts_are_told_and_hold_as_often_as_the_scores_say(result) -> None:
    """But for ties at an end of the range, where coverage is randomised (an unchanged renewal is one price for many draws)."""
    rows = of_model(result, 36)
    scores = result.scores(window_months=36, resamples=20).set_index(["method", "score"])["value"]
    for prob in (50, 80, 95):
        assert (rows[f"lower_{prob}"] <= rows["median"]).all() and (rows["median"] <= rows[f"upper_{prob}"]).all()
        at_an_end = [np.isclose(rows["actual"], rows[f"{end}_{prob}"], atol=0.01) for end in ("lower", "upper")]
        clear = rows[~np.any(at_an_end, axis=0)]
        assert len(clear) > 0.5 * len(rows)
        held = clear["actual"].between(clear[f"lower_{prob}"], clear[f"upper_{prob}"])
        near = np.abs(clear["pit"] - 0.5) <= prob / 200.0
        assert (held == near).mean() > 0.97  # .975 to 1 from seed to seed
    assert 0.0 < scores[MODEL, "coverage_80"] < 1.0
    point = result.accounts[result.accounts["method"] == "last MRR x 70%"]
    assert point["lower_95"].isna().all() and (point["median"] == point["mean"]).all()


def test_what_was_asked_for_and_is_not_there_is_told(company, monkeypatch) -> None:
    _, truth, ledger = company
    monkeypatch.setattr(module, "fit", lambda *args, **kwargs: known_posterior(truth, n_draws=10))
    mute = {"mute": lambda known: np.full((len(known.account_ids), 1), np.nan)}
    late = str(ledger.as_of - dt.timedelta(days=500))
    found = backtest(ledger, late, 24, baselines=mute, draws=10, progress=False)
    assert len(found.notes) == 2
    assert f"origin {late}: 24 months are not scored" in found.notes[0]
    assert f"origin {late}, 12 months: mute has too little to learn from" in found.notes[1]
    assert "1 origin (" in repr(found)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clusters": "regoin"}, "clusters: 'regoin' is no column of the accounts"),
        ({"segments": ["regoin"]}, "segments: 'regoin' is no column of the accounts"),
        ({"segments": "segment"}, "is one text; give a list"),
    ],
)
def test_a_column_that_is_not_there_is_told_before_anything_is_fitted(company, monkeypatch, settings, message) -> None:
    _, truth, ledger = company
    monkeypatch.setattr(module, "fit", lambda *args, **kwargs: pytest.fail("fitted"))
    with pytest.raises(clv.ForecastError, match=message):
        backtest(ledger, [truth.as_of], 12, progress=False, **settings)


def test_nothing_booked_after_the_origin_reaches_the_forecast(company, monkeypatch) -> None:
    """A ledger with all later money doubled gives the same forecasts; only what happened differs."""
    events, truth, ledger = company
    monkeypatch.setattr(module, "fit", lambda *args, **kwargs: known_posterior(truth, n_draws=20))
    later = truth.future.assign(amount=truth.future["amount"] * 2)
    changed = clv.read_ledger(pd.concat([events, later]), truth.accounts)
    one, other = (
        backtest(which, [truth.as_of], 12, windows=(12,), baselines=BASELINES, draws=20, progress=False)
        for which in (ledger, changed)
    )
    assert (one.accounts["mean"] == other.accounts["mean"]).all()
    assert one.accounts["actual"].sum() < other.accounts["actual"].sum()


def test_a_source_is_asked_for_every_origin(company, monkeypatch) -> None:
    _, truth, ledger = company
    asked: list[dt.date | None] = []

    def source(day: dt.date | None) -> clv.Ledger:
        asked.append(day)
        return ledger if day is None else ledger.at(day)

    monkeypatch.setattr(module, "fit", lambda *args, **kwargs: known_posterior(truth, n_draws=10))
    origins = [truth.as_of, truth.as_of + dt.timedelta(days=365)]
    found = backtest(source, origins, 12, baselines={}, draws=10, progress=False)
    assert asked == [None, *origins]
    assert found.fits["origin"].tolist() == origins
    assert "no baseline" in headline(found.scores(resamples=20), 12)


def test_windows_that_are_not_over_are_left_out_and_none_is_an_error(company, monkeypatch) -> None:
    _, truth, ledger = company
    monkeypatch.setattr(module, "fit", lambda *args, **kwargs: known_posterior(truth, n_draws=10))
    late = ledger.as_of - dt.timedelta(days=500)
    found = backtest(ledger, [late], 24, baselines={}, draws=10, progress=False)
    assert found.fits["windows"].tolist() == ["12"]
    with pytest.raises(clv.ForecastError, match="Give earlier origins or a shorter horizon_months"):
        backtest(ledger, [ledger.as_of], 12, baselines={}, draws=10, progress=False)
    with pytest.raises(clv.ForecastError, match="at least one day"):
        backtest(ledger, [], 12, baselines={}, draws=10, progress=False)
    with pytest.raises(clv.ForecastError, match="give one of origin"):
        found.scores("colour")
    with pytest.raises(clv.ForecastError, match="scored are"):
        found.scores(window_months=7)


def test_files_and_picture(result, tmp_path) -> None:
    paths = write_backtest(result, tmp_path)
    assert all(path.stat().st_size > 0 for path in paths)
    assert len(pd.read_parquet(paths[0])) == len(result.accounts)
    scores = pd.read_csv(paths[2])
    assert {"skill_crps", "coverage_95", "gini", "decile_lift", "bias", "brier_renewed"} <= set(scores["score"])
    assert json.loads(scores.head(1).to_json(orient="records"))[0]["n"] > 0
    titles = [axes.get_title(loc="left") for axes in plot_backtest(result).axes]
    assert len(titles) == 4 and all(titles)
    assert plot_backtest(result)._repr_png_().startswith(b"\x89PNG"), "notebooks show it"


def test_a_method_that_cannot_forecast_everywhere_is_compared_where_it_does() -> None:
    """Equal to the model at one of two origins and unknown at the other: skill nought, its own bias, its own ranking."""
    rng = np.random.default_rng(1)
    rows = []
    for origin in ("2020-12-31", "2021-12-31"):
        actual = rng.gamma(2.0, 50.0, 40)
        one = pd.DataFrame(
            {"origin": pd.Timestamp(origin), "window_months": 12, "account_id": range(40), "actual": actual}
        )
        scored = {"mean": actual * 1.1, "crps": actual * 0.3, "log_crps": 0.2, "pit": 0.5}
        rows.append(one.assign(method=MODEL, **scored))
        unknown = dict.fromkeys(scored, np.nan)
        rows.append(one.assign(method="other", **(scored if origin.startswith("2021") else unknown)))
    table = pd.concat(rows, ignore_index=True)
    table[
        ["interval_score_50", "interval_score_80", "interval_score_95", "renewed", "p_renewed", "active", "p_active"]
    ] = np.nan
    found = score_table(table, None, "account_id", MODEL, 50, 0).set_index(["method", "score"])
    assert found.loc[(MODEL, "skill_crps"), "value"] == pytest.approx(0.0)
    assert found.loc[(MODEL, "skill_crps"), "n"] == 40
    assert found.loc[("other", "bias"), "value"] == pytest.approx(0.1)
    assert found.loc[("other", "gini"), "value"] == pytest.approx(1.0)
    assert (score_table(table, "origin", "account_id", MODEL, 50, 0)["method"] == "other").any()
    nothing = score_table(table.assign(actual=0.0, crps=0.0), None, "account_id", MODEL, 50, 0)["score"]
    assert not {"bias", "skill_crps"} & set(nothing), "of nothing there is no ratio"


def test_the_next_decision_is_judged_when_its_bookings_are_in(company, monkeypatch) -> None:
    """Whatever its outcome, a decision counts only once the longest lag has passed: else the renewed ones come first."""
    _, truth, ledger = company
    monkeypatch.setattr(module, "fit", lambda *args, **kwargs: known_posterior(truth, n_draws=20))
    soon = ledger.at(truth.as_of + dt.timedelta(days=366))
    rows = [
        backtest(which, [truth.as_of], 12, baselines={}, draws=20, progress=False).accounts.set_index("account_id")[
            "renewed"
        ]
        for which in (soon, ledger)
    ]
    known = rows[0].dropna()
    assert 0 < len(known) < rows[1].notna().sum()
    assert (known == rows[1].loc[known.index]).all()
