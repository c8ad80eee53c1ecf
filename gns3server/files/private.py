"""Files and directories that are for the server's user alone, whatever the umask.

Records, scripts and logs tell what no other user should read, and whoever may read a file may also
lock it. All functions block.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file; a new one is private, and an old one of this user's becomes so.

    It can be the ``opener`` of :func:`open`.

    :raises OSError: as the file system says.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
    with suppress(OSError):
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and _is_too_open(found):
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~0o077)
    return descriptor


def keep_private(path: Path) -> None:
    """Take the rights of others to a file or directory away, if it is this user's.

    The file is not opened: to close a database again would end SQLite's locks on it.
    """
    with suppress(OSError):
        found = path.lstat()
        if not stat.S_ISLNK(found.st_mode) and _is_too_open(found):
            path.chmod(stat.S_IMODE(found.st_mode) & ~0o077)


def missing_directories(path: Path) -> list[Path]:
    """Which of a directory and its parents do not exist, the innermost first."""
    return [place for place in (path, *path.parents) if not os.path.exists(place)]


def make_directories(path: Path) -> list[Path]:
    """Make a directory and its missing parents; returns those that were missing, innermost first.

    :raises OSError: as the file system says.
    """
    missing = missing_directories(path)
    for place in reversed(missing):
        place.mkdir(DIRECTORY_MODE, exist_ok=True)
    if not path.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    return missing


def make_file(path: Path) -> None:
    """Make an empty file unless there is one.

    :raises OSError: as the file system says.
    """
    with suppress(FileExistsError):
        os.close(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def _is_too_open(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and bool(found.st_mode & 0o077)
