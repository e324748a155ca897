"""Steps and what came of them, counted: all that the model's likelihood needs.

Stated probabilities count to the per cent. The number of cells depends on levels and days, not on steps: hits and misses are
counted by group, delays by kind and day, and only steps whose window is open have cells of group and day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.errors import FitError, PlanError
from clvforecast.events import NOT_RECORDED
from clvforecast.histories.lines import segment_columns
from clvforecast.ledger import Ledger
from clvforecast.plans.lags import lag_edges
from clvforecast.plans.matching import HIT, UNCOVERED, UNWRITTEN, Matches, kind_codes
from clvforecast.plans.records import Plans
from clvforecast.plans.steps import RENEWAL, STEP_KINDS

Longs = NDArray[np.int64]
ROUNDED_SHARE = 0.005
"""SD of what is not known of the logarithm of a share: half a per cent."""
Floats = NDArray[np.float64]

KIND, CSM = "kind", "csm"
LEAST_STATED = 0.01
"""Stated probabilities are taken to lie in [.01, .99]: nobody knows more, and their log odds stay finite."""
UNSTATED = -1
"""Per cent of a step without a stated probability."""
MAX_SHARE = 20.0
"""Actual over planned amount lies between 1 / 20 and 20, in the counts and in what is drawn: beyond are slips of the pen."""


@dataclass(frozen=True)
class PlanFrame:
    """What effects are indexed by: the columns with their levels, the kind first; the window and a renewal's last day in days;
    and the edges of the bins of renewals' delays (`lags`)."""

    columns: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    window_days: int
    renewal_days: int
    lag_edges: tuple[int, ...]

    @property
    def lag_labels(self) -> list[str]:
        """First and last day of every bin of renewals' delays."""
        pairs = zip(self.lag_edges[:-1], self.lag_edges[1:], strict=True)
        return [str(high) if high == low + 1 else f"{low + 1} to {high}" for low, high in pairs]

    @property
    def labels(self) -> list[str]:
        """``column=level`` of every effect, in order."""
        return [f"{column}={level}" for column in self.columns for level in self.levels[column]]

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(column for column in self.columns[1:] if column != CSM)


@dataclass(frozen=True)
class PlanCounts:
    """Cells of the likelihood.

    Attributes
    ----------
    group_levels : (G, columns) level of each group, negative where it has none.
    group_stated : (G,) per cent stated, `UNSTATED` without.
    hits, misses : (G,) steps that came, and whose last day passed without.
    ripe, ripe_hits : (G,) steps whose last day is over, and how many of them came: what a calibration table may count.
    delay_kind, delay_lower, delay_day, delay_n : delays of hits; days from the planned day.
    open_group, open_lower, open_day, open_n : steps not hit by day `open_day`, before their last.
    share_n, share_mean, share_squares : (kinds,) hits with a log share, its mean, and squares about it.
    n_steps : steps that say something.
    n_clipped : shares beyond `MAX_SHARE`.
    """

    group_levels: Longs
    group_stated: Longs
    hits: Floats
    misses: Floats
    ripe: Floats
    ripe_hits: Floats
    delay_kind: Longs
    delay_lower: Longs
    delay_day: Longs
    delay_n: Floats
    open_group: Longs
    open_lower: Longs
    open_day: Longs
    open_n: Floats
    share_n: Floats
    share_mean: Floats
    share_squares: Floats
    n_steps: int
    n_clipped: int


def plan_frame(plans: Plans, ledger: Ledger, segments: tuple[str, ...], matches: Matches) -> PlanFrame:
    """The levels of segments and CSMs among the plans' accounts, and bins for renewals' delays.

    Raises FitError for a column the accounts do not have.
    """
    available = segment_columns(ledger.accounts)
    for name in segments:
        if name not in available:
            raise FitError(
                f"segments={name!r}: the accounts have no such column; they have {', '.join(available) or 'none'}. Give it in "
                "the accounts table of read_ledger."
            )
        if name in (KIND, CSM):
            raise FitError(
                f"segments={name!r}: plans have a column of that name, which is used anyway. Rename the segment."
            )
    levels: dict[str, tuple[str, ...]] = {KIND: STEP_KINDS}
    for name in segments:
        levels[name] = tuple(sorted(set(_segment(plans, ledger, name).to_pylist())))
    if plans.steps["csm"].null_count < len(plans):
        levels[CSM] = tuple(sorted(set(plans.steps["csm"].drop_null().to_pylist())))
    renewed = matches.is_(HIT) & (kind_codes(plans.steps) == RENEWAL)
    edges = lag_edges(matches.delay[renewed], plans.window_days, plans.renewal_days)
    return PlanFrame(tuple(levels), levels, plans.window_days, plans.renewal_days, edges)


def _segment(plans: Plans, ledger: Ledger, name: str) -> pa.ChunkedArray:
    """The account's level of every step."""
    rows = pc.index_in(plans.steps["account_id"], ledger.accounts["account_id"])
    return ledger.accounts[name].take(rows).fill_null(NOT_RECORDED)


def level_texts(plans: Plans, ledger: Ledger, frame: PlanFrame) -> dict[str, pa.ChunkedArray]:
    """The level of every step in every column, null for a step without a CSM. Raises PlanError without a segment's column."""
    missing = [name for name in frame.segments if name not in ledger.accounts.column_names]
    if missing:
        raise PlanError(
            f"the reliability of plans was learned by {', '.join(frame.segments)}, but the accounts have no column "
            f"{missing[0]!r}. Give it in the accounts table of read_ledger."
        )
    return {
        KIND: plans.steps["kind"],
        **{name: _segment(plans, ledger, name) for name in frame.segments},
        **({CSM: plans.steps["csm"]} if CSM in frame.columns else {}),
    }


def level_numbers(texts: dict[str, pa.ChunkedArray], frame: PlanFrame) -> Longs:
    """(steps, columns) place of each step's level, -1 for none or one that the frame does not have."""
    found = [
        pc.index_in(texts[name], pa.array(frame.levels[name], pa.string())).fill_null(-1) for name in frame.columns
    ]
    return np.column_stack([column.to_numpy().astype(np.int64) for column in found])


def clipped_stated(stated: Floats) -> Floats:
    """Stated probabilities within [.01, .99]; NaN stays."""
    return np.clip(stated, LEAST_STATED, 1.0 - LEAST_STATED)


def stated_log_odds(stated: Floats) -> Floats:
    """Log odds of stated probabilities, as `clipped_stated` has them; NaN stays."""
    sure = clipped_stated(stated)
    return np.asarray(np.log(sure) - np.log1p(-sure), dtype=np.float64)


def count_steps(plans: Plans, ledger: Ledger, matches: Matches, frame: PlanFrame) -> PlanCounts:
    """The cells of all steps that were written down by `as_of`, whose window has begun and whose account the ledger had.

    An event counts while its account is under contract: what is learned is the probability that it comes if that lasts.

    A renewal that was booked before its window counts when that begins, as one that was not booked does.
    One that is known to have lapsed counts as one that had not come by `as_of`, until its last day is over: were lapses counted
    from their notice on, while renewals are still to be booked, those that wait would seem to lapse too.
    """
    known = ~matches.is_(UNWRITTEN) & ~matches.is_(UNCOVERED) & (matches.elapsed >= matches.lower)
    known &= matches.is_(HIT) | (matches.exposed >= matches.lower)
    stated = plans.steps["probability"].to_numpy()
    per_cent = np.where(np.isnan(stated), UNSTATED, np.rint(100.0 * clipped_stated(np.nan_to_num(stated)))).astype(
        np.int64
    )
    features = np.column_stack([level_numbers(level_texts(plans, ledger, frame), frame), per_cent])[known]
    groups, group = np.unique(features, axis=0, return_inverse=True)
    group, G = group.ravel(), len(groups)
    hit, ripe = matches.is_(HIT)[known], (matches.exposed >= matches.last)[known]
    lower, exposed, kind = matches.lower[known], matches.exposed[known], kind_codes(plans.steps)[known]
    delays, delay_n = _distinct(np.column_stack([kind, lower, matches.delay[known]])[hit])
    waiting = ~hit & ~ripe
    open_cells, open_n = _distinct(np.column_stack([group, lower, exposed])[waiting])

    def by_group(chosen: NDArray[np.bool_]) -> Floats:
        return np.bincount(group[chosen], minlength=G).astype(float)

    shares, n_clipped = _share_sums(matches.share[known], kind)
    return PlanCounts(
        group_levels=groups[:, :-1],
        group_stated=groups[:, -1],
        hits=by_group(hit),
        misses=by_group(~hit & ripe),
        ripe=by_group(ripe),
        ripe_hits=by_group(hit & ripe),
        delay_kind=delays[:, 0],
        delay_lower=delays[:, 1],
        delay_day=delays[:, 2],
        delay_n=delay_n,
        open_group=open_cells[:, 0],
        open_lower=open_cells[:, 1],
        open_day=open_cells[:, 2],
        open_n=open_n,
        share_n=shares[0],
        share_mean=shares[1],
        share_squares=shares[2],
        n_steps=int(known.sum()),
        n_clipped=n_clipped,
    )


def no_counts(columns: int) -> PlanCounts:
    """Of no steps at all."""
    none, nothing, kinds = np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(len(STEP_KINDS))
    return PlanCounts(
        group_levels=np.zeros((0, columns), dtype=np.int64),
        group_stated=none,
        hits=nothing,
        misses=nothing,
        ripe=nothing,
        ripe_hits=nothing,
        delay_kind=none,
        delay_lower=none,
        delay_day=none,
        delay_n=nothing,
        open_group=none,
        open_lower=none,
        open_day=none,
        open_n=nothing,
        share_n=kinds,
        share_mean=kinds,
        share_squares=kinds,
        n_steps=0,
        n_clipped=0,
    )


def _distinct(rows: Longs) -> tuple[Longs, Floats]:
    found, n = np.unique(rows, axis=0, return_counts=True)
    return found, n.astype(float)


def _share_sums(share: Floats, kind: Longs) -> tuple[tuple[Floats, Floats, Floats], int]:
    """((number, mean, squares about the mean) of log shares by kind, how many were beyond the bounds).

    Amounts that come exactly as planned, as contracts do, would let the SD of log shares go to 0 and the density beyond all
    bounds: a share is taken to be known to `ROUNDED_SHARE`.
    """
    known = np.isfinite(share) & (share > 0.0)
    y, kind = np.log(share[known]), kind[known]
    bound = np.log(MAX_SHARE)
    n_clipped = int((np.abs(y) > bound).sum())
    y = np.clip(y, -bound, bound)
    K = len(STEP_KINDS)
    n = np.bincount(kind, minlength=K).astype(float)
    mean = np.bincount(kind, weights=y, minlength=K) / np.maximum(n, 1.0)
    squares = np.bincount(kind, weights=(y - mean[kind]) ** 2, minlength=K)
    return (n, mean, squares + n * ROUNDED_SHARE**2), n_clipped
