"""Scenarios are told in words, and one that changes the discount rate only shows what it changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pytest

import clvforecast as clv
from clvforecast.report.assumed import in_words
from clvforecast.report.page.data import gather
from clvforecast.report.page.write import page_html
from clvforecast.scenarios import RATES

SCENARIOS = [
    clv.Scenario(
        "Fewer renewals", clv.Assume(renewal_points=-0.05, where={"segment": ["S1", "S2"]}, start="2024-07-01")
    ),
    clv.Scenario("Costlier money", annual_discount_rate=0.2),
]


@pytest.fixture(scope="module")
def comparison() -> clv.Comparison:
    events, truth = clv.simulate_events(n_accounts=60, seed=3)
    ledger = clv.read_ledger(events, truth.accounts, as_of=truth.as_of)
    return clv.compare(clv.prior(ledger, ["segment"], draws=20), ledger, SCENARIOS, horizon_months=18, draws=12)


def test_workbook_and_page_say_in_words_what_is_assumed(comparison: clv.Comparison, tmp_path: Path) -> None:
    clv.write_workbook(comparison.base, tmp_path / "f.xlsx", comparison=comparison)
    sheet = openpyxl.load_workbook(tmp_path / "f.xlsx", data_only=True)["Scenarios"]
    told = [str(cells[0].value) for cells in sheet.iter_rows()]
    page = page_html(gather(comparison.base, comparison=comparison))
    for words in (
        "renewal probability −5 points, segment S1 or S2, from 2024-07-01",
        "discount rate 20% instead of 10%; it changes discounted values only",
    ):
        assert any(words in text for text in told) and words in page
    assert not any("renewal_points" in text for text in told)


def test_a_discount_rate_of_its_own_shows_in_the_discounted_value(comparison: clv.Comparison, tmp_path: Path) -> None:
    clv.write_workbook(comparison.base, tmp_path / "f.xlsx", comparison=comparison)
    sheet = openpyxl.load_workbook(tmp_path / "f.xlsx", data_only=True)["Scenarios"]
    rows = [cells for cells in sheet.iter_rows(values_only=True) if cells[0] == "Costlier money"]
    undiscounted, discounted = rows[0], rows[1]
    difference = comparison.difference(None, discounted=True).set_index("scenario").loc["Costlier money"]
    assert undiscounted[5] == 0.0
    assert difference["mean"] < 0.0 and discounted[5:8] == pytest.approx(
        difference[["mean", "lower", "upper"]].tolist()
    )
    data = gather(comparison.base, comparison=comparison)
    assert np.array_equal(
        data.scenarios["discounted_difference"]["mean"], comparison.difference(None, discounted=True)["mean"]
    )
    assert "Discounted value by scenario" in page_html(data)


def test_every_assumption_has_words() -> None:
    """No name of a setting is left, whatever is assumed."""
    every = clv.Assume(
        renewal_odds=0.5,
        renewal_points=0.1,
        price_uplift=-0.02,
        **dict.fromkeys(RATES, 1.5),
        term_mix={12: 0.5, 36: 0.5},
        term_mix_share=0.4,
        where={"account_id": "A1"},
        start="2024-01-01",
        end="2024-12-31",
    )
    words = in_words(clv.Scenario("all", every, lost_accounts={"B": "2024-03-01"}))
    assert "_" not in words
    for part in (
        "odds of renewal −50%",
        "+10 points",
        "renewal prices −2%",
        "50% more early terminations",
        "account A1",
    ):
        assert part in words
    assert "all contracts end of: B on 2024-03-01" in words
    assert in_words(clv.Scenario("none")) == "nothing changes"
