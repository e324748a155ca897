"""Made-up tables as a forecast gives them, for the workbook: a bridge that balances in every draw, accounts that add up."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from clvforecast.intervals import describe
from clvforecast.report.workbook.contents import RANGE, Contents, Quality, Scenarios, Segment, TrackRecord

AS_OF = date(2018, 6, 30)
DRAWS = 200
CHANGES = {
    "new": 0.0,
    "expansion": 0.02,
    "reactivation": 0.004,
    "late_renewals": 0.01,
    "contraction": 0.012,
    "churn": 0.04,
}
LOSSES = ("contraction", "churn")
SEED = 20180630


def quarters(as_of: date, past: int, ahead: int) -> pd.DataFrame:
    """label, period_start, period, basis, partial of whole quarters around the day."""
    ends = pd.date_range(end=pd.Timestamp(as_of), periods=past, freq="QE")
    ends = ends.append(pd.date_range(ends[-1] + pd.Timedelta(days=1), periods=ahead, freq="QE"))
    starts = [pd.Period(end, "Q").start_time.normalize() for end in ends]
    labels = [f"FY{end.year % 100} Q{end.quarter}" for end in ends]
    basis = ["actual"] * past + ["forecast"] * ahead
    return pd.DataFrame(
        {
            "label": labels,
            "period_start": starts,
            "period": ends,
            "basis": basis,
            "partial": False,
            "to": ends,
            "covered": "",
        }
    )


def made_up_bridge(as_of: date = AS_OF, past: int = 4, ahead: int = 12, opening: float = 815_000_000.0) -> pd.DataFrame:
    """`Forecast.bridge` of random changes in whole cents: every draw balances, actual quarters have no spread."""
    generator = np.random.default_rng(SEED)
    periods, level, tables = quarters(as_of, past, ahead), np.full(DRAWS, round(opening * 100)), []
    for number, period in enumerate(periods.to_dict("records")):
        lines = {"start": level}
        for line, share in CHANGES.items():
            drawn = generator.gamma(4.0, share / 4.0, DRAWS) if share else np.zeros(DRAWS)
            drawn = np.full(DRAWS, drawn.mean()) if period["basis"] == "actual" else drawn
            lines[line] = np.round(level * drawn).astype(np.int64)
        level = level + sum(-lines[line] if line in LOSSES else lines[line] for line in CHANGES)
        lines["end"] = level
        ranges = describe(np.stack(list(lines.values()), axis=1) / 100.0, 0.9, "eti")
        row = pd.DataFrame({"line": list(lines), **ranges, "ci_prob": 0.9, "ci_kind": "eti"})
        tables.append(pd.concat([pd.DataFrame([period] * len(row)), row], axis=1))
        if number == past - 1:
            level = np.full(DRAWS, level[0])
    return pd.concat(tables, ignore_index=True)


def made_up_retention(as_of: date = AS_OF, trailing_year: bool = False, past: int = 4, ahead: int = 12) -> pd.DataFrame:
    """`Forecast.retention`; the first measure of the first period has no denominator."""
    generator = np.random.default_rng(SEED + 1)
    tables = []
    for number, period in enumerate(quarters(as_of, past, ahead).to_dict("records")):
        middle = np.array([0.97, 0.93, 0.88, 0.03]) if not trailing_year else np.array([0.91, 0.82, 0.85, 0.12])
        spread = np.zeros(4) if period["basis"] == "actual" else np.array([0.03, 0.02, 0.03, 0.01])
        ranges = describe(generator.normal(middle, spread, (DRAWS, 4)), 0.9, "eti")
        measures = ["nrr", "grr", "gross_renewal_rate", "logo_churn"]
        row = pd.DataFrame({"measure": measures, **ranges, "ci_prob": 0.9, "ci_kind": "eti"})
        if number == 0:
            row.loc[2, [*RANGE]] = np.nan
        tables.append(pd.concat([pd.DataFrame([period] * 4), row], axis=1))
    return pd.concat(tables, ignore_index=True)


def made_up_contents(n_accounts: int = 40, **changes: Any) -> Contents:
    """Contents whose accounts, segments and periods add up to the same whole; the account ids try to be formulas."""
    generator = np.random.default_rng(SEED + 2)
    plans = np.array(["basic", "=1+1", "plus"])[generator.integers(0, 3, n_accounts)]
    draws = generator.gamma(0.5, 40_000.0, (min(DRAWS, 50), 12, n_accounts)).round(2)
    periods = quarters(AS_OF, 0 + 1, 12).iloc[1:].reset_index(drop=True).drop(columns="basis")
    accounts = _accounts(draws.sum(axis=1), plans, generator)
    whole = pd.DataFrame(
        {**_row(draws.sum(axis=(1, 2))), "discounted_mean": accounts["discounted_mean"].sum()},
        index=[0],
    )
    by_period = periods.assign(**describe(draws.sum(axis=2), 0.9, "eti"))
    contents = {
        "title": "Outlook & more", "as_of": AS_OF, "currency": "EUR", "horizon_months": 36, "draws": len(draws),
        "ci_prob": 0.9, "freq": "quarter", "accounts": accounts, "headline": _headline(draws, periods), "periods": by_period,
        "whole": whole, "segments": {"plan": _segment(draws, plans, periods, accounts)}, "history": _history(),
        "bridge": made_up_bridge(), "retention": made_up_retention(), "retention_year": made_up_retention(trailing_year=True),
        "policies": {"arr": "ARR is twelve times the MRR in force.", "grr": "Per account the lesser of now and then."},
        "about": {
            "Settings": {"horizon_months": 36, "annual_discount_rate": 0.1, "gross_margin": 0.8, "draws": 200, "seed": 7},
            "Made from (SHA-256)": {"ledger": "a" * 64, "posterior": "b" * 64},
            "Versions": {"clvforecast": "0.1.0"},
        },
        "warnings": ("=2+3 is a level that was not seen",), "quality": made_up_quality(),
    }  # fmt: skip
    return Contents(**{**contents, **changes})


def _row(values: np.ndarray) -> dict[str, float]:
    return {name: float(found) for name, found in describe(values, 0.9, "eti").items()}


def _accounts(draws: np.ndarray, plans: np.ndarray, generator: np.random.Generator) -> pd.DataFrame:
    n = draws.shape[1]
    ids = [f"A{number:06d}" for number in range(n)]
    ids[:4] = ['=HYPERLINK("http://x","y")', "+1 (555) 1234", "http://example.com", "@SUM(A1)"][:n]
    to_date = generator.gamma(1.0, 90_000.0, n).round(2)
    ranges = describe(draws, 0.9, "eti")
    chance = np.where(generator.random(n) < 0.2, np.nan, generator.random(n))
    table = {
        "account_id": ids, "plan": plans, "clv_to_date": to_date, "booked_to_date": to_date + 100.0,
        **ranges, "ci_prob": 0.9, "ci_kind": "eti", "clv": to_date + ranges["mean"], "clv_lower": to_date + ranges["lower"],
        "clv_upper": to_date + ranges["upper"], **{f"discounted_{name}": 0.7 * found for name, found in ranges.items()},
        "p_zero": generator.random(n), "beyond_horizon": 0.2 * ranges["mean"], "p_active_12m": generator.random(n),
        "p_next_renewal": chance, "p_next_renewal_q05": chance * 0.9, "p_next_renewal_q95": 1 - (1 - chance) * 0.9,
        "active_months": 36 * generator.random(n), "from_committed": 0.4 * ranges["mean"], "from_renewal": 0.6 * ranges["mean"],
    }  # fmt: skip
    return pd.DataFrame(table).sort_values(["mean", "account_id"], ascending=[False, True]).reset_index(drop=True)


def _headline(draws: np.ndarray, periods: pd.DataFrame) -> pd.DataFrame:
    spans = {
        "next_quarter": ("Next quarter, FY18 Q3", 1),
        "next_12_months": ("Next 12 months", 4),
        "whole_window": ("All 36 months", 12),
    }
    rows = [
        {
            "key": key, "label": label, "period_start": periods["period_start"][0], "period": periods["period"][n - 1],
            **_row(draws[:, :n].sum(axis=(1, 2))),
        }
        for key, (label, n) in spans.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _segment(draws: np.ndarray, plans: np.ndarray, periods: pd.DataFrame, accounts: pd.DataFrame) -> Segment:
    whole, by_period = [], []
    for level in sorted(set(plans)):
        mine = draws[:, :, plans == level].sum(axis=2)
        of_level = accounts[accounts["plan"] == level]
        sums = {"accounts": len(of_level), "clv_to_date": of_level["clv_to_date"].sum()}
        whole.append({"level": level, **sums, **_row(mine.sum(axis=1))})
        by_period.append(periods.assign(level=level, **describe(mine, 0.9, "eti")))
    return Segment(pd.DataFrame(whole), pd.concat(by_period, ignore_index=True))


def _history() -> pd.DataFrame:
    past = quarters(AS_OF, 6, 0 + 1).iloc[:6].drop(columns="basis")
    return past.assign(revenue=np.linspace(2_000_000.0, 2_600_000.0, 6))


def made_up_quality() -> Quality:
    parts = ["read", "accepted", "later", "rejected", "difference"]
    reconciliation = pd.DataFrame(
        {
            "part": parts,
            "currency": "EUR",
            "rows": [10, 7, 1, 2, 0],
            "rows_with_amount": [9, 7, 1, 1, 0],
            "amount": [95.5, 80.0, 10.0, 5.5, 0.0],
        }
    )
    rejected = pd.DataFrame(
        {
            "source": "events.csv", "row": [3, 8], "line": [4, 9], "account_id": ["=A1", None], "column": ["amount", "kind"],
            "value": ["=cmd|' /C calc'!A0", None], "rule": ["unreadable_amount", "missing_kind"],
            "hint": ["write a number", "name a kind"],
        }
    )  # fmt: skip
    by_rule = rejected.assign(rows=1)[["rule", "rows", "source", "row", "column", "value", "hint"]]
    return Quality(reconciliation, pd.DataFrame(), by_rule, rejected, ("five accounts have parallel terms",))


def made_up_scenarios(contents: Contents) -> Scenarios:
    """A base, and "price +5%" of twenty-one twentieths of it."""
    whole = contents.whole.assign(scenario="base")
    more = dict.fromkeys(RANGE, 1.05)
    lifted = whole.assign(scenario="price +5%", **{name: whole[name] * factor for name, factor in more.items()})
    less = whole.assign(scenario="price +5%", **{name: whole[name] * 0.05 for name in RANGE})
    periods = contents.periods.assign(scenario="base")
    lifted_periods = periods.assign(scenario="price +5%", **{name: periods[name] * 1.05 for name in RANGE})
    less_periods = periods.assign(scenario="price +5%", **{name: periods[name] * 0.05 for name in RANGE})
    words = pd.DataFrame({"scenario": ["price +5%"], "assumed": ["=5% on every renewal"]})
    return Scenarios(pd.concat([whole, lifted]), less, pd.concat([periods, lifted_periods]), less_periods, words)


def made_up_plans() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "account_id": ["A000010", "=A1"], "date": pd.to_datetime(["2018-09-30", None]), "kind": ["expansion", "renewal"],
            "amount": [50_000.0, np.nan], "term_months": [12, 36], "stated_probability": [0.8, 0.5],
            "learned_probability": [0.55, 0.41], "learned_probability_lower": [0.4, 0.3], "learned_probability_upper": [0.7, 0.5],
            "value_with": [320_000.0, 90_000.0], "value_without": [270_000.0, 88_000.0],
        }
    )  # fmt: skip


def made_up_track_record() -> TrackRecord:
    totals = pd.DataFrame(
        {
            "origin": [date(2016, 6, 30), date(2017, 6, 30)], "window_months": [12, 12], "actual": [8.1e6, 9.2e6],
            "mean": [8.3e6, 9.9e6],
            "median": [8.2e6, 9.7e6], "lower_80": [7.5e6, 8.9e6], "upper_80": [9.1e6, 1.1e7], "lower_95": [7.1e6, 8.3e6],
            "upper_95": [9.9e6, 1.2e7],
        }
    )  # fmt: skip
    promised = [0.5, 0.8, 0.95]
    coverage = pd.DataFrame(
        {
            "window_months": 12,
            "promised": promised,
            "held": [0.51, 0.79, 0.94],
            "lower": 0.4,
            "upper": 0.99,
            "accounts": 1542,
        }
    )
    return TrackRecord(totals, coverage, ("a window of 24 months is not covered",))
