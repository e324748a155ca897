"""Frame and cells counted on the cluster: three rounds over the parts, in each of which sums come to the driver, no account.

The rounds are those of `cells.build`; in each a worker reads its part and makes its histories anew, as little of them is needed
and all of it would be much to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from clvforecast.cells import (
    COUNTED,
    Cells,
    Counts,
    Frame,
    cell_counts,
    cells_of,
    counts_of,
    counts_table,
    frame_counts,
    frame_of,
    merged,
    passed_over_in,
    renewal_counts,
    renewal_cut,
)
from clvforecast.histories import Histories
from clvforecast.histories.build import slice_histories
from clvforecast.histories.slices import Slice, account_slices
from clvforecast.ledger import Ledger
from clvforecast.spark.facts import part_number
from clvforecast.spark.forecasts import contract_accounts
from clvforecast.spark.ledgers import Facts, read_part
from clvforecast.spark.parts import part_tables
from clvforecast.spark.rows import PART_ROWS_SQL, table_rows
from clvforecast.spark.sums import sum_of_all

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CELLS = "cells"
PassedOver = tuple[int, int, int]
Count = Callable[[Histories, PassedOver], Counts]


@dataclass(frozen=True)
class CountedParts:
    """What the posterior is sampled from; warnings: what the histories passed over."""

    frame: Frame
    cells: Cells
    warnings: tuple[str, ...]


def counted_parts(
    parts: DataFrame,
    facts: Facts,
    segments: Sequence[str],
    size_edges: Sequence[float] | None,
    max_cells: int | None,
) -> CountedParts:
    """The frame and cells of all parts: those of `build_frame` and `build_cells` of one ledger."""
    n_parts = parts.rdd.getNumPartitions()

    def of_all(count: Count) -> Counts:
        rows = parts.mapInArrow(partial(count_part, facts, count, max_cells), PART_ROWS_SQL)
        add = partial(added_counts, max_cells)
        return counts_of(sum_of_all(rows, CELLS, add, n_parts, rows_each=100_000))

    return counted_in_rounds(of_all, segments, size_edges, max_cells)


def counted_in_rounds(
    of_all: Callable[[Count], Counts],
    segments: Sequence[str],
    size_edges: Sequence[float] | None,
    max_cells: int | None,
) -> CountedParts:
    """The rounds; `of_all` merges what every part counts."""
    first = of_all(partial(_frame_counts, tuple(segments)))
    frame = frame_of(first, segments, size_edges)
    counts = of_all(partial(_cell_counts, frame, max_cells))
    renewals = of_all(partial(_renewal_counts, frame, renewal_cut(counts, max_cells)))
    return CountedParts(frame, cells_of([counts, renewals], frame), passed_over_in(first))


def count_part(
    facts: Facts, count: Count, max_cells: int | None, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """On a worker: what a part counts of one round."""
    tables = part_tables(batches)
    known = None if tables is None else read_part(tables, facts).known
    if known is not None:
        counts = merged((count(*slice_histories(part, COUNTED)) for part in slices_of(known)), max_cells)
        yield from table_rows(CELLS, part_number(), counts_table(counts), rows=100_000)


def slices_of(known: Ledger) -> list[Slice]:
    """A part's ledger in slices, one where it has no contract."""
    accounts = contract_accounts(known)
    return account_slices(known) if len(accounts) else [Slice(known, accounts)]


def added_counts(max_cells: int | None, tables: Iterable[pa.Table]) -> pa.Table:
    """Counts of parts together."""
    return counts_table(merged(map(counts_of, tables), max_cells))


def _frame_counts(segments: tuple[str, ...], histories: Histories, passed_over: PassedOver) -> Counts:
    return frame_counts(histories, segments, passed_over)


def _cell_counts(frame: Frame, max_cells: int | None, histories: Histories, passed_over: PassedOver) -> Counts:
    return cell_counts(histories, frame, max_cells)


def _renewal_counts(frame: Frame, cut: int | None, histories: Histories, passed_over: PassedOver) -> Counts:
    return renewal_counts(histories, frame, cut)
