"""ChartMogul: the export of MRR movements, and the CSV files of its import (invoices and their line items)."""

from clvforecast.adapters.format import Format, Rows, Table

MOVEMENTS = Format(
    name="chartmogul",
    about="MRR movements; month-to-month unless term_months says otherwise",
    tables=(
        Table(
            "movements",
            {
                "day": ("DATE",),
                "mrr": ("MRR", "activity-mrr", "activity_mrr"),
                "change": ("MRR_MOVEMENT", "activity-mrr-movement", "activity_mrr_movement"),
                "customer": ("CUSTOMER_EXTERNAL_ID", "customer-external-id", "CUSTOMER_UUID", "customer-uuid"),
                "currency": ("CURRENCY_CODE", "currency"),
            },
            {
                "subscription": ("SUBSCRIPTION_EXTERNAL_ID", "subscription-external-id"),
                "id": ("UUID",),
                "rank": ("RANK",),
            },
        ),
    ),
    rows=(
        Rows(
            "movements",
            {
                "event_id": "movements.id",
                "rank": "movements.rank",
                "account_id": "movements.customer",
                "contract_id": "movements.subscription",
                "event_date": "movements.day",
                "monthly_amount": "movements.mrr",
                "change": "movements.change",
                "currency": "movements.currency",
            },
        ),
    ),
    settings={"shape": "movements", "cents": True, "term_months": 1, "time_zone": "UTC"},
)

# Amounts of line items are after discounts and with taxes, which are no revenue.
IMPORT = Format(
    name="chartmogul_import",
    about="line items of the CSV import, with its invoices",
    tables=(
        Table(
            "items",
            {
                "invoice": ("Invoice external ID",),
                "type": ("Type",),
                "amount": ("Amount in cents",),
                "starts": ("Service period start",),
                "ends": ("Service period end",),
            },
            {
                "id": ("External ID",),
                "subscription": ("Subscription external ID",),
                "proration": ("Proration", "Prorated"),
                "tax": ("Tax amount", "Tax amount in cents"),
            },
        ),
        Table(
            "invoices",
            {
                "id": ("Invoice external ID",),
                "customer": ("Customer external ID",),
                "day": ("Invoiced date",),
                "currency": ("Currency",),
            },
        ),
    ),
    rows=(
        Rows(
            "items",
            {
                "event_id": "items.id",
                "account_id": "invoices.customer",
                "contract_id": "items.subscription",
                "event_date": "invoices.day",
                "start_date": "CASE WHEN lower(items.type) = 'one_time' THEN invoices.day ELSE items.starts END",
                "end_date": "CASE WHEN lower(items.type) = 'one_time' THEN NULL ELSE items.ends END",
                "kind": """CASE WHEN lower(items.proration) IN ('true', '1', 't', 'yes') THEN
                                CASE WHEN items.amount LIKE '-%' THEN 'less' ELSE 'more' END
                           ELSE items.type END""",
                "amount": "without(items.amount, items.tax)",
                "currency": "invoices.currency",
            },
            "LEFT JOIN invoices ON items.invoice = invoices.id",
        ),
    ),
    settings={
        "shape": "bookings",
        "cents": True,
        "kinds": {"subscription": "term", "one_time": "change_order", "more": "expansion", "less": "contraction"},
        "time_zone": "UTC",
    },
)

FORMATS = (MOVEMENTS, IMPORT)
