"""Effective draws, by the same function for every package."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from arviz_stats.base import array_stats


def effective(draws: Mapping[str, Any]) -> dict[str, float]:
    """The least bulk effective draws and the worst R-hat of all scalars of `draws`: name -> (chain, draw, ...).

    What is constant by definition (the effect of a reference class) is left out.
    """
    flat = [np.asarray(values, float).reshape(*values.shape[:2], -1) for values in draws.values()]
    scalars = np.moveaxis(np.concatenate(flat, axis=2), -1, 0)
    moving = scalars[np.ptp(scalars, axis=(1, 2)) > 0]
    axes = {"chain_axis": 1, "draw_axis": 2}
    return {
        "parameters": len(moving),
        "least_ess_bulk": round(float(array_stats.ess(moving, method="bulk", **axes).min()), 1),
        "worst_rhat": round(float(array_stats.rhat(moving, **axes).max()), 4),
    }


def means_and_sds(names: list[str], draws: Any) -> dict[str, list[float]]:
    """Name -> posterior mean and SD of draws (chain, draw, names)."""
    values = np.asarray(draws, float).reshape(-1, len(names))
    table = zip(names, values.mean(axis=0), values.std(axis=0), strict=True)
    return {name: [round(float(mean), 5), round(float(sd), 5)] for name, mean, sd in table}
