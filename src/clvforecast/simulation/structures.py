"""What a simulation reads, as named tuples of arrays without labels; `packing` lays it out for the kernel.

Dimensions: D posterior draws, C columns of the location layout, L lines, T booked terms, S steps, I items, V term values.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NewLevels = tuple[tuple[str, str], ...]
"""(segment column, level) of levels never seen in training, by column, then by name."""


class Parameters(NamedTuple):
    """Posterior draws of everything that lines share, draw first.

    location: (D, 17, C) additive location parameters: logit, log rate a year, or mean on the size's own scale
    phi, exponent: (D,) polarisation 1/(a+b+1) and the tenure exponent c of the renewal model
    weight: (D, classes) exp(class effects) that multiplies each step of the tenure clock
    year_weight: (D, 1 + Y) 1, then exp(effect) of each calendar year from the frame's first on, the last one of all later years
    shape: (D, 5) gamma shape r of the four event rates and of reactivation
    tau, sigma: (D, 4) between-line and within-line SD of the four event sizes
    direction: (D, 5, 2) log odds of (down, up) against flat, by direction row
    change: (D, 2, 3) for (down, up): reversion rho, slope on log term ratio, SD of the size of the change
    return_sd, refund: (D,)
    term_cdf: (D, term classes + 1, V) cumulative; the last row is for a return
    lag_cdf, notice_cdf: (D, J + 1) cumulative distribution of the booking lag at the lag edges
    notice_share: (D,)
    """

    location: NDArray[np.float64]
    phi: NDArray[np.float64]
    exponent: NDArray[np.float64]
    weight: NDArray[np.float64]
    year_weight: NDArray[np.float64]
    shape: NDArray[np.float64]
    tau: NDArray[np.float64]
    sigma: NDArray[np.float64]
    direction: NDArray[np.float64]
    change: NDArray[np.float64]
    return_sd: NDArray[np.float64]
    refund: NDArray[np.float64]
    term_cdf: NDArray[np.float64]
    lag_cdf: NDArray[np.float64]
    notice_cdf: NDArray[np.float64]
    notice_share: NDArray[np.float64]


class Classes(NamedTuple):
    """The class boundaries that training fixed.

    term_values: int64 (V,) contract lengths in months
    class_of_months: int64 (longest + 1,) term class of a contract of that many months, of n_term_classes; longer contracts
        have the class of the longest
    size_edges: float64 (Z − 1,) on log MRR; lag_edges: float64 (J + 1,) days
    size_column, second_spell_column, unknown_column: columns of the location layout
    first_year: calendar year of ``year_weight[:, 1]``
    """

    term_values: NDArray[np.int64]
    class_of_months: NDArray[np.int64]
    n_term_classes: int
    size_edges: NDArray[np.float64]
    lag_edges: NDArray[np.float64]
    size_column: int
    second_spell_column: int
    unknown_column: int
    first_year: int


class Settings(NamedTuple):
    """How to simulate.

    grace_days: −1 for min(92, max(15, a quarter of the term)); max_ratio: bound on one renewal's price ratio
    known_by: last booking day that counts; booked: money counts when booked rather than when served
    billing_months: from 0 on, money counts when paid: months of an instalment, 0 for the whole term; payment_days: from an
        invoice to its payment
    daily_cost: money (before the margin) that a day of an active account costs
    """

    seed: int
    grace_days: int
    max_ratio: float
    known_by: int
    booked: bool
    billing_months: int = -1
    payment_days: int = 0
    daily_cost: float = 0.0


class Snapshots(NamedTuple):
    """When ARR is looked at: S snapshots, of which the first H are not after `as_of`, and W windows between two of them.

    days: int64 (S,) in order; n_past: H; windows: int64 (W, 2) places of the first and the later snapshot
    """

    days: NDArray[np.int64]
    n_past: int
    windows: NDArray[np.int64]


class Assumed(NamedTuple):
    """What a scenario assumes in place of the posterior: R rows, each of pieces of time that do not overlap, N in all.

    first: int64 (R + 1,) where the pieces of each row begin
    days: int64 (N, 2) first day, and the day after the last; odds, points, uplift: (N,) of renewal (`steering`)
    rates: (N, 5) factors of the four event rates and of termination
    share: (N,) of renewals whose length is drawn from mix (N, V), cumulative over the term values
    """

    first: NDArray[np.int64]
    days: NDArray[np.int64]
    odds: NDArray[np.float64]
    points: NDArray[np.float64]
    uplift: NDArray[np.float64]
    rates: NDArray[np.float64]
    share: NDArray[np.float64]
    mix: NDArray[np.float64]


NO_SNAPSHOTS = Snapshots(np.zeros(0, dtype=np.int64), 0, np.zeros((0, 2), dtype=np.int64))
NOTHING_ASSUMED = Assumed(
    first=np.zeros(1, dtype=np.int64),
    days=np.zeros((0, 2), dtype=np.int64),
    odds=np.zeros(0),
    points=np.zeros(0),
    uplift=np.zeros(0),
    rates=np.zeros((0, 5)),
    share=np.zeros(0),
    mix=np.zeros((0, 0)),
)
NEVER = 2**40
"""A day that never comes."""


class Steps(NamedTuple):
    """Planned steps of lines, P in order of their line, and what comes of each in every draw.

    line: int64 (P,); kind: 0-3 of an event (`EVENT_KINDS`), 4 of a renewal; days: int64 (P, 2) first and last day on which a
    decision or an event is the step's; months: int64 (P,) length of the renewal, 0 not given
    day: int64 (P, D), of an event −1 where it does not happen, of a renewal the day of its booking if it comes
    units: int64 (P, D), 0 not given; probability: float64 (P, D), NaN for a renewal that comes as the posterior has it, and
    choice: float64 (P, D) uniform numbers: a renewal comes where its own lies below its probability, as it is then assumed
    stated: float64 (P,) log odds that the posterior's probability of a renewal is moved to, NaN for none, with weight: (D,)
    """

    line: NDArray[np.int64]
    kind: NDArray[np.int64]
    days: NDArray[np.int64]
    months: NDArray[np.int64]
    day: NDArray[np.int64]
    units: NDArray[np.int64]
    probability: NDArray[np.float64]
    choice: NDArray[np.float64]
    stated: NDArray[np.float64]
    weight: NDArray[np.float64]


class Given(NamedTuple):
    """What is given of A accounts and their L lines beside their states; None where nothing is.

    past: int64 (A, H) ARR in cents at the snapshots before the forecast; first: int64 (A,) first snapshot by which it had begun
    stop_day: int64 (L,) on which all service ends, `NEVER`; effect: int64 (L,) row of `Assumed`, −1 for none
    """

    past: NDArray[np.int64] | None = None
    first: NDArray[np.int64] | None = None
    stop_day: NDArray[np.int64] | None = None
    effect: NDArray[np.int64] | None = None
    steps: Steps | None = None


class Batch(NamedTuple):
    """The lines to simulate, in the fields of `States`; items on the books hold what is still to be recognised.

    account: (L,) numbered from 0 within the batch; group: (L,) portfolio group; lead: (L,) whose next decision is told
    given: of the batch's accounts and lines; lines of its steps are numbered from 0 within the batch
    ci_billed: for cash, where the items are instalments (`invoices`): their daily rates and the days they are paid
    """

    given: Given

    account: NDArray[np.int64]
    group: NDArray[np.int64]
    lead: NDArray[np.bool_]
    line_key: NDArray[np.uint64]
    columns: NDArray[np.int32]
    size_class: NDArray[np.int32]
    unknown: NDArray[np.bool_]
    spell: NDArray[np.int32]
    status: NDArray[np.int8]
    lapse_day: NDArray[np.int32]
    bt_ptr: NDArray[np.int64]
    bt_start: NDArray[np.int32]
    bt_end: NDArray[np.int32]
    bt_months: NDArray[np.int32]
    bt_amount: NDArray[np.float64]
    bt_amend: NDArray[np.float64]
    bt_expanded: NDArray[np.bool_]
    bt_mrr_now: NDArray[np.float64]
    bt_counted_mrr: NDArray[np.float64]
    la_ptr: NDArray[np.int64]
    la_term: NDArray[np.float64]
    la_day: NDArray[np.float64]
    la_mrr: NDArray[np.float64]
    la_counted: NDArray[np.float64]
    prev: NDArray[np.int8]
    log_mrr_sum: NDArray[np.float64]
    mrr_n: NDArray[np.float64]
    spell_base: NDArray[np.float64]
    st_ptr: NDArray[np.int64]
    st_t0: NDArray[np.float64]
    st_t1: NDArray[np.float64]
    st_year: NDArray[np.int32]
    st_class: NDArray[np.int32]
    n_decisions: NDArray[np.int32]
    tenure: NDArray[np.float64]
    T_active: NDArray[np.float64]
    n_events: NDArray[np.int32]
    size_n: NDArray[np.int32]
    size_sum: NDArray[np.float64]
    T_lapsed: NDArray[np.float64]
    n_returns: NDArray[np.int32]
    ci_ptr: NDArray[np.int64]
    ci_start: NDArray[np.int32]
    ci_end: NDArray[np.int32]
    ci_units: NDArray[np.int64]
    ci_tied: NDArray[np.bool_]
    ci_billed: tuple[NDArray[np.int64], ...] = ()
