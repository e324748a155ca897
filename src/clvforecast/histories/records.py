"""`Histories`: what a ledger says of contracts, as plain Arrow tables."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.histories.keys import line_keys

EPOCH = dt.date(1970, 1, 1)
SEGMENT = "segment:"
"""What names of segment columns begin with in `Histories.lines`."""


@dataclass(frozen=True, repr=False)
class Histories:
    """Lines, their terms, decisions, events and money as known on `as_of`.

    A line is one (account_id, contract_id); its terms are numbered 0.. in `term` (unique over the table,
    ordered by line and place in the line). Days are whole days since 1970-01-01, periods half-open; money is
    float currency units unless the column ends in `_cents` (int64); MRR is currency per month. Direction
    codes: 0 first, 1 down, 2 flat, 3 up.

    Attributes
    ----------
    lines
        line, account_id, contract_id, account (0-based index of the account_id among those with a line),
        first_day, one column ``segment:<name>`` a segment (see `segment`), observed_from (renewals before the
        first seen term), tenure_unknown, base (MRR of the first term), n_spells, active_days (to the end of
        `as_of`), ended_lapse_days (lapses that a return ended), n_returns, n_terminations.
    terms
        term, event_id, line, spell (0, 1, ..), k (1.. in the spell), start_day, end_day, months, amount,
        amount_cents, booked_day, mrr, grace (days), stop_day (activity ends), served_months, amend,
        amend_cents, expanded, size, carried0, carried1, gap_days and lag_days (from the end of the term
        before; null for k = 1), prev (direction of the renewal that began it), cut, spell_base, base,
        log_mrr_sum and n (log M0 of the spell's terms so far), next_start (line's next term; null),
        renewed_on (spell's next term; null), renewed, last_in_line.
    decisions
        term, line, spell, k, outcome (renewed, open, notified, terminated), d (as_of - end_day), lag_days
        (of the booking or the notice; null otherwise), effective_day (of the churn; null otherwise),
        returned (another spell follows), lapsed_days (after grace, to the return or the end of `as_of`; 0
        when renewed).
    amendments
        event_id, line, kind, amount_cents, day, booked_day, term, amount, mrr (per month left in the term),
        counted (monthly revenue that ARR counts), share (of the MRR in force, contractions, unclipped), clipped, y. Ordered by
        (term, day, booked_day, event_id).
    one_offs
        event_id, line, kind (change_order, referral), amount_cents, day, end_day, months (0: at once),
        amount, spell_base, y. Ordered by (line, day, event_id).
    churns
        event_id, line, amount_cents (null: not given), booked_day, term, effective_day, role (terminated,
        notified, superseded), remainder_cents (unserved money of the term on the effective day),
        debooked_cents (0 or below).
    items
        event_id, account_id, line (-1: the account has no term yet), kind, booked_day, start_day, end_day (=
        start_day: at once), cents, tied (an early termination de-books it), recognised_cents. One row an
        event.
    account_money
        account_id, booked_cents, recognised_cents (through the end of `as_of`). One row an account of the
        ledger.
    segment_columns
        Names of the segment columns.
    """

    lines: pa.Table
    terms: pa.Table
    decisions: pa.Table
    amendments: pa.Table
    one_offs: pa.Table
    churns: pa.Table
    items: pa.Table
    account_money: pa.Table
    segment_columns: tuple[str, ...]
    as_of: dt.date
    grace_days: int | None
    warnings: tuple[str, ...] = ()

    @property
    def as_of_day(self) -> int:
        """`as_of` in days since 1970-01-01."""
        return (self.as_of - EPOCH).days

    @cached_property
    def line_keys(self) -> NDArray[np.uint64]:
        """uint64[L], hash of account_id and contract_id of every line (`histories.keys`); made once."""
        return line_keys(self.lines)

    def segment(self, name: str) -> pa.ChunkedArray:
        """The lines' levels of a segment column."""
        return self.lines[SEGMENT + name]

    @property
    def origin_day(self) -> int:
        """The first day that is not history: the day after `as_of`."""
        return self.as_of_day + 1
