"""Fan-out of events to listeners.

Publishing never blocks and never fails because of a listener: each has a
bounded queue of its own, and one that falls behind is ended with a last line
that says so, while the others notice nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gns3server.errors import Conflict

PING_AFTER = 5.0
"""Seconds of silence after which a listener is sent a ping (contract 1.9)."""

QUEUE_LINES = 2000
"""Lines that may wait for one listener before it counts as fallen behind."""

QUEUE_BYTES = 2 * 1024 * 1024
"""Bytes that these lines may have together: an event holds a node's whole script."""


def event_line(action: str, event: Any = None) -> bytes:
    """One notification as it goes over the wire: a JSON object with sorted keys, and a newline.

    The separators are the ones of the contract (1.9, "exact bytes").
    """
    message: dict[str, Any] = {"action": action}
    if event is not None:
        message["event"] = event
    return (json.dumps(message, sort_keys=True, ensure_ascii=False) + "\n").encode()


def numbered(line: bytes, number: int) -> bytes:
    """The same line with its number in the project's event log, as ``seq``."""
    return line[:-2] + b', "seq": %d}\n' % number


PING_LINE = event_line("ping")


class Listener:
    """One subscriber: an asynchronous iterator of lines, ended by the hub or by leaving it.

    Whoever serves it may set ``on_end``, called once when it is ended, ``connected``, asked
    whether there is still somebody who listens, and ``missed``, lines to send after the first.

    :param numbered: the lines carry their numbers.
    """

    def __init__(self, queue_lines: int, ping_after: float, *, numbered: bool = False) -> None:
        self._lines: deque[bytes] = deque([PING_LINE])
        self._bytes = len(PING_LINE)
        self._queue_lines = queue_lines
        self._ping_after = ping_after
        self._waiter: asyncio.Future[None] | None = None
        self.numbered = numbered
        self.missed: AsyncIterator[bytes] | None = None
        self.ended = False
        self.on_end: Callable[[], None] | None = None
        self.connected: Callable[[], bool] = lambda: True

    def put(self, line: bytes) -> None:
        """Queue a line; past the bound the listener is ended instead."""
        if self.ended:
            return
        full = len(self._lines) >= self._queue_lines or self._bytes > QUEUE_BYTES
        if full:
            reason = (
                "This listener fell too far behind and has missed events: "
                "read the state again, then listen again."
            )
            self._lines.clear()
            self._lines.append(event_line("log.error", {"message": reason}))
            self.end()
            return
        self._lines.append(line)
        self._bytes += len(line)
        self._wake()

    def end(self) -> None:
        """Let the iteration stop after the lines that are already queued."""
        if not self.ended:
            self.ended = True
            self._wake()
            if self.on_end is not None:
                self.on_end()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        while True:
            while self._lines:
                line = self._lines.popleft()
                self._bytes -= len(line)
                yield line
                missed, self.missed = self.missed, None
                if missed is not None:
                    async for older in missed:
                        yield older
            if self.ended:
                return
            self._waiter = loop.create_future()
            timer = loop.call_later(self._ping_after, self.put, PING_LINE)
            try:
                await self._waiter
            finally:
                timer.cancel()


class EventBus:
    """Everybody who listens, and the one place where events are published.

    :param max_listeners: how many may listen at once, all projects together.
    """

    def __init__(
        self,
        *,
        max_listeners: int = 5000,
        queue_lines: int = QUEUE_LINES,
        ping_after: float = PING_AFTER,
    ) -> None:
        self.max_listeners = max_listeners
        self._queue_lines = queue_lines
        self._ping_after = ping_after
        self._closed = False
        self._everywhere: dict[Listener, None] = {}
        self._of_project: dict[str, dict[Listener, None]] = {}

    def listeners(self, project_id: str) -> int:
        """How many listen to this very project; not those who have hung up.

        Their streams end when the next line is sent, which may be seconds away.
        """
        return sum(listener.connected() for listener in self._of_project.get(project_id, ()))

    def publish(self, project_id: str, line: bytes, number: int | None = None) -> None:
        """Send one event to the project's listeners and to the server-wide ones.

        :param number: its number in the project's event log, if it has one.
        """
        with_number = line if number is None else numbered(line, number)
        for listener in [*self._of_project.get(project_id, ()), *self._everywhere]:
            listener.put(with_number if listener.numbered else line)

    @contextmanager
    def listen(
        self, project_id: str | None = None, *, numbered: bool = False
    ) -> Iterator[Listener]:
        """Listen to one project, or to all of them, while the context lasts.

        :param numbered: the lines carry their numbers.
        :raises Conflict: as many listeners as the server allows are there already.
        """
        if len(self._everywhere) + sum(map(len, self._of_project.values())) >= self.max_listeners:
            raise Conflict(
                f"{self.max_listeners} listeners are connected already, which is this server's "
                "limit: close one of them first."
            )
        listener = Listener(self._queue_lines, self._ping_after, numbered=numbered)
        listener.ended = self._closed
        if project_id is None:
            group = self._everywhere
        else:
            group = self._of_project.setdefault(project_id, {})
        group[listener] = None
        try:
            yield listener
        finally:
            del group[listener]
            if project_id is not None and not group:
                self._of_project.pop(project_id, None)

    def end_project(self, project_id: str) -> None:
        """End the streams of a project that is gone."""
        for listener in list(self._of_project.get(project_id, ())):
            listener.end()

    def close(self) -> None:
        """End every stream, the ones still to come included: the server stops."""
        self._closed = True
        for listener in list(self._everywhere):
            listener.end()
        for project_id in list(self._of_project):
            self.end_project(project_id)
