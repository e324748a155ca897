"""Published figures of contractual customer bases, from the closed forms and from cells.

FH2007: Fader and Hardie (2007), "How to project customer retention", Table 1 and appendix. FHLDS2018: Fader, Hardie, Liu,
Davin and Steenburgh (2018). FH017: their note 017. FH2010: Fader and Hardie (2010). Log-likelihoods are printed with three
or four decimals (tolerance half a digit), parameters with two to four.
"""

import numpy as np
import pytest
from scipy.optimize import minimize

from clvforecast.components.renewal import RenewalPriors, renewal_component
from clvforecast.likelihoods import (
    cohort_log_likelihood,
    cohorts_log_likelihood,
    discounted_expected_lifetime,
    discounted_expected_residual_lifetime,
    log_survival,
    start_end_log_likelihood,
    weibull_discounted_lifetime,
    weibull_discounted_residual_lifetime,
)
from component_cells import cohort_cells, make_frame
from graph_values import beta_point, log_likelihoods

REGULAR = [1000, 631, 468, 382, 326, 289, 262, 241, 223, 207, 194, 183, 173]
HIGH_END = [1000, 869, 743, 653, 593, 551, 517, 491, 468, 445, 427, 409, 394]
SEVERAL = [10000, 8000, 6480, 5307, 4391]
COHORTS = [SEVERAL[: 5 - age] for age in range(5)]


def maximise(log_likelihood, n_parameters: int) -> tuple[np.ndarray, float]:
    """Parameters (positive) and value at the maximum."""
    options = {"xatol": 1e-10, "fatol": 1e-10, "maxiter": 20000, "maxfev": 20000}
    found = minimize(
        lambda z: -log_likelihood(*np.exp(z)), np.zeros(n_parameters), method="Nelder-Mead", options=options
    )
    return np.exp(found.x), -found.fun


# (cohort, last year, alpha, beta, c or None, LL); in FH's words alpha = b, beta = a.
FITS = [
    (HIGH_END, 7, 0.6681, 3.8061, None, -1611.158),
    (REGULAR, 7, 0.7041, 1.1820, None, -1680.265),
    (HIGH_END, 4, 1.2810, 7.7904, None, -1225.135),
    (REGULAR, 4, 0.7637, 1.2958, None, -1401.559),
    (HIGH_END, 4, 0.2593, 1.7226, 1.5844, -1222.749),
    (REGULAR, 4, 0.5230, 0.8943, 1.1964, -1401.383),
    (HIGH_END, 12, 0.2496, 1.6542, 1.5968, -2004.817),
    (REGULAR, 12, 0.5083, 0.8688, 1.2094, -1930.930),
]


@pytest.mark.parametrize(("survivors", "last", "alpha", "beta", "c", "LL"), FITS)
def test_maximum_likelihood_fits(survivors, last, alpha, beta, c, LL) -> None:
    """FH2007 (sBG) and FHLDS2018 (BdW), as listed with the data."""
    table = survivors[: last + 1]
    found, value = maximise(lambda a, b, *c: cohort_log_likelihood(table, a, b, *c), 2 if c is None else 3)
    expected = [beta, alpha] + ([] if c is None else [c])
    assert value == pytest.approx(LL, abs=6e-4)
    assert found == pytest.approx(expected, abs=2e-4)


def test_likelihood_away_from_the_maximum() -> None:
    """FH2007 appendix, High End, years 0-7."""
    assert cohort_log_likelihood(HIGH_END[:8], 1.0, 1.0) == pytest.approx(-2115.5, abs=0.05)
    assert cohort_log_likelihood(HIGH_END[:8], 0.01, 0.01) == pytest.approx(-2741.7, abs=0.05)


@pytest.mark.parametrize(
    ("survivors", "percent"),
    [(HIGH_END, [46.04, 43.58, 41.42, 39.51, 37.80]), (REGULAR, [22.01, 20.44, 19.12, 17.99, 17.00])],
)
def test_projected_survival(survivors, percent) -> None:
    """Year 0-7 fits project S(8..12)."""
    (a, b), _ = maximise(lambda a, b: cohort_log_likelihood(survivors[:8], a, b), 2)
    assert 100.0 * np.exp(log_survival(np.arange(8, 13), a, b)) == pytest.approx(percent, abs=0.006)


def test_several_cohorts() -> None:
    """FH017: yearly cohorts of 10,000; all survivors, then start and end sizes only."""
    (a, b), value = maximise(lambda a, b: cohorts_log_likelihood(COHORTS, a, b), 2)
    assert value == pytest.approx(-40255.8373, abs=6e-5)
    assert (b, a) == pytest.approx((3.80, 15.19), abs=5e-3)
    ends = [table[-1] for table in COHORTS]
    ages = [len(table) - 1 for table in COHORTS]
    (a, b), value = maximise(lambda a, b: start_end_log_likelihood([10000] * 5, ends, ages, a, b), 2)
    assert value == pytest.approx(-25260.505, abs=6e-4)
    # Printed 3.79 and 15.18; the likelihood is flat there, our maximum is 3.7965 and 15.1849.
    assert (b, a) == pytest.approx((3.79, 15.18), abs=1e-2)


def test_discounted_lifetimes() -> None:
    """FH2010 and FHLDS2018, d = 10%: years 0-4 fits; DEL and DERL(5)."""
    for survivors, DEL, DERL in ((REGULAR, 3.62, 5.68), (HIGH_END, 5.46, 5.87)):
        (a, b), _ = maximise(lambda a, b, s=survivors: cohort_log_likelihood(s[:5], a, b), 2)
        assert discounted_expected_lifetime(a, b, 0.1) == pytest.approx(DEL, abs=5e-3)
        assert discounted_expected_residual_lifetime(5, a, b, 0.1) == pytest.approx(DERL, abs=5e-3)
    for survivors, DEL, DERL in ((REGULAR, 3.69, 6.03), (HIGH_END, 5.99, 7.32)):
        (a, b, c), _ = maximise(lambda a, b, c, s=survivors: cohort_log_likelihood(s[:5], a, b, c), 3)
        assert weibull_discounted_lifetime(a, b, c, 0.1) == pytest.approx(DEL, abs=6e-3)
        assert weibull_discounted_residual_lifetime(5, a, b, c, 0.1) == pytest.approx(DERL, abs=6e-3)


@pytest.mark.parametrize(
    ("alpha", "beta", "DERL", "tolerance"),
    [
        (0.668, 3.806, [5.4149, 5.9018, 6.2943, 6.6203, 6.8971], 6e-5),
        (3.80, 15.20, [3.31, 3.45, 3.59, 3.72, 3.84], 6e-3),
        # Printed for unrounded (alpha, beta); with .067 and .267 the first is 7.671.
        (0.067, 0.267, [7.68, 9.46, 9.86, 10.06, 10.19], 1.2e-2),
    ],
)
def test_residual_lifetime_by_number_of_renewals(alpha, beta, DERL, tolerance) -> None:
    """FH2010, n = 1..5."""
    assert discounted_expected_residual_lifetime(np.arange(1, 6), beta, alpha, 0.1) == pytest.approx(
        DERL, abs=tolerance
    )


def test_perils_of_ignoring_heterogeneity() -> None:
    """FH2010: $100 a year, d = 10%, cohorts of 10,000 now at 10000 6334 4367 3264 2604.

    One aggregate retention rate (renewals over renewals due in the last year) values the base at $4,945,049; the two true
    segments, a third at .9 and two thirds at .5, at about $7,940,943. Payment just before the renewal decision.
    """
    sizes = np.array([10000, 6334, 4367, 3264, 2604])
    rate = sizes[1:].sum() / sizes[:-1].sum()
    assert rate == pytest.approx(0.6914, abs=5e-5)

    def residual(r):
        return r * (1.1) / (1.1 - r)

    assert 100 * sizes.sum() * residual(rate) == pytest.approx(4_945_049, rel=2e-4)
    age = np.arange(5)
    loyal = 10000 / 3 * 0.9**age
    fickle = 10000 * 2 / 3 * 0.5**age
    value = 100 * (loyal.sum() * residual(0.9) + fickle.sum() * residual(0.5))
    assert value == pytest.approx(7_940_943, rel=2e-4)


def test_cells_reproduce_the_published_likelihoods() -> None:
    """The renewal graph from cells has the closed form's likelihood, for one cohort and for many."""
    frame = make_frame(n_segments=0, n_sizes=1, n_lags=1)
    for cohorts in ([REGULAR[:5]], [HIGH_END], COHORTS):
        cells = cohort_cells(cohorts, frame)
        component = renewal_component(cells, frame, RenewalPriors())
        points = [(3.8, 0.67, 1.0), (1.2, 0.7, 1.0), (15.2, 3.8, 1.0)]
        points += [(1.72, 0.26, 1.58)] if cells.max_decisions >= 5 else []
        graph = [log_likelihoods(component, beta_point(cells, frame, *point))[0] for point in points]
        closed = [cohorts_log_likelihood(cohorts, *point) for point in points]
        assert graph == pytest.approx(closed, abs=1e-6)
