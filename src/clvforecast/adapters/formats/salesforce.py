"""Salesforce: won opportunities, with the terms of their contracts.

What an opportunity is stands in `Type`, whose words are the organisation's own, and whether the amount of one inside a term is
a total or a difference is a habit: both must be said.
"""

from clvforecast.adapters.format import Format, Rows, Table

# The first won opportunity of a contract opens it, on its first day; what changes it later begins when it is sold.
OPENS = """row_number() OVER (PARTITION BY opportunities.contract, lower(opportunities.won) IN ('true', '1'),
    coalesce(lower(opportunities.deleted), '') IN ('true', '1')
    ORDER BY moment(opportunities.closed), opportunities.id, opportunities."__number") = 1"""

FORMATS = (
    Format(
        name="salesforce",
        about="won opportunities, with their contracts where there are some",
        tables=(
            Table(
                "opportunities",
                {
                    "id": ("Id", "Opportunity ID"),
                    "account": ("AccountId", "account_id", "Account ID"),
                    "type": ("Type",),
                    "amount": ("Amount",),
                    "closed": ("CloseDate", "close_date", "Close Date"),
                    "won": ("IsWon", "is_won", "Won"),
                },
                {
                    "contract": ("ContractId", "contract_id", "Contract ID"),
                    "deleted": ("IsDeleted", "is_deleted", "Deleted"),
                    "currency": ("CurrencyIsoCode", "currency_iso_code", "Amount Currency"),
                    "months": (
                        "SBQQ__RenewalTerm__c",
                        "sbqq__renewal_term__c",
                        "ContractTerm",
                        "Contract Term (months)",
                    ),
                },
                never=("_fivetran_start",),  # a history of versions
            ),
            Table(
                "contracts",
                {
                    "id": ("Id", "Contract ID"),
                    "months": ("ContractTerm", "contract_term", "Contract Term (months)"),
                    "starts": ("StartDate", "start_date", "Contract Start Date"),
                },
                {"account": ("AccountId", "account_id"), "ends": ("EndDate", "end_date", "Contract End Date")},
            ),
        ),
        rows=(
            Rows(
                "opportunities",
                {
                    "event_id": "opportunities.id",
                    "account_id": "opportunities.account",
                    "event_date": "opportunities.closed",
                    "start_date": f"CASE WHEN {OPENS} THEN contracts.starts END",
                    "end_date": f"CASE WHEN {OPENS} AND contracts.months IS NULL THEN contracts.ends END",
                    "kind": "opportunities.type",
                    "amount": "opportunities.amount",
                    "currency": "opportunities.currency",
                    "term_months": "coalesce(contracts.months, opportunities.months)",
                    "total_of": "opportunities.contract",
                    "won": "opportunities.won",
                    "deleted": "opportunities.deleted",
                },
                "LEFT JOIN contracts ON opportunities.contract = contracts.id",
            ),
        ),
        settings={
            "shape": "bookings",
            "ends": "last day",
            "keep": {"won": ("true", "1"), "deleted": ("false", "0", "")},
            "time_zone": "UTC",
        },
        asks={
            "kinds": 'what each of your Type values is, as {"New Customer" = "initial", "Renewal" = "renewal"}',
            "amounts": '"difference" or "total": what Amount is where an opportunity changes a running contract',
        },
    ),
)
