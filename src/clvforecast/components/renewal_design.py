"""The renewal graph's data: designs of the effects, paths to nodes, and what each cell's last decision says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clvforecast.cells import Frame, RenewalCells
from clvforecast.cells.frame import N_NUMBERS
from clvforecast.components.component import Arrays, Floats, Priors, data_first
from clvforecast.components.pooling import UNTOLD, Pooling, pooled_columns, weighted_mean
from clvforecast.components.renewal_density import N_BENDS
from clvforecast.components.renewal_leans import PRIOR_REFERENCE, Reference, leans
from clvforecast.components.renewal_likelihood import DATA

OPEN, NOTIFIED, UNREACHED = 0, 1, 2
LOG_ZERO = -200.0
"""Logarithm that stands for a tenure of zero years: exp(-200 c) is nothing for any c."""
LEVEL_PER_CLASS = 1.1
"""About -log(p) / (1 - p), p = .8: how far logit(mu) must rise to keep p when all log w rise by one. It only centres the
sampled level (a shift, Jacobian one); the model does not depend on it."""
INFORMATION_PER_DECISION = 0.16
"""A decision with p near .8 carries about p (1 - p) of information on its logit."""
DECISIONS_FOR_C = 5
"""With fewer decisions an account, c and phi cannot be told apart."""


class RenewalPriors(Priors):
    """Priors of renewal."""

    logit_mu_mean: float = Field(
        1.2, description="77% keep a yearly contract, the middle of published cohorts' first year"
    )
    logit_mu_sd: float = Field(1.0, gt=0, description="95% between 32% and 96%")
    phi_alpha: float = Field(1.5, gt=0, description="Beta(1.5, 3): mean 1/3, as cohorts lie between .18 and .75;")
    phi_beta: float = Field(3.0, gt=0, description="no mass at 0 (all alike) nor at 1 (each always or never)")
    log_c_sd: float = Field(0.3, gt=0, description="published cohorts have c of 1.2 to 1.6; 95% between .55 and 1.8")
    segment_sd: float = Field(0.5, gt=0, description="levels differ by half a logit typically")
    spell_sd: float = Field(
        1.0,
        gt=0,
        description="second spells and unknown tenure may differ much: 27% or 98% instead of 77%... by two SDs",
    )
    class_sd: float = Field(0.7, gt=0, description="a class may double or halve the hazard: one SD is a factor of two")
    number_sd: float = Field(
        0.4, gt=0, description="theta and c already bend the curve: a number's own effect is about half"
    )
    size_sd: float = Field(0.5, gt=0, description="size classes differ by a factor of 1.6 typically")
    year_sd: float = Field(
        0.3, gt=0, description="yearly renewal rates of .90 .87 .83 .78 .84 .85, say, differ by .3 in log hazard"
    )
    lag: float = Field(1.0, gt=0, description="Dirichlet(1): every distribution of booking lags alike")
    notice_alpha: float = Field(1.0, gt=0, description="Beta(1, 1): companies tell of all lapses or of few")
    notice_beta: float = Field(1.0, gt=0, description="as notice_alpha")


@dataclass(frozen=True)
class RenewalDesign:
    """What turns raw draws into named variables.

    All effects are one vector (P,): coordinates of the segments | second spell, tenure unknown | coordinates of the size
    classes | coordinates of the years | effects that are not pooled (term classes but the `reference`, the commonest; numbers
    2..5+; expanded; cut). `column_of` (P,) picks the SD of an effect from (segment SDs, size SD, year SD, 1); `base` (P,) is
    its prior SD where that is 1; `guess`, `error`, `shift`, the three leans and `reference_point` only serve the sampler, see
    `pooling` and `renewal_leans`.
    """

    segments: Pooling
    sizes: Pooling
    years: Pooling
    reference: int
    n_term_classes: int
    column_of: NDArray[np.int64]
    guess: Floats
    error: Floats
    base: Floats
    shift: Floats
    lean: Floats
    level_lean: Floats
    c_lean: Floats
    reference_point: Reference
    free_c: bool
    n_lags: int
    uses_notice: bool
    n_decisions: int
    n_notices: int

    @property
    def n_effects(self) -> int:
        return self.base.size

    def split(self, effects: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """The five parts of a vector of effects (..., P)."""
        cuts = np.cumsum([self.segments.n_coords, 2, self.sizes.n_coords, self.years.n_coords])
        segments, flags, sizes, years, fixed = np.split(effects, cuts, axis=-1)
        return segments, flags, sizes, years, fixed


@dataclass(frozen=True)
class Regressors:
    """What the groups (G) and the steps (S) are told apart by, and how many decisions were seen of each.

    flags (G, 2): second spell, tenure unknown; fixed (S, F): see `_fixed_classes`, without the term class `reference`.
    """

    per_group: Floats
    per_step: Floats
    segments: Pooling
    sizes: Pooling
    years: Pooling
    flags: Floats
    fixed: Floats
    reference: int


def renewal_design(
    cells: RenewalCells, frame: Frame, priors: RenewalPriors, reference_point: Reference = PRIOR_REFERENCE
) -> tuple[RenewalDesign, Arrays]:
    """The graph's data and what is needed to name its draws."""
    regressors = _regressors(cells, frame)
    design = _design(cells, frame, priors, regressors, reference_point)
    return design, _arrays(cells, priors, design, regressors)


def _regressors(cells: RenewalCells, frame: Frame) -> Regressors:
    per_group = np.bincount(
        cells.node_group[cells.node_n],
        weights=_decisions_of_cells(cells) * cells.count,
        minlength=len(cells.group_unknown),
    ).astype(float)
    per_step = _times_taken(cells)
    by_term = np.bincount(cells.step_term_class, weights=per_step, minlength=frame.n_term_classes)
    reference = int(np.argmax(by_term))
    return Regressors(
        per_group=per_group,
        per_step=per_step,
        segments=pooled_columns(
            [cells.group_levels[:, s] for s in range(len(frame.segments))],
            [len(frame.levels[name]) for name in frame.segments],
            INFORMATION_PER_DECISION * per_group,
        ),
        sizes=pooled_columns([cells.step_size_class], [frame.n_size_classes], INFORMATION_PER_DECISION * per_step),
        years=pooled_columns([cells.step_year], [len(frame.years)], INFORMATION_PER_DECISION * per_step),
        flags=np.column_stack([cells.group_second_spell, cells.group_unknown]).astype(float),
        fixed=_fixed_classes(cells, frame.n_term_classes, reference),
        reference=reference,
    )


def _design(
    cells: RenewalCells, frame: Frame, priors: RenewalPriors, regressors: Regressors, reference_point: Reference
) -> RenewalDesign:
    segments, sizes, years = regressors.segments, regressors.sizes, regressors.years
    fixed, per_step = regressors.fixed, regressors.per_step
    lean, level_lean, c_lean = leans(
        cells.step_t0,
        cells.step_t1,
        fixed,
        INFORMATION_PER_DECISION * per_step,
        _fixed_sd(fixed.shape[1], frame.n_term_classes, priors),
        priors.log_c_sd,
        reference_point,
    )
    pooled = segments.n_coords + sizes.n_coords + years.n_coords
    return RenewalDesign(
        segments=segments,
        sizes=sizes,
        years=years,
        reference=regressors.reference,
        n_term_classes=frame.n_term_classes,
        **_effects_layout(regressors, frame.n_term_classes, priors),
        shift=np.concatenate(
            [
                segments.mean,
                weighted_mean(regressors.flags, regressors.per_group),
                -LEVEL_PER_CLASS * sizes.mean,
                -LEVEL_PER_CLASS * years.mean,
                -LEVEL_PER_CLASS * weighted_mean(fixed, per_step),
            ]
        ),
        lean=np.vstack([np.zeros((pooled + 2, N_BENDS)), lean]),
        level_lean=-LEVEL_PER_CLASS * level_lean,
        c_lean=c_lean,
        reference_point=reference_point,
        free_c=cells.max_decisions >= DECISIONS_FOR_C,
        n_lags=frame.n_lag_bins,
        uses_notice=frame.uses_notice,
        n_decisions=int(regressors.per_group.sum()),
        n_notices=int(cells.count[cells.outcome == NOTIFIED].sum()),
    )


def _arrays(cells: RenewalCells, priors: RenewalPriors, design: RenewalDesign, regressors: Regressors) -> Arrays:
    """The graph's data."""
    segments = regressors.segments
    group_rows = np.hstack([segments.X, regressors.flags])
    step_rows = np.hstack([regressors.sizes.X, regressors.years.X, regressors.fixed])
    arrays: Arrays = {
        "group_X": group_rows.T,
        "step_X": step_rows.T,
        "group_rows": group_rows,
        "step_rows": step_rows,
        "column_of": design.column_of,
        "guess": design.guess,
        "error": design.error,
        "base": design.base,
        "shift": design.shift,
        "lean": design.lean.T,
        "level_lean": design.level_lean,
        "c_lean": design.c_lean,
        "reference": np.array([design.reference_point.phi]),
        **_path_arrays(cells),
        **_likelihood_arrays(cells),
        **_lag_arrays(cells, design, priors),
        "prior_sd": np.append(np.full(segments.n_sds, priors.segment_sd), [priors.size_sd, priors.year_sd]),
        "prior_mu": np.array([priors.logit_mu_mean, priors.logit_mu_sd]),
        "prior_phi": np.array([priors.phi_alpha, priors.phi_beta]),
    }
    if design.free_c:
        arrays["prior_log_c"] = np.asarray(priors.log_c_sd)
    return data_first(DATA, arrays)


def _effects_layout(regressors: Regressors, n_term_classes: int, priors: RenewalPriors) -> dict[str, Any]:
    """`column_of`, `guess`, `error` and `base` of `RenewalDesign`."""
    segments, sizes, years = regressors.segments, regressors.sizes, regressors.years
    n_fixed = regressors.fixed.shape[1]
    size_column, year_column, no_column = range(segments.n_sds, segments.n_sds + 3)
    ones = np.ones(sizes.n_coords + years.n_coords)
    base = np.concatenate(
        [np.ones(segments.n_coords), [priors.spell_sd] * 2, ones, _fixed_sd(n_fixed, n_term_classes, priors)]
    )
    return {
        "column_of": np.concatenate(
            [
                segments.column_of,
                [no_column] * 2,
                np.full(sizes.n_coords, size_column),
                np.full(years.n_coords, year_column),
                [no_column] * n_fixed,
            ]
        ).astype(np.int64),
        "guess": np.zeros(base.size),
        "error": np.concatenate([segments.error, [UNTOLD] * 2, sizes.error, years.error, [UNTOLD] * n_fixed]),
        "base": base,
    }


def _fixed_sd(n_fixed: int, n_term_classes: int, priors: RenewalPriors) -> Floats:
    """(P,) prior SDs of the effects that are not pooled, in the order of `_fixed_classes`."""
    sd = np.full(n_fixed, priors.class_sd)
    sd[n_term_classes - 1 : n_term_classes - 1 + N_NUMBERS - 1] = priors.number_sd
    return sd


def _path_arrays(cells: RenewalCells) -> Arrays:
    """Steps with their years, and which of them make W of a node: paths share their first steps, see `_paths`."""
    before, step, node_path = _paths(cells)
    return {
        "log_t0": np.where(cells.step_t0 > 0, np.log(np.maximum(cells.step_t0, 1e-300)), LOG_ZERO),
        "log_t1": np.log(cells.step_t1),
        "path_before": before,
        "path_step": step,
        "node_path": node_path,
        "node_group": cells.node_group.astype(np.int64),
    }


def _paths(cells: RenewalCells) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Every distinct path of the nodes, whatever the group, and every beginning of one: a tree whose root is the empty path.

    Returns the path before the last step and the last step, (U,) each, and the path of each node, (V,).
    """
    before, last, node_path = [0], [0], []
    known: dict[tuple[int, int], int] = {}
    steps = cells.node_steps.tolist()
    for start, end in zip(cells.node_ptr[:-1].tolist(), cells.node_ptr[1:].tolist(), strict=True):
        path = 0
        for step in steps[start:end]:
            longer = known.setdefault((path, step), len(before))
            if longer == len(before):
                before.append(path)
                last.append(step)
            path = longer
        node_path.append(path)
    return np.array(before), np.array(last), np.array(node_path, dtype=np.int64)


def _decisions_of_cells(cells: RenewalCells) -> Floats:
    """(C,) decisions of one history that were seen: the renewals after the m earlier ones, and a lapse that was told.

    A decision that is open counts by how much of the booking lag has passed, which its F bin tells roughly: half.
    """
    length = np.diff(cells.node_ptr).astype(float)
    earlier = np.where(cells.node_m >= 0, length[np.maximum(cells.node_m, 0)], 0.0)
    last = np.select(
        [cells.outcome == NOTIFIED, (cells.outcome == OPEN) & (cells.f_bin + cells.f_frac > 0)], [1.0, 0.5], 0.0
    )
    return np.asarray(length[cells.node_n] - earlier + last, float)


def _times_taken(cells: RenewalCells) -> Floats:
    """(S,) how often each step stands in the longest observed path of the histories, counted."""
    longest = np.where(cells.node_n1 >= 0, cells.node_n1, cells.node_n)
    of_node = np.bincount(longest, weights=cells.count, minlength=len(cells.node_group)).astype(float)
    of_path = np.repeat(of_node, np.diff(cells.node_ptr))
    return np.bincount(cells.node_steps, weights=of_path, minlength=len(cells.step_t0)).astype(float)


def _fixed_classes(cells: RenewalCells, n_term_classes: int, reference: int) -> Floats:
    """(S, P) 0/1 design of the effects that are not pooled: term classes but the reference, numbers 2..5+, expanded, cut."""
    others = [t for t in range(n_term_classes) if t != reference]
    terms = cells.step_term_class[:, None] == np.array(others, dtype=int)[None, :]
    numbers = cells.step_number[:, None] == np.arange(1, N_NUMBERS)[None, :]
    return np.column_stack([terms, numbers, cells.step_expanded, cells.step_cut]).astype(float)


def _likelihood_arrays(cells: RenewalCells) -> Arrays:
    """Weights of log S by node (S(n) of all cells less S(m)), and the cells whose last decision says something."""
    V = len(cells.node_group)
    weight = np.bincount(cells.node_n, weights=cells.count, minlength=V).astype(float)
    known = cells.node_m >= 0
    weight -= np.bincount(cells.node_m[known], weights=cells.count[known], minlength=V)
    said = cells.outcome != UNREACHED
    delays, delay_of = _delays(cells, said)
    return {
        "node_weight": weight,
        "before": cells.node_n[said].astype(np.int64),
        "after": cells.node_n1[said].astype(np.int64),
        "cell_count": cells.count[said].astype(float),
        "delay_of": delay_of.astype(np.int64),
        "not_yet": delays[0],
        "told_by": delays[1],
    }


def _delays(cells: RenewalCells, said: np.ndarray) -> tuple[tuple[Floats, Floats], np.ndarray]:
    """Rows (not_yet, told_by), each (distinct delays, J): ``1 - F = not_yet f``, ``G = told_by g``, and a row a cell.

    A notified lapse is surely no late renewal and its notice is out: both rows are zero, which leaves (1 - p).
    """
    J = cells.lag_counts.size
    notified = cells.outcome[said] == NOTIFIED
    keys = np.column_stack([notified, cells.f_bin[said], cells.f_frac[said]])
    distinct, delay_of = np.unique(keys, axis=0, return_inverse=True)
    bins = np.arange(J)[None, :]
    bin_, frac = distinct[:, 1:2], distinct[:, 2:3]
    told_by = np.where(bins < bin_, 1.0, np.where(bins == bin_, frac, 0.0))
    is_open = 1.0 - distinct[:, :1]
    return (is_open * (1.0 - told_by), is_open * told_by), delay_of.ravel()


def _lag_arrays(cells: RenewalCells, design: RenewalDesign, priors: RenewalPriors) -> Arrays:
    """Lags that were seen are counts of a Dirichlet; its stick-breaking fractions are independent betas.

    ``f_j = v_j (1 - v_1) ... (1 - v_{j-1})``, ``v_j ~ Beta(d_j, d_{j+1} + ... + d_J)``, d = prior + counts.
    """
    arrays: Arrays = {}
    if design.n_lags > 1:
        arrays["renewal_sticks"] = sticks(priors.lag + cells.lag_counts.astype(float))
    if design.uses_notice:
        told = cells.outcome == NOTIFIED
        counts = np.bincount(cells.lag_bin[told], weights=cells.count[told], minlength=design.n_lags)
        arrays["prior_notice"] = np.array([priors.notice_alpha, priors.notice_beta])
        arrays["n_notices"] = np.asarray(float(design.n_notices))
        if design.n_lags > 1:
            arrays["notice_sticks"] = sticks(priors.lag + counts.astype(float))
    return arrays


def sticks(d: Floats) -> Floats:
    """(2, J - 1) parameters of the stick-breaking betas of Dirichlet(d)."""
    rest = np.cumsum(d[::-1])[::-1]
    return np.stack([d[:-1], rest[1:]])
