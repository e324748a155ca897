"""Renewal histories counted: distinct steps, distinct paths of steps (nodes), distinct outcomes (cells).

The order of the steps in a path does not matter, since W is their sum: a path is a multiset. Multisets are
told apart by the sum of 128-bit hashes of their steps, so that no path is ever built to be compared. A step is hashed by
what it is: parts agree on it without asking each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.cells.counts import Counted, Counts, counted_of, so_many, tallied, total_of
from clvforecast.cells.frame import Frame
from clvforecast.cells.groups import distinct, line_levels, numbers_of
from clvforecast.cells.levels import lag_bin_of
from clvforecast.cells.records import UNREACHED, RenewalCells
from clvforecast.cells.renewal import QUARTERS, Outcomes, Paths, last_outcomes, renewal_paths
from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values, values_or
from clvforecast.histories.keys import in_order_of_keys
from clvforecast.histories.runs import flat_ranges, offsets, run_lengths, run_starts

Longs = NDArray[np.int64]
Hashes = NDArray[np.uint64]

MOST_CELLS = 4_000
"""Above so many distinct cells a random sample of the lines is counted."""
LINES_TRIED = 2**17
"""So many lines are tried first, and four times as many when all of them fit."""
FIRSTS, LINES = "renewal: first lines", "lines"
CELLS, PATHS, STEPS = "renewal: cells", "renewal: paths", "renewal: steps"
LAGS, TAKEN, USED = "renewal: lags", "renewal: decisions", "renewal: lines"
SEEDS = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
STEP = ("t0", "t1", "term_class", "size_class", "number", "expanded", "cut", "year")
TOLD = ("outcome", "lag_bin", "f_bin", "f_quarters")
PATH_WORDS = 2


@dataclass(frozen=True)
class Spells:
    """Spells (P) of some lines, with what tells their cells apart.

    line_key int64[P] (`in_order_of_keys`); steps int64[S, 8], the distinct ones (`STEP`), and step, the number of each step of
    `paths`; cells int64[P, *]: levels, second spell, tenure unknown, `TOLD`, and the hashes of the earlier steps, of those
    taken, and of all (0 where the next decision was not reached).
    """

    paths: Paths
    outcomes: Outcomes
    line_key: Longs
    steps: Longs
    step: Longs
    cells: Longs


def first_counts(histories: Histories, frame: Frame, max_cells: int = MOST_CELLS) -> Counts:
    """Distinct cells with the smallest line key of each, those with the smallest: one more than are wanted; and all lines.

    What `renewal_cut` needs: (line key, cell), in order.
    """
    _, firsts = _spells_that_matter(histories, frame, max_cells)
    return {FIRSTS: firsts, LINES: so_many(histories.lines.num_rows)}


def renewal_cut(counts: Counts, max_cells: int | None = None) -> int | None:
    """The line key from which on lines are left out, lest there be more than `max_cells` cells; None when all fit.

    Lines are taken in the order of their keys (a hash of account and contract): a random sample.
    """
    return _cut(counts[FIRSTS], max_cells or MOST_CELLS)


def _cut(firsts: Counted, max_cells: int) -> int | None:
    return int(firsts.keys[max_cells, 0]) if len(firsts.keys) > max_cells else None


def renewal_counts(histories: Histories, frame: Frame, cut: int | None) -> Counts:
    """Renewal histories of the lines whose key is below the cut."""
    keys = in_order_of_keys(histories.line_keys)
    spells = _spells(histories if cut is None else _of_lines(histories, keys < cut), frame, keys)
    return _counts(histories, frame, spells, keys, cut)


def sampled_counts(histories: Histories, frame: Frame, max_cells: int = MOST_CELLS) -> Counts:
    """`renewal_counts` of histories that are the whole, up to their own cut."""
    keys = in_order_of_keys(histories.line_keys)
    spells, firsts = _spells_that_matter(histories, frame, max_cells)
    lines = {LINES: so_many(histories.lines.num_rows)}
    return lines | _counts(histories, frame, spells, keys, _cut(firsts, max_cells))


def narrowed_firsts(counts: Counts, max_cells: int = MOST_CELLS) -> Counts:
    """The counts with each cell's first line alone, and no more cells than the cut needs."""
    if FIRSTS not in counts:
        return counts
    keys = counts[FIRSTS].keys
    return counts | {FIRSTS: _firsts(keys[:, 0], keys[:, 1:], max_cells)}


def _firsts(line_key: Longs, cells: Longs, max_cells: int) -> Counted:
    found, cell = distinct(cells)
    first = np.full(len(found), np.iinfo(np.int64).max)
    np.minimum.at(first, cell, line_key)
    earliest = np.argsort(first, kind="stable")[: max_cells + 1]
    return tallied(np.column_stack([first, found])[earliest])


def _spells_that_matter(histories: Histories, frame: Frame, max_cells: int) -> tuple[Spells, Counted]:
    """The spells of so many lines, in the order of their keys, that the others can have no say in the cut; and first lines."""
    keys = in_order_of_keys(histories.line_keys)
    n_tried = LINES_TRIED
    while n_tried < len(keys):
        limit = np.partition(keys, n_tried)[n_tried]
        spells = _spells(_of_lines(histories, keys < limit), frame, keys)
        firsts = _firsts(spells.line_key, spells.cells, max_cells)
        if len(firsts.keys) > max_cells:
            return spells, firsts
        n_tried *= 4
    spells = _spells(histories, frame, keys)
    return spells, _firsts(spells.line_key, spells.cells, max_cells)


def _of_lines(histories: Histories, wanted: NDArray[np.bool_]) -> Histories:
    """The histories with the terms and decisions of some lines alone."""
    tables = {name: getattr(histories, name) for name in ("terms", "decisions")}
    return replace(histories, **{name: t.filter(pa.array(wanted[values(t, "line")])) for name, t in tables.items()})


def _spells(histories: Histories, frame: Frame, keys: Longs) -> Spells:
    paths, outcomes = renewal_paths(histories, frame), last_outcomes(histories, frame)
    year = frame.year_index(paths.year)
    steps, step = distinct(np.column_stack([paths.t0, paths.t1, paths.classes, year]))
    levels = line_levels(histories, frame)[paths.line]
    unknown = values(histories.lines, "tenure_unknown")[paths.line] & ~paths.second
    told = [getattr(outcomes, name) for name in TOLD]
    hashes = path_hashes(paths, step_hashes(steps)[step])
    hashes[outcomes.outcome == UNREACHED, 2] = 0  # W(n+1) does not count
    of_paths = hashes.reshape(-1, 3 * PATH_WORDS).view(np.int64)
    cells = np.column_stack([levels, paths.second, unknown, *told, of_paths]).astype(np.int64)
    return Spells(paths, outcomes, keys[paths.line], steps, step, cells)


def path_hashes(paths: Paths, step_hash: Hashes) -> Hashes:
    """uint64[P, 3, 2]: 128-bit sums of step hashes over the earlier steps, those taken, and all."""
    total = np.concatenate((np.zeros((1, PATH_WORDS), dtype=np.uint64), np.cumsum(step_hash, axis=0, dtype=np.uint64)))
    ends = (paths.earlier, paths.length - 1, paths.length)
    return np.stack([total[paths.start + end] - total[paths.start] for end in ends], axis=1)


def step_hashes(steps: Longs) -> Hashes:
    """uint64[S, 2] of each row's content: column by column mixed into what the columns before it have made."""
    hashes = np.empty((len(steps), PATH_WORDS), dtype=np.uint64)
    for word, seed in enumerate(SEEDS):
        mixed = np.zeros(len(steps), dtype=np.uint64)
        for column in steps.T:
            mixed = _mix(mixed ^ column.astype(np.uint64), seed)
        hashes[:, word] = mixed
    return hashes


def _mix(numbers: Hashes, seed: int) -> Hashes:
    """splitmix64's finaliser (Steele, Lea and Flood 2014) of number + 1 times an odd seed."""
    z = (numbers + np.uint64(1)) * np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def _counts(histories: Histories, frame: Frame, spells: Spells, keys: Longs, cut: int | None) -> Counts:
    """Cells, the paths and steps they are made of, booking lags, decisions taken and lines, below the cut."""
    used = np.flatnonzero(spells.line_key < cut) if cut is not None else np.arange(len(spells.line_key))
    line_used = keys < cut if cut is not None else np.ones(len(keys), dtype=bool)
    return {
        CELLS: tallied(spells.cells[used]),
        **_path_counts(spells, used),
        LAGS: tallied(_lag_bins(histories, frame, line_used)),
        TAKEN: tallied(spells.paths.length[used] - 1),
        USED: so_many(int(line_used.sum())),
    }


def _path_counts(spells: Spells, used: Longs) -> Counts:
    """Paths by (hash, hash of a step, times the step is in it), and steps by (hash, `STEP`): of each, how many parts have it."""
    paths, hashed = spells.paths, spells.cells[used, -3 * PATH_WORDS :].reshape(-1, 3, PATH_WORDS)
    length = np.stack([paths.earlier[used], paths.length[used] - 1, paths.length[used]], axis=1)
    length[spells.outcomes.outcome[used] == UNREACHED, 2] = 0
    spell, end = np.nonzero(length)
    found, path = distinct(hashed[spell, end])
    example = np.empty(len(found), dtype=np.int64)
    example[path] = np.arange(len(path))
    n = length[spell, end][example]
    step = spells.step[flat_ranges(paths.start[used][spell[example]], n)]
    times = tallied(np.column_stack([np.repeat(np.arange(len(n)), n), step]))
    hashes = step_hashes(spells.steps).view(np.int64)
    taken = np.unique(times.keys[:, 1])
    return {
        PATHS: tallied(np.column_stack([found[times.keys[:, 0]], hashes[times.keys[:, 1]], times.numbers])),
        STEPS: tallied(np.column_stack([hashes[taken], spells.steps[taken]])),
    }


def _lag_bins(histories: Histories, frame: Frame, line_used: NDArray[np.bool_]) -> Longs:
    """Booking lags of the renewals of the lines in use.

    The lags of other lines stay out: with them F would outweigh the open decisions that correct its right
    truncation.
    """
    decisions = histories.decisions
    renewed = is_text(decisions, "outcome", "renewed") & line_used[values(decisions, "line")]
    lags = values_or(decisions, "lag_days", 0)[renewed].astype(np.float64)
    return lag_bin_of(lags, frame.lag_edges).astype(np.int64)


def renewal_cells(counts: Counts, frame: Frame) -> RenewalCells:
    """Renewal cells, from what `renewal_counts` found in all parts."""
    n = len(frame.segments) + 2
    keys, numbers = counted_of(counts, CELLS, n + len(TOLD) + 3 * PATH_WORDS)
    groups, group = distinct(keys[:, :n])
    told, hashed = keys[:, n : n + len(TOLD)], keys[:, n + len(TOLD) :].reshape(-1, 3, PATH_WORDS)
    wanted = np.column_stack([hashed[:, 0].any(axis=1), np.ones(len(keys)), told[:, 0] != UNREACHED]).astype(bool)
    cell, end = np.nonzero(wanted)
    nodes, node = distinct(np.column_stack([group[cell], hashed[cell, end]]))
    of_cells = np.full((len(keys), 3), -1, dtype=np.int64)
    of_cells[cell, end] = node
    cells = tallied(np.column_stack([of_cells[:, [1, 2, 0]], told]), numbers)
    lags = counted_of(counts, LAGS, 1)
    lag_counts = np.zeros(frame.n_lag_bins, dtype=np.int64)
    lag_counts[lags.keys[:, 0]] = lags.numbers[:, 0]
    return RenewalCells(
        group_levels=groups[:, :-2].astype(np.int32),
        group_second_spell=groups[:, -2].astype(bool),
        group_unknown=groups[:, -1].astype(bool),
        node_group=nodes[:, 0].astype(np.int32),
        **_steps_of_nodes(counts, nodes[:, 1:]),
        node_n=cells.keys[:, 0].astype(np.int32),
        node_n1=cells.keys[:, 1].astype(np.int32),
        node_m=cells.keys[:, 2].astype(np.int32),
        outcome=cells.keys[:, 3].astype(np.int8),
        lag_bin=cells.keys[:, 4].astype(np.int32),
        f_bin=cells.keys[:, 5].astype(np.int32),
        f_frac=cells.keys[:, 6] / QUARTERS,
        count=cells.numbers[:, 0],
        lag_counts=lag_counts,
        max_decisions=int(counted_of(counts, TAKEN, 1).keys.max(initial=0)),
        n_lines=total_of(counts, LINES),
        n_lines_used=total_of(counts, USED),
    )


def _steps_of_nodes(counts: Counts, node_path: Longs) -> dict[str, NDArray[Any]]:
    """The steps in the order of what they are, and of every node, by its path's hash, which it has, as CSR."""
    in_paths = counted_of(counts, PATHS, 2 * PATH_WORDS + 1).keys
    hashed = counted_of(counts, STEPS, PATH_WORDS + len(STEP)).keys
    steps, number = distinct(hashed[:, PATH_WORDS:])
    step = number[numbers_of(hashed[:, :PATH_WORDS], in_paths[:, PATH_WORDS:-1])]
    starts = run_starts(*in_paths[:, :PATH_WORDS].T)
    empty = np.zeros((1, PATH_WORDS), dtype=np.int64)  # the path without a step, which no row tells of
    found, _ = distinct(np.concatenate([empty, in_paths[starts, :PATH_WORDS]]))
    path = numbers_of(found, node_path)
    start, length = np.zeros((2, len(found)), dtype=np.int64)
    told = numbers_of(found, in_paths[starts, :PATH_WORDS])
    start[told], length[told] = starts, run_lengths(starts, len(in_paths))
    rows = flat_ranges(start[path], length[path])
    times = in_paths[rows, -1]
    node = np.repeat(np.repeat(np.arange(len(path)), length[path]), times)
    node_steps = np.repeat(step[rows], times)
    columns = {f"step_{name}": column.astype(np.int32) for name, column in zip(STEP, steps.T, strict=True)}
    return columns | {
        "step_t0": steps[:, 0] / 12.0,
        "step_t1": steps[:, 1] / 12.0,
        "node_ptr": offsets(np.bincount(node, minlength=len(path))),
        "node_steps": node_steps[np.lexsort((node_steps, node))].astype(np.int32),
    }
