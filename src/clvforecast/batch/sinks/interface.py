"""What every sink can do: the one interface that a nightly run knows of databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import pyarrow as pa

from clvforecast.batch.rows import Batches
from clvforecast.batch.schema import TABLES
from clvforecast.batch.sinks.layout import Places
from clvforecast.batch.sinks.views import VIEW_NAMES
from clvforecast.errors import BatchError

NO_PLACES: Places = MappingProxyType({})


class Sink(Protocol):
    """Where runs are published. Every method opens the database and leaves it again, and raises `BatchError`."""

    def publish(
        self,
        run_id: str,
        tables: Mapping[str, Batches],
        keep_runs: int,
        make_current: bool = True,
        places: Places = NO_PLACES,
    ) -> bool:
        """Load a run and make it the current one, all at once for whoever reads; killed at any moment, nothing has changed.

        A run that is there already changes nothing, and False is returned. ``make_current=False`` loads it beside the current
        run, as one of an earlier day; where there is none it is the current one. Of all runs the ``keep_runs`` that were
        published last stay, this one among them, and the current one. Tables are read once, a batch at a time; those that are
        not given have no rows. ``places`` are those of the runs after this: of each the run that took its place, or None; of runs
        that are not in it, those of the current one's day and later ones are superseded by it.
        """
        ...

    def check(self) -> None:
        """Raise BatchError where a run could not be published, as far as can be told before: a server that is not there, rights
        that are missing, a file that is something else."""
        ...

    def activate(self, run_id: str, places: Places = NO_PLACES) -> None:
        """Make a run that is there the current one, such as an earlier one after a bad night. places: see `publish`."""
        ...

    def current(self) -> str | None:
        """The current run, None where nothing was published."""
        ...

    def runs(self) -> pa.Table:
        """The view `clv_runs` in the order of publishing; no rows where nothing was published."""
        ...

    def read(self, name: str, run_id: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """A table or view as it stands, or what of it belongs to one run; all columns, or some."""
        ...


def check_keep(keep_runs: int) -> None:
    """Raise BatchError unless at least the published run stays."""
    if isinstance(keep_runs, bool) or not isinstance(keep_runs, int) or keep_runs < 1:
        raise BatchError(
            f"keep_runs={keep_runs!r}: how many runs stay, the published one among them; a whole number from 1 on."
        )


def check_name(name: str) -> None:
    """Raise BatchError for what is no table and no view."""
    if name not in (*TABLES, *VIEW_NAMES):
        raise BatchError(f"{name!r} is no table or view; there are {', '.join((*TABLES, *VIEW_NAMES))}.")
