"""What the records say, in the terms of the tables and the plot: seconds of a fit and of a prediction, by tool and size."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speed.bench import step_of
from speed.children import DONE, SKIPPED, TIMED_OUT
from speed.peers import POINTS, PURCHASES, RENEWAL_SBG, SAMPLERS, SBG
from speed.store import Record

NOT_REACHED = "not reached"
RENEWAL = f"{RENEWAL_SBG}, annual, warm"


@dataclass(frozen=True)
class Tool:
    """One line of the comparison: whose records, which of their steps are the fit, and which the prediction of every account.

    Without named steps of the fit it is everything that the process timed but imports. `scored` is the kind of company whose
    scoring runs are the prediction, where that is a process of its own.
    """

    name: str
    series: str
    fit_steps: tuple[str, ...] = ()
    predict_steps: tuple[str, ...] = ()
    scored: str = ""


TOOLS = (
    Tool("clvforecast, renewal with c = 1", RENEWAL),
    Tool("clvforecast, renewal", "renewal, annual, warm"),
    Tool(
        "clvforecast, all components",
        "fit, annual, warm",
        scored="annual",
        predict_steps=("score", "tables"),
    ),
    *(
        Tool(SBG.format(sampler=said), SBG.format(sampler=said), ("fit",), ("residual lifetime",))
        for said in SAMPLERS.values()
    ),
    Tool(PURCHASES, PURCHASES, ("fit BG/NBD", "fit Gamma-Gamma"), ("customer value",)),
    Tool(POINTS, POINTS, ("fit BG/NBD", "fit Gamma-Gamma"), ("customer value",)),
)


@dataclass(frozen=True)
class Timing:
    """Seconds, or how a measurement ended without them; `at_least` is then what had passed by then."""

    seconds: float | None
    ended: str = DONE
    at_least: float = 0.0
    reason: str = ""

    @property
    def text(self) -> str:
        """The figure as a table shows it."""
        if self.seconds is not None:
            return seconds_text(self.seconds)
        if self.ended == TIMED_OUT:
            return f"more than {seconds_text(self.at_least)}"
        return "not tried" if self.ended == SKIPPED else self.ended


@dataclass(frozen=True)
class Results:
    """All records, by (series, accounts)."""

    growth: dict[str, Record] = field(default_factory=dict)
    peers: dict[str, Record] = field(default_factory=dict)

    def of(self, where: str, series: str) -> dict[int, Record]:
        """Records of a series by number of accounts, smallest first."""
        records = [record for record in getattr(self, where).values() if record["series"] == series]
        return {record["accounts"]: record for record in sorted(records, key=lambda record: record["accounts"])}

    def get(self, where: str, series: str, accounts: int) -> Record | None:
        """The record of a series at a size, None where there is none."""
        return getattr(self, where).get(f"{series} | {accounts}")

    def scored(self, where: str, kind: str) -> list[Record]:
        """Scoring runs of companies of a kind, the smallest first, those of few draws before those of many."""
        found = [record for record in getattr(self, where).values() if record["series"].startswith(f"score, {kind}")]
        return sorted(found, key=lambda record: (record["accounts"], step_of(record, "score").get("draws", 0)))

    def sizes(self, where: str) -> list[int]:
        """Numbers of accounts that were asked for."""
        return sorted({record["accounts"] for record in getattr(self, where).values() if record["accounts"]})


def read_results(folder: Path) -> Results:
    """The results of a folder; without a file there are none."""
    found = {}
    for name in ("growth", "peers"):
        path = folder / f"{name}.json"
        found[name] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return Results(**found)


def timing(record: Record, steps: tuple[str, ...]) -> Timing:
    """Seconds of some steps together, of all but imports where none is named."""
    if not steps:
        steps = tuple(told["step"] for told in record["steps"] if "seconds" in told and told["step"] != "import")
        if record["ended"] != DONE:
            return _unfinished(record)
    told = [step_of(record, name).get("seconds", float("nan")) for name in steps]
    return Timing(sum(told)) if told and not math.isnan(sum(told)) else _unfinished(record)


def _unfinished(record: Record) -> Timing:
    at_least = record["seconds"] - sum(told.get("seconds", 0.0) for told in record["steps"])
    return Timing(None, record["ended"], at_least, record["reason"])


def fit_timing(results: Results, tool: Tool, accounts: int) -> Timing | None:
    """From the data to a converged posterior, or to estimates."""
    record = results.get("peers", tool.series, accounts)
    return timing(record, tool.fit_steps) if record else None


def predict_timing(results: Results, tool: Tool, accounts: int) -> Timing | None:
    """A prediction for every account."""
    if tool.scored:
        records = [record for record in results.scored("peers", tool.scored) if record["accounts"] == accounts]
    else:
        records = [record] if (record := results.get("peers", tool.series, accounts)) else []
    if not records or not tool.predict_steps:
        return None
    if tool.fit_steps and records[-1]["ended"] != SKIPPED and timing(records[-1], tool.fit_steps).seconds is None:
        return Timing(None, NOT_REACHED)
    return timing(records[-1], tool.predict_steps)


def converged(record: Record | None) -> dict[str, Any]:
    """Effective draws and R-hat, empty where there are none."""
    return step_of(record, "converged") if record else {}


def account_draws_a_second(record: Record) -> float | None:
    """Of a scoring run: accounts times draws over the seconds of the forecast, with the tables read from it."""
    scored = step_of(record, "score")
    if "seconds" not in scored or record["ended"] != DONE:
        return None
    return float(scored["accounts"] * scored["draws"] / timing(record, ("score", "tables")).seconds)


def seconds_text(seconds: float) -> str:
    """Seconds to two or three digits."""
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"


def gigabytes(record: Record | None) -> str:
    return f"{record['peak_bytes'] / 1e9:.2f} GB" if record and record["peak_bytes"] else ""


def fit_seconds(record: Record | None) -> float | None:
    """Of this package's runs: the whole process, imports and all."""
    return record["seconds"] if record and record["ended"] == DONE else None
