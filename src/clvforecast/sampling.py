"""Draws of one component: NUTS where a sampler is needed, closed form where not, and the gate that draws must pass.

NUTS is nutpie's; it calls the compiled densities of `components.target` in the coordinates of `laplace`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from clvforecast.components import DENSITIES, Component, Variable
from clvforecast.components.target import Target, kept_as_they_are
from clvforecast.errors import ConvergenceError, FitError
from clvforecast.laplace import prepared
from clvforecast.progress import DONE, Say

if TYPE_CHECKING:
    from nutpie.compile_pymc import CompiledPyMCModel

Floats = NDArray[np.float64]

RHAT_LIMIT = 1.01
"""Rank-normalised R-hat (Vehtari, Gelman, Simpson, Carpenter and Buerkner 2021)."""
ESS_LIMIT = 400.0
"""Bulk and tail effective draws (same paper): below it the quantiles reported are not stable."""
TAIL = (0.05, 0.95)
QUICK_TUNE = 300
"""So many tuning steps do where the scale of the posterior is known beforehand; more are taken where the gate says so."""
RUN_OUT = 1.0
"""Seconds in which chains that are given up run out: nutpie does not wait for their threads, and a process that ended while one
runs would crash."""
KEPT_STATS = ("diverging", "n_steps", "depth", "step_size", "mean_tree_accept", "energy")


@dataclass(frozen=True)
class Settings:
    """How to sample: draws and tuning steps a chain, chains, threads, seed."""

    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    cores: int = 2
    seed: int = 7
    target_accept: float = 0.85
    thin: int = 1

    def __post_init__(self) -> None:
        for name, least in (("draws", 4), ("tune", 1), ("chains", 2), ("cores", 1), ("seed", 0)):
            value = getattr(self, name)
            if int(value) != value or value < least:
                raise FitError(f"fit: {name}={value!r}, but it must be a whole number of at least {least}.")

    def attempts(self) -> tuple[Settings, Settings, Settings]:
        """Quickly; with smaller steps and all the tuning; and with yet smaller ones, twice the tuning, and four times the draws
        of which every fourth is kept."""
        return (
            dataclasses.replace(self, tune=min(self.tune, QUICK_TUNE)),
            dataclasses.replace(self, target_accept=0.95),
            dataclasses.replace(self, tune=2 * self.tune, target_accept=0.99, thin=4),
        )


class Stop:
    """Ends sampling that goes on in other threads."""

    def __init__(self) -> None:
        self.is_set = False
        self._targets: list[Target] = []
        self._lock = Lock()

    def watch(self, target: Target) -> None:
        """End the sampling of this target too, now if it is set already."""
        with self._lock:
            self._targets.append(target)
            if self.is_set:
                target.stop()

    def set(self) -> None:
        with self._lock:
            self.is_set = True
            for target in self._targets:
                target.stop()


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


@contextmanager
def made_ready() -> Iterator[None]:
    """Meanwhile another thread loads the sampler, and compiles the densities that Numba does not have yet, the quickest first."""
    ahead = ThreadPoolExecutor(1, thread_name_prefix="ready")
    for prepare in (_load_sampler, *DENSITIES):
        ahead.submit(prepare)
    try:
        yield
    finally:
        ahead.shutdown(wait=False, cancel_futures=True)


def sample_components(
    components: Sequence[Component], settings: Settings, say: Say, labels: Mapping[str, Sequence[str]]
) -> list[Sampled]:
    """`sample_component` of each, two at a time: while the mode or the diagnostics of one are worked out, another samples.

    Small ones come first, as their densities are compiled first, and the largest is left to have all cores in the end.
    """
    _load_sampler()  # or wait until it is: two threads that import each other's parts find them half made
    by_size = sorted(components, key=lambda component: (component.n_dim, component.name))
    workers, stop = ThreadPoolExecutor(2, thread_name_prefix="sample"), Stop()
    try:
        sampling = {
            component.name: workers.submit(sample_component, component, settings, say, labels, stop)
            for component in by_size
        }
        for found in sampling.values():
            found.result()
        return [sampling[component.name].result() for component in components]
    except BaseException:  # also where the user breaks off
        stop.set()
        workers.shutdown(cancel_futures=True)
        time.sleep(RUN_OUT)
        raise
    finally:
        workers.shutdown()


def component_rng(component: str, seed: int, purpose: str) -> np.random.Generator:
    """A generator of the component's own, so that one part of the model never shifts the draws of another."""
    digest = hashlib.blake2b(f"{component}\x1f{purpose}".encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])


def sample_component(
    component: Component,
    settings: Settings,
    say: Say,
    labels: Mapping[str, Sequence[str]],
    stop: Stop | None = None,
) -> Sampled:
    """Draws that pass the gate: stricter runs when the first ones do not, then `ConvergenceError`.

    `labels` names the levels of the variables' dims in messages. When `stop` is set, sampling ends with `CancelledError`.
    """
    stop = stop or Stop()
    if component.closed_form is not None:
        rng = component_rng(component.name, settings.seed, "closed form")
        raw = component.closed_form(rng, (settings.chains, settings.draws))
        return Sampled(component, component.variables(raw), xr.Dataset(), "closed form")
    say(f"{component.name}: sampling")
    target = prepared(component)
    failing: list[Failing] = []
    # Without a whitening the scales are learnt while tuning.
    for attempt in settings.attempts()[target.whitening.is_diagonal :]:
        if failing:
            worst = f"{failing[0].figure} of {failing[0].parameter}"
            say(f"{component.name}: {worst} not good enough, sampling with smaller steps")
        sampled = _run(target, attempt, stop)
        failing = failures(sampled, labels)
        if not failing:
            say(component.name + DONE)
            return sampled
    raise ConvergenceError(_message(component, failing, settings))


def _load_sampler() -> None:
    """nutpie and ArviZ take a second to load: a forecast needs neither, and a fit counts meanwhile."""
    import nutpie  # noqa: F401

    kept_as_they_are()


def _sampler_model(target: Target) -> CompiledPyMCModel:
    """The target for nutpie, which calls its machine code without Python, and keeps the coordinates z as they are."""
    from nutpie.compile_pymc import CompiledPyMCModel

    n = target.n_dim
    return CompiledPyMCModel(
        dims={"z": ("z_dim",)},
        compiled_logp_func=target.function,
        compiled_expand_func=kept_as_they_are(),
        initial_point_func=_start(target),
        shared_data={},
        shared_var_keys={},
        user_data=target.block,
        n_expanded=n,
        shape_info=(["z"], [slice(0, n)], [(n,)]),
        logp_func=None,
        expand_func=None,
        _n_dim=n,
        _shapes={"z": (n,)},
        _coords={"z_dim": np.arange(n)},
    )


def _start(target: Target) -> Callable[[Any], Floats]:
    """Starting points as wide as the priors, so that chains which end elsewhere are found out.

    Parameters are scaled so that their priors lie about (-1, 1) when unconstrained.
    """

    def point(seed: Any) -> Floats:
        return target.whitened(np.random.default_rng(seed).uniform(-1.0, 1.0, target.n_dim))

    return point


def prior_component(component: Component, settings: Settings) -> Sampled:
    """The same variables, drawn from the priors."""
    rng = component_rng(component.name, settings.seed, "prior")
    raw = component.prior(rng, (settings.chains, settings.draws))
    return Sampled(component, component.variables(raw), xr.Dataset(), "prior")


def _run(target: Target, settings: Settings, stop: Stop) -> Sampled:
    raw, stats = _trace(target, settings, stop)
    component = target.component
    return Sampled(component, component.variables(raw), stats, f"NUTS, target_accept {settings.target_accept}")


def _trace(target: Target, settings: Settings, stop: Stop) -> tuple[dict[str, Floats], xr.Dataset]:
    """Raw draws (chain, draw, ...) and sampler statistics of one run."""
    import nutpie

    name = target.component.name
    seed = int(component_rng(name, settings.seed, f"nuts {settings.target_accept}").integers(2**32))
    stop.watch(target)
    try:
        trace = nutpie.sample(
            _sampler_model(target),
            draws=settings.draws * settings.thin,
            tune=settings.tune,
            chains=settings.chains,
            cores=settings.cores,
            seed=seed,
            target_accept=settings.target_accept,
            progress_bar=False,
            save_warmup=False,
        )
    except RuntimeError as error:
        raise FitError(
            f"component {name!r}: the sampler could not start ({str(error).splitlines()[0]}). Its likelihood is "
            "not finite at any starting point: look for extreme values among the priors given, or in the ledger's amounts."
        ) from error
    if stop.is_set:
        raise CancelledError
    thin = settings.thin
    raw = target.raw(trace["posterior"]["z"].values[:, ::thin])
    stats = trace["sample_stats"].dataset
    kept = stats[[name for name in KEPT_STATS if name in stats]].drop_vars(["chain", "draw"], errors="ignore")
    # A divergence between kept draws counts too: none may be hidden by thinning.
    diverging = kept["diverging"].values.reshape(settings.chains, settings.draws, thin).any(axis=2)
    thinned = kept.isel(draw=slice(None, None, thin)).assign(diverging=(("chain", "draw"), diverging))
    return raw, thinned.drop_attrs()  # the hour of sampling among them: equal fits are the same bytes


def diagnostics(values: Floats) -> dict[str, Floats]:
    """R-hat and effective draws of draws (chain, draw, ...), shape (...); NaN for what does not vary."""
    from arviz_stats.base import array_stats

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
        f"{worst.limit}{others}, also after a run with target_accept 0.99. The draws are not returned. Raise draws "
        f"(now {settings.draws}) and tune (now {settings.tune}) in fit(); if that does not help, give tighter priors for "
        f"this component or leave out a segment column whose levels hardly have data."
    )
