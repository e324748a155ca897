"""The twin's cash: each day of service is paid with the instalment it is in, and what is taken back of it goes back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from clvforecast.simulation.slots import UNITS_PER_CENT, Origin
from clvforecast.simulation.states import States
from clvforecast.simulation.twin_revenue import YEAR, Booking, months_after


@dataclass(frozen=True)
class Billing:
    """``months`` of an instalment, None for the whole booking; ``payment_days`` from an invoice to its payment."""

    months: int | None
    payment_days: int

    def paid(self, booking: Booking) -> dict[int, int]:
        """The day on which each day of a booking's service is paid."""
        found = {}
        for first, last in self.instalments(booking.start, booking.end):
            for day in range(first, last):
                found[day] = max(first, booking.day) + self.payment_days
        return found

    def instalments(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """[first day, day after the last) of each."""
        if self.months is None:
            yield start, end
            return
        number = 0
        while (first := months_after(start, number * self.months)) < end:
            number += 1
            yield first, min(months_after(start, number * self.months), end)

    def worth(self, months: int, log_discount: float) -> float:
        """What a term's instalments are worth at its start, in months of its revenue."""
        covered, total = 0, 0.0
        while covered < months:
            these = min(self.months or months, months - covered)
            total += these * math.exp(-log_discount * (covered / 12 + self.payment_days / YEAR))
            covered += these
        return total


@dataclass(frozen=True)
class Credit(Booking):
    """What an early termination booked by the origin takes back of a booking, on the days of that one's instalments."""

    of: Booking | None = None
    back_day: int = 0  # from which on
    known: int = 0  # the day on which the termination was booked

    def served(self) -> list[tuple[int, int]]:
        """All that is unserved goes at the booking's own daily rate; another amount at its own."""
        assert self.of is not None
        length, cents = self.of.end - self.of.start, self.of.units // UNITS_PER_CENT
        served = round(Fraction(cents * max(self.back_day - self.of.start, 0), length))
        days = range(self.start, self.end)
        all_of_it = self.units == (served - cents) * UNITS_PER_CENT
        rate = -(self.of.units // length) if all_of_it else self.units // len(days)
        rates = [(day, rate) for day in days]
        rates[0] = (self.start, self.units - rate * (len(days) - 1))
        return rates

    def taken_back(self) -> list[tuple[int, int]]:
        """Days that another, earlier termination takes back first."""
        return [] if self.cut is None else [(day, units) for day, units in self.served() if day >= self.cut]


def payments(booking: Booking, billing: Billing) -> list[tuple[int, int]]:
    """(day, units) of all cash of a booking: what is served is paid, what is taken back goes back or is not paid."""
    if isinstance(booking, Credit) and booking.of is not None:
        returned = max(booking.back_day, booking.known) + billing.payment_days
        due = {day: paid if paid > booking.known else returned for day, paid in billing.paid(booking.of).items()}
    else:
        due = billing.paid(booking)
    found = [(due[day], units) for day, units in booking.served()]
    for day, units in booking.taken_back():
        assert booking.cut is not None
        back = booking.cut + billing.payment_days if due[day] <= booking.cut else due[day]
        found.append((back, -units))
    on_days: Counter[int] = Counter()
    for day, units in found:
        on_days[day] += units
    return sorted(on_days.items())


def receivables(states: States, rows: range) -> list[Booking]:
    """A line's bookings that may still be paid at the origin, and what terminations already booked take back of them."""
    found: list[Booking] = []
    for row in rows:
        start, end, day = int(states.rc_start[row]), int(states.rc_end[row]), int(states.rc_booked[row])
        number = 0 if states.rc_tied[row] else None
        booking = Booking(Origin.COMMITTED, day, start, end, int(states.rc_cents[row]) * UNITS_PER_CENT, number)
        found.append(booking)
        if states.rc_back_cents[row]:
            from_day = int(states.rc_back_day[row])
            found.append(
                Credit(
                    Origin.COMMITTED,
                    day,
                    max(start, from_day),
                    end,
                    int(states.rc_back_cents[row]) * UNITS_PER_CENT,
                    number,
                    of=booking,
                    back_day=from_day,
                    known=int(states.rc_known_day[row]),
                )
            )
    return found
