"""Line keys: a hash of account and contract that random numbers and samples of lines are drawn by."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def line_keys(lines: pa.Table) -> NDArray[np.uint64]:
    """uint64[L]: the first 8 bytes, little endian, of blake2b(digest_size=8) of account_id + U+001F +
    contract_id (UTF-8).

    hashlib takes one text at a time: the one loop over lines, about a microsecond a line.
    """
    accounts, contracts = lines["account_id"].to_pylist(), lines["contract_id"].to_pylist()
    texts = zip(accounts, contracts, strict=True)
    digests = b"".join(blake2b(f"{a}\x1f{c}".encode(), digest_size=8).digest() for a, c in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
