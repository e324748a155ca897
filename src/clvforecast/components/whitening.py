"""The coordinates z that the sampler moves in, in which a posterior is about standard normal.

``x = kink + bent(y)``, ``y = centre + spread z``, for the unconstrained parameters x. The first step straightens tails,
parameter by parameter, the second takes out scales and correlations:

- The logarithm of an SD that may be zero has a posterior that falls like e^x on its left: nothing tells very small SDs apart.
  That tail is far longer than a normal one, and where other parameters follow the SD itself, they follow its logarithm in a
  curve. ``bent(y) = y - (tail / 2) log(1 + e^-y)^2`` is y on the right of the kink and ``-tail y^2 / 2`` far on its left, where
  e^x then is as a normal's tail. The same holds for log odds of a probability that may be zero.
- The spread is a triangle, upper and right.

The density of z has the Jacobian ``sum log bent'(y)``, up to a constant: whatever kink, tail, centre and spread are, the draws
of x are those of the same posterior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from clvforecast.arithmetic import log1p_exp, logistic
from clvforecast.components.native import Floats, dot, inner
from clvforecast.components.pooling import product

INVERSE_STEPS = 60
"""Newton's, of `unbent`; it is reached from the left without fail, as `bent` is concave."""


@dataclass(frozen=True)
class Whitening:
    """Where a posterior lies and how it is shaped.

    kink, tail and centre are (n,), spread and its inverse `back` (n, n), upper triangles; (1, n) stands for a diagonal.
    """

    kink: Floats
    tail: Floats
    centre: Floats
    spread: Floats
    back: Floats

    @property
    def is_diagonal(self) -> bool:
        return len(self.spread) == 1

    def unconstrained(self, z: Floats) -> Floats:
        """x at points z (..., n)."""
        moved = z * self.spread[0] if self.is_diagonal else product(z, self.spread)
        return self.kink + bent(self.centre + moved, self.tail)

    def whitened(self, x: Floats) -> Floats:
        """z at points x (..., n), the inverse of `unconstrained`."""
        moved = unbent(x - self.kink, self.tail) - self.centre
        return moved * self.back[0] if self.is_diagonal else product(moved, self.back)


def unmoved(n: int) -> Whitening:
    """x = z."""
    return Whitening(np.zeros(n), np.zeros(n), np.zeros(n), np.ones((1, n)), np.ones((1, n)))


def bent(y: Floats, tail: Floats) -> Floats:
    """``y - (tail / 2) log(1 + e^-y)^2``."""
    return np.asarray(y - 0.5 * tail * np.logaddexp(0.0, -y) ** 2, float)


def unbent(x: Floats, tail: Floats) -> Floats:
    """The inverse of `bent`."""
    # bent lies below the line y and below any line tangent to it, so every step after the first comes from the left.
    y = np.minimum(x, 0.0) / (1.0 + tail)
    for _ in range(INVERSE_STEPS):
        y = y + (x - bent(y, tail)) / (1.0 + tail * np.logaddexp(0.0, -y) * expit(-y))
    return np.asarray(y, float)


@inner
def add_moved(y: Floats, z: Floats, by_column: Floats) -> None:
    """``y += spread z``, from the columns of the spread."""
    if by_column.shape[1] == 1:
        for i in range(y.size):
            y[i] += z[i] * by_column[i, 0]
        return
    for k in range(y.size):
        column, weight = by_column[k], z[k]
        for i in range(k + 1):
            y[i] += weight * column[i]


@inner
def move_back(by_z: Floats, by_y: Floats, by_column: Floats) -> None:
    """``by_z = spread' by_y``."""
    if by_column.shape[1] == 1:
        for k in range(by_z.size):
            by_z[k] = by_y[k] * by_column[k, 0]
        return
    for k in range(by_z.size):
        by_z[k] = dot(by_column[k, : k + 1], by_y[: k + 1])


@inner
def add_bent(x: Floats, y: Floats, tail: Floats) -> None:
    """``x += bent(y)``."""
    for i in range(y.size):
        x[i] += y[i]
        if tail[i] > 0.0:
            x[i] -= 0.5 * tail[i] * log1p_exp(-y[i]) ** 2


@inner
def bend_slopes(by_x: Floats, y: Floats, tail: Floats) -> float:
    """``sum log bent'(y)``; the slopes by x become slopes by y, those of that sum included.

    ``bent' = 1 + tail u p``, ``bent'' = -tail p (p + u (1 - p))``, u = log(1 + e^-y), p = 1 / (1 + e^y).
    """
    total = 0.0
    for i in range(y.size):
        if tail[i] > 0.0:
            u, p = log1p_exp(-y[i]), logistic(-y[i])
            steep = 1.0 + tail[i] * u * p
            total += math.log(steep)
            by_x[i] = by_x[i] * steep - tail[i] * p * (p + u * (1.0 - p)) / steep
    return total
