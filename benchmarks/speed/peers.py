"""Other packages beside this one: the same annual contracts, the same machine, one run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from speed.bench import Bench
from speed.effective import effective, means_and_sds
from speed.frames import write_frames
from speed.growth import environment_of, fitted, made_company, score, twice
from speed.store import ROOT, Record

ENVIRONMENT = ROOT / ".venv-peers"
PINS = ROOT / "benchmarks" / "peers_constraints.txt"
PACKAGES = ("pymc-marketing>=1,<2", "nutpie", "lifetimes")
STATES = ("cold", "warm")

RENEWAL_SBG = "renewal with c = 1"
SBG = "PyMC-Marketing sBG, {sampler}"
SAMPLERS = {"pymc": "as installed", "nutpie": "with nutpie"}
PURCHASES = "PyMC-Marketing BG/NBD and Gamma-Gamma, with nutpie"
POINTS = "lifetimes BG/NBD and Gamma-Gamma"


def measure_peers(
    bench: Bench, sizes: list[int], draws: int, python: Path | None, samplers: tuple[str, ...] = tuple(SAMPLERS)
) -> None:
    """Fits and predictions of all packages at every size."""
    python = python or environment()
    source = peers_source(python)
    for n_accounts in sizes:
        made = made_company(bench, "annual", n_accounts)
        if made is None:
            continue
        twice(bench, "renewal", made, STATES, RENEWAL_SBG, free_clock=False)
        twice(bench, "renewal", made, STATES, free_clock=True)
        fitted(bench, made, STATES)
        score(bench, made, draws)
        frames = {name: str(path) for name, path in write_frames(made, bench.work / "frames").items()}
        asked = Asked(bench, python, source, n_accounts)
        asked.measure(POINTS, "points", purchases=frames["purchases"])
        for sampler in samplers:
            path = bench.work / "frames" / f"sbg-{sampler}-{n_accounts}.npz"
            given = {"contracts": frames["contracts"], "draws_path": str(path), "sampler": sampler}
            with_draws(bench, asked.measure(SBG.format(sampler=SAMPLERS[sampler]), "sbg", **given), path)
        path = bench.work / "frames" / f"purchases-{n_accounts}.npz"
        given = {"purchases": frames["purchases"], "draws_path": str(path), "sampler": "nutpie"}
        with_draws(bench, asked.measure(PURCHASES, "purchases", **given), path)


class Asked:
    """Runs models of the other environment at one size."""

    def __init__(self, bench: Bench, python: Path, source: str, n_accounts: int) -> None:
        self.bench, self.python, self.source, self.n_accounts = bench, python, source, n_accounts

    def measure(self, series: str, model: str, **arguments: Any) -> Record:
        """The record of one model."""
        command = [str(self.python), "-m", "speed.peer_models", model, json.dumps(arguments)]
        return self.bench.measure(series, self.n_accounts, command, self.environment(), self.source)

    def environment(self) -> dict[str, str]:
        """Compiled code in a folder of its own, and nothing of this package's environment but these scripts."""
        compiled = self.bench.work / "compiled" / "peers"
        flags = environment_of(self.bench, compiled)["PYTENSOR_FLAGS"]
        return {"PYTENSOR_FLAGS": flags, "PYTHONPATH": str(ROOT / "benchmarks")}


def with_draws(bench: Bench, record: Record, path: Path) -> None:
    """Effective draws of what a model saved, and its cohorts' chance of a first renewal where it has cohorts.

    The renewal models share each cohort's mean of theta and its polarisation: PyMC-Marketing's phi is the mean chance to lapse,
    kappa = a + b.
    """
    if not path.exists() or not record["steps"] or any(told["step"] == "converged" for told in record["steps"]):
        return
    with np.load(path) as saved:
        draws = {name: saved[name] for name in saved.files if name != "cohorts"}
        found: dict[str, Any] = dict(effective(draws))
        if "cohorts" in saved.files:
            shared = {"mean": 1.0 - draws["phi"], "polarisation": 1.0 / (draws["kappa"] + 1.0)}
            found["shared_ess_bulk"] = effective(shared)["least_ess_bulk"]
            found["first_renewal"] = means_and_sds([str(cohort) for cohort in saved["cohorts"]], shared["mean"])
    bench.add(record, "converged", found)


def environment() -> Path:
    """The interpreter of the other packages' environment, made on the first call."""
    python = ENVIRONMENT / "bin" / "python"
    complete = ENVIRONMENT / ".complete"
    if not complete.exists() or complete.read_text() != PINS.read_text():
        print(f"making {ENVIRONMENT.name} (once; a minute or two)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(PINS)]
        subprocess.run([*install, *PACKAGES], check=True, env={**os.environ, "PYTHONPATH": ""})
        complete.write_text(PINS.read_text())
    return python


def peers_source(python: Path) -> str:
    """The other packages' versions, which their records belong to."""
    names = ("pymc-marketing", "pymc", "pytensor", "nutpie", "lifetimes", "numpy")
    code = f"from importlib.metadata import version; print(', '.join(f'{{n}} {{version(n)}}' for n in {names!r}))"
    asked = [str(python), "-c", code]
    return subprocess.run(
        asked, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""}
    ).stdout.strip()
