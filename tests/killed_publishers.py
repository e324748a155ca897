"""Publishing processes that are killed at random moments, and what must be whole after each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np

from clvforecast.batch.schema import TABLES
from clvforecast.batch.sinks import Sink, sink_of
from published_runs import account_batches, run_tables

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
