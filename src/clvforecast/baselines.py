"""What is commonly done instead: point formulas of customer-success tools, resampling, and the classical models.

A baseline sees what was known at an origin (`Known`) and gives revenue draws (accounts, draws) of a window; a point
forecast is a single draw. None of them knows of late booking: a decision that is `OVERDUE_DAYS` past its date and not
booked counts as a lapse, one that is less late as still to come.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize

from clvforecast.histories import Histories
from clvforecast.likelihoods import log_lapse, log_survival
from clvforecast.simulation.calendar import DAYS_PER_MONTH, add_months

Floats = NDArray[np.float64]

OVERDUE_DAYS = 92
HAND_SET_RENEWAL = 0.70
"""The renewal probability that customer-success tools fill in where nobody sets one."""
RESAMPLED_DRAWS = 500
LEAST_STRATUM = 30
"""Past accounts of which resampling needs at least so many of the same kind; else it takes those of all kinds."""
MOST_RENEWALS = 60


@dataclass(frozen=True)
class Known:
    """What a baseline may know.

    Attributes
    ----------
    histories : the contracts as known at the origin.
    account_ids : the accounts to forecast, in order.
    window_months : months of the window, which begins the day after the origin.
    past : (origin months ago) -> histories as known then, and revenue (accounts of those histories,) of the window that began
        then, as known at the origin.
    purchases : account_id, day and amount of every event with money coming in, as known at the origin.
    seed : of resampling.
    """

    histories: Histories
    account_ids: pd.Index
    window_months: int
    past: Callable[[int], tuple[Histories, pd.Series] | None]
    purchases: pd.DataFrame
    seed: int

    @property
    def start(self) -> int:
        """First day of the window."""
        return self.histories.origin_day

    @property
    def end(self) -> int:
        """The day after the window's last."""
        return int(add_months(self.start, self.window_months))

    @cached_property
    def lines(self) -> pd.DataFrame:
        """`last_terms` of every line that belongs to an account to forecast."""
        table = last_terms(self.histories)
        return table[table["account_id"].isin(self.account_ids)]

    def by_account(self, of_line: ArrayOfLines) -> Floats:
        """Sum over the lines of each account, (accounts,)."""
        summed = pd.Series(np.asarray(of_line, float), index=self.lines["account_id"]).groupby(level=0).sum()
        return np.asarray(summed.reindex(self.account_ids, fill_value=0.0), float)


type ArrayOfLines = Floats | pd.Series
Baseline = Callable[[Known], Floats]


def last_terms(histories: Histories) -> pd.DataFrame:
    """The last known term of every line: account_id, start_day, end_day, term_days, mrr (with its amendments), n (renewals of
    its spell, those before the first seen term included), and whether the line is alive: not notified, not terminated, not
    more than `OVERDUE_DAYS` overdue.
    """
    terms = histories.terms.to_pandas()
    last = terms[terms["last_in_line"]].set_index("line")
    decided = histories.decisions.to_pandas().set_index("term").reindex(last["term"])
    lines = histories.lines.to_pandas().set_index("line")
    days = (last["end_day"] - last["start_day"]).clip(lower=1)
    overdue = histories.origin_day - last["end_day"]
    gone = decided["outcome"].isin(["notified", "terminated"]).to_numpy() | (last["stop_day"] < last["end_day"])
    return pd.DataFrame(
        {
            "account_id": lines["account_id"].reindex(last.index),
            "start_day": last["start_day"],
            "end_day": last["end_day"],
            "term_days": days,
            "mrr": (last["amount"] + last["amend"]) / days * DAYS_PER_MONTH,
            "n": last["k"] - 1 + lines["observed_from"].reindex(last.index).fillna(0).where(last["spell"] == 0, 0),
            "alive": ~gone & (overdue <= OVERDUE_DAYS),
        }
    ).reset_index(drop=True)


def historical_rate(histories: Histories) -> float:
    """Renewed over all decisions that are more than `OVERDUE_DAYS` old; one half of nothing."""
    decisions = histories.decisions.to_pandas()
    old = decisions.loc[decisions["d"] > OVERDUE_DAYS, "outcome"]
    renewed, lapsed = int((old == "renewed").sum()), int(old.isin(["open", "notified"]).sum())
    return (renewed + 1.0) / (renewed + lapsed + 2.0)


def last_mrr_by_rate(known: Known) -> Floats:
    """Last MRR, each further term weighted with the share of all past decisions that were renewals."""
    return _renewing(known, np.full(len(known.lines), historical_rate(known.histories)))


def hand_set(known: Known) -> Floats:
    """The same with a renewal probability of 70%."""
    return _renewing(known, np.full(len(known.lines), HAND_SET_RENEWAL))


def _renewing(known: Known, probability: Floats) -> Floats:
    """Last MRR until the term's end, and then each further term of that length with one more factor of the probability."""
    return known.by_account(_expected(known, np.cumprod(np.tile(probability, (MOST_RENEWALS, 1)), axis=0)))[:, None]


def _expected(known: Known, survival: Floats) -> Floats:
    """Expected revenue of every line: MRR x (days still booked, and days of the j-th next term x survival[j - 1])."""
    lines = known.lines
    start, end, days = (lines[name].to_numpy() for name in ("start_day", "end_day", "term_days"))
    served = np.maximum(np.minimum(end, known.end) - np.maximum(start, known.start), 0).astype(float)
    for j in range(MOST_RENEWALS):
        first, last = end + j * days, end + (j + 1) * days
        overlap = np.minimum(last, known.end) - np.maximum(first, known.start)
        served += np.maximum(overlap, 0) * survival[j]
    return np.asarray(lines["mrr"] / DAYS_PER_MONTH * served * lines["alive"], float)


def trailing_churn(known: Known) -> Floats:
    """ARPA / churn, cut at the window: MRR x (1 - (1 - churn)^months) / churn, churn the last year's monthly share lost."""
    histories, lines = known.histories, known.lines
    last = histories.origin_day - OVERDUE_DAYS
    year_ago = last - 365
    terms = histories.terms.to_pandas()
    active = terms.loc[(terms["start_day"] <= year_ago) & (terms["stop_day"] > year_ago), "line"].unique()
    decisions = histories.decisions.to_pandas().merge(terms[["term", "stop_day"]], on="term")
    gone = decisions["outcome"].isin(["open", "notified", "terminated"])
    gone &= (decisions["stop_day"] > year_ago) & (decisions["stop_day"] <= last)
    lost = decisions.loc[gone & decisions["line"].isin(active), "line"].nunique()
    churn = 1.0 - (1.0 - min(lost / max(len(active), 1), 0.99)) ** (1.0 / 12.0)
    months = (1.0 - (1.0 - churn) ** known.window_months) / churn if churn > 0.0 else float(known.window_months)
    return known.by_account(lines["mrr"] * months * lines["alive"])[:, None]


def sbg(known: Known) -> Floats:
    """Shifted beta-geometric by maximum likelihood (Fader and Hardie 2007), times the last MRR.

    Every decision counts alike, n renewals so far: P(j more) = S(n + j) / S(n), with those before the first seen term.
    """
    a, b = _sbg_estimates(*_spells(known.histories))
    ahead = np.arange(1, MOST_RENEWALS + 1)[:, None]
    now = known.lines["n"].to_numpy(float)
    survival = np.exp(log_survival(now + ahead, a, b) - log_survival(now, a, b))
    return known.by_account(_expected(known, survival))[:, None]


def _spells(histories: Histories) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Of every spell: its renewals, whether it is alive, and the renewals before it was first seen."""
    terms = histories.terms.to_pandas()
    last = terms.groupby(["line", "spell"]).tail(1)
    observed_from = histories.lines.to_pandas().set_index("line")["observed_from"].fillna(0)
    before = observed_from.reindex(last["line"]).to_numpy(float) * (last["spell"] == 0).to_numpy()
    alive = last["last_in_line"].to_numpy(bool, copy=True)
    alive[alive] = last_terms(histories)["alive"].to_numpy(bool)
    return last["k"].to_numpy(float) - 1.0 + before, alive, before


def _sbg_estimates(n: Floats, alive: NDArray[np.bool_], before: Floats) -> tuple[float, float]:
    """(a, b) of theta ~ Beta(a, b): alive S(n), else S(n) - S(n + 1), over S(before)."""

    def loss(logs: Floats) -> float:
        a, b = np.exp(logs)
        log_S = log_survival(n, a, b)
        last = np.where(alive, log_S, log_lapse(log_S, log_survival(n + 1.0, a, b)))
        return -float(np.sum(last - log_survival(before, a, b)))

    found = minimize(loss, np.log([3.0, 1.0]), method="L-BFGS-B", bounds=[(-7.0, 7.0)] * 2)
    return float(np.exp(found.x[0])), float(np.exp(found.x[1]))


def resampled_paths(known: Known) -> Floats:
    """What accounts in the same position earned before, over their last MRR: the window's revenue a month of MRR, drawn anew.

    Positions: lapsed, overdue, term ends within the window, term ends later. Past windows that were over by the origin, a
    year apart, give the ratios; money on no MRR is not drawn.
    """
    rng, positions = np.random.default_rng(known.seed), _positions(known.histories, known.window_months)
    pools: dict[str, list[Floats]] = {}
    for months in range(known.window_months, known.window_months + 61, 12):
        found = known.past(months)
        if found is None:
            break
        histories, revenue = found
        then = _positions(histories, known.window_months).join(revenue.rename("revenue"))
        then = then[then["mrr"] > 0.0]
        for position, rows in then.groupby("position"):
            pools.setdefault(str(position), []).append((rows["revenue"] / rows["mrr"]).to_numpy(float))
    if not pools:
        return np.full((len(known.account_ids), 1), np.nan)
    ratios = {position: np.concatenate(parts) for position, parts in pools.items()}
    everyone = np.concatenate(list(ratios.values()))
    draws = np.zeros((len(known.account_ids), RESAMPLED_DRAWS))
    here = positions.reindex(known.account_ids)
    for i, (position, mrr) in enumerate(zip(here["position"], here["mrr"].fillna(0.0), strict=True)):
        pool = ratios.get(position, everyone)
        draws[i] = mrr * rng.choice(pool if len(pool) >= LEAST_STRATUM else everyone, RESAMPLED_DRAWS)
    return draws


def _positions(histories: Histories, window_months: int) -> pd.DataFrame:
    """By account: the last MRR of its lines together, and where its latest term stands."""
    table = last_terms(histories)
    end = int(add_months(histories.origin_day, window_months))
    # Of an account with a live line the live lines, of another all that it had.
    table = table[table["alive"] | ~table.groupby("account_id")["alive"].transform("any")]
    latest = table.groupby("account_id").agg(mrr=("mrr", "sum"), end_day=("end_day", "max"), alive=("alive", "any"))
    position = np.select(
        [~latest["alive"], latest["end_day"] <= histories.origin_day, latest["end_day"] < end],
        ["lapsed", "overdue", "ends within the window"],
        "ends later",
    )
    return latest.assign(position=position)[["mrr", "position"]]


def purchase_models(known: Known) -> Floats:
    """BG/NBD and Gamma-Gamma of the `lifetimes` package on the ledger's bookings: expected purchases x expected amount.

    (Fader, Hardie and Lee 2005; Fader and Hardie 2013.) Every day with money coming in is a purchase. NaN where the ledger
    has too few repeat purchases for either model to converge.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifetimes import BetaGeoFitter, GammaGammaFitter
        from lifetimes.utils import ConvergenceError

    daily = known.purchases.groupby(["account_id", "day"], as_index=False)["amount"].sum()
    first = daily.groupby("account_id")["day"].transform("min")
    repeat = daily[daily["day"] > first].groupby("account_id")["amount"].agg(["size", "mean"])
    spans = daily.groupby("account_id")["day"].agg(["min", "max"])
    frequency = repeat["size"].reindex(spans.index, fill_value=0).astype(float)
    recency = (spans["max"] - spans["min"]) / DAYS_PER_MONTH
    age = (known.start - spans["min"]) / DAYS_PER_MONTH
    amount, typical = repeat["mean"].reindex(spans.index), float(daily["amount"].mean())
    bought = (frequency > 0) & (amount > 0)
    with warnings.catch_warnings():  # lifetimes is of the time of older NumPy and pandas; its results are checked below
        warnings.simplefilter("ignore")
        try:
            with redirect_stdout(StringIO()):  # what does not converge is printed by lifetimes; here it is NaN
                counts = BetaGeoFitter(penalizer_coef=0.01).fit(frequency, recency, age)
                money = GammaGammaFitter(penalizer_coef=0.01).fit(
                    frequency[bought], amount[bought] / typical, q_constraint=True
                )
        except (ConvergenceError, ValueError):  # ValueError: no repeat purchase at all
            return np.full((len(known.account_ids), 1), np.nan)
        purchases = counts.conditional_expected_number_of_purchases_up_to_time(
            float(known.window_months), frequency, recency, age
        )
        worth = money.conditional_expected_average_profit(frequency, (amount / typical).fillna(0.0)) * typical
    # lifetimes' hypergeometric function overflows for accounts with very many purchases: they buy on at their own rate.
    plain = frequency / age.clip(lower=1.0) * known.window_months
    purchases = pd.Series(np.asarray(purchases, float), index=spans.index).fillna(plain)
    expected = pd.Series(np.asarray(purchases * worth, float), index=spans.index)
    return np.asarray(expected.reindex(known.account_ids, fill_value=0.0), float)[:, None]


BASELINES: dict[str, Baseline] = {
    "last MRR x renewal rate": last_mrr_by_rate,
    "last MRR x 70%": hand_set,
    "ARPA / churn": trailing_churn,
    "resampled paths": resampled_paths,
    "sBG x last MRR": sbg,
    "BG/NBD x Gamma-Gamma": purchase_models,
}
