"""Where rejected rows stand in their file, and their text there: to be found again, and mended."""

from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from clvforecast.events import REJECTED_SCHEMA
from clvforecast.ledger import scan
from clvforecast.ledger.csvs import TextFile
from clvforecast.ledger.duck import NUMBER
from clvforecast.ledger.scan import LONGEST_RECORD, WINDOW, Bytes, Longs, gather
from clvforecast.ledger.tables import RawTable
from clvforecast.sql import quoted

SHOWN = 1000  # bytes of a record that is too long


Tables = Sequence[tuple[RawTable, int]]
"""Tables that were read one after the other, each with the rows before its first."""


def originals(connection: duckdb.DuckDBPyConnection, tables: Tables, number: Longs) -> tuple[pa.Array, pa.ChunkedArray]:
    """(line, text) of rows by their running number: as in the file; of tables no line, and a JSON object of the values.

    Bytes that are no UTF-8 are shown as ``\\xff``, and of a record that is too long only its beginning.
    """
    wanted, places = np.unique(number, return_inverse=True)
    edges = np.searchsorted(wanted, [before + 1 for _, before in tables] + [np.iinfo(np.int64).max])
    found = [
        _in_files(raw, mine) if raw.files else _in_table(connection, raw, mine)
        for (raw, before), first, after in zip(tables, edges, edges[1:], strict=False)
        for mine in [wanted[first:after] - before]
    ]
    line = pa.concat_arrays([line for line, _ in found])
    text = pa.chunked_array([chunk for _, texts in found for chunk in texts.chunks], type=pa.string())
    if len(wanted) == len(number) and (places[1:] > places[:-1]).all():
        return line, text
    return line.take(pa.array(places)), text.take(pa.array(places))


def _in_table(connection: duckdb.DuckDBPyConnection, raw: RawTable, wanted: Longs) -> tuple[pa.Array, pa.ChunkedArray]:
    connection.register("wanted_rows", pa.table({"the row": wanted}))
    columns = ", ".join(f"{raw.name}.{quoted(name)}" for name in raw.columns)
    found = connection.sql(
        f"""
        SELECT CAST(to_json(shown) AS VARCHAR) AS text FROM (
            SELECT {NUMBER}, shown FROM (SELECT {NUMBER}, struct_pack({_fields(raw)}) AS shown
            FROM (SELECT {columns}, {NUMBER} FROM {raw.name} JOIN wanted_rows ON {NUMBER} = wanted_rows."the row")
        )) ORDER BY {NUMBER}
        """
    ).to_arrow_table()
    connection.unregister("wanted_rows")
    return pa.nulls(len(wanted), pa.int64()), found["text"]


def _fields(raw: RawTable) -> str:
    return ", ".join(f"{quoted(name)} := {quoted(name)}" for name in raw.columns)


def _in_files(raw: RawTable, wanted: Longs) -> tuple[pa.Array, pa.ChunkedArray]:
    edges = np.searchsorted(wanted, [file.rows_before + 1 for file in raw.files] + [np.iinfo(np.int64).max])
    lines: list[Longs] = [np.empty(0, dtype=np.int64)]
    texts: list[pa.Array] = []
    for file, first, after in zip(raw.files, edges, edges[1:], strict=False):
        if after > first:
            found = _found(file, wanted[first:after] - file.rows_before)
            lines.append(found[:, scan.LINE_OF])
            texts.extend(_texts(file, found[:, scan.START_OF], found[:, scan.END_OF]))
    return pa.array(np.concatenate(lines)), pa.chunked_array(texts, type=pa.string())


def _found(file: TextFile, row: Longs) -> Longs:
    """What a second scan finds of these rows."""
    found = file.scanned(row).found
    found = found[np.isin(found[:, scan.NUMBER_OF], row)]
    if len(found) != len(row):
        raise AssertionError(f"{file.source}: {len(row)} rows were asked for, and {len(found)} found")
    return found


def _texts(file: TextFile, first: Longs, after: Longs) -> Iterator[pa.Array]:
    """The texts of records, so many at once as lie in one window of the file."""
    after = np.where(after - first > LONGEST_RECORD, first + SHOWN, after)
    with file.text.path.open("rb") as opened:
        done = 0
        while done < len(first):
            upto = max(done + 1, int(np.searchsorted(after, first[done] + WINDOW, side="right")))
            begin = int(first[done])
            opened.seek(begin)
            data = np.frombuffer(opened.read(int(after[upto - 1]) - begin), dtype=np.uint8)
            yield _as_texts(data, first[done:upto] - begin, after[done:upto] - begin)
            done = upto


def _as_texts(data: Bytes, first: Longs, after: Longs) -> pa.Array:
    ends = np.append(0, np.cumsum(after - first))
    out = np.empty(ends[-1], dtype=np.uint8)
    gather(data, first, after, out)
    texts = pa.StringArray.from_buffers(len(first), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(out))
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:  # only some broken records are no UTF-8
        whole = out.tobytes()
        pairs = zip(ends.tolist(), ends[1:].tolist(), strict=False)
        texts = pa.array([whole[begin:end].decode(errors="backslashreplace") for begin, end in pairs], pa.string())
    return texts


def as_rejected(connection: duckdb.DuckDBPyConnection, tables: Tables, rejected: pa.Table) -> pa.Table:
    """Rejected rows with their running number, and the records that are broken, as `events.REJECTED_SCHEMA`, in order."""
    if broken := [_broken(raw, before) for raw, before in tables if raw.broken.num_rows]:
        rejected = pa.concat_tables([*broken, rejected], promote_options="default").sort_by(NUMBER)
    line, text = originals(connection, tables, rejected[NUMBER].to_numpy()) if rejected.num_rows else (None, None)
    rejected = rejected.append_column("line", line or pa.array([], pa.int64()))
    rejected = rejected.append_column("raw", text or pa.array([], pa.string()))
    return rejected.select(REJECTED_SCHEMA.names).cast(REJECTED_SCHEMA)


def _broken(raw: RawTable, before: int) -> pa.Table:
    number = pa.array(raw.broken[NUMBER].to_numpy() + before)
    return raw.broken.set_column(raw.broken.column_names.index(NUMBER), NUMBER, number)
