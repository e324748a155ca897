"""Forecasts of disjoint accounts put together: their totals as rows of integers that are added.

A sum of integers has no order, so totals are the same bytes however the accounts were split: into parts of a night's run, into
the partitions of a cluster, or not at all. Account tables are just one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.account_tables import number_groups
from clvforecast.calendars import FiscalCalendar
from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast
from clvforecast.metrics.windows import plan_snapshots
from clvforecast.provenance import Provenance
from clvforecast.reduction import ForecastSettings
from clvforecast.simulation.calendar import Grid, make_grid
from clvforecast.simulation.run import Bridge, Totals
from clvforecast.simulation.slots import N_ORIGINS, OF_WINDOWS
from clvforecast.simulation.structures import Snapshots

Longs = NDArray[np.int64]

TOTAL_ROWS = pa.schema([("what", pa.string()), ("levels", pa.list_(pa.string())), ("numbers", pa.list_(pa.int64()))])
"""what: a field of `Totals` or `Bridge`; levels: of the group columns, in their order, none for what is of all accounts;
numbers: of every draw, in the field's order of axes."""
BRIDGE = ("in_force", "accounts", "due", "renewed", "moved")
BY_GROUP = ("groups", "active_days", *BRIDGE)
ORIGINS_WHAT, PRICES_WHAT = "origins", "prices"
Key = tuple[str, tuple[str | None, ...]]


def total_rows(forecast: Forecast) -> pa.Table:
    """The totals of a forecast, one row a field and group (`TOTAL_ROWS`); `levels` is None for an account without one."""
    totals = forecast.totals
    found: dict[Key, Longs] = {}
    levels = [_levels(row) for row in forecast.groups.itertuples(index=False, name=None)] or [()]
    for what in BY_GROUP:
        if (numbers := _field(totals, what)) is not None:
            found |= {(what, mine): numbers[:, group].reshape(-1) for group, mine in enumerate(levels)}
    found[ORIGINS_WHAT, ()] = totals.origins.reshape(-1)
    found[PRICES_WHAT, ()] = np.array([totals.changes, totals.clips], dtype=np.int64)
    return _rows(found)


def added(tables: Iterable[pa.Table]) -> pa.Table:
    """Rows of equal `what` and `levels` added, in the order of these: of any number of tables, in any order and nesting."""
    sums: dict[Key, Longs] = {}
    for table in tables:
        for key, numbers in _by_key(table):
            if key not in sums:
                sums[key] = numbers.copy()
            elif len(sums[key]) != len(numbers):
                raise ForecastError(
                    f"totals of {key[0]} have {len(sums[key]):,} and {len(numbers):,} numbers: they are of forecasts with "
                    "different settings. Add those of one run."
                )
            else:
                sums[key] += numbers
    return _rows(dict(sorted(sums.items(), key=lambda found: (found[0][0], _in_order(found[0][1])))))


def forecast_of(
    rows: pa.Table,
    settings: ForecastSettings,
    columns: Sequence[str],
    as_of: date,
    currency: str,
    provenance: Provenance,
    warnings: tuple[str, ...] = (),
    accounts: Sequence[Forecast] = (),
) -> Forecast:
    """The forecast that totals are of.

    Parameters
    ----------
    rows
        From `added`.
    settings, columns
        Those of the forecasts that were added, and their group columns.
    accounts
        Whose account tables to take, by account_id in the end. Without them the forecast has totals only.
    """
    grid = make_grid(as_of, settings.horizon_months, settings.annual_discount_rate, settings.calendar)
    found = dict(_by_key(rows))
    groups, place = _groups([key[1] for key in found if key[0] == "groups"], list(columns))
    table, intervals = _account_tables(accounts)
    planned = [part.planned for part in accounts if part.planned is not None]
    return Forecast(
        settings=settings,
        as_of=as_of,
        currency=currency,
        grid=grid,
        groups=groups,
        totals=_totals(found, place, settings, grid),
        table=table,
        intervals=intervals,
        kept=None,
        ledger=None,
        warnings=warnings,
        provenance=provenance,
        planned=pd.concat(planned, ignore_index=True) if planned else None,
    )


def _totals(
    found: dict[Key, Longs], place: dict[tuple[str | None, ...], int], settings: ForecastSettings, grid: Grid
) -> Totals:
    draws, n_months = settings.draws, grid.discount.size
    snapshots = plan_snapshots(grid, settings.calendar or FiscalCalendar()).snapshots if settings.bridge else None

    def of_groups(what: str, shape: tuple[int, ...]) -> Longs:
        block = np.empty((draws, len(place), *shape), dtype=np.int64)
        for levels, group in place.items():
            block[:, group] = found[what, levels].reshape(draws, *shape)
        return block

    changes, clips = found[PRICES_WHAT, ()].tolist()
    return Totals(
        groups=of_groups("groups", (n_months,)),
        origins=found[ORIGINS_WHAT, ()].reshape(draws, N_ORIGINS, n_months),
        changes=changes,
        clips=clips,
        bridge=None
        if snapshots is None
        else Bridge(snapshots=snapshots, **{what: of_groups(what, _shape(what, snapshots)) for what in BRIDGE}),
        active_days=of_groups("active_days", (n_months,)) if settings.daily_cost else None,
    )


def _shape(what: str, snapshots: Snapshots) -> tuple[int, ...]:
    return (len(snapshots.windows), OF_WINDOWS) if what == "moved" else (snapshots.days.size,)


def _groups(levels: list[tuple[str | None, ...]], columns: list[str]) -> tuple[pd.DataFrame, dict[Any, int]]:
    """The table of groups as one forecast of all has it, and the place of each combination of levels in it."""
    table = pa.table({name: pa.array([mine[i] for mine in levels], pa.string()) for i, name in enumerate(columns)})
    number, groups = number_groups(table.to_pandas() if columns else pd.DataFrame(index=range(len(levels))), columns)
    return groups, dict(zip(levels, number.tolist(), strict=True))


def _account_tables(accounts: Sequence[Forecast]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables and intervals one after the other, in the order of account_id, as one forecast of all has them."""
    if not accounts:
        return pd.DataFrame({"account_id": pd.Series([], dtype="str")}), pd.DataFrame()
    table = pd.concat([part.table for part in accounts], ignore_index=True)
    intervals = pd.concat([part.intervals for part in accounts], ignore_index=True)
    rows = pc.sort_indices(pa.array(table["account_id"], pa.string())).to_numpy().astype(np.int64)
    if (np.diff(rows) == 1).all():
        return table, intervals
    return table.iloc[rows].reset_index(drop=True), intervals.iloc[rows].reset_index(drop=True)


def _field(totals: Totals, what: str) -> Longs | None:
    """(draw, group, ...) of a field; None where the forecast does not have it."""
    if what in BRIDGE:
        return None if totals.bridge is None else getattr(totals.bridge, what)
    return None if (numbers := getattr(totals, what)) is None else np.asarray(numbers)


def _levels(row: tuple[Any, ...]) -> tuple[str | None, ...]:
    return tuple(None if pd.isna(level) else str(level) for level in row)


def _in_order(levels: tuple[str | None, ...]) -> list[tuple[bool, str]]:
    return [(level is None, level or "") for level in levels]


def _rows(found: dict[Key, Longs]) -> pa.Table:
    sizes = np.cumsum([0, *(len(numbers) for numbers in found.values())], dtype=np.int32)
    flat = np.concatenate(list(found.values())) if found else np.empty(0, dtype=np.int64)
    columns = [
        pa.array([what for what, _ in found], pa.string()),
        pa.array([list(levels) for _, levels in found], pa.list_(pa.string())),
        pa.ListArray.from_arrays(pa.array(sizes), pa.array(flat)).cast(pa.list_(pa.int64())),
    ]
    return pa.Table.from_arrays(columns, schema=TOTAL_ROWS)


def _by_key(table: pa.Table) -> Iterable[tuple[Key, Longs]]:
    for batch in table.select(TOTAL_ROWS.names).to_batches():
        keys = zip(batch.column("what").to_pylist(), batch.column("levels").to_pylist(), strict=True)
        for row, (what, levels) in enumerate(keys):
            yield (what, tuple(levels)), batch.column("numbers")[row].values.to_numpy(zero_copy_only=False)
