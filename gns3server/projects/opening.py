"""Opening the records in a project's directory, and moving them to another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gns3server.errors import FilesFailed
from gns3server.places import paths
from gns3server.places.index import ProjectIndex
from gns3server.places.relocation import Relocation
from gns3server.projects.nodes import ProjectServices
from gns3server.projects.project import Project
from gns3server.projects.restore import load_records, restore, stored_owner
from gns3server.storage.database import DatabaseThread
from gns3server.storage.rows import ProjectPlace
from gns3server.storage.stores import ProjectStore

log = logging.getLogger(__name__)


async def open_project(
    thread: DatabaseThread,
    shared: ProjectServices,
    places: ProjectIndex,
    place: ProjectPlace,
    values: Mapping[str, Any] | None,
    *,
    expected: bool,
) -> Project:
    """Open the project at ``place`` as it is stored, making it when it is new.

    :param values: a create request's; ``None`` when an earlier server had it open.
    :param expected: its records must be there already.
    :raises gns3server.storage.file_check.DatabaseError: they cannot be used.
    """
    known = places.get(place.id)
    records, fresh = await load_records(thread, place, expected=expected)
    project = None
    try:
        wanted = values or {}
        if fresh:
            await records.save_project(place.id, wanted.get("name"), bool(wanted.get("temporary")))
        elif known is None or not known.open:
            await records.forget_ports_and_removed()
        stored = await records.stored()
        project = Project(
            shared,
            records,
            project_id=place.id,
            path=place.path,
            name=stored.name,
            temporary=stored.temporary,
        )
        await project.open_events()
        await asyncio.to_thread(paths.mark_temporary, place.path, project.temporary)
        await restore(project, stored, shared.registry)
        if wanted.get("name") not in (None, stored.name):
            await project.save(wanted["name"], project.temporary)
        if values is not None:
            await places.save(place)
    except BaseException:
        await (records.close() if project is None else project.shut())
        if fresh:
            await asyncio.to_thread(paths.remove_what_was_made, place.path)
        raise
    return project


async def move_project(
    thread: DatabaseThread,
    places: ProjectIndex,
    project: Project,
    new: ProjectPlace,
    *,
    name: str | None,
    temporary: bool,
) -> None:
    """Copy a project to another directory and use it there; nodes that run go on.

    All is copied and durable before the server's records are switched, and
    the old directory is only removed, if the project was temporary, after that.

    :raises Conflict: something in that directory is in the way.
    :raises FilesFailed: the files cannot be copied; the project is where it was.
    """
    old, was_temporary = places.of(project.id), project.temporary
    relocation = Relocation(new.path)
    try:
        records = await _arrive(thread, project, new.path, relocation, temporary)
        try:
            await records.save_project(project.id, name, temporary)
            await places.save(new)
        except BaseException:
            await records.close()
            raise
    except BaseException as error:
        await asyncio.to_thread(relocation.undo)
        if isinstance(error, OSError):
            raise FilesFailed(
                f"Project {project.id} could not be copied to {new.path}: {error}. "
                f"It is still in {old.path}."
            ) from error
        raise
    project.path, project.name, project.temporary = new.path, name, temporary
    await project.records.switch_to(records)
    await asyncio.to_thread(_clear_up, relocation, old if was_temporary else None)


async def _arrive(
    thread: DatabaseThread, project: Project, path: Path, relocation: Relocation, temporary: bool
) -> ProjectStore:
    """Copy a project, and open the copy of its records."""
    owner = await stored_owner(thread, path)
    await asyncio.to_thread(relocation.receive, project.path)
    await asyncio.to_thread(paths.mark_temporary, relocation.copy, temporary)
    await project.records.copy_to(relocation.copy)
    if owner not in (None, project.id):
        await asyncio.to_thread(relocation.keep_records, owner)
    await asyncio.to_thread(relocation.put_in_place)
    return await ProjectStore.load(thread, path)


def _clear_up(relocation: Relocation, left: ProjectPlace | None) -> None:
    """Remove what a move leaves over. It is done already, so nothing of this makes it fail."""
    try:
        relocation.finish()
        if left is not None:
            paths.discard(paths.set_aside(left.id, left.path, left.made_directory))
    except OSError as error:
        log.warning("files that a project has left could not be removed: %s", error)
