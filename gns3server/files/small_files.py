"""Small files of nodes, kept in memory while they are unchanged.

Whether a file is unchanged is checked for every answer: the same inode with the same size and
times has the same content. Nobody has to report a change, so that none can be missed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gns3server.files.safe_open import MISSING, OpenFile, open_beneath

LARGEST = 1024 * 1024
"""The most bytes that a file may have to be read. Requests that bring one can be twice as long, for
what JSON needs besides."""

MOST_KEPT_BYTES = 16 * 1024
"""The most bytes of a file that is kept, and read on the event loop. Larger files are read in a
thread each time."""

MOST_KEPT = 4096
"""How many files are kept at most; the ones read first are dropped first."""

SETTLED = 2_000_000_000
"""Nanoseconds after which a further change is sure to get a different time. Most file systems'
clocks tick every few milliseconds, the coarsest every two seconds."""

LOCAL = frozenset(b"bcachefs btrfs ext2 ext3 ext4 f2fs overlay tmpfs xfs zfs".split())
"""File systems that never wait for another machine or program, and see every change."""

Status = tuple[int, ...]
"""Device, inode, size and times of a regular file."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file at one moment.

    :param content: ``None`` when there was no such file.
    :param status: empty when there was no such file.
    :param settled: whether the same status means the same content.
    :param lasting: whether it is worth keeping, and may be asked about on the event loop.
    """

    content: bytes | None = None
    status: Status = ()
    settled: bool = False
    lasting: bool = True


NOTHING = Seen()


class SmallFiles:
    """Reads files; keeps the small ones of local file systems.

    :param now: tells the time in nanoseconds.
    """

    def __init__(self, now: Callable[[], int] = time.time_ns) -> None:
        self._now = now
        self._kept: dict[str, Seen] = {}

    async def read(self, path: str, root: Path) -> bytes | None:
        """The content of a regular file, ``None`` when there is none. Never older than the call.

        :param path: ``root``, and plain names below it.
        :param root: a directory that must not be left: below it, links are not followed.
        :raises OSError: it exists but cannot be read, or has more than :data:`LARGEST` bytes.
        """
        kept = self._kept.get(path)
        present = None if kept is None else self._look(path, root, kept)
        if present is None:
            present = await asyncio.to_thread(self._read, path, root)
        if not present.lasting:
            self._kept.pop(path, None)
        elif present is not kept:
            self._kept[path] = present
            if len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return present.content

    def _look(self, path: str, root: Path, kept: Seen) -> Seen | None:
        """The present state of a file on a local file system; ``None`` if that takes a thread.

        Runs on the event loop: a thread would cost ten times as much, and the holder of the
        node's lock waits for it. A file that was just written is in memory, and is read here too.
        """
        try:
            found = os.stat(path, follow_symlinks=False)
            if kept.settled and _status(found) == kept.status:
                return kept
            if (found.st_dev,) != kept.status[:1] or found.st_size > MOST_KEPT_BYTES:
                return None
            return self._content(path, root, MOST_KEPT_BYTES)
        except FileNotFoundError:
            return NOTHING
        except OSError:
            return None

    def _read(self, path: str, root: Path) -> Seen:
        """Runs in a thread."""
        try:
            present = self._content(path, root, LARGEST)
        except FileNotFoundError:
            present = NOTHING
        small = len(present.content or b"") <= MOST_KEPT_BYTES
        return present if small and is_local(Path(path)) else replace(present, lasting=False)

    def _content(self, path: str, root: Path, most: int) -> Seen:
        file = open_beneath(root, path.removeprefix(f"{root}/"))
        try:
            return self._content_of(file, most)
        finally:
            file.close()

    def _content_of(self, file: OpenFile, most: int) -> Seen:
        # Taken before the reading: any later change is no older than this.
        now = self._now()
        status = file.status()
        size, content = status.st_size, b""
        while size <= most and (piece := file.read(len(content), size + 1)):
            content += piece
            size = max(size, len(content))
        if size > most:
            raise OSError(errno.EFBIG, f"it has more than {most} bytes")
        settled = max(status.st_mtime_ns, status.st_ctime_ns) < now - SETTLED
        return Seen(content, _status(status), settled)


def _status(status: os.stat_result) -> Status:
    times = status.st_mtime_ns, status.st_ctime_ns
    return (status.st_dev, status.st_ino, status.st_size, *times)


def is_local(path: Path) -> bool:
    """Whether a file, or the part of its path that exists, is on one of :data:`LOCAL`. Blocks.

    Python's ``statvfs`` does not tell the file system, and the device number of a file on Btrfs
    or OverlayFS is not that of its mount: so the kernel is asked for the mount of an open file.
    """
    for place in (path, *path.parents):
        try:
            handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
        except MISSING:
            continue
        try:
            facts = Path(f"/proc/self/fdinfo/{handle}").read_bytes()
        finally:
            os.close(handle)
        number = re.search(rb"^mnt_id:\s*(\d+)", facts, re.MULTILINE)
        if number is None:
            break
        mounts = Path("/proc/self/mountinfo").read_bytes()
        mount = re.search(rb"^%b .*? - (\S+)" % number[1], mounts, re.MULTILINE)
        return mount is not None and mount[1] in LOCAL
    return False
