"""Text files of any supported packing and encoding as plain UTF-8 on disk, or a refusal that says what to do."""

import codecs
import gzip
import os
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import duckdb

from clvforecast.errors import LedgerError
from clvforecast.ledger.duck import counts

CHUNK = 2**20
LARGEST_EXPANSION = 200
"""A gzip file may expand to this many times its size (text rarely beyond 20), and always to `ALWAYS_EXPANDED` bytes."""
ALWAYS_EXPANDED = 256 * 2**20
# What a file that is named as text may be instead: its first bytes, and what to do.
FOREIGN = (
    (b"\x1f\x8b", "a gzip file. Give it a name that ends in .csv.gz"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook. Unpack it, or save its sheet as CSV UTF-8"),
    (b"PAR1", "a Parquet file. Give it a name that ends in .parquet"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook. Save its sheet as CSV UTF-8"),
)
SAY_ENCODING = "Save it as CSV UTF-8, or say in which encoding it is written (encoding = 'cp1252', 'utf-16', ...)"


@dataclass(frozen=True)
class PlainText:
    """A file as it was named, the UTF-8 text on disk that holds its content, and where that begins (after a byte order mark)."""

    source: str
    path: Path
    first: int


def check_regular(path: str) -> None:
    """Refuse folders, pipes and devices, which may never end, and what cannot be opened."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise LedgerError(f"{path}: cannot be opened ({error}). Check the path and its links.") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise LedgerError(f"{path}: {kind}, not a file. Name a file, or several by a pattern as in 'folder/*.csv'.")


def plain_text(connection: duckdb.DuckDBPyConnection, source: str, encoding: str | None) -> PlainText:
    """The text of a file; unpacked and transcoded into the folder of `connection` where it must be.

    Without `encoding` it is UTF-8, or UTF-16 where a byte order mark says so.

    Raises
    ------
    LedgerError
        The file is none of a kind that can be read, damaged, or not written in that encoding.
    """
    check_regular(source)
    path = Path(source)
    with _readable(source):
        if source.lower().endswith(".gz"):
            path = _expanded(connection, source)
        head = _head(path)
        _refuse_foreign(source, head)
        written = _encoding(source, head, encoding)
        if written is not None:
            return PlainText(source, _transcoded(connection, source, path, written), 0)
    return PlainText(source, path, len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0)


def scratch_file(connection: duckdb.DuckDBPyConnection) -> Path:
    """A new file that lasts as long as the connection."""
    (folder,) = counts(connection, "SELECT current_setting('temp_directory')")
    handle, name = tempfile.mkstemp(suffix=".csv", dir=folder)
    os.close(handle)
    return Path(name)


@contextmanager
def _readable(source: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise LedgerError(
            f"{source}: not a readable file ({error}). Check that you may read it and that it is whole; export it again."
        ) from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _refuse_foreign(source: str, head: bytes) -> None:
    for magic, what in FOREIGN:
        if head.startswith(magic):
            raise LedgerError(f"{source}: this is {what}.")


# --- gzip -----------------------------------------------------------------------------------------------------------


def _expanded(connection: duckdb.DuckDBPyConnection, source: str) -> Path:
    """The content of a gzip file, which may not grow beyond all reason."""
    most = max(ALWAYS_EXPANDED, LARGEST_EXPANSION * os.path.getsize(source))
    target, size = scratch_file(connection), 0
    with gzip.open(source, "rb") as packed, target.open("wb") as file:
        while chunk := packed.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise LedgerError(
                    f"{source}: it expands to more than {most:,} bytes, over {LARGEST_EXPANSION} times its size; no table does. "
                    "Check where it comes from, and unpack it by hand if it is sound."
                )
            file.write(chunk)
    return target


# --- encodings ------------------------------------------------------------------------------------------------------


def _encoding(source: str, head: bytes, named: str | None) -> str | None:
    """The encoding to be read, None for UTF-8."""
    if named is not None:
        return _known_encoding(named)
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise LedgerError(f"{source} line 1: written in UTF-32. Save it as CSV UTF-8, or say encoding = 'utf-32'.")
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None


def _known_encoding(named: str) -> str | None:
    try:
        name = codecs.lookup(named).name
        "".encode(name)  # not every codec is one of text
    except (LookupError, ValueError) as error:
        raise LedgerError(f"encoding is {named!r}, which is not known. Name one as in 'cp1252' or 'utf-16'.") from error
    return None if name in ("utf-8", "utf-8-sig", "ascii") else name


def _transcoded(connection: duckdb.DuckDBPyConnection, source: str, path: Path, encoding: str) -> Path:
    target = scratch_file(connection)
    with path.open("rb") as packed, target.open("wb") as file:
        for text in _decoded(packed, source, encoding):
            file.write(text.encode())
    return target


def _decoded(file: BinaryIO, source: str, encoding: str) -> Iterator[str]:
    """The text of a file without a byte order mark, a piece at a time."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines, begins, ends = 1, True, False
    while not ends:
        data = file.read(CHUNK)
        ends = not data
        try:
            text = decoder.decode(data, final=ends)
        except UnicodeDecodeError as error:
            line = lines + _line_ends(error.object[: error.start].decode(encoding, errors="ignore"))
            bad = error.object[error.start : error.start + 1].hex()
            raise LedgerError(
                f"{source} line {line}: byte 0x{bad} cannot be read as {encoding} ({error.reason}). {SAY_ENCODING}."
            ) from error
        lines += _line_ends(text)
        if begins and text:
            text, begins = text.removeprefix("\ufeff"), False
        yield text


def _line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")
