"""An export by a mapping, by a format, or by what its headers tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from clvforecast.adapters.format import Format, Table
from clvforecast.adapters.formats import FORMATS
from clvforecast.adapters.joined import Source, joined, renamed, time_zone_of, written
from clvforecast.adapters.mapping import Mapping, make_mapping, read_settings
from clvforecast.errors import LedgerError
from clvforecast.events import REJECTED_SCHEMA, REQUIRED_COLUMNS
from clvforecast.ledger.checks import refuse_nested
from clvforecast.ledger.notes import none_usable
from clvforecast.ledger.originals import as_rejected
from clvforecast.ledger.tables import NUMBER, RawTable, columns_of, counts, is_path, matching, plain_name, read_table

NO_ROWS = REJECTED_SCHEMA.empty_table().drop_columns(["line", "raw"]).append_column(NUMBER, pa.array([], pa.int64()))
KNOWN_FORMATS = ", ".join(FORMATS)


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
    _check_types(name, settings, said_by)
    return _formatted(connection, export, name, settings, said_by)


def _check_types(name: Any, settings: dict[str, Any], said_by: str) -> None:
    """Refuse keys of a format whose kind is wrong, before they are used."""
    if "shape" in settings:
        raise LedgerError(f"{said_by}: the format {name} has its own shape; leave out one of format and shape.")
    if name is None and "columns" in settings:
        raise LedgerError(
            f"{said_by}: columns are those of a shape (bookings, periods or movements), or rename a format's: say one."
        )
    wrong = []
    for key, kind in (("columns", AnyMapping), ("keep", AnyMapping), ("segments", (list, tuple)), ("encoding", str)):
        value = settings.get(key)
        if value is not None and not isinstance(value, kind):
            wrong.append(key)
    if not isinstance(name, str | None):
        wrong.append("format")
    if wrong:
        raise LedgerError(
            f"{said_by}: {', '.join(wrong)} cannot be {settings.get(wrong[0], name)!r}. See help(clvforecast.Mapping)."
        )


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
    if not isinstance(mapping, AnyMapping) or not all(isinstance(key, str) for key in mapping):
        raise LedgerError(f"mapping: cannot be {mapping!r}. Give a dict, a TOML file or the name of a format.")
    return dict(mapping), "mapping"


# --- by a mapping ---------------------------------------------------------------------------------------------------


def _mapped(connection: duckdb.DuckDBPyConnection, export: Any, mapping: Mapping) -> Source:
    raw = read_table(connection, export, "export", (), mapping.encoding, mapping.time_zone)
    there = written(raw)
    wanted = (*mapping.columns.values(), *mapping.keep, *mapping.segments)
    missing = [name for name in dict.fromkeys(wanted) if plain_name(name) not in there]
    if missing:
        raise LedgerError(
            f"export: no column {', '.join(missing)}; found are {', '.join(raw.columns) or 'none'}. Name this export's columns "
            "in the mapping."
        )
    refuse_nested(raw, [there[plain_name(name)] for name in wanted])
    columns = {what: there[plain_name(name)] for what, name in mapping.columns.items()}
    return Source(raw, mapping, columns, {}, None, ((raw, 0),))


# --- by a format ----------------------------------------------------------------------------------------------------


def recognised(headers: Sequence[Sequence[str]]) -> str | None:
    """The format whose tables have these headers: all of them, and of several such the one that knows most columns."""
    found = {name: _roles(known, headers) for name, known in FORMATS.items()}
    whole = {name: roles for name, roles in found.items() if roles is not None and len(roles) == len(headers)}
    known = {name: sum(len(FORMATS[name].table(role).columns) for role in roles) for name, roles in whole.items()}
    return max(known, key=lambda name: known[name]) if known else None


def holds_events(source: Any) -> bool:
    """Whether a table, or the first of some files, has columns of revenue events, and none of an export that is known."""
    there = {plain_name(name) for name in columns_of(source, "events")}
    return bool(there.intersection(REQUIRED_COLUMNS) - {"account_id", "amount", "currency"}) and (
        recognised([sorted(there)]) in (None, "events")
    )


def _roles(known: Format, headers: Sequence[Sequence[str]]) -> dict[str, int] | None:
    """Which header is that of which table, each of one; None where the first table, which tells the format, is missing."""
    free = {place: {plain_name(name) for name in header} for place, header in enumerate(headers)}
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
    """The needed columns of a table that a header (plain names) lacks, by the first name of each, and those that it never has."""
    there = set(header)
    wrong = [f"no {name}" for name in table.never if plain_name(name) in there]
    return wrong + [
        names[0] for names in table.columns.values() if not any(plain_name(name) in there for name in names)
    ]


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
    known = renamed(FORMATS[chosen], settings.pop("columns", None) or {})
    roles = _named_roles(known, export) or _roles(known, given)
    _check_roles(known, roles, parts, given)
    assert roles is not None
    raws: dict[str, RawTable] = {}
    for role, place in roles.items():
        raws[role] = read_table(
            connection, list(parts.values())[place], role, (), encoding, time_zone_of(known, settings)
        )
    _refuse_broken(connection, raws)
    return joined(connection, known, raws, settings, said_by)


def _refuse_broken(connection: duckdb.DuckDBPyConnection, raws: dict[str, RawTable]) -> None:
    """Refuse a table of which no record can be read: an encoding that nobody named, most likely."""
    for raw in raws.values():
        if raw.broken.num_rows and not counts(connection, f"SELECT count(*) FROM {raw.name}")[0]:
            rejected = as_rejected(connection, [(raw, 0)], NO_ROWS)
            raise LedgerError(none_usable(raw.label, raw.broken.num_rows, rejected, "read"), rejected)


def _parts(export: Any, encoding: str | None) -> dict[str, Any]:
    """The tables of an export: those of a dict, files by their headers, or the one it is."""
    if isinstance(export, AnyMapping):
        if not export:
            raise LedgerError("export: it holds no table. Give at least one.")
        return {str(name): source for name, source in export.items()}
    if not is_path(export):
        return {"export": export}
    parts: dict[tuple[str, ...], list[str]] = {}
    for path in matching(export, "export"):
        parts.setdefault(tuple(map(plain_name, columns_of(path, "export", encoding))), []).append(path)
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
        lacking = _missing(known.table(role), map(plain_name, given[place]))
        if lacking:
            raise LedgerError(
                f"{role}: no column {', '.join(lacking)} of {known.name}; found are {', '.join(given[place])}."
            )
    if roles is None or needed not in roles:
        lacking = min((_missing(known.tables[0], map(plain_name, header)) for header in given), key=len)
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
