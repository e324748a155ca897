"""The README says what is so: its help texts, its tables, and its Python run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import clvforecast as clv
from clvforecast.events import COLUMNS, KINDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
HELP = [text for language, text in BLOCKS if language == "text" and "--help" in text.splitlines()[0]]
PYTHON = [text for language, text in BLOCKS if language == "python"]
TOML = [text for language, text in BLOCKS if language == "toml"]


@pytest.mark.parametrize("block", HELP, ids=lambda block: block.splitlines()[0])
def test_help_is_what_the_command_prints(block: str) -> None:
    call, expected = block.split("\n", 1)
    arguments = call.removeprefix("$ clvforecast").split()
    code = "from clvforecast.cli import main; main()"
    printed = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert printed.stdout.rstrip() == expected.rstrip()


def test_the_mapping_reads_the_export_it_speaks_of(tmp_path: Path) -> None:
    path = tmp_path / "subscriptions.toml"
    path.write_text(TOML[0], encoding="utf-8")
    export = pd.DataFrame(
        [
            ["a", "s1", "01/02/2023", None, "1,200", "year", "active"],
            ["b", "s2", "13/02/2023", "13/04/2023", "90", "month", "ended"],
        ],
        columns=["customer", "subscription", "from", "to", "price", "interval", "status"],
    )
    ledger = clv.read_export(export, path, as_of="2024-06-30")
    assert ledger.rejected["rule"].tolist() == ["unreadable_amount"]  # a comma is no sign of a number unless it is said
    assert ledger.accepted["kind"].tolist() == ["initial", "renewal", "churn"]


def test_the_scenarios_are_read(tmp_path: Path) -> None:
    (tmp_path / "scenarios.toml").write_text(TOML[1], encoding="utf-8")
    (scenario,) = clv.read_scenarios(tmp_path / "scenarios.toml")
    assert scenario.assumptions[0].renewal_points == -0.05 and scenario.assumptions[0].where == {"segment": "pro"}


def test_the_settings_of_a_run_are_read(tmp_path: Path) -> None:
    (tmp_path / "clvforecast.toml").write_text(TOML[2], encoding="utf-8")
    settings = clv.batch.read_settings(tmp_path / "clvforecast.toml")
    assert settings.input.events == (str(tmp_path / "events.csv"),) and settings.posterior.refit == "drift"


def test_there_is_help_to_compare() -> None:
    assert len(HELP) == 4 and len(PYTHON) == 5 and len(TOML) == 3


def test_tables_are_those_of_the_schema() -> None:
    for column in COLUMNS:
        assert f"| `{column.name}` | {'yes' if column.required else 'no'} | {column.meaning} |" in README
    for kind in KINDS:
        assert f"| `{kind.name}` | {kind.meaning} |" in README


def test_files_and_commands_exist() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks in one session, as a reader would type them, on a small synthetic company."""
    events, truth = clv.simulate_events(n_accounts=300, seed=1)
    events.to_csv(tmp_path / "events.csv", index=False)
    truth.accounts.to_csv(tmp_path / "accounts.csv", index=False)
    planned = [["A000001", "2024-03-01", "expansion", 5000, 0.8], ["A000002", "2024-05-01", "renewal", None, 0.9]]
    columns = ["account_id", "planned_date", "kind", "amount", "probability"]
    pd.DataFrame(planned, columns=columns).to_csv(tmp_path / "plans.csv", index=False)
    monkeypatch.chdir(tmp_path)
    session: dict[str, object] = {}
    for number, block in enumerate(PYTHON, start=1):
        exec(compile(block, f"README.md, Python block {number}", "exec"), session)  # noqa: S102
    assert str(truth.as_of) == "2023-12-31"
    assert sorted(path.name for path in tmp_path.glob("forecast.*")) == [
        "forecast.clv",
        "forecast.html",
        "forecast.xlsx",
    ]
    assert session["bridge"]["line"].nunique() == 8  # type: ignore[index]
    assert len(session["happened"]) == len(session["then"].table)  # type: ignore[attr-defined,arg-type]
