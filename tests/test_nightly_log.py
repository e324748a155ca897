"""What a scheduler reads of a nightly run: every line of --log json is JSON, the last one of a failure too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clvforecast as clv
from clvforecast import cli
from clvforecast.batch.logs import alert


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    events, truth = clv.simulate_events(n_accounts=40, seed=2)
    events.to_csv(folder / "events.csv", index=False)
    truth.accounts.to_csv(folder / "accounts.csv", index=False)
    known = clv.read_ledger(events, truth.accounts, as_of="2023-08-31")
    clv.prior(known, ["segment"], draws=50).save(folder / "posterior.nc")
    config = folder / "clvforecast.toml"
    config.write_text(
        """
input = { events = "events.csv", accounts = "accounts.csv" }
posterior = { file = "posterior.nc" }
forecast = { horizon_months = 3, draws = 50 }
output = { folder = "scores" }
watch = { accounts = 20, months = 1, every_days = 1 }
""",
        encoding="utf-8",
    )
    return config


def lines(config: Path, *more: str) -> tuple[int, list[dict]]:
    """Exit code, and the records on stderr."""
    done = CliRunner().invoke(cli.app, ["score", "--config", str(config), "--log", "json", *more])
    return done.exit_code, [json.loads(line) for line in done.stderr.splitlines()]


def test_checks_and_where_it_was_published(config: Path) -> None:
    nights = [lines(config, "--as-of", day) for day in ("2023-08-31", "2023-10-31", "2023-06-30")]
    assert [code for code, _ in nights] == [0, 0, 0]
    told = [{record["event"]: record for record in records} for _, records in nights]
    assert told[1]["check"]["slipped"] in (True, False) and "2023-08-31" in told[1]["check"]["message"]
    assert [night["published"]["current"] for night in told] == [True, True, False]


def test_any_handler_tells_the_message(caplog: pytest.LogCaptureFixture) -> None:
    alert("rows are missing")
    assert caplog.messages == ["warning: rows are missing"]


def test_a_failure_is_a_record(config: Path) -> None:
    broken = config.with_name("broken.toml")
    broken.write_text(config.read_text(encoding="utf-8").replace("events.csv", "none.csv"), encoding="utf-8")
    for path, expected in ((broken, 1), (config.with_name("none.toml"), 2)):
        code, records = lines(path)
        assert code == expected
        assert records[-1]["event"] == "failed" and records[-1]["exit_code"] == expected
        assert "none." in records[-1]["message"] and records[-1]["level"] == "error"
