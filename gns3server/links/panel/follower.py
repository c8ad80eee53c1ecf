"""A reader of a capture while it goes on: gets everything, or is dropped if it does not read."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from gns3server.running.control import Caller

MAX_WAITING = 16 * 1024 * 1024
"""Bytes that may wait for a reader. It begins with what a ring holds, and that at once."""

FINISH_SECONDS = 5.0
"""How long a reader may take to read the rest once the capture has ended."""


class Follower:
    """Sends a stream by a connection that has been taken over, and waits for nobody."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._finished = asyncio.Event()

    def send(self, data: bytes) -> bool:
        """Send something after what waits.

        :returns: False if that is too much: the reader does not read, and is dropped.
        """
        if self._caller.unsent + len(data) > MAX_WAITING:
            self._caller.close()
            return False
        self._caller.write(data)
        return True

    def finish(self) -> None:
        """End the stream once all is sent, or soon."""
        self._finished.set()

    async def wait(self) -> None:
        """Wait until the stream has ended, or the reader has gone."""
        reading = asyncio.create_task(self._read())
        finishing = asyncio.create_task(self._finished.wait())
        try:
            await asyncio.wait({reading, finishing}, return_when=asyncio.FIRST_COMPLETED)
            if self._finished.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(FINISH_SECONDS):
                        await self._caller.flush()
        finally:
            reading.cancel()
            finishing.cancel()

    async def _read(self) -> None:
        """Read until the reader hangs up: whatever else it says is of no use."""
        with suppress(OSError, ValueError):
            while await self._caller.read():
                pass
