"""Made-up runs to publish: every table, every column, values that say where they belong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from clvforecast.batch.schema import (
    ACCOUNT_RANGES,
    COUNT,
    DAY,
    FLAG,
    NUMBER,
    SMALL,
    TABLES,
    TEXT,
    Column,
    Table,
)

FIRST_DAY = date(2025, 6, 30)
ROWS_AT_A_TIME = 65_536


def run_tables(
    run_id: str, number: int = 0, accounts: int = 40, segments: Sequence[str] = ("plan",), other_rows: int = 12
) -> dict[str, pa.Table]:
    """All tables of a run: ``number`` is in every figure, so that two runs share none."""
    tables = {}
    for name, table in TABLES.items():
        rows = 1 if name == "runs" else accounts if table is ACCOUNT_RANGES else other_rows
        tables[name] = made_up(
            table.with_segments(tuple(segments)) if table.has_segments else table, run_id, number, rows
        )
    return tables


def made_up(table: Table, run_id: str, number: int, rows: int, first: int = 0) -> pa.Table:
    """Rows ``first`` to ``first + rows`` of one table."""
    columns = [_values(table, column, place, run_id, number, rows, first) for place, column in enumerate(table.columns)]
    return pa.table(columns, schema=table.arrow_schema)


def account_batches(
    run_id: str, number: int, accounts: int, segments: Sequence[str] = ("plan",)
) -> Iterator[pa.RecordBatch]:
    """Account ranges as they come from a run, so many at a time."""
    table = ACCOUNT_RANGES.with_segments(tuple(segments))
    for first in range(0, accounts, ROWS_AT_A_TIME):
        yield from made_up(table, run_id, number, min(ROWS_AT_A_TIME, accounts - first), first).to_batches()


def _values(table: Table, column: Column, place: int, run_id: str, number: int, rows: int, first: int) -> pa.Array:
    row = np.arange(first, first + rows)
    if column.name == "run_id":
        return pa.array([run_id] * rows, TEXT)
    if column.name == "as_of":
        return pa.array([FIRST_DAY + timedelta(days=number)] * rows, DAY)
    if column.name == "account_id":
        return pa.array([f"account {each:07d}" for each in row], TEXT)
    if column.name == "ci_prob":
        return pa.array([0.9] * rows, NUMBER)
    if column.type == NUMBER:
        values = np.round(1000.0 * number + place + 0.01 * (row % 9973), 2)
        return pa.array(values, NUMBER, mask=None if column.filled else (row + place) % 11 == 0)
    if column.name == "horizon_months":
        return pa.array([24] * rows, SMALL)
    if column.type in (COUNT, SMALL):
        return pa.array(number * 100_000 + place * 1_000 + row, column.type)
    if column.type == FLAG:
        return pa.array(row % 2 == 0, FLAG)
    if column.type == DAY:
        return pa.array([FIRST_DAY + timedelta(days=int(each % 1000)) for each in row], DAY)
    return pa.array(_texts(table, column, number, row), TEXT)


def _texts(table: Table, column: Column, number: int, row: np.ndarray) -> list[str | None]:
    cycles: dict[str, tuple[str | None, ...]] = {
        "segment": ("all", "plan", "plan", "origin"),
        "level": ("all", "Größe \u4e09 'a' \"b\"", None, "renewal"),
        "freq": ("quarter", "quarter", "total", "month"),
        "value": ("revenue", "revenue", "discounted"),
        "ci_kind": ("eti",),
        "currency": ("USD",),
        "timing": ("recognised",),
    }
    values = cycles.get(column.name, (f"{column.name} {number} a", f"{column.name}\n{number}\tb\\c"))
    return [values[each % len(values)] for each in row]
