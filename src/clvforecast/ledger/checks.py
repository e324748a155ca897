"""The rules of `events.py` as set operations: which rows of a raw events table are accepted, and why others
are not.

The rules of a row alone are one SQL statement over the whole table: `raw_events` (as read) -> `parsed` (typed values and
the first broken rule), keyed by the running row number. Copies and the rules that need the account's terms are judged
after that, over columns of integers (`rows.py`, `places.py`); what they reject stands in the table `refused`.
"""

from collections.abc import Iterable

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
from clvforecast.ledger.tables import NUMBER, ROW, SOURCE, RawTable, literal, quoted

ISO_DATE = r"^\d{4}-\d{2}-\d{2}([ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?)?$"
MIDNIGHT = r"^[ T0:.]*$"
PLAIN_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
BEYOND_PLACES = r"(\.\d{17})\d+[1-9]\d*"
NOT_A_NUMBER = r"^[+-]?(nan|inf|infinity)$"
WHOLE_NUMBER = r"^\+?\d{1,9}(\.0*)?$"
LONGEST_READ = 999_999_999  # nine digits, as in text
WHOLE_TYPES = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
KIND_NAMES = tuple(kind.name for kind in KINDS)
BINARY_NOISE = 1e-6  # currency units: what 0.1 + 0.2 is off by is no sub-cent amount
WITH_TERM = TERM_KINDS + SPREADABLE_KINDS  # whose term_months are kept


def check_columns(raw: RawTable) -> None:
    """Raise LedgerError when a required column is absent or nested, or a name is one the ledger itself adds."""
    missing = [name for name in REQUIRED_COLUMNS if name not in raw.columns]
    if missing:
        raise LedgerError(
            f"events: no column {', '.join(missing)}; found are {', '.join(raw.columns) or 'none'}. Rename "
            "the "
            f"columns to the event schema ({', '.join(COLUMN_NAMES)})."
        )
    refuse_nested(raw, [name for name in raw.columns if name in COLUMN_NAMES])
    taken = [name for name in raw.columns if name.lower() in RESERVED_COLUMNS]
    if taken:
        raise LedgerError(f"events: the ledger itself adds a column {', '.join(taken)}. Rename or drop yours.")


def refuse_nested(raw: RawTable, names: Iterable[str]) -> None:
    """Raise LedgerError when a column that is used holds lists, structs or maps: their text is no value."""
    for name in names:
        kind = raw.type_of(name)
        if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")):
            raise LedgerError(f"{raw.label}: column {name} holds {kind}. Flatten it: give one plain value a row.")


def extra_columns(raw: RawTable) -> list[str]:
    """The columns that are carried along as they are."""
    return [name for name in raw.columns if name not in COLUMN_NAMES]


def key_sql(raw: RawTable, column: str) -> str:
    """An identity of the table, as `identity_sql` has it."""
    return identity_sql(column, raw.type_of(column))


def identity_sql(column: str, kind: str) -> str:
    """An identity as trimmed text; 101.0 (pandas' integers with gaps) is 101; blank is null. kind: the column's DuckDB type."""
    name = quoted(column)
    if kind in ("DOUBLE", "FLOAT"):
        whole = f"{name} = floor({name}) AND abs({name}) < 9e15"
        return f"CASE WHEN {whole} THEN CAST(CAST({name} AS BIGINT) AS VARCHAR) ELSE CAST({name} AS VARCHAR) END"
    return f"nullif(trim(CAST({name} AS VARCHAR)), '')"


def numbered(column: str) -> str:
    """The table of a column's distinct texts with their numbers, see `texts`."""
    return f"numbered_{column}"


def text_sql(column: str) -> str:
    return f"nullif(trim(CAST({quoted(column)} AS VARCHAR)), '')"


def level_sql(column: str) -> str:
    """A segment level: text, blank or null as `NOT_RECORDED`."""
    return f"coalesce({text_sql(column)}, {literal(NOT_RECORDED)})"


def codes(kinds: tuple[str, ...]) -> str:
    """Kinds as an SQL list of their places in `KINDS`."""
    return "(" + ", ".join(str(KIND_NAMES.index(kind)) for kind in kinds) + ")"


# --- typed values -------------------------------------------------------------------------------------------


def date_sql(raw: RawTable, column: str) -> tuple[str, str]:
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


def _kind_sql(raw: RawTable) -> str:
    """The kind's place in `KINDS`, null when there is none such; text is only trimmed where it is not a kind as it stands."""
    cases = " ".join(f"WHEN {literal(name)} THEN {code}" for code, name in enumerate(KIND_NAMES))
    text = text_sql("kind")
    plain = f"CASE WHEN regexp_matches({text}, '^[A-Za-z_]+$') THEN lower({text}) END"  # some letters become others
    found = f"CASE {plain} {cases} END"
    if raw.type_of("kind") == "VARCHAR":
        found = f"CASE {quoted('kind')} {cases} ELSE {found} END"
    return f"CAST({found} AS UTINYINT)"


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


def judge_rows(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> None:
    """Make the table `parsed`: one row a raw row, typed, with the first rule that it breaks by itself, or null.

    Columns that come as dates and numbers are taken as such; what text alone can settle goes the way of text. `account` and
    `contract` are numbers of texts, `kind` is the place in `KINDS`, `rule` that in `RULES`; `changed_by` what rounding to
    cents added, where that is no noise.
    """
    event_date, event_clock = date_sql(raw, "event_date")
    has_start = "start_date" in raw.columns
    start_date, start_clock = date_sql(raw, "start_date") if has_start else ("NULL::DATE", "false")
    event_id = key_sql(raw, "event_id") if "event_id" in raw.columns else f"printf('row-%09d', {NUMBER})"
    contract = f"coalesce({key_sql(raw, 'contract_id')}, '')" if "contract_id" in raw.columns else "''"
    no_term, term_months = _months_sql(raw)
    plain_cents = _plain_cents_sql(raw)
    connection.execute(
        f"""
        CREATE TABLE parsed AS
        WITH typed AS (
            SELECT {NUMBER}, {event_id} AS event_id, {key_sql(raw, "account_id")} AS account_id,
                   {contract} AS contract_id, {_kind_sql(raw)} AS kind,
                   {_blank_sql(raw, "event_date")} AS no_date, {event_date} AS event_date,
                   {_blank_sql(raw, "start_date") if has_start else "true"} AS no_start,
                   {start_date} AS given_start,
                   {event_clock} OR {start_clock} AS has_clock,
                   {_blank_sql(raw, "amount")} AS no_amount, {plain_cents} AS plain_cents,
                   CASE WHEN {plain_cents} IS NULL THEN {text_sql("amount")} END AS amount_text,
                   {currency_sql("currency")} AS currency, {no_term} AS no_term, {term_months} AS given_months
            FROM {raw.name}
        ), numbers AS (
            SELECT typed.*, accounts.number AS account, contracts.number AS contract,
                   coalesce(given_start, event_date) AS start_date,
                   regexp_matches(amount_text, {literal(PLAIN_NUMBER)}) AS amount_is_number,
                   CASE WHEN amount_is_number THEN {decimal_sql("amount_text")} END AS exact,
                   CASE WHEN abs(exact) <= {LARGEST_AMOUNT} THEN CAST(exact AS DECIMAL(38, 2)) END AS nearest,
                   coalesce(plain_cents, {half_even_cents_sql()}) AS amount_cents,
                   CASE WHEN exact IS NOT NULL THEN CAST(amount_cents AS DECIMAL(38, 18)) / 100 - exact END AS off
            FROM typed
            LEFT JOIN {numbered("account_id")} AS accounts ON account_id = accounts.text
            LEFT JOIN {numbered("contract_id")} AS contracts ON contract_id = contracts.text
        )
        SELECT {NUMBER}, event_id, account, contract, event_date, start_date, amount_cents, currency, has_clock,
               kind, CASE WHEN kind IN {codes(WITH_TERM)} THEN given_months END AS term_months,
               NOT no_term AND kind NOT IN {codes(WITH_TERM)} AS unused_term,
               CASE WHEN abs(off) > {BINARY_NOISE} THEN off END AS changed_by,
               CAST({_first_broken_rule()} AS UTINYINT) AS rule
        FROM numbers
        """
    )


def decimal_sql(text: str) -> str:
    """A plain number to 18 places. What follows them is no more than a last digit that is not 0: else it would be lost where it
    decides on which side of half a cent the number lies."""
    kept = f"regexp_replace({text}, {literal(BEYOND_PLACES)}, {literal(chr(92) + '11')})"
    return f"TRY_CAST(CASE WHEN length({text}) > 19 THEN {kept} ELSE {text} END AS DECIMAL(38, 18))"


def currency_sql(column: str) -> str:
    """A currency in capital letters; what holds a letter that is none of ISO 4217 as it is, so that none becomes one."""
    text = text_sql(column)
    return f"CASE WHEN regexp_matches({text}, '^[A-Za-z]{{3}}$') THEN upper({text}) ELSE {text} END"


def readable_currency_sql(currency: str) -> str:
    """A currency of `currency_sql`, null where it is none."""
    return f"CASE WHEN regexp_matches({currency}, '^[A-Z]{{3}}$') THEN {currency} END"


def half_even_cents_sql() -> str:
    """Half-even cents of columns `exact` and `nearest`, its cast to two places, which rounds ties away from zero: an odd last
    digit steps back."""
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
    return " OR ".join(f"(kind = {code} AND {broken[kind.sign]})" for code, kind in enumerate(KINDS))


def _row_conditions() -> dict[str, str]:
    """When a row breaks a rule, for the rules that need nothing but the row."""
    free = codes(tuple(kind.name for kind in KINDS if not kind.amount_required))
    days = f"DATE {literal(str(FIRST_DAY))} AND DATE {literal(str(LAST_DAY))}"
    needs_term, may_spread = f"kind IN {codes(TERM_KINDS)}", f"kind IN {codes(SPREADABLE_KINDS)}"
    return {
        "missing_account": "account_id IS NULL",
        "missing_event_id": "event_id IS NULL",
        "unknown_kind": "kind IS NULL",
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
        "invalid_currency": f"{readable_currency_sql('currency')} IS NULL",
        "missing_term": f"no_term AND {needs_term}",
        "invalid_term": (
            f"NOT no_term AND ({needs_term} OR {may_spread}) "
            f"AND coalesce(given_months NOT BETWEEN 1 AND {LONGEST_TERM_MONTHS}, true)"
        ),
    }


def _first_broken_rule() -> str:
    conditions = _row_conditions()
    cases = " ".join(
        f"WHEN {conditions[rule.name]} THEN {place}" for place, rule in enumerate(RULES) if rule.name in conditions
    )
    return f"CASE {cases} END"


# --- rejected rows ------------------------------------------------------------------------------------------


def rejected_sql(raw: RawTable) -> str:
    """The rows that break a rule alone, and those of table `refused` (row number, rule), in the order of the input.

    With their running number, place, value as read, rule and hint.
    """
    rules = ", ".join(
        f"({place}, {literal(r.name)}, {literal(r.column)}, {literal(r.hint)})" for place, r in enumerate(RULES)
    )
    shown = {column: text_sql(column) for column in {rule.column for rule in RULES} & set(raw.columns)}
    # without a start_date the event_date stands for it
    shown["start_date"] = f"coalesce({shown.get('start_date', 'NULL')}, {text_sql('event_date')})"
    values = ", ".join(f"{sql} AS {column}_value" for column, sql in sorted(shown.items()))
    cases = " ".join(f"WHEN {literal(column)} THEN {column}_value" for column in sorted(shown))
    return f"""
        WITH verdicts AS (
            SELECT {NUMBER}, rule FROM parsed WHERE rule IS NOT NULL UNION ALL SELECT {NUMBER}, rule FROM refused
        ), shown AS (
            SELECT {NUMBER}, CAST({SOURCE} AS VARCHAR) AS source, {ROW} AS row,
                   {key_sql(raw, "account_id")} AS account_id, {values}
            FROM {raw.name} SEMI JOIN verdicts USING ({NUMBER})
        )
        SELECT {NUMBER}, source, row, event_id, account_id, place AS "column", CASE place {cases} END AS value,
               name AS rule, hint, amount_value AS amount, amount_cents, {readable_currency_sql("currency")} AS currency
        FROM verdicts
        JOIN (VALUES {rules}) AS rules(rule, name, place, hint) USING (rule)
        JOIN (SELECT {NUMBER}, event_id, amount_cents, currency FROM parsed) USING ({NUMBER})
        JOIN shown USING ({NUMBER})
        ORDER BY {NUMBER}
    """
