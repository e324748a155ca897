"""Files that are there whole or not at all: written under another name, brought to the disk, then put in place.

A process that is killed meanwhile leaves the old file, or the new one, and perhaps a temporary file beside it, named
``.NAME.HOST-PID-RANDOM.part``; the next save of NAME removes it when its process is gone and it is an hour old.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from platform import node

STALE_SECONDS = 3600.0
"""A process number can mean another process in another container: what is younger is left alone."""
LONGEST_NAME = 120
"""Bytes of the name in the temporary's: file systems take names of up to 255."""
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""What file systems say that cannot bring a folder to the disk."""


@contextmanager
def put_in_place(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, which takes the place of `path` when the block ends without an error.

    Raises
    ------
    OSError
        Named after `path`. Whatever was at `path` is then still there, unless the new file is whole and only its folder
        could not be brought to the disk.
    """
    temporary = path.with_name(f"{_stem(path)}{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with suppress(PermissionError):  # a folder that may be written but not listed, or somebody else's file
            _remove_stale(path)
        temporary.open("xb").close()  # with the permissions that files have here
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
        _folder_to_disk(path.parent)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # named after the file that was asked for
    finally:
        temporary.unlink(missing_ok=True)


def check_can_write(*paths: Path) -> None:
    """Before work that takes long: whether these files could be put in place, in folders that are made where there are none.

    Raises OSError, named after the path that could not; what happens meanwhile is `put_in_place`'s to tell.
    """
    for path in paths:
        if path.is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        nearest = next(folder for folder in path.parents if folder.exists())
        if not nearest.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _stem(path: Path) -> str:
    """How the temporaries of `path` on this machine begin."""
    name = path.name.encode()[:LONGEST_NAME].decode(errors="ignore")
    host = hashlib.sha256(node().encode()).hexdigest()[:8]
    return f".{name}.{host}-"


def _to_disk(path: Path) -> None:
    with open(path, "rb+") as written:
        os.fsync(written.fileno())


def _folder_to_disk(folder: Path) -> None:
    """So that the new name outlives a loss of power. Where folders cannot be opened (Windows), the system sees to it."""
    if os.name != "posix":
        return
    try:
        opened = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written but not read
        return
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(opened)


def _remove_stale(path: Path) -> None:
    """Temporaries of `path` whose process on this machine was killed."""
    if os.name != "posix":
        return  # there is no harmless question whether a process lives
    of_dead = re.compile(re.escape(_stem(path)) + r"(\d{1,9})-[0-9a-f]{8}\.part")
    for entry in os.scandir(path.parent):
        found = of_dead.fullmatch(entry.name)
        if found and _is_old(entry) and not _lives(int(found[1])):
            Path(entry.path).unlink(missing_ok=True)


def _is_old(entry: os.DirEntry[str]) -> bool:
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_SECONDS
    except FileNotFoundError:  # another process removed it just now
        return False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
