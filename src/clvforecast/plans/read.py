"""`read_plans`: from any input table to checked `Plans`.

As in the ledger, the rules of a row alone are one SQL statement over the table as it was read.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from clvforecast.errors import PlanError
from clvforecast.events import FIRST_DAY, LARGEST_AMOUNT, LAST_DAY, LONGEST_TERM_MONTHS
from clvforecast.ledger import Ledger
from clvforecast.ledger.checks import (
    PLAIN_NUMBER,
    WHOLE_NUMBER,
    currency_sql,
    date_sql,
    decimal_sql,
    half_even_cents_sql,
    key_sql,
    refuse_nested,
    text_sql,
)
from clvforecast.ledger.notes import counts_by_rule, none_usable
from clvforecast.ledger.originals import as_rejected
from clvforecast.ledger.tables import NUMBER, ROW, SOURCE, RawTable, connect, counts, literal, quoted, read_table
from clvforecast.plans.records import Plans
from clvforecast.plans.steps import (
    COLUMN_NAMES,
    DEFAULT_RENEWAL_DAYS,
    DEFAULT_WINDOW_DAYS,
    LONGEST_WINDOW_DAYS,
    REQUIRED_COLUMNS,
    RULES,
    STEP_KINDS,
    STEP_ORDER,
    STEP_SCHEMA,
)

SAID = ("account_id", "planned_date", "kind", "amount_cents", "term_months", "probability", "recorded_on")
"""What a row without a step_id says: two that say the same are one step, whoever stated it."""


def read_plans(
    table: Any,
    ledger: Ledger | None = None,
    window_days: int = DEFAULT_WINDOW_DAYS,
    renewal_days: int = DEFAULT_RENEWAL_DAYS,
) -> Plans:
    """Read the steps of lifecycle plans and check every row.

    Parameters
    ----------
    table
        pandas, Polars or PySpark DataFrame, pyarrow Table, DuckDB relation, or a path or glob of CSV or Parquet files, with
        the columns of `plans.steps.COLUMNS`: account_id, planned_date, kind (renewal, expansion, contraction, change_order)
        and amount, as of an event all that it adds: of a renewal over its next term (it may be empty), of an expansion or
        contraction until the current term ends; term_months, probability (0 to 1), recorded_on, step_id, csm, currency, note
        where they are known. Columns may come in any letter case; others are left out. Of rows without a step_id that say the
        same one is the step and the others are rejected.
    ledger
        With it, steps of accounts that it does not have, or in another currency, are rejected.
    window_days
        A step is hit when it comes at most so many days before or after its planned day; of a renewal, the term that it
        renews must end in that time.
    renewal_days
        A renewal is hit when it is booked at most so many days after its planned day.

    Returns
    -------
    Plans
        Every input row is in exactly one of `Plans.accepted` and `Plans.rejected`. Of a table without rows, as a day without
        plans has it, there are no steps, and `Plans.warnings` says so.

    Raises
    ------
    PlanError
        A missing column, window_days or renewal_days out of range, or rows of which none can be used: they are in its
        ``rejected``, with their reasons.
    LedgerError
        The file or table cannot be read at all.

    Examples
    --------
    >>> import pandas as pd
    >>> plans = read_plans(pd.DataFrame({
    ...     "account_id": ["a", "a", "b"], "planned_date": ["2025-01-01", "2025-03-01", "2025-02-01"],
    ...     "kind": ["renewal", "expansion", "expansion"], "amount": [12000.0, 3000.0, -50.0],
    ...     "probability": [0.9, 0.4, 0.5]}))
    >>> plans
    <Plans: 2 steps of 1 accounts, 2025-01-01 to 2025-03-01, 1 rows rejected>
    >>> plans.rejected[["row", "column", "value", "rule"]].values.tolist()
    [[3, 'amount', '-50.0', 'wrong_sign']]
    """
    _check_days("window_days", window_days, 1, DEFAULT_WINDOW_DAYS)
    _check_days("renewal_days", renewal_days, window_days, DEFAULT_RENEWAL_DAYS)
    with connect() as connection:
        raw = read_table(connection, table, "plans", COLUMN_NAMES)
        _check_columns(raw)
        _judge_rows(connection, raw, ledger, int(window_days), int(renewal_days))
        rejected = as_rejected(connection, [(raw, 0)], connection.sql(_rejected_sql(raw)).to_arrow_table())
        rejected = rejected.rename_columns(
            ["step_id" if name == "event_id" else name for name in rejected.column_names]
        )
        steps = connection.sql(_accepted_sql()).to_arrow_table().cast(STEP_SCHEMA)
        (read,) = counts(connection, f"SELECT count(*) FROM {raw.name}")
    read += raw.broken.num_rows
    if steps.num_rows == 0 and rejected.num_rows:
        _refuse_all(rejected)
    if steps.num_rows + rejected.num_rows != read:
        raise AssertionError(
            f"{read} rows of plans were read, {steps.num_rows} accepted and {rejected.num_rows} rejected; please report this."
        )
    return Plans(steps, rejected, int(window_days), int(renewal_days), _warnings(read, rejected))


def rejected_plans(error: PlanError) -> Plans:
    """Of a table no row of which can be used, with the error that said so: no steps, and all its rows rejected."""
    assert error.rejected is not None
    none = STEP_SCHEMA.empty_table()
    warnings = _warnings(error.rejected.num_rows, error.rejected)
    return Plans(none, error.rejected, DEFAULT_WINDOW_DAYS, DEFAULT_RENEWAL_DAYS, warnings)


def _check_days(name: str, days: int, least: int, usual: int) -> None:
    if isinstance(days, bool) or int(days) != days or not least <= days <= LONGEST_WINDOW_DAYS:
        raise PlanError(
            f"{name}={days!r}: give whole days from {least} to {LONGEST_WINDOW_DAYS}, for example {max(least, usual)}."
        )


def _check_columns(raw: RawTable) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in raw.columns]
    if missing:
        raise PlanError(
            f"plans: no column {', '.join(missing)}; found are {', '.join(raw.columns) or 'none'}. Rename the columns to the "
            f"schema of plans ({', '.join(COLUMN_NAMES)})."
        )
    refuse_nested(raw, [name for name in raw.columns if name in COLUMN_NAMES])


def _refuse_all(rejected: pa.Table) -> None:
    """Not one row of many is hardly chance: most likely another file, another ledger, or columns of other meaning.

    A caller who goes on with no plans does so knowingly, by way of the error's `rejected`.
    """
    raise PlanError(none_usable("plans", rejected.num_rows, rejected), rejected)


def _warnings(read: int, rejected: pa.Table) -> tuple[str, ...]:
    if read == 0:
        return ("plans: the table holds no rows; check the source and its filters",)
    if rejected.num_rows == 0:
        return ()
    rows = "row" if rejected.num_rows == 1 else "rows"
    return (f"plans: {rejected.num_rows} {rows} rejected ({counts_by_rule(rejected)}); see plans.rejected",)


# --- typed values and rules -----------------------------------------------------------------------------------------


def _text(raw: RawTable, column: str) -> str:
    """The trimmed text of a value; blank, NaN and a column that is not there are null."""
    if column not in raw.columns:
        return "NULL::VARCHAR"
    text = text_sql(column)
    return f"CASE WHEN lower({text}) <> 'nan' THEN {text} END"


def _key(raw: RawTable, column: str) -> str:
    return key_sql(raw, column) if column in raw.columns else "NULL::VARCHAR"


def _date(raw: RawTable, column: str) -> str:
    return date_sql(raw, column)[0] if column in raw.columns else "NULL::DATE"


def _judge_rows(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, ledger: Ledger | None, window_days: int, renewal_days: int
) -> None:
    """Make the table `parsed`: one row a raw row, typed, with the place of the first rule that it breaks, or null."""
    known = pa.table({"known_id": pa.array([], pa.string())}) if ledger is None else _known_accounts(ledger)
    connection.register("known_accounts", known)
    currency = currency_sql("currency") if "currency" in raw.columns else "NULL::VARCHAR"
    kind = text_sql("kind")
    connection.execute(
        f"""
        CREATE TABLE parsed AS
        WITH typed AS (
            SELECT {NUMBER}, {_key(raw, "account_id")} AS account_id, {_key(raw, "step_id")} AS given_id,
                   CASE WHEN lower({kind}) IN ({", ".join(map(literal, STEP_KINDS))}) THEN lower({kind}) END AS kind,
                   {_text(raw, "planned_date")} IS NULL AS no_date, {_date(raw, "planned_date")} AS planned_date,
                   {_text(raw, "recorded_on")} IS NOT NULL AS has_recorded, {_date(raw, "recorded_on")} AS recorded_on,
                   {_text(raw, "amount")} AS amount_text, {_text(raw, "term_months")} AS term_text,
                   {_text(raw, "probability")} AS probability_text, {_key(raw, "csm")} AS csm, {currency} AS currency,
                   {_text(raw, "note")} AS note
            FROM {raw.name}
        ), numbers AS (
            SELECT *,
                   CASE WHEN regexp_matches(amount_text, {literal(PLAIN_NUMBER)}) THEN {decimal_sql("amount_text")} END AS exact,
                   CASE WHEN abs(exact) <= {LARGEST_AMOUNT} THEN CAST(exact AS DECIMAL(38, 2)) END AS nearest,
                   {half_even_cents_sql()} AS amount_cents,
                   CASE WHEN regexp_matches(term_text, {literal(WHOLE_NUMBER)}) THEN CAST(CAST(term_text AS DOUBLE) AS INTEGER)
                   END AS months,
                   CASE WHEN regexp_matches(probability_text, {literal(PLAIN_NUMBER)}) THEN TRY_CAST(probability_text AS DOUBLE)
                   END AS probability
            FROM typed
        ), judged AS (
            SELECT numbers.*, CASE WHEN kind = 'renewal' THEN months END AS term_months,
                   {_first_broken(ledger, window_days, renewal_days)} AS rule
            FROM numbers LEFT JOIN known_accounts ON account_id = known_id
        )
        SELECT * EXCLUDE (rule), coalesce(rule,
                   CASE WHEN given_id IS NOT NULL AND row_number() OVER (
                       PARTITION BY account_id, given_id, rule IS NULL
                       ORDER BY recorded_on NULLS LAST, planned_date, kind, amount_cents, term_months, probability, csm, {NUMBER}
                   ) > 1 THEN {_place("duplicate_step")} END,
                   CASE WHEN given_id IS NULL AND row_number() OVER (
                       PARTITION BY {", ".join(SAID)}, given_id, rule IS NULL ORDER BY csm NULLS LAST, note NULLS LAST, {NUMBER}
                   ) > 1 THEN {_place("repeated_step")} END) AS rule
        FROM judged
        """
    )
    connection.unregister("known_accounts")


def _known_accounts(ledger: Ledger) -> pa.Table:
    return pa.table({"known_id": ledger.accounts["account_id"]})


def _place(rule: str) -> int:
    return [known.name for known in RULES].index(rule)


def _first_broken(ledger: Ledger | None, window_days: int, renewal_days: int) -> str:
    days = f"DATE {literal(str(FIRST_DAY))} AND DATE {literal(str(LAST_DAY))}"
    last = f"CASE WHEN kind = 'renewal' THEN {renewal_days} ELSE {window_days} END"
    conditions = {
        "missing_account": "account_id IS NULL",
        "unknown_account": "false" if ledger is None else "known_id IS NULL",
        "unknown_kind": "kind IS NULL",
        "missing_date": "no_date",
        "unreadable_date": "planned_date IS NULL",
        "unreadable_recorded_on": "has_recorded AND recorded_on IS NULL",
        "date_out_of_range": f"planned_date NOT BETWEEN {days}",
        "recorded_out_of_range": f"recorded_on NOT BETWEEN {days}",
        "missing_amount": "amount_text IS NULL AND kind <> 'renewal'",
        "unreadable_amount": f"NOT regexp_matches(amount_text, {literal(PLAIN_NUMBER)})",
        "amount_out_of_range": "amount_text IS NOT NULL AND amount_cents IS NULL",
        "wrong_sign": "CASE WHEN kind = 'contraction' THEN amount_cents >= 0 ELSE amount_cents <= 0 END",
        "other_currency": "false" if ledger is None else f"currency <> {literal(ledger.currency)}",
        "invalid_term": f"kind = 'renewal' AND term_text IS NOT NULL "
        f"AND coalesce(months NOT BETWEEN 1 AND {LONGEST_TERM_MONTHS}, true)",
        "invalid_probability": "probability_text IS NOT NULL AND coalesce(probability NOT BETWEEN 0 AND 1, true)",
        "recorded_after_window": f"recorded_on >= planned_date + {last}",
    }
    cases = " ".join(f"WHEN {condition} THEN {_place(rule)}" for rule, condition in conditions.items())
    return f"CASE {cases} END"


def _accepted_sql() -> str:
    """The accepted steps in canonical order; those without a step_id are named by kind and day, further ones numbered."""
    return f"""
        SELECT account_id, coalesce(given_id, printf('%s %s', kind, planned_date) || CASE WHEN twin > 1 THEN printf(' #%d', twin)
               ELSE '' END) AS step_id, planned_date, kind, amount_cents, term_months, probability, recorded_on, csm, note
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY account_id, planned_date, kind, given_id
                ORDER BY amount_cents, term_months, probability, recorded_on, csm, note, {NUMBER}
            ) AS twin
            FROM parsed WHERE rule IS NULL
        )
        ORDER BY {", ".join(STEP_ORDER)}
    """


def _rejected_sql(raw: RawTable) -> str:
    """The rows that break a rule, as `ledger.originals.as_rejected` takes them."""
    rules = ", ".join(
        f"({place}, {literal(r.name)}, {literal(r.column)}, {literal(r.hint)})" for place, r in enumerate(RULES)
    )
    shown = {rule.column for rule in RULES} & set(raw.columns)
    cases = " ".join(f"WHEN {literal(column)} THEN CAST(raw.{quoted(column)} AS VARCHAR)" for column in sorted(shown))
    currency = (
        f"CASE WHEN regexp_matches({currency_sql('currency')}, '^[A-Z]{{3}}$') THEN {currency_sql('currency')} END"
    )
    return f"""
        SELECT {NUMBER}, CAST(raw.{SOURCE} AS VARCHAR) AS source, raw.{ROW} AS row, parsed.given_id AS event_id,
               parsed.account_id, place AS "column", CASE place {cases} END AS value, name AS rule, hint,
               parsed.amount_text AS amount, parsed.amount_cents,
               {currency if "currency" in raw.columns else "NULL::VARCHAR"} AS currency
        FROM (SELECT {NUMBER}, given_id, account_id, amount_text, amount_cents, rule FROM parsed WHERE rule IS NOT NULL) AS parsed
        JOIN (VALUES {rules}) AS rules(code, name, place, hint) ON parsed.rule = code
        JOIN {raw.name} AS raw USING ({NUMBER})
        ORDER BY {NUMBER}
    """
