"""What a simulation needs of the past to follow ARR, slice of accounts by slice, and what it cannot know of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from clvforecast.histories import Histories
from clvforecast.metrics.recurring import Pending, Renewals, arr_by_account, first_days, known_renewals
from clvforecast.simulation.run import Totals
from clvforecast.simulation.structures import Given, Snapshots

Longs = NDArray[np.int64]


@dataclass
class Tracking:
    """Collects, in the order of the accounts, the renewals that are settled by the origin."""

    snapshots: Snapshots
    pending: Pending
    settled: list[Renewals] = field(default_factory=list)

    def given(self, histories: Histories) -> Given:
        """ARR of the slice's accounts at the snapshots before the forecast, and the first by which each had begun."""
        days, n_past = self.snapshots.days, self.snapshots.n_past
        self.settled.append(known_renewals(histories, days))
        return Given(
            past=arr_by_account(histories, days[:n_past], self.pending),
            first=np.searchsorted(days, first_days(histories)),
        )

    def with_settled(self, totals: Totals, group: Longs) -> Totals:
        """The totals of accounts in these groups with the settled renewals in their bridge, the same in every draw."""
        if totals.bridge is None:
            return totals
        due, renewed = totals.bridge.due.copy(), totals.bridge.renewed.copy()
        first = 0
        for part in self.settled:
            member = group[first : first + len(part.due)]
            for sums, cents in ((due, part.due), (renewed, part.renewed)):
                by_group = np.zeros(sums.shape[1:], dtype=np.int64)
                np.add.at(by_group, member, cents)
                sums += by_group
            first += len(part.due)
        return replace(totals, bridge=replace(totals.bridge, due=due, renewed=renewed))
