"""The forecast: simulate every account forward under the posterior, and say the ranges.

Ranges of a segment or of the portfolio come from summed draws, never from summed quantiles.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import xarray as xr
from numpy.typing import NDArray
from pydantic import ValidationError

from clvforecast.cells import Frame
from clvforecast.errors import ForecastError
from clvforecast.histories import Histories, build_histories
from clvforecast.histories.build import slice_histories
from clvforecast.histories.lines import segment_columns
from clvforecast.histories.slices import Slice, account_slices
from clvforecast.intervals import check_interval, describe
from clvforecast.ledger import Ledger
from clvforecast.posterior import Posterior
from clvforecast.posterior_file import checksum
from clvforecast.provenance import Provenance, package_versions
from clvforecast.readiness import check_ledger, scoring_warnings
from clvforecast.reduction import DEFAULT_CI_PROBS, Billing, ForecastSettings, Kept, Reduction
from clvforecast.simulation.batches import unpaid_units
from clvforecast.simulation.calendar import Grid, date_of, day_number, make_grid
from clvforecast.simulation.parameters import make_classes, make_parameters
from clvforecast.simulation.run import Totals, simulate_portfolio
from clvforecast.simulation.slots import N_ORIGINS, ORIGINS, UNITS_PER_CURRENCY
from clvforecast.simulation.states import States, account_states, unseen_levels
from clvforecast.simulation.structures import NewLevels, Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAR_AWAY = date(9999, 12, 31)
ACCOUNTS_AT_A_TIME = 20_000
"""Whose histories and states are in memory, and as many more whose are worked out meanwhile."""
COPIES_ON_WRITE = int(pd.__version__.split(".")[0]) >= 3
"""Whether what is written into a shallow copy of a table leaves the table as it is."""


def forecast(
    posterior: Posterior,
    ledger: Ledger,
    horizon_months: int = 60,
    annual_discount_rate: float = 0.10,
    gross_margin: float = 1.0,
    draws: int = 1000,
    seed: int = 7,
    keep_draws: bool | Sequence[Kept] = False,
    *,
    timing: Literal["recognised", "booked", "cash"] = "recognised",
    billing: Billing | None = None,
    payment_days: int | None = None,
    cost_to_serve: float = 0.0,
    known_by: date | None = None,
    group_by: Sequence[str] | None = None,
    ci_probs: Sequence[float] = DEFAULT_CI_PROBS,
    threads: int | None = None,
    batch_accounts: int | None = None,
) -> Forecast:
    """Simulate every account of a ledger forward and keep its ranges.

    Parameters
    ----------
    posterior
        From `fit` or `load_posterior`.
    ledger
        The accounts to score; what it knows by its ``as_of`` is the starting point.
    horizon_months
        Length of the window, from the day after ``as_of``, in calendar months.
    annual_discount_rate, gross_margin
        Discounted values are Σ margin × money × (1 + rate)^(−days/365.25), less the cost to serve; undiscounted revenue has
        none of these.
    draws
        Posterior draws to use, evenly spaced; every account is simulated once under each.
    seed
        Key of the random numbers, with the account and the draw.
    keep_draws
        Keep (account, draw) arrays: all of `Forecast.draws`, or the names of those wanted. 8 × accounts × draws bytes each,
        eight times that for revenue_by_origin and up to three times for mrr.
    timing
        "recognised": revenue as it is served, by days.  "booked": money on its booking day, as when terms are prepaid;
        what is already booked then is no longer to come.  "cash": money on the day it is paid, by ``billing`` and
        ``payment_days``.  "booked" and "cash" see the same bookings for the same seed; "recognised" draws fewer booking lags,
        so its lives are others of the same law.
    billing
        With timing="cash" only, and needed then: "upfront" bills the whole booking, "annual", "quarterly" and "monthly" the
        months from the start of its service, in advance; the last instalment ends with the service.  An instalment is the daily
        rate times its days, invoiced on its first day, or on the booking day where that is later.  Amendments and one-off
        orders are billed in the same way from their own start; contractions are credit notes by the same rule.
    payment_days
        With timing="cash" only: days from an invoice to its payment, 0 to 365; 30 if not given.  The ledger does not say what
        was paid: what was due before the window counts as paid, and what was invoiced before it and is due in it counts in it.
        After an early termination with a refund, what was paid for days not served goes back that many days after the
        termination, and invoices that were not paid by then are paid without it.
    cost_to_serve
        Currency an active account and month.  Discounted values are margin × money − cost × active time: an account is active
        when any of its contracts is, time is counted in days (30.4375 a month) and discounted at the middle of its month.
        ``discounted_`` columns, the draws of ``clv`` and ``beyond_horizon`` have it in them, undiscounted revenue has not.
        Beyond the horizon it is taken off the expected active time; of an account with several contracts off that of the one
        with most, the least it can be: how contracts overlap then has no closed form.  Time counts whether its renewal is
        booked by ``known_by`` or not.
    known_by
        Count only bookings made by this day.
    group_by
        Account columns that `Forecast.portfolio` can split by; by default the posterior's segments.
    ci_probs
        Probabilities of the intervals kept for every account.
    threads, batch_accounts
        How to spread the work; they change no result.

    Raises
    ------
    ForecastError
        For settings out of range, a currency unlike the posterior's, a ledger without any contract, or an unknown column.

    Examples
    --------
    >>> import clvforecast as clv
    >>> ledger = clv.datasets.load_phl_contracts(as_of="2018-06-30")  # doctest: +SKIP
    >>> posterior = clv.load_posterior("posterior.nc")  # doctest: +SKIP
    >>> forecast = clv.forecast(posterior, ledger)  # doctest: +SKIP
    >>> cash = clv.forecast(posterior, ledger, timing="cash", billing="annual", payment_days=45)  # doctest: +SKIP
    """
    settings = _settings(locals())
    check_ledger(posterior, ledger)
    if settings.known_by is not None and settings.known_by < ledger.as_of:
        raise ForecastError(
            f"known_by={settings.known_by} is before the ledger's as_of {ledger.as_of}: nothing could be booked by then. Give a "
            "later day, or None to count every booking."
        )
    slices = account_slices(ledger, ACCOUNTS_AT_A_TIME)
    account_ids = pa.chunked_array([part.account_ids for part in slices])
    columns = list(posterior.frame.segments if group_by is None else group_by)
    accounts = _accounts_table(ledger, account_ids, columns)
    group, groups = _groups(accounts, columns)
    new_levels = unseen_levels(_levels(ledger, account_ids, posterior.frame.segments), posterior.frame)
    grid = make_grid(ledger.as_of, settings.horizon_months, settings.annual_discount_rate)
    parameters = make_parameters(
        posterior.idata["posterior"].to_dataset(),
        posterior.frame,
        new_levels,
        settings.draws,
        settings.seed,
        last_year=date_of(grid.bounds[-1]).year,
    )
    reduction = Reduction(len(account_ids), settings)
    to_date: list[pd.DataFrame] = []
    totals = simulate_portfolio(
        _states_of(slices, posterior.frame, new_levels, to_date, settings),
        parameters,
        make_classes(posterior.frame),
        Settings(
            seed=settings.seed,
            grace_days=-1 if ledger.grace_days is None else ledger.grace_days,
            max_ratio=posterior.frame.max_ratio,
            known_by=day_number(settings.known_by or FAR_AWAY),
            booked=settings.timing == "booked",
            billing_months=settings.months_billed,
            payment_days=settings.payment_days or 0,
            daily_cost=settings.daily_cost,
        ),
        grid,
        group,
        len(groups),
        reduction.add,
        settings.threads,
        settings.batch_accounts,
        reduction.keeps_all,
    )
    return Forecast(
        settings=settings,
        as_of=ledger.as_of,
        currency=ledger.currency,
        grid=grid,
        groups=groups,
        totals=totals,
        table=pd.concat([accounts, pd.concat(to_date, ignore_index=True), reduction.table()], axis=1),
        intervals=reduction.interval_table(),
        kept=reduction.kept(accounts["account_id"]),
        ledger=ledger,
        warnings=scoring_warnings(posterior, ledger, new_levels),
        provenance=Provenance(
            ledger=ledger.fingerprint,
            posterior=checksum(posterior.idata),
            trained_on=str(posterior.idata.attrs.get("fingerprint", "")),
            trained_until=posterior.as_of,
            versions=package_versions(),
        ),
    )


def _settings(arguments: dict[str, Any]) -> ForecastSettings:
    names = ForecastSettings.model_fields
    try:
        settings = ForecastSettings(**{name: arguments[name] for name in names})
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # of several settings together: the message names them
            raise ForecastError(f"{first['msg'].removeprefix('Value error, ')}.") from error
        where = ".".join(str(part) for part in first["loc"])
        raise ForecastError(f"{where}={first['input']!r}: {first['msg']}.") from error
    for ci_prob in settings.ci_probs:
        check_interval(ci_prob, "eti")
    return settings


def _states_of(
    slices: Sequence[Slice],
    frame: Frame,
    new_levels: NewLevels,
    to_date: list[pd.DataFrame],
    settings: ForecastSettings,
) -> Iterator[States]:
    """The states of one slice of accounts after the other, the next one worked out meanwhile.

    Their money to date is put into ``to_date``.
    """

    cash = settings.timing == "cash"

    def states_of(part: Slice) -> States:
        return account_states(slice_histories(part)[0], frame, new_levels, receivables=cash)

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(states_of, slices[0])
        for following in (*slices[1:], None):
            states = coming.result()
            if following is not None:
                coming = ahead.submit(states_of, following)
            money = {"clv_to_date": states.recognised_cents / 100.0, "booked_to_date": states.booked_cents / 100.0}
            if cash:
                unpaid = unpaid_units(states, settings.months_billed, settings.payment_days or 0)
                money["paid_to_date"] = states.booked_cents / 100.0 - unpaid / UNITS_PER_CURRENCY
            to_date.append(pd.DataFrame(money))
            yield states


def _levels(ledger: Ledger, account_ids: pa.ChunkedArray, columns: Sequence[str]) -> pa.Table:
    """account_id and some columns of the accounts, in the order of these."""
    available = segment_columns(ledger.accounts)
    for name in columns:
        if name not in available:
            raise ForecastError(
                f"the accounts have no column {name!r}; they have {', '.join(available) or 'none'}. "
                "Give it in the accounts table of read_ledger."
            )
    rows = pc.index_in(account_ids, ledger.accounts["account_id"])
    return ledger.accounts.select(["account_id", *columns]).take(rows)


def _accounts_table(ledger: Ledger, account_ids: pa.ChunkedArray, columns: Sequence[str]) -> pd.DataFrame:
    """account_id and the group columns of every simulated account."""
    frame: pd.DataFrame = _levels(ledger, account_ids, columns).to_pandas()
    return frame


def _groups(accounts: pd.DataFrame, columns: list[str]) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Portfolio group of each account, and the groups: one row for each distinct combination of the columns."""
    if not columns:
        return np.zeros(len(accounts), dtype=np.int64), pd.DataFrame(index=pd.RangeIndex(1))
    grouped = accounts.groupby(columns, sort=True, dropna=False)
    groups = grouped.size().reset_index()[columns]
    return grouped.ngroup().to_numpy(dtype=np.int64), groups


@dataclass(frozen=True, repr=False)
class Forecast:
    """Ranges of forward revenue by account, segment and portfolio.  Made by `forecast`.

    Money is in ``currency``.  Unprefixed figures are undiscounted revenue of the window; ``discounted_`` ones have the
    discount rate, the gross margin and the cost to serve in them. ``warnings`` say what to know of the ledger and the
    posterior behind it, ``provenance`` which they are; ``ledger`` is None in a forecast that was loaded without it.
    """

    settings: ForecastSettings
    as_of: date
    currency: str
    grid: Grid
    groups: pd.DataFrame
    totals: Totals
    table: pd.DataFrame
    intervals: pd.DataFrame
    kept: xr.Dataset | None
    ledger: Ledger | None
    warnings: tuple[str, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        draws = self.portfolio_draws(freq=None).sum("period")
        low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95])
        return (
            f"<Forecast of {len(self.table):,} accounts, {self.settings.horizon_months} months from {self.as_of}, "
            f"{self.settings.draws:,} draws: {self.currency} {middle:,.0f} ({low:,.0f} to {high:,.0f} with 90%)>"
        )

    @cached_property
    def history(self) -> Histories:
        """Terms, decisions and money of every account up to ``as_of``; worked out when first asked for.

        Raises ForecastError after `load_forecast` without the ledger: files do not hold it.
        """
        if self.ledger is None:
            raise ForecastError(
                "the past is in the ledger, which a forecast's file does not hold: clv.load_forecast(path, ledger=ledger)."
            )
        return build_histories(self.ledger)

    def with_ledger(self, ledger: Ledger) -> Forecast:
        """The same with the ledger it was made from, of a forecast that was loaded. Raises ForecastError for another ledger."""
        if ledger.fingerprint != self.provenance.ledger:
            raise ForecastError(
                f"the ledger (as of {ledger.as_of}, fingerprint {ledger.fingerprint[:12]}...) is not the one that the forecast "
                f"was made from (as of {self.as_of}, {self.provenance.ledger[:12]}...). Read that one, or forecast again."
            )
        return replace(self, ledger=ledger)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one sealed file for `load_forecast`, complete or not at all: all tables, and the draws where they were kept.

        Raises ForecastFileError when it cannot be written.
        """
        from clvforecast.forecast_file import save_forecast

        save_forecast(self, path)

    def accounts(self, ci_prob: float = 0.9, ci_kind: str = "eti") -> pd.DataFrame:
        """One row an account, ordered by account_id.

        Columns: account_id, the group columns; ``clv_to_date`` (recognised) and ``booked_to_date``, with timing="cash" also
        ``paid_to_date`` (all that was due, less what early terminations had given back); forward revenue of the window: mean,
        sd, q05 … q95, lower, upper, ci_prob, ci_kind; ``clv`` (to date, in cash that paid to date, + forward mean) with its
        ``clv_lower`` and ``clv_upper``; the same discounted; ``p_zero``; ``beyond_horizon`` (mean discounted value
        after the window, NaN without discounting) and its share; ``p_active_12m`` … (active on the last day of that
        month); ``p_next_renewal`` with its 5% and 95% posterior quantiles (NaN where no decision is open);
        ``active_months`` within the window; ``from_<origin>`` means, which sum to the mean.

        Raises
        ------
        ForecastError
            For a ``ci_prob`` that was not among the forecast's ``ci_probs``.
        """
        check_interval(ci_prob, ci_kind)
        key = f"{ci_kind}|{ci_prob}"
        if f"lower|{key}" not in self.intervals:
            raise ForecastError(
                f"ci_prob={ci_prob} was not kept; kept are {', '.join(map(str, self.settings.ci_probs))}. "
                f"Forecast again with ci_probs=({ci_prob}, ...)."
            )
        table = self.table.copy(deep=not COPIES_ON_WRITE)
        for prefix in ("discounted_", ""):
            at = table.columns.get_loc(f"{prefix}q95") + 1
            for offset, end in enumerate(("lower", "upper")):
                table.insert(at + offset, f"{prefix}{end}", self.intervals[f"{prefix}{end}|{key}"])
        at = table.columns.get_loc("upper") + 1
        to_date = table["paid_to_date" if self.settings.timing == "cash" else "clv_to_date"]
        extra = {
            "ci_prob": ci_prob,
            "ci_kind": ci_kind,
            "clv": to_date + table["mean"],
            "clv_lower": to_date + table["lower"],
            "clv_upper": to_date + table["upper"],
        }
        for offset, (name, column) in enumerate(extra.items()):
            table.insert(at + offset, name, column)
        return table

    def portfolio_draws(self, freq: str | None = "QE", by: str | Sequence[str] | None = None) -> xr.DataArray:
        """Summed revenue draws: dims (draw, group, period), in currency.

        ``freq`` is a pandas period-end alias: "ME", "QE", "QE-JUN", "YE", "YE-SEP"; None for the whole window.  ``by`` is
        "origin", or one or more of the group columns.  Draw d of every period and group is one simulated world.
        """
        labels, index = self._group_index(by)
        units = self.totals.origins if self._group_names(by) == ["origin"] else self.totals.groups
        period, ends = self._periods(freq)
        summed = np.zeros((units.shape[0], len(labels), len(ends)), dtype=np.int64)
        for source in range(units.shape[1]):
            for month in range(units.shape[2]):
                summed[:, index[source], period[month]] += units[:, source, month]
        return xr.DataArray(
            summed / UNITS_PER_CURRENCY,
            dims=("draw", "group", "period"),
            coords={
                "draw": np.arange(summed.shape[0]),
                "group": pd.Index(labels, tupleize_cols=False),
                "period": ends,
            },
            name="revenue",
            attrs={"currency": self.currency},
        )

    def portfolio(
        self,
        freq: str | None = "QE",
        by: str | Sequence[str] | None = None,
        ci_prob: float = 0.9,
        ci_kind: str = "eti",
    ) -> pd.DataFrame:
        """One row a period (and group): period_start, period (its last day), days, mean, sd, q05 … q95, lower, upper.

        Ranges are of summed draws.  The first and last period may be partial: ``days`` says how many of its days are in
        the window, ``partial`` whether some are not.
        """
        check_interval(ci_prob, ci_kind)
        draws = self.portfolio_draws(freq, by)
        period, ends = self._periods(freq)
        ranges = describe(draws.values, ci_prob, ci_kind)
        labels = [label if isinstance(label, tuple) else (label,) for label in draws["group"].values.tolist()]
        names = self._group_names(by)
        starts = [self.grid.bounds[:-1][period == k].min() for k in range(len(ends))]
        days = [np.diff(self.grid.bounds)[period == k].sum() for k in range(len(ends))]
        n_groups = len(labels)
        rows: dict[str, Any] = {
            name: np.repeat([label[position] for label in labels], len(ends)) for position, name in enumerate(names)
        }
        rows["period_start"] = np.tile(np.array([_day(start) for start in starts], dtype="datetime64[s]"), n_groups)
        rows["period"] = np.tile(ends.to_numpy(), n_groups)
        rows["days"] = np.tile(days, n_groups)
        rows["partial"] = np.tile(self._partial(freq, starts, days, ends), n_groups)
        rows |= {name: values.reshape(-1) for name, values in ranges.items()}
        rows["ci_prob"], rows["ci_kind"] = ci_prob, ci_kind
        return pd.DataFrame(rows)

    @property
    def draws(self) -> xr.Dataset:
        """Dims (account, draw): ``revenue`` (forward, undiscounted), ``clv`` (forward, discounted, with margin), and
        ``revenue_by_origin`` with dim origin, ``mrr`` with dim month (in force on the last day of month 12, 24 and 36, within
        the horizon).  Needs ``keep_draws=True``.
        """
        if self.kept is None:
            raise ForecastError("draws were not kept. Call forecast(..., keep_draws=True).")
        return self.kept

    def plot(self, account_id: str | None = None, ax: Axes | None = None) -> Axes:
        """The portfolio's fan chart against its history, or with ``account_id`` that account's CLV distribution."""
        from clvforecast.report.plots import plot_account, plot_portfolio

        return plot_portfolio(self, ax) if account_id is None else plot_account(self, account_id, ax)

    def _group_names(self, by: str | Sequence[str] | None) -> list[str]:
        if by is None:
            return []
        return [by] if isinstance(by, str) else list(by)

    def _group_index(self, by: str | Sequence[str] | None) -> tuple[list[Any], NDArray[np.int64]]:
        """Labels of the asked groups, and for each stored group which of them it belongs to."""
        names = self._group_names(by)
        if names == ["origin"]:
            return list(ORIGINS), np.arange(N_ORIGINS)
        if "origin" in names:
            raise ForecastError(
                f"by={names}: origin cannot be combined with account columns. Ask for them one at a time."
            )
        for name in names:
            if name not in self.groups.columns:
                raise ForecastError(
                    f"by={name!r}: the forecast was made by {', '.join(self.groups.columns) or 'no column'}; "
                    "name it in forecast(..., group_by=[...])."
                )
        if not names:
            return ["all"], np.zeros(self.totals.groups.shape[1], dtype=np.int64)
        keys = list(self.groups[names].itertuples(index=False, name=None))
        labels = sorted(set(keys))
        index = np.array([labels.index(key) for key in keys], dtype=np.int64)
        return [label[0] if len(label) == 1 else label for label in labels], index

    def _periods(self, freq: str | None) -> tuple[NDArray[np.int64], pd.DatetimeIndex]:
        """Period of each month of the grid, and the periods' last days."""
        last_days = pd.DatetimeIndex([_day(bound - 1) for bound in self.grid.bounds[1:]])
        if freq is None:
            return np.zeros(len(last_days), dtype=np.int64), last_days[-1:]
        try:
            offset = pd.tseries.frequencies.to_offset(freq)
            ends = pd.DatetimeIndex([offset.rollforward(day) for day in last_days])
        except (ValueError, AttributeError) as error:
            raise ForecastError(
                f"freq={freq!r} is not a pandas period end. Use ME, QE, QE-JUN, YE or YE-SEP."
            ) from error
        if (ends < last_days).any() or pd.Timestamp(ends[0]).day < 28:
            raise ForecastError(f"freq={freq!r} does not end with a month. Use ME, QE, QE-JUN, YE or YE-SEP.")
        unique = ends.unique()
        return np.asarray(unique.get_indexer(ends), dtype=np.int64), unique

    def _partial(
        self, freq: str | None, starts: list[int], days: list[int], ends: pd.DatetimeIndex
    ) -> NDArray[np.bool_]:
        if freq is None:
            return np.array([False])
        before = [pd.tseries.frequencies.to_offset(freq).rollback(_day(start - 1)) for start in starts]
        full = [(end - begin).days for end, begin in zip(ends, before, strict=True)]
        return np.array(days) < np.array(full)


def _day(number: int) -> pd.Timestamp:
    return pd.Timestamp(date_of(number))
