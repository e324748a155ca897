"""Lines, (account_id, contract_id) with at least one term, and the line that every other event belongs to."""

from __future__ import annotations

import narwhals as nw
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.histories.engine import Engine, values, with_columns
from clvforecast.histories.money import term_ends
from clvforecast.ledger import Ledger

TERM_KINDS = ("initial", "renewal")
KEYS = ("account_id", "contract_id")


def event_days(engine: Engine, events: pa.Table) -> pa.Table:
    """The ledger's events ordered by event_id, with whole days: `day` (start of service), `booked_day`,
    `end_day`.

    `row` numbers them in that order and stands for the event_id from here on; `months` is 0 when not given.
    """
    columns = ("event_id", *KEYS, "kind", "amount_cents", "start_date", "event_date", "term_months")
    table = engine.collect(engine.lazy(events.select(columns)), "event_id")
    day, booked_day = _days(table["start_date"]), _days(table["event_date"])
    months = table["term_months"].cast(pa.int64()).combine_chunks().fill_null(0)
    return with_columns(
        table.drop_columns(["start_date", "event_date", "term_months"]),
        contract_id=table["contract_id"].combine_chunks().fill_null(""),
        row=np.arange(table.num_rows, dtype=np.int64),
        day=day,
        booked_day=booked_day,
        months=months,
        end_day=term_ends(day, months.to_numpy(zero_copy_only=False)),
    )


def _days(dates: pa.ChunkedArray) -> NDArray[np.int64]:
    """Days since 1970-01-01 of dates."""
    return dates.cast(pa.date32()).cast(pa.int32()).cast(pa.int64()).to_numpy()


def find_lines(engine: Engine, events: pa.Table) -> pa.Table:
    """line, account_id, contract_id, first_day: one row a line, ordered by account_id and contract_id."""
    terms = engine.lazy(events).filter(nw.col("kind").is_in(TERM_KINDS))
    lines = engine.collect(terms.group_by(*KEYS).agg(nw.col("day").min().alias("first_day")), KEYS)
    return with_columns(lines, line=np.arange(lines.num_rows, dtype=np.int64))


def place_events(engine: Engine, events: pa.Table, lines: pa.Table) -> pa.Table:
    """Events with their `line`; -1 where the account has no term at all yet.

    An event whose own (account_id, contract_id) has no term goes to the account's line with the earliest
    term that covers it, or else to the account's earliest line.
    """
    own = engine.lazy(events).join(engine.lazy(lines.select([*KEYS, "line"])), on=list(KEYS), how="left")
    placed = engine.collect(own, "row")
    astray = placed.filter(placed["line"].is_null())
    found = _adopting_lines(engine, astray, placed) if astray.num_rows else None
    line = placed["line"].combine_chunks().fill_null(-1).to_numpy(zero_copy_only=False).copy()
    if found is not None and found.num_rows:
        line[values(found, "row")] = values(found, "adopted")
    return with_columns(placed, line=line)


def _adopting_lines(engine: Engine, astray: pa.Table, placed: pa.Table) -> pa.Table:
    """row, adopted: the line that takes in an event whose own contract_id has no terms."""
    terms = engine.lazy(placed).filter(nw.col("kind").is_in(TERM_KINDS))
    spans = terms.select("account_id", term_line="line", term_start="day", term_end="end_day")
    pairs = engine.lazy(astray.select(["row", "account_id", "kind", "day"])).join(spans, on="account_id", how="inner")
    runs_to = nw.col("term_end") + nw.when(nw.col("kind") == "churn").then(1).otherwise(0)
    covers = (nw.col("term_start") <= nw.col("day")) & (nw.col("day") < runs_to)
    ranked = pairs.with_columns(apart=nw.when(covers).then(0).otherwise(1), one=nw.lit(1)).with_columns(
        rank=nw.col("one").cum_sum().over("row", order_by=["apart", "term_start", "term_line"])
    )
    return engine.collect(ranked.filter(nw.col("rank") == 1).select("row", adopted="term_line"), "row")


def segment_columns(accounts: pa.Table) -> tuple[str, ...]:
    """The columns of the accounts table that can be segments."""
    return tuple(name for name in accounts.column_names if name not in ("account_id", "observed_from"))


def describe_lines(engine: Engine, lines: pa.Table, ledger: Ledger) -> pa.Table:
    """Lines with segment columns, `account` (index of the sorted account_ids), observed_from and
    tenure_unknown.

    `observed_from` is told of an account; it holds for the lines that start on the account's first day. A
    line that starts later was seen from its start.
    """
    first = engine.lazy(lines).group_by("account_id").agg(nw.col("first_day").min().alias("account_first_day"))
    whole = engine.lazy(lines).join(first, on="account_id", how="left")
    told = {name: f"segment:{name}" for name in segment_columns(ledger.accounts)}
    whole = whole.join(engine.lazy(ledger.accounts).rename(told), on="account_id", how="left")
    seen_first = nw.col("first_day") == nw.col("account_first_day")
    given = nw.col("observed_from").cast(nw.Int64)
    unknown = given.is_null() & seen_first if ledger.has_observed_from else nw.lit(False)
    whole = whole.with_columns(
        tenure_unknown=unknown,
        observed_from=nw.when(seen_first).then(given.fill_null(0)).otherwise(0).cast(nw.Int32),
    )
    described = engine.collect(whole.drop("account_first_day"), "line")
    account_id = described["account_id"].combine_chunks().dictionary_encode()
    return with_columns(described, account=_codes_in_order(account_id))


def _codes_in_order(encoded: pa.DictionaryArray) -> NDArray[np.int64]:
    """0-based index of each value of a sorted column among its distinct values."""
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
