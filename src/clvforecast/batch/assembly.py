"""From the parts to the run's tables: totals are added, and everything is laid beside the accounts' files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from clvforecast.batch.parts import Failure, PartFiles, read_totals
from clvforecast.batch.schema import ACCOUNT_FAILURES, RUNS, TABLES
from clvforecast.batch.tables import RunKey, arr_rows, conformed, failure_rows, period_rows, retention_rows
from clvforecast.batch.watch import Check, check_rows
from clvforecast.durable import put_in_place
from clvforecast.forecast import Forecast
from clvforecast.pooled import added, forecast_of
from clvforecast.provenance import Provenance
from clvforecast.reduction import ForecastSettings

ONE_FILE = "part-00000.parquet"
ADDED_AT_A_TIME = 8
"""Parts whose totals are in memory."""
ASKED = ("draws", "horizon_months", "timing", "annual_discount_rate", "gross_margin", "seed")
"""Settings of the forecast that are columns of `runs`."""


@dataclass(frozen=True)
class About:
    """What a run's tables say of it: everything but the numbers."""

    key: RunKey
    settings: ForecastSettings
    columns: tuple[str, ...]
    currency: str
    provenance: Provenance
    warnings: tuple[str, ...]
    version: str


def portfolio_of(parts: Sequence[PartFiles], about: About) -> Forecast | None:
    """The forecast of all parts together, with totals alone; None where no account could be scored."""
    rows = added([])
    for first in range(0, len(parts), ADDED_AT_A_TIME):
        rows = added([rows, *(read_totals(part) for part in parts[first : first + ADDED_AT_A_TIME])])
    if not len(rows):
        return None
    return forecast_of(
        rows, about.settings, about.columns, about.key.as_of, about.currency, about.provenance, about.warnings
    )


def write_tables(
    folder: Path,
    portfolio: Forecast | None,
    failures: Sequence[Failure],
    n_accounts: int,
    checks: list[Check],
    about: About,
) -> None:
    """Every table but the accounts', which the parts have written, one file each in a folder of its name."""
    key = about.key
    found = {
        RUNS.name: run_row(about, n_accounts, len(failures)),
        ACCOUNT_FAILURES.name: failure_rows([failure._asdict() for failure in failures], key),
        "range_checks": check_rows(checks, key),
    }
    of_portfolio = {"period_ranges": period_rows, "arr_ranges": arr_rows, "retention_ranges": retention_rows}
    for name, rows in of_portfolio.items():
        found[name] = TABLES[name].arrow_schema.empty_table() if portfolio is None else rows(portfolio, key)
    for name, table in found.items():
        write_parquet(folder / name / ONE_FILE, table)


def write_parquet(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with put_in_place(path) as temporary:
        pq.write_table(table, temporary)


def run_row(about: About, n_accounts: int, n_failed: int) -> pa.Table:
    """The one row of `runs`."""
    row: dict[str, Any] = {
        "currency": about.currency,
        "accounts": n_accounts,
        "failed": n_failed,
        "ci_prob": about.key.ci_prob,
        "ci_kind": about.key.ci_kind,
        **{name: getattr(about.settings, name) for name in ASKED},
        "posterior": about.provenance.posterior,
        "ledger": about.provenance.ledger,
        "settings": about.settings.model_dump_json(exclude={"threads", "batch_accounts"}),
        "warnings": json.dumps(list(about.warnings), ensure_ascii=False),
        "version": about.version,
    }
    return conformed(pd.DataFrame([row]), RUNS, about.key)


def tables_in(folder_of: Callable[[str], Path]) -> dict[str, pa.RecordBatchReader]:
    """Readers of all tables of a run, for a sink; ``folder_of(name)`` is where its files are."""
    return {name: _batches(folder_of(name)) for name in TABLES}


def _batches(folder: Path) -> pa.RecordBatchReader:
    """The rows of a table's files one batch after the other, with the schema that all files share."""
    files = sorted(folder.glob("*.parquet"))
    schema = pq.read_schema(files[0])
    return pa.RecordBatchReader.from_batches(
        schema, (batch for file in files for batch in pq.ParquetFile(file).iter_batches())
    )
