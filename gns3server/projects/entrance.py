"""Which projects may be opened: is there room, and is their directory theirs alone?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from gns3server.errors import Conflict, Forbidden
from gns3server.places.index import ProjectIndex
from gns3server.projects.damaged import DamagedProjects
from gns3server.projects.project import Project
from gns3server.settings.live import LiveSettings
from gns3server.storage.file_check import DatabaseError
from gns3server.storage.rows import ProjectPlace


class Entrance:
    """The checks that a project passes before it is opened.

    :param opened: the open projects, always up to date.
    """

    def __init__(
        self,
        config: LiveSettings,
        index: ProjectIndex,
        damaged: DamagedProjects,
        opened: Mapping[str, Project],
    ) -> None:
        self._config = config
        self._index = index
        self._damaged = damaged
        self._opened = opened
        self._coming: set[str] = set()
        self._reserved: set[str] = set()
        self.closed = False
        """The server is stopping, and no project is opened any more."""

    @asynccontextmanager
    async def admit(
        self,
        project_id: str,
        path: str,
        *,
        given: str | None = None,
        chosen: bool,
        make: bool = True,
        moved: bool = False,
    ) -> AsyncIterator[ProjectPlace]:
        """Keep room for a project, and its directory for it alone, while the context lasts.

        :param given: what answers show as the path, if that is not ``path``.
        :param chosen: a client has named the path.
        :param make: the directory is made if it is missing.
        :param moved: the directory on record was moved there as it is.
        :raises Forbidden: a client has named the path, and the server is not local.
        :raises Conflict: there is no room, the path cannot be a project's, or its records cannot be
            used.
        """
        self._check_room()
        self.check_free(project_id)
        if chosen:
            self.check_local()
        self._coming.add(project_id)
        try:
            real, known = await self._index.resolve(path), self._index.get(project_id)
            try:
                async with self._index.claimed(
                    project_id, real, given or path, make=make, moved=moved
                ) as place:
                    yield place
            except DatabaseError as error:
                if known is not None and known.path == real:
                    self._damaged.note(known, error)
                raise Conflict(f"Project {project_id} cannot be opened: {error}") from error
        finally:
            self._coming.remove(project_id)

    @asynccontextmanager
    async def reserve(
        self, project_id: str, path: str, *, chosen: bool
    ) -> AsyncIterator[ProjectPlace]:
        """Keep an id and an empty directory for a new project alone, while the context lasts.

        :param chosen: a client has named the path.
        :raises Forbidden: it has, and the server is not local.
        :raises Conflict: the id is taken, the path cannot be a project's, something is there, or
            the server is stopping.
        """
        self._check_going_on()
        if chosen:
            self.check_local()
        self.check_free(project_id)
        if self._index.get(project_id) is not None or project_id in self._coming:
            raise Conflict(f"Project {project_id} already exists: choose another id.")
        self._reserved.add(project_id)
        try:
            real = await self._index.resolve(path)
            async with self._index.claimed(project_id, real, path) as place:
                if not place.made_directory:
                    raise Conflict(
                        f"{real} is not empty, and cannot be a new project's: choose another path."
                    )
                yield place
        finally:
            self._reserved.remove(project_id)

    def check_free(self, project_id: str) -> None:
        """Refuse an id that is kept for a project that is coming.

        :raises Conflict: it is.
        """
        if project_id in self._reserved:
            raise Conflict(f"Project {project_id} is just being imported: wait until that is done.")

    def _check_going_on(self) -> None:
        if self.closed:
            raise Conflict(
                "The project was not opened, because this server is stopping: start it again first."
            )

    def _check_room(self) -> None:
        self._check_going_on()
        limit = self._config.current.server.max_projects
        if len(self._opened.keys() | self._coming) >= limit:
            raise Conflict(
                f"{limit} projects are open, which is this server's limit: "
                "close some, or raise max_projects in the settings."
            )

    def check_local(self) -> None:
        """Refuse a path chosen by a client.

        :raises Forbidden: the server is not local.
        """
        if not self._config.current.server.local:
            raise Forbidden(
                "Only a local server lets clients choose a project's path: leave the path out, "
                "or start the server with --local."
            )
