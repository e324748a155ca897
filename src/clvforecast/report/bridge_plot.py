"""The ARR bridge of a period as a waterfall."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast
from clvforecast.metrics.bridge import LINES
from clvforecast.report.axes import ZERO_LINE, axes_or_new, money_axis, quiet
from clvforecast.report.colours import GAIN, LOSS, PAST
from clvforecast.report.units import MoneyUnit, in_unit, money_unit
from clvforecast.report.windows import with_coverage

SIGNS = {"contraction": -1.0, "churn": -1.0}
"""Lines of the bridge that are subtracted."""
WORDS = {"late_renewals": "late\nrenewals", "reactivation": "reacti-\nvation", "contraction": "contrac-\ntion"}
MOST_OF_AXIS = 0.5
"""Where all that moves lies within this share of the height, the money axis does not begin at 0."""
WHISKER: dict[str, Any] = {"color": "0.15", "linewidth": 1.3, "zorder": 5}
WHISKER_PROB = 0.9


def plot_bridge(forecast: Forecast, period: str | None = None, freq: str = "quarter", ax: Axes | None = None) -> Axes:
    """The ARR bridge of one period as a waterfall of means, which add up, with the 90% range of each line as a whisker.

    The whisker of a move begins where the move begins. Lines that are 0 in every draw are left out. Where the moves are small
    beside the ARR the axis does not begin at 0, and both it and the bars that are cut say so.

    Parameters
    ----------
    forecast
        From ``forecast(..., bridge=True)``.
    period
        Label of a period, "FY27 Q1", of the forecast or of its past; by default the first whole one of the forecast.
    freq
        "month", "quarter" or "year" of the forecast's calendar.
    ax
        Axes to draw on; by default those of a new figure (``ax.figure``).

    Raises
    ------
    ForecastError
        Where ARR was not followed, and for a period that is not there.

    Examples
    --------
    >>> plot_bridge(forecast, freq="year").figure.savefig("bridge.png")  # doctest: +SKIP
    """
    rows = _one_period(forecast, period, freq)
    axes = axes_or_new(ax)
    bars = _waterfall(rows)
    low, high = _bridge_limits(bars)
    unit = money_unit(float(bars[["top", "high"]].max().max()))
    _draw_waterfall(axes, bars, low)
    labels = [f"{WORDS.get(name, name)}\n{_signed(name, mean, unit)}" for name, mean in bars[["line", "mean"]].values]
    axes.set_xticks(np.arange(len(bars)), labels, fontsize="small")
    axes.set_ylim(low, high)
    money_axis(axes.yaxis, unit.size)
    cut = "; the axis begins above 0" if low > 0.0 else ""
    axes.set_ylabel(f"ARR, {unit.label(forecast.currency)}{cut}")
    axes.set_title(_bridge_title(rows.iloc[0]), loc="left", fontsize="medium")
    quiet(axes)
    axes.axhline(0.0, **ZERO_LINE)
    return axes


def _one_period(forecast: Forecast, period: str | None, freq: str) -> pd.DataFrame:
    """The lines of one period; the past is looked at only where the period is not one of the forecast's."""
    table = forecast.bridge(freq, ci_prob=WHISKER_PROB, history=0)
    if period is None:
        whole = table[~table["partial"]]
        ahead = whole[whole["basis"] == "forecast"]
        found = next((rows for rows in (ahead, whole, table) if len(rows)), table)
        period = found["label"].iloc[0]
    elif period not in set(table["label"]) and forecast.ledger is not None:
        table = forecast.bridge(freq, ci_prob=WHISKER_PROB, history=1_000)
    rows = table[table["label"] == period]
    if rows.empty:
        known = table["label"].unique()
        raise ForecastError(
            f"period={period!r}: the bridge by {freq} has no such period. It has {known[0]} to {known[-1]}."
        )
    return with_coverage(forecast, rows.reset_index(drop=True))


def _waterfall(rows: pd.DataFrame) -> pd.DataFrame:
    """line, mean, base, top (of the bar) and low, high (of the whisker); start and end stand on 0, moves where the last ended."""
    bars, level = [], 0.0
    for row in rows.set_index("line").loc[list(LINES)].itertuples():
        whole = row.Index in ("start", "end")
        if not whole and row.mean == 0.0 and row.upper == 0.0:
            continue
        base, sign = (0.0, 1.0) if whole else (level, SIGNS.get(str(row.Index), 1.0))
        ends = sorted((base + sign * row.lower, base + sign * row.upper))
        level = base + sign * row.mean
        bars.append((row.Index, row.mean, base, level, *ends))
    return pd.DataFrame(bars, columns=["line", "mean", "base", "top", "low", "high"])


def _bridge_limits(bars: pd.DataFrame) -> tuple[float, float]:
    """From 0 where that leaves the moves some room; else from below the lowest of what is drawn."""
    moves = bars[bars["base"] > 0.0]
    tops = np.concatenate((bars["top"], bars[["low", "high"]].to_numpy().ravel(), moves["base"]))
    low, high = float(tops.min()), float(tops.max())
    room = max(high - low, 0.02 * high)
    if low <= 0.0 or room > MOST_OF_AXIS * high:
        return min(0.0, low * 1.05), (high if high > 0.0 else 1.0) * 1.08
    return max(0.0, low - 0.35 * room), high + 0.12 * room


def _draw_waterfall(axes: Axes, bars: pd.DataFrame, floor: float) -> None:
    for place, bar in enumerate(bars.itertuples()):
        whole = bar.line in ("start", "end")
        colour = PAST if whole else GAIN if bar.top >= bar.base else LOSS
        axes.bar(place, bar.top - bar.base, bottom=bar.base, width=0.62, color=colour, label=bar.line, zorder=2)
        if bar.high > bar.low:
            axes.errorbar(
                place,
                bar.top,
                yerr=[[max(bar.top - bar.low, 0.0)], [max(bar.high - bar.top, 0.0)]],
                capsize=4,
                **WHISKER,
            )
        if place + 1 < len(bars):
            axes.plot([place + 0.31, place + 0.69], [bar.top] * 2, color="0.55", linewidth=0.8, zorder=1.8)
        if whole and floor > 0.0:
            _mark_cut(axes, place)


def _mark_cut(axes: Axes, place: int) -> None:
    """Two white strokes through the foot of a bar that does not begin at 0."""
    for height in (0.045, 0.07):
        axes.plot(
            [place - 0.36, place + 0.36],
            [height - 0.012, height + 0.012],
            transform=axes.get_xaxis_transform(),
            color="white",
            linewidth=2.2,
            zorder=4,
        )


def _signed(line: str, mean: float, unit: MoneyUnit) -> str:
    if line in ("start", "end"):
        return in_unit(mean, unit)
    return f"{'−' if line in SIGNS else '+'}{in_unit(mean, unit)}"


def _bridge_title(row: pd.Series) -> str:
    days = f"{row['period_start']:%Y-%m-%d} to {row['to']:%Y-%m-%d}"
    known = {
        "actual": "as it was",
        "part actual": "part of it known: means and 90% ranges",
        "forecast": "forecast: means and 90% ranges",
    }[row["basis"]]
    cut = f"; {row['covered']}, the forecast ends there" if row["covered"] else ""
    return f"ARR bridge of {row['label']}, {days}\n{known}{cut}"
