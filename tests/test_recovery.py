"""Simulate and recover: the whole line from events to ranges finds the truth as often as it says.

Minutes a seed, so these run with `make slow`; they print the table that they judge.
"""

import numpy as np
import pandas as pd
import pytest

from clvforecast.ledger import read_ledger
from clvforecast.posterior import fit
from clvforecast.synthetic import simulate_events
from recovery import LEVELS, coverage, recover

SEEDS = range(1, 21)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recovered() -> tuple[pd.DataFrame, np.ndarray]:
    tables, pits = [], []
    for seed in SEEDS:
        table, u = recover(seed)
        tables.append(table.assign(seed=seed))
        pits.append(u)
        print(f"seed {seed}: {table['inside'].mean():.1%} of {len(table)} parameters inside, coverage {coverage(u)}")
    return pd.concat(tables, ignore_index=True), np.concatenate(pits)


def test_every_parameter_is_found(recovered: tuple[pd.DataFrame, np.ndarray]) -> None:
    """With 95% intervals, 7 misses or more of 20 have probability 4e-5 a parameter; pooled coverage 92% to 98%."""
    table, _ = recovered
    misses = (~table["inside"]).groupby(table["parameter"]).sum().sort_values(ascending=False)
    print(misses.head(15).to_string())
    pooled = table["inside"].mean()
    print(f"pooled coverage of {misses.size} parameters x {len(SEEDS)} seeds: {pooled:.1%}")
    assert misses.max() < 7, misses.head(10)
    assert 0.92 <= pooled <= 0.98


def test_ranges_hold_as_often_as_they_say(recovered: tuple[pd.DataFrame, np.ndarray]) -> None:
    """Randomised coverage of 24-month revenue within three points."""
    held = coverage(recovered[1])
    print(held)
    assert all(abs(held[level] - level) <= 0.03 for level in LEVELS)


def test_a_segment_of_three_accounts_beside_one_of_a_hundred_thousand() -> None:
    """Every component passes the gate, and the tiny segment is pulled to the others instead of running off."""
    events, truth = simulate_events(100_000, seed=5, segments=1, future_months=0)
    accounts = truth.accounts.assign(segment="large")
    accounts.loc[:2, "segment"] = "tiny"
    ledger = read_ledger(events, accounts=accounts, as_of=truth.as_of)
    posterior = fit(ledger, segments=["segment"], seed=5, progress=False)
    effect = posterior.draws["renewal_segment_effect"].sel(segment_level="segment=tiny")
    assert abs(float(effect.mean())) < 1.0
