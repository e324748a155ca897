"""What a line is worth after the horizon, discounted: the rest of its running terms, and the renewals that follow."""

import math

from clvforecast.arithmetic import exp
from clvforecast.simulation.billing import billed_years
from clvforecast.simulation.calendar import DAYS_PER_YEAR
from clvforecast.simulation.decisions import (
    LAST_NUMBER,
    clock,
    decision_class,
    decision_step,
    term_size_class,
    year_weight,
)
from clvforecast.simulation.latents import beta_parameters
from clvforecast.simulation.random import jit, log_beta_variate, nth
from clvforecast.simulation.revenue import discount_at
from clvforecast.simulation.slots import (
    AMEND,
    AT_END,
    AT_HORIZON,
    BOOK_VIEW,
    CASH_VIEW,
    COUNTS_DAYS,
    DAYS_BEYOND,
    DECISIONS,
    DIRECTION,
    END,
    END_PLACE,
    EXPANDED,
    EXPONENT,
    FLAT,
    HAS_THETA,
    LATER_AT,
    LOG_DISCOUNT,
    LOG_THETA,
    MONTHS,
    MRR,
    MRR_NOW,
    N_POWERS,
    N_YEARS,
    POWERS_AT,
    RECOGNISED_VIEW,
    SIZE_CLASS,
    START,
    TAIL,
    TAIL_AT,
    TENURE,
    WEIGHT_AT,
    WINDOW_END,
    WORK,
    YEAR_AT,
    Real,
    Stream,
    Whole,
)
from clvforecast.simulation.terms import amended_factor, persistence

TAIL_BLOCKS = 540
TERMS = TAIL - 3
"""Of the numbers worked out at a time the terms of the sum; the last three say what follows them."""
NEGLIGIBLE = 3e-4
"""Share of a sum over renewals: what is left out is a quarter of it at most (`tests/test_beyond.py`)."""


@jit
def rest_of_term(table: Whole, scale: Real, real: Real, whole: Whole) -> float:
    """Discounted service of the running term after the horizon, at the MRR in force, in currency; notes the discount at its end.

    Nothing where money counts when it is booked or paid: then it is counted, or deferred with its value (`billing`).
    """
    real[AT_END] = discount_at(table, scale, whole[END])
    if table[BOOK_VIEW] != RECOGNISED_VIEW and table[COUNTS_DAYS] == 0:
        return 0.0
    before = discount_at(table, scale, whole[START]) if whole[START] > table[WINDOW_END] else scale[AT_HORIZON]
    if table[COUNTS_DAYS] == 1:
        real[DAYS_BEYOND] += DAYS_PER_YEAR * (before - real[AT_END]) / scale[LOG_DISCOUNT]
    if table[BOOK_VIEW] != RECOGNISED_VIEW:
        return 0.0
    return 12.0 * real[MRR_NOW] * (before - real[AT_END]) / scale[LOG_DISCOUNT]


@jit
def renewed_mrr(par: Real, table: Whole, scale: Real, real: Real, whole: Whole) -> float:
    """Expected MRR of an unchanged renewal: with probability q it takes the running term's amendments over."""
    if real[AMEND] == 0.0:
        return real[MRR]
    q = persistence(par, table, real, term_size_class(table, scale, real, whole))
    return real[MRR] * (1.0 + q * (amended_factor(real) - 1.0))


@jit
def renewals_beyond(par: Real, table: Whole, scale: Real, real: Real, whole: Whole, stream: Stream) -> float:
    """Discounted value of the renewals after the horizon, at the last term's MRR and length, in currency.

    Each is renewed with p = θ^w, in years that are alike after the first decision's: Σ_k V δ^(k−1) Π_{j≤k} p_j, discounted to the
    origin, V a term's value at its start.  The price does not change; amendments of the running term last as far as they are
    expected to, and none are added.  With c = 1 and one class of decision this is V p / (1 − pδ), the residual value given θ
    of Fader and Hardie (2010), whose mean over θ is their DERL.  The active days are the same sum, of the term's discounted days.
    """
    if whole[HAS_THETA] == 0:
        a, b = beta_parameters(real, whole)
        real[LOG_THETA] = log_beta_variate(stream, a + real[WORK], b)
        whole[HAS_THETA] = 1
    months, alive = whole[MONTHS], real[AT_END]
    delta = (
        scale[nth(table[LATER_AT] + months)] if months < N_POWERS else math.exp(-scale[LOG_DISCOUNT] * months / 12.0)
    )
    value = 12.0 * renewed_mrr(par, table, scale, real, whole)
    if table[BOOK_VIEW] == RECOGNISED_VIEW:
        value *= (1.0 - delta) / scale[LOG_DISCOUNT]
    else:
        value *= billed_years(table, scale, months) if table[BOOK_VIEW] == CASH_VIEW else months / 12.0
    total, alike, weight = 0.0, False, year_weight(par, table, whole[END_PLACE])
    later = par[nth(table[YEAR_AT] + table[N_YEARS])]
    while not alike:
        alive *= math.exp(weight * decision_step(par, table, scale, real, whole) * real[LOG_THETA])
        weight = later
        total += alive
        alive *= delta
        whole[TENURE] += months
        alike = whole[DECISIONS] >= LAST_NUMBER
        whole[DECISIONS], whole[EXPANDED], whole[DIRECTION] = whole[DECISIONS] + 1, 0, FLAT
        if real[AMEND] != 0.0:
            real[AMEND], whole[SIZE_CLASS] = 0.0, -1
    log_p = later * par[nth(table[WEIGHT_AT] + decision_class(table, scale, real, whole))] * real[LOG_THETA]
    renewals = total + alive * alike_renewals(par, table, scale, real, whole[TENURE], months, log_p, delta)
    if table[COUNTS_DAYS] == 1:
        real[DAYS_BEYOND] += DAYS_PER_YEAR * (1.0 - delta) / scale[LOG_DISCOUNT] * renewals
    return value * renewals


@jit
def alike_renewals(
    par: Real, table: Whole, scale: Real, real: Real, tenure: int, months: int, log_p: float, delta: float
) -> float:
    """Σ_k δ^(k−1) Π_{j≤k} p_j of decisions that differ in tenure alone; ``log_p`` is of one year's clock.

    The products are p's power of one difference of clocks. `TERMS` are worked out at a time, until what follows is all but
    geometric: R_k = p_k (1 + δ R_{k+1}) gives R = g + e + f + …, g = p/(1 − δp), e = δg g', f = δg e'.  Where signs alternate
    e + f + … is taken for a geometric series.  The sum ends where f and a quarter of e are `NEGLIGIBLE`, or after `TAIL_BLOCKS`:
    400 years of monthly terms, too few where a discount rate is below 1% a year.
    """
    if par[EXPONENT] == 1.0:
        p = math.exp(log_p * months / 12.0)
        return p / (1.0 - p * delta)
    total, begun, log_delta = 0.0, clock(par, table, tenure), -scale[LOG_DISCOUNT] * months / 12.0
    for block in range(TAIL_BLOCKS):
        past = block * TERMS
        tail_clocks(par, table, real, tenure + (past + 1) * months, months)
        for place in range(TAIL - 1, TERMS - 1, -1):  # the next probabilities, which say what follows
            real[TAIL_AT + place] = (real[TAIL_AT + place] - real[TAIL_AT + place - 1]) * log_p
        for place in range(TERMS):
            real[TAIL_AT + place] = (real[TAIL_AT + place] - begun) * log_p + (past + place) * log_delta
        for place in range(TAIL):
            real[TAIL_AT + place] = exp(real[TAIL_AT + place])
        total += sum_of_terms(real)
        alike = geometric(real[TAIL_AT + TERMS], delta)
        after = geometric(real[TAIL_AT + TERMS + 1], delta)
        later = geometric(real[TAIL_AT + TERMS + 2], delta)
        drift = delta * alike * (after - alike)
        bend = delta * alike * (delta * after * (later - after) - drift)
        rest = delta * real[TAIL_AT + TERMS - 1]
        if rest * max(abs(bend), 0.25 * abs(drift)) < NEGLIGIBLE * total:
            break
    return total + rest * (alike + (drift * drift / (drift - bend) if drift * bend < 0.0 else drift + bend))


@jit
def geometric(p: float, delta: float) -> float:
    """Σ_k δ^(k−1) p^k, the renewals that follow if each has the probability ``p``."""
    return p / (1.0 - delta * p)


@jit
def tail_clocks(par: Real, table: Whole, real: Real, first: int, months: int) -> None:
    """The clock at `TAIL` tenures ``months`` apart."""
    if first + TAIL * months < N_POWERS:
        for place in range(TAIL):
            real[TAIL_AT + place] = par[nth(table[POWERS_AT] + first + place * months)]
    else:
        for place in range(TAIL):
            real[TAIL_AT + place] = clock(par, table, first + place * months)


@jit
def sum_of_terms(real: Real) -> float:
    """The sum of `TERMS` numbers, in four parts that do not wait for each other."""
    parts_0, parts_1, parts_2, parts_3 = 0.0, 0.0, 0.0, 0.0
    for place in range(0, TERMS - 1, 4):
        parts_0 += real[TAIL_AT + place]
        parts_1 += real[TAIL_AT + place + 1]
        parts_2 += real[TAIL_AT + place + 2]
        parts_3 += real[TAIL_AT + place + 3]
    return (parts_0 + parts_1) + (parts_2 + parts_3) + real[TAIL_AT + TERMS - 1]
