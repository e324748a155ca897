"""Pictures that finance reads: ARR, retention, segments, and scenarios against the base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from clvforecast.calendars import as_days
from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast
from clvforecast.metrics.bridge import MEASURES
from clvforecast.metrics.recurring import arr_by_account
from clvforecast.report.axes import (
    DASHES,
    ZERO_LINE,
    across,
    as_of_line,
    axes_or_new,
    date_axis,
    draw_fan,
    draw_ranges,
    legend,
    money_axis,
    quiet,
    wrapped,
)
from clvforecast.report.colours import BANDS, MARKERS, SERIES
from clvforecast.report.units import MoneyUnit, counted, in_unit, money_unit

if TYPE_CHECKING:
    from clvforecast.comparison import Comparison

Floats = NDArray[np.float64]

WORDS = {
    "nrr": "NRR",
    "grr": "GRR",
    "gross_renewal_rate": "gross renewal rate",
    "logo_churn": "logo churn",
}
MOST_LEVELS = 15
"""Segments shown, the largest ones."""
FAN_PROB, WHISKER_PROB = 0.95, 0.9


# --- ARR and retention over time ----------------------------------------------------------------------------


def plot_arr(forecast: Forecast, freq: str = "month", history: int = 12, ax: Axes | None = None) -> Axes:
    """Annual recurring revenue at the ends of periods: as the ledger knows it, then the forecast's fan from `as_of` on.

    The fan is 50%, 80% and 95% equal-tailed ranges and the median; it begins at the ARR of `as_of`. Customers not yet won are
    not in it. A period that the horizon cuts is shown at the horizon's last day.

    Parameters
    ----------
    freq, history
        As in `Forecast.bridge`; of a forecast that was loaded without its ledger ask for ``history=0``.

    Raises
    ------
    ForecastError
        Where ARR was not followed, and as `Forecast.bridge` does.
    """
    table = forecast.bridge(freq, ci_prob=FAN_PROB, history=history)
    ends = table[table["line"] == "end"].reset_index(drop=True)
    past, ahead = (ends[(ends["basis"] == "actual") == known] for known in (True, False))
    today = _arr_on_as_of(forecast) if history else None
    axes = axes_or_new(ax)
    unit = money_unit(float(ends["upper"].max()))
    x_past, x = _ends(forecast, past), _ends(forecast, ahead)
    if today is not None:
        at = _day_after(forecast)
        if len(x_past) and x_past[-1] == at:
            x_past, past = x_past[:-1], past.iloc[:-1]
        x_past, known = np.append(x_past, at), np.append(past["mean"], today)
        axes.plot(x_past, known, color="0.35", marker="o", markersize=3.0, linewidth=1.6, label="as it was", zorder=5)
        ahead = pd.concat([ahead.iloc[:1].assign(**dict.fromkeys(_figures(ahead), today)), ahead])
        x = np.append(at, x)
    draw_fan(axes, x, ahead)
    as_of_line(axes, forecast.as_of)
    axes.set_ylim(bottom=0.0, top=1.12 * float(ends["upper"].max()))
    money_axis(axes.yaxis, unit.size)
    axes.set_ylabel(f"ARR, {unit.label(forecast.currency)}")
    axes.set_title(
        f"ARR of {counted(len(forecast.table), 'account')} at the end of each {freq}", loc="left", fontsize="medium"
    )
    date_axis(axes)
    legend(axes, ["as it was", *(f"{band:.0%} range" for band in BANDS)])
    quiet(axes)
    return axes


def _figures(table: pd.DataFrame) -> list[str]:
    return [name for name in ("mean", "lower", "q10", "q25", "q50", "q75", "q90", "upper") if name in table]


def _arr_on_as_of(forecast: Forecast) -> float:
    """ARR of all accounts at the end of `as_of`, in currency."""
    day = np.array([int(forecast.grid.bounds[0]) - 1], dtype=np.int64)
    return float(arr_by_account(forecast.history, day, forecast.settings.pending).sum()) / 100.0


def _ends(forecast: Forecast, rows: pd.DataFrame) -> Floats:
    """Where the ends of periods stand: the first moment after their last day, at most that after the window."""
    after = pd.DatetimeIndex(rows["period"]) + pd.Timedelta(days=1)
    last = pd.Timestamp(as_days(forecast.grid.bounds[-1]).item())
    return np.minimum(date2num(after), date2num(last)).astype(np.float64)


def _day_after(forecast: Forecast) -> float:
    return float(date2num(pd.Timestamp(forecast.as_of) + pd.Timedelta(days=1)))


def plot_retention(
    forecast: Forecast,
    measures: Sequence[str] = ("nrr", "grr"),
    trailing_year: bool = True,
    ax: Axes | None = None,
    history: int = 8,
) -> Axes:
    """Rates of retention at the ends of quarters: as they were, then medians (dashed) with their 90% ranges.

    Parameters
    ----------
    measures
        Of "nrr", "grr", "gross_renewal_rate" and "logo_churn".
    trailing_year
        Over the twelve months that end with each quarter; else over the quarters.
    history
        Quarters before the forecast's.

    Raises
    ------
    ForecastError
        For another measure, and as `Forecast.retention` does.
    """
    asked = [measures] if isinstance(measures, str) else list(measures)
    unknown = [name for name in asked if name not in MEASURES]
    if unknown or not asked:
        raise ForecastError(f"measures={asked}: choose among {', '.join(map(repr, MEASURES))}.")
    table = forecast.retention("quarter", trailing_year=trailing_year, ci_prob=WHISKER_PROB, history=history)
    table = table[table["mean"].notna() & ~table["partial"]]
    axes = axes_or_new(ax)
    for measure, colour, marker in zip(asked, SERIES, MARKERS, strict=False):
        _draw_rate(
            axes, forecast, table[table["measure"] == measure], WORDS[measure], {"color": colour, "marker": marker}
        )
    as_of_line(axes, forecast.as_of)
    if {"nrr", "grr"} & set(asked):
        axes.axhline(1.0, **ZERO_LINE)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, 0.0), top + 0.06 * (top - bottom))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    axes.set_ylabel("share of ARR at the start" if set(asked) <= {"nrr", "grr"} else "rate")
    over = "twelve months to the end of each quarter" if trailing_year else "each quarter"
    axes.set_title(f"Retention over {over}", loc="left", fontsize="medium")
    date_axis(axes)
    legend(axes, [])
    quiet(axes)
    return axes


def _draw_rate(axes: Axes, forecast: Forecast, rows: pd.DataFrame, name: str, style: dict[str, Any]) -> None:
    """What was, a full line; from its last point on the band and the dashed median."""
    known = (rows["basis"] == "actual").to_numpy()
    x = _ends(forecast, rows)
    if known.any():
        axes.plot(x[known], rows["mean"][known], linewidth=1.6, markersize=4.5, label=name, zorder=5, **style)
    joined = np.flatnonzero(~known)
    if known.any() and joined.size:
        joined = np.append(joined[0] - 1, joined)
    ahead = rows.iloc[joined]
    label = f"{name}, median" if known.any() else name
    axes.plot(
        x[joined], ahead["q50"], linewidth=1.4, markersize=4.5, linestyle=DASHES, markerfacecolor="white", zorder=4.5,
        label=label, **style,
    )  # fmt: skip
    band: dict[str, Any] = {"color": style["color"], "alpha": 0.22, "linewidth": 0, "zorder": 3}
    axes.fill_between(x[joined], ahead["lower"], ahead["upper"], label=f"{name}, 90% range", **band)


# --- segments and scenarios ---------------------------------------------------------------------------------


def plot_segments(forecast: Forecast, by: str | Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Revenue of the whole window by segment: median, 50% and 90% equal-tailed range, the largest segment on top.

    Of many segments the largest 15 are shown, and the title says so.

    Parameters
    ----------
    by
        As in `Forecast.portfolio`: one or more group columns, or "origin". Not needed where there is one group column only.

    Raises
    ------
    ForecastError
        Without `by` where there are several group columns, or none.
    """
    chosen = _only_column(forecast) if by is None else by
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    table = forecast.portfolio(None, names, ci_prob=WHISKER_PROB).sort_values("q50", ascending=False, kind="stable")
    shown = table.head(MOST_LEVELS)
    counts = None if names == ["origin"] else forecast.table.groupby(names, dropna=False).size()
    axes = axes_or_new(ax)
    unit = money_unit(float(shown[["lower", "upper"]].abs().max().max()))
    y = np.arange(len(shown), dtype=np.float64)
    draw_ranges(axes, y, shown)
    axes.set_yticks(y, [_level_label(row, counts) for row in shown[names].itertuples(index=False)], fontsize="small")
    across(
        axes, len(shown), unit, f"revenue of {forecast.settings.horizon_months} months, {unit.label(forecast.currency)}"
    )
    left_out = f", the largest {len(shown)} of {len(table)}" if len(shown) < len(table) else ""
    counted_too = "" if counts is None else " (accounts)"
    title = f"Revenue by {', '.join(names).replace('_', ' ')}{counted_too}{left_out}"
    axes.set_title(title, loc="left", fontsize="medium")
    legend(axes, ["median"])
    return axes


def _only_column(forecast: Forecast) -> str:
    names = [str(name) for name in forecast.groups.columns]
    if len(names) == 1:
        return names[0]
    several = f"one or more of {', '.join(map(repr, names))}, or" if names else "there are no group columns;"
    raise ForecastError(f'plot_segments: by which column? Give {several} by="origin".')


def _level_label(level: tuple[Any, ...], counts: pd.Series | None) -> str:
    name = ", ".join(
        "(none)" if pd.isna(one) else str(one).replace("_", " ") if counts is None else str(one) for one in level
    )
    name = name if len(name) <= 34 else f"{name[:33]}…"
    if counts is None:
        return name
    number = counts[level if len(level) > 1 else level[0]] if not any(pd.isna(one) for one in level) else None
    return name if number is None else f"{name} ({number:,})"


def plot_comparison(comparison: Comparison, ax: Axes | None = None, freq: str | None = None) -> Axes:
    """What each scenario adds to the base, or takes from it, with the range of the difference itself.

    Without `freq` over the whole window: median, 50% and 90% range of each scenario. With "month", "quarter" or "year" over
    time: medians and 90% ranges; a last period that the horizon cuts is left out.
    """
    axes = axes_or_new(ax)
    table = comparison.difference(freq, ci_prob=WHISKER_PROB)
    unit = money_unit(float(table[["lower", "upper"]].abs().max().max()))
    money = f"revenue less that of the base, {unit.label(comparison.base.currency)}"
    months = comparison.base.settings.horizon_months
    if freq is None:
        y = np.arange(len(table), dtype=np.float64)
        draw_ranges(axes, y, table)
        labels = [f"{wrapped(name)}\n{_plus(mean, unit)}" for name, mean in table[["scenario", "q50"]].values]
        axes.set_yticks(y, labels, fontsize="small")
        across(axes, len(table), unit, money)
        axes.set_title(f"Scenarios against the base, {months} months", loc="left", fontsize="medium")
        legend(axes, ["median"])
        return axes
    cut = table["partial"] & (table["period"] == table["period"].max())
    table = table[~cut] if not cut.all() else table
    for place, (name, rows) in enumerate(table.groupby("scenario", sort=False)):
        _draw_difference(axes, rows, str(name), place)
    axes.axhline(0.0, **ZERO_LINE)
    money_axis(axes.yaxis, unit.size)
    axes.set_ylabel(f"{money}")
    axes.set_title(f"Scenarios against the base by {freq}: median and 90% range", loc="left", fontsize="medium")
    date_axis(axes)
    legend(axes, [])
    quiet(axes)
    return axes


def _draw_difference(axes: Axes, rows: pd.DataFrame, name: str, place: int) -> None:
    x = (date2num(rows["period_start"]) + date2num(rows["period"] + pd.Timedelta(days=1))) / 2.0
    colour, marker = SERIES[place % len(SERIES)], MARKERS[place % len(MARKERS)]
    axes.fill_between(x, rows["lower"], rows["upper"], color=colour, alpha=0.2, linewidth=0, zorder=3)
    axes.plot(x, rows["q50"], color=colour, marker=marker, markersize=4.5, label=wrapped(name), zorder=4)


def _plus(amount: float, unit: MoneyUnit) -> str:
    return f"{'−' if amount < 0.0 else '+'}{in_unit(abs(amount), unit)}"
