"""Waiting for code that is not the server's own: it may hang, or raise anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

HURRIED_SECONDS = 1.0
"""How long one call may take when the server stops, which is to take ten seconds at most."""

_PLUGIN: ContextVar[str] = ContextVar("plugin")
"""The plugin whose code runs; its tasks and callbacks inherit it."""


@contextmanager
def on_behalf_of(plugin: str) -> Iterator[None]:
    """Have what is called in the block, and all that comes of it, count as a plugin's code."""
    token = _PLUGIN.set(plugin)
    try:
        yield
    finally:
        _PLUGIN.reset(token)


def current_plugin() -> str:
    """The name of the plugin whose code runs.

    :raises RuntimeError: it is none's.
    """
    plugin = _PLUGIN.get("")
    if not plugin:
        raise RuntimeError(
            "only the code of a plugin may do this: a hook, a handler, a call of a node, or a task "
            "that one of them has made"
        )
    return plugin


class CallFailed(Exception):
    """A call ended as none should. The text says how, beginning with ``it``."""


class TookTooLong(CallFailed, TimeoutError):
    """A call was given up because its time was over."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it did not return within {seconds:g} seconds")


def tamed(error: BaseException) -> CallFailed:
    """An error that ends one call, for one that would end the server."""
    failure = CallFailed(f"it raised {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


async def guarded(work: Awaitable[T]) -> T:
    """Await foreign work in such a way that what it raises ends nothing but itself.

    :raises CallFailed: it raised ``SystemExit``, ``KeyboardInterrupt`` or the like, or was
        cancelled though nobody has cancelled whoever waits for it.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        return await work
    except asyncio.CancelledError as error:
        if task is None or task.cancelling() > before:
            raise
        raise CallFailed("it was cancelled, and not by this server") from error
    except Exception:
        raise
    except BaseException as error:
        raise tamed(error) from error


class LimitedCalls:
    """Awaits foreign work for a limited time each, and leaves behind what takes longer.

    What is left behind has been cancelled; it may take note of that or not.

    :param seconds: how long one call may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._waiting: set[asyncio.Timeout] = set()
        # asyncio itself would forget tasks that nobody waits for.
        self._left_behind: set[asyncio.Task[Any]] = set()

    def hurry(self, seconds: float) -> None:
        """Give every call so little time from now on, those under way included."""
        self.seconds = min(seconds, self.seconds)
        end = asyncio.get_running_loop().time() + self.seconds
        for timeout in self._waiting:
            timeout.reschedule(min(end, timeout.when() or end))

    async def run(self, work: Awaitable[T], seconds: float | None = None) -> T:
        """Await work in a task of its own.

        :param seconds: how long it may take, if not as long as any other.
        :raises TookTooLong: it was left behind.
        :raises Exception: what it raised, as :func:`guarded` does.
        """
        task = asyncio.create_task(guarded(work))
        try:
            await self.wait(task, seconds=seconds)
        finally:
            if not task.done():
                self.leave_behind(task)
        return task.result()

    async def wait(self, *futures: asyncio.Future[Any], seconds: float | None = None) -> None:
        """Wait until the first of some futures is done.

        :raises TookTooLong: none was in time.
        """
        limit = self.seconds if seconds is None else min(seconds, self.seconds)
        timeout = asyncio.timeout(limit)
        self._waiting.add(timeout)
        try:
            async with timeout:
                await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            if not any(future.done() for future in futures):
                raise TookTooLong(min(limit, self.seconds)) from None
        finally:
            self._waiting.discard(timeout)

    def leave_behind(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task and wait for it no more."""
        self._left_behind.add(task)
        task.add_done_callback(self._has_ended)
        task.cancel()

    def _has_ended(self, task: asyncio.Task[Any]) -> None:
        self._left_behind.discard(task)
        if not task.cancelled():
            # Fetched, so that it is not reported as forgotten.
            task.exception()
