"""Threads: started before they are needed, or apart from those that everybody needs."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Barrier, Thread
from typing import TypeVar
from weakref import WeakValueDictionary

from gns3server.errors import ADVICE, Exhausted

T = TypeVar("T")


def thread_pool(name: str, size: int = 1) -> ThreadPoolExecutor:
    """A pool whose threads are all running already.

    A user at the limit of processes can start no threads either: one that is
    only started when it is needed might then be missing.

    :param name: what the names of its threads begin with.
    :param size: how many there are.
    :raises OSError: not even now can this many be started.
    """
    pool = ThreadPoolExecutor(size, thread_name_prefix=name)
    # Each waits for all the others, so that every thread must be started.
    together = Barrier(size + 1)
    try:
        for _ in range(size):
            pool.submit(together.wait)
    except RuntimeError as error:
        together.abort()
        raise OSError(errno.EAGAIN, ADVICE[errno.EAGAIN]) from error
    together.wait()
    return pool


def start_thread(name: str, work: Callable[[], None]) -> Thread:
    """Start a thread that does not keep the process from ending.

    :raises OSError: no thread can be started.
    """
    thread = Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, ADVICE[errno.EAGAIN]) from error
    return thread


class SeparateThreads:
    """Threads for work that may take long, or never end, because something outside does not answer.

    Whoever waits for such work can give it up. Its thread is then left behind, is replaced if
    others need it, and does not keep the process from ending.

    :param name: of the threads.
    :param most: how many there may be, including those that are left behind.
    :param ready: how many are started now, and are there even if no more can be started later.
    :raises OSError: not even now can so many be started.
    """

    def __init__(self, name: str, most: int, *, ready: int = 0) -> None:
        self._name = name
        self._ready = ready
        self._free = asyncio.Semaphore(most)
        self._turns: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = self._busy = 0
        self._closed = False
        for _ in range(ready):
            self._add()

    async def run(
        self,
        function: Callable[[], T],
        *,
        key: Hashable = None,
        limit: float | None = None,
        dropped: Callable[[T], object] = lambda _: None,
    ) -> T:
        """Call a function in a thread, once one is free; raises what the function raises.

        :param key: what the work is about. Work with the same key takes turns, so that one thing
            that does not answer never takes more than one thread.
        :param limit: seconds after which it is given up, the wait for a thread included.
        :param dropped: called with what the function returns when nobody waits for it any more.
        :raises TimeoutError: its time was up.
        :raises Exhausted: there is no thread, and none can be started.
        """
        try:
            async with asyncio.timeout(limit):
                return await self._call(function, key, dropped)
        except TimeoutError as error:
            if error.errno is not None:
                raise
            reason = f"there was no answer within {limit:g} seconds"
            raise TimeoutError(errno.ETIMEDOUT, reason) from error

    def close(self) -> None:
        """End the threads, each after the work that it does."""
        self._closed = True
        for _ in range(self._threads):
            self._queue.put(None)

    async def _call(
        self, function: Callable[[], T], key: Hashable, dropped: Callable[[T], object]
    ) -> T:
        turn = asyncio.Lock() if key is None else self._turns.setdefault(key, asyncio.Lock())
        loop, done = asyncio.get_running_loop(), Future[T]()

        def work() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)
            # The loop may have ended long ago.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(over)

        def over() -> None:
            self._give_back()
            turn.release()

        await turn.acquire()
        try:
            await self._free.acquire()
        except BaseException:
            turn.release()
            raise
        done.set_running_or_notify_cancel()
        self._busy += 1
        try:
            if self._busy > self._threads:
                self._add()
        except OSError as error:
            if not self._threads:
                over()
                raise Exhausted(f"The server cannot do this now: {error.strerror}.") from error
        self._queue.put(work)
        try:
            return await asyncio.wrap_future(done)
        except asyncio.CancelledError:
            done.add_done_callback(partial(_drop, dropped))
            raise

    def _give_back(self) -> None:
        self._busy -= 1
        self._free.release()
        if not self._closed and self._threads > max(self._busy, self._ready):
            self._threads -= 1
            self._queue.put(None)

    def _add(self) -> None:
        start_thread(self._name, self._work)
        self._threads += 1

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
            # Its result may be big.
            del work


def _drop(dropped: Callable[[T], object], done: Future[T]) -> None:
    if done.exception() is None:
        dropped(done.result())
