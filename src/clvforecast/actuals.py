"""What then happened: revenue of the forecast accounts, from a ledger that knows more than the forecast did.

The same money, on the same days, as the forecast counts it: service is recognised by days, and service before the
forecast's origin that is booked only afterwards counts on its booking day (the forecast's "catch-up").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.errors import ForecastError
from clvforecast.histories import Histories, build_histories
from clvforecast.histories.engine import values
from clvforecast.histories.money import recognised
from clvforecast.ledger import Ledger
from clvforecast.periods import window_periods
from clvforecast.simulation.calendar import add_months

if TYPE_CHECKING:
    from clvforecast.forecast import Forecast

Longs = NDArray[np.int64]


def actual_revenue(
    forecast: Forecast, ledger: Ledger, freq: str | None = None, histories: Histories | None = None
) -> pd.DataFrame:
    """Revenue of every forecast account, as a later ledger knows it.

    Parameters
    ----------
    forecast
        Its accounts and its window are taken; `freq` as in `Forecast.portfolio` (None: the whole window).
    ledger
        Known on a later day.  Bookings after that day are unknown still, so recent periods may be incomplete: give
        ``known_by=ledger.as_of`` to `forecast` to compare like with like.
    histories
        Those of the ledger, where they are built already.

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
    served, caught_up = _revenue_cents(forecast, ledger, periods, histories)
    return pd.DataFrame(
        {
            "account_id": account_ids.repeat(len(periods)).to_numpy(),
            "period": np.tile(periods["period"].to_numpy(), len(account_ids)),
            "revenue": (served + caught_up).reshape(-1) / 100.0,
            "catch_up": caught_up.reshape(-1) / 100.0,
        }
    )


def actual_portfolio(forecast: Forecast, ledger: Ledger, freq: str | None = "quarter") -> pd.DataFrame:
    """`actual_revenue` summed over accounts: label, period_start, period, days, partial, revenue, catch_up; one row a period."""
    periods = _periods(forecast, freq)
    served, caught_up = _revenue_cents(forecast, ledger, periods)
    return periods.assign(revenue=(served + caught_up).sum(axis=0) / 100.0, catch_up=caught_up.sum(axis=0) / 100.0)


def _periods(forecast: Forecast, freq: str | None) -> pd.DataFrame:
    return pd.DataFrame(window_periods(forecast.grid, freq, forecast.settings).columns())


def _revenue_cents(
    forecast: Forecast, ledger: Ledger, periods: pd.DataFrame, histories: Histories | None = None
) -> tuple[Longs, Longs]:
    """Cents served in the window, and cents caught up in it: both (accounts, periods)."""
    _check(forecast, ledger)
    histories = build_histories(ledger) if histories is None else histories
    starts = periods["period_start"].to_numpy().astype("datetime64[D]").astype(np.int64)
    bounds = np.append(starts, forecast.grid.bounds[-1])
    account = pd.Index(forecast.table["account_id"]).get_indexer(histories.items["account_id"].to_pandas())
    items = histories.items.filter(account >= 0)
    account = account[account >= 0]
    by_bound = np.stack(list(_recognised_before(items, bounds)), axis=1)
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


def _recognised_before(items: pa.Table, bounds: Iterable[int]) -> Iterator[Longs]:
    """For each bound, the cents of every item that are recognised before it, (items,)."""
    cents, start, end = (values(items, name) for name in ("cents", "start_day", "end_day"))
    for bound in bounds:
        yield recognised(cents, start, end, int(bound))


def recognised_in_periods(histories: Histories, account_ids: pd.Series, bounds: Longs) -> NDArray[np.float64]:
    """Revenue recognised between each two days of `bounds` by the given accounts together, in currency."""
    items = histories.items.filter(histories.items["account_id"].to_pandas().isin(account_ids).to_numpy())
    return np.diff([cents.sum() for cents in _recognised_before(items, bounds)]) / 100.0


def recognised_after(now: Histories, then: Histories, months: int) -> pd.Series:
    """Revenue of the accounts of `then` in the window that began then, as known in `now`, by account_id."""
    before, by_end = _recognised_before(now.items, (then.origin_day, add_months(then.origin_day, months)))
    by_account = pd.Series((by_end - before) / 100.0, index=now.items["account_id"].to_pandas()).groupby(level=0).sum()
    accounts = pd.Index(then.lines["account_id"].to_pandas().unique(), name="account_id")
    return by_account.reindex(accounts, fill_value=0.0)


def mrr_on(truth: Histories, day: int) -> pd.Series:
    """MRR in force on a day by account_id, amendments of the term so far included; accounts without a term are not there."""
    terms, lines = truth.terms.to_pandas(), truth.lines.to_pandas().set_index("line")["account_id"]
    serving = terms[(terms["start_day"] <= day) & (day < terms["stop_day"])]
    amended = truth.amendments.to_pandas()
    added = amended[amended["day"] <= day].groupby("term")["mrr"].sum()
    mrr = serving["mrr"] + added.reindex(serving["term"], fill_value=0.0).to_numpy()
    return mrr.groupby(lines.reindex(serving["line"]).to_numpy()).sum()


def next_decision(known: Histories, truth: Histories, known_until: int, last: int) -> pd.Series:
    """1 renewed, 0 not, by account_id, of the decision after the last term known at the origin, if it is due by `last`.

    Accounts with one line only; what ended early never had the decision; after `known_until` bookings may still come.
    """
    lines = known.lines.to_pandas()
    single = lines[~lines["account_id"].duplicated(keep=False)].set_index("line")["account_id"]
    terms = known.terms.to_pandas()
    ended = terms[terms["last_in_line"] & terms["line"].isin(single.index) & (terms["end_day"] <= last)]
    later = truth.terms.to_pandas().merge(truth.decisions.to_pandas()[["term", "outcome"]], on="term")
    outcome = later.set_index("event_id")["outcome"].reindex(ended["event_id"]).to_numpy()
    settled = (ended["end_day"] <= known_until).to_numpy()
    value = np.select([outcome == "renewed", np.isin(outcome, ["notified", "open"])], [1.0, 0.0], np.nan)
    value[~settled] = np.nan  # also those booked already: they would stand for all of their time
    return pd.Series(value, index=single.reindex(ended["line"]).to_numpy())
