"""The tables of a format as one table of rows, with the columns that a `Mapping` names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import duckdb

from clvforecast.adapters.format import Format, Rows, Table, words
from clvforecast.adapters.mapping import KNOWN, NEEDED, Mapping, make_mapping
from clvforecast.adapters.styles import macros
from clvforecast.errors import LedgerError
from clvforecast.ledger.checks import key_sql, refuse_nested, text_sql
from clvforecast.ledger.tables import NUMBER, ROW, SOURCE, RawTable, counts, literal, plain_name, quoted

EXTRA = "the export's "  # before the names of further columns, which could be those of a format
MOST_WORDS = 12  # of a column that are shown


@dataclass(frozen=True)
class Source:
    """An export in DuckDB.

    raw: its rows; columns: what a mapping calls a column -> the column of `raw`; headers: column of `raw` -> what the export
    calls it; format: its name, None by a mapping alone; tables: the raw tables that were read, with the rows before theirs; rows
    keep their numbers.
    """

    raw: RawTable
    mapping: Mapping
    columns: dict[str, str]
    headers: dict[str, str]
    format: str | None
    tables: tuple[tuple[RawTable, int], ...]

    def header(self, column: str) -> str:
        return self.headers.get(column, column)


def written(raw: RawTable) -> dict[str, str]:
    """Plain name -> the name as it is written in the export."""
    return {plain_name(name): name for name in raw.columns}


def joined(
    connection: duckdb.DuckDBPyConnection,
    known: Format,
    raws: dict[str, RawTable],
    settings: dict[str, Any],
    said_by: str,
) -> Source:
    """The tables of a format that are there as rows of a mapping, each with its place in the export."""
    headers = {table.name: _headers(table, raws.get(table.name)) for table in known.tables}
    for name, raw in raws.items():
        refuse_nested(raw, headers[name].values())
    extras = _extras(known, raws, settings)
    for table in known.tables:
        point = str(settings.get("decimal", "."))
        _view(connection, table, raws.get(table.name), headers[table.name], extras.get(table.name, []), point)
    first = _records_before(connection, known, raws)
    used = [rows for rows in known.rows if rows.table in raws]
    kept = {plain_name(str(name)): next(iter(words), "") for name, words in (settings.get("keep") or {}).items()}
    carried = list(dict.fromkeys(name for names in extras.values() for name in names))
    selects = [
        _select(
            rows,
            first[rows.table],
            extras[rows.table],
            {
                name: kept[plain_name(name)]
                for name in carried
                if plain_name(name) in kept and name not in extras[rows.table]
            },
        )
        for rows in used
    ]
    union = " UNION ALL BY NAME ".join(selects)
    if missing := [key for key in known.asks if key not in settings]:
        _ask(connection, known, missing, union)
    made = _made(known, used, headers)
    columns = [what for what in made if made[what] or not _all_words(known, what)]
    _check_tables(known, raws, columns)
    mapping = _mapping(known, columns, settings, said_by)
    _make_rows(connection, macros(mapping), union)
    _refuse_copies(connection, known, sum(_rows(connection, raws[rows.table]) for rows in used))
    return Source(
        raw=RawTable("raw_export", "export", dict.fromkeys([*made, *carried], "VARCHAR")),
        mapping=mapping,
        columns={what: what for what in mapping.columns},
        headers={what: ", ".join(dict.fromkeys(names)) for what, names in made.items() if names},
        format=known.name,
        tables=tuple((raws[name], before) for name, before in first.items()),
    )


def _records_before(connection: duckdb.DuckDBPyConnection, known: Format, raws: dict[str, RawTable]) -> dict[str, int]:
    """Table -> rows and broken records, which have numbers too, of those before it."""
    before: dict[str, int] = {}
    done = 0
    for name in (table.name for table in known.tables if table.name in raws):
        before[name] = done
        done += _rows(connection, raws[name]) + raws[name].broken.num_rows
    return before


def _made(known: Format, used: Iterable[Rows], headers: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """What a mapping calls a column -> the export's columns that it is made of, in the first table where there are some."""
    made: dict[str, list[str]] = {}
    for rows in used:
        made |= {what: made.get(what) or _found(known, rows, headers, what) for what in rows.makes}
    return made


def _refuse_copies(connection: duckdb.DuckDBPyConnection, known: Format, expected: int) -> None:
    """Refuse an export in which a join has made rows more."""
    (n_rows,) = counts(connection, "SELECT count(*) FROM raw_export")
    if n_rows != expected:
        others = ", ".join(table.name for table in known.tables[1:])
        raise LedgerError(
            f"export: an id stands in several rows of a table that is looked up ({others}). Drop the copies."
        )


def _rows(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> int:
    return int(counts(connection, f"SELECT count(*) FROM {raw.name}")[0])


def _make_rows(connection: duckdb.DuckDBPyConnection, called: Iterable[str], union: str) -> None:
    for macro in called:
        connection.execute(macro)
    connection.execute(f"CREATE TABLE raw_export AS {union}")


def _ask(connection: duckdb.DuckDBPyConnection, known: Format, missing: list[str], union: str) -> NoReturn:
    """Ask for what only the user can know, with what there is to say it of."""
    asked = "; ".join(f"{key} ({known.asks[key]})" for key in missing)
    seen = ""
    if "kinds" in missing:
        _make_rows(connection, macros(None), union)
        seen = _words_of(connection, "kind")
    raise LedgerError(
        f"{known.name}: only you can say {asked}.{seen} Give it in a mapping with format = {known.name!r}."
    )


def time_zone_of(known: Format, settings: dict[str, Any]) -> str | None:
    """The zone whose days count: the user's, or that of the format, but where the user writes days in a style of their own."""
    if settings.get("dates") is not None:
        return settings.get("time_zone")
    return {**known.settings, **settings}.get("time_zone")


def renamed(known: Format, columns: dict[str, str]) -> Format:
    """The format with its headers as they are called in an export: the system's name -> that of the export."""
    wanted = {plain_name(str(name)): str(there) for name, there in columns.items()}
    names = {plain_name(name) for table in known.tables for found in table.all.values() for name in found}
    if unknown := [str(name) for name in columns if plain_name(str(name)) not in names]:
        firsts = ", ".join(found[0] for table in known.tables for found in table.all.values())
        raise LedgerError(f"columns: {', '.join(unknown)} is no column of {known.name}; it knows {firsts}.")

    def of(found: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {
            word: next(((wanted[plain_name(name)],) for name in headers if plain_name(name) in wanted), headers)
            for word, headers in found.items()
        }

    tables = tuple(replace(table, columns=of(table.columns), optional=of(table.optional)) for table in known.tables)
    return replace(known, tables=tables)


def _check_tables(known: Format, raws: dict[str, RawTable], columns: Collection[str]) -> None:
    """Refuse an export without a table that a needed column is in."""
    for what in NEEDED[known.settings["shape"]]:
        tables = {table for rows in known.rows for table, _ in words(rows.makes.get(what, ""), known.tables)}
        missing = [known.table(name) for name in sorted(tables - set(raws))]
        if what not in columns and missing:
            asked = "; ".join(f"{t.name} ({', '.join(names[0] for names in t.columns.values())})" for t in missing)
            raise LedgerError(f"export: {known.name} has its {what} in another table. Give that too: {asked}.")


def _headers(table: Table, raw: RawTable | None) -> dict[str, str]:
    """Word -> the first of its headers that is there, as it is written."""
    there = {} if raw is None else written(raw)
    found = {
        word: next((there[plain_name(name)] for name in names if plain_name(name) in there), None)
        for word, names in {**table.columns, **table.optional}.items()
    }
    return {word: name for word, name in found.items() if name is not None}


def _extras(known: Format, raws: dict[str, RawTable], settings: dict[str, Any]) -> dict[str, list[str]]:
    """Table -> further columns of it that the user wants to keep rows by, or carried along as segments."""
    made = {what for rows in known.rows for what in rows.makes}
    asked = dict.fromkeys(str(name) for name in (*(settings.get("keep") or {}), *(settings.get("segments") or ())))
    wanted = [name for name in asked if plain_name(name) not in made]
    tables = [rows.table for rows in known.rows if rows.table in raws]
    found = {
        table: [written(raws[table])[plain_name(name)] for name in wanted if plain_name(name) in written(raws[table])]
        for table in tables
    }
    missing = [
        name
        for name in wanted
        if plain_name(name) not in {plain_name(there) for names in found.values() for there in names}
    ]
    if missing:
        there = "; ".join(", ".join(raws[table].columns) for table in tables)
        raise LedgerError(f"export: no column {', '.join(missing)}; found are {there}.")
    return found


def _view(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    raw: RawTable | None,
    headers: dict[str, str],
    extras: list[str],
    point: str,
) -> None:
    """A view of a table by its words, all text; one without rows where it is missing."""
    all_words = (*table.columns, *table.optional)
    if raw is None:
        columns = ", ".join(f"NULL::VARCHAR AS {word}" for word in all_words)
        connection.execute(
            f"CREATE VIEW {table.name} AS SELECT 0 AS {NUMBER}, NULL::VARCHAR AS {SOURCE}, 0 AS {ROW}, {columns} WHERE false"
        )
        return
    columns = ", ".join(
        [
            f"{_text_of(raw, headers[word], point) if word in headers else 'NULL::VARCHAR'} AS {word}"
            for word in all_words
        ]
        + [f"{text_sql(name)} AS {quoted(EXTRA + name)}" for name in extras]
    )
    connection.execute(
        f"CREATE VIEW {table.name} AS SELECT {NUMBER}, CAST({SOURCE} AS VARCHAR) AS {SOURCE}, {ROW}, {columns} FROM {raw.name}"
    )


def _text_of(raw: RawTable, column: str, point: str) -> str:
    """A value as text, a number in the style of the export's texts; 1.0, as pandas writes integers with gaps, is 1."""
    text = f"nullif(trim({key_sql(raw, column)}), '')"
    is_number = raw.type_of(column).startswith(("DOUBLE", "FLOAT", "DECIMAL"))
    return f"replace({text}, '.', {literal(point)})" if is_number else text


def _select(rows: Rows, before: int, extras: list[str], elsewhere: dict[str, str]) -> str:
    """Rows of a table, with the further columns that it has; where only another table has one to keep rows by, all are kept."""
    made = ", ".join(
        [f"CAST({sql} AS VARCHAR) AS {quoted(what)}" for what, sql in rows.makes.items()]
        + [f"{rows.table}.{quoted(EXTRA + name)} AS {quoted(name)}" for name in extras]
        + [f"{literal(word)} AS {quoted(name)}" for name, word in elsewhere.items()]
    )
    key = (
        f"{rows.table}.{NUMBER} + {before} AS {NUMBER}, {rows.table}.{SOURCE} AS {SOURCE}, {rows.table}.{ROW} AS {ROW}"
    )
    return f"SELECT {key}, {made} FROM {rows.table} {rows.joins}"


def _found(known: Format, rows: Rows, headers: dict[str, dict[str, str]], what: str) -> list[str]:
    """The export's columns that a column is made of, as far as they are there; of one to keep rows by, that of its name."""
    made_of = [(table, word) for table, word in words(rows.makes[what], known.tables) if word in headers[table]]
    if what not in KNOWN[known.settings["shape"]]:
        made_of = [(table, word) for table, word in made_of if word == what] or made_of
    return [headers[table][word] for table, word in made_of]


def _all_words(known: Format, what: str) -> bool:
    """Whether a column is made of any columns of the export, and not the same in all rows."""
    return any(words(rows.makes.get(what, ""), known.tables) for rows in known.rows)


def _mapping(known: Format, columns: Collection[str], settings: dict[str, Any], said_by: str) -> Mapping:
    """The format's settings with the user's over them."""
    whole = {**known.settings, **settings, "time_zone": time_zone_of(known, settings)}
    whole["columns"] = {what: what for what in columns if what in KNOWN[whole["shape"]]}
    for key, column in (("kinds", "kind"), ("months", "term_months")):
        if column not in columns and key not in settings:
            whole.pop(key, None)
    kept = {name: values for name, values in known.settings.get("keep", {}).items() if name in columns}
    asked = {
        plain_name(name) if plain_name(name) in columns else name: values
        for name, values in (settings.get("keep") or {}).items()
    }
    whole["keep"] = {**kept, **asked}
    return make_mapping(whole, known.name if said_by == known.name else f"{said_by} ({known.name})")


def _words_of(connection: duckdb.DuckDBPyConnection, column: str) -> str:
    """The words of a column with how often they stand, for a message."""
    found = connection.execute(
        f"SELECT {quoted(column)}, count(*) FROM raw_export GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST_WORDS}"
    ).fetchall()
    return (
        " Found are " + ", ".join(f"{literal(word) if word else 'empty'} ({rows} rows)" for word, rows in found) + "."
    )
