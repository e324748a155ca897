"""The closed forms against independent integrals and simpler models. Published figures: test_published.py."""

import numpy as np
import pytest
from scipy import integrate, stats

from clvforecast.likelihoods import (
    delay_log_likelihood,
    discounted_expected_lifetime,
    discounted_expected_residual_lifetime,
    event_count_log_likelihood,
    log_beyond,
    log_lapse,
    log_survival,
    regression_log_likelihood,
    renews_if_not_booked,
    size_log_likelihood,
    weibull_discounted_lifetime,
    weibull_discounted_residual_lifetime,
)


@pytest.mark.parametrize(("W", "a", "b"), [(0.0, 2.0, 1.0), (1.0, 0.3, 0.2), (3.7, 8.0, 2.0), (12.5, 1.1, 4.0)])
def test_survival_is_the_mean_of_theta_to_the_w(W, a, b) -> None:
    # theta^W theta^(a-1) (1-theta)^(b-1), with the ends' singularities given to the integrator as weights
    total = integrate.quad(lambda t: 1.0, 0, 1, weight="alg", wvar=(a + W - 1.0, b - 1.0))[0]
    unit = integrate.quad(lambda t: 1.0, 0, 1, weight="alg", wvar=(a - 1.0, b - 1.0))[0]
    assert np.exp(log_survival(W, a, b)) == pytest.approx(total / unit, rel=1e-8)


def test_survival_of_whole_numbers_is_a_product() -> None:
    """S(n) = prod_{k<n} (a + k) / (a + b + k)."""
    a, b, n = 2.3, 0.7, 9
    k = np.arange(n)
    assert log_survival(n, a, b) == pytest.approx(np.log((a + k) / (a + b + k)).sum(), abs=1e-12)


def test_lapses_and_survival_add_up_to_one() -> None:
    log_S = log_survival(np.arange(31), 1.4, 0.6)
    assert np.exp(log_lapse(log_S[:-1], log_S[1:])).sum() + np.exp(log_S[-1]) == pytest.approx(1.0, abs=1e-12)


def test_lapse_keeps_its_digits_where_survival_is_nearly_certain() -> None:
    """a + b = 1e6: S(1) - S(2) = b a / ((a + b)(a + b + 1)), lost in a plain difference of exponentials of logs."""
    a, b = 999_000.0, 1_000.0
    lapse = log_lapse(log_survival(1.0, a, b), log_survival(2.0, a, b))
    assert lapse == pytest.approx(np.log(a * b / ((a + b) * (a + b + 1.0))), abs=1e-5)


def test_open_decision_is_a_mixture_over_theta() -> None:
    """With theta integrated numerically: renewed but late, or lapsed in silence."""
    a, b, W0, W1, F, psi, G = 3.0, 0.8, 2.2, 3.5, 0.6, 0.7, 0.4

    def silent(t):
        p = t ** (W1 - W0)
        return t**W0 * (p * (1 - F) + (1 - p) * (1 - psi * G)) * stats.beta.pdf(t, a, b)

    found = delay_log_likelihood(log_survival(W0, a, b), log_survival(W1, a, b), F, psi, G)
    assert np.exp(found) == pytest.approx(integrate.quad(silent, 0, 1, epsabs=1e-11)[0], rel=1e-7)


def test_open_decision_without_notices() -> None:
    """psi = 0: S(n) - F S(n+1); nothing known yet (F = 0): S(n); all renewals are booked (F = 1): the lapse."""
    before, after = log_survival(2.0, 3.0, 0.8), log_survival(3.0, 3.0, 0.8)
    F = 0.35
    assert np.exp(delay_log_likelihood(before, after, F)) == pytest.approx(np.exp(before) - F * np.exp(after))
    assert delay_log_likelihood(before, after, 0.0) == pytest.approx(before)
    assert delay_log_likelihood(before, after, 1.0) == pytest.approx(log_lapse(before, after))


def test_renewal_not_booked_yet() -> None:
    assert renews_if_not_booked(0.8, 0.0) == pytest.approx(0.8)
    assert renews_if_not_booked(0.8, 1.0) == 0.0
    assert renews_if_not_booked(0.8, 0.5) == pytest.approx(0.8 * 0.5 / (1 - 0.8 * 0.5))
    # No notice either makes a lapse less likely than without the custom of giving notice.
    assert renews_if_not_booked(0.8, 0.5, 0.9, 0.5) > renews_if_not_booked(0.8, 0.5)


@pytest.mark.parametrize("n", [0, 1, 7])
def test_event_counts_are_a_poisson_mixture(n) -> None:
    r, m, T = 1.7, 0.4, 3.5
    mixture = integrate.quad(
        lambda rate: stats.poisson.pmf(n, rate * T) * stats.gamma.pdf(rate, r, scale=m / r), 0, 40, epsabs=1e-13
    )[0]
    assert np.exp(event_count_log_likelihood(n, T, r, m)) == pytest.approx(mixture, rel=1e-7)


def test_equal_rates_are_poisson() -> None:
    n = np.arange(6)
    found = event_count_log_likelihood(n, 2.0, 1e6, 0.7)
    assert found == pytest.approx(stats.poisson.logpmf(n, 1.4), abs=2e-5)


def test_sizes_are_a_multivariate_normal() -> None:
    """Accounts with n equal-correlated sizes, summed one by one."""
    rng = np.random.default_rng(0)
    n, N, mean, tau, sigma = 4, 6, -0.3, 0.6, 0.9
    y = rng.normal(size=(N, n))
    own = y.mean(axis=1)
    covariance = sigma**2 * np.eye(n) + tau**2
    one_by_one = stats.multivariate_normal(np.full(n, mean), covariance).logpdf(y).sum()
    W, M = ((y - own[:, None]) ** 2).sum(), own.mean()
    counted = size_log_likelihood(n, N, W, M, ((own - M) ** 2).sum(), mean, tau, sigma)
    assert counted == pytest.approx(one_by_one, abs=1e-9)


def test_regression_from_sums() -> None:
    rng = np.random.default_rng(1)
    X, y, b, sd = rng.normal(size=(20, 3)), rng.normal(size=20), np.array([0.3, -1.0, 0.5]), 0.8
    found = regression_log_likelihood([20], (X.T @ X)[None], (X.T @ y)[None], [y @ y], b[None], sd)
    assert found == pytest.approx(stats.norm.logpdf(y, X @ b, sd).sum(), abs=1e-9)


def test_discounted_lifetime_is_the_discounted_survival() -> None:
    """The hypergeometric closed forms against their sums, and against the discrete Weibull with c = 1."""
    a, b, d = 3.806, 0.668, 0.1
    t = np.arange(2000)
    S = np.exp(log_survival(t, a, b))
    assert discounted_expected_lifetime(a, b, d) == pytest.approx((S / 1.1**t).sum(), rel=1e-10)
    assert weibull_discounted_lifetime(a, b, 1.0, d) == pytest.approx(discounted_expected_lifetime(a, b, d), rel=1e-10)
    for n in (1, 3, 8):
        summed = (S[n:] / 1.1 ** (t[n:] - n)).sum() / S[n - 1]
        assert discounted_expected_residual_lifetime(n, a, b, d) == pytest.approx(summed, rel=1e-10)
        assert weibull_discounted_residual_lifetime(n, a, b, 1.0, d) == pytest.approx(summed, rel=1e-10)


def test_undiscounted_lifetime_is_refused() -> None:
    with pytest.raises(ValueError, match="discount must be positive, got 0"):
        weibull_discounted_lifetime(1.0, 0.5, 1.2, 0.0)


@pytest.mark.parametrize(("mean", "sd"), [(-2.0, 0.5), (1.0, 2.0), (-12.0, 1.0)])
def test_log_beyond_is_what_a_truncated_density_is_divided_by(mean, sd) -> None:
    edge = -1.5
    total, _ = integrate.quad(stats.norm(mean, sd).pdf, edge, edge + 12 * sd, epsabs=0, epsrel=1e-10)
    assert log_beyond(mean, sd, edge) == pytest.approx(np.log(total), rel=1e-8)
    y = edge + 0.3 * sd
    density = stats.norm.logpdf(y, mean, sd) - log_beyond(mean, sd, edge)
    assert density == pytest.approx(stats.truncnorm.logpdf(y, (edge - mean) / sd, np.inf, mean, sd), rel=1e-9)
