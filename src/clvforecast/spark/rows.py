"""What comes back of a part of the accounts: rows of one kind each, their content as Arrow streams, exact to the bit."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
import pyarrow as pa

from clvforecast.arrow_streams import Content, Stream, write_frame

PART_ROWS = pa.schema([("kind", pa.string()), ("part", pa.int32()), ("n", pa.int32()), ("body", pa.binary())])
"""kind: one of those below; part: number of the part; n: rows in the body; body: Arrow streams, or a JSON object."""
PART_ROWS_SQL = "kind string, part int, n int, body binary"
ACCOUNTS, TOTALS, REJECTED, FAILURES, PLANNED, COUNTS = (
    "accounts", "totals", "rejected", "failures", "planned", "counts",
)  # fmt: skip
ACCOUNTS_A_ROW = 5_000
"""Accounts of a row: some 5 MB."""
ROWS_A_ROW = 10_000


def part_row(kind: str, part: int, n: int, body: bytes) -> pa.RecordBatch:
    """One row of `PART_ROWS`."""
    columns = [pa.array([value], field.type) for value, field in zip((kind, part, n, body), PART_ROWS, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=PART_ROWS)


def json_row(kind: str, part: int, said: dict[str, Any]) -> pa.RecordBatch:
    """A row whose body is a JSON object."""
    return part_row(kind, part, 1, json.dumps(said).encode())


def table_rows(kind: str, part: int, table: pa.Table, rows: int = ROWS_A_ROW) -> Iterator[pa.RecordBatch]:
    """A table, so many of its rows in each row."""
    for first in range(0, table.num_rows, rows):
        piece = table.slice(first, rows)
        yield part_row(kind, part, piece.num_rows, table_body(piece))


def table_body(table: pa.Table) -> bytes:
    """A table as one Arrow stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def table_of(body: bytes | pa.Buffer) -> pa.Table:
    """The inverse of `table_body`."""
    return pa.ipc.open_stream(body).read_all()


def frame_rows(kind: str, part: int, *frames: pd.DataFrame) -> Iterator[pa.RecordBatch]:
    """Tables of the same accounts side by side, `ACCOUNTS_A_ROW` accounts in each row."""
    for first in range(0, len(frames[0]), ACCOUNTS_A_ROW):
        sink = io.BytesIO()
        pieces = [frame.iloc[first : first + ACCOUNTS_A_ROW] for frame in frames]
        for piece in pieces:
            write_frame(sink, piece)
        yield part_row(kind, part, len(pieces[0]), sink.getvalue())


def frames_of(body: bytes, n: int, n_frames: int) -> list[pd.DataFrame]:
    """The inverse of `frame_rows`, of one row."""
    content = Content(io.BytesIO(body), len(body))
    return [Stream(content).frame(n) for _ in range(n_frames)]


def bodies(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, bytes]]:
    """(n, body) of rows, one at a time."""
    for batch in batches:
        for n, body in zip(batch.column("n").to_pylist(), batch.column("body"), strict=True):
            yield n, body.as_py()


def tables_of(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On a worker: the tables that rows hold, as batches of this schema."""
    for _, body in bodies(batches):
        yield from table_of(body).cast(schema).to_batches()
