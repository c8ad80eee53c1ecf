"""Calls into plugins' nodes: when their time counts, and what they may not call."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from gns3server.calls import LimitedCall, LimitedCalls
from gns3server.errors import PluginFault

T = TypeVar("T")
P = ParamSpec("P")


class AuthorCall(LimitedCall):
    """One call into a plugin's code; its clock stops while the core works for it.

    :param name: what is called, for messages.
    :param limits: the server's limited calls into nodes.
    :param function: the code.
    :param least: seconds that it may take in any case, unless the server is stopping.
    """

    def __init__(
        self,
        name: str,
        limits: LimitedCalls,
        function: Callable[[], Awaitable[Any]],
        least: float = 0.0,
    ) -> None:
        self.name = name
        self._least = least
        token = _INSIDE.set(self)
        try:
            super().__init__(limits, function)
        finally:
            _INSIDE.reset(token)

    @property
    def seconds(self) -> float:
        """How long it may take."""
        return within(self._calls, self._least)


def within(limits: LimitedCalls, least: float) -> float:
    """How long a call may take that has ``least`` seconds in any case.

    While the server stops it has no more than any other.
    """
    return limits.seconds if limits.hurried else max(least, limits.seconds)


_INSIDE: ContextVar[AuthorCall | None] = ContextVar("inside", default=None)
"""The call that the running code was called from, if that is a plugin's."""


def core_code(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Mark a method that authors may override as the core's own.

    It is called without a limit; when an override calls it, the override's clock stops meanwhile.
    """

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        author = _INSIDE.get()
        if author is None or not author.active:
            return await function(*args, **kwargs)
        if author.abandoned:
            raise RuntimeError(f"{author.name} goes on although it was given up: it took too long")
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
    """Refuse calls that take a lock, when made from code that is called while the core holds one.

    :raises PluginFault: names both.
    """
    call = _INSIDE.get()
    if call is not None and call.active:
        raise PluginFault(
            f"{call.name} must not call {what}: that waits for a lock, and may wait for itself. "
            "Do it in a separate task, once this call is over."
        )
