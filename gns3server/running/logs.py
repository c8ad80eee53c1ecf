"""The file that takes a program's output: opened, its end read, its size kept in bounds. Blocks.

Writers have it open for append, so that it can be cut while they write.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from gns3server.files.durable import write_new
from gns3server.files.private import open_private

_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def open_log(path: Path) -> int:
    """Open an empty log for append.

    :param path: where it is; what was there is removed.
    :returns: its descriptor, which programs do not inherit.
    :raises OSError: it cannot be made.
    """
    older_part(path).unlink(missing_ok=True)
    # A new file, not a truncated one: anything that was put in its place (a link, a pipe) is not
    # written to, and a process that still has the old file open does not mix its output in.
    path.unlink(missing_ok=True)
    return open_private(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)


def older_part(path: Path) -> Path:
    """Where the part of the output that was cut off last is kept.

    :param path: of the log.
    """
    return path.with_name(f"{path.name}.1")


def bound_log(path: Path, limit: int) -> bool:
    """If a log is too long, move its end aside and empty it.

    What is written during the cut is lost. If no copy can be made (disk full), the rest is lost
    as well: emptying the log is what makes room.

    :param path: of the log.
    :param limit: how many bytes it may have, and how many are kept.
    :returns: whether it was too long.
    :raises OSError: it cannot be read, or cannot be emptied.
    """
    if _regular_size(path) <= limit:
        return False
    tail = _read_tail(path, limit)
    beside = path.with_name(f".{path.name}.new")
    try:
        write_new(beside, tail)
        beside.replace(older_part(path))
    except OSError:
        with suppress(OSError):
            beside.unlink()
    os.truncate(path, 0)
    return True


def log_tail(path: Path, limit: int) -> str:
    """Return the end of the output as text; empty when there is none.

    :param path: of the log.
    :param limit: bytes to return at most.
    """
    try:
        tail = _read_tail(path, limit)
        if len(tail) < limit:
            tail = _read_tail(older_part(path), limit - len(tail)) + tail
    except OSError:
        return ""
    return tail.decode(errors="replace")


def _regular_size(path: Path) -> int:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _read_tail(path: Path, limit: int) -> bytes:
    size = _regular_size(path)
    if not size or not limit:
        return b""
    fd = os.open(path, _READ_FLAGS)
    with open(fd, "rb") as file:
        file.seek(max(0, os.fstat(fd).st_size - limit))
        return file.read(limit)
