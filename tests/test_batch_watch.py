"""Drift watch: alarms are as rare as said where ranges hold, and come where they do not; and what a refit does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clvforecast as clv
from batch_company import accounts, events, ledger, posterior, settings
from clvforecast.batch import posteriors
from clvforecast.batch import run as run_module
from clvforecast.batch.folder import RunFolder
from clvforecast.batch.watch import Check, compare, judged, known_and_tolerance
from clvforecast.calibration import crps, in_central, randomised_pit
from clvforecast.histories import build_histories
from clvforecast.posterior_file import checksum
from clvforecast.sampling import ESS_LIMIT

END = date(2023, 9, 30)
EARLY = "2022-12-31"
"""What posteriors know, for watches from that day on."""


@pytest.fixture(scope="module")
def watched() -> clv.Forecast:
    return clv.forecast(
        posterior(), ledger(), horizon_months=3, draws=200, keep_draws=("revenue",), ci_probs=(0.9,), group_by=[]
    )


def with_draws(forecast: clv.Forecast, draws: np.ndarray) -> clv.Forecast:
    assert forecast.kept is not None
    kept = forecast.kept.isel(account=slice(0, len(draws)), draw=slice(0, 1)).drop_vars("draw")
    values = kept["revenue"].isel(draw=0).expand_dims(draw=draws.shape[1]).transpose("account", "draw").copy(data=draws)
    return replace(forecast, kept=values.to_dataset(name="revenue"))


def test_scores_are_those_of_calibration() -> None:
    rng = np.random.default_rng(2)
    draws = np.where(rng.random((30, 80)) < 0.4, 0.0, rng.gamma(2.0, 500.0, (30, 80)))
    actual = np.where(rng.random(30) < 0.4, 0.0, rng.gamma(2.0, 500.0, 30))
    worlds = np.column_stack([actual, draws])
    coverage, scores = judged(worlds, 0.8, np.full(30, 0.01))
    assert scores[0] == pytest.approx(crps(draws, actual).mean(), rel=1e-12)
    others = np.delete(worlds, 8, axis=1)
    assert scores[8] == pytest.approx(crps(others, draws[:, 7]).mean(), rel=1e-12)
    randomised = [in_central(randomised_pit(draws, actual, seed=seed), 0.8).mean() for seed in range(400)]
    assert coverage[0] == pytest.approx(np.mean(randomised), abs=4 * np.std(randomised) / 20)
    randomised = [in_central(randomised_pit(others, draws[:, 7], seed=seed), 0.8).mean() for seed in range(400)]
    assert coverage[8] == pytest.approx(np.mean(randomised), abs=4 * np.std(randomised) / 20)


def test_right_forecasts_raise_as_many_alarms_as_said(watched: clv.Forecast) -> None:
    rng = np.random.default_rng(6)
    n, alarms = 400, 0
    for _ in range(n):
        common = rng.normal(0.0, 0.5, 301)  # what all accounts of a world share
        worlds = np.exp(common + rng.normal(0.0, 1.0, (40, 301))) * 100.0
        check = compare(with_draws(watched, worlds[:, 1:]), worlds[:, 0], END, "run", alarm=0.1)
        alarms += check.slipped
    assert alarms / n == pytest.approx(0.1, abs=4 * np.sqrt(0.1 * 0.9 / n)) or alarms / n < 0.1


@pytest.mark.parametrize("n_uncertain, probability", [(0, 0.0), (1, 0.97), (1, 0.5), (2, 0.95)])
def test_books_without_surprises_raise_no_more_alarms_than_said(
    n_uncertain: int, probability: float, watched: clv.Forecast
) -> None:
    """Nearly all that comes is committed: equal in all worlds, and what happened is rounded to the cent."""
    rng = np.random.default_rng(9)
    n, alarms = 300, 0
    for _ in range(n):
        revenue = np.where(rng.random((60, 1)) < 0.4, 0.0, rng.gamma(1.0, 3000.0, (60, 1)))
        worlds = np.repeat(revenue, 201, axis=1)
        worlds[:n_uncertain] = 500.0 * (rng.random((n_uncertain, 201)) < probability)
        check = compare(
            with_draws(watched, worlds[:, 1:]), worlds[:, 0].round(2), END, "run", 0.1, tolerance=np.full(60, 0.02)
        )
        alarms += check.slipped
    assert alarms / n < 0.1 + 4 * np.sqrt(0.1 * 0.9 / n)


WRONG = {
    "ranges that are too narrow": lambda rng: np.exp(rng.normal(0.0, 2.2, 200)) * 100.0,
    "money that is a third": lambda rng: np.exp(rng.normal(0.0, 1.0, 200)) * 33.0,
    "money that is three times as much": lambda rng: np.exp(rng.normal(0.0, 1.0, 200)) * 300.0,
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_forecasts_raise_the_alarm(name: str, watched: clv.Forecast) -> None:
    rng = np.random.default_rng(5)
    draws = np.exp(rng.normal(0.0, 0.1, 1000) + rng.normal(0.0, 1.0, (100, 1000))) * 100.0
    check = compare(with_draws(watched, draws), WRONG[name](rng)[:100], END, "run", alarm=0.01)
    assert check.slipped, check.message


def test_a_later_run_checks_what_an_earlier_one_said(tmp_path: Path) -> None:
    asked = settings(tmp_path, watch={"accounts": 1000, "months": 3})
    first = clv.batch.score(asked, events=ledger(), posterior=posterior(as_of=EARLY), as_of="2022-12-31")
    soon = clv.batch.score(asked, events=ledger(), posterior=posterior(as_of=EARLY), as_of="2023-01-31")
    assert soon.table("range_checks").empty, "the three months are not over"
    later = clv.batch.score(asked, events=ledger(), posterior=posterior(as_of=EARLY), as_of="2023-03-31")
    (check,) = later.table("range_checks").to_dict("records")
    assert check["checked_run"] == first.run_id
    assert (str(check["checked_as_of"]), str(check["window_end"])) == ("2022-12-31", "2023-03-31")
    assert check["accounts"] == first.manifest["accounts"]
    known = ledger().at("2023-03-31")
    forecast = clv.forecast(
        posterior(as_of=EARLY), ledger().at("2022-12-31"), horizon_months=3, draws=5, known_by="2023-03-31"
    )
    actual = clv.actual_revenue(forecast, known)["revenue"].sum()
    assert check["portfolio_actual"] == pytest.approx(actual, rel=1e-12)
    assert later.manifest["checks"][0]["coverage"] == check["coverage"]


def test_watches_are_made_every_so_often(tmp_path: Path) -> None:
    asked = settings(tmp_path, watch={"every_days": 28})
    for day in ("2023-05-01", "2023-05-02", "2023-05-28", "2023-05-29"):
        clv.batch.score(asked, events=ledger(), posterior=posterior(as_of=EARLY), as_of=day)
    assert [path.name[:10] for path in sorted((tmp_path / "watch").iterdir())] == ["2023-05-01", "2023-05-29"]
    none = settings(tmp_path / "none", watch={"accounts": 0})
    clv.batch.score(none, events=ledger(), posterior=posterior(as_of=EARLY))
    assert not (tmp_path / "none" / "watch").exists()


def test_no_watch_is_kept_where_the_posterior_has_seen_what_comes(tmp_path: Path) -> None:
    clv.batch.score(settings(tmp_path), events=ledger(), posterior=posterior(), as_of="2023-05-31")
    assert not (tmp_path / "watch").exists()


def cut_off(day: str) -> clv.Ledger:
    """As known on a day, but without most of what was booked in the two months before."""
    rows = events()
    booked = pd.to_datetime(rows["event_date"])
    last = (booked > pd.Timestamp(day) - pd.Timedelta(60, "D")) & (booked <= pd.Timestamp(day))
    return clv.read_ledger(rows[~last], accounts(), as_of=day)


def test_no_watch_is_kept_of_events_that_are_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clv.batch.score(settings(tmp_path), events=cut_off("2023-05-31"), posterior=posterior(as_of=EARLY))
    assert not (tmp_path / "watch").exists()
    assert "no watch is kept as of 2023-05-31: the last events seem to be missing" in caplog.text


def test_watches_of_superseded_runs_do_not_count(tmp_path: Path) -> None:
    """Neither a run of data that were mended the same day, nor one that was gone back from, is checked."""
    asked, given = settings(tmp_path), {"posterior": posterior(as_of=EARLY)}
    half = clv.read_ledger(events()[::2], accounts(), as_of="2023-01-31")
    bad = clv.batch.score(asked, events=half, **given)
    good = clv.batch.score(asked, events=ledger(), as_of="2023-01-31", **given)
    assert len(list((tmp_path / "watch").iterdir())) == 2
    (check,) = clv.batch.score(asked, events=ledger(), as_of="2023-04-30", **given).table("range_checks")["checked_run"]
    assert check == good.run_id
    clv.batch.activate(asked, bad.run_id)
    (check,) = clv.batch.score(asked, events=ledger(), as_of="2023-05-01", **given).table("range_checks")["checked_run"]
    assert check == bad.run_id, "who shows a run says that it is the right one"


def test_a_watch_that_is_damaged_is_told_of_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = settings(tmp_path)
    clv.batch.score(asked, events=ledger(), posterior=posterior(as_of=EARLY), as_of="2022-12-31")
    (path,) = (tmp_path / "watch").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    later = clv.batch.score(asked, events=ledger(), posterior=posterior(as_of=EARLY), as_of="2023-06-30")
    assert later.is_new
    assert f"the watch {path.name} cannot be checked" in caplog.text


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The days that posteriors are fitted on; a fit is the prior's draws, for here only when it happens matters."""
    days: list[str] = []

    def fit(ledger: clv.Ledger, segments: tuple[str, ...], **asked: object) -> clv.Posterior:
        days.append(ledger.as_of.isoformat())
        return clv.prior(ledger, segments, draws=int(ESS_LIMIT), chains=2)

    monkeypatch.setattr(posteriors, "fit", fit)
    return days


def night(folder: Path, day: str, **of_posterior: object) -> clv.batch.Run:
    asked = settings(folder, posterior={"segments": ["segment"], **of_posterior}, watch={"accounts": 0})
    return clv.batch.score(asked, events=ledger(), as_of=day)


def test_a_posterior_is_fitted_when_it_is_too_old(tmp_path: Path, fitted: list[str]) -> None:
    runs = [
        night(tmp_path, day, refit="age", max_age_days=40)
        for day in ("2023-03-31", "2023-04-30", "2023-05-10", "2023-05-11", "2023-06-01")
    ]
    assert fitted == ["2023-03-31", "2023-05-11"]
    knows = [run.manifest["inputs"]["posterior_knows_until"] for run in runs]
    assert knows == ["2023-03-31"] * 3 + ["2023-05-11"] * 2


def test_nothing_is_fitted_to_events_that_are_cut_off(
    tmp_path: Path, fitted: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    asked = settings(tmp_path, posterior={"refit": "age", "max_age_days": 40}, watch={"accounts": 0})
    for known in (ledger("2023-03-31"), cut_off("2023-05-31"), ledger("2023-05-31")):
        clv.batch.score(asked, events=known, posterior=None)
    assert fitted == ["2023-03-31", "2023-05-31"]
    assert "events seem to be missing: nothing is fitted to these" in caplog.text
    noted = [len([w for w in m["warnings"] if "to be fitted anew" in w]) for m in RunFolder(tmp_path).manifests()]
    assert sorted(noted) == [0, 0, 1]


def test_no_first_posterior_is_fitted_to_events_that_are_cut_off(tmp_path: Path, fitted: list[str]) -> None:
    asked = settings(tmp_path, posterior={"refit": "age"}, watch={"accounts": 0})
    with pytest.raises(clv.BatchError, match="give an input.as_of before the gap"):
        clv.batch.score(asked, events=cut_off("2023-05-31"), posterior=None)
    assert not fitted
    run = clv.batch.score(asked, events=cut_off("2023-05-31"), posterior=None, as_of="2023-03-31")
    assert (fitted, run.is_new) == (["2023-03-31"], True)


def test_what_was_fitted_to_data_that_were_mended_or_gone_back_from_is_left(tmp_path: Path, fitted: list[str]) -> None:
    """By day 40 the posterior is too old, and the data are bad: they are mended on that day, or gone back from on the next."""
    for way in ("mended", "gone back from"):
        fitted.clear()
        folder = tmp_path / way
        asked = settings(
            folder, posterior={"refit": "age", "max_age_days": 40, "segments": ["segment"]}, watch={"accounts": 0}
        )
        bad = clv.read_ledger(events()[::2], accounts(), as_of="2023-05-11")
        first = clv.batch.score(asked, events=ledger(), as_of="2023-03-31")
        clv.batch.score(asked, events=bad)
        if way == "mended":
            own = {**asked, "posterior": {"refit": "age", "max_age_days": 99}}
            clv.batch.score(own, events=ledger(), as_of="2023-05-11")
        else:
            clv.batch.activate(asked, first)
        assert fitted == ["2023-03-31", "2023-05-11"]
        clv.batch.score(asked, events=ledger(), as_of="2023-05-12")
        assert fitted[2:] == ["2023-05-12"], way


def test_mended_data_of_a_day_are_fitted_anew(tmp_path: Path, fitted: list[str]) -> None:
    asked = settings(tmp_path, posterior={"refit": "age"}, watch={"accounts": 0})
    half = clv.read_ledger(events()[::2], accounts(), as_of="2023-03-31")
    for known in (half, ledger("2023-03-31"), ledger("2023-03-31")):
        clv.batch.score(asked, events=known)
    assert fitted == ["2023-03-31", "2023-03-31"]


def test_a_killed_run_does_not_fit_twice(tmp_path: Path, fitted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("clvforecast.batch.job.score_accounts", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            night(tmp_path, "2023-03-31", refit="age")
    night(tmp_path, "2023-03-31", refit="age")
    assert fitted == ["2023-03-31"]


def test_a_fit_that_fails_leaves_the_night_with_the_old_one(
    tmp_path: Path, fitted: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    night(tmp_path, "2023-01-31", refit="age", max_age_days=30)

    def fails(*args: object, **asked: object) -> None:
        raise clv.ConvergenceError("R-hat 1.4")

    monkeypatch.setattr(posteriors, "fit", fails)
    later = night(tmp_path, "2023-06-30", refit="age", max_age_days=30)
    assert later.manifest["inputs"]["posterior_knows_until"] == "2023-01-31"
    assert "which failed; the one of 2023-01-31 is used: R-hat 1.4" in caplog.text
    with pytest.raises(clv.ConvergenceError):
        night(tmp_path / "first", "2023-06-30", refit="age")


def test_drift_is_answered_by_one_fit(
    watched: clv.Forecast, tmp_path: Path, fitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings(tmp_path, posterior={"refit": "drift"}, watch={"accounts": 0})
    old = replace(posterior(), idata=posterior().idata.copy())
    old.idata.attrs["as_of"] = "2022-09-30"
    found = compare(watched, np.full(len(watched.table), 1e9), END, "run", alarm=0.01)
    slipped = Check(found.columns, posterior=checksum(old.idata))
    monkeypatch.setattr(run_module, "check_watches", lambda *args: [slipped])
    runs = [
        clv.batch.score(asked, events=ledger(), posterior=old, as_of=day)
        for day in ("2022-09-30", "2022-12-31", "2023-01-31")
    ]
    assert fitted == ["2022-12-31"], "nothing is newer on the first day; later another posterior is in use"
    assert all(run.table("range_checks")["slipped"].all() for run in runs)
    assert [run.drifted for run in runs] == [True, False, False], "the posterior that slipped is no longer in use"


def test_without_a_posterior_the_settings_are_at_fault(tmp_path: Path) -> None:
    with pytest.raises(clv.BatchSettingsError, match="posterior.file is missing"):
        night(tmp_path, "2023-06-30")


def test_the_settings_posterior_is_used_where_it_knows_more(tmp_path: Path, fitted: list[str]) -> None:
    night(tmp_path, "2023-01-31", refit="age")
    newer = posterior()
    asked = settings(tmp_path, posterior={"refit": "age"}, watch={"accounts": 0})
    run = clv.batch.score(asked, events=ledger(), posterior=newer)
    assert run.manifest["inputs"]["posterior_knows_until"] == newer.as_of
    assert pd.Timestamp(newer.as_of) > pd.Timestamp("2023-01-31")


def test_few_draws_raise_hardly_more_alarms_than_said(watched: clv.Forecast) -> None:
    rng = np.random.default_rng(8)
    checks = [
        compare(with_draws(watched, worlds[:, 1:]), worlds[:, 0], END, "run", alarm=0.05)
        for worlds in (np.exp(rng.normal(0.0, 0.5, 120) + rng.normal(0.0, 1.0, (25, 120))) for _ in range(600))
    ]
    assert np.mean([check.slipped for check in checks]) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 600)
    first = compare(
        with_draws(watched, np.arange(1.0, 1000.0) * np.ones((40, 1))), np.full(40, 500.0), END, "run", 0.01
    )
    assert (first.columns["portfolio_lower"], first.columns["portfolio_upper"]) == pytest.approx(
        (39.6, 40.0 * 999 + 0.4)
    )


def test_accounts_of_many_contracts_are_equal_to_as_many_cents(tmp_path: Path) -> None:
    """A ledger rounds every contract to the cent, a forecast does not."""
    rng = np.random.default_rng(3)
    days = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(1, 300, 800), "D")
    contracts = pd.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(800)],
            "account_id": [f"a{i // 8:03}" for i in range(800)],
            "contract_id": [f"c{i}" for i in range(800)],
            "event_date": days,
            "kind": "initial",
            "amount": rng.integers(100_000, 900_000, 800) / 100,
            "currency": "USD",
            "term_months": 60,
        }
    )
    known = clv.read_ledger(contracts, as_of="2023-03-31")
    found = clv.forecast(
        posterior=clv.prior(known, draws=200, chains=2),
        ledger=known.at("2022-12-31"),
        horizon_months=3,
        draws=400,
        keep_draws=("revenue",),
        ci_probs=(0.9,),
        group_by=[],
    )
    there, tolerance = known_and_tolerance(found, build_histories(known))
    actual = clv.actual_revenue(found, known)["revenue"].to_numpy()
    assert there.all()
    assert (tolerance == 0.09).all()
    assert found.kept is not None
    off = np.abs(found.kept["revenue"].to_numpy() - actual[:, None]).min(axis=1)
    nothing_else = off < 1.0  # in some world, as in what happened
    assert nothing_else.sum() > 30
    assert off[nothing_else].max() < 0.09
    assert np.mean(off[nothing_else] > 0.01) > 0.2


def test_accounts_that_left_the_ledger_are_left_out_and_told(tmp_path: Path) -> None:
    asked = settings(tmp_path, watch={"accounts": 1000, "months": 3}, forecast={"draws": 100})
    clv.batch.score(asked, events=events(), accounts=accounts(), posterior=posterior(as_of=EARLY), as_of="2022-12-31")
    left = set(accounts()["account_id"].iloc[::5])
    fewer = events()[~events()["account_id"].isin(left)]
    later = clv.batch.score(
        asked, events=fewer, accounts=accounts(), posterior=posterior(as_of=EARLY), as_of="2023-03-31"
    )
    whole = clv.batch.score(
        settings(tmp_path, watch={"accounts": 1000, "months": 3}, forecast={"draws": 100, "seed": 8}),
        events=events(),
        accounts=accounts(),
        posterior=posterior(as_of=EARLY),
        as_of="2023-03-31",
    )
    (check,), (before,) = (run.table("range_checks").to_dict("records") for run in (later, whole))
    gone = before["accounts"] - check["accounts"]
    assert gone > 10
    assert f"({gone} more are no longer there)" in check["message"]
    assert check["coverage"] > 0.8


def test_an_account_that_cannot_be_scored_is_in_no_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = "A000004"

    def failing(posterior: clv.Posterior, ledger: clv.Ledger, **asked: object) -> clv.Forecast:
        if bad in ledger.accounts["account_id"].to_pylist():
            raise ValueError("a history like no other")
        return clv.forecast(posterior, ledger, **asked)

    for module in ("job", "watch"):
        monkeypatch.setattr(f"clvforecast.batch.{module}.forecast", failing)
    asked = settings(tmp_path, watch={"accounts": 1000}, run={"max_failed": 0.1})
    run = clv.batch.score(asked, events=ledger(), posterior=posterior(as_of=EARLY), as_of="2022-12-31")
    (path,) = (tmp_path / "watch").iterdir()
    assert run.failed == 1
    assert len(clv.load_forecast(path).table) == run.manifest["accounts"]
