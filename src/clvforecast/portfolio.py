"""Tables of a forecast's summed draws: by period and group, and one row a group for the whole window.

Draw d of every period and group is one simulated world: what is summed over them is summed draw by draw, and the range is
taken last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from clvforecast.calendars import as_days
from clvforecast.errors import ForecastError
from clvforecast.intervals import check_interval, describe
from clvforecast.periods import window_periods
from clvforecast.simulation.slots import N_ORIGINS, ORIGINS, UNITS_PER_CURRENCY

if TYPE_CHECKING:
    from clvforecast.forecast import Forecast

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
LARGEST = 10
"""Accounts that a concentration is the share of."""
DISCOUNTED_RANGE = ("mean", "q05", "q50", "q95", "lower", "upper")


class Groups(NamedTuple):
    """The asked groups, G of them, of S that the totals are kept by.

    levels: (G, columns) what they are by; no column, and one row, for the group of all
    units: (D, S, M) revenue by draw, kept group and month; group_of: (S,) group that each kept one belongs to
    """

    levels: pd.DataFrame
    units: Longs
    group_of: Longs


def groups_by(forecast: Forecast, by: str | Sequence[str] | None) -> Groups:
    """The groups by "origin", or by one or more of the group columns; by None there is one, of all accounts.

    Raises ForecastError for a column that the forecast was not made by, and for origin together with others.
    """
    names = [] if by is None else [by] if isinstance(by, str) else list(by)
    totals = forecast.totals
    if names == ["origin"]:
        return Groups(pd.DataFrame({"origin": ORIGINS}), totals.origins, np.arange(N_ORIGINS))
    if "origin" in names:
        raise ForecastError(f"by={names}: origin cannot be combined with account columns. Ask for them one at a time.")
    for name in names:
        if name not in forecast.groups.columns:
            raise ForecastError(
                f"by={name!r}: the forecast was made by {', '.join(forecast.groups.columns) or 'no column'}; "
                "name it in forecast(..., group_by=[...])."
            )
    if not names:
        return Groups(pd.DataFrame(index=range(1)), totals.groups, np.zeros(totals.groups.shape[1], dtype=np.int64))
    group_of = _numbered(forecast.groups[names])
    _, first = np.unique(group_of, return_index=True)
    return Groups(forecast.groups[names].iloc[first].reset_index(drop=True), totals.groups, group_of)


def _numbered(levels: pd.DataFrame) -> Longs:
    """Number of each row's combination of levels, in their order; an empty level is one of its own, and comes last."""
    return levels.groupby(list(levels.columns), sort=True, dropna=False).ngroup().to_numpy(dtype=np.int64)


def portfolio_draws(
    forecast: Forecast, freq: str | None, by: str | Sequence[str] | None, discounted: bool
) -> xr.DataArray:
    """See `Forecast.portfolio_draws`."""
    groups = groups_by(forecast, by)
    periods = window_periods(forecast.grid, freq, forecast.settings)
    summed = _summed(forecast, groups, periods.of_month, discounted)
    return xr.DataArray(
        summed / UNITS_PER_CURRENCY,
        dims=("draw", "group", "period"),
        coords={
            "draw": np.arange(summed.shape[0]),
            "group": pd.Index(_labels(groups.levels), tupleize_cols=False),
            "period": pd.DatetimeIndex(as_days(periods.ends)),
            "label": ("period", list(periods.labels)),
        },
        name="discounted" if discounted else "revenue",
        attrs={"currency": forecast.currency},
    )


def _labels(levels: pd.DataFrame) -> list[Any]:
    """One a group: its level, or a tuple where there are several columns; "all" where there is none."""
    if levels.shape[1] < 2:
        return levels.iloc[:, 0].tolist() if levels.shape[1] else ["all"]
    return list(levels.itertuples(index=False, name=None))


def _summed(forecast: Forecast, groups: Groups, period: Longs, discounted: bool) -> NDArray[Any]:
    """(D, G, P) units of each draw, group and period: whole ones, or discounted with the gross margin."""
    factors = forecast.settings.gross_margin * forecast.grid.discount if discounted else np.int64(1)
    first = np.flatnonzero(np.diff(period, prepend=-1))
    n_draws = groups.units.shape[0]
    summed = np.zeros((n_draws, len(groups.levels), len(first)), dtype=np.float64 if discounted else np.int64)
    for source, group in enumerate(groups.group_of):
        summed[:, group] += np.add.reduceat(groups.units[:, source] * factors, first, axis=1)
    return summed


def portfolio_table(
    forecast: Forecast,
    freq: str | None,
    by: str | Sequence[str] | None,
    ci_prob: float,
    ci_kind: str,
    discounted: bool,
) -> pd.DataFrame:
    """See `Forecast.portfolio`."""
    check_interval(ci_prob, ci_kind)
    groups = groups_by(forecast, by)
    periods = window_periods(forecast.grid, freq, forecast.settings)
    ranges = describe(portfolio_draws(forecast, freq, by, discounted).values, ci_prob, ci_kind)
    return _beside(
        groups.levels.loc[groups.levels.index.repeat(len(periods.labels))].reset_index(drop=True),
        {
            **{name: np.tile(values, len(groups.levels)) for name, values in periods.columns().items()},
            **{name: values.reshape(-1) for name, values in ranges.items()},
            "ci_prob": ci_prob,
            "ci_kind": ci_kind,
        },
    )


def _beside(levels: pd.DataFrame, columns: dict[str, Any]) -> pd.DataFrame:
    """The table of levels and then the columns. Raises ForecastError where one name would stand for both."""
    taken = [name for name in levels.columns if name in columns]
    if taken:
        raise ForecastError(
            f"by={taken[0]!r}: the table has a column of its own of that name. Give the accounts a copy of theirs under another "
            "name, and forecast(..., group_by=[...]) that one."
        )
    return pd.DataFrame({**levels, **columns})


def summary_table(forecast: Forecast, by: str | Sequence[str] | None, ci_prob: float, ci_kind: str) -> pd.DataFrame:
    """See `Forecast.summary`."""
    check_interval(ci_prob, ci_kind)
    groups = groups_by(forecast, by)
    if "origin" in groups.levels:
        raise ForecastError(
            "by='origin': a summary counts accounts, and an account has revenue of every origin. Ask for "
            "forecast.portfolio(freq=None, by='origin')."
        )
    revenue, value = (
        describe(portfolio_draws(forecast, None, by, discounted).values[:, :, 0], ci_prob, ci_kind)
        for discounted in (False, True)
    )
    member = _group_of_accounts(forecast, groups)
    n_groups = len(groups.levels)
    beyond = np.bincount(member, forecast.table["beyond_horizon"], n_groups)
    to_date = {
        name: _summed_cents(forecast.table[name], member, n_groups) for name in ("clv_to_date", "booked_to_date")
    }
    return _beside(
        groups.levels,
        {
            "accounts": np.bincount(member, minlength=n_groups),
            **to_date,
            **revenue,
            "ci_prob": ci_prob,
            "ci_kind": ci_kind,
            **{f"discounted_{name}": value[name] for name in DISCOUNTED_RANGE},
            "beyond_horizon": beyond,
            "beyond_share": _share(beyond, value["mean"] + beyond),
            **_concentration(forecast, member, revenue["mean"]),
        },
    )


def _group_of_accounts(forecast: Forecast, groups: Groups) -> Longs:
    """Number of the group that each account is in."""
    names = list(groups.levels.columns)
    if not names:
        return np.zeros(len(forecast.table), dtype=np.int64)
    both = pd.concat([groups.levels, forecast.table[names]], ignore_index=True)
    return _numbered(both)[len(groups.levels) :]


def _summed_cents(money: pd.Series, member: Longs, n_groups: int) -> Floats:
    """Money of accounts, which is whole cents, summed by group without rounding."""
    cents = np.zeros(n_groups, dtype=np.int64)
    np.add.at(cents, member, np.rint(100.0 * money.to_numpy()).astype(np.int64))
    return cents / 100.0


def _concentration(forecast: Forecast, member: Longs, expected: Floats) -> dict[str, Any]:
    """The ten largest accounts of each group by expected revenue: their share of it, and who they are, the largest first."""
    mean = forecast.table["mean"].to_numpy()
    ranked = pd.DataFrame({"group": member, "mean": mean, "account_id": forecast.table["account_id"]})
    ranked = ranked.sort_values(["group", "mean"], ascending=[True, False], kind="stable")
    top = ranked.groupby("group").head(LARGEST).groupby("group")
    return {
        "top10_share": _share(top["mean"].sum().to_numpy(), expected),
        "top10_accounts": top["account_id"].agg("; ".join).to_numpy(),
    }


def _share(part: Floats, whole: Floats) -> Floats:
    """part / whole; NaN where there is nothing to be a share of, or either is not known."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0.0)
