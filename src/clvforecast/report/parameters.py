"""A posterior's population parameters on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Console

from clvforecast.posterior import Posterior
from clvforecast.report.terminal import say, show_table


def show_parameters(console: Console, posterior: Posterior) -> None:
    """The parameters that hold for an average account; `Posterior.summary` has them all."""
    summary = posterior.summary()
    show_table(console, "average account", parameter_rows(summary), left=["parameter", "meaning", "unit"])
    say(
        console,
        f"{len(summary):,} parameters in all; worst R-hat {summary['rhat'].max():.3f}, fewest effective draws "
        f"{summary[['ess_bulk', 'ess_tail']].min().min():,.0f}",
    )
    for component, note in posterior.notes.items():
        say(console, f"note on {component}: {note}", "yellow")
    for warning in posterior.warnings:
        say(console, f"warning: {warning}", "yellow")


def parameter_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """parameter, mean, 95% interval, meaning, unit: of whole-population parameters that the data speak to."""
    kept = summary[
        ~summary["parameter"].str.contains("[", regex=False)
        & ~summary["parameter"].str.contains("(?:renewal|_rate|_size)_size_sd$", regex=True)
        & (summary["n_data"] > 0)
    ]
    return pd.DataFrame(
        {
            "parameter": kept["parameter"],
            "mean": kept["mean"].map("{:.3g}".format),
            "95% interval": [
                f"{low:.3g} to {high:.3g}" for low, high in zip(kept["lower"], kept["upper"], strict=True)
            ],
            "meaning": kept["meaning"],
            "unit": kept["unit"],
        }
    )
