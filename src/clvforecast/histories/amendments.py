"""Events inside a contract: expansions, contractions, change orders and referrals, with their sizes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.histories.engine import text_ranks, values, with_columns
from clvforecast.histories.lines import kind_names, of_kinds
from clvforecast.histories.runs import last_before, run_starts, running_sums
from clvforecast.histories.terms import DAYS_PER_MONTH

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]

LEAST_MONTHS = 3.0
"""Over how many months, or the whole term where that is shorter, ARR spreads an amendment at least."""
LEAST_SHARE = 1e-4
"""Shares of MRR lost are kept inside [1e-4, 1 - 1e-4], so that their logit is finite."""


def covering_terms(terms: pa.Table, line: Longs, day: Longs) -> Longs:
    """The line's latest started term with start_day <= day < end_day; else the latest started."""
    term_line, start_day, end_day = (values(terms, name) for name in ("line", "start_day", "end_day"))
    latest = last_before(term_line, start_day, line, day)
    latest = np.where(latest >= 0, latest, np.searchsorted(term_line, line))
    term = latest.copy()
    # an overlapping later term may have ended already while an earlier one still runs: step back to it
    uncovered = np.flatnonzero(end_day[term] <= day)
    while len(uncovered):
        here = term[uncovered] - 1
        same = (here >= 0) & (term_line[np.maximum(here, 0)] == line[uncovered])
        term[uncovered[~same]] = latest[uncovered[~same]]
        term[uncovered[same]] = here[same]
        uncovered = uncovered[same][end_day[here[same]] <= day[uncovered[same]]]
    return term


def amendment_table(placed: pa.Table, terms: pa.Table) -> pa.Table:
    """Expansions and contractions in order of (term, day, booked_day, event_id) with their term, MRR, counted MRR, share
    and y.

    MRR of an amendment = amount / months left, months left = (term end - day) / 30.4375; see `counted_mrr` for ARR's.
    Contraction: share = |MRR| / (MRR in force, M0 + earlier amendments); y = logit(share).
    Expansion:   y = log(amount / (spell base · months of the term)).
    """
    rows = np.flatnonzero(of_kinds(placed, "expansion", "contraction") & (values(placed, "line") >= 0))
    term = covering_terms(terms, values(placed, "line")[rows], values(placed, "day")[rows])
    order = np.argsort(term, kind="stable")  # events of an account are in order of day, booked_day and event_id
    columns = ["event_id", "line", "kind", "amount_cents", "day", "booked_day"]
    table = placed.select(columns).take(pa.array(rows[order]))
    table = with_columns(table, kind=kind_names(values(table, "kind")), place=rows[order], term=term[order])
    term, day = values(table, "term"), values(table, "day")
    amount = values(table, "amount_cents") / 100.0
    months_left = np.maximum(values(terms, "end_day")[term] - day, 1) / DAYS_PER_MONTH
    mrr = amount / months_left
    starts = run_starts(term)
    earlier = np.append(0.0, running_sums(mrr, starts)[:-1])[: len(mrr)]
    earlier[starts] = 0.0
    in_force = values(terms, "mrr")[term] + earlier
    counted = counted_mrr(values(table, "amount_cents"), months_left, values(terms, "months")[term], starts)
    return with_columns(table, amount=amount, mrr=mrr, counted=counted, **_sizes(table, terms, amount, mrr, in_force))


def counted_mrr(cents: Longs, months_left: Floats, months: Longs, starts: Longs) -> Floats:
    """The monthly revenue that annual recurring revenue (ARR) counts of each amendment, in currency.

        amount / min(months of the term, max(months left, 3))

    A co-termed change of price is annualised over the months for which it is paid.  Of the last quarter that would make a small
    adjustment the most of ARR for its days: there it counts four times its amount a year at most.  Over at most the whole term
    one of a shorter term has its share of the term's money.  What takes back an earlier amendment of the term to the cent takes
    back what that one counts, and amendments of a term that add up to nothing count nothing.

    Rows are in order, ``starts`` the first of each term.
    """
    rate = cents / 100.0 / np.minimum(months, np.maximum(months_left, LEAST_MONTHS))
    reversal, reversed_one = _reversals(cents, starts)
    rate[reversal] = -rate[reversed_one]
    settled = running_sums(cents, starts) == 0
    after = np.flatnonzero(settled) + 1
    runs = np.union1d(starts, after[after < len(cents)])
    before = np.append(0.0, running_sums(rate, runs)[:-1])[: len(rate)]
    before[runs] = 0.0
    return np.where(settled, -before, rate)


def _reversals(cents: Longs, starts: Longs) -> tuple[list[int], list[int]]:
    """Rows that take an earlier amendment of their term back to the cent, and the rows of these: the latest that still stand."""
    later: list[int] = []
    earlier: list[int] = []
    lowest, highest = (reduced.reduceat(cents, starts) if len(cents) else cents for reduced in (np.minimum, np.maximum))
    stops = np.append(starts[1:], len(cents))
    for term in np.flatnonzero((lowest < 0) & (highest > 0)):
        open_rows: dict[int, list[int]] = {}
        for row in range(int(starts[term]), int(stops[term])):
            amount = int(cents[row])
            if open_rows.get(-amount):
                later.append(row)
                earlier.append(open_rows[-amount].pop())
            else:
                open_rows.setdefault(amount, []).append(row)
    return later, earlier


def _sizes(
    table: pa.Table,
    terms: pa.Table,
    amount: NDArray[np.float64],
    mrr: NDArray[np.float64],
    in_force: NDArray[np.float64],
) -> dict[str, NDArray[np.float64] | NDArray[np.bool_]]:
    """The columns y, share (contractions, before clipping; else 0) and clipped."""
    term = values(table, "term")
    expansion = amount > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(expansion, 0.0, np.where(in_force > 0, -mrr / in_force, np.inf))
        kept = np.clip(share, LEAST_SHARE, 1 - LEAST_SHARE)
        money_of_term = values(terms, "spell_base")[term] * values(terms, "months")[term]
        y = np.where(expansion, np.log(np.abs(amount) / money_of_term), np.log(kept) - np.log1p(-kept))
    return {"share": share, "clipped": ~expansion & (share != kept), "y": y}


def amendment_sums(amendments: pa.Table, n_terms: int) -> tuple[Longs, NDArray[np.bool_]]:
    """Net cents of every term's amendments, and whether any of them is an expansion."""
    cents = np.zeros(n_terms, dtype=np.int64)
    expanded = np.zeros(n_terms, dtype=bool)
    term = values(amendments, "term")
    np.add.at(cents, term, values(amendments, "amount_cents"))
    expanded[term[values(amendments, "amount_cents") > 0]] = True
    return cents, expanded


def one_off_table(placed: pa.Table, terms: pa.Table) -> pa.Table:
    """Change orders and referrals by (line, day, event_id), with y = log(amount / base of their spell)."""
    rows = np.flatnonzero(of_kinds(placed, "change_order", "referral") & (values(placed, "line") >= 0))
    by_id = text_ranks(placed["event_id"].take(pa.array(rows)))
    rows = rows[np.lexsort((by_id, values(placed, "day")[rows], values(placed, "line")[rows]))]
    columns = ["event_id", "line", "kind", "amount_cents", "day", "end_day", "months"]
    table = placed.select(columns).take(pa.array(rows))
    table = with_columns(table, kind=kind_names(values(table, "kind")))
    line, day = values(table, "line"), values(table, "day")
    term_line, start_day = values(terms, "line"), values(terms, "start_day")
    latest = last_before(term_line, start_day, line, day)
    spell_base = values(terms, "spell_base")[np.where(latest >= 0, latest, np.searchsorted(term_line, line))]
    amount = values(table, "amount_cents") / 100.0
    return with_columns(table, amount=amount, spell_base=spell_base, y=np.log(amount / spell_base))
