"""A component's log density as machine code that the sampler calls without Python.

Every density is compiled once a machine: Numba keeps the code, by a key that holds a digest of all sources behind it. The data
and the place and shape of the posterior (`Whitening`) lie in one block of memory, so the code serves every component of a kind.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from numba import types
from numpy.typing import NDArray
from scipy.special import expit

from clvforecast import cells, likelihoods
from clvforecast.arithmetic import digest_of_sources
from clvforecast.components.component import Arrays, Component, packed
from clvforecast.components.native import Floats, Integers, matrix, native, vector
from clvforecast.components.whitening import Whitening, add_bent, add_moved, bend_slopes, move_back, unmoved

SIGNATURE = types.int64(
    types.uint64,
    types.CPointer(types.double),
    types.CPointer(types.double),
    types.CPointer(types.double),
    types.voidptr,
)
"""(n, point (n,), slope (n,) to fill, value (1,) to fill, data) -> 0 or why not; it is what nutpie calls."""
EXPANDED = types.int64(
    types.uint64, types.uint64, types.CPointer(types.double), types.CPointer(types.double), types.voidptr
)
NOT_FINITE = 3
HEADER = 3
STOPPED, KINK, TAIL, CENTRE, BY_COLUMN = -5, -4, -3, -2, -1
"""Places of what is not the component's: whether sampling is to end, and the whitening's arrays."""


SOURCES = (Path(__file__).parent, Path(cells.__file__).parent, Path(likelihoods.__file__))
"""Where everything lies that a density is compiled from."""
VERSION = digest_of_sources(*SOURCES)


def compiled(density: Callable[..., Any]) -> Any:
    """The C function of a density body ``(n, point, slope, value, data) -> code``, from the cache where it is there.

    Each kind writes out its own few lines of body: one for all would hold the density in its closure, and a compiled function
    there is another one in every process, so that Numba would never find its code again.
    """
    return nb.cfunc(SIGNATURE, cache=True, error_model="numpy")(density)


@cache
def kept_as_they_are() -> Any:
    """The C function by which nutpie makes what it keeps of a point: here the point itself."""

    def copy(n, n_kept, point, kept, data):  # type: ignore[no-untyped-def]
        given, taken = nb.carray(point, (n,)), nb.carray(kept, (n_kept,))
        for i in range(n):
            taken[i] = given[i]
        return 0

    return nb.cfunc(EXPANDED, cache=True)(copy)


@dataclass(frozen=True)
class Target:
    """What the sampler moves: the density of a component in the coordinates z of its whitening."""

    component: Component
    whitening: Whitening
    block: NDArray[np.int64] = field(repr=False)

    @property
    def n_dim(self) -> int:
        return self.whitening.centre.size

    def stop(self) -> None:
        """Let all sampling of this target run out quickly, in whatever thread; its draws are of no use then."""
        n_arrays, n_reals, _ = self.block[:HEADER]
        first = HEADER + 3 * n_arrays
        place = self.block[HEADER + 3 * (n_arrays + STOPPED)]
        self.block[first : first + n_reals].view(np.float64)[place] = 1.0

    @property
    def function(self) -> Any:
        """The compiled C function; it takes `block` as its data."""
        return self.component.density()

    def value_and_slope(self, z: Floats) -> tuple[float, Floats]:
        """Log density up to a constant, and its derivative, at z (n,)."""
        z, slope, value = np.ascontiguousarray(z, float), np.empty(self.n_dim), np.empty(1)
        pointers = (given.ctypes.data_as(ctypes.POINTER(ctypes.c_double)) for given in (z, slope, value))
        code = self.function.ctypes(self.n_dim, *pointers, self.block.ctypes.data)
        return (float(value[0]), slope) if code == 0 else (-np.inf, np.full(self.n_dim, np.nan))

    def raw(self, z: Floats) -> dict[str, Floats]:
        """The component's raw parameters at points z (..., n)."""
        return raw_parameters(self.component, self.unconstrained(z))

    def unconstrained(self, z: Floats) -> Floats:
        """The component's unconstrained parameters x at points z (..., n)."""
        return self.whitening.unconstrained(z)

    def whitened(self, x: Floats) -> Floats:
        """The inverse of `unconstrained`."""
        return self.whitening.whitened(x)


def target_of(component: Component, whitening: Whitening | None = None) -> Target:
    """The target of a component, in its unconstrained parameters or in coordinates that whiten them."""
    whitening = unmoved(component.n_dim) if whitening is None else whitening
    of_sampler: Arrays = {
        "stopped": np.zeros(1),
        "kink": whitening.kink,
        "tail": whitening.tail,
        "centre": whitening.centre,
        "spread_by_column": np.ascontiguousarray(whitening.spread.T),
    }
    named = {name: component.arrays.get(name, np.empty(0)) for name in component.density_data}
    whole = packed({**named, **of_sampler})
    sizes = [len(whole["layout"]), whole["reals"].size, whole["wholes"].size]
    parts = [np.array(sizes), whole["layout"].ravel(), whole["reals"].view(np.int64), whole["wholes"]]
    return Target(component, whitening, np.concatenate(parts).astype(np.int64, copy=False))


def raw_parameters(component: Component, x: Floats) -> dict[str, Floats]:
    """Named raw parameters from unconstrained ones (..., n), in the order of the PyMC model."""
    found, first = {}, 0
    for parameter in component.parameters:
        part = x[..., first : first + parameter.size].reshape((*x.shape[:-1], *parameter.shape))
        found[parameter.name] = {"log": np.exp, "logit": expit, "": np.array}[parameter.transform](part)
        first += parameter.size
    return found


@native
def opened(n: int, point: Any, data: Any) -> tuple[Floats, Floats, Floats, Integers, Integers]:
    """(x, y, reals, wholes, layout) from what the sampler hands over; y is x before its tails are bent."""
    header = nb.carray(data, (HEADER,), np.int64)
    n_arrays, n_reals, n_wholes = int(header[0]), int(header[1]), int(header[2])
    first = HEADER + 3 * n_arrays
    size = first + n_reals + n_wholes
    integers = nb.carray(data, (size,), np.int64)
    reals = nb.carray(data, (size,), np.float64)[first : first + n_reals]
    layout = integers[HEADER:first].reshape((n_arrays, 3))
    y = vector(reals, layout, n_arrays + CENTRE).copy()
    add_moved(y, nb.carray(point, (n,)), matrix(reals, layout, n_arrays + BY_COLUMN))
    x = vector(reals, layout, n_arrays + KINK).copy()
    add_bent(x, y, vector(reals, layout, n_arrays + TAIL))
    return x, y, reals, integers[first + n_reals :], layout


@native
def closed(
    n: int, slope: Any, value: Any, log_density: float, by_x: Floats, y: Floats, reals: Floats, layout: Integers
) -> int:
    """Hand value and slope by z to the sampler; says whether they are finite."""
    by_z, last = nb.carray(slope, (n,)), layout.shape[0]
    value_of_z = log_density + bend_slopes(by_x, y, vector(reals, layout, last + TAIL))
    move_back(by_z, by_x, matrix(reals, layout, last + BY_COLUMN))
    nb.carray(value, (1,))[0] = value_of_z
    # Where sampling is to end every step diverges, and draws that are left take one gradient each.
    finite = math.isfinite(value_of_z) and vector(reals, layout, last + STOPPED)[0] == 0.0
    for k in range(n):
        finite = finite and math.isfinite(by_z[k])
    return 0 if finite else NOT_FINITE
