"""Opening a project from its records."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path

from gns3server.errors import Conflict, StorageFailed
from gns3server.files import durable as files
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.parent import NodeRow
from gns3server.nodes.registry import Registry
from gns3server.places.paths import remove_what_was_made
from gns3server.ports import Holder, Ports, Use
from gns3server.projects.adoption import adopt_runs
from gns3server.projects.project import Project
from gns3server.storage.database import DatabaseThread
from gns3server.storage.file_check import DatabaseError
from gns3server.storage.rows import ProjectPlace, StoredProject
from gns3server.storage.stores import PROJECT_FILE, ProjectStore

log = logging.getLogger(__name__)


async def load_records(
    thread: DatabaseThread, place: ProjectPlace, *, expected: bool = False
) -> tuple[ProjectStore, bool]:
    """Open the records in a project's directory; also tells whether they are new.

    :param expected: they must be there, and be this project's.
    :raises gns3server.storage.file_check.DatabaseError: they cannot be used.
    """
    if expected:
        return await ProjectStore.load(thread, place.path, owner=place.id), False
    new = not await asyncio.to_thread(os.path.lexists, place.path / PROJECT_FILE)
    try:
        records = await ProjectStore.load(thread, place.path)
    except DatabaseError:
        if new:
            # Begun and not finished, on a full disk: nothing is in it.
            await asyncio.to_thread(remove_what_was_made, place.path)
        raise
    try:
        owner = await records.stored_id()
    except BaseException:
        await records.close()
        raise
    if owner not in (None, place.id):
        # A copied folder: the other project's records are kept beside, under its id.
        await records.close()
        file = place.path / PROJECT_FILE
        await asyncio.to_thread(file.rename, file.with_name(f"{PROJECT_FILE}.{owner}"))
        records = await ProjectStore.load(thread, place.path)
        owner = None
    return records, owner is None


async def stored_owner(thread: DatabaseThread, directory: Path) -> str | None:
    """The id of the project whose records are in a directory; ``None`` where there are none.

    :raises Conflict: they cannot be read.
    """
    if not await asyncio.to_thread((directory / PROJECT_FILE).exists):
        return None
    try:
        records = await ProjectStore.load(thread, directory)
        try:
            return await records.stored_id()
        finally:
            await records.close()
    except DatabaseError as error:
        raise Conflict(f"{directory} cannot be used: {error} Or choose another path.") from error


async def restore(project: Project, stored: StoredProject, registry: Registry) -> None:
    """Bring back a project's nodes, wires and ports, and adopt what still runs.

    Nodes whose type no plugin offers stay stored and are left out.
    """
    await _finish_files(project, stored)
    for port in stored.allocated_ports:
        _hold(project.machine.ports, port, Holder(project.id, Use.ALLOCATED))
    project.nodes.restore_removed(stored.removed_nodes)
    restored = []
    for record in stored.nodes:
        node_type = registry.node_types.get(record.type)
        if node_type is None:
            log.warning(
                "project %s: VM %s (%s) is left out, no plugin offers its type %s",
                project.id,
                record.name,
                record.id,
                record.type,
            )
        elif _restore_node(project, registry, node_type, record, stored):
            restored.append(record)
    await _restore_consoles(project, restored)
    known = {record.id for record in stored.nodes}
    await adopt_runs(project, project.nodes, project.parked_runs, stored.runs, known)


async def _finish_files(project: Project, stored: StoredProject) -> None:
    """Put files in place whose change was committed but perhaps not carried out.

    :raises StorageFailed: that is not possible; it is tried again at the next opening.
    """
    for (node_type, node_id), contents in stored.staged_files.items():
        directory = project.node_directory(node_type, node_id)
        try:
            await asyncio.to_thread(files.stage, directory, contents)
            await asyncio.to_thread(files.replace, directory, contents)
            await asyncio.to_thread(files.sync_directory, directory)
        except OSError as error:
            raise StorageFailed(
                f"Project {project.id} cannot be opened, because a changed file of VM {node_id} "
                f"cannot be put in place: {error}. Free some disk space, or make the directory "
                "writable, and try again."
            ) from error
        await project.records.files_replaced(node_id)


def _restore_node(
    project: Project,
    registry: Registry,
    node_type: NodeType,
    record: NodeRow,
    stored: StoredProject,
) -> bool:
    node = node_type.node_class(project, node_type, record)
    node.restored = True
    if not project.nodes.restore(node):
        log.error("project %s: VM %s is open in another project", project.id, node.id)
        return False
    for place, nio in stored.nios.get(node.id, {}).items():
        if nio.type in registry.nio_types:
            node.wiring.nios[place] = nio
    for port, holder in node.wiring.udp_ports():
        _hold(project.machine.ports, port, holder)
    return True


async def _restore_consoles(project: Project, records: list[NodeRow]) -> None:
    """Give every node its console back; those whose port is taken get another, after all others."""
    tcp, lost = project.machine.ports.tcp, []
    for record in records:
        try:
            tcp.hold(record.console, Holder(project.id, Use.CONSOLE, record.id))
        except Conflict as error:
            lost.append((record, error))
    for record, reason in lost:
        console = tcp.allocate(Holder(project.id, Use.CONSOLE, record.id))
        log.warning("VM %s gets console %d instead: %s", record.id, console, reason)
        await project.records.save_node(replace(record, console=console), {})
        project.nodes.get(record.type, record.id).console = console


def _hold(ports: Ports, port: int, holder: Holder) -> None:
    try:
        ports.udp.hold(port, holder)
    except Conflict as error:
        log.warning("project %s: %s", holder.project_id, error)
