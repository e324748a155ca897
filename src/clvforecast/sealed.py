"""The seal at a file's end, by which every changed, missing or added byte is told before anything reads the content.

64 bytes after the content: ``CLVSEAL1``, the kind of file (16 bytes), the content's length (8, little-endian), and the
SHA-256 of the content and of these 32 bytes. It tells damage; it is no signature, anybody can compute it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import BinaryIO

MAGIC = b"CLVSEAL1"
HEAD = struct.Struct("<8s16sQ")
SEAL_BYTES = HEAD.size + hashlib.sha256().digest_size
BYTES_AT_A_TIME = 1 << 20


KINDS = {
    "posterior": "a posterior, as `clvforecast fit` writes it",
    "plans": "the reliability of plans, as PlanReliability.save writes it",
    "forecast": "a whole forecast, as Forecast.save writes it",
}
"""What files of each kind are."""


class BrokenSeal(ValueError):
    """The file is not what was sealed; the message says in which way."""


class OtherKind(BrokenSeal):
    """The file is whole, and of another kind than was asked for: the message says of which."""


def add_seal(path: Path, kind: str) -> None:
    """Seal the content of a file. Raises OSError when it cannot be written."""
    length = os.path.getsize(path)
    head = HEAD.pack(MAGIC, kind.encode().ljust(16), length)
    with open(path, "rb+") as file:
        digest = _digest(file, length, head)
        file.seek(length)
        file.write(head + digest)


def sealed_length(file: BinaryIO, kind: str) -> int | None:
    """The content's length (bytes) of a whole file of that kind; None where the file has no seal at its end.

    Raises
    ------
    BrokenSeal
        When bytes were changed, are missing or too many, or the file is of another kind.
    """
    size = file.seek(0, os.SEEK_END)
    if size < SEAL_BYTES:
        return None
    file.seek(size - SEAL_BYTES)
    seal = file.read(SEAL_BYTES)
    head, digest = seal[: HEAD.size], seal[HEAD.size :]
    magic, of_kind, length = HEAD.unpack(head)
    if magic != MAGIC:
        return None
    if length != size - SEAL_BYTES:
        raise BrokenSeal(f"it has {size - SEAL_BYTES:,} bytes of content where {length:,} were saved")
    if _digest(file, length, head) != digest:
        raise BrokenSeal("its bytes do not match their checksum")
    if of_kind != kind.encode().ljust(16):
        found = of_kind.decode(errors="replace").strip()
        is_kind, wanted = KINDS.get(found, f"a file of the kind {found!r}"), KINDS.get(kind, repr(kind))
        raise OtherKind(f"it is {is_kind}, not {wanted}. Give the file that was saved as that.")
    return int(length)


def _digest(file: BinaryIO, length: int, head: bytes) -> bytes:
    """SHA-256 of the first ``length`` bytes and of the seal's head, without holding the file in memory."""
    digest, left = hashlib.sha256(), length
    file.seek(0)
    while left and (piece := file.read(min(left, BYTES_AT_A_TIME))):
        digest.update(piece)
        left -= len(piece)
    digest.update(head)
    return digest.digest()
