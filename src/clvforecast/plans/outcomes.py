"""What open steps become in every draw of a forecast: whether they come, and if so on which day, and for how much.

Random numbers are one block of Philox for each step and draw, keyed by (seed, account_id, step_id, draw): they depend on no
other step, nor on the order of rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtri

from clvforecast.intervals import check_interval, sorted_interval
from clvforecast.ledger.days import whole_days
from clvforecast.machine import available_threads
from clvforecast.plans.counts import MAX_SHARE
from clvforecast.plans.delays import drawn_day, probability_left, still_to_come
from clvforecast.plans.lags import drawn_lag, still_booked
from clvforecast.plans.matching import Matches, kind_codes
from clvforecast.plans.steps import RENEWAL, STEP_KINDS
from clvforecast.simulation.random import philox_round

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

ROUNDS = 10
N_UNIFORMS = 4
_ONE_32 = 2.0**-32
EPOCH = np.datetime64("1970-01-01", "D")
CELLS_AT_A_TIME = 2**18
"""Steps times draws that are worked out together: their arrays stay in the cache."""
Outcome = tuple[Floats, Floats, NDArray[np.int32], Longs]
"""probability, choice, day and cents of steps, each (S, D)."""


@dataclass(frozen=True, repr=False)
class PlanOutcomes:
    """Open steps under every draw.  Made by `PlanReliability.resolve`; S steps, D draws.

    Steps are in the order (account_id, planned day, kind, step_id). Days are whole days since 1970-01-01, money is in cents.

    Attributes
    ----------
    account_id, step_id : (S,) text.
    kind : int8 (S,), place in `plans.steps.STEP_KINDS`: 0 renewal, 1 expansion, 2 contraction, 3 change_order.
    planned_day : int32 (S,).
    planned_cents : int64 (S,), 0 where the plan gives no amount (a renewal at the model's price); contraction negative.
    months : int32 (S,), term of a renewal; 0 where the plan gives none, and for other kinds.
    stated : float64 (S,), the probability that the plan states, NaN without.
    probability : float64 (S, D), that the step still comes, given that it had not by `as_of`; of an event also given that
        the account is under contract until it does. NaN of a renewal that comes as the forecast's own model has it, see
        `PlanReliability.resolve`.
    choice : float64 (S, D), a uniform number: the step comes where it lies below the probability.
    day : int32 (S, D), on which it is booked if it comes, after `as_of` and at most the window (of a renewal:
        `renewal_days`) after the planned day.
    cents : int64 (S, D), what it brings if it comes: planned amount times the drawn share; 0 where no amount is planned.
    weight : float64 (D,), of the stated probability of a renewal beside that of the forecast's own model: its log odds are
        those of the two, weighed, where ``probability`` is NaN and one is stated.
    draw : int64 (D,), the draw of the reliability's parameters that each draw has.
    as_of_day : the day up to which events were known.
    """

    account_id: NDArray[np.object_]
    step_id: NDArray[np.object_]
    kind: NDArray[np.int8]
    planned_day: NDArray[np.int32]
    planned_cents: Longs
    months: NDArray[np.int32]
    stated: Floats
    probability: Floats
    choice: Floats
    day: NDArray[np.int32]
    cents: Longs
    weight: Floats
    draw: Longs
    as_of_day: int

    def __len__(self) -> int:
        return len(self.account_id)

    @property
    def hit(self) -> NDArray[np.bool_]:
        """(S, D) whether a step comes; False where the forecast's own model decides."""
        return np.asarray(self.choice < self.probability)

    @property
    def as_modelled(self) -> NDArray[np.bool_]:
        """(S,) renewals that come as the forecast's own model has it, moved to what is stated where that is."""
        return np.asarray(np.isnan(self.probability).any(axis=1))

    def __repr__(self) -> str:
        come = float(self.hit.sum(axis=0).mean()) if len(self) else 0.0
        modelled = int(self.as_modelled.sum())
        rest = f", {modelled:,} renewals as the model has them" if modelled else ""
        return f"<PlanOutcomes: {len(self):,} open steps under {len(self.draw):,} draws, {come:,.1f} come on average{rest}>"

    def table(self, ci_prob: float = 0.9) -> pd.DataFrame:
        """One row a step: account_id, step_id, date, kind, amount, term_months, stated, probability (mean), lower, upper (of the
        probability, from the draws of the parameters), expected_amount (probability times the mean of what it brings, of an
        event while the account is under contract), ci_prob. Empty where the forecast's own model decides.
        """
        check_interval(ci_prob, "eti")
        lower, upper = sorted_interval(np.sort(self.probability.T, axis=0), ci_prob, "eti")
        known = (self.planned_cents != 0) & ~self.as_modelled
        return pd.DataFrame(
            {
                "account_id": self.account_id,
                "step_id": self.step_id,
                "date": (EPOCH + self.planned_day.astype("timedelta64[D]")).astype("datetime64[s]"),
                "kind": np.array(STEP_KINDS, dtype=object)[self.kind],
                "amount": np.where(self.planned_cents == 0, np.nan, self.planned_cents / 100.0),
                "term_months": pd.Series(self.months, dtype="Int32").where(self.months > 0),
                "stated": self.stated,
                "probability": self.probability.mean(axis=1),
                "lower": lower,
                "upper": upper,
                "expected_amount": np.where(known, (self.probability * self.cents).mean(axis=1) / 100.0, np.nan),
                "ci_prob": ci_prob,
            }
        )


@dataclass(frozen=True)
class OpenSteps:
    """Steps that may still come, as arrays (S,): key of the random numbers, place of the kind, planned day and cents, stated
    probability, first possible delay, and days from the planned day to `as_of`.
    """

    key: NDArray[np.uint64]
    kind: Longs
    planned_day: Longs
    planned_cents: Longs
    stated: Floats
    lower: Longs
    elapsed: Longs

    def __len__(self) -> int:
        return len(self.key)

    def part(self, rows: slice) -> OpenSteps:
        """Some of them."""
        return OpenSteps(*(getattr(self, of.name)[rows] for of in fields(self)))


def open_steps(steps: pa.Table, matches: Matches) -> OpenSteps:
    """The arrays of steps and their matches, all of which are open."""
    return OpenSteps(
        key=step_keys(steps),
        kind=kind_codes(steps),
        planned_day=whole_days(steps["planned_date"]),
        planned_cents=steps["amount_cents"].fill_null(0).to_numpy().astype(np.int64),
        stated=steps["probability"].to_numpy(),
        lower=matches.lower,
        elapsed=matches.elapsed,
    )


@dataclass(frozen=True)
class Drawn:
    """The parameters that steps have under every draw, each (S, D); p is before anything is known of their windows; delay_mean
    and delay_scale mean nothing for renewals, whose delays have the bins' shares `lags` (D, J) between `lag_edges` (J + 1,).
    """

    p: Floats
    delay_mean: Floats
    delay_scale: Floats
    share_mean: Floats
    share_sd: Floats
    lags: Floats
    lag_edges: tuple[int, ...]


def model_weights(seed: int, draws: int) -> Floats:
    """(D,) uniform numbers: of what a plan states of a renewal beside the model, while no record says what such statements are
    worth. One for all steps of a draw, for it is not known of any."""
    digest = hashlib.blake2b(b"plan\x1fweight", digest_size=8).digest()
    return uniforms(np.frombuffer(digest, dtype="<u8").astype(np.uint64), seed, draws)[0][0]


def step_keys(steps: pa.Table) -> NDArray[np.uint64]:
    """uint64 (S,): the first 8 bytes, little endian, of blake2b(digest_size=8) of "plan", account_id and step_id, with U+001F
    between them."""
    pairs = zip(steps["account_id"].to_pylist(), steps["step_id"].to_pylist(), strict=True)
    texts = ("\x1f".join(("plan", account, step)).encode() for account, step in pairs)
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def uniforms(keys: NDArray[np.uint64], seed: int, draws: int) -> tuple[Floats, ...]:
    """Four uniform numbers (S, D), strictly between 0 and 1, for each key and draw: the 32-bit words of Philox4x32-10.

    The block is that of a stream of `simulation.random` with this key: counter (0, draw, seed low, seed high).
    """
    low = np.uint64(0xFFFFFFFF)
    wide = np.uint64(seed)
    shape = (len(keys), draws)
    words = [np.zeros(shape, np.uint64), np.broadcast_to(np.arange(draws, dtype=np.uint64), shape)]
    words += [np.full(shape, wide & low), np.full(shape, wide >> np.uint64(32))]
    key_0, key_1 = (keys & low)[:, None], (keys >> np.uint64(32))[:, None]
    for _ in range(ROUNDS):
        *words, key_0, key_1 = philox_round.py_func(*words, key_0, key_1)
    return tuple((word.astype(float) + 0.5) * _ONE_32 for word in words)


def outcomes_of(steps: OpenSteps, seed: int, given: Drawn, window: int, draws: int) -> Outcome:
    """What becomes of some steps."""
    shape = (len(steps), draws)
    of_hit, of_day, of_share, _ = uniforms(steps.key, seed, draws)
    probability = np.broadcast_to(given.p, shape).copy()
    begun, renewal = steps.elapsed >= steps.lower, steps.kind == RENEWAL
    for mine in (np.flatnonzero(begun & ~renewal), np.flatnonzero(begun & renewal)):
        if len(mine):
            probability[mine] = probability_left(probability[mine], _to_come(steps, mine, given, window))
    step, draw = (place.ravel() for place in np.indices(shape))
    delay = _delays(of_day.ravel(), steps, step, draw, given, window).reshape(shape)
    bound = np.log(MAX_SHARE)
    log_share = np.clip(given.share_mean + given.share_sd * ndtri(of_share), -bound, bound)
    day = (steps.planned_day[:, None] + delay).astype(np.int32)
    cents = np.rint(steps.planned_cents[:, None] * np.exp(log_share)).astype(np.int64)
    return probability, of_hit, day, cents


def _to_come(steps: OpenSteps, mine: Longs, given: Drawn, window: int) -> Floats:
    """1 - F(d), (n, D), of some steps that are all renewals, or none."""
    elapsed, lower = steps.elapsed[mine].astype(float), steps.lower[mine].astype(float)
    if steps.kind[mine[0]] == RENEWAL:
        return still_booked(elapsed, lower, given.lag_edges, given.lags)
    return still_to_come(elapsed[:, None], lower[:, None], window, given.delay_mean[mine], given.delay_scale[mine])


def _delays(uniform: Floats, steps: OpenSteps, step: Longs, draw: Longs, given: Drawn, window: int) -> Floats:
    """The drawn delay of each pair of a step and a draw, if it comes."""
    delay = np.empty(len(step))
    renewal = steps.kind[step] == RENEWAL
    for of_renewals in (True, False):
        mine = np.flatnonzero(renewal == of_renewals)
        row, column = step[mine], draw[mine]
        elapsed, lower = steps.elapsed[row].astype(float), steps.lower[row].astype(float)
        if of_renewals:
            delay[mine] = drawn_lag(uniform[mine], elapsed, lower, given.lag_edges, given.lags[column])
        else:
            mean, scale = given.delay_mean[row, column], given.delay_scale[row, column]
            delay[mine] = drawn_day(uniform[mine], elapsed, lower, window, mean, scale)
    return delay


def outcomes_as_stated(steps: OpenSteps, seed: int, draws: int) -> Outcome:
    """At the stated probability, on the planned day or the first after `as_of`, at the planned amount."""
    probability = np.broadcast_to(steps.stated[:, None], (len(steps), draws)).copy()
    shape = probability.shape
    on = (steps.planned_day + np.maximum(steps.elapsed + 1, 0)).astype(np.int32)[:, None]
    cents = steps.planned_cents[:, None]
    return probability, uniforms(steps.key, seed, draws)[0], np.broadcast_to(on, shape), np.broadcast_to(cents, shape)


def in_parts(some: Callable[[slice], Outcome], steps: int, draws: int, threads: int | None) -> Outcome:
    """`some` of slices of the steps, side by side, into arrays (S, D) that are made once."""
    shape, each = (steps, draws), max(1, CELLS_AT_A_TIME // draws)
    probability, choice = np.zeros(shape), np.zeros(shape)
    day, cents = np.zeros(shape, np.int32), np.zeros(shape, np.int64)

    def fill(part: slice) -> None:
        probability[part], choice[part], day[part], cents[part] = some(part)

    with ThreadPoolExecutor(threads or available_threads()) as pool:
        list(pool.map(fill, [slice(first, first + each) for first in range(0, steps, each)]))
    return probability, choice, day, cents
