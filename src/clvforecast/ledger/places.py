"""The rules that need the terms of a line: whether a row that is no term lies where its kind may lie.

A line is (account_id, contract_id). Rows without contract_id, in an account whose terms all carry one, belong to any of
them: there every term stands a second time under the empty contract_id.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clvforecast.events import FIRST_DAY, KINDS, RULES
from clvforecast.ledger.days import term_ends

Longs = NDArray[np.int64]
Flags = NDArray[np.bool_]

DAY_BITS = 20  # of a day counted from the first one a ledger may have; terms end within four centuries of it
FIRST = int(np.datetime64(FIRST_DAY, "D").astype(np.int64))
RULE_CODES = {rule.name: code for code, rule in enumerate(RULES)}
IN_ORDER = -1  # no rule is broken


def of_kinds(kind: Longs, placement: str) -> Flags:
    """Whether each kind (its place in `KINDS`) has that placement."""
    return np.array([known.placement == placement for known in KINDS])[kind]


@dataclass(frozen=True)
class Places:
    """Rows as integers, R of them: number of the account and of the contract_id (0: none is given), place of the kind in
    `KINDS`, days since 1970-01-01, and months of a term (0 where there are none)."""

    account: Longs
    contract: Longs
    kind: Longs
    start_day: Longs
    booked_day: Longs
    months: Longs


@dataclass(frozen=True)
class TermTime:
    """The time that terms cover: rows ordered by (line, start), packed with the line's number above the day.

    line: key of every line, increasing; first: its first row; start: packed start of every row; covered_until: packed
    latest end of the line's rows so far.
    """

    line: Longs
    first: Longs
    start: Longs
    covered_until: Longs


def line_key(account: Longs, contract: Longs | int) -> Longs:
    return np.asarray((account << 32) | contract, dtype=np.int64)


def term_time(rows: Places, term: Longs, other: Longs) -> TermTime:
    """What the rows `term` cover, as the rows `other` need to know it."""
    account, contract = rows.account[term], rows.contract[term]
    start, end = rows.start_day[term], term_ends(rows.start_day[term], rows.months[term])
    # terms of accounts in which all terms carry a contract_id, and a row does not
    adopts = np.zeros(int(rows.account.max(initial=-1)) + 1, dtype=bool)
    adopts[rows.account[other[rows.contract[other] == 0]]] = True
    adopts[account[contract == 0]] = False
    again = np.flatnonzero(adopts[account])
    line = np.concatenate((line_key(account, contract), line_key(account[again], 0)))
    start, end = (np.concatenate((day, day[again])) - FIRST for day in (start, end))
    if not ((line[1:] > line[:-1]) | ((line[1:] == line[:-1]) & (start[1:] >= start[:-1]))).all():
        order = np.lexsort((start, line))
        line, start, end = line[order], start[order], end[order]
    first = np.flatnonzero(np.append(True, line[1:] != line[:-1])[: len(line)])
    number = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(line)))) << DAY_BITS
    return TermTime(line[first], first, number | start, np.maximum.accumulate(number | end))


def misplaced(rows: Places, known: Flags) -> NDArray[np.int8]:
    """The rule (its place in `RULES`) that each row breaks by its place among the `known` terms, or `IN_ORDER`.

    covered until  u = max{end : start <= start_date} over the line's terms,      covered  <=>  start_date < u
    """
    is_term = of_kinds(rows.kind, "opens a term")
    rule = np.full(len(is_term), IN_ORDER, dtype=np.int8)
    other = np.flatnonzero(~is_term)
    terms = term_time(rows, np.flatnonzero(is_term & known), other)
    if not len(terms.line):
        rule[other] = RULE_CODES["no_term"]
        return rule
    wanted, day = line_key(rows.account[other], rows.contract[other]), rows.start_day[other] - FIRST
    line = np.minimum(np.searchsorted(terms.line, wanted), len(terms.line) - 1)
    has_terms = terms.line[line] == wanted
    place = (line << DAY_BITS) | day
    begun = np.searchsorted(terms.start, place, side="right") - 1
    before = begun < terms.first[line]
    uncovered = before | (terms.covered_until[begun] <= place)
    inside, onward = (of_kinds(rows.kind[other], name) for name in ("inside a term", "from a first term on"))
    rule[other] = np.select(
        [~has_terms, inside & uncovered, onward & before],
        [RULE_CODES[name] for name in ("no_term", "outside_term", "churn_before_start")],
        IN_ORDER,
    )
    return rule
