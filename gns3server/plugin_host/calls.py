"""Calls of plugins' hooks: in threads of their own, for a limited time."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar

from gns3server.calls import CallFailed, LimitedCalls, TookTooLong, guarded, tamed

T = TypeVar("T")


class HookCaller:
    """Calls hooks with a time limit.

    :param seconds: how long one call may take.
    """

    def __init__(self, seconds: float) -> None:
        self.limited = LimitedCalls(seconds)

    def hurry(self) -> None:
        """Shorten the limit of every call, those under way included: the server is stopping."""
        self.limited.hurry()

    def call(self, function: Callable[[], T]) -> T:
        """Call ``function`` in a thread, and return what it returns. Blocks.

        :raises Exception: whatever it raises.
        :raises TookTooLong: it did not return in time.
        """
        done = in_thread(function)
        try:
            return done.result(self.limited.seconds)
        except TimeoutError:
            if done.done():
                raise
            raise TookTooLong(self.limited.seconds) from None

    async def observe(self, function: Callable[[], Any]) -> None:
        """Call a function and await what it returns, both within one limit."""
        await self.limited.run(partial(_called, function))

    def lifespan(
        self, function: Callable[[], Any], on_failure: Callable[[Exception], None]
    ) -> Lifespan:
        """The context that a function returns, to be entered and left."""
        return Lifespan(self.limited, function, on_failure)


class Lifespan:
    """A context that is entered, kept open and left in one task of its own.

    So a task group in it ends only itself when one of its tasks fails, and not the server.

    :param function: returns the context, or ``None`` if there is none.
    :param on_failure: told what went wrong if it ends before it is to be left.
    """

    def __init__(
        self,
        limited: LimitedCalls,
        function: Callable[[], Any],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._limited = limited
        self._function = function
        self._on_failure = on_failure
        loop = asyncio.get_running_loop()
        self._entered: asyncio.Future[None] = loop.create_future()
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def enter(self) -> None:
        """Enter it.

        :raises TookTooLong: it was not entered in time, and is left behind.
        :raises Exception: whatever it raised.
        """
        self._task = asyncio.create_task(guarded(self._live))
        try:
            await self._first_of(self._task, self._entered)
        except BaseException:
            # Should it be entered after all, it is left at once.
            self._leaving.set()
            self._limited.leave_behind(self._task)
            self._task = None
            raise
        if self._task.done():
            task, self._task = self._task, None
            task.result()
        else:
            self._task.add_done_callback(self._has_ended)

    async def leave(self) -> None:
        """Leave it, if it is still open.

        :raises TookTooLong: it was not left in time, and is left behind.
        :raises Exception: whatever it raised.
        """
        task, self._task = self._task, None
        if task is None:
            return
        self._leaving.set()
        try:
            await self._first_of(task)
        except BaseException:
            self._limited.leave_behind(task)
            raise
        task.result()

    async def _first_of(self, *futures: asyncio.Future[None]) -> None:
        first = asyncio.FIRST_COMPLETED
        await self._limited.run(partial(asyncio.wait, futures, return_when=first))

    async def _live(self) -> None:
        context = await _made(self._function)
        if context is None:
            return
        if not isinstance(context, AbstractAsyncContextManager):
            drop(context)
            raise TypeError(f"it returned {context!r}, not an asynchronous context manager")
        async with context:
            self._entered.set_result(None)
            await self._leaving.wait()

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        if self._task is not task:
            return
        self._task = None
        error = None if task.cancelled() else task.exception()
        self._on_failure(error if isinstance(error, Exception) else CallFailed("it was cancelled"))


async def _made(function: Callable[[], Any]) -> Any:
    """What a function makes in a thread, which is dropped if it comes too late for the caller."""
    done = in_thread(function)
    try:
        return await asyncio.wrap_future(done)
    except asyncio.CancelledError:
        done.add_done_callback(_drop_result)
        raise


def _drop_result(done: Future[Any]) -> None:
    if not done.cancelled() and done.exception() is None:
        drop(done.result())


async def _called(function: Callable[[], Any]) -> None:
    awaitable = await _made(function)
    if not isinstance(awaitable, Awaitable):
        raise TypeError("it must be written with async def")
    await awaitable


def drop(value: object) -> None:
    """Keep Python from complaining about a coroutine that nobody will await."""
    if inspect.iscoroutine(value):
        value.close()


def in_thread(function: Callable[[], T]) -> Future[T]:
    """Call a function in a thread of its own, which is left behind when the call hangs."""
    done: Future[T] = Future()

    def work() -> None:
        if not done.set_running_or_notify_cancel():
            return
        try:
            done.set_result(function())
        except Exception as error:
            done.set_exception(error)
        except BaseException as error:
            done.set_exception(tamed(error))

    threading.Thread(target=work, name="plugin", daemon=True).start()
    return done
