"""The frame and the counted cells: against the plain reference, by hand, and on the shipped contracts."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import blake2b

import numpy as np
import pytest
from scipy import stats

from clvforecast.cells import (
    COUNTED,
    SMALLEST_CHANGE,
    Cells,
    Frame,
    RenewalCells,
    build_cells,
    build_frame,
    coarse_cells,
    renewal_cells,
)
from clvforecast.cells.groups import distinct
from clvforecast.cells.levels import LAG_GRID, common_days, lag_bin_of, lag_bins, size_cuts
from clvforecast.cells.renewal import passed_share
from clvforecast.datasets import load_phl_contracts
from clvforecast.errors import HistoryError
from clvforecast.histories import Histories, build_histories
from clvforecast.likelihoods import log_beyond
from random_companies import AS_OF_DAY, Company, ledger_tables, random_company
from reference_histories import EVENT_KINDS, Line, Yardsticks, active_days, direction, lapses, read_lines
from reference_histories import renewal_histories as reference_renewals
from test_histories import event, histories

SEGMENTS = ["region", "line"]
SEEDS = range(8)
N = len(EVENT_KINDS)


@cache
def counted(seed: int) -> tuple[Company, list[Line], Histories, Frame, Cells]:
    company = random_company(seed)
    built = build_histories(company.ledger)
    frame = build_frame(built, SEGMENTS)
    return (
        company,
        read_lines(company.events, company.observed_from, AS_OF_DAY, None),
        built,
        frame,
        build_cells(built, frame),
    )


def yardsticks(frame: Frame) -> Yardsticks:
    edges = [int(edge) for edge in frame.lag_edges]
    return Yardsticks(frame.size_edges.tolist(), list(frame.term_class_names), edges, list(frame.years))


def names_of(frame: Frame, levels: np.ndarray) -> tuple:
    return tuple(frame.levels[column][i] for column, i in zip(frame.segments, levels, strict=True))


def unfolded(cells: RenewalCells, frame: Frame) -> Counter:
    """The cells spelled out as the reference's histories."""
    steps = list(
        zip(
            np.rint(cells.step_t0 * 12).astype(int).tolist(),
            np.rint(cells.step_t1 * 12).astype(int).tolist(),
            *(
                getattr(cells, f"step_{name}").tolist()
                for name in ("term_class", "size_class", "number", "expanded", "cut", "year")
            ),
            strict=True,
        )
    )

    def path(node: int) -> tuple | None:
        if node < 0:
            return None
        return tuple(sorted(steps[i] for i in cells.node_steps[cells.node_ptr[node] : cells.node_ptr[node + 1]]))

    found: Counter = Counter()
    for c in range(len(cells.count)):
        g = cells.node_group[cells.node_n[c]]
        assert all(cells.node_group[node] == g for node in (cells.node_n1[c], cells.node_m[c]) if node >= 0)
        key = (
            names_of(frame, cells.group_levels[g]),
            bool(cells.group_second_spell[g]),
            bool(cells.group_unknown[g]),
            path(cells.node_n[c]),
            path(cells.node_n1[c]),
            path(cells.node_m[c]),
            int(cells.outcome[c]),
            int(cells.lag_bin[c]),
            int(cells.f_bin[c]),
            float(cells.f_frac[c]),
        )
        assert key not in found, "a history is in two cells"
        found[key] = int(cells.count[c])
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_renewal_cells_are_the_references_histories(seed: int) -> None:
    company, lines, _, frame, cells = counted(seed)
    levels = [company.segments[line.account_id] for line in lines]
    assert unfolded(cells.renewal, frame) == reference_renewals(lines, levels, yardsticks(frame), AS_OF_DAY)
    ruler = yardsticks(frame)
    lags = Counter(ruler.lag_bin(t.lag) for line in lines for t in line.terms if t.lag is not None)
    assert cells.renewal.lag_counts.tolist() == [lags[j] for j in range(frame.n_lag_bins)]
    assert cells.renewal.n_lines_used == cells.renewal.n_lines == len(lines)


@pytest.mark.parametrize("seed", SEEDS)
def test_rate_cells_are_the_references_counts(seed: int) -> None:
    company, lines, _, frame, cells = counted(seed)
    ruler = yardsticks(frame)
    for kind, record in cells.rates.items():
        units = []
        for line in lines:
            size, days = ruler.size_class(line.base), active_days(line, AS_OF_DAY)
            n = sum(a["event"].kind == kind for t in line.terms for a in t.amendments)
            n += sum(o["event"].kind == kind for o in line.one_offs)
            if kind == "termination":
                n = sum(t.role == "terminated" for t in line.terms)
            if kind == "reactivation":
                found = lapses(line, AS_OF_DAY, None, int(frame.lag_edges[-1]))
                size, days, n = -1, sum(d for d, _ in found), sum(r for _, r in found)
            if days or n:
                units.append(((*company.segments[line.account_id], size, max(1, round(days / 365.25 * 24))), n))
        got = {
            (*names_of(frame, record.group_levels[g]), int(record.group_size[g]), round(exposure * 24)): (
                int(N_),
                int(S),
            )
            for g, exposure, N_, S in zip(record.group, record.exposure, record.n_lines, record.n_events, strict=True)
        }
        wanted: dict = defaultdict(lambda: (0, 0))
        for key, n in units:
            wanted[key] = (wanted[key][0] + 1, wanted[key][1] + n)
        assert got == dict(wanted), kind
        histogram = Counter(n for _, n in units if n)
        assert dict(zip(record.hist_n.tolist(), record.hist_count.tolist(), strict=True)) == histogram
        assert record.n_lines.sum() == len(units)


@pytest.mark.parametrize("seed", SEEDS)
def test_size_cells_are_the_references_sums(seed: int) -> None:
    company, lines, _, frame, cells = counted(seed)
    ruler = yardsticks(frame)
    for kind, record in cells.sizes.items():
        units: dict = defaultdict(list)
        for line in lines:
            level = company.segments[line.account_id]
            if kind == "return_value":
                for before, term in zip(line.terms, line.terms[1:], strict=False):
                    if term.k == 1:
                        units[(*level, -1, 1)].append([math.log(term.mrr / before.mrr)])
                continue
            y = [a["y"] for t in line.terms for a in t.amendments if a["event"].kind == kind]
            y += [o["y"] for o in line.one_offs if o["event"].kind == kind]
            if y:
                units[(*level, ruler.size_class(line.base), len(y))].append(y)
        assert len(record.n) == len(units)
        for c, g in enumerate(record.group):
            ys = units[(*names_of(frame, record.group_levels[g]), int(record.group_size[g]), int(record.n[c]))]
            means = [np.mean(y) for y in ys]
            assert record.n_lines[c] == len(ys)
            assert record.mean[c] == pytest.approx(np.mean(means), rel=1e-9, abs=1e-12)
            assert record.between[c] == pytest.approx(np.sum((means - np.mean(means)) ** 2), rel=1e-9, abs=1e-12)
            within = sum(np.sum((np.array(y) - m) ** 2) for y, m in zip(ys, means, strict=True))
            assert record.within[c] == pytest.approx(within, rel=1e-9, abs=1e-12)


def change_of(mrr: float, carried: float, past: float) -> tuple[int, float, float, float]:
    """direction (0 down, 1 flat, 2 up), y, x and log|dy/d log r| (the slope taken numerically)."""
    x = math.log(carried) - past
    r = min(mrr / carried, 20.0)
    if direction(math.log(r)) == 2:
        return 1, 0.0, x, -math.log(2 * math.log(1.01))
    y = (lambda r: math.log(r - 1)) if r > 1 else (lambda r: math.log((1 - r) / r))
    h = 1e-6 * abs(r - 1)
    slope = abs(y(r * math.exp(h)) - y(r * math.exp(-h))) / (2 * h)
    return 2 * int(r > 1), y(r), x, math.log(slope)


def line_key(line: Line) -> int:
    digest = blake2b(f"{line.account_id}\x1f{line.contract_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


@pytest.mark.parametrize("seed", SEEDS)
def test_change_cells_are_the_references_renewals(seed: int) -> None:
    company, lines, _, frame, cells = counted(seed)
    change = cells.change
    reference = yardsticks(frame)

    def group_of(g: int) -> tuple:
        return *names_of(frame, change.group_levels[g]), int(change.group_size[g])

    directions: dict = defaultdict(lambda: [0, 0, 0])
    sums: dict = defaultdict(list)
    rows = []
    for line in lines:
        segments = company.segments[line.account_id]
        for old, new in zip(line.terms, line.terms[1:], strict=False):
            if not old.renewed:
                continue
            size = (old.cents + old.amend_cents) / 100 / old.months
            level = (*segments, reference.size_class(size if size > 0 else 1e-9 * line.base))
            row = 4 if abs(new.months - old.months) > 0.1 * old.months else old.prev
            logterm, past = math.log(new.months / old.months), sum(map(math.log, old.mrrs)) / len(old.mrrs)
            sides = [change_of(new.mrr, carried, past) for carried in old.carried]
            if old.amend_cents:
                rows.append((line_key(line), (*level, row, logterm, *sides[0], *sides[1])))
                continue
            where, y, x, _ = sides[0]
            directions[(*level, row)][where] += 1
            if where != 1:
                sums[(*level, where // 2)].append(([1, -x, logterm], y))
    got = {
        (*group_of(g), int(row)): counts
        for g, row, counts in zip(
            change.direction_group, change.direction_row, change.direction_counts.tolist(), strict=True
        )
    }
    assert got == dict(directions)
    assert len(change.size_n) == len(sums)
    for c, g in enumerate(change.size_group):
        X, y = (np.array(part) for part in zip(*sums[(*group_of(g), int(change.size_side[c]))], strict=True))
        assert change.size_n[c] == len(y)
        np.testing.assert_allclose(change.size_xx[c], X.T @ X, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(change.size_xy[c], X.T @ y, rtol=1e-9, atol=1e-9)
        assert change.size_yy[c] == pytest.approx(y @ y)
    for g in range(len(change.group_size)):
        for side in (0, 1):
            # However coarse, the cells hold every size once, with its regressors.
            mine = (change.beyond_group == g) & (change.beyond_side == side)
            n, mean = change.beyond_n[mine], change.beyond_features[mine]
            X = np.array([x for x, _ in sums.get((*group_of(g), side), [])]).reshape(-1, 3)
            assert n.sum() == len(X)
            np.testing.assert_allclose(n @ mean, X.sum(axis=0), rtol=1e-9, atol=1e-9)
    by_side = np.stack(
        [change.amended_direction, change.amended_y, change.amended_x, change.amended_log_jac], axis=2
    ).reshape(-1, 8)
    amended = [
        (*group_of(group), int(row), logterm, *numbers)
        for group, row, logterm, numbers in zip(
            change.amended_group, change.amended_row, change.amended_logterm, by_side.tolist(), strict=True
        )
    ]
    assert len(amended) == len(rows) == change.n_amended
    in_order = [row for _, row in sorted(rows, key=lambda keyed: keyed[0])]  # of the lines' keys, then as they follow
    for mine, theirs in zip(amended, in_order, strict=True):
        assert mine[:4] == theirs[:4]
        assert mine[4:] == pytest.approx(theirs[4:], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_term_lengths_and_refunds(seed: int) -> None:
    _, lines, built, frame, cells = counted(seed)
    ruler, values = yardsticks(frame), frame.term_values.tolist()
    wanted = np.zeros_like(cells.terms.counts)
    for line in lines:
        for old, new in zip(line.terms, line.terms[1:], strict=False):
            wanted[ruler.term_class(old.months) if old.renewed else -1, values.index(new.months)] += 1
    np.testing.assert_array_equal(cells.terms.counts, wanted)
    ended = [churn for churn in built.churns.to_pylist() if churn["role"] == "terminated"]
    refunded = sum(-churn["debooked_cents"] >= churn["remainder_cents"] / 2 for churn in ended)
    assert (cells.refunds.refunded, cells.refunds.kept) == (refunded, len(ended) - refunded)


@pytest.mark.parametrize("n_groups", [3, 200])
def test_coarse_cells_tell_how_many_sizes_lie_beyond_the_flat_band(n_groups: int) -> None:
    """To second order, cells say of every parameter what the renewals one by one say: the slope of Σ log P is the same.

    Compared with the curvature that 20,000 sizes themselves give, n / sd² and more, it moves no estimate by .1 standard errors.
    """
    rng = np.random.default_rng(1)
    n = 20_000
    where = np.column_stack([rng.integers(n_groups, size=n), rng.integers(2, size=n)])
    log_term = rng.choice([-np.log(3.0), 0.0, np.log(5.0)], n, p=[0.15, 0.7, 0.15])
    x = rng.normal(0.0, 0.5, n)
    X = np.column_stack([np.ones(n), -x, log_term])
    cells = coarse_cells(where, X)
    assert cells.n.sum() == n and len(cells.n) < n / 5 and (cells.where[cells.cell] == where).all()
    level = rng.normal(0.0, 0.3, n_groups)

    def difference(parameters: np.ndarray) -> float:
        """Of Σ log P between cells and renewals."""
        *b, log_sd = parameters
        sd = np.exp(log_sd)
        exact = log_beyond(level[where[:, 0]] + X @ b, sd, SMALLEST_CHANGE).sum()
        centre = level[cells.where[:, 0]] + cells.features @ b
        at_mean, z = log_beyond(centre, sd, SMALLEST_CHANGE), (centre - SMALLEST_CHANGE) / sd
        hazard = np.exp(stats.norm.logpdf(z) - at_mean)
        spread = cells.scatter @ np.array([b[1] ** 2, 2 * b[1] * b[2], b[2] ** 2]) / sd**2
        return float((cells.n * at_mean - 0.5 * hazard * (hazard + z) * spread).sum() - exact)

    for parameters in ([-2.2, 0.4, 0.3, 0.0], [-3.2, 0.6, 0.5, 0.0]):
        at, h = np.array(parameters), 1e-4
        slope = np.array([difference(at + h * e) - difference(at - h * e) for e in np.eye(4)]) / (2 * h)
        information = np.append((X**2).sum(axis=0), 2 * n) / np.exp(2 * at[3])
        assert np.abs(slope / np.sqrt(information)).max() < 0.1


def test_the_order_of_steps_in_a_path_does_not_make_another_cell() -> None:
    """Two accounts with the same multiset of steps share a node, and an account's future does not split it."""
    rows = []
    for number, account in enumerate("AB"):
        rows += [
            event(10 * number + 1, "initial", "2021-01-01", 1200, months=12, account=account),
            event(10 * number + 2, "renewal", "2022-01-01", 1200, months=12, account=account),
            event(10 * number + 3, "renewal", "2023-01-01", 1200, months=12, account=account),
        ]
    built = histories(*rows)
    cells = build_cells(built, build_frame(built)).renewal
    assert cells.count.tolist() == [2]
    assert cells.outcome.tolist() == [0]
    assert (cells.step_t0.tolist(), cells.step_t1.tolist()) == ([0, 1, 2], [1, 2, 3])
    assert cells.node_ptr[-1] == 5  # two steps taken, three with the next one
    assert (cells.f_bin[0], cells.f_frac[0]) == (0, 1.0)
    assert cells.max_decisions == 2


def test_left_truncated_lines_repeat_their_first_step() -> None:
    built = histories(event(1, "initial", "2023-09-01", 1200, months=12), m=6)
    cells = build_cells(built, build_frame(built)).renewal
    assert cells.step_number.tolist() == [0, 1, 2, 3, 4, 4]
    assert cells.outcome.tolist() == [2]  # still running, and no renewal was ever booked early
    assert cells.node_m[0] == cells.node_n[0]
    assert cells.node_n1.tolist() == [-1]


def test_a_return_makes_the_lapse_before_it_certain() -> None:
    built = histories(
        event(1, "initial", "2022-06-01", 1200, months=12),
        event(2, "renewal", "2023-09-20", 1200, start="2023-06-01", months=6),  # lag 111 days
        event(3, "initial", "2024-03-20", 1200, months=12),  # 110 days after the end
    )
    frame = build_frame(built)
    cells = build_cells(built, frame).renewal
    assert cells.group_second_spell.tolist() == [False, True]
    second = cells.group_second_spell[cells.node_group[cells.node_n]]
    assert dict(zip(second.tolist(), cells.outcome.tolist(), strict=True)) == {False: 0, True: 2}
    assert cells.f_bin[~second].tolist() == [0] and cells.f_frac[~second].tolist() == [1.0]


def test_sampling_takes_whole_lines_and_does_not_depend_on_the_order_of_rows() -> None:
    company = random_company(3, n_accounts=150)
    built = build_histories(company.ledger)
    frame = build_frame(built, SEGMENTS)
    whole = build_cells(built, frame).renewal
    some = build_cells(built, frame, max_cells=60)
    assert len(some.renewal.count) <= 60 < len(whole.count)
    assert 0 < some.renewal.n_lines_used < whole.n_lines_used
    assert "random sample" in some.warnings[0]
    assert not unfolded(some.renewal, frame) - unfolded(whole, frame)
    turned = ledger_tables(company.events[::-1], company.segments, company.observed_from)
    again = build_cells(build_histories(turned), frame, max_cells=60).renewal
    for name in RenewalCells.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(some.renewal, name), err_msg=name)


@pytest.mark.parametrize("max_cells", [60, 10_000])
def test_how_many_lines_are_tried_first_does_not_matter(max_cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build_histories(random_company(3, n_accounts=150).ledger)
    frame = build_frame(built, SEGMENTS)
    at_once = build_cells(built, frame, max_cells).renewal
    monkeypatch.setattr(renewal_cells, "LINES_TRIED", 9)
    by_and_by = build_cells(built, frame, max_cells).renewal
    assert unfolded(by_and_by, frame) == unfolded(at_once, frame)
    assert by_and_by.n_lines_used == at_once.n_lines_used and by_and_by.n_lines == at_once.n_lines
    np.testing.assert_array_equal(by_and_by.lag_counts, at_once.lag_counts)


def test_passed_share_by_hand() -> None:
    edges = np.array([-10.0, 0.0, 20.0, 120.0])
    d = np.array([-50, -10, -5, 0, 5, 19, 20, 45, 119, 120, 999], dtype=float)
    j, quarters = passed_share(d, edges)
    assert list(zip(j.tolist(), quarters.tolist(), strict=True)) == [
        (0, 0), (0, 0), (0, 2), (1, 0), (1, 1), (2, 0), (2, 0), (2, 1), (2, 4), (2, 4), (2, 4),
    ]  # fmt: skip


def often(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct numbers, and how often each occurs."""
    return np.unique(numbers, return_counts=True)


def test_lag_bins_hold_enough_and_cover_what_was_seen() -> None:
    rng = np.random.default_rng(1)
    lags = np.concatenate([rng.integers(-40, 300, 2000), [-2000, 3000]]).astype(float)
    edges = lag_bins(*often(lags))
    counts = np.bincount(lag_bin_of(lags, edges), minlength=len(edges) - 1)
    assert counts.sum() == len(lags) and counts.min() >= 20
    assert set(edges) <= set(LAG_GRID) and (np.diff(edges) > 0).all()
    assert lag_bins(*often(np.empty(0))).tolist() == [-1, 0]
    assert lag_bins(*often(np.zeros(3))).tolist() == [-1, 0]
    assert lag_bins(*often(np.array([0.0, 400.0]))).tolist() == [-1, 548]


def test_a_day_that_many_lags_share_is_a_bin_of_its_own() -> None:
    """Half are booked on the contract's next day, a few in the month before, the rest at quarters' starts."""
    rng = np.random.default_rng(2)
    lags = np.concatenate([np.zeros(500), rng.integers(-29, -1, 6), np.full(300, 92.0), rng.integers(1, 90, 194)])
    edges = lag_bins(*often(lags))
    for day in (0.0, 92.0):
        assert {day - 1.0, day} <= set(edges)
    counts = np.bincount(lag_bin_of(lags, edges))
    assert counts[np.searchsorted(edges, 0.0) - 1] == 500
    assert counts[: np.searchsorted(edges, -1.0)].sum() == 6, "few as they are, they were not booked on the day"
    assert counts.sum() == len(lags) and (np.diff(edges) > 0).all()
    assert common_days(*often(lags)).tolist() == [0.0, 92.0]


def test_booked_by_the_day_before_is_not_booked_on_the_day() -> None:
    """Every renewal is booked on the first day of the next term: the day before, nothing is late and nothing is known."""
    edges = lag_bins(*often(np.concatenate([np.zeros(900), np.full(10, -20.0), np.full(90, 40.0)])))
    j, quarters = passed_share(np.array([-1.0, 0.0]), edges)
    assert edges[j[0]] <= -1.0 and quarters[0] == 0, "none of the day's bookings have passed"
    assert edges[j[1]] == 0.0 and quarters[1] == 0, "all of them have"


def test_size_cuts_leave_no_class_empty() -> None:
    three_plans = np.log(np.repeat([10.0, 50.0, 200.0], [500, 300, 200]))
    found = size_cuts(*often(np.rint(1e6 * three_plans)))
    np.testing.assert_allclose(found, [np.log(500) / 2, np.log(10_000) / 2], atol=1e-5)
    assert len(size_cuts(*often(np.rint(1e6 * np.random.default_rng(0).normal(size=5000))))) == 6
    assert len(size_cuts(*often(np.zeros(500)))) == 0
    assert len(size_cuts(*often(1e6 * np.arange(30.0)))) == 0


def test_frame_layout_and_classes() -> None:
    built = build_histories(random_company(1).ledger)
    frame = build_frame(built, ["region"], size_edges=[3.0, 5.0])
    assert frame.location_columns == (
        "intercept", "region=north", "region=south", "region=west", "size_class=0", "size_class=1", "size_class=2",
        "second_spell", "tenure_unknown",
    )  # fmt: skip
    assert (frame.first_column("region"), frame.first_size_column) == (1, 4)
    assert frame.size_class_of([np.exp(2), np.exp(3), np.exp(9)]).tolist() == [0, 1, 2]
    assert frame.term_class_names == ("1", "2-5", "6-11", "12", "24", "36")
    assert frame.term_class_of([1, 4, 12, 13, 60]).tolist() == [0, 1, 3, 3, 5]  # 13 and 60 take the nearest seen
    assert frame.combined_class([1], [2], [4], [True], [False]).tolist() == [(((1 * 3 + 2) * 5 + 4) * 2 + 1) * 2]


def test_wrong_segments_and_cut_points_say_what_is_there() -> None:
    built = build_histories(random_company(1).ledger)
    with pytest.raises(HistoryError, match="'plan' is not a column of the accounts .*region, line"):
        build_frame(built, ["plan"])
    with pytest.raises(HistoryError, match="one text"):
        build_frame(built, "region")
    with pytest.raises(HistoryError, match="twice"):
        build_frame(built, ["region", "region"])
    with pytest.raises(HistoryError, match="increasing"):
        build_frame(built, [], size_edges=[2, 1])
    with pytest.raises(HistoryError, match="at least 1 month"):
        build_frame(built).term_class_of([0])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("accounts_each", [7, 50_000])
def test_what_is_counted_needs_no_other_columns(seed: int, accounts_each: int) -> None:
    """Frame and cells of histories without the columns that nothing counts are those of whole histories."""
    company, _, _, frame, cells = counted(seed)
    less = build_histories(company.ledger, accounts_each, COUNTED)
    assert {name: set(getattr(less, name).column_names) for name in COUNTED} == {
        name: {*columns, *(("segment:region", "segment:line") if name == "lines" else ())}
        for name, columns in COUNTED.items()
    }
    again = build_frame(less, SEGMENTS)
    assert as_plain(again) == as_plain(frame)
    assert as_plain(build_cells(less, again)) == as_plain(cells)


def as_plain(record: object) -> object:
    """Records of arrays as what can be compared, to the last bit."""
    if is_dataclass(record):
        return {field.name: as_plain(getattr(record, field.name)) for field in fields(record)}
    if isinstance(record, dict):
        return {name: as_plain(value) for name, value in record.items()}
    return (record.dtype.str, record.shape, record.tobytes()) if isinstance(record, np.ndarray) else record


def test_a_ledger_with_one_running_term_has_empty_cells_of_the_right_shape() -> None:
    built = histories(event(1, "initial", "2024-06-30", 1200, months=12))
    frame = build_frame(built)
    cells = build_cells(built, frame)
    assert frame.n_size_classes == 1 and frame.lag_edges.tolist() == [-1, 0]
    assert cells.renewal.outcome.tolist() == [2]
    assert cells.rates["expansion"].exposure.tolist() == [1 / 24]
    assert len(cells.rates["reactivation"].exposure) == 0
    assert cells.change.size_xx.shape == (0, 3, 3) and cells.change.direction_counts.shape == (0, 3)
    assert cells.change.amended_y.shape == (0, 2)
    assert cells.sizes["expansion"].group_levels.shape[1] == 0
    assert cells.terms.counts.sum() == 0


def test_shipped_contracts_counts_add_up() -> None:
    """The City of Philadelphia's contracts as known on 2018-06-30: nothing is lost on the way to the cells."""
    ledger = load_phl_contracts(as_of="2018-06-30")
    built = build_histories(ledger)
    frame = build_frame(built, ["department_group"])
    cells = build_cells(built, frame)
    kinds = Counter(ledger.events["kind"].to_pylist())
    terms, outcomes = built.terms, Counter(built.decisions["outcome"].to_pylist())
    assert terms.num_rows == kinds["initial"] + kinds["renewal"] == 4968
    assert outcomes["renewed"] == cells.renewal.lag_counts.sum()
    assert outcomes["open"] == cells.renewal.count.sum()  # no churn events: one open decision a spell
    assert built.lines.num_rows == cells.renewal.n_lines == 1542
    assert cells.rates["expansion"].n_events.sum() == kinds["expansion"]
    assert cells.rates["contraction"].n_events.sum() == kinds["contraction"]
    assert cells.rates["change_order"].n_events.sum() == kinds["change_order"]
    assert cells.rates["expansion"].n_lines.sum() == 1542
    for kind in EVENT_KINDS:
        assert (cells.sizes[kind].n * cells.sizes[kind].n_lines).sum() == kinds[kind]
    change = cells.change
    assert change.direction_counts.sum() + change.n_amended == outcomes["renewed"]
    assert change.size_n.sum() == change.direction_counts[:, [0, 2]].sum()
    returns = cells.sizes["return_value"].n_lines.sum()
    assert cells.rates["reactivation"].n_events.sum() <= returns  # a young lapse does not count, returned or not
    assert cells.terms.counts[:-1].sum() == outcomes["renewed"]
    assert cells.terms.counts[-1].sum() == returns
    assert outcomes["open"] == 1542 + returns
    assert len(cells.renewal.count) < 2000
    # unrecognised money is what the items have left
    booked, recognised = (sum(built.account_money[f"{name}_cents"].to_pylist()) for name in ("booked", "recognised"))
    assert booked == sum(ledger.events["amount_cents"].to_pylist())
    items = built.items.to_pylist()
    assert booked - recognised == sum(item["cents"] - item["recognised_cents"] for item in items)
    assert all(item["recognised_cents"] == item["cents"] for item in items if item["end_day"] <= built.as_of_day)


# --- distinct rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spans", [(3, 4, 2), (2**20, 2**20, 2**20, 2**20), (2**63, 5, 2**63), (2**31, 2**31, 2**31), (1,)]
)
def test_distinct_rows_are_those_of_numpy(spans: tuple[int, ...]) -> None:
    """However wide the columns are: packed into one integer, ranked first, or counted in a table."""
    rng = np.random.default_rng(1)
    few = np.column_stack([rng.integers(-(span // 2), (span - 1) // 2 + 1, 40) for span in spans]).astype(np.int64)
    keys = few[rng.integers(0, 40, 300)]
    rows, index = distinct(keys)
    expected, inverse = np.unique(keys, axis=0, return_inverse=True)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(index, inverse.ravel())
