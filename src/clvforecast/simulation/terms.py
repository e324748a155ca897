"""At a term's end: the renewal decision, the next term's length and price, the lapse and the return."""

import math

from clvforecast.arithmetic import ratio_of_betas
from clvforecast.simulation.billing import book
from clvforecast.simulation.calendar import DAYS_PER_YEAR, month_at, months_later
from clvforecast.simulation.latents import (
    begin_returns,
    beta_parameters,
    change_location,
    cumulative_lag,
    lag_at,
    pick,
    size_class,
    years_to_return,
)
from clvforecast.simulation.life import bounded_multiple, whole_cents
from clvforecast.simulation.random import (
    BLOCKS_A_DAY,
    PLANNED_BLOCK,
    PLANNED_DAYS,
    exponential,
    jit,
    log_beta_variate,
    normal,
    normal_beyond,
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
    BOOK_VIEW,
    CALENDAR_AT,
    CHANGE_SIZE,
    CHANGES,
    CLASS_AT,
    CLIPS,
    COUNTED_MRR,
    DECISIONS,
    DIRECTION,
    DOWN,
    END,
    END_PLACE,
    EXPANDED,
    EXPONENT,
    FIRST,
    FLAT,
    GRACE_DAYS,
    HAS_THETA,
    KNOWN_BY,
    LAG_CDF_AT,
    LAG_EDGES_AT,
    LATE,
    LEAD,
    LOG_MAX_RATIO,
    LOG_MRR,
    LOG_MRR_SUM,
    LOG_THETA,
    LONGEST,
    MAX_RATIO,
    MONTHS,
    MRR,
    MRR_NOW,
    MRR_TERMS,
    N_LAG_EDGES,
    N_LOGGED,
    N_ORIGINS,
    N_POWERS,
    N_SIZE_EDGES,
    N_TERM_CLASSES,
    N_VALUES,
    NEXT_RENEWAL,
    NOTICE_CDF_AT,
    NOTICE_SHARE,
    ODDS,
    ORIGIN,
    POWERS_AT,
    RECOGNISED_VIEW,
    RETURN_SD,
    RETURNS_DRAWN,
    SIZE_CLASS,
    SIZE_ODDS_AT,
    SPELL,
    START,
    STEP_DAY,
    STEP_MONTHS,
    STEP_TAKEN,
    STEP_UNITS,
    STOP_DAY,
    TENURE,
    TERM_CDF_AT,
    TERM_CHANGED,
    TERM_ROW,
    TIED,
    UNITS_PER_CENT,
    UP,
    VALUES_AT,
    WEIGHT_AT,
    WINDOW_END,
    WINDOW_START,
    WORK,
    YEAR_AT,
    YEAR_PLACE_AT,
    Location,
    Origin,
    Real,
    Stream,
    Whole,
)
from clvforecast.simulation.snapshots import annual_cents, note_due, period_of
from clvforecast.simulation.steering import (
    assumed_probability,
    assumed_share,
    assumed_uplift,
    is_planned,
    leaning,
    minus_log,
    piece_on,
    planned_choice,
    planned_decision,
    planned_probability,
)

COMMITTED, RENEWED, REACTIVATED = int(Origin.COMMITTED), int(Origin.RENEWAL), int(Origin.REACTIVATION)
CHANGE_DOWN, CHANGE_UP = int(Location.CHANGE_DOWN), int(Location.CHANGE_UP)
CHANGE_DOWN_SIZE, PERSISTENCE = int(Location.CHANGE_DOWN_SIZE), int(Location.PERSISTENCE)
RETURN_VALUE = int(Location.RETURN_VALUE)
FLAT_BAND = 1.01
SMALLEST_CHANGE = math.log(0.01)
TERM_CHANGE = 0.1
LAST_NUMBER = 4  # decisions from the fifth on are one class
LEAST_FACTOR = 0.01


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
    decision is (−1: of none).  θ known: p = θ^w.  For the decision open at the origin θ is integrated out: the outcome is drawn
    first, and then θ ~ Beta(a + W + w, b), since drawing θ first would forget what waiting says.  Nor does what a plan says of a
    later decision know θ: who renews as planned has the θ of one that renews, its own where that would have renewed too.
    """
    w = dated_step(par, table, scale, real, whole)
    step = planned_decision(table, whole, whole[END])
    piece = piece_on(table, scale, whole, whole[END])
    if whole[HAS_THETA] == 1:
        threshold, known, choice = -w * real[LOG_THETA], 0.0, exponential(stream)
        renewed, unlifted = choice > threshold, 1.0  # with probability θ^w
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
    else:
        p, known = open_probability(par, table, scale, real, whole, w)
        p = leaning(table, real, step, p)
        assumed = assumed_probability(scale, piece, p) if piece >= 0 and p > 0.0 else p
        choice = uniform(stream)
        before = p
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
    if step >= 0:
        whole[nth(step + STEP_TAKEN)] = 1
    whole[TENURE] += whole[MONTHS]
    return renewed, known, step


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


@jit
def draw_ratio(
    par: Real,
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    months: int,
    carried: float,
    class_now: int,
    stream: Stream,
) -> float:
    """The new MRR over the carried MRR.

    Direction down, flat or up by the row of the last direction (or the row of a changed term); up: 1 + exp(y), at most
    ``max_ratio``; down: 1 − logistic(y); y = α − ρx + γ log(term ratio) + σε beyond the flat band, y > log .01;
    x = log(carried / geometric mean of the spell's MRR).  Odds and α have the effects of the segments and of the ending
    term's size class.
    """
    row = TERM_CHANGED if abs(months - whole[MONTHS]) > TERM_CHANGE * whole[MONTHS] else whole[DIRECTION]
    of_size = table[SIZE_ODDS_AT] + class_now
    down = par[nth(ODDS + 2 * row)] * real[CHANGE_DOWN] * par[nth(of_size)]
    up = par[nth(ODDS + 2 * row + 1)] * real[CHANGE_UP] * par[nth(of_size + table[N_SIZE_EDGES] + 1)]
    choice = uniform(stream) * (1.0 + down + up)
    if choice >= down + up:
        return 1.0
    side = 0 if choice < down else 1
    x = real[LOG_MRR] if carried == real[MRR] else math.log(carried)
    x -= real[LOG_MRR_SUM] / real[MRR_TERMS]
    at = CHANGE_SIZE + 3 * side
    y = change_location(par, table, real, CHANGE_DOWN_SIZE + side, class_now) - par[nth(at)] * x
    if months != whole[MONTHS]:
        y += par[nth(at + 1)] * math.log(months / whole[MONTHS])
    y += par[nth(at + 2)] * normal_beyond(stream, (SMALLEST_CHANGE - y) / par[nth(at + 2)])
    whole[CHANGES] += 1
    if side == 0:
        return 1.0 / (1.0 + math.exp(y))
    ratio = 1.0 + math.exp(y)
    if ratio > scale[MAX_RATIO]:
        whole[CLIPS] += 1
        return scale[MAX_RATIO]
    return ratio


@jit
def observed_direction(mrr: float, plain: float, full: float) -> int:
    """What a ledger shows: the change against the nearer of the MRR without and with the term's amendments."""
    between = mrr * mrr - plain * full  # beyond their geometric mean it is nearer to the other
    near = full if between * (full - plain) > 0.0 else plain
    if mrr > FLAT_BAND * near:
        return UP
    return DOWN if mrr * FLAT_BAND < near else FLAT


@jit
def begin_term(
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    start: int,
    place: int,
    months: int,
    units: int,
    booked_day: int,
) -> None:
    """Open a new term of ``months`` from a day in the calendar's month ``place``, and book its money."""
    whole[START], whole[MONTHS], whole[TERM_ROW] = start, months, -1
    whole[END], whole[END_PLACE] = months_later(table, table[CALENDAR_AT], place, start, months)
    whole[EXPANDED] = 0
    real[AMOUNT] = units / (100.0 * UNITS_PER_CENT)
    mrr = real[AMOUNT] / months
    if mrr != real[MRR]:
        real[MRR], real[LOG_MRR], whole[SIZE_CLASS] = mrr, math.log(mrr), -1
    elif real[AMEND] != 0.0:
        whole[SIZE_CLASS] = -1
    real[MRR_NOW] = real[COUNTED_MRR] = mrr
    real[AMEND] = 0.0
    real[LOG_MRR_SUM] += real[LOG_MRR]
    real[MRR_TERMS] += 1.0
    whole[N_LOGGED] = 0
    for origin in range(N_ORIGINS):
        whole[TIED + origin] = 0
    rate = book(table, scale, real, whole, flow, whole[ORIGIN], booked_day, whole[START], whole[END], units)
    whole[TIED + whole[ORIGIN]] = rate


@jit
def amended_factor(real: Real) -> float:
    """What the running term's amendments make of its MRR, at least 1%."""
    return max(1.0 + real[AMEND] / real[AMOUNT], LEAST_FACTOR)


@jit
def persistence(par: Real, table: Whole, real: Real, class_now: int) -> float:
    """q, the probability that the amendments of a term of size class ``class_now`` last."""
    return 1.0 / (1.0 + math.exp(-change_location(par, table, real, PERSISTENCE, class_now)))


@jit
def booking_day_matters(table: Whole, scale: Real, whole: Whole) -> bool:
    """Not for service that begins in the window, where with any lag, and on that day itself, it is known by then."""
    latest = whole[END] + max(scale[nth(table[LAG_EDGES_AT] + table[N_LAG_EDGES] - 1)], 0.0)
    return table[BOOK_VIEW] != RECOGNISED_VIEW or whole[END] < table[WINDOW_START] or latest > table[KNOWN_BY]


@jit
def next_months(par: Real, table: Whole, scale: Real, whole: Whole, stream: Stream) -> int:
    """Length of a renewal: by the row of the ending term's class, or of another mix in the share of cases that is assumed."""
    cdf_at = table[TERM_CDF_AT] + term_class(table, whole[MONTHS]) * table[N_VALUES]
    piece = piece_on(table, scale, whole, whole[END])
    if piece < 0:
        return table[nth(table[VALUES_AT] + pick(par, cdf_at, table[N_VALUES], stream))]
    p, found = uniform(stream), 0
    while found < table[N_VALUES] - 1 and p >= assumed_share(scale, piece, par[nth(cdf_at + found)], found):
        found += 1
    return table[nth(table[VALUES_AT] + found)]


@jit
def raise_price(table: Whole, scale: Real, real: Real, whole: Whole) -> float:
    """The factor by which renewal prices are assumed to be raised.

    All prices of the spell so far count as raised too, so that what is dear next to the line's own past is not what is dear
    because all prices rose.
    """
    factor = assumed_uplift(scale, piece_on(table, scale, whole, whole[END]))
    if factor != 1.0:
        real[LOG_MRR_SUM] += real[MRR_TERMS] * math.log(factor)
    return factor


@jit
def renew(
    par: Real,
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    known_share: float,
    step: int,
    stream: Stream,
) -> None:
    """A renewal: booking lag, length, price, and the next term from the end of the last.

    Carried MRR = MRR × (1 + amendments / amount)^I, I ~ Bernoulli(q), the factor at least 1%.  What a planned step at the place
    ``step`` says of its length and amount goes first, and of its booking day where whether it comes is the step's own too.  Who
    is lost on a day has booked before it.
    """
    booked_day = whole[END]
    if booking_day_matters(table, scale, whole):
        lag_share = known_share + uniform(stream) * (1.0 - known_share)
        booked_day += lag_at(par, table[LAG_CDF_AT], table, scale, lag_share)
    if is_planned(table, real, step):
        booked_day = whole[nth(step + STEP_DAY)]
    booked_day = max(min(booked_day, whole[STOP_DAY] - 1), table[WINDOW_START])
    months = next_months(par, table, scale, whole, stream)
    if step >= 0 and whole[nth(step + STEP_MONTHS)] > 0:
        months = whole[nth(step + STEP_MONTHS)]
    due, period = annual_cents(real[COUNTED_MRR]), period_of(table, whole[END])
    plain = real[MRR]
    full = plain * amended_factor(real)
    carried, factor = plain, 1.0
    class_now = term_size_class(table, scale, real, whole)
    choice = uniform(stream)
    if real[AMEND] != 0.0 and choice < persistence(par, table, real, class_now):
        carried = full
    if step >= 0 and whole[nth(step + STEP_UNITS)] > 0:
        units = whole[nth(step + STEP_UNITS)]
    else:
        mrr = carried * draw_ratio(par, table, scale, real, whole, months, carried, class_now, stream)
        factor = raise_price(table, scale, real, whole)
        units = max(whole_cents(whole, factor * mrr * months), UNITS_PER_CENT)
    whole[DIRECTION] = observed_direction(units / (100.0 * UNITS_PER_CENT) / months / factor, plain, full)
    whole[DECISIONS] += 1
    if whole[ORIGIN] == COMMITTED:
        whole[ORIGIN] = RENEWED
    begin_term(table, scale, real, whole, flow, whole[END], whole[END_PLACE], months, units, booked_day)
    note_due(table, whole, period, due, annual_cents(real[MRR]))


@jit
def grace(table: Whole, start: int, end: int) -> int:
    """Days after a term's end in which a new term is still its renewal."""
    if table[GRACE_DAYS] >= 0:
        return table[GRACE_DAYS]
    return min(92, max(15, (end - start) // 4))


@jit
def come_back(
    par: Real,
    table: Whole,
    scale: Real,
    real: Real,
    whole: Whole,
    flow: Whole,
    lapse_day: int,
    stream: Stream,
) -> bool:
    """Wait for a return after a lapse; on return open a new spell.  False when none comes before the horizon."""
    waiting_from = lapse_day + grace(table, whole[START], whole[END])
    now = max(waiting_from, table[WINDOW_START])
    if whole[RETURNS_DRAWN] == 0:
        begin_returns(par, real, whole, (now - waiting_from) / DAYS_PER_YEAR)
        whole[RETURNS_DRAWN] = 1
    within = (table[WINDOW_END] - 1 - now) / DAYS_PER_YEAR
    waited = years_to_return(real, within, stream) if within > 0.0 else math.inf
    if waited == math.inf:
        return False
    day = now + int(waited * DAYS_PER_YEAR) + 1  # on the last day of grace it would still be a renewal
    if day >= min(table[WINDOW_END], whole[STOP_DAY]):
        return False
    change = real[RETURN_VALUE] + par[RETURN_SD] * normal(stream)
    mrr = real[MRR] * bounded_multiple(whole, change, scale[MAX_RATIO], scale[LOG_MAX_RATIO])
    cdf_at = table[TERM_CDF_AT] + table[N_TERM_CLASSES] * table[N_VALUES]
    months = table[nth(table[VALUES_AT] + pick(par, cdf_at, table[N_VALUES], stream))]
    whole[SPELL] += 1
    whole[DECISIONS], whole[DIRECTION], whole[ORIGIN] = 0, FIRST, REACTIVATED
    whole[TENURE], whole[SIZE_CLASS] = 0, -1
    real[WORK], real[LOG_MRR_SUM], real[MRR_TERMS] = 0.0, 0.0, 0.0
    a, b = beta_parameters(real, whole)
    real[LOG_THETA] = log_beta_variate(stream, a, b)
    whole[HAS_THETA] = 1
    units = max(whole_cents(whole, mrr * months), UNITS_PER_CENT)
    place = month_at(table, table[CALENDAR_AT], day) - table[CALENDAR_AT]
    begin_term(table, scale, real, whole, flow, day, place, months, units, day)
    real[BASE] = real[MRR]
    return True
