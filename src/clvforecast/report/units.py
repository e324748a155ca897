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


LEAST = 10.0
"""Of a unit, so that with one digit after the point amounts keep three figures."""


def money_unit(largest: float) -> MoneyUnit:
    """The unit for an axis or a table whose largest amount this is: the largest that it holds ten times.

    Examples
    --------
    >>> money_unit(23_000_000).label("USD")
    'USD million'
    >>> money_unit(2_300_000).label("USD")
    'USD thousand'
    >>> money_unit(850).label("EUR")
    'EUR'
    """
    return next((unit for unit in UNITS if abs(largest) >= LEAST * unit.size), UNITS[-1])


def counted(n: int, thing: str) -> str:
    """1 origin, 2 origins."""
    return f"{n:,} {thing}" + ("" if n == 1 else "s")


def in_unit(amount: float, unit: MoneyUnit) -> str:
    """The amount in the unit, one digit after the point (whole units without one).

    Examples
    --------
    >>> in_unit(23_410_000, money_unit(23_410_000)), in_unit(850.4, money_unit(850.4))
    ('23.4', '850')
    """
    return f"{amount / unit.size:,.{0 if unit.size == 1.0 else 1}f}"


def amount_text(amount: float, unit: MoneyUnit, currency: str) -> str:
    """An amount in a sentence.

    Examples
    --------
    >>> amount_text(23_410_000, money_unit(23_410_000), "USD")
    'USD 23.4 million'
    """
    return f"{currency} {in_unit(amount, unit)} {unit.name}".strip()
