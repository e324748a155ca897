"""Stripe: the dashboard's exports of subscriptions and of invoices, and the tables of its API as warehouses keep them.

A trial is no revenue: what is paid begins when it ends. Past-due subscriptions still count; unpaid ones have ended with the
period before; paused ones, whose trial ended without a means of payment, bring nothing.
The exports say what a subscription costs now: earlier prices are in the invoices. Taxes are no revenue.
"""

from clvforecast.adapters.format import THOUSANDTHS, WHOLE, Format, Rows, Table

PAYING = ("active", "past_due", "canceled", "unpaid")

ENDED = """coalesce(subscriptions.ended, CASE lower(subscriptions.status)
    WHEN 'unpaid' THEN subscriptions.period_start WHEN 'canceled' THEN subscriptions.canceled END)"""
BEGINS = "later(subscriptions.starts, subscriptions.trial_end)"
# What ended before a trial did, or with the first period unpaid, never paid.
STATUS = f"CASE WHEN moment({ENDED}) <= moment({BEGINS}) THEN 'never paid' ELSE subscriptions.status END"

DASHBOARD = Format(
    name="stripe",
    about="the dashboard's subscriptions",
    tables=(
        Table(
            "subscriptions",
            {
                "id": ("id",),
                "customer": ("Customer ID", "Customer"),
                "status": ("Status",),
                "amount": ("Amount",),
                "interval": ("Interval",),
                "starts": ("Start (UTC)", "Start Date (UTC)"),
                "ended": ("Ended At (UTC)",),
            },
            {
                "count": ("Interval Count",),
                "currency": ("Currency",),
                "canceled": ("Canceled At (UTC)",),
                "period_start": ("Current Period Start (UTC)",),
                "trial_end": ("Trial End (UTC)",),
            },
        ),
    ),
    rows=(
        Rows(
            "subscriptions",
            {
                "event_id": "subscriptions.id",
                "account_id": "subscriptions.customer",
                "contract_id": "subscriptions.id",
                "start_date": BEGINS,
                "end_date": ENDED,
                "amount": "subscriptions.amount",
                "currency": "subscriptions.currency",
                "term_months": "months_of(subscriptions.count, subscriptions.interval)",
                "status": STATUS,
            },
        ),
    ),
    settings={"shape": "periods", "keep": {"status": PAYING}},
)

# An invoice for what is left of the period paid so far is a change inside it; one that goes beyond cannot be told apart. Copies
# tie, and then stand as in the file, as they do where copies are dropped.
BEFORE = """OVER (PARTITION BY invoices.subscription, lower(invoices.status) = 'paid' ORDER BY moment(invoices.starts),
    moment(invoices.day), invoices."__number" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"""
LAST_END = f"max(moment(invoices.ends)) {BEFORE}"
INVOICED = f"""CASE WHEN invoices.subscription IS NULL THEN 'one-off'
    WHEN moment(invoices.starts)[:10] >= {LAST_END}[:10] OR {LAST_END} IS NULL THEN 'term'
    WHEN moment(invoices.ends)[:10] <= {LAST_END}[:10] THEN 'rest of a term'
    ELSE 'a proration and the next period in one' END"""

# A paid invoice is a term from its first service day to its last; of subscriptions, only ends are used beside invoices.
INVOICES = Format(
    name="stripe_invoices",
    about="the dashboard's invoices; with its subscriptions also their ends",
    tables=(
        Table(
            "invoices",
            {
                "id": ("id",),
                "customer": ("Customer", "Customer ID"),
                "subscription": ("Subscription",),
                "status": ("Status",),
                "paid": ("Amount Paid",),
                "day": ("Date (UTC)", "Created (UTC)"),
                "starts": ("Minimum Line Item Period Start (UTC)",),
                "ends": ("Maximum Line Item Period End (UTC)",),
            },
            {"currency": ("Currency",), "tax": ("Tax",)},
        ),
        DASHBOARD.tables[0],
    ),
    rows=(
        Rows(
            "invoices",
            {
                "event_id": "invoices.id",
                "account_id": "invoices.customer",
                "contract_id": "coalesce(invoices.subscription, '')",
                "event_date": "invoices.day",
                "start_date": "CASE WHEN invoices.subscription IS NULL THEN invoices.day ELSE invoices.starts END",
                "end_date": "CASE WHEN invoices.subscription IS NULL THEN NULL ELSE invoices.ends END",
                "kind": INVOICED,
                "amount": "without(invoices.paid, invoices.tax)",
                "currency": "invoices.currency",
                "status": "invoices.status",
            },
        ),
        Rows(
            "subscriptions",
            {
                "event_id": "'end of ' || subscriptions.id",
                "account_id": "subscriptions.customer",
                "contract_id": "subscriptions.id",
                "event_date": ENDED,
                "start_date": ENDED,
                "kind": "'end'",
                "amount": "'0'",  # what was paid stays
                "currency": """coalesce(subscriptions.currency, (
                    SELECT any_value(invoices.currency) FROM invoices WHERE invoices.subscription = subscriptions.id))""",
                "status": f"CASE WHEN {ENDED} IS NULL THEN 'runs on' ELSE 'ended' END",
            },
        ),
    ),
    settings={
        "shape": "bookings",
        "keep": {"status": ("paid", "ended")},
        "kinds": {"term": "term", "one-off": "change_order", "rest of a term": "expansion", "end": "churn"},
    },
)

TABLES = Format(
    name="stripe_tables",
    about="the API's subscription items, with subscriptions and plans (or prices)",
    tables=(
        Table(
            "items",
            {"id": ("id",), "subscription": ("subscription_id",), "plan": ("plan_id", "price_id")},
            {"quantity": ("quantity",)},
            never=("invoice_id", "account_id", "activate_at"),
        ),
        Table(
            "subscriptions",
            {
                "id": ("id",),
                "customer": ("customer_id",),
                "status": ("status",),
                "starts": ("start_date",),
                "ended": ("ended_at",),
            },
            {"canceled": ("canceled_at",), "period_start": ("current_period_start",), "trial_end": ("trial_end",)},
        ),
        Table(
            "plans",
            {
                "id": ("id",),
                "amount": ("amount", "unit_amount"),
                "currency": ("currency",),
                "interval": ("interval", "recurring_interval"),
            },
            {"count": ("interval_count", "recurring_interval_count")},
        ),
    ),
    rows=(
        Rows(
            "items",
            {
                "event_id": "items.id",
                "account_id": "subscriptions.customer",
                "contract_id": "items.id",
                "start_date": BEGINS,
                "end_date": ENDED,
                "amount": "times(plans.amount, coalesce(items.quantity, '1'))",
                "currency": "plans.currency",
                "term_months": "months_of(plans.count, plans.interval)",
                "status": f"coalesce({STATUS}, 'not known')",
            },
            "LEFT JOIN subscriptions ON items.subscription = subscriptions.id LEFT JOIN plans ON items.plan = plans.id",
        ),
    ),
    settings={
        "shape": "periods",
        "cents": True,
        "undivided": WHOLE,
        "thousandths": THOUSANDTHS,
        "keep": {"status": (*PAYING, "not known")},
        "time_zone": "UTC",
    },
)

FORMATS = (DASHBOARD, INVOICES, TABLES)
