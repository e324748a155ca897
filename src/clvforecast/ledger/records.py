"""`Ledger`: checked revenue events as known on a day."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.errors import LedgerError
from clvforecast.events import LEFT_OUT
from clvforecast.ledger.known import as_day, fingerprint_of, split
from clvforecast.ledger.notes import counts_by_rule
from clvforecast.ledger.rows import in_order
from clvforecast.ledger.suspicions import suspicions


@dataclass(frozen=True)
class Totals:
    """Rows, how many of them hold a readable amount, and the sum of those in cents.

    Of another system's export the rows are the events it makes and those set aside; `export_rows` are its own.
    """

    rows: int = 0
    rows_with_amount: int = 0
    amount_cents: int = 0
    export_rows: int = 0


@dataclass(frozen=True, repr=False)
class Ledger:
    """Revenue events as known on `as_of`, all checked.

    Attributes
    ----------
    events
        Accepted and known by `as_of`: the columns of `events.EVENT_SCHEMA` (money in integer cents), then the
        extra columns of the input, sorted by `events.EVENT_ORDER`.
    later
        Accepted but not yet to be used on `as_of`: booked after it, or amending a term that is booked after
        it. The same columns and `reason`.
    rejected_rows
        The rows that break a rule (`events.REJECTED_SCHEMA`), in the order of the input.
    accounts
        account_id, segment columns (text), observed_from (int32: renewals before the account is first seen;
        null when unknown); one row an account of `events` or `later`, sorted.
    has_observed_from
        False when that column was not given: every account counts as seen from its start (0).
    as_of, currency, grace_days
        The day of knowledge; the ISO 4217 code of all money; the longest gap in days between two terms of one
        spell (None: min(92, max(15, a quarter of the previous term))).
    warnings
        What was mended or left out, with counts, and what is accepted but looks wrong.
    fingerprint
        SHA-256 (hex) of what is kept: events, later, accounts and settings; it does not depend on the order
        of rows.
    read
        Totals of the input, counted before any check.
    suspicions
        Those of the warnings that say what looks wrong on `as_of` (`suspicions.suspicions`).
    """

    events: pa.Table
    later: pa.Table
    rejected_rows: pa.Table
    accounts: pa.Table
    has_observed_from: bool
    as_of: date
    currency: str
    grace_days: int | None
    warnings: tuple[str, ...]
    fingerprint: str
    read: Totals = Totals()
    suspicions: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<Ledger of {self.accounts.num_rows:,} accounts in {self.currency}, as of {self.as_of}: "
            f"{self.events.num_rows:,} events accepted, {self.later.num_rows:,} kept for later, "
            f"{self.rejected_rows.num_rows:,} rejected>"
        )

    @property
    def accepted(self) -> pd.DataFrame:
        """`events` as pandas: amount in currency units beside amount_cents, days as datetime64."""
        frame = self.events.to_pandas(date_as_object=False)
        frame["amount_cents"] = frame["amount_cents"].astype("Int64")
        frame["term_months"] = frame["term_months"].astype("Int32")
        amount = self.events["amount_cents"].cast(pa.float64()).to_numpy() / 100
        frame.insert(self.events.column_names.index("amount_cents"), "amount", amount)
        return frame

    @property
    def rejected(self) -> pd.DataFrame:
        """`rejected_rows` as pandas: source, row, event_id, account_id, column, value, rule, hint, amount."""
        return self.rejected_rows.to_pandas()

    def reconciliation(self) -> pd.DataFrame:
        """Rows and money read against accepted, later and rejected; the last line (the difference) is all
        zero.

        Columns: part, rows, rows_with_amount (readable), amount_cents (exact), amount (currency units).
        """
        parts = {
            "accepted": totals_of(self.events),
            "later": totals_of(self.later),
            "rejected": totals_of(self.rejected_rows),
        }
        difference = Totals(
            self.read.rows - sum(part.rows for part in parts.values()),
            self.read.rows_with_amount - sum(part.rows_with_amount for part in parts.values()),
            self.read.amount_cents - sum(part.amount_cents for part in parts.values()),
        )
        named = {"read": self.read, **parts, "difference": difference}
        return pd.DataFrame(
            {
                "part": list(named),
                "rows": [part.rows for part in named.values()],
                "rows_with_amount": [part.rows_with_amount for part in named.values()],
                "amount_cents": [part.amount_cents for part in named.values()],
                "amount": [part.amount_cents / 100 for part in named.values()],
            }
        )

    def check_rejected(self, most: float) -> None:
        """Raise `LedgerError` when more than this share of the rows read are rejected, as 0.01 for one in a hundred.

        Rows of an export that are no revenue do not count (`events.LEFT_OUT`).
        """
        wrong = self.rejected_rows.filter(pc.invert(pc.is_in(self.rejected_rows["rule"], pa.array(LEFT_OUT))))
        n_wrong = wrong.group_by(["source", "row"]).aggregate([]).num_rows  # a row of an export can make several events
        rows = self.read.export_rows or self.read.rows
        if n_wrong > Decimal(str(most)) * rows:
            raise LedgerError(
                f"{n_wrong:,} of {rows:,} rows are rejected ({counts_by_rule(wrong)}), more than "
                f"{100 * most:g}%. See them with `clvforecast validate --rejected FILE` or ledger.rejected."
            )

    def at(self, as_of: date | str) -> Ledger:
        """The same ledger as known on another day, earlier or later.

        Its `events` are those that reading only the rows booked by that day would give.

        Raises
        ------
        LedgerError
            Nothing was booked by that day.
        """
        day = as_day(as_of, "as_of")
        kept = pa.concat_tables([self.events, self.later.drop_columns(["reason"])])
        if self.later.num_rows:
            kept = in_order(kept)
        events, later = split(kept, day)
        fingerprint = fingerprint_of(events, later, self.accounts, self.grace_days)
        suspected = suspicions(events, later, day)
        told = tuple(warning for warning in self.warnings if warning not in self.suspicions)
        return replace(
            self,
            events=events,
            later=later,
            as_of=day,
            fingerprint=fingerprint,
            warnings=(*told, *suspected),
            suspicions=suspected,
        )


def totals_of(table: pa.Table) -> Totals:
    """Totals of events or of rejected rows."""
    cents = table["amount_cents"]
    # in decimals: the sum of rejected cents may leave int64
    total = pc.sum(cents.cast(pa.decimal128(38, 0))).as_py()
    return Totals(table.num_rows, len(cents) - cents.null_count, int(total or 0))
