"""Fair locks whose queues are joined without awaiting.

Order of arrival is a promise of the API ("requests on one VM run one at a
time, in order of arrival"). A coroutine that first has to be scheduled before
it can queue would break it, so a place in a queue is taken by a plain call;
only the wait for the turn is awaited.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Waiter:
    """One visitor's place in a :class:`FairLock`."""

    exclusive: bool
    granted: Callable[[], None]
    inside: bool = False


class FairLock:
    """A read-write lock served strictly first come, first served.

    Shared visitors are inside together; an exclusive one is inside alone, and
    nobody who came after it gets in before it.
    """

    def __init__(self) -> None:
        self._queue: deque[Waiter] = deque()
        self._inside = 0
        self._exclusive = False

    @property
    def idle(self) -> bool:
        """True when nobody is inside or waits."""
        return not self._inside and not self._queue

    def join(self, exclusive: bool, granted: Callable[[], None]) -> Waiter:
        """Queue, and have ``granted`` called when the turn comes (perhaps at once)."""
        turn = Waiter(exclusive, granted)
        self._queue.append(turn)
        self._admit()
        return turn

    def leave(self, turn: Waiter) -> None:
        """Leave the lock, or its queue when the turn has not come yet."""
        if turn.inside:
            turn.inside = False
            self._inside -= 1
            self._exclusive = False
        else:
            self._queue.remove(turn)
        self._admit()

    def _admit(self) -> None:
        while self._queue and not self._exclusive:
            head = self._queue[0]
            if head.exclusive and self._inside:
                return
            self._queue.popleft()
            self._inside += 1
            self._exclusive = head.exclusive
            head.inside = True
            head.granted()


class KeyedLocks:
    """A :class:`FairLock` per key, kept only while somebody uses it."""

    def __init__(self) -> None:
        self._locks: dict[str, FairLock] = {}

    def __len__(self) -> int:
        return len(self._locks)

    def join(self, key: str, exclusive: bool, granted: Callable[[], None]) -> Waiter:
        """Queue for ``key``; see :meth:`FairLock.join`."""
        return self._locks.setdefault(key, FairLock()).join(exclusive, granted)

    def leave(self, key: str, turn: Waiter) -> None:
        """Leave the lock of ``key`` or its queue."""
        lock = self._locks[key]
        lock.leave(turn)
        if lock.idle:
            del self._locks[key]


class LockRequest:
    """One visitor's way through an outer lock and then, if it has a key, an inner one.

    The outer queue is joined by the constructor and the inner one in the very
    moment the outer turn comes, so visitors keep their order through both.

    Use as an async context manager: entering waits for both turns.
    """

    def __init__(
        self,
        outer: FairLock,
        *,
        exclusive: bool = False,
        inner: KeyedLocks | None = None,
        key: str | None = None,
    ) -> None:
        self._outer = outer
        self._inner = inner if key is not None else None
        self._key = key or ""
        self._inner_turn: Waiter | None = None
        self._complete = False
        self._waiter: asyncio.Future[None] | None = None
        self._outer_turn: Waiter | None = outer.join(exclusive, self._outer_granted)

    def _outer_granted(self) -> None:
        if self._inner is None:
            self._all_granted()
        else:
            self._inner_turn = self._inner.join(self._key, True, self._all_granted)

    def _all_granted(self) -> None:
        self._complete = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def __aenter__(self) -> None:
        if self._complete:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        except BaseException:
            self.leave()
            raise

    async def __aexit__(self, *exc: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give back both places, whether the turns have come or not. Idempotent."""
        if self._inner is not None and self._inner_turn is not None:
            self._inner.leave(self._key, self._inner_turn)
            self._inner_turn = None
        if self._outer_turn is not None:
            turn, self._outer_turn = self._outer_turn, None
            self._outer.leave(turn)
