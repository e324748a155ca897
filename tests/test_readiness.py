"""What stands in the way of a forecast is an error; what its reader should know is a warning."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clvforecast.errors import ForecastError
from clvforecast.forecast import forecast
from clvforecast.ledger import read_ledger
from clvforecast.posterior import prior
from clvforecast.synthetic import Truth, simulate_events
from known_world import known_ledger, known_posterior
from test_scenarios import fresh, plain


@pytest.fixture(scope="module")
def company() -> tuple[pd.DataFrame, Truth]:
    return simulate_events(60, seed=4)


def test_a_clean_ledger_has_no_warning(company: tuple[pd.DataFrame, Truth]) -> None:
    events, truth = company
    made = forecast(known_posterior(truth, n_draws=10), known_ledger(events, truth), horizon_months=6, draws=10)
    assert made.warnings == ()


def test_missing_segments_name_the_column_and_the_cure(company: tuple[pd.DataFrame, Truth]) -> None:
    events, truth = company
    with pytest.raises(ForecastError, match=r"no column segment .*Give the accounts table"):
        forecast(known_posterior(truth, n_draws=10), read_ledger(events, as_of=truth.as_of), draws=10)


def test_another_currency_is_refused(company: tuple[pd.DataFrame, Truth]) -> None:
    events, truth = company
    with pytest.raises(ForecastError, match="in USD, the posterior was trained in EUR"):
        forecast(known_posterior(truth, "EUR", n_draws=10), known_ledger(events, truth), draws=10)


def test_what_a_reader_should_know_is_said(company: tuple[pd.DataFrame, Truth]) -> None:
    events, truth = company
    posterior = known_posterior(truth, n_draws=10, **{f"{name}_segment_sd": [0.1] for name in EFFECTS})
    strange = truth.accounts.assign(segment=truth.accounts["segment"].replace("S1", "moon"))
    ledger = read_ledger(events, accounts=strange, as_of=truth.as_of + dt.timedelta(days=200))
    words = " | ".join(forecast(posterior, ledger, horizon_months=6, draws=10).warnings)
    assert "segment: 1 levels were not in the training data (moon)" in words
    assert "days before as_of" in words
    later = replace(posterior, as_of="2030-01-01")
    words = " | ".join(forecast(later, known_ledger(events, truth), horizon_months=6, draws=10).warnings)
    assert "seen part of what it forecasts" in words


def test_what_speaks_of_another_company_s_posterior_is_said(company: tuple[pd.DataFrame, Truth]) -> None:
    events, truth = company
    ledger = known_ledger(events, truth)
    posterior = prior(ledger, ["segment"], draws=10)
    assert "another company" not in " | ".join(forecast(posterior, ledger, 6, draws=10).warnings)
    cents = read_ledger(events.assign(amount=events["amount"] * 100), truth.accounts, as_of=truth.as_of)
    told = forecast(posterior, cents, 6, draws=10).warnings
    assert any("half of the terms bring" in line and "check the unit of amount" in line for line in told)
    strange = truth.accounts.assign(segment=truth.accounts["segment"].replace("S1", "moon"))
    told = forecast(posterior, read_ledger(events, strange, as_of=truth.as_of), 6, draws=10).warnings
    assert any("accounts have a segment that was not in the training data: is this posterior" in line for line in told)


KINDS = ("expansion", "contraction", "change_order", "referral")
EFFECTS = (
    "renewal",
    *(f"{kind}_rate" for kind in (*KINDS, "reactivation", "termination")),
    *(f"{kind}_size" for kind in KINDS),
    "return_value",
    *("change_down", "change_up", "change_down_size", "change_up_size", "persistence"),
)


def test_kinds_that_were_never_seen_are_named() -> None:
    """A part that is only partly without data is not: here no term was amended, but prices did change at renewals."""
    quiet = {"expansion_rate": 0.0, "contraction_rate": 0.0, "renewal_year_sd": 0.0}
    events, truth = simulate_events(60, seed=4, parameters=quiet)
    trained = prior(known_ledger(events, truth), segments=["segment"], draws=20)
    assert trained.unseen == ("expansion_rate", "contraction_rate", "expansion_size", "contraction_size")
    words = " | ".join(forecast(trained, known_ledger(events, truth), horizon_months=6, draws=10).warnings)
    assert "never seen in training: expansion rate, contraction rate, expansion size, contraction size." in words


@pytest.mark.parametrize("amended", [False, True])
def test_a_change_of_price_that_was_never_seen_is_named(amended: bool) -> None:
    """Renewals at the same price leave the sizes of rises and cuts to their prior, whose tails are long.

    Whether an expansion lasts is not seen: a renewal after one, at the price before or after it, is no rise for sure.
    """
    unchanged: dict[str, object] = {"change_logit": np.full((5, 2), -30.0)}
    if not amended:
        unchanged |= {"expansion_rate": 0.0, "contraction_rate": 0.0}
    events, truth = simulate_events(60, seed=4, parameters=unchanged)
    trained = prior(known_ledger(events, truth), segments=["segment"], draws=20)
    assert "change" not in trained.unseen
    words = " | ".join(forecast(trained, known_ledger(events, truth), horizon_months=6, draws=10).warnings)
    assert "no price cut and no price rise was seen at any renewal in training" in words


def test_a_side_of_price_changes_that_was_seen_is_not_named() -> None:
    rises_alone = {"change_logit": np.tile([-30.0, 1.0], (5, 1)), "expansion_rate": 0.0, "contraction_rate": 0.0}
    events, truth = simulate_events(60, seed=4, parameters=rises_alone)
    trained = prior(known_ledger(events, truth), segments=["segment"], draws=20)
    assert trained.unseen_changes == ("price cut",)


def test_without_any_renewal_the_change_is_named_once() -> None:
    events, truth = simulate_events(60, seed=4)
    first = events[events["kind"] == "initial"].drop_duplicates("account_id")
    ledger = known_ledger(first, truth)
    trained = prior(ledger, segments=["segment"], draws=20)
    words = " | ".join(forecast(trained, ledger, horizon_months=6, draws=10).warnings)
    assert "change" in trained.unseen and "at any renewal" not in words


def test_a_posterior_that_is_years_old_is_told_of() -> None:
    ledger = fresh(2)
    for trained, told in (("2023-12-31", False), ("2023-12-30", True)):
        posterior = replace(plain(), as_of=trained)
        words = " | ".join(forecast(posterior, ledger, 6, draws=10).warnings)
        assert (f"trained on what was known by {trained}" in words) == told
        assert ("Fit again" in words) == told


def test_terms_unlike_those_of_training_tell_another_company(company: tuple[pd.DataFrame, Truth]) -> None:
    events, truth = company
    posterior = known_posterior(truth, n_draws=10)
    lengths = set(map(str, posterior.frame.term_values))
    other = events.assign(term_months=events["term_months"].where(events["term_months"].isna(), 7))
    assert "7" not in lengths
    words = " | ".join(forecast(posterior, known_ledger(other, truth), horizon_months=6, draws=10).warnings)
    assert "terms have a length that was not in the training data (most of them 7 months" in words
