"""Renewals after the horizon: the kernel's sum, which ends early, against all of its terms."""

from itertools import product

import numpy as np
import pytest

from clvforecast.simulation.beyond import alike_renewals
from clvforecast.simulation.slots import EXPONENT, LOG_DISCOUNT, N_POWERS, POWERS_AT, REAL_SLOTS, TABLE_HEADER

ALL_TERMS = 40_000


def kernel_sum(c: float, tenure: int, months: int, log_theta: float, discount: float) -> float:
    par = np.zeros(EXPONENT + 1 + N_POWERS)
    par[EXPONENT] = c
    par[EXPONENT + 1 :] = (np.arange(N_POWERS) / 12.0) ** c
    table = np.zeros(TABLE_HEADER, dtype=np.int64)
    table[POWERS_AT] = EXPONENT + 1
    scale = np.zeros(LOG_DISCOUNT + 1)
    scale[LOG_DISCOUNT] = discount
    delta = float(np.exp(-discount * months / 12.0))
    return float(alike_renewals(par, table, scale, np.zeros(REAL_SLOTS), tenure, months, log_theta, delta))


def every_term(c: float, tenure: int, months: int, log_theta: float, discount: float) -> float:
    k = np.arange(1, ALL_TERMS + 1)
    survived = log_theta * (((tenure + k * months) / 12.0) ** c - (tenure / 12.0) ** c)
    return float(np.exp(survived - discount * (k - 1) * months / 12.0).sum())


@pytest.mark.parametrize("months", [1, 6, 12, 36, 60])
def test_a_sum_over_renewals_misses_less_than_an_eighth_of_what_is_negligible(months: int) -> None:
    grid = product((0.4, 0.7, 0.95, 1.0, 1.1, 1.8), (12, 60, 240), (-0.01, -0.1, -0.3, -2.0), (0.02, 0.1, 0.2))
    for c, tenure, log_theta, discount in grid:
        where = (c, tenure, months, log_theta, discount)
        assert kernel_sum(*where) == pytest.approx(every_term(*where), rel=4e-5), where
