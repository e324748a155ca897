"""What every component hands to the sampler: data, graph, prior draws, and the way from raw draws to named variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

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
    """The arrays end to end in one vector of reals and one of whole numbers, and where each begins and its shape.

    A compiled graph takes seconds to build for the passing of thirty arrays, and a fraction of one for three.
    """
    parts: dict[str, list[NDArray[Any]]] = {"reals": [np.empty(0)], "wholes": [np.empty(0, dtype=np.int64)]}
    layout: list[int] = []
    for value in arrays.values():
        part = parts[_part(value)]
        layout += [sum(block.size for block in part), *value.shape]
        part.append(value.ravel())
    return {
        **{name: np.concatenate(part) for name, part in parts.items()},
        "layout": np.array(layout, dtype=np.int64),
    }


def _part(value: NDArray[Any]) -> str:
    return "reals" if value.dtype.kind == "f" else "wholes"


def as_data(arrays: Arrays) -> dict[str, Any]:
    """The arrays as views of the `packed` ones, which are `pm.Data` of the model in context.

    Others of the same number of dimensions can take their place without compiling again.
    """
    data = {name: pm.Data(name, value) for name, value in packed(arrays).items()}
    views, at = {}, 0
    for name, value in arrays.items():
        source, start = data[_part(value)], data["layout"][at]
        shape = [data["layout"][at + 1 + axis] for axis in range(value.ndim)]
        size = pt.prod(shape) if shape else 1
        views[name] = source[start : start + size].reshape(shape, ndim=value.ndim) if shape else source[start]
        at += 1 + value.ndim
    return views


def no_graph(arrays: Arrays) -> pm.Model:
    """For parts drawn in closed form: they have no graph to sample."""
    raise TypeError("this component is drawn in closed form and has no PyMC model; use its `closed_form`")
