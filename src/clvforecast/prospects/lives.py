"""The lives of fictional customers: simulated by the ordinary forecast, some accounts at a time, and sorted into draws.

Every offer of the mix gets as many fictional accounts as any draw needs. In each draw a systematic sample says how many customers
sign each offer; those are its first accounts. Under a draw all accounts share the draw's parameters, good and bad years included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.fictional import fictional_ledger
from clvforecast.forecast import Forecast, forecast
from clvforecast.posterior import Posterior
from clvforecast.prospects.offers import members, offsets_of_draws
from clvforecast.simulation.slots import ORIGINS, UNITS_PER_CURRENCY

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
OWN_GROUP = "fictional account"
"""Column by which every account's months are kept apart."""
CHUNK_BYTES = 250e6
MONTHLY_COPIES = 5
"""Arrays of (draws, accounts, months) that are in memory at a time."""


@dataclass(frozen=True)
class Lives:
    """D draws, n customers of the cohort, R customers a draw of the pool, M months of the grid; money in units (`slots`).

    cohort: int64 (D, M) revenue of the cohort; paying: int64 (D, M) its customers with revenue in the month
    cohort_value: (D,) its discounted value with margin, currency
    pool: int64 (D, R, M) revenue of single customers; value: (D, R) discounted with margin, currency
    active: bool (D, R, marks) on the last day of the months ``marks``; by_origin: (8,) mean revenue of a customer, currency
    beyond, active_months: means of a customer; first: the forecast of the first accounts, for what all have alike
    """

    cohort: Longs
    paying: Longs
    cohort_value: Floats
    pool: Longs
    value: Floats
    active: NDArray[np.bool_]
    marks: tuple[int, ...]
    by_origin: Floats
    beyond: float
    active_months: float
    first: Forecast


@dataclass(frozen=True)
class Plan:
    """Who signs what in which draw: (D, offers) counts of the cohort and of the pool, and the accounts that takes, by offer."""

    cohort: Longs
    pool: Longs
    accounts: Longs

    @classmethod
    def of(cls, weights: Floats, n: int, repeats: int, draws: int, seed: int) -> Plan:
        offsets = offsets_of_draws(seed, draws)
        cohort, pool = members(weights, n, offsets), members(weights, repeats, offsets)
        return cls(cohort, pool, np.maximum(cohort.max(axis=0), pool.max(axis=0)))


def accounts_of(offers: pd.DataFrame, accounts: Longs, start: date) -> pd.DataFrame:
    """The fictional accounts, one row each: those of the first offer, then those of the second, …

    Their ids, which their random numbers are keyed by, say the place of the offer and of the account, not what is offered: two
    calls for one offer at two prices compare the same lives.
    """
    offer = np.repeat(np.arange(len(offers)), accounts)
    rank = np.arange(offer.size) - np.repeat(np.cumsum(accounts) - accounts, accounts)
    table = offers.drop(columns="weight").iloc[offer].reset_index(drop=True)
    table["account_id"] = [f"prospect {k:05d}.{j:07d}" for k, j in zip(offer, rank, strict=True)]
    return table.assign(**{OWN_GROUP: table["account_id"], "start": pd.Timestamp(start), "offer": offer, "rank": rank})


def live(
    posterior: Posterior, offers: pd.DataFrame, start: date, n: int, repeats: int, grace_days: int | None, options: Any
) -> Lives:
    """Simulate a cohort of n customers of the mix and, for one customer's figures, a pool of ``repeats`` in every draw.

    ``options`` are those of `forecast`: horizon_months, annual_discount_rate, gross_margin, draws, seed, threads.
    """
    weights = offers["weight"].to_numpy()
    plan = Plan.of(weights, n, repeats, options["draws"], options["seed"])
    people = accounts_of(offers, plan.accounts, start)
    sums: _Sums | None = None
    for rows in _chunks(len(people), options):
        part = people.iloc[rows]
        ledger = fictional_ledger(
            part.drop(columns=["offer", "rank"]), start - timedelta(days=1), posterior.currency, grace_days
        )
        made = forecast(posterior, ledger, keep_draws=True, group_by=[OWN_GROUP], **options)
        sums = sums or _Sums(made, plan, weights)
        for place, (offer, rank) in enumerate(zip(part["offer"], part["rank"], strict=True)):
            sums.add(made, place, offer, rank)
    assert sums is not None  # an offer has an account: there are weights above 0
    return sums.lives()


def _chunks(n_accounts: int, options: Any) -> Iterator[slice]:
    each = max(1, int(CHUNK_BYTES / (8 * MONTHLY_COPIES * options["draws"] * (options["horizon_months"] + 1))))
    return (slice(first, first + each) for first in range(0, n_accounts, each))


class _Sums:
    """Takes in one account after the other."""

    def __init__(self, first: Forecast, plan: Plan, weights: Floats) -> None:
        draws, _, months = first.totals.groups.shape
        size = int(plan.pool[0].sum())
        self.first, self.plan, self.weights = first, plan, weights
        self.slot = np.cumsum(plan.pool, axis=1) - plan.pool  # of the offer's first customer in the pool
        self.cohort = np.zeros((draws, months), dtype=np.int64)
        self.paying = np.zeros((draws, months), dtype=np.int64)
        self.cohort_value = np.zeros(draws)
        self.pool = np.zeros((draws, size, months), dtype=np.int64)
        self.value = np.zeros((draws, size))
        self.active = np.zeros((draws, size, first.draws.sizes["month"]), dtype=np.bool_)
        self.by_origin = np.zeros(len(ORIGINS))
        self.means = np.zeros(2)

    def add(self, made: Forecast, place: int, offer: int, rank: int) -> None:
        units, kept = made.totals.groups[:, place], made.draws
        value = kept["clv"].values[place]
        signed = self.plan.cohort[:, offer] > rank
        self.cohort[signed] += units[signed]
        self.paying[signed] += units[signed] > 0
        self.cohort_value[signed] += value[signed]
        draw = np.flatnonzero(self.plan.pool[:, offer] > rank)
        slot = self.slot[draw, offer] + rank
        self.pool[draw, slot] = units[draw]
        self.value[draw, slot] = value[draw]
        self.active[draw, slot] = kept["mrr"].values[place, draw] > 0.0
        self.by_origin += kept["revenue_by_origin"].values[place, draw].sum(axis=0)
        share = self.weights[offer] / self.plan.accounts[offer]
        self.means += share * made.table[["beyond_horizon", "active_months"]].to_numpy()[place]

    def lives(self) -> Lives:
        return Lives(
            cohort=self.cohort,
            paying=self.paying,
            cohort_value=self.cohort_value,
            pool=self.pool,
            value=self.value,
            active=self.active,
            marks=tuple(self.first.draws["month"].values.tolist()),
            by_origin=self.by_origin / self.value.size,
            beyond=float(self.means[0]),
            active_months=float(self.means[1]),
            first=self.first,
        )


def currency_of(units: Longs) -> Floats:
    """Units of money as currency."""
    return np.asarray(units / UNITS_PER_CURRENCY)
