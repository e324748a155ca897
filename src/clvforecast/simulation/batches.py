"""Cut the lines of a `States` into batches of whole accounts."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from clvforecast.histories.money import recognised
from clvforecast.simulation.slots import UNITS_PER_CENT
from clvforecast.simulation.states import States
from clvforecast.simulation.structures import Batch, Given, Steps

# Fields of `States` with one entry a line, and the fields of each compressed block with its pointer first.
LINE_FIELDS = (
    "line_key", "columns", "size_class", "unknown", "spell", "status", "lapse_day", "prev", "log_mrr_sum", "mrr_n",
    "spell_base", "n_decisions", "tenure", "T_active", "n_events", "size_n", "size_sum", "T_lapsed", "n_returns",
)  # fmt: skip
BLOCKS = {
    "bt_ptr": ("bt_start", "bt_end", "bt_months", "bt_amount", "bt_amend", "bt_expanded", "bt_mrr_now"),
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


def batches(states: States, group: NDArray[np.int64], accounts_each: int) -> Iterator[tuple[int, int, Batch]]:
    """Yield (first account, last account + 1, its lines); ``group`` (A,) is the portfolio group of each account."""
    fields = states._asdict() | {"ci_units": remaining_units(states)}
    lead = leading_lines(states)
    n_accounts = len(states.account_ids)
    starts = np.arange(0, n_accounts, accounts_each)
    first_line = np.searchsorted(states.account, starts)
    last_line = np.append(first_line[1:], states.account.size)
    for start, low, high in zip(starts, first_line, last_line, strict=True):
        account = states.account[low:high]
        rows = {name: np.asarray(fields[name][low:high]) for name in LINE_FIELDS}
        for pointer, names in BLOCKS.items():
            offsets = fields[pointer]
            rows[pointer] = offsets[low : high + 1] - offsets[low]
            rows |= {name: np.asarray(fields[name][offsets[low] : offsets[high]]) for name in names}
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
    chosen = {name: values[first:last] for name, values in steps._asdict().items()}
    return Steps(**{**chosen, "line": chosen["line"] - lines.start})
