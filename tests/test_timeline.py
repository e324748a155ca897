"""Prices over time as contract terms: against a plain walk through the days of one contract, and by hand."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvforecast.adapters.timeline import KIND_NAMES, OPEN, Booked, Periods, booked

EPOCH = dt.date(1970, 1, 1)


def day(text: str) -> int:
    return (dt.date.fromisoformat(text) - EPOCH).days


def periods(*rows: tuple[int, str, str | None, int, int]) -> Periods:
    """From (line, start, end, cents a term, months)."""
    columns = [
        (line, day(start), OPEN if end is None else day(end), price, months, number)
        for number, (line, start, end, price, months) in enumerate(rows)
    ]
    return Periods(*(np.array(values, dtype=np.int64) for values in zip(*columns, strict=True)))


def told(events: Booked) -> list[tuple[int, str, str, int | None, int]]:
    return [
        (line, KIND_NAMES[kind], (EPOCH + dt.timedelta(days=day)).isoformat(), amount if has else None, months)
        for line, kind, day, amount, has, months, _ in zip(
            *(getattr(events, name).tolist() for name in Booked.__annotations__), strict=True
        )
    ]


def test_a_raise_inside_a_month_and_an_end_with_the_term() -> None:
    """The term of June has 30 days, of which 15 are left at the raise: half of the 20 a month."""
    given_ = periods((0, "2024-05-01", "2024-06-16", 5000, 1), (0, "2024-06-16", "2024-08-01", 7000, 1))
    assert told(booked(given_, day("2024-12-31"))) == [
        (0, "initial", "2024-05-01", 5000, 1),
        (0, "renewal", "2024-06-01", 5000, 1),
        (0, "expansion", "2024-06-16", 1000, 0),
        (0, "renewal", "2024-07-01", 7000, 1),
        (0, "churn", "2024-08-01", None, 0),
    ]


def test_what_is_not_known_yet_is_not_booked() -> None:
    events = booked(periods((0, "2024-01-31", None, 100, 1), (1, "2024-06-01", None, 900, 12)), day("2024-03-31"))
    assert told(events) == [
        (0, "initial", "2024-01-31", 100, 1),
        (0, "renewal", "2024-02-29", 100, 1),
        (0, "renewal", "2024-03-31", 100, 1),
    ]
    assert told(booked(periods((0, "2024-06-01", None, 900, 12)), day("2024-03-31"))) == []


def test_another_length_of_terms_begins_when_the_running_term_ends() -> None:
    given_ = periods((0, "2024-01-01", "2024-02-10", 100, 1), (0, "2024-02-10", "2025-03-01", 1000, 12))
    assert told(booked(given_, day("2025-12-31"))) == [
        (0, "initial", "2024-01-01", 100, 1),
        (0, "renewal", "2024-02-01", 100, 1),
        (0, "renewal", "2024-03-01", 1000, 12),
        (0, "churn", "2025-03-01", None, 0),
    ]


def test_a_gap_begins_anew() -> None:
    given_ = periods((7, "2024-01-01", "2024-03-01", 100, 1), (7, "2024-06-15", None, 300, 3))
    assert told(booked(given_, day("2024-09-15"))) == [
        (7, "initial", "2024-01-01", 100, 1),
        (7, "renewal", "2024-02-01", 100, 1),
        (7, "churn", "2024-03-01", None, 0),
        (7, "initial", "2024-06-15", 300, 3),
        (7, "renewal", "2024-09-15", 300, 3),
    ]


@st.composite
def timelines(draw: st.DrawFn) -> list[tuple[int, str, str | None, int, int]]:
    """Lines of up to five periods, with gaps or without, prices and lengths of terms that change or not."""
    rows = []
    for line in range(draw(st.integers(1, 3))):
        start = dt.date(2023, 1, 1) + dt.timedelta(days=draw(st.integers(0, 60)))
        months = draw(st.sampled_from([1, 3, 12]))
        for _ in range(draw(st.integers(1, 5))):
            end = start + dt.timedelta(days=draw(st.integers(1, 250)))
            months = draw(st.sampled_from([months, months, months, 1, 3]))
            rows.append((line, start.isoformat(), end.isoformat(), draw(st.integers(1, 9)) * 1000, months))
            start = end + dt.timedelta(days=draw(st.sampled_from([0, 0, 0, 40])))
    return rows


def next_day(start: dt.date, months: int) -> dt.date:
    return (pd.Timestamp(start) + pd.DateOffset(months=months)).date()


def walked(
    rows: list[tuple[int, str, str | None, int, int]], known: dt.date
) -> list[tuple[int, str, str, int | None, int]]:
    """The same, one day after the other."""
    events: list[tuple[int, str, str, int | None, int]] = []
    for line in sorted({row[0] for row in rows}):
        mine = [
            (dt.date.fromisoformat(start), dt.date.fromisoformat(end), p, m)
            for k, start, end, p, m in rows
            if k == line
        ]
        origin, count, until, months, price = None, 0, None, 0, 0
        today = mine[0][0]
        while today <= known and today <= mine[-1][1]:
            running = next((row for row in mine if row[0] <= today < row[1]), None)
            before = next((row for row in mine if row[0] <= today - dt.timedelta(days=1) < row[1]), None)
            if running is None and before is not None:
                events.append((line, "churn", today.isoformat(), None, 0))
                origin = until = None
            elif running is not None and until is None:
                origin, count, months, price = today, 1, running[3], running[2]
                until = next_day(origin, months)
                events.append((line, "initial", today.isoformat(), price, months))
            elif running is not None and today == until:
                if running[3] != months:
                    origin, count, months = today, 0, running[3]
                price, count = running[2], count + 1
                until = next_day(origin, count * months)
                events.append((line, "renewal", today.isoformat(), price, months))
            elif running is not None and running[3] == months and running[2] != price:
                start = next_day(origin, (count - 1) * months)
                amount = round(Fraction((running[2] - price) * (until - today).days, (until - start).days))
                events.append(
                    (line, "expansion" if running[2] > price else "contraction", today.isoformat(), amount, 0)
                )
                price = running[2]
            today += dt.timedelta(days=1)
    return events


@settings(max_examples=300, deadline=None)
@given(timelines(), st.integers(0, 900))
def test_any_timeline_is_what_a_walk_through_its_days_books(
    rows: list[tuple[int, str, str | None, int, int]], known_after: int
) -> None:
    known = dt.date(2023, 1, 1) + dt.timedelta(days=known_after)
    found = told(booked(periods(*rows), (known - EPOCH).days))
    assert found == walked(rows, known)


@pytest.mark.parametrize("known", ["2023-06-30", "2024-06-30"])
def test_lines_do_not_touch_each_other(known: str) -> None:
    one = (0, "2023-01-31", "2023-09-10", 5000, 3)
    other = (1, "2023-02-10", None, 700, 1)
    together = told(booked(periods(one, other), day(known)))
    assert together == told(booked(periods(one), day(known))) + told(booked(periods(other), day(known)))
