"""`data_report`: the tables that a data scientist looks at before fitting, and their picture."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvforecast.cells.levels import lag_bins, observed_lags
from clvforecast.histories import Histories, build_histories
from clvforecast.ledger import Ledger
from clvforecast.overview.bookings import bookings_by_kind, events_by_month, months_without_events, quality
from clvforecast.overview.cohorts import cohort_table
from clvforecast.overview.recurring import recurring_revenue
from clvforecast.overview.terms import ends_by_month

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDED = {
    "lines": ("line", "account", "first_day", "observed_from", "tenure_unknown"),
    "terms": ("line", "spell", "k", "start_day", "end_day", "stop_day", "mrr", "renewed"),
    "decisions": ("outcome", "d", "lag_days", "effective_day"),
    "amendments": ("term", "day", "mrr"),
}
"""The tables and columns of histories that a report is made of."""


@dataclass(frozen=True, repr=False)
class DataReport:
    """What a ledger holds. Made by `data_report`; money is in `currency`, MRR in currency a month.

    Attributes
    ----------
    events
        One row a month of booking and kind that has events: month (its first day), kind, rows, amount.
    recurring
        One row a month end since the first term, and `as_of`: day, mrr (terms that run on it, with the expansions and
        contractions so far), accounts and contracts under a running term.
    cohorts
        One row a cohort (year of the accounts' first start, or "all") and years since: cohort, years, accounts (that began),
        known (of them, those whose every decision due by then must be known), in_force (share of accounts in unbroken
        service), mrr_in_force (the same, weighted by MRR at the start), net_mrr (MRR then, changes and returns
        included, over MRR at the start, of the known). See `cohorts.cohort_table`.
    ends
        One row a month: month, ended (terms), of which renewed, notified, terminated (early), silent (neither renewed nor
        told of, `patience_days` after the end), undecided (sooner after it); returned (terms that begin after a lapse).
    booking
        One row a year of start and kind: year, kind, rows, late (booked after the start), share_late, median_days and
        p90_days (from start to booking).
    quality
        part, what, rows, amount: accepted, later by reason, rejected by rule; then months without events, and accounts
        that are in no cohort.
    gaps
        Months without an event where there usually are many, see `ledger.months.empty_months`.
    patience_days
        Days after a term's end in which its renewal may still be booked late: where the model's last lag bin ends.
    warnings
        Those of the ledger and of its histories.
    """

    events: pd.DataFrame
    recurring: pd.DataFrame
    cohorts: pd.DataFrame
    ends: pd.DataFrame
    booking: pd.DataFrame
    quality: pd.DataFrame
    gaps: tuple[pd.Timestamp, ...]
    patience_days: int
    as_of: date
    currency: str
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        last = self.recurring.iloc[-1]
        return (
            f"<DataReport as of {self.as_of}: {self.events['rows'].sum():,} events, MRR {last['mrr']:,.2f} {self.currency} of "
            f"{last['accounts']:,} accounts>"
        )

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""
        names = ("events", "recurring", "cohorts", "ends", "booking", "quality")
        return {name: getattr(self, name) for name in names}

    def plot(self) -> Figure:
        """Four pictures: events by kind, MRR and accounts, cohorts in force, how terms ended."""
        from clvforecast.report.overview import plot_report

        return plot_report(self)


def data_report(ledger: Ledger, histories: Histories | None = None, patience_days: int | None = None) -> DataReport:
    """What the ledger holds, as known on its `as_of`.

    Parameters
    ----------
    ledger
        From `read_ledger`.
    histories
        Those of the ledger, where they are built already.
    patience_days
        Days after a term's end in which a renewal may still be booked; by default the longest lag usually seen.

    Raises
    ------
    HistoryError
        When no initial or renewal is booked by `as_of`.

    Examples
    --------
    >>> import clvforecast as clv
    >>> report = clv.data_report(clv.read_ledger(clv.datasets.cohort_events(years=3)), patience_days=0)
    >>> report
    <DataReport as of 2003-01-01: 5,746 events, MRR 8,625.00 USD of 1,035 accounts>
    >>> report.cohorts.query("cohort == 'all'")["in_force"].round(4).tolist()
    [1.0, 0.75, 0.6055, 0.5175]
    """
    histories = build_histories(ledger, only=NEEDED) if histories is None else histories
    patience = int(lag_bins(*observed_lags(histories))[-1]) if patience_days is None else int(patience_days)
    cohorts, apart = cohort_table(histories, patience)
    gaps, empty = months_without_events(ledger)
    counted = (
        ("months", "no event is booked", empty),
        ("months", "no event is booked, where many usually are", len(gaps)),
        ("accounts", "first seen after their start: in no cohort", apart),
    )
    return DataReport(
        events=events_by_month(ledger),
        recurring=recurring_revenue(histories),
        cohorts=cohorts,
        ends=ends_by_month(histories, patience),
        booking=bookings_by_kind(ledger),
        quality=quality(ledger, counted),
        gaps=tuple(pd.Timestamp(np.datetime64(month, "M")) for month in gaps),
        patience_days=patience,
        as_of=ledger.as_of,
        currency=ledger.currency,
        warnings=(*ledger.warnings, *histories.warnings),
    )
