"""A real PostgreSQL server for tests: started once in a temporary folder, on a socket there, and stopped at the end."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

DURABLE = ("-c", "fsync=on")
FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")


def programs() -> Path | None:
    """Where initdb and pg_ctl are; of several versions the newest. None where there are none."""
    on_path = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = [*(installed[-1:]), *([Path(on_path)] if on_path else [])]
    return found[0].parent if found else None


@functools.cache
def started(settings: tuple[str, ...] = FAST) -> str:
    """The URI of a server's superuser; the tests of one process share the server."""
    binaries = programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: no initdb")
    if os.name != "posix":
        pytest.skip("the server is reached by a socket in a folder")
    folder = Path(tempfile.mkdtemp(prefix="clv-pg-", dir="/tmp"))
    # The server refuses to run as root.
    owner: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    if owner:
        shutil.chown(folder, "postgres", "postgres")

    def call(program: str, *arguments: str) -> None:
        subprocess.run(
            [binaries / program, *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120, **owner
        )

    data = str(folder / "data")
    call("initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync")
    options = ("-k", str(folder), "-c", "listen_addresses=''", *settings)
    call("pg_ctl", "-D", data, "-l", str(folder / "log"), "-o", " ".join(options), "-w", "start")

    def stop() -> None:
        call("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return f"postgresql://postgres@/postgres?host={folder}"


@pytest.fixture(scope="session")
def postgres_uri() -> str:
    """The URI of a running server; the test is skipped where none can be started."""
    return started()
