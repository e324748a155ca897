"""Groups: the distinct combinations of levels that occur, and the lines' levels they are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.frame import Frame
from clvforecast.histories import Histories
from clvforecast.histories.engine import values

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]


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
    if not keys.shape[1]:
        return keys[:1], np.zeros(keys.shape[0], dtype=np.int64)
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    index = np.empty(len(order), dtype=np.int64)
    index[order] = np.cumsum(new) - 1
    return ordered[new], index
