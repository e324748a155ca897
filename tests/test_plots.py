"""What the plots show is what the forecast says; how they look was judged by eye."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import clvforecast as clv
from clvforecast.report.plots import BINS, plot_account, plot_portfolio

DRAWS = 60


@pytest.fixture(scope="module")
def company() -> tuple[clv.Ledger, clv.Posterior]:
    """A synthetic company and, for a posterior, its prior."""
    events, truth = clv.simulate_events(n_accounts=80, seed=5)
    ledger = clv.read_ledger(events, truth.accounts, as_of=truth.as_of)
    return ledger, clv.prior(ledger, ["segment"], draws=50)


@pytest.fixture(scope="module")
def made(company) -> clv.Forecast:
    """From the end of a quarter: 31 December 2023."""
    ledger, posterior = company
    return clv.forecast(posterior, ledger, 24, draws=DRAWS, keep_draws=True)


def bars(axes: Axes, label: str) -> list[float]:
    found = [container for container in axes.containers if container.get_label() == label]
    return [bar.get_height() for container in found for bar in container]


def median_line(axes: Axes) -> np.ndarray:
    (line,) = (line for line in axes.lines if line.get_label() == "median")
    return np.asarray(line.get_ydata())


def test_the_fan_is_the_portfolio(made: clv.Forecast) -> None:
    axes = plot_portfolio(made)
    assert median_line(axes) == pytest.approx(made.portfolio("QE")["q50"].to_numpy())
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["recognised", "95% range", "80% range", "50% range", "median"]
    assert "USD" in axes.get_ylabel()


def test_the_bars_are_what_was_recognised(made: clv.Forecast) -> None:
    """16 quarters from 2020 on: all service of those years, of what was known on 31 December 2023."""
    ledger_items = made.history.items.to_pandas()
    first, last = ((pd.Timestamp(day) - pd.Timestamp(0)).days for day in ("2020-01-01", "2024-01-01"))
    length = (ledger_items["end_day"] - ledger_items["start_day"]).clip(lower=1)
    inside = ledger_items["end_day"].clip(first, last) - ledger_items["start_day"].clip(first, last)
    at_once = (ledger_items["end_day"] == ledger_items["start_day"]) & ledger_items["start_day"].between(
        first, last - 1
    )
    expected = (ledger_items["cents"] * (inside / length + at_once)).sum() / 100
    heights = bars(plot_portfolio(made), "recognised")
    assert len(heights) == 16
    assert sum(heights) == pytest.approx(expected, abs=len(ledger_items) * 0.01)


def test_a_running_quarter_shows_what_it_has_and_what_it_will_have(company) -> None:
    ledger, posterior = company
    forecast = clv.forecast(posterior, ledger.at("2023-11-20"), 24, draws=DRAWS)
    axes = plot_portfolio(forecast)
    (so_far,) = bars(axes, "recognised so far")
    table = forecast.portfolio("QE")
    assert table["partial"].tolist() == [True] + [False] * 7 + [True]
    shown = median_line(axes)
    assert len(shown) == 8
    assert shown[0] == pytest.approx(so_far + table["q50"].iloc[0])
    assert shown[1:] == pytest.approx(table["q50"].iloc[1:8].to_numpy())
    assert "left out" in axes.get_title(loc="left")


@pytest.mark.parametrize("freq", ["ME", "YE", "YE-JUN"])
def test_other_periods(made: clv.Forecast, freq: str) -> None:
    axes = plot_portfolio(made, freq=freq)
    assert {"ME": "month", "YE": "year", "YE-JUN": "year"}[freq] in axes.get_ylabel()


def test_what_happened_stands_at_its_periods(made: clv.Forecast) -> None:
    periods = pd.DatetimeIndex(made.portfolio("QE")["period"])
    axes = plot_portfolio(made, actual=pd.Series([1e5, 2e5], index=periods[:2]))
    (line,) = (line for line in axes.lines if line.get_label() == "what happened")
    assert np.asarray(line.get_ydata())[:2].tolist() == [1e5, 2e5]
    with pytest.raises(clv.ForecastError, match="no day of it ends a period"):
        plot_portfolio(made, actual=pd.Series([1e5], index=[pd.Timestamp("2024-05-05")]))


def test_an_account_s_bars_are_probabilities(made: clv.Forecast) -> None:
    accounts = made.accounts()
    account_id = accounts.loc[accounts["p_zero"].between(0.05, 0.9), "account_id"].iloc[0]
    draws = made.draws["clv"].sel(account=account_id).values
    axes = plot_account(made, account_id)
    nothing = float((draws == 0).mean())
    (zero,) = bars(axes, f"nothing: {nothing:.1%}")
    assert zero == pytest.approx(nothing)
    others = bars(axes, "brings revenue")
    assert len(others) == BINS
    assert sum(others) + zero == pytest.approx((draws <= np.quantile(draws, 0.99)).mean())
    assert account_id in axes.get_title(loc="left")


def test_an_account_that_is_gone_and_one_that_is_certain(made: clv.Forecast) -> None:
    """All draws alike: nothing to bin, and still a plot."""
    kept = made.kept.copy(deep=True)
    account_id = str(kept["account"].values[0])
    for value in (0.0, 1200.0):
        kept["clv"].loc[{"account": account_id}] = value
        same = dataclasses.replace(made, kept=kept)
        assert plot_account(same, account_id).get_xlabel().startswith("forward CLV")


def test_an_account_needs_kept_draws_and_a_known_name(company, made: clv.Forecast) -> None:
    ledger, posterior = company
    without = clv.forecast(posterior, ledger, 12, draws=4)
    with pytest.raises(clv.ForecastError, match="keep_draws=True"):
        plot_account(without, "A000001")
    with pytest.raises(clv.ForecastError, match="no account 'a000001'; near are 'A000001'"):
        plot_account(made, "a000001")
    with pytest.raises(clv.ForecastError, match="value='profit'"):
        plot_account(made, "A000001", value="profit")


def test_given_axes_are_used_and_style_is_left_alone(made: clv.Forecast) -> None:
    before = dict(matplotlib.rcParams)
    axes = Figure().add_subplot()
    assert plot_portfolio(made, ax=axes) is axes
    assert dict(matplotlib.rcParams) == before
    plot_portfolio(made)
    assert pyplot.get_fignums() == []


NOTEBOOK = """
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

shell = InteractiveShell.instance()
with capture_output() as shown:
    shell.run_cell("from clvforecast.report.axes import axes_or_new; axes = axes_or_new(None)").raise_error()
assert any("image/png" in output.data for output in shown.outputs), shown.outputs
from matplotlib import pyplot

assert pyplot.get_fignums() == []
"""


def test_a_notebook_shows_a_plot_that_was_given_no_axes() -> None:
    """Also where the cell ends with an assignment, as ``axes = clv.plot_arr(forecast)``."""
    pytest.importorskip("IPython")
    settings = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], env=settings, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
