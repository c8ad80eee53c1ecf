"""Moving a project to another directory; running nodes go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

from gns3server.errors import Conflict, FilesFailed
from gns3server.nodes.process_node import ProcessNode
from gns3server.places import paths
from gns3server.places.index import ProjectIndex
from gns3server.places.relocation import Relocation
from gns3server.projects.project import Project
from gns3server.storage.database import DatabaseThread
from gns3server.storage.file_check import DatabaseError
from gns3server.storage.rows import ProjectPlace
from gns3server.storage.stores import PROJECT_FILE, ProjectStore
from gns3server.supervision.supervised_run import SupervisedRun

log = logging.getLogger(__name__)


async def move_project(
    thread: DatabaseThread,
    places: ProjectIndex,
    project: Project,
    new: ProjectPlace,
    *,
    name: str | None,
    temporary: bool,
) -> None:
    """Copy a project to another directory and use it there; running nodes go on.

    Everything is copied and durable before the server's records are switched, and
    the old directory is only removed, if the project was temporary, after that.

    :raises Conflict: something in the new directory is in the way.
    :raises FilesFailed: the files cannot be copied; the project is where it was before.
    """
    old, was_temporary = places.of(project.id), project.temporary
    relocation = Relocation(new.path)
    try:
        records = await _arrive(thread, project, new.path, relocation, temporary)
        try:
            async with records.change() as change:
                change.save_project(project.id, name, temporary)
                for run in _runs(project):
                    run.move(change, old.path, new.path)
                project.wires.move(change, old.path, new.path)
            await places.save(new)
        except BaseException:
            await records.close()
            raise
    except BaseException as error:
        try:
            await asyncio.to_thread(relocation.undo)
        except OSError as second:
            raise FilesFailed(
                f"Project {project.id} could not be copied to {new.path}: {error}. It is still "
                f"in {old.path}, but not everything could be removed from {new.path}: {second}."
            ) from error
        if isinstance(error, OSError):
            raise FilesFailed(
                f"Project {project.id} could not be copied to {new.path}: {error}. "
                f"It is still in {old.path}."
            ) from error
        raise
    project.be_in(new.path, new.given)
    for run in _runs(project):
        run.be_moved(old.path, new.path)
    project.wires.be_moved(old.path, new.path)
    project.name, project.temporary = name, temporary
    await project.records.switch_to(records)
    await project.wires.catch_up()
    await asyncio.to_thread(_clear_up, relocation, old if was_temporary else None)


def _runs(project: Project) -> Iterator[SupervisedRun]:
    """What runs for the nodes of a project."""
    for node in project.members:
        if isinstance(node, ProcessNode) and node.run is not None:
            yield node.run


async def _arrive(
    thread: DatabaseThread, project: Project, path: Path, relocation: Relocation, temporary: bool
) -> ProjectStore:
    """Copy a project, and open the copy of its records."""
    owner = await _stored_owner(thread, path)
    await asyncio.to_thread(relocation.receive, project.path)
    await asyncio.to_thread(paths.mark_temporary, relocation.copy, temporary)
    await project.records.copy_to(relocation.copy)
    if owner not in (None, project.id):
        await asyncio.to_thread(relocation.keep_records, owner)
    elif owner is not None:
        # It was here before: snapshots that were deleted since must not come back.
        await asyncio.to_thread(relocation.take_away, paths.SNAPSHOTS_DIRECTORY)
    await asyncio.to_thread(relocation.put_in_place)
    return await ProjectStore.load(thread, path)


def _clear_up(relocation: Relocation, left: ProjectPlace | None) -> None:
    """Remove what a move leaves behind. The move is complete, so no failure here undoes it."""
    try:
        relocation.finish()
        if left is not None:
            paths.discard(paths.set_aside(left.id, left.path, left.made_directory))
    except OSError as error:
        log.warning("files that a project left behind could not be removed: %s", error)


async def _stored_owner(thread: DatabaseThread, directory: Path) -> str | None:
    """The id of the project whose records are in a directory; ``None`` where there are none.

    :raises Conflict: they cannot be read.
    """
    if not await asyncio.to_thread((directory / PROJECT_FILE).exists):
        return None
    try:
        records = await ProjectStore.load(thread, directory)
        await records.close()
    except DatabaseError as error:
        raise Conflict(f"{directory} cannot be used: {error} Or choose another path.") from error
    stored = records.take_found()
    return None if stored is None else stored.id
