"""Bringing a project back to a snapshot, whatever has become of it since.

Files are copied beside the present ones first, while nodes may still run. The commit that replaces
the records decides: before it everything is as it was, after it the files are put in place, if
need be by the next opening.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from gns3server.errors import Conflict, FilesFailed, StorageFailed, advice
from gns3server.events import Event
from gns3server.links.link import LinkView
from gns3server.links.project_links import ProjectLinks
from gns3server.nodes import lifecycle
from gns3server.nodes.nio import Nio
from gns3server.nodes.node import Node
from gns3server.nodes.project_base import ProjectBase, ProjectServices
from gns3server.nodes.states import NodeState
from gns3server.places import snapshot_files
from gns3server.places.paths import RESTORING
from gns3server.ports import Use
from gns3server.projects.copies import copying_of
from gns3server.projects.node_records import make_node
from gns3server.projects.nodes import ProjectNodes
from gns3server.projects.snapshot_view import SnapshotView
from gns3server.storage.change import ProjectChange
from gns3server.storage.lab_tables import StoredLab, read_lab
from gns3server.storage.rows import StoredProject
from gns3server.storage.snapshot_rows import RestorationRow, SnapshotRow
from gns3server.storage.stores import PROJECT_FILE, PROJECT_MIGRATIONS

log = logging.getLogger(__name__)


class Restoration:
    """Brings a project back to a snapshot.

    :param members: its nodes.
    :param links: what joins them.
    :param bring_back: has it consist of the nodes on record, and no others.
    """

    def __init__(
        self,
        project: ProjectBase,
        members: ProjectNodes,
        links: ProjectLinks,
        services: ProjectServices,
        *,
        bring_back: Callable[[StoredProject], Awaitable[None]],
    ) -> None:
        self._project = project
        self._members = members
        self._links = links
        self._registry = services.registry
        self._bring_back = bring_back

    async def run(self, snapshot: SnapshotRow, *, whole: bool) -> None:
        """Bring nodes, wires, places, values and files back; ids stay. Stops what runs.

        The caller holds the project alone.

        :param whole: the project's directory is its own.
        :raises Conflict: the snapshot cannot be read, a node has gone to another project, or one
            cannot be stopped.
        :raises StorageFailed: it could not be written; only nodes may have been stopped.
        :raises FilesFailed: it is restored, and the next opening puts its files in place.
        """
        project, former = self._project, list(self._members)
        lab = await self._read(snapshot, [node.id for node in former if not node.fresh])
        row = RestorationRow(f"{RESTORING}{uuid.uuid4().hex}", snapshot.id, committed=False)
        async with project.change() as change:
            change.save_restoration(row)
        try:
            await copying_of(project).run(
                f"The snapshot {snapshot.name!r} was not restored",
                partial(snapshot_files.receive, project.path, row.room, snapshot.id, whole=whole),
            )
            await self._stop(former, {record.id for record in lab.stored.nodes})
            freed = self._freed_ports(former, lab.stored)
            async with project.change() as change:
                change.replace_lab(lab.tables)
                for port in freed:
                    change.free_port(port)
                change.then(partial(self._release, freed))
                change.save_restoration(replace(row, committed=True))
        except BaseException as error:
            # What may be there is found out by the next start, which needs the files then.
            if not isinstance(error, StorageFailed) or error.certain:
                await _end(project, row)
            await self._links.catch_up()
            raise
        await self._take_effect(snapshot, row, lab, former)

    def _freed_ports(self, former: Sequence[Node], stored: StoredProject) -> set[int]:
        """The ports whose allocation ends because the NIOs that named them are gone then."""
        udp, project_id = self._project.machine.ports.udp, self._project.id
        types = self._registry.nio_types
        coming = {
            types[nio.type].udp_port(Nio(nio.type, nio.fields))
            for nios in stored.nios.values()
            for nio in nios.values()
            if nio.type in types
        }
        return {
            port
            for port in {port for node in former for port, _ in node.wiring.udp_ports()} - coming
            if all(h.use is not Use.NIO or h.project_id == project_id for h in udp.holders(port))
        }

    def _release(self, ports: Collection[int]) -> None:
        udp = self._project.machine.ports.udp
        for port in ports:
            udp.release_where(self._project.id, use=Use.ALLOCATED, port=port)

    def _linked(self) -> dict[str, LinkView]:
        return {link.id: link for link in self._links}

    async def _read(self, snapshot: SnapshotRow, there: Collection[str]) -> StoredLab:
        """What a snapshot holds.

        :raises Conflict: it cannot be used.
        """
        project = self._project
        file = snapshot_files.place_of(project.path, snapshot.id) / PROJECT_FILE
        lab = await asyncio.to_thread(read_lab, file, PROJECT_MIGRATIONS, there)
        if lab.stored.id != project.id:
            raise Conflict(
                f"{file} holds project {lab.stored.id}, and is no snapshot of this project: put "
                "the right one back, or delete the snapshot."
            )
        self._members.check_ids([record.id for record in lab.stored.nodes])
        for record in lab.stored.nodes:
            # What a plugin does not make of its record is better known now.
            make_node(project, self._registry, record)
        return lab

    async def _stop(self, former: Sequence[Node], coming: Collection[str]) -> None:
        """Stop all nodes, and tell the plugins of those that will be gone.

        :raises Conflict: one cannot be stopped.
        """
        await asyncio.gather(
            *(
                lifecycle.end_anyway(node) if node.id in coming else lifecycle.forget(node)
                for node in former
            )
        )
        await self._links.stop()
        running = [node.title for node in former if node.state is not NodeState.STOPPED]
        if running:
            raise Conflict(
                f"The snapshot was not restored, because {', '.join(running)} could not be "
                "stopped: the server's log says why."
            )

    async def _take_effect(
        self, snapshot: SnapshotRow, row: RestorationRow, lab: StoredLab, former: Sequence[Node]
    ) -> None:
        project, failure, links = self._project, None, self._linked()
        try:
            await asyncio.to_thread(snapshot_files.put_in_place, project.path, row.room)
        except OSError as error:
            failure = _left_undone(project, error)
        coming = {record.id for record in lab.stored.nodes}
        await asyncio.gather(*(lifecycle.leave(node) for node in former if node.id in coming))
        try:
            await self._bring_back(lab.stored)
        finally:
            if failure is None:
                await _end(project, row, tell=partial(self._tell, snapshot, former, links))
        if failure is not None:
            raise failure
        await self._links.catch_up()
        await asyncio.gather(*map(_begin, self._members))

    async def _tell(
        self,
        snapshot: SnapshotRow,
        former: Sequence[Node],
        links: Mapping[str, LinkView],
        change: ProjectChange,
    ) -> None:
        """Have a change tell what has become of nodes and links, and of the project."""
        before, now = {node.id for node in former}, self._linked()
        for link_id in links.keys() - now.keys():
            change.tell(Event("link", "deleted", self._project.id, links[link_id]))
        for node in former:
            if self._members.find(node.id) is None:
                change.tell(node.view_event("deleted", {}))
        for node in self._members:
            try:
                change.tell(await node.event("updated" if node.id in before else "created"))
            except Exception:
                log.exception("VM %s cannot be shown", node.id)
        for link_id in now.keys() - links.keys():
            change.tell(Event("link", "created", self._project.id, now[link_id]))
        change.tell(SnapshotView.of(self._project.id, snapshot).event("restored"))


async def _begin(node: Node) -> None:
    if node.fresh or node.type.always_on:
        await lifecycle.finish_creation(node)


async def finish_restorations(project: ProjectBase, stored: StoredProject) -> None:
    """Put files in place whose restoration was committed, and remove what others have left.

    :raises StorageFailed: it is not possible; it is tried again at the next opening.
    """
    snapshots = {snapshot.id: snapshot for snapshot in stored.snapshots}
    for row in stored.restorations:
        snapshot = snapshots.get(row.snapshot_id)
        if not row.committed or not snapshot_files.ROOM.fullmatch(row.room):
            await _end(project, row)
            continue
        try:
            await asyncio.to_thread(snapshot_files.put_in_place, project.path, row.room)
        except OSError as error:
            raise StorageFailed(
                f"Project {project.id} cannot be opened, because the files of a snapshot cannot "
                f"be put in place: {error}. Then try again."
            ) from error

        async def tell(change: ProjectChange, snapshot: SnapshotRow | None = snapshot) -> None:
            if snapshot is not None:
                change.tell(SnapshotView.of(project.id, snapshot).event("restored"))

        await _end(project, row, tell=tell)


async def _nothing(_: ProjectChange) -> None:
    """Tell nothing."""


async def _end(
    project: ProjectBase,
    row: RestorationRow,
    *,
    tell: Callable[[ProjectChange], Awaitable[None]] = _nothing,
) -> None:
    """Forget a restoration, and remove what it needed; the next opening tries that again."""
    left = False
    try:
        await asyncio.to_thread(snapshot_files.remove_room, project.path, row.room)
    except OSError as error:
        left = True
        log.warning("project %s: %s could not be removed: %s", project.id, row.room, error)
    async with project.change(fact=True) as change:
        if left:
            change.save_restoration(replace(row, committed=False))
        else:
            change.end_restoration(row.room)
        await tell(change)


def _left_undone(project: ProjectBase, error: OSError) -> FilesFailed:
    return FilesFailed(
        f"Project {project.id} was restored, but its files are not in place yet: "
        f"{advice(error) or error}. The next opening of the project puts them there."
    )
