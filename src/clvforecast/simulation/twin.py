"""A plain twin of the kernel: one line, one draw, in ordinary Python, for tests.

It consumes the same random numbers in the same order, and is otherwise written from the forward model without
the kernel's economies and without its arrays: parameters are looked up by name, a life is lived first and
leaves dated bookings and periods of activity, and afterwards every booking is served day by day and the days
are added up.
"""

import math
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from clvforecast.simulation.calendar import EPOCH
from clvforecast.simulation.random import (
    EVENTS_BLOCK,
    STREAM_SLOTS,
    exponential,
    log_beta_variate,
    normal,
    start_stream,
    uniform,
)
from clvforecast.simulation.slots import UNITS_PER_CENT, Origin
from clvforecast.simulation.twin_billing import payments, receivables
from clvforecast.simulation.twin_line import (
    EVENT_KINDS,
    Line,
    Piece,
    PlannedStep,
    Stream,
    log_beta_function,
    log_odds,
    logistic,
    pick,
)
from clvforecast.simulation.twin_revenue import YEAR, Account, Activity, Booking, account_for, months_after

MONTH = 365.25 / 12
GREATEST_CENTS = 9.0e13
OPEN, NOTIFIED, TERMINATED = 0, 1, 2
FIRST, DOWN, FLAT, UP, TERM_CHANGED = range(5)
ORIGIN_OF = {kind: Origin[kind.upper()] for kind in EVENT_KINDS}


@dataclass
class Term:
    """A running term; ``number`` counts simulated terms, those on the books at the origin are 0."""

    number: int
    start: int
    end: int
    months: int
    amount: float
    amend: float
    expanded: bool
    mrr_now: float
    counted_mrr: float
    place: int = -1  # among the booked terms of the line

    def change(self, money: float, day: int) -> None:
        """Co-termed money from a day on: served over the rest of the term, which ARR takes for three months at least.

        Nor does ARR take it for more than the whole term.  Amendments that add up to nothing count nothing.
        """
        months_left = (self.end - day) / MONTH
        self.amend += money
        self.mrr_now += money / months_left
        self.counted_mrr += money / min(max(months_left, 3), self.months)
        if round(100 * self.amend) == 0:
            self.counted_mrr = self.mrr

    @property
    def mrr(self) -> float:
        """Monthly recurring revenue as signed."""
        return self.amount / self.months


@dataclass
class Life:
    """One line under one draw: its state while it is lived, and what it leaves behind."""

    line: Line
    stream: Stream = field(default_factory=lambda: np.zeros(STREAM_SLOTS, dtype=np.uint64))
    events: Stream = field(default_factory=lambda: np.zeros(STREAM_SLOTS, dtype=np.uint64))
    bookings: list[Booking] = field(default_factory=list)
    activity: list[Activity] = field(default_factory=list)
    next_renewal: float = math.nan
    beyond: float = 0.0
    days_beyond: float = 0.0
    changes: int = 0
    clips: int = 0
    terminations: int = 0
    # The account, for ever.
    sizes: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in EVENT_KINDS})
    years_active: float = 0.0
    bound: float = 0.0
    wait: float = 0.0
    returns: list[float] | None = None
    replaced: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EVENT_KINDS, 0))
    weighted: dict[str, float] = field(default_factory=lambda: dict.fromkeys(EVENT_KINDS, 0.0))
    taken: set[int] = field(default_factory=set)
    decided: list[tuple[int, float, float]] = field(default_factory=list)  # day, MRR due as ARR counts it, MRR renewed
    late: int = 0
    in_between: list[Activity] = field(default_factory=list)  # from a term's end to where its booked renewal begins
    not_kept: bool = False
    # The present spell.
    spell: int = 0
    direction: int = FIRST
    decisions: int = 0
    tenure: float = 0.0
    log_mrrs: float = 0.0
    n_mrrs: float = 0.0
    base: float = 0.0
    log_theta: float | None = None
    work: float = 0.0  # W of what it has renewed, as far as that speaks for it
    origin: Origin = Origin.COMMITTED
    n_signed: int = 0

    @property
    def first_day(self) -> int:
        """First day of the forecast."""
        return int(self.line.states.as_of) + 1

    @property
    def horizon(self) -> int:
        """First day after the forecast."""
        return months_after(self.first_day, self.line.plan.horizon_months)

    @property
    def log_discount(self) -> float:
        """Continuous discount rate a year."""
        return math.log1p(self.line.plan.annual_discount_rate)

    def account(self) -> Account:
        """What the life brings, added up day by day."""
        return account_for(
            self.bookings,
            self.activity,
            self.first_day,
            self.horizon,
            self.log_discount,
            self.line.plan.by_booking_day,
            self.line.plan.calendar,
            self.paid if self.line.plan.billing is not None else None,
            self.line.plan.daily_cost,
        )

    def paid(self, booking: Booking) -> list[tuple[int, int]]:
        """(day, units) of the cash of a booking."""
        assert self.line.plan.billing is not None
        return payments(booking, self.line.plan.billing)

    def begin(self) -> list[Term]:
        """State at the origin, the money on the books, the rates of events; returns the booked terms."""
        line, states = self.line, self.line.states
        start_stream(self.stream, states.line_key[line.line], line.plan.seed, line.draw)
        start_stream(self.events, states.line_key[line.line], line.plan.seed, line.draw, EVENTS_BLOCK)
        self.spell, self.direction = int(line.state("spell")), int(line.state("prev"))
        self.decisions, self.tenure = int(line.state("n_decisions")), line.state("tenure")
        self.log_mrrs, self.n_mrrs = line.state("log_mrr_sum"), line.state("mrr_n")
        self.base, self.work = line.state("spell_base"), line.earlier_steps()
        self.draw_wait()
        if line.plan.billing is not None:
            self.bookings += receivables(states, line.rows("rc_ptr"))
        for item in line.rows("ci_ptr") if line.plan.billing is None else ():
            start, end = int(states.ci_start[item]), int(states.ci_end[item])
            cents = int(states.ci_cents[item])
            served = round(Fraction(cents * max(self.first_day - start, 0), end - start))
            units = (cents - served) * UNITS_PER_CENT
            number = 0 if states.ci_tied[item] else None
            first = max(start, self.first_day)
            self.bookings.append(Booking(Origin.COMMITTED, self.first_day - 1, first, end, units, number))
        terms = [self.booked_term(row) for row in line.rows("bt_ptr")]
        for earlier, later in pairwise(terms):  # an early renewal ends the term before it
            earlier.end = max(min(earlier.end, later.start), earlier.start + 1)
        return terms

    def booked_term(self, row: int) -> Term:
        """A term on the books at the origin."""
        states = self.line.states
        return Term(
            number=0,
            start=int(states.bt_start[row]),
            end=int(states.bt_end[row]),
            months=int(states.bt_months[row]),
            amount=float(states.bt_amount[row]),
            amend=float(states.bt_amend[row]),
            expanded=bool(states.bt_expanded[row]),
            mrr_now=float(states.bt_mrr_now[row]),
            counted_mrr=float(states.bt_counted_mrr[row]),
            place=row - self.line.rows("bt_ptr").start,
        )

    def live(self) -> None:
        """From the origin to the horizon."""
        terms = self.begin()
        term, coming = terms[0], terms[1:]
        status = int(self.line.state("status"))
        if self.stop_day == self.first_day:
            self.stop()
            return
        while True:
            if status == TERMINATED:
                lapse_day = int(self.line.state("lapse_day"))
            else:
                stop = self.pass_term(term) if term.end > self.first_day else None
                if self.stop_day is not None and (term.end if stop is None else stop) == self.stop_day:
                    self.stop()
                    return
                if stop is not None:
                    self.terminate(term, stop)
                    lapse_day = stop
                elif term.end >= self.horizon:
                    self.reach_horizon(term, coming, told=status != OPEN)
                    return
                elif coming:
                    follows = coming[0].start <= term.end + self.grace(term)
                    if term.end > self.first_day:
                        self.decided.append((term.end, term.counted_mrr, coming[0].mrr if follows else 0.0))
                    if follows:
                        until = coming[0].start if self.stop_day is None else min(coming[0].start, self.stop_day)
                        self.in_between += self.active(term, term.end, until) if until > term.end else []
                    term, coming = coming[0], coming[1:]
                    continue
                else:
                    renewal = self.decide(term) if status == OPEN else None
                    early = status == NOTIFIED and term.end < months_after(term.start, term.months)
                    if status == OPEN or (term.end > self.first_day and not early):
                        self.decided.append((term.end, term.counted_mrr, renewal.mrr if renewal else 0.0))
                    if renewal is not None:
                        term = renewal
                        continue
                    lapse_day = term.end
            returned = self.come_back(term, lapse_day)
            if returned is None:
                self.stop()
                return
            term, coming, status = returned, [], OPEN

    def intensities(self) -> list[float]:
        """Events a year of each kind, (r + n)/(r/m + T) with what has happened since the origin, and of termination."""
        line = self.line
        found = []
        for kind, before in zip(EVENT_KINDS, line.states.n_events[line.line], strict=True):
            events = int(before) + len(self.sizes[kind]) + self.replaced[kind]
            shape, exposure = line.rate_law(
                kind, events, line.state("T_active") + self.years_active + self.weighted[kind]
            )
            found.append(shape / exposure)
        return [*found, line.termination_rate()]

    @property
    def stop_day(self) -> int | None:
        """The day on which all service ends, where it is in the window."""
        day = self.line.given.stop_day
        return None if day is None or day >= self.horizon else max(day, self.first_day)

    def draw_wait(self) -> None:
        """Years of activity until an event may come, at the intensity now, which will only fall until then."""
        self.bound = self.line.given.greatest * sum(self.intensities())
        self.wait = exponential(self.events) / self.bound

    def pass_years(self, clock: float, years: float) -> None:
        """Activity without an event: time under a rate that is assumed g-fold counts g-fold."""
        self.years_active += years
        for piece in self.line.given.pieces:
            days = max(min(clock + years * YEAR, piece.stop) - max(clock, piece.start), 0.0)
            for kind in EVENT_KINDS:
                self.weighted[kind] += (piece.rate(kind) - 1) * days / YEAR

    def event_on(self, day: int) -> int | None:
        """Place of the kind of event that comes on a day when the wait is over (after the kinds, termination), or None."""
        piece, greatest = self.line.piece_on(day) or Piece(0, 0), self.line.given.greatest
        hazards = self.intensities()
        factors = [piece.rate(kind) for kind in (*EVENT_KINDS, "termination")]
        shares = [(rate * hazard, (greatest - rate) * hazard) for rate, hazard in zip(factors, hazards, strict=True)]
        found = pick(np.array([*np.ravel(shares), self.bound - greatest * sum(hazards)]), self.events)
        kind = found // 2 if found < 2 * len(factors) else None
        refused = kind is not None and found % 2 == 1
        replaced = kind is not None and any(
            step.kind == [*EVENT_KINDS, "termination"][kind] and step.first <= day <= step.last
            for step in self.line.given.steps
        )
        if replaced and not refused:
            self.replaced[EVENT_KINDS[found // 2]] += 1  # for what is learned of the rate it came
        self.not_kept = (refused and greatest == 1) or (replaced and not refused)
        return None if refused or replaced else kind

    def next_planned(self, first: int, stop: int) -> tuple[int, PlannedStep] | None:
        """The first planned event that happens in [first, stop), and its place."""
        coming = [
            (step.day, place, step)
            for place, step in enumerate(self.line.given.steps)
            if step.kind in EVENT_KINDS
            and step.day is not None
            and place not in self.taken
            and first <= step.day < stop
        ]
        return min(coming, key=lambda found: found[:2])[1:] if coming else None

    def active(self, term: Term, start: int, stop: int) -> list[Activity]:
        """Days [start, stop) at what is in force: without the amendments on the books that begin later."""
        states = self.line.states
        later = [row for row in self.line.rows("la_ptr") if states.la_term[row] == term.place]
        days = sorted({start, stop, *(int(states.la_day[row]) for row in later if start < states.la_day[row] < stop)})
        found = []
        for first, last in pairwise(days):
            ahead = [row for row in later if states.la_day[row] > first]
            mrr = term.mrr_now - sum(float(states.la_mrr[row]) for row in ahead)
            found.append(
                Activity(first, last, mrr, term.counted_mrr - sum(float(states.la_counted[row]) for row in ahead))
            )
        return found

    def mrr_on(self, term: Term, day: int) -> float:
        """Monthly revenue in force, at least none."""
        return max(self.active(term, day, day + 1)[0].mrr, 0.0)

    def pass_term(self, term: Term) -> int | None:
        """Events inside the term and the window; the day on which it ends early, or None."""
        now = max(term.start, self.first_day)
        stop = term.end if self.stop_day is None else min(term.end, self.stop_day)
        clock, end = float(now), min(stop, self.horizon)
        while True:
            planned = self.next_planned(now, end)
            until = end if planned is None else planned[1].day
            assert until is not None
            if clock + self.wait * YEAR < until:
                self.pass_years(clock, self.wait)
                clock += self.wait * YEAR
                day = math.floor(clock)
                kind = self.event_on(day)
                if kind is None or kind == len(EVENT_KINDS):
                    self.draw_wait()
                    if self.not_kept:
                        normal(self.events)  # its size, so that what follows is alike
                    if kind is None:
                        continue
                    self.activity += self.active(term, now, day)
                    return day
                self.activity += self.active(term, now, day)
                now = day
                self.sizes[EVENT_KINDS[kind]].append(math.nan)  # counted before its size is drawn
                self.draw_wait()
                self.happen(term, EVENT_KINDS[kind], now)
                continue
            self.wait -= (until - clock) / YEAR
            self.pass_years(clock, (until - clock) / YEAR)
            if planned is None:
                self.activity += self.active(term, now, stop)
                return None if stop == term.end else stop
            self.activity += self.active(term, now, until)
            now, clock = until, float(until)
            self.taken.add(planned[0])
            self.happen_as_planned(term, planned[1], until)

    def happen_as_planned(self, term: Term, step: PlannedStep, day: int) -> None:
        """A planned event on its day; a contraction takes at most all but a ten-thousandth of the MRR in force."""
        units = step.units or 0
        if step.kind == "change_order":
            self.book(Origin.CHANGE_ORDER, day, day, day + 1, units, term=None)
            return
        months_left = (term.end - day) / MONTH
        if step.kind == "contraction":
            units = max(units, self.units(-0.9999 * self.mrr_on(term, day) * months_left))
        term.expanded = term.expanded or step.kind == "expansion"
        self.book(ORIGIN_OF[step.kind], day, day, term.end, units, term.number)
        term.change(units / UNITS_PER_CENT / 100, day)

    def happen(self, term: Term, kind: str, day: int) -> None:
        """One expansion, contraction, change order or referral."""
        y = self.line.draw_size(kind, self.sizes[kind][:-1], self.events)
        self.sizes[kind][-1] = y
        if kind in ("change_order", "referral"):
            self.book(
                ORIGIN_OF[kind],
                day,
                day,
                day + 1,
                self.units(self.base * self.multiple(y, 12 * self.line.plan.max_ratio)),
                term=None,
            )
            return
        months_left = (term.end - day) / MONTH
        if kind == "expansion":
            units = self.units(self.base * term.months * self.multiple(y, self.line.plan.max_ratio))
            term.expanded = True
        else:
            units = self.units(-logistic(y) * self.mrr_on(term, day) * months_left)
        self.book(ORIGIN_OF[kind], day, day, term.end, units, term.number)
        term.change(units / UNITS_PER_CENT / 100, day)

    def units(self, amount: float) -> int:
        """Currency in whole cents, in the kernel's units."""
        cents = amount * 100
        if not abs(cents) < GREATEST_CENTS:
            self.clips += 1
            cents = math.copysign(GREATEST_CENTS, cents)
        return math.floor(cents + 0.5) * UNITS_PER_CENT

    def book(self, origin: Origin, day: int, start: int, end: int, units: int, term: int | None) -> None:
        """A new booking, unless it becomes known too late to count."""
        known_by = self.line.plan.known_by
        if known_by is None or day <= known_by:
            self.bookings.append(Booking(origin, day, start, end, units, term))

    def terminate(self, term: Term, day: int) -> None:
        """Early termination: with the refund probability, what is unserved of the term's bookings is de-booked."""
        self.terminations += 1
        known_by = self.line.plan.known_by
        if uniform(self.events) < self.line.parameter("refund_share") and (known_by is None or day <= known_by):
            self.take_back(term.number, day)

    def stop(self) -> None:
        """Where all service ends on a day, de-book what is unserved then and is not yet de-booked."""
        if self.stop_day is not None:
            self.bookings = [
                replace(booking, cut=self.stop_day) if booking.cut is None else booking for booking in self.bookings
            ]

    def take_back(self, number: int, day: int) -> None:
        """De-book what is unserved on a day of a term's bookings (0: of all that was on the books)."""
        self.bookings = [replace(booking, cut=day) if booking.term == number else booking for booking in self.bookings]

    def multiple(self, y: float, bound: float) -> float:
        """exp(y), at most ``bound``."""
        if math.exp(y) > bound:
            self.clips += 1
        return min(math.exp(y), bound)

    def step(self, term: Term) -> float:
        """(t_k^c - t_(k-1)^c) exp(class effects) of the decision at the term's end, in an average year."""
        size = max((term.amount + term.amend) / term.months, 1e-9 * self.base)
        weight = self.line.weight(
            term=int(self.line.frame.term_class_of(term.months)),
            size=sum(math.log(size) >= edge for edge in self.line.frame.size_edges),
            number=min(self.decisions, 4),
            expanded=int(term.expanded),
            cut=int(self.direction == DOWN),
        )
        return self.line.clock(self.tenure, self.tenure + term.months / 12) * weight

    def dated_step(self, term: Term) -> float:
        """`step` in the year in which the term ends."""
        return self.step(term) * self.line.year_weight((EPOCH + timedelta(days=term.end)).year)

    def open_probability(self, term: Term) -> tuple[float, float]:
        """P(renews | not booked and not notified by as_of), and F, the share of bookings made by then.

        p = S(n+1)/S(n) = B(a + W + w, b)/B(a + W, b); P = p (1 - F) / (p (1 - F) + (1 - p)(1 - psi G)).
        """
        a, b = self.line.beta(self.spell)
        a, w = a + self.line.earlier_steps(), self.dated_step(term)
        p = math.exp(log_beta_function(a + w, b) - log_beta_function(a, b))
        waited = self.first_day - 1 - term.end
        booked = self.line.share_by("booking_lag", waited)
        notified = self.line.parameter("notice_share") * self.line.share_by("notice_lag", waited)
        renews, lapses = p * (1 - booked), (1 - p) * (1 - notified)
        open_still = renews / (renews + lapses) if renews + lapses > 0 else 0.0
        if open_still > 0:
            self.next_renewal = open_still
        return open_still, booked

    def decide(self, term: Term) -> Term | None:
        """The decision at the term's end: the renewal, or None. Theta is drawn after the open decision's outcome."""
        known, w = 0.0, self.dated_step(term)
        piece, place = self.line.piece_on(term.end), self.planned_renewal(term)
        step = None if place is None else self.line.given.steps[place]
        if place is not None:
            self.taken.add(place)
        planned = None if step is None else step.probability
        if self.log_theta is not None:
            p = math.exp(w * self.log_theta)
            choice = math.exp(-exponential(self.stream))
            by_itself = choice < p
            before = p if planned is None else planned
            assumed = before if step is None or planned is not None else step.leaning(before)
            assumed = assumed if piece is None else piece.renewal(assumed)
            if step is not None and planned is not None:
                choice = step.choice
            renewed = choice < assumed
            if renewed and planned is not None and not by_itself:
                self.log_theta = self.theta_as_planned(w, term.end)
        else:
            p, known = self.open_probability(term)
            choice = uniform(self.stream)
            before = p if planned is None else planned
            before = before if step is None or planned is not None else step.leaning(before)
            assumed = piece.renewal(before) if piece is not None and (p > 0 or planned is not None) else before
            if step is not None and planned is not None:
                choice = step.choice
            renewed = choice < assumed
            if p > 0 or assumed > 0:
                self.next_renewal = assumed
            if renewed:
                self.log_theta = self.theta_of_renewed(w, rescued=choice >= before)
                self.late += term.end < self.first_day
        if renewed:
            self.work += w * ((1 - assumed) / (1 - before) if assumed > before else 1)
        self.tenure += term.months / 12
        return self.renew(term, known, step) if renewed else None

    def planned_renewal(self, term: Term) -> int | None:
        """Place of the planned renewal that the decision at a term's end is, if none ends nearer: the nearest."""
        day, following = term.end, 2 * term.end - term.start
        fitting = [
            (abs(day - (step.first + step.last) // 2), place)
            for place, step in enumerate(self.line.given.steps)
            if step.kind == "renewal"
            and place not in self.taken
            and step.first <= day <= step.last
            and abs(day - (step.first + step.last) // 2) <= abs(following - (step.first + step.last) // 2)
        ]
        return min(fitting)[1] if fitting else None

    def theta_of_renewed(self, w: float, rescued: bool) -> float:
        """log theta after a renewal; of a line that would have lapsed, by accepting the share 1 - theta^w."""
        a, b = self.line.beta(self.spell)
        a += self.work
        if not rescued:
            return log_beta_variate(self.stream, a + w, b)
        while True:
            log_theta = log_beta_variate(self.stream, a, b)
            if uniform(self.stream) < 1 - math.exp(w * log_theta):
                return log_theta

    def theta_as_planned(self, w: float, day: int) -> float:
        """log theta given all renewals and one more, by numbers of its own day."""
        aside = np.zeros(STREAM_SLOTS, dtype=np.uint64)
        states, plan = self.line.states, self.line.plan
        block = 3 * 2**30 + 2**16 * (day % 2**14)
        start_stream(aside, states.line_key[self.line.line], plan.seed, self.line.draw, block)
        a, b = self.line.beta(self.spell)
        return log_beta_variate(aside, a + self.work + w, b)

    def renew(self, term: Term, known: float, step: PlannedStep | None = None) -> Term:
        """The next term, booked with a lag; what a planned step says of its length and amount goes first."""
        lag = self.line.draw_lag(known, self.stream) if self.booking_day_matters(term) else 0
        booked_day = term.end + lag
        if step is not None and step.probability is not None and step.day is not None:
            booked_day = step.day
        if self.stop_day is not None:
            booked_day = min(booked_day, self.stop_day - 1)
        booked_day = max(booked_day, self.first_day)
        piece = self.line.piece_on(term.end)
        months = self.line.draw_months(int(self.line.frame.term_class_of(term.months)), self.stream, piece)
        if step is not None and step.months is not None:
            months = step.months
        bare, amended = term.mrr, term.mrr * max(1 + term.amend / term.amount, 0.01)
        carried, factor = bare, 1.0
        choice = uniform(self.stream)
        if term.amend != 0:
            effect = self.line.effects("persistence", self.size_class(term))
            if choice < logistic(log_odds(self.line.parameter("persistence")) + effect):
                carried = amended
        if step is not None and step.units is not None:
            mrr = step.units / UNITS_PER_CENT / 100 / months
        else:
            factor = 1.0 if piece is None else 1 + piece.uplift
            mrr = factor * (carried * self.ratio(term, months, carried))
            self.log_mrrs += self.n_mrrs * math.log(factor)
        if self.origin == Origin.COMMITTED:
            self.origin = Origin.RENEWAL
        renewal = self.sign(term.end, months, mrr, booked_day)
        seen = min(
            renewal.mrr / factor / bare, renewal.mrr / factor / amended, key=lambda change: abs(math.log(change))
        )
        self.direction = FLAT if abs(math.log(seen)) <= math.log(1.01) else UP if seen > 1 else DOWN
        self.decisions += 1
        return renewal

    def booking_day_matters(self, term: Term) -> bool:
        """Not for service that begins in the window and is sure to be known in time."""
        plan, latest = self.line.plan, term.end + max(float(self.line.frame.lag_edges[-1]), 0.0)
        late = plan.known_by is not None and latest > plan.known_by
        return not plan.by_days_served or term.end < self.first_day or late

    def ratio(self, term: Term, months: int, carried: float) -> float:
        """New MRR over carried MRR: 1 - logistic(y) down, 1 flat, 1 + exp(y) up, at most ``max_ratio``."""
        line = self.line
        row = TERM_CHANGED if abs(months - term.months) > 0.1 * term.months else self.direction
        logits = line.vector("change_logit")[row]
        effects = [line.effects(f"change_{side}", self.size_class(term)) for side in ("down", "up")]
        odds = np.array([math.exp(logits[0] + effects[0]), math.exp(logits[1] + effects[1]), 1.0])
        side = ("down", "up", "flat")[pick(odds, self.stream)]
        if side == "flat":
            return 1.0
        self.changes += 1
        name = f"change_{side}_size"
        x = math.log(carried / math.exp(self.log_mrrs / self.n_mrrs))
        y = line.parameter(f"{name}_mean") + line.effects(name, self.size_class(term))
        y -= line.parameter(f"{name}_reversion") * x
        y += line.parameter(f"{name}_term_slope") * math.log(months / term.months)
        # Smaller changes would have been flat: the normal law is cut off at the edge of the band.
        sd = line.parameter(f"{name}_sd")
        outside = (y - math.log(0.01)) / sd
        if outside > 1:
            y += sd * next(z for z in iter(lambda: normal(self.stream), None) if z > -outside)
        else:
            y -= sd * float(ndtri_exp(math.log(uniform(self.stream)) + log_ndtr(outside)))
        ratio = logistic(-y) if side == "down" else 1 + math.exp(y)
        if ratio > line.plan.max_ratio:
            self.clips += 1
        return min(ratio, line.plan.max_ratio)

    def size_class(self, term: Term) -> int:
        """Of the term's money with its amendments, a month."""
        money = max((term.amount + term.amend) / term.months, 1e-9 * self.base)
        return int(self.line.frame.size_class_of(money))

    def sign(self, start: int, months: int, mrr: float, booked_day: int) -> Term:
        """A new term, on the books from ``booked_day``."""
        units = max(self.units(mrr * months), UNITS_PER_CENT)
        amount = units / UNITS_PER_CENT / 100
        end = months_after(start, months)
        self.n_signed += 1
        self.book(self.origin, booked_day, start, end, units, self.n_signed)
        self.log_mrrs += math.log(amount / months)
        self.n_mrrs += 1
        mrr = amount / months
        return Term(self.n_signed, start, end, months, amount, 0.0, expanded=False, mrr_now=mrr, counted_mrr=mrr)

    def grace(self, term: Term) -> int:
        """Days after a term's end in which another one renews it."""
        days = self.line.plan.grace_days
        return min(92, max(15, (term.end - term.start) // 4)) if days is None else days

    def come_back(self, term: Term, lapse_day: int) -> Term | None:
        """The first term of a new spell, or None when none comes before the horizon."""
        line = self.line
        waiting_from = lapse_day + self.grace(term)
        now = max(waiting_from, self.first_day)
        if self.returns is None:
            self.returns = [line.state("T_lapsed") + (now - waiting_from) / YEAR]
        end = self.horizon if self.stop_day is None else self.stop_day
        if now + 1 >= self.horizon:
            return None
        events = int(line.state("n_returns")) + len(self.returns) - 1
        shape, exposure = line.rate_law("reactivation", events, sum(self.returns))
        waited = exposure * (uniform(self.stream) ** (-1 / shape) - 1)
        day = now + math.floor(waited * YEAR) + 1
        if now + waited * YEAR + 1 >= end:
            return None
        self.returns.append(waited)
        change = line.parameter("return_value_mean") + line.effects("return_value")
        change += line.parameter("return_value_sd") * normal(self.stream)
        multiple = self.multiple(change, line.plan.max_ratio)
        months = line.draw_months(-1, self.stream)
        self.spell += 1
        self.direction, self.origin = FIRST, Origin.REACTIVATION
        self.decisions, self.tenure, self.log_mrrs, self.n_mrrs = 0, 0.0, 0.0, 0.0
        self.log_theta = log_beta_variate(self.stream, *line.beta(self.spell))
        self.work = 0.0
        returned = self.sign(day, months, term.mrr * multiple, day)
        self.base = returned.mrr
        return returned

    def reach_horizon(self, term: Term, coming: list[Term], told: bool) -> None:
        """A line under contract at the horizon: its open decision if that lies beyond, and its value there."""
        last = coming[-1] if coming else term
        if self.log_theta is None and not told:
            self.open_probability(last)
        if self.log_discount > 0:
            for booked in [term, *coming]:
                start = max(booked.start, self.horizon)
                times = (start - self.first_day) / YEAR, (booked.end - self.first_day) / YEAR
                self.days_beyond += YEAR * self.flow_value(1 / 12, *times)
                if self.line.plan.by_days_served:
                    self.beyond += self.flow_value(booked.mrr_now, *times)
            if not told:
                self.beyond += self.renewals_beyond(last)

    def renewals_beyond(self, term: Term) -> float:
        """Discounted value of equal terms after the last one that is booked, while each is renewed.

        Their price is that of the last term, with its amendments in the share of cases in which these last:
        sum over k of V discount(start of term k) prod over j <= k of theta^(w_j), until nothing is left.
        """
        if self.log_theta is None:
            a, b = self.line.beta(self.spell)
            self.log_theta = log_beta_variate(self.stream, a + self.line.earlier_steps(), b)
        lasts = logistic(
            log_odds(self.line.parameter("persistence")) + self.line.effects("persistence", self.size_class(term))
        )
        lift = 1 - lasts + lasts * max(1 + term.amend / term.amount, 0.01)
        years = term.months / 12
        start, survival, total = (term.end - self.first_day) / YEAR, 1.0, 0.0
        weight = self.dated_step(term)
        for _ in range(100_000):
            survival *= math.exp(weight * self.log_theta)
            if self.line.plan.billing is not None:
                value = lift * term.mrr * self.line.plan.billing.worth(term.months, self.log_discount)
                value *= math.exp(-self.log_discount * start)
            elif self.line.plan.by_booking_day:
                value = lift * term.amount * math.exp(-self.log_discount * start)
            else:
                value = self.flow_value(lift * term.mrr, start, start + years)
            total += survival * value
            self.days_beyond += survival * YEAR * self.flow_value(1 / 12, start, start + years)
            self.tenure, start = self.tenure + years, start + years
            self.decisions, self.direction = self.decisions + 1, FLAT
            term = replace(term, amend=0.0, expanded=False)
            weight = self.step(term) * self.line.year_weight(9999)
            if survival * value < 1e-12 * total:
                break
        return total

    def flow_value(self, mrr: float, start: float, end: float) -> float:
        """Present value of a monthly revenue that flows evenly between two times in years."""
        rate = self.log_discount
        return 12 * mrr * (math.exp(-rate * start) - math.exp(-rate * end)) / rate


def live(line: Line) -> Life:
    """Live one line under one draw."""
    life = Life(line)
    life.live()
    return life
