"""Log likelihoods written out with their slopes: one operation of a PyTensor graph each.

A graph of single operations takes half a minute to compile where none of them was ever compiled; a likelihood written out
in Numba takes a few seconds once a machine, and is passed over the data once. The priors and the transforms stay PyMC's.

A likelihood is a function ``(theta, reals, wholes, layout) -> (value, slope)``: `theta` (P,) holds all it depends on,
`slope` (P,) the derivatives, and the data come `packed` (see `component.packed`).
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Native = Callable[[Floats, Floats, Integers, Integers], tuple[float, Floats]]

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)

# No fastmath: the order of sums decides last bits, and those decide what NUTS draws. No cache of Numba's own either: PyTensor
# keeps the compiled code, by a key that knows of every source file behind it.
native = nb.njit(error_model="numpy", nogil=True)
# Without Numba's reference counts, an atomic add for every array passed, which took most of the time: for functions that
# neither make arrays nor return them.
inner = nb.njit(error_model="numpy", nogil=True, _nrt=False)  # type: ignore[call-overload]


class LogLikelihood(Op):  # type: ignore[misc]
    """``(theta, reals, wholes, layout) -> (value, slope)`` of a compiled function; the value's derivative is the slope."""

    __props__ = ("name", "version")

    def __init__(self, function: Any) -> None:
        self.function = function
        self.name = function.py_func.__name__
        # PyTensor keeps compiled code by these properties alone: other source or constants must be another operation.
        self.version = _digest(inspect.getmodule(function.py_func), inspect.getmodule(LogLikelihood))

    def make_node(self, *inputs: Any) -> Apply[Any]:
        """The operation on (theta, reals, wholes, layout); outputs are a scalar and a vector like theta."""
        return Apply(self, list(inputs), [pt.dscalar(), inputs[0].type()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        """Outside compiled graphs."""
        value, slope = self.function(*(np.ascontiguousarray(given) for given in inputs))
        output_storage[0][0], output_storage[1][0] = np.asarray(value, float), slope

    def connection_pattern(self, node: Any) -> list[list[bool]]:
        """Both outputs move with theta, neither with the data."""
        return [[True, True], [False, False], [False, False], [False, False]]

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """The slope times what the value is worth."""
        if not isinstance(cotangents[1].type, DisconnectedType):
            raise NotImplementedError(f"{self.name} has first derivatives only")
        nothing = DisconnectedType()
        return [cotangents[0] * outputs[1], nothing(), nothing(), nothing()]


@register_funcify_default_op_cache_key(LogLikelihood)
def _compiled(op: LogLikelihood, node: Any = None, **kwargs: Any) -> Any:
    function = op.function

    @nb.njit
    def log_likelihood(theta: Any, reals: Any, wholes: Any, layout: Any) -> Any:
        value, slope = function(theta, reals, wholes, layout)
        return np.asarray(value), slope

    return log_likelihood


def _digest(*modules: Any) -> str:
    text = ""
    for module in modules:
        constants = {name: value for name, value in vars(module).items() if isinstance(value, (int, float))}
        text += inspect.getsource(module) + repr(constants)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@native
def vector(part: NDArray[Any], layout: Integers, i: int) -> NDArray[Any]:
    """The i-th array, of one dimension."""
    start = layout[i, 0]
    return part[start : start + layout[i, 1]]


@native
def matrix(part: NDArray[Any], layout: Integers, i: int) -> NDArray[Any]:
    """The i-th array, of two dimensions."""
    start, rows, columns = layout[i, 0], layout[i, 1], layout[i, 2]
    return part[start : start + rows * columns].reshape((rows, columns))


@inner
def add_effects(total: Floats, X: Floats, coefficients: Floats) -> None:
    """``total += coefficients @ X``: (G,), (K, G), (K,)."""
    for k in range(X.shape[0]):
        weight = coefficients[k]
        for g in range(X.shape[1]):
            total[g] += weight * X[k, g]


@inner
def add_slopes(slope: Floats, X: Floats, of_total: Floats) -> None:
    """The way back of `add_effects`: ``slope += X @ of_total``."""
    for k in range(X.shape[0]):
        found = 0.0
        for g in range(X.shape[1]):
            found += X[k, g] * of_total[g]
        slope[k] += found


@inner
def log_gamma_and_slope(x: float) -> tuple[float, float]:
    """log Gamma and its derivative at x > 0: Stirling's series, for a small x six steps further up.

    (Abramowitz and Stegun 6.1.41, 6.3.18 and the recurrences 6.1.15, 6.3.5.) The six steps' product
    ``x (x+1) ... (x+5)`` is ``v (v+4) (v+6)`` with ``v = x (x+5)``.
    """
    product, derivative = 1.0, 0.0
    if x < 6.0:
        v = x * (x + 5.0)
        product = v * (v + 4.0) * (v + 6.0)
        derivative = (3.0 * v * v + 20.0 * v + 24.0) * (2.0 * x + 5.0)
        x += 6.0
    log_x, y = math.log(x), 1.0 / x
    z = y * y
    rest = y * (
        1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z * (1 / 1188 - z * (691 / 360360 - z / 156)))))
    )
    series = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132 - z * (691 / 32760 - z / 12))))))
    log_gamma = (x - 0.5) * log_x - x + HALF_LOG_2PI + rest
    return log_gamma - math.log(product), log_x - 0.5 * y - series - derivative / product


@inner
def log1p_exp(x: float) -> float:
    """``log(1 + e^x)`` without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@inner
def logistic(x: float) -> float:
    """``1 / (1 + e^-x)`` without overflow."""
    small = math.exp(-abs(x))
    return 1.0 / (1.0 + small) if x >= 0.0 else small / (1.0 + small)
