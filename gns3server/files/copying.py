"""Copying directories with all that is in them, durably, whatever is written there meanwhile.

No link is followed, whoever puts it there and when. Copies share blocks with the originals where
the file system can do that, and never the files themselves: those change. All of it blocks: call
it off the loop.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gns3server.files.private import DIRECTORY_MODE, FILE_MODE
from gns3server.files.safe_open import MISSING
from gns3server.files.uploads import RESERVE

DEEPEST = 100
"""How many directories may be in each other: two descriptors are open for each."""

STEP = 64 * 1024 * 1024
"""Bytes that are copied between two looks at whether the copy is still wanted."""

BUFFER = 1024 * 1024
"""Bytes that are in memory where the kernel cannot copy by itself."""

FICLONE = 0x40049409
"""Asks a file system to share all blocks of a file with another (ioctl_ficlone(2))."""

UNABLE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY)
"""How the kernel says that it does not copy between two files by itself."""

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""So as not to wait for a pipe that was put there a moment ago."""

GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
"""How the kernel says that a file is not there any more, or something else is."""


class GivenUp(Exception):
    """A copy was stopped before it was whole."""


class TreeCopy:
    """A copy of a directory, and what was found there.

    Regular files, directories and links are copied, with their modes and times; links as they are.
    Sockets, pipes and devices are left out, and so is what vanishes meanwhile. A file that is
    being written to is copied as it is.

    :param stopped: asked from time to time whether to give up.
    """

    def __init__(self, stopped: Callable[[], bool] = lambda: False) -> None:
        self._stopped = stopped
        self._path = ""
        self._whole = 0
        self.size = 0
        """Bytes of all files."""

    def copy(
        self, source: Path, target: Path, wanted: Callable[[str], bool] = lambda _: True
    ) -> None:
        """Copy a directory to a place where there is nothing but an empty one at most.

        :param wanted: which entries of the directory itself are copied, by name.
        :raises GivenUp: it was stopped; something may be there.
        :raises OSError: something cannot be read or written, which the error names.
        """
        self._path = str(source)
        # Its own name may be a link that the caller has followed.
        old = os.open(source, OPEN_DIRECTORY & ~os.O_NOFOLLOW)
        try:
            names = list(filter(wanted, os.listdir(old)))
            self._whole = sum(_allocated(source / name) for name in names)
            target.mkdir(DIRECTORY_MODE, exist_ok=True)
            new = os.open(target, OPEN_DIRECTORY)
            try:
                self._entries(old, new, str(source), names)
            finally:
                os.close(new)
        except OSError as error:
            if error.filename is None or not os.path.isabs(error.filename):
                error.filename = self._path
            raise
        finally:
            os.close(old)

    def _entries(self, old: int, new: int, path: str, names: list[str], depth: int = 0) -> None:
        if depth > DEEPEST:
            raise OSError(errno.ELOOP, f"more than {DEEPEST} directories are in each other")
        for name in sorted(names):
            self._check()
            self._path = f"{path}/{name}"
            try:
                found = os.stat(name, dir_fd=old, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                self._file(old, new, name)
            elif stat.S_ISDIR(found.st_mode):
                self._directory(old, new, name, depth)
            elif stat.S_ISLNK(found.st_mode):
                with suppress(*MISSING):
                    os.symlink(os.readlink(name, dir_fd=old), name, dir_fd=new)
        os.fsync(new)

    def _directory(self, old: int, new: int, name: str, depth: int) -> None:
        source = _open(name, OPEN_DIRECTORY, old)
        if source is None:
            return
        path = self._path
        try:
            os.mkdir(name, DIRECTORY_MODE, dir_fd=new)
            target = os.open(name, OPEN_DIRECTORY, dir_fd=new)
            try:
                found = os.fstat(source)
                self._entries(source, target, path, os.listdir(source), depth + 1)
                # What its owner may not search could not be removed either.
                os.fchmod(target, stat.S_IMODE(found.st_mode) & 0o777 | DIRECTORY_MODE)
                os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _file(self, old: int, new: int, name: str) -> None:
        source = _open(name, OPEN_FILE, old)
        if source is None:
            return
        try:
            found = os.fstat(source)
            if not stat.S_ISREG(found.st_mode):
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            target = os.open(name, flags, FILE_MODE, dir_fd=new)
            try:
                self._content(source, target, found.st_size)
                os.fchmod(target, stat.S_IMODE(found.st_mode) & 0o777)
                os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
                os.fsync(target)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _content(self, source: int, target: int, size: int) -> None:
        """Copy what a file held when it was opened; holes stay holes."""
        self.size += size
        if not size or _cloned(source, target):
            return
        self._check_room(target)
        position = 0
        while position < size:
            begin = _seek(source, position, os.SEEK_DATA)
            if begin is None:
                break
            end = min(_seek(source, begin, os.SEEK_HOLE) or begin, size)
            if end <= begin:
                break
            self._range(source, target, begin, end)
            position = end
        os.ftruncate(target, max(min(size, os.fstat(source).st_size), position))

    def _range(self, source: int, target: int, begin: int, end: int) -> None:
        while begin < end:
            self._check()
            copied = _copy(source, target, begin, min(end - begin, STEP))
            if not copied:
                return
            begin += copied

    def _check(self) -> None:
        if self._stopped():
            raise GivenUp

    def _check_room(self, target: int) -> None:
        """Check once that all there is to be copied fits, where blocks cannot be shared."""
        needed, self._whole = self._whole, 0
        disk = os.fstatvfs(target)
        if needed and disk.f_bavail * disk.f_frsize < needed + RESERVE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _open(name: str, flags: int, directory: int) -> int | None:
    """Open an entry of a directory; ``None`` if it is gone, or is something else by now."""
    try:
        return os.open(name, flags, dir_fd=directory)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise


def _allocated(path: Path) -> int:
    """The bytes of the disk that a file or directory takes up, as far as that can be seen."""
    total = 0
    with suppress(OSError):
        total = path.lstat().st_blocks * 512
    for parent, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total


def _cloned(source: int, target: int) -> bool:
    """Whether a file could be made to share all its blocks with another."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        return False
    return True


def _seek(file: int, position: int, what: int) -> int | None:
    """Where data or a hole begins, from a position on; ``None`` past the end."""
    try:
        return os.lseek(file, position, what)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        if error.errno != errno.EINVAL:
            raise
        # A file system that knows of no holes.
        return position if what == os.SEEK_DATA else os.fstat(file).st_size


def _copy(source: int, target: int, position: int, count: int) -> int:
    """Copy some bytes to the same position; returns how many, 0 at the end."""
    try:
        return os.copy_file_range(source, target, count, position, position)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
    content = os.pread(source, min(count, BUFFER), position)
    left = memoryview(content)
    while left:
        written = os.pwrite(target, left, position + len(content) - len(left))
        left = left[written:]
    return len(content)
