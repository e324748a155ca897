"""New customers in a forecast: who is sampled in each draw, beside whom of the accounts they stand, and what they bring.

They are kept apart from the accounts: each lives in one draw only, so that there is nobody to say a range of, but of totals.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.cells import Frame
from clvforecast.ledger import Ledger
from clvforecast.new_customers import new_customer_states, sample_new_customers, simulate_new_customers
from clvforecast.new_customers.sample import Source
from clvforecast.reduction import ForecastSettings
from clvforecast.scenarios import Steered
from clvforecast.simulation.calendar import Grid, day_number
from clvforecast.simulation.run import Totals
from clvforecast.simulation.slots import UNITS_PER_CENT, Origin
from clvforecast.simulation.states import States
from clvforecast.simulation.structures import (
    NOTHING_ASSUMED,
    Classes,
    Given,
    NewLevels,
    Parameters,
    Settings,
    Snapshots,
)

Longs = NDArray[np.int64]
COMMITTED = int(Origin.COMMITTED)


class NewBusiness(NamedTuple):
    """What new customers bring: their totals, and won (D, G, M), how many are booked by draw, group and month."""

    totals: Totals
    won: Longs


def sample_business(ledger: Ledger, source: Source, settings: ForecastSettings) -> pd.DataFrame:
    """`sample_new_customers` of a forecast's draws and window, segment levels as texts.

    Where only bookings made by ``known_by`` count, those who are booked later are left out.  Raises ForecastError for a source
    that cannot be.
    """
    sampled = sample_new_customers(ledger, source, settings.horizon_months, settings.draws, settings.seed)
    if settings.known_by is not None:
        known = sampled["booked_day"] <= day_number(settings.known_by)
        sampled = sampled[known].reset_index(drop=True)
    own = ("draw", "number", "booked_day", "start_day", "first_mrr", "term_months")
    return sampled.assign(**{name: sampled[name].map(str) for name in sampled.columns if name not in own})


def levels_of_both(levels: pa.Table, sampled: pd.DataFrame | None) -> pa.Table:
    """Segment levels of accounts with those of the sampled customers below them; account_id is left out then."""
    if sampled is None:
        return levels
    names = [name for name in levels.column_names if name != "account_id"]
    chunks = {name: pa.array(sampled[name].tolist(), levels[name].type) for name in names}
    return pa.table({name: pa.chunked_array([*levels[name].chunks, chunks[name]]) for name in names})


def rows_of_both(accounts: pd.DataFrame, sampled: pd.DataFrame | None, columns: list[str]) -> pd.DataFrame:
    """The group columns of accounts, with those of the sampled customers below them."""
    if sampled is None:
        return accounts
    new = sampled[columns].astype(accounts[columns].dtypes.to_dict())
    return pd.concat([accounts[columns], new], ignore_index=True)


def simulate_business(
    sampled: pd.DataFrame,
    frame: Frame,
    new_levels: NewLevels,
    parameters: Parameters,
    classes: Classes,
    settings: Settings,
    grid: Grid,
    group: Longs,
    n_groups: int,
    snapshots: Snapshots,
    steered: Steered | None,
    threads: int | None,
) -> NewBusiness:
    """The sampled customers' totals, each simulated in its own draw; ``group`` (N,) is that of each of them.

    They had no ARR before the forecast, and are new in every window that begins before their service does.
    """
    given = Given(
        first=np.searchsorted(snapshots.days, sampled["start_day"].to_numpy()),
        effect=None if steered is None else steered.new_effect,
    )
    states = new_customer_states(sampled, frame, new_levels, grid.as_of, settings.billing_months >= 0)._replace(
        given=given
    )
    totals = simulate_new_customers(
        states,
        sampled["draw"].to_numpy(np.int32),
        parameters,
        classes,
        settings,
        grid,
        group,
        n_groups,
        threads,
        snapshots,
        NOTHING_ASSUMED if steered is None else steered.assumed,
    )
    booked = (sampled["draw"].to_numpy(), group, _booked_month(sampled, grid))
    won = np.zeros_like(totals.groups)
    np.add.at(won, booked, 1)
    return NewBusiness(with_first_bookings(totals, states, booked) if settings.booked else totals, won)


def _booked_month(sampled: pd.DataFrame, grid: Grid) -> Longs:
    """Month of the grid in which each sampled customer is booked."""
    return grid.month_of[sampled["booked_day"].to_numpy() - grid.bounds[0]].astype(np.int64)


def with_first_bookings(totals: Totals, states: States, booked: tuple[Longs, Longs, Longs]) -> Totals:
    """Totals by booking day with the first terms in them; ``booked`` (N,) are draw, group and month of each.

    The simulation takes what is on an account's books for booked before the window, and leaves it out.
    """
    groups, origins = totals.groups.copy(), totals.origins.copy()
    units = states.ci_cents * UNITS_PER_CENT
    draw, group, month = booked
    np.add.at(groups, (draw, group, month), units)
    np.add.at(origins, (draw, np.full_like(draw, COMMITTED), month), units)
    return replace(totals, groups=groups, origins=origins)
