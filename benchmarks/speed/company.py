"""Synthetic companies of any size, as Parquet files.

A company is made of parts of at most 100,000 accounts, each drawn on its own from the same parameters: no two accounts are
copies, so that a large company has as many different histories as a real one.
"""

import glob
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import clvforecast as clv

PART = 100_000
BYTES_EACH = 200
"""Generous room for one account's events on disk."""

ANNUAL: dict[str, Any] = {
    # The world of the shifted beta-geometric: terms of a year, booked on the day, nobody comes back, and nothing but the
    # account's own theta decides. Amendments, orders and referrals happen as in other companies.
    "term_values": (12,),
    "first_term_length": (1.0,),
    "term_length": ((1.0,), (1.0,)),
    "renewal_segment_effect": (0.0, 0.0, 0.0),
    "renewal_number_effect": (0.0,) * 5,
    "renewal_size_effect": (0.0,) * 4,
    "renewal_term_effect": (0.0,),
    "renewal_expanded_effect": 0.0,
    "renewal_cut_effect": 0.0,
    "renewal_year_sd": 0.0,
    "reactivation_rate": 0.0,
    "termination_rate": 0.0,
}
# Said, not drawn, so that the years are the same in every part.
YEARS = (0.15, -0.10, 0.25, -0.05, -0.30, 0.20, -0.25, 0.10)
KINDS: dict[str, dict[str, Any]] = {
    "contracts": {"parameters": {"renewal_year_effect": YEARS}, "segments": 6},
    "annual": {"parameters": ANNUAL, "joining_years": 6, "late_booking": False},
}
SEGMENTS = {"contracts": ["segment"], "annual": ["cohort"]}


@dataclass(frozen=True)
class Company:
    """Where a company lies: globs of Parquet files, the day up to which its events are known, and how many there are."""

    kind: str
    events: str
    accounts: str
    as_of: str
    n_accounts: int
    n_events: int


def company(kind: str, n_accounts: int, folder: Path) -> Company:
    """The company of that kind and size, made where it is not there yet; parts that are there are kept.

    Raises OSError when the disk has no room for it.
    """
    place = folder / f"{kind}-{n_accounts}"
    told = place / "company.json"
    if told.exists():
        return Company(**json.loads(told.read_text(encoding="utf-8")))
    place.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(place).free) < (needed := n_accounts * BYTES_EACH):
        raise OSError(
            f"{needed / 1e9:.0f} GB of disk are needed for {n_accounts:,} accounts, {free / 1e9:.0f} are free"
        )
    sizes = [min(PART, n_accounts - first) for first in range(0, n_accounts, PART)]
    as_of = ""
    for part, size in enumerate(sizes):
        as_of = _write_part(kind, part, size, place)
    n_events = sum(pq.read_metadata(path).num_rows for path in place.glob("events-*.parquet"))
    globs = {name: str(place / f"{name}-*.parquet") for name in ("events", "accounts")}
    made = Company(kind=kind, as_of=as_of, n_accounts=n_accounts, n_events=n_events, **globs)
    told.write_text(json.dumps(asdict(made)) + "\n", encoding="utf-8")
    return made


def simulated_part(kind: str, part: int, size: int) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Events, accounts and as_of of one part; its names begin with its number."""
    events, truth = clv.simulate_events(size, seed=1 + part, future_months=0, **KINDS[kind])
    accounts = truth.accounts
    first = events[events["kind"] == "initial"].groupby("account_id")["start_date"].min()
    accounts["cohort"] = accounts["account_id"].map(first.dt.year).astype("Int64").astype(str)
    for table, name in ((events, "event_id"), (events, "account_id"), (accounts, "account_id")):
        table[name] = f"{part:03d}" + table[name].astype(str)
    return events, accounts, truth.as_of.isoformat()


def _write_part(kind: str, part: int, size: int, place: Path) -> str:
    paths = {name: place / f"{name}-{part:03d}.parquet" for name in ("events", "accounts")}
    told = place / f"part-{part:03d}.json"
    if told.exists():
        return str(json.loads(told.read_text(encoding="utf-8")))
    events, accounts, as_of = simulated_part(kind, part, size)
    table = pa.Table.from_pandas(events, preserve_index=False)
    for name in ("event_date", "start_date"):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.date32()))
    pq.write_table(table, paths["events"], compression="zstd")
    pq.write_table(pa.Table.from_pandas(accounts, preserve_index=False), paths["accounts"], compression="zstd")
    told.write_text(json.dumps(as_of) + "\n", encoding="utf-8")
    return as_of


def shuffled(files: str) -> pa.Table:
    """The rows of Parquet files in another order."""
    table = pa.concat_tables([pq.read_table(path) for path in sorted(glob.glob(files))])
    return table.take(np.random.default_rng(1).permutation(table.num_rows))
