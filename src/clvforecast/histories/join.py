"""Histories of a ledger's accounts, some at a time, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from clvforecast.histories.engine import values
from clvforecast.histories.records import Histories

NUMBERED_BY = {
    "lines": {"line": "lines", "account": "accounts"},
    "terms": {"term": "terms", "line": "lines"},
    "decisions": {"term": "terms", "line": "lines"},
    "amendments": {"term": "terms", "line": "lines"},
    "one_offs": {"line": "lines"},
    "churns": {"term": "terms", "line": "lines"},
    "items": {"line": "lines"},
    "account_money": {},
}
"""Tables of `Histories`, and which of their columns are numbers of what."""


def joined(parts: Sequence[Histories]) -> Histories:
    """One `Histories` of parts that follow each other: their numbers run on, their values are not copied."""
    if len(parts) == 1:
        return parts[0]
    counts = {"lines": [part.lines.num_rows for part in parts], "terms": [part.terms.num_rows for part in parts]}
    counts["accounts"] = [int(values(part.lines, "account")[-1]) + 1 for part in parts]
    before = {of: np.cumsum([0, *counted[:-1]]) for of, counted in counts.items()}
    tables = {}
    for name, numbered in NUMBERED_BY.items():
        moved = []
        for place, part in enumerate(parts):
            table = getattr(part, name)
            for column in table.column_names:
                if column in numbered:
                    table = _moved_on(table, column, int(before[numbered[column]][place]))
            moved.append(table)
        tables[name] = pa.concat_tables(moved)
    return replace(parts[0], **tables)


def _moved_on(table: pa.Table, column: str, by: int) -> pa.Table:
    """The table with `by` added to a column of numbers; what has none (-1) keeps having none."""
    number = values(table, column)
    moved = np.where(number >= 0, number + by, number).astype(number.dtype)
    return table.set_column(table.schema.get_field_index(column), column, pa.array(moved))
