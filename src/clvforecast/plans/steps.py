"""The schema of lifecycle plans as data: kinds, columns, units, and the rules a row must keep.

One row is one step that a customer-success manager (CSM) expects of an account. Its amount has the meaning of an event's:
the total revenue that it adds over its own service period. Inside the package it is integer cents.
"""

from __future__ import annotations

import pyarrow as pa

from clvforecast.events import FIRST_DAY, LARGEST_AMOUNT, LAST_DAY, LONGEST_TERM_MONTHS, Column, Rule

STEP_KINDS = ("renewal", "expansion", "contraction", "change_order")
RENEWAL = STEP_KINDS.index("renewal")
EVENT_STEPS = STEP_KINDS[RENEWAL + 1 :]
DEFAULT_WINDOW_DAYS = 90
"""An event comes, and a renewed term ends, at most so many days before or after the planned day: about a quarter."""
DEFAULT_RENEWAL_DAYS = 365
"""A planned renewal may be booked so many days after its planned day: ledgers book late, many a contract by months."""
LONGEST_WINDOW_DAYS = 730

COLUMNS: tuple[Column, ...] = (
    Column("account_id", True, "as in the ledger"),
    Column(
        "planned_date",
        True,
        "day on which the step is expected to be booked; of a renewal, the end of the term it renews",
    ),
    Column("kind", True, "one of: " + ", ".join(STEP_KINDS)),
    Column(
        "amount",
        False,
        "total revenue the step adds over its service period; a renewal without one has the model's price",
    ),
    Column("term_months", False, "of a renewal: whole months of the next term"),
    Column("probability", False, "what the CSM states, 0 to 1"),
    Column(
        "recorded_on", False, "day the step was written down; what was booked by then does not count as its outcome"
    ),
    Column(
        "step_id",
        False,
        "identity within its account; made of kind and day where there is none, and rows that say the same are then one step",
    ),
    Column("csm", False, "who stated it: a grouping column"),
    Column("currency", False, "ISO 4217 code, that of the ledger"),
    Column("note", False, "any text: carried to the tables of steps, as plan_note"),
)
COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)
REQUIRED_COLUMNS: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.required)

STEP_SCHEMA = pa.schema(
    [
        pa.field("account_id", pa.string(), nullable=False),
        pa.field("step_id", pa.string(), nullable=False),
        pa.field("planned_date", pa.date32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("amount_cents", pa.int64()),  # null only for a renewal at the model's price
        pa.field("term_months", pa.int32()),  # null but for renewals
        pa.field("probability", pa.float64()),
        pa.field("recorded_on", pa.date32()),
        pa.field("csm", pa.string()),
        pa.field("note", pa.string()),
    ]
)
# The canonical order of steps; it does not depend on the order of the input.
STEP_ORDER = ("account_id", "planned_date", "kind", "step_id")

# In this order; a row that breaks several is rejected once, by the first.
RULES: tuple[Rule, ...] = (
    Rule("missing_account", "account_id", "give every step its account_id"),
    Rule("unknown_account", "account_id", "the ledger has no such account: check the spelling, or book its first term"),
    Rule("unknown_kind", "kind", "use one of: " + ", ".join(STEP_KINDS)),
    Rule("missing_date", "planned_date", "give the day on which the step is expected, as YYYY-MM-DD"),
    Rule("unreadable_date", "planned_date", "write dates as YYYY-MM-DD"),
    Rule("unreadable_recorded_on", "recorded_on", "write dates as YYYY-MM-DD, or leave it empty where it is not known"),
    Rule("date_out_of_range", "planned_date", f"dates run from {FIRST_DAY} to {LAST_DAY}: check for typing errors"),
    Rule("recorded_out_of_range", "recorded_on", f"dates run from {FIRST_DAY} to {LAST_DAY}: check for typing errors"),
    Rule("missing_amount", "amount", "give the revenue that the step adds; only a renewal may leave it empty"),
    Rule("unreadable_amount", "amount", "write a plain number: no currency sign, no thousands separator"),
    Rule("amount_out_of_range", "amount", f"one step holds at most {LARGEST_AMOUNT:.0e} currency units"),
    Rule("wrong_sign", "amount", "contraction below 0, all others above 0 (after rounding to cents)"),
    Rule("other_currency", "currency", "convert the amounts to the ledger's currency"),
    Rule("invalid_term", "term_months", f"use whole months from 1 to {LONGEST_TERM_MONTHS}, or leave it empty"),
    Rule("invalid_probability", "probability", "write a number from 0 to 1 (0.7, not 70 or 70%), or leave it empty"),
    Rule(
        "recorded_after_window",
        "recorded_on",
        "the step was written down when it could no longer come: correct one of the two dates",
    ),
    Rule(
        "duplicate_step",
        "step_id",
        "this account has a step of that step_id that was written before; give each its own",
    ),
    Rule(
        "repeated_step",
        "planned_date",
        "another row says the same and counts already: leave this one out, or give both a step_id where two are meant",
    ),
)
