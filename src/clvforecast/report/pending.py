"""How much recurring revenue is of contracts that have ended and whose renewal is open, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clvforecast.errors import ForecastError
from clvforecast.report.units import in_unit, money_unit

if TYPE_CHECKING:
    from clvforecast.forecast import Forecast


def pending_words(forecast: Forecast) -> str:
    """What `Forecast.pending_arr` tells, for those who see a step in the first period; empty where there is nothing to tell.

    A forecast that was loaded without its ledger cannot tell.
    """
    if not forecast.settings.bridge:
        return ""
    try:
        row = forecast.pending_arr().iloc[0]
    except ForecastError:
        return ""
    if not row["contracts"]:
        return ""
    unit = money_unit(float(row["pending"]))
    amount = f"{unit.label(forecast.currency)} {in_unit(row['pending'], unit)}"
    of = "1 contract that has" if row["contracts"] == 1 else f"{int(row['contracts']):,} contracts that have"
    if forecast.settings.pending == "lapsed":
        return (
            f"Not in the ARR on {forecast.as_of}: {amount} of {of} ended and whose renewal is open. What of it is renewed comes "
            "as late renewals."
        )
    return (
        f"Of the ARR on {forecast.as_of}, {amount} is of {of} ended and whose renewal is open. What of it is not renewed leaves "
        "in the first period of the forecast."
    )
