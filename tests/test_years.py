"""Good and bad years: which are known, how those to come spread, and that portfolio ranges need them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clvforecast.cells import Frame
from clvforecast.cells.levels import frame_counts, known_years
from clvforecast.forecast import forecast
from clvforecast.histories import build_histories
from clvforecast.ledger import read_ledger
from clvforecast.simulation.parameters import LATER_YEARS, year_effects
from clvforecast.synthetic import simulate_events
from component_cells import make_frame
from known_world import known_ledger, known_posterior
from sbc.gate import band_p_value, randomised_rank, spread_p_value

DRAWS, SPREAD = 40_000, 0.4
PORTFOLIOS, GREAT_SPREAD = 24, 0.8


def frame_of(settled: int) -> Frame:
    return replace(make_frame(), years=(2019, 2020, 2021, 2022), settled_years=settled)


def test_years_to_come_spread_about_the_mean_of_all_years() -> None:
    """Var s²(1 + 1/L), correlation 1/(L + 1), and of any year far ahead s²/L; what is known is taken as it is."""
    rng = np.random.default_rng(0)
    draws = {"renewal_year_effect": rng.normal(size=(DRAWS, 4)), "renewal_year_sd": np.full(DRAWS, SPREAD)}
    effects = year_effects(draws, frame_of(3), 2024, seed=1)
    assert effects.shape == (DRAWS, 4 + 2 + LATER_YEARS + 1)
    assert (effects[:, :3] == draws["renewal_year_effect"][:, :3]).all()
    later, far = effects[:, 3:-1], effects[:, -1]
    variance = SPREAD**2
    assert later.var(axis=0) == pytest.approx(variance * 1.25, rel=0.04)
    assert np.corrcoef(later.T)[np.triu_indices(later.shape[1], 1)] == pytest.approx(0.2, abs=0.025)
    assert far.var() == pytest.approx(variance / 4, rel=0.04)
    assert np.corrcoef(later[:, 0], draws["renewal_year_effect"][:, 3])[0, 1] == pytest.approx(0.0, abs=0.02)
    assert (year_effects(draws, frame_of(3), 2030, seed=1)[:, :5] == effects[:, :5]).all()  # keyed by the year alone
    assert not np.allclose(year_effects(draws, frame_of(3), 2024, seed=2)[:, 3:], effects[:, 3:])


@pytest.mark.parametrize(
    ("lag_days", "as_of", "settled"), [(0, "2021-07-15", 3), (60, "2021-07-15", 2), (60, "2021-12-31", 3)]
)
def test_a_year_is_settled_when_its_bookings_are_in(lag_days, as_of, settled) -> None:
    """Contracts that end on the first of July: two weeks later all is known of those booked at once, nothing of others."""
    rows = []
    for account in range(12):
        for year in (2019, 2020):
            start = f"{year}-07-01"
            booked = start if year == 2019 else str(np.datetime64(start) + np.timedelta64(lag_days, "D"))
            rows.append((f"A{account}", booked, "initial" if year == 2019 else "renewal", 1200.0, "USD", start, 12))
    names = ["account_id", "event_date", "kind", "amount", "currency", "start_date", "term_months"]
    histories = build_histories(read_ledger(pd.DataFrame(rows, columns=names), as_of=as_of))
    years, found = known_years(frame_counts(histories), np.array([-31.0, 0.0, 92.0]))
    assert years == (2019, 2020, 2021)
    assert found == settled


@pytest.mark.parametrize("taken_in", [True, False])
def test_totals_need_the_spread_of_years_to_come(taken_in: bool) -> None:
    """Under the truth the actual total's place is uniform; where years to come are taken for average, it is not."""
    places, rng = [], np.random.default_rng(3)
    quiet = {"expansion_rate": 0.0, "change_order_rate": 0.0, "reactivation_rate": 0.0, "first_mrr_sd": 0.1}
    for seed in range(PORTFOLIOS):
        parameters = {**quiet, "renewal_year_sd": GREAT_SPREAD}
        events, truth = simulate_events(200, seed=100 + seed, parameters=parameters, history_years=5, future_months=36)
        ledger = known_ledger(events, truth)
        known = known_posterior(truth, n_draws=200, **({} if taken_in else {"renewal_year_sd": 0.0}))
        made = forecast(known, ledger, horizon_months=36, draws=200, seed=seed, keep_draws=("revenue",))
        actual = truth.revenue(36).set_index("account_id").loc[made.draws["account"].values].to_numpy().sum()
        places.append(float(randomised_rank(made.draws["revenue"].values.sum(axis=0), actual, rng)))
    smallest = min(band_p_value(places), spread_p_value(places))
    assert smallest > 1e-4 if taken_in else smallest < 1e-6
