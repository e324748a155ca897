"""Laws of the forecast, under a posterior that knows the truth."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from clvforecast.errors import ForecastError
from clvforecast.forecast import Forecast, forecast
from clvforecast.histories import build_histories
from clvforecast.ledger import read_ledger
from clvforecast.reduction import Reduction
from clvforecast.simulation.run import Simulated
from clvforecast.simulation.slots import ORIGINS, UNITS_PER_CENT
from clvforecast.simulation.states import account_states
from clvforecast.synthetic import Truth, simulate_events
from known_world import known_ledger, known_posterior

DRAWS = 200
NOTHING_ELSE = {
    **{f"{kind}_rate": 0.0 for kind in ("expansion", "contraction", "change_order", "referral", "reactivation")},
    "termination_rate": 0.0,
}


@pytest.fixture(scope="module")
def company() -> tuple[pd.DataFrame, Truth]:
    return simulate_events(300, seed=11, left_truncated=0.2, notice_share=0.4)


@pytest.fixture(scope="module")
def made(company: tuple[pd.DataFrame, Truth]) -> Forecast:
    return run(company)


def run(company: tuple[pd.DataFrame, Truth], **options: object) -> Forecast:
    events, truth = company
    asked = {"horizon_months": 36, "draws": DRAWS, "keep_draws": True} | options
    return forecast(known_posterior(truth, n_draws=DRAWS), known_ledger(events, truth), **asked)


def test_split_by_origin_sums_to_the_total_in_every_draw(made: Forecast) -> None:
    """In exact units; the table of means then agrees to rounding."""
    by_origin = made.draws["revenue_by_origin"].sum("origin")
    np.testing.assert_allclose(by_origin, made.draws["revenue"], rtol=1e-13, atol=1e-9)
    means = made.accounts()[[f"from_{origin}" for origin in ORIGINS]].sum(axis=1)
    np.testing.assert_allclose(means, made.table["mean"], rtol=1e-12)
    units = made.totals
    assert np.array_equal(units.groups.sum(axis=(1, 2)), units.origins.sum(axis=(1, 2)))
    assert np.array_equal(units.groups.sum(axis=1), units.origins.sum(axis=1))


def test_origins_of_the_portfolio_are_those_of_its_accounts_however_they_are_asked_for(made: Forecast) -> None:
    accounts = made.accounts()
    for by in ("origin", ["origin"]):
        table = made.portfolio(freq=None, by=by).set_index("origin")
        for origin in ORIGINS:
            assert table.loc[origin, "mean"] == pytest.approx(accounts[f"from_{origin}"].sum(), rel=1e-9), origin


def test_portfolio_draws_are_the_summed_account_draws(made: Forecast) -> None:
    whole = made.portfolio_draws(freq=None).values[:, 0, 0]
    np.testing.assert_allclose(whole, made.draws["revenue"].sum("account"), rtol=1e-13)
    segments = made.portfolio_draws(freq=None, by="segment")
    for position, segment in enumerate(segments["group"].values):
        own = made.draws["revenue"].values[made.table["segment"] == segment].sum(axis=0)
        np.testing.assert_allclose(segments.values[:, position, 0], own, rtol=1e-12)


def test_periods_add_up_to_the_window(made: Forecast) -> None:
    whole = made.portfolio_draws(freq=None).values[:, 0, 0]
    for freq in ("ME", "QE", "YE-JUN"):
        np.testing.assert_allclose(made.portfolio_draws(freq).values[:, 0].sum(axis=1), whole, rtol=1e-13)
    assert made.portfolio("QE")["days"].sum() == np.diff(made.grid.bounds).sum()


def test_clv_identity_holds_for_every_account_and_draw(
    company: tuple[pd.DataFrame, Truth], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recognised to date + forward recognised + deferred = booked to date + new bookings − de-bookings, to the unit."""
    events, truth = company
    ledger = known_ledger(events, truth)
    posterior = known_posterior(truth, n_draws=DRAWS)
    states = account_states(build_histories(ledger), posterior.frame)
    checked = []

    def check(self: object, first: int, last: int, simulated: Simulated) -> None:
        to_date = (states.recognised_cents - states.booked_cents)[first:last] * UNITS_PER_CENT
        each = simulated.each
        assert each is not None
        assert np.array_equal(each.origins.sum(axis=2), simulated.revenue)
        forward = simulated.revenue + each.deferred
        assert np.array_equal(to_date[:, None] + forward, each.booked - each.debooked)
        assert (each.debooked >= 0).any()
        checked.append(last - first)

    monkeypatch.setattr(Reduction, "add", check)
    monkeypatch.setattr(Reduction, "keeps_all", True)
    forecast(posterior, ledger, horizon_months=36, draws=DRAWS, batch_accounts=128)
    assert sum(checked) == len(states.account_ids)


def assert_same_bytes(a: Forecast, b: Forecast) -> None:
    pd.testing.assert_frame_equal(a.accounts(), b.accounts(), check_exact=True)
    assert np.array_equal(a.totals.groups, b.totals.groups)
    assert np.array_equal(a.draws["clv"].values, b.draws["clv"].values)


def test_threads_batches_and_row_order_change_no_byte(company: tuple[pd.DataFrame, Truth], made: Forecast) -> None:
    events, truth = company
    assert_same_bytes(made, run(company, threads=1, batch_accounts=37))
    shuffled = events.sample(frac=1.0, random_state=3).reset_index(drop=True)
    assert_same_bytes(made, run((shuffled, truth), threads=2))


def test_slices_of_accounts_change_no_byte(
    company: tuple[pd.DataFrame, Truth], made: Forecast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["clvforecast.forecast"], "ACCOUNTS_AT_A_TIME", 11)
    assert_same_bytes(made, run(company))


def test_an_account_scored_alone_gets_the_bytes_it_gets_in_company(
    company: tuple[pd.DataFrame, Truth], made: Forecast
) -> None:
    events, truth = company
    account_ids = made.table["account_id"].iloc[[0, 77, 200]]
    for account_id in account_ids:
        own = replace(truth, accounts=truth.accounts[truth.accounts["account_id"] == account_id])
        ledger = read_ledger(events[events["account_id"] == account_id], accounts=own.accounts, as_of=truth.as_of)
        alone = forecast(known_posterior(truth, n_draws=DRAWS), ledger, horizon_months=36, draws=DRAWS, keep_draws=True)
        row = made.table.index[made.table["account_id"] == account_id][0]
        assert np.array_equal(alone.draws["revenue"].values[0], made.draws["revenue"].values[row])
        assert np.array_equal(alone.draws["clv"].values[0], made.draws["clv"].values[row])


def test_another_seed_gives_other_draws_of_the_same_distribution(
    company: tuple[pd.DataFrame, Truth], made: Forecast
) -> None:
    other = run(company, seed=8)
    assert not np.array_equal(other.draws["revenue"], made.draws["revenue"])
    a, b = (f.portfolio_draws(freq=None).values.ravel() for f in (made, other))
    assert abs(a.mean() - b.mean()) < 5 * np.hypot(a.std(), b.std()) / np.sqrt(DRAWS)


def test_certain_renewal_and_nothing_else_is_exactly_the_contract_for_ever() -> None:
    """No lapse, no event, no change: every account earns its daily rate on every day, whatever the draw."""
    sure = {
        **NOTHING_ELSE,
        "renewal_mu": 1 - 1e-15,
        "renewal_phi": 1e-6,
        "change_logit": [[-60.0, -60.0]] * 5,
        "term_values": (12,),
        "term_length": [[1.0], [1.0]],
        "first_term_length": (1.0,),
        "renewal_term_effect": (0.0,),
    }
    events, truth = simulate_events(40, seed=3, parameters=sure, late_booking=False)
    made = run((events, truth), horizon_months=48)
    assert np.ptp(made.draws["revenue"].values, axis=1).max() == 0.0
    assert made.table["p_active_36m"].eq(1.0).all()
    actual = truth.revenue(48).set_index("account_id").loc[made.table["account_id"], "revenue"].to_numpy()
    np.testing.assert_allclose(made.draws["revenue"].isel(draw=0), actual, atol=0.011)
    assert (
        made.table[["from_expansion", "from_contraction", "from_reactivation", "from_change_order"]].eq(0).all().all()
    )


def test_no_renewal_leaves_the_committed_revenue(company: tuple[pd.DataFrame, Truth]) -> None:
    events, truth = company
    never = {
        # θ is nearly one half for all, and each step so long that nobody survives it: θ^w with w > e^9 / 2.
        "renewal_mu": 0.5,
        "renewal_phi": 2e-6,
        "renewal_term_effect": [9.0] * 3,
        **dict.fromkeys(NOTHING_ELSE, 1e-12),
    }
    posterior = known_posterior(truth, n_draws=20, **never)
    made = forecast(posterior, known_ledger(events, truth), horizon_months=120, draws=20, keep_draws=True)
    remaining = made.table["booked_to_date"] - made.table["clv_to_date"]
    np.testing.assert_allclose(made.draws["revenue"].isel(draw=7), remaining, atol=0.011)


def test_revenue_grows_with_the_horizon_except_for_contractions(company: tuple[pd.DataFrame, Truth]) -> None:
    """The same draw with a longer horizon is the same life seen for longer."""
    events, truth = company
    quiet = {"contraction_rate": 1e-12, "termination_rate": 1e-12}
    posterior = known_posterior(truth, n_draws=50, **quiet)
    ledger = known_ledger(events, truth)
    totals = [
        forecast(posterior, ledger, horizon_months=months, draws=50).portfolio_draws(freq=None).mean("draw").item()
        for months in (6, 12, 24, 48)
    ]
    assert np.all(np.diff(totals) > 0)


def test_intervals_widen_with_their_level(made: Forecast) -> None:
    for kind in ("eti", "hdi"):
        widths = [made.accounts(p, kind).eval("upper - lower").to_numpy() for p in (0.5, 0.8, 0.9, 0.95)]
        assert all((wide >= narrow - 1e-9).all() for narrow, wide in zip(widths, widths[1:], strict=False))
    assert (made.accounts(0.9, "hdi").eval("upper - lower") <= made.accounts(0.9).eval("upper - lower") + 1e-6).all()


def test_ranges_of_groups_come_from_summed_draws(made: Forecast) -> None:
    table = made.portfolio(freq=None, by="segment")
    draws = made.portfolio_draws(freq=None, by="segment")
    np.testing.assert_allclose(table["q95"], np.quantile(draws.values[:, :, 0], 0.95, axis=0), rtol=1e-12)
    assert table["q95"].sum() > made.portfolio(freq=None)["q95"].item()


def test_discounting_and_margin(company: tuple[pd.DataFrame, Truth], made: Forecast) -> None:
    free = run(company, annual_discount_rate=0.0)
    np.testing.assert_allclose(free.draws["clv"], free.draws["revenue"], rtol=1e-9)
    assert free.table["beyond_horizon"].isna().all()
    half = run(company, gross_margin=0.5)
    np.testing.assert_allclose(half.draws["clv"], 0.5 * made.draws["clv"], rtol=1e-13)
    monthly = made.portfolio_draws("ME").values[:, 0] @ made.grid.discount
    np.testing.assert_allclose(monthly, made.draws["clv"].sum("account"), rtol=1e-10)


def test_booked_view_counts_money_when_it_is_booked(company: tuple[pd.DataFrame, Truth]) -> None:
    """Nothing is committed any more; over a long window what is booked exceeds what is served of it."""
    booked = run(company, timing="booked")
    assert booked.table["from_committed"].le(0).all()  # only what an early termination gives back
    assert booked.table["from_catch_up"].eq(0).all()


def test_known_by_counts_only_what_is_booked_by_then(company: tuple[pd.DataFrame, Truth]) -> None:
    truth = company[1]
    nothing_new = run(company, known_by=truth.as_of)
    assert nothing_new.table["from_renewal"].eq(0).all()
    np.testing.assert_allclose(nothing_new.table["mean"], nothing_new.table["from_committed"], rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"horizon_months": 0}, "horizon_months=0"),
        ({"draws": DRAWS + 1}, f"the posterior holds {DRAWS} draws"),
        ({"annual_discount_rate": -0.1}, "annual_discount_rate=-0.1"),
        ({"group_by": ["colour"]}, "no column 'colour'"),
        ({"ci_probs": (1.5,)}, "ci_prob=1.5"),
    ],
)
def test_wrong_calls_say_what_to_do(company: tuple[pd.DataFrame, Truth], options: dict, words: str) -> None:
    with pytest.raises(ForecastError, match=words.replace("[", r"\[")):
        run(company, **options)


def test_only_the_draws_asked_for_are_kept_and_they_are_the_same(
    company: tuple[pd.DataFrame, Truth], made: Forecast
) -> None:
    some = run(company, keep_draws=("revenue", "mrr"))
    assert set(some.draws.data_vars) == {"revenue", "mrr"} and some.draws["month"].values.tolist() == [12, 24, 36]
    for name in some.draws.data_vars:
        assert some.draws[name].identical(made.draws[name])
    assert ((made.draws["mrr"] > 0).mean("draw").sel(month=24).values == made.table["p_active_24m"]).all()
    with pytest.raises(ForecastError, match="draws of clv were not kept"):
        some.plot(some.table["account_id"][0])
    with pytest.raises(ForecastError, match="keep_draws"):
        run(company, keep_draws=("colour",))


def test_wrong_questions_say_what_to_do(made: Forecast) -> None:
    with pytest.raises(ForecastError, match="was not kept"):
        made.accounts(ci_prob=0.77)
    with pytest.raises(ForecastError, match="group_by"):
        made.portfolio(by="region")
    with pytest.raises(ForecastError, match="origin cannot be combined"):
        made.portfolio(by=["origin", "segment"])
    with pytest.raises(ForecastError, match="QE-JUN"):
        made.portfolio(freq="W")
    with pytest.raises(ForecastError, match="keep_draws=True"):
        replace(made, kept=None).draws


def test_the_portfolio_total_is_neither_high_nor_low_under_the_truth() -> None:
    """Over 24 companies the actual total's place among the draws is uniform, and on average it is where the mean is.

    The simulator of companies is written apart from the kernel, so this compares two programs and the whole way between.
    """
    places, excess = [], []
    for seed in range(1, 25):
        events, truth = simulate_events(600, seed=seed, future_months=36)
        made = forecast(
            known_posterior(truth, n_draws=DRAWS), known_ledger(events, truth), horizon_months=36, draws=DRAWS
        )
        total = made.portfolio_draws(freq=None).sum(["group", "period"]).values
        actual = truth.revenue(36).drop(columns="account_id").to_numpy().sum()
        places.append((total < actual).mean())
        excess.append((actual - total.mean()) / total.std())
    assert kstest(places, "uniform").pvalue > 0.01
    assert abs(np.mean(excess)) < 3 / np.sqrt(len(excess))


def test_clv_is_what_came_and_what_comes_counted_alike(company: tuple[pd.DataFrame, Truth]) -> None:
    """Booked: to date + forward new bookings (− de-bookings); what is committed is in neither of recognised + bookings."""
    for timing, to_date in (("recognised", "clv_to_date"), ("booked", "booked_to_date")):
        table = run(company, timing=timing).accounts()
        np.testing.assert_array_equal(table["clv"], table[to_date] + table["mean"])
