"""Lengths of new terms counted by the class of the ended term; early terminations by what they de-booked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.frame import Frame
from clvforecast.cells.records import Refunds, TermCells
from clvforecast.errors import HistoryError
from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values


def count_terms(histories: Histories, frame: Frame) -> TermCells:
    """Renewals by (class of the ended term, length of the new one); the last row counts returns."""
    terms = histories.terms
    months, k, spell = (values(terms, name) for name in ("months", "k", "spell"))
    value = _value_index(months, frame)
    counts = np.zeros((frame.n_term_classes + 1, len(frame.term_values)), dtype=np.int64)
    renewal = np.flatnonzero(k > 1)
    np.add.at(counts, (frame.term_class[value[renewal - 1]], value[renewal]), 1)
    np.add.at(counts[-1], value[(k == 1) & (spell > 0)], 1)
    return TermCells(counts=counts)


def _value_index(months: NDArray[np.int64], frame: Frame) -> NDArray[np.int64]:
    index = np.minimum(np.searchsorted(frame.term_values, months), len(frame.term_values) - 1)
    unseen = months[frame.term_values[index] != months]
    if len(unseen):
        raise HistoryError(
            f"term length {int(unseen[0])} months is not in the frame ({frame.term_values.tolist()}). "
            "Build the frame from the same ledger as the cells."
        )
    return index.astype(np.int64)


def count_refunds(histories: Histories) -> Refunds:
    """Early terminations that de-booked at least half of the unserved remainder, and those that did not."""
    churns = histories.churns
    ended = is_text(churns, "role", "terminated")
    remainder, debooked = values(churns, "remainder_cents")[ended], values(churns, "debooked_cents")[ended]
    refunded = -2 * debooked >= remainder
    return Refunds(refunded=int(refunded.sum()), kept=int((~refunded).sum()))
