"""What is assumed of a line in place of what the posterior says: scenarios, planned steps, and a day on which it ends.

A scenario's pieces lie in ``scale``, `PIECE_WIDTH` numbers each, and do not overlap; a line's are those from ``whole[EFFECT]`` to
``whole[EFFECT_END]``.  Planned steps lie behind the line's state in ``whole``, `STEP_SLOTS` numbers each, with their probability
and a uniform number behind ``real``; what comes of a step in this draw was drawn before (`plans`), but whether a renewal comes is
decided here, under what a scenario assumes.  Neither changes which random numbers are used for
what, so that a forecast with and without them differs by little else.
"""

import math

import numpy as np

from clvforecast.simulation.random import jit, nth
from clvforecast.simulation.slots import (
    EFFECT,
    EFFECT_END,
    N_STEPS,
    PIECE_FROM,
    PIECE_GREATEST,
    PIECE_MIX,
    PIECE_ODDS,
    PIECE_POINTS,
    PIECE_RATES,
    PIECE_SHARE,
    PIECE_TO,
    PIECE_UPLIFT,
    PIECE_WIDTH,
    REAL_SLOTS,
    START,
    STEP_DAY,
    STEP_FROM,
    STEP_KIND,
    STEP_REALS,
    STEP_SLOTS,
    STEP_STATED,
    STEP_TAKEN,
    STEP_TO,
    STEP_WEIGHT,
    STEPS_AT,
    WEIGHED,
    WINDOW_START,
    Real,
    Whole,
)

EVENT_KINDS = 4
RENEWAL_STEP = EVENT_KINDS
"""Kind of a planned renewal; planned events have the number of their kind."""


@jit
def piece_on(table: Whole, scale: Real, whole: Whole, day: int) -> int:
    """Place in ``scale`` of what is assumed on a day, −1 for nothing; what was open at the origin is decided after it."""
    when = max(day, table[WINDOW_START])
    at = whole[EFFECT]
    while at < whole[EFFECT_END]:
        if scale[nth(at + PIECE_FROM)] <= when and when < scale[nth(at + PIECE_TO)]:
            return at
        at += PIECE_WIDTH
    return -1


@jit
def assumed_probability(scale: Real, piece: int, p: float) -> float:
    """A probability of renewal with its odds multiplied and points added: o p / (1 − p + o p) + points, within [0, 1]."""
    odds = scale[nth(piece + PIECE_ODDS)]
    either = 1.0 - p + odds * p
    shifted = odds * p / either if either > 0.0 else 0.0  # a sure renewal at odds of 0
    return min(max(shifted + scale[nth(piece + PIECE_POINTS)], 0.0), 1.0)


@jit
def assumed_uplift(scale: Real, piece: int) -> float:
    """What renewal prices are multiplied by."""
    return 1.0 + scale[nth(piece + PIECE_UPLIFT)] if piece >= 0 else 1.0


@jit
def assumed_share(scale: Real, piece: int, share: float, value: int) -> float:
    """A cumulative share of term lengths, of which a part is assumed to be of another mix."""
    part = scale[nth(piece + PIECE_SHARE)]
    return share + part * (scale[nth(int(scale[nth(piece + PIECE_MIX)]) + value)] - share)


@jit
def greatest_rate(scale: Real, whole: Whole) -> float:
    """The greatest factor of any of the line's rates on any day, at least 1."""
    return scale[nth(whole[EFFECT] + PIECE_GREATEST)] if whole[EFFECT] < whole[EFFECT_END] else 1.0


@jit
def assumed_rate(scale: Real, piece: int, kind: int) -> float:
    """What a rate is multiplied by: of an event's kind, or of termination."""
    return scale[nth(piece + PIECE_RATES + kind)] if piece >= 0 else 1.0


@jit
def weigh_exposure(scale: Real, real: Real, whole: Whole, start: float, stop: float) -> None:
    """Under a rate g λ time counts g-fold for what is learned of λ: note ∫ (g − 1) dt over [start, stop) for each kind."""
    at = whole[EFFECT]
    while at < whole[EFFECT_END]:
        days = min(stop, scale[nth(at + PIECE_TO)]) - max(start, scale[nth(at + PIECE_FROM)])
        if days > 0.0:
            for kind in range(EVENT_KINDS):
                real[nth(WEIGHED + kind)] += (scale[nth(at + PIECE_RATES + kind)] - 1.0) * days
        at += PIECE_WIDTH


@jit
def planned_decision(table: Whole, whole: Whole, day: int) -> int:
    """Place of the planned renewal, not yet taken up, that the decision on a day is; −1 for none.

    Of short terms several end in a step's time: the step is the decision nearest to its planned day, the middle of that time.
    Of several steps it is the nearest one.
    """
    found, nearest, following = -1, np.iinfo(np.int64).max, 2 * day - whole[START]
    for step in range(whole[N_STEPS]):
        at = table[STEPS_AT] + step * STEP_SLOTS
        if whole[nth(at + STEP_KIND)] == RENEWAL_STEP and whole[nth(at + STEP_TAKEN)] == 0:
            planned = (whole[nth(at + STEP_FROM)] + whole[nth(at + STEP_TO)]) // 2
            apart = abs(day - planned)
            if whole[nth(at + STEP_FROM)] <= day <= whole[nth(at + STEP_TO)] and apart < nearest:
                if apart <= abs(following - planned):
                    found, nearest = at, apart
    return found


@jit
def is_planned(table: Whole, real: Real, at: int) -> bool:
    """Whether the planned renewal at a place, −1 of none, has a probability of its own: else it is as the posterior has it."""
    return at >= 0 and not math.isnan(real[nth(step_real(table, at))])


@jit
def planned_probability(table: Whole, scale: Real, real: Real, at: int, piece: int) -> float:
    """Probability in this draw of the planned renewal at a place, with what a scenario's piece assumes, −1 for none."""
    p = real[nth(step_real(table, at))]
    return assumed_probability(scale, piece, p) if piece >= 0 else p


@jit
def leaning(table: Whole, real: Real, at: int, p: float) -> float:
    """A posterior's probability of the renewal that the step at a place plans, −1 of none, moved towards what is stated of it:
    logit p' = (1 − weight) logit p + weight logit(stated).
    """
    if at < 0:
        return p
    weight = real[nth(step_real(table, at) + STEP_WEIGHT)]
    if weight == 0.0 or p <= 0.0 or p >= 1.0:
        return p
    logit = (1.0 - weight) * math.log(p / (1.0 - p)) + weight * real[nth(step_real(table, at) + STEP_STATED)]
    return 1.0 / (1.0 + math.exp(-logit))


@jit
def planned_choice(table: Whole, real: Real, at: int) -> float:
    """The uniform number of the planned renewal at a place."""
    return real[nth(step_real(table, at) + 1)]


@jit
def step_real(table: Whole, at: int) -> int:
    """Where the probability of the planned step at a place lies; its uniform number lies behind it."""
    return REAL_SLOTS + STEP_REALS * ((at - table[STEPS_AT]) // STEP_SLOTS)


@jit
def next_planned_event(table: Whole, whole: Whole, start: int, stop: int) -> int:
    """Place of the first planned event that happens in [start, stop); −1 for none."""
    found, first = -1, stop
    for step in range(whole[N_STEPS]):
        at = table[STEPS_AT] + step * STEP_SLOTS
        day = whole[nth(at + STEP_DAY)]
        if whole[nth(at + STEP_KIND)] < RENEWAL_STEP and whole[nth(at + STEP_TAKEN)] == 0 and start <= day < first:
            found, first = at, day
    return found


@jit
def replaced_by_plan(table: Whole, whole: Whole, kind: int, day: int) -> bool:
    """Whether an event that comes by itself falls in the time of a planned one of its kind, which stands for it."""
    for step in range(whole[N_STEPS]):
        at = table[STEPS_AT] + step * STEP_SLOTS
        if whole[nth(at + STEP_KIND)] == kind and whole[nth(at + STEP_FROM)] <= day <= whole[nth(at + STEP_TO)]:
            return True
    return False


@jit
def minus_log(p: float) -> float:
    """−log p, infinite for 0."""
    return -math.log(p) if p > 0.0 else math.inf
