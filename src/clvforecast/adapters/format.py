"""`Format`: what a source system's tables look like, and how their columns become those of a mapping."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

# Currencies whose smallest unit is the whole, or a thousandth, where systems give amounts in smallest units (Stripe's and
# Chargebee's lists of zero- and three-decimal currencies).
WHOLE = tuple("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())
THOUSANDTHS = tuple("BHD JOD KWD OMR TND".split())


@dataclass(frozen=True)
class Table:
    """A table of an export: its name, and its columns, each with the headers that it goes by (in any letter case).

    `columns` must be there; `optional` ones are empty where they are not; with one of `never` it is another table.
    """

    name: str
    columns: dict[str, tuple[str, ...]]
    optional: dict[str, tuple[str, ...]] = field(default_factory=dict)
    never: tuple[str, ...] = ()

    @property
    def all(self) -> dict[str, tuple[str, ...]]:
        return {**self.columns, **self.optional}


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
