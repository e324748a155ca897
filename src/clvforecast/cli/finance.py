"""Commands of those who read forecasts: a workbook and a page, and one account."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clvforecast.cli.options import (
    Accounts,
    AsOf,
    CostToServe,
    Currency,
    Discount,
    Events,
    Export,
    FiscalStart,
    FormatName,
    Horizon,
    MappingFile,
    Margin,
    MaxRejected,
    Posterior,
    Quiet,
    Rates,
    Seed,
    Worlds,
    as_path,
    as_png,
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


class Weeks(StrEnum):
    """How weeks make the months of a quarter."""

    w445 = "4-4-5"
    w454 = "4-5-4"
    w544 = "5-4-4"


class Pending(StrEnum):
    """Whether a contract that has ended, and whose renewal is still open, has recurring revenue."""

    in_force = "in-force"
    lapsed = "lapsed"


def report(
    events: Events,
    posterior: Posterior,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", parser=as_path, help="Folder for forecast.xlsx and forecast.html."
        ),
    ],
    accounts: Accounts = None,
    mapping: MappingFile = None,
    export_format: FormatName = None,
    rates: Rates = None,
    currency: Currency = None,
    max_rejected: MaxRejected = None,
    as_of: AsOf = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="On both, as 'Renewals, FY27'.")] = None,
    horizon: Horizon = 24,
    fiscal_start: FiscalStart = 1,
    weeks: Annotated[
        Weeks | None, typer.Option("--weeks", help="Fiscal months are weeks; the year ends on the last Saturday.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="A,B", help="Segments: account columns; default those of the posterior.")
    ] = "",
    discount: Discount = 0.10,
    margin: Margin = 1.0,
    cost_to_serve: CostToServe = 0.0,
    pending: Annotated[
        Pending,
        typer.Option(
            "--pending",
            help="What ARR counts a contract as that has ended and whose renewal is open on --as-of, in past periods too.",
        ),
    ] = Pending.in_force,
    plans: PlansFile = None,
    reliability: Reliability = None,
    plan_outcomes: OutcomesFile = None,
    scenarios: Annotated[
        Path | None,
        typer.Option("--scenarios", metavar="FILE", parser=as_path, help="TOML of what-ifs, for clv.read_scenarios."),
    ] = None,
    draws: Worlds = 1000,
    seed: Seed = 7,
    quiet: Quiet = False,
) -> None:
    """Write a forecast as an Excel workbook and as one HTML page.

    Both have the revenue by fiscal quarter, the bridge of recurring revenue, retention, segments and every account.

    \b
    Example:
      clvforecast report events.csv --accounts accounts.csv --posterior posterior.nc \\
        --fiscal-start 7 --scenarios scenarios.toml -o pack
    """
    from clvforecast.calendars import FiscalCalendar
    from clvforecast.posterior import load_posterior
    from clvforecast.report.pack import check_pack, make_pack, write_pack
    from clvforecast.report.portfolio import show_portfolio
    from clvforecast.report.terminal import make_console, say, working
    from clvforecast.scenario_file import read_scenarios

    check_planned(plans, reliability, plan_outcomes)
    check_pack(output)
    console = make_console()
    trained = load_posterior(posterior)
    if_asked = [] if scenarios is None else read_scenarios(scenarios)
    ledger = read_events(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    check_rejected(ledger, max_rejected)
    planned = read_planned(plans, ledger, reliability, seed)
    tell_of_plans(console, planned, ledger.as_of, quiet)
    with working(console, "simulating", quiet):
        pack = make_pack(
            trained,
            ledger,
            if_asked,
            planned.plans,
            planned.reliability,
            horizon_months=horizon,
            annual_discount_rate=discount,
            gross_margin=margin,
            cost_to_serve=cost_to_serve,
            pending=pending.name,
            calendar=FiscalCalendar(fiscal_start, weeks=None if weeks is None else weeks.value),
            group_by=names_in(by) or None,
            draws=draws,
            seed=seed,
        )
        paths = write_pack(pack, output, title)
    write_outcomes(planned, plan_outcomes)
    for warning in pack.forecast.warnings:
        warn(warning)
    tell_of_steps(pack.forecast.planned)
    if not quiet:
        show_portfolio(console, pack.forecast, "quarter")
        for path in [*paths, *([] if plan_outcomes is None else [plan_outcomes])]:
            say(console, f"written: {path}")


def account(
    account_id: Annotated[str, typer.Argument(metavar="ID", help="The account, as the events name it.")],
    events: Events,
    posterior: Posterior,
    plans: PlansFile = None,
    reliability: Reliability = None,
    plan_outcomes: OutcomesFile = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            parser=as_path,
            callback=as_png,
            help="Write its picture there: history, fan, distribution.",
        ),
    ] = None,
    accounts: Accounts = None,
    mapping: MappingFile = None,
    export_format: FormatName = None,
    rates: Rates = None,
    currency: Currency = None,
    as_of: AsOf = None,
    horizon: Horizon = 60,
    discount: Discount = 0.10,
    margin: Margin = 1.0,
    fiscal_start: FiscalStart = 1,
    draws: Worlds = 1000,
    seed: Seed = 7,
) -> None:
    """Show one account: its past, contracts, next renewal, value ahead and what drives it.

    \b
    Example:
      clvforecast account A000123 events.csv --accounts accounts.csv --posterior posterior.nc \\
        --plans plans.csv -o A000123.png
    """
    from clvforecast.calendars import FiscalCalendar
    from clvforecast.durable import check_can_write
    from clvforecast.posterior import load_posterior
    from clvforecast.report.account import view_account
    from clvforecast.report.account_text import plot_account_view, show_account
    from clvforecast.report.files import write_plot
    from clvforecast.report.terminal import make_console, say, working

    check_planned(plans, reliability, plan_outcomes)
    if output is not None:
        check_can_write(output)
    console = make_console()
    trained = load_posterior(posterior)
    ledger = read_events(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    planned = read_planned(plans, ledger, reliability, seed)
    with working(console, "simulating"):
        view = view_account(
            trained,
            ledger,
            account_id,
            planned.forecast,
            planned.reliability,
            horizon_months=horizon,
            annual_discount_rate=discount,
            gross_margin=margin,
            calendar=FiscalCalendar(fiscal_start),
            draws=draws,
            seed=seed,
        )
    for warning in view.warnings:
        warn(warning)
    show_account(console, view)
    tell_of_plans(console, planned, ledger.as_of, False, account_id)
    write_outcomes(planned, plan_outcomes)
    if output is not None:
        write_plot(plot_account_view(view), output)
        say(console, f"picture: {output}")
