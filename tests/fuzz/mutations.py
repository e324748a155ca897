"""Ways in which a file is not what was saved; each takes the bytes, another file's bytes and random numbers."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import pandas as pd

from clvforecast.sealed import SEAL_BYTES

Random = np.random.Generator
Mutation = Callable[[bytes, bytes, Random], bytes]


def place(data: bytes, random: Random) -> int:
    return int(random.integers(0, max(1, len(data))))


def span(data: bytes, random: Random) -> tuple[int, int]:
    """A piece of the data, short ones as likely as long ones."""
    first = place(data, random)
    length = int(2 ** random.uniform(0, np.log2(max(2, len(data)))))
    return first, min(len(data), first + length)


def flip_bits(data: bytes, other: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 9))):
        changed[place(data, random)] ^= 1 << int(random.integers(0, 8))
    return bytes(changed)


def overwrite(data: bytes, other: bytes, random: Random) -> bytes:
    first, last = span(data, random)
    return data[:first] + random.bytes(last - first) + data[last:]


def zero_fill(data: bytes, other: bytes, random: Random) -> bytes:
    first, last = span(data, random)
    return data[:first] + bytes(last - first) + data[last:]


def truncate(data: bytes, other: bytes, random: Random) -> bytes:
    return data[: place(data, random)]


def truncate_near_end(data: bytes, other: bytes, random: Random) -> bytes:
    return data[: len(data) - int(random.integers(1, 2 * SEAL_BYTES))]


def insert(data: bytes, other: bytes, random: Random) -> bytes:
    at = place(data, random)
    return data[:at] + random.bytes(int(random.integers(1, 200))) + data[at:]


def delete(data: bytes, other: bytes, random: Random) -> bytes:
    first, last = span(data, random)
    return data[:first] + data[last:]


def swap_blocks(data: bytes, other: bytes, random: Random) -> bytes:
    size = int(2 ** random.integers(3, 13))
    a, b = sorted(int(at) * size for at in random.integers(0, max(1, len(data) // size), 2))
    return data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :] if b > a else data


def duplicate_tail(data: bytes, other: bytes, random: Random) -> bytes:
    return data + data[place(data, random) :]


def concatenate(data: bytes, other: bytes, random: Random) -> bytes:
    return data + other if random.random() < 0.5 else other + data


def splice(data: bytes, other: bytes, random: Random) -> bytes:
    return data[: place(data, random)] + other[place(other, random) :]


def change_seal(data: bytes, other: bytes, random: Random) -> bytes:
    at = len(data) - 1 - int(random.integers(0, SEAL_BYTES))
    return data[:at] + random.bytes(int(random.integers(1, 9))) + data[at + 1 :]


def change_sealed_length(data: bytes, other: bytes, random: Random) -> bytes:
    at = len(data) - SEAL_BYTES + 24
    lengths = (0, 1, len(data), 2**31, 2**63, 2**64 - 1, place(data, random), place(data, random))
    length = lengths[int(random.integers(0, len(lengths)))]
    return data[:at] + struct.pack("<Q", length) + data[at + 8 :]


def seal_of_another(data: bytes, other: bytes, random: Random) -> bytes:
    return data[:-SEAL_BYTES] + other[-SEAL_BYTES:]


def change_head(data: bytes, other: bytes, random: Random) -> bytes:
    at = int(random.integers(0, min(512, len(data))))
    return data[:at] + random.bytes(int(random.integers(1, 9))) + data[at + 1 :]


def random_bytes(data: bytes, other: bytes, random: Random) -> bytes:
    return random.bytes(int(2 ** random.uniform(0, 16)) - 1)


def keep_head_alone(data: bytes, other: bytes, random: Random) -> bytes:
    return data[:8] + random.bytes(int(random.integers(0, 4096)))


class Exploit:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code of a file was run')",)


def foreign(data: bytes, other: bytes, random: Random) -> bytes:
    """A file of another kind, whole or with this one's seal behind it."""
    made = FOREIGN[int(random.integers(0, len(FOREIGN)))]
    return made + data[-SEAL_BYTES:] if random.random() < 0.3 else made


def _foreign_files() -> list[bytes]:
    table = pd.DataFrame({"account_id": ["a", "b"], "mean": [1.0, 2.0]})
    parquet, archive, arrays = io.BytesIO(), io.BytesIO(), io.BytesIO()
    table.to_parquet(parquet)
    np.savez(arrays, values=np.arange(5))
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("posterior.nc", b"\x89HDF\r\n\x1a\n")
    return [
        b"",
        parquet.getvalue(),
        archive.getvalue(),
        arrays.getvalue(),
        gzip.compress(b"text" * 50),
        pickle.dumps(Exploit()),
        pickle.dumps({"draws": np.arange(4)}),
        table.to_csv().encode(),
        json.dumps({"schema_version": 3}).encode(),
        b"CDF\x01" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"#!/bin/sh\nexit 1\n",
    ]


FOREIGN = _foreign_files()
OF_CONTENT: tuple[Mutation, ...] = (
    flip_bits,
    overwrite,
    zero_fill,
    truncate,
    insert,
    delete,
    swap_blocks,
    duplicate_tail,
    concatenate,
    splice,
    change_head,
    random_bytes,
    keep_head_alone,
    foreign,
)
"""Those that make sense with a new seal behind them, too."""
ALL: tuple[Mutation, ...] = (*OF_CONTENT, truncate_near_end, change_seal, change_sealed_length, seal_of_another)
