"""`build_histories`: the stages from a ledger's events to `Histories`, in order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.histories.amendments import amendment_sums, amendment_table, one_off_table
from clvforecast.histories.churns import SUPERSEDED, TERMINATED, attach_churns, churn_roles, link_ends
from clvforecast.histories.decisions import decision_table
from clvforecast.histories.engine import is_text, values, with_columns
from clvforecast.histories.items import debookings, item_table, named_items
from clvforecast.histories.join import NUMBERED_BY, joined
from clvforecast.histories.lines import (
    describe_lines,
    find_lines,
    numbered_events,
    of_kinds,
    place_events,
    segment_columns,
)
from clvforecast.histories.money import account_money, recognise_items
from clvforecast.histories.records import EPOCH, SEGMENT, Histories
from clvforecast.histories.runs import run_starts, run_sums
from clvforecast.histories.slices import ACCOUNTS_EACH, Slice, account_slices
from clvforecast.histories.terms import (
    amended_values,
    base_terms,
    directions,
    link_terms,
    spell_values,
    stop_days,
    term_arrays,
)
from clvforecast.ledger import Ledger
from clvforecast.ledger.rows import in_order, is_in_order
from clvforecast.machine import available_threads

Counts = tuple[int, int, int]
PASSED_OVER = (
    "churn events do not count: the contract was renewed after all, or another one decides.",
    "events belong to accounts without a booked term yet: their money counts, they are not forecast.",
    "terms start before half of the one before is over. Give parallel contracts a contract_id.",
)
"""What was passed over, or looks wrong."""


def build_histories(
    ledger: Ledger, accounts_each: int = ACCOUNTS_EACH, only: Mapping[str, Collection[str]] | None = None
) -> Histories:
    """Contract terms, renewal decisions, exposures and money as known on the ledger's `as_of`.

    Only `ledger.events` are used (booked by `as_of`); a booked term that starts later is committed. The
    order of the ledger's rows does not matter, nor how many accounts are worked on at a time (`accounts_each`).
    `only` names the tables and columns to keep, where not all are needed: the other columns are dropped (but for the
    segments'), the other tables left empty. Of lines it keeps at least `account`, by which slices are put together.

    Raises
    ------
    HistoryError
        When no initial or renewal is booked by `as_of`: then there is nothing to model.

    Examples
    --------
    >>> from clvforecast.datasets import load_phl_contracts
    >>> histories = build_histories(load_phl_contracts(as_of="2018-06-30"))
    >>> histories.lines.num_rows, histories.terms.num_rows
    (1542, 4968)
    """
    with ThreadPoolExecutor(available_threads()) as pool:
        built = list(pool.map(lambda part: slice_histories(part, only), account_slices(ledger, accounts_each)))
    passed_over = np.sum([counts for _, counts in built], axis=0)
    return replace(joined([histories for histories, _ in built]), warnings=passed_over_words(passed_over))


def passed_over_words(counts: Iterable[int]) -> tuple[str, ...]:
    """What was passed over, or looks wrong, and how often; what never occurs is left out."""
    return tuple(f"{count} {words}" for count, words in zip(counts, PASSED_OVER, strict=True) if count)


def slice_histories(part: Slice, only: Mapping[str, Collection[str]] | None = None) -> tuple[Histories, Counts]:
    """The histories of one slice of a ledger, and how often each of `PASSED_OVER` is true of it."""
    ledger = part.ledger
    if not is_in_order(ledger.events):
        ledger = replace(ledger, events=in_order(ledger.events))
    as_of_day = (ledger.as_of - EPOCH).days
    events = numbered_events(ledger.events)
    lines = find_lines(events)
    placed = place_events(events, lines)
    terms, churns = _terms_and_churns(placed, ledger.grace_days)
    terms = spell_values(terms)
    amendments = amendment_table(placed, terms)
    terms = directions(amended_values(terms, *amendment_sums(amendments, terms.num_rows)))
    churns = debookings(churns, terms, amendments)
    decisions = decision_table(terms, churns, as_of_day)
    items = recognise_items(item_table(placed, terms, amendments, churns), as_of_day + 1)
    of_accounts = account_money(items, values(placed, "account"), events.account_ids, ledger.accounts)
    histories = Histories(
        lines=_with_exposures(describe_lines(events, lines, ledger), terms, decisions, as_of_day + 1),
        terms=terms,
        decisions=decisions,
        amendments=amendments.drop_columns(["place"]),
        one_offs=one_off_table(placed, terms),
        churns=churns.drop_columns(["place"]),
        items=named_items(items, events),
        account_money=of_accounts,
        segment_columns=segment_columns(ledger.accounts),
        as_of=ledger.as_of,
        grace_days=ledger.grace_days,
    )
    kept = histories if only is None else _kept(histories, only)
    return kept, _passed_over(terms, churns, values(placed, "line"))


def _kept(histories: Histories, only: Mapping[str, Collection[str]]) -> Histories:
    """The histories with these columns of these tables, and the lines' segments."""
    segments = [name for name in histories.lines.column_names if name.startswith(SEGMENT)]
    tables = {}
    for name in NUMBERED_BY:
        table = getattr(histories, name)
        chosen = [*only.get(name, ()), *(segments if name == "lines" else ())]
        tables[name] = table.select(chosen) if name in only else table.schema.empty_table()
    return replace(histories, **tables)


def _terms_and_churns(placed: pa.Table, grace_days: int | None) -> tuple[pa.Table, pa.Table]:
    """Linked terms with their `stop_day`, and churns with their roles."""
    terms = base_terms(placed, grace_days)
    arrays = term_arrays(terms)
    rows = np.flatnonzero(of_kinds(placed, "churn") & (values(placed, "line") >= 0))
    columns = ["event_id", "line", "amount_cents", "day", "booked_day"]
    churns = attach_churns(with_columns(placed.select(columns).take(pa.array(rows)), place=rows), arrays)
    terms = link_terms(with_columns(terms, link_end=link_ends(arrays, churns)))
    churns = churn_roles(churns, values(terms, "renewed"))
    terminations = churns.filter(pc.equal(churns["role"], TERMINATED))
    terms = with_columns(terms, stop_day=stop_days(terms, terminations))
    return terms.drop_columns(["link_end"]), churns.drop_columns(["day", "early", "deciding"])


def _with_exposures(lines: pa.Table, terms: pa.Table, decisions: pa.Table, origin_day: int) -> pa.Table:
    """Lines with base, n_spells, n_returns, n_terminations and days active and lapsed to the origin."""
    starts = run_starts(values(terms, "line"))
    served_to = np.minimum(values(terms, "stop_day"), origin_day)
    active = np.maximum(served_to - values(terms, "start_day"), 0)
    returned = values(decisions, "returned")
    terminated = is_text(decisions, "outcome", TERMINATED)
    return with_columns(
        lines,
        base=values(terms, "base")[starts],
        n_spells=run_sums((values(terms, "k") == 1).astype(np.int64), starts),
        active_days=run_sums(active, starts),
        ended_lapse_days=run_sums(np.where(returned, values(decisions, "lapsed_days"), 0), starts),
        n_returns=run_sums(returned.astype(np.int64), starts),
        n_terminations=run_sums(terminated.astype(np.int64), starts),
    )


def _passed_over(terms: pa.Table, churns: pa.Table, line: NDArray[np.int64]) -> Counts:
    superseded = int(is_text(churns, "role", SUPERSEDED).sum())
    homeless = int((line < 0).sum())
    overlap = terms["gap_days"].combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)
    days = values(terms, "end_day") - values(terms, "start_day")
    parallel = int((overlap[1:] < -days[:-1] / 2).sum())
    return superseded, homeless, parallel
