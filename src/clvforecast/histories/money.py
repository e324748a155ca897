"""When money is recognised, in whole cents, and what is booked and recognised to date.

The day of `as_of` is history: what is known at its end is known, and its service is served. The forecast
begins on the day after, ``origin = as_of + 1``.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.histories.engine import values, with_columns

Longs = NDArray[np.int64]


def recognised(cents: Longs, start_day: Longs, end_day: Longs, day: Longs | int) -> Longs:
    """Cents of each item recognised before `day` began, in exact integer arithmetic.

    C of [s, e) before day x:  round_half_even(C (x - s) / (e - s)),  x kept inside [s, e].
    An item with e <= s is recognised whole on day s.

    C = q (e - s) + r keeps the product inside 64 bits.
    """
    cents, start_day, end_day, day = np.broadcast_arrays(cents, start_day, end_day, day)
    done = np.where(day >= np.maximum(end_day, start_day + 1), cents, 0).astype(np.int64)
    begun = np.flatnonzero((day > start_day) & (day < end_day))
    if len(begun):
        length, served = (end_day - start_day)[begun], (day - start_day)[begun]
        quotient, rest = np.divmod(cents[begun], length)
        whole, left = np.divmod(rest * served, length)
        floor = quotient * served + whole
        done[begun] = floor + ((2 * left > length) | ((2 * left == length) & (floor % 2 != 0)))
    return done


def recognise_items(items: pa.Table, origin_day: int) -> pa.Table:
    """Items with `recognised_cents`: what was served before the forecast begins."""
    done = recognised(values(items, "cents"), values(items, "start_day"), values(items, "end_day"), origin_day)
    return with_columns(items, recognised_cents=done)


def account_money(items: pa.Table, account: Longs, account_ids: pa.Array, accounts: pa.Table) -> pa.Table:
    """Booked and recognised cents of every account of the ledger; 0 where all its events are later.

    `account` is every item's place in `account_ids`.
    """
    known = accounts["account_id"].take(pc.sort_indices(accounts["account_id"]))
    place = pc.index_in(known, account_ids).fill_null(len(account_ids)).to_numpy()
    columns = {"account_id": known}
    for name, of_items in (("booked_cents", "cents"), ("recognised_cents", "recognised_cents")):
        sums = np.zeros(len(account_ids) + 1, dtype=np.int64)
        np.add.at(sums, account, values(items, of_items))
        columns[name] = pa.array(sums[place])
    return pa.table(columns)
