"""All projects of the server: create, open, close, delete."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gns3server.errors import Conflict, FilesFailed, Forbidden, NotFound
from gns3server.locks import Entry, FairLock, KeyedLocks
from gns3server.nodes.home import Machine
from gns3server.projects import paths
from gns3server.projects.database import DatabaseError, DatabaseThread
from gns3server.projects.node_set import Surroundings
from gns3server.projects.project import Project
from gns3server.projects.records import ProjectPlace, ServerRecords
from gns3server.projects.restore import load_records, restore
from gns3server.settings import Settings

log = logging.getLogger(__name__)

Observer = Callable[[str, Project], Awaitable[None]]
"""Told ``"opened"``, ``"closing"``, ``"closed"`` or ``"committed"`` and the project."""


class ProjectManager:
    """The open projects, and the records of all of them."""

    def __init__(
        self,
        settings: Settings,
        surroundings: Surroundings,
        thread: DatabaseThread,
        records: ServerRecords,
        observer: Observer,
    ) -> None:
        self._settings = settings
        self._shared = surroundings
        self._thread = thread
        self._records = records
        self._observer = observer
        self._places: dict[str, ProjectPlace] = {}
        self._projects: dict[str, Project] = {}
        self._damaged: dict[str, str] = {}
        self._coming: set[str] = set()
        self._stopping = False
        self._opening = FairLock()
        self._ids = KeyedLocks()

    @property
    def location(self) -> Path:
        """The parent directory of projects that are created without a path."""
        return self._settings.projects_path

    @property
    def machine(self) -> Machine:
        """Where the nodes of all projects run."""
        return self._shared.machine

    @property
    def projects(self) -> list[Project]:
        """The open projects, in the order in which they were opened."""
        return list(self._projects.values())

    def get(self, project_id: str) -> Project:
        """An open project by id.

        :raises Conflict: it is damaged.
        :raises NotFound: no open project has that id.
        """
        project = self._projects.get(project_id)
        if project is not None:
            return project
        if project_id in self._damaged:
            raise Conflict(f"Project {project_id} is damaged: {self._damaged[project_id]}.")
        raise NotFound(f"Project {project_id} is not open on this server: create or open it first.")

    # Opening -----------------------------------------------------------------

    async def open_known(self) -> None:
        """Open again what was open when the last server ended; one bad project harms no other."""
        for place in await self._records.places():
            self._places[place.id] = place
        for place in [place for place in self._places.values() if place.open]:
            try:
                await self._open(place)
            except Exception as error:
                self._damaged[place.id] = str(error)
                log.exception("project %s in %s is left closed", place.id, place.path)

    async def create(self, values: Mapping[str, Any]) -> Project:
        """Create a project, open one that is closed, or return one that is open already.

        :raises Forbidden: a path was given and the server is not local.
        :raises Conflict: the path cannot be a project's, or its records are damaged.
        :raises FilesFailed: the directory cannot be made.
        """
        project_id = values.get("id") or str(uuid.uuid4())
        async with Entry(self._opening, inner=self._ids, key=project_id):
            if project_id in self._projects:
                return self._projects[project_id]
            if self._stopping:
                raise Conflict("This server is stopping: open the project on the next one.")
            limit = self._settings.server.max_projects
            if len(self._projects.keys() | self._coming) >= limit:
                raise Conflict(
                    f"{limit} projects are open, which is this server's limit: "
                    "close some, or raise max_projects in the settings."
                )
            self._coming.add(project_id)
            try:
                async with self._place(project_id, values) as place:
                    return await self._open(place, values)
            except DatabaseError as error:
                raise Conflict(f"Project {project_id} cannot be opened: {error}.") from error
            finally:
                self._coming.remove(project_id)

    @asynccontextmanager
    async def _place(
        self, project_id: str, values: Mapping[str, Any]
    ) -> AsyncIterator[ProjectPlace]:
        """Find, check and claim the directory; give the claim back if opening fails."""
        wanted, known = values.get("path"), self._places.get(project_id)
        if wanted is not None and not self._settings.server.local:
            raise Forbidden(
                "Only a local server lets clients choose a project's path: leave the path out, "
                "or start the server with --local."
            )
        if wanted is None:
            wanted = str(known.path if known else self.location / project_id)
        settings = self._settings
        reserved = (settings.home, self.location, settings.images_path, settings.state_path)
        path = await asyncio.to_thread(paths.real_path, wanted, reserved)
        paths.check_apart(
            path, (place.path for place in self._places.values() if place.id != project_id)
        )
        claim = ProjectPlace(
            id=project_id,
            path=path,
            open=True,
            temporary=bool(values.get("temporary")),
            made_directory=known.made_directory if known and known.path == path else False,
        )
        self._places[project_id] = claim
        try:
            if await asyncio.to_thread(paths.make_project_directory, path):
                claim = replace(claim, made_directory=True)
            yield claim
        except BaseException:
            if project_id not in self._projects:
                self._places.pop(project_id, None)
                if known is not None:
                    self._places[project_id] = known
            raise

    async def _open(self, place: ProjectPlace, values: Mapping[str, Any] | None = None) -> Project:
        """Open the project at ``place``; ``values`` are a create request's."""
        records, fresh = await load_records(self._thread, place)
        project = None
        try:
            if fresh:
                await records.save_project(place.id, (values or {}).get("name"), place.temporary)
            stored = await records.stored()
            project = Project(
                self._shared,
                records,
                project_id=place.id,
                path=place.path,
                name=stored.name,
                temporary=stored.temporary,
            )
            if values and values.get("name") not in (None, stored.name):
                await project.rename(values["name"])
            if project.temporary:
                await asyncio.to_thread(paths.mark_temporary, place.path, True)
            await restore(project, stored, self._shared.registry)
            if values is not None:
                await self._save_place(replace(place, open=True, temporary=project.temporary))
        except BaseException:
            await (records.close() if project is None else project.shut())
            if fresh:
                await asyncio.to_thread(paths.remove_what_was_made, place.path)
            raise
        self._damaged.pop(place.id, None)
        self._projects[place.id] = project
        await self._observer("opened", project)
        return project

    async def _save_place(self, place: ProjectPlace) -> None:
        await self._records.save(place)
        self._places[place.id] = place

    async def commit(self, project: Project) -> None:
        """Remove the directories of a project's deleted nodes.

        :raises FilesFailed: one could not be removed.
        """
        await project.nodes.commit()
        await self._observer("committed", project)

    # Closing -----------------------------------------------------------------

    def is_listened_to(self, project: Project) -> bool:
        """Whether a close is skipped: several clients listen to the project (PRJ-14, D-12)."""
        return self._shared.hub.listeners(project.id) > 1

    async def close(self, project: Project) -> None:
        """Close a project: stop its nodes, keep its files unless it is temporary.

        :raises NotFound: somebody else closed it first.
        """
        async with self._leaving(project):
            await self._end(project, keep_files=not project.temporary, open_again=False)

    async def delete(self, project: Project) -> None:
        """Close a project and remove its files.

        :raises NotFound: somebody else closed it first.
        :raises FilesFailed: the files cannot be removed.
        """
        async with self._leaving(project):
            await self._end(project, keep_files=False, open_again=False)

    async def shutdown(self) -> None:
        """Stop all nodes and let go of all projects; the next start opens permanent ones again."""
        self._stopping = True
        async with Entry(self._opening, exclusive=True):
            await asyncio.gather(*(self._shut_down(project) for project in self.projects))

    async def _shut_down(self, project: Project) -> None:
        try:
            async with self._leaving(project):
                await self._end(project, keep_files=not project.temporary, open_again=True)
        except NotFound:
            pass
        except Exception:
            log.exception("project %s was not shut down in order", project.id)

    @asynccontextmanager
    async def _leaving(self, project: Project) -> AsyncIterator[None]:
        """Be alone with a project that is about to go; its nodes' waits end at once."""
        project.closing.set()
        async with project.enter(exclusive=True):
            if project.closed:
                raise project.gone()
            try:
                yield
            finally:
                if not project.closed:
                    project.closing.clear()

    async def _end(self, project: Project, *, keep_files: bool, open_again: bool) -> None:
        await self._observer("closing", project)
        await project.nodes.stop()
        place = self._places[project.id]
        try:
            if keep_files:
                if not open_again:
                    await project.records.forget_ports_and_removed()
                    await self._save_place(replace(place, open=False))
                await self._let_go(project)
            else:
                await self._remove(project, place)
        finally:
            # A project may be gone although some of its files are not.
            if project.closed:
                await self._observer("closed", project)

    async def _let_go(self, project: Project) -> None:
        del self._projects[project.id]
        await project.shut()

    async def _remove(self, project: Project, place: ProjectPlace) -> None:
        whole = place.made_directory
        try:
            aside = await asyncio.to_thread(paths.set_aside, place.path, whole)
        except OSError as error:
            raise FilesFailed(
                f"Project {project.id} could not be deleted: {error}. It is still open: make "
                f"{place.path} and its parent writable, then delete it again."
            ) from error
        try:
            await self._records.remove(project.id)
        except BaseException:
            await asyncio.to_thread(paths.bring_back, place.path, aside, whole)
            raise
        del self._places[project.id]
        await self._let_go(project)
        try:
            await asyncio.to_thread(paths.discard, aside)
        except OSError as error:
            raise FilesFailed(
                f"Project {project.id} was deleted, but some of its files could not be removed: "
                f"{error}. They are in {aside}: remove them by hand."
            ) from error
