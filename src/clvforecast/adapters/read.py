"""`read_export`: the export of another system, by a mapping, as a checked `Ledger`."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.adapters.mapping import Mapping, as_mapping
from clvforecast.adapters.timeline import KIND_NAMES, OPEN, Periods, booked
from clvforecast.adapters.typed import found_columns, make_typed, refuse, set_aside
from clvforecast.errors import LedgerError
from clvforecast.events import REJECTED_SCHEMA
from clvforecast.ledger import Ledger, Totals, read_ledger
from clvforecast.ledger.days import whole_days
from clvforecast.ledger.known import as_day
from clvforecast.ledger.notes import counts_by_rule
from clvforecast.ledger.tables import NUMBER, ROW, SOURCE, RawTable, connect, counts, quoted, read_table

Longs = NDArray[np.int64]

DAYS_PER_MONTH = 30.4375


def read_export(
    export: Any,
    mapping: Mapping | AnyMapping[str, Any] | str | Path,
    accounts: Any = None,
    as_of: date | str | None = None,
    grace_days: int | None = None,
) -> Ledger:
    """Read the export of another system as revenue events.

    Parameters
    ----------
    export
        What `read_ledger` takes: a table, or a path or glob of CSV or Parquet files.
    mapping
        How its columns become events: a `Mapping`, a dict with its keys, or a TOML file.
    accounts, as_of, grace_days
        As in `read_ledger`. An export of periods or movements needs `as_of`, the day of the export: until then what has no
        end has run.

    Returns
    -------
    Ledger
        Rejected rows are rows of the export, with its columns. `reconciliation` counts events and the export's rejected rows.

    Raises
    ------
    LedgerError
        For a mapping or an export that cannot be used as a whole.

    Examples
    --------
    >>> import pandas as pd
    >>> export = pd.DataFrame({
    ...     "customer": ["a", "a", "b"], "from": ["2024-01-01", "2024-03-01", "2024-02-01"],
    ...     "to": ["2024-03-01", None, None], "mrr": [50, 75, 0]})
    >>> columns = {"account_id": "customer", "start_date": "from", "end_date": "to", "monthly_amount": "mrr"}
    >>> ledger = read_export(
    ...     export, {"shape": "periods", "columns": columns, "currency": "USD", "term_months": 1}, as_of="2024-04-15")
    >>> ledger.accepted[["kind", "start_date", "amount"]].values.tolist()[-1]
    ['renewal', Timestamp('2024-04-01 00:00:00'), 75.0]
    >>> ledger.rejected[["row", "column", "value", "rule"]].values.tolist()
    [[3, 'mrr', '0', 'no_price']]
    """
    chosen = as_mapping(mapping)
    if chosen.shape != "bookings" and as_of is None:
        raise LedgerError("export: give as_of, the day of the export: until then what has no end has run.")
    with connect() as connection:
        raw = read_table(connection, export, "export", ())
        columns = found_columns(raw, chosen)
        make_typed(connection, raw, chosen, columns)
        warnings: tuple[str, ...] = ()
        if chosen.shape == "bookings":
            events, number = _booking_events(connection, chosen, columns)
        else:
            if chosen.shape == "movements":
                warnings = _missing_movements(connection, "change" in columns)
                connection.execute(MOVEMENTS_AS_PERIODS)
            events, number = _period_events(connection, as_day(as_of or "", "as_of"))
        events = _with_segments(connection, raw, chosen, events, number)
        aside = set_aside(connection, raw, chosen, columns)
        if not events.num_rows:
            raise LedgerError(f"export: none of {aside.num_rows} rows can be used ({counts_by_rule(aside)}).")
        ledger = read_ledger(events, accounts, as_of, grace_days)
        rejected = _as_read(connection, raw, ledger.rejected_rows, number)
    return replace(
        ledger,
        rejected_rows=pa.concat_tables([aside, rejected]),
        read=_with_rows(ledger.read, aside),
        warnings=(*_set_aside_warning(aside), *warnings, *ledger.warnings),
    )


def _with_rows(read: Totals, aside: pa.Table) -> Totals:
    cents = aside["amount_cents"]
    total = pc.sum(cents.cast(pa.decimal128(38, 0))).as_py()
    return Totals(
        read.rows + aside.num_rows,
        read.rows_with_amount + len(cents) - cents.null_count,
        read.amount_cents + int(total or 0),
    )


def _set_aside_warning(aside: pa.Table) -> tuple[str, ...]:
    if not aside.num_rows:
        return ()
    return (f"export: {aside.num_rows} rows set aside ({counts_by_rule(aside)}); see ledger.rejected",)


def _as_read(connection: duckdb.DuckDBPyConnection, raw: RawTable, rejected: pa.Table, number: Longs) -> pa.Table:
    """Events that the ledger rejects, with the source and row of the export that they come from."""
    if not rejected.num_rows:
        return rejected
    of_event = number[rejected["row"].to_numpy() - 1]
    connection.register("asked", pa.table({NUMBER: of_event, "place": np.arange(len(of_event))}))
    found = connection.sql(
        f"SELECT CAST({SOURCE} AS VARCHAR) AS source, {ROW} AS row FROM {raw.name} JOIN asked USING ({NUMBER}) ORDER BY place"
    ).to_arrow_table()
    connection.unregister("asked")
    for name in ("source", "row"):
        rejected = rejected.set_column(rejected.column_names.index(name), name, found[name])
    return rejected.cast(REJECTED_SCHEMA)


def _with_segments(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, mapping: Mapping, events: pa.Table, number: Longs
) -> pa.Table:
    """Events with the columns of the export that are carried along."""
    if not mapping.segments:
        return events
    there = {name.strip().lower(): name for name in raw.columns}
    chosen = ", ".join(
        f"CAST({quoted(there[name.strip().lower()])} AS VARCHAR) AS {quoted(name)}" for name in mapping.segments
    )
    connection.register("asked", pa.table({NUMBER: number, "place": np.arange(len(number))}))
    carried = connection.sql(
        f"SELECT {chosen} FROM {raw.name} JOIN asked USING ({NUMBER}) ORDER BY place"
    ).to_arrow_table()
    connection.unregister("asked")
    for name in mapping.segments:
        events = events.append_column(name, carried[name])
    return events


# --- movements ------------------------------------------------------------------------------------------------------

MOVEMENTS_AS_PERIODS = f"""
    CREATE OR REPLACE TABLE typed AS
    WITH ended AS (
        SELECT *, CASE WHEN rule IS NULL THEN lead(event_date) OVER (
                      PARTITION BY account_id, contract_id, rule IS NULL ORDER BY event_date, {NUMBER}) END AS next_date
        FROM typed
    )
    SELECT * EXCLUDE (next_date, start_date, end_date, holds), event_date AS start_date, next_date AS end_date,
           rule IS NULL AND amount_cents > 0 AND event_date IS DISTINCT FROM next_date AS holds
    FROM ended
"""
"""Each movement holds until the next one of its line: none of that day, and 0 not at all."""


def _missing_movements(connection: duckdb.DuckDBPyConnection, has_change: bool) -> tuple[str, ...]:
    """A warning where movements do not lead from one monthly amount to the next."""
    if not has_change:
        return ()
    wrong, first = counts(
        connection,
        f"""
        SELECT count(*), min({NUMBER}) FROM (
            SELECT {NUMBER}, given - lag(given, 1, 0) OVER (
                PARTITION BY account_id, contract_id ORDER BY event_date, {NUMBER}) <> change AS off
            FROM typed WHERE rule IS NULL
        ) WHERE off
        """,
    )
    if not wrong:
        return ()
    return (
        f"export: {wrong} movements do not lead from the amount before to theirs (the first in row {first}): rows seem to be "
        "missing; the amounts after them count.",
    )


# --- periods --------------------------------------------------------------------------------------------------------


def _period_events(connection: duckdb.DuckDBPyConnection, as_of: date) -> tuple[pa.Table, Longs]:
    """Events of periods of prices, and the row of the export that each comes from."""
    found = connection.sql(
        f"""
        SELECT {NUMBER} AS number, account_id, contract_id, currency, start_date, end_date, amount_cents, term_months,
               dense_rank() OVER (ORDER BY account_id, contract_id) - 1 AS line
        FROM typed WHERE rule IS NULL AND holds ORDER BY line, start_date, {NUMBER}
        """
    ).to_arrow_table()
    line, number = (found[name].to_numpy().astype(np.int64) for name in ("line", "number"))
    start = whole_days(found["start_date"])
    end = found["end_date"].cast(pa.int32()).cast(pa.int64()).fill_null(OPEN).to_numpy()
    kept = _apart(line, start, end)
    refuse(connection, "overlapping_period", number[~kept])
    found = found.filter(pa.array(kept))
    known_day = int(np.datetime64(as_of, "D").astype(np.int64))
    events = booked(
        Periods(
            line=line[kept],
            start=start[kept],
            end=end[kept],
            price=found["amount_cents"].to_numpy().astype(np.int64),
            months=found["term_months"].to_numpy().astype(np.int64),
            row=np.arange(found.num_rows),
        ),
        known_day,
    )
    rows = pa.array(events.row)
    days = pa.array(events.day.astype(np.int32)).cast(pa.date32())
    amount = pa.array(events.amount / 100, mask=~events.has_amount)
    of_rows = found.take(rows)
    return pa.table(
        {
            "event_id": _event_ids(of_rows["number"].to_numpy().astype(np.int64)),
            "account_id": of_rows["account_id"],
            "contract_id": of_rows["contract_id"],
            "event_date": days,
            "kind": pa.array(KIND_NAMES).take(pa.array(events.kind)),
            "amount": amount,
            "currency": of_rows["currency"],
            "start_date": days,
            "term_months": pa.array(events.months.astype(np.int32), mask=events.months == 0),
        }
    ), of_rows["number"].to_numpy().astype(np.int64)


def _apart(line: Longs, start: Longs, end: Longs) -> NDArray[np.bool_]:
    """Which periods, by line and start, overlap no earlier one that is kept."""
    kept = np.ones(len(line), dtype=bool)
    near = np.flatnonzero((line[1:] == line[:-1]) & (start[1:] < end[:-1]))
    if not len(near):
        return kept
    touched = np.flatnonzero(np.isin(line, line[near]))  # one after the other: who is refused lets the next one in
    last_line, until = -1, 0
    for row in touched.tolist():
        if line[row] != last_line:
            last_line, until = int(line[row]), int(end[row])
        elif start[row] < until:
            kept[row] = False
        else:
            until = int(end[row])
    return kept


def _event_ids(number: Longs) -> pa.Array:
    """``row.k``: the k-th event that a row of the export makes."""
    order = np.argsort(number, kind="stable")
    _, first, count = np.unique(number[order], return_index=True, return_counts=True)
    k = np.empty(len(number), dtype=np.int64)
    k[order] = np.arange(len(number)) - np.repeat(first, count) + 1
    return pc.binary_join_element_wise(pa.array(number).cast(pa.string()), pa.array(k).cast(pa.string()), ".")


# --- bookings -------------------------------------------------------------------------------------------------------


def _booking_events(
    connection: duckdb.DuckDBPyConnection, mapping: Mapping, columns: dict[str, str]
) -> tuple[pa.Table, Longs]:
    """Rows that are events already, and the row of the export that each comes from."""
    kind = "kind"
    if "kind" not in columns:
        order = f"PARTITION BY account_id, contract_id ORDER BY coalesce(start_date, event_date), event_date, {NUMBER}"
        kind = f"CASE WHEN row_number() OVER ({order}) = 1 THEN 'initial' ELSE '{mapping.rest}' END"
    months = "term_months"
    if "end_date" in columns:  # the nearest whole number of months
        days = "date_diff('day', coalesce(start_date, event_date), end_date)"
        months = f"coalesce(term_months, greatest(1, CAST(round({days} / {DAYS_PER_MONTH}) AS INTEGER)))"
    event_id = "event_id" if "event_id" in columns else f"CAST({NUMBER} AS VARCHAR)"
    found = connection.sql(
        f"""
        SELECT {NUMBER} AS number, {event_id} AS event_id, account_id, contract_id, event_date, {kind} AS kind,
               amount_cents / 100.0 AS amount, currency, start_date, {months} AS term_months
        FROM typed WHERE rule IS NULL ORDER BY {NUMBER}
        """
    ).to_arrow_table()
    return found.drop_columns(["number"]), found["number"].to_numpy().astype(np.int64)
