"""Going into the background, and saying which process one is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

LOCK_FILE = "server.lock"


class AlreadyRunning(Exception):
    """Another server has the pid file or the state directory; the text says which process."""


def go_into_background() -> None:
    """Become a process of its own session without a terminal (``--daemon``)."""
    if os.fork():
        os._exit(0)
    os.setsid()
    # A second fork: a session leader could get a terminal again.
    if os.fork():
        os._exit(0)
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


@contextlib.contextmanager
def pid_file(path: Path | None) -> Iterator[None]:
    """Have our pid in a file while the context lasts; without a path nothing is done.

    :raises AlreadyRunning: it names a living process.
    :raises OSError: it cannot be written; the text says what to do.
    """
    if path is None:
        yield
        return
    with contextlib.suppress(OSError, ValueError):
        pid = int(path.read_text())
        # In a container the server before us may have had our very id.
        if pid > 0 and pid != os.getpid() and is_alive(pid):
            raise AlreadyRunning(
                f"{path} says that process {pid} is a running server: stop it first, or remove "
                "the file if that process is something else"
            )
    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise OSError(f"{error}. Choose another file for --pid") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether a process has this pid."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def lock_state(directory: Path) -> int:
    """Become the one server of a state directory, until the returned descriptor is closed. Blocks.

    The kernel takes the lock from a process that ends, however it ends, so that what
    the file says counts only while the lock is held.

    :raises AlreadyRunning: another process is it.
    :raises OSError: the file cannot be made or written.
    """
    lock = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = _read_owner(lock)
            raise AlreadyRunning(
                f"another server has {directory}: {who or 'a process that is just starting'}. "
                "Stop it first, or choose another state_path for this one"
            ) from None
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        os.truncate(lock, 0)
        text = f"process {os.getpid()} since {since}, started as {shlex.join(sys.argv)}\n"
        os.pwrite(lock, text.encode(errors="surrogateescape"), 0)
    except BaseException:
        os.close(lock)
        raise
    return lock


def state_owner(directory: Path) -> str:
    """Who has locked a state directory last: the process, since when, started how. Blocks.

    It may be long gone.
    """
    try:
        lock = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return _read_owner(lock)
    finally:
        os.close(lock)


def _read_owner(lock: int) -> str:
    return os.pread(lock, 4096, 0).decode(errors="replace").strip()
