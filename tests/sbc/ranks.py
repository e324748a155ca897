"""One simulation's ranks: of every parameter and log likelihood in a fit, and of latents and money in a forecast."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import named_likelihoods
from clvforecast.components import Component
from clvforecast.errors import ConvergenceError
from clvforecast.forecast import forecast
from clvforecast.posterior import _coordinates
from clvforecast.sampling import Sampled, Settings, sample_component
from clvforecast.simulation.states import States, account_states
from known_world import KnownPosterior, posterior_of

from .company import FRAME, Company, components_of
from .gate import randomised_rank
from .latents import latent_draws

Draws = dict[str, NDArray[np.float64]]

KEPT = 100
"""Draws kept of a fit, evenly thinned: with 400 effective draws or more they are nearly independent."""
HORIZONS = (12, 36, 60)
ACTIVE_AT = (12, 36)
DISCOUNT_RATE = 0.1
TWO_CENTS = 0.02
CONJUGATE_ONLY = ("_rate", "_size", "return_value")
"""Without an event these kinds keep to another prior than with events (`rates._empty_raw`): not ranked then. What data are
left out is decided by the data, which leaves ranks uniform."""


@dataclass(frozen=True)
class Fitted:
    """Thinned draws (KEPT, ...) by name, the components that were not ranked, and those that did not converge."""

    draws: Draws
    components: dict[str, tuple[str, ...]]
    unranked: tuple[str, ...]
    failed: tuple[str, ...]


def fit_company(company: Company, seed: int, settings: Settings, only: tuple[str, ...] = ()) -> Fitted:
    """Sample the components of a company (or `only` some), and thin their draws."""
    draws: Draws = {}
    names: dict[str, tuple[str, ...]] = {}
    unranked, failed = [], []
    for component in components_of(company.cells):
        if only and component.name not in only:
            continue
        try:
            sampled = sample_component(component, settings, lambda message: None, _coordinates(FRAME))
        except ConvergenceError:
            failed.append(component.name)
            continue
        thinned = _thinned(sampled)
        draws |= thinned
        names[component.name] = tuple(thinned)
        if not _is_ranked(component, company):
            unranked.append(component.name)
    return Fitted(draws, names, tuple(unranked), tuple(failed))


def _thinned(sampled: Sampled) -> Draws:
    found = {}
    for name, variable in sampled.variables.items():
        values = variable.values.reshape(-1, *variable.values.shape[2:])
        found[name] = values[np.arange(KEPT) * len(values) // KEPT]
    return found


def _is_ranked(component: Component, company: Company) -> bool:
    if component.name == "renewal":  # effects of term classes are against the commonest, which must be the truth's
        steps = company.cells.renewal.step_term_class
        return bool(np.bincount(steps[company.cells.renewal.node_steps], minlength=2).argmax() == 0)
    return component.n_data > 0 or not component.name.endswith(CONJUGATE_ONLY)


def parameter_ranks(company: Company, fitted: Fitted, rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """(quantity, u) of every scalar parameter and of each component's log likelihood."""
    for component, names in fitted.components.items():
        if component in fitted.unranked:
            continue
        for name in names:
            u = randomised_rank(fitted.draws[name], company.parameters[name], rng)
            flat = fitted.draws[name].reshape(KEPT, -1)
            for position, index in enumerate(np.ndindex(u.shape)):
                if np.ptp(flat[:, position]) > 0:  # a reference class is zero by definition
                    yield f"{name}{list(index) if index else ''}", float(u[index])
        value = named_likelihoods.of_component(component, company.cells, FRAME)
        truth = {name: np.asarray(company.parameters[name])[None] for name in names}
        values = np.array([value(fitted.draws, i) for i in range(KEPT)])
        if np.ptp(values) > 0:
            yield f"log likelihood of {component}", float(randomised_rank(values, value(truth, 0), rng))


def forecast_ranks(company: Company, draws: Draws, seed: int, rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """(quantity, u) of an account's latents, and of money at the horizons: of an account, and of the portfolio.

    The account of the money is any of them.
    """
    posterior = posterior_of(draws, FRAME, company.truth)
    states = account_states(company.histories, FRAME)
    yield from _latent_ranks(company, posterior, states, seed, rng)
    some = int(rng.integers(len(states.account_ids)))
    for horizon in HORIZONS:
        made = forecast(
            posterior, company.ledger, horizon_months=horizon, annual_discount_rate=DISCOUNT_RATE, draws=KEPT, seed=seed,
            keep_draws=True,
        )  # fmt: skip
        accounts = made.draws["account"].values
        for what, values in (("revenue", made.draws["revenue"].values), ("discounted", made.draws["clv"].values)):
            actual = actual_money(company, horizon, discounted=what == "discounted").loc[accounts].to_numpy()
            yield (
                f"{what} of an account, {horizon} months",
                float(randomised_rank(values[some], actual[some], rng, TWO_CENTS)),
            )
            yield (
                f"{what} of all accounts, {horizon} months",
                float(randomised_rank(values.sum(axis=0), actual.sum(), rng)),
            )
    # of the last of them, 60 months: revenue hardly tells parameters that all accounts share from chance, their number does
    for horizon in ACTIVE_AT:
        alive = (made.draws["mrr"].sel(month=horizon).values > 0).sum(axis=0)
        yield (
            f"accounts active, {horizon} months",
            float(randomised_rank(alive, active_accounts(company, horizon), rng)),
        )


def _latent_ranks(
    company: Company, posterior: KnownPosterior, states: States, seed: int, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    """Latents of one account and their means over all, of the accounts whose first contract's decision is open.

    The mean is the sharper of the two: an error that all accounts share stands out of what is uncertain of each.
    """
    usual = states.account[(states.status == 0) & (states.spell == 0)]
    if not usual.size:
        return
    one = int(rng.integers(usual.size))
    truth = company.truth.latents.set_index("account_id").loc[[states.account_ids[account] for account in usual]]
    for name, values in latent_draws(states, posterior, FRAME, usual, KEPT, seed).items():
        actual = truth[name].to_numpy()
        yield f"latent {name}", float(randomised_rank(values[:, one], actual[one], rng))
        yield f"latent {name}, mean of accounts", float(randomised_rank(values.mean(axis=1), actual.mean(), rng))


def actual_money(company: Company, horizon: int, discounted: bool) -> pd.Series:
    """What every account brought in the months after `as_of`, currency; what is booked late counts on its booking day.

    Discounted month by month, at the middle of the month's part of the window, from the items of the truth: with nothing of
    the package's calendar in it, so that a fault there is seen.
    """
    truth = company.truth
    if not discounted:
        return truth.revenue(horizon).set_index("account_id").sum(axis=1)
    items = truth.items
    start, end, booked, cents = (items[name].to_numpy() for name in ("start_day", "end_day", "booked_day", "cents"))
    length = np.maximum(end - start, 1)
    bounds = month_bounds(truth.as_of, horizon)
    origin = bounds[0]
    total = np.zeros(len(items))
    for first, last in pairwise(bounds):
        years = ((first + last) / 2.0 - origin) / 365.25
        served = np.clip(np.minimum(end, last) - np.maximum(start, first), 0, None) / length
        at_once = (end <= start) & (start >= first) & (start < last)
        before = np.clip(np.minimum(end, origin) - start, 0, None) / length
        before = np.where(end <= start, (start < origin).astype(float), before)
        late = (booked >= first) & (booked < last)
        share = np.where(end <= start, at_once, served) + late * before
        total += (1.0 + DISCOUNT_RATE) ** -years * cents / 100.0 * share
    by_account = pd.Series(total).groupby(items["account_id"].to_numpy()).sum()
    return by_account.reindex(truth.accounts["account_id"], fill_value=0.0)


def active_accounts(company: Company, months: int) -> int:
    """Accounts under contract on the last day of so many months after `as_of`."""
    day = month_bounds(company.truth.as_of, months)[-1] - 1
    items = company.truth.items
    terms = items[items["kind"].isin(["initial", "renewal"]) & (items["start_day"] <= day) & (items["end_day"] > day)]
    ended = items[(items["kind"] == "churn") & (items["start_day"] <= day) & (items["end_day"] > items["start_day"])]
    both = terms.merge(ended, on=["account_id", "end_day"], suffixes=("", "_of_churn"))
    cut_short = both.loc[both["start_day_of_churn"] >= both["start_day"], "event_id"]
    return int(terms.loc[~terms["event_id"].isin(cut_short), "account_id"].nunique())


def month_bounds(as_of: dt.date, months: int) -> list[int]:
    """The day after `as_of`, the first day of every month after it, and the day on which so many months are over.

    For an `as_of` at the end of a month, as here; days since 1970-01-01.
    """
    first = as_of + dt.timedelta(days=1)
    if first.day != 1:
        raise AssertionError(f"{as_of} is not the end of a month")
    count = 12 * first.year + first.month - 1
    days = [dt.date(month // 12, month % 12 + 1, 1) for month in range(count, count + months + 1)]
    return [(day - dt.date(1970, 1, 1)).days for day in days]


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers of one simulation and one purpose."""
    digest = hashlib.blake2b(purpose.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])
