"""Cash and the cost to serve: the kernel against its plain twin, and laws that hold for both."""

import datetime as dt
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from clvforecast.simulation.billing import book, refund_rates
from clvforecast.simulation.slots import (
    BILLING_MONTHS,
    BOOK_VIEW,
    BOOKED,
    CASH_VIEW,
    DEBOOKED,
    DEFERRED,
    DISCOUNT_AT,
    END,
    KNOWN_BY,
    LOG_ROWS,
    MONTH_OF_AT,
    N_LOGGED,
    N_MONTHS,
    ORIGIN,
    ORIGIN_TOTALS,
    PAYMENT_DAYS,
    REAL_SLOTS,
    TABLE_HEADER,
    TIED,
    UNITS_PER_CENT,
    WHOLE_SLOTS,
    WINDOW_END,
    Origin,
)  # fmt: skip
from clvforecast.simulation.states import States
from clvforecast.simulation.twin_billing import Billing, payments
from clvforecast.simulation.twin_line import Plan
from clvforecast.simulation.twin_revenue import Booking, account_for, months_after
from test_twin import AS_OF_DAY, PLAN, Run, compare, run_both

FIRST_DAY = AS_OF_DAY + 1
BILLINGS = [Billing(None, 0), Billing(12, 30), Billing(3, 45), Billing(1, 365), Billing(6, 7)]


def with_receivables(states: States, seed: int = 0, past: float = 0.4, ended: float = 0.3) -> States:
    """What is on the books, booked on random days; what is served, and may be unpaid; and terminations known already.

    ``past`` and ``ended`` are the shares of lines with something served, and of tied items that a termination takes back.
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, ...]] = []
    pointer = [0]
    for line in range(states.line_key.size):
        items = range(states.ci_ptr[line], states.ci_ptr[line + 1])
        own = [
            tuple(int(c[i]) for c in (states.ci_start, states.ci_end, states.ci_cents, states.ci_tied)) for i in items
        ]
        if rng.random() < past:
            start = AS_OF_DAY - int(rng.integers(0, 400))
            own.append((start, min(start + int(rng.integers(1, 90)), FIRST_DAY), int(rng.integers(-10, 90) * 1001), 0))
        for start, end, cents, tied in own:
            booked = min(start + int(rng.integers(-40, 60)), AS_OF_DAY)
            back, known, taken = 0, 0, 0
            if cents and tied and rng.random() < ended:
                back = int(rng.integers(start - 5, end))
                known = int(rng.integers(min(back - 30, AS_OF_DAY), AS_OF_DAY + 1))
                served = round(cents * max(back - start, 0) / (end - start))
                taken = served - cents if rng.random() < 0.6 else -round(cents * rng.uniform(0.1, 1.2))
            rows.append((start, end, booked, cents, tied, back, known, taken))
        pointer.append(len(rows))
    names = ("start", "end", "booked", "cents", "tied", "back_day", "known_day", "back_cents")
    columns = {f"rc_{name}": np.array([row[at] for row in rows]) for at, name in enumerate(names)}
    return states._replace(**{**columns, "rc_tied": columns["rc_tied"] == 1, "rc_ptr": np.array(pointer)})


def cash_plan(billing: Billing, **changed: object) -> Plan:
    return replace(PLAN, billing=billing, **changed)


def run_cash(seed: int, n_lines: int, n_draws: int, plan: Plan) -> Run:
    return run_both(seed, n_lines, n_draws, plan, change=lambda states: with_receivables(states, seed))


@pytest.mark.parametrize("billing", BILLINGS, ids=str)
def test_kernel_and_twin_agree_in_cash(billing: Billing) -> None:
    met = compare(run_cash(21, 60, 2, cash_plan(billing)))
    assert set(met) >= {
        "COMMITTED",
        "RENEWAL",
        "EXPANSION",
        "CONTRACTION",
        "REACTIVATION",
        "debooked",
        "deferred",
        "beyond",
    }
    assert not met["CATCH_UP"]


def test_they_agree_in_cash_over_short_windows_and_with_a_last_known_day() -> None:
    compare(run_cash(22, 60, 2, cash_plan(Billing(3, 60), horizon_months=7)))
    plan = Plan(24, 0.0, seed=5, grace_days=30, max_ratio=2.0, known_by=AS_OF_DAY + 200, billing=Billing(1, 14))
    compare(run_cash(23, 60, 2, plan))


def test_all_cash_is_all_that_was_booked_less_what_was_de_booked() -> None:
    """Paid before the window + in it + after it, for every account and draw, to the unit."""
    for billing in BILLINGS:
        run = run_cash(24, 30, 2, cash_plan(billing))
        each = run.simulated.each
        for (draw, line), life in run.lives.items():
            on_books = [booking for booking in life.bookings if booking.origin == 0]
            before = sum(u for b in on_books for day, u in payments(b, billing) if day < FIRST_DAY)
            booked = sum(booking.units for booking in on_books)
            paid = before + run.simulated.revenue[line, draw] + each.deferred[line, draw]
            assert paid == booked + each.booked[line, draw] - each.debooked[line, draw]


def test_the_bookings_are_those_of_the_booked_view() -> None:
    """Neither the billing nor the cost changes what happens: the same bookings, activity and MRR in every draw."""
    booked = run_both(25, 60, 3, replace(PLAN, by_booking_day=True)).simulated
    for plan in (cash_plan(Billing(3, 45)), cash_plan(Billing(None, 0), daily_cost=3.0)):
        cash = run_cash(25, 60, 3, plan).simulated
        for name in ("booked", "active", "active_days", "mrr"):
            assert np.array_equal(getattr(cash.each, name), getattr(booked.each, name)), name
        assert np.array_equal(cash.next_renewal, booked.next_renewal, equal_nan=True)


@pytest.mark.parametrize("view", [{}, {"by_booking_day": True}, {"billing": Billing(12, 30)}], ids=str)
def test_kernel_and_twin_agree_in_the_cost_to_serve(view: dict) -> None:
    plan = replace(PLAN, daily_cost=7.5, **view)
    run = run_cash(26, 30, 2, plan)
    compare(run)
    free = run_cash(26, 30, 2, replace(plan, daily_cost=0.0))
    assert np.array_equal(run.simulated.revenue, free.simulated.revenue)
    assert np.array_equal(run.totals.groups, free.totals.groups) and free.totals.active_days is None
    days = run.totals.active_days.sum(axis=2).T
    assert np.array_equal(days, run.simulated.each.active_days)  # of accounts with one line
    assert (run.simulated.value <= free.simulated.value).all()


def test_an_account_is_active_when_any_of_its_lines_is() -> None:
    """Three lines an account: days that lines share cost once, in the window; after it the line with most days tells."""
    plan = replace(PLAN, daily_cost=20.0)

    def joined(states: States) -> States:
        account = np.arange(states.line_key.size) // 3
        ids = tuple(f"A{number:04d}" for number in range(int(account[-1]) + 1))
        zeros = np.zeros(len(ids), dtype=np.int64)
        return states._replace(account=account, account_ids=ids, booked_cents=zeros, recognised_cents=zeros)

    run = run_both(27, 60, 3, plan, change=joined)
    free = run_both(27, 60, 3, replace(plan, daily_cost=0.0), change=joined).simulated
    overlaps = 0
    for draw in range(3):
        for account in range(20):
            lives = [run.lives[draw, 3 * account + place] for place in range(3)]
            first, horizon, log_discount = lives[0].first_day, lives[0].horizon, lives[0].log_discount
            periods = [period for life in lives for period in life.activity]
            union = account_for([], periods, first, horizon, log_discount, False, daily_cost=plan.daily_cost)
            assert union.active_months.tolist() == run.totals.active_days[draw, account].tolist()
            gained = run.simulated.value[account, draw] - free.value[account, draw]
            assert gained == pytest.approx(union.value, rel=1e-9)
            beyond = run.simulated.each.beyond[account, draw] - free.each.beyond[account, draw]
            assert beyond == pytest.approx(-plan.daily_cost * max(life.days_beyond for life in lives), rel=2e-4)
            overlaps += union.active_months.sum() < union.active_days
    assert overlaps > 5


def test_a_bill_by_hand() -> None:
    """365,000 units a year from 31 January, by quarters, paid after 10 days; ended on 1 May, the second quarter's second day."""
    start = dt.date(2025, 1, 31).toordinal() - dt.date(1970, 1, 1).toordinal()
    booking = Booking(Origin.RENEWAL, start - 40, start, months_after(start, 12), 365_007, term=1)
    billing = Billing(3, 10)
    assert list(billing.instalments(booking.start, booking.end)) == [
        (start, start + 89), (start + 89, start + 181), (start + 181, start + 273), (start + 273, start + 365)
    ]  # fmt: skip
    paid = Counter()
    for day, units in payments(booking, billing):
        paid[day - start] += units
    assert paid == {10: 89_007, 99: 92_000, 191: 92_000, 283: 92_000}
    # Ended on day 90: the second instalment is not paid yet and keeps one day; later ones are never invoiced.
    ended = Counter()
    for day, units in payments(replace(booking, cut=start + 90), billing):
        ended[day - start] += units
    assert +ended == {10: 89_007, 99: 1_000}
    # Ended on day 120, after the second was paid: 61 of its 92 days go back ten days later.
    ended = Counter()
    for day, units in payments(replace(booking, cut=start + 120), billing):
        ended[day - start] += units
    assert {day: units for day, units in ended.items() if units} == {10: 89_007, 99: 92_000, 130: -61_000}


def test_what_is_de_booked_is_that_of_the_booked_view_to_a_cent_an_item() -> None:
    """Of what was on the books cash counts the days of the whole item, the booked view what is left of it in whole cents."""

    def plain(states: States) -> States:
        return with_receivables(states, past=0.0, ended=0.0)

    booked, cash = (
        run_both(28, 50, 3, plan, change=plain).simulated.each.debooked
        for plan in (replace(PLAN, by_booking_day=True), cash_plan(Billing(6, 30)))
    )
    assert (booked > 0).sum() > 10 and abs(cash - booked).max() < 6 * UNITS_PER_CENT


def test_a_term_with_more_bookings_than_its_log_holds_is_still_paid_to_the_unit() -> None:
    """Of the bookings after the log's last the rates are known, so all that is unserved still goes back."""
    table = np.zeros(TABLE_HEADER + 2, dtype=np.int64)
    table[WINDOW_END], table[N_MONTHS], table[MONTH_OF_AT] = 1, 1, TABLE_HEADER
    table[BILLING_MONTHS], table[PAYMENT_DAYS], table[BOOK_VIEW], table[KNOWN_BY] = 3, 20, CASH_VIEW, 2**40
    scale, real = np.zeros(DISCOUNT_AT + 1), np.zeros(REAL_SLOTS)
    whole, flow = np.zeros(WHOLE_SLOTS, dtype=np.int64), np.zeros(100, dtype=np.int64)
    whole[ORIGIN], whole[END] = Origin.RENEWAL, 730
    bookings = [(10 + number, 1_000 * (number + 7)) for number in range(LOG_ROWS + 44)]
    for day, units in bookings:
        rate = book(table, scale, real, whole, flow, Origin.EXPANSION, day, day, 730, units)
        whole[TIED + Origin.EXPANSION] += rate
    refund_rates(table, scale, real, whole, flow, 400)
    assert whole[N_LOGGED] == LOG_ROWS
    assert whole[DEBOOKED] == sum(units // (730 - day) * 330 for day, units in bookings)
    assert whole[DEFERRED] + whole[ORIGIN_TOTALS + Origin.EXPANSION] == whole[BOOKED] - whole[DEBOOKED]
    assert whole[BOOKED] == sum(units for _, units in bookings)
