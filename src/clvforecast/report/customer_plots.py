"""Pictures of single customers' plans, of how far plans hold, and of customers not yet won."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from clvforecast.errors import ForecastError
from clvforecast.report.axes import (
    DASHES,
    ZERO_LINE,
    across,
    axes_or_new,
    date_axis,
    draw_fan,
    legend,
    money_axis,
    quiet,
)
from clvforecast.report.colours import BANDS, GAIN, LOSS, MEDIAN, PAST, SERIES
from clvforecast.report.planned import unlearned
from clvforecast.report.units import MoneyUnit, amount_text, counted, in_unit, money_unit, range_unit

if TYPE_CHECKING:
    from clvforecast.plan_value import PlanValue
    from clvforecast.plans import PlanReliability
    from clvforecast.prospects import Prospects

Floats = NDArray[np.float64]

MOST_STEPS = 8
"""Planned steps shown: those that carry most."""
PROB = 0.9
LONGEST_ID = 28
NOT_STATED = 1.16
"""Where steps without a stated probability stand, right of 100%."""
SHOWN = {
    "cumulative": "cumulative margin",
    "revenue": "revenue a quarter",
    "customers": "customers",
}


def plot_plan(value: PlanValue, ax: Axes | None = None) -> Axes:
    """What each planned step carries: the account's revenue with the whole plan less that without the step.

    Bars are means, whiskers 90% ranges; beside each step stand the probability that was stated and that of the forecast.
    Of many steps the 8 that carry most are shown. Steps do not add up to what all of them add, which the title says.
    """
    steps = value.steps(ci_prob=PROB)
    shown = steps.loc[steps["added"].abs().sort_values(ascending=False, kind="stable").index].head(MOST_STEPS)
    total = value.total(ci_prob=PROB).iloc[0]
    currency = value.with_plan.currency
    of_title = zip(("added_lower", "added", "added_upper"), ("lower", "mean", "upper"), strict=True)
    unit = range_unit(*([*shown[of_step], total[of_all]] for of_step, of_all in of_title))
    axes = axes_or_new(ax)
    y = np.arange(len(shown), dtype=np.float64)
    added = shown["added"].to_numpy()
    axes.barh(y, added, height=0.6, color=np.where(added < 0.0, LOSS, GAIN), label="mean", zorder=2)
    axes.hlines(y, shown["added_lower"], shown["added_upper"], color="0.15", linewidth=1.3, label="90% range", zorder=4)
    axes.set_yticks(y, [_step_label(row) for row in shown.to_dict("records")], fontsize="small")
    months = value.with_plan.settings.horizon_months
    across(axes, len(shown), unit, f"added to revenue of {months} months, {unit.label(currency)}")
    axes.set_title(_plan_title(total, len(steps), len(shown), currency, unit), loc="left", fontsize="medium")
    legend(axes, ["mean"])
    return axes


def _step_label(step: dict[str, Any]) -> str:
    name = str(step["account_id"])
    name = name if len(name) <= LONGEST_ID else f"{name[: LONGEST_ID - 1]}…"
    stated = "" if pd.isna(step["stated"]) else f"{step['stated']:.0%} → "
    learned = unlearned(step["stated"]) if pd.isna(step["probability"]) else f"{step['probability']:.0%}"
    return f"{name}\n{str(step['kind']).replace('_', ' ')} {step['date']:%Y-%m-%d}, {stated}{learned}"


def _plan_title(total: pd.Series, steps: int, shown: int, currency: str, unit: MoneyUnit) -> str:
    low, high = (in_unit(total[name], unit) for name in ("lower", "upper"))
    some = f"; the {shown} that carry most" if shown < steps else ""
    return (
        f"{counted(steps, 'step')} add {amount_text(total['mean'], unit, currency)}\n({low} to {high}, 90% range){some}\n"
        "probability as stated → in the forecast"
    )


def plot_reliability(reliability: PlanReliability, ax: Axes | None = None) -> Axes:
    """Stated probabilities of planned steps against how often they came: points with Jeffreys' 90% intervals.

    The line is what was learned from them, with its 90% range; on the dashed diagonal steps come as often as stated. Steps that
    state no probability stand on the right. Numbers are of steps.

    Raises
    ------
    PlanError
        Without a history of plans.
    """
    table = reliability.calibration(ci_prob=PROB)
    table = table[table["steps"] > 0].reset_index(drop=True)
    axes = axes_or_new(ax)
    unstated = table["stated_mean"].isna().to_numpy()
    x = table["stated_mean"].fillna(NOT_STATED).to_numpy()
    axes.plot([0.0, 1.0], [0.0, 1.0], color=PAST, linestyle=DASHES, label="as stated", zorder=1.8)
    said = table[~unstated]
    if len(said):
        band: dict[str, Any] = {"color": BANDS[0.80], "linewidth": 0, "label": "learned, 90% range", "zorder": 2}
        axes.fill_between(said["stated_mean"], said["learned_lower"], said["learned_upper"], **band)
        axes.plot(said["stated_mean"], said["learned"], color=MEDIAN, linewidth=1.6, label="learned", zorder=3)
    for row in table[unstated].itertuples():
        axes.vlines(NOT_STATED, row.learned_lower, row.learned_upper, color=BANDS[0.80], linewidth=9.0, zorder=2)
        axes.plot(NOT_STATED, row.learned, "_", color=MEDIAN, markersize=12, markeredgewidth=1.8, zorder=3)
    spread = [table["realised"] - table["realised_lower"], table["realised_upper"] - table["realised"]]
    points: dict[str, Any] = {"fmt": "o", "color": SERIES[1], "capsize": 3, "markersize": 5, "zorder": 5}
    axes.errorbar(x, table["realised"], yerr=np.maximum(spread, 0.0), label="came, 90% interval", **points)
    for at, row in zip(x, table.itertuples(), strict=True):
        axes.annotate(
            f"{row.steps:,}",
            (at, row.realised),
            xytext=(6, -2),
            textcoords="offset points",
            fontsize="small",
            color="0.25",
            zorder=6,
        )
    _share_axes(axes, bool(unstated.any()))
    steps = counted(int(table["steps"].sum()), "step")
    axes.set_title(f"Plans: stated and realised, {steps} whose time is over", loc="left", fontsize="medium")
    legend(axes, ["came", "learned"])
    return axes


def _share_axes(axes: Axes, with_unstated: bool) -> None:
    ticks = np.linspace(0.0, 1.0, 6)
    labels = [f"{tick:.0%}" for tick in ticks]
    axes.set_yticks(ticks, labels)
    if with_unstated:
        ticks, labels = np.append(ticks, NOT_STATED), [*labels, "not\nstated"]
    axes.set_xticks(ticks, labels)
    axes.set_ylim(-0.03, 1.06)
    axes.set_xlim(-0.03, NOT_STATED + 0.09 if with_unstated else 1.08)
    axes.set_xlabel("stated probability")
    axes.set_ylabel("share of steps that came")
    quiet(axes)


def plot_payback(prospects: Prospects, ax: Axes | None = None, acquisition_cost: float | None = None) -> Axes:
    """The chance that gross margin has reached the acquisition cost, by month: of one customer, and of the cohort as a whole.

    Full lines are undiscounted, dashed ones discounted to the start. The legend says when the chance passes a half.

    Raises
    ------
    ForecastError
        Without a cost here or in `prospects`.
    """
    horizon = prospects.settings.horizon_months
    months = np.arange(horizon + 1, dtype=np.float64)
    axes = axes_or_new(ax)
    whos: tuple[Any, ...] = ("customer", "cohort") if prospects.n > 1 else ("customer",)
    for who, colour in zip(whos, SERIES, strict=False):
        name = "one customer" if who == "customer" else f"cohort of {prospects.n:,}"
        for discounted in (False, True):
            draws = np.sort(prospects.payback_draws(acquisition_cost, who, discounted).values, axis=None)
            chance = np.searchsorted(draws, months, side="right") / draws.size
            half = np.flatnonzero(chance >= 0.5)
            when = f"half by month {half[0]}" if half.size else f"{chance[-1]:.0%} by month {horizon}"
            style: dict[str, Any] = {"linestyle": DASHES, "linewidth": 1.4} if discounted else {"linewidth": 2.0}
            label = f"{name}{', discounted' if discounted else ''}\n{when}"
            axes.step(months, chance, where="post", color=colour, label=label, zorder=4, **style)
    axes.axhline(0.5, color="0.7", linewidth=0.9, zorder=1.5)
    axes.set_xlim(0.0, horizon)
    axes.set_ylim(0.0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 3, 6, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    axes.set_xlabel(f"months from {prospects.start}")
    axes.set_ylabel("chance to have been paid back by then")
    cost = acquisition_cost if acquisition_cost is not None else prospects.acquisition_cost
    axes.set_title(f"Payback of {prospects.currency} {cost:,.0f} a customer", loc="left", fontsize="medium")
    legend(axes, [])
    quiet(axes)
    return axes


def plot_cohort(
    prospects: Prospects, ax: Axes | None = None, show: str = "cumulative", discounted: bool = False
) -> Axes:
    """The cohort of n over time: 50%, 80% and 95% ranges and the median.

    The title tells two chances: that the cost was reached at some time within the horizon, which is ``p_paid_back`` of
    `Prospects.payback`, and that the cohort is above it at the end, which is that of `Prospects.cohort`.

    Parameters
    ----------
    show
        "cumulative": gross margin from the start to the end of each month, less what winning all n cost, where that is known;
        "revenue": of each quarter; "customers": how many still have revenue, by month.
    discounted
        Revenue and margin discounted to the start.

    Raises
    ------
    ForecastError
        For another `show`.
    """
    if show not in SHOWN:
        raise ForecastError(f"show={show!r} is not known. Use one of {', '.join(map(repr, SHOWN))}.")
    table = prospects.cohort("QE" if show == "revenue" else "ME", ci_prob=0.95, discounted=discounted)
    prefix = "" if show == "revenue" else f"{show}_"
    if show == "revenue":
        whole = table[~table["partial"]]
        table = whole if len(whole) else table
    axes = axes_or_new(ax)
    x = date2num(pd.DatetimeIndex(table["period"]) + pd.Timedelta(days=1))
    draw_fan(axes, np.asarray(x), table, prefix)
    axes.axhline(0.0, **ZERO_LINE)
    what = f"{SHOWN[show]}{', discounted' if discounted and show != 'customers' else ''}"
    if show == "customers":
        axes.set_ylabel(what)
    else:
        unit = money_unit(float(table[[f"{prefix}lower", f"{prefix}upper"]].abs().max().max()))
        money_axis(axes.yaxis, unit.size)
        less_cost = " less acquisition cost" if show == "cumulative" and prospects.acquisition_cost is not None else ""
        axes.set_ylabel(f"{what}{less_cost}\n{unit.label(prospects.currency)}")
    paid = ""
    if show == "cumulative" and prospects.acquisition_cost is not None:
        months = prospects.payback_draws(of="cohort", discounted=discounted).values
        paid = (
            f"\npaid back at some time within {prospects.settings.horizon_months} months: {np.isfinite(months).mean():.0%}; "
            f"above cost at their end: {table['p_paid_back'].iloc[-1]:.0%}"
        )
    title = f"{counted(prospects.n, 'new customer')} from {prospects.start}{paid}"
    axes.set_title(title, loc="left", fontsize="medium")
    date_axis(axes)
    legend(axes, [f"{band:.0%} range" for band in BANDS])
    quiet(axes)
    return axes
