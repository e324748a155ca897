"""Money written for people: thousands, millions, billions."""

from __future__ import annotations

from typing import NamedTuple


class MoneyUnit(NamedTuple):
    """A divisor and its name: ``MoneyUnit(1e6, "million")``."""

    size: float
    name: str

    def label(self, currency: str) -> str:
        """For an axis or a column: "USD million"."""
        return f"{currency} {self.name}".strip()


UNITS = (MoneyUnit(1e9, "billion"), MoneyUnit(1e6, "million"), MoneyUnit(1e3, "thousand"), MoneyUnit(1.0, ""))


def money_unit(largest: float) -> MoneyUnit:
    """The unit in which the largest amount of an axis or a table has one to three digits before the point.

    Examples
    --------
    >>> money_unit(2_300_000).label("USD")
    'USD million'
    >>> money_unit(850).label("EUR")
    'EUR'
    """
    return next((unit for unit in UNITS if abs(largest) >= unit.size), UNITS[-1])


def in_unit(amount: float, unit: MoneyUnit) -> str:
    """The amount in the unit, one digit after the point (whole units without one).

    Examples
    --------
    >>> in_unit(2_340_000, money_unit(2_340_000)), in_unit(850.4, money_unit(850.4))
    ('2.3', '850')
    """
    return f"{amount / unit.size:,.{0 if unit.size == 1.0 else 1}f}"
