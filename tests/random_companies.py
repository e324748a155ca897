"""Random companies for the tests of histories, cells and states: awkward on purpose, but valid ledgers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from reference_histories import EPOCH, TERM_KINDS, Event, add_months

AS_OF = dt.date(2024, 6, 30)
AS_OF_DAY = (AS_OF - EPOCH).days


@dataclass(frozen=True)
class LedgerTables:
    """The parts of a `Ledger` that histories are made from."""

    events: pa.Table
    accounts: pa.Table
    has_observed_from: bool
    as_of: dt.date = AS_OF
    grace_days: int | None = None


@dataclass(frozen=True)
class Company:
    """A ledger twice: as tables, and as the plain rows they hold."""

    ledger: LedgerTables
    events: list[Event]
    segments: dict[str, tuple[str, str]]
    observed_from: dict[str, int | None] | None


def ledger_tables(
    events: list[Event],
    segments: dict[str, tuple[str, str]],
    observed_from: dict[str, int | None] | None,
    as_of: dt.date = AS_OF,
    grace_days: int | None = None,
) -> LedgerTables:
    """Arrow tables of plain rows; segment columns `region` and `line` (a name that histories use themselves)."""
    accounts = sorted({event.account_id for event in events})
    told = observed_from or {}
    days = {name: pa.array([getattr(e, name) for e in events], pa.int32()) for name in ("booked", "day")}
    return LedgerTables(
        events=pa.table(
            {
                "event_id": [event.event_id for event in events],
                "account_id": [event.account_id for event in events],
                "contract_id": [event.contract_id for event in events],
                "event_date": days["booked"].cast(pa.date32()),
                "kind": [event.kind for event in events],
                "amount_cents": pa.array([event.cents for event in events], pa.int64()),
                "currency": ["EUR"] * len(events),
                "start_date": days["day"].cast(pa.date32()),
                "term_months": pa.array([event.months for event in events], pa.int32()),
            }
        ),
        accounts=pa.table(
            {
                "account_id": accounts,
                "region": [segments[account][0] for account in accounts],
                "line": [segments[account][1] for account in accounts],
                "observed_from": pa.array([told.get(account) for account in accounts], pa.int32()),
            }
        ),
        has_observed_from=observed_from is not None,
        as_of=as_of,
        grace_days=grace_days,
    )


def random_company(seed: int, n_accounts: int = 60, grace_days: int | None = None) -> Company:
    """Accounts with overlaps, gaps around the grace limit, churn, amendments, late booking and parallel contracts."""
    rng = np.random.default_rng(seed)
    rows: list[Event] = []
    for i in range(n_accounts):
        rows += _account(rng, f"A{i:04d}", grace_days)
    known = _usable([event for event in rows if event.booked <= AS_OF_DAY])
    numbers = rng.permutation(len(known))
    events = [
        Event(f"e{number:06d}", *(getattr(event, name) for name in Event.__dataclass_fields__ if name != "event_id"))
        for number, event in zip(numbers, known, strict=True)
    ]
    accounts = sorted({event.account_id for event in events})
    segments = {a: (str(rng.choice(["north", "south", "west"])), str(rng.choice(["x", "y"]))) for a in accounts}
    observed_from: dict[str, int | None] | None = None
    if seed % 3:
        observed_from = {a: (None, 0, 0, 1, 3, 7)[rng.integers(6)] for a in accounts}
    return Company(
        ledger_tables(events, segments, observed_from, grace_days=grace_days), events, segments, observed_from
    )


def _account(rng: np.random.Generator, account: str, grace_days: int | None) -> list[Event]:
    contracts = [""] if rng.random() < 0.8 else ["c1", "c2"]
    rows: list[Event] = []
    for contract in contracts:
        rows += _contract(rng, account, contract, grace_days)
    if contracts != [""] and rng.random() < 0.7:  # events that do not say which contract
        terms = [event for event in rows if event.kind in TERM_KINDS]
        for _ in range(int(rng.integers(1, 4))):
            term = terms[rng.integers(len(terms))]
            rows += _inside(rng, account, "", term.day, add_months(term.day, term.months))
    return rows


def _contract(rng: np.random.Generator, account: str, contract: str, grace_days: int | None) -> list[Event]:
    rows: list[Event] = []
    start = AS_OF_DAY - int(rng.integers(-40, 3000))
    cents = int(np.exp(rng.normal(8, 1.2)) * 100)
    for _ in range(int(rng.integers(1, 9))):
        months = int(rng.choice([1, 3, 6, 12, 12, 12, 24, 36]))
        end = add_months(start, months)
        booked = start + int(rng.choice([0, 0, 0, -30, -100, 10, 40, 95, 200]))
        kind = str(rng.choice(TERM_KINDS))
        rows.append(Event("", account, contract, booked, kind, max(1, cents * months), start, months))
        if rng.random() < 0.4:
            rows += _inside(rng, account, contract, start, end)
        if rng.random() < 0.2:
            rows.append(_churn(rng, account, contract, start, end))
        grace = grace_days if grace_days is not None else min(92, max(15, (end - start) // 4))
        gaps = [0, 0, 0, 1, 10, grace - 1, grace, grace + 1, 300, 900, -5, -14, -16, -(end - start) // 2, start - end]
        start = end + int(rng.choice(gaps))
        cents = max(1, int(cents * rng.choice([1, 1, 1.005, 1.2, 0.7, 30, 0.02])))
    return rows


def _inside(rng: np.random.Generator, account: str, contract: str, start: int, end: int) -> list[Event]:
    rows = []
    for _ in range(int(rng.integers(1, 4))):
        kind = str(rng.choice(["expansion", "contraction", "change_order", "referral"]))
        day = int(rng.integers(start, end))
        cents = int(np.exp(rng.normal(8, 1.5)) * 100) + 1
        months = int(rng.integers(1, 13)) if kind in ("change_order", "referral") and rng.random() < 0.3 else None
        booked = day + int(rng.choice([0, 0, 20]))
        signed = -cents if kind == "contraction" else cents
        rows.append(Event("", account, contract, booked, kind, signed, day, months))
    return rows


def _churn(rng: np.random.Generator, account: str, contract: str, start: int, end: int) -> Event:
    day = int(rng.choice([start, (start + end) // 2, end - 1, end, end + 20]))
    booked = day + int(rng.choice([-60, -5, 0, 15, 100]))
    cents = (None, 0, -int(rng.integers(1, 10**6)))[rng.integers(3)]
    return Event("", account, contract, booked, "churn", cents, day)


def _usable(rows: list[Event]) -> list[Event]:
    """What a ledger would accept: amendments inside a known term of their line, churn after a first term's start."""
    terms = [row for row in rows if row.kind in TERM_KINDS]
    lines = {(term.account_id, term.contract_id) for term in terms}

    def usable(row: Event) -> bool:
        own = (row.account_id, row.contract_id) in lines
        home = [t for t in terms if t.account_id == row.account_id and (not own or t.contract_id == row.contract_id)]
        if row.kind in ("expansion", "contraction"):
            return any(t.day <= row.day < add_months(t.day, t.months) for t in home)
        return bool(home) and (row.kind != "churn" or min(t.day for t in home) <= row.day)

    return [row for row in rows if row.kind in TERM_KINDS or usable(row)]
