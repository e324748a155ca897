"""Maxio (SaaSOptics): transactions, with the customers of their contracts. Ends are last days."""

from clvforecast.adapters.format import Format, Rows, Table

FORMATS = (
    Format(
        name="maxio",
        about="transactions, with their contracts for the customer",
        tables=(
            Table(
                "transactions",
                {
                    "id": ("id",),
                    "contract": ("contract", "contract_id"),
                    "item": ("item", "item_id"),
                    "ordered": ("order_date",),
                    "starts": ("start_date",),
                    "ends": ("end_date",),
                    "amount": ("home_amount",),
                },
                {"cancelled": ("cancelled",), "currency": ("home_currency", "currency"), "customer": ("customer",)},
            ),
            Table("contracts", {"id": ("id", "contract_id"), "customer": ("customer", "customer_id")}),
        ),
        rows=(
            Rows(
                "transactions",
                {
                    "event_id": "transactions.id",
                    "account_id": "coalesce(contracts.customer, transactions.customer)",
                    "contract_id": "concat_ws(' ', transactions.contract, transactions.item)",
                    "event_date": "coalesce(transactions.ordered, transactions.starts)",
                    "start_date": "transactions.starts",
                    "end_date": "transactions.ends",
                    "kind": "CASE WHEN transactions.ends IS NULL THEN 'one-off' ELSE 'term' END",
                    "amount": "transactions.amount",
                    "currency": "transactions.currency",
                    "cancelled": "transactions.cancelled",
                },
                "LEFT JOIN contracts ON transactions.contract = contracts.id",
            ),
        ),
        settings={
            "shape": "bookings",
            "ends": "last day",
            "kinds": {"term": "term", "one-off": "change_order"},
            "keep": {"cancelled": ("false", "0", "f", "no", "")},
        },
    ),
)
