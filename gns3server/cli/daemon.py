"""Going into the background, and writing the process id to a file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from gns3server.storage.state_lock import AlreadyRunning

STARTED = b"\0"

LONGEST = 64
"""How many bytes a file may have to be taken for one that holds a process id."""


class ServerStart:
    """Tells the first process of ``--daemon``, which waits for it, how the start has ended.

    :param teller: the descriptor of a pipe to that process; without one, nobody waits.
    """

    def __init__(self, teller: int | None = None) -> None:
        self._teller = teller

    def succeeded(self) -> None:
        """Tell that the server listens."""
        if self._teller is not None:
            self._tell(self._teller, STARTED)
            os.close(self._teller)
            self._teller = None

    def failed(self, why: str) -> None:
        """Tell why the server does not start; the first process ends once this one has."""
        if self._teller is not None:
            self._tell(self._teller, why.encode(errors="backslashreplace"))

    def _tell(self, teller: int, message: bytes) -> None:
        # The first process may have been interrupted.
        with contextlib.suppress(OSError):
            os.write(teller, message)


def go_into_background() -> ServerStart:
    """Move to a new session without a terminal (``--daemon``).

    The first process stays until the server listens or has failed, says why it has failed, and
    ends with the exit code that tells which.
    """
    sys.stdout.flush()
    listener, teller = os.pipe()
    if os.fork():
        os.close(teller)
        _wait_for_start(listener)
    os.close(listener)
    os.setsid()
    # A second fork, because a session leader could get a terminal again.
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
    return ServerStart(teller)


def _wait_for_start(listener: int) -> NoReturn:
    # An interrupt ends the waiting, not the server.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with open(listener, "rb") as stream:
        message = stream.read()
    if message == STARTED:
        os._exit(0)
    why = message.decode(errors="replace") or "the server has ended while it was starting"
    print(f"gns3server: {why}", file=sys.stderr, flush=True)
    os._exit(1)


@contextlib.contextmanager
def pid_file(path: Path | None) -> Iterator[None]:
    """Keep our pid in a file while the context lasts; without a path, do nothing.

    A lock on the file, not the number in it, says that a server runs: after a crash, any other
    process may have that number.

    :raises AlreadyRunning: a running server keeps its pid there.
    :raises OSError: it cannot be written; the text says what to do.
    """
    if path is None:
        yield
        return
    try:
        file = _lock(path)
    except OSError as error:
        raise OSError(
            f"{path} cannot be used: {error.strerror or error}. Choose another file for --pid"
        ) from error
    try:
        yield
    finally:
        if _is_at(path, file):
            path.unlink(missing_ok=True)
        os.close(file)


def _lock(path: Path) -> int:
    while True:
        # Behind a link of another user may be whatever that user wants to have overwritten.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        file = os.open(path, flags, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A server that was just ending may have removed it before it was locked.
            if _is_at(path, file):
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode):
                    raise OSError("it is not a regular file")
                if found.st_size > LONGEST:
                    raise OSError("it holds more than a process id")
                os.truncate(file, 0)
                os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
                return file
        except BlockingIOError:
            pid = os.pread(file, LONGEST, 0).decode(errors="replace").strip()
            os.close(file)
            raise AlreadyRunning(
                f"{path} says that process {pid} is a running server: stop it first, or choose "
                "another file for --pid"
            ) from None
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
