"""Streams without an end of their own: notifications, files that are followed, websockets.

There is one registry of them. It ends each one when the server stops or its project goes, and
cuts off clients that do not react to that.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from aiohttp import web

from gns3server.errors import Conflict

T = TypeVar("T")

GRACE = 5.0
"""How many seconds a client has to read the rest of its stream once that has ended."""

SEND_BUFFER = 64 * 1024
"""How many bytes on their way to one client the kernel keeps; Linux doubles it for itself."""


class Ending:
    """Whether an endless stream is to end: the server stops, or the stream's project goes."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._told: list[Callable[[], object]] = []

    def is_set(self) -> bool:
        """Whether the stream is to end."""
        return self._event.is_set()

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is to end, but no longer than ``seconds``; returns whether it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        return self.is_set()

    def tell(self, function: Callable[[], object]) -> None:
        """Call a function when it is to end: at once if that is already so."""
        if self.is_set():
            function()
        else:
            self._told.append(function)

    def set(self) -> None:
        """Ask the stream to end. Idempotent."""
        if not self.is_set():
            self._event.set()
            for function in self._told:
                function()


async def until_ending(ending: Ending, data: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """What is sent to a stream, until it is to end or there is no more of it."""
    over = asyncio.ensure_future(ending.wait())
    try:
        while True:
            step = asyncio.ensure_future(_next(data))
            await asyncio.wait({step, over}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                step.cancel()
                await asyncio.wait({step})
                return
            for item in step.result():
                yield item
            if not step.result():
                return
    finally:
        over.cancel()


async def _next(data: AsyncGenerator[T, None]) -> list[T]:
    """The next item, or nothing at the end."""
    async for item in data:
        return [item]
    return []


class EndlessStreams:
    """All endless streams of a server."""

    def __init__(self) -> None:
        self._open: dict[Ending, str | None] = {}
        self._stopping = False

    def __len__(self) -> int:
        """How many there are."""
        return len(self._open)

    @contextmanager
    def joined(self, request: web.Request, project_id: str | None, limit: int) -> Iterator[Ending]:
        """Register one stream while the context lasts.

        :param project_id: the stream ends with this project.
        :raises Conflict: there are already ``limit`` of them.
        """
        if len(self._open) >= limit:
            raise Conflict(
                f"{limit} listeners are connected already, to notifications, files or websockets, "
                "which is this server's limit (max_listeners): close one of them first."
            )
        ending = Ending()
        self._open[ending] = project_id
        try:
            with _cut_off_after(ending, request):
                if self._stopping:
                    ending.set()
                yield ending
        finally:
            del self._open[ending]

    def end_project(self, project_id: str) -> None:
        """End the streams of a project that is gone."""
        for ending, project in list(self._open.items()):
            if project == project_id:
                ending.set()

    def close(self) -> None:
        """End every stream, including those still to come: the server is stopping."""
        self._stopping = True
        for ending in list(self._open):
            ending.set()


@contextmanager
def _cut_off_after(ending: Ending, request: web.Request) -> Iterator[None]:
    """Cut off a client whose stream has been over for some time, and then the handler.

    A client that does not read blocks the writer, which then never notices the end.
    """
    loop, task, transport = asyncio.get_running_loop(), asyncio.current_task(), request.transport
    timers: list[asyncio.TimerHandle] = []

    def begin() -> None:
        timers.append(loop.call_later(GRACE, cut_off))

    def cut_off() -> None:
        if transport is not None:
            transport.abort()
        if task is not None:
            timers.append(loop.call_later(GRACE, task.cancel))

    ending.tell(begin)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def limit_buffer(request: web.Request) -> None:
    """Bound what the kernel holds for a client that does not read.

    On the loopback interface it could grow to some megabytes for each (tcp(7), tcp_wmem).
    """
    connection = request.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
