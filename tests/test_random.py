"""The random numbers: published test vectors, distributions, and independence of the caller's order."""

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from clvforecast.simulation.random import (
    BLOCK,
    BLOCKS,
    STREAM_SLOTS,
    WORDS,
    gamma_variate,
    log_beta_variate,
    log_gamma_variate,
    normal,
    normal_beyond,
    normal_quantile,
    refill,
    start_stream,
    uniform,
)

FULL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((FULL,) * 4, (FULL,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Random123's known-answer file for philox4x32-10 (Salmon et al. 2011)."""
    block, draw, seed_low, seed_high = counter
    stream = np.zeros(STREAM_SLOTS, dtype=np.uint64)
    wide_key, seed = np.uint64(key[1] << 32 | key[0]), np.uint64(seed_high << 32 | seed_low)
    start_stream(stream, wide_key, seed, draw)
    stream[BLOCK] = block
    refill(stream)
    words = [int(stream[place]) for place in (WORDS, WORDS + BLOCKS)]
    assert tuple(half for word in words for half in (word & FULL, word >> 32)) == expected


@numba.njit  # never from a cache, which would hold the generator as it was
def sample(kind: int, n: int, a: float, b: float) -> NDArray[np.float64]:
    stream = np.zeros(STREAM_SLOTS, dtype=np.uint64)
    start_stream(stream, 12345678901234567, 7, 3)
    out = np.empty(n)
    for i in range(n):
        if kind == 0:
            out[i] = uniform(stream)
        elif kind == 1:
            out[i] = normal(stream)
        elif kind == 2:
            out[i] = log_gamma_variate(stream, a)
        elif kind == 3:
            out[i] = np.log(gamma_variate(stream, a))
        else:
            out[i] = log_beta_variate(stream, a, b)
    return out


def test_distributions() -> None:
    """Kolmogorov-Smirnov against scipy; with a fixed seed this cannot flicker."""
    n = 100_000
    assert stats.kstest(sample(0, n, 0, 0), "uniform").pvalue > 1e-3
    assert stats.kstest(sample(1, n, 0, 0), "norm").pvalue > 1e-3
    for shape in (0.05, 0.5, 1.0, 3.7, 250.0):
        for kind in (2, 3) if shape >= 0.5 else (2,):
            probability = stats.gamma(shape).cdf(np.exp(sample(kind, n, shape, 0)))
            assert stats.kstest(probability, "uniform").pvalue > 1e-3
    for a, b in ((0.3, 0.7), (2.0, 5.0), (40.0, 0.2)):
        assert stats.kstest(stats.beta(a, b).cdf(np.exp(sample(4, n, a, b))), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("b", [0.05, 0.3, 0.6, 0.95, 1.0])
@pytest.mark.parametrize("more", [0.0, 0.3, 2.0, 300.0])
def test_a_beta_number_from_one_gamma_number(more, b) -> None:
    """From the least a for which one gamma number does; by the nearer of its ends, whose small numbers differ."""
    n, a = 300_000, 1.0 - b + more
    if a > 0.0:
        log_x = sample(4, n, a, b)
        near_1, near_0 = special.betainc(b, a, -np.expm1(log_x)), special.betaincc(a, b, np.exp(log_x))
        assert stats.kstest(np.where(log_x > -0.7, near_1, near_0), "uniform").pvalue > 1e-3


def test_gamma_of_tiny_shape_does_not_underflow_in_logarithms() -> None:
    draws = sample(2, 1000, 1e-4, 0)
    assert np.isfinite(draws).all()
    assert np.median(draws) < np.log(1e-300)


def test_normal_quantile_is_scipys() -> None:
    p = np.array([1e-300, 1e-20, 1e-5, 0.01, 0.0749, 0.0751, 0.3, 0.7, 0.9999, 1 - 1e-15])
    mine = np.array([normal_quantile(value) for value in p])
    assert np.allclose(mine, special.ndtri(p), rtol=1e-14)


@pytest.mark.parametrize("edge", [-1.0, 0.0, 5.0, 29.0, 31.0])
def test_a_normal_beyond_an_edge_is_the_truncated_quantile(edge) -> None:
    stream, copy = np.zeros(STREAM_SLOTS, dtype=np.uint64), np.zeros(STREAM_SLOTS, dtype=np.uint64)
    start_stream(stream, np.uint64(5), 1, 2)
    start_stream(copy, np.uint64(5), 1, 2)
    mine = np.array([normal_beyond(stream, edge) for _ in range(50)])
    share = np.array([uniform(copy) for _ in range(50)])
    assert np.allclose(mine, stats.truncnorm.isf(share, edge, np.inf), rtol=1e-4 if edge > 30 else 1e-9)


@pytest.mark.parametrize("edge", [-50.0, -3.0, -1.1])
def test_a_normal_beyond_a_low_edge_has_the_truncated_distribution(edge) -> None:
    stream = np.zeros(STREAM_SLOTS, dtype=np.uint64)
    start_stream(stream, np.uint64(5), 1, 2)
    mine = np.array([normal_beyond(stream, edge) for _ in range(20_000)])
    assert mine.min() > edge
    assert stats.kstest(mine, stats.truncnorm(edge, np.inf).cdf).pvalue > 1e-3


def test_streams_of_other_lines_draws_and_seeds_differ() -> None:
    firsts = set()
    for key in (1, 2, 2**63):
        for seed in (0, 7, 2**40):
            for draw in (0, 1, 999):
                stream = np.zeros(STREAM_SLOTS, dtype=np.uint64)
                start_stream(stream, np.uint64(key), seed, draw)
                firsts.add(uniform(stream))
    assert len(firsts) == 27
