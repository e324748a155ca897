"""Simulate a whole portfolio batch by batch, reducing each batch as it is done, so that memory stays flat."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clvforecast.simulation.batches import batches
from clvforecast.simulation.calendar import Grid
from clvforecast.simulation.kernel import Results, simulate
from clvforecast.simulation.packing import (
    empty_flow,
    empty_results,
    monthly,
    pack_constants,
    pack_lines,
    pack_parameters,
)
from clvforecast.simulation.slots import (
    ACTIVE,
    ACTIVE_DAYS,
    BEYOND,
    BOOKED,
    CHANGES,
    CLIPS,
    DEBOOKED,
    DEFERRED,
    MRR_AT_MARKS,
    N_MARKS,
    N_ORIGINS,
    NEXT_RENEWAL,
    ORIGIN_TOTALS,
    REAL_SLOTS,
    VALUE,
    WHOLE_SLOTS,
)
from clvforecast.simulation.states import States
from clvforecast.simulation.structures import Classes, Parameters, Settings

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
# The results of a batch are kept under this many bytes; what a draw and an account take is fixed by the slots.
BATCH_BYTES = 96e6


class Simulated(NamedTuple):
    """A batch's results with names: D draws, A accounts; money in units (`slots`), discounted money as float units.

    origins: (D, A, 8); booked, debooked, deferred, value, beyond, next_renewal, active_days: (D, A)
    active: (D, A) bits 0-2 at the 12, 24, 36 month marks, bit 3 at the horizon; mrr: (D, A, 3) at those marks
    """

    origins: Longs
    booked: Longs
    debooked: Longs
    deferred: Longs
    active: Longs
    active_days: Longs
    value: Floats
    beyond: Floats
    next_renewal: Floats
    mrr: Floats


@dataclass(frozen=True)
class Totals:
    """Sums over all accounts: (D, G, M) and (D, 8, M) units by month; how many prices changed and were bounded."""

    groups: Longs
    origins: Longs
    changes: int
    clips: int


def available_threads() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def named(results: Results) -> Simulated:
    """Views of a batch's results by name."""

    def whole(slot: int) -> Longs:
        return results.whole[:, :, slot - ORIGIN_TOTALS]

    def real(slot: int) -> Floats:
        return results.real[:, :, slot - VALUE]

    return Simulated(
        origins=results.whole[:, :, :N_ORIGINS],
        booked=whole(BOOKED),
        debooked=whole(DEBOOKED),
        deferred=whole(DEFERRED),
        active=whole(ACTIVE),
        active_days=whole(ACTIVE_DAYS),
        value=real(VALUE),
        beyond=real(BEYOND),
        next_renewal=real(NEXT_RENEWAL),
        mrr=results.real[:, :, MRR_AT_MARKS - VALUE : MRR_AT_MARKS - VALUE + N_MARKS],
    )


def simulate_portfolio(
    states: States,
    parameters: Parameters,
    classes: Classes,
    settings: Settings,
    grid: Grid,
    group: Longs,
    n_groups: int,
    reduce: Callable[[int, int, Simulated], None],
    threads: int | None = None,
    accounts_each: int | None = None,
) -> Totals:
    """Simulate every account under every draw.

    ``group`` (A,) is the portfolio group of each account.  ``reduce(first, last, simulated)`` gets each batch of accounts
    first..last−1 in order and keeps what it wants of it; the arrays are not kept here.
    """
    par, offsets = pack_parameters(parameters)
    n_draws = par.shape[0]
    table, scale = pack_constants(classes, settings, grid, parameters, n_groups, offsets)
    if accounts_each is None:
        accounts_each = max(1, int(BATCH_BYTES / (8 * (WHOLE_SLOTS - ORIGIN_TOTALS + REAL_SLOTS - VALUE) * n_draws)))
    flow = empty_flow(n_draws, grid.discount.size, n_groups)
    changes = clips = 0
    for first, last, batch in batches(states, group, accounts_each):
        results = empty_results(n_draws, last - first, flow)
        simulate(par, table, scale, pack_lines(batch), results, threads or available_threads())
        changes += int(results.whole[:, :, CHANGES - ORIGIN_TOTALS].sum())
        clips += int(results.whole[:, :, CLIPS - ORIGIN_TOTALS].sum())
        reduce(first, last, named(results))
    months = monthly(flow, grid)
    return Totals(groups=months[:, :n_groups], origins=months[:, n_groups:], changes=changes, clips=clips)
