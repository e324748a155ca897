"""`Mapping`: how the columns of an export become revenue events, said in a dict or a TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clvforecast.errors import LedgerError
from clvforecast.events import KINDS, LONGEST_TERM_MONTHS

Shape = Literal["bookings", "periods", "movements"]
Months = Annotated[int, Field(ge=1, le=LONGEST_TERM_MONTHS)]

DATE_CODES = "YmbBdHMSfIp"

NEEDED: dict[str, tuple[str, ...]] = {
    "bookings": ("account_id", "event_date", "amount"),
    "periods": ("account_id", "start_date"),
    "movements": ("account_id", "event_date", "monthly_amount"),
}
KNOWN: dict[str, tuple[str, ...]] = {
    "bookings": (
        *("event_id", "account_id", "contract_id", "event_date", "start_date", "end_date"),
        *("kind", "amount", "currency", "term_months"),
    ),
    "periods": (
        *("event_id", "account_id", "contract_id", "start_date", "end_date"),
        *("monthly_amount", "amount", "currency", "term_months"),
    ),
    "movements": (
        *("event_id", "account_id", "contract_id", "event_date"),
        *("monthly_amount", "change", "currency", "term_months"),
    ),
}
"""What columns can be named for each shape, and which must be."""


class Mapping(BaseModel):
    """How to read an export.

    Attributes
    ----------
    shape
        ``bookings``: a row is an event. ``periods``: a row is a price from a first day to an end (the first day without; empty
        while it runs), as subscription systems tell it. ``movements``: a row is the monthly amount from a day on, 0 where it
        ends; with a column `change` they are checked to add up.
    columns
        What -> the export's column, in any letter case. See `KNOWN` for what can be named.
    kinds
        For bookings: the export's word -> one of our kinds. Without a column `kind`, the account's first row is an initial, every
        other one a renewal (`rest` says another kind).
    months
        The export's word for the billing interval -> months, for the column `term_months`; without it that column holds numbers.
    term_months
        Length of all terms, where no column says it.
    currency
        ISO 4217 code of all money, where no column says it.
    keep
        Column -> values: only such rows are revenue; the others are set aside as `not_revenue`.
    dates
        How days are written, as in `strptime`; without it as YYYY-MM-DD, with or without a time of day.
    ends
        What the column end_date holds: the first day without (what ends on 1 February served 31 January), or the last day.
    decimal, thousands
        Signs in amounts; currency signs and blanks around them are no part of a number and reject the row.
    prefix
        A sign of currency that stands before amounts.
    cents
        Whether amounts are in hundredths.
    segments
        Columns of the export that are carried along; text that is the same in all rows of an account becomes a segment.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: Shape
    columns: dict[str, str]
    kinds: dict[str, str] = {}
    rest: str = "renewal"
    months: dict[str, Months] = {}
    term_months: Months | None = None
    currency: str | None = Field(None, pattern="^[A-Z]{3}$")
    keep: dict[str, tuple[str, ...]] = {}
    dates: str | None = None
    ends: Literal["first day without", "last day"] = "first day without"
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""
    prefix: str = ""
    cents: bool = False
    segments: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Mapping:
        unknown = [name for name in self.columns if name not in KNOWN[self.shape]]
        if unknown:
            raise ValueError(f"columns: {', '.join(unknown)} cannot be named for {self.shape}; {KNOWN[self.shape]} can")
        missing = [name for name in NEEDED[self.shape] if name not in self.columns]
        if missing:
            raise ValueError(f"columns: {', '.join(missing)} must be named for {self.shape}")
        if self.shape == "periods" and ("amount" in self.columns) == ("monthly_amount" in self.columns):
            raise ValueError("columns: name either monthly_amount, or amount (of a whole term)")
        if "currency" not in self.columns and self.currency is None:
            raise ValueError("name a currency for all rows, or the column that holds it")
        if "term_months" not in self.columns and self.term_months is None and "end_date" not in self.columns:
            raise ValueError("say term_months for all rows, or name its column")
        if self.shape != "bookings" and "term_months" not in self.columns and self.term_months is None:
            raise ValueError(
                "say term_months, the billing interval of all rows (1 for month-to-month), or name its column"
            )
        names = tuple(kind.name for kind in KINDS)
        wrong = [kind for kind in (*self.kinds.values(), self.rest) if kind not in names]
        if wrong:
            raise ValueError(f"kinds: {', '.join(wrong)} are none of ours ({', '.join(names)})")
        for name, words in (("kinds", self.kinds), ("months", self.months)):
            column = {"kinds": "kind", "months": "term_months"}[name]
            if words and column not in self.columns:
                raise ValueError(f"{name}: the columns name no {column} that holds these words")
            if len({word.strip().lower() for word in words}) < len(words):
                raise ValueError(f"{name}: two words are the same but for letter case or blanks")
        if self.dates is not None:
            _check_dates(self.dates)
        if any(character.isdigit() or character in "+-.," for character in self.prefix):
            raise ValueError(f"prefix: {self.prefix!r} holds digits or signs of numbers")
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        return self


def _check_dates(style: str) -> None:
    """A day must be said whole: year with its century, month and day, and no zone, which would move it."""
    found = re.findall("%(.?)", style)
    wrong = [code for code in found if code not in tuple(DATE_CODES)]
    once = found.count("Y") == 1 and found.count("d") == 1 and sum(found.count(code) for code in "mbB") == 1
    if wrong or not once:
        raise ValueError(
            f"dates: {style!r} must hold %Y, %d and one of %m, %b, %B once each, and else only %H, %M, %S, %f, %I and %p, as in "
            "'%d/%m/%Y'"
        )


def as_mapping(given: Mapping | AnyMapping[str, Any] | str | Path) -> Mapping:
    """A mapping from a dict or a TOML file, checked.

    Raises
    ------
    LedgerError
        With the key that is wrong and what is allowed there.
    """
    if isinstance(given, Mapping):
        return given
    source = "mapping"
    if isinstance(given, str | Path):
        source = str(given)
        given = _from_toml(Path(given))
    try:
        return Mapping(**given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LedgerError(
            f"{source}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}."
        ) from error


def _from_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LedgerError(f"{path}: not a readable TOML file ({error}).") from error
