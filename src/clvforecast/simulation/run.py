"""Simulate a whole portfolio batch by batch, reducing each batch as it is done, so that memory stays flat."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clvforecast.machine import available_threads
from clvforecast.simulation.batches import batches
from clvforecast.simulation.calendar import Grid
from clvforecast.simulation.kernel import Results, simulate
from clvforecast.simulation.packing import (
    empty_bridge,
    empty_flow,
    empty_results,
    monthly,
    pack_constants,
    pack_lines,
    pack_parameters,
)
from clvforecast.simulation.slots import (
    ACCOUNTS,
    ACTIVE,
    ACTIVE_DAYS,
    BEYOND,
    BOOKED,
    DEBOOKED,
    DEFERRED,
    DUE,
    IN_FORCE,
    MRR_AT_MARKS,
    N_MARKS,
    N_ORIGINS,
    OF_SNAPSHOTS,
    OF_WINDOWS,
    ORIGIN_TOTALS,
    REAL_SLOTS,
    RENEWED,
    SUM_ACTIVE,
    SUM_ACTIVE_DAYS,
    SUM_BEYOND,
    SUM_CHANGES,
    SUM_CLIPS,
    SUM_ZERO,
    UNITS_PER_CURRENCY,
    VALUE,
    WHOLE_SLOTS,
)
from clvforecast.simulation.states import States
from clvforecast.simulation.structures import (
    NO_SNAPSHOTS,
    NOTHING_ASSUMED,
    Assumed,
    Classes,
    Parameters,
    Settings,
    Snapshots,
)

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
# The results of a batch are kept under this many bytes; what a draw and an account take is fixed by the slots.
BATCH_BYTES = 48e6
KEPT_SLOTS = 3


class Each(NamedTuple):
    """Every result of every draw of a batch: A accounts, D draws; money in units (`slots`).

    origins: (A, D, 8); booked, debooked, deferred, active_days, beyond (discounted currency): (A, D)
    active: (A, D) bits 0-2 at the 12, 24, 36 month marks, bit 3 at the horizon; mrr: (A, D, 3) at those marks
    """

    origins: Longs
    booked: Longs
    debooked: Longs
    deferred: Longs
    active: Longs
    active_days: Longs
    beyond: Floats
    mrr: Floats


class Simulated(NamedTuple):
    """A batch's results with names: A accounts, D draws; money in units (`slots`), discounted money as float units.

    revenue, value (discounted; less what active days cost, before the margin), next_renewal (probability; NaN where no decision
        is reached): (A, D)
    sums over draws: origins (A, 8) units; zeros, active_days, beyond (discounted currency): (A,); active (A, 3) at the marks
    each: None unless asked for
    """

    revenue: Longs
    value: Floats
    next_renewal: Floats
    origins: Floats
    zeros: Floats
    active: Floats
    active_days: Floats
    beyond: Floats
    each: Each | None

    def rows(self, part: slice) -> "Simulated":
        """Some of the accounts, without `each`."""
        return Simulated(
            revenue=self.revenue[part],
            value=self.value[part],
            next_renewal=self.next_renewal[part],
            origins=self.origins[part],
            zeros=self.zeros[part],
            active=self.active[part],
            active_days=self.active_days[part],
            beyond=self.beyond[part],
            each=None,
        )


@dataclass(frozen=True)
class Totals:
    """Sums over all accounts: (D, G, M) and (D, 8, M) units by month; how many prices changed and were bounded.

    bridge: None, or what became of ARR between the snapshots
    active_days: (D, G, M) days on which accounts were active, where that costs something, else None.
    """

    groups: Longs
    origins: Longs
    changes: int
    clips: int
    bridge: "Bridge | None" = None
    active_days: Longs | None = None

    def value(self, discount: Floats, gross_margin: float, daily_cost: float) -> Floats:
        """(D, G, M) discounted value in currency: margin × (money − cost of the active days), as the accounts' values are.

        ``discount`` (M,) is the grid's; ``daily_cost`` that of `Settings`. Sums of days and units are of integers, so that
        groups and the portfolio are the sums of their accounts.
        """
        money = self.groups / UNITS_PER_CURRENCY
        if self.active_days is not None:
            money = money - daily_cost * self.active_days
        return np.asarray(gross_margin * discount * money)


@dataclass(frozen=True)
class Bridge:
    """What became of ARR: D draws, G groups, S snapshots, W windows between two of them.

    in_force, due, renewed: (D, G, S) cents a year at each snapshot, and due and renewed in the period that ends with it
    accounts: (D, G, S) that have any ARR
    moved: (D, G, W, 8) cents a year, in the order of `slots`: new, late renewals, reactivated, expansion, contraction, churn; and
        how many accounts lost all or gained from nothing
    """

    snapshots: Snapshots
    in_force: Longs
    accounts: Longs
    due: Longs
    renewed: Longs
    moved: Longs


def named_bridge(bridge: Longs, n_groups: int, snapshots: Snapshots) -> Bridge:
    """The kernel's sums (D, ...) by name."""
    n = snapshots.days.size
    blocks = bridge.reshape(bridge.shape[0], n_groups, -1)
    at_snapshots = blocks[:, :, : OF_SNAPSHOTS * n].reshape(*blocks.shape[:2], OF_SNAPSHOTS, n)
    return Bridge(
        snapshots=snapshots,
        in_force=at_snapshots[:, :, IN_FORCE],
        accounts=at_snapshots[:, :, ACCOUNTS],
        due=at_snapshots[:, :, DUE],
        renewed=at_snapshots[:, :, RENEWED],
        moved=blocks[:, :, OF_SNAPSHOTS * n :].reshape(*blocks.shape[:2], -1, OF_WINDOWS),
    )


def named(results: Results, sums: Floats) -> Simulated:
    """Views of a batch's results by name; ``sums`` (A, N_SUMS) are over all draws."""
    return Simulated(
        revenue=results.revenue,
        value=results.value,
        next_renewal=results.renewal,
        origins=sums[:, :N_ORIGINS],
        zeros=sums[:, SUM_ZERO],
        active=sums[:, SUM_ACTIVE : SUM_ACTIVE + N_MARKS],
        active_days=sums[:, SUM_ACTIVE_DAYS],
        beyond=sums[:, SUM_BEYOND],
        each=_each(results) if results.whole.shape[1] else None,
    )


def _each(results: Results) -> Each:
    def whole(slot: int) -> Longs:
        return results.whole[:, :, slot - ORIGIN_TOTALS]

    return Each(
        origins=results.whole[:, :, :N_ORIGINS],
        booked=whole(BOOKED),
        debooked=whole(DEBOOKED),
        deferred=whole(DEFERRED),
        active=whole(ACTIVE),
        active_days=whole(ACTIVE_DAYS),
        beyond=results.real[:, :, BEYOND - VALUE],
        mrr=results.real[:, :, MRR_AT_MARKS - VALUE : MRR_AT_MARKS - VALUE + N_MARKS],
    )


def simulate_portfolio(
    slices: Iterable[States],
    parameters: Parameters,
    classes: Classes,
    settings: Settings,
    grid: Grid,
    group: Longs,
    n_groups: int,
    reduce: Callable[[int, int, Simulated], None],
    threads: int | None = None,
    accounts_each: int | None = None,
    keeps_all: bool = False,
    snapshots: Snapshots = NO_SNAPSHOTS,
    assumed: Assumed = NOTHING_ASSUMED,
) -> Totals:
    """Simulate every account under every draw, one slice of accounts after the other.

    ``group`` (A,) is the portfolio group of each account of all slices.  ``reduce(first, last, simulated)`` gets each batch of
    accounts first..last−1 in order and keeps what it wants of it; the arrays are not kept here. With ``keeps_all`` it gets
    every result of every draw.  ``snapshots`` asks for what becomes of ARR, ``assumed`` is what the rows say that states name.
    """
    par, offsets = pack_parameters(parameters, classes)
    n_draws = par.shape[0]
    table, scale = pack_constants(classes, settings, grid, parameters, n_groups, offsets, snapshots, assumed)
    if accounts_each is None:
        slots = KEPT_SLOTS + keeps_all * (WHOLE_SLOTS - ORIGIN_TOTALS + REAL_SLOTS - VALUE)
        accounts_each = max(1, int(BATCH_BYTES / (8 * slots * n_draws)))
    counts_days = settings.daily_cost > 0.0
    flow = empty_flow(n_draws, grid.discount.size, n_groups, counts_days)
    bridge = empty_bridge(n_draws, n_groups, snapshots)
    done = changes = clips = 0
    for states in slices:
        for first, last, batch in batches(states, group[done:], accounts_each, settings):
            results = empty_results(n_draws, last - first, flow, bridge, keeps_all)
            lines = pack_lines(batch, table, scale, classes, assumed, n_draws)
            simulate(par, table, scale, lines, results, threads or available_threads())
            sums = results.sums.sum(axis=1)
            changes += int(sums[:, SUM_CHANGES].sum())
            clips += int(sums[:, SUM_CLIPS].sum())
            reduce(done + first, done + last, named(results, sums))
        done += len(states.account_ids)
    months = monthly(flow, grid, n_groups)
    revenue = n_groups + N_ORIGINS
    return Totals(
        groups=months[:, :n_groups],
        origins=months[:, n_groups:revenue],
        changes=changes,
        clips=clips,
        bridge=named_bridge(bridge, n_groups, snapshots) if snapshots.days.size else None,
        active_days=months[:, revenue:] if counts_days else None,
    )
