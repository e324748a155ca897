"""Partial pooling of categorical columns: ``location_g = intercept + sum over columns of the effect of g's level``.

The effects of a column sum to zero and are exchangeable: ``effect = Q coords``, ``coords_k ~ Normal(0, s)``, with Q an
orthonormal basis of the vectors that sum to zero, so that ``effect ~ Normal(0, s^2 (I - 1 1'/L))``. Q is Helmert's: with
the levels ordered by decreasing amount of data, coordinate k contrasts level k with the mean of the bigger ones.

Two choices keep NUTS quick and change nothing in the model:

- *centred or not, coordinate by coordinate* (Papaspiliopoulos, Roberts and Skold 2007): ``raw_k ~ Normal(0, s^c_k)``,
  ``coord_k = raw_k s^(1 - c_k)``; c_k = 1 where the data say more about the contrast than the pooling does. With much data
  non-centred effects mix badly, with little data centred ones do.
- *the level is sampled where the data are*: ``level = intercept + mean(X) coords`` is nearly uncorrelated with the
  coordinates, the intercept of unequal groups is not. It is a shift, so the Jacobian is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

KNOWN_SD = 0.03
"""A contrast that its data alone would tell to a tenth of a log unit is sampled centred: any spread of levels that could
matter is wider. In between non-centred is the safe choice: it mixes well until the data are some tens of times sharper."""


@dataclass(frozen=True)
class Pooling:
    """The design of one location parameter: groups x coordinates, and the way back to effects.

    X is (G, K), at least one column wide (a column of zeros when there is nothing to pool, whose coordinate then is
    drawn from its prior and multiplied by nothing); `column_of` (K,) says which SD a coordinate has; `centred` (K,) is 0 or 1;
    `mean` (K,) is the data-weighted mean of X; `bases` holds a (levels, coordinates) basis a column.
    """

    X: Floats
    mean: Floats
    column_of: Integers
    centred: Floats
    bases: tuple[Floats, ...]

    @property
    def n_coords(self) -> int:
        return self.X.shape[1]

    @property
    def n_sds(self) -> int:
        return max(len(self.bases), 1)

    @property
    def is_empty(self) -> bool:
        return sum(basis.shape[1] for basis in self.bases) == 0

    def data(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The arrays a graph needs, under `prefix`."""
        return {
            f"{prefix}_X": self.X,
            f"{prefix}_X_mean": self.mean,
            f"{prefix}_column_of": self.column_of,
            f"{prefix}_centred": self.centred,
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


def pooled_columns(levels: Sequence[NDArray[np.integer[Any]]], n_levels: Sequence[int], information: Floats) -> Pooling:
    """The pooled design of some categorical columns.

    Parameters
    ----------
    levels : per column the level index of each group, (G,); a negative index belongs to no level (zero effect).
    n_levels : number of levels of each column, data or not.
    information : (G,) about 1 / variance with which a group alone would know its location (a count of events, say).
    """
    G = information.size
    bases, blocks, centred, column_of = [], [], [], []
    for column, (index, L) in enumerate(zip(levels, n_levels, strict=True)):
        onehot = (np.asarray(index)[:, None] == np.arange(L)[None, :]).astype(float)
        of_level = onehot.T @ information
        Q = zero_sum_basis(of_level)
        bases.append(Q)
        blocks.append(onehot @ Q)
        centred.append(_well_known(Q, of_level))
        column_of.append(np.full(Q.shape[1], column))
    if sum(basis.shape[1] for basis in bases) == 0:
        blocks, centred, column_of = [np.zeros((G, 1))], [np.zeros(1)], [np.zeros(1)]
    X = np.hstack(blocks)
    return Pooling(
        X=X,
        mean=_weighted_mean(X, information),
        column_of=np.concatenate(column_of).astype(np.int64),
        centred=np.concatenate(centred),
        bases=tuple(bases),
    )


def _well_known(Q: Floats, information: Floats) -> Floats:
    """1 where the contrast's own variance, ``sum_l q_l^2 / information_l``, is small."""
    variance = (Q**2 / np.maximum(information, 1e-9)[:, None]).sum(axis=0)
    return (variance < KNOWN_SD**2).astype(float)


def _weighted_mean(X: Floats, weight: Floats) -> Floats:
    total = float(weight.sum())
    return np.asarray(weight @ X / total if total > 0 else np.zeros(X.shape[1]), float)


def pooled_coords(raw: Any, sd: Any, column_of: Any, centred: Any) -> Any:
    """``coord_k = raw_k s^(1 - c_k)``, as a PyTensor graph."""
    return raw * sd[column_of] ** (1.0 - centred)


def raw_log_prior(raw: Any, sd: Any, column_of: Any, centred: Any) -> Any:
    """``raw_k ~ Normal(0, s^c_k)``, summed, without its constant."""
    scale = sd[column_of] ** centred
    return -0.5 * pt.sum((raw / scale) ** 2) - pt.sum(centred * pt.log(sd[column_of]))


def coords_of(raw: Floats, sd: Floats, pooling: Pooling) -> Floats:
    """The coordinates (..., K) of draws `raw` (..., K) and `sd` (..., S)."""
    return np.asarray(raw * sd[..., pooling.column_of] ** (1.0 - pooling.centred), float)


def recentred(coords: Floats, sd: Floats, column_of: Integers) -> Floats:
    """Which coordinates to sample centred, 0 or 1 (K,), judged by draws of a first, short run.

    A coordinate's centred form has a funnel where its SD s may be as small as what the data leave open of the coordinate;
    its other form a narrow ridge where s is far larger than that. So: centred when even the 2% quantile of s is twice the
    coordinate's own posterior SD.

    Parameters
    ----------
    coords : draws (chain, draw, K) of the coordinates;  sd : draws (chain, draw, S) of the columns' SDs.
    """
    smallest = np.quantile(sd, 0.02, axis=(0, 1))[column_of]
    return (smallest > 2.0 * coords.std(axis=(0, 1))).astype(float)


def effects_of(coords: Floats, pooling: Pooling) -> tuple[Floats, ...]:
    """Per column the effects (..., L) of its levels: ``effect = Q coords``."""
    effects, first = [], 0
    for basis in pooling.bases:
        last = first + basis.shape[1]
        effects.append(coords[..., first:last] @ basis.T)
        first = last
    return tuple(effects)
