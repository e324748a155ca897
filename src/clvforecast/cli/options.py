"""What several commands have in common: their options, and how files are read for them."""

from __future__ import annotations

import re
import sys
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from clvforecast.ledger import Ledger


class IntervalKind(StrEnum):
    """How an interval is chosen: equal tails, or the narrowest."""

    eti = "eti"
    hdi = "hdi"


class Timing(StrEnum):
    """When money counts: as it is served, on the day of booking, or of payment."""

    recognised = "recognised"
    booked = "booked"
    cash = "cash"


class Billing(StrEnum):
    """What is invoiced at a time."""

    upfront = "upfront"
    annual = "annual"
    quarterly = "quarterly"
    monthly = "monthly"


MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
FREQUENCY = re.compile(rf"ME|[QY]E(-({MONTHS}))?")

SEEN_IN_PYTHON = ("see ledger.rejected", "clvforecast validate --rejected FILE writes them down")
"""What warnings name of a ledger, and the command that shows it."""


def as_path(value: object) -> Path:
    return Path(as_name(value))


def as_name(value: object) -> str:
    """Of a file. An empty text, as of a variable that is not set, would be the folder that the command runs in."""
    if not (name := str(value)).strip():
        raise typer.BadParameter("the path is empty. Give the path of a file or folder; '.' is the current folder.")
    return name


def as_day(value: object) -> datetime:
    try:
        return datetime.strptime(str(value), "%Y-%m-%d")
    except ValueError as error:
        raise typer.BadParameter(f"{str(value)!r} is not a day as YYYY-MM-DD; for example 2024-06-30.") from error


def as_frequency(value: str) -> str:
    if not FREQUENCY.fullmatch(value):
        raise typer.BadParameter(f"{value!r} is not ME, QE or YE (or fiscal ones by their last month, as YE-JUN).")
    return value


def as_split(value: str) -> str:
    if len(names_in(value)) > 1 and "origin" in names_in(value):
        raise typer.BadParameter("origin cannot be combined with account columns; ask for them one at a time.")
    return value


def as_days(value: str) -> str:
    days = names_in(value)
    if not days:
        raise typer.BadParameter("give at least one day, YYYY-MM-DD.")
    for day in days:
        try:
            date.fromisoformat(day)
        except ValueError as error:
            raise typer.BadParameter(f"{day!r} is not a day as YYYY-MM-DD.") from error
    return value


def as_percentage(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"\d+(\.\d+)?%", value):
        raise typer.BadParameter(f"{value!r} is not a percentage; for example 1%.")
    return value


def as_probability(value: float) -> float:
    if not 0.0 < value < 1.0:
        raise typer.BadParameter(f"{value} is not between 0 and 1; for example 0.9.")
    return value


def as_png(value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() != ".png":
        raise typer.BadParameter(f"{str(value)!r} does not end in .png, which is what is written.")
    return value


def as_margin(value: float) -> float:
    if not 0.0 < value <= 1.0:
        raise typer.BadParameter(f"{value} is not above 0 and at most 1; for example 0.75.")
    return value


EVENTS = typer.Argument(
    metavar="EVENTS", help="CSV or Parquet files of events, or another system's export, told by its columns."
)
Events = Annotated[list[str], EVENTS]
OptionalEvents = Annotated[list[str] | None, EVENTS]
Accounts = Annotated[
    str | None,
    typer.Option(
        "--accounts", metavar="FILE", parser=as_name, help="Accounts table: account_id, segments, observed_from."
    ),
]
MappingFile = Annotated[
    Path | None,
    typer.Option(
        "--mapping",
        metavar="FILE",
        parser=as_path,
        help="This TOML says how the export's columns become events.",
    ),
]
FormatName = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="NAME", help="EVENTS is the export of this system, as stripe, salesforce or periods."
    ),
]
Rates = Annotated[
    str | None,
    typer.Option(
        "--rates", metavar="FILE", parser=as_name, help="Exchange rates, to convert an export: date, currency, rate."
    ),
]
Currency = Annotated[
    str | None,
    typer.Option(
        "--currency",
        metavar="CODE",
        help="Of the ledger: what --rates convert into, or that of an export that names none.",
    ),
]
AsOf = Annotated[
    datetime | None,
    typer.Option(
        "--as-of",
        parser=as_day,
        metavar="YYYY-MM-DD",
        help="Use only what was booked by this day. Default: the latest booking.",
    ),
]
MaxRejected = Annotated[
    str | None,
    typer.Option(
        "--max-rejected",
        metavar="N%",
        callback=as_percentage,
        help="Exit 1 when more of the rows are rejected; rows that are no revenue do not count.",
    ),
]
FiscalStart = Annotated[
    int, typer.Option("--fiscal-start", min=1, max=12, metavar="MONTH", help="The fiscal year begins with it, 1-12.")
]
POSTERIOR = typer.Option("--posterior", metavar="FILE", parser=as_path, help="From `clvforecast fit`.")
Posterior = Annotated[Path, POSTERIOR]
OptionalPosterior = Annotated[Path | None, POSTERIOR]
Discount = Annotated[float, typer.Option("--discount", min=0.0, max=1.0, help="Yearly discount rate.")]
Margin = Annotated[
    float, typer.Option("--margin", callback=as_margin, help="Gross margin, in the discounted values only.")
]
CostToServe = Annotated[
    float,
    typer.Option("--cost-to-serve", min=0.0, help="Of an active account and month, in the discounted values only."),
]
Horizon = Annotated[int, typer.Option("--horizon", min=1, max=600, help="Months ahead.")]
Worlds = Annotated[int, typer.Option("--draws", min=2, help="Simulated worlds.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only errors, and warnings in a line each (on stderr).")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the random numbers.")]


class Export(NamedTuple):
    """What is said of an export of another system."""

    mapping: Path | None
    name: str | None
    rates: str | None
    currency: str | None


def read_events(events: list[str], accounts: str | None, as_of: datetime | None, export: Export) -> Ledger:
    from clvforecast.adapters import holds_events, read_export
    from clvforecast.ledger import read_ledger

    for name in events:
        as_name(name)
    day: date | None = None if as_of is None else as_of.date()
    if not any(export) and holds_events(events):
        return read_ledger(events, accounts, as_of=day)
    mapping = export.mapping
    if mapping is not None and export.name is not None:
        raise typer.BadParameter("give --format or --mapping; a mapping can name its format, as format = 'stripe'.")
    return read_export(
        events, export.name if mapping is None else mapping, accounts, day, rates=export.rates, currency=export.currency
    )


def check_rejected(ledger: Ledger, max_rejected: str | None) -> None:
    if max_rejected is not None:
        ledger.check_rejected(float(Decimal(max_rejected.removesuffix("%")) / 100))


def warn(text: str) -> None:
    """One line on stderr; what to look at is called as the command line has it."""
    text = " ".join(text.replace(*SEEN_IN_PYTHON).splitlines())
    typer.echo(f"warning: {text}", err=True)


def names_in(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def shows_progress(quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty()
