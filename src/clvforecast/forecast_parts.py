"""Parts that not every forecast has, and that files hold from schema 2 on: what became of ARR, planned steps, new customers.

Streams, each where the forecast has it: snapshots, the bridge, the planned steps, what new customers bring, and their bridge.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clvforecast.arrow_streams import Block, Content, Stream, write_blocks, write_frame
from clvforecast.calendars import FiscalCalendar
from clvforecast.metrics.windows import plan_snapshots
from clvforecast.reduction import ForecastSettings
from clvforecast.simulation.calendar import Grid
from clvforecast.simulation.run import Bridge, Totals
from clvforecast.simulation.slots import N_ORIGINS, OF_WINDOWS
from clvforecast.simulation.structures import Snapshots

if TYPE_CHECKING:
    from clvforecast.forecast import Forecast

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


class Followed(BaseModel):
    """How often ARR was looked at, how many of these days are not after `as_of`, and between how many two of them."""

    model_config = STRICT

    snapshots: int = Field(ge=1)
    past: int = Field(ge=0)
    windows: int = Field(ge=1)


class Planned(BaseModel):
    """The table of planned steps: its rows, and the pandas dtype of each column."""

    model_config = STRICT

    rows: int = Field(ge=0)
    dtypes: dict[str, str]


class Changed(BaseModel):
    """How many prices of new customers changed and were bounded, as `Totals` has it."""

    model_config = STRICT

    changes: int
    clips: int


class Parts(BaseModel):
    """Which parts a file has, for its JSON; None for those that it has not."""

    model_config = STRICT

    followed: Followed | None
    planned: Planned | None
    new: Changed | None


class Found(NamedTuple):
    """The parts that were read; None where the file has none."""

    bridge: Bridge | None = None
    planned: pd.DataFrame | None = None
    new_totals: Totals | None = None
    new_won: NDArray[np.int64] | None = None


def parts_of(forecast: Forecast) -> Parts | None:
    """The parts of a forecast; None where it has none, so that schema 1 holds it."""
    bridge, planned, new = forecast.totals.bridge, forecast.planned, forecast.new_totals
    if bridge is None and planned is None and new is None:
        return None
    return Parts(
        followed=None if bridge is None else _followed(bridge.snapshots),
        planned=None
        if planned is None
        else Planned(rows=len(planned), dtypes={str(name): str(dtype) for name, dtype in planned.dtypes.items()}),
        new=None if new is None else Changed(changes=int(new.changes), clips=int(new.clips)),
    )


def _followed(snapshots: Snapshots) -> Followed:
    return Followed(snapshots=snapshots.days.size, past=int(snapshots.n_past), windows=len(snapshots.windows))


def streams_of(forecast: Forecast) -> list[dict[str, Block] | pd.DataFrame]:
    """The streams of the parts that the forecast has, in their order: arrays by name, or a table."""
    found: list[dict[str, Block] | pd.DataFrame] = []
    bridge, new = forecast.totals.bridge, forecast.new_totals
    if bridge is not None:
        days, windows = bridge.snapshots.days, bridge.snapshots.windows
        found += [{"days": days[None], "windows": windows.reshape(1, -1)}, _bridge_blocks(bridge)]
    if forecast.planned is not None:
        found.append(forecast.planned)
    if new is not None and forecast.new_won is not None:
        active = {} if new.active_days is None else {"active_days": new.active_days}
        found.append({"groups": new.groups, "origins": new.origins, "won": forecast.new_won, **active})
        if new.bridge is not None:
            found.append(_bridge_blocks(new.bridge))
    return found


def _bridge_blocks(bridge: Bridge) -> dict[str, Block]:
    names = ("in_force", "accounts", "due", "renewed", "moved")
    return {name: getattr(bridge, name) for name in names}


def write_parts(forecast: Forecast, file: BinaryIO) -> None:
    """Behind the tables of schema 1."""
    for stream in streams_of(forecast):
        if isinstance(stream, pd.DataFrame):
            write_frame(file, stream)
        else:
            write_blocks(file, stream)


def read_parts(content: Content, parts: Parts, settings: ForecastSettings, grid: Grid, n_groups: int) -> Found:
    """The parts, from where they begin.  Raises ValueError, and what Arrow and pandas raise, for what is none of them."""
    found = Found()
    snapshots: Snapshots | None = None
    if parts.followed is not None:
        snapshots = _read_snapshots(content, parts.followed, settings, grid)
        found = found._replace(bridge=_read_bridge(content, snapshots, settings.draws, n_groups))
    if parts.planned is not None:
        found = found._replace(planned=_read_planned(content, parts.planned))
    if parts.new is not None:
        each = (settings.draws, n_groups, grid.discount.size)
        shapes: dict[str, tuple[int, ...]] = {
            "groups": each,
            "origins": (settings.draws, N_ORIGINS, each[2]),
            "won": each,
        }
        if settings.cost_to_serve:
            shapes["active_days"] = each
        blocks = Stream(content).blocks(shapes)
        totals = Totals(
            groups=blocks["groups"],
            origins=blocks["origins"],
            changes=parts.new.changes,
            clips=parts.new.clips,
            active_days=blocks.get("active_days"),
        )
        if snapshots is not None:
            totals = replace(totals, bridge=_read_bridge(content, snapshots, settings.draws, n_groups))
        found = found._replace(new_totals=totals, new_won=blocks["won"])
    return found


def _read_snapshots(content: Content, followed: Followed, settings: ForecastSettings, grid: Grid) -> Snapshots:
    """Days and windows, which must be those that the forecast's periods are looked up by."""
    blocks = Stream(content).blocks({"days": (1, followed.snapshots), "windows": (1, 2 * followed.windows)})
    found = Snapshots(blocks["days"][0], followed.past, blocks["windows"].reshape(-1, 2))
    known = plan_snapshots(grid, settings.calendar or FiscalCalendar()).snapshots
    same = np.array_equal(found.days, known.days) and np.array_equal(found.windows, known.windows)
    if not same or found.n_past != known.n_past:
        raise ValueError("its ARR was followed between other days than those of its calendar")
    return found


def _read_bridge(content: Content, snapshots: Snapshots, draws: int, n_groups: int) -> Bridge:
    at_snapshots = (draws, n_groups, snapshots.days.size)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("in_force", "accounts", "due", "renewed"), at_snapshots)
    shapes["moved"] = (draws, n_groups, len(snapshots.windows), OF_WINDOWS)
    return Bridge(snapshots=snapshots, **Stream(content).blocks(shapes))


def _read_planned(content: Content, planned: Planned) -> pd.DataFrame:
    table = Stream(content).frame(planned.rows)
    if list(table.columns) != list(planned.dtypes):
        raise ValueError(
            f"planned steps have the columns {list(table.columns)}, where {list(planned.dtypes)} were said"
        )
    return table.astype(planned.dtypes)


def said_of_parts(parts: Parts) -> dict[str, Any]:
    """What of the parts' JSON a checksum covers: all but dtypes, which are how pandas calls them."""
    said: dict[str, Any] = parts.model_dump()
    if said["planned"] is not None:
        del said["planned"]["dtypes"]
    return said
