"""The start gate: a bounded number of starts at a time, first come, first served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager


class StartGate:
    """Lets some blocks in at a time, in order.

    A block that takes longer than the limit continues, but its slot is given to the next: one
    program that never gets ready must not hold up the others.

    :param slots: how many blocks may be in at a time.
    :param hold_limit: seconds for which a block may keep its slot.
    :raises ValueError: ``slots`` is less than 1.

    ``waiting`` is how many wait for a slot.
    """

    def __init__(self, slots: int, hold_limit: float = 5.0) -> None:
        if slots < 1:
            raise ValueError(f"slots: {slots} is less than 1")
        self._slots = asyncio.Semaphore(slots)
        self.hold_limit = hold_limit
        self.waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and keep it while the context lasts, but no longer than the limit."""
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        # A stack calls what was put on it only once, whoever closes it first.
        with ExitStack() as held:
            held.callback(self._slots.release)
            timer = asyncio.get_running_loop().call_later(self.hold_limit, held.close)
            held.callback(timer.cancel)
            yield
