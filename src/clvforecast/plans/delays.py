"""How late steps but renewals come (see `lags` for those): Student's t with four degrees of freedom, in whole days,
within a step's window.

Day d has the probability of (d - 1/2, d + 1/2), given (lower - 1/2, window + 1/2). Four degrees of freedom: most steps come
near their day, a few slip by months; and distribution and quantile have closed forms.

``T(t) = (1 + u)^2 (2 - u) / 4``,  ``u = t / sqrt(4 + t^2)``;  density ``12 / (4 + t^2)^(5/2)``;
``u = 2 sin(arcsin(2 T - 1) / 3)``.  (Shaw 2006, "Sampling Student's t distribution", equations 35 and 37.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def cdf(t: ArrayLike) -> Floats:
    """T(t), to full precision in the lower tail."""
    x = np.asarray(t, float)
    root = np.sqrt(4.0 + x * x)
    # 1 + u without cancellation on the left
    above = np.where(x < 0.0, 4.0 / (root * (root + np.abs(x))), 1.0 + x / root)
    return np.asarray(0.25 * above * above * (3.0 - above), float)


def quantile(p: ArrayLike) -> Floats:
    """The t of which T(t) = p, 0 < p < 1."""
    u = 2.0 * np.sin(np.arcsin(2.0 * np.asarray(p, float) - 1.0) / 3.0)
    return np.asarray(2.0 * u / np.sqrt(np.maximum((1.0 - u) * (1.0 + u), 1e-300)), float)


def between(low: ArrayLike, high: ArrayLike, mean: Floats | float, scale: Floats | float) -> Floats:
    """P(low < D < high) of an untruncated delay, in days, by the tail on whose side the interval lies."""
    a = (np.asarray(low, float) - mean) / scale
    b = (np.asarray(high, float) - mean) / scale
    right = a + b > 0.0
    return np.where(right, cdf(-a) - cdf(-b), cdf(b) - cdf(a))


def still_to_come(
    elapsed: ArrayLike, lower: ArrayLike, window: int, mean: Floats | float, scale: Floats | float
) -> Floats:
    """``1 - F(d)``: the share of a step's delays that lie after day d = elapsed, 1 before the first and 0 from the last on."""
    first = np.asarray(lower, float) - 0.5
    after = np.clip(np.asarray(elapsed, float) + 0.5, first, window + 0.5)
    return between(after, window + 0.5, mean, scale) / between(first, window + 0.5, mean, scale)


def probability_left(p: ArrayLike, to_come: ArrayLike) -> Floats:
    """P(hit | not hit by d) = ``p (1 - F(d)) / (1 - p F(d))``, given 1 - F(d)."""
    comes_later = np.asarray(p, float) * np.asarray(to_come, float)
    left = 1.0 - np.asarray(p, float) + comes_later
    return np.asarray(np.where(left > 0.0, comes_later / np.where(left > 0.0, left, 1.0), 0.0), float)


def drawn_day(
    uniform: ArrayLike, elapsed: ArrayLike, lower: ArrayLike, window: int, mean: Floats | float, scale: Floats | float
) -> Floats:
    """A delay in whole days, given that it comes after day `elapsed` and within the window, by inversion."""
    first = np.maximum(np.asarray(elapsed, float) + 1.0, np.asarray(lower, float))
    a, b = (first - 0.5 - mean) / scale, (window + 0.5 - mean) / scale
    right = a + b > 0.0
    near, far = cdf(np.where(right, -b, a)), cdf(np.where(right, -a, b))
    t = quantile(np.clip(near + np.asarray(uniform, float) * (far - near), 1e-300, 1.0))
    day = np.floor(mean + scale * np.where(right, -t, t) + 0.5)
    return np.asarray(np.clip(day, first, window), float)
