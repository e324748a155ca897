"""The records of a CSV file, found byte by byte: how many there are, where each begins, and which are broken.

This is the second opinion on what DuckDB reads: it knows nothing of it, and both must come to the same number.
A field is quoted when it begins with a quote (RFC 4180); a quote anywhere else breaks the record.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numba as nb
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Longs = NDArray[np.int64]

WINDOW = 2**24  # bytes read at once
LONGEST_RECORD = 2**24  # bytes; also DuckDB's max_line_size
FOUND_AT_ONCE = 2**16

# Classes of bytes.
PLAIN, DELIMITER, QUOTE, CARRIAGE_RETURN, LINE_FEED, NUL, HIGH = range(7)
# Where in a field.
BEGINS, UNQUOTED, QUOTED, CLOSED = range(4)
# What breaks a record; of several the largest.
SOUND, WRONG_FIELD_COUNT, BROKEN_QUOTES, NOT_UTF8, NUL_BYTE, TOO_LONG = range(6)
# Places in the state that one window hands to the next.
(MODE, DELIMITERS, START, LINE, RECORD_LINE, RECORDS, FAULT, DETAIL, AFTER_CR, NEED, LOW, TOP, QUOTE_LINE, LF, CRLF, CR,
 BLANK, WANTED, WIDTH) = range(19)  # fmt: skip
# Columns of what is found.
NUMBER_OF, START_OF, END_OF, LINE_OF, FAULT_OF, DETAIL_OF = range(6)


@dataclass(frozen=True)
class Scan:
    """What a file holds.

    records: number of records, with the header. found: (n, 6) their number (0 is the header), first byte, byte after the last,
    line, what breaks them, and of that the detail; of those that are broken, or asked for. open_quote: line of a quote that is
    never closed, or 0. ends: how many line ends are LF, CRLF and CR. blank: lines without a byte, which are no records.
    """

    records: int
    found: Longs
    open_quote: int
    ends: tuple[int, int, int]
    blank: int


def windows(path: Path, first: int = 0) -> Iterator[tuple[int, Bytes]]:
    """(offset, bytes) of a file from a byte on, a window at a time."""
    with path.open("rb") as file:
        file.seek(first)
        while len(data := np.frombuffer(file.read(WINDOW), dtype=np.uint8)):
            yield first, data
            first += len(data)


def scan_file(path: Path, delimiter: str, width: int, first: int, wanted: Longs | None = None) -> Scan:
    """The records of a file whose header begins at byte `first` and has `width` fields; `wanted` are numbers, increasing."""
    classes = np.zeros(256, dtype=np.uint8)
    classes[128:] = HIGH
    for sign, its_class in (
        (delimiter, DELIMITER),
        ('"', QUOTE),
        ("\r", CARRIAGE_RETURN),
        ("\n", LINE_FEED),
        ("\0", NUL),
    ):
        classes[ord(sign)] = its_class
    asked = np.empty(0, dtype=np.int64) if wanted is None else wanted
    state = np.zeros(WIDTH + 1, dtype=np.int64)
    state[[START, LINE, RECORD_LINE, WIDTH]] = first, 1, 1, width
    parts, found = [], np.empty((FOUND_AT_ONCE, 6), dtype=np.int64)
    size = first
    for offset, data in windows(path, first):
        done, size = 0, offset + len(data)
        while done < len(data):
            done, n = scan_bytes(data, done, offset, state, classes, asked, found)
            parts.append(found[:n].copy())
    open_quote = int(state[QUOTE_LINE]) if state[MODE] == QUOTED else 0
    if size > state[START]:  # the last record has no line end
        if state[NEED]:
            state[FAULT] = max(int(state[FAULT]), NOT_UTF8)
        n = end_record(size, state, asked, found, 0)
        parts.append(found[:n].copy())
    together = np.concatenate(parts) if parts else found[:0]
    lf, crlf, cr = state[[LF, CRLF, CR]].tolist()
    return Scan(int(state[RECORDS]), together, open_quote, (lf, crlf, cr), int(state[BLANK]))


@nb.njit(cache=True, error_model="numpy", nogil=True)
def end_record(position: int, state: Longs, wanted: Longs, found: Longs, n: int) -> int:
    """Close the record that ends before `position`; how many are found with it."""
    if position == state[START]:
        state[BLANK] += 1
    else:
        number = state[RECORDS]
        fault, detail = state[FAULT], state[DETAIL]
        if position - state[START] > LONGEST_RECORD:
            fault, detail = TOO_LONG, position - state[START]
        elif fault == SOUND and state[DELIMITERS] + 1 != state[WIDTH]:
            fault, detail = WRONG_FIELD_COUNT, state[DELIMITERS] + 1
        asked = state[WANTED] < len(wanted) and wanted[state[WANTED]] == number
        state[WANTED] += asked
        if asked or fault != SOUND:
            found[n, NUMBER_OF], found[n, START_OF], found[n, END_OF] = number, state[START], position
            found[n, LINE_OF], found[n, FAULT_OF], found[n, DETAIL_OF] = state[RECORD_LINE], fault, detail
            n += 1
        state[RECORDS] = number + 1
    state[MODE] = BEGINS
    state[DELIMITERS] = state[FAULT] = state[DETAIL] = state[NEED] = 0
    return n


@nb.njit(cache=True, error_model="numpy", nogil=True)
def break_record(state: Longs, fault: int, detail: int) -> None:
    if fault > state[FAULT]:
        state[FAULT], state[DETAIL] = fault, detail


@nb.njit(cache=True, error_model="numpy", nogil=True)
def follow_utf8(byte: int, state: Longs) -> None:
    """One byte of text beyond ASCII: Unicode 15, table 3-7, well-formed UTF-8 byte sequences."""
    if state[NEED]:
        if state[LOW] <= byte <= state[TOP]:
            state[NEED] -= 1
            state[LOW], state[TOP] = 0x80, 0xBF
            return
        state[NEED] = 0
        break_record(state, NOT_UTF8, byte)
    if byte < 0x80:
        return
    state[LOW], state[TOP] = 0x80, 0xBF
    if 0xC2 <= byte <= 0xDF:
        state[NEED] = 1
    elif 0xE0 <= byte <= 0xEF:
        state[NEED] = 2
        if byte == 0xE0:
            state[LOW] = 0xA0
        elif byte == 0xED:
            state[TOP] = 0x9F
    elif 0xF0 <= byte <= 0xF4:
        state[NEED] = 3
        if byte == 0xF0:
            state[LOW] = 0x90
        elif byte == 0xF4:
            state[TOP] = 0x8F
    else:
        break_record(state, NOT_UTF8, byte)


@nb.njit(cache=True, error_model="numpy", nogil=True)
def end_line(its_class: int, position: int, state: Longs, wanted: Longs, found: Longs, n: int) -> int:
    """A line end at `position`, inside quotes or as the end of a record; how many records are found with it."""
    outside = state[MODE] != QUOTED
    if its_class == LINE_FEED and state[AFTER_CR]:  # the second half of CRLF
        state[AFTER_CR] = 0
        if outside:
            state[CR] -= 1
            state[CRLF] += 1
            state[START] = position + 1
        return n
    state[AFTER_CR] = its_class == CARRIAGE_RETURN
    state[LINE] += 1
    if outside:
        n = end_record(position, state, wanted, found, n)
        state[CR if its_class == CARRIAGE_RETURN else LF] += 1
        state[START], state[RECORD_LINE] = position + 1, state[LINE]
    return n


@nb.njit(cache=True, error_model="numpy", nogil=True)
def scan_bytes(
    data: Bytes, done: int, offset: int, state: Longs, classes: Bytes, wanted: Longs, found: Longs
) -> tuple[int, int]:
    """Go on from byte `done` of a window until it ends or `found` is full: (bytes done, records found)."""
    n, i = 0, done
    while i < len(data):
        its_class = classes[data[i]]
        if state[NEED] and its_class != HIGH:
            follow_utf8(data[i], state)
        if its_class == CARRIAGE_RETURN or its_class == LINE_FEED:
            n = end_line(its_class, offset + i, state, wanted, found, n)
            i += 1
            if n == len(found):
                return i, n
            continue
        state[AFTER_CR] = 0
        mode = state[MODE]
        if its_class == QUOTE:
            if mode == BEGINS:
                state[MODE], state[QUOTE_LINE] = QUOTED, state[LINE]
            elif mode == UNQUOTED:
                break_record(state, BROKEN_QUOTES, 0)
            else:
                state[MODE] = CLOSED if mode == QUOTED else QUOTED
        elif its_class == DELIMITER and mode != QUOTED:
            state[DELIMITERS] += 1
            state[MODE] = BEGINS
        else:
            if mode == CLOSED:
                break_record(state, BROKEN_QUOTES, 0)
            if mode != QUOTED:
                state[MODE] = UNQUOTED
            if its_class == NUL:
                break_record(state, NUL_BYTE, 0)
            elif its_class == HIGH:
                follow_utf8(data[i], state)
            else:
                while i + 1 < len(data) and classes[data[i + 1]] == PLAIN:
                    i += 1
        i += 1
    return i, n


# --- what is written again ------------------------------------------------------------------------------------------

HOLE, IN_QUOTES, CR_BEFORE, LINE_BEGINS = range(4)


def copy_sound(path: Path, holes: Longs, target: Path) -> None:
    """Copy a file but for the bytes of `holes`, (n, 2) first and after the last, without blank lines, every record ended by LF.

    What is left must be records whose quotes are sound.
    """
    state = np.array([0, 0, 0, 1], dtype=np.int64)
    out = np.empty(WINDOW, dtype=np.uint8)
    with target.open("wb") as file:
        for offset, data in windows(path):
            file.write(out[: copy_bytes(data, offset, holes, state, out)].data)


@nb.njit(cache=True, error_model="numpy", nogil=True)
def copy_bytes(data: Bytes, offset: int, holes: Longs, state: Longs, out: Bytes) -> int:
    """The bytes of a window that are kept, in `out`; how many these are."""
    n = 0
    for i in range(len(data)):
        while state[HOLE] < len(holes) and offset + i >= holes[state[HOLE], 1]:
            state[HOLE] += 1
        if state[HOLE] < len(holes) and offset + i >= holes[state[HOLE], 0]:
            continue
        byte = data[i]
        if byte == 34:
            state[IN_QUOTES] = 1 - state[IN_QUOTES]
        after_cr, state[CR_BEFORE] = state[CR_BEFORE], byte == 13
        if state[IN_QUOTES] == 0 and (byte == 13 or byte == 10):
            if (byte == 10 and after_cr) or state[LINE_BEGINS]:
                continue
            state[LINE_BEGINS] = 1
            byte = np.uint8(10)
        else:
            state[LINE_BEGINS] = 0
        out[n] = byte
        n += 1
    return n


@nb.njit(cache=True, error_model="numpy", nogil=True)
def gather(data: Bytes, first: Longs, after: Longs, out: Bytes) -> None:
    """The bytes of several records, one after the other."""
    n = 0
    for k in range(len(first)):
        for i in range(first[k], after[k]):
            out[n] = data[i]
            n += 1
