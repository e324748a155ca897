"""A small company to score night after night: events, accounts, a posterior that costs nothing, and settings."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import clvforecast as clv

AS_OF = "2023-06-30"


@cache
def events() -> pd.DataFrame:
    found, _ = clv.simulate_events(n_accounts=120, seed=4)
    return found


@cache
def accounts() -> pd.DataFrame:
    _, truth = clv.simulate_events(n_accounts=120, seed=4)
    return truth.accounts


@cache
def ledger(as_of: str = AS_OF) -> clv.Ledger:
    return clv.read_ledger(events(), accounts(), as_of=as_of)


@cache
def posterior(seed: int = 3, as_of: str = AS_OF) -> clv.Posterior:
    """Draws of the prior: as good as any for what a run does with them."""
    return clv.prior(ledger(as_of), ["segment"], draws=100, seed=seed, chains=2)


def settings(folder: Path, **tables: dict[str, Any]) -> dict[str, Any]:
    """For runs of seconds; ``tables`` are put over those."""
    usual: dict[str, dict[str, Any]] = {
        "input": {},
        "forecast": {"horizon_months": 12, "draws": 20, "bridge": True},
        "output": {"folder": str(folder), "duckdb": False},
        "run": {"accounts_each": 30, "threads": 1},
        "watch": {"accounts": 60},
    }
    return {name: {**usual.get(name, {}), **tables.get(name, {})} for name in {*usual, *tables}}


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file that readers see, by its path: all but manifests, which have times, locks, and databases."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.parent.name != "runs"
        and path.suffix != ".duckdb"
        and not path.name.endswith(".lock")
    }
