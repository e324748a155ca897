"""What the kernel integrates out: events, sizes and returns have the laws that their latent traits would give them."""

import numba
import numpy as np
from scipy import stats

from clvforecast.simulation.latents import (
    EVENT_KINDS,
    begin_events,
    begin_returns,
    draw_size,
    next_event,
    years_to_return,
)
from clvforecast.simulation.random import STREAM_SLOTS, start_stream
from clvforecast.simulation.slots import (
    L_EVENTS,
    L_REAL,
    L_SIZE_N,
    L_SIZE_SUM,
    L_T_ACTIVE,
    L_WHOLE,
    LOCATIONS_AT,
    N_RETURNS,
    PRIOR_RATES,
    REAL_SLOTS,
    SERVED,
    SHAPE,
    SIGMA,
    T_LAPSED,
    TABLE_HEADER,
    TAU,
    TERMINATION,
    WAITING,
    WHOLE_SLOTS,
    Location,
)

YEARS, LINES = 5.0, 40_000
SHAPES, MEANS = np.array([0.8, 2.0, 5.0, 0.3]), np.array([0.4, 0.1, 0.9, 0.05])
BEFORE, ACTIVE_YEARS = np.array([2, 0, 3, 0]), 3.0
TERMINATION_RATE = 0.02
TAUS, SIGMAS = 0.7, 0.4
PAST_SIZES = np.array([0.6, 0.1])
RETURN_SHAPE, RETURN_MEAN, LAPSED, RETURNS = 1.5, 0.2, 1.2, 1


def line() -> tuple[np.ndarray, ...]:
    """par, real, whole, and the line's whole and real columns."""
    par, real, whole = np.zeros(LOCATIONS_AT), np.zeros(REAL_SLOTS), np.zeros(WHOLE_SLOTS, dtype=np.int64)
    line_whole, line_real = np.zeros(L_WHOLE, dtype=np.int64), np.zeros(L_REAL)
    par[SHAPE : SHAPE + 4], par[SHAPE + 4] = SHAPES, RETURN_SHAPE
    par[TAU : TAU + 4], par[SIGMA : SIGMA + 4] = TAUS, SIGMAS
    real[PRIOR_RATES : PRIOR_RATES + 4] = SHAPES / MEANS
    real[TERMINATION] = TERMINATION_RATE
    real[Location.REACTIVATION_RATE] = np.log(RETURN_MEAN)
    real[T_LAPSED], whole[N_RETURNS] = LAPSED, RETURNS
    line_whole[L_EVENTS : L_EVENTS + 4], line_real[L_T_ACTIVE] = BEFORE, ACTIVE_YEARS
    line_whole[L_SIZE_N], line_real[L_SIZE_SUM] = PAST_SIZES.size, PAST_SIZES.sum()
    return par, real, whole, line_whole, line_real


@numba.njit
def count_events(par, real, whole, line_whole, line_real, counts):
    table, scale = np.zeros(TABLE_HEADER, dtype=np.int64), np.zeros(1)
    stream = np.zeros(STREAM_SLOTS, dtype=np.uint64)
    for row in range(counts.shape[0]):
        start_stream(stream, np.uint64(row), 7, 0)
        begin_events(par, scale, real, whole, line_whole, line_real, stream)
        while real[SERVED] + real[WAITING] < 365.25 * YEARS:
            real[SERVED] += real[WAITING]
            found = next_event(table, scale, real, whole, 0, stream)
            if found <= EVENT_KINDS:
                counts[row, found] += 1


@numba.njit
def draw_sizes(par, real, whole, line_whole, line_real, sizes):
    scale = np.zeros(1)
    stream = np.zeros(STREAM_SLOTS, dtype=np.uint64)
    for row in range(sizes.shape[0]):
        start_stream(stream, np.uint64(row), 7, 1)
        begin_events(par, scale, real, whole, line_whole, line_real, stream)
        for place in range(sizes.shape[1]):
            sizes[row, place] = draw_size(par, real, 0, stream)


@numba.njit
def wait_for_returns(par, real, whole, waits, within):
    stream = np.zeros(STREAM_SLOTS, dtype=np.uint64)
    for row in range(waits.shape[0]):
        start_stream(stream, np.uint64(row), 7, 2)
        begin_returns(par, real, whole, 0.5)
        for place in range(waits.shape[1]):
            waits[row, place] = years_to_return(real, within, stream)


def test_counts_of_events_are_a_gamma_mixture_of_poissons() -> None:
    """Negative binomial of shape r + n and R / (R + years), R = r/m + T; terminations Poisson; each kind on its own."""
    par, real, whole, line_whole, line_real = line()
    counts = np.zeros((LINES, EVENT_KINDS + 1), dtype=np.int64)
    count_events(par, real, whole, line_whole, line_real, counts)
    for kind in range(EVENT_KINDS):
        rate = SHAPES[kind] / MEANS[kind] + ACTIVE_YEARS
        law = stats.nbinom(SHAPES[kind] + BEFORE[kind], rate / (rate + YEARS))
        most = int(law.ppf(0.999))
        expected = LINES * np.append(law.pmf(np.arange(most)), law.sf(most - 1))
        seen = np.bincount(np.minimum(counts[:, kind], most), minlength=most + 1)
        assert stats.chisquare(seen, expected).pvalue > 1e-3, kind
    terminations = counts[:, EVENT_KINDS].sum()
    assert abs(terminations - LINES * YEARS * TERMINATION_RATE) < 4 * np.sqrt(LINES * YEARS * TERMINATION_RATE)
    correlations = np.corrcoef(counts.T)[np.triu_indices(EVENT_KINDS + 1, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(LINES)


def test_sizes_share_a_mean_that_the_past_tells_of() -> None:
    """With ν ~ Normal given the past, y_i = ν + ε_i: equal means, variances and covariances, the joint law is normal."""
    par, real, whole, line_whole, line_real = line()
    sizes = np.empty((LINES, 3))
    draw_sizes(par, real, whole, line_whole, line_real, sizes)
    precision = 1 / TAUS**2 + PAST_SIZES.size / SIGMAS**2
    mean = PAST_SIZES.sum() / SIGMAS**2 / precision  # the group's mean is 0
    covariance = np.full((3, 3), 1 / precision) + np.diag(np.full(3, SIGMAS**2))
    white = np.linalg.solve(np.linalg.cholesky(covariance), (sizes - mean).T)
    for place in range(3):
        assert stats.kstest(white[place], "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(white)[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(LINES)


def test_waits_for_returns_are_a_gamma_mixture_of_exponentials() -> None:
    """Lomax; the second given the first has one more event and the first's wait as exposure; none is told beyond the horizon."""
    par, real, whole, *_ = line()
    waits = np.empty((LINES, 2))
    wait_for_returns(par, real, whole, waits, np.inf)
    shape, exposure = RETURN_SHAPE + RETURNS, RETURN_SHAPE / RETURN_MEAN + LAPSED + 0.5
    assert stats.kstest(waits[:, 0], stats.lomax(shape, scale=exposure).cdf).pvalue > 1e-3
    second = stats.lomax(shape + 1, scale=1).cdf(waits[:, 1] / (exposure + waits[:, 0]))
    assert stats.kstest(second, "uniform").pvalue > 1e-3
    short = np.empty((LINES, 1))
    wait_for_returns(par, real, whole, short, 2.0)
    assert np.isinf(short[waits[:, 0] > 2.0]).all()
    assert np.allclose(short[waits[:, 0] <= 2.0, 0], waits[waits[:, 0] <= 2.0, 0])
