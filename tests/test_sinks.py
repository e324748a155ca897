"""Published runs are there whole or not at all, exactly once, in both databases; what is read from a database is exact."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from clvforecast.batch.schema import ACCOUNT_RANGES, RUNS, TABLES, as_markdown
from clvforecast.batch.sinks import DuckSink, PostgresSink, Sink, sink_of
from clvforecast.batch.sinks.views import VIEW_NAMES, views
from clvforecast.errors import BatchError
from postgres_server import postgres_uri as postgres_uri
from published_runs import account_batches, run_tables

KILLS = 6
ODD_RUN = 'o\'neil \\ "2025" ü'
WRITER = """
import sys
from published_runs import account_batches, run_tables
from clvforecast.batch.sinks import sink_of
target, schema, run_id, number, accounts = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
tables = dict(run_tables(run_id, number))
tables["account_ranges"] = account_batches(run_id, number, accounts)
print("ready", flush=True)
sink_of(target, schema).publish(run_id, tables, 2)
"""


@pytest.fixture(params=["duckdb", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where to publish: a new file, or a server in which the test has a schema of its own."""
    return str(tmp_path / "clv.duckdb") if request.param == "duckdb" else request.getfixturevalue("postgres_uri")


@pytest.fixture
def schema(request: pytest.FixtureRequest) -> str:
    return f"Clv {abs(hash(request.node.nodeid))}"


@pytest.fixture
def sink(target: str, schema: str) -> Sink:
    return sink_of(target, schema)


def same(found: pa.Table, given: pa.Table, key: str | None = None) -> None:
    """The same rows, in whatever order."""
    order = [(name, "ascending") for name in given.column_names] if key is None else [(key, "ascending")]
    found = found.select(given.column_names).cast(given.schema)
    assert found.sort_by(order).equals(given.sort_by(order))


# --- what is published is what is read ---------------------------------------------------------------------


def test_every_table_comes_back_as_it_was(sink: Sink) -> None:
    tables = run_tables(ODD_RUN, 3, segments=("plan", "Größe \"x\" 'y'"))
    assert sink.publish(ODD_RUN, tables, 3)
    assert sink.current() == ODD_RUN
    for name, table in tables.items():
        same(sink.read(name), table)
        same(sink.read(name, run_id=ODD_RUN), table)
    assert sink.read("account_ranges", columns=["account_id"]).column_names == ["account_id"]
    assert sink.read("clv_accounts").column_names == tables["account_ranges"].column_names


def test_nan_is_null_and_what_a_run_does_not_have_too(sink: Sink) -> None:
    tables = run_tables("a", accounts=2)
    accounts = tables["account_ranges"].drop_columns(["paid_to_date", "p_active_36m"])
    mean = accounts.column_names.index("mean")
    tables["account_ranges"] = accounts.set_column(mean, "mean", pa.array([float("nan"), 1.5]))
    del tables["arr_ranges"]
    sink.publish("a", tables, 1)
    read = sink.read("clv_accounts").sort_by("account_id")
    assert read["mean"].to_pylist() == [None, 1.5]
    assert read["paid_to_date"].null_count == read["p_active_36m"].null_count == 2
    assert sink.read("clv_arr").num_rows == 0


def test_what_pandas_makes_of_the_columns_is_taken(sink: Sink) -> None:
    """Dictionaries, large texts, times of day 0 and wider integers are the schema's types when nothing is lost."""
    tables = run_tables("a", accounts=3)
    accounts, runs = tables["account_ranges"], tables["runs"]
    accounts = accounts.set_column(accounts.num_columns - 1, "plan", accounts["plan"].dictionary_encode())
    accounts = accounts.set_column(1, "as_of", accounts["as_of"].cast(pa.timestamp("ns")))
    accounts = accounts.set_column(2, "account_id", accounts["account_id"].cast(pa.large_string()))
    place = runs.column_names.index("draws")
    given = {"account_ranges": accounts, "runs": runs.set_column(place, "draws", runs["draws"].cast(pa.int64()))}
    sink.publish("a", {**tables, **given}, 1)
    same(sink.read("account_ranges"), tables["account_ranges"])


def test_before_the_first_publication_there_is_nothing(sink: Sink) -> None:
    assert sink.current() is None
    assert sink.runs().num_rows == 0 and sink.runs().column_names[-1] == "is_current"
    with pytest.raises(BatchError):
        sink.read("clv_accounts")
    with pytest.raises(BatchError, match="is not there"):
        sink.activate("a")


# --- exactly once, and back again ----------------------------------------------------------------------------


def test_a_run_is_published_once(sink: Sink) -> None:
    assert sink.publish("a", run_tables("a", 1), 3)
    assert sink.publish("b", run_tables("b", 2), 3)
    before = sink.runs()
    assert not sink.publish("a", run_tables("a", 7), 3), "there already: nothing is read, nothing changes"
    assert sink.current() == "b" and sink.runs().equals(before)
    same(sink.read("account_ranges", run_id="a"), run_tables("a", 1)["account_ranges"])


def test_the_last_runs_stay(sink: Sink) -> None:
    for number, run_id in enumerate("abcd"):
        sink.publish(run_id, run_tables(run_id, number), 2)
    assert sink.runs()["run_id"].to_pylist() == ["c", "d"]
    assert sink.runs()["is_current"].to_pylist() == [False, True]
    for name in TABLES:
        assert set(sink.read(name)["run_id"].to_pylist()) == {"c", "d"}
    sink.publish("a", run_tables("a", 9), 2)  # a name that was there before is a new run
    assert sink.runs()["run_id"].to_pylist() == ["d", "a"]
    same(sink.read("clv_accounts"), run_tables("a", 9)["account_ranges"])


def test_an_earlier_run_can_be_made_current_again(sink: Sink) -> None:
    for number, run_id in enumerate("abc"):
        sink.publish(run_id, run_tables(run_id, number), 3)
    sink.activate("b")
    sink.activate("b")
    assert sink.current() == "b"
    same(sink.read("clv_accounts"), run_tables("b", 1)["account_ranges"])
    assert set(sink.read("clv_changes")["previous_run_id"].to_pylist()) == {"a"}
    assert sink.runs()["is_current"].to_pylist() == [False, True, False]
    with pytest.raises(BatchError, match="is not there"):
        sink.activate("z")
    sink.publish("d", run_tables("d", 3), 2)
    assert sink.current() == "d" and sink.runs()["run_id"].to_pylist() == ["c", "d"]


# --- views ---------------------------------------------------------------------------------------------------


def test_views_have_their_rows_of_the_current_run(sink: Sink) -> None:
    sink.publish("a", run_tables("a", 1, other_rows=24), 2)
    given = run_tables("b", 2, other_rows=24)
    sink.publish("b", given, 2)
    periods = given["period_ranges"]
    of_segments = pc.invert(pc.is_in(periods["segment"], pa.array(["all", "origin"])))
    quarters = pc.and_(pc.equal(periods["freq"], "quarter"), pc.equal(periods["value"], "revenue"))
    same(sink.read("clv_segment_quarters"), periods.filter(pc.and_(of_segments, quarters)))
    same(sink.read("clv_segments"), periods.filter(pc.and_(of_segments, pc.equal(periods["freq"], "total"))))
    same(sink.read("clv_portfolio"), periods.filter(pc.equal(periods["segment"], "all")))
    same(sink.read("clv_arr"), given["arr_ranges"])
    same(sink.read("clv_retention"), given["retention_ranges"])
    assert all(sink.read(name).num_rows for name in VIEW_NAMES)


def test_changes_put_the_run_before_beside_the_current_one(sink: Sink) -> None:
    before = run_tables("a", 1, accounts=5)["account_ranges"]
    after = run_tables("b", 2, accounts=6)["account_ranges"].slice(1)
    for run_id, accounts in (("a", before), ("b", after)):
        sink.publish(run_id, {**run_tables(run_id), "account_ranges": accounts}, 2)
    changes = sink.read("clv_changes").sort_by("account_id").to_pylist()
    assert [row["found_in"] for row in changes] == ["gone", "both", "both", "both", "both", "new"]
    old = {row["account_id"]: row for row in before.to_pylist()}
    new = {row["account_id"]: row for row in after.to_pylist()}
    for row in changes[1:-1]:
        then, now = old[row["account_id"]], new[row["account_id"]]
        assert (row["q50"], row["previous_q50"]) == (now["q50"], then["q50"])
        assert (row["lower"], row["previous_upper"]) == (now["lower"], then["upper"])
        assert row["q50_change"] == (None if None in (now["q50"], then["q50"]) else now["q50"] - then["q50"])
        assert (row["run_id"], row["previous_run_id"]) == ("b", "a")


# --- columns that grow ---------------------------------------------------------------------------------------


def test_new_segment_columns_come_last_and_old_ones_stay(sink: Sink) -> None:
    sink.publish("a", run_tables("a", 1, segments=("plan",)), 9)
    sink.publish("b", run_tables("b", 2, segments=("region", "plan")), 9)
    sink.publish("c", run_tables("c", 3, segments=()), 9)
    assert sink.read("clv_accounts").column_names == [*ACCOUNT_RANGES.names, "plan", "region"]
    assert sink.read("account_ranges", "a")["region"].null_count == 40
    same(sink.read("account_ranges", "b"), run_tables("b", 2, segments=("region", "plan"))["account_ranges"])
    assert sink.read("account_ranges", "c")["plan"].null_count == 40


@pytest.mark.parametrize(
    "name, values, said",
    [
        ("Mean", ["x"], "has the name of the column 'mean'"),
        ("PLAN", ["x"], "has the name of the column 'plan'"),
        ("x" * 64, ["x"], "63"),
        ("seats", [5], "holds int64"),
    ],
)
def test_segment_columns_that_cannot_be_are_refused_before_anything_is_written(
    sink: Sink, name: str, values: list[object], said: str
) -> None:
    sink.publish("a", run_tables("a", accounts=1), 3)
    tables = run_tables("b", accounts=1)
    tables["account_ranges"] = tables["account_ranges"].append_column(name, pa.array(values))
    with pytest.raises(BatchError, match=said):
        sink.publish("b", tables, 3)
    assert sink.current() == "a" and sink.runs().num_rows == 1


def test_a_column_of_another_type_is_refused(sink: Sink, target: str, schema: str) -> None:
    sink.publish("a", run_tables("a"), 3)
    statement = "ALTER TABLE {at}account_ranges ADD COLUMN seats bigint"
    if isinstance(sink, DuckSink):
        with duckdb.connect(target) as connection:
            connection.execute(statement.format(at=""))
    else:
        in_server(target, statement.format(at=f'"{schema}".'))
    with pytest.raises(BatchError, match="column 'seats' is bigint there, but text"):
        sink.publish("b", run_tables("b", segments=("seats",)), 3)
    assert sink.current() == "a"


@pytest.mark.parametrize(
    "spoil", ["no runs", "two runs", "unknown table", "missing column", "foreign run", "no id", "twice"]
)
def test_tables_that_do_not_fit_are_refused_and_nothing_changes(sink: Sink, spoil: str) -> None:
    sink.publish("a", run_tables("a", 1), 3)
    tables = run_tables("b", 2)
    accounts = tables["account_ranges"]
    spoilt = {
        "no runs": {"runs": tables["runs"].slice(0, 0)},
        "two runs": {"runs": pa.concat_tables([tables["runs"], tables["runs"]])},
        "unknown table": {"account_rangs": accounts},
        "missing column": {"account_ranges": accounts.drop_columns(["mean"])},
        "foreign run": {"account_ranges": pa.concat_tables([accounts, run_tables("c")["account_ranges"]])},
        "no id": {"account_ranges": accounts.set_column(2, "account_id", pa.nulls(40, pa.string()))},
        "twice": {"account_ranges": pa.concat_tables([accounts, accounts.slice(3, 1)])},
    }
    with pytest.raises(BatchError):
        sink.publish("b", {**tables, **spoilt[spoil]}, 1)
    assert sink.current() == "a" and sink.runs()["run_id"].to_pylist() == ["a"]
    assert set(sink.read("account_ranges")["run_id"].to_pylist()) == {"a"}
    assert sink.publish("b", tables, 1) and sink.current() == "b"


def test_an_error_in_the_making_of_rows_is_told_and_nothing_changes(sink: Sink) -> None:
    sink.publish("a", run_tables("a", 1), 3)

    def broken() -> Iterator[pa.RecordBatch]:
        yield from account_batches("b", 2, 100_000)
        raise ValueError("the disk of the kitchen is full")

    with pytest.raises(BatchError, match="the disk of the kitchen is full"):
        sink.publish("b", {**run_tables("b", 2), "account_ranges": broken()}, 3)
    assert sink.current() == "a" and sink.runs().num_rows == 1


@pytest.mark.parametrize("keep_runs", [0, -1, 1.5, True])
def test_at_least_the_published_run_stays(sink: Sink, keep_runs: int) -> None:
    with pytest.raises(BatchError, match="keep_runs"):
        sink.publish("a", run_tables("a"), keep_runs)


# --- readers, writers and kills ------------------------------------------------------------------------------


class Glimpse:
    """What a reader sees, asked over and over: in one query the runs of the accounts, how many, and the sum of their seconds."""

    def __init__(self, target: str, schema: str) -> None:
        at = "" if target.endswith(".duckdb") else f'"{schema}".'
        self.target = target
        self.query = (
            f"SELECT run_id, count(*), count(DISTINCT account_id), (SELECT count(*) FROM {at}clv_portfolio), "
            f"(SELECT max(run_id) FROM {at}clv_runs WHERE is_current) FROM {at}clv_accounts GROUP BY run_id"
        )

    def once(self) -> list[tuple[object, ...]]:
        if self.target.endswith(".duckdb"):
            with duckdb.connect(self.target, read_only=True) as connection:
                return connection.execute(self.query).fetchall()
        return in_server(self.target, "SET lock_timeout = '2s'", self.query)


def in_server(uri: str, *statements: str) -> list[tuple[object, ...]]:
    """What the last of the statements finds."""
    dbapi = pytest.importorskip("adbc_driver_postgresql.dbapi")
    rows: list[tuple[object, ...]] = []
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            rows = list(cursor.fetchall()) if cursor.description else []
    return rows


@pytest.mark.parametrize("segments", [("plan",), ("plan", "region")], ids=["same columns", "new column"])
def test_a_reader_sees_one_whole_run(sink: Sink, target: str, schema: str, segments: tuple[str, ...]) -> None:
    """Two readers ask all the time, while runs are published, removed and made current again."""
    sizes = {f"run {number}": 3_000 + number for number in range(8)}
    sink.publish("run 0", {**run_tables("run 0"), "account_ranges": account_batches("run 0", 0, 3_000)}, 2)
    glimpse, done = Glimpse(target, schema), threading.Event()

    def look() -> Counter[tuple[tuple[object, ...], ...]]:
        seen: Counter[tuple[tuple[object, ...], ...]] = Counter()
        while not done.is_set():
            seen[tuple(glimpse.once())] += 1
        return seen

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(look) for _ in range(2)]
        try:
            for number in range(1, 8):
                run_id = f"run {number}"
                accounts = account_batches(run_id, number, sizes[run_id], segments)
                sink.publish(run_id, {**run_tables(run_id, number), "account_ranges": accounts}, 2)
                if number == 4:
                    sink.activate("run 3")
        finally:
            done.set()
        seen = sum((reader.result() for reader in readers), Counter())
    for rows in seen:
        assert len(rows) == 1, rows
        ((run_id, accounts, distinct, periods, current),) = rows
        assert (accounts, distinct, periods, current) == (sizes[str(run_id)], sizes[str(run_id)], 3, run_id)
    assert len(seen) > 2, "the readers saw runs come and go"


def test_a_reader_who_stays_stops_no_night(postgres_uri: str, schema: str) -> None:
    """A transaction that has read and stays open: runs are published and removed beside it, and it is told what it saw."""
    sink = PostgresSink(postgres_uri, schema)
    sink.publish("a", run_tables("a", 1), 2)
    dbapi = pytest.importorskip("adbc_driver_postgresql.dbapi")
    with dbapi.connect(postgres_uri) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        query = f'SELECT count(*), min(run_id) FROM "{schema}".clv_accounts'
        cursor.execute(query)
        first = cursor.fetchall()
        for number, run_id in enumerate("bcd", start=2):
            sink.publish(run_id, run_tables(run_id, number), 2)
        assert sink.runs()["run_id"].to_pylist() == ["c", "d"]
        assert set(sink.read("account_ranges")["run_id"].to_pylist()) == {"c", "d"}
        cursor.execute(query)
        assert cursor.fetchall() == first == [(40, "a")]
    sink.publish("e", run_tables("e", 5), 2)
    left = in_server(
        postgres_uri,
        f"SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}' AND tablename LIKE 'account_ranges_%'",
    )
    assert left == [(2,)], "partitions that could not be dropped before are gone"


def test_a_reader_who_stays_stops_a_new_column_only(postgres_uri: str, schema: str) -> None:
    sink = PostgresSink(postgres_uri, schema, wait_seconds=0.3)
    sink.publish("a", run_tables("a", 1), 2)
    dbapi = pytest.importorskip("adbc_driver_postgresql.dbapi")
    with dbapi.connect(postgres_uri) as connection, connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{schema}".clv_accounts')
        cursor.fetchall()
        with pytest.raises(BatchError, match="no moment without readers"):
            sink.publish("b", run_tables("b", 2, segments=("plan", "region")), 2)
        assert sink.current() == "a"
    assert sink.publish("b", run_tables("b", 2, segments=("plan", "region")), 2)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_somebody_has_open_is_published_to(tmp_path: Path, read_only: bool) -> None:
    """Who has the file open keeps what it showed; who opens it again has the new run. Even where it is open to write."""
    sink = DuckSink(tmp_path / "clv.duckdb")
    sink.publish("a", run_tables("a", 1), 3)
    held = f"""
import duckdb, sys
connection = duckdb.connect({str(sink.path)!r}, read_only={read_only})
print(connection.execute("SELECT run_id FROM current_run").fetchone(), flush=True)
sys.stdin.readline()
print(connection.execute("SELECT count(*), min(run_id) FROM clv_accounts").fetchone(), flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "('a',)\n"
        assert sink.publish("b", run_tables("b", 2), 3) and sink.current() == "b"
        print(file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "(40, 'a')\n"
    assert sink.publish("c", run_tables("c", 3), 3) and sink.runs().num_rows == 3


def test_the_file_can_be_attached_under_another_name(tmp_path: Path) -> None:
    DuckSink(tmp_path / "clv.duckdb").publish("a", run_tables("a", 1), 3)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{tmp_path / 'clv.duckdb'}' AS finance (READ_ONLY)")
        for name in VIEW_NAMES:
            assert connection.execute(f"SELECT count(*) FROM finance.{name}").fetchall()[0][0] > 0


def test_two_publishers_at_once_come_one_after_the_other(sink: Sink, target: str, schema: str) -> None:
    """Four runs at once, one of them twice: each is there once, whole, and the last to come is current."""
    sink.publish("z", run_tables("z", 9), 9)

    def publish(run_id: str) -> bool:
        return sink_of(target, schema).publish(run_id, run_tables(run_id, ord(run_id)), 9)

    with ThreadPoolExecutor(5) as pool:
        done = list(pool.map(publish, "abcda"))
    assert sum(done) == 4 and all(done[1:4])
    assert sorted(sink.runs()["run_id"].to_pylist()) == list("abcdz")
    assert sink.runs()["publication"].to_pylist() == sorted(set(sink.runs()["publication"].to_pylist()))
    assert sink.current() == sink.runs()["run_id"].to_pylist()[-1]
    for run_id in "abcd":
        same(sink.read("account_ranges", run_id), run_tables(run_id, ord(run_id))["account_ranges"])


def test_a_publisher_does_not_wait_for_ever(sink: Sink, target: str, schema: str) -> None:
    sink.publish("a", run_tables("a"), 2)
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> Iterator[pa.RecordBatch]:
        begun.set()
        assert go_on.wait(60)
        yield from account_batches("b", 1, 10)

    impatient = sink_of(target, schema)
    impatient.wait_seconds = 0.2  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(sink.publish, "b", {**run_tables("b"), "account_ranges": slowly()}, 2)
        try:
            assert begun.wait(60)
            with pytest.raises(BatchError, match="lock|another process"):
                impatient.publish("c", run_tables("c"), 2)
        finally:
            go_on.set()
        assert slow.result()
    assert sink.current() == "b"


def kill_publishers(
    target: str, schema: str, kills: int, accounts: int, random: np.random.Generator, longest: float
) -> int:
    """Kill publishing processes at random moments up to ``longest`` seconds; how many runs came all the same.

    After each kill the current run must be whole, be the old or the new one, and the next publication must find no obstacle.
    """
    sink, sizes, came = sink_of(target, schema), {"base": 50}, 0
    sink.publish("base", {**run_tables("base"), "account_ranges": account_batches("base", 0, 50)}, 2)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    before = "base"
    for number in range(1, kills + 1):
        run_id = f"killed {number}"
        sizes[run_id] = accounts
        call = [sys.executable, "-c", WRITER, target, schema, run_id, str(number), str(accounts)]
        with subprocess.Popen(call, stdout=subprocess.PIPE, env=environment) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
            time.sleep(random.uniform(0.0, longest))
            writer.send_signal(signal.SIGKILL)
        current = sink.current()
        assert current in (before, run_id)
        came += current == run_id
        check_whole(sink, sizes)
        before = str(current)
    assert sink.publish("last", run_tables("last", 99), 2) and sink.current() == "last"
    check_whole(sink, {**sizes, "last": 40})
    return came


def check_whole(sink: Sink, sizes: dict[str, int]) -> None:
    """Every run that is there has all its rows, in every table, and no other run has any."""
    runs = set(sink.runs()["run_id"].to_pylist())
    accounts = Counter(sink.read("account_ranges", columns=["run_id"])["run_id"].to_pylist())
    assert accounts == {run_id: sizes[run_id] for run_id in runs}
    for name in TABLES.keys() - {"account_ranges", "runs"}:
        assert Counter(sink.read(name, columns=["run_id"])["run_id"].to_pylist()) == dict.fromkeys(runs, 12)
    assert Counter(sink.read("clv_accounts", columns=["run_id"])["run_id"].to_pylist()).keys() == {sink.current()}


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_kill_at_any_moment_leaves_a_whole_run(target: str, schema: str) -> None:
    kill_publishers(target, schema, KILLS, accounts=20_000, random=np.random.default_rng(11), longest=1.5)


def test_what_a_killed_process_leaves_is_removed(tmp_path: Path) -> None:
    """The log of a temporary that is gone; not that of one which another process writes."""
    left, running = (
        tmp_path / ".clv.duckdb.0a0a0a0a-1-00000000.part.wal",
        tmp_path / ".clv.duckdb.0a0a0a0a-2-00000000.part",
    )
    for path in (left, running, running.with_name(running.name + ".wal")):
        path.write_bytes(b"x")
    left.with_suffix(".tmp").mkdir()
    DuckSink(tmp_path / "clv.duckdb").publish("a", run_tables("a"), 1)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"clv.duckdb", ".clv.duckdb.lock", running.name, running.name + ".wal"}


# --- errors say what to do, and no password ------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:se%63ret@127.0.0.1:1/x",
        "postgresql://me:secret@127.0.0.1:notaport/x",
        "postgresql://me:se%zzcret@127.0.0.1/x",
        "postgresql://me@127.0.0.1:1/x?password=secret",
        "postgresql://me:secret@nowhere.invalid/x",
    ],
)
def test_no_message_has_the_password(uri: str) -> None:
    pytest.importorskip("adbc_driver_postgresql")
    sink = PostgresSink(uri)
    ways: list[Callable[[], object]] = [sink.current, lambda: sink.publish("a", run_tables("a"), 1)]
    for way in ways:
        with pytest.raises(BatchError, match="See that the server runs") as refused:
            way()
        chain = [str(refused.value), repr(refused.value.__cause__), repr(sink)]
        assert not any(secret in text for text in chain for secret in ("secret", "se%63ret", "se%zzcret"))


def test_the_uri_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLVFORECAST_POSTGRES_URI", raising=False)
    with pytest.raises(BatchError, match="CLVFORECAST_POSTGRES_URI"):
        PostgresSink()
    monkeypatch.setenv("CLVFORECAST_POSTGRES_URI", "postgresql://me:secret@host/x")
    assert repr(PostgresSink()) == "PostgresSink('postgresql://me:***@host/x', schema='clv')"


def test_a_user_without_permission_is_told_what_to_do(postgres_uri: str, schema: str) -> None:
    PostgresSink(postgres_uri, schema).publish("a", run_tables("a"), 2)
    user = f"reader_{abs(hash(schema))}"
    grants = (f'GRANT USAGE ON SCHEMA "{schema}" TO {user}', f'GRANT SELECT ON "{schema}".clv_accounts TO {user}')
    in_server(postgres_uri, f"CREATE USER {user}", *grants)
    reader = postgres_uri.replace("postgres@", f"{user}@")
    assert PostgresSink(reader, schema).read("clv_accounts").num_rows == 40, "the views need no more than this"
    for refused in (lambda: PostgresSink(reader, schema).activate("a"), lambda: PostgresSink(reader, schema).runs()):
        with pytest.raises(BatchError, match="permission denied.*have it granted"):
            refused()
    with pytest.raises(BatchError, match="permission denied.*have it granted"):
        PostgresSink(reader, "another").publish("b", run_tables("b"), 2)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clv.duckdb"
    path.write_bytes(b"not a database" * 1000)
    for way in (DuckSink(path).current, lambda: DuckSink(path).publish("a", run_tables("a"), 1)):
        with pytest.raises(BatchError, match="not a valid DuckDB database file"):
            way()
    assert path.read_bytes() == b"not a database" * 1000


# --- what the databases say of their columns ------------------------------------------------------------------


def test_comments_say_what_every_column_means(sink: Sink, target: str, schema: str) -> None:
    sink.publish("a", run_tables("a"), 2)
    if isinstance(sink, DuckSink):
        query = "SELECT table_name, column_name, comment FROM duckdb_columns()"
        with duckdb.connect(target, read_only=True) as connection:
            found = connection.execute(query).fetchall()
    else:
        found = in_server(
            target,
            "SELECT c.relname::text, a.attname::text, col_description(c.oid, a.attnum) FROM pg_class c JOIN pg_attribute a "
            f"ON a.attrelid = c.oid WHERE c.relnamespace = '\"{schema}\"'::regnamespace AND a.attnum > 0",
        )
    said = {(table, column): comment for table, column, comment in found}
    for table in TABLES.values():
        for column in table.columns:
            assert column.meaning in str(said[table.name, column.name])
    for view in views(("plan",)):
        for _, column in view.columns:
            assert column.meaning in str(said[view.name, column.name])


def test_the_schema_prints_as_a_table() -> None:
    for table in TABLES.values():
        lines = as_markdown(table).splitlines()
        assert all(line.count("|") == 5 for line in lines)
        assert len(lines) == 2 + len(table.columns) + (2 if table is RUNS else 0) + table.has_segments


def test_every_table_begins_with_its_run_and_day() -> None:
    assert all(table.names[:2] == ("run_id", "as_of") for table in TABLES.values())
    assert date(2025, 7, 3) in run_tables("a", 3)["runs"]["as_of"].to_pylist()
