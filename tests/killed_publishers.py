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

WRITER = """
import sys
from published_runs import account_batches, run_tables
from clvforecast.batch.sinks import sink_of
target, schema, run_id, number, accounts = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
tables = dict(run_tables(run_id, number))
tables["account_ranges"] = account_batches(run_id, number, accounts)
print("ready", flush=True)
sink_of(target, schema).publish(run_id, tables, 2)
print("done", flush=True)
"""


def kill_publishers(target: str, schema: str, kills: int, accounts: int, random: np.random.Generator) -> int:
    """Kill publishing processes at random moments, up to what one takes and a third more; how many runs came all the same.

    After each kill the current run must be whole, and be the old or the new one, and no other run may have a row anywhere. The
    next publication must find no obstacle.
    """
    sink = sink_of(target, schema)
    longest = 1.3 * _publish(target, schema, "run 0", 0, accounts)
    before, came = "run 0", 0
    for number in range(1, kills + 1):
        run_id = f"run {number}"
        _publish(target, schema, run_id, number, accounts, random.uniform(0.0, longest))
        current = str(sink.current())
        assert current in (before, run_id)
        came += current == run_id
        check_whole(sink, accounts)
        before = current
    _publish(target, schema, "last", 99, accounts)
    assert sink.current() == "last"
    check_whole(sink, accounts)
    return came


def _publish(
    target: str, schema: str, run_id: str, number: int, accounts: int, killed_after: float | None = None
) -> float:
    """Publish in a process of its own; the seconds that it took."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    call = [sys.executable, "-c", WRITER, target, schema, run_id, str(number), str(accounts)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, env=environment) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        began = time.perf_counter()
        if killed_after is None:
            assert writer.stdout.readline() == b"done\n"
        else:
            time.sleep(killed_after)
            writer.send_signal(signal.SIGKILL)
    return time.perf_counter() - began


def check_whole(sink: Sink, accounts: int) -> None:
    """Every run that is there has all its rows, in every table, and no other run has any."""
    runs = sink.runs()["run_id"].to_pylist()
    assert _runs_of(sink, "account_ranges") == dict.fromkeys(runs, accounts)
    for name in TABLES.keys() - {"account_ranges", "runs"}:
        assert _runs_of(sink, name) == dict.fromkeys(runs, 12)
    assert _runs_of(sink, "clv_accounts") == {sink.current(): accounts}


def _runs_of(sink: Sink, name: str) -> Counter[str]:
    return Counter(sink.read(name, columns=["run_id"])["run_id"].to_pylist())
