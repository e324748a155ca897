"""What is booked and may still be paid, and its instalments: when each is invoiced by the forecast's billing, and paid.

A ledger says what was booked, not what was paid: what was due before the window counts as paid by then.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.histories import Histories
from clvforecast.histories.churns import TERMINATED
from clvforecast.histories.engine import values
from clvforecast.histories.money import recognised
from clvforecast.histories.runs import flat_ranges
from clvforecast.simulation.slots import UNITS_PER_CENT

Longs = NDArray[np.int64]
Flags = NDArray[np.bool_]
LONGEST_PAYMENT = 365
"""Days from an invoice to its payment, at most."""


class Receivables(NamedTuple):
    """Booked items, R of them; days since 1970-01-01, money in cents.

    item: row in the histories' items; start, end: service, at least a day; tied: an early termination de-books it
    back_day, known_day, back_cents: where an early termination that is already booked takes back service from ``back_day`` on,
        what it takes of the item (against its sign), and its booking day; else 0
    """

    item: Longs
    start: Longs
    end: Longs
    booked: Longs
    cents: Longs
    tied: Flags
    back_day: Longs
    known_day: Longs
    back_cents: Longs


NO_RECEIVABLES = Receivables(
    *(np.zeros(0, dtype=np.bool_ if name == "tied" else np.int64) for name in Receivables._fields)
)


class Instalments(NamedTuple):
    """Instalments of items: of: row of the `Receivables`; service [start, stop) at ``rate`` units a day; paid: day of payment."""

    of: Longs
    start: Longs
    stop: Longs
    units: Longs
    rate: Longs
    paid: Longs


def receivable_items(histories: Histories, origin_day: int) -> Receivables:
    """Items that may be paid, whatever the billing, on `origin_day` or later, in the order of the histories' items."""
    items = histories.items
    start, cents, tied = (values(items, name) for name in ("start_day", "cents", "tied"))
    end, booked = np.maximum(values(items, "end_day"), start + 1), values(items, "booked_day")
    back_day, known_day, back_cents, taken = _taken_back(histories)
    cents = np.where(taken, 0, cents)
    latest = np.maximum(np.maximum(end - 1, booked), known_day) + LONGEST_PAYMENT
    rows = np.flatnonzero(((cents != 0) | (back_cents != 0)) & (latest >= origin_day))
    back = (column[rows] for column in (back_day, known_day, back_cents))
    return Receivables(rows, start[rows], end[rows], booked[rows], cents[rows], tied[rows].astype(bool), *back)


def _taken_back(histories: Histories) -> tuple[Longs, Longs, Longs, Flags]:
    """Of each item what a booked early termination takes back (`Receivables`), and the items that these terminations are.

    What is unserved of the term and its amendments; an amount that the ledger states goes against the term itself.
    """
    items, terms, churns = histories.items, histories.terms, histories.churns
    found = {name: np.zeros(items.num_rows, dtype=np.int64) for name in ("day", "known", "cents")}
    gone = np.zeros(items.num_rows, dtype=bool)
    kept = churns.filter(pc.and_(pc.equal(churns["role"], TERMINATED), pc.not_equal(churns["debooked_cents"], 0)))
    if not kept.num_rows:
        return found["day"], found["known"], found["cents"], gone
    gone[_places(kept["event_id"], items["event_id"])] = True
    churn_of = np.full(terms.num_rows, -1)
    churn_of[values(kept, "term")] = np.arange(kept.num_rows)
    of_amendments = _places(histories.amendments["event_id"], items["event_id"])
    places = np.append(_places(terms["event_id"], items["event_id"]), of_amendments)
    term = np.append(np.arange(terms.num_rows), values(histories.amendments, "term"))
    is_term = np.arange(places.size) < terms.num_rows
    ended = churn_of[term] >= 0
    places, term, is_term, churn = places[ended], term[ended], is_term[ended], churn_of[term[ended]]
    start, end, cents = (values(items, name)[places] for name in ("start_day", "end_day", "cents"))
    day, stated = values(kept, "effective_day")[churn], values(kept, "debooked_cents")
    unserved = cents - recognised(cents, start, end, day)
    remainder = np.zeros(kept.num_rows, dtype=np.int64)
    np.add.at(remainder, churn, unserved)
    whole = stated[churn] == -remainder[churn]
    found["cents"][places] = np.where(whole, -unserved, np.where(is_term, stated[churn], 0))
    found["day"][places], found["known"][places] = day, values(kept, "booked_day")[churn]
    return found["day"], found["known"], found["cents"], gone


def _places(event_ids: object, among: object) -> Longs:
    """Row of each event among others, which it is one of."""
    return np.asarray(pc.index_in(event_ids, among).to_numpy(), dtype=np.int64)


def instalments(items: Receivables, billing_months: int, payment_days: int) -> Instalments:
    """The instalments of items, and what terminations already booked take back of them as instalments with the other sign.

    An item's instalments begin at its start and every ``billing_months`` after (0: there is one); each is its days at the daily
    rate, the first with the remainder too. What is taken back of one that was paid when the termination was booked goes back
    ``payment_days`` after; one that was not is paid that much smaller.
    """
    units = items.cents * UNITS_PER_CENT
    rate = units // (items.end - items.start)
    of, number = _numbered(items, billing_months)
    start = months_after(items.start[of], number * billing_months)
    stop = items.end[of]
    if billing_months:
        stop = np.minimum(months_after(items.start[of], (number + 1) * billing_months), stop)
    left_over = (units - rate * (items.end - items.start))[of]
    amount = rate[of] * (stop - start) + np.where(number == 0, left_over, 0)
    paid = np.maximum(start, items.booked[of]) + payment_days
    billed = Instalments(of, start, stop, amount, rate[of], paid)
    taken = _credits(items, billed, payment_days)
    order = np.argsort(np.append(billed.of, taken.of), kind="stable")
    return Instalments(*(np.append(a, b)[order] for a, b in zip(billed, taken, strict=True)))


def _numbered(items: Receivables, billing_months: int) -> tuple[Longs, Longs]:
    """Row of the item and number from 0 of each instalment."""
    if billing_months == 0:
        return np.arange(items.start.size), np.zeros(items.start.size, dtype=np.int64)
    counts = (_month_of(items.end - 1) - _month_of(items.start)) // billing_months + 1
    of = np.repeat(np.arange(items.start.size), counts)
    number = flat_ranges(np.zeros(items.start.size, dtype=np.int64), counts)
    begun = months_after(items.start[of], number * billing_months) < items.end[of]
    return of[begun], number[begun]


def _credits(items: Receivables, billed: Instalments, payment_days: int) -> Instalments:
    """What is taken back of the instalments."""
    rows = np.flatnonzero((items.back_cents[billed.of] != 0) & (billed.stop > items.back_day[billed.of]))
    of = billed.of[rows]
    day, known, back = items.back_day[of], items.known_day[of], items.back_cents[of]
    start = np.maximum(billed.start[rows], day)
    begin = np.maximum(items.start[of], day)
    all_of_it = back == recognised(items.cents[of], items.start[of], items.end[of], day) - items.cents[of]
    length = items.end[of] - begin
    rate = np.where(all_of_it, -billed.rate[rows], back * UNITS_PER_CENT // length)
    left_over = np.where(start == begin, back * UNITS_PER_CENT - rate * length, 0)
    paid = np.where(billed.paid[rows] > known, billed.paid[rows], np.maximum(day, known) + payment_days)
    stop = billed.stop[rows]
    return Instalments(of, start, stop, rate * (stop - start) + left_over, rate, paid)


def months_after(day: Longs, months: Longs | int) -> Longs:
    """`calendar.add_months` of arrays."""
    month = _month_of(day)
    first, following = _first_day(month + months), _first_day(month + months + 1)
    place = day - _first_day(month)
    return np.asarray(first + np.minimum(place, following - first - 1), dtype=np.int64)


def _first_day(month: Longs) -> Longs:
    return np.asarray(month.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64))


def _month_of(day: Longs) -> Longs:
    return np.asarray(day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64))
