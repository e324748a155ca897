"""`Mapping`: how the columns of an export become revenue events, said in a dict or a TOML file."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clvforecast.errors import LedgerError
from clvforecast.events import KINDS, LONGEST_TERM_MONTHS

Shape = Literal["bookings", "periods", "movements"]
Months = Annotated[int, Field(ge=1, le=LONGEST_TERM_MONTHS)]

DATE_CODES = "YmbBdHMSfIp"
BY_ORDER = "term"
"""What a row's kind may be besides ours: an initial where it is the first of its account and contract, else a renewal."""

NEEDED: dict[str, tuple[str, ...]] = {
    "bookings": ("account_id", "event_date", "amount"),
    "periods": ("account_id", "start_date"),
    "movements": ("account_id", "event_date", "monthly_amount"),
}
KNOWN: dict[str, tuple[str, ...]] = {
    "bookings": (
        *("event_id", "account_id", "contract_id", "event_date", "start_date", "end_date"),
        *("kind", "amount", "quantity", "currency", "term_months", "total_of"),
    ),
    "periods": (
        *("event_id", "account_id", "contract_id", "start_date", "end_date"),
        *("monthly_amount", "amount", "quantity", "currency", "term_months"),
    ),
    "movements": (
        *("event_id", "account_id", "contract_id", "event_date"),
        *("monthly_amount", "change", "currency", "term_months", "rank"),
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
        What -> the export's column, in any letter case. Of bookings event_id, account_id, contract_id, event_date, start_date,
        end_date, kind, amount, quantity, currency, term_months and total_of can be named; of periods the same without
        event_date, kind and total_of, and monthly_amount for an amount; of movements event_id, account_id, contract_id,
        event_date, monthly_amount, change, currency, term_months and rank (`adapters.mapping.KNOWN`). An amount is one of each of
        `quantity`, where that is named; `rank` orders movements of one day.
    kinds
        For bookings: the export's word -> one of our kinds, or "term": an initial where it is the first such row of its account
        and contract, else a renewal. Without a column `kind` all rows are terms (`rest` says another kind for all but the first).
    amounts
        For bookings, what amounts of expansions and contractions are: the difference, money that is added or taken away; or the
        total that the contract then brings, which counts as its difference from the row before: of the account and contract,
        and of the same `total_of`, where that column is named.
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
    time_zone
        IANA name of the zone whose days count, for times of day with a zone or an offset, which are refused without it. A time
        without one is taken as it stands.
    ends
        What the column end_date holds: the first day without (what ends on 1 February served 31 January), or the last day.
    decimal, thousands
        Signs in amounts; currency signs and blanks around them are no part of a number and reject the row.
    prefix, suffix
        A sign of currency that stands before amounts, or after them.
    cents
        Whether amounts are in hundredths.
    undivided, thousandths
        With `cents`: the currencies that are whole there, as the yen, or in thousandths.
    encoding
        Of the bytes of a text file that is neither UTF-8 nor says what it is, as "cp1252".
    segments
        Columns of the export that are carried along; text that is the same in all rows of an account becomes a segment.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: Shape
    columns: dict[str, str]
    kinds: dict[str, str] = {}
    rest: str = "renewal"
    amounts: Literal["difference", "total"] = "difference"
    months: dict[str, Months] = {}
    term_months: Months | None = None
    currency: str | None = Field(None, pattern="^[A-Z]{3}$")
    keep: dict[str, tuple[str, ...]] = {}
    dates: str | None = None
    time_zone: str | None = None
    ends: Literal["first day without", "last day"] = "first day without"
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'", "\u00a0", "\u202f", "\u2019"] = ""
    prefix: str = ""
    suffix: str = ""
    cents: bool = False
    undivided: tuple[str, ...] = ()
    thousandths: tuple[str, ...] = ()
    encoding: str | None = None
    segments: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Mapping:
        _check_columns(self)
        _check_kinds(self)
        _check_days(self)
        _check_numbers(self)
        return self


def _check_columns(mapping: Mapping) -> None:
    shape, columns = mapping.shape, mapping.columns
    unknown = [name for name in columns if name not in KNOWN[shape]]
    if unknown:
        raise ValueError(f"columns: {', '.join(unknown)} cannot be named for {shape}; {', '.join(KNOWN[shape])} can")
    missing = [name for name in NEEDED[shape] if name not in columns]
    if missing:
        raise ValueError(f"columns: {', '.join(missing)} must be named for {shape}")
    if shape == "periods" and ("amount" in columns) == ("monthly_amount" in columns):
        raise ValueError("columns: name either monthly_amount, or amount (of a whole term)")
    if "currency" not in columns and mapping.currency is None:
        raise ValueError("name a currency for all rows (currency, as in 'USD'), or the column that holds it")
    if "term_months" in columns or mapping.term_months is not None:
        return
    if shape != "bookings":
        raise ValueError("say term_months, the billing interval of all rows (1 for month-to-month), or name its column")
    if "end_date" not in columns:
        raise ValueError("say term_months for all rows, or name its column")


def _check_kinds(mapping: Mapping) -> None:
    names = tuple(kind.name for kind in KINDS)
    wrong = [kind for kind in (*mapping.kinds.values(), mapping.rest) if kind not in (*names, BY_ORDER)]
    if wrong:
        raise ValueError(f"kinds: {', '.join(wrong)} are none of ours ({', '.join(names)}, or {BY_ORDER})")
    for name, words in (("kinds", mapping.kinds), ("months", mapping.months)):
        column = {"kinds": "kind", "months": "term_months"}[name]
        if words and column not in mapping.columns:
            raise ValueError(f"{name}: the columns name no {column} that holds these words")
        if len({word.strip().lower() for word in words}) < len(words):
            raise ValueError(f"{name}: two words are the same but for letter case or blanks")
    if mapping.amounts == "total" and "kind" not in mapping.columns:
        raise ValueError("amounts: only rows with a kind tell a change from a new term; name the column kind")


def _check_days(mapping: Mapping) -> None:
    """A day must be said whole: year with its century, month and day, and no zone, which would move it."""
    if mapping.time_zone is not None:
        try:
            ZoneInfo(mapping.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"time_zone: {mapping.time_zone!r} is no IANA time zone, as 'Europe/Berlin' is") from error
    if mapping.dates is None:
        return
    if mapping.time_zone is not None:
        raise ValueError("time_zone: days in a style of their own (dates) hold no zone; leave one of the two out")
    found = re.findall("%(.?)", mapping.dates)
    wrong = [code for code in found if code not in tuple(DATE_CODES)]
    once = found.count("Y") == 1 and found.count("d") == 1 and sum(found.count(code) for code in "mbB") == 1
    if wrong or not once:
        raise ValueError(
            f"dates: {mapping.dates!r} must hold %Y, %d and one of %m, %b, %B once each, and else only %H, %M, %S, %f, %I and "
            "%p, as in '%d/%m/%Y'"
        )


def _check_numbers(mapping: Mapping) -> None:
    for name, sign in (("prefix", mapping.prefix), ("suffix", mapping.suffix)):
        if any(character.isdigit() or character in "+-.," for character in sign):
            raise ValueError(f"{name}: {sign!r} holds digits or signs of numbers")
    if mapping.decimal == mapping.thousands:
        raise ValueError(f"decimal and thousands are both {mapping.decimal!r}")
    if mapping.encoding is not None:
        try:
            codecs.lookup(mapping.encoding)
        except LookupError as error:
            raise ValueError(f"encoding: {mapping.encoding!r} is not known; for example cp1252 or latin-1") from error


def make_mapping(settings: AnyMapping[str, Any], source: str = "mapping") -> Mapping:
    """A mapping from its keys, checked.

    Raises
    ------
    LedgerError
        With the key that is wrong and what is allowed there.
    """
    try:
        return Mapping(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LedgerError(
            f"{source}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}."
        ) from error


def read_settings(path: str | Path) -> dict[str, Any]:
    """The keys of a mapping in a TOML file.

    Raises
    ------
    LedgerError
        The file cannot be read as TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LedgerError(f"{path}: not a readable TOML file ({error}).") from error
