"""Every event as an item of money with its service period; what a churn takes back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.histories.churns import TERMINATED
from clvforecast.histories.engine import is_text, values, with_columns
from clvforecast.histories.lines import Events, kind_names, of_kinds
from clvforecast.histories.money import recognised
from clvforecast.histories.runs import flat_ranges

Longs = NDArray[np.int64]


def item_table(placed: pa.Table, terms: pa.Table, amendments: pa.Table, churns: pa.Table) -> pa.Table:
    """line, kind, booked_day, start_day, end_day, cents, tied: one row an event, in the events' order.

    Terms run over [start, end); amendments to their term's end; change orders and referrals over
    term_months, or at once without; churns take back over [effective day, term's end). end_day <= start_day
    means: at once on start_day.
    """
    start_day, end_day = values(placed, "day").copy(), values(placed, "end_day").copy()
    amendment_places, churn_places = values(amendments, "place"), values(churns, "place")
    end_day[amendment_places] = values(terms, "end_day")[values(amendments, "term")]
    start_day[churn_places] = values(churns, "effective_day")
    end_day[churn_places] = values(terms, "end_day")[values(churns, "term")]
    cents = placed["amount_cents"].combine_chunks().fill_null(0).to_numpy(zero_copy_only=False).copy()
    cents[churn_places] = values(churns, "debooked_cents")
    return with_columns(
        placed.select(["line", "kind", "booked_day"]),
        start_day=start_day,
        end_day=np.maximum(end_day, start_day),
        cents=cents,
        tied=~of_kinds(placed, "change_order", "referral"),
    )


def named_items(items: pa.Table, events: Events) -> pa.Table:
    """The items with their texts."""
    account_id = events.account_ids.take(events.table["account"].combine_chunks())
    columns = {name: items[name] for name in items.column_names}
    columns["kind"] = kind_names(values(items, "kind"))
    return pa.table({"event_id": events.table["event_id"], "account_id": account_id, **columns})


def debookings(churns: pa.Table, terms: pa.Table, amendments: pa.Table) -> pa.Table:
    """Churns with remainder_cents (the term's unserved money at the effective day) and debooked_cents (0 or
    below).

    A churn without an amount takes back the whole remainder when it ends its term early; otherwise nothing.
    """
    term, effective_day = values(churns, "term"), values(churns, "effective_day")
    remainder = _unserved(terms, np.arange(terms.num_rows), values(terms, "start_day"), effective_day, term, terms)
    remainder += _unserved(
        amendments, values(amendments, "term"), values(amendments, "day"), effective_day, term, terms
    )
    given = churns["amount_cents"].combine_chunks()
    by_default = np.where(is_text(churns, "role", TERMINATED), -remainder, 0)
    stated = given.fill_null(0).to_numpy(zero_copy_only=False)
    debooked = np.where(given.is_null().to_numpy(zero_copy_only=False), by_default, stated)
    return with_columns(churns, remainder_cents=remainder, debooked_cents=debooked)


def _unserved(
    items: pa.Table, item_term: Longs, item_start: Longs, effective_day: Longs, term: Longs, terms: pa.Table
) -> Longs:
    """Cents unserved at each churn's effective day, of the items (ordered by term) of its term."""
    first, last = np.searchsorted(item_term, term), np.searchsorted(item_term, term, side="right")
    churn = np.repeat(np.arange(len(term)), last - first)
    item = flat_ranges(first, last - first)
    cents = values(items, "amount_cents")[item]
    end_day = values(terms, "end_day")[item_term[item]]
    left = cents - recognised(cents, item_start[item], end_day, effective_day[churn])
    unserved = np.zeros(len(term), dtype=np.int64)
    np.add.at(unserved, churn, left)
    return unserved
