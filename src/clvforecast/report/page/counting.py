"""What a forecast's money is, by its timing: what tables call it, and what of the past it can be added to."""

from __future__ import annotations

from typing import NamedTuple


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
