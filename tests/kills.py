"""Runs that are killed, again and again: what they leave in the end must be what an undisturbed run leaves.

python -m kills --kills 50              files and a DuckDB file; add --postgres for a server that is started for it
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import clvforecast as clv

TABLES = (
    "runs",
    "account_ranges",
    "period_ranges",
    "arr_ranges",
    "retention_ranges",
    "account_failures",
    "range_checks",
)
URI = "CLVFORECAST_KILLS_URI"
BEGUN = "begun"
"""What a child says when all is imported and the run begins: kills before that would be of Python's start."""


@dataclass
class Killed:
    """What was done: kills, runs that then ended, and where the kills came, in seconds after the run's begin."""

    kills: int = 0
    finished: int = 0
    delays: list[float] | None = None


def prepare(folder: Path, uri: str | None) -> Path:
    """Data, posterior, and the settings' template in a folder."""
    import batch_company

    batch_company.events().to_parquet(folder / "events.parquet", index=False)
    batch_company.accounts().to_parquet(folder / "accounts.parquet", index=False)
    batch_company.posterior().save(folder / "posterior.nc")
    path = folder / "clvforecast.toml"
    path.write_text(
        f'[input]\nevents = "events.parquet"\naccounts = "accounts.parquet"\nas_of = {batch_company.AS_OF}\n'
        '[posterior]\nfile = "posterior.nc"\n'
        "[forecast]\nhorizon_months = 12\ndraws = 20\nbridge = true\n"
        "[run]\naccounts_each = 10\n[watch]\naccounts = 60\n"
        '[output]\nfolder = "FOLDER"\n' + (f'database = "{URI}"\nschema = "SCHEMA"\n' if uri else "")
    )
    return path


def settings_for(template: Path, folder: Path, schema: str) -> Path:
    path = template.with_name(f"{folder.name}.toml")
    path.write_text(template.read_text().replace("FOLDER", str(folder)).replace("SCHEMA", schema))
    return path


def started(config: Path, uri: str | None) -> subprocess.Popen[str]:
    """A child that is about to make the run."""
    environment = {**os.environ, **({URI: uri} if uri else {})}
    child = subprocess.Popen(
        [sys.executable, "-m", "kills", "--child", str(config)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parent,
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == BEGUN
    return child


def undisturbed(config: Path, uri: str | None) -> float:
    """Seconds of the run."""
    begun = time.perf_counter()
    assert started(config, uri).wait() == 0
    return time.perf_counter() - begun


def kill_runs(folder: Path, kills: int, seed: int, uri: str | None = None) -> Killed:
    """Make runs and kill them so often; whenever one ends, compare all that it left with the undisturbed one's."""
    rng, done = random.Random(seed), Killed(delays=[])
    template = prepare(folder, uri)
    reference = settings_for(template, folder / "undisturbed", "undisturbed")
    seconds = undisturbed(reference, uri)
    while done.kills < kills:
        config = settings_for(template, folder / f"run{done.finished}", f"run{done.finished}")
        while True:
            child = started(config, uri)
            delay = rng.uniform(0.0, 1.1 * seconds)
            try:
                ended = child.wait(delay if done.kills < kills else None)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
                done.kills += 1
                done.delays.append(delay)
                continue
            assert ended == 0
            break
        compare(reference, config, uri)
        done.finished += 1
    return done


def compare(reference: Path, config: Path, uri: str | None) -> None:
    """Files byte by byte, and every table of the databases row by row; run again, nothing changes."""
    from batch_company import contents

    wanted, found = (Path(clv.batch.read_settings(path).output.folder) for path in (reference, config))
    apart = set(contents(found).items()) ^ set(contents(wanted).items())
    assert not apart, sorted(apart)
    assert not list((found / "work").glob("*")), "unfinished work is left"
    (run_id,) = clv.batch.runs(config)["run_id"]
    for sink in sinks_of(config, uri):
        assert sink.current() == run_id
        assert sink.runs()["run_id"].to_pylist() == [run_id]
        for name in TABLES:
            files = sorted((found / name).glob(f"*/run={run_id}/*.parquet"))
            expected = pa.concat_tables(pq.ParquetFile(file).read() for file in files)
            rows = sink.read(name, run_id).select(expected.column_names)
            assert sorted(map(repr, rows.to_pylist())) == sorted(map(repr, expected.to_pylist())), name


def sinks_of(config: Path, uri: str | None) -> Iterator[clv.batch.Sink]:
    output = clv.batch.read_settings(config).output
    yield clv.batch.DuckSink(Path(output.folder) / "clvforecast.duckdb")
    if uri is not None:
        yield clv.batch.PostgresSink(uri, output.db_schema)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(BEGUN, flush=True)
        clv.batch.score(asked.child)
        return
    from postgres_server import DURABLE
    from postgres_server import started as started_server

    folder = Path(tempfile.mkdtemp(prefix="clvforecast-kills-"))
    begun = time.perf_counter()
    try:
        done = kill_runs(folder, asked.kills, asked.seed, started_server(DURABLE) if asked.postgres else None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    where = "files, DuckDB and PostgreSQL" if asked.postgres else "files and DuckDB"
    print(
        f"{done.kills} kills, {done.finished} runs then ended, all equal to an undisturbed one ({where}); "
        f"{time.perf_counter() - begun:.0f} s"
    )


if __name__ == "__main__":
    main()
