"""How far plans are relied on, in words."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from clvforecast.plans.odds import log_odds
from clvforecast.plans.reliability import PlanReliability
from clvforecast.plans.steps import EVENT_STEPS, STEP_KINDS

STATED = 0.9
HOW_TO_LEARN = (
    "Past plans with what came of them tell better: clv.fit_plan_reliability(plans, ledger), given as reliability=... or, saved, "
    "as --reliability FILE"
)


def counts_as(reliability: PlanReliability, stated: float = STATED) -> float:
    """Mean probability, over draws and kinds of event, that a step of an average account comes which states this one.

    Before anything is known of its window, and within 0 and 1. The reliability has draws.
    """
    assert reliability.draws is not None and reliability.frame is not None
    frame = reliability.frame
    flat = {
        str(name): values.transpose("chain", "draw", ...).values.reshape(-1, *values.shape[2:])
        for name, values in reliability.draws.data_vars.items()
    }
    numbers = np.full((len(EVENT_STEPS), len(frame.columns)), -1, dtype=np.int64)
    numbers[:, 0] = [STEP_KINDS.index(kind) for kind in EVENT_STEPS]
    return float(expit(log_odds(frame, numbers, np.full(len(numbers), stated), flat, {})).mean())


def prior_words(reliability: PlanReliability) -> str:
    """What to know where there is no record of past plans, without a full stop; empty where there is one, or where plans are
    taken at their word.

    Examples
    --------
    >>> prior_words(PlanReliability.prior(draws=500)).partition(":")[0]
    'no record of past plans, so stated probabilities are discounted by the prior'
    >>> prior_words(PlanReliability.as_stated())
    ''
    """
    if reliability.draws is None or (reliability.record is not None and reliability.record.steps.sum() > 0):
        return ""
    how = "discounted" if counts_as(reliability) < STATED - 0.005 else "weighed"
    return f"no record of past plans, so stated probabilities are {how} by the prior: {_counting(reliability)}. {HOW_TO_LEARN}"


def _counting(reliability: PlanReliability) -> str:
    return (
        f"stated {STATED:.0%} counts as {counts_as(reliability):.0%}, but for renewals, which lie between what is stated and "
        "what the model has"
    )


def planned_words(still_open: int, steps: int, reliability: PlanReliability) -> str:
    """How many of the planned steps may still come, and where it comes from how far they hold."""
    count = f"{still_open:,} of {steps:,} steps open"
    if reliability.draws is None:
        return f"{count}, taken at their word"
    if reliability.about.get("note") or "steps" not in reliability.about:
        return f"{count}; how far plans hold is assumed, without a record of past ones: {_counting(reliability)}"
    past, day = reliability.about["steps"], reliability.about["as_of"]
    learned = f"learned from {past} past step{'' if past == '1' else 's'}, known as of {day}"
    return f"{count}; how far plans hold is {learned}"
