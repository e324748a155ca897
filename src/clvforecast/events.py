"""The revenue-event schema as data: kinds, columns, units, and the rules a row must keep.

One row is one event. Amounts are money in the ledger's currency; the sum of an account's amounts is its
booked value to date. Inside the package money is integer cents (one hundredth of the currency's unit).
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import pyarrow as pa

Sign = Literal["positive", "negative", "not positive"]
Placement = Literal["opens a term", "inside a term", "after a first term", "from a first term on"]


@dataclass(frozen=True)
class Kind:
    """A kind of revenue event.

    `sign` is what its amount must be; `placement` where its service period must lie: `opens a term` needs
    `term_months`; `inside a term` needs start_date in [start, end) of a term of its line; `after a first
    term` needs any term of its line, whenever; `from a first term on` needs a start_date on or after the
    first term's.
    """

    name: str
    meaning: str
    sign: Sign
    placement: Placement
    amount_required: bool = True


KINDS: tuple[Kind, ...] = (
    Kind("initial", "first contract term of an account, or of a return", "positive", "opens a term"),
    Kind("renewal", "next contract term", "positive", "opens a term"),
    Kind("expansion", "more revenue until the end of the current term", "positive", "inside a term"),
    Kind("contraction", "less revenue until the end of the current term", "negative", "inside a term"),
    Kind("change_order", "ad hoc work outside the term's price", "positive", "after a first term"),
    Kind("referral", "revenue the account brings from elsewhere", "positive", "after a first term"),
    Kind("churn", "notice or early end; what is de-booked", "not positive", "from a first term on", False),
)
TERM_KINDS: tuple[str, ...] = tuple(kind.name for kind in KINDS if kind.placement == "opens a term")
# change orders and referrals are recognised at once, unless they say over how many months
SPREADABLE_KINDS: tuple[str, ...] = tuple(k.name for k in KINDS if k.placement == "after a first term")


@dataclass(frozen=True)
class Column:
    """A column of the events table as it is read: its name, whether it must be there, and what it holds."""

    name: str
    required: bool
    meaning: str


COLUMNS: tuple[Column, ...] = (
    Column(
        "event_id",
        False,
        "identity, unique; the row number where there is no such column: then the order of rows counts",
    ),
    Column("account_id", True, "the forecast's grain"),
    Column("contract_id", False, "only where one account holds parallel contracts"),
    Column("event_date", True, "day it was booked: what was known by a day is event_date <= that day"),
    Column("kind", True, "one of: " + ", ".join(kind.name for kind in KINDS)),
    Column("amount", True, "total revenue the event adds over its service period, in `currency`"),
    Column("currency", True, "ISO 4217 code; one a ledger"),
    Column("start_date", False, "first day of the service period; event_date when absent"),
    Column("term_months", True, "whole months of the term (initial, renewal)"),
)
COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)
REQUIRED_COLUMNS: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.required)

# The accepted rows, in this order, followed by the extra columns of the input as they came.
EVENT_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("account_id", pa.string(), nullable=False),
        pa.field("contract_id", pa.string(), nullable=False),  # "" when not given
        pa.field("event_date", pa.date32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("amount_cents", pa.int64()),  # null only for churn without an amount
        pa.field("currency", pa.string(), nullable=False),
        pa.field("start_date", pa.date32(), nullable=False),
        pa.field("term_months", pa.int32()),
    ]
)
# The canonical order of events; it does not depend on the order of the input.
EVENT_ORDER: tuple[str, ...] = ("account_id", "start_date", "event_date", "event_id")

REJECTED_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string()),  # file, or "events" for a table
        pa.field("row", pa.int64()),  # 1-based data row of the source
        pa.field("line", pa.int64()),  # of the file, on which the row begins; null for tables and Parquet
        pa.field("event_id", pa.string()),
        pa.field("account_id", pa.string()),
        pa.field("column", pa.string()),
        pa.field("value", pa.string()),  # as it was read
        pa.field("rule", pa.string()),
        pa.field("hint", pa.string()),
        pa.field("amount", pa.string()),  # as it was read
        pa.field("amount_cents", pa.int64()),  # null where the amount cannot be read
        pa.field("currency", pa.string()),  # in capital letters; null where it cannot be read
        pa.field(
            "raw", pa.string()
        ),  # the row's text as in the file; of tables and Parquet a JSON object of its values
    ]
)

# What breaks a record of a file, so that it is no row, and what to do about it.
BROKEN_RECORDS: dict[str, str] = {
    "wrong_field_count": "give every line as many fields as the header, with quotes around text that holds the separator",
    "broken_quotes": 'put quotes around whole fields only, and write a quote inside one as ""',
    "not_utf8": "save the file as CSV UTF-8, or say its encoding in a mapping, as encoding = 'cp1252'",
    "nul_byte": "remove the NUL byte: the file is damaged, or written in another encoding",
    "record_too_long": "a row has at most 16 MB: look for a quote that is not closed, or a missing line end",
}

# Columns that the ledger itself adds; an input column of these names would be ambiguous.
RESERVED_COLUMNS: tuple[str, ...] = ("amount_cents", "reason")

# Rules of exports by which rows are no revenue, rather than wrong.
LEFT_OUT: tuple[str, ...] = ("not_revenue", "no_price", "nothing_served", "after_as_of", "superseded", "nothing_new")

NOT_RECORDED = "not recorded"  # the level of a segment column without a value

FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)  # outside: a typing error, not a contract
LONGEST_TERM_MONTHS = 1200
LARGEST_AMOUNT = 10**12  # of one event, in currency units; sums of cents stay far inside int64


@dataclass(frozen=True)
class Rule:
    """A rule a row can break: the column shown as the place, and what the user can do about it."""

    name: str
    column: str
    hint: str


# In this order; a row that breaks several is rejected once, by the first.
RULES: tuple[Rule, ...] = (
    Rule("missing_account", "account_id", "give every event its account_id"),
    Rule("missing_event_id", "event_id", "give every event its own event_id, or leave the column out"),
    Rule("unknown_kind", "kind", "use one of: " + ", ".join(kind.name for kind in KINDS)),
    Rule("missing_date", "event_date", "give the day it was booked, as YYYY-MM-DD"),
    Rule("unreadable_date", "event_date", "write dates as YYYY-MM-DD"),
    Rule("unreadable_start", "start_date", "write dates as YYYY-MM-DD, or leave it empty for event_date"),
    Rule(
        "date_out_of_range",
        "event_date",
        f"dates run from {FIRST_DAY} to {LAST_DAY}: check for typing errors",
    ),
    Rule(
        "start_out_of_range",
        "start_date",
        f"dates run from {FIRST_DAY} to {LAST_DAY}: check for typing errors",
    ),
    Rule("missing_amount", "amount", "give the total revenue of the event; only churn may leave it empty"),
    Rule("amount_not_finite", "amount", "replace NaN or infinity by the amount"),
    Rule("unreadable_amount", "amount", "write a plain number: no currency sign, no thousands separator"),
    Rule("amount_out_of_range", "amount", f"one event holds at most {LARGEST_AMOUNT:.0e} currency units"),
    Rule(
        "wrong_sign",
        "amount",
        "contraction below 0, churn 0 or below, all others above 0 (after rounding to cents)",
    ),
    Rule("missing_currency", "currency", "give the ISO 4217 code, for instance USD"),
    Rule("invalid_currency", "currency", "use the three letters of ISO 4217, for instance USD"),
    Rule("missing_term", "term_months", "initial and renewal need the term's length in whole months"),
    Rule("invalid_term", "term_months", f"use whole months from 1 to {LONGEST_TERM_MONTHS}"),
    Rule(
        "duplicate_event",
        "event_id",
        "this event_id was booked before: the first booking counts, drop the copy",
    ),
    Rule("no_term", "account_id", "book the account's (or contract's) initial term, or leave the row out"),
    Rule(
        "outside_term",
        "start_date",
        "expansion and contraction start inside a term: mend it, or use change_order",
    ),
    Rule("churn_before_start", "start_date", "a churn takes effect on or after the start of the first term"),
)
