"""Posterior predictive checks: what the model would have seen in place of the training data, beside what was seen.

Every replicate takes one posterior draw and redraws the data of one kind given the accounts, their exposures and how far each
history went: renewals decision by decision, counts of events, sizes, changes at renewal, term lengths (Gelman, Meng and Stern
1996). A renewal counts when it was booked by the ledger's last day, so that late booking is part of the check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, ndtri
from scipy.special import ndtr as phi_of

from clvforecast.cells import SMALLEST_CHANGE, Frame
from clvforecast.cells.change import UP, Renewals, changes, observed_renewals
from clvforecast.cells.groups import line_levels, line_size_classes
from clvforecast.cells.rates import DAYS_PER_YEAR, line_event_counts
from clvforecast.cells.records import EVENT_KINDS
from clvforecast.cells.renewal import Paths, renewal_paths
from clvforecast.cells.terms import term_cells, term_counts
from clvforecast.errors import ForecastError
from clvforecast.histories import Histories, build_histories
from clvforecast.histories.engine import values
from clvforecast.ledger import Ledger
from clvforecast.likelihoods import log_survival
from clvforecast.posterior import Posterior
from clvforecast.simulation.parameters import Draws, decision_weights, location_table, select_draws
from clvforecast.simulation.slots import Location

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

REPLICATES = 200
MOST_LINES = 20_000
"""Lines that are replicated at most: a random part of a larger ledger tells as much to the eye."""
LEAST_SHARE = 0.05
"""Term lengths rarer than this after a class are counted together."""
LAST_YEAR = 8
COUNTS = ("none", "1", "2", "3 and more")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ROWS = ("first", "after down", "after flat", "after up", "term changed")
DIRECTIONS = ("down", "flat", "up")


@dataclass(frozen=True)
class PredictiveCheck:
    """One check. Made by `predictive_check`.

    Attributes
    ----------
    what : one of `CHECKS`.
    table : one row a figure: group, x, n (observations behind it), observed, and of the replicates lower and upper (90%),
        median, and place, the share of replicates below what was observed (ties half): far from 0 and 1 when all is well.
    unit : of observed and replicated.
    """

    what: str
    table: pd.DataFrame
    unit: str

    def plot(self, ax: Axes | None = None) -> Axes:
        """Observed dots on the replicates' 90% ranges."""
        from clvforecast.report.predictive import plot_check

        return plot_check(self, ax)


def predictive_check(
    posterior: Posterior, ledger: Ledger, what: str, replicates: int = REPLICATES, seed: int = 0
) -> PredictiveCheck:
    """Replicate the training ledger's data of one kind.

    Parameters
    ----------
    posterior
        From `fit`.
    ledger
        The ledger it was fitted on.
    what
        "renewals" (share renewed and booked, by years of tenure), "years" (the same by calendar year), "events" (accounts by
        number of events of each kind), "sizes" (quantiles of event sizes and of changes at renewal, on the model's scales),
        "changes" (directions at renewal by the one before), "terms" (lengths of the next term).
    replicates, seed
        How many, and of their random numbers.

    Raises
    ------
    ForecastError
        `what` is none of these, or the ledger is not the one that was fitted.

    Examples
    --------
    >>> import clvforecast as clv
    >>> clv.predictive_check(posterior, ledger, "renewals").plot()  # doctest: +SKIP
    """
    if what not in CHECKS:
        raise ForecastError(f"what={what!r} is no check; give one of {', '.join(CHECKS)}.")
    trained_on = posterior.idata.attrs.get("fingerprint", "")
    if trained_on and trained_on != ledger.fingerprint:
        raise ForecastError(
            "the ledger is not the one that the posterior was fitted on: a check replicates the training data. Give that "
            "ledger, or fit on this one."
        )
    draws = select_draws(posterior.idata["posterior"].to_dataset(), replicates)
    unit, replicate = CHECKS[what]
    world = _World(build_histories(ledger), posterior.frame, draws, np.random.default_rng(seed))
    return PredictiveCheck(what, replicate(world), unit)


class _World:
    """What every check needs: histories, draws (R, ...), location parameters, and the lines that are used."""

    def __init__(self, histories: Histories, frame: Frame, draws: Draws, rng: np.random.Generator) -> None:
        self.histories, self.frame, self.draws, self.rng = histories, frame, draws, rng
        self.locations = location_table(draws, frame, (), 0)
        self.levels = line_levels(histories, frame)
        n = histories.lines.num_rows
        self.used = np.zeros(n, dtype=bool)
        self.used[rng.permutation(n)[:MOST_LINES]] = True

    def location(self, row: int, line: Longs, size_class: NDArray[np.integer] | None = None) -> Floats:
        """(R, n) the location parameter of lines, with the effect of a size class where it has one."""
        table = self.locations[:, row]
        total = np.repeat(table[:, :1], len(line), axis=1)
        for position, segment in enumerate(self.frame.segments):
            level = self.levels[line, position]
            effect = table[:, self.frame.first_column(segment) + np.maximum(level, 0)]
            total += np.where(level >= 0, effect, 0.0)
        if size_class is not None:
            total += table[:, self.frame.first_size_column + size_class]
        return total


def _summary(group: str, x: str, n: int, observed: float, replicated: Floats) -> dict[str, object]:
    """One row of a check's table."""
    lower, median, upper = np.quantile(replicated, [0.05, 0.5, 0.95])
    place = (replicated < observed - 1e-9).mean() + 0.5 * (np.abs(replicated - observed) <= 1e-9).mean()
    return {
        "group": group, "x": x, "n": n, "observed": observed, "lower": lower, "median": median, "upper": upper, "place": place,
    }  # fmt: skip


@dataclass(frozen=True)
class _Decisions:
    """Decisions that were due (n): years of tenure, calendar year, renewed and booked or not, and the same replicated (R, n)."""

    tenure: Floats
    year: Longs
    renewed: NDArray[np.bool_]
    drawn: NDArray[np.bool_]

    def table(self, label: NDArray[np.integer], name_of: Callable[[int], str]) -> pd.DataFrame:
        """Share renewed and booked by a label."""
        rows = []
        for x in np.unique(label):
            mine = label == x
            observed, replicated = self.renewed[mine].mean(), self.drawn[:, mine].mean(axis=1)
            rows.append(_summary("", name_of(int(x)), int(mine.sum()), observed, replicated))
        return pd.DataFrame(rows)


def _decisions(world: _World) -> _Decisions:
    """Each decision given that it was reached: renewed and booked with probability p F(d)."""
    histories, draws = world.histories, world.draws
    paths = renewal_paths(histories, world.frame)
    observed = paths.length - paths.earlier
    spell = np.repeat(np.arange(len(observed)), observed)
    place = np.arange(len(spell)) - np.repeat(np.cumsum(observed) - observed, observed)
    step = paths.start[spell] + paths.earlier[spell] + place
    outcome, d = values(histories.decisions, "outcome"), values(histories.decisions, "d").astype(float)
    kept = np.flatnonzero(world.used[paths.line[spell]] & (outcome != "terminated") & (d > world.frame.lag_edges[0]))
    log_p = _log_renewal(world, paths, spell[kept], step[kept])
    lags = np.concatenate([np.zeros((len(log_p), 1)), np.cumsum(draws["booking_lag"], axis=1)], axis=1)
    booked = np.stack([np.interp(d[kept], world.frame.lag_edges, row) for row in lags])
    return _Decisions(
        tenure=paths.t1[step[kept]] / 12.0,
        year=paths.year[step[kept]],
        renewed=(outcome == "renewed")[kept],
        drawn=world.rng.random(log_p.shape) < np.exp(log_p) * booked,
    )


def _renewals(world: _World) -> pd.DataFrame:
    """Share renewed and booked by years of tenure."""
    decisions = _decisions(world)
    tenure = np.clip(np.rint(decisions.tenure), 1, LAST_YEAR).astype(int)
    return decisions.table(tenure, lambda x: f"{x}" if x < LAST_YEAR else f"{x} and more")


def _years(world: _World) -> pd.DataFrame:
    """Share renewed and booked by calendar year."""
    decisions = _decisions(world)
    return decisions.table(decisions.year, str)


def _log_renewal(world: _World, paths: Paths, spell: Longs, step: Longs) -> Floats:
    """(R, n) log S(n+1) / S(n) of decisions."""
    draws, frame = world.draws, world.frame
    weights = decision_weights(draws, frame)
    combined = frame.combined_class(*paths.classes.T)
    t0, t1 = paths.t0 / 12.0, paths.t1 / 12.0
    exponent = draws["renewal_c"][:, None]
    year = frame.year_index(paths.year)
    of_year = np.where(year >= 0, np.exp(draws["renewal_year_effect"])[:, year], 1.0)
    w = (t1[None, :] ** exponent - t0[None, :] ** exponent) * weights[:, combined] * of_year
    total = np.concatenate([np.zeros((len(w), 1)), np.cumsum(w, axis=1)], axis=1)
    line, first = paths.line[spell], paths.start[spell]
    second = paths.second[spell]
    unknown = values(world.histories.lines, "tenure_unknown")[line] & ~second
    eta = world.location(Location.RENEWAL, line)
    columns = len(frame.location_columns)
    eta += world.locations[:, Location.RENEWAL, columns - 2, None] * second
    eta += world.locations[:, Location.RENEWAL, columns - 1, None] * unknown
    scale = (1.0 / draws["renewal_phi"] - 1.0)[:, None]
    a, b = expit(eta) * scale, expit(-eta) * scale
    before, after = total[:, step] - total[:, first], total[:, step + 1] - total[:, first]
    return log_survival(after, a, b) - log_survival(before, a, b)


def _events(world: _World) -> pd.DataFrame:
    """Share of accounts with none, one, two, more events of each kind in their years under contract."""
    line = np.flatnonzero(world.used)
    years = values(world.histories.lines, "active_days")[line] / DAYS_PER_YEAR
    size = line_size_classes(world.histories, world.frame)[line]
    counts = line_event_counts(world.histories)[line]
    rows = []
    for position, kind in enumerate(EVENT_KINDS):
        mean = np.exp(world.location(Location.EXPANSION_RATE + position, line, size))
        shape = world.draws[f"{kind}_rate_shape"][:, None]
        drawn = world.rng.poisson(world.rng.gamma(shape, 1.0, mean.shape) / shape * mean * years)
        for k, name in enumerate(COUNTS):
            observed = np.minimum(counts[:, position], len(COUNTS) - 1) == k
            replicated = (np.minimum(drawn, len(COUNTS) - 1) == k).mean(axis=1)
            rows.append(_summary(kind.replace("_", " "), name, len(line), observed.mean(), replicated))
    return pd.DataFrame(rows)


def _sizes(world: _World) -> pd.DataFrame:
    """Quantiles of sizes: each kind's y, and y of raises and cuts at renewal."""
    histories = world.histories
    size_class = line_size_classes(histories, world.frame)
    rows: list[dict[str, object]] = []
    for position, kind in enumerate(EVENT_KINDS):
        table = histories.amendments if position < 2 else histories.one_offs
        mine = (values(table, "kind") == kind) & world.used[values(table, "line")]
        if not mine.any():
            continue
        lines, event = np.unique(values(table, "line")[mine], return_inverse=True)
        sd, icc = world.draws[f"{kind}_size_sd"][:, None], world.draws[f"{kind}_size_icc"][:, None]
        nu = world.location(Location.EXPANSION_SIZE + position, lines, size_class[lines])
        nu = nu + sd * np.sqrt(icc) * world.rng.normal(size=nu.shape)
        drawn = nu[:, event] + sd * np.sqrt(1.0 - icc) * world.rng.normal(size=(len(nu), len(event)))
        rows += _quantile_rows(kind.replace("_", " "), values(table, "y")[mine], drawn)
    renewals = _plain_renewals(world)
    seen = changes(renewals.mrr, renewals.carried[:, 0], renewals.past, world.frame.max_ratio)
    for side, name in enumerate(("down", "up")):
        mine = seen.direction == (UP if side else 0)
        if not mine.any():
            continue
        size = world.frame.size_class_of(renewals.size[mine])
        mean = world.location(Location.CHANGE_DOWN_SIZE + side, renewals.line[mine], size)
        stem = f"change_{name}_size"
        mean = mean - world.draws[f"{stem}_reversion"][:, None] * seen.x[mine]
        mean = mean + world.draws[f"{stem}_term_slope"][:, None] * renewals.log_term[mine]
        sd = world.draws[f"{stem}_sd"][:, None]
        below = phi_of((SMALLEST_CHANGE - mean) / sd)
        drawn = mean + sd * ndtri(below + world.rng.random(mean.shape) * (1.0 - below))
        rows += _quantile_rows("raise at renewal" if side else "cut at renewal", seen.y[mine], drawn)
    return pd.DataFrame(rows)


def _quantile_rows(group: str, seen: Floats, drawn: Floats) -> list[dict[str, object]]:
    found = np.quantile(drawn, QUANTILES, axis=1)
    return [
        _summary(group, f"{quantile:.0%}", len(seen), float(np.quantile(seen, quantile)), found[i])
        for i, quantile in enumerate(QUANTILES)
    ]


def _plain_renewals(world: _World) -> Renewals:
    """Renewals whose ended term had no amendment: what was carried is then known."""
    every = observed_renewals(world.histories)
    kept = ~every.amended & world.used[every.line]
    return Renewals(**{name: getattr(every, name)[kept] for name in Renewals.__dataclass_fields__})


def _changes(world: _World) -> pd.DataFrame:
    """Shares of down, flat and up by the direction of the renewal before."""
    renewals = _plain_renewals(world)
    seen = changes(renewals.mrr, renewals.carried[:, 0], renewals.past, world.frame.max_ratio).direction
    size = world.frame.size_class_of(renewals.size)
    odds = world.draws["change_logit"][:, renewals.row.astype(int)]
    down = np.exp(odds[:, :, 0] + world.location(Location.CHANGE_DOWN, renewals.line, size))
    up = np.exp(odds[:, :, 1] + world.location(Location.CHANGE_UP, renewals.line, size))
    u = world.rng.random(down.shape) * (1.0 + down + up)
    drawn = np.where(u < down, 0, np.where(u < down + 1.0, 1, 2))
    rows = []
    for row, group in enumerate(ROWS):
        mine = renewals.row == row
        for direction, x in enumerate(DIRECTIONS):
            if mine.any():
                replicated = (drawn[:, mine] == direction).mean(axis=1)
                rows.append(_summary(group, x, int(mine.sum()), float((seen[mine] == direction).mean()), replicated))
    return pd.DataFrame(rows)


def _terms(world: _World) -> pd.DataFrame:
    """Shares of the next term's length by the class of the ended one; a last group for returns."""
    frame = world.frame
    counts = term_cells(term_counts(world.histories, frame), frame).counts
    rows = []
    for row, name in enumerate((*(f"after {name} months" for name in frame.term_class_names), "on a return")):
        total = int(counts[row].sum())
        if not total:
            continue
        shares = world.draws["term_length"][:, row]
        drawn = world.rng.multinomial(total, shares / shares.sum(axis=1, keepdims=True)) / total
        observed = counts[row] / total
        often = observed >= LEAST_SHARE
        for value in np.flatnonzero(often):
            rows.append(_summary(name, f"{frame.term_values[value]}", total, observed[value], drawn[:, value]))
        if not often.all():
            rows.append(_summary(name, "others", total, observed[~often].sum(), drawn[:, ~often].sum(axis=1)))
    return pd.DataFrame(rows)


CHECKS: dict[str, tuple[str, Callable[[_World], pd.DataFrame]]] = {
    "renewals": ("share renewed and booked", _renewals),
    "years": ("share renewed and booked", _years),
    "events": ("share of accounts", _events),
    "sizes": ("quantile of the size, on the scale it is modelled on (logarithms; cuts: logit)", _sizes),
    "changes": ("share of renewals", _changes),
    "terms": ("share of renewals", _terms),
}
"""What can be checked: the unit of its figures, and how it is replicated."""
