"""Opening the records in a project's directory, and moving them to another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gns3server.errors import FilesFailed
from gns3server.projects import paths
from gns3server.projects.database import DatabaseThread
from gns3server.projects.node_set import Surroundings
from gns3server.projects.places import Places
from gns3server.projects.project import Project
from gns3server.projects.records import ProjectPlace
from gns3server.projects.restore import load_records, restore


async def open_project(
    thread: DatabaseThread,
    shared: Surroundings,
    places: Places,
    place: ProjectPlace,
    values: Mapping[str, Any] | None,
) -> Project:
    """Open the project at ``place`` as it is stored, making it when it is new.

    :param values: a create request's; ``None`` when an earlier server had it open.
    """
    records, fresh = await load_records(thread, place)
    project = None
    try:
        wanted = values or {}
        if fresh:
            await records.save_project(place.id, wanted.get("name"), bool(wanted.get("temporary")))
        stored = await records.stored()
        project = Project(
            shared,
            records,
            project_id=place.id,
            path=place.path,
            name=stored.name,
            temporary=stored.temporary,
        )
        if wanted.get("name") not in (None, stored.name):
            await project.save(wanted["name"], project.temporary)
        if project.temporary:
            await asyncio.to_thread(paths.mark_temporary, place.path, True)
        await restore(project, stored, shared.registry)
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
    places: Places,
    project: Project,
    new: ProjectPlace,
    *,
    name: str | None,
    temporary: bool,
) -> None:
    """Copy a project to another directory and use it there; nodes that run go on.

    All is copied and durable before the server's records are switched, and
    the old directory is only removed, if the project was temporary, after that.

    :raises FilesFailed: the files cannot be copied; the project is where it was.
    """
    old, was_temporary = places.of(project.id), project.temporary
    try:
        await asyncio.to_thread(paths.copy_project, old.path, new.path)
        await project.records.copy_to(new.path)
        records, _ = await load_records(thread, new)
        try:
            await records.save_project(project.id, name, temporary)
            await asyncio.to_thread(paths.mark_temporary, new.path, temporary)
            await places.save(new)
        except BaseException:
            await records.close()
            raise
    except BaseException as error:
        if new.made_directory:
            await asyncio.to_thread(paths.discard, new.path)
        if isinstance(error, OSError):
            raise FilesFailed(
                f"Project {project.id} could not be copied to {new.path}: {error}. "
                f"It is still in {old.path}."
            ) from error
        raise
    await project.records.switch_to(records)
    project.path, project.name, project.temporary = new.path, name, temporary
    if was_temporary:
        aside = await asyncio.to_thread(paths.set_aside, old.path, old.made_directory)
        await asyncio.to_thread(paths.discard, aside)
