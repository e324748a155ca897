"""States for the kernel: against the plain reference, by hand, and in an older frame."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clvforecast.cells import build_frame
from clvforecast.histories import build_histories
from clvforecast.simulation.states import States, account_states
from random_companies import AS_OF_DAY, ledger_tables, random_company
from reference_histories import (
    EVENT_KINDS,
    active_days,
    lapses,
    line_key,
    read_lines,
    spells,
    steps_of,
)
from test_cells import SEGMENTS, yardsticks
from test_histories import day, event, histories

DTYPES = {
    "account": "int64", "line_key": "uint64", "columns": "int32", "size_class": "int32", "unknown": "bool",
    "spell": "int32", "status": "int8", "lapse_day": "int32", "bt_ptr": "int64", "bt_start": "int32",
    "bt_end": "int32", "bt_months": "int32", "bt_amount": "float64", "bt_amend": "float64", "bt_expanded": "bool",
    "bt_mrr_now": "float64", "bt_counted_mrr": "float64", "la_ptr": "int64", "la_term": "float64", "la_day": "float64",
    "la_mrr": "float64", "la_counted": "float64",
    "prev": "int8", "log_mrr_sum": "float64", "mrr_n": "float64", "spell_base": "float64",
    "st_ptr": "int64", "st_t0": "float64", "st_t1": "float64", "st_year": "int32", "st_class": "int32", "n_decisions": "int32",
    "tenure": "float64", "T_active": "float64", "n_events": "int32", "size_n": "int32", "size_sum": "float64",
    "T_lapsed": "float64", "n_returns": "int32", "ci_ptr": "int64", "ci_start": "int32", "ci_end": "int32",
    "ci_cents": "int64", "ci_tied": "bool", "rc_ptr": "int64", "rc_start": "int32", "rc_end": "int32", "rc_booked": "int32",
    "rc_cents": "int64", "rc_tied": "bool", "rc_back_day": "int32", "rc_known_day": "int32", "rc_back_cents": "int64",
    "booked_cents": "int64", "recognised_cents": "int64",
}  # fmt: skip


def states_of(built, segments=()) -> States:
    return account_states(built, build_frame(built, segments))


@pytest.mark.parametrize("seed", range(6))
def test_states_agree_with_the_plain_reference(seed: int) -> None:
    company = random_company(seed + 300)
    built = build_histories(company.ledger)
    frame = build_frame(built, SEGMENTS)
    states = account_states(built, frame)
    ruler = yardsticks(frame)
    lines = read_lines(company.events, company.observed_from, AS_OF_DAY, None)
    assert len(states.account) == len(lines)
    for i, line in enumerate(lines):
        last, spell = line.terms[-1], spells(line)[-1]
        assert states.account_ids[states.account[i]] == line.account_id
        assert states.line_key[i] == line_key(line)
        level = company.segments[line.account_id]
        named = [frame.location_columns[c] for c in states.columns[i]]
        assert named == [f"region={level[0]}", f"line={level[1]}"]
        assert states.size_class[i] == ruler.size_class(line.base)
        assert states.unknown[i] == (line.unknown and last.spell == 0)
        assert states.spell[i] == last.spell
        ahead = last.role == "terminated" and last.deciding[1] > AS_OF_DAY  # known ahead: a lapse on its day
        assert states.status[i] == (1 if ahead else {"notified": 1, "terminated": 2}.get(last.outcome, 0))
        assert states.lapse_day[i] == (last.deciding[1] if last.role == "terminated" and not ahead else 0)
        ahead_of = [t for t in line.terms if t.renewed and (t.next_start or 0) > AS_OF_DAY + 1]
        booked = [t for t in line.terms if t.stop > AS_OF_DAY + 1 or t in ahead_of or t is last]
        rows = slice(states.bt_ptr[i], states.bt_ptr[i + 1])
        assert states.bt_start[rows].tolist() == [t.start for t in booked]
        assert states.bt_end[rows].tolist() == [last.deciding[1] if ahead and t is last else t.end for t in booked]
        assert states.bt_months[rows].tolist() == [t.months for t in booked]
        assert states.bt_amount[rows].tolist() == [t.cents / 100 for t in booked]
        assert states.bt_amend[rows].tolist() == [t.amend_cents / 100 for t in booked]
        assert states.bt_expanded[rows].tolist() == [t.expanded for t in booked]
        now = [t.mrr + sum(a["mrr"] for a in t.amendments) for t in booked]
        np.testing.assert_allclose(states.bt_mrr_now[rows], now, rtol=1e-9, atol=1e-9)
        counted = [t.mrr + sum(a["counted"] for a in t.amendments) for t in booked]
        later = sorted(
            (place, a["event"].day, a["mrr"], a["counted"])
            for place, t in enumerate(booked)
            for a in t.amendments
            if a["event"].day > max(t.start, AS_OF_DAY + 1)
        )
        of_line = slice(states.la_ptr[i], states.la_ptr[i + 1])
        stored = zip(
            *(getattr(states, f"la_{name}")[of_line] for name in ("term", "day", "mrr", "counted")), strict=True
        )
        np.testing.assert_allclose(sorted(stored), later, rtol=1e-9) if later else None
        assert states.la_ptr[i + 1] - states.la_ptr[i] == len(later)
        np.testing.assert_allclose(states.bt_counted_mrr[rows], counted, rtol=1e-9, atol=1e-9)
        assert states.prev[i] == last.prev
        assert (states.log_mrr_sum[i], states.mrr_n[i]) == pytest.approx(
            (sum(map(math.log, last.mrrs)), len(last.mrrs))
        )
        assert states.spell_base[i] == pytest.approx(last.spell_base)
        steps = steps_of(line, spell, ruler)
        taken = slice(states.st_ptr[i], states.st_ptr[i + 1])
        assert states.n_decisions[i] == len(steps) - 1
        np.testing.assert_allclose(states.st_t0[taken], [step[0] / 12 for step in steps[:-1]])
        np.testing.assert_allclose(states.st_t1[taken], [step[1] / 12 for step in steps[:-1]])
        assert frame.year_index(states.st_year[taken]).tolist() == [step[7] for step in steps[:-1]]
        Z = frame.n_size_classes
        codes = [(((tc * Z + size) * 5 + number) * 2 + e) * 2 + cut for _, _, tc, size, number, e, cut, _ in steps[:-1]]
        assert states.st_class[taken].tolist() == codes
        assert states.tenure[i] == pytest.approx(steps[-1][0] / 12)
        assert states.T_active[i] == pytest.approx(active_days(line, AS_OF_DAY) / 365.25)
        for j, kind in enumerate(EVENT_KINDS):
            y = [a["y"] for t in line.terms for a in t.amendments if a["event"].kind == kind]
            y += [o["y"] for o in line.one_offs if o["event"].kind == kind]
            assert states.n_events[i, j] == states.size_n[i, j] == len(y)
            assert states.size_sum[i, j] == pytest.approx(sum(y), abs=1e-9)
        ended = [d for d, returned in lapses(line, AS_OF_DAY, None, None) if returned]
        assert states.T_lapsed[i] == pytest.approx(sum(ended) / 365.25)
        assert states.n_returns[i] == len(ended)
        due = [it for it in line.items if max(it["end"], it["start"] + 1) > AS_OF_DAY + 1 and it["cents"]]
        committed = slice(states.ci_ptr[i], states.ci_ptr[i + 1])
        got = zip(
            *(getattr(states, f"ci_{n}")[committed].tolist() for n in ("start", "end", "cents", "tied")), strict=True
        )
        assert sorted(got) == sorted(
            (it["start"], max(it["end"], it["start"] + 1), it["cents"], it["tied"]) for it in due
        )
    for a, account in enumerate(states.account_ids):
        items = [it for line in lines if line.account_id == account for it in line.items]
        assert states.booked_cents[a] == sum(it["cents"] for it in items)
        assert states.recognised_cents[a] == sum(it["done"] for it in items)


@pytest.mark.parametrize("seed", range(3))
def test_arrays_are_contiguous_and_of_the_agreed_types(seed: int) -> None:
    built = build_histories(random_company(seed).ledger)
    for segments in ([], SEGMENTS):
        states = states_of(built, segments)
        billed = account_states(built, build_frame(built, segments), receivables=True)
        assert (
            len(states.rc_cents) == 0 and (states.rc_ptr == 0).all() and len(billed.rc_cents) == billed.rc_ptr[-1] > 0
        )
        for name, dtype in DTYPES.items():
            for array in (getattr(states, name), getattr(billed, name)):
                assert array.dtype == dtype and array.flags["C_CONTIGUOUS"], name
        assert set(DTYPES) | {"as_of", "account_ids", "new_levels", "given"} == set(States._fields)
        assert states.as_of == AS_OF_DAY and states.as_of.dtype == np.int32
        assert states.columns.shape == (len(states.account), len(segments))


def test_committed_items_and_money_to_date_add_up() -> None:
    """Booked = recognised + what the committed items have left, account by account."""
    built = build_histories(random_company(11, n_accounts=120).ledger)
    states = states_of(built)
    served = AS_OF_DAY + 1 - states.ci_start
    length = states.ci_end - states.ci_start
    done = np.array([round(int(c) * max(0, int(s)) / int(n)) if s > 0 else 0
                     for c, s, n in zip(states.ci_cents, served, length, strict=True)])  # fmt: skip
    line = np.repeat(np.arange(len(states.account)), np.diff(states.ci_ptr))
    left = np.zeros(len(states.account_ids))
    np.add.at(left, states.account[line], states.ci_cents - done)
    np.testing.assert_allclose(left, states.booked_cents - states.recognised_cents, atol=5)


def test_levels_unseen_in_training_come_after_the_layout() -> None:
    company = random_company(21)
    frame = build_frame(build_histories(company.ledger), SEGMENTS)
    moved = dict(company.segments)
    accounts = sorted(moved)
    moved[accounts[0]] = ("upper", "z")
    moved[accounts[1]] = ("east", "x")
    states = account_states(build_histories(ledger_tables(company.events, moved, company.observed_from)), frame)
    C = len(frame.location_columns)
    assert states.new_levels == (("region", "east"), ("region", "upper"), ("line", "z"))
    first = np.flatnonzero(states.account == 0)[0]
    second = np.flatnonzero(states.account == 1)[0]
    assert states.columns[first].tolist() == [C + 1, C + 2]
    assert states.columns[second].tolist() == [C, frame.location_columns.index("line=x")]


def test_an_early_renewal_leaves_only_the_new_term_active_but_both_recognised() -> None:
    built = histories(
        event(1, "initial", "2024-01-01", 1200, months=12),
        event(2, "renewal", "2024-06-01", 2400, months=12),
    )
    states = states_of(built)
    assert states.bt_start.tolist() == [day("2024-06-01")]
    assert states.ci_end.tolist() == [day("2025-01-01"), day("2025-06-01")]
    assert states.tenure.tolist() == [5 / 12]


def test_a_lapsed_line_keeps_its_last_term() -> None:
    states = states_of(histories(event(1, "initial", "2020-01-01", 1200, months=12)))
    assert states.bt_end.tolist() == [day("2021-01-01")]
    assert states.status.tolist() == [0]
    assert states.ci_ptr.tolist() == [0, 0]
    assert (states.booked_cents.tolist(), states.recognised_cents.tolist()) == ([120_000], [120_000])


def test_money_at_once_in_the_future_has_one_day_of_service() -> None:
    states = states_of(
        histories(
            event(1, "initial", "2024-01-01", 1200, months=12),
            event(2, "change_order", "2024-06-01", 500, start="2024-08-01"),
        )
    )
    assert states.ci_start.tolist()[1:] == [day("2024-08-01")]
    assert states.ci_end.tolist()[1:] == [day("2024-08-02")]
    assert states.ci_tied.tolist() == [True, False]
