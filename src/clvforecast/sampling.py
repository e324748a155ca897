"""Draws of one component: NUTS where a sampler is needed, closed form where not, and the gate that draws must pass.

A graph is compiled once a process and structure; another fit, or another kind of event, only swaps its data.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import nutpie
import pytensor
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from clvforecast.components import Component, Variable
from clvforecast.components.component import packed
from clvforecast.errors import ConvergenceError, FitError

Floats = NDArray[np.float64]
Say = Callable[[str], None]

RHAT_LIMIT = 1.01
"""Rank-normalised R-hat (Vehtari, Gelman, Simpson, Carpenter and Buerkner 2021)."""
ESS_LIMIT = 400.0
"""Bulk and tail effective draws (same paper): below it the quantiles reported are not stable."""
TAIL = (0.05, 0.95)
MOST_CORRELATED = 120
"""Correlations are learnt up to so many parameters; beyond, learning them costs more than it saves."""
PILOT_TUNE, PILOT_DRAWS = 300, 200
"""The short run that tells roughly what the data say of each effect."""
KEPT_STATS = ("diverging", "n_steps", "depth", "step_size", "mean_tree_accept", "energy")


@dataclass(frozen=True)
class Settings:
    """How to sample: draws and tuning steps a chain, chains, threads, seed."""

    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    cores: int = 2
    seed: int = 7
    target_accept: float = 0.95
    thin: int = 1

    def __post_init__(self) -> None:
        for name, least in (("draws", 4), ("tune", 1), ("chains", 2), ("cores", 1), ("seed", 0)):
            value = getattr(self, name)
            if int(value) != value or value < least:
                raise FitError(f"fit: {name}={value!r}, but it must be a whole number of at least {least}.")

    def stricter(self) -> Settings:
        """Smaller steps, twice the tuning, and four times the draws of which every fourth is kept."""
        return dataclasses.replace(self, tune=2 * self.tune, target_accept=0.99, thin=4)


@dataclass(frozen=True)
class Sampled:
    """One component's draws: its named variables, sampler statistics (empty in closed form), how they were made."""

    component: Component
    variables: dict[str, Variable]
    stats: xr.Dataset
    method: str


@dataclass(frozen=True)
class Failing:
    """The figure that is furthest from its limit."""

    parameter: str
    figure: str
    value: float
    limit: str


_COMPILED: dict[tuple[Any, ...], Any] = {}
_WAITING: dict[tuple[Any, ...], Lock] = {}
_COMPILING = Lock()


def compiled_model(component: Component, say: Say) -> Any:
    """The compiled graph of a component with the component's own data, compiling only where no equal one is."""
    if component.structure not in _COMPILED:
        say(f"{component.name}: compiling")
    compiled = _compile(component).with_data(**packed(component.arrays))
    return dataclasses.replace(compiled, initial_point_func=_start(compiled.n_dim))


def _compile(component: Component) -> Any:
    # One lock a graph, so that sampling waits for its own graph and not for the next one as well.
    with _WAITING.setdefault(component.structure, Lock()):
        if component.structure not in _COMPILED:
            # Reordered sums would depend on whether an operation's code is new or from PyTensor's cache, and NUTS makes other
            # draws of a last bit.
            with _COMPILING, pytensor.config.change_flags(numba__fastmath=False):
                _COMPILED[component.structure] = nutpie.compile_pymc_model(component.model())
        return _COMPILED[component.structure]


def sample_components(
    components: Sequence[Component], settings: Settings, say: Say, labels: Mapping[str, Sequence[str]]
) -> list[Sampled]:
    """`sample_component` of each, while another thread compiles the next graphs.

    Small graphs come first, as sampling can begin when one is compiled. A graph that cannot be compiled is tried again where
    it is needed, and its error is raised there.
    """
    by_size = sorted(components, key=lambda component: (len(component.arrays), component.name))
    with ThreadPoolExecutor(1, thread_name_prefix="compile") as ahead:
        for component in by_size:
            if component.closed_form is None:
                ahead.submit(_compile, component)
        try:
            done = {component.name: sample_component(component, settings, say, labels) for component in by_size}
            return [done[component.name] for component in components]
        finally:
            ahead.shutdown(wait=False, cancel_futures=True)


def _start(n_dim: int) -> Callable[[Any], Floats]:
    """Starting points: parameters are scaled so that their priors lie about (-1, 1) when unconstrained.

    PyMC's own would be those of the data the graph was compiled with, so results would depend on what was fitted before.
    """

    def point(seed: Any) -> Floats:
        return np.random.default_rng(seed).uniform(-1.0, 1.0, n_dim)

    return point


def component_rng(component: str, seed: int, purpose: str) -> np.random.Generator:
    """A generator of the component's own, so that one part of the model never shifts the draws of another."""
    digest = hashlib.blake2b(f"{component}\x1f{purpose}".encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])


def sample_component(
    component: Component, settings: Settings, say: Say, labels: Mapping[str, Sequence[str]]
) -> Sampled:
    """Draws that pass the gate: a second, stricter run when the first does not, then `ConvergenceError`.

    `labels` names the levels of the variables' dims in messages.
    """
    if component.closed_form is not None:
        rng = component_rng(component.name, settings.seed, "closed form")
        raw = component.closed_form(rng, (settings.chains, settings.draws))
        return Sampled(component, component.variables(raw), xr.Dataset(), "closed form")
    component = _placed(component, settings, say)
    first = _run(component, settings, say)
    failing = failures(first, labels)
    if not failing:
        return first
    say(f"{component.name}: {failing[0].figure} of {failing[0].parameter} not good enough, sampling with smaller steps")
    second = _run(component, settings.stricter(), say)
    failing = failures(second, labels)
    if failing:
        raise ConvergenceError(_message(component, failing, settings))
    return second


def prior_component(component: Component, settings: Settings) -> Sampled:
    """The same variables, drawn from the priors."""
    rng = component_rng(component.name, settings.seed, "prior")
    raw = component.prior(rng, (settings.chains, settings.draws))
    return Sampled(component, component.variables(raw), xr.Dataset(), "prior")


def _placed(component: Component, settings: Settings, say: Say) -> Component:
    """The component with its effects sampled relative to what a short run tells of them."""
    if component.refined is None:
        return component
    pilot = dataclasses.replace(settings, draws=PILOT_DRAWS, tune=PILOT_TUNE, thin=1)
    return component.refined(_trace(component, pilot, say, "trying")[0])


def _run(component: Component, settings: Settings, say: Say) -> Sampled:
    raw, stats = _trace(component, settings, say, "sampling")
    return Sampled(component, component.variables(raw), stats, f"NUTS, target_accept {settings.target_accept}")


def _trace(component: Component, settings: Settings, say: Say, doing: str) -> tuple[dict[str, Floats], xr.Dataset]:
    """Raw draws (chain, draw, ...) and sampler statistics of one run."""
    compiled = compiled_model(component, say)
    say(f"{component.name}: {doing}")
    seed = int(component_rng(component.name, settings.seed, f"nuts {settings.target_accept}").integers(2**32))
    try:
        trace = nutpie.sample(
            compiled,
            draws=settings.draws * settings.thin,
            tune=settings.tune,
            chains=settings.chains,
            cores=settings.cores,
            seed=seed,
            adaptation="low_rank" if component.correlated and compiled.n_dim <= MOST_CORRELATED else "diag",
            target_accept=settings.target_accept,
            progress_bar=False,
            save_warmup=False,
        )
    except RuntimeError as error:
        raise FitError(
            f"component {component.name!r}: the sampler could not start ({str(error).splitlines()[0]}). Its likelihood is "
            "not finite at any starting point: look for extreme values among the priors given, or in the ledger's amounts."
        ) from error
    thin = settings.thin
    raw = {str(name): values.values[:, ::thin] for name, values in trace["posterior"].data_vars.items()}
    stats = trace["sample_stats"].dataset
    kept = stats[[name for name in KEPT_STATS if name in stats]].drop_vars(["chain", "draw"], errors="ignore")
    # A divergence between kept draws counts too: none may be hidden by thinning.
    diverging = kept["diverging"].values.reshape(settings.chains, settings.draws, thin).any(axis=2)
    thinned = kept.isel(draw=slice(None, None, thin)).assign(diverging=(("chain", "draw"), diverging))
    return raw, thinned


def diagnostics(values: Floats) -> dict[str, Floats]:
    """R-hat and effective draws of draws (chain, draw, ...), shape (...); NaN for what does not vary."""
    flat = values.reshape(*values.shape[:2], math.prod(values.shape[2:]))
    varies = np.ptp(flat, axis=(0, 1)) > 0 if flat.shape[2] else np.zeros(0, bool)
    found = {name: np.full(flat.shape[2], np.nan) for name in ("rhat", "ess_bulk", "ess_tail")}
    if varies.any():
        moving = np.moveaxis(flat[..., varies], -1, 0)
        axes = {"chain_axis": 1, "draw_axis": 2}
        found["rhat"][varies] = array_stats.rhat(moving, **axes)
        found["ess_bulk"][varies] = array_stats.ess(moving, method="bulk", **axes)
        found["ess_tail"][varies] = array_stats.ess(moving, method="tail", prob=TAIL, **axes)
    return {name: value.reshape(values.shape[2:]) for name, value in found.items()}


def failures(sampled: Sampled, labels: Mapping[str, Sequence[str]]) -> list[Failing]:
    """What breaks the gate, the worst first; empty when all is well.

    R-hat <= 1.01, bulk and tail effective draws >= 400, for population parameters and effects alike, and no divergence.
    What is constant by definition (a reference class) is left out.
    """
    found: list[tuple[float, Failing]] = []
    diverging = int(sampled.stats["diverging"].sum()) if "diverging" in sampled.stats else 0
    if diverging:
        found.append((np.inf, Failing("the sampler", "divergences", diverging, "0")))
    for name, variable in sampled.variables.items():
        endless = int((~np.isfinite(variable.values)).sum())
        if endless:
            found.append((np.inf, Failing(name, "draws that are not finite", endless, "0")))
        figures = diagnostics(variable.values)
        for figure, bad, excess, limit in (
            ("rhat", figures["rhat"] > RHAT_LIMIT, figures["rhat"] / RHAT_LIMIT, f"at most {RHAT_LIMIT}"),
            ("ess_bulk", figures["ess_bulk"] < ESS_LIMIT, ESS_LIMIT / figures["ess_bulk"], f"at least {ESS_LIMIT:.0f}"),
            ("ess_tail", figures["ess_tail"] < ESS_LIMIT, ESS_LIMIT / figures["ess_tail"], f"at least {ESS_LIMIT:.0f}"),
        ):
            for index in np.argwhere(bad):
                at = tuple(index)
                levels = [labels[dim][i] for dim, i in zip(variable.dims, at, strict=True)]
                label = name + (f"[{', '.join(levels)}]" if levels else "")
                found.append((float(excess[at]), Failing(label, figure, float(figures[figure][at]), limit)))
    return [failing for _, failing in sorted(found, key=lambda item: -item[0])]


def _message(component: Component, failing: list[Failing], settings: Settings) -> str:
    worst = failing[0]
    others = f" ({len(failing) - 1} more figures miss their limits)" if len(failing) > 1 else ""
    return (
        f"component {component.name!r}: {worst.figure} of {worst.parameter} is {worst.value:.4g}, the limit is "
        f"{worst.limit}{others}, after a second run with target_accept 0.99. The draws are not returned. Raise draws "
        f"(now {settings.draws}) and tune (now {settings.tune}) in fit(); if that does not help, give tighter priors for "
        f"this component or leave out a segment column whose levels hardly have data."
    )
