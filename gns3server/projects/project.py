"""A project: nodes, their wires and ports, and where they are stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from gns3server.errors import NotFound
from gns3server.events import PendingEvent
from gns3server.locks import FairLock, KeyedLocks, LockRequest
from gns3server.nodes.machine import Machine
from gns3server.nodes.nio import NioType
from gns3server.nodes.parent import Subject
from gns3server.places import paths
from gns3server.ports import Holder, Use
from gns3server.projects.adoption import ParkedRuns
from gns3server.projects.nodes import ProjectNodes, ProjectServices
from gns3server.storage.stores import ProjectStore

log = logging.getLogger(__name__)

ITSELF = "project"
"""Among the keys of a project's locks, the one of its own values. The others are ids."""


class Observer(Protocol):
    """Somebody who is told what becomes of projects."""

    async def observe(self, event: str, project: Project) -> None:
        """Take note that a project was ``opened`` or ``committed``, is ``closing`` or was
        ``closed``.
        """

    def hurry(self) -> None:
        """Take little time from now on: the server stops."""


class Project:
    """One lab. It is the :class:`~gns3server.nodes.parent.ParentProject` of its nodes.

    Its methods expect that the caller came in through :meth:`enter`: shared for
    work on nodes, exclusive to close or delete the project.
    """

    def __init__(
        self,
        services: ProjectServices,
        records: ProjectStore,
        *,
        project_id: str,
        path: Path,
        name: str | None,
        temporary: bool,
    ) -> None:
        self._shared = services
        self.records = records
        self.id = project_id
        self.path = path
        self.name = name
        self.temporary = temporary
        self.nodes = ProjectNodes(self, services, records, self.node_directory)
        self.parked_runs = ParkedRuns(self, services.own)
        self.closing = asyncio.Event()
        self.leavers = 0  # who wait to close or delete it, or are at it
        self.closed = False
        self._lock = FairLock()
        self._node_locks = KeyedLocks(self._is_known)

    # Locks -------------------------------------------------------------------

    def enter(self, *node_ids: str, exclusive: bool = False, creating: bool = False) -> LockRequest:
        """Queue for the project and, if any are named, for some of its nodes: all in one step.

        After the wait, :meth:`check_open` tells whether the project is still there.

        :param exclusive: for the whole project, alone, unless the request is narrowed later
            (:meth:`~gns3server.locks.LockRequest.narrow`).
        :param creating: the request is narrowed later to the nodes that it names. Until then,
            visitors of nodes that do not exist wait.
        """
        keys = None if exclusive or creating else node_ids
        return LockRequest(self._lock, exclusive=exclusive, inner=self._node_locks, keys=keys)

    def _is_known(self, key: str) -> bool:
        return key == ITSELF or self.nodes.find(key) is not None

    def check_open(self) -> None:
        """Tell a visitor who waited that the project is going, or gone.

        :raises NotFound: somebody closes or deletes it.
        """
        if self.closing.is_set():
            raise self.gone()

    def gone(self) -> NotFound:
        """What those are told who wanted something of it too late."""
        return NotFound(
            f"Project {self.id} was closed or deleted while this request waited: open it again "
            "if you need it."
        )

    # The project as the home of its nodes ----------------------------------------

    @property
    def machine(self) -> Machine:
        """Where the nodes of this project run."""
        return self._shared.machine

    def node_directory(self, node_type: str, node_id: str) -> Path:
        """The directory of a node that may be deleted already (PRJ-24)."""
        return self.path / paths.FILES_DIRECTORY / node_type / node_id

    def nio_type(self, name: str) -> NioType:
        """A NIO type by name; see :meth:`gns3server.nodes.registry.Registry.nio_type`."""
        return self._shared.registry.nio_type(name)

    async def announce(self, action: str, node: Subject) -> None:
        """Tell an event with the node's object that no stored change goes with."""
        await self.records.events.tell(await node.node_event(action))

    async def report(self, node_id: str, message: str) -> None:
        """Tell a ``log.error`` about a node, and log it."""
        log.error("project %s, VM %s: %s", self.id, node_id, message)
        event = {"message": message, "project_id": self.id, "vm_id": node_id}
        await self.records.events.tell(PendingEvent(action="log.error", event=event))

    def settle_later(self, node_id: str, settle: Callable[[], Awaitable[None]]) -> None:
        """Settle an exit of a node as soon as nobody holds it."""
        entry = self.enter(node_id)

        async def settle_alone() -> None:
            async with entry:
                try:
                    await settle()
                except Exception:
                    # Nobody waits for an answer that would tell of it.
                    log.exception("the end of VM %s could not be settled", node_id)

        _ = self._shared.own(settle_alone())

    # The project itself ----------------------------------------------------------

    async def allocate_udp_port(self) -> int:
        """Reserve the lowest free UDP port for whoever asks; a NIO that names it takes it over.

        :raises Conflict: none is left.
        """
        holder = Holder(self.id, Use.ALLOCATED)
        port = self.machine.ports.udp.allocate(holder)
        try:
            await self.records.save_allocated_port(port)
        except BaseException:
            self.machine.ports.udp.release(port, holder)
            raise
        return port

    async def save(self, name: str | None, temporary: bool) -> None:
        """Give the project another name, make it temporary or permanent: both or neither."""
        if temporary is not self.temporary:
            await asyncio.to_thread(paths.mark_temporary, self.path, temporary)
        try:
            await self.records.save_project(self.id, name, temporary)
        except BaseException:
            await asyncio.to_thread(paths.mark_temporary, self.path, self.temporary)
            raise
        self.name, self.temporary = name, temporary

    async def stop(self) -> None:
        """Stop everything that runs in it."""
        await asyncio.gather(self.nodes.stop(), self.parked_runs.stop())

    async def open_events(self) -> None:
        """Number and publish events from now on."""
        bus, settings = self._shared.bus, self._shared.config.current.server
        await self.records.events.open(partial(bus.publish, self.id), settings.max_events)

    async def shut(self) -> None:
        """Give back everything the project has in memory, and its file; what runs goes on."""
        self.closed = True
        self.machine.ports.release_project(self.id)
        self._shared.bus.end_project(self.id)
        await asyncio.gather(self.nodes.leave(), self.parked_runs.leave())
        await self.records.close()
