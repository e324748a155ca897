"""The rows that break no rule alone: copies taken out, numbered, and in the canonical order of events.

Text is sorted and compared once, where accounts, contracts and ties get their numbers; all else is done on integers.
"""

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.events import EVENT_ORDER, EVENT_SCHEMA
from clvforecast.ledger.checks import KIND_NAMES, extra_columns
from clvforecast.ledger.days import whole_days
from clvforecast.ledger.places import FIRST, IN_ORDER, RULE_CODES, Places, misplaced
from clvforecast.ledger.tables import NUMBER, ROWS_AT_ONCE, RawTable, connect, quoted

Longs = NDArray[np.int64]

LARGEST_ARRAY = 2**31  # bytes
DATE_BITS = 17  # of a day between FIRST_DAY and LAST_DAY


@dataclass(frozen=True)
class Rows:
    """Rows in the canonical order of events, R of them.

    number: the raw row; table: event_id, amount_cents and term_months; places: the rest as integers; accounts and
    contracts: the text of every number.
    """

    number: Longs
    table: pa.Table
    places: Places
    accounts: pa.Array
    contracts: pa.Array

    def account_ids(self, accepted: NDArray[np.bool_]) -> pa.Array:
        """The accounts with an accepted row, in order."""
        seen = np.zeros(len(self.accounts), dtype=bool)
        seen[self.places.account[accepted]] = True
        return self.accounts.filter(pa.array(seen))


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
        QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY event_date, account_id, start_date,
                                   {list(KIND_NAMES)}[kind + 1], amount_cents, currency, term_months, contract_id,
                                   {NUMBER}) > 1
        """
    )


def unbroken_rows(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> Rows:
    """The rows of table `parsed` that break no rule and are not in `refused`."""
    connection.execute(
        f"CREATE VIEW unbroken AS SELECT * FROM parsed ANTI JOIN refused USING ({NUMBER}) WHERE parsed.rule IS NULL"
    )
    has_contracts = "contract_id" in raw.columns
    names = [
        _number_texts(connection, column) for column in ("account_id", *(["contract_id"] if has_contracts else []))
    ]
    joined = "".join(
        f" JOIN numbered_{column} USING ({column})" for column in ("account_id", "contract_id")[: len(names)]
    )
    found = connection.sql(
        f"""
        SELECT {NUMBER}, event_id, amount_cents, term_months, event_date, start_date, kind, account_id_number AS account,
               {"contract_id_number" if has_contracts else "0"} AS contract
        FROM unbroken{joined}
        """
    ).to_arrow_table()
    start_day, booked_day = whole_days(found["start_date"]), whole_days(found["event_date"])
    account = found["account"].to_numpy().astype(np.int64)
    order = canonical_order(connection, account, start_day, booked_day, found["event_id"])
    table = pa.table({name: taken(found[name], order) for name in ("event_id", "amount_cents", "term_months")})
    places = Places(
        account=account[order],
        contract=found["contract"].to_numpy().astype(np.int64)[order],
        kind=found["kind"].to_numpy()[order].astype(np.int64),
        start_day=start_day[order],
        booked_day=booked_day[order],
        months=found["term_months"].fill_null(0).to_numpy().astype(np.int64)[order],
    )
    contracts = names[1] if has_contracts else pa.array([""])
    return Rows(found[NUMBER].to_numpy()[order], table, places, names[0], contracts)


def _number_texts(connection: duckdb.DuckDBPyConnection, column: str) -> pa.Array:
    """The distinct texts of a column of `unbroken` in order, numbered in a table; of contracts, none ('') is number 0."""
    connection.execute(
        f"""
        CREATE TABLE numbered_{column} AS
        SELECT {column}, CAST(row_number() OVER (ORDER BY {column}) - 1 AS INTEGER) AS {column}_number
        FROM (SELECT DISTINCT {column} FROM unbroken {"UNION SELECT ''" if column == "contract_id" else ""})
        """
    )
    texts = connection.sql(f"SELECT {column} FROM numbered_{column} ORDER BY {column}_number").to_arrow_table()
    return texts[column].combine_chunks()


def canonical_order(
    connection: duckdb.DuckDBPyConnection,
    account: Longs,
    start_day: Longs,
    booked_day: Longs,
    event_id: pa.ChunkedArray,
) -> Longs:
    """Positions of the rows in `events.EVENT_ORDER`; event_ids are only looked at where the rest is equal."""
    key = (account << 2 * DATE_BITS) | ((start_day - FIRST) << DATE_BITS) | (booked_day - FIRST)
    order = np.argsort(key, kind="stable")
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


def reject_misplaced(connection: duckdb.DuckDBPyConnection, rows: Rows) -> NDArray[np.bool_]:
    """Which rows are accepted; the others, by the place they have among the terms, go to the table `refused`."""
    rule = misplaced(rows.places, np.ones(len(rows.number), dtype=bool))
    accepted = rule == IN_ORDER
    connection.register("misplaced", pa.table({"number": rows.number[~accepted], "rule": rule[~accepted]}))
    connection.execute("INSERT INTO refused SELECT number, rule FROM misplaced")
    connection.unregister("misplaced")
    return accepted


def event_table(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, rows: Rows, accepted: NDArray[np.bool_], currency: str
) -> pa.Table:
    """The accepted rows as events (`events.EVENT_SCHEMA`), with the extra columns of the input."""
    kept = np.flatnonzero(accepted)
    of_rows = rows.table if accepted.all() else rows.table.filter(pa.array(accepted))
    places = rows.places
    days = {
        name: pa.array(day[kept].astype(np.int32)).cast(pa.date32())
        for name, day in (("event_date", places.booked_day), ("start_date", places.start_day))
    }
    columns = {
        "event_id": of_rows["event_id"],
        "account_id": taken(rows.accounts, places.account[kept]),
        "contract_id": taken(rows.contracts, places.contract[kept]),
        "event_date": days["event_date"],
        "kind": taken(pa.array(KIND_NAMES), places.kind[kept]),
        "amount_cents": of_rows["amount_cents"],
        "currency": taken(pa.array([currency]), np.zeros(len(kept), dtype=np.int64)),
        "start_date": days["start_date"],
        "term_months": of_rows["term_months"],
    }
    own = pa.table(columns, schema=EVENT_SCHEMA)
    extras = _extra_values(connection, raw, rows.number[kept])
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
