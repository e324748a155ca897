"""Contract terms: chained into spells, with the quantities that the models speak of."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.events import TERM_KINDS
from clvforecast.histories.churns import TermArrays
from clvforecast.histories.engine import values, values_or, with_columns
from clvforecast.histories.lines import of_kinds
from clvforecast.histories.runs import places, run_lengths, run_starts, running_sums

DAYS_PER_MONTH = 365.25 / 12
ALMOST_END = 15
"""A renewal that starts at most this many days before the term's end did not cut the term short."""
FLAT = float(np.log(1.01))
"""|log ratio| up to this is a flat renewal."""
LEAST_CARRIED = 0.01
"""Contractions leave at least this share of the term's money to carry into the next term."""


def grace_of(days: NDArray[np.int64], grace_days: int | None) -> NDArray[np.int64]:
    """Days after a term of `days` days in which a new one still renews it: min(92, max(15, days // 4))."""
    if grace_days is not None:
        return np.full(len(days), grace_days, dtype=np.int64)
    return np.minimum(92, np.maximum(15, days // 4))


def base_terms(placed: pa.Table, grace_days: int | None) -> pa.Table:
    """Term events, numbered by `term`: ordered by (line, start_day, booked_day, event_id); money and MRR."""
    rows = np.flatnonzero(of_kinds(placed, *TERM_KINDS))
    rows = rows[np.argsort(values(placed, "line")[rows], kind="stable")]  # events of an account are in that order
    columns = ["event_id", "line", "end_day", "months", "amount_cents", "booked_day", "day"]
    table = placed.select(columns).take(pa.array(rows)).rename_columns([*columns[:-1], "start_day"])
    amount = values(table, "amount_cents") / 100.0
    days = values(table, "end_day") - values(table, "start_day")
    return with_columns(
        table,
        term=np.arange(table.num_rows, dtype=np.int64),
        amount=amount,
        mrr=amount / values(table, "months"),
        grace=grace_of(days, grace_days),
    )


def term_arrays(terms: pa.Table) -> TermArrays:
    """The columns of `terms` that churns are attached by."""
    return TermArrays(*(values(terms, name) for name in ("line", "start_day", "end_day", "booked_day", "grace")))


def link_terms(terms: pa.Table) -> pa.Table:
    """Terms with spell, k, gap_days, lag_days, next_start, renewed_on, renewed, last_in_line and served_months.

    Link rule: gap = start_{k+1} - link_end_k; gap <= grace_k renews (same spell), else a new spell opens. An
    overlap (gap < 0) is an early renewal. The terms of a line are neighbours, in order.
    """
    line, start, end, months = (values(terms, name) for name in ("line", "start_day", "end_day", "months"))
    n = len(line)
    before = np.maximum(np.arange(n) - 1, 0)
    after = np.minimum(np.arange(n) + 1, n - 1)
    lines = run_starts(line)
    first = np.zeros(n, dtype=bool)
    first[lines] = True
    last = np.append(first[1:], True)[:n]
    opens = first | (start - values(terms, "link_end")[before] > values(terms, "grace")[before])
    spells = np.flatnonzero(opens)
    so_far = np.cumsum(opens)
    renewed = ~np.append(opens[1:], True)[:n]
    cut_short = renewed & (start[after] < end - ALMOST_END)
    served = np.maximum(1, np.rint((start[after] - start) / DAYS_PER_MONTH)).astype(np.int64)
    return with_columns(
        terms,
        gap_days=pa.array(start - end[before], mask=opens),
        lag_days=pa.array(values(terms, "booked_day") - end[before], mask=opens),
        next_start=pa.array(start[after], mask=last),
        spell=so_far - np.repeat(so_far[lines], run_lengths(lines, n)),
        k=places(spells, n) + 1,
        renewed_on=pa.array(start[after], mask=~renewed),
        renewed=renewed,
        last_in_line=last,
        served_months=np.where(cut_short, served, months),
    )


def stop_days(terms: pa.Table, terminations: pa.Table) -> NDArray[np.int64]:
    """Day on which each term's activity stops: its end, the next term's start, or its early termination."""
    next_start = values_or(terms, "next_start", 2**31 - 1)
    stop = np.minimum(values(terms, "end_day"), next_start)
    ended = values(terminations, "term")
    stop[ended] = np.minimum(stop[ended], values(terminations, "effective_day"))
    return np.maximum(stop, values(terms, "start_day"))


def spell_values(terms: pa.Table) -> pa.Table:
    """Terms with spell_base, base, and Σ log M0 (`log_mrr_sum`) of the spell's `n` terms so far."""
    line, spell, mrr = (values(terms, name) for name in ("line", "spell", "mrr"))
    spells, lines = run_starts(line, spell), run_starts(line)
    return with_columns(
        terms,
        spell_base=np.repeat(mrr[spells], np.diff(np.append(spells, len(line)))),
        base=np.repeat(mrr[lines], np.diff(np.append(lines, len(line)))),
        log_mrr_sum=running_sums(np.log(mrr), spells),
        n=values(terms, "k"),
    )


def amended_values(terms: pa.Table, amend_cents: NDArray[np.int64], expanded: NDArray[np.bool_]) -> pa.Table:
    """Terms with what their amendments make of them: amend, expanded, size, carried0 and carried1.

    size     = (amount + amend) / months, whose class the decision has (a sliver of the base if not positive)
    carried0 = amount / months                       the next term does not take the amendments over
    carried1 = max(amount + amend, 0.01 amount) / months         it does
    """
    amount, months, base = (values(terms, name) for name in ("amount", "months", "base"))
    amend = amend_cents / 100.0
    size = (amount + amend) / months
    return with_columns(
        terms,
        amend_cents=amend_cents,
        amend=amend,
        expanded=expanded,
        size=np.where(size > 0, size, 1e-9 * base),
        carried0=amount / months,
        carried1=np.maximum(amount + amend, LEAST_CARRIED * amount) / months,
    )


def direction_codes(log_ratio: NDArray[np.float64]) -> NDArray[np.int8]:
    """1 down, 2 flat (within 1%), 3 up."""
    return np.where(np.abs(log_ratio) <= FLAT, 2, np.where(log_ratio > 0, 3, 1)).astype(np.int8)


def directions(terms: pa.Table) -> pa.Table:
    """Terms with `prev`, the observable direction of the renewal that began them (0 first), and `cut` (down).

    M' = new M0 is compared with carried0 or carried1 of the ended term, whichever is nearer in |log| (a tie:
    carried0).
    """
    k, mrr, carried0, carried1 = (values(terms, name) for name in ("k", "mrr", "carried0", "carried1"))
    renewal = np.flatnonzero(k > 1)
    without, with_amendment = (np.log(mrr[renewal] / carried[renewal - 1]) for carried in (carried0, carried1))
    nearer = np.where(np.abs(with_amendment) < np.abs(without), with_amendment, without)
    prev = np.zeros(len(k), dtype=np.int8)
    prev[renewal] = direction_codes(nearer)
    return with_columns(terms, prev=prev, cut=prev == 1)
