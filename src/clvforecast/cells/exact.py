"""Sums of floats to the last bit: the same in any order, in one part or in many.

A float64 is an integer times 2^-1074. Cut into limbs of 32 bits, each is added to an int64 of its own: a "small superaccumulator"
(Neal 2015, "Fast exact summation using small and large superaccumulators", arXiv:1505.05571). Additions of integers commute, so
that accumulators of parts are put together by adding them too, and the sum is rounded once, when it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.counts import Counted, tallied
from clvforecast.histories.runs import run_starts

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Totals = NDArray[np.object_]

LIMB = 32
"""Bits of a limb: 2^31 addends fit into an int64."""
UNIT = 1 << 1074
"""Totals are integers in units of 2^-1074, the smallest positive float64."""
ROWS_AT_A_TIME = 16_384


def exact_sums(cell: Longs, terms: Callable[[Longs], Floats], sum_of: Sequence[int]) -> Counted:
    """Sums over the rows of every cell.

    Parameters
    ----------
    cell
        int64[R], the cell 0, 1, .. of every row.
    terms
        Gives float64[r, T], the terms of r rows by their numbers; asked for some at a time, they need no memory for all.
    sum_of
        Which of the J sums each of the T terms is added to: a product's rounded value and what was rounded off make one sum.

    Returns
    -------
    Counted
        keys (cell, limb), numbers int64[K, J].

    Raises
    ------
    ValueError
        When a term is not finite.
    """
    order = np.argsort(cell, kind="stable")
    columns, n_sums = np.asarray(sum_of, dtype=np.int64), max(sum_of) + 1
    found = [Counted(np.empty((0, 2), dtype=np.int64), np.empty((0, n_sums), dtype=np.int64))]
    for first in range(0, len(order), ROWS_AT_A_TIME):
        rows = order[first : first + ROWS_AT_A_TIME]
        found.append(_some_sums(cell[rows], terms(rows), columns, n_sums))
    return tallied(np.concatenate([part.keys for part in found]), np.concatenate([part.numbers for part in found]))


def _some_sums(cell: Longs, terms: Floats, columns: Longs, n_sums: int) -> Counted:
    """The same for a few rows, in order of their cells."""
    row, term = np.nonzero(terms)
    first_limb, parts = limbs(terms[row, term])
    starts = run_starts(cell)
    place = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(cell))))[row]
    low = int(first_limb.min(initial=66))
    n_limbs = int(first_limb.max(initial=low)) - low + 3
    sums = np.zeros((len(starts), n_limbs, n_sums), dtype=np.int64)
    at = (place * n_limbs + first_limb - low) * n_sums + columns[term]
    for i, part in enumerate(parts):
        np.add.at(sums.reshape(-1), at + i * n_sums, part)
    where, limb = np.nonzero(sums.any(axis=2))
    return Counted(np.column_stack([cell[starts][where], limb + low]), sums[where, limb])


def limbs(numbers: Floats) -> tuple[Longs, tuple[Longs, Longs, Longs]]:
    """The lowest limb of every number, and what it adds to that and to the next two.

    number = Σ_i part_i · 2^(32 (first limb + i) - 1074), |part_i| < 2^32
    """
    if not np.isfinite(numbers).all():
        wrong = numbers[~np.isfinite(numbers)][0]
        raise ValueError(f"{wrong} cannot be summed: every number must be finite.")
    bits = np.ascontiguousarray(numbers, dtype=np.float64).view(np.int64)
    exponent = (bits >> 52) & 0x7FF
    mantissa = (bits & (2**52 - 1)) | np.where(exponent > 0, 2**52, 0)
    position = np.maximum(exponent, 1) - 1  # number = ± mantissa · 2^(position - 1074)
    shift, sign = position % LIMB, np.where(bits < 0, -1, 1)
    lower, upper = (mantissa & (2**LIMB - 1)) << shift, (mantissa >> LIMB) << shift  # below 2^63 and 2^52
    upper += lower >> LIMB
    return position // LIMB, (
        (lower & (2**LIMB - 1)) * sign,
        (upper & (2**LIMB - 1)) * sign,
        (upper >> LIMB) * sign,
    )


def totals(sums: Counted) -> tuple[Longs, Totals]:
    """The cells' keys, which the limb follows in those of `sums`, and their totals int[C, J] in `UNIT`, as Python's integers."""
    keys, limb = sums.keys[:, :-1], sums.keys[:, -1]
    starts = run_starts(*keys.T)
    if not len(starts):
        return keys, np.empty((0, sums.numbers.shape[1]), dtype=object)
    weights = np.array([1 << (LIMB * i) for i in range(int(limb.max()) + 1)], dtype=object)[limb]
    return keys[starts], np.add.reduceat(sums.numbers.astype(object) * weights[:, None], starts, axis=0)


def rounded(total: Totals, unit: Totals | int = UNIT) -> Floats:
    """total / unit, each rounded once: Python divides integers correctly."""
    return np.asarray(total / unit, dtype=np.float64)


def product(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """a·b rounded, and what was rounded off (Dekker 1971), exact unless it is below 2^-1022."""
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    p = a * b
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Floats) -> tuple[Floats, Floats]:
    """a = high + low, each of 26 bits (Veltkamp 1968)."""
    scaled = (2.0**27 + 1.0) * a
    high = scaled - (scaled - a)
    return high, a - high
