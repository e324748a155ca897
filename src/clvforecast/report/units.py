"""Money written for people: thousands, millions, billions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class MoneyUnit(NamedTuple):
    """A divisor, its name and the digits after the point: ``MoneyUnit(1e6, "million")``."""

    size: float
    name: str
    digits: int = 1

    def label(self, currency: str) -> str:
        """For an axis or a column: "USD million"."""
        return f"{currency} {self.name}".strip()


UNITS = (MoneyUnit(1e9, "billion"), MoneyUnit(1e6, "million"), MoneyUnit(1e3, "thousand"), MoneyUnit(1.0, "", 0))


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


NOTABLE = 1e-3
"""Share of a table's largest amount under which a range does not decide how exactly all of them are written."""
CENTS_BELOW = 1_000.0
"""Of whole currency; larger amounts are not written to the cent."""
FIGURES = 100.0
"""Of the last digit that is written: three significant figures."""


def range_unit(*ends: ArrayLike, beside: float = 0.0) -> MoneyUnit:
    """The unit for a table of ranges: in it low, middle and high are not written alike, and each range has three figures.

    Parameters
    ----------
    ends
        (n,) each: low, middle, high of the table's ranges; what is not known counts for nothing.
    beside
        The largest amount that stands in the same table.

    Examples
    --------
    >>> unit = range_unit([1_068_000, 310e6], [1_121_000, 330e6], [1_182_000, 350e6])
    >>> unit, [in_unit(amount, unit) for amount in (1_068_000, 1_121_000, 1_182_000)]
    (MoneyUnit(size=1000000.0, name='million', digits=2), ['1.07', '1.12', '1.18'])
    """
    rows = np.column_stack([np.asarray(end, dtype=np.float64).reshape(-1) for end in ends])
    rows = rows[np.isfinite(rows).all(axis=1)]
    largest = max(float(np.abs(rows).max(initial=0.0)), abs(beside) if np.isfinite(beside) else 0.0)
    notable = rows[np.abs(rows).max(axis=1, initial=0.0) >= max(NOTABLE * largest, 0.01)]
    coarse = money_unit(largest)
    finer = [coarse]
    if coarse.size > 1.0 or largest < CENTS_BELOW:
        finer.append(coarse._replace(digits=2))
    finer += [unit._replace(digits=0) for unit in UNITS if unit.size == coarse.size / 1e3]
    return next((unit for unit in finer if _tells(notable, unit)), finer[-1])


def _tells(rows: NDArray[np.float64], unit: MoneyUnit) -> bool:
    """Whether every range has three figures in the unit, and ends that differ by more than a cent are written differently."""
    last = unit.size / 10.0**unit.digits
    written = np.sort(np.round(rows / last), axis=1)
    differ = np.diff(np.sort(rows, axis=1), axis=1) > 0.01
    return bool(
        (np.abs(written).max(axis=1, initial=0.0) >= FIGURES).all() and (np.diff(written, axis=1)[differ] > 0.0).all()
    )


def counted(n: int, thing: str) -> str:
    """1 origin, 2 origins."""
    return f"{n:,} {thing}" + ("" if n == 1 else "s")


def in_unit(amount: float, unit: MoneyUnit) -> str:
    """The amount in the unit, with its digits after the point.

    Examples
    --------
    >>> in_unit(23_410_000, money_unit(23_410_000)), in_unit(850.4, money_unit(850.4))
    ('23.4', '850')
    """
    digits = f"{amount / unit.size:,.{unit.digits}f}"
    return digits if digits.strip("-0.,") else digits.lstrip("-")


def in_unit_or_less(amount: float, unit: MoneyUnit) -> str:
    """As `in_unit`, but an amount of a cent or more that the digits do not hold does not read as nothing.

    Examples
    --------
    >>> unit = money_unit(23_410_000)
    >>> in_unit_or_less(19_267, unit), in_unit_or_less(-19_267, unit), in_unit_or_less(0.0, unit)
    ('<0.1', '>-0.1', '0.0')
    """
    digits = in_unit(amount, unit)
    if digits.strip("0.,") or abs(amount) < 0.005:
        return digits
    least = f"{10.0**-unit.digits:.{unit.digits}f}"
    return f"<{least}" if amount > 0.0 else f">-{least}"


def amount_text(amount: float, unit: MoneyUnit, currency: str) -> str:
    """An amount in a sentence.

    Examples
    --------
    >>> amount_text(23_410_000, money_unit(23_410_000), "USD")
    'USD 23.4 million'
    """
    return f"{currency} {in_unit_or_less(amount, unit)} {unit.name}".strip()
