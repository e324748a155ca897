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
import xarray as xr
from numpy.typing import NDArray
from pydantic import ValidationError

from clvforecast.account_tables import account_levels, account_ranges, group_columns, number_groups
from clvforecast.calendars import FiscalCalendar
from clvforecast.cells import Frame
from clvforecast.errors import ForecastError
from clvforecast.histories import Histories, build_histories
from clvforecast.histories.build import slice_histories
from clvforecast.histories.slices import Slice, account_slices
from clvforecast.intervals import check_interval
from clvforecast.ledger import Ledger
from clvforecast.metrics.bridge import bridge_draws, bridge_table, pending_table, retention_table
from clvforecast.metrics.policies import policies
from clvforecast.metrics.recurring import Pending
from clvforecast.metrics.tracking import Tracking
from clvforecast.metrics.windows import plan_snapshots
from clvforecast.new_business import (
    NewBusiness,
    levels_of_both,
    rows_of_both,
    sample_business,
    simulate_business,
)
from clvforecast.new_customers import new_customer_policy
from clvforecast.new_customers.sample import Source
from clvforecast.plans import PlanReliability, Plans
from clvforecast.plans.words import planned_words
from clvforecast.portfolio import new_customer_table, portfolio_draws, portfolio_table, summary_table
from clvforecast.posterior import Posterior
from clvforecast.posterior_file import checksum
from clvforecast.provenance import Provenance, package_versions
from clvforecast.readiness import check_ledger, scoring_warnings
from clvforecast.reduction import DEFAULT_CI_PROBS, Billing, ForecastSettings, Kept, Reduction
from clvforecast.scenarios import Scenario, steer
from clvforecast.simulation.batches import unpaid_units
from clvforecast.simulation.calendar import Grid, date_of, day_number, make_grid
from clvforecast.simulation.parameters import make_classes, make_parameters, with_term_values
from clvforecast.simulation.run import Totals, simulate_portfolio
from clvforecast.simulation.slots import UNITS_PER_CURRENCY
from clvforecast.simulation.states import States, account_states, unseen_levels
from clvforecast.simulation.structures import NO_SNAPSHOTS, NOTHING_ASSUMED, NewLevels, Settings
from clvforecast.steering import Steering

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAR_AWAY = date(9999, 12, 31)
ACCOUNTS_AT_A_TIME = 20_000
"""Whose histories and states are in memory, and as many more whose are worked out meanwhile."""


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
    calendar: FiscalCalendar | None = None,
    bridge: bool = False,
    pending: Pending = "in_force",
    scenario: Scenario | None = None,
    plans: Plans | None = None,
    reliability: PlanReliability | None = None,
    new_customers: Source | None = None,
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
    calendar
        The company's fiscal calendar: months, quarters and years of `Forecast.portfolio` are its own, and labelled so. By
        default calendar months, and years from January. Revenue does not depend on it; discounted values do, by some
        hundred-thousandths, where its months are weeks (`simulation.calendar.make_grid`). The window stays `horizon_months`
        calendar months.
    bridge
        Follow annual recurring revenue too, for `Forecast.bridge` and `Forecast.retention`.
    pending
        Whether a contract that has ended, and whose renewal is open on ``as_of`` and within its grace, counts as in force in the
        bridge: "in_force" or "lapsed", then from the end of its term. Past periods are told with what is known on ``as_of``, not
        as they were told then: with either, a contract that was renewed late counts without a gap.
    scenario
        What is assumed in place of what the posterior says. The random numbers are those of the forecast without it.
    plans, reliability
        Lifecycle plans, from `read_plans`, and how far they can be relied on: from `fit_plan_reliability`, or
        `PlanReliability.prior` by default. In its window an open step stands for what the model expects of its account and kind.
    new_customers
        Customers still to be won: `PlannedNewCustomers` or `TrailingNewCustomers`, or what else `sample_new_customers` takes;
        None for existing customers only. They are in `Forecast.portfolio` and `Forecast.bridge`, and change nothing of what the
        existing customers bring. With ``timing="booked"`` their first terms count on the day on which they are booked, too. A
        scenario holds for those who have the segments that it names.
    threads, batch_accounts
        How to spread the work; they change no result.

    Raises
    ------
    ForecastError
        For settings out of range, a currency unlike the posterior's, a ledger without any contract, an unknown column, or new
        customers that nothing can be learned of.

    Examples
    --------
    >>> import clvforecast as clv
    >>> ledger = clv.datasets.load_phl_contracts(as_of="2018-06-30")  # doctest: +SKIP
    >>> posterior = clv.load_posterior("posterior.nc")  # doctest: +SKIP
    >>> forecast = clv.forecast(posterior, ledger)  # doctest: +SKIP
    >>> cash = clv.forecast(posterior, ledger, timing="cash", billing="annual", payment_days=45)  # doctest: +SKIP
    """
    settings = _settings(locals(), scenario, plans, reliability)
    if plans is not None and reliability is None:
        reliability = PlanReliability.prior(plans.window_days, plans.renewal_days, seed=settings.seed)
    check_ledger(posterior, ledger)
    if settings.known_by is not None and settings.known_by < ledger.as_of:
        raise ForecastError(
            f"known_by={settings.known_by} is before the ledger's as_of {ledger.as_of}: nothing could be booked by then. Give a "
            "later day, or None to count every booking."
        )
    sampled = None if new_customers is None else sample_business(ledger, new_customers, settings)
    settings = settings if new_customers is None else _with_new_customers(settings, new_customers)
    slices = account_slices(ledger, ACCOUNTS_AT_A_TIME)
    account_ids = pa.chunked_array([part.account_ids for part in slices])
    columns = list(posterior.frame.segments if group_by is None else group_by)
    accounts = group_columns(ledger, account_ids, columns)
    group, groups = number_groups(rows_of_both(accounts, sampled, columns), columns)
    group, new_group = group[: len(accounts)], group[len(accounts) :]
    levels = levels_of_both(account_levels(ledger, account_ids, posterior.frame.segments), sampled)
    new_levels = unseen_levels(levels, posterior.frame)
    grid = make_grid(ledger.as_of, settings.horizon_months, settings.annual_discount_rate, settings.calendar)
    parameters = make_parameters(
        posterior.idata["posterior"].to_dataset(),
        posterior.frame,
        new_levels,
        settings.draws,
        settings.seed,
        last_year=date_of(grid.bounds[-1]).year,
    )
    classes = make_classes(posterior.frame)
    steered = None if scenario is None else steer(scenario, ledger, account_ids, classes.term_values, sampled)
    if steered is not None:
        classes, parameters = with_term_values(classes, parameters, steered.term_values)
    reduction = Reduction(len(account_ids), settings)
    to_date: list[pd.DataFrame] = []
    snapshots = (
        plan_snapshots(grid, settings.calendar or FiscalCalendar()).snapshots if settings.bridge else NO_SNAPSHOTS
    )
    tracking = Tracking(snapshots, settings.pending) if settings.bridge else None
    steering = Steering(tracking, steered, plans, reliability, settings.draws, settings.seed)
    simulated = Settings(
        seed=settings.seed,
        grace_days=-1 if ledger.grace_days is None else ledger.grace_days,
        max_ratio=posterior.frame.max_ratio,
        known_by=day_number(settings.known_by or FAR_AWAY),
        booked=settings.timing == "booked",
        billing_months=settings.months_billed,
        payment_days=settings.payment_days or 0,
        daily_cost=settings.daily_cost,
    )
    totals = simulate_portfolio(
        _states_of(slices, posterior.frame, new_levels, to_date, settings, steering),
        parameters,
        classes,
        simulated,
        grid,
        group,
        len(groups),
        reduction.add,
        settings.threads,
        settings.batch_accounts,
        reduction.keeps_all,
        snapshots,
        NOTHING_ASSUMED if steered is None else steered.assumed,
    )
    new: NewBusiness | None = None
    if sampled is not None:
        new = simulate_business(
            sampled,
            posterior.frame,
            new_levels,
            parameters,
            classes,
            simulated,
            grid,
            new_group,
            len(groups),
            snapshots,
            steered,
            settings.threads,
        )
    planned = steering.all_planned()
    if plans is not None and reliability is not None:
        n_open = 0 if planned is None else len(planned)
        settings = settings.model_copy(update={"plans": planned_words(n_open, len(plans), reliability)})
    return Forecast(
        settings=settings,
        as_of=ledger.as_of,
        currency=ledger.currency,
        grid=grid,
        groups=groups,
        totals=totals if tracking is None else tracking.with_settled(totals, group),
        table=pd.concat([accounts, pd.concat(to_date, ignore_index=True), reduction.table()], axis=1),
        intervals=reduction.interval_table(),
        kept=reduction.kept(accounts["account_id"]),
        ledger=ledger,
        planned=planned,
        new_totals=None if new is None else new.totals,
        new_won=None if new is None else new.won,
        warnings=scoring_warnings(posterior, ledger, new_levels),
        provenance=Provenance(
            ledger=ledger.fingerprint,
            posterior=checksum(posterior.idata),
            trained_on=str(posterior.idata.attrs.get("fingerprint", "")),
            trained_until=posterior.as_of,
            versions=package_versions(),
        ),
    )


def _settings(
    arguments: dict[str, Any], scenario: Scenario | None, plans: Plans | None, reliability: PlanReliability | None
) -> ForecastSettings:
    if reliability is not None and plans is None:
        raise ForecastError(
            "reliability is given without plans: forecast(..., plans=clv.read_plans(...), reliability=...)."
        )
    said: dict[str, Any] = {
        "scenario": None if scenario is None else f"{scenario.name}: {scenario.describe()}",
        "plans": None,  # told once it is known which are open
        "new_customers": None,  # told by `_with_new_customers`, once they are known to be possible
    }
    if scenario is not None and scenario.annual_discount_rate is not None:
        said["annual_discount_rate"] = scenario.annual_discount_rate
    names = ForecastSettings.model_fields
    try:
        settings = ForecastSettings(**{**{name: arguments[name] for name in names}, **said})
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # of several settings together: the message names them
            raise ForecastError(f"{first['msg'].removeprefix('Value error, ')}.") from error
        where = ".".join(str(part) for part in first["loc"])
        raise ForecastError(f"{where}={first['input']!r}: {first['msg']}.") from error
    for ci_prob in settings.ci_probs:
        check_interval(ci_prob, "eti")
    return settings


def _with_new_customers(settings: ForecastSettings, source: Source) -> ForecastSettings:
    return settings.model_copy(update={"new_customers": new_customer_policy(source)})


def _states_of(
    slices: Sequence[Slice],
    frame: Frame,
    new_levels: NewLevels,
    to_date: list[pd.DataFrame],
    settings: ForecastSettings,
    steering: Steering,
) -> Iterator[States]:
    """The states of one slice of accounts after the other, the next one worked out meanwhile.

    Their money to date is put into ``to_date``.
    """

    firsts = np.cumsum([0, *(len(part.account_ids) for part in slices)])
    cash = settings.timing == "cash"

    def states_of(place: int) -> States:
        histories = slice_histories(slices[place])[0]
        states = account_states(histories, frame, new_levels, receivables=cash)
        return states._replace(given=steering.given(slices[place], int(firsts[place]), histories, states))

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(states_of, 0)
        for following in range(1, len(slices) + 1):
            states = coming.result()
            if following < len(slices):
                coming = ahead.submit(states_of, following)
            money = {"clv_to_date": states.recognised_cents / 100.0, "booked_to_date": states.booked_cents / 100.0}
            if cash:
                unpaid = unpaid_units(states, settings.months_billed, settings.payment_days or 0)
                money["paid_to_date"] = states.booked_cents / 100.0 - unpaid / UNITS_PER_CURRENCY
            to_date.append(pd.DataFrame(money))
            yield states


@dataclass(frozen=True, repr=False)
class Forecast:
    """Ranges of forward revenue by account, segment and portfolio.  Made by `forecast`.

    Money is in ``currency``.  Unprefixed figures are undiscounted revenue of the window; ``discounted_`` ones have the
    discount rate, the gross margin and the cost to serve in them. ``warnings`` say what to know of the ledger and the
    posterior behind it, ``provenance`` which they are; ``ledger`` is None in a forecast that was loaded without it.
    ``planned`` has a row for each open step of the plans, with the probability that it comes; None without plans. Its ``note`` is
    the model's, ``plan_note`` that of the plan, where any step has one.

    ``totals`` are of the existing customers. ``new_totals`` are of the new ones, of the same groups, and ``new_won`` (draw,
    group, month) is how many of them are booked; both None where they are not asked for.
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
    planned: pd.DataFrame | None = None
    new_totals: Totals | None = None
    new_won: NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        draws = self.portfolio_draws(freq=None)
        low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95])
        plans = "" if self.settings.plans is None else f"; plans: {self.settings.plans}"
        return (
            f"<Forecast of {len(self.table):,} accounts{'' if self.new_totals is None else ' and new customers'}, "
            f"{self.settings.horizon_months} months from {self.as_of}, "
            f"{self.settings.draws:,} draws: median {self.currency} {middle:,.0f} ({low:,.0f} to {high:,.0f} with 90%), "
            f"mean {float(draws.mean()):,.0f}{plans}>"
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
        """Write one sealed file for `load_forecast`, complete or not at all: all tables, the bridge of ARR, planned
        steps and new customers, and the draws where they were kept.

        Raises ForecastFileError when it cannot be written.
        """
        from clvforecast.forecast_file import save_forecast

        save_forecast(self, path)

    def accounts(self, ci_prob: float = 0.9, ci_kind: str = "eti") -> pd.DataFrame:
        """One row an account, ordered by account_id: existing customers, also where new ones are in the portfolio.

        Columns: account_id, the group columns; ``clv_to_date`` (recognised) and ``booked_to_date``, with timing="cash" also
        ``paid_to_date`` (all that was due, less what early terminations had given back); forward revenue of the window: mean,
        sd, q05 … q95, lower, upper, ci_prob, ci_kind; ``clv`` (to date, counted alike: served, booked or paid,
        + forward mean) with its ``clv_lower`` and ``clv_upper``; the same discounted; ``p_zero``; ``beyond_horizon`` (mean
        discounted value after the window, NaN without discounting) and its share; ``p_active_12m`` … (active on the last day
        of that month); ``p_next_renewal`` with its 5% and 95% posterior quantiles (NaN where no decision is open);
        ``active_months`` within the window; ``from_<origin>`` means, which sum to the mean.

        Raises
        ------
        ForecastError
            For a ``ci_prob`` that was not among the forecast's ``ci_probs``.
        """
        return account_ranges(self, ci_prob, ci_kind)

    @property
    def calendar(self) -> FiscalCalendar:
        """The fiscal calendar of its periods; calendar months, and years from January, where none was given."""
        return self.settings.calendar or FiscalCalendar()

    def portfolio_draws(
        self, freq: str | None = "quarter", by: str | Sequence[str] | None = None, discounted: bool = False
    ) -> xr.DataArray:
        """Summed draws of revenue: dims (draw, group, period), in currency. See `portfolio` for what is asked.

        Draw d of every period and group is one simulated world. Coordinates of ``period`` are its last days, and ``label``.
        """
        return portfolio_draws(self, freq, by, discounted)

    def portfolio(
        self,
        freq: str | None = "quarter",
        by: str | Sequence[str] | None = None,
        ci_prob: float = 0.9,
        ci_kind: str = "eti",
        discounted: bool = False,
    ) -> pd.DataFrame:
        """Revenue by period (and group), one row each; ranges are of summed draws.  With the new customers where they were
        asked for: in every group, and as one more origin, "new_customers", of all that they bring.

        Columns: the columns of ``by``; ``label`` ("FY27 Q1"; of the whole window "24 months"), ``period_start``, ``period``
        (its last day), ``days``, ``partial``; mean, sd, q05 … q95, lower, upper, ci_prob, ci_kind.  The first and last period
        may be partial: ``days`` says how many of its days are in the window, ``partial`` whether some are not.

        Parameters
        ----------
        freq
            "month", "quarter" or "year" of the forecast's calendar; None for the whole window.  Where its months are calendar
            months also a pandas period end: "ME", "QE", "QE-JUN", "YE", "YE-SEP".  Without a calendar "quarter" is "QE".
        by
            "origin", or one or more of the group columns.
        discounted
            Discounted and with the gross margin: what a month brings × margin × the month's discount factor. All periods
            together are the accounts' discounted values.

        Raises
        ------
        ForecastError
            For a ``freq`` or ``by`` that the forecast does not have, or an interval out of range.

        Examples
        --------
        >>> forecast = clv.forecast(posterior, ledger, calendar=clv.FiscalCalendar(start_month=7))  # doctest: +SKIP
        >>> forecast.portfolio("year", by="plan")[["plan", "label", "partial", "q05", "q50", "q95"]]  # doctest: +SKIP
        """
        return portfolio_table(self, freq, by, ci_prob, ci_kind, discounted)

    def summary(
        self, by: str | Sequence[str] | None = None, ci_prob: float = 0.9, ci_kind: str = "eti"
    ) -> pd.DataFrame:
        """The whole window in one row, or in one row a level of the group columns ``by``: of the existing customers.

        Columns: those of ``by``; ``accounts``, ``clv_to_date`` (recognised), ``booked_to_date``; forward revenue mean, sd,
        q05 … q95, lower, upper, ci_prob, ci_kind; ``discounted_mean``, ``_q05``, ``_q50``, ``_q95``, ``_lower``, ``_upper``
        (with the gross margin); ``beyond_horizon`` (mean discounted value after the window) and ``beyond_share`` (its part of
        window and beyond), NaN without discounting; ``top10_share``, the part of the expected revenue that the ten accounts
        with the largest have, NaN where none is expected, and ``top10_accounts``, who they are, the largest first, as a text
        "A; B; C".  Ranges are of summed draws.  Where there are new customers, ``new_customers_mean`` (behind ci_kind) is their
        mean revenue, which is in no other column.

        Raises
        ------
        ForecastError
            For a ``by`` that the forecast was not made by, or an interval out of range.

        Examples
        --------
        >>> forecast.summary(by="plan")[["plan", "accounts", "q50", "discounted_q50", "top10_share"]]  # doctest: +SKIP
        """
        return summary_table(self, by, ci_prob, ci_kind)

    def new_customer_counts(
        self,
        freq: str | None = "quarter",
        by: str | Sequence[str] | None = None,
        ci_prob: float = 0.9,
        ci_kind: str = "eti",
    ) -> pd.DataFrame:
        """How many new customers are won, by period of their booking (and group): the columns of `portfolio`, in customers.

        Raises ForecastError without ``forecast(..., new_customers=...)``, and as `portfolio` does.
        """
        return new_customer_table(self, freq, by, ci_prob, ci_kind)

    def bridge_draws(self, freq: str = "quarter", by: str | Sequence[str] | None = None) -> xr.Dataset:
        """Draws of the lines of `bridge` for the periods that end after ``as_of``: dims (draw, group, period), in currency.

        Raises ForecastError as `bridge` does.
        """
        return bridge_draws(self, freq, by)

    def bridge(
        self,
        freq: str = "quarter",
        by: str | Sequence[str] | None = None,
        ci_prob: float = 0.9,
        ci_kind: str = "eti",
        history: int = 4,
    ) -> pd.DataFrame:
        """The bridge of annual recurring revenue (ARR): one row a group, period and line.  Needs ``forecast(...,
        bridge=True)``.

        ARR is twelve times the monthly revenue of the contracts in force, in currency.  An amendment adds its amount over the
        months left of its term, at least three and at most the whole term, so that one of a term's last days is not blown up
        (``mrr`` of `draws` has it as it is served, over the days left).  Each account's ARR at a period's beginning and end says
        what became of it, and in every draw, to the cent,

            start + new + expansion + reactivation + late_renewals − contraction − churn = end.

        `late_renewals` are contracts that had ended by ``as_of`` and do renew, where they do not count as in force meanwhile.
        The new are customers whose contracts are booked but begin later, and with ``forecast(..., new_customers=...)`` those
        still to be won, who are in the lines of later periods as any customer is.

        Columns: those of ``by``; ``label``, ``period_start``, ``period`` (its last day), ``basis`` ("actual": as the ledger
        knows it, all figures alike; "part actual": the period that is running; "forecast"), ``partial`` (the window ends
        inside it), ``line``, mean, sd, q05 … q95, lower, upper, ci_prob, ci_kind; ``pending``, of the start and end of past
        periods what is of contracts that had ended and whose renewal is still open (`pending_arr`), else NaN.

        Parameters
        ----------
        freq
            "month", "quarter" or "year" of the forecast's calendar.
        by
            One or more of the group columns.
        history
            Past periods to show before those of the forecast; they come from the ledger.

        Raises
        ------
        ForecastError
            Where ARR was not followed, for a ``freq`` or ``by`` that there is not, and after `load_forecast` without the ledger
            unless ``history=0``.
        """
        return bridge_table(self, freq, by, ci_prob, ci_kind, history)

    def pending_arr(self, by: str | Sequence[str] | None = None) -> pd.DataFrame:
        """ARR on ``as_of`` and what of it is open: one row, or one a level of the group columns ``by``; from the ledger.

        Columns: those of ``by``; ``arr``, as the bridge has it; ``pending``, that of contracts that have ended, whose renewal
        is open and whose grace lasts (one whose last day is ``as_of`` has not ended); ``contracts``, how many these are.  With
        ``pending="in_force"`` it is in ``arr``, and what of it is not renewed leaves in the first period of the forecast; with
        "lapsed" it is not in ``arr``, and what of it is renewed comes as `late_renewals`.

        Raises ForecastError for a ``by`` that the forecast was not made by, and after `load_forecast` without the ledger.

        Examples
        --------
        >>> forecast.pending_arr(by="plan")[["plan", "arr", "pending", "contracts"]]  # doctest: +SKIP
        """
        return pending_table(self, by)

    def retention(
        self,
        freq: str = "quarter",
        by: str | Sequence[str] | None = None,
        trailing_year: bool = False,
        ci_prob: float = 0.9,
        ci_kind: str = "eti",
        history: int = 4,
    ) -> pd.DataFrame:
        """Rates of retention, as shares: one row a group, period and measure.  Needs ``forecast(..., bridge=True)``.

        "nrr": (start + expansion − contraction − churn) / start of `bridge`; "grr": the same without expansion, per account
        min(end, start), at most 1; both are of the accounts with revenue at the start.  "gross_renewal_rate": of the ARR whose
        renewal fell due in the period, what was renewed, at most what was due; decisions that are open or not reached are not
        due. "logo_churn": of the accounts with revenue at the start, the share without any at the end.  NaN where the
        denominator is 0, and ranges are of the draws where it is not.

        Columns as `bridge`, with ``measure`` for ``line`` and without ``pending``.  With ``trailing_year`` each row is of the
        twelve months that end with the quarter (``freq="quarter"``), as rates are mostly told.  Raises ForecastError as
        `bridge` does.
        """
        return retention_table(self, freq, by, trailing_year, ci_prob, ci_kind, history)

    def policies(self) -> dict[str, str]:
        """How this forecast counts, in words: what a reader of its figures has to know."""
        return policies(self)

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
