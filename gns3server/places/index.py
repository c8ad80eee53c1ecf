"""Where projects are: the server's records, and who may use which directory."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from gns3server.errors import Conflict, FilesFailed, StorageFailed, quoted
from gns3server.files.private import missing_directories
from gns3server.files.reasons import DIRECTORY_REMEDY, remedy
from gns3server.places import paths
from gns3server.places.paths import Aside
from gns3server.running.threads import SeparateThreads
from gns3server.settings.live import LiveSettings
from gns3server.storage.rows import ProjectPlace
from gns3server.storage.stores import ServerStore

PATH_SECONDS = 3.0
"""How long it may take to look at a path; a disk of the network may not answer at all."""

log = logging.getLogger(__name__)


class ProjectIndex:
    """The places of all known projects, open or not, and claims on further directories.

    :param threads: look at the paths that clients name.
    """

    def __init__(
        self, config: LiveSettings, records: ServerStore, threads: SeparateThreads
    ) -> None:
        self._config = config
        self._threads = threads
        self._records = records
        self._index: dict[str, ProjectPlace] = {}
        self._claims: list[tuple[str, Path]] = []
        self._searching = asyncio.Lock()

    async def load(self) -> list[ProjectPlace]:
        """Read what earlier servers have stored, and undo deletions that were not completed."""
        stored = self._records.found.places
        await asyncio.to_thread(_undo_deletions, stored)
        places = await asyncio.to_thread(lambda: [_as_it_is_now(place) for place in stored])
        self._index = {place.id: place for place in places}
        return places

    def __iter__(self) -> Iterator[ProjectPlace]:
        """The stored places of all projects, as they are now."""
        return iter(list(self._index.values()))

    def get(self, project_id: str) -> ProjectPlace | None:
        """The stored place of a project; ``None`` if it is not known."""
        return self._index.get(project_id)

    async def gone(self, places: Iterable[ProjectPlace]) -> set[ProjectPlace]:
        """Those of some places where there is no directory any more."""
        return await asyncio.to_thread(
            lambda: {place for place in places if not os.path.lexists(place.path)}
        )

    async def now(self, project_id: str) -> ProjectPlace | None:
        """Where a known project is now: on record, or elsewhere if that directory is gone.

        Then it is looked for by its id in the directory for projects.

        :raises gns3server.errors.Conflict: several directories hold it.
        """
        place = self._index.get(project_id)
        if place is None or await asyncio.to_thread(os.path.lexists, place.path):
            return place
        found = await self.copied_in(project_id)
        if found is None:
            return place
        log.info("project %s is in %s now, and no longer in %s", place.id, found, place.path)
        return replace(place, path=found, given=str(found))

    async def copied_in(self, project_id: str) -> Path | None:
        """The directory with a project in the directory for projects, if no project is known there.

        :raises gns3server.errors.Conflict: several directories hold it.
        """
        location = self._config.current.projects_path
        async with self._searching:
            taken = self._taken()
            found = await asyncio.to_thread(paths.find_project, location, project_id, taken)
        if len(found) > 1:
            raise Conflict(
                f"Project {project_id} is in several directories: {', '.join(map(str, found))}. "
                f"Rename the right one to {location / project_id}."
            )
        return found[0] if found else None

    def _taken(self) -> set[Path]:
        """Directories whose records must not be opened: it would end SQLite's locks on them."""
        return self.paths | {path for _, path in self._claims}

    async def offer(self) -> None:
        """Say in the log which projects in the directory for projects are on no record."""
        location = self._config.current.projects_path
        async with self._searching:
            taken = self._taken()
            found = await asyncio.to_thread(paths.copied_projects, location, taken)
        for path, project_id in found:
            if project_id not in self._index:
                log.info(
                    "%s holds project %s, which is on no record: to take it in, open it by its id "
                    "(POST /v1/projects/%s/open)",
                    path,
                    project_id,
                    project_id,
                )

    def of(self, project_id: str) -> ProjectPlace:
        """The stored place of an open project."""
        return self._index[project_id]

    @property
    def paths(self) -> set[Path]:
        """The directories of all known projects."""
        return {place.path for place in self._index.values()}

    async def resolve(self, path: str) -> Path:
        """The real path of a directory that a project may have.

        :raises gns3server.errors.Conflict: it is not one; see :func:`paths.real_path`. Or the disk
            that it is on does not answer.
        """
        settings = self._config.current
        reserved = (
            settings.home,
            settings.projects_path,
            settings.images_path,
            settings.state_path,
        )
        # Whoever keeps projects in there has decided so.
        kept = [
            place
            for place in (settings.images_path, settings.state_path)
            if not settings.projects_path.is_relative_to(place)
        ]
        try:
            # Whatever else is beside it is on the same disk.
            return await self._threads.run(
                partial(paths.real_path, path, reserved, kept),
                key=os.path.dirname(path),
                limit=PATH_SECONDS,
            )
        except TimeoutError as error:
            raise Conflict(
                f"The project path {quoted(path)} cannot be used, because the disk that it is on "
                "does not answer: choose another path, or see whether that disk is in order."
            ) from error

    @asynccontextmanager
    async def claimed(
        self, project_id: str, path: Path, given: str, *, make: bool = True, moved: bool = False
    ) -> AsyncIterator[ProjectPlace]:
        """Keep other projects out of a directory while it is being taken into use.

        :meth:`save` within the context makes the claim last.

        :param given: how the client has written it.
        :param make: the directory is made if it is missing, and removed again if the context
            fails.
        :param moved: the directory on record was moved there as it is.
        :raises gns3server.errors.Conflict: it has, or would have, files of another project.
        :raises gns3server.errors.FilesFailed: it cannot be made.
        """
        others = [place.path for place in self._index.values() if place.id != project_id]
        others += [claimed for owner, claimed in self._claims if owner != project_id]
        known = self._index.get(project_id)
        if known is not None and known.path != path and known.open:
            others.append(known.path)
        paths.check_apart(path, others)
        claim = (project_id, path)
        missing: list[Path] = []
        async with self._searching:
            self._claims.append(claim)
        try:
            if make:
                missing = await asyncio.to_thread(self._missing, path)
            made = make and await asyncio.to_thread(paths.make_project_directory, path)
            recorded = known is not None and (known.path == path or moved) and known.made_directory
            yield ProjectPlace(
                id=project_id,
                path=path,
                given=given,
                open=True,
                made_directory=made or recorded,
            )
        except BaseException:
            await asyncio.to_thread(paths.remove_if_empty, missing)
            raise
        finally:
            self._claims.remove(claim)

    def _missing(self, path: Path) -> list[Path]:
        """The missing directories that are made for this project alone, innermost first. Blocks."""
        shared = Path(os.path.realpath(self._config.current.projects_path))
        missing = missing_directories(path)
        return [place for place in missing if place != shared and place not in shared.parents]

    async def save(self, place: ProjectPlace) -> None:
        """Store a place; what was known under its id is replaced."""
        await self._records.save(place)
        self._index[place.id] = place

    def take_in(self, place: ProjectPlace) -> None:
        """Take in a place that is stored already."""
        self._index[place.id] = place

    @asynccontextmanager
    async def called(self, project_id: str, given: str) -> AsyncIterator[None]:
        """Store how a project's directory is written from now on, unless the context fails."""
        before = self._index[project_id]
        if before.given != given:
            await self.save(replace(before, given=given))
        try:
            yield
        except BaseException:
            if before.given != given:
                await self.save(before)
            raise

    async def close(self, project_id: str) -> None:
        """Store that a project is not open any more."""
        await self.save(replace(self._index[project_id], open=False))

    async def remove(self, project_id: str) -> None:
        """Forget a project."""
        await self._records.remove(project_id)
        del self._index[project_id]

    async def delete(self, place: ProjectPlace, let_go: Callable[[], Awaitable[None]]) -> None:
        """Forget a project and remove what may be removed from its directory.

        :param let_go: awaited when the project is forgotten and its files are out of the way.
        :raises FilesFailed: its files cannot be removed, or not all of them.
        """
        whole = place.made_directory
        try:
            aside = await asyncio.to_thread(paths.set_aside, place.id, place.path, whole)
        except OSError as error:
            raise FilesFailed(
                f"Project {place.id} could not be deleted: {error}. It is still there. "
                f"{remedy(error, place.path, DIRECTORY_REMEDY)} Then delete it again."
            ) from error
        try:
            await self.remove(place.id)
        except BaseException as error:
            await self._stay(place, aside, error)
            raise
        await let_go()
        try:
            await asyncio.to_thread(paths.discard, aside)
        except OSError as error:
            where = place.path if aside is None or aside.inside else aside.place
            raise FilesFailed(
                f"Project {place.id} was deleted, but some of its files could not be removed: "
                f"{error}. They are in {where}: remove them by hand."
            ) from error

    async def _stay(self, place: ProjectPlace, aside: Aside | None, error: BaseException) -> None:
        """Bring back the files of a project that could not be forgotten.

        :raises FilesFailed: they cannot be moved.
        """
        try:
            await asyncio.to_thread(paths.bring_back, aside)
            if isinstance(error, StorageFailed) and not error.certain:
                # A start that does not find the project on record must not take it for a
                # leftover. One that does marks it again.
                await asyncio.to_thread(paths.mark_temporary, place.path, False)
        except OSError as second:
            where = place.path if aside is None else aside.place
            raise FilesFailed(
                f"Project {place.id} could not be deleted: {error} Its files could not be put "
                f"back: {second}. They are in {where} until the server is started again."
            ) from second
        except FilesFailed as second:
            log.warning("project %s could not be deleted: %s", place.id, second)


def _as_it_is_now(place: ProjectPlace) -> ProjectPlace:
    """A place by the name that was given, unless a link in that leads elsewhere by now. Blocks."""
    if os.path.realpath(place.given) == str(place.path):
        return place
    return replace(place, given=str(place.path))


def _undo_deletions(places: list[ProjectPlace]) -> None:
    """Bring back the files of projects that a server was deleting when it was killed."""
    for place in places:
        try:
            if paths.bring_back_interrupted(place.id, place.path, place.made_directory):
                log.warning("project %s was not completely deleted: it is back", place.id)
        except OSError as error:
            log.warning("the files of project %s cannot be brought back: %s", place.id, error)
