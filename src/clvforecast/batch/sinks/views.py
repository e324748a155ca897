"""The views that people and dashboards read: the same names, columns and meanings in every database.

`{at}` stands for where the tables are. A view has the rows of the current run, which one row of `current_run` names: making
another run current changes that row and no view.
"""

from __future__ import annotations

from typing import NamedTuple

from clvforecast.batch.schema import (
    ACCOUNT_RANGES,
    ADDED,
    ARR_RANGES,
    DAY,
    FLAG,
    MONEY,
    NUMBER,
    PERIOD_RANGES,
    RETENTION_RANGES,
    RUNS,
    TEXT,
    Column,
    Table,
)
from clvforecast.sql import quoted

CURRENT = "(SELECT run_id FROM {at}current_run)"
PREVIOUS = """(
    SELECT r.run_id FROM {at}runs AS r JOIN {at}runs AS c ON r.as_of < c.as_of AND r.horizon_months = c.horizon_months
        AND r.currency = c.currency AND r.timing = c.timing AND r.ci_prob = c.ci_prob AND r.ci_kind = c.ci_kind
    WHERE c.run_id = (SELECT run_id FROM {at}current_run) AND r.superseded_by IS NULL
    ORDER BY r.as_of DESC, r.publication DESC LIMIT 1
)"""
OF_SEGMENTS = "segment NOT IN ('all', 'origin')"


class View(NamedTuple):
    """One view: what it selects, an expression a column, and from where."""

    name: str
    meaning: str
    columns: tuple[tuple[str, Column], ...]
    source: str

    def sql(self, at: str) -> str:
        """The query of the view."""
        selected = ",\n       ".join(f"{expression} AS {quoted(column.name)}" for expression, column in self.columns)
        return f"SELECT {selected}\n{self.source}".replace("{at}", at)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for _, column in self.columns)


def views(segments: tuple[str, ...]) -> tuple[View, ...]:
    """All views, where the accounts have these segment columns."""
    accounts = ACCOUNT_RANGES.with_segments(segments)
    return (
        _of_current("clv_accounts", "The accounts of the current run, all columns.", accounts),
        _of_current(
            "clv_segment_quarters",
            "Revenue of the current run by fiscal quarter and segment level.",
            PERIOD_RANGES,
            f"{OF_SEGMENTS} AND freq = 'quarter' AND value = 'revenue'",
        ),
        _of_current(
            "clv_portfolio",
            "The whole portfolio of the current run by month, quarter, year and in total, revenue and discounted.",
            PERIOD_RANGES,
            "segment = 'all'",
        ),
        _of_current(
            "clv_segments",
            "The whole window of the current run by segment level, revenue and discounted; origins are in period_ranges.",
            PERIOD_RANGES,
            f"{OF_SEGMENTS} AND freq = 'total'",
        ),
        _of_current("clv_arr", "The ARR bridge of the current run.", ARR_RANGES),
        _of_current("clv_retention", "Rates of retention of the current run.", RETENTION_RANGES),
        RUNS_VIEW,
        CHANGES_VIEW,
    )


def _plain(table: Table) -> tuple[tuple[str, Column], ...]:
    return tuple((quoted(column.name), column) for column in table.columns)


def _of_current(name: str, meaning: str, table: Table, condition: str = "") -> View:
    more = f" AND {condition}" if condition else ""
    return View(name, meaning, _plain(table), f"FROM {{at}}{table.name}\nWHERE run_id = {CURRENT}{more}")


RUNS_VIEW = View(
    "clv_runs",
    "Every published run, and which of them is current.",
    (
        *((f"r.{column.name}", column) for column in (*RUNS.columns, *ADDED)),
        ("c.run_id IS NOT NULL", Column("is_current", FLAG, "whether the views show this run")),
    ),
    "FROM {at}runs AS r LEFT JOIN {at}current_run AS c ON c.run_id = r.run_id",
)
CHANGES_VIEW = View(
    "clv_changes",
    "Each account in the current run beside the last one of an earlier day with the same currency, timing, horizon and ci_prob.",
    (
        (CURRENT, Column("run_id", TEXT, "the current run")),
        ("n.as_of", Column("as_of", DAY, "last day of what the current run knew; NULL for an account that is gone")),
        (PREVIOUS, Column("previous_run_id", TEXT, "the run before")),
        ("p.as_of", Column("previous_as_of", DAY, "last day of what it knew; NULL for an account that is new")),
        ("coalesce(n.account_id, p.account_id)", Column("account_id", TEXT, "the account")),
        (
            "CASE WHEN n.account_id = p.account_id THEN 'both' WHEN f.account_id IS NOT NULL THEN 'failed' "
            "WHEN p.account_id IS NULL THEN 'new' ELSE 'gone' END",
            Column(
                "found_in",
                TEXT,
                '"both" runs, or "new": only in the current one, "gone": only in the one before, or "failed": it could not '
                "be scored in one of them",
            ),
        ),
        ("n.q50", Column("q50", NUMBER, "median of forward revenue", MONEY)),
        ("p.q50", Column("previous_q50", NUMBER, "the median in the run before", MONEY)),
        ("n.q50 - p.q50", Column("q50_change", NUMBER, "the median less that of the run before", MONEY)),
        ("n.lower", Column("lower", NUMBER, "lower end of the interval of forward revenue", MONEY)),
        ("n.upper", Column("upper", NUMBER, "upper end of the interval of forward revenue", MONEY)),
        ("p.lower", Column("previous_lower", NUMBER, "lower end in the run before", MONEY)),
        ("p.upper", Column("previous_upper", NUMBER, "upper end in the run before", MONEY)),
    ),
    f"""FROM (SELECT as_of, account_id, q50, lower, upper FROM {{at}}account_ranges WHERE run_id = {CURRENT}) AS n
FULL JOIN (SELECT as_of, account_id, q50, lower, upper FROM {{at}}account_ranges WHERE run_id = {PREVIOUS}) AS p
ON n.account_id = p.account_id
LEFT JOIN (SELECT DISTINCT account_id FROM {{at}}account_failures WHERE run_id IN ({CURRENT}, {PREVIOUS})) AS f
ON f.account_id = coalesce(n.account_id, p.account_id)""",
)
VIEW_NAMES = tuple(view.name for view in views(()))
