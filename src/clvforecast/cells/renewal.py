"""Renewal histories: the steps of every spell, and what is known of its last decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.cells.frame import N_NUMBERS, Frame, calendar_year
from clvforecast.cells.levels import lag_bin_of
from clvforecast.cells.records import NOTIFIED, OPEN, UNREACHED
from clvforecast.histories import Histories
from clvforecast.histories.engine import is_text, values
from clvforecast.histories.runs import offsets, places, run_lengths, run_starts, running_sums

Longs = NDArray[np.int64]
Ints = NDArray[np.int32]

QUARTERS = 4
"""Parts of a lag bin to which the share of it that has passed is rounded."""


@dataclass(frozen=True)
class Paths:
    """Every spell's steps: m earlier ones, those taken, and the one not yet taken (the last). P spells.

    line int64[P]; second bool[P]; start, length int64[P] (steps of the spell, m + n + 1); earlier int64[P]
    (m).
    t0, t1 are months (int64), classes int64[steps, 5] (term class, size class, number, expanded, cut) and year int64[steps]
    the decision's calendar year, by spell.
    """

    line: Longs
    second: NDArray[np.bool_]
    start: Longs
    length: Longs
    earlier: Longs
    t0: Longs
    t1: Longs
    classes: Longs
    year: Longs


def renewal_paths(histories: Histories, frame: Frame) -> Paths:
    """The steps of every spell.

    Tenure at decision k: t_k = (m·months_1 + Σ_{j<=k} served_months_j) / 12, kept in whole months here.
    The m earlier decisions have the first observed term's length, class and size, were not expanded and not
    cut; the last of them was taken in the month in which that term starts.
    The decision not yet taken has the contract's months of the last term.
    """
    terms = histories.terms
    line, spell, k = (values(terms, name) for name in ("line", "spell", "k"))
    starts = run_starts(line, spell)
    observed = run_lengths(starts, len(line))
    m = np.where(spell[starts] == 0, values(histories.lines, "observed_from")[line[starts]], 0).astype(np.int64)
    length = m + observed
    # row of `terms` behind each step: the first term for the m earlier steps, then the spell's terms
    place = places(offsets(length)[:-1], int(length.sum()))
    m_of_step = np.repeat(m, length)
    term = np.repeat(starts, length) + np.maximum(place - m_of_step, 0)
    earlier = place < m_of_step
    months, served = values(terms, "months"), values(terms, "served_months")
    step_months = np.where(earlier, months[term], served[term])
    t1 = running_sums(step_months, offsets(length)[:-1])
    classes = np.stack(
        [
            frame.term_class_of(months)[term],
            frame.size_class_of(values(terms, "size"))[term],
            np.minimum(place, N_NUMBERS - 1),
            np.where(earlier, False, values(terms, "expanded")[term]),
            np.where(earlier, False, values(terms, "cut")[term]),
        ],
        axis=1,
    ).astype(np.int64)
    return Paths(
        line=line[starts],
        second=spell[starts] > 0,
        start=offsets(length)[:-1],
        length=length,
        earlier=m,
        t0=t1 - step_months,
        t1=t1,
        classes=classes,
        year=_decision_years(terms, term, months[term] * (m_of_step - 1 - place), earlier),
    )


def _decision_years(terms: pa.Table, term: Longs, months_before: Longs, earlier: NDArray[np.bool_]) -> Longs:
    """The calendar year of each step: of its term's end, or so many months before the first observed term's start."""
    years = calendar_year(values(terms, "end_day"))[term]
    before = np.flatnonzero(earlier)
    start_day = values(terms, "start_day")[term[before]]
    start_month = start_day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    years[before] = (start_month - months_before[before]) // 12 + 1970
    return years


@dataclass(frozen=True)
class Outcomes:
    """What is known of each spell's last decision: the columns of `RenewalCells` of the same names."""

    outcome: Ints
    lag_bin: Ints
    f_bin: Ints
    f_quarters: Ints


def last_outcomes(histories: Histories, frame: Frame) -> Outcomes:
    """The outcome of the decision after the renewed ones, of every spell.

    Where another spell follows, the lapse is certain: F = 1 however recent the end was.
    """
    decisions = histories.decisions
    last = np.flatnonzero(~is_text(decisions, "outcome", "renewed"))
    d = values(decisions, "d")[last].astype(np.float64)
    d[values(decisions, "returned")[last]] = frame.lag_edges[-1]
    f_bin, f_quarters = passed_share(d, frame.lag_edges)
    is_open, is_notified = (is_text(decisions, "outcome", told)[last] for told in ("open", "notified"))
    nothing_due = is_open & (f_bin == 0) & (f_quarters == 0)
    outcome = np.where(is_notified, NOTIFIED, np.where(is_open & ~nothing_due, OPEN, UNREACHED)).astype(np.int32)
    lag = decisions["lag_days"].combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)[last].astype(np.float64)
    counts = outcome == OPEN
    return Outcomes(
        outcome=outcome,
        lag_bin=np.where(is_notified, lag_bin_of(lag, frame.lag_edges), -1).astype(np.int32),
        f_bin=np.where(counts, f_bin, 0).astype(np.int32),
        f_quarters=np.where(counts, f_quarters, 0).astype(np.int32),
    )


def passed_share(d: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[Ints, Ints]:
    """j and q such that F(d) = Σ_{i<j} f_i + (q/4) f_j; (0, 0): before all lags, (J-1, 4): after."""
    J = len(edges) - 1
    inside = np.clip(d, edges[0], edges[-1])
    j = np.clip(np.searchsorted(edges, inside, side="left") - 1, 0, J - 1)
    quarters = np.rint(QUARTERS * (inside - edges[j]) / (edges[j + 1] - edges[j])).astype(np.int32)
    full = (quarters == QUARTERS) & (j < J - 1)  # the end of a bin is the start of the next one
    return np.where(full, j + 1, j).astype(np.int32), np.where(full, 0, quarters).astype(np.int32)
