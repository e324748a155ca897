"""The lives of sampled new customers: each is an account that exists in one draw only, with nothing but a first term on its
books."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.cells import Frame
from clvforecast.errors import ForecastError
from clvforecast.fictional import fictional_ledger
from clvforecast.histories.keys import line_keys
from clvforecast.ledger import Ledger
from clvforecast.ledger.days import term_ends
from clvforecast.machine import available_threads
from clvforecast.simulation.batches import given_of
from clvforecast.simulation.calendar import Grid
from clvforecast.simulation.run import Bridge, Simulated, Totals, simulate_portfolio
from clvforecast.simulation.states import States
from clvforecast.simulation.structures import (
    NO_SNAPSHOTS,
    NOTHING_ASSUMED,
    Assumed,
    Classes,
    NewLevels,
    Parameters,
    Settings,
    Snapshots,
)

Longs = NDArray[np.int64]
Ints = NDArray[np.int32]
POINTERS = {"bt_ptr": 1, "ci_ptr": 1, "st_ptr": 0, "la_ptr": 0}
"""Entries that every line has in the blocks of `States`: one booked term, one item on the books, no renewal behind it."""


def new_customer_ids(sampled: pd.DataFrame) -> list[str]:
    """Account ids of sampled customers, in their order: what their random numbers are keyed by."""
    keys = zip(sampled["draw"], sampled["number"], strict=True)
    return [f"new customer {draw:07d}.{number:07d}" for draw, number in keys]


def new_customer_ledger(sampled: pd.DataFrame, ledger: Ledger) -> tuple[Ledger, Ints]:
    """The sampled customers as a ledger, and ``only_draw`` (A,): the one draw each of them lives in.

    An account books its term on ``as_of`` already, so that its state is known; what it brings comes with its service. It
    exists in one draw only: a forecast of this ledger as it stands would count it in all of them.
    """
    accounts = sampled.drop(columns=["draw", "number", "booked_day", "start_day"]).assign(
        account_id=new_customer_ids(sampled), start=sampled["start_day"].to_numpy().astype("datetime64[D]")
    )
    fictional = fictional_ledger(accounts, ledger.as_of, ledger.currency, ledger.grace_days)
    return fictional, sampled["draw"].to_numpy(np.int32)


def new_customer_states(
    sampled: pd.DataFrame, frame: Frame, new_levels: NewLevels, as_of_day: int, receivables: bool = False
) -> States:
    """What `account_states` makes of `new_customer_ledger`, without the way through a ledger: a million customers in seconds.

    ``new_levels`` must hold every level of the sampled customers that the frame does not have. With ``receivables`` their first
    terms, booked when their service starts, are still to be paid.
    """
    n = len(sampled)
    ids = new_customer_ids(sampled)
    months = sampled["term_months"].to_numpy(np.int64)
    start = sampled["start_day"].to_numpy(np.int64)
    cents = np.rint(np.round(sampled["first_mrr"].to_numpy() * months, 2) * 100.0).astype(np.int64)
    amount = cents / 100.0
    mrr = amount / months
    lines = pa.table({"account_id": pa.array(ids, pa.string()), "contract_id": pa.array([""] * n, pa.string())})
    end = term_ends(start, months)
    none, nothing = np.zeros(n, dtype=np.int32), np.zeros(n)
    return States(
        as_of=np.int32(as_of_day),
        account=np.arange(n, dtype=np.int64),
        account_ids=tuple(ids),
        line_key=line_keys(lines) if n else np.zeros(0, dtype=np.uint64),
        columns=_columns(sampled, frame, new_levels),
        new_levels=new_levels,
        size_class=frame.size_class_of(mrr),
        unknown=np.zeros(n, dtype=np.bool_),
        spell=none,
        status=none.astype(np.int8),
        lapse_day=none,
        bt_ptr=np.arange(n + 1, dtype=np.int64),
        bt_start=start.astype(np.int32),
        bt_end=end.astype(np.int32),
        bt_months=months.astype(np.int32),
        bt_amount=amount,
        bt_amend=nothing,
        bt_expanded=np.zeros(n, dtype=np.bool_),
        bt_mrr_now=mrr,
        bt_counted_mrr=mrr,
        la_ptr=np.zeros(n + 1, dtype=np.int64),
        la_term=nothing[:0],
        la_day=nothing[:0],
        la_mrr=nothing[:0],
        la_counted=nothing[:0],
        prev=none.astype(np.int8),
        log_mrr_sum=np.log(mrr),
        mrr_n=np.ones(n),
        spell_base=mrr,
        st_ptr=np.zeros(n + 1, dtype=np.int64),
        st_t0=nothing[:0],
        st_t1=nothing[:0],
        st_year=none[:0],
        st_class=none[:0],
        n_decisions=none,
        tenure=nothing,
        T_active=nothing,
        n_events=np.zeros((n, 4), dtype=np.int32),
        size_n=np.zeros((n, 4), dtype=np.int32),
        size_sum=np.zeros((n, 4)),
        T_lapsed=nothing,
        n_returns=none,
        ci_ptr=np.arange(n + 1, dtype=np.int64),
        ci_start=start.astype(np.int32),
        ci_end=end.astype(np.int32),
        ci_cents=cents,
        ci_tied=np.ones(n, dtype=np.bool_),
        **_first_receivables(start, end, cents, receivables),
        booked_cents=cents,
        recognised_cents=np.zeros(n, dtype=np.int64),
    )


def _columns(sampled: pd.DataFrame, frame: Frame, new_levels: NewLevels) -> Ints:
    """Columns of the location layout, those of levels unseen in training after the last."""
    found = np.zeros((len(sampled), len(frame.segments)), dtype=np.int32)
    for place, name in enumerate(frame.segments):
        if name not in sampled.columns:
            raise ForecastError(
                f"the new customers have no column {name!r}, which the posterior was trained with. Give it in the plan, or in "
                "the accounts table of the ledger that they are learned from."
            )
        column_of = {level: frame.first_column(name) + k for k, level in enumerate(frame.levels[name])}
        unseen = ((k, level) for k, (column, level) in enumerate(new_levels) if column == name)
        column_of |= {level: len(frame.location_columns) + k for k, level in unseen}
        found[:, place] = sampled[name].map(column_of).to_numpy(np.int32)
    return found


def _first_receivables(start: Longs, end: Longs, cents: Longs, wanted: bool) -> dict[str, Any]:
    """The first terms as items that may still be paid; none when they are not wanted."""
    n = len(start)
    rows = slice(None) if wanted else slice(0)
    none = np.zeros(n, dtype=np.int32)
    return {
        "rc_ptr": int(wanted) * np.arange(n + 1, dtype=np.int64),
        "rc_start": start.astype(np.int32)[rows],
        "rc_end": end.astype(np.int32)[rows],
        "rc_booked": start.astype(np.int32)[rows],
        "rc_cents": cents[rows],
        "rc_tied": np.ones(n, dtype=np.bool_)[rows],
        "rc_back_day": none[rows],
        "rc_known_day": none[rows],
        "rc_back_cents": np.zeros(n, dtype=np.int64)[rows],
    }


def states_of_draw(states: States, rows: slice) -> States:
    """Some of the sampled customers, one line each."""
    n = len(states.account[rows])
    taken = {
        name: value[rows] for name, value in states._asdict().items() if name not in ("as_of", "new_levels", "given")
    }
    billed = int(states.rc_ptr[-1] > 0)
    pointers = {name: each * np.arange(n + 1, dtype=np.int64) for name, each in {**POINTERS, "rc_ptr": billed}.items()}
    given = given_of(states.given, rows, rows)
    return states._replace(**{**taken, **pointers, "account": np.arange(n, dtype=np.int64), "given": given})


def simulate_new_customers(
    states: States,
    only_draw: Ints,
    parameters: Parameters,
    classes: Classes,
    settings: Settings,
    grid: Grid,
    group: Longs,
    n_groups: int,
    threads: int | None = None,
    snapshots: Snapshots = NO_SNAPSHOTS,
    assumed: Assumed = NOTHING_ASSUMED,
) -> Totals:
    """Totals of new customers in every draw, each simulated under the parameters of its own draw alone.

    ``states`` from `new_customer_states`, in the order of ``only_draw`` (A,), which rises; ``group`` (A,). Random numbers are
    keyed by the account's id, which names the draw, so each draw is simulated as the first of its own. The cost is that of
    one life a customer, and a few milliseconds a draw. What is added to the totals of a ledger's accounts gives those of a
    company.  ``snapshots`` asks for what becomes of ARR, ``assumed`` is what the rows say that ``states.given`` names.
    """
    n_draws = parameters.phi.size
    edges = np.searchsorted(only_draw, np.arange(n_draws + 1))
    live = partial(_live_in_draw, states, parameters, classes, settings, grid, group, n_groups, snapshots, assumed)
    with ThreadPoolExecutor(threads or available_threads()) as pool:
        found = list(pool.map(live, range(n_draws), edges[:-1].tolist(), edges[1:].tolist()))
    return Totals(
        groups=np.concatenate([totals.groups for totals in found]),
        origins=np.concatenate([totals.origins for totals in found]),
        changes=sum(totals.changes for totals in found),
        clips=sum(totals.clips for totals in found),
        bridge=_bridge_of_draws([totals.bridge for totals in found if totals.bridge is not None]),
        active_days=_joined_days([totals.active_days for totals in found if totals.active_days is not None]),
    )


def _joined_days(parts: list[Longs]) -> Longs | None:
    return np.concatenate(parts) if parts else None


def _bridge_of_draws(parts: Sequence[Bridge]) -> Bridge | None:
    """The draws' bridges one after the other; None where ARR was not followed."""
    if not parts:
        return None
    return Bridge(
        snapshots=parts[0].snapshots,
        in_force=np.concatenate([part.in_force for part in parts]),
        accounts=np.concatenate([part.accounts for part in parts]),
        due=np.concatenate([part.due for part in parts]),
        renewed=np.concatenate([part.renewed for part in parts]),
        moved=np.concatenate([part.moved for part in parts]),
    )


def _live_in_draw(
    states: States,
    parameters: Parameters,
    classes: Classes,
    settings: Settings,
    grid: Grid,
    group: Longs,
    n_groups: int,
    snapshots: Snapshots,
    assumed: Assumed,
    draw: int,
    first: int,
    last: int,
) -> Totals:
    """One draw's customers under its parameters."""
    own = Parameters(*(values[draw : draw + 1] for values in parameters))
    part = [states_of_draw(states, slice(first, last))] if last > first else []
    return simulate_portfolio(
        part,
        own,
        classes,
        settings,
        grid,
        group[first:last],
        n_groups,
        _let_go,
        threads=1,
        snapshots=snapshots,
        assumed=assumed,
    )


def _let_go(first: int, last: int, simulated: Simulated) -> None:
    """Customers of one draw have no ranges of their own."""
