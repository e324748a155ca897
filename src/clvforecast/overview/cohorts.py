"""Renewal by cohort: the share of accounts, and of their money, still in force years after the first start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.histories import Histories
from clvforecast.histories.engine import values
from clvforecast.histories.runs import run_starts
from clvforecast.ledger.days import term_ends
from clvforecast.ledger.months import month_of

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]

ALL = "all"
COLUMNS = ["cohort", "years", "accounts", "known", "in_force", "mrr_in_force", "net_mrr"]


@dataclass(frozen=True)
class Lives:
    """Accounts that are seen from their start, A of them.

    place: int64[A], place among all accounts with a line; first_day, end_day: int64[A], first start, and the day on which their
    first unbroken service ends; mrr: float64[A], monthly price on the first day.
    """

    place: Longs
    first_day: Longs
    end_day: Longs
    mrr: Floats

    def after(self, years: int) -> Longs:
        """int64[A], the day that many years after the first start."""
        return term_ends(self.first_day, np.full(len(self.first_day), 12 * years))


def cohort_table(histories: Histories, patience_days: int) -> tuple[pd.DataFrame, int]:
    """The columns of `DataReport.cohorts`, and how many accounts are in none as they are first seen after their start.

    After j years an account is known when first start + j years + patience <= as_of: whether it was renewed or not, as
    otherwise renewals, which are booked, would count sooner than lapses, which take time to show. It is in force when its
    first unbroken service (terms linked by renewals, over all its contracts) runs beyond that day. Of the known,

        S(j) = product over i <= j of  n(i, in force after i) / n(i, in force after i - 1),  n(i, .) among those known after i

    (Kaplan-Meier, censored by the day of the start alone), with accounts counted as one each (in_force) or by their MRR at
    the start (mrr_in_force).
    """
    lives, apart = _lives(histories)
    if not len(lives.place):
        return pd.DataFrame(columns=COLUMNS), apart
    settled_day = histories.as_of_day - patience_days
    n_years = int((settled_day - lives.first_day.min()) // 365) + 1
    days = [lives.after(years) for years in range(max(n_years, 0) + 1)]
    net = [_mrr_on(histories, lives, day) for day in days]
    cohort = month_of(lives.first_day) // 12 + 1970
    groups = {str(year): cohort == year for year in np.unique(cohort)} | {ALL: np.ones(len(cohort), dtype=bool)}
    rows = [
        (name, *row)
        for name, mine in groups.items()
        for row in _curve(lives, mine, days, net, settled_day)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS), apart


def _curve(
    lives: Lives, mine: NDArray[np.bool_], days: list[Longs], net: list[Floats], settled_day: int
) -> Iterator[tuple[int, int, int, float, float, float]]:
    """years, accounts, known, in_force, mrr_in_force, net_mrr of one cohort, as long as any of it is known."""
    n = int(mine.sum())
    shares = np.ones(2)
    yield 0, n, n, 1.0, 1.0, 1.0
    for years in range(1, len(days)):
        known = mine & (days[years] <= settled_day)
        if not known.any():
            return
        stays = known & (lives.end_day > days[years])
        stayed = known & (lives.end_day > days[years - 1])
        if stayed.any():  # else what is gone is gone
            shares = shares * (stays.sum() / stayed.sum(), lives.mrr[stays].sum() / lives.mrr[stayed].sum())
        yield years, n, int(known.sum()), shares[0], shares[1], net[years][known].sum() / lives.mrr[known].sum()


def _lives(histories: Histories) -> tuple[Lives, int]:
    """The accounts that are seen from their start, and how many are not."""
    lines, terms = histories.lines, histories.terms
    account, first_day = values(lines, "account"), values(lines, "first_day")
    starts = run_starts(account)
    first = np.minimum.reduceat(first_day, starts)
    earlier = (values(lines, "observed_from") > 0) | values(lines, "tenure_unknown")
    unseen = np.logical_or.reduceat(earlier, starts)
    of_term = account[values(terms, "line")]
    at_first = values(terms, "start_day") == first[of_term]
    mrr = np.bincount(of_term[at_first], values(terms, "mrr")[at_first], len(first))
    place = np.flatnonzero(~unseen)
    return Lives(place, first[place], _first_ends(histories, of_term)[place], mrr[place]), int(unseen.sum())


def _first_ends(histories: Histories, account: Longs) -> Longs:
    """The day on which the first unbroken service of every account ends: its spells, where they overlap or touch, as one."""
    terms = histories.terms
    begins = run_starts(values(terms, "line"), values(terms, "spell"))
    start, stop = values(terms, "start_day")[begins], np.maximum.reduceat(values(terms, "stop_day"), begins)
    order = np.lexsort((start, account[begins]))
    of, start, stop = account[begins][order], start[order], stop[order]
    firsts = run_starts(of)
    place = np.arange(len(of)) - np.repeat(firsts, np.diff(np.append(firsts, len(of))))
    end = stop[firsts].copy()
    running = np.ones(len(firsts), dtype=bool)
    for step in range(1, int(place.max(initial=0)) + 1):  # the accounts' second spells, their third ones, ...
        rows = np.flatnonzero(place == step)
        joins = running[of[rows]] & (start[rows] <= end[of[rows]])
        running[of[rows]] = joins
        end[of[rows]] = np.where(joins, np.maximum(end[of[rows]], stop[rows]), end[of[rows]])
    return end


def _mrr_on(histories: Histories, lives: Lives, day: Longs) -> Floats:
    """MRR of every one of the lives on a day of its own, float64[A], as `actuals.mrr_on`."""
    terms, added = histories.terms, histories.amendments
    account = values(histories.lines, "account")[values(terms, "line")]
    own_day = np.full(int(account.max()) + 1, -(2**31), dtype=np.int64)
    own_day[lives.place] = day
    of_term = own_day[account]
    serves = (values(terms, "start_day") <= of_term) & (of_term < values(terms, "stop_day"))
    term = values(added, "term")
    counts = serves[term] & (values(added, "day") <= of_term[term])
    mrr = np.bincount(account[serves], values(terms, "mrr")[serves], len(own_day))
    mrr += np.bincount(account[term[counts]], values(added, "mrr")[counts], len(own_day))
    return np.asarray(mrr[lives.place])
