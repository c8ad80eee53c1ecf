"""Calling into code that may hang, raise anything, or return something unfit."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")

HURRIED_SECONDS = 1.0
"""How long one call may take when the server stops, which is to take ten seconds at most."""


class Caller:
    """Calls with a time limit.

    :param seconds: how long one call may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._awaited: set[asyncio.Timeout] = set()

    def hurry(self) -> None:
        """Give every call little time from now on, those that are awaited already included."""
        self._seconds = min(HURRIED_SECONDS, self._seconds)
        end = asyncio.get_running_loop().time() + self._seconds
        for timeout in self._awaited:
            timeout.reschedule(min(end, timeout.when() or end))

    def call(self, function: Callable[[], T]) -> T:
        """What ``function`` returns. Blocks.

        :raises Exception: whatever it raises.
        :raises TimeoutError: it did not return in time.
        """
        done = in_thread(function)
        try:
            return done.result(self._seconds)
        except TimeoutError:
            if done.done():
                raise
            raise self._too_slow() from None

    async def observe(self, function: Callable[[], Any]) -> None:
        """Call a function and await what it returns, within the limit together."""
        async with self._limit():
            awaitable = await asyncio.wrap_future(in_thread(function))
            if not isinstance(awaitable, Awaitable):
                raise TypeError("it must be written with async def")
            await awaitable

    async def enter(self, function: Callable[[], Any]) -> AbstractAsyncContextManager[None] | None:
        """Call a function and enter the context it returns, within the limit together."""
        async with self._limit():
            context = await asyncio.wrap_future(in_thread(function))
            if context is None:
                return None
            if not isinstance(context, AbstractAsyncContextManager):
                if inspect.iscoroutine(context):
                    context.close()
                raise TypeError(f"it returned {context!r}, not an asynchronous context manager")
            await context.__aenter__()
        return context

    async def leave(self, context: AbstractAsyncContextManager[None] | None) -> None:
        """Leave a context, if there is one, within the limit."""
        if context is not None:
            async with self._limit():
                await context.__aexit__(None, None, None)

    @asynccontextmanager
    async def _limit(self) -> AsyncIterator[None]:
        timeout = asyncio.timeout(self._seconds)
        try:
            async with timeout:
                self._awaited.add(timeout)
                yield
        except TimeoutError:
            if timeout.expired():
                raise self._too_slow() from None
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise RuntimeError("it was cancelled, and not by this server") from error
        except SystemExit as error:
            raise ended(error) from error
        finally:
            self._awaited.discard(timeout)

    def _too_slow(self) -> TimeoutError:
        return TimeoutError(f"it did not return within {self._seconds:g} seconds")


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
            failure = ended(error)
            failure.__cause__ = error
            done.set_exception(failure)

    threading.Thread(target=work, name="plugin", daemon=True).start()
    return done


def ended(error: BaseException) -> Exception:
    """An error that takes one plugin down, for one that would take the server down."""
    return RuntimeError(f"it raised {type(error).__name__}: {error}")
