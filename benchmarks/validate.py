"""How long checking events takes, and how much memory: `clvforecast validate` of so many rows, in a process of its own.

    python benchmarks/validate.py --rows 1e7

Makes a CSV file in bench-output, of events (yearly terms with renewals and expansions; one row in a thousand breaks one of seven
rules) or of subscription periods, runs the command on it, and prints seconds and peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import duckdb

FOLDER = Path("bench-output") / "validate"

EVENTS = """
COPY (
    SELECT printf('e%010d', number) AS event_id,
           CASE WHEN number % 8000 = 7 THEN NULL ELSE printf('account-%08d', number // 5) END AS account_id,
           CASE WHEN number % 8000 = 1007 THEN '31/12/2020' ELSE CAST(day AS VARCHAR) END AS event_date,
           CASE WHEN number % 8000 = 2007 THEN 'upsell' WHEN number % 5 = 0 THEN 'initial' WHEN number % 5 = 4 THEN 'expansion'
                ELSE 'renewal' END AS kind,
           CASE WHEN number % 8000 = 3007 THEN '1,200.00' WHEN number % 8000 = 4007 THEN '-12.00'
                ELSE printf('%.2f', 50 + (number * 7919 % 1000003) / 100.0) END AS amount,
           CASE WHEN number % 8000 = 5007 THEN 'Euro' ELSE 'USD' END AS currency,
           CAST(day AS VARCHAR) AS start_date,
           CASE WHEN number % 8000 = 6007 THEN 'a year' WHEN number % 5 = 4 THEN NULL ELSE '12' END AS term_months,
           ['north', 'south', 'east', 'west'][1 + number // 5 % 4] AS region
    FROM (SELECT number, CAST(DATE '2015-01-01' + CAST(number // 5 * 31 % 1400 AS INTEGER)
                 + to_months(12 * CAST(CASE WHEN number % 5 = 4 THEN 0 ELSE number % 5 END AS INTEGER)) AS DATE) AS day
          FROM range({rows}) AS numbers(number))
) TO '{path}' (FORMAT csv, HEADER)
"""
PERIODS = """
COPY (
    SELECT number AS subscription_id, printf('account-%08d', number // 2) AS customer_id,
           CAST(first + to_months(CAST(number % 2 AS INTEGER) * 6) AS DATE) AS start_date,
           CASE WHEN number % 2 = 0 THEN CAST(first + to_months(6) AS DATE) END AS end_date,
           CASE WHEN number % 1000 = 7 THEN 'free' ELSE printf('%.2f', 20 + number * 7919 % 10007 / 100.0) END AS monthly_amount,
           'USD' AS currency, 12 AS term_months
    FROM (
        SELECT number, DATE '2015-01-01' + CAST(number // 2 * 31 % 1400 AS INTEGER) AS first FROM range({rows}) AS numbers(number)
    )
) TO '{path}' (FORMAT csv, HEADER)
"""
FILES = {"events": (EVENTS, ()), "periods": (PERIODS, ("--as-of", "2020-06-30"))}


def made(name: str, rows: int) -> Path:
    """The file, made if it is not there."""
    path = FOLDER / f"{name}-{rows}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        duckdb.execute(FILES[name][0].format(rows=rows, path=f"{path}.part"))
        os.replace(f"{path}.part", path)
    return path


def measured(path: Path, more: tuple[str, ...]) -> dict[str, object]:
    """Seconds and peak memory of one run of the command."""
    code = "from clvforecast.cli import main; main()"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, "validate", str(path), *more], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {
        "file": path.name,
        "file_mb": round(path.stat().st_size / 1e6),
        "seconds": round(seconds, 1),
        "peak_gb": round(peak, 2),
        "code": done.returncode,
        "output": done.stdout.splitlines()[:12] + done.stderr.splitlines()[-3:],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, default=1e7)
    parser.add_argument("--file", choices=[*FILES], default="events")
    given = parser.parse_args()
    path = made(given.file, int(given.rows))
    print(json.dumps({"cores": os.cpu_count(), **measured(path, FILES[given.file][1])}, indent=2))


if __name__ == "__main__":
    main()
