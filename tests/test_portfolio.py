"""A forecast in a company's own periods: they add up, whatever they are, and change nothing of what is simulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clvforecast as clv
from clvforecast import forecast_file
from clvforecast.calendars import FiscalCalendar, as_days
from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast, forecast
from clvforecast.ledger import Ledger, read_ledger
from clvforecast.report.files import write_portfolio
from clvforecast.report.plots import plot_portfolio
from clvforecast.report.portfolio import show_portfolio
from clvforecast.report.terminal import make_console
from clvforecast.sealed import SEAL_BYTES, add_seal
from clvforecast.simulation.calendar import make_grid
from clvforecast.simulation.slots import ORIGINS, UNITS_PER_CURRENCY
from clvforecast.synthetic import Truth, simulate_events
from known_world import known_ledger, known_posterior

DRAWS = 60
HORIZON = 30
RETAIL = FiscalCalendar(2, weeks="4-5-4", rule="nearest", named_after="start")
FISCAL = FiscalCalendar(7)
CALENDARS = [None, FISCAL, RETAIL, FiscalCalendar(10, weeks="4-4-5")]


@pytest.fixture(scope="module")
def company() -> tuple[pd.DataFrame, Truth]:
    """As of 31 December 2023, inside a quarter of weeks."""
    return simulate_events(120, seed=11, left_truncated=0.2, notice_share=0.4, future_months=36)


@pytest.fixture(scope="module")
def ledger(company: tuple[pd.DataFrame, Truth]) -> Ledger:
    return known_ledger(*company)


@pytest.fixture(scope="module")
def make(company: tuple[pd.DataFrame, Truth], ledger: Ledger) -> Callable[..., Forecast]:
    posterior = known_posterior(company[1], n_draws=DRAWS)
    return lambda **options: forecast(posterior, ledger, **{"horizon_months": HORIZON, "draws": DRAWS, **options})


@pytest.fixture(scope="module", params=CALENDARS, ids=str)
def made(request: pytest.FixtureRequest, make: Callable[..., Forecast]) -> Forecast:
    return make(calendar=request.param, gross_margin=0.8, keep_draws=True)


@pytest.fixture(scope="module")
def retail(make: Callable[..., Forecast]) -> Forecast:
    return make(calendar=RETAIL, keep_draws=True)


def units(made: Forecast, freq: str | None, by: str | None = None) -> np.ndarray:
    """Draws (draw, group, period) in whole units: what is simulated is below 2^53 of them."""
    return np.rint(made.portfolio_draws(freq, by).values * UNITS_PER_CURRENCY).astype(np.int64)


# --- sums ---------------------------------------------------------------------------------------------------


def test_months_quarters_and_years_are_the_window_in_every_draw(made: Forecast) -> None:
    for by in (None, "segment", "origin"):
        whole = units(made, None, by)[:, :, 0]
        for freq in ("month", "quarter", "year"):
            assert np.array_equal(units(made, freq, by).sum(axis=2), whole), (freq, by)
    assert np.array_equal(units(made, None).ravel(), made.totals.groups.sum(axis=(1, 2)))


def test_segments_and_origins_are_the_portfolio_in_every_draw(made: Forecast) -> None:
    for freq in ("month", "quarter", "year", None):
        whole = units(made, freq)[:, 0]
        for by in ("segment", "origin"):
            assert np.array_equal(units(made, freq, by).sum(axis=1), whole), (freq, by)


def test_quarters_are_sums_of_their_months(made: Forecast) -> None:
    months, quarters = made.portfolio("month"), made.portfolio("quarter")
    ends = np.searchsorted(quarters["period"], months["period"])
    for d in (0, 17):
        summed = np.bincount(ends, made.portfolio_draws("month").values[d, 0])
        np.testing.assert_allclose(summed, made.portfolio_draws("quarter").values[d, 0], rtol=1e-12)


def test_discounted_months_are_the_accounts_discounted_values(made: Forecast) -> None:
    """With the margin; in every draw, and so in the means."""
    for freq in ("month", "quarter", "year", None):
        for by in (None, "segment", "origin"):
            draws = made.portfolio_draws(freq, by, discounted=True)
            np.testing.assert_allclose(draws.sum(["group", "period"]), made.draws["clv"].sum("account"), rtol=1e-11)
        table = made.portfolio(freq, discounted=True)
        assert table["mean"].sum() == pytest.approx(made.table["discounted_mean"].sum(), rel=1e-12)
    monthly = made.portfolio("month")["mean"] * 0.8 * made.grid.discount
    assert made.portfolio("month", discounted=True)["mean"].to_numpy() == pytest.approx(monthly.to_numpy(), rel=1e-12)


def test_the_simulation_does_not_know_the_calendar(make: Callable[..., Forecast]) -> None:
    """The same revenue to the unit; discounted to within what `make_grid` says, and by a fiscal year of months to the bit."""
    for timing, account_within in (("recognised", 1e-3), ("booked", 1e-2)):
        plain = make(timing=timing, keep_draws=True)
        for calendar in CALENDARS[1:]:
            other = make(timing=timing, keep_draws=True, calendar=calendar)
            assert np.array_equal(other.draws["revenue"], plain.draws["revenue"])
            assert np.array_equal(units(other, None, "segment"), units(plain, None, "segment"))
            mine, theirs = other.table["discounted_mean"], plain.table["discounted_mean"]
            if calendar.weeks is None:
                assert np.array_equal(other.totals.groups, plain.totals.groups) and mine.equals(theirs)
                continue
            assert mine.sum() == pytest.approx(theirs.sum(), rel=1e-4) and not mine.equals(theirs)
            some = theirs > 1.0
            assert (mine[some] / theirs[some] - 1.0).abs().max() < account_within


# --- periods ------------------------------------------------------------------------------------------------


def test_the_grid_is_the_calendar_s_months_inside_the_window() -> None:
    as_of = pd.Timestamp("2023-12-31").date()
    grid = make_grid(as_of, 3, 0.1, RETAIL)
    days = [str(day) for day in as_days(grid.bounds).astype("datetime64[D]")]
    assert days == ["2024-01-01", "2024-02-04", "2024-03-03", "2024-04-01"]
    assert np.bincount(grid.month_of).tolist() == [34, 28, 29]
    assert grid.discount[1] == pytest.approx(1.1 ** (-(34 + 14) / 365.25), rel=1e-14)
    assert grid.cumulative[-1] == pytest.approx(float((np.diff(grid.bounds) * grid.discount).sum()), rel=1e-14)
    plain, fiscal = make_grid(as_of, 40, 0.1), make_grid(as_of, 40, 0.1, FISCAL)
    assert all(np.array_equal(a, b) for a, b in zip(plain, fiscal, strict=True))
    assert len(make_grid(as_of, 600, 0.1, RETAIL).bounds) == 602


def test_quarters_of_weeks_by_hand(retail: Forecast) -> None:
    """NRF: fiscal 2023 ends on 3 February 2024, 2024 on 1 February 2025, 2025 on 31 January 2026, all on Saturdays."""
    table = retail.portfolio()
    assert list(table.columns[:5]) == ["label", "period_start", "period", "days", "partial"]
    between = [f"FY{year} Q{quarter}" for year in (24, 25) for quarter in (1, 2, 3, 4)]
    assert table["label"].tolist() == ["FY23 Q4", *between, "FY26 Q1", "FY26 Q2"]
    shown = table["period_start"].dt.strftime("%Y-%m-%d") + " to " + table["period"].dt.strftime("%Y-%m-%d")
    assert shown.iloc[:3].tolist() == [
        "2024-01-01 to 2024-02-03",
        "2024-02-04 to 2024-05-04",
        "2024-05-05 to 2024-08-03",
    ]
    assert shown.iloc[-1] == "2026-05-03 to 2026-08-01"
    assert table["days"].tolist() == [34, *[91] * 8, 91, 59]
    assert table["partial"].tolist() == [True, *[False] * 9, True]
    years = retail.portfolio("year")
    assert years["label"].tolist() == ["FY23", "FY24", "FY25", "FY26"]
    assert years["days"].tolist() == [34, 364, 364, 150]
    assert years["partial"].tolist() == [True, False, False, True]


def test_quarters_of_a_fiscal_year_of_months(make: Callable[..., Forecast]) -> None:
    made = make(calendar=FISCAL)
    assert made.calendar == FISCAL and make().calendar == FiscalCalendar()
    table = made.portfolio("quarter", "segment")
    assert list(table.columns[:2]) == ["segment", "label"]
    assert table["label"].tolist()[:4] == ["FY24 Q3", "FY24 Q4", "FY25 Q1", "FY25 Q2"]
    assert not table["partial"].any()
    assert made.portfolio("year")["label"].tolist() == ["FY24", "FY25", "FY26"]
    assert made.portfolio("YE-JUN").equals(made.portfolio("year"))
    assert made.portfolio("YE")["label"].tolist() == ["2024-12-31", "2025-12-31", "2026-12-31"]
    assert made.portfolio(None)["label"].tolist() == ["30 months"]
    assert not made.portfolio(None)["partial"].any()


def test_without_a_calendar_periods_are_pandas(make: Callable[..., Forecast]) -> None:
    made = make()
    for freq, alias in (("month", "ME"), ("quarter", "QE"), ("year", "YE")):
        pd.testing.assert_frame_equal(made.portfolio(freq), made.portfolio(alias))
        periods = pd.date_range(made.as_of, made.portfolio(alias)["period"].max(), freq=alias)[1:]
        assert made.portfolio(alias)["period"].tolist() == periods.tolist()
    draws = made.portfolio_draws("year")
    assert draws["label"].values.tolist() == ["FY24", "FY25", "FY26"]
    assert draws["period"].values.astype("datetime64[D]").astype(str).tolist()[-1] == "2026-12-31"


def test_calendar_months_of_weeks_are_refused_with_what_to_ask(retail: Forecast) -> None:
    for ask in (retail.portfolio, retail.portfolio_draws, lambda freq: plot_portfolio(retail, freq=freq)):
        with pytest.raises(ForecastError, match="4-5-4 calendar do not. Ask for its own periods"):
            ask("QE")


def test_a_calendar_is_a_calendar(make: Callable[..., Forecast]) -> None:
    with pytest.raises(ForecastError, match="calendar='4-4-5'"):
        make(calendar="4-4-5")


# --- the summary --------------------------------------------------------------------------------------------


def test_the_summary_of_all_is_the_window(made: Forecast) -> None:
    (row,) = made.summary(ci_prob=0.8, ci_kind="hdi").to_dict("records")
    window = made.portfolio(None, ci_prob=0.8, ci_kind="hdi").iloc[0]
    shared = ["mean", "sd", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "lower", "upper", "ci_prob", "ci_kind"]
    assert {name: row[name] for name in shared} == window[shared].to_dict()
    value = made.portfolio(None, ci_prob=0.8, ci_kind="hdi", discounted=True).iloc[0]
    for name in ("mean", "q05", "q50", "q95", "lower", "upper"):
        assert row[f"discounted_{name}"] == value[name]
    assert row["accounts"] == len(made.table)
    assert row["booked_to_date"] == pytest.approx(made.table["booked_to_date"].sum(), abs=0.001)
    assert row["beyond_horizon"] == pytest.approx(made.table["beyond_horizon"].sum(), rel=1e-12)
    assert row["beyond_share"] == pytest.approx(
        row["beyond_horizon"] / (row["beyond_horizon"] + made.table["discounted_mean"].sum()), rel=1e-9
    )


def test_the_summary_by_segment_is_that_of_its_accounts(made: Forecast) -> None:
    table = made.summary("segment").set_index("segment")
    own = made.table.groupby("segment")
    assert table["accounts"].to_dict() == own.size().to_dict()
    for name in ("clv_to_date", "booked_to_date", "mean", "discounted_mean", "beyond_horizon"):
        assert table[name].to_numpy() == pytest.approx(own[name].sum().loc[table.index].to_numpy(), rel=1e-9), name
    for segment, accounts in own:
        draws = made.draws["revenue"].values[accounts.index].sum(axis=0)
        assert table.loc[segment, "q95"] == pytest.approx(np.quantile(draws, 0.95), rel=1e-12)
        value = made.draws["clv"].values[accounts.index].sum(axis=0)
        assert table.loc[segment, "discounted_lower"] == pytest.approx(np.quantile(value, 0.05), rel=1e-10)
        top = accounts.nlargest(10, "mean")
        assert table.loc[segment, "top10_share"] == pytest.approx(top["mean"].sum() / accounts["mean"].sum(), rel=1e-9)
        assert table.loc[segment, "top10_accounts"].split("; ") == top["account_id"].tolist()
    assert table["discounted_q95"].sum() > made.summary()["discounted_q95"].item()


def test_a_group_of_ten_or_fewer_is_all_concentration(ledger: Ledger, company: tuple[pd.DataFrame, Truth]) -> None:
    events, truth = company
    some = truth.accounts["account_id"].iloc[:7]
    few = read_ledger(events[events["account_id"].isin(some)], accounts=truth.accounts, as_of=truth.as_of)
    made = forecast(known_posterior(truth, n_draws=20), few, horizon_months=6, draws=20, annual_discount_rate=0.0)
    (row,) = made.summary().to_dict("records")
    assert row["top10_share"] == pytest.approx(1.0) and len(row["top10_accounts"].split("; ")) == row["accounts"] == 7
    assert np.isnan(row["beyond_horizon"]) and np.isnan(row["beyond_share"])


def test_an_empty_level_is_a_group_of_its_own(make: Callable[..., Forecast]) -> None:
    made = make()
    first = made.groups["segment"].iloc[0]
    changed = replace(
        made,
        groups=made.groups.assign(segment=made.groups["segment"].where(made.groups["segment"] != first, None)),
        table=made.table.assign(segment=made.table["segment"].where(made.table["segment"] != first, None)),
    )
    table, was = changed.summary("segment"), made.summary("segment")
    assert pd.isna(table["segment"].iloc[-1])
    pd.testing.assert_series_equal(table.iloc[-1, 1:], was.iloc[0, 1:], check_names=False)
    assert changed.portfolio(None, "segment")["mean"].iloc[-1] == was["mean"].iloc[0]


def test_wrong_questions_of_a_summary_say_what_to_do(retail: Forecast) -> None:
    with pytest.raises(ForecastError, match=r"portfolio\(freq=None, by='origin'\)"):
        retail.summary("origin")
    with pytest.raises(ForecastError, match="group_by"):
        retail.summary("region")
    with pytest.raises(ForecastError, match="ci_prob=2"):
        retail.summary(ci_prob=2)


@pytest.mark.parametrize("name", ["label", "mean"])
def test_a_column_that_the_tables_have_already_is_refused(make: Callable[..., Forecast], name: str) -> None:
    made = make()
    named = replace(made, groups=made.groups.rename(columns={"segment": name}))
    with pytest.raises(ForecastError, match=f"by='{name}'.*another name"):
        named.portfolio("year", name)


# --- files, pictures and what happened ------------------------------------------------------------------------


@pytest.mark.parametrize("calendar", CALENDARS, ids=str)
def test_a_saved_forecast_keeps_its_calendar(
    make: Callable[..., Forecast], tmp_path: Path, calendar: FiscalCalendar | None
) -> None:
    made = make(calendar=calendar)
    made.save(tmp_path / "forecast.clv")
    loaded = clv.load_forecast(tmp_path / "forecast.clv")
    assert loaded.settings == made.settings and loaded.settings.calendar == calendar
    assert forecast_file.checksum(loaded) == forecast_file.checksum(made)
    for freq in ("month", "quarter", "year", None):
        for discounted in (False, True):
            a, b = (each.portfolio(freq, "segment", discounted=discounted) for each in (made, loaded))
            pd.testing.assert_frame_equal(a, b, check_exact=True)
    pd.testing.assert_frame_equal(loaded.summary("segment"), made.summary("segment"), check_exact=True)


@pytest.mark.parametrize(
    ("there", "instead", "match"),
    [
        (b'"named_after": "start"', b'"named_after":   "end"', "its content was changed"),
        (b'"start_month": 2', b'"start_month": 3', "must be of 93"),
        (b'"start_month": 2', b'"start_month": 0', "start_month=0"),
        (b'"weeks": "4-5-4"', b'"weeks": "9-9-9"', "calendar.weeks"),
        (b'"weeks": "4-5-4"', b'"works": "4-5-4"', "calendar.works"),
    ],
)
def test_a_calendar_changed_in_the_file_is_refused(
    retail: Forecast, tmp_path: Path, there: bytes, instead: bytes, match: str
) -> None:
    path = tmp_path / "forecast.clv"
    replace(retail, kept=None).save(path)
    content = path.read_bytes()[:-SEAL_BYTES]
    assert content.count(there) == 1
    path.write_bytes(content.replace(there, instead))
    add_seal(path, forecast_file.KIND)
    with pytest.raises(clv.ForecastFileError, match=match):
        clv.load_forecast(path)


def test_what_happened_is_counted_in_the_same_periods(
    made: Forecast, ledger: Ledger, company: tuple[pd.DataFrame, Truth]
) -> None:
    events, truth = company
    later = read_ledger(pd.concat([events, truth.future]), truth.accounts)
    whole = clv.actual_portfolio(made, later, None)["revenue"].item()
    for freq in ("month", "quarter", "year"):
        happened = clv.actual_portfolio(made, later, freq)
        assert happened["revenue"].sum() == pytest.approx(whole, abs=0.01)
        shared = ["label", "period_start", "period", "days", "partial"]
        pd.testing.assert_frame_equal(happened[shared], made.portfolio(freq)[shared])
    assert list(clv.actual_portfolio(made, later).columns[:2]) == ["label", "period_start"]


def test_the_fan_stands_on_what_the_running_quarter_has(retail: Forecast, ledger: Ledger) -> None:
    """As of 31 December 2023 FY23 Q4, from 29 October on, has nine of its fourteen weeks."""
    axes = plot_portfolio(retail)
    bars = {bars.get_label(): list(bars) for bars in axes.containers}
    (so_far,) = bars["recognised so far"]
    assert so_far.get_x() == pytest.approx(pd.Timestamp("2023-10-29").toordinal() - pd.Timestamp(0).toordinal())
    (median,) = (line.get_ydata() for line in axes.lines if line.get_label() == "median")
    table = retail.portfolio()
    assert median[0] == pytest.approx(so_far.get_height() + table["q50"].iloc[0])
    assert median[1:] == pytest.approx(table["q50"].iloc[1:-1].to_numpy())
    assert "quarter" in axes.get_ylabel() and "cut quarter is left out" in axes.get_title(loc="left")
    for freq in ("month", "year"):
        assert freq in plot_portfolio(retail, freq=freq).get_ylabel()


def test_tables_of_files_and_terminals_name_their_periods(
    retail: Forecast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_portfolio(retail, tmp_path / "portfolio.csv", "year", "segment")
    written = pd.read_csv(tmp_path / "portfolio.csv")
    assert list(written.columns[:6]) == ["as_of", "currency", "timing", "by", "segment", "label"]
    assert written["label"].tolist() == ["FY23", "FY24", "FY25", "FY26"] * (1 + written["segment"].nunique())
    whole = written[written["by"] == "portfolio"]
    assert whole["segment"].isna().all() and set(written["timing"]) == {"recognised"}
    assert whole["q95"].to_numpy() == pytest.approx(retail.portfolio("year")["q95"].to_numpy(), abs=0.005)
    groups = written[written["by"] == "segment"]
    assert groups.groupby("label")["mean"].sum().tolist() == pytest.approx(whole["mean"].tolist(), abs=0.05)
    write_portfolio(retail, tmp_path / "portfolio.csv", "year")
    assert pd.read_csv(tmp_path / "portfolio.csv").equals(whole.drop(columns="segment").reset_index(drop=True))
    show_portfolio(make_console(), retail, "year")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [" ".join(line.split()[:2]) for line in lines[2:6]] == [
        "FY23* 2024-02-03",
        "FY24 2025-02-01",
        "FY25 2026-01-31",
        "FY26* 2026-06-30",
    ]
    assert lines[6].startswith("30 months 2026-06-30")


def test_every_origin_is_there(retail: Forecast) -> None:
    assert retail.portfolio("year", "origin")["origin"].unique().tolist() == list(ORIGINS)
