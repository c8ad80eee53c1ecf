"""A project: nodes, their wires and ports, and where they are stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from gns3server.errors import FilesFailed, NotFound
from gns3server.links.project_links import ProjectLinks
from gns3server.locks import FairLock, KeyedLocks, LockRequest
from gns3server.nodes.holding import held
from gns3server.nodes.limits import check_outside
from gns3server.nodes.nio import Nio
from gns3server.nodes.node import Node
from gns3server.nodes.project_base import ProjectBase, ProjectServices
from gns3server.places import paths
from gns3server.ports import Holder, Use
from gns3server.projects.file_api import Files
from gns3server.projects.layout import Layout
from gns3server.projects.link_api import Links
from gns3server.projects.node_api import Nodes
from gns3server.projects.nodes import ProjectNodes
from gns3server.projects.restoring import Restoration
from gns3server.projects.snapshots import Snapshots
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import StoredProject
from gns3server.storage.stores import ProjectStore

ITSELF = "project"
"""The key, in a project's locks, for the project's own values. The other keys are ids."""


class Project(ProjectBase):
    """One lab, with its nodes and its locks.

    Its methods require the caller to hold the lock of :meth:`enter`: shared for
    work on nodes, exclusive to close or delete the project.

    :param owns_directory: tells whether its directory is its own, and nobody else's.
    :param bring_back: has it consist of the nodes on record, and no others.
    """

    def __init__(
        self,
        services: ProjectServices,
        records: ProjectStore,
        *,
        project_id: str,
        path: Path,
        given: str,
        name: str | None,
        temporary: bool,
        owns_directory: Callable[[], bool],
        bring_back: Callable[[Project, StoredProject], Awaitable[None]],
    ) -> None:
        super().__init__(
            services,
            records,
            project_id=project_id,
            path=path,
            given=given,
            name=name,
            temporary=temporary,
        )
        self.layout = Layout(self, self._has)
        """Where its nodes are drawn, and how."""
        self.wires = ProjectLinks(self, services, self._find)
        self.members = ProjectNodes(self, services, self.layout, self.wires)
        self.nodes = Nodes(self.id, self.turn, services, self.members, self.layout)
        """Its nodes, for plugins."""
        self.files = Files(self)
        """Its files, for plugins."""
        self.links = Links(self, self.turn, self.wires)
        """Its links, for plugins."""
        restoration = Restoration(
            self, self.members, self.wires, services, bring_back=partial(bring_back, self)
        )
        self.snapshots = Snapshots(self, self.members, restoration, owns_directory)
        """Its snapshots, for plugins."""
        self.leavers = 0  # requests that wait to close or delete it, or are doing so
        self.closed = False
        self._lock = FairLock()
        self._node_locks = KeyedLocks(self._is_known)

    # Locks -------------------------------------------------------------------

    def enter(self, *node_ids: str, exclusive: bool = False, creating: bool = False) -> LockRequest:
        """Queue for the project and for the nodes named, if any, all in one step.

        After the wait, :meth:`check_open` tells whether the project is still there.

        :param exclusive: hold the whole project alone, unless the request is narrowed later
            (:meth:`~gns3server.locks.LockRequest.narrow`).
        :param creating: the request is narrowed later to the nodes that it names. Until then,
            requests for nodes that do not exist wait.
        """
        check_outside("Project.enter")
        keys = None if exclusive or creating else node_ids
        return LockRequest(self._lock, exclusive=exclusive, inner=self._node_locks, keys=keys)

    def hold_new(self, node_id: str) -> LockRequest:
        """Hold a node that was taken in this moment; the caller has a place in the project.

        Nobody can have asked for it before, so the turn has come already.
        """
        return LockRequest(FairLock(), inner=self._node_locks, keys=(node_id,))

    @asynccontextmanager
    async def turn(self, what: str, *node_ids: str) -> AsyncIterator[None]:
        """Hold some nodes for the block, besides what the calling code already holds.

        :param what: what is done, for messages.
        :raises gns3server.errors.PluginFault: it holds something that it must not wait with.
        :raises gns3server.errors.NotFound: the project is closed or deleted.
        """
        beside = held()
        if beside is None:
            place = self.enter(*node_ids)
        else:
            beside.check(what, self.id, node_ids)
            # Its place in the project covers the nodes too: a request for the whole project
            # waits for it, so it must not wait for that request.
            wanted = () if beside.covers(node_ids) else node_ids
            place = LockRequest(FairLock(), inner=self._node_locks, keys=wanted)
        async with place:
            if beside is None:
                self.check_open()
            yield

    def _is_known(self, key: str) -> bool:
        return key == ITSELF or self._has(key) or self.wires.find(key) is not None

    def _find(self, node_id: str) -> Node | None:
        return self.members.find(node_id)

    def _has(self, node_id: str) -> bool:
        return self._find(node_id) is not None

    def note_wire(
        self,
        change: ProjectChange,
        node_id: str,
        place: tuple[int, int],
        old: Nio | None,
        new: Nio | None,
    ) -> None:
        """Have a change tell what one NIO in place of another means for links."""
        self.wires.note_wire(change, node_id, place, old, new)

    def note_stop(self, change: ProjectChange, node_id: str) -> None:
        """Have a change tell what it means for links that a node stops."""
        self.wires.note_stop(change, node_id)

    def check_open(self) -> None:
        """Tell a request that has waited if the project is being closed, or is gone.

        :raises NotFound: it is being closed or deleted.
        """
        if self.closing.is_set():
            raise self.gone()

    def gone(self) -> NotFound:
        """The error for requests that came to it too late."""
        return NotFound(
            f"Project {self.id} was closed or deleted while this request waited: open it again "
            "if you need it."
        )

    # The project itself ----------------------------------------------------------

    async def allocate_udp_port(self) -> int:
        """Reserve the lowest free UDP port for a client; a NIO that names it takes it over.

        :raises Conflict: none is left.
        """
        machine, holder = self.machine, Holder(self.id, Use.ALLOCATED)
        async with self.change() as change:
            port = await machine.allocate_port("udp", holder)
            change.undo(partial(machine.ports.udp.release, port, holder))
            change.allocate_port(port)
        return port

    async def save(self, name: str | None, temporary: bool) -> None:
        """Store the project's name, and whether it is temporary: both or neither."""
        if temporary is not self.temporary:
            await asyncio.to_thread(paths.mark_temporary, self.path, temporary)
        try:
            async with self.change() as change:
                change.save_project(self.id, name, temporary)
                change.then(partial(self._take, name, temporary))
        except BaseException:
            # If that fails too, the next opening does it.
            with suppress(FilesFailed):
                await asyncio.to_thread(paths.mark_temporary, self.path, self.temporary)
            raise

    def _take(self, name: str | None, temporary: bool) -> None:
        self.name, self.temporary = name, temporary

    async def stop(self) -> None:
        """Stop everything that runs in the project."""
        await self.members.stop()
        await self.wires.stop()

    async def open_events(self) -> None:
        """Number and publish events from now on."""
        shared = self._shared
        keep = shared.config.current.server.max_events
        await self.records.events.open(shared.translate, shared.bus.publish, keep)

    async def shut(self) -> None:
        """Release everything the project holds in memory, and its file; what runs goes on."""
        self.closed = True
        self.machine.ports.release_project(self.id)
        self._shared.bus.end_project(self.id)
        await self.members.leave()
        await self.wires.leave()
        await self.records.close()
