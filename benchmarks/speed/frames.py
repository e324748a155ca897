"""The tables that other packages want, built from the same ledger; their making is not counted against them."""

from pathlib import Path

import pandas as pd

from clvforecast.ledger import Ledger, read_ledger
from speed.company import Company

DAYS_PER_MONTH = 365.25 / 12.0


def write_frames(made: Company, folder: Path) -> dict[str, Path]:
    """Contracts and purchases as Parquet, those that are there already kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{made.kind}-{made.n_accounts}-{name}.parquet" for name in ("contracts", "purchases")}
    if not all(path.exists() for path in paths.values()):
        ledger = read_ledger(made.events, accounts=made.accounts, as_of=made.as_of)
        contracts(ledger).to_parquet(paths["contracts"], index=False)
        purchases(ledger).to_parquet(paths["purchases"], index=False)
    return paths


def contracts(ledger: Ledger) -> pd.DataFrame:
    """For the shifted beta-geometric: customer_id, recency (terms bought), T (terms there could be), cohort (year joined).

    Contracts of a year that are booked on the day: an account of 2018 could have bought six terms by the end of 2023, and has
    lapsed if it bought fewer.
    """
    events = ledger.accepted
    terms = events[events["kind"].isin(["initial", "renewal"])]
    of = terms.groupby("account_id").agg(recency=("kind", "size"), first=("start_date", "min"))
    joined = of["first"].dt.year
    made = of.assign(T=ledger.as_of.year - joined + 1, cohort=joined.astype(str))
    return made.reset_index(names="customer_id")[["customer_id", "recency", "T", "cohort"]]


def purchases(ledger: Ledger) -> pd.DataFrame:
    """For BG/NBD and Gamma-Gamma: customer_id, frequency, recency and T in months, monetary_value (mean repeat purchase).

    Every day on which money came in is a purchase; the first one is not a repeat.
    """
    events = ledger.accepted
    paid = events[events["amount"] > 0.0]
    daily = paid.groupby(["account_id", "event_date"], as_index=False)["amount"].sum()
    first = daily.groupby("account_id")["event_date"].transform("min")
    repeat = daily[daily["event_date"] > first].groupby("account_id")["amount"].agg(["size", "mean"])
    spans = daily.groupby("account_id")["event_date"].agg(["min", "max"])
    made = pd.DataFrame(
        {
            "frequency": repeat["size"].reindex(spans.index, fill_value=0),
            "recency": (spans["max"] - spans["min"]).dt.days / DAYS_PER_MONTH,
            "T": (pd.Timestamp(ledger.as_of) - spans["min"]).dt.days / DAYS_PER_MONTH,
            "monetary_value": repeat["mean"].reindex(spans.index, fill_value=0.0),
        }
    )
    return made.reset_index(names="customer_id")
