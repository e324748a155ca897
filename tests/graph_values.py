"""Values of a component's graph at given raw parameters, without sampling and without a compiler."""

from collections.abc import Mapping

import numpy as np
import pytensor

from clvforecast.cells import Frame, RenewalCells
from clvforecast.components import Component
from clvforecast.components.pooling import raw_from_coords
from clvforecast.components.renewal_density import bends, c_bends
from clvforecast.components.renewal_design import RenewalPriors, renewal_design


def log_likelihoods(component: Component, raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """Sum of the graph's potentials at each draw of `raw` (1, draws, ...): the likelihood, without the priors."""
    model = component.model()
    graph = pytensor.function(model.free_RVs, sum(model.potentials), mode="FAST_COMPILE", on_unused_input="ignore")
    draws = next(iter(raw.values())).shape[1]
    return np.array([graph(*(raw[rv.name][0, i] for rv in model.free_RVs)) for i in range(draws)])


def beta_point(cells: RenewalCells, frame: Frame, a: float, b: float, c: float) -> dict[str, np.ndarray]:
    """Raw renewal parameters (1, 1, ...) that stand for theta ~ Beta(a, b), exponent c, and no effect of any class."""
    priors = RenewalPriors()
    design, arrays = renewal_design(cells, frame, priors)
    phi = 1.0 / (a + b + 1.0)
    logit_phi = np.log(phi / (1.0 - phi))
    reference = design.reference_point.phi
    bend = bends(logit_phi, np.log(c), reference)
    moved = -design.lean @ bend
    shift = design.shift @ moved - design.level_lean @ bend
    intercept = np.log(a / b)
    s = design.base  # the pooled columns' SDs are 1 below
    return {
        "sd": np.ones((1, 1, arrays["prior_sd"].size)),
        "phi": np.full((1, 1), phi),
        "log_c": np.full((1, 1), (np.log(c) - design.c_lean @ c_bends(logit_phi, reference)) / priors.log_c_sd),
        "raw": raw_from_coords(moved, s, design.guess, design.error)[None, None],
        "level": np.full((1, 1), (intercept + shift - priors.logit_mu_mean) / priors.logit_mu_sd),
    }
