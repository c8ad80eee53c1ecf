"""Output that nobody may read: a pipe that is never emptied, a terminal stopped with Ctrl+S.

Writing to these can take for ever, so a thread of its own writes, and nobody else waits.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable

from gns3server.files.private import open_private

MOST_WAITING = 1024 * 1024
"""How many characters may wait to be written; what comes then is refused."""

END_SECONDS = 1.0
"""How long the end of the process waits for what is not written yet."""


class TextQueue:
    """Hands texts to a thread that writes them in order.

    The thread is started with the first text: a fork before that, as of ``--daemon``, does no harm.

    :param write: may block; must not raise.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._texts: deque[str] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, text: str) -> None:
        """Have a text written. Blocks only if no thread can be started, which has to be told.

        :raises OSError: too much waits already.
        """
        with self._changed:
            if self._waiting and self._waiting + len(text) > MOST_WAITING:
                raise BlockingIOError(errno.EAGAIN, "nobody reads it")
            if self._thread is None:
                self._thread = self._start()
            if self._thread is None:
                self._write(text)
                return
            self._texts.append(text)
            self._waiting += len(text)
            self._changed.notify_all()

    def drain(self) -> bool:
        """Wait until everything is written, but not for ever; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, END_SECONDS)

    def _start(self) -> threading.Thread | None:
        thread = threading.Thread(target=self._run, name="output", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return None
        return thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._texts))
                text = self._texts.popleft()
            self._write(text)
            with self._changed:
                self._waiting -= len(text)
                self._changed.notify_all()


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything, however long that takes.

    :raises OSError: it cannot be written.
    """
    left = memoryview(content)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            # Another program that shares the pipe has made it so.
            select.select((), (descriptor,), ())


def open_to_append(path: os.PathLike[str]) -> int:
    """Open a file for what is added at its end; a pipe must have a reader already.

    If it is a file of this user's, nobody else may read it.

    :raises OSError: it cannot be opened.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK
    try:
        descriptor = open_private(path, flags)
    except OSError as error:
        if error.errno == errno.ENXIO:
            error.strerror = "nobody reads this pipe"
        raise
    os.set_blocking(descriptor, True)
    return descriptor


def is_file(descriptor: int) -> bool:
    """Whether it is a regular file, which never waits for a reader."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode)
