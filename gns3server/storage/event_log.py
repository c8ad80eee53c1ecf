"""The events of one project: stored with the changes that they tell of, numbered in that order.

A client that was away gives the last number it has seen and gets everything after it, as far back
as the bound allows. What is stored are lines made by one translator; what they mean, and how
a gap is told, is up to whoever passed that translator in.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gns3server.errors import StorageFailed
from gns3server.events import Event
from gns3server.storage.database import Statement
from gns3server.storage.file_check import DatabaseError

log = logging.getLogger(__name__)

EVENT_TABLE = "CREATE TABLE event (seq INTEGER PRIMARY KEY, line TEXT NOT NULL)"

INSERT = "INSERT INTO event SELECT coalesce(max(seq), 0) + 1 + ?, ? FROM event"
TRIM = "DELETE FROM event WHERE seq <= (SELECT max(seq) FROM event) - ?"
AFTER = "SELECT seq, line FROM event WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"

BATCH = 50
"""How many events are read at once for a client that catches up."""

TRIM_EVERY = 100
"""Events between two trims of the log. Trimming at each would cost a page to write every time."""

Read = Callable[[str, Sequence[Any]], Awaitable[list[Any]]]
Translate = Callable[[Event], bytes | None]
"""Makes the line that is stored for an event; ``None`` for an event that is not stored."""

Publish = Callable[[Event, int | None, Mapping[Any, Any]], None]
"""Tells listeners an event, its number if it has one, and translations that are made already."""


def _nowhere(_event: Event, _number: int | None, _known: Mapping[Any, Any]) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Missed:
    """What a client has missed.

    Iterates over numbers and lines, in order, and ends where a number is missing. Nothing is
    missing if the last number is ``last``.

    :param after: the last number that the client has seen.
    :param last: the last number that had been given out when it asked.
    """

    after: int
    last: int
    _read: Read

    async def __aiter__(self) -> AsyncIterator[tuple[int, Any]]:
        number = self.after
        while number < self.last:
            rows = await self._next(number)
            for found, line in rows:
                if found != number + 1:
                    return
                number = found
                yield number, line
            if not rows:
                return

    async def _next(self, number: int) -> list[Any]:
        try:
            return await self._read(AFTER, (number, self.last, BATCH))
        except (DatabaseError, StorageFailed) as error:
            log.warning("a client cannot be told what it has missed: %s", error)
            return []


class EventLog:
    """What happened in a project, as far back as the bound allows.

    :param read: reads from the project's database.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._translate: Translate = lambda _: None
        self._publish: Publish = _nowhere
        self._keep = 0
        self._last = 0
        self._unstored = 0
        self._untrimmed = TRIM_EVERY

    async def open(self, translate: Translate, publish: Publish, keep: int) -> None:
        """Continue where an earlier server stopped.

        :param keep: how many events to keep, about: up to :data:`TRIM_EVERY` more stay for a while.
        :raises DatabaseError: the log cannot be read.
        """
        ((last,),) = await self._read("SELECT coalesce(max(seq), 0) FROM event", ())
        self._translate, self._publish = translate, publish
        self._keep, self._last = keep, last

    def line(self, event: Event) -> bytes | None:
        """The line to be stored for an event."""
        return self._translate(event)

    def insertion(self, lines: Sequence[bytes]) -> tuple[list[Statement], int]:
        """The statements that store lines, to end a commit with, and how many numbers they skip.

        The skipped numbers belong to events that were told without being stored. If the commit
        fails, pass their number to :meth:`not_stored`.
        """
        if not lines:
            return [], 0
        skipped, self._unstored = self._unstored, 0
        first, *others = (line.decode() for line in lines)
        statements: list[Statement] = [*self._trimming(len(lines)), (INSERT, (skipped, first))]
        statements += [(INSERT, (0, line)) for line in others]
        return statements, skipped

    def not_stored(self, count: int) -> None:
        """Skip that many more numbers, so that the gap stays visible forever."""
        self._unstored += count

    def _trimming(self, coming: int) -> list[Statement]:
        self._untrimmed += coming
        if self._untrimmed < TRIM_EVERY:
            return []
        self._untrimmed = 0
        # Never all of it: numbering continues from the last row.
        return [(TRIM, (max(self._keep - coming, 1),))]

    def publish(self, events: Sequence[tuple[Event, bytes | None]], last: int | None) -> None:
        """Tell events to listeners.

        :param last: the number of the last one that was stored; ``None`` if none was.
        """
        number = None
        if last is not None:
            self._last = last
            number = last - sum(line is not None for _, line in events)
        for event, line in events:
            if line is None or number is None:
                own = None
            else:
                own = number = number + 1
            self._publish(event, own, {self._translate: line})

    def since(self, number: int) -> Missed:
        """The events after a number, up to the last one published at the time of this call.

        A number that the log has not reached comes from another life of the project: nothing is
        found that could follow it.
        """
        return Missed(number, self._last + self._unstored, self._read)
