"""Money in words: one unit a table, and no range whose ends look alike."""

from __future__ import annotations

import numpy as np
import pytest

from clvforecast.report.units import MoneyUnit, in_unit, in_unit_or_less, money_unit, range_unit


@pytest.mark.parametrize("scale", [2e5, 1.1e6, 7e7, 2e9, 4e11])
def test_ends_that_differ_are_written_differently_with_three_figures(scale: float) -> None:
    rng = np.random.default_rng(int(scale))
    for _ in range(50):
        rows = np.sort(scale * rng.uniform(0.01, 1.0, (5, 1)) * (1.0 + rng.normal(0.0, 0.05, (5, 3))), axis=1)
        unit = range_unit(*rows.T)
        for row in rows:
            low, middle, high = (in_unit(amount, unit) for amount in row)
            assert len(high.replace(",", "").replace(".", "").lstrip("0")) >= 3, (row, unit)
            assert np.diff(row).min() < 0.01 * row.max() or len({low, middle, high}) == 3, (row, unit)


def test_a_narrow_range_of_a_million_is_not_1_1_to_1_2() -> None:
    unit = range_unit([10_600_000, 1_068_000], [11_000_000, 1_121_000], [11_900_000, 1_182_000])
    assert unit == MoneyUnit(1e6, "million", 2)
    assert [in_unit(amount, unit) for amount in (1_068_000, 1_121_000, 1_182_000)] == ["1.07", "1.12", "1.18"]


def test_what_is_unknown_or_tiny_does_not_decide() -> None:
    assert range_unit([20e6, np.nan], [21e6, np.nan], [23e6, np.nan]) == money_unit(23e6)
    assert range_unit([20e6, 1.0], [21e6, 2.0], [23e6, 3.0]) == money_unit(23e6)
    assert range_unit([], [], [], beside=5e9) == money_unit(5e9)
    assert range_unit([0.0], [0.0], [0.0]) == money_unit(0.0)


def test_whole_currency_is_to_the_cent_only_where_it_is_little() -> None:
    assert range_unit([1.0], [1.2], [1.4]).digits == 2
    assert range_unit([1.0, 4_000.0], [1.2, 4_100.0], [1.4, 5_000.0]).digits == 0


def test_no_amount_reads_as_nothing_and_no_nothing_has_a_sign() -> None:
    million, whole = MoneyUnit(1e6, "million"), MoneyUnit(1.0, "", 0)
    small = (19_267.0, -19_267.0, 0.0, -0.0, -0.004, 96_000.0)
    assert [in_unit_or_less(amount, million) for amount in small] == ["<0.1", ">-0.1", "0.0", "0.0", "0.0", "0.1"]
    assert [in_unit(amount, million) for amount in small[:2]] == ["0.0", "0.0"]
    assert in_unit_or_less(0.3, whole) == "<1"
