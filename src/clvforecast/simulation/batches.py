"""Cut the lines of a `States` into batches of whole accounts."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clvforecast.histories.money import recognised
from clvforecast.simulation.receivables import Receivables, instalments
from clvforecast.simulation.slots import UNITS_PER_CENT
from clvforecast.simulation.states import States
from clvforecast.simulation.structures import Batch, Given, Settings, Steps

# Fields of `States` with one entry a line, and the fields of each compressed block with its pointer first.
LINE_FIELDS = (
    "line_key", "columns", "size_class", "unknown", "spell", "status", "lapse_day", "prev", "log_mrr_sum", "mrr_n",
    "spell_base", "n_decisions", "tenure", "T_active", "n_events", "size_n", "size_sum", "T_lapsed", "n_returns",
)  # fmt: skip
BLOCKS = {
    "bt_ptr": (
        *("bt_start", "bt_end", "bt_months", "bt_amount", "bt_amend", "bt_expanded"),
        *("bt_mrr_now", "bt_counted_mrr"),
    ),
    "la_ptr": ("la_term", "la_day", "la_mrr", "la_counted"),
    "st_ptr": ("st_t0", "st_t1", "st_year", "st_class"),
    "ci_ptr": ("ci_start", "ci_end", "ci_units", "ci_tied"),
}


def remaining_units(states: States) -> NDArray[np.int64]:
    """What is still to be recognised of every item on the books, in units."""
    start, end = states.ci_start.astype(np.int64), states.ci_end.astype(np.int64)
    done = recognised(states.ci_cents, start, end, int(states.as_of) + 1)
    return (states.ci_cents - done) * UNITS_PER_CENT


def leading_lines(states: States) -> NDArray[np.bool_]:
    """The line of each account whose open decision comes first: its probability is the account's next renewal."""
    undecided = np.flatnonzero(states.status == 0)
    end = states.bt_end[states.bt_ptr[1:] - 1]
    order = undecided[np.lexsort((undecided, end[undecided], states.account[undecided]))]
    first = np.r_[True, np.diff(states.account[order]) != 0][: order.size]
    lead = np.zeros(states.account.size, dtype=np.bool_)
    lead[order[first]] = True
    return lead


def billed_items(states: States, billing_months: int, payment_days: int) -> dict[str, NDArray[Any]]:
    """The instalments that are paid from the origin on, or that a termination may still take back, as items on the books."""
    items = Receivables(
        item=np.arange(states.rc_cents.size),
        start=states.rc_start.astype(np.int64),
        end=states.rc_end.astype(np.int64),
        booked=states.rc_booked.astype(np.int64),
        cents=states.rc_cents,
        tied=states.rc_tied,
        back_day=states.rc_back_day.astype(np.int64),
        known_day=states.rc_known_day.astype(np.int64),
        back_cents=states.rc_back_cents,
    )
    billed, origin = instalments(items, billing_months, payment_days), int(states.as_of) + 1
    rows = np.flatnonzero((billed.paid >= origin) | (items.tied[billed.of] & (billed.stop > origin)))
    return {
        "ci_ptr": np.searchsorted(billed.of[rows], states.rc_ptr),
        "ci_start": billed.start[rows],
        "ci_end": billed.stop[rows],
        "ci_units": billed.units[rows],
        "ci_tied": items.tied[billed.of[rows]],
        "ci_rate": billed.rate[rows],
        "ci_paid": billed.paid[rows],
    }


def unpaid_units(states: States, billing_months: int, payment_days: int) -> NDArray[np.int64]:
    """(A,) units booked by the origin that are paid from then on; what is booked less this counts as paid."""
    billed = billed_items(states, billing_months, payment_days)
    unpaid = np.where(billed["ci_paid"] > int(states.as_of), billed["ci_units"], 0)
    account = np.repeat(states.account, np.diff(billed["ci_ptr"]))
    units = np.zeros(len(states.account_ids), dtype=np.int64)
    np.add.at(units, account, unpaid)
    return units


def batches(
    states: States, group: NDArray[np.int64], accounts_each: int, settings: Settings | None = None
) -> Iterator[tuple[int, int, Batch]]:
    """Yield (first account, last account + 1, its lines); ``group`` (A,) is the portfolio group of each account.

    Items are what is still to be recognised; where the settings count cash, instalments.
    """
    blocks, cash = BLOCKS, settings is not None and settings.billing_months >= 0
    fields: dict[str, Any] = states._asdict()
    if settings is not None and cash:
        fields |= billed_items(states, settings.billing_months, settings.payment_days)
        blocks = BLOCKS | {"ci_ptr": (*BLOCKS["ci_ptr"], "ci_rate", "ci_paid")}
    else:
        fields["ci_units"] = remaining_units(states)
    lead = leading_lines(states)
    n_accounts = len(states.account_ids)
    starts = np.arange(0, n_accounts, accounts_each)
    first_line = np.searchsorted(states.account, starts)
    last_line = np.append(first_line[1:], states.account.size)
    for start, low, high in zip(starts, first_line, last_line, strict=True):
        account = states.account[low:high]
        rows: dict[str, Any] = {name: np.asarray(fields[name][low:high]) for name in LINE_FIELDS}
        for pointer, names in blocks.items():
            offsets = fields[pointer]
            rows[pointer] = offsets[low : high + 1] - offsets[low]
            rows |= {name: np.asarray(fields[name][offsets[low] : offsets[high]]) for name in names}
        if cash:
            rows["ci_billed"] = (rows.pop("ci_rate"), rows.pop("ci_paid"))
        end = min(int(start) + accounts_each, n_accounts)
        given = given_of(states.given, slice(start, end), slice(low, high))
        yield int(start), end, Batch(given, account - start, group[account], lead[low:high], **rows)


def given_of(given: Given, accounts: slice, lines: slice) -> Given:
    """What is given of some of the accounts and their lines."""
    of_accounts = {name: getattr(given, name) for name in ("past", "first")}
    of_lines = {name: getattr(given, name) for name in ("stop_day", "effect")}
    return Given(
        **{name: None if values is None else values[accounts] for name, values in of_accounts.items()},
        **{name: None if values is None else values[lines] for name, values in of_lines.items()},
        steps=None if given.steps is None else steps_of(given.steps, lines),
    )


def steps_of(steps: Steps, lines: slice) -> Steps:
    """The steps of some lines, which are numbered from 0 then."""
    first, last = np.searchsorted(steps.line, (lines.start, lines.stop))
    chosen = {name: values[first:last] for name, values in steps._asdict().items() if name != "weight"}
    return Steps(**{**chosen, "line": chosen["line"] - lines.start, "weight": steps.weight})
