"""``python -m sbc run`` judges the package; ``faults`` shows that the same gate rejects planted faults; ``portfolios`` counts
how often ranges hold."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from .faults import FAULTS, rejected
from .gate import MOST_FAILED, judged
from .portfolios import report, score_portfolio
from .run import collected, run_all, simulate_fit, simulate_forecast

pd.options.display.width = 160
pd.options.display.max_rows = 400
pd.options.display.float_format = lambda number: f"{number:.3g}"


ENOUGH_FOR_A_FAULT = 150
"""Simulations with which a planted fault is judged."""


def main(arguments: list[str] | None = None) -> int:
    """0 when all is as it should be, 1 when not."""
    parser = argparse.ArgumentParser(prog="sbc", description=__doc__)
    parser.add_argument("what", choices=["run", "faults", "portfolios", "report", "one"])
    parser.add_argument("--simulations", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=Path("calibration-output"))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="*", default=[], help="components to fit, or names of faults")
    parser.add_argument("--fits", type=Path, help="folder of the fits to forecast from")
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    if chosen.what == "run":
        _simulate(chosen)
    if chosen.what in ("run", "report"):
        return _report(chosen.folder, chosen.simulations)
    if chosen.what == "one":  # a mutated package calls itself with this
        _simulate(chosen)
        return 0
    if chosen.what == "portfolios":
        run_all(score_portfolio, [(chosen.folder, number) for number in range(chosen.simulations)], chosen.processes)
        return report(chosen.folder, chosen.simulations)
    return _faults(chosen)


def _simulate(chosen: argparse.Namespace) -> None:
    numbers = range(chosen.simulations)
    if chosen.fits is None:
        only = tuple(chosen.only)
        run_all(simulate_fit, [(chosen.folder, number, only) for number in numbers], chosen.processes)
    if chosen.fits is not None or not chosen.only:
        fits = chosen.fits or chosen.folder
        run_all(simulate_forecast, [(chosen.folder, number, fits) for number in numbers], chosen.processes)


def _report(folder: Path, simulations: int) -> int:
    parts = [collected(folder, kind, range(simulations)) for kind in ("fit", "forecast")]
    table = judged(pd.concat([ranks for ranks, _, _ in parts], ignore_index=True))
    failed, fits = [name for _, names, _ in parts for name in names], sum(count for *_, count in parts)
    table.to_csv(folder / "calibration.csv", index=False)
    print(table.sort_values(by="p_band").head(15).to_string(index=False))
    print(table.sort_values(by="p_spread").head(15).to_string(index=False))
    smallest = table[["p_band", "p_spread"]].min(axis=1).min()
    print(
        f"{len(table)} quantities of {simulations} simulations: {(~table['passes']).sum()} rejected "
        f"(smallest p {smallest:.2g}, limit {table['limit'].iloc[0]:.2g}); {len(failed)} of {fits} fits did not converge"
    )
    for name in failed:
        print("  did not converge:", name)
    by_component = Counter(name.partition(": ")[2] for name in failed)
    too_many = [name for name, count in by_component.items() if count > MOST_FAILED * simulations]
    if too_many:
        print(f"more than {MOST_FAILED:.0%} of the fits did not converge: {', '.join(too_many)}")
    return int(not table["passes"].all() or bool(too_many))


def _faults(chosen: argparse.Namespace) -> int:
    missed, simulations = [], min(chosen.simulations, ENOUGH_FOR_A_FAULT)
    for fault in FAULTS:
        if chosen.only and fault.name not in chosen.only:
            continue
        found, worst = rejected(fault, chosen.folder, simulations, chosen.processes)
        print(f"{'rejected' if found else 'NOT REJECTED':14} {fault.name}: {worst}", flush=True)
        if not found:
            missed.append(fault.name)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
