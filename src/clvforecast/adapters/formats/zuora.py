"""Zuora: rate plan charges joined with their subscriptions and accounts, as its data source export gives them.

Every amendment makes a new version of a subscription; the older ones, whose charges it repeats, are expired.
"""

from clvforecast.adapters.format import Format, Rows, Table

FORMATS = (
    Format(
        name="zuora",
        about="rate plan charges of the subscriptions' last versions",
        tables=(
            Table(
                "charges",
                {
                    "account": ("Account.AccountNumber", "Account.Id", "account_number", "account_id"),
                    "subscription": ("Subscription.Name", "subscription_name"),
                    "status": ("Subscription.Status", "subscription_status"),
                    "number": ("RatePlanCharge.ChargeNumber", "charge_number"),
                    "mrr": ("RatePlanCharge.MRR", "mrr"),
                    "starts": ("RatePlanCharge.EffectiveStartDate", "effective_start_date"),
                    "ends": ("RatePlanCharge.EffectiveEndDate", "effective_end_date"),
                    "months": ("Subscription.CurrentTerm", "current_term", "Subscription.InitialTerm", "initial_term"),
                },
                {
                    "id": ("RatePlanCharge.Id", "rate_plan_charge_id"),
                    "currency": ("Account.Currency", "account_currency", "currency"),
                    "type": ("RatePlanCharge.ChargeType", "charge_type"),
                    "unit": ("Subscription.CurrentTermPeriodType", "current_term_period_type"),
                },
            ),
        ),
        rows=(
            Rows(
                "charges",
                {
                    "event_id": "charges.id",
                    "account_id": "charges.account",
                    "contract_id": "concat_ws(' ', charges.subscription, charges.number)",
                    "start_date": "charges.starts",
                    "end_date": "charges.ends",
                    "monthly_amount": "charges.mrr",
                    "currency": "charges.currency",
                    "term_months": "CASE WHEN charges.months <> '0' THEN months_of(charges.months, charges.unit) END",
                    "status": "charges.status",
                    "type": "charges.type",
                },
            ),
        ),
        settings={
            "shape": "periods",
            "keep": {"status": ("active", "cancelled", "suspended"), "type": ("recurring", "")},
            "time_zone": "UTC",
        },
    ),
)
