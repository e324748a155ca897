"""Whether a tree of draws is a posterior: what is looked up in it later is there, of the right kind and shape."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import xarray as xr
from pydantic import Json, TypeAdapter, ValidationError

Texts = dict[str, str]
ATTRIBUTES: dict[str, TypeAdapter[Any]] = {
    "seed": TypeAdapter(int),
    "as_of": TypeAdapter(str),
    "currency": TypeAdapter(str),
    "fingerprint": TypeAdapter(str),
    "notes": TypeAdapter(Json[Texts]),
    "warnings": TypeAdapter(Json[list[str]]),
    "methods": TypeAdapter(Json[Texts]),
    "settings": TypeAdapter(Json[dict[str, int]]),
    "priors": TypeAdapter(Json[dict[str, dict[str, Any]]]),
    "versions": TypeAdapter(Json[Texts]),
    "frame": TypeAdapter(Json[dict[str, Any]]),
}
OF_VARIABLES: dict[str, TypeAdapter[Any]] = {
    "component": TypeAdapter(str),
    "n_data": TypeAdapter(int),
    "long_name": TypeAdapter(str),
    "units": TypeAdapter(str),
}


def check_posterior(tree: xr.DataTree) -> None:
    """Raise ValueError, saying what, where the tree is no posterior."""
    _check_attributes(tree.attrs, ATTRIBUTES, "the file")
    if tree.attrs["as_of"]:
        date.fromisoformat(tree.attrs["as_of"])
    for group in ("posterior", "prior_sd"):
        if group not in tree.children:
            raise ValueError(f"it has no group {group!r}")
    draws, sds = (tree[group].to_dataset() for group in ("posterior", "prior_sd"))
    if not draws.data_vars or min(draws.sizes.get("chain", 0), draws.sizes.get("draw", 0)) < 1:
        raise ValueError("its group 'posterior' holds no draws")
    for name, variable in draws.data_vars.items():
        _check_variable(str(name), variable, sds)


def _check_variable(name: str, variable: xr.DataArray, sds: xr.Dataset) -> None:
    if variable.dims[:2] != ("chain", "draw"):
        raise ValueError(f"the dims of {name} are {variable.dims}, but must begin with chain and draw")
    if not np.issubdtype(variable.dtype, np.floating) and not np.issubdtype(variable.dtype, np.integer):
        raise ValueError(f"{name} holds no numbers, but {variable.dtype}")
    _check_attributes(variable.attrs, OF_VARIABLES, name)
    if name not in sds or sds[name].dims != variable.dims[2:]:
        raise ValueError(f"the group 'prior_sd' has no {name} with dims {variable.dims[2:]}")


def _check_attributes(found: dict[Any, Any], expected: dict[str, TypeAdapter[Any]], where: str) -> None:
    for name, adapter in expected.items():
        if name not in found:
            raise ValueError(f"{where} has no attribute {name!r}")
        try:
            adapter.validate_python(found[name])
        except ValidationError as error:
            raise ValueError(f"attribute {name!r} of {where}: {error.errors()[0]['msg']}") from error
