"""Lines, (account_id, contract_id) with at least one term, and the line that every other event belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.events import KINDS, TERM_KINDS
from clvforecast.histories.engine import Engine, open_engine, ranks, values, with_columns
from clvforecast.histories.records import SEGMENT
from clvforecast.histories.runs import run_lengths, run_starts
from clvforecast.ledger import Ledger
from clvforecast.ledger.days import term_ends, whole_days

Longs = NDArray[np.int64]

KIND_NAMES = tuple(kind.name for kind in KINDS)


@dataclass(frozen=True)
class Events:
    """A ledger's events as numbers, in its order: by account, first day of service, day of booking and event_id.

    Attributes
    ----------
    table
        event_id, account and contract (places in the texts below), kind (place in `KIND_NAMES`), amount_cents, day (start
        of service), booked_day, end_day, months (0 when not given).
    account_ids, contract_ids
        The texts, each in order.
    """

    table: pa.Table
    account_ids: pa.Array
    contract_ids: pa.Array


def of_kinds(table: pa.Table, *names: str) -> NDArray[np.bool_]:
    """Whether each event is of one of these kinds."""
    wanted = np.zeros(len(KIND_NAMES), dtype=bool)
    wanted[[KIND_NAMES.index(name) for name in names]] = True
    return np.asarray(wanted[values(table, "kind")])


def kind_names(kind: NDArray[np.int8]) -> pa.Array:
    """The kinds as text."""
    return pa.array(KIND_NAMES).take(pa.array(kind))


def numbered_events(events: pa.Table) -> Events:
    """A ledger's events as numbers."""
    account, account_ids = ranks(events["account_id"])
    contract, contract_ids = ranks(events["contract_id"])
    day, booked_day = whole_days(events["start_date"]), whole_days(events["event_date"])
    months = events["term_months"].fill_null(0).to_numpy().astype(np.int64)
    table = pa.table(
        {
            "event_id": events["event_id"],
            "account": account,
            "contract": contract,
            "kind": pc.index_in(events["kind"], pa.array(KIND_NAMES)).cast(pa.int8()),
            "amount_cents": events["amount_cents"],
            "day": day,
            "booked_day": booked_day,
            "months": months,
            "end_day": term_ends(day, months),
        }
    )
    return Events(table.combine_chunks(), account_ids, contract_ids)


def find_lines(events: Events) -> pa.Table:
    """line, account, contract, first_day: one row a line, ordered by account_id and contract_id."""
    terms = np.flatnonzero(of_kinds(events.table, *TERM_KINDS))
    account, contract, day = (values(events.table, name)[terms] for name in ("account", "contract", "day"))
    order = np.argsort(_line_key(account, contract), kind="stable")
    starts = run_starts(account[order], contract[order])
    first = order[starts]
    first_day = np.minimum.reduceat(day[order], starts) if len(starts) else starts
    return pa.table(
        {
            "account": account[first],
            "contract": contract[first],
            "first_day": first_day,
            "line": np.arange(len(starts), dtype=np.int64),
        }
    )


def _line_key(account: NDArray[np.int32], contract: NDArray[np.int32]) -> Longs:
    return np.asarray(account.astype(np.int64) << 32 | contract)


def place_events(events: Events, lines: pa.Table) -> pa.Table:
    """Events with their `line`; -1 where the account has no term at all yet.

    An event whose own (account_id, contract_id) has no term goes to the account's line with the earliest
    term that covers it, or else to the account's earliest line.
    """
    if not lines.num_rows:
        return with_columns(events.table, line=np.full(events.table.num_rows, -1, dtype=np.int64))
    account, contract = values(events.table, "account"), values(events.table, "contract")
    first_line = np.searchsorted(values(lines, "account"), np.arange(len(events.account_ids)))
    line = np.minimum(first_line, lines.num_rows - 1)[account]
    elsewhere = np.flatnonzero(
        (values(lines, "account")[line] != account) | (values(lines, "contract")[line] != contract)
    )
    if len(elsewhere):
        keys = _line_key(values(lines, "account"), values(lines, "contract"))
        wanted = _line_key(account[elsewhere], contract[elsewhere])
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        line[elsewhere] = np.where(keys[found] == wanted, found, -1)
    placed = with_columns(events.table, line=line)
    if (line < 0).any():
        with open_engine() as engine:
            found = _adopting_lines(engine, placed)
        line[values(found, "place")] = values(found, "adopted")
        placed = with_columns(placed, line=line)
    return placed


def _adopting_lines(engine: Engine, placed: pa.Table) -> pa.Table:
    """place, adopted: the line that takes in an event whose own contract_id has no terms."""
    placed = with_columns(placed, place=np.arange(placed.num_rows))
    churn, term_kinds = KIND_NAMES.index("churn"), [KIND_NAMES.index(kind) for kind in TERM_KINDS]
    columns = engine.lazy(placed.select(["place", "account", "kind", "line", "day", "end_day"]))
    terms = columns.filter(nw.col("kind").is_in(term_kinds))
    spans = terms.select("account", term_line="line", term_start="day", term_end="end_day")
    astray = columns.filter(nw.col("line") < 0).select("place", "account", "kind", "day")
    pairs = astray.join(spans, on="account", how="inner")
    runs_to = nw.col("term_end") + nw.when(nw.col("kind") == churn).then(1).otherwise(0)
    covers = (nw.col("term_start") <= nw.col("day")) & (nw.col("day") < runs_to)
    ranked = pairs.with_columns(apart=nw.when(covers).then(0).otherwise(1), one=nw.lit(1)).with_columns(
        rank=nw.col("one").cum_sum().over("place", order_by=["apart", "term_start", "term_line"])
    )
    return engine.collect(ranked.filter(nw.col("rank") == 1).select("place", adopted="term_line"), "place")


def segment_columns(accounts: pa.Table) -> tuple[str, ...]:
    """The columns of the accounts table that can be segments."""
    return tuple(name for name in accounts.column_names if name not in ("account_id", "observed_from"))


def describe_lines(events: Events, lines: pa.Table, ledger: Ledger) -> pa.Table:
    """Lines with their texts, segment columns, `account` (place among the accounts with a line), observed_from and
    tenure_unknown.

    `observed_from` is told of an account; it holds for the lines that start on the account's first day. A
    line that starts later was seen from its start.
    """
    first_day = values(lines, "first_day")
    starts = run_starts(values(lines, "account"))
    lengths = run_lengths(starts, lines.num_rows)
    account_ids = events.account_ids.take(lines["account"].combine_chunks())
    of_accounts = ledger.accounts.take(pc.index_in(account_ids, ledger.accounts["account_id"]))
    seen_first = pa.array(first_day == np.repeat(np.minimum.reduceat(first_day, starts), lengths))
    given = of_accounts["observed_from"].cast(pa.int32())
    unknown = pc.and_(given.is_null(), seen_first) if ledger.has_observed_from else np.zeros(lines.num_rows, dtype=bool)
    return pa.table(
        {
            "account_id": account_ids,
            "contract_id": events.contract_ids.take(lines["contract"].combine_chunks()),
            "first_day": first_day,
            "line": lines["line"],
            **{SEGMENT + name: of_accounts[name] for name in segment_columns(ledger.accounts)},
            "observed_from": pc.if_else(seen_first, given.fill_null(0), pa.scalar(0, pa.int32())),
            "tenure_unknown": unknown,
            "account": np.repeat(np.arange(len(starts), dtype=np.int64), lengths),
        }
    ).combine_chunks()
