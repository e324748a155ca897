"""What happened, counted as the forecast counts it; and whether ranges held what they promised."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import clvforecast as clv


@pytest.fixture(scope="module")
def company():
    """(forecast of 24 months, ledger that knows all that follows, truth)."""
    events, truth = clv.simulate_events(n_accounts=120, seed=11, future_months=36)
    ledger = clv.read_ledger(events, truth.accounts, as_of=truth.as_of)
    forecast = clv.forecast(clv.prior(ledger, ["segment"], draws=20), ledger, 24, draws=8)
    later = clv.read_ledger(pd.concat([events, truth.future]), truth.accounts)
    return forecast, later, truth


def test_actual_revenue_is_the_truth_s(company) -> None:
    """Truth does its accounting on its own; both round each item to cents."""
    forecast, later, truth = company
    found = clv.actual_revenue(forecast, later).set_index("account_id")
    expected = truth.revenue(24).set_index("account_id").loc[found.index]
    assert expected["catch_up"].sum() > 0
    assert found["catch_up"].to_numpy() == pytest.approx(expected["catch_up"].to_numpy(), abs=0.02)
    whole = expected["revenue"] + expected["catch_up"]
    assert found["revenue"].to_numpy() == pytest.approx(whole.to_numpy(), abs=0.02)


def test_periods_add_up_to_the_window(company) -> None:
    forecast, later, _ = company
    whole = clv.actual_revenue(forecast, later)
    quarters = clv.actual_revenue(forecast, later, "QE")
    assert len(quarters) == 8 * len(whole)
    for column in ("revenue", "catch_up"):
        summed = quarters.groupby("account_id")[column].sum()
        assert summed.loc[whole["account_id"]].to_numpy() == pytest.approx(whole[column].to_numpy(), abs=1e-6)
        portfolio = clv.actual_portfolio(forecast, later, "QE")[column]
        assert portfolio.to_numpy() == pytest.approx(quarters.groupby("period")[column].sum().to_numpy(), abs=1e-6)


def test_a_ledger_known_earlier_shows_less(company) -> None:
    forecast, later, _ = company
    known = later.at(forecast.as_of + dt.timedelta(days=400))
    assert clv.actual_revenue(forecast, known)["revenue"].sum() < clv.actual_revenue(forecast, later)["revenue"].sum()


def test_a_ledger_that_knows_no_more_is_refused(company) -> None:
    forecast, later, _ = company
    with pytest.raises(clv.ForecastError, match="nothing has happened"):
        clv.actual_revenue(forecast, later.at(forecast.as_of))


def test_randomised_pit_is_uniform_where_the_forecast_is_right() -> None:
    """Half of the accounts bring nothing, a quarter exactly 100, the rest a normal amount: draws and actual alike."""
    rng = np.random.default_rng(1)
    kind = rng.random((4000, 50))
    values = np.select([kind < 0.5, kind < 0.75], [0.0, 100.0], rng.normal(100.0, 30.0, kind.shape))
    pit = clv.randomised_pit(values[:, 1:], values[:, 0], seed=2)
    assert stats.kstest(pit, "uniform").pvalue > 0.01
    found = clv.coverage(pit, probs=[0.5, 0.8, 0.9])
    assert (np.abs(found["observed"] - found["expected"]) < 4 * found["se"]).all()


def test_pit_by_hand() -> None:
    """Four draws: two below, one within a cent, one above."""
    pit = clv.randomised_pit([[1.0, 2.0, 3.005, 4.0]], [3.0], seed=5)
    v = np.random.default_rng(5).random(1)
    assert pit == pytest.approx((2 + v * 2) / 5)
    with pytest.raises(clv.ForecastError, match="one finite value an account"):
        clv.randomised_pit([[1.0, 2.0]], [np.nan])


def test_standard_errors_count_clusters() -> None:
    """Two clusters that agree within themselves: se = sqrt(2 (2/2)^2)/4; alone each account: sqrt(.25/4)."""
    pit = [0.5, 0.5, 0.99, 0.99]
    alone, together = clv.coverage(pit, [0.5]), clv.coverage(pit, [0.5], clusters=["a", "a", "b", "b"])
    assert alone["observed"].iloc[0] == together["observed"].iloc[0] == 0.5
    assert alone["se"].iloc[0] == pytest.approx(0.25)
    assert together["se"].iloc[0] == pytest.approx(np.sqrt(2.0) / 4.0)
