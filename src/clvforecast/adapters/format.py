"""`Format`: what a source system's tables look like, and how their columns become those of a mapping."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from clvforecast.ledger.tables import NUMBER, ROW, SOURCE

ROW_KEY = (NUMBER, SOURCE, ROW)


@dataclass(frozen=True)
class Table:
    """A table of an export: its name, and its columns, each with the headers that it goes by (in any letter case).

    `columns` must be there; `optional` ones are empty where they are not.
    """

    name: str
    columns: dict[str, tuple[str, ...]]
    optional: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """Rows of one table as rows of a mapping.

    makes: what a `Mapping` calls a column -> SQL over ``table.column`` (all text, null where empty); joins: other tables by a
    key of theirs, so that no row is there twice.
    """

    table: str
    makes: dict[str, str]
    joins: str = ""


@dataclass(frozen=True)
class Format:
    """What a source system exports.

    tables: the first tells the format; the others may be missing. rows: one a table whose rows are revenue. settings: keys of
    the `Mapping`. asks: keys that only the user can know, with what they say.
    """

    name: str
    about: str
    tables: tuple[Table, ...]
    rows: tuple[Rows, ...]
    settings: dict[str, Any]
    asks: dict[str, str] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)


def words(sql: str, tables: tuple[Table, ...]) -> list[tuple[str, str]]:
    """The columns (table, column) that an expression is made of, without those that only order its rows."""
    names = "|".join(table.name for table in tables)
    values = re.sub(r"\bOVER \([^()]*(\([^()]*\)[^()]*)*\)", "", sql)
    return list(dict.fromkeys(re.findall(rf"\b({names})\.(\w+)", values)))


ISO = r"^\d{4}-\d{2}-\d{2}"

# What formats may call. What cannot be worked out becomes a text that no rule reads, so that the row is set aside, not lost.
MACROS = (
    """CREATE TEMP MACRO later(a, b) AS CASE
        WHEN a IS NULL OR a = b THEN b WHEN b IS NULL THEN a
        WHEN regexp_matches(a, '{iso}') AND regexp_matches(b, '{iso}')
            THEN CASE WHEN replace(a, 'T', ' ') >= replace(b, 'T', ' ') THEN a ELSE b END
        ELSE 'the later of ' || a || ' and ' || b END""".replace("{iso}", ISO),
    """CREATE TEMP MACRO times(a, b) AS CASE WHEN a IS NULL OR b IS NULL THEN NULL ELSE coalesce(
        CAST(TRY_CAST(a AS DECIMAL(18, 6)) * TRY_CAST(b AS DECIMAL(18, 6)) AS VARCHAR), a || ' times ' || b) END""",
    """CREATE TEMP MACRO without(a, b) AS CASE WHEN a IS NULL OR b IS NULL THEN a ELSE coalesce(
        CAST(TRY_CAST(a AS DECIMAL(18, 6)) - TRY_CAST(b AS DECIMAL(18, 6)) AS VARCHAR), a || ' without ' || b) END""",
    """CREATE TEMP MACRO months_of(count, unit) AS CASE
        WHEN unit IS NULL THEN NULL
        WHEN rtrim(lower(unit), 's') = 'month' THEN coalesce(count, '1')
        WHEN rtrim(lower(unit), 's') = 'year' AND regexp_full_match(coalesce(count, '1'), '[0-9]{1,2}')
            THEN CAST(12 * CAST(coalesce(count, '1') AS INTEGER) AS VARCHAR)
        ELSE coalesce(count || ' ', '') || unit END""",
)
