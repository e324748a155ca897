"""Lifecycle plans on the command line: read for a forecast, and what is to know of them told on stderr."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from clvforecast.cli.options import as_name, as_path

if TYPE_CHECKING:
    import pandas as pd

    from clvforecast.ledger import Ledger
    from clvforecast.plans import PlanReliability, Plans

TOLD = 10
"""Rejected rows of plans that are told of."""
NAMED = 3
"""Steps that are named with a note on them."""

PlansFile = Annotated[
    str | None,
    typer.Option(
        "--plans", metavar="FILE", parser=as_name, help="Lifecycle plans: account_id, planned_date, kind, amount."
    ),
]
Reliability = Annotated[
    Path | None,
    typer.Option(
        "--reliability",
        metavar="FILE",
        parser=as_path,
        help="Of plans, from PlanReliability.save; default its prior.",
    ),
]


class Planned(NamedTuple):
    """Plans of which some step is open, and how far they can be relied on (None: by the prior); both None without."""

    plans: Plans | None = None
    reliability: PlanReliability | None = None


def check_planned(plans: str | None, reliability: Path | None) -> None:
    if reliability is not None and plans is None:
        raise typer.BadParameter("--reliability is that of plans: give --plans too, or leave it out.")


def read_planned(plans: str | None, ledger: Ledger, reliability: Path | None = None) -> Planned:
    """A job that forecasts every night goes on without plans where no row of the file can be used, and says so."""
    if plans is None:
        return Planned()
    from clvforecast.errors import PlanError
    from clvforecast.plans import load_plan_reliability, read_plans

    learned = None if reliability is None else load_plan_reliability(reliability)
    try:
        found = read_plans(plans, ledger)
    except PlanError as error:
        if error.rejected is None:  # the file as a whole is wrong, not its rows
            raise
        tell_of_rejected((str(error),), error.rejected.to_pandas())
        return _without_plans()
    tell_of_rejected(found.warnings, found.rejected)
    if not len(found):
        return _without_plans()
    if not len(found.open(ledger)):
        when = f"on {ledger.as_of}: they came, were missed, or are written down later"
        _warn(f"plans: none of the {len(found):,} steps is open {when}")
        return _without_plans()
    return Planned(found, learned)


def tell_of_rejected(warnings: tuple[str, ...], rejected: pd.DataFrame) -> None:
    """The first rows that are left out, each with its reason."""
    for warning in warnings:
        _warn(warning)
    for _, row in rejected.head(TOLD).iterrows():
        typer.echo(f"  row {row['row']}: {row['column']} {row['value']!r}: {row['rule']}: {row['hint']}", err=True)
    if len(rejected) > TOLD:
        typer.echo(f"  and {len(rejected) - TOLD} more: clv.read_plans(...).rejected has them all", err=True)


def tell_of_steps(planned: pd.DataFrame | None) -> None:
    """Open steps that the model does not follow as they were planned, by the reason."""
    if planned is None:
        return
    noted = planned[planned["note"] != ""]
    for note, steps in noted.groupby("note", sort=False):
        named = [f"{step.account_id} {step.kind} {step.date:%Y-%m-%d}" for step in steps.head(NAMED).itertuples()]
        more = ", ..." if len(steps) > NAMED else ""
        _warn(f"plans: {len(steps):,} of {len(planned):,} open steps: {note} ({', '.join(named)}{more})")


def _without_plans() -> Planned:
    _warn("plans: the forecast is made without them")
    return Planned()


def _warn(text: str) -> None:
    typer.echo(f"warning: {text}", err=True)
