"""What a scoring run is asked for: the tables of ``clvforecast.toml``, checked, with errors that name the key."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from clvforecast.calendars import FiscalCalendar
from clvforecast.errors import BatchSettingsError, FitError
from clvforecast.posterior import fit_settings
from clvforecast.reduction import Billing, ForecastSettings

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)
ALL_KEYS = "All keys are in docs/operating.md."


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _as_date(value: Any) -> Any:
    """Days of TOML are days already; in Python they may be texts, or moments at midnight, as pandas has them."""
    if isinstance(value, datetime) and value.time() == time.min and value.tzinfo is None:
        return value.date()
    return date.fromisoformat(value) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class InputSettings(BaseModel):
    """``[input]``: where the events are, and what they are known by.

    events, accounts: files or patterns, CSV or Parquet; with ``database``, SELECT statements for PostgreSQL instead. database:
    the environment variable that holds the server's address (a URI), so that no password stands in a file; time_zone: whose clock
    its timestamps with a zone are told by, as Europe/Berlin. mapping, format, rates, currency: of another system's export, as for
    `read_export`. as_of: default the latest booking. max_rejected: the largest share of rows that may be rejected.
    least_accounts: the share of the current run's accounts that must be there, so that half an export is not scored. stream: read
    Parquet files that do not fit into memory, some accounts at a time.
    """

    model_config = STRICT

    events: Names = ()
    accounts: str | None = None
    database: str | None = None
    time_zone: str | None = None
    mapping: str | None = None
    format: str | None = None
    rates: str | None = None
    currency: str | None = None
    as_of: Annotated[date, BeforeValidator(_as_date)] | None = None
    grace_days: int | None = Field(None, ge=0)
    max_rejected: float | None = Field(None, ge=0.0, le=1.0)
    least_accounts: float = Field(0.5, ge=0.0, le=1.0)
    stream: bool = False

    @model_validator(mode="after")
    def _one_kind_of_source(self) -> InputSettings:
        exported = [name for name in ("mapping", "format", "rates", "currency") if getattr(self, name) is not None]
        if self.stream and (exported or self.database):
            raise ValueError(
                f"stream reads Parquet files of events only; leave out {', '.join(exported) or 'database'}"
            )
        if self.mapping and self.format:
            raise ValueError("give format or mapping; a mapping can name its format, as format = 'stripe'")
        if self.database and len(self.events) != 1:
            raise ValueError("with database, events is one SELECT statement")
        return self


class PosteriorSettings(BaseModel):
    """``[posterior]``: which one, and when it is fitted anew.

    file: from `clvforecast fit`; needed unless refit is other than "never" (then the first run fits one). refit: "never", "age"
    (when it is older than max_age_days, by the data's days), or "drift" (when earlier ranges no longer hold). segments, seed,
    draws, tune, chains: of a fit. What is fitted is kept in the output folder, and later runs use the newest.
    """

    model_config = STRICT

    file: str | None = None
    refit: Literal["never", "age", "drift"] = "never"
    max_age_days: int = Field(92, ge=1)
    segments: Names = ()
    seed: int = Field(7, ge=0)
    draws: int = Field(1000, ge=100)
    tune: int = Field(1000, ge=1)
    chains: int = Field(4, ge=2)

    @model_validator(mode="after")
    def _enough_draws(self) -> PosteriorSettings:
        try:
            fit_settings(self.draws, self.tune, self.chains, 1, self.seed)
        except FitError as error:
            raise ValueError(str(error)) from error
        return self


class ForecastOptions(BaseModel):
    """``[forecast]``: as for `clvforecast.forecast`; ci_prob is that of ``lower`` and ``upper``, fiscal_start the month (1-12)
    that the fiscal year begins with, plans and reliability are files."""

    model_config = STRICT

    horizon_months: int = 60
    annual_discount_rate: float = 0.10
    gross_margin: float = 1.0
    draws: int = 1000
    seed: int = 7
    timing: Literal["recognised", "booked", "cash"] = "recognised"
    billing: Billing | None = None
    payment_days: int | None = None
    cost_to_serve: float = 0.0
    group_by: Names | None = None
    ci_prob: float = Field(0.9, gt=0.0, lt=1.0)
    ci_kind: Literal["eti", "hdi"] = "eti"
    fiscal_start: int = Field(1, ge=1, le=12)
    bridge: bool = False
    pending: Literal["in_force", "lapsed"] = "in_force"
    plans: str | None = None
    reliability: str | None = None

    @property
    def calendar(self) -> FiscalCalendar | None:
        return None if self.fiscal_start == 1 else FiscalCalendar(self.fiscal_start)

    def arguments(self) -> dict[str, Any]:
        """For `clvforecast.forecast`, but for the plans, which are read with the ledger."""
        taken = self.model_dump(exclude={"ci_prob", "ci_kind", "fiscal_start", "plans", "reliability"})
        return {**taken, "ci_probs": (self.ci_prob,), "calendar": self.calendar}

    @model_validator(mode="after")
    def _as_a_forecast_takes_them(self) -> ForecastOptions:
        if self.reliability is not None and self.plans is None:
            raise ValueError("reliability is that of plans: give plans too, or leave it out")
        names = ForecastSettings.model_fields
        ForecastSettings(**{name: value for name, value in self.arguments().items() if name in names})
        return self


class OutputSettings(BaseModel):
    """``[output]``: where the run's tables go.

    folder: Parquet files, manifests, and what runs remember. duckdb: keep folder/clvforecast.duckdb with tables and views.
    database: the environment variable that holds a PostgreSQL server's address; db_schema: the schema there. keep_runs: how many
    runs are kept, in all of them.
    """

    model_config = ConfigDict(**STRICT, populate_by_name=True)

    folder: str = "scores"
    duckdb: bool = True
    database: str | None = None
    db_schema: str = Field("clv", alias="schema", min_length=1, max_length=63)
    keep_runs: int = Field(7, ge=1)


class RunOptions(BaseModel):
    """``[run]``: how the work is done; changes no result.

    accounts_each: accounts of a part, which is done whole or again. threads: default all processors. max_failed: the largest
    share of accounts that may fail before the run gives up.
    """

    model_config = STRICT

    accounts_each: int = Field(20_000, ge=1)
    threads: int | None = Field(None, ge=1)
    max_failed: float = Field(0.01, ge=0.0, le=1.0)


class WatchSettings(BaseModel):
    """``[watch]``: how earlier ranges are held against what then happened.

    Every so often (every_days) a run also forecasts the next ``months`` of some accounts, and keeps their draws. A later
    run that knows these months checks them: an alarm is raised where the model itself would be so wrong with a probability below
    ``alarm``.
    accounts = 0: no watch. fail: an alarm ends the command with exit code 4.
    """

    model_config = STRICT

    accounts: int = Field(2000, ge=0)
    months: int = Field(3, ge=1, le=24)
    every_days: int = Field(28, ge=1)
    alarm: float = Field(0.01, gt=0.0, lt=0.5)
    fail: bool = False


class BatchSettings(BaseModel):
    """A scoring run: one table each, all optional but for what says where events and posterior are.

    Examples
    --------
    >>> BatchSettings.model_validate({"forecast": {"horizon_months": 24}}).forecast.horizon_months
    24
    """

    model_config = STRICT

    input: InputSettings = InputSettings()
    posterior: PosteriorSettings = PosteriorSettings()
    forecast: ForecastOptions = ForecastOptions()
    output: OutputSettings = OutputSettings()
    run: RunOptions = RunOptions()
    watch: WatchSettings = WatchSettings()

    @model_validator(mode="after")
    def _what_buckets_cannot_do(self) -> BatchSettings:
        asked = {"forecast.plans": self.forecast.plans, "input.max_rejected": self.input.max_rejected}
        for key, value in asked.items():
            if self.input.stream and value is not None:
                raise ValueError(f"{key} needs all events in memory: leave it out, or leave out input.stream")
        if self.input.stream and self.posterior.refit != "never":
            raise ValueError("posterior.refit needs all events in memory: fit apart, or leave out input.stream")
        return self


PATHS = (
    ("input", "mapping"), ("input", "rates"), ("posterior", "file"), ("forecast", "plans"), ("forecast", "reliability"),
    ("output", "folder"),
)  # fmt: skip


def read_settings(config: str | os.PathLike[str] | Mapping[str, Any] | BatchSettings) -> BatchSettings:
    """Settings from a TOML file, whose relative paths are looked for from its folder, or from a dict of the same tables.

    Raises
    ------
    BatchSettingsError
        When the file is missing or no TOML, and for a key that is not known or has a value it cannot have.

    Examples
    --------
    >>> read_settings({"forecast": {"horizon_months": 0}})
    Traceback (most recent call last):
        ...
    clvforecast.errors.BatchSettingsError: settings: forecast.horizon_months = 0: Input should be greater than or equal to 1. ...
    """
    if isinstance(config, BatchSettings):
        return config
    if isinstance(config, Mapping):
        return _checked(config, "settings")
    path = Path(config)
    return _from_folder(_checked(_toml(path), str(path)), path.parent)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BatchSettingsError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BatchSettingsError(
            f"{path}: is no TOML file ({error}). Texts stand in quotation marks, days as 2027-01-31."
        ) from error


def _checked(said: Mapping[str, Any], source: str) -> BatchSettings:
    try:
        return BatchSettings.model_validate(dict(said))
    except ValidationError as error:
        told = "; ".join(dict.fromkeys(_in_words(found) for found in error.errors()))
        raise BatchSettingsError(f"{source}: {told}. {ALL_KEYS}") from error


def _in_words(found: ErrorDetails) -> str:
    """The key as it stands in the file, its value, and what is wrong."""
    key = ".".join(str(part) for part in found["loc"])
    message = found["msg"].removeprefix("Value error, ").removesuffix(".")
    if found["type"] == "extra_forbidden":
        return f"{key} is not known; {_known(found['loc'][:-1])}"
    if isinstance(found["input"], dict | BaseModel):  # of several keys together: the message names them
        return f"{key}: {message}" if key else message
    return f"{key} = {found['input']!r}: {message}"


def _known(table: tuple[int | str, ...]) -> str:
    """The keys of a table, or the tables themselves."""
    model: Any = BatchSettings if not table else BatchSettings.model_fields[str(table[0])].annotation
    names = [field.alias or name for name, field in model.model_fields.items()]
    return f"known are {', '.join(names)}"


def _from_folder(settings: BatchSettings, folder: Path) -> BatchSettings:
    """The same with its paths, which are relative to the file's folder, relative to the current one."""
    changed: dict[str, dict[str, Any]] = {"input": {}}
    if settings.input.database is None:
        changed["input"]["events"] = tuple(str(folder / events) for events in settings.input.events)
        if settings.input.accounts is not None:
            changed["input"]["accounts"] = str(folder / settings.input.accounts)
    for table, name in PATHS:
        if (table, name) == ("input", "accounts") and settings.input.database is not None:
            continue  # a SELECT statement
        if (value := getattr(getattr(settings, table), name)) is not None:
            changed.setdefault(table, {})[name] = str(folder / value)
    return settings.model_copy(
        update={table: getattr(settings, table).model_copy(update=values) for table, values in changed.items()}
    )
