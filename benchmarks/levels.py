"""How many gradients does an effective draw take, with few levels and many, of equal sizes and of tiny and huge ones mixed?

    python benchmarks/levels.py [--components renewal change ...] [--accounts 50000]

Companies are those of `simulate_events`; with 6 and 200 levels their accounts are given levels anew, as many each or by Zipf's
law (exponent 1.7: half of all accounts in the largest, a handful in the least). *Annual* has terms of a year alone, where tenure
and decision number are nearly the same. One component of each kind is fitted; a row is added to `results/levels.json` as it is
done. Gradients are those of all attempts, warm-up included; draws are of four chains.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import nutpie
import pandas as pd
from speed.company import ANNUAL

from clvforecast import sampling
from clvforecast.cells import build_cells, build_frame
from clvforecast.components import Component, ModelPriors, build_components
from clvforecast.histories import build_histories
from clvforecast.ledger import read_ledger
from clvforecast.posterior import _coordinates
from clvforecast.sampling import Settings, diagnostics, sample_component
from clvforecast.synthetic import simulate_events

RESULTS = Path(__file__).parent / "results" / "levels.json"
KINDS = ("renewal", "expansion_rate", "contraction_size", "change")
LEVELS = ((1, "equal"), (6, "equal"), (6, "mixed"), (200, "equal"), (200, "mixed"))
ZIPF = 1.7

_sample = nutpie.sample
_steps: list[int] = []


def counted(*given: Any, **settings: Any) -> Any:
    """`nutpie.sample`, which notes the gradients it took."""
    trace = _sample(*given, **{**settings, "save_warmup": True})
    groups = (trace["warmup_sample_stats"], trace["sample_stats"])
    _steps.append(sum(int(group.dataset["n_steps"].sum()) for group in groups))
    return trace


def companies(n_accounts: int) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame, Any]]:
    """(name, events, accounts, as_of), the annual one with a fifth of the accounts."""
    options = {"parameters": ANNUAL, "joining_years": 6, "late_booking": False}
    events, truth = simulate_events(n_accounts // 5, seed=1, future_months=0, **options)
    yield "annual, 3 levels", events, truth.accounts, truth.as_of
    events, truth = simulate_events(n_accounts, seed=1, segments=6, future_months=0)
    for n_levels, sizes in LEVELS:
        accounts = truth.accounts.assign(segment=levels_of(n_accounts, n_levels, sizes))
        yield f"contracts, {n_levels} levels, {sizes}", events, accounts, truth.as_of


def levels_of(n_accounts: int, n_levels: int, sizes: str) -> list[str]:
    """Each account's level; all levels have an account."""
    rng = np.random.default_rng(5)
    weights = np.arange(1, n_levels + 1) ** (-ZIPF if sizes == "mixed" else 0.0)
    level = rng.choice(n_levels, n_accounts, p=weights / weights.sum())
    level[rng.choice(n_accounts, n_levels, replace=False)] = np.arange(n_levels)
    return [f"level {i:03d}" for i in level]


def measured(component: Component, labels: dict[str, list[str]]) -> dict[str, Any]:
    """Gradients, effective draws and processor time of one fit that passed the gate."""
    component.density()  # compiled beforehand
    _steps.clear()
    start = time.process_time()
    sampled = sample_component(component, Settings(), lambda message: None, labels)
    seconds = time.process_time() - start
    least = min(np.nanmin(d, initial=np.inf) for d in _effective(sampled))
    return {
        "component": component.name,
        "parameters": component.n_dim,
        "attempts": len(_steps),
        "gradients": sum(_steps),
        "least_ess": round(float(least)),
        "gradients_an_effective_draw": round(sum(_steps) / float(least), 1),
        "cpu_seconds": round(seconds, 1),
    }


def _effective(sampled: sampling.Sampled) -> list[np.ndarray]:
    return [diagnostics(variable.values)["ess_bulk"] for variable in sampled.variables.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", nargs="*", default=list(KINDS))
    parser.add_argument("--accounts", type=int, default=50_000)
    given = parser.parse_args()
    nutpie.sample = counted
    rows: list[dict[str, Any]] = []
    for name, events, accounts, as_of in companies(given.accounts):
        histories = build_histories(read_ledger(events, accounts=accounts, as_of=as_of))
        frame = build_frame(histories, ["segment"], None)
        components = build_components(build_cells(histories, frame, None), frame, ModelPriors())
        for component in sorted(components, key=lambda component: component.n_dim):
            if component.name in given.components:
                rows.append({"company": name, **measured(component, _coordinates(frame))})
                print(" | ".join(str(value) for value in rows[-1].values()), flush=True)
                RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
