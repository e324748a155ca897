"""What is known on a day: the accepted events that can be used then, and the others with the reason."""

from collections.abc import Iterator
from datetime import date, datetime
from hashlib import sha256

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.errors import LedgerError
from clvforecast.events import EVENT_ORDER, EVENT_SCHEMA
from clvforecast.ledger.checks import coverage_sql, misplaced_sql
from clvforecast.ledger.tables import NUMBER, connect, counts, literal, quoted

OWN_COLUMNS = frozenset((*EVENT_SCHEMA.names, "observed_from"))


def as_day(value: date | str, name: str) -> date:
    if isinstance(value, datetime):  # also pandas.Timestamp
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise LedgerError(f"{name} is {value!r}; give a datetime.date or a text like '2024-06-30'.") from error


def split(connection: duckdb.DuckDBPyConnection, as_of: date, schema: pa.Schema) -> tuple[pa.Table, pa.Table]:
    """(events, later): the rows of table `accepted` usable on `as_of`, and the others with the reason."""
    order = ", ".join((*EVENT_ORDER, NUMBER))
    connection.execute(
        f"""
        CREATE TABLE placed AS
        WITH misplaced AS (
            SELECT {NUMBER}, {misplaced_sql()} AS rule
            FROM ({coverage_sql("accepted", known_by=str(as_of))})
            JOIN (SELECT {NUMBER}, kind, start_date FROM accepted) USING ({NUMBER})
        )
        SELECT accepted.*,
               CASE WHEN accepted.event_date > DATE {literal(str(as_of))} THEN 'booked after as_of'
                    WHEN misplaced.rule IS NOT NULL THEN 'its term is booked after as_of' END AS reason
        FROM accepted LEFT JOIN misplaced USING ({NUMBER})
        """
    )
    events, later = (
        connection.sql(
            f"SELECT * EXCLUDE ({NUMBER}) FROM placed WHERE reason IS {condition} ORDER BY {order}"
        ).to_arrow_table()
        for condition in ("NULL", "NOT NULL")
    )
    if events.num_rows == 0:
        (first,) = counts(connection, "SELECT min(event_date) FROM accepted")
        raise LedgerError(f"no event is booked by as_of {as_of}; the first is booked on {first}. Choose a later as_of.")
    return events.drop_columns(["reason"]).cast(schema), later.cast(schema.append(pa.field("reason", pa.string())))


def fingerprint_of(events: pa.Table, later: pa.Table, accounts: pa.Table, grace_days: int | None) -> str:
    """SHA-256 of the tables' content; as their rows have one order, it does not depend on that of the input."""
    found = sha256(f"grace {grace_days}".encode())
    for name, table in (("events", events), ("later", later), ("accounts", accounts)):
        found.update(f"\n{name} {table.num_rows}".encode())
        for column, values in zip(table.column_names, _extras_as_text(table).columns, strict=True):
            found.update(f"\n{column}\n".encode())
            for part in _content(values.combine_chunks()):
                found.update(part)
    return found.hexdigest()


def _extras_as_text(table: pa.Table) -> pa.Table:
    """What is only carried along as text: a CSV file and a typed table of the same values are the same ledger."""
    extras = [
        name for name in table.column_names if name not in OWN_COLUMNS and not pa.types.is_string(table[name].type)
    ]
    if not extras:
        return table
    with connect() as connection:
        connection.register("extras", table.select(extras))
        texts = connection.sql(f"SELECT {', '.join(f'CAST({quoted(name)} AS VARCHAR)' for name in extras)} FROM extras")
        for name, values in zip(extras, texts.to_arrow_table().columns, strict=True):
            table = table.set_column(table.column_names.index(name), name, values)
    return table


def _content(values: pa.Array) -> Iterator[bytes]:
    """Which values there are, and the values: what nulls hide does not count."""
    yield np.packbits(values.is_valid().to_numpy(zero_copy_only=False)).tobytes()
    if pa.types.is_date32(values.type):
        values = values.cast(pa.int32())
    if pa.types.is_integer(values.type):
        yield values.fill_null(0).to_numpy(zero_copy_only=False).tobytes()
        return
    texts = values.fill_null("").cast(pa.large_string())
    yield pc.binary_length(texts).to_numpy(zero_copy_only=False).tobytes()
    ends = np.frombuffer(texts.buffers()[1], dtype=np.int64)[[texts.offset, texts.offset + len(texts)]]
    yield texts.buffers()[2][ends[0] : ends[1]].to_pybytes() if ends[1] > ends[0] else b""
