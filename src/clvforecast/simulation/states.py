"""Every line's state at `as_of`, as flat arrays for the simulation kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.cells.frame import Frame
from clvforecast.cells.groups import line_levels, line_size_classes
from clvforecast.cells.rates import DAYS_PER_YEAR, line_event_counts
from clvforecast.cells.records import EVENT_KINDS
from clvforecast.cells.renewal import renewal_paths
from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values, values_or
from clvforecast.histories.runs import counted, flat_ranges, offsets
from clvforecast.simulation.receivables import NO_RECEIVABLES, receivable_items
from clvforecast.simulation.structures import Given, NewLevels

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class States(NamedTuple):
    """Lines at `as_of`: L lines ordered by (account_id, contract_id), A accounts, n_seg segment columns.

    Days are int32 days since 1970-01-01, money float64 currency units unless named cents, `*_ptr` are CSR
    offsets by line. The four event kinds are, in order, expansion, contraction, change_order, referral.
    """

    as_of: np.int32
    account: Longs
    """int64[L], 0-based index into `account_ids`."""
    account_ids: tuple[str, ...]
    """[A], sorted."""
    line_key: NDArray[np.uint64]
    """uint64[L], hash of account_id and contract_id (`histories.keys`): what random numbers are keyed by."""
    columns: Ints
    """int32[L, n_seg], column of the location layout; a level unseen in training has number of layout
    columns + its position in `new_levels`."""
    new_levels: NewLevels
    """(segment column, level) of every level unseen in training, in this slice of accounts or in others."""
    size_class: Ints
    """int32[L], of the line's first base."""
    unknown: Flags
    """bool[L], tenure unknown (first spells only)."""
    spell: Ints
    """int32[L], number of the current (last) spell, 0-based."""
    status: NDArray[np.int8]
    """int8[L], 0 decision open, 1 notified (lapses at the last term's end), 2 early termination."""
    lapse_day: Ints
    """int32[L], status 2: the effective day; else 0."""
    bt_ptr: Longs
    """int64[L+1]; booked terms still active after `as_of` or renewed by one that begins later, or else the last term. The
    last one's decision is open.
    Activity in a booked term stops where the line's next one starts (an early renewal)."""
    bt_start: Ints
    bt_end: Ints
    bt_months: Ints
    bt_amount: Floats
    """Money of the term itself."""
    bt_amend: Floats
    """Net money of its amendments known by `as_of`."""
    bt_expanded: Flags
    bt_mrr_now: Floats
    """MRR: amount / months plus that of the amendments known by `as_of`."""
    bt_counted_mrr: Floats
    """The same as ARR counts it: amount / months plus `counted` of these amendments."""
    la_ptr: Longs
    """int64[L+1]; amendments of booked terms that are booked by `as_of` and begin later, after the term does: until then
    they are in `bt_mrr_now` and `bt_counted_mrr` too soon."""
    la_term: Floats
    """The term: 0 for the line's first in the bt arrays, and so on."""
    la_day: Floats
    """On which it begins."""
    la_mrr: Floats
    la_counted: Floats
    """What it adds to the two."""
    prev: NDArray[np.int8]
    """int8[L], direction at the start of the last booked term: 0 first, 1 down, 2 flat, 3 up."""
    log_mrr_sum: Floats
    """float64[L], Σ log M0 over the current spell's terms incl. the last booked one."""
    mrr_n: Floats
    """float64[L], number of terms in `log_mrr_sum`."""
    spell_base: Floats
    """float64[L], MRR of the current spell's first term."""
    st_ptr: Longs
    """int64[L+1]; renewal steps taken in the current spell, the m earlier ones first."""
    st_t0: Floats
    """Years."""
    st_t1: Floats
    st_year: Ints
    """Calendar year of the decision."""
    st_class: Ints
    """Combined class: (((term class·Z + size class)·5 + number)·2 + expanded)·2 + cut."""
    n_decisions: Ints
    """int32[L], decisions renewed in the current spell, m included (the number of steps)."""
    tenure: Floats
    """float64[L], years at the start of the last booked term."""
    T_active: Floats
    """float64[L], years of activity to `as_of`."""
    n_events: Ints
    """int32[L, 4]."""
    size_n: Ints
    """int32[L, 4], events that have a size y."""
    size_sum: Floats
    """float64[L, 4], Σ y."""
    T_lapsed: Floats
    """float64[L], years in lapses that have ended (by a return)."""
    n_returns: Ints
    """int32[L]."""
    ci_ptr: Longs
    """int64[L+1]; booked items with service after `as_of`, the whole item (also what was served before)."""
    ci_start: Ints
    ci_end: Ints
    """Money recognised at once has one day of service, its day."""
    ci_cents: Longs
    ci_tied: Flags
    """Term and amendment money, which an early termination de-books; not change orders spread over time."""
    rc_ptr: Longs
    """int64[L+1]; booked items that may still be paid after `as_of`, whole (`receivables`); none unless asked for."""
    rc_start: Ints
    rc_end: Ints
    rc_booked: Ints
    rc_cents: Longs
    rc_tied: Flags
    rc_back_day: Ints
    """Day from which an early termination that is already booked takes back; 0 where none does."""
    rc_known_day: Ints
    """Its booking day."""
    rc_back_cents: Longs
    """What it takes back, against the item's sign."""
    booked_cents: Longs
    """int64[A], booked to date."""
    recognised_cents: Longs
    """int64[A], recognised through the end of `as_of`."""
    given: Given = Given()
    """What is given of these accounts and lines beside."""


def account_states(
    histories: Histories, frame: Frame, new_levels: NewLevels | None = None, receivables: bool = False
) -> States:
    """Every line's state at the histories' `as_of`, in the classes of a (possibly older) `frame`.

    Accounts without any term are not among them: there is no contract to run forward. Where the histories are those of
    some accounts of more, `new_levels` are the `unseen_levels` of all. With `receivables` it has what may still be paid too.
    """
    last = last_terms(histories)
    booked = _booked_rows(histories, last)
    account_ids = histories.lines["account_id"].unique()
    if new_levels is None:
        levels = {name: histories.segment(name) for name in frame.segments}
        new_levels = unseen_levels(pa.table(levels), frame)
    columns = layout_columns(histories, frame, new_levels)
    events = event_sums(histories)
    return States(
        as_of=np.int32(histories.as_of_day),
        account=values(histories.lines, "account").astype(np.int64),
        account_ids=tuple(account_ids.to_pylist()),
        line_key=histories.line_keys,
        columns=columns,
        new_levels=new_levels,
        size_class=line_size_classes(histories, frame),
        **_status(histories, last),
        **_booked_terms(histories, booked),
        **_later_amendments(histories, booked),
        **_renewal_steps(histories, frame),
        T_active=values(histories.lines, "active_days") / DAYS_PER_YEAR,
        n_events=line_event_counts(histories).astype(np.int32),
        size_n=events[0],
        size_sum=events[1],
        T_lapsed=values(histories.lines, "ended_lapse_days") / DAYS_PER_YEAR,
        n_returns=values(histories.lines, "n_returns").astype(np.int32),
        **_committed_items(histories),
        **_receivables(histories, receivables),
        **_account_money(histories, account_ids),
    )


def last_terms(histories: Histories) -> Longs:
    """int64[L], row of every line's last term."""
    return np.flatnonzero(values(histories.terms, "last_in_line"))


def unseen_levels(levels: pa.Table, frame: Frame) -> NewLevels:
    """(segment column, level) of the levels, in the columns of that name, that are not in the frame."""
    found: list[tuple[str, str]] = []
    for name in frame.segments:
        new = set(pc.unique(levels[name]).to_pylist()) - set(frame.levels[name])
        found += [(name, level) for level in sorted(new)]
    return tuple(found)


def layout_columns(histories: Histories, frame: Frame, new_levels: NewLevels) -> Ints:
    """Columns of the location layout; after its last one come the levels unseen in training."""
    columns = line_levels(histories, frame)
    for s, name in enumerate(frame.segments):
        unseen = columns[:, s] < 0
        columns[:, s] += frame.first_column(name)
        if unseen.any():
            places = [place for place, (column, _) in enumerate(new_levels) if column == name]
            new = pa.array([new_levels[place][1] for place in places], pa.string())
            found = pc.index_in(histories.segment(name).filter(pa.array(unseen)), value_set=new).to_numpy()
            columns[unseen, s] = len(frame.location_columns) + places[0] + found
    return np.ascontiguousarray(columns)


def event_sums(histories: Histories) -> tuple[Ints, Floats]:
    """int32[L, 4] number and float64[L, 4] sum of the sizes y of every line's events, by kind."""
    n = histories.lines.num_rows
    number, total = np.zeros((n, 4), dtype=np.int32), np.zeros((n, 4))
    tables = (histories.amendments, histories.amendments, histories.one_offs, histories.one_offs)
    for i, (kind, table) in enumerate(zip(EVENT_KINDS, tables, strict=True)):
        rows = is_text(table, "kind", kind)
        line = values(table, "line")[rows]
        number[:, i] = counted(line, n)
        total[:, i] = np.bincount(line, weights=values(table, "y")[rows], minlength=n)
    return number, total


def _status(histories: Histories, last: Longs) -> dict[str, Any]:
    """The current spell and what is known of its open decision."""
    terms, decisions = histories.terms, histories.decisions
    notified, terminated = (is_text(decisions, "outcome", told)[last] for told in ("notified", "terminated"))
    status = np.select([notified, terminated], [1, 2], 0)
    effective_day = effective_days(histories)[last]
    # An early termination that is known ahead is a lapse on its day: the line lives until then.
    status = np.where((status == 2) & (effective_day > histories.as_of_day), 1, status)
    spell = values(terms, "spell")[last]
    return {
        "spell": spell.astype(np.int32),
        "unknown": values(histories.lines, "tenure_unknown") & (spell == 0),
        "status": status.astype(np.int8),
        "lapse_day": np.where(status == 2, effective_day, 0).astype(np.int32),
        "prev": values(terms, "prev")[last].astype(np.int8),
        "log_mrr_sum": values(terms, "log_mrr_sum")[last],
        "mrr_n": values(terms, "n")[last].astype(np.float64),
        "spell_base": values(terms, "spell_base")[last],
    }


def _known_ends(histories: Histories) -> Longs:
    """End of every term: its own, or the day of an early termination that is still to come."""
    terminated = is_text(histories.decisions, "outcome", "terminated")
    day = effective_days(histories)
    return np.where(terminated & (day > histories.as_of_day), day, values(histories.terms, "end_day"))


def effective_days(histories: Histories) -> Longs:
    """Day of the churn that ended each term; 0 where none did."""
    return values_or(histories.decisions, "effective_day", 0).astype(np.int64)


def _booked_rows(histories: Histories, last: Longs) -> Longs:
    """The terms still active after `as_of`, those whose booked renewal begins later, and every line's last one."""
    terms = histories.terms
    next_start = values_or(terms, "next_start", 0)
    kept = values(terms, "stop_day") > histories.origin_day
    kept |= values(terms, "renewed") & (next_start > histories.origin_day)
    kept[last] = True
    return np.flatnonzero(kept)


def _booked_terms(histories: Histories, rows: Longs) -> dict[str, Any]:
    """The arrays of these terms."""
    terms = histories.terms
    amendments = histories.amendments
    of_term, mrr = values(amendments, "term"), values(terms, "mrr")
    served, in_arr = (
        np.bincount(of_term, weights=values(amendments, name), minlength=terms.num_rows) for name in ("mrr", "counted")
    )
    return {
        "bt_ptr": offsets(counted(values(terms, "line")[rows], histories.lines.num_rows)),
        "bt_start": values(terms, "start_day")[rows].astype(np.int32),
        "bt_end": _known_ends(histories)[rows].astype(np.int32),
        "bt_months": values(terms, "months")[rows].astype(np.int32),
        "bt_amount": values(terms, "amount")[rows],
        "bt_amend": values(terms, "amend")[rows],
        "bt_expanded": values(terms, "expanded")[rows].astype(bool),
        "bt_mrr_now": (mrr + served)[rows],
        "bt_counted_mrr": (mrr + in_arr)[rows],
    }


def _later_amendments(histories: Histories, booked: Longs) -> dict[str, Any]:
    """Amendments of the booked terms that begin after the first day of the forecast and of their term, by line and day."""
    amendments, terms = histories.amendments, histories.terms
    term, day = values(amendments, "term"), values(amendments, "day")
    begins_later = day > np.maximum(values(terms, "start_day")[term], histories.origin_day)
    rows = np.flatnonzero(begins_later & np.isin(term, booked))
    first = np.searchsorted(values(terms, "line")[booked], values(amendments, "line"))
    line = values(amendments, "line")
    rows = rows[np.lexsort((rows, day[rows], line[rows]))]
    return {
        "la_ptr": offsets(counted(line[rows], histories.lines.num_rows)),
        "la_term": (np.searchsorted(booked, term[rows]) - first[rows]).astype(np.float64),
        "la_day": day[rows].astype(np.float64),
        "la_mrr": values(amendments, "mrr")[rows],
        "la_counted": values(amendments, "counted")[rows],
    }


def _renewal_steps(histories: Histories, frame: Frame) -> dict[str, Any]:
    """The steps taken in every line's current spell; the tenure at the start of its last term."""
    paths = renewal_paths(histories, frame)
    current = np.append(paths.line[1:] != paths.line[:-1], True)
    start, taken = paths.start[current], paths.length[current] - 1
    steps = flat_ranges(start, taken)
    return {
        "st_ptr": offsets(taken),
        "st_t0": paths.t0[steps] / 12.0,
        "st_t1": paths.t1[steps] / 12.0,
        "st_year": paths.year[steps].astype(np.int32),
        "st_class": frame.combined_class(*paths.classes[steps].T),
        "n_decisions": taken.astype(np.int32),
        "tenure": paths.t0[start + taken] / 12.0,
    }


def _committed_items(histories: Histories) -> dict[str, Any]:
    """Booked items with service from the origin on, by line and day."""
    items = histories.items
    line, start, cents = (values(items, name) for name in ("line", "start_day", "cents"))
    end = np.maximum(values(items, "end_day"), start + 1)
    rows = np.flatnonzero((line >= 0) & (end > histories.origin_day) & (cents != 0))
    rows = rows[np.lexsort((rows, end[rows], start[rows], line[rows]))]
    return {
        "ci_ptr": offsets(counted(line[rows], histories.lines.num_rows)),
        "ci_start": start[rows].astype(np.int32),
        "ci_end": end[rows].astype(np.int32),
        "ci_cents": cents[rows].astype(np.int64),
        "ci_tied": values(items, "tied")[rows].astype(bool),
    }


def _receivables(histories: Histories, wanted: bool) -> dict[str, Any]:
    """Booked items that may still be paid, by line; none when they are not wanted."""
    items = receivable_items(histories, histories.origin_day) if wanted else NO_RECEIVABLES
    line = values(histories.items, "line")[items.item]
    rows = np.argsort(line, kind="stable")
    rows = rows[line[rows] >= 0]
    return {
        "rc_ptr": offsets(counted(line[rows], histories.lines.num_rows)),
        "rc_start": items.start[rows].astype(np.int32),
        "rc_end": items.end[rows].astype(np.int32),
        "rc_booked": items.booked[rows].astype(np.int32),
        "rc_cents": items.cents[rows],
        "rc_tied": items.tied[rows],
        "rc_back_day": items.back_day[rows].astype(np.int32),
        "rc_known_day": items.known_day[rows].astype(np.int32),
        "rc_back_cents": items.back_cents[rows],
    }


def _account_money(histories: Histories, account_ids: pa.Array) -> dict[str, Any]:
    """Booked and recognised cents of every account."""
    money = histories.account_money
    rows = pc.index_in(account_ids, value_set=money["account_id"].combine_chunks()).to_numpy(zero_copy_only=False)
    return {name: values(money, name)[rows].astype(np.int64) for name in ("booked_cents", "recognised_cents")}
