"""Plots of a forecast on Matplotlib axes; no global style is changed, and scripts keep no figure open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from clvforecast.actuals import counted_in_periods
from clvforecast.calendars import as_days
from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast
from clvforecast.intervals import describe
from clvforecast.periods import covering_periods
from clvforecast.report.axes import as_of_line, axes_or_new, date_axis, legend, money_axis, quiet
from clvforecast.report.colours import ACTUAL, BANDS, MEDIAN, PAST
from clvforecast.report.nearest import near_names
from clvforecast.report.units import MoneyUnit, counted, in_unit, money_unit, range_unit

Floats = NDArray[np.float64]

SHOWN_HISTORY = 16
"""Periods of history shown, at most."""
BINS = 40
SHOWN_TAIL = 0.99
"""The value axis of an account ends at this quantile; what lies beyond is told in words."""
TITLE_LENGTH = 70
COUNTED = {"recognised": "recognised", "booked": "booked", "cash": "paid"}
NEGLIGIBLE = 0.01
"""Leading periods of history under this share of the largest are not shown: the ledger had hardly begun."""


def plot_portfolio(
    forecast: Forecast, ax: Axes | None = None, freq: str = "quarter", actual: pd.Series | None = None
) -> Axes:
    """Revenue of the forecast accounts by period, counted as the forecast counts it, then the forecast's fan.

    The fan is 50%, 80% and 95% equal-tailed ranges of summed draws and their median, at the middle of each period.  The
    period that `as_of` falls into is split: what is already recognised (booked, paid) is a hatched bar, and the fan stands on
    top of it (recognised + still to come).  A last period that the horizon cuts short is left out, and the title says so.
    History is what was known on `as_of`: late bookings are not yet in its last bars.

    Parameters
    ----------
    forecast
        From `forecast`.
    ax
        Axes to draw on; by default those of a new figure (``ax.figure``).
    freq
        "month", "quarter" or "year" of the forecast's calendar, or a pandas period end, as in `Forecast.portfolio`.
    actual
        What then happened: revenue in currency by the periods' last days, e.g. from
        ``actual_portfolio(forecast, later_ledger, freq).set_index("period")["revenue"]``.

    Examples
    --------
    >>> plot_portfolio(forecast, freq="year").figure.savefig("fan.png")  # doctest: +SKIP
    """
    axes = axes_or_new(ax)
    counted = COUNTED[forecast.settings.timing]
    history = _history(forecast, freq)
    fan = _fan(forecast, freq, history)
    largest = max(history["revenue"].max(), fan["high95"].max(), _largest(actual))
    unit = money_unit(largest)
    _draw_history(axes, history, counted)
    _draw_fan(axes, fan, history)
    if actual is not None:
        _draw_actual(axes, fan, actual)
    as_of_line(axes, forecast.as_of)
    axes.set_title(_portfolio_title(forecast, freq, fan), loc="left", fontsize="medium")
    money_axis(axes.yaxis, unit.size)
    axes.set_ylabel(f"revenue a {_period_word(freq)}, {unit.label(forecast.currency)}")
    axes.set_ylim(bottom=min(0.0, history["revenue"].min() * 1.05), top=largest * 1.12)
    date_axis(axes)
    legend(axes, [counted, f"{counted} so far", *(f"{band:.0%} range" for band in BANDS)])
    quiet(axes)
    return axes


def plot_account(forecast: Forecast, account_id: str, ax: Axes | None = None, value: str = "clv") -> Axes:
    """The distribution of an account's forward CLV (discounted, with margin), or with ``value="revenue"`` of its revenue.

    The draws in which the account brings nothing are a bar of their own at zero; the others are counted in bins of equal
    width.  Heights are probabilities, so all bars together make 1.  The median and the 90% equal-tailed interval are
    marked.

    Raises
    ------
    ForecastError
        The forecast kept no draws (``keep_draws=True``), has no such account, or `value` is neither.
    """
    draws = _account_draws(forecast, account_id, value)
    axes = axes_or_new(ax)
    ranges = {name: float(found) for name, found in describe(draws, 0.9, "eti").items()}
    low, high = min(0.0, float(draws.min())), float(np.quantile(draws, SHOWN_TAIL))
    high = high if high > low else float(draws.max())
    unit = range_unit([ranges["lower"]], [ranges["q50"]], [ranges["upper"]], beside=max(abs(low), abs(high)))
    if high > low:
        _draw_bins(axes, draws, low, high)
    _draw_zero(axes, draws, high - low)
    _draw_interval(axes, ranges, unit)
    money_axis(axes.xaxis, unit.size)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.3g}%" if share <= 1.0 else ""))
    axes.set_ylabel("probability")
    axes.set_xlabel(f"{_value_words(forecast, value)}, {unit.label(forecast.currency)}")
    axes.set_title(_account_title(forecast, account_id, draws, high), loc="left", fontsize="medium")
    legend(axes, ["nothing", "brings revenue"])
    quiet(axes)
    return axes


# --- portfolio ----------------------------------------------------------------------------------------------


def _history(forecast: Forecast, freq: str) -> pd.DataFrame:
    """start, end (first day after), revenue, whole: the last periods up to the end of `as_of`, which may cut one."""
    origin = int(forecast.grid.bounds[0])
    first = min(int(np.min(forecast.history.items["start_day"].to_numpy())), origin - 1)
    bounds = covering_periods(first, origin - 1, freq, forecast.settings.calendar).bounds
    partial = bounds[-1] > origin
    bounds = bounds[-(SHOWN_HISTORY + 1 + partial) :].clip(max=origin)
    revenue = counted_in_periods(forecast, bounds)
    whole = np.ones(len(revenue), dtype=bool)
    whole[-1] = not partial
    days = as_days(bounds)
    table = pd.DataFrame({"start": days[:-1], "end": days[1:], "revenue": revenue, "whole": whole})
    begun = (revenue > NEGLIGIBLE * revenue.max()).argmax()
    return table.iloc[begun:].reset_index(drop=True)


def _fan(forecast: Forecast, freq: str, history: pd.DataFrame) -> pd.DataFrame:
    """start, end, period, median, low and high of each band; the running period with what it already has.

    A running period is drawn over its days to come.
    """
    table = forecast.portfolio(freq)
    draws = forecast.portfolio_draws(freq).isel(group=0).values.copy()
    starts = pd.DatetimeIndex(table["period_start"])
    keep = ~table["partial"].to_numpy()
    if not history["whole"].iloc[-1]:
        draws[:, 0] += history["revenue"].iloc[-1]
        keep[0] = True
    if not keep.any():
        keep[:] = True
    ends = pd.DatetimeIndex(table["period"]) + pd.Timedelta(days=1)
    fan = pd.DataFrame({"start": starts, "end": ends, "period": table["period"], "median": np.median(draws, axis=0)})
    for band in BANDS:
        ranges = describe(draws, band, "eti")
        fan[f"low{band * 100:.0f}"], fan[f"high{band * 100:.0f}"] = ranges["lower"], ranges["upper"]
    fan.attrs["cut"] = not keep[-1]
    return fan[keep].reset_index(drop=True)


def _draw_history(axes: Axes, history: pd.DataFrame, counted: str) -> None:
    whole = history[history["whole"]]
    _bars(axes, whole, color=PAST, label=counted)
    split = history[~history["whole"]]
    if len(split):
        _bars(
            axes,
            split,
            color="white",
            edgecolor=PAST,
            hatch="////",
            linewidth=0.8,
            label=f"{counted} so far",
        )


def _bars(axes: Axes, periods: pd.DataFrame, **style: Any) -> None:
    starts, ends = date2num(periods["start"]), date2num(periods["end"])
    axes.bar(starts, periods["revenue"], width=(ends - starts) * 0.92, align="edge", zorder=2, **style)


def _middles(periods: pd.DataFrame) -> Floats:
    return np.asarray((date2num(periods["start"]) + date2num(periods["end"])) / 2.0)


def _draw_fan(axes: Axes, fan: pd.DataFrame, history: pd.DataFrame) -> None:
    """Bands through the middles of the periods; with a single period, bars."""
    x = _middles(fan)
    for band in BANDS:
        low, high = fan[f"low{band * 100:.0f}"], fan[f"high{band * 100:.0f}"]
        style: dict[str, Any] = {"color": BANDS[band], "label": f"{band:.0%} range", "zorder": 3, "linewidth": 0}
        if len(fan) > 1:
            axes.fill_between(x, low, high, **style)
        else:
            width = date2num(fan["end"])[0] - date2num(fan["start"])[0]
            axes.bar(x, high - low, bottom=low, width=width * 0.5, **style)
    axes.plot(x, fan["median"], color=MEDIAN, linewidth=1.8, marker="o", markersize=3.5, label="median", zorder=5)


def _draw_actual(axes: Axes, fan: pd.DataFrame, actual: pd.Series) -> None:
    known = pd.Series(actual.to_numpy(dtype=np.float64), index=pd.DatetimeIndex(actual.index))
    at = known.reindex(pd.DatetimeIndex(fan["period"]))
    if not at.notna().any():
        raise ForecastError(
            f"actual is indexed by {known.index.min():%Y-%m-%d} to {known.index.max():%Y-%m-%d}, and no day of it ends a "
            "period of the fan. Index it by the column `period` of actual_portfolio(forecast, ledger, freq)."
        )
    axes.plot(
        _middles(fan),
        at.to_numpy(),
        color=ACTUAL,
        linestyle="none",
        marker="D",
        markersize=5.5,
        markeredgecolor="white",
        markeredgewidth=0.8,
        label="what happened",
        zorder=6,
    )


def _largest(actual: pd.Series | None) -> float:
    return 0.0 if actual is None or actual.empty else float(actual.max())


def _portfolio_title(forecast: Forecast, freq: str, fan: pd.DataFrame) -> str:
    cut = f"; the last, cut {_period_word(freq)} is left out" if fan.attrs["cut"] else ""
    return f"Revenue of {counted(len(forecast.table), 'account')}, {forecast.settings.horizon_months} months ahead{cut}"


def _period_word(freq: str) -> str:
    return {"M": "month", "Q": "quarter", "Y": "year"}.get(freq[:1].upper(), "period")


# --- account ------------------------------------------------------------------------------------------------


def _account_draws(forecast: Forecast, account_id: str, value: str) -> Floats:
    if value not in ("clv", "revenue"):
        raise ForecastError(f'value={value!r}: plot_account shows "clv" (discounted, with margin) or "revenue".')
    if value not in forecast.draws:
        raise ForecastError(f"draws of {value} were not kept. Call forecast(..., keep_draws=True).")
    draws = forecast.draws[value]
    if account_id not in draws.indexes["account"]:
        near = near_names(account_id, draws.indexes["account"])
        raise ForecastError(f"the forecast has no account {account_id!r}{near}. forecast.accounts() lists them all.")
    return np.asarray(draws.sel(account=account_id).values, dtype=np.float64)


def _draw_bins(axes: Axes, draws: Floats, low: float, high: float) -> None:
    shown = draws[(draws != 0.0) & (draws <= high)]
    heights, edges = np.histogram(shown, bins=BINS, range=(low, high))
    style: dict[str, Any] = {"color": BANDS[0.50], "edgecolor": "white", "linewidth": 0.5, "zorder": 2}
    axes.bar(edges[:-1], heights / len(draws), width=np.diff(edges), align="edge", label="brings revenue", **style)


def _draw_zero(axes: Axes, draws: Floats, span: float) -> None:
    share = float((draws == 0.0).mean())
    if share == 0.0:
        return
    width = (span if span > 0.0 else 1.0) / BINS
    axes.bar(0.0, share, width=width, align="center", color=ACTUAL, label=f"nothing: {share:.1%}", zorder=3)
    axes.set_xlim(left=min(axes.get_xlim()[0], -2.0 * width))


def _draw_interval(axes: Axes, ranges: dict[str, float], unit: MoneyUnit) -> None:
    """The median as a line, the interval as a bar just under the top, both with their figures in the legend."""
    axes.set_ylim(top=axes.get_ylim()[1] * 1.2)
    lower, upper, median = (in_unit(ranges[name], unit) for name in ("lower", "upper", "q50"))
    axes.axvline(ranges["q50"], color=MEDIAN, linewidth=1.6, zorder=4, label=f"median {median}")
    axes.errorbar(
        ranges["q50"],
        0.93,
        xerr=[[ranges["q50"] - ranges["lower"]], [ranges["upper"] - ranges["q50"]]],
        transform=axes.get_xaxis_transform(),
        color=MEDIAN,
        linewidth=1.6,
        capsize=4,
        zorder=4,
        label=f"90% interval {lower} to {upper}",
    )


def _value_words(forecast: Forecast, value: str) -> str:
    months = forecast.settings.horizon_months
    if value == "revenue":
        return f"revenue of the next {months} months"
    margin = "" if forecast.settings.gross_margin == 1.0 else f", {forecast.settings.gross_margin:.0%} margin"
    margin += ", after the cost to serve" if forecast.settings.cost_to_serve else ""
    return f"forward CLV of {months} months (discounted at {forecast.settings.annual_discount_rate:.1%}{margin})"


def _account_title(forecast: Forecast, account_id: str, draws: Floats, high: float) -> str:
    name = account_id if len(account_id) <= TITLE_LENGTH else f"{account_id[: TITLE_LENGTH - 1]}…"
    beyond = float((draws > high).mean())
    tail = f"; {beyond:.1%} of draws lie beyond the axis" if beyond else ""
    return f"{name}\nas of {forecast.as_of}{tail}"
