"""The snapshots of a project: made, restored and deleted, each as a whole."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gns3server.errors import Conflict, FilesFailed, InvalidRequest, LabError, NotFound, quoted
from gns3server.files.reasons import DIRECTORY_REMEDY, remedy
from gns3server.locks import LockRequest
from gns3server.nodes.holding import check_free
from gns3server.nodes.limits import core_code
from gns3server.nodes.project_base import ProjectBase
from gns3server.nodes.states import NodeState
from gns3server.places import paths, snapshot_files
from gns3server.projects.archive import Archive, look_into
from gns3server.projects.copies import copying_of
from gns3server.projects.nodes import ProjectNodes
from gns3server.projects.restoring import Restoration
from gns3server.projects.snapshot_view import SnapshotView
from gns3server.running.threads import SeparateThreads
from gns3server.storage.lab_tables import write_lab
from gns3server.storage.snapshot_rows import SnapshotRow
from gns3server.storage.stores import PROJECT_FILE, PROJECT_MIGRATIONS

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_SNAPSHOTS = 100
"""How many snapshots a project may have."""

MOST_ARCHIVES = 4
"""How many archives of a project may be read at the same time: each takes the room of a copy."""

NAME_LENGTH = 200
"""How many characters the name of a snapshot may have."""


class Snapshots:
    """The snapshots of a project, by id.

    Reading waits for nobody. Everything else waits until nobody else works on the project, keeps
    others waiting, and is on disk when it returns. It may be called from anywhere except where a
    project or node is held; it ends, and is undone, when the project is about to close.

    :param members: the project's nodes.
    :param restoration: brings the project back to one.
    :param owns_directory: tells whether the project's directory is its own.
    """

    def __init__(
        self,
        project: ProjectBase,
        members: ProjectNodes,
        restoration: Restoration,
        owns_directory: Callable[[], bool],
    ) -> None:
        self._project = project
        self._members = members
        self._restoration = restoration
        self._owns_directory = owns_directory
        self._rows: dict[str, SnapshotRow] = {}
        self._archives = 0

    # Reading -----------------------------------------------------------------

    def __iter__(self) -> Iterator[SnapshotView]:
        """All snapshots, the oldest first."""
        return iter(self.list())

    def list(self) -> tuple[SnapshotView, ...]:
        """All snapshots, the oldest first."""
        return tuple(map(self._view, self._rows.values()))

    def get(self, snapshot_id: str) -> SnapshotView:
        """A snapshot.

        :raises gns3server.errors.NotFound: there is no such snapshot.
        """
        return self._view(self._find(snapshot_id))

    # Changing ----------------------------------------------------------------

    @core_code
    async def create(self, name: str, *, entry: LockRequest | None = None) -> SnapshotView:
        """Keep the project as it is now: nodes, wires, places, plugins' values and files.

        Nodes may run, but for types that say otherwise (``NodeType.copied_while_running``): their
        files are copied as they are at that moment.

        :param name: up to 200 characters that no other snapshot has.
        :param entry: an exclusive place in the project, if one was taken already.
        :raises gns3server.errors.InvalidRequest: the name is unfit.
        :raises gns3server.errors.Conflict: the name is taken, a node must be stopped first, there
            are 100 snapshots, or the project is about to close.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """
        check_name(name)
        return await self._alone("create", entry, partial(self._create, name))

    @core_code
    async def restore(self, snapshot_id: str, *, entry: LockRequest | None = None) -> SnapshotView:
        """Bring the project back to a snapshot: nodes, wires, places, plugins' values and files.

        What runs is stopped first. Ids, consoles and ports are as they were; a console that
        another node has by now is replaced. Name, event log and snapshots of the project stay.
        Listeners are told of each node, and then that the snapshot was restored.

        :param entry: an exclusive place in the project, if one was taken already.
        :raises gns3server.errors.NotFound: there is no such snapshot.
        :raises gns3server.errors.Conflict: its files cannot be used, a node cannot be stopped or is
            in another project by now, or the project is about to close.
        :raises gns3server.errors.StorageFailed: it could not be written; only nodes may have been
            stopped.
        """
        return await self._alone("restore", entry, partial(self._restore, snapshot_id))

    @core_code
    async def delete(self, snapshot_id: str, *, entry: LockRequest | None = None) -> None:
        """Forget a snapshot and remove its files.

        :param entry: an exclusive place in the project, if one was taken already.
        :raises gns3server.errors.NotFound: there is no such snapshot.
        :raises gns3server.errors.StorageFailed: that could not be written.
        """
        await self._alone("delete", entry, partial(self._delete, snapshot_id))

    @asynccontextmanager
    async def archive(self, snapshot_id: str | None = None) -> AsyncIterator[Archive]:
        """The project as it is now, or as a snapshot has kept it, to be read in the context.

        What is read does not change, whatever happens to the project meanwhile: it is a copy, made
        as for a snapshot, which is removed with the context.

        :raises gns3server.errors.NotFound: there is no such snapshot.
        :raises gns3server.errors.Conflict: as for :meth:`create`; or the snapshot's files cannot be
            used, or the project is read by as many as may read it at a time.
        :raises gns3server.errors.StorageFailed: it could not be copied.
        """
        if snapshot_id is not None:
            yield await self._look_into(self._find(snapshot_id))
            return
        if self._archives >= MOST_ARCHIVES:
            raise Conflict(
                f"Project {self._project.id} is being archived {self._archives} times, which is "
                "the limit: wait until one of these ends."
            )
        self._archives += 1
        try:
            row = await self._filled()
            try:
                yield await self._look_into(row)
            finally:
                # Shielded: whoever reads may hang up.
                await asyncio.shield(self._project.own(self._remove_anyway(row)))
        finally:
            self._archives -= 1

    async def _filled(self) -> SnapshotRow:
        """Copy the project, to be read and removed."""
        filling = self._project.own(self._alone("archive", None, partial(self._fill, "")))
        try:
            return await asyncio.shield(filling)
        except asyncio.CancelledError:
            # Whoever wants to read has hung up, and what is being copied cannot be stopped.
            _ = self._project.own(self._remove_filled(filling))
            raise

    async def _remove_filled(self, filling: asyncio.Task[SnapshotRow]) -> None:
        with suppress(LabError):
            await self._remove_anyway(await filling)

    async def _look_into(self, row: SnapshotRow) -> Archive:
        return await archive_of(self._project.path, row, self._project.copiers)

    async def take_up(self, rows: Sequence[SnapshotRow]) -> None:
        """Take in what is on record, and remove what was being made or removed.

        To be called when the project is opened.
        """
        for row in rows:
            if row.state == "whole":
                self._rows[row.id] = row
                continue
            await self._remove_anyway(row)

    # Each with the project held alone ----------------------------------------

    async def _alone(
        self, what: str, entry: LockRequest | None, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        check_free(f"project.snapshots.{what}")
        entry = entry or self._project.enter(exclusive=True)

        async def wait_and_work() -> T:
            async with entry:
                if self._project.closing.is_set():
                    raise NotFound(
                        f"Project {self._project.id} was closed or deleted while this request "
                        "waited: open it again if you need it."
                    )
                return await work()

        # Copies cannot be cancelled: they end by themselves when the project is about to close.
        result: T = await asyncio.shield(self._project.own(wait_and_work()))
        return result

    async def _create(self, name: str) -> SnapshotView:
        check_room(self._project.id, name, [row.name for row in self._rows.values()])
        row = await self._fill(name)
        async with self._undone_unless_whole(row), self._project.change() as change:
            whole = replace(row, state="whole")
            change.save_snapshot(whole)
            change.then(partial(self._rows.__setitem__, row.id, whole))
            change.tell(self._view(whole).event("created"))
        return self._view(whole)

    async def _fill(self, name: str) -> SnapshotRow:
        """Copy the project into the directory of a snapshot that is not whole yet."""
        project = self._project
        row = SnapshotRow(
            id=str(uuid.uuid4()),
            name=name,
            created=time.time(),
            state="making",
            running=self.check_copyable(),
        )
        async with project.change() as change:
            change.save_snapshot(row)
        async with self._undone_unless_whole(row):
            tables = await project.records.tables()
            take = partial(snapshot_files.take, whole=self._owns_directory())
            copying, what = copying_of(project), "The snapshot was not made"
            size = await copying.run(what, partial(take, project.path, row.id))
            file = snapshot_files.place_of(project.path, row.id) / PROJECT_FILE
            await copying.run(what, lambda **_: write_lab(file, PROJECT_MIGRATIONS, tables))
        return replace(row, size=size)

    @asynccontextmanager
    async def _undone_unless_whole(self, row: SnapshotRow) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await self._remove_anyway(row)
            raise

    async def _remove_anyway(self, row: SnapshotRow) -> None:
        try:
            await self._remove(row)
        except LabError as error:
            log.warning("project %s: %s", self._project.id, error)

    def check_copyable(self) -> tuple[str, ...]:
        """Check that files can be copied now; returns the ids of the nodes that run.

        :raises Conflict: the files of one cannot be copied meanwhile.
        """
        running = [node for node in self._members if node.state is not NodeState.STOPPED]
        unfit = [node.title for node in running if not node.type.copied_while_running]
        if unfit:
            raise Conflict(
                f"The files of {', '.join(unfit)} cannot be copied while it runs: stop it first."
            )
        return tuple(node.id for node in running)

    async def _restore(self, snapshot_id: str) -> SnapshotView:
        row = self._find(snapshot_id)
        await self._restoration.run(row, whole=self._owns_directory())
        return self._view(row)

    async def _delete(self, snapshot_id: str) -> None:
        row = replace(self._find(snapshot_id), state="removing")
        async with self._project.change() as change:
            change.save_snapshot(row)
            change.then(partial(self._rows.pop, row.id))
            change.tell(self._view(row).event("deleted"))
        await self._remove(row)

    async def _remove(self, row: SnapshotRow) -> None:
        """Remove the files of a snapshot that is none any more, then forget it.

        :raises FilesFailed: they cannot be removed; it is tried again at the next opening.
        """
        place = snapshot_files.place_of(self._project.path, row.id)
        try:
            await asyncio.to_thread(paths.remove_beneath, self._project.path, place)
        except OSError as error:
            raise FilesFailed(
                f"The files of the snapshot {row.name!r} could not be removed: {error}. "
                f"{remedy(error, place, DIRECTORY_REMEDY)} The next opening of the project tries "
                "again."
            ) from error
        async with self._project.change(fact=True) as change:
            change.remove_snapshot(row.id)

    def _find(self, snapshot_id: str) -> SnapshotRow:
        row = self._rows.get(snapshot_id)
        if row is None:
            raise NotFound(
                f"Project {self._project.id} has no snapshot with the id {quoted(snapshot_id)}: "
                "the list of its snapshots shows what there is."
            )
        return row

    def _view(self, row: SnapshotRow) -> SnapshotView:
        return SnapshotView.of(self._project.id, row)


async def archive_of(project: Path, row: SnapshotRow, threads: SeparateThreads) -> Archive:
    """What a snapshot has kept, to be read.

    :param project: the project's directory.
    :param threads: read the files.
    :raises gns3server.errors.Conflict: its files cannot be used.
    """
    place = snapshot_files.place_of(project, row.id)
    try:
        records, files = await threads.run(partial(look_into, place))
    except OSError as error:
        raise Conflict(
            f"The files of the snapshot {row.name!r} cannot be read: {error}."
        ) from error
    return Archive(place, records, files, row.running, threads)


def check_name(name: str) -> None:
    """Check that a snapshot can have a name.

    :raises gns3server.errors.InvalidRequest: it cannot.
    """
    if not 0 < len(name) <= NAME_LENGTH:
        raise InvalidRequest(
            f"{quoted(name)} cannot be the name of a snapshot: give 1 to {NAME_LENGTH} characters."
        )


def check_room(project_id: str, name: str, taken: Sequence[str]) -> None:
    """Check that a project can have one more snapshot, of this name.

    :param taken: the names of those that it has.
    :raises gns3server.errors.Conflict: it cannot.
    """
    if name in taken:
        raise Conflict(
            f"Project {project_id} has a snapshot {name!r} already: choose another name."
        )
    if len(taken) >= MOST_SNAPSHOTS:
        raise Conflict(
            f"Project {project_id} has {len(taken)} snapshots, which is the limit: delete some."
        )
