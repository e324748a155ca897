"""Histories counted into cells: the sufficient statistics of every component."""

from clvforecast.cells.build import COUNTED, build_cells
from clvforecast.cells.change import SMALLEST_CHANGE, coarse_cells
from clvforecast.cells.frame import Frame
from clvforecast.cells.levels import build_frame
from clvforecast.cells.records import (
    Cells,
    ChangeCells,
    RateCells,
    Refunds,
    RenewalCells,
    SizeCells,
    TermCells,
)

__all__ = [
    "COUNTED",
    "SMALLEST_CHANGE",
    "Cells",
    "ChangeCells",
    "Frame",
    "RateCells",
    "Refunds",
    "RenewalCells",
    "SizeCells",
    "TermCells",
    "build_cells",
    "build_frame",
    "coarse_cells",
]
