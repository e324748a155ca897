"""The rules of `events.py` as set operations: which rows of a raw events table are accepted, and why others
are not.

Each step is one SQL statement over the whole table; no row is looked at alone. The steps are
`raw_events` (as read) -> `parsed` (typed values) -> `judged` (first broken rule of the row alone) -> `passed`
(unbroken, copies out) -> `verdicts` (rule that needs the account's terms), all keyed by the running row
number.
"""

import duckdb

from clvforecast.errors import LedgerError
from clvforecast.events import (
    COLUMN_NAMES,
    FIRST_DAY,
    KINDS,
    LARGEST_AMOUNT,
    LAST_DAY,
    LONGEST_TERM_MONTHS,
    NOT_RECORDED,
    REQUIRED_COLUMNS,
    RESERVED_COLUMNS,
    RULES,
    SPREADABLE_KINDS,
    TERM_KINDS,
)
from clvforecast.ledger.tables import NUMBER, ROW, SOURCE, RawTable, counts, literal, quoted

ISO_DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?$"
MIDNIGHT = r"^[ T0:.]*$"
PLAIN_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
NOT_A_NUMBER = r"^[+-]?(nan|inf|infinity)$"
WHOLE_NUMBER = r"^\+?\d{1,9}(\.0*)?$"
LONGEST_READ = 999_999_999  # nine digits, as in text
WHOLE_TYPES = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
KIND_NAMES = tuple(kind.name for kind in KINDS)
WITH_TERM = TERM_KINDS + SPREADABLE_KINDS  # whose term_months are kept


def check_columns(raw: RawTable) -> None:
    """Raise LedgerError when a required column is absent, or a name is one the ledger itself adds."""
    missing = [name for name in REQUIRED_COLUMNS if name not in raw.columns]
    if missing:
        raise LedgerError(
            f"events: no column {', '.join(missing)}; found are {', '.join(raw.columns) or 'none'}. Rename "
            "the "
            f"columns to the event schema ({', '.join(COLUMN_NAMES)})."
        )
    taken = [name for name in raw.columns if name.lower() in RESERVED_COLUMNS]
    if taken:
        raise LedgerError(f"events: the ledger itself adds a column {', '.join(taken)}. Rename or drop yours.")


def extra_columns(raw: RawTable) -> list[str]:
    """The columns that are carried along as they are."""
    return [name for name in raw.columns if name not in COLUMN_NAMES]


def key_sql(raw: RawTable, column: str) -> str:
    """An identity as trimmed text; 101.0 (pandas' integers with gaps) is 101; blank is null."""
    name = quoted(column)
    if raw.type_of(column) in ("DOUBLE", "FLOAT"):
        whole = f"{name} = floor({name}) AND abs({name}) < 9e15"
        return f"CASE WHEN {whole} THEN CAST(CAST({name} AS BIGINT) AS VARCHAR) ELSE CAST({name} AS VARCHAR) END"
    return f"nullif(trim(CAST({name} AS VARCHAR)), '')"


def text_sql(column: str) -> str:
    return f"nullif(trim(CAST({quoted(column)} AS VARCHAR)), '')"


def level_sql(column: str) -> str:
    """A segment level: text, blank or null as `NOT_RECORDED`."""
    return f"coalesce({text_sql(column)}, {literal(NOT_RECORDED)})"


def sql_list(names: tuple[str, ...]) -> str:
    return "(" + ", ".join(literal(name) for name in names) + ")"


# --- typed values -------------------------------------------------------------------------------------------


def _date_sql(raw: RawTable, column: str) -> tuple[str, str]:
    """(the date, null when unreadable; whether a time of day was dropped): date, timestamp or ISO text."""
    name, kind = quoted(column), raw.type_of(column)
    if kind == "DATE":
        return name, "false"
    if kind.startswith("TIMESTAMP"):
        return f"CAST({name} AS DATE)", f"coalesce({name} <> CAST(CAST({name} AS DATE) AS {kind}), false)"
    text = text_sql(column)
    iso = f"regexp_matches({text}, {literal(ISO_DATE)})"
    clock = f"{iso} AND NOT regexp_matches({text}[11:], {literal(MIDNIGHT)})"
    return f"CASE WHEN {iso} THEN TRY_CAST({text}[:10] AS DATE) END", f"coalesce({clock}, false)"


def _blank_sql(raw: RawTable, column: str) -> str:
    """Whether nothing is given; numbers and days cannot be blank without being null."""
    kind = raw.type_of(column)
    plain = kind in (*WHOLE_TYPES, "DOUBLE", "DATE") or kind.startswith("TIMESTAMP")
    return f"{quoted(column)} IS NULL" if plain else f"{text_sql(column)} IS NULL"


def _plain_cents_sql(raw: RawTable) -> str:
    """Cents of an amount that is a number of whole cents already; null sends it the way of text, which decides all else.

    A float is one if it is the float nearest to its rounding: then its shortest text is that rounding.
    """
    kind = raw.type_of("amount")
    if kind in WHOLE_TYPES:
        return f"CASE WHEN abs(CAST(amount AS HUGEINT)) <= {LARGEST_AMOUNT} THEN CAST(amount AS BIGINT) * 100 END"
    if kind == "DOUBLE":
        cents = "round(amount * 100)"
        return f"CASE WHEN abs(amount) <= {LARGEST_AMOUNT} AND {cents} / 100 = amount THEN CAST({cents} AS BIGINT) END"
    return "NULL::BIGINT"


def _months_sql(raw: RawTable) -> tuple[str, str]:
    """(whether no term is given, its whole months, null when unreadable)."""
    name, kind = quoted("term_months"), raw.type_of("term_months")
    if kind in WHOLE_TYPES:
        return f"{name} IS NULL", f"CASE WHEN {name} BETWEEN 0 AND {LONGEST_READ} THEN CAST({name} AS INTEGER) END"
    if kind == "DOUBLE":
        whole = f"{name} BETWEEN 0 AND {LONGEST_READ} AND floor({name}) = {name}"
        return f"{name} IS NULL OR isnan({name})", f"CASE WHEN {whole} THEN CAST({name} AS INTEGER) END"
    text = f"nullif(lower({text_sql('term_months')}), 'nan')"
    whole = f"regexp_matches({text}, {literal(WHOLE_NUMBER)})"
    return f"{text} IS NULL", f"CASE WHEN {whole} THEN CAST(floor(CAST({text} AS DOUBLE)) AS INTEGER) END"


def parse(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> None:
    """Make the table `parsed`: one row a raw row, typed; unreadable values are null beside their text.

    Columns that come as dates and numbers are taken as such; what text alone can settle goes the way of text.
    """
    event_date, event_clock = _date_sql(raw, "event_date")
    has_start = "start_date" in raw.columns
    start_date, start_clock = _date_sql(raw, "start_date") if has_start else ("NULL::DATE", "false")
    event_id = key_sql(raw, "event_id") if "event_id" in raw.columns else f"printf('row-%09d', {NUMBER})"
    contract = f"coalesce({key_sql(raw, 'contract_id')}, '')" if "contract_id" in raw.columns else "''"
    no_term, term_months = _months_sql(raw)
    plain_cents = _plain_cents_sql(raw)
    connection.execute(
        f"""
        CREATE TABLE parsed AS
        WITH typed AS (
            SELECT {NUMBER}, {event_id} AS event_id, {key_sql(raw, "account_id")} AS account_id,
                   {contract} AS contract_id, lower({text_sql("kind")}) AS kind,
                   {_blank_sql(raw, "event_date")} AS no_date, {event_date} AS event_date,
                   {_blank_sql(raw, "start_date") if has_start else "true"} AS no_start,
                   {start_date} AS given_start,
                   {event_clock} OR {start_clock} AS has_clock,
                   {_blank_sql(raw, "amount")} AS no_amount, {plain_cents} AS plain_cents,
                   CASE WHEN {plain_cents} IS NULL THEN {text_sql("amount")} END AS amount_text,
                   upper({text_sql("currency")}) AS currency, {no_term} AS no_term, {term_months} AS term_months
            FROM {raw.name}
        ), numbers AS (
            SELECT *, coalesce(given_start, event_date) AS start_date,
                   regexp_matches(amount_text, {literal(PLAIN_NUMBER)}) AS amount_is_number,
                   CASE WHEN amount_is_number THEN TRY_CAST(amount_text AS DECIMAL(38, 18)) END AS exact,
                   CASE WHEN abs(exact) <= {LARGEST_AMOUNT} THEN CAST(exact AS DECIMAL(38, 2)) END AS nearest
            FROM typed
        )
        SELECT * EXCLUDE (nearest), coalesce(plain_cents, {_cents_sql()}) AS amount_cents FROM numbers
        """
    )


def _cents_sql() -> str:
    """Half-even cents. The cast to decimals rounds ties away from zero: an odd last digit steps back."""
    cents = "CAST(nearest * 100 AS BIGINT)"
    tie = f"abs(exact - nearest) = 0.005 AND {cents} % 2 <> 0"
    return f"{cents} - CASE WHEN {tie} THEN CAST(sign(nearest) AS BIGINT) ELSE 0 END"


# --- rules of a row alone -----------------------------------------------------------------------------------


def _sign_sql() -> str:
    broken = {
        "positive": "amount_cents <= 0",
        "negative": "amount_cents >= 0",
        "not positive": "amount_cents > 0",
    }
    return " OR ".join(f"(kind = {literal(kind.name)} AND {broken[kind.sign]})" for kind in KINDS)


def _row_conditions() -> dict[str, str]:
    """When a row breaks a rule, for the rules that need nothing but the row."""
    free = sql_list(tuple(kind.name for kind in KINDS if not kind.amount_required))
    days = f"DATE {literal(str(FIRST_DAY))} AND DATE {literal(str(LAST_DAY))}"
    needs_term, may_spread = f"kind IN {sql_list(TERM_KINDS)}", f"kind IN {sql_list(SPREADABLE_KINDS)}"
    return {
        "missing_account": "account_id IS NULL",
        "missing_event_id": "event_id IS NULL",
        "unknown_kind": f"kind IS NULL OR kind NOT IN {sql_list(KIND_NAMES)}",
        "missing_date": "no_date",
        "unreadable_date": "event_date IS NULL",
        "unreadable_start": "NOT no_start AND given_start IS NULL",
        "date_out_of_range": f"event_date NOT BETWEEN {days}",
        "start_out_of_range": f"start_date NOT BETWEEN {days}",
        "missing_amount": f"no_amount AND kind NOT IN {free}",
        "amount_not_finite": f"regexp_matches(lower(amount_text), {literal(NOT_A_NUMBER)})",
        "unreadable_amount": "NOT amount_is_number",
        "amount_out_of_range": "NOT no_amount AND amount_cents IS NULL",
        "wrong_sign": _sign_sql(),
        "missing_currency": "currency IS NULL",
        "invalid_currency": "NOT regexp_matches(currency, '^[A-Z]{3}$')",
        "missing_term": f"no_term AND {needs_term}",
        "invalid_term": (
            f"NOT no_term AND ({needs_term} OR {may_spread}) "
            f"AND coalesce(term_months NOT BETWEEN 1 AND {LONGEST_TERM_MONTHS}, true)"
        ),
    }


def judge_rows(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `judged` (row number, first broken rule) and `passed` (unbroken rows, each event_id once).

    Of several rows with one event_id the one booked first counts (ties: start, kind, amount, term, contract,
    and at last the order of the input), so that neither the order of
    the input nor a later copy changes what was known on a day.
    """
    conditions = _row_conditions()
    cases = " ".join(
        f"WHEN {conditions[rule.name]} THEN {literal(rule.name)}" for rule in RULES if rule.name in conditions
    )
    connection.execute(f"CREATE TABLE judged AS SELECT {NUMBER}, CASE {cases} END AS rule FROM parsed")
    by_term = f"kind IN {sql_list(WITH_TERM)}"
    connection.execute(
        f"""
        CREATE TABLE passed AS
        SELECT {NUMBER}, event_id, account_id, contract_id, event_date, kind, amount_cents, currency,
               start_date, CASE WHEN {by_term} THEN term_months END AS term_months
        FROM parsed JOIN judged USING ({NUMBER})
        WHERE rule IS NULL
        """
    )
    (copies,) = counts(connection, "SELECT count(*) - count(DISTINCT event_id) FROM passed")
    if copies:
        connection.execute(
            f"""
            CREATE OR REPLACE TABLE passed AS SELECT * FROM passed
            QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY event_date, account_id, start_date, kind,
                                       amount_cents, currency, term_months, contract_id, {NUMBER}) = 1
            """
        )


# --- rules that need the account's terms --------------------------------------------------------------------


def coverage_sql(rows: str, known_by: str | None = None) -> str:
    """For each row of the table `rows` that is no term: when its line's terms begin, and until when they
    cover it.

    A line is (account_id, contract_id). Rows without contract_id, in an account whose terms all carry one,
    belong to any of them: there every term stands a second time under the empty contract_id. On a line,

        covered until  u = max{end : start <= start_date},      covered  <=>  start_date < u

    With `known_by` only terms booked by that day count. Result columns: row number, first_start,
    covered_until.
    """
    known = "" if known_by is None else f" AND event_date <= DATE {literal(known_by)}"
    is_term = f"kind IN {sql_list(TERM_KINDS)}"
    return f"""
        WITH terms AS (
            SELECT account_id, contract_id, start_date,
                   CAST(start_date + to_months(term_months) AS DATE) AS end_date
            FROM {rows} WHERE {is_term}{known}
        ), shared AS (
            SELECT account_id FROM terms GROUP BY account_id HAVING min(contract_id) <> ''
        ), timeline AS (
            SELECT account_id, contract_id, start_date, end_date, NULL AS {NUMBER} FROM terms
            UNION ALL
            SELECT account_id, '', start_date, end_date, NULL FROM terms SEMI JOIN shared USING (account_id)
            UNION ALL
            SELECT account_id, contract_id, start_date, NULL, {NUMBER} FROM {rows} WHERE NOT {is_term}
        )
        SELECT {NUMBER},
               min(CASE WHEN {NUMBER} IS NULL THEN start_date END) OVER line AS first_start,
               max(end_date) OVER (line ORDER BY start_date) AS covered_until
        FROM timeline
        WINDOW line AS (PARTITION BY account_id, contract_id)
        QUALIFY {NUMBER} IS NOT NULL
    """


def misplaced_sql() -> str:
    """The rule that a row that is no term breaks, given `first_start` and `covered_until`, or null."""
    inside = sql_list(tuple(kind.name for kind in KINDS if kind.placement == "inside a term"))
    onward = sql_list(tuple(kind.name for kind in KINDS if kind.placement == "from a first term on"))
    return f"""CASE
        WHEN first_start IS NULL THEN 'no_term'
        WHEN kind IN {inside} AND coalesce(covered_until <= start_date, true) THEN 'outside_term'
        WHEN kind IN {onward} AND start_date < first_start THEN 'churn_before_start'
    END"""


def judge_places(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `verdicts`: for every raw row its first broken rule, or null when it is accepted."""
    connection.execute(
        f"""
        CREATE TABLE verdicts AS
        WITH misplaced AS (
            SELECT {NUMBER}, {misplaced_sql()} AS rule
            FROM ({coverage_sql("passed")}) JOIN passed USING ({NUMBER})
        )
        SELECT judged.{NUMBER},
               coalesce(judged.rule, CASE WHEN passed.{NUMBER} IS NULL THEN 'duplicate_event' END,
                        misplaced.rule) AS rule
        FROM judged LEFT JOIN passed USING ({NUMBER}) LEFT JOIN misplaced USING ({NUMBER})
        """
    )


def rejected_sql(raw: RawTable) -> str:
    """The rejected rows with place, value as read, rule and hint, in the order of the input."""
    rules = ", ".join(f"({literal(r.name)}, {literal(r.column)}, {literal(r.hint)})" for r in RULES)
    shown = {column: text_sql(column) for column in {rule.column for rule in RULES} & set(raw.columns)}
    # without a start_date the event_date stands for it
    shown["start_date"] = f"coalesce({shown.get('start_date', 'NULL')}, {text_sql('event_date')})"
    values = ", ".join(f"{sql} AS {column}_value" for column, sql in sorted(shown.items()))
    cases = " ".join(f"WHEN {literal(column)} THEN {column}_value" for column in sorted(shown))
    return f"""
        WITH shown AS (SELECT {NUMBER}, {SOURCE} AS source, {ROW} AS row, {values} FROM {raw.name})
        SELECT source, row, event_id, account_id, place AS "column", CASE place {cases} END AS value,
               rule, hint, amount_value AS amount, amount_cents
        FROM verdicts
        JOIN (VALUES {rules}) AS rules(rule, place, hint) USING (rule)
        JOIN parsed USING ({NUMBER})
        JOIN shown USING ({NUMBER})
        ORDER BY {NUMBER}
    """
