"""Counts that add up: integers by what is counted and by a key of integers.

Parts of a ledger that hold whole accounts are counted one by one, wherever they lie. To put parts together is to add the numbers
of equal keys: what comes out does not depend on the parts, nor on the order and nesting in which they are put together. Sums of
floats are counts too, of the limbs that `exact` takes them apart into.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.cells.groups import distinct
from clvforecast.histories.runs import offsets

Longs = NDArray[np.int64]


class Counted(NamedTuple):
    """Distinct keys int64[K, width] in lexicographic order, and int64[K, V] what was added up for each."""

    keys: Longs
    numbers: Longs


Counts = dict[str, Counted]
"""By what is counted; what has no key is left out."""

SCHEMA = pa.schema([("what", pa.string()), ("key", pa.list_(pa.int64())), ("numbers", pa.list_(pa.int64()))])
"""Counts on their way from one process to another, one row a key: equal (what, key) add up, number by number."""


def tallied(rows: NDArray[Any], numbers: Longs | None = None) -> Counted:
    """The distinct rows of integers (one column where there is one axis), and their numbers added up; 1 a row by default."""
    keys = np.asarray(rows, dtype=np.int64)
    found, place = distinct(keys if keys.ndim == 2 else keys[:, None])
    if numbers is None:
        return Counted(found, np.bincount(place, minlength=len(found)).astype(np.int64).reshape(-1, 1))
    sums = np.zeros((numbers.shape[1], len(found)), dtype=np.int64)
    for column, added in zip(numbers.T, sums, strict=True):  # one at a time: of matrices numpy adds row by row
        np.add.at(added, place, column)
    return Counted(found, np.ascontiguousarray(sums.T))


def counted_of(counts: Counts, what: str, width: int, n_numbers: int = 1) -> Counted:
    """What was counted under this name, with the shapes it has when it is nothing."""
    nothing = Counted(np.empty((0, width), dtype=np.int64), np.empty((0, n_numbers), dtype=np.int64))
    return counts.get(what, nothing)


def so_many(n: int) -> Counted:
    """A number that has no key."""
    return tallied(np.zeros(1), np.array([[n]])) if n else tallied(np.zeros(0))


def total_of(counts: Counts, what: str) -> int:
    """All of what was counted under this name."""
    return int(counts[what].numbers.sum()) if what in counts else 0


def summed(parts: Iterable[Counts]) -> Counts:
    """The counts of all parts together."""
    found: dict[str, list[Counted]] = {}
    for part in parts:
        for what, counted in part.items():
            if len(counted.keys):
                found.setdefault(what, []).append(counted)
    return {what: _added(found[what]) for what in sorted(found)}


def _added(parts: list[Counted]) -> Counted:
    if len(parts) == 1:
        return parts[0]
    return tallied(np.concatenate([part.keys for part in parts]), np.concatenate([part.numbers for part in parts]))


def counts_table(counts: Counts) -> pa.Table:
    """The counts as one Arrow table of `SCHEMA`."""
    counts = {what: counted for what, counted in counts.items() if len(counted.keys)}
    sizes = [len(counted.keys) for counted in counts.values()]
    what = pa.array(list(counts), pa.string()).take(pa.array(np.repeat(np.arange(len(sizes)), sizes)))
    columns = [_lists([getattr(counted, name) for counted in counts.values()]) for name in Counted._fields]
    return pa.Table.from_arrays([what, *columns], schema=SCHEMA)


def _lists(rows: list[Longs]) -> pa.Array:
    lengths = np.concatenate([np.empty(0, dtype=np.int64), *(np.full(len(part), part.shape[1]) for part in rows)])
    flat = np.concatenate([np.empty(0, dtype=np.int64), *(part.ravel() for part in rows)])
    return pa.ListArray.from_arrays(pa.array(offsets(lengths.astype(np.int64)).astype(np.int32)), pa.array(flat))


def counts_of(table: pa.Table) -> Counts:
    """The counts that a table of `SCHEMA` holds, its rows in any order; rows of equal (what, key) are added up."""
    table = table.select(SCHEMA.names).cast(SCHEMA).combine_chunks()
    if not table.num_rows:
        return {}
    names = table["what"].combine_chunks().dictionary_encode()
    code = names.indices.to_numpy()
    table = table.take(pa.array(np.argsort(code, kind="stable")))
    ends = offsets(np.bincount(code))
    counts = {}
    for what, first, n in zip(names.dictionary.to_pylist(), ends[:-1], np.diff(ends), strict=True):
        rows = table.slice(first, n)
        counts[what] = tallied(_matrix(rows["key"], n), _matrix(rows["numbers"], n))
    return counts


def _matrix(lists: pa.ChunkedArray, n: int) -> Longs:
    """int64[n, length], of lists that are equally long."""
    flat = lists.combine_chunks().flatten().to_numpy()
    return flat.reshape(n, len(flat) // n)
