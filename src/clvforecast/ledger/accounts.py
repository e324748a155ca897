"""The accounts table of a ledger: segment levels and left truncation, one row an account that has events."""

import duckdb
import pyarrow as pa

from clvforecast.errors import LedgerError
from clvforecast.events import NOT_RECORDED
from clvforecast.ledger.checks import WHOLE_NUMBER, extra_columns, key_sql, level_sql, text_sql
from clvforecast.ledger.tables import NUMBER, ROW, SOURCE, RawTable, counts, first_row, literal, quoted

OBSERVED_FROM = "observed_from"
LARGEST_OBSERVED_FROM = 10_000  # earlier renewals; monthly contracts over eight centuries


def accounts_from_table(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> tuple[pa.Table, bool, list[str]]:
    """(accounts, has_observed_from, warnings) from a given table, for the accounts of table `accepted`."""
    if "account_id" not in raw.columns:
        raise LedgerError(
            f"accounts: no column account_id; found are {', '.join(raw.columns) or 'none'}. Rename the column."
        )
    segments = [name for name in raw.columns if name not in ("account_id", OBSERVED_FROM)]
    connection.execute(
        f"CREATE TABLE keyed AS SELECT * EXCLUDE (account_id), {key_sql(raw, 'account_id')} AS __account "
        f"FROM {raw.name}"
    )
    _refuse_unusable_keys(connection, raw)
    has_observed_from = OBSERVED_FROM in raw.columns
    if has_observed_from:
        _refuse_observed_from(connection)
    return (
        _joined_accounts(connection, segments, has_observed_from),
        has_observed_from,
        _account_warnings(connection),
    )


def accounts_from_events(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> tuple[pa.Table, bool, list[str]]:
    """The same from the events' own extra columns: text that is constant in each account is a segment."""
    extras = extra_columns(raw)
    text = [name for name in extras if raw.type_of(name) == "VARCHAR" or name == OBSERVED_FROM]
    constant = [name for name in text if _is_constant(connection, name)]
    segments = [name for name in constant if name != OBSERVED_FROM]
    taken = "".join(f", any_value({quoted(name)}) AS {quoted(name)}" for name in constant)
    connection.execute(
        f"""
        CREATE TABLE keyed AS
        SELECT account_id AS __account, min({SOURCE}) AS {SOURCE}, min({ROW}) AS {ROW}{taken}
        FROM accepted JOIN (SELECT {NUMBER}, {SOURCE}, {ROW} FROM {raw.name}) USING ({NUMBER})
        GROUP BY account_id
        """
    )
    has_observed_from = OBSERVED_FROM in constant
    if has_observed_from:
        _refuse_observed_from(connection)
    left_out = [name for name in extras if name not in constant]
    warnings = []
    if left_out:
        warnings.append(
            f"events: {', '.join(left_out)} not used as segments (not text, or not the same in all events "
            "of an "
            "account); give an accounts table to set segments"
        )
    return _joined_accounts(connection, segments, has_observed_from), has_observed_from, warnings


def _is_constant(connection: duckdb.DuckDBPyConnection, column: str) -> bool:
    varying = f"SELECT 1 FROM accepted GROUP BY account_id HAVING count(DISTINCT {level_sql(column)}) > 1 LIMIT 1"
    return first_row(connection, varying) is None


def _refuse_unusable_keys(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> None:
    missing = first_row(
        connection, f"SELECT {SOURCE}, {ROW} FROM keyed WHERE __account IS NULL ORDER BY {NUMBER} LIMIT 1"
    )
    if missing:
        raise LedgerError(f"{missing[0]} row {missing[1]}: no account_id. Give every account its id, or drop the row.")
    copies = connection.execute(
        f"""
        SELECT __account, count(*), string_agg({ROW}, ', ' ORDER BY {NUMBER}) FROM keyed
        GROUP BY __account HAVING count(*) > 1 ORDER BY __account LIMIT 3
        """
    ).fetchall()
    if copies:
        shown = "; ".join(f"{account!r} {count} times (rows {rows})" for account, count, rows in copies)
        raise LedgerError(f"accounts: account_id must be unique, but: {shown}. Keep one row an account.")


def _refuse_observed_from(connection: duckdb.DuckDBPyConnection) -> None:
    text = text_sql(OBSERVED_FROM)
    bad = first_row(
        connection,
        f"""
        SELECT {SOURCE}, {ROW}, __account, {text} FROM keyed
        WHERE lower({text}) <> 'nan'
          AND NOT coalesce(regexp_matches({text}, {literal(WHOLE_NUMBER)})
                           AND TRY_CAST({text} AS DOUBLE) <= {LARGEST_OBSERVED_FROM}, false)
        ORDER BY __account LIMIT 1
        """,
    )
    if bad:
        raise LedgerError(
            f"{bad[0]} row {bad[1]} (account {bad[2]!r}): observed_from is {bad[3]!r}; it counts the "
            "renewals before "
            f"the account is first seen, a whole number from 0 to {LARGEST_OBSERVED_FROM}, or empty when "
            "unknown."
        )


def _joined_accounts(connection: duckdb.DuckDBPyConnection, segments: list[str], has_observed_from: bool) -> pa.Table:
    """Without the column every account counts as seen from its start; with it, empty is unknown (null)."""
    levels = "".join(f", {level_sql(name)} AS {quoted(name)}" for name in segments)
    whole = f"CAST(TRY_CAST(nullif(lower({text_sql(OBSERVED_FROM)}), 'nan') AS DOUBLE) AS INTEGER)"
    observed_from = whole if has_observed_from else "0::INTEGER"
    return connection.sql(
        f"""
        SELECT known.account_id{levels}, {observed_from} AS {OBSERVED_FROM}
        FROM (SELECT DISTINCT account_id FROM accepted) AS known
        LEFT JOIN keyed ON known.account_id = keyed.__account
        ORDER BY known.account_id
        """
    ).to_arrow_table()


def _account_warnings(connection: duckdb.DuckDBPyConnection) -> list[str]:
    without_row, without_events, matched = counts(
        connection,
        """
        SELECT count(*) FILTER (WHERE __account IS NULL), count(*) FILTER (WHERE account_id IS NULL),
               count(*) FILTER (WHERE account_id = __account)
        FROM (SELECT DISTINCT account_id FROM accepted) AS known FULL JOIN keyed ON account_id = __account
        """,
    )
    if without_row and without_events and not matched:
        of_events, of_accounts = (
            first_row(connection, f"SELECT min({name}) FROM {table}")
            for name, table in (("account_id", "accepted"), ("__account", "keyed"))
        )
        raise LedgerError(
            f"accounts: not one of the {without_events} accounts of the table has events (the events have accounts such as "
            f"{of_events[0] if of_events else None!r}, the table {of_accounts[0] if of_accounts else None!r}). Write the ids "
            "alike: letters, leading zeros, text or number."
        )
    warnings = []
    if without_row:
        warnings.append(
            f"accounts: {without_row} accounts with events have no row; their segments are {NOT_RECORDED!r} "
            "and "
            "their observed_from is unknown where the column is given"
        )
    if without_events:
        warnings.append(f"accounts: {without_events} rows have no accepted events and are left out")
    return warnings
