"""`Ledger`: checked revenue events as known on a day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field, replace
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
class Money:
    """Rows of one currency, how many of them hold a readable amount, and the sum of those in cents."""

    rows: int = 0
    rows_with_amount: int = 0
    amount_cents: int = 0

    def __add__(self, other: Money) -> Money:
        return Money(
            self.rows + other.rows,
            self.rows_with_amount + other.rows_with_amount,
            self.amount_cents + other.amount_cents,
        )


@dataclass(frozen=True)
class ExportPart:
    """Rows of another system's export in one currency, and the sum of their amounts as the export has them (currency units).

    part: "read", "used" (each makes events that are accepted) or "set aside"; currency: None where it cannot be read.
    """

    part: str
    currency: str | None
    rows: int
    rows_with_amount: int
    amount: Decimal


@dataclass(frozen=True)
class Totals:
    """Rows and money by currency; None is the currency of rows whose own cannot be read.

    Of another system's export the rows are the events it makes and those set aside; `export_rows` are its own.
    """

    by_currency: Mapping[str | None, Money] = field(default_factory=dict)
    export_rows: int = 0

    @classmethod
    def of(cls, found: Iterable[tuple[str | None, int, int, int]]) -> Totals:
        """Totals of (currency, rows, rows with an amount, cents)."""
        return cls({currency: Money(int(rows), int(some), int(cents or 0)) for currency, rows, some, cents in found})

    def __add__(self, other: Totals) -> Totals:
        names = dict.fromkeys((*self.by_currency, *other.by_currency))
        added = {name: self.money(name) + other.money(name) for name in names}
        return Totals(added, self.export_rows + other.export_rows)

    def money(self, currency: str | None) -> Money:
        return self.by_currency.get(currency, Money())

    @property
    def rows(self) -> int:
        return sum(money.rows for money in self.by_currency.values())


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
    export
        Of another system's export: its rows and money, see `export_reconciliation`.
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
    read: Totals = field(default_factory=Totals)
    suspicions: tuple[str, ...] = ()
    export: tuple[ExportPart, ...] = ()

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
        """`rejected_rows` as pandas: the columns of `events.REJECTED_SCHEMA`."""
        return self.rejected_rows.to_pandas()

    def reconciliation(self) -> pd.DataFrame:
        """Rows and money read against accepted, later and rejected, by currency; every difference is zero.

        One line a part and currency: the ledger's own, then those of rejected rows, and none where it cannot be read.
        Columns: part, currency, rows, rows_with_amount (readable), amount_cents (exact), amount (currency units).
        """
        return reconciled(self._parts(), self.currency)

    def _parts(self) -> dict[str, Totals]:
        return {
            "read": self.read,
            "accepted": totals_of(self.events),
            "later": totals_of(self.later),
            "rejected": totals_of(self.rejected_rows),
        }

    def export_reconciliation(self) -> pd.DataFrame:
        """Rows and amounts of another system's export as they stand there: read, used and set aside, by currency.

        The sum that is read is that of the export's column. What the rows used become is in `reconciliation`: a price is as many
        events as there are terms, a total the difference from the one before, a foreign amount its conversion.
        Columns: part, currency, rows, rows_with_amount, amount (currency units); every difference is zero.
        """
        lines = []
        for currency in dict.fromkeys(part.currency for part in self.export):
            mine = {part.part: part for part in self.export if part.currency == currency}
            nothing = ExportPart("", currency, 0, 0, Decimal(0))
            read, used, aside = (mine.get(name, nothing) for name in ("read", "used", "set aside"))
            difference = replace(
                read,
                rows=read.rows - used.rows - aside.rows,
                rows_with_amount=read.rows_with_amount - used.rows_with_amount - aside.rows_with_amount,
                amount=read.amount - used.amount - aside.amount,
            )
            for name, part in (("read", read), ("used", used), ("set aside", aside), ("difference", difference)):
                lines.append((name, currency, part.rows, part.rows_with_amount, float(part.amount)))
        return pd.DataFrame(lines, columns=["part", "currency", "rows", "rows_with_amount", "amount"])

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


def reconciled(parts: Mapping[str, Totals], currency: str) -> pd.DataFrame:
    """See `Ledger.reconciliation`; parts: "read", "accepted", "later" and "rejected"."""
    found = dict.fromkeys(name for totals in parts.values() for name in totals.by_currency)
    others = sorted(name for name in found if name not in (None, currency))
    lines = []
    for of in (currency, *others, *([None] if None in found else [])):
        of_parts = {part: totals.money(of) for part, totals in parts.items()}
        placed = of_parts["accepted"] + of_parts["later"] + of_parts["rejected"]
        of_parts["difference"] = of_parts["read"] + Money(-placed.rows, -placed.rows_with_amount, -placed.amount_cents)
        lines += [(part, of, *astuple(money), money.amount_cents / 100) for part, money in of_parts.items()]
    return pd.DataFrame(lines, columns=["part", "currency", "rows", "rows_with_amount", "amount_cents", "amount"])


def totals_of(table: pa.Table) -> Totals:
    """Totals of events or of rejected rows."""
    # in decimals: the sum of rejected cents may leave int64
    exact = pa.table({"currency": table["currency"], "cents": table["amount_cents"].cast(pa.decimal128(38, 0))})
    found = exact.group_by("currency").aggregate([([], "count_all"), ("cents", "count"), ("cents", "sum")])
    names = ("currency", "count_all", "cents_count", "cents_sum")
    return Totals.of(zip(*(found[name].to_pylist() for name in names), strict=True))


def totals_of_broken(rows: int) -> Totals:
    """Totals of records in which nothing can be read."""
    return Totals({None: Money(rows)} if rows else {})


def balanced(ledger: Ledger) -> Ledger:
    """The ledger, if every row and cent that was read is in one of its parts."""
    check_balance(ledger.reconciliation())
    return ledger


def check_balance(parts: pd.DataFrame) -> None:
    """Raise AssertionError where a row or a cent of `reconciled` parts is missing, or is there twice."""
    off = parts[parts["part"] == "difference"]
    if off[["rows", "rows_with_amount", "amount_cents"]].any(axis=None):
        raise AssertionError(
            f"the ledger does not hold what was read; please report this:\n{parts.to_string(index=False)}"
        )
