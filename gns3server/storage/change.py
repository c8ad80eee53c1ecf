"""The one way to change something: rows, files, memory and events, together or not at all."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from gns3server.errors import Conflict, FilesFailed, StorageFailed, advice
from gns3server.events import Event
from gns3server.files import durable
from gns3server.files.reasons import DIRECTORY_REMEDY, remedy
from gns3server.files.safe_open import directory_beneath
from gns3server.storage.database import Statement
from gns3server.storage.event_log import EventLog
from gns3server.storage.row_changes import MOST_KEYS, NO_ROOM, RowChanges
from gns3server.storage.rows import NodeRow

log = logging.getLogger(__name__)


class ProjectChange(RowChanges, AbstractAsyncContextManager["ProjectChange"]):
    """One change of a project.

    ::

        async with project.change() as change:
            change.save_nio(node_id, (0, 0), row)
            change.undo(partial(pool.release, port, holder))
            change.then(take_in)
            change.tell(event)

    Nothing takes effect before the block ends. Then files are staged, everything is written in
    one commit, the files are put in place, memory is changed, the events are told, and only then
    is the block over. Changes of several tasks share a commit when they come at the same time.

    If it cannot be written, or the block raises, what :meth:`undo` was given is called, and
    nothing has changed: the block then ends with :class:`~gns3server.errors.StorageFailed`, or
    with what was raised. With ``fact``, the change has already happened in reality: memory
    is changed and the events are told even then, without numbers, which leaves a gap in the log.

    :param commit: makes statements durable; see
        :meth:`gns3server.storage.database.DatabaseThread.commit`.
    """

    def __init__(
        self, commit: Callable[..., Any], events: EventLog, *, root: Path, fact: bool
    ) -> None:
        super().__init__()
        self._commit = commit
        self._root = root
        self._log = events
        self._fact = fact
        self._files: list[tuple[NodeRow, Path, Mapping[str, bytes]]] = []
        self._memory: list[Callable[[], object]] = []
        self._undo: list[Callable[[], None]] = []
        self._events: list[tuple[Event, bytes | None]] = []
        self._made = False
        self._failure: BaseException | None = None

    def belongs_to(self, events: EventLog) -> bool:
        """Whether it is a change of the records that have these events."""
        return events is self._log

    # What happens ------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Tell an event once the change is made; several are told in order.

        :raises Exception: it cannot be translated for storage.
        """
        self._events.append((event, self._log.line(event)))

    def then(self, call: Callable[[], object]) -> None:
        """Call a function once the change is on disk, before events are told. It must not fail."""
        self._memory.append(call)

    def undo(self, call: Callable[[], None]) -> None:
        """Call a function if the change is not made; the last one given is called first."""
        self._undo.append(call)

    def save_node(
        self, row: NodeRow, files: Mapping[str, bytes] | None = None, directory: Path | None = None
    ) -> None:
        """Store a node, and put files into its directory.

        :param files: content by plain name. It is staged beside them before the commit, and put
            in place before any event is told; after a crash, the next opening does the rest.
        """
        placed = {} if directory is None else dict(files or {})
        self.save_node_row(row, placed)
        if placed and directory is not None:
            self._files.append((row, directory, placed))

    # The end of the block ------------------------------------------------------------

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self._carry_out()
        finally:
            if not self._made:
                for call in reversed(self._undo):
                    call()
        if self._failure is not None:
            raise self._failure

    async def _carry_out(self) -> None:
        for row, directory, files in self._files:
            await self._stage(row.name, directory, files)
        lines = [line for _, line in self._events if line is not None]
        insertions, skipped = self._log.insertion(lines)
        if not self._statements and not insertions:
            self._take_effect(None)
            return
        try:
            await self._commit(
                *self._statements,
                *insertions,
                placing=self._place if self._files else None,
                told=partial(self._stored, bool(lines)),
            )
        except sqlite3.IntegrityError as error:
            self._log.not_stored(skipped)
            if str(error) != NO_ROOM:
                raise
            raise Conflict(
                f"Nothing was changed: a plugin may keep {MOST_KEYS} values with one owner, and "
                "this one has that many. Delete some, or put several into one."
            ) from error
        except StorageFailed as error:
            self._log.not_stored(skipped)
            if not self._fact:
                raise
            told = ", ".join(f"{event.kind} {event.change}" for event, _ in self._events)
            log.warning("%s: %s", f"{told} is not on record" if told else "not stored", error)
            self._log.not_stored(len(lines))
            self._take_effect(None)
        except BaseException:
            if not self._made:
                self._log.not_stored(skipped)
            raise
        if self._files:
            await self._forget_staged()

    async def _stage(self, name: str, directory: Path, files: Mapping[str, bytes]) -> None:
        def stage() -> None:
            with directory_beneath(self._root, directory, make=True) as place:
                durable.stage(place, files)

        try:
            await asyncio.to_thread(stage)
        except OSError as error:
            raise StorageFailed(
                f"The files of VM {name!r} cannot be written: {error}. Nothing was changed. "
                f"{remedy(error, directory, DIRECTORY_REMEDY)} Then try again."
            ) from error

    def _place(self) -> None:
        try:
            for _, directory, files in self._files:
                with directory_beneath(self._root, directory) as place:
                    durable.replace(place, files)
        except OSError as error:
            raise self._left_undone("are not in place yet", error) from error

    def _left_undone(self, what: str, error: OSError) -> FilesFailed:
        """The error for files that are on record, and not as they should be on the disk."""
        names = ", ".join(repr(row.name) for row, _, _ in self._files)
        return FilesFailed(
            f"The change of VM {names} is on record, but its files {what}: "
            f"{advice(error) or error}. The next opening of the project writes them again."
        )

    async def _forget_staged(self) -> None:
        statements: list[Statement] = []
        for row, directory, _ in self._files:
            try:
                await asyncio.to_thread(durable.sync_directory, directory)
            except OSError as error:
                raise self._left_undone("may not survive a loss of power", error) from error
            statements.append(("DELETE FROM staged_file WHERE node_id = ?", (row.id,)))
        try:
            await self._commit(*statements)
        except StorageFailed as error:
            log.warning("files will be written again at the next opening: %s", error)

    def _stored(self, with_events: bool, row: int) -> None:
        self._take_effect(row if with_events else None)

    def _take_effect(self, last: int | None) -> None:
        self._made = True
        try:
            for call in self._memory:
                call()
        except Exception as error:
            self._failure = error
        self._log.publish(self._events, last)
