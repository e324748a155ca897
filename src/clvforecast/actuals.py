"""What then happened: revenue of the forecast accounts, from a ledger that knows more than the forecast did.

The same money, on the same days, as the forecast counts it: service is recognised by days, and service before the
forecast's origin that is booked only afterwards counts on its booking day (the forecast's "catch-up").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.errors import ForecastError
from clvforecast.histories import Histories, build_histories
from clvforecast.histories.engine import values
from clvforecast.histories.money import recognised
from clvforecast.ledger import Ledger

if TYPE_CHECKING:
    from clvforecast.forecast import Forecast

Longs = NDArray[np.int64]


def actual_revenue(forecast: Forecast, ledger: Ledger, freq: str | None = None) -> pd.DataFrame:
    """Revenue of every forecast account, as a later ledger knows it.

    Parameters
    ----------
    forecast
        Its accounts and its window are taken; `freq` as in `Forecast.portfolio` (None: the whole window).
    ledger
        Known on a later day.  Bookings after that day are unknown still, so recent periods may be incomplete: give
        ``known_by=ledger.as_of`` to `forecast` to compare like with like.

    Returns
    -------
    DataFrame
        One row an account and period, by account: account_id, period (its last day), revenue (currency, undiscounted,
        catch-up included), catch_up (the part of it for service before the window).

    Raises
    ------
    ForecastError
        The ledger knows no more than the forecast did, or is in another currency.
    """
    periods, account_ids = _periods(forecast, freq), forecast.table["account_id"]
    served, caught_up = _revenue_cents(forecast, ledger, periods)
    return pd.DataFrame(
        {
            "account_id": account_ids.repeat(len(periods)).to_numpy(),
            "period": np.tile(periods["period"].to_numpy(), len(account_ids)),
            "revenue": (served + caught_up).reshape(-1) / 100.0,
            "catch_up": caught_up.reshape(-1) / 100.0,
        }
    )


def actual_portfolio(forecast: Forecast, ledger: Ledger, freq: str | None = "QE") -> pd.DataFrame:
    """`actual_revenue` summed over accounts: period_start, period, days, partial, revenue, catch_up; one row a period."""
    periods = _periods(forecast, freq)
    served, caught_up = _revenue_cents(forecast, ledger, periods)
    return periods.assign(revenue=(served + caught_up).sum(axis=0) / 100.0, catch_up=caught_up.sum(axis=0) / 100.0)


def _periods(forecast: Forecast, freq: str | None) -> pd.DataFrame:
    return forecast.portfolio(freq)[["period_start", "period", "days", "partial"]]


def _revenue_cents(forecast: Forecast, ledger: Ledger, periods: pd.DataFrame) -> tuple[Longs, Longs]:
    """Cents served in the window, and cents caught up in it: both (accounts, periods)."""
    _check(forecast, ledger)
    histories = build_histories(ledger)
    starts = periods["period_start"].to_numpy().astype("datetime64[D]").astype(np.int64)
    bounds = np.append(starts, forecast.grid.bounds[-1])
    account = pd.Index(forecast.table["account_id"]).get_indexer(histories.items["account_id"].to_pandas())
    items = histories.items.filter(account >= 0)
    account = account[account >= 0]
    cents, start, end = (values(items, name) for name in ("cents", "start_day", "end_day"))
    by_bound = np.stack([recognised(cents, start, end, int(bound)) for bound in bounds], axis=1)
    served = _by_account(np.diff(by_bound, axis=1), account, len(forecast.table))
    booked = _booked_days(ledger, items["event_id"].to_pandas())
    # service before the window counts in the period of its booking, when that is in the window
    booked_in = (booked[:, None] >= bounds[:-1]) & (booked[:, None] < bounds[1:])
    caught_up = _by_account(np.where(booked_in, by_bound[:, :1], 0), account, len(forecast.table))
    return served, caught_up


def _check(forecast: Forecast, ledger: Ledger) -> None:
    if ledger.as_of <= forecast.as_of:
        raise ForecastError(
            f"the ledger is known on {ledger.as_of}, the forecast begins after {forecast.as_of}: nothing has happened "
            "since. Give the ledger as known on a later day (Ledger.at, or read_ledger with a later as_of)."
        )
    if ledger.currency != forecast.currency:
        raise ForecastError(
            f"the ledger is in {ledger.currency}, the forecast in {forecast.currency}. Convert the ledger first."
        )


def _booked_days(ledger: Ledger, event_ids: pd.Series) -> Longs:
    """Booking day of events by id, in days since 1970-01-01."""
    booked = pd.Series(
        ledger.events["event_date"].to_numpy().astype("datetime64[D]").astype(np.int64),
        index=ledger.events["event_id"].to_pandas(),
    )
    return booked.loc[event_ids].to_numpy()


def _by_account(cents: Longs, account: Longs, n_accounts: int) -> Longs:
    summed = np.zeros((n_accounts, cents.shape[1]), dtype=np.int64)
    np.add.at(summed, account, cents)
    return summed


def recognised_in_periods(histories: Histories, account_ids: pd.Series, bounds: Longs) -> NDArray[np.float64]:
    """Revenue recognised between each two days of `bounds` by the given accounts together, in currency."""
    items = histories.items.filter(histories.items["account_id"].to_pandas().isin(account_ids).to_numpy())
    cents, start, end = (values(items, name) for name in ("cents", "start_day", "end_day"))
    totals = np.array([recognised(cents, start, end, int(bound)).sum() for bound in bounds])
    return np.diff(totals) / 100.0
