"""Changes of MRR at renewal: every renewal with what is known of the term it ends, and its direction and size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells.records import TERM_CHANGED
from clvforecast.histories import Histories
from clvforecast.histories.engine import values
from clvforecast.histories.runs import places, run_starts
from clvforecast.histories.terms import FLAT, direction_codes

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

SMALLEST_CHANGE = float(np.log(np.expm1(FLAT)))
"""y at the edge of the flat band, log .01, of a raise and of a cut alike: what is smaller counts as flat."""
TERM_CHANGE = 0.1
"""The term has changed when its months differ by more than this share of the ended term's."""
DOWN, FLAT_SIDE, UP = 0, 1, 2


@dataclass(frozen=True)
class Renewals:
    """Observed renewals, R of them: the line, the new term's place among the line's, the ended term's size (MRR with its
    amendments), row of the direction table, log term ratio, carried MRR for I = 0, 1 (R, 2), new MRR, Σ log M0 / n of the
    spell so far, and whether the ended term had a net amendment."""

    line: Longs
    place: Longs
    size: Floats
    row: NDArray[np.int8]
    log_term: Floats
    carried: Floats
    mrr: Floats
    past: Floats
    amended: NDArray[np.bool_]


def observed_renewals(histories: Histories) -> Renewals:
    """Every renewal with what is known of the term it ends."""
    terms = histories.terms
    new = np.flatnonzero(values(terms, "k") > 1)
    old = new - 1
    months = values(terms, "months").astype(np.float64)
    changed = np.abs(months[new] - months[old]) > TERM_CHANGE * months[old]
    line = values(terms, "line")
    return Renewals(
        line=line[new],
        place=places(run_starts(line), len(line))[new],
        size=values(terms, "size")[old],
        row=np.where(changed, TERM_CHANGED, values(terms, "prev")[old]).astype(np.int8),
        log_term=np.log(months[new] / months[old]),
        carried=np.stack([values(terms, "carried0")[old], values(terms, "carried1")[old]], axis=1),
        mrr=values(terms, "mrr")[new],
        past=values(terms, "log_mrr_sum")[old] / values(terms, "n")[old],
        amended=values(terms, "amend_cents")[old] != 0,
    )


@dataclass(frozen=True)
class Changes:
    """Changes against one carried MRR, each (R,): direction (0 down, 1 flat, 2 up), y, x, log|dy/d log r|."""

    direction: NDArray[np.int8]
    y: Floats
    x: Floats
    log_jac: Floats
    capped: NDArray[np.bool_]


def changes(mrr: Floats, carried: Floats, past: Floats, max_ratio: float) -> Changes:
    """The renewals' changes relative to `carried`.

    r = new M0 / carried;  x = log carried - mean log M0 of the spell so far
    up:   y = log(r - 1),            dy/d log r = r / (r - 1)
    down: y = logit(1 - r),         |dy/d log r| = 1 / (1 - r)
    flat: uniform over |log r| <= log 1.01
    """
    carried = np.ascontiguousarray(carried)  # a column's logarithms may differ from a vector's in the last bit
    log_r = np.minimum(np.log(mrr / carried), np.log(max_ratio))
    direction = (direction_codes(log_r) - 1).astype(np.int8)
    moved = np.where(direction == FLAT_SIDE, 1.0, log_r)  # keeps the unused branches finite
    part = np.abs(np.expm1(moved))  # r - 1, or 1 - r
    y = np.where(direction == UP, np.log(part), np.log(part) - moved)
    log_jac = np.where(direction == UP, moved - np.log(part), -np.log(part))
    flat = direction == FLAT_SIDE
    return Changes(
        direction=direction,
        y=np.where(flat, 0.0, y),
        x=np.log(carried) - past,
        log_jac=np.where(flat, -np.log(2 * FLAT), log_jac),
        capped=np.log(mrr / carried) > np.log(max_ratio),
    )
