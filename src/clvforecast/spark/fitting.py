"""`fit`: the posterior of accounts on a cluster; only counts of their histories come to the driver, where it is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from clvforecast.cells import frame_counts, frame_of
from clvforecast.components import ModelPriors
from clvforecast.errors import FitError
from clvforecast.histories import build_histories
from clvforecast.ledger.known import as_day
from clvforecast.posterior import Posterior, Source, fit_cells, fit_settings
from clvforecast.progress import announcing
from clvforecast.sampling import made_ready
from clvforecast.spark.counting import CountedParts, counted_parts
from clvforecast.spark.facts import check_tables, common_facts, refuse_shared_ids
from clvforecast.spark.ledgers import Facts
from clvforecast.spark.made_up import made_up_ledger
from clvforecast.spark.parts import check_partitions, parts_of, segments_of, session_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ANY_DAY, ANY_MONTHS, ANY_MONTHLY = date(2020, 1, 1), 12, 100.0


def fit(
    events: DataFrame,
    accounts: DataFrame | None = None,
    segments: Sequence[str] = (),
    seed: int = 7,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    priors: ModelPriors | None = None,
    size_edges: Sequence[float] | None = None,
    progress: bool = True,
    max_cells: int | None = None,
    cores: int = 2,
    *,
    as_of: date | str | None = None,
    grace_days: int | None = None,
    partitions: int | None = None,
) -> Posterior:
    """Fit every component of the model to revenue events on a cluster.

    Histories are made and counted there; the counts, which do not grow with the accounts, are sampled on the driver. They are
    those that `clvforecast.fit` would count of the same events, so that the draws are the same.

    Parameters
    ----------
    events, accounts
        PySpark DataFrames with the columns that `read_ledger` reads. Every event has an event_id of its own.
    segments, seed, draws, tune, chains, priors, size_edges, progress, max_cells, cores
        As in `clvforecast.fit`; cores are the driver's.
    as_of, grace_days
        As in `read_ledger`.
    partitions
        As in `score`.

    Raises
    ------
    FitError, ConvergenceError, HistoryError
        As `clvforecast.fit` does; for settings and segments that cannot be, before any task runs.
    LedgerError, SparkError
        As `score` does.

    Examples
    --------
    >>> import clvforecast.spark
    >>> posterior = clvforecast.spark.fit(events, accounts, segments=["plan"], as_of="2026-06-30")  # doctest: +SKIP
    >>> posterior.save("posterior.nc")  # doctest: +SKIP
    """
    settings = fit_settings(draws, tune, chains, cores, seed)
    day = None if as_of is None else as_day(as_of, "as_of")
    with announcing(progress) as say, made_ready():
        say("counting contract histories on the cluster")
        facts, counted = count_cells(events, accounts, segments, size_edges, max_cells, day, grace_days, partitions)
        source = Source(
            as_of=facts.as_of.isoformat(),
            currency=facts.currency,
            grace_days=grace_days,
            warnings=(*facts.warnings, *counted.warnings),
        )
        return fit_cells(counted.cells, counted.frame, settings, priors, say, source)


def count_cells(
    events: DataFrame,
    accounts: DataFrame | None,
    segments: Sequence[str],
    size_edges: Sequence[float] | None,
    max_cells: int | None,
    day: date | None,
    grace_days: int | None,
    partitions: int | None,
) -> tuple[Facts, CountedParts]:
    """What `fit` samples from: the facts of the ledger of all accounts, and the cells of all parts."""
    from pyspark import StorageLevel

    session_of(events, accounts)
    check_tables(events, accounts)
    check_partitions(partitions)
    _try_segments(segments, size_edges, segments_of(events, accounts))
    refuse_shared_ids(events)
    parts = parts_of(events, accounts, partitions).persist(StorageLevel.DISK_ONLY)
    try:
        facts = common_facts(parts, day, grace_days, events.count())
        _try_segments(segments, size_edges, facts.columns)
        return facts, counted_parts(parts, facts, segments, size_edges, max_cells)
    finally:
        parts.unpersist()


def _try_segments(segments: Sequence[str], size_edges: Sequence[float] | None, columns: tuple[str, ...]) -> None:
    """Raise what segments and size classes that cannot be raise of any ledger."""
    if isinstance(segments, str):
        raise FitError(f"fit: segments={segments!r} is one text, but must be a list of column names: [{segments!r}].")
    stand_in = Facts(ANY_DAY, "USD", columns, False, None, 1)
    histories = build_histories(made_up_ledger(stand_in, {}, ANY_MONTHS, ANY_MONTHLY))
    frame_of(frame_counts(histories, segments), segments, size_edges)
