"""The closed forms behind the components, one function a formula, its source beside it.

Plain NumPy and SciPy, no sampler: the PyMC graphs in :mod:`clvforecast.components` are tested against these functions,
and these are tested against published figures and against independent integrals.

Notation throughout: an account keeps its contract at decision k with probability ``theta ** w_k``, ``theta ~ Beta(a, b)``,
and ``W(n) = w_1 + ... + w_n``. (The papers of Fader and Hardie write the *churn* probability as Beta(alpha, beta), so
``a = beta`` and ``b = alpha``.)

References
----------
FH2007  Fader and Hardie (2007), "How to project customer retention", J. Interactive Marketing 21(1).
FH2010  Fader and Hardie (2010), "Customer-base valuation in a contractual setting", Marketing Science 29(1).
FHLDS2018  Fader, Hardie, Liu, Davin, Steenburgh (2018), "How to project customer retention revisited", J. Interactive
    Marketing 43.
FH017  Fader and Hardie (2007), "Fitting the sBG model to multi-cohort data", note 017.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, gammaln, hyp2f1, log_ndtr, xlog1py, xlogy

Floats = NDArray[np.float64]

MAX_TOTAL = 1e6
"""Upper bound of a + b: beyond it the beta is a point to every digit and its logarithms only lose digits."""


def log_survival(W: ArrayLike, a: ArrayLike, b: ArrayLike) -> Floats:
    """Log probability that every decision so far was a renewal.

    ``log S = log B(a + W, b) - log B(a, b)``  (FH2007 eq. 3; FHLDS2018 eq. 5 for W = n ** c).

    Parameters
    ----------
    W : cumulative weight of the decisions taken, >= 0.
    a, b : parameters of theta ~ Beta(a, b), > 0.
    """
    W, a, b = np.asarray(W, float), np.asarray(a, float), np.asarray(b, float)
    return np.asarray(betaln(a + W, b) - betaln(a, b), float)


def log_lapse(log_S_before: ArrayLike, log_S_after: ArrayLike) -> Floats:
    """``log(S(n) - S(n+1)) = log S(n) + log(-expm1(log S(n+1) - log S(n)))``: survived n decisions, lapsed at the next."""
    before, after = np.asarray(log_S_before, float), np.asarray(log_S_after, float)
    return np.asarray(before + np.log(-np.expm1(after - before)), float)


def weibull_weights(n: ArrayLike, c: float = 1.0) -> Floats:
    """``W(n) = n ** c``: the discrete Weibull clock (FHLDS2018); c = 1 is the shifted beta-geometric."""
    return np.asarray(n, float) ** c


def cohort_log_likelihood(survivors: ArrayLike, a: float, b: float, c: float = 1.0) -> float:
    """Log-likelihood of one cohort's survivors at ages 0, 1, ..., K (FH2007 appendix B; FHLDS2018 for c free).

    ``LL = sum_k (N_{k-1} - N_k) log(S(k-1) - S(k)) + N_K log S(K)``

    Parameters
    ----------
    survivors : accounts still active, shape (K + 1,).
    """
    N = np.asarray(survivors, float)
    log_S = log_survival(weibull_weights(np.arange(N.size), c), a, b)
    lost = N[:-1] - N[1:]
    return float(np.sum(lost * log_lapse(log_S[:-1], log_S[1:])) + N[-1] * log_S[-1])


def cohorts_log_likelihood(cohorts: Iterable[ArrayLike], a: float, b: float, c: float = 1.0) -> float:
    """Several cohorts of different ages under the same Beta(a, b): the sum of their log-likelihoods (FH017)."""
    return float(sum(cohort_log_likelihood(survivors, a, b, c) for survivors in cohorts))


def start_end_log_likelihood(
    start: ArrayLike, end: ArrayLike, age: ArrayLike, a: float, b: float, c: float = 1.0
) -> float:
    """Cohorts of which only the first and the latest size are known (FH017).

    ``LL = sum_i N_i(age) log S(age) + (N_i(0) - N_i(age)) log(1 - S(age))``; a cohort of age 0 says nothing.
    """
    start, end = np.asarray(start, float), np.asarray(end, float)
    log_S = log_survival(weibull_weights(age, c), a, b)
    lost = start - end
    return float(np.sum(end * log_S) + np.sum(xlogy(lost, -np.expm1(log_S))))


def discounted_expected_lifetime(a: float, b: float, discount: float) -> float:
    """Expected number of discounted payments of a new account, paid in advance (FH2010 eq. 4).

    ``DEL = 2F1(1, a; a + b; 1 / (1 + d))``, d the discount rate per decision period.
    """
    return float(hyp2f1(1.0, a, a + b, 1.0 / (1.0 + discount)))


def discounted_expected_residual_lifetime(n: ArrayLike, a: float, b: float, discount: float) -> Floats:
    """Expected discounted payments to come, standing just before the n-th renewal decision (FH2010 eq. 6).

    ``DERL = (a + n - 1) / (a + b + n - 1) * 2F1(1, a + n; a + b + n; 1 / (1 + d))``
    """
    n = np.asarray(n, float)
    keep = (a + n - 1) / (a + b + n - 1)
    return np.asarray(keep * hyp2f1(1.0, a + n, a + b + n, 1.0 / (1.0 + discount)), float)


def weibull_discounted_lifetime(a: float, b: float, c: float, discount: float, tolerance: float = 1e-12) -> float:
    """``DEL = sum_{t >= 0} S(t) / (1 + d)^t`` with S(t) = B(a + t^c, b) / B(a, b), summed until the rest is negligible."""
    return _discounted_survival(0, a, b, c, discount, tolerance)


def weibull_discounted_residual_lifetime(
    n: int, a: float, b: float, c: float, discount: float, tolerance: float = 1e-12
) -> float:
    """``DERL(n) = sum_{t >= n} S(t) / S(n-1) / (1 + d)^(t-n)``: n - 1 renewals made, the n-th decision due now."""
    ahead = _discounted_survival(n, a, b, c, discount, tolerance)
    return ahead / float(np.exp(log_survival(weibull_weights(n - 1, c), a, b)))


def _discounted_survival(first: int, a: float, b: float, c: float, discount: float, tolerance: float) -> float:
    """``sum_{t >= first} S(t) v^(t - first)``, v = 1 / (1 + d).

    S falls, so what follows T terms is at most v^T / (1 - v): T is chosen to bring that below the tolerance.
    """
    if discount <= 0:
        raise ValueError(
            f"discount must be positive, got {discount}: without discounting the expected lifetime is infinite for b < 1"
        )
    v = 1.0 / (1.0 + discount)
    terms = int(np.ceil(np.log(tolerance * (1.0 - v)) / np.log(v)))
    t = np.arange(terms)
    return float(np.sum(np.exp(log_survival(weibull_weights(first + t, c), a, b)) * v**t))


def delay_log_likelihood(
    log_S_before: ArrayLike,
    log_S_after: ArrayLike,
    F: ArrayLike,
    notice_share: float = 0.0,
    G: ArrayLike = 0.0,
) -> Floats:
    """A decision not booked d days after the term's end, nor notified: it may be a renewal that is booked late.

    ``S(n) [p (1 - F) + (1 - p)(1 - psi G)]``, ``p = S(n+1)/S(n)``. With psi = 0 it is ``S(n) - F S(n+1)``.
    F and G are the shares of renewals and of notices booked by d, psi the share of lapses that give notice.
    """
    before = np.asarray(log_S_before, float)
    step = np.asarray(log_S_after, float) - before
    late = (1.0 - np.asarray(F, float)) * np.exp(step)
    silent = (1.0 - notice_share * np.asarray(G, float)) * -np.expm1(step)
    return np.asarray(before + np.log(late + silent), float)


def renews_if_not_booked(p: ArrayLike, F: ArrayLike, notice_share: float = 0.0, G: ArrayLike = 0.0) -> Floats:
    """``P(renews | not booked by d) = p(1 - F) / (p(1 - F) + (1 - p)(1 - psi G))``; psi = 0: ``p(1 - F)/(1 - pF)``."""
    p, F, G = np.asarray(p, float), np.asarray(F, float), np.asarray(G, float)
    late = p * (1.0 - F)
    silent = (1.0 - p) * (1.0 - notice_share * G)
    return np.asarray(late / (late + silent), float)


def event_count_log_likelihood(n: ArrayLike, T: ArrayLike, shape: ArrayLike, mean: ArrayLike) -> Floats:
    """n events in T years when the account's rate is ``lambda ~ Gamma(shape r, mean m)``: a negative binomial.

    ``log Gamma(r+n)/Gamma(r) + r log(beta/(beta+T)) - n log(beta+T) + n log T - log n!``, ``beta = r/m``.
    (Ehrenberg 1959; the last two terms hold no parameter and make it a probability.)
    """
    n, T = np.asarray(n, float), np.asarray(T, float)
    r, m = np.asarray(shape, float), np.asarray(mean, float)
    beta = r / m
    counts = gammaln(r + n) - gammaln(r) - gammaln(n + 1.0) + xlogy(n, T)
    return np.asarray(counts - xlog1py(r, T / beta) - n * np.log(beta + T), float)


def size_log_likelihood(
    n: ArrayLike,
    N: ArrayLike,
    W: ArrayLike,
    M: ArrayLike,
    C: ArrayLike,
    mean: ArrayLike,
    between_sd: ArrayLike,
    within_sd: ArrayLike,
) -> Floats:
    """N accounts with n sizes each: ``nu ~ Normal(mean, tau^2)``, ``y ~ Normal(nu, sigma^2)``, nu integrated out.

    With ``v = sigma^2 + n tau^2``:
    ``-1/2 N(n-1) ln sigma^2 - W / 2 sigma^2 - 1/2 N ln v - n [C + N (M - mean)^2] / 2v - 1/2 N n ln 2 pi``.
    (One-way random effects in sufficient statistics, e.g. Searle, Casella and McCulloch 1992, section 3.7.)

    Parameters
    ----------
    W : sum over the accounts of the squares within an account;  M : mean of the accounts' means;
    C : sum of squares of the accounts' means about M.
    """
    n, N, W, M, C = (np.asarray(value, float) for value in (n, N, W, M, C))
    tau2, sigma2 = np.asarray(between_sd, float) ** 2, np.asarray(within_sd, float) ** 2
    v = sigma2 + n * tau2
    within = -0.5 * N * (n - 1.0) * np.log(sigma2) - W / (2.0 * sigma2)
    between = -0.5 * N * np.log(v) - n * (C + N * (M - np.asarray(mean, float)) ** 2) / (2.0 * v)
    return np.asarray(within + between - 0.5 * N * n * np.log(2.0 * np.pi), float)


def regression_log_likelihood(
    n: ArrayLike, XtX: ArrayLike, Xty: ArrayLike, yty: ArrayLike, coefficients: ArrayLike, sd: float
) -> Floats:
    """``y ~ Normal(X b, sd^2)`` from its sums: ``-n ln sd - (y'y - 2 b'X'y + b'X'X b) / 2 sd^2 - n/2 ln 2 pi``.

    Shapes: n, yty (G,); Xty and coefficients (G, P); XtX (G, P, P).
    """
    n, b = np.asarray(n, float), np.asarray(coefficients, float)
    squares = (
        np.asarray(yty, float)
        - 2.0 * np.einsum("gp,gp->g", b, np.asarray(Xty, float))
        + np.einsum("gp,gpq,gq->g", b, np.asarray(XtX, float), b)
    )
    return np.asarray(-n * np.log(sd) - squares / (2.0 * sd**2) - 0.5 * n * np.log(2.0 * np.pi), float)


def log_beyond(mean: ArrayLike, sd: ArrayLike, edge: float) -> Floats:
    """``log P(y > edge) = log Phi((mean - edge) / sd)`` for y ~ Normal(mean, sd^2).

    What a normal log density is less for each y that is only seen beyond the edge (truncated regression, Greene,
    "Econometric Analysis", chapter 19).
    """
    return np.asarray(log_ndtr((np.asarray(mean, float) - edge) / np.asarray(sd, float)), float)
