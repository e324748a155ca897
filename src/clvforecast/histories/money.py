"""When money is recognised, in whole cents, and what is booked and recognised to date.

The day of `as_of` is history: what is known at its end is known, and its service is served. The forecast
begins on the day after, ``origin = as_of + 1``.
"""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.histories.engine import Engine, values, with_columns

Longs = NDArray[np.int64]


def term_ends(start_day: Longs, months: Longs) -> Longs:
    """Day on which a term that starts on `start_day` (days since 1970-01-01) ends, that many months later.

    The same day of the month, or the month's last day where it is shorter (31 January + 1 month is 28 or 29
    February), as pandas' DateOffset and DuckDB's ``date + INTERVAL k MONTH``.
    """
    month = start_day.astype("datetime64[D]").astype("datetime64[M]")
    day_of_month = start_day - month.astype("datetime64[D]").astype(np.int64)
    end_month = month + months.astype("timedelta64[M]")
    first = end_month.astype("datetime64[D]").astype(np.int64)
    length = (end_month + np.timedelta64(1, "M")).astype("datetime64[D]").astype(np.int64) - first
    return np.asarray(first + np.minimum(day_of_month, length - 1), dtype=np.int64)


def recognised(cents: Longs, start_day: Longs, end_day: Longs, day: Longs | int) -> Longs:
    """Cents of each item recognised before `day` began, in exact integer arithmetic.

    C of [s, e) before day x:  round_half_even(C (x - s) / (e - s)),  x kept inside [s, e].
    An item with e <= s is recognised whole on day s.

    C = q (e - s) + r keeps the product inside 64 bits.
    """
    length = np.maximum(end_day - start_day, 1)
    served = np.clip(day - start_day, 0, length)
    quotient, rest = np.divmod(cents, length)
    whole, left = np.divmod(rest * served, length)
    floor = quotient * served + whole
    up = (2 * left > length) | ((2 * left == length) & (floor % 2 != 0))
    return np.where(end_day > start_day, floor + up, np.where(day > start_day, cents, 0)).astype(np.int64)


def recognise_items(items: pa.Table, origin_day: int) -> pa.Table:
    """Items with `recognised_cents`: what was served before the forecast begins."""
    done = recognised(values(items, "cents"), values(items, "start_day"), values(items, "end_day"), origin_day)
    return with_columns(items, recognised_cents=done)


def account_money(engine: Engine, items: pa.Table, accounts: pa.Table) -> pa.Table:
    """Booked and recognised cents of every account of the ledger; 0 where all its events are later."""
    sums: nw.LazyFrame[Any] = (
        engine.lazy(items)
        .group_by("account_id")
        .agg(nw.col("cents").sum().alias("booked_cents"), nw.col("recognised_cents").sum())
    )
    money = engine.lazy(accounts.select(["account_id"])).join(sums, on="account_id", how="left")
    whole = [nw.col(name).fill_null(0).cast(nw.Int64) for name in ("booked_cents", "recognised_cents")]
    return engine.collect(money.select("account_id", *whole), "account_id")
