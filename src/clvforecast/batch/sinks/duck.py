"""The embedded sink: one DuckDB file that holds the kept runs.

Publishing never writes into the file that people have open. It copies the file, changes the copy, brings it to the disk and puts
it in the file's place by one rename. So

- who has the file open, read-only or not, keeps the run that was current, undisturbed, until it is opened again, and no
  reader's lock can stop a night;
- a process that is killed leaves the old file or the new one, and a temporary that the next day's run removes;
- it takes as much space again while it runs, and for each run the time of copying the kept ones: seconds a gigabyte.

What others write into the file is not kept. (On Windows a file that is open cannot be replaced: the night then ends with an
error that says so, and publishing again is all it takes.)
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from filelock import FileLock, Timeout

from clvforecast.batch.rows import Batches, Rows, rows_of_run
from clvforecast.batch.schema import RUNS, TABLES
from clvforecast.batch.sinks.interface import NO_PLACES, check_keep, check_name
from clvforecast.batch.sinks.layout import (
    CREATE_CURRENT_RUN,
    CURRENT_RUN,
    Layout,
    Places,
    column_list,
    newly_superseded,
)
from clvforecast.batch.sinks.views import RUNS_VIEW
from clvforecast.durable import put_in_place
from clvforecast.errors import BatchError
from clvforecast.sql import literal, quoted

CONFIG: dict[str, Any] = {"memory_limit": "750MB", "storage_compatibility_version": "v1.2.0"}
"""What DuckDB holds in memory while it writes, the same for any number of accounts, and the oldest DuckDB that reads the file."""
LEFT_BESIDE = (".wal", ".tmp")
"""What DuckDB puts beside the file that it writes, by the end of the name."""
UTC_NOW = "make_timestamp(epoch_us(now()))"


class _Unchanged(Exception):
    """The file stays as it is."""


class DuckSink:
    """A DuckDB file at ``path``, made by the first publication, with its folder. See `Sink`.

    wait_seconds: how long to wait for another process that is publishing to the same file.
    """

    def __init__(self, path: str | os.PathLike[str], wait_seconds: float = 3600.0) -> None:
        self.path = Path(path)
        self.wait_seconds = wait_seconds

    def __repr__(self) -> str:
        return f"DuckSink({str(self.path)!r})"

    def publish(
        self,
        run_id: str,
        tables: Mapping[str, Batches],
        keep_runs: int,
        make_current: bool = True,
        places: Places = NO_PLACES,
    ) -> bool:
        """See `Sink`."""
        check_keep(keep_runs)
        try:
            with self._rewritten() as connection:
                layout = _layout(connection)
                if run_id in _run_ids(connection, layout):
                    raise _Unchanged
                rows = rows_of_run(run_id, tables)
                _lay_out(connection, layout, rows)
                before = _current_run(connection)
                shown = run_id if make_current or before is None else before
                _retire(connection, keep_runs - 1, None if shown == run_id else shown)
                _load(connection, run_id, rows)
                _make_current(connection, shown, places)
        except _Unchanged:
            return False
        return True

    def check(self) -> None:
        """See `Sink`."""
        self.current()
        folder = self.path.parent
        if folder.exists() and not os.access(folder, os.W_OK):
            raise BatchError(f"{folder}: nothing can be written there. Have it made writable, or name another path.")

    def activate(self, run_id: str, places: Places = NO_PLACES) -> None:
        """See `Sink`."""
        known = self.runs()["run_id"].to_pylist()
        if run_id not in known:
            raise BatchError(
                f"{self.path}: run {run_id!r} is not there; there are {', '.join(known) or 'none'}. Activate one of them."
            )
        if self._is_shown(run_id, places):
            return
        with self._rewritten() as connection:
            _make_current(connection, run_id, places)

    def _is_shown(self, run_id: str, places: Places) -> bool:
        """Whether the run is the current one already, and all runs have their places."""
        with self._opened() as connection:
            return _current_run(connection) == run_id and not newly_superseded(_places(connection), run_id, places)

    def current(self) -> str | None:
        """See `Sink`."""
        if not self.path.exists():
            return None
        with self._opened() as connection:
            return _current_run(connection)

    def runs(self) -> pa.Table:
        """See `Sink`."""
        wanted = pa.schema([(column.name, column.type) for _, column in RUNS_VIEW.columns])
        if not self.path.exists():
            return wanted.empty_table()
        with self._opened() as connection:
            return connection.sql("SELECT * FROM clv_runs ORDER BY publication").to_arrow_table().cast(wanted)

    def read(self, name: str, run_id: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """See `Sink`."""
        check_name(name)
        if not self.path.exists():
            raise BatchError(f"{self.path}: there is no such file. Publish a run first.")
        selected = "*" if columns is None else ", ".join(map(quoted, columns))
        of_run = "" if run_id is None else f" WHERE run_id = {literal(run_id)}"
        with self._opened() as connection:
            return connection.sql(f"SELECT {selected} FROM {name}{of_run}").to_arrow_table()

    @contextmanager
    def _opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file as it stands, to read; others may read it too."""
        try:
            with duckdb.connect(str(self.path), read_only=True) as connection:
                yield connection
        except duckdb.Error as error:
            raise BatchError(
                f"{self.path}: cannot be read ({error}). If a program has it open to write, close it there: everybody opens it "
                "read-only. If it is another program's file, name another path. If it is damaged, move it away: the next run "
                "makes a new one."
            ) from error

    @contextmanager
    def _rewritten(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A copy of the file, to change; it takes the file's place when the block ends without an error."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=self.wait_seconds):
                _remove_left(self.path)
                with put_in_place(self.path) as temporary:
                    self._copy(temporary)
                    with duckdb.connect(str(temporary), config=CONFIG) as connection:
                        connection.execute("SET preserve_insertion_order = false")  # or batches pile up in memory
                        yield connection
                        connection.execute("CHECKPOINT")
                    # What a program that writes into the old file has not yet put into it would not fit the new one.
                    self.path.with_name(f"{self.path.name}.wal").unlink(missing_ok=True)
        except Timeout as error:
            raise BatchError(
                f"{self.path}: another process has been publishing to it for {self.wait_seconds:,.0f} seconds. Wait for its "
                "end, or end it, and publish again."
            ) from error
        except duckdb.Error as error:
            raise BatchError(f"{self.path}: the run cannot be written ({error}). Nothing has changed.") from error
        except OSError as error:
            raise BatchError(
                f"{self.path}: the new file cannot be put in place ({error}). Nothing has changed; see that the folder can be "
                "written and has room for the file twice, and publish again."
            ) from error

    def _copy(self, temporary: Path) -> None:
        if not self.path.exists():
            temporary.unlink()  # DuckDB makes its files itself
            return
        before = self.path.stat()
        shutil.copy(self.path, temporary)  # with the permissions that it was given
        after = self.path.stat()
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise BatchError(
                f"{self.path}: another program writes into it. Open it read-only there, and publish again."
            )


def _remove_left(path: Path) -> None:
    """What DuckDB left beside temporaries that are gone; those themselves are `put_in_place`'s to remove."""
    for ending in LEFT_BESIDE:
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.part{ending}"):
            if not left.with_name(left.name.removesuffix(ending)).exists():
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _layout(connection: duckdb.DuckDBPyConnection) -> Layout:
    query = (
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal "
        "ORDER BY table_name, column_index"
    )
    return Layout.of("", connection.execute(query).fetchall())


def _run_ids(connection: duckdb.DuckDBPyConnection, layout: Layout) -> list[str]:
    if RUNS.name not in layout.found:
        return []
    return [str(row[0]) for row in connection.execute("SELECT run_id FROM runs ORDER BY publication").fetchall()]


def _lay_out(connection: duckdb.DuckDBPyConnection, layout: Layout, rows: Mapping[str, Rows]) -> None:
    """Tables, columns and views that this run needs."""
    segments = layout.with_new(rows["account_ranges"].segments)
    connection.execute("BEGIN")  # one write to the disk, not one a statement
    for table in layout.missing_tables():
        columns = table.with_segments(segments) if table.has_segments else table
        connection.execute(f"CREATE TABLE {table.name} ({column_list(columns.columns)})")
    if CURRENT_RUN not in layout.found:
        connection.execute(CREATE_CURRENT_RUN.replace("{at}", ""))
    mark = layout.mark(segments)
    if connection.execute(f"SELECT comment FROM duckdb_tables() WHERE table_name = '{CURRENT_RUN}'").fetchall() != [
        (mark,)
    ]:
        for statement in (*layout.new_columns(segments), *layout.new_views(segments), *layout.comments(segments)):
            connection.execute(statement)
        connection.execute(f"COMMENT ON TABLE {CURRENT_RUN} IS {literal(mark)}")
    connection.execute("COMMIT")


def _current_run(connection: duckdb.DuckDBPyConnection) -> str | None:
    found = connection.execute("SELECT run_id FROM current_run").fetchall()
    return str(found[0][0]) if found else None


def _retire(connection: duckdb.DuckDBPyConnection, keep: int, shown: str | None) -> None:
    """Remove all runs but those that were published last, and the one that stays current; their space is then free."""
    old = connection.execute("SELECT run_id FROM runs ORDER BY publication DESC OFFSET ?", [keep]).fetchall()
    for (run_id,) in old:
        if run_id == shown:
            continue
        for name in TABLES:
            connection.execute(f"DELETE FROM {name} WHERE run_id = ?", [run_id])
    connection.execute("CHECKPOINT")


def _load(connection: duckdb.DuckDBPyConnection, run_id: str, rows: Mapping[str, Rows]) -> None:
    for name, of_table in rows.items():
        added = ""
        if name == RUNS.name:
            added = (
                f", (SELECT coalesce(max(publication), 0) + 1 FROM runs) AS publication, {UTC_NOW} AS published_at, "
                "CAST(NULL AS text) AS superseded_by"
            )
        connection.register("incoming", of_table.reader())
        try:
            connection.execute(f"INSERT INTO {name} BY NAME SELECT *{added} FROM incoming")
        except duckdb.Error:
            of_table.explain()
            raise
        connection.unregister("incoming")
    _check_keys(connection, run_id)


def _check_keys(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """One row in `runs`, and one an account; an index that kept it so would have to be held in memory."""
    n_runs = connection.execute("SELECT count(*) FROM runs WHERE run_id = ?", [run_id]).fetchall()[0][0]
    if n_runs != 1:
        raise BatchError(f"run {run_id}: {n_runs} rows in the table runs. Give the one row that says what the run is.")
    twice = connection.execute(
        "SELECT account_id FROM account_ranges WHERE run_id = ? GROUP BY account_id HAVING count(*) > 1 LIMIT 1",
        [run_id],
    ).fetchall()
    if twice:
        raise BatchError(f"account_ranges: account {twice[0][0]!r} has more than one row in run {run_id}. Give one.")


def _make_current(connection: duckdb.DuckDBPyConnection, run_id: str, places: Places) -> None:
    connection.execute("INSERT OR REPLACE INTO current_run (only_row, run_id) VALUES (true, ?)", [run_id])
    for other, by in newly_superseded(_places(connection), run_id, places).items():
        connection.execute("UPDATE runs SET superseded_by = ? WHERE run_id = ?", [by, other])


def _places(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT run_id, as_of, superseded_by FROM runs").fetchall()
