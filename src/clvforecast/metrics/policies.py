"""How a forecast counts, in words: what stands beside every figure that leaves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clvforecast.reduction import money_policies

if TYPE_CHECKING:
    from clvforecast.forecast import Forecast

PENDING = {
    "in_force": "A contract that has ended counts as in force while its renewal is open and its grace lasts; what of that is not "
    "renewed leaves in the forecast's first period. How much it is on the last day that is known: Forecast.pending_arr.",
    "lapsed": "A contract that has ended and whose renewal is not booked by the last day that is known counts as lapsed from the "
    "end of its term, in past periods too; renewals that come later are a line of their own. Past periods are told with what is "
    "known on that day, not as they were told then: a contract that was renewed late counts without a gap.",
}
LATE = {
    "in_force": "those whose grace was over",
    "lapsed": "any whose renewal was open",
}
"""Contracts that can be renewed late: ended, and not counted as in force meanwhile."""
EXISTING_ONLY = "Existing customers only: customers not yet won, and new contracts beside the existing, are not in it."
NEW_CUSTOMERS_BESIDE = (
    "They are in totals of the portfolio and its groups, and in the ARR bridge; tables of accounts and the summary are of "
    "existing customers, and new contracts beside those of existing customers are in nothing."
)


def policies(forecast: Forecast) -> dict[str, str]:
    """See `Forecast.policies`."""
    settings = forecast.settings
    rate, margin = settings.annual_discount_rate, settings.gross_margin
    said = {
        "accounts": EXISTING_ONLY
        if settings.new_customers is None
        else f"{settings.new_customers} {NEW_CUSTOMERS_BESIDE}",
        "window": f"{settings.horizon_months} calendar months from the day after {forecast.as_of}.",
        **money_policies(settings),
        "currency": f"All money is in {forecast.currency}.",
        "discounting": f"Discounted values have {rate:.2%} a year, by days from as_of, and a gross margin of {margin:.1%}; "
        "revenue has neither.",
        "ranges": f"Ranges hold model, parameter and event uncertainty, from {settings.draws:,} draws; totals are summed draw "
        "by draw, so ranges of parts do not add up to the range of the whole. Means do.",
    }
    if settings.known_by is not None:
        said["known_by"] = (
            f"Of money only bookings made by {settings.known_by} count; recurring revenue has all of them."
        )
    if settings.bridge:
        said |= {
            "arr": "ARR is twelve times the monthly revenue of the contracts in force: amount / months of the term. An amendment "
            "adds its amount over the months left of its term, at least three and at most the whole term: one of a term's last "
            "days is an adjustment, and is not annualised from these days alone. What takes an earlier one of the term back to "
            "the cent leaves nothing of it. Change orders and referrals are not recurring.",
            "new": "A customer is new in the period in which the first term that the ledger has of it begins.",
            "pending": PENDING[settings.pending],
            "late_renewals": "Late renewals are of contracts that had ended by the last day that is known, no longer counted as "
            f"in force then, and do renew: {LATE[settings.pending]}.",
            "nrr_grr": "NRR and GRR are of the accounts with ARR at the period's start: per account the end against the start; "
            "new and returning customers are in neither. GRR counts min(end, start).",
            "gross_renewal_rate": "Of the ARR whose renewal fell due in the period, what was renewed, at most what was due; "
            "of past periods what is not booked within its grace counts as not renewed.",
            "logo_churn": "Of the accounts with ARR at the period's start, the share with none at its end.",
        }
    if settings.scenario is not None:
        said["scenario"] = (
            f"Under the scenario {settings.scenario}. It holds to the end of the window: the value beyond, and renewals that "
            "fall due there, are the model's own."
        )
    if settings.plans is not None:
        said["plans"] = f"Lifecycle plans are in the forecast: {settings.plans}."
    return said
