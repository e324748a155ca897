"""The synthetic company: frequencies and moments are those of its parameters, events obey the laws."""

import datetime as dt
import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.special import betaln, expit, logit

from clvforecast.errors import DatasetError
from clvforecast.synthetic import CompanyParameters, Truth, simulate_events
from clvforecast.synthetic.service import add_months, recognised_before

MONTH = 365.25 / 12
NO_EVENTS = {
    f"{kind}_rate": 0.0
    for kind in ("expansion", "contraction", "change_order", "referral", "reactivation", "termination")
}
# One segment, one size class, one term length, no class effects: each component can be checked alone.
PLAIN = NO_EVENTS | {
    "size_edges": (),
    "term_values": (12,),
    "renewal_number_effect": (0.0,) * 5,
    "renewal_year_sd": 0.0,
    "renewal_expanded_effect": 0.0,
    "renewal_cut_effect": 0.0,
}
ALWAYS_FLAT = {"change_logit": ((-40.0, -40.0),) * 5}


def company(n_accounts: int, seed: int = 3, segments: int = 1, **options) -> tuple[pd.DataFrame, Truth]:
    """All events of a company, known and future, with the service periods of its items."""
    options.setdefault("late_booking", False)
    events, truth = simulate_events(n_accounts, seed, segments=segments, **options)
    events = pd.concat([events, truth.future], ignore_index=True)
    return events.merge(truth.items[["event_id", "start_day", "end_day", "cents"]], on="event_id"), truth


def terms_of(events: pd.DataFrame) -> pd.DataFrame:
    """Terms in order, numbered by spell (a new one at each initial) and k, with the next term beside them."""
    terms = events[events["kind"].isin(["initial", "renewal"])].sort_values(["account_id", "start_day"])
    terms = terms.assign(
        months=terms["term_months"].astype(int),
        spell=(terms["kind"] == "initial").groupby(terms["account_id"]).cumsum(),
    )
    terms["mrr"] = terms["amount"] / terms["months"]
    spells = terms.groupby(["account_id", "spell"])
    terms["k"] = spells.cumcount() + 1
    terms["next_mrr"] = spells["mrr"].shift(-1)
    terms["next_months"] = spells["months"].shift(-1)
    terms["base"] = spells["mrr"].transform("first")
    return terms


def close(values, expected: float, sd: float | None = None, errors: float = 4.0) -> bool:
    """Whether the mean lies within four standard errors of what is expected."""
    values = np.asarray(values, dtype=float)
    standard_error = (values.std() if sd is None else sd) / math.sqrt(len(values))
    return abs(values.mean() - expected) < errors * standard_error


# --- the model ---


@pytest.mark.parametrize("c", [1.0, 1.4])
def test_survival_is_beta_discrete_weibull(c: float) -> None:
    # S(n) = B(a + n^c, b) / B(a, b) for yearly terms (Fader & Hardie 2007; Fader et al. 2018).
    events, truth = company(30_000, joining_years=1, parameters=PLAIN | {"renewal_c": c})
    a = truth.parameters["renewal_mu"] * (1 / truth.parameters["renewal_phi"] - 1)
    b = (1 - truth.parameters["renewal_mu"]) * (1 / truth.parameters["renewal_phi"] - 1)
    renewals = terms_of(events).groupby("account_id")["k"].max() - 1
    for n in range(1, 7):
        expected = math.exp(betaln(a + n**c, b) - betaln(a, b))
        assert close(renewals >= n, expected, sd=math.sqrt(expected * (1 - expected)))


def test_renewal_follows_every_class_of_the_path() -> None:
    # P(decision k | path) = B(a + W(k), b) / B(a + W(k - 1), b), with W rebuilt from the events alone.
    by_year = (0.0, 0.4, -0.3, 0.2, -0.5, 0.3, 0.6, -0.2)
    parameters = CompanyParameters(renewal_c=1.2, reactivation_rate=0.0, renewal_year_effect=by_year)
    events, truth = company(6_000, segments=3, parameters=parameters)
    last_day = events["start_day"].max()
    segment = dict(zip(truth.accounts["account_id"], truth.accounts["segment"].str[1:].astype(int) - 1, strict=True))
    residuals: dict[str, list[tuple[float, float]]] = {}
    amendments: dict[str, list[tuple[int, str, float]]] = {}
    for row in events[events["kind"].isin(["expansion", "contraction"])].itertuples():
        amendments.setdefault(row.account_id, []).append((row.start_day, row.kind, row.amount))
    ended_early = set(events.loc[events["kind"] == "churn", "account_id"])
    for account, terms in terms_of(events).groupby("account_id"):
        mu = expit(logit(parameters.renewal_mu) + parameters.renewal_segment_effect[segment[account]])
        a, b = mu * (1 / parameters.renewal_phi - 1), (1 - mu) * (1 / parameters.renewal_phi - 1)
        path, tenure, cut = 0.0, 0.0, False
        rows = list(terms.itertuples())
        for k, term in enumerate(rows, start=1):
            renewed = k < len(rows)
            if not renewed and (account in ended_early or term.end_day > last_day):
                break
            mine = [item for item in amendments.get(account, []) if term.start_day <= item[0] < term.end_day]
            expanded = any(kind == "expansion" for _, kind, _ in mine)
            total = term.amount + sum(amount for *_, amount in mine)
            klass = int(np.searchsorted(parameters.size_edges, math.log(total / term.months), side="right"))
            effect = (
                parameters.renewal_term_effect[parameters.term_values.index(term.months)]
                + parameters.renewal_size_effect[klass]
                + parameters.renewal_number_effect[min(k, 5) - 1]
                + parameters.renewal_expanded_effect * expanded
                + parameters.renewal_cut_effect * cut
            )
            year = 1970 + int(np.datetime64(int(term.end_day), "D").astype("datetime64[Y]").astype(int))
            place = year - truth.years[0]
            effect += by_year[place] if place < len(by_year) else 0.0
            later = tenure + term.months / 12
            step = (later**1.2 - tenure**1.2) * math.exp(effect)
            p = math.exp(betaln(a + path + step, b) - betaln(a + path, b))
            for name in (
                "all",
                f"k{min(k, 5)}",
                f"months{term.months}",
                f"size{klass}",
                f"expanded{expanded}",
                f"cut{cut}",
                f"year{year}",
            ):
                residuals.setdefault(name, []).append((renewed - p, p * (1 - p)))
            if renewed:
                path, tenure = path + step, later
                bare, amended = (
                    math.log(rows[k].mrr / term.mrr),
                    math.log(rows[k].mrr / max(total, 0.01 * term.amount) * term.months),
                )
                cut = (amended if abs(amended) < abs(bare) else bare) < -math.log(1.01)
    assert len(residuals) == 1 + 5 + 3 + 4 + 2 + 2 + 12
    for name, pairs in residuals.items():
        difference, variance = np.array(pairs).sum(axis=0)
        assert abs(difference) < 4 * math.sqrt(variance), name


@pytest.mark.parametrize("kind", ["expansion", "contraction", "change_order", "referral"])
def test_event_counts_are_negative_binomial(kind: str) -> None:
    # Gamma(r, mean m) rates: counts in a year have mean m and variance m + m^2 / r.
    rate, shape = 0.8, 0.7
    events, _ = company(
        30_000, history_years=1, joining_years=1, future_months=12,
        parameters=PLAIN | {f"{kind}_rate": rate, f"{kind}_rate_shape": shape},
    )  # fmt: skip
    first = events[events["kind"] == "initial"].set_index("account_id")
    happened = events[(events["kind"] == kind) & (events["start_day"] < events["account_id"].map(first["end_day"]))]
    counts = happened.groupby("account_id").size().reindex(first.index, fill_value=0)
    years = (first["end_day"] - first["start_day"]).mean() / 365.25
    assert close(counts, rate * years)
    variance = rate * years + (rate * years) ** 2 / shape
    assert counts.var() == pytest.approx(variance, rel=0.08)
    none = (1 + rate * years / shape) ** -shape
    assert close(counts == 0, none, sd=math.sqrt(none * (1 - none)))


def test_rates_follow_segment_and_size_class() -> None:
    parameters = CompanyParameters(expansion_rate_shape=50.0, termination_rate=0.0, first_term_length=(1.0, 0.0, 0.0))
    events, truth = company(20_000, segments=3, history_years=1, future_months=24, parameters=parameters)
    first = events[events["kind"] == "initial"].drop_duplicates("account_id").set_index("account_id")
    happened = events[
        (events["kind"] == "expansion") & (events["start_day"] < events["account_id"].map(first["end_day"]))
    ]
    table = truth.latents.merge(truth.accounts, on="account_id").set_index("account_id")
    table["n"] = happened.groupby("account_id").size().reindex(table.index, fill_value=0)
    table["years"] = (first["end_day"] - first["start_day"]) / 365.25
    for level, effect in enumerate(parameters.expansion_rate_segment_effect):
        for klass, size_effect in enumerate(parameters.expansion_rate_size_effect):
            cell = table[(table["segment"] == f"S{level + 1}") & (table["size_class"] == klass)]
            # Early terminations (1% a year) shorten a little of the exposure.
            expected = parameters.expansion_rate * math.exp(effect + size_effect) * cell["years"].sum()
            assert abs(cell["n"].sum() - expected) < 4 * math.sqrt(1.02 * expected)


def test_sizes_have_their_mean_sd_and_account_share() -> None:
    parameters = PLAIN | {
        "expansion_rate": 1.5,
        "contraction_rate": 0.4,
        "change_order_rate": 1.0,
        "referral_rate": 1.0,
    }
    events, truth = company(
        12_000, history_years=4, joining_years=1, future_months=0, parameters=parameters | ALWAYS_FLAT
    )
    terms = terms_of(events)
    base = terms.drop_duplicates("account_id").set_index("account_id")["base"]
    for kind, months in (("expansion", 12), ("change_order", 1), ("referral", 1)):
        found = events[events["kind"] == kind]
        y = np.log(found["amount"] / (found["account_id"].map(base) * months))
        check_sizes(y, found["account_id"], truth, kind)
    # A contraction's share is of the MRR in force: known at once for the first amendment of a term.
    amendments = events[events["kind"].isin(["expansion", "contraction"])].sort_values(["account_id", "start_day"])
    first = amendments.drop_duplicates(["account_id", "end_day"]).query("kind == 'contraction'")
    first = first.merge(terms[["account_id", "end_day", "mrr"]], on=["account_id", "end_day"])
    share = -first["amount"] / ((first["end_day"] - first["start_day"]) / MONTH) / first["mrr"]
    kept = (share > 1e-4) & (share < 1 - 1e-4) & (first["end_day"] - first["start_day"] > 5)
    check_sizes(logit(share[kept]), first.loc[kept, "account_id"], truth, "contraction")


def check_sizes(y: pd.Series, account: pd.Series, truth: Truth, kind: str) -> None:
    mean, sd, icc = (float(truth.parameters[f"{kind}_size_{name}"]) for name in ("mean", "sd", "icc"))
    by_account = y.groupby(account.to_numpy())
    one = by_account.first()
    assert close(one, mean), kind
    assert one.std() == pytest.approx(sd, rel=0.05), kind
    two = by_account.nth(1)
    pairs = one.reindex(account.loc[two.index].to_numpy()).to_numpy()
    products = (pairs - mean) * (two.to_numpy() - mean)
    assert close(products, icc * sd**2), kind


def test_directions_follow_the_previous_one() -> None:
    # Ups and downs far from 1%, so that what is observed is what was drawn.
    apart = {
        "change_up_size_mean": -1.0,
        "change_up_size_sd": 0.5,
        "change_down_size_mean": -1.0,
        "change_down_size_sd": 0.5,
    }
    events, truth = company(15_000, parameters=PLAIN | apart | {"renewal_mu": 0.95})
    terms = terms_of(events)
    log_ratio = np.log(terms["next_mrr"] / terms["mrr"])
    terms["next"] = np.select([log_ratio > math.log(1.01), log_ratio < -math.log(1.01)], ["up", "down"], "flat")
    spells = terms.groupby("account_id")
    terms["previous"] = spells["next"].shift().fillna("first")
    terms = terms.dropna(subset=["next_mrr"])
    for row, name in enumerate(("first", "down", "flat", "up")):
        down, up = np.exp(truth.parameters["change_logit"][row])
        found = terms.loc[terms["previous"] == name, "next"]
        for side, odds in (("down", down), ("flat", 1.0), ("up", up)):
            share = odds / (1 + down + up)
            assert close(found == side, share, sd=math.sqrt(share * (1 - share)))


@pytest.mark.parametrize("side", ["up", "down"])
def test_sizes_of_change_revert_and_follow_the_term(side: str) -> None:
    # y = alpha - rho x + gamma log(term ratio) + sd eps, recovered by least squares.
    always = ((-40.0, 40.0) if side == "up" else (40.0, -40.0),) * 5
    sizes = {"change_up_size_mean": -1.5, "change_up_size_sd": 0.6, "change_up_size_term_slope": 0.3}
    parameters = PLAIN | sizes | {"change_logit": always, "renewal_mu": 0.95, "term_values": (12, 24)}
    events, truth = company(8_000, parameters=parameters)
    terms = terms_of(events)
    spells = np.log(terms["mrr"]).groupby([terms["account_id"], terms["spell"]])
    terms["x"] = np.log(terms["mrr"]) - spells.cumsum() / terms["k"]
    terms = terms.dropna(subset=["next_mrr"])
    ratio = terms["next_mrr"] / terms["mrr"]
    y = np.log(ratio - 1) if side == "up" else logit(1 - ratio)
    x = np.column_stack([np.ones(len(y)), -terms["x"], np.log(terms["next_months"] / terms["months"])])
    found, squares, *_ = np.linalg.lstsq(x, y, rcond=None)
    sd = math.sqrt(squares[0] / len(y))
    errors = sd * np.sqrt(np.diag(np.linalg.inv(x.T @ x)))
    expected = [truth.parameters[f"change_{side}_size_{name}"] for name in ("mean", "reversion", "term_slope")]
    assert np.all(np.abs(found - expected) < 4 * errors)
    assert sd == pytest.approx(truth.parameters[f"change_{side}_size_sd"], rel=0.03)


def test_no_renewal_exceeds_the_largest_ratio() -> None:
    wild = {"change_logit": ((-40.0, 40.0),) * 5, "change_up_size_mean": 2.0, "change_up_size_sd": 2.0}
    events, _ = company(2_000, history_years=3, parameters=PLAIN | wild)
    terms = terms_of(events).dropna(subset=["next_mrr"])
    ratio = terms["next_mrr"] / terms["mrr"]
    assert 19.99 < ratio.max() < 20.01
    assert 0.1 < (ratio > 19.99).mean() < 0.9


def test_amendments_last_with_their_probability() -> None:
    events, truth = company(15_000, history_years=3, parameters=PLAIN | ALWAYS_FLAT | {"expansion_rate": 0.5})
    amended = events[events["kind"] == "expansion"].groupby(["account_id", "end_day"])["amount"].sum()
    terms = terms_of(events).dropna(subset=["next_mrr"]).join(amended.rename("amend"), on=["account_id", "end_day"])
    assert np.allclose(
        terms.loc[terms["amend"].isna(), "next_mrr"], terms.loc[terms["amend"].isna(), "mrr"], atol=0.001
    )
    terms = terms.dropna(subset=["amend"])
    lasting = (terms["amount"] + terms["amend"]) / terms["months"]
    lasts = np.isclose(terms["next_mrr"], lasting, atol=0.001)
    assert np.all(lasts | np.isclose(terms["next_mrr"], terms["mrr"], atol=0.001))
    q = float(truth.parameters["persistence"])
    assert close(lasts, q, sd=math.sqrt(q * (1 - q)))


def test_term_lengths_follow_their_rows() -> None:
    events, truth = company(15_000, segments=3, parameters={"reactivation_rate": 1.0})
    terms = terms_of(events)
    first = terms[(terms["spell"] == 1) & (terms["k"] == 1)]["months"]
    back = terms[(terms["spell"] > 1) & (terms["k"] == 1)]["months"]
    renewed = terms.dropna(subset=["next_months"])
    rows = [(renewed.loc[renewed["months"] == value, "next_months"], row) for row, value in enumerate((12, 36, 60))]
    for found, shares in [
        *((found, truth.parameters["term_length"][row]) for found, row in rows),
        (first, CompanyParameters().first_term_length),
        (back, truth.parameters["term_length"][3]),
    ]:
        for value, share in zip(truth.term_values, shares, strict=True):
            assert close(found == value, share, sd=math.sqrt(share * (1 - share)))


def test_booking_lags_follow_their_bins() -> None:
    events, truth = company(10_000, late_booking=True, parameters={"notice_share": 0.4})
    assert (
        events.loc[events["kind"] == "initial", "event_date"] == events.loc[events["kind"] == "initial", "start_date"]
    ).all()
    renewals = events[events["kind"] == "renewal"]
    notices = events[(events["kind"] == "churn") & (events["start_day"] == events["end_day"])]
    for found, name in ((renewals, "booking_lag"), (notices, "notice_lag")):
        lag = (found["event_date"] - found["start_date"]).dt.days
        assert lag.min() > truth.lag_edges[0] and lag.max() <= truth.lag_edges[-1]
        counts = np.histogram(lag, truth.lag_edges + 0.5)[0]
        for count, share in zip(counts, truth.parameters[name], strict=True):
            assert abs(count - share * len(lag)) < 4 * math.sqrt(share * len(lag))
    days = lag[(lag > 31) & (lag <= 61)]
    assert days.nunique() == 30


def test_returns_wait_out_grace_and_keep_their_value() -> None:
    fast = {"reactivation_rate": 0.5, "reactivation_rate_shape": 30.0, "renewal_mu": 0.3}
    events, truth = company(10_000, history_years=4, joining_years=1, future_months=240, parameters=PLAIN | fast)
    terms = terms_of(events)
    back = terms[(terms["spell"] == 2) & (terms["k"] == 1)].set_index("account_id")
    last = terms[terms["spell"] == 1].groupby("account_id").last().loc[back.index]
    wait = back["start_day"] - last["end_day"] - (last["end_day"] - last["start_day"]) // 4
    assert (wait >= 1).all()
    assert close(wait[wait < 3000] / 365.25, 2.0, errors=8)
    change = np.log(back["mrr"] / last["mrr"])
    assert close(change, float(truth.parameters["return_value_mean"]))
    assert change.std() == pytest.approx(truth.parameters["return_value_sd"], rel=0.05)
    assert (back["base"] == back["mrr"]).all()
    mu = expit(logit(0.3) + truth.parameters["renewal_second_spell_effect"])
    early = back[back["end_day"] < events["start_day"].max()]
    assert close(early["next_mrr"].notna(), mu, sd=math.sqrt(mu * (1 - mu)))


def test_terminations_have_their_rate_and_refunds() -> None:
    parameters = PLAIN | {
        "termination_rate": 0.2,
        "expansion_rate": 0.5,
        "contraction_rate": 0.3,
        "refund_share": 0.6,
    }
    events, truth = company(15_000, history_years=3, parameters=parameters)
    terms = terms_of(events)
    churn = events[events["kind"] == "churn"].set_index("account_id")
    assert churn.index.is_unique and (churn["start_day"] < churn["end_day"]).all()
    stop = np.minimum(terms["end_day"], terms["account_id"].map(churn["start_day"]).fillna(np.inf))
    years = (stop - terms["start_day"]).sum() / 365.25
    assert abs(len(churn) - 0.2 * years) < 4 * math.sqrt(0.2 * years)
    refunded = churn["amount"] < 0
    assert (churn["amount"] <= 0).all()
    assert close(refunded, 0.6, sd=0.49)
    # Nothing is recognised after a refunded termination; all of the term is, after one without refund.
    day = truth.items["account_id"].map(churn["start_day"])
    items = truth.items[day.notna()].assign(day=day.dropna().astype(int))
    cents, start, end = (items[name].to_numpy() for name in ("cents", "start_day", "end_day"))
    rest = cents - recognised_before(cents, start, end, items["day"].to_numpy())
    after = pd.Series(rest).groupby(items["account_id"].to_numpy()).sum()
    assert (after[refunded[refunded].index].abs() <= 2).all()
    assert (after[refunded[~refunded].index] > 0).all()


def test_left_truncated_accounts_have_survived_their_earlier_decisions() -> None:
    # P(renew the first decision seen | m before) = B(a + m + 1, b) / B(a + m, b).
    events, truth = company(40_000, history_years=3, left_truncated=0.8, parameters=PLAIN)
    a = truth.parameters["renewal_mu"] * (1 / truth.parameters["renewal_phi"] - 1)
    b = (1 - truth.parameters["renewal_mu"]) * (1 / truth.parameters["renewal_phi"] - 1)
    first = terms_of(events).query("k == 1").set_index("account_id")["next_mrr"].notna()
    earlier = truth.accounts.set_index("account_id")["observed_from"]
    assert earlier.value_counts(normalize=True)[0] == pytest.approx(0.2, abs=0.01)
    for m in range(4):
        p = math.exp(betaln(a + m + 1, b) - betaln(a + m, b))
        assert close(first[earlier == m], p, sd=math.sqrt(p * (1 - p)))


# --- the laws ---


def test_the_same_seed_gives_the_same_company() -> None:
    one, first = simulate_events(300, seed=5)
    two, second = simulate_events(300, seed=5)
    pd.testing.assert_frame_equal(one, two)
    pd.testing.assert_frame_equal(first.future, second.future)
    other, _ = simulate_events(300, seed=6)
    assert not one["amount"].equals(other["amount"])


def test_events_have_the_input_form() -> None:
    events, truth = simulate_events(500, seed=2, left_truncated=0.3, notice_share=0.5)
    columns = [
        "event_id",
        "account_id",
        "event_date",
        "kind",
        "amount",
        "currency",
        "start_date",
        "term_months",
    ]
    assert list(events) == columns and list(truth.future) == columns
    both = pd.concat([events, truth.future])
    assert both["event_id"].is_unique
    assert set(both["account_id"]) == set(truth.accounts["account_id"]) and events["account_id"].min() == "A000001"
    assert truth.as_of == dt.date(2023, 12, 31)
    assert events["event_date"].max() <= pd.Timestamp(truth.as_of) < truth.future["event_date"].min()
    is_term = both["kind"].isin(["initial", "renewal"])
    assert both["term_months"].notna().equals(is_term)
    sign = both["kind"].map({"contraction": -1, "churn": 0}).fillna(1)
    assert ((np.sign(both["amount"]) == sign) | ((both["kind"] == "churn") & (both["amount"] <= 0))).all()
    assert np.allclose(both["amount"] * 100, np.rint(both["amount"] * 100), atol=1e-6)
    assert truth.accounts["segment"].value_counts().is_monotonic_decreasing
    assert truth.accounts["segment"].nunique() == 3


def test_amendments_are_inside_terms_and_renewals_follow_without_a_gap() -> None:
    events, _ = company(3_000, segments=3, late_booking=True)
    terms = terms_of(events)
    for _, spell in terms.groupby(["account_id", "spell"]):
        for before, after in pairwise(spell.itertuples()):
            assert after.start_day == before.end_day
    amendments = events[events["kind"].isin(["expansion", "contraction"])].merge(
        terms[["account_id", "start_day", "end_day", "event_date"]],
        on=["account_id", "end_day"],
        suffixes=("", "_term"),
    )
    assert len(amendments) == events["kind"].isin(["expansion", "contraction"]).sum()
    assert (
        (amendments["start_day"] >= amendments["start_day_term"]) & (amendments["start_day"] < amendments["end_day"])
    ).all()
    assert (amendments["event_date"] >= amendments[["start_date", "event_date_term"]].max(axis=1)).all()
    # MRR in force stays positive: contractions never take more than there is.
    assert (events.groupby("account_id")["cents"].sum() > 0).all()


@pytest.mark.parametrize(
    "kind", ["expansion", "contraction", "change_order", "referral", "reactivation", "termination"]
)
def test_a_zero_rate_gives_no_events(kind: str) -> None:
    events, _ = company(2_000, segments=3, parameters={f"{kind}_rate": 0.0})
    if kind == "reactivation":
        assert (events["kind"] == "initial").sum() == 2_000
    else:
        assert not (events["kind"] == {"termination": "churn"}.get(kind, kind)).any()


def test_revenue_adds_up_to_what_is_booked() -> None:
    events, truth = simulate_events(400, seed=8)
    everything = truth.recognised(dt.date(2015, 1, 1), dt.date(2100, 1, 1))
    booked = pd.concat([events, truth.future]).groupby("account_id")["amount"].sum()
    assert np.allclose(everything.set_index("account_id")["revenue"], booked.loc[everything["account_id"]], atol=1e-6)
    assert (truth.revenue(0)["revenue"] == 0).all()
    two_years = truth.revenue(12)["revenue"] + truth.recognised(dt.date(2024, 12, 31), dt.date(2025, 12, 31))["revenue"]
    assert np.allclose(truth.revenue(24)["revenue"], two_years, atol=1e-6)
    with pytest.raises(DatasetError, match="future_months"):
        truth.revenue(61)


def test_recognition_by_hand() -> None:
    # 100.01 over 4 days from day 10: 25.0025 a day; halves to even; the last one whole on its day 12.
    cents, end = np.array([10001, 3, 1, -3, 500]), np.array([14, 12, 12, 12, 12])
    start = np.array([10, 10, 10, 10, 12])
    assert recognised_before(cents, start, end, 10).tolist() == [0, 0, 0, 0, 0]
    assert recognised_before(cents, start, end, 11).tolist() == [2500, 2, 0, -2, 0]
    assert recognised_before(cents, start, end, 12).tolist() == [5000, 3, 1, -3, 0]
    assert recognised_before(cents, start, end, 13).tolist() == [7501, 3, 1, -3, 500]
    assert recognised_before(cents, start, end, 99).tolist() == [10001, 3, 1, -3, 500]


def test_late_bookings_are_caught_up() -> None:
    # Recognised to date of what is known + forward revenue + catch-up
    # = what is booked and served before the horizon + service in the window of what is booked after it.
    events, truth = simulate_events(3_000, seed=4)
    forward = truth.revenue(60)
    assert (forward["catch_up"] >= 0).all() and 0.02 < (forward["catch_up"] > 0).mean() < 0.2
    origin, horizon = ((date - dt.date(1970, 1, 1)).days for date in (dt.date(2024, 1, 1), dt.date(2029, 1, 1)))
    cents, start, end, booked = (
        truth.items[name].to_numpy() for name in ("cents", "start_day", "end_day", "booked_day")
    )
    before_origin = recognised_before(cents, start, end, origin)
    before_horizon = recognised_before(cents, start, end, horizon)
    assert (truth.items["event_id"].isin(events["event_id"]).to_numpy() == (booked < origin)).all()
    left = before_origin[booked < origin].sum() / 100 + forward[["revenue", "catch_up"]].to_numpy().sum()
    right = before_horizon.sum() - before_origin[booked >= horizon].sum()
    assert left == pytest.approx(right / 100, abs=0.005)


def test_calendar_months_are_those_of_pandas() -> None:
    rng = np.random.default_rng(0)
    day, months = rng.integers(10_000, 25_000, 500), rng.integers(1, 61, 500)
    expected = [pd.Timestamp(d, unit="D") + pd.DateOffset(months=int(m)) for d, m in zip(day, months, strict=True)]
    assert add_months(day, months).tolist() == [(date - pd.Timestamp(0)).days for date in expected]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parameters": {"expansion_rat": 1}}, "expansion_rat"),
        ({"parameters": {"renewal_mu": 1.0}}, "renewal_mu"),
        ({"parameters": {"booking_lag": (1.0,)}}, "booking_lag"),
        ({"parameters": {"renewal_segment_effect": (0.1, 0.2, 0.3)}}, "zero-sum"),
        ({"parameters": {"renewal_segment_effect": (0.1, -0.1)}}, "segment level"),
        ({"n_accounts": 0}, "n_accounts"),
        ({"notice_share": 2.0}, "notice_share"),
    ],
)
def test_an_impossible_company_is_refused(options: dict, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        simulate_events(**options)


def test_other_segments_sizes_and_terms_have_defaults() -> None:
    events, truth = simulate_events(
        200, seed=1, segments=5, parameters={"size_edges": (6.5,), "term_values": (1, 12)}, history_years=3
    )
    assert len(truth.parameters["renewal_segment_effect"]) == 5
    assert truth.parameters["renewal_size_effect"].shape == (2,)
    assert truth.parameters["term_length"].shape == (3, 2)
    assert set(events["term_months"].dropna()) == {1, 12}
