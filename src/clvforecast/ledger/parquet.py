"""Parquet files, some rows at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from clvforecast.errors import LedgerError
from clvforecast.ledger.plain_text import ALWAYS_EXPANDED, LARGEST_EXPANSION, check_regular

ALWAYS_ROWS, LARGEST_ROWS_PER_BYTE = 10_000_000, 100
"""A file may say that it holds so many rows, and more where there are bytes for them."""
BATCHES = 8  # what threads share out


def parquet_file(path: str) -> pq.ParquetFile:
    """An open Parquet file whose size is in proportion to what it says to hold."""
    check_regular(path)
    with readable_parquet(path):
        file = pq.ParquetFile(path)
        _refuse_absurd(path, file.metadata)
        return file


def _refuse_absurd(path: str, metadata: pq.FileMetaData) -> None:
    size = os.path.getsize(path)
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    claims = (
        ("rows", metadata.num_rows, max(ALWAYS_ROWS, LARGEST_ROWS_PER_BYTE * size)),
        ("bytes", sum(group.total_byte_size for group in groups), max(ALWAYS_EXPANDED, LARGEST_EXPANSION * size)),
    )
    for what, claimed, most in claims:
        if not 0 <= claimed <= most:
            raise LedgerError(
                f"{path}: it says that it holds {claimed:,} {what}, in a file of {size:,} bytes. Check where it comes from, and "
                "export it again."
            )


def parquet_rows(path: str, file: pq.ParquetFile, rows_at_once: int) -> Iterator[pa.Table]:
    """The rows of a file, so many at once."""
    batches = file.iter_batches(batch_size=max(rows_at_once // BATCHES, 1))
    while True:
        with readable_parquet(path):
            several = list(islice(batches, BATCHES))
        if not several:
            return
        yield pa.Table.from_batches(several)


@contextmanager
def readable_parquet(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        raise LedgerError(f"{path}: not a readable Parquet file ({error}). Export it again.") from error
