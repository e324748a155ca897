"""`score`: the forecast of accounts on a cluster, the same to the bit as on one machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from clvforecast.calendars import FiscalCalendar
from clvforecast.errors import SparkError
from clvforecast.forecast import Forecast, forecast
from clvforecast.ledger.known import as_day
from clvforecast.metrics.recurring import Pending
from clvforecast.plans import PlanReliability, Plans
from clvforecast.posterior import Posterior
from clvforecast.reduction import DEFAULT_CI_PROBS, Billing
from clvforecast.spark.facts import check_tables, common_facts, refuse_shared_ids
from clvforecast.spark.forecasts import Job, score_part
from clvforecast.spark.ledgers import Facts
from clvforecast.spark.made_up import made_up_ledger
from clvforecast.spark.parts import check_partitions, parts_of, segments_of, session_of
from clvforecast.spark.result import SparkForecast, gathered
from clvforecast.spark.rows import PART_ROWS_SQL

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def score(
    posterior: Posterior,
    events: DataFrame,
    accounts: DataFrame | None = None,
    horizon_months: int = 60,
    annual_discount_rate: float = 0.10,
    gross_margin: float = 1.0,
    draws: int = 1000,
    seed: int = 7,
    *,
    as_of: date | str | None = None,
    grace_days: int | None = None,
    timing: Literal["recognised", "booked", "cash"] = "recognised",
    billing: Billing | None = None,
    payment_days: int | None = None,
    cost_to_serve: float = 0.0,
    known_by: date | None = None,
    group_by: Sequence[str] | None = None,
    ci_probs: Sequence[float] = DEFAULT_CI_PROBS,
    calendar: FiscalCalendar | None = None,
    bridge: bool = False,
    pending: Pending = "in_force",
    plans: Plans | None = None,
    reliability: PlanReliability | None = None,
    partitions: int | None = None,
    path: str | None = None,
) -> SparkForecast:
    """Simulate every account of Spark tables forward on the cluster; each is simulated once.

    Parameters
    ----------
    posterior
        From `clvforecast.fit`, `clvforecast.spark.fit` or `load_posterior`; it is sent to every worker once, as its saved file.
    events, accounts
        PySpark DataFrames with the columns that `read_ledger` reads. Every event has an event_id of its own.
    as_of, grace_days
        As in `read_ledger`.
    horizon_months, annual_discount_rate, gross_margin, draws, seed, timing, billing, payment_days, cost_to_serve, known_by, \
group_by, ci_probs, calendar, bridge, pending, plans, reliability
        As in `clvforecast.forecast`.
    partitions
        Parts that the accounts are dealt out to; a worker holds one of them at a time for each of its tasks. By default of at
        most some 20,000 accounts. It changes no result.
    path
        A new folder that all of the cluster can write, as s3://bucket/run: the results are kept there as Parquet, and outlive
        any executor. Without it they are on the executors' disks, and parts that are lost with one are simulated again, to the
        same result.

    Returns
    -------
    SparkForecast
        Account tables as PySpark DataFrames; the totals, summed on the cluster, as a `Forecast` without accounts.

    Raises
    ------
    ForecastError
        For settings out of range, before any task runs, and as `clvforecast.forecast` does.
    LedgerError
        For tables that `read_ledger` refuses as a whole, and for an event_id of several accounts.
    SparkError
        For what is no DataFrame of a SparkSession with a SparkContext, events without event_id, and a ``path`` that is there.

    Examples
    --------
    >>> import clvforecast as clv, clvforecast.spark
    >>> posterior = clv.load_posterior("posterior.nc")  # doctest: +SKIP
    >>> events, accounts = spark.read.parquet("s3://b/events"), spark.read.parquet("s3://b/accounts")  # doctest: +SKIP
    >>> scored = clvforecast.spark.score(posterior, events, accounts, path="s3://b/2026-06")  # doctest: +SKIP
    >>> scored.accounts(ci_prob=0.9).write.parquet("s3://b/2026-06-accounts")  # doctest: +SKIP
    >>> scored.forecast.portfolio("quarter", by="plan")  # doctest: +SKIP
    """
    asked = {
        "horizon_months": horizon_months,
        "annual_discount_rate": annual_discount_rate,
        "gross_margin": gross_margin,
        "draws": draws,
        "seed": seed,
        "timing": timing,
        "billing": billing,
        "payment_days": payment_days,
        "cost_to_serve": cost_to_serve,
        "known_by": known_by,
        "group_by": None if group_by is None else tuple(group_by),
        "ci_probs": tuple(ci_probs),
        "calendar": calendar,
        "bridge": bridge,
        "pending": pending,
    }
    session = session_of(events, accounts)
    check_tables(events, accounts)
    check_partitions(partitions)
    if path is not None:
        _check_new(session, path)
    day = None if as_of is None else as_day(as_of, "as_of")
    _try_settings(posterior, events, accounts, day, asked, plans, reliability)
    refuse_shared_ids(events)
    return _scored(posterior, events, accounts, day, grace_days, asked, plans, reliability, partitions, path)


def _scored(
    posterior: Posterior,
    events: DataFrame,
    accounts: DataFrame | None,
    day: date | None,
    grace_days: int | None,
    asked: Mapping[str, Any],
    plans: Plans | None,
    reliability: PlanReliability | None,
    partitions: int | None,
    path: str | None,
) -> SparkForecast:
    from pyspark import StorageLevel

    context = events.sparkSession.sparkContext
    parts = parts_of(events, accounts, partitions).persist(StorageLevel.DISK_ONLY)
    try:
        facts = common_facts(parts, day, grace_days, events.count())
        told = made_up_forecast(posterior, facts, asked, plans, reliability)
        job = Job(
            posterior=context.broadcast(file_of(posterior)),
            plans=context.broadcast((plans, reliability)),
            asked=asked,
            facts=facts,
            threads=int(context.getConf().get("spark.task.cpus", "1")),
        )
        rows = parts.mapInArrow(partial(score_part, job), PART_ROWS_SQL)
        if path is None:
            rows = rows.persist(StorageLevel.DISK_ONLY)
        else:
            rows.write.partitionBy("kind").parquet(path)
            rows = events.sparkSession.read.schema(PART_ROWS_SQL).parquet(path)
        return gathered(rows, parts.rdd.getNumPartitions(), facts, posterior, told, plans, reliability)
    finally:
        parts.unpersist()


def _check_new(session: SparkSession, path: str) -> None:
    """Raise SparkError, before the work, where results would go into a folder that is there."""
    from pyspark.errors import AnalysisException

    try:
        session.read.format("binaryFile").load(path)  # no task runs: Spark looks for the files when it plans
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        return
    raise SparkError(f"path={path!r} is there already. Give a new folder, or remove that one.")


def _try_settings(
    posterior: Posterior,
    events: DataFrame,
    accounts: DataFrame | None,
    day: date | None,
    asked: Mapping[str, Any],
    plans: Plans | None,
    reliability: PlanReliability | None,
) -> None:
    """Raise what a wrong setting raises before any task runs; which of the events' columns are segments is not known yet."""
    columns = segments_of(events, accounts)
    known_by = None if day is None else asked["known_by"]
    stand_in = Facts(day or date.fromisoformat(posterior.as_of), posterior.currency, columns, False, None, 1)
    made_up_forecast(posterior, stand_in, {**asked, "known_by": known_by}, plans, reliability)


def made_up_forecast(
    posterior: Posterior,
    facts: Facts,
    asked: Mapping[str, Any],
    plans: Plans | None,
    reliability: PlanReliability | None,
) -> Forecast:
    """The forecast of one made-up account with these settings: it raises what a wrong one raises, and has the columns of all."""
    edges, months = posterior.frame.size_edges, int(posterior.frame.term_values[0])
    monthly = math.exp(float(np.median(edges))) if len(edges) else 1000.0
    ledger = made_up_ledger(facts, posterior.frame.levels, months, monthly)
    found = forecast(posterior, ledger, **asked, plans=plans, reliability=reliability, threads=1)
    return replace(
        found,
        settings=found.settings.model_copy(update={"threads": None}),
        provenance=replace(found.provenance, ledger=""),
    )


def file_of(posterior: Posterior) -> bytes:
    """The bytes of the file that `Posterior.save` writes."""
    with TemporaryDirectory(prefix="clvforecast-") as folder:
        path = Path(folder) / "posterior.nc"
        posterior.save(path)
        return path.read_bytes()
