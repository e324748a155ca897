"""The files, each with the one outcome that is right: which rows are rejected by which rule, or how the file is refused."""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile
from dataclasses import dataclass

HEADER = "event_id,account_id,event_date,kind,amount,currency,start_date,term_months"
FIRST = "g1,A,2022-01-01,initial,1200,USD,2022-01-01,12"
LAST = "g2,B,2022-02-01,initial,80.25,USD,2022-02-01,12"


@dataclass(frozen=True)
class Hostile:
    """A file: either `refused` is part of the message, or the rows of `rejects` break their rule and `accepted` are read."""

    name: str
    content: bytes
    rejects: tuple[tuple[int, str], ...] = ()
    accepted: tuple[str, ...] = ("g1", "g2")
    refused: str = ""
    suffix: str = ".csv"
    written_in: str = "utf-8"


def row(**changes: str) -> str:
    """A good row in the middle, with changes."""
    good = {
        "event_id": "x", "account_id": "C", "event_date": "2022-01-15", "kind": "initial", "amount": "10", "currency": "USD",
        "start_date": "", "term_months": "12",
    }  # fmt: skip
    return ",".join((good | changes).values())


def text(*rows: str, end: str = "\n") -> str:
    return "".join(line + end for line in (HEADER, FIRST, *rows, LAST))


def good(name: str, *rows: str) -> Hostile:
    """Row 2 is read."""
    return Hostile(name, text(*rows).encode(), accepted=("g1", "x", "g2"))


def bad(name: str, rule: str, *rows: str) -> Hostile:
    """Row 2 is rejected."""
    return Hostile(name, text(*rows).encode(), rejects=((2, rule),))


def refused(name: str, content: bytes, message: str, suffix: str = ".csv") -> Hostile:
    return Hostile(name, content, refused=message, suffix=suffix)


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("events.csv", text())
    return packed.getvalue()


BOM = codecs.BOM_UTF8
ACCENT = row(account_id="Müller")
PLAIN = text(row())

ENCODINGS = [
    Hostile("latin-1", text(ACCENT).encode("latin-1"), ((2, "not_utf8"),)),
    Hostile("cp1252-dash", text(row(account_id="a – b")).encode("cp1252"), ((2, "not_utf8"),)),
    Hostile("cut-utf8-letter", text(row(account_id="C")).encode().replace(b",C,", b",\xe2\x82,"), ((2, "not_utf8"),)),
    Hostile("overlong-utf8", text(row()).encode().replace(b",C,", b",\xc0\xaf,"), ((2, "not_utf8"),)),
    Hostile("surrogate-in-utf8", text(row()).encode().replace(b",C,", b",\xed\xa0\x80,"), ((2, "not_utf8"),)),
    Hostile("beyond-unicode", text(row()).encode().replace(b",C,", b",\xf4\x90\x80\x80,"), ((2, "not_utf8"),)),
    Hostile("cut-utf8-at-the-end", (PLAIN + row(event_id="y")).encode() + b"\xe2\x82", ((4, "not_utf8"),), ("g1", "x", "g2")),
    refused("latin-1-header", text().replace("event_id", "größe").encode("latin-1"), "line 1: byte 0xf6 is not UTF-8"),
    Hostile("utf-16-le-bom", codecs.BOM_UTF16_LE + text(ACCENT).encode("utf-16-le"), (), ("g1", "x", "g2"), "", ".csv", "utf-16"),
    Hostile("utf-16-be-bom", codecs.BOM_UTF16_BE + text(ACCENT).encode("utf-16-be"), (), ("g1", "x", "g2"), "", ".csv", "utf-16"),
    refused("utf-16-le-no-bom", text().encode("utf-16-le"), "UTF-16 without a byte order mark"),
    refused("utf-16-be-no-bom", text().encode("utf-16-be"), "UTF-16 without a byte order mark"),
    refused("utf-16-odd-byte", codecs.BOM_UTF16_LE + text().encode("utf-16-le") + b"\x0a", "line 4: byte 0x0a cannot be read"),
    refused("utf-32", text().encode("utf-32"), "written in UTF-32"),
    good("utf-7", row(account_id="M+APw-ller")),
    Hostile("bom", BOM + PLAIN.encode(), (), ("g1", "x", "g2"), "", ".csv", "utf-8-sig"),
    refused("double-bom", BOM + BOM + PLAIN.encode(), r"'\\ufeffevent_id' holds a sign that cannot be seen"),
    Hostile("bom-in-the-middle", text("\ufeff" + HEADER).encode(), ((2, "unknown_kind"),)),
]  # fmt: skip

LINES = [
    Hostile("bare-cr", text(row(), end="\r").encode(), (), ("g1", "x", "g2")),
    Hostile("crlf", text(row(), end="\r\n").encode(), (), ("g1", "x", "g2")),
    Hostile("mixed-ends", f"{HEADER}\r\n{FIRST}\n{row()}\r{LAST}\r\n".encode(), (), ("g1", "x", "g2")),
    Hostile("mixed-ends-and-a-bad-row", f"{HEADER}\n{FIRST}\r\nx\r{LAST}".encode(), ((2, "wrong_field_count"),)),
    Hostile("cr-cr-lf", text(row(), end="\r\r\n").encode(), (), ("g1", "x", "g2")),
    Hostile("no-last-line-end", PLAIN.rstrip("\n").encode(), (), ("g1", "x", "g2")),
    good("line-feed-in-quotes", row(account_id='"C\nD"')),
    good("crlf-in-quotes", row(account_id='"C\r\nD"')),
    good("cr-in-quotes", row(account_id='"C\rD"')),
    good("unicode-line-separator", row(account_id="C\u2028D")),
    good("form-feed", row(account_id="C\x0cD")),
    good("blank-lines-between", "", row(), "", ""),
    bad("line-of-blanks", "wrong_field_count", "   "),
    bad("line-of-separators", "missing_account", ",,,,,,,"),
    bad("ctrl-z", "wrong_field_count", "\x1a"),
    bad("nul-in-id", "nul_byte", row(account_id="C\0D")),
    bad("line-of-nuls", "nul_byte", "\0" * 64),
    bad("nul-and-too-few-fields", "nul_byte", "x,\0"),
    bad("too-long-a-line", "record_too_long", row(account_id="C" * (2**24))),
    good("long-id", row(account_id="C" * 10_000)),
]  # fmt: skip

QUOTES = [
    refused("unclosed-quote", text(row(account_id='"C')).encode(), "line 3: a quote opens here"),
    refused("unclosed-quote-on-the-last-line", (text() + '"').encode(), "line 4: a quote opens here"),
    refused("unclosed-quote-in-header", ('"' + text()).encode(), "a quote in it is not closed"),
    good("doubled-quotes", row(account_id='"C ""D"""')),
    good("all-quoted", ",".join(f'"{value}"' for value in row().split(","))),
    good("quoted-separator", row(account_id='"C,D"')),
    bad("stray-quote-inside", "broken_quotes", row(account_id='5" pipe')),
    bad("text-after-closing-quote", "broken_quotes", row(account_id='"C"D')),
    bad("blank-after-closing-quote", "broken_quotes", row(account_id='"C" ')),
    bad("quote-closed-two-lines-on", "broken_quotes", row(account_id='"C'), row(event_id="y", account_id='"D"')),
    bad("backslash-quote", "broken_quotes", row(account_id='"C \\" D"')),
    good("single-quotes", row(account_id="'C'")),
]  # fmt: skip

SHAPES = [
    refused("empty", b"", "the first line holds no column names"),
    refused("bom-only", BOM, "the first line holds no column names"),
    refused("blank-lines-only", b"\n\n\n", "the first line holds no column names"),
    refused("blank-line-before-header", ("\n" + PLAIN).encode(), "the first line holds no column names"),
    refused("header-of-blanks", b" , , \n1,2,3\n", "the first line holds no column names"),
    refused("header-only", (HEADER + "\n").encode(), "the table holds no rows"),
    refused("duplicate-header", text().replace("start_date", "amount", 1).encode(), "two columns have the same name"),
    refused("duplicate-header-in-other-case", text().replace("start_date", "AMOUNT", 1).encode(), "columns have the same name"),
    refused("missing-column", text().replace("currency", "money", 1).encode(), "no column currency"),
    refused("no-header", PLAIN.split("\n", 1)[1].encode(), "or add a header line if this is none"),
    refused("comment-before-header", ("# export of today\n" + PLAIN).encode(), "no column account_id"),
    Hostile("header-in-other-case", text(row()).replace(HEADER, HEADER.upper()).encode(), (), ("g1", "x", "g2")),
    Hostile("blanks-around-header", text(row()).replace(HEADER, HEADER.replace(",", " , ")).encode(), (), ("g1", "x", "g2")),
    Hostile("semicolons", text(row()).replace(",", ";").encode(), (), ("g1", "x", "g2")),
    Hostile("tabs", text(row()).replace(",", "\t").encode(), (), ("g1", "x", "g2")),
    Hostile("pipes", text(row()).replace(",", "|").encode(), (), ("g1", "x", "g2")),
    bad("one-line-of-semicolons", "wrong_field_count", row().replace(",", ";")),
    bad("too-few-fields", "wrong_field_count", "x,C,2022-01-15"),
    bad("too-many-fields", "wrong_field_count", row() + ",extra"),
    bad("unquoted-decimal-comma", "wrong_field_count", row(amount="10,5")),
    bad("trailing-separator", "wrong_field_count", row() + ","),
    Hostile("trailing-separator-everywhere", text(row()).replace("\n", ",\n").encode(), (), ("g1", "x", "g2")),
    bad("comment-line", "wrong_field_count", "# a remark"),
    good("comment-sign-in-front-of-a-row", row(event_id="x").replace("x,C", "x,#C")),
    bad("second-header", "unknown_kind", HEADER),
    bad("total-line", "missing_account", ",,,,1290.25,USD,,"),
]  # fmt: skip

PACKING = [
    Hostile("gz", gzip.compress(PLAIN.encode()), (), ("g1", "x", "g2"), "", ".csv.gz"),
    Hostile("gz-of-two-members", gzip.compress(text().encode()) + gzip.compress((row() + "\n").encode()), (),
            ("g1", "g2", "x"), "", ".csv.gz"),
    refused("gz-truncated", gzip.compress(PLAIN.encode())[:-9], "not a readable file", ".csv.gz"),
    refused("gz-damaged", gzip.compress(PLAIN.encode())[:30] + b"\0" * 40, "not a readable file", ".csv.gz"),
    refused("gz-bad-checksum", gzip.compress(PLAIN.encode())[:-8] + b"\1" * 8, "not a readable file", ".csv.gz"),
    refused("not-gz", PLAIN.encode(), "not a readable file", ".csv.gz"),
    refused("gz-without-its-name", gzip.compress(PLAIN.encode()), "this is a gzip file"),
    refused("zip-named-csv", zipped(), "this is a ZIP archive or an Excel workbook"),
    refused("zip", zipped(), "readable are files that all end in", ".zip"),
    refused("xlsx", zipped(), "readable are files that all end in", ".xlsx"),
    refused("parquet-named-csv", b"PAR1" + b"\0" * 40 + b"PAR1", "this is a Parquet file"),
    refused("csv-named-parquet", PLAIN.encode(), "not a readable Parquet file", ".parquet"),
    refused("parquet-of-no-bytes", b"", "not a readable Parquet file", ".parquet"),
    refused("parquet-of-nuls", b"\0" * 100, "not a readable Parquet file", ".parquet"),
]  # fmt: skip

IDS = {
    "formula": "=1+1", "formula-of-excel": '"=HYPERLINK(""http://x"")"', "path": "../../etc/passwd", "sql": "'; DROP TABLE x;--",
    "html": "<script>alert(1)</script>", "emoji": "🧾👩‍👩‍👧", "right-to-left": "\u202eabc\u202c", "hebrew": "חשבון",
    "zero-width": "C\u200bD", "null-word": "NULL", "nan-word": "NaN", "none-word": "None", "leading-zeros": "00123",
    "long-number": "123456789012345678901234567890", "exponent": "1e5", "float": "1.0", "nfd": "Cafe\u0301", "nfc": "Caf\u00e9",
    "percent": "%s%n{0}", "backslash": "\\N", "braces": "{x}[y]", "markup": "[red]x[/red]",
}  # fmt: skip
NAMES = [good(f"id-{name}", row(account_id=value)) for name, value in IDS.items()] + [
    Hostile("id-nfc-and-nfd", text(row(account_id="Caf\u00e9"), row(event_id="y", account_id="Cafe\u0301")).encode(), (),
            ("g1", "x", "y", "g2")),
    bad("id-of-blanks", "missing_account", row(account_id="  \u00a0 ")),
    bad("no-event-id", "missing_event_id", row(event_id="")),
    bad("kind-with-dotted-capital-i", "unknown_kind", row(kind="İnitial")),
    bad("kind-with-zero-width", "unknown_kind", row(kind="initial\u200b")),
    bad("currency-with-long-s", "invalid_currency", row(currency="uſd")),
    bad("currency-in-full-width", "invalid_currency", row(currency="ＵＳＤ")),
    refused("two-currencies", text(row(currency="EUR")).encode(), "one ledger has one reporting currency"),
]  # fmt: skip

DATES = {
    "year-0": ("0000-01-01", "date_out_of_range"), "year-1": ("0001-01-01", "date_out_of_range"),
    "year-9999": ("9999-12-31", "date_out_of_range"), "year-10000": ("10000-01-01", "unreadable_date"),
    "feb-30": ("2022-02-30", "unreadable_date"), "feb-29-of-no-leap-year": ("2023-02-29", "unreadable_date"),
    "epoch": ("epoch", "unreadable_date"), "infinity": ("infinity", "unreadable_date"), "today": ("today", "unreadable_date"),
    "excel-serial": ("44562", "unreadable_date"), "unix-time": ("1640995200", "unreadable_date"),
    "two-digit-year": ("22-01-15", "unreadable_date"), "slashes": ("15/01/2022", "unreadable_date"),
    "one-digit-month": ("2022-1-15", "unreadable_date"), "month-13": ("2022-13-01", "unreadable_date"),
    "islamic-year": ("1443-05-01", "date_out_of_range"), "buddhist-year": ("2565-01-15", "date_out_of_range"),
    "japanese-era": ("R4.01.15", "unreadable_date"), "chinese": ("2022年1月15日", "unreadable_date"),
    "full-width": ("２０２２-01-15", "unreadable_date"), "before-christ": ("2022-01-15 (BC)", "unreadable_date"),
    "week": ("2022-W03-1", "unreadable_date"), "ordinal": ("2022-015", "unreadable_date"), "empty": ("", "missing_date"),
    "hour-25": ("2022-01-15T25:00", "unreadable_date"), "zone": ("2022-01-15T10:00Z", "unreadable_date"),
    "unicode-minus": ("2022−01−15", "unreadable_date"),
}  # fmt: skip
AMOUNTS = {
    "1e308": "amount_out_of_range", "1e999": "amount_out_of_range", "NaN": "amount_not_finite", "inf": "amount_not_finite",
    "-Infinity": "amount_not_finite", "-0.0": "wrong_sign", "0x10": "unreadable_amount", "1_000": "unreadable_amount",
    "١٢٣": "unreadable_amount", "１２": "unreadable_amount", '"1,000.50"': "unreadable_amount", "1 000": "unreadable_amount",
    "1'000": "unreadable_amount", '"12,5"': "unreadable_amount", "$10": "unreadable_amount", "10 €": "unreadable_amount",
    "10-": "unreadable_amount", "(10)": "unreadable_amount", "12345678901234567890": "amount_out_of_range",
    "1000000000000.01": "amount_out_of_range", "1e-400": "wrong_sign", "0.005": "wrong_sign", "ten": "unreadable_amount",
    "1e": "unreadable_amount", "--1": "unreadable_amount", "1.2.3": "unreadable_amount", "−5": "unreadable_amount",
    "true": "unreadable_amount", "": "missing_amount", "#REF!": "unreadable_amount", "½": "unreadable_amount",
}  # fmt: skip
EXACT = (
    "1e3", "1E+2", "+7.", ".5", "0012.50", " 10 ", "1.005", "1.015", "2.675", "0.0050000000000000000000001", "999999999999.99",
    "1.0149999999999999999999999", "1.0050000000000000000000001", "4503599627370.49e-1",
)  # fmt: skip
TERMS = {"0": "invalid_term", "12.5": "invalid_term", "1e1": "invalid_term", "１２": "invalid_term", "": "missing_term",
         "99999999999": "invalid_term", "-12": "invalid_term", "12 months": "invalid_term"}  # fmt: skip
VALUES = [
    *(bad(f"date-{name}", rule, row(event_date=value, start_date="")) for name, (value, rule) in DATES.items()),
    *(bad(f"start-{name}", "unreadable_start", row(start_date=DATES[name][0])) for name in ("feb-30", "epoch", "slashes")),
    *(bad(f"amount-{place}", rule, row(amount=value)) for place, (value, rule) in enumerate(AMOUNTS.items())),
    *(good(f"exact-{place}", row(amount=value)) for place, value in enumerate(EXACT)),
    *(bad(f"term-{place}", rule, row(term_months=value)) for place, (value, rule) in enumerate(TERMS.items())),
    good("time-of-day", row(event_date="2022-01-15T10:30:00")),
]  # fmt: skip

CORPUS = [*ENCODINGS, *LINES, *QUOTES, *SHAPES, *PACKING, *NAMES, *VALUES]
