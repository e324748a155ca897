"""Amounts of several currencies become one, by a table of rates by day."""

from __future__ import annotations

import re
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.errors import LedgerError
from clvforecast.events import FIRST_DAY, LARGEST_AMOUNT, LAST_DAY, REJECTED_SCHEMA, Rule
from clvforecast.ledger.checks import PLAIN_NUMBER, date_sql, half_even_cents_sql, text_sql
from clvforecast.ledger.tables import ROW, first_row, literal, read_table

Longs = NDArray[np.int64]

RATE_COLUMNS = ("date", "currency", "rate")
OLDEST_DAYS = 7
"""Days that a rate holds on: over a weekend and holidays, on which none is set."""
LARGEST_RATE = 999_999
MISSING_RATE = Rule(
    "missing_rate",
    "currency",
    f"the rates have none of this currency for that day, or up to {OLDEST_DAYS} days before: add it",
)
OUT_OF_RANGE = Rule(
    "amount_out_of_range", "amount", f"converted, one event holds at most {LARGEST_AMOUNT:.0e} currency units"
)


def converted(
    connection: duckdb.DuckDBPyConnection, events: pa.Table, number: Longs, rates: Any, currency: str | None
) -> tuple[pa.Table, Longs, pa.Table, tuple[str, ...]]:
    """Events in the reporting currency, the row of each, those that cannot be converted (rejected), and what was done.

    amount x rate, rounded half-even to the cent; the rate is the last one set by the event's day.
    """
    if rates is None:
        return events, number, REJECTED_SCHEMA.empty_table(), ()
    if currency is None or not re.fullmatch("[A-Z]{3}", currency):
        raise LedgerError(f"rates: give the currency that they convert into, as 'EUR' (it is {currency!r}).")
    _read_rates(connection, rates, currency)
    connection.register("unconverted", events.append_column("number", pa.array(number)))
    connection.execute(_converted_sql(currency))
    connection.unregister("unconverted")
    kept = connection.sql(
        f"SELECT * EXCLUDE (cents, given, rule) REPLACE (cents / 100.0 AS amount, {literal(currency)} AS currency) "
        "FROM converted WHERE rule IS NULL ORDER BY place"
    ).to_arrow_table()
    told = _told(connection, currency)
    rejected = _rejected(connection)
    return kept.select(events.column_names), kept["number"].to_numpy().astype(np.int64), rejected, told


def _read_rates(connection: duckdb.DuckDBPyConnection, rates: Any, currency: str) -> None:
    """Make the table `rates`; one that is wrong in any row cannot be trusted in the others."""
    raw = read_table(connection, rates, "given_rates", RATE_COLUMNS)
    missing = [name for name in RATE_COLUMNS if name not in raw.columns]
    if missing:
        raise LedgerError(f"rates: no column {', '.join(missing)}; found are {', '.join(raw.columns)}. Name them so.")
    number = text_sql("rate")
    connection.execute(
        f"""
        CREATE TABLE rates AS SELECT {ROW}, {date_sql(raw, "date")[0]} AS day, upper({text_sql("currency")}) AS currency,
            CASE WHEN regexp_matches({number}, {literal(PLAIN_NUMBER)}) THEN TRY_CAST({number} AS DECIMAL(20, 14)) END AS rate
        FROM {raw.name}
        """
    )
    days = f"day BETWEEN DATE {literal(str(FIRST_DAY))} AND DATE {literal(str(LAST_DAY))}"
    wrong = first_row(
        connection,
        f"""
        SELECT {ROW} FROM rates WHERE NOT coalesce({days} AND regexp_matches(currency, '^[A-Z]{{3}}$')
            AND rate > 0 AND rate <= {LARGEST_RATE}, false) ORDER BY {ROW} LIMIT 1
        """,
    )
    if wrong:
        raise LedgerError(
            f"rates: row {wrong[0]} has no date as YYYY-MM-DD, no three-letter currency, or no rate above 0 and up to"
            f" {LARGEST_RATE:,}. Mend it: rates are "
            "all used or none."
        )
    copy = first_row(
        connection, "SELECT currency, day FROM rates GROUP BY ALL HAVING count(DISTINCT rate) > 1 ORDER BY ALL LIMIT 1"
    )
    if copy:
        raise LedgerError(f"rates: {copy[0]} has two rates on {copy[1]}. Keep one.")
    own = first_row(connection, f"SELECT rate FROM rates WHERE currency = {literal(currency)} AND rate <> 1 LIMIT 1")
    if own:
        raise LedgerError(
            f"rates: {currency} is worth {own[0]} {currency}. The rates are of another reporting currency, or "
            "that of one unit of it in others: give how much of it one unit of each currency is worth."
        )


def _converted_sql(currency: str) -> str:
    own = literal(currency)
    return f"""
        CREATE TABLE converted AS
        WITH numbered AS (SELECT *, row_number() OVER () AS place FROM unconverted),
        rated AS (
            SELECT numbered.*, CASE WHEN numbered.currency = {own} THEN 1
                                    WHEN event_date - rates.day <= {OLDEST_DAYS} THEN rates.rate END AS rate
            FROM numbered ASOF LEFT JOIN (SELECT DISTINCT currency, day, rate FROM rates) AS rates
                ON numbered.currency = rates.currency AND numbered.event_date >= rates.day
        ), numbers AS (
            SELECT *, CAST(amount AS DECIMAL(18, 2)) AS given, given * rate AS exact,
                   CASE WHEN abs(exact) <= {LARGEST_AMOUNT} THEN CAST(exact AS DECIMAL(38, 2)) END AS nearest
            FROM rated
        )
        SELECT * EXCLUDE (rate, exact, nearest), {half_even_cents_sql()} AS cents,
               CASE WHEN rate IS NULL AND NOT coalesce(given = 0, true) THEN 'missing_rate'
                    WHEN nearest IS NULL AND given IS NOT NULL AND given <> 0 THEN 'amount_out_of_range' END AS rule
        FROM numbers
    """


def _told(connection: duckdb.DuckDBPyConnection, currency: str) -> tuple[str, ...]:
    """How much was converted, by currency."""
    found = connection.execute(
        f"""
        SELECT currency, count(*), sum(given), sum(cents) / 100.0 FROM converted
        WHERE rule IS NULL AND currency <> {literal(currency)} AND given IS NOT NULL GROUP BY 1 ORDER BY 1
        """
    ).fetchall()
    return tuple(
        f"export: {rows} events of {given:,.2f} {theirs} in all count as {amount:,.2f} {currency}, by the rates of their days"
        for theirs, rows, given, amount in found
    )


def _rejected(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The events that cannot be converted, as `events.REJECTED_SCHEMA`; row is their place among the events."""
    rules = ", ".join(
        f"({literal(r.name)}, {literal(r.column)}, {literal(r.hint)})" for r in (MISSING_RATE, OUT_OF_RANGE)
    )
    return (
        connection.sql(
            f"""
        SELECT '' AS source, place AS row, NULL::BIGINT AS line, event_id, account_id, "column",
               currency || ' on ' || event_date AS value, rule, hint, CAST(given AS VARCHAR) AS amount,
               CAST(given * 100 AS BIGINT) AS amount_cents, currency, NULL::VARCHAR AS raw
        FROM converted JOIN (VALUES {rules}) AS rules(rule, "column", hint) USING (rule) ORDER BY place
        """
        )
        .to_arrow_table()
        .cast(REJECTED_SCHEMA)
    )
