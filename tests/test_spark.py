"""On a Spark cluster of two workers the numbers are those of one machine, to the bit; also when workers are killed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import clvforecast as clv
from clvforecast.cells import COUNTED, Counts, build_cells, build_frame, counts_of
from clvforecast.forecast_file import checksum
from clvforecast.histories import build_histories
from clvforecast.pooled import added, total_rows
from clvforecast.posterior import prior
from spark_cluster import Cluster, assert_equal_arrays, cluster, missing, session

if reason := missing():
    pytest.skip(reason, allow_module_level=True)

import clvforecast.spark as clv_spark  # noqa: E402
from clvforecast.histories.slices import of_accounts  # noqa: E402
from clvforecast.spark import forecasts  # noqa: E402
from clvforecast.spark.counting import Count, added_counts, count_part, counted_in_rounds  # noqa: E402
from clvforecast.spark.facts import facts_of_part, joined_facts  # noqa: E402
from clvforecast.spark.fitting import count_cells  # noqa: E402
from clvforecast.spark.forecasts import FAILURE_SCHEMA, Job, score_part  # noqa: E402
from clvforecast.spark.rows import PART_ROWS, bodies, frames_of, table_of, tables_of  # noqa: E402
from clvforecast.spark.scoring import file_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")

ASKED: dict[str, Any] = {"horizon_months": 18, "draws": 20, "seed": 5}
AS_OF = "2023-06-30"
MAX_CELLS = 60


class World(NamedTuple):
    """A small company with all that a ledger has to mend: events, accounts, and a posterior that has not seen all levels."""

    events: pd.DataFrame
    accounts: pd.DataFrame
    posterior: clv.Posterior

    def ledger(self, as_of: str | None = AS_OF) -> clv.Ledger:
        return clv.read_ledger(self.events, self.accounts, as_of=as_of)


@pytest.fixture(scope="module")
def world() -> World:
    events, truth = clv.simulate_events(700, seed=5, future_months=0)
    accounts = truth.accounts.assign(region=np.resize(["north", "south", None], len(truth.accounts)))
    posterior = prior(clv.read_ledger(events, accounts, as_of=AS_OF), ["segment"], draws=20, seed=3)
    accounts.loc[accounts.index % 50 == 0, "segment"] = "opened last month"
    accounts = accounts[accounts.index % 97 != 1]  # some accounts have no row
    events = events.assign(term_months=events["term_months"].astype("float64"))
    return World(pd.concat([events, spoiled(events)], ignore_index=True), accounts, posterior)


def spoiled(events: pd.DataFrame) -> pd.DataFrame:
    """Rows that are rejected: of no account, of no kind, without an amount, copies, and all rows of one account."""
    wrong = events.iloc[:50].copy()
    wrong["event_id"] = [f"wrong-{row}" for row in range(50)]
    wrong.loc[wrong.index[:10], "account_id"] = None
    wrong.loc[wrong.index[10:20], "kind"] = "upsell"
    wrong.loc[wrong.index[20:30], "amount"] = np.nan
    wrong.loc[wrong.index[30:40], "currency"] = "dollars"
    wrong.loc[wrong.index[40:], ["account_id", "kind"]] = ["nobody", "expansion"]
    return pd.concat([wrong, events.iloc[100:120]], ignore_index=True)


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with cluster(n_workers=2) as found:
        yield found


@pytest.fixture(scope="module")
def spark(running: Cluster) -> Iterator[Any]:
    with session(running) as found:
        yield found


class Tables(NamedTuple):
    events: Any
    accounts: Any


@pytest.fixture(scope="module")
def tables(spark: Any, world: World) -> Tables:
    return Tables(spark.createDataFrame(world.events), spark.createDataFrame(world.accounts))


def by_account(scored: clv_spark.SparkForecast, **interval: Any) -> pd.DataFrame:
    frame: pd.DataFrame = scored.accounts(**interval).toPandas()
    return frame.sort_values("account_id", ignore_index=True)


def assert_same(scored: clv_spark.SparkForecast, whole: clv.Forecast) -> None:
    """Account ranges and totals are the same bits."""
    pd.testing.assert_frame_equal(by_account(scored), whole.accounts(), check_exact=True, check_dtype=False)
    assert total_rows(scored.forecast).equals(total_rows(whole))


WAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "ARR by two columns": (
        3,
        {"bridge": True, "group_by": ["segment", "region"], "calendar": clv.FiscalCalendar(start_month=7)},
    ),
    "cash": (4, {"timing": "cash", "billing": "annual", "cost_to_serve": 3.0, "group_by": []}),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_cluster_has_the_numbers_of_one_machine(name: str, world: World, tables: Tables) -> None:
    partitions, way = WAYS[name]
    whole = clv.forecast(world.posterior, world.ledger(), **ASKED, **way)
    scored = clv_spark.score(world.posterior, *tables, as_of=AS_OF, **ASKED, **way, partitions=partitions)
    assert_same(scored, whole)
    assert scored.n_accounts == len(whole.table) and scored.n_failed == 0 and scored.failures.count() == 0
    by = list(whole.groups.columns) or None
    pd.testing.assert_frame_equal(scored.forecast.portfolio("quarter", by), whole.portfolio("quarter", by))
    if whole.settings.bridge:
        pd.testing.assert_frame_equal(scored.forecast.bridge(by=by, history=0), whole.bridge(by=by, history=0))
    narrow = by_account(scored, ci_prob=0.5, ci_kind="hdi")
    pd.testing.assert_frame_equal(narrow, whole.accounts(0.5, "hdi"), check_exact=True, check_dtype=False)
    scored.release()


def test_another_number_of_partitions_and_a_folder_change_nothing(world: World, tables: Tables, tmp_path: Path) -> None:
    one = clv_spark.score(world.posterior, *tables, **ASKED, partitions=1, path=str(tmp_path / "run"))
    usual = clv_spark.score(world.posterior, *tables, **ASKED)
    whole = clv.forecast(world.posterior, world.ledger(as_of=None), **ASKED)
    assert_same(one, whole)
    assert_same(usual, whole)
    assert checksum(one.forecast) == checksum(usual.forecast)
    assert one.forecast.as_of == whole.as_of, "the latest accepted booking of all parts"


def test_a_folder_that_is_there_is_refused_before_the_work(world: World, tables: Tables, tmp_path: Path) -> None:
    with pytest.raises(clv.SparkError, match="is there already"):
        clv_spark.score(world.posterior, *tables, **ASKED, path=str(tmp_path))


def test_every_row_and_cent_is_told(world: World, tables: Tables) -> None:
    ledger = world.ledger()
    scored = clv_spark.score(world.posterior, *tables, as_of=AS_OF, **ASKED, partitions=2)
    pd.testing.assert_frame_equal(scored.reconciliation(), ledger.reconciliation())
    told = ["event_id", "account_id", "column", "value", "rule", "hint", "amount", "amount_cents", "currency"]
    mine, theirs = (
        table[told].sort_values(["event_id", "account_id"], ignore_index=True)
        for table in (scored.rejected.toPandas(), ledger.rejected)
    )
    pd.testing.assert_frame_equal(mine, theirs, check_dtype=False)
    assert mine["rule"].nunique() >= 5
    said = " ".join(scored.warnings)
    assert f"{len(theirs)} rows rejected" in said and "opened last month" in said
    (of_accounts,) = (line for line in ledger.warnings if "accounts with events have no row" in line)
    assert of_accounts.split(";")[0] in said
    scored.release()


def test_segments_can_be_columns_of_the_events(spark: Any, world: World) -> None:
    levels = world.accounts.drop_duplicates("account_id").set_index("account_id")["segment"]
    events = world.events.assign(segment=world.events["account_id"].map(levels).fillna("none"))
    note = np.where(
        events["account_id"] == "A000007", events["event_id"], "alike"
    )  # no segment: of one account it varies
    events = events.assign(note=note)
    whole = clv.forecast(world.posterior, clv.read_ledger(events), **ASKED)
    assert_same(clv_spark.score(world.posterior, spark.createDataFrame(events), **ASKED, partitions=2), whole)
    with pytest.raises(clv.ForecastError, match="no column 'note'"):
        clv_spark.score(world.posterior, spark.createDataFrame(events), **ASKED, group_by=["note"])


def test_days_are_those_of_the_sessions_clock(spark: Any, world: World) -> None:
    from pyspark.sql import functions as F

    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        days = {name: world.events[name].astype("string") for name in ("event_date", "start_date")}
        table = spark.createDataFrame(world.events.assign(**days))
        for name in days:
            table = table.withColumn(name, F.to_timestamp(name))
        found = clv.read_ledger(table, world.accounts, as_of=AS_OF)
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)
    assert found.fingerprint == world.ledger().fingerprint


def test_plans_count_as_on_one_machine(world: World, tables: Tables) -> None:
    ledger = world.ledger()
    ids = ledger.accounts["account_id"].to_pylist()[5:200:5]
    steps = pd.DataFrame(
        {
            "step_id": [f"s{row}" for row in range(len(ids))],
            "account_id": ids,
            "planned_date": pd.date_range("2023-07-15", periods=len(ids), freq="9D"),
            "kind": np.resize(["expansion", "renewal"], len(ids)),
            "amount": 5000.0,
            "currency": ledger.currency,
            "probability": 0.6,
        }
    )
    plans = clv.read_plans(steps)
    assert len(plans)
    whole = clv.forecast(world.posterior, ledger, **ASKED, plans=plans)
    scored = clv_spark.score(world.posterior, *tables, as_of=AS_OF, **ASKED, plans=plans, partitions=2)
    assert_same(scored, whole)
    assert scored.forecast.settings.plans == whole.settings.plans
    assert whole.planned is not None and scored.forecast.planned is not None
    pd.testing.assert_frame_equal(scored.forecast.planned, whole.planned, check_exact=True, check_dtype=False)


def test_a_wrong_setting_is_told_before_any_task(spark: Any, world: World, tables: Tables) -> None:
    jobs = spark.sparkContext.statusTracker().getJobIdsForGroup(None)
    for wrong, words in (
        ({"gross_margin": 2.0}, "gross_margin"),
        ({"group_by": ["country"]}, "no column 'country'"),
        ({"timing": "cash"}, "billing"),
    ):
        with pytest.raises(clv.ForecastError, match=words):
            clv_spark.score(world.posterior, *tables, **{**ASKED, **wrong})
    with pytest.raises(clv.ClvError, match="event_id"):
        clv_spark.score(world.posterior, tables.events.drop("event_id"), tables.accounts, **ASKED)
    with pytest.raises(clv.LedgerError, match="no column amount"):
        clv_spark.score(world.posterior, tables.events.drop("amount"), tables.accounts, **ASKED)
    with pytest.raises(clv.ClvError, match="DataFrame of a SparkSession"):
        clv_spark.score(world.posterior, world.events, **ASKED)
    assert spark.sparkContext.statusTracker().getJobIdsForGroup(None) == jobs


def test_what_no_part_can_tell_by_itself_is_refused(spark: Any, world: World, tables: Tables) -> None:
    copied = world.events.copy()
    copied.loc[copied.index[:2], "event_id"] = "E-1"
    copied.loc[copied.index[:2], "account_id"] = ["A000001", "A000002"]
    with pytest.raises(clv.LedgerError, match="'E-1' of 'A000001' and 'A000002'"):
        clv_spark.score(world.posterior, spark.createDataFrame(copied), tables.accounts, **ASKED)
    euros = world.events.copy()
    euros.loc[euros["account_id"] == "A000003", "currency"] = "EUR"
    with pytest.raises(clv.LedgerError, match="USD .* EUR"):
        clv_spark.score(world.posterior, spark.createDataFrame(euros), tables.accounts, **ASKED, partitions=4)
    twice = tables.accounts.union(tables.accounts.limit(1))
    with pytest.raises(clv.LedgerError, match="account_id must be unique"):
        clv_spark.score(world.posterior, tables.events, twice, **ASKED)


SEGMENTS = ("segment", "region")


def test_the_cells_are_those_of_one_machine(world: World, tables: Tables) -> None:
    histories = build_histories(world.ledger(), only=COUNTED)
    frame = build_frame(histories, SEGMENTS)
    cells = build_cells(histories, frame, MAX_CELLS)
    assert cells.renewal.n_lines_used < cells.renewal.n_lines
    day = date.fromisoformat(AS_OF)
    facts, found = count_cells(*tables, SEGMENTS, None, MAX_CELLS, day, None, 3)
    assert_equal_arrays(found.frame, frame, "frame")
    assert_equal_arrays(found.cells, cells, "cells")
    assert found.warnings == histories.warnings and facts.as_of == day


@pytest.mark.parametrize("max_cells", [None, MAX_CELLS])
def test_what_workers_count_makes_the_cells_of_all(max_cells: int | None, world: World) -> None:
    """The rounds without a cluster: parts of scattered accounts, merged in two steps."""
    facts, parts = job_of(world).facts, scattered(world, 4)

    def of_all(count: Count) -> Counts:
        counted = [table_of(body) for part in parts for _, body in bodies(count_part(facts, count, max_cells, part))]
        half = added_counts(max_cells, counted[:2])
        return counts_of(added_counts(max_cells, [*counted[2:], half]))

    histories = build_histories(world.ledger(), only=COUNTED)
    frame = build_frame(histories, SEGMENTS)
    found = counted_in_rounds(of_all, SEGMENTS, None, max_cells)
    assert_equal_arrays(found.frame, frame, "frame")
    assert_equal_arrays(found.cells, build_cells(histories, frame, max_cells), "cells")
    assert found.warnings == histories.warnings


@pytest.mark.slow
def test_the_draws_are_those_of_one_machine(world: World, tables: Tables) -> None:
    asked: dict[str, Any] = {"segments": ["segment"], "seed": 11, "draws": 500, "progress": False}
    mine = clv_spark.fit(*tables, **asked, as_of=AS_OF, partitions=3)
    theirs = clv.fit(world.ledger(), **asked)
    assert mine.draws.identical(theirs.draws)
    assert (mine.as_of, mine.currency) == (theirs.as_of, theirs.currency)


def test_segments_that_cannot_be_are_told_before_any_task(tables: Tables) -> None:
    with pytest.raises(clv.ClvError, match="country"):
        clv_spark.fit(*tables, segments=["country"], progress=False)
    with pytest.raises(clv.FitError, match="draws=10"):
        clv_spark.fit(*tables, draws=10, progress=False)


class Held(NamedTuple):
    """In place of a `pyspark.Broadcast`."""

    value: Any


def as_batches(world: World) -> list[pa.RecordBatch]:
    """What a worker sees of a part: rows with a struct of the events, or of the accounts table."""
    events, accounts = (pa.Table.from_pandas(table, preserve_index=False) for table in (world.events, world.accounts))

    def packed(table: pa.Table, name: str) -> pa.Table:
        return pa.table({"key": table["account_id"].cast(pa.string()), name: table.to_struct_array()})

    rows = pa.concat_tables([packed(events, "event"), packed(accounts, "account")], promote_options="default")
    return rows.to_batches(max_chunksize=1000)


def scattered(world: World, n_parts: int) -> list[list[pa.RecordBatch]]:
    """What workers see of so many parts, whose accounts are no neighbours."""
    rows = pa.Table.from_batches(as_batches(world))
    part = np.array([crc32((key or "").encode()) % n_parts for key in rows["key"].to_pylist()])
    return [rows.filter(pa.array(part == mine)).to_batches() for mine in range(n_parts)]


def job_of(world: World) -> Job:
    (said,) = (row.as_py() for batch in facts_of_part(None, as_batches(world)) for row in batch.column("said"))
    facts = joined_facts([json.loads(said)], date.fromisoformat(AS_OF), None, len(world.events))
    return Job(Held(file_of(world.posterior)), Held((None, None)), ASKED, facts, 1)


def test_an_account_that_fails_is_a_row_and_the_others_are_forecast(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = ["A000010", "A000011", "A000333"]

    def forecast(posterior: clv.Posterior, ledger: clv.Ledger, **asked: Any) -> clv.Forecast:
        if found := set(bad) & set(ledger.events["account_id"].to_pylist()):
            raise ZeroDivisionError(f"one of {len(found)}")
        return clv.forecast(posterior, ledger, **asked)

    monkeypatch.setattr(forecasts, "forecast", forecast)
    rows = pa.Table.from_batches(list(score_part(job_of(world), as_batches(world))), PART_ROWS)
    of_kind = {
        kind: rows.filter(pc.equal(rows["kind"], kind)).to_batches() for kind in ("failures", "totals", "accounts")
    }
    failures = pa.Table.from_batches(list(tables_of(FAILURE_SCHEMA, of_kind["failures"]))).to_pylist()
    assert sorted(failure["account_id"] for failure in failures) == bad
    assert {(failure["error"], failure["message"]) for failure in failures} == {("ZeroDivisionError", "one of 1")}
    monkeypatch.undo()
    ledger = world.ledger()
    others = pc.invert(pc.is_in(ledger.accounts["account_id"], pa.array(bad)))
    whole = clv.forecast(world.posterior, of_accounts(ledger, ledger.accounts["account_id"].filter(others)), **ASKED)
    assert added(table_of(body) for _, body in bodies(of_kind["totals"])).equals(added([total_rows(whole)]))
    tables = pd.concat([frames_of(body, n, 2)[0] for n, body in bodies(of_kind["accounts"])])
    pd.testing.assert_frame_equal(
        tables.sort_values("account_id", ignore_index=True), whole.table, check_exact=True, check_dtype=False
    )


def test_what_is_no_account_fails_the_task(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(posterior: clv.Posterior, ledger: clv.Ledger, **asked: Any) -> clv.Forecast:
        raise OSError("no space left")

    def broken(posterior: clv.Posterior, ledger: clv.Ledger, **asked: Any) -> clv.Forecast:
        raise ValueError("every account")

    job, batches = job_of(world), as_batches(world)
    monkeypatch.setattr(forecasts, "forecast", full)
    with pytest.raises(OSError, match="no space left"):
        list(score_part(job, batches))
    monkeypatch.setattr(forecasts, "forecast", broken)
    with pytest.raises(clv.ClvError, match="more than 100 accounts of a part .*every account"):
        list(score_part(job, batches))


def when_scored(spark: Any, parts: int, then: Any) -> None:
    """Call `then` once so many parts are scored, while others are not."""
    tracker = spark.sparkContext.statusTracker()
    until = time.monotonic() + 120.0
    while time.monotonic() < until:
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        if any(stage and "result.py" in stage.name and stage.numCompletedTasks >= parts for stage in stages):
            return then()
        time.sleep(0.05)
    raise AssertionError("the job was over before anything could be killed")


def test_a_killed_executor_and_a_killed_worker_change_nothing(
    running: Cluster, spark: Any, world: World, tables: Tables
) -> None:
    asked = {**ASKED, "draws": 80, "horizon_months": 60}
    whole = clv.forecast(world.posterior, world.ledger(), **asked)
    found: list[clv_spark.SparkForecast] = []
    job = threading.Thread(
        target=lambda: found.append(clv_spark.score(world.posterior, *tables, as_of=AS_OF, **asked, partitions=8))
    )
    job.start()
    when_scored(spark, 2, lambda: running.kill_executor(0))
    when_scored(spark, 4, lambda: running.kill_worker(running.workers[0]))
    job.join()
    assert len(running.workers) == 1 and found
    assert_same(found[0], whole)  # parts whose results went with the worker are simulated again
    running.add_worker()
