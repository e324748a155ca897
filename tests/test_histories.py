"""Terms, decisions, amendments and money: against the plain reference, by hand, and on the shipped contracts."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest

from clvforecast.errors import HistoryError
from clvforecast.histories import Histories, build_histories
from clvforecast.histories.join import NUMBERED_BY
from clvforecast.histories.money import recognised as recognised_cents
from clvforecast.ledger.days import term_ends
from random_companies import AS_OF, AS_OF_DAY, LedgerTables, ledger_tables, random_company
from reference_histories import EPOCH, Event, read_lines, recognised

SEGMENTS = {"A": ("north", "x"), "B": ("south", "y")}


def day(text: str) -> int:
    return (dt.date.fromisoformat(text) - EPOCH).days


def event(
    number: int,
    kind: str,
    booked: str,
    amount: float | None,
    start: str | None = None,
    months: int | None = None,
    account: str = "A",
    contract: str = "",
) -> Event:
    cents = None if amount is None else round(amount * 100)
    return Event(f"e{number}", account, contract, day(booked), kind, cents, day(start or booked), months)


def histories(*events: Event, as_of: str = "2024-06-30", grace_days: int | None = None, m: int | None = 0) -> Histories:
    told = dict.fromkeys(SEGMENTS, m)
    return build_histories(ledger_tables(list(events), SEGMENTS, told, dt.date.fromisoformat(as_of), grace_days))


def column(table: pa.Table, name: str) -> list:
    return table[name].to_pylist()


@pytest.mark.parametrize("seed", range(8))
def test_set_operations_agree_with_the_plain_reference(seed: int) -> None:
    company = random_company(seed, grace_days=30 if seed == 5 else None)
    built = build_histories(company.ledger)
    lines = read_lines(company.events, company.observed_from, AS_OF_DAY, company.ledger.grace_days)
    assert [(line.account_id, line.contract_id) for line in lines] == list(
        zip(column(built.lines, "account_id"), column(built.lines, "contract_id"), strict=True)
    )
    assert column(built.lines, "observed_from") == [line.m for line in lines]
    assert column(built.lines, "tenure_unknown") == [line.unknown for line in lines]
    terms = [(i, line, term) for i, line in enumerate(lines) for term in line.terms]
    exact = {
        "line": [i for i, _, _ in terms],
        "event_id": [t.event.event_id for _, _, t in terms],
        "spell": [t.spell for _, _, t in terms],
        "k": [t.k for _, _, t in terms],
        "start_day": [t.start for _, _, t in terms],
        "end_day": [t.end for _, _, t in terms],
        "stop_day": [t.stop for _, _, t in terms],
        "gap_days": [t.gap for _, _, t in terms],
        "lag_days": [t.lag for _, _, t in terms],
        "served_months": [t.served for _, _, t in terms],
        "amend_cents": [t.amend_cents for _, _, t in terms],
        "expanded": [t.expanded for _, _, t in terms],
        "prev": [t.prev for _, _, t in terms],
        "cut": [t.prev == 1 for _, _, t in terms],
        "n": [len(t.mrrs) for _, _, t in terms],
    }
    for name, expected in exact.items():
        assert column(built.terms, name) == expected, name
    close = {
        "mrr": [t.mrr for _, _, t in terms],
        "carried0": [t.carried[0] for _, _, t in terms],
        "carried1": [t.carried[1] for _, _, t in terms],
        "spell_base": [t.spell_base for _, _, t in terms],
        "base": [line.base for _, line, _ in terms],
        "log_mrr_sum": [sum(map(math.log, t.mrrs)) for _, _, t in terms],
    }
    for name, numbers in close.items():
        np.testing.assert_allclose(column(built.terms, name), numbers, rtol=1e-12, err_msg=name)
    assert column(built.decisions, "outcome") == [t.outcome for _, _, t in terms]
    assert column(built.decisions, "d") == [AS_OF_DAY - t.end for _, _, t in terms]


@pytest.mark.parametrize("seed", range(8))
def test_events_and_money_agree_with_the_plain_reference(seed: int) -> None:
    company = random_company(seed + 100)
    built = build_histories(company.ledger)
    lines = read_lines(company.events, company.observed_from, AS_OF_DAY, None)
    amendments = {a["event"].event_id: (i, a["mrr"], a["counted"], a["y"]) for i, line in enumerate(lines) for t in line.terms
                  for a in t.amendments}  # fmt: skip
    assert set(column(built.amendments, "event_id")) == set(amendments)
    for event_id, *found in zip(
        *(column(built.amendments, name) for name in ("event_id", "line", "mrr", "counted", "y")), strict=True
    ):
        assert tuple(found) == pytest.approx(amendments[event_id], rel=1e-9, abs=1e-9)
    one_offs = [(i, o["event"].event_id, o["y"]) for i, line in enumerate(lines) for o in line.one_offs]
    assert list(zip(column(built.one_offs, "line"), column(built.one_offs, "event_id"), strict=True)) == [
        pair[:2] for pair in one_offs
    ]
    np.testing.assert_allclose(column(built.one_offs, "y"), [y for _, _, y in one_offs], rtol=1e-12)
    items = {item["event"].event_id: (i, item["start"], item["end"], item["cents"], item["tied"], item["done"])
             for i, line in enumerate(lines) for item in line.items}  # fmt: skip
    names = ("line", "start_day", "end_day", "cents", "tied", "recognised_cents")
    assert items == {row["event_id"]: tuple(row[name] for name in names) for row in built.items.to_pylist()}
    roles = {c.event_id: t.role if t.deciding[0] is c and t.role else "superseded" for line in lines
             for t in line.terms for c, _ in t.churns}  # fmt: skip
    assert dict(zip(column(built.churns, "event_id"), column(built.churns, "role"), strict=True)) == roles


@pytest.mark.parametrize("seed", range(4))
def test_laws(seed: int) -> None:
    company = random_company(seed + 200)
    built = build_histories(company.ledger)
    kinds = column(company.ledger.events, "kind")
    assert built.terms.num_rows == kinds.count("initial") + kinds.count("renewal")
    assert built.items.num_rows == len(kinds)
    money = built.account_money
    unrecognised = sum(column(built.items, "cents")) - sum(column(built.items, "recognised_cents"))
    assert sum(column(money, "recognised_cents")) + unrecognised == sum(column(money, "booked_cents"))
    given = sum(c or 0 for c in column(company.ledger.events, "amount_cents"))
    default = [d for d, a in zip(*(column(built.churns, n) for n in ("debooked_cents", "amount_cents")), strict=True)
               if a is None]  # fmt: skip
    assert sum(column(money, "booked_cents")) == given + sum(default)
    # a line is active once at a time: stop_day never passes the next start
    line, stop, start = (np.array(column(built.terms, name)) for name in ("line", "stop_day", "start_day"))
    assert (stop[:-1] <= start[1:])[line[:-1] == line[1:]].all()


def test_order_of_rows_does_not_matter() -> None:
    company = random_company(7)
    built = build_histories(company.ledger)
    rng = np.random.default_rng(3)
    tables = company.ledger
    shuffled = LedgerTables(
        events=tables.events.take(pa.array(rng.permutation(tables.events.num_rows))),
        accounts=tables.accounts.take(pa.array(rng.permutation(tables.accounts.num_rows))),
        has_observed_from=tables.has_observed_from,
    )
    again = build_histories(shuffled)
    for name in ("lines", "terms", "decisions", "amendments", "one_offs", "churns", "items", "account_money"):
        assert getattr(again, name).equals(getattr(built, name)), name


@pytest.mark.parametrize("accounts_each", [1, 3])
def test_how_many_accounts_are_worked_on_at_a_time_does_not_matter(accounts_each: int) -> None:
    for seed in range(12):
        ledger = random_company(seed).ledger
        whole, parts = build_histories(ledger), build_histories(ledger, accounts_each)
        for name in NUMBERED_BY:
            assert getattr(whole, name).equals(getattr(parts, name)), (seed, name)
        assert whole.warnings == parts.warnings


def test_gap_at_the_grace_limit_renews_and_one_day_more_reactivates() -> None:
    first = event(1, "initial", "2021-01-01", 1200, months=12)  # 365 days: grace 91
    at_limit = histories(first, event(2, "initial", "2022-04-02", 1200, months=12))
    assert column(at_limit.terms, "spell") == [0, 0]
    assert column(at_limit.terms, "gap_days") == [None, 91]
    beyond = histories(first, event(2, "renewal", "2022-04-03", 1200, months=12))
    assert column(beyond.terms, "spell") == [0, 1]
    assert column(beyond.decisions, "outcome") == ["open", "open"]
    assert column(beyond.decisions, "lapsed_days")[0] == 1
    assert column(
        histories(first, event(2, "renewal", "2022-01-20", 1200, months=12), grace_days=5).terms, "spell"
    ) == [0, 1]


def test_amendments_expansion_and_size_by_hand() -> None:
    built = histories(
        event(1, "initial", "2023-01-01", 1200, months=12),
        event(2, "expansion", "2023-07-01", 300),
        event(3, "contraction", "2023-10-01", -150),
        event(4, "renewal", "2023-12-01", 1350, start="2024-01-01", months=12),
    )
    months_left = (day("2024-01-01") - day("2023-07-01")) / 30.4375
    later_left = (day("2024-01-01") - day("2023-10-01")) / 30.4375
    expansion, contraction = built.amendments.to_pylist()
    assert expansion["mrr"] == pytest.approx(300 / months_left)
    assert expansion["y"] == pytest.approx(math.log(300 / 1200))
    share = (150 / later_left) / (100 + 300 / months_left)
    assert contraction["share"] == pytest.approx(share)
    assert contraction["y"] == pytest.approx(math.log(share / (1 - share)))
    ended, new = built.terms.to_pylist()
    assert (ended["amend"], ended["size"], ended["carried0"], ended["carried1"]) == (150.0, 112.5, 100.0, 112.5)
    assert new["prev"] == 2  # 112.5 a month carried, 112.5 renewed: flat against the nearer of the two
    assert new["lag_days"] == -31


def test_early_renewal_cuts_served_months() -> None:
    built = histories(
        event(1, "initial", "2022-01-01", 1200, months=12),
        event(2, "renewal", "2022-07-01", 2400, months=12),
        event(3, "renewal", "2023-06-20", 2400, months=12),  # 11 days early: the term counts whole
    )
    assert column(built.terms, "served_months") == [6, 12, 12]
    assert column(built.terms, "gap_days") == [None, -184, -11]
    assert column(built.terms, "stop_day")[0] == day("2022-07-01")
    assert any("contract_id" in warning for warning in built.warnings)


def test_early_termination_debooks_the_unserved_remainder_exactly() -> None:
    built = histories(
        event(1, "initial", "2023-09-01", 1000, months=12),
        event(2, "expansion", "2024-01-01", 100),
        event(3, "churn", "2024-03-01", None),
    )
    end, stop = day("2024-09-01"), day("2024-03-01")
    remainder = 100_000 - recognised(100_000, day("2023-09-01"), end, stop)
    remainder += 10_000 - recognised(10_000, day("2024-01-01"), end, stop)
    (churn,) = built.churns.to_pylist()
    assert (churn["role"], churn["debooked_cents"], churn["remainder_cents"]) == ("terminated", -remainder, remainder)
    (money,) = built.account_money.to_pylist()
    assert money["booked_cents"] == 110_000 - remainder
    assert column(built.terms, "stop_day") == [stop]
    assert column(built.lines, "n_terminations") == [1]


def test_notice_at_the_end_is_a_decision_with_its_lag() -> None:
    built = histories(
        event(1, "initial", "2022-01-01", 1200, months=12), event(2, "churn", "2022-11-01", None, start="2023-01-01")
    )
    (decision,) = built.decisions.to_pylist()
    assert (decision["outcome"], decision["lag_days"]) == ("notified", day("2022-11-01") - day("2023-01-01"))
    assert column(built.churns, "debooked_cents") == [0]


def test_churn_then_renewal_is_superseded_and_counted() -> None:
    built = histories(
        event(1, "initial", "2022-01-01", 1200, months=12),
        event(2, "churn", "2022-11-01", None, start="2022-12-01"),
        event(3, "renewal", "2022-12-20", 1200, start="2023-01-01", months=12),
    )
    assert column(built.decisions, "outcome") == ["renewed", "open"]
    assert built.warnings[0].startswith("1 churn")
    assert column(built.account_money, "booked_cents") == [240_000]


def test_notice_undoes_the_renewal_that_was_booked_before_it() -> None:
    built = histories(
        event(1, "initial", "2022-01-01", 1200, months=12),
        event(2, "renewal", "2022-10-01", 1200, start="2023-01-01", months=12),
        event(3, "churn", "2022-11-01", None, start="2022-12-01"),
    )
    assert column(built.decisions, "outcome") == ["renewed", "terminated"]
    assert column(built.churns, "effective_day") == [day("2023-01-01")]
    assert column(built.account_money, "booked_cents") == [120_000]


def test_return_after_early_termination_is_a_new_spell() -> None:
    built = histories(
        event(1, "initial", "2020-01-01", 3600, months=36),
        event(2, "churn", "2020-06-01", None),
        event(3, "initial", "2021-06-01", 1200, months=12),
    )
    assert column(built.terms, "spell") == [0, 1]
    assert column(built.decisions, "outcome")[0] == "terminated"
    line = built.lines.to_pylist()[0]
    # lapsed from the termination, after 92 days of grace, to the return
    assert line["ended_lapse_days"] == day("2021-06-01") - day("2020-06-01") - 92
    assert line["active_days"] == day("2020-06-01") - day("2020-01-01") + 365


def test_committed_term_is_known_before_it_starts() -> None:
    built = histories(
        event(1, "initial", "2023-07-01", 1200, months=12),
        event(2, "renewal", "2024-06-01", 1200, start="2024-07-01", months=12),
    )
    assert column(built.decisions, "outcome") == ["renewed", "open"]
    assert column(built.decisions, "d")[1] == day("2024-06-30") - day("2025-07-01")
    assert column(built.lines, "active_days") == [366]  # the day of as_of is served
    assert column(built.items, "recognised_cents") == [120_000, 0]


def test_events_without_contract_go_to_the_line_that_covers_them() -> None:
    built = histories(
        event(1, "initial", "2022-01-01", 1200, months=12, contract="c2"),
        event(2, "initial", "2023-01-01", 1200, months=12, contract="c1"),
        event(3, "expansion", "2023-02-01", 100),
        event(4, "change_order", "2024-02-01", 100),
        event(5, "referral", "2022-02-01", 100, contract="c9"),
    )
    assert column(built.amendments, "line") == [0]  # c1 covers February 2023
    assert sorted(zip(column(built.one_offs, "kind"), column(built.one_offs, "line"), strict=True)) == [
        ("change_order", 1), ("referral", 1)
    ]  # fmt: skip


def test_observed_from_belongs_to_the_accounts_first_line_only() -> None:
    built = histories(
        event(1, "initial", "2022-01-01", 1200, months=12, contract="c2"),
        event(2, "initial", "2023-01-01", 1200, months=12, contract="c1"),
        m=4,
    )
    assert column(built.lines, "observed_from") == [0, 4]
    unknown = histories(event(1, "initial", "2022-01-01", 1200, months=12), m=None)
    assert column(unknown.lines, "tenure_unknown") == [True]


def test_no_term_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(HistoryError, match="no initial or renewal"):
        histories(event(1, "change_order", "2022-01-01", 100))


def test_month_ends_are_clipped() -> None:
    starts = np.array([day("2023-01-31"), day("2024-01-31"), day("2023-12-15"), day("1969-11-30")])
    expected = [day("2023-02-28"), day("2024-02-29"), day("2024-01-15"), day("1969-12-30")]
    assert term_ends(starts, np.ones(4, dtype=np.int64)).tolist() == expected


def test_recognition_rounds_half_to_even_and_is_exact_for_large_sums() -> None:
    cents = np.array([5, 15, -5, -15, 10**14, 10**14 - 1])
    start, end = np.zeros(6, dtype=np.int64), np.array([10, 10, 10, 10, 36_525, 36_525])
    for x in (0, 1, 5, 9, 10, 20_000, 40_000):
        wanted = [recognised(int(c), 0, int(e), x) for c, e in zip(cents, end, strict=True)]
        assert recognised_cents(cents, start, end, x).tolist() == wanted


def test_as_of_of_the_random_companies_is_what_the_reference_uses() -> None:
    assert (AS_OF - EPOCH).days == AS_OF_DAY
