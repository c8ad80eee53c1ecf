"""The state directory: one server at a time keeps its records there, for its user alone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shlex
import stat
import sys
from datetime import datetime
from pathlib import Path

from gns3server.files.private import keep_private, open_private

LOCK_FILE = "server.lock"


class AlreadyRunning(Exception):
    """Another server holds the pid file or the state directory; the text says which process."""


OURS = re.compile(r"server\..*|run")
"""Names of what a server has in its state directory: records, lock, and directories for sockets."""


def close_to_others(directory: Path) -> None:
    """Keep other users out of a state directory that holds nothing else, such as a home. Blocks.

    :raises OSError: it cannot be read.
    """
    if all(map(OURS.fullmatch, os.listdir(directory))):
        keep_private(directory)


def lock_state(directory: Path) -> int:
    """Become the only server of a state directory, until the returned descriptor is closed. Blocks.

    The kernel releases the lock when a process ends, however it ends, so that what
    the file says counts only while the lock is held.

    :raises AlreadyRunning: another process holds the lock.
    :raises OSError: the file cannot be made or written.
    """
    lock = _open(directory, make=True)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = _read_owner(lock)
            raise AlreadyRunning(
                f"another server uses {directory}: {who or 'a process that is just starting'}. "
                "Use that server, or stop it; or start this one in addition, with a directory and "
                "a port of its own: --state-path DIRECTORY --port NUMBER"
            ) from None
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        os.truncate(lock, 0)
        text = f"process {os.getpid()} since {since}, started as {shlex.join(sys.argv)}\n"
        os.pwrite(lock, text.encode(errors="surrogateescape"), 0)
    except BaseException:
        os.close(lock)
        raise
    return lock


def check_lock(directory: Path) -> None:
    """Check that a server of this user could use the lock. Whoever holds it keeps it. Blocks.

    :raises OSError: it could not.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.close(_open(directory, make=False))


def _open(directory: Path, *, make: bool) -> int:
    path = str(directory / LOCK_FILE)
    # What is behind a link is not ours to write to. A pipe must not be waited for.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    lock = open_private(path, flags | os.O_CREAT) if make else os.open(path, flags)
    if not stat.S_ISREG(os.fstat(lock).st_mode):
        os.close(lock)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return lock


def note_address(directory: Path, url: str) -> None:
    """Add to what the lock says where its holder, which is this process, listens. Blocks."""
    # Only who cannot start reads it: no reason to fail.
    with contextlib.suppress(OSError), (directory / LOCK_FILE).open("a") as lock:
        lock.write(f"serving {url}\n")


def state_owner(directory: Path) -> str:
    """Which process last locked a state directory, since when, and how it was started. Blocks.

    That process may be long gone.
    """
    try:
        lock = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read_owner(lock)
        finally:
            os.close(lock)
    except OSError:
        return ""


def _read_owner(lock: int) -> str:
    lines = os.pread(lock, 4096, 0).decode(errors="replace").strip().splitlines()
    return ", ".join(lines)
