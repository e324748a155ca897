"""A plan of new customers: checked, and with whom of those won before its rows are alike."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.errors import ForecastError
from clvforecast.fictional import check_first_terms, shown

Longs = NDArray[np.int64]
OWN_COLUMNS = ("start", "end", "customers", "first_mrr", "term_months")


def checked_plan(table: pd.DataFrame, segments: list[str], as_of: date) -> pd.DataFrame:
    """The plan in an order of its own: first_day, last_day (days since 1970-01-01), customers, and what it says of them.

    Raises ForecastError for a row that cannot be planned.
    """
    for name in ("start", "customers"):
        if name not in table.columns:
            raise ForecastError(
                f"the plan of new customers has no column {name!r}: give start, customers and, optionally, end, "
                "first_mrr, term_months and segment columns."
            )
    for name in table.columns:
        if name not in (*OWN_COLUMNS, *segments):
            raise ForecastError(
                f"the plan of new customers has a column {name!r}, which the accounts have not; they have "
                f"{', '.join(segments) or 'no segments'}. Drop or rename it."
            )
    plan = table.reset_index(drop=True)
    start = _days(plan["start"])
    end = start + pd.offsets.MonthEnd(0)
    if "end" in plan.columns:
        end = _days(plan["end"]).where(plan["end"].notna(), end)
    counts = pd.to_numeric(plan["customers"], errors="coerce")
    _refuse(plan, "start", start.isna(), "write the first day of the period as YYYY-MM-DD")
    past = f"a plan is of days after as_of {as_of}; what came before is in the ledger"
    _refuse(plan, "start", start <= pd.Timestamp(as_of), past)
    _refuse(plan, "end", end.isna() | (end < start), "give the last day of the period, on or after its start")
    broken = ~((counts >= 0) & (counts == np.floor(counts)) & np.isfinite(counts))
    _refuse(plan, "customers", broken, "give a whole number from 0 on; for 2.5 a month plan 5 in two months")
    first, last = (days.to_numpy().astype("datetime64[D]").astype(np.int64) for days in (start, end))
    told = [name for name in plan.columns if name not in ("start", "end", "customers")]
    plan = plan[told].assign(first_day=first, last_day=last, customers=counts.astype(np.int64))
    _check_terms(plan)
    keys = ["first_day", "last_day", *sorted(told)]
    order = plan[keys].astype(str).assign(first_day=first, last_day=last).sort_values(keys, kind="stable").index
    return plan.loc[order].reset_index(drop=True)


def _days(column: pd.Series) -> pd.Series:
    """Dates, or texts that begin with YYYY-MM-DD; NaT for all else."""
    return pd.to_datetime(column.astype(str).str.slice(0, 10), format="%Y-%m-%d", errors="coerce")


def _check_terms(plan: pd.DataFrame) -> None:
    """The prices and lengths that are given must be such as a first term can have."""
    usual = {"first_mrr": 1.0, "term_months": 12}
    given = {name: plan[name] if name in plan.columns else pd.Series(np.nan, plan.index) for name in usual}
    check_first_terms(
        pd.DataFrame({name: given[name].where(given[name].notna(), value) for name, value in usual.items()})
    )


def _refuse(plan: pd.DataFrame, column: str, wrong: pd.Series, rule: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong.to_numpy()))
        value = plan[column].iloc[row] if column in plan.columns else None
        raise ForecastError(f"plan of new customers, row {row + 1}: {column}={shown(value)}: {rule}.")


def _said(plan: pd.DataFrame, segments: list[str]) -> dict[str, NDArray[np.bool_]]:
    """Whether each row says it, of everything there is to say of a customer."""
    wanted = ["first_mrr", "term_months", *segments]
    nowhere = np.zeros(len(plan), dtype=np.bool_)
    return {name: plan[name].notna().to_numpy() if name in plan.columns else nowhere for name in wanted}


def says_all(plan: pd.DataFrame, segments: list[str]) -> bool:
    """Whether no row leaves anything to be taken from customers won before."""
    return all(said.all() for said in _said(plan, segments).values())


def matching(
    plan: pd.DataFrame, given: pd.DataFrame, segments: list[str], months: int, as_of: date
) -> list[Longs | None]:
    """For each row of a plan the donors who have the levels it names; None where it says all there is to say.

    Raises ForecastError where there is none to take the rest from.
    """
    said = _said(plan, segments)
    found: list[Longs | None] = []
    for row in range(len(plan)):
        missing = [name for name in said if not said[name][row]]
        alike = np.ones(len(given), dtype=bool)
        for name in segments:
            if said[name][row]:
                alike &= (given[name] == str(plan[name].iloc[row])).to_numpy()
        if missing and plan["customers"].iloc[row] and not alike.any():
            levels = ", ".join(f"{name}={plan[name].iloc[row]}" for name in segments if said[name][row])
            raise ForecastError(
                f"plan of new customers: none{' with ' + levels if levels else ''} was won in the {months} months up to {as_of}, "
                f"to take {', '.join(missing)} from. Say them in the plan, or look further back: "
                "PlannedNewCustomers(donor_months=...)."
            )
        found.append(np.flatnonzero(alike) if missing and alike.any() else None)
    return found
