"""Loyal accounts that also buy more: who stays expands more than the average, and the model has to see it."""

import numpy as np
import pytest
from scipy.stats import norm, spearmanr

from clvforecast.synthetic import CompanyParameters, simulate_events


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_loyalty_and_expansion_are_correlated_as_asked(correlation: float) -> None:
    """Spearman's rho of a Gaussian copula is 6/pi asin(rho / 2), whatever the margins; those of the rate do not change."""
    parameters = {
        "loyalty_correlation": correlation,
        "expansion_rate_segment_effect": (0.0,),
        "renewal_segment_effect": (0.0,),
    }
    _, truth = simulate_events(20_000, seed=3, segments=1, parameters=parameters, history_years=1, future_months=0)
    rate = truth.latents["expansion_rate"] / np.exp(
        np.array(CompanyParameters().expansion_rate_size_effect)[truth.latents["size_class"]]
    )
    found = spearmanr(truth.latents["theta"], rate).statistic
    assert found == pytest.approx(6 / np.pi * np.arcsin(correlation / 2), abs=norm.ppf(0.999) / np.sqrt(20_000))
    shape = CompanyParameters().expansion_rate_shape
    assert rate.mean() == pytest.approx(CompanyParameters().expansion_rate, rel=0.03)
    assert rate.var() == pytest.approx(CompanyParameters().expansion_rate ** 2 / shape, rel=0.08)
