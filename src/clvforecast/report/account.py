"""One account for its customer-success manager: who it is, what it brought, what is in force, what is to come and why.

Only this account is simulated.  Random numbers are keyed by account, so its figures are those of a forecast of all accounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.actuals import recognised_in_periods
from clvforecast.calendars import as_days
from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast, forecast
from clvforecast.histories.lines import segment_columns
from clvforecast.ledger import Ledger
from clvforecast.plan_value import PlanValue, plan_value, with_accounts
from clvforecast.plans import PlanReliability, Plans
from clvforecast.posterior import Posterior
from clvforecast.readiness import scoring_warnings
from clvforecast.report.nearest import near_names
from clvforecast.report.windows import last_days
from clvforecast.scenarios import Assume, Scenario
from clvforecast.simulation.states import unseen_levels

POINTS = 0.05
"""Probability by which every renewal is made less likely, to see what hangs on renewals."""
PROB = 0.9
LAST_EVENTS = 6
LAST_YEARS = 6


@dataclass(frozen=True)
class AccountView:
    """What is known and forecast of one account.

    forecast: of this account alone, with its plan where it has open steps, with all draws
    less_likely: the same with every renewal five points less likely, under the same random numbers
    plan: with and without each step of the plan; None without open steps
    warnings: of the ledger and the posterior
    """

    account_id: str
    forecast: Forecast
    less_likely: Forecast
    plan: PlanValue | None
    warnings: tuple[str, ...]

    @property
    def row(self) -> pd.Series:
        """Its row of `Forecast.accounts`."""
        return self.forecast.accounts(PROB).iloc[0]


def view_account(
    posterior: Posterior,
    ledger: Ledger,
    account_id: str,
    plans: Plans | None = None,
    reliability: PlanReliability | None = None,
    **settings: Any,
) -> AccountView:
    """Forecast one account of a ledger.

    Parameters
    ----------
    plans, reliability
        As `forecast` takes them; only this account's steps count.
    settings
        What else `forecast` takes: horizon_months, annual_discount_rate, gross_margin, draws, seed, calendar.

    Raises
    ------
    ForecastError
        For an account that the ledger does not have, or that has no contract, and as `forecast` does.
    """
    one = _only(ledger, account_id)
    mine = None if plans is None else plans.where(pc.equal(plans.steps["account_id"], account_id).to_numpy())
    has_plan = mine is not None and len(mine.open(one)) > 0
    planned: dict[str, Any] = {"plans": mine, "reliability": reliability} if has_plan else {}
    harder = Scenario(f"renewals {POINTS:.0%} less likely", Assume(renewal_points=-POINTS))
    return AccountView(
        account_id=account_id,
        forecast=forecast(posterior, one, keep_draws=True, **planned, **settings),
        less_likely=forecast(posterior, one, scenario=harder, **planned, **settings),
        plan=plan_value(posterior, one, mine, reliability, **settings) if has_plan and mine is not None else None,
        warnings=scoring_warnings(posterior, ledger, unseen_levels(one.accounts, posterior.frame)),
    )


def _only(ledger: Ledger, account_id: str) -> Ledger:
    one = with_accounts(ledger, pa.chunked_array([[account_id]], pa.string()))
    if one.events.num_rows:
        return one
    if one.accounts.num_rows:
        raise ForecastError(
            f"account {account_id!r} has no contract booked by {ledger.as_of}: there is nothing to forecast. Take a later as_of."
        )
    near = near_names(account_id, ledger.accounts["account_id"].to_pylist())
    raise ForecastError(f"the ledger has no account {account_id!r}{near}. Check the id: it is the one of the events.")


# --- what was -----------------------------------------------------------------------------------------------


def segments_of(view: AccountView) -> dict[str, str]:
    """Column of the accounts table -> the account's level, where it has one."""
    assert view.forecast.ledger is not None
    table = view.forecast.ledger.accounts
    levels = {name: table[name][0].as_py() for name in segment_columns(table)}
    return {name: str(level) for name, level in levels.items() if level is not None}


def renewals_so_far(view: AccountView) -> tuple[int, int]:
    """(renewed, decided): of the renewals whose outcome is known."""
    outcome = pd.Series(view.forecast.history.decisions["outcome"].to_pylist(), dtype=object)
    return int((outcome == "renewed").sum()), int((outcome != "open").sum())


def past_years(view: AccountView) -> pd.DataFrame:
    """One row a fiscal year since the first event: label, recognised (by days of service) and booked by `as_of`, in currency.

    partial: whether the year goes on after `as_of`.
    """
    made = view.forecast
    assert made.ledger is not None
    items, origin = made.history.items, int(made.grid.bounds[0])
    # an early termination without an amount de-books what was not served: the histories know how much
    place = pc.index_in(items["event_id"], made.ledger.events["event_id"])
    booked_day = made.ledger.events["event_date"].take(place).to_numpy().astype("datetime64[D]").astype(np.int64)
    first = min(int(pc.min(items["start_day"]).as_py()), int(booked_day.min()), origin - 1)
    labels, bounds = made.calendar.spans(first, origin - 1, "year")
    recognised = recognised_in_periods(made.history, made.table["account_id"], np.minimum(bounds, origin))
    year = np.searchsorted(bounds, booked_day, side="right") - 1
    booked = np.zeros(len(labels), dtype=np.int64)
    np.add.at(booked, year, items["cents"].to_numpy())
    return pd.DataFrame(
        {"label": labels, "recognised": recognised, "booked": booked / 100.0, "partial": bounds[1:] > origin}
    )


def last_events(view: AccountView) -> pd.DataFrame:
    """The latest bookings, newest first: event_date, kind, amount, start_date, term_months."""
    assert view.forecast.ledger is not None
    events = view.forecast.ledger.events.to_pandas()
    events = events.sort_values(["event_date", "start_date"], ascending=False, kind="stable").head(LAST_EVENTS)
    return events.assign(amount=events["amount_cents"] / 100.0)[
        ["event_date", "kind", "amount", "start_date", "term_months"]
    ].reset_index(drop=True)


def contracts(view: AccountView) -> pd.DataFrame:
    """The last known term of each contract that runs, will run, or whose renewal is open; the first to end first.

    contract_id, start, end (last day), months, mrr (on the last day of the term or of `as_of`, amendments included), state.
    """
    history, origin = view.forecast.history, int(view.forecast.grid.bounds[0])
    terms, lines = history.terms.to_pandas(), history.lines.to_pandas()
    added = history.amendments.to_pandas()
    more = added.loc[added["day"] < origin].groupby("term")["mrr"].sum() if len(added) else pd.Series(dtype=float)
    terms["mrr"] += more.reindex(terms["term"]).fillna(0.0).to_numpy()
    terms = terms.merge(history.decisions.select(["term", "outcome"]).to_pandas(), on="term", how="left")
    terms = terms.merge(lines[["line", "contract_id"]], on="line")
    running = terms["stop_day"] >= origin
    waiting = (terms["outcome"] == "open") & terms["last_in_line"]
    rows = terms[running | waiting].sort_values(["end_day", "contract_id"], kind="stable")
    return pd.DataFrame(
        {
            "contract_id": rows["contract_id"].to_numpy(),
            "start": as_days(rows["start_day"].to_numpy()),
            "end": as_days(rows["end_day"].to_numpy() - 1),
            "months": rows["months"].to_numpy(),
            "mrr": rows["mrr"].to_numpy(),
            "state": [_state(row, origin) for row in rows.itertuples()],
        }
    ).reset_index(drop=True)


def _state(term: Any, origin: int) -> str:
    if not term.last_in_line:
        return "renewed"
    if term.outcome != "open":
        return "notice given" if term.outcome == "notified" else "ends early"
    late = origin - term.end_day
    if late <= 0:
        return "in force"
    over = f", {late - term.grace} days beyond its grace" if late > term.grace else ""
    return f"ended {late} days ago, not renewed yet{over}"


# --- what is to come ----------------------------------------------------------------------------------------


def coming_years(view: AccountView) -> pd.DataFrame:
    """Fiscal years, then the whole window: label, to (last day in the window), partial; q50, lower, upper of revenue and ``clv_``
    of value.
    """
    parts = []
    for freq in ("year", None):
        table = view.forecast.portfolio(freq, None, PROB)
        value = view.forecast.portfolio(freq, None, PROB, discounted=True)
        names = ["mean", "q50", "lower", "upper"]
        parts.append(
            table[["label", "partial", *names]].assign(
                to=last_days(table), **{f"clv_{name}": value[name] for name in names}
            )
        )
    return pd.concat(parts, ignore_index=True)


def origins(view: AccountView) -> pd.DataFrame:
    """Expected revenue of the window by origin, the largest first: origin, mean, lower, upper, spread.

    ``spread`` is the origin's part of the variance of the whole, cov(origin, whole) / var(whole): they add up to 1, and one that
    evens out others is below 0. NaN where nothing varies. Origins that are 0 in every draw are left out.
    """
    table = view.forecast.portfolio(None, "origin", PROB)[["origin", "mean", "lower", "upper"]]
    draws = view.forecast.draws["revenue_by_origin"].isel(account=0).transpose("origin", "draw").values
    whole = draws.sum(axis=0)
    with_whole = ((draws - draws.mean(axis=1, keepdims=True)) * (whole - whole.mean())).mean(axis=1)
    table["spread"] = with_whole / whole.var() if whole.var() > 0.0 else np.nan
    kept = table[(draws != 0.0).any(axis=1)]
    return kept.sort_values("mean", key=abs, ascending=False, kind="stable").reset_index(drop=True)


def renewals_cost(view: AccountView) -> float:
    """Mean discounted value that is lost when every renewal is five points less likely, in currency."""
    means = [float(made.table["discounted_mean"].iloc[0]) for made in (view.forecast, view.less_likely)]
    return means[0] - means[1]
