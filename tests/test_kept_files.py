"""Files of every released schema still load, to the bit, and can be worked with."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import clvforecast as clv
from clvforecast import forecast_file, posterior_file
from clvforecast.ledger import Ledger
from kept_numbers import forecast_numbers, posterior_numbers

FIXTURES = Path(__file__).parent / "fixtures"
POSTERIORS = sorted(FIXTURES.glob("posterior-schema-*.nc.gz"))
FORECASTS = sorted(FIXTURES.glob("forecast-schema-*.clv.gz"))


def unpacked(path: Path, folder: Path) -> Path:
    target = folder / path.stem
    target.write_bytes(gzip.decompress(path.read_bytes()))
    return target


def numbers_of(path: Path) -> dict[str, Any]:
    return json.loads((FIXTURES / f"{path.name.split('.')[0]}.json").read_text())


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return clv.read_ledger(FIXTURES / "events.csv", accounts=FIXTURES / "accounts.csv")


def test_every_schema_has_its_file() -> None:
    posteriors = range(posterior_file.UNSEALED_VERSION, posterior_file.SCHEMA_VERSION + 1)
    assert [path.name for path in POSTERIORS] == [f"posterior-schema-{version}.nc.gz" for version in posteriors]
    forecasts = range(1, forecast_file.SCHEMA_VERSION + 1)
    assert [path.name for path in FORECASTS] == [f"forecast-schema-{version}.clv.gz" for version in forecasts]


@pytest.mark.parametrize("path", POSTERIORS, ids=lambda path: path.name)
def test_a_posterior_of_each_schema_loads_to_the_bit_and_forecasts(path: Path, tmp_path: Path, ledger: Ledger) -> None:
    posterior = clv.load_posterior(unpacked(path, tmp_path))
    assert posterior_numbers(posterior) == numbers_of(path)
    assert posterior.fingerprint == ledger.fingerprint
    made = clv.forecast(posterior, ledger, horizon_months=18, draws=6, keep_draws=True, seed=3)
    newest = clv.load_posterior(unpacked(POSTERIORS[-1], tmp_path))
    same = clv.forecast(newest, ledger, horizon_months=18, draws=6, keep_draws=True, seed=3)
    assert forecast_numbers(made) == forecast_numbers(same)
    posterior.save(tmp_path / "again.nc")
    assert posterior_numbers(clv.load_posterior(tmp_path / "again.nc", untrusted=True)) == numbers_of(path)


@pytest.mark.parametrize("path", FORECASTS, ids=lambda path: path.name)
def test_a_forecast_of_each_schema_loads_to_the_bit(path: Path, tmp_path: Path, ledger: Ledger) -> None:
    loaded = clv.load_forecast(unpacked(path, tmp_path), ledger)
    assert forecast_numbers(loaded) == numbers_of(path)
    assert loaded.plot() is not None and loaded.plot("A000001") is not None
    loaded.save(tmp_path / "again.clv")
    assert forecast_numbers(clv.load_forecast(tmp_path / "again.clv")) == numbers_of(path)
