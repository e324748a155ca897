"""Recurly: the versions of subscriptions, with the billing intervals of their plans.

A version holds from its change until the next one; the first since the subscription began, the last until it expires. Trials and
pauses bring nothing.
"""

from clvforecast.adapters.format import Format, Rows, Table

VERSIONS = 'OVER (PARTITION BY subscriptions.id ORDER BY moment(subscriptions.updated), subscriptions."__number")'
BEGINS = f"""later(CASE WHEN row_number() {VERSIONS} = 1 THEN subscriptions.activated ELSE subscriptions.updated END,
    subscriptions.trial_end)"""
ENDS = f"earlier(lead(subscriptions.updated) {VERSIONS}, subscriptions.expires)"

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
                    "start_date": BEGINS,
                    "end_date": ENDS,
                    "amount": "subscriptions.subtotal",
                    "currency": "subscriptions.currency",
                    "term_months": "months_of(plans.length, plans.unit)",
                    "state": f"CASE WHEN moment({ENDS}) <= moment({BEGINS}) THEN 'trial' ELSE subscriptions.state END",
                },
                "LEFT JOIN plans ON subscriptions.plan = plans.id",
            ),
        ),
        settings={
            "shape": "periods",
            "keep": {"state": ("active", "canceled", "expired", "past_due")},
            "time_zone": "UTC",
        },
    ),
)
