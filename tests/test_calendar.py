"""Day arithmetic against pandas, and the reporting grid."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from clvforecast.simulation.calendar import (
    add_months,
    civil_from_day,
    day_from_civil,
    day_number,
    make_grid,
    month_at,
    month_starts,
    months_later,
)


def test_civil_dates_and_months_are_pandas() -> None:
    for day in range(-60_000, 60_000, 13):
        stamp = pd.Timestamp("1970-01-01") + pd.Timedelta(days=day)
        assert civil_from_day(day) == (stamp.year, stamp.month, stamp.day)
        assert day_from_civil(stamp.year, stamp.month, stamp.day) == day
        for months in (1, 12, 13, 36):
            assert add_months(day, months) == (stamp + pd.DateOffset(months=months) - pd.Timestamp("1970-01-01")).days


def test_looking_months_up_is_counting_them() -> None:
    """Also inside a larger table, and for days before the first month of the list."""
    starts = month_starts(1996, 2105)
    table = np.concatenate(([3, 2], starts))
    for day in range(int(starts[0]) - 400, day_number(dt.date(2004, 12, 31)), 1):
        place = month_at(table, 2, day) - 2
        year, month, _ = civil_from_day(day)
        assert place == max((year - 1996) * 12 + month - 1, 0)
        known = place if day >= starts[0] else -1
        for months in (1, 12, 37, 1200):
            later = add_months(day, months)
            then = month_at(table, 2, later) - 2 if later >= starts[0] else -1
            assert months_later(table, 2, known, day, months) == (later, then)


@pytest.mark.parametrize(("as_of", "months"), [(dt.date(2018, 6, 30), 24), (dt.date(2024, 2, 10), 7)])
def test_grid_covers_the_window_in_calendar_months(as_of: dt.date, months: int) -> None:
    grid = make_grid(as_of, months, 0.1)
    origin = pd.Timestamp(as_of) + pd.Timedelta(days=1)
    assert grid.bounds[0] == day_number(as_of) + 1
    assert grid.bounds[-1] == (origin + pd.DateOffset(months=months) - pd.Timestamp("1970-01-01")).days
    inner = [civil_from_day(int(bound)) for bound in grid.bounds[1:-1]]
    assert all(day == 1 for _, _, day in inner)
    assert np.array_equal(np.bincount(grid.month_of), np.diff(grid.bounds))


def test_discount_is_at_the_middle_of_each_month() -> None:
    grid = make_grid(dt.date(2025, 12, 31), 12, 0.10)
    assert grid.discount[0] == pytest.approx(1.1 ** (-15.5 / 365.25), rel=1e-14)
    assert grid.cumulative[-1] == pytest.approx(float((np.diff(grid.bounds) * grid.discount).sum()), rel=1e-14)
