"""The gate of simulation-based calibration: exact, able to fail, and passed by a few simulations of the whole line.

A few simulations of the whole line are `make slow`; the long version, with its planted faults, is `make calibrate`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from arviz_stats.ecdf_utils import ecdf_pit
from scipy.stats import norm

from sbc.faults import FAULTS, planted, rejected
from sbc.gate import POINTS, band_p_value, judged, randomised_rank, spread_p_value
from sbc.run import collected, run_all, simulate_fit, simulate_forecast

SIMULATIONS = 8
LEAST_P = 1e-4


def test_band_p_values_are_uniform_when_ranks_are() -> None:
    """P(p <= x) is at most x, and not far below: the counts are whole numbers."""
    rng = np.random.default_rng(1)
    p = np.array([band_p_value(rng.random(100)) for _ in range(400)])
    for x in (0.05, 0.2, 0.5):
        assert (p <= x).mean() == pytest.approx(x, abs=3.5 * np.sqrt(x * (1 - x) / 400) + 0.02)


def test_band_is_that_of_arviz() -> None:
    """A sample leaves ArviZ's simulated 95% band when its p-value is below .05 (their band looks at every 1/n)."""
    rng = np.random.default_rng(2)
    agree = 0
    for _ in range(40):
        u = rng.beta(1.0, rng.uniform(0.7, 1.5), POINTS)
        _, ecdf, lower, upper = ecdf_pit(u, 0.95, 2000, rng=rng)
        agree += bool(((ecdf < lower) | (ecdf > upper)).any()) == (band_p_value(u) < 0.05)
    assert agree >= 38


def test_the_spread_test_sees_what_the_band_hardly_does() -> None:
    """A posterior SD 20% too small, 300 simulations, family-wise limits of 150 quantities: 98% against a fifth."""
    rng, limit = np.random.default_rng(3), 3.4e-5
    samples = [norm.cdf(rng.normal(0.0, 1.25, 300)) for _ in range(100)]
    assert np.mean([spread_p_value(u) < limit for u in samples]) > 0.9
    assert np.mean([band_p_value(u) < limit for u in samples]) < 0.4


def test_ranks_are_uniform_with_ties() -> None:
    rng = np.random.default_rng(4)
    draws, truth = rng.integers(0, 3, (20, 4000)), rng.integers(0, 3, 4000)
    u = randomised_rank(draws, truth, rng)
    assert band_p_value(u) > LEAST_P and spread_p_value(u) > LEAST_P


def test_the_family_wise_error_is_one_percent() -> None:
    """Of 200 sets of 20 quantities that are all right, some two are rejected; 9 or more have probability 2e-4."""
    rng, wrong = np.random.default_rng(5), 0
    names = np.repeat([f"q{i}" for i in range(20)], 50)
    for _ in range(200):
        table = judged(pd.DataFrame({"simulation": 0, "quantity": names, "u": rng.random(names.size)}))
        wrong += not table["passes"].all()
    assert wrong < 9


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_can_be_planted(fault, tmp_path) -> None:
    planted(fault, tmp_path)


@pytest.fixture(scope="module")
def simulated() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sbc-"))
    run_all(simulate_fit, [(folder, number) for number in range(SIMULATIONS)], 2)
    run_all(simulate_forecast, [(folder, number, folder) for number in range(SIMULATIONS)], 2)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_a_few_simulations_of_the_whole_line_pass(simulated: Path) -> None:
    parts = [collected(simulated, kind, range(SIMULATIONS)) for kind in ("fit", "forecast")]
    table = judged(pd.concat([ranks for ranks, *_ in parts], ignore_index=True), level=LEAST_P)
    failed = [name for _, names, _ in parts for name in names]
    assert len(failed) <= 2, failed
    assert len(table) > 200
    assert table["passes"].all(), table[~table["passes"]]


@pytest.mark.slow
def test_a_few_simulations_reject_a_gross_fault(simulated: Path) -> None:
    fault = next(fault for fault in FAULTS if fault.name == "committed revenue counted twice")
    found, worst = rejected(fault, simulated, SIMULATIONS, processes=1)
    assert found, worst
