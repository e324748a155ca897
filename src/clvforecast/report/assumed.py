"""Scenarios in words: what is assumed, for whom, and from when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from clvforecast.comparison import Comparison
    from clvforecast.scenarios import Assume, Scenario

RATE_WORDS = {
    "expansion_rate": "expansions",
    "contraction_rate": "contractions",
    "change_order_rate": "change orders",
    "referral_rate": "referrals",
    "termination_rate": "early terminations",
}


def assumed_table(comparison: Comparison) -> pd.DataFrame:
    """scenario, assumed: one row a scenario, in words."""
    scenarios = getattr(comparison, "scenarios", None)
    if scenarios is None:
        return comparison.assumptions()
    words = [in_words(scenario, comparison.base.settings.annual_discount_rate) for scenario in scenarios]
    return pd.DataFrame({"scenario": [scenario.name for scenario in scenarios], "assumed": words})


def changes_discounting(comparison: Comparison) -> bool:
    """Whether a scenario has a discount rate of its own, which undiscounted money knows nothing of."""
    return any(scenario.annual_discount_rate is not None for scenario in getattr(comparison, "scenarios", ()))


def in_words(scenario: Scenario, rate: float | None = None) -> str:
    """All that is assumed, for people who do not know the names of settings; `rate`: the discount rate of the base.

    Examples
    --------
    >>> from clvforecast.scenarios import Assume, Scenario
    >>> in_words(Scenario("a", Assume(renewal_points=-0.05, where={"plan": "pro"}, start="2026-01-01")))
    'renewal probability −5 points, plan pro, from 2026-01-01'
    >>> in_words(Scenario("b", Assume(expansion_rate=1.2, price_uplift=0.03), annual_discount_rate=0.12), 0.1)
    'renewal prices +3% and 20% more expansions; discount rate 12% instead of 10%'
    """
    parts = [assumption_in_words(assumption) for assumption in scenario.assumptions]
    if scenario.lost_accounts:
        named = [name if day is None else f"{name} on {day}" for name, day in scenario.lost_accounts.items()]
        parts.append(f"all contracts end of: {', '.join(named)}")
    if scenario.annual_discount_rate is not None:
        instead = "" if rate is None else f" instead of {rate * 100:.4g}%"
        only = "" if parts else "; it changes discounted values only"
        parts.append(f"discount rate {scenario.annual_discount_rate * 100:.4g}%{instead}{only}")
    return "; ".join(parts) or "nothing changes"


def assumption_in_words(assumption: Assume) -> str:
    """What changes, for whom, and when.

    Examples
    --------
    >>> from clvforecast.scenarios import Assume
    >>> assumption_in_words(Assume(renewal_odds=0.8, termination_rate=0.0, end="2026-12-31"))
    'odds of renewal −20% and no early terminations, to 2026-12-31'
    >>> assumption_in_words(Assume(term_mix={12: 0.6, 36: 0.4}, term_mix_share=0.5))
    'terms of 50% of renewals: 60% of 12 months, 40% of 36 months'
    """
    parts = [" and ".join(_changes(assumption)) or "nothing changes"]
    parts += [_whose(column, level) for column, level in assumption.where.items()]
    parts += [f"{word} {day}" for word, day in (("from", assumption.start), ("to", assumption.end)) if day is not None]
    return ", ".join(parts)


def _changes(assumption: Assume) -> list[str]:
    found = []
    if assumption.renewal_points:
        found.append(f"renewal probability {_signed(100.0 * assumption.renewal_points)} points")
    if assumption.renewal_odds == 0.0:
        found.append("no renewals")
    elif assumption.renewal_odds != 1.0:
        found.append(f"odds of renewal {_signed(100.0 * (assumption.renewal_odds - 1.0))}%")
    if assumption.price_uplift:
        found.append(f"renewal prices {_signed(100.0 * assumption.price_uplift)}%")
    found += [_more(getattr(assumption, name), words) for name, words in RATE_WORDS.items()]
    if assumption.term_mix is not None:
        found.append(_terms(assumption.term_mix, assumption.term_mix_share))
    return list(filter(None, found))


def _more(factor: float, things: str) -> str:
    if factor in (0.0, 1.0):
        return f"no {things}" if factor == 0.0 else ""
    return f"{100.0 * abs(factor - 1.0):.4g}% {'more' if factor > 1.0 else 'fewer'} {things}"


def _terms(mix: Mapping[int, float], share: float) -> str:
    of = "" if share == 1.0 else f"{share * 100:.4g}% of "
    return (
        f"terms of {of}renewals: {', '.join(f'{part * 100:.4g}% of {months} months' for months, part in mix.items())}"
    )


def _whose(column: str, level: Any) -> str:
    levels = [level] if isinstance(level, str) or not hasattr(level, "__iter__") else list(level)
    name = "account" if column == "account_id" else str(column).replace("_", " ")
    return f"{name} {' or '.join(map(str, levels))}"


def _signed(number: float) -> str:
    return f"{'−' if number < 0.0 else '+'}{abs(number):.4g}"
