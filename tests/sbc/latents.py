"""Draws of one line's latents from the laws that the kernel runs the line with under each draw."""

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells import Frame
from clvforecast.simulation.batches import batches
from clvforecast.simulation.calendar import DAYS_PER_YEAR, date_of, make_grid
from clvforecast.simulation.kernel import Books, begin_line, new_scratch, take_booked_term
from clvforecast.simulation.latents import begin_events, profile_values, size_law
from clvforecast.simulation.packing import empty_flow, pack_constants, pack_lines, pack_parameters
from clvforecast.simulation.parameters import make_classes, make_parameters
from clvforecast.simulation.random import start_stream
from clvforecast.simulation.slots import (
    EVENT_EXPOSURES,
    EVENT_SHAPES,
    L_PROFILE,
    L_TERM,
    L_TERM_END,
    LOG_THETA,
    SEED,
    WORK,
    Real,
    Stream,
    Whole,
)
from clvforecast.simulation.states import States
from clvforecast.simulation.structures import NO_SNAPSHOTS, NOTHING_ASSUMED, Settings
from clvforecast.simulation.terms import beta_parameters, dated_step, decide
from known_world import KnownPosterior

KINDS = ("expansion", "contraction", "change_order", "referral")
FAR_AWAY = 2**40
HORIZON = 60


def latent_draws(
    states: States, posterior: KnownPosterior, frame: Frame, accounts: NDArray[np.int64], n_draws: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """theta, the four rates and the four means of sizes of accounts of one line, (draws, accounts) each.

    The kernel draws no rate and no mean of sizes, it integrates them out; they are drawn here from the laws it does that with.
    theta given that its decision is open: the kernel draws the outcome, and theta where it renews; where it lapses the
    kernel needs none, and it is drawn here by rejection from Beta(a + W, b) with probability 1 - theta^w.
    """
    grid = make_grid(date_of(int(states.as_of)), HORIZON, 0.0)
    draws = posterior.idata["posterior"].to_dataset()
    parameters = make_parameters(draws, frame, (), n_draws, seed, date_of(grid.bounds[-1]).year)
    classes = make_classes(frame)
    par, offsets = pack_parameters(parameters, classes)
    settings = Settings(seed=seed, grace_days=-1, max_ratio=frame.max_ratio, known_by=FAR_AWAY, booked=False)
    n = len(states.account_ids)
    table, scale = pack_constants(classes, settings, grid, parameters, n, offsets, NO_SNAPSHOTS, NOTHING_ASSUMED)
    ((_, _, batch),) = batches(states, np.arange(n), n)
    lines = pack_lines(batch, table, scale, classes, NOTHING_ASSUMED, n_draws)
    books = Books(empty_flow(1, HORIZON, n)[0], np.zeros((lines.key.size, 2), np.int64), np.zeros((lines.key.size, 2)))
    scratch, rng = new_scratch(table, 0), np.random.default_rng([seed, 5])
    real, whole, stream = scratch.real, scratch.whole, scratch.stream
    names = ("theta", *(f"{kind}_{what}" for kind in KINDS for what in ("rate", "size_mean")))
    found = {name: np.empty((n_draws, len(accounts))) for name in names}
    for column, line in enumerate(np.searchsorted(batch.account, accounts).tolist()):
        row, values = lines.whole[line], lines.real[line]
        profile = scratch.profile
        for draw, drawn in enumerate(par):
            profile_values(drawn, table, lines.profiles[row[L_PROFILE]], profile)
            start_stream(stream, lines.key[line], table[SEED], draw)
            begin_line(drawn, table, real, whole, lines, books, line, draw, profile, True)
            begin_events(drawn, scale, real, whole, row, values, stream)
            for kind, name in enumerate(KINDS):
                rate = rng.gamma(real[EVENT_SHAPES + kind]) / real[EVENT_EXPOSURES + kind]
                found[f"{name}_rate"][draw, column] = DAYS_PER_YEAR * rate
                mean, variance = size_law(drawn, real, kind)
                found[f"{name}_size_mean"][draw, column] = rng.normal(mean, np.sqrt(variance))
            for term in range(row[L_TERM], row[L_TERM_END]):
                take_booked_term(real, whole, lines.terms, lines.term_money, term)
            found["theta"][draw, column] = _theta(drawn, table, scale, real, whole, stream, rng)
    return found


def _theta(
    par: Real, table: Whole, scale: Real, real: Real, whole: Whole, stream: Stream, rng: np.random.Generator
) -> float:
    w = dated_step(par, table, scale, real, whole)
    a, b = beta_parameters(real, whole)
    renewed, _, _ = decide(par, table, scale, real, whole, stream)
    if renewed:
        return float(np.exp(real[LOG_THETA]))
    while True:
        theta = rng.beta(a + real[WORK], b)
        if rng.random() < -np.expm1(w * np.log(theta)):
            return float(theta)
