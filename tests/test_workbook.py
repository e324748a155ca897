"""The workbook holds the forecast's figures, adds up, can be linked to, and runs nothing that it was given."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openpyxl
import pandas as pd
import pytest
from openpyxl.utils import range_boundaries

import clvforecast as clv
from clvforecast.errors import ForecastError, ForecastFileError
from clvforecast.report import workbook as package
from clvforecast.report.page import gather, page_html
from clvforecast.report.page.horizon import headline
from clvforecast.report.planned import REJECT_COLUMNS, rejects_by_rule
from clvforecast.report.workbook import accounts as account_sheet
from clvforecast.report.workbook import contents_of, write_contents, write_workbook
from clvforecast.report.workbook.bridge import signed
from clvforecast.report.workbook.contents import RANGE, Contents, Missing
from clvforecast.report.workbook.page import PAPER_HEIGHT, ROW_HEIGHT
from clvforecast.report.workbook.waterfall import steps_of
from known_world import known_posterior
from workbook_fixtures import (
    made_up_bridge,
    made_up_contents,
    made_up_plans,
    made_up_scenarios,
    made_up_track_record,
)

HEAD_ROW = account_sheet.TITLE_ROWS + 1
CENT = 0.005


@pytest.fixture(scope="module")
def ledger() -> clv.Ledger:
    events, truth = clv.simulate_events(n_accounts=80, seed=3)
    return clv.read_ledger(events, truth.accounts, as_of=truth.as_of)


@pytest.fixture(scope="module")
def forecast(ledger: clv.Ledger) -> clv.Forecast:
    return clv.forecast(clv.prior(ledger, ["segment"], draws=20), ledger, 27, draws=12)


@pytest.fixture(scope="module")
def real(forecast: clv.Forecast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("workbook") / "forecast.xlsx"
    write_workbook(forecast, path)
    return path


@pytest.fixture(scope="module")
def full() -> Contents:
    contents = made_up_contents()
    return replace(
        contents,
        scenarios=made_up_scenarios(contents),
        plans=made_up_plans(),
        track_record=made_up_track_record(),
    )


@pytest.fixture(scope="module")
def made_up(full: Contents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("workbook") / "made-up.xlsx"
    write_contents(full, path)
    return path


def values_of(path: Path) -> openpyxl.Workbook:
    return openpyxl.load_workbook(path, data_only=True)


def named(book: openpyxl.Workbook, name: str) -> object:
    """The value of a named cell, or the rows of a named block."""
    sheet, place = book.defined_names[name].attr_text.split("!")
    found = book[sheet.strip("'")][place.replace("$", "")]
    return [[cell.value for cell in row] for row in found] if isinstance(found, tuple) else found.value


def table_at(book: openpyxl.Workbook, name: str) -> pd.DataFrame:
    """A named block whose first row are heads."""
    heads, *rows = named(book, name)
    return pd.DataFrame(rows, columns=heads)


def column(sheet: openpyxl.worksheet.worksheet.Worksheet, text: str) -> int:
    """The row in which the first column begins with a text."""
    return next(row for row in range(1, sheet.max_row + 1) if str(sheet.cell(row, 1).value or "").startswith(text))


# --- the forecast's figures ---------------------------------------------------------------------------------


def test_accounts_are_the_forecast_s_to_the_cent(forecast: clv.Forecast, real: Path) -> None:
    shown = table_at(values_of(real), "accounts_table").set_index("account")
    expected = forecast.accounts().set_index("account_id")
    assert sorted(shown.index) == sorted(expected.index)
    expected = expected.loc[shown.index]
    assert shown["expected revenue (mean)"].is_monotonic_decreasing
    for head, name in {
        "CLV to date (served)": "clv_to_date",
        "expected revenue (mean)": "mean",
        "median": "q50",
        "low 5%": "lower",
        "high 95%": "upper",
        "CLV: to date + expected": "clv",
        "CLV low 5%": "clv_lower",
        "active in 12 months": "p_active_12m",
        "next renewal": "p_next_renewal",
        "discounted value (mean)": "discounted_mean",
        "of the mean: renewal": "from_renewal",
    }.items():
        found = shown[head].astype(float).to_numpy()
        assert found == pytest.approx(expected[name].to_numpy(dtype=float), abs=CENT, nan_ok=True), head
    assert shown["next renewal"].isna().any(), "a chance that is not known is an empty cell"


def test_periods_are_the_forecast_s_and_add_up_to_its_window(forecast: clv.Forecast, real: Path) -> None:
    book = values_of(real)
    rows = np.array([row[3:7] for row in named(book, "portfolio_table")], dtype=float)
    assert rows == pytest.approx(forecast.portfolio("quarter")[[*RANGE]].to_numpy(), abs=CENT)
    whole = forecast.portfolio(None).iloc[0]
    for name in RANGE:
        assert named(book, f"clv_whole_window_{name}") == pytest.approx(whole[name], abs=CENT)
    assert rows[:, 0].sum() == pytest.approx(whole["mean"], abs=CENT)


def test_the_next_quarter_and_year_are_sums_of_draws(forecast: clv.Forecast, real: Path) -> None:
    book, quarters = values_of(real), forecast.portfolio("quarter")
    following = quarters[~quarters["partial"]].iloc[0]
    assert named(book, "clv_next_quarter_upper") == pytest.approx(following["upper"], abs=CENT)
    draws = forecast.portfolio_draws("month").isel(group=0).values[:, :12].sum(axis=1)
    found = [named(book, f"clv_next_12_months_{name}") for name in ("mean", "lower", "upper")]
    assert found == pytest.approx([draws.mean(), *np.quantile(draws, [0.05, 0.95])], abs=CENT)


def test_segments_are_the_forecast_s(forecast: clv.Forecast, real: Path) -> None:
    sheet = values_of(real)["Segments"]
    expected = forecast.portfolio(None, "segment").set_index("segment")
    first = column(sheet, "segment: all") + 2
    found = {
        sheet.cell(row, 1).value: [sheet.cell(row, at).value for at in (4, 5, 6, 7)]
        for row in range(first, first + len(expected))
    }
    for level, row in expected.iterrows():
        assert found[level] == pytest.approx([row[name] for name in RANGE], abs=CENT)
    counted = forecast.accounts()["segment"].value_counts()
    assert {
        sheet.cell(row, 1).value: sheet.cell(row, 2).value for row in range(first, first + len(expected))
    } == counted.to_dict()


def test_the_headline_is_in_the_company_s_own_quarters_and_years(ledger: clv.Ledger) -> None:
    """Of a year from August in weeks: no quarter is a calendar quarter, twelve months are 52 weeks."""
    retail = clv.FiscalCalendar(start_month=8, weeks="4-4-5")
    forecast = clv.forecast(clv.prior(ledger, ["segment"], draws=20), ledger, 24, draws=6, calendar=retail)
    contents = contents_of(forecast)
    lines = contents.headline.set_index("key")
    quarter = forecast.portfolio("quarter").query("not partial").iloc[0]
    assert lines.loc["next_quarter", "label"] == f"Next quarter, {quarter['label']}"
    assert lines.loc["next_quarter", "mean"] == pytest.approx(quarter["mean"])
    year = lines.loc["next_12_months"]
    assert abs((pd.Timestamp(year["period"]) - pd.Timestamp(year["period_start"])).days + 1 - 365) <= 31
    assert contents.history["label"].iloc[-1] == retail.period(ledger.as_of, "quarter").label
    following = pd.DatetimeIndex(contents.history["period"])[:-1] + pd.Timedelta(days=1)
    assert list(following) == list(pd.DatetimeIndex(contents.history["period_start"])[1:])


def test_pandas_period_ends_still_work(forecast: clv.Forecast, tmp_path: Path) -> None:
    write_workbook(forecast, tmp_path / "years.xlsx", freq="YE-SEP")
    rows = np.array([row[3:7] for row in named(values_of(tmp_path / "years.xlsx"), "portfolio_table")], dtype=float)
    assert rows == pytest.approx(forecast.portfolio("YE-SEP")[[*RANGE]].to_numpy(), abs=CENT)
    with pytest.raises(ForecastError, match="fortnight"):
        write_workbook(forecast, tmp_path / "not.xlsx", freq="fortnight")


def test_history_is_what_was_recognised(forecast: clv.Forecast, real: Path) -> None:
    """The last whole quarters before as_of, by the same accounting as clv_to_date: with all before them they make it."""
    contents = contents_of(forecast)
    assert isinstance(contents.history, pd.DataFrame)
    assert not contents.history["partial"].iloc[-1], "as_of ends a quarter"
    assert pd.Timestamp(contents.history["period"].iloc[-1]) == pd.Timestamp(forecast.as_of)
    assert 0 < contents.history["revenue"].sum() < forecast.accounts()["clv_to_date"].sum() + CENT
    sheet = values_of(real)["Summary"]
    row = column(sheet, str(contents.history["label"].iloc[-1]))
    assert sheet.cell(row, 8).value == pytest.approx(contents.history["revenue"].iloc[-1], abs=CENT)


def test_a_quarter_that_runs_shows_what_it_already_has(ledger: clv.Ledger, tmp_path: Path) -> None:
    inside = ledger.at("2023-11-20") if str(ledger.as_of) > "2023-11-20" else ledger
    forecast = clv.forecast(clv.prior(inside, ["segment"], draws=20), inside, 12, draws=6)
    contents = contents_of(forecast)
    assert contents.history["partial"].iloc[-1] and contents.periods["partial"].iloc[0]
    write_contents(contents, tmp_path / "inside.xlsx")
    first = named(values_of(tmp_path / "inside.xlsx"), "portfolio_table")[0]
    assert first[0].endswith("*")
    assert first[7] == pytest.approx(contents.history["revenue"].iloc[-1], abs=CENT)
    assert first[8] == pytest.approx(first[3] + first[7], abs=CENT)
    keys = list(contents.headline["key"])
    assert keys[:2] == ["rest_of_quarter", "next_quarter"]


def test_a_ledger_with_rejected_rows_is_told_by_rule(tmp_path: Path) -> None:
    """The commonest rule first, rules as common by their names; of each its first row."""
    events, truth = clv.simulate_events(n_accounts=30, seed=3)
    events = pd.concat([events.astype({"kind": object}), events.tail(1).assign(event_id="odd", kind="gift")])
    ledger = clv.read_ledger(events, truth.accounts, as_of=truth.as_of)
    assert len(ledger.rejected) == 1
    forecast = clv.forecast(clv.prior(ledger, ["segment"], draws=10), ledger, 6, draws=4)
    write_workbook(forecast, tmp_path / "rejected.xlsx")
    sheet = values_of(tmp_path / "rejected.xlsx")["Data quality"]
    row = column(sheet, "Rejected, by rule") + 2
    assert [sheet.cell(row, at).value for at in (1, 2)] == [ledger.rejected["rule"].iloc[0], 1]
    rules = pd.DataFrame({"rule": ["b", "c", "a", "c"], "row": [1, 2, 3, 4]}).reindex(columns=REJECT_COLUMNS)
    told = rejects_by_rule(rules)
    assert told[["rule", "rows", "row"]].to_numpy().tolist() == [["c", 2, 2], ["a", 1, 3], ["b", 1, 1]]


def test_a_window_is_named_by_what_it_holds(ledger: clv.Ledger) -> None:
    """From 31 December no period is running; eleven months are not the next twelve, and a year cut at its end is no rest."""
    posterior = clv.prior(ledger, ["segment"], draws=10)
    lines = contents_of(clv.forecast(posterior, ledger, 11, draws=3)).headline.set_index("key")["label"]
    assert "next_12_months" not in lines and "rest_of_quarter" not in lines
    assert lines["fiscal_year_1"].startswith("Part of ")
    inside = ledger.at("2023-11-20")
    forecast = clv.forecast(clv.prior(inside, ["segment"], draws=10), inside, 12, draws=3)
    lines = contents_of(forecast).headline.set_index("key")
    assert lines.loc["fiscal_year_1", "label"].startswith("Rest of ") and "rest_of_quarter" in lines.index
    assert lines.loc["fiscal_year_2", "label"].startswith("Part of ")
    assert pd.Timestamp(lines.loc["next_12_months", "period"]) == pd.Timestamp("2024-11-20")


def test_rows_of_the_same_days_say_so(ledger: clv.Ledger) -> None:
    """In a year's last quarter what is left of both is the same; in an earlier one it is not."""
    posterior = clv.prior(ledger, ["segment"], draws=10)
    for day, same in (("2023-11-20", True), ("2023-08-20", False)):
        made = clv.forecast(posterior, ledger.at(day), 18, draws=3)
        lines = contents_of(made).headline.set_index("key")
        quarter, year = lines.loc["rest_of_quarter"], lines.loc["fiscal_year_1"]
        assert bool(quarter["mean"] == pytest.approx(year["mean"])) is same
        named = quarter["label"].removeprefix("Rest of ")
        assert year["label"].endswith(f": the same days as of {named}") is same


@pytest.mark.parametrize(("months", "label"), [(12, "Next 12 months"), (18, "Next 12 months and 10 days")])
def test_a_year_that_is_longer_is_called_so_wherever_it_is_named(
    ledger: clv.Ledger, tmp_path: Path, months: int, label: str
) -> None:
    """From 20 November a window of twelve months ends on the 20th, and months of a longer one at their ends."""
    inside = ledger.at("2023-11-20")
    made = clv.forecast(clv.prior(inside, ["segment"], draws=10), inside, months, draws=3)
    row = contents_of(made).headline.set_index("key").loc["next_12_months"]
    assert row["label"] == label
    exact = pd.Timestamp("2023-11-20") + pd.DateOffset(years=1)
    assert (row["period"] - exact).days == (0 if months == 12 else 10)
    write_workbook(made, tmp_path / "year.xlsx")
    names = {line[0].value: line[2].value for line in values_of(tmp_path / "year.xlsx")["Assumptions"].iter_rows()}
    days = f"2023-11-21 to {row['period']:%Y-%m-%d}"
    assert names["clv_next_12_months_mean"] == f"revenue, {label[0].lower()}{label[1:]}, {days}: mean"


@pytest.mark.parametrize("months", [12, 14, 18])
def test_twelve_months_are_the_same_in_workbook_and_page(ledger: clv.Ledger, months: int) -> None:
    inside = ledger.at("2023-11-20")
    forecast = clv.forecast(clv.prior(inside, ["segment"], draws=10), inside, months, draws=3)
    own = contents_of(forecast).headline.set_index("key").loc["next_12_months"]
    theirs = headline(forecast, 0.9).set_index("key").loc["next_12_months" if months > 12 else "horizon"]
    assert pd.Timestamp(own["period"]) == pd.Timestamp(theirs["end"])
    assert [own[name] for name in RANGE] == pytest.approx([theirs[name] for name in RANGE])


def test_no_period_reaches_beyond_the_window_and_cut_ones_say_how_far_they_go(
    ledger: clv.Ledger, tmp_path: Path
) -> None:
    """Weeks of a retailer, and a window that ends inside a quarter: the last day told is the window's, in every sheet."""
    calendar = clv.FiscalCalendar(2, weeks="4-4-5")
    made = clv.forecast(
        clv.prior(ledger, ["segment"], draws=5),
        ledger,
        11,
        draws=4,
        calendar=calendar,
        bridge=True,
        group_by=["segment"],
    )
    last = pd.Timestamp(made.as_of) + pd.DateOffset(months=11)
    contents = contents_of(made)
    assert contents.periods["to"].iloc[-1] == last and contents.periods["period"].iloc[-1] > last
    assert (contents.headline["period"] <= last).all()
    for table in (contents.bridge, contents.retention):
        assert isinstance(table, pd.DataFrame)
        cut = table[table["partial"]]
        assert set(cut["to"]) == {last}
        days = (last - cut["period_start"].iloc[0]).days + 1
        assert set(cut["covered"]) == {f"{days} of {(cut['period'] - cut['period_start']).dt.days.iloc[0] + 1} days"}
        assert set(table.loc[~table["partial"], "covered"]) == {""}
    write_contents(contents, tmp_path / "cut.xlsx")
    book = values_of(tmp_path / "cut.xlsx")
    told = [cell.value for cell in book["Bridge"][column(book["Bridge"], "part")] if cell.value]
    assert told[-1] == cut["covered"].iloc[0]
    days_told = [
        cell.value for name in ("Summary", "Bridge") for row in book[name].iter_rows() for cell in row if cell.is_date
    ]
    assert days_told and max(days_told) <= last
    page = page_html(gather(made))
    assert f"Rates of {cut['label'].iloc[0]} are over {cut['covered'].iloc[0]} only." in page
    assert f"{contents.periods['period'].iloc[-1]:%Y-%m-%d}" not in re.sub(r"<script.*", "", page, flags=re.DOTALL)


@pytest.mark.parametrize(("months", "day", "name"), [(26, None, "horizon_months"), (27, "2023-06-30", "as_of")])
def test_scenarios_of_another_day_or_window_are_refused(
    ledger: clv.Ledger, forecast: clv.Forecast, tmp_path: Path, months: int, day: str | None, name: str
) -> None:
    other = ledger if day is None else ledger.at(day)
    comparison = SimpleNamespace(base=clv.forecast(clv.prior(other, ["segment"], draws=5), other, months, draws=2))
    for write in (write_workbook, clv.write_page):
        with pytest.raises(ForecastError, match=f"comparison: its scenarios have {name}="):
            write(forecast, tmp_path / "refused", comparison=comparison)


@pytest.fixture(scope="module")
def growing(ledger: clv.Ledger) -> clv.Forecast:
    plan = pd.DataFrame(
        {
            "start": ["2024-02-01", "2024-06-10"],
            "customers": [5, 5],
            "first_mrr": 2000.0,
            "segment": "S1",
            "term_months": 12,
        }
    )
    posterior = clv.prior(ledger, ["segment"], draws=20)
    return clv.forecast(posterior, ledger, 14, draws=12, cost_to_serve=5.0, new_customers=clv.PlannedNewCustomers(plan))


def test_new_customers_are_in_the_company_s_figures_and_not_in_accounts(growing: clv.Forecast, tmp_path: Path) -> None:
    """Headline and periods are `portfolio`; what is compared with accounts is `summary`; the two differ by the new alone."""
    write_workbook(growing, tmp_path / "growing.xlsx")
    book = values_of(tmp_path / "growing.xlsx")
    whole, existing = growing.portfolio(None).iloc[0], growing.summary().iloc[0]
    new = float(existing["new_customers_mean"])
    assert new > 1000.0
    assert named(book, "clv_new_customers_mean") == pytest.approx(new, abs=CENT)
    brought = growing.accounts()["clv_to_date"].sum()
    for name in RANGE:
        assert named(book, f"clv_whole_window_{name}") == pytest.approx(whole[name], abs=CENT)
        assert named(book, f"clv_existing_customers_{name}") == pytest.approx(existing[name], abs=CENT)
        assert named(book, f"clv_total_{name}") == pytest.approx(brought + existing[name], abs=CENT)
    assert "discounted value, after the cost to serve (mean)" in table_at(book, "accounts_table")
    sheet = book["Summary"]
    first = column(sheet, "Checks") + 1
    checks = {sheet.cell(row, 1).value: sheet.cell(row, 4).value for row in range(first, sheet.max_row + 1)}
    checks.pop(None, None)
    assert len(checks) >= 4 and set(checks.values()) == {0.0}
    assert "Accounts add up to the whole window, existing customers" in checks
    assert sheet.cell(column(sheet, "   discounted at 10.0% a year"), 1).value == (
        "   discounted at 10.0% a year and after the cost to serve, existing customers"
    )


def test_a_cost_to_serve_is_told_without_a_discount_rate(ledger: clv.Ledger, tmp_path: Path) -> None:
    posterior = clv.prior(ledger, ["segment"], draws=10)
    forecast = clv.forecast(posterior, ledger, 6, annual_discount_rate=0.0, draws=3, cost_to_serve=50.0)
    write_workbook(forecast, tmp_path / "cost.xlsx")
    sheet = values_of(tmp_path / "cost.xlsx")["Summary"]
    row = column(sheet, "   after the cost to serve")
    assert sheet.cell(row, 4).value == pytest.approx(forecast.summary()["discounted_mean"].iloc[0], abs=CENT)


@pytest.mark.parametrize(("timing", "to_date"), [("booked", "booked_to_date"), ("cash", "paid_to_date")])
def test_what_is_to_come_goes_on_from_money_of_its_own_kind(
    ledger: clv.Ledger, tmp_path: Path, timing: str, to_date: str
) -> None:
    """Bookings go on from bookings, payments from payments; recognised revenue is in no chart with them."""
    billed = {"billing": "annual"} if timing == "cash" else {}
    posterior = clv.prior(ledger, ["segment"], draws=20)
    forecast = clv.forecast(posterior, ledger, 14, annual_discount_rate=0.0, draws=6, timing=timing, **billed)
    write_workbook(forecast, tmp_path / "timing.xlsx")
    book, table = values_of(tmp_path / "timing.xlsx"), forecast.accounts()
    brought = table[to_date].sum()
    assert named(book, "clv_to_date") == pytest.approx(brought, abs=CENT)
    assert named(book, "clv_total_mean") == pytest.approx(brought + table["mean"].sum(), abs=CENT)
    shown = table_at(book, "accounts_table").set_index("account").loc[table["account_id"]]
    own = shown[f"CLV to date ({'booked' if timing == 'booked' else 'paid'})"].astype(float).to_numpy()
    assert own == pytest.approx(table[to_date].to_numpy(), abs=CENT)
    assert shown["CLV: to date + expected"].astype(float).to_numpy() == pytest.approx(own + table["mean"], abs=CENT)
    assert shown["recognised to date"].astype(float).to_numpy() == pytest.approx(table["clv_to_date"], abs=CENT)
    sheet = book["Segments"]
    assert sheet.cell(column(sheet, "all segments"), 3).value == pytest.approx(brought, abs=CENT)
    assert isinstance(contents_of(forecast).history, Missing)
    charts = [zipfile.ZipFile(tmp_path / "timing.xlsx").read("xl/charts/chart1.xml").decode()]
    assert not any("recognised" in chart for chart in charts)


# --- formulas -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["real", "made_up"])
def test_every_check_is_zero_and_there_are_some(which: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(which)
    sheet, formulas = values_of(path)["Summary"], openpyxl.load_workbook(path)["Summary"]
    first = column(sheet, "Checks") + 1
    rows = [row for row in range(first, sheet.max_row + 1) if sheet.cell(row, 1).value]
    assert len(rows) >= 3
    for row in rows:
        assert str(formulas.cell(row, 4).value).startswith("=")
        assert sheet.cell(row, 4).value == 0.0, sheet.cell(row, 1).value


def test_sums_are_formulas_with_the_value_of_their_cells(made_up: Path) -> None:
    """Every SUM and SUBTOTAL of one block, worked out here from the cells."""
    formulas, values, checked = openpyxl.load_workbook(made_up), values_of(made_up), 0
    for sheet in formulas:
        for row in sheet.iter_rows():
            for cell in row:
                found = re.fullmatch(r"=(?:SUM\(|SUBTOTAL\(109,)([A-Z]+\d+:[A-Z]+\d+)\)", str(cell.value))
                if found:
                    left, top, right, bottom = range_boundaries(found[1])
                    area = values[sheet.title].iter_rows(top, bottom, left, right, values_only=True)
                    summed = sum(value or 0.0 for line in area for value in line)
                    assert values[sheet.title][cell.coordinate].value == pytest.approx(summed, abs=CENT)
                    checked += 1
    assert checked > 40


def test_a_bridge_that_does_not_balance_is_told(tmp_path: Path) -> None:
    bridge = made_up_bridge()
    off = (bridge["label"] == "FY18 Q4") & (bridge["line"] == "churn")
    bridge.loc[off, "mean"] += 12.34
    write_contents(made_up_contents(bridge=bridge), tmp_path / "off.xlsx")
    sheet = values_of(tmp_path / "off.xlsx")["Summary"]
    row = column(sheet, "ARR bridge balances")
    assert sheet.cell(row, 4).value == pytest.approx(12.34)


def test_the_bridge_is_the_forecast_s_with_losses_negative(full: Contents, made_up: Path) -> None:
    sheet = values_of(made_up)["Bridge"]
    heads = [cell.value for cell in sheet[column(sheet, "from") - 2]][1:17]
    means = signed(full.bridge).pivot_table(index="line", columns="label", values="mean")[heads]
    first = column(sheet, "ARR at the start")
    shown = np.array(
        [[sheet.cell(first + line, 2 + place).value for place in range(16)] for line in range(8)], dtype=float
    )
    order = ["start", "new", "expansion", "reactivation", "late_renewals", "contraction", "churn", "end"]
    assert shown == pytest.approx(means.loc[order].to_numpy(), abs=CENT)
    assert (shown[5:7] < 0).all()
    assert shown[:7].sum(axis=0) == pytest.approx(shown[7], abs=CENT)
    low = column(sheet, "Churn: median") + 1
    churn = full.bridge[full.bridge["line"] == "churn"].set_index("label").loc["FY19 Q1"]
    assert sheet.cell(low, 2 + heads.index("FY19 Q1")).value == pytest.approx(-churn["upper"], abs=CENT)
    assert sheet.cell(low, 2).value is None, "an actual figure has no range"


def test_a_waterfall_ends_where_the_bridge_ends() -> None:
    bridge = signed(made_up_bridge())
    for _, figures in bridge.groupby("label"):
        bars, floor = steps_of(figures.set_index("line"))
        assert bars.loc["churn", "tip"] == pytest.approx(bars.loc["end", "tip"], abs=CENT)
        drawn = bars[["hidden", "level", "up", "down", "above", "below"]]
        assert (drawn >= 0).all(axis=None)
        changes = bars.drop(["start", "end"])
        top_or_foot = changes["hidden"] + np.where(changes["mean"] > 0, changes["up"], 0.0)
        assert top_or_foot.to_numpy() == pytest.approx(changes["point"].to_numpy(), abs=CENT)
        assert 0 <= floor < bars["foot"].min()


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["real", "made_up"])
def test_names_lead_somewhere_and_are_documented(which: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(which)
    book = values_of(path)
    told = {row[0].value: row[1].value for row in book["Assumptions"].iter_rows() if row[0].value in book.defined_names}
    ours = {name for name in book.defined_names if not name.startswith("_xlnm")}
    assert ours == set(told) and {"clv_next_quarter_mean", "clv_next_quarter_lower", "portfolio_table"} <= ours
    for name in ours:
        value = named(book, name)
        assert value is not None and value != []
        if not isinstance(value, list):
            assert told[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_the_bridge_s_names(made_up: Path, full: Contents) -> None:
    book = values_of(made_up)
    end = full.bridge[(full.bridge["label"] == "FY19 Q2") & (full.bridge["line"] == "end")].iloc[0]
    assert [named(book, f"arr_end_{name}") for name in RANGE] == pytest.approx([end[name] for name in RANGE], abs=CENT)
    start = full.bridge[(full.bridge["label"] == "FY18 Q3") & (full.bridge["line"] == "start")].iloc[0]
    assert named(book, "arr_start") == pytest.approx(start["mean"], abs=CENT)
    year = full.retention_year
    nrr = year[(year["label"] == "FY19 Q2") & (year["measure"] == "nrr")].iloc[0]
    assert named(book, "nrr_q50") == pytest.approx(nrr["q50"])


# --- what it must not do ------------------------------------------------------------------------------------


def test_nothing_from_the_data_runs_or_links(made_up: Path, full: Contents) -> None:
    formulas = openpyxl.load_workbook(made_up)
    hostile = {'=HYPERLINK("http://x","y")', "+1 (555) 1234", "http://example.com", "@SUM(A1)", "=1+1", "=A1"}
    hostile |= {"=cmd|' /C calc'!A0", "=2+3 is a level that was not seen"}
    seen = set()
    for sheet in formulas:
        assert not sheet._hyperlinks
        for row in sheet.iter_rows():
            for cell in row:
                if cell.value in hostile:
                    assert cell.data_type == "s", f"{sheet.title}!{cell.coordinate} runs {cell.value}"
                    seen.add(cell.value)
    assert seen == hostile
    with zipfile.ZipFile(made_up) as parts:
        assert not any("externalLink" in name or "vba" in name.lower() for name in parts.namelist())
        assert not any(b"http://example.com" in parts.read(name) for name in parts.namelist() if name.endswith(".rels"))


def test_the_same_forecast_makes_the_same_bytes(full: Contents, made_up: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # a clock in it would show
    write_contents(full, tmp_path / "again.xlsx")
    assert (tmp_path / "again.xlsx").read_bytes() == made_up.read_bytes()
    properties = openpyxl.load_workbook(made_up).properties
    assert properties.created == properties.modified == datetime(2018, 6, 30)
    assert properties.title == full.title


def test_a_write_that_fails_leaves_the_old_file(
    full: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "forecast.xlsx"
    path.write_bytes(b"the old one")

    def broken(*_: object) -> None:
        raise RuntimeError("the power went")

    monkeypatch.setattr(package.summary, "write_summary", broken)
    with pytest.raises(RuntimeError, match="power"):
        write_contents(full, path)
    assert path.read_bytes() == b"the old one" and [file.name for file in tmp_path.iterdir()] == ["forecast.xlsx"]


def test_a_folder_that_is_not_there_is_named(full: Contents, tmp_path: Path) -> None:
    with pytest.raises(ForecastFileError, match="nowhere.*existing folder"):
        write_contents(full, tmp_path / "nowhere" / "forecast.xlsx")


def test_xlsxwriter_is_imported_only_to_write() -> None:
    code = "import sys, clvforecast as clv; clv.write_workbook; sys.exit('xlsxwriter' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- how it looks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["real", "made_up"])
def test_sheets_are_set_up_for_reading_and_printing(which: str, request: pytest.FixtureRequest) -> None:
    book = openpyxl.load_workbook(request.getfixturevalue(which))
    for sheet in book:
        assert sheet.freeze_panes, sheet.title
        assert sheet.print_area, sheet.title
        assert sheet.page_setup.orientation == "landscape"
        if sheet.title in ("Summary", "Bridge", "Segments", "Scenarios"):
            starts = [row.id for row in sheet.row_breaks.brk]
            assert int(sheet.page_setup.scale) <= 100 and all(sheet.cell(at + 1, 1).value for at in starts)
            assert all(not sheet.cell(at, 1).value for at in starts), "a page begins with a block"
        else:
            assert sheet.sheet_properties.pageSetUpPr.fitToPage and sheet.page_setup.fitToWidth in (None, 1)
        assert "2018-06-30" in sheet.oddHeader.right.text or which == "real"
        assert "&P" in sheet.oddFooter.right.text or "&[Page]" in sheet.oddFooter.right.text
    assert book["Accounts"].freeze_panes == f"B{HEAD_ROW + 1}"
    assert book["Accounts"].print_title_rows == f"${HEAD_ROW}:${HEAD_ROW}"
    assert book["Accounts"].auto_filter.ref.startswith(f"A{HEAD_ROW}:")


@pytest.mark.parametrize(("past", "ahead"), [(4, 4), (4, 9), (4, 20)])
def test_no_page_of_the_bridge_begins_inside_a_block(tmp_path: Path, past: int, ahead: int) -> None:
    """Between breaks there is no more than a page holds, and what is above the ranges is on one, the chart too."""
    write_contents(made_up_contents(5, bridge=made_up_bridge(past=past, ahead=ahead)), tmp_path / "bridge.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "bridge.xlsx")["Bridge"]
    titles = [column(sheet, title) for title in ("Ranges:", "Retention of the", "Retention over")]
    starts = [row.id + 1 for row in sheet.row_breaks.brk]
    assert starts and set(starts) <= set(titles)
    scale = int(sheet.page_setup.scale) / 100
    height = [sheet.row_dimensions[row].height or ROW_HEIGHT for row in range(1, sheet.max_row + 1)]
    heads = sheet.print_title_rows.replace("$", "").split(":")
    repeated = sum(height[int(heads[0]) - 1 : int(heads[1])])
    last = range_boundaries(sheet.print_area.split("!")[1].replace("$", ""))[3]
    for begin, end in zip([1, *starts], [*starts, last + 1], strict=True):
        points = sum(height[begin - 1 : end - 1]) + (repeated if begin > 1 else 0.0)
        assert points * scale <= PAPER_HEIGHT, (begin, end)


def test_a_title_s_figures_are_no_font_sizes(tmp_path: Path) -> None:
    """In headers &9 is a font size, and & begins a mark."""
    write_contents(made_up_contents(5, title="2027 outlook & more\nfor all"), tmp_path / "title.xlsx")
    header = openpyxl.load_workbook(tmp_path / "title.xlsx")["Bridge"].oddHeader.left
    assert header.text == "2027 outlook && more for all" and header.size == 9


def test_many_periods_are_printed_on_several_pages_with_their_lines(tmp_path: Path) -> None:
    write_contents(made_up_contents(5, bridge=made_up_bridge(ahead=40)), tmp_path / "wide.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "wide.xlsx")["Bridge"]
    assert sheet.page_setup.fitToWidth == 2 and sheet.print_title_cols == "$A:$A"


def test_money_has_its_currency_percent_a_percent_sign_and_days_are_days(real: Path) -> None:
    book = openpyxl.load_workbook(real)
    summary, shown = book["Summary"], book["Accounts"]
    row = column(values_of(real)["Summary"], "Next quarter")
    assert "USD" in summary.cell(row, 4).number_format and "#,##0" in summary.cell(row, 4).number_format
    assert isinstance(summary.cell(row, 2).value, datetime) and summary.cell(row, 2).number_format == "yyyy-mm-dd"
    heads = {cell.value: cell.column for cell in shown[HEAD_ROW]}
    assert shown.cell(HEAD_ROW + 1, heads["active in 12 months"]).number_format.startswith("0.0%")
    assert shown.cell(HEAD_ROW + 1, heads["median"]).number_format.startswith("#,##0")


@pytest.mark.parametrize("which", ["real", "made_up"])
def test_a_sheet_whose_formats_leave_out_thousands_says_so(which: str, request: pytest.FixtureRequest) -> None:
    """Formats divide, cells do not: the words name the unit of what is seen, and what a cell holds."""
    book, scaled = values_of(request.getfixturevalue(which)), 0
    for sheet in book:
        formats = {cell.number_format for row in sheet.iter_rows() for cell in row if cell.value is not None}
        if not any(re.search(r"0,+[_ )]|0,+$", how) for how in formats) or sheet.title in ("Assumptions",):
            continue
        told = " ".join(str(row[0].value) for row in sheet.iter_rows(max_row=6))
        assert re.search(r"shown in [A-Z]{3} (thousand|million|billion); cells hold full [A-Z]{3}", told), sheet.title
        scaled += 1
    assert scaled >= 2


def test_sheets_stand_in_the_order_of_questions(made_up: Path, real: Path) -> None:
    every = [
        "Summary",
        "Bridge",
        "Segments",
        "Accounts",
        "Plans",
        "Scenarios",
        "Track record",
        "Assumptions",
        "Data quality",
    ]
    assert openpyxl.load_workbook(made_up).sheetnames == every
    given = openpyxl.load_workbook(real).sheetnames
    assert not {"Plans", "Scenarios", "Track record"} & set(given) and given[0] == "Summary"


def test_what_is_missing_says_how_to_get_it(forecast: clv.Forecast, tmp_path: Path) -> None:
    forecast.save(tmp_path / "forecast.clv")
    write_workbook(clv.load_forecast(tmp_path / "forecast.clv"), tmp_path / "bare.xlsx")
    book = values_of(tmp_path / "bare.xlsx")
    texts = {sheet.title: " ".join(str(cell.value) for row in sheet.iter_rows() for cell in row) for sheet in book}
    assert "load_forecast(path, ledger=ledger)" in texts["Data quality"]
    assert "No history" in texts["Summary"] and "load_forecast(path, ledger=ledger)" in texts["Summary"]


def test_a_forecast_without_a_bridge_has_no_such_sheet(tmp_path: Path) -> None:
    why = "the bridge needs the ledger: clv.load_forecast(path, ledger=ledger)."
    write_contents(made_up_contents(bridge=Missing(why)), tmp_path / "no-bridge.xlsx")
    book = values_of(tmp_path / "no-bridge.xlsx")
    assert "Bridge" not in book.sheetnames
    assert any(why in str(row[0].value) for row in book["Summary"].iter_rows())


def test_plans_and_scenarios_show_what_they_were_given(made_up: Path) -> None:
    book = values_of(made_up)
    plans = table_at(book, "plans_table")
    assert plans["stated probability"].tolist() == [0.8, 0.5]
    assert plans["planned for"][0] == pd.Timestamp("2018-09-30") and pd.isna(plans["planned for"][1])
    assert pd.isna(plans["planned amount"][1])
    sheet = book["Scenarios"]
    row = next(cells[0].row for cells in sheet.iter_rows() if cells[0].value == "price +5%")
    assert sheet.cell(row, 6).value == pytest.approx(sheet.cell(row, 2).value / 21, rel=1e-9), "a twentieth of the base"


def test_planned_probabilities_are_percent_with_their_ends_and_money_is_money(tmp_path: Path) -> None:
    """The columns of `PlanValue.steps`: lower and upper are ends of the probability, not of what the step adds."""
    shares = {"stated": 0.8, "probability": 0.6, "lower": 0.4, "upper": 0.75, "ci_prob": 0.9}
    money = {
        "amount": 5e4,
        "expected_amount": 3e4,
        "added": 2e4,
        "added_lower": -1e3,
        "added_upper": 4e4,
        "clv_added": 1e4,
    }
    steps = pd.DataFrame(
        {
            "account_id": ["A"],
            "step_id": [1],
            "date": ["2018-09-30"],
            "kind": ["expansion"],
            **shares,
            **money,
            "note": [""],
        }
    )
    write_contents(made_up_contents(plans=steps.assign(term_months=12)), tmp_path / "plans.xlsx")
    sheet = values_of(tmp_path / "plans.xlsx")["Plans"]
    head = next(row for row in range(1, sheet.max_row) if sheet.cell(row, 1).value == "account")
    formats = {
        sheet.cell(head, at).value: sheet.cell(head + 1, at).number_format for at in range(1, sheet.max_column + 1)
    }
    percent = {"chance as stated", "chance in the forecast", "in the forecast: low 5%", "in the forecast: high 95%"}
    assert {name for name, how in formats.items() if "%" in how} == percent
    added = {"adds to revenue: mean", "adds: low 5%", "adds: high 95%", "adds to discounted value: mean"}
    assert {formats[name] for name in ("expected amount", *added)} == {formats["planned amount"]}
    words = " ".join(str(row[0].value) for row in sheet.iter_rows())
    assert "planned amount × chance in the forecast" in words and "whether the contract still runs" in words


def test_rejected_rows_of_plans_stand_on_the_sheet_of_data_quality(
    ledger: clv.Ledger, forecast: clv.Forecast, tmp_path: Path
) -> None:
    """With row, column, value, rule and hint; and the plans' warnings."""
    name = forecast.table["account_id"].iloc[0]
    rows = [(name, "expansion", 900.0), (name, "expnsion", 1.0), ("=nobody", "expansion", 1.0)]
    given = pd.DataFrame(rows, columns=["account_id", "kind", "amount"]).assign(planned_date="2024-03-01")
    plans = clv.read_plans(given, ledger)
    write_workbook(forecast, tmp_path / "f.xlsx", plans=plans)
    sheet = values_of(tmp_path / "f.xlsx")["Data quality"]
    told = [[cell.value for cell in row] for row in sheet.iter_rows()]
    assert any(row[0] == "Plans: 3 rows read, 1 accepted, 2 rejected" for row in told)
    said = plans.warnings[0].replace("see plans.rejected", "see the rejected rows above")
    assert any(said in str(row[0]) for row in told) and "plans.rejected" not in str(told)
    assert any(
        "1 step of plans read, " in str(row[0]) and "forecast is made without plans" in str(row[0]) for row in told
    )
    for row in plans.rejected.itertuples():
        assert any({row.rule, row.row, row.column, row.value, row.hint} <= set(cells) for cells in told), row


def test_a_backtest_is_a_track_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forecasts under the true parameters, so that nothing has to be fitted."""
    events, truth = clv.simulate_events(n_accounts=60, seed=21, future_months=24)
    known = clv.read_ledger(pd.concat([events, truth.future]), truth.accounts)
    monkeypatch.setattr(
        import_module("clvforecast.backtest"), "fit", lambda *_, **__: known_posterior(truth, n_draws=40)
    )
    result = clv.backtest(known, [truth.as_of], 12, ["segment"], baselines={}, draws=40, progress=False)
    forecast = clv.forecast(clv.prior(known, ["segment"], draws=10), known, 6, draws=4)
    write_workbook(forecast, tmp_path / "record.xlsx", backtest=result)
    sheet = values_of(tmp_path / "record.xlsx")["Track record"]
    row = next(cells[0].row for cells in sheet.iter_rows() if isinstance(cells[0].value, datetime))
    total = result.totals.query("by == 'portfolio' and method == 'clvforecast'").iloc[0]
    assert sheet.cell(row, 3).value == pytest.approx(total["actual"], abs=CENT)
    assert sheet.cell(row, 9).value == pytest.approx(total["upper_95"], abs=CENT)
    held = result.scores(window_months=12).query("method == 'clvforecast'").set_index("score")["value"]
    shown = {
        cells[1].value: cells[2].value
        for cells in sheet.iter_rows(min_row=row + 3)
        if isinstance(cells[1].value, float)
    }
    assert shown == pytest.approx({0.5: held["coverage_50"], 0.8: held["coverage_80"], 0.95: held["coverage_95"]})


# --- many accounts ------------------------------------------------------------------------------------------


def test_beyond_a_number_accounts_are_one_row(tmp_path: Path) -> None:
    contents = made_up_contents(60)
    write_contents(contents, tmp_path / "few.xlsx", max_accounts=10)
    book = values_of(tmp_path / "few.xlsx")
    shown = table_at(book, "accounts_table")
    assert len(shown) == 11 and shown["account"].iloc[-1] == "50 other accounts"
    assert shown["expected revenue (mean)"].sum() == pytest.approx(contents.whole["mean"].iloc[0], abs=CENT)
    assert shown["high 95%"].isna().iloc[-1], "ranges do not add up"


def test_more_accounts_than_a_sheet_holds_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_sheet, "MOST_ROWS", HEAD_ROW + 40)
    write_contents(made_up_contents(40), tmp_path / "fits.xlsx")
    with pytest.raises(ForecastError, match="41 accounts are more than the 40.*max_accounts"):
        write_contents(made_up_contents(41), tmp_path / "not.xlsx")
    write_contents(made_up_contents(41), tmp_path / "cut.xlsx", max_accounts=39)
    with pytest.raises(ForecastError, match="max_accounts=0"):
        write_contents(made_up_contents(5), tmp_path / "not.xlsx", max_accounts=0)


def test_rows_that_go_to_the_disk_are_the_same_rows(
    made_up: Path, full: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "ROWS_IN_MEMORY", 0)
    write_contents(full, tmp_path / "streamed.xlsx")
    one, other = values_of(made_up), values_of(tmp_path / "streamed.xlsx")
    for sheet in one:
        found = [[cell.value for cell in row] for row in other[sheet.title].iter_rows()]
        assert found == [[cell.value for cell in row] for row in sheet.iter_rows()], sheet.title


@pytest.mark.slow
def test_twenty_thousand_accounts(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    contents = made_up_contents(20_000)
    begun = time.perf_counter()
    write_contents(contents, tmp_path / "many.xlsx")
    record_property("seconds", time.perf_counter() - begun)
    record_property("bytes", (tmp_path / "many.xlsx").stat().st_size)
    assert named(values_of(tmp_path / "many.xlsx"), "clv_whole_window_mean") == pytest.approx(
        contents.whole["mean"].iloc[0]
    )


# --- another program reads it -------------------------------------------------------------------------------

ALWAYS_CALCULATE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Calc/Formula/Load">
<prop oor:name="OOXMLRecalcMode" oor:op="fuse"><value>0</value></prop>
</item>
</oor:items>"""
needs_office = pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice (soffice) is not installed")


def convert(path: Path, to: str, folder: Path) -> Path:
    """By LibreOffice, which works out every formula anew."""
    profile = folder / "profile"
    (profile / "user").mkdir(parents=True, exist_ok=True)
    (profile / "user" / "registrymodifications.xcu").write_text(ALWAYS_CALCULATE)
    command = [
        "soffice",
        f"-env:UserInstallation={profile.as_uri()}",
        "--headless",
        "--convert-to",
        to,
        "--outdir",
        str(folder),
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    made = folder / f"{path.stem}.{to.split(':')[0]}"
    assert made.exists(), done.stdout + done.stderr
    return made


@needs_office
@pytest.mark.parametrize("which", ["real", "made_up"])
def test_libreoffice_calculates_the_same_values(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    path = request.getfixturevalue(which)
    formulas, ours, theirs = openpyxl.load_workbook(path), values_of(path), values_of(convert(path, "xlsx", tmp_path))
    checked = 0
    for sheet in formulas:
        for row in sheet.iter_rows():
            for cell in row:
                if cell.data_type == "f":
                    mine, found = (book[sheet.title][cell.coordinate].value for book in (ours, theirs))
                    expected = pytest.approx(mine, rel=1e-9, abs=CENT) if isinstance(mine, int | float) else mine
                    assert found == expected, f"{sheet.title}!{cell.coordinate} {cell.value}"
                    checked += 1
    assert checked > 100


@needs_office
def test_libreoffice_follows_another_period_of_the_waterfall(made_up: Path, full: Contents, tmp_path: Path) -> None:
    """The yellow cell is an input: with another period in it, the chart's figures are that period's."""
    book = openpyxl.load_workbook(made_up)
    sheet = book["Bridge"]
    sheet[book.defined_names["bridge_period"].attr_text.split("!")[1].replace("$", "")] = "FY20 Q4"
    book.save(tmp_path / "chosen.xlsx")
    (tmp_path / "out").mkdir()
    found = values_of(convert(tmp_path / "chosen.xlsx", "xlsx", tmp_path / "out"))["Bridge"]
    figures = signed(full.bridge[full.bridge["label"] == "FY20 Q4"]).set_index("line")
    bars, floor = steps_of(figures)
    behind = column(found, "Behind the chart")
    assert found.cell(behind + 1, 2).value == pytest.approx(floor, abs=CENT)
    assert str(found.cell(behind + 2, 1).value).startswith("ARR bridge, FY20 Q4")
    shown = [
        [found.cell(behind + 4 + line, 2 + place).value for place in range(len(bars.columns))] for line in range(8)
    ]
    assert np.array(shown, dtype=float) == pytest.approx(bars.to_numpy(), abs=CENT)


@needs_office
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not installed")
@pytest.mark.parametrize("which", ["real", "made_up"])
def test_libreoffice_prints_every_sheet_and_no_cell_is_too_narrow(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A number that does not fit its column is printed as ###."""
    path = request.getfixturevalue(which)
    printed = convert(path, "pdf", tmp_path)
    text = subprocess.run(
        ["pdftotext", "-layout", str(printed), "-"], capture_output=True, text=True, check=True
    ).stdout
    for sheet in openpyxl.load_workbook(path).sheetnames:
        assert re.search(rf"^{sheet} · [A-Z]{{3}} +page", text, re.MULTILINE), f"{sheet} is not printed"
    assert not re.search(r"###|Err:\d|#REF|#NAME|#VALUE|#DIV", text)
