"""Sampled new customers as a ledger of fictional accounts, and the draw that each lives in."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.fictional import fictional_ledger
from clvforecast.ledger import Ledger


def new_customer_ledger(sampled: pd.DataFrame, ledger: Ledger) -> tuple[Ledger, NDArray[np.int32]]:
    """The sampled customers as accounts, and ``only_draw`` (A,): the one draw each of them lives in.

    An account books its term on ``as_of`` already, so that its state is known; what it brings comes with its service. Accounts
    are in the order of `sampled`, which is that of the `States` made of them; they exist in one draw only, so a forecast of
    this ledger as it stands would count each in all of them.
    """
    keys = zip(sampled["draw"], sampled["number"], strict=True)
    accounts = sampled.drop(columns=["draw", "number", "booked_day", "start_day"]).assign(
        account_id=[f"new customer {draw:07d}.{number:07d}" for draw, number in keys],
        start=sampled["start_day"].to_numpy().astype("datetime64[D]"),
    )
    fictional = fictional_ledger(accounts, ledger.as_of, ledger.currency, ledger.grace_days)
    return fictional, sampled["draw"].to_numpy(np.int32)
