"""SQL for the values of an export: what its texts say as days, numbers, months and words, null where they say nothing else."""

from __future__ import annotations

from clvforecast.adapters.joined import Source, written
from clvforecast.adapters.mapping import Mapping
from clvforecast.adapters.styles import amount_sql, has_zone_sql, instant_sql, styled_day_sql
from clvforecast.events import LONGEST_TERM_MONTHS
from clvforecast.ledger.checks import PLAIN_NUMBER, WHOLE_NUMBER, date_sql, decimal_sql, text_sql
from clvforecast.ledger.tables import literal, plain_name

DAYS_OF_AN_EXPORT = ("event_date", "start_date", "end_date")


def text_of(source: Source, what: str) -> str:
    """A column as trimmed text."""
    return text_sql(source.columns[what]) if what in source.columns else "NULL::VARCHAR"


def looked_up(text: str, words: dict[str, str]) -> str:
    """What stands for a word, whatever its letters' case."""
    cases = " ".join(f"WHEN {literal(word.strip().lower())} THEN {sql}" for word, sql in words.items())
    return f"CASE lower({text}) {cases} END" if words else "NULL::VARCHAR"


def kept_sql(source: Source) -> str:
    """Whether a row is one that the mapping keeps; '' stands for an empty value."""
    parts = []
    for name, wanted in source.mapping.keep.items():
        words = ", ".join(literal(word.strip().lower()) for word in wanted)
        parts.append(f"coalesce(lower({text_sql(written(source.raw)[plain_name(name)])}), '') IN ({words})")
    return " AND ".join(parts) or "true"


# --- days -----------------------------------------------------------------------------------------------------------


def day_sql(source: Source, what: str) -> str:
    """A day; of what ends on its last day, the first day without."""
    if what not in source.columns:
        return "NULL::DATE"
    if what == "end_date" and source.mapping.ends == "last day":
        return f"({_written_day_sql(source, what)}) + 1"
    return _written_day_sql(source, what)


def _written_day_sql(source: Source, what: str) -> str:
    column, mapping = source.columns[what], source.mapping
    kind = source.raw.type_of(column)
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return date_sql(source.raw, column)[0]
    text = text_sql(column)
    if mapping.dates is not None:
        return styled_day_sql(text, mapping.dates)
    as_written = date_sql(source.raw, column)[0]
    if mapping.time_zone is None:
        return as_written
    there = f"CAST(timezone({literal(mapping.time_zone)}, {instant_sql(text)}) AS DATE)"
    return f"CASE WHEN {has_zone_sql(text)} THEN {there} ELSE {as_written} END"


def has_clock_sql(source: Source) -> str:
    """Whether a row holds a time of day, of which only the day is used."""
    if source.mapping.dates is not None:
        return "false"
    there = [source.columns[what] for what in DAYS_OF_AN_EXPORT if what in source.columns]
    clocks = [date_sql(source.raw, column)[1] for column in there]
    if source.mapping.time_zone is not None:
        clocks += [f"coalesce({has_zone_sql(text_sql(column))}, false)" for column in there]
    return " OR ".join(clocks) or "false"


# --- numbers --------------------------------------------------------------------------------------------------------


def months_sql(source: Source) -> str:
    """Whole months of a term: by the column's word or number; by the mapping where it is empty."""
    mapping = source.mapping
    always = "NULL::INTEGER" if mapping.term_months is None else f"{mapping.term_months}::INTEGER"
    if "term_months" not in source.columns:
        return always
    text = text_of(source, "term_months")
    whole = f"regexp_matches({text}, {literal(WHOLE_NUMBER)})"
    number = f"CASE WHEN {whole} THEN CAST(floor(CAST({text} AS DOUBLE)) AS INTEGER) END"
    read = f"CASE WHEN {number} BETWEEN 1 AND {LONGEST_TERM_MONTHS} THEN {number} END"
    if mapping.months:
        read = f"CAST({looked_up(text, {word: str(months) for word, months in mapping.months.items()})} AS INTEGER)"
    return f"CASE WHEN {text} IS NULL THEN {always} ELSE {read} END"


def number_sql(source: Source, what: str) -> str:
    """An amount as an exact number; a column of numbers is taken as it is."""
    text = text_of(source, what)
    if what in source.columns and source.raw.type_of(source.columns[what]) != "VARCHAR":
        return f"CASE WHEN regexp_matches({text}, {literal(PLAIN_NUMBER)}) THEN {decimal_sql(text)} END"
    return amount_sql(text, source.mapping)


def unit_sql(mapping: Mapping) -> str:
    """What an amount is multiplied by to be one of currency units."""
    if not mapping.cents:
        return "1"
    words = {
        code: scale for codes, scale in ((mapping.undivided, "1"), (mapping.thousandths, "0.001")) for code in codes
    }
    cases = " ".join(f"WHEN {literal(code)} THEN {scale}" for code, scale in words.items())
    return f"CASE currency {cases} ELSE 0.01 END" if cases else "0.01"
