"""Whether a contract is renewed, how late renewals are booked, and how late lapses are told.

``theta ~ Beta(a, b)`` for every spell of every account, ``P(renewal at decision k) = theta^{w_k}``,
``w_k = (t_k^c - t_{k-1}^c) exp(effects of the decision's classes)``, t_k years of tenure; theta is integrated out.
With terms of a year, no class effects and c = 1 this is the shifted beta-geometric (Fader and Hardie 2007); c free is the
beta-discrete-Weibull (Fader, Hardie, Liu, Davin and Steenburgh 2018). ``mu = a/(a+b)`` has segment effects on the logit
scale, ``phi = 1/(a+b+1)`` is one number. A positive class effect makes lapsing *more* likely. Calendar years are classes too:
a good or a bad year is common to all accounts, and years to come have effects of the same spread.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from clvforecast.cells import Frame, RenewalCells
from clvforecast.components.component import Arrays, Component, Floats, Parameter, Raw, Shape, Variable
from clvforecast.components.pooling import (
    UNTOLD,
    coords_from_raw,
    effects_of,
    product,
    raw_from_coords,
    refined,
)
from clvforecast.components.rates import segment_effects
from clvforecast.components.renewal_density import DENSITY_DATA, compiled_renewal_density
from clvforecast.components.renewal_design import RenewalDesign, RenewalPriors, renewal_design, sticks
from clvforecast.components.renewal_leans import LOG_CS, PLAIN, PRIOR_REFERENCE, Reference
from clvforecast.components.renewal_likelihood import DATA, renewal_log_likelihood
from clvforecast.likelihoods import MAX_TOTAL

if TYPE_CHECKING:
    import pymc as pm


def renewal_component(
    cells: RenewalCells,
    frame: Frame,
    priors: RenewalPriors,
    placed: tuple[Floats, Floats] | None = None,
    reference: Reference = PRIOR_REFERENCE,
) -> Component:
    """The renewal component; c is free only where some account has five decisions or more.

    `placed`, guesses and errors (P,) of the effects, replaces the first ones, see `pooling.refined`; `reference` is about where
    the posterior lies, see `renewal_leans`.
    """
    design, arrays = renewal_design(cells, frame, priors, reference)
    if placed is not None:
        guess, error = placed
        design, arrays = replace(design, guess=guess, error=error), {**arrays, "guess": guess, "error": error}

    def prior(rng: np.random.Generator, shape: Shape) -> Raw:
        return _prior_raw(design, arrays, priors, rng, shape)

    notes = []
    if cells.n_lines_used < cells.n_lines:
        notes.append(f"a random {cells.n_lines_used} of {cells.n_lines} lines: distinct histories were too many")
    if design.n_decisions == 0:
        notes.append("no decision has been taken: the prior, almost")
    return Component(
        name="renewal",
        arrays=arrays,
        build=renewal_model,
        parameters=_parameters(design, arrays),
        density=compiled_renewal_density,
        density_data=DENSITY_DATA,
        prior=prior,
        variables=lambda raw: renewal_variables(raw, frame, design, priors),
        n_data=design.n_decisions,
        refined=lambda mode, variance: tuple(
            renewal_component(cells, frame, priors, _refined(mode, variance, design), reference)
            for reference in _references(mode, design, priors)
        ),
        note="; ".join(notes),
    )


def _parameters(design: RenewalDesign, arrays: Arrays) -> tuple[Parameter, ...]:
    """The free variables of `renewal_model`."""
    free_c = (Parameter("log_c"),) if design.free_c else ()
    lags = [Parameter("renewal_lag", (design.n_lags - 1,), "logit")] if design.n_lags > 1 else []
    notices = [Parameter("notice_share", transform="logit")] + [replace(lag, name="notice_lag") for lag in lags]
    return (
        Parameter("sd", arrays["prior_sd"].shape, "log"),
        Parameter("phi", transform="logit"),
        *free_c,
        Parameter("raw", (design.n_effects,)),
        Parameter("level"),
        *lags,
        *(notices if design.uses_notice else ()),
    )


def renewal_model(arrays: Arrays) -> pm.Model:
    """The graph: effects, clock and lags with their priors, and the likelihood of `renewal_log_likelihood`."""
    import pymc as pm  # takes two seconds, and neither fitting nor scoring needs it
    import pytensor.tensor as pt

    from clvforecast.components.graph import as_data, likelihood_of

    with pm.Model() as model:
        d = as_data(arrays, DATA)
        heterogeneity = _heterogeneity(d, arrays)
        lags = _sticks("renewal_lag", arrays, d, "renewal_sticks")
        psi, notices = pt.zeros(1), pt.zeros(arrays["not_yet"].shape[1] - 1)
        if "prior_notice" in arrays:
            psi = pm.Beta("notice_share", d["prior_notice"][0], d["prior_notice"][1])
            notices = _sticks("notice_lag", arrays, d, "notice_sticks")
            pm.Potential("notices", d["n_notices"] * pt.log(psi))
        *scalars, effects = heterogeneity
        pm.Potential("log_likelihood", likelihood_of(renewal_log_likelihood, d, *scalars, psi, effects, lags, notices))
    return model


def _heterogeneity(d: dict[str, Any], arrays: Arrays) -> tuple[Any, Any, Any, Any]:
    """Logit of mu and a + b of theta's beta, the exponent c, and all effects (P,)."""
    import pymc as pm
    import pytensor.tensor as pt

    from clvforecast.components.graph import sampled_coords

    sd = pm.HalfNormal("sd", d["prior_sd"], shape=arrays["prior_sd"].shape)
    phi = pm.Beta("phi", d["prior_phi"][0], d["prior_phi"][1])
    free_c = "prior_log_c" in arrays
    log_c, reference = pt.zeros(()), d["reference"][0]
    if free_c:
        c_lean = pt.dot(pt.stack([phi - reference, pt.log1p(-reference) - pt.log1p(-phi)]), d["c_lean"])
        log_c = d["prior_log_c"] * pm.Normal("log_c", -c_lean / d["prior_log_c"], 1.0) + c_lean
    c = pt.exp(log_c)
    bend = pt.stack([phi - reference, phi / (1.0 - phi) - reference / (1.0 - reference), log_c, c - 1.0])
    lean, level_lean = pt.dot(bend, d["lean"]), pt.dot(bend, d["level_lean"])
    s = d["base"] * pt.concatenate([sd, pt.ones(1)])[d["column_of"]]
    moved = sampled_coords("raw", s, d["guess"], d["error"], arrays["base"].shape, lean)
    shift = pt.sum(d["shift"] * moved) - level_lean
    level = pm.Normal("level", shift / d["prior_mu"][1], 1.0)
    logit_mu = d["prior_mu"][0] + d["prior_mu"][1] * level - shift
    return logit_mu, (1.0 - phi) / pt.maximum(phi, 1.0 / MAX_TOTAL), c, moved + lean


def _sticks(name: str, arrays: Arrays, d: dict[str, Any], sticks: str) -> Any:
    """Stick-breaking fractions (J - 1,) of the lag bins' shares, none for a single bin."""
    import pymc as pm
    import pytensor.tensor as pt

    if sticks not in arrays:
        return pt.zeros(0)
    return pm.Beta(name, d[sticks][0], d[sticks][1], shape=arrays[sticks].shape[1])


def lag_shares(v: Floats) -> Floats:
    """Shares (..., J) of the bins from stick-breaking fractions (..., J - 1)."""
    one = np.ones((*v.shape[:-1], 1))
    return np.concatenate([v, one], axis=-1) * np.concatenate([one, np.cumprod(1.0 - v, axis=-1)], axis=-1)


def _prior_raw(
    design: RenewalDesign, arrays: Arrays, priors: RenewalPriors, rng: np.random.Generator, shape: Shape
) -> Raw:
    drawn: dict[str, Floats] = {
        "sd": np.abs(rng.normal(size=(*shape, arrays["prior_sd"].size))) * arrays["prior_sd"],
        "phi": rng.beta(priors.phi_alpha, priors.phi_beta, shape),
        "log_c": rng.normal(size=shape),
        "notice_share": rng.beta(priors.notice_alpha, priors.notice_beta, shape),
    }
    drawn["log_c"] = drawn["log_c"] - _c_lean(drawn["phi"], design) / priors.log_c_sd
    a, b = sticks(np.full(design.n_lags, priors.lag))
    drawn["renewal_lag"] = rng.beta(a, b, (*shape, design.n_lags - 1))
    drawn["notice_lag"] = rng.beta(a, b, (*shape, design.n_lags - 1))
    s = _scale(drawn, design)
    moved = rng.normal(size=s.shape) * s - product(_bend(drawn, design, priors), design.lean)
    drawn["raw"] = raw_from_coords(moved, s, design.guess, design.error)
    drawn["level"] = _shift(drawn, design, priors) / priors.logit_mu_sd + rng.normal(size=shape)
    return drawn


def _scale(raw: Raw, design: RenewalDesign) -> Floats:
    """Prior SD of each effect, that of its column where it is pooled, (chain, draw, P)."""
    one = np.ones((*raw["phi"].shape, 1))
    return np.asarray(design.base * np.concatenate([raw["sd"], one], axis=-1)[..., design.column_of], float)


def _bend(raw: Raw, design: RenewalDesign, priors: RenewalPriors) -> Floats:
    """`renewal_density.bends`, (chain, draw, 4)."""
    phi, log_c = raw["phi"], np.zeros_like(raw["phi"])
    if design.free_c:
        log_c = priors.log_c_sd * raw["log_c"] + _c_lean(phi, design)
    reference = design.reference_point.phi
    odds = phi / (1.0 - phi) - reference / (1.0 - reference)
    return np.stack([phi - reference, odds, log_c, np.expm1(log_c)], axis=-1)


def _c_lean(phi: Floats, design: RenewalDesign) -> Floats:
    """What the exponent's sampled logarithm stands below the exponent's, (chain, draw)."""
    reference = design.reference_point.phi
    bend = np.stack([phi - reference, np.log1p(-reference) - np.log1p(-phi)], axis=-1)
    return np.asarray((bend * design.c_lean).sum(axis=-1), float)


def _moved(raw: Raw, design: RenewalDesign) -> Floats:
    """Effects without their lean, (chain, draw, P)."""
    return coords_from_raw(raw["raw"], _scale(raw, design), design.guess, design.error)


def _refined(mode: Raw, variance: Raw, design: RenewalDesign) -> tuple[Floats, Floats]:
    """`pooling.refined` for the pooled effects; the others are sampled on the scale of their prior."""
    guess, error = refined(mode["raw"], variance["raw"], _scale(mode, design), design.guess, design.error)
    pooled = design.column_of < mode["sd"].size
    return np.where(pooled, guess, 0.0), np.where(pooled, error, UNTOLD)


def _references(mode: Raw, design: RenewalDesign, priors: RenewalPriors) -> tuple[Reference, Reference]:
    """Where the mode lies, leaning with phi's odds and without."""
    logit_mu = priors.logit_mu_mean + priors.logit_mu_sd * mode["level"] - _shift(mode, design, priors)
    c = 1.0 + _bend(mode, design, priors)[..., 3]
    low, high = PLAIN
    c = np.clip(c, *np.exp(LOG_CS[[0, -1]]))
    phi, mu = np.clip([mode["phi"], expit(logit_mu)], low, high).tolist()
    return Reference(phi, mu, float(c), with_odds=True), Reference(phi, mu, float(c), with_odds=False)


def _shift(raw: Raw, design: RenewalDesign, priors: RenewalPriors) -> Floats:
    """What the sampled level stands above the intercept, (chain, draw)."""
    leant = (_bend(raw, design, priors) * design.level_lean).sum(axis=-1)
    return np.asarray((_moved(raw, design) * design.shift).sum(axis=-1) - leant, float)


def renewal_variables(raw: Raw, frame: Frame, design: RenewalDesign, priors: RenewalPriors) -> dict[str, Variable]:
    """The named variables of renewal, booking lags and notices."""
    shape = raw["level"].shape
    bend = _bend(raw, design, priors)
    coords, flags, size_coords, year_coords, fixed = design.split(_moved(raw, design) + product(bend, design.lean))
    segments, sizes = effects_of(coords, design.segments), effects_of(size_coords, design.sizes)[0]
    years = effects_of(year_coords, design.years)[0]
    T, r, zero = design.n_term_classes, design.reference, np.zeros((*shape, 1))
    terms = fixed[..., : T - 1]
    intercept = priors.logit_mu_mean + priors.logit_mu_sd * raw["level"] - _shift(raw, design, priors)
    values: dict[str, tuple[tuple[str, ...], Floats]] = {
        "renewal_mu": ((), expit(intercept)),
        "renewal_phi": ((), raw["phi"]),
        "renewal_c": ((), np.exp(bend[..., 2])),
        "renewal_segment_effect": (("segment_level",), segment_effects(segments, shape)),
        "renewal_segment_sd": (("segment",), raw["sd"][..., : len(frame.segments)]),
        "renewal_second_spell_effect": ((), flags[..., 0]),
        "renewal_tenure_unknown_effect": ((), flags[..., 1]),
        "renewal_term_effect": (("term_class",), np.concatenate([terms[..., :r], zero, terms[..., r:]], axis=-1)),
        "renewal_number_effect": (
            ("decision_number",),
            np.concatenate([zero, fixed[..., T - 1 : T + 3]], axis=-1),
        ),
        "renewal_expanded_effect": ((), fixed[..., T + 3]),
        "renewal_cut_effect": ((), fixed[..., T + 4]),
        "renewal_size_effect": (("size_class",), sizes),
        "renewal_size_sd": ((), raw["sd"][..., -2]),
        "renewal_year_effect": (("year",), years),
        "renewal_year_sd": ((), raw["sd"][..., -1]),
    }
    named = {name: Variable(dims, value, design.n_decisions) for name, (dims, value) in values.items()}
    return {**named, **_lag_variables(raw, design)}


def _lag_variables(raw: Raw, design: RenewalDesign) -> dict[str, Variable]:
    """Booking lags, and the share and lags of notices: none where the ledger tells of no lapse."""
    shape, J = raw["level"].shape, design.n_lags
    even = np.full((*shape, J), 1.0 / J)
    lags = lag_shares(raw["renewal_lag"]) if J > 1 else even
    share = raw["notice_share"] if design.uses_notice else np.zeros(shape)
    notice = lag_shares(raw["notice_lag"]) if design.uses_notice and J > 1 else even
    return {
        "booking_lag": Variable(("lag_bin",), lags, design.n_decisions),
        "notice_share": Variable((), share, design.n_notices),
        "notice_lag": Variable(("lag_bin",), notice, design.n_notices),
    }


def renewal_posterior(W: ArrayLike, a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    """theta of a spell still alive after weight W: ``theta ~ Beta(a + W, b)``, returned as its two parameters.

    For a decision that is open, draw its outcome first (`likelihoods.renews_if_not_booked`), then theta.
    """
    return np.asarray(np.asarray(a, float) + np.asarray(W, float), float), np.asarray(b, float)
