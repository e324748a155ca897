"""New customers of each draw: sampled as the last months had them, or as they are planned.

Everything is keyed by (seed, draw): it does not depend on the other draws asked for, nor on the order of rows, and a longer
horizon adds to what a shorter one has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import nbinom

from clvforecast.errors import ForecastError
from clvforecast.histories.lines import segment_columns
from clvforecast.ledger import Ledger
from clvforecast.new_customers.plan import checked_plan, matching, says_all
from clvforecast.new_customers.rate import learn_rate
from clvforecast.new_customers.won import MONTHS_EACH, donors, no_donors, trailing_counts
from clvforecast.simulation.calendar import add_months, day_number

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
NOBODY = -1


@dataclass(frozen=True)
class TrailingNewCustomers:
    """New customers come as they did in the last ``months`` months of the ledger, whole quarters."""

    months: int = 12


@dataclass(frozen=True)
class PlannedNewCustomers:
    """New customers come as planned: ``table`` has one row a period and segment, with exact counts.

    Columns: ``start`` (first day of the period), ``customers`` (whole number booked in it); optionally ``end`` (its last day; by
    default the last of the month of ``start``), ``first_mrr`` and ``term_months``, and segment columns. What a row leaves out (no
    column, or an empty cell) is that of a customer won in the last ``donor_months`` months who is alike in what it does say of
    segments.
    """

    table: pd.DataFrame
    donor_months: int = 12


type Source = Literal["trailing"] | TrailingNewCustomers | PlannedNewCustomers | pd.DataFrame


def sample_new_customers(
    ledger: Ledger,
    source: Source = "trailing",
    horizon_months: int = 60,
    draws: int | Sequence[int] = 1000,
    seed: int = 7,
) -> pd.DataFrame:
    """The new customers of each draw, from the day after the ledger's ``as_of`` on.

    "trailing": the count of a quarter is negative binomial, given a rate and a spread between quarters that are learned from the
    ledger's last months (`learn_rate`). The rate goes on as it was: no trend, and no season but that of the months of a quarter.
    Price, term, segment levels, place of the booking in its quarter and days from there to service are those of a customer won in
    those months, drawn with weights that are uncertain too (the Bayesian bootstrap, Rubin 1981: Dirichlet(1, …, 1) in
    each draw). A plan's counts are exact, its days even within each period.

    Parameters
    ----------
    ledger
        What it knows by its ``as_of``.
    source
        "trailing", `TrailingNewCustomers`, `PlannedNewCustomers`, or a plan's table.
    horizon_months
        Length of the window in months.
    draws
        How many, or which: a draw has the same customers whatever others are asked for, so that a large company can be sampled
        some draws at a time.
    seed
        Key of the random numbers, with the draw.

    Returns
    -------
    DataFrame
        One row a draw and customer, ordered by them: draw; number (from 0 in the draw); booked_day, start_day (days since
        1970-01-01; service starts on the day of booking or later, maybe after the window); first_mrr (currency a month),
        term_months, and the segment columns.

    Raises
    ------
    ForecastError
        Nothing to learn from: no new customer in the months, or a ledger that does not reach so far back; a plan that cannot be.

    Examples
    --------
    >>> import clvforecast as clv
    >>> ledger = clv.datasets.load_phl_contracts(as_of="2018-06-30")
    >>> plan = pd.DataFrame({"start": ["2018-07-01", "2018-08-01"], "customers": [2, 1], "first_mrr": 900.0, "term_months": 12})
    >>> found = sample_new_customers(ledger, plan, horizon_months=12, draws=2)
    >>> found["draw"].tolist(), found["first_mrr"].unique().tolist()
    ([0, 0, 0, 1, 1, 1], [900.0])
    """
    if isinstance(horizon_months, bool) or int(horizon_months) != horizon_months or horizon_months < 1:
        raise ForecastError(f"horizon_months={horizon_months!r}: give a whole number of months, from 1 on.")
    which = [int(draw) for draw in (range(draws) if isinstance(draws, (int, np.integer)) else draws)]
    if isinstance(source, pd.DataFrame):
        source = PlannedNewCustomers(source)
    if isinstance(source, PlannedNewCustomers):
        end = int(add_months(day_number(ledger.as_of) + 1, int(horizon_months)))
        return _planned(ledger, source, which, seed, end)
    if isinstance(source, str) and source == "trailing":
        source = TrailingNewCustomers()
    if not isinstance(source, TrailingNewCustomers):
        raise ForecastError(
            f'new customers from {source!r} are not known. Give "trailing", TrailingNewCustomers(months=...), or a table '
            "of a plan with the columns start and customers."
        )
    return _trailing(ledger, source, which, seed, int(horizon_months))


def new_customer_policy(source: Source | None) -> str:
    """How new customers are counted, as a sentence for readers of a forecast.

    Examples
    --------
    >>> new_customer_policy(None)
    'Existing customers only: customers still to be won are in no figure.'
    """
    if source is None:
        return "Existing customers only: customers still to be won are in no figure."
    if isinstance(source, (PlannedNewCustomers, pd.DataFrame)):
        plan = source if isinstance(source, PlannedNewCustomers) else PlannedNewCustomers(source)
        count = int(pd.to_numeric(plan.table["customers"]).sum())
        return (
            f"New customers as planned: {count:,} in the whole plan, of which those in the window count. Their number is taken "
            "as certain; what each brings is simulated, and what the plan does not say of them is that of customers won in the "
            f"last {plan.donor_months} months."
        )
    months = source.months if isinstance(source, TrailingNewCustomers) else TrailingNewCustomers().months
    return (
        f"New customers come as in the last {months} months: their number with the uncertainty of so few quarters, without "
        "trend, and their price, term and segment drawn from those won then."
    )


class _Sample(NamedTuple):
    """The customers of one draw: booking day of each, row of the donors (or `NOBODY`), row of the plan (or `NOBODY`)."""

    draw: int
    booked: Longs
    donor: Longs
    plan: Longs


def _generator(seed: int, draw: int, purpose: str) -> np.random.Generator:
    text = f"{seed}\x1fnew customers\x1f{purpose}\x1f{draw}".encode()
    key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def _trailing(ledger: Ledger, source: TrailingNewCustomers, draws: list[int], seed: int, horizon: int) -> pd.DataFrame:
    learned = learn_rate(trailing_counts(ledger, source.months))
    given = donors(ledger, source.months)
    if given.empty:
        raise ForecastError(
            f"no new customer was booked in the {source.months} months up to {ledger.as_of}: there is none to learn price "
            "and term from. Look further back, TrailingNewCustomers(months=...), or plan them with first_mrr and term_months."
        )
    after = day_number(ledger.as_of) + 1
    quarters = range(0, horizon + MONTHS_EACH, MONTHS_EACH)
    edges = np.array([add_months(after, months) for months in quarters], dtype=np.int64)
    uniform = np.array([_generator(seed, draw, "rate").random(1 + edges.size) for draw in draws])
    rate, spread = learned.draws(uniform[:, :2])
    shape = 1.0 / spread[:, None] ** 2
    counts = nbinom.ppf(uniform[:, 2:], shape, shape / (shape + rate[:, None])).astype(np.int64)
    samples, end = [], int(add_months(after, horizon))
    for draw, count in zip(draws, counts, strict=True):
        generator, quarter = _generator(seed, draw, "who"), np.repeat(np.arange(count.size), count)
        weight = generator.standard_exponential(len(given))
        donor = _weighted(weight, generator.random(quarter.size))
        booked = edges[quarter] + (given["place"].to_numpy()[donor] * np.diff(edges)[quarter]).astype(np.int64)
        within = booked < end
        samples.append(_Sample(draw, booked[within], donor[within], np.full(within.sum(), NOBODY)))
    return _table(samples, given, pd.DataFrame(), list(segment_columns(ledger.accounts)))


def _weighted(weight: Floats, uniform: Floats) -> Longs:
    """For each uniform number one of the places of ``weight``, in proportion to it."""
    edges = np.cumsum(weight)
    return np.searchsorted(edges[:-1], uniform * edges[-1], side="right").astype(np.int64)


def _planned(ledger: Ledger, source: PlannedNewCustomers, draws: list[int], seed: int, end: int) -> pd.DataFrame:
    segments = list(segment_columns(ledger.accounts))
    plan = checked_plan(source.table, segments, ledger.as_of)
    plan = plan[plan["first_day"] < end].reset_index(drop=True)
    given = no_donors(ledger) if says_all(plan, segments) else donors(ledger, source.donor_months)
    alike = matching(plan, given, segments, source.donor_months, ledger.as_of)
    samples = [_planned_draw(draw, seed, plan, alike, len(given), end) for draw in draws]
    return _table(samples, given, plan, segments)


def _planned_draw(
    draw: int, seed: int, plan: pd.DataFrame, alike: list[Longs | None], n_donors: int, end: int
) -> _Sample:
    """A plan's customers in one draw, row after row; ``alike`` are the donors of each row."""
    generator = _generator(seed, draw, "planned")
    weight = generator.standard_exponential(n_donors)
    booked, donor = [], []
    periods = plan[["first_day", "last_day", "customers"]].itertuples(index=False, name=None)
    for own, (first, last, count) in zip(alike, periods, strict=True):
        place, pick = generator.random((count, 2)).T
        booked.append(first + (place * (last + 1 - first)).astype(np.int64))
        donor.append(np.full(count, NOBODY) if own is None else own[_weighted(weight[own], pick)])
    days = np.concatenate(booked or [np.zeros(0, np.int64)])
    within = days < end
    rows = np.repeat(np.arange(len(plan)), plan["customers"])
    return _Sample(draw, days[within], np.concatenate(donor or [np.zeros(0, np.int64)])[within], rows[within])


def _table(samples: list[_Sample], given: pd.DataFrame, plan: pd.DataFrame, segments: list[str]) -> pd.DataFrame:
    """One row a customer: what the plan's row says of it, else its donor; in the order of booking within the draw."""
    rows = [sample.booked.size for sample in samples]
    order = [np.argsort(sample.booked, kind="stable") for sample in samples]
    nobody = np.zeros(0, np.int64)
    placed = list(zip(samples, order, strict=True))
    booked = np.concatenate([nobody, *(sample.booked[of] for sample, of in placed)])
    donor = np.concatenate([nobody, *(sample.donor[of] for sample, of in placed)])
    row = np.concatenate([nobody, *(sample.plan[of] for sample, of in placed)])
    columns = {
        "draw": np.repeat(np.array([sample.draw for sample in samples], dtype=np.int64), rows),
        "number": np.concatenate([nobody, *(np.arange(size) for size in rows)]),
        "booked_day": booked,
        "start_day": booked + np.where(donor == NOBODY, 0, _values(given, "wait", donor).astype(np.int64)),
    }
    for name in ("first_mrr", "term_months", *segments):
        found = _values(given, name, donor)
        if name in plan.columns:
            own = _values(plan, name, row)
            found = np.where(pd.isna(own), found, own)
        columns[name] = found
    table = pd.DataFrame(columns)
    return table.astype({"first_mrr": np.float64, "term_months": np.int64})


def _values(table: pd.DataFrame, name: str, row: Longs) -> np.ndarray:
    """A column's values in some rows; where there is no row, what its first holds (0 where the table is empty)."""
    if not len(table):
        return np.zeros(row.size)
    return table[name].to_numpy()[np.maximum(row, 0)]
