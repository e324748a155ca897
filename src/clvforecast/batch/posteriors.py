"""Which posterior a run scores with: the newest there is, or one that is fitted now because it is too old or has drifted.

What is fitted is kept as ``posteriors/DAY-LEDGER-SETTINGS.nc``, so that a run which was killed and starts again finds it.
"""

from __future__ import annotations

import hashlib
import os
from datetime import date
from pathlib import Path

from clvforecast.batch.folder import RunFolder
from clvforecast.batch.inputs import InMemory, Inputs
from clvforecast.batch.logs import alert, tell
from clvforecast.batch.settings import PosteriorSettings
from clvforecast.batch.watch import Check, drifted
from clvforecast.errors import BatchSettingsError, FitError
from clvforecast.posterior import Posterior, fit, load_posterior
from clvforecast.posterior_file import checksum

FINGERPRINT = 12
"""Digits of the ledger's in a file's name."""


def own_posterior(settings: PosteriorSettings, given: Posterior | str | os.PathLike[str] | None) -> Posterior | None:
    """The one that is given, or the settings' file; None where the run is to fit one.

    Raises BatchSettingsError where there is none and none is to be fitted, and what `load_posterior` raises.
    """
    if isinstance(given, Posterior):
        return given
    path = settings.file if given is None else given
    if path is not None:
        return load_posterior(path)
    if settings.refit == "never":
        raise BatchSettingsError(
            "posterior.file is missing: give a posterior from `clvforecast fit`, or say with posterior.refit when to fit one."
        )
    return None


def choose_posterior(
    settings: PosteriorSettings, folder: RunFolder, inputs: Inputs, checks: list[Check], own: Posterior | None
) -> Posterior:
    """The posterior to score with; ``own`` is that of the settings (`own_posterior`).

    A fit that fails is told of and the one before is used. Raises what fitting raises where there was none before.
    """
    found = _newest(settings, folder, inputs, own)
    reason = _why_refit(settings, inputs, checks, found)
    if reason is None:
        assert found is not None
        return found
    if not isinstance(inputs, InMemory):
        raise BatchSettingsError(
            f"the posterior is to be fitted ({reason}), which needs all events in memory. Leave out input.stream, or fit with "
            "`clvforecast fit` or clvforecast.spark.fit and set posterior.refit = 'never'."
        )
    try:
        return _fitted(settings, folder, inputs, found, reason)
    except FitError as error:
        if found is None:
            raise
        alert(
            f"the posterior was to be fitted anew ({reason}), which failed; the one of {found.as_of} is used: {error}"
        )
        return found


def _newest(settings: PosteriorSettings, folder: RunFolder, inputs: Inputs, own: Posterior | None) -> Posterior | None:
    """Of the settings' own and those that runs have fitted, the one that knows the latest day, up to that of the inputs."""
    if settings.refit == "never":
        return own
    of_ledger = f"{inputs.as_of}-{inputs.fingerprint[:FINGERPRINT]}-"
    # What was fitted to other data of the same day was fitted before these were mended.
    fitted = [
        path
        for path in folder.posteriors.glob("*.nc")
        if path.name[:10] < str(inputs.as_of) or path.name.startswith(of_ledger)
    ]
    if not fitted:
        return own
    newest = max(fitted, key=lambda path: (path.name[:10], path.stat().st_mtime_ns))
    if own is not None and newest.name[:10] <= own.as_of <= str(inputs.as_of):
        return own
    return load_posterior(newest)


def _why_refit(settings: PosteriorSettings, inputs: Inputs, checks: list[Check], found: Posterior | None) -> str | None:
    if found is None:
        return "there is none yet"
    age = (inputs.as_of - date.fromisoformat(found.as_of)).days
    if settings.refit == "age" and age > settings.max_age_days:
        reason = f"it knows {age} days less than the events"
    elif settings.refit == "drift" and drifted(checks, checksum(found.idata)) and age > 0:
        reason = "earlier ranges no longer hold"
    else:
        return None
    if inputs.seems_cut_off:
        alert(
            f"the posterior was to be fitted anew ({reason}), but events seem to be missing: nothing is fitted to these"
        )
        return None
    return reason


def _fitted(
    settings: PosteriorSettings, folder: RunFolder, inputs: InMemory, before: Posterior | None, reason: str
) -> Posterior:
    segments = settings.segments or (() if before is None else before.frame.segments)
    path = _path(settings, folder, inputs, segments)
    if path.exists():
        return load_posterior(path)
    tell("fitting", reason=reason)
    found = fit(
        inputs.ledger,
        segments,
        seed=settings.seed,
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        progress=False,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save(path)
    return load_posterior(path)


def _path(settings: PosteriorSettings, folder: RunFolder, inputs: Inputs, segments: tuple[str, ...]) -> Path:
    asked = (settings.seed, settings.draws, settings.tune, settings.chains, segments)
    of_settings = hashlib.sha256(repr(asked).encode()).hexdigest()[:8]
    return folder.posteriors / f"{inputs.as_of}-{inputs.fingerprint[:FINGERPRINT]}-{of_settings}.nc"
