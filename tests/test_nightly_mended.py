"""What an operator's days bring: a row without a currency, queries in a file elsewhere, a manifest that was removed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

import clvforecast as clv
from clvforecast.batch import read_settings
from clvforecast.batch.folder import RunFolder
from clvforecast.batch.publish import becomes_current


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
    assert becomes_current(folder, date(2027, 1, 31))


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
