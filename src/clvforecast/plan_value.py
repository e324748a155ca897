"""What lifecycle plans add: the accounts that have one, forecast with it, without it, and without each of its steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast, forecast
from clvforecast.intervals import check_interval, describe
from clvforecast.ledger import Ledger
from clvforecast.plans import PlanReliability, Plans
from clvforecast.posterior import Posterior

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
KEPT = ("revenue", "clv")
TAKEN = ("scenario", "plans", "reliability", "keep_draws", "new_customers")


def plan_value(
    posterior: Posterior, ledger: Ledger, plans: Plans, reliability: PlanReliability | None = None, **settings: Any
) -> PlanValue:
    """Forecast the accounts that have open steps with their plan, without it, and without one step at a time.

    All of these use the same posterior draws and random numbers, so that differences have narrow ranges of their own.

    Parameters
    ----------
    plans, reliability
        As `forecast` takes them.
    settings
        What else `forecast` takes: horizon_months, annual_discount_rate, gross_margin, draws, seed and so on.

    Raises
    ------
    ForecastError
        When no account of the ledger has an open step, and as `forecast` does.

    Examples
    --------
    >>> import clvforecast as clv
    >>> value = clv.plan_value(posterior, ledger, plans, horizon_months=24)  # doctest: +SKIP
    >>> value.accounts(), value.steps()  # doctest: +SKIP
    """
    for name in TAKEN:
        if name in settings:
            raise ForecastError(f"{name}=...: plan_value sets it itself. Leave it out.")
    if reliability is None:
        reliability = PlanReliability.prior(plans.window_days, plans.renewal_days, seed=settings.get("seed", 7))
    open_plans = plans.open(ledger)
    if not len(open_plans):
        raise ForecastError(
            f"none of the {len(plans):,} planned steps is open on {ledger.as_of}: they came, were "
            "missed, or are written down later."
        )
    chosen = with_accounts(ledger, open_plans.steps["account_id"])
    settings = {**settings, "keep_draws": KEPT}
    rank = rank_in_account(open_plans)
    without = [
        forecast(posterior, chosen, plans=open_plans.where(rank != place), reliability=reliability, **settings)
        for place in range(int(rank.max()) + 1)
    ]
    return PlanValue(
        with_plan=forecast(posterior, chosen, plans=open_plans, reliability=reliability, **settings),
        without_plan=forecast(posterior, chosen, **settings),
        without_step=tuple(without),
        plans=open_plans,
        rank=rank,
    )


def with_accounts(ledger: Ledger, account_ids: pa.ChunkedArray) -> Ledger:
    """The ledger with some of its accounts only."""
    kept = pc.unique(account_ids)
    return replace(
        ledger,
        events=ledger.events.filter(pc.is_in(ledger.events["account_id"], kept)),
        accounts=ledger.accounts.filter(pc.is_in(ledger.accounts["account_id"], kept)),
    )


def rank_in_account(plans: Plans) -> NDArray[np.int64]:
    """0, 1, ... of each step within its account, in the plans' order."""
    accounts = pd.Series(plans.steps["account_id"].to_pylist(), dtype=object)
    return accounts.groupby(accounts, sort=False).cumcount().to_numpy(dtype=np.int64)


@dataclass(frozen=True, repr=False)
class PlanValue:
    """Forecasts of the accounts that have a plan.  Made by `plan_value`.

    ``without_step[k]`` leaves out the k-th open step of every account (``rank`` of the ``plans``) that has as many.
    """

    with_plan: Forecast
    without_plan: Forecast
    without_step: tuple[Forecast, ...]
    plans: Plans
    rank: NDArray[np.int64]

    def __repr__(self) -> str:
        total = self.total()
        return (
            f"<PlanValue of {len(self.plans):,} open steps of {len(self.with_plan.table):,} accounts: they add a "
            f"mean {self.with_plan.currency} {total['mean'].iloc[0]:,.0f} ({total['lower'].iloc[0]:,.0f} to "
            f"{total['upper'].iloc[0]:,.0f} with 90%) of revenue>"
        )

    def total(self, ci_prob: float = 0.9, ci_kind: str = "eti") -> pd.DataFrame:
        """One row: what the plans add to the revenue of the window, all accounts together, with its range."""
        check_interval(ci_prob, ci_kind)
        added = self._added(self.without_plan, "revenue").sum(axis=0)
        return pd.DataFrame({name: [value] for name, value in describe(added, ci_prob, ci_kind).items()})

    def accounts(self, ci_prob: float = 0.9, ci_kind: str = "eti") -> pd.DataFrame:
        """One row an account: revenue and discounted CLV of the window with and without the plan, and what it adds.

        Columns: account_id, steps; ``with_plan``, ``without_plan`` (mean revenue), ``added`` (mean) with ``added_lower`` and
        ``added_upper``; ``clv_with_plan``, ``clv_without_plan``, ``clv_added`` (discounted, with the gross margin) with its
        range.
        """
        check_interval(ci_prob, ci_kind)
        ids = self.with_plan.table["account_id"]
        place = pd.Index(ids).get_indexer(self.plans.steps["account_id"].to_pylist())
        table = pd.DataFrame({"account_id": ids, "steps": np.bincount(place, minlength=len(ids))})
        for kept, prefix in zip(KEPT, ("", "clv_"), strict=True):
            ranges = describe(self._added(self.without_plan, kept).T, ci_prob, ci_kind)
            table[f"{prefix}with_plan"] = self.with_plan.draws[kept].values.mean(axis=1)
            table[f"{prefix}without_plan"] = self.without_plan.draws[kept].values.mean(axis=1)
            table[f"{prefix}added"] = ranges["mean"]
            table[f"{prefix}added_lower"], table[f"{prefix}added_upper"] = ranges["lower"], ranges["upper"]
        return table

    def steps(self, ci_prob: float = 0.9, ci_kind: str = "eti") -> pd.DataFrame:
        """One row a step: what is planned, how likely it is, and what it carries.

        Columns: account_id, step_id, date, kind, amount, term_months, stated (probability), probability (learned, that it still
        comes) with its 90% range lower and upper, expected_amount, ci_prob, note; ``added``: the account's mean revenue with the
        whole plan less that without this step, with ``added_lower``, ``added_upper``; ``clv_added``, the same discounted. What
        the steps of an account carry does not add up to what its plan adds: an expansion is worth more where a renewal follows.
        """
        check_interval(ci_prob, ci_kind)
        assert self.with_plan.planned is not None
        place = pd.Index(self.with_plan.table["account_id"]).get_indexer(self.plans.steps["account_id"].to_pylist())
        rows = pd.DataFrame({"account_id": self.plans.steps["account_id"], "step_id": self.plans.steps["step_id"]})
        for kept, prefix in zip(KEPT, ("", "clv_"), strict=True):
            draws = np.empty((len(rows), self.with_plan.settings.draws))
            for rank, without in enumerate(self.without_step):
                mine = self.rank == rank
                draws[mine] = self._added(without, kept)[place[mine]]
            ranges = describe(draws.T, ci_prob, ci_kind)
            rows[f"{prefix}added"] = ranges["mean"]
            if not prefix:
                rows["added_lower"], rows["added_upper"] = ranges["lower"], ranges["upper"]
        return self.with_plan.planned.merge(rows, on=["account_id", "step_id"], validate="one_to_one")

    def plot(self, ax: Axes | None = None) -> Axes:
        """What each step carries, with its range; the steps that carry most where there are many."""
        from clvforecast.report.customer_plots import plot_plan

        return plot_plan(self, ax)

    def _added(self, without: Forecast, kept: str) -> Floats:
        """(A, D) what the plan adds to each account under each draw."""
        added: Floats = self.with_plan.draws[kept].values - without.draws[kept].values
        return added
