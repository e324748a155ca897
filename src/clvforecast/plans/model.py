"""How far plans can be relied on: whether a step comes, when, and at which share of its amount.

``P(hit by d days after the planned day) = p F(d)``, F a delay's distribution up to the step's last day (`delays`; of renewals
`lags`);
``logit p = intercept + effects of kind, segment levels and CSM + slope logit(stated)``, and for a step without a stated
probability an offset in the slope's place. A step that has not come by day d counts ``1 - p F(d)``, one whose last day is over
``1 - p``: leaving recent steps out, or waiting for all of them to end, would keep the quick ones alone.
An event of an account whose contracts end before its last day has not come by that end: p is of those that stay.
``log(actual / planned amount) ~ Normal(mu_kind, sigma_kind)``. Effects, and the kinds' mu, are partially pooled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clvforecast.components.component import Arrays, Component, Floats, Parameter, Raw, Shape, Variable
from clvforecast.components.pooling import (
    Pooling,
    coords_from_raw,
    coords_of,
    effects_of,
    pooled_columns,
    prior_raw,
    refined,
)
from clvforecast.plans.counts import UNSTATED, PlanCounts, PlanFrame
from clvforecast.plans.density import DATA, compiled_plan_density
from clvforecast.plans.lags import base_shares, parts, softmax
from clvforecast.plans.priors import PlanPriors
from clvforecast.plans.steps import EVENT_STEPS, RENEWAL, STEP_KINDS

if TYPE_CHECKING:
    import pymc as pm

K_KINDS, K_EVENTS = len(STEP_KINDS), len(EVENT_STEPS)


@dataclass(frozen=True)
class PlanDesign:
    """The poolings of whether a step comes (columns of the frame) and of the kinds' shares."""

    hit: Pooling
    share: Pooling


def plan_design(counts: PlanCounts, frame: PlanFrame) -> PlanDesign:
    """The designs, before the data have said where their coordinates lie."""
    steps = counts.hits + counts.misses
    levels = [counts.group_levels[:, c] for c in range(len(frame.columns))]
    sizes = [len(frame.levels[name]) for name in frame.columns]
    return PlanDesign(
        hit=pooled_columns(levels, sizes, 0.2 * steps),
        share=pooled_columns([np.arange(K_KINDS)], [K_KINDS], 10.0 * counts.share_n),
    )


def plan_component(
    counts: PlanCounts, frame: PlanFrame, priors: PlanPriors, design: PlanDesign | None = None
) -> Component:
    """The component; without data its draws are the prior's. `design` replaces the first one, see `pooling.refined`."""
    design = plan_design(counts, frame) if design is None else design

    def prior(rng: np.random.Generator, shape: Shape) -> Raw:
        return _prior_raw(design, priors, len(frame.lag_labels), rng, shape)

    return Component(
        name="plans",
        arrays=plan_arrays(counts, frame, design, priors),
        build=plan_model,
        parameters=(
            Parameter("sd", (design.hit.n_sds + 1,), "log"),
            Parameter("raw", (design.hit.n_coords + design.share.n_coords,)),
            Parameter("level"),
            Parameter("slope"),
            Parameter("unstated"),
            Parameter("delay_mean", (K_EVENTS,)),
            Parameter("delay_scale", (K_EVENTS,)),
            Parameter("lag", (len(frame.lag_labels),)),
            Parameter("share_level"),
            Parameter("share_sd", (K_KINDS,)),
        ),
        density=compiled_plan_density,
        density_data=DATA,
        prior=prior,
        variables=lambda raw: plan_variables(raw, counts, frame, design, priors),
        n_data=counts.n_steps,
        closed_form=prior if counts.n_steps == 0 else None,
        refined=lambda mode, variance: (
            plan_component(counts, frame, priors, _refined(mode["raw"], variance["raw"], mode["sd"], design)),
        ),
        note="" if counts.n_steps else "no history of plans: the prior alone",
    )


def plan_arrays(counts: PlanCounts, frame: PlanFrame, design: PlanDesign, priors: PlanPriors) -> Arrays:
    """The data of the density and of the graph."""
    hit, share = design.hit.data(), design.share.data()
    is_stated = counts.group_stated != UNSTATED
    stated = np.where(is_stated, counts.group_stated, 50) / 100.0
    return {
        "X": hit["X"],
        "X_rows": hit["X_rows"],
        "X_mean": hit["X_mean"],
        "column_of": np.concatenate([hit["column_of"], share["column_of"] + design.hit.n_sds]),
        "guess": np.concatenate([hit["guess"], share["guess"]]),
        "error": np.concatenate([hit["error"], share["error"]]),
        "stated": np.log(stated) - np.log1p(-stated),
        "is_stated": is_stated.astype(float),
        "hits": counts.hits,
        "misses": counts.misses,
        "delay_kind": counts.delay_kind,
        "delay_cells": np.stack([counts.delay_lower, counts.delay_day, counts.delay_n]).astype(float),
        "open_group": counts.open_group,
        "open_kind": counts.group_levels[counts.open_group, 0],
        "open_cells": np.stack([counts.open_lower, counts.open_day, counts.open_n]).astype(float),
        "share_X": share["X"],
        "share_X_rows": share["X_rows"],
        "share_X_mean": share["X_mean"],
        "share_sums": np.stack([counts.share_n, counts.share_mean, counts.share_squares]),
        "window": np.array([float(frame.window_days)]),
        "lag_edges": np.array(frame.lag_edges, float),
        "lag_base": np.log(base_shares(frame.lag_edges, priors.lag_mean, priors.lag_scale)),
        "lag_spread": np.array([priors.lag_spread]),
        "prior_place": np.array(
            [
                [priors.intercept_mean, priors.intercept_sd],
                [priors.stated_slope_mean, priors.stated_slope_sd],
                [priors.unstated_mean, priors.unstated_sd],
                [priors.delay_mean_mean, priors.delay_mean_sd],
                [np.log(priors.delay_scale_median), priors.delay_scale_spread],
                [priors.share_mean_mean, priors.share_mean_sd],
                [np.log(priors.share_sd_median), priors.share_sd_spread],
            ]
        ),
        "prior_effect": np.append(np.full(design.hit.n_sds, priors.effect_sd), priors.share_effect_sd),
    }


def plan_model(arrays: Arrays) -> pm.Model:
    """The graph."""
    import pymc as pm  # takes two seconds, and neither fitting nor scoring needs it
    import pytensor.tensor as pt

    from clvforecast.components.graph import sampled_coords

    a, place = arrays, arrays["prior_place"]
    P, (delay_low, delay_day, delay_n), (open_low, open_day, open_n) = (
        len(a["X_mean"]),
        a["delay_cells"],
        a["open_cells"],
    )
    with pm.Model() as model:
        sd = pm.HalfNormal("sd", a["prior_effect"], shape=a["prior_effect"].shape)
        coords = sampled_coords("raw", sd[a["column_of"]], a["guess"], a["error"], a["guess"].shape)
        level = pm.Normal("level", pt.sum(a["X_mean"] * coords[:P]) / place[0, 1], 1.0)
        slope = place[1, 0] + place[1, 1] * pm.Normal("slope", 0.0, 1.0)
        unstated = place[2, 0] + place[2, 1] * pm.Normal("unstated", 0.0, 1.0)
        mean = place[3, 0] + place[3, 1] * pm.Normal("delay_mean", 0.0, 1.0, shape=K_EVENTS)
        scale = pt.exp(place[4, 0] + place[4, 1] * pm.Normal("delay_scale", 0.0, 1.0, shape=K_EVENTS))
        shares = pt.special.softmax(
            a["lag_base"] + a["lag_spread"] * pm.Normal("lag", 0.0, 1.0, shape=a["lag_base"].shape)
        )
        share_level = pm.Normal("share_level", pt.sum(a["share_X_mean"] * coords[P:]) / place[5, 1], 1.0)
        share_sd = pt.exp(place[6, 0] + place[6, 1] * pm.Normal("share_sd", 0.0, 1.0, shape=K_KINDS))
        log_odds = place[0, 0] + place[0, 1] * level + pt.sum(a["X_rows"] * coords[:P], axis=1)
        log_odds += a["is_stated"] * slope * a["stated"] + (1.0 - a["is_stated"]) * unstated

        def mass(low: Any, high: Any, kind: Any) -> Any:
            """Of the days (low, high], each of which is the time about it, up to half a day."""
            event = np.maximum(kind - 1, 0)  # any kind of event for renewals, whose mass is that of the bins
            of_event = _cdf((high + 0.5 - mean[event]) / scale[event]) - _cdf((low + 0.5 - mean[event]) / scale[event])
            return pt.where(kind == RENEWAL, pt.dot(parts(low, high, a["lag_edges"]), shares), of_event)

        def last(kind: Any) -> Any:
            return np.where(kind == RENEWAL, a["lag_edges"][-1], a["window"][0])

        kind, waiting = a["delay_kind"], a["open_kind"]
        of_day = mass(delay_day - 1.0, delay_day, kind) / mass(delay_low - 1.0, last(kind), kind)
        passed = mass(open_low - 1.0, open_day, waiting) / mass(open_low - 1.0, last(waiting), waiting)
        n, y, squares = a["share_sums"]
        centre = place[5, 0] + place[5, 1] * share_level + pt.sum(a["share_X_rows"] * coords[P:], axis=1)
        terms = (
            -pt.sum(a["hits"] * pt.softplus(-log_odds) + a["misses"] * pt.softplus(log_odds)),
            pt.sum(delay_n * pt.log(of_day)),
            pt.sum(open_n * pt.log1p(-pt.sigmoid(log_odds)[a["open_group"]] * passed)),
            -pt.sum(n * pt.log(share_sd) + 0.5 * (squares + n * (y - centre) ** 2) / share_sd**2),
        )
        pm.Potential("log_likelihood", sum(terms))
    return model


def _cdf(t: Any) -> Any:
    """``(1 + u)^2 (2 - u) / 4``, ``u = t / sqrt(4 + t^2)``."""
    import pytensor.tensor as pt

    u = t / pt.sqrt(4.0 + t**2)
    return 0.25 * (1.0 + u) ** 2 * (2.0 - u)


def _prior_raw(design: PlanDesign, priors: PlanPriors, n_lags: int, rng: np.random.Generator, shape: Shape) -> Raw:
    n = design.hit.n_sds
    scales = np.append(np.full(n, priors.effect_sd), priors.share_effect_sd)
    sd = np.abs(rng.normal(size=(*shape, n + 1))) * scales
    hit, share = prior_raw(sd[..., :n], design.hit, rng), prior_raw(sd[..., n:], design.share, rng)
    coords = coords_of(hit, sd[..., :n], design.hit), coords_of(share, sd[..., n:], design.share)
    return {
        "sd": sd,
        "raw": np.concatenate([hit, share], axis=-1),
        "level": design.hit.at_mean(coords[0]) / priors.intercept_sd + rng.normal(size=shape),
        "slope": rng.normal(size=shape),
        "unstated": rng.normal(size=shape),
        "delay_mean": rng.normal(size=(*shape, K_EVENTS)),
        "delay_scale": rng.normal(size=(*shape, K_EVENTS)),
        "lag": rng.normal(size=(*shape, n_lags)),
        "share_level": design.share.at_mean(coords[1]) / priors.share_mean_sd + rng.normal(size=shape),
        "share_sd": rng.normal(size=(*shape, K_KINDS)),
    }


def _refined(raw: Floats, variance: Floats, sd: Floats, design: PlanDesign) -> PlanDesign:
    """`pooling.refined` for both."""
    P, n = design.hit.n_coords, design.hit.n_sds
    found = []
    for pooling, part, sds in ((design.hit, slice(P), sd[:n]), (design.share, slice(P, None), sd[n:])):
        guess, error = refined(raw[part], variance[part], sds[pooling.column_of], pooling.guess, pooling.error)
        found.append(replace(pooling, guess=guess, error=error))
    return PlanDesign(*found)


def plan_variables(
    raw: Raw, counts: PlanCounts, frame: PlanFrame, design: PlanDesign, priors: PlanPriors
) -> dict[str, Variable]:
    """The named variables."""
    P, n = design.hit.n_coords, design.hit.n_sds
    hit = coords_from_raw(raw["raw"][..., :P], raw["sd"][..., :n][..., design.hit.column_of], *_placed(design.hit))
    share = coords_from_raw(
        raw["raw"][..., P:], raw["sd"][..., n:][..., design.share.column_of], *_placed(design.share)
    )
    intercept = priors.intercept_mean + priors.intercept_sd * raw["level"] - design.hit.at_mean(hit)
    share_mean = priors.share_mean_mean + priors.share_mean_sd * raw["share_level"] - design.share.at_mean(share)
    steps = counts.hits + counts.misses
    decided, stated = int(steps.sum()), int(steps[counts.group_stated != UNSTATED].sum())
    renewals, shares = int(counts.delay_n[counts.delay_kind == RENEWAL].sum()), int(counts.share_n.sum())
    events = int(counts.hits.sum()) - renewals
    base = np.log(base_shares(frame.lag_edges, priors.lag_mean, priors.lag_scale))
    scale = priors.delay_scale_median * np.exp(priors.delay_scale_spread * raw["delay_scale"])
    return {
        "intercept": Variable((), intercept, decided),
        "stated_slope": Variable((), priors.stated_slope_mean + priors.stated_slope_sd * raw["slope"], stated),
        "unstated_offset": Variable((), priors.unstated_mean + priors.unstated_sd * raw["unstated"], decided - stated),
        "effect": Variable(("level",), np.concatenate(effects_of(hit, design.hit), axis=-1), decided),
        "effect_sd": Variable(("column",), raw["sd"][..., :n], decided),
        "delay_mean": Variable(
            ("event_kind",), priors.delay_mean_mean + priors.delay_mean_sd * raw["delay_mean"], events
        ),
        "delay_scale": Variable(("event_kind",), scale, events),
        "renewal_delay": Variable(("delay_days",), softmax(base + priors.lag_spread * raw["lag"]), renewals),
        "share_mean": Variable(("kind",), share_mean[..., None] + effects_of(share, design.share)[0], shares),
        "share_sd": Variable(
            ("kind",), priors.share_sd_median * np.exp(priors.share_sd_spread * raw["share_sd"]), shares
        ),
    }


def _placed(pooling: Pooling) -> tuple[Floats, Floats]:
    return pooling.guess, pooling.error
