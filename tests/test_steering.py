"""Scenarios, planned steps, a last day and the snapshots of ARR: the kernel and its plain twin agree, draw for draw."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np

from clvforecast.cells.frame import Frame
from clvforecast.simulation.slots import UNITS_PER_CENT
from clvforecast.simulation.structures import NEVER, Assumed, Given, Snapshots, Steps
from clvforecast.simulation.twin import Life
from clvforecast.simulation.twin_billing import Billing
from clvforecast.simulation.twin_line import Circumstances, Piece, PlannedStep
from clvforecast.simulation.twin_revenue import months_after
from test_money import with_receivables
from test_twin import AS_OF_DAY, KINDS, PLAN, Run, Steered, compare, run_both

N_LINES, N_DRAWS = 60, 3
RATES = (*KINDS, "termination")
HORIZON = months_after(AS_OF_DAY + 1, PLAN.horizon_months)


def random_snapshots(rng: np.random.Generator) -> Snapshots:
    """Three days before the forecast, some after, and windows between any two of which the later is in it."""
    past = AS_OF_DAY - np.array([200, 90, 0])
    future = np.unique(rng.integers(AS_OF_DAY + 1, HORIZON, 12))
    days = np.append(past, future)
    first, last = rng.integers(0, days.size, 30), rng.integers(3, days.size, 30)
    windows = np.column_stack((first, last))[first < last]
    return Snapshots(days, 3, windows)


def random_rows(rng: np.random.Generator, n_values: int, factors: tuple[float, ...]) -> list[tuple[Piece, ...]]:
    """Rows of pieces that do not overlap, some of the line's life left out."""
    rows = []
    for _ in range(4):
        edges = np.sort(rng.choice(np.arange(AS_OF_DAY - 100, HORIZON), 4, replace=False))
        rows.append(
            tuple(
                Piece(
                    int(start),
                    int(stop),
                    odds=float(rng.choice([0.0, 0.5, 1.0, 2.0])),
                    points=float(rng.choice([-0.1, 0.0, 0.1])),
                    uplift=float(rng.choice([-0.05, 0.0, 0.07])),
                    rates={kind: float(rng.choice(factors)) for kind in RATES},
                    share=float(rng.choice([0.0, 0.5, 1.0])),
                    mix=tuple(np.cumsum(rng.dirichlet(np.ones(n_values)))),
                )
                for start, stop in ((edges[0], edges[1]), (edges[2], edges[3]))
            )
        )
    return rows


def assumed_of(rows: list[tuple[Piece, ...]]) -> Assumed:
    pieces = [piece for row in rows for piece in row]
    return Assumed(
        first=np.cumsum([0, *(len(row) for row in rows)]),
        days=np.array([(piece.start, piece.stop) for piece in pieces]),
        odds=np.array([piece.odds for piece in pieces]),
        points=np.array([piece.points for piece in pieces]),
        uplift=np.array([piece.uplift for piece in pieces]),
        rates=np.array([[piece.rate(kind) for kind in RATES] for piece in pieces]),
        share=np.array([piece.share for piece in pieces]),
        mix=np.array([piece.mix for piece in pieces]),
    )


def random_steps(rng: np.random.Generator) -> tuple[Steps, dict[tuple[int, int], tuple[PlannedStep, ...]]]:
    """Up to three planned steps a line, for the kernel and for the twin by (draw, line)."""
    rows, outcomes, weight = [], [], rng.random(N_DRAWS)
    by_draw: dict[tuple[int, int], tuple[PlannedStep, ...]] = {}
    for line in range(N_LINES):
        for _ in range(int(rng.integers(0, 4))):
            kind = int(rng.choice([0, 1, 2, 4]))
            first = int(rng.integers(AS_OF_DAY - 300, HORIZON))
            last, months = first + int(rng.integers(1, 400)), int(rng.choice([0, 6, 24]))
            stated = np.nan if rng.random() < 0.5 else rng.random()
            rows.append((line, kind, first, last, months * (kind == 4), stated))
            for draw in range(N_DRAWS):
                happens = rng.random() < 0.7
                happens |= kind == 4
                day = int(max(rng.integers(first, last + 1), AS_OF_DAY + 1)) if happens else -1
                cents = int(rng.integers(1, 400_000)) * (-1 if kind == 1 else 1) * (kind != 4 or rng.random() < 0.5)
                p = np.nan if rng.random() < 0.4 else rng.random()
                outcomes.append((day, cents * UNITS_PER_CENT, p, rng.random()))
                step = PlannedStep(
                    [*KINDS, "renewal"][kind],
                    first,
                    last,
                    None if day < 0 else day,
                    cents * UNITS_PER_CENT or None,
                    months * (kind == 4) or None,
                    None if np.isnan(p) else p,
                    outcomes[-1][3],
                    None if np.isnan(stated) else stated,
                    weight[draw],
                )
                by_draw[draw, line] = (*by_draw.get((draw, line), ()), step)
    *whole, stated = np.array(rows).T
    line, kind, first, last, months = (column.astype(np.int64) for column in whole)
    day, units, probability, choice = (np.array(column).reshape(-1, N_DRAWS) for column in zip(*outcomes, strict=True))
    steps = Steps(
        line,
        kind,
        np.column_stack((first, last)),
        months,
        day,
        units,
        probability,
        choice,
        np.log(stated / (1 - stated)),
        weight,
    )
    return steps, by_draw


def everything(rng: np.random.Generator, frame: Frame, factors: tuple[float, ...] = (0.0, 0.6, 1.0, 1.8)) -> Steered:
    """All at once: rows of a scenario, planned steps, last days and snapshots."""
    snapshots = random_snapshots(rng)
    rows = random_rows(rng, len(frame.term_values), factors)
    effect = rng.integers(-1, len(rows), N_LINES)
    stop = np.where(rng.random(N_LINES) < 0.2, rng.integers(AS_OF_DAY - 50, HORIZON + 300, N_LINES), NEVER)
    steps, by_draw = random_steps(rng)
    past = rng.integers(0, 5_000_000, (N_LINES, 3)) * (rng.random((N_LINES, 3)) < 0.7)
    given = Given(past=past, first=rng.integers(0, 6, N_LINES), stop_day=stop, effect=effect, steps=steps)
    return Steered(
        given,
        snapshots,
        assumed_of(rows),
        lambda draw, line: Circumstances(
            None if stop[line] == NEVER else int(stop[line]),
            rows[effect[line]] if effect[line] >= 0 else (),
            by_draw.get((draw, line), ()),
        ),
    )


def annual_cents(mrr: float) -> int:
    return max(math.floor(1200 * mrr + 0.5), 0)


def arr_of(life: Life, snapshots: Snapshots, past: np.ndarray) -> list[int]:
    """ARR of one line at every snapshot, from what it was and from the twin's periods of activity."""
    future = snapshots.days[snapshots.n_past :]
    return past.tolist() + [
        sum(
            annual_cents(period.counted_mrr)
            for period in life.activity + life.in_between
            if period.start <= day < period.end
        )
        for day in future
    ]


def movements(arr: list[int], life: Life, first: int, snapshots: Snapshots) -> list[list[int]]:
    """For every window: new, late, reactivated, expansion, contraction, churn, lost, gained."""
    found = []
    for start, end in snapshots.windows:
        before, after = arr[start], arr[end]
        row = [0] * 8
        if before and not after:
            row[5], row[6] = before, 1
        elif before > after:
            row[4] = before - after
        elif before and after > before:
            row[3] = after - before
        elif after > before:
            late = life.late and start < snapshots.n_past
            row[0 if start < first else 1 if late else 2] = after
            row[7] = 1
        found.append(row)
    return found


def compare_bridge(run: Run, steered: Steered) -> Counter:
    """Every number of the bridge against the twin's lives; counts what was met."""
    met: Counter = Counter()
    bridge, snapshots, given = run.totals.bridge, steered.snapshots, steered.given
    assert bridge is not None and given.past is not None and given.first is not None
    for (draw, line), life in run.lives.items():
        where = f"draw {draw}, line {line}"
        arr = arr_of(life, snapshots, given.past[line])
        assert bridge.in_force[draw, line].tolist() == arr, where
        assert bridge.accounts[draw, line].tolist() == [int(cents > 0) for cents in arr], where
        moved = movements(arr, life, int(given.first[line]), snapshots)
        assert bridge.moved[draw, line].tolist() == moved, where
        due, renewed = np.zeros(len(arr), dtype=int), np.zeros(len(arr), dtype=int)
        for day, mrr, later in life.decided:
            place = int(np.searchsorted(snapshots.days, day))
            if 0 < place < len(arr):
                due[place] += annual_cents(mrr)
                renewed[place] += min(annual_cents(mrr), annual_cents(later))
        assert bridge.due[draw, line].tolist() == due.tolist(), where
        assert bridge.renewed[draw, line].tolist() == renewed.tolist(), where
        met.update(np.flatnonzero(np.sum(moved, axis=0)).tolist())
    return met


def test_kernel_and_twin_agree_whatever_is_assumed_planned_and_stopped() -> None:
    met: Counter = Counter()
    for seed in range(3):
        kept: list[Steered] = []
        run = run_both(
            seed, N_LINES, N_DRAWS, PLAN, lambda rng, frame, kept=kept: kept.append(everything(rng, frame)) or kept[0]
        )
        compare(run)
        met += compare_bridge(run, kept[0])
        met.update(
            planned for life in run.lives.values() for planned in ["planned"] * len(life.taken) + ["late"] * life.late
        )
    assert set(met) == {*range(8), "planned", "late"}


def test_they_agree_where_rates_only_fall() -> None:
    """What is refused then has its size drawn all the same; a wait that brings nothing has not."""
    kept: list[Steered] = []

    def steer(rng: np.random.Generator, frame: Frame) -> Steered:
        return kept.append(everything(rng, frame, (0.0, 0.6, 1.0))) or kept[0]

    run = run_both(12, N_LINES, N_DRAWS, PLAN, steer)
    compare(run)
    compare_bridge(run, kept[0])


def test_they_agree_by_booking_day() -> None:
    kept: list[Steered] = []
    plan = replace(PLAN, by_booking_day=True)
    run = run_both(4, N_LINES, N_DRAWS, plan, lambda rng, frame: kept.append(everything(rng, frame)) or kept[0])
    compare(run)
    compare_bridge(run, kept[0])


def test_the_bridge_balances_in_every_draw_group_and_window() -> None:
    kept: list[Steered] = []
    run = run_both(5, N_LINES, N_DRAWS, PLAN, lambda rng, frame: kept.append(everything(rng, frame)) or kept[0])
    bridge, windows = run.totals.bridge, kept[0].snapshots.windows
    assert bridge is not None
    start, end = (bridge.in_force[:, :, windows[:, place]] for place in (0, 1))
    new, late, back, more, less, lost = np.moveaxis(bridge.moved[..., :6], -1, 0)
    assert (start + new + late + back + more - less - lost == end).all()
    assert (less + lost <= start).all()


def test_they_agree_in_cash() -> None:
    kept: list[Steered] = []
    plan = replace(PLAN, billing=Billing(3, 45))
    run = run_both(
        6,
        N_LINES,
        N_DRAWS,
        plan,
        lambda rng, frame: kept.append(everything(rng, frame)) or kept[0],
        change=lambda states: with_receivables(states, 6),
    )
    compare(run)
    compare_bridge(run, kept[0])
