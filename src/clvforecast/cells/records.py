"""The counted cells: what each likelihood needs to know of the data, as frozen records of numpy arrays.

G is always a number of groups, that is of distinct combinations of levels; `group_levels[g, s]` is the index
of the group's level in ``frame.levels[frame.segments[s]]``. Group indices of one record are its own. -1
stands for "none".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

OPEN, NOTIFIED, UNREACHED = 0, 1, 2
"""Outcomes of the decision after the renewed ones, see `RenewalCells.outcome`."""

FIRST, DOWN, FLAT, UP, TERM_CHANGED = 0, 1, 2, 3, 4
"""Rows of the direction table: the direction of the renewal before (0..3), or the term changed (4)."""

DIRECTIONS = ("down", "flat", "up")
SIDES = ("down", "up")
EVENT_KINDS = ("expansion", "contraction", "change_order", "referral")
RATE_KINDS = (*EVENT_KINDS, "reactivation", "termination")
SIZE_KINDS = (*EVENT_KINDS, "return_value")


@dataclass(frozen=True)
class RenewalCells:
    """Distinct renewal histories, counted; one history is one spell of one line.

    Steps (S): the distinct terms w_k = (t1^c - t0^c)·exp(effects of the classes and of the year).
    Nodes (V): W(n) = Σ of a multiset of steps, in one group. Steps of node v:
    ``node_steps[node_ptr[v]:node_ptr[v+1]]``; a step taken twice is there twice; the empty path (W = 0, S =
    1) is a node too.
    Cells (C): the likelihood of one history is, with p = S(n+1)/S(n), F = Σ_{j<f_bin} f_j + f_frac·f_{f_bin}
    of the renewal lags and G the same of the notice lags,
    open: S(n)·[p(1-F) + (1-p)(1-ψG)]; notified: S(n)·(1-p)·ψ·g_{lag_bin}; unreached: S(n); each divided by
    S(m).

    Attributes
    ----------
    group_levels, group_second_spell, group_unknown
        int32[G, segments], bool[G] second or later spell, bool[G] tenure unknown.
    step_t0, step_t1
        float64[S], years of tenure before and at the decision.
    step_term_class, step_size_class, step_number, step_expanded, step_cut
        int32[S]; number 0..4 is decision 1, 2, 3, 4, 5+; expanded and cut are 0 or 1.
    step_year
        int32[S], index of the decision's calendar year in ``frame.years``; -1 for none of them.
    node_group, node_ptr, node_steps
        int32[V], int64[V+1], int32[node_ptr[-1]] (indices of steps, increasing inside a node).
    node_n, node_n1, node_m
        int32[C], nodes of W(n), W(n+1) and W(m). node_n1 is -1 for outcome 2, node_m is -1 for m = 0 (S(m) =
        1).
    outcome
        int8[C]: 0 open, 1 notified (lapses, we are told), 2 unreached (terminated early, or the decision is
        so far ahead that F = G = 0: only S(n) is known).
    lag_bin
        int32[C], bin of the notice's lag for outcome 1, else -1.
    f_bin, f_frac
        int32[C], float64[C] in {0, .25, .5, .75, 1}, for outcome 0 (else 0, 0.0).
    count
        int64[C], spells with this history.
    lag_counts
        int64[J], booking lags of the observed renewals.
    max_decisions
        Most decisions taken, m included, in one spell.
    n_lines, n_lines_used
        Lines there are, and lines counted in the cells (fewer when sampled because cells were too many).
    """

    group_levels: Ints
    group_second_spell: Flags
    group_unknown: Flags
    step_t0: Floats
    step_t1: Floats
    step_term_class: Ints
    step_size_class: Ints
    step_number: Ints
    step_expanded: Ints
    step_cut: Ints
    step_year: Ints
    node_group: Ints
    node_ptr: Longs
    node_steps: Ints
    node_n: Ints
    node_n1: Ints
    node_m: Ints
    outcome: NDArray[np.int8]
    lag_bin: Ints
    f_bin: Ints
    f_frac: Floats
    count: Longs
    lag_counts: Longs
    max_decisions: int
    n_lines: int
    n_lines_used: int


@dataclass(frozen=True)
class RateCells:
    """Event counts of one kind against exposure; one unit is one line.

    Attributes
    ----------
    kind
        One of `RATE_KINDS`.
    group_levels, group_size
        int32[G, segments], int32[G] size class of the line's first base (-1: not used).
    group, exposure
        int32[C], float64[C] years (T, rounded to half months, > 0): the cell.
    n_lines, n_events
        int64[C]: N lines and Σ of their events.
    hist_n, hist_count
        int32[H], int64[H]: lines (all cells together) with n >= 1 events.
    """

    kind: str
    group_levels: Ints
    group_size: Ints
    group: Ints
    exposure: Floats
    n_lines: Longs
    n_events: Longs
    hist_n: Ints
    hist_count: Longs


@dataclass(frozen=True)
class SizeCells:
    """Event sizes y of one kind by (group, n), n = events of the line.

    y: expansion log(amount / (spell base · months of the term)); contraction logit(share of the MRR in force
    lost); change order, referral log(amount / spell base); return value log(MRR of the new spell / MRR
    before the lapse).

    Attributes
    ----------
    kind
        One of `SIZE_KINDS`.
    group_levels, group_size
        int32[G, segments], int32[G] size class of the line's first base (-1: not used, return_value).
    group, n
        int32[C]: group, and events of each line in the cell.
    n_lines
        int64[C]: N lines (return_value: N returns).
    within, mean, between
        float64[C]: W = Σ within-line sum of squares, M = mean of the line means, C = Σ (line mean - M)².
    n_clipped
        Contraction shares that had to be clipped to [1e-4, 1 - 1e-4]; 0 for other kinds.
    """

    kind: str
    group_levels: Ints
    group_size: Ints
    group: Ints
    n: Ints
    n_lines: Longs
    within: Floats
    mean: Floats
    between: Floats
    n_clipped: int = 0


@dataclass(frozen=True)
class ChangeCells:
    """Changes of MRR at renewal.

    Directions and sizes are counted over renewals whose ended term had no (net) amendment. Renewals of
    amended terms stay rows, because whether the amendment was carried over (I = 0 or 1) is not seen; their
    arrays have a last axis I.
    ratio r = new M0 / carried; flat when |log r| <= log 1.01; y up = log(min(r, max_ratio) - 1), y down =
    logit(1 - r).

    Attributes
    ----------
    group_levels, group_size
        int32[G, segments], int32[G]: size class of the ended term's money a month, amendments included.
    direction_group, direction_row, direction_counts
        int32[D], int8[D] (first, down, flat, up, term_changed), int64[D, 3] (down, flat, up).
    size_group, size_side, size_n, size_xx, size_xy, size_yy
        int32[B], int8[B] (0 down, 1 up), int64[B], float64[B, 3, 3], float64[B, 3], float64[B]: sums over
        renewals of 1, XXᵀ, Xy, y², with X = (1, -x, log(months'/months)), x = log(carried / geometric mean
        of the spell's M0).
    beyond_group, beyond_side, beyond_n, beyond_features, beyond_scatter
        int32[E], int8[E], int64[E], float64[E, 3], float64[E, 3]: the same renewals in coarse cells of (group, side, x,
        log term): how many, the mean of their X, and its scatter (`CoarseCells`). A size is only seen beyond the flat
        band, y > SMALLEST_CHANGE, and the probability of that depends on X.
    amended_group, amended_row, amended_logterm
        int32[R], int8[R], float64[R] (log(months'/months)).
    amended_direction
        int8[R, 2]: 0 down, 1 flat, 2 up, against the carried MRR without (I=0) and with (I=1) the amendment.
    amended_y, amended_x, amended_log_jac
        float64[R, 2]; y is 0 for flat. log_jac turns the density of y into one in log r:
        log|dy/d log r|; flat: the log density of a uniform on the band, -log(2 log 1.01).
    n_amended
        Amended renewals there are; the rows are a sample when there are more than allowed.
    n_capped
        Unamended renewals with a ratio above max_ratio.
    """

    group_levels: Ints
    group_size: Ints
    direction_group: Ints
    direction_row: NDArray[np.int8]
    direction_counts: Longs
    size_group: Ints
    size_side: NDArray[np.int8]
    size_n: Longs
    size_xx: Floats
    size_xy: Floats
    size_yy: Floats
    beyond_group: Ints
    beyond_side: NDArray[np.int8]
    beyond_n: Longs
    beyond_features: Floats
    beyond_scatter: Floats
    amended_group: Ints
    amended_row: NDArray[np.int8]
    amended_logterm: Floats
    amended_direction: NDArray[np.int8]
    amended_y: Floats
    amended_x: Floats
    amended_log_jac: Floats
    n_amended: int
    n_capped: int = 0


@dataclass(frozen=True)
class TermCells:
    """Lengths of new terms: `counts` int64[term classes + 1, term values].

    Rows are the class of the ended term; the last one counts returns.
    """

    counts: Longs


@dataclass(frozen=True)
class Refunds:
    """Early terminations: `refunded` de-booked at least half of the unserved remainder, `kept` less."""

    refunded: int
    kept: int


@dataclass(frozen=True)
class Cells:
    """All the components' cells of one ledger under one `Frame`.

    `rates` has every kind of `RATE_KINDS`, `sizes` every kind of `SIZE_KINDS` (a kind without data has empty
    arrays).
    """

    renewal: RenewalCells
    rates: dict[str, RateCells]
    sizes: dict[str, SizeCells]
    change: ChangeCells
    terms: TermCells
    refunds: Refunds
    warnings: tuple[str, ...] = field(default=())
