"""Tables one after the other in a file, each an Arrow IPC stream, written and read some rows at a time.

A stream ends itself, so that any Arrow reads the first one: ``pyarrow.ipc.open_stream(path).read_all()``. Numbers are read into
arrays of their own, without a second copy of the table; nothing in a stream is compressed.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

ROWS_AT_A_TIME = 65_536
BYTES_AT_A_TIME = 32 << 20
NUMBERS = {pa.float64(): np.dtype("f8"), pa.int64(): np.dtype("i8")}
"""What is read into arrays; other columns become what pandas makes of them."""

Block = NDArray[Any]
"""Numbers with the rows first and any further dims."""


def write_frame(file: BinaryIO, table: pd.DataFrame, metadata: dict[bytes, bytes] | None = None) -> None:
    """A table by its columns' places; its index is left out."""
    columns = [_arrow_column(table.iloc[:, place]) for place in range(table.shape[1])]
    names = [str(name) for name in table.columns]
    _write(file, pa.Table.from_arrays(columns, names=names).replace_schema_metadata(metadata), ROWS_AT_A_TIME)


def _arrow_column(column: pd.Series) -> pa.Array | pa.ChunkedArray:
    if column.dtype in (np.float64, np.int64):
        return pa.array(column.to_numpy())  # NaN stays NaN
    return pa.array(column, from_pandas=True)


def write_blocks(file: BinaryIO, blocks: dict[str, Block]) -> None:
    """Arrays of equally many rows; the numbers of a row are one list each."""
    columns = []
    for block in blocks.values():
        rows = np.ascontiguousarray(block).reshape(len(block), -1)
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1]))
    row_bytes = sum(block[:1].nbytes for block in blocks.values())
    _write(file, pa.Table.from_arrays(columns, names=list(blocks)), max(1, BYTES_AT_A_TIME // max(1, row_bytes)))


def _write(file: BinaryIO, table: pa.Table, rows: int) -> None:
    with pa.ipc.new_stream(file, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=rows):
            writer.write_batch(batch)


class Content(io.RawIOBase):
    """The first ``length`` bytes of a file, and none of what follows; asked for more it gives what is left."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self.file = file
        self.length = length
        self.left = length
        file.seek(0)

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        wanted = self.left if size is None or size < 0 else min(size, self.left)
        found = self.file.read(wanted)
        self.left -= len(found)
        return found


class Stream:
    """The next table of a file: its schema at once, its rows by `frame` or `blocks`.  Raises ValueError and what Arrow raises."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.reader = pa.ipc.open_stream(pa.PythonFile(content, mode="r"))
        self.schema = self.reader.schema

    def frame(self, n_rows: int) -> pd.DataFrame:
        """The table, of exactly so many rows."""
        fields = list(self.schema)
        if not fields:  # rows of no columns are not in the file
            for _ in self._batches(0):
                pass
            return pd.DataFrame(index=pd.RangeIndex(n_rows))
        numbers = [place for place, field in enumerate(fields) if field.type in NUMBERS]
        self._check_size(8 * n_rows * len(numbers))
        columns: list[Any] = [
            np.empty(n_rows, dtype=NUMBERS[field.type]) if place in numbers else []
            for place, field in enumerate(fields)
        ]
        for first, batch in self._batches(n_rows):
            for place, column in enumerate(batch.columns):
                if place in numbers:
                    columns[place][first : first + len(batch)] = _without_nulls(column)
                else:
                    columns[place].append(column)
        for place in set(range(len(fields))) - set(numbers):
            columns[place] = pa.chunked_array(columns[place], fields[place].type).to_pandas()
        table = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(n_rows), copy=False)
        table.columns = pd.Index([field.name for field in fields])
        return table

    def blocks(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, Block]:
        """Arrays by name, of exactly these names and shapes."""
        if [field.name for field in self.schema] != list(shapes):
            raise ValueError(f"it holds {self.schema.names}, where {list(shapes)} were said")
        types = {field.name: _list_type(field, shapes[field.name]) for field in self.schema}
        self._check_size(sum(8 * _product(shape) for shape in shapes.values()))
        found = {name: np.empty(shape, dtype=types[name]) for name, shape in shapes.items()}
        (n_rows,) = {shape[0] for shape in shapes.values()}
        for first, batch in self._batches(n_rows):
            for field, column in zip(self.schema, batch.columns, strict=True):
                if column.null_count:
                    raise ValueError(f"column {field.name} has empty rows")
                rows = found[field.name][first : first + len(batch)]
                rows[...] = _without_nulls(column.flatten()).reshape(rows.shape)
        return found

    def _batches(self, n_rows: int) -> Any:
        """First row and batch, each checked against its own buffers; all together exactly ``n_rows`` rows."""
        first = 0
        for batch in self.reader:
            batch.validate(full=True)
            if first + len(batch) > n_rows:
                raise ValueError(f"it holds more than the {n_rows:,} rows that it says")
            yield first, batch
            first += len(batch)
        if first != n_rows:
            raise ValueError(f"it holds {first:,} rows, where {n_rows:,} were said")

    def _check_size(self, n_bytes: int) -> None:
        if not 0 <= n_bytes <= self.content.length:
            raise ValueError(f"its numbers would take {n_bytes:,} bytes, more than the file has")


def _list_type(field: pa.Field, shape: tuple[int, ...]) -> np.dtype[Any]:
    if not pa.types.is_fixed_size_list(field.type) or field.type.value_type not in NUMBERS:
        raise ValueError(f"column {field.name} is of {field.type}, but must be lists of numbers")
    if field.type.list_size != _product(shape[1:]):
        raise ValueError(f"lists of {field.name} are of {field.type.list_size}, but must be of {_product(shape[1:])}")
    return NUMBERS[field.type.value_type]


def _without_nulls(column: pa.Array) -> Block:
    if column.null_count:
        raise ValueError("a column of numbers has empty cells")
    return np.asarray(column.to_numpy(zero_copy_only=True))


def _product(sizes: tuple[int, ...]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product
