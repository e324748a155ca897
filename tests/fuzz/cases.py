"""The files that are mutated, what loading them must give, and the check of one mutation."""

from __future__ import annotations

import contextlib
import faulthandler
import gzip
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import clvforecast as clv
from clvforecast.posterior import Posterior
from clvforecast.sealed import SEAL_BYTES, add_seal
from fuzz.mutations import ALL, OF_CONTENT, Random
from kept_numbers import forecast_numbers, posterior_numbers

FIXTURES = Path(__file__).parents[1] / "fixtures"
SECONDS = 30.0
"""For one file; what takes longer is a hang and ends the process with a traceback."""
SECONDS_WHOLE = 300.0
"""For a whole posterior, whose hundred variables take seconds, and more on a busy machine."""
FORBIDDEN = (
    "pickle.find_class",
    "marshal.loads",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
)
FEW_VARIABLES = ("renewal_mu", "renewal_segment_effect", "term_length", "booking_lag", "change_logit")


@dataclass(frozen=True)
class Case:
    """A file's bytes and what is known of loading them; ``kind`` is that of its seal."""

    name: str
    kind: str
    data: bytes
    load: Callable[[Path], Any]
    numbers: Callable[[Any], dict[str, Any]]
    error: type[clv.ClvError]


def cases(folder: Path) -> list[Case]:
    """A posterior, a forecast, and one with a bridge, plans and new customers, sealed."""
    of_forecast = ("forecast", clv.load_forecast, forecast_numbers, clv.ForecastFileError)
    said = {
        "posterior-schema-3.nc": ("posterior", clv.load_posterior, posterior_numbers, clv.PosteriorFileError),
        "forecast-schema-1.clv": of_forecast,
        "forecast-schema-2.clv": of_forecast,
    }
    return [
        Case(name, kind, gzip.decompress((FIXTURES / f"{name}.gz").read_bytes()), load, numbers, error)
        for name, (kind, load, numbers, error) in said.items()
    ]


def small_cases(folder: Path) -> list[Case]:
    """The same, the posterior of few variables: what gets past its seal takes a second to read otherwise."""
    posterior, *forecasts = cases(folder)
    path = folder / "small.nc"
    path.write_bytes(posterior.data)
    whole = clv.load_posterior(path)
    groups = {name: whole.idata[name].to_dataset()[list(FEW_VARIABLES)] for name in ("posterior", "prior_sd")}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = dict(whole.idata.attrs)
    Posterior(idata=tree, frame=whole.frame).save(path)
    return [replace(posterior, data=path.read_bytes()), *forecasts]


def random_of(seed: int, number: int) -> Random:
    return np.random.default_rng([seed, number])


def other_than(of: list[Case], which: int) -> Case:
    return of[(which + 1) % len(of)]


def mutated(of: list[Case], seed: int, number: int) -> tuple[Case, str, bytes]:
    """The mutation with that number: its case, its name and the file's bytes."""
    random = random_of(seed, number)
    which = int(random.integers(0, len(of)))
    mutation = ALL[int(random.integers(0, len(ALL)))]
    return of[which], mutation.__name__, mutation(of[which].data, other_than(of, which).data, random)


def resealed(of: list[Case], seed: int, number: int, path: Path) -> tuple[Case, str]:
    """The same of the content alone, with a new seal that fits; written to `path`."""
    random = random_of(seed, number)
    which = int(random.integers(0, len(of)))
    mutation = OF_CONTENT[int(random.integers(0, len(OF_CONTENT)))]
    content = mutation(of[which].data[:-SEAL_BYTES], other_than(of, which).data[:-SEAL_BYTES], random)
    path.write_bytes(content)
    add_seal(path, of[which].kind)
    return of[which], mutation.__name__


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Ends the process with a traceback when the block takes longer, also inside a C library."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def refused(case: Case, path: Path) -> bool:
    """Whether loading gives the typed error; False when it loads. Anything else is raised."""
    with within(SECONDS):
        try:
            case.load(path)
        except case.error as error:
            assert type(error) is case.error and str(path) in str(error), f"a vague error: {error}"
            return True
    return False


def loads_the_same(case: Case, path: Path, expected: dict[str, Any], seconds: float = SECONDS) -> bool:
    """Whether the file loads with these very numbers; False when it is refused. Other numbers fail."""
    with within(seconds), contextlib.redirect_stderr(io.StringIO()):
        try:
            loaded = case.load(path)
        except case.error as error:
            assert type(error) is case.error and str(path) in str(error), f"a vague error: {error}"
            return False
    assert case.numbers(loaded) == expected, "wrong numbers were loaded"
    return True


def forbid_running_code() -> list[str]:
    """From now on the list says what would run code that is not the package's; call it after a first load."""
    found: list[str] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in FORBIDDEN:
            found.append(f"{event} {arguments!r}"[:200])

    sys.addaudithook(watch)
    return found
