"""Commands of those who read forecasts: a workbook and a page, and one account."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clvforecast.cli.options import (
    Accounts,
    AsOf,
    Currency,
    Events,
    Export,
    FormatName,
    MappingFile,
    MaxRejected,
    Quiet,
    Rates,
    Seed,
    as_margin,
    as_png,
    check_rejected,
    names_in,
    read_events,
)

if TYPE_CHECKING:
    from clvforecast.plans import Plans

TOLD = 10
"""Rejected rows of plans that are told of."""


class Weeks(StrEnum):
    """How weeks make the months of a quarter."""

    w445 = "4-4-5"
    w454 = "4-5-4"
    w544 = "5-4-4"


Posterior = Annotated[Path, typer.Option("--posterior", metavar="FILE", help="From `clvforecast fit`.")]
PlansFile = Annotated[
    str | None, typer.Option("--plans", metavar="FILE", help="Lifecycle plans: account_id, planned_date, kind, amount.")
]
FiscalStart = Annotated[
    int, typer.Option("--fiscal-start", min=1, max=12, metavar="MONTH", help="The fiscal year begins with it, 1-12.")
]


def tell_of_plans(planned: Plans | None) -> None:
    """On stderr: what is to know of plans, and the first rows that are left out, each with its reason."""
    if planned is None:
        return
    for warning in planned.warnings:
        typer.echo(f"warning: plans: {warning}", err=True)
    rejected = planned.rejected
    for _, row in rejected.head(TOLD).iterrows():
        typer.echo(f"  row {row['row']}: {row['column']} {row['value']!r}: {row['rule']}: {row['hint']}", err=True)
    if len(rejected) > TOLD:
        typer.echo(f"  and {len(rejected) - TOLD} more: clv.read_plans(...).rejected has them all", err=True)


def report(
    events: Events,
    posterior: Posterior,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for forecast.xlsx and forecast.html.")
    ],
    accounts: Accounts = None,
    mapping: MappingFile = None,
    export_format: FormatName = None,
    rates: Rates = None,
    currency: Currency = None,
    max_rejected: MaxRejected = None,
    as_of: AsOf = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="On both, as 'Renewals, FY27'.")] = None,
    horizon: Annotated[int, typer.Option("--horizon", min=1, max=600, help="Months ahead.")] = 24,
    fiscal_start: FiscalStart = 1,
    weeks: Annotated[
        Weeks | None, typer.Option("--weeks", help="Fiscal months are weeks; the year ends on the last Saturday.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="A,B", help="Segments: account columns; default those of the posterior.")
    ] = "",
    discount: Annotated[float, typer.Option("--discount", min=0.0, max=1.0, help="Yearly discount rate.")] = 0.10,
    margin: Annotated[
        float, typer.Option("--margin", callback=as_margin, help="Gross margin, in the discounted values only.")
    ] = 1.0,
    cost_to_serve: Annotated[
        float,
        typer.Option("--cost-to-serve", min=0.0, help="Of an active account and month, in the discounted values only."),
    ] = 0.0,
    plans: PlansFile = None,
    reliability: Annotated[
        Path | None,
        typer.Option("--reliability", metavar="FILE", help="Of plans, from PlanReliability.save; default its prior."),
    ] = None,
    scenarios: Annotated[
        Path | None, typer.Option("--scenarios", metavar="FILE", help="TOML of what-ifs, for clv.read_scenarios.")
    ] = None,
    draws: Annotated[int, typer.Option("--draws", min=2, help="Simulated worlds.")] = 1000,
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
    from clvforecast.plans import load_plan_reliability, read_plans
    from clvforecast.posterior import load_posterior
    from clvforecast.report.pack import make_pack, write_pack
    from clvforecast.report.portfolio import show_portfolio
    from clvforecast.report.terminal import make_console, say, working
    from clvforecast.scenario_file import read_scenarios

    console = make_console()
    trained = load_posterior(posterior)
    if_asked = [] if scenarios is None else read_scenarios(scenarios)
    ledger = read_events(events, accounts, as_of, Export(mapping, export_format, rates, currency))
    check_rejected(ledger, max_rejected)
    planned = None if plans is None else read_plans(plans, ledger)
    with working(console, "simulating", quiet):
        pack = make_pack(
            trained,
            ledger,
            if_asked,
            planned,
            None if reliability is None else load_plan_reliability(reliability),
            horizon_months=horizon,
            annual_discount_rate=discount,
            gross_margin=margin,
            cost_to_serve=cost_to_serve,
            calendar=FiscalCalendar(fiscal_start, weeks=None if weeks is None else weeks.value),
            group_by=names_in(by) or None,
            draws=draws,
            seed=seed,
        )
        paths = write_pack(pack, output, title)
    for warning in pack.forecast.warnings:
        typer.echo(f"warning: {warning}", err=True)
    tell_of_plans(planned)
    if not quiet:
        show_portfolio(console, pack.forecast, "quarter")
        for path in paths:
            say(console, f"written: {path}")


def account(
    account_id: Annotated[str, typer.Argument(metavar="ID", help="The account, as the events name it.")],
    events: Events,
    posterior: Posterior,
    plans: PlansFile = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
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
    horizon: Annotated[int, typer.Option("--horizon", min=1, max=600, help="Months ahead.")] = 60,
    discount: Annotated[float, typer.Option("--discount", min=0.0, max=1.0, help="Yearly discount rate.")] = 0.10,
    margin: Annotated[
        float, typer.Option("--margin", callback=as_margin, help="Gross margin, in the discounted values only.")
    ] = 1.0,
    fiscal_start: FiscalStart = 1,
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
    ledger = read_events(events, accounts, as_of, Export(mapping, export_format, rates, currency))
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
    for warning in view.warnings:
        typer.echo(f"warning: {warning}", err=True)
    tell_of_plans(planned)
    show_account(console, view)
    if output is not None:
        write_plot(plot_account_view(view), output)
        say(console, f"picture: {output}")
