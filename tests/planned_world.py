"""Plans whose reliability is known, and the ledger of what came of them: one step an account."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import pandas as pd

import clvforecast as clv
from clvforecast.laplace import prepared
from clvforecast.ledger import Ledger
from clvforecast.plans import PlanPriors, Plans
from clvforecast.plans.counts import PlanCounts, PlanFrame, count_steps, plan_frame
from clvforecast.plans.lags import lag_edges, parts
from clvforecast.plans.matching import match_steps
from clvforecast.plans.model import plan_component
from clvforecast.plans.steps import EVENT_STEPS, STEP_KINDS

AS_OF = date(2024, 6, 30)
DAY = timedelta(days=1)
LAGS = np.array([0.02, 0.02, 0.04, 0.08, 0.3, 0.06, 0.05, 0.08, 0.2, 0.05, 0.04, 0.03, 0.03])
"""Shares of renewals that are booked (-91, -61], (-61, -31] ... days late: the bins of `lags.GRID`, even within each."""
LAG_EDGES = lag_edges(np.zeros(0, dtype=np.int64), 90, 365)
History = tuple[Plans, Ledger, pd.DataFrame]


@dataclass(frozen=True)
class PlannedWorld:
    """Truth of a company whose managers write plans; delays are Student-t(4), cut to the window; of renewals `LAGS`."""

    intercept: dict[str, float] = field(
        default_factory=lambda: {"renewal": 0.9, "expansion": -0.3, "contraction": 0.2, "change_order": -0.6}
    )
    slope: float = 0.6
    unstated: float = 0.4
    region: dict[str, float] = field(default_factory=lambda: {"north": 0.5, "south": -0.5})
    csm: dict[str, float] = field(default_factory=lambda: {"ann": 0.3, "bob": -0.3})
    delay: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {
            "expansion": (20.0, 18.0),
            "contraction": (10.0, 25.0),
            "change_order": (30.0, 25.0),
        }
    )
    share: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {
            "renewal": (0.0, 0.1),
            "expansion": (-0.3, 0.4),
            "contraction": (0.1, 0.3),
            "change_order": (-0.1, 0.5),
        }
    )
    window: int = 90


def probability(world: PlannedWorld, kind: str, stated: float, region: str, csm: str) -> float:
    log_odds = world.intercept[kind] + world.region[region] + world.csm[csm]
    log_odds += world.unstated if np.isnan(stated) else world.slope * np.log(stated / (1.0 - stated))
    return float(1.0 / (1.0 + np.exp(-log_odds)))


def drawn_delay(rng: np.random.Generator, world: PlannedWorld, kind: str) -> int:
    if kind == "renewal":
        j = rng.choice(len(LAGS), p=LAGS)
        return int(rng.integers(LAG_EDGES[j] + 1, LAG_EDGES[j + 1] + 1))
    mean, scale = world.delay[kind]
    while True:
        day = int(np.floor(mean + scale * rng.standard_t(4) + 0.5))
        if -world.window <= day <= world.window:
            return day


def simulated(
    world: PlannedWorld,
    n: int,
    seed: int,
    kinds: tuple[str, ...] = STEP_KINDS,
    first: int = -500,
    last: int = 80,
    ending: float = 0.0,
) -> History:
    """(plans, ledger, truth): planned days lie so many days from AS_OF; truth has p, comes, delay and share of every step.

    The contracts of a share ``ending`` of the accounts with a planned event end within a hundred days of it, for good.
    """
    rng = np.random.default_rng(seed)
    events, steps, truth = [], [], []
    for i in range(n):
        account, kind = f"account{i:05d}", kinds[rng.integers(len(kinds))]
        stated = float(rng.choice([0.3, 0.5, 0.7, 0.9, np.nan]))
        region, csm = (str(rng.choice(list(of))) for of in (world.region, world.csm))
        planned = AS_OF + int(rng.integers(first, last + 1)) * DAY
        p, delay = probability(world, kind, stated, region, csm), drawn_delay(rng, world, kind)
        share = float(np.exp(rng.normal(*world.share[kind])))
        comes = bool(rng.random() < p)
        start = planned - 365 * DAY
        start += (0 if kind == "renewal" else -200) * DAY
        months = 12 if kind == "renewal" else 60
        end = (pd.Timestamp(start) + pd.DateOffset(months=12)).date()
        planned = end if kind == "renewal" else planned
        if ending and kind != "renewal" and rng.random() < ending:
            start, months = planned - int(rng.integers(265, 466)) * DAY, 12
            comes &= planned + delay * DAY < (pd.Timestamp(start) + pd.DateOffset(months=12)).date()
        sign = -1 if kind == "contraction" else 1
        amount = 12000.0 if kind == "renewal" else sign * 1000.0
        common = {"account_id": account, "currency": "USD", "region": region}
        events.append({**common, "event_date": start, "kind": "initial", "amount": 60000.0, "term_months": months})
        if comes:
            booked = planned + delay * DAY
            event = {**common, "event_date": booked, "kind": kind, "amount": round(amount * share, 2)}
            if kind == "renewal":
                event |= {"start_date": planned, "term_months": 12}
            events.append(event)
        steps.append(
            {
                "account_id": account,
                "planned_date": planned,
                "kind": kind,
                "amount": amount,
                "probability": stated,
                "csm": csm,
                "step_id": f"step{i}",
            }
        )
        truth.append({"account_id": account, "kind": kind, "p": p, "comes": comes, "delay": delay, "share": share})
    table = pd.DataFrame(events)
    table["start_date"] = table.get("start_date", pd.Series(dtype=object))
    ledger = clv.read_ledger(table, as_of=AS_OF)
    plans = clv.read_plans(pd.DataFrame(steps), ledger, window_days=world.window)
    return plans, ledger, pd.DataFrame(truth)


def counted(plans: Plans, ledger: Ledger, segments: tuple[str, ...] = ("region",)) -> tuple[PlanCounts, PlanFrame]:
    matches = match_steps(plans.steps, ledger, plans.window_days, plans.renewal_days)
    frame = plan_frame(plans, ledger, segments, matches)
    return count_steps(plans, ledger, matches, frame), frame


def truth_of(world: PlannedWorld, frame: PlanFrame) -> dict[str, np.ndarray]:
    """The named variables of a world; effects are about their mean, as the model has them."""
    kinds = np.array([world.intercept[kind] for kind in STEP_KINDS])
    effects = [kinds - kinds.mean(), *([of[level] for level in sorted(of)] for of in (world.region, world.csm))]
    return {
        "intercept": np.array(kinds.mean()),
        "stated_slope": np.array(world.slope),
        "unstated_offset": np.array(world.unstated),
        "effect": np.concatenate(effects),
        "delay_mean": np.array([world.delay[kind][0] for kind in EVENT_STEPS]),
        "delay_scale": np.array([world.delay[kind][1] for kind in EVENT_STEPS]),
        "renewal_delay": parts(frame.lag_edges[:-1], frame.lag_edges[1:], LAG_EDGES) @ LAGS,
        "share_mean": np.array([world.share[kind][0] for kind in STEP_KINDS]),
        "share_sd": np.array([world.share[kind][1] for kind in STEP_KINDS]),
    }


def normal_draws(counts: PlanCounts, frame: PlanFrame, n: int = 2000) -> dict[str, np.ndarray]:
    """Named variables from the normal distribution at the posterior's mode: quick, and close with thousands of steps."""
    target = prepared(plan_component(counts, frame, PlanPriors()))
    z = np.random.default_rng(0).standard_normal((1, n, target.n_dim))
    return {name: of.values[0] for name, of in target.component.variables(target.raw(z)).items()}
