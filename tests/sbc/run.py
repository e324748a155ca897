"""Many simulations, in processes of their own: each writes its draws and its ranks, and what is there is not done again."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from clvforecast.sampling import Settings

from .company import draw_company
from .ranks import Draws, fit_company, forecast_ranks, generator, parameter_ranks

N_ACCOUNTS = 100
FIRST_SEED = 1000


def settings_of(seed: int) -> Settings:
    """How each company is fitted: the package's gate, half its tuning steps."""
    return Settings(draws=1000, tune=500, chains=4, cores=1, seed=seed)


def simulate_fit(folder: Path, number: int, only: tuple[str, ...] = ()) -> None:
    """Company `number`: its fit's draws into ``draws-N.npz``, its parameters' ranks into ``fit-N.json``."""
    target = folder / f"fit-{number}.json"
    if target.exists():
        return
    seed = FIRST_SEED + number
    company = draw_company(seed, N_ACCOUNTS)
    fitted = fit_company(company, seed, settings_of(seed), only)
    ranks = dict(parameter_ranks(company, fitted, generator(seed, "parameters")))
    if not only and not fitted.failed:
        np.savez_compressed(folder / f"draws-{number}.npz", **fitted.draws)
    target.write_text(json.dumps({"ranks": ranks, "failed": fitted.failed, "fits": len(fitted.components)}))


def simulate_forecast(folder: Path, number: int, fits: Path) -> None:
    """The ranks in the forecast of company `number` from the draws in `fits`, into ``forecast-N.json``."""
    target, source = folder / f"forecast-{number}.json", fits / f"draws-{number}.npz"
    if target.exists() or not source.exists():
        return
    seed = FIRST_SEED + number
    company = draw_company(seed, N_ACCOUNTS)
    with np.load(source) as stored:
        draws: Draws = {name: stored[name] for name in stored.files}
    ranks = dict(forecast_ranks(company, draws, seed, generator(seed, "forecast")))
    target.write_text(json.dumps({"ranks": ranks, "failed": [], "fits": 0}))


def run_all(task: Callable[..., None], calls: Sequence[tuple[object, ...]], processes: int) -> None:
    """Every call of the task, in `processes` processes; the first error stops the rest."""
    if processes == 1:
        for call in calls:
            task(*call)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        for done, future in enumerate(as_completed([pool.submit(task, *call) for call in calls]), start=1):
            future.result()
            if done % 20 == 0 or done == len(calls):
                print(f"{task.__name__}: {done} of {len(calls)}", flush=True)


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


def collected(folder: Path, kind: str, numbers: range) -> tuple[pd.DataFrame, list[str], int]:
    """(ranks with columns simulation, quantity, u; components that did not converge; number of fits) of what is there."""
    rows, failed, fits = [], [], 0
    for number in numbers:
        path = folder / f"{kind}-{number}.json"
        if path.exists():
            found = json.loads(path.read_text())
            rows += [(number, quantity, u) for quantity, u in found["ranks"].items()]
            failed += [f"{number}: {name}" for name in found["failed"]]
            fits += found["fits"] + len(found["failed"])
    return pd.DataFrame(rows, columns=["simulation", "quantity", "u"]), failed, fits
