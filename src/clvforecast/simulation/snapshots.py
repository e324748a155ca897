"""Annual recurring revenue at the ends of periods, and what became of it between them.

Annual recurring revenue (ARR) is twelve times the monthly revenue in force, by line in whole cents.  Of an amendment it counts
what the histories do (`histories.amendments.counted_mrr`), not the rate at which it is served.  An account's ARR at two snapshots
says what became of it: new, renewed late or come back from nothing, grown, shrunk or lost.  Hence for every group and draw,
exactly: start + new + late renewals + reactivated + expansion − contraction − churn = end.
"""

import math

import numpy as np
from numpy.typing import NDArray

from clvforecast.simulation.calendar import DAYS_PER_MONTH
from clvforecast.simulation.random import jit, nth
from clvforecast.simulation.slots import (
    ACCOUNTS,
    AMEND,
    CHURNED,
    CONTRACTED_BY,
    COUNTED_MRR,
    DUE,
    END,
    EXPANDED_BY,
    GAINED,
    IN_FORCE,
    LATE,
    LATE_RENEWALS,
    LATER_COUNTED,
    LATER_DAY,
    LATER_TERM,
    LOST,
    MONTHS,
    MRR,
    N_PAST,
    N_SNAPSHOTS,
    N_WINDOWS,
    NEW,
    OF_SNAPSHOTS,
    OF_WINDOWS,
    ORIGIN_TOTALS,
    REACTIVATED,
    RENEWED,
    SNAPSHOT,
    SNAPSHOTS_AT,
    TERM_ROW,
    WHOLE_SLOTS,
    WINDOWS_AT,
    Real,
    Whole,
)

LEAST_MONTHS = 3.0
HALF_A_CENT = 0.005
ARR_AT = WHOLE_SLOTS - ORIGIN_TOTALS
"""Where an account's ARR begins in its whole results."""


@jit
def annual_cents(mrr: float) -> int:
    """ARR in whole cents of a monthly revenue in currency; none where more was taken off a contract than it had."""
    return max(int(math.floor(1200.0 * mrr + 0.5)), 0)


@jit
def count_amendment(real: Real, whole: Whole, day: int, booked: float) -> None:
    """Let ARR count an amendment, in currency: over the months left, at least three, at most the whole term.

    ``real[AMEND]`` has it already; amendments that add up to nothing count nothing.
    """
    if abs(real[AMEND]) < HALF_A_CENT:
        real[COUNTED_MRR] = real[MRR]
        return
    months_left = (whole[END] - day) / DAYS_PER_MONTH
    real[COUNTED_MRR] += booked / min(float(whole[MONTHS]), max(months_left, LEAST_MONTHS))


@jit
def not_begun(whole: Whole, later: NDArray[np.float64], column: int, day: int) -> float:
    """What the running term's amendments add that begin after a day: column `LATER_MRR` or `LATER_COUNTED`."""
    found = 0.0
    for row in range(later.shape[0]):
        if later[row, LATER_TERM] == whole[TERM_ROW] and later[row, LATER_DAY] > day:
            found += later[row, column]
    return found


@jit
def pass_snapshots(table: Whole, real: Real, whole: Whole, later: NDArray[np.float64], start: int, stop: int) -> None:
    """Note the ARR in force at the snapshots within [start, stop)."""
    while whole[SNAPSHOT] < table[N_SNAPSHOTS]:
        day = table[nth(table[SNAPSHOTS_AT] + whole[SNAPSHOT])]
        if day >= stop:
            return
        if day >= start:
            counted = real[COUNTED_MRR] - not_begun(whole, later, LATER_COUNTED, day)
            whole[nth(WHOLE_SLOTS + whole[SNAPSHOT])] += annual_cents(counted)
        whole[SNAPSHOT] += 1


@jit
def period_of(table: Whole, day: int) -> int:
    """The snapshot that ends the period of a day; −1 before the first and after the last."""
    n = table[N_SNAPSHOTS]
    if n == 0 or day <= table[table[SNAPSHOTS_AT]]:
        return -1
    for place in range(1, n):
        if day <= table[nth(table[SNAPSHOTS_AT] + place)]:
            return place
    return -1


@jit
def note_due(table: Whole, whole: Whole, place: int, due: int, renewed: int) -> None:
    """A renewal decision in the period ``place``: its ARR, and what of it is renewed."""
    if place >= 0:
        whole[nth(WHOLE_SLOTS + table[N_SNAPSHOTS] + place)] += due
        whole[nth(WHOLE_SLOTS + 2 * table[N_SNAPSHOTS] + place)] += max(min(due, renewed), 0)


@jit
def add_to_bridge(table: Whole, account: Whole, past: Whole, begun: int, bridge: Whole, at: int) -> None:
    """Add an account under one draw to the sums of its group, which begin at ``at``.

    ``past`` is its ARR before the forecast, ``begun`` the first snapshot by which it had begun.
    """
    n = table[N_SNAPSHOTS]
    for place in range(table[N_PAST]):
        account[nth(ARR_AT + place)] = past[place]
    for place in range(n):
        arr = account[nth(ARR_AT + place)]
        bridge[nth(at + IN_FORCE * n + place)] += arr
        bridge[nth(at + ACCOUNTS * n + place)] += 1 if arr > 0 else 0
        bridge[nth(at + DUE * n + place)] += account[nth(ARR_AT + n + place)]
        bridge[nth(at + RENEWED * n + place)] += account[nth(ARR_AT + 2 * n + place)]
    late = account[LATE - ORIGIN_TOTALS] > 0
    for window in range(table[N_WINDOWS]):
        row = table[WINDOWS_AT] + 2 * window
        first = table[nth(row)]
        start, end = account[nth(ARR_AT + first)], account[nth(ARR_AT + table[nth(row + 1)])]
        if start != end:
            to = at + OF_SNAPSHOTS * n + OF_WINDOWS * window
            add_movement(bridge, to, start, end, first < begun, late and first < table[N_PAST])


@jit
def add_movement(bridge: Whole, to: int, start: int, end: int, is_new: bool, is_late: bool) -> None:
    """What became of one account's ARR between two snapshots at which it differs, in the sums of the window at ``to``."""
    if end > start:
        if start > 0:
            bridge[nth(to + EXPANDED_BY)] += end - start
            return
        if is_new:
            bridge[nth(to + NEW)] += end - start
        elif is_late:
            bridge[nth(to + LATE_RENEWALS)] += end - start
        else:
            bridge[nth(to + REACTIVATED)] += end - start
        bridge[nth(to + GAINED)] += 1
    elif end > 0:
        bridge[nth(to + CONTRACTED_BY)] += start - end
    else:
        bridge[nth(to + CHURNED)] += start - end
        bridge[nth(to + LOST)] += 1
