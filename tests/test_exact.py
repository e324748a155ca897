"""Exact sums: against `math.fsum` and rationals, whatever the order and the parts."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvforecast.cells.counts import Counted, Counts, summed
from clvforecast.cells.exact import exact_sums, limbs, product, rounded, totals

ANY = st.floats(allow_nan=False, allow_infinity=False, width=64)
USUAL = st.floats(min_value=-1e6, max_value=1e6, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-100)


def sums_of(numbers: np.ndarray, cell: np.ndarray) -> Counted:
    return exact_sums(cell, lambda rows: numbers[rows], sum_of=range(numbers.shape[1]))


@given(st.lists(ANY, max_size=30))
def test_limbs_are_the_number(numbers: list[float]) -> None:
    first, parts = limbs(np.array(numbers))
    for i, number in enumerate(numbers):
        limb_values = (int(part[i]) * 2 ** (32 * (int(first[i]) + j)) for j, part in enumerate(parts))
        assert Fraction(sum(limb_values), 2**1074) == Fraction(number)
        assert all(abs(int(part[i])) < 2**32 for part in parts)


@given(st.lists(st.tuples(st.integers(0, 3), ANY, ANY), min_size=1, max_size=40))
def test_sums_are_those_of_rationals_rounded_once(rows: list[tuple[int, float, float]]) -> None:
    cell, numbers = np.array([row[0] for row in rows]), np.array([row[1:] for row in rows])
    keys, found = totals(sums_of(numbers, cell))
    wanted = {(c, j): sum(map(Fraction, numbers[cell == c, j].tolist())) for c in set(cell.tolist()) for j in (0, 1)}
    got = {
        (int(c), j): Fraction(total[j], 2**1074)
        for (c,), total in zip(keys.tolist(), found, strict=True)
        for j in (0, 1)
    }
    assert {key: got.get(key, Fraction(0)) for key in wanted} == wanted
    for (c,), total in zip(keys.tolist(), found, strict=True):
        try:
            by_fsum = math.fsum(numbers[cell == c, 0].tolist())
        except OverflowError:  # on the way, or in the end
            continue
        assert float(rounded(total[:1])[0]) == by_fsum


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), ANY), min_size=1, max_size=60), st.randoms())
def test_sums_of_parts_are_the_wholes_sums(rows: list[tuple[int, int, float]], order) -> None:
    def counts(rows: list[tuple[int, int, float]]) -> Counts:
        return {"sum": sums_of(np.array([[row[2]] for row in rows]), np.array([row[1] for row in rows]))}

    def by_cell(found: Counts) -> dict[int, int]:
        keys, sums = totals(found["sum"]) if found else (np.empty((0, 1)), np.empty((0, 1)))
        return {int(cell): total for (cell,), (total,) in zip(keys, sums, strict=True) if total}

    whole = by_cell(counts(rows))
    order.shuffle(rows)
    parts = [[row for row in rows if row[0] == part] for part in range(3)]
    assert by_cell(summed(counts(part) for part in parts if part)) == whole


def test_many_numbers_of_all_sizes_in_blocks() -> None:
    """More rows than are worked on at a time, most of which cancel."""
    rng = np.random.default_rng(1)
    numbers = rng.normal(size=40_000) * 10.0 ** rng.integers(-200, 200, 40_000)
    numbers = np.concatenate([numbers, -numbers, rng.normal(size=20_000)])
    cell = rng.integers(0, 3, len(numbers))
    _, found = totals(sums_of(numbers[:, None], cell))
    assert rounded(found[:, 0]).tolist() == [math.fsum(numbers[cell == c].tolist()) for c in range(3)]


@given(USUAL, USUAL)
def test_a_product_and_what_is_rounded_off(a: float, b: float) -> None:
    value, rest = product(np.array([a]), np.array([b]))
    assert float(value[0]) == a * b
    assert Fraction(float(value[0])) + Fraction(float(rest[0])) == Fraction(a) * Fraction(b)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_cannot_be_summed(number: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        sums_of(np.array([[1.0], [number]]), np.zeros(2, dtype=np.int64))
