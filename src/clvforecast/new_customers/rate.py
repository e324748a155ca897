"""How many customers come in a quarter: what some quarters' counts say of their rate, and of how much quarters differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
RATE_PRIOR_SHAPE = 0.5
"""λ ~ Gamma(1/2, 0), Jeffreys' prior of a Poisson rate: weighs half a customer against all those seen."""
SPREAD_PRIOR_SD = 0.3
"""Coefficient of variation of quarters' rates ~ HalfNormal(.3): one year hardly tells it, years of one business differ by some
10 to 30%, and 0, Poisson counts, is its mode."""
LARGEST_SPREAD = 2.5
SPREADS, RATES = 60, 400
"""Points of the grid on which the posterior of spread and rate is summed."""
REACH = 9.0
"""How many approximate SDs of log λ the grid reaches to either side: further than its long tails matter."""


@dataclass(frozen=True)
class LearnedRate:
    """Posterior of the rate of new customers on a grid of S spreads and R rates for each.

    spread: (S,) coefficient of variation of quarters' rates, spread_cdf (S,) its distribution
    rate: (S, R) customers a quarter, rate_cdf (S, R) their distribution given the spread
    """

    spread: Floats
    spread_cdf: Floats
    rate: Floats
    rate_cdf: Floats

    def draws(self, uniform: Floats) -> tuple[Floats, Floats]:
        """Rate and spread of each draw (D,), from two uniform numbers each (D, 2)."""
        place = np.searchsorted(self.spread_cdf, uniform[:, 0], side="right").clip(max=self.spread.size - 1)
        rates = [np.interp(u, self.rate_cdf[k], self.rate[k]) for u, k in zip(uniform[:, 1], place, strict=True)]
        return np.array(rates), self.spread[place]


def learn_rate(counts: Longs, spread_sd: float = SPREAD_PRIOR_SD) -> LearnedRate:
    """Posterior of the rate of new customers and of its spread, from the counts of some quarters.

    Counts are y_t ~ Poisson(λ g_t) with g_t ~ Gamma(κ, κ) of mean 1, so negative binomial with variance λ + λ²/κ: quarters
    differ by more than chance, and a Poisson rate would be far too sure of itself. κ = 1/spread². Prior: λ^(−1/2) (Jeffreys'),
    spread ~ HalfNormal(``spread_sd``). Four quarters hardly tell the spread, so it is averaged over, not estimated.
    """
    total, quarters = float(counts.sum()), counts.size
    spread = (np.arange(SPREADS) + 0.5) * LARGEST_SPREAD / SPREADS
    step = np.sqrt(1.0 / (total + RATE_PRIOR_SHAPE) + spread**2 / quarters)[:, None]  # about the SD of log λ
    rate = (total + RATE_PRIOR_SHAPE) / quarters * np.exp(step * np.linspace(-REACH, REACH, RATES))
    shape = 1.0 / spread[:, None] ** 2
    log_p = RATE_PRIOR_SHAPE * np.log(rate) + np.log(step)  # even steps of log λ, which differ between spreads
    log_p -= 0.5 * (spread[:, None] / spread_sd) ** 2
    for y, times in zip(*np.unique(counts, return_counts=True), strict=True):
        log_p += times * (gammaln(shape + y) - gammaln(shape) + y * np.log(rate / (shape + rate)))
        log_p -= times * shape * np.log1p(rate / shape)
    top = log_p.max(axis=1, keepdims=True)
    mass = np.exp(log_p - top)
    inside = mass.sum(axis=1, keepdims=True)
    of_spread = np.exp(top - top.max())[:, 0] * inside[:, 0]
    rate_cdf = (np.cumsum(mass, axis=1) - 0.5 * mass) / inside
    return LearnedRate(spread, np.cumsum(of_spread) / of_spread.sum(), rate, rate_cdf)
