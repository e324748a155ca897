"""Files keep what not every forecast has: the bridge of ARR, planned steps and new customers, to the bit."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import clvforecast as clv
from clvforecast import forecast_file
from clvforecast.forecast import Forecast
from clvforecast.forecast_parts import streams_of
from clvforecast.sealed import SEAL_BYTES, add_seal

FIXTURES = Path(__file__).parent / "fixtures"
STEPS = pd.DataFrame(
    {
        "account_id": ["A000001", "A000002", "A000003"],
        "planned_date": ["2024-03-01", "2024-05-15", "2024-06-30"],
        "kind": ["expansion", "renewal", "contraction"],
        "amount": [2400.0, None, -600.0],
        "term_months": [None, 24, None],
        "probability": [0.7, None, 0.2],
    }
)
PLAN = pd.DataFrame(
    {
        "start": ["2024-02-01", "2024-07-01"],
        "customers": [2, 3],
        "segment": ["S1", "S9"],
        "first_mrr": [1000.0, 450.0],
        "term_months": [12, 24],
    }
)
NEW = {"new_customers": clv.PlannedNewCustomers(PLAN)}
OPTIONS = [
    {"bridge": True},
    {"plans": STEPS},
    NEW,
    {"bridge": True, **NEW, "timing": "booked", "calendar": clv.FiscalCalendar(7), "group_by": []},
    {"bridge": True, "plans": STEPS, **NEW, "keep_draws": True, "pending": "lapsed"},
]
IDS = ["bridge", "plans", "new", "booked", "all"]


@cache
def world() -> tuple[clv.Posterior, clv.Ledger]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "posterior.nc"
        path.write_bytes(gzip.decompress((FIXTURES / "posterior-schema-3.nc.gz").read_bytes()))
        posterior = clv.load_posterior(path)
    return posterior, clv.read_ledger(FIXTURES / "events.csv", accounts=FIXTURES / "accounts.csv")


def made_of(**options: object) -> Forecast:
    posterior, ledger = world()
    if "plans" in options:
        options["plans"] = clv.read_plans(options["plans"], ledger)
    return clv.forecast(posterior, ledger, 18, draws=6, seed=3, **options)


def same(a: object, b: object) -> None:
    """Tables with their types, arrays with theirs, bit for bit."""
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True)
        return
    assert isinstance(a, dict) and isinstance(b, dict) and list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype and np.array_equal(a[name], b[name]), name


@pytest.mark.parametrize("options", OPTIONS, ids=IDS)
def test_what_is_loaded_is_what_was_saved(options: dict[str, object], tmp_path: Path) -> None:
    made = made_of(**options)
    made.save(tmp_path / "a.clv")
    loaded = clv.load_forecast(tmp_path / "a.clv")
    for mine, theirs in zip(streams_of(made), streams_of(loaded), strict=True):
        same(mine, theirs)
    assert made.settings == loaded.settings and repr(made) == repr(loaded)
    assert made.policies() == loaded.policies()
    for asked in (made.new_totals, made.totals):
        kept = loaded.totals if asked is made.totals else loaded.new_totals
        assert (asked is None) == (kept is None)
        if asked is not None and kept is not None:
            assert (asked.changes, asked.clips) == (kept.changes, kept.clips)
            assert (asked.bridge is None) == (kept.bridge is None)
    for by in (None, "origin", *made.groups.columns):
        pd.testing.assert_frame_equal(made.portfolio("month", by), loaded.portfolio("month", by), check_exact=True)
    pd.testing.assert_frame_equal(made.summary(), loaded.summary(), check_exact=True)
    if "bridge" in options:
        for freq in ("month", "quarter", "year"):
            pd.testing.assert_frame_equal(made.bridge(freq, history=0), loaded.bridge(freq, history=0))
        with_past = loaded.with_ledger(world()[1])
        pd.testing.assert_frame_equal(made.retention(), with_past.retention(), check_exact=True)
    if "new_customers" in options:
        pd.testing.assert_frame_equal(made.new_customer_counts(), loaded.new_customer_counts(), check_exact=True)
    assert forecast_file.checksum(made) == forecast_file.checksum(loaded)
    made_of(**options).save(tmp_path / "b.clv")
    assert (tmp_path / "a.clv").read_bytes() == (tmp_path / "b.clv").read_bytes()


def test_the_columns_of_planned_steps_keep_their_types(tmp_path: Path) -> None:
    """Also where there is no step, and where nothing is said of any."""
    made = made_of(plans=STEPS)
    assert made.planned is not None and str(made.planned["term_months"].dtype) == "Int32"
    for planned in (made.planned.iloc[:0], made.planned.assign(step_id=None, stated=np.nan)):
        replace(made, planned=planned).save(tmp_path / "forecast.clv")
        loaded = clv.load_forecast(tmp_path / "forecast.clv").planned
        pd.testing.assert_frame_equal(loaded, planned.reset_index(drop=True), check_exact=True)


def about(path: Path) -> dict[str, object]:
    with pa.OSFile(str(path)) as file:
        return json.loads(pa.ipc.open_stream(file).schema.metadata[b"clvforecast"])


def test_what_schema_1_can_hold_is_written_as_schema_1(tmp_path: Path) -> None:
    """So that earlier versions of the package read it."""
    for number, (options, version) in enumerate([({}, 1), ({"keep_draws": True}, 1), *((o, 2) for o in OPTIONS)]):
        path = tmp_path / str(number)
        made_of(**options).save(path)
        assert about(path)["schema_version"] == version and ("parts" in about(path)) == (version == 2)


def test_every_part_is_in_the_checksum() -> None:
    made = made_of(**OPTIONS[-1])
    assert made.totals.bridge is not None and made.new_totals is not None and made.new_totals.bridge is not None
    assert made.new_won is not None and made.planned is not None
    own, new = made.totals.bridge, made.new_totals
    snapshots = own.snapshots._replace(windows=own.snapshots.windows + 1)
    changed = [
        replace(made, totals=replace(made.totals, bridge=replace(own, snapshots=snapshots))),
        replace(made, totals=replace(made.totals, bridge=None)),
        replace(made, new_totals=replace(new, groups=new.groups + 1)),
        replace(made, new_totals=replace(new, origins=new.origins + 1)),
        replace(made, new_totals=replace(new, clips=new.clips + 1)),
        replace(made, new_totals=replace(new, bridge=replace(new.bridge, moved=new.bridge.moved + 1))),
        replace(made, new_totals=None, new_won=None),
        replace(made, new_won=made.new_won + 1),
        replace(made, planned=made.planned.assign(probability=0.5)),
        replace(made, planned=None),
    ]
    names = ("in_force", "accounts", "due", "renewed", "moved")
    for name in names:
        other = replace(own, **{name: getattr(own, name) + 1})
        changed.append(replace(made, totals=replace(made.totals, bridge=other)))
    sums = [forecast_file.checksum(one) for one in [made, *changed]]
    assert len(set(sums)) == len(sums)


def reseal(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    add_seal(path, "forecast")
    return path


def test_what_is_sealed_but_not_as_it_was_saved_is_refused(tmp_path: Path) -> None:
    made = made_of(**OPTIONS[-1])
    made.save(tmp_path / "forecast.clv")
    content = (tmp_path / "forecast.clv").read_bytes()[:-SEAL_BYTES]
    assert made.totals.bridge is not None and made.new_totals is not None and made.new_won is not None
    days = made.totals.bridge.snapshots.days
    won = made.new_won.tobytes()
    for old, new, match in (
        (b'"schema_version": 2', b'"schema_version": 1', "with parts"),
        (b'"schema_version": 2', b'"schema_version": 3', "schema version 3, this package reads 1 and 2"),
        (b'"parts": ', b'"parrs": ', "is no forecast file"),
        (b'"windows": ', b'"windows":9', "is no forecast file"),
        (b'"past": 1', b'"past": 2', "between other days"),
        (b'"rows": 3', b'"rows": 4', "is no forecast file"),
        (b'"rows": 3', b'"rows":-3', "is no forecast file"),
        (b'"Int32"', b'"Int33"', "is no forecast file"),
        (b'"term_months": "Int32"', b'"term_monthz": "Int32"', "were said"),
        (b'"probability": "float64"', b'"probability": "float32"', "its content was changed"),
        (days.tobytes(), (days + 1).tobytes(), "between other days"),
        (won, (made.new_won + 1).tobytes(), "its content was changed"),
    ):
        assert content.count(old) >= 1, old
        with pytest.raises(clv.ForecastFileError, match=match):
            clv.load_forecast(reseal(tmp_path / "changed", content.replace(old, new)))
    for changed, match in ((content[:-64], "is no forecast file"), (content + b"0" * 64, "follow its last table")):
        with pytest.raises(clv.ForecastFileError, match=match):
            clv.load_forecast(reseal(tmp_path / "changed", changed))


def test_parts_that_are_said_but_not_there_are_refused(tmp_path: Path) -> None:
    """A file of new customers whose JSON says there is a bridge, and one whose JSON says there are none."""
    made_of(**NEW).save(tmp_path / "forecast.clv")
    content = (tmp_path / "forecast.clv").read_bytes()[:-SEAL_BYTES]
    said = about(tmp_path / "forecast.clv")["parts"]
    assert said == {"followed": None, "planned": None, "new": said["new"]}  # type: ignore[index]
    start = content.index(b'"parts": {"followed": null')
    end = content.index(b"}}", start) + 2
    none = b'"parts": {"followed": null, "planned": null, "new": null}'
    for text, match in (
        (none.ljust(end - start), "bytes follow its last table"),
        (b'"parts": null'.ljust(end - start), "with parts"),
    ):
        with pytest.raises(clv.ForecastFileError, match=match):
            clv.load_forecast(reseal(tmp_path / "changed", content[:start] + text + content[end:]))
