"""Tables of accounts: their levels and groups on the way into a forecast, and their ranges on the way out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.errors import ForecastError
from clvforecast.histories.lines import segment_columns
from clvforecast.intervals import check_interval
from clvforecast.ledger import Ledger
from clvforecast.reduction import ForecastSettings

if TYPE_CHECKING:
    from clvforecast.forecast import Forecast

TO_DATE = {"recognised": "clv_to_date", "booked": "booked_to_date", "cash": "paid_to_date"}
"""What an account has brought, counted as the forecast counts: what is to come goes on from there."""
COPIES_ON_WRITE = int(pd.__version__.split(".")[0]) >= 3
"""Whether what is written into a shallow copy of a table leaves the table as it is."""


def account_levels(ledger: Ledger, account_ids: pa.ChunkedArray, columns: Sequence[str]) -> pa.Table:
    """account_id and some columns of the accounts, in the order of these."""
    available = segment_columns(ledger.accounts)
    for name in columns:
        if name not in available:
            raise ForecastError(
                f"the accounts have no column {name!r}; they have {', '.join(available) or 'none'}. "
                "Give it in the accounts table of read_ledger."
            )
    rows = pc.index_in(account_ids, ledger.accounts["account_id"])
    return ledger.accounts.select(["account_id", *columns]).take(rows)


def group_columns(ledger: Ledger, account_ids: pa.ChunkedArray, columns: Sequence[str]) -> pd.DataFrame:
    """account_id and the group columns of every simulated account."""
    frame: pd.DataFrame = account_levels(ledger, account_ids, columns).to_pandas()
    return frame


def number_groups(accounts: pd.DataFrame, columns: list[str]) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Portfolio group of each account, and the groups: one row for each distinct combination of the columns."""
    if not columns:
        return np.zeros(len(accounts), dtype=np.int64), pd.DataFrame(index=pd.RangeIndex(1))
    grouped = accounts.groupby(columns, sort=True, dropna=False)
    groups = grouped.size().reset_index()[columns]
    return grouped.ngroup().to_numpy(dtype=np.int64), groups


def account_ranges(forecast: Forecast, ci_prob: float, ci_kind: str) -> pd.DataFrame:
    """See `Forecast.accounts`."""
    return ranges_of(forecast.table, forecast.intervals, forecast.settings, ci_prob, ci_kind)


def ranges_of(
    table: pd.DataFrame, intervals: pd.DataFrame, settings: ForecastSettings, ci_prob: float, ci_kind: str
) -> pd.DataFrame:
    """The columns of `Forecast.accounts` from a forecast's table and its intervals, of any of its accounts."""
    check_interval(ci_prob, ci_kind)
    key = f"{ci_kind}|{ci_prob}"
    if f"lower|{key}" not in intervals:
        raise ForecastError(
            f"ci_prob={ci_prob} was not kept; kept are {', '.join(map(str, settings.ci_probs))}. "
            f"Forecast again with ci_probs=({ci_prob}, ...)."
        )
    table = table.copy(deep=not COPIES_ON_WRITE)
    for prefix in ("discounted_", ""):
        at = table.columns.get_loc(f"{prefix}q95") + 1
        for offset, end in enumerate(("lower", "upper")):
            table.insert(at + offset, f"{prefix}{end}", intervals[f"{prefix}{end}|{key}"])
    at = table.columns.get_loc("upper") + 1
    to_date = table[TO_DATE[settings.timing]]
    extra = {
        "ci_prob": ci_prob,
        "ci_kind": ci_kind,
        "clv": to_date + table["mean"],
        "clv_lower": to_date + table["lower"],
        "clv_upper": to_date + table["upper"],
    }
    for offset, (name, column) in enumerate(extra.items()):
        table.insert(at + offset, name, column)
    return table
