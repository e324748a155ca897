"""Events as they were booked: by month and kind, how late, and what was accepted of what was read."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.events import KINDS
from clvforecast.ledger import Ledger
from clvforecast.ledger.days import whole_days
from clvforecast.ledger.months import bookings_by_day, empty_months
from clvforecast.ledger.tables import connect

KIND_ORDER = [kind.name for kind in KINDS]


def events_by_month(ledger: Ledger) -> pd.DataFrame:
    """month (first day, of booking), kind, rows, amount: one row a month and kind that has events."""
    return _in_kind_order(
        _queried(
            ledger,
            """
            SELECT CAST(date_trunc('month', event_date) AS DATE) AS month, kind, count(*) AS rows,
                   CAST(coalesce(sum(amount_cents), 0) AS DOUBLE) / 100 AS amount
            FROM events GROUP BY ALL
            """,
        ),
        "month",
    )


def bookings_by_kind(ledger: Ledger) -> pd.DataFrame:
    """year (of start), kind, rows, late (booked after the start), share_late, median_days, p90_days (start to booking)."""
    return _in_kind_order(
        _queried(
            ledger,
            """
            SELECT year(start_date) AS year, kind, count(*) AS rows, count(*) FILTER (WHERE event_date > start_date) AS late,
                   late / rows AS share_late, quantile_cont(event_date - start_date, 0.5) AS median_days,
                   quantile_cont(event_date - start_date, 0.9) AS p90_days
            FROM events GROUP BY ALL
            """,
        ),
        "year",
    )


def _queried(ledger: Ledger, query: str) -> pd.DataFrame:
    with connect() as connection:
        connection.register("events", ledger.events.select(["event_date", "start_date", "kind", "amount_cents"]))
        return connection.sql(query).to_arrow_table().to_pandas(date_as_object=False)


def _in_kind_order(table: pd.DataFrame, first: str) -> pd.DataFrame:
    place = table["kind"].map({name: place for place, name in enumerate(KIND_ORDER)})
    return table.assign(place=place).sort_values([first, "place"], ignore_index=True).drop(columns="place")


def months_without_events(ledger: Ledger) -> tuple[list[int], int]:
    """The months (counted from January 1970) that are gaps, and how many whole months to `as_of` have no event at all."""
    bookings = bookings_by_day(whole_days(ledger.events["event_date"]), ledger.as_of)
    return empty_months(bookings), int((bookings.by_month()[:-1] == 0).sum())


def quality(ledger: Ledger, counted: Iterable[tuple[str, str, int]]) -> pd.DataFrame:
    """part, what, rows, amount: where every row that was read went, and other counts."""
    rows = [
        *_sums("accepted", ledger.events, None),
        *_sums("later", ledger.later, "reason"),
        *_sums("rejected", ledger.rejected_rows, "rule"),
        *((part, what, n, float("nan")) for part, what, n in counted),
    ]
    return pd.DataFrame(rows, columns=["part", "what", "rows", "amount"])


def _sums(part: str, table: pa.Table, by: str | None) -> list[tuple[str, str, int, float]]:
    """Rows and money of a table by a column of texts, the most frequent first."""
    # in decimals: the sum of rejected cents may leave int64
    cents = table["amount_cents"].cast(pa.decimal128(38, 0))
    if by is None:
        return [(part, "", table.num_rows, float(pc.sum(cents).as_py() or 0) / 100)]
    groups = pa.table({by: table[by], "cents": cents}).group_by(by).aggregate([("cents", "sum"), ([], "count_all")])
    found = groups.sort_by([("count_all", "descending"), (by, "ascending")]).to_pylist()
    return [(part, row[by], row["count_all"], float(row["cents_sum"] or 0) / 100) for row in found]
