"""The renewal decision at a term's end: its class and probability, and what it says of the account."""

import math

from clvforecast.arithmetic import ratio_of_betas
from clvforecast.simulation.latents import beta_parameters, cumulative_lag, size_class
from clvforecast.simulation.random import (
    BLOCKS_A_DAY,
    PLANNED_BLOCK,
    PLANNED_DAYS,
    exponential,
    jit,
    log_beta_variate,
    nth,
    turn_aside,
    turn_back,
    uniform,
)
from clvforecast.simulation.slots import (
    AMEND,
    AMOUNT,
    AS_OF,
    BASE,
    CLASS_AT,
    DECISIONS,
    DIRECTION,
    DOWN,
    END,
    END_PLACE,
    EXPANDED,
    EXPONENT,
    HAS_THETA,
    LAG_CDF_AT,
    LATE,
    LEAD,
    LOG_THETA,
    LONGEST,
    MONTHS,
    N_POWERS,
    N_SIZE_EDGES,
    NEXT_RENEWAL,
    NOTICE_CDF_AT,
    NOTICE_SHARE,
    POWERS_AT,
    SIZE_CLASS,
    STEP_TAKEN,
    TENURE,
    WEIGHT_AT,
    WINDOW_START,
    WORK,
    YEAR_AT,
    YEAR_PLACE_AT,
    Real,
    Stream,
    Whole,
)
from clvforecast.simulation.steering import (
    assumed_probability,
    is_planned,
    leaning,
    minus_log,
    piece_on,
    planned_choice,
    planned_decision,
    planned_probability,
)

LAST_NUMBER = 4  # decisions from the fifth on are one class


@jit
def term_class(table: Whole, months: int) -> int:
    """Class of a contract length; lengths beyond the table have the class of its last."""
    return table[nth(table[CLASS_AT] + min(months, table[LONGEST]))]


@jit
def term_size_class(table: Whole, scale: Real, real: Real, whole: Whole) -> int:
    """Size class of the running term: its money with amendments, a month."""
    if whole[SIZE_CLASS] < 0:
        money = (real[AMOUNT] + real[AMEND]) / whole[MONTHS]
        whole[SIZE_CLASS] = size_class(table, scale, max(money, 1e-9 * real[BASE]))
    return whole[SIZE_CLASS]


@jit
def decision_class(table: Whole, scale: Real, real: Real, whole: Whole) -> int:
    """Combined decision class: term class, size class, decision number, expanded in the term, last change a cut."""
    sizes = table[N_SIZE_EDGES] + 1
    combined = term_class(table, whole[MONTHS]) * sizes + term_size_class(table, scale, real, whole)
    combined = combined * (LAST_NUMBER + 1) + min(whole[DECISIONS], LAST_NUMBER)
    combined = combined * 2 + whole[EXPANDED]
    return combined * 2 + (1 if whole[DIRECTION] == DOWN else 0)


@jit
def clock(par: Real, table: Whole, months: int) -> float:
    """t^c, the renewal clock at a tenure of t = months/12 years."""
    if months < N_POWERS:
        return par[nth(table[POWERS_AT] + months)]
    return (months / 12.0) ** par[EXPONENT]


@jit
def decision_step(par: Real, table: Whole, scale: Real, real: Real, whole: Whole) -> float:
    """(t_k^c − t_{k−1}^c) · exp(class effects), for the decision at the end of the running term in an average year."""
    length = clock(par, table, whole[TENURE] + whole[MONTHS]) - clock(par, table, whole[TENURE])
    return length * par[nth(table[WEIGHT_AT] + decision_class(table, scale, real, whole))]


@jit
def year_weight(par: Real, table: Whole, place: int) -> float:
    """exp(effect) of the calendar year of a month; 1 before the first that has an effect, years after the last are alike."""
    return par[nth(table[YEAR_AT] + table[nth(table[YEAR_PLACE_AT] + 1 + place)])]


@jit
def dated_step(par: Real, table: Whole, scale: Real, real: Real, whole: Whole) -> float:
    """`decision_step` in the year in which the running term ends."""
    return decision_step(par, table, scale, real, whole) * year_weight(par, table, whole[END_PLACE])


@jit
def open_probability(par: Real, table: Whole, scale: Real, real: Real, whole: Whole, w: float) -> tuple[float, float]:
    """Of the decision that was open at the origin: (P(renews | not booked by as_of), F).

    p = S(n+1)/S(n) = B(a+W+w, b) / B(a+W, b), and with d = as_of − end, F = F(d) of bookings, G = G(d) of notices, ψ the
    share of lapses that give notice: P = p(1 − F) / (p(1 − F) + (1 − p)(1 − ψG)).
    """
    a, b = beta_parameters(real, whole)
    a += real[WORK]
    p = min(ratio_of_betas(a, b, w), 1.0)
    days = float(table[AS_OF] - whole[END])
    known = cumulative_lag(par, table[LAG_CDF_AT], table, scale, days)
    noticed = par[NOTICE_SHARE] * cumulative_lag(par, table[NOTICE_CDF_AT], table, scale, days)
    waiting = p * (1.0 - known)
    rest = waiting + (1.0 - p) * (1.0 - noticed)
    p = waiting / rest if rest > 0.0 else 0.0
    if whole[LEAD] == 1 and p > 0.0:  # after the longest lag there is nothing left to decide
        real[NEXT_RENEWAL] = p
    return p, known


@jit
def decide(par: Real, table: Whole, scale: Real, real: Real, whole: Whole, stream: Stream) -> tuple[bool, float, int]:
    """The renewal decision at the term's end.

    Whether it is renewed, the share of the booking-lag distribution already past, and the place of the planned step that the
    decision is (−1: of none).
    """
    w = dated_step(par, table, scale, real, whole)
    step = planned_decision(table, whole, whole[END])
    piece = piece_on(table, scale, whole, whole[END])
    known = 0.0
    if whole[HAS_THETA] == 1:
        renewed = decide_by_theta(table, scale, real, whole, w, step, piece, stream)
    else:
        renewed, known = decide_open(par, table, scale, real, whole, w, step, piece, stream)
    if step >= 0:
        whole[nth(step + STEP_TAKEN)] = 1
    whole[TENURE] += whole[MONTHS]
    return renewed, known, step


@jit
def decide_by_theta(
    table: Whole, scale: Real, real: Real, whole: Whole, w: float, step: int, piece: int, stream: Stream
) -> bool:
    """θ is known: with probability θ^w, moved towards what is stated, and as a scenario assumes.

    What a plan with a probability of its own says does not know θ: who renews as planned has the θ of one that renews, its own
    where that would have renewed too.
    """
    threshold, choice = -w * real[LOG_THETA], exponential(stream)
    renewed, unlifted = choice > threshold, 1.0
    if is_planned(table, real, step):
        by_itself, planned = renewed, planned_probability(table, scale, real, step, -1)
        assumed = planned_probability(table, scale, real, step, piece)
        renewed, unlifted = planned_choice(table, real, step) < assumed, share_unlifted(planned, assumed)
        if renewed and not by_itself:
            learn_anew(real, whole, w, stream)
    elif piece >= 0 or step >= 0:
        p = math.exp(-threshold)
        assumed = leaning(table, real, step, p)
        if piece >= 0:
            assumed = assumed_probability(scale, piece, assumed)
        renewed, unlifted = choice > minus_log(assumed), share_unlifted(p, assumed)
    if renewed:
        real[WORK] += w * unlifted
    return renewed


@jit
def decide_open(
    par: Real,
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    w: float,
    step: int,
    piece: int,
    stream: Stream,
) -> tuple[bool, float]:
    """The decision open at the origin, and the share of the booking-lag distribution already past.

    θ is integrated out: the outcome is drawn first, and then θ ~ Beta(a + W + w, b), since drawing θ first would forget what
    waiting says.
    """
    p, known = open_probability(par, table, scale, real, whole, w)
    before = leaning(table, real, step, p)
    assumed = assumed_probability(scale, piece, before) if piece >= 0 and p > 0.0 else before
    choice = uniform(stream)
    if is_planned(table, real, step):
        choice = planned_choice(table, real, step)
        before = planned_probability(table, scale, real, step, -1)
        assumed = planned_probability(table, scale, real, step, piece)
    renewed = choice < assumed
    if whole[LEAD] == 1 and (p > 0.0 or assumed > 0.0):
        real[NEXT_RENEWAL] = assumed
    if renewed:
        learn_theta(real, whole, w, choice >= before, stream)
        real[WORK] += w * share_unlifted(before, assumed)
        whole[LATE] += whole[END] < table[WINDOW_START]
    return renewed, known


@jit
def learn_theta(real: Real, whole: Whole, w: float, rescued: bool, stream: Stream) -> None:
    """θ of a line whose open decision is settled: Beta(a + W + w, b) where it renewed.

    Where it renewed only because renewal was assumed to be likelier, θ is that of a line that lapses: Beta(a + W, b), of which
    the share 1 − θ^w is accepted.
    """
    a, b = beta_parameters(real, whole)
    a += real[WORK]
    real[LOG_THETA] = log_beta_variate(stream, a if rescued else a + w, b)
    while rescued and uniform(stream) >= -math.expm1(w * real[LOG_THETA]):
        real[LOG_THETA] = log_beta_variate(stream, a, b)
    whole[HAS_THETA] = 1


@jit
def learn_anew(real: Real, whole: Whole, w: float, stream: Stream) -> None:
    """θ of a line that renews as planned, and would not have by itself: one that has renewed this time too.

    By numbers of the day's own, so that what follows is as without the plan.
    """
    left = turn_aside(stream, PLANNED_BLOCK + whole[END] % PLANNED_DAYS * BLOCKS_A_DAY)
    a, b = beta_parameters(real, whole)
    real[LOG_THETA] = log_beta_variate(stream, a + real[WORK] + w, b)
    turn_back(stream, left)


@jit
def share_unlifted(p: float, assumed: float) -> float:
    """What of a renewal speaks for the line, of probability p that is assumed to be more: 1 − (p' − p)/(1 − p).

    W counts so much of its w, where θ is drawn anew: exact where nothing is assumed, or renewal to be sure.
    """
    return (1.0 - assumed) / (1.0 - p) if assumed > p else 1.0
