"""The data that ships with the package: real contracts as revenue events, two published cohorts, and samples of exports."""

from datetime import date
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pandas as pd

from clvforecast.errors import DatasetError
from clvforecast.ledger import Ledger, read_ledger

PHL_LAST_DAY = date(2020, 6, 30)  # end of the last quarterly report in the data
MONTH_DAYS = 365.25 / 12

# Survivors of two cohorts of 1,000 customers on yearly contracts, at years 0..12. Fader & Hardie (2007), "How
# to project customer retention", Journal of Interactive Marketing 21(1), 76-90, Table 1.
SURVIVORS = {
    "Regular": (1000, 631, 468, 382, 326, 289, 262, 241, 223, 207, 194, 183, 173),
    "High End": (1000, 869, 743, 653, 593, 551, 517, 491, 468, 445, 427, 409, 394),
}
COHORT_START_YEAR = 2000
EXPORT_SAMPLES = ("stripe_subscriptions", "salesforce_opportunities", "salesforce_contracts")
COHORT_PRICE = 100.0  # a year


def phl_contracts_tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(events, accounts, folds) of the City of Philadelphia's professional-services contracts, 2008-2020.

    Source: City of Philadelphia, Professional Services Contracts (quarterly reports under Section 17-1403 of
    the Philadelphia Code), converted to revenue events. See data/phl_contracts/README.md for how, and for
    what to know. Money is in USD.

    Returns
    -------
    events
        7,523 rows: event_id, account_id, event_date (datetime64), kind, amount, currency, start_date,
        term_months.
    accounts
        1,846 rows: account_id, five segment columns, observed_from (renewals before the account is first
        seen).
    folds
        512 terms lengthened by a later time-only extension: account_id, term_start, the last day before and
        after it (end_before, end_after), booked (the day it became known), item. A term can be lengthened
        several times.

    Raises
    ------
    DatasetError
        A file is missing from the installation.

    Examples
    --------
    >>> events, accounts, folds = phl_contracts_tables()
    >>> len(events), len(accounts), len(folds)
    (7523, 1846, 512)
    """
    return (
        _shipped_table("events.csv", ["event_date", "start_date"]),
        _shipped_table("accounts.csv", []),
        _shipped_table("folds.csv", ["term_start", "end_before", "end_after", "booked"]),
    )


def load_phl_contracts(as_of: date | str | None = None, known_terms: bool = True) -> Ledger:
    """The City of Philadelphia's contracts as a ledger, as known on `as_of` (2020-06-30 when not given).

    The events give each term's final length. With `known_terms` a term that was lengthened only after `as_of`
    has the length known on that day: end_before of its first lengthening booked later. An honest backtest
    needs that, so load the ledger anew for each origin (`Ledger.at` knows nothing of lengthenings). One
    contraction of 2018 lies inside such a lengthening: for origins before it is known, it is in `rejected`
    instead of `later`.

    Raises
    ------
    DatasetError
        A file is missing from the installation.
    LedgerError
        `as_of` is no day, or lies before the first booking.

    Examples
    --------
    >>> ledger = load_phl_contracts("2018-06-30")
    >>> ledger.events.num_rows, ledger.later.num_rows, ledger.currency
    (5547, 1976, 'USD')
    """
    events, accounts, folds = phl_contracts_tables()
    day = PHL_LAST_DAY if as_of is None else as_of
    ledger = read_ledger(events, accounts, as_of=day)
    if not known_terms:
        return ledger
    return read_ledger(_terms_as_known(events, folds, ledger.as_of), accounts, as_of=day)


def _terms_as_known(events: pd.DataFrame, folds: pd.DataFrame, as_of: date) -> pd.DataFrame:
    unknown = folds[folds["booked"] > pd.Timestamp(as_of)].sort_values("booked", kind="stable")
    first = unknown.drop_duplicates(["account_id", "term_start"], keep="first")
    # end_before is the last day of the term, as the reports have it: the period is [term_start, end_before +
    # 1)
    days = (first["end_before"] - first["term_start"]).dt.days + 1
    known = first.assign(known_months=(days / MONTH_DAYS).round().clip(lower=1))[
        ["account_id", "term_start", "known_months"]
    ]
    merged = events.merge(
        known, how="left", left_on=["account_id", "start_date"], right_on=["account_id", "term_start"]
    )
    lengthened = merged["term_months"].notna() & merged["known_months"].notna()
    months = merged["term_months"].mask(lengthened, merged["known_months"])
    return merged[events.columns.tolist()].assign(term_months=months)


def _shipped_table(name: str, dates: list[str]) -> pd.DataFrame:
    resource = files("clvforecast") / "data" / "phl_contracts" / name
    try:
        with as_file(resource) as path:
            return pd.read_csv(path, parse_dates=dates, keep_default_na=False, na_values=[""])
    except FileNotFoundError as error:
        raise DatasetError(f"{resource}: the file is missing. Reinstall clvforecast.") from error


def cohorts() -> pd.DataFrame:
    """Survivors of the two cohorts of Fader & Hardie (2007), Table 1: index year 0..12, columns Regular, High
    End.

    Examples
    --------
    >>> cohorts().loc[[0, 1, 12], "High End"].tolist()
    [1000, 869, 394]
    """
    years = pd.RangeIndex(len(SURVIVORS["Regular"]), name="year")
    return pd.DataFrame(SURVIVORS, index=years)


def cohort_events(years: int = 7) -> pd.DataFrame:
    """The two cohorts as revenue events: yearly contracts at 100 USD, all sold on 2000-01-01, renewed for
    `years` years.

    Each renewal is booked on its start, so on the day of the last round (the latest event_date,
    `read_ledger`'s default as_of) every decision of those years is known. Column `cohort` ("Regular", "High
    End") is the segment.

    Parameters
    ----------
    years
        Renewal rounds, 0 to 12 (the published table).

    Raises
    ------
    DatasetError
        `years` is not in the table.

    Examples
    --------
    >>> events = cohort_events(years=2)
    >>> events.groupby(["cohort", "start_date"]).size().tolist()
    [1000, 869, 743, 1000, 631, 468]
    """
    last = len(SURVIVORS["Regular"]) - 1
    if years not in range(last + 1):
        raise DatasetError(f"years is {years!r}; the published table holds renewals of years 0 to {last}.")
    return pd.concat([_one_cohort(name, years) for name in SURVIVORS], ignore_index=True)


def _one_cohort(name: str, years: int) -> pd.DataFrame:
    survivors = np.array(SURVIVORS[name][: years + 1])
    year = np.repeat(np.arange(years + 1), survivors)
    # customers are numbered by when they leave, the longest-lived first: number i is there in year t when i
    # <= S(t)
    customer = np.concatenate([np.arange(1, alive + 1) for alive in survivors])
    numbers = pd.Series(customer).astype(str).str.zfill(4)
    account = name.replace(" ", "-") + "-" + numbers
    start = pd.to_datetime(pd.Series(COHORT_START_YEAR + year).astype(str) + "-01-01")
    return pd.DataFrame(
        {
            "event_id": account + "-" + pd.Series(year).astype(str).str.zfill(2),
            "account_id": account,
            "event_date": start,
            "kind": np.where(year == 0, "initial", "renewal"),
            "amount": COHORT_PRICE,
            "currency": "USD",
            "start_date": start,
            "term_months": 12,
            "cohort": name,
        }
    )


def export_samples(folder: str | Path) -> dict[str, Path]:
    """Put exports of a company that does not exist into a folder, with the dirt that real ones have.

    In the columns of Stripe (subscriptions) and Salesforce (opportunities, in the encoding cp1252, and contracts), as of
    2024-12-31; made by `clvforecast.synthetic.exports`.

    Returns
    -------
    dict
        stripe_subscriptions, salesforce_opportunities, salesforce_contracts -> path.

    Raises
    ------
    DatasetError
        A file is missing from the installation.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> sorted(path.name for path in export_samples(mkdtemp()).values())
    ['salesforce_contracts.csv', 'salesforce_opportunities.csv', 'stripe_subscriptions.csv']
    """
    there = files("clvforecast") / "data" / "exports"
    written = {}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in EXPORT_SAMPLES:
        try:
            content = (there / f"{name}.csv").read_bytes()
        except OSError as error:
            raise DatasetError(f"{there / name}.csv is missing. Install clvforecast again.") from error
        written[name] = Path(folder) / f"{name}.csv"
        written[name].write_bytes(content)
    return written
