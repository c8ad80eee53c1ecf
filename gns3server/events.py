"""Events, and the listeners that are told of them.

An event is (kind, change, object); each API puts it into words of its own, with one translator
that is called once per event, however many listen. Publishing never blocks and never fails because
of a listener: each has a bounded queue of its own, and one that falls behind is ended, while the
others notice nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from gns3server.errors import Conflict

log = logging.getLogger(__name__)

QUEUE_LENGTH = 2000
"""Events that may wait for one listener before it counts as fallen behind."""

QUEUE_BYTES = 2 * 1024 * 1024
"""Bytes that these may take up together: an event may hold a node's whole script."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that has happened.

    :param kind: what it has happened to: ``node``, ``snapshot``, ``log``, or a plugin's own word.
    :param change: ``created``, ``started``, ``stopped``, ``suspended``, ``resumed``, ``updated``,
        ``deleted``, ``restored``, ``error``, or a plugin's own word.
    :param object: what it has happened to, as it is then; plain data that is never changed again.
    """

    kind: str
    change: str
    project_id: str
    object: Any


@dataclass(frozen=True, slots=True)
class LogEntry:
    """The object of an event of kind ``log``: something that no answer to a request can tell.

    :param node_id: the node that it concerns, if there is one.
    """

    message: str
    node_id: str | None = None


def same(event: Event) -> Event:
    """The translator for listeners that want events as they are."""
    return event


def no_size(_: Any) -> int:
    """The size of events whose number alone is bounded."""
    return 0


class Listener(Generic[T]):
    """One subscriber: an asynchronous iterator of events, as its translator words them.

    It lasts until the bus ends it or its context is left. The code that serves it may set
    ``on_end``, called once when it is ended, and ``connected``, which tells whether the client
    is still there.

    :param size: the bytes of one event; their sum is bounded as well.
    """

    def __init__(
        self, translate: Callable[[Event], T | None], size: Callable[[T], int], length: int
    ) -> None:
        self.translate = translate
        self.ended = False
        self.fell_behind = False
        self.on_end: Callable[[], None] | None = None
        self.connected: Callable[[], bool] = lambda: True
        self._size = size
        self._length = length
        self._queue: deque[tuple[T, int | None]] = deque()
        self._bytes = 0
        self._waiter: asyncio.Future[bool] | None = None

    def put(self, item: T, number: int | None) -> None:
        """Queue an event with its number; past the bound the listener is ended instead."""
        if self.ended:
            return
        if len(self._queue) >= self._length or self._bytes > QUEUE_BYTES:
            self.fell_behind = True
            self._queue.clear()
            self._bytes = 0
            self.end()
            return
        self._queue.append((item, number))
        self._bytes += self._size(item)
        self._wake(news=True)

    def end(self) -> None:
        """Let the iteration stop after what is already queued."""
        if not self.ended:
            self.ended = True
            self._wake(news=True)
            if self.on_end is not None:
                self.on_end()

    def begin_again(self) -> None:
        """Go on listening, after having fallen behind."""
        self.ended = self.fell_behind = False

    def _wake(self, *, news: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(news)

    @property
    def queued(self) -> tuple[tuple[T, int | None], ...]:
        """The events waiting to be taken, each with its number in the project's log, if any."""
        return tuple(self._queue)

    def taken(self) -> Iterator[tuple[T, int | None]]:
        """Take the queued events, one after the other."""
        while self._queue:
            item, number = self._queue.popleft()
            self._bytes -= self._size(item)
            yield item, number

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until something is queued or the listener is ended; ``False`` if time runs out."""
        if self._queue or self.ended:
            return True
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = (
            None if seconds is None else loop.call_later(seconds, partial(self._wake, news=False))
        )
        try:
            return await self._waiter
        finally:
            if timer is not None:
                timer.cancel()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            for item, _ in self.taken():
                yield item
            if self.ended:
                return
            await self.wait()


class EventBus:
    """All listeners, and the one place where events are published.

    :param max_listeners: how many may listen at once, in all projects together.
    """

    def __init__(self, *, max_listeners: int = 5000, queue_length: int = QUEUE_LENGTH) -> None:
        self.max_listeners = max_listeners
        self._queue_length = queue_length
        self._closed = False
        self._listeners: dict[str | None, dict[Listener[Any], None]] = {}
        """By project; those of all projects under ``None``."""

    def __len__(self) -> int:
        """How many listeners there are, including those that have hung up."""
        return sum(map(len, self._listeners.values()))

    @property
    def projects(self) -> frozenset[str]:
        """The ids of the projects that have listeners."""
        return frozenset(project_id for project_id in self._listeners if project_id is not None)

    def listeners(self, project_id: str | None = None) -> int:
        """How many listen to this one project, or (``None``) to all; not those that have hung up.

        The streams of those end when the next line is sent, which may be seconds away.
        """
        return sum(listener.connected() for listener in self._listeners.get(project_id, ()))

    def publish(
        self, event: Event, number: int | None = None, known: Mapping[Any, Any] | None = None
    ) -> None:
        """Tell the project's listeners of an event, and those of all projects.

        :param number: its number in the project's event log, if it has one.
        :param known: what translators have already made of it, by translator.
        """
        made = dict(known or {})
        for listener in [
            *self._listeners.get(event.project_id, ()),
            *self._listeners.get(None, ()),
        ]:
            if listener.translate not in made:
                made[listener.translate] = _translated(listener.translate, event)
            item = made[listener.translate]
            if item is not None:
                listener.put(item, number)

    @contextmanager
    def listen(
        self,
        project_id: str | None = None,
        *,
        translate: Callable[[Event], T | None],
        size: Callable[[T], int] = no_size,
    ) -> Iterator[Listener[T]]:
        """Listen to one project, or to all of them, while the context lasts.

        :param translate: words an event for the listener, or returns ``None`` for one that the
            listener is not to get. Listeners with the same translator share what it makes.
        :param size: the bytes of what ``translate`` has made, if they are to be bounded.
        :raises Conflict: the server already has as many listeners as it allows.
        """
        if len(self) >= self.max_listeners:
            raise Conflict(
                f"{self.max_listeners} listeners are connected already, which is this server's "
                "limit: close one of them first."
            )
        listener = Listener(translate, size, self._queue_length)
        listener.ended = self._closed
        group = self._listeners.setdefault(project_id, {})
        group[listener] = None
        try:
            yield listener
        finally:
            del group[listener]
            if not group:
                del self._listeners[project_id]

    def end_project(self, project_id: str) -> None:
        """End the streams of a project that is gone."""
        for listener in list(self._listeners.get(project_id, ())):
            listener.end()

    def close(self) -> None:
        """End every stream, including those still to come: the server is stopping."""
        self._closed = True
        for group in list(self._listeners.values()):
            for listener in list(group):
                listener.end()


def _translated(translate: Callable[[Event], Any], event: Event) -> Any:
    try:
        return translate(event)
    except Exception:
        # An API that cannot word it must not keep it from the others.
        log.exception("%s %s cannot be told to some listeners", event.kind, event.change)
        return None
