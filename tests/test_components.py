"""Every component's graph has the likelihood of the closed forms, written from its named variables; priors are what they say."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import logit

import named_likelihoods
from clvforecast.cells import Refunds, TermCells
from clvforecast.components import ModelPriors, build_components
from clvforecast.components.change import ChangePriors, carried_posterior, change_component
from clvforecast.components.pooling import (
    coords_of,
    effects_of,
    pooled_columns,
    prior_raw,
    raw_from_coords,
    refined,
    zero_sum_basis,
)
from clvforecast.components.rates import RatePriors, rate_component, rate_posterior
from clvforecast.components.renewal import renewal_component, renewal_posterior
from clvforecast.components.renewal_design import RenewalPriors
from clvforecast.components.sizes import SizePriors, size_component, size_posterior
from clvforecast.components.terms import TermPriors, dirichlet_draws, term_prior, terms_component
from clvforecast.likelihoods import (
    log_survival,
)
from component_cells import change_cells, company_cells, make_frame, rate_cells, renewal_cells, size_cells
from graph_values import log_likelihoods

POINTS = 4


def named_and_graph(component, seed=3):
    """Named variables (points, ...) at a few draws from the prior, and the graph's log-likelihood there."""
    raw = component.prior(np.random.default_rng(seed), (1, POINTS))
    values = {name: variable.values[0] for name, variable in component.variables(raw).items()}
    return values, log_likelihoods(component, raw)


@pytest.mark.parametrize(("n_segments", "n_sizes"), [(0, 1), (1, 3), (2, 4)])
@pytest.mark.parametrize("kind", ["expansion", "reactivation", "termination"])
def test_rate_graph(kind, n_segments, n_sizes) -> None:
    frame, rng = make_frame(n_segments, n_sizes), np.random.default_rng(1)
    cells = rate_cells(frame, kind, 150, rng, sized=kind != "reactivation")
    values, graph = named_and_graph(rate_component(cells, frame, RatePriors()))
    expected = [named_likelihoods.rate(values, frame, cells, i) for i in range(POINTS)]
    assert graph == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n_segments", "n_sizes"), [(0, 1), (1, 3)])
@pytest.mark.parametrize("kind", ["contraction", "return_value"])
def test_size_graph(kind, n_segments, n_sizes) -> None:
    frame, rng = make_frame(n_segments, n_sizes), np.random.default_rng(1)
    cells = size_cells(frame, kind, 150, rng)
    component = size_component(cells, frame, SizePriors())
    values, graph = named_and_graph(component)
    raw = component.prior(np.random.default_rng(3), (1, POINTS))
    constant = 0.5 * (cells.n * cells.n_lines).sum() * np.log(2.0 * np.pi)
    for i in range(POINTS):
        found = named_likelihoods.size(values, frame, cells, i, icc=raw["icc"][0, i])
        assert graph[i] == pytest.approx(found + constant, rel=1e-9)


@pytest.mark.parametrize(
    ("n_segments", "n_sizes", "uses_notice", "n_lags", "years"),
    [(0, 1, False, 1, 3), (1, 3, False, 3, 7), (2, 2, True, 3, 7), (1, 2, True, 1, 3)],
)
def test_renewal_graph(n_segments, n_sizes, uses_notice, n_lags, years) -> None:
    frame = make_frame(n_segments, n_sizes, uses_notice, n_lags)
    cells = renewal_cells(frame, 200, np.random.default_rng(2), years=years, earlier=1 if years < 5 else 2)
    component = renewal_component(cells, frame, RenewalPriors())
    assert ("prior_log_c" in component.arrays) == (cells.max_decisions >= 5)
    values, graph = named_and_graph(component)
    expected = [named_likelihoods.renewal(values, frame, cells, i) for i in range(POINTS)]
    assert graph == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("n_segments", "n_amended"), [(0, 40), (1, 40), (2, 0)])
def test_change_graph(n_segments, n_amended) -> None:
    frame = make_frame(n_segments)
    cells = change_cells(frame, 300, np.random.default_rng(4), n_amended)
    values, graph = named_and_graph(change_component(cells, frame, ChangePriors()))
    assert graph == pytest.approx([named_likelihoods.change(values, frame, cells, i) for i in range(POINTS)], rel=1e-8)


def test_one_size_class_beside_a_segment() -> None:
    """The SD of a column that has a single level is a parameter all the same, and belongs to the graph's shape."""
    frame, rng = make_frame(1, 1), np.random.default_rng(1)
    rate = rate_component(rate_cells(frame, "expansion", 100, rng, sized=True), frame, RatePriors())
    size = size_component(size_cells(frame, "contraction", 100, rng), frame, SizePriors())
    for component in (rate, size):
        model = component.model()
        assert model["sd"].type.shape == (2,)
        assert component.variables(component.prior(rng, (1, 3)))


def test_zero_sum_basis() -> None:
    Q = zero_sum_basis(np.array([5.0, 100.0, 0.0, 30.0]))
    assert Q.sum(axis=0) == pytest.approx(0.0, abs=1e-12)
    assert Q.T @ Q == pytest.approx(np.eye(3), abs=1e-12)
    # The first contrast is between the two levels with the most data.
    assert np.flatnonzero(np.abs(Q[:, 0]) > 1e-12).tolist() == [1, 3]
    assert zero_sum_basis(np.array([3.0])).shape == (1, 0)


@pytest.mark.parametrize(("guess", "error"), [(0.0, 1e3), (0.0, 1e-3), (0.8, 0.3)])
def test_effects_have_the_same_prior_however_they_are_sampled(guess, error) -> None:
    """effect ~ Normal(0, s^2 (I - 11'/L)): variance s^2 (L - 1) / L each, sum zero."""
    pooling = pooled_columns([np.arange(4)], [4], np.ones(4))
    pooling = replace(pooling, guess=np.full(3, guess), error=np.full(3, error))
    sd, rng = np.full((20000, 1), 0.7), np.random.default_rng(0)
    raw = prior_raw(sd, pooling, rng)
    # The graph's prior of raw: Normal(-m t / e, sqrt(s^2 + e^2) / e).
    h = np.hypot(0.7, error)
    assert raw.std() == pytest.approx(h / error, rel=0.03)
    assert raw.mean() == pytest.approx(-guess * 0.7 / (h * error), abs=0.03 * h / error)
    (effects,) = effects_of(coords_of(raw, sd, pooling), pooling)
    assert effects.sum(axis=1) == pytest.approx(0.0, abs=1e-9)
    assert effects.var(axis=0) == pytest.approx(0.49 * 0.75, rel=0.05)


def test_a_posterior_under_given_sds_tells_what_the_data_alone_say() -> None:
    """Normal likelihood at .4 +- .1 for one coordinate, none for the other, prior SD .5: both found from the posterior."""
    s, first_error = np.full(2, 0.5), np.array([0.3, 1e3])
    shrink = 0.5**2 / (0.5**2 + 0.1**2)
    mode = raw_from_coords(np.array([0.4 * shrink, 0.0]), s, np.zeros(2), first_error)
    scale = first_error * s / np.hypot(s, first_error)
    variance = np.array([0.1**2 * shrink, 0.5**2]) / scale**2
    guess, error = refined(mode, variance, s, np.zeros(2), first_error)
    assert (guess[0], error[0]) == pytest.approx((0.4, 0.1), rel=1e-9)
    assert error[1] == 1e3


def test_priors_of_named_variables_are_those_declared() -> None:
    """However the sampled level is shifted, log rate, mean, logit mu and class effects keep their priors."""
    frame = make_frame(1, 3)
    components = {c.name: c for c in build_components(company_cells(frame, 300, 5), frame, ModelPriors())}

    def drawn(name):
        raw = components[name].prior(np.random.default_rng(1), (1, 20000))
        return {key: variable.values[0] for key, variable in components[name].variables(raw).items()}

    def matches(values, mean, sd):
        assert values.mean() == pytest.approx(mean, abs=0.04 * sd)
        assert values.std() == pytest.approx(sd, rel=0.03)

    rates, sizes, renewal, change = (drawn(n) for n in ("expansion_rate", "contraction_size", "renewal", "change"))
    matches(np.log(rates["expansion_rate"]), -1.5, 1.5)
    matches(np.log(rates["expansion_rate_shape"]), 0.0, 1.0)
    matches(sizes["contraction_size_mean"], -1.0, 1.5)
    matches(logit(renewal["renewal_mu"]), 1.2, 1.0)
    matches(np.log(renewal["renewal_c"]), 0.0, 0.3)
    matches(renewal["renewal_term_effect"][:, 1], 0.0, 0.7)
    matches(renewal["renewal_number_effect"][:, 3], 0.0, 0.4)
    matches(renewal["renewal_cut_effect"], 0.0, 0.7)
    matches(renewal["booking_lag"][:, 1], 1.0 / 3.0, np.sqrt(1.0 / 18.0))
    matches(change["change_logit"][:, 2, 1], -0.5, 1.5)
    matches(change["change_up_size_mean"], -1.5, 1.5)
    matches(logit(change["persistence"]), 0.0, 1.5)


def test_a_company_without_events_is_left_with_its_priors() -> None:
    """Running terms alone: every part but renewal is drawn in closed form; the renewal graph is finite."""
    for n_segments in (0, 1):
        frame = make_frame(n_segments, 3)
        components = {
            c.name: c for c in build_components(company_cells(frame, 60, 1, events=False), frame, ModelPriors())
        }
        renewal = components.pop("renewal")
        values, graph = named_and_graph(renewal)
        assert np.all(np.isfinite(graph)) and np.all((values["renewal_mu"] > 0) & (values["renewal_mu"] < 1))
        for component in components.values():
            raw = component.closed_form(np.random.default_rng(0), (2, 50))
            for name, variable in component.variables(raw).items():
                assert variable.values.shape[:2] == (2, 50), name
                assert np.all(np.isfinite(variable.values)), name
        note = components["referral_rate"].note
        assert "no referral in" in note and "the prior, almost none" in note


def test_rate_without_events_is_gamma() -> None:
    """Gamma(1/2, 50 + exposure years)."""
    frame = make_frame(1, 2)
    cells = rate_cells(frame, "referral", 40, np.random.default_rng(0), rate=0.0)
    component = rate_component(cells, frame, RatePriors())
    raw = component.closed_form(np.random.default_rng(0), (1, 20000))
    values = component.variables(raw)
    years = (cells.n_lines * cells.exposure).sum()
    assert values["referral_rate"].values.mean() == pytest.approx(0.5 / (50.0 + years), rel=0.05)
    assert np.all(values["referral_rate_segment_effect"].values == 0.0)


def test_term_lengths_are_dirichlet() -> None:
    frame = make_frame()
    cells = TermCells(counts=np.array([[8, 2], [1, 3], [2, 0]]))
    # 1/V everywhere, one pseudo-renewal on the row's own class, pooled shares 11/16 and 5/16 on the return's row
    assert term_prior(cells, frame, TermPriors()) == pytest.approx(
        np.array([[1.5, 0.5], [0.5, 1.5], [0.5 + 11 / 16, 0.5 + 5 / 16]])
    )
    component = terms_component(cells, Refunds(refunded=3, kept=1), frame, TermPriors())
    values = component.variables(component.closed_form(np.random.default_rng(0), (2, 20000)))
    rows = values["term_length"].values
    assert rows.sum(axis=-1) == pytest.approx(1.0)
    assert rows[..., 0, 0].mean() == pytest.approx(9.5 / 12.0, abs=0.005)
    assert values["refund_share"].values.mean() == pytest.approx(4.0 / 6.0, abs=0.005)


def test_tiny_dirichlet_parameters_do_not_underflow() -> None:
    shares = dirichlet_draws(np.full(50, 0.002), np.random.default_rng(0), (2, 200))
    assert np.all(np.isfinite(shares)) and shares.sum(axis=-1) == pytest.approx(1.0)


def test_latent_posteriors_against_integrals() -> None:
    """Means of the conjugate posteriors by numerical integration of prior times likelihood."""
    shape, rate = rate_posterior(3, 4.0, 1.5, 0.4)
    weight = [
        integrate.quad(
            lambda v, k=k: v**k * stats.gamma.pdf(v, 1.5, scale=0.4 / 1.5) * stats.poisson.pmf(3, 4.0 * v), 0, 30
        )[0]
        for k in (0, 1)
    ]
    assert shape / rate == pytest.approx(weight[1] / weight[0], rel=1e-6)

    centre, sd = size_posterior(2, -1.0, 0.3, 0.9, 0.4)
    tau, sigma = 0.9 * np.sqrt(0.4), 0.9 * np.sqrt(0.6)
    weight = [
        integrate.quad(
            lambda v, k=k: v**k * stats.norm.pdf(v, 0.3, tau) * stats.norm.pdf([-0.8, -0.2], v, sigma).prod(), -8, 8
        )[0]
        for k in (0, 1, 2)
    ]
    assert centre == pytest.approx(weight[1] / weight[0], rel=1e-6)
    assert sd**2 == pytest.approx(weight[2] / weight[0] - (weight[1] / weight[0]) ** 2, rel=1e-6)

    a, b = renewal_posterior(2.5, 3.0, 0.8)
    assert a / (a + b) == pytest.approx(np.exp(log_survival(3.5, 3.0, 0.8) - log_survival(2.5, 3.0, 0.8)), rel=1e-10)

    certain = carried_posterior(np.array([[-50.0, 0.0], [0.0, 0.0]]), np.array([0.3, 0.3]))
    assert certain == pytest.approx([1.0, 0.3], abs=1e-12)
