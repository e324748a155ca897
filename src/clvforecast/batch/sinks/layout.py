"""Tables and views in a database: what is there, what a run needs, and the statements between the two.

Columns are only ever added. The company's segment columns come last in the table and in the view of the accounts, so that a new
one does not move others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from clvforecast.batch.rows import check_segment_names
from clvforecast.batch.schema import (
    ACCOUNT_RANGES,
    ADDED,
    COUNT,
    DAY,
    FLAG,
    MOMENT,
    NUMBER,
    RUNS,
    SMALL,
    TABLES,
    TEXT,
    Column,
    Table,
)
from clvforecast.batch.sinks.views import View, views
from clvforecast.errors import BatchError
from clvforecast.sql import literal, quoted

SQL_TYPES = {
    TEXT: "text", DAY: "date", NUMBER: "double precision", COUNT: "bigint", SMALL: "integer", FLAG: "boolean",
    MOMENT: "timestamp without time zone",
}  # fmt: skip
SAME_TYPE = {
    "varchar": "text", "character varying": "text", "double": "double precision", "timestamp": "timestamp without time zone",
}  # fmt: skip
"""Other names that databases have for a type."""
CURRENT_RUN = "current_run"
CREATE_CURRENT_RUN = (
    "CREATE TABLE {at}current_run (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), run_id text NOT NULL)"
)
Places = Mapping[str, str | None]
"""Of runs that the folder knows, the one that took the place of each; None where none did (`lineage.Lineage.places`)."""


def newly_superseded(runs: Iterable[tuple[Any, ...]], current: str, places: Places) -> dict[str, str | None]:
    """What changes of `superseded_by`, from rows of run_id, as_of and superseded_by.

    Of a run that the folder does not know, it is the current one where that is of the same day, or an earlier one.
    """
    before = {str(run_id): (as_of, superseded_by) for run_id, as_of, superseded_by in runs}
    now = {
        run_id: places[run_id]
        if run_id in places
        else None
        if run_id == current
        else current
        if as_of >= before[current][0]
        else superseded_by
        for run_id, (as_of, superseded_by) in before.items()
    }
    return {run_id: by for run_id, by in now.items() if by != before[run_id][1]}


class Layout(NamedTuple):
    """What a database has: of each table and view its columns and their types, in order. at: its schema as a prefix."""

    at: str
    found: dict[str, dict[str, str]]

    @staticmethod
    def of(at: str, rows: Iterable[tuple[Any, ...]]) -> Layout:
        """From rows of table or view, column and type, in the order of the columns."""
        found: dict[str, dict[str, str]] = {}
        for table, column, kind in rows:
            found.setdefault(str(table), {})[str(column)] = SAME_TYPE.get(str(kind).lower(), str(kind).lower())
        return Layout(at, found)

    @property
    def segments(self) -> tuple[str, ...]:
        """The company's columns of the accounts so far."""
        return tuple(name for name in self.found.get(ACCOUNT_RANGES.name, ()) if name not in ACCOUNT_RANGES.names)

    def with_new(self, segments: tuple[str, ...]) -> tuple[str, ...]:
        """Those so far and then the new ones.

        Raises BatchError where one cannot be told from another, or where a table has a column of another type than the run.
        """
        known = set(self.segments)
        both = (*self.segments, *(name for name in segments if name not in known))
        check_segment_names(ACCOUNT_RANGES, both)
        for table in _tables(segments):
            found = self.found.get(table.name, {})
            for column in table.columns:
                kind = found.get(column.name, SQL_TYPES[column.type])
                if kind != SQL_TYPES[column.type]:
                    raise BatchError(
                        f"{self.at}{table.name}: column {column.name!r} is {kind} there, but {SQL_TYPES[column.type]} in this "
                        "run. Rename it in the accounts table, or publish to another schema or file."
                    )
        return both

    def missing_tables(self) -> Iterator[Table]:
        """Tables that are not there, with the columns that databases add."""
        return (table for table in _tables(()) if table.name not in self.found)

    def missing_columns(self, table: Table) -> Iterator[Column]:
        """Columns that a table which is there does not have yet."""
        found = self.found.get(table.name, {})
        return (column for column in table.columns if found and column.name not in found)

    def new_columns(self, segments: tuple[str, ...]) -> Iterator[str]:
        """Statements that add the columns that tables do not have yet."""
        for table in _tables(segments):
            for column in self.missing_columns(table):
                yield f"ALTER TABLE {self.at}{table.name} ADD COLUMN {quoted(column.name)} {SQL_TYPES[column.type]}"

    def new_views(self, segments: tuple[str, ...]) -> Iterator[str]:
        """Statements that make every view, or make it anew."""
        for view in views(segments):
            before, after = tuple(self.found.get(view.name, ())), view.names
            if before != after[: len(before)]:  # the first columns of a view that stands cannot be others
                yield f"DROP VIEW {self.at}{view.name}"
            yield f"CREATE OR REPLACE VIEW {self.at}{view.name} AS\n{view.sql(self.at)}"

    def mark(self, segments: tuple[str, ...]) -> str:
        """A mark of the views and comments: where it stands in a database, those need not be made anew."""
        said = [*(view.sql(self.at) for view in views(segments)), *self.comments(segments)]
        return f"layout {hashlib.sha256(chr(10).join(said).encode()).hexdigest()[:16]}"

    def comments(self, segments: tuple[str, ...]) -> Iterator[str]:
        """Statements that say in the database what tables, views and columns mean."""
        for table in _tables(segments):
            yield from _comments("TABLE", f"{self.at}{table.name}", table.meaning, table.columns)
        for view in views(segments):
            yield from _comments("VIEW", f"{self.at}{view.name}", view.meaning, _columns_of(view))


def column_list(columns: Iterable[Column]) -> str:
    """The columns of CREATE TABLE."""
    return ", ".join(
        f"{quoted(column.name)} {SQL_TYPES[column.type]}{' NOT NULL' if column.filled else ''}" for column in columns
    )


def _tables(segments: tuple[str, ...]) -> Iterator[Table]:
    for table in TABLES.values():
        if table is RUNS:
            yield replace(table, columns=(*table.columns, *ADDED))
        else:
            yield table.with_segments(segments) if table.has_segments else table


def _columns_of(view: View) -> tuple[Column, ...]:
    return tuple(column for _, column in view.columns)


def _comments(kind: str, place: str, meaning: str, columns: Iterable[Column]) -> Iterator[str]:
    yield f"COMMENT ON {kind} {place} IS {literal(meaning)}"
    for column in columns:
        unit = f" [{column.unit}]" if column.unit else ""
        yield f"COMMENT ON COLUMN {place}.{quoted(column.name)} IS {literal(column.meaning + unit)}"
