"""Scoring on a Spark cluster of one and two workers beside one machine: seconds, and whether the numbers are the same bits.

    PYTHONPATH=src:tests:. python benchmarks/spark_scaling.py --accounts 200000 --draws 200 --months 24

Every worker is one core, bound to a processor of its own; one machine is one process bound to one of them, so that all three have
cores of one kind. Kernels are compiled before the clock runs; the cluster has scored some accounts before, so that its Python
workers have imported the package. Seconds of the cluster include reading the files, dealing out the accounts, and the sums.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.speed.company import SEGMENTS, Company, company

import clvforecast as clv
from clvforecast.cells import COUNTED, build_cells, build_frame
from clvforecast.histories import build_histories
from clvforecast.pooled import total_rows
from clvforecast.posterior import prior
from clvforecast.spark import score
from clvforecast.spark.fitting import count_cells
from spark_cluster import assert_equal_arrays, cluster, session

KIND = "contracts"
WARM_ACCOUNTS = 2_000


@contextmanager
def bound_to(processor: int) -> Iterator[None]:
    """This process, and what it starts, on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def seconds_of(work: Any) -> tuple[float, Any]:
    begun = time.perf_counter()
    found = work()
    return round(time.perf_counter() - begun, 1), found


def training(made: Company) -> clv.Posterior:
    """A posterior of the right shape: what it has learned does not change how long scoring takes."""
    ids = pq.read_table(sorted(glob.glob(made.accounts))[0], columns=["account_id"])["account_id"][:WARM_ACCOUNTS]
    events, accounts = (
        pq.read_table(sorted(glob.glob(files)), filters=[("account_id", "in", ids.to_pylist())])
        for files in (made.events, made.accounts)
    )
    return prior(clv.read_ledger(events, accounts, as_of=made.as_of), SEGMENTS[KIND], draws=250, seed=3)


def on_one_machine(
    made: Company, posterior: clv.Posterior, asked: dict[str, Any]
) -> tuple[dict[str, Any], clv.Forecast]:
    def work() -> clv.Forecast:
        ledger = clv.read_ledger(made.events, made.accounts, as_of=made.as_of)
        return clv.forecast(posterior, ledger, **asked)

    with bound_to(0):
        clv.forecast(posterior, clv.read_ledger(*small(made), as_of=made.as_of), **asked)
        seconds, whole = seconds_of(work)
    return {"seconds": seconds, "accounts": len(whole.table)}, whole


def small(made: Company) -> tuple[pa.Table, pa.Table]:
    """The events and rows of the first accounts."""
    accounts = pq.read_table(sorted(glob.glob(made.accounts))[0]).slice(0, WARM_ACCOUNTS)
    wanted = [("account_id", "in", accounts["account_id"].to_pylist())]
    return pq.read_table(sorted(glob.glob(made.events)), filters=wanted), accounts


def on_a_cluster(
    workers: int, made: Company, posterior: clv.Posterior, asked: dict[str, Any], whole: clv.Forecast
) -> dict[str, Any]:
    with cluster(workers, bound=True) as running, session(running) as spark:
        events, accounts = (spark.read.parquet(*sorted(glob.glob(files))) for files in (made.events, made.accounts))
        few = (spark.createDataFrame(table.to_pandas()) for table in small(made))
        score(posterior, *few, **asked, as_of=made.as_of).release()
        seconds, scored = seconds_of(lambda: score(posterior, events, accounts, **asked, as_of=made.as_of))
        same_totals = total_rows(scored.forecast).equals(total_rows(whole))
        reading, table = seconds_of(lambda: scored.accounts().toPandas())
        table = table.sort_values("account_id", ignore_index=True)
        pd.testing.assert_frame_equal(table, whole.accounts(), check_exact=True, check_dtype=False)
        return {
            "seconds": seconds,
            "seconds_accounts_to_the_driver": reading,
            "parts": scored.rows.rdd.getNumPartitions(),
            "bytes_kept": kept_bytes(spark),
            "same_totals": same_totals,
            "same_accounts": True,
        }


def kept_bytes(spark: Any) -> int:
    """Bytes on the executors' disks of all that is kept."""
    infos = spark.sparkContext._jsc.sc().getRDDStorageInfo()
    return int(sum(info.diskSize() for info in infos))


def cells_of_both(made: Company) -> dict[str, Any]:
    """Frame and cells of a fit, on one processor and on two workers."""
    segments = SEGMENTS[KIND]

    def here() -> Any:
        histories = build_histories(clv.read_ledger(made.events, made.accounts, as_of=made.as_of), only=COUNTED)
        frame = build_frame(histories, segments)
        return frame, build_cells(histories, frame)

    with bound_to(0):
        one, (_, cells) = seconds_of(here)
    with cluster(2, bound=True) as running, session(running) as spark:
        events, accounts = (spark.read.parquet(*sorted(glob.glob(files))) for files in (made.events, made.accounts))
        ledger = clv.read_ledger(*small(made), as_of=made.as_of)
        two, (_, counted) = seconds_of(
            lambda: count_cells(events, accounts, segments, None, None, ledger.as_of, None, None)
        )
    assert_equal_arrays(counted.cells, cells, "cells")
    return {"seconds_on_one_processor": one, "seconds_on_two_workers": two, "same_cells": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=200_000)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/companies"))
    parser.add_argument("--cells", action="store_true", help="count the cells of a fit, too")
    told = parser.parse_args()
    asked = {"draws": told.draws, "horizon_months": told.months}
    made = company(KIND, told.accounts, told.folder)
    posterior = training(made)
    found: dict[str, Any] = {"accounts": told.accounts, "events": made.n_events, **asked}
    found["one processor"], whole = on_one_machine(made, posterior, asked)
    print(json.dumps(found), flush=True)
    for workers in (1, 2):
        found[f"{workers} workers"] = on_a_cluster(workers, made, posterior, asked, whole)
        print(json.dumps(found), flush=True)
    if told.cells:
        found["cells"] = cells_of_both(made)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
