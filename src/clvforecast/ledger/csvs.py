"""CSV files into DuckDB, every value as text: no line vanishes, and broken records are kept beside the rows."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from clvforecast.errors import LedgerError
from clvforecast.events import BROKEN_RECORDS
from clvforecast.ledger import scan
from clvforecast.ledger.duck import NUMBER, ROW, SOURCE, check_names, make_sources, plain_name
from clvforecast.ledger.plain_text import SAY_ENCODING, PlainText, plain_text, scratch_file
from clvforecast.ledger.scan import LONGEST_RECORD, Longs, Scan, copy_sound, scan_file
from clvforecast.sql import literal, quoted

LARGEST_HEADER = 2**20  # bytes
DELIMITERS = ",;\t|"
INVISIBLE = re.compile("[\ufeff\u200b\u2060]")
FAULT_RULES = {
    scan.WRONG_FIELD_COUNT: "wrong_field_count",
    scan.BROKEN_QUOTES: "broken_quotes",
    scan.NOT_UTF8: "not_utf8",
    scan.NUL_BYTE: "nul_byte",
    scan.TOO_LONG: "record_too_long",
}
BROKEN_SCHEMA = pa.schema(
    [
        pa.field(NUMBER, pa.int64()),
        pa.field("source", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("value", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("hint", pa.string()),
    ]
)


@dataclass(frozen=True)
class TextFile:
    """A CSV file: its text, its columns' names, the sign between fields, and the byte after the header.

    rows_before: data rows of the files before it.
    """

    text: PlainText
    names: tuple[str, ...]
    delimiter: str
    header_end: int
    rows_before: int = 0

    @property
    def source(self) -> str:
        return self.text.source

    def scanned(self, wanted: Longs | None = None) -> Scan:
        return scan_file(self.text.path, self.delimiter, len(self.names), self.text.first, wanted)


def store_csv(
    connection: duckdb.DuckDBPyConnection, name: str, paths: Sequence[str], encoding: str | None
) -> tuple[tuple[TextFile, ...], pa.Table]:
    """Make table `name` of the files' sound records; the files, and their broken records (`BROKEN_SCHEMA`)."""
    opened = [text_file(plain_text(connection, path, encoding)) for path in paths]
    columns = _all_columns(opened)
    kind = make_sources(connection, name, paths)
    declared = ", ".join(f"{quoted(column)} VARCHAR" for column in columns.values())
    connection.execute(f"CREATE TABLE {name} ({declared}, {SOURCE} {kind}, {ROW} BIGINT, {NUMBER} BIGINT)")
    files, broken, rows_before = [], [BROKEN_SCHEMA.empty_table()], 0
    for file in opened:
        file = replace(file, rows_before=rows_before)
        scanned = file.scanned()
        _refuse_unusable(file, scanned)
        _store_file(connection, name, file, scanned, [columns[plain_name(column)] for column in file.names])
        files.append(file)
        broken.append(_broken_records(file, scanned))
        rows_before += scanned.records - 1
    return tuple(files), pa.concat_tables(broken)


def _all_columns(files: Sequence[TextFile]) -> dict[str, str]:
    """The columns of all files: name without regard to letter case or blanks -> name as it is first written."""
    columns: dict[str, str] = {}
    for file in files:
        for name in file.names:
            columns.setdefault(plain_name(name), name)
    return columns


# --- the header -----------------------------------------------------------------------------------------------------


def text_file(text: PlainText) -> TextFile:
    """A CSV file by its header."""
    with text.path.open("rb") as file:
        file.seek(text.first)
        head = file.read(LARGEST_HEADER)
    header = head[: _first_record(text.source, head)]
    try:
        written = header.decode()
    except UnicodeDecodeError as error:
        raise LedgerError(
            f"{text.source} line 1: byte 0x{header[error.start]:02x} is not UTF-8. {SAY_ENCODING}."
        ) from error
    if "\0" in written:
        raise LedgerError(f"{text.source} line 1: a NUL byte, as in UTF-16 without a byte order mark. {SAY_ENCODING}.")
    unquoted = re.sub('"[^"]*"', "", written)
    delimiter = max(DELIMITERS, key=unquoted.count)
    names = _names(text.source, written, delimiter)
    return TextFile(text, names, delimiter, text.first + len(header))


def _first_record(source: str, head: bytes) -> int:
    """Where the first record of these bytes ends."""
    in_quotes = False
    for found in re.finditer(rb'["\r\n]', head):
        if found.group() == b'"':
            in_quotes = not in_quotes
        elif not in_quotes:
            return found.start()
    if in_quotes or len(head) == LARGEST_HEADER:
        raise LedgerError(
            f"{source} line 1: the header does not end{' (a quote in it is not closed)' if in_quotes else ''}. Give the file a "
            f"first line of column names, of at most {LARGEST_HEADER:,} bytes."
        )
    return len(head)


def _names(source: str, header: str, delimiter: str) -> tuple[str, ...]:
    try:
        names = next(csv.reader(io.StringIO(header, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise LedgerError(f"{source} line 1: the header cannot be read ({error}). Write plain column names.") from error
    if not any(name.strip() for name in names):
        raise LedgerError(f"{source} line 1: the first line holds no column names. Add a header line.")
    check_names(names, source)
    for name in names:
        if INVISIBLE.search(name):
            raise LedgerError(
                f"{source} line 1: the column name {ascii(name)} holds a sign that cannot be seen (a second byte order "
                "mark, or a blank of no width). Write the name again."
            )
    return tuple(name if name.strip() else f"column{place}" for place, name in enumerate(names))


# --- records --------------------------------------------------------------------------------------------------------


def _refuse_unusable(file: TextFile, scanned: Scan) -> None:
    if scanned.open_quote:
        raise LedgerError(
            f"{file.source} line {scanned.open_quote}: a quote opens here and is not closed until the end of the file. Close it, "
            'or write a quote inside a text as "".'
        )
    if len(scanned.found) and scanned.found[0, scan.NUMBER_OF] == 0:
        rule = FAULT_RULES[int(scanned.found[0, scan.FAULT_OF])]
        raise LedgerError(f"{file.source} line 1: the header is broken ({rule}): {BROKEN_RECORDS[rule]}.")


def _store_file(
    connection: duckdb.DuckDBPyConnection, name: str, file: TextFile, scanned: Scan, columns: Sequence[str]
) -> None:
    """Put the sound records of a file into the table, with their rows; both must be as many as were found by the scan."""
    path, has_header = _readable_copy(connection, file, scanned)
    declared = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in columns)
    broken = scanned.found[:, scan.NUMBER_OF]
    shifted = f"SELECT lines.*, {NUMBER} AS {ROW} FROM lines"
    if len(broken):
        connection.register("sound_rows", _sound_rows(broken, scanned.records - 1))
        shifted = f"SELECT lines.*, {ROW} FROM lines JOIN sound_rows USING ({NUMBER})"
    names = ", ".join(map(quoted, columns))
    try:
        (stored,) = connection.execute(
            f"""
            INSERT INTO {name} ({names}, {SOURCE}, {ROW}, {NUMBER})
            WITH lines AS (
                SELECT {names}, row_number() OVER () AS {NUMBER}
                FROM read_csv({literal(str(path))}, auto_detect = false, columns = {{{declared}}}, header = {has_header},
                              delim = {literal(file.delimiter)}, quote = '"', escape = '"', comment = '', nullstr = '',
                              skip = 0, compression = 'none', hive_partitioning = false, null_padding = false,
                              ignore_errors = false, max_line_size = {LONGEST_RECORD + 2})
            )
            SELECT {names}, {literal(file.source)}, {ROW}, {ROW} + {file.rows_before} FROM ({shifted})
            """
        ).fetchall()[0]
    except duckdb.Error as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise LedgerError(
            f"{file.source}: not a readable CSV file ({' '.join(lines[:3])}). Save it again as CSV UTF-8."
        ) from error
    if stored + len(broken) != scanned.records - 1:
        raise LedgerError(
            f"{file.source}: of {scanned.records - 1} records {stored} were read and {len(broken)} are broken, which is not all "
            "of them. Check that the file does not change while it is read, and save it again as CSV UTF-8."
        )


def _sound_rows(broken: Longs, records: int) -> pa.Table:
    """The row of each sound record, by its place among them."""
    is_sound = np.ones(records + 1, dtype=bool)
    is_sound[0] = is_sound[broken] = False
    row = np.flatnonzero(is_sound)
    return pa.table({NUMBER: np.arange(1, len(row) + 1), ROW: row})


def _readable_copy(connection: duckdb.DuckDBPyConnection, file: TextFile, scanned: Scan) -> tuple[Path, bool]:
    """(path that DuckDB reads as it is, whether it has the header): the file, unless something in it would be lost."""
    lf, crlf, cr = scanned.ends
    one_kind = not cr and not (lf and crlf)
    blank_is_row = len(file.names) == 1 and scanned.blank
    if one_kind and not len(scanned.found) and not blank_is_row and not _is_long(file):
        return _without_pattern(connection, file.text.path), True
    holes = np.concatenate(([[0, file.header_end]], scanned.found[:, [scan.START_OF, scan.END_OF]]))
    target = scratch_file(connection)
    copy_sound(file.text.path, holes, target)
    return target, False


def _is_long(file: TextFile) -> bool:
    """Whether the header goes on over several lines."""
    return any("\n" in name or "\r" in name for name in file.names)


def _without_pattern(connection: duckdb.DuckDBPyConnection, path: Path) -> Path:
    """DuckDB takes every path for a pattern: a link for one that holds signs of patterns."""
    if not re.search(r"[*?\[\]]", str(path)):
        return path
    link = scratch_file(connection)
    link.unlink()
    link.symlink_to(path.resolve())
    return link


def _broken_records(file: TextFile, scanned: Scan) -> pa.Table:
    row = scanned.found[:, scan.NUMBER_OF]
    rules = [FAULT_RULES.get(fault, "") for fault in range(max(FAULT_RULES) + 1)]
    fault = pa.array(scanned.found[:, scan.FAULT_OF])
    return pa.table(
        {
            NUMBER: row + file.rows_before,
            "source": pa.repeat(file.source, len(row)),
            "row": row,
            "value": _values(scanned.found),
            "rule": pa.array(rules).take(fault),
            "hint": pa.array([BROKEN_RECORDS.get(rule, "") for rule in rules]).take(fault),
        },
        schema=BROKEN_SCHEMA,
    )


def _values(found: Longs) -> pa.Array:
    """Of broken records: the number of fields, the byte that is not UTF-8, the number of bytes of what is too long."""
    fault, detail = found[:, scan.FAULT_OF], found[:, scan.DETAIL_OF]
    texts = pa.array(detail).cast(pa.string()).to_numpy(zero_copy_only=False).astype(object)
    texts[fault == scan.BROKEN_QUOTES] = '"'
    texts[fault == scan.NUL_BYTE] = "0x00"
    bad = fault == scan.NOT_UTF8
    texts[bad] = np.array([f"0x{byte:02x}" for byte in range(256)], dtype=object)[detail[bad]]
    return pa.array(texts, pa.string())
