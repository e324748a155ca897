"""What is kept of simulated draws: for every account its moments, quantiles, intervals, probabilities and origins."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from clvforecast.calendars import FiscalCalendar
from clvforecast.intervals import CI_KINDS, known_mean_and_quantiles, moments_and_quantiles, sorted_interval
from clvforecast.machine import available_threads
from clvforecast.simulation.calendar import DAYS_PER_MONTH, MARK_MONTHS
from clvforecast.simulation.receivables import LONGEST_PAYMENT
from clvforecast.simulation.run import Simulated
from clvforecast.simulation.slots import ORIGINS, UNITS_PER_CURRENCY

Kept = Literal["revenue", "clv", "revenue_by_origin", "mrr"]
DIMS_KEPT: dict[str, tuple[str, ...]] = {"revenue": (), "clv": (), "revenue_by_origin": ("origin",), "mrr": ("month",)}
MEANING_KEPT = {
    "revenue": "forward revenue of the window, undiscounted",
    "clv": "forward value of the window, discounted, with the gross margin",
    "revenue_by_origin": "forward revenue by origin, undiscounted",
    "mrr": "monthly revenue in force on the last day of the month, 0 where inactive",
}
DEFAULT_CI_PROBS = (0.5, 0.8, 0.9, 0.95)
NEEDS_ALL = {"revenue_by_origin", "mrr"}
ROWS_EACH = 128
"""Accounts that are described at a time: their draws stay in the processor's cache."""
Floats = NDArray[np.float64]


Billing = Literal["upfront", "annual", "quarterly", "monthly"]
MONTHS_BILLED: dict[Billing, int] = {"upfront": 0, "annual": 12, "quarterly": 3, "monthly": 1}
"""Months of one instalment; 0 for the whole of what is booked."""
USUAL_PAYMENT_DAYS = 30
ADDED_SETTINGS = (
    "billing", "payment_days", "cost_to_serve", "calendar", "bridge", "pending", "scenario", "plans", "new_customers",
)  # fmt: skip
"""Settings that the first files of forecasts do not have. At their defaults they are not written, so that those stay valid."""


class ForecastSettings(BaseModel):
    """What a forecast was asked for; stored with it.

    annual_discount_rate is a yearly effective rate; gross_margin multiplies discounted values only; with ``known_by``
    only bookings made by that day count, for a comparison with a ledger that is itself only known by then. Months are those
    of ``calendar``, calendar months and years from January without one. billing and payment_days (`USUAL_PAYMENT_DAYS` where not
    given) are those of timing "cash" and None otherwise; cost_to_serve is in currency an active account and month. ``scenario``,
    ``plans`` and ``new_customers`` say in words what was given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon_months: int = Field(60, ge=1, le=600)
    annual_discount_rate: float = Field(0.10, ge=0.0, le=1.0)
    gross_margin: float = Field(1.0, gt=0.0, le=1.0)
    draws: int = Field(1000, ge=2)
    seed: int = Field(7, ge=0, lt=2**63)
    keep_draws: bool | tuple[Kept, ...] = False
    timing: Literal["recognised", "booked", "cash"] = "recognised"
    billing: Billing | None = None
    payment_days: int | None = Field(None, ge=0, le=LONGEST_PAYMENT)
    cost_to_serve: float = Field(0.0, ge=0.0, allow_inf_nan=False)
    known_by: date | None = None
    ci_probs: tuple[float, ...] = DEFAULT_CI_PROBS
    threads: int | None = Field(None, ge=1)
    batch_accounts: int | None = Field(None, ge=1)
    calendar: FiscalCalendar | None = None
    bridge: bool = False
    pending: Literal["in_force", "lapsed"] = "in_force"
    scenario: str | None = None
    plans: str | None = None
    new_customers: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _usual_payment(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("timing") == "cash" and given.get("payment_days") is None:
            return {**given, "payment_days": USUAL_PAYMENT_DAYS}
        return given

    @model_validator(mode="after")
    def _billed_in_cash_only(self) -> "ForecastSettings":
        for name in ("billing", "payment_days"):
            value = getattr(self, name)
            if self.timing != "cash" and value is not None:
                raise ValueError(
                    f"{name}={value!r} says when money is paid, which timing={self.timing!r} does not count. Give "
                    f"timing='cash', or leave {name} out"
                )
        if self.timing == "cash" and self.billing is None:
            raise ValueError(
                f"timing='cash' needs to know how bookings are billed. Give billing= one of {', '.join(MONTHS_BILLED)}"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_additions(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        said: dict[str, Any] = handler(self)
        return {
            name: value
            for name, value in said.items()
            if name not in ADDED_SETTINGS or getattr(self, name) != fields[name].default
        }

    @property
    def months_billed(self) -> int:
        """Months of one instalment, 0 for all that is booked; -1 where cash is not counted."""
        return -1 if self.billing is None else MONTHS_BILLED[self.billing]

    @property
    def daily_cost(self) -> float:
        """What money, before the margin, pays for a day of serving an active account."""
        return self.cost_to_serve / DAYS_PER_MONTH / self.gross_margin


def money_policies(settings: ForecastSettings) -> dict[str, str]:
    """How money counts under these settings, in sentences by subject: timing, and cost_to_serve where there is one."""
    said = {
        "recognised": "Money counts as it is served, evenly by days.",
        "booked": "Money counts on its booking day; what is already booked is no longer to come.",
        "cash": (
            f"Money counts when it is paid. Bookings are billed {settings.billing} in advance from the start of their service, "
            f"invoiced on the first day of each instalment or on the booking day where that is later, and paid "
            f"{settings.payment_days} days after. The ledger does not say what was paid: all that was due before the window "
            "counts as paid. After an early termination with a refund, what was paid for days not served goes back the same "
            "number of days later, and invoices not yet paid are paid without it."
        ),
    }
    policies = {"timing": said[settings.timing]}
    if settings.cost_to_serve:
        policies["cost_to_serve"] = (
            f"Discounted values have {settings.cost_to_serve:,.2f} taken off for every month in which an account is active, by "
            "days, discounted as recognised money is; revenue has not. Beyond the horizon it is taken off the expected active "
            "time, of an account with several lines that of the line with most of it, which is the least it can be."
        )
    return policies


class Reduction:
    """Keeps of every batch what the account table needs: moments, quantiles, probabilities, intervals."""

    def __init__(self, n_accounts: int, settings: ForecastSettings) -> None:
        self.settings = settings
        self.n_accounts = n_accounts
        self.columns: dict[str, Floats] = {}
        self.ends: dict[str, Floats] = {}
        asked = settings.keep_draws
        names = get_args(Kept) if asked is True else asked or ()
        self.full: dict[str, list[Floats]] = {name: [] for name in names}
        self.marks = marks_within(settings)

    @property
    def keeps_all(self) -> bool:
        """Whether more than revenue and value is asked for of every draw."""
        return bool(NEEDS_ALL & self.full.keys())

    def add(self, first: int, last: int, simulated: Simulated) -> None:
        """Take in the accounts first..last−1, some rows to each thread."""
        threads = self.settings.threads or available_threads()
        parts = [slice(low, low + ROWS_EACH) for low in range(0, last - first, ROWS_EACH)]
        with ThreadPoolExecutor(threads) as pool:
            shares = [pool.submit(self._add_rows, first + part.start, simulated.rows(part)) for part in parts]
            for share in shares:
                share.result()
        for name, kept in self.full.items():
            kept.append(self._kept_draws(name, simulated))

    def _add_rows(self, first: int, simulated: Simulated) -> None:
        self._keep_ranges(first, "", self._revenue(simulated))
        in_window = self._keep_ranges(first, "discounted_", self._value(simulated))
        self._keep(first, self._means(simulated, in_window))

    def _revenue(self, simulated: Simulated) -> Floats:
        return simulated.revenue / UNITS_PER_CURRENCY

    def _value(self, simulated: Simulated) -> Floats:
        return simulated.value / UNITS_PER_CURRENCY * self.settings.gross_margin

    def _keep(self, first: int, values: dict[str, Floats]) -> None:
        for name, column in values.items():
            self._column(self.columns, name)[first : first + len(column)] = column

    def _column(self, columns: dict[str, Floats], name: str) -> Floats:
        """The column of that name, made when it is first asked for; of two threads that ask at once, one makes it."""
        found = columns.get(name)
        return columns.setdefault(name, np.empty(self.n_accounts)) if found is None else found

    def _keep_ranges(self, first: int, prefix: str, draws: Floats) -> Floats:
        """Moments, quantiles and intervals of draws (A, D); returns the means."""
        ordered = np.sort(draws, axis=1).T
        named = moments_and_quantiles(draws.T, ordered)
        self._keep(first, {f"{prefix}{name}": column for name, column in named.items()})
        for kind in CI_KINDS:
            for ci_prob in self.settings.ci_probs:
                for end, column in zip(("lower", "upper"), sorted_interval(ordered, ci_prob, kind), strict=True):
                    self._column(self.ends, f"{prefix}{end}|{kind}|{ci_prob}")[first : first + len(column)] = column
        return named["mean"]

    def _means(self, simulated: Simulated, in_window: Floats) -> dict[str, Floats]:
        n_draws = simulated.revenue.shape[1]
        discounting = self.settings.annual_discount_rate > 0.0
        beyond = simulated.beyond / n_draws * self.settings.gross_margin
        beyond = beyond if discounting else np.full_like(beyond, np.nan)
        whole = in_window + beyond
        # A draw in which the line ended early never reached the decision and says nothing of its probability.
        likely, low, high = known_mean_and_quantiles(simulated.next_renewal, (0.05, 0.95))
        return {
            "p_zero": simulated.zeros / n_draws,
            "beyond_horizon": beyond,
            "beyond_share": np.divide(beyond, whole, out=np.zeros_like(whole), where=whole > 0.0),
            **{f"p_active_{MARK_MONTHS[mark]}m": simulated.active[:, mark] / n_draws for mark in self.marks},
            "p_next_renewal": likely,
            "p_next_renewal_q05": low,
            "p_next_renewal_q95": high,
            "active_months": simulated.active_days / n_draws / DAYS_PER_MONTH,
            **{
                f"from_{origin}": simulated.origins[:, position] / n_draws / UNITS_PER_CURRENCY
                for position, origin in enumerate(ORIGINS)
            },
        }

    def _kept_draws(self, name: str, simulated: Simulated) -> Floats:
        if name == "revenue":
            return self._revenue(simulated)
        if name == "clv":
            return self._value(simulated)
        if simulated.each is None:
            raise ValueError(f"{name} of every draw was not simulated")
        if name == "mrr":
            return np.ascontiguousarray(simulated.each.mrr[:, :, self.marks])
        return simulated.each.origins / UNITS_PER_CURRENCY

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.columns, copy=False)

    def interval_table(self) -> pd.DataFrame:
        return pd.DataFrame(self.ends, index=pd.RangeIndex(self.n_accounts), copy=False)

    def kept(self, account_ids: pd.Series) -> xr.Dataset | None:
        if not self.full:
            return None
        arrays = {name: np.concatenate(parts) for name, parts in self.full.items()}
        return kept_dataset(arrays, account_ids, self.settings)


def kept_dataset(arrays: dict[str, Floats], account_ids: pd.Series, settings: ForecastSettings) -> xr.Dataset:
    """Kept draws (account, draw, ...) with their labels and meanings."""
    kept = xr.Dataset(
        {name: (("account", "draw", *DIMS_KEPT[name]), values) for name, values in arrays.items()},
        coords={"account": account_ids.to_numpy(), "draw": np.arange(settings.draws)},
    )
    if "revenue_by_origin" in kept:
        kept = kept.assign_coords(origin=list(ORIGINS))
    if "mrr" in kept:
        kept = kept.assign_coords(month=[MARK_MONTHS[mark] for mark in marks_within(settings)])
    for name in kept.data_vars:
        kept[name].attrs["long_name"] = MEANING_KEPT[str(name)]
    return kept


def marks_within(settings: ForecastSettings) -> list[int]:
    """Places in MARK_MONTHS of those within the horizon."""
    return [mark for mark, months in enumerate(MARK_MONTHS) if months <= settings.horizon_months]
