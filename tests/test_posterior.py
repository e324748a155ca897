"""Fitting a company of known parameters, the convergence gate, the summary, and the file."""

import json
import math
import os

import h5netcdf
import numpy as np
import pytest
import xarray as xr

from clvforecast.cells import Cells, Frame, build_cells, build_frame
from clvforecast.components import ModelPriors, RatePriors, RenewalPriors, Variable
from clvforecast.components.rates import rate_component
from clvforecast.components.sizes import SIZE_PRIORS, size_component
from clvforecast.errors import ConvergenceError, FitError, PosteriorFileError
from clvforecast.histories import build_histories
from clvforecast.ledger import read_ledger
from clvforecast.posterior import Posterior, fit, fit_cells, fit_settings, load_posterior, prior, source_of
from clvforecast.posterior_file import KIND, checksum, frame_from_json, frame_to_json
from clvforecast.sampling import Sampled, Settings, diagnostics, failures, prior_component, sample_component
from clvforecast.sealed import add_seal
from clvforecast.synthetic import simulate_events
from component_cells import LEVEL_EFFECT, company_cells, make_frame, rate_cells, size_cells

LABELS = {
    "segment_level": [f"segment0={level}" for level in "abcd"],
    "segment": ["segment0"],
    "size_class": ["0", "1", "2"],
}


@pytest.fixture(scope="module")
def frame() -> Frame:
    return make_frame(1, 3, uses_notice=True)


@pytest.fixture(scope="module")
def cells(frame: Frame) -> Cells:
    return company_cells(frame, 3000, seed=11)


@pytest.fixture(scope="module")
def posterior(frame: Frame, cells: Cells) -> Posterior:
    """One fit for this file: the four graphs are compiled here."""
    return fit_cells(cells, frame, Settings(draws=500, tune=500, chains=4, cores=2, seed=3))


def z_score(posterior: Posterior, name: str, truth: float, **at: object) -> float:
    """How many posterior SDs the truth lies from the posterior mean."""
    values = posterior.draws[name].sel(**at).values
    return float(abs(values.mean() - truth) / values.std())


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("renewal_phi", 0.25),
        ("renewal_c", 1.0),
        ("renewal_cut_effect", 0.5),
        ("renewal_expanded_effect", 0.0),
        ("renewal_second_spell_effect", 0.0),
        ("notice_share", 0.6),
        ("expansion_rate", 0.4),
        ("expansion_rate_shape", 1.0),
        ("contraction_rate", 0.1),
        ("reactivation_rate", 0.15),
        ("expansion_size_mean", -1.0),
        ("expansion_size_sd", 0.8),
        ("expansion_size_icc", 0.4),
        ("return_value_sd", 0.8),
        ("change_up_size_mean", -1.8),
        ("change_up_size_reversion", 0.4),
        ("change_up_size_term_slope", 0.3),
        ("change_up_size_sd", 0.7),
        ("change_down_size_mean", -1.0),
        ("change_down_size_reversion", -0.2),
        ("change_down_size_sd", 0.9),
        ("persistence", 0.7),
    ],
)
def test_recovers_population_parameters(posterior: Posterior, name: str, truth: float) -> None:
    """Within four posterior SDs, one of the 22 in 700 such tests would fail by chance."""
    assert z_score(posterior, name, truth) < 4.0


@pytest.mark.parametrize("stem", ["renewal", "expansion_rate", "contraction_size", "return_value", "change_up"])
def test_recovers_segment_effects(posterior: Posterior, stem: str) -> None:
    for level, effect in zip("abcd", LEVEL_EFFECT, strict=True):
        assert z_score(posterior, f"{stem}_segment_effect", effect, segment_level=f"segment0={level}") < 4.0


def test_recovers_renewal_and_lags(posterior: Posterior) -> None:
    mu = posterior.draws["renewal_mu"]
    assert abs(float(mu.mean()) - 0.8) < 4.0 * float(mu.std()) and float(mu.std()) < 0.03
    for share, lag_bin in zip((0.3, 0.5, 0.2), posterior.draws["lag_bin"].values, strict=True):
        assert z_score(posterior, "booking_lag", share, lag_bin=lag_bin) < 4.0
        assert z_score(posterior, "notice_lag", share, lag_bin=lag_bin) < 4.0
    for row, side, odds in (("first", "up", 0.3), ("first", "down", -1.0), ("up", "up", 1.0), ("up", "down", -0.5)):
        assert z_score(posterior, "change_logit", odds, direction_row=row, side=side) < 4.0


def test_all_named_variables_are_there(posterior: Posterior) -> None:
    sizes = {"chain": 4, "draw": 500}
    for name, values in posterior.draws.data_vars.items():
        assert {dim: values.sizes[dim] for dim in sizes} == sizes, name
        assert np.all(np.isfinite(values.values)), name
        assert values.attrs["long_name"] and values.attrs["units"]
    assert posterior.draws["term_length"].dims == ("chain", "draw", "term_row", "term_value")
    assert posterior.draws["change_logit"].sizes["direction_row"] == 5
    assert list(posterior.draws["decision_number"].values) == ["1", "2", "3", "4", "5+"]
    effects = [name for name in posterior.draws.data_vars if str(name).endswith("segment_effect")]
    assert len(effects) == 17  # as many as the kernel has location parameters
    for name in effects:
        assert posterior.draws[name].sum("segment_level").values == pytest.approx(0.0, abs=1e-9)


def test_draws_passed_the_gate(posterior: Posterior) -> None:
    for name, values in posterior.draws.data_vars.items():
        figures = diagnostics(values.values)
        # What is drawn in closed form is independent and was not gated: its figures only scatter about the ideal.
        rhat = 1.01 if "NUTS" in json.loads(posterior.idata.attrs["methods"])[values.attrs["component"]] else 1.03
        assert not np.any(figures["rhat"] > rhat), name
        assert not np.any(figures["ess_bulk"] < 400.0), name
    assert all(int(stats["diverging"].sum()) == 0 for stats in posterior.idata["sample_stats"].children.values())


def test_summary_speaks_the_field_s_words(posterior: Posterior) -> None:
    table = posterior.summary().set_index("parameter")
    row = table.loc["expansion_rate_segment_effect[segment0=a]"]
    assert row["lower"] < row["mean"] < row["upper"] and row["ci_kind"] == "eti" and row["ci_prob"] == 0.95
    assert row["unit"] == "log rate" and "expansion" in row["meaning"] and row["n_data"] > 1000
    assert row["contraction"] > 0.8
    reference = table.loc["renewal_number_effect[1]"]
    assert reference["sd"] == 0.0 and np.isnan(reference["rhat"]) and np.isnan(reference["contraction"])
    assert "no referral in" in table.loc["referral_rate", "note"]
    assert table.loc["refund_share", "note"] == "no data: the prior alone"
    assert abs(table.loc["refund_share", "contraction"]) < 0.2
    assert table.index.is_unique


def test_equal_seeds_give_equal_draws_whatever_was_fitted_before(
    frame: Frame, cells: Cells, posterior: Posterior
) -> None:
    component = rate_component(cells.rates["change_order"], frame, ModelPriors().change_order_rate)
    again = sample_component(component, Settings(draws=500, tune=500, seed=3), lambda message: None, LABELS)
    assert np.array_equal(again.variables["change_order_rate"].values, posterior.draws["change_order_rate"].values)


def test_two_sizes_that_nearly_agree_are_enough_to_sample(frame: Frame) -> None:
    """Levels could explain both exactly, with an SD of nothing: the prior keeps it off zero, so the sampler gets through."""
    cells = size_cells(frame, "return_value", 2, np.random.default_rng(4), sd=0.01)
    component = size_component(cells, frame, SIZE_PRIORS["return_value"])
    sampled = sample_component(component, Settings(draws=500, tune=500, seed=2), lambda message: None, LABELS)
    assert not sampled.stats["diverging"].any()
    assert 0.03 < np.median(sampled.variables["return_value_sd"].values) < 1.0


def test_too_few_draws_do_not_pass(frame: Frame, cells: Cells) -> None:
    component = rate_component(cells.rates["change_order"], frame, ModelPriors().change_order_rate)
    said: list[str] = []
    with pytest.raises(ConvergenceError, match=r"component 'change_order_rate': .* of change_order_rate") as caught:
        sample_component(component, Settings(draws=20, tune=100, seed=1), said.append, LABELS)
    assert "Raise draws (now 20)" in str(caught.value) and "limit is at" in str(caught.value)
    assert any("sampling with smaller steps" in message for message in said)


def test_gate_names_the_worst_figure(frame: Frame) -> None:
    cells = rate_cells(frame, "expansion", 50, np.random.default_rng(0))
    component = rate_component(cells, frame, RatePriors())
    rng = np.random.default_rng(0)
    good = rng.normal(size=(4, 1000, 4))
    stuck = good.copy()
    stuck[0, :, 2] += 3.0
    constant = Variable((), np.ones((4, 1000)), 1)

    def found(values: np.ndarray, diverging: int = 0):
        stats = xr.Dataset({"diverging": (("chain", "draw"), np.arange(4000).reshape(4, 1000) < diverging)})
        variables = {"effect": Variable(("segment_level",), values, 1), "reference": constant}
        return failures(Sampled(component, variables, stats, "NUTS"), LABELS)

    assert found(good) == []
    assert found(stuck)[0].parameter == "effect[segment0=c]"
    assert {failing.figure for failing in found(stuck)} >= {"rhat", "ess_bulk"}
    assert found(good, diverging=1)[0].figure == "divergences"


def test_saved_and_loaded_is_the_same(posterior: Posterior, tmp_path) -> None:
    path = tmp_path / "posterior.nc"
    posterior.save(path)
    loaded = load_posterior(path)
    assert os.listdir(tmp_path) == ["posterior.nc"]
    assert checksum(loaded.idata) == checksum(posterior.idata)
    for name, values in posterior.draws.data_vars.items():
        assert np.array_equal(values.values, loaded.draws[name].values), name
        assert values.dims == loaded.draws[name].dims
    assert loaded.idata.attrs == posterior.idata.attrs
    assert frame_to_json(loaded.frame) == frame_to_json(posterior.frame)
    assert loaded.seed == 3 and loaded.notes == posterior.notes
    assert json.loads(loaded.idata.attrs["priors"])["renewal"]["logit_mu_mean"]["reason"]
    loaded.save(path)
    assert checksum(load_posterior(path).idata) == checksum(posterior.idata)


def test_frame_survives_json() -> None:
    frame = make_frame(2, 4)
    again = frame_from_json(frame_to_json(frame))
    assert again.levels == frame.levels and again.location_columns == frame.location_columns
    assert np.array_equal(again.size_edges, frame.size_edges) and again.size_edges.dtype == np.float64


def test_damaged_files_are_refused(posterior: Posterior, tmp_path) -> None:
    with pytest.raises(PosteriorFileError, match="no such file"):
        load_posterior(tmp_path / "nothing.nc")
    (tmp_path / "text.nc").write_text("not a netCDF file")
    with pytest.raises(PosteriorFileError, match="cannot be read as netCDF-4"):
        load_posterior(tmp_path / "text.nc")
    with pytest.raises(PosteriorFileError, match="cannot write there"):
        posterior.save(tmp_path / "no" / "folder" / "posterior.nc")

    path = tmp_path / "posterior.nc"
    posterior.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PosteriorFileError):
        load_posterior(path)
    path.write_bytes(whole)
    with h5netcdf.File(path, "a") as file:
        file["posterior"]["renewal_mu"][0, 0] = 0.5
    with pytest.raises(PosteriorFileError, match="changed or damaged after it was saved: its seal is missing"):
        load_posterior(path)
    add_seal(path, KIND)
    with pytest.raises(PosteriorFileError, match="changed or damaged after it was saved: checksum"):
        load_posterior(path)
    path.write_bytes(whole)
    with h5netcdf.File(path, "a") as file:
        file.attrs["schema_version"] = "99"
    add_seal(path, KIND)
    with pytest.raises(PosteriorFileError, match="schema version 99"):
        load_posterior(path)


def test_without_segments_the_file_still_works(tmp_path) -> None:
    """No segment levels at all: dims of length zero, from the priors so that nothing is compiled."""
    events, _ = simulate_events(n_accounts=80, seed=2)
    ledger = _ledger(events)
    drawn = prior(ledger, draws=50, seed=4)
    assert drawn.draws["renewal_segment_effect"].sizes["segment_level"] == 0
    drawn.save(tmp_path / "prior.nc")
    assert checksum(load_posterior(tmp_path / "prior.nc").idata) == checksum(drawn.idata)
    assert drawn.fingerprint == ledger.fingerprint and drawn.currency == ledger.currency
    assert abs(drawn.summary()["contraction"].median()) < 0.3


def test_wrong_settings_are_refused() -> None:
    events, _ = simulate_events(n_accounts=40, seed=2)
    ledger = _ledger(events)
    with pytest.raises(FitError, match="chains=1, but it must be a whole number of at least 2"):
        fit(ledger, chains=1)
    with pytest.raises(FitError, match="list of column names"):
        fit(ledger, segments="plan", progress=False)
    with pytest.raises(FitError, match="must be a ModelPriors"):
        fit(ledger, priors=RenewalPriors())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="logit_mu_sd"):
        RenewalPriors(logit_mu_sd=-1.0)
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="log_rate_mean"):
            RatePriors(log_rate_mean=value)


def test_priors_so_extreme_that_nothing_can_begin_are_said() -> None:
    events, _ = simulate_events(n_accounts=40, seed=2)
    priors = ModelPriors(expansion_rate=RatePriors(log_shape_mean=800.0))
    with pytest.raises(FitError, match=r"'expansion_rate'.*no finite curvature.*extreme values"):
        fit(_ledger(events), priors=priors, progress=False)


def _ledger(events):
    return read_ledger(events)


@pytest.mark.slow
def test_fit_from_a_ledger_recovers_the_company() -> None:
    """From revenue events to the posterior, the whole way."""
    events, truth = simulate_events(n_accounts=3000, seed=8)
    posterior = fit(read_ledger(events, accounts=truth.accounts), segments=["segment"], seed=1, progress=False)
    for name in ("renewal_mu", "expansion_rate", "change_order_rate", "expansion_size_mean", "persistence"):
        assert z_score(posterior, name, float(truth.parameters[name])) < 5.0, name


def test_cells_counted_elsewhere_make_the_posterior_of_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws, labels, and what is told of the ledger. Nothing need be sampled for that: the prior's draws do."""
    monkeypatch.setattr(
        "clvforecast.posterior.sample_components",
        lambda components, settings, say, labels: [prior_component(part, settings) for part in components],
    )
    events, truth = simulate_events(300, seed=3)
    ledger = read_ledger(events, accounts=truth.accounts, grace_days=20)
    fitted = fit(ledger, segments=["segment"], seed=5, progress=False)
    histories = build_histories(ledger)
    frame = build_frame(histories, ["segment"])
    settings = fit_settings(draws=1000, tune=1000, chains=4, cores=2, seed=5)
    source = source_of(ledger, histories.warnings)
    again = fit_cells(build_cells(histories, frame), frame, settings, source=source)
    assert again.idata.attrs == fitted.idata.attrs and fitted.idata.attrs["grace_days"] == "20"
    assert again.draws.identical(fitted.draws)
    assert frame_to_json(again.frame) == frame_to_json(fitted.frame)
