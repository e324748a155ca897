"""Pictures of posterior predictive checks."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from clvforecast.predictive import PredictiveCheck
from clvforecast.report.axes import new_figure
from clvforecast.report.colours import ACTUAL, BANDS, MEDIAN

ROW_HEIGHT, LEAST_HEIGHT, WIDTH = 0.24, 2.6, 7.5
TITLES = {
    "renewals": "renewals by years of tenure",
    "years": "renewals by calendar year",
    "events": "events by account",
    "sizes": "sizes, on the model's scales",
    "changes": "changes at renewal",
    "terms": "length of the next term, months",
}


def plot_check(check: PredictiveCheck, ax: Axes | None = None) -> Axes:
    """Observed dots on the replicates' 90% ranges, a line a figure; dots outside are of another colour."""
    table = check.table
    if ax is None:
        height = max(LEAST_HEIGHT, ROW_HEIGHT * (len(table) + 4))
        ax = new_figure((WIDTH, height)).add_subplot()
    y = -np.arange(len(table), dtype=float)
    ax.hlines(y, table["lower"], table["upper"], color=BANDS[0.80], linewidth=6.0, label="replicated, 90%")
    inside = (table["lower"] - 1e-9 <= table["observed"]) & (table["observed"] <= table["upper"] + 1e-9)
    for mine, colour, label in ((inside, MEDIAN, "observed"), (~inside, ACTUAL, "observed, outside")):
        if mine.any():
            ax.plot(table.loc[mine, "observed"], y[mine.to_numpy()], "o", color=colour, markersize=4.5, label=label)
    labels = [f"{group}  {x}".strip() for group, x in zip(table["group"], table["x"], strict=True)]
    ax.set_yticks(y, labels, fontsize="small")
    ax.set_xlabel(check.unit)
    ax.set_title(TITLES[check.what], loc="left", fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax
