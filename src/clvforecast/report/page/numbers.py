"""Figures as text: thousands separators, a real minus, a unit for the whole table, ranges as "12.3 (10.1 to 14.9)"."""

from __future__ import annotations

import math
from datetime import date

from clvforecast.report.units import MoneyUnit, in_unit

MINUS = "\N{MINUS SIGN}"
UNKNOWN = "\N{EN DASH}"


def money(amount: float, unit: MoneyUnit) -> str:
    """The amount in the unit; a dash where it is not known.

    Examples
    --------
    >>> from clvforecast.report.units import money_unit
    >>> money(-23_410_000, money_unit(23_410_000)), money(-0.2, money_unit(5)), money(float("nan"), money_unit(5))
    ('−23.4', '0', '–')
    """
    return _signed(in_unit(amount, unit)) if math.isfinite(amount) else UNKNOWN


def cents(amount: float) -> str:
    """The amount to the cent.

    Examples
    --------
    >>> cents(-1234.5)
    '−1,234.50'
    """
    return _signed(f"{amount:,.2f}") if math.isfinite(amount) else UNKNOWN


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage.

    Examples
    --------
    >>> percent(1.0421), percent(-0.0004), percent(0.9, 0)
    ('104.2%', '0.0%', '90%')
    """
    return _signed(f"{100.0 * share:,.{digits}f}") + "%" if math.isfinite(share) else UNKNOWN


def between(middle: str, low: str, high: str) -> str:
    """A figure with its range.

    Examples
    --------
    >>> between("12.3", "10.1", "14.9")
    '12.3 (10.1 to 14.9)'
    """
    return f"{middle} ({low} to {high})"


def probability(ci_prob: float) -> str:
    """An interval's probability in words.

    Examples
    --------
    >>> probability(0.9), probability(0.975)
    ('90%', '97.5%')
    """
    return f"{100.0 * ci_prob:.10g}%"


def day(when: date) -> str:
    """A day that no reader takes for another.

    Examples
    --------
    >>> day(date(2018, 6, 30))
    '30 June 2018'
    """
    return f"{when.day} {when:%B %Y}"


def _signed(digits: str) -> str:
    """With a real minus, and none in front of a zero."""
    if not digits.startswith("-"):
        return digits
    return MINUS + digits[1:] if digits.strip("-0.,") else digits[1:]
