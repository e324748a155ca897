"""What the forecast accounts have brought: the portfolio by period, each account by year."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast
from clvforecast.histories.engine import values
from clvforecast.histories.money import recognised
from clvforecast.report.page.periods import day_numbers, periods_before
from clvforecast.simulation.calendar import add_months, date_of, day_number

Longs = NDArray[np.int64]

SHOWN_BEFORE = {"month": 24, "quarter": 12, "year": 6}
"""Periods of history, at most."""
MOST_YEARS = 8
NEGLIGIBLE = 0.01
"""Leading periods under this share of the largest are left out: the ledger had hardly begun."""


def revenue_before(forecast: Forecast) -> dict[str, pd.DataFrame]:
    """By "month", "quarter" and "year": label, start, end (last day), revenue, partial: whether as_of cuts the last one short.

    Raises ForecastError where the forecast has no ledger, or does not count money as it is recognised.
    """
    _check(forecast)
    return {freq: _revenue(forecast, freq) for freq in SHOWN_BEFORE}


def _revenue(forecast: Forecast, freq: str) -> pd.DataFrame:
    table = periods_before(forecast, freq, SHOWN_BEFORE[freq])
    bounds = np.append(day_numbers(table["start"]), day_number(forecast.as_of) + 1)
    revenue = _between(forecast, bounds).sum(axis=0) / 100.0
    begun = int((revenue > NEGLIGIBLE * revenue.max()).argmax())
    return table.assign(revenue=revenue).iloc[begun:].reset_index(drop=True)


def account_years(forecast: Forecast) -> pd.DataFrame:
    """Cents of every account (rows as in `Forecast.accounts`) in each of the last years, the last of which ends on as_of.

    Columns are the years' last days, of those years in which anything was recognised, `MOST_YEARS` at most. Raises ForecastError
    as `revenue_before` does.
    """
    _check(forecast)
    origin = day_number(forecast.as_of) + 1
    bounds = np.array([add_months(origin, -12 * years) for years in range(MOST_YEARS, -1, -1)], dtype=np.int64)
    cents = _between(forecast, bounds)
    begun = int((cents != 0).any(axis=0).argmax())
    ends: list[date] = [date_of(bound) - timedelta(days=1) for bound in bounds[1:]]
    return pd.DataFrame(cents[:, begun:], columns=pd.Index([end.isoformat() for end in ends[begun:]]))


def _check(forecast: Forecast) -> None:
    if forecast.settings.timing != "recognised":
        raise ForecastError(
            f"timing={forecast.settings.timing!r} counts other money than was recognised in the past; to see them side by side, "
            'forecast with timing="recognised".'
        )


def _between(forecast: Forecast, bounds: Longs) -> Longs:
    """Cents that every account was recognised between each two of the days, (accounts, bounds − 1)."""
    items = forecast.history.items
    account = pd.Index(forecast.table["account_id"]).get_indexer(items["account_id"].to_pandas())
    mine = account >= 0
    cents, start, end = (values(items, name)[mine] for name in ("cents", "start_day", "end_day"))
    summed = np.zeros((len(bounds), len(forecast.table)), dtype=np.int64)
    for row, bound in enumerate(bounds):
        np.add.at(summed[row], account[mine], recognised(cents, start, end, int(bound)))
    return np.diff(summed, axis=0).T
