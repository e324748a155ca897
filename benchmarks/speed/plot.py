"""Time against accounts for every package: fits on the left, a prediction for every account on the right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from speed.children import SKIPPED
from speed.figures import TOOLS, Results, Timing, Tool, fit_seconds, fit_timing, predict_timing

OWN = ("#00533e", "#1f7a8c", "#2a9d74", "#8ccfb3")
OTHERS = ("#9b2226", "#ca6702", "#e9a23b", "#6c757d")
COLOURS = dict(zip((tool.name for tool in TOOLS), (*OWN[:3], *OTHERS), strict=True))
GROWN = {"warm": "clvforecast, all components, contracts of 1 to 5 years", "cold": "the same, nothing compiled yet"}

Found = dict[int, Timing]


def draw(results: Results, path: Path) -> None:
    """Write the picture."""
    figure, (fits, predictions) = plt.subplots(1, 2, figsize=(11.5, 5.6), sharey=True, layout="constrained")
    for tool in TOOLS:
        for axes, of in ((fits, fit_timing), (predictions, predict_timing)):
            _line(axes, tool.name, _found(results, tool, of), COLOURS[tool.name])
    for state, style in (("warm", "-"), ("cold", ":")):
        records = results.of("growth", f"fit, contracts, {state}")
        found = {n: Timing(fit_seconds(record)) for n, record in records.items() if fit_seconds(record)}
        _line(fits, GROWN[state], found, OWN[3], style)
    for axes, title in ((fits, "From data to a fit"), (predictions, "A prediction for every account")):
        _dress(axes, title)
    fits.set_ylabel("seconds")
    if (named := fits.get_legend_handles_labels())[0]:
        figure.legend(*named, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})
    plt.close(figure)


def _found(results: Results, tool: Tool, of: Callable[[Results, Tool, int], Timing | None]) -> Found:
    timings = {n: of(results, tool, n) for n in results.sizes("peers")}
    return {n: timing for n, timing in timings.items() if timing is not None and timing.ended != SKIPPED}


def _line(axes: Any, name: str, found: Found, colour: str, style: str = "-") -> None:
    """Done ones as a line; what was stopped as an arrow up from when it was stopped, with why."""
    done = {n: timing.seconds for n, timing in found.items() if timing.seconds}
    if done:
        axes.plot(list(done), list(done.values()), style, marker="o", ms=4, color=colour, label=name)
    for n, timing in found.items():
        if timing.seconds is None and timing.at_least > 0.0:
            axes.plot([n], [timing.at_least], marker="^", ms=8, mfc="none", color=colour, label=None if done else name)
            note = {"timed out": "time limit"}.get(timing.ended, timing.ended)
            axes.annotate(note, (n, timing.at_least), (5, 2), textcoords="offset points", fontsize=7, color=colour)


def _dress(axes: Any, title: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="accounts", title=title)
    axes.grid(which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
