"""`fit`: a ledger's events in, the posterior of every parameter out; `Posterior`: its draws, labelled and kept.

Given the data the components are independent, so each is sampled on its own; draws are paired by index.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from clvforecast.cells import COUNTED, Cells, Frame, build_cells, build_frame
from clvforecast.components import Component, ModelPriors, build_components
from clvforecast.errors import FitError, PosteriorFileError
from clvforecast.histories import Histories, build_histories
from clvforecast.ledger import Ledger
from clvforecast.posterior_file import OF_THE_FILE, frame_from_json, frame_to_json, read_posterior, write_posterior
from clvforecast.progress import Say, announcing
from clvforecast.provenance import package_versions
from clvforecast.sampling import (
    ESS_LIMIT,
    Sampled,
    Settings,
    diagnostics,
    made_ready,
    prior_component,
    sample_components,
)
from clvforecast.summary import meaning_of, scale_of_learning, summary_table

DECISION_NUMBERS = ("1", "2", "3", "4", "5+")
DIRECTION_ROWS = ("first", "down", "flat", "up", "term_changed")
PRIOR_DRAWS = 1000
"""Draws a chain of the prior, from which its SDs are taken."""


@dataclass(frozen=True, repr=False)
class Posterior:
    """Draws of every parameter, and what they are indexed by.

    Attributes
    ----------
    idata
        DataTree in ArviZ's layout. ``posterior``: every named parameter, dims (chain, draw, ...), with its meaning,
        unit, component and number of observations as attributes; ``sample_stats/<component>``: divergences, tree
        depths, step sizes; ``prior_sd``: SD under the prior (logarithm of rates and shapes). Attributes of the root:
        seed, data fingerprint, as_of, currency, priors with their reasons, package versions, notes.
    frame
        Levels of segments, size classes, term classes and lag bins.
    """

    idata: xr.DataTree
    frame: Frame

    def __repr__(self) -> str:
        sizes = self.draws.sizes
        return (
            f"<Posterior of {len(self.draws.data_vars)} variables, {sizes['chain']} chains of {sizes['draw']} draws, "
            f"trained as of {self.as_of} in {self.currency}>"
        )

    @property
    def seed(self) -> int:
        return int(self.idata.attrs["seed"])

    @property
    def as_of(self) -> str:
        """The day (ISO) up to which events were known to the fit."""
        return str(self.idata.attrs["as_of"])

    @property
    def currency(self) -> str:
        return str(self.idata.attrs["currency"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the ledger that was fitted."""
        return str(self.idata.attrs["fingerprint"])

    @property
    def notes(self) -> dict[str, str]:
        """Component -> what a reader should know of its fit; only components with something to say."""
        return dict(json.loads(self.idata.attrs["notes"]))

    @property
    def unseen(self) -> tuple[str, ...]:
        """Components of which the training data hold nothing."""
        seen: dict[str, bool] = {}
        for variable in self.draws.data_vars.values():
            component = str(variable.attrs["component"])
            seen[component] = seen.get(component, False) or int(variable.attrs["n_data"]) > 0
        return tuple(component for component, known in seen.items() if not known)

    @property
    def unseen_changes(self) -> tuple[str, ...]:
        """Which of "price cut" and "price rise" no renewal of the training data holds: their sizes are the prior's."""
        sides = {"change_down_size_mean": "price cut", "change_up_size_mean": "price rise"}
        return tuple(words for name, words in sides.items() if int(self.draws[name].attrs["n_data"]) == 0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found odd on the way from ledger to cells."""
        return tuple(json.loads(self.idata.attrs["warnings"]))

    @property
    def draws(self) -> xr.Dataset:
        """The draws alone: the dataset of ``idata["posterior"]``."""
        return self.idata["posterior"].to_dataset()

    def summary(self) -> pd.DataFrame:
        """One row a scalar parameter.

        Columns: parameter, component, meaning, unit, mean, sd, lower and upper (ci_prob 0.95, ci_kind "eti"), rhat,
        ess_bulk, ess_tail, contraction (1 - posterior variance / prior variance), n_data, note. What does not vary by
        definition has NaN diagnostics. Term lengths with a share below 5% are left out; `draws` has them.
        """
        return summary_table(self.draws, self.idata["prior_sd"].to_dataset(), self.notes, diagnostics)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a netCDF-4 file (readable by xarray and ArviZ), complete or not at all. Raises PosteriorFileError."""
        tree = self.idata.copy()
        tree.attrs = {**self.idata.attrs, "frame": frame_to_json(self.frame)}
        write_posterior(tree, path)


def load_posterior(path: str | os.PathLike[str], untrusted: bool = False) -> Posterior:
    """The posterior saved at `path`, verified; also of older schemas.

    Its seal tells damage before anything reads the content, but anybody can seal a file: ``untrusted=True`` has one from
    a stranger read by a process of its own first, with limits of time and memory; that takes some seconds.

    Raises
    ------
    PosteriorFileError
        When the file is missing, damaged, of an unknown schema, or no posterior.
    """
    tree = read_posterior(path, untrusted)
    attrs = dict(tree.attrs)
    frame = frame_from_json(attrs.pop("frame"))
    tree.attrs = {name: value for name, value in attrs.items() if name not in OF_THE_FILE}
    _check_labels(tree, frame, path)
    return Posterior(idata=tree, frame=frame)


def _check_labels(tree: xr.DataTree, frame: Frame, path: str | os.PathLike[str]) -> None:
    """Levels are found by their place: draws whose labels are not the frame's would be another level's."""
    coordinates = tree["posterior"].to_dataset().coords
    for dim, labels in _coordinates(frame).items():
        if dim in coordinates and coordinates[dim].values.tolist() != labels:
            raise PosteriorFileError(
                f"{os.fspath(path)}: the labels of {dim} are not those of the file's frame. It is no posterior of this package; "
                "give a file that posterior.save(path) wrote."
            )


def fit(
    ledger: Ledger,
    segments: Sequence[str] = (),
    seed: int = 7,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    priors: ModelPriors | None = None,
    size_edges: Sequence[float] | None = None,
    progress: bool = True,
    max_cells: int | None = None,
    cores: int = 2,
) -> Posterior:
    """Fit every component of the model to a ledger's revenue events.

    Parameters
    ----------
    ledger
        From `read_ledger`; only what was known on its `as_of` is used.
    segments
        Columns of the accounts table whose levels differ, partially pooled.
    seed
        Equal seeds, data and settings give equal draws.
    draws, tune, chains, cores
        Draws and tuning steps a chain, chains, and chains sampled at a time. A component is first tried with at most 300
        tuning steps, which suffice where its posterior is nearly normal; all of `tune` are taken when those draws do not pass.
    priors
        Other priors, e.g. ``clv.ModelPriors(renewal=clv.RenewalPriors(logit_mu_mean=2.0))``.
    size_edges
        Cut points between size classes on log MRR; by default from the data.
    progress
        Show on stderr what is being counted and sampled: on a terminal in one line, elsewhere a line each.
    max_cells
        Above so many distinct renewal histories (4,000 by default) a random sample of the lines is fitted.

    Returns
    -------
    Posterior
        Parameters with dims (chain, draw, ...); all passed R-hat <= 1.01, 400 effective draws in bulk and tails, and
        no divergence.

    Raises
    ------
    FitError
        For settings that cannot be.
    ConvergenceError
        When a component's draws do not pass, also not with smaller steps and longer tuning.
    HistoryError
        When the ledger has no contract, or not the segment columns asked for.
    """
    settings = fit_settings(draws, tune, chains, cores, seed)
    chosen = _checked_priors(priors)
    with announcing(progress) as say, made_ready():
        say("counting contract histories")
        histories, frame, cells = _count(ledger, segments, size_edges, max_cells)
        return fit_cells(cells, frame, settings, chosen, say, source_of(ledger, histories.warnings))


def fit_settings(draws: int, tune: int, chains: int, cores: int, seed: int) -> Settings:
    """How `fit` samples; raises FitError when there are too few draws to be enough in effect."""
    if draws * chains < ESS_LIMIT:
        raise FitError(
            f"fit: {chains} chains of draws={draws} are fewer than the {ESS_LIMIT:.0f} effective draws that every parameter must "
            "have. Take the default of 1000, or at least some hundreds."
        )
    return Settings(draws=draws, tune=tune, chains=chains, cores=cores, seed=seed)


def prior(
    ledger: Ledger,
    segments: Sequence[str] = (),
    draws: int = 1000,
    seed: int = 7,
    chains: int = 4,
    priors: ModelPriors | None = None,
    size_edges: Sequence[float] | None = None,
) -> Posterior:
    """The same object with draws from the priors instead: for prior predictive checks. The ledger only gives the levels."""
    settings = Settings(draws=draws, chains=chains, seed=seed)
    chosen = _checked_priors(priors)
    histories, frame, cells = _count(ledger, segments, size_edges, None)
    sampled = [prior_component(component, settings) for component in build_components(cells, frame, chosen)]
    return _posterior(sampled, frame, settings, _about(source_of(ledger, histories.warnings), cells, chosen))


@dataclass(frozen=True)
class Source:
    """The ledger that cells were counted from, as far as its posterior tells of it: SHA-256, day (ISO), currency, days of
    grace (None: those of the term), and what was found odd in ledger and histories."""

    fingerprint: str = ""
    as_of: str = ""
    currency: str = ""
    grace_days: int | None = None
    warnings: tuple[str, ...] = ()


def source_of(ledger: Ledger, history_warnings: Sequence[str] = ()) -> Source:
    """What a posterior tells of this ledger, with the warnings of its histories."""
    return Source(
        fingerprint=ledger.fingerprint,
        as_of=ledger.as_of.isoformat(),
        currency=ledger.currency,
        grace_days=ledger.grace_days,
        warnings=(*ledger.warnings, *history_warnings),
    )


def fit_cells(
    cells: Cells,
    frame: Frame,
    settings: Settings,
    priors: ModelPriors | None = None,
    say: Say = lambda message: None,
    source: Source | None = None,
) -> Posterior:
    """`fit` from cells that are already counted, here or elsewhere.

    Parameters
    ----------
    settings
        From `fit_settings`.
    say
        Told what is being sampled (`progress.announcing`).
    source
        The ledger they were counted from (`source_of`); without it the posterior tells of none.
    """
    chosen = _checked_priors(priors)
    components, labels = build_components(cells, frame, chosen), _coordinates(frame)
    sampled = sample_components(components, settings, say, labels)
    return _posterior(sampled, frame, settings, _about(source or Source(), cells, chosen))


def _checked_priors(priors: ModelPriors | None) -> ModelPriors:
    if priors is None:
        return ModelPriors()
    if not isinstance(priors, ModelPriors):
        raise FitError(
            f"fit: priors is a {type(priors).__name__}, but must be a ModelPriors, for example "
            "clv.ModelPriors(renewal=clv.RenewalPriors(logit_mu_mean=2.0))."
        )
    return priors


def _count(
    ledger: Ledger, segments: Sequence[str], size_edges: Sequence[float] | None, max_cells: int | None
) -> tuple[Histories, Frame, Cells]:
    if isinstance(segments, str):
        raise FitError(f"fit: segments={segments!r} is one text, but must be a list of column names: [{segments!r}].")
    histories = build_histories(ledger, only=COUNTED)
    frame = build_frame(histories, segments, size_edges)
    return histories, frame, build_cells(histories, frame, max_cells)


def _about(source: Source, cells: Cells, priors: ModelPriors) -> dict[str, str]:
    return {
        "fingerprint": source.fingerprint,
        "as_of": source.as_of,
        "currency": source.currency,
        "grace_days": json.dumps(source.grace_days),
        "warnings": json.dumps([*source.warnings, *cells.warnings]),
        "priors": _describe(priors),
    }


def _describe(priors: ModelPriors) -> str:
    """Every prior's number with its reason, as JSON."""
    found: dict[str, dict[str, Any]] = {}
    for component in type(priors).model_fields:
        of = getattr(priors, component)
        fields = type(of).model_fields
        found[component] = {
            name: {"value": getattr(of, name), "reason": field.description or ""} for name, field in fields.items()
        }
    return json.dumps(found)


def _coordinates(frame: Frame) -> dict[str, list[str]]:
    lags = [f"({low:.0f}, {high:.0f}]" for low, high in zip(frame.lag_edges[:-1], frame.lag_edges[1:], strict=True)]
    return {
        "segment": list(frame.segments),
        "segment_level": [f"{column}={level}" for column in frame.segments for level in frame.levels[column]],
        "size_class": [str(z) for z in range(frame.n_size_classes)],
        "term_class": list(frame.term_class_names),
        "term_row": [*frame.term_class_names, "return"],
        "term_value": [str(months) for months in frame.term_values],
        "lag_bin": lags,
        "year": [str(year) for year in frame.years],
        "decision_number": list(DECISION_NUMBERS),
        "direction_row": list(DIRECTION_ROWS),
        "side": ["down", "up"],
    }


def _posterior(sampled: list[Sampled], frame: Frame, settings: Settings, about: dict[str, str]) -> Posterior:
    """Label the draws of all components and put them into one tree."""
    labels = {dim: np.array(values, dtype=object) for dim, values in _coordinates(frame).items()}
    axes = {"chain": np.arange(settings.chains), "draw": np.arange(settings.draws)}
    draws, sds = xr.Dataset(coords={**axes, **labels}), xr.Dataset(coords=labels)
    for part in sampled:
        prior_draws = _prior_variables(part.component, settings.seed)
        for name, variable in part.variables.items():
            meaning, unit = meaning_of(name)
            attrs = {
                "long_name": meaning,
                "units": unit,
                "component": part.component.name,
                "n_data": str(variable.n_data),
            }
            draws[name] = (("chain", "draw", *variable.dims), variable.values, attrs)
            scaled = scale_of_learning(name, prior_draws[name].values)
            sds[name] = (variable.dims, scaled.std(axis=(0, 1), ddof=1))
    groups = {"posterior": draws, "prior_sd": sds}
    for part in sampled:
        if part.stats:
            groups[f"sample_stats/{part.component.name}"] = part.stats.assign_coords(axes)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {**about, **_made_by(sampled, settings)}
    return Posterior(idata=tree, frame=frame)


def _prior_variables(component: Component, seed: int) -> dict[str, Any]:
    return prior_component(component, Settings(draws=PRIOR_DRAWS, chains=4, seed=seed)).variables


def _made_by(sampled: list[Sampled], settings: Settings) -> dict[str, str]:
    """Seed, settings, methods, notes and package versions, as strings."""
    return {
        "seed": str(settings.seed),
        "settings": json.dumps({"draws": settings.draws, "tune": settings.tune, "chains": settings.chains}),
        "methods": json.dumps({part.component.name: part.method for part in sampled}),
        "notes": json.dumps({part.component.name: part.component.note for part in sampled if part.component.note}),
        "versions": json.dumps(package_versions()),
        "inference_library": "nutpie",
    }
