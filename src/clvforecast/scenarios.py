"""What if: assumptions that replace what the posterior says, for some accounts and some time.

A scenario is simulated with the random numbers and the posterior draws of the forecast that it is compared with, so that the two
differ by what is assumed and by little else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.calendars import as_days, day_of
from clvforecast.errors import ForecastError
from clvforecast.histories.slices import account_slices
from clvforecast.ledger import Ledger
from clvforecast.simulation.structures import NEVER, NOTHING_ASSUMED, Assumed

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
RATES = ("expansion_rate", "contraction_rate", "change_order_rate", "referral_rate", "termination_rate")
"""In the order of the kernel's rates."""
ALWAYS = (-NEVER, NEVER)


@dataclass(frozen=True, kw_only=True)
class Assume:
    """One assumption: what changes, for which accounts, and from when to when.

    Parameters
    ----------
    renewal_odds
        The odds of every renewal, planned ones too, p / (1 − p), are multiplied by this: 0.8, or 0 for none.
    renewal_points
        Added to the probability of every renewal, within 0 and 1: −0.05 for five points less. Per decision, so of monthly
        contracts it is taken off every month.
    price_uplift
        Renewal prices are higher by this share than the model has them: 0.03. It adds to the model's own changes; amounts
        of planned renewals stay.
    expansion_rate, contraction_rate, change_order_rate, referral_rate, termination_rate
        The rates of these events (termination: contracts that end early) are multiplied by this; planned ones stay.
    term_mix, term_mix_share
        Months of a renewed contract -> share, which add up to 1: the mix that ``term_mix_share`` of the renewals are drawn from;
        the others are as the model has them.
    where
        Account columns -> level, or levels: accounts that it holds for, all by default. "account_id" may be among them. New
        customers go by their segment columns.
    start, end
        First and last day, dates or texts YYYY-MM-DD; by default from the forecast's first day on, and to its last. Renewals
        count by the day on which they fall due; those that are overdue are decided on the first day.

    Raises
    ------
    ForecastError
        For a value out of range, or days in the wrong order.

    Examples
    --------
    >>> Assume(renewal_points=-0.05, where={"plan": "pro"}, start="2027-01-01").renewal_points
    -0.05
    """

    renewal_odds: float = 1.0
    renewal_points: float = 0.0
    price_uplift: float = 0.0
    expansion_rate: float = 1.0
    contraction_rate: float = 1.0
    change_order_rate: float = 1.0
    referral_rate: float = 1.0
    termination_rate: float = 1.0
    term_mix: Mapping[int, float] | None = None
    term_mix_share: float = 1.0
    where: Mapping[str, Any] = field(default_factory=dict)
    start: date | str | None = None
    end: date | str | None = None

    def __post_init__(self) -> None:
        for name in ("renewal_odds", *RATES):
            self._check(name, 0.0, math.inf, "a factor, 0 or more, as 0.8 for a fifth less")
        self._check("renewal_points", -1.0, 1.0, "a share from -1 to 1, as -0.05 for five points of probability less")
        self._check("term_mix_share", 0.0, 1.0, "a share from 0 to 1, as 0.5 for half of the renewals")
        if not (_is_number(self.price_uplift) and -1.0 < self.price_uplift <= 1.0):
            raise ForecastError(
                f"price_uplift={self.price_uplift!r}: give a share above -1 and at most 1, as 0.03 for 3% more"
                f"{_as_number(self.price_uplift)}."
            )
        mix = self.term_mix
        if mix is not None and not (
            isinstance(mix, Mapping)
            and len(mix)
            and all(isinstance(months, int) and months >= 1 for months in mix)
            and all(_is_number(share) and share >= 0.0 for share in mix.values())
            and math.isclose(math.fsum(mix.values()), 1.0, abs_tol=1e-6)
        ):
            raise ForecastError(
                f"term_mix={mix!r}: give months -> share, shares that add up to 1, as {{12: 0.6, 36: 0.4}}."
            )
        if not isinstance(self.where, Mapping):
            raise ForecastError(f"where={self.where!r}: give account columns -> level, as {{'plan': 'pro'}}.")
        first, after = self.days
        if after <= first:
            raise ForecastError(
                f"start={self.start}, end={self.end}: the assumption ends before it begins. Swap the days."
            )

    def _check(self, name: str, low: float, high: float, meaning: str) -> None:
        value = getattr(self, name)
        if not (_is_number(value) and low <= value <= high):
            raise ForecastError(f"{name}={value!r}: give {meaning}{_as_number(value)}.")

    @property
    def days(self) -> tuple[int, int]:
        """First day, and the day after the last, since 1970-01-01."""
        first = ALWAYS[0] if self.start is None else day_of(self.start)
        return first, ALWAYS[1] if self.end is None else day_of(self.end) + 1

    def describe(self) -> str:
        """What is assumed, for whom and when, in one line."""
        changed = [
            f"{item.name} {getattr(self, item.name)}"
            for item in fields(self)
            if item.name not in ("where", "start", "end", "term_mix_share") and getattr(self, item.name) != item.default
        ]
        if self.term_mix is not None and self.term_mix_share != 1.0:
            changed.append(f"of {self.term_mix_share:.0%} of renewals")
        parts = [", ".join(changed) or "nothing"]
        parts += [f"where {column} is {_levels(level)}" for column, level in self.where.items()]
        parts += [f"{word} {day}" for word, day in (("from", self.start), ("to", self.end)) if day is not None]
        return "; ".join(parts)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def _as_number(value: object) -> str:
    """What to write in place of a text; nothing for what is a number already."""
    if not isinstance(value, str):
        return ""
    text = value.strip()
    try:
        number = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        return ", a number, not a text"
    return f". Write the number {number:g}, without quotation marks" if math.isfinite(number) else ", a number"


def _levels(level: Any) -> str:
    return " or ".join(map(str, _listed(level)))


def _listed(level: Any) -> list[Any]:
    return list(level) if isinstance(level, list | tuple | set | frozenset | np.ndarray | pd.Series) else [level]


class Scenario:
    """A name and what is assumed under it.

    Parameters
    ----------
    name
        How tables and charts call it.
    assumptions
        Any number of `Assume`. Where several hold for an account on a day, odds, prices and rates multiply, points add up, and
        the last mix of terms counts.
    lost_accounts
        account_id -> day (a date, or a text YYYY-MM-DD) on which all its contracts end; what is booked and not yet served
        is de-booked. A list of ids: on the forecast's first day.
    annual_discount_rate
        In place of the forecast's.

    Examples
    --------
    >>> Scenario("Renewal falls five points", Assume(renewal_points=-0.05))
    <Scenario 'Renewal falls five points': renewal_points -0.05>
    """

    def __init__(
        self,
        name: str,
        *assumptions: Assume,
        lost_accounts: Mapping[str, date | str] | Sequence[str] = (),
        annual_discount_rate: float | None = None,
    ) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ForecastError(f"name={name!r}: a scenario has a name, a text.")
        for assumption in assumptions:
            if not isinstance(assumption, Assume):
                raise ForecastError(
                    f"{assumption!r} is no assumption: Scenario(name, clv.Assume(...), clv.Assume(...))."
                )
        if isinstance(lost_accounts, str) or not isinstance(lost_accounts, Mapping | Iterable):
            raise ForecastError(f"lost_accounts={lost_accounts!r}: give a list of ids, or account_id -> day.")
        rate = annual_discount_rate
        if rate is not None and not (_is_number(rate) and 0.0 <= rate <= 1.0):
            raise ForecastError(
                f"annual_discount_rate={rate!r}: it is a yearly rate from 0 to 1, as 0.1 for 10%{_as_number(rate)}."
            )
        self.name = name
        self.assumptions = assumptions
        self.lost_accounts: dict[str, date | str | None] = (
            dict(lost_accounts) if isinstance(lost_accounts, Mapping) else dict.fromkeys(lost_accounts)
        )
        self.annual_discount_rate = annual_discount_rate

    def __repr__(self) -> str:
        return f"<Scenario {self.name!r}: {self.describe()}>"

    def describe(self) -> str:
        """All that is assumed, in one line."""
        parts = [assumption.describe() for assumption in self.assumptions]
        if self.lost_accounts:
            lost = [name if day is None else f"{name} on {day}" for name, day in self.lost_accounts.items()]
            parts.append(f"lost: {', '.join(lost)}")
        if self.annual_discount_rate is not None:
            parts.append(f"discount rate {self.annual_discount_rate:.2%}")
        return " | ".join(parts) or "nothing changed"


def check_scenarios(scenarios: Sequence[Scenario], ledger: Ledger, new_customers: bool = False) -> None:
    """Before anything is simulated: whether columns, levels, accounts and days of scenarios are those of a ledger.

    With customers still to be won, which may have levels that the ledger has not, levels are `steer`'s to check.
    """
    account_ids = pa.chunked_array([part.account_ids for part in account_slices(ledger)])
    nobody = pd.DataFrame(index=pd.RangeIndex(0))
    for scenario in scenarios:
        try:
            for assumption in scenario.assumptions:
                if not new_customers:
                    _holds(assumption, ledger, account_ids, nobody)
            _stop_days(scenario, ledger, account_ids)
        except ForecastError as error:
            raise ForecastError(f"scenario {scenario.name!r}: {error}") from error


class Steered(NamedTuple):
    """A scenario in the kernel's terms, for A accounts in their order.

    effect: (A,) row of ``assumed``, −1 for none; stop_day: (A,); term_values: (V,) months, the posterior's and those assumed
    new_effect: (N,) the same of customers still to be won, none of whom is lost on a day that is known
    """

    effect: Longs
    new_effect: Longs
    stop_day: Longs
    assumed: Assumed
    term_values: Longs


def steer(
    scenario: Scenario,
    ledger: Ledger,
    account_ids: pa.ChunkedArray,
    term_values: Longs,
    sampled: pd.DataFrame | None = None,
) -> Steered:
    """Which assumptions hold for each account, and when; also for each of the ``sampled`` new customers, by their segments.

    Raises ForecastError for a column, level or account that the ledger does not have, and for days before the forecast.
    """
    n_accounts = len(account_ids)
    sampled = pd.DataFrame(index=pd.RangeIndex(0)) if sampled is None else sampled
    held = np.column_stack(
        [_holds(assumption, ledger, account_ids, sampled) for assumption in scenario.assumptions]
        or [np.zeros(n_accounts + len(sampled), dtype=bool)]
    )
    sets, row = np.unique(held, axis=0, return_inverse=True)
    months = sorted(
        {*(months for one in scenario.assumptions for months in one.term_mix or ())} - {*term_values.tolist()}
    )
    values = np.append(term_values, np.array(months, dtype=np.int64))
    first = day_of(ledger.as_of) + 1
    rows = [
        _pieces([one for one, holds in zip(scenario.assumptions, chosen, strict=False) if holds], values, first)
        for chosen in sets
    ]
    effect = np.where(sets.any(axis=1), np.arange(len(sets)), -1)[row.ravel()]
    stop_day = _stop_days(scenario, ledger, account_ids)
    return Steered(effect[:n_accounts], effect[n_accounts:], stop_day, _joined(rows, values.size), values)


def _holds(
    assumption: Assume, ledger: Ledger, account_ids: pa.ChunkedArray, sampled: pd.DataFrame
) -> NDArray[np.bool_]:
    """Whether the assumption holds for each account, and then for each sampled customer."""
    found = np.ones(len(account_ids) + len(sampled), dtype=bool)
    rows = pc.index_in(account_ids, ledger.accounts["account_id"])
    for column, level in assumption.where.items():
        if column not in ledger.accounts.column_names:
            raise ForecastError(
                f"where={{{column!r}: ...}}: the accounts have no column {column!r}; they have "
                f"{', '.join(ledger.accounts.column_names)}."
            )
        levels = ledger.accounts[column].take(rows).to_pandas()
        levels = pd.concat([levels, _levels_of_new(sampled, column)], ignore_index=True) if len(sampled) else levels
        for one in _listed(level):
            if not (levels == one).any():
                known = ", ".join(map(repr, levels.dropna().unique()[:8]))
                raise ForecastError(
                    f"where={{{column!r}: {one!r}}}: no account has it. Levels of {column} are {known}."
                )
        found &= levels.isin(_listed(level)).to_numpy()
    return found


def _levels_of_new(sampled: pd.DataFrame, column: str) -> pd.Series:
    """A column of the accounts for customers still to be won, who have no id yet."""
    if column == "account_id":
        return pd.Series([None] * len(sampled), dtype=object)
    if column not in sampled.columns:
        raise ForecastError(
            f"where={{{column!r}: ...}}: new customers have no column {column!r}, so it cannot be told whether the assumption "
            "holds for them. Name segment columns or account_id, or forecast without new customers."
        )
    return sampled[column]


def _stop_days(scenario: Scenario, ledger: Ledger, account_ids: pa.ChunkedArray) -> Longs:
    """Day on which each account's contracts end."""
    found = np.full(len(account_ids), NEVER)
    first = day_of(ledger.as_of) + 1
    for name, given in scenario.lost_accounts.items():
        place = pc.index(account_ids, name).as_py()
        if place < 0:
            raise ForecastError(f"lost_accounts: the ledger has no account {name!r} with a contract. Check the id.")
        day = first if given is None else day_of(given)
        if day < first:
            raise ForecastError(
                f"lost_accounts: {name!r} is lost on {given}, before the forecast begins on "
                f"{as_days(first).astype('datetime64[D]')}."
            )
        found[place] = day
    return found


def _pieces(assumptions: Sequence[Assume], term_values: Longs, first_day: int) -> list[dict[str, Any]]:
    """Pieces of time from the first day on that do not overlap, each with all that is assumed in it."""
    edges = sorted({day for assumption in assumptions for day in assumption.days})
    pieces = []
    for first, after in zip(edges[:-1], edges[1:], strict=True):
        inside = [one for one in assumptions if one.days[0] <= first and after <= one.days[1]]
        if inside and after > first_day:
            pieces.append({"days": (first, after), **_together(inside, term_values)})
    return pieces


def _together(assumptions: Sequence[Assume], term_values: Longs) -> dict[str, Any]:
    mixes = [one for one in assumptions if one.term_mix is not None]
    share, mix = 0.0, np.ones(term_values.size)
    if mixes and mixes[-1].term_mix is not None:
        share = mixes[-1].term_mix_share
        mix = np.cumsum([mixes[-1].term_mix.get(int(months), 0.0) for months in term_values])
        mix = mix / mix[-1]
    return {
        "odds": math.prod(one.renewal_odds for one in assumptions),
        "points": math.fsum(one.renewal_points for one in assumptions),
        "uplift": math.prod(1.0 + one.price_uplift for one in assumptions) - 1.0,
        "rates": [math.prod(getattr(one, name) for one in assumptions) for name in RATES],
        "share": share,
        "mix": mix,
    }


def _joined(rows: Sequence[Sequence[dict[str, Any]]], n_values: int) -> Assumed:
    pieces = [piece for row in rows for piece in row]
    if not pieces:
        return NOTHING_ASSUMED._replace(first=np.zeros(len(rows) + 1, dtype=np.int64))
    columns = {name: np.array([piece[name] for piece in pieces]) for name in pieces[0]}
    return Assumed(first=np.cumsum([0, *map(len, rows)]), **columns)
