"""How long it takes to publish account ranges, and in how much memory: `python benchmarks/publish.py --rows 1e6`.

Each sink is measured in a process of its own: a first run, then two more beside it, of which the last removes the first.
PostgreSQL is a server in a temporary folder, with its own defaults for durability, unless --uri names one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from postgres_server import DURABLE, started  # noqa: E402
from published_runs import ROWS_AT_A_TIME, run_tables  # noqa: E402
from published_runs import account_batches as made_up_batches  # noqa: E402

SEGMENTS = ("plan", "region", "industry")
KEEP_RUNS = 2
RUNS = ("first", "second", "third, the first goes")


def main() -> None:
    arguments = parsed()
    if arguments.target is not None:
        print(json.dumps(measured(arguments.target, arguments.rows)))
        return
    print("| sink | run | rows | columns | seconds | rows a second | peak memory, MB | on disk, MB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name, target in (
            ("DuckDB", str(Path(folder, "clv.duckdb"))),
            ("PostgreSQL", arguments.uri or started(DURABLE)),
        ):
            for row in in_own_process(target, arguments.rows):
                print(f"| {name} | " + " | ".join(row) + " |", flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=1_000_000, help="accounts a run")
    parser.add_argument("--uri", help="a PostgreSQL server to publish to, schema clv_bench")
    parser.add_argument("--folder", help="where the DuckDB file is written")
    parser.add_argument("--target", help=argparse.SUPPRESS)
    return parser.parse_args()


def in_own_process(target: str, rows: int) -> list[list[str]]:
    call = [sys.executable, __file__, "--rows", str(rows), "--target", target]
    done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def measured(target: str, rows: int) -> list[list[str]]:
    """One row of the table a run."""
    from clvforecast.batch.sinks import sink_of

    sink, table = sink_of(target, "clv_bench"), []
    for number, label in enumerate(RUNS):
        tables = {**run_tables(label, number), "account_ranges": account_batches(label, number, rows)}
        columns = len(tables["account_ranges"].schema)
        before = peak_mb()
        seconds = seconds_of(lambda given=tables, run=label: sink.publish(run, given, KEEP_RUNS))
        size = f"{Path(target).stat().st_size / 1e6:,.0f}" if Path(target).exists() else ""
        memory = f"{peak_mb():,.0f} ({before:,.0f} before)"
        table.append([label, f"{rows:,}", f"{columns}", f"{seconds:.1f}", f"{rows / seconds:,.0f}", memory, size])
    return table


def account_batches(run_id: str, number: int, rows: int) -> pa.RecordBatchReader:
    """Accounts whose figures are random in every digit, as those of simulated draws are; batches differ in account_id only."""
    model = next(made_up_batches(run_id, number, ROWS_AT_A_TIME, SEGMENTS))
    random = np.random.default_rng(number)
    columns = [
        pa.array(random.lognormal(8.0, 2.0, len(model))) if pa.types.is_floating(column.type) else column
        for column in model.columns
    ]
    place = model.schema.get_field_index("account_id")

    def batches() -> Iterator[pa.RecordBatch]:
        for first in range(0, rows, ROWS_AT_A_TIME):
            n_rows = min(ROWS_AT_A_TIME, rows - first)
            columns[place] = pa.array(np.char.mod("account %08d", np.arange(first, first + ROWS_AT_A_TIME)))
            yield pa.RecordBatch.from_arrays(columns, schema=model.schema).slice(0, n_rows)

    return pa.RecordBatchReader.from_batches(model.schema, batches())


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds_of(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
