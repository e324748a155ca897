"""A plan reliability on disk: the record and the draws as Arrow streams, a JSON that tells what they are, and a seal.

Streams: the record of steps whose last day was over (its schema's metadata, key ``clvforecast``, is the JSON), and the draws. The
sampler's statistics are not among them: the gate has been passed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clvforecast.arrow_streams import Content, Stream, write_blocks, write_frame
from clvforecast.durable import put_in_place
from clvforecast.errors import PlanError
from clvforecast.plans.counts import KIND, PlanFrame
from clvforecast.plans.reliability import PlanReliability, labels_of
from clvforecast.plans.steps import LONGEST_WINDOW_DAYS, STEP_KINDS
from clvforecast.plans.tables import MEANINGS, Record
from clvforecast.sealed import BrokenSeal, OtherKind, add_seal, sealed_length

SCHEMA_VERSION = 1
FILE_KIND = "plans"
METADATA_KEY = b"clvforecast"
STATED, STEPS, HITS = "stated", "steps", "hits"
DIMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(MEANINGS, ("kind",)),
    **dict.fromkeys(("intercept", "stated_slope", "unstated_offset"), ()),
    "effect": ("level",),
    "effect_sd": ("column",),
    **dict.fromkeys(("delay_mean", "delay_scale"), ("event_kind",)),
    "renewal_delay": ("delay_days",),
}
"""Variable -> its dims after (chain, draw)."""


class About(BaseModel):
    """The JSON of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: int
    about: dict[str, str]
    levels: dict[str, list[str]]
    window_days: Annotated[int, Field(ge=1, le=LONGEST_WINDOW_DAYS)]
    renewal_days: Annotated[int, Field(ge=1, le=LONGEST_WINDOW_DAYS)]
    lag_edges: list[int]
    chains: Annotated[int, Field(ge=1)]
    draws: Annotated[int, Field(ge=1)]
    n_data: dict[str, int]
    n_groups: Annotated[int, Field(ge=0)] | None
    """Rows of the record; None without a history."""


def save_reliability(reliability: PlanReliability, path: str | os.PathLike[str]) -> None:
    """Write `PlanReliability.save`'s file, complete or not at all. Raises PlanError when it cannot be written."""
    if reliability.draws is None or reliability.frame is None:
        raise PlanError(
            "plans are taken at their word: there is nothing to save. Call PlanReliability.as_stated() again."
        )
    draws, frame, record, target = reliability.draws, reliability.frame, reliability.record, Path(path)
    about = About(
        schema_version=SCHEMA_VERSION,
        about=reliability.about,
        levels={name: list(levels) for name, levels in frame.levels.items()},
        window_days=frame.window_days,
        renewal_days=frame.renewal_days,
        lag_edges=list(frame.lag_edges),
        chains=draws.sizes["chain"],
        draws=draws.sizes["draw"],
        n_data={str(name): int(of.attrs["n_data"]) for name, of in draws.data_vars.items()},
        n_groups=None if record is None else len(record.steps),
    )
    blocks = {name: draws[name].transpose("chain", "draw", ...).values for name in DIMS}
    try:
        with put_in_place(target) as temporary:
            with open(temporary, "wb") as file:
                write_frame(file, _as_table(record, frame), {METADATA_KEY: about.model_dump_json().encode()})
                write_blocks(file, {name: block.reshape(-1, *block.shape[2:]) for name, block in blocks.items()})
            add_seal(temporary, FILE_KIND)
    except OSError as error:
        raise PlanError(
            f"{target}: cannot write there ({error.strerror or error}). What was there before is still there. Give a path in an "
            "existing folder that you may write to, with space left."
        ) from error


def _as_table(record: Record | None, frame: PlanFrame) -> pd.DataFrame:
    """The record by its columns: places of levels, per cent stated, steps and hits."""
    if record is None:
        record = Record(np.zeros((0, len(frame.columns)), np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    levels = {f"level of {name}": record.levels[:, place] for place, name in enumerate(frame.columns)}
    return pd.DataFrame({**levels, STATED: record.stated, STEPS: record.steps, HITS: record.hits})


def load_plan_reliability(path: str | os.PathLike[str]) -> PlanReliability:
    """The reliability saved at `path`, verified: its draws are those it was saved with, to the bit.

    Raises
    ------
    PlanError
        When the file is missing, is none of `PlanReliability.save`, or is not as it was saved.
    """
    source = Path(path)
    if not source.is_file():
        raise PlanError(
            f"{source}: {'a folder, not a file' if source.is_dir() else 'no such file'}. Make one with reliability.save(path)."
        )
    try:
        with open(source, "rb") as file:
            length = sealed_length(file, FILE_KIND)
            if length is None:
                raise BrokenSeal("it does not end with a seal")
            return _read(Content(file, length), source)
    except OtherKind as error:
        raise PlanError(f"{source}: {error}") from error
    except BrokenSeal as error:
        raise PlanError(
            f"{source}: is no whole file of a plan reliability: {error}. It was cut, changed or damaged after it was saved, or "
            "is another kind of file. Restore it, or fit and save again."
        ) from error
    except OSError as error:
        raise PlanError(f"{source}: cannot be read ({error.strerror}). Check the file's permissions.") from error


def _read(content: Content, source: Path) -> PlanReliability:
    try:
        stream = Stream(content)
        about = About.model_validate_json((stream.schema.metadata or {})[METADATA_KEY])
        if about.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema version {about.schema_version}, this package reads {SCHEMA_VERSION}")
        return _reliability(content, stream, about)
    except (
        Exception
    ) as error:  # whatever Arrow, JSON and pydantic raise for what is no such file; their own list is open
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error).splitlines()[:1]
        raise PlanError(
            f"{source}: is no plan reliability of this package ({type(error).__name__}: {reason}). Give a file that "
            "reliability.save(path) wrote."
        ) from error


def _reliability(content: Content, stream: Stream, about: About) -> PlanReliability:
    """The object from the streams in their order."""
    levels = {name: tuple(of) for name, of in about.levels.items()}
    if tuple(levels)[:1] != (KIND,) or levels[KIND] != STEP_KINDS or set(about.n_data) != set(DIMS):
        raise ValueError("it speaks of other kinds of steps, or of other parameters")
    frame = PlanFrame(tuple(levels), levels, about.window_days, about.renewal_days, tuple(about.lag_edges))
    if about.lag_edges[:1] + about.lag_edges[-1:] != [-about.window_days - 1, about.renewal_days] or any(
        low >= high for low, high in zip(about.lag_edges[:-1], about.lag_edges[1:], strict=True)
    ):
        raise ValueError("its bins of renewals' delays do not rise from the window's first day to renewal_days")
    table = stream.frame(about.n_groups or 0)
    labels = labels_of(frame)
    n = about.chains * about.draws
    blocks = Stream(content).blocks({name: (n, *(len(labels[dim]) for dim in dims)) for name, dims in DIMS.items()})
    if content.left:
        raise ValueError(f"{content.left:,} bytes follow its last table")
    if any(block.dtype.kind != "f" or not np.isfinite(block).all() for block in blocks.values()):
        raise ValueError("its draws are not finite numbers")
    axes = {"chain": np.arange(about.chains), "draw": np.arange(about.draws)}
    coords = {dim: np.array(values, dtype=object) for dim, values in labels.items()}
    draws = xr.Dataset(coords={**axes, **coords})
    for name, dims in DIMS.items():
        values = blocks[name].reshape(about.chains, about.draws, *blocks[name].shape[1:])
        draws[name] = (("chain", "draw", *dims), values, {"n_data": about.n_data[name]})
    record = None if about.n_groups is None else _as_record(table, frame)
    return PlanReliability(draws, frame, record, about=about.about)


def _as_record(table: pd.DataFrame, frame: PlanFrame) -> Record:
    """The inverse of `_as_table`. Raises ValueError for levels that the frame does not have."""
    columns = [f"level of {name}" for name in frame.columns]
    if list(table.columns) != [*columns, STATED, STEPS, HITS]:
        raise ValueError(f"its record has the columns {list(table.columns)}")
    levels = table[columns].to_numpy(dtype=np.int64)
    if (levels >= [len(frame.levels[name]) for name in frame.columns]).any():
        raise ValueError("its record speaks of levels that it does not name")
    stated, steps, hits = (table[name].to_numpy() for name in (STATED, STEPS, HITS))
    return Record(levels, stated.astype(np.int64), steps.astype(float), hits.astype(float))
