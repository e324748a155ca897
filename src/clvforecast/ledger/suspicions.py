"""What is legal in a ledger's events but looks wrong: one line a kind, with how often, an example and what to do.

Nothing is rejected for it. All is counted on columns of numbers; texts are looked at once an account.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.events import TERM_KINDS
from clvforecast.ledger.days import term_ends, whole_days
from clvforecast.ledger.months import Bookings, bookings_by_day, empty_months, shortfall
from clvforecast.machine import available_threads

Longs = NDArray[np.int64]
Flags = NDArray[np.bool_]

INCOMPLETE = "check that the export is complete"
"""What is said where events seem to be missing."""
CUT_OFF = f"{INCOMPLETE}, or give an earlier as_of"
"""What is said where they seem to be missing at the end."""
UNIT_SLIP = 100.0
"""A renewal this many times the price a month of the term before, or the same part of it: cents for units, a year's for a
month's and a slipped digit, not a customer's growth."""
FAR_AHEAD = 731
"""Days from booking to start of service beyond which it is implausible, unless it follows on from a term."""
FOLLOWS_ON = 92
"""Days after a term in which what starts still follows on from it (the longest grace of all terms)."""
APART = 731
"""Days without any booking that set the last bookings of a ledger apart."""
FEW = 0.01
"""Share of all bookings that those set apart may be; more of them are a business that paused."""
SHOWN_MONTHS = 3
DAY_BITS = 20
IDS_EACH = 2**17  # account ids whose spelling is made plain at a time
CASE_SENSITIVE = r"^[0-9A-Za-z]{15}$"
"""Ids as Salesforce gives them out: letter case tells them apart."""


@dataclass(frozen=True)
class Rows:
    """A ledger's events, R of them in canonical order, as numbers.

    account: int64[R], number of the account, rising; term: bool[R], an initial or renewal; start_day, booked_day: int64[R],
    days since 1970-01-01.
    """

    events: pa.Table
    account: Longs
    term: Flags
    start_day: Longs
    booked_day: Longs


@dataclass(frozen=True)
class Terms:
    """The terms among the rows, by line and start: row, line, end_day (int64[T]); monthly price is cents over months."""

    row: Longs
    line: Longs
    start_day: Longs
    end_day: Longs
    cents: Longs
    months: Longs
    without_contract: Flags

    @property
    def same_line(self) -> Flags:
        """bool[T - 1], whether a term and the next are of one line."""
        return np.asarray(self.line[1:] == self.line[:-1])


def suspicions(events: pa.Table, later: pa.Table, as_of: date) -> tuple[str, ...]:
    """The warnings of accepted events in canonical order, known on `as_of`, and of those kept for later.

    - A renewal of 100 times the price a month of its line's term before, or more, or of a hundredth or less.
    - Accounts whose terms of one line overlap: one starts before half of the one before is over, and no churn lies
      between, as `Histories` warn of too (a renewal that starts early overlaps by less).
    - Service that starts over two years after its booking, and not within 92 days of an earlier term of the account.
    - At most 1% of all bookings that come after two years without any: a mistyped year, which would make a late `as_of`.
    - Account ids that are one when letter case, blanks, signs between letters and Unicode's ways of writing a letter are
      left aside. Signs between digits count (1-23 is not 12-3), letter case in ids of 15 letters and digits does.
    - Months without any event (`months.empty_months`), and a last month that falls short (`months.shortfall`).
    """
    rows = _rows(events)
    with ThreadPoolExecutor(1) as aside:  # texts and numbers at the same time
        spellings = aside.submit(lambda: tuple(_spellings(rows)))
        terms = _terms(rows)
        bookings = bookings_by_day(rows.booked_day, as_of)
        found = (
            _unit_slips(rows, terms),
            _parallel_terms(rows, terms),
            _far_ahead(rows, terms),
            _apart(events, later),
            of_bookings(bookings, as_of, _last_booking(rows)),
        )
        told = tuple(line for lines in found for line in lines)
    return (*told, *spellings.result())


def _rows(events: pa.Table) -> Rows:
    accounts = events["account_id"]
    changes = pc.not_equal(accounts[1:], accounts[:-1]).to_numpy()
    return Rows(
        events=events,
        account=np.append(0, np.cumsum(changes, dtype=np.int64))[: events.num_rows],
        term=pc.is_in(events["kind"], pa.array(TERM_KINDS)).to_numpy(),
        start_day=whole_days(events["start_date"]),
        booked_day=whole_days(events["event_date"]),
    )


def _terms(rows: Rows) -> Terms:
    row = np.flatnonzero(rows.term)
    own = rows.events.select(["contract_id", "amount_cents", "term_months"])
    own = own if len(row) == own.num_rows else own.filter(pa.array(rows.term))
    contract = own["contract_id"]
    without = pc.equal(contract, "").to_numpy()
    line = rows.account[row]
    cents, months = (own[name].to_numpy().astype(np.int64, copy=False) for name in ("amount_cents", "term_months"))
    start = rows.start_day[row]
    if not without.all():
        line = (line << 32) | pc.index_in(contract, pc.unique(contract)).to_numpy().astype(np.int64)
        order = np.argsort(line, kind="stable")
        row, line, start, cents, months, without = (a[order] for a in (row, line, start, cents, months, without))
    return Terms(row, line, start, term_ends(start, months), cents, months, without)


def _example(rows: Rows, row: int) -> str:
    """Account and start of service of an event."""
    account = rows.events["account_id"][row].as_py()
    return f"account {account!r}, {rows.events['start_date'][row].as_py()}"


def _money(cents: float) -> str:
    return f"{cents / 100:,.2f}"


# --- terms --------------------------------------------------------------------------------------------------


def _unit_slips(rows: Rows, terms: Terms) -> Iterator[str]:
    renewal = pc.equal(rows.events["kind"], "renewal").to_numpy()[terms.row[1:]]
    after = terms.cents[1:] * terms.months[:-1].astype(np.float64)
    before = terms.cents[:-1] * terms.months[1:].astype(np.float64)
    is_slip = (after >= UNIT_SLIP * before) | (after * UNIT_SLIP <= before)
    slips = np.flatnonzero(terms.same_line & renewal & is_slip) + 1
    if len(slips):
        first = int(slips[0])
        monthly = [_money(terms.cents[term] / terms.months[term]) for term in (first - 1, first)]
        yield (
            f"events: {len(slips)} renewals have a monthly price of 100 times the term before or more, or of 1/100 or less "
            f"({_example(rows, int(terms.row[first]))}: {monthly[1]} after {monthly[0]} a month); check the unit of amount and "
            "term_months"
        )


def _parallel_terms(rows: Rows, terms: Terms) -> Iterator[str]:
    overlap = terms.end_day[:-1] - terms.start_day[1:]
    parallel = 2 * overlap > terms.end_day[:-1] - terms.start_day[:-1]
    found = np.flatnonzero(terms.same_line & parallel) + 1
    found = found[~_churned(rows, rows.account[terms.row[found]], terms.start_day[found - 1], terms.start_day[found])]
    for without, words, advice in (
        (True, "and no contract_id", "give contract_id where an account holds several contracts"),
        (False, "in one contract_id", "check what term_months and contract_id say: the money of both counts at once"),
    ):
        mine = found[terms.without_contract[found] == without]
        if len(mine):
            accounts = len(np.unique(rows.account[terms.row[mine]]))
            running = np.datetime64(int(terms.end_day[mine[0] - 1]), "D")
            yield (
                f"events: {accounts} accounts have parallel terms {words} ({_example(rows, int(terms.row[mine[0]]))}: "
                f"a term starts while the one before runs to {running}); {advice}"
            )


def _churned(rows: Rows, account: Longs, since: Longs, until: Longs) -> Flags:
    """Whether a churn of each account takes effect between two days, both included: then the term before did not run on."""
    churn = np.flatnonzero(pc.equal(rows.events["kind"], "churn").to_numpy())
    first = rows.start_day.min()
    key = (rows.account[churn] << DAY_BITS) | (rows.start_day[churn] - first)
    low = np.searchsorted(key, (account << DAY_BITS) | (since - first))
    high = np.searchsorted(key, (account << DAY_BITS) | (until - first), side="right")
    return np.asarray(high > low)


def _far_ahead(rows: Rows, terms: Terms) -> Iterator[str]:
    """Covered until: the latest end, so far, of the terms of the same account that stand before the row."""
    far = np.flatnonzero(rows.start_day - rows.booked_day > FAR_AHEAD)
    if not len(far):
        return
    ends = np.zeros(len(rows.account), dtype=np.int64)
    ends[terms.row] = terms.end_day - rows.start_day.min()
    until = np.maximum.accumulate((rows.account << DAY_BITS) | ends)
    before = np.where(far > 0, until[far - 1], -1)
    needed = (rows.account[far] << DAY_BITS) | np.maximum(rows.start_day[far] - FOLLOWS_ON - rows.start_day.min(), 1)
    far = far[before < needed]
    if len(far):
        first = int(far[0])
        yield (
            f"events: {len(far)} start more than two years after their booking, and follow on from no term "
            f"({_example(rows, first)}, booked {rows.events['event_date'][first].as_py()}); check start_date and event_date"
        )


# --- bookings over time -------------------------------------------------------------------------------------


def _apart(events: pa.Table, later: pa.Table) -> Iterator[str]:
    booked_day = np.concatenate([whole_days(table["event_date"]) for table in (events, later)])
    first = int(booked_day.min())
    n_by_day = np.bincount(booked_day - first)
    days = np.flatnonzero(n_by_day)
    after = len(booked_day) - np.cumsum(n_by_day[days])[:-1]
    breaks = np.flatnonzero((np.diff(days) > APART) & (after <= FEW * len(booked_day)))
    if len(breaks):
        day = first + int(days[breaks[0] + 1])
        table, row = next(
            (table, int(np.argmax(at)))
            for table in (events, later)
            if (at := whole_days(table["event_date"]) == day).any()
        )
        yield (
            f"events: {after[breaks[0]]} are booked two years or more after all others (account "
            f"{table['account_id'][row].as_py()!r}, {np.datetime64(day, 'D')}); check their event_date, and give as_of"
        )


def of_bookings(bookings: Bookings, as_of: date, last: str = "") -> tuple[str, ...]:
    """Those that bookings by day are enough for; ``last`` is said of the last of them."""
    return (*_gaps(bookings), *_truncated(bookings, as_of, last))


def _last_booking(rows: Rows) -> str:
    last = int(np.argmax(rows.booked_day))
    booked = rows.events["event_date"][last].as_py()
    return f" (last: account {rows.events['account_id'][last].as_py()!r}, {booked})"


def _gaps(bookings: Bookings) -> Iterator[str]:
    months = empty_months(bookings)
    if months:
        shown = ", ".join(str(np.datetime64(month, "M")) for month in months[:SHOWN_MONTHS])
        more = ", ..." if len(months) > SHOWN_MONTHS else ""
        yield (
            f"events: nothing is booked in {len(months)} months in which it usually is ({shown}{more}); {INCOMPLETE}"
        )


def _truncated(bookings: Bookings, as_of: date, last: str) -> Iterator[str]:
    short = shortfall(bookings)
    if short is None:
        return
    usual = (
        f"{short.usual:,.0f} a month were usual before"
        if short.least is None
        else f"{short.usual:,.0f} usually are and never under {short.least} in the year before"
    )
    yield f"events: {short.booked} are booked from {short.since} to {as_of}, where {usual}{last}; {CUT_OFF}"


# --- account ids --------------------------------------------------------------------------------------------


def _spellings(rows: Rows) -> Iterator[str]:
    firsts = np.append(True, rows.account[1:] != rows.account[:-1])[: len(rows.account)]
    ids = rows.events["account_id"].filter(pa.array(firsts))
    ids = pa.concat_arrays([chunk.cast(pa.large_string()) for chunk in ids.chunks])
    parts = [ids.slice(first, IDS_EACH) for first in range(0, len(ids), IDS_EACH)]
    with ThreadPoolExecutor(available_threads()) as pool:
        bare = pa.chunked_array(pool.map(bare_spelling, parts), pa.large_string())
    ids = ids.filter(pa.array(_shared(bare)))  # few, most often none: only these need a closer look
    plain = plain_spelling(ids)
    alike = _shared(plain)
    if not alike.any():
        return
    first = int(np.argmax(alike))
    second = first + 1 + int(np.argmax(pc.equal(plain[first + 1 :], plain[first]).to_numpy(zero_copy_only=False)))
    yield (
        f"events: {int(alike.sum())} account ids differ from another only by letter case, blanks, signs or Unicode form "
        f"({ids[first].as_py()!r} and {ids[second].as_py()!r}); write one account's id one way"
    )


def _shared(texts: pa.ChunkedArray | pa.Array) -> Flags:
    """Whether each text is there more than once."""
    encoded = pc.dictionary_encode(texts)
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    code = encoded.indices.to_numpy()
    return np.asarray(np.bincount(code)[code] > 1)


def bare_spelling(ids: pa.Array) -> pa.Array:
    """Letters and digits alone, in lower case, NFKC: what has one plain spelling has one of these."""
    if pc.all(pc.string_is_ascii(ids)).as_py():
        return pc.replace_substring_regex(pc.ascii_lower(ids), r"[^a-z0-9]+", "")
    return pc.replace_substring_regex(pc.utf8_lower(pc.utf8_normalize(ids, "NFKC")), r"[^\pL\pN\pM]+", "")


def plain_spelling(ids: pa.Array) -> pa.Array:
    """Account ids without what people write now so, now so: NFKC, lower case, no blanks and signs but between digits.

    Examples
    --------
    >>> plain_spelling(pa.array(["GTXPro", "GTX  Pro.", "1-23", "12 - 3", "ﬁrm"])).to_pylist()
    ['gtxpro', 'gtxpro', '1_23', '12_3', 'firm']
    """
    exact = pc.and_(pc.match_substring_regex(ids, CASE_SENSITIVE), pc.match_substring_regex(ids, "[0-9]"))
    plain = pc.utf8_normalize(ids, "NFKC")
    plain = pc.if_else(exact, plain, pc.utf8_lower(plain))
    for pattern, instead in ((r"[^\pL\pN\pM]+", "_"), (r"([^\pN_])_", r"\1"), (r"_([^\pN_])", r"\1")):
        plain = pc.replace_substring_regex(plain, pattern, instead)
    plain = pc.utf8_trim(plain, "_")
    return pc.if_else(pc.equal(plain, ""), ids, plain)
