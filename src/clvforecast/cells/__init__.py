"""Histories counted into cells: the sufficient statistics of every component.

Of histories that are in one place, `build_frame` and `build_cells`; of parts of whole accounts wherever they lie, the functions
that these are made of, as `cells.build` has them in order.
"""

from clvforecast.cells.build import COUNTED, build_cells, cell_counts, cells_of, merged
from clvforecast.cells.change import SMALLEST_CHANGE
from clvforecast.cells.coarse import coarse_cells
from clvforecast.cells.counts import SCHEMA, Counts, counts_of, counts_table
from clvforecast.cells.frame import Frame
from clvforecast.cells.levels import build_frame, frame_counts, frame_of, passed_over_in
from clvforecast.cells.records import (
    Cells,
    ChangeCells,
    RateCells,
    Refunds,
    RenewalCells,
    SizeCells,
    TermCells,
)
from clvforecast.cells.renewal_cells import renewal_counts, renewal_cut

__all__ = [
    "COUNTED",
    "SCHEMA",
    "SMALLEST_CHANGE",
    "Cells",
    "ChangeCells",
    "Counts",
    "Frame",
    "RateCells",
    "Refunds",
    "RenewalCells",
    "SizeCells",
    "TermCells",
    "build_cells",
    "build_frame",
    "cell_counts",
    "cells_of",
    "coarse_cells",
    "counts_of",
    "counts_table",
    "frame_counts",
    "frame_of",
    "merged",
    "passed_over_in",
    "renewal_counts",
    "renewal_cut",
]
