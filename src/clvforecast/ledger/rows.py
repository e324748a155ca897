"""The rows that break no rule alone: copies taken out, numbered, and in the canonical order of events.

Text is sorted and compared once, where accounts, contracts and ties get their numbers; all else is done on integers.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.events import EVENT_ORDER, EVENT_SCHEMA
from clvforecast.ledger.checks import KIND_NAMES, extra_columns
from clvforecast.ledger.days import whole_days
from clvforecast.ledger.duck import another
from clvforecast.ledger.places import FIRST, IN_ORDER, RULE_CODES, Places, misplaced
from clvforecast.ledger.tables import NUMBER, ROWS_AT_ONCE, RawTable, connect, counts, quoted
from clvforecast.ledger.texts import Texts
from clvforecast.machine import available_threads

Longs = NDArray[np.int64]

ROWS_EACH = 2**19
"""Rows that are put in order at a time, about: arrays of theirs stay in the heap."""
LARGEST_ARRAY = 2**31  # bytes
DATE_BITS = 17  # of a day between FIRST_DAY and LAST_DAY


@dataclass(frozen=True)
class Placed:
    """The rows of a range of accounts, in the canonical order of events.

    number: the raw rows that are accepted; events: these, but for their currency; accounts: places of theirs among all.
    misplaced: number and rule of the others, which do not lie where their kind may lie.
    """

    number: Longs
    events: pa.Table
    accounts: Longs
    misplaced: pa.Table


@dataclass(frozen=True)
class Unbroken:
    """The rows that break no rule alone, some accounts at a time, in order."""

    parts: list[Placed]
    accounts: pa.Array

    @property
    def any_accepted(self) -> bool:
        return any(len(part.number) for part in self.parts)

    def account_ids(self) -> pa.Array:
        """The accounts with an accepted row, in order."""
        return self.accounts.take(pa.array(np.concatenate([part.accounts for part in self.parts])))


def reject_copies(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> None:
    """Make the table `refused` (row number, rule) with the rows whose event_id was booked before.

    Of several rows with one event_id the one booked first counts (ties: start, kind, amount, term, contract, and at last
    the order of the input), so that neither the order of the input nor a later copy changes what was known on a day.
    Texts are only compared where their hashes are equal.
    """
    connection.execute(f"CREATE TABLE refused ({NUMBER} BIGINT, rule UTINYINT)")
    if "event_id" not in raw.columns:
        return
    hashes = connection.sql("SELECT hash(event_id) AS hash FROM parsed WHERE rule IS NULL").fetchnumpy()["hash"]
    hashes.sort()
    repeated = hashes[1:][hashes[1:] == hashes[:-1]]
    if not len(repeated):
        return
    connection.register("repeated", pa.table({"hash": repeated}))
    connection.execute(
        f"""
        INSERT INTO refused
        SELECT {NUMBER}, {RULE_CODES["duplicate_event"]}
        FROM (SELECT * FROM parsed WHERE rule IS NULL AND hash(event_id) IN (SELECT hash FROM repeated))
        QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY event_date, account, start_date,
                                   {list(KIND_NAMES)}[kind + 1], amount_cents, currency, term_months, contract,
                                   {NUMBER}) > 1
        """
    )


def unbroken_rows(connection: duckdb.DuckDBPyConnection, texts: Texts) -> Unbroken:
    """The rows of table `parsed` that break no rule and are not in `refused`; which of them are misplaced."""
    connection.execute(
        f"CREATE VIEW unbroken AS SELECT * FROM parsed ANTI JOIN refused USING ({NUMBER}) WHERE parsed.rule IS NULL"
    )
    (n_rows,) = counts(connection, "SELECT count(*) FROM unbroken")
    edges = np.linspace(0, len(texts.accounts), 2 + n_rows // ROWS_EACH).astype(np.int64).tolist()
    with ThreadPoolExecutor(available_threads()) as pool:
        parts = list(pool.map(lambda edge: _placed(another(connection), texts, *edge), pairwise(edges)))
    return Unbroken(parts, texts.accounts)


def _placed(connection: duckdb.DuckDBPyConnection, texts: Texts, first_account: int, next_account: int) -> Placed:
    """The rows of view `unbroken` of some accounts."""
    found = connection.sql(
        f"""
        SELECT {NUMBER}, event_id, amount_cents, term_months, event_date, start_date, kind, account, contract FROM unbroken
        WHERE account >= {first_account} AND account < {next_account}
        """
    ).to_arrow_table()
    start_day, booked_day = whole_days(found["start_date"]), whole_days(found["event_date"])
    account = found["account"].to_numpy().astype(np.int64)
    order = canonical_order(connection, account, start_day, booked_day, found["event_id"])
    places = Places(
        account=account[order],
        contract=found["contract"].to_numpy().astype(np.int64)[order],
        kind=found["kind"].to_numpy()[order].astype(np.int64),
        start_day=start_day[order],
        booked_day=booked_day[order],
        months=found["term_months"].fill_null(0).to_numpy().astype(np.int64)[order],
    )
    rule = misplaced(places, np.ones(len(order), dtype=bool))
    number = found[NUMBER].to_numpy()[order]
    kept = np.flatnonzero(rule == IN_ORDER)
    wrong = rule != IN_ORDER
    own = {name: taken(found[name], order[kept]) for name in ("event_id", "amount_cents", "term_months")}
    return Placed(
        number=number[kept],
        events=_events(own, places, kept, texts),
        accounts=np.unique(places.account[kept]),
        misplaced=pa.table({"number": number[wrong], "rule": rule[wrong]}),
    )


def _events(own: dict[str, pa.ChunkedArray], places: Places, kept: Longs, texts: Texts) -> pa.Table:
    """Rows as events, but for their currency; `own` are the columns that stay as they are read."""
    days = {
        name: pa.array(day[kept].astype(np.int32)).cast(pa.date32())
        for name, day in (("event_date", places.booked_day), ("start_date", places.start_day))
    }
    columns = {
        **own,
        **days,
        "account_id": taken(texts.accounts, places.account[kept]),
        "contract_id": taken(texts.contracts, places.contract[kept]),
        "kind": taken(pa.array(KIND_NAMES), places.kind[kept]),
    }
    fields = [field for field in EVENT_SCHEMA if field.name != "currency"]
    return pa.table({field.name: columns[field.name] for field in fields}, schema=pa.schema(fields))


def canonical_order(
    connection: duckdb.DuckDBPyConnection,
    account: Longs,
    start_day: Longs,
    booked_day: Longs,
    event_id: pa.ChunkedArray,
) -> Longs:
    """Positions of the rows in `events.EVENT_ORDER`; event_ids are only looked at where the rest is equal."""
    key = (account << 2 * DATE_BITS) | ((start_day - FIRST) << DATE_BITS) | (booked_day - FIRST)
    order = np.argsort(key)
    equal = np.diff(key[order]) == 0
    tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal)) if len(key) else order
    if len(tied):
        rows = order[tied]
        connection.register("tied", pa.table({"key": key[rows], "event_id": taken(event_id, rows), "row": rows}))
        order[tied] = connection.sql("SELECT row FROM tied ORDER BY key, event_id, row").fetchnumpy()["row"]
        connection.unregister("tied")
    return order


def taken(column: pa.ChunkedArray | pa.Array, positions: Longs) -> pa.ChunkedArray:
    """The values at these positions; text beyond two gigabytes, which one Arrow array cannot hold, in several."""
    large = pa.types.is_string(column.type) and _text_bytes(column, len(positions)) > LARGEST_ARRAY
    whole = column.cast(pa.large_string()) if large else column
    whole = whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole
    if not large:
        return pa.chunked_array([whole.take(pa.array(positions))], type=column.type)
    parts = [positions[first : first + ROWS_AT_ONCE] for first in range(0, len(positions), ROWS_AT_ONCE)]
    return pa.chunked_array([whole.take(pa.array(part)).cast(column.type) for part in parts], type=column.type)


def _text_bytes(column: pa.ChunkedArray | pa.Array, n: int) -> int:
    """No fewer than a text column, or `n` values taken from it, can have."""
    longest = pc.max(pc.binary_length(column)).as_py() or 0
    return max(column.nbytes, longest * n)


def reject_misplaced(connection: duckdb.DuckDBPyConnection, unbroken: Unbroken) -> None:
    """Put the rows that have no place among the terms into the table `refused`."""
    connection.register("misplaced", pa.concat_tables([part.misplaced for part in unbroken.parts]))
    connection.execute("INSERT INTO refused SELECT number, rule FROM misplaced")
    connection.unregister("misplaced")


def event_table(connection: duckdb.DuckDBPyConnection, raw: RawTable, unbroken: Unbroken, currency: str) -> pa.Table:
    """The accepted rows as events (`events.EVENT_SCHEMA`), with the extra columns of the input."""
    own = pa.concat_tables([part.events for part in unbroken.parts])
    repeated = pa.chunked_array([pa.repeat(currency, len(part.number)) for part in unbroken.parts])
    own = own.append_column("currency", repeated).select(EVENT_SCHEMA.names)
    extras = _extra_values(connection, raw, np.concatenate([part.number for part in unbroken.parts]))
    return pa.table([*own.columns, *extras.columns], schema=pa.schema([*EVENT_SCHEMA, *extras.schema]))


def _extra_values(connection: duckdb.DuckDBPyConnection, raw: RawTable, number: Longs) -> pa.Table:
    """What the raw rows of these numbers carry along, as it came."""
    extras = extra_columns(raw)
    if not extras:
        return pa.table({})
    connection.register("wanted", pa.table({NUMBER: number, "__place": np.arange(len(number))}))
    columns = ", ".join(f"raw.{quoted(name)}" for name in extras)
    found = connection.sql(
        f"SELECT {columns} FROM {raw.name} AS raw JOIN wanted USING ({NUMBER}) ORDER BY wanted.__place"
    ).to_arrow_table()
    connection.unregister("wanted")
    return found


def is_in_order(events: pa.Table) -> bool:
    """Whether events are in canonical order."""
    if events.num_rows < 2:
        return True
    before, after = events.slice(0, events.num_rows - 1), events.slice(1)
    rises, equal = np.zeros(before.num_rows, dtype=bool), np.ones(before.num_rows, dtype=bool)
    for name in EVENT_ORDER:
        rows = np.flatnonzero(equal & ~rises)
        a, b = (part[name] if len(rows) == len(equal) else part[name].take(pa.array(rows)) for part in (before, after))
        rises[rows] = pc.less(a, b).to_numpy()
        equal[rows] = pc.equal(a, b).to_numpy()
    return bool((rises | equal).all())


def in_order(events: pa.Table) -> pa.Table:
    """Events in canonical order."""
    accounts = pc.unique(events["account_id"])
    account = pc.index_in(events["account_id"], accounts.take(pc.sort_indices(accounts))).to_numpy().astype(np.int64)
    start_day, booked_day = whole_days(events["start_date"]), whole_days(events["event_date"])
    with connect() as connection:
        order = canonical_order(connection, account, start_day, booked_day, events["event_id"])
    return pa.table([taken(column, order) for column in events.columns], schema=events.schema)
