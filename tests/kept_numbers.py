"""The numbers of a posterior or a forecast as texts that keep every bit: for files that later versions must still read."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from clvforecast.forecast import Forecast
from clvforecast.posterior import Posterior
from clvforecast.posterior_file import frame_to_json


def exact_sum(values: Any) -> str:
    """The correctly rounded sum as a hexadecimal float: it depends on every value, and on nothing of the machine."""
    return math.fsum(np.asarray(values, dtype=np.float64).ravel().tolist()).hex()


def posterior_numbers(posterior: Posterior) -> dict[str, Any]:
    return {
        "attributes": {name: str(value) for name, value in sorted(posterior.idata.attrs.items())},
        "frame": json.loads(frame_to_json(posterior.frame)),
        "draws": {str(name): exact_sum(values) for name, values in sorted(posterior.draws.data_vars.items())},
        "shapes": {str(name): list(values.shape) for name, values in sorted(posterior.draws.data_vars.items())},
        "prior_sd": {
            str(name): exact_sum(values) for name, values in sorted(posterior.idata["prior_sd"].data_vars.items())
        },
    }


def table_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """A table's sums and texts, NaN left out but counted."""
    return {
        str(name): exact_sum(column.dropna()) + f" of {column.notna().sum()}"
        if pd.api.types.is_numeric_dtype(column)
        else [str(value) for value in column]
        for name, column in table.items()
    }


def parts_numbers(forecast: Forecast) -> dict[str, Any]:
    """Of what not every forecast has, as schema 1 had nothing of it."""
    found: dict[str, Any] = {}
    if forecast.totals.bridge is not None:
        bridge = forecast.bridge("quarter", "segment", history=0)
        found["bridge"] = table_numbers(
            bridge.drop(columns="pending")
        )  # of past periods only, and later than the first files
        found["retention"] = table_numbers(forecast.retention("quarter", trailing_year=True, history=0))
    if forecast.planned is not None:
        found["planned"] = table_numbers(forecast.planned)
    if forecast.new_totals is not None:
        found["new customers"] = table_numbers(forecast.new_customer_counts("month", "segment"))
        found["summary"] = table_numbers(forecast.summary("segment"))
    return found


def forecast_numbers(forecast: Forecast) -> dict[str, Any]:
    return {
        **parts_numbers(forecast),
        "settings": forecast.settings.model_dump(mode="json"),
        "provenance": asdict(forecast.provenance),
        "warnings": list(forecast.warnings),
        "accounts": {
            f"{kind} {ci_prob}": table_numbers(forecast.accounts(ci_prob, kind))
            for kind in ("eti", "hdi")
            for ci_prob in forecast.settings.ci_probs
        },
        "portfolio": {
            # labels are derived, and later than the first files
            f"{freq} by {by}": table_numbers(forecast.portfolio(freq, by).drop(columns="label"))
            for freq, by in (("QE", None), ("YE-JUN", "segment"), (None, "origin"))
        },
        "draws": {str(name): exact_sum(values) for name, values in forecast.draws.data_vars.items()},
    }
