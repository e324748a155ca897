"""Whatever a file holds: it is refused with a next step, or every record is read as it stands or can be found again."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import resource
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clvforecast.adapters import read_export
from clvforecast.errors import ClvError, LedgerError
from clvforecast.ledger import Ledger, plain_text, read_ledger, scan
from clvforecast.ledger.tables import connect, read_table
from clvforecast.report.ledgers import reconciliation_rows, rejected_rows
from hostile.corpus import CORPUS, FIRST, HEADER, LAST, PLAIN, Hostile, row, text

NEXT_STEP = re.compile(
    r"(Add|Check|Choose|Close|Convert|Export|Give|Name|Normalise|Rename|Save|See|Unpack|Use|Write|Keep|Flatten)\b[^.]*(\.|$)"
)


def check_accounts(ledger: Ledger) -> None:
    parts = ledger.reconciliation()
    off = parts[parts["part"] == "difference"]
    assert len(off) and not off[["rows", "rows_with_amount", "amount_cents"]].any(axis=None)
    assert ledger.read.rows == ledger.events.num_rows + ledger.later.num_rows + ledger.rejected_rows.num_rows


def check_values(ledger: Ledger, content: str) -> None:
    """Accepted values are those of the file, by another reader: nothing was coerced."""
    records = list(csv.reader(io.StringIO(content, newline=""), delimiter=max(",;\t|", key=content.count)))
    names = [name.strip().lower() for name in records[0]]
    by_id = {record[names.index("event_id")].strip(): record for record in records[1:] if len(record) == len(names)}
    events = ledger.events.to_pylist() + ledger.later.to_pylist()
    assert events
    for event in events:
        told = dict(zip(names, by_id[event["event_id"]], strict=True))
        assert event["account_id"] == told["account_id"].strip()
        assert event["event_date"] == date.fromisoformat(told["event_date"].strip()[:10])
        assert event["start_date"] == date.fromisoformat(
            (told["start_date"].strip() or told["event_date"].strip())[:10]
        )
        assert event["amount_cents"] == cents(told["amount"])
        assert (event["kind"], event["currency"]) == (told["kind"].strip().lower(), told["currency"].strip().upper())
        if event["kind"] in ("initial", "renewal"):
            assert event["term_months"] == int(Decimal(told["term_months"]))


def cents(amount: str) -> int | None:
    return int(100 * Decimal(amount.strip()).quantize(Decimal("0.01"), ROUND_HALF_EVEN)) if amount.strip() else None


def check_places(ledger: Ledger, content: bytes) -> None:
    """Line and text of each rejected row are those of the file."""
    lines = re.split(b"\r\n|\r|\n", content)
    for rejected in ledger.rejected_rows.to_pylist():
        begin = rejected["raw"].splitlines()[0] if rejected["raw"].strip() else rejected["raw"]
        line = lines[rejected["line"] - 1].decode(errors="backslashreplace")
        assert line.startswith(begin) and (begin or not line)


def write(case: Hostile, folder: Path) -> Path:
    path = folder / f"{case.name}{case.suffix}"
    path.write_bytes(case.content)
    return path


def test_the_corpus_is_large_and_each_name_is_used_once() -> None:
    assert len(CORPUS) >= 70
    assert len({case.name for case in CORPUS}) == len(CORPUS)
    outcomes = [bool(case.refused) + 2 * bool(case.rejects) for case in CORPUS]
    assert min(outcomes.count(kind) for kind in (0, 1, 2)) >= 20


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_a_hostile_file_has_its_one_outcome(case: Hostile, tmp_path: Path) -> None:
    path = write(case, tmp_path)
    if case.refused:
        with pytest.raises(ClvError, match=case.refused) as caught:
            read_ledger(path)
        message = str(caught.value)
        assert path.name in message or message.startswith("events:")
        assert NEXT_STEP.search(message), message
        return
    ledger = read_ledger(path)
    check_accounts(ledger)
    rejected = ledger.rejected_rows.to_pylist()
    assert tuple((found["row"], found["rule"]) for found in rejected) == case.rejects
    assert all(found["hint"] and found["source"] == str(path) for found in rejected)
    accepted = sorted(event["event_id"] for event in ledger.events.to_pylist())
    assert accepted == sorted(case.accepted)
    if case.suffix == ".csv" and "not_utf8" not in dict(map(reversed, case.rejects)):
        content = case.content.decode(case.written_in)
        check_places(ledger, content.encode())
        if not any(rule in ("broken_quotes", "nul_byte", "record_too_long") for _, rule in case.rejects):
            check_values(ledger, content)


# --- places ---------------------------------------------------------------------------------------------------------


def test_broken_records_keep_their_row_line_and_text(tmp_path: Path) -> None:
    rows = [
        "x1,C",
        row(event_id="x2", account_id='"two\nlines"'),
        "",
        "x3",
        'x4,"D"E',
        row(event_id="x5", kind="?"),
        row(),
    ]
    path = tmp_path / "events.csv"
    path.write_text(text(*rows), encoding="utf-8")
    ledger = read_ledger(path)
    found = ledger.rejected[["row", "line", "rule", "value", "raw"]].to_numpy().tolist()
    assert found == [
        [2, 3, "wrong_field_count", "2", "x1,C"],
        [4, 7, "wrong_field_count", "1", "x3"],
        [5, 8, "broken_quotes", '"', 'x4,"D"E'],
        [6, 9, "unknown_kind", "?", rows[5]],
    ]
    assert ledger.read.rows == 8 and sorted(ledger.events["event_id"].to_pylist()) == ["g1", "g2", "x", "x2"]


def test_lines_are_counted_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text(text("broken", row(event_id="a")), encoding="utf-8")
    (tmp_path / "2.csv").write_text(f"{HEADER}\n{row(kind='?')}\nbroken too\n", encoding="utf-8")
    rejected = read_ledger(str(tmp_path / "*.csv")).rejected
    assert [Path(source).name for source in rejected["source"]] == ["1.csv", "2.csv", "2.csv"]
    assert rejected[["row", "line", "raw"]].to_numpy().tolist() == [
        [2, 3, "broken"],
        [1, 2, row(kind="?")],
        [2, 3, "broken too"],
    ]


def test_many_rejects_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where windows end inside a record."""
    monkeypatch.setattr(scan, "WINDOW", 997)
    monkeypatch.setattr("clvforecast.ledger.originals.WINDOW", 997)
    rng = np.random.default_rng(1)
    rows = [
        row(event_id=f"x{i}", account_id=f'"é{i}\n"', kind=rng.choice(["initial", "?", "?,"]), amount=str(i + 1))
        for i in range(3000)
    ]
    path = tmp_path / "events.csv"
    path.write_text(text(*rows), encoding="utf-8")
    ledger = read_ledger(path)
    check_accounts(ledger)
    wrong = [place for place, line in enumerate(rows) if "?" in line]
    assert ledger.rejected["row"].tolist() == [place + 2 for place in wrong] and len(wrong) > 1500
    assert ledger.rejected["raw"].tolist() == [rows[place] for place in wrong]
    assert ledger.rejected["line"].tolist() == [2 * place + 3 for place in wrong]


def test_rows_of_tables_are_shown_as_json() -> None:
    frame = pd.DataFrame([line.split(",") for line in (FIRST, row(kind="?"))], columns=HEADER.split(","))
    (rejected,) = read_ledger(frame).rejected_rows.to_pylist()
    assert rejected["line"] is None
    assert pd.read_json(io.StringIO(rejected["raw"]), typ="series", dtype=False)["kind"] == "?"


def test_rejects_of_an_export_are_rows_of_the_export(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    rows = ["who;when;much;money", "a;2022-01-01;10;eur", "b;2022-01-01", "c;soon;1;usd", "d;2022-02-01;-5;eur"]
    path.write_text("\r\n".join(rows), encoding="utf-8")
    columns = {"account_id": "who", "event_date": "when", "amount": "much", "currency": "money"}
    ledger = read_export(path, {"shape": "bookings", "columns": columns, "term_months": 12})
    found = ledger.rejected[["row", "line", "rule", "raw"]].to_numpy().tolist()
    assert found == [
        [2, 3, "wrong_field_count", rows[2]],
        [3, 4, "unreadable_date", rows[3]],
        [4, 5, "wrong_sign", rows[4]],
    ]
    assert ledger.rejected_rows["currency"].to_pylist() == [None, "USD", "EUR"]
    assert ledger.read.rows == ledger.read.export_rows == 4
    check_accounts(ledger)


def test_money_is_accounted_for_in_every_currency(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(text(row(kind="?", currency="eur"), row(currency="?"), "broken"), encoding="utf-8")
    parts = read_ledger(path).reconciliation()
    assert len(parts) == 15
    read = parts[parts["part"] == "read"]
    assert read["currency"].tolist()[:2] == ["USD", "EUR"] and pd.isna(read["currency"].iloc[2])
    assert read[["rows", "rows_with_amount", "amount_cents"]].to_numpy().tolist() == [
        [2, 2, 128025],
        [1, 1, 1000],
        [2, 1, 1000],
    ]
    assert len(read_ledger(write(Hostile("sound", PLAIN.encode()), tmp_path)).reconciliation()) == 5


def test_what_is_shown_names_lines_and_currencies(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(text("broken", row(kind="", currency="eur"), row(kind="?")), encoding="utf-8")
    ledger = read_ledger(path)
    shown = reconciliation_rows(ledger)
    assert shown["currency"].tolist() == ["USD"] * 5 + ["EUR"] * 5 + ["not readable"] * 5
    assert shown["amount"].tolist()[:5] == ["1,290.25", "1,280.25", "0.00", "10.00", "0.00"]
    first = dict(zip(rejected_rows(ledger)["rule"], rejected_rows(ledger)["first"], strict=True))
    assert first == {"unknown_kind": f"{path} line 4: kind is empty", "wrong_field_count": f"{path} line 3"}
    path.write_text(PLAIN)
    assert reconciliation_rows(read_ledger(path)).columns.tolist() == ["part", "rows", "amount, USD"]


# --- encodings and packing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "utf-32", "utf-7", "shift_jis"])
def test_an_encoding_that_is_named_is_read(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    name = "会社" if encoding == "shift_jis" else "Müller"
    path.write_bytes(text(row(account_id=name)).encode(encoding))
    with connect() as connection:
        raw = read_table(connection, path, "events", (), encoding)
        assert connection.sql(f"SELECT account_id FROM {raw.name} ORDER BY __row").fetchall()[1] == (name,)


def test_an_encoding_that_does_not_fit_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(text(row(account_id="M\u0081")).encode("latin-1"))
    with connect() as connection:
        with pytest.raises(LedgerError, match=r"x.csv line 3: byte 0x81 cannot be read as cp1252"):
            read_table(connection, path, "events", (), "cp1252")
        for name in ("klingon", "base64", "rot13", "utf-8\0"):
            with pytest.raises(LedgerError, match="not known. Name one"):
                read_table(connection, path, "events", (), name)


def test_a_gzip_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_text, "ALWAYS_EXPANDED", 2**20)
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress((PLAIN + "x" * 2**25).encode()))
    with pytest.raises(LedgerError, match=r"bomb.csv.gz: it expands to more than .* Check where it comes from"):
        read_ledger(path)


def test_parquet_that_claims_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.parquet"
    pq.write_table(pa.table({"account_id": pa.nulls(500_000, pa.int32())}), path)
    monkeypatch.setattr("clvforecast.ledger.parquet.ALWAYS_ROWS", 1000)
    with pytest.raises(LedgerError, match="it says that it holds 500,000 rows"):
        read_ledger(path)


def good_table() -> pa.Table:
    return pa.table(
        {name: [a, b] for name, a, b in zip(HEADER.split(","), FIRST.split(","), LAST.split(","), strict=True)}
    )


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    pq.write_table(good_table(), path)
    whole = path.read_bytes()
    assert read_ledger(path).events.num_rows == 2
    for size in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:size])
        with pytest.raises(LedgerError, match="not a readable Parquet file"):
            read_ledger(path)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("account_id", [["A"], ["B"]], "column account_id holds"),
        ("amount", [{"value": 1}, {"value": 2}], "column amount holds"),
        ("event_date", [20220101, 20220201], "unreadable_date"),
        ("amount", [True, True], "unreadable_amount"),
        ("amount", [b"\xff", b"\x00"], "unreadable_amount"),
        ("kind", [1, 2], "unknown_kind"),
    ],
)
def test_parquet_of_wrong_types_is_refused(column: str, values: list[object], message: str, tmp_path: Path) -> None:
    table = good_table()
    path = tmp_path / "typed.parquet"
    pq.write_table(table.set_column(table.column_names.index(column), column, pa.array(values)), path)
    with pytest.raises(LedgerError, match=message):
        read_ledger(path)


@pytest.mark.slow
def test_a_line_of_a_gigabyte_is_one_reject_and_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("wb") as file:
        file.write(f"{HEADER}\n{FIRST}\n".encode())
        file.seek(2**30, os.SEEK_CUR)  # of NUL bytes, which take no room on the disk
        file.write(f"\n{LAST}\n".encode())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ledger = read_ledger(path)
    assert ledger.rejected[["row", "line", "rule", "value"]].to_numpy().tolist() == [
        [2, 3, "record_too_long", str(2**30)]
    ]
    assert len(ledger.rejected["raw"][0]) == 1000 and ledger.events.num_rows == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # kB


def test_broken_records_of_accounts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(PLAIN)
    (tmp_path / "accounts.csv").write_text("account_id,plan\nA,x\nB\n")
    with pytest.raises(LedgerError, match=r"accounts.csv row 2: wrong_field_count \(1\), one of 1 broken"):
        read_ledger(tmp_path / "events.csv", tmp_path / "accounts.csv")


def test_a_table_of_one_column_has_no_rows_of_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "accounts.csv").write_text("account_id\nA\n\nB\n\n")
    with connect() as connection:
        raw = read_table(connection, tmp_path / "accounts.csv", "accounts", ())
        assert connection.sql(f"SELECT account_id, __row FROM {raw.name}").fetchall() == [("A", 1), ("B", 2)]


def test_what_duckdb_loses_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two counts are independent: a scan that finds one more is not overruled."""
    path = write(Hostile("x", PLAIN.encode()), tmp_path)
    true_scan = scan.scan_file

    def one_more(*given: object) -> scan.Scan:
        return replace(true_scan(*given), records=5)

    monkeypatch.setattr("clvforecast.ledger.csvs.scan_file", one_more)
    with pytest.raises(LedgerError, match="of 4 records 3 were read and 0 are broken"):
        read_ledger(path)


# --- what is no file ------------------------------------------------------------------------------------------------


def folder_named_csv(folder: Path) -> Path:
    (folder / "x.csv").mkdir()
    return folder / "x.csv"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.csv")
    return folder / "x.csv"


def loop_of_links(folder: Path) -> Path:
    (folder / "x.csv").symlink_to(folder / "y.csv")
    (folder / "y.csv").symlink_to(folder / "x.csv")
    return folder / "x.csv"


def link_to_nothing(folder: Path) -> Path:
    (folder / "x.csv").symlink_to(folder / "absent.csv")
    return folder / "x.csv"


def unreadable(folder: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    (folder / "x.csv").write_text(PLAIN)
    (folder / "x.csv").chmod(0)
    return folder / "x.csv"


NO_FILES: list[Callable[[Path], Path]] = [
    folder_named_csv,
    pipe,
    loop_of_links,
    link_to_nothing,
    unreadable,
    lambda folder: Path("/dev/zero"),
    lambda folder: folder / "\0.csv",
    lambda folder: folder / ("x" * 300 + ".csv"),
]


@pytest.mark.parametrize("make", NO_FILES)
def test_what_is_no_regular_file_is_refused_at_once(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path, caught = make(tmp_path), []

    def read() -> None:
        try:
            read_ledger(str(path))
        except LedgerError as error:
            caught.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it hangs"
    assert caught and NEXT_STEP.search(caught[0])


@pytest.mark.parametrize("name", ["a[1].csv", "year=2022/x.csv", "it's.csv", "näme ü.csv", "a*b.csv", "?.csv", "-.csv"])
def test_a_path_is_no_pattern_and_says_nothing_of_the_rows(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text("broken"), encoding="utf-8")
    ledger = read_ledger(path)
    assert ledger.events.num_rows == 2 and ledger.rejected["source"].tolist() == [str(path)]
    assert (
        set(ledger.events.column_names) == set(ledger.events.schema.names) and "year" not in ledger.events.column_names
    )


# --- laws -----------------------------------------------------------------------------------------------------------

BASE = text(
    *(row(event_id=f"x{i}", account_id=f"c{i % 3}", kind="expansion" if i % 2 else "initial") for i in range(6)),
    row(event_id="q", account_id='"a ""b"", c"'),
).encode()
bits = st.one_of(
    st.binary(min_size=0, max_size=4),
    st.sampled_from(
        [b'"', b"\n", b"\r", b"\r\n", b",", b"\0", b"\xff", b'""', b"\xc3", b"\n\n", b";", b"\xef\xbb\xbf"]
    ),
)
changes = st.lists(st.tuples(st.integers(0, len(BASE)), st.integers(0, 5), bits), min_size=1, max_size=6)


def changed(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, drop, put in edits:
        content = content[:place] + put + content[place + drop :]
    return content


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(changes)
def test_any_change_of_bytes_is_accounted_for_or_refused(tmp_path: Path, edits: list[tuple[int, int, bytes]]) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(changed(BASE, edits))
    try:
        ledger = read_ledger(path)
    except ClvError as error:
        assert len(str(error)) > 20
        return
    check_accounts(ledger)
    assert ledger.rejected_rows["line"].null_count == 0


@settings(max_examples=100, deadline=None)
@given(changes, st.integers(1, 200))
def test_the_kernel_does_what_plain_python_does_in_windows_of_any_size(
    edits: list[tuple[int, int, bytes]], window: int
) -> None:
    content = np.frombuffer(changed(BASE, edits), dtype=np.uint8)
    records = scanned(scan.scan_bytes, content, len(content) + 1)
    assert records == scanned(scan.scan_bytes, content, window) == scanned(scan.scan_bytes.py_func, content, window)
    whole = bytes(content)
    if b'"' not in whole:  # then another reader tells records in one line
        assert records[0] == sum(map(bool, re.split(b"\r\n|\r|\n", whole)))
    utf8 = all(map(is_utf8, re.split(b"[\r\n]", whole)))
    assert utf8 or any(found[scan.FAULT_OF] >= scan.NOT_UTF8 for found in records[1])


def is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def scanned(
    kernel: Callable[..., tuple[int, int]], content: np.ndarray, window: int
) -> tuple[int, list[list[int]], int]:
    """Records, what is found and the state's mode, read in windows of a size."""
    classes = np.zeros(256, dtype=np.uint8)
    classes[128:] = scan.HIGH
    signs = {",": scan.DELIMITER, '"': scan.QUOTE, "\r": scan.CARRIAGE_RETURN, "\n": scan.LINE_FEED, "\0": scan.NUL}
    for sign, its_class in signs.items():
        classes[ord(sign)] = its_class
    state = np.zeros(scan.WIDTH + 1, dtype=np.int64)
    state[[scan.LINE, scan.RECORD_LINE, scan.WIDTH]] = 1, 1, 8
    found = np.empty((len(content) + 1, 6), dtype=np.int64)
    kept: list[list[int]] = []
    wanted = np.empty(0, dtype=np.int64)
    for offset in range(0, len(content), window):
        _, n = kernel(content[offset : offset + window], 0, offset, state, classes, wanted, found)
        kept += found[:n].tolist()
    if state[scan.NEED]:
        scan.break_record(state, scan.NOT_UTF8, 0)
    n = scan.end_record(len(content), state, wanted, found, 0) if len(content) > state[scan.START] else 0
    return int(state[scan.RECORDS]), kept + found[:n].tolist(), int(state[scan.MODE])
