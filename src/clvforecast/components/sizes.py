"""How large things are: expansions, contractions, change orders, referrals, and the monthly revenue on a return.

``nu_i ~ Normal(mean_g, tau^2)``, ``y_ij ~ Normal(nu_i, sigma^2)`` on each kind's own scale (see `SizeCells`); nu is
integrated out. Parameters are the total SD ``sqrt(tau^2 + sigma^2)`` and the intra-class correlation
``icc = tau^2 / (tau^2 + sigma^2)``: with one event an account only the total is known.
The value on return has no account effect: every return counts as its own account, and its icc is left at its prior.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from clvforecast.cells import Frame, SizeCells
from clvforecast.components.component import (
    Arrays,
    Component,
    Floats,
    Parameter,
    Priors,
    Raw,
    Shape,
    Variable,
    data_first,
)
from clvforecast.components.pooling import (
    Pooling,
    coords_of,
    effects_of,
    pooled_columns,
    prior_raw,
    refined_pooling,
)
from clvforecast.components.rates import segment_effects
from clvforecast.components.sizes_density import DENSITY_DATA, compiled_size_density
from clvforecast.components.sizes_likelihood import DATA, size_log_likelihood

if TYPE_CHECKING:
    import pymc as pm


class SizePriors(Priors):
    """Priors of one kind's size."""

    mean_mean: float = Field(0.0, description="centre of the mean on the kind's own scale")
    mean_sd: float = Field(2.0, gt=0, description="a factor of fifty either way at two SDs")
    sd_median: float = Field(0.8, gt=0, description="contracts and subscriptions alike have SDs of .5 to 1.6")
    sd_spread: float = Field(
        0.6,
        gt=0,
        description="lognormal, 95% between .25 and 2.6: never zero, as two sizes that nearly agree would have it",
    )
    icc_alpha: float = Field(
        2.0, gt=0, description="Beta(2, 2): part of the spread is the account's, no more is claimed"
    )
    icc_beta: float = Field(2.0, gt=0, description="as icc_alpha")
    effect_sd: float = Field(0.5, gt=0, description="levels differ by a factor of 1.6 typically, of 2.7 at most")


SIZE_PRIORS: dict[str, SizePriors] = {
    "expansion": SizePriors(mean_mean=-1.5, mean_sd=1.5),
    "contraction": SizePriors(mean_mean=-1.0, mean_sd=1.5),
    "change_order": SizePriors(),
    "referral": SizePriors(),
    "return_value": SizePriors(mean_sd=1.0),
}
"""Raises are some 20% of the term's money (.01 to 4), cuts some 27% of the MRR (2% to 88%), change orders and referrals
about a month's revenue (a fiftieth to fifty), a return about what it was before the lapse (a seventh to seven times)."""


def size_component(cells: SizeCells, frame: Frame, priors: SizePriors, pooling: Pooling | None = None) -> Component:
    """The component of one kind; without data its draws are the prior's.

    `pooling` replaces the first one, see `pooling.refined_pooling`.
    """
    pooling = size_pooling(cells, frame) if pooling is None else pooling
    n_data = int((cells.n_lines * cells.n).sum())
    name = cells.kind
    empty = n_data == 0

    def prior(rng: np.random.Generator, shape: Shape) -> Raw:
        return _prior_raw(pooling, priors, rng, shape)

    def closed_form(rng: np.random.Generator, shape: Shape) -> Raw:
        return {**prior(rng, shape), "raw": np.zeros((*shape, pooling.n_coords))}

    return Component(
        name=name if name == "return_value" else f"{name}_size",
        arrays=size_arrays(cells, pooling, priors),
        build=size_model,
        parameters=(
            Parameter("sd", (pooling.n_sds,), "log"),
            Parameter("raw", (pooling.n_coords,)),
            Parameter("level"),
            Parameter("log_sd"),
            Parameter("icc", transform="logit"),
        ),
        density=compiled_size_density,
        density_data=DENSITY_DATA,
        prior=prior,
        variables=lambda raw: size_variables(raw, name, frame, pooling, priors, n_data),
        n_data=n_data,
        closed_form=closed_form if empty else None,
        refined=lambda mode, variance: (
            size_component(cells, frame, priors, refined_pooling(mode["raw"], variance["raw"], mode["sd"], pooling)),
        ),
        note=f"no {name.replace('_', ' ')} in the data: the prior alone" if empty else "",
    )


def size_pooling(cells: SizeCells, frame: Frame) -> Pooling:
    """Segment columns and the size class; n sizes tell a mean to about their variance / n."""
    G = cells.group_size.size
    events = np.bincount(cells.group, weights=cells.n_lines * cells.n, minlength=G).astype(float)
    columns = [cells.group_levels[:, s] for s in range(len(frame.segments))]
    sizes = [len(frame.levels[name]) for name in frame.segments]
    information = events / _variance(cells)
    return pooled_columns([*columns, cells.group_size], [*sizes, frame.n_size_classes], information)


def _variance(cells: SizeCells) -> float:
    """Variance of all sizes, 1 where there are none: only a yardstick for `pooled_columns`."""
    n, total = cells.n * cells.n_lines, float((cells.n * cells.n_lines).sum())
    if total < 2:
        return 1.0
    centre = float((n * cells.mean).sum()) / total
    squares = cells.within + cells.n * cells.between + n * (cells.mean - centre) ** 2
    return max(float(squares.sum()) / total, 1e-6)


def size_arrays(cells: SizeCells, pooling: Pooling, priors: SizePriors) -> Arrays:
    """The graph's data."""
    arrays: Arrays = {
        **pooling.data(),
        "group": cells.group.astype(np.int64),
        "n": cells.n.astype(float),
        "N": cells.n_lines.astype(float),
        "W": cells.within.astype(float),
        "M": cells.mean.astype(float),
        "C": cells.between.astype(float),
        "prior_mean": np.array([priors.mean_mean, priors.mean_sd]),
        "prior_log_sd": np.array([np.log(priors.sd_median), priors.sd_spread]),
        "prior_icc": np.array([priors.icc_alpha, priors.icc_beta]),
        "prior_effect": np.full(pooling.n_sds, priors.effect_sd),
    }
    return data_first(DATA, arrays)


def size_model(arrays: Arrays) -> pm.Model:
    """The graph of every kind's size."""
    import pymc as pm  # takes two seconds, and neither fitting nor scoring needs it
    import pytensor.tensor as pt

    from clvforecast.components.graph import as_data, likelihood_of, sampled_coords

    with pm.Model() as model:
        d = as_data(arrays, DATA)
        sd = pm.HalfNormal("sd", d["prior_effect"], shape=arrays["prior_effect"].shape)
        coords = sampled_coords("raw", sd[d["column_of"]], d["guess"], d["error"], arrays["guess"].shape)
        level = pm.Normal("level", pt.sum(d["X_mean"] * coords) / d["prior_mean"][1], 1.0)
        total = pt.exp(d["prior_log_sd"][0] + d["prior_log_sd"][1] * pm.Normal("log_sd", 0.0, 1.0))
        icc = pm.Beta("icc", d["prior_icc"][0], d["prior_icc"][1])
        mean = d["prior_mean"][0] + d["prior_mean"][1] * level
        variances = (1.0 - icc) * total**2, icc * total**2
        pm.Potential("log_likelihood", likelihood_of(size_log_likelihood, d, mean, *variances, coords))
    return model


def _prior_raw(pooling: Pooling, priors: SizePriors, rng: np.random.Generator, shape: Shape) -> Raw:
    sd = np.abs(rng.normal(0.0, priors.effect_sd, (*shape, pooling.n_sds)))
    raw = prior_raw(sd, pooling, rng)
    return {
        "sd": sd,
        "raw": raw,
        "level": pooling.at_mean(coords_of(raw, sd, pooling)) / priors.mean_sd + rng.normal(size=shape),
        "log_sd": rng.normal(size=shape),
        "icc": rng.beta(priors.icc_alpha, priors.icc_beta, shape),
    }


def size_variables(
    raw: Raw, kind: str, frame: Frame, pooling: Pooling, priors: SizePriors, n_data: int
) -> dict[str, Variable]:
    """The named variables of one kind: mean, total SD, intra-class correlation, effects on the mean and their SDs."""
    coords = coords_of(raw["raw"], raw["sd"], pooling)
    effects = effects_of(coords, pooling)
    is_return = kind == "return_value"
    stem = kind if is_return else f"{kind}_size"
    values: dict[str, tuple[tuple[str, ...], NDArray[np.float64]]] = {
        "mean": ((), priors.mean_mean + priors.mean_sd * raw["level"] - pooling.at_mean(coords)),
        "sd": ((), priors.sd_median * np.exp(priors.sd_spread * raw["log_sd"])),
        "segment_effect": (("segment_level",), segment_effects(effects[:-1], raw["level"].shape)),
        "segment_sd": (("segment",), raw["sd"][..., : len(frame.segments)]),
    }
    if not is_return:
        values["icc"] = ((), raw["icc"])
        values["size_effect"] = (("size_class",), effects[-1])
        values["size_sd"] = ((), raw["sd"][..., len(frame.segments)])
    return {f"{stem}_{name}": Variable(dims, value, n_data) for name, (dims, value) in values.items()}


def size_posterior(
    n: ArrayLike, y_sum: ArrayLike, mean: ArrayLike, sd: ArrayLike, icc: ArrayLike
) -> tuple[Floats, Floats]:
    """An account's mean size given n sizes that sum to y_sum: ``nu ~ Normal``, returned as (mean, SD).

    Precision ``1/tau^2 + n/sigma^2``, mean ``(mean/tau^2 + y_sum/sigma^2) / precision``.
    """
    tau2 = np.asarray(icc, float) * np.asarray(sd, float) ** 2
    sigma2 = (1.0 - np.asarray(icc, float)) * np.asarray(sd, float) ** 2
    precision = 1.0 / tau2 + np.asarray(n, float) / sigma2
    centre = (np.asarray(mean, float) / tau2 + np.asarray(y_sum, float) / sigma2) / precision
    return np.asarray(centre, float), np.asarray(1.0 / np.sqrt(precision), float)
