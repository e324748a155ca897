"""At which days a forecast looks at ARR, and between which of them it follows what became of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clvforecast.calendars import MONTHS_IN, FiscalCalendar
from clvforecast.simulation.calendar import Grid
from clvforecast.simulation.structures import Snapshots

Longs = NDArray[np.int64]
TRAILING = "trailing year"
"""Windows of twelve months that end with each quarter."""
MONTHS_BEFORE = 15
"""Past months at whose ends ARR is looked at: a year before the quarter that is running, and to where the year began."""


class Window(NamedTuple):
    """A period over which ARR is followed: days since 1970-01-01, of its label's period.

    start, end: first and last day; partial: whether the window's last snapshot comes before the period's end
    """

    label: str
    start: int
    end: int
    partial: bool


class Plan(NamedTuple):
    """Snapshots of a forecast, and its windows by frequency, in the order of ``snapshots.windows``: slices of these."""

    snapshots: Snapshots
    rows: dict[str, slice]
    windows: dict[str, list[Window]]


def plan_snapshots(grid: Grid, calendar: FiscalCalendar) -> Plan:
    """Ends of months before the origin, `as_of`, and ends of the grid's months; windows that end after `as_of`.

    Periods that have begun by `as_of` are followed from their own beginning.
    """
    origin, last = int(grid.bounds[0]), int(grid.bounds[-1]) - 1
    earlier = calendar.spans(origin - 31 * (MONTHS_BEFORE + 1), origin, "month").bounds - 1
    past = np.append(earlier[earlier < origin - 1][-MONTHS_BEFORE:], origin - 1)
    days = np.concatenate((past, grid.bounds[1:] - 1))
    found: list[Longs] = []
    rows, windows = {}, {}
    for freq in (*MONTHS_IN, TRAILING):
        periods = (
            trailing_years(days, origin, calendar) if freq == TRAILING else periods_of(days, origin, calendar, freq)
        )
        rows[freq] = slice(len(found), len(found) + len(periods))
        windows[freq] = periods
        found += [np.searchsorted(days, (window.start - 1, min(window.end, last))) for window in periods]
    return Plan(Snapshots(days, past.size, np.array(found, dtype=np.int64).reshape(-1, 2)), rows, windows)


def periods_of(days: Longs, origin: int, calendar: FiscalCalendar, freq: str) -> list[Window]:
    """The periods that the window touches; the last may be partial."""
    labels, bounds = calendar.spans(origin, int(days[-1]), freq)
    return [
        Window(label, int(start), int(after) - 1, bool(after - 1 > days[-1]))
        for label, start, after in zip(labels, bounds[:-1], bounds[1:], strict=True)
    ]


def trailing_years(days: Longs, origin: int, calendar: FiscalCalendar) -> list[Window]:
    """The twelve months to the end of each quarter that ends from `origin` to the last of the days, called by the quarter."""
    first, last = int(days[0]) + 1, int(days[-1])
    labels, bounds = calendar.spans(origin, last, "quarter")
    months = calendar.spans(first, last, "month").bounds
    found = []
    for label, after in zip(labels, bounds[1:], strict=True):
        place = int(np.searchsorted(months, after)) - MONTHS_IN["year"]
        if place >= 0 and after - 1 <= last:
            found.append(Window(label, int(months[place]), int(after) - 1, False))
    return found
