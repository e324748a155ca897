"""The command line: parse, call, print, exit code.  What is heavy is imported only when a command runs."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clvforecast.cli.finance import account, report
from clvforecast.cli.nightly import exit_code_of, runs
from clvforecast.cli.options import (
    Accounts,
    AsOf,
    Currency,
    Events,
    Export,
    FormatName,
    Horizon,
    MappingFile,
    MaxRejected,
    Quiet,
    Rates,
    Seed,
    as_days,
    as_path,
    check_rejected,
    names_in,
    read_events,
    shows_progress,
    warn,
)
from clvforecast.cli.score import score
from clvforecast.cli.streams import patient_streams
from clvforecast.errors import ClvError, LedgerError

if TYPE_CHECKING:
    from rich.console import Console

    from clvforecast.histories import Histories
    from clvforecast.ledger import Ledger

app = typer.Typer(
    name="clvforecast",
    help="Bayesian customer-lifetime-value forecasts from contract revenue events.",
    epilog="Exit codes: 0 done, 1 data or a model that cannot be used (or has no such column), 2 wrong call or settings. "
    "Of `score --config` also: 3 done, but some accounts failed; 4 done, but earlier ranges do not hold; 5 another run is at it.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

REPORT_PICTURE = "data_report.png"


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
        Path | None,
        typer.Option("--rejected", metavar="FILE", parser=as_path, help="Write the rejected rows to this CSV."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="DIR", parser=as_path, help="Write the data report there: tables as CSV, and a picture."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Check revenue events row by row and show what would be used.

    Rejected rows are listed with their rule and what to do; they fail the command only with --max-rejected.

    \b
    Example:
      clvforecast validate events.csv --accounts accounts.csv --rejected rejected.csv
    """
    from clvforecast.durable import check_can_write
    from clvforecast.histories import build_histories
    from clvforecast.overview import NEEDED as REPORTED
    from clvforecast.report.files import write_csv
    from clvforecast.report.ledgers import NEEDED as SHOWN
    from clvforecast.report.ledgers import show_ledger
    from clvforecast.report.terminal import make_console, say

    check_can_write(*([] if rejected is None else [rejected]), *([] if report is None else [report / REPORT_PICTURE]))
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
            warn(warning)
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
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", parser=as_path, help="The posterior to write (netCDF)."),
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
    from clvforecast.durable import check_can_write
    from clvforecast.posterior import fit as fit_models
    from clvforecast.report.parameters import show_parameters
    from clvforecast.report.terminal import make_console, say

    check_can_write(output)
    ledger = read_events(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    check_rejected(ledger, max_rejected)
    posterior = fit_models(
        ledger, names_in(segments), seed=seed, draws=draws, tune=tune, chains=chains, progress=shows_progress(quiet)
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    posterior.save(output)
    if not quiet:
        console = make_console()
        show_parameters(console, posterior)
        say(console, f"posterior: {output}")


app.command()(score)
app.command()(runs)


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
    horizon: Horizon = 24,
    cluster: Annotated[
        str,
        typer.Option(
            "--cluster", metavar="COLUMN", help="Column whose accounts share their fate, for the scores' intervals."
        ),
    ] = "account_id",
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", parser=as_path, help="Folder for the scores, tables and picture."
        ),
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
    from clvforecast.durable import check_can_write
    from clvforecast.report.backtests import show_backtest, write_backtest
    from clvforecast.report.terminal import make_console, say

    check_can_write(output / "backtest.png")
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
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", parser=as_path, help="Folder for the files.")
    ] = Path("demo-output"),
    seed: Seed = 7,
) -> None:
    """Forecast the shipped contracts from mid-2018, beside what then happened.

    Trains on what the City of Philadelphia had booked by 30 June 2018 and forecasts the two years after.

    \b
    Example:
      clvforecast demo -o demo-output
    """
    from clvforecast.demo import run_demo
    from clvforecast.durable import check_can_write
    from clvforecast.report.terminal import make_console

    check_can_write(output / "posterior.nc")
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
    with patient_streams():
        try:
            app(prog_name="clvforecast")
        except ClvError as error:
            _fail(str(error), exit_code_of(error))
        except OSError as error:
            if error.filename is None:
                raise
            _fail(f"{error.filename}: {_how_to_write(error)}")


def _how_to_write(error: OSError) -> str:
    """What is wrong with a path, and what to give instead."""
    path = Path(str(error.filename))
    if error.errno == errno.EISDIR:
        return "is a folder, where a file is asked for. Give the path of a file in it."
    taken = next((part for part in (path, *path.parents) if part.is_file()), None)
    if error.errno in (errno.ENOTDIR, errno.EEXIST) and taken is not None:
        return f"{taken} is a file, where a folder is asked for. Give the path of a folder."
    return f"{error.strerror}. Check the path and that it can be written."


def _fail(message: str, code: int = 1) -> None:
    from clvforecast.report.terminal import make_console, say

    say(make_console(stderr=True), f"clvforecast: {message}", "red")
    sys.exit(code)


if __name__ == "__main__":
    main()
