"""What happens to the monthly revenue at a renewal: direction, size, and whether an expansion lasts.

- Direction (down, flat, up against the carried MRR): multinomial logit with its own row of log odds for each previous
  direction (first, down, flat, up) and for renewals whose term length changed.
- Size, given up or down: ``y = mean_g - rho x + gamma log(term ratio) + sd eps``, given that it is beyond the flat band,
  y > log .01; up: y = log(ratio - 1), down: y = logit(1 - ratio). x = log(carried MRR / geometric mean of the spell's
  MRR): what is large for its own past tends back.
- Persistence: the carried MRR of an amended term contains the amendment with probability q. Which it was is not
  seen, so an amended renewal is a mixture of both readings, densities taken in log ratio.

Both log odds, both mean sizes and logit q have effects of the segments and of the ended term's size class: large contracts
are cut more often and raised by less than small ones. One graph holds all three, as the mixture needs the other two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit

from clvforecast.cells import ChangeCells, Frame, coarse_cells
from clvforecast.components.change_density import DENSITY_DATA, N_ROWS, compiled_change_density
from clvforecast.components.change_likelihood import DATA, change_log_likelihood
from clvforecast.components.component import (
    Arrays,
    Component,
    Floats,
    Parameter,
    Priors,
    Raw,
    Shape,
    Variable,
    data_first,
)
from clvforecast.components.pooling import (
    Pooling,
    coords_of,
    effects_of,
    pooled_columns,
    prior_raw,
    refined_pooling,
)
from clvforecast.components.rates import segment_effects

if TYPE_CHECKING:
    import pymc as pm

DOWN, FLAT, UP = 0, 1, 2
SIDES = ("down", "up")
PLACES = ("down", "up", "size_down", "size_up", "persistence")
"""The five location parameters with segment and size effects, in the order of the leading axis of their arrays."""


class ChangePriors(Priors):
    """Priors of the change at renewal; the size's apply to both sides."""

    logit_mean: float = Field(-0.5, description="a little likelier flat (within 1%) than either up or down")
    logit_sd: float = Field(1.5, gt=0, description="95% of the odds against flat between 1 to 30 and 11 to 1")
    direction_effect_sd: float = Field(0.4, gt=0, description="odds differ between levels by a factor of 1.5 typically")
    size_mean: float = Field(-1.5, description="a change of 18% to 22% of the carried revenue")
    size_mean_sd: float = Field(1.5, gt=0, description="95% of the medians between 1% and 82% down, 1% and 450% up")
    size_sd_median: float = Field(0.8, gt=0, description="contracts and subscriptions alike have SDs of .5 to 1.6")
    size_sd_spread: float = Field(
        0.6,
        gt=0,
        description="lognormal, 95% between .25 and 2.6: never zero, as two changes that nearly agree have it",
    )
    reversion_sd: float = Field(
        1.0, gt=0, description="rho = 1 would take back all that is above the account's own past"
    )
    term_slope_sd: float = Field(1.0, gt=0, description="slope 1: the change grows in proportion to the term")
    size_effect_sd: float = Field(0.4, gt=0, description="levels differ by a factor of 1.5 typically")
    persistence_mean: float = Field(0.0, description="logit: an expansion lasts or not, even odds")
    persistence_sd: float = Field(1.5, gt=0, description="95% between 5% and 95%")
    persistence_effect_sd: float = Field(0.5, gt=0, description="levels differ by half a logit typically")


@dataclass(frozen=True)
class ChangeDesign:
    """The poolings of the five places, the weighted mean regressors of each side (2, 2), and the counts behind them."""

    poolings: tuple[Pooling, ...]
    regressor_mean: Floats
    effect_sd: Floats
    n_direction: int
    n_size: tuple[int, int]
    n_amended: int


def change_component(
    cells: ChangeCells, frame: Frame, priors: ChangePriors, poolings: tuple[Pooling, ...] | None = None
) -> Component:
    """The component of the change at renewal; parts without data keep their priors.

    `poolings` replaces the first five, see `pooling.refined_pooling`.
    """
    design = change_design(cells, frame, priors)
    if poolings is not None:
        design = replace(design, poolings=poolings)
    n_data = design.n_direction + design.n_amended

    def prior(rng: np.random.Generator, shape: Shape) -> Raw:
        return _prior_raw(design, priors, rng, shape)

    notes = []
    if len(cells.amended_group) < cells.n_amended:
        notes.append(f"a random {len(cells.amended_group)} of {cells.n_amended} amended renewals")
    if n_data == 0:
        notes.append("no renewal in the data: the prior alone")
    elif design.n_amended == 0:
        notes.append("no amended renewal: persistence is the prior alone")
    K, S = design.poolings[0].n_coords, design.poolings[0].n_sds
    return Component(
        name="change",
        arrays=change_arrays(cells, design, priors),
        build=change_model,
        parameters=(
            Parameter("sd", (len(PLACES), S), "log"),
            Parameter("raw", (len(PLACES), K)),
            Parameter("level", (N_ROWS, 2)),
            Parameter("slope", (2, 2)),
            Parameter("size_level", (2,)),
            Parameter("log_sd", (2,)),
            Parameter("keep"),
        ),
        density=compiled_change_density,
        density_data=DENSITY_DATA,
        prior=prior,
        variables=lambda raw: change_variables(raw, frame, design, priors),
        n_data=n_data,
        closed_form=prior if n_data == 0 else None,
        refined=lambda mode, variance: (change_component(cells, frame, priors, _refined(mode, variance, design)),),
        note="; ".join(notes),
    )


def change_design(cells: ChangeCells, frame: Frame, priors: ChangePriors) -> ChangeDesign:
    """Poolings of the five places: the same columns and the same X, with each place's own data."""
    counts, G = cells.direction_counts.astype(float), len(cells.group_levels)
    amended = np.bincount(cells.amended_group, minlength=G).astype(float)
    levels = [*(cells.group_levels[:, s] for s in range(len(frame.segments))), cells.group_size]
    sizes = [*(len(frame.levels[name]) for name in frame.segments), frame.n_size_classes]
    information = []
    for side in (DOWN, UP):
        # A yes-or-no outcome carries p (1 - p) of information: n_side n_flat / (n_side + n_flat) in all.
        against = counts[:, side] * counts[:, FLAT] / np.maximum(counts[:, side] + counts[:, FLAT], 1.0)
        information.append(np.bincount(cells.direction_group, weights=against, minlength=G) + 0.1 * amended)
    for side in (0, 1):
        mine = cells.size_side == side
        own = np.bincount(cells.size_group[mine], weights=cells.size_n[mine], minlength=G)
        information.append(own.astype(float) + 0.3 * amended)
    information.append(0.1 * amended)
    return ChangeDesign(
        poolings=tuple(
            pooled_columns(levels, sizes, info, order_by=np.sum(information, axis=0)) for info in information
        ),
        regressor_mean=np.stack([_regressor_mean(cells, side) for side in (0, 1)]),
        effect_sd=np.array(
            [priors.direction_effect_sd] * 2 + [priors.size_effect_sd] * 2 + [priors.persistence_effect_sd]
        ),
        n_direction=int(counts.sum()),
        n_size=(_sure_changes(cells, 0, DOWN), _sure_changes(cells, 1, UP)),
        n_amended=len(cells.amended_group),
    )


def _sure_changes(cells: ChangeCells, side: int, direction: int) -> int:
    """Renewals that changed the price to that side, however an amendment before them is read."""
    amended = (cells.amended_direction == direction).all(axis=1).sum()
    return int(cells.size_n[cells.size_side == side].sum() + amended)


def _regressor_mean(cells: ChangeCells, side: int) -> Floats:
    """Mean of (-x, log term ratio) over the renewals of one side; it only centres the sampled level."""
    mine = cells.size_side == side
    n = float(cells.size_n[mine].sum())
    return np.asarray(cells.size_xx[mine][:, 0, 1:].sum(axis=0) / n if n > 0 else np.zeros(2), float)


def change_arrays(cells: ChangeCells, design: ChangeDesign, priors: ChangePriors) -> Arrays:
    """The graph's data; the five poolings are stacked along a leading axis."""
    poolings = design.poolings
    arrays: Arrays = {
        "X": poolings[0].X.T,
        "X_rows": poolings[0].X,
        "X_mean": np.stack([p.mean for p in poolings]),
        "guess": np.stack([p.guess for p in poolings]),
        "error": np.stack([p.error for p in poolings]),
        "column_of": poolings[0].column_of,
        "regressor_mean": design.regressor_mean,
        **_direction_arrays(cells),
        **_size_arrays(cells),
        "prior_logit": np.array([priors.logit_mean, priors.logit_sd]),
        "prior_size": np.array([priors.size_mean, priors.size_mean_sd]),
        "prior_log_sd": np.array([np.log(priors.size_sd_median), priors.size_sd_spread]),
        "prior_slope": np.array([priors.reversion_sd, priors.term_slope_sd]),
        "prior_persistence": np.array([priors.persistence_mean, priors.persistence_sd]),
        "prior_effect": np.repeat(design.effect_sd[:, None], poolings[0].n_sds, axis=1),
    }
    return data_first(DATA, arrays)


def _direction_arrays(cells: ChangeCells) -> Arrays:
    """Distinct (row, group) pairs with their counts, and the position in (direction, pair) of each amended reading.

    Amended readings are flat: all rows with I = 0, then all rows with I = 1.
    """
    row = np.concatenate([cells.direction_row, cells.amended_row]).astype(np.int64)
    group = np.concatenate([cells.direction_group, cells.amended_group]).astype(np.int64)
    pairs, pair = np.unique(np.column_stack([row, group]), axis=0, return_inverse=True)
    pair, D = pair.ravel(), len(cells.direction_row)
    counts = np.zeros((len(pairs), 3))
    np.add.at(counts, pair[:D], cells.direction_counts)
    return {
        "pair_row": pairs[:, 0],
        "pair_group": pairs[:, 1],
        "counts": counts.T.ravel(),
        "amended_pick": (cells.amended_direction.T.astype(np.int64) * len(pairs) + pair[D:]).ravel(),
        "amended_group": cells.amended_group.astype(np.int64),
    }


def _size_arrays(cells: ChangeCells) -> Arrays:
    """Sizes as a few rows of ``y ~ features . (mean_g, rho, gamma)`` with the same sums as all renewals have.

    ``X'X = V L V'`` gives rows ``L^(1/2) V'`` with ``y = L^(-1/2) V' X'y``: then ``|y - X b|^2 = |z - R b|^2 + rest``,
    rest = y'y - z'z. Amended readings have rows of their own, features (1, -x, log term ratio).
    """
    side, group, G = cells.size_side.astype(np.int64), cells.size_group.astype(np.int64), len(cells.group_levels)
    L, V = np.linalg.eigh(cells.size_xx.reshape(-1, 3, 3))
    solid = L > 1e-10 * np.maximum(L[:, -1:], 1e-300)
    root = np.sqrt(np.where(solid, L, 1.0))
    z = np.where(solid, np.einsum("bpk,bp->bk", V, cells.size_xy.reshape(-1, 3)) / root, 0.0)
    R = np.where(solid, root, 0.0)[:, :, None] * V.transpose(0, 2, 1)
    rest = np.maximum(cells.size_yy - (z**2).sum(axis=1), 0.0)
    amended_side = (cells.amended_direction.T == UP).astype(np.int64).ravel()
    amended_group = np.tile(cells.amended_group.astype(np.int64), 2)
    amended = np.stack([np.ones(amended_side.size), -cells.amended_x.T.ravel(), np.tile(cells.amended_logterm, 2)])
    # P(beyond the band) is taken once a coarse cell: first those that only count, then those that amended readings point to.
    # A flat reading has no size; it points to a last cell that is there for nothing else.
    moves = (cells.amended_direction.T != FLAT).ravel()
    near = coarse_cells(np.column_stack([amended_group, amended_side])[moves], amended.T[moves])
    beyond_group = np.concatenate([cells.beyond_group, near.where[:, 0], [0]]).astype(np.int64)
    beyond_side = np.concatenate([cells.beyond_side, near.where[:, 1], [0]]).astype(np.int64)
    amended_beyond = np.full(moves.size, beyond_side.size - 1)
    amended_beyond[moves] = len(cells.beyond_n) + near.cell
    rows = np.repeat(np.arange(len(side)), 3)[solid.ravel()]
    return {
        "size_features": R.reshape(-1, 3)[solid.ravel()].T,
        "size_y": z.ravel()[solid.ravel()],
        "size_side": side[rows],
        "size_at": (side * G + group)[rows],
        "size_n": np.bincount(side, weights=cells.size_n, minlength=2).astype(float),
        "beyond_features": np.concatenate([cells.beyond_features, near.features, [[1.0, 0.0, 0.0]]]).T,
        "beyond_scatter": cells.beyond_scatter.T.astype(float),
        "beyond_side": beyond_side,
        "beyond_at": beyond_side * G + beyond_group,
        "beyond_n": cells.beyond_n.astype(float),
        "size_rest": np.bincount(side, weights=rest, minlength=2).astype(float),
        "amended_features": amended,
        "amended_y": cells.amended_y.T.ravel().astype(float),
        "amended_side": amended_side,
        "amended_at": amended_side * G + amended_group,
        "amended_beyond": amended_beyond,
        "amended_in_group": np.bincount(cells.amended_group, minlength=G).astype(float),
        "amended_moves": moves.astype(float),
        "amended_log_jac": cells.amended_log_jac.T.ravel().astype(float),
    }


def change_model(arrays: Arrays) -> pm.Model:
    """The graph: levels and coordinates with their priors, and the likelihood of direction, size and persistence."""
    import pymc as pm  # takes two seconds, and neither fitting nor scoring needs it
    import pytensor.tensor as pt

    from clvforecast.components.graph import as_data, likelihood_of, sampled_coords

    places, K = arrays["X_mean"].shape
    with pm.Model() as model:
        d = as_data(arrays, DATA)
        effect_sd = pm.HalfNormal("sd", d["prior_effect"], shape=arrays["prior_effect"].shape)
        coords = sampled_coords("raw", effect_sd[:, d["column_of"]], d["guess"], d["error"], (places, K))
        shift = pt.sum(d["X_mean"] * coords, axis=1)
        level = pm.Normal("level", shift[:2] / d["prior_logit"][1], 1.0, shape=(N_ROWS, 2))
        log_odds = d["prior_logit"][0] + d["prior_logit"][1] * level - shift[:2]
        slope = pm.Normal("slope", 0.0, d["prior_slope"], shape=(2, 2))  # rows down, up; columns rho, gamma
        size_shift = shift[2:4] + pt.sum(d["regressor_mean"] * slope, axis=1)
        size_level = pm.Normal("size_level", size_shift / d["prior_size"][1], 1.0, shape=2)
        mean = d["prior_size"][0] + d["prior_size"][1] * size_level - size_shift
        sd = pt.exp(d["prior_log_sd"][0] + d["prior_log_sd"][1] * pm.Normal("log_sd", 0.0, 1.0, shape=2))
        keep = pm.Normal("keep", shift[4] / d["prior_persistence"][1], 1.0)
        logit_q = d["prior_persistence"][0] + d["prior_persistence"][1] * keep - shift[4]
        given = (log_odds, mean, slope, sd, logit_q, coords)
        pm.Potential("log_likelihood", likelihood_of(change_log_likelihood, d, *given))
    return model


def _prior_raw(design: ChangeDesign, priors: ChangePriors, rng: np.random.Generator, shape: Shape) -> Raw:
    p = design.poolings
    sd = np.abs(rng.normal(size=(*shape, len(PLACES), p[0].n_sds))) * design.effect_sd[:, None]
    raw = np.stack([prior_raw(sd[..., i, :], pooling, rng) for i, pooling in enumerate(p)], axis=-2)
    drawn = {
        "sd": sd,
        "raw": raw,
        "slope": rng.normal(size=(*shape, 2, 2)) * np.array([priors.reversion_sd, priors.term_slope_sd]),
        "log_sd": rng.normal(size=(*shape, 2)),
    }
    shift, size_shift = _shifts(drawn, design)
    return {
        **drawn,
        "level": shift[..., None, :2] / priors.logit_sd + rng.normal(size=(*shape, N_ROWS, 2)),
        "size_level": size_shift / priors.size_mean_sd + rng.normal(size=(*shape, 2)),
        "keep": shift[..., 4] / priors.persistence_sd + rng.normal(size=shape),
    }


def _coords(raw: Raw, design: ChangeDesign) -> list[Floats]:
    return [coords_of(raw["raw"][..., i, :], raw["sd"][..., i, :], p) for i, p in enumerate(design.poolings)]


def _refined(mode: Raw, variance: Raw, design: ChangeDesign) -> tuple[Pooling, ...]:
    """`pooling.refined_pooling` for each of the five places."""
    return tuple(
        refined_pooling(mode["raw"][i], variance["raw"][i], mode["sd"][i], pooling)
        for i, pooling in enumerate(design.poolings)
    )


def _shifts(raw: Raw, design: ChangeDesign) -> tuple[Floats, Floats]:
    """What the sampled levels stand above their intercepts: of the five places (.., 5), of the two sizes (.., 2)."""
    shift = np.stack([p.at_mean(c) for c, p in zip(_coords(raw, design), design.poolings, strict=True)], axis=-1)
    return shift, shift[..., 2:4] + (raw["slope"] * design.regressor_mean).sum(axis=-1)


def change_variables(raw: Raw, frame: Frame, design: ChangeDesign, priors: ChangePriors) -> dict[str, Variable]:
    """The named variables of direction, size and persistence."""
    shape, S = raw["keep"].shape, len(frame.segments)
    size_sd = priors.size_sd_median * np.exp(priors.size_sd_spread * raw["log_sd"])
    shift, size_shift = _shifts(raw, design)
    log_odds = priors.logit_mean + priors.logit_sd * raw["level"] - shift[..., None, :2]
    mean = priors.size_mean + priors.size_mean_sd * raw["size_level"] - size_shift
    logit_q = priors.persistence_mean + priors.persistence_sd * raw["keep"] - shift[..., 4]
    directions, amended = design.n_direction + design.n_amended, design.n_amended
    named = {
        "change_logit": Variable(("direction_row", "side"), log_odds, directions),
        "persistence": Variable((), np.asarray(expit(logit_q)), amended),
    }
    for i, side in enumerate(SIDES):
        n = design.n_size[i]
        named[f"change_{side}_size_mean"] = Variable((), mean[..., i], n)
        named[f"change_{side}_size_sd"] = Variable((), size_sd[..., i], n)
        named[f"change_{side}_size_reversion"] = Variable((), raw["slope"][..., i, 0], n)
        named[f"change_{side}_size_term_slope"] = Variable((), raw["slope"][..., i, 1], n)
    stems = ("change_down", "change_up", "change_down_size", "change_up_size", "persistence")
    counts = (directions, directions, *design.n_size, amended)
    for i, (stem, n, coords) in enumerate(zip(stems, counts, _coords(raw, design), strict=True)):
        effects = effects_of(coords, design.poolings[i])
        named[f"{stem}_segment_effect"] = Variable(("segment_level",), segment_effects(effects[:-1], shape), n)
        named[f"{stem}_segment_sd"] = Variable(("segment",), raw["sd"][..., i, :S], n)
        # Not `_size_effect` and `_size_sd`: change_down_size_sd is the SD of the size of a decrease.
        named[f"{stem}_size_class_effect"] = Variable(("size_class",), effects[-1], n)
        named[f"{stem}_size_class_sd"] = Variable((), raw["sd"][..., i, S], n)
    return named


def carried_posterior(log_density: NDArray[np.float64], q: NDArray[np.float64]) -> Floats:
    """Probability that an amended renewal carried its amendment, given the log densities (n, 2) of both readings.

    ``P(I = 1 | new MRR) = q e^{l_1} / (q e^{l_1} + (1 - q) e^{l_0})``.
    """
    gain = np.log(q) - np.log1p(-q) + log_density[:, 1] - log_density[:, 0]
    return np.asarray(expit(gain), float)
