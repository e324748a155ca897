"""HubSpot: line items of won deals, or won deals alone.

The amount of a recurring line item is that of one billing period: a term brings as many of it as there are periods in it, unless
the export says the total contract value. A line item without a term runs from period to period.
"""

from clvforecast.adapters.format import Format, Rows, Table

DEALS = Table(
    "deals",
    {
        "id": ("hs_object_id", "Record ID", "deal_id", "Deal ID"),
        "amount": ("amount",),
        "closed": ("closedate", "Close Date"),
        "won": ("hs_is_closed_won", "Is Closed Won", "Is closed won"),
        "company": (
            "associated_company_id",
            "Associated Company IDs",
            "Associated Company ID",
            "company_id",
            "Associated Company",
        ),
    },
    {
        "type": ("dealtype", "Deal Type"),
        "currency": ("deal_currency_code", "Currency"),
        "months": ("hs_term_in_months", "Term (months)"),
    },
)
WON = ("true", "yes", "1")
EACH = """CASE lower(items.frequency)
    WHEN 'monthly' THEN '1' WHEN 'quarterly' THEN '3' WHEN 'per_six_months' THEN '6' WHEN 'semi-annually' THEN '6'
    WHEN 'annually' THEN '12' WHEN 'per_two_years' THEN '24' WHEN 'every two years' THEN '24' WHEN 'per_three_years' THEN '36'
    WHEN 'every three years' THEN '36' WHEN 'per_four_years' THEN '48' WHEN 'every four years' THEN '48'
    WHEN 'per_five_years' THEN '60' WHEN 'every five years' THEN '60' ELSE items.frequency END"""
TERM = f"""coalesce(items.months, CASE
    WHEN regexp_full_match(items.period, 'P[0-9]{{1,4}}M') THEN items.period[2:-2]
    WHEN regexp_full_match(items.period, 'P[0-9]{{1,2}}Y') THEN CAST(12 * CAST(items.period[2:-2] AS INTEGER) AS VARCHAR)
    ELSE items.period END, {EACH})"""

FORMATS = (
    Format(
        name="hubspot",
        about="line items, with the deals they belong to",
        tables=(
            Table(
                "items",
                {
                    "id": ("hs_object_id", "Record ID", "line_item_id", "Line item ID"),
                    "deal": ("deal_id", "Associated Deal IDs", "Associated Deal ID", "Associated Deal"),
                    "amount": ("amount", "Net price"),
                    "price": ("price", "Unit price"),
                    "frequency": ("recurringbillingfrequency", "Billing frequency"),
                },
                {
                    "name": ("name", "Name"),
                    "product": ("hs_product_id", "Product ID"),
                    "months": ("hs_term_in_months", "Term (months)"),
                    "period": ("hs_recurring_billing_period", "Term"),
                    "starts": ("hs_recurring_billing_start_date", "Billing start date"),
                    "currency": ("hs_line_item_currency_code", "Currency"),
                    "total": ("hs_tcv", "Total contract value"),
                },
            ),
            DEALS,
        ),
        rows=(
            Rows(
                "items",
                {
                    "event_id": "items.id",
                    "account_id": "deals.company",
                    # several products of one deal run side by side
                    "contract_id": "coalesce(items.product, items.name)",
                    "event_date": "deals.closed",
                    "start_date": "coalesce(items.starts, deals.closed)",
                    "kind": "CASE WHEN items.frequency IS NULL THEN 'one-off' ELSE 'recurring' END",
                    "amount": f"""CASE WHEN items.frequency IS NULL THEN items.amount
                        ELSE coalesce(items.total, over_term(items.amount, {TERM}, {EACH})) END""",
                    "currency": "coalesce(items.currency, deals.currency)",
                    "term_months": TERM,
                    "won": "coalesce(deals.won, 'not known')",
                },
                "LEFT JOIN deals ON items.deal = deals.id",
            ),
        ),
        settings={
            "shape": "bookings",
            "kinds": {"recurring": "term", "one-off": "change_order"},
            "keep": {"won": (*WON, "not known")},
            "time_zone": "UTC",
        },
    ),
    Format(
        name="hubspot_deals",
        about="won deals without line items",
        tables=(DEALS,),
        rows=(
            Rows(
                "deals",
                {
                    "event_id": "deals.id",
                    "account_id": "deals.company",
                    "event_date": "deals.closed",
                    "kind": "coalesce(deals.type, 'newbusiness')",
                    "amount": "deals.amount",
                    "currency": "deals.currency",
                    "term_months": "deals.months",
                    "won": "deals.won",
                },
            ),
        ),
        settings={
            "shape": "bookings",
            "kinds": {
                "newbusiness": "term",
                "existingbusiness": "term",
                "New Business": "term",
                "Existing Business": "term",
            },
            "keep": {"won": WON},
            "time_zone": "UTC",
        },
    ),
)
