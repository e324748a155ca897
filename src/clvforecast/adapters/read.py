"""`read_export`: the export of another system, by a mapping, as a checked `Ledger`."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.adapters.bookings import booking_events, month_warnings
from clvforecast.adapters.formats import FORMATS
from clvforecast.adapters.joined import Source, written
from clvforecast.adapters.mapping import Mapping
from clvforecast.adapters.movements import movements_as_periods
from clvforecast.adapters.periods import last_day_warning, period_events
from clvforecast.adapters.rates import converted
from clvforecast.adapters.sources import open_source
from clvforecast.adapters.typed import amount_column, make_typed, set_aside
from clvforecast.errors import LedgerError
from clvforecast.events import FIRST_DAY, LAST_DAY, REJECTED_SCHEMA
from clvforecast.ledger import Ledger, Totals, read_ledger
from clvforecast.ledger.checks import readable_currency_sql
from clvforecast.ledger.known import as_day
from clvforecast.ledger.notes import counts_by_rule, none_usable
from clvforecast.ledger.originals import originals
from clvforecast.ledger.records import ExportPart, balanced, totals_of
from clvforecast.ledger.tables import NUMBER, ROW, SOURCE, connect, counts, plain_name, quoted

Longs = NDArray[np.int64]


def read_export(
    export: Any,
    mapping: Mapping | AnyMapping[str, Any] | str | Path | None = None,
    accounts: Any = None,
    as_of: date | str | None = None,
    grace_days: int | None = None,
    *,
    rates: Any = None,
    currency: str | None = None,
) -> Ledger:
    """Read the export of another system as revenue events.

    Parameters
    ----------
    export
        What `read_ledger` takes: a table, or paths or globs of CSV or Parquet files. Several tables of one system in a dict, or
        as files, which are told apart by their headers.
    mapping
        How its columns become events: a `Mapping`, a dict with its keys, or a TOML file; or a format that is known
        (`adapters.formats`) by its name, or in a dict or file as ``format``, with further keys over its own. Without it the
        format is recognised by the headers.
    accounts, as_of, grace_days
        As in `read_ledger`. An export of periods or movements needs `as_of`, the day of the export: until then what has no
        end has run.
    rates
        Table of exchange rates, for exports of several currencies: date, currency, rate (what one unit is worth in
        `currency`). An event takes the rate of its event_date, or of the last day before, at most `rates.OLDEST_DAYS` back.
    currency
        ISO 4217 code of the ledger: what `rates` convert into; without them that of all money, where the export names none.

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
    day = _checked_day(as_of)
    with connect() as connection:
        source = open_source(connection, export, mapping, currency if rates is None else None)
        if day is None and source.mapping.shape != "bookings":
            raise LedgerError("export: give as_of, the day of the export: until then what has no end has run.")
        make_typed(connection, source)
        warnings = value_warnings(connection)
        events, number, more = _events(connection, source, day)
        aside = set_aside(connection, source)
        rows = _check_counted(connection, source, aside, number)
        if not rows:
            raise LedgerError("export: the table holds no rows. Check the source and its filters.")
        if not events.num_rows:
            raise _nothing_usable(rows, aside)
        rated, numbers, unrated, told = converted(connection, events, number, rates, currency)
        lost = [_of_export(unrated, number)]
        aside = pa.concat_tables([aside, _as_read(connection, source, unrated, number)])
        if not rated.num_rows:
            raise _nothing_usable(rows, aside)
        rated = _with_segments(connection, source, rated, numbers)
        try:
            ledger = read_ledger(rated, accounts, as_of, grace_days)
        except LedgerError as error:
            if error.rejected is None:
                raise
            rejected = _as_read(connection, source, error.rejected, numbers)
            raise _nothing_usable(rows, pa.concat_tables([aside, rejected])) from error
        rejected = _as_read(connection, source, ledger.rejected_rows, numbers)
        lost.append(_of_export(ledger.rejected_rows, numbers))
        export = _export_parts(connection, source, np.concatenate(lost))
    if currency is not None and ledger.currency != currency:
        raise LedgerError(f"export: its money is in {ledger.currency}, not {currency}. Give rates to convert it.")
    whole = replace(
        ledger,
        rejected_rows=pa.concat_tables([aside, rejected]),
        read=ledger.read + totals_of(aside) + Totals(export_rows=rows),
        export=export,
        warnings=(
            *_format_note(source, mapping),
            *_aside_warning(aside, rows),
            *warnings,
            *more,
            *told,
            *ledger.warnings,
        ),
    )
    return balanced(whole)


def _nothing_usable(rows: int, rejected: pa.Table) -> LedgerError:
    return LedgerError(none_usable("export", rows, rejected), rejected)


def _checked_day(as_of: date | str | None) -> date | None:
    day = None if as_of is None else as_day(as_of, "as_of")
    if day is not None and not FIRST_DAY <= day <= LAST_DAY:
        raise LedgerError(f"as_of is {day}; days run from {FIRST_DAY} to {LAST_DAY}.")
    return day


def _events(
    connection: duckdb.DuckDBPyConnection, source: Source, day: date | None
) -> tuple[pa.Table, Longs, tuple[str, ...]]:
    """The events of an export, the row that each comes from, and what is odd about them."""
    shape = source.mapping.shape
    if shape == "bookings":
        return (*booking_events(connection, source), month_warnings(connection))
    assert day is not None
    warnings: tuple[str, ...] = ()
    if shape == "movements":
        warnings = movements_as_periods(connection, source)
    elif source.mapping.ends != "last day":
        warnings = last_day_warning(connection)
    return (*period_events(connection, shape, day), warnings)


def _check_counted(connection: duckdb.DuckDBPyConnection, source: Source, aside: pa.Table, number: Longs) -> int:
    """Rows of the export: each is used, or set aside; those used make events, but for movements that end what runs."""
    (sound,) = counts(connection, f"SELECT count(*) FROM {source.raw.name}")
    rows = sound + sum(raw.broken.num_rows for raw, _ in source.tables)
    used, held = counts(connection, "SELECT count(*), count(*) FILTER (WHERE holds) FROM typed WHERE rule IS NULL")
    made = len(np.unique(number))
    if rows != used + aside.num_rows or held != made:
        raise AssertionError(
            f"{rows} rows of the export are {used} used and {aside.num_rows} set aside; {made} of {held} make events"
        )
    return int(rows)


def _format_note(source: Source, mapping: Any) -> tuple[str, ...]:
    """What an export was taken for, where nobody said it."""
    said = mapping is not None and (not isinstance(mapping, AnyMapping) or "format" in mapping)
    if said or source.format is None:
        return ()
    return (f"export: read as {source.format}, {FORMATS[source.format].about}: so its columns tell",)


def _aside_warning(aside: pa.Table, rows: int) -> tuple[str, ...]:
    if not aside.num_rows:
        return ()
    return (f"export: {aside.num_rows} of {rows} rows set aside ({counts_by_rule(aside)}); see ledger.rejected",)


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


def _of_export(rejected: pa.Table, number: Longs) -> Longs:
    """The rows of the export that rejected events come from."""
    return number[rejected["row"].to_numpy() - 1]


def _export_parts(connection: duckdb.DuckDBPyConnection, source: Source, lost: Longs) -> tuple[ExportPart, ...]:
    """Rows and money of the export: read, and used or set aside, which the read are counted apart from."""
    connection.register("lost", pa.table({"row": np.unique(lost)}))
    placed = f"CASE WHEN rule IS NOT NULL OR {NUMBER} IN (SELECT row FROM lost) THEN 'set aside' ELSE 'used' END"
    code = readable_currency_sql("currency")
    found = [
        ExportPart(str(name), currency, int(rows), int(some), Decimal(amount or 0))
        for part in ("'read'", placed)
        for name, currency, rows, some, amount in connection.execute(
            f"SELECT {part}, {code}, count(*), count(own_amount), sum(own_amount) FROM typed GROUP BY 1, 2 ORDER BY 2"
        ).fetchall()
    ]
    connection.unregister("lost")
    broken = sum(raw.broken.num_rows for raw, _ in source.tables)
    more = [ExportPart(part, None, broken, 0, Decimal(0)) for part in ("read", "set aside") if broken]
    return tuple(_added(found + more))


def _added(parts: list[ExportPart]) -> Iterator[ExportPart]:
    """Parts of one name and currency as one."""
    for part, code in dict.fromkeys((part.part, part.currency) for part in parts):
        mine = [found for found in parts if (found.part, found.currency) == (part, code)]
        yield ExportPart(
            part,
            code,
            sum(found.rows for found in mine),
            sum(found.rows_with_amount for found in mine),
            sum((found.amount for found in mine), Decimal(0)),
        )


def _as_read(connection: duckdb.DuckDBPyConnection, source: Source, rejected: pa.Table, number: Longs) -> pa.Table:
    """Events that the ledger rejects, with the source, row and column of the export that they come from."""
    if not rejected.num_rows:
        return rejected
    place = f"CAST(raw.{SOURCE} AS VARCHAR) AS source, raw.{ROW} AS row"
    of_export = _of_export(rejected, number)
    found = _of_rows(connection, source, of_export, place)
    columns = {"amount": amount_column(source.columns), **source.columns}
    named = [source.header(columns.get(name, name)) for name in rejected["column"].to_pylist()]
    line, text = originals(connection, source.tables, of_export)
    as_written = {"source": found["source"], "row": found["row"], "line": line, "raw": text}
    if source.mapping.shape == "bookings":  # an event of a period has an amount of its own
        as_written |= _written_amounts(connection, rejected, of_export)
    for name, values in (as_written | {"column": pa.array(named, pa.string())}).items():
        rejected = rejected.set_column(rejected.column_names.index(name), name, values)
    return rejected.cast(REJECTED_SCHEMA)


def _written_amounts(
    connection: duckdb.DuckDBPyConnection, rejected: pa.Table, number: Longs
) -> dict[str, pa.ChunkedArray]:
    """Amounts, and the values of rules on amounts, as the export writes them."""
    connection.register("asked", pa.table({"asked_row": number, "place": np.arange(len(number))}))
    texts = connection.sql(
        f"SELECT amount_text FROM asked JOIN typed ON asked_row = {NUMBER} ORDER BY place"
    ).to_arrow_table()["amount_text"]
    connection.unregister("asked")
    of_amount = pc.equal(rejected["column"], "amount")
    return {"amount": texts, "value": pc.if_else(of_amount, texts, rejected["value"])}


def _with_segments(connection: duckdb.DuckDBPyConnection, source: Source, events: pa.Table, number: Longs) -> pa.Table:
    """Events with the columns of the export that are carried along."""
    segments = list(dict.fromkeys(source.mapping.segments))
    if not segments:
        return events
    there = written(source.raw)
    chosen = ", ".join(f"CAST(raw.{quoted(there[plain_name(name)])} AS VARCHAR) AS {quoted(name)}" for name in segments)
    carried = _of_rows(connection, source, number, chosen)
    for name in segments:
        events = events.append_column(name, carried[name])
    return events


def _of_rows(connection: duckdb.DuckDBPyConnection, source: Source, number: Longs, columns: str) -> pa.Table:
    """Columns (SQL, of table `raw`) of these rows of the export, one after the other."""
    connection.register("asked", pa.table({"the row": number, "the place": np.arange(len(number))}))
    found = connection.sql(
        f'SELECT {columns} FROM {source.raw.name} AS raw JOIN asked ON raw.{NUMBER} = asked."the row" ORDER BY asked."the place"'
    ).to_arrow_table()
    connection.unregister("asked")
    return found
