"""simulate_events: a synthetic company with known truth, account by account from the generative model."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from clvforecast.errors import DatasetError
from clvforecast.synthetic.accounts import Accounts, Terms, draw_accounts, first_terms
from clvforecast.synthetic.bookings import Bookings, Ints, account_names, event_table
from clvforecast.synthetic.parameters import ACTIVITIES, CompanyParameters, company_parameters
from clvforecast.synthetic.rounds import play_round
from clvforecast.synthetic.service import add_months, day_date, day_number
from clvforecast.synthetic.truth import Truth

JOINING_SHARE = 0.75
MOST_EARLIER_DECISIONS = 3
FOR_YEARS = 1


def simulate_events(
    n_accounts: int = 1000,
    seed: int = 1,
    *,
    parameters: CompanyParameters | Mapping[str, Any] | None = None,
    segments: int = 3,
    start: dt.date = dt.date(2016, 1, 1),
    history_years: int = 8,
    joining_years: float | None = None,
    future_months: int = 60,
    late_booking: bool = True,
    left_truncated: float = 0.0,
    notice_share: float | None = None,
    currency: str = "USD",
) -> tuple[pd.DataFrame, Truth]:
    """Draw the revenue events of a company from the generative model.

    Accounts join evenly over the first years; each is then run through its whole life: events within terms,
    early terminations, renewal decisions with P(renew) = theta^w, changes at renewal, lapses and returns.
    What is booked by ``as_of`` (the last day of the history) is returned; the rest is in the truth.

    Args:
        n_accounts: number of accounts.
        seed: of the random numbers; the same call gives the same company.
        parameters: a CompanyParameters, or a dict of the fields to change.
        segments: number of levels of the column "segment", of unequal sizes (1, 1/2, 1/3, ... in proportion).
        start: first day of the history.
        history_years: years from ``start`` to the day after ``as_of``.
        joining_years: accounts join evenly over this many years from ``start``; default three quarters of the
            history.
        future_months: months after ``as_of`` for which ``truth.future`` is complete.
        late_booking: renewals are booked with the lags of ``booking_lag``; False: on their start.
            Initial terms are booked on their start, other events at once (an amendment or early termination
            not before the term it belongs to).
        left_truncated: share of accounts that are first seen after 1 to 3 earlier decisions (evenly; 0 for
            the others), given that they survived them; with one, ``truth.accounts`` has ``observed_from``.
        notice_share: share of lapses at a term's end for which a churn event is booked; default that of
            ``parameters`` (0). An early termination always has one.
        currency: ISO 4217 code of the amounts.

    Returns:
        (events, truth): one row an event with the columns event_id, account_id, event_date (booking), kind,
        amount (currency), currency, start_date, term_months (missing but for terms), in the order of booking;
        and the Truth.

    Raises:
        DatasetError: for a parameter or an option that the model cannot have.

    Example:
        >>> events, truth = simulate_events(n_accounts=50, seed=1)
        >>> events["account_id"].nunique(), len(truth.revenue(horizon_months=12))
        (50, 50)
    """
    _check_options(n_accounts, segments, history_years, joining_years, future_months, left_truncated)
    company = company_parameters(parameters, segments)
    company = _with_options(company, late_booking, notice_share)
    rng = np.random.default_rng(seed)
    first_day = day_number(start)
    as_of = _months_later(first_day, 12 * history_years) - 1
    until = _months_later(as_of + 1, future_months)
    years = tuple(range(start.year, day_date(as_of).year + 1))
    company = _with_year_effects(company, years, seed)

    weights = 1 / np.arange(1, segments + 1)
    segment = rng.choice(segments, n_accounts, p=weights / weights.sum())
    joining_days = (joining_years if joining_years is not None else JOINING_SHARE * history_years) * 365.25
    joined = first_day + rng.integers(0, max(int(joining_days), 1), n_accounts)
    earlier = np.where(
        rng.random(n_accounts) < left_truncated, rng.integers(1, MOST_EARLIER_DECISIONS + 1, n_accounts), 0
    )
    terms = first_terms(company, segment, joined, earlier, rng)
    accounts = draw_accounts(company, segment, terms, rng)
    drawn = _lives(company, accounts, terms, until, rng)

    names = account_names(n_accounts)
    events = event_table(drawn, names, currency)
    known = drawn["booked"].to_numpy() <= as_of
    account_columns: dict[str, Any] = {"account_id": names, "segment": [f"S{level + 1}" for level in segment]}
    if left_truncated > 0:
        account_columns["observed_from"] = earlier
    known_effects = np.array(company.renewal_year_effect[: len(years)])
    truth = Truth(
        parameters=company.posterior_variables() | {"renewal_year_effect": known_effects},
        accounts=pd.DataFrame(account_columns),
        future=events[~known].reset_index(drop=True),
        as_of=day_date(as_of),
        future_months=future_months,
        size_edges=np.array(company.size_edges),
        term_values=np.array(company.term_values, dtype=np.int64),
        lag_edges=np.array(company.lag_edges, dtype=np.int64),
        years=years,
        latents=_latents(names, accounts, terms),
        items=events[["event_id", "account_id", "kind"]].assign(
            booked_day=drawn["booked"],
            start_day=drawn["start_day"],
            end_day=drawn["end_day"],
            cents=drawn["cents"],
        ),
    )
    return events[known].reset_index(drop=True), truth


def _with_year_effects(company: CompanyParameters, years: tuple[int, ...], seed: int) -> CompanyParameters:
    """Effects of the years of the history and of a century after it, about the mean of the history's.

    From random numbers of their own: a company without effects of years has the same events as one never asked for them.
    """
    if company.renewal_year_effect:
        return replace(company, first_year=years[0])
    rng = np.random.default_rng([seed, FOR_YEARS])
    effect = company.renewal_year_sd * rng.standard_normal(len(years) + 100)
    effect -= effect[: len(years)].mean()
    return replace(company, first_year=years[0], renewal_year_effect=tuple(effect.tolist()))


def _lives(
    company: CompanyParameters, accounts: Accounts, terms: Terms, until: int, rng: np.random.Generator
) -> pd.DataFrame:
    """All events that start, or are booked, before day ``until``: rounds of terms until all are past it."""
    # A renewal can be booked before its start: terms that start a little later are played too.
    last_start = until + max(-company.lag_edges[0], 0)
    bookings = Bookings()
    while len(terms.account):
        terms = play_round(company, accounts, terms, bookings, rng)
        terms = terms.at(terms.start < last_start)
    return bookings.table(until)


def _latents(names: np.ndarray, accounts: Accounts, terms: Terms) -> pd.DataFrame:
    columns = {
        "account_id": names,
        "theta": terms.theta,
        "base": terms.base,
        "size_class": accounts.size_class,
    }
    columns |= {f"{kind}_rate": accounts.rates[kind] for kind in (*ACTIVITIES, "reactivation")}
    columns |= {f"{kind}_size_mean": accounts.size_means[kind] for kind in ACTIVITIES}
    return pd.DataFrame(columns)


def _with_options(company: CompanyParameters, late_booking: bool, notice_share: float | None) -> CompanyParameters:
    if not late_booking:
        company = replace(company, lag_edges=(-1, 0), booking_lag=(1.0,), notice_lag=(1.0,))
    if notice_share is None:
        return company
    if not 0 <= notice_share <= 1:
        raise DatasetError(f"simulate_events: notice_share must be within [0, 1], is {notice_share}")
    return replace(company, notice_share=float(notice_share))


def _months_later(day: int, months: int) -> int:
    later: Ints = add_months(np.array([day]), np.array([months]))
    return int(later[0])


def _check_options(
    n_accounts: int,
    segments: int,
    history_years: int,
    joining_years: float | None,
    future_months: int,
    left_truncated: float,
) -> None:
    rules = (
        ("n_accounts", n_accounts, n_accounts >= 1, "at least 1"),
        ("segments", segments, segments >= 1, "at least 1"),
        ("history_years", history_years, history_years >= 1, "at least 1"),
        (
            "joining_years",
            joining_years,
            joining_years is None or 0 < joining_years <= history_years,
            "in history",
        ),
        ("future_months", future_months, future_months >= 0, "at least 0"),
        ("left_truncated", left_truncated, 0 <= left_truncated <= 1, "within [0, 1]"),
    )
    for name, value, holds, rule in rules:
        if not holds:
            raise DatasetError(f"simulate_events: {name} must be {rule}, is {value}")
