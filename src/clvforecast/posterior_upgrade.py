"""``python -m clvforecast.posterior_upgrade SOURCE TARGET``: a posterior file written anew in today's schema.

Run by `load_posterior` as a process of its own where nothing vouches for the bytes: older files have no seal, and a stranger's
seal says nothing.
"""

import os
import sys
from pathlib import Path

from clvforecast.errors import ClvError
from clvforecast.posterior_file import REFUSED, upgrade

MEMORY_BYTES = 8 << 30
"""Address space for the libraries alone; a damaged file may ask for any size."""
MEMORY_TIMES_FILE = 16


def limit_memory(source: Path) -> None:
    """No more than the file can need, where the system has such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    most = MEMORY_BYTES + MEMORY_TIMES_FILE * os.path.getsize(source)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    except (ValueError, OSError):  # macOS, or a stricter limit is set already
        return


def main(source: str, target: str) -> int:
    """Exit code: 0 when TARGET is written; else 1, with the reason in one line on stderr after `REFUSED`."""
    try:
        limit_memory(Path(source))
        upgrade(Path(source), Path(target))
    except (ClvError, OSError, MemoryError) as error:
        print(REFUSED + " ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
