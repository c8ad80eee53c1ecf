"""Bytes that are on their way out of a descriptor, and wait in memory while it takes no more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable


class Outgoing:
    """What is written to a descriptor: at once as far as it takes it, the rest when it takes more.

    Nothing here waits, so whoever writes is never held up by whoever reads.

    :param descriptor: non-blocking; it stays its owner's.
    :param lost: called, once and not from within :meth:`write`, when it takes nothing any more.
    :param lighter: called when some of what waited has gone.
    """

    def __init__(
        self,
        descriptor: int,
        lost: Callable[[], None],
        lighter: Callable[[], None] = lambda: None,
    ) -> None:
        self._descriptor = descriptor
        self._lost = lost
        self._lighter = lighter
        self._waiting = bytearray()
        self._open = True
        self._loop = asyncio.get_running_loop()

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return len(self._waiting)

    def write(self, data: bytes) -> None:
        """Send bytes after those that wait; once it is closed or lost they are thrown away."""
        if not self._open or not data:
            return
        if self._waiting:
            self._waiting += data
            return
        sent = self._send(data)
        if sent < len(data) and self._open:
            self._waiting += memoryview(data)[sent:]
            self._loop.add_writer(self._descriptor, self._continue)

    def forget(self) -> None:
        """Throw away what waits."""
        if self._waiting:
            self._loop.remove_writer(self._descriptor)
            self._waiting.clear()

    def close(self) -> None:
        """Send nothing any more; to be called before the descriptor is closed."""
        self.forget()
        self._open = False

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._descriptor, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.close()
            # Later: its writer is in the middle of something.
            self._loop.call_soon(self._lost)
            return len(data)

    def _continue(self) -> None:
        sent = self._send(self._waiting)
        if not self._open:
            return
        del self._waiting[:sent]
        if not self._waiting:
            self._loop.remove_writer(self._descriptor)
        self._lighter()
