"""Frame and cells of parts of whole accounts, put together in any order: those of the whole, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clvforecast as clv
from clvforecast.cells import (
    COUNTED,
    SCHEMA,
    Cells,
    Counts,
    Frame,
    build_cells,
    build_frame,
    cell_counts,
    cells_of,
    change_cells,
    coarse,
    counts_of,
    counts_table,
    frame_counts,
    frame_of,
    merged,
    passed_over_in,
    renewal_cells,
    renewal_counts,
    renewal_cut,
)
from clvforecast.cells.counts import summed, tallied
from clvforecast.cells.levels import quantile_of
from clvforecast.datasets import load_phl_contracts
from clvforecast.errors import HistoryError
from clvforecast.events import TERM_KINDS
from clvforecast.histories import Histories, build_histories
from clvforecast.histories.build import slice_histories
from clvforecast.histories.slices import Slice
from clvforecast.ledger import Ledger
from random_companies import random_company
from test_cells import as_plain

Part = tuple[Histories, tuple[int, int, int]]


def contracts() -> tuple[Ledger, list[str]]:
    return load_phl_contracts(as_of="2018-06-30"), ["department_group"]


def awkward() -> tuple[Ledger, list[str]]:
    """Parallel contracts, notices, returns, unknown tenures, two segments."""
    return random_company(3, n_accounts=150).ledger, ["region", "line"]


def told_of_lapses() -> tuple[Ledger, list[str]]:
    events, truth = clv.simulate_events(1500, seed=5, notice_share=0.6)
    return clv.read_ledger(events, accounts=truth.accounts, as_of=truth.as_of), ["segment"]


COMPANIES = {"contracts": contracts, "awkward": awkward, "told of lapses": told_of_lapses}


@cache
def company(name: str) -> tuple[Ledger, list[str], Histories]:
    ledger, segments = COMPANIES[name]()
    return ledger, segments, build_histories(ledger)


@cache
def parts_of(name: str, n_parts: int) -> list[Part]:
    """The company's accounts dealt to so many parts, unequally, each part's rows in an order of its own."""
    ledger, rng = company(name)[0], np.random.default_rng(n_parts)
    account_ids = pc.unique(ledger.events["account_id"])
    part = np.floor(n_parts * rng.random(len(account_ids)) ** 2).astype(int)
    return [_part(ledger, account_ids.filter(pa.array(part == i)), rng) for i in range(n_parts)]


def _part(ledger: Ledger, account_ids: pa.Array, rng: np.random.Generator) -> Part:
    events, accounts = (
        table.filter(pc.is_in(table["account_id"], account_ids)) for table in (ledger.events, ledger.accounts)
    )
    events, accounts = (table.take(rng.permutation(table.num_rows)) for table in (events, accounts))
    with_terms = pc.unique(events["account_id"].filter(pc.is_in(events["kind"], pa.array(TERM_KINDS))))
    return slice_histories(Slice(replace(ledger, events=events, accounts=accounts), with_terms), COUNTED)


def put_together(parts: Iterable[Counts], rng: np.random.Generator, max_cells: int | None = None) -> Counts:
    """Merged in a random order and nesting, each time after a way through Arrow."""
    waiting = [sent(part) for part in parts]
    while len(waiting) > 1:
        rng.shuffle(waiting)
        n = int(rng.integers(2, 5))
        waiting = [*waiting[n:], sent(merged(waiting[:n], max_cells))]
    return waiting[0]


def sent(counts: Counts) -> Counts:
    sink = pa.BufferOutputStream()
    table = counts_table(counts)
    assert table.schema == SCHEMA
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    return counts_of(pa.ipc.open_stream(sink.getvalue()).read_all())


def counted_in_parts(
    parts: list[Part], segments: list[str], rng: np.random.Generator, max_cells: int | None = None
) -> tuple[Frame, Cells, tuple[str, ...]]:
    """The three rounds."""
    counts = put_together([frame_counts(part, segments, passed) for part, passed in parts], rng)
    frame = frame_of(counts, segments)
    of_parts = put_together([cell_counts(part, frame, max_cells) for part, _ in parts], rng, max_cells)
    cut = renewal_cut(of_parts, max_cells)
    renewals = put_together([renewal_counts(part, frame, cut) for part, _ in parts], rng)
    return frame, cells_of([of_parts, renewals], frame), passed_over_in(counts)


def check(name: str, n_parts: int, max_cells: int | None) -> Cells:
    _, segments, histories = company(name)
    rng = np.random.default_rng(n_parts)
    frame = build_frame(histories, segments)
    cells = build_cells(histories, frame, max_cells)
    together = counted_in_parts(parts_of(name, n_parts), segments, rng, max_cells)
    assert as_plain(together[0]) == as_plain(frame)
    assert as_plain(together[1]) == as_plain(cells)
    assert together[2] == histories.warnings
    return cells


@pytest.mark.parametrize("max_cells", [None, 40])
@pytest.mark.parametrize("n_parts", [1, 2, 30])
@pytest.mark.parametrize("name", COMPANIES)
def test_parts_make_the_same_frame_and_cells_as_the_whole(name: str, n_parts: int, max_cells: int | None) -> None:
    cells = check(name, n_parts, max_cells)
    assert (cells.renewal.n_lines_used < cells.renewal.n_lines) == (max_cells is not None)
    assert len(cells.renewal.count) <= (max_cells or 10_000)


def test_every_account_can_be_a_part() -> None:
    """Most parts then hold no event of most kinds, and some no contract."""
    ledger, rng = random_company(4, n_accounts=40).ledger, np.random.default_rng(0)
    no_term = ledger.events.filter(pc.equal(ledger.events["kind"], "change_order")).slice(0, 2)
    no_term = no_term.set_column(no_term.schema.get_field_index("account_id"), "account_id", [["nobody", "no one"]])
    ledger = replace(ledger, events=pa.concat_tables([ledger.events, no_term]))
    histories, segments = build_histories(ledger), ["region", "line"]
    ids = pc.unique(ledger.events["account_id"])
    parts = [_part(ledger, ids[i : i + 1], rng) for i in range(len(ids))]
    assert sum(part.lines.num_rows == 0 for part, _ in parts) >= 2
    frame, cells, warnings = counted_in_parts(parts, segments, rng, 30)
    assert as_plain(frame) == as_plain(build_frame(histories, segments))
    assert as_plain(cells) == as_plain(build_cells(histories, frame, 30))
    assert warnings == histories.warnings and "without a booked term" in "".join(warnings)


@pytest.mark.parametrize(
    ("most", "mesh_is"),
    [
        (100_000, lambda cells, n: not cells.beyond_scatter.any()),
        (400, lambda cells, n: len(cells.beyond_n) <= 400 < n),
        (10, lambda cells, n: 10 < len(cells.beyond_n) < n),
    ],
)
def test_parts_agree_on_a_mesh(most: int, mesh_is: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows as they are, the first width that gives few enough cells, and the last: whatever parts are counted in on their own."""
    monkeypatch.setattr(coarse, "MOST_COARSE_CELLS", most)
    for n_parts in (3, 40):
        change = check("contracts", n_parts, None).change
        assert mesh_is(change, change.size_n.sum())


@pytest.mark.parametrize("n_parts", [2, 40])
def test_parts_agree_on_the_amended_rows(n_parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_cells, "MOST_AMENDED_ROWS", 50)
    monkeypatch.setattr(renewal_cells, "LINES_TRIED", 9)
    change = check("contracts", n_parts, 300).change
    assert len(change.amended_row) == 50 < change.n_amended


def test_rows_of_a_shuffled_ledger_make_the_same_cells() -> None:
    ledger, segments, histories = company("contracts")
    order = np.random.default_rng(1).permutation(ledger.events.num_rows)
    again = build_histories(replace(ledger, events=ledger.events.take(order)))
    frame = build_frame(again, segments)
    assert as_plain(frame) == as_plain(build_frame(histories, segments))
    assert as_plain(build_cells(again, frame)) == as_plain(build_cells(histories, frame))


def test_sums_in_rationals_are_never_negative() -> None:
    """Equal numbers have no scatter at all: the difference of their sums is exactly 0."""
    X = np.repeat([[1.0, 0.1, 0.7], [1.0, 1e-9, -0.3]], 1000, axis=0)
    cells = coarse.coarse_cells(np.zeros((2000, 2), dtype=np.int64), X)
    np.testing.assert_array_equal(cells.features, [[1.0, 1e-9, -0.3], [1.0, 0.1, 0.7]])
    assert not cells.scatter.any() and cells.n.tolist() == [1000, 1000]


def test_what_a_part_hands_over_is_bounded() -> None:
    """However many lines it has: cells, not rows of lines, but for the few that are wanted."""
    ledger, segments, histories = company("contracts")
    frame = build_frame(histories, segments)
    counts = cell_counts(histories, frame, 30)
    assert len(counts[renewal_cells.FIRSTS].keys) == 31
    narrow = merged([counts, counts], 30)
    assert len(narrow[renewal_cells.FIRSTS].keys) == 31
    assert len(narrow[change_cells.AMENDED].keys) <= change_cells.MOST_AMENDED_ROWS


def test_parts_known_as_of_different_days_make_no_frame() -> None:
    early, late = (build_histories(load_phl_contracts(as_of=day)) for day in ("2017-06-30", "2018-06-30"))
    with pytest.raises(HistoryError, match="different days"):
        frame_of(merged([frame_counts(early), frame_counts(late)]))
    with pytest.raises(HistoryError, match="no part has an initial"):
        frame_of(merged([]))


KEYS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)), max_size=20)


@given(KEYS, KEYS)
def test_counts_travel_and_add_up(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    def counts(rows: list[tuple[int, int]]) -> Counts:
        return {"pairs": tallied(np.array(rows, dtype=np.int64).reshape(-1, 2))} if rows else {}

    whole = counts(one + other)
    tables = [counts_table(counts(one)), counts_table(counts(other))]
    for found in (summed([counts(other), counts(one)]), counts_of(pa.concat_tables(tables))):
        assert found.keys() == whole.keys()
        for what, (keys, numbers) in whole.items():
            np.testing.assert_array_equal(found[what].keys, keys)
            np.testing.assert_array_equal(found[what].numbers, numbers)


@given(st.lists(st.integers(-800, 1200), min_size=1, max_size=60), st.floats(0, 1))
def test_quantiles_of_counted_numbers_are_numpys(numbers: list[int], share: float) -> None:
    counted = np.unique(numbers, return_counts=True)
    assert quantile_of(*counted, share) == np.quantile(np.array(numbers, dtype=float), share)
