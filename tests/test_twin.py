"""The kernel and its plain twin agree, draw for draw, on random states, parameters and settings."""

import datetime as dt
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import xarray as xr

from clvforecast.calendars import FiscalCalendar
from clvforecast.cells.frame import Frame
from clvforecast.simulation.calendar import make_grid
from clvforecast.simulation.parameters import make_classes, make_parameters, select_draws
from clvforecast.simulation.run import Each, Simulated, Totals, simulate_portfolio
from clvforecast.simulation.slots import UNITS_PER_CENT, Origin
from clvforecast.simulation.states import States
from clvforecast.simulation.structures import NO_SNAPSHOTS, NOTHING_ASSUMED, Assumed, Given, Settings, Snapshots
from clvforecast.simulation.twin import Life, live
from clvforecast.simulation.twin_line import Circumstances, Line, Plan
from clvforecast.simulation.twin_revenue import Activity, Booking, account_for, months_after

AS_OF = dt.date(2024, 2, 29)
AS_OF_DAY = (AS_OF - dt.date(1970, 1, 1)).days
KINDS = ("expansion", "contraction", "change_order", "referral")
FAR_AWAY = 2**40


def random_frame(rng: np.random.Generator) -> Frame:
    """Two segment columns, three or four term lengths, one to four size classes."""
    names = {1: "1", 6: "6-11", 12: "12", 24: "24", 36: "36", 60: "60"}
    months = [1, 12, 36] if rng.random() < 0.5 else [6, 12, 24, 60]
    return Frame(
        segments=("plan", "region"),
        levels={"plan": ("basic", "gold", "pro"), "region": ("east", "west")},
        size_edges=np.sort(rng.normal(6.5, 0.7, rng.integers(0, 4))),
        term_values=np.array(months),
        term_class=np.arange(len(months)),
        term_class_names=tuple(names[count] for count in months),
        lag_edges=np.array([-61.0, -31.0, -1.0, 0.0, 31.0, 92.0, 183.0]),
        uses_notice=True,
        years=(2020, 2021, 2022, 2023, 2024),
        settled_years=3,
    )


def random_posterior(frame: Frame, n_draws: int, rng: np.random.Generator) -> xr.Dataset:
    """Draws of every variable, wide apart, with enough events to meet everything within a few years."""
    n_levels = sum(len(levels) for levels in frame.levels.values())
    n_classes, n_terms, n_values = frame.n_size_classes, frame.n_term_classes, len(frame.term_values)
    values: dict[str, np.ndarray] = {}

    def normal(name: str, mean: float, sd: float, *shape: int) -> None:
        values[name] = rng.normal(mean, sd, (n_draws, *shape))

    def share(name: str, low: float = 0.05, high: float = 0.95) -> None:
        values[name] = rng.uniform(low, high, n_draws)

    def effects(prefix: str, size: bool = False, size_name: str = "size_effect") -> None:
        normal(f"{prefix}_segment_effect", 0, 0.3, n_levels)
        values[f"{prefix}_segment_sd"] = rng.uniform(0.1, 0.5, (n_draws, len(frame.segments)))
        if size:
            normal(f"{prefix}_{size_name}", 0, 0.2, n_classes)

    share("renewal_mu", 0.5, 0.95)
    share("renewal_phi", 0.05, 0.6)
    values["renewal_c"] = rng.choice([1.0, 1.0, 0.8, 1.3], n_draws)
    effects("renewal", size=True)
    normal("renewal_term_effect", 0, 0.3, n_terms)
    normal("renewal_number_effect", 0, 0.3, 5)
    normal("renewal_year_effect", 0, 0.3, len(frame.years))
    values["renewal_year_sd"] = rng.uniform(0.1, 0.5, n_draws)
    for name in ("second_spell", "tenure_unknown", "expanded", "cut"):
        normal(f"renewal_{name}_effect", 0, 0.4)
    for name in ("booking_lag", "notice_lag"):
        values[name] = rng.dirichlet(np.ones(frame.n_lag_bins), n_draws)
    share("notice_share")
    for kind in (*KINDS, "reactivation", "termination"):
        values[f"{kind}_rate"] = rng.uniform(0.2, 1.2, n_draws)
        effects(f"{kind}_rate", size=True)
        values[f"{kind}_rate_shape"] = rng.uniform(0.3, 3.0, n_draws)
    for kind in KINDS:
        normal(f"{kind}_size_mean", -1.0, 0.5)
        values[f"{kind}_size_sd"] = rng.uniform(0.3, 1.2, n_draws)
        share(f"{kind}_size_icc")
        effects(f"{kind}_size", size=True)
    normal("return_value_mean", 0, 0.3)
    values["return_value_sd"] = rng.uniform(0.1, 0.6, n_draws)
    effects("return_value")
    normal("change_logit", 0, 0.7, 5, 2)
    for side in ("down", "up"):
        effects(f"change_{side}", size=True, size_name="size_class_effect")
        normal(f"change_{side}_size_mean", -0.5, 1.0)
        values[f"change_{side}_size_sd"] = rng.uniform(0.3, 1.5, n_draws)
        normal(f"change_{side}_size_reversion", 0.2, 0.3)
        normal(f"change_{side}_size_term_slope", 0.1, 0.3)
        effects(f"change_{side}_size", size=True, size_name="size_class_effect")
    share("persistence")
    effects("persistence", size=True, size_name="size_class_effect")
    values["term_length"] = rng.dirichlet(np.ones(n_values), (n_draws, n_terms + 1))
    share("refund_share")
    return xr.Dataset(
        {
            name: (("chain", "draw", *(f"{name}_{axis}" for axis in range(array.ndim - 1))), array[None])
            for name, array in values.items()
        }
    )


def random_states(frame: Frame, n_lines: int, rng: np.random.Generator) -> States:
    """Lines of every kind: running, overdue, renewed ahead (some early), notified, terminated, long lapsed."""
    n_columns = len(frame.location_columns)
    new_levels = (("plan", "trial"), ("region", "north"))
    flat: dict[str, list] = {name: [] for name in States._fields if name != "given"}
    for line in range(n_lines):
        months = int(rng.choice(frame.term_values))
        days_in = int(rng.integers(0, 31 * months + 250)) if rng.random() < 0.8 else 31 * months + 400
        start = AS_OF_DAY - days_in
        end = months_after(start, months)
        amount = round(float(np.exp(rng.normal(6.5, 0.8))) * months, 2)
        mrr = amount / months
        status = 0
        if rng.random() < 0.15:
            status = 1
        elif rng.random() < 0.15 and days_in > 20:
            status = 2
        lapse_day = int(min(end, AS_OF_DAY + 1) - rng.integers(1, 15)) if status == 2 else 0
        terms = [(start, end, months, amount)]
        if status == 0 and end > AS_OF_DAY and rng.random() < 0.4:  # renewed ahead, sometimes before the end
            ahead = end - int(rng.integers(1, 20)) if rng.random() < 0.3 and end - start > 40 else end
            next_months = int(rng.choice(frame.term_values))
            terms.append((ahead, months_after(ahead, next_months), next_months, round(amount * 1.1, 2)))
        elif status == 0 and end > AS_OF_DAY - 15 and rng.random() < 0.3:  # or after it
            ahead = max(end, AS_OF_DAY) + int(rng.integers(2, 40))
            terms.append((ahead, months_after(ahead, months), months, round(amount * 0.9, 2)))
        for number, (first, last, length, money) in enumerate(terms):
            amended = number == 0 and rng.random() < 0.5
            amend = round(float(rng.normal(0.1, 0.2)) * money, 2) if amended else 0.0
            flat["bt_start"].append(first)
            flat["bt_end"].append(last)
            flat["bt_months"].append(length)
            flat["bt_amount"].append(money)
            flat["bt_amend"].append(amend)
            flat["bt_expanded"].append(amend > 0)
            flat["bt_mrr_now"].append((money + 1.3 * amend) / length)
            flat["bt_counted_mrr"].append((money + 1.1 * amend) / length)
            for _ in range(int(rng.integers(0, 3)) if amend else 0):
                begins = int(rng.integers(max(first, AS_OF_DAY + 1) + 1, max(last, AS_OF_DAY + 3)))
                flat["la_term"].append(number)
                flat["la_day"].append(begins)
                flat["la_mrr"].append(0.3 * amend / length)
                flat["la_counted"].append(0.2 * amend / length)
            if last > AS_OF_DAY + 1:
                items = [(first, round(money * 100), True)]
                if amend:
                    items.append((max(first, AS_OF_DAY - 5), round(amend * 100), True))
                if rng.random() < 0.2:
                    items.append((max(first, AS_OF_DAY - 30), 123_457, False))
                for item_start, cents, tied in items:
                    flat["ci_start"].append(item_start)
                    flat["ci_end"].append(last)
                    flat["ci_cents"].append(cents)
                    flat["ci_tied"].append(tied)
        spell, n_taken = int(rng.integers(0, 3)) // 2, int(rng.integers(0, 7))
        for k in range(n_taken):
            flat["st_t0"].append(k * months / 12)
            flat["st_t1"].append((k + 1) * months / 12)
            flat["st_year"].append(2023 + k - n_taken)
            classes = (rng.integers(frame.n_term_classes), rng.integers(frame.n_size_classes), min(k, 4))
            flat["st_class"].append(int(frame.combined_class(*classes, rng.random() < 0.5, rng.random() < 0.5)))
        flat["bt_ptr"].append(len(flat["bt_start"]))
        flat["la_ptr"].append(len(flat["la_day"]))
        flat["ci_ptr"].append(len(flat["ci_start"]))
        flat["rc_ptr"].append(0)  # what may still be paid is put in where cash is counted
        flat["st_ptr"].append(len(flat["st_t0"]))
        columns = [int(rng.choice([1, 2, 3, n_columns])), int(rng.choice([4, 5, n_columns + 1]))]
        one = {
            "account": line,
            "line_key": int(rng.integers(0, 2**63)) * 2 + 1,
            "columns": columns,
            "size_class": int(rng.integers(frame.n_size_classes)),
            "unknown": spell == 0 and rng.random() < 0.2,
            "spell": spell,
            "status": status,
            "lapse_day": lapse_day,
            "prev": int(rng.integers(0, 4)) if n_taken else 0,
            "log_mrr_sum": math.log(mrr) * (n_taken + 1) + rng.normal(0, 0.1),
            "mrr_n": n_taken + 1.0,
            "spell_base": mrr * math.exp(rng.normal(0, 0.2)),
            "n_decisions": n_taken,
            "tenure": n_taken * months / 12,
            "T_active": rng.uniform(0.1, 6),
            "n_events": rng.integers(0, 4, 4),
            "size_n": (size_n := rng.integers(0, 4, 4)),
            "size_sum": size_n * rng.normal(-1, 0.5, 4),
            "T_lapsed": spell * rng.uniform(0, 2),
            "n_returns": spell,
        }
        for name, value in one.items():
            flat[name].append(value)
    pointers = {name: np.array([0, *flat[name]]) for name in ("bt_ptr", "la_ptr", "ci_ptr", "st_ptr", "rc_ptr")}
    unsigned = {"line_key": np.array(flat["line_key"], dtype=np.uint64)}
    arrays = {name: np.array(column) for name, column in flat.items()}
    given = {
        "as_of": np.int32(AS_OF_DAY),
        "account_ids": tuple(f"A{line:04d}" for line in range(n_lines)),
        "new_levels": new_levels,
        "booked_cents": np.zeros(n_lines, dtype=np.int64),
        "recognised_cents": np.zeros(n_lines, dtype=np.int64),
    }
    return States(**{**arrays, **pointers, **unsigned, **given})


@dataclass(frozen=True)
class Run:
    """The kernel's results for every draw and line (each an account and a group of its own), and the twin's lives."""

    simulated: Simulated
    totals: Totals
    lives: dict[tuple[int, int], Life]


def last_year(plan: Plan) -> int:
    """Calendar year of the first day after the window."""
    return dt.date.fromordinal(months_after(AS_OF_DAY + 1, plan.horizon_months) + dt.date(1970, 1, 1).toordinal()).year


@dataclass(frozen=True)
class Steered:
    """What is given and assumed of every line, for the kernel, and the same for the twin by (draw, line)."""

    given: Given = Given()
    snapshots: Snapshots = NO_SNAPSHOTS
    assumed: Assumed = NOTHING_ASSUMED
    circumstances: Callable[[int, int], Circumstances] = lambda draw, line: Circumstances()


def run_both(
    seed: int,
    n_lines: int,
    n_draws: int,
    plan: Plan,
    steer: Callable[[np.random.Generator, Frame], Steered] = lambda rng, frame: Steered(),
    change: Callable[[States], States] = lambda states: states,
    **fixed: float,
) -> Run:
    """Random frame, parameters (but for those ``fixed``) and states (as ``change`` makes them), through kernel and twin."""
    rng = np.random.default_rng(seed)
    frame = random_frame(rng)
    posterior = random_posterior(frame, n_draws, rng)
    for name, value in fixed.items():
        posterior[name] = xr.full_like(posterior[name], value)
    states = change(random_states(frame, n_lines, rng))
    steered = steer(rng, frame)
    states = states._replace(given=steered.given)
    settings = Settings(
        seed=plan.seed,
        grace_days=-1 if plan.grace_days is None else plan.grace_days,
        max_ratio=plan.max_ratio,
        known_by=FAR_AWAY if plan.known_by is None else plan.known_by,
        booked=plan.by_booking_day,
        billing_months=-1 if plan.billing is None else plan.billing.months or 0,
        payment_days=0 if plan.billing is None else plan.billing.payment_days,
        daily_cost=plan.daily_cost,
    )
    n_accounts = len(states.account_ids)
    parts: list[Simulated] = []
    totals = simulate_portfolio(
        [states],
        make_parameters(posterior, frame, states.new_levels, n_draws, plan.seed, last_year(plan)),
        make_classes(frame),
        settings,
        make_grid(AS_OF, plan.horizon_months, plan.annual_discount_rate, plan.calendar),
        group=np.arange(n_accounts),
        n_groups=n_accounts,
        reduce=lambda first, last, simulated: parts.append(simulated),
        threads=2,
        accounts_each=17,
        keeps_all=True,
        snapshots=steered.snapshots,
        assumed=steered.assumed,
    )
    draws = select_draws(posterior, n_draws)
    lives = {
        (draw, line): live(Line(states, frame, draws, plan, line, draw, steered.circumstances(draw, line)))
        for draw in range(n_draws)
        for line in range(n_lines)
    }
    each = Each(*(np.concatenate(columns) for columns in zip(*(part.each for part in parts), strict=True)))
    arrays = (np.concatenate(columns) for columns in zip(*(part[:-1] for part in parts), strict=True))
    return Run(Simulated(*arrays, each=each), totals, lives)


def compare(run: Run) -> Counter:
    """Check every number; count what was met, so that a test can require that it was."""
    met: Counter = Counter()
    by_origin = np.zeros_like(run.totals.origins)
    simulated = run.simulated
    each = simulated.each
    assert each is not None
    for (draw, line), life in run.lives.items():
        account, at, where = life.account(), (line, draw), f"draw {draw}, line {line}"
        by_origin[draw] += account.months.T
        assert account.months.sum(axis=0).tolist() == each.origins[at].tolist(), where
        assert account.months.sum() == simulated.revenue[at], where
        assert account.months.sum(axis=1).tolist() == run.totals.groups[draw, line].tolist(), where
        for name in ("booked", "debooked", "deferred", "active_days"):
            assert getattr(account, name) == getattr(each, name)[at], (where, name)
        assert sum(flag << bit for bit, flag in enumerate(account.active)) == each.active[at], where
        # Discounted money is a sum of real numbers, in another order: within a tenth of a cent.
        assert account.value == pytest.approx(simulated.value[at], rel=1e-9, abs=UNITS_PER_CENT / 10), where
        assert account.mrr == pytest.approx(each.mrr[at].tolist(), rel=1e-9), where
        cost, beyond = life.line.plan.daily_cost * life.days_beyond, life.beyond + account.later
        allowed = 1e-4 * (abs(beyond) + cost) + 1e-9  # the kernel ends its sum early: `test_beyond`
        assert beyond - cost == pytest.approx(each.beyond[at], rel=0, abs=allowed), where
        if run.totals.active_days is not None:
            assert account.active_months.tolist() == run.totals.active_days[draw, line].tolist(), where
        assert life.next_renewal == pytest.approx(simulated.next_renewal[at], rel=1e-9, nan_ok=True), where
        met.update(origin.name for origin in Origin if each.origins[at][origin])
        met.update(name for name in ("debooked", "deferred") if getattr(account, name))
        met.update(name for name in ("clips", "beyond", "next_renewal") if getattr(life, name) > 0)
        met.update(["at_horizon"] * account.active[3])
        met.update(["returned_twice"] * (life.spell > 2) + ["terminated_twice"] * (life.terminations > 1))
    assert (by_origin == run.totals.origins).all()
    assert sum(life.changes for life in run.lives.values()) == run.totals.changes
    assert sum(life.clips for life in run.lives.values()) == run.totals.clips
    return met


PLAN = Plan(horizon_months=60, annual_discount_rate=0.1, seed=11, max_ratio=5.0)
EVERYTHING = {origin.name for origin in Origin} | {"debooked", "deferred", "beyond", "next_renewal"}
EVERYTHING |= {"at_horizon", "returned_twice", "terminated_twice"}


@pytest.mark.parametrize("seed", range(4))
def test_kernel_and_twin_agree_in_every_number(seed: int) -> None:
    assert set(compare(run_both(seed, n_lines=50, n_draws=3, plan=PLAN))) >= EVERYTHING


def test_they_agree_when_the_horizon_falls_inside_committed_terms() -> None:
    plan = replace(PLAN, horizon_months=7, annual_discount_rate=0.08)
    compare(run_both(5, n_lines=150, n_draws=2, plan=plan))


def test_they_agree_by_booking_day() -> None:
    met = compare(run_both(6, n_lines=100, n_draws=2, plan=replace(PLAN, by_booking_day=True)))
    assert not met["CATCH_UP"] and met["debooked"]


@pytest.mark.parametrize("by_booking_day", [False, True])
def test_they_agree_where_months_are_weeks(by_booking_day: bool) -> None:
    calendar = FiscalCalendar(2, weeks="4-5-4", rule="nearest")
    compare(run_both(9, n_lines=60, n_draws=2, plan=replace(PLAN, by_booking_day=by_booking_day, calendar=calendar)))


def test_they_agree_with_a_last_known_day_a_grace_and_no_discount() -> None:
    plan = Plan(24, 0.0, seed=5, grace_days=30, max_ratio=2.0, known_by=AS_OF_DAY + 200)
    met = compare(run_both(7, n_lines=100, n_draws=2, plan=plan))
    assert met["clips"] and not met["beyond"]


def test_they_agree_where_every_renewal_is_booked_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known by a day, a term that begins after it counts when it was booked before."""
    frame_of = random_frame
    edges = np.array([-92.0, -61.0, -31.0, -15.0])
    monkeypatch.setitem(globals(), "random_frame", lambda rng: replace(frame_of(rng), lag_edges=edges))
    plan = Plan(24, 0.0, seed=5, grace_days=30, max_ratio=2.0, known_by=AS_OF_DAY + 200)
    assert compare(run_both(7, n_lines=60, n_draws=2, plan=plan))["RENEWAL"] > 0


def test_they_agree_when_nothing_happens_but_renewals() -> None:
    rates = ("expansion", "contraction", "change_order", "referral", "reactivation", "termination")
    met = compare(run_both(8, 80, 2, PLAN, **{f"{kind}_rate": 1e-300 for kind in rates}))
    assert set(met) <= {"COMMITTED", "RENEWAL", "CATCH_UP", "deferred", "clips", "beyond", "next_renewal", "at_horizon"}


def test_a_booking_served_by_hand() -> None:
    # 10 units over 4 days from day 100, cut on day 102: 4, 2, then 2 and 2 taken back.
    booking = Booking(Origin.RENEWAL, 90, 100, 104, 10, term=1, cut=102)
    assert booking.served() == [(100, 4), (101, 2), (102, 2), (103, 2)]
    assert booking.taken_back() == [(102, 2), (103, 2)]
    account = account_for([booking], [Activity(100, 102, 3.0, 2.0)], 101, 103, 0.0, by_booking_day=False)
    # Day 100 was served before the window and is caught up on its first day.
    assert account.months.sum(axis=0).tolist() == [0, 2, 0, 0, 0, 0, 0, 4]
    assert (account.booked, account.debooked, account.deferred, account.active_days) == (10, 4, 0, 1)
    assert account.value == 6
