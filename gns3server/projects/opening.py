"""Opening a project: its records are read, its nodes and wires brought back, its runs adopted."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Iterable, Iterator
from functools import partial
from pathlib import Path

from gns3server.errors import Conflict, StorageFailed
from gns3server.files.reasons import DIRECTORY_REMEDY, remedy
from gns3server.nodes.nio import Nio
from gns3server.nodes.node import Node
from gns3server.nodes.parked import ParkedNode
from gns3server.nodes.process_node import ProcessNode
from gns3server.nodes.project_base import ProjectServices
from gns3server.nodes.registry import Registry
from gns3server.places import paths
from gns3server.places.index import ProjectIndex
from gns3server.ports import Holder, Ports, Use
from gns3server.projects.adoption import adopt_runs
from gns3server.projects.node_records import make_node
from gns3server.projects.project import Project
from gns3server.projects.restoring import finish_restorations
from gns3server.storage.database import DatabaseThread
from gns3server.storage.file_check import DatabaseError
from gns3server.storage.rows import NodeRow, ProjectPlace, StoredProject
from gns3server.storage.stores import PROJECT_FILE, ProjectStore

log = logging.getLogger(__name__)

READ_AHEAD = 4
"""How many projects' records are read while another project is opened."""

Loading = Awaitable[tuple[ProjectStore, StoredProject | None]]
"""Records that are being opened, and what is in them."""


async def open_project(
    shared: ProjectServices,
    places: ProjectIndex,
    place: ProjectPlace,
    *,
    loading: Loading,
    name: str | None = None,
    temporary: bool = False,
) -> Project:
    """Open the project at ``place`` as it is stored, making it when it is new.

    :param loading: its records; see :func:`load_records`.
    :param name: a new name; by default the project keeps its own.
    :param temporary: whether a new project is temporary.
    :raises gns3server.storage.file_check.DatabaseError: its records cannot be used.
    """
    known = places.get(place.id)
    records, stored = await loading
    fresh = stored is None
    project = None
    try:
        if stored is None or known is None or not known.open:
            async with records.change() as change:
                if stored is None:
                    change.save_project(place.id, name, temporary)
                else:
                    change.forget_ports_and_removed()
            stored = await records.stored()
        project = Project(
            shared,
            records,
            project_id=place.id,
            path=place.path,
            given=place.given,
            name=stored.name,
            temporary=stored.temporary,
            owns_directory=lambda: places.of(place.id).made_directory,
            bring_back=partial(bring_back, shared.registry),
        )
        await project.open_events()
        await asyncio.to_thread(_prepare_directory, place, project.temporary)
        former = place.path if known is None else known.path
        await _restore(project, stored, shared.registry, former)
        if name not in (None, stored.name):
            await project.save(name, project.temporary)
        if known != place:
            await places.save(place)
    except BaseException:
        await (records.close() if project is None else project.shut())
        if fresh:
            await asyncio.to_thread(paths.remove_what_was_made, place.path)
        raise
    return project


def _prepare_directory(place: ProjectPlace, temporary: bool) -> None:
    paths.mark_temporary(place.path, temporary)
    paths.close_to_others(place.path, place.made_directory)


def read_ahead(
    thread: DatabaseThread, places: Iterable[ProjectPlace]
) -> Iterator[tuple[ProjectPlace, Loading]]:
    """The records of projects that must have some: in order, but several are read at a time."""
    ahead = deque[tuple[ProjectPlace, Loading]]()
    for place in places:
        loading = asyncio.ensure_future(load_records(thread, place, expected=True))
        ahead.append((place, loading))
        if len(ahead) > READ_AHEAD:
            yield ahead.popleft()
    while ahead:
        yield ahead.popleft()


async def load_records(
    thread: DatabaseThread, place: ProjectPlace, *, expected: bool = False
) -> tuple[ProjectStore, StoredProject | None]:
    """Open the records in a project's directory; also returns what is in them.

    :param expected: they must exist and belong to this project.
    :raises gns3server.storage.file_check.DatabaseError: they cannot be used.
    """
    if expected:
        records = await ProjectStore.load(thread, place.path, owner=place.id)
        return records, records.take_found()
    new = not await asyncio.to_thread(os.path.lexists, place.path / PROJECT_FILE)
    try:
        records = await ProjectStore.load(thread, place.path)
    except DatabaseError:
        if new:
            # Begun but not finished, on a full disk: nothing is in it.
            await asyncio.to_thread(paths.remove_what_was_made, place.path)
        raise
    stored = records.take_found()
    if stored is not None and stored.id != place.id:
        # A copied folder: the other project's records are kept in the same place, under its id.
        await records.close()
        file = place.path / PROJECT_FILE
        await asyncio.to_thread(file.rename, file.with_name(f"{PROJECT_FILE}.{stored.id}"))
        records = await ProjectStore.load(thread, place.path)
        stored = None
    return records, stored


async def _restore(
    project: Project, stored: StoredProject, registry: Registry, former: Path
) -> None:
    """Bring back a project's nodes, wires and ports, and adopt what still runs.

    Nodes whose type no plugin offers are parked.
    """
    await finish_restorations(project, stored)
    await project.snapshots.take_up(stored.snapshots)
    for port in stored.allocated_ports:
        _hold(project.machine.ports, port, Holder(project.id, Use.ALLOCATED))
    await bring_back(registry, project, stored)
    await adopt_runs(project, stored.runs, former)


async def bring_back(registry: Registry, project: Project, stored: StoredProject) -> None:
    """Have a project consist of the nodes on record, and no others: nothing of it may run."""
    project.wires.clear()
    project.members.clear()
    project.members.restore_removed(stored.removed_nodes)
    for record in stored.nodes:
        _restore_node(project, registry, record, stored)
    project.layout.restore(stored.layout)
    await _restore_links(project, stored)
    await _finish_files(project, stored)
    await _restore_consoles(project)


async def _finish_files(project: Project, stored: StoredProject) -> None:
    """Put files in place whose change was committed, but perhaps not completed.

    :raises StorageFailed: it is not possible; it is tried again at the next opening.
    """
    for (node_type, node_id), contents in stored.staged_files.items():
        directory = project.node_directory(node_type, node_id)
        try:
            await project.machine.place_files(directory, project.path, contents)
        except OSError as error:
            help_text = remedy(error, directory, DIRECTORY_REMEDY)
            raise StorageFailed(
                f"Project {project.id} cannot be opened, because a changed file of VM {node_id} "
                f"cannot be put in place: {error}. {help_text} Then try again."
            ) from error
        async with project.change(fact=True) as change:
            change.files_replaced(node_id)


def _restore_node(
    project: Project, registry: Registry, record: NodeRow, stored: StoredProject
) -> None:
    node = make_node(project, registry, record)
    if not project.members.restore(node):
        log.error("project %s: VM %s is open in another project", project.id, node.id)
        return
    for place, nio in stored.nios.get(node.id, {}).items():
        if nio.type in registry.nio_types:
            node.wiring.nios[place] = Nio(nio.type, nio.fields)
    for port, holder in node.wiring.udp_ports():
        _hold(project.machine.ports, port, holder)


async def _restore_links(project: Project, stored: StoredProject) -> None:
    await project.wires.restore(stored.links, stored.captures)
    for node in project.members:
        project.wires.restore_pairs(node)
        if not isinstance(node, ProcessNode):
            node.wiring.note_start()


async def _restore_consoles(project: Project) -> None:
    """Give every node its console back; if its port is taken, a new one, after all the others."""
    tcp, lost = project.machine.ports.tcp, list[tuple[Node, str]]()
    for node in project.members:
        if node.console is None:
            if node.type.console and not isinstance(node, ParkedNode):
                lost.append((node, "it has none"))
            continue
        try:
            tcp.hold(node.console, node.holder(Use.CONSOLE))
        except Conflict as error:
            lost.append((node, str(error)))
    for node, reason in lost:
        console = await node.machine.allocate_port("tcp", node.holder(Use.CONSOLE))
        log.warning("VM %s gets console %d instead: %s", node.id, console, reason)
        async with project.change() as change:
            change.save_node(node.row(console=console))
            change.then(partial(setattr, node, "console", console))


def _hold(ports: Ports, port: int, holder: Holder) -> None:
    try:
        ports.udp.hold(port, holder)
    except Conflict as error:
        log.warning("project %s: %s", holder.project_id, error)
