"""The shipped data: what their own descriptions say of them, and the published survivors."""

import datetime as dt

import pandas as pd
import pytest

from clvforecast import datasets
from clvforecast.errors import DatasetError, LedgerError
from clvforecast.ledger import read_ledger

ORIGINS = ["2014-06-30", "2016-06-30", "2018-06-30"]


def test_the_contracts_are_as_described() -> None:
    events, accounts, _ = datasets.phl_contracts_tables()
    assert events["kind"].value_counts().to_dict() == {
        "renewal": 4861, "initial": 1854, "expansion": 421, "change_order": 377, "contraction": 10,
    }  # fmt: skip
    assert accounts["department"].nunique() == 24
    assert (accounts["observed_from"] > 0).mean() == pytest.approx(0.25, abs=0.005)
    assert events["amount"].sum() == pytest.approx(7.24e9, rel=1e-3)


def test_the_whole_of_the_contracts_is_accepted() -> None:
    ledger = datasets.load_phl_contracts()
    assert (ledger.events.num_rows, ledger.accounts.num_rows) == (7523, 1846)
    assert ledger.rejected_rows.num_rows == 0
    # true of the source: three contracts renewed at another scale, and six accounts whose next term began early
    assert [warning.split(" (")[0] for warning in ledger.warnings] == [
        "events: 3 renewals have a monthly price of 100 times the term before or more, or of 1/100 or less",
        "events: 6 accounts have parallel terms and no contract_id",
    ]
    assert (ledger.as_of, ledger.currency, ledger.has_observed_from) == (dt.date(2020, 6, 30), "USD", True)
    assert ledger.reconciliation().iloc[-1]["amount_cents"] == 0


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_origin_knows_what_was_booked_by_then(origin: str) -> None:
    events, _, _ = datasets.phl_contracts_tables()
    ledger = datasets.load_phl_contracts(origin)
    assert ledger.events.num_rows == (events["event_date"] <= origin).sum()
    assert datasets.load_phl_contracts(origin, known_terms=False).events.equals(
        datasets.load_phl_contracts(known_terms=False).at(origin).events
    )


@pytest.mark.parametrize("origin", ORIGINS)
def test_lengthenings_not_yet_known_are_undone(origin: str) -> None:
    """Against a plain loop over the lengthenings, newest first: those after the origin are taken back."""
    events, _, folds = datasets.phl_contracts_tables()
    terms = events[events["term_months"].notna() & (events["event_date"] <= origin)]
    expected = {(row.account_id, row.start_date.date()): int(row.term_months) for row in terms.itertuples()}
    undone = 0
    for fold in folds.sort_values("booked", ascending=False, kind="stable").itertuples():
        key = (fold.account_id, fold.term_start.date())
        if fold.booked > pd.Timestamp(origin) and key in expected:
            days = (fold.end_before + pd.Timedelta(days=1) - fold.term_start).days
            expected[key], undone = round(days * 12 / 365.25), undone + 1
    accepted = datasets.load_phl_contracts(origin).accepted
    known = accepted[accepted["kind"].isin(["initial", "renewal"])]
    found = {(row.account_id, row.start_date.date()): row.term_months for row in known.itertuples()}
    assert undone > 0
    assert found == expected


def test_lengthened_terms_end_where_the_reports_say() -> None:
    """The rounding of months is exact: each final end, rounded, is the term_months of the event."""
    events, _, folds = datasets.phl_contracts_tables()
    last = folds.sort_values("booked", kind="stable").drop_duplicates(["account_id", "term_start"], keep="last")
    terms = events[events["term_months"].notna()]
    both = last.merge(terms, left_on=["account_id", "term_start"], right_on=["account_id", "start_date"])
    days = (both["end_after"] - both["term_start"]).dt.days + 1
    assert len(both) == len(last)
    assert ((days / datasets.MONTH_DAYS).round() == both["term_months"]).all()


def test_cohort_survivors_are_the_published_ones() -> None:
    """Fader & Hardie (2007), Journal of Interactive Marketing 21(1), Table 1; exact counts."""
    table = datasets.cohorts()
    assert table["Regular"].tolist() == [1000, 631, 468, 382, 326, 289, 262, 241, 223, 207, 194, 183, 173]
    assert table["High End"].tolist() == [1000, 869, 743, 653, 593, 551, 517, 491, 468, 445, 427, 409, 394]
    assert table.index.tolist() == list(range(13))


@pytest.mark.parametrize("years", [0, 4, 12])
def test_cohort_events_are_a_ledger_with_the_published_survivors(years: int) -> None:
    ledger = read_ledger(datasets.cohort_events(years))
    assert ledger.as_of == dt.date(2000 + years, 1, 1)
    assert ledger.warnings == () and ledger.rejected_rows.num_rows == 0
    assert ledger.accounts.num_rows == 2000
    events = ledger.accepted
    alive = events.groupby([events["start_date"].dt.year - 2000, "cohort"]).size().unstack()
    expected = datasets.cohorts().loc[:years]
    assert (alive["Regular"].to_numpy() == expected["Regular"].to_numpy()).all()
    assert (alive["High End"].to_numpy() == expected["High End"].to_numpy()).all()
    # a customer who left does not come back: n events are those of years 0..n-1
    last = events.groupby("account_id")["start_date"].agg(["size", "max"])
    assert (last["max"].dt.year - 2000 + 1 == last["size"]).all()


@pytest.mark.parametrize("years", [-1, 13, 2.5])
def test_years_outside_the_table_are_refused(years: int) -> None:
    with pytest.raises(DatasetError, match="years 0 to 12"):
        datasets.cohort_events(years)


def test_a_day_before_the_data_is_refused() -> None:
    with pytest.raises(LedgerError, match="no event is booked by as_of 2008-01-01"):
        datasets.load_phl_contracts("2008-01-01")
