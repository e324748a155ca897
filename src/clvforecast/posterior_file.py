"""A posterior on disk: one netCDF-4 file that any xarray reads, checked when it is loaded, without pickle.

Draws, coordinates and sampler statistics are netCDF groups and variables; frame, priors and settings are JSON strings in
the file's attributes. A SHA-256 over all of it tells a damaged or edited file.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from clvforecast.cells import Frame
from clvforecast.errors import PosteriorFileError

SCHEMA_VERSION = 2
ENGINE: Literal["h5netcdf"] = "h5netcdf"


def frame_to_json(frame: Frame) -> str:
    """The frame as JSON; floats keep every bit."""
    return json.dumps(
        {
            "segments": list(frame.segments),
            "levels": {column: list(levels) for column, levels in frame.levels.items()},
            "size_edges": frame.size_edges.tolist(),
            "term_values": frame.term_values.tolist(),
            "term_class": frame.term_class.tolist(),
            "term_class_names": list(frame.term_class_names),
            "lag_edges": frame.lag_edges.tolist(),
            "uses_notice": bool(frame.uses_notice),
            "years": list(frame.years),
            "settled_years": int(frame.settled_years),
            "max_ratio": float(frame.max_ratio),
        }
    )


def frame_from_json(text: str) -> Frame:
    """The inverse of `frame_to_json`."""
    found = json.loads(text)
    return Frame(
        segments=tuple(found["segments"]),
        levels={column: tuple(levels) for column, levels in found["levels"].items()},
        size_edges=np.asarray(found["size_edges"], dtype=np.float64),
        term_values=np.asarray(found["term_values"], dtype=np.int64),
        term_class=np.asarray(found["term_class"], dtype=np.int64),
        term_class_names=tuple(found["term_class_names"]),
        lag_edges=np.asarray(found["lag_edges"], dtype=np.float64),
        uses_notice=bool(found["uses_notice"]),
        years=tuple(found["years"]),
        settled_years=int(found["settled_years"]),
        max_ratio=float(found["max_ratio"]),
    )


def checksum(tree: xr.DataTree) -> str:
    """SHA-256 (hex) of all groups, variables, coordinates and attributes, whatever their order or storage type."""
    digest = hashlib.sha256()
    for node in sorted(tree.subtree, key=lambda node: node.path):
        digest.update(f"group {node.path} {_canonical(node.attrs)}\n".encode())
        dataset = node.to_dataset(inherit=False)
        for name in sorted(map(str, dataset.variables)):
            variable = dataset.variables[name]
            head = (name, variable.dims, variable.shape, _canonical(variable.attrs))
            digest.update(f"variable {head}\n".encode())
            digest.update(_content(variable.values))
    return digest.hexdigest()


def _canonical(attrs: Mapping[Any, Any]) -> str:
    plain = {str(key): str(value) for key, value in attrs.items() if key != "checksum"}
    return json.dumps(plain, sort_keys=True)


def _content(values: np.ndarray) -> bytes:
    if values.dtype.kind in "biuf":
        return np.ascontiguousarray(values, dtype="<f8").tobytes()
    return "\x1f".join(map(str, values.ravel())).encode()


def write_posterior(tree: xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """Write the file in one step: it is there complete, or not at all.

    Raises
    ------
    PosteriorFileError
        When the folder does not exist or cannot be written.
    """
    target = Path(path)
    sealed = tree.copy()
    sealed.attrs = {**tree.attrs, "schema_version": str(SCHEMA_VERSION)}
    sealed.attrs["checksum"] = checksum(sealed)
    try:
        temporary = target.parent / f".{target.name}.{secrets.token_hex(6)}.partial"
        temporary.open("xb").close()  # with the permissions that files have here
    except OSError as error:
        raise PosteriorFileError(
            f"{target}: cannot write there ({error.strerror}). Give a path in an existing folder that you may write to."
        ) from error
    try:
        sealed.to_netcdf(temporary, engine=ENGINE)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise PosteriorFileError(f"{target}: writing failed ({error}). Nothing was changed at that path.") from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return target


def read_posterior(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read and verify a file of `write_posterior`.

    Raises
    ------
    PosteriorFileError
        When the file is missing, is no posterior, has another schema version, or its content does not match its checksum.
    """
    source = Path(path)
    if not source.is_file():
        raise PosteriorFileError(
            f"{source}: no such file. Make one with posterior.save(path), or `clvforecast fit EVENTS -o FILE`."
        )
    try:
        with xr.open_datatree(source, engine=ENGINE) as opened:
            tree = opened.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise PosteriorFileError(
            f"{source}: cannot be read as netCDF-4 ({error}). It is damaged or another kind of file; fit and save again."
        ) from error
    _verify(tree, source)
    return tree


def _verify(tree: xr.DataTree, source: Path) -> None:
    version = str(tree.attrs.get("schema_version", "none"))
    if version != str(SCHEMA_VERSION):
        raise PosteriorFileError(
            f"{source}: schema version {version}, this package reads {SCHEMA_VERSION}. Fit again with this version, or load "
            f"it with the one that wrote it ({tree.attrs.get('versions', 'not recorded')})."
        )
    expected, found = str(tree.attrs.get("checksum", "none")), checksum(tree)
    if expected != found:
        raise PosteriorFileError(
            f"{source}: checksum {found[:12]}... where the file says {expected[:12]}...: its content was changed or damaged "
            "after it was saved. Fit and save again, or restore the file."
        )
