"""Lay out parameters, constants and lines as the flat arrays that the kernel reads (`slots` names every place)."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clvforecast.ledger.days import term_ends
from clvforecast.simulation.calendar import DAYS_PER_YEAR, Grid, date_of, month_starts
from clvforecast.simulation.kernel import DRAWS_EACH, Lines, Results
from clvforecast.simulation.slots import (
    AS_OF,
    BILLING_MONTHS,
    BOOK_VIEW,
    BOOKED_VIEW,
    BOUNDS_AT,
    CALENDAR_AT,
    CASH_VIEW,
    CLASS_AT,
    COUNTS_DAYS,
    CUMULATIVE_AT,
    DISCOUNT_AT,
    GRACE_DAYS,
    KNOWN_BY,
    L_REAL,
    L_WHOLE,
    LAG_CDF_AT,
    LAG_EDGES_AT,
    LATER_AT,
    LOCATIONS_AT,
    LONGEST,
    MARKS,
    MONTH_OF_AT,
    N_COLUMNS,
    N_GROUPS,
    N_LAG_EDGES,
    N_MARKS,
    N_MONTHS,
    N_ORIGINS,
    N_PAST,
    N_POWERS,
    N_SIZE_EDGES,
    N_SNAPSHOTS,
    N_SUMS,
    N_TERM_CLASSES,
    N_VALUES,
    N_WINDOWS,
    N_YEARS,
    NOTICE_CDF_AT,
    OF_SNAPSHOTS,
    OF_WINDOWS,
    ORIGIN_TOTALS,
    PAYMENT_DAYS,
    PIECE_WIDTH,
    PIECES_AT,
    POWERS_AT,
    REAL_SLOTS,
    RECOGNISED_VIEW,
    SECOND_SPELL_COLUMN,
    SEED,
    SIZE_COLUMN,
    SIZE_EDGES_AT,
    SIZE_ODDS_AT,
    SNAPSHOTS_AT,
    STEP_SLOTS,
    STEPS_AT,
    TABLE_HEADER,
    TERM_CDF_AT,
    UNITS_PER_CURRENCY,
    UNKNOWN_COLUMN,
    VALUE,
    VALUES_AT,
    WEIGHT_AT,
    WHOLE_SLOTS,
    WINDOW_END,
    WINDOW_START,
    WINDOWS_AT,
    YEAR_AT,
    YEAR_PLACE_AT,
    Location,
)
from clvforecast.simulation.structures import (
    NEVER,
    Assumed,
    Batch,
    Classes,
    Given,
    Parameters,
    Settings,
    Snapshots,
    Steps,
)

ULPS_OF_EXP = 64
OLDEST_YEARS, LONGEST_YEARS = 4, 101
"""A renewal comes at most three years late, and no contract is longer than a hundred years."""
LATEST_START = 2199
"""Year after which no contract in a ledger begins."""


def pack_parameters(parameters: Parameters, classes: Classes) -> tuple[NDArray[np.float64], dict[int, int]]:
    """One row a draw, and where the tables of variable size begin (slot of the constants table -> position)."""
    n_draws = parameters.phi.size
    front = (
        np.column_stack(
            (parameters.phi, parameters.exponent, parameters.return_sd, parameters.refund, parameters.notice_share)
        ),
        parameters.shape,
        parameters.tau,
        parameters.sigma,
        np.exp(parameters.direction),
        parameters.change,
        parameters.location,
    )
    size_columns = slice(classes.size_column, classes.size_column + classes.size_edges.size + 1)
    of_sizes = parameters.location[:, Location.CHANGE_DOWN : Location.CHANGE_UP + 1, size_columns]
    tables = {
        WEIGHT_AT: parameters.weight,
        SIZE_ODDS_AT: np.exp(of_sizes),
        YEAR_AT: parameters.year_weight,
        TERM_CDF_AT: parameters.term_cdf,
        LAG_CDF_AT: parameters.lag_cdf,
        NOTICE_CDF_AT: parameters.notice_cdf,
        POWERS_AT: (np.arange(N_POWERS) / 12.0) ** parameters.exponent[:, None],
    }
    blocks = [block.reshape(n_draws, -1) for block in (*front, *tables.values())]
    ends = np.cumsum([block.shape[1] for block in blocks])
    if ends[len(front) - 2] != LOCATIONS_AT:
        raise ValueError(f"the kernel expects locations at {LOCATIONS_AT}, they are at {ends[len(front) - 2]}")
    starts = ends[len(front) - 1 : -1]
    offsets = {slot: int(start) for slot, start in zip(tables, starts, strict=True)}
    return np.ascontiguousarray(np.concatenate(blocks, axis=1)), offsets


def pack_constants(
    classes: Classes,
    settings: Settings,
    grid: Grid,
    parameters: Parameters,
    n_groups: int,
    offsets: dict[int, int],
    snapshots: Snapshots,
    assumed: Assumed,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The constants: whole-valued ``table`` and real-valued ``scale``."""
    months = grid.discount.size
    at_horizon = np.exp(-grid.log_discount * (grid.bounds[-1] - grid.bounds[0]) / DAYS_PER_YEAR)
    scale = np.concatenate(
        (
            [grid.log_discount, settings.max_ratio, np.log(settings.max_ratio), at_horizon],
            [settings.daily_cost * UNITS_PER_CURRENCY],
            grid.discount,
            grid.cumulative,
            amounts_reaching(classes.size_edges),
            classes.lag_edges,
            np.exp(-grid.log_discount * np.arange(N_POWERS) / 12.0),
        )
    )
    header = np.zeros(TABLE_HEADER, dtype=np.int64)
    calendar_year = min(classes.first_year, date_of(grid.as_of).year - OLDEST_YEARS) - 1
    calendar = month_starts(calendar_year, max(date_of(grid.bounds[-1]).year, LATEST_START) + LONGEST_YEARS)
    n_years = parameters.year_weight.shape[1] - 1
    arrays: dict[int, NDArray[np.integer[Any]]] = {
        MONTH_OF_AT: grid.month_of,
        BOUNDS_AT: grid.bounds,
        CLASS_AT: classes.class_of_months,
        VALUES_AT: classes.term_values,
        CALENDAR_AT: calendar,
        YEAR_PLACE_AT: year_places(calendar_year + (np.arange(calendar.size) - 1) // 12, classes.first_year, n_years),
        SNAPSHOTS_AT: snapshots.days,
        WINDOWS_AT: snapshots.windows.ravel(),
    }
    at = TABLE_HEADER
    for slot, values in arrays.items():
        header[slot] = at
        at += values.size
    header[CUMULATIVE_AT] = DISCOUNT_AT + months
    header[SIZE_EDGES_AT] = header[CUMULATIVE_AT] + months + 1
    header[LAG_EDGES_AT] = header[SIZE_EDGES_AT] + classes.size_edges.size
    header[LATER_AT] = header[LAG_EDGES_AT] + classes.lag_edges.size
    header[PIECES_AT] = header[LATER_AT] + N_POWERS
    scale = np.concatenate((scale, pack_pieces(assumed, int(header[PIECES_AT]))))
    header[MARKS : MARKS + N_MARKS] = grid.marks
    values_of = {
        **offsets,
        N_COLUMNS: parameters.location.shape[2],
        N_YEARS: n_years,
        N_VALUES: classes.term_values.size,
        N_TERM_CLASSES: classes.n_term_classes,
        N_SIZE_EDGES: classes.size_edges.size,
        N_LAG_EDGES: classes.lag_edges.size,
        SIZE_COLUMN: classes.size_column,
        SECOND_SPELL_COLUMN: classes.second_spell_column,
        UNKNOWN_COLUMN: classes.unknown_column,
        AS_OF: grid.as_of,
        WINDOW_START: grid.bounds[0],
        WINDOW_END: grid.bounds[-1],
        N_MONTHS: months,
        GRACE_DAYS: settings.grace_days,
        KNOWN_BY: settings.known_by,
        BOOK_VIEW: view_of(settings),
        BILLING_MONTHS: max(settings.billing_months, 0),
        PAYMENT_DAYS: settings.payment_days,
        COUNTS_DAYS: int(settings.daily_cost > 0.0),
        LONGEST: classes.class_of_months.size - 1,
        N_GROUPS: n_groups,
        SEED: settings.seed,
        N_SNAPSHOTS: snapshots.days.size,
        N_PAST: snapshots.n_past,
        N_WINDOWS: snapshots.windows.shape[0],
        STEPS_AT: WHOLE_SLOTS + 3 * snapshots.days.size,
    }
    for slot, value in values_of.items():
        header[slot] = value
    return np.concatenate((header, *(values.astype(np.int64) for values in arrays.values()))), scale


def pack_pieces(assumed: Assumed, at: int) -> NDArray[np.float64]:
    """The pieces in the columns of `slots`, from place ``at`` of ``scale`` on, and behind them their mixes of term lengths."""
    n = assumed.odds.size
    greatest = np.ones(n)
    for first, last in pairwise(assumed.first):
        greatest[first:last] = max(1.0, assumed.rates[first:last].max(initial=1.0))
    mixes = at + n * PIECE_WIDTH + np.arange(n) * assumed.mix.shape[1]
    pieces = (assumed.days, assumed.odds, assumed.points, assumed.uplift, assumed.rates, greatest, assumed.share, mixes)
    return np.concatenate((np.column_stack(pieces).ravel(), assumed.mix.ravel()))


def view_of(settings: Settings) -> int:
    """When money counts: as it is served, when it is booked, or when it is paid."""
    if settings.billing_months >= 0:
        return CASH_VIEW
    return BOOKED_VIEW if settings.booked else RECOGNISED_VIEW


def year_places(years: NDArray[np.integer[Any]], first_year: int, n_years: int) -> NDArray[np.int64]:
    """Where the effects of calendar years are: 0 before the first that has one, and years after the last are alike."""
    return np.asarray(np.clip(years - first_year + 1, 0, n_years), dtype=np.int64)


def amounts_reaching(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest number whose logarithm reaches each edge, so that comparing amounts is comparing logarithms."""
    found = np.exp(edges)
    for _ in range(ULPS_OF_EXP):
        found = np.where(np.log(found) < edges, np.nextafter(found, np.inf), found)
    for _ in range(2 * ULPS_OF_EXP):
        below = np.nextafter(found, 0.0)
        found = np.where(np.log(below) >= edges, below, found)
    return found


def pack_lines(
    batch: Batch,
    table: NDArray[np.int64],
    scale: NDArray[np.float64],
    classes: Classes,
    assumed: Assumed,
    n_draws: int,
) -> Lines:
    """The lines of a batch, one row each, and the profiles they have; ``table`` and ``scale`` are the constants."""
    traits = np.column_stack((batch.columns, batch.size_class, batch.unknown)).astype(np.int64)
    profiles, profile = np.unique(traits, axis=0, return_inverse=True)
    first = np.searchsorted(batch.account, np.arange(batch.account[-1] + 2))
    if (np.diff(first) < 1).any():
        raise ValueError("an account of the batch has no line")
    whole = np.column_stack(
        (
            batch.group,
            batch.lead,
            profile.ravel(),
            _months(batch.tenure),
            batch.spell,
            batch.status,
            batch.lapse_day,
            batch.bt_ptr[:-1],
            batch.bt_ptr[1:],
            batch.prev,
            batch.st_ptr[:-1],
            batch.st_ptr[1:],
            batch.n_decisions,
            batch.n_returns,
            batch.ci_ptr[:-1],
            batch.ci_ptr[1:],
            batch.n_events,
            batch.size_n,
            *given_of_lines(batch, table, assumed),
            batch.la_ptr[:-1],
            batch.la_ptr[1:],
            ends_early(batch),
        )
    ).astype(np.int64)
    real = np.column_stack(
        (
            batch.log_mrr_sum,
            batch.mrr_n,
            batch.spell_base,
            batch.T_active,
            batch.T_lapsed,
            batch.size_sum,
        )
    )
    if whole.shape[1] != L_WHOLE or real.shape[1] != L_REAL:
        raise ValueError(f"line tables are {whole.shape[1]} and {real.shape[1]} wide, not {L_WHOLE} and {L_REAL}")
    term_rows = batch.la_term + np.repeat(batch.bt_ptr[:-1], np.diff(batch.la_ptr))
    terms, term_money = pack_terms(batch, table, scale)
    years = year_places(batch.st_year, classes.first_year, int(table[N_YEARS]))
    return Lines(
        whole=np.ascontiguousarray(whole),
        real=np.ascontiguousarray(real),
        key=np.ascontiguousarray(batch.line_key),
        profiles=np.ascontiguousarray(profiles),
        terms=terms,
        term_money=term_money,
        later=np.ascontiguousarray(
            np.column_stack((term_rows, batch.la_day, batch.la_mrr, batch.la_counted)).astype(np.float64)
        ),
        steps=_columns(_months(batch.st_t0), _months(batch.st_t1), years, batch.st_class),
        items=_columns(batch.ci_start, batch.ci_end, batch.ci_units, batch.ci_tied, *batch.ci_billed),
        first=first,
        turn=line_turns(batch),
        order=np.argsort(profile.ravel()[first[:-1]], kind="stable"),
        **given_of_accounts(batch.given, first.size - 1, int(table[N_PAST])),
        **pack_steps(batch.given.steps, n_draws),
    )


def ends_early(batch: Batch) -> NDArray[np.bool_]:
    """(L,) lines whose last booked term is known to end before its own last day: no renewal falls due then."""
    last = batch.bt_ptr[1:] - 1
    ends = term_ends(batch.bt_start[last].astype(np.int64), batch.bt_months[last].astype(np.int64))
    return np.asarray(batch.bt_end[last] < ends)


def line_turns(batch: Batch) -> NDArray[np.int64]:
    """The lines of each account from the one with the most revenue on, which takes up a planned event if it is under contract."""
    largest = -batch.bt_mrr_now[batch.bt_ptr[1:] - 1]
    return np.lexsort((largest, batch.account)).astype(np.int64)


def given_of_lines(batch: Batch, table: NDArray[np.int64], assumed: Assumed) -> list[NDArray[np.int64]]:
    """Day on which service stops, where the pieces that are assumed begin and end, and the planned steps: (L,) each."""
    n, given = batch.account.size, batch.given
    stop = np.full(n, NEVER) if given.stop_day is None else given.stop_day
    stop = np.where(stop < table[WINDOW_END], np.maximum(stop, table[WINDOW_START]), NEVER)
    row = np.full(n, -1) if given.effect is None else given.effect
    places = table[PIECES_AT] + assumed.first * PIECE_WIDTH
    begin, end = (np.where(row >= 0, places[row + later], 0) for later in (0, 1))
    steps = np.zeros(0, dtype=np.int64) if given.steps is None else given.steps.line
    return [stop, begin, end, np.searchsorted(steps, np.arange(n)), np.searchsorted(steps, np.arange(1, n + 1))]


def given_of_accounts(given: Given, n_accounts: int, n_past: int) -> dict[str, Any]:
    """The fields `begun` and `past` of `Lines`."""
    first = np.zeros(n_accounts) if given.first is None else given.first
    past = np.zeros((n_accounts, n_past)) if given.past is None else given.past
    return {"begun": np.ascontiguousarray(first, dtype=np.int64), "past": np.ascontiguousarray(past, dtype=np.int64)}


def pack_steps(steps: Steps | None, n_draws: int) -> dict[str, Any]:
    """The planned steps in the columns of `slots`, and what comes of them in every draw."""
    if steps is None:
        none = np.zeros((0, n_draws), dtype=np.int64)
        return {
            "plan": np.zeros((0, STEP_SLOTS), dtype=np.int64),
            "plan_day": none,
            "plan_units": none,
            "plan_p": none * 1.0,
            "plan_choice": none * 1.0,
            "plan_stated": np.zeros(0),
            "plan_weight": np.zeros(n_draws),
        }
    open_still = np.zeros_like(steps.kind)
    plan = _columns(steps.kind, *steps.days.T, open_still, open_still, steps.months, open_still)
    arrays = {
        "plan_day": steps.day,
        "plan_units": steps.units,
        "plan_p": steps.probability,
        "plan_choice": steps.choice,
        "plan_stated": steps.stated,
        "plan_weight": steps.weight,
    }
    return {"plan": plan, **{name: np.ascontiguousarray(values) for name, values in arrays.items()}}


def pack_terms(
    batch: Batch, table: NDArray[np.int64], scale: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Booked terms in the columns of `slots`; a term ends where the next of its line, an early renewal, takes over."""
    start, end = batch.bt_start.astype(np.int64), batch.bt_end.astype(np.int64)
    followed = np.ones(start.size, dtype=bool)
    followed[batch.bt_ptr[1:] - 1] = False
    taken_over = np.maximum(np.minimum(end, np.append(start[1:], 0)), start + 1)
    end = np.where(followed, taken_over, end)
    calendar = table[table[CALENDAR_AT] : table[YEAR_PLACE_AT]]
    place = np.searchsorted(calendar, end, side="right") - 1
    line = np.repeat(np.arange(batch.bt_ptr.size - 1), np.diff(batch.bt_ptr))
    money = np.maximum((batch.bt_amount + batch.bt_amend) / batch.bt_months, 1e-9 * batch.spell_base[line])
    edges = scale[table[SIZE_EDGES_AT] : table[SIZE_EDGES_AT] + table[N_SIZE_EDGES]]
    size = np.searchsorted(edges, money, side="right")
    mrr = batch.bt_amount / batch.bt_months
    counted = batch.bt_counted_mrr
    real = np.column_stack((batch.bt_amount, batch.bt_amend, batch.bt_mrr_now, mrr, np.log(mrr), counted))
    return _columns(start, end, place, batch.bt_months, batch.bt_expanded, size), real


def _months(years: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tenures, which are whole months given in years, in months."""
    return np.asarray(np.rint(12.0 * years))


def _columns(*values: NDArray[np.generic]) -> NDArray[np.int64]:
    return np.ascontiguousarray(np.column_stack([column.astype(np.int64) for column in values]))


def empty_flow(n_draws: int, n_months: int, n_groups: int, counts_days: bool = False) -> NDArray[np.int64]:
    """Zero monthly flows of every draw: groups, then origins, then the groups' active days where these are counted."""
    blocks = n_groups + N_ORIGINS + counts_days * n_groups
    return np.zeros((n_draws, 2 * (n_months + 1) * blocks), dtype=np.int64)


def empty_bridge(n_draws: int, n_groups: int, snapshots: Snapshots) -> NDArray[np.int64]:
    """Zero sums of what becomes of ARR, in every draw and group."""
    each = OF_SNAPSHOTS * snapshots.days.size + OF_WINDOWS * snapshots.windows.shape[0]
    return np.zeros((n_draws, n_groups * each), dtype=np.int64)


def empty_results(
    n_draws: int, n_accounts: int, flow: NDArray[np.int64], bridge: NDArray[np.int64], keeps_all: bool
) -> Results:
    """Zero results of a batch, adding to ``flow`` and ``bridge``; with ``keeps_all`` there is room for all of every draw."""
    kept = n_draws if keeps_all else 0
    return Results(
        revenue=np.zeros((n_accounts, n_draws), dtype=np.int64),
        value=np.zeros((n_accounts, n_draws)),
        renewal=np.zeros((n_accounts, n_draws)),
        sums=np.zeros((n_accounts, -(-n_draws // DRAWS_EACH), N_SUMS)),
        whole=np.zeros((n_accounts, kept, WHOLE_SLOTS - ORIGIN_TOTALS), dtype=np.int64),
        real=np.zeros((n_accounts, kept, REAL_SLOTS - VALUE)),
        flow=flow,
        bridge=bridge,
    )


def monthly(flow: NDArray[np.int64], grid: Grid, n_groups: int) -> NDArray[np.int64]:
    """Revenue in units by month, (D, groups + 8, M): what falls in a month plus days × the running daily rate.

    Of a single group only the origins are kept, and the group is their sum.  Active days follow where they are counted.
    """
    months = grid.discount.size
    blocks = flow.reshape(flow.shape[0], -1, 2, months + 1)
    days = np.diff(grid.bounds)
    running = np.cumsum(blocks[:, :, 1, :months], axis=-1)
    found = np.asarray(blocks[:, :, 0, :months] + days * running, dtype=np.int64)
    if n_groups == 1:
        found[:, 0] = found[:, 1 : 1 + N_ORIGINS].sum(axis=1)
    return found
