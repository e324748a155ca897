"""Sums and look-ups along runs: neighbouring rows of a sorted array that share a key.

Sums of floats go through here and never through a parallel GROUP BY: a run's result depends on its own rows
alone, so it is the same bytes whatever else the ledger holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Array = NDArray[Any]


def run_starts(*keys: Array) -> Longs:
    """Index of the first row of every run; a run ends where any key changes."""
    if not len(keys[0]):
        return np.empty(0, dtype=np.int64)
    changed = np.zeros(len(keys[0]), dtype=bool)
    changed[0] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed).astype(np.int64)


def inverse(order: Longs) -> Longs:
    """The place of every row when rows are taken in this order."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place


def run_lengths(starts: Longs, n: int) -> Longs:
    """Rows of every run, of n rows in all."""
    return np.diff(np.append(starts, n)).astype(np.int64)


def places(starts: Longs, n: int) -> Longs:
    """Every row's place in its run, 0-based."""
    return np.arange(n, dtype=np.int64) - np.repeat(starts, run_lengths(starts, n))


def run_sums(numbers: Array, starts: Longs) -> Array:
    """Sum of every run, added in row order."""
    if not len(starts):
        return np.empty(0, dtype=numbers.dtype)
    return np.asarray(np.add.reduceat(numbers, starts))


def running_sums(numbers: Array, starts: Longs) -> Array:
    """Sum of the rows of the run up to and including each row, added in row order.

    One vectorised addition a place, over the runs that are that long.
    """
    sums = numbers.copy()
    lengths = run_lengths(starts, len(numbers))
    for place in range(1, int(lengths.max(initial=0))):
        rows = starts[lengths > place] + place
        sums[rows] += sums[rows - 1]
    return sums


def counted(keys: Longs, n: int) -> Longs:
    """How many rows have each key 0..n-1."""
    return np.bincount(keys, minlength=n).astype(np.int64)


def offsets(counts: Longs) -> Longs:
    """CSR offsets: 0, then the cumulative counts."""
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)))


def flat_ranges(starts: Longs, lengths: Longs) -> Longs:
    """The indices starts[i], starts[i] + 1, ... (lengths[i] of them) of every i, one after the other."""
    shift = np.repeat(starts - offsets(lengths)[:-1], lengths)
    return np.arange(int(lengths.sum()), dtype=np.int64) + shift


def last_before(line: Array, day: Array, at_line: Array, at_day: Array, inclusive: bool = True) -> Longs:
    """Index of the last row of the same line with day <= at_day (< when not inclusive); -1 when there is
    none.

    `line` and `day` are sorted (by line, then day); |day| < 2^31.
    """
    if not len(line):
        return np.full(len(at_line), -1, dtype=np.int64)
    keys = line.astype(np.int64) * 2**32 + day
    wanted = at_line.astype(np.int64) * 2**32 + at_day
    found = np.searchsorted(keys, wanted, side="right" if inclusive else "left") - 1
    same = (found >= 0) & (line[np.maximum(found, 0)] == at_line)
    return np.where(same, found, -1).astype(np.int64)
