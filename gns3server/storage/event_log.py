"""The events of one project: stored with the changes that they tell of, numbered in that order.

A client that was away gives the last number it has seen and gets everything
after it. Where the log has nothing to give any more it says so, and the client
reads the state again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from gns3server.errors import StorageFailed
from gns3server.events import event_line, numbered
from gns3server.nodes.parent import PendingEvent
from gns3server.storage.database import Statement
from gns3server.storage.file_check import DatabaseError

log = logging.getLogger(__name__)

EVENT_TABLE = "CREATE TABLE event (seq INTEGER PRIMARY KEY, line TEXT NOT NULL)"

INSERT = "INSERT INTO event SELECT coalesce(max(seq), 0) + 1 + ?, ? FROM event"
TRIM = "DELETE FROM event WHERE seq <= (SELECT max(seq) FROM event) - ?"
AFTER = "SELECT seq, line FROM event WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"

LINE = re.compile(r'\{"action": ".*\}\n')

BATCH = 50
"""Events that are read at once for a client that catches up."""

TRIM_EVERY = 100
"""Events between two looks at what is too much. Each would cost a page of its own to write."""

Read = Callable[[str, Sequence[Any]], Awaitable[list[Any]]]
Publish = Callable[[bytes, int | None], None]
"""Sends a line to all listeners, with its number unless it has none."""


class Commit(Protocol):
    """Makes a change durable; see :meth:`gns3server.storage.database.DatabaseThread.commit`."""

    async def __call__(
        self,
        *statements: Statement,
        placing: Callable[[], None] | None = None,
        told: Callable[[int], None] | None = None,
    ) -> None:
        """Commit."""


class EventLog:
    """What happened in a project, as far back as the bound allows.

    :param commit: of the project's database, and so is ``read``.
    """

    def __init__(self, commit: Commit, read: Read) -> None:
        self._commit = commit
        self._read = read
        self._publish: Publish = lambda _line, _number: None
        self._keep = 0
        self._last = 0
        self._unstored = 0
        self._untrimmed = TRIM_EVERY

    async def open(self, publish: Publish, keep: int) -> None:
        """Go on where an earlier server ended.

        :param keep: how many events to keep, about: up to :data:`TRIM_EVERY` more stay for a while.
        :raises DatabaseError: the log cannot be read.
        """
        ((last,),) = await self._read("SELECT coalesce(max(seq), 0) FROM event", ())
        self._publish, self._keep, self._last = publish, keep, last

    async def commit(
        self,
        *statements: Statement,
        event: PendingEvent | None = None,
        placing: Callable[[], None] | None = None,
    ) -> None:
        """Make a change durable together with the event that tells of it, then take it into
        memory and publish the event; all in the order of the commits.

        :raises StorageFailed: nothing has changed and nobody was told.
        :raises OSError: ``placing`` has; the change is made and told all the same.
        """
        if event is None:
            await self._commit(*statements, placing=placing)
            return
        line = event_line(event.action, event.event)
        skipped, self._unstored = self._unstored, 0
        insert: Statement = (INSERT, (skipped, line.decode()))
        try:
            await self._commit(
                *statements,
                *self._trimming(),
                insert,
                placing=placing,
                told=partial(self._stored, event, line),
            )
        except Exception:
            self._unstored += skipped
            raise

    async def tell(self, event: PendingEvent, *statements: Statement) -> None:
        """As :meth:`commit`, for what has happened already and is told even on a full disk.

        An event that could not be stored has no number, and leaves a gap in the log.
        """
        try:
            await self.commit(*statements, event=event)
        except StorageFailed as error:
            log.warning("%s is not in the event log: %s", event.action, error)
            self._unstored += 1
            self._make_known(event, event_line(event.action, event.event), None)

    def _trimming(self) -> tuple[Statement, ...]:
        self._untrimmed += 1
        if self._untrimmed < TRIM_EVERY:
            return ()
        self._untrimmed = 0
        # One more is about to be added.
        return ((TRIM, (self._keep - 1,)),)

    def _stored(self, event: PendingEvent, line: bytes, number: int) -> None:
        self._last = number
        self._make_known(event, line, number)

    def _make_known(self, event: PendingEvent, line: bytes, number: int | None) -> None:
        try:
            if event.apply is not None:
                event.apply()
        finally:
            self._publish(line, number)

    def since(self, number: int) -> AsyncIterator[bytes]:
        """The lines after a number, up to the last that is published at the time of this call.

        A line of its own, ``gap``, stands for them if any is missing, or if the log has not got
        that far: it belongs to another life of the project. It names the number that comes next.
        """
        return self._lines(number, self._last + self._unstored)

    async def _lines(self, number: int, last: int) -> AsyncIterator[bytes]:
        while number != last:
            rows = await self._after(number, last)
            for found, line in rows:
                if found != number + 1 or not is_event(line):
                    break
                number = found
                yield numbered(line.encode(), number)
            else:
                if rows:
                    continue
            yield event_line("gap", {"first": last + 1})
            return

    async def _after(self, number: int, last: int) -> list[Any]:
        if number > last:
            return []
        try:
            return await self._read(AFTER, (number, last, BATCH))
        except (DatabaseError, StorageFailed) as error:
            log.warning("a client cannot be told what it has missed: %s", error)
            return []


def is_event(line: Any) -> bool:
    """Whether a stored line is one that can be sent: people hand projects on and edit them."""
    return isinstance(line, str) and LINE.fullmatch(line) is not None
