"""Annual recurring revenue (ARR) of every account as the ledger knows it, and the renewals that were due.

ARR on a day is twelve times the monthly revenue of the contracts in force on it, with what it counts of the amendments that have
begun (`histories.amendments.counted_mrr`), by line in whole cents.  A contract that was renewed counts until its renewal begins,
also where that is some days after its end; one whose renewal is still open counts while its grace lasts, unless
``pending="lapsed"``.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values, values_or

Longs = NDArray[np.int64]
Pending = Literal["in_force", "lapsed"]


class Renewals(NamedTuple):
    """Renewals that fell due, by account: (A, S) cents of ARR by the period that ends with each day, and renewed of them."""

    due: Longs
    renewed: Longs


def annual_cents(mrr: NDArray[np.float64]) -> Longs:
    """ARR in whole cents of monthly revenue in currency; none where more was taken off a contract than it had."""
    return np.maximum(np.floor(1200.0 * mrr + 0.5), 0.0).astype(np.int64)


def arr_by_account(histories: Histories, days: Longs, pending: Pending) -> Longs:
    """(A, S) cents of ARR at the end of each day (since 1970-01-01, none after `as_of`), accounts in the order of `lines`."""
    return _arr_between(histories, days, values(histories.terms, "start_day"), ends_in_force(histories, pending))


def pending_by_account(histories: Histories, days: Longs) -> Longs:
    """(A, S) cents as `arr_by_account`: of contracts that had ended by each day, whose renewal is open and whose grace lasts."""
    ended = values(histories.terms, "stop_day")
    return _arr_between(histories, days, ended, np.where(in_grace(histories), histories.origin_day, ended))


def pending_accounts(histories: Histories) -> Longs:
    """The account of each contract that has ended, whose renewal is open and whose grace lasts."""
    return values(histories.lines, "account")[values(histories.terms, "line")[in_grace(histories)]]


def _arr_between(histories: Histories, days: Longs, first: Longs, after: Longs) -> Longs:
    """Of terms from the day ``first`` (terms,) to the day before ``after``."""
    terms, added = histories.terms, histories.amendments
    account = values(histories.lines, "account")[values(terms, "line")]
    mrr, of_term = values(terms, "mrr"), values(added, "term")
    begins, more = np.maximum(values(added, "day"), values(terms, "start_day")[of_term]), values(added, "counted")
    found = np.zeros((account.max(initial=-1) + 1, days.size), dtype=np.int64)
    for place, day in enumerate(days):
        begun = begins <= day
        amended = mrr + np.bincount(of_term[begun], weights=more[begun], minlength=mrr.size)
        in_force = (first <= day) & (day < after)
        np.add.at(found[:, place], account[in_force], annual_cents(amended[in_force]))
    return found


def ends_in_force(histories: Histories, pending: Pending) -> Longs:
    """The day from which each term counts no longer."""
    terms = histories.terms
    stop = values(terms, "stop_day").copy()
    renewed = values(terms, "renewed")
    next_start = values_or(terms, "next_start", 0)
    stop[renewed] = np.maximum(stop[renewed], next_start[renewed])
    if pending == "in_force":
        stop[in_grace(histories)] = histories.origin_day
    return stop


def in_grace(histories: Histories) -> NDArray[np.bool_]:
    """(terms,) those that have ended, whose renewal is open and whose grace lasts."""
    terms, decisions = histories.terms, histories.decisions
    open_still = is_text(decisions, "outcome", "open") & values(terms, "last_in_line")
    return np.asarray(open_still & (values(decisions, "d") >= 0) & (values(decisions, "d") < values(terms, "grace")))


def lapsed_terms(histories: Histories, pending: Pending) -> NDArray[np.bool_]:
    """(terms,) those of which no renewal was booked by the origin, and that count as lapsed by then."""
    ended = (values(histories.decisions, "d") >= 0) & is_text(histories.decisions, "outcome", "open")
    return np.asarray(ended if pending == "lapsed" else ended & ~in_grace(histories))


def first_days(histories: Histories) -> Longs:
    """int64 (A,) the day on which each account's first term began."""
    account = values(histories.lines, "account")
    found = np.full(account.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(found, account, values(histories.lines, "first_day"))
    return found


def known_renewals(histories: Histories, days: Longs, lapsed: NDArray[np.bool_] | None = None) -> Renewals:
    """Renewals due by the origin whose outcome is known: their ARR at the end of the term, and what of it was renewed.

    In the period that ends with each day, from the second on: the first day without the ended term lies in it.  What is still
    open is simulated, and so is what falls due later; but of the open ones those of terms that ``lapsed`` (terms,) count as not
    renewed.  A contract that ended early had no renewal due.
    """
    terms, decisions = histories.terms, histories.decisions
    account = values(histories.lines, "account")[values(terms, "line")]
    stop = values(terms, "stop_day")
    open_still = is_text(decisions, "outcome", "open") & values(terms, "last_in_line")
    if lapsed is not None:
        open_still &= ~lapsed
    told = ~open_still & ~is_text(decisions, "outcome", "terminated") & (stop <= histories.origin_day)
    place = np.searchsorted(days, stop)
    rows = np.flatnonzero(told & (place > 0) & (place < days.size))
    of_term = values(histories.amendments, "term")
    amended = values(terms, "mrr") + np.bincount(of_term, values(histories.amendments, "counted"), minlength=stop.size)
    due = annual_cents(amended[rows])
    following = np.append(values(terms, "mrr"), 0.0)[rows + 1]
    renewed = np.where(values(terms, "renewed")[rows], np.minimum(due, annual_cents(following)), 0)
    found = np.zeros((2, account.max(initial=-1) + 1, days.size), dtype=np.int64)
    for sums, cents in zip(found, (due, renewed), strict=True):
        np.add.at(sums, (account[rows], place[rows]), cents)
    return Renewals(*found)
