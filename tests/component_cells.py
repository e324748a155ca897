"""Cells of small simulated companies, made straight from random numbers: no ledger, no histories."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from clvforecast.cells import (
    Cells,
    ChangeCells,
    Frame,
    RateCells,
    Refunds,
    RenewalCells,
    SizeCells,
    TermCells,
)
from clvforecast.cells.records import RATE_KINDS, SIZE_KINDS

LEVELS = ("a", "b", "c", "d")
LEVEL_EFFECT = np.array([-0.45, -0.15, 0.15, 0.45])
YEARS = (2019, 2020, 2021, 2022)
YEAR_EFFECT = np.array([-0.3, 0.1, 0.3, -0.1])


def make_frame(n_segments: int = 1, n_sizes: int = 3, uses_notice: bool = False, n_lags: int = 3) -> Frame:
    """Yearly and three-yearly terms; bins of a month about the end of the term."""
    segments = tuple(f"segment{i}" for i in range(n_segments))
    return Frame(
        segments=segments,
        levels=dict.fromkeys(segments, LEVELS),
        size_edges=np.linspace(6.0, 7.0, n_sizes - 1) if n_sizes > 1 else np.zeros(0),
        term_values=np.array([12, 36]),
        term_class=np.array([0, 1]),
        term_class_names=("12", "36"),
        lag_edges=np.array([-31.0, 0.0, 31.0, 92.0]) if n_lags == 3 else np.array([-1.0, 0.0]),
        uses_notice=uses_notice,
        years=YEARS,
        settled_years=len(YEARS),
    )


def draw_levels(frame: Frame, n: int, rng: np.random.Generator) -> NDArray[np.int32]:
    return rng.integers(0, len(LEVELS), (n, len(frame.segments))).astype(np.int32)


def level_effect(levels: NDArray[np.int32], size: float = 1.0) -> NDArray[np.float64]:
    return size * LEVEL_EFFECT[levels].sum(axis=1)


def groups_of(levels: NDArray[np.int32], sizes: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Distinct (levels, size class), and the group of each line."""
    groups, group = np.unique(np.column_stack([levels, sizes]), axis=0, return_inverse=True)
    return groups.astype(np.int32), group.ravel()


def rate_cells(
    frame: Frame, kind: str, n: int, rng: np.random.Generator, rate: float = 0.3, shape: float = 1.0, sized: bool = True
) -> RateCells:
    """Gamma-Poisson counts; levels multiply the rate by exp(LEVEL_EFFECT)."""
    levels = draw_levels(frame, n, rng)
    sizes = (rng.integers(0, frame.n_size_classes, n) if sized else np.full(n, -1)).astype(np.int32)
    years = np.round(rng.uniform(0.5, 6.0, n) * 24.0) / 24.0
    mean = rate * np.exp(level_effect(levels))
    events = rng.poisson(rng.gamma(shape, mean / shape) * years if np.isfinite(shape) else mean * years)
    groups, group = groups_of(levels, sizes)
    cells, cell = np.unique(np.column_stack([group, years]), axis=0, return_inverse=True)
    hist_n, hist_count = np.unique(events[events > 0], return_counts=True)
    return RateCells(
        kind=kind,
        group_levels=groups[:, :-1],
        group_size=groups[:, -1],
        group=cells[:, 0].astype(np.int32),
        exposure=cells[:, 1],
        n_lines=np.bincount(cell.ravel()),
        n_events=np.bincount(cell.ravel(), weights=events).astype(np.int64),
        hist_n=hist_n.astype(np.int32),
        hist_count=hist_count.astype(np.int64),
    )


def size_cells(
    frame: Frame, kind: str, n: int, rng: np.random.Generator, mean: float = -1.0, sd: float = 0.8, icc: float = 0.4
) -> SizeCells:
    """n lines with 1 to 4 sizes each."""
    levels = draw_levels(frame, n, rng)
    sized = kind != "return_value"
    sizes = (rng.integers(0, frame.n_size_classes, n) if sized else np.full(n, -1)).astype(np.int32)
    count = rng.integers(1, 5 if sized else 2, n)
    nu = mean + level_effect(levels) + rng.normal(0.0, sd * np.sqrt(icc), n)
    y = nu[:, None] + rng.normal(0.0, sd * np.sqrt(1.0 - icc), (n, 4))
    used = np.arange(4)[None, :] < count[:, None]
    own = np.where(used, y, 0.0).sum(axis=1) / count
    within = np.where(used, (y - own[:, None]) ** 2, 0.0).sum(axis=1)
    groups, group = groups_of(levels, sizes)
    cells, cell = np.unique(np.column_stack([group, count]), axis=0, return_inverse=True)
    cell = cell.ravel()
    N = np.bincount(cell)
    M = np.bincount(cell, weights=own) / N
    return SizeCells(
        kind=kind,
        group_levels=groups[:, :-1],
        group_size=groups[:, -1],
        group=cells[:, 0].astype(np.int32),
        n=cells[:, 1].astype(np.int32),
        n_lines=N,
        within=np.bincount(cell, weights=within),
        mean=M,
        between=np.bincount(cell, weights=(own - M[cell]) ** 2),
    )


class PathBook:
    """Gives steps, nodes and cells their numbers, as `RenewalCells` wants them."""

    def __init__(self) -> None:
        self.steps: dict[tuple[float, ...], int] = {}
        self.nodes: dict[tuple[int, tuple[int, ...]], int] = {}
        self.cells: Counter[tuple[float, ...]] = Counter()

    def step(self, *key: float) -> int:
        return self.steps.setdefault(key, len(self.steps))

    def node(self, group: int, path: list[int]) -> int:
        return self.nodes.setdefault((group, tuple(sorted(path))), len(self.nodes))

    def renewal_cells(self, groups: NDArray[np.int32], lag_counts: NDArray[np.int64], n_lines: int) -> RenewalCells:
        steps = np.array(list(self.steps), dtype=float).reshape(-1, 8)
        paths = [path for _, path in self.nodes]
        cells = np.array(list(self.cells), dtype=float).reshape(-1, 7)
        whole = cells.astype(np.int32)
        lengths = [len(path) for path in paths]
        return RenewalCells(
            group_levels=groups[:, :-2],
            group_second_spell=groups[:, -2].astype(bool),
            group_unknown=groups[:, -1].astype(bool),
            step_t0=steps[:, 0],
            step_t1=steps[:, 1],
            **{
                f"step_{name}": steps[:, 2 + i].astype(np.int32)
                for i, name in enumerate(("term_class", "size_class", "number", "expanded", "cut", "year"))
            },
            node_group=np.array([group for group, _ in self.nodes], dtype=np.int32),
            node_ptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            node_steps=np.array([step for path in paths for step in path], dtype=np.int32),
            node_n=whole[:, 0],
            node_n1=whole[:, 1],
            node_m=whole[:, 2],
            outcome=whole[:, 3].astype(np.int8),
            lag_bin=whole[:, 4],
            f_bin=whole[:, 5],
            f_frac=cells[:, 6],
            count=np.array(list(self.cells.values()), dtype=np.int64),
            lag_counts=lag_counts,
            max_decisions=max(lengths, default=0),
            n_lines=n_lines,
            n_lines_used=n_lines,
        )


def renewal_cells(
    frame: Frame,
    n: int,
    rng: np.random.Generator,
    mu: float = 0.8,
    phi: float = 0.25,
    cut_effect: float = 0.5,
    notice_share: float = 0.6,
    years: int = 7,
    earlier: int = 2,
) -> RenewalCells:
    """n spells, watched from a random moment of a contract that may have been renewed `earlier` times at most."""
    J, edges = frame.n_lag_bins, frame.lag_edges
    lag = np.array([0.3, 0.5, 0.2]) if J == 3 else np.ones(1)
    levels = draw_levels(frame, n, rng)
    flags = np.column_stack([rng.random(n) < 0.1, rng.random(n) < 0.1]).astype(np.int32)
    groups, group = np.unique(np.column_stack([levels, flags]), axis=0, return_inverse=True)
    mean = 1.0 / (1.0 + np.exp(-(np.log(mu / (1.0 - mu)) + level_effect(levels))))
    theta = rng.beta(mean * (1.0 / phi - 1.0), (1.0 - mean) * (1.0 / phi - 1.0))
    book, lag_counts = PathBook(), np.zeros(J, np.int64)
    for i in range(n):
        g, length = int(group.ravel()[i]), (1, 3)[int(rng.random() < 0.3)]
        size = int(rng.integers(0, frame.n_size_classes))
        m, today = int(rng.integers(0, earlier + 1)), rng.uniform(0.0, years)
        path: list[int] = []
        for k in range(m):
            path.append(book.step(k * length, (k + 1) * length, length == 3, size, min(k, 4), 0, 0, -1))
        if rng.random() > theta[i] ** (m * length):
            continue
        at_m, k = book.node(g, path) if m else -1, m
        today += m * length
        joined = rng.integers(len(frame.years))
        while True:
            cut = int(rng.random() < 0.3)
            year = int((k + joined) % len(frame.years))
            step = book.step(k * length, (k + 1) * length, length == 3, size, min(k, 4), 0, cut, year)
            days = (today - (k + 1) * length) * 365.25
            j = int(rng.choice(J, p=lag))
            booked = rng.uniform(edges[j], edges[j + 1])
            renewed = rng.random() < theta[i] ** (length * np.exp(cut_effect * cut + YEAR_EFFECT[year]))
            told = frame.uses_notice and rng.random() < notice_share
            here, after = book.node(g, path), -1
            if renewed and booked <= days:
                path.append(step)
                lag_counts[j] += 1
                k += 1
                continue
            if days > edges[0]:
                after = book.node(g, [*path, step])
            if after < 0:
                book.cells[(here, -1, at_m, 2, -1, 0, 0.0)] += 1
            elif not renewed and told and booked <= days:
                book.cells[(here, after, at_m, 1, j, 0, 0.0)] += 1
            else:
                bin_ = int(np.clip(np.searchsorted(edges, days, side="right") - 1, 0, J - 1))
                share = float(np.clip((days - edges[bin_]) / (edges[bin_ + 1] - edges[bin_]), 0.0, 1.0))
                book.cells[(here, after, at_m, 0, -1, bin_, np.round(4.0 * share) / 4.0)] += 1
            break
    return book.renewal_cells(groups, lag_counts, n)


def change_cells(
    frame: Frame, n: int, rng: np.random.Generator, n_amended: int = 0, persistence: float = 0.7
) -> ChangeCells:
    """n renewals of unamended and n_amended of amended terms; only the first row of previous directions and 'up' occur."""
    levels = draw_levels(frame, n + n_amended, rng)
    size_class = rng.integers(frame.n_size_classes, size=n + n_amended)
    groups, group = np.unique(np.column_stack([levels, size_class]), axis=0, return_inverse=True)
    group = group.ravel()
    row = np.where(rng.random(n + n_amended) < 0.5, 0, 3)
    up, down = np.where(row == 0, 0.3, 1.0) + level_effect(levels), np.where(row == 0, -1.0, -0.5)
    odds = np.exp(np.column_stack([down, np.zeros_like(up), up]))
    shares = np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)
    direction = (rng.random(n + n_amended)[:, None] > shares).sum(axis=1)
    x, logterm = rng.normal(0.0, 0.5, n + n_amended), rng.choice([0.0, np.log(3.0)], n + n_amended)
    centre = np.where(direction == 2, -1.8 - 0.4 * x + 0.3 * logterm, -1.0 + 0.2 * x)
    sd = np.where(direction == 2, 0.7, 0.9)
    y = stats.truncnorm.rvs((np.log(0.01) - centre) / sd, np.inf, loc=centre, scale=sd, random_state=rng)
    one = slice(0, n)
    pairs, pair = np.unique(np.column_stack([group[one], row[one]]), axis=0, return_inverse=True)
    counts = np.zeros((len(pairs), 3), np.int64)
    np.add.at(counts, (pair.ravel(), direction[one]), 1)
    X = np.column_stack([np.ones(n), -x[one], logterm[one]])
    moved = direction[one] != 1
    keys = np.column_stack([group[one], direction[one] == 2])[moved]
    blocks, block = np.unique(keys, axis=0, return_inverse=True)
    sums = {"xx": np.zeros((len(blocks), 3, 3)), "xy": np.zeros((len(blocks), 3)), "yy": np.zeros(len(blocks))}
    np.add.at(sums["xx"], block.ravel(), X[moved][:, :, None] * X[moved][:, None, :])
    np.add.at(sums["xy"], block.ravel(), X[moved] * y[one][moved][:, None])
    np.add.at(sums["yy"], block.ravel(), y[one][moved] ** 2)
    return ChangeCells(
        group_levels=groups[:, :-1].astype(np.int32),
        group_size=groups[:, -1].astype(np.int32),
        direction_group=pairs[:, 0].astype(np.int32),
        direction_row=pairs[:, 1].astype(np.int8),
        direction_counts=counts,
        size_group=blocks[:, 0].astype(np.int32),
        size_side=blocks[:, 1].astype(np.int8),
        size_n=np.bincount(block.ravel(), minlength=len(blocks)),
        size_xx=sums["xx"],
        size_xy=sums["xy"],
        size_yy=sums["yy"],
        beyond_group=keys[:, 0].astype(np.int32),
        beyond_side=keys[:, 1].astype(np.int8),
        beyond_n=np.ones(len(keys), np.int64),
        beyond_features=X[moved],
        beyond_scatter=np.zeros((len(keys), 3)),
        n_amended=n_amended,
        **_amended(group[n:], row[n:], direction[n:], x[n:], y[n:], logterm[n:], persistence, rng),
    )


def _amended(group, row, direction, x, y, logterm, persistence, rng):  # type: ignore[no-untyped-def]
    """Both readings of each amended renewal: the amendment adds 30% to the carried revenue, if it was carried."""
    n, flat = len(group), np.log(1.01)
    log_r = np.select(
        [direction == 2, direction == 0], [np.log1p(np.exp(y)), -np.log1p(np.exp(y))], rng.uniform(-flat, flat, n)
    )
    carried = (rng.random(n) < persistence).astype(int)
    lift = np.log(1.3)
    readings = log_r[:, None] + lift * (carried[:, None] - np.array([0, 1]))
    seen = np.where(np.abs(readings) <= flat, 1, np.where(readings > 0, 2, 0))
    r = np.exp(readings)
    with np.errstate(divide="ignore", invalid="ignore"):
        y_seen = np.select([seen == 2, seen == 0], [np.log(r - 1.0), np.log(1.0 - r) - readings], 0.0)
        jac = np.select([seen == 2, seen == 0], [readings - np.log(r - 1.0), -np.log(1.0 - r)], -np.log(2.0 * flat))
    # x is that of the reading with which the renewal was drawn; the other reading's carried revenue is 30% off.
    x_seen = x[:, None] + lift * (np.array([0, 1]) - carried[:, None])
    return {
        "amended_group": group.astype(np.int32),
        "amended_row": row.astype(np.int8),
        "amended_logterm": logterm,
        "amended_direction": seen.astype(np.int8),
        "amended_y": y_seen,
        "amended_x": x_seen,
        "amended_log_jac": jac,
    }


def cohort_cells(cohorts: list[list[int]], frame: Frame) -> RenewalCells:
    """Published survivors of yearly contracts as cells: lapses and renewals are known at once (F = 1)."""
    book = PathBook()
    path = [book.step(k, k + 1, 0, 0, min(k, 4), 0, 0, -1) for k in range(max(map(len, cohorts)))]
    for survivors in cohorts:
        for k, (now, then) in enumerate(zip(survivors[:-1], survivors[1:], strict=True)):
            here, after = book.node(0, path[:k]), book.node(0, path[: k + 1])
            book.cells[(here, after, -1, 0, -1, 0, 1.0)] += now - then
        last = len(survivors) - 1
        book.cells[(book.node(0, path[:last]), -1, -1, 2, -1, 0, 0.0)] += survivors[-1]
    groups = np.zeros((1, len(frame.segments) + 2), np.int32)
    return book.renewal_cells(groups, np.zeros(frame.n_lag_bins, np.int64), sum(s[0] for s in cohorts))


def company_cells(frame: Frame, n: int, seed: int, events: bool = True) -> Cells:
    """All cells of a company of n lines; without `events` nothing but running terms is in the ledger."""
    rng = np.random.default_rng(seed)
    rates = {"expansion": 0.4, "contraction": 0.1, "change_order": 0.3, "reactivation": 0.15}
    some = n if events else 0
    return Cells(
        renewal=renewal_cells(frame, n, rng) if events else renewal_cells(frame, n, rng, years=0, earlier=0),
        rates={
            kind: rate_cells(frame, kind, n, rng, rates.get(kind, 0.0) * events, sized=kind != "reactivation")
            for kind in RATE_KINDS
        },
        sizes={kind: size_cells(frame, kind, some if kind != "referral" else 0, rng) for kind in SIZE_KINDS},
        change=change_cells(frame, some, rng, some // 4),
        terms=TermCells(counts=np.array([[80, 9], [3, 20], [5, 1]]) * int(events)),
        refunds=Refunds(refunded=0, kept=0),
    )
