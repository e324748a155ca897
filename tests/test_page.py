"""The page holds the forecast's figures to the cent, lets no name out of its place, and needs nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import fields, replace
from html.parser import HTMLParser
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import clvforecast as clv
from clvforecast.metrics.bridge import SUBTRACTED
from clvforecast.report.page import PageData, gather, page_html
from clvforecast.report.page.data import TRAILING
from clvforecast.report.page.payload import MONEY, SHARES_AND_MONTHS, as_json
from clvforecast.report.page.write import SCRIPTS
from clvforecast.simulation.calendar import add_months, date_of, day_number
from made_up_page import HOSTILE, backtest_totals, bare, bridges, page_data, plans, retentions, scores

DRAWS = 60
MEGABYTE = 1e6


class Reader(HTMLParser):
    """Elements with their attributes, and what scripts hold."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data
        else:
            self.texts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def payload_of(page: str) -> dict[str, Any]:
    return json.loads(read(page).scripts[0])


def unpacked(packed: dict[str, Any], n: int) -> np.ndarray:
    if "same" in packed:
        return np.full(n, packed["same"])
    return np.frombuffer(base64.b64decode(packed["base64"]), dtype=np.dtype(packed["type"]).newbyteorder("<"))


@pytest.fixture(scope="module")
def company() -> tuple[clv.Ledger, clv.Posterior]:
    """A synthetic company and, for a posterior, its prior."""
    events, truth = clv.simulate_events(n_accounts=80, seed=5)
    ledger = clv.read_ledger(events, truth.accounts, as_of=truth.as_of)
    return ledger, clv.prior(ledger, ["segment"], draws=50)


@pytest.fixture(scope="module")
def made(company: tuple[clv.Ledger, clv.Posterior]) -> clv.Forecast:
    """From the end of a quarter: 31 December 2023."""
    ledger, posterior = company
    return clv.forecast(posterior, ledger, 30, draws=DRAWS)


@pytest.fixture(scope="module")
def followed(company: tuple[clv.Ledger, clv.Posterior]) -> clv.Forecast:
    """With its ARR."""
    ledger, posterior = company
    return clv.forecast(posterior, ledger, 18, draws=20, bridge=True)


@pytest.fixture(scope="module")
def page(made: clv.Forecast, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "made" / "forecast.html"
    clv.write_page(made, path, title="Made up")
    return path.read_text(encoding="utf-8")


# --- figures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("freq", "alias"), [("month", "ME"), ("quarter", "QE"), ("year", "YE")])
def test_the_portfolio_is_read_back_exactly(made: clv.Forecast, page: str, freq: str, alias: str) -> None:
    found = pd.DataFrame(payload_of(page)["portfolio"][freq])
    table = made.portfolio(freq if hasattr(made, "calendar") else alias)
    for name in ("mean", "sd", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "lower", "upper"):
        assert found[name].tolist() == table[name].tolist(), name
    assert found["period"].tolist() == table["period"].dt.strftime("%Y-%m-%d").tolist()
    assert found["partial"].tolist() == table["partial"].tolist()


def test_the_accounts_are_read_back_to_the_cent(made: clv.Forecast, page: str) -> None:
    found, table = payload_of(page)["accounts"], made.accounts()
    assert found["ids"] == table["account_id"].tolist()
    for name in set(MONEY) & set(table.columns):
        cents = unpacked(found["numbers"][name], found["n"])
        np.testing.assert_array_equal(cents, np.rint(table[name] * 100), err_msg=name)
    for name in set(SHARES_AND_MONTHS) & set(table.columns):
        share = unpacked(found["numbers"][name], found["n"])
        np.testing.assert_allclose(share, table[name], rtol=1e-6, err_msg=name)
    segment = found["segments"]["segment"]
    codes = unpacked(segment["codes"], found["n"]).astype(int)
    assert [segment["levels"][code] for code in codes] == table["segment"].tolist()


def test_headline_windows_are_sums_of_the_forecast_s_months(made: clv.Forecast, page: str) -> None:
    rows = pd.DataFrame(payload_of(page)["headline"]).set_index("key")
    months = made.portfolio_draws("month" if hasattr(made, "calendar") else "ME").values[:, 0]
    whole = made.portfolio(None).iloc[0]
    for key, n in (("next_quarter", 3), ("next_12_months", 12), ("horizon", 30)):
        assert rows.loc[key, "q50"] == pytest.approx(np.median(months[:, :n].sum(axis=1)), rel=1e-12), key
    assert rows.loc["horizon", ["mean", "lower", "upper"]].tolist() == whole[["mean", "lower", "upper"]].tolist()
    assert rows.loc["next_12_months", ["start", "end"]].tolist() == ["2024-01-01", "2024-12-31"]


def test_an_account_s_years_are_what_it_has_brought(made: clv.Forecast, page: str) -> None:
    """The company is younger than the years that are shown, so that they sum to the value to date, to the cent."""
    found = payload_of(page)["accounts"]
    total = sum(unpacked(cents, found["n"]) for cents in found["years"].values())
    np.testing.assert_array_equal(total, np.rint(made.table["clv_to_date"] * 100))
    assert list(found["years"])[-1] == str(made.as_of)


def test_history_is_what_was_recognised(made: clv.Forecast, page: str) -> None:
    """Quarters in whole currency are the account years of the same time: both are of the ledger's service days."""
    data = payload_of(page)
    quarters = pd.DataFrame(data["history"]["quarter"])
    years = data["accounts"]["years"]
    last_year = unpacked(years[str(made.as_of)], data["accounts"]["n"]).sum() / 100
    assert quarters["revenue"].tail(4).sum() == pytest.approx(last_year, abs=1e-6)
    assert not quarters["partial"].any()


def test_segments_add_up_to_the_whole(made: clv.Forecast) -> None:
    table = gather(made).by_segment["segment"]
    whole = made.portfolio(None).iloc[0]
    assert table["mean"].sum() == pytest.approx(whole["mean"], rel=1e-12)
    assert table["accounts"].sum() == len(made.table)
    assert table["clv_to_date"].sum() == pytest.approx(made.table["clv_to_date"].sum())
    assert table["upper"].sum() > whole["upper"]  # ranges do not add up


def test_a_figure_in_a_table_is_the_forecast_s(made: clv.Forecast, page: str) -> None:
    """The exact value stands beside the text that is shown."""
    values = [
        float(of["data-value"] or "nan") for name, of in read(page).elements if name == "td" and "data-value" in of
    ]
    quarters = made.portfolio("quarter" if hasattr(made, "calendar") else "QE")
    assert set(quarters["q50"]) | set(quarters["mean"]) <= set(values)


def test_a_running_quarter_says_what_it_has_already(company: tuple[clv.Ledger, clv.Posterior]) -> None:
    """From 20 November: October to 20 November is recognised, the rest of the quarter is forecast."""
    ledger, posterior = company
    data = gather(clv.forecast(posterior, ledger.at("2023-11-20"), 14, draws=10))
    quarter, past = data.portfolio["quarter"], data.history["quarter"]
    assert quarter["partial"].tolist() == [True] + [False] * 4 + [True]
    assert past["partial"].tolist() == [False] * (len(past) - 1) + [True]
    assert past["end"].iloc[-1] == pd.Timestamp("2023-11-20")
    assert quarter["already"].tolist() == [past["revenue"].iloc[-1]] + [0.0] * 5
    assert quarter["already"].iloc[0] > 0
    rows = data.headline.set_index("key")
    assert pd.Timestamp(rows.loc["next_quarter", "start"]) == pd.Timestamp("2024-01-01")
    assert rows.loc["next_12_months", "end"] >= date_of(add_months(day_number(data.as_of) + 1, 12) - 1)
    assert rows.loc["next_12_months", "label"] == "Next 12 months and 10 days"
    beyond = rows.loc["next_12_months", "end"] - date_of(add_months(day_number(data.as_of) + 1, 12) - 1)
    assert beyond.days == 10  # to 30 November 2024, where twelve months end on the 20th


def test_bookings_go_on_from_what_was_booked(company: tuple[clv.Ledger, clv.Posterior]) -> None:
    """Not from what was recognised, which would count the committed part twice; nor do they stand beside past revenue."""
    ledger, posterior = company
    data = gather(clv.forecast(posterior, ledger, 12, draws=10, timing="booked"))
    page = page_html(data)
    booked = data.accounts["booked_to_date"].sum()
    assert payload_of(page)["counted"] == {"noun": "Bookings", "done": "booked", "to_date": "booked_to_date"}
    assert payload_of(page)["history"] == {} and payload_of(page)["accounts"]["years"] is None
    assert "What was booked by 31 December 2023" in page and f"{booked / 1e6:,.1f}" in page
    assert "counts other money than was recognised in the past" in page
    table = payload_of(page)["portfolio"]["quarter"]
    assert "Bookings by quarter" in page and table["already"][0] in (0.0, None)


def test_new_customers_are_in_every_window_and_said(company: tuple[clv.Ledger, clv.Posterior]) -> None:
    """All windows at a glance are of the same customers as the periods; accounts and segments are of the existing ones."""
    ledger, posterior = company
    plan = pd.DataFrame(
        {
            "start": ["2024-02-01", "2024-06-10"],
            "customers": [5, 5],
            "first_mrr": 2000.0,
            "segment": "S1",
            "term_months": 12,
        }
    )
    forecast = clv.forecast(
        posterior, ledger, 14, draws=10, cost_to_serve=5.0, new_customers=clv.PlannedNewCustomers(plan)
    )
    data, whole = gather(forecast), forecast.portfolio(None).iloc[0]
    rows = data.headline.set_index("key")
    assert rows.loc["horizon", ["mean", "lower", "upper"]].tolist() == whole[["mean", "lower", "upper"]].tolist()
    months = forecast.portfolio("month")["mean"]
    assert rows.loc["next_12_months", "mean"] == pytest.approx(months.iloc[:12].sum())
    assert (
        data.new_customers == pytest.approx(whole["mean"] - data.accounts["mean"].sum()) and data.new_customers > 1000
    )
    assert data.by_segment["segment"]["mean"].sum() == pytest.approx(data.accounts["mean"].sum())
    page = page_html(data)
    assert payload_of(page)["has_cost"] is True and "and after the cost to serve." in page
    assert "Existing and new customers should bring" in page and "Of which new customers" in page
    assert "These accounts should bring" not in page and "New customers are not in these figures" not in page


def test_a_short_horizon_has_the_windows_that_fit_in_it(company: tuple[clv.Ledger, clv.Posterior]) -> None:
    ledger, posterior = company
    data = gather(clv.forecast(posterior, ledger, 2, annual_discount_rate=0.0, draws=10))
    assert data.headline["key"].tolist() == ["horizon"]
    page = page_html(data)
    assert "Next 2 months" in page
    assert "Needs a discount rate above zero." in page


def test_retention_is_shown_over_twelve_months_first(followed: clv.Forecast) -> None:
    """Of a year each: where all renew in one quarter, quarters by themselves go up and down with the season."""
    data = gather(followed)
    assert list(data.retention) == [TRAILING, "quarter", "year"]
    own, asked = data.retention[TRAILING], followed.retention("quarter", trailing_year=True)
    assert own[asked.columns].equals(asked)
    days = (own["period"] - own["period_start"]).dt.days + 1
    assert days.between(365, 366).all()
    page = page_html(data)
    first = next(of for name, of in read(page).elements if name == "option" and of["value"] == TRAILING)
    assert "selected" in first
    assert "Retention of twelve months, to the end of each quarter: medians" in page


def test_new_beside_a_forecast_without_new_customers_is_explained(followed: clv.Forecast) -> None:
    data = gather(followed)
    ahead = data.bridge["quarter"][lambda rows: (rows["basis"] == "forecast") & (rows["line"] == "new")]
    assert len(ahead) and (ahead["mean"] == 0.0).all()
    page = page_html(data)
    assert "The forecast is of existing customers only. New is what came by 31 December 2023." in page
    assert payload_of(page)["existing_only"] is True
    some = page_html(replace(data, new_customers=1.0))
    assert "The forecast is of existing customers only" not in some and "forecast: existing customers only<" not in some
    assert payload_of(some)["existing_only"] is False


def test_the_script_takes_away_what_the_bridge_does(page: str) -> None:
    """The signs with which its lines add up are those that the picture is drawn with."""
    lines = payload_of(page)["lines"]
    assert {line for line, of in lines.items() if of["sign"] == -1} == set(SUBTRACTED)
    table = page_data().bridge["quarter"].pivot_table(index="label", columns="line", values="mean")
    moved = sum(lines[line]["sign"] * table[line] for line in lines if line not in ("start", "end"))
    np.testing.assert_allclose(table["start"] + moved, table["end"], rtol=1e-9)


def test_warnings_are_closed_counted_and_whole() -> None:
    """What a warning begins with is seen; all of it is in the page once, and opens."""
    long = "account 'A' has parallel terms and no contract_id " * 8
    told = (f"first: {long}", "second <b>", f"third: {long}", "fourth, which only opens")
    page = page_html(replace(page_data(), warnings=told))
    box = re.search(r'<details class="warnings">(.*?)</details>', page, flags=re.DOTALL)
    assert box is not None
    summary, points = box[1].split("</summary>")
    assert "4 things to know of these figures" in summary and "fourth" not in summary
    assert summary.count("<span>") == 3 and len(summary) < 900
    assert read(points).texts == list(told)
    short = page_html(replace(page_data(), warnings=("one only",)))
    assert "1 thing to know" in short and '<details class="warnings">' not in short
    assert 'class="warnings"' not in re.sub(
        "<noscript>.*?</noscript>", "", page_html(replace(page_data(), warnings=()))
    )


# --- what may be missing, and what is refused ---------------------------------------------------------------


def test_what_is_missing_is_left_out_with_how_to_get_it(made: clv.Forecast) -> None:
    page = page_html(gather(replace(made, ledger=None)))
    shown = {of.get("id") for name, of in read(page).elements if name == "section"}
    assert {"revenue", "segments", "accounts", "left-out"} <= shown
    assert not {"scenarios", "calibration"} & shown
    said = " ".join(read(page).texts)
    assert "clv.load_forecast(path, ledger=ledger)" in said
    assert "comparison=clv.compare" in said
    assert "backtest=clv.backtest" in said
    assert payload_of(page)["accounts"]["years"] is None


class Whole(clv.Forecast):
    """A forecast that has all that others build, as the schema says."""

    def bridge(self, freq: str, ci_prob: float) -> pd.DataFrame:
        return bridges(np.random.default_rng(1))[freq]

    def retention(self, freq: str, ci_prob: float, trailing_year: bool = False) -> pd.DataFrame:
        if freq == "year":
            raise clv.ForecastError("no whole year")
        return retentions(np.random.default_rng(3 if trailing_year else 2))[freq]

    def policies(self) -> dict[str, str]:
        return {"late_bookings": "Counted <when> booked."}

    def plan_table(self) -> pd.DataFrame:
        return plans(self.accounts())


def test_a_forecast_s_own_tables_are_taken(made: clv.Forecast) -> None:
    whole = Whole(**{field.name: getattr(made, field.name) for field in fields(clv.Forecast)})
    given = SimpleNamespace(scores=scores, totals=backtest_totals())
    data = gather(whole, backtest=given)  # type: ignore[arg-type]
    assert list(data.bridge) == ["quarter", "year"]
    assert list(data.retention) == [TRAILING, "quarter"]
    assert not data.retention[TRAILING]["mean"].equals(data.retention["quarter"]["mean"])
    assert data.missing["retention"].endswith("no whole year")
    assert data.plans is not None and len(data.plans) == 3
    page = page_html(data)
    assert "Counted &lt;when&gt; booked." in page
    assert "late bookings" in page
    shown = {of.get("id") for name, of in read(page).elements if name == "section"}
    assert {"bridge", "retention", "calibration"} <= shown


def test_scenarios_are_those_of_the_comparison(made: clv.Forecast) -> None:
    """The base is the one without a difference, also where it is told with one of nothing."""
    tables = page_data().scenarios
    base = tables["total"][tables["total"]["scenario"] == "base"].assign(mean=0.0, lower=0.0, upper=0.0)
    told = {None: "", "year": "year_"}
    comparison = SimpleNamespace(
        portfolio=lambda freq, ci_prob: tables["total" if freq is None else "year"],
        difference=lambda freq, ci_prob: pd.concat([tables[f"{told[freq]}difference"], base], ignore_index=True),
        assumptions=lambda: pd.DataFrame({"scenario": ["Half of <churn> saved"], "assumed": ["renewal_odds <2>"]}),
    )
    data = gather(made, comparison=comparison)
    assert "base" not in set(data.scenarios["difference"]["scenario"])
    assert len(data.scenarios["difference"]) == 3
    page = page_html(data)
    shown = [of["data-value"] for name, of in read(page).elements if name == "td" and "data-value" in of]
    assert {repr(mean) for mean in tables["difference"]["mean"]} <= set(shown)
    assert "Raise prices by 3% &lt;list&gt;" in page and "<dd>renewal_odds &lt;2&gt;</dd>" in page


def test_a_backtest_is_summed_up(
    company: tuple[clv.Ledger, clv.Posterior], made: clv.Forecast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real one, of which only the fit is a prior: its totals and its scores are those of the page."""
    ledger, posterior = company

    def quick(ledger: clv.Ledger, segments: list[str], **settings: object) -> clv.Posterior:
        return posterior

    monkeypatch.setattr(import_module("clvforecast.backtest"), "fit", quick)
    result = clv.backtest(ledger, "2022-12-31", 12, ["segment"], baselines={}, draws=40, progress=False)
    page = page_html(gather(made, backtest=result))
    mine = result.totals[(result.totals["by"] == "portfolio") & (result.totals["method"] == "clvforecast")]
    found = payload_of(page)["totals"]
    for name in ("actual", "median", "lower_50", "upper_50", "lower_95", "upper_95"):
        assert found[name] == mine[name].tolist(), name
    held = result.scores().set_index("score")["value"]["coverage_80"]
    assert f"{held:.1%}" in page
    assert "Portfolio totals" in page and found["origin"] == ["2022-12-31"]


def test_what_cannot_be_shown_is_refused(made: clv.Forecast, tmp_path: Path) -> None:
    with pytest.raises(clv.ForecastError, match=r"plan_table has no column account_id; it has account\."):
        clv.write_page(made, tmp_path / "x.html", plan_table=pd.DataFrame({"account": ["a"]}))
    with pytest.raises(clv.ForecastError, match="ci_prob=0.7 was not kept"):
        clv.write_page(made, tmp_path / "x.html", ci_prob=0.7)
    assert not list(tmp_path.iterdir())


# --- bytes --------------------------------------------------------------------------------------------------


def test_no_name_leaves_its_place() -> None:
    """Only the page's own elements are there, whatever accounts, segments, scenarios and titles are called."""
    data = page_data()
    page = page_html(replace(data, title=HOSTILE[1], policies={"<b>": HOSTILE[1]}, made_with={HOSTILE[0]: HOSTILE[3]}))
    reader = read(page)
    assert len(reader.scripts) == 3
    assert not {"img", "b", "i"} & {name for name, of in reader.elements if "style" not in of}
    assert not any(key.startswith("on") for _, of in reader.elements for key in of)
    assert payload_of(page)["accounts"]["ids"][: len(HOSTILE)] == list(HOSTILE)
    assert HOSTILE[1] in "".join(reader.texts)


@pytest.mark.parametrize("text", [*HOSTILE, "\x00\x1f", "\ud800 lone", "\N{PARAGRAPH SEPARATOR}"])
def test_json_stays_in_its_script(text: str) -> None:
    written = as_json({"name": text})
    assert written.isascii() and not re.search("[<>&]", written)
    assert json.loads(written)["name"] == text


def test_only_the_page_s_own_scripts_may_run(page: str) -> None:
    policy = next(
        of["content"] for name, of in read(page).elements if of.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    allowed = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in read(page).scripts[1:]]
    assert rules["script-src"].split() == [f"'sha256-{name}'" for name in allowed]


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    """Of our own markup, style and script: the chart library's addresses are texts, which the policy keeps from being used."""
    for name, of in read(page).elements:
        assert "src" not in of and name not in ("link", "iframe", "object", "embed", "base"), (name, of)
        assert of.get("href", "#").startswith("#"), of
    folder = files("clvforecast.report.page")
    for name in (*SCRIPTS, "style.css"):
        own = (folder / name).read_text(encoding="utf-8")
        assert not re.search(
            r"https?:|//[a-z]+\.|url\(|@import|fetch\(|XMLHttp|WebSocket|import\(|innerHTML|eval\(", own
        ), name


def test_the_same_forecast_gives_the_same_bytes(made: clv.Forecast, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        clv.write_page(made, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert page_html(page_data()) == page_html(page_data())


def test_twenty_thousand_accounts_are_small_and_quick() -> None:
    """The chart library is five megabytes; an account may cost 250 bytes."""
    data = page_data(20_000)
    empty = len(page_html(page_data(20)))
    began = time.perf_counter()
    page = page_html(data)
    assert time.perf_counter() - began < 20
    assert len(page) - empty < 250 * 20_000
    assert len(page) < 10.5 * MEGABYTE


def test_the_chart_library_is_read_only_when_a_page_is_written() -> None:
    code = (
        "import sys, clvforecast as clv; clv.write_page; from clvforecast import cli; sys.exit('plotly' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_its_script_the_figures_are_there() -> None:
    data = page_data()
    said = " ".join(" ".join(read(page_html(data)).texts).split())
    assert f"EUR {data.headline['q50'].iloc[1] / 1e6:.1f} million (median) from 1 July 2026 to 30 June 2027" in said
    assert "Charts and the list of accounts need JavaScript" in said
    assert "ARR bridge by quarter, EUR thousand: means, with 90% ranges" in said
    assert "−833" in said and "-833" not in said


def test_a_bare_page_has_what_is_left(tmp_path: Path) -> None:
    data: PageData = bare(page_data())
    said = " ".join(read(page_html(data)).texts)
    assert "ARR bridge: needs <the ledger>." in said
    assert payload_of(page_html(data))["history"] == {}


def test_ends_of_a_planned_probability_are_percentages() -> None:
    """`lower` and `upper` of a planned step are of its learned probability; added_lower and added_upper are money."""
    script = (files("clvforecast.report.page") / "account.js").read_text(encoding="utf-8")
    pattern = re.search(r"if \(/(.+)/\.test\(name\)\) return percent", script)
    assert pattern is not None
    shares = ("stated", "probability", "lower", "upper", "learned_probability_lower", "ci_prob")
    assert all(re.search(pattern[1], name) for name in shares)
    assert not any(
        re.search(pattern[1], name) for name in ("amount", "added", "added_lower", "added_upper", "clv_added")
    )


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_fan_says_why_a_period_is_not_drawn() -> None:
    """The running one where what it had is not known, the last one where the horizon cuts it short; both where both are."""
    script = (files("clvforecast.report.page") / "portfolio.js").read_text(encoding="utf-8")
    found = re.search(r"^function leftOut.*?^}", script, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    whole, running, cut = (
        '{"partial":false,"already":0}',
        '{"partial":true,"already":null}',
        '{"partial":true,"already":0}',
    )
    told = []
    for first, last in ((running, whole), (whole, cut), (running, cut), (whole, whole)):
        rows = f"[{first},{whole},{last}]"
        told.append(f'leftOut({rows}, {rows}.filter((row) => !row.partial), "quarter")')
    made = subprocess.run(
        ["node", "-e", f"{found[0]}; console.log(JSON.stringify([{','.join(told)}]))"], capture_output=True, check=True
    )
    begun = "; the running quarter is left out, as what it had already is not known here"
    short = "; a quarter that the horizon cuts short is left out"
    assert json.loads(made.stdout) == [begun, short, begun + short, ""]


def test_plans_have_a_section_with_their_notes_and_rejected_rows(made: clv.Forecast) -> None:
    """Stated beside learned, what the expected amount is, and every rejected row with its column, value and what to do."""
    assert made.ledger is not None
    name = made.table["account_id"].iloc[0]
    day = f"{made.as_of.replace(year=made.as_of.year + 1):%Y-%m-%d}"
    rows = [(name, "expansion", 9e4, 0.8, "agreed <in May>"), (name, "expnsion", 1.0, 0.5, "")]
    given = pd.DataFrame(rows, columns=["account_id", "kind", "amount", "probability", "note"]).assign(planned_date=day)
    plans = clv.read_plans(given, made.ledger)
    steps = pd.DataFrame(
        {
            "account_id": [name],
            "date": pd.to_datetime([day]),
            "kind": ["expansion"],
            "amount": [9e4],
            "stated": [0.8],
            "probability": [0.6],
            "lower": [0.4],
            "upper": [0.7],
            "expected_amount": [5e4],
            "note": ["agreed <in May>"],
        }
    )
    page = page_html(gather(made, plan_table=steps, plans=plans))
    said = " ".join(" ".join(read(page).texts).split())
    for words in (
        "As stated",
        "80%",
        "60%",
        "(40% to 70%)",
        "agreed <in May>",
        "planned amount × chance in the forecast",
    ):
        assert words in said, words
    (row,) = plans.rejected.itertuples()
    for words in (str(row.value), row.rule.replace("_", " "), row.hint, "2 rows of plans read, 1 rejected"):
        assert words in said, words
    assert 'id="plans"' not in page_html(gather(made))
