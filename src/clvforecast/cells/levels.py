"""`build_frame`: the levels, size classes, term classes and lag bins that a training ledger has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.cells.frame import TERM_CLASS_NAMES, TERM_CLASS_STARTS, Frame, calendar_year
from clvforecast.errors import HistoryError
from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values

Floats = NDArray[np.float64]

MOST_SIZE_CLASSES = 7
LEAST_IN_SIZE_CLASS = 20
"""Terms that a size class holds at least, when the cut points are chosen here."""

LAG_GRID = np.array(
    [-730, -365, -182, -92, -61, -31, -15, -1, 0, 15, 31, 61, 92, 122, 182, 273, 365, 548, 730, 1095],
    dtype=np.float64,
)
"""Edges in days that lag bins are merged from; lags outside count in the end bins."""
LEAST_IN_LAG_BIN = 5
LEAST_SHARE_IN_LAG_BIN = 0.01
SHARE_OF_A_DAY = 0.03
"""A day that so many lags share is a lag bin of its own."""
BOOKED, SETTLED = 0.9, 0.75
"""Share of bookings by which a decision is settled, and of a year's decisions by which the year is."""
BOOKED_AT_ONCE = np.array([-1.0, 0.0])
"""The one lag bin of a ledger in which no lag has been seen."""


def build_frame(histories: Histories, segments: Sequence[str] = (), size_edges: Sequence[float] | None = None) -> Frame:
    """The frame of a training ledger.

    Parameters
    ----------
    segments
        Names of the segment columns to use.
    size_edges
        Cut points on log MRR (natural log of currency per month), increasing; by default quantiles of the
        terms' sizes, between distinct values, for up to 7 classes of at least 20 terms.

    Raises
    ------
    HistoryError
        For a segment column the accounts do not have, one named twice, or cut points that do not increase.
    """
    names = _known_segments(histories, segments)
    log_size = np.log(values(histories.terms, "size"))
    edges = size_cuts(log_size) if size_edges is None else _given_cuts(size_edges)
    months = np.unique(values(histories.terms, "months"))
    starts = np.searchsorted(TERM_CLASS_STARTS, months, side="right") - 1
    seen, term_class = np.unique(starts, return_inverse=True)
    lags = observed_lags(histories)
    lag_edges = lag_bins(lags)
    years, settled_years = known_years(histories, lags, lag_edges)
    return Frame(
        segments=names,
        levels={name: tuple(sorted(pc.unique(histories.segment(name)).to_pylist())) for name in names},
        size_edges=edges,
        term_values=months.astype(np.int64),
        term_class=term_class.astype(np.int64),
        term_class_names=tuple(TERM_CLASS_NAMES[index] for index in seen),
        lag_edges=lag_edges,
        uses_notice=bool(is_text(histories.decisions, "outcome", "notified").any()),
        years=years,
        settled_years=settled_years,
    )


def known_years(histories: Histories, lags: Floats, lag_edges: Floats) -> tuple[tuple[int, ...], int]:
    """Years from the first term's to the last in which a renewal may be booked already, and how many of them are settled.

    A decision is settled when it is so long past that nine in ten renewals would be booked; a year, when three in four of
    those of its decisions are that may be booked. Otherwise a year in which contracts are booked late looks like one in which
    they are not renewed, and how late they are booked differs from year to year.
    """
    due = values(histories.terms, "end_day")[~is_text(histories.decisions, "outcome", "terminated")]
    waited = histories.as_of_day - due
    seen = waited > lag_edges[0]
    first = int(calendar_year(values(histories.terms, "start_day").min()))
    place = calendar_year(due[seen]) - first
    n_years = int(place.max(initial=0)) + 1
    unsettled = waited[seen] < (np.quantile(lags, BOOKED) if len(lags) else 0.0)
    open_share = np.bincount(place, weights=unsettled, minlength=n_years) / np.maximum(
        np.bincount(place, minlength=n_years), 1
    )
    settled = int(np.argmax(np.append(open_share, 1.0) > 1.0 - SETTLED))
    return tuple(range(first, first + n_years)), settled


def _known_segments(histories: Histories, segments: Sequence[str]) -> tuple[str, ...]:
    if isinstance(segments, str):
        raise HistoryError(f"segments={segments!r} is one text; give a list of column names: segments=[{segments!r}]")
    for name in segments:
        if name not in histories.segment_columns:
            there = ", ".join(histories.segment_columns) or "none"
            raise HistoryError(f"segments: {name!r} is not a column of the accounts (columns there: {there}).")
    if len(set(segments)) < len(segments):
        raise HistoryError(f"segments: {list(segments)} names a column twice; name each once.")
    return tuple(segments)


def _given_cuts(size_edges: Sequence[float]) -> Floats:
    edges = np.asarray(size_edges, dtype=np.float64)
    if edges.ndim != 1 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise HistoryError(
            f"size_edges: {list(size_edges)} must be finite, increasing cut points on log MRR (natural log)."
        )
    return edges


def size_cuts(log_size: Floats) -> Floats:
    """Cut points near the quantiles, half-way between neighbouring distinct values; no class is empty."""
    distinct, counts = np.unique(np.round(log_size, 6), return_counts=True)
    n_classes = min(MOST_SIZE_CLASSES, len(log_size) // LEAST_IN_SIZE_CLASS)
    if n_classes < 2 or len(distinct) < 2:
        return np.empty(0)
    below = np.cumsum(counts)[:-1]
    wanted = np.arange(1, n_classes) * len(log_size) / n_classes
    chosen = np.unique(np.argmin(np.abs(below[None, :] - wanted[:, None]), axis=1))
    return np.asarray((distinct[chosen] + distinct[chosen + 1]) / 2, dtype=np.float64)


def observed_lags(histories: Histories) -> Floats:
    """Lags in days of the renewals booked and of the notices given, from the end of the term."""
    return np.asarray(histories.decisions["lag_days"].drop_null().to_numpy(), dtype=np.float64)


def clipped_lags(lags: Floats, edges: Floats) -> Floats:
    """Lags moved into the end bins where they lie outside."""
    return np.clip(lags, edges[0] + 1, edges[-1])


def lag_bin_of(lags: Floats, edges: Floats) -> NDArray[np.int32]:
    """Bin j of each lag: (edge_j, edge_{j+1}], lags outside in the end bins."""
    return (np.searchsorted(edges, clipped_lags(lags, edges), side="left") - 1).astype(np.int32)


def lag_bins(lags: Floats) -> Floats:
    """Edges of the lag bins: the grid cut to what was observed, neighbours merged until each holds enough.

    A single day that many lags share (the contract's next day, the first day of a quarter) is a bin of its own: what is
    booked on that day is not booked by half the day before.

    A thin tail is clipped in, not stretched over: one renewal booked two years late would otherwise spread the last bin
    so far that accounts long overdue still seemed to wait for their booking.
    """
    if not len(lags):
        return BOOKED_AT_ONCE.copy()
    days = common_days(lags)
    grid = np.unique(np.concatenate([LAG_GRID, days - 1.0, days]))
    bins = lag_bin_of(lags, grid)
    counts = np.bincount(bins, minlength=len(grid) - 1)
    few = min(LEAST_IN_LAG_BIN, len(lags))
    first = int(np.argmax(np.cumsum(counts) >= few))
    last = len(counts) - 1 - int(np.argmax(np.cumsum(counts[::-1]) >= few))
    first, last = min(first, last), max(first, last)
    counts = np.bincount(np.clip(bins, first, last), minlength=len(grid) - 1)
    enough = max(LEAST_IN_LAG_BIN, LEAST_SHARE_IN_LAG_BIN * len(lags))
    alone = np.isin(grid[1:], days)
    edges, held = [grid[first]], 0
    for j in range(first, last + 1):
        if alone[j] and edges[-1] < grid[j]:  # what came before, however little or nothing, was booked before
            edges.append(grid[j])
            held = 0
        held += int(counts[j])
        if held >= enough:
            edges.append(grid[j + 1])
            held = 0
    if held and len(edges) > 1 and edges[-1] not in days:  # what is left over joins the bin before it
        edges.pop()
    if edges[-1] < grid[last + 1]:
        edges.append(grid[last + 1])
    return np.array(edges)


def common_days(lags: Floats) -> Floats:
    """The lags, in whole days, that many share."""
    day, count = np.unique(lags, return_counts=True)
    return np.asarray(day[count >= max(LEAST_IN_LAG_BIN, SHARE_OF_A_DAY * len(lags))], float)
