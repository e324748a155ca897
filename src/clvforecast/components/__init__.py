"""The parts of the model. Each file has the same shape: priors, the model from cells, the latent's conditional posterior."""

from __future__ import annotations

from clvforecast.cells import Cells, Frame
from clvforecast.components.change import ChangePriors, change_component
from clvforecast.components.change_density import compiled_change_density
from clvforecast.components.component import Component, Priors, Variable
from clvforecast.components.rates import REACTIVATION_PRIORS, TERMINATION_PRIORS, RatePriors, rate_component
from clvforecast.components.rates_density import compiled_rate_density
from clvforecast.components.renewal import renewal_component
from clvforecast.components.renewal_density import compiled_renewal_density
from clvforecast.components.renewal_design import RenewalPriors
from clvforecast.components.sizes import SIZE_PRIORS, SizePriors, size_component
from clvforecast.components.sizes_density import compiled_size_density
from clvforecast.components.terms import TermPriors, terms_component

__all__ = [
    "DENSITIES",
    "ChangePriors",
    "Component",
    "ModelPriors",
    "RatePriors",
    "RenewalPriors",
    "SizePriors",
    "TermPriors",
    "Variable",
    "build_components",
]

DENSITIES = (compiled_rate_density, compiled_size_density, compiled_renewal_density, compiled_change_density)
"""What compiles the density of every kind of component, the smallest first."""


class ModelPriors(Priors):
    """All priors in one place, each replaceable: ``ModelPriors(renewal=RenewalPriors(logit_mu_mean=2.0))``."""

    renewal: RenewalPriors = RenewalPriors()
    expansion_rate: RatePriors = RatePriors()
    contraction_rate: RatePriors = RatePriors()
    change_order_rate: RatePriors = RatePriors()
    referral_rate: RatePriors = RatePriors()
    reactivation_rate: RatePriors = REACTIVATION_PRIORS
    termination_rate: RatePriors = TERMINATION_PRIORS
    expansion_size: SizePriors = SIZE_PRIORS["expansion"]
    contraction_size: SizePriors = SIZE_PRIORS["contraction"]
    change_order_size: SizePriors = SIZE_PRIORS["change_order"]
    referral_size: SizePriors = SIZE_PRIORS["referral"]
    return_value: SizePriors = SIZE_PRIORS["return_value"]
    change: ChangePriors = ChangePriors()
    terms: TermPriors = TermPriors()


def build_components(cells: Cells, frame: Frame, priors: ModelPriors) -> tuple[Component, ...]:
    """Every component of the model, in the order in which they are fitted and reported."""
    rates = [rate_component(rate, frame, getattr(priors, f"{kind}_rate")) for kind, rate in cells.rates.items()]
    sizes = [
        size_component(size, frame, getattr(priors, kind if kind == "return_value" else f"{kind}_size"))
        for kind, size in cells.sizes.items()
    ]
    return (
        renewal_component(cells.renewal, frame, priors.renewal),
        *rates,
        *sizes,
        change_component(cells.change, frame, priors.change),
        terms_component(cells.terms, cells.refunds, frame, priors.terms),
    )
