"""The rows of an export with typed values, each with the first rule that it breaks, or none."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.adapters.mapping import Mapping
from clvforecast.errors import LedgerError
from clvforecast.events import (
    FIRST_DAY,
    LARGEST_AMOUNT,
    LAST_DAY,
    LONGEST_TERM_MONTHS,
    TERM_KINDS,
    Rule,
)
from clvforecast.ledger.checks import (
    PLAIN_NUMBER,
    WHOLE_NUMBER,
    currency_sql,
    date_sql,
    decimal_sql,
    half_even_cents_sql,
    key_sql,
    readable_currency_sql,
    refuse_nested,
    text_sql,
)
from clvforecast.ledger.originals import as_rejected
from clvforecast.ledger.tables import NUMBER, ROW, SOURCE, RawTable, literal

WRITE_ALIKE = "write all dates in one style, and name it in the mapping (dates)"
DAYS = f"dates run from {FIRST_DAY} to {LAST_DAY}: check for typing errors"

DIGIT_FIRST_OR_LAST = r"^\d|\d$"

RULES: tuple[Rule, ...] = (
    Rule("not_revenue", "keep", "the mapping keeps other rows only: nothing to do if this one is no revenue"),
    Rule("missing_account", "account_id", "give every row its account"),
    Rule("missing_date", "event_date", "give the day of booking"),
    Rule("unreadable_date", "event_date", WRITE_ALIKE),
    Rule("date_out_of_range", "event_date", DAYS),
    Rule("missing_start", "start_date", "give the first day of the period"),
    Rule("unreadable_start", "start_date", WRITE_ALIKE),
    Rule("start_out_of_range", "start_date", DAYS),
    Rule("unreadable_end", "end_date", WRITE_ALIKE),
    Rule("end_before_start", "end_date", "the end is the first day without: it lies after the start"),
    Rule("unknown_kind", "kind", "say in the mapping (kinds) what this word is, or keep such rows out (keep)"),
    Rule("missing_amount", "amount", "give the amount"),
    Rule("unreadable_amount", "amount", "name the signs of the numbers in the mapping (decimal, thousands, prefix)"),
    Rule("amount_out_of_range", "amount", f"one row holds at most {LARGEST_AMOUNT:.0e} currency units"),
    Rule("no_price", "amount", "free and trial periods bring no revenue: nothing to do if this is one"),
    Rule("negative_price", "amount", "a price is above 0: a discount lowers the price of its period"),
    Rule("missing_currency", "currency", "give the ISO 4217 code, for instance USD"),
    Rule("invalid_currency", "currency", "use the three letters of ISO 4217, for instance USD"),
    Rule(
        "unknown_interval",
        "term_months",
        f"say in the mapping (months) how many months (1 to {LONGEST_TERM_MONTHS}) this is",
    ),
    Rule("duplicate_id", "event_id", "this id stands in an earlier row: that one counts, drop the copy"),
    Rule(
        "overlapping_period", "start_date", "another period of the account and contract holds then: end that one before"
    ),
    Rule("after_as_of", "start_date", "it begins after as_of: give the day of the export as as_of"),
    Rule("after_as_of", "event_date", "it begins after as_of: give the day of the export as as_of"),
    Rule("superseded", "event_date", "a later row of the same day says what holds"),
    Rule("nothing_ended", "amount", "it ends what had not begun: a row before it seems to be missing"),
    Rule("nothing_new", "start_date", "the price and the term before it go on: nothing to do"),
    Rule("nothing_new", "event_date", "the price and the term before it go on: nothing to do"),
    Rule("inside_other_term", "start_date", "a term of another length runs on past its end: its money is not counted"),
    Rule("inside_other_term", "event_date", "a term of another length runs on past its end: its money is not counted"),
    Rule(
        "broken_line",
        "account_id",
        "what holds is not known, as another row of this account and contract is set aside: mend that",
    ),
)
OF_A_PRICE = ("missing_currency", "invalid_currency", "unknown_interval")
TERMS = ", ".join(map(literal, TERM_KINDS))
RULE_PLACES = {(rule.name, rule.column): place for place, rule in enumerate(RULES)}
ONLY_ONE = {
    rule.name: place for place, rule in enumerate(RULES) if sum(other.name == rule.name for other in RULES) == 1
}
"""Place of each rule that stands for one column alone."""


def found_columns(raw: RawTable, mapping: Mapping) -> dict[str, str]:
    """What -> the column of the export that it is in, as it is written there.

    Raises
    ------
    LedgerError
        With the columns that are missing and those that are there.
    """
    there = _as_written(raw)
    wanted = (*mapping.columns.values(), *mapping.keep, *mapping.segments)
    missing = [name for name in dict.fromkeys(wanted) if _plain(name) not in there]
    if missing:
        raise LedgerError(
            f"export: no column {', '.join(missing)}; found are {', '.join(raw.columns) or 'none'}. Name this export's columns "
            "in the mapping."
        )
    refuse_nested(raw, [there[_plain(name)] for name in wanted])
    return {what: there[_plain(name)] for what, name in mapping.columns.items()}


def amount_column(columns: dict[str, str]) -> str:
    """The column of the export that holds the money."""
    return columns["amount" if "amount" in columns else "monthly_amount"]


def make_typed(connection: duckdb.DuckDBPyConnection, raw: RawTable, mapping: Mapping, columns: dict[str, str]) -> None:
    """Make the table `typed` of an export.

    Number of the row; account_id, contract_id, event_id, kind and currency as text; event_date, start_date and end_date as days;
    amount_cents (for periods: of a whole term); term_months; rule: the place in `RULES`, or null.
    """

    def text(name: str) -> str:
        return text_sql(columns[name]) if name in columns else "NULL::VARCHAR"

    def key(name: str) -> str:
        return key_sql(raw, columns[name]) if name in columns else "NULL::VARCHAR"

    def number(name: str) -> str:
        return _number_sql(text(name), mapping, name in columns and raw.type_of(columns[name]) != "VARCHAR")

    amount = "amount" if "amount" in columns else "monthly_amount"
    values = {
        "account_id": key("account_id"),
        "contract_id": f"coalesce({key('contract_id')}, '')",
        "event_id": key("event_id"),
        "kind": _looked_up(text("kind"), {word: literal(kind) for word, kind in mapping.kinds.items()}),
        "currency": currency_sql(columns["currency"]) if "currency" in columns else literal(mapping.currency or ""),
        "months_text": text("term_months"),
        "term_months": _months_sql(text("term_months"), columns, mapping),
        "amount_text": text(amount),
        "given": number(amount),
        "change": number("change"),
        "is_kept": _kept_sql(raw, mapping),
    }
    for name in ("event_date", "start_date", "end_date"):
        values |= {f"{name}_text": text(name), name: _day_sql(raw, columns, mapping, name)}
    clocks = [date_sql(raw, columns[name])[1] for name in ("event_date", "start_date", "end_date") if name in columns]
    values["has_clock"] = " OR ".join(clocks) if mapping.dates is None and clocks else "false"
    times = "coalesce(term_months, 1)" if amount == "monthly_amount" else "1"
    scale = " * 0.01" if mapping.cents else ""
    connection.execute(
        f"""
        CREATE TABLE typed AS
        WITH texts AS (SELECT {NUMBER}, {", ".join(f"{sql} AS {name}" for name, sql in values.items())} FROM {raw.name}),
        numbers AS (
            SELECT *, CASE WHEN abs(given) <= {100 * LARGEST_AMOUNT}
                           THEN CAST(given * {times}{scale} AS DECIMAL(38, 18)) END AS exact,
                   CASE WHEN abs(exact) <= {LARGEST_AMOUNT} THEN CAST(exact AS DECIMAL(38, 2)) END AS nearest,
                   {half_even_cents_sql()} AS amount_cents
            FROM texts
        )
        SELECT *, CAST({_first_broken_sql(columns, mapping)} AS UTINYINT) AS rule, true AS holds FROM numbers
        """
    )
    if mapping.shape != "bookings" and "event_id" in columns:
        connection.execute(
            f"""
            UPDATE typed SET rule = {ONLY_ONE["duplicate_id"]} FROM (
                SELECT {NUMBER} AS copy FROM typed WHERE rule IS NULL AND event_id IS NOT NULL
                QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY {NUMBER}) > 1
            ) WHERE {NUMBER} = copy
            """
        )


def refuse(connection: duckdb.DuckDBPyConnection, rule: str, column: str, numbers: NDArray[np.int64]) -> None:
    """Let rows of `typed` break a rule that cannot be seen from the row alone."""
    connection.register("refused_rows", pa.table({"refused": numbers}))
    connection.execute(
        f"UPDATE typed SET rule = {RULE_PLACES[rule, column]} FROM refused_rows WHERE {NUMBER} = refused"
    )
    connection.unregister("refused_rows")


def set_aside(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, mapping: Mapping, columns: dict[str, str]
) -> pa.Table:
    """The rows of `typed` that break a rule and the broken records, in the order of the export, as `events.REJECTED_SCHEMA`."""
    shown = {rule.column: [columns[rule.column]] if rule.column in columns else [] for rule in RULES}
    shown |= {"keep": in_raw(raw, mapping.keep), "amount": [amount_column(columns)]}
    labels = ", ".join(
        f"({place}, {literal(rule.name)}, {literal(', '.join(shown[rule.column]) or rule.column)}, {literal(rule.hint)})"
        for place, rule in enumerate(RULES)
    )
    cases = " ".join(
        f"WHEN {place} THEN concat_ws(', ', {', '.join(map(text_sql, shown[rule.column]))})"
        for place, rule in enumerate(RULES)
        if shown[rule.column]
    )
    found = connection.sql(
        f"""
        WITH broken AS (
            SELECT {NUMBER}, rule, event_id, account_id, amount_text, amount_cents, currency FROM typed WHERE rule IS NOT NULL
        ),
        shown AS (
            SELECT {NUMBER}, CAST({SOURCE} AS VARCHAR) AS source, {ROW} AS row, nullif(CASE __rule {cases} END, '') AS value
            FROM {raw.name} JOIN (SELECT {NUMBER}, rule AS __rule FROM broken) USING ({NUMBER})
        )
        SELECT {NUMBER}, source, row, event_id, account_id, label AS "column", value, name AS rule, hint, amount_text AS amount,
               amount_cents, {readable_currency_sql("currency")} AS currency
        FROM broken JOIN (VALUES {labels}) AS rules(rule, name, label, hint) USING (rule) JOIN shown USING ({NUMBER})
        ORDER BY {NUMBER}
        """
    ).to_arrow_table()
    return as_rejected(connection, raw, found)


# --- values ---------------------------------------------------------------------------------------------------------


def in_raw(raw: RawTable, names: Iterable[str]) -> list[str]:
    """Columns of the export as they are written there."""
    there = _as_written(raw)
    return [there[_plain(name)] for name in names]


def _as_written(raw: RawTable) -> dict[str, str]:
    return {_plain(name): name for name in raw.columns}


def _plain(name: str) -> str:
    return name.strip().lower()


def _looked_up(text: str, words: dict[str, str]) -> str:
    """What stands for a word, whatever its letters' case; null where nothing does."""
    cases = " ".join(f"WHEN {literal(word.strip().lower())} THEN {sql}" for word, sql in words.items())
    return f"CASE lower({text}) {cases} END" if words else "NULL::VARCHAR"


def _kept_sql(raw: RawTable, mapping: Mapping) -> str:
    parts = []
    for name, wanted in zip(in_raw(raw, mapping.keep), mapping.keep.values(), strict=True):
        words = ", ".join(literal(word.strip().lower()) for word in wanted)
        parts.append(f"coalesce(lower({text_sql(name)}) IN ({words}), false)")
    return " AND ".join(parts) or "true"


def _day_sql(raw: RawTable, columns: dict[str, str], mapping: Mapping, name: str) -> str:
    if name not in columns:
        return "NULL::DATE"
    if name == "end_date" and mapping.ends == "last day":
        return f"({_written_day_sql(raw, columns, mapping, name)}) + 1"
    return _written_day_sql(raw, columns, mapping, name)


def _written_day_sql(raw: RawTable, columns: dict[str, str], mapping: Mapping, name: str) -> str:
    kind = raw.type_of(columns[name])
    if mapping.dates is None or kind == "DATE" or kind.startswith("TIMESTAMP"):
        return date_sql(raw, columns[name])[0]
    text = text_sql(columns[name])
    # DuckDB also takes words such as 'epoch' for days, whatever the style
    digits = f"regexp_matches({text}, {literal(DIGIT_FIRST_OR_LAST)})"
    return f"CASE WHEN {digits} THEN CAST(try_strptime({text}, {literal(mapping.dates)}) AS DATE) END"


def _months_sql(text: str, columns: dict[str, str], mapping: Mapping) -> str:
    if "term_months" not in columns:
        return "NULL::INTEGER" if mapping.term_months is None else f"{mapping.term_months}::INTEGER"
    if mapping.months:
        return f"CAST({_looked_up(text, {word: str(months) for word, months in mapping.months.items()})} AS INTEGER)"
    whole = f"regexp_matches({text}, {literal(WHOLE_NUMBER)})"
    read = f"CASE WHEN {whole} THEN CAST(floor(CAST({text} AS DOUBLE)) AS INTEGER) END"
    return f"CASE WHEN {read} BETWEEN 1 AND {LONGEST_TERM_MONTHS} THEN {read} END"


def _number_sql(text: str, mapping: Mapping, is_number: bool) -> str:
    """An amount as an exact number, null where its text is none; a column of numbers is taken as it is.

    Signs of thousands stand where they belong, or not at all; 0.125 is no grouped number, and an exponent has no groups.
    """
    if is_number:
        return f"CASE WHEN regexp_matches({text}, {literal(PLAIN_NUMBER)}) THEN {decimal_sql(text)} END"
    if mapping.prefix:
        text = (
            f"regexp_replace({text}, {literal('^([+-]?)' + _escaped(mapping.prefix) + ' ?')}, {literal(chr(92) + '1')})"
        )
    point, between = _escaped(mapping.decimal), _escaped(mapping.thousands)
    grouped = rf"[1-9]\d{{0,2}}({between}\d{{3}})+({point}\d*)?|" if between else ""
    number = rf"^[+-]?({grouped}(\d+({point}\d*)?|{point}\d+)([eE][+-]?\d+)?)$"
    plain = f"replace({text}, {literal(mapping.thousands)}, '')" if mapping.thousands else text
    plain = f"replace({plain}, ',', '.')" if mapping.decimal == "," else plain
    return f"CASE WHEN regexp_matches({text}, {literal(number)}) THEN {decimal_sql(plain)} END"


def _escaped(sign: str) -> str:
    """A sign as itself in a regular expression."""
    return "".join(f"[{character}]" if character not in "^\\]" else "\\" + character for character in sign)


# --- rules ----------------------------------------------------------------------------------------------------------


def _first_broken_sql(columns: dict[str, str], mapping: Mapping) -> str:
    conditions = _conditions(columns, mapping)
    cases = " ".join(
        f"WHEN {conditions[rule.name]} THEN {place}" for place, rule in enumerate(RULES) if rule.name in conditions
    )
    return f"CASE {cases} END"


def _conditions(columns: dict[str, str], mapping: Mapping) -> dict[str, str]:
    """When a row breaks a rule, for the rules that need nothing but the row."""
    days = f"DATE {literal(str(FIRST_DAY))} AND DATE {literal(str(LAST_DAY))}"
    conditions = {
        "not_revenue": "NOT is_kept",
        "missing_account": "account_id IS NULL",
        "unreadable_start": "start_date_text IS NOT NULL AND start_date IS NULL",
        "start_out_of_range": f"start_date NOT BETWEEN {days}",
        "unreadable_end": "end_date_text IS NOT NULL AND end_date IS NULL",
        "end_before_start": "end_date <= coalesce(start_date, event_date)",
        "unreadable_amount": "amount_text IS NOT NULL AND given IS NULL",
        "amount_out_of_range": "given IS NOT NULL AND amount_cents IS NULL",
        "missing_currency": "currency IS NULL",
        "invalid_currency": f"{readable_currency_sql('currency')} IS NULL",
        "unknown_interval": f"months_text IS NOT NULL AND term_months IS NULL AND coalesce(kind IN ({TERMS}), true)",
    }
    if mapping.shape != "periods":
        conditions |= {
            "missing_date": "event_date_text IS NULL",
            "unreadable_date": "event_date IS NULL",
            "date_out_of_range": f"event_date NOT BETWEEN {days}",
        }
    if mapping.shape == "bookings":
        conditions["missing_amount"] = "amount_text IS NULL AND kind IS DISTINCT FROM 'churn'"
        return conditions | (
            {"unknown_kind": "kind IS NULL"} if "kind" in columns else {"no_price": "amount_cents = 0"}
        )
    conditions |= {
        "missing_amount": "amount_text IS NULL",
        "negative_price": "amount_cents < 0",
        "unknown_interval": "term_months IS NULL",
    }
    if mapping.shape == "movements":  # where it ends, neither interval nor currency matters
        return conditions | {name: f"amount_cents IS DISTINCT FROM 0 AND {conditions[name]}" for name in OF_A_PRICE}
    return conditions | {"missing_start": "start_date_text IS NULL", "no_price": "amount_cents = 0"}
