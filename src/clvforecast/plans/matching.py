"""What came of planned steps: each is paired with the event that it foresaw, or is still open, or was missed.

The day of an event is that of its booking, for the ledger knows of it from then on: what is not booked by `as_of` may still
come. Of a renewal the window says which decision the step is of, the one whose term ends nearest to the planned day; it came when
that decision was renewed, whenever that was booked up to a longer bound, for ledgers book late. The delay is that of the booking.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.histories import Histories, build_histories
from clvforecast.histories.decisions import OPEN as STILL_OPEN
from clvforecast.histories.engine import is_text, text_ranks, values
from clvforecast.histories.records import EPOCH
from clvforecast.histories.runs import flat_ranges
from clvforecast.ledger import Ledger
from clvforecast.ledger.days import whole_days
from clvforecast.plans.steps import EVENT_STEPS, RENEWAL, STEP_KINDS

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]

HIT, OPEN, MISSED, UNWRITTEN, UNCOVERED = "hit", "open", "missed", "not yet written", "not covered"
OUTCOMES = (HIT, OPEN, MISSED, UNWRITTEN, UNCOVERED)
CAME, UNSETTLED, LAPSED = range(3)
"""States of what a step can be paired with: an event or a renewal that was booked; an open decision; one that lapsed."""
NO_DAY, NO_EVENT = -(10**9), 10**9
"""Before and after all days."""
DAY_BITS, FIRST_DAY = 18, -(2**17)
"""Days from 1611 to 2328 fit into so many bits, with a window of years about each day of a ledger."""


@dataclass(frozen=True)
class Matches:
    """What is known of every step on a day; arrays over steps, in their order.

    Attributes
    ----------
    outcome : int8, place in `OUTCOMES`: hit, open (it may still come), missed, not yet written down, or not covered: on
        its planned day the ledger did not have the account, so that nobody knows what came of it.
    event : row among `events` of the event that it foresaw, -1 without.
    delay : days from the planned day to the booking of that event, from the window's first day to `last`; 0 without.
    lower : first day after (before, if negative) the planned day on which it can come: the window's first, or the day after
        it was written down.
    last : last day after the planned day on which it can come, by its kind.
    elapsed : days from the planned day to `as_of`, negative before it.
    exposed : days from the planned day to the last on which it could have come by then: `elapsed`, of an event no later than
        its account was under contract. What comes after is no failing of the plan, and a forecast counts it by itself.
    share : actual over planned amount, NaN where one is not known; of renewals whose planned term is known, by the month.
    events : event_id, booked_day, amount_cents, months of the events that steps can foresee, and decisions that have none.
    """

    outcome: NDArray[np.int8]
    event: Longs
    delay: Longs
    lower: Longs
    last: Longs
    elapsed: Longs
    exposed: Longs
    share: Floats
    events: pa.Table

    def is_(self, outcome: str) -> NDArray[np.bool_]:
        return np.asarray(self.outcome == OUTCOMES.index(outcome))

    def of(self, outcome: str) -> Matches:
        """Those of the steps with this outcome."""
        mine = self.is_(outcome)
        arrays = {of.name: getattr(self, of.name)[mine] for of in fields(self) if of.name != "events"}
        return replace(self, **arrays)


def match_steps(steps: pa.Table, ledger: Ledger, window_days: int, renewal_days: int) -> Matches:
    """Pair steps (`steps.STEP_SCHEMA`) with what the ledger knows on its `as_of`.

    A step takes an event of its account and kind that lies at most `window_days` from its planned day and was booked after the
    step was written down; a renewal takes a decision, settled or not, and is missed at once where that lapsed: by a notice, an
    early termination or a later return. Each is taken once: the nearest pairs first; of equally near ones the earlier, on the
    same day the renewed one, then the open one; then the earlier step.
    """
    account_ids = ledger.accounts["account_id"]
    planned, written = whole_days(steps["planned_date"]), _days_or(steps["recorded_on"], NO_DAY)
    as_of = (ledger.as_of - EPOCH).days
    histories = _histories(ledger)
    events = _foreseeable(ledger, histories, account_ids)
    step, event = _pairs(_group(steps, account_ids), planned, events, window_days)
    booked = values(events, "booked_day")
    kind = kind_codes(steps)
    state, last = values(events, "state"), last_delays(kind, window_days, renewal_days)
    in_time = (booked[event] > written[step]) & (booked[event] <= planned[step] + last[step])
    possible = (in_time | (state[event] != CAME)) & (written[step] <= as_of)
    step, event = step[possible], event[possible]
    near = np.abs(values(events, "day")[event] - planned[step])
    order = np.lexsort((step, event, near))
    taken = _nearest_first(step[order], event[order], steps.num_rows)
    its_state = np.where(taken >= 0, state[taken], UNSETTLED) if len(state) else np.full(len(taken), UNSETTLED)
    taken = np.where(its_state == CAME, taken, -1)
    found = taken >= 0
    elapsed = as_of - planned
    outcome = np.where(found, 0, np.where((elapsed < last) & (its_state != LAPSED), 1, 2))
    outcome = np.where(~found & (planned < _first_days(steps, ledger)), 4, outcome)
    outcome = np.where(written > as_of, 3, outcome).astype(np.int8)
    delay = (
        np.where(found, np.maximum(booked[taken] - planned, -window_days), 0) if len(booked) else np.zeros_like(planned)
    )
    lower = np.where(written == NO_DAY, -window_days, np.maximum(written + 1 - planned, -window_days))
    served = np.append(_last_days(histories, account_ids), NO_EVENT)
    of_account = pc.index_in(steps["account_id"], account_ids).fill_null(-1).to_numpy().astype(np.int64)
    exposed = np.where(kind != RENEWAL, np.minimum(elapsed, served[of_account] - planned), elapsed)
    return Matches(outcome, taken, delay, lower, last, elapsed, exposed, _shares(steps, events, taken), events)


def _first_days(steps: pa.Table, ledger: Ledger) -> Longs:
    """Day of the first booking that the ledger has of each step's account; far away where it has none yet."""
    first = ledger.events.select(["account_id", "event_date"]).group_by("account_id").aggregate([("event_date", "min")])
    rows = pc.index_in(steps["account_id"], first["account_id"])
    return _days_or(first["event_date_min"].take(rows), NO_EVENT)


def _days_or(dates: pa.ChunkedArray, instead: int) -> Longs:
    days = whole_days(dates.fill_null(EPOCH))
    return np.where(dates.is_null().to_numpy(), instead, days)


def kind_codes(steps: pa.Table) -> Longs:
    """Place of each step's kind in `STEP_KINDS`."""
    return np.asarray(pc.index_in(steps["kind"], pa.array(STEP_KINDS)).to_numpy(), dtype=np.int64)


def last_delays(kind: Longs, window_days: int, renewal_days: int) -> Longs:
    """Days after its planned day on which a step of each kind can come at the latest."""
    return np.where(kind == RENEWAL, renewal_days, window_days).astype(np.int64)


def _group(table: pa.Table, account_ids: pa.ChunkedArray) -> Longs:
    """A number for each account and kind; -1 for accounts that the ledger does not have."""
    account = pc.index_in(table["account_id"], account_ids).fill_null(-1).to_numpy().astype(np.int64)
    return np.where(account < 0, -1, account * len(STEP_KINDS) + kind_codes(table))


def _foreseeable(ledger: Ledger, histories: Histories, account_ids: pa.ChunkedArray) -> pa.Table:
    """Events that steps can foresee and decisions, by account and kind, day, state, and event_id.

    group, day (the one a planned day is held against), state, event_id, booked_day, amount_cents, months.
    """
    amendments = ledger.events.filter(pc.is_in(ledger.events["kind"], pa.array(EVENT_STEPS)))
    booked = whole_days(amendments["event_date"])
    found = pa.table(
        {
            "group": _group(amendments, account_ids),
            "day": booked,
            "state": np.full(len(booked), CAME, dtype=np.int64),
            "event_id": amendments["event_id"],
            "booked_day": booked,
            "amount_cents": amendments["amount_cents"],
            "months": np.zeros(len(booked), dtype=np.int64),
        }
    )
    found = pa.concat_tables([found, _decisions(histories, account_ids)])
    by_id, keys = text_ranks(found["event_id"]), (values(found, name) for name in ("state", "day", "group"))
    return found.take(pa.array(np.lexsort((by_id, *keys)))).combine_chunks()


def _histories(ledger: Ledger) -> Histories:
    columns = ("line", "end_day", "stop_day", "renewed", "event_id", "booked_day", "amount_cents", "months")
    return build_histories(
        ledger,
        only={
            "lines": ("line", "account", "account_id"),
            "terms": columns,
            "decisions": ("term", "outcome", "returned"),
        },
    )


def _last_days(histories: Histories, account_ids: pa.ChunkedArray) -> Longs:
    """The last day on which each account is under contract, as far as contracts are booked; far away for those without any."""
    account = pc.index_in(histories.lines["account_id"], account_ids).to_numpy().astype(np.int64)
    found = np.full(len(account_ids), NO_DAY)
    np.maximum.at(found, account[values(histories.terms, "line")], values(histories.terms, "stop_day") - 1)
    return np.where(found == NO_DAY, NO_EVENT, found)


def _decisions(histories: Histories, account_ids: pa.ChunkedArray) -> pa.Table:
    """Every renewal decision, on the day its term ends: with the booking of the term that follows, or as unsettled or lapsed."""
    terms, decisions = histories.terms, histories.decisions
    renewed = values(terms, "renewed")
    following = terms.take(pa.array(np.arange(terms.num_rows) + renewed))
    of_lines = pc.index_in(histories.lines["account_id"], account_ids).to_numpy().astype(np.int64)
    lapsed = ~is_text(decisions, "outcome", STILL_OPEN) | values(decisions, "returned")
    return pa.table(
        {
            "group": of_lines[values(terms, "line")] * len(STEP_KINDS) + RENEWAL,
            "day": values(terms, "end_day").astype(np.int64),
            "state": np.where(renewed, CAME, np.where(lapsed, LAPSED, UNSETTLED)).astype(np.int64),
            "event_id": following["event_id"],
            "booked_day": values(following, "booked_day").astype(np.int64),
            "amount_cents": following["amount_cents"],
            "months": values(following, "months").astype(np.int64),
        }
    )


def _pairs(group: Longs, planned: Longs, events: pa.Table, window_days: int) -> tuple[Longs, Longs]:
    """Every step with every event of its account and kind within the window: (step, event)."""
    keys = (values(events, "group") << DAY_BITS) + values(events, "day") - FIRST_DAY
    key = (group << DAY_BITS) + planned - FIRST_DAY
    first = np.searchsorted(keys, key - window_days)
    last = np.searchsorted(keys, key + window_days, side="right")
    n = np.where(group < 0, 0, last - first)
    step = np.repeat(np.arange(len(group)), n)
    return step, flat_ranges(first, n)


def _nearest_first(step: Longs, event: Longs, n_steps: int) -> Longs:
    """The event of each step, -1 without: pairs come in order, and each is taken when neither part is gone.

    All pairs that come first for both of their parts are taken at a time, which is what one at a time would take.
    """
    taken = np.full(n_steps, -1, dtype=np.int64)
    while len(step):
        first_of_step, first_of_event = np.zeros(len(step), dtype=bool), np.zeros(len(step), dtype=bool)
        first_of_step[np.unique(step, return_index=True)[1]] = True
        first_of_event[np.unique(event, return_index=True)[1]] = True
        now = first_of_step & first_of_event
        taken[step[now]] = event[now]
        left = ~np.isin(step, step[now]) & ~np.isin(event, event[now])
        step, event = step[left], event[left]
    return taken


def _shares(steps: pa.Table, events: pa.Table, taken: Longs) -> Floats:
    """Actual over planned amount; where a renewal's planned term is known, of the amounts by the month."""
    hit = taken >= 0
    share = np.full(len(taken), np.nan)
    if not hit.any():
        return share
    event = taken[hit]
    planned = steps["amount_cents"].cast(pa.float64()).to_numpy()[hit]
    term = steps["term_months"].fill_null(0).to_numpy().astype(np.int64)[hit]
    months = values(events, "months")[event]
    by_month = np.where((term > 0) & (months > 0), term / np.maximum(months, 1), 1.0)
    share[hit] = values(events, "amount_cents")[event] / planned * by_month
    return share
