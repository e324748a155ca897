"""What a forecast's money is: what tables call it by its timing, what of the past it can be added to, and who brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clvforecast.simulation.slots import UNITS_PER_CURRENCY

if TYPE_CHECKING:
    from clvforecast.forecast import Forecast


class Counting(NamedTuple):
    """noun: of its money; done: what became of it until as_of; to_date: the accounts' column of that.

    What is to come of bookings goes on from what was booked, never from what was recognised: the committed part would count
    twice.
    """

    noun: str
    done: str
    to_date: str


COUNTINGS = {
    "recognised": Counting("Revenue", "recognised", "clv_to_date"),
    "booked": Counting("Bookings", "booked", "booked_to_date"),
    "cash": Counting("Payments", "paid", "paid_to_date"),
}
RECOGNISED = COUNTINGS["recognised"]


def new_customers_mean(forecast: Forecast) -> float | None:
    """Mean of what customers still to be won bring in the whole window; None where the forecast has none."""
    if forecast.new_totals is None:
        return None
    return float(forecast.new_totals.groups.sum(axis=(1, 2)).mean() / UNITS_PER_CURRENCY)
