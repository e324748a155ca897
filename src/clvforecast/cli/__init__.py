"""The command line: parse, call, print, exit code.  What is heavy is imported only when a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clvforecast.cli.finance import account, report
from clvforecast.cli.options import (
    Accounts,
    AsOf,
    Billing,
    Currency,
    Events,
    Export,
    FormatName,
    IntervalKind,
    MappingFile,
    MaxRejected,
    Quiet,
    Rates,
    Seed,
    Timing,
    as_days,
    as_frequency,
    as_margin,
    as_probability,
    as_split,
    check_rejected,
    names_in,
    read_events,
    shows_progress,
)
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
        ledger = read_events(events, accounts, as_of, Export(mapping, export_format, rates, currency))
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
    check_rejected(ledger, max_rejected)


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

    ledger = read_events(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    check_rejected(ledger, max_rejected)
    output.parent.mkdir(parents=True, exist_ok=True)
    posterior = fit_models(
        ledger, names_in(segments), seed=seed, draws=draws, tune=tune, chains=chains, progress=shows_progress(quiet)
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
        float, typer.Option("--margin", callback=as_margin, help="Gross margin, in the discounted values only.")
    ] = 1.0,
    draws: Annotated[int, typer.Option("--draws", min=2, help="Simulated worlds.")] = 1000,
    seed: Seed = 7,
    ci_prob: Annotated[
        float, typer.Option("--ci-prob", callback=as_probability, help="Probability of the interval.")
    ] = 0.9,
    ci_kind: Annotated[IntervalKind, typer.Option("--ci-kind", help="Equal-tailed or highest density.")] = (
        IntervalKind.eti
    ),
    freq: Annotated[
        str,
        typer.Option(
            "--freq", callback=as_frequency, metavar="ME|QE|YE", help="Periods of the portfolio; fiscal: YE-JUN."
        ),
    ] = "QE",
    by: Annotated[
        str,
        typer.Option(
            "--by", callback=as_split, metavar="A,B", help="Split the portfolio by account columns, or by origin."
        ),
    ] = "",
    timing: Annotated[Timing, typer.Option("--timing", help="Count money when served, when booked or when paid.")] = (
        Timing.recognised
    ),
    billing: Annotated[
        Billing | None, typer.Option("--billing", help="Of --timing cash: what is invoiced at a time, in advance.")
    ] = None,
    payment_days: Annotated[
        int | None,
        typer.Option(
            "--payment-days", min=0, max=365, help="Of --timing cash: from invoice to payment.  [default: 30]"
        ),
    ] = None,
    cost_to_serve: Annotated[
        float,
        typer.Option("--cost-to-serve", min=0.0, help="Of an active account and month, in the discounted values only."),
    ] = 0.0,
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

    if (timing is Timing.cash) != (billing is not None) or (payment_days is not None and timing is not Timing.cash):
        raise typer.BadParameter("--timing cash needs --billing, and only it takes --billing and --payment-days.")
    console = make_console()
    trained = load_posterior(posterior)
    ledger = read_events(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    check_rejected(ledger, max_rejected)
    split = names_in(by)
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
            billing=None if billing is None else billing.value,
            payment_days=payment_days,
            cost_to_serve=cost_to_serve,
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
        typer.Option("--origins", callback=as_days, metavar="DAY,DAY", help="Days to forecast from, YYYY-MM-DD."),
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

    ledger = read_events(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    check_rejected(ledger, max_rejected)
    result = run_backtest(
        ledger,
        names_in(origins),
        horizon,
        names_in(segments),
        clusters=cluster,
        seed=seed,
        draws=draws,
        tune=tune,
        progress=shows_progress(quiet),
    )
    paths = write_backtest(result, output)
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    if not quiet:
        console = make_console()
        show_backtest(console, result)
        for path in paths:
            say(console, f"written: {path}")


app.command()(report)
app.command()(account)


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

    run_demo(output, make_console(), seed=seed, progress=shows_progress(False))


def _write_report(console: Console | None, ledger: Ledger, histories: Histories, folder: Path) -> None:
    from clvforecast.overview import data_report
    from clvforecast.report.overview import write_report
    from clvforecast.report.terminal import say

    for path in write_report(data_report(ledger, histories), folder):
        if console is not None:
            say(console, f"written: {path}")


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
