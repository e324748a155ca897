"""Offers: what a customer not yet won would sign, price, length and segment, each with its share of a mix."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.cells import Frame
from clvforecast.errors import ForecastError
from clvforecast.fictional import check_first_terms

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
FAR_FROM_TRAINING = 10.0
"""Times the largest, or part of the smallest, boundary of the size classes: beyond it a price is unlike what training saw."""
LEVELS_SHOWN = 6


def offers_table(
    frame: Frame,
    first_mrr: float | Sequence[float] | Floats | pd.DataFrame,
    term_months: int | Sequence[int] | Longs | None,
    segment: Mapping[str, str] | None,
) -> pd.DataFrame:
    """The distinct offers of a mix: first_mrr, term_months, the posterior's segment columns, weight (they sum to 1).

    Rows that are alike are one, and their order is their own: that of the input changes nothing.

    Raises ForecastError for a price, length or weight that cannot be, and for segment columns too many or too few.
    """
    table = _given(first_mrr, term_months)
    if table.empty:
        raise ForecastError("the mix has no rows. Give at least one row of first_mrr and term_months.")
    for name, level in (segment or {}).items():
        if name in table.columns:
            raise ForecastError(f"segment {name!r} is given twice: as a column of the mix and in segment=. Drop one.")
        table[name] = level
    _check_segments(table, frame)
    check_first_terms(table)
    weight = pd.to_numeric(table["weight"], errors="coerce").to_numpy(np.float64)
    if not (np.isfinite(weight) & (weight >= 0.0)).all() or weight.sum() <= 0.0:
        raise ForecastError(
            f"weight={table['weight'].tolist()[:LEVELS_SHOWN]}: shares of a mix are numbers from 0 on, not all 0. Counts will do."
        )
    table["weight"] = weight / weight.sum()
    table["first_mrr"], table["term_months"] = table["first_mrr"].astype(float), table["term_months"].astype(int)
    keys = ["first_mrr", "term_months", *frame.segments]
    merged = table[table["weight"] > 0.0].groupby(keys, sort=True, as_index=False)["weight"].sum()
    return merged[[*keys, "weight"]]


def _given(first_mrr: Any, term_months: Any) -> pd.DataFrame:
    """The mix as a table of its own with first_mrr, term_months, weight and what else the user gave."""
    if isinstance(first_mrr, pd.DataFrame):
        table = first_mrr.reset_index(drop=True).copy()
        if term_months is not None and "term_months" not in table.columns:
            table["term_months"] = term_months
        for name in ("first_mrr", "term_months"):
            if name not in table.columns:
                raise ForecastError(
                    f"the mix has no column {name!r}; it has {', '.join(map(str, table.columns)) or 'none'}. Give first_mrr, "
                    "term_months, the segment columns and, where rows are not equally likely, weight."
                )
        return table if "weight" in table.columns else table.assign(weight=1.0)
    if term_months is None:
        raise ForecastError("term_months is missing: give the first term's length in months, for example 12.")
    try:
        mrr, months = np.broadcast_arrays(np.atleast_1d(first_mrr), np.atleast_1d(term_months))
    except ValueError as error:
        raise ForecastError(
            f"first_mrr has {np.size(first_mrr)} values and term_months {np.size(term_months)}: give as many, or one of either."
        ) from error
    return pd.DataFrame({"first_mrr": mrr, "term_months": months, "weight": 1.0})


def _check_segments(table: pd.DataFrame, frame: Frame) -> None:
    """Raise unless the table has the posterior's segment columns, a level in every row, and no others."""
    given = [name for name in table.columns if name not in ("first_mrr", "term_months", "weight")]
    for name in given:
        if name not in frame.segments:
            raise ForecastError(
                f"segment {name!r}: the posterior was trained with {', '.join(frame.segments) or 'no segments'}. Leave "
                "it out, or fit with it: clv.fit(ledger, segments=[...])."
            )
    for name in frame.segments:
        levels = frame.levels[name]
        shown = ", ".join(levels[:LEVELS_SHOWN]) + (", ..." if len(levels) > LEVELS_SHOWN else "")
        if name not in given:
            raise ForecastError(f"segment {name!r} is missing: say which level, segment={{{name!r}: ...}}, of {shown}.")
        if table[name].isna().any():
            row = int(np.argmax(table[name].isna().to_numpy()))
            raise ForecastError(f"row {row + 1}: segment {name!r} is empty. Give a level, of {shown}.")
        table[name] = table[name].astype(str)


def far_prices(offers: pd.DataFrame, frame: Frame) -> list[str]:
    """A warning where a first MRR is far from all that training has seen."""
    if not len(frame.size_edges):
        return []
    low, high = np.exp(frame.size_edges[0]) / FAR_FROM_TRAINING, np.exp(frame.size_edges[-1]) * FAR_FROM_TRAINING
    far = offers.loc[(offers["first_mrr"] < low) | (offers["first_mrr"] > high), "first_mrr"]
    if far.empty:
        return []
    return [
        f"first_mrr: {len(far)} of {len(offers)} offers ({far.iloc[0]:,.2f}) are far from the prices in training, whose size "
        f"classes are cut between {low * FAR_FROM_TRAINING:,.2f} and {high / FAR_FROM_TRAINING:,.2f} a month. Check the unit (a "
        "month, not a year); what is forecast there is that of the nearest size class."
    ]


def offsets_of_draws(seed: int, draws: int) -> Floats:
    """(D,) one uniform number a draw, keyed by (seed, draw): the place where its systematic sample of the mix begins."""
    key = int.from_bytes(hashlib.blake2b(f"{seed}\x1fprospects".encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key)).random(draws)


def members(weights: Floats, size: int, offsets: Floats) -> Longs:
    """(D, offers) how many of ``size`` customers sign each offer in each draw: a systematic sample of the mix.

    Customer s = 0..size−1 has the offer whose part of [0, 1) holds (s + U)/size, U the draw's offset: each count is
    size × weight rounded down or up, its mean over draws is size × weight, and they sum to ``size`` in every draw.
    """
    edges = np.cumsum(weights)
    edges[-1] = 1.0
    before = np.clip(np.ceil(size * edges - offsets[:, None]), 0, size).astype(np.int64)
    return np.diff(before, axis=1, prepend=0)
