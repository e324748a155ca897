"""Recurly: the versions of subscriptions, with the billing intervals of their plans.

A version holds from its change until the next one; the first since the subscription began, the last until it expires.
"""

from clvforecast.adapters.format import Format, Rows, Table

VERSIONS = "OVER (PARTITION BY subscriptions.id ORDER BY subscriptions.updated)"

FORMATS = (
    Format(
        name="recurly",
        about="subscription history, with plans for the billing interval",
        tables=(
            Table(
                "subscriptions",
                {
                    "id": ("id",),
                    "account": ("account_id",),
                    "plan": ("plan_id",),
                    "state": ("state",),
                    "activated": ("activated_at",),
                    "expires": ("expires_at",),
                    "updated": ("updated_at",),
                    "currency": ("currency",),
                    "subtotal": ("subtotal",),
                },
                {"trial_end": ("trial_ends_at",)},
            ),
            Table("plans", {"id": ("id",), "unit": ("interval_unit",), "length": ("interval_length",)}),
        ),
        rows=(
            Rows(
                "subscriptions",
                {
                    "account_id": "subscriptions.account",
                    "contract_id": "subscriptions.id",
                    "start_date": f"""CASE WHEN row_number() {VERSIONS} = 1
                        THEN later(subscriptions.activated, subscriptions.trial_end) ELSE subscriptions.updated END""",
                    "end_date": f"coalesce(lead(subscriptions.updated) {VERSIONS}, subscriptions.expires)",
                    "amount": "subscriptions.subtotal",
                    "currency": "subscriptions.currency",
                    "term_months": "months_of(plans.length, plans.unit)",
                    "state": "subscriptions.state",
                },
                "LEFT JOIN plans ON subscriptions.plan = plans.id",
            ),
        ),
        settings={
            "shape": "periods",
            "keep": {"state": ("active", "canceled", "expired", "paused", "future", "past_due")},
            "time_zone": "UTC",
        },
    ),
)
