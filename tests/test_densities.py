"""Compiled densities say what the PyMC models say, are compiled once, and their whitening is a change of coordinates."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from clvforecast.cells import Frame
from clvforecast.components import Component, ModelPriors, build_components
from clvforecast.components.exposures import merged_exposures
from clvforecast.components.rates import RatePriors, rate_component
from clvforecast.components.renewal_density import bends
from clvforecast.components.renewal_leans import Reference, leans
from clvforecast.components.target import Target, target_of
from clvforecast.laplace import placed, whitening
from clvforecast.likelihoods import log_survival
from clvforecast.sampling import Settings, sample_component
from clvforecast.triangles import inverse_of_root, lower_root, solved
from component_cells import company_cells, make_frame, rate_cells

SHAPES = ["no segment", "one level", "one segment", "two segments and notices", "200 levels", "one lag bin"]


def shaped(shape: str) -> tuple[Frame, int]:
    """A frame of that shape, and how many lines its company has."""
    if shape == "no segment":
        return make_frame(0, 1), 300
    if shape == "two segments and notices":
        return make_frame(2, 4, uses_notice=True), 400
    if shape == "one lag bin":
        return make_frame(1, 2, uses_notice=True, n_lags=1), 300
    frame = make_frame(1, 3)
    levels = {"one level": 1, "200 levels": 200}.get(shape, 4)
    return replace(frame, levels={name: tuple(f"level{i}" for i in range(levels)) for name in frame.segments}), 400


def components_of(shape: str) -> dict[str, Component]:
    """Those with something to sample; levels beyond the four that random cells know have no data."""
    frame, n = shaped(shape)
    known = make_frame(len(frame.segments), frame.n_size_classes, frame.uses_notice, frame.n_lag_bins)
    cells = company_cells(known, n, seed=4)
    if shape == "one level":
        cells = _in_one_level(cells)
    return {c.name: c for c in build_components(cells, frame, ModelPriors()) if c.closed_form is None}


def _in_one_level(cells):  # type: ignore[no-untyped-def]
    """All groups in the first level."""

    def moved(record):  # type: ignore[no-untyped-def]
        return replace(record, group_levels=np.zeros_like(record.group_levels))

    return replace(
        cells,
        renewal=moved(cells.renewal),
        change=moved(cells.change),
        rates={kind: moved(rate) for kind, rate in cells.rates.items()},
        sizes={kind: moved(size) for kind, size in cells.sizes.items()},
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_every_density_and_its_slope_are_those_of_the_pymc_model(shape: str) -> None:
    """Up to a constant, Jacobians included, at four random points."""
    seen = set()
    for component in components_of(shape).values():
        if component.density not in seen:
            seen.add(component.density)
            assert_like_its_graph(component)
    assert len(seen) == 4


@pytest.mark.parametrize("name", ["renewal", "change"])
def test_they_are_where_the_data_place_the_effects_too(name: str) -> None:
    for component in placed(components_of("one segment")[name]):
        assert_like_its_graph(component)


def assert_like_its_graph(component: Component) -> None:
    name, target, model = component.name, target_of(component), component.model()
    free = {model.rvs_to_values[rv].name: rv.type.shape for rv in model.free_RVs}
    suffix = {"": "", "log": "_log__", "logit": "_logodds__"}
    assert free == {p.name + suffix[p.transform]: p.shape for p in component.parameters}, name
    graph = model.logp_dlogp_function(ravel_inputs=True, mode="FAST_COMPILE")
    graph.set_extra_values({})
    points = np.random.default_rng(8).normal(0.0, 0.6, (4, target.n_dim))
    found, expected = [target.value_and_slope(x) for x in points], [graph(x) for x in points]
    for i in range(4):
        size = 1.0 + abs(found[i][0])
        by_value = (found[i][0] - found[0][0]) - (expected[i][0] - expected[0][0])
        assert abs(by_value) < 1e-12 * size, name
        scale = 1.0 + np.abs(expected[i][1])
        assert found[i][1] / scale == pytest.approx(expected[i][1] / scale, abs=3e-11), name


@pytest.mark.parametrize("name", ["expansion_rate", "contraction_size", "renewal", "change"])
def test_slopes_of_the_density_are_its_derivatives_in_whitened_coordinates(name: str) -> None:
    component = placed(components_of("one segment")[name])[-1]
    target = target_of(component, whitening(component))
    z, h = np.random.default_rng(1).normal(0.0, 1.0, target.n_dim), 1e-5
    by_difference = [
        (target.value_and_slope(z + step)[0] - target.value_and_slope(z - step)[0]) / (2 * h)
        for step in h * np.eye(target.n_dim)
    ]
    assert target.value_and_slope(z)[1] == pytest.approx(np.array(by_difference), rel=1e-5, abs=1e-4)


def log_jacobian(target: Target, z: np.ndarray) -> float:
    """log |dx / dz| by differences."""
    steps = 1e-5 * np.eye(target.n_dim)
    J = (target.unconstrained(z + steps) - target.unconstrained(z - steps)) / 2e-5
    return float(np.linalg.slogdet(J)[1])


@pytest.mark.parametrize("name", ["expansion_rate", "contraction_size", "renewal", "change"])
def test_whitening_is_a_change_of_coordinates_about_the_mode(name: str) -> None:
    component = placed(components_of("one segment")[name])[-1]
    plain, target = target_of(component), target_of(component, whitening(component))
    x = np.random.default_rng(2).normal(0.0, 0.3, (3, target.n_dim))
    z = target.whitened(x)
    assert target.unconstrained(z) == pytest.approx(x, abs=1e-9)
    constant = [
        target.value_and_slope(z[i])[0] - plain.value_and_slope(x[i])[0] - log_jacobian(target, z[i]) for i in range(3)
    ]
    assert np.array(constant) == pytest.approx(np.full(3, constant[0]), abs=1e-6), "the same posterior"
    value, slope = target.value_and_slope(np.zeros(target.n_dim))
    assert np.abs(slope).max() < 0.01, "the mode"
    away = np.array([target.value_and_slope(step)[0] for step in 0.1 * np.eye(target.n_dim)])
    assert value - away == pytest.approx(0.005, rel=0.25), "as curved as a standard normal"


def test_a_target_that_is_stopped_lets_no_step_pass() -> None:
    target = target_of(components_of("one segment")["expansion_rate"])
    z = np.zeros(target.n_dim)
    assert np.isfinite(target.value_and_slope(z)[0])
    target.stop()
    assert target.value_and_slope(z)[0] == -np.inf


def test_effects_that_lean_hold_survival_where_it_was() -> None:
    """Decision numbers of their own for 4 years: theta ~ Beta at another phi, another exponent, the same curve."""
    reference, phi, c = Reference(phi=0.3, mu=0.8, c=1.0), 0.55, 1.4
    t0, t1 = np.arange(4.0), np.arange(1.0, 5.0)
    numbers = np.eye(4)[:, 1:]
    lean, in_common, _ = leans(t0, t1, numbers, np.full(4, 1e6), np.full(3, 0.4), 0.3, reference)
    bend = bends(np.log(phi / (1.0 - phi)), np.log(c), reference.phi)
    w = (t1**c - t0**c) * np.exp(in_common @ bend + numbers @ (lean @ bend))
    total, before = 1.0 / phi - 1.0, 1.0 / reference.phi - 1.0
    assert log_survival(np.cumsum(w), 0.8 * total, 0.2 * total) == pytest.approx(
        log_survival(t1, 0.8 * before, 0.2 * before), rel=0.02
    )


def test_two_hundred_levels_with_and_without_data_pass_the_gate_at_once() -> None:
    component = components_of("200 levels")["expansion_rate"]
    labels = {"segment_level": [str(i) for i in range(200)], "segment": ["s"], "size_class": list("012")}
    sampled = sample_component(component, Settings(), lambda message: None, labels)
    assert component.n_dim > 200 and sampled.method == "NUTS, target_accept 0.85"
    assert float(sampled.stats["n_steps"].sum()) < 100 * 1000, "25 gradients a draw of the four thousand"


def test_roots_of_precisions() -> None:
    A = np.random.default_rng(0).normal(size=(6, 9))
    is_one, root = lower_root(A @ A.T, 0.5, 0.0)
    assert is_one and root == pytest.approx(np.linalg.cholesky(A @ A.T + 0.5 * np.eye(6)), rel=1e-9, abs=1e-12)
    inverse = inverse_of_root(root)
    assert inverse @ root == pytest.approx(np.eye(6), abs=1e-10)
    assert (A @ A.T + 0.5 * np.eye(6)) @ solved(inverse, A[:, 0]) == pytest.approx(A[:, 0], abs=1e-9)
    assert not lower_root(np.diag([1.0, -1.0]), 0.0, 0.0)[0]


def test_merged_exposures_give_the_same_sums_whatever_the_rate() -> None:
    """Half a month to twenty years, rates and shapes from nearly nothing to a million."""
    rng = np.random.default_rng(3)
    exposure = np.tile(np.arange(1, 481) / 24.0, 3)
    group, lines, events = (
        np.repeat(np.arange(3), 480),
        rng.integers(1, 500, 1440) * 1.0,
        rng.integers(0, 90, 1440) * 1.0,
    )
    at, T, (N, S) = merged_exposures(group, exposure, (lines, events), 3)
    assert len(T) < 150
    for ratio in 10.0 ** np.arange(-8, 7):
        for whole, few in ((lines, N), (events, S)):
            waiting = np.bincount(group, whole * np.log1p(ratio * exposure)), np.bincount(at, few * np.log1p(ratio * T))
            assert waiting[1] == pytest.approx(waiting[0], rel=1e-12)
            odds, few_odds = ratio * exposure, ratio * T
            share = np.bincount(group, whole * odds / (1.0 + odds)), np.bincount(at, few * few_odds / (1.0 + few_odds))
            assert share[1] == pytest.approx(share[0], rel=1e-12)


def test_few_exposures_stay_as_they_are() -> None:
    group, exposure, weight = np.array([0, 1]), np.array([1.0, 1.0]), np.array([3.0, 4.0])
    assert merged_exposures(group, exposure, (weight,), 2)[1] is exposure
    assert merged_exposures(np.zeros(0, int), np.zeros(0), (np.zeros(0),), 2)[1].size == 0
    at, T, (N,) = merged_exposures(np.zeros(5, int), np.full(5, 2.0), (np.ones(5),), 1)
    assert (at.tolist(), T.tolist(), N.tolist()) == ([0], [pytest.approx(2.0)], [5.0])


def test_draws_are_the_same_bytes_on_any_number_of_cores() -> None:
    frame = make_frame(1)
    component = rate_component(rate_cells(frame, "expansion", 200, np.random.default_rng(1)), frame, RatePriors())
    labels = {"segment_level": list("abcd"), "segment": ["s"], "size_class": list("012")}
    one, four = (
        sample_component(component, Settings(draws=300, tune=200, cores=cores), lambda message: None, labels)
        for cores in (1, 4)
    )
    for name, variable in one.variables.items():
        assert np.array_equal(variable.values, four.variables[name].values), name


COMPILES = """
import time
import numpy as np
from clvforecast.components.rates import RatePriors, rate_component
from clvforecast.components.target import Target, target_of
from component_cells import make_frame, rate_cells
frame = make_frame(1)
target = target_of(rate_component(rate_cells(frame, "expansion", 60, np.random.default_rng(1)), frame, RatePriors()))
value, slope = target.value_and_slope(np.full(target.n_dim, 0.1))
cache = target.function.cache_hits
print(cache, value.hex(), slope.tobytes().hex())
"""


def test_another_process_compiles_nothing_and_finds_the_same_bytes(tmp_path) -> None:
    """Numba's cache is empty at first; the second process takes the machine code from it."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    said = [
        subprocess.run(
            [sys.executable, "-c", COMPILES], env=environment, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert [hits for hits, *_ in said] == ["0", "1"]
    assert said[0][1:] == said[1][1:]
