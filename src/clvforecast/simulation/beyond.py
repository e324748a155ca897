"""What a line is worth after the horizon, discounted: the rest of its running terms, and the renewals that follow."""

import math

from clvforecast.simulation.calendar import DAYS_PER_YEAR
from clvforecast.simulation.latents import beta_parameters
from clvforecast.simulation.random import jit, log_beta_variate
from clvforecast.simulation.slots import (
    AMEND,
    BOOK_VIEW,
    DECISIONS,
    DIRECTION,
    END,
    EXPANDED,
    EXPONENT,
    FLAT,
    HAS_THETA,
    LOG_DISCOUNT,
    LOG_THETA,
    MONTHS,
    MRR,
    MRR_NOW,
    N_YEARS,
    START,
    TENURE,
    WEIGHT_AT,
    WINDOW_END,
    WINDOW_START,
    WORK,
    YEAR_AT,
    Real,
    Stream,
    Whole,
)
from clvforecast.simulation.terms import (
    LAST_NUMBER,
    amended_factor,
    clock,
    decision_class,
    decision_step,
    persistence,
    term_size_class,
    year_of,
    year_weight,
)

TAIL_STEPS = 5000
EXACT_EVERY, SMALL = 16, 0.004
NEGLIGIBLE = 1e-9
"""Share of the sum so far: a smaller term ends it. What is left out is at most this over 1 - p delta of the last term."""


@jit
def rest_of_term(table: Whole, scale: Real, real: Real, whole: Whole) -> float:
    """Discounted service of the running term after the horizon, at the MRR in force, in currency.

    Nothing in the booked view: that money was counted when it was booked.
    """
    if table[BOOK_VIEW] == 1:
        return 0.0
    start = (max(whole[START], table[WINDOW_END]) - table[WINDOW_START]) / DAYS_PER_YEAR
    end = (whole[END] - table[WINDOW_START]) / DAYS_PER_YEAR
    rate = scale[LOG_DISCOUNT]
    return 12.0 * real[MRR_NOW] * (math.exp(-rate * start) - math.exp(-rate * end)) / rate


@jit
def renewed_mrr(par: Real, table: Whole, scale: Real, real: Real, whole: Whole) -> float:
    """Expected MRR of an unchanged renewal: with probability q it takes the running term's amendments over."""
    q = persistence(par, table, real, term_size_class(table, scale, real, whole))
    return real[MRR] * (1.0 + q * (amended_factor(real) - 1.0))


@jit
def renewals_beyond(par: Real, table: Whole, scale: Real, real: Real, whole: Whole, stream: Stream) -> float:
    """Discounted value of the renewals after the horizon, at the last term's MRR and length, in currency.

    Each is renewed with p = θ^w, in years that are alike after the first decision's: Σ_k V δ^(k−1) Π_{j≤k} p_j, discounted to the
    origin, V a term's value at its start.  The price does not change; amendments of the running term last as far as they are
    expected to, and none are added.  With c = 1 and one class of decision this is V p / (1 − pδ), the residual value given θ
    of Fader and Hardie (2010), whose mean over θ is their DERL.
    """
    if whole[HAS_THETA] == 0:
        a, b = beta_parameters(real, whole)
        real[LOG_THETA] = log_beta_variate(stream, a + real[WORK], b)
        whole[HAS_THETA] = 1
    log_discount, years = scale[LOG_DISCOUNT], whole[MONTHS] / 12.0
    delta = math.exp(-log_discount * years)
    alive = math.exp(-log_discount * (whole[END] - table[WINDOW_START]) / DAYS_PER_YEAR)
    value = (
        12.0
        * renewed_mrr(par, table, scale, real, whole)
        * (years if table[BOOK_VIEW] == 1 else (1.0 - delta) / log_discount)
    )
    total, alike, weight = 0.0, False, year_weight(par, table, year_of(table, whole[END]))
    later = par[table[YEAR_AT] + table[N_YEARS]]
    while not alike:
        alive *= math.exp(weight * decision_step(par, table, scale, real, whole) * real[LOG_THETA])
        weight = later
        total += alive
        alive *= delta
        whole[TENURE] += whole[MONTHS]
        alike = whole[DECISIONS] >= LAST_NUMBER
        whole[DECISIONS], whole[EXPANDED], whole[DIRECTION], real[AMEND] = whole[DECISIONS] + 1, 0, FLAT, 0.0
    log_p = later * par[table[WEIGHT_AT] + decision_class(table, scale, real, whole)] * real[LOG_THETA]
    return value * (total + alike_renewals(par, table, whole[TENURE], whole[MONTHS], log_p, delta, alive))


@jit
def alike_renewals(
    par: Real, table: Whole, tenure: int, months: int, log_p: float, delta: float, alive: float
) -> float:
    """Σ_k δ^(k−1) Π_{j≤k} p_j of decisions that differ in tenure alone, times ``alive``; ``log_p`` is of one year's clock."""
    if par[EXPONENT] == 1.0:
        p = math.exp(log_p * months / 12.0)
        return alive * p / (1.0 - p * delta)
    total, now, last, p = 0.0, clock(par, table, tenure), 0.0, 1.0
    for number in range(TAIL_STEPS):
        tenure += months
        after = clock(par, table, tenure)
        step = (after - now) * log_p
        change = step - last
        if number % EXACT_EVERY == 0 or abs(change) > SMALL:
            p = math.exp(step)
        else:  # steps differ little from one to the next: e^x to the fourth order, 1e-13 where x is at its largest
            p *= 1.0 + change * (1.0 + change * (0.5 + change * (1.0 / 6.0 + change / 24.0)))
        alive *= p
        total += alive
        alive *= delta
        now, last = after, step
        if alive < NEGLIGIBLE * total:
            break
    return total
