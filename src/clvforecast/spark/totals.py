"""The totals of parts added on the cluster, some at a time, until one set is left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from clvforecast.pooled import added
from clvforecast.spark.facts import part_number
from clvforecast.spark.rows import PART_ROWS_SQL, TOTALS, bodies, table_of, table_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PARTS_AT_A_TIME = 32
"""Parts whose totals one task adds; it holds the sum, and one row beside it."""


def added_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On a worker: rows of totals added, as rows of totals again."""
    sums = added(table_of(body) for _, body in bodies(batches))
    yield from table_rows(TOTALS, part_number(), sums, rows=1)


def sum_of_all(rows: DataFrame, n_parts: int) -> pa.Table:
    """The totals (`pooled.TOTAL_ROWS`) of all parts."""
    from pyspark.sql import functions as F

    rows = rows.where(F.col("kind") == TOTALS)
    left = math.ceil(n_parts / PARTS_AT_A_TIME)
    rows = rows.coalesce(left).mapInArrow(added_rows, PART_ROWS_SQL)
    while left > 1:
        left = math.ceil(left / PARTS_AT_A_TIME)
        rows = rows.repartition(left, F.pmod(F.col("part"), F.lit(left))).mapInArrow(added_rows, PART_ROWS_SQL)
    return added(table_of(bytes(row["body"])) for row in rows.collect())
