"""Groups: the distinct combinations of levels that occur, and the lines' levels they are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.frame import Frame
from clvforecast.histories import Histories
from clvforecast.histories.engine import values

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]


LARGEST_CODE, LARGEST_DIGIT = 2**62, 2**31
SPARSEST = 4
"""Codes a row, above which a table of all of them costs more than to sort the rows."""


def line_levels(histories: Histories, frame: Frame) -> Ints:
    """int32[L, segments], level index of every line; -1 for a level unseen in training."""
    columns = [frame.level_index(name, histories.segment(name)) for name in frame.segments]
    n = histories.lines.num_rows
    return np.stack(columns, axis=1) if columns else np.empty((n, 0), dtype=np.int32)


def line_size_classes(histories: Histories, frame: Frame) -> Ints:
    """int32[L], size class of every line's first base: what event rates and sizes go by, for ever."""
    return frame.size_class_of(values(histories.lines, "base"))


def distinct(keys: Longs) -> tuple[Longs, Longs]:
    """The distinct rows of an integer matrix in lexicographic order, and every row's index among them."""
    if not keys.shape[0]:
        return keys, np.empty(0, dtype=np.int64)
    code, n_codes = np.zeros(len(keys), dtype=np.int64), 1
    for column in keys.T:
        digit, n_digits = _digits(column)
        if n_codes * n_digits > LARGEST_CODE:
            code, n_codes = _ranked(code, n_codes)
        code, n_codes = code * n_digits + digit, n_codes * n_digits
    index, n_distinct = _ranked(code, n_codes)
    example = np.empty(n_distinct, dtype=np.int64)
    example[index] = np.arange(len(index))
    return keys[example], index


def numbers_of(found: Longs, keys: Longs) -> Longs:
    """The number of every key among those `found`, which hold them all: distinct rows in lexicographic order."""
    _, number = distinct(np.concatenate([found, keys]))
    return number[len(found) :]


def _digits(column: Longs) -> tuple[Longs, int]:
    """Numbers from 0 on in the order of the column's, and a bound of them: by subtraction, or where that is wide, by rank."""
    low, high = int(column.min()), int(column.max())
    if high - low < LARGEST_DIGIT:
        return column - low, high - low + 1
    values, rank = np.unique(column, return_inverse=True)
    return rank, len(values)


def _ranked(code: Longs, n_codes: int) -> tuple[Longs, int]:
    """The rank of each code 0..n_codes-1 among those that occur, and how many do."""
    if n_codes <= SPARSEST * len(code):  # marked in a table: no sort
        seen = np.zeros(n_codes, dtype=bool)
        seen[code] = True
        rank = np.cumsum(seen) - 1
        return rank[code], int(rank[-1]) + 1
    values, found = np.unique(code, return_inverse=True)
    return found, len(values)
