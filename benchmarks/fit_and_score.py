"""Time the two halves of the job on a synthetic company: events to a converged posterior, and scoring.

    python benchmarks/fit_and_score.py [accounts] [draws]

Prints a table and writes benchmarks/results/fit_and_score.json. Run it in a fresh process: compilation is part of the fit.
"""

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCORED = 20_000
timings: dict[str, float] = {}


@contextmanager
def timed(stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - start
    print(f"{stage:<44}{timings[stage]:>9.1f} s", flush=True)


def main(n_accounts: int, draws: int) -> None:
    with timed("import"):
        from clvforecast.forecast import forecast
        from clvforecast.ledger import read_ledger
        from clvforecast.posterior import fit
        from clvforecast.synthetic import simulate_events

    with timed(f"simulate {n_accounts:,} accounts"):
        events, truth = simulate_events(n_accounts, seed=1, segments=6, future_months=12)
    with timed(f"read {len(events):,} events"):
        ledger = read_ledger(events, accounts=truth.accounts, as_of=truth.as_of)
    with timed("fit, all components, compilation included"):
        posterior = fit(ledger, segments=["segment"], seed=1, progress=False)
    with timed("first score, loads or compiles the kernel"):
        forecast(posterior, few(ledger, 100), horizon_months=60, draws=10)
    scored = few(ledger, SCORED)
    with timed(f"score {SCORED:,} accounts x {draws:,} draws x 60 months"):
        made = forecast(posterior, scored, horizon_months=60, draws=draws)
    rate = len(made.table) * draws / timings[f"score {SCORED:,} accounts x {draws:,} draws x 60 months"]
    print(f"{'account-draws a second':<44}{rate:>11,.0f}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{'peak memory':<44}{memory:>9.1f} GB")
    result = {
        "accounts": n_accounts,
        "events": len(events),
        "seconds": timings,
        "account_draws_per_second": rate,
        "peak_gigabytes": memory,
        "processors": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    target = Path(__file__).parent / "results" / "fit_and_score.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")


def few(ledger, n):  # type: ignore[no-untyped-def]
    """The ledger of its first n accounts."""
    import dataclasses

    import pyarrow.compute as pc

    ids = ledger.accounts["account_id"][:n]
    return dataclasses.replace(
        ledger,
        accounts=ledger.accounts.slice(0, n),
        events=ledger.events.filter(pc.is_in(ledger.events["account_id"], ids)),
        later=ledger.later.filter(pc.is_in(ledger.later["account_id"], ids)),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
