"""A nightly run of a large company beside bare scoring: `PYTHONPATH=src:. python benchmarks/nightly.py --accounts 1e6`.

Bare scoring is `clv.forecast` of the same ledger and settings, in a process of its own. The run reads Parquet, scores in parts,
writes its tables as Parquet, and publishes them to a DuckDB file and to PostgreSQL, a server with its own defaults for
durability in a temporary folder. What reading takes is told apart: both do it. Overhead is the run without reading and
publishing over bare scoring, and then with publishing to each database.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.company import SEGMENTS, Company, company

import clvforecast as clv

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

KIND = "contracts"
VARIABLE = "CLVFORECAST_BENCH_URI"
TRAINED_ON = 20_000
"""Accounts that the posterior is fitted to: what it has learned of more does not change how long scoring takes."""


def main() -> None:
    asked = parsed()
    made = company(KIND, asked.accounts, asked.folder / "companies")
    if asked.child:
        print(json.dumps(MEASURES[asked.child](made, asked)))
        return
    posterior_of(asked)
    found = {name: in_own_process(name, asked) for name in MEASURES}
    show(found, made, asked)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=lambda text: int(float(text)), default=1_000_000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--stream", action="store_true", help="read the files in buckets, as if they did not fit")
    parser.add_argument("--folder", type=Path, default=Path("bench-output"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def posterior_of(asked: argparse.Namespace) -> Path:
    """Fitted once to a company of the same kind."""
    path = asked.folder / "nightly-posterior.nc"
    if not path.exists():
        small = company(KIND, TRAINED_ON, asked.folder / "companies")
        ledger = clv.read_ledger(small.events, small.accounts, as_of=small.as_of)
        clv.fit(ledger, SEGMENTS[KIND], progress=False).save(path)
    return path


def in_own_process(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    said = ["--accounts", asked.accounts, "--draws", asked.draws, "--months", asked.months, "--folder", asked.folder]
    call = [sys.executable, __file__, *map(str, said), *(["--stream"] if asked.stream else []), "--child", name]
    done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def bare(made: Company, asked: argparse.Namespace) -> dict[str, Any]:
    begun = time.perf_counter()
    ledger = clv.read_ledger(made.events, made.accounts, as_of=made.as_of)
    read = time.perf_counter() - begun
    posterior = clv.load_posterior(posterior_of(asked))
    begun = time.perf_counter()
    clv.forecast(posterior, ledger, horizon_months=asked.months, draws=asked.draws, ci_probs=(0.9,))
    return {"seconds": {"reading": read, "scoring": time.perf_counter() - begun}, "peak_mb": peak_mb()}


def nightly(made: Company, asked: argparse.Namespace) -> dict[str, Any]:
    from postgres_server import DURABLE, started

    folder = asked.folder / "nightly-scores"
    shutil.rmtree(folder, ignore_errors=True)
    os.environ[VARIABLE] = started(DURABLE)
    run = clv.batch.score(
        {
            "input": {"events": made.events, "accounts": made.accounts, "as_of": made.as_of, "stream": asked.stream},
            "posterior": {"file": str(posterior_of(asked))},
            "forecast": {"horizon_months": asked.months, "draws": asked.draws},
            "output": {"folder": str(folder), "database": VARIABLE},
        }
    )
    return {
        "seconds": run.manifest["seconds_of_last_attempt"],
        "peak_mb": peak_mb(),
        "scored": run.manifest["accounts"],
        "parquet_mb": sum(said["bytes"] for said in run.manifest["outputs"].values()) / 1e6,
        "duckdb_mb": (folder / "clvforecast.duckdb").stat().st_size / 1e6,
    }


MEASURES = {"bare": bare, "nightly": nightly}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def show(found: dict[str, dict[str, Any]], made: Company, asked: argparse.Namespace) -> None:
    plain, run = found["bare"], found["nightly"]
    scoring, steps = plain["seconds"]["scoring"], run["seconds"]
    into = {name.removeprefix("publishing to "): took for name, took in steps.items() if name.startswith("publishing")}
    own = steps["total"] - steps["reading"] - sum(into.values())
    print(
        f"{made.n_accounts:,} accounts of {made.n_events:,} events, {asked.draws} draws, {asked.months} months"
        f"{', streamed' if asked.stream else ''}\n\n| what | seconds | peak memory, MB |\n|---|---|---|"
    )
    print(
        f"| bare: reading | {plain['seconds']['reading']:.1f} | |\n| bare: scoring | {scoring:.1f} | {plain['peak_mb']:,.0f} |"
    )
    for name, took in steps.items():
        print(f"| run: {name} | {took:.1f} | {f'{run["peak_mb"]:,.0f}' if name == 'total' else ''} |")
    rows = run["scored"]
    print(f"\nThe run over bare scoring, files alone: {own / scoring - 1:+.0%}")
    for name, took in into.items():
        print(
            f"with {name}: {(own + took) / scoring - 1:+.0%}; {rows:,} accounts published at {rows / took:,.0f} a second, "
            f"scored and published at {rows / (own + took):,.0f} a second"
        )
    print(f"on disk: Parquet {run['parquet_mb']:,.0f} MB, DuckDB {run['duckdb_mb']:,.0f} MB")


if __name__ == "__main__":
    main()
