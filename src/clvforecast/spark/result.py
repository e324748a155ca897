"""`SparkForecast`: what `score` found; account tables stay on the cluster, totals are here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from clvforecast.errors import SparkError
from clvforecast.events import REJECTED_SCHEMA
from clvforecast.forecast import Forecast
from clvforecast.ledger.records import Totals, check_balance, reconciled
from clvforecast.plans import PlanReliability, Plans
from clvforecast.plans.words import planned_words
from clvforecast.pooled import added, forecast_of
from clvforecast.posterior import Posterior
from clvforecast.readiness import level_warnings, quiet_warnings, training_warnings
from clvforecast.spark.forecasts import FAILURE_SCHEMA, account_rows, account_table
from clvforecast.spark.ledgers import Facts
from clvforecast.spark.rows import ACCOUNTS, COUNTS, FAILURES, PLANNED, REJECTED, TOTALS, frames_of, tables_of
from clvforecast.spark.sums import sum_of_all

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PARTS = ("read", "accepted", "later", "rejected")


@dataclass(frozen=True, repr=False)
class SparkForecast:
    """Ranges of forward revenue by account on the cluster, and of the portfolio here.  Made by `score`.

    Attributes
    ----------
    forecast
        The totals as a `Forecast` whose account table is empty: ``portfolio``, ``portfolio_draws``, ``bridge(history=0)``,
        ``retention(history=0)``, ``policies`` and ``save`` are those of all accounts, to the bit.
    n_accounts, n_failed
        Accounts that were to be forecast, and how many of them could not be; see `failures`.
    rows
        Everything that came of the parts, as PySpark DataFrame (`rows.PART_ROWS`).
    totals
        Rows and money of the events by part of the ledger: "read", "accepted", "later", "rejected".
    """

    forecast: Forecast
    n_accounts: int
    n_failed: int
    rows: DataFrame
    totals: dict[str, Totals]
    made_up: Forecast
    """Of one account with these settings: the columns of all."""

    def __repr__(self) -> str:
        failed = f", {self.n_failed:,} failed" if self.n_failed else ""
        settings = self.forecast.settings
        return (
            f"<SparkForecast of {self.n_accounts:,} accounts{failed}, {settings.horizon_months} months from "
            f"{self.forecast.as_of}, {settings.draws:,} draws>"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.forecast.warnings

    def accounts(self, ci_prob: float = 0.9, ci_kind: str = "eti") -> DataFrame:
        """One row an account, in no order: the columns of `Forecast.accounts`; what is NaN there is null.

        Raises ForecastError for a ``ci_prob`` that was not among the forecast's ``ci_probs``.

        Examples
        --------
        >>> scored.accounts(ci_prob=0.8).where("p_zero > 0.5").select("account_id", "lower", "upper")  # doctest: +SKIP
        """
        settings = self.made_up.settings
        example = account_table(self.made_up.table, self.made_up.intervals, settings, ci_prob, ci_kind)
        schema = _plain(example.schema)
        return self._of(ACCOUNTS, schema, partial(account_rows, settings, ci_prob, ci_kind, schema))

    @property
    def rejected(self) -> DataFrame:
        """The rejected rows of the events (`events.REJECTED_SCHEMA`); ``row`` is null, ``raw`` says which row it was."""
        return self._of(REJECTED, REJECTED_SCHEMA, partial(tables_of, REJECTED_SCHEMA))

    @property
    def failures(self) -> DataFrame:
        """The accounts that could not be forecast: account_id, error, message. They are in no total."""
        return self._of(FAILURES, FAILURE_SCHEMA, partial(tables_of, FAILURE_SCHEMA))

    def reconciliation(self) -> pd.DataFrame:
        """Rows and money read against accepted, later and rejected, by currency, as `Ledger.reconciliation`."""
        return reconciled(self.totals, self.forecast.currency)

    def release(self) -> None:
        """Free what the executors keep; a folder given as ``path`` stays."""
        self.rows.unpersist()

    def _of(self, kind: str, schema: pa.Schema, worker: Any) -> DataFrame:
        from pyspark.sql import functions as F
        from pyspark.sql.pandas.types import from_arrow_schema

        mine = self.rows.where(F.col("kind") == kind).select("n", "body")
        return mine.mapInArrow(worker, from_arrow_schema(schema))


def gathered(
    rows: DataFrame,
    n_parts: int,
    facts: Facts,
    posterior: Posterior,
    made_up: Forecast,
    plans: Plans | None,
    reliability: PlanReliability | None,
) -> SparkForecast:
    """Counts and totals from the cluster, checked: this runs the simulation, where the rows are not there yet."""
    counts = [json.loads(bytes(row["body"])) for row in _bodies(rows, COUNTS)]
    totals = _joined_totals(counts)
    if (read := totals["read"].rows) != facts.n_events:
        raise AssertionError(f"{facts.n_events:,} events were given, and {read:,} read; please report this")
    check_balance(reconciled(totals, facts.currency))
    n_accounts, n_failed = (sum(part[name] for part in counts) for name in ("accounts", "failed"))
    _check_any(n_accounts, n_failed, facts, rows)
    planned = _planned(rows) if plans is not None else None
    settings = made_up.settings
    if plans is not None:
        used = reliability or PlanReliability.prior(plans.window_days, plans.renewal_days, seed=settings.seed)
        n_open = 0 if planned is None else len(planned)
        settings = settings.model_copy(update={"plans": planned_words(n_open, len(plans), used)})
    found = forecast_of(
        sum_of_all(rows, TOTALS, added, n_parts, rows_each=1),
        settings,
        list(made_up.groups.columns),
        facts.as_of,
        facts.currency,
        made_up.provenance,
        _warnings(counts, facts, posterior),
    )
    return SparkForecast(
        forecast=replace(found, planned=planned),
        n_accounts=n_accounts,
        n_failed=n_failed,
        rows=rows,
        totals=totals,
        made_up=made_up,
    )


def _bodies(rows: DataFrame, kind: str) -> list[Any]:
    from pyspark.sql import functions as F

    return rows.where(F.col("kind") == kind).select("part", "n", "body").collect()


def _joined_totals(counts: Sequence[dict[str, Any]]) -> dict[str, Totals]:
    return {
        name: sum((Totals.of(map(tuple, part["totals"].get(name, ()))) for part in counts), Totals()) for name in PARTS
    }


def _check_any(n_accounts: int, n_failed: int, facts: Facts, rows: DataFrame) -> None:
    if not n_accounts:
        raise SparkError(
            f"the events have no initial or renewal booked by {facts.as_of}, so no contract to model. Check the `kind` column, "
            "or take a later as_of."
        )
    if n_failed == n_accounts:
        first = _bodies(rows, FAILURES)[0]
        told = next(iter(tables_of(FAILURE_SCHEMA, [_as_batch(first)]))).to_pylist()[0]
        raise SparkError(
            f"none of {n_accounts:,} accounts could be forecast. {told['account_id']!r}: {told['message']}"
        )


def _as_batch(row: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"n": row["n"], "body": bytes(row["body"])}])


def _planned(rows: DataFrame) -> pd.DataFrame | None:
    """The open steps of all parts, in the order of their accounts."""
    tables = [frames_of(bytes(row["body"]), row["n"], 1)[0] for row in _bodies(rows, PLANNED)]
    if not tables:
        return None
    return pd.concat(tables).sort_values("account_id", kind="stable", ignore_index=True)


def _warnings(counts: Sequence[dict[str, Any]], facts: Facts, posterior: Posterior) -> tuple[str, ...]:
    failed = sum(part["failed"] for part in counts)
    levels = {(column, level) for part in counts for column, level in part["new_levels"]}
    columns = posterior.frame.segments
    ordered = tuple(sorted(levels, key=lambda found: (columns.index(found[0]), found[1])))
    latest = max(date.fromisoformat(part["latest"]) for part in counts if part["latest"])
    return (
        *facts.warnings,
        *([f"{failed:,} accounts could not be forecast and are in no total; see failures"] if failed else []),
        *level_warnings(posterior, ordered),
        *training_warnings(posterior, facts.as_of),
        *quiet_warnings(latest, facts.as_of),
    )


def _plain(schema: pa.Schema) -> pa.Schema:
    """With texts of the usual length, as Spark has them."""
    text = {pa.large_string(): pa.string(), pa.null(): pa.string()}
    return pa.schema([pa.field(field.name, text.get(field.type, field.type)) for field in schema])
