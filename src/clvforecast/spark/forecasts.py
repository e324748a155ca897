"""On a worker: the forecast of a part of the accounts by the ordinary `forecast`, and what of it goes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.account_tables import account_levels, ranges_of
from clvforecast.errors import SparkError
from clvforecast.events import TERM_KINDS
from clvforecast.forecast import Forecast, forecast
from clvforecast.histories.slices import of_accounts
from clvforecast.ledger import Ledger
from clvforecast.ledger.records import Totals
from clvforecast.pooled import added, total_rows
from clvforecast.posterior import Posterior, load_posterior
from clvforecast.reduction import ForecastSettings
from clvforecast.simulation.states import unseen_levels
from clvforecast.spark.facts import part_number
from clvforecast.spark.ledgers import Facts, PartLedger, read_part
from clvforecast.spark.parts import part_tables
from clvforecast.spark.rows import (
    ACCOUNTS,
    COUNTS,
    FAILURES,
    PLANNED,
    REJECTED,
    TOTALS,
    bodies,
    frame_rows,
    frames_of,
    json_row,
    table_rows,
)

FAILURE_SCHEMA = pa.schema([("account_id", pa.string()), ("error", pa.string()), ("message", pa.string())])
MOST_FAILURES = 100
"""Accounts of one part that may fail; when more do, it is not the accounts."""
OF_THE_MACHINE = (OSError, MemoryError)
"""Errors that say nothing of an account: the task fails, and is tried again elsewhere."""


_KEPT: dict[str, Posterior] = {}
"""Digest of a file -> its posterior: one at most."""


class Sent(Protocol):
    """What was sent to all workers once: a `pyspark.Broadcast`."""

    @property
    def value(self) -> Any: ...


@dataclass(frozen=True)
class Job:
    """What a worker needs beside its accounts.

    posterior: bytes of a file of `Posterior.save`; plans: (Plans, PlanReliability), or None twice; asked: arguments of
    `forecast`; threads: cores of a task.
    """

    posterior: Sent
    plans: Sent
    asked: Mapping[str, Any]
    facts: Facts
    threads: int


@dataclass(frozen=True)
class Failure:
    """An account that could not be forecast, and why."""

    account_id: str
    error: str
    message: str


def score_part(job: Job, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows (`rows.PART_ROWS`) of a part: accounts, totals, rejected rows, failures, open steps, and counts."""
    tables = part_tables(batches)
    if tables is None:
        return
    part, ledger = part_number(), read_part(tables, job.facts)
    posterior = loaded(job.posterior.value)
    accounts = contract_accounts(ledger.known)
    forecasts: list[Forecast] = []
    failures: list[Failure] = []
    if ledger.known is not None and len(accounts):
        forecasts, failures = without_failures(lambda of: forecast_of_part(job, posterior, of), ledger.known, accounts)
    for each in forecasts:
        yield from frame_rows(ACCOUNTS, part, each.table, each.intervals)
        if each.planned is not None:
            yield from frame_rows(PLANNED, part, each.planned)
    if forecasts:
        yield from table_rows(TOTALS, part, added(map(total_rows, forecasts)), rows=1)
    yield from table_rows(REJECTED, part, ledger.rejected)
    yield from table_rows(FAILURES, part, pa.Table.from_pylist([asdict(each) for each in failures], FAILURE_SCHEMA))
    yield json_row(COUNTS, part, _counts(ledger, posterior, accounts, failures))


def contract_accounts(known: Ledger | None) -> pa.Array:
    """The accounts that are forecast: those with a term."""
    if known is None:
        return pa.array([], pa.string())
    terms = pc.is_in(known.events["kind"], pa.array(TERM_KINDS))
    return pc.unique(known.events["account_id"].filter(terms))


def forecast_of_part(job: Job, posterior: Posterior, ledger: Ledger) -> Forecast:
    plans, reliability = job.plans.value
    return forecast(posterior, ledger, **job.asked, plans=plans, reliability=reliability, threads=job.threads)


def without_failures(
    forecasting: Callable[[Ledger], Forecast], ledger: Ledger, accounts: pa.Array
) -> tuple[list[Forecast], list[Failure]]:
    """Forecasts of all accounts but those that fail, found by halving, and these.

    Settings have been tried on the driver before, so that what fails here is an account. Raises SparkError where more than
    `MOST_FAILURES` do, and what says nothing of accounts (`OF_THE_MACHINE`) as it is.
    """
    forecasts: list[Forecast] = []
    failures: list[Failure] = []
    waiting: list[tuple[Ledger, pa.Array]] = [(ledger, accounts)]
    while waiting:
        part, ids = waiting.pop()
        try:
            forecasts.append(forecasting(part))
        except OF_THE_MACHINE:
            raise
        except Exception as error:  # whatever an account's history makes of the kernel; it is told, with its account
            if len(ids) > 1:
                halves = (ids[: len(ids) // 2], ids[len(ids) // 2 :])
                waiting += [(of_accounts(part, half), half) for half in reversed(halves)]
                continue
            failures.append(Failure(ids[0].as_py(), type(error).__name__, str(error)))
            if len(failures) > MOST_FAILURES:
                raise SparkError(
                    f"more than {MOST_FAILURES} accounts of a part cannot be forecast, the last of them {ids[0].as_py()!r}: "
                    f"{type(error).__name__}: {error}"
                ) from error
    return forecasts, failures


def loaded(content: bytes) -> Posterior:
    """The posterior of a file's bytes; a worker keeps the last one for its next parts."""
    digest = sha256(content).hexdigest()
    if digest not in _KEPT:
        with TemporaryDirectory(prefix="clvforecast-") as folder:
            path = Path(folder) / "posterior.nc"
            path.write_bytes(content)
            found = load_posterior(path)
        _KEPT.clear()
        _KEPT[digest] = found
    return _KEPT[digest]


def account_rows(
    settings: ForecastSettings, ci_prob: float, ci_kind: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The account tables that rows hold, with this interval; NaN as null."""
    for n, body in bodies(batches):
        table, intervals = frames_of(body, n, 2)
        yield from account_table(table, intervals, settings, ci_prob, ci_kind).cast(schema).to_batches()


def account_table(
    table: pd.DataFrame, intervals: pd.DataFrame, settings: ForecastSettings, ci_prob: float, ci_kind: str
) -> pa.Table:
    """`Forecast.accounts` as an Arrow table."""
    return pa.Table.from_pandas(ranges_of(table, intervals, settings, ci_prob, ci_kind), preserve_index=False)


def _counts(ledger: PartLedger, posterior: Posterior, accounts: pa.Array, failures: list[Failure]) -> dict[str, Any]:
    """What a part adds to the counts of all, for JSON."""
    known = ledger.known
    said = {
        "totals": {part: _lines(totals) for part, totals in ledger.totals.items()},
        "accounts": len(accounts),
        "failed": len(failures),
        "latest": None if known is None else pc.max(known.events["event_date"]).as_py().isoformat(),
    }
    levels: list[tuple[str, str]] = []
    if known is not None:
        chosen = account_levels(known, pa.chunked_array([accounts]), posterior.frame.segments)
        levels = list(unseen_levels(chosen, posterior.frame))
    return {**said, "new_levels": levels}


def _lines(totals: Totals) -> list[tuple[str | None, int, int, int]]:
    return [
        (currency, money.rows, money.rows_with_amount, money.amount_cents)
        for currency, money in totals.by_currency.items()
    ]
