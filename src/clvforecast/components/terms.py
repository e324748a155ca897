"""The length of the next term, and whether an early termination is refunded: conjugate, drawn in closed form.

Each row of term lengths is a Dirichlet, ``shares ~ Dirichlet(prior + counts)``, by the class of the ended term, with a last
row for returns after a lapse. ``refund_share ~ Beta(1 + refunded, 1 + kept)``.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from clvforecast.cells import Frame, Refunds, TermCells
from clvforecast.components.component import Component, Floats, Priors, Raw, Shape, Variable, no_density, no_graph


class TermPriors(Priors):
    """Priors of term lengths and refunds."""

    spread: float = Field(1.0, gt=0, description="one pseudo-renewal over all lengths seen: none is impossible")
    own_class: float = Field(
        1.0, gt=0, description="one pseudo-renewal of the ended term's own class: terms tend to repeat"
    )
    pooled: float = Field(1.0, gt=0, description="a return's length is like everybody's, worth one return")
    refund_alpha: float = Field(1.0, gt=0, description="Beta(1, 1): companies refund always or never")
    refund_beta: float = Field(1.0, gt=0, description="as refund_alpha")


def terms_component(cells: TermCells, refunds: Refunds, frame: Frame, priors: TermPriors) -> Component:
    """The component of term lengths and refunds."""
    alpha = term_prior(cells, frame, priors)
    n_terms, n_refunds = int(cells.counts.sum()), refunds.refunded + refunds.kept

    def draw(alpha: Floats, refunded: float, kept: float, rng: np.random.Generator, shape: Shape) -> Raw:
        rows = [dirichlet_draws(row, rng, shape) for row in alpha]
        share = rng.beta(priors.refund_alpha + refunded, priors.refund_beta + kept, shape)
        return {"rows": np.stack(rows, axis=-2), "refund_share": share}

    return Component(
        name="terms",
        arrays={},
        build=no_graph,
        parameters=(),
        density=no_density,
        density_data=(),
        prior=lambda rng, shape: draw(alpha, 0, 0, rng, shape),
        variables=lambda raw: {
            "term_length": Variable(("term_row", "term_value"), raw["rows"], n_terms),
            "refund_share": Variable((), raw["refund_share"], n_refunds),
        },
        n_data=n_terms + n_refunds,
        closed_form=lambda rng, shape: draw(alpha + cells.counts, refunds.refunded, refunds.kept, rng, shape),
    )


def term_prior(cells: TermCells, frame: Frame, priors: TermPriors) -> Floats:
    """Dirichlet parameters before the counts, (term classes + 1, term values).

    Row of a class: spread / V + own_class over the values of the class. Row of a return: spread / V + the pooled shares.
    """
    V, C = len(frame.term_values), frame.n_term_classes
    own = (frame.term_class[None, :] == np.arange(C)[:, None]).astype(float)
    own = own / np.maximum(own.sum(axis=1, keepdims=True), 1.0)
    total = cells.counts.sum()
    pooled = cells.counts.sum(axis=0) / total if total else np.full(V, 1.0 / V)
    return np.asarray(priors.spread / V + np.vstack([priors.own_class * own, priors.pooled * pooled]), float)


def dirichlet_draws(alpha: Floats, rng: np.random.Generator, shape: Shape) -> Floats:
    """Shares (chain, draw, V); through logarithms of gammas, as tiny parameters underflow otherwise.

    ``log Gamma(alpha) = log Gamma(alpha + 1) + log(U) / alpha`` in distribution (Marsaglia and Tsang 2000, section 8).
    """
    size = (*shape, alpha.size)
    log_gamma = np.log(rng.gamma(alpha + 1.0, 1.0, size)) + np.log1p(-rng.random(size)) / alpha
    weights = np.exp(log_gamma - log_gamma.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), float)
