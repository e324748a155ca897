"""`clvforecast score`: every account and the portfolio, as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clvforecast.cli.nightly import ConfigFile, LogForm, LogFormat, is_given, refuse_others, run_config
from clvforecast.cli.options import (
    Accounts,
    AsOf,
    Billing,
    CostToServe,
    Currency,
    Discount,
    Export,
    FiscalStart,
    FormatName,
    Horizon,
    IntervalKind,
    MappingFile,
    Margin,
    MaxRejected,
    OptionalEvents,
    OptionalPosterior,
    Quiet,
    Rates,
    Seed,
    Timing,
    Worlds,
    as_frequency,
    as_path,
    as_probability,
    as_split,
    check_rejected,
    names_in,
    read_events,
    warn,
)
from clvforecast.cli.planned import (
    OutcomesFile,
    PlansFile,
    Reliability,
    check_planned,
    read_planned,
    tell_of_plans,
    tell_of_steps,
    write_outcomes,
)

OF_CALENDAR = {"ME": "month", "QE": "quarter", "YE": "year"}
"""What --freq calls the periods of the fiscal calendar, whose years need not end in December."""
ACCOUNTS, PORTFOLIO = "accounts.parquet", "portfolio.csv"


def score(
    context: typer.Context,
    events: OptionalEvents = None,
    posterior: OptionalPosterior = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", parser=as_path, help="Folder for accounts.parquet and portfolio.csv."
        ),
    ] = None,
    config: ConfigFile = None,
    log: LogForm = LogFormat.text,
    accounts: Accounts = None,
    mapping: MappingFile = None,
    export_format: FormatName = None,
    rates: Rates = None,
    currency: Currency = None,
    max_rejected: MaxRejected = None,
    as_of: AsOf = None,
    horizon: Horizon = 60,
    discount: Discount = 0.10,
    margin: Margin = 1.0,
    draws: Worlds = 1000,
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
            "--freq",
            callback=as_frequency,
            metavar="ME|QE|YE",
            help="Months, quarters or years of the portfolio, as --fiscal-start has them; or QE-JUN, YE-JUN by their last month.",
        ),
    ] = "QE",
    fiscal_start: FiscalStart = 1,
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
    cost_to_serve: CostToServe = 0.0,
    plans: PlansFile = None,
    reliability: Reliability = None,
    plan_outcomes: OutcomesFile = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FILE",
            parser=as_path,
            help="Keep the whole forecast there too, for clv.load_forecast.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Forecast every account and the portfolio from a saved posterior.

    \b
    Example:
      clvforecast score events.csv --accounts accounts.csv --posterior posterior.nc \\
        --horizon 24 --by plan -o scores

    \b
    Or as a run that is done once, goes on after a kill, and publishes to databases:
      clvforecast score --config clvforecast.toml --log json
    """
    if config is not None:
        refuse_others(context)
        raise typer.Exit(run_config(config, as_of, log, quiet))
    if is_given(context, "log"):
        raise typer.BadParameter("--log is that of a run: give --config too, or leave it out.")
    if not events or posterior is None or output is None:
        missing = [
            name for name, given in (("EVENTS", events), ("--posterior", posterior), ("--output", output)) if not given
        ]
        raise typer.BadParameter(f"{', '.join(missing)} missing. Give it, or all in a file as --config FILE.")
    from clvforecast.calendars import FiscalCalendar
    from clvforecast.durable import check_can_write
    from clvforecast.forecast import forecast as make_forecast
    from clvforecast.posterior import load_posterior
    from clvforecast.report.files import write_accounts, write_portfolio
    from clvforecast.report.portfolio import show_portfolio
    from clvforecast.report.terminal import make_console, say, working

    if (timing is Timing.cash) != (billing is not None) or (payment_days is not None and timing is not Timing.cash):
        raise typer.BadParameter("--timing cash needs --billing, and only it takes --billing and --payment-days.")
    check_planned(plans, reliability, plan_outcomes)
    files = [output / ACCOUNTS, output / PORTFOLIO, *([] if save is None else [save])]
    check_can_write(*files)
    console = make_console()
    trained = load_posterior(posterior)
    ledger = read_events(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    check_rejected(ledger, max_rejected)
    planned = read_planned(plans, ledger, reliability, seed)
    tell_of_plans(console, planned, ledger.as_of, quiet)
    split, periods = names_in(by), OF_CALENDAR.get(freq, freq)
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
            plans=planned.forecast,
            reliability=planned.reliability,
            group_by=None if split in ([], ["origin"]) else split,
            ci_probs=(ci_prob,),
            calendar=None if fiscal_start == 1 else FiscalCalendar(fiscal_start),
        )
    write_accounts(forecast, files[0], ci_prob, ci_kind.value)
    write_portfolio(forecast, files[1], periods, split or None, ci_prob, ci_kind.value)
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        forecast.save(save)
    write_outcomes(planned, plan_outcomes)
    for warning in forecast.warnings:
        warn(warning)
    tell_of_steps(forecast.planned)
    if not quiet:
        show_portfolio(console, forecast, periods, ci_prob, ci_kind.value)
        say(console, f"accounts:  {files[0]}")
        say(console, f"portfolio: {files[1]}")
        if save is not None:
            say(console, f"forecast:  {save}")
        if plan_outcomes is not None:
            say(console, f"plans:     {plan_outcomes}")
