"""A short run of `make fuzz`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_some_hundred_damaged_files_are_refused() -> None:
    """In a process of its own: its audit hook stays for good, and a crash would end this one."""
    tests = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tests), *(entry or os.getcwd() for entry in sys.path)]),
    }
    command = [
        sys.executable,
        "-m",
        "fuzz",
        "--mutations",
        "1500",
        "--resealed",
        "10",
        "--unsealed",
        "0",
        "--seed",
        "2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "1,500 mutations" in done.stdout and "refused" in done.stdout, done.stdout
