"""What is drawn is what the tables say: heights of bars, ends of whiskers, labels; and it can be read."""

from __future__ import annotations

import dataclasses

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.dates import date2num
from matplotlib.figure import Figure

import clvforecast as clv
from clvforecast.metrics.recurring import arr_by_account
from clvforecast.plans.tables import Record
from clvforecast.report.bridge_plot import WORDS as BRIDGE_WORDS
from clvforecast.report.customer_plots import MOST_STEPS

DRAWS = 40


@pytest.fixture(scope="module")
def company() -> tuple[clv.Ledger, clv.Posterior]:
    """A synthetic company and, for a posterior, its prior."""
    events, truth = clv.simulate_events(n_accounts=80, seed=5)
    ledger = clv.read_ledger(events, truth.accounts, as_of=truth.as_of)
    return ledger, clv.prior(ledger, ["segment"], draws=50)


@pytest.fixture(scope="module")
def made(company) -> clv.Forecast:
    """From the end of a quarter, 31 December 2023."""
    ledger, posterior = company
    return clv.forecast(posterior, ledger, 24, draws=DRAWS, bridge=True)


@pytest.fixture(scope="module")
def midway(company) -> clv.Forecast:
    """From the middle of a quarter, so that a period is running and the last one is cut."""
    ledger, posterior = company
    return clv.forecast(posterior, ledger.at("2023-11-20"), 24, draws=DRAWS, bridge=True)


@pytest.fixture(scope="module")
def comparison(company) -> clv.Comparison:
    ledger, posterior = company
    worse = clv.Scenario("Renewals fall five points", clv.Assume(renewal_points=-0.05))
    dearer = clv.Scenario("Prices 3% up", clv.Assume(price_uplift=0.03))
    return clv.compare(posterior, ledger, [worse, dearer], horizon_months=18, draws=DRAWS)


@pytest.fixture(scope="module")
def planned(company, made: clv.Forecast) -> clv.PlanValue:
    """More steps than are shown, half of them without a stated probability."""
    ledger, posterior = company
    largest = made.accounts().sort_values("mean")["account_id"].tail(MOST_STEPS + 2)
    steps = pd.DataFrame(
        {
            "account_id": largest,
            "planned_date": "2024-03-01",
            "kind": "expansion",
            "amount": 1000.0 * np.arange(1, len(largest) + 1),
            "probability": [0.7, np.nan] * (len(largest) // 2),
        }
    )
    return clv.plan_value(posterior, ledger, clv.read_plans(steps, ledger), horizon_months=12, draws=DRAWS)


@pytest.fixture(scope="module")
def reliability() -> clv.PlanReliability:
    """The prior beside a record: of 40 steps at 50% 10 came, of 20 at 90% all, and of 8 without a probability 4."""
    prior = clv.PlanReliability.prior(draws=50)
    kinds = np.zeros((3, 1), dtype=np.int64)
    record = Record(kinds, np.array([50, 90, -1]), np.array([40.0, 20.0, 8.0]), np.array([10.0, 20.0, 4.0]))
    return dataclasses.replace(prior, record=record)


@pytest.fixture(scope="module")
def won(company) -> clv.Prospects:
    _, posterior = company
    level = {"segment": str(posterior.frame.levels["segment"][0])}
    return clv.prospects(posterior, 500.0, 12, level, n=10, acquisition_cost=4000.0, draws=30, horizon_months=30)


def labelled(axes: Axes, label: str) -> list:
    """Bars, bands and lines of that label, in the order in which they were drawn."""
    artists = [*axes.containers, *axes.collections, *axes.lines]
    return [artist for artist in artists if artist.get_label() == label]


def ydata(axes: Axes, label: str) -> np.ndarray:
    (line,) = labelled(axes, label)
    return np.asarray(line.get_ydata(), dtype=np.float64)


def reach(band) -> tuple[float, float]:
    """Lowest and highest point of a band."""
    points = band.get_paths()[0].vertices[:, 1]
    return float(points.min()), float(points.max())


def whiskers(container: ErrorbarContainer) -> tuple[float, float]:
    (lines,) = container[2]
    low, high = sorted(lines.get_segments()[0][:, 1])
    return float(low), float(high)


# --- bridge -------------------------------------------------------------------------------------------------


def drawn_bridge(axes: Axes) -> dict[str, tuple[float, float]]:
    """Line -> (foot, top) of its bar."""
    bars = [one for one in axes.containers if isinstance(one, BarContainer)]
    return {str(one.get_label()): (one[0].get_y(), one[0].get_y() + one[0].get_height()) for one in bars}


@pytest.mark.parametrize("freq", ["month", "quarter", "year"])
def test_the_waterfall_goes_from_start_to_end(made: clv.Forecast, freq: str) -> None:
    axes = clv.plot_bridge(made, freq=freq)
    table = made.bridge(freq, history=0)
    rows = table[table["label"] == table["label"].iloc[0]].set_index("line")
    bars = drawn_bridge(axes)
    foot = rows.loc["start", "mean"]
    assert bars["start"] == pytest.approx((0.0, foot)) and bars["end"] == pytest.approx((0.0, rows.loc["end", "mean"]))
    for line in list(bars)[1:-1]:
        sign = -1.0 if line in ("contraction", "churn") else 1.0
        assert bars[line] == pytest.approx((foot, foot + sign * rows.loc[line, "mean"])), line
        foot = bars[line][1]
    assert foot == pytest.approx(bars["end"][1])
    left_out = rows.index.difference(list(bars))
    assert (rows.loc[left_out, "upper"] == 0.0).all()


def test_whiskers_are_the_90_percent_range_from_where_the_move_begins(made: clv.Forecast) -> None:
    axes = clv.plot_bridge(made)
    rows = made.bridge("quarter", history=0).iloc[:8].set_index("line")
    found = [one for one in axes.containers if isinstance(one, ErrorbarContainer)]
    bars = {
        line: ends for line, ends in drawn_bridge(axes).items() if rows.loc[line, "upper"] > rows.loc[line, "lower"]
    }
    assert len(found) == len(bars) > 0
    for (line, (foot, top)), container in zip(bars.items(), found, strict=True):
        sign = -1.0 if line in ("contraction", "churn") else 1.0
        low, high = sorted(foot + sign * rows.loc[line, end] for end in ("lower", "upper"))
        assert whiskers(container) == pytest.approx((min(low, top), max(high, top))), line


def test_the_bridge_s_labels_say_what_and_how_much(made: clv.Forecast) -> None:
    axes = clv.plot_bridge(made, freq="year")
    labels = [text.get_text() for text in axes.get_xticklabels()]
    names = [BRIDGE_WORDS.get(line, line) for line in drawn_bridge(axes)]
    assert [label.rsplit("\n", 1)[0] for label in labels] == names
    assert labels[-2].rsplit("\n", 1)[1].startswith("−") and not labels[-1].rsplit("\n", 1)[1].startswith("−")
    assert "ARR" in axes.get_ylabel() and "USD" in axes.get_ylabel()
    assert "FY24" in axes.get_title(loc="left") and "90% ranges" in axes.get_title(loc="left")


def test_a_bridge_of_the_past_has_no_whiskers_and_of_a_running_period_says_so(midway: clv.Forecast) -> None:
    past = clv.plot_bridge(midway, "FY23 Q2")
    assert not [one for one in past.containers if isinstance(one, ErrorbarContainer)]
    assert "as it was" in past.get_title(loc="left")
    running = clv.plot_bridge(midway, "FY23 Q4")
    assert "part of it known" in running.get_title(loc="left")
    assert "FY24 Q1" in clv.plot_bridge(midway).get_title(loc="left"), "the first whole period of the forecast"
    with pytest.raises(clv.ForecastError, match=r"no such period. It has FY.* to FY25 Q4"):
        clv.plot_bridge(midway, "FY77 Q1")


def test_an_axis_that_does_not_begin_at_0_says_so(made: clv.Forecast) -> None:
    months = clv.plot_bridge(made, freq="month")
    years = clv.plot_bridge(made, freq="year")
    for axes in (months, years):
        assert (axes.get_ylim()[0] > 0.0) == ("begins above 0" in axes.get_ylabel())


def test_bridges_need_a_forecast_that_followed_arr(company) -> None:
    ledger, posterior = company
    without = clv.forecast(posterior, ledger, 12, draws=4)
    for plot in (clv.plot_bridge, clv.plot_arr, clv.plot_retention):
        with pytest.raises(clv.ForecastError, match="bridge=True"):
            plot(without)


# --- ARR and retention --------------------------------------------------------------------------------------


@pytest.mark.parametrize("freq", ["month", "quarter", "year"])
def test_arr_is_the_bridge_s_ends(made: clv.Forecast, freq: str) -> None:
    axes = clv.plot_arr(made, freq, history=5)
    table = made.bridge(freq, ci_prob=0.95, history=5)
    ends = table[table["line"] == "end"]
    past, ahead = (ends[(ends["basis"] == "actual") == known] for known in (True, False))
    assert ydata(axes, "as it was") == pytest.approx(past["mean"].to_numpy())
    today = past["mean"].iloc[-1]
    assert ydata(axes, "median") == pytest.approx(np.append(today, ahead["q50"]))
    (band,) = labelled(axes, "95% range")
    assert reach(band) == pytest.approx((min(today, ahead["lower"].min()), max(today, ahead["upper"].max())))
    assert axes.get_ylim()[0] == 0.0 and "USD" in axes.get_ylabel()


def test_the_fan_begins_at_the_arr_of_as_of_also_within_a_month(midway: clv.Forecast) -> None:
    axes = clv.plot_arr(midway)
    day = np.array([(midway.as_of - pd.Timestamp(0).date()).days])
    today = arr_by_account(midway.history, day, "in_force").sum() / 100
    assert ydata(axes, "as it was")[-1] == ydata(axes, "median")[0] == pytest.approx(today)
    (line,) = labelled(axes, "median")
    assert line.get_xdata()[0] == date2num(pd.Timestamp("2023-11-21"))
    assert line.get_xdata()[-1] == date2num(pd.Timestamp("2025-11-21")), (
        "a month that is cut stands at the window's end"
    )
    without = clv.plot_arr(dataclasses.replace(midway, ledger=None), history=0)
    assert labelled(without, "as it was") == []


def test_retention_is_the_table(midway: clv.Forecast) -> None:
    axes = clv.plot_retention(midway, ["nrr", "logo_churn"], history=3)
    table = midway.retention("quarter", trailing_year=True, history=3)
    for measure, name in (("nrr", "NRR"), ("logo_churn", "logo churn")):
        rows = table[(table["measure"] == measure) & table["mean"].notna()]
        known = rows["basis"] == "actual"
        assert ydata(axes, name) == pytest.approx(rows.loc[known, "mean"].to_numpy())
        joined = np.append(rows.loc[known, "mean"].iloc[-1], rows.loc[~known, "q50"])
        assert ydata(axes, f"{name}, median") == pytest.approx(joined)
        (band,) = labelled(axes, f"{name}, 90% range")
        low, high = rows.loc[~known, ["lower", "upper"]].min()["lower"], rows.loc[~known, "upper"].max()
        assert reach(band) == pytest.approx((min(low, joined[0]), max(high, joined[0])))
    assert axes.get_ylim()[0] >= 0.0
    with pytest.raises(clv.ForecastError, match="choose among 'nrr'"):
        clv.plot_retention(midway, ["churn"])


# --- segments and scenarios ---------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["segment", "origin"])
def test_segments_are_ordered_and_their_ranges_are_the_table_s(made: clv.Forecast, by: str) -> None:
    axes = clv.plot_segments(made, by)
    table = made.portfolio(None, by).sort_values("q50", ascending=False, kind="stable")
    (medians,) = labelled(axes, "median")
    assert np.asarray(medians.get_xdata()) == pytest.approx(table["q50"].to_numpy())
    (ranges,) = labelled(axes, "90% range")
    drawn = [tuple(segment[:, 0]) for segment in ranges.get_segments()]
    assert np.array(drawn) == pytest.approx(table[["lower", "upper"]].to_numpy())
    counts = made.table["segment"].value_counts()
    expected = [f"{level} ({counts[level]})" if by == "segment" else level.replace("_", " ") for level in table[by]]
    assert [text.get_text() for text in axes.get_yticklabels()] == expected


def test_segments_need_no_name_where_there_is_one_column(made: clv.Forecast) -> None:
    own = [text.get_text() for text in clv.plot_segments(made).get_yticklabels()]
    assert own == [text.get_text() for text in clv.plot_segments(made, "segment").get_yticklabels()]
    two = dataclasses.replace(made, groups=made.groups.assign(region="EMEA"))
    with pytest.raises(
        clv.ForecastError, match=r"by which column\? Give one or more of 'segment', 'region', or by=\"origin\""
    ):
        clv.plot_segments(two)
    with pytest.raises(clv.ForecastError, match=r"there are no group columns; by=\"origin\""):
        clv.plot_segments(dataclasses.replace(made, groups=made.groups[[]]))


def test_scenarios_over_the_window_and_over_time(comparison: clv.Comparison) -> None:
    axes = comparison.plot()
    table = comparison.difference(None)
    (medians,) = labelled(axes, "median")
    assert np.asarray(medians.get_xdata()) == pytest.approx(table["q50"].to_numpy())
    assert "Renewals fall five" in axes.get_yticklabels()[0].get_text()
    over_time = comparison.plot(freq="quarter")
    table = comparison.difference("quarter")
    for name in ("Renewals fall five\npoints", "Prices 3% up"):
        rows = table[(table["scenario"] == name.replace("\n", " ")) & ~table["partial"]]
        assert ydata(over_time, name) == pytest.approx(rows["q50"].to_numpy())
    assert any(np.allclose(line.get_ydata(), 0.0) for line in over_time.lines), "the zero line"


# --- plans and prospects ------------------------------------------------------------------------------------


def test_a_plan_s_bars_are_what_its_steps_carry(planned: clv.PlanValue) -> None:
    axes = planned.plot()
    steps = planned.steps()
    shown = steps.loc[steps["added"].abs().sort_values(ascending=False, kind="stable").index].head(MOST_STEPS)
    (bars,) = labelled(axes, "mean")
    assert [bar.get_width() for bar in bars] == pytest.approx(shown["added"].tolist())
    (ranges,) = labelled(axes, "90% range")
    drawn = [tuple(segment[:, 0]) for segment in ranges.get_segments()]
    assert np.array(drawn) == pytest.approx(shown[["added_lower", "added_upper"]].to_numpy())
    labels = [text.get_text() for text in axes.get_yticklabels()]
    for label, step in zip(labels, shown.to_dict("records"), strict=True):
        assert step["account_id"] in label and f"{step['probability']:.0%}" in label
        assert ("70% →" in label) == (step["stated"] == 0.7)
    assert f"{len(steps)} steps add" in axes.get_title(loc="left") and f"the {MOST_STEPS} that" in axes.get_title(
        "left"
    )


def test_reliability_is_the_calibration_table(reliability: clv.PlanReliability) -> None:
    axes = reliability.plot()
    table = reliability.calibration()
    table = table[table["steps"] > 0]
    (points,) = [one for one in axes.containers if isinstance(one, ErrorbarContainer)]
    assert np.asarray(points[0].get_ydata()) == pytest.approx([0.25, 1.0, 0.5])
    assert np.asarray(points[0].get_xdata())[:2] == pytest.approx([0.5, 0.9])
    ends = [tuple(segment[:, 1]) for segment in points[2][0].get_segments()]
    assert np.array(ends) == pytest.approx(table[["realised_lower", "realised_upper"]].to_numpy())
    assert ydata(axes, "learned") == pytest.approx(table["learned"].to_numpy()[:2])
    assert [text.get_text() for text in axes.texts] == ["40", "20", "8"]
    assert axes.get_xticklabels()[-1].get_text() == "not\nstated"
    with pytest.raises(clv.PlanError, match="no history"):
        clv.PlanReliability.prior(draws=20).plot()


def test_payback_is_the_share_of_draws_that_have_paid_back(won: clv.Prospects) -> None:
    axes = clv.plot_payback(won)
    paid = won.payback().set_index(["of", "discounted"])
    lines = {str(line.get_label()).split("\n")[0]: np.asarray(line.get_ydata()) for line in axes.lines}
    names = {("customer", False): "one customer", ("cohort", True): "cohort of 10, discounted"}
    for key, name in names.items():
        for month in (6, 12, 24):
            assert lines[name][month] == pytest.approx(paid.loc[key, f"p_within_{month}m"])
        assert lines[name][-1] == pytest.approx(paid.loc[key, "p_paid_back"])
    free = clv.plot_payback(won, acquisition_cost=0.0)
    assert np.asarray(free.lines[0].get_ydata())[0] == 1.0, "nothing is paid back at once"
    without = dataclasses.replace(won, acquisition_cost=None)
    with pytest.raises(clv.ForecastError, match="acquisition_cost is missing"):
        clv.plot_payback(without)


@pytest.mark.parametrize(
    ("show", "prefix", "freq"),
    [("cumulative", "cumulative_", "ME"), ("customers", "customers_", "ME"), ("revenue", "", "QE")],
)
def test_the_cohort_is_its_table(won: clv.Prospects, show: str, prefix: str, freq: str) -> None:
    axes = clv.plot_cohort(won, show=show)
    table = won.cohort(freq, ci_prob=0.95)
    table = table[~table["partial"]] if show == "revenue" else table
    assert ydata(axes, "median") == pytest.approx(table[f"{prefix}q50"].to_numpy())
    (band,) = labelled(axes, "95% range")
    assert reach(band) == pytest.approx((table[f"{prefix}lower"].min(), table[f"{prefix}upper"].max()))
    with pytest.raises(clv.ForecastError, match="show='profit'"):
        clv.plot_cohort(won, show="profit")


@pytest.mark.parametrize("discounted", [False, True])
def test_the_cohort_s_title_tells_both_chances_as_the_tables_do(won: clv.Prospects, discounted: bool) -> None:
    title = clv.plot_cohort(won, discounted=discounted).get_title(loc="left")
    reached = won.payback().set_index(["of", "discounted"]).loc[("cohort", discounted), "p_paid_back"]
    at_end = won.cohort("ME", discounted=discounted)["p_paid_back"].iloc[-1]
    assert f"at some time within 30 months: {reached:.0%}; above cost at their end: {at_end:.0%}" in title


# --- all of them --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(midway, comparison, planned, reliability, won) -> dict:
    return {
        "bridge": lambda ax: clv.plot_bridge(midway, freq="year", ax=ax),
        "arr": lambda ax: clv.plot_arr(midway, ax=ax),
        "retention": lambda ax: clv.plot_retention(midway, ax=ax),
        "segments": lambda ax: clv.plot_segments(midway, "segment", ax=ax),
        "comparison": lambda ax: clv.plot_comparison(comparison, ax=ax),
        "comparison by month": lambda ax: clv.plot_comparison(comparison, ax=ax, freq="month"),
        "plan": lambda ax: clv.plot_plan(planned, ax=ax),
        "reliability": lambda ax: clv.plot_reliability(reliability, ax=ax),
        "payback": lambda ax: clv.plot_payback(won, ax=ax),
        "cohort": lambda ax: clv.plot_cohort(won, ax=ax),
    }


def test_at_6_by_4_inches_no_tick_labels_overlap(pictures: dict) -> None:
    """And given axes are used, no style is changed, and no pyplot figure is left behind."""
    before = dict(matplotlib.rcParams)
    for name, draw in pictures.items():
        axes = Figure(figsize=(6.0, 4.0), layout="constrained").add_subplot()
        assert draw(axes) is axes, name
        axes.figure.draw_without_rendering()
        for axis in (axes.xaxis, axes.yaxis):
            boxes = [
                text.get_window_extent() for text in axis.get_ticklabels() if text.get_text() and text.get_visible()
            ]
            inside = [box for box in boxes if box.width > 0.0]
            for one, other in zip(inside[:-1], inside[1:], strict=True):
                assert not one.overlaps(other), f"{name}: {one} and {other}"
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []
