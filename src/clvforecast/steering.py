"""What is given of accounts beside their states: ARR so far, what a scenario assumes of them, and what is planned with them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.histories import Histories
from clvforecast.histories.slices import Slice
from clvforecast.metrics.tracking import Tracking
from clvforecast.plans import PlanOutcomes, PlanReliability, Plans
from clvforecast.plans.steps import RENEWAL, STEP_KINDS
from clvforecast.scenarios import Steered
from clvforecast.simulation.slots import UNITS_PER_CENT
from clvforecast.simulation.states import States
from clvforecast.simulation.steering import RENEWAL_STEP
from clvforecast.simulation.structures import Given, Steps

Longs = NDArray[np.int64]
KINDS = np.array(
    [{"renewal": RENEWAL_STEP, "expansion": 0, "contraction": 1, "change_order": 2}[kind] for kind in STEP_KINDS]
)
"""The kernel's number of each kind of planned step."""
STATUS_OPEN = 0
NEVER_COMES = -1
DAYS_A_MONTH, MONTH_SLACK = 30.4375, 3
"""Terms that follow each other in average months end within so many days of those in calendar months."""


@dataclass
class Steering:
    """Gives each slice of accounts, in their order, what is known, assumed and planned of it.

    ``planned`` collects the tables of the open steps of the slices so far.
    """

    tracking: Tracking | None
    scenario: Steered | None
    plans: Plans | None
    reliability: PlanReliability | None
    draws: int
    seed: int
    planned: list[pd.DataFrame] = field(default_factory=list)

    def given(self, part: Slice, first: int, histories: Histories, states: States) -> Given:
        """Of a slice whose first account is the ``first`` of all."""
        given = Given() if self.tracking is None else self.tracking.given(histories)
        accounts = slice(first, first + len(states.account_ids))
        if self.scenario is not None:
            given = given._replace(
                effect=self.scenario.effect[accounts][states.account],
                stop_day=self.scenario.stop_day[accounts][states.account],
            )
        if self.plans is not None and self.reliability is not None:
            given = given._replace(steps=self._steps(self.plans, self.reliability, part, states))
        return given

    def _steps(self, plans: Plans, reliability: PlanReliability, part: Slice, states: States) -> Steps | None:
        mine = pc.is_in(plans.steps["account_id"], pa.array(states.account_ids))
        chosen = plans.where(mine.to_numpy())
        if not len(chosen):
            return None
        outcomes = reliability.resolve(chosen, part.ledger, self.draws, self.seed, threads=1)
        line = lines_of_steps(outcomes, states)
        self.planned.append(planned_table(outcomes, plans.window_days, line, states))
        return kernel_steps(outcomes, plans.window_days, line, states) if len(outcomes) else None


def lines_of_steps(outcomes: PlanOutcomes, states: States) -> Longs:
    """The line of its account that each step is of: an account's only one; else the line whose open renewal falls due nearest the
    planned day, of an event the one with the largest revenue that is in force then, or is the last to end."""
    account = pd.Index(states.account_ids).get_indexer(outcomes.account_id)
    first = np.searchsorted(states.account, account)
    line = first.copy()
    several = np.flatnonzero(np.searchsorted(states.account, account, side="right") - first > 1)
    last_term = states.bt_ptr[1:] - 1
    for step in several:
        lines = np.arange(first[step], np.searchsorted(states.account, account[step], side="right"))
        day, end = outcomes.planned_day[step], states.bt_end[last_term[lines]].astype(np.int64)
        is_open = states.status[lines] == STATUS_OPEN
        if outcomes.kind[step] == RENEWAL:
            rank = np.where(is_open, -np.abs(end - day), -np.inf)
        else:
            rank = np.where(is_open & (end > day), states.bt_mrr_now[last_term[lines]], end - 2.0**40)
        line[step] = lines[int(np.argmax(rank))]
    return line


def kernel_steps(outcomes: PlanOutcomes, window_days: int, line: Longs, states: States) -> Steps:
    """The open steps in order of their line.

    A planned event stands for those of all the account's contracts: the other lines have a step that never comes, in whose time
    none of its kind does.
    """
    step, of_line = with_other_lines(outcomes, line, states)
    order = np.lexsort((step, of_line))
    step, of_line = step[order], of_line[order]
    mine = of_line == line[step]
    comes = outcomes.hit | (outcomes.kind == RENEWAL)[:, None]  # of renewals the kernel decides
    planned = outcomes.planned_day.astype(np.int64)[step]
    return Steps(
        line=of_line,
        kind=KINDS[outcomes.kind][step],
        days=np.column_stack((planned - window_days, planned + window_days)),
        months=outcomes.months.astype(np.int64)[step],
        day=np.where(comes[step] & mine[:, None], outcomes.day.astype(np.int64)[step], NEVER_COMES),
        units=outcomes.cents[step] * UNITS_PER_CENT,
        probability=outcomes.probability[step],
        choice=outcomes.choice[step],
    )


def with_other_lines(outcomes: PlanOutcomes, line: Longs, states: States) -> tuple[Longs, Longs]:
    """(step, line): every step on its own line, and those of events on their account's other lines too."""
    account = states.account[line]
    first, after = (np.searchsorted(states.account, account, side=side) for side in ("left", "right"))
    is_event = outcomes.kind != RENEWAL
    low, n = np.where(is_event, first, line), np.where(is_event, after - first, 1)
    step = np.repeat(np.arange(len(line)), n)
    return step, np.repeat(low, n) + np.arange(len(step)) - np.repeat(np.cumsum(n) - n, n)


def planned_table(outcomes: PlanOutcomes, window_days: int, line: Longs, states: States) -> pd.DataFrame:
    """`PlanOutcomes.table` with a note on steps of which the model knows better, empty for the others."""
    table = outcomes.table()
    ends = states.bt_end[states.bt_ptr[1:] - 1][line].astype(np.int64)
    renewal = outcomes.kind == RENEWAL
    early = renewal & (outcomes.planned_day + window_days < ends)
    modelled = outcomes.as_modelled
    beyond = renewal & (outcomes.planned_day - window_days > ends)
    late = beyond & (ends <= int(states.as_of))
    gone = states.status[line] != STATUS_OPEN
    unmet = beyond & ~late & ~gone
    unmet[unmet] = [not meets_an_end(int(step), outcomes, window_days, line, states) for step in np.flatnonzero(unmet)]
    near = f"within {window_days} days of this date"
    return table.assign(
        note=np.select(
            [gone & renewal, gone, early, late, unmet, modelled],
            [
                "has given notice or ended: renews only by a return",
                "has given notice or ended: comes until the contract's end, or after a return",
                f"no contract ends {near}, only later: the step is not used",
                "the contract ended before the step's window: its open renewal is as the model has it",
                f"no contract ends {near}, only earlier: used where a term of another length follows that does",
                "states no probability: whether it renews is as the model has it",
            ],
            "",
        )
    )


def with_plan_notes(planned: pd.DataFrame, plans: Plans) -> pd.DataFrame:
    """With what the plan itself notes on its steps, as plan_note, empty without; no such column where it notes nothing."""
    notes = plans.steps["note"].to_pylist()
    if not any(notes):
        return planned
    keys = zip(plans.steps["account_id"].to_pylist(), plans.steps["step_id"].to_pylist(), strict=True)
    noted = dict(zip(keys, notes, strict=True))
    found = [noted[key] or "" for key in zip(planned["account_id"], planned["step_id"], strict=True)]
    return planned.assign(plan_note=pd.Series(found, dtype=object))


def meets_an_end(step: int, outcomes: PlanOutcomes, window_days: int, line: Longs, states: States) -> bool:
    """Whether a term would end within the window of a planned renewal far ahead, were each renewed as long as the last one that
    is booked, or as an earlier step of the line plans it."""
    term = states.bt_ptr[line[step] + 1] - 1
    end, usual = float(states.bt_end[term]), max(int(states.bt_months[term]), 1)
    planned = int(outcomes.planned_day[step])
    earlier = np.flatnonzero((line == line[step]) & (outcomes.kind == RENEWAL) & (outcomes.months > 0))
    while end < planned - window_days - MONTH_SLACK:
        met = earlier[np.abs(outcomes.planned_day[earlier] - end) <= window_days]
        end += (int(outcomes.months[met[0]]) if len(met) else usual) * DAYS_A_MONTH
    return end <= planned + window_days + MONTH_SLACK
