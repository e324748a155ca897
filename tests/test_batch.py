"""A run is done once: the same tables whatever kills it, however its work is cut, and one account's failure is a row."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from filelock import FileLock

import clvforecast as clv
from batch_company import AS_OF, accounts, contents, events, ledger, posterior, settings
from clvforecast.batch import job as job_module
from clvforecast.batch import publish as publish_module
from clvforecast.batch import run as run_module
from clvforecast.batch.logs import FIELDS
from clvforecast.batch.parts import PartFiles

score = clv.batch.score


def a_run(folder: Path, **tables: dict[str, Any]) -> clv.batch.Run:
    return score(settings(folder, **tables), events=ledger(), posterior=posterior())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> clv.batch.Run:
    """An uninterrupted run."""
    return a_run(tmp_path_factory.mktemp("done"))


def test_its_tables_are_those_of_the_forecast(done: clv.batch.Run) -> None:
    forecast = clv.forecast(posterior(), ledger(), horizon_months=12, draws=20, bridge=True, ci_probs=(0.9,))
    found, wanted = done.table("account_ranges"), forecast.accounts()
    assert done.manifest["accounts"] == len(found) == len(wanted)
    for name in wanted:
        np.testing.assert_array_equal(found[name].to_numpy(), wanted[name].to_numpy(), err_msg=name)
    periods = done.table("period_ranges").query("segment == 'segment' and freq == 'quarter' and value == 'revenue'")
    quarters = forecast.portfolio("quarter", by="segment")
    for name in ("q05", "mean", "upper", "days", "label"):
        np.testing.assert_array_equal(periods[name].to_numpy(), quarters[name].to_numpy(), err_msg=name)
    arr = done.table("arr_ranges").query("segment == 'all' and freq == 'year'")
    np.testing.assert_array_equal(arr["mean"].to_numpy(), forecast.bridge("year", history=0)["mean"].to_numpy())
    assert set(done.table("period_ranges")["segment"]) == {"all", "origin", "segment"}


def test_every_table_names_the_run_and_its_day(done: clv.batch.Run) -> None:
    for name in ("runs", "account_ranges", "period_ranges", "arr_ranges", "retention_ranges"):
        found = done.table(name)
        assert set(found["run_id"]) == {done.run_id}, name
        assert {str(day) for day in found["as_of"]} == {AS_OF}, name


def test_the_manifest_says_what_was_read_and_written(done: clv.batch.Run) -> None:
    manifest = done.manifest
    money = {row["part"]: row for row in manifest["inputs"]["money"]}
    assert money["read"]["rows"] == len(events())
    assert money["difference"] == {**money["difference"], "rows": 0, "amount_cents": 0}
    assert {Path(path).parts[0] for path in manifest["outputs"]} >= {"account_ranges", "period_ranges", "runs"}
    for path, said in manifest["outputs"].items():
        assert (done.folder.path / path).stat().st_size == said["bytes"]
    assert manifest["seconds_of_last_attempt"]["total"] > 0.0
    assert manifest["first_started_at"] < manifest["finished_at"]
    assert json.loads(done.folder.manifest(done.run_id).read_text()) == manifest


def test_the_same_run_again_changes_nothing(done: clv.batch.Run) -> None:
    before = contents(done.folder.path), done.folder.manifest(done.run_id).read_text()
    again = a_run(done.folder.path)
    assert (again.run_id, again.is_new) == (done.run_id, False)
    assert (contents(done.folder.path), done.folder.manifest(done.run_id).read_text()) == before


def test_how_the_work_is_cut_changes_no_number(done: clv.batch.Run, tmp_path: Path) -> None:
    whole = a_run(tmp_path, run={"accounts_each": 1000, "threads": 2})
    assert whole.run_id == done.run_id
    for name in ("account_ranges", "period_ranges", "arr_ranges", "retention_ranges", "runs"):
        pd.testing.assert_frame_equal(whole.table(name), done.table(name))


CHANGES: dict[str, Callable[[], dict[str, Any]]] = {
    "posterior": lambda: {"posterior": posterior(seed=8)},
    "data": lambda: {"events": replace(ledger(), fingerprint="another")},
    "day": lambda: {"as_of": "2023-05-31"},
    "settings": lambda: {"forecast": {"gross_margin": 0.8}},
    "seed": lambda: {"forecast": {"seed": 8}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_id_tells_runs_apart(name: str, done: clv.batch.Run, tmp_path: Path) -> None:
    changed = CHANGES[name]()
    asked = settings(tmp_path, watch={"accounts": 0}, forecast=changed.pop("forecast", {}))
    other = score(asked, **{"events": ledger(), "posterior": posterior(), **changed})
    assert other.run_id != done.run_id


def test_rejected_rows_are_a_table_of_the_run_and_in_its_id(done: clv.batch.Run, tmp_path: Path) -> None:
    broken = events().head(2).assign(event_id=["x1", "x2"], kind="rumour")
    rows = pd.concat([events(), broken], ignore_index=True)
    read = clv.read_ledger(rows, accounts(), as_of=AS_OF)
    assert (read.fingerprint, len(read.rejected)) == (ledger().fingerprint, 2)
    found = score(settings(tmp_path), events=rows, accounts=accounts(), posterior=posterior(), as_of=AS_OF)
    assert found.run_id != done.run_id
    assert found.table("rejected_rows")["event_id"].tolist() == ["x1", "x2"]
    assert found.manifest["inputs"]["rejected"] == {"unknown_kind": 2}
    turned = score(settings(tmp_path), events=rows[::-1], accounts=accounts(), posterior=posterior(), as_of=AS_OF)
    assert (turned.run_id, turned.is_new) == (found.run_id, False), "the order of rows is not in it"


class Killed(BaseException):
    """As a signal that no step of the run catches."""


def killed_once_scored(monkeypatch: pytest.MonkeyPatch, folder: Path, as_of: str | None = None) -> None:
    """A run that has all its parts, and nothing of what is made of them."""

    def killed(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(job_module, "portfolio_of", killed)
        with pytest.raises(Killed):
            score(settings(folder), events=ledger(), posterior=posterior(), as_of=as_of)


STEPS = {
    "before the second part": (job_module, "score_accounts", 2),
    "before a part's record": (job_module, "write_part", 3),
    "before the totals are added": (job_module, "portfolio_of", 1),
    "before the tables are noted": (job_module.Job, "_write_assembled", 1),
    "before the watch": (run_module, "make_watch", 1),
    "before publishing": (publish_module, "tables_in", 1),
    "between two tables put in place": (job_module, "move_folder", 4),
    "before the manifest": (job_module, "now", 1),
    "before it is the current one": (run_module, "retire", 1),
}


@pytest.mark.parametrize("step", STEPS)
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    step: str, done: clv.batch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, name, at = STEPS[step]
    original, calls = getattr(where, name), []

    def killed(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        if len(calls) == at:
            raise Killed
        return original(*args, **kwargs)

    asked = {"output": {"duckdb": step == "before publishing"}}
    with monkeypatch.context() as patch:
        patch.setattr(where, name, killed)
        with pytest.raises(Killed):
            a_run(tmp_path, **asked)
    resumed = a_run(tmp_path, **asked)
    assert contents(tmp_path) == contents(done.folder.path)
    assert resumed.folder.current_run() == done.run_id
    assert not (tmp_path / "work" / done.run_id).exists()


def test_a_part_that_is_damaged_meanwhile_is_done_again(
    done: clv.batch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killed_once_scored(monkeypatch, tmp_path)
    caplog.set_level(logging.INFO, "clvforecast.batch")
    files = PartFiles(tmp_path / "work" / done.run_id, 1)
    content = bytearray(files.accounts.read_bytes())
    content[len(content) // 2] ^= 1
    files.accounts.write_bytes(content)
    a_run(tmp_path)
    assert "its part is done again" in caplog.text
    (said,) = (vars(record)[FIELDS] for record in caplog.records if record.getMessage() == "going on")
    assert said == {"attempt": 2, "parts_done": 4, "of": 4}
    assert contents(tmp_path) == contents(done.folder.path)


def failing_for(wanted: set[str]) -> Callable[..., clv.Forecast]:
    """A forecast that refuses some accounts."""

    def forecast(posterior: clv.Posterior, ledger: clv.Ledger, **asked: Any) -> clv.Forecast:
        refused = wanted.intersection(ledger.events["account_id"].to_pylist())
        if refused:
            raise ArithmeticError("the price has no logarithm")
        return clv.forecast(posterior, ledger, **asked)

    return forecast


def test_an_account_that_fails_is_a_row_with_the_reason(
    done: clv.batch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = done.table("account_ranges")["account_id"].tolist()
    failing = {ids[31], ids[58]}
    monkeypatch.setattr(job_module, "forecast", failing_for(failing))
    found = a_run(tmp_path, run={"max_failed": 0.05}, watch={"accounts": 0})
    assert found.failed == 2
    rows = found.table("account_failures")
    assert set(rows["account_id"]) == failing
    assert set(rows["error"]) == {"ArithmeticError"}
    assert set(rows["message"]) == {"the price has no logarithm"}
    others = done.table("account_ranges").query("account_id not in @failing").reset_index(drop=True)
    pd.testing.assert_frame_equal(found.table("account_ranges").drop(columns="run_id"), others.drop(columns="run_id"))
    total = found.table("period_ranges").query("segment == 'all' and freq == 'total' and value == 'revenue'")["mean"]
    assert total.item() == pytest.approx(others["mean"].sum(), rel=1e-12)


def test_a_part_of_which_every_account_fails_leaves_the_others(
    done: clv.batch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = done.table("account_ranges")["account_id"].tolist()
    monkeypatch.setattr(job_module, "forecast", failing_for({ids[0]}))
    found = a_run(tmp_path, run={"accounts_each": 1, "max_failed": 0.05}, watch={"accounts": 0})
    assert found.failed == 1
    assert found.table("account_ranges")["account_id"].tolist() == ids[1:]


def test_what_every_account_fails_by_is_the_runs_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "forecast", failing_for(set(ledger().accounts["account_id"].to_pylist())))
    with pytest.raises(ArithmeticError, match="no logarithm"):
        a_run(tmp_path)


def test_too_many_failures_end_the_run(done: clv.batch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = done.table("account_ranges")["account_id"].tolist()
    monkeypatch.setattr(job_module, "forecast", failing_for(set(ids[3:9])))
    with pytest.raises(clv.BatchError, match="max_failed"):
        a_run(tmp_path, run={"max_failed": 0.01})
    assert not (tmp_path / "runs").exists()


def test_two_runs_do_not_write_at_once(tmp_path: Path) -> None:
    tmp_path.joinpath("scores").mkdir()
    with FileLock(tmp_path / "scores" / ".lock"), pytest.raises(clv.RunLockedError, match="another run"):
        a_run(tmp_path / "scores")
    assert a_run(tmp_path / "scores").is_new


def test_old_runs_go_and_the_current_one_stays(tmp_path: Path) -> None:
    asked = settings(tmp_path, output={"keep_runs": 2, "duckdb": True}, watch={"accounts": 0})
    days = ["2023-03-31", "2023-04-30", "2023-05-31", "2023-02-28"]
    made = [score(asked, events=ledger(), posterior=posterior(), as_of=day) for day in days]
    found = clv.batch.runs(asked).set_index("run_id")
    assert found["is_current"].to_dict() == {run.run_id: run is made[2] for run in made}, "an earlier day is not shown"
    assert found["has_files"].to_dict() == {run.run_id: run in made[2:] for run in made}
    sink = clv.batch.DuckSink(tmp_path / "clvforecast.duckdb")
    assert sink.current() == made[2].run_id
    with pytest.raises(clv.BatchError, match="keep_runs"):
        made[0].table("runs")
    clv.batch.activate(asked, made[3].run_id)
    assert sink.current() == made[3].folder.current_run() == made[3].run_id
    with pytest.raises(clv.BatchError, match="Activate one of them"):
        clv.batch.activate(asked, made[0].run_id)


def test_a_database_that_was_lost_gets_the_current_run_again(tmp_path: Path) -> None:
    asked = {"output": {"duckdb": True}}
    first = a_run(tmp_path, **asked)
    (tmp_path / "clvforecast.duckdb").unlink()
    assert not a_run(tmp_path, **asked).is_new
    assert clv.batch.DuckSink(tmp_path / "clvforecast.duckdb").current() == first.run_id


def test_plans_are_in_the_run_as_in_the_forecast(tmp_path: Path) -> None:
    ids = ledger().accounts["account_id"].to_pylist()
    steps = pd.DataFrame(
        {
            "account_id": ids[:6],
            "planned_date": "2023-09-30",
            "kind": "expansion",
            "amount": 5000.0,
            "probability": 0.8,
            "recorded_on": "2023-06-01",
        }
    )
    path = tmp_path / "plans.csv"
    steps.to_csv(path, index=False)
    found = a_run(tmp_path / "scores", forecast={"plans": str(path)}, watch={"accounts": 0})
    plans = clv.read_plans(path, ledger())
    forecast = clv.forecast(posterior(), ledger(), horizon_months=12, draws=20, bridge=True, plans=plans)
    np.testing.assert_array_equal(found.table("account_ranges")["mean"], forecast.accounts()["mean"])
    assert forecast.planned is not None
    assert len(found.table("planned_steps")) == len(forecast.planned) > 0
    assert json.loads(found.table("runs")["settings"].item())["plans"] == forecast.settings.plans


def test_rejected_rows_are_a_table_and_counted(tmp_path: Path) -> None:
    broken = events().assign(amount=lambda rows: rows["amount"].where(rows.index != 7, -1.0))
    found = score(settings(tmp_path), events=broken, accounts=accounts(), posterior=posterior(), as_of=AS_OF)
    assert found.table("rejected_rows")[["row", "rule"]].values.tolist() == [[8, "wrong_sign"]]
    assert found.manifest["inputs"]["rejected"] == {"wrong_sign": 1}
    with pytest.raises(clv.LedgerError, match="rejected"):
        score(
            settings(tmp_path, input={"max_rejected": 0.0}), events=broken, accounts=accounts(), posterior=posterior()
        )


def test_the_log_is_a_json_object_a_line(tmp_path: Path) -> None:
    stream = StringIO()
    with clv.batch.log_to(stream, "json"):
        run = a_run(tmp_path)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines if line["level"] == "info"] == ["read", "run", *["part"] * 4, "done"]
    assert lines[-1]["run_id"] == run.run_id
    assert all({"time", "level", "event"} <= line.keys() for line in lines)


def test_a_schedulers_own_handlers_get_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "clvforecast.batch"):
        a_run(tmp_path)
    assert "done" in [record.getMessage() for record in caplog.records]


def test_half_an_export_is_not_scored(done: clv.batch.Run, tmp_path: Path) -> None:
    asked = settings(tmp_path, watch={"accounts": 0})
    score(asked, events=ledger(), posterior=posterior(), as_of="2023-05-31")
    half = ledger().accounts["account_id"].to_pylist()[:50]
    cut = clv.read_ledger(events()[events()["account_id"].isin(half)], accounts(), as_of=AS_OF)
    with pytest.raises(clv.BatchError, match="50 accounts are there to score"):
        score(asked, events=cut, posterior=posterior())
    assert score({**asked, "input": {"least_accounts": 0.3}}, events=cut, posterior=posterior()).is_new


def test_a_day_to_come_is_refused(tmp_path: Path) -> None:
    with pytest.raises(clv.BatchSettingsError, match="is a day to come"):
        score(settings(tmp_path), events=ledger(), posterior=posterior(), as_of="9998-12-31")


def test_unfinished_work_of_other_data_goes_with_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_once_scored(monkeypatch, tmp_path, as_of="2023-05-31")
    assert list((tmp_path / "work").iterdir())
    a_run(tmp_path)
    assert not list((tmp_path / "work").iterdir())


def test_the_files_are_a_data_set(done: clv.batch.Run) -> None:
    found = pd.read_parquet(done.folder.path / "account_ranges")
    assert len(found) == done.manifest["accounts"]
    assert (set(found["day"].astype(str)), set(found["run"].astype(str))) == ({AS_OF}, {done.run_id})


def test_an_account_without_a_term_is_not_in_the_way(tmp_path: Path) -> None:
    prospect = pa.table({"account_id": ["Z9"], "segment": ["S1"], "observed_from": pa.array([0], pa.int32())})
    more = replace(ledger(), accounts=pa.concat_tables([ledger().accounts, prospect.cast(ledger().accounts.schema)]))
    found = score(settings(tmp_path), events=more, posterior=posterior())
    assert found.manifest["accounts"] == len(clv.forecast(posterior(), ledger(), draws=2).table)


@pytest.mark.parametrize("name", ["all", "origin"])
def test_a_column_that_would_be_taken_for_the_portfolio_is_refused(name: str, tmp_path: Path) -> None:
    """In `clv_portfolio`, which is ``segment = 'all'``, its levels would be counted once more."""
    table = accounts().assign(**{name: "x"})
    known = clv.read_ledger(events(), table, as_of=AS_OF)
    asked = settings(tmp_path, forecast={"group_by": [name], "bridge": False})
    with pytest.raises(clv.BatchError, match=f"column '{name}' has a name that the column segment has a meaning for"):
        clv.batch.score(asked, events=known, posterior=posterior())


def test_what_was_mended_is_shown_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = settings(tmp_path, output={"duckdb": True}, watch={"accounts": 0})
    sink = clv.batch.DuckSink(tmp_path / "clvforecast.duckdb")
    good = score(asked, events=ledger(), posterior=posterior())
    bad = score(asked, events=clv.read_ledger(events().iloc[:-9], accounts(), as_of=AS_OF), posterior=posterior())
    assert (sink.current(), bad.folder.current_run()) == (bad.run_id, bad.run_id)
    assert not score(asked, events=ledger(), posterior=posterior()).is_new
    assert (sink.current(), bad.folder.current_run()) == (good.run_id, good.run_id)
    clv.batch.activate(asked, bad.run_id)
    score(asked, events=ledger(), posterior=posterior())
    assert sink.current() == bad.run_id, "somebody chose it"
    assert f"--activate {good.run_id}" in caplog.text


def test_every_warning_of_the_manifest_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = score(settings(tmp_path), events=ledger(), posterior=posterior(), as_of="2023-03-31")
    assert any("after the ledger's as_of" in warning for warning in run.warnings)
    for warning in run.warnings:
        assert caplog.text.count(warning) == 1, warning


def test_what_a_killed_write_leaves_is_swept(
    done: clv.batch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_once_scored(monkeypatch, tmp_path)
    for folder in (tmp_path, tmp_path / "work" / done.run_id / "account_ranges"):
        (folder / ".part-00001.parquet.5bce98f7-26040-64f6e79a.part").write_bytes(b"half")
    a_run(tmp_path)
    assert contents(tmp_path) == contents(done.folder.path)
