"""The data report: every table against plain loops, published numbers, or the code that says the same elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from numpy.random import default_rng

import clvforecast as clv
from clvforecast.actuals import mrr_on
from clvforecast.histories import build_histories
from clvforecast.report.overview import END_GROUPS, KIND_GROUPS, plot_report, write_report

TABLES = ["events", "recurring", "cohorts", "ends", "booking", "quality"]
DAYS_PER_MONTH = 365.25 / 12


def ledger_of(rows: list[tuple[Any, ...]], as_of: str | None = None) -> clv.Ledger:
    columns = ["account_id", "event_date", "kind", "amount", "start_date", "term_months"]
    return clv.read_ledger(pd.DataFrame(rows, columns=columns).assign(currency="USD"), as_of=as_of)


@pytest.fixture(scope="module")
def known() -> clv.Ledger:
    """A synthetic company with early ends, returns, notices, and rows that are rejected or for later."""
    parameters = {"termination_rate": 0.08, "reactivation_rate": 0.3, "contraction_rate": 0.2}
    events, truth = clv.simulate_events(n_accounts=250, seed=4, notice_share=0.4, parameters=parameters)
    broken = events.iloc[:3].assign(
        event_id=["x1", "x2", "x3"], kind=["upsell", "initial", "initial"], currency=["USD", "", ""]
    )
    return clv.read_ledger(pd.concat([events, broken]), as_of="2022-08-20")


@pytest.fixture(scope="module")
def report(known: clv.Ledger) -> clv.DataReport:
    return clv.data_report(known)


def number(day: pd.Timestamp) -> int:
    return (day - pd.Timestamp(0)).days


# --- events -------------------------------------------------------------------------------------------------


def test_events_by_month_are_all_events(known: clv.Ledger, report: clv.DataReport) -> None:
    accepted = known.accepted
    month = accepted["event_date"].dt.to_period("M").dt.to_timestamp()
    expected = accepted.fillna({"amount": 0.0}).groupby([month, "kind"])["amount"].agg(["size", "sum"])
    found = report.events.set_index(["month", "kind"])
    assert len(found) == len(expected) and found["rows"].sum() == len(accepted)
    assert (found["rows"] == expected["size"].reindex(found.index)).all()
    assert found["amount"].to_numpy() == pytest.approx(expected["sum"].reindex(found.index).to_numpy())


def test_late_bookings_are_counted(known: clv.Ledger, report: clv.DataReport) -> None:
    accepted = known.accepted
    lag = (accepted["event_date"] - accepted["start_date"]).dt.days
    by = lag.groupby([accepted["start_date"].dt.year.rename("year"), accepted["kind"]])
    found = report.booking.set_index(["year", "kind"])
    assert found["late"].sum() > 50
    for column, values in {
        "rows": by.size(), "late": (lag > 0).groupby([accepted["start_date"].dt.year, accepted["kind"]]).sum(),
        "median_days": by.median(), "p90_days": by.quantile(0.9),
    }.items():  # fmt: skip
        assert found[column].to_numpy() == pytest.approx(values.reindex(found.index).to_numpy()), column
    assert (found["share_late"] == found["late"] / found["rows"]).all()


def test_quality_accounts_for_every_row(known: clv.Ledger, report: clv.DataReport) -> None:
    parts = report.quality.groupby("part")["rows"].sum()
    assert parts["accepted"] + parts["later"] + parts["rejected"] == known.read.rows
    assert parts["later"] > 0
    rejected = report.quality[report.quality["part"] == "rejected"].set_index("what")["rows"]
    assert rejected.to_dict() == {"missing_currency": 2, "unknown_kind": 1}
    money = report.quality[report.quality["part"].isin(["accepted", "later", "rejected"])]["amount"].sum()
    read = sum(money.amount_cents for money in known.read.by_currency.values())
    assert money == pytest.approx(read / 100)


def test_gaps_are_months_without_events() -> None:
    events, truth = clv.simulate_events(n_accounts=400, seed=1)
    lost = events[~events["event_date"].dt.strftime("%Y-%m").isin(["2020-03", "2021-10"])]
    report = clv.data_report(clv.read_ledger(lost, as_of=truth.as_of))
    assert report.gaps == (pd.Timestamp("2020-03-01"), pd.Timestamp("2021-10-01"))
    empty = report.quality.set_index("what")["rows"]
    assert empty["no event is booked, where many usually are"] == 2 == empty["no event is booked"]
    (marks,) = (line for line in plot_report(report).axes[0].lines if line.get_label() == "no event in 2 months")
    assert len(marks.get_xdata()) == 2


# --- recurring revenue --------------------------------------------------------------------------------------


def walked(ledger: clv.Ledger) -> pd.DataFrame:
    """MRR, accounts and contracts of every day by a plain walk over the days; for ledgers without churns."""
    accepted = ledger.accepted
    assert not (accepted["kind"] == "churn").any()
    steps: dict[pd.Timestamp, list[tuple[str, float]]] = {}
    for account, mine in accepted.groupby("account_id"):
        terms = mine[mine["kind"].isin(["initial", "renewal"])].to_dict("records")
        starts = [term["start_date"] for term in terms[1:]] + [pd.Timestamp.max.normalize()]
        for term, following in zip(terms, starts, strict=True):
            end = term["start_date"] + pd.DateOffset(months=term["term_months"])
            pieces = [(term["start_date"], term["amount"] / term["term_months"])]
            for row in mine[mine["kind"].isin(["expansion", "contraction"])].to_dict("records"):
                if term["start_date"] <= row["start_date"] < min(end, following):
                    pieces.append(
                        (row["start_date"], row["amount"] / ((end - row["start_date"]).days / DAYS_PER_MONTH))
                    )
            stop = min(end, following)
            for day, mrr in pieces:
                steps.setdefault(day, []).append((account, mrr))
                steps.setdefault(stop, []).append((account, -mrr))
            steps.setdefault(term["start_date"], []).append((account, np.inf))
            steps.setdefault(stop, []).append((account, -np.inf))
    rows, mrr, running = [], 0.0, {}
    for day in pd.date_range(min(steps), ledger.as_of):
        for account, change in steps.get(day, ()):
            if np.isinf(change):
                running[account] = running.get(account, 0) + int(np.sign(change))
            else:
                mrr += change
        rows.append((day, mrr, sum(n > 0 for n in running.values()), sum(running.values())))
    return pd.DataFrame(rows, columns=["day", "mrr", "accounts", "contracts"])


def test_recurring_revenue_is_that_of_a_walk_over_the_days() -> None:
    events, truth = clv.simulate_events(n_accounts=70, seed=6, parameters={"termination_rate": 0.0})
    ledger = clv.read_ledger(events, as_of="2023-12-15")
    found = clv.data_report(ledger).recurring
    expected = walked(ledger).set_index("day").loc[found["day"]]
    assert len(found) > 90 and found["day"].iloc[-1] == pd.Timestamp("2023-12-15")
    assert (found["day"].iloc[:-1] + pd.Timedelta(days=1)).dt.day.eq(1).all()
    assert found["mrr"].to_numpy() == pytest.approx(expected["mrr"].to_numpy(), abs=0.006)
    assert found["accounts"].tolist() == expected["accounts"].tolist()
    assert found["contracts"].tolist() == expected["contracts"].tolist()


def test_recurring_revenue_is_that_of_a_single_day(known: clv.Ledger, report: clv.DataReport) -> None:
    """As the backtest counts it, also where terms end early and accounts return."""
    histories = build_histories(known)
    for row in report.recurring.iloc[5::9].itertuples():
        of_day = mrr_on(histories, number(row.day))
        assert (row.mrr, row.accounts) == (pytest.approx(of_day.sum(), abs=0.006), len(of_day))


def test_contracts_of_one_account_are_one_account() -> None:
    terms = [("a", day, "initial", 120.0, day, 12) for day in ("2020-01-15", "2020-03-15", "2021-06-15")]
    ledger = clv.read_ledger(
        pd.DataFrame(terms, columns=["account_id", "event_date", "kind", "amount", "start_date", "term_months"]).assign(
            currency="USD", contract_id=["c1", "c2", "c3"]
        )
    )
    table = clv.data_report(ledger).recurring.set_index("day")
    of = table.loc[["2020-01-31", "2020-03-31", "2021-01-31", "2021-03-31", "2021-06-15"]]
    assert of["accounts"].tolist() == [1, 1, 1, 0, 1]
    assert of["contracts"].tolist() == [1, 2, 1, 0, 1]
    assert of["mrr"].tolist() == [10.0, 20.0, 10.0, 0.0, 10.0]


# --- cohorts ------------------------------------------------------------------------------------------------


def test_cohorts_are_the_published_survivors() -> None:
    """Fader & Hardie (2007), Journal of Interactive Marketing 21(1), Table 1: both cohorts together, exact."""
    report = clv.data_report(clv.read_ledger(clv.datasets.cohort_events(years=12)), patience_days=0)
    expected = clv.datasets.cohorts().sum(axis=1) / 2000
    for cohort in ("2000", "all"):
        curve = report.cohorts[report.cohorts["cohort"] == cohort]
        assert curve["years"].tolist() == list(range(13)) and set(curve["known"]) == {2000}
        for column in ("in_force", "mrr_in_force", "net_mrr"):  # all pay the same
            assert curve[column].to_numpy() == pytest.approx(expected.to_numpy())


def half_renewed(as_of: str) -> clv.DataReport:
    """Ten accounts of 100 to 1000 a month; the five smallest renew, half a year ahead, at twice the price."""
    rows = [(f"a{n}", "2020-03-01", "initial", 1200.0 * n, "2020-03-01", 12) for n in range(1, 11)]
    rows += [(f"a{n}", "2020-09-01", "renewal", 2400.0 * n, "2021-03-01", 12) for n in range(1, 6)]
    return clv.data_report(ledger_of(rows, as_of), patience_days=30)


def test_renewals_that_are_booked_early_wait_for_the_lapses() -> None:
    assert half_renewed("2021-03-30").cohorts["years"].max() == 0
    curve = half_renewed("2021-03-31").cohorts.query("cohort == 'all'").set_index("years").loc[1]
    assert (curve["known"], curve["in_force"]) == (10, 0.5)
    assert curve["mrr_in_force"] == pytest.approx(15 / 55)
    assert curve["net_mrr"] == pytest.approx(30 / 55)


def test_cohorts_by_hand_with_young_accounts_censored() -> None:
    """Six start in 2019, of which three renew; four of 2020 are known for none of the two years, two renew after one."""
    rows = []
    for n in range(6):
        rows += [(f"a{n}", "2019-01-01", "initial", 12.0, "2019-01-01", 12)]
        rows += [(f"a{n}", "2020-01-01", "renewal", 12.0, "2020-01-01", 12)] * (n < 3)
        rows += [(f"a{n}", "2021-01-01", "renewal", 12.0, "2021-01-01", 12)] * (n < 1)
    for n in range(4):
        rows += [(f"b{n}", "2020-01-01", "initial", 12.0, "2020-01-01", 12)]
        rows += [(f"b{n}", "2021-01-01", "renewal", 12.0, "2021-01-01", 12)] * (n < 1)
    report = clv.data_report(ledger_of(rows, "2021-06-30"), patience_days=30)
    curves = report.cohorts.set_index(["cohort", "years"])
    assert curves["known"].to_dict() == {
        ("2019", 0): 6, ("2019", 1): 6, ("2019", 2): 6, ("2020", 0): 4, ("2020", 1): 4,
        ("all", 0): 10, ("all", 1): 10, ("all", 2): 6,
    }  # fmt: skip
    assert curves["in_force"].loc["2019"].tolist() == pytest.approx([1, 3 / 6, 1 / 6])
    assert curves["in_force"].loc["2020"].tolist() == pytest.approx([1, 1 / 4])
    assert curves["in_force"].loc["all"].tolist() == pytest.approx([1, 4 / 10, 4 / 10 * 1 / 3])


def test_a_return_is_not_unbroken_service_but_brings_money() -> None:
    rows = [
        ("a", "2019-01-01", "initial", 1200.0, "2019-01-01", 12),
        ("a", "2020-12-01", "initial", 600.0, "2020-12-01", 12),
    ]
    curve = clv.data_report(ledger_of(rows, "2022-12-31"), patience_days=0).cohorts.query("cohort == 'all'")
    assert curve["in_force"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert curve["net_mrr"].tolist() == [1.0, 0.0, 0.5, 0.0]


def test_accounts_first_seen_later_are_in_no_cohort() -> None:
    events, truth = clv.simulate_events(n_accounts=200, seed=2, left_truncated=0.3)
    ledger = clv.read_ledger(events, truth.accounts, as_of=truth.as_of)
    report = clv.data_report(ledger)
    apart = int((truth.accounts["observed_from"] > 0).sum())
    whole = report.cohorts[(report.cohorts["cohort"] == "all") & (report.cohorts["years"] == 0)]
    assert 0 < apart and whole["accounts"].tolist() == [200 - apart]
    assert report.quality.set_index("what").loc["first seen after their start: in no cohort", "rows"] == apart


def test_shares_fall_and_lie_between_none_and_all(report: clv.DataReport) -> None:
    for _, curve in report.cohorts.groupby("cohort"):
        for column in ("in_force", "mrr_in_force"):
            assert (np.diff(curve[column]) <= 1e-12).all() and curve[column].between(0, 1).all()
    sizes = report.cohorts[report.cohorts["years"] == 0].set_index("cohort")["accounts"]
    assert sizes.drop("all").sum() == sizes["all"]


# --- ends ---------------------------------------------------------------------------------------------------


def test_every_ended_term_ends_one_way(known: clv.Ledger, report: clv.DataReport) -> None:
    ways = [name for names, _ in END_GROUPS.values() for name in names]
    assert (report.ends[ways].sum(axis=1) == report.ends["ended"]).all()
    assert (report.ends[ways].sum() > 0).all() and report.ends["returned"].sum() > 5
    histories = build_histories(known)
    terms = histories.terms.to_pandas().join(histories.decisions.to_pandas()[["outcome", "effective_day", "d"]])
    day = terms["end_day"].where(terms["outcome"] != "terminated", terms["effective_day"])
    past = terms[day <= histories.as_of_day]
    assert report.ends["ended"].sum() == len(past)
    assert report.ends["silent"].sum() == ((past["outcome"] == "open") & (past["d"] > report.patience_days)).sum()
    months = report.ends["month"]
    assert (months == pd.date_range(months.iloc[0], "2022-08-01", freq="MS")).all()


# --- the report as a whole ----------------------------------------------------------------------------------


def test_the_order_of_rows_does_not_matter_nor_histories_that_are_built_already() -> None:
    events, truth = clv.simulate_events(n_accounts=60, seed=9)
    shuffled = events.iloc[default_rng(0).permutation(len(events))]
    one, other = (clv.data_report(clv.read_ledger(table, as_of=truth.as_of)) for table in (events, shuffled))
    ledger = clv.read_ledger(events, as_of=truth.as_of)
    third = clv.data_report(ledger, build_histories(ledger))
    assert list(one.tables) == TABLES
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other.tables[name])
        pd.testing.assert_frame_equal(table, third.tables[name])


def test_patience_is_given_or_seen(report: clv.DataReport) -> None:
    assert report.patience_days > 31  # most are booked within a month, some later
    assert half_renewed("2021-03-31").patience_days == 30


def panels(report: clv.DataReport) -> list[Any]:
    before = dict(matplotlib.rcParams)
    figure = report.plot()
    figure.canvas.draw()
    assert dict(matplotlib.rcParams) == before and pyplot.get_fignums() == []
    return figure.axes


def heights(axes: Any) -> float:
    return sum(bar.get_height() for container in axes.containers for bar in container)


def test_the_picture_shows_the_tables(report: clv.DataReport) -> None:
    events, recurring, cohorts, ends, accounts = panels(report)
    assert heights(events) == report.events["rows"].sum() and heights(ends) == report.ends["ended"].sum()
    assert set(report.events["kind"]) <= {name for names, _ in KIND_GROUPS.values() for name in names}
    assert recurring.lines[0].get_ydata() == pytest.approx(report.recurring["mrr"])
    assert accounts.lines[0].get_ydata() == pytest.approx(report.recurring["accounts"])
    (pooled,) = (line for line in cohorts.lines if line.get_label() == "all accounts")
    curve = report.cohorts.query("cohort == 'all' and known >= 20")
    assert pooled.get_ydata() == pytest.approx(curve["in_force"])


@pytest.mark.parametrize("as_of", [None, "2024-06-30"])
@pytest.mark.parametrize("n_accounts", [1, 30])
def test_there_is_a_picture_of_one_event_and_of_no_renewal(n_accounts: int, as_of: str | None) -> None:
    report = clv.data_report(
        ledger_of([(f"a{n}", "2022-01-10", "initial", 1200.0, "2022-01-10", 12) for n in range(n_accounts)], as_of)
    )
    events, recurring, cohorts, ends, _ = panels(report)
    assert heights(events) == n_accounts
    assert heights(ends) == (0 if as_of is None else n_accounts)
    assert [text.get_text() for text in ends.texts] == (["no term has ended yet"] if as_of is None else [])
    assert [text.get_text()[:7] for text in cohorts.texts] == (["too few"] if as_of is None else [])
    assert len(cohorts.lines) == (0 if as_of is None else 2)


def test_the_files_hold_the_tables(report: clv.DataReport, tmp_path: Path) -> None:
    paths = write_report(report, tmp_path / "new")
    assert [path.name for path in paths] == [*(f"data_{name}.csv" for name in TABLES), "data_report.png"]
    for name, path in zip(TABLES, paths, strict=False):
        found = pd.read_csv(path)
        assert found.columns.tolist() == report.tables[name].columns.tolist() and len(found) == len(report.tables[name])
    assert paths[-1].read_bytes().startswith(b"\x89PNG")


def test_a_report_cannot_be_changed(report: clv.DataReport) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.currency = "EUR"  # type: ignore[misc]
    assert repr(report).startswith("<DataReport as of 2022-08-20: ")
