"""Forward simulation of contract lines: counter-based random numbers, the compiled kernel, and its batches."""

from pathlib import Path


def _drop_stale_machine_code() -> None:
    """Remove cached machine code older than any source of the kernel.

    numba renews a function's cache only when the function's own file changes, not when a function that it calls does.
    """
    here = Path(__file__).parent
    newest = max(source.stat().st_mtime for source in here.glob("*.py"))
    for index in (here / "__pycache__").glob("*.nbi"):
        if index.stat().st_mtime < newest:
            index.unlink(missing_ok=True)


_drop_stale_machine_code()
