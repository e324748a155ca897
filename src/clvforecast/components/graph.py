"""What the PyMC models of the components are made of: their data, pooled effects, and likelihoods as one operation each.

The models define what is sampled, for reading and for checks; sampling itself takes the densities of `target`. PyMC takes two
seconds to import, so only what builds a model imports this file.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numba as nb
import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key

from clvforecast.components import native as native_module
from clvforecast.components.component import Arrays, is_real, packed


class LogLikelihood(Op):  # type: ignore[misc]
    """``(theta, reals, wholes, layout) -> (value, slope)`` of a compiled function; the value's derivative is the slope."""

    __props__ = ("name", "version")

    def __init__(self, function: Any) -> None:
        self.function = function
        self.name = function.py_func.__name__
        # PyTensor keeps compiled code by these properties alone: other source or constants must be another operation.
        self.version = _digest(inspect.getmodule(function.py_func), native_module)

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


def as_data(arrays: Arrays, native: Sequence[str]) -> dict[str, Any]:
    """The `packed` arrays, which are `pm.Data` of the model in context, and each as a view of them but the `native` ones.

    Those are the data of a likelihood, which finds them by the layout; others of any size can take their place without
    compiling again. All other arrays have the sizes that the component's structure says.
    """
    whole = packed(arrays)
    data = {name: pm.Data(name, value) for name, value in whole.items()}
    views = dict(data)
    for (name, value), (start, *_) in zip(arrays.items(), whole["layout"].tolist(), strict=True):
        if name not in native:
            view = data["reals" if is_real(value) else "wholes"][start : start + value.size]
            views[name] = view[0] if value.ndim == 0 else view.reshape(value.shape)
    return views


def likelihood_of(function: Any, d: Mapping[str, Any], *parameters: Any) -> Any:
    """The value of a `native` likelihood in a graph: its theta is the parameters end to end, its data are the first arrays."""
    theta = pt.concatenate([pt.atleast_1d(pt.as_tensor_variable(given)).ravel() for given in parameters])
    return LogLikelihood(function).make_node(theta, d["reals"], d["wholes"], d["layout"]).outputs[0]


def sampled_coords(name: str, s: Any, guess: Any, error: Any, shape: Any, lean: Any = 0.0) -> Any:
    """Coordinates as a PyTensor graph, with their raw form as a variable `name` of the model in context.

    ``coord ~ Normal(-lean, s)``; `lean` is for effects that are sampled less a part that depends on other parameters.
    """
    h = pt.sqrt(s**2 + error**2)
    t = s / h
    centre = guess * t**2
    raw = pm.Normal(name, -(lean + centre) / (error * t), h / error, shape=shape)
    return centre + error * t * raw
