"""What a file or a forecast was made with."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

VERSIONED = (
    "clvforecast",
    "pymc",
    "pytensor",
    "nutpie",
    "numpy",
    "xarray",
    "arviz-stats",
    "pandas",
    "pyarrow",
    "numba",
)


def package_versions() -> dict[str, str]:
    """Package -> its version, of those that results depend on."""
    found = {}
    for package in VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


@dataclass(frozen=True)
class Provenance:
    """What a forecast was made from: fingerprints are SHA-256 (hex), empty where there is none.

    ledger: of the ledger that was scored
    posterior: of all draws and attributes of the posterior
    trained_on: of the ledger that the posterior was fitted to
    trained_until: its as_of (ISO)
    versions: of the packages that simulated
    """

    ledger: str
    posterior: str
    trained_on: str
    trained_until: str
    versions: dict[str, str]
