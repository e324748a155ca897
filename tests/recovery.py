"""Simulate a company, fit it, and see which true parameters lie inside their 95% intervals."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.calibration import randomised_pit
from clvforecast.forecast import forecast
from clvforecast.posterior import Posterior, fit
from clvforecast.synthetic import Truth, simulate_events
from known_world import known_ledger

LEVELS = (0.5, 0.8, 0.95)
TWO_CENTS = 0.02
"""A forecast and a simulated ledger round a term's days apart, each to the cent."""


def recover(seed: int, n_accounts: int = 5000, **options: object) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """(parameters, u): a row a scalar parameter with truth and interval; randomised PIT of 24-month revenue by account."""
    events, truth = simulate_events(n_accounts, seed=seed, future_months=24, **options)
    ledger = known_ledger(events, truth)
    posterior = fit(ledger, segments=["segment"], seed=seed, size_edges=truth.size_edges, progress=False)
    made = forecast(posterior, ledger, horizon_months=24, keep_draws=True, seed=seed)
    actual = truth.revenue(24).set_index("account_id").loc[made.table["account_id"]].sum(axis=1).to_numpy()
    return compare(posterior, truth), randomised_pit(
        made.draws["revenue"].values, actual, seed + 10_000, tolerance=TWO_CENTS
    )


def compare(posterior: Posterior, truth: Truth) -> pd.DataFrame:
    """parameter, component, truth, lower, upper, inside; scalars that cannot vary are left out."""
    rows = [
        {"parameter": name, "truth": value, "lower": lower, "upper": upper, "inside": lower <= value <= upper}
        for name, value, draws in scalars(posterior, truth)
        for lower, upper in [np.quantile(draws, [0.025, 0.975])]
        if upper > lower
    ]
    return pd.DataFrame(rows)


def scalars(posterior: Posterior, truth: Truth) -> Iterator[tuple[str, float, NDArray[np.float64]]]:
    """(name, true value, draws) of every scalar parameter that the truth knows."""
    draws = posterior.draws
    for name in draws.data_vars:
        values = draws[name].values.reshape(-1, *draws[name].shape[2:])
        if name in ("booking_lag", "notice_lag"):
            yield from lag_scalars(str(name), posterior, truth, values)
        elif name == "renewal_year_effect":
            yield from year_scalars(posterior, truth, values)
        elif name in truth.parameters:
            true = np.asarray(truth.parameters[str(name)], dtype=float)
            if true.shape != values.shape[1:]:
                raise AssertionError(f"{name}: the truth has shape {true.shape}, the posterior {values.shape[1:]}")
            for index in np.ndindex(true.shape):
                yield f"{name}{list(index) if index else ''}", float(true[index]), values[(slice(None), *index)]


def lag_scalars(
    name: str, posterior: Posterior, truth: Truth, values: NDArray[np.float64]
) -> Iterator[tuple[str, float, NDArray[np.float64]]]:
    """The lag distribution at the edges that both have: bins may have been merged."""
    share = np.asarray(truth.parameters[name])
    true = dict(zip(truth.lag_edges[1:].tolist(), np.cumsum(share).tolist(), strict=True))
    cumulative = np.cumsum(values, axis=1)
    for j, edge in enumerate(posterior.frame.lag_edges[1:-1]):
        if edge in true:
            yield f"{name}<={edge:g}", true[edge], cumulative[:, j]


def year_scalars(
    posterior: Posterior, truth: Truth, values: NDArray[np.float64]
) -> Iterator[tuple[str, float, NDArray[np.float64]]]:
    """Effects about the mean of the years that both have: early renewals let the fit know of a year after the truth's last."""
    common = [year for year in posterior.frame.years if year in truth.years]
    drawn = values[:, [posterior.frame.years.index(year) for year in common]]
    effects = np.asarray(truth.parameters["renewal_year_effect"])[[truth.years.index(year) for year in common]]
    drawn, effects = drawn - drawn.mean(axis=1, keepdims=True), effects - effects.mean()
    for place, year in enumerate(common):
        yield f"renewal_year_effect[{year}]", float(effects[place]), drawn[:, place]


def coverage(u: NDArray[np.float64]) -> dict[float, float]:
    """Share of u inside each central interval."""
    return {level: float((np.abs(u - 0.5) < level / 2).mean()) for level in LEVELS}
