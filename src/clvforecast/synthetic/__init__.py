"""A synthetic company drawn from the generative model, with its truth.

``simulate_events`` draws every account from the model that the package fits, with parameters the caller
knows. It is what the package is checked against: a fit must find the parameters, a forecast must cover the
future.
"""

from clvforecast.synthetic.company import simulate_events
from clvforecast.synthetic.parameters import CompanyParameters
from clvforecast.synthetic.truth import Truth

__all__ = ["CompanyParameters", "Truth", "simulate_events"]
