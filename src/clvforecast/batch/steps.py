"""Lifecycle plans of a run: the steps that its forecast weighs, and how far they can be relied on."""

from __future__ import annotations

from typing import NamedTuple

from clvforecast.batch.logs import alert
from clvforecast.batch.settings import ForecastOptions
from clvforecast.errors import PlanError
from clvforecast.ledger import Ledger
from clvforecast.plans import PlanReliability, Plans, load_plan_reliability, read_plans
from clvforecast.plans.words import planned_words


class PlannedSteps(NamedTuple):
    """Plans and their reliability; both None without any."""

    plans: Plans | None = None
    reliability: PlanReliability | None = None

    def words(self, n_open: int) -> str | None:
        """What the forecast says of its plans, with so many steps open."""
        if self.plans is None or self.reliability is None:
            return None
        return planned_words(n_open, len(self.plans), self.reliability)


NO_STEPS = PlannedSteps()


def read_steps(options: ForecastOptions, ledger: Ledger) -> PlannedSteps:
    """Rows of the plan file that cannot be used are told of; where none can, the night goes on without plans."""
    if options.plans is None:
        return NO_STEPS
    learned = None if options.reliability is None else load_plan_reliability(options.reliability)
    days = {}
    if learned is not None and learned.frame is not None:  # plans are read with the days that it was learned with
        days = {"window_days": learned.frame.window_days, "renewal_days": learned.frame.renewal_days}
    try:
        plans = read_plans(options.plans, ledger, **days)
    except PlanError as error:
        if error.rejected is None:  # the file as a whole is wrong, not its rows
            raise
        alert(f"no row of {options.plans} can be used, so the run goes on without plans: {error}")
        return NO_STEPS
    if len(plans.rejected):
        alert(
            f"{len(plans.rejected):,} rows of {options.plans} are rejected; clvforecast score --plan-outcomes tells why"
        )
    if not (plans.outcomes(ledger)["outcome"] == "open").any():
        return NO_STEPS
    return PlannedSteps(
        plans, learned or PlanReliability.prior(plans.window_days, plans.renewal_days, seed=options.seed)
    )
