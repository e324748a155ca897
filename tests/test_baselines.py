"""Baselines on contracts small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import clvforecast as clv
from clvforecast import baselines
from clvforecast.histories import build_histories
from clvforecast.likelihoods import cohort_log_likelihood, log_survival
from clvforecast.simulation.calendar import add_months, day_number


def known(events: pd.DataFrame, as_of: str, months: int = 12, past=lambda months_ago: None) -> baselines.Known:
    ledger = clv.read_ledger(events, as_of=as_of)
    paid = ledger.events.to_pandas()
    purchases = pd.DataFrame(
        {
            "account_id": paid["account_id"],
            "day": paid["event_date"].to_numpy().astype("datetime64[D]").astype(np.int64),
            "amount": paid["amount_cents"] / 100.0,
        }
    )
    accounts = pd.Index(sorted(events["account_id"].unique()))
    return baselines.Known(build_histories(ledger), accounts, months, past, purchases, seed=1)


def contract(account: str, starts: list[str], amount: float = 3652.5, months: int = 12) -> pd.DataFrame:
    """Terms booked on their start; about ten a day for a year."""
    return pd.DataFrame(
        {
            "account_id": account,
            "event_date": starts,
            "kind": ["initial", *["renewal"] * (len(starts) - 1)],
            "amount": amount,
            "currency": "USD",
            "term_months": months,
        }
    )


@pytest.fixture
def four() -> pd.DataFrame:
    """a renewed twice, b once and lapsed, c lapsed at once, d renewed once and runs."""
    return pd.concat(
        [
            contract("a", ["2020-01-01", "2021-01-01", "2022-01-01"]),
            contract("b", ["2020-01-01", "2021-01-01"]),
            contract("c", ["2020-01-01"]),
            contract("d", ["2021-07-01", "2022-07-01"]),
        ]
    )


def test_hand_set_probability_by_hand(four) -> None:
    """On 30 June 2022: a has 184 days left and then 181 at 70%; d one year, and nothing in the window after it."""
    found = baselines.hand_set(known(four, "2022-07-01"))[:, 0]
    daily = 3652.5 / 365
    assert found[0] == pytest.approx(daily * (183 + 0.7 * 182))
    assert found[1:3] == pytest.approx([0.0, 0.0]), "what is more than 92 days overdue has lapsed"
    assert found[3] == pytest.approx(daily * (364 + 0.7 * 1))


def test_historical_rate_counts_decisions(four) -> None:
    """Three renewals and two lapses are old enough, d's renewal of today is not; one more each for what is unknown."""
    assert baselines.historical_rate(build_histories(clv.read_ledger(four, as_of="2022-07-01"))) == pytest.approx(4 / 7)


def test_a_term_that_starts_later_earns_from_its_start() -> None:
    events = contract("a", ["2021-01-01"]).assign(event_date="2020-06-01", start_date="2021-01-01")
    found = baselines.hand_set(known(events, "2020-06-30"))[0, 0]
    assert found == pytest.approx(3652.5 / 365 * 181)


def test_spells_are_told_apart() -> None:
    """One account renewed once, lapsed, came back and is in its first term; it had three renewals before it was seen."""
    events = contract("a", ["2015-01-01", "2016-01-01", "2021-01-01"])
    events["kind"] = ["initial", "renewal", "initial"]
    accounts = pd.DataFrame({"account_id": ["a"], "observed_from": [3]})
    n, alive, before = baselines._spells(build_histories(clv.read_ledger(events, accounts, as_of="2021-06-30")))
    assert n.tolist() == [4.0, 0.0] and alive.tolist() == [False, True] and before.tolist() == [3.0, 0.0]


def test_purchase_models_without_repeat_purchases_say_nothing() -> None:
    events = pd.concat([contract(f"{i:02}", ["2021-01-01"]) for i in range(20)])
    assert np.isnan(baselines.purchase_models(known(events, "2021-12-31"))).all()


def test_trailing_churn_by_hand() -> None:
    """Of ten accounts at work a year before, two are lost: churn 1 - .8^(1/12) a month; the rest are worth a cut sum."""
    stay = [contract(f"s{i}", ["2020-01-01", "2021-01-01", "2022-01-01"]) for i in range(8)]
    lost = [contract(f"l{i}", ["2020-01-01", "2021-01-01"]) for i in range(2)]
    found = baselines.trailing_churn(known(pd.concat([*stay, *lost]), "2022-06-30", months=6))[:, 0]
    churn = 1 - 0.8 ** (1 / 12)
    mrr = 3652.5 / 365 * 365.25 / 12
    assert found[-1] == pytest.approx(mrr * (1 - (1 - churn) ** 6) / churn)
    assert found[:2] == pytest.approx([0.0, 0.0])


def test_sbg_estimates_are_the_published_ones() -> None:
    """Fader and Hardie (2007), High End, seven years: the maximum of the published likelihood."""
    survivors = np.array(clv.datasets.cohorts()["High End"].iloc[:8])
    n = np.repeat(np.arange(8), [*-np.diff(survivors), survivors[-1]]).astype(float)
    alive = np.repeat([False] * 7 + [True], [*-np.diff(survivors), survivors[-1]])
    a, b = baselines._sbg_estimates(n, alive, np.zeros(len(n)))
    best = cohort_log_likelihood(survivors, a, b)
    assert all(best >= cohort_log_likelihood(survivors, a * x, b * y) for x in (0.97, 1.03) for y in (0.97, 1.0, 1.03))
    assert np.exp(log_survival(12.0, a, b)) * 1000 == pytest.approx(380, abs=5)


def test_resampling_takes_ratios_of_accounts_in_the_same_position() -> None:
    """Forty accounts mid-term earned twelve MRR, forty lapsed ones nothing: each position draws its own."""
    events = pd.concat(
        [
            *(contract(f"m{i}", ["2020-01-01"], months=36) for i in range(40)),
            *(contract(f"l{i}", ["2018-01-01"]) for i in range(40)),
        ]
    )
    then = build_histories(clv.read_ledger(events, as_of="2020-06-30"))
    mrr = baselines.last_terms(then).set_index("account_id")["mrr"]
    revenue = pd.Series(np.where(mrr.index.str.startswith("m"), 12.0 * mrr, 0.0), index=mrr.index)

    def past(months_ago: int):
        return (then, revenue) if months_ago == 12 else None

    drawn = baselines.resampled_paths(known(events, "2021-06-30", past=past))
    assert (drawn[:40] == 0.0).all()
    assert drawn[40:] == pytest.approx(12.0 * mrr.loc["m0"])


def test_purchase_models_buy_on_at_the_rate_seen() -> None:
    """Two hundred accounts that book every month: about twelve bookings of about their usual amount in a year."""
    rng = np.random.default_rng(3)
    amounts = rng.gamma(6.0, 50.0, 200)
    one = [contract(f"{i:03}", [f"2021-{m:02}-01" for m in range(1, 13)], amounts[i], months=1) for i in range(200)]
    found = baselines.purchase_models(known(pd.concat(one), "2021-12-31"))[:, 0]
    assert (found >= 0.0).all()
    assert found.sum() == pytest.approx(12 * amounts.sum(), rel=0.15)
    assert np.corrcoef(found, amounts)[0, 1] > 0.95


def test_every_baseline_gives_one_row_an_account(four) -> None:
    for name, baseline in baselines.BASELINES.items():
        if name != "BG/NBD x Gamma-Gamma":  # four accounts are too few to fit
            assert baseline(known(four, "2022-06-30")).shape[0] == 4, name


def test_windows_end_on_the_same_day_of_the_month(four) -> None:
    context = known(four, "2022-06-30", months=8)
    assert context.end == add_months(context.start, 8) == day_number(pd.Timestamp("2023-03-01").date())
