"""The page in a browser without a network: it draws, searches, sorts, opens accounts, and obeys the keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from browser import BINARY, Browser, Tab
from clvforecast.report.page import PageData, page_html
from clvforecast.report.units import range_unit
from made_up_page import HOSTILE, bare, page_data

pytestmark = pytest.mark.skipif(BINARY is None, reason="no chromium on this machine")

Open = Callable[..., AbstractContextManager[Tab]]
PHONE = {"width": 390, "height": 844}
NAMES = "[...document.querySelectorAll('#account-table [data-account]')].map(e => e.textContent)"
DRAWN = "[...document.querySelectorAll('.chart')].filter(e => e.querySelector('.main-svg')).map(e => e.id)"
FOCUS = "document.activeElement.id || document.activeElement.textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def data() -> PageData:
    return page_data()


@pytest.fixture(scope="module")
def open_page(browser: Browser, data: PageData, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Opens the page with everything, or another one that is given."""
    path = tmp_path_factory.mktemp("pages") / "page.html"
    path.write_text(page_html(data), encoding="utf-8")

    def opened(shown: PageData = data, **options: object) -> AbstractContextManager[Tab]:
        other = path.with_name("other.html")
        if shown is not data:
            other.write_text(page_html(shown), encoding="utf-8")
        return browser.open(path if shown is data else other, **options)  # type: ignore[arg-type]

    return opened


@pytest.fixture(scope="module")
def shared(open_page: Open) -> Iterator[Tab]:
    """A page that is open all the time, for tests that leave it as it was."""
    with open_page() as tab:
        yield tab


@pytest.mark.parametrize("options", [{"scheme": "dark"}, PHONE], ids=["desktop, dark", "phone"])
def test_everything_is_drawn_without_a_complaint(open_page: Open, options: dict[str, object]) -> None:
    with open_page(**options) as tab:
        assert tab.value(DRAWN) == [
            f"{name}-chart" for name in ("revenue", "bridge", "retention", "scenarios", "calibration")
        ]
        assert tab.complaints() == []
        assert all(address.startswith(("file:", "data:")) for address in tab.requests())
        wide, seen = tab.value("[document.documentElement.scrollWidth, innerWidth]")
        assert wide == seen


@pytest.mark.parametrize("width", [320, 390])
def test_charts_fit_a_phone_also_when_the_window_becomes_narrow(open_page: Open, width: int) -> None:
    """No picture, nor a letter in it, goes over the edge of the screen, or over what stands beneath it."""
    reach = (
        "[...document.querySelectorAll('.chart')].map(e => { const box = e.getBoundingClientRect();"
        " const parts = [...e.querySelectorAll('svg, svg text')].map(p => p.getBoundingClientRect());"
        " return [Math.max(...parts.map(p => p.right)) - innerWidth, Math.max(...parts.map(p => p.bottom)) - box.bottom]; })"
    )
    with open_page() as tab:
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=False)
        tab.wait_for(f"innerWidth === {width} && byId('revenue-chart').layout.width < {width}")
        found = np.array(tab.value(reach))
        assert len(found) == 5 and (found < 1.0).all(), found
        assert tab.value("document.documentElement.scrollWidth") == width
        seen = tab.value(
            "[...document.querySelectorAll('#plans th, #plans td, #scenarios table:not(details table) th')]"
            ".map(e => e.getBoundingClientRect().right)"
        )
        assert seen and max(seen) <= width
        tab.value("openAccount(0)")
        cells = "[...document.querySelectorAll('#account-view .cards td')]"
        titles, edges = (
            tab.value(f"{cells}.map(e => {told})") for told in ("e.dataset.title", "e.getBoundingClientRect().right")
        )
        assert "Chance in the forecast" in titles and max(edges) <= width
        assert tab.complaints() == []


def test_a_network_would_not_be_asked(open_page: Open) -> None:
    """The policy refuses, whatever a script might try."""
    with open_page() as tab:
        tried = "fetch('https://example.com/').then(() => 'fetched', error => error.name)"
        assert tab.value(tried) == "TypeError"
        assert any("Content Security Policy" in complaint for complaint in tab.complaints())
        tab.value(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
        )
        assert tab.value("window.ran") is None


def test_names_are_texts(open_page: Open, data: PageData) -> None:
    with open_page() as tab:
        tab.value("LIST.sort = 'id'; LIST.isDown = false; orderAccounts(); showAccounts()")
        assert set(HOSTILE) <= set(tab.value("LIST.order.map(i => ACCOUNTS.ids[i])"))
        assert set(tab.value(NAMES)) >= {"<script>alert(1)</script>", "<img src=x onerror=alert(3)>"}
        for name in HOSTILE:
            tab.value(f"openAccount(ACCOUNTS.ids.indexOf({name!r}))" if name.isascii() else "1")
        assert tab.value("document.querySelectorAll('img, main script').length") == 0
        assert tab.complaints() == []


def test_search_finds_words_of_names_and_segments(open_page: Open, data: PageData) -> None:
    with open_page() as tab:
        tab.press("/")
        assert tab.value(FOCUS) == "account-search"
        tab.type("munchen".replace("nchen", "ller"))
        assert tab.value(NAMES) == [next(name for name in HOSTILE if name.startswith("Müller"))]
        tab.value("document.activeElement.select()")
        tab.type("TEAM account 0000")
        table = data.accounts
        expected = table[(table["plan"] == "Team") & table["account_id"].str.contains("Account 0000")]
        assert sorted(tab.value(NAMES)) == sorted(expected["account_id"])
        tab.value("document.activeElement.select()")
        tab.type("nobody of this name")
        assert (
            tab.value("document.getElementById('account-count').textContent") == "No account of 60 holds these words."
        )


def test_accounts_are_sorted_by_a_heading(open_page: Open, data: PageData) -> None:
    with open_page() as tab:
        by_mean = data.accounts.sort_values("mean", ascending=False)["account_id"].tolist()
        assert tab.value(NAMES) == by_mean[:25]
        tab.click("[data-sort=q50]")
        by_median = data.accounts.assign(cents=np.rint(data.accounts["q50"] * 100)).sort_values(
            "cents", ascending=False
        )
        assert tab.value(NAMES) == by_median["account_id"].tolist()[:25]
        assert tab.value("document.querySelector('th[aria-sort]').textContent").startswith("Median")
        tab.click("[data-sort=q50]")
        assert tab.value("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "ascending"
        tab.click("[data-sort=p_next_renewal]")
        tab.value("LIST.page = Math.floor((ACCOUNTS.n - 1) / 25); showAccounts()")
        assert tab.value("document.querySelector('#account-table tbody tr:last-child').textContent").count("–") == 1
        tab.click("#page-back")
        assert tab.value("document.querySelector('#account-pages span').textContent") == "26 to 50 of 60"


def test_an_account_opens_and_closes_by_keyboard(open_page: Open, data: PageData) -> None:
    largest = data.accounts.sort_values("mean", ascending=False).iloc[0]
    with open_page() as tab:
        tab.press("/")
        tab.press("ArrowDown")
        assert tab.value(FOCUS) == largest["account_id"]
        tab.press("Enter")
        assert tab.value("document.getElementById('account-view').open")
        assert tab.value("document.getElementById('account-name').textContent") == largest["account_id"]
        assert {"account-years-chart", "account-chances-chart"} <= set(tab.value(DRAWN))
        shown = tab.value("document.querySelector('.account-figures').innerText")
        assert f"{largest['clv_to_date'] / 1e3:,.1f}" in shown
        tab.press("Escape")
        assert not tab.value("document.getElementById('account-view').open")
        assert tab.value(FOCUS) == largest["account_id"]
        assert tab.complaints() == []


def test_units_are_those_of_the_tables_that_python_writes(shared: Tab) -> None:
    rng = np.random.default_rng(1)
    for scale in (3.0, 900.0, 4e4, 1.1e6, 6e8, 3e10):
        rows = np.sort(rng.lognormal(0.0, 2.0, (4, 1)) * (1.0 + rng.normal(0.0, 0.02, (4, 3))), axis=1) * scale
        shown = shared.value(f"rangeUnit({rows.tolist()}, {2.0 * scale})")
        assert shown == range_unit(*rows.T, beside=2.0 * scale)._asdict()


@pytest.mark.parametrize(("months", "words"), [(6, "the 6 months ahead"), (24, "a mean year ahead")])
def test_what_is_ahead_of_an_account_is_called_by_its_length(
    open_page: Open, data: PageData, months: int, words: str
) -> None:
    """Half a year is not scaled up to a year."""
    with open_page(replace(data, horizon_months=months)) as tab:
        tab.value("openAccount(1)")
        last = tab.value("document.querySelector('#account-view .pair table tbody tr:last-child').textContent")
        unit = tab.value("accountUnit(1)")
        ahead = data.accounts["q50"].iloc[1] / max(1.0, months / 12)
        assert last.startswith(words) and f"{ahead / unit['size']:,.{unit['digits']}f} (" in last
        assert words in tab.value("document.getElementById('account-years-caption').textContent")


def test_an_account_shows_its_plan(shared: Tab, data: PageData) -> None:
    shared.value("openAccount(0)")
    shown = shared.value("document.getElementById('account-view').innerText")
    money = ("120.0", "310.0", "money in EUR thousand")
    for text in ("<expansion>", "81% (70% to 90%)", "2026-09-01", "With plan", "agreed <in May>", *money):
        assert text in shown, text
    shared.value("document.getElementById('account-view').close(); openAccount(7)")
    assert "No step is planned" in shared.value("document.getElementById('account-view').innerText")
    shared.value("document.getElementById('account-view').close()")


def test_segments_sort_and_change(open_page: Open, data: PageData) -> None:
    first = "document.querySelector('[data-segment={}] tbody th').textContent"
    with open_page() as tab:
        by_mean = data.by_segment["plan"].sort_values("mean", ascending=False)["plan"].tolist()
        assert tab.value(first.format("plan")) == by_mean[0]
        tab.click("[data-segment=plan] thead th:nth-child(4) button")
        tab.click("[data-segment=plan] thead th:nth-child(4) button")
        assert tab.value(first.format("plan")) == by_mean[-1]
        tab.value("byId('segment-by').value = 'region'; byId('segment-by').dispatchEvent(new Event('change'))")
        assert tab.value("document.querySelector('[data-segment=plan]').hidden")
        assert not tab.value("document.querySelector('[data-segment=region]').hidden")


def test_periods_of_the_charts_can_be_chosen(open_page: Open) -> None:
    chosen = (
        "byId('{0}').value = '{1}'; byId('{0}').dispatchEvent(new Event('change')); byId('{2}-caption').textContent"
    )
    with open_page() as tab:
        assert tab.value(chosen.format("revenue-freq", "year", "revenue")) == "Revenue by year, EUR million"
        assert not tab.value("document.querySelector('#revenue [data-freq=year]').hidden")
        assert tab.value("byId('bridge-period').value") == "FY27 Q1"  # the first that is all forecast
        assert "FY26 Q2" in tab.value(chosen.format("bridge-period", "FY26 Q2", "bridge"))
        assert "FY27, EUR million" in tab.value(chosen.format("bridge-freq", "year", "bridge"))
        assert "by year" in tab.value(chosen.format("retention-freq", "year", "retention"))
        assert tab.complaints() == []


def test_the_waterfall_stands_on_the_bridge(shared: Tab, data: PageData) -> None:
    """Bars end where the next begin, and the last at the end's mean."""
    rows = data.bridge["quarter"]
    means = rows[rows["label"] == "FY27 Q1"].set_index("line")["mean"] / 1e6
    bars = shared.value(
        "byId('bridge-chart').data.filter(t => t.type === 'bar')"
        ".flatMap(t => t.x.map((x, k) => ({at: x, from: t.base[k], to: t.base[k] + t.y[k]})))"
    )
    by_place = {bar["at"]: bar for bar in bars}
    assert by_place[0]["to"] == pytest.approx(means["start"])
    assert by_place[2]["from"] == pytest.approx(means["start"])
    assert by_place[2]["to"] == pytest.approx(means["start"] + means["expansion"])
    assert by_place[6]["from"] == pytest.approx(means["end"])  # churn hangs down to the end
    assert by_place[7]["to"] == pytest.approx(means["end"])


def test_the_fan_is_the_portfolio(shared: Tab, data: PageData) -> None:
    traces = {trace["name"]: trace["y"] for trace in shared.value(
        "byId('revenue-chart').data.filter(t => t.name).map(t => ({name: t.name, y: t.y}))")}  # fmt: skip
    table = data.portfolio["quarter"]
    for name, column in (("median", "q50"), ("90% range", "q95"), ("80% range", "q90"), ("50% range", "q75")):
        assert traces[name] == pytest.approx((table[column] / 1e6).tolist()), name
    assert traces["recognised"] == pytest.approx((data.history["quarter"]["revenue"] / 1e6).tolist())


def test_the_theme_follows_the_system_and_the_button(open_page: Open) -> None:
    page_colour = "getComputedStyle(document.body).backgroundColor"
    with open_page(scheme="dark") as tab:
        assert tab.value(page_colour) == "rgb(20, 24, 30)"
        tab.click("#theme")
        assert tab.value("byId('theme').textContent") == "Theme: light"
        assert tab.value(page_colour) == "rgb(255, 255, 255)"
        assert tab.value("byId('revenue-chart').layout.font.color") == "#1c2430"
        tab.click("#theme")
        assert tab.value(page_colour) == "rgb(20, 24, 30)"


def test_it_is_readable_by_machines(shared: Tab) -> None:
    """Every table has a caption and headings with a scope, every chart says what it shows, every control has a label."""
    shared.value("openAccount(0)")
    assert shared.value("[...document.querySelectorAll('table')].filter(t => !t.caption?.textContent).length") == 0
    assert shared.value("[...document.querySelectorAll('th')].filter(h => !h.scope).length") == 0
    assert (
        shared.value("[...document.querySelectorAll('.chart')].filter(c => !c.getAttribute('aria-label')).length") == 0
    )
    assert shared.value("[...document.querySelectorAll('select, input')].filter(c => !c.labels.length).length") == 0
    ids = shared.value(
        "[...document.querySelectorAll('[id]')].map(e => e.id).filter(id => !/^(clip|legend|topdefs|defs)/.test(id))"
    )
    assert len(ids) == len(set(ids))
    assert shared.value("document.querySelectorAll('h1').length") == 1
    shared.value("document.getElementById('account-view').close()")


def test_the_first_tab_skips_to_the_figures(open_page: Open) -> None:
    with open_page() as tab:
        tab.press("Tab")
        assert tab.value("document.activeElement.className") == "skip"
        outline = tab.value("(() => { byId('theme').focus(); return getComputedStyle(byId('theme')).outlineStyle; })()")
        assert outline == "solid"


def test_printing_is_light_whole_and_without_controls(open_page: Open, tmp_path: Path) -> None:
    with open_page(scheme="dark") as tab:
        tab.value("dispatchEvent(new Event('beforeprint'))")
        tab.call("Emulation.setEmulatedMedia", media="print")
        assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert tab.value("[...document.querySelectorAll('details')].every(d => d.open)")
        assert (
            tab.value(
                "Math.max(...[...document.querySelectorAll('main .main-svg')].map(e => e.getBoundingClientRect().width))"
            )
            <= 690
        )
        assert tab.value("getComputedStyle(document.querySelector('nav')).display") == "none"
        tab.call("Emulation.setEmulatedMedia", media="screen")
        tab.value("dispatchEvent(new Event('afterprint'))")
        assert not tab.value("document.querySelector('details').open")
        tab.printed(tmp_path / "page.pdf")
        assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_twenty_thousand_accounts_stay_quick(open_page: Open) -> None:
    """Only a page of rows is in the document; a search and a sort take well under a second."""
    timed = "(() => {{ const t = performance.now(); {}; orderAccounts(); showAccounts(); return performance.now() - t; }})()"
    with open_page(page_data(20_000)) as tab:
        assert tab.value("document.querySelectorAll('*').length") < 6_000
        assert tab.value(timed.format("LIST.query = 'account 1234'")) < 3_000
        assert tab.value("LIST.order.length") == 10 + 2  # 12340 to 12349, 01234 and 11234
        assert tab.value(timed.format("LIST.query = ''; LIST.sort = 'id'")) < 5_000
        assert tab.value(timed.format("LIST.sort = 'q50'")) < 3_000


def test_a_page_with_little_is_whole(open_page: Open, data: PageData) -> None:
    """Without a ledger, without a segment, with a single period and a single account that has no range."""
    one = data.accounts.head(1).copy()
    one[["mean", "sd", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "lower", "upper"]] = 0.0
    short = {freq: table.head(1) for freq, table in data.portfolio.items()}
    little = replace(bare(data), accounts=one, segments=(), by_segment={}, portfolio=short)
    with open_page(little) as tab:
        assert tab.value(DRAWN) == ["revenue-chart"]
        tab.value("openAccount(0)")
        assert "account-chances-chart" in tab.value(DRAWN)
        assert tab.value("document.getElementById('account-count').textContent") == "1 account"
        assert tab.complaints() == []
