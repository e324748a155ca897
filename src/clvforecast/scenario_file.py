"""Scenarios written down in a TOML file, for the command line and for the record."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from clvforecast.errors import ForecastError
from clvforecast.scenarios import Assume, Scenario

SCENARIO_KEYS = ("name", "annual_discount_rate", "lost_accounts", "assume")
ASSUME_KEYS = tuple(item.name for item in fields(Assume))
LINE = re.compile(r"\(at line (\d+)")


def read_scenarios(path: str | os.PathLike[str]) -> list[Scenario]:
    """The scenarios of a TOML file, in its order.

    One table ``[[scenario]]`` each, with ``name`` and, where wanted, ``annual_discount_rate``, ``lost_accounts`` (a list of
    ids, or a table id = day), and any number of ``[[scenario.assume]]`` with the parameters of `Assume`; a term mix is a
    table of months = share.

    Raises
    ------
    ForecastError
        When the file is missing or no TOML, or says something that a scenario does not have.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "scenarios.toml"
    >>> _ = path.write_text('''
    ... [[scenario]]
    ... name = "Renewal falls five points"
    ... [[scenario.assume]]
    ... renewal_points = -0.05
    ... start = 2027-01-01
    ... ''')
    >>> read_scenarios(path)
    [<Scenario 'Renewal falls five points': renewal_points -0.05; from 2027-01-01>]
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8-sig")
        said = tomllib.loads(text)
    except OSError as error:
        raise ForecastError(f"{source}: cannot be read ({error.strerror}). Check the path.") from error
    except UnicodeDecodeError as error:
        raise ForecastError(f"{source}: is no TOML file ({error}). Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ForecastError(
            f"{source}: is no TOML file ({error}{_line_of(text, error)}). Days are written 2027-01-31, shares as numbers "
            "(-0.05, not -5%), texts in quotation marks; see `clv.read_scenarios` for the form."
        ) from error
    _check_keys(source, "the file", said, ("scenario",))
    tables = said.get("scenario", [])
    if not isinstance(tables, list) or not tables:
        raise ForecastError(f"{source}: has no scenario. Begin each with [[scenario]] and a name.")
    return [_scenario(source, place, table) for place, table in enumerate(tables, start=1)]


def _line_of(text: str, error: tomllib.TOMLDecodeError) -> str:
    """The line that the error speaks of, as it stands in the file; nothing where it names none."""
    place = LINE.search(str(error))
    lines = text.splitlines()
    if place is None or not 1 <= int(place[1]) <= len(lines):
        return ""
    return f": {lines[int(place[1]) - 1].strip()}"


def _scenario(source: Path, place: int, table: dict[str, Any]) -> Scenario:
    where = f"scenario {place}"
    _check_keys(source, where, table, SCENARIO_KEYS)
    assumed = table.get("assume", [])
    if not isinstance(assumed, list):
        raise ForecastError(
            f"{source}, {where}: assume is {assumed!r}. Begin each assumption with [[scenario.assume]]."
        )
    for one in assumed:
        _check_keys(source, f"{where}, assume", one, ASSUME_KEYS)
    try:
        return Scenario(
            table.get("name", ""),
            *(_assume(one) for one in assumed),
            lost_accounts=table.get("lost_accounts", ()),
            annual_discount_rate=table.get("annual_discount_rate"),
        )
    except ForecastError as error:
        raise ForecastError(f"{source}, {where}: {error}") from error


def _assume(table: dict[str, Any]) -> Assume:
    mix = table.get("term_mix")
    if mix is None:
        return Assume(**table)
    if not isinstance(mix, dict) or not all(months.isdecimal() for months in mix):
        raise ForecastError(f"term_mix={mix!r}: write months = share, as term_mix = {{12 = 0.6, 36 = 0.4}}.")
    return Assume(**{**table, "term_mix": {int(months): share for months, share in mix.items()}})


def _check_keys(source: Path, where: str, table: Any, known: tuple[str, ...]) -> None:
    if not isinstance(table, dict):
        raise ForecastError(f"{source}, {where}: is {table!r}, not a table.")
    for name in table:
        if name not in known:
            raise ForecastError(f"{source}, {where}: {name!r} is not known. Known are {', '.join(known)}.")
