"""The levels that training, posterior and simulation share: one `Frame`, saved with the posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from clvforecast.errors import HistoryError

N_NUMBERS = 5
"""Decision numbers 1, 2, 3, 4 and 5+ (coded 0..4)."""

TERM_CLASS_STARTS = np.array([1, 2, 6, 12, 13, 24, 25, 36, 37, 60, 61])
"""First month of each term class; a class runs to the month before the next one."""

TERM_CLASS_NAMES = ("1", "2-5", "6-11", "12", "13-23", "24", "25-35", "36", "37-59", "60", "61+")


def calendar_year(days: ArrayLike) -> NDArray[np.int64]:
    """Calendar year of each day (days since 1970-01-01)."""
    days = np.asarray(days, dtype=np.int64)
    if not days.size:
        return days
    first = int(days.min())  # looked up among the days there are: numpy's dates are slow one by one
    calendar = np.arange(first, int(days.max()) + 1).astype("datetime64[D]").astype("datetime64[Y]")
    return np.asarray(calendar.astype(np.int64)[days - first] + 1970)


@dataclass(frozen=True)
class Frame:
    """What every cell, parameter and simulated state is indexed by.

    Attributes
    ----------
    segments
        Names of the segment columns, in the user's order.
    levels
        Column name -> its level names, sorted.
    size_edges
        float64[Z-1], increasing cut points on log MRR; Z size classes, Z = 1 when empty.
    term_values
        int64[V], distinct term lengths seen, in months, increasing.
    term_class
        int64[V], index into `term_class_names` of each term value.
    term_class_names
        The term classes seen, shortest first, e.g. ``("6-11", "12", "36")``.
    lag_edges
        float64[J+1], whole days, strictly increasing. Lag bin j holds lags in (edge_j, edge_{j+1}].
    uses_notice
        Whether the ledger tells of lapses (churn events); else a lapse is only seen as a renewal not booked.
    years
        Calendar years, one after the other, that have an effect of their own on renewal.
    settled_years
        How many of them, from the first on, are told by decisions that are settled. What the others' bookings say of a good or
        bad year, a forecast does not use: it draws their effects anew.
    max_ratio
        A single renewal multiplies the carried MRR by at most this.
    """

    segments: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    size_edges: NDArray[np.float64]
    term_values: NDArray[np.int64]
    term_class: NDArray[np.int64]
    term_class_names: tuple[str, ...]
    lag_edges: NDArray[np.float64]
    uses_notice: bool
    years: tuple[int, ...]
    settled_years: int
    max_ratio: float = 20.0

    @property
    def n_size_classes(self) -> int:
        """Z, the number of size classes."""
        return len(self.size_edges) + 1

    @property
    def n_term_classes(self) -> int:
        return len(self.term_class_names)

    @property
    def n_lag_bins(self) -> int:
        """J, the number of lag bins."""
        return len(self.lag_edges) - 1

    @property
    def location_columns(self) -> tuple[str, ...]:
        """Names of the columns of every location parameter's design, in order.

        intercept, then ``segment=level`` (segments in order, levels sorted), ``size_class=z``, second_spell,
        tenure_unknown.
        """
        segment_levels = tuple(f"{column}={level}" for column in self.segments for level in self.levels[column])
        sizes = tuple(f"size_class={z}" for z in range(self.n_size_classes))
        return ("intercept", *segment_levels, *sizes, "second_spell", "tenure_unknown")

    def first_column(self, segment: str) -> int:
        """Position in `location_columns` of the first level of a segment column."""
        before = self.segments[: self.segments.index(segment)]
        return 1 + sum(len(self.levels[column]) for column in before)

    @property
    def first_size_column(self) -> int:
        """Position in `location_columns` of size class 0."""
        return 1 + sum(len(self.levels[column]) for column in self.segments)

    def size_class_of(self, monthly_revenue: ArrayLike) -> NDArray[np.int32]:
        """Size class (0..Z-1) of each monthly revenue (currency per month, positive)."""
        values = np.log(np.asarray(monthly_revenue, dtype=np.float64))
        return np.searchsorted(self.size_edges, values, side="right").astype(np.int32)

    def year_index(self, years: ArrayLike) -> NDArray[np.int64]:
        """Index into `years` of each calendar year; -1 for a year before or after them."""
        index = np.asarray(years, dtype=np.int64) - self.years[0]
        return np.where((index >= 0) & (index < len(self.years)), index, -1)

    def term_class_of(self, months: ArrayLike) -> NDArray[np.int32]:
        """Term class (index into `term_class_names`) of each term length in months.

        A length whose class was never seen in training takes the class of the nearest seen length (ratio of
        months).
        """
        months = np.asarray(months, dtype=np.int64)
        if months.size and int(months.min()) < 1:
            raise HistoryError(
                f"term length {int(months.min())} months: a term is at least 1 month long. "
                "Check the ledger's term_months."
            )
        lengths = np.arange(1, int(months.max(initial=0)) + 1)
        own = np.searchsorted(TERM_CLASS_STARTS, lengths, side="right") - 1
        seen = {name: index for index, name in enumerate(self.term_class_names)}
        class_index = np.array([seen.get(name, -1) for name in TERM_CLASS_NAMES], dtype=np.int32)[own]
        distance = np.abs(np.log(lengths)[:, None] - np.log(self.term_values))
        nearest = self.term_class[np.argmin(distance, axis=-1)]
        return np.where(class_index >= 0, class_index, nearest).astype(np.int32)[months - 1]

    def level_index(self, segment: str, names: pa.ChunkedArray | pa.Array) -> NDArray[np.int32]:
        """Index of each level name in ``levels[segment]``; -1 for a level never seen in training."""
        index = pc.index_in(names, value_set=pa.array(self.levels[segment], pa.string()))
        return np.asarray(index.fill_null(-1), dtype=np.int32)

    def combined_class(
        self,
        term_class: ArrayLike,
        size_class: ArrayLike,
        number: ArrayLike,
        expanded: ArrayLike,
        cut: ArrayLike,
    ) -> NDArray[np.int32]:
        """One index for the classes of a step: (((term·Z + size)·5 + number)·2 + expanded)·2 + cut."""
        index = np.asarray(term_class, dtype=np.int64) * self.n_size_classes + np.asarray(size_class)
        index = index * N_NUMBERS + np.asarray(number)
        index = index * 2 + np.asarray(expanded, dtype=np.int64)
        return (index * 2 + np.asarray(cut, dtype=np.int64)).astype(np.int32)
