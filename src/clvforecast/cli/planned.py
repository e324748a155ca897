"""Lifecycle plans on the command line: read for a forecast, and what is to know of them told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from clvforecast.cli.options import as_name, as_path, warn

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from clvforecast.ledger import Ledger
    from clvforecast.plans import PlanReliability, Plans

TOLD = 10
"""Rejected rows of plans that are told of."""
NAMED = 3
"""Steps that are named with a note on them, or with what came of them."""
MEANINGS = {
    "open": "may still come: in the forecast",
    "hit": "came, and is in the events",
    "missed": "did not come in its time, or is known not to come",
    "not yet written": "recorded_on is after the last day that is known: left out",
    "not covered": "planned for a day before the events have its account: nobody knows what came of it",
}
"""What is said of each of `plans.matching.OUTCOMES`."""
WHOLE = ("row", "line", "term_months", "delay_days")
"""Whole numbers, of which pandas makes floats as soon as one is not known."""
WITH_NAMES = ("missed", "not yet written", "not covered")
REST = "all of them: --plan-outcomes FILE"

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
OutcomesFile = Annotated[
    Path | None,
    typer.Option(
        "--plan-outcomes",
        metavar="FILE",
        parser=as_path,
        help="Write what became of every row of --plans to this CSV, and why it was rejected.",
    ),
]


class Planned(NamedTuple):
    """Plans as they were read, what came of each step, and where some step is open how far they can be relied on."""

    plans: Plans | None = None
    outcomes: pd.DataFrame | None = None
    reliability: PlanReliability | None = None

    @property
    def forecast(self) -> Plans | None:
        """Those that change a forecast: None where no step is open."""
        return self.plans if self.n_open else None

    @property
    def n_open(self) -> int:
        return 0 if self.outcomes is None else int((self.outcomes["outcome"] == "open").sum())


def check_planned(plans: str | None, reliability: Path | None, outcomes: Path | None) -> None:
    """Before anything is read. Raises BadParameter, and OSError for what could not be written."""
    from clvforecast.durable import check_can_write

    for option, value in (("--reliability", reliability), ("--plan-outcomes", outcomes)):
        if value is not None and plans is None:
            raise typer.BadParameter(f"{option} is that of plans: give --plans too, or leave it out.")
    if outcomes is not None:
        check_can_write(outcomes)


def read_planned(plans: str | None, ledger: Ledger, reliability: Path | None = None, seed: int = 7) -> Planned:
    """A job that forecasts every night goes on without plans where no row of the file can be used, and says so."""
    if plans is None:
        return Planned()
    from clvforecast.errors import PlanError
    from clvforecast.plans import PlanReliability, load_plan_reliability, read_plans
    from clvforecast.plans.read import rejected_plans

    learned = None if reliability is None else load_plan_reliability(reliability)
    try:
        found = read_plans(plans, ledger, **_windows(learned))
    except PlanError as error:
        if error.rejected is None:  # the file as a whole is wrong, not its rows
            raise
        found = rejected_plans(error)
    planned = Planned(found, found.outcomes(ledger))
    if not planned.n_open:
        return planned
    return planned._replace(
        reliability=learned or PlanReliability.prior(found.window_days, found.renewal_days, seed=seed)
    )


def _windows(learned: PlanReliability | None) -> dict[str, int]:
    """Plans are read with the days that their reliability was learned with."""
    if learned is None or learned.frame is None:
        return {}
    return {"window_days": learned.frame.window_days, "renewal_days": learned.frame.renewal_days}


def write_outcomes(planned: Planned, path: Path | None) -> None:
    """Every row of the file: outcome ("rejected" of those that are no step), the step, and the rule that rejected it."""
    if path is None or planned.plans is None or planned.outcomes is None:
        return
    import pandas as pd

    from clvforecast.report.files import write_csv

    steps = planned.outcomes.drop(columns="amount_cents")
    rejected = planned.plans.rejected.drop(columns="amount_cents").assign(outcome="rejected")
    rows = steps.reindex(columns=[*steps, *(name for name in rejected if name not in steps)])
    rows = pd.concat([rows.astype(object), rejected.astype(object)], ignore_index=True)
    rows = rows.astype({name: "Int64" for name in WHOLE if name in rows})
    write_csv(rows[["outcome", *rows.columns.drop("outcome")]], path)


def tell_of_plans(
    console: Console, planned: Planned, as_of: object, quiet: bool, of_account: str | None = None
) -> None:
    """What became of the rows of a plan file: a count on stdout by outcome, and on stderr what was left out.

    of_account: only its steps are counted.
    """
    plans, outcomes = planned.plans, planned.outcomes
    if plans is None or outcomes is None:
        return
    from clvforecast.plans.words import prior_words
    from clvforecast.report.units import counted

    _tell_of_rejected(plans, quiet)
    if of_account is not None:
        outcomes = outcomes[outcomes["account_id"] == of_account]
    if not quiet and len(outcomes):
        of = "" if of_account is None else f" of {of_account}"
        rejected = plans.rejected_rows.num_rows
        rest = f", and {counted(rejected, 'row')}{' of the file' if of else ''} rejected" if rejected or not of else ""
        _show_outcomes(console, outcomes, f"planned steps{of} on {as_of}: {len(outcomes):,}{rest}")
    if not len(plans):
        warn("plans: no step can be used; the forecast is made without them")
    elif not len(outcomes):
        warn(f"plans: none of the {len(plans):,} steps is one of {of_account}")
    elif not (outcomes["outcome"] == "open").any():
        counts = ", ".join(f"{outcome} {number:,}" for outcome, number in _counted(outcomes).items() if number)
        warn(
            f"plans: none of the {len(outcomes):,} steps is open on {as_of} ({counts}): the forecast is made without them"
        )
    elif planned.reliability is not None and (words := prior_words(planned.reliability)):
        warn(f"plans: {words}")


def _counted(outcomes: pd.DataFrame) -> dict[str, int]:
    return {outcome: int((outcomes["outcome"] == outcome).sum()) for outcome in MEANINGS}


def _show_outcomes(console: Console, outcomes: pd.DataFrame, title: str) -> None:
    import pandas as pd

    from clvforecast.report.terminal import say, show_table

    counted = _counted(outcomes)
    rows = pd.DataFrame({"outcome": MEANINGS.keys(), "steps": [f"{number:,}" for number in counted.values()]})
    show_table(console, title, rows.assign(meaning=MEANINGS.values()), ["outcome", "meaning"])
    for outcome in WITH_NAMES:
        if counted[outcome]:
            steps = outcomes[outcomes["outcome"] == outcome]
            say(console, f"{outcome}: {_names(steps.rename(columns={'planned_date': 'date'}))}")
    if any(counted[outcome] > NAMED for outcome in WITH_NAMES):
        say(console, REST)


def _names(steps: pd.DataFrame) -> str:
    named = [f"{step.account_id} {step.kind} {step.date:%Y-%m-%d}" for step in steps.head(NAMED).itertuples()]
    return ", ".join(named) + (", ..." if len(steps) > NAMED else "")


def _tell_of_rejected(plans: Plans, quiet: bool) -> None:
    """The first rows that are left out, each with its reason; in one line where it is to be quiet."""
    from clvforecast.ledger.notes import counts_by_rule, first_reason

    rejected = plans.rejected_rows
    if not rejected.num_rows:
        for warning in plans.warnings:
            warn(warning)
        return
    number = f"{rejected.num_rows:,} of {len(plans) + rejected.num_rows:,} rows rejected ({counts_by_rule(rejected)})"
    if quiet:
        warn(f"plans: {number}. {first_reason(rejected)}")
        return
    warn(f"plans: {number}")
    for row in rejected.slice(0, TOLD).to_pylist():
        said = "" if row["column"] is None else f"{row['column']} {row['value']!r}: "
        typer.echo(f"  row {row['row']}: {said}{row['rule']}: {row['hint']}", err=True)
    if rejected.num_rows > TOLD:
        typer.echo(f"  and {rejected.num_rows - TOLD:,} more; {REST}", err=True)


def tell_of_steps(planned: pd.DataFrame | None) -> None:
    """Open steps that the model does not follow as they were planned, by the reason."""
    if planned is None:
        return
    noted = planned[planned["note"] != ""]
    for note, steps in noted.groupby("note", sort=False):
        warn(f"plans: {len(steps):,} of {len(planned):,} open steps: {note} ({_names(steps)})")
