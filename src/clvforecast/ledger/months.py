"""Bookings a calendar month: months without any, and whether the last ones before a day fall short."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

Longs = NDArray[np.int64]

YEAR = 12  # months
USUAL = 10
"""Bookings that the lower quartile of the months around a gap must have: then chance leaves a month empty once in 22,000."""
AROUND = 6
"""Months before a gap, and after it, that say what is usual."""
LEAST_DAYS = 14
"""Days of a running month that say something of it by themselves."""
MOST_SPANS = 3
"""The last month alone, with the one before, and with the two before."""
HALF = 0.5
RARE = 1e-5
LEAST_SPREAD = 0.1
"""Standard deviation of a month's expected bookings over their mean, at least."""


@dataclass(frozen=True)
class Shortfall:
    """Bookings from the first of a month to `as_of`, beside the mean and the least of the same days in a year before.

    Of a longer silence `usual` is the mean of a month before it, and `least` is None.
    """

    since: date
    booked: int
    usual: float
    least: int | None


def month_of(days: Longs) -> Longs:
    """Months since January 1970 of days since 1970-01-01."""
    return np.asarray(days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64))


def month_starts(months: Longs) -> Longs:
    """First days of months, both counted from 1970."""
    return np.asarray(months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64))


@dataclass(frozen=True)
class Bookings:
    """Bookings of every day from the first of the first booking's month, `first_day` (days since 1970-01-01), to `as_of`."""

    first_day: int
    by_day: Longs

    @property
    def last_day(self) -> int:
        """The day `as_of`."""
        return self.first_day + len(self.by_day) - 1

    def by_month(self) -> Longs:
        """Bookings of every month, the running one last."""
        months = month_of(self.first_day + np.arange(len(self.by_day)))
        return np.add.reduceat(self.by_day, np.flatnonzero(np.append(True, months[1:] != months[:-1])))


def bookings_by_day(booked_day: Longs, as_of: date) -> Bookings:
    """Bookings counted; those after `as_of` are not."""
    last = int(np.datetime64(as_of, "D").astype(np.int64))
    first = int(month_starts(month_of(booked_day.min(keepdims=True)))[0])
    return Bookings(first, np.bincount(booked_day - first, minlength=last - first + 1)[: last - first + 1])


def added(parts: Iterable[Bookings]) -> Bookings | None:
    """Bookings of several ledgers together, all up to the same day; None without any."""
    found = list(parts)
    if not found:
        return None
    first = min(part.first_day for part in found)
    by_day = np.zeros(found[0].last_day - first + 1, dtype=np.int64)
    for part in found:
        by_day[part.first_day - first :] += part.by_day
    return Bookings(first, by_day)


def empty_months(bookings: Bookings) -> list[int]:
    """Months (counted from January 1970) between the first booking and `as_of` in which nothing is booked, though months
    usually have many.

    Of the six months before a run of empty ones and the six after it (three at least in all), the lower quartile has ten
    bookings or more; and the same months a year before, or after, were not empty too, as in a trade with a season.
    The running month, and empty months up to it, are no gap: `shortfall` looks at them.
    """
    counts = bookings.by_month()
    first = int(month_of(np.array([bookings.first_day]))[0])
    counts = counts[: int(np.flatnonzero(counts)[-1]) + 1]
    empty = np.append(False, np.append(counts == 0, False))
    found: list[int] = []
    for begin, end in pairwise(np.flatnonzero(empty[1:] != empty[:-1])):
        if empty[begin + 1] and _is_gap(counts, int(begin), int(end)):
            found += range(first + int(begin), first + int(end))
    return found


def _is_gap(counts: Longs, begin: int, end: int) -> bool:
    """Whether the run of empty months [begin, end) is unusual among the months around it."""
    around = np.concatenate((counts[max(begin - AROUND, 0) : begin], counts[end : end + AROUND]))
    if len(around) < AROUND // 2 or np.quantile(around, 0.25) < USUAL:
        return False
    for shift in (-YEAR, YEAR):
        same = np.arange(begin, end) + shift
        same = same[(same >= 0) & (same < len(counts)) & ((same < begin) | (same >= end))]
        if len(same) and not counts[same].any():
            return False
    return True


def shortfall(bookings: Bookings) -> Shortfall | None:
    """How far the bookings of the last months, up to `as_of`, fall short of the year before; None where they do not.

    x = bookings from the first of a month to `as_of`: the running month (of 14 days or more), with the one before it, and
    with the two before it; each beside the same days of the calendar one month earlier, two, ... twelve, the last of
    which is the same season a year ago (one and two months earlier, the days of a longer span would be its own: then
    from two, and three, months earlier on).  With their mean m and variance v (at least m + (m / 10)^2), x falls short
    when it is at most half of the least of the twelve, and a negative binomial of that mean and variance is at most x
    with a probability below 1e-5:

        P(X <= x) < 1e-5,  X ~ NegativeBinomial(mean m, variance v);      x <= min(twelve) / 2

    So a quiet season, a batch once a quarter, growth, decline by a few percent a month and months of few bookings are no
    shortfall. A year of bookings before the span is needed.

    A silence of two whole months or more up to `as_of` falls short, too, when it would be a gap (`empty_months`) if bookings
    went on after it, and a year of bookings lies before it.
    """
    return _silence(bookings) or _short_span(bookings)


def _silence(bookings: Bookings) -> Shortfall | None:
    counts = bookings.by_month()
    begin, end = int(np.flatnonzero(counts)[-1]) + 1, len(counts)
    if end - begin <= 2 or begin < YEAR or not _is_gap(counts, begin, end):
        return None
    month = month_of(np.array([bookings.first_day])) + begin
    usual = float(counts[begin - AROUND : begin].mean())
    return Shortfall(since=np.datetime64(int(month_starts(month)[0]), "D").item(), booked=0, usual=usual, least=None)


def _short_span(bookings: Bookings) -> Shortfall | None:
    until, first = bookings.last_day, bookings.first_day
    before = np.append(0, np.cumsum(bookings.by_day))
    last = int(month_of(np.array([until]))[0])
    day_of_month = until - int(month_starts(np.array([last]))[0])
    for length in range(1, MOST_SPANS + 1):
        begins = month_starts(last - length + 1 - np.arange(length + YEAR))
        if until - begins[0] + 1 < LEAST_DAYS:
            continue
        if begins[-1] < first:
            return None
        tops = last - np.arange(length + YEAR)
        ends = month_starts(tops + 1)
        ends = ends if ends[0] == until + 1 else np.minimum(month_starts(tops) + day_of_month + 1, ends)
        booked = before[ends - first] - before[begins - first]
        if _falls_short(int(booked[0]), booked[length:]):
            return Shortfall(
                since=np.datetime64(int(begins[0]), "D").item(),
                booked=int(booked[0]),
                usual=float(booked[length:].mean()),
                least=int(booked[length:].min()),
            )
    return None


def _falls_short(booked: int, earlier: Longs) -> bool:
    """P(X <= x) = I_p(r, x + 1), with r = m^2 / (v - m) and p = r / (r + m), is the negative binomial's."""
    least = int(earlier.min())
    if least == 0 or booked > HALF * least:
        return False
    mean = float(earlier.mean())
    spread = max(float(earlier.var(ddof=1)) - mean, (LEAST_SPREAD * mean) ** 2)
    r = mean**2 / spread
    return bool(betainc(r, booked + 1.0, r / (r + mean)) < RARE)
