"""Which posterior a run scores with: the newest there is, or one that is fitted now because it is too old or has drifted.

What is fitted is kept as ``posteriors/DAY-LEDGER-SETTINGS.nc``, so that a run which was killed and starts again finds it.
"""

from __future__ import annotations

import hashlib
import os
from datetime import date
from pathlib import Path
from typing import NamedTuple

from clvforecast.batch.folder import RunFolder
from clvforecast.batch.inputs import InMemory, Inputs
from clvforecast.batch.logs import alert, tell
from clvforecast.batch.settings import PosteriorSettings
from clvforecast.batch.watch import Check, drifted
from clvforecast.errors import BatchError, BatchSettingsError, FitError
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


class Chosen(NamedTuple):
    """The posterior to score with, and what to know of the choice."""

    posterior: Posterior
    notes: tuple[str, ...] = ()


def choose_posterior(
    settings: PosteriorSettings, folder: RunFolder, inputs: Inputs, checks: list[Check], own: Posterior | None
) -> Chosen:
    """The posterior to score with; ``own`` is that of the settings (`own_posterior`).

    A fit that fails is told of and the one before is used, and so it is where events seem to be missing. Raises what fitting
    raises where there was none before, and BatchError where there was none and events seem to be missing.
    """
    found = _newest(settings, folder, inputs, own)
    reason = _why_refit(settings, inputs, checks, found)
    if reason is None:
        assert found is not None
        return Chosen(found)
    if found is not None and inputs.seems_cut_off():
        return _with_old(found, reason, "but events seem to be missing: nothing is fitted to these")
    if not isinstance(inputs, InMemory):
        raise BatchSettingsError(
            f"the posterior is to be fitted ({reason}), which needs all events in memory. Leave out input.stream, or fit with "
            "`clvforecast fit` or clvforecast.spark.fit and set posterior.refit = 'never'."
        )
    try:
        return Chosen(_fitted(settings, folder, inputs, found, reason))
    except FitError as error:
        if found is None:
            raise
        return _with_old(found, reason, f"which failed; the one of {found.as_of} is used: {error}")


def _with_old(found: Posterior, reason: str, why: str) -> Chosen:
    note = f"the posterior was to be fitted anew ({reason}), {why}"
    alert(note)
    return Chosen(found, (note,))


def _newest(settings: PosteriorSettings, folder: RunFolder, inputs: Inputs, own: Posterior | None) -> Posterior | None:
    """Of the settings' own and those that were fitted to these data or to those of runs that count, the one that knows the latest
    day, up to that of the inputs."""
    if settings.refit == "never":
        return own
    # What was fitted to other data of the same day was fitted before these were mended, and so was that of superseded runs.
    of_ledger, left = _data_of(inputs.as_of, inputs.fingerprint), _data_left(folder)
    fitted = [
        path
        for path in folder.posteriors.glob("*.nc")
        if path.name.startswith(of_ledger) or path.name[:10] < str(inputs.as_of) and not path.name.startswith(left)
    ]
    if not fitted:
        return own
    newest = max(fitted, key=lambda path: (path.name[:10], path.stat().st_mtime_ns))
    if own is not None and newest.name[:10] <= own.as_of <= str(inputs.as_of):
        return own
    return load_posterior(newest)


def _data_of(day: date | str, fingerprint: str) -> str:
    """How the names of files begin that were fitted to a day's data."""
    return f"{day}-{fingerprint[:FINGERPRINT]}-"


def _data_left(folder: RunFolder) -> tuple[str, ...]:
    """The data (`_data_of`) of runs whose place others took, and of none that counts: bad ones, or gone back from."""
    lineage = folder.lineage()
    counts: dict[str, bool] = {}
    for manifest in folder.manifests():
        data = _data_of(manifest["as_of"], manifest["inputs"]["ledger"])
        counts[data] = counts.get(data, False) or lineage.counts(manifest["run_id"])
    return tuple(data for data, does in counts.items() if not does)


def _why_refit(settings: PosteriorSettings, inputs: Inputs, checks: list[Check], found: Posterior | None) -> str | None:
    if found is None:
        if inputs.seems_cut_off():
            raise BatchError(
                "there is no posterior yet, and events seem to be missing at the end, so that none is fitted to these. Complete "
                "the export, give an input.as_of before the gap, or give posterior.file if the bookings did become so few."
            )
        return "there is none yet"
    age = (inputs.as_of - date.fromisoformat(found.as_of)).days
    if settings.refit == "age" and age > settings.max_age_days:
        return f"it knows {age} days less than the events"
    if settings.refit == "drift" and drifted(checks, checksum(found.idata)) and age > 0:
        return "earlier ranges no longer hold"
    return None


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
    return folder.posteriors / f"{_data_of(inputs.as_of, inputs.fingerprint)}{of_settings}.nc"
