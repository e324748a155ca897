"""Log likelihoods of the cells from the posterior's named variables alone: slow, and apart from the package's graphs.

``values`` are draws by name, (draws, ...); ``i`` is the draw.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from clvforecast.cells import Cells, ChangeCells, Frame, RateCells, RenewalCells, SizeCells
from clvforecast.likelihoods import (
    delay_log_likelihood,
    event_count_log_likelihood,
    log_beyond,
    log_survival,
    regression_log_likelihood,
    size_log_likelihood,
)

Values = Mapping[str, NDArray[np.float64]]
POISSON_SHAPE = 1e6
LEAST_CHANGE = np.log(0.01)


def first_levels(frame: Frame) -> NDArray[np.int64]:
    """Where each segment column's levels begin among all levels."""
    return np.cumsum([0, *(len(frame.levels[name]) for name in frame.segments)])[:-1].astype(np.int64)


def location(values: Values, frame: Frame, stem: str, cells: RateCells | SizeCells, i: int) -> NDArray[np.float64]:
    """Sum of the segment and size effects of each group."""
    levels = cells.group_levels
    total = np.zeros(len(levels))
    if levels.shape[1]:
        total = values[f"{stem}_segment_effect"][i][levels + first_levels(frame)].sum(axis=1)
    sizes = values.get(f"{stem}_size_effect")
    if sizes is not None:
        total = total + np.where(cells.group_size >= 0, sizes[i][np.maximum(cells.group_size, 0)], 0.0)
    return total


def rate(values: Values, frame: Frame, cells: RateCells, i: int) -> float:
    """Events against exposure.

    n of the lines of a cell are not in the cells; the formula is linear in n but for log Gamma(r + n), which the histogram
    holds: n = 0 for every line, plus what the events add.
    """
    stem = f"{cells.kind}_rate"
    m = values[stem][i] * np.exp(location(values, frame, stem, cells, i))[cells.group]
    r = values[f"{stem}_shape"][i] if cells.kind != "termination" else POISSON_SHAPE
    none = event_count_log_likelihood(0, cells.exposure, r, m)
    events = -cells.n_events * np.log(r / m + cells.exposure)
    counts = cells.hist_count * np.array([np.log(r + np.arange(n)).sum() for n in cells.hist_n])
    return float((cells.n_lines * none + events).sum() + counts.sum())


def size(values: Values, frame: Frame, cells: SizeCells, i: int, icc: float | None = None) -> float:
    """Sizes of one kind; a return's icc, which no variable names, changes nothing."""
    stem = cells.kind if cells.kind == "return_value" else f"{cells.kind}_size"
    mean = values[f"{stem}_mean"][i] + location(values, frame, stem, cells, i)[cells.group]
    share = icc if icc is not None else values[f"{stem}_icc"][i]
    sd = values[f"{stem}_sd"][i]
    sums = (cells.n, cells.n_lines, cells.within, cells.mean, cells.between)
    return float(size_log_likelihood(*sums, mean, sd * np.sqrt(share), sd * np.sqrt(1.0 - share)).sum())


def renewal(values: Values, frame: Frame, cells: RenewalCells, i: int) -> float:
    """Renewed, lapsed or open, cell by cell; the lags that were seen are not in it."""
    levels = cells.group_levels
    at = logit(values["renewal_mu"][i]) + values["renewal_second_spell_effect"][i] * cells.group_second_spell
    at = at + values["renewal_tenure_unknown_effect"][i] * cells.group_unknown
    if levels.shape[1]:
        at = at + values["renewal_segment_effect"][i][levels + first_levels(frame)].sum(axis=1)
    mu, total, c = expit(at), 1.0 / values["renewal_phi"][i] - 1.0, values["renewal_c"][i]
    w = (cells.step_t1**c - cells.step_t0**c) * np.exp(
        values["renewal_term_effect"][i][cells.step_term_class]
        + values["renewal_size_effect"][i][cells.step_size_class]
        + values["renewal_number_effect"][i][cells.step_number]
        + values["renewal_expanded_effect"][i] * cells.step_expanded
        + values["renewal_cut_effect"][i] * cells.step_cut
        + np.append(values["renewal_year_effect"][i], 0.0)[cells.step_year]
    )
    running = np.append(0.0, np.cumsum(w[cells.node_steps]))
    W = running[cells.node_ptr[1:]] - running[cells.node_ptr[:-1]]
    log_S = log_survival(W, (mu * total)[cells.node_group], ((1.0 - mu) * total)[cells.node_group])
    before = log_S[cells.node_n]
    after = np.where(cells.node_n1 >= 0, log_S[np.maximum(cells.node_n1, 0)], np.nan)
    psi = values["notice_share"][i]
    F, G = (_passed(values[name][i], cells) for name in ("booking_lag", "notice_lag"))
    with np.errstate(invalid="ignore", divide="ignore"):
        # the bin of the notice's lag belongs to the lags' own conjugate part
        told = before + np.log(-np.expm1(after - before)) + np.log(psi)
        waiting = delay_log_likelihood(before, after, F, psi, G)
    term = np.select([cells.outcome == 2, cells.outcome == 1], [before, told], waiting)
    earlier = np.where(cells.node_m >= 0, log_S[np.maximum(cells.node_m, 0)], 0.0)
    return float((cells.count * (term - earlier)).sum())


def _passed(shares: NDArray[np.float64], cells: RenewalCells) -> NDArray[np.float64]:
    """Share of the lags that has passed, of each cell."""
    return np.append(0.0, np.cumsum(shares))[cells.f_bin] + cells.f_frac * shares[cells.f_bin]


def change(values: Values, frame: Frame, cells: ChangeCells, i: int) -> float:
    """Direction and size at renewal, and the mixture of amended renewals, row by row."""
    levels = cells.group_levels

    def effect(stem: str) -> NDArray[np.float64]:
        by_segment = np.zeros(len(levels))
        if levels.shape[1]:
            by_segment = values[f"{stem}_segment_effect"][i][levels + first_levels(frame)].sum(axis=1)
        return by_segment + values[f"{stem}_size_class_effect"][i][cells.group_size]

    def log_shares(row: NDArray[np.int8], group: NDArray[np.int32]) -> NDArray[np.float64]:
        odds = values["change_logit"][i][row]
        down, up = odds[..., 0] + effect("change_down")[group], odds[..., 1] + effect("change_up")[group]
        scores = np.stack([down, np.zeros(len(group)), up], axis=-1)
        return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))

    found = (cells.direction_counts * log_shares(cells.direction_row, cells.direction_group)).sum()
    b, sd = {}, {}
    for code, side in ((0, "down"), (1, "up")):
        mean = values[f"change_{side}_size_mean"][i] + effect(f"change_{side}_size")
        rho, gamma = (values[f"change_{side}_size_{part}"][i] for part in ("reversion", "term_slope"))
        b[code] = np.column_stack([mean, np.full_like(mean, rho), np.full_like(mean, gamma)])
        sd[code] = values[f"change_{side}_size_sd"][i]
        mine = cells.size_side == code
        sums = (cells.size_n[mine], cells.size_xx[mine], cells.size_xy[mine], cells.size_yy[mine])
        found += regression_log_likelihood(*sums, b[code][cells.size_group[mine]], sd[code]).sum()
        mine = cells.beyond_side == code
        centre = (cells.beyond_features[mine] * b[code][cells.beyond_group[mine]]).sum(axis=1)
        found -= (cells.beyond_n[mine] * log_beyond(centre, sd[code], LEAST_CHANGE)).sum()
    group, shares = cells.amended_group, log_shares(cells.amended_row, cells.amended_group)
    readings = []
    for reading in (0, 1):
        side = cells.amended_direction[:, reading]
        density = shares[np.arange(len(group)), side] + cells.amended_log_jac[:, reading]
        for code, direction in ((0, 0), (1, 2)):
            x = np.column_stack([np.ones(len(group)), -cells.amended_x[:, reading], cells.amended_logterm])
            centre = (x * b[code][group]).sum(axis=1)
            least = (LEAST_CHANGE - centre) / sd[code]
            seen = np.where(side == direction, cells.amended_y[:, reading], centre + 1.0)
            size_of = stats.truncnorm.logpdf(seen, least, np.inf, loc=centre, scale=sd[code])
            density = density + np.where(side == direction, size_of, 0.0)
        readings.append(density)
    q = expit(logit(values["persistence"][i]) + effect("persistence")[group])
    return float(found + np.logaddexp(np.log(q) + readings[1], np.log1p(-q) + readings[0]).sum())


def terms(values: Values, cells: Cells, i: int) -> float:
    """Term lengths and refunds."""
    share = values["refund_share"][i]
    lengths = (cells.terms.counts * np.log(values["term_length"][i])).sum()
    return float(lengths + cells.refunds.refunded * np.log(share) + cells.refunds.kept * np.log1p(-share))


def of_component(name: str, cells: Cells, frame: Frame) -> Callable[[Values, int], float]:
    """The log likelihood of a component, by its name."""
    if name == "renewal":
        return lambda values, i: renewal(values, frame, cells.renewal, i)
    if name == "change":
        return lambda values, i: change(values, frame, cells.change, i)
    if name == "terms":
        return lambda values, i: terms(values, cells, i)
    if name == "return_value":
        return lambda values, i: size(values, frame, cells.sizes[name], i, icc=0.5)
    kind = name.rpartition("_")[0]
    if name.endswith("_rate"):
        return lambda values, i: rate(values, frame, cells.rates[kind], i)
    return lambda values, i: size(values, frame, cells.sizes[kind], i)
