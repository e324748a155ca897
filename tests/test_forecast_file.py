"""A saved forecast is the forecast: its tables to the bit, and nothing else is taken for one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5netcdf
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

import clvforecast as clv
from clvforecast import forecast_file
from clvforecast.forecast import Forecast, forecast
from clvforecast.ledger import Ledger
from clvforecast.posterior import Posterior
from clvforecast.posterior_file import KIND, checksum, frame_to_json
from clvforecast.report.files import write_accounts
from clvforecast.sealed import SEAL_BYTES, add_seal
from clvforecast.synthetic import Truth, simulate_events
from known_world import known_ledger, known_posterior

DRAWS = 100


@pytest.fixture(scope="module")
def company() -> tuple[pd.DataFrame, Truth]:
    return simulate_events(150, seed=11, left_truncated=0.2, notice_share=0.4)


@pytest.fixture(scope="module")
def ledger(company: tuple[pd.DataFrame, Truth]) -> Ledger:
    return known_ledger(*company)


@pytest.fixture(scope="module")
def make(company: tuple[pd.DataFrame, Truth], ledger: Ledger) -> Callable[..., Forecast]:
    posterior = known_posterior(company[1], n_draws=DRAWS)
    return lambda **options: forecast(posterior, ledger, **{"horizon_months": 30, "draws": DRAWS, **options})


@pytest.fixture(scope="module")
def posterior(tmp_path_factory: pytest.TempPathFactory) -> Posterior:
    path = tmp_path_factory.mktemp("posterior") / "posterior.nc"
    path.write_bytes(gzip.decompress((Path(__file__).parent / "fixtures" / "posterior-schema-3.nc.gz").read_bytes()))
    return clv.load_posterior(path)


def assert_same(a: Forecast, b: Forecast) -> None:
    for ci_prob in a.settings.ci_probs:
        for ci_kind in ("eti", "hdi"):
            pd.testing.assert_frame_equal(a.accounts(ci_prob, ci_kind), b.accounts(ci_prob, ci_kind), check_exact=True)
    for by in [None, "origin", *a.groups.columns]:
        for freq in ("ME", "QE", "YE-JUN", None):
            pd.testing.assert_frame_equal(a.portfolio(freq, by), b.portfolio(freq, by), check_exact=True)
    assert (a.settings, a.as_of, a.currency, a.warnings) == (b.settings, b.as_of, b.currency, b.warnings)
    assert a.provenance == b.provenance and repr(a) == repr(b)
    assert forecast_file.checksum(a) == forecast_file.checksum(b)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"keep_draws": True},
        {"keep_draws": ("mrr", "clv"), "group_by": [], "ci_probs": (0.6,)},
        {"annual_discount_rate": 0.0, "horizon_months": 7, "timing": "booked", "keep_draws": ("revenue",)},
    ],
)
def test_what_is_loaded_is_what_was_saved(
    options: dict[str, object], make: Callable[..., Forecast], tmp_path: Path
) -> None:
    made = make(**options)
    made.save(tmp_path / "forecast.clv")
    loaded = clv.load_forecast(tmp_path / "forecast.clv")
    assert [path.name for path in tmp_path.iterdir()] == ["forecast.clv"]
    assert_same(made, loaded)
    if made.kept is not None:
        xr.testing.assert_identical(made.draws, loaded.draws)
    else:
        with pytest.raises(clv.ForecastError, match="draws were not kept"):
            loaded.draws


@pytest.mark.parametrize(
    "options",
    [
        {"horizon_months": 7, "keep_draws": True},  # no mark for MRR lies within
        {"horizon_months": 1, "keep_draws": ("mrr",)},
        {"ci_probs": ()},
    ],
)
def test_what_is_empty_comes_back_empty(
    make: Callable[..., Forecast], tmp_path: Path, options: dict[str, object]
) -> None:
    saved = make(**options)
    saved.save(tmp_path / "forecast")
    loaded = clv.load_forecast(tmp_path / "forecast")
    pd.testing.assert_frame_equal(saved.portfolio("ME"), loaded.portfolio("ME"), check_exact=True)
    if saved.kept is not None:
        xr.testing.assert_identical(saved.draws, loaded.draws)


def test_groups_of_any_type_come_back(make: Callable[..., Forecast], tmp_path: Path) -> None:
    """Empty levels, days and whole numbers, as an accounts table may have them."""
    made = make()
    n = len(made.table)
    table = made.table.assign(
        empty=pd.Series(["x", None] * (n // 2), dtype="str"),
        day=pd.to_datetime(["2024-02-29", None] * (n // 2)),
        number=np.arange(n),
        yes=[True, False] * (n // 2),
    )
    replace(made, table=table).save(tmp_path / "forecast.clv")
    pd.testing.assert_frame_equal(clv.load_forecast(tmp_path / "forecast.clv").table, table, check_exact=True)


def test_a_table_of_a_loaded_forecast_can_be_written_into(make: Callable[..., Forecast], tmp_path: Path) -> None:
    make().save(tmp_path / "forecast.clv")
    table = clv.load_forecast(tmp_path / "forecast.clv").accounts()
    table.loc[0, "mean"] = -1.0
    table.iloc[0, 0] = "another"
    assert table.loc[0, "mean"] == -1.0 and table.loc[0, "account_id"] == "another"


def test_the_past_needs_the_ledger_and_no_other_one(
    make: Callable[..., Forecast], ledger: Ledger, tmp_path: Path
) -> None:
    made, path = make(), tmp_path / "forecast.clv"
    made.save(path)
    loaded = clv.load_forecast(path)
    for ask in (lambda: loaded.history, loaded.plot):
        with pytest.raises(clv.ForecastError, match=r"load_forecast\(path, ledger=ledger\)"):
            ask()
    with_past = clv.load_forecast(path, ledger)
    assert with_past.history.items.equals(made.history.items) and with_past.plot() is not None
    with pytest.raises(clv.ForecastError, match="is not the one that the forecast was made from"):
        clv.load_forecast(path, ledger.at("2022-12-31"))


def test_equal_forecasts_are_equal_files_but_for_versions(make: Callable[..., Forecast], tmp_path: Path) -> None:
    make().save(tmp_path / "a")
    make(threads=None).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    other = replace(make(), provenance=replace(make().provenance, versions={"numpy": "0"}))
    assert forecast_file.checksum(other) == forecast_file.checksum(make())
    assert forecast_file.checksum(make(seed=8)) != forecast_file.checksum(make())


def test_any_arrow_reads_the_accounts(make: Callable[..., Forecast], tmp_path: Path) -> None:
    made = make()
    made.save(tmp_path / "forecast.clv")
    with pa.OSFile(str(tmp_path / "forecast.clv")) as file:
        read = pa.ipc.open_stream(file).read_all()
    assert read["mean"].to_pylist() == made.table["mean"].tolist()
    about = json.loads(read.schema.metadata[b"clvforecast"])
    assert about["settings"]["seed"] == 7 and about["provenance"]["ledger"] == made.provenance.ledger


def test_parquet_says_where_it_comes_from(make: Callable[..., Forecast], ledger: Ledger, tmp_path: Path) -> None:
    write_accounts(make(), tmp_path / "accounts.parquet")
    said = json.loads(pq.read_schema(tmp_path / "accounts.parquet").metadata[b"clvforecast"])
    assert said["schema_version"] == 2 and said["settings"]["seed"] == 7 and said["currency"] == ledger.currency
    assert "by days" in said["policies"]["timing"]
    rows = pd.read_parquet(tmp_path / "accounts.parquet")
    assert rows.columns[:3].tolist() == ["as_of", "currency", "timing"]
    assert rows.iloc[-1, :3].tolist() == [ledger.as_of, ledger.currency, "recognised"]
    provenance = said["provenance"]
    assert (
        provenance["ledger"] == ledger.fingerprint
        and len(provenance["posterior"]) == 64
        and "numpy" in provenance["versions"]
    )


def reseal(path: Path, content: bytes, kind: str = "forecast") -> Path:
    path.write_bytes(content)
    add_seal(path, kind)
    return path


def test_what_is_sealed_but_no_forecast_is_refused(make: Callable[..., Forecast], tmp_path: Path) -> None:
    make().save(tmp_path / "forecast.clv")
    content = (tmp_path / "forecast.clv").read_bytes()[:-SEAL_BYTES]
    path = tmp_path / "changed"
    for changed, match in (
        (b"", "is no forecast file"),
        (b"text" * 100, "is no forecast file"),
        (content + b"more", "follow its last table"),
        (content[:-100], "is no forecast file"),
        (content.replace(b'"schema_version": 1', b'"schema_version": 9'), "schema version 9, this package reads 1"),
        (content.replace(b'"draws": 100', b'"draws": 999'), "is no forecast file"),
        (content.replace(b'"n_accounts": ', b'"n_accounts":9'), "is no forecast file"),
        (content.replace(b'"currency": "USD"', b'"currency": "EUR"'), "its content was changed"),
        (content.replace(b'"horizon_months": 30', b'"horizon_months": -3'), "is no forecast file"),
    ):
        assert changed != content
        with pytest.raises(clv.ForecastFileError, match=match):
            clv.load_forecast(reseal(path, changed))
    with pytest.raises(clv.ForecastFileError, match="it is a posterior, .*, not a whole forecast"):
        clv.load_forecast(reseal(path, content, "posterior"))
    with pytest.raises(clv.ForecastFileError, match="no such file"):
        clv.load_forecast(tmp_path / "nothing")
    with pytest.raises(clv.ForecastFileError, match="cannot write there"):
        make().save(tmp_path / "no" / "folder")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda tree: tree.attrs.pop("notes"), "no attribute 'notes'"),
        (lambda tree: tree.attrs.update(frame='{"segments": []}'), "'levels'"),
        (lambda tree: tree.attrs.update(frame="[1]"), "attribute 'frame'"),
        (lambda tree: tree.attrs.update(seed="seven"), "attribute 'seed'"),
        (lambda tree: tree.attrs.update(warnings="{}"), "attribute 'warnings'"),
        (lambda tree: tree.attrs.update(as_of="soon"), "isoformat"),
        (lambda tree: tree.__delitem__("prior_sd"), "no group 'prior_sd'"),
        (lambda tree: tree.__delitem__("posterior"), "no group 'posterior'"),
        (lambda tree: tree["posterior"]["renewal_mu"].attrs.pop("component"), "no attribute 'component'"),
        (
            lambda tree: tree.__setitem__("posterior", xr.DataTree(tree["posterior"].to_dataset().rename(draw="step"))),
            "no draws",
        ),
        (
            lambda tree: tree.__setitem__(
                "posterior", xr.DataTree(tree["posterior"].to_dataset().assign_coords(side=["a", "b"]))
            ),
            "labels of side",
        ),
    ],
)
def test_what_is_sealed_but_no_posterior_is_refused(
    change: Callable[..., object], match: str, posterior: Posterior, tmp_path: Path
) -> None:
    """With checksum and seal as they should be: a netCDF file of somebody else's, or of a writer that errs."""
    few = ["renewal_mu", "renewal_segment_effect", "change_up_size_mean", "change_logit"]
    tree = xr.DataTree.from_dict({name: posterior.idata[name].to_dataset()[few] for name in ("posterior", "prior_sd")})
    tree.attrs = {**posterior.idata.attrs, "frame": frame_to_json(posterior.frame), "schema_version": "3"}
    change(tree)
    tree.attrs["checksum"] = checksum(tree)
    path = tmp_path / "posterior.nc"
    tree.to_netcdf(path, engine="h5netcdf")
    add_seal(path, KIND)
    with pytest.raises(clv.PosteriorFileError, match=match):
        clv.load_posterior(path)


def test_a_foreign_netcdf_with_a_seal_is_refused(tmp_path: Path) -> None:
    with h5netcdf.File(tmp_path / "foreign.nc", "w") as file:
        file.attrs["title"] = "temperatures"
    add_seal(tmp_path / "foreign.nc", KIND)
    with pytest.raises(clv.PosteriorFileError, match="schema version none"):
        clv.load_posterior(tmp_path / "foreign.nc")
