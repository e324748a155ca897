"""The command line: exit codes, messages, files; the models themselves are tested elsewhere."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest

import clvforecast as clv
from clvforecast import cli, posterior
from clvforecast.report import pack
from clvforecast.report.files import replacing
from clvforecast.report.pack import make_pack, write_pack

HEAVY = {"pymc", "pytensor", "arviz", "nutpie", "numba", "matplotlib", "pandas", "duckdb", "xarray", "scipy", "rich"}


@dataclass(frozen=True)
class Files:
    events: str
    accounts: str
    posterior: str


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A small synthetic company as files, with a posterior that is its prior (nothing to compile)."""
    folder = tmp_path_factory.mktemp("company")
    events, truth = clv.simulate_events(n_accounts=60, seed=3)
    events.to_csv(folder / "events.csv", index=False)
    truth.accounts.to_csv(folder / "accounts.csv", index=False)
    ledger = clv.read_ledger(folder / "events.csv", folder / "accounts.csv", as_of=truth.as_of)
    clv.prior(ledger, ["segment"], draws=50).save(folder / "posterior.nc")
    return Files(*(str(folder / name) for name in ("events.csv", "accounts.csv", "posterior.nc")))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["clvforecast", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.mark.parametrize("command", [[], ["validate"], ["fit"], ["score"], ["backtest"], ["account"], ["demo"]])
def test_help_tells_the_call_and_an_example(run, command: list[str]) -> None:
    outcome = run(*command, "--help")
    assert outcome.code == 0
    assert "Usage: clvforecast" in outcome.out
    if command:
        assert f"clvforecast {command[0]}" in outcome.out.split("Example:")[1]
    else:
        assert "Exit codes" in outcome.out


@pytest.mark.parametrize("module", ["clvforecast", "clvforecast.cli"])
def test_importing_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_public_names_are_there_and_forecast_is_the_function() -> None:
    code = (
        "import clvforecast as clv; from clvforecast.forecast import Forecast; assert callable(clv.forecast);"
        "import clvforecast.forecast; assert clv.forecast.__name__ == 'forecast' and clv.Forecast is Forecast;"
        "import clvforecast.plan_value, clvforecast.prospects; assert callable(clv.plan_value) and callable(clv.prospects);"
        "print(*(name for name in clv.__all__ if not hasattr(clv, name)))"
    )
    missing = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert missing.stdout.split() == []
    with pytest.raises(AttributeError, match="no attribute 'renew'"):
        clv.renew  # noqa: B018


# --- validate -----------------------------------------------------------------------------------------------


def test_validate_counts_rows_and_writes_the_rejected(run, files: Files, tmp_path: Path) -> None:
    events = pd.read_csv(files.events, dtype=str)
    events.loc[0, "amount"] = "12,5 USD"
    events.loc[1, "kind"] = "upsell"
    broken, rejected = tmp_path / "broken.csv", tmp_path / "new" / "rejected.csv"
    events.to_csv(broken, index=False)
    outcome = run("validate", str(broken), "--accounts", files.accounts, "--rejected", str(rejected))
    assert outcome.code == 0 and outcome.err == ""
    found = pd.read_csv(rejected)
    assert {"unknown_kind", "unreadable_amount"} <= set(found["rule"])
    for rule, rows in found["rule"].value_counts().items():
        (line,) = (line for line in outcome.out.splitlines() if line.strip().startswith(str(rule)))
        assert line.split()[1] == str(rows)
    difference = next(line for line in outcome.out.splitlines() if line.startswith("difference"))
    assert difference.split() == ["difference", "0", "0.00"]


def test_validate_writes_the_data_report(run, files: Files, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    outcome = run("validate", files.events, "--accounts", files.accounts, "--report", str(folder))
    assert outcome.code == 0, outcome.err
    names = ["booking.csv", "cohorts.csv", "ends.csv", "events.csv", "quality.csv", "recurring.csv", "report.png"]
    assert sorted(path.name for path in folder.iterdir()) == [f"data_{name}" for name in names]
    assert outcome.out.count("written: ") == 7
    assert pd.read_csv(folder / "data_events.csv")["rows"].sum() == len(pd.read_csv(files.events))


def test_validate_knows_only_what_was_booked(run, files: Files) -> None:
    outcome = run("validate", files.events, "--as-of", "2018-12-31")
    assert outcome.code == 0
    assert outcome.out.startswith("known on 2018-12-31, USD")
    later = next(line for line in outcome.out.splitlines() if line.startswith("later"))
    assert int(later.split()[1].replace(",", "")) > 0


def test_validate_reads_another_system_s_export_by_a_mapping(run, tmp_path: Path) -> None:
    export, mapping, rejected = tmp_path / "export.csv", tmp_path / "mapping.toml", tmp_path / "rejected.csv"
    export.write_text("customer,from,to,mrr\na,2024-01-01,,50\nb,2024-01-01,,free\n")
    mapping.write_text(
        'shape = "periods"\ncurrency = "USD"\nterm_months = 1\n'
        '[columns]\naccount_id = "customer"\nstart_date = "from"\nend_date = "to"\nmonthly_amount = "mrr"\n'
    )
    call = ["validate", str(export), "--mapping", str(mapping), "--rejected", str(rejected)]
    outcome = run(*call, "--as-of", "2024-03-15")
    assert outcome.code == 0, outcome.err
    assert pd.read_csv(rejected)[["row", "column", "value", "rule"]].values.tolist() == [
        [2, "mrr", "free", "unreadable_amount"]
    ]
    outcome = run(*call)
    assert outcome.code == 1 and "give as_of" in outcome.err


def test_validate_tells_a_format_by_its_columns(run, tmp_path: Path) -> None:
    export, rates, rejected = tmp_path / "export.csv", tmp_path / "rates.csv", tmp_path / "rejected.csv"
    export.write_text(
        "subscription_id,customer_id,start_date,end_date,monthly_amount,currency\n"
        "1,a,2024-01-01,,50,EUR\n2,b,2024-01-01,,80,GBP\n3,c,2024-01-01,,80,EUR\n3,c,2024-01-01,,,EUR\n"
    )
    outcome = run("validate", str(export), "--as-of", "2024-01-15")
    assert outcome.code == 1 and "one ledger has one reporting currency" in outcome.err
    rates.write_text("date,currency,rate\n2024-01-01,EUR,1.1\n")
    call = ["validate", str(export), "--as-of", "2024-01-15", "--rates", str(rates), "--currency", "USD"]
    outcome = run(*call, "--rejected", str(rejected))
    assert outcome.code == 0, outcome.err
    assert "export: read as periods" in outcome.out
    used = next(line for line in outcome.out.splitlines() if line.startswith("used"))
    assert used.split() == ["used", "EUR", "2", "130.00"]
    found = pd.read_csv(rejected)
    assert found[["line", "rule", "raw"]].values.tolist() == [
        [5, "missing_amount", "3,c,2024-01-01,,,EUR"],
        [3, "missing_rate", "2,b,2024-01-01,,80,GBP"],
    ]
    assert run(*call, "--max-rejected", "40%").code == 1
    named = run("validate", str(export), "--format", "stripe", "--as-of", "2024-01-15")
    assert named.code == 1 and "no table of stripe" in named.err
    both = run("validate", str(export), "--format", "stripe", "--mapping", "m.toml")
    assert both.code == 2


def test_validate_can_be_quiet(run, tmp_path: Path) -> None:
    export = tmp_path / "export.csv"
    export.write_text(
        "subscription_id,customer_id,start_date,end_date,monthly_amount\n1,a,2024-01-01,,50\n2,b,soon,,80\n"
    )
    outcome = run("validate", str(export), "--currency", "USD", "--as-of", "2024-01-15", "-q")
    assert (outcome.code, outcome.out) == (0, "")
    assert "warning: export: 1 of 2 rows set aside (unreadable_start 1)" in outcome.err


def test_validate_writes_the_reasons_where_no_row_can_be_used(run, tmp_path: Path) -> None:
    export, rejected = tmp_path / "export.csv", tmp_path / "rejected.csv"
    export.write_text(
        "subscription_id,customer_id,start_date,end_date,monthly_amount\n1,,2024-01-01,,50\n2,b,soon,,80\n"
    )
    outcome = run("validate", str(export), "--currency", "USD", "--as-of", "2024-01-15", "--rejected", str(rejected))
    assert outcome.code == 1 and "none of 2 rows can be used" in outcome.err
    assert pd.read_csv(rejected)["rule"].tolist() == ["missing_account", "unreadable_start"]


def test_too_many_rejected_rows_fail_before_any_fit(run, files: Files, tmp_path: Path) -> None:
    events = pd.read_csv(files.events, dtype=str)
    events.loc[: len(events) // 50, "amount"] = "=1+1"
    broken, rejected = tmp_path / "broken.csv", tmp_path / "rejected.csv"
    events.to_csv(broken, index=False)
    call = [str(broken), "--accounts", files.accounts]
    outcome = run("validate", *call, "--max-rejected", "1%", "--rejected", str(rejected))
    assert outcome.code == 1 and "more than 1%" in outcome.err and "unreadable_amount" in outcome.err
    assert set(pd.read_csv(rejected)["value"]) >= {"'=1+1"}, "a spreadsheet would run the value as it stands"
    assert run("validate", *call, "--max-rejected", "90%").code == 0
    for command in (
        ["fit", *call, "-o", "p.nc"],
        ["score", *call, "--posterior", files.posterior, "-o", str(tmp_path / "s")],
    ):
        outcome = run(*command, "--max-rejected", "0.5%")
        assert outcome.code == 1 and "more than 0.5%" in outcome.err
    assert not (tmp_path / "s").exists()
    assert run("validate", *call, "--max-rejected", "2").code == 2


# --- fit ----------------------------------------------------------------------------------------------------


def test_fit_passes_its_settings_on_and_saves(run, files: Files, tmp_path: Path, monkeypatch) -> None:
    asked: dict[str, object] = {}

    def quick_fit(ledger: clv.Ledger, segments: list[str], **settings: object) -> clv.Posterior:
        asked.update(settings, segments=segments, as_of=str(ledger.as_of))
        return clv.prior(ledger, segments, draws=50)

    monkeypatch.setattr(posterior, "fit", quick_fit)
    output = tmp_path / "new" / "posterior.nc"
    call = ["fit", files.events, "--accounts", files.accounts, "--segments", "segment, ", "-o", str(output)]
    outcome = run(*call, "--as-of", "2022-12-31", "--seed", "3", "--draws", "20", "--tune", "30", "--chains", "2")
    assert outcome.code == 0, outcome.err
    assert asked == {
        "segments": ["segment"],
        "as_of": "2022-12-31",
        "seed": 3,
        "draws": 20,
        "tune": 30,
        "chains": 2,
        "progress": False,
    }
    assert "renewal_mu" in outcome.out and str(output) in outcome.out
    assert clv.load_posterior(output).frame.segments == ("segment",)
    assert run(*call, "--quiet").out == ""


# --- score --------------------------------------------------------------------------------------------------


def score(run, files: Files, output: Path, *more: str) -> Outcome:
    call = ["score", files.events, "--accounts", files.accounts, "--posterior", files.posterior]
    return run(*call, "-o", str(output), "--horizon", "18", "--draws", "40", *more)


def test_score_writes_accounts_and_portfolio(run, files: Files, tmp_path: Path) -> None:
    outcome = score(run, files, tmp_path / "a", "--ci-prob", "0.8", "--by", "segment", "--freq", "YE-JUN")
    assert outcome.code == 0, outcome.err
    assert "80% range (eti)" in outcome.out
    accounts = pd.read_parquet(tmp_path / "a" / "accounts.parquet")
    assert accounts["account_id"].is_unique and accounts["account_id"].is_monotonic_increasing
    assert set(accounts["ci_prob"]) == {0.8}
    described = json.loads(pq.read_schema(tmp_path / "a" / "accounts.parquet").metadata[b"clvforecast"])
    assert described["settings"]["horizon_months"] == 18 and described["currency"] == "USD"
    portfolio = pd.read_csv(tmp_path / "a" / "portfolio.csv")
    assert set(portfolio.loc[portfolio["by"] == "segment", "segment"]) == set(accounts["segment"])
    assert portfolio["period"].str.endswith("-06-30").all()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["accounts.parquet", "portfolio.csv"]


def test_the_same_call_writes_the_same_bytes(run, files: Files, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        outcome = score(run, files, tmp_path / folder, "--quiet")
        assert (outcome.code, outcome.out) == (0, "")
    for name in ("accounts.parquet", "portfolio.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_origins_add_up_to_the_portfolio(run, files: Files, tmp_path: Path) -> None:
    assert score(run, files, tmp_path / "whole").code == 0
    assert score(run, files, tmp_path / "origin", "--by", "origin").code == 0
    whole = pd.read_csv(tmp_path / "whole" / "portfolio.csv").set_index("period")["mean"]
    both = pd.read_csv(tmp_path / "origin" / "portfolio.csv")
    origins = both[both["by"] == "origin"].groupby("period")["mean"].sum()
    assert origins.to_numpy() == pytest.approx(whole.to_numpy(), abs=0.05)


# --- what goes wrong ----------------------------------------------------------------------------------------


def test_data_that_cannot_be_used_ends_with_1_and_says_why(run, files: Files, tmp_path: Path) -> None:
    calls = {
        "no file matches": ["validate", str(tmp_path / "none.csv")],
        "no event is booked by": ["validate", files.events, "--as-of", "1999-01-01"],
        "posterior": ["score", files.events, "--posterior", str(tmp_path / "none.nc"), "-o", str(tmp_path / "out")],
        "no column 'colour'": ["score", files.events, "--posterior", files.posterior, "-o", str(tmp_path / "out")]
        + ["--accounts", files.accounts, "--by", "colour"],
    }
    for message, call in calls.items():
        outcome = run(*call)
        assert outcome.code == 1, call
        assert outcome.out == "" and "Traceback" not in outcome.err
        assert outcome.err.startswith("clvforecast: ") and message in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_ends_with_1(run, files: Files, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file, where a folder is asked for")
    outcome = score(run, files, taken)
    assert outcome.code == 1 and outcome.err.startswith(f"clvforecast: {taken}")


@pytest.mark.parametrize(
    "call",
    [
        ["score", "events.csv"],
        ["fit", "events.csv"],
        ["forecast", "events.csv"],
        ["validate", "events.csv", "--as-of", "30.06.2024"],
        ["fit", "events.csv", "-o", "p.nc", "--chains", "1"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", "d", "--horizon", "0"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", "d", "--ci-prob", "90"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", "d", "--margin", "0"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", "d", "--freq", "Q"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", "d", "--timing", "cash"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", "d", "--billing", "annual"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", "d", "--payment-days", "30"],
        ["report", "events.csv", "--posterior", "p.nc"],
        ["report", "events.csv", "--posterior", "p.nc", "-o", "d", "--weeks", "4-4-4"],
        ["report", "events.csv", "--posterior", "p.nc", "-o", "d", "--fiscal-start", "13"],
        ["report", "events.csv", "--posterior", "p.nc", "-o", "d", "--pending", "open"],
        ["report", "events.csv", "--posterior", "p.nc", "-o", "d", "--reliability", "r.clv"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", "d", "--reliability", "r.clv"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", "d", "--by", "origin,plan"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", "d", "--plan-outcomes", "o.csv"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", "d", "--fiscal-start", "13"],
        ["account", "A000001", "events.csv", "--posterior", "p.nc", "--reliability", "r.clv"],
        ["account", "A000001"],
        ["account", "A000001", "events.csv"],
        ["account", "A000001", "events.csv", "--posterior", "p.nc", "-o", "picture.pdf"],
        ["account", "A000001", "events.csv", "--posterior", "p.nc", "--fiscal-start", "13"],
        ["backtest", "events.csv", "--origins", "30/06/2016"],
        ["backtest", "events.csv", "--origins", ","],
    ],
    ids=" ".join,
)
def test_a_wrong_call_ends_with_2(run, call: list[str]) -> None:
    outcome = run(*call)
    assert outcome.code == 2
    assert "Usage: clvforecast" in outcome.err and "--help" in outcome.err.replace("-h'", "--help'")


@pytest.mark.parametrize(
    "call",
    [
        ["validate", ""],
        *(["validate", "events.csv", option, ""] for option in ("--accounts", "--mapping", "--rates", "--rejected")),
        ["validate", "events.csv", "--report", ""],
        ["fit", "events.csv", "-o", ""],
        ["score", "events.csv", "--posterior", "", "-o", "d"],
        ["score", "events.csv", "--posterior", "p.nc", "-o", " "],
        *(["score", "events.csv", "--posterior", "p.nc", "-o", "d", option, ""] for option in ("--save", "--plans")),
        ["report", "events.csv", "--posterior", "p.nc", "-o", ""],
        *(
            ["report", "events.csv", "--posterior", "p.nc", "-o", "d", option, ""]
            for option in ("--plans", "--reliability", "--scenarios")
        ),
        ["account", "A000001", "events.csv", "--posterior", "p.nc", "-o", ""],
        ["backtest", "events.csv", "--origins", "2020-12-31", "-o", ""],
        ["demo", "-o", ""],
    ],
    ids=" ".join,
)
def test_an_empty_path_is_a_wrong_call(run, call: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a variable that is not set: nothing is written into the folder that the command happens to run in."""
    monkeypatch.chdir(tmp_path)
    Path("events.csv").write_text(
        "account_id,event_date,kind,amount,currency,term_months\na,2024-01-01,initial,5,USD,12\n"
    )
    outcome = run(*call)
    assert outcome.code == 2 and "the path is empty" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["events.csv"]


def test_what_cannot_be_written_is_told_before_the_work(run, files: Files, tmp_path: Path) -> None:
    """Before anything is read: the posterior is not there either."""
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "forecast.xlsx").mkdir()
    (tmp_path / "file").write_text("")
    given = [files.events, "--posterior", str(tmp_path / "none.nc")]
    for call, path in (
        (["report", *given, "-o", str(taken)], taken / "forecast.xlsx"),
        (["report", *given, "-o", str(tmp_path / "file" / "pack")], tmp_path / "file" / "pack" / "forecast.xlsx"),
        (["score", *given, "-o", str(tmp_path / "new"), "--save", str(taken)], taken),
        (["fit", files.events, "-o", str(taken)], taken),
        (
            ["backtest", "none.csv", "--origins", "2020-12-31", "-o", str(tmp_path / "file")],
            tmp_path / "file" / "backtest.png",
        ),
        (["demo", "-o", str(tmp_path / "file")], tmp_path / "file" / "posterior.nc"),
    ):
        outcome = run(*call)
        assert outcome.code == 1 and outcome.err.startswith(f"clvforecast: {path}: "), outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


def test_a_path_of_the_wrong_kind_says_which_is_asked_for(run, files: Files, tmp_path: Path) -> None:
    folder, file, learned = tmp_path / "folder", tmp_path / "file", tmp_path / "reliability.clv"
    folder.mkdir()
    file.write_text("")
    clv.PlanReliability.prior(draws=20).save(learned)
    given = [files.events, "--posterior", files.posterior]
    of_plans = ["--plans", str(file), "--reliability", files.posterior]
    for call, words in (
        (["score", *given, "-o", str(file)], f"{file} is a file, where a folder is asked for"),
        (["report", *given, "-o", str(file / "pack")], f"{file} is a file, where a folder is asked for"),
        (["validate", files.events, "--report", str(file)], f"{file} is a file, where a folder is asked for"),
        (["validate", files.events, "--rejected", str(folder)], "is a folder, where a file is asked for"),
        (["fit", files.events, "-o", str(folder)], "is a folder, where a file is asked for"),
        (["score", files.events, "--posterior", str(folder), "-o", "d"], f"{folder}: a folder, not a file"),
        (
            ["score", files.events, "--posterior", str(learned), "-o", str(tmp_path / "out")],
            "it is the reliability of plans, as PlanReliability.save writes it, not a posterior, as `clvforecast fit`",
        ),
        (
            ["score", *given, *of_plans, "-o", str(tmp_path / "out")],
            "it is a posterior, as `clvforecast fit` writes it, not the reliability of plans",
        ),
    ):
        outcome = run(*call)
        assert outcome.code == 1 and outcome.out == "" and words in outcome.err, outcome.err
    for day in ("30.06.2024", "2024-02-30"):
        assert f"{day!r} is not a day as YYYY-MM-DD; for example" in run("validate", files.events, "--as-of", day).err


def test_a_library_that_is_not_there_is_told_before_the_work(
    run, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    outcome = run("report", files.events, "--posterior", str(tmp_path / "none.nc"), "-o", str(tmp_path / "pack"))
    assert (
        outcome.code == 1
        and "xlsxwriter is needed" in outcome.err
        and "python -m pip install xlsxwriter" in outcome.err
    )
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize(
    "call", [["--help"], ["validate", "EVENTS"], ["validate", "EVENTS", "--report", "REPORT"]], ids=" ".join
)
def test_a_reader_who_goes_away_ends_nothing(files: Files, call: list[str], tmp_path: Path) -> None:
    """As `clvforecast ... | head -1` does, once it has its line: no complaint, and files are written all the same."""
    named = {"EVENTS": files.events, "REPORT": str(tmp_path / "report")}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "clvforecast", *(named.get(word, word) for word in call)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "report" / "data_report.png").exists() == ("--report" in call)


def test_a_file_that_cannot_be_written_is_named_and_other_errors_keep_their_words(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError) as caught, replacing(tmp_path / "taken") as temporary:
        temporary.write_text("content")
    assert caught.value.filename == str(tmp_path / "taken")
    with pytest.raises(OSError, match="no such compression"), replacing(tmp_path / "file"):
        raise OSError("no such compression")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]


# --- account ------------------------------------------------------------------------------------------------


def account(run, files: Files, account_id: str, *more: str) -> Outcome:
    call = ["account", account_id, files.events, "--accounts", files.accounts, "--posterior", files.posterior]
    return run(*call, "--horizon", "18", "--draws", "40", *more)


def test_account_prints_what_score_says_of_it_and_draws_it(run, files: Files, tmp_path: Path) -> None:
    assert score(run, files, tmp_path / "s").code == 0
    scored = pd.read_parquet(tmp_path / "s" / "accounts.parquet")
    row = scored[scored["p_next_renewal"].notna() & scored["from_renewal"].gt(0)].iloc[0]
    picture = tmp_path / "new" / "account.png"
    outcome = account(run, files, row["account_id"], "--fiscal-start", "7", "-o", str(picture))
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == row["account_id"] and f"segment: {row['segment']}" in lines[1]
    low, high = row["p_next_renewal_q05"], row["p_next_renewal_q95"]
    assert f"{row['p_next_renewal']:.0%} probable (90% range {low:.0%} to {high:.0%})" in outcome.out
    (whole,) = (line.split() for line in lines if line.startswith("18 months ") and "from" not in line)
    assert whole[2].startswith("2025-06-")
    # one unit for all of its money
    unit = {"thousand": 1e3, "million": 1e6}.get(
        next(line for line in lines if line.startswith("so far")).split()[-1], 1.0
    )
    assert float(whole[3].replace(",", "")) * unit == pytest.approx(row["q50"], abs=0.51 * max(unit / 10, 1))
    assert "what drives it" in outcome.out and str(picture) in lines[-1]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_account_tells_its_plan_by_step(run, files: Files, tmp_path: Path) -> None:
    assert score(run, files, tmp_path / "s").code == 0
    scored = pd.read_parquet(tmp_path / "s" / "accounts.parquet")
    account_id = scored.loc[scored["from_renewal"].idxmax(), "account_id"]
    plans = tmp_path / "plans.csv"
    plans.write_text(
        "account_id,planned_date,kind,amount,probability\n"
        f"{account_id},2024-04-01,expansion,5000,0.7\n{account_id},2024-06-01,change_order,800,\nnobody,2024-04-01,expansion,1,\n"
    )
    outcome = account(run, files, account_id, "--plans", str(plans))
    assert outcome.code == 0, outcome.err
    told = outcome.out.split("the plan, ")[1].splitlines()
    assert told[2].startswith("expansion") and "2024-04-01" in told[2] and "70%" in told[2]
    assert told[3].startswith("change order") and "Its plan (2 open steps)" in outcome.out
    assert "unknown_account" in outcome.err
    assert "the plan" not in account(run, files, account_id).out


def test_account_that_is_not_there_ends_with_1_and_the_nearest(run, files: Files) -> None:
    outcome = account(run, files, "a00001")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no account 'a00001'" in outcome.err and "near are 'A00001" in outcome.err


def test_score_has_the_years_of_the_fiscal_calendar(run, files: Files, tmp_path: Path) -> None:
    def years(name: str, *more: str) -> pd.DataFrame:
        assert score(run, files, tmp_path / name, "--freq", "YE", "-q", *more).code == 0
        return pd.read_csv(tmp_path / name / "portfolio.csv")

    plain, july = years("plain"), years("july", "--fiscal-start", "7")
    assert plain["label"].str.startswith("FY").all() and set(plain["period"].str[5:]) == {"12-31"}
    assert july["label"].str.startswith("FY").all() and set(july["period"].str[5:]) == {"06-30"}
    assert july["mean"].sum() == pytest.approx(plain["mean"].sum(), abs=0.05)  # cents, rounded by period
    outcome = score(run, files, tmp_path / "told", "--fiscal-start", "7")
    assert not outcome.out.startswith("\n") and "FY24 Q3" in outcome.out


def test_score_counts_cash(run, files: Files, tmp_path: Path) -> None:
    call = ["score", files.events, "--accounts", files.accounts, "--posterior", files.posterior, "-o", str(tmp_path)]
    outcome = run(*call, "--draws", "20", "--timing", "cash", "--billing", "annual", "--payment-days", "45")
    assert outcome.code == 0 and "payments of 60 accounts after" in outcome.out
    assert set(pd.read_csv(tmp_path / "portfolio.csv")["timing"]) == {"cash"}
    metadata = json.loads(pq.read_schema(tmp_path / "accounts.parquet").metadata[b"clvforecast"])
    assert metadata["settings"]["timing"] == "cash" and metadata["settings"]["payment_days"] == 45
    assert "paid_to_date" in pq.read_schema(tmp_path / "accounts.parquet").names


# --- report -------------------------------------------------------------------------------------------------


def test_report_writes_a_workbook_and_a_page_of_the_same_forecast(run, files: Files, tmp_path: Path) -> None:
    scenarios, plans = tmp_path / "scenarios.toml", tmp_path / "plans.csv"
    scenarios.write_text('[[scenario]]\nname = "Fewer renew"\n[[scenario.assume]]\nrenewal_points = -0.05\n')
    ledger = clv.read_ledger(files.events, files.accounts)
    account_id = ledger.accepted["account_id"].iloc[-1]
    planned = ledger.as_of + timedelta(days=60)
    plans.write_text(
        f"account_id,planned_date,kind,amount,probability\n{account_id},{planned},expansion,1000,0.8\n"
        f"{account_id},{planned},expansion,1000,80\n"
    )
    call = ["report", files.events, "--accounts", files.accounts, "--posterior", files.posterior, "--draws", "40"]
    outcome = run(
        *call, "--scenarios", str(scenarios), "--plans", str(plans), "--fiscal-start", "7", "-o", str(tmp_path / "pack")
    )
    assert outcome.code == 0
    assert "row 2: probability '80': invalid_probability" in outcome.err
    assert sorted(path.name for path in (tmp_path / "pack").iterdir()) == ["forecast.html", "forecast.xlsx"]
    assert "24 months" in outcome.out and "FY" in outcome.out
    made = clv.forecast(
        clv.load_posterior(files.posterior),
        ledger,
        24,
        draws=40,
        bridge=True,
        calendar=clv.FiscalCalendar(7),
        plans=clv.read_plans(plans, ledger),
    )
    sheet = openpyxl.load_workbook(tmp_path / "pack" / "forecast.xlsx", data_only=True)
    assert {"Summary", "Bridge", "Segments", "Accounts", "Plans", "Scenarios"} <= set(sheet.sheetnames)
    values = {cell for row in sheet["Accounts"].iter_rows(values_only=True) for cell in row if isinstance(cell, float)}
    largest = float(made.accounts()["mean"].max())
    assert any(math.isclose(value, largest, abs_tol=0.005) for value in values)
    page = (tmp_path / "pack" / "forecast.html").read_text(encoding="utf-8")
    assert account_id in page and "Fewer renew" in page


def test_report_counts_open_renewals_as_it_is_asked(run, files: Files, tmp_path: Path) -> None:
    call = ["report", files.events, "--accounts", files.accounts, "--posterior", files.posterior, "--draws", "20", "-q"]
    assert run(*call, "--pending", "lapsed", "-o", str(tmp_path)).code == 0
    page = (tmp_path / "forecast.html").read_text(encoding="utf-8")
    assert "counts as lapsed from the end of its term, in past periods too" in page


def test_a_pack_is_both_files_or_neither(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = clv.read_ledger(files.events, files.accounts)
    made = make_pack(clv.load_posterior(files.posterior), ledger, horizon_months=6, draws=10)
    for name in ("write_workbook", "write_page"):
        with monkeypatch.context() as patched:
            patched.setattr(pack, name, lambda *_, **__: (_ for _ in ()).throw(clv.ForecastError("no room")))
            with pytest.raises(clv.ForecastError):
                write_pack(made, tmp_path / "pack")
        assert list((tmp_path / "pack").iterdir()) == []
    assert write_pack(made, tmp_path / "pack") == sorted((tmp_path / "pack").iterdir(), reverse=True)


# --- plans of every night -----------------------------------------------------------------------------------

PLAN_HEAD = "account_id,planned_date,kind,amount,probability\n"


def test_score_has_the_plans_in_it_and_says_so(run, files: Files, tmp_path: Path) -> None:
    account_id = clv.read_ledger(files.events, files.accounts).accepted["account_id"].iloc[-1]
    plans, learned = tmp_path / "plans.csv", tmp_path / "reliability.clv"
    plans.write_text(f"{PLAN_HEAD}{account_id},2024-03-01,expansion,100000,0.9\n{account_id},2024-03-01,upsell,1,\n")
    clv.PlanReliability.prior(draws=20).save(learned)
    assert score(run, files, tmp_path / "without").code == 0
    outcome = score(run, files, tmp_path / "with", "--plans", str(plans), "--reliability", str(learned))
    assert outcome.code == 0 and "row 2: kind 'upsell': unknown_kind" in outcome.err
    added = [
        pd.read_parquet(tmp_path / name / "accounts.parquet").set_index("account_id")["mean"]
        for name in ("without", "with")
    ]
    assert (added[1] - added[0])[account_id] > 10_000
    said = json.loads(pq.read_schema(tmp_path / "with" / "accounts.parquet").metadata[b"clvforecast"])
    assert said["settings"]["plans"].startswith("1 of 1 steps open; ") and "plans" in said["policies"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", "plans: the table holds no rows"),
        ("nobody,2024-03-01,expansion,1,\n", "1 of 1 rows rejected (unknown_account 1). The first is row 1 of "),
        ("{account},2023-03-01,expansion,1,\n", "plans: none of the 1 steps is open on 2023-12-29 (missed 1)"),
    ],
)
def test_a_night_without_a_usable_plan_is_a_forecast_without_plans(
    run, files: Files, tmp_path: Path, rows: str, words: str
) -> None:
    account_id = clv.read_ledger(files.events, files.accounts).accepted["account_id"].iloc[-1]
    (tmp_path / "plans.csv").write_text(PLAN_HEAD + rows.format(account=account_id))
    assert score(run, files, tmp_path / "without").code == 0
    outcome = score(run, files, tmp_path / "with", "--plans", str(tmp_path / "plans.csv"), "-q")
    assert outcome.code == 0 and words in outcome.err and "the forecast is made without them" in outcome.err
    for name in ("accounts.parquet", "portfolio.csv"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


def short_forecast(files: Files) -> list[str]:
    """Of `report`, `score` and `account`: what to forecast, over half a year."""
    given = ["--accounts", files.accounts, "--posterior", files.posterior]
    return [str(files.events), *map(str, given), "--horizon", "6", "--draws", "10"]


ROWS_OF_PLANS = """{a},2024-03-01,expansion,100000,0.9,
{a},2023-03-01,expansion,100000,0.9,
{a},2024-04-01,expansion,5,0.9,2024-01-15
{a},1999-03-01,expansion,5,0.9,
{a},2024-03-01,expansion,100000,0.9,
{a},2024-03-01,upsell,1,,
"""


@pytest.mark.parametrize("command", ["score", "report", "account"])
def test_what_became_of_every_row_of_a_plan_file_is_told(run, files: Files, tmp_path: Path, command: str) -> None:
    account_id = clv.read_ledger(files.events, files.accounts).accepted["account_id"].iloc[-1]
    plans, written, learned = (tmp_path / name for name in ("plans.csv", "outcomes.csv", "reliability.clv"))
    plans.write_text(PLAN_HEAD.replace("\n", ",recorded_on\n") + ROWS_OF_PLANS.format(a=account_id))
    given = short_forecast(files)
    call = [command, *([account_id] if command == "account" else []), *given, "--plans", str(plans)]
    call += [] if command == "account" else ["-o", str(tmp_path / "out")]
    outcome = run(*call, "--plan-outcomes", str(written))
    assert outcome.code == 0
    counted = re.findall(r"^(open|hit|missed|not yet written|not covered) +(\d+)  ", outcome.out, flags=re.MULTILINE)
    assert [number for _, number in counted] == ["1", "0", "1", "1", "1"]
    for told in (f"missed: {account_id} expansion 2023-03-01", f"not covered: {account_id} expansion 1999-03-01"):
        assert told in outcome.out
    assert "2 of 6 rows rejected (repeated_step 1, unknown_kind 1)" in outcome.err
    assert "  row 5: " in outcome.err and "  row 6: kind 'upsell': unknown_kind" in outcome.err
    table = pd.read_csv(written)
    assert table["outcome"].value_counts().to_dict() == {
        **dict.fromkeys(("open", "missed", "not yet written", "not covered"), 1), "rejected": 2,
    }  # fmt: skip
    assert pd.read_csv(written, dtype=str)["row"].dropna().tolist() == ["5", "6"]
    assert re.search(r"^planned steps.* on 2023-12-29: 4, and 2 rows (of the file )?rejected$", outcome.out, flags=re.M)
    assert table["row"].dropna().tolist() == [5, 6] and table["rule"].dropna().tolist() == [
        "repeated_step",
        "unknown_kind",
    ]
    assert re.search(r"no record of past plans.*stated 90% counts as (7|8)\d%.*--reliability FILE", outcome.err)
    clv.PlanReliability.prior(60, 200, draws=20).save(learned)  # with other days than read_plans takes by itself
    assert "no record" in run(*call, "--reliability", str(learned)).err


def test_a_pack_shows_the_rejected_rows_of_plans_without_an_open_step(run, files: Files, tmp_path: Path) -> None:
    account_id = clv.read_ledger(files.events, files.accounts).accepted["account_id"].iloc[-1]
    given = short_forecast(files)
    missed = "1 step of plans read, none open on 2023-12-29 (missed 1): the forecast is made without plans."
    for name, row, words in (
        ("missed", f"{account_id},2023-03-01,expansion,1,\n", missed),
        ("none", "", "No row of the plans can be used as a step"),
    ):
        plans, pack = tmp_path / f"{name}.csv", tmp_path / name
        plans.write_text(f"{PLAN_HEAD}{row}nobody,2024-03-01,expansion,1,\n")
        outcome = run("report", *given, "--plans", str(plans), "-o", str(pack), "-q")
        assert outcome.code == 0 and outcome.out == "" and "forecast is made without them" in outcome.err
        assert all(line.startswith("warning: ") for line in outcome.err.splitlines()), outcome.err
        page = (pack / "forecast.html").read_text(encoding="utf-8")
        assert "nobody" in page and "plans.rejected" not in page and "give write_page a plan_table" not in page
        found = openpyxl.load_workbook(pack / "forecast.xlsx")["Data quality"].iter_rows(values_only=True)
        sheet = "\n".join(str(value) for row in found for value in row if value is not None)
        assert "plans.rejected" not in sheet and "see the rejected rows" in sheet
        assert words in page.partition("Not on this page")[2] and words in sheet


def test_a_plans_file_of_another_form_ends_with_1(run, files: Files, tmp_path: Path) -> None:
    (tmp_path / "plans.csv").write_text("account,day\na,2024-01-01\n")
    outcome = score(run, files, tmp_path / "scores", "--plans", str(tmp_path / "plans.csv"))
    assert outcome.code == 1 and "no column account_id" in outcome.err


def test_an_overdue_renewal_of_a_plan_is_told_of(run, tmp_path: Path) -> None:
    """Its contract ended before the step's window: the model decides it, not the plan."""
    head = "account_id,event_date,kind,amount,currency,term_months\n"
    (tmp_path / "events.csv").write_text(f"{head}a,2022-05-01,initial,1200,USD,12\nb,2023-06-01,initial,1200,USD,12\n")
    (tmp_path / "plans.csv").write_text(f"{PLAN_HEAD}a,2023-09-15,renewal,,0.9\nb,2024-05-31,renewal,,0.9\n")
    ledger = clv.read_ledger(tmp_path / "events.csv", as_of="2023-06-30")
    clv.prior(ledger, draws=10).save(tmp_path / "posterior.nc")
    given = [str(tmp_path / "events.csv"), "--posterior", str(tmp_path / "posterior.nc"), "--as-of", "2023-06-30"]
    plans = [
        "--plans",
        str(tmp_path / "plans.csv"),
        "--draws",
        "10",
        "--horizon",
        "12",
        "-q",
        "-o",
        str(tmp_path / "out"),
    ]
    for command in ("score", "report"):
        outcome = run(command, *given, *plans)
        assert outcome.code == 0
        assert "1 of 2 open steps: the contract ended before the step's window" in outcome.err
        assert "(a renewal 2023-09-15)" in outcome.err


def test_report_names_the_place_of_a_wrong_scenario(run, files: Files, tmp_path: Path) -> None:
    (tmp_path / "scenarios.toml").write_text('[[scenario]]\nname = "x"\n[[scenario.assume]]\nrenewal = 0.5\n')
    call = ["report", files.events, "--posterior", files.posterior, "-o", str(tmp_path / "pack")]
    outcome = run(*call, "--scenarios", str(tmp_path / "scenarios.toml"))
    assert outcome.code == 1 and "scenario 1, assume: 'renewal' is not known" in outcome.err


# --- backtest -----------------------------------------------------------------------------------------------


def test_backtest_prints_its_headline_and_writes_its_files(
    run, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the prior in the fit's place: what is printed and written, not how good it is."""

    def quick(ledger, segments, **settings):
        return posterior.prior(ledger, segments, draws=20)

    monkeypatch.setattr(import_module("clvforecast.backtest"), "fit", quick)
    output = tmp_path / "out"
    outcome = run(
        "backtest", files.events, "--accounts", files.accounts, "--segments", "segment", "--origins",
        "2021-12-31,2022-11-30", "--horizon", "12", "--draws", "20", "-o", str(output),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "12 months, skill over the best baseline: log-CRPS" in outcome.out
    assert "portfolio totals lay inside their 95% range" in outcome.out
    assert "portfolio totals beside what happened" in outcome.out and "2022-11-30" in outcome.out
    assert sorted(path.name for path in output.iterdir()) == [
        "backtest.png", "backtest_accounts.parquet", "backtest_scores.csv", "backtest_totals.csv",
    ]  # fmt: skip


def test_backtest_says_what_is_wrong_with_its_origins(run, files: Files, tmp_path: Path) -> None:
    outcome = run("backtest", files.events, "--origins", "2090-01-01", "-o", str(tmp_path / "out"))
    assert outcome.code == 1 and "Give earlier origins" in outcome.err
