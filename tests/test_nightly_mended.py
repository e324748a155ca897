"""What an operator's days bring: a row without a currency, queries in a file elsewhere, a manifest that was removed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import clvforecast as clv
from batch_company import accounts, events, ledger, posterior, settings
from clvforecast.batch import read_settings
from clvforecast.batch.folder import RunFolder


def test_a_rejected_row_without_a_currency(tmp_path: Path) -> None:
    events, truth = clv.simulate_events(n_accounts=30, seed=2)
    posterior = clv.prior(clv.read_ledger(events, truth.accounts), ["segment"], draws=50)
    broken = events.astype({"currency": object})
    broken.loc[3, "currency"] = None
    settings = {"forecast": {"horizon_months": 3, "draws": 50}, "output": {"folder": str(tmp_path)}}
    run = clv.batch.score(settings, events=broken, accounts=truth.accounts, posterior=posterior)
    money = pd.DataFrame(run.manifest["inputs"]["money"])
    assert money.loc[money["part"] == "rejected", "rows"].sum() == 1 and money["currency"].isna().any()


def test_queries_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text(
        '[input]\ndatabase = "SOURCE"\nevents = "SELECT 1"\naccounts = "SELECT 2"\n', encoding="utf-8"
    )
    asked = read_settings(tmp_path / "night.toml").input
    assert (asked.events, asked.accounts) == (("SELECT 1",), "SELECT 2")


def test_the_current_runs_manifest_is_gone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.make_current("gone")
    assert folder.lineage().becomes_current("2027-01-31")


@pytest.mark.parametrize("address, said", [(None, "no such environment variable"), ("secret@host", "no address of")])
def test_an_address_that_is_none_is_a_wrong_setting(
    address: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLV_TARGET", raising=False)
    if address is not None:
        monkeypatch.setenv("CLV_TARGET", address)
    asked = {"output": {"folder": str(tmp_path), "database": "CLV_TARGET"}}
    with pytest.raises(clv.BatchSettingsError, match=said) as error:
        clv.batch.score(asked, events=pd.DataFrame())
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("key", ["input", "output"])
def test_an_address_in_the_place_of_its_variable_is_not_told(key: str, tmp_path: Path) -> None:
    table = {"database": "postgresql://me:secret@host/db", "events": "SELECT 1"}
    if key == "output":
        table = {"database": table["database"], "folder": str(tmp_path)}
    asked = settings(tmp_path, **{key: table})
    with pytest.raises(clv.BatchSettingsError, match=f"{key}.database: .* Name an environment variable") as error:
        clv.batch.score(asked, posterior=posterior())
    assert "secret" not in str(error.value)


def night(folder: Path, day: str | None, known: clv.Ledger | None = None, **output: object) -> clv.batch.Run:
    asked = settings(folder, output={"duckdb": True, **output}, watch={"accounts": 0})
    return clv.batch.score(asked, events=ledger() if known is None else known, posterior=posterior(), as_of=day)


def places(run: clv.batch.Run) -> tuple[dict[str, str], dict[str, str]]:
    """Superseded runs and by which, as the folder says it, and as the database does."""
    runs = clv.batch.DuckSink(run.folder.duckdb).runs()
    told = zip(runs["run_id"].to_pylist(), runs["superseded_by"].to_pylist(), strict=True)
    return run.folder.lineage().superseded, {run_id: by for run_id, by in told if by is not None}


def test_a_day_before_that_is_mended_takes_the_place_of_its_run(tmp_path: Path) -> None:
    bad = night(tmp_path, None, clv.read_ledger(events().iloc[:-9], accounts(), as_of="2023-03-31"))
    current = night(tmp_path, "2023-04-30")
    mended = night(tmp_path, "2023-03-31")
    sink = clv.batch.DuckSink(tmp_path / "clvforecast.duckdb")
    assert sink.current() == mended.folder.current_run() == current.run_id
    assert places(mended) == ({bad.run_id: mended.run_id},) * 2
    assert set(sink.read("clv_changes")["previous_run_id"].to_pylist()) == {mended.run_id}


def test_a_run_may_be_given_to_activate_and_what_was_killed_there_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (night(tmp_path, day) for day in ("2023-03-31", "2023-04-30"))
    asked = settings(tmp_path, output={"duckdb": True})
    sink = clv.batch.DuckSink(tmp_path / "clvforecast.duckdb")
    with monkeypatch.context() as patch:
        patch.setattr(clv.batch.DuckSink, "activate", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            clv.batch.activate(asked, first)
    assert (first.folder.current_run(), sink.current()) == (first.run_id, second.run_id)
    assert not night(tmp_path, "2023-04-30").is_new
    assert first.folder.current_run() == sink.current() == first.run_id, "somebody chose it"
    assert places(first) == ({second.run_id: first.run_id},) * 2
    clv.batch.activate(asked, second)
    assert places(first) == ({}, {})


def test_a_run_whose_files_were_removed_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = [night(tmp_path, day, keep_runs=1) for day in ("2023-03-31", "2023-04-30")]
    again = night(tmp_path, "2023-03-31", keep_runs=1)
    assert (again.run_id, again.is_new) == (runs[0].run_id, False)
    assert "its files have been removed" in caplog.text
    runs[0].folder.manifest(again.run_id).unlink()
    made = night(tmp_path, "2023-03-31", keep_runs=2)
    assert (made.run_id, made.is_new, made.folder.current_run()) == (runs[0].run_id, True, runs[1].run_id)
    assert len(made.table("runs")) == 1


def test_a_run_that_is_not_the_current_one_does_not_become_it_in_an_empty_database(tmp_path: Path) -> None:
    runs = [night(tmp_path, day) for day in ("2023-03-31", "2023-04-30")]
    sink = clv.batch.DuckSink(tmp_path / "clvforecast.duckdb")
    sink.path.unlink()
    night(tmp_path, "2023-03-31")
    assert sink.current() is None
    night(tmp_path, "2023-04-30")
    night(tmp_path, "2023-03-31")
    assert (sink.current(), sink.runs().num_rows) == (runs[1].run_id, 2)


def test_bookings_that_end_before_the_current_runs_day_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    night(tmp_path, "2023-04-30")
    night(tmp_path, "2023-03-31")
    assert "old export" not in caplog.text
    old = night(tmp_path, None, clv.read_ledger(events(), accounts(), as_of="2023-03-30"))
    assert "the events end on 2023-03-30, before the day of the current run, 2023-04-30" in caplog.text
    assert old.folder.current_run() != old.run_id
