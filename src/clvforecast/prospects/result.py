"""`prospects`: the value of customers not yet won; `Prospects`: its ranges, payback of their cost, and what they may cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from clvforecast.errors import ForecastError
from clvforecast.fictional import fictional_ledger
from clvforecast.intervals import check_interval, describe
from clvforecast.ledger.known import as_day
from clvforecast.posterior import Posterior
from clvforecast.prospects.lives import Lives, accounts_of, currency_of, live
from clvforecast.prospects.offers import far_prices, offers_table
from clvforecast.prospects.payback import (
    HALF_A_CENT,
    by_month_since_start,
    largest_cost,
    months_to_reach,
    payback_quantiles,
)
from clvforecast.readiness import model_warnings
from clvforecast.reduction import ForecastSettings
from clvforecast.simulation.slots import ORIGINS
from clvforecast.simulation.states import unseen_levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Who = Literal["customer", "cohort"]
PAYBACK_MARKS = (6, 12, 18, 24, 36)
"""Months by which the chance of having been paid back is told."""
FIRST_TERM = "first_term"
"""What of a fictional account the forecast calls committed."""


def prospects(
    posterior: Posterior,
    first_mrr: float | Sequence[float] | Floats | pd.DataFrame,
    term_months: int | Sequence[int] | None = None,
    segment: Mapping[str, str] | None = None,
    n: int = 1,
    start: date | str | None = None,
    horizon_months: int = 60,
    annual_discount_rate: float = 0.10,
    gross_margin: float = 1.0,
    acquisition_cost: float | None = None,
    draws: int = 1000,
    seed: int = 7,
    *,
    repeats: int = 20,
    grace_days: int | None = None,
    threads: int | None = None,
) -> Prospects:
    """What customers not yet won will bring, from the first day of their first term on, that term included.

    Fictional accounts book their first term on the day before ``start`` and are forecast as any account is, with the posterior of
    a customer of whom nothing is known yet but price, term and segment.

    In every draw all customers share the parameters, good and bad years included; their traits and fortunes are their own. So the
    range of a cohort's total does not shrink with the root of n: what is not known of the business does not average out.

    Parameters
    ----------
    posterior
        From `fit` or `load_posterior`.
    first_mrr, term_months
        Price a month in the posterior's currency, and length of the first term. Arrays are a mix of offers that are equally
        likely, as is a table of columns first_mrr, term_months, the posterior's segment columns and, optionally, weight. In each
        draw a systematic sample of the mix says who signs what.
    segment
        Level of each of the posterior's segment columns. The effect of one that training has not seen is drawn from the spread of
        those seen, and ``warnings`` say so.
    n
        Customers of the cohort.
    start
        First day of service, from which the window runs and values are discounted; by default the day after the posterior's
        as_of.
    horizon_months, annual_discount_rate, gross_margin, draws, seed, threads
        As in `forecast`.
    acquisition_cost
        Of one customer, for `Prospects.payback` and `Prospects.cohort`, undiscounted, spent by the day before ``start``.
    repeats
        Customers simulated under each draw for the figures of one customer.
    grace_days
        As in the ledger that the posterior was trained on.

    Raises
    ------
    ForecastError
        For prices, terms, weights or segments that cannot be, and for settings out of range.

    Examples
    --------
    >>> import clvforecast as clv
    >>> posterior = clv.load_posterior("posterior.nc")  # doctest: +SKIP
    >>> found = clv.prospects(posterior, 1000.0, 12, {"plan": "pro"}, n=50, acquisition_cost=9000.0)  # doctest: +SKIP
    >>> found.customer(), found.payback(), found.max_acquisition_cost(0.8, within_months=24)  # doctest: +SKIP
    """
    for name, count in (("n", n), ("repeats", repeats)):
        if isinstance(count, bool) or int(count) != count or count < 1:
            raise ForecastError(f"{name}={count!r}: give a whole number of customers, from 1 on.")
    cost = None if acquisition_cost is None else _cost(acquisition_cost)
    offers = offers_table(posterior.frame, first_mrr, term_months, segment)
    first_day = date.fromisoformat(posterior.as_of) + timedelta(days=1) if start is None else as_day(start, "start")
    options = {
        "horizon_months": horizon_months,
        "annual_discount_rate": annual_discount_rate,
        "gross_margin": gross_margin,
        "draws": draws,
        "seed": seed,
        "threads": threads,
    }
    lives = live(posterior, offers, first_day, int(n), int(repeats), grace_days, options)
    return Prospects(
        offers=offers,
        n=int(n),
        start=first_day,
        currency=posterior.currency,
        acquisition_cost=cost,
        settings=lives.first.settings,
        warnings=_warnings(posterior, offers, first_day),
        lives=lives,
    )


def _cost(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0.0 <= value < math.inf:
        raise ForecastError(f"acquisition_cost={value!r}: give what winning one customer costs, a number from 0 on.")
    return float(value)


def _warnings(posterior: Posterior, offers: pd.DataFrame, start: date) -> tuple[str, ...]:
    """What to know of the posterior and of offers unlike those that it was trained on."""
    one_each = accounts_of(offers, np.ones(len(offers), dtype=np.int64), start).drop(columns=["offer", "rank"])
    ledger = fictional_ledger(one_each, start - timedelta(days=1), posterior.currency)
    told = model_warnings(posterior, ledger, unseen_levels(ledger.accounts, posterior.frame))
    return (*told, *far_prices(offers, posterior.frame))


@dataclass(frozen=True, repr=False)
class Prospects:
    """Ranges of what customers not yet won will bring, the first term included.  Made by `prospects`.

    Money is in ``currency``; months are counted from ``start``, the first day of service. ``offers`` is the mix, ``n`` the
    customers of the cohort, ``lives`` their draws. Revenue counts as it is served. Unprefixed figures are undiscounted revenue,
    ``discounted_`` ones have the discount rate and the gross margin in them; payback is of the gross margin.
    """

    offers: pd.DataFrame
    n: int
    start: date
    currency: str
    acquisition_cost: float | None
    settings: ForecastSettings
    warnings: tuple[str, ...]
    lives: Lives

    def __repr__(self) -> str:
        low, middle, high = np.quantile(self.lives.value, [0.05, 0.5, 0.95])
        return (
            f"<Prospects from {self.start}, a cohort of {self.n:,}, {self.settings.horizon_months} months: a customer is worth "
            f"{self.currency} {middle:,.0f} ({low:,.0f} to {high:,.0f} with 90%) discounted>"
        )

    @property
    def value_draws(self) -> xr.DataArray:
        """Value of one customer in the window, discounted, with margin: dims (draw, customer).

        The customers of a draw share its parameters: for the precision of a mean count draws, not customers.
        """
        return self._labelled(
            self.lives.value, "clv", "discounted value of one customer in the window, with the gross margin"
        )

    def customer(self, ci_prob: float = 0.9, ci_kind: str = "eti") -> pd.DataFrame:
        """What one customer of the mix brings, in one row with the columns of `Forecast.accounts`.

        mean, sd, q05 … q95, lower, upper of undiscounted revenue of the window, ``mcse`` (standard error of the mean from the
        number of draws), the same ``discounted_`` with margin; ``beyond_horizon``, the mean discounted value after the window
        (NaN without discounting), and its share; ``p_active_12m`` … (active on the last day of that month); ``active_months``,
        the expected lifetime within the window; ``from_first_term`` and other origins, which sum to the mean. With an acquisition
        cost: ``value_to_cost``, the discounted mean over it, and ``p_above_cost``, the chance of a discounted value above it.
        """
        check_interval(ci_prob, ci_kind)
        lives = self.lives
        row: dict[str, Any] = {}
        for prefix, draws in (("", currency_of(lives.pool.sum(axis=2))), ("discounted_", lives.value)):
            ranges = describe(draws.reshape(-1), ci_prob, ci_kind)
            row |= {f"{prefix}{name}": float(value) for name, value in ranges.items()}
            row[f"{prefix}mcse"] = float(draws.mean(axis=1).std(ddof=1) / math.sqrt(draws.shape[0]))
        whole = row["discounted_mean"] + lives.beyond
        row |= {
            "ci_prob": ci_prob,
            "ci_kind": ci_kind,
            "beyond_horizon": lives.beyond,
            "beyond_share": lives.beyond / whole,
        }
        row |= {f"p_active_{month}m": float(lives.active[:, :, k].mean()) for k, month in enumerate(lives.marks)}
        row["active_months"] = lives.active_months
        names = [FIRST_TERM if origin == "committed" else origin for origin in ORIGINS]
        row |= {f"from_{name}": value for name, value in zip(names, lives.by_origin.tolist(), strict=True)}
        if self.acquisition_cost is not None:
            row["acquisition_cost"] = self.acquisition_cost
            row["value_to_cost"] = row["discounted_mean"] / self.acquisition_cost if self.acquisition_cost else math.inf
            row["p_above_cost"] = float((lives.value > self.acquisition_cost).mean())
        return pd.DataFrame([row])

    def cohort(
        self, freq: str | None = "QE", ci_prob: float = 0.9, ci_kind: str = "eti", discounted: bool = False
    ) -> pd.DataFrame:
        """The cohort of n over time, in one row a period.

        The period's own columns are those of `Forecast.portfolio`. Then mean, sd, q05 … q95, lower, upper of the revenue of the
        period; the same ``customers_``: how many have revenue in the period's last month (one that ended early without a refund
        counts until its term is served out); the same ``cumulative_``: margin from the start to the end of the period, less the
        acquisition cost of all n where there is one; then ``p_paid_back`` is the chance that it is no longer negative. With
        ``discounted`` revenue and margin are discounted to the start, and both have the gross margin in them.
        """
        check_interval(ci_prob, ci_kind)
        periods, place = self._periods(freq)
        margin = self._monthly_margin("cohort", discounted)
        revenue = margin if discounted else currency_of(self.lives.cohort)
        last = np.append(np.flatnonzero(np.diff(place)), place.size - 1)
        by_period = np.add.reduceat(revenue, np.append(0, last[:-1] + 1), axis=1)
        cumulative = np.cumsum(margin, axis=1)[:, last] - self.n * (self.acquisition_cost or 0.0)
        found = {
            "": by_period,
            "customers_": self.lives.paying[:, last].astype(np.float64),
            "cumulative_": cumulative,
        }
        for prefix, draws in found.items():
            ranges = describe(draws, ci_prob, ci_kind)
            periods = periods.assign(**{f"{prefix}{name}": values for name, values in ranges.items()})
        periods["ci_prob"], periods["ci_kind"] = ci_prob, ci_kind
        return (
            periods
            if self.acquisition_cost is None
            else periods.assign(p_paid_back=(cumulative > -HALF_A_CENT).mean(axis=0))
        )

    def payback(self, acquisition_cost: float | None = None) -> pd.DataFrame:
        """When the gross margin has reached the acquisition cost, for one customer and for the cohort as a whole.

        One row for each of ``of`` ("customer", "cohort", where n is above 1) and ``discounted`` (margin discounted to the start,
        or not): acquisition_cost (of one customer); ``p_paid_back``, the chance within the horizon; ``p_within_12m`` …; q05 …
        q95 of the month by whose end it is reached, counted from 1. **inf: not paid back within the horizon**, so a q75 of inf
        says that fewer than 75% are. There is no mean: months that never come have none.

        Raises ForecastError without a cost here or in `prospects`.
        """
        cost = self._cost_or_own(acquisition_cost)
        whos: tuple[Who, ...] = ("customer", "cohort") if self.n > 1 else ("customer",)
        rows = [self._payback_row(who, discounted, cost) for who in whos for discounted in (False, True)]
        return pd.DataFrame(rows)

    def _payback_row(self, of: Who, discounted: bool, cost: float) -> dict[str, Any]:
        months = months_to_reach(self._margin_since_start(of, discounted), cost)
        marks = [month for month in PAYBACK_MARKS if month <= self.settings.horizon_months]
        return {
            "of": of,
            "discounted": discounted,
            "acquisition_cost": cost,
            "p_paid_back": float(np.isfinite(months).mean()),
            **{f"p_within_{month}m": float((months <= month).mean()) for month in marks},
            **payback_quantiles(months),
        }

    def payback_draws(
        self, acquisition_cost: float | None = None, of: Who = "customer", discounted: bool = False
    ) -> xr.DataArray:
        """The month by whose end the cost is reached, inf where not within the horizon: dims (draw, customer); of a cohort
        (draw,)."""
        _check_who(of)
        months = months_to_reach(self._margin_since_start(of, discounted), self._cost_or_own(acquisition_cost))
        return self._labelled(months, "months_to_payback", "months from the start; inf: not within the horizon")

    def max_acquisition_cost(
        self,
        target_probability: float = 0.8,
        within_months: int | None = None,
        discounted: bool = False,
        of: Who = "customer",
    ) -> float:
        """The largest cost of one customer that is paid back within so many months with at least a probability.

        ``within_months`` is the horizon by default. With ``of="cohort"`` the cohort as a whole has to pay back, which allows more
        or less a customer as chance evens out among n.

        Raises ForecastError for a probability or months out of range.
        """
        _check_who(of)
        if not 0.0 < target_probability < 1.0:
            raise ForecastError(
                f"target_probability={target_probability}: a probability above 0 and below 1, for example 0.8."
            )
        horizon = self.settings.horizon_months
        within = horizon if within_months is None else within_months
        if not 1 <= within <= horizon:
            raise ForecastError(
                f"within_months={within_months}: from 1 to the horizon, {horizon} months. Ask for a longer horizon_months."
            )
        return largest_cost(self._margin_since_start(of, discounted), target_probability, int(within))

    def plot(self, ax: Axes | None = None) -> Axes:
        """The cohort's margin over time, less what winning it cost; for payback and other figures `clv.plot_payback` and
        `clv.plot_cohort`."""
        from clvforecast.report.customer_plots import plot_cohort

        return plot_cohort(self, ax)

    def _cost_or_own(self, given: float | None) -> float:
        if given is None and self.acquisition_cost is None:
            raise ForecastError(
                "acquisition_cost is missing: give what winning one customer costs, here or in prospects()."
            )
        return _cost(self.acquisition_cost if given is None else given)

    def _monthly_margin(self, of: Who, discounted: bool) -> Floats:
        """(..., M) gross margin by month of the grid: of single customers (D, R, M), or of the whole cohort (D, M)."""
        units = self.lives.pool if of == "customer" else self.lives.cohort
        margin = currency_of(units) * self.settings.gross_margin
        return margin * self.lives.first.grid.discount if discounted else margin

    @cached_property
    def _since_start(self) -> dict[tuple[str, bool], Floats]:
        return {}

    def _margin_since_start(self, of: Who, discounted: bool) -> Floats:
        """(..., H + 1) margin of one customer from the start to the end of each month; of a cohort its mean customer's."""
        key = (of, discounted)
        if key not in self._since_start:
            margin = self._monthly_margin(of, discounted) / (self.n if of == "cohort" else 1)
            total = np.zeros((*margin.shape[:-1], margin.shape[-1] + 1))
            np.cumsum(margin, axis=-1, out=total[..., 1:])
            self._since_start[key] = by_month_since_start(total, self.lives.first.grid, self.settings.horizon_months)
        return self._since_start[key]

    def _periods(self, freq: str | None) -> tuple[pd.DataFrame, NDArray[np.int64]]:
        """The columns that say which period each row of `Forecast.portfolio` is, and the row of each month of the grid."""
        table = self.lives.first.portfolio(freq)
        table = table.loc[:, : table.columns[table.columns.get_loc("mean") - 1]]
        last_days = table["period"].to_numpy().astype("datetime64[D]").astype(np.int64)
        return table, np.searchsorted(last_days, self.lives.first.grid.bounds[1:] - 1).astype(np.int64)

    def _labelled(self, draws: Floats, name: str, meaning: str) -> xr.DataArray:
        dims = ("draw", "customer")[: draws.ndim]
        coords = {dim: np.arange(size) for dim, size in zip(dims, draws.shape, strict=True)}
        return xr.DataArray(draws, coords, dims, name, {"long_name": meaning, "currency": self.currency})


def _check_who(of: str) -> None:
    if of not in ("customer", "cohort"):
        raise ForecastError(f'of={of!r} is not known. Use "customer" or "cohort".')
