"""What is known on a day: the accepted events that can be used then, and the others with the reason."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.errors import LedgerError
from clvforecast.events import EVENT_SCHEMA
from clvforecast.ledger.checks import KIND_NAMES
from clvforecast.ledger.days import whole_days
from clvforecast.ledger.places import IN_ORDER, Places, misplaced
from clvforecast.ledger.tables import connect, quoted
from clvforecast.machine import available_threads

OWN_COLUMNS = frozenset((*EVENT_SCHEMA.names, "observed_from"))


def as_day(value: date | str, name: str) -> date:
    if isinstance(value, datetime):  # also pandas.Timestamp
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise LedgerError(f"{name} is {value!r}; give a datetime.date or a text like '2024-06-30'.") from error


def split(kept: pa.Table, as_of: date) -> tuple[pa.Table, pa.Table]:
    """(events, later): the accepted events, in canonical order, usable on `as_of`, and the others with the reason."""
    booked_day = whole_days(kept["event_date"])
    known = booked_day <= int(np.datetime64(as_of, "D").astype(np.int64))
    if known.all():  # then every row has the terms that it was accepted by
        usable, reason = known, pa.nulls(0, pa.string())
    else:
        usable = known & (misplaced(_places(kept, booked_day), known) == IN_ORDER)
        unknown = pa.array(~known[~usable])
        reason = pc.if_else(unknown, "booked after as_of", "its term is booked after as_of")
    if not usable.any():
        first, last = (day.as_py() for day in pc.min_max(kept["event_date"]).values())
        raise LedgerError(
            f"no event is booked by as_of {as_of}: the first is booked on {first}, the last on {last}. "
            "Choose a day from the first on."
        )
    events = kept if usable.all() else kept.filter(pa.array(usable))
    return events, kept.filter(pa.array(~usable)).append_column(pa.field("reason", pa.string()), reason)


def _places(kept: pa.Table, booked_day: NDArray[np.int64]) -> Places:
    contract = pc.index_in(kept["contract_id"], pa.concat_arrays([pa.array([""]), pc.unique(kept["contract_id"])]))
    return Places(
        account=_codes(kept["account_id"]),
        contract=contract.to_numpy().astype(np.int64),
        kind=pc.index_in(kept["kind"], pa.array(KIND_NAMES)).to_numpy().astype(np.int64),
        start_day=whole_days(kept["start_date"]),
        booked_day=booked_day,
        months=kept["term_months"].fill_null(0).to_numpy().astype(np.int64),
    )


def _codes(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """Number of each text of a sorted column among its distinct texts."""
    return np.cumsum(np.append(False, pc.not_equal(texts[1:], texts[:-1]).to_numpy()), dtype=np.int64)


def fingerprint_of(events: pa.Table, later: pa.Table, accounts: pa.Table, grace_days: int | None) -> str:
    """SHA-256 of the tables' content; as their rows have one order, it does not depend on that of the input."""
    found = sha256(f"grace {grace_days}".encode())
    with ThreadPoolExecutor(available_threads()) as pool:
        for name, table in (("events", events), ("later", later), ("accounts", accounts)):
            found.update(f"\n{name} {table.num_rows}".encode())
            texts = _extras_as_text(table)
            for column, digest in zip(table.column_names, pool.map(_content_digest, texts.columns), strict=True):
                found.update(f"\n{column}\n".encode() + digest)
    return found.hexdigest()


def _extras_as_text(table: pa.Table) -> pa.Table:
    """What is only carried along as text: a CSV file and a typed table of the same values are the same ledger."""
    extras = [
        name for name in table.column_names if name not in OWN_COLUMNS and not pa.types.is_string(table[name].type)
    ]
    if not extras:
        return table
    with connect() as connection:
        connection.register("extras", table.select(extras))
        texts = connection.sql(f"SELECT {', '.join(f'CAST({quoted(name)} AS VARCHAR)' for name in extras)} FROM extras")
        for name, values in zip(extras, texts.to_arrow_table().columns, strict=True):
            table = table.set_column(table.column_names.index(name), name, values)
    return table


def _content_digest(values: pa.ChunkedArray) -> bytes:
    """SHA-256 of which values there are, and of the values: what nulls hide does not count, nor how they are chunked."""
    found = sha256()
    if values.null_count:
        found.update(np.packbits(values.is_valid().to_numpy()).data)
    if pa.types.is_date32(values.type):
        values = values.cast(pa.int32())
    if pa.types.is_integer(values.type):
        for chunk in values.chunks:
            found.update(_filled(chunk, 0).to_numpy(zero_copy_only=False).data)
        return found.digest()
    for chunk in values.chunks:
        found.update(pc.binary_length(_filled(chunk, "")).to_numpy(zero_copy_only=False).astype(np.int64).data)
    for chunk in values.chunks:
        texts = _filled(chunk, "").cast(pa.large_string())
        ends = np.frombuffer(texts.buffers()[1], dtype=np.int64)[[texts.offset, texts.offset + len(texts)]]
        if ends[1] > ends[0]:
            found.update(memoryview(texts.buffers()[2])[ends[0] : ends[1]])
    return found.digest()


def _filled(values: pa.Array, instead: int | str) -> pa.Array:
    return values.fill_null(instead) if values.null_count else values
