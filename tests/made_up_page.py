"""What a page shows of a company that there is not: every table that a page can have, with hostile names among the accounts."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd

from clvforecast.intervals import describe
from clvforecast.report.page import PageData
from clvforecast.simulation.slots import ORIGINS

AS_OF = date(2026, 6, 30)
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "\"quoted\" & 'single' \\ back",
    "<img src=x onerror=alert(3)>",
    "Müller & Söhne — Ünïcode ☃ \N{LINE SEPARATOR} 東京",
    "شركة الأمل\N{RIGHT-TO-LEFT OVERRIDE}evil",
    "<!-- <script> -->",
    "javascript:alert(4)",
    "{{7*7}} ${7*7} __proto__",
)
QUARTERS = [("FY26 Q1", "2025-07-01", "2025-09-30"), ("FY26 Q2", "2025-10-01", "2025-12-31")]
QUARTERS += [("FY26 Q3", "2026-01-01", "2026-03-31"), ("FY26 Q4", "2026-04-01", "2026-06-30")]
AHEAD = [("FY27 Q1", "2026-07-01", "2026-09-30"), ("FY27 Q2", "2026-10-01", "2026-12-31")]
AHEAD += [("FY27 Q3", "2027-01-01", "2027-03-31"), ("FY27 Q4", "2027-04-01", "2027-06-30")]
AHEAD += [("FY28 Q1", "2027-07-01", "2027-09-30"), ("FY28 Q2", "2027-10-01", "2027-12-31")]
AHEAD += [("FY28 Q3", "2028-01-01", "2028-03-31"), ("FY28 Q4", "2028-04-01", "2028-06-30")]
DRAWS = 400


def ranges(draws: np.ndarray) -> dict[str, np.ndarray]:
    """mean … upper of draws along axis 0, and the interval's kind."""
    return {**describe(draws, 0.9, "eti"), "ci_prob": 0.9, "ci_kind": "eti"}


def page_data(n_accounts: int = 60, seed: int = 4) -> PageData:
    """A page with everything on it; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    accounts = accounts_table(n_accounts, rng)
    quarters = rng.lognormal(0.0, 0.05, (DRAWS, len(AHEAD))).cumprod(axis=1) * 9.3e6
    portfolio = {"quarter": periods(AHEAD, quarters), "year": periods(years(AHEAD), by_fours(quarters))}
    history = {
        "quarter": recognised(QUARTERS, [8.1e6, 8.6e6, 8.9e6, 9.2e6]),
        "year": recognised(years(QUARTERS), [34.8e6]),
    }
    return PageData(
        title="Northwind <b>& Söhne</b>",
        as_of=AS_OF,
        currency="EUR",
        horizon_months=24,
        ci_prob=0.9,
        accounts=accounts,
        segments=("plan", "region"),
        headline=headline(quarters),
        portfolio=portfolio,
        by_segment={column: segment_summary(accounts, column) for column in ("plan", "region")},
        history=history,
        account_years=pd.DataFrame(
            {f"{year}-06-30": rng.integers(0, 9_000_000, n_accounts) for year in range(2022, 2027)}
        ),
        bridge=bridges(rng),
        retention=retentions(rng),
        policies={
            "arr": "Twelve times the monthly revenue in force on the last day of a period.",
            "grr": "By account the lesser of what it had at the start and has at the end, then summed <over> accounts.",
            "pending_renewals": "A term that has ended, and whose renewal may still be booked, counts with its probability.",
        },
        warnings=(
            "events: 3 rows rejected (unknown_kind 3); see ledger.rejected",
            "account '<i>x</i>' has parallel terms",
        ),
        rows_read=pd.DataFrame(
            {
                "part": ["read", "accepted", "later", "rejected", "difference"],
                "currency": "EUR",
                "rows": [1203, 1190, 10, 3, 0],
                "amount": [4.2e6, 4.1e6, 9.9e4, 1e3, 0.0],
            }
        ),
        plans=plans(accounts),
        scenarios=scenarios(quarters, rng),
        scores=scores(),
        backtest_totals=backtest_totals(),
        made_with={"seed": "7", "draws": "400", "ledger, fingerprint": "ab" * 32, "numpy, version": "2.5"},
        missing={},
    )


def bare(data: PageData) -> PageData:
    """The same, as a forecast gives it that has no ledger, no comparison and no backtest."""
    said = {"history": "The past: clv.load_forecast(path, ledger=ledger).", "bridge": "ARR bridge: needs <the ledger>."}
    nothing = {"history": {}, "account_years": None, "bridge": {}, "retention": {}, "policies": {}, "rows_read": None}
    return replace(data, **nothing, plans=None, scenarios={}, scores=None, backtest_totals=None, missing=said)


def accounts_table(n: int, rng: np.random.Generator) -> pd.DataFrame:
    names = [*HOSTILE, *(f"Account {number:05d}" for number in range(max(0, n - len(HOSTILE))))][:n]
    scale = rng.lognormal(11.5, 1.2, n).round(2)
    draws = scale * rng.lognormal(0.0, 0.5, (60, n)) * (rng.random((60, n)) > 0.12)
    found = ranges(draws)
    table = pd.DataFrame({"account_id": names, "plan": rng.choice(["<Pro>", "Team", "Free & easy"], n)})
    table["region"] = pd.Series(rng.choice(["EMEA", "Americas", "APAC", None], n), dtype=object)
    table["clv_to_date"], table["booked_to_date"] = (scale * 2.5).round(2), (scale * 3.0).round(2)
    table = table.assign(**found)
    table["discounted_mean"] = table["mean"] * 0.9
    table["discounted_lower"], table["discounted_upper"] = table["lower"] * 0.9, table["upper"] * 0.9
    table["p_zero"], table["beyond_horizon"] = (draws == 0).mean(axis=0), table["mean"] * 0.6
    for months, share in ((12, 0.9), (24, 0.8)):
        table[f"p_active_{months}m"] = share * rng.random(n)
    table["p_next_renewal"] = np.where(rng.random(n) < 0.2, np.nan, 0.5 + 0.5 * rng.random(n))
    table["p_next_renewal_q05"], table["p_next_renewal_q95"] = (
        table["p_next_renewal"] * 0.9,
        table["p_next_renewal"] ** 0.5,
    )
    table["active_months"] = 24 * rng.random(n)
    shares = np.array([0.3, 0.6, 0.15, -0.1, 0.03, 0.0, 0.02, 0.0])
    return table.assign(
        **{f"from_{origin}": table["mean"] * share for origin, share in zip(ORIGINS, shares, strict=True)}
    )


def periods(named: list[tuple[str, str, str]], draws: np.ndarray) -> pd.DataFrame:
    table = spans(named)
    return table.assign(days=91, to=table["period"], partial=False, **ranges(draws), already=0.0)


def spans(named: list[tuple[str, str, str]]) -> pd.DataFrame:
    labels, starts, ends = zip(*named, strict=True)
    return pd.DataFrame({"label": labels, "period_start": pd.to_datetime(starts), "period": pd.to_datetime(ends)})


def years(quarters: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [(quarters[k][0][:4], quarters[k][1], quarters[k + 3][2]) for k in range(0, len(quarters), 4)]


def by_fours(draws: np.ndarray) -> np.ndarray:
    return draws.reshape(len(draws), -1, 4).sum(axis=2)


def recognised(named: list[tuple[str, str, str]], revenue: list[float]) -> pd.DataFrame:
    table = spans(named).rename(columns={"period_start": "start", "period": "end"})
    return table.assign(revenue=revenue, partial=False)


def headline(quarters: np.ndarray) -> pd.DataFrame:
    windows = [
        ("next_quarter", "Next quarter, FY27 Q1", 1),
        ("next_12_months", "Next 12 months", 4),
        ("horizon", "Next 24 months", 8),
    ]
    rows = []
    for key, label, n in windows:
        named = {"key": key, "label": label, "start": pd.Timestamp(AHEAD[0][1]), "end": pd.Timestamp(AHEAD[n - 1][2])}
        rows.append(named | describe(quarters[:, :n].sum(axis=1), 0.9, "eti"))
    return pd.DataFrame(rows)


def segment_summary(accounts: pd.DataFrame, column: str) -> pd.DataFrame:
    grouped = accounts.groupby(column, dropna=False)
    names = ["clv_to_date", "mean", "q50", "lower", "upper", "discounted_mean", "beyond_horizon"]
    return grouped[names].sum().assign(accounts=grouped.size(), top10_share=0.4).reset_index()


def bridges(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    named = [*QUARTERS, *AHEAD]
    return {"quarter": bridge(named, rng, len(QUARTERS)), "year": bridge([*years(QUARTERS), *years(AHEAD)], rng, 1)}


def bridge(named: list[tuple[str, str, str]], rng: np.random.Generator, n_actual: int) -> pd.DataFrame:
    """Balances in every draw; what is past is the same in all."""
    start = np.full(DRAWS, 36.4e6)
    means = {
        "new": 0.0,
        "expansion": 1.1e6,
        "reactivation": 1e5,
        "late_renewals": 3e5,
        "contraction": 4e5,
        "churn": 8e5,
    }
    rows = []
    for at, one in enumerate(spans(named).to_dict("records")):
        is_past = at < n_actual
        moved = {
            line: mean * (np.full(DRAWS, 0.9) if is_past else rng.lognormal(0.0, 0.3, DRAWS))
            for line, mean in means.items()
        }
        end = start + sum(moved.values()) - 2 * (moved["contraction"] + moved["churn"])
        for line, draws in {"start": start, **moved, "end": end}.items():
            told = {"basis": "actual" if is_past else "forecast", "partial": False, "covered": "", "line": line}
            rows.append({**one, **told, **ranges(draws)})
        start = end
    return pd.DataFrame(rows)


def retentions(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    named = {"quarter": (QUARTERS, AHEAD), "year": (years(QUARTERS), years(AHEAD))}
    return {freq: retention(past, ahead, rng) for freq, (past, ahead) in named.items()}


def retention(
    past: list[tuple[str, str, str]], ahead: list[tuple[str, str, str]], rng: np.random.Generator
) -> pd.DataFrame:
    rows = []
    for at, one in enumerate(spans([*past, *ahead]).to_dict("records")):
        is_past = at < len(past)
        for measure, mean in {"nrr": 1.01, "grr": 0.93, "gross_renewal_rate": 0.9, "logo_churn": 0.05}.items():
            draws = np.full(DRAWS, mean) if is_past else mean + rng.normal(0.0, 0.015 * (1 + 0.1 * at), DRAWS)
            told = {"basis": "actual" if is_past else "forecast", "partial": False, "covered": "", "measure": measure}
            rows.append({**one, **told, **ranges(draws)})
    table = pd.DataFrame(rows)
    unknown = (table["measure"] == "gross_renewal_rate") & (table["label"] == past[0][0])
    table.loc[unknown, ["mean", "sd", "q50", "lower", "upper"]] = np.nan
    return table


def plans(accounts: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "account_id": [
                accounts["account_id"].iloc[0],
                accounts["account_id"].iloc[0],
                accounts["account_id"].iloc[5],
            ],
            "date": pd.to_datetime(["2026-09-01", "2027-01-01", "2026-11-15"]),
            "kind": ["renewal", "<expansion>", "expansion"],
            "amount": [120_000.0, 30_000.0, 45_000.5],
            "term_months": pd.array([36, None, None], dtype="Int64"),
            "stated": [0.9, 0.5, 0.8],
            "probability": [0.81, 0.34, 0.66],
            "lower": [0.7, 0.21, 0.5],
            "upper": [0.9, 0.48, 0.79],
            "with_plan": [310_000.0, 310_000.0, 88_000.0],
            "note": ["agreed <in May>", "", None],
        }
    )


def scenarios(quarters: np.ndarray, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    named = {
        "base": 1.0,
        "Raise prices by 3% <list>": 1.02,
        "Half of <churn> saved": 1.05,
        "Lose the largest account": 0.96,
    }
    worlds = {name: quarters * (1.0 + (by - 1.0) * rng.lognormal(0, 0.4, (DRAWS, 1))) for name, by in named.items()}
    yearly = {name: by_fours(draws) for name, draws in worlds.items()}
    whole = {name: draws.sum(axis=1, keepdims=True) for name, draws in yearly.items()}
    total = [("24 months", AHEAD[0][1], AHEAD[-1][2])]
    return {
        "total": by_scenario(whole, total),
        "difference": by_scenario(minus_base(whole), total),
        "year": by_scenario(yearly, years(AHEAD)),
        "year_difference": by_scenario(minus_base(yearly), years(AHEAD)),
    }


def minus_base(worlds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: draws - worlds["base"] for name, draws in worlds.items() if name != "base"}


def by_scenario(worlds: dict[str, np.ndarray], named: list[tuple[str, str, str]]) -> pd.DataFrame:
    parts = [spans(named).assign(scenario=name, partial=False, **ranges(draws)) for name, draws in worlds.items()]
    return pd.concat(parts, ignore_index=True)


def scores() -> pd.DataFrame:
    found = {"coverage_50": 0.512, "coverage_80": 0.817, "coverage_95": 0.949, "bias": -0.021, "skill_log_crps": 0.12}
    rows = [
        {"window_months": window, "method": "clvforecast", "level": "all", "score": name, "value": value,
         "lower": value - 0.02, "upper": value + 0.02, "n": 2000, "against": "historical renewal rate"}
        for window in (12, 24)
        for name, value in found.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def backtest_totals() -> pd.DataFrame:
    rows = []
    for window in (12, 24):
        for year, off in ((2023, 1.03), (2024, 0.97), (2025, 1.3)):
            median = 30e6 * window / 12 * (1 + 0.05 * (year - 2023))
            ends = {f"{end}_{prob}": median * factor for prob, by in ((50, 0.04), (80, 0.08), (95, 0.13))
                    for end, factor in (("lower", 1 - by), ("upper", 1 + by))}  # fmt: skip
            told = {"origin": pd.Timestamp(f"{year}-06-30"), "window_months": window, "method": "clvforecast"}
            told |= {"by": "portfolio", "level": "all", "actual": median * off, "mean": median, "median": median}
            rows.append(told | ends)
    return pd.DataFrame(rows)
