"""How near is scoring to the speed of its random numbers?

    python benchmarks/random_floor.py [accounts] [draws]

Counts what a forecast of a synthetic company draws (uniforms, exponentials, normals, betas), in plain Python on a
sample; then times, in one process and on one thread, the simulation as it is, and the same number of draws from the same
generator with nothing around them.
"""

import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from clvforecast.histories import build_histories
from clvforecast.ledger import Ledger, read_ledger
from clvforecast.posterior import fit, load_posterior
from clvforecast.simulation import beyond, latents, life, random, terms
from clvforecast.simulation.calendar import date_of, make_grid
from clvforecast.simulation.parameters import make_classes, make_parameters
from clvforecast.simulation.run import simulate_portfolio
from clvforecast.simulation.states import account_states
from clvforecast.simulation.structures import Settings
from clvforecast.synthetic import simulate_events

HORIZON, DISCOUNT = 60, 0.10
SAMPLE_ACCOUNTS, SAMPLE_DRAWS = 60, 20
COUNTED = ("uniform", "exponential", "normal", "normal_beyond", "log_beta_variate")
HERE = Path(__file__).parent


def company(n_accounts: int) -> Ledger:
    events, truth = simulate_events(n_accounts, seed=1, segments=6, future_months=0)
    return read_ledger(events, accounts=truth.accounts, as_of=truth.as_of)


def inputs(ledger: Ledger, folder: Path, draws: int) -> tuple[Any, ...]:
    """What `simulate_portfolio` reads, but for how to spread the work."""
    path = folder / "random_floor.nc"
    if not path.exists():
        fit(ledger, segments=["segment"], progress=False).save(path)
    posterior = load_posterior(path)
    states = account_states(build_histories(ledger), posterior.frame)
    grid = make_grid(ledger.as_of, HORIZON, DISCOUNT)
    parameters = make_parameters(posterior.draws, posterior.frame, (), draws, 7, date_of(grid.bounds[-1]).year)
    settings = Settings(seed=7, grace_days=-1, max_ratio=posterior.frame.max_ratio, known_by=2**40, booked=False)
    group = np.zeros(len(states.account_ids), dtype=np.int64)
    return [states], parameters, make_classes(posterior.frame), settings, grid, group, 1


def count_draws(ledger: Ledger, folder: Path) -> dict[str, list[list[float]]]:
    """Arguments of every random number asked for, by kind; to be run where nothing is compiled."""
    found: dict[str, list[list[float]]] = {name: [] for name in COUNTED}

    def counting(name: str) -> Any:
        plain = getattr(random, name)

        def counted(stream: Any, *arguments: float) -> float:
            found[name].append([float(argument) for argument in arguments])
            return float(plain(stream, *arguments))

        return counted

    beyond.exp, terms.ratio_of_betas = math.exp, plain_ratio_of_betas  # the kernel's own are for compiled loops alone
    for module in (beyond, latents, life, terms):
        for name in COUNTED:
            if hasattr(module, name):
                setattr(module, name, counting(name))
    simulate_portfolio(*inputs(ledger, folder, SAMPLE_DRAWS), lambda *_: None, threads=1)
    return found


def plain_ratio_of_betas(a: float, b: float, w: float) -> float:
    return math.exp(math.lgamma(a + w) - math.lgamma(a) + math.lgamma(a + b) - math.lgamma(a + b + w))


@random.jit
def plain_draws(stream: Any, n: int, uniforms: int, exponentials: int, normals: int, betas: Any) -> float:
    """The sample's draws, again and again until those of n account-draws are done."""
    total = 0.0
    for i in range(n):
        random.start_stream(stream, i, 7, i)
        for _ in range(uniforms):
            total += random.uniform(stream)
        for _ in range(exponentials):
            total += random.exponential(stream)
        for _ in range(normals):
            total += random.normal(stream)
        for row in range(betas.shape[0]):
            total += random.log_beta_variate(stream, betas[row, 0], betas[row, 1])
    return total


def main(n_accounts: int, draws: int) -> None:
    ledger = company(n_accounts)
    with TemporaryDirectory() as folder:
        compare(ledger, Path(folder), n_accounts, draws)


def compare(ledger: Ledger, folder: Path, n_accounts: int, draws: int) -> None:
    ready = inputs(ledger, folder, draws)
    counted = subprocess.run(
        [sys.executable, __file__, "--count", str(folder)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(counted.stdout.splitlines()[-1])
    sample = SAMPLE_ACCOUNTS * SAMPLE_DRAWS
    n = n_accounts * draws
    betas = np.array(found["log_beta_variate"])
    stream = np.zeros(random.STREAM_SLOTS, dtype=np.uint64)
    numbers = [len(found[name]) for name in ("uniform", "exponential", "normal")]
    numbers[2] += len(found["normal_beyond"])
    plain_draws(stream, 1, *numbers, betas)
    start = time.process_time()
    plain_draws(stream, n // sample, *numbers, betas)
    floor = (time.process_time() - start) / (n // sample * sample)
    simulate_portfolio(*ready, lambda *_: None, threads=1)
    start = time.process_time()
    simulate_portfolio(*ready, lambda *_: None, threads=1)
    whole = (time.process_time() - start) / n
    per_draw = {name: round(len(found[name]) / sample, 2) for name in COUNTED}
    print(f"an account-draw takes {per_draw}")
    print(
        f"{1e9 * whole:,.0f} ns an account-draw on one thread, {1e9 * floor:,.0f} ns its random numbers: {whole / floor:.2f} x"
    )
    report = {
        "accounts": n_accounts,
        "draws": draws,
        "simulation_ns": 1e9 * whole,
        "floor_ns": 1e9 * floor,
        "draws_each": per_draw,
    }
    machine = {"processors": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "random_floor.json").write_text(json.dumps(report | machine, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--count"]:
        print(json.dumps(count_draws(company(SAMPLE_ACCOUNTS), Path(sys.argv[2]))))
    else:
        asked = [int(number) for number in sys.argv[1:3]]
        main(*(asked + [2_000, 500][len(asked) :]))
