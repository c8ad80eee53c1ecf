"""The start gate: a bounded number of starts at a time, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class StartGate:
    """Lets some blocks in at a time, first come, first served.

    A block that takes too long goes on, but its place is given to the next: one program that
    never gets ready must not hold up the others.

    :param places: blocks that may be in at a time.
    :param hold_limit: seconds that a block may keep its place.
    :raises ValueError: there is no place.
    """

    def __init__(self, places: int, hold_limit: float = 5.0) -> None:
        if places < 1:
            raise ValueError(f"places: {places} is less than 1")
        self._free = places
        self.hold_limit = hold_limit
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Number of those who wait for a place."""
        return sum(not turn.done() for turn in self._queue)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and hold it for the block, or for ``hold_limit`` seconds."""
        await self._enter()
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._leave()

        timer = asyncio.get_running_loop().call_later(self.hold_limit, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()

    async def _enter(self) -> None:
        if self._free and not self._queue:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):
                    self._queue.remove(turn)
            else:
                # The place was given to us in the same moment: pass it on.
                self._leave()
            raise

    def _leave(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
