"""A backtest for people: tables on the terminal, one picture, and files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from clvforecast.backtest import MODEL, WHOLE, Backtest
from clvforecast.calibration import reliability
from clvforecast.report.colours import ACTUAL, BANDS, MEDIAN, PAST
from clvforecast.report.files import replacing, write_csv
from clvforecast.report.terminal import say, show_table
from clvforecast.report.units import MoneyUnit, counted, in_unit, money_unit
from clvforecast.scores import COVERED

PIT_BINS = 20
FIGURE_SIZE = (12.0, 8.5)
SPLITS = ("due", "tenure", "term_length")
"""Subgroups of the picture and of the terminal, where segments are added; `Backtest.scores` splits by more."""
LEAST_ACCOUNTS, MOST_LEVELS = 20, 12
"""Groups with fewer accounts say nothing of coverage; of a segment, so many levels are printed."""
COLUMNS = {"log_crps": "log-CRPS", "crps": "CRPS", "coverage_50": "50%", "coverage_80": "80%", "coverage_95": "95%"}


def show_backtest(console: Console, result: Backtest) -> None:
    """Headline, methods, totals, and groups of accounts."""
    scores = result.scores()
    for window in sorted(scores["window_months"].unique()):
        say(console, range_line(result, scores, int(window)), "bold")
        say(console, headline(scores, int(window)), "bold")
    show_table(console, f"methods ({result.currency}; scores: smaller is better)", _methods(scores, result), ["method"])
    say(
        console,
        "50%, 80%, 95%: share of accounts inside such a range; point forecasts have none. bias: of all forecasts' sum.",
    )
    show_table(console, "portfolio totals beside what happened", _portfolio_rows(result), ["origin"])
    window = int(result.accounts["window_months"].max())
    title = (
        f"{MODEL}, {window} months, by what was known at the origin (skill: against the best baseline of each group)"
    )
    show_table(console, title, _group_rows(result, window), ["group", ""])
    say(
        console,
        "What happened is known as the ledger tells it today; the forecasts count only what would be booked by then. "
        f"Intervals of scores are a bootstrap over {result.clusters}; what strikes all of them in one year is not in them.",
    )


def range_line(result: Backtest, scores: pd.DataFrame, window: int) -> str:
    """How often the ranges of one window held, in a sentence."""
    mine = scores[(scores["window_months"] == window) & (scores["method"] == MODEL)].set_index("score")["value"]
    held = "/".join(f"{mine[f'coverage_{100 * prob:.0f}']:.1%}" for prob in COVERED)
    totals = _portfolio_totals(result)
    inside = _inside(totals)[totals["window_months"] == window]
    return (
        f"{window} months: 50/80/95% ranges of accounts held {held} of the time, "
        f"portfolio totals lay inside their 95% range {inside.sum()} of {counted(len(inside), 'time')}"
    )


def headline(scores: pd.DataFrame, window: int) -> str:
    """The skill of one window in a sentence."""
    mine = scores[(scores["window_months"] == window) & (scores["method"] == MODEL)].set_index("score")
    parts = []
    for score, name in (("log_crps", "log-CRPS"), ("crps", "CRPS in money")):
        if f"skill_{score}" in mine.index:
            row = mine.loc[f"skill_{score}"]
            figures = f"{row['value']:+.1%} ({row['lower']:+.1%} to {row['upper']:+.1%})"
            parts.append(f"{name} {figures} over {row['against']}")
    if not parts:
        return f"{window} months: no baseline to compare with"
    return f"{window} months, skill over the best baseline: {'; '.join(parts)}"


def _methods(scores: pd.DataFrame, result: Backtest) -> pd.DataFrame:
    table = scores.pivot_table(index=["window_months", "method"], columns="score", values="value", sort=False)
    unit = money_unit(float(table["crps"].max()))
    rows = pd.DataFrame({"months": table.index.get_level_values(0), "method": table.index.get_level_values(1)})
    for name, title in COLUMNS.items():
        values = table[name].to_numpy() if name in table else np.full(len(table), np.nan)
        rows[title] = [_figure(value, name, unit) for value in values]
    rows = rows.rename(columns={"CRPS": f"CRPS, {unit.label(result.currency)}"})
    rows["bias"] = [f"{value:+.1%}" if np.isfinite(value) else "" for value in table["bias"]]
    rows["Gini"] = [f"{value:.3f}" for value in table["gini"]]
    return rows


def _figure(value: float, name: str, unit: MoneyUnit) -> str:
    if not np.isfinite(value):
        return ""
    if name.startswith("coverage"):
        return f"{value:.1%}"
    return in_unit(value, unit) if name == "crps" else f"{value:.3f}"


def _portfolio_totals(result: Backtest) -> pd.DataFrame:
    return result.totals[(result.totals["by"] == WHOLE) & (result.totals["method"] == MODEL)].reset_index(drop=True)


def _inside(totals: pd.DataFrame) -> pd.Series:
    return totals["actual"].between(totals["lower_95"], totals["upper_95"])


def _portfolio_rows(result: Backtest) -> pd.DataFrame:
    rows = _portfolio_totals(result)
    unit = money_unit(float(rows["upper_95"].max()))
    return pd.DataFrame(
        {
            "origin": rows["origin"].dt.strftime("%Y-%m-%d"),
            "months": rows["window_months"],
            "accounts": [f"{n:,}" for n in rows["accounts"]],
            f"median, {unit.label(result.currency)}": [in_unit(value, unit) for value in rows["median"]],
            "95% range": [
                f"{in_unit(low, unit)} to {in_unit(high, unit)}"
                for low, high in zip(rows["lower_95"], rows["upper_95"], strict=True)
            ],
            "what happened": [in_unit(value, unit) for value in rows["actual"]],
            "median off by": [f"{off:+.1%}" for off in rows["median"] / rows["actual"] - 1.0],
            "": np.where(_inside(rows), "inside", "OUTSIDE"),
        }
    )


def _group_rows(result: Backtest, window: int) -> pd.DataFrame:
    """Skill and coverage of the model by subgroup; of a segment with many levels, the largest."""
    rows = []
    for by in (*SPLITS, *result.segments):
        scores = result.scores(by, window)
        mine = scores[scores["method"] == MODEL]
        count = mine[mine["score"] == "crps"].set_index("level")["n"]
        table = mine.pivot_table(index="level", columns="score", values="value", sort=False, observed=True)
        table = table.loc[table.index.isin(count.nlargest(MOST_LEVELS).index)]
        for level, row in table.iterrows():
            shown = {"group": by, "": str(level), "accounts": f"{count[level]:,}"}
            shown["skill, log-CRPS"] = _percent(row.get("skill_log_crps", np.nan), count[level], "+")
            shown |= {f"{prob:.0%}": _percent(row[f"coverage_{100 * prob:.0f}"], count[level]) for prob in COVERED}
            shown["bias"] = _percent(row.get("bias", np.nan), count[level], "+")
            rows.append(shown)
    return pd.DataFrame(rows)


def _percent(share: float, n: int, sign: str = "") -> str:
    """Blank where there is nothing to tell, or too few accounts to tell it of."""
    return f"{share:{sign}.1%}" if np.isfinite(share) and n >= LEAST_ACCOUNTS else ""


def write_backtest(result: Backtest, folder: Path) -> list[Path]:
    """backtest_accounts.parquet, backtest_totals.csv, backtest_scores.csv and backtest.png; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"backtest{name}" for name in ("_accounts.parquet", "_totals.csv", "_scores.csv", ".png")]
    with replacing(paths[0]) as temporary:
        result.accounts.to_parquet(temporary, index=False)
    write_csv(result.totals, paths[1])
    split = [result.scores(by).assign(by=by or "all") for by in (None, *result.subgroups)]
    write_csv(pd.concat(split, ignore_index=True), paths[2])
    with replacing(paths[3]) as temporary:
        plot_backtest(result).savefig(temporary, format="png", dpi=130)
    return paths


class Picture(Figure):
    """A figure that notebooks show, although no pyplot knows of it."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=90)
        return buffer.getvalue()


def plot_backtest(result: Backtest) -> Figure:
    """Four pictures of the longest window: totals, PIT, coverage by group, reliability of renewal probabilities."""
    window = int(result.accounts["window_months"].max())
    mine = result.accounts[(result.accounts["method"] == MODEL) & (result.accounts["window_months"] == window)]
    figure = Picture(figsize=FIGURE_SIZE, layout="constrained")
    axes = figure.subplots(2, 2)
    _plot_totals(axes[0, 0], result)
    _plot_pit(axes[0, 1], mine)
    _plot_coverage(axes[1, 0], result, window)
    _plot_reliability(axes[1, 1], result)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
    origins = counted(mine["origin"].nunique(), "origin")
    figure.suptitle(f"{MODEL}, {window} months from {origins}", x=0.01, ha="left")
    return figure


def _plot_totals(axes: Axes, result: Backtest) -> None:
    rows = _portfolio_totals(result)
    unit = money_unit(float(rows["upper_95"].max()))
    x = np.arange(len(rows))
    for low, high, width in (("lower_95", "upper_95", 3.0), ("lower_50", "upper_50", 9.0)):
        axes.vlines(x, rows[low] / unit.size, rows[high] / unit.size, color=BANDS[0.80], linewidth=width)
    axes.plot(x, rows["median"] / unit.size, "_", color=MEDIAN, markersize=14, label="median, 50% and 95% range")
    axes.plot(x, rows["actual"] / unit.size, "o", color=ACTUAL, label="what happened")
    labels = [
        f"{origin:%Y-%m}\n{months} m" for origin, months in zip(rows["origin"], rows["window_months"], strict=True)
    ]
    axes.set_xticks(x, labels, fontsize="small")
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel(unit.label(result.currency))
    axes.set_title("portfolio totals by origin and window", loc="left", fontsize="medium")
    axes.legend(frameon=False, fontsize="small", loc="lower right")


def _plot_pit(axes: Axes, mine: pd.DataFrame) -> None:
    heights, edges = np.histogram(mine["pit"], bins=PIT_BINS, range=(0.0, 1.0))
    share = heights / max(len(mine), 1) * PIT_BINS
    axes.bar(edges[:-1], share, width=1.0 / PIT_BINS, align="edge", color=BANDS[0.80], edgecolor="white")
    axes.axhline(1.0, color=PAST, linestyle=(0, (4, 3)))
    axes.set_xlabel("where what happened lies among the draws (randomised PIT)")
    axes.set_title("accounts: flat when the ranges hold", loc="left", fontsize="medium")


def _plot_coverage(axes: Axes, result: Backtest, window: int) -> None:
    """Coverage of the 80% range by group, with its bootstrap interval."""
    parts = [result.scores(by, window).assign(by=by or "") for by in (None, *SPLITS)]
    scores = pd.concat(parts, ignore_index=True)
    shown = (scores["method"] == MODEL) & (scores["score"] == "coverage_80") & (scores["n"] >= LEAST_ACCOUNTS)
    rows = scores[shown].reset_index(drop=True)
    y = -np.arange(len(rows))
    axes.hlines(y, rows["lower"], rows["upper"], color=BANDS[0.80], linewidth=5.0)
    axes.plot(rows["value"], y, "o", color=MEDIAN)
    axes.axvline(0.8, color=PAST, linestyle=(0, (4, 3)))
    labels = [f"{level} ({n:,})" if by else f"all ({n:,})" for by, level, n in rows[["by", "level", "n"]].values]
    axes.set_yticks(y, labels, fontsize="small")
    axes.set_title("share of accounts inside their 80% range", loc="left", fontsize="medium")


def _plot_reliability(axes: Axes, result: Backtest) -> None:
    rows = result.accounts[result.accounts["method"] == MODEL]
    longest = rows.sort_values("window_months").drop_duplicates(["origin", "account_id"], keep="last")
    known = longest[longest["renewed"].notna()]
    axes.plot([0.0, 1.0], [0.0, 1.0], color=PAST, linestyle=(0, (4, 3)))
    if len(known):
        table = reliability(known["p_renewed"], known["renewed"])
        axes.errorbar(
            table["expected"],
            table["observed"],
            yerr=1.96 * table["se"],
            fmt="o",
            color=MEDIAN,
            ecolor=BANDS[0.80],
        )
    axes.set_xlabel("forecast probability of the next renewal")
    axes.set_ylabel("share renewed")
    axes.set_title(f"renewal probabilities ({len(known):,} decisions)", loc="left", fontsize="medium")
