"""Chargebee: changes of the monthly recurring revenue of subscriptions."""

from clvforecast.adapters.format import THOUSANDTHS, WHOLE, Format, Rows, Table

FORMATS = (
    Format(
        name="chargebee",
        about="subscription_mrr_changes; month-to-month unless term_months says otherwise",
        tables=(
            Table(
                "changes",
                {
                    "subscription": ("subscription_id",),
                    "customer": ("customer_id",),
                    "mrr": ("mrr",),
                    "change": ("mrr_change",),
                    "day": ("record_start_at",),
                },
                {"id": ("id",), "currency": ("currency_code", "base_currency_code", "currency")},
            ),
        ),
        rows=(
            Rows(
                "changes",
                {
                    "event_id": "changes.id",
                    "account_id": "changes.customer",
                    "contract_id": "changes.subscription",
                    "event_date": "changes.day",
                    "monthly_amount": "changes.mrr",
                    "change": "changes.change",
                    "currency": "changes.currency",
                },
            ),
        ),
        settings={
            "shape": "movements",
            "cents": True,
            "undivided": WHOLE,
            "thousandths": THOUSANDTHS,
            "term_months": 1,
            "time_zone": "UTC",
        },
    ),
)
