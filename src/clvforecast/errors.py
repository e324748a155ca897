"""What can go wrong, one class a boundary. Every message says what, where, the value, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


class ClvError(Exception):
    """Anything this package refuses to do; catch it to catch them all."""


class LedgerError(ClvError):
    """The revenue events or the accounts table cannot be used as a whole; single rows are rejected.

    rejected: where no row can be used, all of them with their reasons (`events.REJECTED_SCHEMA`), else None.
    """

    def __init__(self, message: str, rejected: pa.Table | None = None) -> None:
        super().__init__(message)
        self.rejected = rejected


class HistoryError(ClvError):
    """The ledger's events do not form contract histories that the models can use."""


class FitError(ClvError):
    """A model could not be fitted."""


class ConvergenceError(FitError):
    """Sampling ended, but its draws do not pass the convergence gate."""


class PosteriorFileError(ClvError):
    """A saved posterior is missing, damaged, or of another format."""


class ForecastFileError(ClvError):
    """A saved forecast is missing, damaged, or of another format."""


class ForecastError(ClvError):
    """A forecast cannot be made from this posterior and ledger, or its settings are impossible."""


class PlanError(ClvError):
    """Lifecycle plans cannot be used as a whole; single steps are rejected rows.

    rejected: where no row can be used, all of them with their reasons, else None.
    """

    def __init__(self, message: str, rejected: pa.Table | None = None) -> None:
        super().__init__(message)
        self.rejected = rejected


class SparkError(ClvError):
    """A Spark job cannot do this, or did not: the message names the account or the part."""


class DatasetError(ClvError):
    """A data set that ships with the package is missing or not what it should be."""


class BatchError(ClvError):
    """A nightly run cannot be published, found or read: the database, its tables or its permissions are in the way."""


class BatchSettingsError(BatchError):
    """A scoring run was asked for in a wrong way; the message names the key."""


class RunLockedError(BatchError):
    """Another run is writing to the same folder."""
