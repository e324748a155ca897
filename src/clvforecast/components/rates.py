"""How often things happen: expansions, contractions, change orders, referrals, returns and early terminations.

``lambda_i ~ Gamma(shape r, mean m_g)``, events ``n_i ~ Poisson(lambda_i T_i)``, T years of exposure; lambda is integrated
out (a negative binomial), ``log m_g = intercept + effects of the segment levels and of the size class``.
Early terminations have no account effect: r is held at a million there, which is a Poisson to six digits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from clvforecast.cells import Frame, RateCells
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
from clvforecast.components.exposures import merged_exposures
from clvforecast.components.pooling import (
    Pooling,
    coords_of,
    effects_of,
    pooled_columns,
    prior_raw,
    refined_pooling,
)
from clvforecast.components.rates_density import DENSITY_DATA, POISSON_SHAPE, compiled_rate_density
from clvforecast.components.rates_likelihood import DATA, rate_log_likelihood

if TYPE_CHECKING:
    import pymc as pm


class RatePriors(Priors):
    """Priors of one kind's rate."""

    log_rate_mean: float = Field(-1.5, description="log of .22 events a year: between one a decade and a few a year")
    log_rate_sd: float = Field(
        1.5, gt=0, description="95% between .012 and 4.2 a year, wider than any company's average"
    )
    log_shape_mean: float = Field(
        0.0, description="r = 1, an exponential spread of rates, is where counts of purchases usually lie"
    )
    log_shape_sd: float = Field(
        1.0, gt=0, description="95% of r between .14 and 7: from a few busy accounts to nearly equal"
    )
    effect_sd: float = Field(0.5, gt=0, description="levels differ by a factor of 1.6 typically, of 2.7 at most")
    empty_events: float = Field(0.5, gt=0, description="Jeffreys' half event, used only where no event was seen")
    empty_years: float = Field(50.0, gt=0, description="half an event in 50 years: what was never seen is rare")


REACTIVATION_PRIORS = RatePriors(log_rate_mean=-2.5, log_shape_sd=0.5)
"""One return in twelve lapsed years. A handful of returns cannot tell a few quick returners from a slow rate of all, two far
modes of r (.01 and 1); the prior settles for the second, 95% of r between .38 and 2.7."""

TERMINATION_PRIORS = RatePriors(log_rate_mean=-3.5)
"""Terms are signed to be served: one early end in thirty years of service, 95% between .0016 and .57 a year."""


@dataclass(frozen=True)
class RateDesign:
    """What turns raw draws into named variables: the pooling, the exposure in all, and which kind it is."""

    pooling: Pooling
    total_years: float
    is_poisson: bool
    has_sizes: bool
    n_events: int


def rate_component(cells: RateCells, frame: Frame, priors: RatePriors, pooling: Pooling | None = None) -> Component:
    """The component of one kind. Without a single event it is drawn in closed form, see `_empty_raw`.

    `pooling` replaces the first one, see `pooling.refined_pooling`.
    """
    design = rate_design(cells, frame)
    if pooling is not None:
        design = replace(design, pooling=pooling)
    name, empty = cells.kind, design.n_events == 0
    seen = f"no {name.replace('_', ' ')} in {design.total_years:.0f} years of exposure: the prior, almost none"

    def prior(rng: np.random.Generator, shape: Shape) -> Raw:
        return _prior_raw(design, priors, rng, shape)

    def closed_form(rng: np.random.Generator, shape: Shape) -> Raw:
        return _empty_raw(design, priors, rng, shape)

    return Component(
        name=f"{name}_rate",
        arrays=rate_arrays(cells, design, priors),
        build=rate_model,
        parameters=(
            Parameter("sd", (design.pooling.n_sds,), "log"),
            Parameter("raw", (design.pooling.n_coords,)),
            Parameter("log_shape"),
            Parameter("level"),
        ),
        density=compiled_rate_density,
        density_data=DENSITY_DATA,
        prior=prior,
        variables=lambda raw: rate_variables(raw, name, frame, design, priors),
        n_data=design.n_events,
        closed_form=closed_form if empty else None,
        refined=lambda mode, variance: (
            rate_component(
                cells, frame, priors, refined_pooling(mode["raw"], variance["raw"], mode["sd"], design.pooling)
            ),
        ),
        note=seen if empty else "",
    )


def rate_design(cells: RateCells, frame: Frame) -> RateDesign:
    """The design of one kind."""
    return RateDesign(
        pooling=rate_pooling(cells, frame),
        total_years=float((cells.n_lines * cells.exposure).sum()),
        is_poisson=cells.kind == "termination",
        has_sizes=bool((cells.group_size >= 0).any()),
        n_events=int(cells.n_events.sum()),
    )


def rate_pooling(cells: RateCells, frame: Frame) -> Pooling:
    """Segment columns and the size class; a group knows its log rate to about 1 / its events."""
    G = cells.group_size.size
    events = np.bincount(cells.group, weights=cells.n_events, minlength=G).astype(float)
    columns = [cells.group_levels[:, s] for s in range(len(frame.segments))]
    sizes = [len(frame.levels[name]) for name in frame.segments]
    return pooled_columns([*columns, cells.group_size], [*sizes, frame.n_size_classes], events)


def rate_arrays(cells: RateCells, design: RateDesign, priors: RatePriors) -> Arrays:
    """The graph's data."""
    given = cells.n_lines.astype(float), cells.n_events.astype(float)
    group, exposure, (n_lines, n_events) = merged_exposures(
        cells.group.astype(np.int64), cells.exposure.astype(float), given, len(design.pooling.X)
    )
    arrays: Arrays = {
        **design.pooling.data(),
        "group": group,
        "exposure": exposure,
        "n_lines": n_lines,
        "n_events": n_events,
        "group_events": np.bincount(cells.group, cells.n_events, len(design.pooling.X)).astype(float),
        "hist_n": cells.hist_n.astype(float),
        "hist_count": cells.hist_count.astype(float),
        "is_poisson": np.asarray(float(design.is_poisson)),
        "prior_rate": np.array([priors.log_rate_mean, priors.log_rate_sd]),
        "prior_shape": np.array([priors.log_shape_mean, priors.log_shape_sd]),
        "prior_effect": np.full(design.pooling.n_sds, priors.effect_sd),
    }
    return data_first(DATA, arrays)


def rate_model(arrays: Arrays) -> pm.Model:
    """The graph of every kind's rate."""
    import pymc as pm  # takes two seconds, and neither fitting nor scoring needs it
    import pytensor.tensor as pt

    from clvforecast.components.graph import as_data, likelihood_of, sampled_coords

    with pm.Model() as model:
        d = as_data(arrays, DATA)
        sd = pm.HalfNormal("sd", d["prior_effect"], shape=arrays["prior_effect"].shape)
        coords = sampled_coords("raw", sd[d["column_of"]], d["guess"], d["error"], arrays["guess"].shape)
        log_shape = pm.Normal("log_shape", 0.0, 1.0)
        r = pt.exp(d["prior_shape"][0] + d["prior_shape"][1] * log_shape)
        r = d["is_poisson"] * POISSON_SHAPE + (1.0 - d["is_poisson"]) * r
        level = pm.Normal("level", pt.sum(d["X_mean"] * coords) / d["prior_rate"][1], 1.0)
        log_rate = d["prior_rate"][0] + d["prior_rate"][1] * level
        pm.Potential("log_likelihood", likelihood_of(rate_log_likelihood, d, log_rate, r, coords))
    return model


def _shape(raw: Raw, design: RateDesign, priors: RatePriors) -> Floats:
    """r, (chain, draw)."""
    drawn = np.exp(priors.log_shape_mean + priors.log_shape_sd * raw["log_shape"])
    return np.full_like(drawn, POISSON_SHAPE) if design.is_poisson else np.asarray(drawn, float)


def _prior_raw(design: RateDesign, priors: RatePriors, rng: np.random.Generator, shape: Shape) -> Raw:
    pooling = design.pooling
    sd = np.abs(rng.normal(0.0, priors.effect_sd, (*shape, pooling.n_sds)))
    raw = prior_raw(sd, pooling, rng)
    shift = pooling.at_mean(coords_of(raw, sd, pooling)) / priors.log_rate_sd
    return {"sd": sd, "raw": raw, "level": shift + rng.normal(size=shape), "log_shape": rng.normal(size=shape)}


def _empty_raw(design: RateDesign, priors: RatePriors, rng: np.random.Generator, shape: Shape) -> Raw:
    """Nothing was seen in all the years: ``rate ~ Gamma(1/2, 50 + years)``, no effects, the rest from the prior."""
    rate = rng.gamma(priors.empty_events, 1.0 / (priors.empty_years + design.total_years), shape)
    level = (np.log(np.maximum(rate, 1e-300)) - priors.log_rate_mean) / priors.log_rate_sd
    return {
        **_prior_raw(design, priors, rng, shape),
        "raw": np.zeros((*shape, design.pooling.n_coords)),
        "level": level,
    }


def rate_variables(raw: Raw, kind: str, frame: Frame, design: RateDesign, priors: RatePriors) -> dict[str, Variable]:
    """The named variables of one kind: rate a year, shape, effects on the log rate and their SDs.

    A kind whose exposure is not told apart by size (reactivation) has size effects of zero.
    """
    coords = coords_of(raw["raw"], raw["sd"], design.pooling)
    effects = effects_of(coords, design.pooling)
    log_rate = priors.log_rate_mean + priors.log_rate_sd * raw["level"] - design.pooling.at_mean(coords)
    values: dict[str, tuple[tuple[str, ...], Floats]] = {
        "rate": ((), np.exp(log_rate)),
        "rate_segment_effect": (("segment_level",), segment_effects(effects[:-1], raw["level"].shape)),
        "rate_segment_sd": (("segment",), raw["sd"][..., : len(frame.segments)]),
        "rate_size_effect": (("size_class",), effects[-1] if design.has_sizes else np.zeros_like(effects[-1])),
        "rate_size_sd": ((), raw["sd"][..., len(frame.segments)] * float(design.has_sizes)),
    }
    if not design.is_poisson:
        values["rate_shape"] = ((), _shape(raw, design, priors))
    return {f"{kind}_{name}": Variable(dims, value, design.n_events) for name, (dims, value) in values.items()}


def segment_effects(effects: tuple[Floats, ...], shape: tuple[int, ...]) -> Floats:
    """The effects of all segment columns side by side, (..., levels of all columns), none without segments."""
    return np.concatenate(effects, axis=-1) if effects else np.zeros((*shape, 0))


def rate_posterior(n: ArrayLike, T: ArrayLike, shape: ArrayLike, mean: ArrayLike) -> tuple[Floats, Floats]:
    """An account's rate given its n events in T years: ``lambda ~ Gamma(r + n, r/m + T)``, returned as (shape, rate)."""
    r, m = np.asarray(shape, float), np.asarray(mean, float)
    return np.asarray(r + np.asarray(n), float), np.asarray(r / m + np.asarray(T), float)
