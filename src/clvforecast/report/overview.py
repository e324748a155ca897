"""The picture and the files of a data report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from clvforecast.overview import DataReport
from clvforecast.report.axes import date_axis, money_axis, quiet
from clvforecast.report.backtests import Picture
from clvforecast.report.colours import ACTUAL, BANDS, MEDIAN, PAST
from clvforecast.report.files import replacing, write_csv
from clvforecast.report.units import counted, in_unit, money_unit

FIGURE_SIZE = (13.0, 8.0)
MOST_BARS = 48
"""Beyond so many months bars are of quarters, beyond four times as many of years."""
KIND_GROUPS = {
    "initial": (("initial",), MEDIAN),
    "renewal": (("renewal",), BANDS[0.50]),
    "expansion": (("expansion",), BANDS[0.95]),
    "change order, referral": (("change_order", "referral"), "#c9ccd1"),
    "contraction, churn": (("contraction", "churn"), ACTUAL),
}
END_GROUPS = {
    "renewed": (("renewed",), BANDS[0.80]),
    "ended with a notice, or early": (("notified", "terminated"), ACTUAL),
    "neither renewed nor told of": (("silent",), PAST),
    "may still be renewed": (("undecided",), "white"),
}
FEWEST_KNOWN = 20
"""Accounts that must be known for a point of a curve, unless the cohort has fewer."""
MOST_COHORTS = 8
ALL = "all"


def plot_report(report: DataReport) -> Figure:
    """Four pictures: events by kind, MRR and accounts, cohorts in force, how terms ended."""
    figure = Picture(
        figsize=FIGURE_SIZE, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.04, hspace=0.05)
    )
    axes = figure.subplots(2, 2)
    _plot_events(axes[0, 0], report)
    _plot_recurring(axes[0, 1], report)
    _plot_cohorts(axes[1, 0], report)
    _plot_ends(axes[1, 1], report)
    figure.suptitle(f"The data as of {report.as_of}, {report.currency}", x=0.01, ha="left")
    return figure


def write_report(report: DataReport, folder: Path) -> list[Path]:
    """data_events.csv and the other tables, and data_report.png; returns their paths."""
    paths = [folder / f"data_{name}.csv" for name in report.tables]
    for table, path in zip(report.tables.values(), paths, strict=True):
        write_csv(table, path)
    picture = folder / "data_report.png"
    with replacing(picture) as temporary:
        plot_report(report).savefig(temporary, format="png", dpi=130)
    return [*paths, picture]


# --- bars over time -----------------------------------------------------------------------------------------


def _plot_events(axes: Axes, report: DataReport) -> None:
    by_kind = report.events.pivot_table(index="month", columns="kind", values="rows", aggfunc="sum", fill_value=0)
    months = pd.date_range(by_kind.index.min(), max(by_kind.index.max(), pd.Timestamp(report.as_of)), freq="MS")
    word = _draw_stacks(axes, by_kind.reindex(months, fill_value=0), KIND_GROUPS)
    if report.gaps:
        at = date2num(pd.DatetimeIndex(report.gaps) + pd.Timedelta(days=15))
        label = f"no event in {counted(len(report.gaps), 'month')}"
        axes.plot(at, np.zeros(len(at)), "v", color=ACTUAL, markersize=7, clip_on=False, zorder=5, label=label)
    axes.set_title(f"events a {word}, by booking", loc="left", fontsize="medium")
    _key(axes, 3)


def _plot_ends(axes: Axes, report: DataReport) -> None:
    axes.set_title("terms that ended", loc="left", fontsize="medium")
    if not report.ends["ended"].any():
        _say(axes, "no term has ended yet")
        return
    word = _draw_stacks(axes, report.ends.set_index("month"), END_GROUPS)
    axes.set_title(f"terms that ended, a {word}", loc="left", fontsize="medium")
    _key(axes, 2)


def _draw_stacks(axes: Axes, by_month: pd.DataFrame, groups: Mapping[str, tuple[tuple[str, ...], str]]) -> str:
    """Bars of whole numbers, stacked by group, a month, quarter or year; which of them is returned."""
    freq, word = _period(len(by_month))
    table = by_month.resample(freq).sum()
    starts = date2num(table.index)
    ends = date2num(table.index + pd.tseries.frequencies.to_offset(freq))
    bottom = np.zeros(len(table))
    for label, (columns, colour) in groups.items():
        heights = table[[name for name in columns if name in table]].sum(axis=1).to_numpy(dtype=float)
        if not heights.any():
            continue
        hatched = colour == "white"
        style: dict[str, Any] = {
            "color": colour,
            "edgecolor": PAST,
            "linewidth": 0.8 if hatched else 0.0,
            "hatch": "////" if hatched else None,
        }
        some = heights > 0
        width = (ends - starts)[some] * 0.88
        axes.bar(starts[some], heights[some], width, bottom[some], align="edge", zorder=2, label=label, **style)
        bottom += heights
    margin = 0.02 * (ends[-1] - starts[0]) if len(table) > 1 else 2.0 * (ends[0] - starts[0])
    axes.set_xlim(starts[0] - margin, ends[-1] + margin)
    axes.set_ylim(0.0, max(float(bottom.max()) * 1.22, 1.5))
    _whole_numbers(axes)
    date_axis(axes)
    quiet(axes)
    return word


def _period(n_months: int) -> tuple[str, str]:
    if n_months <= MOST_BARS:
        return "MS", "month"
    return ("QS", "quarter") if n_months <= 4 * MOST_BARS else ("YS", "year")


# --- recurring revenue --------------------------------------------------------------------------------------


def _plot_recurring(axes: Axes, report: DataReport) -> None:
    table = report.recurring
    unit = money_unit(float(table["mrr"].max()))
    day = date2num(table["day"])
    marker = "o" if len(table) == 1 else None
    axes.fill_between(day, table["mrr"], color=BANDS[0.95], linewidth=0, zorder=2)
    axes.plot(day, table["mrr"], color=MEDIAN, linewidth=1.8, marker=marker, label="MRR", zorder=4)
    axes.set_ylim(0.0, max(float(table["mrr"].max()) * 1.22, 1.0))
    axes.set_ylabel(f"a month, {unit.label(report.currency)}")
    money_axis(axes.yaxis, unit.size)
    date_axis(axes)
    quiet(axes)
    beside = axes.twinx()
    beside.plot(
        day,
        table["accounts"],
        color=PAST,
        linewidth=1.4,
        linestyle=(0, (4, 2)),
        marker=marker,
        label="accounts (right)",
    )
    beside.set_ylim(0.0, max(float(table["accounts"].max()) * 1.22, 1.5))
    beside.spines[["top", "left"]].set_visible(False)
    beside.spines["right"].set_color(PAST)
    beside.tick_params(axis="y", colors=PAST)
    _whole_numbers(beside)
    last = table.iloc[-1]
    money = f"{report.currency} {in_unit(last['mrr'], unit)} {unit.name}".strip()
    now = f"{money} of {counted(int(last['accounts']), 'account')}"
    axes.set_title(f"monthly recurring revenue in force: {now}", loc="left", fontsize="medium")
    handles = [*axes.get_legend_handles_labels()[0], *beside.get_legend_handles_labels()[0]]
    axes.legend(handles=handles, loc="upper left", ncols=2, frameon=False, fontsize="small")


# --- cohorts ------------------------------------------------------------------------------------------------


def _plot_cohorts(axes: Axes, report: DataReport) -> None:
    axes.set_title("accounts in unbroken service, by year of first start", loc="left", fontsize="medium")
    shown = report.cohorts[report.cohorts["known"] >= np.minimum(FEWEST_KNOWN, report.cohorts["accounts"])]
    curves = {name: curve for name, curve in shown.groupby("cohort") if len(curve) > 1}
    if ALL not in curves:
        _say(axes, "too few accounts are known a year after their first start")
        return
    pooled = curves.pop(ALL)
    names = _shown_cohorts(curves)
    shades = LinearSegmentedColormap.from_list("cohorts", ["#d3d6da", BANDS[0.80], BANDS[0.50]])
    for place, name in enumerate(names):
        colour = shades(place / max(len(names) - 1, 1))
        axes.plot(
            "years", "in_force", data=curves[name], color=colour, linewidth=1.2, marker="o", markersize=3, label=name
        )
    axes.plot(
        "years",
        "in_force",
        data=pooled,
        color=MEDIAN,
        linewidth=2.2,
        marker="o",
        markersize=4,
        label="all accounts",
        zorder=5,
    )
    axes.plot(
        "years",
        "mrr_in_force",
        data=pooled,
        color=ACTUAL,
        linewidth=1.6,
        linestyle=(0, (4, 2)),
        label="all, by first MRR",
        zorder=5,
    )
    axes.set_ylim(0.0, 1.05)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("years since the first start")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    quiet(axes)
    axes.legend(loc="lower left", ncols=2, frameon=False, fontsize="small", columnspacing=1.2)


def _shown_cohorts(curves: Mapping[str, pd.DataFrame]) -> list[str]:
    """Cohorts of enough accounts, evenly over time; none where there is but one, which is all accounts."""
    large = sorted(name for name, curve in curves.items() if curve["accounts"].iloc[0] >= FEWEST_KNOWN)
    if len(curves) < 2 or not large:
        return []
    places = np.linspace(0, len(large) - 1, min(len(large), MOST_COHORTS)).round().astype(int)
    return [large[place] for place in places]


# --- all ----------------------------------------------------------------------------------------------------


def _whole_numbers(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))


def _key(axes: Axes, columns: int) -> None:
    """Above the bars, in the room that the axis leaves for it."""
    axes.legend(loc="upper left", ncols=columns, frameon=False, fontsize="small", columnspacing=1.2, handlelength=1.4)


def _say(axes: Axes, words: str) -> None:
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, color=PAST)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
