"""A file is the old one or the new one, whole, whatever stops its writing; a seal tells every change."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clvforecast import durable
from clvforecast.durable import STALE_SECONDS, put_in_place
from clvforecast.sealed import SEAL_BYTES, BrokenSeal, add_seal, sealed_length

KILLS = 40
WRITER = """
import sys
from pathlib import Path
from clvforecast.durable import put_in_place
from clvforecast.sealed import add_seal
print("ready", flush=True)
number = 0
while True:
    number += 1
    with put_in_place(Path(sys.argv[1])) as temporary:
        temporary.write_bytes(bytes([number % 251]) * 200_000)
        add_seal(temporary, "test")
"""


def sealed_file(path: Path, content: bytes = b"content") -> Path:
    path.write_bytes(content)
    add_seal(path, "test")
    return path


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    """The writer is killed some dozen times inside its loop; what is there always has its seal, and changes between kills."""
    path = sealed_file(tmp_path / "file", bytes(200_000))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    random, seen = np.random.default_rng(5), set()
    for _ in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=environment
        ) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
            time.sleep(random.uniform(0.0, 0.06))
            writer.send_signal(signal.SIGKILL)
        with open(path, "rb") as file:
            assert sealed_length(file, "test") == 200_000
            file.seek(0)
            content = file.read(200_000)
        assert content == content[:1] * 200_000
        seen.add(content[:1])
    assert len(seen) > 3, "the writer was never killed while it wrote"


@pytest.mark.skipif(os.name != "posix", reason="processes cannot be asked for")
def test_what_a_killed_save_left_is_removed_by_a_later_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    old = tmp_path / f"{durable._stem(path)}{ended.pid}-0123abcd.part"
    young = tmp_path / f"{durable._stem(path)}{ended.pid}-0123abce.part"
    living = tmp_path / f"{durable._stem(path)}{os.getpid()}-0123abcf.part"
    other = tmp_path / f".other{durable._stem(path)}{ended.pid}-0123abcf.part"
    for left in (old, young, living, other):
        left.touch()
        if left != young:
            os.utime(left, (time.time() - 2 * STALE_SECONDS,) * 2)
    with put_in_place(path) as temporary:
        temporary.write_bytes(b"new")
    assert sorted(tmp_path.iterdir()) == sorted([path, young, living, other])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("where", ["open", "write", "fsync", "replace"])
def test_an_error_anywhere_leaves_the_old_file_alone(
    where: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    if where == "open":
        monkeypatch.setattr(Path, "open", fail)
    elif where != "write":
        monkeypatch.setattr(os, where, fail)
    with pytest.raises(OSError) as caught, put_in_place(path) as temporary:
        if where == "write":
            fail()
        temporary.write_bytes(b"new")
    assert caught.value.errno == number and caught.value.filename == str(path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_an_error_of_another_kind_passes_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), put_in_place(tmp_path / "file") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_file_and_folder_are_on_the_disk_before_and_after_the_name_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda opened: (done.append("fsync"), fsync(opened)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("replace"), replace(*paths)))
    with put_in_place(tmp_path / "file") as temporary:
        temporary.write_bytes(b"new")
    assert done == (["fsync", "replace", "fsync"] if os.name == "posix" else ["fsync", "replace"])


def test_a_folder_that_cannot_be_listed_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    def refuse_to_open(path: object, flags: int, *more: object, **named: object) -> int:
        return refuse(path) if Path(str(path)).is_dir() else opened(path, flags, *more, **named)

    opened = os.open
    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "open", refuse_to_open)
    with put_in_place(tmp_path / "file") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_names_as_long_as_they_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 120 + ".nc")
    with put_in_place(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_every_single_bit_and_length_is_told(tmp_path: Path) -> None:
    whole = sealed_file(tmp_path / "file", b"some content").read_bytes()
    assert sealed_length(io.BytesIO(whole), "test") == 12

    def is_refused(data: bytes) -> bool:
        try:
            return sealed_length(io.BytesIO(data), "test") is None
        except BrokenSeal:
            return True

    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        assert is_refused(bytes(changed)), bit
    assert all(is_refused(whole[:length]) for length in range(len(whole)))
    assert is_refused(whole + b"\0") and is_refused(b"\0" + whole) and is_refused(whole + whole)
    with pytest.raises(BrokenSeal, match="it is a file of the kind 'test', not 'other'"):
        sealed_length(io.BytesIO(whole), "other")
    assert len(whole) == 12 + SEAL_BYTES
