"""Likelihoods written out with their slopes: the slopes are derivatives, and the special functions are those of SciPy."""

import numpy as np
import pytensor.tensor as pt
import pytest
from scipy import special, stats

from clvforecast.components.change import ChangePriors, change_component
from clvforecast.components.change_likelihood import log_phi, phi_slopes
from clvforecast.components.component import Component, data_first, packed
from clvforecast.components.native import LogLikelihood, log_gamma_and_slope
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


def test_log_phi_and_its_slopes_hold_from_one_tail_to_the_other() -> None:
    z = np.array([-200.0, -31.0, -29.0, -5.0, 0.0, 3.0, 9.0, 60.0])
    value = np.array([log_phi(at) for at in z])
    slopes = np.array([phi_slopes(at, of_at) for at, of_at in zip(z, value, strict=True)])
    assert value == pytest.approx(special.log_ndtr(z), rel=1e-6, abs=1e-15)
    hazard = np.exp(stats.norm.logpdf(z) - special.log_ndtr(z))
    assert slopes[:, 0] == pytest.approx(hazard, rel=1e-3, abs=1e-15)
    assert slopes[:, 1] == pytest.approx(-hazard * (hazard + z), rel=1e-3, abs=1e-2)


def test_packed_arrays_are_found_by_the_layout() -> None:
    arrays = data_first(
        ("b", "d"), {"a": np.arange(3), "b": np.arange(6.0).reshape(2, 3), "c": np.ones(2), "d": np.eye(2)}
    )
    whole = packed(arrays)
    assert list(arrays) == ["b", "d", "a", "c"]
    for (name, value), (start, rows, columns) in zip(arrays.items(), whole["layout"], strict=True):
        part = whole["wholes" if name == "a" else "reals"]
        assert part[start : start + rows * columns].reshape(value.shape) == pytest.approx(value)
    assert whole["layout"][3, 0] == 0, "what varies in size lies last"


def test_slopes_have_no_slopes() -> None:
    """Second derivatives are an error, not zeros."""
    theta = pt.dvector("theta")
    op = LogLikelihood(rate_log_likelihood)
    _, slope = op.make_node(theta, pt.dvector("reals"), pt.lvector("wholes"), pt.lmatrix("layout")).outputs
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        pt.grad(pt.sum(slope), theta)
