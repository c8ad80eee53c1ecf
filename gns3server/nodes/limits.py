"""How long calls into plugins' nodes may take, and what may not be called from inside them."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, ParamSpec, TypeVar

from gns3server.calls import HURRIED_SECONDS, guarded
from gns3server.errors import PluginFault

T = TypeVar("T")
P = ParamSpec("P")


class AuthorCall:
    """One call into a plugin's code: a task with a limit, which rests while the core works for it.

    :param name: what is called, for messages.
    :param work: the code.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[Any]], limits: CallLimits) -> None:
        self.name = name
        self.abandoned = False
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._resting = 0
        context = copy_context()
        context.run(_INSIDE.set, self)
        self.task = self._loop.create_task(_guarded(work), context=context)
        self.task.add_done_callback(self._ended)
        self.restart()

    @property
    def active(self) -> bool:
        """Whether the plugin's code still runs."""
        return not self.task.done()

    async def wait(self) -> bool:
        """Wait for its end, or for its limit; ``False`` then, and it is abandoned."""
        try:
            await self._over
        except asyncio.CancelledError:
            self._abandon()
            raise
        if self.active:
            self._abandon()
        return not self.abandoned

    def restart(self) -> None:
        """Give it the whole limit from now on."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if not (self._resting or self._over.done()):
            self._timer = self._loop.call_later(self._limits.seconds, self._wake)

    def rest(self) -> None:
        """Let no time pass for it: the core works."""
        self._resting += 1
        self.restart()

    def go_on(self) -> None:
        """Let its time pass again."""
        self._resting -= 1
        self.restart()

    def _wake(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _abandon(self) -> None:
        self.abandoned = True
        self.task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._wake()
        self.restart()
        self._limits.forget(self)
        # Fetched: of one that was abandoned nobody wants to know any more how it ended.
        if not task.cancelled():
            task.exception()


_INSIDE: ContextVar[AuthorCall | None] = ContextVar("inside", default=None)
"""The call that the present code was made from, if it is a plugin's."""


class CallLimits:
    """The limit of all calls into nodes of a server.

    :param seconds: how long one call may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._running: set[AuthorCall] = set()

    def begin(self, name: str, work: Callable[[], Awaitable[Any]]) -> AuthorCall:
        """Call a plugin's function.

        :param name: what is called, for messages.
        """
        call = AuthorCall(name, work, self)
        self._running.add(call)
        return call

    def forget(self, call: AuthorCall) -> None:
        """A call has ended."""
        self._running.discard(call)

    def hurry(self) -> None:
        """Give every call little time from now on, those under way included: the server stops."""
        self.seconds = min(HURRIED_SECONDS, self.seconds)
        for call in self._running:
            call.restart()


async def _guarded(work: Callable[[], Awaitable[Any]]) -> Any:
    async def call() -> Any:
        awaitable = work()
        if not inspect.isawaitable(awaitable):
            raise TypeError("it must be written with async def")
        return await awaitable

    return await guarded(call())


def core_code(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Mark a method that authors may override as the core's own.

    It is called without a limit; and when an override calls it, the limit of that rests meanwhile.
    """

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        author = _INSIDE.get()
        if author is None or not author.active:
            return await function(*args, **kwargs)
        if author.abandoned:
            raise RuntimeError(f"{author.name} goes on although it was given up: its time was over")
        token = _INSIDE.set(None)
        author.rest()
        try:
            return await function(*args, **kwargs)
        finally:
            author.go_on()
            _INSIDE.reset(token)

    call.is_core_code = True  # type: ignore[attr-defined]
    return call


def is_core_code(function: Callable[..., Awaitable[Any]]) -> bool:
    """Whether a method is the core's own, and not an author's."""
    return getattr(function, "is_core_code", False)


def check_outside(what: str) -> None:
    """Refuse what takes a lock to code that is called while the core holds one.

    :raises PluginFault: names both.
    """
    call = _INSIDE.get()
    if call is not None and call.active:
        raise PluginFault(
            f"{call.name} must not call {what}: that waits for a lock, and may wait for itself. "
            "Do it in a task of its own, once this call is over."
        )
