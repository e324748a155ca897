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
from clvforecast.adapters.timeline import KIND_NAMES, OPEN, Periods, booked, months_in_force
from clvforecast.adapters.typed import (
    ONLY_ONE,
    RULE_PLACES,
    amount_column,
    found_columns,
    in_raw,
    make_typed,
    refuse,
    set_aside,
)
from clvforecast.errors import LedgerError
from clvforecast.events import FIRST_DAY, LAST_DAY, REJECTED_SCHEMA
from clvforecast.ledger import Ledger, Totals, read_ledger
from clvforecast.ledger.days import whole_days
from clvforecast.ledger.known import as_day
from clvforecast.ledger.notes import counts_by_rule
from clvforecast.ledger.originals import originals
from clvforecast.ledger.records import balanced, totals_of
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
    day = None if as_of is None else as_day(as_of, "as_of")
    if day is None and chosen.shape != "bookings":
        raise LedgerError("export: give as_of, the day of the export: until then what has no end has run.")
    if day is not None and not FIRST_DAY <= day <= LAST_DAY:
        raise LedgerError(f"as_of is {day}; days run from {FIRST_DAY} to {LAST_DAY}.")
    with connect() as connection:
        raw = read_table(connection, export, "export", ())
        columns = found_columns(raw, chosen)
        make_typed(connection, raw, chosen, columns)
        warnings = value_warnings(connection)
        if chosen.shape == "bookings":
            events, number = _booking_events(connection, chosen, columns)
            warnings += _month_warnings(connection)
            used = len(number)
        else:
            assert day is not None
            if chosen.shape == "movements":
                warnings += _movements_as_periods(connection, "change" in columns)
            elif chosen.ends != "last day":
                warnings += _last_day_warning(connection)
            events, number = _period_events(connection, chosen.shape, day)
            (used,) = counts(connection, "SELECT count(*) FROM typed WHERE rule IS NULL")
        aside = set_aside(connection, raw, chosen, columns)
        (sound,) = counts(connection, f"SELECT count(*) FROM {raw.name}")
        rows = sound + raw.broken.num_rows
        if rows != used + aside.num_rows:
            raise AssertionError(f"{rows} rows of the export are {used} used and {aside.num_rows} set aside")
        if not events.num_rows:
            raise LedgerError(f"export: none of {rows} rows can be used ({counts_by_rule(aside)}).")
        events = _with_segments(connection, raw, chosen, events, number)
        ledger = read_ledger(events, accounts, as_of, grace_days)
        rejected = _as_read(connection, raw, columns, ledger.rejected_rows, number)
    told = (
        ()
        if not aside.num_rows
        else (f"export: {aside.num_rows} of {rows} rows set aside ({counts_by_rule(aside)}); see ledger.rejected",)
    )
    whole = replace(
        ledger,
        rejected_rows=pa.concat_tables([aside, rejected]),
        read=ledger.read + totals_of(aside) + Totals(export_rows=rows),
        warnings=(*told, *warnings, *ledger.warnings),
    )
    return balanced(whole)


def value_warnings(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """What was changed in rows that are used: fractions of a cent, times of day."""
    rounded, clocks = counts(
        connection,
        """
        SELECT count(*) FILTER (WHERE abs(CAST(amount_cents AS DECIMAL(38, 18)) / 100 - exact) > 1e-6),
               count(*) FILTER (WHERE has_clock)
        FROM typed WHERE rule IS NULL
        """,
    )
    return (
        *(
            (f"export: {rounded} amounts with fractions of a cent were rounded half-even to the cent",)
            if rounded
            else ()
        ),
        *((f"export: {clocks} rows have a time of day in a date column; only the day is used",) if clocks else ()),
    )


def _as_read(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, columns: dict[str, str], rejected: pa.Table, number: Longs
) -> pa.Table:
    """Events that the ledger rejects, with the source, row and column of the export that they come from."""
    if not rejected.num_rows:
        return rejected
    of_export = number[rejected["row"].to_numpy() - 1]
    found = _of_rows(
        connection,
        raw,
        of_export,
        f"CAST(raw.{SOURCE} AS VARCHAR) AS source, raw.{ROW} AS row",
    )
    written = {"amount": amount_column(columns), **columns}
    named = [written.get(name, name) for name in rejected["column"].to_pylist()]
    line, text = originals(connection, raw, of_export)
    as_written = {"source": found["source"], "row": found["row"], "line": line, "raw": text}
    for name, values in (as_written | {"column": pa.array(named, pa.string())}).items():
        rejected = rejected.set_column(rejected.column_names.index(name), name, values)
    return rejected.cast(REJECTED_SCHEMA)


def _with_segments(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, mapping: Mapping, events: pa.Table, number: Longs
) -> pa.Table:
    """Events with the columns of the export that are carried along."""
    if not mapping.segments:
        return events
    pairs = zip(in_raw(raw, mapping.segments), mapping.segments, strict=True)
    chosen = ", ".join(f"CAST(raw.{quoted(written)} AS VARCHAR) AS {quoted(name)}" for written, name in pairs)
    carried = _of_rows(connection, raw, number, chosen)
    for name in mapping.segments:
        events = events.append_column(name, carried[name])
    return events


def _of_rows(connection: duckdb.DuckDBPyConnection, raw: RawTable, number: Longs, columns: str) -> pa.Table:
    """Columns (SQL, of table `raw`) of these rows of the export, one after the other."""
    connection.register("asked", pa.table({"__asked": number, "__place": np.arange(len(number))}))
    found = connection.sql(
        f"SELECT {columns} FROM {raw.name} AS raw JOIN asked ON raw.{NUMBER} = __asked ORDER BY __place"
    ).to_arrow_table()
    connection.unregister("asked")
    return found


# --- movements ------------------------------------------------------------------------------------------------------

KEEPS_A_LINE = ("not_revenue", "duplicate_id")
"""Rules whose rows say nothing of what holds."""


def _movements_as_periods(connection: duckdb.DuckDBPyConnection, has_change: bool) -> tuple[str, ...]:
    """Let each movement hold until the next one of its line: none of that day but the last, and 0 not at all.

    What holds is not known where a row of the line cannot be used: then none of it is.
    """
    saying_nothing = ", ".join(str(ONLY_ONE[name]) for name in KEEPS_A_LINE)
    connection.execute(
        f"""
        UPDATE typed SET rule = {ONLY_ONE["broken_line"]} FROM (
            SELECT DISTINCT account_id AS broken, contract_id AS of_contract FROM typed
            WHERE rule IS NOT NULL AND rule NOT IN ({saying_nothing}) AND account_id IS NOT NULL
        ) WHERE rule IS NULL AND account_id = broken AND contract_id = of_contract
        """
    )
    warnings = _missing_movements(connection) if has_change else ()
    line = f"PARTITION BY account_id, contract_id, rule IS NULL ORDER BY event_date, {NUMBER}"
    connection.execute(
        f"""
        CREATE TABLE following AS
        SELECT {NUMBER} AS number, amount_cents, lead(event_date) OVER ({line}) AS next_date,
               lag(amount_cents) OVER ({line}) AS before
        FROM typed WHERE rule IS NULL
        """
    )
    connection.execute(
        f"""
        UPDATE typed SET start_date = event_date, end_date = next_date, holds = following.amount_cents > 0,
               rule = CASE WHEN next_date = event_date THEN {RULE_PLACES["superseded", "event_date"]}
                           WHEN following.amount_cents = 0 AND coalesce(before, 0) = 0 THEN {ONLY_ONE["nothing_ended"]} END
        FROM following WHERE {NUMBER} = number
        """
    )
    return warnings


def _missing_movements(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """A warning where movements do not lead from one monthly amount to the next, or do not say from which."""
    wrong, silent, first = counts(
        connection,
        f"""
        SELECT count(*) FILTER (WHERE off), count(*) FILTER (WHERE off IS NULL), min({ROW}) FILTER (WHERE off) FROM (
            SELECT {ROW}, given - lag(given, 1, 0) OVER (
                PARTITION BY account_id, contract_id ORDER BY event_date, {NUMBER}) <> change AS off
            FROM typed JOIN raw_export USING ({NUMBER}) WHERE rule IS NULL
        )
        """,
    )
    return (
        *(
            (
                f"export: {wrong} movements do not lead from the amount before to theirs (the first in row {first}): rows seem "
                "to be missing; the amounts after them count",
            )
            if wrong
            else ()
        ),
        *((f"export: {silent} movements have no readable change and are not checked",) if silent else ()),
    )


# --- periods --------------------------------------------------------------------------------------------------------


def _period_events(connection: duckdb.DuckDBPyConnection, shape: str, as_of: date) -> tuple[pa.Table, Longs]:
    """Events of periods of prices, and the row of the export that each comes from; rows without effect are set aside."""
    found = connection.sql(
        f"""
        SELECT {NUMBER} AS number, account_id, contract_id, currency, start_date, end_date, amount_cents, term_months,
               dense_rank() OVER (ORDER BY account_id, contract_id) - 1 AS line
        FROM typed WHERE rule IS NULL AND holds ORDER BY line, start_date, {NUMBER}
        """
    ).to_arrow_table()
    known_day = int(np.datetime64(as_of, "D").astype(np.int64))
    day = "start_date" if shape == "periods" else "event_date"
    connection.execute(  # also ends of what begins after as_of
        f"UPDATE typed SET rule = {RULE_PLACES['after_as_of', day]} WHERE rule IS NULL AND start_date > DATE '{as_of}'"
    )
    line, number = (found[name].to_numpy().astype(np.int64) for name in ("line", "number"))
    start = whole_days(found["start_date"])
    end = found["end_date"].cast(pa.int32()).cast(pa.int64()).fill_null(OPEN).to_numpy()
    apart, known = _apart(line, start, end), start <= known_day
    refuse(connection, "overlapping_period", "start_date", number[~apart & known])
    found = found.filter(pa.array(apart & known))
    kept = apart & known
    periods = Periods(
        line=line[kept],
        start=start[kept],
        end=end[kept],
        price=found["amount_cents"].to_numpy().astype(np.int64),
        months=found["term_months"].to_numpy().astype(np.int64),
        row=np.arange(found.num_rows),
    )
    events = booked(periods, known_day)
    silent = np.setdiff1d(periods.row, events.row)
    goes_on = months_in_force(periods, events)[silent] == periods.months[silent]
    for rule, rows in (("nothing_new", silent[goes_on]), ("inside_other_term", silent[~goes_on])):
        refuse(connection, rule, day, number[kept][rows])
    days = pa.array(events.day.astype(np.int32)).cast(pa.date32())
    of_rows = found.take(pa.array(events.row))
    of_number = of_rows["number"].to_numpy().astype(np.int64)
    table = pa.table(
        {
            "event_id": _event_ids(of_number),
            "account_id": of_rows["account_id"],
            "contract_id": of_rows["contract_id"],
            "event_date": days,
            "kind": pa.array(KIND_NAMES).take(pa.array(events.kind)),
            "amount": pa.array(events.amount / 100, mask=~events.has_amount),
            "currency": of_rows["currency"],
            "start_date": days,
            "term_months": pa.array(events.months.astype(np.int32), mask=events.months == 0),
        }
    )
    return table, of_number


def _last_day_warning(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """A warning where most periods that follow one begin a day after its end: the ends are then last days."""
    following, next_day = counts(
        connection,
        f"""
        SELECT count(*) FILTER (WHERE gap >= 0), count(*) FILTER (WHERE gap = 1) FROM (
            SELECT start_date - lag(end_date) OVER (PARTITION BY account_id, contract_id ORDER BY start_date, {NUMBER}) AS gap
            FROM typed WHERE rule IS NULL
        )
        """,
    )
    if not next_day or 2 * next_day < following:
        return ()
    return (
        f"export: {next_day} of {following} periods begin a day after the end of the one before, which counts as a lapse of a "
        'day. If the ends are last days, say ends = "last day" in the mapping',
    )


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
    months = f"CASE WHEN end_date IS NULL THEN term_months ELSE {NEAREST_MONTHS} END"
    event_id = "event_id" if "event_id" in columns else f"printf('%09d', {NUMBER})"
    found = connection.sql(
        f"""
        SELECT {NUMBER} AS number, {event_id} AS event_id, account_id, contract_id, event_date, {kind} AS kind,
               amount_cents / 100.0 AS amount, currency, start_date, {months} AS term_months
        FROM typed WHERE rule IS NULL ORDER BY {NUMBER}
        """
    ).to_arrow_table()
    return found.drop_columns(["number"]), found["number"].to_numpy().astype(np.int64)


SERVED_DAYS = "date_diff('day', coalesce(start_date, event_date), end_date)"
NEAREST_MONTHS = f"greatest(1, CAST(round({SERVED_DAYS} / {DAYS_PER_MONTH}) AS INTEGER))"


def _month_warnings(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """Bookings whose end is not that of a whole number of months."""
    ends = f"CAST(coalesce(start_date, event_date) + to_months({NEAREST_MONTHS}) AS DATE)"
    off, most = counts(
        connection,
        f"""
        SELECT count(*), max(days) FROM (
            SELECT abs(date_diff('day', {ends}, end_date)) AS days FROM typed WHERE rule IS NULL AND end_date IS NOT NULL
        ) WHERE days > 1
        """,
    )
    if not off:
        return ()
    return (f"export: {off} terms end inside a month and count as the nearest whole months, at most {most} days off",)
