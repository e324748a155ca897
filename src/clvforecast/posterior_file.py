"""A posterior on disk: one netCDF-4 file that any xarray reads, checked when it is loaded, without pickle.

Draws, coordinates and sampler statistics are netCDF groups and variables; frame, priors and settings are JSON strings in
the file's attributes. The file ends with a seal (`clvforecast.sealed`), which is verified before the HDF5 library reads a
byte; a SHA-256 over the content, whatever its storage, tells two equal posteriors.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Literal

import numpy as np
import xarray as xr

from clvforecast.cells import Frame
from clvforecast.durable import put_in_place
from clvforecast.errors import PosteriorFileError
from clvforecast.posterior_check import check_posterior
from clvforecast.sealed import BrokenSeal, OtherKind, add_seal, sealed_length

SCHEMA_VERSION = 3
UNSEALED_VERSION = 2
"""The last schema without a seal: such files are still read."""
KIND = "posterior"
SEALED = "clvforecast_sealed"
"""Attribute of files that end with a seal: one from which just that was cut is told without reading it as HDF5."""
OF_THE_FILE = ("checksum", "schema_version", SEALED)
"""Attributes of the file, not of the posterior in it."""
APART_SECONDS = 300.0
"""A hang is rare; a whole file that is refused because the machine is busy would be worse."""
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
SPARE_BYTES = 64 << 20
"""What the variables of a small file may take: names and labels are larger in memory than in the file."""
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
    labelled = tree.copy()
    labelled.attrs = {**tree.attrs, "schema_version": str(SCHEMA_VERSION), SEALED: KIND}
    labelled.attrs["checksum"] = checksum(labelled)
    try:
        with put_in_place(target) as temporary:
            labelled.to_netcdf(temporary, engine=ENGINE)
            add_seal(temporary, KIND)
    except OSError as error:
        raise PosteriorFileError(
            f"{target}: cannot write there ({error.strerror or error}). What was there before is still there. Give a path in an "
            "existing folder that you may write to, with space left."
        ) from error
    return target


def read_posterior(path: str | os.PathLike[str], untrusted: bool = False) -> xr.DataTree:
    """Read and verify a file of `write_posterior`, of this or an older schema.

    The seal tells damage, but a stranger can seal what makes HDF5 hang: with ``untrusted`` another process reads it first.

    Raises
    ------
    PosteriorFileError
        When the file is missing, is no posterior, has a schema unknown here, or is not as it was saved.
    """
    source = Path(path)
    if not source.is_file():
        missing = "a folder, not a file" if source.is_dir() else "no such file"
        raise PosteriorFileError(
            f"{source}: {missing}. Make one with posterior.save(path), or `clvforecast fit EVENTS -o FILE`."
        )
    try:
        with open(source, "rb") as file:
            sealed = sealed_length(file, KIND) is not None
            if not sealed:
                _check_unsealed(file, source)
            if untrusted or not sealed:
                return _read_apart(source)
            tree = _parse(file, source)  # the bytes that were verified: another file may stand at that path by now
    except OtherKind as error:
        raise PosteriorFileError(f"{source}: {error}") from error
    except BrokenSeal as error:
        raise PosteriorFileError(_damaged(source, str(error))) from error
    except OSError as error:
        raise PosteriorFileError(
            f"{source}: cannot be read ({error.strerror}). Check the file's permissions."
        ) from error
    _verify(tree, source, SCHEMA_VERSION)
    return tree


def _damaged(source: Path, how: str) -> str:
    return f"{source}: its content was changed or damaged after it was saved: {how}. Restore the file, or fit and save again."


def _parse(file: BinaryIO, source: Path) -> xr.DataTree:
    """The content by the HDF5 library, as it is: not yet verified."""
    limit = 2 * file.seek(0, os.SEEK_END) + SPARE_BYTES
    try:
        with xr.open_datatree(file, engine=ENGINE) as opened:  # type: ignore[arg-type]
            declared = sum(node.to_dataset(inherit=False).nbytes for node in opened.subtree)
            if declared > limit:
                raise ValueError(f"its variables would take {declared:,} bytes")
            return opened.load()
    except Exception as error:  # whatever three libraries raise for what is no netCDF-4 file; their own list is open
        raise PosteriorFileError(
            f"{source}: cannot be read as netCDF-4 ({error}). It is damaged or another kind of file; fit and save again."
        ) from error


def _verify(tree: xr.DataTree, source: Path, known_version: int) -> None:
    version = str(tree.attrs.get("schema_version", "none"))
    if version != str(known_version):
        raise PosteriorFileError(
            f"{source}: schema version {version}, this package reads {UNSEALED_VERSION} to {SCHEMA_VERSION}. Fit again with this "
            f"version, or load it with the one that wrote it ({tree.attrs.get('versions', 'not recorded')})."
        )
    expected, found = str(tree.attrs.get("checksum", "none")), checksum(tree)
    if expected != found:
        raise PosteriorFileError(_damaged(source, f"checksum {found[:12]}... where the file says {expected[:12]}..."))
    try:
        check_posterior(tree)
        frame_from_json(tree.attrs["frame"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise PosteriorFileError(
            f"{source}: is no posterior of this package ({error}). Give a file that posterior.save(path) wrote."
        ) from error


# --- files that nothing vouches for --------------------------------------------------------------------------------------------


def _read_apart(source: Path) -> xr.DataTree:
    """By way of a process of its own, which writes it anew: damage that crashes or hangs HDF5 ends that one."""
    with TemporaryDirectory(prefix="clvforecast-") as folder:
        target = Path(folder) / "posterior.nc"
        _upgrade_apart(source, target)
        return read_posterior(target)


def _check_unsealed(file: BinaryIO, source: Path) -> None:
    """Whether it is worth a process: HDF5, as long as it says, and not a file that had a seal. Raises PosteriorFileError."""
    if not _is_whole_hdf5(file):
        raise PosteriorFileError(
            f"{source}: cannot be read as netCDF-4 (no seal, and not of the length that it says). It is damaged or another kind "
            "of file; fit and save again."
        )
    file.seek(0)
    if SEALED.encode() in file.read():
        raise PosteriorFileError(_damaged(source, "its seal is missing"))


def _is_whole_hdf5(file: BinaryIO) -> bool:
    """Whether the file begins as HDF5 and ends where its superblock says.

    HDF5 File Format Specification, III.A, superblock versions 0 and 1 (end of file address at 40 or 44), 2 and 3 (at 28).
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    if len(head) < 64 or not head.startswith(HDF5_SIGNATURE) or head[8] > 3:
        return False
    (end,) = struct.unpack_from("<Q", head, {0: 40, 1: 44}.get(head[8], 28))
    return bool(end == size)


def _upgrade_apart(source: Path, target: Path) -> None:
    """`upgrade` in a process of its own, which has this one's import path."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "clvforecast.posterior_upgrade", str(source.absolute()), str(target)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=APART_SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path)},
        )
    except subprocess.TimeoutExpired as error:
        raise PosteriorFileError(_damaged(source, f"it could not be read within {error.timeout:.0f} s")) from error
    except OSError as error:
        raise PosteriorFileError(
            f"{source}: such a file is read by a second Python, which could not be started ({error}). "
            f"Load and save it again with the version that wrote it."
        ) from error
    if done.returncode == 0:
        return
    for line in done.stderr.splitlines():
        if line.startswith(REFUSED):
            raise PosteriorFileError(line.removeprefix(REFUSED))
    raise PosteriorFileError(_damaged(source, f"reading it ended with code {done.returncode}"))


REFUSED = "clvforecast refuses: "
"""What a line on stderr begins with in which `clvforecast.posterior_upgrade` says why a file cannot be used."""


def upgrade(source: Path, target: Path) -> None:
    """Write a file of this schema, or the last one without a seal, anew in this schema. Raises PosteriorFileError."""
    with open(source, "rb") as file:
        sealed = sealed_length(file, KIND) is not None
        tree = _parse(file, source)
    if not sealed and str(tree.attrs.get("schema_version")) == str(SCHEMA_VERSION):
        raise PosteriorFileError(_damaged(source, "its seal is missing"))
    _verify(tree, source, SCHEMA_VERSION if sealed else UNSEALED_VERSION)
    tree.attrs = {name: value for name, value in tree.attrs.items() if name not in OF_THE_FILE}
    write_posterior(tree, target)
