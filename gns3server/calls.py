"""Waiting for code that is not the server's own: it may hang, or raise anything."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

HURRIED_SECONDS = 1.0
"""How long one call may take while the server stops: stopping takes ten seconds at most."""

CANCELLED = "it was cancelled, and not by this server"

_PLUGIN: ContextVar[str] = ContextVar("plugin")
"""The plugin whose code runs; its tasks and callbacks inherit it."""


@contextmanager
def on_behalf_of(plugin: str) -> Iterator[None]:
    """Count what is called in the block, and all that it starts, as a plugin's code."""
    token = _PLUGIN.set(plugin)
    try:
        yield
    finally:
        _PLUGIN.reset(token)


def current_plugin() -> str:
    """The name of the plugin whose code runs.

    :raises RuntimeError: no plugin's code runs.
    """
    plugin = _PLUGIN.get("")
    if not plugin:
        raise RuntimeError(
            "only the code of a plugin may do this: a hook, a handler, a call of a node, or a task "
            "that one of them has started"
        )
    return plugin


class CallFailed(Exception):
    """A call ended as no call should. The text says how, and begins with ``it``."""


class TookTooLong(CallFailed, TimeoutError):
    """A call was given up because its time was up."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it did not return within {seconds:g} seconds")


def tamed(error: BaseException) -> CallFailed:
    """Turn an error that would end the server into one that ends only the call."""
    failure = CallFailed(f"it raised {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


async def guarded(function: Callable[[], Awaitable[T]]) -> T:
    """Call foreign code so that what it raises ends only the call.

    :raises TypeError: what it returns cannot be awaited.
    :raises CallFailed: it raised ``SystemExit``, ``KeyboardInterrupt`` or the like, or was
        cancelled although the task that waits for it was not.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        awaitable = function()
        if not inspect.isawaitable(awaitable):
            raise TypeError("it must be written with async def")
        return await awaitable
    except asyncio.CancelledError as error:
        if task is None or task.cancelling() > before:
            raise
        raise CallFailed(CANCELLED) from error
    except Exception:
        raise
    except BaseException as error:
        raise tamed(error) from error


class LimitedCall:
    """A call of foreign code: a task with a time limit, left behind once that is over.

    :param calls: the calls that it belongs to.
    :param function: the code.
    :param seconds: a limit of its own, if shorter than theirs.
    """

    def __init__(
        self,
        calls: LimitedCalls,
        function: Callable[[], Awaitable[Any]],
        seconds: float = math.inf,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.abandoned = False
        self.end = math.inf
        """When its time is up, by the event loop's clock."""
        self._calls = calls
        self._seconds = seconds
        self._resting = 0
        self._over = loop.create_future()
        calls.running.add(self)
        self.task = loop.create_task(self._run(function))
        self.restart()

    @property
    def active(self) -> bool:
        """Whether the code still runs."""
        return not self.task.done()

    @property
    def seconds(self) -> float:
        """How long it may take."""
        return min(self._seconds, self._calls.seconds)

    async def wait(self) -> bool:
        """Wait for its end; ``False`` if its limit comes first, and it is then abandoned."""
        try:
            await self._over
        finally:
            if self.active:
                self.abandoned = True
                self._calls.leave_behind(self.task)
        return not self.abandoned

    def result(self) -> Any:
        """What the code has returned.

        :raises CallFailed: it has cancelled its own task.
        :raises Exception: what it has raised, as :func:`guarded` does.
        """
        if self.task.cancelled():
            raise CallFailed(CANCELLED)
        return self.task.result()

    def restart(self) -> None:
        """Give it the whole limit again, from now on."""
        self.end = math.inf if self._resting else self._calls.end_of(self.seconds)

    def rest(self) -> None:
        """Stop its clock while the server's own code works for it."""
        self._resting += 1
        self.end = math.inf

    def go_on(self) -> None:
        """Start its clock again, with the whole limit."""
        self._resting -= 1
        self.restart()

    def give_up(self) -> None:
        """Tell whoever waits for it that its time is over."""
        self.end = math.inf
        self._wake()

    def _wake(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    async def _run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await guarded(function)
        finally:
            self._calls.running.discard(self)
            self._wake()


class LimitedCalls:
    """Calls of foreign code, and how long each may take.

    One timer serves all of them: no call needs its own.

    :param seconds: the limit.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.hurried = False
        self.running: set[LimitedCall] = set()
        # asyncio itself would forget tasks that nobody waits for.
        self._left_behind: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, function: Callable[[], Awaitable[T]], seconds: float = math.inf) -> T:
        """Call foreign code, and return what it returns.

        :param seconds: a limit of its own, if shorter.
        :raises TookTooLong: its time was up, and it was left behind.
        :raises Exception: as :meth:`LimitedCall.result` does.
        """
        call = LimitedCall(self, function, seconds)
        if not await call.wait():
            raise TookTooLong(call.seconds)
        result: T = call.result()
        return result

    def hurry(self) -> None:
        """Shorten the limit of every call, including those under way: the server is stopping."""
        self.hurried = True
        self.seconds = min(HURRIED_SECONDS, self.seconds)
        for call in self.running:
            call.restart()

    def leave_behind(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task and wait for it no longer, whether it heeds that or not."""
        self._left_behind.add(task)
        task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left_behind.discard(task)
        if not task.cancelled():
            # Fetched, or asyncio would report it as never retrieved.
            task.exception()

    def end_of(self, seconds: float) -> float:
        """When the time of a call that has ``seconds`` from now on is up."""
        if seconds == math.inf:
            return seconds
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        if self._timer is None or end < self._timer.when():
            self._look_at(end)
        return end

    def _look_at(self, end: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(end, self._look, end)

    def _look(self, now: float) -> None:
        self._timer = None
        for call in self.running:
            if call.end <= now:
                call.give_up()
        earliest = min((call.end for call in self.running), default=math.inf)
        if earliest < math.inf:
            self._look_at(earliest)
