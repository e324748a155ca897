"""Draws of one line's latents, by the kernel's own functions: what it would run the line with under each draw."""

import numpy as np
from numpy.typing import NDArray

from clvforecast.cells import Frame
from clvforecast.simulation.batches import batches
from clvforecast.simulation.calendar import make_grid
from clvforecast.simulation.kernel import Books, begin_line, new_scratch, take_booked_term
from clvforecast.simulation.latents import draw_rates, draw_size_mean, profile_values
from clvforecast.simulation.packing import pack_constants, pack_lines, pack_parameters
from clvforecast.simulation.parameters import make_classes, make_parameters
from clvforecast.simulation.random import start_stream
from clvforecast.simulation.slots import (
    FLOW_AT,
    L_TERM,
    L_TERM_END,
    LOG_THETA,
    ORIGIN_FLOW_AT,
    RATES,
    SEED,
    WORK,
    Real,
    Stream,
    Whole,
)
from clvforecast.simulation.states import States
from clvforecast.simulation.structures import Settings
from clvforecast.simulation.terms import beta_parameters, dated_step, decide

from .company import START

KINDS = ("expansion", "contraction", "change_order", "referral")
FAR_AWAY = 2**40


def latent_draws(
    states: States, posterior: object, frame: Frame, account: int, n_draws: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """theta, the four rates and the four means of sizes of an account of one line, (draws,) each.

    theta given that its decision is open: the kernel draws the outcome, and theta where it renews; where it lapses the
    kernel needs none, and it is drawn here by rejection from Beta(a + W, b) with probability 1 - theta^w.
    """
    import datetime as dt

    as_of = dt.date(1970, 1, 1) + dt.timedelta(days=int(states.as_of))
    grid = make_grid(as_of, 60, 0.1)
    last_year = START.year + 60
    parameters = make_parameters(posterior.idata["posterior"].to_dataset(), frame, (), n_draws, seed, last_year)
    par, offsets = pack_parameters(parameters)
    settings = Settings(seed=seed, grace_days=-1, max_ratio=frame.max_ratio, known_by=FAR_AWAY, booked=False)
    n_accounts = len(states.account_ids)
    table, scale = pack_constants(make_classes(frame), settings, grid, parameters, n_accounts, offsets)
    ((_, _, batch),) = batches(states, np.arange(n_accounts), n_accounts)
    lines = pack_lines(batch)
    line = int(np.flatnonzero(batch.account == account)[0])
    books = Books(
        np.zeros(4 * n_accounts * 64, np.int64), np.zeros((lines.key.size, 2), np.int64), np.zeros(lines.key.size)
    )
    scratch, rng = new_scratch(lines), np.random.default_rng([seed, 5])
    real, whole, stream = scratch.real, scratch.whole, scratch.stream
    found: dict[str, list[float]] = {
        "theta": [],
        **{f"{kind}_{what}": [] for kind in KINDS for what in ("rate", "size_mean")},
    }
    for draw in range(n_draws):
        drawn = par[draw]
        profile = scratch.profiles[lines.whole[line, 3]]
        profile_values(drawn, table, lines.profiles[lines.whole[line, 3]], profile)
        start_stream(stream, lines.key[line], table[SEED], draw)
        whole[FLOW_AT] = whole[ORIGIN_FLOW_AT] = 0
        begin_line(drawn, table, real, whole, lines, books, line, profile)
        draw_rates(drawn, real, lines.whole[line], lines.real[line], stream)
        for kind, name in enumerate(KINDS):
            found[f"{name}_rate"].append(real[RATES + kind])
            nu = draw_size_mean(drawn, real, lines.whole[line], lines.real[line], kind, stream)
            found[f"{name}_size_mean"].append(nu)
        last = lines.whole[line, L_TERM_END] - 1
        for term in range(lines.whole[line, L_TERM], last + 1):
            take_booked_term(real, whole, lines.terms, lines.term_money, term, last)
        found["theta"].append(_theta(drawn, table, scale, real, whole, stream, rng))
    return {name: np.array(values) for name, values in found.items()}


def _theta(
    par: Real, table: Whole, scale: Real, real: Real, whole: Whole, stream: Stream, rng: np.random.Generator
) -> float:
    w = dated_step(par, table, scale, real, whole)
    a, b = beta_parameters(real, whole)
    renewed, _ = decide(par, table, scale, real, whole, stream)
    if renewed:
        return float(np.exp(real[LOG_THETA]))
    while True:
        theta = rng.beta(a + real[WORK], b)
        if rng.random() < -np.expm1(w * np.log(theta)):
            return float(theta)
