"""What every component hands to the sampler: data, graph, prior draws, and the way from raw draws to named variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from clvforecast.components.native import LogLikelihood

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Raw = Mapping[str, Floats]
Shape = tuple[int, int]
"""(chains, draws), the leading axes of every array of draws."""


class Priors(BaseModel):
    """Base of a component's priors: frozen numbers, each with its reason as the field's description."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Variable:
    """Draws of one named parameter: dims after (chain, draw), values, and how many observations inform it."""

    dims: tuple[str, ...]
    values: Floats
    n_data: int


@dataclass(frozen=True)
class Component:
    """One part of the model, ready to be sampled on its own: given the data the parts are independent.

    Attributes
    ----------
    name
        The field's word, e.g. "expansion_rate"; the first part of its variables' names.
    arrays
        The data of its graph, which get there by `as_data`.
    build
        The graph: arrays -> `pm.Model`. Graphs of one `structure` differ in data only, so they are compiled once.
    structure
        Name of the graph and the sizes of its parameters.
    prior
        (generator, (chains, draws)) -> raw parameters drawn from the prior, names and shapes as the graph's.
    variables
        Raw parameters, drawn from prior or posterior -> the posterior's named variables.
    closed_form
        Draws of the raw parameters where no sampler is needed (conjugate parts, and kinds without any data), else None.
    refined
        Raw draws of a short run -> the same component, its effects sampled relative to what that run tells of them
        (`pooling.refined`). The model is the same.
    correlated
        Whether its parameters trade off against each other, so that the sampler should learn their correlations.
    n_data
        Observations that inform the component.
    note
        What a reader of the summary should know, e.g. "no referrals in the data: the prior, almost".
    """

    name: str
    arrays: Arrays
    build: Callable[[Arrays], pm.Model]
    structure: tuple[Any, ...]
    prior: Callable[[np.random.Generator, Shape], Raw]
    variables: Callable[[Raw], dict[str, Variable]]
    n_data: int
    closed_form: Callable[[np.random.Generator, Shape], Raw] | None = None
    refined: Callable[[Raw], Component] | None = None
    correlated: bool = False
    note: str = ""

    def model(self) -> pm.Model:
        """The PyMC model of this component with its own data."""
        return self.build(self.arrays)


def packed(arrays: Arrays) -> Arrays:
    """The arrays end to end in one vector of reals and one of whole numbers, and `layout` (arrays, 3): start, rows, columns.

    A compiled graph takes seconds to build for the passing of thirty arrays, and a fraction of one for three. They lie from
    the last to the first: a `native` likelihood's data come first and vary in size, so the others lie at fixed places.
    """
    reals, wholes = [np.empty(0)], [np.empty(0, dtype=np.int64)]
    layout = {}
    for name, value in reversed(arrays.items()):
        part = reals if _is_real(value) else wholes
        layout[name] = (sum(block.size for block in part), *value.shape, *[1] * (2 - value.ndim))
        part.append(value.ravel())
    return {
        "reals": np.concatenate(reals),
        "wholes": np.concatenate(wholes),
        "layout": np.array([layout[name] for name in arrays], dtype=np.int64).reshape(-1, 3),
    }


def _is_real(value: NDArray[Any]) -> bool:
    return value.dtype.kind == "f"


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
            view = data["reals" if _is_real(value) else "wholes"][start : start + value.size]
            views[name] = view[0] if value.ndim == 0 else view.reshape(value.shape)
    return views


def likelihood_of(function: Any, d: Mapping[str, Any], *parameters: Any) -> Any:
    """The value of a `native` likelihood in a graph: its theta is the parameters end to end, its data are the first arrays."""
    theta = pt.concatenate([pt.atleast_1d(pt.as_tensor_variable(given)).ravel() for given in parameters])
    return LogLikelihood(function).make_node(theta, d["reals"], d["wholes"], d["layout"]).outputs[0]


def data_first(native: Sequence[str], arrays: Arrays) -> Arrays:
    """The arrays with those of a `native` likelihood in front, in its order."""
    return {name: arrays[name] for name in (*native, *(other for other in arrays if other not in native))}


def no_graph(arrays: Arrays) -> pm.Model:
    """For parts drawn in closed form: they have no graph to sample."""
    raise TypeError("this component is drawn in closed form and has no PyMC model; use its `closed_form`")
