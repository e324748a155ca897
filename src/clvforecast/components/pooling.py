"""Partial pooling of categorical columns: ``location_g = intercept + sum over columns of the effect of g's level``.

The effects of a column sum to zero and are exchangeable: ``effect = Q coords``, ``coords_k ~ Normal(0, s)``, with Q an
orthonormal basis of the vectors that sum to zero, so that ``effect ~ Normal(0, s^2 (I - 1 1'/L))``. Q is Helmert's: with
the levels ordered by decreasing amount of data, coordinate k contrasts level k with the mean of the bigger ones.

Two choices keep NUTS quick and change nothing in the model:

- *a coordinate is sampled relative to what is known of it.* With s large the data alone place a coordinate, at about m
  with error e, and with s small the pooling does; sampled as itself it has a funnel as s goes to 0, sampled as coord / s a
  ridge when e is small. Were the likelihood Normal(m, e), the coordinate given s would be ``Normal(m t^2, (e t)^2)``,
  ``t = s / sqrt(s^2 + e^2)``; so ``coord = m t^2 + e t raw``, and raw is then a standard normal whatever s is. The prior
  coord ~ Normal(0, s) becomes ``raw ~ Normal(-m t / e, sqrt(s^2 + e^2) / e)``. (Centred and non-centred are the limits of
  small and large e; Papaspiliopoulos, Roberts and Skold 2007.) m and e come from the posterior's mode and curvature
  under given SDs (`laplace`); wrong ones cost speed, nothing else.
- *the level is sampled where the data are*: ``level = intercept + mean(X) coords`` is nearly uncorrelated with the
  coordinates, the intercept of unequal groups is not. It is a shift, so the Jacobian is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

UNTOLD = 1e3
"""Error of a coordinate of which the data say nothing: raw is then coord / s."""
LEAST_ERROR = 1e-4


@dataclass(frozen=True)
class Pooling:
    """The design of one location parameter: groups x coordinates, and the way back to effects.

    X is (G, K), at least one column wide (a column of zeros when there is nothing to pool, whose coordinate then is
    drawn from its prior and multiplied by nothing); `column_of` (K,) says which SD a coordinate has; `guess` and `error`
    (K,) what the data alone say of a coordinate, roughly; `mean` (K,) is the data-weighted mean of X; `bases` holds a
    (levels, coordinates) basis a column.
    """

    X: Floats
    mean: Floats
    column_of: Integers
    guess: Floats
    error: Floats
    bases: tuple[Floats, ...]

    def at_mean(self, coords: Floats) -> Floats:
        """What draws of the coordinates (..., K) add to the mean of the data, (...)."""
        return np.asarray((coords * self.mean).sum(axis=-1), float)

    @property
    def n_coords(self) -> int:
        return self.X.shape[1]

    @property
    def n_sds(self) -> int:
        return max(len(self.bases), 1)

    @property
    def is_empty(self) -> bool:
        return sum(basis.shape[1] for basis in self.bases) == 0

    def data(self) -> dict[str, NDArray[Any]]:
        """The arrays of a model: X (K, G) and its transpose, each coordinate about the mean of the data, and what its
        coordinates are."""
        return {
            "X": (self.X - self.mean).T,
            "X_rows": self.X - self.mean,
            "X_mean": self.mean,
            "column_of": self.column_of,
            "guess": self.guess,
            "error": self.error,
        }


def zero_sum_basis(information: Floats) -> Floats:
    """Helmert's orthonormal zero-sum basis, (L, L - 1), the levels taken in decreasing order of their information.

    ``q_k = (-1, ..., -1, k, 0, ...) / sqrt(k (k + 1))``, k = 1..L-1.
    """
    L = information.size
    order = np.argsort(-information, kind="stable")
    Q = np.zeros((L, max(L - 1, 0)))
    for k in range(1, L):
        scale = 1.0 / np.sqrt(k * (k + 1.0))
        Q[order[:k], k - 1] = -scale
        Q[order[k], k - 1] = k * scale
    return Q


def pooled_columns(
    levels: Sequence[NDArray[np.integer[Any]]],
    n_levels: Sequence[int],
    information: Floats,
    order_by: Floats | None = None,
) -> Pooling:
    """The pooled design of some categorical columns.

    Parameters
    ----------
    levels : per column the level index of each group, (G,); a negative index belongs to no level (zero effect).
    n_levels : number of levels of each column, data or not.
    information : (G,) about 1 / variance with which a group alone would know its location (a count of events, say).
    order_by : (G,) amount of data by which levels are ordered, `information` when not given; parameters with equal orders
        have equal X.
    """
    G = information.size
    bases, blocks, errors, column_of = [], [], [], []
    for column, (index, L) in enumerate(zip(levels, n_levels, strict=True)):
        onehot = (np.asarray(index)[:, None] == np.arange(L)[None, :]).astype(float)
        of_level = weighted_sum(onehot, information)
        Q = zero_sum_basis(of_level if order_by is None else weighted_sum(onehot, order_by))
        bases.append(Q)
        blocks.append(product(onehot, Q.T))
        errors.append(_first_errors(Q, of_level))
        column_of.append(np.full(Q.shape[1], column))
    if sum(basis.shape[1] for basis in bases) == 0:
        blocks, errors, column_of = [np.zeros((G, 1))], [np.full(1, UNTOLD)], [np.zeros(1)]
    X = np.hstack(blocks)
    return Pooling(
        X=X,
        mean=weighted_mean(X, information),
        column_of=np.concatenate(column_of).astype(np.int64),
        guess=np.zeros(X.shape[1]),
        error=np.concatenate(errors),
        bases=tuple(bases),
    )


def _first_errors(Q: Floats, information: Floats) -> Floats:
    """The contrasts' own errors, ``sqrt(sum_l q_l^2 / information_l)``."""
    variance = (Q**2 / np.maximum(information, 1e-9)[:, None]).sum(axis=0)
    return np.asarray(np.clip(np.sqrt(variance), LEAST_ERROR, UNTOLD), float)


def weighted_mean(X: Floats, weight: Floats) -> Floats:
    """Mean of the rows of X (G, K), zeros where all weights are."""
    total = float(weight.sum())
    return weighted_sum(X, weight) / total if total > 0 else np.zeros(X.shape[1])


# BLAS rounds differently with where arrays happen to lie in memory, and NUTS makes other draws of a last bit. Equal fits must
# be equal in another process too, so all products that reach a graph or a draw are plain sums; they are small.


def weighted_sum(X: Floats, weight: Floats) -> Floats:
    """``weight @ X``, (K,)."""
    return np.asarray((X * weight[:, None]).sum(axis=0), float)


def product(coords: Floats, matrix: Floats) -> Floats:
    """``coords @ matrix.T``: (..., K) and (L, K) give (..., L)."""
    total = np.zeros((*coords.shape[:-1], len(matrix)))
    for k in range(matrix.shape[1]):
        total += coords[..., k, None] * matrix[:, k]
    return total


def coords_from_raw(raw: Floats, s: Floats, guess: Floats, error: Floats) -> Floats:
    """``coord = m t^2 + e t raw``, ``t = s / sqrt(s^2 + e^2)``, for draws (..., K) with s (..., K)."""
    t = s / np.sqrt(s**2 + error**2)
    return np.asarray(guess * t**2 + error * t * raw, float)


def raw_from_coords(coords: Floats, s: Floats, guess: Floats, error: Floats) -> Floats:
    """The inverse of `coords_from_raw`."""
    t = s / np.sqrt(s**2 + error**2)
    return np.asarray((coords - guess * t**2) / (error * t), float)


def coords_of(raw: Floats, sd: Floats, pooling: Pooling) -> Floats:
    """The coordinates (..., K) of draws `raw` (..., K) and `sd` (..., S)."""
    return coords_from_raw(raw, sd[..., pooling.column_of], pooling.guess, pooling.error)


def prior_raw(sd: Floats, pooling: Pooling, rng: np.random.Generator) -> Floats:
    """Raw draws (..., K) from the prior, given draws of the SDs (..., S)."""
    s = sd[..., pooling.column_of]
    return raw_from_coords(s * rng.normal(size=s.shape), s, pooling.guess, pooling.error)


def refined(raw: Floats, variance: Floats, s: Floats, guess: Floats, error: Floats) -> tuple[Floats, Floats]:
    """What the data alone say of each coordinate: guesses and errors (K,), from a posterior under given SDs s.

    Freed of the shrinkage: ``1/e^2 = 1/var(coord) - 1/s^2``, ``m = mode(coord) e^2 / var(coord)``.

    Parameters
    ----------
    raw, variance : (K,) the posterior's mode and variances, of coordinates in the raw form of `guess` and `error`.
    s : (K,) the coordinates' SDs, held still.
    """
    t = s / np.sqrt(s**2 + error**2)
    variance = np.maximum(variance * (error * t) ** 2, LEAST_ERROR**2)
    precision = 1.0 / variance - 1.0 / s**2
    told = precision * variance > 0.02
    new_error = np.where(told, 1.0 / np.sqrt(np.where(told, precision, 1.0)), UNTOLD)
    new_guess = np.where(told, coords_from_raw(raw, s, guess, error) * new_error**2 / variance, 0.0)
    return new_guess, np.clip(new_error, LEAST_ERROR, UNTOLD)


def refined_pooling(raw: Floats, variance: Floats, sd: Floats, pooling: Pooling) -> Pooling:
    """`refined` for a pooling: raw and its variances (K,), under the SDs (S,)."""
    guess, error = refined(raw, variance, sd[pooling.column_of], pooling.guess, pooling.error)
    return replace(pooling, guess=guess, error=error)


def effects_of(coords: Floats, pooling: Pooling) -> tuple[Floats, ...]:
    """Per column the effects (..., L) of its levels: ``effect = Q coords``."""
    effects, first = [], 0
    for basis in pooling.bases:
        last = first + basis.shape[1]
        effects.append(product(coords[..., first:last], basis))
        first = last
    return tuple(effects)
