"""What the kernel tells about changes of directories, files and mounts.

Nothing but ctypes is needed for that: the one library that is kept up
(inotify_simple) waits in ``poll`` and reads in a way of its own, and knows
nothing of mounts and file systems.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import termios
from collections.abc import Sequence
from typing import Any, NamedTuple

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_UNMOUNT = 0x2000
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000

ITSELF = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF
ENTRIES = ITSELF | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO
"""For a directory: what its names stand for, and whether one may look."""
CONTENT = ITSELF | IN_MODIFY | IN_CLOSE_WRITE
"""For a file, whichever of its names it is changed by."""

TELLING = frozenset(
    {
        0x0000EF53,  # ext2, ext3, ext4
        0x58465342,  # XFS
        0x9123683E,  # Btrfs
        0xF2F52010,  # F2FS
        0x01021994,  # tmpfs
        0x794C7630,  # overlayfs
    }
)
"""File systems whose every change goes through this kernel's file calls. Others change
at another machine (NFS), in another program (FUSE) or as a whole (ZFS, by a rollback)."""

FS_IOC_GETFLAGS = 0x80086601 if sys.maxsize > 2**32 else 0x80046601
FS_CASEFOLD_FL = 0x40000000
"""On a directory in which events may name a file otherwise than we do."""

HEADER = struct.Struct("iIII")
MOST_BYTES = 64 * 1024
"""Of events that are looked at one by one, which takes a millisecond."""


class FileEvent(NamedTuple):
    """Something happened to a watched inode, or to the entry ``name`` of a watched directory."""

    watch: int
    mask: int
    name: bytes


class Inotify:
    """An inotify instance that heeds mounts as well.

    Watches may be set from any thread.

    :raises OSError: this kernel or this user has none to give.
    """

    def __init__(self) -> None:
        import ctypes

        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._errno = ctypes.get_errno
        self._buffer = ctypes.create_string_buffer
        self._fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self._fd)
            raise
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self._mounts, select.POLLPRI)

    def watch(self, handle: int, mask: int) -> int:
        """Watch the open file or directory ``handle``; tells the number of the watch.

        :raises OSError: it cannot be watched, or not all of its changes would be told.
        """
        if self._file_system(handle) not in TELLING or folds_case(handle):
            raise OSError("not every change of this directory or file would be told")
        # Through the handle, so that it is the very thing that was opened.
        link = f"/proc/self/fd/{handle}".encode()
        return self._checked(self._libc.inotify_add_watch(self._fd, link, mask))

    def unwatch(self, watch: int) -> None:
        """Remove a watch; it may have gone with what it watched."""
        self._libc.inotify_rm_watch(self._fd, watch)

    def changes(self) -> Sequence[FileEvent] | None:
        """What has happened since the last call; ``None`` when that cannot be told in full.

        Never blocks. Everything that was complete before the call is there.
        """
        ready = self._poll.poll(0)
        if not ready:
            return ()
        size = int.from_bytes(fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)), sys.byteorder)
        data = os.read(self._fd, size) if size else b""
        if size > MOST_BYTES or any(fd == self._mounts for fd, _ in ready):
            return None
        events = parse(data)
        lost = any(event.mask & (IN_Q_OVERFLOW | IN_UNMOUNT) for event in events)
        return None if lost else events

    def close(self) -> None:
        """Give everything back. Blocks for some milliseconds."""
        os.close(self._fd)
        os.close(self._mounts)

    def _file_system(self, handle: int) -> int:
        answer = self._buffer(512)
        self._checked(self._libc.fstatfs(handle, answer))
        return int(struct.unpack_from("l", answer)[0]) & 0xFFFFFFFF

    def _checked(self, result: int) -> int:
        if result < 0:
            number = self._errno()
            raise OSError(number, os.strerror(number))
        return result


def folds_case(handle: int) -> bool:
    """Whether a directory takes ``A`` and ``a`` for the same name."""
    try:
        flags = fcntl.ioctl(handle, FS_IOC_GETFLAGS, bytes(8))
    except OSError:
        return False
    return bool(struct.unpack_from("I", flags)[0] & FS_CASEFOLD_FL)


def parse(data: bytes) -> list[FileEvent]:
    """The events that were read."""
    events, at = [], 0
    while at < len(data):
        watch, mask, _, length = HEADER.unpack_from(data, at)
        at += HEADER.size + length
        events.append(FileEvent(watch, mask, data[at - length : at].rstrip(b"\0")))
    return events
