"""The embedded engine: Narwhals expressions on DuckDB, one Arrow table between stages.

Every stage is materialised, so that a window is evaluated once; sums of floats are not left to the engine,
whose threads add in no fixed order (see `runs`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

THREADS = 2
MEMORY_LIMIT = "2GB"


class Engine:
    """Arrow tables in, Narwhals lazy frames on DuckDB, Arrow tables out."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def lazy(self, table: pa.Table) -> nw.LazyFrame[Any]:
        """The table as a Narwhals lazy frame."""
        return nw.from_native(self._connection.from_arrow(table))

    @staticmethod
    def collect(frame: nw.LazyFrame[Any], order: str | tuple[str, ...]) -> pa.Table:
        """The frame's rows in a fixed order."""
        collected: pa.Table = (
            frame.sort(*((order,) if isinstance(order, str) else order)).collect("pyarrow").to_native()
        )
        return collected.combine_chunks()


@contextmanager
def open_engine() -> Iterator[Engine]:
    """An engine of its own for one build; closed at the end."""
    with duckdb.connect(":memory:", config={"threads": THREADS, "memory_limit": MEMORY_LIMIT}) as connection:
        yield Engine(connection)


def values(table: pa.Table, name: str) -> NDArray[Any]:
    """A column without nulls as a numpy array."""
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False))


def with_columns(table: pa.Table, **columns: Any) -> pa.Table:
    """The table with these columns added, or replaced where the name is there."""
    for name, column in columns.items():
        index = table.schema.get_field_index(name)
        table = (
            table.append_column(name, pa.array(column))
            if index < 0
            else table.set_column(index, name, pa.array(column))
        )
    return table
