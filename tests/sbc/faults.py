"""Faults planted in a copy of the package's source, to be rejected by the gate that the package passes."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import clvforecast

from .gate import judged
from .run import collected

SOURCE = Path(clvforecast.__file__).parent
TESTS = Path(__file__).parent.parent


@dataclass(frozen=True)
class Fault:
    """A name, edits (file, text that stands there once, text put in its place), and the components to fit again.

    Without components the forecast is run again, from the fits of the sound package.
    """

    name: str
    edits: tuple[tuple[str, str, str], ...]
    components: tuple[str, ...] = ()


FAULTS = (
    Fault(
        "latent posterior too narrow: SD of the rates x 0.8",
        (
            (
                "simulation/latents.py",
                "real[EVENT_SHAPES + kind], real[EVENT_EXPOSURES + kind] = shape, exposure",
                "real[EVENT_SHAPES + kind], real[EVENT_EXPOSURES + kind] = shape / 0.64, exposure / 0.64",
            ),
        ),
    ),
    Fault(
        "plug-in parameters: one draw for all",
        (
            (
                "simulation/parameters.py",
                "chosen = np.floor(np.arange(draws) * (total / draws)).astype(np.int64)",
                "chosen = np.full(draws, total // 2)",
            ),
        ),
    ),
    Fault(
        "likelihood term dropped: log Gamma(r + n) of the counts",
        (
            (
                "components/rates.py",
                '"hist_count": cells.hist_count.astype(float)',
                '"hist_count": 0.0 * cells.hist_count',
            ),
        ),
        ("expansion_rate",),
    ),
    Fault(
        "censoring ignored: not yet booked counted as lapsed",
        (
            (
                "cells/renewal.py",
                "f_bin, f_quarters = passed_share(d, frame.lag_edges)",
                "f_bin, f_quarters = passed_share(np.where(d > -31, 1e6, d), frame.lag_edges)",
            ),
        ),
        ("renewal",),
    ),
    Fault(
        "censoring ignored: undecided dropped",
        (
            (
                "cells/renewal.py",
                "nothing_due = is_open & (f_bin == 0) & (f_quarters == 0)",
                "nothing_due = is_open & (d < frame.lag_edges[-1])",
            ),
        ),
        ("renewal",),
    ),
    Fault(
        "term counter off by one: a renewal too few survived",
        (
            (
                "simulation/kernel.py",
                "for step in range(line_whole[L_STEP], line_whole[L_STEP_END]):",
                "for step in range(line_whole[L_STEP] + 1, line_whole[L_STEP_END]):",
            ),
        ),
    ),
    Fault(
        "discount applied twice",
        (
            (
                "simulation/calendar.py",
                "discount = np.exp(-log_discount * middles)",
                "discount = np.exp(-2 * log_discount * middles)",
            ),
        ),
    ),
    Fault(
        "churned accounts still expanding",
        (
            (
                "simulation/kernel.py",
                "        if not come_back(par, table, scale, real, whole, flow, lapse_day, stream):\n            break\n",
                "        if not come_back(par, table, scale, real, whole, flow, lapse_day, stream):\n"
                "            whole[START], whole[END] = lapse_day, table[WINDOW_END]\n"
                "            live_through_term(par, table, scale, real, whole, flow, later, events)\n"
                "            break\n",
            ),
        ),
    ),
    Fault(
        "independent parameter draws per account",
        (
            (
                "simulation/kernel.py",
                "                    results.revenue[account, draw] = add_to_sums(results.sums[account, block], whole, real)\n"
                "                    results.value[account, draw] = real[0]\n"
                "                    results.renewal[account, draw] = real[NEXT_RENEWAL - VALUE]\n",
                "                    start = block * DRAWS_EACH\n"
                "                    other = start + (draw - start + 37 * account) % len(draws)\n"
                "                    results.revenue[account, other] = add_to_sums(results.sums[account, block], whole, real)\n"
                "                    results.value[account, other] = real[0]\n"
                "                    results.renewal[account, other] = real[NEXT_RENEWAL - VALUE]\n",
            ),
            (
                "simulation/kernel.py",
                "                        copy(results.whole[account, draw], whole, 0)\n"
                "                        copy(results.real[account, draw], real, 0)\n",
                "                        copy(results.whole[account, other], whole, 0)\n"
                "                        copy(results.real[account, other], real, 0)\n",
            ),
        ),
    ),
    Fault(
        "contraction sign flipped",
        (
            (
                "simulation/life.py",
                "amount = -in_force * months_left / (1.0 + math.exp(-y))",
                "amount = in_force * months_left / (1.0 + math.exp(-y))",
            ),
        ),
    ),
    Fault(
        "left truncation ignored",
        (("components/renewal_design.py", "known = cells.node_m >= 0\n", "known = cells.node_m >= 10**9\n"),),
        ("renewal",),
    ),
    Fault(
        "committed revenue counted twice",
        (
            (
                "simulation/kernel.py",
                "whole[ORIGIN_TOTALS + COMMITTED], whole[DEFERRED] = books.whole[line, 0], books.whole[line, 1]",
                "whole[ORIGIN_TOTALS + COMMITTED], whole[DEFERRED] = 2 * books.whole[line, 0], books.whole[line, 1]",
            ),
        ),
    ),
)


def planted(fault: Fault, folder: Path) -> Path:
    """A copy of the package with the fault in it; each text to replace must stand in its file exactly once."""
    copy = folder / "clvforecast"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in fault.edits:
        path = copy / name
        text = path.read_text()
        if text.count(old) != 1:
            raise AssertionError(f"{fault.name}: the text to replace stands {text.count(old)} times in {name}: {old!r}")
        path.write_text(text.replace(old, new))
    return folder


def rejected(fault: Fault, fits: Path, simulations: int, processes: int) -> tuple[bool, str]:
    """Whether the gate rejects the package with the fault, and its worst quantity."""
    with tempfile.TemporaryDirectory() as name:
        root, out = planted(fault, Path(name) / "package"), Path(name) / "out"
        command = [sys.executable, "-m", "sbc", "one", f"--simulations={simulations}", f"--folder={out}"]
        command += [f"--processes={processes}"]
        command += ["--only", *fault.components] if fault.components else [f"--fits={fits.resolve()}"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (root, TESTS)))}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{fault.name}: the simulations stopped.\n{done.stderr[-2000:]}")
        ranks, failed, n_fits = collected(out, "fit" if fault.components else "forecast", range(simulations))
        table = judged(ranks)
    smallest = table.assign(p=table[["p_band", "p_spread"]].min(axis=1)).sort_values("p").iloc[0]
    share = f", {len(failed)} of {n_fits} fits did not converge" if failed else ""
    worst = (
        f"{smallest['quantity']}, p {smallest['p']:.2g} of {int(smallest['n'])} (limit {smallest['limit']:.2g}){share}"
    )
    return bool(not table["passes"].all()), worst
