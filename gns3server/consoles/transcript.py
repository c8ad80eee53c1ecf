"""A file that all output of a console is added to. The disk is waited for in a thread."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress

from gns3server.files.private import open_private

MAX_BYTES = 64 * 1024 * 1024
"""How long the file may become: then it is moved aside, in place of the one before it."""

MAX_WAITING = 4 * 1024 * 1024
"""How many bytes may wait for the disk; what comes then is left out."""

LEFT_OUT = b"\r\n[the disk was too slow: something is missing here]\r\n"


class Transcript:
    """An open transcript.

    A disk that does not answer holds up nobody: opening and closing give up at a deadline, which
    is a time of the loop's clock. What waits for it then is still written if it answers later.

    :param path: where it is.
    :param threads: where it is written.
    :param failed: called with the reason when it cannot be written any more.
    """

    def __init__(self, path: str, threads: Executor, failed: Callable[[str], None]) -> None:
        self.path = path
        self.failure: str | None = None
        self._threads = threads
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._descriptor = -1
        self._waiting = bytearray()
        self._left_out = False
        self._writing: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def open(self, deadline: float) -> None:
        """Open it, so that what follows is added to its end.

        :raises OSError: it cannot be written to, or that was not known at the deadline.
        """
        opening = self._loop.run_in_executor(self._threads, _open, self.path)
        try:
            async with asyncio.timeout_at(deadline):
                self._descriptor = await asyncio.shield(opening)
        except TimeoutError:
            opening.add_done_callback(_close_unwanted)
            raise OSError(0, "the disk does not answer", self.path) from None

    def add(self, data: bytes) -> None:
        """Add output; after a failure nothing is added."""
        if self.failure is not None:
            return
        if len(self._waiting) > MAX_WAITING:
            self._left_out = True
            return
        if self._left_out:
            self._left_out = False
            self._waiting += LEFT_OUT
        self._waiting += data
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def close(self, deadline: float) -> None:
        """Write what waits, and close it; after the deadline without waiting for that."""
        if self._left_out:
            self._waiting += LEFT_OUT
            if self._writing is None:
                self._writing = asyncio.create_task(self._write())
        self._closing = asyncio.create_task(self._close())
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._writing is not None:
            await self._writing
        os.close(self._descriptor)

    async def _write(self) -> None:
        try:
            while self._waiting:
                data = bytes(self._waiting)
                self._waiting.clear()
                self._descriptor = await self._loop.run_in_executor(
                    self._threads, _append, self._descriptor, self.path, data
                )
        except OSError as error:
            self.failure = error.strerror or str(error)
            self._waiting.clear()
            self._failed(self.failure)
        finally:
            self._writing = None


def _open(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
    descriptor = open_private(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "it is not a regular file", path)
    return descriptor


def _close_unwanted(opening: asyncio.Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def _append(descriptor: int, path: str, data: bytes) -> int:
    """Add to a file, or to a new one once it is too long; returns the descriptor to go on with."""
    if os.fstat(descriptor).st_size > MAX_BYTES:
        os.replace(path, f"{path}.1")
        former, descriptor = descriptor, _open(path)
        os.close(former)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor
