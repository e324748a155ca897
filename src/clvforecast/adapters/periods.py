"""Periods of prices become the events of contract terms."""

from __future__ import annotations

from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.adapters.timeline import KIND_NAMES, OPEN, Periods, booked, months_in_force
from clvforecast.adapters.typed import RULE_PLACES, refuse
from clvforecast.ledger.days import whole_days
from clvforecast.ledger.tables import NUMBER, counts

Longs = NDArray[np.int64]


def period_events(connection: duckdb.DuckDBPyConnection, shape: str, as_of: date) -> tuple[pa.Table, Longs]:
    """Events of periods of prices, and the row of the export that each comes from; rows without effect are set aside."""
    found = connection.sql(
        f"""
        SELECT {NUMBER} AS number, account_id, contract_id, currency, start_date, end_date, amount_cents, term_months,
               dense_rank() OVER (ORDER BY account_id, contract_id) - 1 AS line
        FROM typed WHERE rule IS NULL AND holds ORDER BY line, start_date, {NUMBER}
        """
    ).to_arrow_table()
    known_day = int(np.datetime64(as_of, "D").astype(np.int64))
    day = "start_date" if shape == "periods" else "event_date"
    connection.execute(  # also ends of what begins after as_of
        f"UPDATE typed SET rule = {RULE_PLACES['after_as_of', day]} WHERE rule IS NULL AND start_date > DATE '{as_of}'"
    )
    line, number = (found[name].to_numpy().astype(np.int64) for name in ("line", "number"))
    start = whole_days(found["start_date"])
    end = found["end_date"].cast(pa.int32()).cast(pa.int64()).fill_null(OPEN).to_numpy()
    apart, known = _apart(line, start, end), start <= known_day
    refuse(connection, "overlapping_period", "start_date", number[~apart & known])
    found = found.filter(pa.array(apart & known))
    kept = apart & known
    periods = Periods(
        line=line[kept],
        start=start[kept],
        end=end[kept],
        price=found["amount_cents"].to_numpy().astype(np.int64),
        months=found["term_months"].to_numpy().astype(np.int64),
        row=np.arange(found.num_rows),
    )
    events = booked(periods, known_day)
    silent = np.setdiff1d(periods.row, events.row)
    goes_on = months_in_force(periods, events)[silent] == periods.months[silent]
    for rule, rows in (("nothing_new", silent[goes_on]), ("inside_other_term", silent[~goes_on])):
        refuse(connection, rule, day, number[kept][rows])
    days = pa.array(events.day.astype(np.int32)).cast(pa.date32())
    of_rows = found.take(pa.array(events.row))
    of_number = of_rows["number"].to_numpy().astype(np.int64)
    table = pa.table(
        {
            "event_id": _event_ids(of_number),
            "account_id": of_rows["account_id"],
            "contract_id": of_rows["contract_id"],
            "event_date": days,
            "kind": pa.array(KIND_NAMES).take(pa.array(events.kind)),
            "amount": pa.array(events.amount / 100, mask=~events.has_amount),
            "currency": of_rows["currency"],
            "start_date": days,
            "term_months": pa.array(events.months.astype(np.int32), mask=events.months == 0),
        }
    )
    return table, of_number


def last_day_warning(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """A warning where most periods that follow one begin a day after its end: the ends are then last days."""
    following, next_day = counts(
        connection,
        f"""
        SELECT count(*) FILTER (WHERE gap >= 0), count(*) FILTER (WHERE gap = 1) FROM (
            SELECT start_date - lag(end_date) OVER (PARTITION BY account_id, contract_id ORDER BY start_date, {NUMBER}) AS gap
            FROM typed WHERE rule IS NULL
        )
        """,
    )
    if not next_day or 2 * next_day < following:
        return ()
    return (
        f"export: {next_day} of {following} periods begin a day after the end of the one before, which counts as a lapse of a "
        'day. If the ends are last days, say ends = "last day" in the mapping',
    )


def _apart(line: Longs, start: Longs, end: Longs) -> NDArray[np.bool_]:
    """Which periods, by line and start, overlap no earlier one that is kept."""
    kept = np.ones(len(line), dtype=bool)
    near = np.flatnonzero((line[1:] == line[:-1]) & (start[1:] < end[:-1]))
    if not len(near):
        return kept
    touched = np.flatnonzero(np.isin(line, line[near]))  # one after the other: who is refused lets the next one in
    last_line, until = -1, 0
    for row in touched.tolist():
        if line[row] != last_line:
            last_line, until = int(line[row]), int(end[row])
        elif start[row] < until:
            kept[row] = False
        else:
            until = int(end[row])
    return kept


def _event_ids(number: Longs) -> pa.Array:
    """``row.k``: the k-th event that a row of the export makes."""
    order = np.argsort(number, kind="stable")
    _, first, count = np.unique(number[order], return_index=True, return_counts=True)
    k = np.empty(len(number), dtype=np.int64)
    k[order] = np.arange(len(number)) - np.repeat(first, count) + 1
    return pc.binary_join_element_wise(pa.array(number).cast(pa.string()), pa.array(k).cast(pa.string()), ".")
