"""A run's id: the same for the same posterior, data, day and settings.

Data are the ledger's: bookings after the day, too, and the rows that it rejects, which are a table of the run.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from clvforecast.batch.inputs import Inputs
from clvforecast.batch.parts import digest_of
from clvforecast.batch.settings import ForecastOptions

ID_DIGITS = 16


def run_id_of(posterior: str, inputs: Inputs, options: ForecastOptions) -> str:
    """16 hexadecimal digits of the SHA-256 of what determines the output; ``posterior`` is its checksum.

    How the work is cut and spread is not in it, because it changes nothing; the package's version is.
    """
    said = {
        "posterior": posterior,
        "ledger": inputs.fingerprint,
        "rejects": inputs.rejects,
        "as_of": inputs.as_of.isoformat(),
        "forecast": described(options),
        "version": version("clvforecast"),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:ID_DIGITS]


def described(options: ForecastOptions) -> dict[str, Any]:
    """The options for JSON; of files it is the content that counts, wherever they lie."""
    said = options.model_dump(mode="json")
    for name in ("plans", "reliability"):
        if said[name] is not None:
            said[name] = digest_of(Path(said[name]))
    return said
