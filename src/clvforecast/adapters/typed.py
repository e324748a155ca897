"""The rows of an export with typed values, each with the first rule that it breaks, or none."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.adapters.joined import Source, written
from clvforecast.adapters.mapping import BY_ORDER
from clvforecast.adapters.values import (
    DAYS_OF_AN_EXPORT,
    day_sql,
    has_clock_sql,
    kept_sql,
    looked_up,
    months_sql,
    number_sql,
    text_of,
    unit_sql,
)
from clvforecast.events import (
    FIRST_DAY,
    LARGEST_AMOUNT,
    LAST_DAY,
    LONGEST_TERM_MONTHS,
    SPREADABLE_KINDS,
    TERM_KINDS,
    Rule,
)
from clvforecast.ledger.checks import currency_sql, half_even_cents_sql, key_sql, readable_currency_sql, text_sql
from clvforecast.ledger.originals import as_rejected
from clvforecast.ledger.tables import NUMBER, ROW, SOURCE, literal, plain_name

WRITE_ALIKE = "write all dates in one style, and name it in the mapping (dates)"
DAYS = f"dates run from {FIRST_DAY} to {LAST_DAY}: check for typing errors"

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
    Rule("nothing_served", "end_date", "it ends on the day it begins: nothing to do if that is so"),
    Rule("end_before_start", "end_date", "the end is the first day without: it lies after the start"),
    Rule("unknown_kind", "kind", "say in the mapping (kinds) what this word is, or keep such rows out (keep)"),
    Rule("missing_amount", "amount", "give the amount"),
    Rule("unreadable_amount", "amount", "name the signs of the numbers in the mapping (decimal, thousands, prefix)"),
    Rule("unreadable_quantity", "quantity", "give a number: how many the amount is for one of"),
    Rule("amount_out_of_range", "amount", f"one row holds at most {LARGEST_AMOUNT:.0e} currency units"),
    Rule("no_price", "amount", "free and trial periods bring no revenue: nothing to do if this is one"),
    Rule("negative_price", "amount", "a price is above 0: a discount lowers the price of its period"),
    Rule("missing_currency", "currency", "give the ISO 4217 code, for instance USD"),
    Rule("invalid_currency", "currency", "use the three letters of ISO 4217, for instance USD"),
    Rule(
        "unknown_interval",
        "term_months",
        f"terms are whole months, 1 to {LONGEST_TERM_MONTHS}: say in the mapping (months) how many this is; weeks are none",
    ),
    Rule("duplicate_id", "event_id", "another row has this id, and comes first: that one counts, drop the copy"),
    Rule(
        "overlapping_period",
        "start_date",
        "another period of the account and contract holds then: end that one before, or tell contracts apart by contract_id",
    ),
    Rule("after_as_of", "start_date", "it begins after as_of: give the day of the export as as_of"),
    Rule("after_as_of", "event_date", "it begins after as_of: give the day of the export as as_of"),
    Rule("superseded", "event_date", "a later row of the same day says what holds"),
    Rule("nothing_ended", "amount", "it ends what had not begun: a row before it seems to be missing"),
    Rule(
        "term_too_short", "end_date", "terms are whole months: book what is shorter as a change_order, or whole months"
    ),
    Rule("nothing_before", "amount", "a total counts as its difference from the one before: no row says what that was"),
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
WITH_MONTHS = ", ".join(map(literal, (*TERM_KINDS, *SPREADABLE_KINDS, BY_ORDER)))
RULE_PLACES = {(rule.name, rule.column): place for place, rule in enumerate(RULES)}
ONLY_ONE = {
    rule.name: place for place, rule in enumerate(RULES) if sum(other.name == rule.name for other in RULES) == 1
}
"""Place of each rule that stands for one column alone."""


def amount_column(columns: dict[str, str]) -> str:
    """The column of the export that holds the money."""
    return columns["amount" if "amount" in columns else "monthly_amount"]


def make_typed(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    """Make the table `typed` of an export.

    Number of the row; account_id, contract_id, event_id, kind and currency as text; event_date, start_date and end_date as days;
    amount_cents (for periods: of a whole term); own_amount (as the export has it, in currency units); term_months; rule: the
    place in `RULES`, or null.
    """
    amount = "amount" if "amount" in source.columns else "monthly_amount"
    values = _values(source, amount)
    own = "given"
    if "quantity" in source.columns:  # a product of two such decimals has too many digits
        own = "TRY_CAST(given AS DECIMAL(20, 8)) * TRY_CAST(quantity AS DECIMAL(16, 6))"
    product = f"{own} * coalesce(term_months, 1)" if amount == "monthly_amount" else own
    connection.execute(
        f"""
        CREATE TABLE typed AS
        WITH texts AS (SELECT {NUMBER}, {", ".join(f"{sql} AS {name}" for name, sql in values.items())} FROM {source.raw.name}),
        numbers AS (
            SELECT *, CASE WHEN abs(given) <= {1000 * LARGEST_AMOUNT}
                           THEN TRY_CAST({product} * {unit_sql(source.mapping)} AS DECIMAL(38, 18)) END AS exact,
                   CASE WHEN abs(exact) <= {LARGEST_AMOUNT} THEN CAST(exact AS DECIMAL(38, 2)) END AS nearest,
                   {half_even_cents_sql()} AS amount_cents,
                   TRY_CAST({own} * {unit_sql(source.mapping)} AS DECIMAL(38, 6)) AS own_amount
            FROM texts
        )
        SELECT *, CAST({_first_broken_sql(source)} AS UTINYINT) AS rule, true AS holds FROM numbers
        """
    )
    if "event_id" in source.columns:
        first = f"event_date, {NUMBER}" if source.mapping.shape == "bookings" else NUMBER
        connection.execute(
            f"""
            UPDATE typed SET rule = {ONLY_ONE["duplicate_id"]} FROM (
                SELECT {NUMBER} AS copy FROM typed WHERE rule IS NULL AND event_id IS NOT NULL
                QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY {first}) > 1
            ) WHERE {NUMBER} = copy
            """
        )


def _values(source: Source, amount: str) -> dict[str, str]:
    """Column of `typed` -> SQL over the export."""
    mapping = source.mapping

    def key(what: str) -> str:
        return key_sql(source.raw, source.columns[what]) if what in source.columns else "NULL::VARCHAR"

    values = {
        "account_id": key("account_id"),
        "contract_id": f"coalesce({key('contract_id')}, '')",
        "event_id": key("event_id"),
        "total_of": text_of(source, "total_of"),
        "rank": f"TRY_CAST({text_of(source, 'rank')} AS DOUBLE)",
        "kind": looked_up(text_of(source, "kind"), {word: literal(kind) for word, kind in mapping.kinds.items()}),
        "currency": _currency_sql(source),
        "months_text": text_of(source, "term_months"),
        "term_months": months_sql(source),
        "amount_text": text_of(source, amount),
        "quantity": number_sql(source, "quantity") if "quantity" in source.columns else "1",
        "given": number_sql(source, amount),
        "change": number_sql(source, "change"),
        "is_kept": kept_sql(source),
        "has_clock": has_clock_sql(source),
    }
    for what in DAYS_OF_AN_EXPORT:
        values |= {f"{what}_text": text_of(source, what), what: day_sql(source, what)}
    return values


def _currency_sql(source: Source) -> str:
    """The currency of a row; where it names none, the one that the mapping says."""
    always = "NULL::VARCHAR" if source.mapping.currency is None else literal(source.mapping.currency)
    own = source.columns.get("currency")
    return always if own is None else f"coalesce({currency_sql(own)}, {always})"


def refuse(connection: duckdb.DuckDBPyConnection, rule: str, column: str, numbers: NDArray[np.int64]) -> None:
    """Let rows of `typed` break a rule that cannot be seen from the row alone."""
    connection.register("refused_rows", pa.table({"refused": numbers}))
    connection.execute(
        f"UPDATE typed SET rule = {RULE_PLACES[rule, column]} FROM refused_rows WHERE {NUMBER} = refused"
    )
    connection.unregister("refused_rows")


def set_aside(connection: duckdb.DuckDBPyConnection, source: Source) -> pa.Table:
    """The rows of `typed` that break a rule and the broken records, in the order of the export, as `events.REJECTED_SCHEMA`."""
    raw, columns = source.raw, source.columns
    shown = {rule.column: [columns[rule.column]] if rule.column in columns else [] for rule in RULES}
    shown |= {
        "keep": [written(raw)[plain_name(name)] for name in source.mapping.keep],
        "amount": [amount_column(columns)],
    }
    names = {column: ", ".join(map(source.header, found)) or column for column, found in shown.items()}
    labels = ", ".join(
        f"({place}, {literal(rule.name)}, {literal(names[rule.column])}, {literal(rule.hint)})"
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
            SELECT {NUMBER}, CAST({SOURCE} AS VARCHAR) AS source, {ROW} AS row,
                   nullif(CASE found."the rule" {cases} END, '') AS value
            FROM {raw.name} JOIN (SELECT {NUMBER}, rule AS "the rule" FROM broken) AS found USING ({NUMBER})
        )
        SELECT {NUMBER}, source, row, event_id, account_id, label AS "column", value, name AS rule, hint, amount_text AS amount,
               amount_cents, {readable_currency_sql("currency")} AS currency
        FROM broken JOIN (VALUES {labels}) AS rules(rule, name, label, hint) USING (rule) JOIN shown USING ({NUMBER})
        ORDER BY {NUMBER}
        """
    ).to_arrow_table()
    return as_rejected(connection, source.tables, found)


# --- rules ----------------------------------------------------------------------------------------------------------


def _first_broken_sql(source: Source) -> str:
    conditions = _conditions(source)
    cases = " ".join(
        f"WHEN {conditions[rule.name]} THEN {place}" for place, rule in enumerate(RULES) if rule.name in conditions
    )
    return f"CASE {cases} END"


def _conditions(source: Source) -> dict[str, str]:
    """When a row breaks a rule, for the rules that need nothing but the row."""
    columns, shape = source.columns, source.mapping.shape
    days = f"DATE {literal(str(FIRST_DAY))} AND DATE {literal(str(LAST_DAY))}"
    conditions = {
        "not_revenue": "NOT is_kept",
        "missing_account": "account_id IS NULL",
        "unreadable_start": "start_date_text IS NOT NULL AND start_date IS NULL",
        "start_out_of_range": f"start_date NOT BETWEEN {days}",
        "unreadable_end": "end_date_text IS NOT NULL AND end_date IS NULL",
        "nothing_served": "end_date = start_date" if shape == "periods" else "false",
        "end_before_start": "end_date < coalesce(start_date, event_date)",
        "unreadable_amount": "amount_text IS NOT NULL AND given IS NULL",
        "unreadable_quantity": "quantity IS NULL",
        "amount_out_of_range": "given IS NOT NULL AND amount_cents IS NULL",
        "missing_currency": "currency IS NULL",
        "invalid_currency": "NOT regexp_matches(currency, '^[A-Z]{3}$')",
        "unknown_interval": f"months_text IS NOT NULL AND term_months IS NULL AND coalesce(kind IN ({WITH_MONTHS}), true)",
    }
    if shape != "periods":
        conditions |= {
            "missing_date": "event_date_text IS NULL",
            "unreadable_date": "event_date IS NULL",
            "date_out_of_range": f"event_date NOT BETWEEN {days}",
        }
    if shape == "bookings":
        conditions["missing_amount"] = "amount_text IS NULL AND kind IS DISTINCT FROM 'churn'"
        return conditions | (
            {"unknown_kind": "kind IS NULL"} if "kind" in columns else {"no_price": "amount_cents = 0"}
        )
    conditions |= {
        "missing_amount": "amount_text IS NULL",
        "negative_price": "amount_cents < 0",
        "unknown_interval": "term_months IS NULL",
    }
    if shape == "movements":  # where it ends, neither interval nor currency matters
        return conditions | {name: f"amount_cents IS DISTINCT FROM 0 AND {conditions[name]}" for name in OF_A_PRICE}
    return conditions | {"missing_start": "start_date_text IS NULL", "no_price": "amount_cents = 0"}
