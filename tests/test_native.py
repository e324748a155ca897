"""Likelihoods written out with their slopes: the slopes are derivatives, and the special functions are those of SciPy."""

from itertools import product

import numpy as np
import pytensor.tensor as pt
import pytest
from scipy import special

from clvforecast.arithmetic import (
    exp,
    expm1_and_power,
    log,
    log1p,
    log_gamma_and_slope,
    log_gamma_ratio_and_slopes,
    ratio_of_betas,
)
from clvforecast.components.change import ChangePriors, change_component
from clvforecast.components.change_likelihood import log_phi_and_hazard
from clvforecast.components.component import Component, data_first, packed
from clvforecast.components.graph import LogLikelihood
from clvforecast.components.rates import RatePriors, rate_component
from clvforecast.components.rates_likelihood import rate_log_likelihood
from clvforecast.components.renewal import renewal_component
from clvforecast.components.renewal_design import RenewalPriors
from clvforecast.components.sizes import SizePriors, size_component
from component_cells import change_cells, make_frame, rate_cells, renewal_cells, size_cells


def one(kind: str) -> Component:
    rng = np.random.default_rng(5)
    frame = make_frame(2, uses_notice=kind == "renewal with notices", n_lags=1 if kind == "renewal in one bin" else 3)
    if kind.startswith("renewal"):
        return renewal_component(renewal_cells(frame, 150, rng), frame, RenewalPriors())
    if kind == "change":
        return change_component(change_cells(frame, 200, rng, 40), frame, ChangePriors())
    if kind == "sizes":
        return size_component(size_cells(frame, "expansion", 100, rng), frame, SizePriors())
    return rate_component(rate_cells(frame, kind, 100, rng), frame, RatePriors())


@pytest.mark.parametrize(
    "kind",
    ["renewal", "renewal with notices", "renewal in one bin", "change", "sizes", "expansion", "termination"],
)
def test_slopes_are_derivatives(kind) -> None:
    """Central differences of the whole log density along each axis, at three points."""
    model = one(kind).model()
    density = model.logp_dlogp_function(ravel_inputs=True, mode="FAST_COMPILE")
    density.set_extra_values({})
    rng, h = np.random.default_rng(6), 1e-5
    size = sum(np.size(value) for value in model.initial_point().values())
    for _ in range(3):
        x = rng.normal(0.0, 0.5, size)
        slope = np.array(density(x)[1])
        steps = h * np.eye(size)
        by_difference = [(float(density(x + step)[0]) - float(density(x - step)[0])) / (2 * h) for step in steps]
        assert slope == pytest.approx(np.array(by_difference), rel=1e-5, abs=1e-4)


def test_log_gamma_and_its_slope_from_nearly_zero_to_ten_million() -> None:
    x = np.concatenate([np.logspace(-6, 7, 3001), np.arange(1.0, 14.0), np.nextafter(6.0, [0.0, 9.0])])
    found = np.array([log_gamma_and_slope(value) for value in x])
    assert found[:, 0] == pytest.approx(special.gammaln(x), rel=1e-13, abs=1e-13)
    assert found[:, 1] == pytest.approx(special.digamma(x), rel=1e-12, abs=1e-12)


def test_ratios_of_betas_are_products() -> None:
    """B(a + n, b) / B(a, b) = prod (a + k) / (a + b + k); and in steps that are no whole numbers."""
    for a, b, n in product(np.logspace(-6, 6, 13), np.logspace(-6, 6, 13), (0, 1, 5, 60)):
        exact = float(np.prod((a + np.arange(n)) / (a + b + np.arange(n))))
        assert ratio_of_betas(a, b, float(n)) == pytest.approx(exact, rel=1e-12, abs=1e-300)
        step = ratio_of_betas(a, b, 0.3) * ratio_of_betas(a + 0.3, b, n - 0.3) if n else 1.0
        assert step == pytest.approx(exact, rel=1e-12, abs=1e-300)


def test_ratios_of_gammas_are_differences_of_their_logarithms() -> None:
    x = np.logspace(-5, 6, 400)
    for ratio in (1.0, 1.001, 3.0, 1e3):
        b = (ratio - 1.0) * x
        found = np.array([log_gamma_ratio_and_slopes(*pair) for pair in zip(x, b, strict=True)])
        scale = 1.0 + np.abs(special.gammaln(x + b))
        assert found[:, 0] / scale == pytest.approx((special.gammaln(x) - special.gammaln(x + b)) / scale, abs=1e-13)
        assert found[:, 1] == pytest.approx(special.digamma(x), rel=1e-12, abs=1e-12)
        assert found[:, 2] == pytest.approx(special.digamma(x) - special.digamma(x + b), rel=1e-12, abs=1e-12)
    assert [log_gamma_ratio_and_slopes(value, 0.0)[0] for value in x] == pytest.approx(0.0 * x, abs=1e-15)


def test_ratios_of_gammas_keep_their_digits_where_one_step_is_nothing_to_the_other() -> None:
    """Against ``-b log x``, to which the ratio comes for x endless, with the next term, b (1 - b) / (2 x)."""
    for x, b in product(np.logspace(8, 16, 9), (0.01, 0.126, 3.0, 40.0)):
        value, _, difference = log_gamma_ratio_and_slopes(x, b)
        assert value == pytest.approx(-b * np.log(x) + b * (1.0 - b) / (2.0 * x), rel=1e-13)
        assert difference == pytest.approx(-b / x, rel=3e-7)


def test_logarithm_and_exponential_are_those_of_the_library() -> None:
    x = np.concatenate([np.logspace(-300, 300, 4001), np.linspace(0.5, 2.0, 1001)])
    assert [log(value) for value in x] == pytest.approx(np.log(x), rel=3e-16, abs=3e-16)
    assert [log1p(value) for value in x] == pytest.approx(np.log1p(x), rel=5e-16)
    y = np.concatenate([np.linspace(-700.0, 700.0, 4001), np.linspace(-1.0, 1.0, 1001)])
    assert [exp(value) for value in y] == pytest.approx(np.exp(y), rel=5e-16)
    parts = np.array([expm1_and_power(value) for value in y])
    assert (parts[:, 1] - 1.0) + parts[:, 0] * parts[:, 1] == pytest.approx(np.expm1(y), rel=5e-16)


def test_what_is_not_a_number_stays_so() -> None:
    assert log(0.0) == -np.inf and log(np.inf) == np.inf
    assert np.isnan(log(-1.0)) and np.isnan(log(np.nan)) and np.isnan(exp(np.nan))
    assert 0.0 < exp(-1e6) < 1e-300 and 1e300 < exp(1e6) < np.inf


def test_log_phi_and_its_slope_hold_from_one_tail_to_the_other() -> None:
    z = np.concatenate([[-200.0, -31.0, 60.0], np.linspace(-12.0, 9.0, 1001)])
    found = np.array([log_phi_and_hazard(at) for at in z])
    assert found[:, 0] == pytest.approx(special.log_ndtr(z), rel=1e-13, abs=1e-15)
    # Slowly falling tails are 1 / |z| apart from the density: exact by the scaled complementary error function.
    hazard = np.sqrt(2.0 / np.pi) / special.erfcx(-z / np.sqrt(2.0))
    assert found[:, 1] == pytest.approx(np.where(z < 25.0, hazard, 0.0), rel=1e-12, abs=1e-300)


def test_packed_arrays_are_found_by_the_layout() -> None:
    arrays = data_first(
        ("b", "d"), {"a": np.arange(3), "b": np.arange(6.0).reshape(2, 3), "c": np.ones(2), "d": np.eye(2)}
    )
    whole = packed(arrays)
    assert list(arrays) == ["b", "d", "a", "c"]
    for (name, value), (start, rows, columns) in zip(arrays.items(), whole["layout"], strict=True):
        part = whole["wholes" if name == "a" else "reals"]
        assert part[start : start + rows * columns].reshape(value.shape) == pytest.approx(value)


def test_slopes_have_no_slopes() -> None:
    """Second derivatives are an error, not zeros."""
    theta = pt.dvector("theta")
    op = LogLikelihood(rate_log_likelihood)
    _, slope = op.make_node(theta, pt.dvector("reals"), pt.lvector("wholes"), pt.lmatrix("layout")).outputs
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        pt.grad(pt.sum(slope), theta)
