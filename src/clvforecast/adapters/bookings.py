"""Rows of an export that are events already."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.adapters.joined import Source
from clvforecast.adapters.mapping import BY_ORDER
from clvforecast.adapters.typed import refuse
from clvforecast.events import KINDS, SPREADABLE_KINDS, TERM_KINDS
from clvforecast.ledger.tables import NUMBER, counts

Longs = NDArray[np.int64]

DAYS_PER_MONTH = 30.4375
CHANGES = ("expansion", "contraction")
OPENING = (*TERM_KINDS, BY_ORDER)
SHORTEST_DAYS = 20  # of a term: what is shorter counts as no month
WITHOUT_TERM = tuple(kind.name for kind in KINDS if kind.name not in (*TERM_KINDS, *SPREADABLE_KINDS))
"""What runs to the end of the term it is in."""
SERVED_DAYS = "date_diff('day', coalesce(start_date, event_date), end_date)"
NEAREST_MONTHS = f"greatest(1, CAST(round({SERVED_DAYS} / {DAYS_PER_MONTH}) AS INTEGER))"


def booking_events(connection: duckdb.DuckDBPyConnection, source: Source) -> tuple[pa.Table, Longs]:
    """Rows as events, and the row of the export that each comes from."""
    kind = "kind" if "kind" in source.columns else _literal(BY_ORDER)
    total = source.mapping.amounts == "total"
    connection.execute(
        f"CREATE TABLE told AS {_changes_sql(f'SELECT * REPLACE ({kind} AS kind) FROM typed WHERE rule IS NULL', total)}"
    )
    _refuse(connection, "term_too_short", "end_date", f"kind IN {_listed(OPENING)} AND {SERVED_DAYS} < {SHORTEST_DAYS}")
    if total:
        changes = f"kind IN {_listed(CHANGES)}"
        _refuse(connection, "nothing_before", "amount", f"{changes} AND before IS NULL")
        _refuse(connection, "nothing_new", "event_date", f"{changes} AND amount_cents = before")
    no_term = f"kind IN {_listed(WITHOUT_TERM)}"
    months = f"CASE WHEN {no_term} THEN NULL WHEN end_date IS NULL THEN term_months ELSE {NEAREST_MONTHS} END"
    event_id = "event_id" if "event_id" in source.columns else f"printf('%09d', {NUMBER})"
    events = connection.sql(
        f"""
        SELECT {NUMBER} AS number, {event_id} AS event_id, account_id, contract_id, event_date,
               {_kind_sql(source, total)} AS kind, added / 100.0 AS amount, currency,
               start_date, {months} AS term_months
        FROM told ORDER BY {NUMBER}
        """
    ).to_arrow_table()
    return events.drop_columns(["number"]), events["number"].to_numpy().astype(np.int64)


IN_TURN = f"coalesce(start_date, event_date), event_date, {NUMBER}"


def _kind_sql(source: Source, total: bool) -> str:
    """Terms by their order in the account and contract; changes that are told as totals by their sign."""
    opens = f"kind = {_literal(BY_ORDER)} AND coalesce(amount_cents > 0, false)"  # no refund does
    place = f"CASE WHEN {opens} THEN row_number() OVER (PARTITION BY account_id, contract_id, {opens} ORDER BY {IN_TURN}) END"
    later = _literal(source.mapping.rest if "kind" not in source.columns else "renewal")
    of_term = f"CASE WHEN {place} = 1 THEN 'initial' ELSE {later} END"
    of_change = f"WHEN kind IN {_listed(CHANGES)} THEN CASE WHEN added < 0 THEN 'contraction' ELSE 'expansion' END"
    return f"CASE WHEN kind = {_literal(BY_ORDER)} THEN {of_term} {of_change if total else ''} ELSE kind END"


def _changes_sql(rows: str, total: bool) -> str:
    """Rows with what a contract brought by the row before, and what a change that says a total adds to it."""
    if not total:
        return f"SELECT *, amount_cents AS added FROM ({rows})"
    priced = f"kind IN {_listed((*OPENING, *CHANGES))}"
    line = f"PARTITION BY account_id, contract_id, total_of, currency, {priced} ORDER BY {IN_TURN}"
    return (
        f"SELECT *, CASE WHEN kind IN {_listed(CHANGES)} THEN amount_cents - before ELSE amount_cents END AS added "
        f"FROM (SELECT *, CASE WHEN {priced} THEN lag(amount_cents) OVER ({line}) END AS before FROM ({rows}))"
    )


def _refuse(connection: duckdb.DuckDBPyConnection, rule: str, column: str, broken: str) -> None:
    """Set rows of `told` aside."""
    refuse(connection, rule, column, connection.sql(f"SELECT {NUMBER} FROM told WHERE {broken}").fetchnumpy()[NUMBER])
    connection.execute(f"DELETE FROM told WHERE {broken}")


def _listed(words: tuple[str, ...]) -> str:
    return "(" + ", ".join(map(_literal, words)) + ")"


def _literal(word: str) -> str:
    return f"'{word}'"


def month_warnings(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """Bookings whose end is not that of a whole number of months."""
    ends = f"CAST(coalesce(start_date, event_date) + to_months({NEAREST_MONTHS}) AS DATE)"
    off, most = counts(
        connection,
        f"""
        SELECT count(*), max(days) FROM (
            SELECT abs(date_diff('day', {ends}, end_date)) AS days FROM told
            WHERE end_date IS NOT NULL AND kind NOT IN {_listed(WITHOUT_TERM)}
        ) WHERE days > 1
        """,
    )
    if not off:
        return ()
    return (f"export: {off} terms end inside a month and count as the nearest whole months, at most {most} days off",)
