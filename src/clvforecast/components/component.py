"""What every component hands to the sampler: data, graph, prior draws, and the way from raw draws to named variables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import pymc as pm

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Raw = Mapping[str, Floats]
Shape = tuple[int, int]
"""(chains, draws), the leading axes of every array of draws."""


class Priors(BaseModel):
    """Base of a component's priors: frozen numbers, each with its reason as the field's description."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Variable:
    """Draws of one named parameter: dims after (chain, draw), values, and how many observations inform it."""

    dims: tuple[str, ...]
    values: Floats
    n_data: int


@dataclass(frozen=True)
class Parameter:
    """One free variable of a PyMC model: its shape, and how it is made from an unconstrained one ("log", "logit", "")."""

    name: str
    shape: tuple[int, ...] = ()
    transform: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Component:
    """One part of the model, ready to be sampled on its own: given the data the parts are independent.

    Attributes
    ----------
    name
        The field's word, e.g. "expansion_rate"; the first part of its variables' names.
    arrays
        The data of its model and of its density.
    build
        The PyMC model, which defines the component: arrays -> `pm.Model`.
    parameters
        The model's free variables, in its order.
    density
        The compiled log density of that model, see `target`; `density_data` names its arrays, in its order.
    prior
        (generator, (chains, draws)) -> raw parameters drawn from the prior, names and shapes as the graph's.
    variables
        Raw parameters, drawn from prior or posterior -> the posterior's named variables.
    closed_form
        Draws of the raw parameters where no sampler is needed (conjugate parts, and kinds without any data), else None.
    refined
        (likeliest raw parameters under given SDs, their variances) -> the same component, its effects sampled relative to
        what that tells of them (`pooling.refined`), once for each of the coordinates that may serve. The model is the same.
    n_data
        Observations that inform the component.
    note
        What a reader of the summary should know, e.g. "no referrals in the data: the prior, almost".
    """

    name: str
    arrays: Arrays
    build: Callable[[Arrays], pm.Model]
    parameters: tuple[Parameter, ...]
    density: Callable[[], Any]
    density_data: tuple[str, ...]
    prior: Callable[[np.random.Generator, Shape], Raw]
    variables: Callable[[Raw], dict[str, Variable]]
    n_data: int
    closed_form: Callable[[np.random.Generator, Shape], Raw] | None = None
    refined: Callable[[Raw, Raw], tuple[Component, ...]] | None = None
    note: str = ""

    @property
    def held_sds(self) -> Floats:
        """The scales of the priors of its effects' SDs."""
        return np.asarray(self.arrays["prior_sd" if "prior_sd" in self.arrays else "prior_effect"], float)

    @property
    def n_dim(self) -> int:
        """Number of free scalars."""
        return sum(parameter.size for parameter in self.parameters)

    def model(self) -> pm.Model:
        """The PyMC model of this component with its own data."""
        return self.build(self.arrays)


def packed(arrays: Arrays) -> Arrays:
    """The arrays end to end in one vector of reals and one of whole numbers, and `layout` (arrays, 3): start, rows, columns.

    What is compiled then takes three arrays, whatever a component has.
    """
    reals, wholes = [np.empty(0)], [np.empty(0, dtype=np.int64)]
    layout = {}
    for name, value in arrays.items():
        part = reals if is_real(value) else wholes
        layout[name] = (sum(block.size for block in part), *value.shape, *[1] * (2 - value.ndim))
        part.append(value.ravel())
    return {
        "reals": np.concatenate(reals),
        "wholes": np.concatenate(wholes),
        "layout": np.array([layout[name] for name in arrays], dtype=np.int64).reshape(-1, 3),
    }


def is_real(value: NDArray[Any]) -> bool:
    return value.dtype.kind == "f"


def data_first(native: Sequence[str], arrays: Arrays) -> Arrays:
    """The arrays with those of a `native` likelihood in front, in its order."""
    return {name: arrays[name] for name in (*native, *(other for other in arrays if other not in native))}


def no_density() -> Any:
    """For parts drawn in closed form: there is nothing to sample."""
    raise TypeError("this component is drawn in closed form and has no density; use its `closed_form`")


def no_graph(arrays: Arrays) -> pm.Model:
    """For parts drawn in closed form: they have no graph to sample."""
    raise TypeError("this component is drawn in closed form and has no PyMC model; use its `closed_form`")
