"""The levels, size classes, term classes and lag bins that a training ledger has.

`build_frame` is `frame_of` what `frame_counts` finds: parts of whole accounts can be counted apart and put together first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.cells.counts import Counts, counted_of, so_many, tallied, total_of
from clvforecast.cells.frame import TERM_CLASS_NAMES, TERM_CLASS_STARTS, Frame, calendar_year
from clvforecast.errors import HistoryError
from clvforecast.histories import Histories
from clvforecast.histories.build import PASSED_OVER, passed_over_words
from clvforecast.histories.engine import is_text, values

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

AS_OF, MONTHS, SIZES, START_YEARS = "as of", "term months", "term sizes", "start years"
DUE, LAGS, NOTICES, PASSED = "due days", "lags", "notices", "passed over"
LEVEL = "level "
"""What the names of levels' counts begin with; the segment's place and the level follow."""
MICRO = 1e6
"""Log sizes are counted in millionths."""

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
    return frame_of(frame_counts(histories, segments), segments, size_edges)


def frame_counts(
    histories: Histories, segments: Sequence[str] = (), passed_over: Sequence[int] = (0,) * len(PASSED_OVER)
) -> Counts:
    """What a frame is made of, of a part of whole accounts: terms, decisions and lines by their length, size, day and level.

    `passed_over` are the counts that `slice_histories` gives beside the histories, so that they travel too.
    """
    names = _known_segments(histories, segments)
    terms, decisions = histories.terms, histories.decisions
    micro = np.rint(np.log(values(terms, "size")) * MICRO).astype(np.int64)
    ended = ~is_text(decisions, "outcome", "terminated")
    day, count = observed_lags(histories)
    return {
        AS_OF: tallied(np.array([histories.as_of_day])),
        MONTHS: tallied(values(terms, "months")),
        SIZES: tallied(micro),
        START_YEARS: tallied(calendar_year(values(terms, "start_day"))),
        DUE: tallied(values(terms, "end_day")[ended]),
        LAGS: tallied(day, count[:, None]),
        NOTICES: so_many(int(is_text(decisions, "outcome", "notified").sum())),
        PASSED: tallied(np.arange(len(passed_over)), np.asarray(passed_over, dtype=np.int64)[:, None]),
        **{
            f"{LEVEL}{place}/{level}": so_many(count)
            for place, name in enumerate(names)
            for level, count in _level_counts(histories, name)
        },
    }


def _level_counts(histories: Histories, name: str) -> list[tuple[str, int]]:
    counts = pc.value_counts(histories.segment(name))
    return list(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))


def frame_of(counts: Counts, segments: Sequence[str] = (), size_edges: Sequence[float] | None = None) -> Frame:
    """The frame of what `frame_counts` found in all parts, with the same segments; the rest as for `build_frame`.

    Raises
    ------
    HistoryError
        As `build_frame`; when no part has a contract, or parts are known as of different days.
    """
    if MONTHS not in counts:
        raise HistoryError(
            "no part has an initial or renewal event booked by its as_of, so there is no contract to model."
        )
    levels = [what.removeprefix(LEVEL).split("/", 1) for what in counts if what.startswith(LEVEL)]
    sizes, months = counts[SIZES], counts[MONTHS].keys[:, 0]
    edges = size_cuts(sizes.keys[:, 0], sizes.numbers[:, 0]) if size_edges is None else _given_cuts(size_edges)
    starts = np.searchsorted(TERM_CLASS_STARTS, months, side="right") - 1
    seen, term_class = np.unique(starts, return_inverse=True)
    lag_edges = lag_bins(*_lags(counts))
    years, settled_years = known_years(counts, lag_edges)
    return Frame(
        segments=tuple(segments),
        levels={
            name: tuple(sorted(level for at, level in levels if int(at) == place))
            for place, name in enumerate(segments)
        },
        size_edges=edges,
        term_values=months,
        term_class=term_class.astype(np.int64),
        term_class_names=tuple(TERM_CLASS_NAMES[index] for index in seen),
        lag_edges=lag_edges,
        uses_notice=total_of(counts, NOTICES) > 0,
        years=years,
        settled_years=settled_years,
    )


def passed_over_in(counts: Counts) -> tuple[str, ...]:
    """In words, what all parts passed over: what `Histories.warnings` are of a whole."""
    return passed_over_words(counted_of(counts, PASSED, 1).numbers[:, 0].tolist())


def _lags(counts: Counts) -> tuple[Longs, Longs]:
    lags = counted_of(counts, LAGS, 1)
    return lags.keys[:, 0], lags.numbers[:, 0]


def known_years(counts: Counts, lag_edges: Floats) -> tuple[tuple[int, ...], int]:
    """Years from the first term's to the last in which a renewal may be booked already, and how many of them are settled.

    A decision is settled when it is so long past that nine in ten renewals would be booked; a year, when three in four of
    those of its decisions are that may be booked. Otherwise a year in which contracts are booked late looks like one in which
    they are not renewed, and how late they are booked differs from year to year.
    """
    due = counted_of(counts, DUE, 1)
    waited = _as_of_day(counts) - due.keys[:, 0]
    seen = waited > lag_edges[0]
    first = int(counts[START_YEARS].keys[0, 0])
    place, n_due = calendar_year(due.keys[seen, 0]) - first, due.numbers[seen, 0]
    n_years = int(place.max(initial=0)) + 1
    unsettled = waited[seen] < quantile_of(*_lags(counts), BOOKED)
    n_unsettled, n_all = (np.bincount(place, weights=n, minlength=n_years) for n in (n_due * unsettled, n_due))
    settled = int(np.argmax(np.append(n_unsettled / np.maximum(n_all, 1), 1.0) > 1.0 - SETTLED))
    return tuple(range(first, first + n_years)), settled


def _as_of_day(counts: Counts) -> int:
    days = counts[AS_OF].keys[:, 0]
    if len(days) > 1:
        raise HistoryError(f"parts are known as of different days ({days.tolist()}). Take one as_of for all of them.")
    return int(days[0])


def quantile_of(numbers: Longs, counts: Longs, share: float) -> float:
    """`numpy.quantile` of increasing numbers, each as often as it was counted; 0 of none."""
    if not len(numbers):
        return 0.0
    up_to = np.cumsum(counts)
    at = (int(up_to[-1]) - 1) * share
    low, high = numbers[np.searchsorted(up_to, [int(at), min(int(at) + 1, int(up_to[-1]) - 1)], side="right")]
    part = at - int(at)
    return float(high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part)


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


def size_cuts(micro: Longs, counts: Longs) -> Floats:
    """Cut points near the quantiles, half-way between neighbouring distinct values; no class is empty.

    Of terms by their log size, counted in millionths.
    """
    n_terms = int(counts.sum())
    n_classes = min(MOST_SIZE_CLASSES, n_terms // LEAST_IN_SIZE_CLASS)
    if n_classes < 2 or len(micro) < 2:
        return np.empty(0)
    log_size, below = micro / MICRO, np.cumsum(counts)[:-1]
    wanted = np.arange(1, n_classes) * n_terms / n_classes
    chosen = np.unique([np.argmin(np.abs(below - number)) for number in wanted])
    return np.asarray((log_size[chosen] + log_size[chosen + 1]) / 2, dtype=np.float64)


def observed_lags(histories: Histories) -> tuple[Longs, Longs]:
    """Lags in days of the renewals booked and of the notices given, from the end of the term: each with how often it occurs."""
    lags = tallied(histories.decisions["lag_days"].drop_null().to_numpy())
    return lags.keys[:, 0], lags.numbers[:, 0]


def clipped_lags(lags: Floats, edges: Floats) -> Floats:
    """Lags moved into the end bins where they lie outside."""
    return np.clip(lags, edges[0] + 1, edges[-1])


def lag_bin_of(lags: Floats, edges: Floats) -> NDArray[np.int32]:
    """Bin j of each lag: (edge_j, edge_{j+1}], lags outside in the end bins."""
    return (np.searchsorted(edges, clipped_lags(lags, edges), side="left") - 1).astype(np.int32)


def lag_bins(day: Longs, count: Longs) -> Floats:
    """Edges of the lag bins, for days and how often each is a lag.

    The grid is cut to what was observed, and neighbours are merged until each holds enough.

    A single day that many lags share (the contract's next day, the first day of a quarter) is a bin of its own: what is
    booked on that day is not booked by half the day before.

    A thin tail is clipped in, not stretched over: one renewal booked two years late would otherwise spread the last bin
    so far that accounts long overdue still seemed to wait for their booking.
    """
    n_lags = int(count.sum())
    if not n_lags:
        return BOOKED_AT_ONCE.copy()
    days = common_days(day, count)
    grid = np.unique(np.concatenate([LAG_GRID, days - 1.0, days]))
    bins = lag_bin_of(day.astype(np.float64), grid)
    counts = _counted_in(bins, count, len(grid) - 1)
    few = min(LEAST_IN_LAG_BIN, n_lags)
    first = int(np.argmax(np.cumsum(counts) >= few))
    last = len(counts) - 1 - int(np.argmax(np.cumsum(counts[::-1]) >= few))
    first, last = min(first, last), max(first, last)
    counts = _counted_in(np.clip(bins, first, last), count, len(grid) - 1)
    enough = max(LEAST_IN_LAG_BIN, LEAST_SHARE_IN_LAG_BIN * n_lags)
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


def _counted_in(bins: NDArray[np.int32], count: Longs, n_bins: int) -> Longs:
    counts = np.zeros(n_bins, dtype=np.int64)
    np.add.at(counts, bins, count)
    return counts


def common_days(day: Longs, count: Longs) -> Floats:
    """The lags, in whole days, that many share."""
    return np.asarray(day[count >= max(LEAST_IN_LAG_BIN, SHARE_OF_A_DAY * count.sum())], float)
