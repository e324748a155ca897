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
from clvforecast.simulation.slots import ORIGINS, UNITS_PER_CURRENCY

if TYPE_CHECKING:
    from clvforecast.forecast import Forecast

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
LARGEST = 10
"""Accounts that a concentration is the share of."""
DISCOUNTED_RANGE = ("mean", "q05", "q50", "q95", "lower", "upper")
NEW_CUSTOMERS = "new_customers"
"""The origin of all that new customers bring."""


class Groups(NamedTuple):
    """The asked groups, G of them, of S that the totals are kept by.

    levels: (G, columns) what they are by; no column, and one row, for the group of all
    units: (D, S, M) revenue by draw, kept group and month; group_of: (S,) group that each kept one belongs to
    active_days: (D, S, M) of its accounts, where these cost something; None where not, and of origins, which have no accounts
    """

    levels: pd.DataFrame
    units: Longs
    group_of: Longs
    active_days: Longs | None = None


def groups_by(forecast: Forecast, by: str | Sequence[str] | None) -> Groups:
    """The groups by "origin", or by one or more of the group columns; by None there is one, of all accounts.

    The new customers' revenue is in them, where there are any: by origin it is a group of its own.

    Raises ForecastError for a column that the forecast was not made by, and for origin together with others.
    """
    names = [] if by is None else [by] if isinstance(by, str) else list(by)
    if names == ["origin"]:
        return _origins(forecast)
    if "origin" in names:
        raise ForecastError(f"by={names}: origin cannot be combined with account columns. Ask for them one at a time.")
    for name in names:
        if name not in forecast.groups.columns:
            raise ForecastError(
                f"by={name!r}: the forecast was made by {', '.join(forecast.groups.columns) or 'no column'}; "
                "name it in forecast(..., group_by=[...])."
            )
    units = forecast.totals.groups
    active = forecast.totals.active_days
    if forecast.new_totals is not None:
        units = units + forecast.new_totals.groups
        if active is not None and forecast.new_totals.active_days is not None:
            active = active + forecast.new_totals.active_days
    if not names:
        return Groups(pd.DataFrame(index=range(1)), units, np.zeros(units.shape[1], dtype=np.int64), active)
    group_of = numbered(forecast.groups[names])
    _, first = np.unique(group_of, return_index=True)
    return Groups(forecast.groups[names].iloc[first].reset_index(drop=True), units, group_of, active)


def _origins(forecast: Forecast) -> Groups:
    labels, units = list(ORIGINS), forecast.totals.origins
    if forecast.new_totals is not None:
        new = forecast.new_totals.origins.sum(axis=1, keepdims=True)
        labels, units = [*labels, NEW_CUSTOMERS], np.concatenate([units, new], axis=1)
    return Groups(pd.DataFrame({"origin": labels}), units, np.arange(len(labels)))


def existing_only(groups: Groups, forecast: Forecast) -> Groups:
    """The same groups, by columns of the accounts, with the revenue of existing customers alone."""
    return groups._replace(units=forecast.totals.groups, active_days=forecast.totals.active_days)


def numbered(levels: pd.DataFrame) -> Longs:
    """Number of each row's combination of levels, in their order; an empty level is one of its own, and comes last."""
    return levels.groupby(list(levels.columns), sort=True, dropna=False).ngroup().to_numpy(dtype=np.int64)


def portfolio_draws(
    forecast: Forecast, freq: str | None, by: str | Sequence[str] | None, discounted: bool
) -> xr.DataArray:
    """See `Forecast.portfolio_draws`."""
    return _draws_of(forecast, groups_by(forecast, by), freq, discounted)


def _draws_of(forecast: Forecast, groups: Groups, freq: str | None, discounted: bool) -> xr.DataArray:
    periods = window_periods(forecast.grid, freq, forecast.settings)
    summed = _summed(forecast, groups, periods.of_month, discounted)
    return xr.DataArray(
        summed / UNITS_PER_CURRENCY,
        dims=("draw", "group", "period"),
        coords={
            "draw": np.arange(summed.shape[0]),
            "group": pd.Index(group_labels(groups.levels), tupleize_cols=False),
            "period": pd.DatetimeIndex(as_days(periods.ends)),
            "label": ("period", list(periods.labels)),
        },
        name="discounted" if discounted else "revenue",
        attrs={"currency": forecast.currency},
    )


def group_labels(levels: pd.DataFrame) -> list[Any]:
    """One a group: its level, or a tuple where there are several columns; "all" where there is none."""
    if levels.shape[1] < 2:
        return levels.iloc[:, 0].tolist() if levels.shape[1] else ["all"]
    return list(levels.itertuples(index=False, name=None))


def _summed(forecast: Forecast, groups: Groups, period: Longs, discounted: bool) -> NDArray[Any]:
    """(D, G, P) units of each draw, group and period: whole ones, or discounted with the gross margin."""
    factors = forecast.settings.gross_margin * forecast.grid.discount if discounted else np.int64(1)
    served = groups.active_days if discounted else None
    if discounted and served is None and forecast.settings.cost_to_serve:
        raise ForecastError(
            "by='origin', discounted=True: the cost to serve is one of accounts, not of origins. Ask for by=None or a group "
            "column, or forecast without cost_to_serve."
        )
    cost = forecast.settings.daily_cost * UNITS_PER_CURRENCY
    first = np.flatnonzero(np.diff(period, prepend=-1))
    n_draws = groups.units.shape[0]
    summed = np.zeros((n_draws, len(groups.levels), len(first)), dtype=np.float64 if discounted else np.int64)
    for source, group in enumerate(groups.group_of):
        units = groups.units[:, source] if served is None else groups.units[:, source] - cost * served[:, source]
        summed[:, group] += np.add.reduceat(units * factors, first, axis=1)
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
    ranges = describe(_draws_of(forecast, groups, freq, discounted).values, ci_prob, ci_kind)
    return _table_of_periods(forecast, groups, freq, ranges, ci_prob, ci_kind)


def new_customer_table(
    forecast: Forecast, freq: str | None, by: str | Sequence[str] | None, ci_prob: float, ci_kind: str
) -> pd.DataFrame:
    """See `Forecast.new_customer_counts`."""
    check_interval(ci_prob, ci_kind)
    if forecast.new_won is None:
        raise ForecastError(
            "the forecast is of existing customers only. Call forecast(..., new_customers=clv.TrailingNewCustomers())."
        )
    groups = groups_by(forecast, by)
    if by in ("origin", ["origin"]):
        raise ForecastError("by='origin': customers have no origin. Group them by account columns.")
    periods = window_periods(forecast.grid, freq, forecast.settings)
    won = _summed(forecast, groups._replace(units=forecast.new_won), periods.of_month, discounted=False)
    return _table_of_periods(
        forecast, groups, freq, describe(won.astype(np.float64), ci_prob, ci_kind), ci_prob, ci_kind
    )


def _table_of_periods(
    forecast: Forecast, groups: Groups, freq: str | None, ranges: dict[str, Any], ci_prob: float, ci_kind: str
) -> pd.DataFrame:
    """One row a group and period, with the ranges (G, P)."""
    periods = window_periods(forecast.grid, freq, forecast.settings)
    return beside(
        groups.levels.loc[groups.levels.index.repeat(len(periods.labels))].reset_index(drop=True),
        {
            **{name: np.tile(values, len(groups.levels)) for name, values in periods.columns().items()},
            **{name: values.reshape(-1) for name, values in ranges.items()},
            "ci_prob": ci_prob,
            "ci_kind": ci_kind,
        },
    )


def beside(levels: pd.DataFrame, columns: dict[str, Any]) -> pd.DataFrame:
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
    existing = existing_only(groups, forecast)
    revenue, value = (
        describe(_draws_of(forecast, existing, None, discounted).values[:, :, 0], ci_prob, ci_kind)
        for discounted in (False, True)
    )
    member = group_of_accounts(forecast, groups)
    n_groups = len(groups.levels)
    beyond = np.bincount(member, forecast.table["beyond_horizon"], n_groups)
    to_date = {
        name: _summed_cents(forecast.table[name], member, n_groups) for name in ("clv_to_date", "booked_to_date")
    }
    return beside(
        groups.levels,
        {
            "accounts": np.bincount(member, minlength=n_groups),
            **to_date,
            **revenue,
            "ci_prob": ci_prob,
            "ci_kind": ci_kind,
            **_of_new_customers(forecast, groups),
            **{f"discounted_{name}": value[name] for name in DISCOUNTED_RANGE},
            "beyond_horizon": beyond,
            "beyond_share": _share(beyond, value["mean"] + beyond),
            **_concentration(forecast, member, revenue["mean"]),
        },
    )


def _of_new_customers(forecast: Forecast, groups: Groups) -> dict[str, Floats]:
    """Their mean revenue of the window by group; nothing where there are none."""
    if forecast.new_totals is None:
        return {}
    new = groups._replace(units=forecast.new_totals.groups)
    return {f"{NEW_CUSTOMERS}_mean": _draws_of(forecast, new, None, discounted=False).values[:, :, 0].mean(axis=0)}


def group_of_accounts(forecast: Forecast, groups: Groups) -> Longs:
    """Number of the group that each account is in."""
    names = list(groups.levels.columns)
    if not names:
        return np.zeros(len(forecast.table), dtype=np.int64)
    both = pd.concat([groups.levels, forecast.table[names]], ignore_index=True)
    return numbered(both)[len(groups.levels) :]


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
    every = range(len(expected))  # a group of new customers alone has no accounts
    return {
        "top10_share": _share(top["mean"].sum().reindex(every, fill_value=0.0).to_numpy(), expected),
        "top10_accounts": top["account_id"].agg("; ".join).reindex(every, fill_value="").to_numpy(),
    }


def _share(part: Floats, whole: Floats) -> Floats:
    """part / whole; NaN where there is nothing to be a share of, either is not known, or the rest is negative."""
    return np.divide(
        part, whole, out=np.full(len(whole), np.nan), where=(whole > 0.0) & (0.0 <= part) & (part <= whole)
    )
