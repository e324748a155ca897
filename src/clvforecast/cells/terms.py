"""Lengths of new terms counted by the class of the ended term; early terminations by what they de-booked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.counts import Counts, counted_of, tallied
from clvforecast.cells.frame import Frame
from clvforecast.cells.records import Refunds, TermCells
from clvforecast.errors import HistoryError
from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values


def term_counts(histories: Histories, frame: Frame) -> Counts:
    """New terms by (class of the ended term, length of the new one), as indices; the class after the last is a return."""
    terms = histories.terms
    months, k, spell = (values(terms, name) for name in ("months", "k", "spell"))
    value = _value_index(months, frame)
    renewal = np.flatnonzero(k > 1)
    returned = np.flatnonzero((k == 1) & (spell > 0))
    ended = np.concatenate((frame.term_class[value[renewal - 1]], np.full(len(returned), frame.n_term_classes)))
    return {"term": tallied(np.column_stack([ended, value[np.concatenate((renewal, returned))]]))}


def term_cells(counts: Counts, frame: Frame) -> TermCells:
    """Renewals by (class of the ended term, length of the new one); the last row counts returns."""
    keys, numbers = counted_of(counts, "term", 2)
    cells = np.zeros((frame.n_term_classes + 1, len(frame.term_values)), dtype=np.int64)
    cells[keys[:, 0], keys[:, 1]] = numbers[:, 0]
    return TermCells(counts=cells)


def _value_index(months: NDArray[np.int64], frame: Frame) -> NDArray[np.int64]:
    index = np.minimum(np.searchsorted(frame.term_values, months), len(frame.term_values) - 1)
    unseen = months[frame.term_values[index] != months]
    if len(unseen):
        raise HistoryError(
            f"term length {int(unseen[0])} months is not in the frame ({frame.term_values.tolist()}). "
            "Build the frame from the same ledger as the cells."
        )
    return index.astype(np.int64)


def refund_counts(histories: Histories) -> Counts:
    """Early terminations by whether they de-booked at least half of the unserved remainder."""
    churns = histories.churns
    ended = is_text(churns, "role", "terminated")
    remainder, debooked = values(churns, "remainder_cents")[ended], values(churns, "debooked_cents")[ended]
    return {"refund": tallied(-2 * debooked >= remainder)}


def refunds_of(counts: Counts) -> Refunds:
    """Early terminations that de-booked so much, and those that did not."""
    keys, numbers = counted_of(counts, "refund", 1)
    refunded = keys[:, 0] == 1
    return Refunds(refunded=int(numbers[refunded].sum()), kept=int(numbers[~refunded].sum()))
