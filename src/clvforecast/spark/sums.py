"""What parts counted, added on the cluster some parts at a time, until one sum is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from clvforecast.spark.facts import part_number
from clvforecast.spark.rows import PART_ROWS_SQL, bodies, table_of, table_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Add = Callable[[Iterable[pa.Table]], pa.Table]
PARTS_AT_A_TIME = 32
"""Parts that one task adds; it holds the sum, and what it adds to it."""


def added_rows(kind: str, add: Add, rows: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On a worker: the tables in rows added, as rows again, so many rows of the sum in each."""
    given = iter(batches)
    if (first := next(given, None)) is not None:
        sums = add(table_of(body) for _, body in bodies(chain([first], given)))
        yield from table_rows(kind, part_number(), sums, rows)


def sum_of_all(rows: DataFrame, kind: str, add: Add, n_parts: int, rows_each: int) -> pa.Table:
    """The sum of the tables of one kind that all parts have."""
    from pyspark.sql import functions as F

    worker = partial(added_rows, kind, add, rows_each)
    rows, left = rows.where(F.col("kind") == kind), n_parts
    while True:  # a shuffle each time: fewer tasks in one stage would make the parts themselves with fewer cores
        left = math.ceil(left / PARTS_AT_A_TIME)
        rows = rows.repartition(left, F.pmod(F.col("part"), F.lit(left))).mapInArrow(worker, PART_ROWS_SQL)
        if left == 1:
            break
    return add(table_of(bytes(row["body"])) for row in rows.collect())
