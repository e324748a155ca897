"""Settings of a run: errors name the key, paths are looked for from the file, and the command's exit codes."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

import clvforecast as clv
from batch_company import AS_OF, accounts, events, posterior
from clvforecast.batch import run as run_module
from clvforecast.cli import main

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a value out of range": ({"forecast": {"horizon_months": 0}}, "forecast.horizon_months = 0: "),
    "a text for a number": ({"forecast": {"draws": "1000"}}, "forecast.draws = '1000': "),
    "a key that is not known": (
        {"forecast": {"horizon": 3}},
        "forecast.horizon is not known; known are horizon_months",
    ),
    "a table that is not known": ({"forcast": {}}, "forcast is not known; known are input, posterior, forecast"),
    "keys that do not go together": ({"forecast": {"timing": "cash"}}, "forecast: timing='cash' needs to know"),
    "streaming an export": ({"input": {"stream": True, "format": "stripe"}}, "input: stream reads Parquet files"),
    "a choice that is not there": ({"posterior": {"refit": "always"}}, "posterior.refit = 'always': "),
    "no table": ({"run": 3}, "run = 3: "),
    "an interval of more than all": ({"forecast": {"ci_prob": 1.5}}, "forecast.ci_prob = 1.5: "),
    "a schema without a name": ({"output": {"schema": ""}}, "output.schema = '': "),
    "streaming what needs all events": (
        {"input": {"stream": True}, "forecast": {"plans": "plans.csv"}},
        "forecast.plans needs all events in memory",
    ),
    "two queries": ({"input": {"database": "URI", "events": ["a", "b"]}}, "input: with database, events is one SELECT"),
    "a day that is none": ({"input": {"as_of": "30.6.2023"}}, "input.as_of = '30.6.2023': "),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_names_the_key(name: str) -> None:
    said, words = WRONG[name]
    with pytest.raises(clv.BatchSettingsError) as error:
        clv.batch.read_settings(said)
    assert f"settings: {words}" in str(error.value)
    assert ": :" not in str(error.value) and "Value error" not in str(error.value)


@pytest.mark.parametrize("day", [AS_OF, date.fromisoformat(AS_OF), pd.Timestamp(AS_OF)])
def test_a_day_may_be_a_text_a_date_or_what_pandas_has(day: Any) -> None:
    assert clv.batch.read_settings({"input": {"as_of": day}}).input.as_of == date.fromisoformat(AS_OF)


def test_a_moment_is_no_day() -> None:
    with pytest.raises(clv.BatchSettingsError, match="input.as_of"):
        clv.batch.read_settings({"input": {"as_of": pd.Timestamp(AS_OF) + pd.Timedelta("3h")}})


def test_paths_are_looked_for_from_the_files_folder(tmp_path: Path) -> None:
    path = tmp_path / "jobs" / "clvforecast.toml"
    path.parent.mkdir()
    path.write_text('[input]\nevents = "e.csv"\naccounts = "/data/a.csv"\n[output]\nfolder = "out"\n')
    found = clv.batch.read_settings(path)
    assert found.input.events == (str(path.parent / "e.csv"),)
    assert found.input.accounts == "/data/a.csv"
    assert found.output.folder == str(path.parent / "out")


def test_queries_are_no_paths(tmp_path: Path) -> None:
    path = tmp_path / "clvforecast.toml"
    path.write_text('[input]\ndatabase = "URI"\nevents = "SELECT 1"\naccounts = "SELECT 2"\n')
    found = clv.batch.read_settings(path)
    assert (found.input.events, found.input.accounts) == (("SELECT 1",), "SELECT 2")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file beside what it needs."""
    events().to_csv(tmp_path / "events.csv", index=False)
    accounts().to_csv(tmp_path / "accounts.csv", index=False)
    posterior().save(tmp_path / "posterior.nc")
    path = tmp_path / "clvforecast.toml"
    path.write_text(
        f'[input]\nevents = "events.csv"\naccounts = "accounts.csv"\nas_of = {AS_OF}\n'
        '[posterior]\nfile = "posterior.nc"\n'
        "[forecast]\nhorizon_months = 12\ndraws = 20\n"
        "[watch]\naccounts = 50\nfail = true\n"
    )
    return path


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the command."""
    monkeypatch.setattr("sys.argv", ["clvforecast", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_command_makes_the_run_and_lists_it(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, "score", "--config", str(config), "--log", "json") == 0
    told = capsys.readouterr()
    assert [json.loads(line)["event"] for line in told.err.splitlines()][-1] == "done"
    assert called(monkeypatch, "runs", "--config", str(config)) == 0
    listed = capsys.readouterr().out
    (run_id,) = clv.batch.runs(config)["run_id"]
    assert run_id in told.out
    assert run_id in listed
    assert "current" in listed


def test_exit_codes_tell_a_scheduler_what_happened(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("score", "--config", str(config), "-q")
    with FileLock(config.parent / "scores" / ".lock"):
        assert called(monkeypatch, *asked) == 5
    assert called(monkeypatch, *asked, "--horizon", "3") == 2
    assert called(monkeypatch, *asked) == 0
    text = config.read_text()
    config.write_text(text.replace("draws", "drews"))
    assert called(monkeypatch, *asked) == 2
    assert "forecast.drews is not known" in capsys.readouterr().err
    config.write_text(text.replace("posterior.nc", "nowhere.nc"))
    assert called(monkeypatch, *asked) == 1
    config.write_text(text)
    found = clv.batch.score(config)
    slipped = {"checks": [{"slipped": True, "posterior": "one"}], "inputs": {"posterior": "one"}}
    for changed, code in (({"failed": 2}, 3), (slipped, 4)):
        run = run_module.Run({**found.manifest, **changed}, found.folder, is_new=True)
        monkeypatch.setattr("clvforecast.batch.score", lambda *args, run=run, **kwargs: run)
        assert called(monkeypatch, *asked) == code


IMPOSSIBLE = {
    "more draws than there are": ("draws = 20", "draws = 201", "forecast.draws = 201: the posterior holds 200 draws"),
    "a column that is not there": (
        "draws = 20",
        'draws = 20\ngroup_by = "plan"',
        "forecast.group_by: the accounts have no column 'plan'; they have segment",
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_posterior_and_accounts_cannot_give_is_told_before_the_work(
    name: str, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after, words = IMPOSSIBLE[name]
    config.write_text(config.read_text().replace(before, after))
    assert called(monkeypatch, "score", "--config", str(config), "-q") == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (config.parent / "scores" / "work").exists()


def test_a_posterior_that_is_not_there_is_told_before_the_events_are_read(config: Path) -> None:
    config.write_text(config.read_text().replace("posterior.nc", "nowhere.nc").replace("events.csv", "none.csv"))
    with pytest.raises(clv.PosteriorFileError, match="nowhere.nc"):
        clv.batch.score(config)


def test_a_posterior_may_be_a_path_and_streamed_events_none_of_python(config: Path) -> None:
    text = config.read_text()
    config.write_text(text.replace("posterior.nc", "nowhere.nc"))
    run = clv.batch.score(config, posterior=config.parent / "posterior.nc")
    config.write_text(text.replace("[input]", "[input]\nstream = true"))
    assert run.is_new
    with pytest.raises(clv.BatchSettingsError, match="input.stream reads files"):
        clv.batch.score(config, events=events())


def test_the_manifest_names_the_files_that_were_read(config: Path) -> None:
    files = clv.batch.score(config).manifest["inputs"]["files"]
    assert [(file["input"], Path(file["path"]).name) for file in files] == [
        ("events", "events.csv"),
        ("accounts", "accounts.csv"),
    ]
    for file in files:
        content = Path(file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def test_an_argument_that_is_needed_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, "score", "events.csv") == 2
    assert "--posterior, --output missing" in capsys.readouterr().err
    assert called(monkeypatch, "score", "events.csv", "--log", "json") == 2


def test_a_day_on_the_command_line_stands_for_the_files(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(monkeypatch, "score", "--config", str(config), "-q", "--as-of", "2023-05-31") == 0
    assert pd.Timestamp(clv.batch.runs(config)["as_of"].item()) == pd.Timestamp("2023-05-31")
