"""What is known on a day: the accepted events that can be used then, and the others with the reason."""

from collections.abc import Sequence
from datetime import date, datetime
from hashlib import sha256

import duckdb
import pyarrow as pa

from clvforecast.errors import LedgerError
from clvforecast.events import EVENT_ORDER
from clvforecast.ledger.checks import coverage_sql, misplaced_sql
from clvforecast.ledger.tables import NUMBER, connect, counts, literal, quoted


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
    """SHA-256 over the sorted MD5 digests of all rows, so that it depends on their content alone."""
    parts: Sequence[tuple[str, pa.Table]] = (("events", events), ("later", later), ("accounts", accounts))
    digests = []
    with connect() as connection:
        for name, table in parts:
            connection.register("kept_rows", table)
            values = ", ".join(f"coalesce(CAST({quoted(c)} AS VARCHAR), chr(30))" for c in table.column_names)
            (digest,) = counts(
                connection,
                f"SELECT sha256(coalesce(string_agg(digest, '' ORDER BY digest), '')) "
                f"FROM (SELECT md5(concat_ws(chr(31), {values})) AS digest FROM kept_rows)",
            )
            connection.unregister("kept_rows")
            digests.append(f"{name} {','.join(table.column_names)} {digest}")
    return sha256("\n".join((*digests, f"grace {grace_days}")).encode()).hexdigest()
