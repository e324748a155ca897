"""What the twin knows of one line under one draw: parameters by their names in the posterior, and how to draw."""

import math
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from clvforecast.calendars import FiscalCalendar
from clvforecast.cells.frame import Frame
from clvforecast.simulation.calendar import EPOCH
from clvforecast.simulation.parameters import LATER_YEARS, Draws, unseen_effect
from clvforecast.simulation.random import normal, uniform
from clvforecast.simulation.states import States
from clvforecast.simulation.twin_billing import Billing

EVENT_KINDS = ("expansion", "contraction", "change_order", "referral")
MAX_PRECISION = 1e6
Stream = NDArray[np.uint64]


@dataclass(frozen=True)
class Plan:
    """What a forecast is asked for. Days since 1970-01-01; ``by_booking_day``: money counts when it is booked.

    ``calendar`` gives the months that money is added up in, calendar months by default.
    ``billing``: cash is counted, billed this way. ``daily_cost``: of an active day, in currency of the value before the margin.
    """

    horizon_months: int
    annual_discount_rate: float
    seed: int
    grace_days: int | None = None
    max_ratio: float = 20.0
    known_by: int | None = None
    by_booking_day: bool = False
    calendar: FiscalCalendar | None = None
    billing: Billing | None = None
    daily_cost: float = 0.0

    @property
    def by_days_served(self) -> bool:
        """Whether money counts as it is served."""
        return not self.by_booking_day and self.billing is None


@dataclass(frozen=True)
class Piece:
    """What is assumed on the days [start, stop): see `steering`. ``rates`` by kind of event, and of termination."""

    start: int
    stop: int
    odds: float = 1.0
    points: float = 0.0
    uplift: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)
    share: float = 0.0
    mix: tuple[float, ...] = ()

    def rate(self, kind: str) -> float:
        """Factor of a rate."""
        return self.rates.get(kind, 1.0)

    def renewal(self, p: float) -> float:
        """A probability of renewal as it is assumed: its odds multiplied, then points added."""
        if p < 1:
            odds = self.odds * p / (1 - p)
            p = odds / (1 + odds)
        elif self.odds == 0:
            p = 0.0
        return min(max(p + self.points, 0.0), 1.0)


@dataclass(frozen=True)
class PlannedStep:
    """A planned step under one draw: units, months and a renewal's probability None as modelled.

    ``day`` is None where an event does not happen; a renewal comes where ``choice`` lies below its probability.
    """

    kind: str
    first: int
    last: int
    day: int | None
    units: int | None
    months: int | None
    probability: float | None
    choice: float
    stated: float | None = None  # probability that the model's is moved to, by a weight
    weight: float = 0.0

    def leaning(self, p: float) -> float:
        """A renewal's probability by the model, moved to the stated one on the scale of log odds."""
        if self.stated is None or not 0 < p < 1:
            return p
        odds = (p / (1 - p)) ** (1 - self.weight) * (self.stated / (1 - self.stated)) ** self.weight
        return odds / (1 + odds)


@dataclass(frozen=True)
class Circumstances:
    """What is given of a line beside its state."""

    stop_day: int | None = None
    pieces: tuple[Piece, ...] = ()
    steps: tuple[PlannedStep, ...] = ()

    @property
    def greatest(self) -> float:
        """The greatest factor of any rate, at least 1."""
        return max([1.0, *(factor for piece in self.pieces for factor in piece.rates.values())])


@dataclass(frozen=True)
class Line:
    """One line's state and one posterior draw, looked up by name."""

    states: States
    frame: Frame
    draws: Draws
    plan: Plan
    line: int
    draw: int
    given: Circumstances = field(default_factory=Circumstances)

    def state(self, name: str) -> float:
        """A number of the line's state."""
        return float(getattr(self.states, name)[self.line])

    def rows(self, pointer: str) -> range:
        """The line's rows in a table of states with offsets ``pointer``."""
        offsets = getattr(self.states, pointer)
        return range(int(offsets[self.line]), int(offsets[self.line + 1]))

    def parameter(self, name: str) -> float:
        """A scalar of the draw."""
        return float(self.draws[name][self.draw])

    def vector(self, name: str) -> NDArray[np.float64]:
        """A vector or table of the draw."""
        return np.asarray(self.draws[name][self.draw])

    def effects(self, prefix: str, size_class: int | None = None) -> float:
        """Segment effects of the line's levels, seen in training or not, and the effect of a size class if given."""
        n_columns = len(self.frame.location_columns)
        total = 0.0
        for column in self.states.columns[self.line]:
            if column < n_columns:
                total += self.vector(f"{prefix}_segment_effect")[column - 1]
            else:
                name, level = self.states.new_levels[column - n_columns]
                sd = self.draws[f"{prefix}_segment_sd"][:, self.frame.segments.index(name)]
                sd = sd * math.sqrt(1 + 1 / len(self.frame.levels[name]))
                total += unseen_effect(self.plan.seed, prefix, name, level, sd)[self.draw]
        if size_class is not None:
            name = (
                "size_class_effect" if prefix.startswith(("change_down", "change_up", "persistence")) else "size_effect"
            )
            total += self.vector(f"{prefix}_{name}")[size_class]
        return total

    @property
    def first_size_class(self) -> int:
        """Of the line's first base."""
        return int(self.state("size_class"))

    def beta(self, spell: int) -> tuple[float, float]:
        """a, b of a spell's theta: mu = a/(a + b) with logit mu additive, phi = 1/(a + b + 1)."""
        logit = log_odds(self.parameter("renewal_mu")) + self.effects("renewal")
        if spell > 0:
            logit += self.parameter("renewal_second_spell_effect")
        elif self.state("unknown"):
            logit += self.parameter("renewal_tenure_unknown_effect")
        precision = min(1 / self.parameter("renewal_phi") - 1, MAX_PRECISION)
        return logistic(logit) * precision, logistic(-logit) * precision

    def weight(self, term: int, size: int, number: int, expanded: int, cut: int) -> float:
        """exp(class effects) of a renewal decision."""
        return math.exp(
            self.vector("renewal_term_effect")[term]
            + self.vector("renewal_size_effect")[size]
            + self.vector("renewal_number_effect")[number]
            + self.parameter("renewal_expanded_effect") * expanded
            + self.parameter("renewal_cut_effect") * cut
        )

    def year_weight(self, year: int) -> float:
        """exp(effect) of a calendar year: known, drawn anew where it is not settled, or of any year far ahead; before, 1."""
        first, place = self.frame.years[0], year - self.frame.years[0]
        if place < 0:
            return 1.0
        if place < self.frame.settled_years:
            return math.exp(self.vector("renewal_year_effect")[place])
        origin = EPOCH + timedelta(days=int(self.states.as_of) + 1)
        end = (12 * origin.year + origin.month - 1 + self.plan.horizon_months) // 12 + LATER_YEARS
        sd, seed = self.draws["renewal_year_sd"], self.plan.seed
        effect = unseen_effect(seed, "renewal_year", "", "mean", sd / math.sqrt(len(self.frame.years)))
        if year <= max(end, first + self.frame.settled_years - 1):
            effect = effect + unseen_effect(seed, "renewal_year", "", str(year), sd)
        return math.exp(effect[self.draw])

    def clock(self, start: float, end: float) -> float:
        """t_k^c - t_(k-1)^c of two tenures in years."""
        c = self.parameter("renewal_c")
        return end**c - start**c

    def earlier_steps(self) -> float:
        """W(n): the steps of the decisions already taken in the spell that runs at the origin."""
        shape = (self.frame.n_term_classes, self.frame.n_size_classes, 5, 2, 2)
        total = 0.0
        for step in self.rows("st_ptr"):
            classes = (int(number) for number in np.unravel_index(self.states.st_class[step], shape))
            length = self.clock(float(self.states.st_t0[step]), float(self.states.st_t1[step]))
            total += length * self.weight(*classes) * self.year_weight(int(self.states.st_year[step]))
        return total

    def termination_rate(self) -> float:
        """zeta, a year under contract."""
        return self.parameter("termination_rate") * math.exp(self.effects("termination_rate", self.first_size_class))

    def rate_law(self, kind: str, events: int, years: float) -> tuple[float, float]:
        """r + n and r/m + T of lambda ~ Gamma(r + n, rate r/m + T); a return has no size effect."""
        mean = self.parameter(f"{kind}_rate")
        mean *= math.exp(self.effects(f"{kind}_rate", None if kind == "reactivation" else self.first_size_class))
        shape = self.parameter(f"{kind}_rate_shape")
        return shape + events, shape / mean + years

    def size_scales(self, kind: str) -> tuple[float, float]:
        """tau and sigma: SD between and within accounts; tau^2 = icc sd^2, sigma^2 = (1 - icc) sd^2."""
        sd, share = self.parameter(f"{kind}_size_sd"), self.parameter(f"{kind}_size_icc")
        return sd * math.sqrt(share), sd * math.sqrt(1 - share)

    def draw_size(self, kind: str, drawn: list[float], stream: Stream) -> float:
        """y given the line's sizes, those drawn before it too: nu has precision 1/tau^2 + n/sigma^2 and mean
        (nu_g/tau^2 + sum y/sigma^2) / precision, y the same mean and the variance 1/precision + sigma^2."""
        column = EVENT_KINDS.index(kind)
        n = self.states.size_n[self.line, column] + len(drawn)
        total = self.states.size_sum[self.line, column] + sum(drawn)
        tau, sigma = self.size_scales(kind)
        group = self.parameter(f"{kind}_size_mean") + self.effects(f"{kind}_size", self.first_size_class)
        precision = 1 / tau**2 + n / sigma**2
        mean = (group / tau**2 + total / sigma**2) / precision
        return float(mean + normal(stream) * math.sqrt(1 / precision + sigma**2))

    def share_by(self, name: str, days: float) -> float:
        """Share of bookings or notices at most ``days`` after a term's end, linear between the edges."""
        cumulative = np.concatenate([[0.0], np.cumsum(self.vector(name))])
        return float(np.interp(days, self.frame.lag_edges, cumulative / cumulative[-1]))

    def draw_lag(self, known: float, stream: Stream) -> int:
        """The first day by which the share of bookings reaches a uniform number above the ``known`` share."""
        p = known + uniform(stream) * (1 - known)
        first, last = int(self.frame.lag_edges[0]), int(self.frame.lag_edges[-1])
        return next((day for day in range(first + 1, last) if self.share_by("booking_lag", day) >= p), last)

    def piece_on(self, day: int) -> Piece | None:
        """What is assumed on a day; what was open at the origin is decided after it."""
        when = max(day, int(self.states.as_of) + 1)
        return next((piece for piece in self.given.pieces if piece.start <= when < piece.stop), None)

    def draw_months(self, row: int, stream: Stream, piece: Piece | None = None) -> int:
        """A term length, by the row of the ended term's class (or of a return)."""
        shares = self.vector("term_length")[row]
        if piece is not None:
            mix = np.diff(piece.mix, prepend=0.0) if piece.mix else shares
            shares = (1 - piece.share) * shares / shares.sum() + piece.share * mix
        return int(self.frame.term_values[pick(shares, stream)])


def pick(shares: NDArray[np.float64], stream: Stream) -> int:
    """A category drawn in proportion to ``shares``."""
    bounds = np.cumsum(shares)
    return min(int(np.searchsorted(bounds, uniform(stream) * bounds[-1], side="right")), len(shares) - 1)


def logistic(value: float) -> float:
    """1 / (1 + exp(-value))."""
    return 1 / (1 + math.exp(-value))


def log_odds(probability: float) -> float:
    """log(p / (1 - p))."""
    return math.log(probability / (1 - probability))


def log_beta_function(a: float, b: float) -> float:
    """log B(a, b)."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
