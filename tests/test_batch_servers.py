"""What is read from a PostgreSQL server is exact; what goes wrong there says what to do, and never a password."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from clvforecast import read_ledger
from clvforecast.batch.sinks import DuckSink, PostgresSink
from clvforecast.batch.sources import read_queries, read_query
from clvforecast.errors import BatchError
from postgres_server import postgres_uri as postgres_uri
from published_runs import run_tables
from sink_fixtures import in_server
from sink_fixtures import schema as schema

EVENTS = """
    SELECT * FROM (VALUES
        (1, 'a', DATE '2023-01-01', 'initial', 99999999999.99::numeric(20, 2), 'EUR', 12),
        (2, 'a', DATE '2024-01-01', 'renewal', 0.10::numeric(20, 2), 'EUR', 12),
        (3, 'b', DATE '2023-02-28', 'initial', 123456789.01::numeric(20, 2), 'EUR', 12),
        (4, 'b', DATE '2023-12-31', 'churn', NULL, 'EUR', NULL)
    ) AS e (event_id, account_id, event_date, kind, amount, currency, term_months)
"""


# --- reading -------------------------------------------------------------------------------------------------


def test_money_is_read_to_the_last_digit(postgres_uri: str) -> None:
    digits = ("123456789012345678.91", "-0.01", "0.30", "12345678901234567890.123456789", "1e20")
    values = ", ".join(f"({place}, {digit}::numeric)" for place, digit in enumerate(digits))
    read = read_query(postgres_uri, f"SELECT amount FROM (VALUES {values}) AS v (place, amount) ORDER BY place")
    assert read.schema.types == [pa.string()]
    assert read["amount"].to_pylist() == [*digits[:-1], "100000000000000000000"]
    exact = read_query(postgres_uri, "SELECT 123456789012345678.9::numeric(20, 2) AS a, NULL::numeric(20, 2) AS b")
    assert exact.to_pylist() == [{"a": "123456789012345678.90", "b": None}]


def test_a_query_is_a_ledger(postgres_uri: str) -> None:
    """Every cent of it, with a missing amount where there is none; the same as from text."""
    accounts = "SELECT 'a' AS account_id, 'gold' AS plan, NULL::int AS observed_from UNION ALL SELECT 'b', NULL, 0"
    tables = read_queries(postgres_uri, {"events": EVENTS, "accounts": accounts})
    ledger = read_ledger(tables["events"], tables["accounts"])
    assert not ledger.rejected_rows.num_rows
    cents = ledger.events.sort_by("event_id")["amount_cents"].to_pylist()
    assert cents[:3] == [9_999_999_999_999, 10, 12_345_678_901]
    typed = tables["events"].to_pylist()
    as_text = pa.table({name: pa.array([row[name] and str(row[name]) for row in typed]) for name in typed[0]})
    assert read_ledger(as_text, tables["accounts"]).fingerprint == ledger.fingerprint


def test_days_are_those_of_the_place(postgres_uri: str) -> None:
    """A booking at midnight in Berlin is one of that day there, and of the day before in UTC."""
    query = (
        "SELECT TIMESTAMPTZ '2024-01-01 00:00:00.000001+01' AS at, (TIMESTAMPTZ '2024-07-01 00:00+02')::date AS day, "
        "TIMESTAMP '2024-01-01 05:00' AS local, DATE '0001-01-01' AS first, NULL::timestamptz AS none"
    )
    (berlin,) = read_query(postgres_uri, query, "Europe/Berlin").to_pylist()
    assert berlin["at"] == datetime(2024, 1, 1, 0, 0, 0, 1) and berlin["day"] == date(2024, 7, 1)
    (utc,) = read_query(postgres_uri, query, "UTC").to_pylist()
    assert utc["at"] == datetime(2023, 12, 31, 23, 0, 0, 1) and utc["day"] == date(2024, 6, 30)
    assert berlin["local"] == utc["local"] == datetime(2024, 1, 1, 5)
    assert (utc["first"], utc["none"]) == (date(1, 1, 1), None)


def test_the_servers_own_zone_is_the_default(postgres_uri: str, schema: str) -> None:
    user = f"tokyo_{abs(hash(schema))}"
    in_server(postgres_uri, f"CREATE USER {user}", f"ALTER USER {user} SET timezone = 'Asia/Tokyo'")
    uri = postgres_uri.replace("postgres@", f"{user}@")
    (row,) = read_query(
        uri, "SELECT t, t::date AS d FROM (SELECT TIMESTAMPTZ '2024-01-01 20:00+00' AS t) AS x"
    ).to_pylist()
    assert row == {"t": datetime(2024, 1, 2, 5), "d": date(2024, 1, 2)}
    with pytest.raises(BatchError, match="Give time_zone"):
        read_query(postgres_uri, "SELECT 1", "<+03>-03")


def test_other_types_are_plain_too(postgres_uri: str) -> None:
    query = (
        "SELECT 'x'::varchar(3) AS v, 'ü \u4e09'::text AS t, NULL::text AS n, true AS b, 7::smallint AS s, 1.5::float8 AS f, "
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS u, '{\"a\": 1}'::jsonb AS j"
    )
    (row,) = read_query(postgres_uri, query).to_pylist()
    assert row == {
        "v": "x", "t": "ü \u4e09", "n": None, "b": True, "s": 7, "f": 1.5, "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "j": '{"a": 1}',
    }  # fmt: skip


@pytest.mark.parametrize("kind, value", [("money", "'1.20'"), ("point", "'(1,2)'")])
def test_types_without_a_plain_value_are_refused(postgres_uri: str, kind: str, value: str) -> None:
    with pytest.raises(BatchError, match=f"column 'amount' is {kind}.*Cast it"):
        read_query(postgres_uri, f"SELECT {value}::{kind} AS amount")


def test_no_rows_are_a_table_with_columns(postgres_uri: str) -> None:
    none = read_query(postgres_uri, EVENTS + " WHERE false")
    assert none.num_rows == 0 and none.schema.field("amount").type == pa.string()


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE made (a int)", "SELECT 1; DROP TABLE x", "SELECT setval('counted', 9)", "SELECT * FROM missing"],
)
def test_a_source_is_only_read(postgres_uri: str, statement: str) -> None:
    in_server(postgres_uri, "CREATE SEQUENCE IF NOT EXISTS counted")
    with pytest.raises(BatchError, match="^reading from PostgreSQL: .*(Only reading|Check the statement)"):
        read_query(postgres_uri, statement)


def test_several_queries_see_one_moment(postgres_uri: str) -> None:
    moments = read_queries(postgres_uri, {"a": "SELECT txid_current_snapshot()::text AS s", "b": "SELECT now() AS t"})
    again = read_queries(postgres_uri, {"a": "SELECT now() AS t", "b": "SELECT now() AS t"})
    assert set(moments) == {"a", "b"} and again["a"].equals(again["b"])


# --- errors say what to do, and no password ------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:se%63ret@127.0.0.1:1/x",
        "postgresql://me:secret@127.0.0.1:notaport/x",
        "postgresql://me:se%zzcret@127.0.0.1/x",
        "postgresql://me@127.0.0.1:1/x?password=secret",
        "postgresql://me:secret@nowhere.invalid/x",
    ],
)
def test_no_message_has_the_password(uri: str) -> None:
    pytest.importorskip("adbc_driver_postgresql")
    sink = PostgresSink(uri)
    ways: list[Callable[[], object]] = [sink.current, lambda: sink.publish("a", run_tables("a"), 1)]
    for way in ways:
        with pytest.raises(BatchError, match="See that the server runs") as refused:
            way()
        chain = [str(refused.value), repr(refused.value.__cause__), repr(sink)]
        assert not any(secret in text for text in chain for secret in ("secret", "se%63ret", "se%zzcret"))


def test_the_uri_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLVFORECAST_POSTGRES_URI", raising=False)
    with pytest.raises(BatchError, match="CLVFORECAST_POSTGRES_URI"):
        PostgresSink()
    monkeypatch.setenv("CLVFORECAST_POSTGRES_URI", "postgresql://me:secret@host/x")
    assert repr(PostgresSink()) == "PostgresSink('postgresql://me:***@host/x', schema='clv')"


def test_a_user_without_permission_is_told_what_to_do(postgres_uri: str, schema: str) -> None:
    PostgresSink(postgres_uri, schema).publish("a", run_tables("a"), 2)
    user = f"reader_{abs(hash(schema))}"
    grants = (f'GRANT USAGE ON SCHEMA "{schema}" TO {user}', f'GRANT SELECT ON "{schema}".clv_accounts TO {user}')
    in_server(postgres_uri, f"CREATE USER {user}", *grants)
    reader = postgres_uri.replace("postgres@", f"{user}@")
    assert PostgresSink(reader, schema).read("clv_accounts").num_rows == 40, "the views need no more than this"
    for refused in (lambda: PostgresSink(reader, schema).activate("a"), lambda: PostgresSink(reader, schema).runs()):
        with pytest.raises(BatchError, match="permission denied.*have it granted"):
            refused()
    with pytest.raises(BatchError, match="permission denied.*have it granted"):
        PostgresSink(reader, "another").publish("b", run_tables("b"), 2)
    with pytest.raises(BatchError, match="may not make tables there.*CREATE ON DATABASE"):
        PostgresSink(reader, "another").check()
    with pytest.raises(BatchError, match="may not make tables there.*CREATE ON SCHEMA"):
        PostgresSink(reader, schema).check()
    in_server(postgres_uri, f'GRANT CREATE ON SCHEMA "{schema}" TO {user}')
    with pytest.raises(BatchError, match="its tables belong to another user"):
        PostgresSink(reader, schema).check()
    PostgresSink(postgres_uri, schema).check()
    PostgresSink(postgres_uri, "not there yet").check()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clv.duckdb"
    path.write_bytes(b"not a database" * 1000)
    for way in (DuckSink(path).check, lambda: DuckSink(path).publish("a", run_tables("a"), 1)):
        with pytest.raises(BatchError, match="not a valid DuckDB database file"):
            way()
    assert path.read_bytes() == b"not a database" * 1000


def test_no_statement_shows_a_run_that_is_not_there(postgres_uri: str, schema: str) -> None:
    sink = PostgresSink(postgres_uri, schema)
    for number, run_id in enumerate("ab"):
        sink.publish(run_id, run_tables(run_id, number), 2)
    in_server(postgres_uri, f"UPDATE \"{schema}\".current_run SET run_id = 'a'")
    assert sink.current() == "a"
    with pytest.raises(Exception, match="foreign key"):
        in_server(postgres_uri, f"UPDATE \"{schema}\".current_run SET run_id = 'z'")
    assert sink.current() == "a"
