"""SQL for texts in the style that a mapping says: amounts as exact numbers, times as moments that can be put in order."""

from __future__ import annotations

from clvforecast.adapters.mapping import Mapping
from clvforecast.ledger.checks import ISO_DATE, decimal_sql
from clvforecast.ledger.tables import literal

ISO_DAY = ISO_DATE[: ISO_DATE.index("(")]
DIGIT_FIRST_OR_LAST = r"^\d|\d$"
ZONE = r"[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)? ?(Z|UTC|[+-]\d{2}(:?\d{2})?)$"
SPACES = " \u00a0\u202f"


def amount_sql(text: str, mapping: Mapping) -> str:
    """An amount as an exact number.

    Signs of thousands stand where they belong, or not at all; 0.125 is no grouped number, and an exponent has no groups.
    """
    bare = _without_currency_signs(text, mapping)
    point, between = _escaped(mapping.decimal), _escaped(mapping.thousands)
    grouped = rf"[1-9]\d{{0,2}}({between}\d{{3}})+({point}\d*)?|" if between else ""
    number = rf"^[+-]?({grouped}(\d+({point}\d*)?|{point}\d+)([eE][+-]?\d+)?)$"
    digits = f"replace({bare}, {literal(mapping.thousands)}, '')" if mapping.thousands else bare
    digits = f"replace({digits}, ',', '.')" if mapping.decimal == "," else digits
    return f"CASE WHEN regexp_matches({bare}, {literal(number)}) THEN {decimal_sql(digits)} END"


def _without_currency_signs(text: str, mapping: Mapping) -> str:
    if mapping.prefix:
        sign = "^([+-]?)" + _escaped(mapping.prefix) + " ?"
        text = f"regexp_replace({text}, {literal(sign)}, {literal(chr(92) + '1')})"
    if mapping.suffix:
        text = f"regexp_replace({text}, {literal(f'[{SPACES}]?' + _escaped(mapping.suffix) + '$')}, '')"
    return text


def _escaped(sign: str) -> str:
    """A sign as itself in a regular expression."""
    return "".join(f"[{character}]" if character not in "^\\]" else "\\" + character for character in sign)


def styled_day_sql(text: str, dates: str) -> str:
    """A day that is written in a style of its own."""
    # DuckDB also takes words such as 'epoch' for days, whatever the style
    digits = f"regexp_matches({text}, {literal(DIGIT_FIRST_OR_LAST)})"
    return f"CASE WHEN {digits} THEN CAST(try_strptime({text}, {literal(dates)}) AS DATE) END"


def has_zone_sql(text: str) -> str:
    return f"regexp_matches({text}, {literal(ISO_DAY + ZONE)})"


def instant_sql(text: str) -> str:
    """A time with a zone as an instant; an offset without a colon, as Salesforce writes it, gets one."""
    colon = literal(r"([+-]\d{2})(\d{2})$")
    iso = f"regexp_replace(regexp_replace({text}, ' ?UTC$', 'Z'), {colon}, {literal(chr(92) + '1:' + chr(92) + '2')})"
    return f"TRY_CAST({iso} AS TIMESTAMPTZ)"


def moment_sql(text: str, dates: str | None) -> str:
    """What a text says of time as a text that sorts by it, null where it cannot be read; times without a zone as in UTC."""
    if dates is not None:
        digits = f"regexp_matches({text}, {literal(DIGIT_FIRST_OR_LAST)})"
        return f"CASE WHEN {digits} THEN CAST(try_strptime({text}, {literal(dates)}) AS VARCHAR) END"
    zoned = f"CAST(timezone('UTC', {instant_sql(text)}) AS VARCHAR)"
    plain = (
        f"CASE WHEN regexp_matches({text}, {literal(ISO_DATE)}) THEN CAST(TRY_CAST({text} AS TIMESTAMP) AS VARCHAR) END"
    )
    return f"CASE WHEN {has_zone_sql(text)} THEN {zoned} ELSE {plain} END"


def macros(mapping: Mapping | None) -> tuple[str, ...]:
    """What the expressions of formats may call. What cannot be worked out becomes a text that no rule reads, so that the row is
    set aside with it, not lost."""
    style = mapping or Mapping.model_construct(shape="bookings", columns={})
    point = literal(style.decimal)
    both = "a IS NULL OR b IS NULL"
    a, b = amount_sql("a", style), amount_sql("b", style)
    return (
        f"CREATE TEMP MACRO moment(a) AS {moment_sql('a', style.dates)}",
        """CREATE TEMP MACRO later(a, b) AS CASE WHEN a IS NULL OR a = b THEN b WHEN b IS NULL THEN a
            WHEN moment(a) >= moment(b) THEN a WHEN moment(a) < moment(b) THEN b
            ELSE 'the later of ' || a || ' and ' || b END""",
        f"""CREATE TEMP MACRO times(a, b) AS CASE WHEN {both} THEN NULL ELSE coalesce(replace(CAST(
            TRY_CAST({a} AS DECIMAL(18, 6)) * TRY_CAST({b} AS DECIMAL(18, 6)) AS VARCHAR), '.', {point}),
            a || ' times ' || b) END""",
        f"""CREATE TEMP MACRO without(a, b) AS CASE WHEN {both} THEN a ELSE coalesce(replace(CAST(
            TRY_CAST({a} AS DECIMAL(18, 6)) - TRY_CAST({b} AS DECIMAL(18, 6)) AS VARCHAR), '.', {point}),
            a || ' without ' || b) END""",
        """CREATE TEMP MACRO months_of(count, unit) AS CASE
            WHEN unit IS NULL OR rtrim(lower(unit), 's') = 'month' THEN coalesce(count, CASE WHEN unit IS NOT NULL THEN '1' END)
            WHEN rtrim(lower(unit), 's') = 'year' AND regexp_full_match(coalesce(count, '1'), '[0-9]{1,2}([.]0+)?')
                THEN CAST(12 * CAST(CAST(coalesce(count, '1') AS DECIMAL(9, 2)) AS INTEGER) AS VARCHAR)
            ELSE coalesce(count || ' ', '') || unit END""",
        """CREATE TEMP MACRO earlier(a, b) AS CASE WHEN a IS NULL OR a = b THEN b WHEN b IS NULL THEN a
            WHEN moment(a) <= moment(b) THEN a WHEN moment(a) > moment(b) THEN b
            ELSE 'the earlier of ' || a || ' and ' || b END""",
        # of an amount for each so many months, what a term of months brings
        f"""CREATE TEMP MACRO over_term(a, months, each) AS CASE WHEN a IS NULL OR months IS NULL OR each IS NULL THEN NULL
            ELSE coalesce(replace(CAST(CAST(TRY_CAST({a} AS DECIMAL(18, 6)) * TRY_CAST(months AS DECIMAL(9, 2))
                / TRY_CAST(each AS DECIMAL(9, 2)) AS DECIMAL(24, 6)) AS VARCHAR), '.', {point}),
                a || ' each ' || each || ' for ' || months || ' months') END""",
    )
