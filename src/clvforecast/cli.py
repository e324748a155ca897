"""The command line: parse, call, print, exit code.  What is heavy is imported only when a command runs."""

from __future__ import annotations

import re
import sys
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from clvforecast.errors import ClvError, LedgerError

if TYPE_CHECKING:
    from rich.console import Console

    from clvforecast.histories import Histories
    from clvforecast.ledger import Ledger

app = typer.Typer(
    name="clvforecast",
    help="Bayesian customer-lifetime-value forecasts from contract revenue events.",
    epilog="Exit codes: 0 done, 1 data or a model that cannot be used (or has no such column), 2 wrong call.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class IntervalKind(StrEnum):
    """How an interval is chosen: equal tails, or the narrowest."""

    eti = "eti"
    hdi = "hdi"


class Timing(StrEnum):
    """When money counts: as it is served, or on the day of booking."""

    recognised = "recognised"
    booked = "booked"


MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
FREQUENCY = re.compile(rf"ME|[QY]E(-({MONTHS}))?")


def _frequency(value: str) -> str:
    if not FREQUENCY.fullmatch(value):
        raise typer.BadParameter(f"{value!r} is not ME, QE or YE (or fiscal ones by their last month, as YE-JUN).")
    return value


def _split(value: str) -> str:
    if len(_names(value)) > 1 and "origin" in _names(value):
        raise typer.BadParameter("origin cannot be combined with account columns; ask for them one at a time.")
    return value


def _days(value: str) -> str:
    days = _names(value)
    if not days:
        raise typer.BadParameter("give at least one day, YYYY-MM-DD.")
    for day in days:
        try:
            date.fromisoformat(day)
        except ValueError as error:
            raise typer.BadParameter(f"{day!r} is not a day as YYYY-MM-DD.") from error
    return value


def _percentage(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"\d+(\.\d+)?%", value):
        raise typer.BadParameter(f"{value!r} is not a percentage; for example 1%.")
    return value


def _probability(value: float) -> float:
    if not 0.0 < value < 1.0:
        raise typer.BadParameter(f"{value} is not between 0 and 1; for example 0.9.")
    return value


def _png(value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() != ".png":
        raise typer.BadParameter(f"{str(value)!r} does not end in .png, which is what is written.")
    return value


def _margin(value: float) -> float:
    if not 0.0 < value <= 1.0:
        raise typer.BadParameter(f"{value} is not above 0 and at most 1; for example 0.75.")
    return value


Events = Annotated[
    list[str],
    typer.Argument(
        metavar="EVENTS", help="CSV or Parquet files of events, or another system's export, told by its columns."
    ),
]
Accounts = Annotated[
    str | None, typer.Option("--accounts", metavar="FILE", help="Accounts table: account_id, segments, observed_from.")
]
MappingFile = Annotated[
    Path | None,
    typer.Option(
        "--mapping",
        metavar="FILE",
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
    typer.Option("--rates", metavar="FILE", help="Exchange rates, to convert an export: date, currency, rate."),
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
        formats=["%Y-%m-%d"],
        metavar="YYYY-MM-DD",
        help="Use only what was booked by this day. Default: the latest booking.",
    ),
]
MaxRejected = Annotated[
    str | None,
    typer.Option(
        "--max-rejected",
        metavar="N%",
        callback=_percentage,
        help="Exit 1 when more of the rows are rejected; rows that are no revenue do not count.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the random numbers.")]


@app.command()
def validate(
    events: Events,
    accounts: Accounts = None,
    mapping: MappingFile = None,
    export_format: FormatName = None,
    rates: Rates = None,
    currency: Currency = None,
    max_rejected: MaxRejected = None,
    as_of: AsOf = None,
    rejected: Annotated[
        Path | None, typer.Option("--rejected", metavar="FILE", help="Write the rejected rows to this CSV.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Write the data report there: tables as CSV, and a picture."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Check revenue events row by row and show what would be used.

    Rejected rows are listed with their rule and what to do; they fail the command only with --max-rejected.

    \b
    Example:
      clvforecast validate events.csv --accounts accounts.csv --rejected rejected.csv
    """
    from clvforecast.histories import build_histories
    from clvforecast.overview import NEEDED as REPORTED
    from clvforecast.report.files import write_csv
    from clvforecast.report.ledgers import NEEDED as SHOWN
    from clvforecast.report.ledgers import show_ledger
    from clvforecast.report.terminal import make_console, say

    console = make_console()
    try:
        ledger = _read(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    except LedgerError as error:
        # no row can be used: all the more are the reasons wanted
        if rejected is not None and error.rejected is not None:
            write_csv(error.rejected.to_pandas(), rejected)
            say(console, f"rejected rows: {rejected}")
        raise
    histories = build_histories(ledger, only=SHOWN if report is None else REPORTED)
    if quiet:
        for warning in (*ledger.warnings, *histories.warnings):
            typer.echo(f"warning: {warning}", err=True)
    else:
        show_ledger(console, ledger, histories)
    if rejected is not None:
        write_csv(ledger.rejected, rejected)
        if not quiet:
            say(console, f"rejected rows: {rejected}")
    if report is not None:
        _write_report(None if quiet else console, ledger, histories, report)
    _check_rejected(ledger, max_rejected)


@app.command()
def fit(
    events: Events,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The posterior to write (netCDF).")],
    accounts: Accounts = None,
    mapping: MappingFile = None,
    export_format: FormatName = None,
    rates: Rates = None,
    currency: Currency = None,
    max_rejected: MaxRejected = None,
    segments: Annotated[
        str, typer.Option("--segments", metavar="A,B", help="Columns of the accounts table whose levels differ.")
    ] = "",
    as_of: AsOf = None,
    seed: Seed = 7,
    draws: Annotated[int, typer.Option("--draws", min=4, help="Draws a chain.")] = 1000,
    tune: Annotated[int, typer.Option("--tune", min=1, help="Tuning steps a chain.")] = 1000,
    chains: Annotated[int, typer.Option("--chains", min=2, help="Chains.")] = 4,
    quiet: Quiet = False,
) -> None:
    """Fit the renewal, expansion and other models to the events.

    Draws that do not pass the convergence checks are not written.

    \b
    Example:
      clvforecast fit events.csv --accounts accounts.csv --segments plan,region -o posterior.nc
    """
    from clvforecast.posterior import fit as fit_models
    from clvforecast.report.parameters import show_parameters
    from clvforecast.report.terminal import make_console, say

    ledger = _read(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    _check_rejected(ledger, max_rejected)
    output.parent.mkdir(parents=True, exist_ok=True)
    posterior = fit_models(
        ledger, _names(segments), seed=seed, draws=draws, tune=tune, chains=chains, progress=_shows_progress(quiet)
    )
    posterior.save(output)
    if not quiet:
        console = make_console()
        show_parameters(console, posterior)
        say(console, f"posterior: {output}")


@app.command()
def score(
    events: Events,
    posterior: Annotated[Path, typer.Option("--posterior", metavar="FILE", help="From `clvforecast fit`.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for accounts.parquet and portfolio.csv.")
    ],
    accounts: Accounts = None,
    mapping: MappingFile = None,
    export_format: FormatName = None,
    rates: Rates = None,
    currency: Currency = None,
    max_rejected: MaxRejected = None,
    as_of: AsOf = None,
    horizon: Annotated[int, typer.Option("--horizon", min=1, max=600, help="Months ahead.")] = 60,
    discount: Annotated[float, typer.Option("--discount", min=0.0, max=1.0, help="Yearly discount rate.")] = 0.10,
    margin: Annotated[
        float, typer.Option("--margin", callback=_margin, help="Gross margin, in the discounted values only.")
    ] = 1.0,
    draws: Annotated[int, typer.Option("--draws", min=2, help="Simulated worlds.")] = 1000,
    seed: Seed = 7,
    ci_prob: Annotated[
        float, typer.Option("--ci-prob", callback=_probability, help="Probability of the interval.")
    ] = 0.9,
    ci_kind: Annotated[IntervalKind, typer.Option("--ci-kind", help="Equal-tailed or highest density.")] = (
        IntervalKind.eti
    ),
    freq: Annotated[
        str,
        typer.Option(
            "--freq", callback=_frequency, metavar="ME|QE|YE", help="Periods of the portfolio; fiscal: YE-JUN."
        ),
    ] = "QE",
    by: Annotated[
        str,
        typer.Option(
            "--by", callback=_split, metavar="A,B", help="Split the portfolio by account columns, or by origin."
        ),
    ] = "",
    timing: Annotated[Timing, typer.Option("--timing", help="Count money when it is served or when booked.")] = (
        Timing.recognised
    ),
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Keep the whole forecast there too, for clv.load_forecast."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Forecast every account and the portfolio from a saved posterior.

    \b
    Example:
      clvforecast score events.csv --accounts accounts.csv --posterior posterior.nc \\
        --horizon 24 --by plan -o scores
    """
    from clvforecast.forecast import forecast as make_forecast
    from clvforecast.posterior import load_posterior
    from clvforecast.report.files import write_accounts, write_portfolio
    from clvforecast.report.portfolio import show_portfolio
    from clvforecast.report.terminal import make_console, say, working

    console = make_console()
    trained = load_posterior(posterior)
    ledger = _read(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    _check_rejected(ledger, max_rejected)
    split = _names(by)
    with working(console, "simulating", quiet):
        forecast = make_forecast(
            trained,
            ledger,
            horizon_months=horizon,
            annual_discount_rate=discount,
            gross_margin=margin,
            draws=draws,
            seed=seed,
            timing=timing.value,
            group_by=None if split in ([], ["origin"]) else split,
            ci_probs=(ci_prob,),
        )
    write_accounts(forecast, output / "accounts.parquet", ci_prob, ci_kind.value)
    write_portfolio(forecast, output / "portfolio.csv", freq, split or None, ci_prob, ci_kind.value)
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        forecast.save(save)
    for warning in forecast.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if not quiet:
        show_portfolio(console, forecast, freq, ci_prob, ci_kind.value)
        say(console, f"accounts:  {output / 'accounts.parquet'}")
        say(console, f"portfolio: {output / 'portfolio.csv'}")
        if save is not None:
            say(console, f"forecast:  {save}")


@app.command()
def backtest(
    events: Events,
    origins: Annotated[
        str,
        typer.Option("--origins", callback=_days, metavar="DAY,DAY", help="Days to forecast from, YYYY-MM-DD."),
    ],
    accounts: Accounts = None,
    mapping: MappingFile = None,
    export_format: FormatName = None,
    rates: Rates = None,
    currency: Currency = None,
    max_rejected: MaxRejected = None,
    segments: Annotated[
        str, typer.Option("--segments", metavar="A,B", help="Columns of the accounts table whose levels differ.")
    ] = "",
    horizon: Annotated[int, typer.Option("--horizon", min=1, max=600, help="Months ahead.")] = 24,
    cluster: Annotated[
        str,
        typer.Option(
            "--cluster", metavar="COLUMN", help="Column whose accounts share their fate, for the scores' intervals."
        ),
    ] = "account_id",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the scores, tables and picture.")
    ] = Path("backtest-output"),
    as_of: AsOf = None,
    seed: Seed = 7,
    draws: Annotated[int, typer.Option("--draws", min=4, help="Draws a chain, and simulated worlds.")] = 1000,
    tune: Annotated[int, typer.Option("--tune", min=1, help="Tuning steps a chain.")] = 1000,
    quiet: Quiet = False,
) -> None:
    """Forecast from past days, beside what then happened and beside baselines.

    \b
    Example:
      clvforecast backtest events.csv --accounts accounts.csv --segments plan \\
        --origins 2022-06-30,2023-06-30 --horizon 12 -o backtest
    """
    from clvforecast.backtest import backtest as run_backtest
    from clvforecast.report.backtests import show_backtest, write_backtest
    from clvforecast.report.terminal import make_console, say

    ledger = _read(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    _check_rejected(ledger, max_rejected)
    result = run_backtest(
        ledger,
        _names(origins),
        horizon,
        _names(segments),
        clusters=cluster,
        seed=seed,
        draws=draws,
        tune=tune,
        progress=_shows_progress(quiet),
    )
    paths = write_backtest(result, output)
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    if not quiet:
        console = make_console()
        show_backtest(console, result)
        for path in paths:
            say(console, f"written: {path}")


@app.command()
def account(
    account_id: Annotated[str, typer.Argument(metavar="ID", help="The account, as the events name it.")],
    events: Events,
    posterior: Annotated[Path, typer.Option("--posterior", metavar="FILE", help="From `clvforecast fit`.")],
    plans: Annotated[
        str | None, typer.Option("--plans", metavar="FILE", help="Lifecycle plans; the account's open steps count.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", callback=_png, help="Write its picture there: history, fan, distribution."
        ),
    ] = None,
    accounts: Accounts = None,
    mapping: MappingFile = None,
    export_format: FormatName = None,
    rates: Rates = None,
    currency: Currency = None,
    as_of: AsOf = None,
    horizon: Annotated[int, typer.Option("--horizon", min=1, max=600, help="Months ahead.")] = 60,
    discount: Annotated[float, typer.Option("--discount", min=0.0, max=1.0, help="Yearly discount rate.")] = 0.10,
    margin: Annotated[
        float, typer.Option("--margin", callback=_margin, help="Gross margin, in the discounted values only.")
    ] = 1.0,
    fiscal_start: Annotated[
        int,
        typer.Option("--fiscal-start", min=1, max=12, metavar="MONTH", help="The fiscal year begins with it, 1-12."),
    ] = 1,
    draws: Annotated[int, typer.Option("--draws", min=2, help="Simulated worlds.")] = 1000,
    seed: Seed = 7,
) -> None:
    """Show one account: its past, contracts, next renewal, value ahead and what drives it.

    \b
    Example:
      clvforecast account A000123 events.csv --accounts accounts.csv --posterior posterior.nc \\
        --plans plans.csv -o A000123.png
    """
    from clvforecast.calendars import FiscalCalendar
    from clvforecast.plans import read_plans
    from clvforecast.posterior import load_posterior
    from clvforecast.report.account import view_account
    from clvforecast.report.account_text import plot_account_view, show_account
    from clvforecast.report.files import write_plot
    from clvforecast.report.terminal import make_console, say, working

    console = make_console()
    trained = load_posterior(posterior)
    ledger = _read(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    planned = None if plans is None else read_plans(plans, ledger)
    with working(console, "simulating"):
        view = view_account(
            trained,
            ledger,
            account_id,
            planned,
            horizon_months=horizon,
            annual_discount_rate=discount,
            gross_margin=margin,
            calendar=FiscalCalendar(fiscal_start),
            draws=draws,
            seed=seed,
        )
    for warning in (*view.warnings, *(() if planned is None else planned.warnings)):
        typer.echo(f"warning: {warning}", err=True)
    show_account(console, view)
    if output is not None:
        write_plot(plot_account_view(view), output)
        say(console, f"picture: {output}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the files.")] = Path(
        "demo-output"
    ),
    seed: Seed = 7,
) -> None:
    """Forecast the shipped contracts from mid-2018, beside what then happened.

    Trains on what the City of Philadelphia had booked by 30 June 2018 and forecasts the two years after.

    \b
    Example:
      clvforecast demo -o demo-output
    """
    from clvforecast.demo import run_demo
    from clvforecast.report.terminal import make_console

    run_demo(output, make_console(), seed=seed, progress=_shows_progress(False))


class Export(NamedTuple):
    """What is said of an export of another system."""

    mapping: Path | None
    name: str | None
    rates: str | None
    currency: str | None


def _read(events: list[str], accounts: str | None, as_of: datetime | None, export: Export) -> Ledger:
    from clvforecast.adapters import holds_events, read_export
    from clvforecast.ledger import read_ledger

    day: date | None = None if as_of is None else as_of.date()
    if not any(export) and holds_events(events):
        return read_ledger(events, accounts, as_of=day)
    mapping = export.mapping
    if mapping is not None and export.name is not None:
        raise typer.BadParameter("give --format or --mapping; a mapping can name its format, as format = 'stripe'.")
    return read_export(
        events, export.name if mapping is None else mapping, accounts, day, rates=export.rates, currency=export.currency
    )


def _write_report(console: Console | None, ledger: Ledger, histories: Histories, folder: Path) -> None:
    from clvforecast.overview import data_report
    from clvforecast.report.overview import write_report
    from clvforecast.report.terminal import say

    for path in write_report(data_report(ledger, histories), folder):
        if console is not None:
            say(console, f"written: {path}")


def _check_rejected(ledger: Ledger, max_rejected: str | None) -> None:
    if max_rejected is not None:
        ledger.check_rejected(float(Decimal(max_rejected.removesuffix("%")) / 100))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _shows_progress(quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty()


def main() -> None:
    """Run the command line; what cannot be used ends with exit code 1 and a message, not a traceback."""
    try:
        app(prog_name="clvforecast")
    except ClvError as error:
        _fail(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}. Check the path and that it can be written.")


def _fail(message: str) -> None:
    from clvforecast.report.terminal import make_console, say

    say(make_console(stderr=True), f"clvforecast: {message}", "red")
    sys.exit(1)


if __name__ == "__main__":
    main()
