"""Prices over time become contract terms: what subscription systems tell, and what a ledger books.

A subscription system says from when to when a price held. A ledger holds terms: the price of a whole term is booked on its first
day, a change inside a term adds what is left of it, and an end is a churn. Terms follow each other from the first day on, however
often the price changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clvforecast.ledger.days import term_ends

Longs = NDArray[np.int64]

OPEN = np.iinfo(np.int64).max
"""End of a period that has no end yet."""
INITIAL, RENEWAL, EXPANSION, CONTRACTION, CHURN = range(5)
KIND_NAMES = ("initial", "renewal", "expansion", "contraction", "churn")


@dataclass(frozen=True)
class Periods:
    """Prices over time, by line and day; periods of a line do not overlap.

    line: the contract each belongs to; start, end: days since 1970-01-01, the end the first day without, or `OPEN`;
    price: cents a term; months: of a term; row: where it was read.
    """

    line: Longs
    start: Longs
    end: Longs
    price: Longs
    months: Longs
    row: Longs


@dataclass(frozen=True)
class Booked:
    """Events, by line, day, and kind: amount in cents (0 where `has_amount` is not set), months of new terms (else 0)."""

    line: Longs
    kind: Longs
    day: Longs
    amount: Longs
    has_amount: NDArray[np.bool_]
    months: Longs
    row: Longs


def booked(periods: Periods, known_day: int) -> Booked:
    """The events that periods of prices are, as far as known on `known_day`.

    - The first term of a run of periods without a gap is an initial, each one after it a renewal on the day the one before ends.
    - A price that changes inside a term is an expansion or a contraction by the difference, for the days that are left:
      ``difference x days left / days of the term``, half-even to the cent.
    - A run that ends by `known_day` ends with a churn, without an amount: inside a term the ledger then takes back what is
      unserved.
    - Another length of terms counts from the end of the running term on.
    """
    known = periods.start <= known_day
    if not known.any():
        nothing = np.empty(0, np.int64)
        return Booked(nothing, nothing, nothing, nothing, np.empty(0, bool), nothing, nothing)
    periods = Periods(*(getattr(periods, name)[known] for name in Periods.__annotations__))
    follows = (periods.line[1:] == periods.line[:-1]) & (periods.start[1:] == periods.end[:-1])
    run_starts = np.flatnonzero(np.append(True, ~follows))
    term = _terms(periods, run_starts, known_day)
    parts = [term.events, _changes(periods, term), _ends(periods, run_starts, known_day)]
    whole = Booked(*(np.concatenate([getattr(part, name) for part in parts]) for name in Booked.__annotations__))
    order = np.lexsort((whole.kind, whole.day, whole.line))
    return Booked(*(getattr(whole, name)[order] for name in Booked.__annotations__))


def months_in_force(periods: Periods, events: Booked) -> Longs:
    """Months of the term that runs when each period begins."""
    terms = np.flatnonzero(events.kind <= RENEWAL)
    return events.months[terms[_last_begun(events.line[terms], events.day[terms], periods.line, periods.start)]]


@dataclass(frozen=True)
class _Terms:
    """Every term's first and next day, and its events."""

    start: Longs
    end: Longs
    events: Booked


def _terms(periods: Periods, run_starts: Longs, known_day: int) -> _Terms:
    """The terms of all runs. Pieces of a run, which have one length of terms, are worked out one after the other."""
    piece_starts = np.union1d(run_starts, np.flatnonzero(np.append(True, np.diff(periods.months) != 0)))
    piece_ends = np.append(piece_starts[1:], len(periods.line)) - 1
    run = np.searchsorted(run_starts, piece_starts, side="right") - 1
    turn = np.arange(len(piece_starts)) - np.searchsorted(run, run)
    begins = periods.start[piece_starts].copy()  # of a run's later pieces: when the term before ends
    found: list[tuple[Longs, Longs, Longs]] = []
    for now in range(int(turn.max()) + 1):
        mine = np.flatnonzero(turn == now)
        last = np.minimum(periods.end[piece_ends[mine]], known_day + 1)
        months = periods.months[piece_starts[mine]]
        place, start, end = _grid(begins[mine], last, months)
        found.append((mine[place], start, end))
        over = begins[mine].copy()
        over[place] = end  # the last term of each stands
        following = mine + 1
        there = (following < len(piece_starts)) & (np.append(run, -1)[following] == run[mine])
        begins[following[there]] = over[there]
    piece, start, end = (np.concatenate(columns) for columns in zip(*found, strict=True))
    order = np.lexsort((start, piece))
    piece, start, end = piece[order], start[order], end[order]
    at = _last_begun(periods.line, periods.start, periods.line[piece_starts[piece]], start)
    first = np.append(True, run[piece][1:] != run[piece][:-1]) if len(piece) else np.empty(0, bool)
    events = Booked(
        line=periods.line[at],
        kind=np.where(first, INITIAL, RENEWAL).astype(np.int64),
        day=start,
        amount=periods.price[at],
        has_amount=np.ones(len(at), dtype=bool),
        months=periods.months[piece_starts[piece]],
        row=periods.row[at],
    )
    return _Terms(start, end, events)


def _grid(begin: Longs, last: Longs, months: Longs) -> tuple[Longs, Longs, Longs]:
    """(place, first day, next day) of the terms from each `begin` on that start before `last`.

    The k-th starts k terms after the first, so that contracts of the 31st come back to it after short months.
    """
    most = np.maximum((last - begin) // (28 * months) + 1, 0) * (last > begin)
    place = np.repeat(np.arange(len(begin)), most)
    k = np.arange(int(most.sum())) - np.repeat(np.cumsum(most) - most, most)
    start = term_ends(begin[place], k * months[place])
    wanted = start < last[place]
    place, k, start = place[wanted], k[wanted], start[wanted]
    return place, start, term_ends(begin[place], (k + 1) * months[place])


def _last_begun(line: Longs, begun: Longs, of_line: Longs, day: Longs) -> Longs:
    """Place of what began last by each day, in the same line, of what is in order of line and first day."""
    if not len(begun):  # then nothing is known that could be asked for
        return np.empty(0, np.int64)
    first = int(min(begun.min(), day.min(initial=begun.min())))
    days = int(max(begun.max(), day.max(initial=begun.max()))) - first + 1
    return np.searchsorted(line * days + (begun - first), of_line * days + (day - first), side="right") - 1


def _changes(periods: Periods, term: _Terms) -> Booked:
    """Prices that change inside a term, against the price in force: one of another length of terms waits for the term's end."""
    at = _last_begun(term.events.line, term.start, periods.line, periods.start)
    inside = (periods.start > term.start[at]) & (periods.start < term.end[at])
    changing = np.flatnonzero(inside & (term.events.months[at] == periods.months))
    at = at[changing]
    price = periods.price[changing]
    again = np.append(False, at[1:] == at[:-1]) if len(at) else np.empty(0, bool)
    before = np.where(again, np.append(0, price)[:-1], term.events.amount[at])
    left, length = term.end[at] - periods.start[changing], term.end[at] - term.start[at]
    amount = _half_even((price - before) * left, length)
    changing, amount = changing[amount != 0], amount[amount != 0]
    return Booked(
        line=periods.line[changing],
        kind=np.where(amount > 0, EXPANSION, CONTRACTION).astype(np.int64),
        day=periods.start[changing],
        amount=amount,
        has_amount=np.ones(len(changing), dtype=bool),
        months=np.zeros(len(changing), np.int64),
        row=periods.row[changing],
    )


def _ends(periods: Periods, run_starts: Longs, known_day: int) -> Booked:
    """Runs that have ended."""
    last = np.append(run_starts[1:], len(periods.line)) - 1
    last = last[periods.end[last] <= known_day]
    nothing = np.zeros(len(last), np.int64)
    return Booked(
        line=periods.line[last],
        kind=nothing + CHURN,
        day=periods.end[last],
        amount=nothing,
        has_amount=np.zeros(len(last), dtype=bool),
        months=nothing,
        row=periods.row[last],
    )


def _half_even(numerator: Longs, denominator: Longs) -> Longs:
    """Quotients rounded to the nearest whole number, ties to even; exact."""
    quotient, rest = np.divmod(numerator, denominator)
    up = (2 * rest > denominator) | ((2 * rest == denominator) & (quotient % 2 != 0))
    return np.asarray(quotient + up, dtype=np.int64)
