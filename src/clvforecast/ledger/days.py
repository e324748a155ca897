"""Days as whole numbers since 1970-01-01, and the day on which a term ends."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Longs = NDArray[np.int64]

BLOCK = 2**16  # rows whose intermediate arrays stay in the processor's cache


def whole_days(dates: pa.ChunkedArray) -> Longs:
    """Days since 1970-01-01 of dates."""
    return np.asarray(dates.cast(pa.date32()).cast(pa.int32()).to_numpy(), dtype=np.int64)


def term_ends(start_day: Longs, months: Longs) -> Longs:
    """Day on which a term that starts on `start_day` (days since 1970-01-01) ends, that many months later.

    The same day of the month, or the month's last day where it is shorter (31 January + 1 month is 28 or 29
    February), as pandas' DateOffset and DuckDB's ``date + INTERVAL k MONTH``.
    """
    if not len(start_day):
        return np.empty(0, dtype=np.int64)
    # looked up in a calendar of the days there are: numpy's dates are slow one by one
    first_day = int(start_day.min())
    days = np.arange(first_day, int(start_day.max()) + 1).astype("datetime64[D]")
    months_of_days = days.astype("datetime64[M]")
    days_before = (days - months_of_days.astype("datetime64[D]")).astype(np.int64)
    month = months_of_days.astype(np.int64) - months_of_days[0].astype(np.int64)
    all_months = months_of_days[0] + np.arange(int(month[-1]) + int(months.max()) + 2).astype("timedelta64[M]")
    begins = all_months.astype("datetime64[D]").astype(np.int64)
    lengths = np.diff(begins)
    ends = np.empty(len(start_day), dtype=np.int64)
    for block in (slice(first, first + BLOCK) for first in range(0, len(ends), BLOCK)):
        start = start_day[block] - first_day
        end_month = month[start] + months[block]
        ends[block] = begins[end_month] + np.minimum(days_before[start], lengths[end_month] - 1)
    return ends
