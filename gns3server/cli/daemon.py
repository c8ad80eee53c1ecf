"""Going into the background, and writing the process id to a file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from gns3server.storage.state_lock import AlreadyRunning


def go_into_background() -> None:
    """Move to a new session without a terminal (``--daemon``)."""
    if os.fork():
        os._exit(0)
    os.setsid()
    # A second fork, because a session leader could get a terminal again.
    if os.fork():
        os._exit(0)
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


@contextlib.contextmanager
def pid_file(path: Path | None) -> Iterator[None]:
    """Keep our pid in a file while the context lasts; without a path, do nothing.

    :raises AlreadyRunning: the file names a living process.
    :raises OSError: it cannot be written; the text says what to do.
    """
    if path is None:
        yield
        return
    with contextlib.suppress(OSError, ValueError):
        pid = int(path.read_text())
        # In a container, an earlier server may have had the very same pid.
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
    """Whether there is a process with this pid."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
