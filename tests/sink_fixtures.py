"""Where tests publish to: a new DuckDB file, and a schema of its own on a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from clvforecast.batch.sinks import Sink, sink_of


@pytest.fixture(params=["duckdb", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where to publish: a new file, or a server in which the test has a schema of its own."""
    return str(tmp_path / "clv.duckdb") if request.param == "duckdb" else request.getfixturevalue("postgres_uri")


@pytest.fixture
def schema(request: pytest.FixtureRequest) -> str:
    return f"Clv {abs(hash(request.node.nodeid))}"


@pytest.fixture
def sink(target: str, schema: str) -> Sink:
    return sink_of(target, schema)


def same(found: pa.Table, given: pa.Table, key: str | None = None) -> None:
    """The same rows, in whatever order."""
    order = [(name, "ascending") for name in given.column_names] if key is None else [(key, "ascending")]
    found = found.select(given.column_names).cast(given.schema)
    assert found.sort_by(order).equals(given.sort_by(order))


def in_server(uri: str, *statements: str) -> list[tuple[object, ...]]:
    """What the last of the statements finds."""
    dbapi = pytest.importorskip("adbc_driver_postgresql.dbapi")
    rows: list[tuple[object, ...]] = []
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            rows = list(cursor.fetchall()) if cursor.description else []
    return rows
