"""What is kept of simulated draws: for every account its moments, quantiles, intervals, probabilities and origins."""

from collections.abc import Callable
from datetime import date
from typing import Literal, get_args

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clvforecast.intervals import CI_KINDS, moments_and_quantiles, sorted_interval
from clvforecast.simulation.calendar import DAYS_PER_MONTH, MARK_MONTHS
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
Floats = NDArray[np.float64]


class ForecastSettings(BaseModel):
    """What a forecast was asked for; stored with it.

    annual_discount_rate is a yearly effective rate; gross_margin multiplies discounted values only; with ``known_by``
    only bookings made by that day count, for a comparison with a ledger that is itself only known by then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon_months: int = Field(60, ge=1, le=600)
    annual_discount_rate: float = Field(0.10, ge=0.0, le=1.0)
    gross_margin: float = Field(1.0, gt=0.0, le=1.0)
    draws: int = Field(1000, ge=2)
    seed: int = Field(7, ge=0, lt=2**63)
    keep_draws: bool | tuple[Kept, ...] = False
    timing: Literal["recognised", "booked"] = "recognised"
    known_by: date | None = None
    ci_probs: tuple[float, ...] = DEFAULT_CI_PROBS
    threads: int | None = Field(None, ge=1)
    batch_accounts: int | None = Field(None, ge=1)


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
        self.marks = [mark for mark, months in enumerate(MARK_MONTHS) if months <= settings.horizon_months]

    def add(self, first: int, last: int, simulated: Simulated) -> None:
        revenue = simulated.origins.sum(axis=2) / UNITS_PER_CURRENCY
        value = simulated.value / UNITS_PER_CURRENCY * self.settings.gross_margin
        self._keep_ranges(first, last, "", revenue)
        self._keep_ranges(first, last, "discounted_", value)
        self._keep(first, last, self._means(simulated, value))
        of_batch: dict[str, Callable[[], Floats]] = {
            "revenue": lambda: revenue.T,
            "clv": lambda: value.T,
            "revenue_by_origin": lambda: simulated.origins.transpose(1, 0, 2) / UNITS_PER_CURRENCY,
            "mrr": lambda: simulated.mrr[:, :, self.marks].transpose(1, 0, 2),
        }
        for name, parts in self.full.items():
            parts.append(np.ascontiguousarray(of_batch[name]()))

    def _keep(self, first: int, last: int, values: dict[str, Floats]) -> None:
        for name, column in values.items():
            self.columns.setdefault(name, np.empty(self.n_accounts))[first:last] = column

    def _keep_ranges(self, first: int, last: int, prefix: str, draws: Floats) -> None:
        ordered = np.sort(draws, axis=0)
        named = moments_and_quantiles(draws, ordered)
        self._keep(first, last, {f"{prefix}{name}": column for name, column in named.items()})
        for kind in CI_KINDS:
            for ci_prob in self.settings.ci_probs:
                for end, column in zip(("lower", "upper"), sorted_interval(ordered, ci_prob, kind), strict=True):
                    key = f"{prefix}{end}|{kind}|{ci_prob}"
                    self.ends.setdefault(key, np.empty(self.n_accounts))[first:last] = column

    def _means(self, simulated: Simulated, value: Floats) -> dict[str, Floats]:
        discounting = self.settings.annual_discount_rate > 0.0
        beyond = simulated.beyond.mean(axis=0) * self.settings.gross_margin
        beyond = beyond if discounting else np.full_like(beyond, np.nan)
        in_window = value.mean(axis=0)
        whole = in_window + beyond
        renewal = simulated.next_renewal
        probabilities = {
            f"p_active_{MARK_MONTHS[mark]}m": ((simulated.active >> mark) & 1).mean(axis=0) for mark in self.marks
        }
        # A draw in which the line ended early never reached the decision and says nothing of its probability.
        decided = ~np.isnan(renewal).all(axis=0)
        likely = np.full((3, renewal.shape[1]), np.nan)
        if decided.any():
            likely[0, decided] = np.nanmean(renewal[:, decided], axis=0)
            likely[1:, decided] = np.nanquantile(renewal[:, decided], [0.05, 0.95], axis=0)
        return {
            "p_zero": (simulated.origins.sum(axis=2) == 0).mean(axis=0),
            "beyond_horizon": beyond,
            "beyond_share": np.divide(beyond, whole, out=np.zeros_like(whole), where=whole > 0.0),
            **probabilities,
            "p_next_renewal": likely[0],
            "p_next_renewal_q05": likely[1],
            "p_next_renewal_q95": likely[2],
            "active_months": simulated.active_days.mean(axis=0) / DAYS_PER_MONTH,
            **{
                f"from_{origin}": simulated.origins[:, :, position].mean(axis=0) / UNITS_PER_CURRENCY
                for position, origin in enumerate(ORIGINS)
            },
        }

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.columns)

    def interval_table(self) -> pd.DataFrame:
        return pd.DataFrame(self.ends)

    def kept(self, account_ids: pd.Series) -> xr.Dataset | None:
        if not self.full:
            return None
        arrays = {name: np.concatenate(parts) for name, parts in self.full.items()}
        kept = xr.Dataset(
            {name: (("account", "draw", *DIMS_KEPT[name]), values) for name, values in arrays.items()},
            coords={"account": account_ids.to_numpy(), "draw": np.arange(self.settings.draws)},
        )
        if "revenue_by_origin" in kept:
            kept = kept.assign_coords(origin=list(ORIGINS))
        if "mrr" in kept:
            kept = kept.assign_coords(month=[MARK_MONTHS[mark] for mark in self.marks])
        for name in kept.data_vars:
            kept[name].attrs["long_name"] = MEANING_KEPT[str(name)]
        return kept
