"""One round of a synthetic company: what happens in every running term, its decision, and the term that
follows.

Vectorised over accounts; the only loop is over the amendments of a term, because each changes the MRR of the
next.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import truncnorm

from clvforecast.synthetic.accounts import (
    DOWN,
    FIRST,
    FLAT,
    UP,
    Accounts,
    Bools,
    Floats,
    Terms,
    beta_shapes,
    chosen_from,
    draw_lags,
    draw_theta,
    logistic,
    logit,
    next_in_spell,
    size_class,
    step_weight,
)
from clvforecast.synthetic.bookings import KIND, Bookings, Ints
from clvforecast.synthetic.parameters import ACTIVITIES, CompanyParameters
from clvforecast.synthetic.service import Cents, Days, add_months, calendar_year, recognised_before

DAYS_PER_YEAR = 365.25
DAYS_PER_MONTH = 365.25 / 12
NEVER = np.inf
FLAT_WITHIN = np.log(1.01)
SMALLEST_SIZE = np.log(0.01)
SMALLEST_CARRIED_SHARE = 0.01
SMALLEST_SIZE_SHARE = 1e-9
TERM_CHANGED_ROW = 4


@dataclass(frozen=True)
class Happenings:
    """Activity events of one round, in the order of time within a term."""

    row: Ints  # of the term
    kind: Ints  # code
    day: Days
    y: Floats  # the event's size on the scale of its component


@dataclass(frozen=True)
class Outcome:
    """What a round's terms have become: one value a term."""

    end: Days
    stop: Days  # where activity ends: the term's end, or the day of an early termination
    terminated: Bools
    amended_cents: Cents
    expanded: Bools


def play_round(
    company: CompanyParameters, accounts: Accounts, terms: Terms, bookings: Bookings, rng: np.random.Generator
) -> Terms:
    """Book these terms and all that happens in them; return the terms that follow them."""
    outcome = play_terms(company, accounts, terms, bookings, rng)
    renewed = decide(company, terms, outcome, rng)
    lapsed = ~renewed & ~outcome.terminated
    give_notice(company, terms.at(lapsed), outcome.end[lapsed], bookings, rng)
    renewals = renew(company, accounts, terms, outcome, np.flatnonzero(renewed), rng)
    return Terms.joined([renewals, come_back(company, accounts, terms, outcome, np.flatnonzero(~renewed), rng)])


def play_terms(
    company: CompanyParameters, accounts: Accounts, terms: Terms, bookings: Bookings, rng: np.random.Generator
) -> Outcome:
    """Book the terms, their events and their early terminations."""
    end = add_months(terms.start, terms.months)
    kind = np.where(terms.mrr_n == 1, KIND["initial"], KIND["renewal"])
    bookings.add(
        terms.account,
        kind,
        booked=terms.booked,
        start=terms.start,
        end=end,
        cents=terms.cents,
        months=terms.months,
    )
    wait = waiting_days(accounts.rates["termination"][terms.account], rng)
    terminated = wait < end - terms.start
    active = np.minimum(wait, end - terms.start)
    stop = np.where(terminated, terms.start + np.floor(active).astype(np.int64), end)
    happenings = draw_happenings(company, accounts, terms, active, rng)
    book_one_offs(terms, happenings, bookings)
    amendments = _only(happenings, happenings.kind <= KIND["contraction"])
    cents = amend(terms, end, amendments, bookings)
    amended = np.zeros(len(end), dtype=np.int64)
    np.add.at(amended, amendments.row, cents)
    expanded = np.zeros(len(end), dtype=bool)
    expanded[amendments.row[(amendments.kind == KIND["expansion"]) & (cents > 0)]] = True
    book_terminations(company, terms, end, stop, terminated, amendments, cents, bookings, rng)
    return Outcome(end=end, stop=stop, terminated=terminated, amended_cents=amended, expanded=expanded)


def waiting_days(rate: Floats, rng: np.random.Generator) -> Floats:
    """Days to an event at ``rate`` a year, exponential; never at rate 0."""
    unit = rng.standard_exponential(len(rate)) * DAYS_PER_YEAR
    return np.divide(unit, rate, out=np.full(len(rate), NEVER), where=rate > 0)


def draw_happenings(
    company: CompanyParameters, accounts: Accounts, terms: Terms, active: Floats, rng: np.random.Generator
) -> Happenings:
    """Events of a Poisson process in ``active`` days of each term, with their sizes.

    Exponential waiting times within a period are, jointly, a Poisson number of times spread evenly over it;
    the day is the floor of the time. y ~ Normal(nu, (1 - icc) sd^2), bounded as `greatest_size` says.
    """
    rows, kinds, times, sizes = [], [], [], []
    for kind in ACTIVITIES:
        count = rng.poisson(accounts.rates[kind][terms.account] * active / DAYS_PER_YEAR)
        row = np.repeat(np.arange(len(active)), count)
        within_sd = np.sqrt(1 - getattr(company, f"{kind}_size_icc")) * getattr(company, f"{kind}_size_sd")
        rows.append(row)
        kinds.append(np.full(len(row), KIND[kind]))
        times.append(rng.random(len(row)) * active[row])
        y = accounts.size_means[kind][terms.account[row]] + within_sd * rng.standard_normal(len(row))
        sizes.append(np.minimum(y, greatest_size(company, kind)))
    row, kind_code, time, y = (np.concatenate(parts) for parts in (rows, kinds, times, sizes))
    order = np.lexsort((time, row))
    day = terms.start[row] + np.floor(time).astype(np.int64)
    return Happenings(row=row[order], kind=kind_code[order], day=day[order], y=y[order])


def _only(happenings: Happenings, kept: Bools) -> Happenings:
    return Happenings(*(getattr(happenings, name)[kept] for name in ("row", "kind", "day", "y")))


def greatest_size(company: CompanyParameters, kind: str) -> float:
    """An expansion is at most max_ratio times the term, a change order or referral times a year at the base."""
    bounds = {"expansion": company.max_ratio, "contraction": np.inf}
    return float(np.log(bounds.get(kind, 12 * company.max_ratio)))


def whole_cents(amount: Floats) -> Cents:
    """A positive amount of currency in cents, at least one."""
    return np.maximum(np.rint(amount * 100), 1).astype(np.int64)


def book_one_offs(terms: Terms, happenings: Happenings, bookings: Bookings) -> None:
    """Change orders and referrals: amount = spell base * exp(y), booked and recognised at once."""
    events = _only(happenings, happenings.kind > KIND["contraction"])
    cents = whole_cents(terms.base[events.row] * np.exp(events.y))
    bookings.add(
        terms.account[events.row],
        events.kind,
        booked=events.day,
        start=events.day,
        end=events.day,
        cents=cents,
    )


def amend(terms: Terms, end: Days, events: Happenings, bookings: Bookings) -> Cents:
    """Book expansions and contractions; their cents, aligned with ``events`` (0: too small to be money).

    Expansion: amount = spell base * months of the term * exp(y). Contraction: amount = -logistic(y) * current
    MRR * months left, where current MRR moves by amount / months left at each. Both run to the term's end. An
    amendment cannot be booked before the term it amends.
    """
    cents = np.zeros(len(events.row), dtype=np.int64)
    current = terms.mrr.copy()
    first = np.searchsorted(events.row, events.row)  # rows are sorted: index of the row's first event
    rank = np.arange(len(events.row)) - first
    for turn in range(int(rank.max(initial=-1)) + 1):
        at = np.flatnonzero(rank == turn)
        row = events.row[at]
        months_left = (end[row] - events.day[at]) / DAYS_PER_MONTH
        raised = whole_cents(terms.base[row] * terms.months[row] * np.exp(events.y[at]))
        in_force = current[row] * months_left * 100
        cut = np.minimum(np.rint(logistic(events.y[at]) * in_force), np.ceil(in_force) - 1)
        cents[at] = np.where(events.kind[at] == KIND["expansion"], raised, -np.maximum(cut, 0).astype(np.int64))
        current[row] += cents[at] / 100 / months_left
    some = cents != 0
    row = events.row[some]
    bookings.add(
        terms.account[row],
        events.kind[some],
        booked=np.maximum(events.day[some], terms.booked[row]),
        start=events.day[some],
        end=end[row],
        cents=cents[some],
    )
    return cents


def book_terminations(
    company: CompanyParameters,
    terms: Terms,
    end: Days,
    stop: Days,
    terminated: Bools,
    amendments: Happenings,
    amendment_cents: Cents,
    bookings: Bookings,
    rng: np.random.Generator,
) -> None:
    """A churn event for each early termination: minus the unserved remainder where refunded, else 0.

    The remainder is that of the term and of each of its amendments, item by item, as they are recognised.
    """
    left = terms.cents - recognised_before(terms.cents, terms.start, end, stop)
    row = amendments.row
    np.add.at(left, row, amendment_cents - recognised_before(amendment_cents, amendments.day, end[row], stop[row]))
    refunded = rng.random(len(end)) < company.refund_share
    cents = np.where(refunded, -np.maximum(left, 0), 0)[terminated]
    gone = terms.at(terminated)
    day = stop[terminated]
    bookings.add(
        gone.account,
        KIND["churn"],
        booked=np.maximum(day, gone.booked),
        start=day,
        end=end[terminated],
        cents=cents,
    )


def decide(company: CompanyParameters, terms: Terms, outcome: Outcome, rng: np.random.Generator) -> Bools:
    """Whether each term is renewed at its end: probability theta^w; never after an early termination."""
    weight = step_weight(
        company,
        tenure=terms.tenure,
        months=terms.months,
        term=term_index(company, terms.months),
        klass=term_size_class(company, terms, outcome.amended_cents),
        number=terms.decisions + 1,
        expanded=outcome.expanded,
        cut=terms.previous == DOWN,
        year=calendar_year(outcome.end),
    )
    return (rng.random(len(weight)) < terms.theta**weight) & ~outcome.terminated


def term_index(company: CompanyParameters, months: Ints) -> Ints:
    """Position of each term length in ``term_values``."""
    values = np.array(company.term_values)
    order = np.argsort(values)
    return order[np.searchsorted(values[order], months)]


def give_notice(
    company: CompanyParameters, terms: Terms, end: Days, bookings: Bookings, rng: np.random.Generator
) -> None:
    """A churn event for a share of the lapses, effective at the term's end, booked with a notice lag."""
    given = np.flatnonzero(rng.random(len(end)) < company.notice_share)
    day = end[given]
    booked = day + draw_lags(company, company.notice_lag, len(given), rng)
    bookings.add(terms.account[given], KIND["churn"], booked=booked, start=day, end=day, cents=0)


def renew(
    company: CompanyParameters,
    accounts: Accounts,
    terms: Terms,
    outcome: Outcome,
    rows: Ints,
    rng: np.random.Generator,
) -> Terms:
    """The terms that follow renewed ones: months, carried MRR, direction, ratio, booking lag."""
    old = terms.at(rows)
    segment = accounts.segment[old.account]
    ended = term_index(company, old.months)
    months = np.array(company.term_values)[chosen_from(np.array(company.term_length)[ended], rng)]
    changed = np.abs(months - old.months) > 0.1 * old.months
    total = np.maximum(old.cents + outcome.amended_cents[rows], SMALLEST_CARRIED_SHARE * old.cents)
    lasting = old.mrr * (total / old.cents)
    klass = term_size_class(company, old, outcome.amended_cents[rows])
    q = logistic(logit(company.persistence) + group_effect(company, "persistence", segment, klass))
    lasts = (rng.random(len(rows)) < q) & (outcome.amended_cents[rows] != 0)
    carried = np.where(lasts, lasting, old.mrr)
    direction = draw_directions(company, segment, klass, np.where(changed, TERM_CHANGED_ROW, old.previous), rng)
    past = np.exp(old.log_mrr_sum / old.mrr_n)
    x, log_term = np.log(carried / past), np.log(months / old.months)
    cents = whole_cents(carried * draw_ratios(company, segment, klass, direction, x, log_term, rng) * months)
    return next_in_spell(
        old,
        start=outcome.end[rows],
        booked=outcome.end[rows] + draw_lags(company, company.booking_lag, len(rows), rng),
        months=months,
        cents=cents,
        direction=observed_directions(cents / 100 / months, old.mrr, lasting),
    )


def term_size_class(company: CompanyParameters, terms: Terms, amended_cents: Cents) -> Ints:
    """Size class of the terms' money with amendments, a month."""
    size = (terms.cents + amended_cents) / 100 / terms.months
    return size_class(company, np.maximum(size, SMALLEST_SIZE_SHARE * terms.base))


def group_effect(company: CompanyParameters, stem: str, segment: Ints, klass: Ints) -> Floats:
    """Effects of the segment and of the size class on one location parameter."""
    by_segment = np.array(getattr(company, f"{stem}_segment_effect"))[segment]
    return np.asarray(by_segment + np.array(getattr(company, f"{stem}_size_class_effect"))[klass])


def draw_directions(
    company: CompanyParameters, segment: Ints, klass: Ints, row: Ints, rng: np.random.Generator
) -> Ints:
    """DOWN, FLAT or UP by the row's softmax: logits (down, 0, up) with segment and size effects on down and up."""
    logits = np.array(company.change_logit)[row]
    down = np.exp(logits[:, 0] + group_effect(company, "change_down", segment, klass))
    up = np.exp(logits[:, 1] + group_effect(company, "change_up", segment, klass))
    return chosen_from(np.column_stack([down, np.ones(len(row)), up]), rng) + DOWN


def draw_ratios(
    company: CompanyParameters,
    segment: Ints,
    klass: Ints,
    direction: Ints,
    x: Floats,
    log_term: Floats,
    rng: np.random.Generator,
) -> Floats:
    """New MRR over carried MRR.

    y = alpha + segment and size effects - rho x + gamma log(term ratio) + sd eps given y > log .01 (smaller is flat),
    x = log(carried / geometric mean of the past);
    up: min(1 + exp(y), max_ratio); down: 1 - logistic(y); flat: 1.
    """
    share = rng.random(len(x))

    def y(side: str) -> npt.NDArray[np.float64]:
        alpha = getattr(company, f"change_{side}_size_mean")
        effect = group_effect(company, f"change_{side}_size", segment, klass)
        rho = getattr(company, f"change_{side}_size_reversion")
        gamma = getattr(company, f"change_{side}_size_term_slope")
        sd = getattr(company, f"change_{side}_size_sd")
        centre = alpha + effect - rho * x + gamma * log_term
        return np.asarray(truncnorm.ppf(share, (SMALLEST_SIZE - centre) / sd, np.inf, loc=centre, scale=sd))

    # 1 + exp(y) overflows only far beyond max_ratio.
    up = np.minimum(1 + np.exp(np.minimum(y("up"), 700.0)), company.max_ratio)
    return np.select([direction == UP, direction == DOWN], [up, logistic(-y("down"))], 1.0)


def observed_directions(mrr: Floats, carried_bare: Floats, carried_amended: Floats) -> Ints:
    """The direction that the ledger shows: against the nearer (in log) of MRR without and with amendments."""
    log_bare, log_amended = np.log(mrr / carried_bare), np.log(mrr / carried_amended)
    log_ratio = np.where(np.abs(log_amended) < np.abs(log_bare), log_amended, log_bare)
    return np.select([np.abs(log_ratio) <= FLAT_WITHIN, log_ratio > 0], [FLAT, UP], DOWN)


def grace_days(company: CompanyParameters, term_days: Days) -> Days:
    """Days after a term's end in which a new term renews it: a quarter of the term, 15 to 92, unless set."""
    if company.grace_days is not None:
        return np.full(len(term_days), company.grace_days)
    return np.clip(term_days // 4, 15, 92)


def come_back(
    company: CompanyParameters,
    accounts: Accounts,
    terms: Terms,
    outcome: Outcome,
    rows: Ints,
    rng: np.random.Generator,
) -> Terms:
    """First terms of new spells, for lapsed accounts that ever return.

    Waiting starts when grace is over; a return within it would be a renewal, so the day is the first whole
    day after the waiting time. Value = last MRR * exp(Normal(mean + segment effect, sd)).
    """
    wait = waiting_days(accounts.rates["reactivation"][terms.account[rows]], rng)
    ever = wait < NEVER
    rows, wait = rows[ever], wait[ever]
    old = terms.at(rows)
    grace = grace_days(company, outcome.end[rows] - old.start)
    segment = accounts.segment[old.account]
    ended = np.full(len(rows), len(company.term_values))
    months = np.array(company.term_values)[chosen_from(np.array(company.term_length)[ended], rng)]
    mean = company.return_value_mean + np.array(company.return_value_segment_effect)[segment]
    change = mean + company.return_value_sd * rng.standard_normal(len(rows))
    cents = whole_cents(old.mrr * np.minimum(np.exp(change), company.max_ratio) * months)
    mrr = cents / 100 / months
    # A wait beyond a century is as good as never; the bound keeps days whole numbers.
    start = outcome.stop[rows] + grace + np.ceil(np.minimum(wait, 100 * DAYS_PER_YEAR)).astype(np.int64)
    nothing = np.zeros(len(rows), dtype=np.int64)
    return Terms(
        account=old.account,
        spell=old.spell + 1,
        start=start,
        booked=start,
        months=months,
        cents=cents,
        base=mrr,
        previous=np.full(len(rows), FIRST),
        log_mrr_sum=np.log(mrr),
        mrr_n=nothing + 1,
        decisions=nothing,
        tenure=np.zeros(len(rows)),
        theta=draw_theta(*beta_shapes(company, segment, old.spell + 1), rng),
    )
