"""`Plans`: checked steps of lifecycle plans, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from clvforecast.ledger import Ledger
from clvforecast.ledger.days import whole_days
from clvforecast.ledger.known import as_day
from clvforecast.plans.matching import OPEN, OUTCOMES, kind_codes, last_delays, match_steps

EPOCH = np.datetime64("1970-01-01", "D")


@dataclass(frozen=True, repr=False)
class Plans:
    """Steps that customer-success managers expect of accounts, all checked.  Made by `read_plans`.

    Attributes
    ----------
    steps
        The accepted ones (`plans.steps.STEP_SCHEMA`, money in integer cents), in canonical order.
    rejected_rows
        The rows that break a rule, in the order of the input: source, row, line, step_id, account_id, column, value, rule,
        hint, amount, amount_cents, currency, raw.
    window_days
        A step is hit when it comes at most so many days before or after its planned day; of a renewal, the term that it
        renews must end in that time.
    renewal_days
        A renewal is hit when it is booked at most so many days after its planned day.
    warnings
        How many rows are rejected, by rule.
    """

    steps: pa.Table
    rejected_rows: pa.Table
    window_days: int
    renewal_days: int
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.steps.num_rows)

    def __repr__(self) -> str:
        rejected = f"{self.rejected_rows.num_rows:,} rows rejected"
        if not len(self):
            return f"<Plans: no steps, {rejected}>"
        planned = self.steps["planned_date"].to_pylist()
        accounts = len(self.steps["account_id"].unique())
        return f"<Plans: {len(self):,} steps of {accounts:,} accounts, {min(planned)} to {max(planned)}, {rejected}>"

    @property
    def accepted(self) -> pd.DataFrame:
        """`steps` as pandas: amount in currency units beside amount_cents, days as datetime64."""
        frame = self.steps.to_pandas(date_as_object=False)
        frame["amount_cents"] = pd.array(self.steps["amount_cents"].to_pylist(), dtype="Int64")
        frame["term_months"] = pd.array(self.steps["term_months"].to_pylist(), dtype="Int32")
        amount = self.steps["amount_cents"].cast(pa.float64()).to_numpy() / 100
        frame.insert(self.steps.column_names.index("amount_cents"), "amount", amount)
        return frame

    @property
    def rejected(self) -> pd.DataFrame:
        """`rejected_rows` as pandas."""
        frame: pd.DataFrame = self.rejected_rows.to_pandas()
        return frame

    def open(self, as_of: date | str | Ledger) -> Plans:
        """The steps that may still come after a day: written down by then, and their last day (`last_delays`) is ahead.

        Given a ledger, the day is its `as_of`, and steps that it knows to have come, or not to come any more, are left out.
        """
        if isinstance(as_of, Ledger):
            return self.where(match_steps(self.steps, as_of, self.window_days, self.renewal_days).is_(OPEN))
        day = int((np.datetime64(as_day(as_of, "as_of"), "D") - EPOCH).astype(np.int64))
        never = date(1, 1, 1)
        written = whole_days(self.steps["recorded_on"].fill_null(never))
        last = last_delays(kind_codes(self.steps), self.window_days, self.renewal_days)
        return self.where((written <= day) & (day < whole_days(self.steps["planned_date"]) + last))

    def where(self, kept: NDArray[np.bool_]) -> Plans:
        """These of the steps; (steps,) booleans."""
        return replace(self, steps=self.steps.filter(pa.array(kept)))

    def outcomes(self, ledger: Ledger) -> pd.DataFrame:
        """What came of every step by the ledger's `as_of`: `accepted` and outcome, event_id, event_date, delay_days, share.

        outcome: hit, open (it may still come), missed, not yet written, or not covered (the ledger did not have the account
        on its planned day). A renewal that the ledger knows to have lapsed is missed from then on.
        event_date: of the booking. delay_days: from the planned day to it (of renewals booked before the window its first day).
        share: actual over planned amount; of renewals whose planned term is known, by the month.
        """
        found = match_steps(self.steps, ledger, self.window_days, self.renewal_days)
        hit, event = found.event >= 0, np.maximum(found.event, 0)
        table = self.accepted
        table["outcome"] = np.array(OUTCOMES, dtype=object)[found.outcome]
        ids = found.events["event_id"].to_pylist()
        table["event_id"] = [ids[place] if known else None for place, known in zip(event, hit, strict=True)]
        booked = found.events["booked_day"].to_numpy()[event] if len(ids) else np.zeros(len(event), dtype=np.int64)
        table["event_date"] = np.where(hit, EPOCH + booked.astype("timedelta64[D]"), np.datetime64("NaT", "D")).astype(
            "datetime64[s]"
        )
        table["delay_days"] = pd.array(np.where(hit, found.delay, 0), dtype="Int64")
        table.loc[~hit, "delay_days"] = pd.NA
        table["share"] = found.share
        return table
