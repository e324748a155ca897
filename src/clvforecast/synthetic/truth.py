"""What is true of a synthetic company: its parameters, its accounts' latents, its future."""

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvforecast.errors import DatasetError
from clvforecast.synthetic.service import Cents, add_months, day_number, recognised_before


@dataclass(frozen=True)
class Truth:
    """The truth behind simulated events.

    Attributes:
        parameters: the model's parameters under their names in the posterior (floats, arrays).
        accounts: account_id, segment, and observed_from where accounts are seen only after earlier decisions.
        future: the events booked after ``as_of``, in the columns of the events themselves.
        as_of: the day up to which events are known.
        future_months: months after ``as_of`` for which the future is complete.
        size_edges: cut points on log MRR between size classes (for ``fit(..., size_edges=)``).
        term_values: term lengths in months, the columns of ``term_length``.
        years: calendar years of the history, which the elements of ``renewal_year_effect`` belong to.
        lag_edges: edges of the booking lag bins in days, bin j is (edge j, edge j + 1].
        latents: per account: theta of the first spell, base, size_class, rates a year, means of sizes (nu).
        items: every item of revenue, known or future: event_id, account_id, kind, start_day, end_day (days
            since 1970-01-01; equal for money that is recognised at once), cents.
    """

    parameters: dict[str, float | npt.NDArray[np.float64]]
    accounts: pd.DataFrame
    future: pd.DataFrame
    as_of: dt.date
    future_months: int
    size_edges: npt.NDArray[np.float64]
    term_values: npt.NDArray[np.int64]
    lag_edges: npt.NDArray[np.int64]
    years: tuple[int, ...]
    latents: pd.DataFrame
    items: pd.DataFrame

    def revenue(self, horizon_months: int) -> pd.DataFrame:
        """Revenue recognised after ``as_of``, within the horizon, of all events, known and future.

        The window is that of a forecast: from the day after ``as_of`` to the same day of the month,
        ``horizon_months`` later. One row an account:

        - account_id;
        - revenue: recognised in the window by days of service, in currency;
        - catch_up: service up to ``as_of`` that is booked in the window only. Nobody could know it at
          ``as_of``: it is no part of what was recognised to date as the ledger shows it, so a forecast brings
          it as "catch-up".

        Raises DatasetError for a horizon past the simulated future.
        """
        if not 0 <= horizon_months <= self.future_months:
            raise DatasetError(
                f"Truth.revenue: horizon_months must be within 0..{self.future_months}, is {horizon_months}; "
                "simulate with a larger future_months"
            )
        origin = day_number(self.as_of) + 1
        horizon = int(add_months(np.array([origin]), np.array([horizon_months]))[0])
        booked, start = (self.items[name].to_numpy() for name in ("booked_day", "start_day"))
        late = (booked >= origin) & (booked < horizon)
        return pd.DataFrame(
            {
                "account_id": self.accounts["account_id"],
                "revenue": self._by_account(self._served(origin, horizon)),
                "catch_up": self._by_account(np.where(late, self._served(start.min(), origin), 0)),
            }
        )

    def recognised(self, after: dt.date, through: dt.date) -> pd.DataFrame:
        """Revenue recognised after one day and through another, one row an account: account_id, revenue."""
        cents = self._served(day_number(after) + 1, day_number(through) + 1)
        return pd.DataFrame({"account_id": self.accounts["account_id"], "revenue": self._by_account(cents)})

    def _served(self, first: int, end: int) -> Cents:
        """Cents of every item recognised in the days [first, end)."""
        cents, start, stop = (self.items[name].to_numpy() for name in ("cents", "start_day", "end_day"))
        return recognised_before(cents, start, stop, end) - recognised_before(cents, start, stop, first)

    def _by_account(self, cents: Cents) -> npt.NDArray[np.float64]:
        """Currency of every account, in their order, from cents of every item."""
        total = pd.Series(cents).groupby(self.items["account_id"].to_numpy()).sum()
        return total.reindex(self.accounts["account_id"].to_numpy(), fill_value=0).to_numpy() / 100
