"""Readers, other writers and kills while runs are published: what is read is one whole run, and nobody stops a night."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from clvforecast.batch.sinks import DuckSink, PostgresSink, Sink, postgres, sink_of
from clvforecast.batch.sinks.views import VIEW_NAMES
from clvforecast.errors import BatchError
from killed_publishers import kill_publishers
from postgres_server import postgres_uri as postgres_uri
from published_runs import account_batches, run_tables
from sink_fixtures import in_server, same
from sink_fixtures import schema as schema
from sink_fixtures import sink as sink
from sink_fixtures import target as target

KILLS = 6


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


def test_a_reader_who_stays_stops_no_night(postgres_uri: str, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that has read and stays open: runs are published and removed beside it, and it is told what it saw."""
    monkeypatch.setattr(postgres, "PLANNING_SECONDS", 0.1)
    monkeypatch.setattr(postgres, "DROP_SECONDS", 0.1)
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


def test_a_connection_that_is_lost_changes_nothing(postgres_uri: str, schema: str) -> None:
    sink = PostgresSink(postgres_uri, schema)
    sink.publish("a", run_tables("a", 1), 2)

    def lost() -> Iterator[pa.RecordBatch]:
        yield from account_batches("b", 2, 1_000)
        in_server(
            postgres_uri,
            f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = '\"{schema}\".runs'::regclass",
        )
        yield from account_batches("b", 2, 200_000)

    with pytest.raises(BatchError, match="publishing to schema"):
        sink.publish("b", {**run_tables("b", 2), "account_ranges": lost()}, 2)
    assert sink.current() == "a"
    assert sink.publish("b", run_tables("b", 2), 2)
    same(sink.read("clv_accounts"), run_tables("b", 2)["account_ranges"])


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
        (tags,) = connection.execute(
            "SELECT tags FROM duckdb_databases() WHERE database_name = 'finance'"
        ).fetchone() or ({},)
        assert tags["storage_version"].startswith("v1.2"), "older programs read it too"
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


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_kill_at_any_moment_leaves_a_whole_run(target: str, schema: str) -> None:
    kill_publishers(target, schema, KILLS, accounts=5_000, random=np.random.default_rng(11))


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
