"""What all pictures share: axes of their own or given ones, units, dates, legends; styles are left alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from clvforecast.report.colours import BANDS, MEDIAN
from clvforecast.report.units import MoneyUnit

FIGURE_SIZE = (9.0, 4.8)
ZERO_LINE: dict[str, Any] = {"color": "0.25", "linewidth": 0.9, "zorder": 1.5}
DASHES = (0, (4, 3))
FAN_QUANTILES = {0.95: ("lower", "upper"), 0.80: ("q10", "q90"), 0.50: ("q25", "q75")}
"""Columns of a table with ``ci_prob=0.95`` and equal tails that the bands of a fan lie between."""


def axes_or_new(ax: Axes | None) -> Axes:
    """The axes, or those of a new figure."""
    return new_figure(FIGURE_SIZE).add_subplot() if ax is None else ax


def new_figure(size: tuple[float, float]) -> Figure:
    """Where somebody looks on, one of pyplot, which notebooks show and close at the end of the cell.

    In scripts no pyplot knows of it: nothing stays open, and ``ax.figure.savefig`` is there.
    """
    if not _is_watched():
        return Figure(figsize=size, layout="constrained")
    from matplotlib import pyplot

    return pyplot.figure(figsize=size, layout="constrained")


def _is_watched() -> bool:
    """In IPython and its notebooks, and where somebody has said ``pyplot.ion()``."""
    ipython = sys.modules.get("IPython")
    return matplotlib.is_interactive() or (ipython is not None and ipython.get_ipython() is not None)


def draw_fan(axes: Axes, x: NDArray[np.float64], table: pd.DataFrame, prefix: str = "") -> None:
    """Bands and median of a table with ``ci_prob=0.95``; with a single row bars instead, a band has no width."""
    for band, (low, high) in FAN_QUANTILES.items():
        below, above = table[f"{prefix}{low}"].to_numpy(), table[f"{prefix}{high}"].to_numpy()
        style: dict[str, Any] = {"color": BANDS[band], "label": f"{band:.0%} range", "zorder": 3, "linewidth": 0}
        if len(table) > 1:
            axes.fill_between(x, below, above, **style)
        else:
            axes.vlines(x, below, above, **{**style, "linewidth": 10.0})
    marker = "o" if len(table) <= 24 else None
    axes.plot(
        x, table[f"{prefix}q50"], color=MEDIAN, linewidth=1.8, marker=marker, markersize=3.5, label="median", zorder=5
    )


def as_of_line(axes: Axes, as_of: date) -> None:
    """Where history ends: a dashed line at the end of the day, named on the side that has room.  Drawn after what has dates."""
    at = float(date2num(pd.Timestamp(as_of) + pd.Timedelta(days=1)))
    first, last = axes.get_xlim()
    on_left = at - first > 0.3 * (last - first)
    axes.axvline(at, color="0.25", linewidth=1.0, linestyle=DASHES, zorder=4)
    axes.annotate(
        f"as of {as_of}",
        xy=(at, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if on_left else 4, -3),
        textcoords="offset points",
        ha="right" if on_left else "left",
        va="top",
        fontsize="small",
        color="0.25",
    )


def draw_ranges(axes: Axes, y: NDArray[np.float64], table: pd.DataFrame, colour: str = MEDIAN) -> None:
    """Across: 90% range as a line, 50% as a bar, median as a dot."""
    axes.hlines(y, table["lower"], table["upper"], color=BANDS[0.50], linewidth=1.8, label="90% range", zorder=2)
    axes.hlines(y, table["q25"], table["q75"], color=BANDS[0.50], linewidth=7.0, label="50% range", zorder=3)
    axes.plot(table["q50"], y, "o", color=colour, markersize=5.5, label="median", zorder=4)


def across(axes: Axes, rows: int, unit: MoneyUnit, label: str) -> None:
    """Money to the right, rows from the top down, the zero line."""
    axes.set_ylim(rows - 0.4, -0.6)
    quiet(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color="0.9", linewidth=0.8, zorder=0)
    axes.axvline(0.0, **ZERO_LINE)
    money_axis(axes.xaxis, unit.size)
    axes.set_xlabel(label)


def wrapped(name: str) -> str:
    """In lines of some 24 letters."""
    return fill(name, 24)


def legend(axes: Axes, first: Sequence[str]) -> None:
    """To the right of the axes: first the labels that begin so, in that order, then the others."""
    handles, labels = axes.get_legend_handles_labels()
    rank = [next((n for n, start in enumerate(first) if label.startswith(start)), len(first)) for label in labels]
    order = np.argsort(rank, kind="stable")
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize="small",
    )


def money_axis(axis: Any, unit: float) -> None:
    axis.set_major_formatter(FuncFormatter(lambda amount, _: f"{amount / unit:,.10g}"))


def date_axis(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def quiet(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
