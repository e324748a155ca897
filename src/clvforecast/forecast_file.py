"""A forecast on disk: its tables and sums one after the other as Arrow streams, a JSON that tells what they are, and a seal.

Streams: accounts (its schema's metadata, key ``clvforecast``, is the JSON), intervals, groups, totals, and the draws where they
were kept; then, from schema 2 on, what not every forecast has (`forecast_parts`). A forecast without any of that is written as
schema 1, which earlier versions of the package read. The histories of the ledger are not among them: `load_forecast` takes the
ledger for what needs them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from clvforecast.arrow_streams import Block, Content, Stream, write_blocks, write_frame
from clvforecast.durable import put_in_place
from clvforecast.errors import ForecastError, ForecastFileError
from clvforecast.forecast import Forecast
from clvforecast.forecast_parts import Found, Parts, parts_of, read_parts, said_of_parts, streams_of, write_parts
from clvforecast.intervals import CI_KINDS
from clvforecast.ledger import Ledger
from clvforecast.provenance import Provenance
from clvforecast.reduction import ForecastSettings, kept_dataset
from clvforecast.sealed import BrokenSeal, OtherKind, add_seal, sealed_length
from clvforecast.simulation.calendar import make_grid
from clvforecast.simulation.run import Totals
from clvforecast.simulation.slots import N_ORIGINS

SCHEMA_VERSION = 2
VERSION_WITHOUT_PARTS = 1
KIND = "forecast"
METADATA_KEY = b"clvforecast"
NEEDED = ("account_id", "clv_to_date", "booked_to_date", "mean", "q95", "discounted_mean", "discounted_q95", "p_zero")
"""Columns of accounts that later steps ask for by name."""


class About(BaseModel):
    """The JSON of a forecast file. ``checksum`` is of the content, whenever and by whatever versions it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1, 2]
    as_of: str
    currency: str
    settings: dict[str, Any]
    warnings: list[str]
    provenance: Provenance
    n_accounts: int = Field(ge=1)
    n_groups: int = Field(ge=1)
    changes: int
    clips: int
    kept: dict[str, tuple[int, ...]]
    parts: Parts | None = None
    checksum: str

    @model_validator(mode="after")
    def _parts_have_their_version(self) -> About:
        if (self.schema_version == VERSION_WITHOUT_PARTS) != (self.parts is None):
            raise ValueError(f"schema {self.schema_version} with parts {self.parts}")
        return self


ABOUT = TypeAdapter(About)


def describe_forecast(forecast: Forecast) -> dict[str, Any]:
    """What a file of a forecast says of where it comes from; for JSON."""
    return {
        "as_of": forecast.as_of.isoformat(),
        "currency": forecast.currency,
        "settings": forecast.settings.model_dump(mode="json"),
        "warnings": list(forecast.warnings),
        "provenance": asdict(forecast.provenance),
    }


def save_forecast(forecast: Forecast, path: str | os.PathLike[str]) -> None:
    """Write `Forecast.save`'s file, complete or not at all. Raises ForecastFileError when it cannot be written."""
    target = Path(path)
    parts = parts_of(forecast)
    about = {
        **describe_forecast(forecast),
        "schema_version": VERSION_WITHOUT_PARTS if parts is None else SCHEMA_VERSION,
        "n_accounts": len(forecast.table),
        "n_groups": len(forecast.groups),
        "changes": int(forecast.totals.changes),
        "clips": int(forecast.totals.clips),
        "kept": {name: block.shape for name, block in _kept_blocks(forecast).items()},
        **({} if parts is None else {"parts": parts.model_dump()}),
        "checksum": checksum(forecast),
    }
    try:
        with put_in_place(target) as temporary:
            with open(temporary, "wb") as file:
                _write(forecast, about, file)
            add_seal(temporary, KIND)
    except OSError as error:
        raise ForecastFileError(
            f"{target}: cannot write there ({error.strerror or error}). What was there before is still there. Give a path in an "
            "existing folder that you may write to, with space left."
        ) from error


def _write(forecast: Forecast, about: dict[str, Any], file: BinaryIO) -> None:
    write_frame(file, forecast.table, {METADATA_KEY: json.dumps(about).encode()})
    write_frame(file, forecast.intervals)
    write_frame(file, forecast.groups)
    write_blocks(file, _total_blocks(forecast))
    if filled := {name: block for name, block in _kept_blocks(forecast).items() if block.size}:
        write_blocks(file, filled)
    write_parts(forecast, file)


def _total_blocks(forecast: Forecast) -> dict[str, Block]:
    totals = forecast.totals
    days = {} if totals.active_days is None else {"active_days": totals.active_days}
    return {"groups": totals.groups, "origins": totals.origins, **days}


def _kept_blocks(forecast: Forecast) -> dict[str, Block]:
    return {} if forecast.kept is None else {str(name): block.values for name, block in forecast.kept.data_vars.items()}


def checksum(forecast: Forecast) -> str:
    """SHA-256 (hex) of everything a forecast says, and of what it was made from; not of the time, nor of package versions."""
    digest = hashlib.sha256()
    said = describe_forecast(forecast)
    said["provenance"].pop("versions")
    said["totals"] = [int(forecast.totals.changes), int(forecast.totals.clips)]
    if (parts := parts_of(forecast)) is not None:
        said["parts"] = said_of_parts(parts)
    digest.update(json.dumps(said, sort_keys=True).encode())
    for table in (forecast.table, forecast.intervals, forecast.groups):
        _add_stream(digest, table)
    _add_stream(digest, {**_total_blocks(forecast), **_kept_blocks(forecast)})
    for stream in streams_of(forecast):
        _add_stream(digest, stream)
    return digest.hexdigest()


def _add_stream(digest: Any, stream: pd.DataFrame | dict[str, Block]) -> None:
    if isinstance(stream, pd.DataFrame):
        digest.update(f"table of {len(stream)}\n".encode())
        for place, name in enumerate(stream.columns):
            _add_column(digest, str(name), stream.iloc[:, place])
    else:
        for name, block in stream.items():
            _add_numbers(digest, name, block)


def _add_column(digest: Any, name: str, column: pd.Series) -> None:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        return _add_numbers(digest, name, column.to_numpy())
    digest.update(f"texts {name}\n".encode())
    digest.update("\x1f".join(map(repr, column.tolist())).encode(errors="surrogatepass"))


def _add_numbers(digest: Any, name: str, numbers: Block) -> None:
    digest.update(f"numbers {name} {numbers.dtype.str} {numbers.shape}\n".encode())
    if numbers.size:  # a view of nothing has no bytes to cast to
        digest.update(memoryview(np.ascontiguousarray(numbers)).cast("B"))


def load_forecast(path: str | os.PathLike[str], ledger: Ledger | None = None) -> Forecast:
    """The forecast saved at `path`, verified: its tables, draws and warnings are those it was saved with, to the bit.

    Parameters
    ----------
    path
        Written by `Forecast.save`, or ``clvforecast score --save``.
    ledger
        The ledger it was made from, for what shows the past too (`Forecast.history`, the portfolio's plot).

    Raises
    ------
    ForecastFileError
        When the file is missing, is no forecast, has a schema unknown here, or is not as it was saved.
    ForecastError
        When the ledger is another one.
    """
    source = Path(path)
    if not source.is_file():
        raise ForecastFileError(
            f"{source}: no such file. Make one with forecast.save(path), or `clvforecast score --save FILE`."
        )
    try:
        with open(source, "rb") as file:
            length = sealed_length(file, KIND)
            if length is None:
                raise BrokenSeal("it does not end with a seal")
            found = _read(Content(file, length), source)
    except OtherKind as error:
        raise ForecastFileError(f"{source}: {error}") from error
    except BrokenSeal as error:
        raise ForecastFileError(
            f"{source}: is no whole forecast file: {error}. It was cut, changed or damaged after it was saved, or is another "
            "kind of file. Restore it, or forecast and save again."
        ) from error
    except OSError as error:
        raise ForecastFileError(
            f"{source}: cannot be read ({error.strerror}). Check the file's permissions."
        ) from error
    return found if ledger is None else found.with_ledger(ledger)


def _read(content: Content, source: Path) -> Forecast:
    try:
        accounts = Stream(content)
        about = json.loads((accounts.schema.metadata or {})[METADATA_KEY])
        version = about["schema_version"]
        if version in (VERSION_WITHOUT_PARTS, SCHEMA_VERSION):
            return _checked(_forecast(content, accounts, ABOUT.validate_json(json.dumps(about))), about["checksum"])
    except (
        Exception
    ) as error:  # whatever Arrow, JSON and pydantic raise for what is no forecast; their own list is open
        raise ForecastFileError(
            f"{source}: is no forecast file of this package ({_first_line(error)}). Give a file that forecast.save(path) wrote."
        ) from error
    raise ForecastFileError(
        f"{source}: schema version {version}, this package reads {VERSION_WITHOUT_PARTS} and {SCHEMA_VERSION}. Load it with the "
        "version of clvforecast that wrote it or a later one, or forecast and save again."
    )


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _forecast(content: Content, accounts: Stream, about: About) -> Forecast:
    """The object from the streams in their order."""
    settings = ForecastSettings(**about.settings)
    as_of = date.fromisoformat(about.as_of)
    grid = make_grid(as_of, settings.horizon_months, settings.annual_discount_rate, settings.calendar)
    n_months = len(grid.bounds) - 1
    table = accounts.frame(about.n_accounts)
    intervals = Stream(content).frame(about.n_accounts)
    groups = Stream(content).frame(about.n_groups)
    shapes: dict[str, tuple[int, ...]] = {
        "groups": (settings.draws, about.n_groups, n_months),
        "origins": (settings.draws, N_ORIGINS, n_months),
    }
    if settings.cost_to_serve > 0.0:
        shapes["active_days"] = shapes["groups"]
    totals = Stream(content).blocks(shapes)
    kept: xr.Dataset | None = None
    if about.kept:
        if any(shape[:2] != (about.n_accounts, settings.draws) for shape in about.kept.values()):
            raise ValueError(f"kept draws of shapes {about.kept}, which are not (account, draw, ...)")
        filled = {name: shape for name, shape in about.kept.items() if math.prod(shape)}
        written = Stream(content).blocks(filled) if filled else {}
        arrays = {name: written.get(name, np.empty(shape)) for name, shape in about.kept.items()}
        kept = kept_dataset(arrays, table["account_id"], settings)
    found = Found() if about.parts is None else read_parts(content, about.parts, settings, grid, about.n_groups)
    if content.left:
        raise ValueError(f"{content.left:,} bytes follow its last table")
    _check_columns(table, intervals, settings)
    return Forecast(
        settings=settings,
        as_of=as_of,
        currency=about.currency,
        grid=grid,
        groups=groups,
        totals=Totals(
            groups=totals["groups"],
            origins=totals["origins"],
            changes=about.changes,
            clips=about.clips,
            bridge=found.bridge,
            active_days=totals.get("active_days"),
        ),
        table=table,
        intervals=intervals,
        kept=kept,
        ledger=None,
        warnings=tuple(about.warnings),
        provenance=about.provenance,
        planned=found.planned,
        new_totals=found.new_totals,
        new_won=found.new_won,
    )


def _check_columns(table: pd.DataFrame, intervals: pd.DataFrame, settings: ForecastSettings) -> None:
    missing = [name for name in NEEDED if name not in table.columns]
    ends = product(("", "discounted_"), ("lower", "upper"), CI_KINDS, settings.ci_probs)
    missing += [key for key in (f"{p}{end}|{kind}|{prob}" for p, end, kind, prob in ends) if key not in intervals]
    if missing:
        raise ValueError(f"it has no column {missing[0]!r}")


def _checked(forecast: Forecast, expected: str) -> Forecast:
    found = checksum(forecast)
    if found != expected:
        raise ForecastError(f"checksum {found[:12]}... where the file says {expected[:12]}...: its content was changed")
    return forecast
