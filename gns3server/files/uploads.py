"""A file that is being uploaded: in the end it is whole and in its place, or gone.

All of it blocks: call it off the loop.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from gns3server.files.durable import make_directory
from gns3server.files.private import open_private
from gns3server.files.safe_open import open_file

PREFIX = ".upload-"
"""The start of the names of unfinished files: hidden, so that no list shows them."""

CHECKSUM_SUFFIX = ".md5sum"
"""The MD5 sum of a file is kept beside it, in a file with this ending (contract 2.7)."""

MD5 = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)

RESERVE = 64 * 1024 * 1024
"""Bytes of the disk that uploads leave free: labs must go on being recorded."""

COPIED_AT_ONCE = 1024 * 1024
"""Bytes that are in memory while a file is copied to another disk."""


class Incoming:
    """A file that is being received, under a hidden name in the directory that it is meant for.

    A thread may still be about to write when the upload is given up; the lock
    makes it find the upload ended.
    """

    def __init__(self, directory: Path) -> None:
        self.size = 0
        self._directory = directory
        self._path = directory
        self._descriptor = -1
        self._ended = False
        self._lock = threading.Lock()
        # Clients tell files apart by it; it protects nothing.
        self._md5 = hashlib.md5(usedforsecurity=False)

    @property
    def md5(self) -> str:
        """The MD5 sum of what was received, in hexadecimal."""
        return self._md5.hexdigest()

    def open(self, expected: int = 0) -> None:
        """Begin, unless ``expected`` bytes do not fit on the disk.

        :raises OSError: the file cannot be made, or the disk is too full.
        """
        with self._lock:
            self._check_open()
            make_directory(self._directory)
            remove_remains(self._directory)
            self._descriptor, self._path = make_hidden(self._directory)
            _check_room(self._descriptor, expected)

    def write(self, content: bytes) -> None:
        """Append.

        :raises OSError: the disk is too full or fails.
        """
        with self._lock:
            self._check_open()
            _check_room(self._descriptor, len(content))
            left = memoryview(content)
            while left:
                left = left[os.write(self._descriptor, left) :]
            self._md5.update(content)
            self.size += len(content)

    def place(self, target: Path, mode: int) -> None:
        """Put the whole file in its place in one step; what was there is replaced.

        It is durable once the directory is synced.

        :raises OSError: it cannot be put there.
        """
        with self._lock:
            self._check_open()
            os.fchmod(self._descriptor, mode)
            os.fsync(self._descriptor)
            make_directory(target.parent)
            try:
                os.replace(self._path, target)
            except OSError as error:
                # Each kind of images may be on a disk of its own, and come after the file.
                if error.errno != errno.EXDEV:
                    raise
                self._copy(target, mode)
                self._path.unlink()
            self._end()

    def discard(self) -> None:
        """Give it up, after any write under way; does nothing once it is in place."""
        with self._lock:
            if not self._ended and self._descriptor >= 0:
                self._path.unlink(missing_ok=True)
            self._end()

    def _copy(self, target: Path, mode: int) -> None:
        """Put the file in its place on another disk."""
        descriptor, new = make_hidden(target.parent)
        try:
            _check_room(descriptor, self.size)
            with self._path.open("rb") as source, open(descriptor, "wb", closefd=False) as copy:
                shutil.copyfileobj(source, copy, COPIED_AT_ONCE)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
            os.replace(new, target)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _end(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self._ended = True

    def _check_open(self) -> None:
        if self._ended:
            raise OSError(errno.EBADF, "the upload was given up")


def _check_room(descriptor: int, size: int) -> None:
    """Check that the disk of a file has room for more.

    :raises OSError: it is too full.
    """
    disk = os.fstatvfs(descriptor)
    if disk.f_bavail * disk.f_frsize < size + RESERVE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def make_hidden(directory: Path) -> tuple[int, Path]:
    """Make an unfinished file. It stays one until it is renamed or its descriptor is closed."""
    while True:
        path = directory / f"{PREFIX}{uuid.uuid4().hex}"
        descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Before it was locked, another upload may have taken it for remains.
        if os.fstat(descriptor).st_nlink:
            return descriptor, path
        os.close(descriptor)


def remains(directory: Path) -> Iterator[Path]:
    """The unfinished files of a server that has crashed, but not those still being written.

    Nothing else can take a file for remains while it is dealt with here.
    """
    for path in directory.glob(f"{PREFIX}*"):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            yield path
        finally:
            os.close(descriptor)


def remove_remains(directory: Path) -> None:
    """Remove the unfinished files of a server that has crashed; those still being written stay."""
    for path in remains(directory):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def checksum_file(path: Path) -> Path:
    """Where the MD5 sum of a file is kept."""
    return path.with_name(path.name + CHECKSUM_SUFFIX)


def read_checksum(path: Path) -> str | None:
    """The MD5 sum that is kept of a file, ``None`` when there is no valid one.

    A sum that is older than the file's last change belongs to the content before it.
    """
    try:
        file = open_file(checksum_file(path))
        try:
            if file.status().st_mtime_ns < path.stat().st_ctime_ns:
                return None
            text = file.read(0, 64).decode("ascii").strip()
        finally:
            file.close()
    except (OSError, UnicodeError):
        return None
    return text if MD5.fullmatch(text) else None


def write_checksum(path: Path, md5: str) -> None:
    """Keep the MD5 sum of a file.

    :raises OSError: it cannot be written; then none is kept.
    """
    descriptor, new = make_hidden(path.parent)
    try:
        os.write(descriptor, md5.encode())
        os.replace(new, checksum_file(path))
    except OSError:
        new.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def remove_checksum(path: Path) -> None:
    """Forget the MD5 sum of a file; there need not be one (IMG-07).

    :raises OSError: it cannot be removed.
    """
    checksum_file(path).unlink(missing_ok=True)
