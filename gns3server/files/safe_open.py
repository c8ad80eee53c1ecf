"""Opening files that a client names, so that no path, link or race leads elsewhere.

Whatever blocks says so; the rest runs on the loop and does its reading off it.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gns3server.files.private import DIRECTORY_MODE

HASH_STEP = 16 * 1024 * 1024
"""Bytes that are hashed in one go off the loop. Those threads serve the
whole server, so none may be busy for as long as a disk image takes."""

MISSING = (FileNotFoundError, NotADirectoryError)
"""How the operating system says that there is no such file."""

PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
"""How to refer to whatever is in a place, even a pipe or a link, without opening it."""


ELSEWHERE = "its name leads elsewhere"


class Outside(Exception):
    """The path leads to a place that must not be read."""


class OpenFile:
    """A regular file, open for reading.

    A thread may still be about to read when the request that asked for it is
    given up. The lock keeps it from reading whatever gets the number of the
    closed descriptor next: then the thread closes the file.

    :param path: where the file really is.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        self.path = path
        self._descriptor = descriptor
        self._closing = False
        self._lock = threading.Lock()

    def read(self, position: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``position``; none at the end. Blocks.

        :raises OSError: it cannot be read, or is closed.
        """
        with self._use() as descriptor:
            return os.pread(descriptor, size, position)

    def status(self) -> os.stat_result:
        """What the operating system knows of it. Blocks.

        :raises OSError: it is closed.
        """
        with self._use() as descriptor:
            return os.fstat(descriptor)

    def close(self) -> None:
        """Close it, at once or after a read that is under way. Idempotent."""
        self._closing = True
        self._close_unless_used()

    @contextmanager
    def _use(self) -> Iterator[int]:
        try:
            with self._lock:
                if self._closing:
                    raise OSError(errno.EBADF, "the file is closed")
                yield self._descriptor
        finally:
            if self._closing:
                self._close_unless_used()

    def _close_unless_used(self) -> None:
        # Whoever uses it meanwhile looks, after that, whether it is to be closed.
        if self._lock.acquire(blocking=False):
            try:
                if self._descriptor >= 0:
                    os.close(self._descriptor)
                    self._descriptor = -1
            finally:
                self._lock.release()

    async def md5(
        self,
        between: Callable[[], None] = lambda: None,
        *,
        run: Callable[[Callable[[], int]], Awaitable[int]] = asyncio.to_thread,
    ) -> str:
        """The MD5 sum of the whole content, in hexadecimal.

        :param between: called between two steps; what it raises ends the work.
        :param run: calls a function that blocks off the loop.
        :raises OSError: the file cannot be read.
        """
        # Clients tell files apart by it; it protects nothing.
        total = hashlib.md5(usedforsecurity=False)

        def step(position: int) -> int:
            content = self.read(position, HASH_STEP)
            total.update(content)
            return len(content)

        position = 0
        while size := await run(partial(step, position)):
            between()
            position += size
        return total.hexdigest()


def open_file(path: str | Path, check: Callable[[Path], None] = lambda _: None) -> OpenFile:
    """Open a regular file for reading. Blocks.

    What the path leads to is found out first, through a descriptor that can do
    nothing else: opening a device or a pipe has effects, and closing one of
    SQLite's files would end SQLite's locks on it. The very same file is then
    opened for reading, whatever the path means by then.

    :param check: raises :class:`Outside` for a real path that must not be read.
        Called before anything is examined, so that not even the existence of
        such a file is revealed, and again on what was found.
    :raises Outside: ``check`` said so.
    :raises OSError: one of :data:`MISSING`, or ``IsADirectoryError``, or another reason.
    :raises ValueError: there is a NUL character in the path.
    """
    real = os.path.realpath(path)
    check(Path(real))
    found = os.open(real, PLACE)
    try:
        place = Path(os.readlink(f"/proc/self/fd/{found}"))
        check(place)
        return _open_found(found, place)
    finally:
        os.close(found)


def open_beneath(directory: Path, name: str) -> OpenFile:
    """Open a regular file below a directory for reading, without following links.

    Blocks only as long as the file system does: it waits for no other program.

    :param name: plain names, joined by ``/``.
    :raises OSError: as :func:`open_file` does; a link counts neither as a file nor as a directory.
    """
    place = directory / name
    if not all(map(is_plain_name, name.split("/"))):
        raise OSError(errno.EINVAL, ELSEWHERE, str(place))
    with directory_beneath(directory, place.parent) as parent:
        found = os.open(parent / place.name, PLACE)
        try:
            return _open_found(found, place)
        finally:
            os.close(found)


@contextmanager
def directory_beneath(root: Path, directory: Path, *, make: bool = False) -> Iterator[Path]:
    """A directory below another, reached through no link. Blocks.

    The path that is yielded means this very directory while the context lasts, whatever its
    usual path leads to by then.

    :param root: may be behind a link itself.
    :param directory: ``root``, and plain names below it.
    :param make: whether missing directories are made, durably.
    :raises OSError: there is no such directory, or something else is in its way. What the block
        raises names the usual path.
    """
    place = root
    handle = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in directory.relative_to(root).parts:
            place /= part
            if not is_plain_name(part):
                raise OSError(errno.EINVAL, ELSEWHERE, str(place))
            if make:
                _make(part, handle)
            inner = os.open(part, PLACE, dir_fd=handle)
            os.close(handle)
            handle = inner
            if not stat.S_ISDIR(os.fstat(handle).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
        yield Path(f"/proc/self/fd/{handle}")
    except OSError as error:
        _name_usual_path(error, f"/proc/self/fd/{handle}", place)
        raise
    finally:
        os.close(handle)


def _make(name: str, parent: int) -> None:
    """Make a directory, durably, unless there is something of that name."""
    try:
        os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
    except FileExistsError:
        return
    readable = os.open(f"/proc/self/fd/{parent}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(readable)
    finally:
        os.close(readable)


def _name_usual_path(error: OSError, handle: str, place: Path) -> None:
    """Have an error name a file by a path that people know."""
    for attribute in ("filename", "filename2"):
        name = getattr(error, attribute)
        if isinstance(name, str) and not name.startswith("/"):
            setattr(error, attribute, str(place))
        elif isinstance(name, str) and name.startswith(handle):
            setattr(error, attribute, f"{place}{name.removeprefix(handle)}")


def _open_found(found: int, place: Path) -> OpenFile:
    mode = os.fstat(found).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(place))
    # So as not to wait for a program that has a lease on it, nor for what a file of /proc will say.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    return OpenFile(os.open(f"/proc/self/fd/{found}", flags), place)


def is_plain_name(name: str) -> bool:
    """Whether a name can only lead to an entry of a directory."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name
