"""Planned steps and the rows that could not become one, as workbook and page show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from clvforecast.plans.matching import OPEN, OUTCOMES
from clvforecast.report.units import counted

if TYPE_CHECKING:
    from clvforecast.forecast import Forecast
    from clvforecast.plans import Plans

MOST_REJECTS = 200
"""Rejected rows that are shown one by one."""
IN_PYTHON = "see plans.rejected"
"""Where a warning of plans sends those who have them in Python."""
REJECT_COLUMNS = ["source", "row", "line", "account_id", "column", "value", "rule", "hint"]
COLUMNS = {
    "account_id": "account",
    "date": "planned for",
    "kind": "step",
    "amount": "planned amount",
    "term_months": "term, months",
    "stated": "chance as stated",
    "probability": "chance in the forecast",
    "lower": "in the forecast: {low}",
    "upper": "in the forecast: {high}",
    "expected_amount": "expected amount",
    "added": "adds to {noun}: mean",
    "added_lower": "adds: {low}",
    "added_upper": "adds: {high}",
    "clv_added": "adds to discounted value: mean",
    "note": "note",
    "plan_note": "note of the plan",
    "step_id": "id of the step",
}
"""Columns of `PlanValue.steps` and `Forecast.planned` in the order in which they are shown; others follow."""
HIDDEN = ("ci_prob",)
STATED_AND_LEARNED = (
    "Chance as stated: what the plan says. In the forecast: what that has been worth in the plans of the past, or by assumption "
    "where there is no record. Empty: a renewal, with too little on record of such. One that states no chance is as likely as "
    "the model has it of its account; one that does lies between that and what is stated."
)
EXPECTED = (
    "Expected amount: planned amount × chance in the forecast × the share of planned amounts that such steps come to, before "
    "asking whether the contract still runs on that day."
)
ADDS = (
    "Adds: what the step changes in the whole window, survival and later renewals included. It can be negative: a step stands in "
    "place of what the model expects of its account in that time. The steps of an account do not add up."
)


def unlearned(stated: float) -> str:
    """In place of a learned probability where there is none: how likely a renewal is then."""
    return "as the model has it" if pd.isna(stated) else "between that and the model's"


@dataclass(frozen=True)
class PlanRows:
    """What became of the rows of a plan file.

    rejects: rule, rows, source, row, column, value, hint: one row a rule, the commonest first
    first_rejects: source, row, line, account_id, column, value, rule, hint of the first rejected rows
    unused: why the forecast is without any of the steps; empty where it has some
    """

    accepted: int
    rejected: int
    rejects: pd.DataFrame
    first_rejects: pd.DataFrame
    warnings: tuple[str, ...]
    unused: str = ""


def plan_rows(plans: Plans | None, forecast: Forecast, steps: pd.DataFrame | None, listed: str) -> PlanRows | None:
    """None without plans.  steps: those that are shown; listed: where the rejected rows stand, for warnings that name them."""
    if plans is None:
        return None
    rejected = plans.rejected
    return PlanRows(
        len(plans),
        len(rejected),
        rejects_by_rule(rejected),
        first_rejects(rejected),
        tuple(warning.replace(IN_PYTHON, listed) for warning in plans.warnings),
        unused_words(plans, forecast) if steps is None or steps.empty else "",
    )


def unused_words(plans: Plans, forecast: Forecast) -> str:
    """Why a forecast is without plans that were read: none of their steps is open on its day, or they were not given to it."""
    if not len(plans):
        return "No row of the plans can be used as a step: the forecast is made without plans."
    read = f"{counted(len(plans), 'step')} of plans read"
    if forecast.ledger is None:
        return f"{read}; the forecast is made without plans."
    found = plans.outcomes(forecast.ledger)["outcome"].value_counts()
    if OPEN in found:
        return (
            f"{read}, {found[OPEN]:,} open on {forecast.as_of}; the forecast is made without plans: forecast with them."
        )
    counts = ", ".join(f"{outcome} {found[outcome]:,}" for outcome in OUTCOMES if outcome in found)
    return f"{read}, none open on {forecast.as_of} ({counts}): the forecast is made without plans."


def first_rejects(rejected: pd.DataFrame) -> pd.DataFrame:
    return rejected.reindex(columns=REJECT_COLUMNS).head(MOST_REJECTS)


def rejects_by_rule(rejected: pd.DataFrame) -> pd.DataFrame:
    """rule, rows, and of the first such row its source, row, column, value, hint; the commonest rule first."""
    columns = ["rule", "rows", "source", "row", "column", "value", "hint"]
    if rejected.empty:
        return pd.DataFrame(columns=columns)
    first = rejected.drop_duplicates("rule")
    first = first.assign(rows=first["rule"].map(rejected["rule"].value_counts()))
    return first.sort_values(["rows", "rule"], ascending=[False, True])[columns].reset_index(drop=True)


def shown_columns(steps: pd.DataFrame) -> list[str]:
    """Known columns in their order, without those that are empty everywhere, then the others."""
    known = [name for name in COLUMNS if name in steps and (name in ("account_id", "stated") or is_told(steps[name]))]
    return [*known, *(name for name in steps if name not in COLUMNS and name not in HIDDEN)]


def is_told(values: pd.Series) -> bool:
    """Whether anything stands in a column."""
    return bool((values.notna() & (values.astype(object) != "")).any())


def head_of(name: str, ends: tuple[str, str], noun: str) -> str:
    """What a column is called; ends: names of the two ends of a range.

    Examples
    --------
    >>> head_of("lower", ("low 5%", "high 95%"), "revenue"), head_of("owner_name", ("low 5%", "high 95%"), "revenue")
    ('in the forecast: low 5%', 'owner name')
    """
    return COLUMNS.get(name, str(name).replace("_", " ")).format(low=ends[0], high=ends[1], noun=noun)
