"""The ARR bridge and the rates of retention, by period and group: the past as the ledger knows it, the future in every draw.

Between two days each account's ARR says what became of it.  Summed by line, in whole cents and in every draw,

    start + new + expansion + reactivation + late_renewals − contraction − churn = end.

GRR = (start − contraction − churn) / start, which is Σ min(end, start) / Σ start over the accounts of the start, so that it is
at most 1; NRR adds expansion.  Who had nothing at the start is in neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from clvforecast.calendars import MONTHS_IN, as_days
from clvforecast.errors import ForecastError
from clvforecast.intervals import check_interval, describe
from clvforecast.metrics.recurring import (
    arr_by_account,
    first_days,
    known_renewals,
    lapsed_terms,
    pending_accounts,
    pending_by_account,
)
from clvforecast.metrics.windows import TRAILING, Window, plan_snapshots
from clvforecast.portfolio import Groups, beside, group_labels, group_of_accounts, groups_by, numbered
from clvforecast.simulation.run import Bridge
from clvforecast.simulation.slots import (
    CHURNED,
    CONTRACTED_BY,
    EXPANDED_BY,
    LATE_RENEWALS,
    LOST,
    NEW,
    REACTIVATED,
)

if TYPE_CHECKING:
    from clvforecast.forecast import Forecast

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]

LINES = ("start", "new", "expansion", "reactivation", "late_renewals", "contraction", "churn", "end")
SUBTRACTED = ("contraction", "churn")
"""Lines that are told as what they take away, above 0."""
MOVED = {
    "new": NEW,
    "expansion": EXPANDED_BY,
    "reactivation": REACTIVATED,
    "late_renewals": LATE_RENEWALS,
    "contraction": CONTRACTED_BY,
    "churn": CHURNED,
}
MEASURES = ("nrr", "grr", "gross_renewal_rate", "logo_churn")


class Movements(NamedTuple):
    """What became of ARR: D draws (one where it is known), G groups, P windows; cents a year, and numbers of accounts.

    lines: (8, D, G, P) in the order of `LINES`; due, renewed: (D, G, P); accounts, lost: (D, G, P)
    pending: (2, G, P) what of the start and of the end is of contracts whose renewal is open; None where it is not known
    """

    windows: list[Window]
    lines: Longs
    due: Longs
    renewed: Longs
    accounts: Longs
    lost: Longs
    pending: Longs | None = None


def forecast_movements(forecast: Forecast, groups: Groups, freq: str) -> Movements:
    """Of the windows that end after `as_of`."""
    bridge = forecast.totals.bridge
    if bridge is None:
        raise ForecastError("the forecast did not follow ARR. Call forecast(..., bridge=True).")
    if forecast.new_totals is not None and forecast.new_totals.bridge is not None:
        bridge = added_bridges(bridge, forecast.new_totals.bridge)
    plan = plan_snapshots(forecast.grid, forecast.calendar)
    if freq not in plan.rows:
        raise ForecastError(
            f"freq={freq!r}: a bridge has {', '.join(map(repr, MONTHS_IN))} of the forecast's calendar."
        )
    rows, n_groups = plan.rows[freq], len(groups.levels)

    def summed(values: Longs) -> Longs:
        found = np.zeros((values.shape[0], n_groups, *values.shape[2:]), dtype=np.int64)
        for source, group in enumerate(groups.group_of):
            found[:, group] += values[:, source]
        return found

    first, last = plan.snapshots.windows[rows].T
    in_force, accounts, moved = summed(bridge.in_force), summed(bridge.accounts), summed(bridge.moved[:, :, rows])
    due, renewed = (np.cumsum(summed(values), axis=-1) for values in (bridge.due, bridge.renewed))
    lines = [in_force[..., first], *(moved[..., slot] for slot in MOVED.values()), in_force[..., last]]
    return Movements(
        plan.windows[freq],
        np.stack(lines),
        due[..., last] - due[..., first],
        renewed[..., last] - renewed[..., first],
        accounts[..., first],
        moved[..., LOST],
    )


def added_bridges(bridge: Bridge, other: Bridge) -> Bridge:
    """Two bridges of the same draws, groups and snapshots as one: of the customers of both."""
    return Bridge(
        snapshots=bridge.snapshots,
        in_force=bridge.in_force + other.in_force,
        accounts=bridge.accounts + other.accounts,
        due=bridge.due + other.due,
        renewed=bridge.renewed + other.renewed,
        moved=bridge.moved + other.moved,
    )


def past_movements(forecast: Forecast, groups: Groups, freq: str, periods: int) -> Movements:
    """Of the last whole periods that end by `as_of`, from the ledger: one draw, which is what happened."""
    windows = past_windows(forecast, freq, periods)
    days = np.unique([day for window in windows for day in (window.start - 1, window.end)]).astype(np.int64)
    histories = forecast.history
    member, n_groups = group_of_accounts(forecast, groups), len(groups.levels)
    arr = arr_by_account(histories, days, forecast.settings.pending)
    begun = np.searchsorted(days, first_days(histories))
    renewals = known_renewals(histories, days, lapsed_terms(histories, forecast.settings.pending))
    places = np.searchsorted(days, [(window.start - 1, window.end) for window in windows]).reshape(-1, 2)

    def by_group(values: Longs) -> Longs:
        found = np.zeros((n_groups, len(windows)), dtype=np.int64)
        np.add.at(found, member, values)
        return found[None]

    start, end = arr[:, places[:, 0]], arr[:, places[:, 1]]
    is_new = places[:, 0] < begun[:, None]
    parts = {
        "start": start,
        "new": np.where((start == 0) & is_new, end, 0),
        "expansion": np.where(start > 0, np.maximum(end - start, 0), 0),
        "reactivation": np.where((start == 0) & ~is_new, end, 0),
        "late_renewals": np.zeros_like(start),
        "contraction": np.where(end > 0, np.maximum(start - end, 0), 0),
        "churn": np.where(end == 0, start, 0),
        "end": end,
    }
    of_periods = [np.cumsum(cents, axis=1) for cents in renewals]
    due, renewed = (summed[:, places[:, 1]] - summed[:, places[:, 0]] for summed in of_periods)
    return Movements(
        windows,
        np.stack([by_group(parts[line]) for line in LINES]),
        by_group(due),
        by_group(renewed),
        by_group((start > 0).astype(np.int64)),
        by_group(((start > 0) & (end == 0)).astype(np.int64)),
        _pending_at(forecast, days, places, by_group),
    )


def _pending_at(forecast: Forecast, days: Longs, places: Longs, by_group: Callable[[Longs], Longs]) -> Longs:
    """(2, G, P) of the starts and the ends of windows, at their ``places`` (P, 2) in ``days``."""
    waiting = pending_by_account(forecast.history, days)
    if forecast.settings.pending == "lapsed":  # then it is not in the ARR
        waiting = np.zeros_like(waiting)
    return np.concatenate([by_group(waiting[:, places[:, side]]) for side in (0, 1)])


def past_windows(forecast: Forecast, freq: str, periods: int) -> list[Window]:
    """The last whole periods of the calendar that end by `as_of`, none that ends before the first contract begins."""
    origin, calendar = int(forecast.grid.bounds[0]), forecast.calendar
    begin = int(first_days(forecast.history).min())
    kind = "quarter" if freq == TRAILING else freq
    labels, bounds = calendar.spans(min(begin, origin - 1), origin - 1, kind)
    ended = [place for place, after in enumerate(bounds[1:]) if after <= origin][-periods:] if periods else []
    if freq != TRAILING:
        return [Window(labels[place], int(bounds[place]), int(bounds[place + 1]) - 1, False) for place in ended]
    months = calendar.spans(min(begin, origin - 1), origin - 1, "month").bounds
    found = []
    for place in ended:
        start = int(np.searchsorted(months, bounds[place + 1])) - MONTHS_IN["year"]
        if start >= 0:
            found.append(Window(labels[place], int(months[start]), int(bounds[place + 1]) - 1, False))
    return found


def check_past(periods: int) -> None:
    """Raise ForecastError for a number of past periods that is none."""
    if isinstance(periods, bool) or not isinstance(periods, int | np.integer) or periods < 0:
        raise ForecastError(
            f"history={periods!r}: how many periods before the forecast to show, a whole number from 0 on."
        )


def bridge_draws(forecast: Forecast, freq: str, by: str | Sequence[str] | None) -> xr.Dataset:
    """See `Forecast.bridge_draws`."""
    groups = _groups(forecast, by)
    moved = forecast_movements(forecast, groups, freq)
    return xr.Dataset(
        {line: (("draw", "group", "period"), cents / 100.0) for line, cents in zip(LINES, moved.lines, strict=True)},
        coords={
            "draw": np.arange(moved.lines.shape[1]),
            "group": pd.Index(group_labels(groups.levels), tupleize_cols=False),
            "period": pd.DatetimeIndex(as_days(np.array([window.end for window in moved.windows], dtype=np.int64))),
            "label": ("period", [window.label for window in moved.windows]),
        },
        attrs={"currency": forecast.currency},
    )


def bridge_table(
    forecast: Forecast, freq: str, by: str | Sequence[str] | None, ci_prob: float, ci_kind: str, history: int
) -> pd.DataFrame:
    """See `Forecast.bridge`."""
    return _table(
        forecast,
        freq,
        by,
        ci_prob,
        ci_kind,
        history,
        "line",
        lambda moved: dict(zip(LINES, moved.lines / 100.0, strict=True)),
    )


def pending_table(forecast: Forecast, by: str | Sequence[str] | None) -> pd.DataFrame:
    """See `Forecast.pending_arr`."""
    groups, histories = _groups(forecast, by), forecast.history
    member, n_groups = group_of_accounts(forecast, groups), len(groups.levels)
    as_of = np.array([histories.as_of_day], dtype=np.int64)
    arr = arr_by_account(histories, as_of, forecast.settings.pending)[:, 0]
    waiting, contracts = pending_by_account(histories, as_of)[:, 0], member[pending_accounts(histories)]
    cents = np.zeros((2, n_groups), dtype=np.int64)
    for sums, of_accounts in zip(cents, (arr, waiting), strict=True):
        np.add.at(sums, member, of_accounts)
    columns = {"arr": cents[0] / 100.0, "pending": cents[1] / 100.0}
    return beside(groups.levels, {**columns, "contracts": np.bincount(contracts, minlength=n_groups)})


def retention_table(
    forecast: Forecast,
    freq: str,
    by: str | Sequence[str] | None,
    trailing_year: bool,
    ci_prob: float,
    ci_kind: str,
    history: int,
) -> pd.DataFrame:
    """See `Forecast.retention`."""
    if trailing_year and freq != "quarter":
        raise ForecastError(
            f"freq={freq!r}: retention over a trailing year is told at the ends of quarters. Give freq='quarter'."
        )
    return _table(
        forecast, TRAILING if trailing_year else freq, by, ci_prob, ci_kind, history, "measure", retention_rates
    )


def retention_rates(moved: Movements) -> dict[str, Floats]:
    """The rates of `MEASURES`, (D, G, P) each; NaN where nothing is there that could be kept."""
    line = dict(zip(LINES, moved.lines, strict=True))
    kept = line["start"] - line["contraction"] - line["churn"]
    return {
        "nrr": _rate(kept + line["expansion"], line["start"]),
        "grr": _rate(kept, line["start"]),
        "gross_renewal_rate": _rate(moved.renewed, moved.due),
        "logo_churn": _rate(moved.lost, moved.accounts),
    }


def _rate(part: Longs, whole: Longs) -> Floats:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _groups(forecast: Forecast, by: str | Sequence[str] | None) -> Groups:
    groups = groups_by(forecast, by)
    if by == "origin" or by == ["origin"]:
        raise ForecastError(
            "by='origin': ARR has no origins. Its bridge says where it comes from; group it by account columns."
        )
    return groups


def _table(
    forecast: Forecast,
    freq: str,
    by: str | Sequence[str] | None,
    ci_prob: float,
    ci_kind: str,
    history: int,
    name: str,
    figures: Any,
) -> pd.DataFrame:
    """One row a group, period and figure: past periods first, each as it was, then those of the forecast with their ranges."""
    check_interval(ci_prob, ci_kind)
    check_past(history)
    groups = _groups(forecast, by)
    moved = [forecast_movements(forecast, groups, freq)]
    if history:
        moved.insert(0, past_movements(forecast, groups, freq, history))
    parts = [_rows(forecast, groups, one, name, figures(one), ci_prob, ci_kind) for one in moved if one.windows]
    table = pd.concat(parts, ignore_index=True)
    names = list(groups.levels.columns)
    if names:
        table = table.iloc[np.argsort(numbered(table[names]), kind="stable")].reset_index(drop=True)
    return table


def _rows(
    forecast: Forecast,
    groups: Groups,
    moved: Movements,
    name: str,
    figures: dict[str, Floats],
    ci_prob: float,
    ci_kind: str,
) -> pd.DataFrame:
    n_figures, n_windows, n_groups = len(figures), len(moved.windows), len(groups.levels)
    draws = np.stack(list(figures.values()), axis=-1)  # (D, G, P, figures)
    ranges = _ranges(draws, ci_prob, ci_kind)
    each = {
        "label": [window.label for window in moved.windows],
        "period_start": as_days(np.array([window.start for window in moved.windows])),
        "period": as_days(np.array([window.end for window in moved.windows])),
        "basis": [_basis(forecast, window) for window in moved.windows],
        "partial": [window.partial for window in moved.windows],
    }
    levels = groups.levels.loc[groups.levels.index.repeat(n_windows * n_figures)].reset_index(drop=True)
    return beside(
        levels,
        {
            **{column: np.tile(np.repeat(values, n_figures), n_groups) for column, values in each.items()},
            name: np.tile(list(figures), n_windows * n_groups),
            **{column: values.reshape(-1) for column, values in ranges.items()},
            "ci_prob": ci_prob,
            "ci_kind": ci_kind,
            **({"pending": _pending_column(moved).reshape(-1)} if name == "line" else {}),
        },
    )


def _pending_column(moved: Movements) -> Floats:
    """(G, P, 8) in currency: what of a start or an end is pending, NaN for the other lines and where it is not known."""
    column = np.full((*moved.lines.shape[2:], len(LINES)), np.nan)
    if moved.pending is not None:
        for line, cents in zip(("start", "end"), moved.pending, strict=True):
            column[..., LINES.index(line)] = cents / 100.0
    return column


def _ranges(draws: Floats, ci_prob: float, ci_kind: str) -> dict[str, Floats]:
    """`describe` of what is known: draws without a rate say nothing of it, and what is sure is exactly that."""
    ranges = describe(draws, ci_prob, ci_kind)
    sure = (draws == draws[0]).all(axis=0)  # else its mean would be off by roundings, and its SD not 0
    for name, figure in ranges.items():
        figure[sure] = 0.0 if name == "sd" else draws[0][sure]
    unknown = np.isnan(draws).any(axis=0)
    for place in zip(*np.nonzero(unknown), strict=True):
        known = draws[(slice(None), *place)]
        known = known[~np.isnan(known)]
        figures = describe(known, ci_prob, ci_kind) if known.size else dict.fromkeys(ranges, np.array(np.nan))
        for name, values in figures.items():
            ranges[name][place] = values
    return ranges


def _basis(forecast: Forecast, window: Window) -> str:
    origin = int(forecast.grid.bounds[0])
    if window.end < origin:
        return "actual"
    return "part actual" if window.start < origin else "forecast"
