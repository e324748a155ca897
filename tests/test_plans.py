"""Plans: every row is accepted or rejected with a reason, and each step is paired with the event that it foresaw."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import clvforecast as clv
from clvforecast.ledger import Ledger
from clvforecast.plans.matching import _nearest_first, match_steps

AS_OF = date(2024, 3, 31)


def ledger_of(
    *events: tuple[str, str, str, float], as_of: date = AS_OF, accounts: tuple[str, ...] = ("a", "b")
) -> Ledger:
    """Accounts with a term of 2023 of 1,200, and these events: account, booked on, kind, amount."""
    rows = [
        {"account_id": name, "event_date": "2023-01-01", "kind": "initial", "amount": 1200.0, "term_months": 12}
        for name in accounts
    ]
    rows += [
        {"account_id": name, "event_date": day, "kind": kind, "amount": amount, "term_months": None}
        for name, day, kind, amount in events
    ]
    table = pd.DataFrame(rows).assign(currency="USD")
    table["event_id"] = [f"e{i}" for i in range(len(table))]
    return clv.read_ledger(table, as_of=as_of)


def steps_of(*steps: tuple[str, str, str, float | None], **columns: list[object]) -> pd.DataFrame:
    frame = pd.DataFrame(steps, columns=["account_id", "planned_date", "kind", "amount"])
    return frame.assign(**columns)


def outcomes(steps: pd.DataFrame, ledger: Ledger, window_days: int = 90) -> pd.DataFrame:
    return clv.read_plans(steps, ledger, window_days).outcomes(ledger).set_index("step_id")


# --- reading ----------------------------------------------------------------------------------------------------------

BROKEN: list[tuple[str, dict[str, object]]] = [
    ("missing_account", {"account_id": " "}),
    ("unknown_account", {"account_id": "nobody"}),
    ("unknown_kind", {"kind": "upsell"}),
    ("missing_date", {"planned_date": ""}),
    ("unreadable_date", {"planned_date": "31/12/2024"}),
    ("unreadable_recorded_on", {"recorded_on": "last week"}),
    ("date_out_of_range", {"planned_date": "2924-01-01"}),
    ("recorded_out_of_range", {"recorded_on": "1024-01-01"}),
    ("missing_amount", {"amount": None}),
    ("unreadable_amount", {"amount": "1,000"}),
    ("amount_out_of_range", {"amount": "1e13"}),
    ("wrong_sign", {"amount": "-5"}),
    ("wrong_sign", {"kind": "contraction"}),
    ("wrong_sign", {"amount": "0.004"}),
    ("other_currency", {"currency": "EUR"}),
    ("invalid_term", {"kind": "renewal", "term_months": "1.5"}),
    ("invalid_probability", {"probability": "70"}),
    ("invalid_probability", {"probability": "70%"}),
    ("recorded_after_window", {"recorded_on": "2024-08-30"}),
    ("duplicate_step", {"step_id": "good"}),
]
GOOD: dict[str, object] = {
    "account_id": "a",
    "planned_date": "2024-06-01",
    "kind": "expansion",
    "amount": "1000",
    "term_months": None,
    "probability": "0.7",
    "recorded_on": "2024-02-01",
    "currency": "usd",
}


def broken_table() -> pd.DataFrame:
    rows = [{**GOOD, "step_id": "good"}]
    rows += [{**GOOD, "step_id": f"bad{i}", **changes} for i, (_, changes) in enumerate(BROKEN)]
    return pd.DataFrame(rows).astype(object)


def test_every_rule_rejects_its_row_and_rows_in_are_accepted_and_rejected() -> None:
    table = broken_table()
    plans = clv.read_plans(table, ledger_of())
    assert plans.accepted["step_id"].tolist() == ["good"]
    assert len(plans) + len(plans.rejected) == len(table)
    assert plans.rejected["rule"].tolist() == [rule for rule, _ in BROKEN]
    assert plans.rejected["row"].tolist() == list(range(2, len(table) + 1))
    assert plans.rejected["hint"].str.len().min() > 10
    assert plans.rejected.loc[5, "value"] == "last week"
    assert plans.warnings == (
        "plans: 20 rows rejected (wrong_sign 3, invalid_probability 2, amount_out_of_range 1, date_out_of_range 1, "
        "duplicate_step 1, invalid_term 1, missing_account 1, missing_amount 1, missing_date 1, other_currency 1, "
        "recorded_after_window 1, recorded_out_of_range 1, unknown_account 1, unknown_kind 1, unreadable_amount 1, "
        "unreadable_date 1, unreadable_recorded_on 1); see plans.rejected",
    )


def test_without_a_ledger_any_account_and_currency_will_do() -> None:
    rules = clv.read_plans(broken_table()).rejected["rule"].tolist()
    assert rules == [rule for rule, _ in BROKEN if rule not in ("unknown_account", "other_currency")]


def test_a_file_and_tables_of_any_kind_are_the_same_plans(tmp_path: Path) -> None:
    table = broken_table().astype("string")
    path = tmp_path / "plans.csv"
    table.to_csv(path, index=False)
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    found = [clv.read_plans(source, ledger_of()) for source in (table, path, arrow, pl.from_arrow(arrow))]
    for plans in found[1:]:
        assert plans.steps.equals(found[0].steps)
        assert plans.rejected["rule"].tolist() == found[0].rejected["rule"].tolist()
    assert found[1].rejected["line"].tolist() == list(range(3, len(table) + 2))


def test_a_broken_line_of_a_file_is_a_rejected_row(tmp_path: Path) -> None:
    path = tmp_path / "plans.csv"
    path.write_text("account_id,planned_date,kind,amount\na,2024-06-01,expansion,5\na,2024-06-01,expansion,1,000\n")
    plans = clv.read_plans(path)
    assert (len(plans), plans.rejected["rule"].tolist()) == (1, ["wrong_field_count"])


def test_money_is_rounded_half_even_and_a_renewal_may_leave_it_out() -> None:
    plans = clv.read_plans(
        steps_of(("a", "2024-06-01", "expansion", 0.125), ("a", "2024-06-02", "renewal", None), term_months=[7, 24])
    )
    assert plans.steps["amount_cents"].to_pylist() == [12, None]
    assert plans.steps["term_months"].to_pylist() == [None, 24], "other kinds are co-termed"


def test_names_and_order_of_steps_do_not_depend_on_the_order_of_rows() -> None:
    table = steps_of(
        *[("a", "2024-06-01", "expansion", float(amount)) for amount in (3, 1, 2)], ("a", "2024-05-01", "renewal", 9.0)
    )
    plans = clv.read_plans(table)
    assert plans.steps["step_id"].to_pylist() == [
        "renewal 2024-05-01",
        "expansion 2024-06-01",
        "expansion 2024-06-01 #2",
        "expansion 2024-06-01 #3",
    ]
    assert plans.steps["amount_cents"].to_pylist() == [900, 100, 200, 300]
    assert clv.read_plans(table.sample(frac=1, random_state=1)).steps.equals(plans.steps)


def test_of_copies_the_one_written_first_counts_in_any_order() -> None:
    table = steps_of(
        ("a", "2024-06-01", "expansion", 1.0),
        ("a", "2024-07-01", "expansion", 2.0),
        ("b", "2024-07-01", "expansion", 3.0),
        step_id=["s", "s", "s"],
        recorded_on=["2024-02-01", "2024-01-01", "2024-03-01"],
    )
    for rows in (table, table[::-1]):
        plans = clv.read_plans(rows)
        assert plans.steps["amount_cents"].to_pylist() == [200, 300]
        assert plans.rejected["rule"].tolist() == ["duplicate_step"]


def test_rows_that_say_the_same_are_one_step_unless_their_ids_tell_them_apart() -> None:
    """A row pasted twice would be simulated twice."""
    row = {"account_id": "a", "planned_date": "2024-06-01", "kind": "expansion", "amount": "1000", "probability": "0.7"}
    row |= {"recorded_on": "2024-02-01", "term_months": None}
    others = [{"amount": "1001"}, {"planned_date": "2024-06-02"}, {"probability": None}, {"recorded_on": "2024-02-02"}]
    others += [{"account_id": "b"}, {"kind": "change_order"}]
    table = pd.DataFrame([row, *({**row, **change} for change in others), {**row, "amount": "1000.00"}, row, row])
    renewals = pd.DataFrame([{"account_id": "a", "planned_date": "2024-05-01", "kind": "renewal"}] * 2)
    table = pd.concat([table, renewals], ignore_index=True)
    plans = clv.read_plans(table)
    assert (len(plans), plans.rejected["rule"].tolist()) == (len(others) + 2, ["repeated_step"] * 4)
    assert plans.rejected["row"].tolist() == [8, 9, 10, 12], "the first of them is the step"
    assert plans.steps.equals(clv.read_plans(table.drop_duplicates().drop(index=7)).steps)
    assert plans.steps.equals(clv.read_plans(table[::-1]).steps)
    named = pd.DataFrame([row, row]).assign(step_id=["one", "two"])
    assert len(clv.read_plans(named)) == 2


def test_plans_that_cannot_be_used_at_all_say_why() -> None:
    with pytest.raises(clv.PlanError, match="no column kind; found are"):
        clv.read_plans(pd.DataFrame({"account_id": ["a"], "planned_date": ["2024-01-01"]}))
    with pytest.raises(clv.PlanError, match="none of 1 rows can be used .unknown_kind 1."):
        clv.read_plans(steps_of(("a", "2024-06-01", "upsell", 1.0)))
    with pytest.raises(clv.PlanError, match="window_days=0"):
        clv.read_plans(steps_of(("a", "2024-06-01", "expansion", 1.0)), window_days=0)
    with pytest.raises(clv.PlanError, match="renewal_days=60: give whole days from 90 to 730, for example 365"):
        clv.read_plans(steps_of(("a", "2024-06-01", "renewal", 1.0)), renewal_days=60)


def test_a_table_without_rows_is_plans_without_steps_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "plans.csv").write_text("account_id,planned_date,kind,amount\n")
    for table in (steps_of(("a", "2024-06-01", "expansion", 1.0)).iloc[:0], tmp_path / "plans.csv"):
        plans = clv.read_plans(table)
        assert len(plans) == len(plans.rejected) == 0
        assert plans.warnings == ("plans: the table holds no rows; check the source and its filters",)


# --- matching ---------------------------------------------------------------------------------------------------------


def test_the_nearest_pairs_come_first_and_each_event_counts_once() -> None:
    """Days 1, 10 and 100 of the year planned, 8 and 14 booked: (10, 8) is nearest, then (1, 14) is what is left."""
    ledger = ledger_of(
        ("a", "2023-01-08", "expansion", 10.0),
        ("a", "2023-01-14", "expansion", 20.0),
        ("b", "2023-01-10", "expansion", 5.0),
    )
    table = steps_of(
        ("a", "2023-01-01", "expansion", 10.0),
        ("a", "2023-01-10", "expansion", 10.0),
        ("a", "2023-04-10", "expansion", 10.0),
        ("a", "2023-01-09", "change_order", 10.0),
        step_id=["first", "second", "third", "other kind"],
    )
    found = outcomes(table, ledger)
    assert found["outcome"].to_dict() == {"first": "hit", "second": "hit", "third": "missed", "other kind": "missed"}
    assert found.loc[["first", "second"], "delay_days"].tolist() == [13, -2]
    assert found.loc[["first", "second"], "share"].tolist() == [2.0, 1.0]
    assert found.loc["second", "event_date"] == pd.Timestamp("2023-01-08")


def test_of_equally_near_ones_the_earlier_event_then_the_earlier_step() -> None:
    ledger = ledger_of(
        ("a", "2023-05-05", "expansion", 1.0),
        ("a", "2023-05-15", "expansion", 2.0),
        ("b", "2023-05-10", "expansion", 3.0),
    )
    table = steps_of(
        ("a", "2023-05-10", "expansion", 1.0),
        ("b", "2023-05-05", "expansion", 1.0),
        ("b", "2023-05-15", "expansion", 1.0),
    )
    found = outcomes(table, ledger)
    assert found["delay_days"].fillna(999).tolist() == [-5, 5, 999]


def test_windows_include_both_ends() -> None:
    day = date(2023, 9, 1)
    for delay, outcome in ((-30, "hit"), (30, "hit"), (-31, "missed"), (31, "missed")):
        ledger = ledger_of(("a", (day + timedelta(delay)).isoformat(), "change_order", 4.0))
        found = outcomes(steps_of(("a", day.isoformat(), "change_order", 8.0)), ledger, window_days=30)
        assert found["outcome"].tolist() == [outcome], delay


def test_only_what_was_booked_after_the_step_was_written_counts() -> None:
    ledger = ledger_of(("a", "2023-05-05", "expansion", 1.0))
    for written, outcome in (
        ("2023-05-04", "hit"),
        ("2023-05-05", "missed"),
        (None, "hit"),
        ("2024-04-01", "not yet written"),
    ):
        planned = "2024-05-01" if written == "2024-04-01" else "2023-05-10"
        found = outcomes(steps_of(("a", planned, "expansion", 1.0), recorded_on=[written]), ledger)
        assert found["outcome"].tolist() == [outcome], written


def test_a_step_is_open_until_its_window_is_over() -> None:
    events = (("a", "2023-06-20", "expansion", 1.0),)
    steps = steps_of(("a", "2023-06-01", "expansion", 1.0))
    for as_of, outcome in ((date(2023, 2, 1), "open"), (date(2023, 6, 19), "open"), (date(2023, 6, 20), "hit")):
        assert outcomes(steps, ledger_of(*events, as_of=as_of))["outcome"].tolist() == [outcome]
    for as_of, outcome in ((date(2023, 8, 29), "open"), (date(2023, 8, 30), "missed")):
        assert outcomes(steps, ledger_of(as_of=as_of))["outcome"].tolist() == [outcome]


def renewed(booked: str, amount: float = 1320.0, months: int = 12, as_of: date = AS_OF) -> Ledger:
    rows = [
        {"account_id": "a", "event_date": "2023-01-01", "kind": "initial", "amount": 1200.0, "term_months": 12},
        {
            "account_id": "a",
            "event_date": booked,
            "start_date": "2024-01-01",
            "kind": "renewal",
            "amount": amount,
            "term_months": months,
        },
    ]
    return clv.read_ledger(pd.DataFrame(rows).assign(currency="USD"), as_of=as_of)


def test_a_renewal_is_the_decision_whose_term_ends_in_the_window() -> None:
    """The term ends on 2024-01-01; the delay is that of the booking, from the planned day."""
    for planned, booked, outcome, delay in (
        ("2024-01-01", "2023-12-20", "hit", -12),
        ("2024-01-01", "2024-02-10", "hit", 40),
        ("2024-02-15", "2024-02-10", "hit", -5),
        ("2024-01-01", "2023-09-01", "hit", -90),
        ("2024-06-15", "2024-02-10", "open", 999),
        ("2023-07-01", "2023-07-01", "open", 999),
        ("2023-12-20", "2024-03-25", "hit", 96),
    ):
        found = outcomes(steps_of(("a", planned, "renewal", 1200.0)), renewed(booked))
        assert (found["outcome"].item(), found["delay_days"].fillna(999).item()) == (outcome, delay), (planned, booked)
    later = renewed("2024-03-01", as_of=date(2024, 2, 28))
    assert outcomes(steps_of(("a", "2024-01-01", "renewal", 1200.0)), later)["outcome"].item() == "open"


def with_row(as_of: date, **row: object) -> Ledger:
    """One account whose first term ends on 2023-01-01, and one event more."""
    first = {"account_id": "a", "event_date": "2022-01-01", "kind": "initial", "amount": 1200.0, "term_months": 12}
    return clv.read_ledger(pd.DataFrame([first, {"account_id": "a", **row}]).assign(currency="USD"), as_of=as_of)


def test_a_renewal_counts_however_late_it_is_booked_up_to_its_own_bound() -> None:
    """The term ended on 2023-01-01: day 200 is 2023-07-20."""
    steps = steps_of(("a", "2023-01-01", "renewal", 1200.0))
    row = {"event_date": "2023-07-20", "start_date": "2023-01-01", "kind": "renewal", "amount": 1200.0}
    for as_of, days, outcome, delay in (
        (date(2023, 4, 30), 365, "open", 999),
        (date(2023, 7, 19), 365, "open", 999),
        (date(2023, 7, 20), 365, "hit", 200),
        (date(2024, 7, 20), 200, "hit", 200),
        (date(2024, 7, 20), 199, "missed", 999),
        (date(2023, 7, 19), 199, "missed", 999),
    ):
        ledger = with_row(as_of, **row, term_months=12)
        plans = clv.read_plans(steps, ledger, renewal_days=days)
        found = plans.outcomes(ledger)
        assert (found["outcome"].item(), found["delay_days"].fillna(999).item()) == (outcome, delay), (as_of, days)
        assert len(plans.open(ledger)) == (outcome == "open")
        assert len(plans.open(as_of)) == (as_of < date(2023, 1, 1) + timedelta(days))


def test_a_renewal_that_is_known_to_have_lapsed_is_missed_at_once() -> None:
    steps = steps_of(("a", "2023-01-01", "renewal", 1200.0))
    notice = {"event_date": "2022-12-01", "start_date": "2023-01-01", "kind": "churn"}
    early = {"event_date": "2022-11-01", "start_date": "2022-11-10", "kind": "churn"}
    back = {"event_date": "2023-06-15", "start_date": "2023-06-15", "kind": "renewal", "amount": 9.0, "term_months": 12}
    for row, before, after in (
        (notice, date(2022, 11, 30), date(2022, 12, 1)),
        (early, date(2022, 10, 31), date(2022, 11, 10)),
        (back, date(2023, 6, 14), date(2023, 6, 15)),
    ):
        for as_of, outcome in ((before, "open"), (after, "missed")):
            ledger = with_row(as_of, **row)
            plans = clv.read_plans(steps, ledger)
            assert plans.outcomes(ledger)["outcome"].item() == outcome, (row, as_of)


def test_of_monthly_terms_the_step_is_the_decision_nearest_to_its_day() -> None:
    """Terms end on the first of each month; that of April is open, and that of March, which was renewed, is not meant."""
    rows = [
        {"account_id": "a", "event_date": f"2023-0{month}-01", "kind": kind, "amount": 100.0, "term_months": 1}
        for month, kind in ((1, "initial"), (2, "renewal"), (3, "renewal"))
    ]
    ledger = clv.read_ledger(pd.DataFrame(rows).assign(currency="USD"), as_of=date(2023, 3, 10))
    for planned, outcome in (("2023-04-01", "open"), ("2023-03-01", "hit")):
        found = outcomes(steps_of(("a", planned, "renewal", 100.0)), ledger)
        assert found["outcome"].item() == outcome, planned


def test_shares_of_renewals_are_by_the_month_where_the_plan_gives_a_term() -> None:
    three_years = renewed("2023-12-20", amount=3600.0, months=36)
    for amount, months, share in ((1200.0, 12, 1.0), (2400.0, 12, 0.5), (1200.0, None, 3.0), (None, 12, np.nan)):
        found = outcomes(steps_of(("a", "2024-01-01", "renewal", amount), term_months=[months]), three_years)
        assert found["share"].item() == pytest.approx(share, nan_ok=True)


def test_the_share_of_a_contraction_is_positive() -> None:
    found = outcomes(
        steps_of(("a", "2023-05-01", "contraction", -50.0)), ledger_of(("a", "2023-05-05", "contraction", -40.0))
    )
    assert found["share"].item() == 0.8


def one_at_a_time(pairs: list[tuple[int, int]]) -> dict[int, int]:
    taken: dict[int, int] = {}
    for step, event in pairs:
        if step not in taken and event not in taken.values():
            taken[step] = event
    return taken


def test_pairs_taken_side_by_side_are_those_taken_one_at_a_time() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        n = int(rng.integers(1, 40))
        pairs = list(dict.fromkeys(zip(rng.integers(0, 8, n).tolist(), rng.integers(0, 9, n).tolist(), strict=True)))
        found = _nearest_first(*(np.array(part) for part in zip(*pairs, strict=True)), 8)
        assert {step: event for step, event in enumerate(found.tolist()) if event >= 0} == one_at_a_time(pairs)


def random_case(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    names = ("a", "b", "c")
    day = pd.Timestamp("2023-01-01")
    events = pd.DataFrame({"account_id": rng.choice(names, 60), "kind": rng.choice(["expansion", "change_order"], 60)})
    events["event_date"] = day + pd.to_timedelta(rng.integers(0, 360, 60), unit="D")
    events = events.assign(amount=5.0, term_months=None)
    first = pd.DataFrame({"account_id": names, "kind": "initial", "event_date": day, "amount": 9.0, "term_months": 12})
    events = pd.concat([first, events.astype(object)], ignore_index=True).assign(currency="USD")
    events["event_id"] = [f"e{i:03d}" for i in range(len(events))]
    steps = pd.DataFrame({"account_id": rng.choice(names, 40), "kind": rng.choice(["expansion", "change_order"], 40)})
    steps["planned_date"] = day + pd.to_timedelta(rng.integers(0, 400, 40), unit="D")
    return events, steps.assign(amount=4.0, step_id=[f"s{i:02d}" for i in range(40)])


@pytest.mark.parametrize("seed", range(5))
def test_outcomes_do_not_depend_on_the_order_of_rows(seed: int) -> None:
    events, steps = random_case(seed)
    ledger, shuffled = (
        clv.read_ledger(rows, as_of=AS_OF) for rows in (events, events.sample(frac=1, random_state=seed))
    )
    found, again = outcomes(steps, ledger, 45), outcomes(steps.sample(frac=1, random_state=seed), shuffled, 45)
    pd.testing.assert_frame_equal(found, again)
    used = found["event_id"].dropna()
    assert used.is_unique and len(used) > 10


def test_open_steps_by_day_and_by_ledger() -> None:
    ledger = ledger_of(("a", "2024-03-05", "change_order", 1.0))
    plans = clv.read_plans(
        steps_of(
            ("a", "2024-03-01", "change_order", 1.0),
            ("a", "2024-03-20", "change_order", 1.0),
            ("b", "2023-12-01", "change_order", 1.0),
            ("b", "2024-08-01", "change_order", 1.0),
            recorded_on=[None, None, None, "2024-05-01"],
        ),
        ledger,
    )
    assert plans.open(AS_OF).steps["planned_date"].to_pylist() == [date(2024, 3, 1), date(2024, 3, 20)]
    assert plans.open("2024-05-01").steps["account_id"].to_pylist() == ["a", "a", "b"]
    assert plans.open(ledger).steps["planned_date"].to_pylist() == [date(2024, 3, 20)], "the other one has come"


def test_a_step_before_the_ledger_knew_the_account_is_no_miss() -> None:
    """The ledger's first booking is of 2023-01-01: what was planned for 2022 may have come, or not."""
    found = outcomes(
        steps_of(
            ("a", "2022-06-01", "expansion", 1.0),
            ("a", "2023-01-01", "expansion", 1.0),
            ("b", "2022-12-30", "expansion", 1.0),
        ),
        ledger_of(("b", "2023-01-05", "expansion", 1.0)),
    )
    assert found["outcome"].tolist() == ["not covered", "missed", "hit"]


def test_matching_knows_nothing_of_accounts_that_the_ledger_does_not_have() -> None:
    plans = clv.read_plans(steps_of(("stranger", "2023-05-01", "expansion", 1.0)))
    assert match_steps(plans.steps, ledger_of(("a", "2023-05-01", "expansion", 1.0)), 90, 365).event.tolist() == [-1]
