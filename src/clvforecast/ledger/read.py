"""`read_ledger`: from any input table to a checked `Ledger`."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.errors import LedgerError
from clvforecast.events import COLUMN_NAMES
from clvforecast.ledger import checks
from clvforecast.ledger.accounts import accounts_from_events, accounts_from_table, told_by_table
from clvforecast.ledger.duck import another
from clvforecast.ledger.known import as_day, fingerprint_of, split
from clvforecast.ledger.notes import none_usable, rejection_warnings, value_warnings
from clvforecast.ledger.originals import as_rejected
from clvforecast.ledger.records import Ledger, Totals, balanced, totals_of_broken
from clvforecast.ledger.rows import Unbroken, event_table, reject_copies, reject_misplaced, unbroken_rows
from clvforecast.ledger.suspicions import suspicions
from clvforecast.ledger.tables import RawTable, connect, read_table
from clvforecast.ledger.texts import number_texts

LARGEST_TOTAL_CENTS = 2**62  # sums of cents, of either sign, stay inside int64


def read_ledger(
    events: Any, accounts: Any = None, as_of: date | str | None = None, grace_days: int | None = None
) -> Ledger:
    """Read revenue events, check every row, and keep what is known on `as_of`.

    Parameters
    ----------
    events
        pandas, Polars or PySpark DataFrame, pyarrow Table, DuckDB relation, or a path or glob of CSV or
        Parquet files, with the columns of `events.COLUMNS`; extra columns are carried along. CSV values are
        read as text: dates YYYY-MM-DD, plain numbers.
    accounts
        The same kinds of input: account_id (unique), any segment columns, observed_from. Without it, extra
        text columns of the events that are constant in each account become the segments.
    as_of
        Day of knowledge: later bookings are kept aside. The latest event_date when not given.
    grace_days
        Longest gap in days between two terms of one spell; None: min(92, max(15, a quarter of the previous
        term)).

    Returns
    -------
    Ledger
        Every input row is in exactly one of events, later and rejected_rows.

    Raises
    ------
    LedgerError
        The input as a whole cannot be used: unreadable file, missing column, no usable row, mixed currency,
        an accounts table with copies or an impossible observed_from.

    Examples
    --------
    >>> import pandas as pd
    >>> events = pd.DataFrame({
    ...     "account_id": ["a", "a", "b"], "event_date": ["2023-01-01", "2024-01-01", "2024-13-01"],
    ...     "kind": ["initial", "renewal", "initial"], "amount": [1200.0, 1320.0, 500.0],
    ...     "currency": "USD", "term_months": 12})
    >>> ledger = read_ledger(events)
    >>> ledger.as_of.isoformat(), ledger.events.num_rows
    ('2024-01-01', 2)
    >>> ledger.rejected[["row", "column", "value", "rule"]].values.tolist()
    [[3, 'event_date', '2024-13-01', 'unreadable_date']]
    """
    if grace_days is not None and (isinstance(grace_days, bool) or int(grace_days) != grace_days or grace_days < 0):
        raise LedgerError(f"grace_days is {grace_days!r}; give a whole number of days from 0 on, or None.")
    with connect() as connection, ThreadPoolExecutor(1) as aside:
        raw = read_table(connection, events, "events", COLUMN_NAMES)
        told = None if accounts is None else aside.submit(told_by_table, another(connection), accounts)
        checks.check_columns(raw)
        texts = number_texts(connection, raw)
        checks.judge_rows(connection, raw)
        read = _read_totals(connection) + totals_of_broken(raw.broken.num_rows)
        reject_copies(connection, raw)
        unbroken = unbroken_rows(connection, texts)
        reject_misplaced(connection, unbroken)
        rejected = as_rejected(connection, [(raw, 0)], connection.sql(checks.rejected_sql(raw)).to_arrow_table())
        _refuse_empty(raw, rejected, unbroken)
        currency = _single_currency(connection)
        kept = event_table(connection, raw, unbroken, currency)
        day = pc.max(kept["event_date"]).as_py() if as_of is None else as_day(as_of, "as_of")
        known, later = split(kept, day)
        account_ids = unbroken.account_ids()
        if told is None:
            table, has_observed_from, account_warnings = accounts_from_events(connection, raw, account_ids)
        else:
            table, has_observed_from, account_warnings = accounts_from_table(told.result(), account_ids)
        warnings = (*rejection_warnings(rejected), *value_warnings(connection, raw), *account_warnings)
    pa.default_memory_pool().release_unused()
    grace = None if grace_days is None else int(grace_days)
    suspected = suspicions(known, later, day)
    ledger = Ledger(
        events=known,
        later=later,
        rejected_rows=rejected,
        accounts=table,
        has_observed_from=has_observed_from,
        as_of=day,
        currency=currency,
        grace_days=grace,
        warnings=(*warnings, *suspected),
        suspicions=suspected,
        fingerprint=fingerprint_of(known, later, table, grace),
        read=read,
    )
    return balanced(ledger)


def _refuse_empty(raw: RawTable, rejected: pa.Table, unbroken: Unbroken) -> None:
    if unbroken.any_accepted:
        return
    if rejected.num_rows == 0:
        raise LedgerError(f"{raw.label}: the table holds no rows. Check the source and its filters.")
    raise LedgerError(none_usable(raw.label, rejected.num_rows, rejected), rejected)


def _single_currency(connection: duckdb.DuckDBPyConnection) -> str:
    currencies = connection.execute(
        "SELECT currency, count(*), sum(abs(amount_cents)) FROM unbroken GROUP BY currency ORDER BY 2 DESC, 1"
    ).fetchall()
    if len(currencies) > 1:
        shown = ", ".join(f"{currency} ({rows} rows)" for currency, rows, _ in currencies)
        raise LedgerError(
            f"events: column currency holds {shown}; one ledger has one reporting currency. Convert the "
            "amounts to "
            "one currency first, or read one ledger a currency."
        )
    currency, _, total = currencies[0]
    if total is not None and total > LARGEST_TOTAL_CENTS:
        raise LedgerError(
            f"events: the amounts add up to {float(total) / 100:.3g} {currency}, more than can be counted "
            "exactly in "
            "cents. Check the unit of column amount."
        )
    return str(currency)


def _read_totals(connection: duckdb.DuckDBPyConnection) -> Totals:
    return Totals.of(
        connection.execute(
            f"""
            SELECT {checks.readable_currency_sql("currency")} AS readable, sum(rows), sum(with_amount), sum(cents) FROM (
                SELECT currency, count(*) AS rows, count(amount_cents) AS with_amount, coalesce(sum(amount_cents), 0) AS cents
                FROM parsed GROUP BY currency
            ) GROUP BY readable
            """
        ).fetchall()
    )
