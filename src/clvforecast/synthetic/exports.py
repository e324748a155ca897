"""Exports of a company that does not exist, in the columns of Stripe and Salesforce, with the dirt that real ones have.

They ship as files, so that reading can be tried without an account anywhere; made by ``python -m clvforecast.synthetic.exports``.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path

import numpy as np

EXPORTED = date(2024, 12, 31)
FIRST = date(2021, 1, 4)
SEED = 20241231

STRIPE = (
    "id,Customer ID,Status,Plan,Quantity,Amount,Interval,Created (UTC),Start (UTC),Current Period Start (UTC),"
    "Current Period End (UTC),Canceled At (UTC),Ended At (UTC),Trial Start (UTC),Trial End (UTC)"
).split(",")
OPPORTUNITIES = (
    "Id,Name,AccountId,Type,StageName,Amount,CloseDate,IsWon,IsClosed,IsDeleted,ContractId,CurrencyIsoCode".split(",")
)
CONTRACTS = "Id,AccountId,ContractTerm,StartDate,EndDate,Status".split(",")


@dataclass
class Table:
    """Rows of an export as they are written."""

    header: list[str]
    rows: list[list[str]]

    def text(self) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerows([self.header, *self.rows])
        return out.getvalue()


def exports() -> dict[str, bytes]:
    """File name -> its bytes."""
    rng = np.random.default_rng(SEED)
    opportunities, contracts = _salesforce(rng)
    stripe = _stripe(rng).text().splitlines(keepends=True)
    stripe[40] = stripe[40].replace(",", ";", 3)  # a row that a hand has edited
    return {
        "stripe_subscriptions.csv": "".join(stripe).encode(),
        "salesforce_opportunities.csv": opportunities.text().encode("cp1252"),
        "salesforce_contracts.csv": contracts.text().encode(),
    }


# --- Stripe ---------------------------------------------------------------------------------------------------------


def _stripe(rng: np.random.Generator) -> Table:
    """One row a subscription: monthly and yearly prices, trials, churn, and what is no revenue."""
    rows = []
    for number in range(260):
        created = FIRST + timedelta(days=int(rng.integers(0, 1440)))
        trial_end = created + timedelta(days=14) if rng.random() < 0.3 else None
        yearly = rng.random() < 0.35
        amount = round(float(rng.choice([19, 49, 99, 249])) * (10 if yearly else 1), 2)
        begins = trial_end or created
        served = int(rng.geometric(0.30 if yearly else 0.05)) * (365 if yearly else 30)
        ended = begins + timedelta(days=served)
        status = "canceled" if ended <= EXPORTED else "trialing" if begins > EXPORTED else "active"
        if status == "active":
            status = str(rng.choice(["active", "past_due", "unpaid", "incomplete_expired"], p=[0.92, 0.04, 0.02, 0.02]))
        row = dict.fromkeys(STRIPE, "")
        row |= {
            "id": f"sub_{number:04d}",
            "Customer ID": f"cus_{int(rng.integers(0, 220)) if number > 240 else number:04d}",
            "Status": status,
            "Plan": "yearly" if yearly else "monthly",
            "Quantity": "1",
            "Amount": f"{amount:.2f}",
            "Interval": "year" if yearly else "month",
            "Created (UTC)": _clock(created),
            "Start (UTC)": _clock(created),
            "Current Period Start (UTC)": _clock(max(begins, EXPORTED - timedelta(days=20))),
            "Current Period End (UTC)": _clock(EXPORTED + timedelta(days=10)),
            "Canceled At (UTC)": _clock(ended - timedelta(days=3)) if status == "canceled" else "",
            "Ended At (UTC)": _clock(ended) if status == "canceled" else "",
            "Trial Start (UTC)": _clock(created) if trial_end else "",
            "Trial End (UTC)": _clock(trial_end) if trial_end else "",
        }
        rows.append(list(row.values()))
    for place, column, text in (
        (11, "Amount", "$49.00"),
        (57, "Amount", "1,190.00"),
        (83, "Start (UTC)", "13/05/2022 10:00"),
        (102, "Interval", "week"),
        (115, "Status", "trialing"),
        (116, "Status", "incomplete_expired"),
        (131, "Customer ID", ""),
        (150, "Customer ID", "CUS_0149"),
    ):
        rows[place][STRIPE.index(column)] = text
    rows.append(list(rows[200]))
    return Table(STRIPE, rows)


def _clock(day: date) -> str:
    return f"{day} 10:00"


# --- Salesforce -----------------------------------------------------------------------------------------------------


def _salesforce(rng: np.random.Generator) -> tuple[Table, Table]:
    """Contracts of one to five years, each opened by an opportunity, some changed on the way, most renewed."""
    opportunities: list[list[str]] = []
    contracts: list[list[str]] = []

    def sell(account: str, kind: str, amount: float, closed: date, contract: str, stage: str = "Closed Won") -> None:
        won = str(stage == "Closed Won").lower()
        name = f"{'Müller' if len(opportunities) % 40 == 7 else 'Account'} {account[-3:]} – {kind}"
        opportunities.append(
            [
                f"006{len(opportunities):06d}",
                name,
                account,
                kind,
                stage,
                f"{amount:.2f}",
                f"{closed}T09:30:00.000+0000",
                won,
            ]
            + ["true", "false", contract, "EUR"]
        )

    for number in range(120):
        account = f"001{number:06d}"
        start = FIRST + timedelta(days=int(rng.integers(0, 900)))
        price, kind = float(np.round(rng.lognormal(9.6, 0.9), -2)) + 500, "New Business"
        while start < EXPORTED:
            months = int(rng.choice([12, 36, 60], p=[0.8, 0.15, 0.05]))
            contract = f"800{len(contracts):06d}"
            end = _later(start, months) - timedelta(days=1)
            contracts.append(
                [contract, account, str(months) if rng.random() < 0.9 else "", str(start), str(end), "Activated"]
            )
            total = round(price * months / 12, 2)
            sell(account, kind, total, start - timedelta(days=int(rng.integers(-10, 40))), contract)
            middle = start + timedelta(days=int(rng.integers(60, 300)))
            if rng.random() < 0.25 and middle < EXPORTED:
                total = round(total * float(rng.choice([1.2, 1.35, 0.85])), 2)
                sell(account, "Add-on" if total > price * months / 12 else "Downgrade", total, middle, contract)
            if rng.random() < 0.1 and middle < EXPORTED:
                sell(account, "Services", 2500.0, middle, "")
            if rng.random() < 0.22:
                sell(account, "Renewal", total, min(end, EXPORTED), "", "Closed Lost")
                break
            start, price, kind = end + timedelta(days=1), price * 1.04, "Renewal"
    for place, column, text in (
        (30, "Amount", ""),
        (61, "Amount", "12.500,00"),
        (89, "CloseDate", "31.12.2023"),
        (120, "Type", "Trade-in"),
    ):
        opportunities[place][OPPORTUNITIES.index(column)] = text
    return Table(OPPORTUNITIES, opportunities), Table(CONTRACTS, contracts)


def _later(day: date, months: int) -> date:
    month = day.month - 1 + months
    return date(day.year + month // 12, month % 12 + 1, min(day.day, 28))


if __name__ == "__main__":
    folder = Path(str(files("clvforecast"))) / "data" / "exports"
    for name, written in exports().items():
        (folder / name).write_bytes(written)
