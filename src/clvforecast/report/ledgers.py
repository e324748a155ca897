"""What was read, what is used, and what is left out, on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Console

from clvforecast.histories import Histories
from clvforecast.ledger import Ledger
from clvforecast.report.terminal import say, show_table

MOST_VALUES = 3  # of a rule's rejects that are shown
NEEDED = {"lines": ("account",), "decisions": ("outcome",)}
"""The columns of histories that are shown."""
OUTCOME_WORDS = {
    "renewed": "renewed",
    "open": "open, or lapsed without a notice",
    "notified": "lapsed with a notice",
    "terminated": "terminated early",
}


def show_ledger(console: Console, ledger: Ledger, histories: Histories) -> None:
    """Rows and money read against those used, rejected rows by rule, contracts, warnings."""
    say(console, f"known on {ledger.as_of}, {ledger.currency}, {ledger.accounts.num_rows:,} accounts", "bold")
    if ledger.read.export_rows:
        show_table(console, "rows of the export", export_rows(ledger), left=["part", "currency"])
    title = "the events that they make, and the rows set aside" if ledger.read.export_rows else "rows"
    show_table(console, title, reconciliation_rows(ledger), left=["part", "currency"])
    if ledger.rejected_rows.num_rows:
        show_table(console, "rejected", rejected_rows(ledger), left=["rule", "first", "most often", "what to do"])
    show_table(console, "contract terms", outcome_rows(histories), left=["outcome"])
    for warning in (*ledger.warnings, *histories.warnings):
        say(console, f"warning: {warning}", "yellow")


def export_rows(ledger: Ledger) -> pd.DataFrame:
    """part, rows, amount: of another system's export as it stands there, with a column currency where there are several."""
    return _by_currency(ledger.export_reconciliation(), ledger)


def reconciliation_rows(ledger: Ledger) -> pd.DataFrame:
    """part, rows, amount: read = accepted + later + rejected, to the cent; with a column currency where there are several."""
    return _by_currency(ledger.reconciliation(), ledger)


def _by_currency(table: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    rows, amount = table["rows"].map("{:,}".format), table["amount"].map("{:,.2f}".format)
    if table["currency"].isna().any() or set(table["currency"]) != {ledger.currency}:
        currency = table["currency"].astype(object).where(table["currency"].notna(), "not readable")
        return pd.DataFrame({"part": table["part"], "currency": currency, "rows": rows, "amount": amount})
    return pd.DataFrame({"part": table["part"], "rows": rows, f"amount, {ledger.currency}": amount})


def rejected_rows(ledger: Ledger) -> pd.DataFrame:
    """rule, rows, the first row of it, values that stand often, and its hint."""
    rejected = ledger.rejected
    first = rejected.drop_duplicates("rule").set_index("rule", drop=False)
    first = first.assign(rows=rejected["rule"].value_counts()).sort_values("rows", ascending=False, kind="stable")
    return pd.DataFrame(
        {
            "rule": first.index,
            "rows": first["rows"].map("{:,}".format),
            "first": [_place(row) for row in first.itertuples()],
            "most often": [_commonest(rejected["value"][rejected["rule"] == rule]) for rule in first.index],
            "what to do": first["hint"],
        }
    )


def _commonest(values: pd.Series) -> str:
    """The values that stand several times, with how often."""
    counted = values.value_counts().head(MOST_VALUES)
    return ", ".join(f"{value!r} {n:,}" for value, n in counted.items() if n > 1)


def _place(row: object) -> str:
    source, number, line, column, value = (getattr(row, name) for name in ("source", "row", "line", "column", "value"))
    place = f"{source} row {number}" if pd.isna(line) else f"{source} line {line:.0f}"
    if pd.isna(column):  # the record as a whole is broken
        return place
    return f"{place}: {column} {'is empty' if pd.isna(value) else repr(value)}"


def outcome_rows(histories: Histories) -> pd.DataFrame:
    """outcome, terms: how the booked contract terms ended, as far as is known."""
    counted = histories.decisions["outcome"].to_pandas().value_counts()
    present = [name for name in OUTCOME_WORDS if name in counted]
    return pd.DataFrame(
        {
            "outcome": [OUTCOME_WORDS[name] for name in present],
            "terms": [f"{counted[name]:,}" for name in present],
        }
    )
