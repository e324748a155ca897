"""Formats of no system: periods of subscriptions, and revenue events as this package itself reads them.

Periods of a customer follow each other, whatever their subscription_id; side by side they need a column contract_id.
"""

from clvforecast.adapters.format import Format, Rows, Table
from clvforecast.events import COLUMN_NAMES, KINDS, REQUIRED_COLUMNS

FORMATS = (
    Format(
        name="periods",
        about="subscription periods with a monthly amount; month-to-month unless a column term_months says otherwise",
        tables=(
            Table(
                "periods",
                {
                    "customer": ("customer_id", "account_id"),
                    "starts": ("start_date",),
                    "ends": ("end_date",),
                    "price": ("monthly_amount",),
                },
                {"contract": ("contract_id",), "currency": ("currency",), "months": ("term_months",)},
            ),
        ),
        rows=(
            Rows(
                "periods",
                {
                    "account_id": "periods.customer",
                    "start_date": "periods.starts",
                    "end_date": "periods.ends",
                    "monthly_amount": "periods.price",
                    "contract_id": "periods.contract",
                    "currency": "periods.currency",
                    "term_months": "periods.months",
                },
            ),
        ),
        settings={"shape": "periods", "term_months": 1},
    ),
    Format(
        name="events",
        about="revenue events with the columns of this package",
        tables=(
            Table(
                "events",
                {name: (name,) for name in REQUIRED_COLUMNS},
                {name: (name,) for name in COLUMN_NAMES if name not in REQUIRED_COLUMNS},
            ),
        ),
        rows=(Rows("events", {name: f"events.{name}" for name in COLUMN_NAMES}),),
        settings={"shape": "bookings", "kinds": {kind.name: kind.name for kind in KINDS}},
    ),
)
