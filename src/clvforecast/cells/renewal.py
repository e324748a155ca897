"""Renewal histories counted: distinct steps, distinct paths of steps (nodes), distinct outcomes (cells).

The order of the steps in a path does not matter, since W is their sum: a path is a multiset. Multisets are
told apart by the sum of 128-bit hashes of their steps, so that no path is ever built to be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.cells.frame import N_NUMBERS, Frame, calendar_year
from clvforecast.cells.groups import distinct, line_levels
from clvforecast.cells.levels import lag_bin_of
from clvforecast.cells.records import NOTIFIED, OPEN, UNREACHED, RenewalCells
from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values
from clvforecast.histories.runs import (
    counted,
    flat_ranges,
    inverse,
    offsets,
    places,
    run_lengths,
    run_starts,
    running_sums,
)

Longs = NDArray[np.int64]
Ints = NDArray[np.int32]

MOST_CELLS = 4_000
"""Above so many distinct cells a random sample of the lines is counted."""
LINES_TRIED = 2**17
"""So many lines are counted first, and four times as many when all of them fit."""
QUARTERS = 4
"""Parts of a lag bin to which the share of it that has passed is rounded."""


@dataclass(frozen=True)
class Paths:
    """Every spell's steps: m earlier ones, those taken, and the one not yet taken (the last). P spells.

    line int64[P]; second bool[P]; start, length int64[P] (steps of the spell, m + n + 1); earlier int64[P]
    (m).
    t0, t1 are months (int64), classes int64[steps, 5] (term class, size class, number, expanded, cut) and year int64[steps]
    the decision's calendar year, by spell.
    """

    line: Longs
    second: NDArray[np.bool_]
    start: Longs
    length: Longs
    earlier: Longs
    t0: Longs
    t1: Longs
    classes: Longs
    year: Longs


def renewal_paths(histories: Histories, frame: Frame) -> Paths:
    """The steps of every spell.

    Tenure at decision k: t_k = (m·months_1 + Σ_{j<=k} served_months_j) / 12, kept in whole months here.
    The m earlier decisions have the first observed term's length, class and size, were not expanded and not
    cut; the last of them was taken in the month in which that term starts.
    The decision not yet taken has the contract's months of the last term.
    """
    terms = histories.terms
    line, spell, k = (values(terms, name) for name in ("line", "spell", "k"))
    starts = run_starts(line, spell)
    observed = run_lengths(starts, len(line))
    m = np.where(spell[starts] == 0, values(histories.lines, "observed_from")[line[starts]], 0).astype(np.int64)
    length = m + observed
    # row of `terms` behind each step: the first term for the m earlier steps, then the spell's terms
    place = places(offsets(length)[:-1], int(length.sum()))
    m_of_step = np.repeat(m, length)
    term = np.repeat(starts, length) + np.maximum(place - m_of_step, 0)
    earlier = place < m_of_step
    months, served = values(terms, "months"), values(terms, "served_months")
    step_months = np.where(earlier, months[term], served[term])
    t1 = running_sums(step_months, offsets(length)[:-1])
    classes = np.stack(
        [
            frame.term_class_of(months)[term],
            frame.size_class_of(values(terms, "size"))[term],
            np.minimum(place, N_NUMBERS - 1),
            np.where(earlier, False, values(terms, "expanded")[term]),
            np.where(earlier, False, values(terms, "cut")[term]),
        ],
        axis=1,
    ).astype(np.int64)
    return Paths(
        line=line[starts],
        second=spell[starts] > 0,
        start=offsets(length)[:-1],
        length=length,
        earlier=m,
        t0=t1 - step_months,
        t1=t1,
        classes=classes,
        year=_decision_years(terms, term, months[term] * (m_of_step - 1 - place), earlier),
    )


def _decision_years(terms: pa.Table, term: Longs, months_before: Longs, earlier: NDArray[np.bool_]) -> Longs:
    """The calendar year of each step: of its term's end, or so many months before the first observed term's start."""
    years = calendar_year(values(terms, "end_day"))[term]
    before = np.flatnonzero(earlier)
    start_day = values(terms, "start_day")[term[before]]
    start_month = start_day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    years[before] = (start_month - months_before[before]) // 12 + 1970
    return years


@dataclass(frozen=True)
class Outcomes:
    """What is known of each spell's last decision: the columns of `RenewalCells` of the same names."""

    outcome: Ints
    lag_bin: Ints
    f_bin: Ints
    f_quarters: Ints


def last_outcomes(histories: Histories, frame: Frame) -> Outcomes:
    """The outcome of the decision after the renewed ones, of every spell.

    Where another spell follows, the lapse is certain: F = 1 however recent the end was.
    """
    decisions = histories.decisions
    last = np.flatnonzero(~is_text(decisions, "outcome", "renewed"))
    d = values(decisions, "d")[last].astype(np.float64)
    d[values(decisions, "returned")[last]] = frame.lag_edges[-1]
    f_bin, f_quarters = passed_share(d, frame.lag_edges)
    is_open, is_notified = (is_text(decisions, "outcome", told)[last] for told in ("open", "notified"))
    nothing_due = is_open & (f_bin == 0) & (f_quarters == 0)
    outcome = np.where(is_notified, NOTIFIED, np.where(is_open & ~nothing_due, OPEN, UNREACHED)).astype(np.int32)
    lag = decisions["lag_days"].combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)[last].astype(np.float64)
    counts = outcome == OPEN
    return Outcomes(
        outcome=outcome,
        lag_bin=np.where(is_notified, lag_bin_of(lag, frame.lag_edges), -1).astype(np.int32),
        f_bin=np.where(counts, f_bin, 0).astype(np.int32),
        f_quarters=np.where(counts, f_quarters, 0).astype(np.int32),
    )


def passed_share(d: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[Ints, Ints]:
    """j and q such that F(d) = Σ_{i<j} f_i + (q/4) f_j; (0, 0): before all lags, (J-1, 4): after."""
    J = len(edges) - 1
    inside = np.clip(d, edges[0], edges[-1])
    j = np.clip(np.searchsorted(edges, inside, side="left") - 1, 0, J - 1)
    quarters = np.rint(QUARTERS * (inside - edges[j]) / (edges[j + 1] - edges[j])).astype(np.int32)
    full = (quarters == QUARTERS) & (j < J - 1)  # the end of a bin is the start of the next one
    return np.where(full, j + 1, j).astype(np.int32), np.where(full, 0, quarters).astype(np.int32)


def count_renewals(histories: Histories, frame: Frame, max_cells: int | None = None) -> RenewalCells:
    """Renewal cells of all lines, or of a random sample of lines when there would be more than `max_cells`.

    The sample takes lines in the order of their keys (a hash of account and contract), as many as fit.
    """
    rank = inverse(np.argsort(histories.line_keys, kind="stable"))
    n_tried = LINES_TRIED
    while n_tried < len(rank):
        found = _counted(_of_lines(histories, rank < n_tried), frame, rank, max_cells or MOST_CELLS)
        if found.n_lines_used < n_tried:
            return found
        n_tried *= 4
    return _counted(histories, frame, rank, max_cells or MOST_CELLS)


def _of_lines(histories: Histories, wanted: NDArray[np.bool_]) -> Histories:
    """The histories with the terms and decisions of some lines alone."""
    tables = {name: getattr(histories, name) for name in ("terms", "decisions")}
    return replace(histories, **{name: t.filter(pa.array(wanted[values(t, "line")])) for name, t in tables.items()})


def _counted(histories: Histories, frame: Frame, rank: Longs, max_cells: int) -> RenewalCells:
    """The cells of the lines that have terms, or of as many of them, in the order of their `rank`, as fit."""
    paths, outcomes = renewal_paths(histories, frame), last_outcomes(histories, frame)
    levels = line_levels(histories, frame)
    unknown = values(histories.lines, "tenure_unknown")
    keys = np.column_stack([levels[paths.line], paths.second, unknown[paths.line] & ~paths.second]).astype(np.int64)
    year = frame.year_index(paths.year)
    step_keys, step = distinct(np.column_stack([paths.t0, paths.t1, paths.classes, year]))
    hashes = path_hashes(paths, step)
    n_lines = int(rank[paths.line].max(initial=-1)) + 1
    n_used = _lines_that_fit(keys, hashes, outcomes, rank[paths.line], n_lines, max_cells)
    used = np.flatnonzero(rank[paths.line] < n_used)
    return _count(histories, frame, paths, outcomes, step_keys, step, keys, hashes, used, rank < n_used)


def path_hashes(paths: Paths, step: Longs) -> NDArray[np.uint64]:
    """uint64[P, 3, 2]: 128-bit sums of step hashes over the earlier steps, those taken, and all."""
    steps = np.arange(int(step.max(initial=0)) + 1)
    mixed = np.stack([_mix(steps, seed)[step] for seed in (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)], axis=1)
    total = np.concatenate((np.zeros((1, 2), dtype=np.uint64), np.cumsum(mixed, axis=0, dtype=np.uint64)))
    ends = (paths.earlier, paths.length - 1, paths.length)
    return np.stack([total[paths.start + end] - total[paths.start] for end in ends], axis=1)


def _mix(numbers: Longs, seed: int) -> NDArray[np.uint64]:
    """splitmix64's finaliser (Steele, Lea and Flood 2014) of number + 1 times an odd seed."""
    z = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def _cell_keys(keys: Longs, hashes: NDArray[np.uint64], outcomes: Outcomes) -> Longs:
    """Rows that are equal for equal cells; W(n+1) does not count where the decision was not reached."""
    next_hash = np.where((outcomes.outcome == UNREACHED)[:, None], np.uint64(0), hashes[:, 2])
    paths = np.concatenate((hashes[:, 0], hashes[:, 1], next_hash), axis=1).view(np.int64)
    told = np.column_stack([outcomes.outcome, outcomes.lag_bin, outcomes.f_bin, outcomes.f_quarters])
    return np.concatenate((keys, told.astype(np.int64), paths), axis=1)


def _lines_that_fit(
    keys: Longs, hashes: NDArray[np.uint64], outcomes: Outcomes, rank: Longs, n_lines: int, max_cells: int
) -> int:
    """How many lines, in rank order, can be counted without more than `max_cells` distinct cells."""
    cells, cell = distinct(_cell_keys(keys, hashes, outcomes))
    if len(cells) <= max_cells:
        return n_lines
    first_rank = np.full(len(cells), n_lines, dtype=np.int64)
    np.minimum.at(first_rank, cell, rank)
    return int(np.sort(first_rank)[max_cells])


def _count(
    histories: Histories,
    frame: Frame,
    paths: Paths,
    outcomes: Outcomes,
    step_keys: Longs,
    step: Longs,
    keys: Longs,
    hashes: NDArray[np.uint64],
    used: Longs,
    line_used: NDArray[np.bool_],
) -> RenewalCells:
    """The record, from the spells in `used`."""
    groups, group = distinct(keys[used])
    n_segments = len(frame.segments)
    outcome = outcomes.outcome[used]
    # three candidate nodes a spell, one after the other: earlier steps, taken steps, and with the next one
    length = np.stack([paths.earlier[used], paths.length[used] - 1, paths.length[used]])
    wanted = np.stack([length[0] > 0, np.ones(len(used), dtype=bool), outcome != UNREACHED])
    who = np.tile(np.arange(len(used)), (3, 1))[wanted]
    node_hash = np.moveaxis(hashes[used], 1, 0)[wanted].view(np.int64)
    nodes, node = distinct(np.column_stack([group[who], node_hash]))
    of_spell = np.full((3, len(used)), -1, dtype=np.int64)
    of_spell[wanted] = node
    example = np.full(len(nodes), len(who), dtype=np.int64)
    np.minimum.at(example, node, np.arange(len(who)))
    node_ptr, node_step = _node_steps(paths.start[used][who[example]], length[wanted][example], step)
    told = np.column_stack([of_spell[1], of_spell[2], of_spell[0], outcome, outcomes.lag_bin[used]])
    told = np.column_stack([told, outcomes.f_bin[used], outcomes.f_quarters[used]])
    cells, cell = distinct(told)
    kept, node_step = np.unique(node_step, return_inverse=True)
    return RenewalCells(
        group_levels=groups[:, :n_segments].astype(np.int32),
        group_second_spell=groups[:, n_segments].astype(bool),
        group_unknown=groups[:, n_segments + 1].astype(bool),
        step_t0=step_keys[kept, 0] / 12.0,
        step_t1=step_keys[kept, 1] / 12.0,
        step_term_class=step_keys[kept, 2].astype(np.int32),
        step_size_class=step_keys[kept, 3].astype(np.int32),
        step_number=step_keys[kept, 4].astype(np.int32),
        step_expanded=step_keys[kept, 5].astype(np.int32),
        step_cut=step_keys[kept, 6].astype(np.int32),
        step_year=step_keys[kept, 7].astype(np.int32),
        node_group=nodes[:, 0].astype(np.int32),
        node_ptr=node_ptr,
        node_steps=node_step.astype(np.int32),
        node_n=cells[:, 0].astype(np.int32),
        node_n1=cells[:, 1].astype(np.int32),
        node_m=cells[:, 2].astype(np.int32),
        outcome=cells[:, 3].astype(np.int8),
        lag_bin=cells[:, 4].astype(np.int32),
        f_bin=cells[:, 5].astype(np.int32),
        f_frac=cells[:, 6] / QUARTERS,
        count=counted(cell, len(cells)),
        lag_counts=_lag_counts(histories, frame, line_used),
        max_decisions=int(length[1].max(initial=0)),
        n_lines=histories.lines.num_rows,
        n_lines_used=int(line_used.sum()),
    )


def _node_steps(start: Longs, length: Longs, step: Longs) -> tuple[Longs, Longs]:
    """CSR offsets and the steps of every node, increasing inside a node."""
    steps = step[flat_ranges(start, length)]
    node = np.repeat(np.arange(len(length)), length)
    return offsets(length), steps[np.lexsort((steps, node))]


def _lag_counts(histories: Histories, frame: Frame, line_used: NDArray[np.bool_]) -> Longs:
    """Booking lags of the renewals of the lines in use.

    The lags of other lines stay out: with them F would outweigh the open decisions that correct its right
    truncation.
    """
    decisions = histories.decisions
    renewed = is_text(decisions, "outcome", "renewed") & line_used[values(decisions, "line")]
    lags = decisions["lag_days"].combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)[renewed]
    return counted(lag_bin_of(lags.astype(np.float64), frame.lag_edges).astype(np.int64), frame.n_lag_bins)
