"""What is given of accounts beside their states: ARR so far, what a scenario assumes of them, and what is planned with them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.histories import Histories
from clvforecast.histories.runs import flat_ranges
from clvforecast.histories.slices import Slice
from clvforecast.histories.terms import DAYS_PER_MONTH
from clvforecast.ledger.days import term_ends
from clvforecast.metrics.tracking import Tracking
from clvforecast.plans import PlanOutcomes, PlanReliability, Plans
from clvforecast.plans.counts import stated_log_odds
from clvforecast.plans.steps import RENEWAL, STEP_KINDS
from clvforecast.scenarios import Steered
from clvforecast.simulation.slots import UNITS_PER_CENT
from clvforecast.simulation.states import States
from clvforecast.simulation.steering import RENEWAL_STEP
from clvforecast.simulation.structures import Given, Steps

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
KINDS = np.array(
    [{"renewal": RENEWAL_STEP, "expansion": 0, "contraction": 1, "change_order": 2}[kind] for kind in STEP_KINDS]
)
"""The kernel's number of each kind of planned step."""
STATUS_OPEN = 0
NEVER_COMES, FAR_APART = -1, 10**9
MONTH_SLACK = 3
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

    def all_planned(self) -> pd.DataFrame | None:
        """The open steps of all slices, with what the plan notes on them; None where there is no such step."""
        if self.plans is None or not self.planned:
            return None
        return with_plan_notes(pd.concat(self.planned, ignore_index=True), self.plans)

    def _steps(self, plans: Plans, reliability: PlanReliability, part: Slice, states: States) -> Steps | None:
        mine = pc.is_in(plans.steps["account_id"], pa.array(states.account_ids))
        chosen = plans.where(mine.to_numpy())
        if not len(chosen):
            return None
        outcomes = reliability.resolve(chosen, part.ledger, self.draws, self.seed, threads=1)
        placed = placed_steps(outcomes, plans.window_days, states)
        self.planned.append(planned_table(outcomes, plans.window_days, placed, states))
        return kernel_steps(outcomes, plans.window_days, placed.line, states) if len(outcomes) else None


@dataclass(frozen=True)
class Placed:
    """Where the open steps are in the forecast, arrays (S,).

    ``line``: the contract that a renewal is of; of an event, which is of all contracts of its account, one that is still open, or
    else the first. Of a renewal, were all terms as long as the last: ``nearest``, days from its planned day to the nearest end of
    one, and ``apart``, to the one that it is taken to be of, since no other step is nearer to that; `FAR_APART` without any.
    """

    line: Longs
    nearest: Longs
    apart: Longs


def placed_steps(outcomes: PlanOutcomes, window_days: int, states: States) -> Placed:
    """Each end of a term has at most one renewal step, the nearest pairs first; then the earlier line and the earlier step."""
    account = pd.Index(states.account_ids).get_indexer(outcomes.account_id)
    first, after = (np.searchsorted(states.account, account, side=side) for side in ("left", "right"))
    is_open = np.flatnonzero(states.status == STATUS_OPEN)
    open_line = np.append(is_open, len(states.account))[np.searchsorted(is_open, first)]
    line = np.where(open_line < after, open_line, first).astype(np.int64)
    renewals = np.flatnonzero(outcomes.kind == RENEWAL)
    step, of_line = _each_with(first[renewals], after[renewals])
    decides = states.status[of_line] == STATUS_OPEN
    step, of_line, term, distance = _ends_about(
        outcomes, renewals[step[decides]], of_line[decides], window_days, states
    )
    its_own: dict[int, int] = {}
    taken: set[tuple[int, int]] = set()
    for row in np.lexsort((step, of_line, distance)):
        mine, end = int(step[row]), (int(of_line[row]), int(term[row]))
        if mine not in its_own and end not in taken:
            its_own[mine] = int(distance[row])
            taken.add(end)
            line[mine] = of_line[row]
    apart, nearest = np.zeros(len(line), dtype=np.int64), np.zeros(len(line), dtype=np.int64)
    apart[renewals] = [its_own.get(int(mine), FAR_APART) for mine in renewals]
    nearest[renewals] = FAR_APART
    np.minimum.at(nearest, step, distance)
    return Placed(line, nearest, apart)


def _ends_about(
    outcomes: PlanOutcomes, step: Longs, line: Longs, window_days: int, states: States
) -> tuple[Longs, Longs, Longs, Longs]:
    """(step, line, term, days apart) of all ends of terms in the window of each step, and those next to it, were all terms of the
    line as long as the last that is booked, whose number is 0."""
    last = states.bt_ptr[1:][line] - 1
    end, months = states.bt_end[last].astype(np.int64), states.bt_months[last].astype(np.int64)
    planned = outcomes.planned_day.astype(np.int64)[step]
    low, high = ((planned - end + side * window_days) / (months * DAYS_PER_MONTH) for side in (-1, 1))
    row, term = _each_with(*(np.maximum(np.floor(terms), 0.0).astype(np.int64) for terms in (low, high + 2)))
    return step[row], line[row], term, np.abs(term_ends(end[row], term * months[row]) - planned[row])


def kernel_steps(outcomes: PlanOutcomes, window_days: int, line: Longs, states: States) -> Steps:
    """The open steps in order of their line.

    A planned event is of all the account's contracts: each line has it, before its planned renewals, and the kernel lets one of
    them have it, for it stands for those of its kind that would come in its time in any of them.
    """
    step, of_line = with_other_lines(outcomes, line, states)
    order = np.lexsort((step, outcomes.kind[step] == RENEWAL, of_line))
    step, of_line = step[order], of_line[order]
    comes = outcomes.hit | (outcomes.kind == RENEWAL)[:, None]  # of renewals the kernel decides
    planned = outcomes.planned_day.astype(np.int64)[step]
    return Steps(
        line=of_line,
        kind=KINDS[outcomes.kind][step],
        days=np.column_stack((planned - window_days, planned + window_days)),
        months=outcomes.months.astype(np.int64)[step],
        day=np.where(comes, outcomes.day.astype(np.int64), NEVER_COMES)[step],
        units=outcomes.cents[step] * UNITS_PER_CENT,
        probability=outcomes.probability[step],
        choice=outcomes.choice[step],
        stated=leanings(outcomes)[step],
        weight=outcomes.weight,
    )


def leanings(outcomes: PlanOutcomes) -> Floats:
    """(S,) log odds that are stated of the renewals that come as the model has them; NaN for all other steps."""
    return stated_log_odds(np.where(outcomes.as_modelled, outcomes.stated, np.nan))


def with_other_lines(outcomes: PlanOutcomes, line: Longs, states: States) -> tuple[Longs, Longs]:
    """(step, line): renewals on their own line, events on all lines of their account."""
    account = states.account[line]
    first, after = (np.searchsorted(states.account, account, side=side) for side in ("left", "right"))
    is_event = outcomes.kind != RENEWAL
    return _each_with(np.where(is_event, first, line), np.where(is_event, after, line + 1))


def _each_with(first: Longs, after: Longs) -> tuple[Longs, Longs]:
    """(row, number): every row with its numbers, from ``first`` to the one before ``after``."""
    n = after - first
    return np.repeat(np.arange(len(first)), n), flat_ranges(first, n)


def planned_table(outcomes: PlanOutcomes, window_days: int, placed: Placed, states: States) -> pd.DataFrame:
    """`PlanOutcomes.table` with a note on steps of which the model knows better, empty for the others."""
    table = outcomes.table()
    ends = states.bt_end[states.bt_ptr[1:] - 1][placed.line].astype(np.int64)
    renewal = outcomes.kind == RENEWAL
    early = renewal & (outcomes.planned_day + window_days < ends)
    beyond = renewal & (outcomes.planned_day - window_days > ends)
    second = renewal & (placed.nearest <= window_days) & (placed.apart > window_days)
    modelled, states_one = outcomes.as_modelled, ~np.isnan(outcomes.stated)
    late = beyond & (ends <= int(states.as_of))
    gone = states.status[placed.line] != STATUS_OPEN
    unmet = np.zeros(len(outcomes), dtype=bool)
    for step in np.flatnonzero(beyond & ~late & ~gone):
        unmet[step] = not meets_an_end(int(step), outcomes, window_days, placed.line, states)
    near = f"within {window_days} days of this date"
    return table.assign(
        note=np.select(
            [gone & renewal, gone, early, late, second, unmet, modelled & states_one, modelled],
            [
                "has given notice or ended: renews only by a return",
                "has given notice or ended: comes until the contract's end, or after a return",
                f"no contract ends {near}, only later: the step is not used",
                "the contract ended before the step's window: its open renewal is as the model has it",
                "another step is nearer to the renewal that falls due then",
                f"no contract ends {near} if terms stay as long as they are: the step counts only where one does",
                "too few such renewals on record: between what is stated and what the model has",
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
        end += (int(outcomes.months[met[0]]) if len(met) else usual) * DAYS_PER_MONTH
    return end <= planned + window_days + MONTH_SLACK
