"""The company that is simulated again and again: its classes, its priors, and truths drawn from them.

The priors are those of the fit, centred and narrow enough that a company stays of a workable size: under the defaults one in
ten raises its contracts a thousandfold. All numbers that depend on the priors alone are exchanged through `ModelPriors`, so
it is the package's own code that draws the truth's parameters and the posterior's. `TermPriors.pooled` is as good as off: it
makes the lengths of a return's term like those that the data show, which is no prior that a truth could be drawn from.
"""

import datetime as dt
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells import Cells, Frame, build_cells
from clvforecast.components import (
    ChangePriors,
    Component,
    ModelPriors,
    RatePriors,
    RenewalPriors,
    SizePriors,
    TermPriors,
    build_components,
)
from clvforecast.components.renewal_design import DECISIONS_FOR_C
from clvforecast.histories import Histories, build_histories
from clvforecast.ledger import Ledger
from clvforecast.synthetic import CompanyParameters, Truth, simulate_events
from known_world import known_ledger

Truths = dict[str, NDArray[np.float64]]

START, HISTORY_YEARS, FUTURE_MONTHS = dt.date(2016, 1, 1), 6, 60
YEARS_TO_COME = 30
LEFT_TRUNCATED = 0.3
FIRST_TERM_LENGTH = (0.8, 0.2)
FIRST_MRR_MEAN, FIRST_MRR_SD = 9.0, 0.8

FRAME = Frame(
    segments=("segment",),
    levels={"segment": ("S1", "S2", "S3")},
    size_edges=np.array([8.6, 9.4]),
    term_values=np.array([12, 24]),
    term_class=np.array([0, 1]),
    term_class_names=("12", "24"),
    lag_edges=np.array([-31.0, 0.0, 92.0, 275.0]),
    uses_notice=True,
    years=tuple(range(START.year, START.year + HISTORY_YEARS + 1)),  # renewals of the year after are booked already
    settled_years=HISTORY_YEARS + 1,
    max_ratio=1e6,
)


def _rates(log_rate_mean: float) -> RatePriors:
    return RatePriors(log_rate_mean=log_rate_mean, log_rate_sd=0.5, log_shape_sd=0.5, effect_sd=0.3)


def _sizes(mean_mean: float) -> SizePriors:
    return SizePriors(mean_mean=mean_mean, mean_sd=0.5, sd_median=0.6, sd_spread=0.3, effect_sd=0.3)


PRIORS = ModelPriors(
    renewal=RenewalPriors(
        logit_mu_mean=1.5, logit_mu_sd=0.6, segment_sd=0.4, spell_sd=0.5, class_sd=0.4, number_sd=0.3, size_sd=0.3, year_sd=0.3
    ),
    expansion_rate=_rates(-1.0),
    contraction_rate=_rates(-1.5),
    change_order_rate=_rates(-1.0),
    referral_rate=_rates(-1.5),
    reactivation_rate=_rates(-1.5),
    termination_rate=_rates(-3.0),
    expansion_size=_sizes(-1.5),
    contraction_size=_sizes(-1.0),
    change_order_size=_sizes(0.0),
    referral_size=_sizes(0.0),
    return_value=_sizes(0.0),
    change=ChangePriors(
        logit_sd=0.7, direction_effect_sd=0.3, size_mean=-1.8, size_mean_sd=0.4, size_sd_median=0.6, size_sd_spread=0.25,
        reversion_sd=0.3, term_slope_sd=0.3, size_effect_sd=0.2, persistence_sd=1.0, persistence_effect_sd=0.3,
    ),
    terms=TermPriors(own_class=8.0, spread=2.0, pooled=1e-6),
)  # fmt: skip


@dataclass(frozen=True)
class Company:
    """One simulated company: what is true of it, and what its ledger says."""

    parameters: Truths
    truth: Truth
    ledger: Ledger
    histories: Histories
    cells: Cells


def components_of(cells: Cells) -> tuple[Component, ...]:
    """The model of these cells, with c free whatever the longest history is: it must not depend on the data here."""
    free = replace(cells.renewal, max_decisions=max(cells.renewal.max_decisions, DECISIONS_FOR_C))
    return build_components(replace(cells, renewal=free), FRAME, PRIORS)


@lru_cache(maxsize=1)
def _any_components() -> tuple[Component, ...]:
    """The model of some ledger of the company: priors of named parameters do not depend on which."""
    events, truth = simulate_events(200, seed=1, parameters=_company({}), start=START, history_years=HISTORY_YEARS)
    return components_of(build_cells(build_histories(known_ledger(events, truth)), FRAME))


def draw_parameters(seed: int) -> Truths:
    """Every named parameter from its prior, and the effects of the years to come."""
    rng = np.random.default_rng([seed, 11])
    drawn: Truths = {}
    for component in _any_components():
        named = component.variables(component.prior(rng, (1, 1)))
        drawn |= {name: variable.values[0, 0] for name, variable in named.items()}
    known, sd = drawn["renewal_year_effect"], float(drawn["renewal_year_sd"])
    to_come = sd * (rng.normal() / np.sqrt(known.size) + rng.normal(size=YEARS_TO_COME))
    return {**drawn, "every_year_effect": np.concatenate([known, to_come])}


def _company(parameters: Truths) -> dict[str, object]:
    """What `simulate_events` takes."""
    names = {field.name for field in fields(CompanyParameters)}
    spoken = {name: _as_given(value) for name, value in parameters.items() if name in names}
    if "every_year_effect" in parameters:
        spoken["renewal_year_effect"] = _as_given(parameters["every_year_effect"])
    return {
        "first_mrr_mean": FIRST_MRR_MEAN,
        "first_mrr_sd": FIRST_MRR_SD,
        "first_term_length": FIRST_TERM_LENGTH,
        "term_values": tuple(FRAME.term_values.tolist()),
        "size_edges": tuple(FRAME.size_edges.tolist()),
        "lag_edges": tuple(int(edge) for edge in FRAME.lag_edges),
        "max_ratio": FRAME.max_ratio,
        **spoken,
    }


def _as_given(value: NDArray[np.float64]) -> object:
    return float(value) if np.ndim(value) == 0 else np.asarray(value).tolist()


def draw_company(seed: int, n_accounts: int) -> Company:
    """Parameters from the priors, and the events of a company with them."""
    parameters = draw_parameters(seed)
    events, truth = simulate_events(
        n_accounts,
        seed=seed,
        parameters=_company(parameters),
        start=START,
        history_years=HISTORY_YEARS,
        future_months=FUTURE_MONTHS,
        left_truncated=LEFT_TRUNCATED,
    )
    ledger = known_ledger(events, truth)
    histories = build_histories(ledger)
    return Company(parameters, truth, ledger, histories, build_cells(histories, FRAME))
