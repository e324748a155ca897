"""One account: the figures are those of a forecast of all, parts add up, and the words say what the tables say."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import clvforecast as clv
from clvforecast.report.account import (
    coming_years,
    contracts,
    last_events,
    origins,
    past_years,
    renewals_cost,
    renewals_so_far,
    segments_of,
    view_account,
)
from clvforecast.report.account_text import drivers, next_renewal, plot_account_view, show_account
from clvforecast.report.nearest import near_names

SETTINGS = {"horizon_months": 18, "draws": 60}


@pytest.fixture(scope="module")
def company() -> tuple[clv.Ledger, clv.Posterior]:
    """A synthetic company whose early terminations name no amount, and its prior for a posterior."""
    events, truth = clv.simulate_events(n_accounts=120, seed=9)
    events.loc[events["kind"] == "churn", "amount"] = None
    ledger = clv.read_ledger(events, truth.accounts, as_of=truth.as_of)
    return ledger, clv.prior(ledger, ["segment"], draws=60)


@pytest.fixture(scope="module")
def everyone(company) -> pd.DataFrame:
    ledger, posterior = company
    return clv.forecast(posterior, ledger, **SETTINGS).accounts().set_index("account_id")


def small_ledger(*rows: tuple[str, str, str, float, int | None]) -> clv.Ledger:
    """Events (account, booked, kind, amount, months) as known on 31 December 2023."""
    columns = ["account_id", "event_date", "kind", "amount", "term_months"]
    events = pd.DataFrame(rows, columns=columns).assign(currency="USD", segment="pro")
    events["term_months"] = events["term_months"].astype("Int64")
    return clv.read_ledger(events, as_of="2023-12-31")


def test_its_figures_are_those_of_a_forecast_of_all(company, everyone: pd.DataFrame) -> None:
    ledger, posterior = company
    for account_id in everyone.index[::30]:
        row = view_account(posterior, ledger, account_id, **SETTINGS).row
        expected = everyone.loc[account_id]
        numbers = expected.index[[isinstance(value, float) for value in expected]]
        assert row[numbers].astype(float).to_numpy() == pytest.approx(
            expected[numbers].astype(float).to_numpy(), nan_ok=True
        )


def test_years_and_origins_add_up(company, everyone: pd.DataFrame) -> None:
    """Booked counts what early terminations de-book; origins' means, and their parts of the variance, make the whole."""
    ledger, posterior = company
    ended = ledger.accepted.loc[ledger.accepted["kind"] == "churn", "account_id"]
    for account_id in [ended.iloc[0], everyone["mean"].idxmax()]:
        view = view_account(posterior, ledger, account_id, calendar=clv.FiscalCalendar(7), **SETTINGS)
        years, row, parts = past_years(view), view.row, origins(view)
        assert years["recognised"].sum() == pytest.approx(row["clv_to_date"])
        assert years["booked"].sum() == pytest.approx(row["booked_to_date"])
        assert parts["mean"].sum() == pytest.approx(row["mean"])
        if row["sd"] > 0:
            assert parts["spread"].sum() == pytest.approx(1.0)
        coming = coming_years(view)
        assert coming["mean"].iloc[:-1].sum() == pytest.approx(row["mean"])
        assert coming["clv_mean"].iloc[-1] == pytest.approx(row["discounted_mean"])
        assert coming["label"].tolist()[-1] == "18 months"


def test_parts_of_years_are_marked_and_end_with_the_window(company) -> None:
    """2023-12-31 lies in the middle of FY24: what is known of it, and the part of FY25 that 18 months reach, have a star."""
    ledger, posterior = company
    account_id = ledger.accounts["account_id"][0].as_py()
    view = view_account(
        posterior, ledger, account_id, calendar=clv.FiscalCalendar(7), **SETTINGS | {"horizon_months": 17}
    )
    out = Console(file=io.StringIO(), width=200)
    show_account(out, view)
    past, ahead = out.file.getvalue().split("last bookings")
    assert "FY24*" in past and "FY23*" not in past and "* the year goes on: only what was until 2023-12-31" in past
    assert "FY24*" in ahead and "FY25*" in ahead and "2025-06-30" not in ahead
    assert coming_years(view)["to"].max() == pd.Timestamp("2025-05-31")


def test_contracts_in_force_of_a_hand_made_account(company) -> None:
    """A contract of 12 months at 100 a month, raised by 60 over its last 6 months; one ended; one renewed ahead."""
    _, posterior = company
    ledger = small_ledger(
        ("a", "2023-03-01", "initial", 1200.0, 12),
        ("a", "2023-09-01", "expansion", 60.0, None),
        ("b", "2022-12-01", "initial", 1200.0, 12),
        ("c", "2023-02-01", "initial", 1200.0, 12),
        ("c", "2023-12-01", "renewal", 2400.0, 12),
    )
    (row,) = contracts(view_account(posterior, ledger, "a", **SETTINGS)).to_dict("records")
    assert (str(row["start"].date()), str(row["end"].date()), row["months"]) == ("2023-03-01", "2024-02-29", 12)
    assert row["mrr"] == pytest.approx(100.0 + 60.0 / 6.0, rel=0.01) and row["state"] == "in force"
    (late,) = contracts(view_account(posterior, ledger, "b", **SETTINGS)).to_dict("records")
    assert late["state"] == "ended 31 days ago, not renewed yet"
    assert renewals_so_far(view_account(posterior, ledger, "c", **SETTINGS)) == (1, 1)
    events = last_events(view_account(posterior, ledger, "c", **SETTINGS))
    assert events["kind"].tolist() == ["renewal", "initial"] and events["amount"].tolist() == [2400.0, 1200.0]


def test_fewer_renewals_cost_money_and_the_words_say_how_much(company, everyone: pd.DataFrame) -> None:
    ledger, posterior = company
    ids = everyone.sort_values("p_active_12m").index[::-1]
    views = (view_account(posterior, ledger, account_id, **SETTINGS) for account_id in ids)
    view = next(view for view in views if renewals_cost(view) > 0.05 * view.row["discounted_mean"])
    share = renewals_cost(view) / view.row["discounted_mean"]
    assert any(line.startswith("Renewals:") and f"({share:.0%}) lower" in line for line in drivers(view))
    assert segments_of(view)["segment"] == everyone.loc[view.account_id, "segment"]
    for other in (view.forecast, dataclasses.replace(view.less_likely)):
        swapped = dataclasses.replace(view, forecast=view.less_likely, less_likely=other)
        assert renewals_cost(swapped) <= 0.0
    same = dataclasses.replace(view, less_likely=view.forecast)
    assert renewals_cost(same) == 0.0 and not any(line.startswith("Renewals:") for line in drivers(same))


def test_an_account_that_is_gone_has_nothing_to_come(company) -> None:
    """Years after its only contract: no renewal is open, and still a page and a picture."""
    _, posterior = company
    ledger = small_ledger(("a", "2015-01-01", "initial", 1200.0, 12), ("b", "2023-02-01", "initial", 1200.0, 12))
    view = view_account(posterior, ledger, "a", **SETTINGS)
    out = Console(file=io.StringIO(), width=200)
    show_account(out, view)
    text = out.file.getvalue()
    assert "USD 1,200 (booked: 1,200)" in text and "next renewal" in text
    assert plot_account_view(view).figure.axes[1].get_xlabel().startswith("forward CLV")
    if np.isnan(view.row["p_next_renewal"]):
        assert "none is open" in next_renewal(view)


def test_accounts_without_a_contract_or_a_name_are_refused(company) -> None:
    _, posterior = company
    ledger = small_ledger(
        ("Acme Ltd", "2023-02-01", "initial", 1200.0, 12),
        ("b", "2023-02-01", "change_order", 10.0, None),
        ("b", "2024-02-01", "initial", 1200.0, 12),
    )
    with pytest.raises(clv.ForecastError, match="no account 'acme'.*; near are 'Acme Ltd'"):
        view_account(posterior, ledger, "acme")
    with pytest.raises(clv.ForecastError, match="'b' has no contract booked by 2023-12-31"):
        view_account(posterior, ledger, "b")


def test_near_names_prefer_those_that_hold_the_text() -> None:
    known = ["North Side Clinic 17", "South Side Clinic", "clinics", "other"]
    assert near_names("north side", known) == "; near are 'North Side Clinic 17'"
    assert near_names("CLINIC", known) == "; near are 'North Side Clinic 17', 'South Side Clinic', 'clinics'"
    assert near_names("", known) == ""


def test_a_planned_renewal_that_states_nothing_is_said_to_be_as_modelled(company) -> None:
    ledger, posterior = company
    row = clv.forecast(posterior, ledger, **SETTINGS).table.nlargest(1, "mean").iloc[0]
    due = pd.Timestamp(ledger.as_of) + pd.Timedelta(days=30)
    plan = pd.DataFrame({"account_id": [row["account_id"]], "planned_date": [due], "kind": "renewal", "amount": [None]})
    view = view_account(posterior, ledger, row["account_id"], clv.read_plans(plan, ledger), **SETTINGS)
    told = io.StringIO()
    show_account(Console(file=told, width=200), view)
    assert "as the model has it" in told.getvalue() and "nan" not in told.getvalue()
    labels = [text.get_text() for text in view.plan.plot().get_yticklabels()]
    assert any("as the model has it" in label for label in labels)
