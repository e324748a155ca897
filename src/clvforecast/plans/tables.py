"""What was learned about plans, as tables: parameters, and stated against realised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import beta

from clvforecast.errors import PlanError
from clvforecast.intervals import check_interval, sorted_interval
from clvforecast.plans.counts import UNSTATED
from clvforecast.sampling import diagnostics

Floats = NDArray[np.float64]

DEFAULT_BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
CI_PROB = 0.95
MEANINGS: dict[str, tuple[str, str]] = {
    "intercept": ("log odds that a step comes which is stated at 50%, of average kind and levels", "log odds"),
    "stated_slope": ("log odds learned per log odds stated: 1 taken at their word, 0 stating says nothing", "slope"),
    "unstated_offset": ("steps without a stated probability, against those stated at 50%", "log odds"),
    "effect": ("by kind, segment level and CSM, against the average level", "log odds; above 0 comes more often"),
    "effect_sd": ("spread of the levels", "log odds"),
    "delay_mean": ("middle of the delay, before it is cut to the window", "days after the planned day"),
    "delay_scale": ("scale of the delay (Student's t, 4 degrees of freedom)", "days"),
    "renewal_delay": ("share of the renewals that are booked so many days after the planned day", "share"),
    "share_mean": ("mean log of actual over planned amount", "log share"),
    "share_sd": ("SD of the log of actual over planned amount", "log share"),
}


@dataclass(frozen=True)
class Record:
    """Steps whose last day was over, by group: levels (G, columns), per cent stated (G,), steps and hits (G,)."""

    levels: NDArray[np.int64]
    stated: NDArray[np.int64]
    steps: Floats
    hits: Floats

    def by_statement(self, kind: int) -> tuple[float, float]:
        """Steps of a kind without a stated probability, and with one."""
        mine, unstated = self.levels[:, 0] == kind, self.stated == UNSTATED
        return float(self.steps[mine & unstated].sum()), float(self.steps[mine & ~unstated].sum())


def summary_of(draws: xr.Dataset) -> pd.DataFrame:
    """One row a scalar parameter, see `PlanReliability.summary`."""
    rows = []
    for name, variable in draws.data_vars.items():
        values = variable.transpose("chain", "draw", ...).values
        figures = diagnostics(values)
        labels = [variable[dim].values for dim in variable.dims[2:]]
        meaning, unit = MEANINGS[str(name)]
        for at in product(*(range(size) for size in values.shape[2:])):
            mine = np.moveaxis(values, (0, 1), (-2, -1))[at].ravel()
            lower, upper = np.quantile(mine, [(1.0 - CI_PROB) / 2.0, (1.0 + CI_PROB) / 2.0])
            label = ", ".join(str(labels[axis][i]) for axis, i in enumerate(at))
            row: dict[str, object] = {
                "parameter": f"{name}[{label}]" if at else str(name),
                "meaning": meaning,
                "unit": unit,
            }
            row |= {"mean": mine.mean(), "sd": mine.std(ddof=1), "lower": lower, "upper": upper, "ci_prob": CI_PROB}
            row |= {figure: float(found[at]) for figure, found in figures.items()}
            rows.append(row | {"n_data": int(variable.attrs["n_data"])})
    return pd.DataFrame(rows)


def calibration_table(record: Record, p: Floats, bins: Sequence[float], ci_prob: float) -> pd.DataFrame:
    """One row a bin, see `PlanReliability.calibration`; p (G, D) is the learned probability of each group."""
    check_interval(ci_prob, "eti")
    edges = np.asarray(bins, float)
    if len(edges) < 2 or (np.diff(edges) <= 0).any() or edges[0] < 0 or edges[-1] > 1:
        raise PlanError(f"calibration: bins={tuple(bins)} must rise, from 0 at least to 1 at most, as {DEFAULT_BINS}.")
    stated = record.stated / 100.0
    place = np.clip(np.searchsorted(edges, stated, side="right") - 1, 0, len(edges) - 2)
    place = np.where((stated < edges[0]) | (stated > edges[-1]), -1, place)
    place = np.where(record.stated == UNSTATED, len(edges) - 1, place)
    names = [f"{low:g}-{high:g}" for low, high in zip(edges[:-1], edges[1:], strict=True)] + ["not stated"]
    rows = [_bin(name, record, p, (place == k) & (record.steps > 0), ci_prob) for k, name in enumerate(names)]
    return pd.DataFrame([row for row in rows if row["stated"] != "not stated" or row["steps"]])


def _bin(name: str, record: Record, p: Floats, mine: NDArray[np.bool_], ci_prob: float) -> dict[str, object]:
    steps, hits = record.steps[mine].sum(), record.hits[mine].sum()
    row: dict[str, object] = {"stated": name, "steps": int(steps)}
    names = ("stated_mean", "realised", "realised_lower", "realised_upper", "learned", "learned_lower", "learned_upper")
    if not steps:
        return row | dict.fromkeys(names, np.nan) | {"ci_prob": ci_prob}
    weight = record.steps[mine] / steps
    tail = (1.0 - ci_prob) / 2.0
    # Jeffreys' interval, whose ends are 0 and 1 where nothing and everything came (Brown, Cai and DasGupta 2001).
    lower = beta.ppf(tail, hits + 0.5, steps - hits + 0.5) if hits > 0 else 0.0
    upper = beta.ppf(1.0 - tail, hits + 0.5, steps - hits + 0.5) if hits < steps else 1.0
    learned = np.sort((p[mine] * weight[:, None]).sum(axis=0))
    learned_lower, learned_upper = sorted_interval(learned, ci_prob, "eti")
    stated = np.nan if name == "not stated" else float((record.stated[mine] / 100.0 * weight).sum())
    values = (stated, hits / steps, lower, upper, learned.mean(), learned_lower, learned_upper)
    return row | dict(zip(names, map(float, values), strict=True)) | {"ci_prob": ci_prob}
