"""All projects of the server: create, open, close, delete."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from gns3server.errors import Conflict, LabError, NotFound, quoted
from gns3server.locks import FairLock, KeyedLocks, LockRequest
from gns3server.nodes.holding import check_free, holding
from gns3server.nodes.project_base import ProjectServices
from gns3server.places.index import ProjectIndex
from gns3server.places.purging import purge
from gns3server.places.snapshot_files import COPIED, copy_files
from gns3server.projects.archive import Archive, ArchivedFile, look_into
from gns3server.projects.arriving import (
    Arrivals,
    Arrived,
    StagedProject,
    read_closed,
    snapshots_of_closed,
)
from gns3server.projects.copies import Copying, copying_of
from gns3server.projects.damaged import DamagedProjects
from gns3server.projects.entrance import Entrance
from gns3server.projects.moving import move_project
from gns3server.projects.opening import Loading, load_records, open_project, read_ahead
from gns3server.projects.plain_records import edited
from gns3server.projects.project import ITSELF, Project
from gns3server.projects.snapshot_view import SnapshotView
from gns3server.projects.snapshots import archive_of
from gns3server.running.machine import Machine
from gns3server.running.threads import SeparateThreads
from gns3server.settings.live import LiveSettings
from gns3server.storage.database import DatabaseThread
from gns3server.storage.lab_tables import write_lab
from gns3server.storage.rows import ProjectPlace
from gns3server.storage.stores import PROJECT_FILE, PROJECT_MIGRATIONS, ServerStore

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 4.0
"""How long nodes may take to end while the server stops, whatever limit their types set."""


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """A project that the server knows, open or not.

    :param name: ``None`` if it has none, or is not open.
    """

    id: str
    name: str | None
    path: Path
    status: Literal["open", "closed", "damaged"]


Observe = Callable[[str, Project], Awaitable[None]]


class ProjectManager:
    """The open projects, and the records of all of them.

    :param readers: threads that look at what clients name, and which may never answer.
    :param observe: told what happens to a project: ``opened``, ``updated``, ``committed``,
        ``closing``, ``closed``.
    :param hurry: called when the server stops, to shorten what still takes time.
    """

    def __init__(
        self,
        config: LiveSettings,
        services: ProjectServices,
        thread: DatabaseThread,
        records: ServerStore,
        *,
        readers: SeparateThreads,
        observe: Observe,
        hurry: Callable[[], None],
    ) -> None:
        self.databases = thread
        self.records = records
        self._config = config
        self._shared = services
        self._observe = observe
        self._hurry = hurry
        self._index = ProjectIndex(config, records, readers)
        self._projects: dict[str, Project] = {}
        self.damaged = DamagedProjects()
        self._entrance = Entrance(config, self._index, self.damaged, self._projects)
        self._arrivals = Arrivals(self._index, records, self._entrance, services)
        self._listening = False
        self._opening = FairLock()
        self._ids = KeyedLocks()

    @property
    def location(self) -> Path:
        """The parent directory of projects that are created without a path."""
        return self._config.current.projects_path

    @property
    def machine(self) -> Machine:
        """Where the nodes of all projects run."""
        return self._shared.machine

    @property
    def stopping(self) -> bool:
        """Whether the server is stopping, and no project is opened any more."""
        return self._entrance.closed

    @property
    def projects(self) -> list[Project]:
        """The open projects, in the order in which they were opened."""
        return list(self._projects.values())

    def list_all(self) -> tuple[ProjectEntry, ...]:
        """All projects that are known, including closed and damaged ones."""
        return tuple(self._entry(place) for place in self._index)

    def entry(self, project_id: str) -> ProjectEntry | None:
        """A project that is known, open or not, by id."""
        place = self._index.get(project_id)
        return None if place is None else self._entry(place)

    def _entry(self, place: ProjectPlace) -> ProjectEntry:
        project = self.find(place.id)
        if project is not None:
            return ProjectEntry(project.id, project.name, project.path, "open")
        if place.id in self.damaged:
            return ProjectEntry(place.id, None, place.path, "damaged")
        return ProjectEntry(place.id, None, place.path, "closed")

    def get(self, project_id: str) -> Project:
        """An open project by id.

        :raises Conflict: it is damaged.
        :raises NotFound: no open project has that id.
        """
        project = self._projects.get(project_id)
        if project is not None:
            return project
        self.damaged.check(project_id)
        raise NotFound(f"Project {project_id} is not open on this server: create or open it first.")

    # Opening -----------------------------------------------------------------

    async def open_known(self) -> None:
        """Open the projects that were open when the last server ended; a bad one harms no other."""
        known = [place for place in await self._index.load() if place.open]
        gone = await self._index.gone(known)
        wanted = [await self._where(place) if place in gone else place for place in known]
        await self._arrivals.clear_up()
        # One after the other: of two that name the same port, always the same one gets it.
        for place, loading in read_ahead(self.databases, wanted):
            try:
                await self._open(place, loading)
            except Exception as error:
                self.damaged.note(place, error)
        await purge(self.location, self._index.paths, self.machine)
        await self._index.offer()

    async def _where(self, place: ProjectPlace) -> ProjectPlace:
        try:
            return await self._index.now(place.id) or place
        except Conflict:
            # It is said to be missing where it was.
            return place

    def start_always_on(self) -> None:
        """Start the nodes that are always on; to be called when the server listens."""
        self._listening = True
        for project in self.projects:
            project.members.start_always_on()

    def alone_with(self, project_id: str) -> LockRequest:
        """Queue for an id: nothing else opens or makes the project while the context lasts."""
        return LockRequest(self._opening, inner=self._ids, keys=[project_id])

    def find(self, project_id: str) -> Project | None:
        """An open project by id."""
        return self._projects.get(project_id)

    async def is_known(self, project_id: str, path: str | None = None) -> bool:
        """Whether a project is on record, and in this directory, if one is given.

        A damaged project counts wherever it is: it is never replaced by an empty one.

        :raises Conflict: the path cannot be a project's.
        """
        known = self._index.get(project_id)
        if known is None or path is None or project_id in self.damaged:
            return known is not None
        here = await self._index.now(project_id) or known
        return here.path == await self._index.resolve(path)

    async def create(
        self,
        *,
        name: str | None = None,
        project_id: str | None = None,
        path: str | None = None,
        temporary: bool = False,
    ) -> Project:
        """Make a project.

        :param project_id: an id that no project has; a new one by default.
        :raises Forbidden: a path was given and the server is not local.
        :raises Conflict: the id is taken, the path cannot be a project's, or there are too many.
        :raises FilesFailed: the directory cannot be made.
        """
        check_free("server.projects.create")
        wanted = project_id or str(uuid.uuid4())
        async with self.alone_with(wanted):
            if await self.is_known(wanted):
                raise Conflict(f"Project {wanted} already exists: open it, or choose another id.")
            return await self.make(wanted, name=name, path=path, temporary=temporary)

    async def open(self, project_id: str) -> Project:
        """Open a project that is closed, or that was copied into the directory for projects.

        An open project is left alone.

        :raises NotFound: it is neither on record nor there.
        :raises Conflict: its records are damaged, several directories there hold it, or there are
            too many projects.
        """
        check_free("server.projects.open")
        async with self.alone_with(project_id):
            project = self.find(project_id)
            if project is not None:
                return project
            if self._index.get(project_id) is None:
                copy = await self._index.copied_in(project_id)
                if copy is not None:
                    return await self._open_at(project_id, str(copy))
            return await self.bring_in(project_id)

    @asynccontextmanager
    async def import_staged(
        self, *, project_id: str | None = None, path: str | None = None
    ) -> AsyncIterator[StagedProject]:
        """Import a project: fill the directory that the context gives, then commit it.

        Without that, or if the context raises, or the server is killed, nothing is left of it.

        :param project_id: an id that no project has; a new one by default.
        :param path: a directory that is missing or empty.
        :raises Forbidden: a path was given and the server is not local.
        :raises Conflict: the id is taken, the path cannot be a new project's, or something is
            there.
        :raises FilesFailed: the directory cannot be made.
        """
        check_free("server.projects.import_staged")
        wanted = project_id or str(uuid.uuid4())
        chosen, default = path is not None, str(self.location / wanted)
        async with self._arrivals.stage(wanted, path or default, chosen=chosen) as staged:
            yield staged

    async def duplicate(
        self,
        project_id: str,
        *,
        name: str | None = None,
        path: str | None = None,
        edit: Callable[[dict[str, Any]], None] | None = None,
    ) -> Arrived:
        """Make a copy of a project, open or closed, with ids, consoles and ports of its own.

        The copy is closed. Snapshots and events are not copied. Nodes may run, as for a snapshot.

        :param name: of the copy; by default the same.
        :param path: a directory that is missing or empty.
        :param edit: is given the ``id``, ``type``, ``name``, ``properties`` and ``values`` of each
            node, as in :attr:`Archive.records <gns3server.plugin.Archive.records>`. What it changes
            of properties and values is the copy's.
        :raises NotFound: there is no such project.
        :raises Forbidden: a path was given and the server is not local.
        :raises Conflict: the project is damaged or about to close, a node must be stopped first,
            no port is left, or the path cannot be a new project's.
        :raises StorageFailed: it could not be written; there is no copy.
        """
        check_free("server.projects.duplicate")
        return await asyncio.shield(self._shared.own(self._duplicate(project_id, name, path, edit)))

    async def _duplicate(
        self,
        project_id: str,
        name: str | None,
        path: str | None,
        edit: Callable[[dict[str, Any]], None] | None,
    ) -> Arrived:
        async with self.import_staged(path=path) as staged:
            project = self.find(project_id)
            if project is not None:
                async with project.enter(exclusive=True):
                    project.check_open()
                    project.snapshots.check_copyable()
                    whole = self._index.of(project_id).made_directory
                    tables = await project.records.tables()
                    await self._copy(project.path, staged, whole, copying_of(project))
            else:
                async with self.alone_with(project_id):
                    place = await self._closed_place(project_id)
                    tables = await asyncio.to_thread(read_closed, place.path)
                    whole = place.made_directory
                    await self._copy(place.path, staged, whole, self._arrivals.copying)
            return await staged.take(tables if edit is None else edited(tables, edit), name)

    @asynccontextmanager
    async def archive(
        self, project_id: str, snapshot_id: str | None = None
    ) -> AsyncIterator[Archive]:
        """A project, open or closed, as it is now or as a snapshot has kept it, to be read in the
        context.

        What is read does not change, whatever happens to the project meanwhile: it is a copy, which
        is removed with the context. Nodes may run, as for a snapshot. A snapshot is read where it
        is: if it is deleted meanwhile, reading fails.

        :raises NotFound: there is no such project or snapshot.
        :raises Conflict: the project is damaged or about to close, a node must be stopped first, or
            the project is read by as many as may read it at a time.
        :raises StorageFailed: it could not be copied.
        """
        check_free("server.projects.archive")
        project = self.find(project_id)
        if project is not None:
            async with project.snapshots.archive(snapshot_id) as archive:
                yield archive
            return
        if snapshot_id is not None:
            yield await self._snapshot_of_closed(project_id, snapshot_id)
            return
        # Staged and never committed: so not even a server that is killed leaves anything of it.
        async with self.import_staged() as staged:
            filling = self._shared.own(self._fill(project_id, staged.directory))
            try:
                records, files = await asyncio.shield(filling)
            finally:
                # Whoever reads may hang up; what is being copied cannot be removed meanwhile.
                await asyncio.wait({filling})
            yield Archive(staged.directory, records, files, (), self._shared.copiers)

    async def _snapshot_of_closed(self, project_id: str, snapshot_id: str) -> Archive:
        async with self.alone_with(project_id):
            place = await self._closed_place(project_id)
            rows = await asyncio.to_thread(snapshots_of_closed, place.path)
            for row in rows:
                if row.id == snapshot_id and row.state == "whole":
                    return await archive_of(place.path, row, self._shared.copiers)
        raise NotFound(f"Project {project_id} has no snapshot with the id {quoted(snapshot_id)}.")

    async def _fill(
        self, project_id: str, directory: Path
    ) -> tuple[Mapping[str, Any], tuple[ArchivedFile, ...]]:
        """Copy a closed project into a directory as into that of a snapshot, and look into it."""
        copying, what = self._arrivals.copying, "The project was not archived"
        async with self.alone_with(project_id):
            place = await self._closed_place(project_id)
            tables = await asyncio.to_thread(read_closed, place.path)
            take = partial(copy_files, place.path, directory / COPIED, whole=place.made_directory)
            await copying.run(what, take)
        file = directory / PROJECT_FILE
        await copying.run(what, lambda **_: write_lab(file, PROJECT_MIGRATIONS, tables))
        return await copying.run(what, lambda **_: look_into(directory))

    async def snapshots(self, project_id: str) -> tuple[SnapshotView, ...]:
        """The snapshots of a project, open or closed, the oldest first.

        :raises NotFound: there is no such project.
        :raises Conflict: it is damaged.
        """
        check_free("server.projects.snapshots")
        project = self.find(project_id)
        if project is not None:
            return project.snapshots.list()
        async with self.alone_with(project_id):
            project = self.find(project_id)
            if project is not None:
                # It was opened meanwhile.
                return project.snapshots.list()
            place = await self._closed_place(project_id)
            rows = await asyncio.to_thread(snapshots_of_closed, place.path)
        return tuple(SnapshotView.of(project_id, row) for row in rows if row.state == "whole")

    async def _copy(self, path: Path, staged: StagedProject, whole: bool, copying: Copying) -> None:
        files = partial(copy_files, path, staged.directory, whole=whole)
        await copying.run("The project was not duplicated", files)

    async def _closed_place(self, project_id: str) -> ProjectPlace:
        """Where a closed project is. The caller must hold its id."""
        if self.find(project_id) is not None:
            raise Conflict(f"Project {project_id} was opened meanwhile: try again.")
        self.damaged.check(project_id)
        place = await self._index.now(project_id)
        if place is None:
            raise NotFound(f"This server has no project {project_id}: check the id.")
        return place

    async def rename(self, project: Project, name: str) -> None:
        """Give a project another name.

        :raises StorageFailed: it could not be written.
        """
        check_free("server.projects.rename")
        await self.update(project, {"name": name})

    async def make(
        self,
        project_id: str,
        *,
        name: str | None = None,
        path: str | None = None,
        temporary: bool = False,
    ) -> Project:
        """Make a project. The caller must hold its id, which must not be on record.

        Records of it that are already in the directory are taken over: labs get copied.

        :raises Forbidden: a path was given and the server is not local.
        :raises Conflict: the path cannot be a project's, or there are too many projects.
        :raises FilesFailed: the directory cannot be made.
        """
        default, chosen = str(self.location / project_id), path is not None
        async with self._entrance.admit(project_id, path or default, chosen=chosen) as place:
            loading = load_records(self.databases, place)
            return await self._open(place, loading, name=name, temporary=temporary)

    async def _open_at(self, project_id: str, path: str) -> Project:
        async with self._entrance.admit(project_id, path, chosen=False, make=False) as place:
            loading = load_records(self.databases, place, expected=True)
            return await self._open(place, loading)

    async def bring_in(
        self, project_id: str, *, name: str | None = None, path: str | None = None
    ) -> Project:
        """Open a project that is on record. The caller must hold its id.

        :param name: a new name for it.
        :param path: where it is now, if it has moved.
        :raises NotFound: it is not on record.
        :raises Forbidden: a path was given and the server is not local.
        :raises Conflict: its records are damaged, or there are too many projects.
        """
        known = await self._index.now(project_id)
        if known is None:
            raise NotFound(f"This server has no project {project_id}: create it first.")
        chosen = path not in (None, known.given, str(known.path))
        async with self._entrance.admit(
            project_id,
            path or str(known.path),
            given=path or known.given,
            chosen=chosen,
            make=False,
            moved=not chosen,
        ) as place:
            loading = load_records(self.databases, place, expected=True)
            return await self._open(place, loading, name=name)

    async def _open(
        self,
        place: ProjectPlace,
        loading: Loading,
        *,
        name: str | None = None,
        temporary: bool = False,
    ) -> Project:
        project = await open_project(
            self._shared,
            self._index,
            place,
            loading=loading,
            name=name,
            temporary=temporary,
        )
        self.damaged.forget(place.id)
        # Whoever closes or deletes it waits until the plugins have been told that it is open.
        async with project.enter():
            self._projects[place.id] = project
            project.members.catch_up()
            _ = self._shared.own(project.wires.catch_up())
            if self._listening:
                project.members.start_always_on()
            with holding(project.id):
                await self._observe("opened", project)
        return project

    # Changing ----------------------------------------------------------------

    async def update(
        self, project: Project, values: Mapping[str, Any], entry: LockRequest | None = None
    ) -> None:
        """Change name, path and temporary: all that is given, or nothing (D-08).

        :param entry: an exclusive place in the project, if one was taken already.
        :raises Forbidden: another path was given and the server is not local.
        :raises Conflict: the path cannot be a project's.
        :raises FilesFailed: the files cannot be copied to the new path.
        """
        path = values.get("path")
        if path not in (None, project.given, str(project.path)):
            self._entrance.check_local()
        entry = entry or project.enter(exclusive=True)
        # Exclusive if there is a path: whether it differs is known only after earlier moves.
        if path is None:
            entry.narrow(ITSELF)
        async with entry:
            project.check_open()
            name = project.name if values.get("name") is None else values["name"]
            temporary = values.get("temporary", project.temporary)
            real, given = project.path, path or project.given
            if given not in (project.given, str(real)):
                real = await self._index.resolve(given)
            if real != project.path:
                async with self._index.claimed(project.id, real, given) as place:
                    await move_project(
                        self.databases,
                        self._index,
                        project,
                        place,
                        name=name,
                        temporary=temporary,
                    )
            else:
                async with self._index.called(project.id, given):
                    if (name, temporary) != (project.name, project.temporary):
                        await project.save(name, temporary)
                project.be_in(real, given)
            with holding(project.id):
                await self._observe("updated", project)

    async def commit(self, project: Project) -> None:
        """Remove the directories of deleted nodes (contract 4.3).

        :raises NotFound: the project was closed meanwhile.
        :raises FilesFailed: one could not be removed.
        """
        for node_type, node_id in project.members.removed:
            async with project.enter(node_id):
                project.check_open()
                await project.members.discard(node_type, node_id)
        async with project.enter():
            project.check_open()
            with holding(project.id):
                await self._observe("committed", project)

    # Closing -----------------------------------------------------------------

    def is_listened_to(self, project: Project) -> bool:
        """Whether a close is skipped: several clients listen to the project (PRJ-14, D-12)."""
        return self._shared.bus.listeners(project.id) > 1

    async def close(self, project: Project, entry: LockRequest | None = None) -> None:
        """Close a project: stop its nodes, keep its files unless it is temporary.

        :param entry: an exclusive place in the project, if one was taken already.
        :raises NotFound: another request closed it first.
        """
        check_free("server.projects.close")
        async with self._leaving(project, entry):
            await self._end(project, keep_files=not project.temporary, open_again=False)

    async def delete(self, project: Project, entry: LockRequest | None = None) -> None:
        """Close a project and remove its files.

        :param entry: an exclusive place in the project, if one was taken already.
        :raises NotFound: another request closed it first.
        :raises FilesFailed: the files cannot be removed.
        """
        check_free("server.projects.delete")
        async with self._leaving(project, entry):
            await self._end(project, keep_files=False, open_again=False)

    async def delete_damaged(self, project_id: str) -> None:
        """Delete a project that is not open; see :meth:`DamagedProjects.delete`."""
        async with self.alone_with(project_id):
            await self.damaged.delete(project_id, self._index, self.machine)

    async def shutdown(self, *, open_again: bool, keep_nodes: bool | None = None) -> None:
        """Stop all nodes and release all projects; temporary ones are deleted.

        :param open_again: the next start opens the permanent ones again.
        :param keep_nodes: with ``open_again``, nothing is stopped or deleted: the next start finds
            it all again. By default, the setting of that name says it.
        """
        keep = self._config.current.server.keep_nodes if keep_nodes is None else keep_nodes
        self._entrance.closed = True
        self._hurry()
        asyncio.get_running_loop().call_later(
            PATIENCE_SECONDS, lambda: self._shared.own(self.machine.hurry())
        )
        async with LockRequest(self._opening, exclusive=True):
            await asyncio.gather(
                *(
                    self._shut_down(project, open_again=open_again, keep=open_again and keep)
                    for project in self.projects
                )
            )

    async def _shut_down(self, project: Project, *, open_again: bool, keep: bool) -> None:
        try:
            async with self._leaving(project):
                if keep:
                    await self._leave_running(project)
                else:
                    keep_files = not project.temporary
                    await self._end(project, keep_files=keep_files, open_again=open_again)
        except NotFound:
            pass
        except LabError as error:
            log.warning("project %s was not shut down properly: %s", project.id, error)
        except Exception:
            log.exception("project %s was not shut down properly", project.id)

    @asynccontextmanager
    async def _leaving(
        self, project: Project, entry: LockRequest | None = None
    ) -> AsyncIterator[None]:
        """Hold a project alone that is about to be closed; its nodes' waits end at once."""
        entry = entry or project.enter(exclusive=True)
        project.leavers += 1
        project.closing.set()
        try:
            async with entry:
                if project.closed:
                    raise project.gone()
                yield
        finally:
            project.leavers -= 1
            # It goes on only if no other request is about to close it.
            if not (project.closed or project.leavers or self.stopping):
                project.closing.clear()

    async def _leave_running(self, project: Project) -> None:
        await self._tell_alone("closing", project)
        await self._let_go(project)
        await self._tell_alone("closed", project)

    async def _end(self, project: Project, *, keep_files: bool, open_again: bool) -> None:
        await self._tell_alone("closing", project)
        await project.stop()
        place = self._index.of(project.id)
        try:
            if keep_files:
                if not open_again:
                    await self._index.close(project.id)
                await self._let_go(project)
            else:
                await self._index.delete(place, lambda: self._let_go(project))
        finally:
            # A project may be gone although some of its files are not.
            if project.closed:
                await self._tell_alone("closed", project)

    async def _tell_alone(self, event: str, project: Project) -> None:
        with holding(project.id, whole=True):
            await self._observe(event, project)

    async def _let_go(self, project: Project) -> None:
        await project.shut()
        # Not earlier: opening it again must not meet a file that is still being closed.
        del self._projects[project.id]
