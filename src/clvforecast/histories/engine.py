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
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.histories.runs import inverse
from clvforecast.ledger.tables import connect


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
    with connect() as connection:
        yield Engine(connection)


def values(table: pa.Table, name: str) -> NDArray[Any]:
    """A column without nulls as a numpy array."""
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False))


def values_or(table: pa.Table, name: str, instead: int) -> NDArray[Any]:
    """A column as a numpy array, with another value for its nulls."""
    return np.asarray(table.column(name).combine_chunks().fill_null(instead).to_numpy(zero_copy_only=False))


def is_text(table: pa.Table, name: str, text: str) -> NDArray[np.bool_]:
    """Whether each value of a text column without nulls is this one."""
    return np.asarray(pc.equal(table.column(name), text).to_numpy())


def ranks(texts: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """The number of each text among the distinct ones, which are in order, and these; nulls count as empty."""
    encoded = (texts.fill_null("") if texts.null_count else texts).dictionary_encode()
    distinct = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], texts.type)
    codes = pa.chunked_array([chunk.indices for chunk in encoded.chunks], pa.int32()).to_numpy()
    order = pc.sort_indices(distinct).to_numpy()
    return inverse(order).astype(np.int32)[codes], distinct.take(pa.array(order))


def text_ranks(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """The place of every text, if they were in order; equal ones keep the order they are in."""
    return inverse(pc.sort_indices(texts).to_numpy())


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
