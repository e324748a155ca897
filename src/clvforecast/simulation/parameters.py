"""From a posterior (named, labelled) to the kernel's arrays: one row a draw, in the order of the location layout."""

import hashlib

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from clvforecast.cells import Frame
from clvforecast.cells.frame import N_NUMBERS
from clvforecast.cells.records import EVENT_KINDS
from clvforecast.errors import ForecastError
from clvforecast.simulation.slots import Location
from clvforecast.simulation.structures import Classes, NewLevels, Parameters

RATE_KINDS = (*EVENT_KINDS, "reactivation", "termination")
LONGEST_MONTHS = 1200
LATER_YEARS = 10
"""Calendar years after the horizon that have effects of their own: those of decisions that are open there."""

# Location parameter -> (population variable, its link, prefix of its effects).
POPULATION = {
    Location.RENEWAL: ("renewal_mu", "logit", "renewal"),
    **{
        row: (f"{kind}_rate", "log", f"{kind}_rate")
        for row, kind in zip(range(Location.EXPANSION_RATE, Location.EXPANSION_SIZE), RATE_KINDS, strict=True)
    },
    **{
        row: (f"{kind}_size_mean", "identity", f"{kind}_size")
        for row, kind in zip(range(Location.EXPANSION_SIZE, Location.RETURN_VALUE), EVENT_KINDS, strict=True)
    },
    Location.RETURN_VALUE: ("return_value_mean", "identity", "return_value"),
    Location.CHANGE_DOWN: (None, "identity", "change_down"),
    Location.CHANGE_UP: (None, "identity", "change_up"),
    Location.CHANGE_DOWN_SIZE: ("change_down_size_mean", "identity", "change_down_size"),
    Location.CHANGE_UP_SIZE: ("change_up_size_mean", "identity", "change_up_size"),
    Location.PERSISTENCE: ("persistence", "logit", "persistence"),
}
# Event rates and sizes go by the size class of the line's first base, the change at renewal by that of the ended term; the
# renewal's own size effect is in `weight`.
WITH_SIZE_CLASS = frozenset(
    {
        *range(Location.EXPANSION_RATE, Location.REACTIVATION_RATE),
        Location.TERMINATION_RATE,
        *range(Location.EXPANSION_SIZE, Location.RETURN_VALUE),
        *range(Location.CHANGE_DOWN, len(Location)),
    }
)

YEAR = "renewal_year"
"""What the effects of calendar years are keyed by."""

Draws = dict[str, NDArray[np.float64]]


def select_draws(posterior: xr.Dataset, draws: int) -> Draws:
    """``draws`` of the posterior's draws, evenly spaced over its chains, as arrays with the draw first."""
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    if not 1 <= draws <= total:
        raise ForecastError(
            f"draws={draws}: the posterior holds {total} draws. Ask for 1 to {total}, or fit with more draws."
        )
    chosen = np.floor(np.arange(draws) * (total / draws)).astype(np.int64)
    # Chain by chain: an even step through all of them takes its share of each.
    return {
        str(name): np.asarray(values.transpose("chain", "draw", ...).values).reshape(total, *values.shape[2:])[chosen]
        for name, values in posterior.data_vars.items()
    }


def unseen_effect(seed: int, component: str, column: str, level: str, sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Effect of a level never seen in training, Normal(0, s) a draw, keyed by (seed, component, level) alone."""
    text = "\x1f".join((str(seed), component, column, level)).encode()
    key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
    return sd * np.random.Generator(np.random.Philox(key=key)).standard_normal(sd.size)


def _link(values: NDArray[np.float64], link: str) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):  # a rate of exactly 0 is -inf here and 0 again in the kernel
        if link == "logit":
            return np.log(values) - np.log1p(-values)
        return np.log(values) if link == "log" else values


def location_table(draws: Draws, frame: Frame, new_levels: NewLevels, seed: int) -> NDArray[np.float64]:
    """(D, 17, C) additive location parameters: intercept, segment levels, size classes, second spell, unknown, unseen levels."""
    n_draws = draws["renewal_mu"].shape[0]
    n_columns = len(frame.location_columns)
    n_levels = frame.first_size_column - 1
    table = np.zeros((n_draws, len(Location), n_columns + len(new_levels)))
    for row, (population, link, prefix) in POPULATION.items():
        if population is not None:
            table[:, row, 0] = _link(draws[population], link)
        if n_levels:
            table[:, row, 1 : 1 + n_levels] = draws[f"{prefix}_segment_effect"]
        if row in WITH_SIZE_CLASS:
            kind = "size_class_effect" if row >= Location.CHANGE_DOWN else "size_effect"
            sizes = draws[f"{prefix}_{kind}"]
            table[:, row, frame.first_size_column : frame.first_size_column + frame.n_size_classes] = sizes
        for position, (column, level) in enumerate(new_levels):
            sd = draws[f"{prefix}_segment_sd"][:, frame.segments.index(column)]
            # The intercept is the mean of the L levels seen, itself uncertain by s²/L about the mean of all levels.
            spread = sd * np.sqrt(1.0 + 1.0 / len(frame.levels[column]))
            table[:, row, n_columns + position] = unseen_effect(seed, prefix, column, level, spread)
    table[:, Location.RENEWAL, n_columns - 2] = draws["renewal_second_spell_effect"]
    table[:, Location.RENEWAL, n_columns - 1] = draws["renewal_tenure_unknown_effect"]
    return table


def decision_weights(draws: Draws, frame: Frame) -> NDArray[np.float64]:
    """(D, classes) exp(term + size + number + expanded + cut effects), by `Frame.combined_class`."""
    n_draws = draws["renewal_mu"].shape[0]
    flag = np.array([0.0, 1.0])
    effects = (
        draws["renewal_term_effect"][:, :, None, None, None, None]
        + draws["renewal_size_effect"][:, None, :, None, None, None]
        + draws["renewal_number_effect"][:, None, None, :, None, None]
        + (draws["renewal_expanded_effect"][:, None] * flag)[:, None, None, None, :, None]
        + (draws["renewal_cut_effect"][:, None] * flag)[:, None, None, None, None, :]
    )
    shape = (n_draws, frame.n_term_classes * frame.n_size_classes * N_NUMBERS * 4)
    return np.exp(effects).reshape(shape)


def year_effects(draws: Draws, frame: Frame, last_year: int, seed: int) -> NDArray[np.float64]:
    """(D, Y + 1) effects of the calendar years from the frame's first to some after ``last_year``, then of any later year.

    Years that are not settled are exchangeable with the L that training knows: Normal(0, s²) about the mean of all years, of
    which the mean of those known is itself off by Normal(0, s²/L), in all later years alike; that alone is the effect of
    years beyond the last. Keyed by (seed, year), one value a draw for all accounts.
    """
    known, sd = draws["renewal_year_effect"][:, : frame.settled_years], draws["renewal_year_sd"]
    later = range(frame.years[0] + frame.settled_years, last_year + LATER_YEARS + 1)
    shared = unseen_effect(seed, YEAR, "", "mean", sd / np.sqrt(len(frame.years)))
    own = [shared + unseen_effect(seed, YEAR, "", str(year), sd) for year in later]
    return np.column_stack([known, *own, shared])


def _cumulative(shares: NDArray[np.float64], leading_zero: bool) -> NDArray[np.float64]:
    total = np.cumsum(shares, axis=-1)
    total /= total[..., -1:]
    if not leading_zero:
        return total
    return np.concatenate((np.zeros((*total.shape[:-1], 1)), total), axis=-1)


def make_parameters(
    posterior: xr.Dataset,
    frame: Frame,
    new_levels: NewLevels,
    n_draws: int,
    seed: int,
    last_year: int,
) -> Parameters:
    """The kernel's parameters for ``n_draws`` draws of a posterior; the forecast ends in ``last_year``."""
    draws = select_draws(posterior, n_draws)
    total_sd = np.stack([draws[f"{kind}_size_sd"] for kind in EVENT_KINDS], axis=-1)
    share = np.stack([draws[f"{kind}_size_icc"] for kind in EVENT_KINDS], axis=-1)
    change = [
        np.stack([draws[f"change_{side}_size_{part}"] for part in ("reversion", "term_slope", "sd")], axis=-1)
        for side in ("down", "up")
    ]
    return Parameters(
        location=location_table(draws, frame, new_levels, seed),
        phi=draws["renewal_phi"],
        exponent=draws["renewal_c"],
        weight=decision_weights(draws, frame),
        year_weight=np.exp(np.column_stack([np.zeros(n_draws), year_effects(draws, frame, last_year, seed)])),
        shape=np.stack([draws[f"{kind}_rate_shape"] for kind in (*EVENT_KINDS, "reactivation")], axis=-1),
        tau=total_sd * np.sqrt(share),
        sigma=total_sd * np.sqrt(1.0 - share),
        direction=np.ascontiguousarray(draws["change_logit"]),
        change=np.stack(change, axis=1),
        return_sd=draws["return_value_sd"],
        refund=draws["refund_share"],
        term_cdf=_cumulative(draws["term_length"], leading_zero=False),
        lag_cdf=_cumulative(draws["booking_lag"], leading_zero=True),
        notice_cdf=_cumulative(draws["notice_lag"], leading_zero=True),
        notice_share=draws["notice_share"],
    )


def make_classes(frame: Frame) -> Classes:
    """The kernel's view of the frame."""
    months = np.maximum(np.arange(LONGEST_MONTHS + 1), 1)
    return Classes(
        term_values=np.asarray(frame.term_values, dtype=np.int64),
        class_of_months=np.asarray(frame.term_class_of(months), dtype=np.int64),
        n_term_classes=frame.n_term_classes,
        size_edges=np.asarray(frame.size_edges, dtype=np.float64),
        lag_edges=np.asarray(frame.lag_edges, dtype=np.float64),
        size_column=frame.first_size_column,
        second_spell_column=len(frame.location_columns) - 2,
        unknown_column=len(frame.location_columns) - 1,
        first_year=frame.years[0],
    )


def with_term_values(
    classes: Classes, parameters: Parameters, term_values: NDArray[np.int64]
) -> tuple[Classes, Parameters]:
    """The same with contract lengths behind those that the posterior knows, which never come by themselves."""
    more = term_values.size - classes.term_values.size
    always = np.ones((*parameters.term_cdf.shape[:-1], more))
    cdf = np.concatenate((parameters.term_cdf, always), axis=-1)
    return classes._replace(term_values=term_values), parameters._replace(term_cdf=cdf)
