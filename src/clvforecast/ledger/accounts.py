"""The accounts table of a ledger: segment levels and left truncation, one row an account that has events."""

from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.errors import LedgerError
from clvforecast.events import NOT_RECORDED
from clvforecast.ledger.checks import WHOLE_NUMBER, extra_columns, key_sql, level_sql, text_sql
from clvforecast.ledger.tables import NUMBER, ROW, SOURCE, RawTable, counts, first_row, literal, quoted, read_table

OBSERVED_FROM = "observed_from"
LARGEST_OBSERVED_FROM = 10_000  # earlier renewals; monthly contracts over eight centuries


@dataclass(frozen=True)
class Told:
    """What an accounts table says: account_id, segment levels and observed_from; whether that column is there."""

    table: pa.Table
    has_observed_from: bool


def told_by_table(connection: duckdb.DuckDBPyConnection, accounts: Any) -> Told:
    """A given accounts table, checked."""
    raw = read_table(connection, accounts, "accounts", ("account_id", OBSERVED_FROM))
    if "account_id" not in raw.columns:
        raise LedgerError(
            f"accounts: no column account_id; found are {', '.join(raw.columns) or 'none'}. Rename the column."
        )
    _refuse_broken(raw)
    segments = [name for name in raw.columns if name not in ("account_id", OBSERVED_FROM)]
    connection.execute(
        f"CREATE TABLE keyed AS SELECT * EXCLUDE (account_id), {key_sql(raw, 'account_id')} AS __account "
        f"FROM {raw.name}"
    )
    _refuse_unusable_keys(connection, raw)
    has_observed_from = OBSERVED_FROM in raw.columns
    if has_observed_from:
        _refuse_observed_from(connection)
    return Told(_told(connection, segments, has_observed_from), has_observed_from)


def accounts_from_table(told: Told, account_ids: pa.Array) -> tuple[pa.Table, bool, list[str]]:
    """(accounts, has_observed_from, warnings) from a given table, for these accounts, which are in order."""
    row = pc.index_in(account_ids, told.table["account_id"])
    warnings = _account_warnings(account_ids, told.table, row)
    return _accounts(account_ids, told.table, row, told.has_observed_from), told.has_observed_from, warnings


def accounts_from_events(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, account_ids: pa.Array
) -> tuple[pa.Table, bool, list[str]]:
    """The same from the events' own extra columns: text that is constant in each account is a segment."""
    extras = extra_columns(raw)
    text = [name for name in extras if raw.type_of(name) == "VARCHAR" or name == OBSERVED_FROM]
    carried = "".join(f", raw.{quoted(name)}" for name in text)
    connection.execute(
        f"""
        CREATE VIEW carried AS
        SELECT {key_sql(raw, "account_id")} AS __account, raw.{SOURCE}, raw.{ROW}{carried}
        FROM unbroken JOIN {raw.name} AS raw USING ({NUMBER})
        """
    )
    constant = [name for name in text if _is_constant(connection, name)]
    segments = [name for name in constant if name != OBSERVED_FROM]
    taken = "".join(f", any_value({quoted(name)}) AS {quoted(name)}" for name in constant)
    connection.execute(
        f"""
        CREATE TABLE keyed AS
        SELECT __account, min(CAST({SOURCE} AS VARCHAR)) AS {SOURCE}, min({ROW}) AS {ROW}{taken}
        FROM carried GROUP BY __account
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
    told = _told(connection, segments, has_observed_from)
    row = pc.index_in(account_ids, told["account_id"])
    return _accounts(account_ids, told, row, has_observed_from), has_observed_from, warnings


def _is_constant(connection: duckdb.DuckDBPyConnection, column: str) -> bool:
    level = level_sql(column)
    varying = f"SELECT 1 FROM carried GROUP BY __account HAVING min({level}) <> max({level}) LIMIT 1"
    return first_row(connection, varying) is None


def _refuse_broken(raw: RawTable) -> None:
    """Of accounts no row can be left out: its segments would be lost."""
    for first in raw.broken.slice(0, 1).to_pylist():
        raise LedgerError(
            f"{first['source']} row {first['row']}: {first['rule']} ({first['value']}), one of {raw.broken.num_rows} broken "
            f"records; {first['hint']}."
        )


def _refuse_unusable_keys(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> None:
    missing = first_row(
        connection, f"SELECT {SOURCE}, {ROW} FROM keyed WHERE __account IS NULL ORDER BY {NUMBER} LIMIT 1"
    )
    if missing:
        raise LedgerError(f"{missing[0]} row {missing[1]}: no account_id. Give every account its id, or drop the row.")
    (repeated,) = counts(connection, "SELECT count(*) - count(DISTINCT __account) FROM keyed")
    if not repeated:
        return
    copies = connection.execute(
        f"""
        SELECT __account, count(*), string_agg({ROW}, ', ' ORDER BY {NUMBER}) FROM keyed
        GROUP BY __account HAVING count(*) > 1 ORDER BY __account LIMIT 3
        """
    ).fetchall()
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


def _told(connection: duckdb.DuckDBPyConnection, segments: list[str], has_observed_from: bool) -> pa.Table:
    """account_id, segment levels and observed_from of the rows of table `keyed`."""
    levels = "".join(f", {level_sql(name)} AS {quoted(name)}" for name in segments)
    whole = f"CAST(TRY_CAST(nullif(lower({text_sql(OBSERVED_FROM)}), 'nan') AS DOUBLE) AS INTEGER)"
    observed_from = whole if has_observed_from else "0::INTEGER"
    return connection.sql(
        f"SELECT __account AS account_id{levels}, {observed_from} AS {OBSERVED_FROM} FROM keyed"
    ).to_arrow_table()


def _accounts(account_ids: pa.Array, told: pa.Table, row: pa.Array, has_observed_from: bool) -> pa.Table:
    """The accounts with what `row` of the table says of each; a null row says nothing.

    Without the column observed_from every account counts as seen from its start; with it, empty is unknown (null).
    """
    of_accounts = told.take(row)
    columns = {"account_id": account_ids}
    for name in told.column_names[1:-1]:
        columns[name] = of_accounts[name].fill_null(NOT_RECORDED)
    observed_from = of_accounts[OBSERVED_FROM]
    columns[OBSERVED_FROM] = observed_from if has_observed_from else observed_from.fill_null(0)
    return pa.table(columns)


def _account_warnings(account_ids: pa.Array, told: pa.Table, row: pa.Array) -> list[str]:
    without_row = row.null_count
    matched = len(row) - without_row
    without_events = told.num_rows - matched
    if without_row and without_events and not matched:
        given = pc.min(told["account_id"]).as_py()
        raise LedgerError(
            f"accounts: not one of the {without_events} accounts of the table has events (the events have accounts such as "
            f"{account_ids[0].as_py()!r}, the table {given!r}). Write the ids "
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
