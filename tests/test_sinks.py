"""Published runs are there whole, exactly once, and mean the same in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from clvforecast.batch.schema import ACCOUNT_RANGES, RUNS, TABLES, as_markdown
from clvforecast.batch.sinks import DuckSink, Sink
from clvforecast.batch.sinks.views import VIEW_NAMES, views
from clvforecast.errors import BatchError
from postgres_server import postgres_uri as postgres_uri
from published_runs import account_batches, run_tables
from sink_fixtures import in_server, same
from sink_fixtures import schema as schema
from sink_fixtures import sink as sink
from sink_fixtures import target as target

ODD_RUN = 'o\'neil \\ "2025" ü'


# --- what is published is what is read ---------------------------------------------------------------------


def test_every_table_comes_back_as_it_was(sink: Sink) -> None:
    tables = run_tables(ODD_RUN, 3, segments=("plan", "Größe \"x\" 'y'"))
    assert sink.publish(ODD_RUN, tables, 3)
    assert sink.current() == ODD_RUN
    for name, table in tables.items():
        same(sink.read(name), table)
        same(sink.read(name, run_id=ODD_RUN), table)
    assert sink.read("account_ranges", columns=["account_id"]).column_names == ["account_id"]
    assert sink.read("clv_accounts").column_names == tables["account_ranges"].column_names


def test_nan_is_null_and_what_a_run_does_not_have_too(sink: Sink) -> None:
    tables = run_tables("a", accounts=2)
    accounts = tables["account_ranges"].drop_columns(["paid_to_date", "p_active_36m"])
    mean = accounts.column_names.index("mean")
    tables["account_ranges"] = accounts.set_column(mean, "mean", pa.array([float("nan"), 1.5]))
    del tables["arr_ranges"]
    sink.publish("a", tables, 1)
    read = sink.read("clv_accounts").sort_by("account_id")
    assert read["mean"].to_pylist() == [None, 1.5]
    assert read["paid_to_date"].null_count == read["p_active_36m"].null_count == 2
    assert sink.read("clv_arr").num_rows == 0


def test_what_pandas_makes_of_the_columns_is_taken(sink: Sink) -> None:
    """Dictionaries, large texts, times of day 0 and wider integers are the schema's types when nothing is lost."""
    tables = run_tables("a", accounts=3)
    accounts, runs = tables["account_ranges"], tables["runs"]
    accounts = accounts.set_column(accounts.num_columns - 1, "plan", accounts["plan"].dictionary_encode())
    accounts = accounts.set_column(1, "as_of", accounts["as_of"].cast(pa.timestamp("ns")))
    accounts = accounts.set_column(2, "account_id", accounts["account_id"].cast(pa.large_string()))
    place = runs.column_names.index("draws")
    given = {"account_ranges": accounts, "runs": runs.set_column(place, "draws", runs["draws"].cast(pa.int64()))}
    sink.publish("a", {**tables, **given}, 1)
    same(sink.read("account_ranges"), tables["account_ranges"])


def test_before_the_first_publication_there_is_nothing(sink: Sink) -> None:
    assert sink.current() is None
    assert sink.runs().num_rows == 0 and sink.runs().column_names[-1] == "is_current"
    with pytest.raises(BatchError):
        sink.read("clv_accounts")
    with pytest.raises(BatchError, match="is not there"):
        sink.activate("a")


# --- exactly once, and back again ----------------------------------------------------------------------------


def test_the_moment_is_utc_without_a_zone(sink: Sink) -> None:
    """So that every reader takes it: DuckDB's own wants another package for moments with a zone."""
    before = datetime.now(UTC).replace(tzinfo=None)
    sink.publish("a", run_tables("a"), 2)
    published = sink.read("clv_runs")["published_at"]
    assert published.type.tz is None
    assert abs(published[0].as_py() - before) < timedelta(minutes=5)


def test_a_run_is_published_once(sink: Sink) -> None:
    assert sink.publish("a", run_tables("a", 1), 3)
    assert sink.publish("b", run_tables("b", 2), 3)
    before = sink.runs()
    assert not sink.publish("a", run_tables("a", 7), 3), "there already: nothing is read, nothing changes"
    assert sink.current() == "b" and sink.runs().equals(before)
    same(sink.read("account_ranges", run_id="a"), run_tables("a", 1)["account_ranges"])


def test_the_last_runs_stay(sink: Sink) -> None:
    for number, run_id in enumerate("abcd"):
        sink.publish(run_id, run_tables(run_id, number), 2)
    assert sink.runs()["run_id"].to_pylist() == ["c", "d"]
    assert sink.runs()["is_current"].to_pylist() == [False, True]
    for name in TABLES:
        assert set(sink.read(name)["run_id"].to_pylist()) == {"c", "d"}
    sink.publish("a", run_tables("a", 9), 2)  # a name that was there before is a new run
    assert sink.runs()["run_id"].to_pylist() == ["d", "a"]
    same(sink.read("clv_accounts"), run_tables("a", 9)["account_ranges"])


def test_an_earlier_run_can_be_made_current_again(sink: Sink) -> None:
    for number, run_id in enumerate("abc"):
        sink.publish(run_id, run_tables(run_id, number), 3)
    sink.activate("b")
    sink.activate("b")
    assert sink.current() == "b"
    same(sink.read("clv_accounts"), run_tables("b", 1)["account_ranges"])
    assert set(sink.read("clv_changes")["previous_run_id"].to_pylist()) == {"a"}
    assert sink.runs()["is_current"].to_pylist() == [False, True, False]
    with pytest.raises(BatchError, match="is not there"):
        sink.activate("z")
    sink.publish("d", run_tables("d", 3), 2)
    assert sink.current() == "d" and sink.runs()["run_id"].to_pylist() == ["c", "d"]


# --- views ---------------------------------------------------------------------------------------------------


def test_views_have_their_rows_of_the_current_run(sink: Sink) -> None:
    sink.publish("a", run_tables("a", 1, other_rows=24), 2)
    given = run_tables("b", 2, other_rows=24)
    sink.publish("b", given, 2)
    periods = given["period_ranges"]
    of_segments = pc.invert(pc.is_in(periods["segment"], pa.array(["all", "origin"])))
    quarters = pc.and_(pc.equal(periods["freq"], "quarter"), pc.equal(periods["value"], "revenue"))
    same(sink.read("clv_segment_quarters"), periods.filter(pc.and_(of_segments, quarters)))
    same(sink.read("clv_segments"), periods.filter(pc.and_(of_segments, pc.equal(periods["freq"], "total"))))
    same(sink.read("clv_portfolio"), periods.filter(pc.equal(periods["segment"], "all")))
    same(sink.read("clv_arr"), given["arr_ranges"])
    same(sink.read("clv_retention"), given["retention_ranges"])
    assert all(sink.read(name).num_rows for name in VIEW_NAMES)


def test_changes_put_the_run_before_beside_the_current_one(sink: Sink) -> None:
    before = run_tables("a", 1, accounts=5)["account_ranges"]
    after = run_tables("b", 2, accounts=6)["account_ranges"].slice(1)
    for run_id, number, accounts in (("a", 1, before), ("b", 2, after)):
        tables = run_tables(run_id, number)
        none = tables["account_failures"].slice(0, 0)
        sink.publish(run_id, {**tables, "account_ranges": accounts, "account_failures": none}, 2)
    changes = sink.read("clv_changes").sort_by("account_id").to_pylist()
    assert [row["found_in"] for row in changes] == ["gone", "both", "both", "both", "both", "new"]
    old = {row["account_id"]: row for row in before.to_pylist()}
    new = {row["account_id"]: row for row in after.to_pylist()}
    for row in changes[1:-1]:
        then, now = old[row["account_id"]], new[row["account_id"]]
        assert (row["q50"], row["previous_q50"]) == (now["q50"], then["q50"])
        assert (row["lower"], row["previous_upper"]) == (now["lower"], then["upper"])
        assert row["q50_change"] == (None if None in (now["q50"], then["q50"]) else now["q50"] - then["q50"])
        assert (row["run_id"], row["previous_run_id"]) == ("b", "a")


def changed(table: pa.Table, name: str, value: object) -> pa.Table:
    place = table.column_names.index(name)
    return table.set_column(place, table.schema.field(name), pa.array([value] * table.num_rows, table[name].type))


@pytest.mark.parametrize(
    "name, value",
    [("horizon_months", 60), ("timing", "booked"), ("currency", "EUR"), ("ci_prob", 0.5), ("ci_kind", "hdi")],
)
def test_changes_compare_with_what_can_be_compared(name: str, value: object, sink: Sink) -> None:
    for number, run_id in enumerate("abc"):
        tables = run_tables(run_id, number)
        runs = changed(tables["runs"], name, value) if run_id == "b" else tables["runs"]
        sink.publish(run_id, {**tables, "runs": runs}, 3)
    assert set(sink.read("clv_changes")["previous_run_id"].to_pylist()) == {"a"}


def test_changes_tell_accounts_that_failed_from_those_that_are_gone(sink: Sink) -> None:
    before, tables = run_tables("a", 1, accounts=6), run_tables("b", 2, accounts=4)
    failures = tables["account_failures"].slice(0, 1)
    tables["account_failures"] = changed(failures, "account_id", before["account_ranges"]["account_id"][5].as_py())
    sink.publish("a", {**before, "account_failures": failures.slice(0, 0)}, 2)
    sink.publish("b", tables, 2)
    changes = sink.read("clv_changes").sort_by("account_id")
    assert changes["found_in"].to_pylist() == ["both", "both", "both", "both", "gone", "failed"]


def test_superseded_runs_are_those_that_are_said(sink: Sink) -> None:
    """Day 1 twice, the second mended, then day 2; back to day 1 and on again. A run that nobody speaks of stays as it is, unless
    it is of a day that the current one takes the place of."""

    def told() -> dict[str, str]:
        runs = sink.runs()
        found = zip(runs["run_id"].to_pylist(), runs["superseded_by"].to_pylist(), strict=True)
        return {run_id: by for run_id, by in found if by is not None}

    places: dict[str, str | None] = {"bad": "mended", "mended": None}
    for run_id, number in (("unknown", 0), ("bad", 1), ("mended", 1)):
        sink.publish(run_id, run_tables(run_id, number), 9, places=places)
    assert told() == {"bad": "mended"}
    sink.publish("next", run_tables("next", 2), 9, places={**places, "next": None})
    assert set(sink.read("clv_changes")["previous_run_id"].to_pylist()) == {"mended"}
    back = {**places, "next": "mended"}
    sink.activate("mended", back)
    assert (told(), sink.current()) == ({"bad": "mended", "next": "mended"}, "mended")
    sink.activate("next", {**places, "next": None})
    assert (told(), sink.current()) == ({"bad": "mended"}, "next")
    sink.activate("next", {**places, "next": None, "unknown": "mended"})
    assert told() == {"bad": "mended", "unknown": "mended"}, "no other run becomes current, and the places change"
    sink.publish(
        "filled", run_tables("filled", 1), 9, False, {**places, "mended": "filled", "bad": "filled", "filled": None}
    )
    assert (told(), sink.current()) == ({"bad": "filled", "mended": "filled", "unknown": "mended"}, "next")
    assert set(sink.read("clv_changes")["previous_run_id"].to_pylist()) == {"filled"}
    sink.activate("bad")
    assert told() == dict.fromkeys(["filled", "mended", "next"], "bad") | {"unknown": "mended"}, (
        "nothing is said of any"
    )


# --- columns that grow ---------------------------------------------------------------------------------------


def test_new_segment_columns_come_last_and_old_ones_stay(sink: Sink) -> None:
    sink.publish("a", run_tables("a", 1, segments=("plan",)), 9)
    sink.publish("b", run_tables("b", 2, segments=("region", "plan")), 9)
    sink.publish("c", run_tables("c", 3, segments=()), 9)
    assert sink.read("clv_accounts").column_names == [*ACCOUNT_RANGES.names, "plan", "region"]
    assert sink.read("account_ranges", "a")["region"].null_count == 40
    same(sink.read("account_ranges", "b"), run_tables("b", 2, segments=("region", "plan"))["account_ranges"])
    assert sink.read("account_ranges", "c")["plan"].null_count == 40


@pytest.mark.parametrize(
    "name, values, said",
    [
        ("Mean", ["x"], "has the name of the column 'mean'"),
        ("PLAN", ["x"], "has the name of the column 'plan'"),
        ("x" * 64, ["x"], "63"),
        ("seats", [5], "holds int64"),
    ],
)
def test_segment_columns_that_cannot_be_are_refused_before_anything_is_written(
    sink: Sink, name: str, values: list[object], said: str
) -> None:
    sink.publish("a", run_tables("a", accounts=1), 3)
    tables = run_tables("b", accounts=1)
    tables["account_ranges"] = tables["account_ranges"].append_column(name, pa.array(values))
    with pytest.raises(BatchError, match=said):
        sink.publish("b", tables, 3)
    assert sink.current() == "a" and sink.runs().num_rows == 1


def test_a_column_of_another_type_is_refused(sink: Sink, target: str, schema: str) -> None:
    sink.publish("a", run_tables("a"), 3)
    statement = "ALTER TABLE {at}account_ranges ADD COLUMN seats bigint"
    if isinstance(sink, DuckSink):
        with duckdb.connect(target) as connection:
            connection.execute(statement.format(at=""))
    else:
        in_server(target, statement.format(at=f'"{schema}".'))
    with pytest.raises(BatchError, match="column 'seats' is bigint there, but text"):
        sink.publish("b", run_tables("b", segments=("seats",)), 3)
    assert sink.current() == "a"


@pytest.mark.parametrize(
    "spoil", ["no runs", "two runs", "unknown table", "missing column", "foreign run", "no id", "twice"]
)
def test_tables_that_do_not_fit_are_refused_and_nothing_changes(sink: Sink, spoil: str) -> None:
    sink.publish("a", run_tables("a", 1), 3)
    tables = run_tables("b", 2)
    accounts = tables["account_ranges"]
    spoilt = {
        "no runs": {"runs": tables["runs"].slice(0, 0)},
        "two runs": {"runs": pa.concat_tables([tables["runs"], tables["runs"]])},
        "unknown table": {"account_rangs": accounts},
        "missing column": {"account_ranges": accounts.drop_columns(["mean"])},
        "foreign run": {"account_ranges": pa.concat_tables([accounts, run_tables("c")["account_ranges"]])},
        "no id": {"account_ranges": accounts.set_column(2, "account_id", pa.nulls(40, pa.string()))},
        "twice": {"account_ranges": pa.concat_tables([accounts, accounts.slice(3, 1)])},
    }
    with pytest.raises(BatchError):
        sink.publish("b", {**tables, **spoilt[spoil]}, 1)
    assert sink.current() == "a" and sink.runs()["run_id"].to_pylist() == ["a"]
    assert set(sink.read("account_ranges")["run_id"].to_pylist()) == {"a"}
    assert sink.publish("b", tables, 1) and sink.current() == "b"


def test_an_error_in_the_making_of_rows_is_told_and_nothing_changes(sink: Sink) -> None:
    sink.publish("a", run_tables("a", 1), 3)

    def broken() -> Iterator[pa.RecordBatch]:
        yield from account_batches("b", 2, 100_000)
        raise ValueError("the disk of the kitchen is full")

    with pytest.raises(BatchError, match="the disk of the kitchen is full"):
        sink.publish("b", {**run_tables("b", 2), "account_ranges": broken()}, 3)
    assert sink.current() == "a" and sink.runs().num_rows == 1


@pytest.mark.parametrize("keep_runs", [0, -1, 1.5, True])
def test_at_least_the_published_run_stays(sink: Sink, keep_runs: int) -> None:
    with pytest.raises(BatchError, match="keep_runs"):
        sink.publish("a", run_tables("a"), keep_runs)


# --- what the databases say of their columns ------------------------------------------------------------------


def test_comments_say_what_every_column_means(sink: Sink, target: str, schema: str) -> None:
    sink.publish("a", run_tables("a"), 2)
    if isinstance(sink, DuckSink):
        query = "SELECT table_name, column_name, comment FROM duckdb_columns()"
        with duckdb.connect(target, read_only=True) as connection:
            found = connection.execute(query).fetchall()
    else:
        found = in_server(
            target,
            "SELECT c.relname::text, a.attname::text, col_description(c.oid, a.attnum) FROM pg_class c JOIN pg_attribute a "
            f"ON a.attrelid = c.oid WHERE c.relnamespace = '\"{schema}\"'::regnamespace AND a.attnum > 0",
        )
    said = {(table, column): comment for table, column, comment in found}
    for table in TABLES.values():
        for column in table.columns:
            assert column.meaning in str(said[table.name, column.name])
    for view in views(("plan",)):
        for _, column in view.columns:
            assert column.meaning in str(said[view.name, column.name])


def test_the_schema_prints_as_a_table() -> None:
    for table in TABLES.values():
        lines = as_markdown(table).splitlines()
        assert all(line.count("|") == 5 for line in lines)
        assert len(lines) == 2 + len(table.columns) + (3 if table is RUNS else 0) + table.has_segments


def test_every_table_begins_with_its_run_and_day() -> None:
    assert all(table.names[:2] == ("run_id", "as_of") for table in TABLES.values())
    assert date(2025, 7, 3) in run_tables("a", 3)["runs"]["as_of"].to_pylist()
