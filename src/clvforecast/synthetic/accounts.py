"""The accounts of a synthetic company: segment, first term, and the latents that stay with an account."""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, gamma, norm

from clvforecast.synthetic.bookings import Ints
from clvforecast.synthetic.parameters import ACTIVITIES, CompanyParameters
from clvforecast.synthetic.service import Cents, Days

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FIRST, DOWN, FLAT, UP = range(4)


@dataclass(frozen=True)
class Accounts:
    """What stays with an account: one value each in arrays over accounts."""

    segment: Ints
    size_class: Ints  # of the first term's MRR, for rates and sizes
    rates: dict[str, Floats]  # lambda of each activity and of reactivation, zeta of termination: a year
    size_means: dict[str, Floats]  # nu of each activity


@dataclass(frozen=True)
class Terms:
    """The current term of each account that is still running: arrays aligned with ``account``."""

    account: Ints
    spell: Ints
    start: Days
    booked: Days
    months: Ints
    cents: Cents
    base: Floats  # MRR of the spell's first term
    previous: Ints  # direction at the renewal that began this term: FIRST, DOWN, FLAT, UP
    log_mrr_sum: Floats  # of the spell's terms up to this one
    mrr_n: Ints
    decisions: Ints  # taken in this spell before this term
    tenure: Floats  # years at the start of this term
    theta: Floats  # of this spell

    @property
    def mrr(self) -> Floats:
        """Monthly recurring revenue of the term as signed: amount / months."""
        return self.cents / 100 / self.months

    def at(self, rows: Ints | Bools) -> "Terms":
        """These rows only."""
        return Terms(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @staticmethod
    def joined(parts: list["Terms"]) -> "Terms":
        """All the rows of the parts."""
        names = [field.name for field in fields(Terms)]
        return Terms(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def logit(probability: float) -> float:
    """log(p / (1 - p)); infinite at 0 and 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(probability) - np.log1p(-probability))


def logistic(value: Floats) -> Floats:
    """1 / (1 + exp(-value))."""
    return np.exp(-np.logaddexp(0.0, -value))


def size_class(company: CompanyParameters, mrr: Floats) -> Ints:
    """Size class of a monthly amount: the number of edges at or below its log."""
    return np.searchsorted(np.array(company.size_edges), np.log(mrr), side="right").astype(np.int64)


def chosen_from(probabilities: Floats, rng: np.random.Generator) -> Ints:
    """One column a row, drawn with the row's probabilities (rows x columns)."""
    cumulative = np.cumsum(probabilities, axis=1)
    uniform = rng.random(len(probabilities)) * cumulative[:, -1]
    return (uniform[:, None] >= cumulative).sum(axis=1)


def draw_lags(company: CompanyParameters, shares: tuple[float, ...], n: int, rng: np.random.Generator) -> Ints:
    """Lags in days: a bin drawn by its share, then a whole day in it, evenly: (edge j, edge j + 1]."""
    edges = np.array(company.lag_edges, dtype=np.int64)
    lag_bin = chosen_from(np.tile(np.array(shares), (n, 1)), rng)
    return rng.integers(edges[lag_bin] + 1, edges[lag_bin + 1], endpoint=True)


def beta_shapes(company: CompanyParameters, segment: Ints, spell: Ints) -> tuple[Floats, Floats]:
    """a and b of a spell's theta ~ Beta(a, b).

    mu = a / (a + b), logit mu = logit(renewal_mu) + segment effect + second-spell effect; phi = 1 / (a + b +
    1).
    """
    effect = np.array(company.renewal_segment_effect)[segment] + company.renewal_second_spell_effect * (spell > 0)
    mu = logistic(logit(company.renewal_mu) + effect)
    a_plus_b = 1 / company.renewal_phi - 1
    return mu * a_plus_b, (1 - mu) * a_plus_b


def draw_theta(a: Floats, b: Floats, rng: np.random.Generator) -> Floats:
    """theta ~ Beta(a, b)."""
    return rng.beta(a, b)


def draw_accounts(company: CompanyParameters, segment: Ints, terms: Terms, rng: np.random.Generator) -> Accounts:
    """Latents of every account, from its segment and the size class of its first term.

    lambda_k ~ Gamma(shape r, mean m), log m = log rate + segment effect + size effect;
    nu_k ~ Normal(mean + segment effect + size effect, icc sd^2).
    """
    klass = size_class(company, terms.mrr)
    rates, size_means = {}, {}
    for kind in (*ACTIVITIES, "reactivation"):
        mean = _rate_mean(company, kind, segment, klass)
        shape = getattr(company, f"{kind}_rate_shape")
        if kind == "expansion" and company.loyalty_correlation:
            rates[kind] = mean * _loyal_gamma(company, shape, segment, terms, rng)
        else:
            rates[kind] = mean * rng.gamma(shape, 1 / shape, len(segment))
    rates["termination"] = _rate_mean(company, "termination", segment, klass)
    for kind in ACTIVITIES:
        mean = getattr(company, f"{kind}_size_mean") + _effects(company, f"{kind}_size", segment, klass)
        between_sd = np.sqrt(getattr(company, f"{kind}_size_icc")) * getattr(company, f"{kind}_size_sd")
        size_means[kind] = mean + between_sd * rng.standard_normal(len(segment))
    return Accounts(segment=segment, size_class=klass, rates=rates, size_means=size_means)


def _loyal_gamma(
    company: CompanyParameters, shape: float, segment: Ints, terms: Terms, rng: np.random.Generator
) -> Floats:
    """Gamma(shape, mean 1) whose normal scores have the `loyalty_correlation` with those of theta."""
    a, b = beta_shapes(company, segment, terms.spell)
    loyalty = norm.ppf(np.clip(beta.cdf(terms.theta, a, b), 1e-12, 1 - 1e-12))
    rho = company.loyalty_correlation
    score = rho * loyalty + np.sqrt(1 - rho**2) * rng.standard_normal(len(segment))
    return np.asarray(gamma.ppf(norm.cdf(score), shape, scale=1 / shape))


def _rate_mean(company: CompanyParameters, kind: str, segment: Ints, klass: Ints) -> Floats:
    return float(getattr(company, f"{kind}_rate")) * np.exp(_effects(company, f"{kind}_rate", segment, klass))


def _effects(company: CompanyParameters, name: str, segment: Ints, klass: Ints) -> Floats:
    """Segment effect plus size effect; a return has no size effect."""
    effect = np.array(getattr(company, f"{name}_segment_effect"))[segment]
    by_size = getattr(company, f"{name}_size_effect", None)
    return effect if by_size is None else effect + np.array(by_size)[klass]


def first_terms(
    company: CompanyParameters, segment: Ints, joined: Days, earlier: Ints, rng: np.random.Generator
) -> Terms:
    """The first term that is seen of every account, after ``earlier`` decisions that are not.

    The first MRR is lognormal. An account seen after m decisions is one of those that survived them, so its
    theta is drawn given them: theta ~ Beta(a + W(m), b), the m steps with this term's months and size class,
    number j, neither expanded nor cut. That is what the fit assumes of them.
    """
    n = len(segment)
    values = np.array(company.term_values, dtype=np.int64)
    term = chosen_from(np.tile(np.array(company.first_term_length), (n, 1)), rng)
    months = values[term]
    mrr = np.exp(company.first_mrr_mean + company.first_mrr_sd * rng.standard_normal(n))
    cents = np.maximum(np.rint(mrr * months * 100), 1).astype(np.int64)
    mrr = cents / 100 / months
    a, b = beta_shapes(company, segment, np.zeros(n, dtype=np.int64))
    theta = draw_theta(a + _earlier_steps(company, term, size_class(company, mrr), earlier, joined), b, rng)
    return Terms(
        account=np.arange(n),
        spell=np.zeros(n, dtype=np.int64),
        start=joined,
        booked=joined,
        months=months,
        cents=cents,
        base=mrr,
        previous=np.full(n, FIRST),
        log_mrr_sum=np.log(mrr),
        mrr_n=np.ones(n, dtype=np.int64),
        decisions=earlier,
        tenure=earlier * months / 12,
        theta=theta,
    )


def step_weight(
    company: CompanyParameters,
    *,
    tenure: Floats,
    months: Ints,
    term: Ints,
    klass: Ints,
    number: Ints,
    expanded: Bools,
    cut: Bools,
    year: Ints,
) -> Floats:
    """w of one decision: (t_k^c - t_{k-1}^c) exp(term + size + number + expanded + cut + year effects), t in years.

    ``tenure`` is t_{k-1}; ``number`` counts decisions from 1, all after the fourth alike; ``year`` is the calendar year.
    """
    effect = (
        np.array(company.renewal_term_effect)[term]
        + np.array(company.renewal_size_effect)[klass]
        + np.array(company.renewal_number_effect)[np.minimum(number, 5) - 1]
        + company.renewal_expanded_effect * expanded
        + company.renewal_cut_effect * cut
        + year_effect(company, year)
    )
    c = company.renewal_c
    return ((tenure + months / 12) ** c - tenure**c) * np.exp(effect)


def year_effect(company: CompanyParameters, year: Ints) -> Floats:
    """Effect of each calendar year; 0 before the first one and after the last."""
    effects = np.array([0.0, *company.renewal_year_effect])
    place = year - company.first_year + 1
    return effects[np.where((place > 0) & (place < len(effects)), place, 0)]


def _earlier_steps(company: CompanyParameters, term: Ints, klass: Ints, earlier: Ints, joined: Days) -> Floats:
    """W(m) of the decisions before an account is first seen, the last of them in the month it joined; 0 where m = 0."""
    months = np.array(company.term_values, dtype=np.int64)[term]
    joined_month: Ints = joined.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    total = np.zeros(len(term))
    no = np.zeros(len(term), dtype=bool)
    for j in range(1, int(earlier.max(initial=0)) + 1):
        number = np.full(len(term), j)
        tenure = (j - 1) * months / 12
        year = np.asarray((joined_month - np.maximum(earlier - j, 0) * months) // 12 + 1970, dtype=np.int64)
        weight = step_weight(
            company, tenure=tenure, months=months, term=term, klass=klass, number=number, expanded=no, cut=no, year=year
        )
        total += np.where(j <= earlier, weight, 0.0)
    return total


def next_in_spell(terms: Terms, *, start: Days, booked: Days, months: Ints, cents: Cents, direction: Ints) -> Terms:
    """The renewal term of each row."""
    log_mrr = np.log(cents / 100 / months)
    return replace(
        terms,
        start=start,
        booked=booked,
        months=months,
        cents=cents,
        previous=direction,
        log_mrr_sum=terms.log_mrr_sum + log_mrr,
        mrr_n=terms.mrr_n + 1,
        decisions=terms.decisions + 1,
        tenure=terms.tenure + terms.months / 12,
    )
