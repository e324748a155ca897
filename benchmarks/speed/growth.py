"""This package at growing sizes: counting, fitting where nothing was ever compiled and again, scoring; and what each needs."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from speed.bench import Bench
from speed.children import DONE, run_child
from speed.company import SEGMENTS, Company, company
from speed.store import RESULTS, ROOT, Record

PYTHON = sys.executable
STATES = ("cold", "warm")
FLOOR = ROOT / "benchmarks" / "random_floor.py"
IDENTICAL_DRAWS = 100


def measure_growth(
    bench: Bench, sizes: list[int], scored: int, draws: int, states: tuple[str, ...], floor: tuple[int, int]
) -> None:
    """Every stage at every size; scoring up to `scored` accounts."""
    measured(bench, "start", 0, {})
    compiled = None
    for n_accounts in sizes:
        made = made_company(bench, "contracts", n_accounts)
        if made is None:
            continue
        measured(bench, "count", n_accounts, data_of(made) | {"segments": SEGMENTS[made.kind]})
        fitted(bench, made, states)
        if n_accounts > scored:
            continue
        score(bench, made, draws)
        if n_accounts == sizes[0]:
            identical(bench, made)
            compiled = cache_of(bench, "fit", made)
    random_floor(bench, compiled, *floor)


def made_company(bench: Bench, kind: str, n_accounts: int) -> Company | None:
    """The company, or None, said and kept, where the disk has no room."""
    try:
        return company(kind, n_accounts, bench.work / "companies")
    except OSError as error:
        bench.skip(f"{kind}: all stages", n_accounts, str(error))
        return None


def measured(
    bench: Bench, stage: str, n_accounts: int, arguments: dict[str, Any], series: str = "", cache: Path | None = None
) -> Record:
    """One stage of `stages` in a fresh process, with compiled code in `cache`."""
    return bench.measure(series or stage, n_accounts, command_of(stage, arguments), environment_of(bench, cache))


def command_of(stage: str, arguments: dict[str, Any]) -> list[str]:
    return [PYTHON, "-m", "speed.stages", stage, json.dumps(arguments)]


def data_of(made: Company) -> dict[str, Any]:
    """What every stage reads."""
    return {"events": made.events, "accounts": made.accounts, "as_of": made.as_of}


def environment_of(bench: Bench, cache: Path | None) -> dict[str, str]:
    """Compiled code in a folder of the size's own, so that cold is cold; the kernel's in one of the source's own."""
    compiled = cache or bench.work / "compiled" / bench.origin["source"]
    flags = [os.environ.get("PYTENSOR_FLAGS", ""), f"base_compiledir={compiled / 'pytensor'}"]
    path = [str(ROOT / "benchmarks"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTENSOR_FLAGS": ",".join(flag for flag in flags if flag),
        "NUMBA_CACHE_DIR": str(compiled / "numba"),
        "PYTHONPATH": os.pathsep.join(part for part in path if part),
    }


def cache_of(bench: Bench, name: str, made: Company) -> Path:
    """The folder of a stage's compiled code at one size; its path goes into flags, so it has no signs."""
    plain = re.sub(r"\W+", "-", name)
    return bench.work / "compiled" / bench.origin["source"] / f"{plain}-{made.kind}-{made.n_accounts}"


def posterior_of(bench: Bench, made: Company) -> Path:
    return bench.work / "posteriors" / bench.origin["source"] / f"{made.kind}-{made.n_accounts}.nc"


def fitted(bench: Bench, made: Company, states: tuple[str, ...]) -> None:
    """All components: cold, with an empty folder for compiled code, then warm, with what that run left there."""
    twice(bench, "fit", made, states, posterior=str(posterior_of(bench, made)))


def twice(
    bench: Bench, stage: str, made: Company, states: tuple[str, ...], name: str = "", **arguments: str | bool
) -> None:
    """A stage cold and warm, or only one of them; `name` is that of the series, where the stage is run in several ways."""
    cache = cache_of(bench, name or stage, made)
    given = {**data_of(made), "segments": SEGMENTS[made.kind], **arguments}
    for state in states:
        series = f"{name or stage}, {made.kind}, {state}"
        if not bench.is_kept(series, made.n_accounts):
            if state == "cold":
                shutil.rmtree(cache, ignore_errors=True)
            elif not cache.exists():  # the cold run was another day's: compile first, so that warm is warm
                run_child(command_of(stage, given), bench.limit_seconds, environment_of(bench, cache))
        measured(bench, stage, made.n_accounts, given, series, cache)


def score(bench: Bench, made: Company, draws: int) -> None:
    """Scoring with the posterior of the same company."""
    with_posterior(bench, made, "score", draws, f"score, {made.kind}, {draws} draws")


def identical(bench: Bench, made: Company) -> None:
    """The same bytes however the work is spread: every way gives one digest."""
    with_posterior(bench, made, "identical", IDENTICAL_DRAWS, "identical")


def with_posterior(bench: Bench, made: Company, stage: str, draws: int, series: str) -> None:
    """A stage that reads the posterior, fitted again where an earlier run's was cleared away."""
    posterior = posterior_of(bench, made)
    given = data_of(made) | {"posterior": str(posterior)}
    if not posterior.exists() and not bench.is_kept(series, made.n_accounts):
        fit = command_of("fit", given | {"segments": SEGMENTS[made.kind]})
        ended = run_child(fit, bench.limit_seconds, environment_of(bench, cache_of(bench, "fit", made)))
        if not posterior.exists():
            bench.skip(series, made.n_accounts, f"the fit gave no posterior: {ended.ended} {ended.reason}")
            return
    measured(bench, stage, made.n_accounts, given | {"draws": draws}, series)


def random_floor(bench: Bench, compiled: Path | None, accounts: int, draws: int) -> None:
    """Scoring beside the same count of random numbers from the same generator with nothing around them, on one thread."""
    command = [PYTHON, str(FLOOR), str(accounts), str(draws)]
    record = bench.measure("random floor", accounts, command, environment_of(bench, compiled))
    if record["ended"] == DONE and not record["steps"]:
        bench.add(record, "floor", json.loads((RESULTS / FLOOR.stem).with_suffix(".json").read_text(encoding="utf-8")))
