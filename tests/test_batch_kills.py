"""Runs killed at random moments leave what undisturbed runs leave: `make kills` does it a hundred times, this a few."""

from __future__ import annotations

from pathlib import Path

from kills import kill_runs
from postgres_server import DURABLE, started


def test_killed_runs_lose_and_double_nothing(tmp_path: Path) -> None:
    done = kill_runs(tmp_path, kills=3, seed=11)
    assert (done.kills, done.finished > 0) == (3, True)


def test_killed_runs_leave_a_server_whole(tmp_path: Path) -> None:
    done = kill_runs(tmp_path, kills=3, seed=12, uri=started(DURABLE))
    assert (done.kills, done.finished > 0) == (3, True)
