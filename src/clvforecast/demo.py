"""The main job on the contracts that ship with the package: train, forecast, and compare with what then happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from clvforecast.actuals import actual_portfolio, actual_revenue
from clvforecast.calibration import CENT, coverage, randomised_pit
from clvforecast.datasets import load_phl_contracts
from clvforecast.forecast import Forecast, forecast
from clvforecast.ledger import Ledger
from clvforecast.posterior import Posterior, fit
from clvforecast.report.files import write_accounts, write_plot, write_portfolio
from clvforecast.report.plots import plot_portfolio
from clvforecast.report.terminal import gap, say, show_table
from clvforecast.report.units import MoneyUnit, in_unit, money_unit

ORIGIN = "2018-06-30"
HORIZON_MONTHS = 24
SEGMENTS = ("department_group",)
CLUSTER = "department"
LARGEST = 10
COVERED = (0.5, 0.8, 0.9)
NAME_LENGTH = 44


def run_demo(
    output: Path, console: Console, seed: int = 7, draws: int = 1000, tune: int = 1000, progress: bool = True
) -> Forecast:
    """Train on what was known on 30 June 2018, forecast the 24 months after, and print it beside what happened.

    Writes accounts.parquet, portfolio.csv, posterior.nc and fan.png into `output`.
    """
    output.mkdir(parents=True, exist_ok=True)
    ledger, later = load_phl_contracts(as_of=ORIGIN), load_phl_contracts()
    _introduce(console, ledger, later)
    with _timed(console, "fitted the models"):
        posterior = fit(ledger, SEGMENTS, seed=seed, draws=draws, tune=tune, progress=progress)
    with _timed(console, "simulated every account forward"):
        made = demo_forecast(posterior, ledger, later, seed)
    _show(console, made, later)
    _write(console, posterior, made, later, output)
    return made


def demo_forecast(posterior: Posterior, ledger: Ledger, later: Ledger, seed: int = 7, draws: int = 1000) -> Forecast:
    """The forecast of the demo: only bookings that the later ledger can know are counted."""
    return forecast(
        posterior,
        ledger,
        horizon_months=HORIZON_MONTHS,
        draws=draws,
        seed=seed,
        keep_draws=True,
        known_by=later.as_of,
    )


def portfolio_beside_actual(made: Forecast, later: Ledger) -> pd.DataFrame:
    """to, median, 90% range, what happened, inside: a row a quarter, and one for the whole window; texts."""
    quarters = made.portfolio("QE").assign(revenue=actual_portfolio(made, later, "QE")["revenue"])
    whole = made.portfolio(None).assign(revenue=actual_portfolio(made, later, None)["revenue"])
    unit = money_unit(quarters["upper"].max())
    rows = pd.concat([quarters, whole], ignore_index=True)
    ends = [*pd.to_datetime(quarters["period"]).dt.strftime("%Y-%m-%d"), f"{HORIZON_MONTHS} months"]
    return _ranges_beside_actual(pd.DataFrame({"quarter to": ends}), rows, unit)


def largest_beside_actual(made: Forecast, later: Ledger, n: int = LARGEST) -> pd.DataFrame:
    """The accounts with the largest mean forecast: account, to date, median, 90% range, what happened, inside; texts."""
    accounts = made.accounts().merge(actual_revenue(made, later)[["account_id", "revenue"]], on="account_id")
    top = accounts.nlargest(n, "mean").reset_index(drop=True)
    unit = money_unit(top["upper"].max())
    names = pd.DataFrame(
        {
            "account": [_shortened(name) for name in top["account_id"]],
            "to date": [in_unit(amount, unit) for amount in top["clv_to_date"]],
        }
    )
    return _ranges_beside_actual(names, top, unit)


def accounts_coverage(made: Forecast, later: Ledger, ledger: Ledger) -> pd.DataFrame:
    """Coverage of the accounts' central ranges of revenue in the whole window; departments are the clusters."""
    actual = actual_revenue(made, later)["revenue"]
    pit = randomised_pit(made.draws["revenue"].values, actual, seed=made.settings.seed)
    column = ledger.accounts.select(["account_id", CLUSTER]).to_pandas().set_index("account_id")[CLUSTER]
    return coverage(pit, COVERED, clusters=column.loc[made.table["account_id"]].to_numpy())


def _ranges_beside_actual(front: pd.DataFrame, ranges: pd.DataFrame, unit: MoneyUnit) -> pd.DataFrame:
    inside = (ranges["lower"] - CENT <= ranges["revenue"]) & (ranges["revenue"] <= ranges["upper"] + CENT)
    return front.assign(
        median=[in_unit(amount, unit) for amount in ranges["q50"]],
        **{
            "90% range": [
                f"{in_unit(low, unit)} to {in_unit(high, unit)}"
                for low, high in zip(ranges["lower"], ranges["upper"], strict=True)
            ],
            "what happened": [in_unit(amount, unit) for amount in ranges["revenue"]],
            "": np.where(inside, "inside", "outside"),
        },
    )


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def _introduce(console: Console, ledger: Ledger, later: Ledger) -> None:
    say(console, "City of Philadelphia, Professional Services Contracts (quarterly reports, 2008 to 2020)", "bold")
    say(
        console,
        f"{ledger.events.num_rows:,} events were known on {ledger.as_of} and are the training data; "
        f"the {later.events.num_rows - ledger.events.num_rows:,} booked later, to {later.as_of}, are kept for the "
        "comparison.",
    )


@contextmanager
def _timed(console: Console, done: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    say(console, f"{done} in {time.perf_counter() - start:.0f} s")


def _show(console: Console, made: Forecast, later: Ledger) -> None:
    quarters = portfolio_beside_actual(made, later)
    unit = money_unit(made.portfolio("QE")["upper"].max()).label(made.currency)
    show_table(console, f"revenue of {len(made.table):,} accounts by quarter, {unit}", quarters, left=["quarter to"])
    say(
        console,
        f"What happened is known to {later.as_of} only, and these ledgers book renewals late: the last quarters' figures "
        "will still grow. The forecast counts only what would be booked by that day, so both miss the same part.",
    )
    say(
        console,
        "Accounts that were new after the origin are in neither. Quarters move together: several outside are one miss, not "
        "several. That a year can be good or bad for all accounts at once is in the ranges.",
    )
    largest = largest_beside_actual(made, later)
    top_unit = money_unit(made.accounts().nlargest(LARGEST, "mean")["upper"].max()).label(made.currency)
    title = f"the {LARGEST} accounts with the largest forecasts, {HORIZON_MONTHS} months, {top_unit}"
    show_table(console, title, largest, left=["account"])
    _show_coverage(console, made, later)


def _show_coverage(console: Console, made: Forecast, later: Ledger) -> None:
    found = accounts_coverage(made, later, later)
    rows = pd.DataFrame(
        {
            "range": found["expected"].map("{:.0%}".format),
            "accounts inside": found["observed"].map("{:.1%}".format),
            "rough standard error": found["se"].map("{:.1%}".format),
            "accounts": found["n"].map("{:,}".format),
        }
    )
    show_table(console, "do the accounts' ranges hold what they promise?", rows, left=["range"])
    say(
        console,
        "Randomised where a forecast has mass at a single value, such as nothing at all; the standard error takes each "
        "department as one cluster.",
    )


def _write(console: Console, posterior: Posterior, made: Forecast, later: Ledger, output: Path) -> None:
    write_accounts(made, output / "accounts.parquet")
    write_portfolio(made, output / "portfolio.csv")
    posterior.save(output / "posterior.nc")
    actual = actual_portfolio(made, later, "QE").set_index("period")["revenue"]
    write_plot(plot_portfolio(made, freq="QE", actual=actual), output / "fan.png")
    gap(console)
    say(console, "files", "bold")
    for name in ("accounts.parquet", "portfolio.csv", "posterior.nc", "fan.png"):
        say(console, f"{output / name}")
