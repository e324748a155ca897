"""A line's latent traits, drawn from their exact posterior given what it did (all are conjugate), and small draws."""

import math

from clvforecast.simulation.calendar import DAYS_PER_YEAR
from clvforecast.simulation.random import exponential, jit, normal, nth, uniform
from clvforecast.simulation.slots import (
    EFFECT,
    EFFECT_END,
    EVENT_EXPOSURES,
    EVENT_SHAPES,
    FIRST_SPELL,
    HAZARD,
    L_EVENTS,
    L_SIZE_N,
    L_SIZE_SUM,
    L_T_ACTIVE,
    LAG_EDGES_AT,
    LATER_SPELL,
    LOCATIONS_AT,
    N_COLUMNS,
    N_LAG_EDGES,
    N_LOCATIONS,
    N_RETURNS,
    N_SIZE_EDGES,
    PHI,
    PRIOR_RATES,
    RETURN_EXPOSURE,
    RETURN_SHAPE,
    SECOND_SPELL_COLUMN,
    SERVED,
    SHAPE,
    SIGMA,
    SIZE_COLUMN,
    SIZE_COUNTS,
    SIZE_EDGES_AT,
    SIZE_TOTALS,
    SPELL,
    T_LAPSED,
    TAU,
    TERMINATION,
    UNKNOWN_COLUMN,
    WAITING,
    WEIGHED,
    Location,
    Real,
    Stream,
    Whole,
)
from clvforecast.simulation.steering import assumed_rate, greatest_rate, piece_on, replaced_by_plan

RENEWAL = int(Location.RENEWAL)
FIRST_RATE = int(Location.EXPANSION_RATE)
FIRST_SIZE = int(Location.EXPANSION_SIZE)
REACTIVATION = int(Location.REACTIVATION_RATE)
TERMINATION_RATE = int(Location.TERMINATION_RATE)
FIRST_CHANGE = int(Location.CHANGE_DOWN)
MAX_KAPPA = 1e6
EVENT_KINDS = 4
NO_EVENT = EVENT_KINDS + 1
NOT_KEPT = EVENT_KINDS + 2
"""An event that comes but for what is assumed or planned: its size is drawn as if it did, so that what follows is alike."""


@jit
def profile_values(par: Real, table: Whole, profile: Whole, values: Real) -> None:
    """What one draw says of a profile (columns of its segment levels, size class of its first base, tenure unknown or not).

    Every location parameter: intercept + segment effects + size-class effect; those of the change at renewal are left
    without a size class, as `change_location` adds the one of the ending term, and those of its direction are exp of it.
    Then r/m of the event rates, the termination rate, and (a, b) of a first and of a later spell (see `slots`).
    """
    n_segments = profile.size - 2
    first_class, unknown = profile[n_segments], profile[n_segments + 1]
    for row in range(N_LOCATIONS):
        at = LOCATIONS_AT + row * table[N_COLUMNS]
        value = par[nth(at)]
        if row < FIRST_CHANGE:
            value += par[nth(at + table[SIZE_COLUMN] + first_class)]
        for position in range(n_segments):
            value += par[nth(at + profile[position])]
        values[row] = math.exp(value) if row in (FIRST_CHANGE, FIRST_CHANGE + 1) else value
    for kind in range(4):
        values[PRIOR_RATES + kind] = par[SHAPE + kind] / math.exp(values[FIRST_RATE + kind])
    values[TERMINATION] = math.exp(values[TERMINATION_RATE])
    first = par[nth(LOCATIONS_AT + table[UNKNOWN_COLUMN])] if unknown == 1 else 0.0
    values[FIRST_SPELL], values[FIRST_SPELL + 1] = beta_of(par, values[RENEWAL] + first)
    later = par[nth(LOCATIONS_AT + table[SECOND_SPELL_COLUMN])]
    values[LATER_SPELL], values[LATER_SPELL + 1] = beta_of(par, values[RENEWAL] + later)


@jit
def beta_of(par: Real, logit: float) -> tuple[float, float]:
    """(a, b) of θ ~ Beta(a, b): a = μκ, b = (1 − μ)κ, κ = 1/φ − 1 (at most 1e6)."""
    mu = 1.0 / (1.0 + math.exp(-logit))
    kappa = min(1.0 / par[PHI] - 1.0, MAX_KAPPA)
    return mu * kappa, (1.0 - mu) * kappa


@jit
def beta_parameters(real: Real, whole: Whole) -> tuple[float, float]:
    """(a, b) of the running spell's θ."""
    at = LATER_SPELL if whole[SPELL] > 0 else FIRST_SPELL
    return real[at], real[at + 1]


@jit
def begin_events(
    par: Real, scale: Real, real: Real, whole: Whole, line_whole: Whole, line_real: Real, stream: Stream
) -> None:
    """What the line's past says of its events and their sizes, and the wait until one may come.

    Given n events of kind k in T years of activity λ_k ~ Gamma(r + n, rate r/m + T). With λ integrated out, events of the
    kind come with intensity (r + n)/(r/m + T), n and T counted on: a Pólya process (Lundberg 1940), no λ is drawn.
    """
    hazard = real[TERMINATION] / DAYS_PER_YEAR
    for kind in range(EVENT_KINDS):
        shape = par[SHAPE + kind] + line_whole[L_EVENTS + kind]
        exposure = (real[PRIOR_RATES + kind] + line_real[L_T_ACTIVE]) * DAYS_PER_YEAR
        real[EVENT_SHAPES + kind], real[EVENT_EXPOSURES + kind] = shape, exposure
        real[SIZE_COUNTS + kind] = line_whole[L_SIZE_N + kind]
        real[SIZE_TOTALS + kind] = line_real[L_SIZE_SUM + kind]
        real[WEIGHED + kind] = 0.0
        hazard += shape / exposure
    hazard *= greatest_rate(scale, whole)
    real[SERVED], real[HAZARD] = 0.0, hazard
    real[WAITING] = exponential(stream) / hazard


@jit
def next_event(table: Whole, scale: Real, real: Real, whole: Whole, day: int, stream: Stream) -> int:
    """The kind of event that comes when the wait is over: 0-3, `EVENT_KINDS` for termination, `NO_EVENT` or `NOT_KEPT` for none.

    By thinning (Lewis and Shedler 1979): the wait is drawn from the intensity at its beginning, which time without events only
    lowers; an event comes with the probability intensity now / intensity then. The next wait is drawn here.  Where rates are
    assumed to be g times as high the wait is that of the greatest g, and of what comes the share g / greatest is kept.  In the
    time of a planned event no other of its kind comes; what would have come counts as come for what is learned of λ, since the
    step stands for it, and a time without it would make the line look quieter than it is.
    """
    greatest, piece = greatest_rate(scale, whole), piece_on(table, scale, whole, day)
    choice = uniform(stream) * real[HAZARD]
    hazard, found, refused = 0.0, 0, False
    for kind in range(EVENT_KINDS + 1):
        if kind < EVENT_KINDS:
            intensity = real[EVENT_SHAPES + kind] / exposure_of(real, kind)
        else:
            intensity = real[TERMINATION] / DAYS_PER_YEAR
        if found == kind and whole[EFFECT] < whole[EFFECT_END]:
            refused = choice >= hazard + assumed_rate(scale, piece, kind) * intensity
        hazard += greatest * intensity
        found += choice >= hazard
    if refused and found < NO_EVENT:
        found = NOT_KEPT if greatest == 1.0 else NO_EVENT
    elif found < EVENT_KINDS:
        real[EVENT_SHAPES + found] += 1.0
        hazard += greatest / exposure_of(real, found)
        if replaced_by_plan(table, whole, found, day):
            found = NOT_KEPT
    real[HAZARD] = hazard
    real[WAITING] = exponential(stream) / hazard
    return found


@jit
def exposure_of(real: Real, kind: int) -> float:
    """Days that count for what is known of the rate of a kind, with what the prior is worth."""
    return real[EVENT_EXPOSURES + kind] + real[SERVED] + real[WEIGHED + kind]


@jit
def size_law(par: Real, real: Real, kind: int) -> tuple[float, float]:
    """Mean and variance of ν given the line's sizes y so far: precision 1/τ² + n/σ², mean (ν_g/τ² + Σy/σ²) / precision.

    Written with shrinkage B = τ² / (τ² + σ²/n), so that τ = 0 is no special case.
    """
    group_mean, between = real[FIRST_SIZE + kind], par[TAU + kind] ** 2
    n = real[SIZE_COUNTS + kind]
    if n == 0.0:
        return group_mean, between
    within = par[SIGMA + kind] ** 2 / n
    shrinkage = between / (between + within)
    return group_mean + shrinkage * (real[SIZE_TOTALS + kind] / n - group_mean), shrinkage * within


@jit
def draw_size(par: Real, real: Real, kind: int, stream: Stream) -> float:
    """The next size y of a kind given those so far, ν integrated out: Normal(mean of ν, its variance + σ²)."""
    mean, variance = size_law(par, real, kind)
    y = mean + math.sqrt(variance + par[SIGMA + kind] ** 2) * normal(stream)
    real[SIZE_COUNTS + kind] += 1.0
    real[SIZE_TOTALS + kind] += y
    return y


@jit
def begin_returns(par: Real, real: Real, whole: Whole, lapsed_years: float) -> None:
    """The rate of return given the line's past, as those of events; ``lapsed_years``: the lapse that goes on at the origin."""
    shape = par[SHAPE + 4]
    real[RETURN_SHAPE] = shape + whole[N_RETURNS]
    real[RETURN_EXPOSURE] = shape / math.exp(real[REACTIVATION]) + real[T_LAPSED] + lapsed_years


@jit
def years_to_return(real: Real, within: float, stream: Stream) -> float:
    """Years from now until the line returns, its rate integrated out; infinite where they exceed ``within``.

    Lomax: P(more than t) = (1 + t/R)^(−s), at least 1 − st/R, which decides most cases without a logarithm.
    """
    u, shape, exposure = uniform(stream), real[RETURN_SHAPE], real[RETURN_EXPOSURE]
    if u < 1.0 - shape * within / exposure:
        return math.inf
    years = exposure * math.expm1(-math.log(u) / shape)
    if years > within:
        return math.inf
    real[RETURN_SHAPE] += 1.0
    real[RETURN_EXPOSURE] += years
    return years


@jit
def size_class(table: Whole, scale: Real, mrr: float) -> int:
    """Class of a monthly revenue: how many edges it reaches (kept as money here, not as logarithms)."""
    found = 0
    for edge in range(table[N_SIZE_EDGES]):
        found += mrr >= scale[nth(table[SIZE_EDGES_AT] + edge)]
    return found


@jit
def cumulative_lag(par: Real, cdf_at: int, table: Whole, scale: Real, days: float) -> float:
    """F(days): the share of bookings made at most ``days`` after the term's end, linear inside a bin."""
    edges, last = table[LAG_EDGES_AT], table[N_LAG_EDGES] - 1
    if days <= scale[nth(edges)]:
        return 0.0
    if days >= scale[nth(edges + last)]:
        return 1.0
    j = 0
    while days >= scale[nth(edges + j + 1)]:
        j += 1
    share = (days - scale[nth(edges + j)]) / (scale[nth(edges + j + 1)] - scale[nth(edges + j)])
    return par[nth(cdf_at + j)] + share * (par[nth(cdf_at + j + 1)] - par[nth(cdf_at + j)])


@jit
def lag_at(par: Real, cdf_at: int, table: Whole, scale: Real, p: float) -> int:
    """The booking lag in whole days below which the share ``p`` lies."""
    edges, last = table[LAG_EDGES_AT], table[N_LAG_EDGES] - 1
    j = 0
    while j < last - 1 and p >= par[nth(cdf_at + j + 1)]:
        j += 1
    width = par[nth(cdf_at + j + 1)] - par[nth(cdf_at + j)]
    share = (p - par[nth(cdf_at + j)]) / width if width > 0.0 else 1.0
    return int(math.ceil(scale[nth(edges + j)] + min(share, 1.0) * (scale[nth(edges + j + 1)] - scale[nth(edges + j)])))


@jit
def pick(par: Real, cdf_at: int, size: int, stream: Stream) -> int:
    """A category from ``size`` cumulative probabilities (the last one is 1)."""
    p = uniform(stream)
    found = 0
    while found < size - 1 and p >= par[nth(cdf_at + found)]:
        found += 1
    return found


@jit
def change_location(par: Real, table: Whole, real: Real, row: int, class_now: int) -> float:
    """A location parameter of the change at renewal, for a term of size class ``class_now``."""
    return real[row] + par[nth(LOCATIONS_AT + row * table[N_COLUMNS] + table[SIZE_COLUMN] + class_now)]
