"""The tables of an export as one table of rows, with the columns that a `Mapping` names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from clvforecast.adapters.format import MACROS, Format, Rows, Table, words
from clvforecast.adapters.formats import FORMATS
from clvforecast.adapters.mapping import KNOWN, NEEDED, Mapping, Shape, make_mapping, read_settings
from clvforecast.errors import LedgerError
from clvforecast.events import REQUIRED_COLUMNS
from clvforecast.ledger.checks import refuse_nested, text_sql
from clvforecast.ledger.tables import (
    NUMBER,
    ROW,
    SOURCE,
    RawTable,
    columns_of,
    counts,
    is_path,
    literal,
    matching,
    quoted,
    read_table,
)

KNOWN_FORMATS = ", ".join(FORMATS)
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


def open_source(
    connection: duckdb.DuckDBPyConnection,
    export: Any,
    mapping: Mapping | AnyMapping[str, Any] | str | Path | None,
    currency: str | None = None,
) -> Source:
    """Read an export by a mapping, by a format, or, without either, by the format that its headers tell.

    currency: of all money, where neither the export nor the mapping names one.

    Raises
    ------
    LedgerError
        For a mapping or an export that cannot be used as a whole, with what is missing.
    """
    if isinstance(mapping, Mapping):
        return _mapped(connection, export, mapping)
    settings, said_by = _settings(mapping)
    name = settings.pop("format", None)
    if currency is not None:
        settings.setdefault("currency", currency)
    if name is None and "shape" in settings:
        return _mapped(connection, export, make_mapping(settings, said_by))
    return _formatted(connection, export, name, settings, said_by)


def _settings(mapping: AnyMapping[str, Any] | str | Path | None) -> tuple[dict[str, Any], str]:
    """The keys that are given, and by what."""
    if mapping is None:
        return {}, "mapping"
    if isinstance(mapping, str) and mapping in FORMATS:
        return {"format": mapping}, mapping
    if isinstance(mapping, str | Path):
        if not Path(mapping).suffix:
            raise LedgerError(f"{mapping}: no such format; known are {KNOWN_FORMATS}, or give a mapping's TOML file.")
        return read_settings(mapping), str(mapping)
    return dict(mapping), "mapping"


# --- by a mapping ---------------------------------------------------------------------------------------------------


def _mapped(connection: duckdb.DuckDBPyConnection, export: Any, mapping: Mapping) -> Source:
    raw = read_table(connection, export, "export", (), mapping.encoding)
    there = written(raw)
    wanted = (*mapping.columns.values(), *mapping.keep, *mapping.segments)
    missing = [name for name in dict.fromkeys(wanted) if plain(name) not in there]
    if missing:
        raise LedgerError(
            f"export: no column {', '.join(missing)}; found are {', '.join(raw.columns) or 'none'}. Name this export's columns "
            "in the mapping."
        )
    refuse_nested(raw, [there[plain(name)] for name in wanted])
    columns = {what: there[plain(name)] for what, name in mapping.columns.items()}
    return Source(raw, mapping, columns, {}, None, ((raw, 0),))


def written(raw: RawTable) -> dict[str, str]:
    """Plain name -> the name as it is written in the export."""
    return {plain(name): name for name in raw.columns}


def plain(name: str) -> str:
    return name.strip().lower()


# --- by a format ----------------------------------------------------------------------------------------------------


def recognised(headers: Sequence[Sequence[str]]) -> str | None:
    """The format whose tables have these headers: all of them, and of several such the one that knows most columns."""
    found = {name: _roles(known, headers) for name, known in FORMATS.items()}
    whole = {name: roles for name, roles in found.items() if roles is not None and len(roles) == len(headers)}
    known = {name: sum(len(FORMATS[name].table(role).columns) for role in roles) for name, roles in whole.items()}
    return max(known, key=lambda name: known[name]) if known else None


def holds_events(source: Any) -> bool:
    """Whether a table, or the first of some files, has columns of revenue events, and none of an export that is known."""
    there = {plain(name) for name in columns_of(source, "events")}
    return bool(there.intersection(REQUIRED_COLUMNS) - {"account_id", "amount", "currency"}) and (
        recognised([sorted(there)]) in (None, "events")
    )


def _roles(known: Format, headers: Sequence[Sequence[str]]) -> dict[str, int] | None:
    """Which header is that of which table, each of one; None where the first table, which tells the format, is missing."""
    free = {place: {plain(name) for name in header} for place, header in enumerate(headers)}
    roles: dict[str, int] = {}
    for table in known.tables:
        mine = [place for place, header in free.items() if not _missing(table, header)]
        if mine:
            roles[table.name] = mine[0]
            del free[mine[0]]
        elif not roles:
            return None
    return roles


def _missing(table: Table, header: Iterable[str]) -> list[str]:
    """The needed columns of a table that a header (plain names) lacks, by the first name of each."""
    there = set(header)
    return [names[0] for names in table.columns.values() if not any(plain(name) in there for name in names)]


def _formatted(
    connection: duckdb.DuckDBPyConnection, export: Any, name: str | None, settings: dict[str, Any], said_by: str
) -> Source:
    encoding = settings.get("encoding")
    parts = _parts(export, encoding)
    given = [columns_of(source, name, encoding) for name, source in parts.items()]
    chosen = recognised(given) if name is None else name
    if chosen is None:
        raise LedgerError(
            f"export: the columns ({'; '.join(', '.join(columns) for columns in given)}) are neither those of revenue events "
            f"({', '.join(REQUIRED_COLUMNS)}) nor of a known format ({KNOWN_FORMATS}). Say how they become events in a mapping."
        )
    if chosen not in FORMATS:
        raise LedgerError(f"{said_by}: format is {chosen!r}; known are {KNOWN_FORMATS}.")
    known = FORMATS[chosen]
    roles = _named_roles(known, export) or _roles(known, given)
    _check_roles(known, roles, parts, given)
    assert roles is not None
    raws: dict[str, RawTable] = {}
    for role, place in roles.items():
        raws[role] = read_table(connection, list(parts.values())[place], role, (), encoding)
    return _joined(connection, known, raws, settings, said_by)


def _parts(export: Any, encoding: str | None) -> dict[str, Any]:
    """The tables of an export: those of a dict, files by their headers, or the one it is."""
    if isinstance(export, AnyMapping):
        return {str(name): source for name, source in export.items()}
    if not is_path(export):
        return {"export": export}
    parts: dict[tuple[str, ...], list[str]] = {}
    for path in matching(export, "export"):
        parts.setdefault(tuple(map(plain, columns_of(path, "export", encoding))), []).append(path)
    return {paths[0]: paths for paths in parts.values()}


def _named_roles(known: Format, export: Any) -> dict[str, int] | None:
    """The tables of a dict whose keys are those of the format."""
    names = [table.name for table in known.tables]
    if not isinstance(export, AnyMapping) or not set(map(str, export)) <= set(names):
        return None
    return {str(name): place for place, name in enumerate(export)}


def _check_roles(
    known: Format, roles: dict[str, int] | None, parts: dict[str, Any], given: Sequence[Sequence[str]]
) -> None:
    """Refuse an export that lacks the first table of a format, or holds what is none of its tables."""
    needed = known.tables[0].name
    for role, place in (roles or {}).items():
        lacking = _missing(known.table(role), map(plain, given[place]))
        if lacking:
            raise LedgerError(
                f"{role}: no column {', '.join(lacking)} of {known.name}; found are {', '.join(given[place])}."
            )
    if roles is None or needed not in roles:
        lacking = min((_missing(known.tables[0], map(plain, header)) for header in given), key=len)
        raise LedgerError(
            f"export: no table of {known.name}: its {needed} have the columns "
            f"{', '.join(names[0] for names in known.tables[0].columns.values())}; missing are {', '.join(lacking)}. Rename the "
            "columns, or say them in a mapping of their own."
        )
    unused = [name for place, name in enumerate(parts) if place not in roles.values()]
    if unused:
        raise LedgerError(
            f"export: {', '.join(unused)} is none of the tables of {known.name} "
            f"({', '.join(table.name for table in known.tables)}), or one that is there already. Leave it out."
        )


# --- the tables of a format as rows of a mapping ---------------------------------------------------------------------


def _joined(
    connection: duckdb.DuckDBPyConnection,
    known: Format,
    raws: dict[str, RawTable],
    settings: dict[str, Any],
    said_by: str,
) -> Source:
    headers = {table.name: _headers(table, raws.get(table.name)) for table in known.tables}
    for name, raw in raws.items():
        refuse_nested(raw, headers[name].values())
    extras = _extras(known, raws, settings)
    for macro in MACROS:
        connection.execute(macro)
    for table in known.tables:
        _view(connection, table, raws.get(table.name), headers[table.name], extras.get(table.name, []))
    selects: list[str] = []
    made: dict[str, list[str]] = {}
    before: dict[str, int] = {}
    for table in known.tables:
        if table.name in raws:
            before[table.name] = sum(_records(connection, raws[name]) for name in before)
    for rows in known.rows:
        if rows.table not in raws:
            continue
        selects.append(_select(rows, before[rows.table], extras.get(rows.table, [])))
        made |= {what: made.get(what) or _found(known, headers, sql) for what, sql in rows.makes.items()}
    connection.execute(f"CREATE TABLE raw_export AS {' UNION ALL BY NAME '.join(selects)}")
    (n_rows,) = counts(connection, "SELECT count(*) FROM raw_export")
    if n_rows != sum(_rows(connection, raws[rows.table]) for rows in known.rows if rows.table in raws):
        others = ", ".join(table.name for table in known.tables[1:])
        raise LedgerError(
            f"export: an id stands in several rows of a table that is looked up ({others}). Drop the copies."
        )
    there = {what for what in made if made[what] or not _all_words(known, what)}
    columns = {what: what for what in made if what in there}
    carried = [name for names in extras.values() for name in names]
    _check_tables(known, raws, columns, {**known.settings, **settings}["shape"])
    raw = RawTable("raw_export", "export", dict.fromkeys([*made, *carried], "VARCHAR"))
    mapping = _mapping(connection, known, columns, settings, said_by)
    shown = {what: ", ".join(dict.fromkeys(names)) for what, names in made.items() if names}
    return Source(
        raw,
        mapping,
        {what: what for what in mapping.columns},
        shown,
        known.name,
        tuple((raws[name], first) for name, first in before.items()),
    )


def _rows(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> int:
    return int(counts(connection, f"SELECT count(*) FROM {raw.name}")[0])


def _records(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> int:
    """Rows, and records that are broken, which have numbers too."""
    return _rows(connection, raw) + raw.broken.num_rows


def _check_tables(known: Format, raws: dict[str, RawTable], columns: dict[str, str], shape: Shape) -> None:
    """Refuse an export without a table that a needed column is in."""
    for what in NEEDED[shape]:
        tables = {table for rows in known.rows for table, _ in words(rows.makes.get(what, ""), known.tables)}
        missing = [known.table(name) for name in sorted(tables - set(raws))]
        if what not in columns and missing:
            asked = "; ".join(f"{t.name} ({', '.join(names[0] for names in t.columns.values())})" for t in missing)
            raise LedgerError(f"export: {known.name} has its {what} in another table. Give that too: {asked}.")


def _headers(table: Table, raw: RawTable | None) -> dict[str, str]:
    """Word -> the first of its headers that is there, as it is written."""
    there = {} if raw is None else written(raw)
    found = {
        word: next((there[plain(name)] for name in names if plain(name) in there), None)
        for word, names in {**table.columns, **table.optional}.items()
    }
    return {word: name for word, name in found.items() if name is not None}


def _extras(known: Format, raws: dict[str, RawTable], settings: dict[str, Any]) -> dict[str, list[str]]:
    """Table -> further columns of it that the user wants to keep rows by, or carried along as segments."""
    made = {what for rows in known.rows for what in rows.makes}
    wanted = [name for name in (*settings.get("keep", {}), *settings.get("segments", ())) if name not in made]
    tables = [rows.table for rows in known.rows if rows.table in raws]
    found = {
        table: [written(raws[table])[plain(name)] for name in wanted if plain(name) in written(raws[table])]
        for table in tables
    }
    missing = [
        name for name in wanted if plain(name) not in {plain(there) for names in found.values() for there in names}
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
        [f"{text_sql(headers[word]) if word in headers else 'NULL::VARCHAR'} AS {word}" for word in all_words]
        + [f"{text_sql(name)} AS {quoted(EXTRA + name)}" for name in extras]
    )
    connection.execute(
        f"CREATE VIEW {table.name} AS SELECT {NUMBER}, CAST({SOURCE} AS VARCHAR) AS {SOURCE}, {ROW}, {columns} FROM {raw.name}"
    )


def _select(rows: Rows, before: int, extras: list[str]) -> str:
    made = ", ".join(
        [f"CAST({sql} AS VARCHAR) AS {quoted(what)}" for what, sql in rows.makes.items()]
        + [f"{rows.table}.{quoted(EXTRA + name)} AS {quoted(name)}" for name in extras]
    )
    key = (
        f"{rows.table}.{NUMBER} + {before} AS {NUMBER}, {rows.table}.{SOURCE} AS {SOURCE}, {rows.table}.{ROW} AS {ROW}"
    )
    return f"SELECT {key}, {made} FROM {rows.table} {rows.joins}"


def _found(known: Format, headers: dict[str, dict[str, str]], sql: str) -> list[str]:
    """The export's columns that an expression is made of, as far as they are there."""
    return [headers[table][word] for table, word in words(sql, known.tables) if word in headers[table]]


def _all_words(known: Format, what: str) -> bool:
    """Whether a column is made of any columns of the export, and not the same in all rows."""
    return any(words(rows.makes.get(what, ""), known.tables) for rows in known.rows)


def _mapping(
    connection: duckdb.DuckDBPyConnection,
    known: Format,
    columns: dict[str, str],
    settings: dict[str, Any],
    said_by: str,
) -> Mapping:
    """The format's settings with the user's over them."""
    missing = [key for key in known.asks if key not in settings]
    if missing:
        asked = "; ".join(f"{key} ({known.asks[key]})" for key in missing)
        seen = _words_of(connection, "kind") if "kinds" in missing else ""
        raise LedgerError(
            f"{known.name}: only you can say {asked}.{seen} Give it in a mapping with format = {known.name!r}."
        )
    whole = {**known.settings, **settings}
    whole["columns"] = {what: name for what, name in columns.items() if what in KNOWN[whole["shape"]]}
    kept = {name: values for name, values in known.settings.get("keep", {}).items() if name in columns}
    whole["keep"] = {**kept, **settings.get("keep", {})}
    return make_mapping(whole, known.name if said_by == known.name else f"{said_by} ({known.name})")


def _words_of(connection: duckdb.DuckDBPyConnection, column: str) -> str:
    """The words of a column with how often they stand, for a message."""
    found = connection.execute(
        f"SELECT {quoted(column)}, count(*) FROM raw_export GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST_WORDS}"
    ).fetchall()
    return (
        " Found are " + ", ".join(f"{literal(word) if word else 'empty'} ({rows} rows)" for word, rows in found) + "."
    )
